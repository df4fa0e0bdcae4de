"""Series of a DICOM folder, and choosing one.

Assemble a volume from slices with individual positions.

The grid follows the line of the slices' positions, which need not be perpendicular to them (a
tilted gantry). Small irregularities and gaps are interpolated between neighbouring slices, larger
ones refused.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from stylegan3d.base import Doubt, Note, ScanError
from stylegan3d.geometry.space import RAS_TO_LPS
from stylegan3d.scans.checks import MIN_VOXELS_PER_AXIS
from stylegan3d.scans.notes import number_in
from stylegan3d.scans.origin import ACQUIRED, Told
from stylegan3d.scans.person import Person

# Tolerance for equal positions.
SAME_MM = 0.01
# Tolerated deviation from the even grid, as a share of the spacing.
EVEN_SHARE = 0.05
# Largest gap in mm that is interpolated, and largest deviation from the line.
LARGEST_GAP_MM, OFF_LINE_MM = 10.0, 1.0
TILTED_DEGREES = 0.5
# Cosines that differ by less are of one orientation; echo times, of one echo.
SAME_AXES, SAME_MS = 2e-3, 0.01


@dataclass(frozen=True, eq=False)
class DicomSlice:
    """One slice: a file, or one frame of a file with several.

    Attributes
    ----------
    path : Path
    frame, frames : int
        Which frame of the file, from 0, and how many it has.
    series, instance : str
        Series instance UID; what names the image, wherever it was copied to.
    shape, spacing : tuple
        Columns and rows; millimetres from one column to the next, and one row.
    axes, position : ndarray, shape (3, 2) and (3,), or None
        Where columns and rows run to, and millimetres of the first pixel's centre, LPS.
    order : tuple of float
        Sorts repeated slices at one position: time point, echo, trigger, acquisition, instance.
    scale : tuple of float
        Slope and intercept: what a stored number stands for.
    about : dict
        Plain words of the series: number, description, modality, image type, SOP class, timing.
    person, told : Person, Told
        Age and sex; whether it was acquired.
    who : str
        The same for images of one patient; no name can be read from it.
    problem : str
        Why it is no slice of a volume, as the end of a sentence; empty if it can be one.
    """

    path: Path
    frame: int
    frames: int
    series: str
    instance: str
    shape: tuple[int, int]
    spacing: tuple[float, float]
    axes: np.ndarray | None
    position: np.ndarray | None
    order: tuple[float, ...]
    scale: tuple[float, float]
    about: dict[str, str]
    person: Person = field(default_factory=Person)
    who: str = ""
    told: Told = ACQUIRED
    problem: str = ""

    @property
    def identity(self) -> tuple:
        """The same for copies of one image, wherever they lie.

        Programs that export badly give all slices of a series one name; their places tell them
        apart.
        """
        place = None if self.position is None else tuple(self.position)
        return self.instance, place, self.order, *self.kind

    @property
    def kind(self) -> tuple[str, str, str]:
        """Patient, echo time and type of image: they differ between volumes of one series UID."""
        return self.who, self.about["echo_ms"], self.about["image_type"]

    @property
    def types(self) -> list[str]:
        """The words of the image's type."""
        return self.about["image_type"].upper().split("\\")

    @property
    def mosaic(self) -> bool:
        """Whether it holds all slices of a volume side by side."""
        return "MOSAIC" in self.types

    @property
    def turn(self) -> tuple[float, ...]:
        """Orientation, rounded; empty where it is not given."""
        return () if self.axes is None else tuple(np.round(self.axes.ravel(), 2) + 0.0)

    def stacks_with(self, other: DicomSlice) -> bool:
        """Whether two slices may be of one volume: size, spacing, kind of image, orientation.

        Not to the last digit: some scanners compute the orientation again for each slice.
        """
        if self.shape != other.shape or (self.who, self.types) != (other.who, other.types):
            return False
        echoes = [number_in(piece.about["echo_ms"], 0) for piece in (self, other)]
        if abs(echoes[0] - echoes[1]) > SAME_MS:
            return False
        if not np.allclose(self.spacing, other.spacing, atol=1e-3):
            return False
        if self.axes is None or other.axes is None:
            return self.axes is other.axes
        return np.allclose(self.axes, other.axes, atol=SAME_AXES)


@dataclass(frozen=True, eq=False)
class Stack:
    """Sorted slices of one orientation.

    Attributes
    ----------
    slices : list of list of DicomSlice
        One list per volume (time point, echo …), along the normal.
    depth : ndarray, shape (slices,)
        Distance of each slice from the first along the normal, mm.
    affine : ndarray
        (4, 4), column, row and slice of the even grid to RAS+ mm.
    count : int
        Slices of the even grid.
    problem : str
        Why it is not a volume, as the end of a sentence; else empty.
    notes : list of str or Doubt
        Notes on irregularities.
    mosaic : tuple of int, optional
        Columns and rows of a volume whose slices lie side by side in one file.
    """

    slices: list[list[DicomSlice]]
    depth: np.ndarray
    affine: np.ndarray
    count: int
    problem: str = ""
    notes: list[Note] = field(default_factory=list)
    mosaic: tuple[int, int] | None = None

    @property
    def even(self) -> bool:
        """Whether the slices are on the even grid."""
        grid = np.arange(self.count) * self.step
        return self.count == len(self.depth) and bool(
            np.allclose(self.depth, grid, atol=EVEN_SHARE * self.step)
        )

    @property
    def step(self) -> float:
        """Slice spacing of the grid along the normal in mm."""
        return float(self.depth[-1] / max(self.count - 1, 1))


def stacked(slices: list[DicomSlice]) -> Stack:
    """Sort slices with the same size, spacing and orientation."""
    nowhere = Stack([slices], np.arange(len(slices), dtype=float), np.eye(4), len(slices))
    first = slices[0]
    if problem := next((s.problem for s in slices if s.problem), ""):
        return replace(nowhere, problem=problem)
    if first.axes is None or any(s.position is None for s in slices):
        return replace(nowhere, problem="its files do not give the positions of the slices")
    normal = np.cross(first.axes[:, 0], first.axes[:, 1])
    positions = np.array([s.position for s in slices])
    along = positions @ normal
    ordered = sorted(range(len(slices)), key=lambda i: (along[i], slices[i].order))
    starts = [0]
    for place in range(1, len(ordered)):
        if along[ordered[place]] - along[ordered[starts[-1]]] > SAME_MM:
            starts.append(place)
    groups = [ordered[a:b] for a, b in zip(starts, [*starts[1:], len(ordered)], strict=True)]
    depth = np.array([along[group[0]] for group in groups])
    depth -= depth[0]
    volumes, repeats = min(map(len, groups)), max(map(len, groups))
    series = [[slices[group[k]] for group in groups] for k in range(volumes)]
    stack = Stack(series, depth, np.eye(4), len(groups))
    if len(groups) < MIN_VOXELS_PER_AXIS:
        words = "only 1 slice" if len(groups) == 1 else f"only {len(groups)} slices"
        problem = f"it has {words}, but a volume needs at least {MIN_VOXELS_PER_AXIS}"
    elif repeats > volumes:
        problem = (
            f"some positions have {repeats} slices and others {volumes}, so part of a volume is "
            "missing or two scans are mixed"
        )
    elif any(len({slices[k].order for k in group}) < repeats for group in groups):
        problem = f"nothing tells its {repeats} images of each position apart"
    else:
        return _on_grid(stack, positions[[group[0] for group in groups]], normal)
    return replace(stack, problem=problem)


def _on_grid(stack: Stack, positions: np.ndarray, normal: np.ndarray) -> Stack:
    """Fit the even grid to the slices, and note deviations."""
    first, depth = stack.slices[0][0], stack.depth
    steps = np.diff(depth)
    usual = float(np.median(steps))
    count = round(depth[-1] / usual) + 1
    lps = np.eye(4)
    lps[:3, :2] = np.asarray(first.axes) * first.spacing
    lps[:3, 2] = (positions[-1] - positions[0]) / (count - 1)
    lps[:3, 3] = positions[0]
    grid = replace(stack, affine=RAS_TO_LPS @ lps, count=count)
    line = positions[0] + np.outer(depth / depth[-1], positions[-1] - positions[0])
    off = float(np.linalg.norm(positions - line, axis=1).max())
    if off > OFF_LINE_MM:
        return replace(grid, problem=f"its slices are up to {off:.1f} mm off one line")
    if steps.max() > max(LARGEST_GAP_MM, 1.5 * usual):
        apart = f"{steps.max():.1f} mm between slices of {usual:.2g} mm"
        return replace(grid, problem=f"there is a gap of {apart}")
    return replace(grid, notes=_unusual(grid, steps, usual, positions, normal))


def _unusual(
    grid: Stack, steps: np.ndarray, usual: float, positions: np.ndarray, normal: np.ndarray
) -> list[Note]:
    notes: list[Note] = []
    missing = grid.count - len(grid.depth)
    if missing > 0 and np.abs(steps / usual - np.rint(steps / usual)).max() < EVEN_SHARE:
        words = "1 slice is" if missing == 1 else f"{missing} slices are"
        text = (
            f"{words} missing of {grid.count} and interpolated from the neighbours; check that "
            "all files were copied."
        )
        lost = {"missing": missing, "slices": grid.count}
        notes.append(Doubt("slices-missing", "ask", text, lost))
    elif not grid.even:
        apart = f"{steps.min():.3g} to {steps.max():.3g} mm apart"
        text = f"The slices are {apart}; they were interpolated to one every {grid.step:.3g} mm."
        figures = {"least_mm": float(steps.min()), "most_mm": float(steps.max())}
        notes.append(Doubt("slices-uneven", "tell", text, figures))
    course = (positions[-1] - positions[0]) / np.linalg.norm(positions[-1] - positions[0])
    tilt = float(np.degrees(np.arccos(np.clip(course @ normal, -1, 1))))
    if tilt > TILTED_DEGREES:
        notes.append(f"The gantry was tilted by {tilt:.1f} degrees; slices are placed accordingly.")
    return notes


def regridded(data: np.ndarray, stack: Stack) -> np.ndarray:
    """Interpolate slices (I, J, n) to the even grid: (I, J, count), float32."""
    if stack.even:
        return data
    where = np.interp(np.arange(stack.count) * stack.step, stack.depth, np.arange(len(stack.depth)))
    low = np.minimum(where.astype(int), len(stack.depth) - 2)
    share = (where - low).astype(np.float32)
    even = np.empty((*data.shape[:2], stack.count), np.float32, order="F")
    for place, (below, part) in enumerate(zip(low, share, strict=True)):
        even[..., place] = data[..., below] * (1 - part) + data[..., below + 1] * part
    return even


LISTED = 12
KEY_DIGITS = 6
#: Why files are left out that may be slices of a series.
EMPTY, DAMAGED, UNREADABLE, CUT = "empty", "damaged", "unreadable", "cut short"
LOST = (EMPTY, DAMAGED, UNREADABLE, CUT)


def left_out(left: Mapping[str, int]) -> str:
    """How many files were left out and why, in brackets after a space; empty if none were."""
    words = ", ".join(f"{count} {why}" for why, count in sorted(left.items()) if count)
    return f" (left out: {words})" if words else ""


@dataclass(frozen=True, eq=False)
class Series:
    """One series of a DICOM folder.

    Attributes
    ----------
    number : int or None
        The scanner's number of the series.
    uid : str
        Series instance UID, with suffix "#1", "#2" … if it has several stacks.
    description, modality : str
        Series description; MR, CT …
    kind : {"volume", "derived", "phase", "localiser", "secondary capture"}
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
    part : str
        By what it differs from other stacks of its series UID, such as its echo time.
    people : int
        How many patients share its series UID.
    left_out : Counter
        Files of the folder that are no slices: reason to number.
    lost : int
        How many images its headers count that were not found.
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
    part: str = ""
    people: int = 1
    left_out: Counter[str] = field(default_factory=Counter)
    lost: int = 0

    @property
    def uids(self) -> tuple[str, str]:
        """Its own UID, and the one that it shares with other stacks."""
        return self.uid, self.uid.partition("#")[0]

    @property
    def key(self) -> str:
        """What stands for it in a choice: the first digits of a hash of its UID."""
        return uid_digest(self.uid)[: len("uid-") + KEY_DIGITS]

    @property
    def files(self) -> int:
        """How many files hold its slices."""
        return len({piece.path for volume in self.stack.slices for piece in volume})

    @property
    def usable(self) -> bool:
        """Whether it can be read as a volume."""
        return not self.problem and self.kind != "localiser"

    def __str__(self) -> str:
        return f"{self.digits}: {self.description or 'unnamed'} ({self.summary}, {self.key})"

    @property
    def digits(self) -> str:
        """Its number, or a question mark."""
        return "?" if self.number is None else str(self.number)

    @property
    def summary(self) -> str:
        """Modality, grid and kind, without free text."""
        size = " x ".join(map(str, self.shape))
        spacing = " x ".join(f"{s:.3g}" for s in self.spacing)
        parts = [self.modality, f"{size} voxels of {spacing} mm", self.axes]
        parts.append(self.part)
        if self.volumes > 1:
            parts.append(f"{self.volumes} volumes")
        if self.kind != "volume":
            parts.append(self.kind)
        return ", ".join(part for part in parts if part)


def file_notes(series: Series) -> list[Note]:
    """How many files a series was read from, what was left out, and who shares its UID."""
    left = series.left_out
    notes: list[Note] = [f"Files read: {series.files}{left_out(left)}."]
    if lost := {why: left[why] for why in LOST if left[why]}:
        text = f"Slices may be missing, because files cannot be read{left_out(lost)}."
        notes.append(Doubt("files-lost", "ask", text, lost))
    if series.lost > series.stack.count - len(series.stack.depth):
        text = f"Its headers count {series.lost} more images; check that all files were copied."
        notes.append(Doubt("slices-missing", "ask", text, {"missing": series.lost}))
    if series.people > 1:
        text = f"The series UID is shared by {series.people} patients; this is {series.part}."
        notes.append(Doubt("patients", "ask", text, {"patients": series.people}))
    return notes


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
    """Choose a series by number, UID, its key or (part of) its description; else the only one.

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
            f"number, description or uid-…: {_listed(chosen)}.",
            found,
        )
    if chosen[0].problem:
        # A dedicated message for the common case of a single unusable series.
        raise SeveralSeries(
            f"{path}: series {chosen[0]} cannot be read as a volume, because {chosen[0].problem}"
            f"{left_out(chosen[0].left_out)}; give another series, or export it again.",
            found,
        )
    return chosen[0]


def uid_digest(uid: str) -> str:
    """What stands for a series UID in files that are handed on: UIDs may hold dates."""
    return f"uid-{hashlib.sha256(uid.encode()).hexdigest()[:16]}"


def _matching(found: Sequence[Series], wanted: int | str) -> list[Series]:
    text = str(wanted).strip().lower()
    for fits in (
        lambda series: text in series.uids,
        lambda series: text in map(uid_digest, series.uids) or text == series.key,
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
