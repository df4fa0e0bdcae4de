"""DICOM: which series a file or folder holds, and the volume of one of them.

Headers are read by pydicom, pixels by dcm2niix, both in a process of their own (`dicom_process`)
with limits on its memory and time: a damaged or hostile file may crash a reader, keep it busy
without end or fill the memory. That ends the process, never the window. Only what is named here is
kept of a header: names, dates, numbers and institutions of patients never enter this program's
objects, hence none of its files.
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
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from stylegan3d.base import Json, ScanError
from stylegan3d.scans import checks
from stylegan3d.scans.notes import number_in
from stylegan3d.scans.origin import DICOM_WORDS, origin_of_dicom
from stylegan3d.scans.person import person_of_dicom
from stylegan3d.scans.series import (
    CUT,
    DAMAGED,
    EMPTY,
    UNREADABLE,
    DicomSlice,
    Series,
    Stack,
    choose_series,
    left_out,
    regridded,
    stacked,
)
from stylegan3d.storage.files import held_bytes, temporary_folder
from stylegan3d.storage.formats import is_kind, looks_like_dicom

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
        for stream in (process.stdin, process.stdout):
            if stream is not None:
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
    "images": "ImagesInAcquisition",
}
#: What sorts repeated slices at one position.
ORDER = (
    *("TemporalPositionIdentifier", "EchoNumbers", "TriggerTime", "AcquisitionNumber"),
    "InstanceNumber",
)
_PLACE = {"PixelSpacing": 2, "ImageOrientationPatient": 6, "ImagePositionPatient": 3}
_PERSON = ("PatientAge", "PatientBirthDate", "StudyDate", "PatientSex")
_WHO = ("PatientID", "PatientName", "PatientBirthDate")
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
        told = _decoder.ask(path, {"path": str(path), "words": WORDS}, limit)
    except NotDecoded:
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
        search.left[told["top"].get("SeriesInstanceUID", "")][CUT if any(held) else NO_IMAGE] += 1
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
    who = "\\".join(said.get(word, "") for word in _WHO)
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
            f"{path} is a folder without DICOM images"
            f"{left_out(sum(search.left.values(), Counter()))}; give the folder of an "
            "examination, or one NIfTI file."
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

    Raises
    ------
    ScanError
        If there is no such series.
    """
    first = choose_series(path, list_series(path), uid).stack.slices[0][0]
    request = {"path": str(first.path), "words": [*IDENTITY.values(), "SOPClassUID"]}
    said = _decoder.ask(first.path, request, _seconds_for([first.path])).get("top", {})
    return {word: str(said.get(keyword, "")).strip() for word, keyword in IDENTITY.items()}


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
        for name in sorted(names):
            file = Path(folder, name)
            if looks_like_dicom(file) and not name.startswith("."):
                yield file
            elif not name.startswith("."):
                search.left[""][_not_dicom(file)] += 1


def _not_dicom(file: Path) -> str:
    if not os.access(file, os.R_OK):
        return UNREADABLE
    if file.is_file() and not file.stat().st_size:
        return EMPTY
    return DAMAGED if is_kind(file, "dicom") else "not DICOM"


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
    lost = int(max(number_in(piece.about["images"], 0) for piece in slices)) - len(slices)
    names = [uid] if len(parts) == 1 else [f"{uid}#{place + 1}" for place in range(len(parts))]
    same = {"left_out": left, "people": len(people), "lost": lost}
    return [
        _entry(name, part, turned, part=words, **same)
        for name, part, words in zip(names, parts, told, strict=True)
    ]


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


def _mosaics(slices: list[DicomSlice]) -> Stack:
    """Files that hold a volume each; dcm2niix knows where its slices lie."""
    ordered = sorted(slices, key=lambda piece: piece.order)
    files = [[piece] for piece in ordered]
    try:
        data, affine, _ = _converted(ordered[:1])
    except NotDecoded:
        return Stack(files, np.zeros(1), np.eye(4), 1, "its mosaic cannot be taken apart")
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
    paths, axes = list(dict.fromkeys(piece.path for piece in slices)), slices[0].axes
    common = {} if axes is None else {"ImageOrientationPatient": axes.T.ravel().tolist()}
    common["PixelSpacing"] = list(slices[0].spacing[::-1])
    wanted = [[str(one.path), one.frame, not one.mosaic and _at(one) | common] for one in slices]
    with temporary_folder() as folder:
        request = {"slices": wanted, "folder": str(folder)}
        told = _decoder.ask(paths[0], request, _seconds_for(paths))
        made = sorted(folder.glob("volume*.nii"), key=lambda file: len(file.name))
        if told.get("memory"):
            raise NotDecoded(
                f"{paths[0]} takes more than {MOST_BYTES / 1e9:.3g} GB of memory to decode; give a "
                "smaller series, or export it again."
            )
        if not made or told["status"]:
            raise _damaged(paths[0])
        image = nib.Nifti1Image.from_filename(made[0], mmap=False)
        data = np.asarray(image.dataobj)
    if data.ndim != 3 or not (slices[0].mosaic or data.shape == (*slices[0].shape, len(slices))):
        raise _damaged(paths[0])
    words = (line.partition("Warning: ")[2] for line in told["told"])
    return data, image.affine, [word for word in words if word and not _HARMLESS.match(word)]


def _at(piece: DicomSlice) -> Json:
    """Where a slice lies, as an element."""
    return {} if piece.position is None else {"ImagePositionPatient": piece.position.tolist()}


def _damaged(path: Path) -> NotDecoded:
    return NotDecoded(
        f"{path} is damaged or cut short and cannot be read (its pixel data cannot be decoded); "
        "copy or export it again."
    )
