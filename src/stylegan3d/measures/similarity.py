"""Similarity of two volumes inside a mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

from stylegan3d.base import StyleGAN3DError
from stylegan3d.geometry.space import Space
from stylegan3d.measures.attributes import BACKGROUND, read_tissues

if TYPE_CHECKING:
    import torch

SSIM_SIGMA = 1.5
SSIM_TRUNCATE = 3.5
SSIM_K1, SSIM_K2 = 0.01, 0.03


def similarity(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Compare two volumes on one grid.

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

    Raises
    ------
    StyleGAN3DError
        If they are not on one grid, or the mask is empty.
    """
    a, b, mask = np.asarray(a, np.float32), np.asarray(b, np.float32), np.asarray(mask, bool)
    if not a.shape == b.shape == mask.shape:
        grids = f"{a.shape}, {b.shape} and, the mask, {mask.shape}"
        raise StyleGAN3DError(f"Only volumes on one grid can be compared, and these have {grids}.")
    if not mask.any():
        raise StyleGAN3DError("The mask is empty, so no voxels can be compared.")
    inside_a, inside_b = a[mask].astype(np.float64), b[mask].astype(np.float64)
    error = float(np.mean((inside_a - inside_b) ** 2))
    psnr = 10 * np.log10(1 / error) if error else float("inf")
    spread = float(inside_a.std() * inside_b.std())
    covariance = float(np.mean((inside_a - inside_a.mean()) * (inside_b - inside_b.mean())))
    return {
        "psnr": float(psnr),
        "ssim": float(ssim_map(a, b)[mask].mean()),
        "ncc": covariance / spread if spread else 0.0,
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


@dataclass(frozen=True)
class PairFigures:
    """Result of `compare_pair`.

    Attributes
    ----------
    mean_difference : float
        Mean of |B - A| in the union of both brains, as a share of the brightest tissue.
    ssim, psnr_db : float
        Structural similarity (1 is identical) and peak signal-to-noise ratio, in the same region.
    a, b : dict of str to float
        Millilitres of each by the keys of `attributes.VOLUMES`; NaN where unknown.
    how : str
        How they were measured, see `attributes.Tissues`.
    """

    mean_difference: float
    ssim: float
    psnr_db: float
    a: dict[str, float]
    b: dict[str, float]
    how: str


def compare_pair(
    a: np.ndarray, b: np.ndarray, space: Space, *, dtype: torch.dtype | None = None
) -> PairFigures:
    """Compare two brains.

    Parameters
    ----------
    a, b : ndarray, shape (X, Y, Z)
        On the grid of `space`, 0 outside and 1 bright.
    space : Space
        Their grid.
    dtype : torch.dtype, optional
        See `attributes.read_tissues`.

    Raises
    ------
    ValueError
        If the grids differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"volumes of {a.shape} and {b.shape} voxels cannot be compared")
    inside = (a > BACKGROUND) | (b > BACKGROUND)
    if not inside.any():
        inside = np.ones(a.shape, bool)
    alike = similarity(np.clip(a, 0, 1), np.clip(b, 0, 1), inside)
    of_a, of_b = (read_tissues(volume, space, dtype=dtype) for volume in (a, b))
    return PairFigures(
        alike["mae"], alike["ssim"], alike["psnr"], of_a.volumes, of_b.volumes, of_b.how
    )
