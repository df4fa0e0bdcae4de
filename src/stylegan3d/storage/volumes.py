"""Volumes as NIfTI with a sidecar; `files` writes them.

Geometry is written twice in NIfTI, as the sform and as the qform; programs differ in which they
trust, so both are set and agree. The bytes depend on the content alone: gzip's time stamp is zero.
"""

import gzip
import io
import math
from pathlib import Path

import nibabel as nib
import numpy as np

from stylegan3d.base import JsonView, OutputError
from stylegan3d.storage.encoding import to_json
from stylegan3d.storage.files import check_suffix, write_together

VOLUME_SUFFIX = ".nii.gz"
#: Voxels from which a grid needs care, as one of 0.4 mm: time and memory before the last bit.
LARGE = 50_000_000
_DESCRIPTION_BYTES = 79  # the header's field has 80, the last one ends the string


def write_volume(
    path: str | Path,
    data: np.ndarray,
    affine: np.ndarray,
    *,
    description: str,
    sidecar: JsonView,
    overwrite: bool = False,
    synthetic: bool = True,
    xform_code: int = 2,
) -> None:
    """Write a volume as NIfTI-1 `.nii.gz` and its `.json` sidecar, both or neither.

    Parameters
    ----------
    path : path-like
        A name that ends in `.nii.gz`; missing folders are made.
    data : ndarray, shape (X, Y, Z)
        Real numbers, stored as float32 as given; bool and uint8 are stored as uint8.
    affine : ndarray
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
    sidecar: JsonView,
    synthetic: bool = True,
) -> dict[Path, bytes]:
    """The two files `write_volume` writes, not yet written: name to content.

    The image's geometry is kept as it is, so one in a scan's own space keeps the scan's.
    """
    check_suffix(path, (VOLUME_SUFFIX,))
    mark = "SYNTHETIC not for diagnosis; " if synthetic else ""
    image.header["descrip"] = (mark + description).encode("ascii", "replace")[:_DESCRIPTION_BYTES]
    buffer = io.BytesIO()
    # Packing 0.3 mm well would take minutes.
    level = 6 if math.prod(image.shape) < LARGE else 1
    with gzip.GzipFile("", "wb", compresslevel=level, fileobj=buffer, mtime=0) as stream:
        image.to_stream(stream)
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
    data = data.astype(np.uint8 if data.dtype in (np.bool_, np.uint8) else np.float32, copy=False)
    if not np.isfinite(data).all():
        raise OutputError("The volume contains NaN or infinity and was not saved: render it again.")
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, xform_code)
    image.set_qform(affine, xform_code)
    if not np.allclose(image.get_qform(), affine, atol=1e-3):
        # A quaternion has no shears: rather no qform than one that disagrees with the sform.
        image.set_qform(None)
    return image
