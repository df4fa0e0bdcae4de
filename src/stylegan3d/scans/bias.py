"""Take out the slow brightness changes that a receive coil leaves over a scan."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..space import RAS_TO_LPS, Space

WORKING_MM = 4.0
# Few iterations on purpose: this is how the training data was made (a field of 2 to 5 %). Left to
# converge, N4 goes on to even out grey and white matter themselves.
ITERATIONS = (10, 10, 10)


def bias_field(data: np.ndarray, mask: np.ndarray, space: Space) -> np.ndarray:
    """The multiplicative bias field inside a brain, by N4 on a 4 mm grid.

    Parameters
    ----------
    data : ndarray, float32 (I, J, K)
        Intensities; only voxels of the mask with a value above 0 are looked at.
    mask : ndarray, bool (I, J, K)
    space : Space

    Returns
    -------
    ndarray, float32 (I, J, K)
        Geometric mean 1 inside the mask, so that dividing by it keeps the scan's units.

    References
    ----------
    Tustison et al., "N4ITK: Improved N3 Bias Correction", IEEE TMI 2010.
    """
    inside = mask & (data > 0)
    image = to_sitk(np.where(inside, data, np.float32(0)), space)
    region = to_sitk(inside.astype(np.uint8), space)
    factors = [max(1, round(WORKING_MM / s)) for s in space.voxel_size]
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(list(ITERATIONS))
    n4.Execute(sitk.Shrink(image, factors), sitk.Shrink(region, factors))
    log_field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)).transpose(2, 1, 0)
    return np.exp(log_field - log_field[inside].mean(), dtype=np.float32)


def to_sitk(data: np.ndarray, space: Space) -> sitk.Image:
    """An array [x, y, z] on a RAS+ grid as a SimpleITK image."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(data.transpose(2, 1, 0)))
    affine = RAS_TO_LPS @ space.affine
    spacing = np.asarray(space.voxel_size)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    return image
