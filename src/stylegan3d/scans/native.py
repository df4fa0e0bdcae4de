"""Resample model-space volumes to a scan's native space."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np

from stylegan3d.errors import ScanError
from stylegan3d.geometry.space import Space, checked_space
from stylegan3d.plain import Json
from stylegan3d.scans.resampling import resample

DESCRIPTION = b"SYNTHETIC - not for diagnosis"


def native_image(
    volume: np.ndarray, space: Space, scan: Json, *, signed: bool = False
) -> nib.Nifti1Image:
    """A model-space volume resampled to a scan's native grid.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
        Intensities in about [0, 1], on `space`.
    space : Space
        The model's grid.
    scan : dict
        From `AlignedScan.describe`, possibly read back from JSON.
    signed : bool
        Keep negative values, for differences such as residuals.

    Returns
    -------
    nibabel.Nifti1Image, float32
        Same array order, sform, qform and codes as the scan; intensities in the scan's units
        (bias-corrected), 0 outside the scan's brain.

    Raises
    ------
    ScanError
        If the description is incomplete, the volume is not on `space`, or the scan was aligned to
        another affine of the model.
    """
    way = NativeTransform.of(scan, space)
    image = volume if signed else np.clip(volume, 0, None)
    data = np.where(way.inside, way.carried(image), np.float32(0))
    return with_geometry(data, way.own.affine, scan.get("geometry", {}))


@dataclass(frozen=True, eq=False)
class NativeTransform:
    """Transform from the model's grid to a scan's.

    `own` is the scan's grid, `rigid` (4, 4) maps scan RAS mm to model RAS mm, `scale` is the value
    of 1 in the scan's units, `inside` (I, J, K) its brain mask, `mask` (X, Y, Z) the same on the
    model's grid.
    """

    own: Space
    space: Space
    rigid: np.ndarray
    scale: float
    inside: np.ndarray
    mask: np.ndarray

    @classmethod
    def of(cls, scan: Json, space: Space) -> NativeTransform:
        """From `AlignedScan.describe`; ScanError if that is damaged."""
        try:
            own = checked_space(scan["shape"], scan["affine"])
            rigid = np.array(scan["rigid"], np.float64).reshape(4, 4)
            scale = float(scan["intensity_scale"])
            if not np.isfinite(scale) or abs(abs(np.linalg.det(rigid[:3, :3])) - 1) > 0.01:
                raise ValueError("no rigid movement")
            if not np.isfinite(rigid).all():
                raise ValueError("no rigid movement")
            _check_geometry(scan.get("geometry", {}))
            mask = unpack_mask(scan["brain_mask"], space.shape)
            # Earlier descriptions lack this; their models had a fixed affine.
            place = np.array(scan.get("model_affine", space.affine), np.float64).reshape(4, 4)
        except (KeyError, TypeError, ValueError, OverflowError, zlib.error) as error:
            raise ScanError(
                "The description of the original scan is incomplete or damaged; project the scan "
                "again."
            ) from error
        if not Space(space.shape, place).same_as(space):
            raise ScanError(
                "The scan was projected with other axes or another voxel size of the model: "
                "choose the same ones again, or project the scan again."
            )
        # Resampling to the scan's grid needs scan mm -> model mm.
        inside = resample(mask.astype(np.float32), space, own, rigid) > 0.5
        return cls(own, space, rigid, scale, inside, mask)

    def on_model_grid(self, data: np.ndarray) -> np.ndarray:
        """Resample the scan (I, J, K) to the model's grid, in its own units."""
        return resample(data, self.own, self.space, np.linalg.inv(self.rigid))

    def carried(self, volume: np.ndarray) -> np.ndarray:
        """Resample a model-space volume (X, Y, Z) to the scan's grid and units."""
        if volume.shape != self.space.shape:
            raise ScanError(
                f"A volume of {volume.shape} does not fit the model's grid {self.space.shape}; "
                "give the model's full volume."
            )
        return resample(volume, self.space, self.own, self.rigid) * np.float32(self.scale)


def with_geometry(data: np.ndarray, affine: np.ndarray, geometry: Json) -> nib.Nifti1Image:
    """A NIfTI image with the same sform, qform and codes as the scan."""
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = DESCRIPTION
    sform, qform = geometry.get("sform"), geometry.get("qform")
    image.set_sform(affine if sform is None else np.array(sform), geometry.get("sform_code", 1))
    image.set_qform(affine if qform is None else np.array(qform), geometry.get("qform_code", 1))
    return image


def _check_geometry(geometry: Any) -> None:
    """Raise ValueError unless it is valid output of `geometry_of`, read from JSON."""
    if not isinstance(geometry, dict):
        raise ValueError("the geometry is not a table")
    for form in ("sform", "qform"):
        code, matrix = geometry.get(f"{form}_code", 1), geometry.get(form)
        if not isinstance(code, int) or not 0 <= code <= 32767:
            raise ValueError("an invalid sform or qform code")
        if matrix is not None:
            values = np.array(matrix, np.float64)
            if values.shape != (4, 4) or not np.isfinite(values).all():
                raise ValueError("an sform or qform that is not a matrix")


def geometry_of(header: Any) -> Json:
    """The sform and qform of a NIfTI header with their codes; empty for other formats.

    One that cannot be decoded (a quaternion longer than 1, NaN) counts as absent: None, code 0.
    """
    if not isinstance(header, nib.Nifti1Header):
        return {}
    geometry: Json = {}
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
    """Inverse of `pack_mask`, bool of `shape`; ValueError if the size differs."""
    count = int(np.prod(shape))
    # Limit decompression to the size of the mask.
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(base64.b64decode(text), max_length=-(-count // 8) + 1)
    bits = np.frombuffer(data, dtype=np.uint8)
    if bits.size != -(-count // 8) or not unpacker.eof:
        raise ValueError("mask of another grid")
    return np.unpackbits(bits, count=count).astype(bool).reshape(shape)
