"""Two brains on one grid in numbers: how different they are, and what each measures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stylegan3d.attributes import BACKGROUND, measure_volume
from stylegan3d.metrics.similarity import similarity
from stylegan3d.space import Space

#: What is set side by side, in millilitres.
VOLUMES = ("brain_ml", "ventricle_ml", "grey_ml", "white_ml")


@dataclass(frozen=True)
class PairFigures:
    """What `compare_pair` found.

    Attributes
    ----------
    mean_difference
        Mean of |B - A| where either is brain, as a share of the brightest tissue.
    ssim, psnr_db
        Structural similarity (1 is identical) and peak signal-to-noise ratio, there too.
    a, b
        Measures of each by the keys of `attributes.MEASURES`; NaN where there is no brain.
    """

    mean_difference: float
    ssim: float
    psnr_db: float
    a: dict[str, float]
    b: dict[str, float]


def compare_pair(a: np.ndarray, b: np.ndarray, space: Space) -> PairFigures:
    """Compare two brains.

    Parameters
    ----------
    a, b : np.ndarray
        (X, Y, Z) on the grid of `space`, 0 outside and 1 bright.
    space : Space
        Where the voxels lie.

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
    measured = (measure_volume(volume, space) for volume in (a, b))
    return PairFigures(alike["mae"], alike["ssim"], alike["psnr"], *measured)
