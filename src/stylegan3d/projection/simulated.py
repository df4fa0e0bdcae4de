"""Simulated scanners: the same brain as other scanners would show it.

A calibration on the few sites of a model's data set would call every other site unusual. So each
held-out subject is also seen with random contrast, sharpness, slice thickness, shading, noise and
extraction, wider than what is met (Billot et al. 2023, doi:10.1016/j.media.2023.102789, train
networks in this way).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

# Ranges of what is drawn: width of a blur or of sharpening in mm and its amount, blur along one
# axis, logarithm of gamma, shift of one grey level, shading, noise as a share of white matter.
BLUR_MM, SHARPEN, THICK_MM = (0.6, 1.6), (0.2, 1.5), (0.8, 2.0)
GAMMA, SHIFT, SHADING, NOISE = 0.35, 0.12, 0.12, 0.04
# Depth in voxels to which fluid is removed, and its intensity as a share of white matter's.
SHELL, DARK = 3, (0.2, 0.5)


def simulate_scanner(
    volume: np.ndarray, mask: np.ndarray, voxel_mm: tuple[float, float, float], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """One brain on another scanner: volume and mask (X, Y, Z).

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
        Values in [0, 1], 0 outside `mask`.
    seed : int
        Source of all randomness.
    """
    draw = np.random.RandomState(seed)
    image = _resolution(np.asarray(volume, np.float32), np.array(voxel_mm), draw)
    image = _contrast(image, draw)
    knots = draw.uniform(0, SHADING) * draw.randn(3, 4, 3)
    image = image * np.exp(ndimage.zoom(knots, np.array(volume.shape) / knots.shape, order=1))
    noise = draw.uniform(0, NOISE)
    image = np.hypot(image + noise * draw.randn(*image.shape), noise * draw.randn(*image.shape) / 2)
    mask = _extraction(image, mask, draw)
    top = np.percentile(image[mask], 99.5)
    seen = np.where(mask, np.clip(image / max(top, 1e-6), 0, 1), 0)
    return seen.astype(np.float32), mask


def _extraction(image: np.ndarray, mask: np.ndarray, draw: np.random.RandomState) -> np.ndarray:
    """As other programs extract a brain: a voxel tighter, without the fluid around it, or both."""
    tight = ndimage.binary_erosion(mask) if draw.rand() < 0.3 else mask
    if draw.rand() < 0.4:
        shell = tight & ~ndimage.binary_erosion(tight, iterations=SHELL)
        white = np.percentile(image[mask], 95)
        tight = tight & ~(shell & (image < draw.uniform(*DARK) * white))
    return tight if tight.any() else mask


def _resolution(image: np.ndarray, voxel: np.ndarray, draw: np.random.RandomState) -> np.ndarray:
    """Softer, sharper or unchanged; at times with thick slices."""
    kind = draw.rand()
    sigma = draw.uniform(*BLUR_MM) / voxel
    if kind < 0.3:
        image = ndimage.gaussian_filter(image, sigma)
    elif kind < 0.75:
        image = image + draw.uniform(*SHARPEN) * (image - ndimage.gaussian_filter(image, sigma))
    if draw.rand() < 0.25:
        axis = draw.randint(3)
        image = ndimage.gaussian_filter1d(image, draw.uniform(*THICK_MM) / voxel[axis], axis=axis)
    return np.clip(image, 0, 1.3)


def _contrast(image: np.ndarray, draw: np.random.RandomState) -> np.ndarray:
    """A random monotone curve: gamma, and some grey levels brighter or darker."""
    gamma = np.exp(draw.uniform(-GAMMA, GAMMA))
    shift, level = draw.uniform(-SHIFT, SHIFT), draw.uniform(0.35, 0.65)
    x = np.linspace(0, 1.3, 200)
    y = x**gamma + shift * np.exp(-0.5 * ((x - level) / 0.18) ** 2)
    curved: np.ndarray = np.interp(image, x, np.maximum.accumulate(np.maximum(y - y[0], 0)))
    return curved
