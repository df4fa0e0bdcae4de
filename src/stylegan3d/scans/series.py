"""Series of a DICOM folder, and choosing one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stylegan3d.errors import ScanError
from stylegan3d.scans.stacks import Stack

LISTED = 12


@dataclass(frozen=True, eq=False)
class Series:
    """One series of a DICOM folder.

    Attributes
    ----------
    number : int or None
        The scanner's number of the series.
    uid : str
        Series instance UID, with suffix "#2", "#3" … if it has several stacks.
    description, modality : str
        Series description; MR, CT …
    kind : {"volume", "derived", "localiser", "secondary capture"}
        "derived" is computed from other series: use the original if there is one.
    shape : tuple of int
        Columns, rows, slices.
    spacing : tuple of float
        Millimetres along them.
    axes : str
        Their directions, such as LPS, rounded if oblique; empty if unknown.
    volumes : int
        Number of time points, echoes or diffusion directions.
    problem : str
        Why it cannot be read as a volume, as the end of a sentence; else empty.
    """

    number: int | None
    uid: str
    description: str
    modality: str
    kind: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    axes: str
    volumes: int
    problem: str
    stack: Stack = field(repr=False)

    @property
    def usable(self) -> bool:
        """Whether it can be read as a volume."""
        return not self.problem and self.kind != "localiser"

    def __str__(self) -> str:
        return f"{self._number}: {self.description or 'unnamed'} ({self.summary})"

    @property
    def _number(self) -> str:
        return "?" if self.number is None else str(self.number)

    @property
    def summary(self) -> str:
        """Modality, grid and kind, without free text."""
        size = " x ".join(map(str, self.shape))
        spacing = " x ".join(f"{s:.3g}" for s in self.spacing)
        parts = [self.modality, f"{size} voxels of {spacing} mm", self.axes]
        if self.volumes > 1:
            parts.append(f"{self.volumes} volumes")
        if self.kind != "volume":
            parts.append(self.kind)
        return ", ".join(part for part in parts if part)


class SeveralSeries(ScanError):
    """A folder with several series, one of which must be chosen.

    Attributes
    ----------
    series : list of Series
        All series of the folder, readable ones first.
    """

    def __init__(self, message: str, series: list[Series]) -> None:
        super().__init__(message)
        self.series = series


def choose_series(path: Path, found: list[Series], wanted: int | str | None) -> Series:
    """Choose a series by number, UID or (part of) its description; else the only one.

    Raises
    ------
    SeveralSeries
        If the choice is ambiguous.
    ScanError
        If there is none, or the chosen one cannot be read as a volume.
    """
    if wanted is not None:
        chosen = _matching(found, wanted)
    else:
        usable = [series for series in found if series.usable]
        chosen = [series for series in usable if series.kind == "volume"] or usable or found
    if not chosen:
        raise SeveralSeries(f"{path} has no series {wanted!r}; it holds {_listed(found)}.", found)
    if len(chosen) > 1 and any(series.usable for series in chosen):
        raise SeveralSeries(
            f"{path} holds several series; choose one with --series N (series=N in Python), by "
            f"number or description: {_listed(chosen)}.",
            found,
        )
    if chosen[0].problem:
        # A dedicated message for the common case of a single unusable series.
        raise SeveralSeries(
            f"{path}: series {chosen[0]} cannot be read as a volume, because {chosen[0].problem}; "
            "give another series, or export it again.",
            found,
        )
    return chosen[0]


def uid_digest(uid: str) -> str:
    """What stands for a series UID in files that are handed on: UIDs may hold dates."""
    return f"uid-{hashlib.sha256(uid.encode()).hexdigest()[:16]}"


def _matching(found: Sequence[Series], wanted: int | str) -> list[Series]:
    text = str(wanted).strip().lower()
    for fits in (
        lambda series: text in (series.uid, uid_digest(series.uid)),
        lambda series: str(series.number) == text,
        lambda series: series.description.lower() == text,
        lambda series: bool(text) and text in series.description.lower(),
    ):
        chosen = [series for series in found if fits(series)]
        # A number may denote a volume and its captures.
        if len(chosen) > 1:
            chosen = [series for series in chosen if series.usable] or chosen
        if chosen:
            return chosen
    return []


def _listed(found: Sequence[Series]) -> str:
    words = "; ".join(str(series) for series in found[:LISTED])
    return words + (f"; and {len(found) - LISTED} more" if len(found) > LISTED else "")
