"""Put a volume of the model's space back into the space of the scan it came from."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import nibabel as nib
import numpy as np

from ..errors import ScanError
from ..space import Space
from .resampling import resample

DESCRIPTION = b"SYNTHETIC - not for diagnosis"


def native_image(volume: np.ndarray, space: Space, scan: dict[str, Any]) -> nib.Nifti1Image:
    """A model-space volume on the grid of the scan that `AlignedScan.describe` tells of.

    Parameters
    ----------
    volume : ndarray (X, Y, Z)
        Intensities in about [0, 1], on `space`.
    space : Space
        The model's grid.
    scan : dict
        What `AlignedScan.describe` returned, also after a way through JSON.

    Returns
    -------
    nibabel.Nifti1Image, float32
        Same array order, sform, qform and codes as the scan; intensities in the scan's units
        (bias-corrected: the bias field is not put back), 0 outside the scan's brain.

    Raises
    ------
    ScanError
        If the description lacks something, or the volume is not on `space`, or the scan was
        aligned while the model's voxels were said to lie elsewhere.
    """
    if volume.shape != space.shape:
        raise ScanError(
            f"A volume of {volume.shape} does not fit the model's grid {space.shape}; "
            "give the model's full volume."
        )
    try:
        x, y, z = (int(n) for n in scan["shape"])
        own = Space((x, y, z), np.array(scan["affine"], np.float64).reshape(4, 4))
        rigid = np.array(scan["rigid"], np.float64).reshape(4, 4)
        scale = float(scan["intensity_scale"])
        mask = unpack_mask(scan["brain_mask"], space.shape)
        # Earlier descriptions lack this one: the models of their time lay where they lay.
        place = np.array(scan.get("model_affine", space.affine), np.float64).reshape(4, 4)
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise ScanError(
            "The description of the original scan is incomplete or damaged; project the scan again."
        ) from error
    if not Space(space.shape, place).same_as(space):
        raise ScanError(
            "The scan was projected while the model's voxels were said to lie elsewhere: choose "
            "the same axes and voxel size again, or project the scan again."
        )
    # Scan millimetres -> model millimetres is what resampling onto the scan's grid asks for.
    inside = resample(mask.astype(np.float32), space, own, rigid) > 0.5
    data = resample(np.clip(volume, 0, None), space, own, rigid)
    data = np.where(inside, data * np.float32(scale), np.float32(0))
    return _with_geometry(data, own.affine, scan.get("geometry", {}))


def _with_geometry(
    data: np.ndarray, affine: np.ndarray, geometry: dict[str, Any]
) -> nib.Nifti1Image:
    """A NIfTI that says where it lies in the same words as the scan did."""
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = DESCRIPTION
    sform, qform = geometry.get("sform"), geometry.get("qform")
    image.set_sform(affine if sform is None else np.array(sform), geometry.get("sform_code", 1))
    image.set_qform(affine if qform is None else np.array(qform), geometry.get("qform_code", 1))
    return image


def geometry_of(header: Any) -> dict[str, Any]:
    """The sform and qform of a NIfTI header with their codes; empty for other formats.

    One that cannot be decoded (a quaternion longer than 1, NaN) counts as absent: None, code 0.
    """
    if not isinstance(header, nib.Nifti1Header):
        return {}
    geometry: dict[str, Any] = {}
    for name, decode in (("sform", header.get_sform), ("qform", header.get_qform)):
        try:
            matrix = decode()
        except ValueError:
            matrix = np.full((4, 4), np.nan)
        usable = bool(np.isfinite(matrix).all())
        geometry[name] = matrix.tolist() if usable else None
        geometry[f"{name}_code"] = int(header[f"{name}_code"]) if usable else 0
    return geometry


def pack_mask(mask: np.ndarray) -> str:
    """A mask as text of some 10 kB: bits, deflated, base64."""
    return base64.b64encode(zlib.compress(np.packbits(mask).tobytes(), 9)).decode("ascii")


def unpack_mask(text: str, shape: tuple[int, int, int]) -> np.ndarray:
    """The mask `pack_mask` packed, bool of `shape`; ValueError if it is of another size."""
    bits = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8)
    count = int(np.prod(shape))
    if bits.size != -(-count // 8):
        raise ValueError("mask of another grid")
    return np.unpackbits(bits, count=count).astype(bool).reshape(shape)
