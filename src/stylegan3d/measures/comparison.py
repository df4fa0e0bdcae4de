"""Numerical comparison of two brains on one grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stylegan3d.geometry.space import Space
from stylegan3d.measures.attributes import BACKGROUND
from stylegan3d.measures.similarity import similarity
from stylegan3d.measures.tissue_volumes import read_tissues

if TYPE_CHECKING:
    import torch


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
        Millilitres of each by the keys of `tissue_volumes.VOLUMES`; NaN where unknown.
    how : str
        How they were measured, see `tissue_volumes.Tissues`.
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
        See `tissue_volumes.read_tissues`.

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
