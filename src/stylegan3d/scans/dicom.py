"""DICOM: which series a file or folder holds, and the volume of one of them."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path

import nibabel as nib
import numpy as np

from stylegan3d.base import ScanError
from stylegan3d.scans import checks
from stylegan3d.scans.dicom_decoder import Budget, header_of, pixels_of, warm_up
from stylegan3d.scans.dicom_headers import SECONDARY_CAPTURE, DicomSlice, slices_of
from stylegan3d.scans.series import Series, Stack, choose_series, regridded, stacked
from stylegan3d.storage.formats import looks_like_dicom

# A folder of one examination holds some thousand files.
MOST_FILES = 20_000
_LOCALISER = re.compile(r"locali[sz]er|scout|survey|topogram|3[- ]?plane|\bloc\b", re.IGNORECASE)
# Made on a console from other series: not what the scanner measured.
_DERIVED = ("DERIVED", "SECONDARY", "MPR", "MIP", "PROJECTION IMAGE", "ADC", "FA", "CSA MPR")


def list_series(path: str | Path) -> list[Series]:
    """The image series of a DICOM folder, searched with its subfolders, or of a file's series.

    Volumes come first, then what was derived from them, localisers and captures; each by number.

    Raises
    ------
    ScanError
        If there is no DICOM image, or the folder holds more than 20,000 files.
    """
    path, budget = Path(path), Budget()
    warm_up()
    own = slices_of(path, budget) if path.is_file() else None
    if own == []:
        raise ScanError(
            f"{path} is not a DICOM image that can be read (a report or a damaged file?); give "
            "a file or folder of a T1-weighted series."
        )
    found: dict[str, dict[tuple, DicomSlice]] = defaultdict(dict)
    for file in [path] if own and own[0].frames > 1 else _files(path):
        for piece in slices_of(file, budget):
            # The same image copied to two places counts once.
            if own is None or piece.series == own[0].series:
                found[piece.series].setdefault(piece.identity, piece)
        if budget.spent:
            raise ScanError(
                f"{path} holds files that take too much memory or time to read, such as "
                f"{file.name}; leave them out, or give the folder of one series."
            )
    if not found:
        raise ScanError(
            f"{path} is a folder without DICOM images; give the folder of an examination, or one "
            "NIfTI file."
        )
    series = [entry for uid, parts in found.items() for entry in _split(uid, list(parts.values()))]
    ranks = ("volume", "derived", "localiser", "secondary capture")
    return sorted(
        series,
        key=lambda s: (not s.usable, ranks.index(s.kind), s.number is None, s.number or 0, s.uid),
    )


#: What a header says of the patient: shown on demand, written nowhere.
IDENTITY = {
    "Name": "0010|0010",
    "ID": "0010|0020",
    "Date of birth": "0010|0030",
    "Study date": "0008|0020",
    "Study": "0008|1030",
}


def identity_of(path: Path, uid: str | None = None) -> dict[str, str]:
    """Who a DICOM series says that the patient is: `IDENTITY` with what it gives, or "".

    Raises
    ------
    ScanError
        If there is no such series.
    """
    found = choose_series(path, list_series(path), uid)
    first = found.stack.slices[0][0]
    header = header_of(first.path, tuple(IDENTITY.values()))["header"]
    return {word: str(header.get(tag, "")).strip() for word, tag in IDENTITY.items()}


def _files(path: Path) -> list[Path]:
    """DICOM files at a place, in a fixed order; of a file, its folder's."""
    if path.is_file():
        files = [p for p in sorted(path.parent.iterdir()) if p.is_file()][:MOST_FILES]
        return [p for p in files if looks_like_dicom(p)]
    found: list[Path] = []
    seen = 0
    for folder, folders, names in os.walk(path):
        folders.sort()
        seen += len(names)
        if seen > MOST_FILES:
            raise ScanError(
                f"{path} is a folder of more than {MOST_FILES:,} files; give the one of the "
                "examination or series."
            )
        shown = (Path(folder, name) for name in sorted(names) if not name.startswith("."))
        found.extend(file for file in shown if looks_like_dicom(file))
    return found


def _split(uid: str, slices: list[DicomSlice]) -> list[Series]:
    """The stacks of one series UID: by size, spacing, kind of image and orientation."""
    parts: list[list[DicomSlice]] = []
    for piece in slices:
        home = next((part for part in parts if piece.stacks_with(part[0])), None)
        if home is None:
            parts.append([piece])
        else:
            home.append(piece)
    parts.sort(key=len, reverse=True)
    turned = len({part[0].turn for part in parts}) > 1
    entries = []
    for place, part in enumerate(parts):
        name = uid if place == 0 else f"{uid}#{place + 1}"
        entries.append(_entry(name, part, stacked(part), mixed=turned))
    return entries


def _entry(uid: str, slices: list[DicomSlice], stack: Stack, *, mixed: bool) -> Series:
    about = slices[0].about
    problem = stack.problem
    kind = _kind(about, mixed=mixed, slices=stack.count)
    if about["components"] != "1":
        problem = "it holds colour images, not intensities"
    elif kind == "localiser" and mixed:
        problem = f"its slices have several orientations, {problem or 'as a localiser has'}"
    affine = stack.affine
    placed = slices[0].axes is not None and slices[0].position is not None
    depth = float(np.linalg.norm(affine[:3, 2])) if placed else 0.0
    number = about["number"]
    return Series(
        number=int(number) if re.fullmatch(r"-?[0-9]{1,12}", number) else None,
        uid=uid,
        description=about["description"],
        modality=about["modality"] or "modality unknown",
        kind=kind,
        shape=(*slices[0].shape, stack.count),
        spacing=(*slices[0].spacing, depth),
        axes="".join(nib.aff2axcodes(affine)) if placed and not problem else "",
        volumes=len(stack.slices),
        problem=problem,
        stack=stack,
    )


def _kind(about: dict[str, str], *, mixed: bool, slices: int) -> str:
    types = about["image_type"].upper().split("\\")
    if "LOCALIZER" in types or _LOCALISER.search(about["description"]):
        return "localiser"
    if mixed and slices < checks.MIN_VOXELS_PER_AXIS:
        return "localiser"
    if about["sop_class"].startswith(SECONDARY_CAPTURE) or about["components"] != "1":
        return "secondary capture"
    derived = types[0] == "DERIVED" or any(name in types[1:] for name in _DERIVED)
    return "derived" if derived else "volume"


def read_series(path: Path, series: Series, volume: int) -> np.ndarray:
    """Intensities of one volume of a series, float32 (columns, rows, slices), rescaled.

    Raises
    ------
    ScanError
        If a file cannot be decoded.
    """
    slices = series.stack.slices[volume]
    checks.check_grid(path, series.shape, series.stack.affine)
    data = _frames(slices) if slices[0].frames > 1 else _single(slices)
    return np.ascontiguousarray(regridded(data, series.stack), dtype=np.float32)


def _single(slices: list[DicomSlice]) -> np.ndarray:
    data = np.empty((*slices[0].shape, len(slices)), np.float32, order="F")
    for place, piece in enumerate(slices):
        data[..., place] = pixels_of(piece.path, (*piece.shape, 1))[..., 0]
    return data


def _frames(slices: list[DicomSlice]) -> np.ndarray:
    first = slices[0]
    if [(piece.path, piece.frame) for piece in slices] == [
        (first.path, frame) for frame in range(first.frames)
    ]:
        return pixels_of(first.path, (*first.shape, first.frames))  # no second copy of all
    data = np.empty((*first.shape, len(slices)), np.float32, order="F")
    places = defaultdict(list)
    for place, piece in enumerate(slices):
        places[piece.path].append((place, piece))
    for path, parts in places.items():
        frames = pixels_of(path, (*parts[0][1].shape, parts[0][1].frames))
        for place, piece in parts:
            data[..., place] = frames[..., piece.frame]
    return data
