"""What the headers of DICOM files say of the slices in them, and nothing about the patient.

GDCM, by way of SimpleITK, does the decoding, in a process of its own. Only the tags below are kept:
names, dates, numbers and institutions of patients never enter this program's objects, hence none of
its files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stylegan3d.scans.dicom_decoder import Budget, NotDecoded, header_of, lengths_of
from stylegan3d.scans.origin import ACQUIRED, DICOM_TAGS, Told, origin_of_dicom
from stylegan3d.scans.person import Person, person_of_dicom

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# Pixel spacing, orientation and position of an image as they lie in a little-endian file.
SPACING, ORIENTATION, POSITION = b"\x28\0\x30\0", b"\x20\0\x37\0", b"\x20\0\x32\0"
_LONGEST = 128
# Frames of a file, and their pixels; a long functional series has some ten thousand slices.
MOST_FRAMES, MOST_PIXELS = 100_000, 4_000_000_000
# Bytes before the pixel data: some 2 kB for each frame.
MOST_HEADER = 250_000_000
# A place or a size beyond this is no millimetres of a person.
FARTHEST_MM = 1e6
# Cosines that differ by less are of one orientation.
SAME_AXES = 2e-3
# Direction cosines of two digits are off by so much; more is no orientation.
SLOPPY = 0.02
# Pixel data may be padded, but not to as many bytes as voxels of another type would have.
WIDER = 1.5
BITS = "0028|0100"
ABOUT = {
    "number": "0020|0011",
    "description": "0008|103e",
    "modality": "0008|0060",
    "image_type": "0008|0008",
    "sop_class": "0008|0016",
    "echo_ms": "0018|0081",
    "repetition_ms": "0018|0080",
    "inversion_ms": "0018|0082",
}
# Time point, echo, trigger, acquisition, instance: they sort repeated slices at one position.
ORDER = ("0020|0100", "0018|0086", "0018|1060", "0020|0012", "0020|0013")
_PLACE = (BITS, "0028|0030", "0020|0037", "0020|0032", "0028|0008", "0020|000e", "0008|0018")
# Age, birth date, date of the study, sex: only age and sex are kept.
_PERSON = ("0010|1010", "0010|0030", "0008|0020", "0010|0040")
TAGS = tuple(dict.fromkeys((*ABOUT.values(), *ORDER, *_PLACE, *_PERSON, *DICOM_TAGS.values())))


class _Geometry(NamedTuple):
    """Rows' and columns' distance (2,), direction cosines (6,) and place (3,); None if missing."""

    spacing: np.ndarray | None
    turn: np.ndarray | None
    place: np.ndarray | None


@dataclass(frozen=True, eq=False)
class DicomSlice:
    """One slice: a file, or one frame of a file with several.

    Attributes
    ----------
    path : Path
    frame : int
        Which frame of the file, from 0.
    frames : int
        How many frames the file has.
    series : str
        Series instance UID.
    instance : str
        Names the image, wherever it was copied to.
    shape, spacing : tuple
        Columns and rows; millimetres from one column to the next, and one row.
    axes : ndarray, shape (3, 2), or None
        Where columns and rows run to, LPS.
    position : ndarray, shape (3,), or None
        LPS millimetres of the first pixel's centre.
    order : tuple of float
        Sorts repeated slices at one position: time point, echo, trigger, acquisition, instance.
    about : dict
        Plain words of the series: number, description, modality, image type, SOP class, timing.
    person : Person
        Age and sex.
    told : Told
        Whether it was acquired.
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
    about: dict[str, str]
    person: Person = field(default_factory=Person)
    told: Told = ACQUIRED
    problem: str = ""

    @property
    def identity(self) -> tuple:
        """The same for copies of one image, wherever they lie.

        Programs that export badly give all slices of a series one name; their places tell them
        apart.
        """
        place = None if self.position is None else tuple(self.position)
        return self.instance, place, self.order

    @property
    def turn(self) -> tuple[float, ...]:
        """Orientation, rounded; empty where it is not given."""
        return () if self.axes is None else tuple(np.round(self.axes.ravel(), 2) + 0.0)

    def stacks_with(self, other: DicomSlice) -> bool:
        """Whether two slices may be of one volume: size, spacing, kind of image, orientation.

        Not to the last digit: some scanners compute the orientation again for each slice.
        """
        if self.shape != other.shape or self._kind != other._kind:
            return False
        if not np.allclose(self.spacing, other.spacing, atol=1e-3):
            return False
        if self.axes is None or other.axes is None:
            return self.axes is other.axes
        return np.allclose(self.axes, other.axes, atol=SAME_AXES)

    @property
    def _kind(self) -> list[str]:
        return self.about["image_type"].split("\\")[:3]


def slices_of(path: Path, budget: Budget | None = None) -> list[DicomSlice]:
    """The slices of a DICOM file, empty if it holds no image; `budget` is that of its folder."""
    budget = budget or Budget()
    lengths = lengths_of(path, budget)
    if not lengths.fit:
        return []
    try:
        told = header_of(path, TAGS)
    except NotDecoded as error:
        budget.ended -= error.ended
        return []
    header = {tag: _plain(text) for tag, text in told["header"].items()}
    columns, rows = told["shape"][:2]
    frames = max(1, int(_number(header.get("0028|0008"), 1)))
    # A file of 10 MB can claim a thousand million frames.
    if frames > MOST_FRAMES or frames * rows * columns > MOST_PIXELS:
        return []
    lies = _frame_geometry(path, frames, lengths.header) if frames > 1 else [_geometry(header)]
    about = _about(header, told["components"])
    person = person_of_dicom(*(header.get(tag, "") for tag in _PERSON))
    origin = origin_of_dicom(header)
    voxels = columns * rows * frames * told["components"]
    wrong = _wrong_size(lengths.pixels, voxels, _number(header.get(BITS), 16))
    order = tuple(_number(header.get(tag), 0) for tag in ORDER)
    return [
        DicomSlice(
            path=path,
            frame=frame,
            frames=frames,
            series=header.get("0020|000e", ""),
            instance=f"{header.get('0008|0018', path.name)}/{frame}",
            shape=(columns, rows),
            spacing=(1.0, 1.0) if at.spacing is None else (at.spacing[1], at.spacing[0]),
            axes=None if at.turn is None else at.turn.reshape(2, 3).T,
            position=None if at.spacing is None else at.place,
            order=(*order, frame),
            about=about,
            person=person,
            told=origin,
            problem=wrong or _wrong_place(at),
        )
        for frame, at in enumerate(lies)
    ]


def _wrong_size(pixels: int | None, voxels: int, bits: float) -> str:
    """What is wrong if pixel data of so many bytes do not hold so many voxels of so many bits."""
    claimed = voxels * bits / 8
    if pixels is None or claimed <= pixels < WIDER * claimed:
        return ""
    return f"its pixel data have {pixels:,} bytes, but its header claims {claimed:,.0f}"


def _wrong_place(at: _Geometry) -> str:
    """What is wrong with a spacing or an orientation that no scanner gives."""
    if at.spacing is not None and not (at.spacing > 0).all():
        return "its pixel spacing is not positive"
    if at.turn is None:
        return ""
    rows, columns = at.turn.reshape(2, 3)
    if np.abs(np.linalg.norm([rows, columns], axis=1) - 1).max() > SLOPPY:
        return "its direction cosines are not of length 1"
    if abs(float(rows @ columns)) > SLOPPY:
        return "its rows and columns are not at right angles"
    return ""


def _geometry(header: dict[str, str]) -> _Geometry:
    """Of a file with one frame."""
    return _Geometry(
        _numbers(header.get("0028|0030"), 2),
        _numbers(header.get("0020|0037"), 6),
        _numbers(header.get("0020|0032"), 3),
    )


def _frame_geometry(path: Path, frames: int, header: int) -> list[_Geometry]:
    """Of each frame of a file with several; without what is given for some of them only.

    What SimpleITK shows leaves out sequences, and it makes the voxels 1 mm large where frames are
    in another order than their places. So the elements are looked for in the header's bytes.
    """
    with path.open("rb") as stream:
        raw = stream.read(min(header, MOST_HEADER))
    places = _elements(raw, POSITION, 3)
    common = [_elements(raw, SPACING, 2), _elements(raw, ORIENTATION, 6)]
    found = []
    for frame in range(frames):
        spacing, turn = (
            values[frame] if len(values) == frames else values[0] if values else None
            for values in common
        )
        place = places[frame] if len(places) == frames else None
        found.append(_Geometry(spacing, turn, place))
    return found


def _elements(raw: bytes, tag: bytes, count: int) -> list[np.ndarray]:
    """All values of a tag with `count` numbers, in the order of the file (little endian)."""
    found = []
    at = raw.find(tag)
    while at >= 0:
        explicit = raw[at + 4 : at + 6] == b"DS"
        length = raw[at + 6 : at + 8] if explicit else raw[at + 4 : at + 8]
        size = int.from_bytes(length, "little")
        if size <= _LONGEST:
            value = _numbers(raw[at + 8 : at + 8 + size].decode("latin-1").strip(" \0"), count)
            if value is not None:
                found.append(value)
        at = raw.find(tag, at + 4)
    return found


def _about(header: dict[str, str], components: int) -> dict[str, str]:
    """The series in plain words; nothing here names a person, a place or a date."""
    record = {name: header.get(tag, "") for name, tag in ABOUT.items()}
    return record | {"components": str(components)}


def _numbers(text: str | None, count: int) -> np.ndarray | None:
    """The numbers of a DICOM text, (count,), or None if it holds others."""
    try:
        values = np.array([float(part) for part in (text or "").split("\\")])
    except ValueError:
        return None
    return values if values.size == count and (np.abs(values) < FARTHEST_MM).all() else None


def _plain(text: str) -> str:
    """Without padding, and without bytes that are no text in the file's character set."""
    return text.strip(" \0").encode("utf-8", "replace").decode("utf-8")


def _number(text: str | None, default: float) -> float:
    try:
        value = float((text or "").split("\\")[0])
    except ValueError:
        return default
    return value if math.isfinite(value) else default
