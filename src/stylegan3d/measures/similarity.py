"""Similarity of two volumes inside a mask."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

SSIM_SIGMA = 1.5
SSIM_TRUNCATE = 3.5
SSIM_K1, SSIM_K2 = 0.01, 0.03


def similarity(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Compare two volumes of one grid.

    Parameters
    ----------
    a, b : ndarray, shape (X, Y, Z)
        Intensities in [0, 1]; `b` is the reference.
    mask : ndarray, shape (X, Y, Z), bool
        Region of comparison.

    Returns
    -------
    dict
        "psnr" in dB (peak 1), "ssim" (Wang et al. 2004; Gaussian window of sigma 1.5 voxels,
        averaged over the mask), "ncc" (Pearson correlation), "mae" (mean absolute error).
    """
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    inside_a, inside_b = a[mask].astype(np.float64), b[mask].astype(np.float64)
    error = float(np.mean((inside_a - inside_b) ** 2))
    psnr = 10 * np.log10(1 / error) if error > 0 else float("inf")
    spread = float(inside_a.std() * inside_b.std())
    covariance = float(np.mean((inside_a - inside_a.mean()) * (inside_b - inside_b.mean())))
    return {
        "psnr": float(psnr),
        "ssim": float(ssim_map(a, b)[mask].mean()),
        "ncc": covariance / spread if spread > 0 else 0.0,
        "mae": float(np.mean(np.abs(inside_a - inside_b))),
    }


def ssim_map(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Structural similarity of each voxel (Wang et al. 2004, eq. 13), data range 1."""

    def blur(x: np.ndarray) -> np.ndarray:
        return gaussian_filter(x, SSIM_SIGMA, truncate=SSIM_TRUNCATE)

    c1, c2 = SSIM_K1**2, SSIM_K2**2
    mean_a, mean_b = blur(a), blur(b)
    var_a = blur(a * a) - mean_a**2
    var_b = blur(b * b) - mean_b**2
    cov = blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * cov + c2) / (var_a + var_b + c2)
    return luminance * structure
