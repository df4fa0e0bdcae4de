"""What a session keeps of the scan that is open, so that a restored one has it aligned again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject

from napari_stylegan3d.scan_jobs import Choice, align_scan
from napari_stylegan3d.session import Projected
from napari_stylegan3d.worker import LongJob, Report
from stylegan3d.jsontext import to_plain
from stylegan3d.pose import NO_POSE, Pose
from stylegan3d.recipe import Recipe, Source

if TYPE_CHECKING:
    from napari_stylegan3d.jobs import Loaded
    from napari_stylegan3d.projecting import Projecting
    from stylegan3d.scans import AlignedScan, Scan

#: Millimetres and shares of 1: the same pose again.
SAME_POSE = 1e-6


@dataclass(frozen=True, eq=False)
class KeptScan:
    """Which scan it was, how it lay, and what was found of it.

    Attributes
    ----------
    choice
        The file, and which part of it.
    how, rigid
        "auto" or "centre", and the pose (4, 4) that came of it; "" and None if it was not aligned.
    pose
        How a person moved it from there.
    results
        Projections of it, without sources and voxels; by the sha256 of their latents.
    """

    choice: Choice
    how: str = ""
    rigid: np.ndarray | None = None
    pose: Pose = NO_POSE
    results: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, projecting: Projecting) -> KeptScan | None:
        """The scan that is open; None without one."""
        opened, found = projecting.opened, projecting.aligned
        if opened is None:
            return None
        results = {
            str(p.source.sha256): {
                "similarity": p.similarity,
                "mean_brain": p.mean_brain,
                "remarks": p.remarks,
                "trust": p.trust,
            }
            for p in projecting.session.projected
            if found is not None and p.found is found
        }
        how = "" if found is None else "centre" if found.by_hand else "auto"
        rigid = None if found is None else found.rigid
        return cls(opened.choice, how, rigid, projecting.panel.pose.pose, results)

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        return to_plain(self)

    @classmethod
    def from_plain(cls, plain: Any) -> KeptScan | None:
        """As far as it makes sense: it was written to a file, which a person may have changed."""
        try:
            told = plain["choice"]
            choice = Choice(**{**told, "path": Path(told["path"]), "asked": tuple(told["asked"])})
            rigid = None if plain["rigid"] is None else np.array(plain["rigid"], np.float64)
            moved, turned = ((float(x), float(y), float(z)) for x, y, z in plain["pose"].values())
            results = {str(key): dict(value) for key, value in plain["results"].items()}
            kept = cls(choice, str(plain["how"]), rigid, Pose(moved, turned), results)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        aligned = kept.how in ("auto", "centre") and rigid is not None
        sound = rigid is not None and rigid.shape == (4, 4) and np.isfinite(rigid).all()
        return kept if sound or not aligned else dataclasses.replace(kept, how="", rigid=None)


class KeptScans(QObject):
    """Aligns a restored session's scan as it was, behind what is shown."""

    def __init__(self, projecting: Projecting, parent: QObject) -> None:
        super().__init__(parent)
        self.projecting, self.session = projecting, projecting.session
        self.job = LongJob(self)
        self._kept: KeptScan | None = None
        self._scan: Scan | None = None
        self.job.finished.connect(self._on_done)

    def restore(self, kept: KeptScan) -> None:
        """The scan is open again: bring it to where it lay.

        A failure is not told: the scan is then open and not aligned, as any other.
        """
        opened, loaded = self.projecting.opened, self.projecting.rendering.loaded
        if kept.rigid is None or opened is None or loaded is None:
            return
        if opened.choice.path != kept.choice.path:  # it was asked which scan is meant
            return
        self._kept, self._scan = kept, opened.scan
        self.job.start(_align_again, loaded, opened.scan, kept, self.session.folder)

    def shutdown(self) -> None:
        """Stop."""
        self.job.shutdown()

    def _on_done(self, result: tuple[AlignedScan, AlignedScan]) -> None:
        found, moved = result
        projecting, kept, generator = self.projecting, self._kept, self.session.generator
        if kept is None or generator is None or not generator.space.same_as(found.space):
            return
        busy = projecting.job.running or projecting.aligned is not None
        if busy or projecting.opened is None or projecting.opened.scan is not self._scan:
            return
        projecting.take_aligned(found, moved, kept.pose)
        name = projecting.opened.name
        known = {p.source.sha256 for p in self.session.projected}
        for source in projected_sources(self.session.history.states):
            told = kept.results.get(str(source.sha256))
            if told is not None and source.sha256 not in known:
                known.add(source.sha256)
                self.session.projected.append(_projected(name, source, moved, found, told))
        self.session.projectedChanged.emit()
        projecting.panel.show_recipe(self.session.recipe)


def projected_sources(recipes: Iterable[Recipe]) -> Iterable[Source]:
    """Projected scans that recipes are made from."""
    for recipe in recipes:
        for source in (recipe.source, *([recipe.mix.source] if recipe.mix else ())):
            if source.kind == "projected":
                yield source


def _projected(
    name: str, source: Source, moved: AlignedScan, found: AlignedScan, told: Mapping[str, Any]
) -> Projected:
    return Projected(
        name,
        source,
        moved,
        dict(told["similarity"]),
        dict(told["mean_brain"]),
        tuple(told["remarks"]),
        dict(told["trust"]),
        found,
    )


def _align_again(
    report: Report, loaded: Loaded, scan: Scan, kept: KeptScan, folder: Path
) -> tuple[AlignedScan, AlignedScan]:
    """In a thread: as the alignment put it, and as a person moved it."""
    found = align_scan(report, loaded, scan, folder, kept.how)
    assert kept.rigid is not None
    if np.abs(found.rigid - kept.rigid).max() > SAME_POSE:
        found = found.posed(kept.rigid)
    return found, kept.pose.of(found)
