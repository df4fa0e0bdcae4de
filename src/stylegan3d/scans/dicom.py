"""DICOM: which series a file or folder holds, and the volume of one of them.

Headers are read by pydicom, pixels by dcm2niix, both in a process of their own (`dicom_process`)
with limits on its memory and time: a damaged or hostile file may crash a reader, keep it busy
without end or fill the memory. That ends the process, never the window. Only what is named here is
kept of a header: names, dates, numbers and institutions of patients never enter this program's
objects, hence none of its files.

A volume is assembled from slices with individual positions. The grid follows the line of the
positions, which need not be perpendicular to the slices (a tilted gantry). Small irregularities and
gaps are interpolated between neighbouring slices, larger ones refused.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from stylegan3d.base import Doubt, Json, Note, ScanError, Severity
from stylegan3d.geometry.space import RAS_TO_LPS
from stylegan3d.scans import checks
from stylegan3d.scans.checks import MIN_VOXELS_PER_AXIS
from stylegan3d.scans.headers import number_in
from stylegan3d.scans.origin import ACQUIRED, DICOM_WORDS, Told, origin_of_dicom
from stylegan3d.scans.person import Person, person_of_dicom
from stylegan3d.storage.files import held_bytes, temporary_folder
from stylegan3d.storage.formats import is_kind, looks_like_dicom

# Tolerance for equal positions.
SAME_MM = 0.01
# Tolerated deviation from the even grid, as a share of the spacing.
EVEN_SHARE = 0.05
# The largest step over the smallest, beyond which a slice may be missing.
UNEVEN = 1.5
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
    person, by_dates, told : Person, Person, Told
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
    by_dates: Person = field(default_factory=Person)
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
        return f"{self.about['image_type']}\\{self.about['part']}".upper().split("\\")

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
        problem = f"nothing distinguishes its {repeats} images of each position"
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
        severity: Severity = "ask" if steps.max() > UNEVEN * steps.min() else "tell"
        notes.append(Doubt("slices-uneven", severity, text, figures))
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
    elsewhere : int
        How many slices of its series UID lie where it has none, in stacks of another kind or size.
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
    elsewhere: int = 0

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
    if series.lost > max(0, series.stack.count - len(series.stack.depth)):
        text = f"Its headers count {series.lost} more images; check that all files were copied."
        notes.append(Doubt("slices-missing", "ask", text, {"missing": series.lost}))
    if series.elsewhere:
        text = f"{series.elsewhere} slices of its series differ in kind or size and are left out."
        notes.append(Doubt("slices-missing", "ask", text, {"missing": series.elsewhere}))
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
            "number, description or uid-…, or, where many scans are read, by its own folder: "
            f"{_listed(chosen)}.",
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


#: Not imported: it is a script that loads what nothing else here needs.
SCRIPT = Path(__file__).with_name("dicom_process.py")
#: Memory of the process with dcm2niix: as much as a series of `MAX_VOXELS` takes.
MOST_BYTES = 2_300_000_000
#: How the process ends when a request takes too long, or too much memory.
SLOW, LARGE = 3, 4
#: Seconds for one request, how many bytes at least are read in one, and what a slice takes.
SECONDS, BYTES_PER_S, SECONDS_PER_SLICE = 8.0, 20_000_000, 0.02
#: Processor seconds that a small header takes at most; more is taken from the folder's budget.
SLOW_S = 0.05
#: What a file costs that ends the process.
ENDED_S = 20.0
#: Why a stack is none of intensities.
COLOURED = "it holds colour images, not intensities"
#: dcm2niix may place a voxel so far from where its header does.
PLACED_MM = 0.01
#: What it says of every slice that holds nothing else.
_HARMLESS = re.compile(r"Patient Position|Unable to determine|Interslice|Instance Number|Missing")


class NotDecoded(ScanError):
    """A file that cannot be decoded, or that took the process down or to its limits."""


class _Decoder:
    """One process, started when it is first asked and again after it ended."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def start(self) -> subprocess.Popen[bytes]:
        """The process; it keeps its limits itself."""
        process = self._process
        # A process that was forked off shares pipes with its parent, which would mix the answers.
        if process is None or self._owner != os.getpid() or process.poll() is not None:
            self._process = process = subprocess.Popen(
                [sys.executable, "-P", str(SCRIPT), str(MOST_BYTES)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
            self._owner = os.getpid()
        return process

    def ask(self, what: Path, request: Json, seconds: float) -> Json:
        """An answer about a file or folder; NotDecoded if there is none within the limits."""
        line = json.dumps(request | {"limit": seconds}).encode() + b"\n"
        with self._turn:
            process = self.start()
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(OSError, ValueError):  # it has ended, or in the middle of an answer
                process.stdin.write(line)
                process.stdin.flush()
                return json.loads(process.stdout.readline())
            self.stop()
        why = {
            SLOW: f"takes more than {seconds:.0f} s to decode",
            LARGE: f"takes more than {MOST_BYTES / 1e9:.3g} GB of memory to decode",
        }.get(process.returncode, "crashes the decoder")
        raise NotDecoded(
            f"{what} {why}: it is damaged or was made to do so; leave it out or export it again."
        )

    def stop(self) -> None:
        """End the process, if it is ours: without requests it ends dcm2niix and itself."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        for stream in filter(None, (process.stdin, process.stdout)):
            with suppress(OSError):  # what was not sent yet
                stream.close()
        process.wait()


def _seconds_for(paths: Iterable[Path]) -> float:
    with suppress(OSError):
        return SECONDS + sum(SECONDS_PER_SLICE + held_bytes(one) / BYTES_PER_S for one in paths)
    return SECONDS


_decoder = _Decoder()
atexit.register(_decoder.stop)

NO_IMAGE = "without an image"
# A folder of one examination holds some thousand files.
MOST_FILES = 20_000
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# A place or a size beyond this is no millimetres of a person.
FARTHEST_MM = 1e6
# Direction cosines of two digits are off by so much; more is no orientation.
SLOPPY = 0.02
# Pixel data may be padded, but not to as many bytes as voxels of another type would have.
WIDER = 1.5
ABOUT = {
    "number": "SeriesNumber",
    "description": "SeriesDescription",
    "modality": "Modality",
    "image_type": "ImageType",
    "sop_class": "SOPClassUID",
    "echo_ms": "EchoTime",
    "repetition_ms": "RepetitionTime",
    "inversion_ms": "InversionTime",
    "flip": "FlipAngle",
    "sequence": "SequenceName",
    "part": "ComplexImageComponent",
    "images": "ImagesInAcquisition",
    "agent": "ContrastBolusAgent",
    "age": "PatientAge",
    "sex": "PatientSex",
}
#: What sorts repeated slices at one position.
ORDER = (
    *("TemporalPositionIdentifier", "EchoNumbers", "TriggerTime", "AcquisitionNumber"),
    "InstanceNumber",
)
INSTANCE = ORDER.index("InstanceNumber")
_PLACE = {"PixelSpacing": 2, "ImageOrientationPatient": 6, "ImagePositionPatient": 3}
_PERSON = ("PatientAge", "PatientBirthDate", "StudyDate", "PatientSex")
# Where names are taken out, age, sex or study still differ.
_WHO = (
    *("PatientID", "PatientName", "PatientBirthDate"),
    *("PatientAge", "PatientSex", "StudyInstanceUID"),
)
_SCALE = {"RescaleSlope": 1.0, "RescaleIntercept": 0.0}
_UIDS = ("SeriesInstanceUID", "SOPInstanceUID")
_WORDS = (*ABOUT.values(), *ORDER, *_PLACE, *_SCALE, *_PERSON, *_WHO, *_UIDS)
WORDS = tuple(dict.fromkeys((*_WORDS, *DICOM_WORDS.values())))
#: What a header says of the patient: shown on demand, written nowhere.
IDENTITY = {
    "Name": "PatientName",
    "ID": "PatientID",
    "Date of birth": "PatientBirthDate",
    "Study date": "StudyDate",
    "Study": "StudyDescription",
}
_LOCALISER = re.compile(r"locali[sz]er|scout|survey|topogram|3[- ]?plane|\bloc\b", re.IGNORECASE)
# Made on a console from other series: not what the scanner measured.
_DERIVED = ("DERIVED", "SECONDARY", "MPR", "MIP", "PROJECTION IMAGE", "ADC", "FA", "CSA MPR", "RMS")
# Not how bright tissue is.
_PHASE = {"P", "PHASE", "PHASE MAP", "R", "REAL", "I", "IMAGINARY", "VELOCITY"}
_PHASE |= {"B0", "B0 MAP", "FIELD_MAP", "FIELD MAP"}


@dataclass
class DicomSearch:
    """What the search of a folder may still spend, and what it left out.

    Attributes
    ----------
    seconds : float
        Processor time beyond that of sound headers.
    left : dict
        Why files were left out, with their number: of the series whose UID is known, of others "".
    """

    seconds: float = 60.0
    left: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))


def slices_of(path: Path, search: DicomSearch) -> list[DicomSlice]:
    """The slices of a DICOM file; none of one that `search` counts as left out."""
    limit = _seconds_for([path])
    try:
        checks.check_holes(path)
        told = _decoder.ask(path, {"path": str(path), "words": WORDS}, limit)
    except (FileNotFoundError, ScanError):
        search.seconds -= ENDED_S
        search.left[""][DAMAGED] += 1
        return []
    search.seconds -= max(0.0, told["seconds"] - (limit - SECONDS) - SLOW_S)
    if "top" not in told:
        # "failed" is what the file made pydicom raise; a report has no pixels to fail at.
        search.left[""][DAMAGED if told.get("damaged", True) else NO_IMAGE] += 1
        return []
    held, frames = told["bytes"], told["frames"]
    if held is not None and (held[1] < held[0] or not any(held)):
        search.left[told["top"].get("SeriesInstanceUID", "")][CUT] += 1
        return []
    return [_slice(path, told["top"] | own, n, len(frames), held) for n, own in enumerate(frames)]


def _slice(path: Path, said: Json, frame: int, frames: int, held: list[int] | None) -> DicomSlice:
    spacing, turn, place = (_numbers(said.get(word), n) for word, n in _PLACE.items())
    slope, intercept = (number_in(said.get(word), n) for word, n in _SCALE.items())
    if said.get("PhotometricInterpretation") == "MONOCHROME1":  # the brightest is stored as 0
        signed = said.get("PixelRepresentation") == "1"
        brightest = -1 if signed else 2 ** number_in(said.get("BitsStored"), 16) - 1
        slope, intercept = -slope, intercept + slope * brightest
    order = tuple(number_in(said.get(word), 0) for word in ORDER)
    said_of = (re.sub(r"[\^\s]+", " ", said.get(word, "")).strip() for word in _WHO)
    who = "\\".join(said_of).casefold()
    columns, rows = int(said["Columns"]), int(said["Rows"])
    return DicomSlice(
        path=path,
        frame=frame,
        frames=frames,
        series=said.get("SeriesInstanceUID", ""),
        instance=f"{said.get('SOPInstanceUID', path.name)}/{frame}",
        shape=(columns, rows),
        spacing=(1.0, 1.0) if spacing is None else (spacing[1], spacing[0]),
        axes=None if turn is None else turn.reshape(2, 3).T,
        position=None if spacing is None else place,
        order=(*order, frame),
        scale=(slope or 1.0, intercept),
        about={name: said.get(word, "") for name, word in ABOUT.items()},
        person=person_of_dicom(*(said.get(word, "") for word in _PERSON)),
        by_dates=person_of_dicom("", *(said.get(word, "") for word in _PERSON[1:])),
        who=hashlib.sha256(who.encode()).hexdigest(),
        told=origin_of_dicom(said),
        problem=_wrong_pixels(said, columns * rows * frames, held) or _wrong_place(spacing, turn),
    )


def _wrong_pixels(said: Json, voxels: int, held: list[int] | None) -> str:
    """What is wrong with colours, or if the bytes of pixel data do not hold so many voxels."""
    colours = said.get("PhotometricInterpretation", "MONOCHROME2")
    if said.get("SamplesPerPixel", "1") != "1" or not colours.startswith("MONOCHROME"):
        return COLOURED
    bits = number_in(said.get("BitsAllocated"), 16)
    if bits not in (8, 16, 32) or not 0 < number_in(said.get("BitsStored"), bits) <= bits:
        return f"its voxels are of {bits:g} bits, not of 8, 16 or 32"
    claimed = voxels * bits / 8
    if held is None or claimed <= held[0] < WIDER * claimed:
        return ""
    return f"its pixel data have {held[0]:,} bytes, but its header claims {claimed:,.0f}"


def _wrong_place(spacing: np.ndarray | None, turn: np.ndarray | None) -> str:
    """What is wrong with a spacing or an orientation that no scanner gives."""
    if spacing is not None and not (spacing > 0).all():
        return "its pixel spacing is not positive"
    if turn is None:
        return ""
    rows, columns = turn.reshape(2, 3)
    if np.abs(np.linalg.norm([rows, columns], axis=1) - 1).max() > SLOPPY:
        return "its direction cosines are not of length 1"
    if abs(float(rows @ columns)) > SLOPPY:
        return "its rows and columns are not at right angles"
    return ""


def _numbers(text: str | None, count: int) -> np.ndarray | None:
    """The numbers of a DICOM text, (count,), or None if it holds others."""
    try:
        values = np.array([float(part) for part in (text or "").split("\\")])
    except ValueError:
        return None
    return values if values.size == count and (np.abs(values) < FARTHEST_MM).all() else None


def list_series(path: str | Path) -> list[Series]:
    """The image series of a DICOM folder, searched with its subfolders, or of a file's series.

    Volumes come first, then what was derived from them, phase images, localisers and captures; each
    by number.

    Raises
    ------
    ScanError
        If there is no DICOM image, or the folder holds more than 20,000 files.
    """
    path, search = Path(path), DicomSearch()
    checks.check_there(path)
    own = slices_of(path, search) if path.is_file() else None
    if own == []:
        raise ScanError(
            f"{path} is not a DICOM image that can be read (a report, or damaged or cut short?); "
            "give a file or folder of a T1-weighted series."
        )
    search.left.clear()
    found: dict[str, dict[tuple, DicomSlice]] = defaultdict(dict)
    for file in [path] if own and own[0].frames > 1 else _files(path, search):
        for piece in slices_of(file, search):
            # The same image copied to two places counts once.
            if own is not None and piece.series != own[0].series:
                search.left[""]["of another series"] += 1
            elif found[piece.series].setdefault(piece.identity, piece) is not piece:
                search.left[piece.series]["copies"] += 1
        if search.seconds <= 0:
            raise ScanError(
                f"{path} holds files that take too much memory or time to read, such as "
                f"{file.name}; leave them out, or give the folder of one series."
            )
    if not found:
        raise ScanError(
            f"{path} holds no DICOM images{left_out(sum(search.left.values(), Counter()))}; give "
            "the folder of an examination, or one NIfTI file."
        )
    series = [
        entry
        for uid, parts in found.items()
        for entry in _split(uid, list(parts.values()), search.left[""] + search.left[uid])
    ]
    ranks = ("volume", "derived", "phase", "localiser", "secondary capture")
    return sorted(
        series,
        key=lambda s: (not s.usable, ranks.index(s.kind), s.number is None, s.number or 0, s.uid),
    )


def identity_of(path: Path, uid: str | None = None) -> dict[str, str]:
    """Who a DICOM series says that the patient is: `IDENTITY` with what it gives, or "".

    Dates are YYYY-MM-DD.

    Raises
    ------
    ScanError
        If there is no such series.
    """
    first = choose_series(path, list_series(path), uid).stack.slices[0][0]
    request = {"path": str(first.path), "words": [*IDENTITY.values(), "SOPClassUID"]}
    said = _decoder.ask(first.path, request, _seconds_for([first.path])).get("top", {})
    told = {word: str(said.get(keyword, "")).strip() for word, keyword in IDENTITY.items()}
    dates = (word for word, keyword in IDENTITY.items() if keyword.endswith("Date"))
    return told | {w: re.sub(r"^(\d{4})(\d\d)(\d\d)$", r"\1-\2-\3", told[w]) for w in dates}


def _files(path: Path, search: DicomSearch) -> Iterator[Path]:
    """DICOM files at a place, sorted; of a file, its folder's. `search` counts the others."""
    seen = 0
    for folder, folders, names in os.walk(path.parent if path.is_file() else path):
        folders.sort()
        if path.is_file():
            folders.clear()
            names = sorted(names)[:MOST_FILES]
        seen += len(names)
        if seen > MOST_FILES:
            raise ScanError(
                f"{path} is a folder of more than {MOST_FILES:,} files; give the one of the "
                "examination or series."
            )
        files = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
        sound = []
        for file in filter(looks_like_dicom, files):
            sound.append(file)
            yield file
        # Slices of a series differ in numbers; copies and downloads that did not end, in their end.
        named = {file: re.sub(r"[\d.]", "", file.name) for file in files}
        alike = {named[file] + end for file in sound for end in ("", "part", "tmp", "crdownload")}
        for file in set(files).difference(sound):
            search.left[""][_not_dicom(file, named[file] in alike)] += 1


def _not_dicom(file: Path, is_named_so: bool) -> str:
    if not os.access(file, os.R_OK):
        return UNREADABLE
    if checks.ARCHIVE.search(file.name):
        return "still packed in an archive"
    suffix = file.suffix[1:]
    if (not suffix or suffix.isdigit() or is_kind(file, "dicom")) and not file.stat().st_size:
        return EMPTY
    return DAMAGED if is_named_so or is_kind(file, "dicom") else "not DICOM"


def _split(uid: str, slices: list[DicomSlice], left: Counter[str]) -> list[Series]:
    """The stacks of one series UID: by patient, echo, kind of image, size, spacing, orientation."""
    parts: list[list[DicomSlice]] = []
    for piece in slices:
        home = next((part for part in parts if piece.stacks_with(part[0])), None)
        if home is None:
            parts.append([piece])
        else:
            home.append(piece)
    parts.sort(key=lambda part: (-len(part), part[0].kind))
    turned = len({part[0].turn for part in parts}) > 1
    people = sorted({part[0].who for part in parts})
    told = [_told_apart([part[0] for part in parts], place, people) for place in range(len(parts))]
    count, numbers = len(slices), sorted(piece.order[INSTANCE] for piece in slices)
    lost = int(max(number_in(piece.about["images"], 0) for piece in slices)) - count
    # Numbered without a gap, from which image on; far beyond them a scanner has numbered on.
    if len(parts) == 1 and numbers == [*np.arange(count) + numbers[0]] and numbers[0] <= count:
        lost = max(lost, int(numbers[0]) - 1)
    names = [uid] if len(parts) == 1 else [f"{uid}#{place + 1}" for place in range(len(parts))]
    same = {"left_out": left, "people": len(people), "lost": lost}
    return [
        _entry(name, part, turned, part=words, elsewhere=_elsewhere(part, parts), **same)
        for name, part, words in zip(names, parts, told, strict=True)
    ]


def _elsewhere(part: list[DicomSlice], parts: list[list[DicomSlice]]) -> int:
    """How many slices of other stacks lie where this stack of the same patient has none."""
    first, here = part[0], {_rounded(piece) for piece in part}
    return sum(
        piece.who == first.who and piece.turn == first.turn and _rounded(piece) not in here
        for other in parts
        for piece in other
        if piece.position is not None
    )


def _rounded(piece: DicomSlice) -> tuple[float, ...]:
    """Where a slice lies, to a tenth of a millimetre."""
    return () if piece.position is None else tuple(np.round(piece.position, 1).tolist())


def _told_apart(firsts: list[DicomSlice], place: int, people: list[str]) -> str:
    """By what one of several stacks of a series UID differs from the others."""
    one, words = firsts[place], []
    if len(people) > 1:
        words.append(f"patient {people.index(one.who) + 1} of {len(people)}")
    echoes = [number_in(first.about["echo_ms"], 0) for first in firsts]
    if len({*echoes}) > 1 and echoes[place]:
        words.append(f"echo {echoes[place]:g} ms")
    common = set.intersection(*(set(first.types) for first in firsts))
    return " ".join([*words, *(word for word in one.types if word and word not in common)])


def _entry(uid: str, slices: list[DicomSlice], mixed: bool, **more: Any) -> Series:
    first, about = slices[0], slices[0].about
    stack = _mosaics(slices) if first.mosaic else stacked(slices)
    problem = stack.problem
    kind = _kind(first, mixed=mixed, slices=stack.count)
    if kind == "localiser" and mixed:
        problem = f"its slices have several orientations, {problem or 'as a localiser has'}"
    affine = stack.affine
    placed = first.mosaic or (first.axes is not None and first.position is not None)
    depth = float(np.linalg.norm(affine[:3, 2])) if placed else 0.0
    number = about["number"]
    return Series(
        number=int(number) if re.fullmatch(r"-?[0-9]{1,12}", number) else None,
        uid=uid,
        description=about["description"],
        modality=about["modality"] or "modality unknown",
        kind=kind,
        shape=(*(stack.mosaic or first.shape), stack.count),
        spacing=(*first.spacing, depth),
        axes="".join(nib.aff2axcodes(affine)) if placed and not problem else "",
        volumes=len(stack.slices),
        problem=problem,
        stack=stack,
        **more,
    )


def _kind(first: DicomSlice, *, mixed: bool, slices: int) -> str:
    types, about = first.types, first.about
    if "LOCALIZER" in types or _LOCALISER.search(about["description"]):
        return "localiser"
    if mixed and slices < checks.MIN_VOXELS_PER_AXIS:
        return "localiser"
    if about["sop_class"].startswith(SECONDARY_CAPTURE) or first.problem == COLOURED:
        return "secondary capture"
    derived = types[0] == "DERIVED" or any(name in types[1:] for name in _DERIVED)
    return "derived" if derived else "phase" if _PHASE.intersection(types[2:]) else "volume"


def mixed_doubts(slices: list[DicomSlice]) -> list[Doubt]:
    """Whether one volume's slices were taken in different ways, though they lie as one image."""
    words = "inversion_ms", "repetition_ms", "flip", "sequence", "description", "agent"
    ways = [{number_in(piece.about[w], 0) or piece.about[w] for piece in slices} for w in words]
    differ = [ABOUT[w] for w, way in zip(words, ways, strict=True) if len(way) > 1]
    text = f"Its slices differ in {' and '.join(differ)}: they may be from several images."
    return [Doubt("mixed-slices", "ask", text, {"differ": differ})] if differ else []


def _mosaics(slices: list[DicomSlice]) -> Stack:
    """Files that hold a volume each; dcm2niix knows where its slices lie."""
    ordered = sorted(slices, key=lambda piece: piece.order)
    files = [[piece] for piece in ordered]
    try:
        data, affine, _ = _converted(ordered[:1])
    except NotDecoded:
        return Stack(files, np.zeros(1), np.eye(4), 1, "its mosaic cannot be split")
    depth = np.arange(data.shape[2]) * float(np.linalg.norm(affine[:3, 2]))
    return Stack(files, depth, affine, data.shape[2], mosaic=(data.shape[0], data.shape[1]))


def read_series(path: Path, series: Series, volume: int) -> tuple[np.ndarray, list[str]]:
    """Intensities of one volume of a series, float32 (columns, rows, slices), and warnings.

    Raises
    ------
    ScanError
        If a file cannot be decoded, or dcm2niix places it elsewhere than its headers do.
    """
    slices, stack = series.stack.slices[volume], series.stack
    checks.check_grid(path, series.shape, stack.affine)
    data, affine, warnings = _converted(slices)
    if not slices[0].mosaic:
        data, rows = data[:, ::-1], data.shape[1]  # dcm2niix has the last row first
        affine[:3, 3] += (rows - 1) * affine[:3, 1]
        affine[:3, 1] *= -1
        # Slices that are uneven or missing, or tilted, are placed below.
        if np.abs((affine - stack.affine)[:3, [0, 1, 3]]).max() > PLACED_MM:
            raise _damaged(slices[0].path)
        scaled = np.empty(data.shape, np.float32, order="F")
        for place, piece in enumerate(slices):
            slope, intercept = piece.scale
            scaled[..., place] = data[..., place] * np.float64(slope) + intercept
        data = regridded(scaled, stack)
    return np.ascontiguousarray(data, dtype=np.float32), warnings


def _converted(slices: list[DicomSlice]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """What dcm2niix makes of one volume's slices: array, affine (4, 4) to RAS+ mm, warnings."""
    paths, first = list(dict.fromkeys(piece.path for piece in slices)), slices[0]
    places: list[Json] = [{}] * len(slices)
    if not first.mosaic:
        # Evenly spaced: `regridded` places them, dcm2niix some types of voxels only.
        start, end = (np.asarray(piece.position) for piece in (first, slices[-1]))
        common = {
            "ImageOrientationPatient": np.asarray(first.axes).T.ravel().tolist(),
            "PixelSpacing": list(first.spacing[::-1]),
        }
        line = np.linspace(start, end, len(slices)).round(6).tolist()
        places = [{"ImagePositionPatient": at} | common for at in line]
    wanted = [[str(s.path), s.frame, place] for s, place in zip(slices, places, strict=True)]
    with temporary_folder() as folder:
        request = {"slices": wanted, "folder": str(folder)}
        told = _decoder.ask(paths[0], request, _seconds_for(paths))
        made = sorted(folder.glob("volume*.nii"), key=lambda file: len(file.name))
        if told.get("memory"):
            raise NotDecoded(
                f"{paths[0]} takes more than {MOST_BYTES / 1e9:.3g} GB of memory to decode; give a "
                "smaller series, or export it again."
            )
        if "failed" in told:  # at the slice after those that it wrote
            raise _damaged(slices[min(len([*folder.glob("*.dcm")]), len(slices) - 1)].path)
        if not made or told["status"]:
            lines = reversed(told["told"] or ["no word"])
            said = min(lines, key=lambda line: not line.startswith("Error"))
            where = paths[0] if len(paths) == 1 else paths[0].parent
            raise _damaged(where, f"dcm2niix: {said.replace(f'{folder}{os.sep}', '')}")
        image = nib.Nifti1Image.from_filename(made[0], mmap=False)
        data = np.asarray(image.dataobj)
    if data.ndim != 3 or not (slices[0].mosaic or data.shape == (*slices[0].shape, len(slices))):
        raise _damaged(paths[0])
    words = (line.partition("Warning: ")[2] for line in told["told"])
    return data, image.affine, [word for word in words if word and not _HARMLESS.match(word)]


def _damaged(path: Path, why: str = "its pixel data cannot be decoded") -> NotDecoded:
    return NotDecoded(
        f"{path} is damaged or cut short and cannot be read ({why}); copy or export it again."
    )
