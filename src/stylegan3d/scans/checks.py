"""Checks of scan files; every error is one sentence with a suggestion.

Headers are checked before image data is read or memory allocated: a damaged or malicious header can
claim any size.
"""

import gzip
import math
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from stylegan3d.base import Doubt, ScanError
from stylegan3d.geometry.space import MAX_VOXELS
from stylegan3d.storage.files import LARGEST_RATIO, SUSPICIOUS, check_holes, reason
from stylegan3d.storage.formats import MGH, PAIR, format_of, is_kind, is_packed

MIN_VOXELS_PER_AXIS = 16
# A head measures 150 to 260 mm; slabs and large fields of view must pass.
MIN_EXTENT_MM, MAX_EXTENT_MM = 60.0, 1000.0

# Bytes before the image: header and extensions, which may hold a DICOM header.
LARGEST_OFFSET = 64_000_000
# Largest and smallest intensities whose squares are finite in single precision.
LARGEST_VALUE, SMALLEST_VALUE = 1e36, 1e-36
# Highest compression ratio of deflate.
DEFLATE_MOST = 1032
# Bytes of a compressed file behind its image: footers, and what programs leave there.
SLACK = 16_000_000
# Bytes of a voxel in FreeSurfer's types: unsigned char, int, float, short.
MGH_BYTES = {0: 1, 1: 4, 3: 4, 4: 2}

# How archives are named and begin; tape archives are marked inside.
ARCHIVE = re.compile(r"(?i)\.(zip|7z|rar|t(ar|gz)|bz2|xz|zst|(dcm|ima|img)\.gz|tar\.[a-z0-9]+)$")
ZIP_MAGIC, TAR_MAGIC, TAR_AT = b"PK\x03\x04", b"ustar", 257
# What stands for a file that was not fetched, of Git LFS and git-annex.
POINTER = re.compile(rb"version https://git-lfs|/annex/objects/")
# Quaternions longer than 1 by less are rounded; nibabel refuses what its own rounding exceeds.
ROUNDING = 3e-3


def _quaternion(header: nib.Nifti1Header) -> np.ndarray:
    """Of the qform; nibabel's threshold would take 6 degrees beside half a turn for half a turn."""
    own = np.array([header[f"quatern_{letter}"] for letter in "bcd"], np.float64)
    rest = 1 - own @ own
    if not rest > -ROUNDING:
        raise ValueError("its quaternion is longer than 1")
    return np.array([math.sqrt(max(float(rest), 0)), *own])


nib.Nifti1Header.get_qform_quaternion = _quaternion  # type: ignore[method-assign]
# Millimetres in the units of a header.
UNITS_MM = {"mm": 1.0, "micron": 1e-3, "meter": 1e3}
# Exceptions of nibabel, gzip and zlib for invalid files.
READ_ERRORS = (
    *(OSError, EOFError, ValueError, ArithmeticError, TypeError, LookupError, AttributeError),
    *(AssertionError, struct.error, zlib.error, nib.filebasedimages.ImageFileError),
    *(nib.spatialimages.HeaderDataError, nib.freesurfer.mghformat.MGHError),
)


def check_there(path: Path) -> None:
    """Refuse paths at which nothing is, in words that name the path."""
    try:
        there = path.exists()
    except (OSError, ValueError) as error:  # the name is too long or contains NUL
        raise ScanError(f"{path} is not a valid file name; check the path.") from error
    if there:
        return
    if re.match(r"(https?|s3|ftp|file):/", str(path)):
        address = str(path).replace(":/", "://", 1)
        raise ScanError(f"{address} is an address; download the file and give its path.")
    if path.is_symlink():
        raise ScanError(f"{path} is a link to {path.readlink()}, which does not exist.")
    raise ScanError(f"{path} does not exist; check the path.")


def check_file(path: Path) -> None:
    """Refuse files that are missing, unreadable, empty or of an unsupported format."""
    check_there(path)
    if not path.is_file():  # opening a pipe would block forever
        raise ScanError(f"{path} is not a file; give a file, or a DICOM folder.")
    check_holes(path)
    try:
        with path.open("rb") as stream:
            # What says to be empty may be a file of the kernel, which would be waited for.
            start = stream.read(TAR_AT + 5) if path.stat().st_size else b""
    except PermissionError as error:
        raise ScanError(
            f"{path} cannot be opened for lack of permission; ask its owner for read access."
        ) from error
    except OSError as error:
        raise ScanError(f"{path} cannot be opened ({error.strerror}).") from error
    if not start:
        raise ScanError(f"{path} is empty (0 bytes); copy or export it again.")
    if POINTER.match(start):
        raise ScanError(
            f"{path} only says where its content is kept: fetch that first (`git lfs pull`, "
            "`git annex get` or `datalad get`)."
        )
    _check_archive(path, start)
    if not is_kind(path, "scan"):
        raise ScanError(
            f"{path} is not a format this program reads; give a .nii, .nii.gz or .mgz file, or a "
            "DICOM folder."
        )


def _check_archive(path: Path, start: bytes) -> None:
    """Refuse archives, by their name or first bytes."""
    packed = start.startswith(ZIP_MAGIC) or start[TAR_AT:].startswith(TAR_MAGIC)
    if packed or ARCHIVE.search(path.name):
        raise ScanError(f"{path} is an archive; unpack it and give what is inside.")


def check_nifti_header(path: Path) -> None:
    """Refuse sizes and spacings that nibabel would silently repair.

    nibabel sets a voxel size of 0 to 1 mm and drops minus signs; either would give the brain the
    wrong scale, so the raw header is checked.
    """
    if _is(path, MGH):
        return
    header = _raw_header(path, _first_bytes(path))
    dims = np.asarray(header["dim"], dtype=np.int64)
    if not 1 <= dims[0] <= 7 or (dims[1 : dims[0] + 1] < 1).any():
        raise ScanError(
            f"{path} claims impossible image dimensions {dims[1:4].tolist()}; its header is "
            "damaged: export the scan again."
        )
    spacing = np.asarray(header["pixdim"], dtype=np.float64)[1:4]
    if dims[0] >= 3 and not (np.isfinite(spacing).all() and (spacing > 0).all()):
        words = " x ".join(f"{s:g}" for s in spacing)
        raise ScanError(
            f"{path} has a voxel size of {words} mm, which must be above zero on every axis; "
            "correct the header or export the scan again."
        )


def _first_bytes(path: Path) -> bytes:
    """The first bytes of the header's file, up to the length of the longest header."""
    source = path.with_suffix(".hdr") if path.suffix.lower() == ".img" else path
    if source != path and not source.is_file():
        raise ScanError(f"{path} has no header beside it ({source.name}); copy both files.")
    opener = gzip.open if is_packed(path) else open
    try:
        with opener(source, "rb") as stream:
            return stream.read(nib.Nifti2Header.sizeof_hdr)
    except READ_ERRORS as error:
        raise damaged(path, error) from error


def _is(path: Path, name: str) -> bool:
    form = format_of(path)
    return form is not None and form.name == name


def check_claim(path: Path) -> None:
    """Refuse a header that claims more data than its file can contain, or an invalid offset.

    Called before nibabel opens the file, since it reads everything between header and image.
    """
    offset, size = _claimed(path)
    # In a single file the image follows the header, which has 284 bytes or more.
    least = 0 if _is(path, PAIR) else 284
    if not least <= offset <= LARGEST_OFFSET:
        raise ScanError(
            f"{path} says that its image begins at byte {offset:.4g}, which is impossible; its "
            "header is damaged: export the scan again."
        )
    image = path.with_suffix(".img") if _is(path, PAIR) else path
    if not image.is_file():
        raise ScanError(f"{path} has no image beside it ({image.name}); copy both files.")
    check_holes(image)
    held = image.stat().st_size * (DEFLATE_MOST if is_packed(path) else 1)
    if offset + size > held + 1024:
        raise ScanError(
            f"{path} is damaged or cut short: its header claims {offset + size:,.0f} bytes, and "
            f"the file can hold {held:,.0f}; copy or export it again."
        )


def _claimed(path: Path) -> tuple[float, float]:
    """Offset and size of the image in bytes, according to the header."""
    block = _first_bytes(path)
    if _is(path, MGH):
        if len(block) < 284:
            raise damaged(path, ValueError("its header is incomplete"))
        dims = np.frombuffer(block[4:20], ">i4").tolist()
        return 284, math.prod(max(n, 0) for n in dims) * MGH_BYTES.get(block[23], 1)
    header = _raw_header(path, block)
    rank = int(header["dim"][0])
    dims = [max(int(n), 0) for n in header["dim"][1 : rank + 1]]
    offset = float(header["vox_offset"])
    size = float(math.prod(dims)) * max(int(header["bitpix"]), 0) / 8
    return (offset if math.isfinite(offset) else -1.0), size


def _raw_header(path: Path, block: bytes) -> Any:
    for kind in (nib.Nifti1Header, nib.Nifti2Header):
        head = block[: kind.sizeof_hdr]
        if len(head) == kind.sizeof_hdr and kind.may_contain_header(head):
            return kind(head, check=False)
    # NIfTI extends Analyze's header by a magic string.
    analyze = block[: nib.AnalyzeHeader.sizeof_hdr]
    if _is(path, PAIR) and nib.AnalyzeHeader.may_contain_header(analyze):
        return nib.AnalyzeHeader(analyze, check=False)
    _check_archive(path, block)
    raise ScanError(
        f"{path} is not a NIfTI image (no NIfTI header in it); export the scan again as NIfTI."
    )


def damaged(path: Path, error: Exception) -> ScanError:
    """The error for a truncated or corrupt file."""
    return ScanError(f"{path} is damaged or cut short ({reason(error)}); copy or export it again.")


def check_content(path: Path) -> None:
    """Refuse a compressed file that does not match its checksum, or unpacks to far too much.

    Readers stop at the last voxel, before the checksum: otherwise a corrupted download would go
    unnoticed.
    """
    if not is_packed(path):
        return
    offset, size = _claimed(path)
    most = offset + size + SLACK
    packed, found = path.stat().st_size, 0
    try:
        with gzip.open(path, "rb") as stream:
            while piece := stream.read(2**22):
                found += len(piece)
                if found > most or (found > SUSPICIOUS and found > LARGEST_RATIO * packed):
                    raise ScanError(
                        f"{path} unpacks to far more than any scan file contains; it is damaged or "
                        "was made to fill the memory: export the scan again."
                    )
    except READ_ERRORS as error:
        raise damaged(path, error) from error


def check_grid(path: Path, shape: tuple[int, ...], affine: np.ndarray) -> None:
    """Refuse grids that cannot be a 3D scan of a head: flat, too large, too small, degenerate."""
    words = " x ".join(str(n) for n in shape)
    if len(shape) < 3 or min(shape) == 1:
        raise ScanError(
            f"{path} is a 2D image ({words}), not a volume; give a 3D T1-weighted scan."
        )
    if np.prod(np.asarray(shape, dtype=np.float64)) > MAX_VOXELS:
        raise ScanError(
            f"{path} has {words} voxels, more than fit into memory here; resample it to "
            "0.5 mm. If it should have fewer, its header is damaged."
        )
    if min(shape) < MIN_VOXELS_PER_AXIS:
        raise ScanError(
            f"{path} has only {words} voxels; at least {MIN_VOXELS_PER_AXIS} on every axis are "
            "needed to find a brain in it."
        )
    check_affine(path, affine)
    extent = nib.affines.voxel_sizes(affine) * shape
    if extent.min() < MIN_EXTENT_MM or extent.max() > MAX_EXTENT_MM:
        size = " x ".join(f"{e:.4g}" for e in extent)
        raise ScanError(
            f"{path} covers {size} mm, which is not the size of a head; check the voxel size and "
            "its unit (millimetres) in the header."
        )


def check_affine(path: Path, affine: np.ndarray) -> None:
    """Refuse a singular affine."""
    matrix = np.asarray(affine, dtype=np.float64)[:3, :3]
    sizes = np.sqrt((matrix**2).sum(axis=0))
    sound = np.isfinite(affine).all() and sizes.all()
    if not sound or abs(np.linalg.det(matrix / sizes)) < 0.1:  # 1 for orthogonal axes
        raise ScanError(
            f"{path} has a degenerate orientation matrix (zero voxel size or parallel axes); "
            "correct the header's sform and qform or export the scan again."
        )


def check_type(path: Path, dtype: np.dtype) -> None:
    """Refuse colour and complex images: neither has one intensity per voxel."""
    if dtype.fields is not None:
        raise ScanError(
            f"{path} is a colour (RGB) image, such as a screenshot or a map; "
            "give the greyscale T1-weighted scan."
        )
    if np.issubdtype(dtype, np.complexfloating):
        raise ScanError(f"{path} holds complex numbers; give the magnitude image of the scan.")


def check_values(path: Path, data: np.ndarray) -> None:
    """Refuse NaN, infinities, absurd magnitudes and an image without contrast."""
    bad = int(data.size - np.count_nonzero(np.isfinite(data)))
    if bad:
        raise ScanError(
            f"{path} has {bad} voxels that are not numbers (NaN or infinite); "
            "replace them, for example by 0, and try again."
        )
    largest = float(max(-data.min(), data.max()))
    if largest > LARGEST_VALUE or 0 < largest < SMALLEST_VALUE:
        raise ScanError(
            f"{path} has intensities of up to {largest:.3g}, which is out of range; scale "
            "them, for example to 0 to 1000, and try again."
        )
    if data.min() == data.max():
        raise ScanError(
            f"{path} has the same value ({data.flat[0]:g}) in every voxel; give a scan with a head "
            "in it."
        )


# Open image files without trusting their headers.


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence nibabel's console output; relevant problems are checked here."""
    log = nib.imageglobals.logger
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def open_image(path: Path) -> Any:
    """A nibabel image of a file, with its data not loaded yet.

    Raises
    ------
    ScanError
        If it is not an image file, or claims an impossible size.
    """
    check_file(path)
    check_nifti_header(path)
    check_claim(path)
    try:
        with _quiet():
            image = _opened(path)
    except READ_ERRORS as error:
        raise damaged(path, error) from error
    return _in_millimetres(path, image)


def read_volume(path: Path, what: str) -> tuple[Any, np.ndarray]:
    """An image that is no scan, and its values, float32 (I, J, K) or with more axes.

    Parameters
    ----------
    what : str
        What it should be, for messages: mask, template.

    Raises
    ------
    ScanError
        If it is too large, in colours, complex or damaged.
    """
    image = open_image(path)
    if np.prod(np.asarray(image.shape, np.float64)) > MAX_VOXELS:
        raise ScanError(f"{path} has more voxels than fit into memory here; resample it to 0.5 mm.")
    check_type(path, image.get_data_dtype())
    check_content(path)
    try:
        with np.errstate(over="ignore"):
            data = np.asarray(image.dataobj, np.float32)
    except (*READ_ERRORS, MemoryError) as error:
        raise ScanError(
            f"{path} cannot be read as a {what} ({str(error)[:120]}); copy it again."
        ) from error
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    return image, data


def _opened(path: Path) -> Any:
    """By content: the name may say that a file is compressed which is not, or the other way."""
    block = _first_bytes(path)
    kind: Any = nib.MGHImage
    if not _is(path, MGH):
        kinds = {nib.Nifti1Header: nib.Nifti1Image, nib.Nifti2Header: nib.Nifti2Image}
        kind = kinds.get(type(_raw_header(path, block)))
        if kind is None:  # not by nib.load, which would look for SPM's .mat
            return nib.AnalyzeImage.from_filename(path)
    packed = is_packed(path)
    if _is(path, PAIR) or packed == path.name.lower().endswith(("gz", "mgz")):
        image = nib.load(path)
    else:
        check_content(path)
        with (gzip.open if packed else open)(path, "rb") as stream:
            image = kind.from_bytes(stream.read())
    sign = 1.0 if kind is nib.MGHImage else float(_raw_header(path, block)["pixdim"][0])
    header = image.header
    if sign not in (-1, 0, 1) and header["qform_code"] > 0 and header["sform_code"] <= 0:
        header["pixdim"][0] = -1 if sign < 0 else 1  # nibabel takes any other for 1
        image = type(image)(image.dataobj, header.get_best_affine(), header)
        text = (
            f"The header's pixdim[0], which can only be 1 or -1, is {sign:g}; it is taken as "
            f"{header['pixdim'][0]:g}, so left and right may be swapped."
        )
        image.extra["geometry"] = {"open_sides": text}
    if kind is nib.MGHImage and block[28:30] == b"\0\0":  # goodRASFlag
        # FreeSurfer's default; nibabel has other signs.
        turn = np.array([[-1, 0, 0], [0, 0, 1], [0, -1, 0]])
        middle = -turn @ np.array(image.shape[:3]) / 2
        image = kind(image.dataobj, nib.affines.from_matvec(turn, middle), image.header)
        image.header["goodRASFlag"] = 0
        sizes = np.frombuffer(block[30:42], ">f4")
        if ((sizes > 0) & np.isfinite(sizes)).all() and np.abs(sizes - 1).max() > 0.01:
            text = f"Its voxel size of {sizes.min():.3g} mm is not marked valid; 1 mm is assumed."
            image.extra["notes"] = [Doubt("voxel-size", "ask", text, {"mm": sizes.tolist()})]
    return image


def _in_millimetres(path: Path, image: Any) -> Any:
    """The image with lengths in mm; `extra` tells what was made of its unit.

    A header is only believed if a head can be as large as it says.
    """
    if not isinstance(image, nib.Nifti1Pair) or image.ndim < 3:
        return image
    header, told = image.header, "unknown"
    check_affine(path, image.affine)
    extent = nib.affines.voxel_sizes(image.affine) * image.shape[:3]
    with suppress(KeyError):
        told = header.get_xyzt_units()[0]
    low, high = MIN_EXTENT_MM / extent.min(), MAX_EXTENT_MM / extent.max()
    possible = [u for u in (told, *UNITS_MM) if low <= UNITS_MM.get(u, 0) <= high]
    unit = next(iter(possible), "mm")
    text = f"The header's lengths are taken as {unit}; it says {told}"
    if told != unit and (told, unit) != ("unknown", "mm"):
        text += ", in which this could not be a head."
        image.extra["notes"] = [Doubt("unit", "ask", text, {"told": told, "assumed": unit})]
    elif told != "mm":
        image.extra["notes"] = [f"{text}."]
    if unit == "mm":
        return image
    for field in ("srow_x", "srow_y", "srow_z", "qoffset_x", "qoffset_y", "qoffset_z"):
        header[field] *= UNITS_MM[unit]
    header["pixdim"][1:4] *= UNITS_MM[unit]
    header.set_xyzt_units("mm")
    return type(image)(image.dataobj, header.get_best_affine(), header, image.extra)
