"""Writing: volumes as NIfTI with a sidecar, and files that are either whole or not there.

Geometry is written twice in NIfTI, as the sform and as the qform; programs differ in which they
trust, so both are set and agree. The bytes depend on the content alone: gzip's time stamp is zero.
"""

from __future__ import annotations

import errno
import gzip
import io
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from stylegan3d.errors import OutputError
from stylegan3d.jsontext import to_json

VOLUME_SUFFIX = ".nii.gz"
_DESCRIPTION_BYTES = 79  # the header's field has 80, the last one ends the string


def write_volume(
    path: str | Path,
    data: np.ndarray,
    affine: np.ndarray,
    *,
    description: str,
    sidecar: Mapping[str, Any],
    overwrite: bool = False,
    synthetic: bool = True,
    xform_code: int = 2,
) -> None:
    """Write a volume as NIfTI-1 `.nii.gz` and its sidecar as `.json` beside it, both or neither.

    Parameters
    ----------
    path : path
        A name that ends in `.nii.gz`; missing folders are made.
    data : np.ndarray
        `(X, Y, Z)` real numbers, stored as float32 as given; bool and uint8 are stored as uint8.
    affine : np.ndarray
        (4, 4) voxel indices to RAS+ millimetres.
    description : str
        For the header, after the word SYNTHETIC; cut to the 79 bytes it has.
    sidecar : mapping
        Content of the JSON file; `SyntheticImage` is added.
    overwrite : bool
        Replace files of these names.
    synthetic : bool
        False for an image that was measured, such as an aligned scan.
    xform_code : int
        NIfTI code of sform and qform: 1 scanner, 2 aligned, 4 MNI 152.

    Raises
    ------
    OutputError
        If a file exists, cannot be written, or the volume cannot be stored.
    """
    image = make_image(data, affine, xform_code)
    files = volume_files(
        Path(path), image, description=description, sidecar=sidecar, synthetic=synthetic
    )
    write_together(files, overwrite=overwrite)


def volume_files(
    path: Path,
    image: nib.Nifti1Image,
    *,
    description: str,
    sidecar: Mapping[str, Any],
    synthetic: bool = True,
) -> dict[Path, bytes]:
    """The two files `write_volume` writes, not yet written: name to content.

    The image's geometry is kept as it is, so one in a scan's own space keeps the scan's.
    """
    _check_suffix(path, (VOLUME_SUFFIX,))
    mark = "SYNTHETIC not for diagnosis; " if synthetic else ""
    image.header["descrip"] = (mark + description).encode("ascii", "replace")[:_DESCRIPTION_BYTES]
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=buffer, mode="wb", compresslevel=6, mtime=0) as stream:
        stream.write(image.to_bytes())
    text = to_json({**sidecar, "SyntheticImage": synthetic})
    return {path: buffer.getvalue(), sidecar_path(path): text.encode()}


def sidecar_path(path: str | Path) -> Path:
    """Name of the JSON file that belongs to a `.nii.gz` file."""
    path = Path(path)
    return path.with_name(path.name.removesuffix(VOLUME_SUFFIX) + ".json")


def make_image(data: np.ndarray, affine: np.ndarray, xform_code: int = 2) -> nib.Nifti1Image:
    """A NIfTI-1 image of a volume with sform and qform that agree; see `write_volume`."""
    data, affine = np.asarray(data), np.asarray(affine, dtype=np.float64)
    if data.ndim != 3 or 0 in data.shape or max(data.shape) > np.iinfo(np.int16).max:
        raise OutputError(f"A volume of shape {data.shape} cannot be saved: it needs three axes.")
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or np.linalg.det(affine) == 0:
        raise OutputError("The volume's affine is not a voxel grid: set it before saving.")
    data = data.astype(np.uint8 if data.dtype in (np.bool_, np.uint8) else np.float32)
    if not np.isfinite(data).all():
        raise OutputError("The volume holds NaN or infinity and was not saved: render it again.")
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, xform_code)
    image.set_qform(affine, xform_code)
    if not np.allclose(image.get_qform(), affine, atol=1e-3):
        # A quaternion has no shears: rather no qform than one that disagrees with the sform.
        image.set_qform(None)
    return image


def atomic_write_bytes(
    path: str | Path, data: bytes, *, overwrite: bool = False, suffixes: Sequence[str] = ()
) -> None:
    """Write a file that is either whole or not there; missing folders are made.

    Raises
    ------
    OutputError
        If the file exists and `overwrite` is false, if its name does not end in one of
        `suffixes`, or if it cannot be written.
    """
    path = Path(path)
    _check_suffix(path, suffixes)
    write_together({path: data}, overwrite=overwrite)


def atomic_write_text(path: str | Path, text: str, *, overwrite: bool = False) -> None:
    """`atomic_write_bytes` for text, in UTF-8."""
    atomic_write_bytes(path, text.encode(), overwrite=overwrite)


def check_output(paths: Sequence[str | Path], overwrite: bool = False) -> None:
    """Refuse, before any work is done, names that could not be written afterwards.

    Raises
    ------
    OutputError
        If one exists and `overwrite` is false, or its folder cannot be made or written to.
    """
    for path in map(Path, paths):
        _check_free(path, overwrite)
        with output_errors(path):
            _check_folder(path.parent)


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """What the system refuses while the block writes `path`, as an OutputError."""
    try:
        yield
    except OSError as reason:
        raise OutputError(_sentence(path, reason)) from reason


def write_together(files: Mapping[Path, bytes], *, overwrite: bool = False) -> None:
    """Write several files, all or none: if one fails, what stood there before stands there again.

    Raises
    ------
    OutputError
        If a file exists and `overwrite` is false, or one cannot be written.
    """
    folders: list[Path] = []
    temporary: dict[Path, Path] = {}
    kept: dict[Path, Path] = {}
    placed: list[Path] = []
    path = Path()
    try:
        for path, data in files.items():
            _check_free(path, overwrite)
            _make_folder(path.parent, folders)
            temporary[path] = _hidden_name(path, "part")
            _write_new(temporary[path], data)
        for path, part in temporary.items():
            if path.exists():
                kept[path] = _keep_old(path)
            _place(part, path, overwrite)
            placed.append(path)
    except BaseException as reason:
        _undo(placed, kept)
        _remove((*temporary.values(), *kept.values()), folders)
        if isinstance(reason, OSError):
            raise OutputError(_sentence(path, reason)) from reason
        raise
    _remove((*temporary.values(), *kept.values()))


def _check_suffix(path: Path, suffixes: Sequence[str]) -> None:
    if suffixes and not any(
        path.name.endswith(suffix) and path.name != suffix for suffix in suffixes
    ):
        raise OutputError(f"{path.name} must end in {' or '.join(suffixes)}: add it to the name.")


def _check_free(path: Path, overwrite: bool) -> None:
    if os.path.isdir(path):
        raise OutputError(f"{path} is a folder: choose another name for the file.")
    if not overwrite and os.path.lexists(path):
        raise OutputError(
            f"{path} exists already: choose another name or folder, or ask to overwrite it."
        )


def _check_folder(folder: Path) -> None:
    """OutputError if the folder, or the nearest one above it that exists, takes no files."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise OutputError(f"{folder} is a file, not a folder: choose another output folder.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"No permission to write in {folder}: choose another output folder.")


def _make_folder(folder: Path, made: list[Path]) -> None:
    """Make the folder and its parents; note in `made` those that were missing, outermost first."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        folder.mkdir()
        made.append(folder)


def _hidden_name(path: Path, role: str) -> Path:
    return path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.{role}")


def _write_new(path: Path, data: bytes) -> None:
    """Write a new file with the permissions any new file gets (tempfile's are for the owner)."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o666)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _keep_old(path: Path) -> Path:
    """A second name for the file that is about to be replaced."""
    kept = _hidden_name(path, "old")
    try:
        os.link(path, kept)
    except OSError:  # a file system without hard links
        shutil.copy2(path, kept)
    return kept


def _place(part: Path, path: Path, overwrite: bool) -> None:
    """Give the finished temporary file its name; without `overwrite` never over another file."""
    if not overwrite:
        try:
            os.link(part, path)  # unlike a rename, this fails if another got there first
            return
        except FileExistsError:
            _check_free(path, overwrite)
        except OSError:  # a file system without hard links
            _check_free(path, overwrite)
    os.replace(part, path)


def _undo(placed: Sequence[Path], kept: Mapping[Path, Path]) -> None:
    """Bring back the files as they were before, as far as the disk allows."""
    for path in placed:
        with suppress(OSError):
            if path in kept:
                os.replace(kept[path], path)
            else:
                path.unlink()


def _remove(files: Iterable[Path], folders: Sequence[Path] = ()) -> None:
    """Remove hidden files and, innermost first, the folders made for this write."""
    for file in files:
        with suppress(OSError):
            file.unlink(missing_ok=True)
    for folder in reversed(folders):
        with suppress(OSError):
            folder.rmdir()


def _sentence(path: Path, reason: OSError) -> str:
    if isinstance(reason, PermissionError):
        return f"No permission to write {path}: choose another output folder."
    if isinstance(reason, (NotADirectoryError, FileExistsError)):
        return f"{path.parent} is not a folder: choose another output folder."
    if reason.errno == errno.ENOSPC:
        return f"The disk is full and {path} was not written: make room or choose another folder."
    return f"{path} could not be written ({reason.strerror}): choose another output folder."
