"""A voxel grid and where it lies in the world.

The world is RAS+ in millimetres (x grows to the patient's right, y to anterior, z to superior), as
in NIfTI and nibabel. A `Space` says how an array's indices lie in it; arrays are never flipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np

# ITK's world is LPS+: the first two axes point the other way than in RAS+.
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Space:
    """A grid of `shape` voxels; `affine` (4, 4) takes voxel indices to RAS+ millimetres."""

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Edge lengths of a voxel along the array's axes, in millimetres."""
        x, y, z = nib.affines.voxel_sizes(self.affine)
        return float(x), float(y), float(z)

    @property
    def center_mm(self) -> np.ndarray:
        """(3,) RAS+ millimetres of the middle of the grid."""
        middle = (np.asarray(self.shape) - 1) / 2
        return nib.affines.apply_affine(self.affine, middle)

    @property
    def axcodes(self) -> tuple[str, str, str]:
        """Where each array axis points, such as ('R', 'A', 'S')."""
        return nib.aff2axcodes(self.affine)

    def same_as(self, other: Space, tolerance_mm: float = 1e-3) -> bool:
        """Whether both are the same grid at the same place."""
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


def to_ras(data: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reorder a volume so that its axes run right, anterior, superior; oblique ones stay oblique.

    Parameters
    ----------
    data : (I, J, K) in any of the 48 orientations.
    affine : (4, 4) voxel indices to RAS+ millimetres.

    Returns
    -------
    data (X, Y, Z), a view; affine (4, 4) of it
    """
    turn = nib.io_orientation(affine)
    turned = nib.apply_orientation(data, turn)
    return turned, affine @ nib.orientations.inv_ornt_aff(turn, data.shape)
