"""Disguised copies, to test the memorisation warning."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from stylegan3d.geometry.intensity import as_packed, unit

Disguise = Callable[[np.ndarray], np.ndarray]
SHIFT_MM, SCALE, BLUR_VOXELS, GAMMA = 2.0, 0.03, 1.0, 1.3


def disguises(voxel_mm: tuple[float, float, float], sideways: int = 0) -> dict[str, Disguise]:
    """Transformations that disguise a copy, by name: uint8 (X, Y, Z) to the same.

    Shifted by the larger of a voxel and 2 mm; 3 % larger or smaller; mirrored; blurred by one
    voxel; changed in intensity; and some combinations.
    """

    def shifted(volume: np.ndarray) -> np.ndarray:
        return np.roll(volume, [max(round(SHIFT_MM / mm), 1) for mm in voxel_mm], axis=(0, 1, 2))

    def mirrored(volume: np.ndarray) -> np.ndarray:
        return np.flip(volume, sideways)

    return {
        "as it is": np.array,
        "mirrored": mirrored,
        "shifted": shifted,
        "larger": lambda volume: rescaled(volume, 1 + SCALE),
        "smaller": lambda volume: rescaled(volume, 1 - SCALE),
        "blurred": blurred,
        "other intensities": lambda volume: as_packed(0.9 * unit(volume) ** GAMMA),
        "mirrored, shifted, larger": lambda volume: rescaled(mirrored(shifted(volume)), 1 + SCALE),
        "mirrored, smaller, blurred": lambda volume: blurred(rescaled(mirrored(volume), 1 - SCALE)),
    }


def rescaled(volume: np.ndarray, factor: float) -> np.ndarray:
    """A brain scaled by `factor` about the centre of its grid."""
    middle = (np.array(volume.shape) - 1) / 2
    matrix = np.eye(3) / factor
    return as_packed(
        ndimage.affine_transform(unit(volume), matrix, offset=middle - matrix @ middle, order=1)
    )


def blurred(volume: np.ndarray) -> np.ndarray:
    """A brain blurred by a Gaussian of one voxel."""
    return as_packed(ndimage.gaussian_filter(unit(volume), BLUR_VOXELS))
