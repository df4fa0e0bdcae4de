"""Resample volumes between grids without aliasing."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from stylegan3d.base import Json, ScanError
from stylegan3d.geometry.space import Space, checked_space, filled_box
from stylegan3d.storage.volumes import LARGE

#: Slices of a large grid at a time.
SLAB = 16


def resample(
    data: np.ndarray, source: Space, target: Space, to_source: np.ndarray | None = None
) -> np.ndarray:
    """Linear interpolation to the target's grid, after smoothing if that is coarser.

    Parameters
    ----------
    data : ndarray, shape (I, J, K)
        On `source`; cast to float32.
    source, target : Space
        Any grids, also oblique, anisotropic or sheared.
    to_source : ndarray, shape (4, 4), or None
        Target RAS millimetres to source RAS millimetres; the identity by
        default.

    Returns
    -------
    ndarray, float32
        Shape of `target`; 0 outside the source.
    """
    pose = np.eye(4) if to_source is None else to_source
    to_voxels = np.linalg.inv(source.affine) @ pose
    sigma = footprint_sigma((to_voxels @ target.affine)[:3, :3])
    smooth = smoothed(np.asarray(data, np.float32), sigma)
    found = np.zeros(target.shape, np.float32)
    for box, part in parts(target, smooth, to_voxels):
        voxels = to_voxels @ part.affine
        ndimage.affine_transform(
            smooth, voxels[:3, :3], voxels[:3, 3], output=found[box], order=1, mode="constant"
        )
    return found


def parts(
    target: Space, data: np.ndarray, to_voxels: np.ndarray
) -> Iterator[tuple[tuple[slice, ...], Space]]:
    """The parts of a grid that show anything of data, one after the other.

    Those of a large grid, most of which may be outside the data, are slabs; a small one is whole.

    Parameters
    ----------
    data : ndarray, shape (I, J, K)
        0 where there is nothing.
    to_voxels : ndarray
        (4, 4) RAS millimetres of the target to voxels of the data.
    """
    if math.prod(target.shape) <= LARGE:
        yield (slice(None),) * 3, target
    elif data.any():
        filled = np.argwhere(data)
        ends = np.meshgrid(*np.transpose([filled.min(axis=0) - 1, filled.max(axis=0) + 1]))
        back = np.linalg.inv(to_voxels @ target.affine)
        there = nib.affines.apply_affine(back, np.reshape(ends, (3, -1)).T)
        low = np.clip(np.floor(there.min(axis=0)).astype(int), 0, target.shape)
        high = np.clip(np.ceil(there.max(axis=0)).astype(int) + 1, low, target.shape)
        for first in range(low[0], high[0], SLAB):
            start = np.array([first, *low[1:]])
            stop = np.array([min(first + SLAB, high[0]), *high[1:]])
            x, y, z = map(int, stop - start)
            affine = target.affine @ nib.affines.from_matvec(np.eye(3), start)
            yield tuple(map(slice, start, stop)), Space((x, y, z), affine)


def nearest(labels: np.ndarray, source: Space, target: Space, to_source: np.ndarray) -> np.ndarray:
    """Labels on another grid by nearest neighbour, of their type; see `resample`."""
    voxels = np.linalg.inv(source.affine) @ to_source @ target.affine
    matrix, offset = voxels[:3, :3], voxels[:3, 3]
    return np.asarray(ndimage.affine_transform(labels, matrix, offset, target.shape, order=0))


def footprint_sigma(step: np.ndarray) -> np.ndarray:
    """Sigma (3,) in source voxels of the anti-aliasing Gaussian.

    `step` (3, 3) are the new grid's axes in source voxels. Sigma is half the excess of the new
    voxel size over the old one, 0 for a finer grid, as in scikit-image's `resize` and for the
    training data.
    """
    # Largest extent of a step of the new grid along each source axis.
    width = np.sqrt((step**2).sum(axis=1))
    return np.maximum(width - 1.0, 0.0) / 2


def smoothed(data: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Gaussian smoothing with 0 outside the field of view; unchanged if sigma is 0."""
    if not (sigma > 0).any():
        return data
    return ndimage.gaussian_filter(data, sigma, mode="constant", truncate=3.0)


def isotropic_space(data: np.ndarray, space: Space, spacing_mm: float, margin_mm: float) -> Space:
    """A RAS-aligned grid that contains all of `data` above 0, with a margin."""
    # From the voxels: with oblique axes the corners of their box would be far outside.
    world = nib.affines.apply_affine(space.affine, np.argwhere(data > 0))
    first = world.min(axis=0) - margin_mm
    count = np.ceil((world.max(axis=0) + margin_mm - first) / spacing_mm).astype(int) + 1
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = first
    return Space((int(count[0]), int(count[1]), int(count[2])), affine)


def cropped(data: np.ndarray, space: Space, keep: np.ndarray) -> tuple[np.ndarray, Space]:
    """`data` cropped to the bounding box of `keep` plus 8 voxels, and its grid."""
    box = filled_box(keep, 8)
    affine = space.affine.copy()
    affine[:3, 3] = nib.affines.apply_affine(space.affine, [side.start for side in box])
    part = data[box]
    return part, Space(part.shape, affine)


# Resample model-space volumes to a scan's native space.

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
    data = way.carried(volume if signed else np.clip(volume, 0, None))
    data[~way.inside] = 0
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
            known = np.isfinite(scale) and np.isfinite(rigid).all()
            if not known or abs(abs(np.linalg.det(rigid[:3, :3])) - 1) > 0.01:
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
        inside, known = np.zeros(own.shape, bool), mask.astype(np.float32)
        for box, part in parts(own, mask, np.linalg.inv(space.affine) @ rigid):
            inside[box] = resample(known, space, part, rigid) > 0.5
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
        carried = resample(volume, self.space, self.own, self.rigid)
        carried *= np.float32(self.scale)
        return carried


def with_geometry(data: np.ndarray, affine: np.ndarray, geometry: Json) -> nib.Nifti1Image:
    """A NIfTI image with the same sform, qform and codes as the scan."""
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = DESCRIPTION
    sform, qform = geometry.get("sform"), geometry.get("qform")
    code = geometry.get("sform_code", 1) or int("assumed" in geometry)
    image.set_sform(affine if sform is None else np.array(sform), code)
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
