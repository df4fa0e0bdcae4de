"""A volume on any grid, made ready for views that slice along the world's axes.

napari's 2D views cannot slice obliquely, and fail on affines whose axes are permuted. So a volume
is reordered to RAS (a strided view, nothing is copied) and, only if its axes are oblique, resampled
onto an upright grid with the same voxel size that holds all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import nibabel as nib
import numpy as np
from nibabel.spaces import vox2out_vox
from scipy.ndimage import affine_transform

from stylegan3d.geometry.space import to_ras

if TYPE_CHECKING:
    from napari.layers import Image

    from stylegan3d.geometry import slicing

#: Axes that lean less than this are shown as upright: half a voxel across a head at 1 mm.
UPRIGHT_TOLERANCE_DEG = 0.2


@dataclass(frozen=True, eq=False)
class Upright:
    """A volume (x, y, z) whose axes run to the right, anterior and superior.

    Attributes
    ----------
    data : ndarray, shape (X, Y, Z)
    scale : tuple of float
        Voxel size in mm.
    translate : tuple of float
        RAS+ millimetres of the centre of the first voxel.
    resampled : bool
        Whether the volume had oblique axes.
    """

    data: np.ndarray
    scale: tuple[float, float, float]
    translate: tuple[float, float, float]
    resampled: bool = False

    def layer_kwargs(self) -> dict[str, Any]:
        """Arguments for a napari layer that put the volume where it belongs, in mm."""
        return {
            "scale": self.scale,
            "translate": self.translate,
            "units": ("mm", "mm", "mm"),
            "axis_labels": ("x", "y", "z"),
        }


def upright(data: np.ndarray, affine: np.ndarray, *, nearest: bool = False) -> Upright:
    """Reorder a volume to RAS, and resample it if its axes are oblique.

    Parameters
    ----------
    data : ndarray, shape (I, J, K)
        In any order.
    affine : ndarray
        (4, 4) voxel indices to RAS+ millimetres.
    nearest : bool
        Resample without interpolation, as labels need it.
    """
    canonical, affine = to_ras(data, affine)
    resampled = _tilt_degrees(affine) > UPRIGHT_TOLERANCE_DEG
    if resampled:
        canonical, affine = _straighten(canonical, affine, nearest)
    x, y, z = nib.affines.voxel_sizes(affine).tolist()
    right, anterior, superior = affine[:3, 3].tolist()
    return Upright(canonical, (x, y, z), (right, anterior, superior), resampled)


def _tilt_degrees(affine: np.ndarray) -> float:
    """Largest angle between an array axis and its world axis."""
    cosines = np.diag(affine)[:3] / nib.affines.voxel_sizes(affine)
    return float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).max())


def _straighten(
    data: np.ndarray, affine: np.ndarray, nearest: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Onto the upright grid that holds the whole volume, linearly or to the nearest voxel."""
    shape, straight = vox2out_vox((data.shape, affine), voxel_sizes=nib.affines.voxel_sizes(affine))
    matrix = np.linalg.inv(affine) @ straight
    resampled = affine_transform(
        np.asarray(data) if nearest else np.asarray(data, dtype=np.float32),
        matrix[:3, :3],
        matrix[:3, 3],
        tuple(shape),
        order=0 if nearest else 1,
    )
    return resampled, straight


def enlarge(volume: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Interpolate a volume onto a finer grid with the same field of view (corners coincide)."""
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))[None, None]
    larger = torch.nn.functional.interpolate(tensor, size=tuple(shape), mode="trilinear")
    return larger[0, 0].numpy()


def engine_volume(layer: Image) -> slicing.Upright:
    """An upright layer's volume for the engine's figures, with where it lies."""
    from stylegan3d.geometry import slicing
    from stylegan3d.geometry.space import Space

    data = np.asarray(layer.data)
    affine = np.diag([*(float(size) for size in layer.scale), 1.0])
    affine[:3, 3] = layer.translate
    shape = cast("tuple[int, int, int]", data.shape)
    return slicing.Upright(data, Space(shape, affine))
