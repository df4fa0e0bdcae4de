"""Resample volumes between grids without aliasing."""

from __future__ import annotations

import nibabel as nib
import numpy as np
from scipy import ndimage

from stylegan3d.geometry.space import Space


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
    voxels = np.linalg.inv(source.affine) @ pose @ target.affine
    smooth = smoothed(np.asarray(data, dtype=np.float32), footprint_sigma(voxels[:3, :3]))
    return ndimage.affine_transform(
        smooth,
        voxels[:3, :3],
        offset=voxels[:3, 3],
        output_shape=target.shape,
        output=np.float32,
        order=1,
        mode="constant",
        cval=0.0,
    )


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
    filled = np.argwhere(keep)
    low = np.maximum(filled.min(axis=0) - 8, 0)
    high = np.minimum(filled.max(axis=0) + 9, data.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    affine = space.affine.copy()
    affine[:3, 3] = nib.affines.apply_affine(space.affine, low)
    part = data[box]
    return part, Space(part.shape, affine)
