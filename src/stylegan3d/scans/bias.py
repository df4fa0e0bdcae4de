"""Bias-field correction."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from stylegan3d.geometry.space import RAS_TO_LPS, Space
from stylegan3d.scans.resampling import resample

WORKING_MM = 4.0
FIELD_OF_VIEW_MM = 256.0
# Few iterations, as for the training data (a field of 2 to 5 %): run to convergence, N4 reduces the
# contrast of grey and white matter.
ITERATIONS = (10, 10, 10)


def log_bias_field(data: np.ndarray, mask: np.ndarray, space: Space, grid: Space) -> np.ndarray:
    """The multiplicative bias field inside a brain, by N4, as its logarithm.

    Parameters
    ----------
    data : ndarray, float32 (I, J, K)
        Intensities; only voxels in the mask with a value above 0 are used.
    mask : ndarray, bool (I, J, K)
    space : Space
    grid : Space
        The field's grid, see `working_grid`.

    Returns
    -------
    ndarray, float32
        On `grid`, with mean 0 inside the mask, so that dividing by the field keeps the scan's
        units; `field_on` resamples it.

    References
    ----------
    Tustison et al., "N4ITK: Improved N3 Bias Correction", IEEE TMI 2010.
    """
    inside = mask & (data > 0)
    brain = np.where(inside, data, np.float32(0))
    region = resample(inside.astype(np.float32), space, grid) > 0.5
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(list(ITERATIONS))
    image = to_sitk(resample(brain, space, grid), grid)
    n4.Execute(image, to_sitk(region.astype(np.uint8), grid))
    log_field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)).transpose(2, 1, 0)
    return np.ascontiguousarray(log_field - log_field[region].mean(), dtype=np.float32)


def field_on(log_field: np.ndarray, grid: Space, space: Space) -> np.ndarray:
    """A field resampled to the scan's own grid, float32."""
    return np.exp(resample(log_field, grid, space))


def working_grid(mask: np.ndarray, space: Space) -> Space:
    """A standard field of view around the brain, independent of the scan's own.

    N4's spline spans the image: on a smaller one the same settings allow more curvature.
    """
    middle = nib.affines.apply_affine(space.affine, np.argwhere(mask).mean(axis=0))
    count = round(FIELD_OF_VIEW_MM / WORKING_MM)
    affine = np.diag([WORKING_MM] * 3 + [1.0])
    affine[:3, 3] = middle - WORKING_MM * (count - 1) / 2
    return Space((count, count, count), affine)


def to_sitk(data: np.ndarray, space: Space) -> sitk.Image:
    """An array [x, y, z] on a RAS+ grid as a SimpleITK image."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(data.transpose(2, 1, 0)))
    affine = RAS_TO_LPS @ space.affine
    spacing = np.asarray(space.voxel_size)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    return image
