"""Voxel grids and their affines.

World coordinates are RAS+ in millimetres (x to the patient's right, y anterior, z superior), as in
NIfTI and nibabel. Arrays are never flipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np

# ITK's world is LPS+: the first two axes are opposite to RAS+.
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Space:
    """A grid of `shape` voxels; `affine` (4, 4) maps voxel indices to RAS+ millimetres."""

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Edge lengths of a voxel along the array's axes, in millimetres."""
        x, y, z = nib.affines.voxel_sizes(self.affine)
        return float(x), float(y), float(z)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres."""
        return voxel_ml_of(self.affine)

    @property
    def center_mm(self) -> np.ndarray:
        """(3,) RAS+ millimetres of the centre of the grid."""
        middle = (np.asarray(self.shape) - 1) / 2
        return nib.affines.apply_affine(self.affine, middle)

    @property
    def axcodes(self) -> tuple[str, str, str]:
        """Direction of each array axis, such as ('R', 'A', 'S')."""
        return nib.aff2axcodes(self.affine)

    def same_as(self, other: Space, tolerance_mm: float = 1e-3) -> bool:
        """Whether both have the same shape and affine."""
        return self.shape == other.shape and np.allclose(
            self.affine, other.affine, atol=tolerance_mm
        )

    def resized(self, shape: tuple[int, int, int]) -> Space:
        """The same field of view on another grid: voxel *corners* coincide, not voxel centres."""
        scale = np.asarray(self.shape) / np.asarray(shape)
        # The first voxel's centre moves by half the difference of the voxel sizes.
        zoom = np.diag([*scale, 1.0])
        zoom[:3, 3] = (scale - 1) / 2
        x, y, z = (int(n) for n in shape)
        return Space((x, y, z), self.affine @ zoom)


def voxel_ml_of(affine: np.ndarray) -> float:
    """Volume in millilitres of a voxel of the grid with this affine."""
    return abs(float(np.linalg.det(affine[:3, :3]))) / 1000


#: A 0.4 mm whole head is 640 x 640 x 512 voxels = 0.8 GB as float32: no real scan is larger.
MAX_VOXELS = 210_000_000


def checked_space(shape: Any, affine: Any) -> Space:
    """A validated grid from plain data.

    Raises
    ------
    ValueError
        If it does not have three axes, has more than `MAX_VOXELS` voxels, or its affine is
        singular.
    """
    if not isinstance(shape, (list, tuple)) or len(shape) != 3:
        raise ValueError("a grid has three axes")
    if not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in shape):
        raise ValueError("a grid's axes have whole numbers of voxels")
    x, y, z = shape
    if x * y * z > MAX_VOXELS:
        raise ValueError(f"a grid of {x} x {y} x {z} voxels is larger than any head")
    try:
        matrix = np.array(affine, dtype=np.float64)
    except (TypeError, OverflowError) as error:
        raise ValueError("the affine holds no numbers") from error
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise ValueError("the affine is no matrix of 4 x 4 finite numbers")
    axes = matrix[:3, :3]
    largest = np.abs(axes).max(axis=0)
    if (largest == 0).any() or abs(np.linalg.det(axes / largest)) < 1e-6:
        raise ValueError("the affine has an axis without length or parallel axes")
    return Space((x, y, z), matrix)


def to_ras(data: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reorder a volume to RAS; oblique axes stay oblique.

    Parameters
    ----------
    data : ndarray, shape (I, J, K)
        In any of the 48 orientations.
    affine : ndarray
        (4, 4) voxel indices to RAS+ millimetres.

    Returns
    -------
    tuple of ndarray
        Data (X, Y, Z), a view, and its affine (4, 4).
    """
    turn = nib.io_orientation(affine)
    turned = nib.apply_orientation(data, turn)
    return turned, affine @ nib.orientations.inv_ornt_aff(turn, data.shape)
