"""How much brains of a set differ from one another: MS-SSIM and correlation of pairs.

A generator that makes one brain again and again has pairs more alike than real people are, a noisy
one less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.metrics.sampling import unit

# Wang et al. 2003, section 3: a Gaussian window of 11 samples, exponents of five scales.
SIGMA, WINDOW = 1.5, 11
K1, K2 = 0.01, 0.03
EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

Progress = Callable[[int, int], None]


def scales_of(shape: Sequence[int]) -> int:
    """How many scales, up to five, a grid has room for: its window fits into the coarsest."""
    scales = sum(min(shape) // 2**level >= WINDOW for level in range(len(EXPONENTS)))
    if not scales:
        raise StyleGAN3DError(
            f"MS-SSIM needs at least {WINDOW} voxels along each axis, not {tuple(shape)}; "
            "use a finer grid."
        )
    return scales


@torch.no_grad()
def ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Multi-scale structural similarity of two volumes.

    Wang, Simoncelli and Bovik 2003, "Multiscale structural similarity for image quality
    assessment", eq. 7, in three dimensions: contrast and structure of every scale, luminance of
    the last, each a mean over the whole grid, raised to the exponents of as many scales as the
    grid has room for (three at 80 x 112 x 96), scaled to sum to 1. Negative means count as 0.
    Background belongs to it, as in the figures of other 3D generators: brains alone are less alike
    than their volumes.

    Parameters
    ----------
    a, b : (X, Y, Z), uint8 of a pack or float in [0, 1].

    Returns
    -------
    float
        1 for equal volumes.
    """
    if a.shape != b.shape:
        raise StyleGAN3DError(f"MS-SSIM compares volumes of one grid, not {a.shape} to {b.shape}.")
    scales = scales_of(a.shape)
    exponents = np.array(EXPONENTS[:scales]) / sum(EXPONENTS[:scales])
    x, y = (torch.from_numpy(unit(v)) for v in (a, b))
    product = 1.0
    for scale, exponent in enumerate(exponents):
        luminance, structure = _ssim_terms(x, y)
        term = structure * luminance if scale == scales - 1 else structure
        product *= max(float(term.double().mean()), 0.0) ** exponent
        if scale < scales - 1:
            x, y = (F.avg_pool3d(v[None], 2)[0] for v in (x, y))
    return float(product)


def _ssim_terms(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance, and contrast times structure, where the window fits; data range 1."""
    blurred = torch.stack([x, y, x * x, y * y, x * y])
    for axis in (1, 2, 3):
        matrix = _window(blurred.shape[axis])
        blurred = torch.movedim(torch.tensordot(matrix, blurred, dims=([1], [axis])), 0, axis)
    mean_x, mean_y, xx, yy, xy = blurred
    c1, c2 = K1**2, K2**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    variances = (xx - mean_x**2) + (yy - mean_y**2)
    return luminance, (2 * (xy - mean_x * mean_y) + c2) / (variances + c2)


def _window(n: int) -> Tensor:
    """The Gaussian window along an axis as a banded matrix [n - 10, n]: a product is fastest."""
    offsets = torch.arange(WINDOW) - WINDOW // 2
    weights = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    rows = n - WINDOW + 1
    matrix = torch.zeros(rows, n)
    for row in range(rows):
        matrix[row, row : row + WINDOW] = weights / weights.sum()
    return matrix


def random_pairs(n: int, count: int, seed: int = 0) -> list[tuple[int, int]]:
    """`count` different pairs out of `n`, all of them if there are no more."""
    if n < 2:
        raise StyleGAN3DError("Diversity is measured on pairs; give at least two volumes.")
    first, second = np.triu_indices(n, 1)
    chosen = np.random.default_rng(seed).permutation(len(first))[:count]
    return [(int(first[k]), int(second[k])) for k in np.sort(chosen)]


def pair_ms_ssim(
    volumes: Sequence[np.ndarray] | np.ndarray,
    pairs: int = 200,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> np.ndarray:
    """MS-SSIM of random pairs of a set, [pairs].

    Parameters
    ----------
    volumes : [n, X, Y, Z], uint8 of a pack or float in [0, 1].
    pairs : how many different pairs, at most all.
    """
    chosen = random_pairs(len(volumes), pairs, seed)
    values = []
    for done, (i, j) in enumerate(chosen, 1):
        values.append(ms_ssim(volumes[i], volumes[j]))
        if progress is not None:
            progress(done, len(chosen))
    return np.array(values)


def pair_correlation(volumes: Iterable[np.ndarray], mask: np.ndarray) -> float:
    """Mean Pearson correlation over all pairs of a set, inside a mask.

    With standardised volumes u_i of unit norm it is (|sum u_i|^2 - n) / (n (n - 1)), so that one
    volume at a time is in memory.

    Parameters
    ----------
    volumes : each (X, Y, Z).
    mask : (X, Y, Z) bool, usually where the mean brain is.
    """
    total, n = np.zeros(int(mask.sum())), 0
    for volume in volumes:
        x = unit(volume)[mask].astype(np.float64)
        x -= x.mean()
        total += x / max(float(np.linalg.norm(x)), 1e-12)
        n += 1
    if n < 2:
        raise StyleGAN3DError("Diversity is measured on pairs; give at least two volumes.")
    return float((total @ total - n) / (n * (n - 1)))
