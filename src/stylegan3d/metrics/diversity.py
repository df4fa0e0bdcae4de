"""Diversity of a set of brains: MS-SSIM and correlation of pairs.

A generator with mode collapse has pairs more similar than real subjects, a noisy one less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.devices import workers
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.geometry.intensity import unit
from stylegan3d.progress import Progress

# Wang et al. 2003, section 3: a Gaussian window of 11 samples, exponents of five scales.
SIGMA, WINDOW = 1.5, 11
K1, K2 = 0.01, 0.03
EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# Least number of voxels along an axis for five scales.
SMALLEST = 2 ** (len(EXPONENTS) - 1)

# Of each scale: mean SSIM, mean contrast times structure.
Terms = Sequence[tuple[float, float]]


def scales_of(shape: Sequence[int]) -> int:
    """Number of scales, up to five, for which the window fits into the coarsest grid."""
    scales = sum(min(shape) // 2**level >= WINDOW for level in range(len(EXPONENTS)))
    if not scales:
        raise StyleGAN3DError(
            f"MS-SSIM needs at least {WINDOW} voxels along each axis, not {tuple(shape)}; "
            "use a finer grid."
        )
    return scales


def ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Multi-scale structural similarity of two volumes.

    Wang, Simoncelli and Bovik 2003, "Multiscale structural similarity for image quality
    assessment", eq. 7, in three dimensions: contrast and structure of every scale, luminance of
    the last, each a mean over the whole grid, raised to the exponents of the available scales
    (three at 80 x 112 x 96), normalised to sum to 1. Negative means count as 0. The background is
    included, as in published figures of 3D generators; brains alone are less similar.

    Parameters
    ----------
    a, b : ndarray, shape (X, Y, Z), uint8
        Of a pack or float in [0, 1].

    Returns
    -------
    float
        1 for equal volumes.
    """
    scales = scales_of(a.shape)
    return standard_product(_scale_terms(a, b, scales), scales)


def ms_ssim_3dstylegan(a: np.ndarray, b: np.ndarray) -> float:
    """MS-SSIM as implemented in 3D-StyleGAN (Hong et al. 2021); see `both_ms_ssim`.

    Not the standard product: over five scales, the last one's term goes into each of the other
    four factors, prod_k (c_k s_k)^(e_k) ssim_5^(e_5) for k = 1 ... 4, so that it counts four times.
    Where the grid of a scale is smaller than the window, the window is as large as fits.
    """
    if min(a.shape) < SMALLEST:
        raise StyleGAN3DError(
            f"This MS-SSIM needs at least {SMALLEST} voxels along each axis, not {a.shape}."
        )
    return original_product(_scale_terms(a, b, len(EXPONENTS)))


def both_ms_ssim(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """`ms_ssim` and `ms_ssim_3dstylegan` of two volumes, sharing computations.

    The second is NaN on a grid too small to be halved four times.
    """
    scales = scales_of(a.shape)
    if min(a.shape) < SMALLEST:
        return ms_ssim(a, b), float("nan")
    terms = _scale_terms(a, b, len(EXPONENTS))
    return standard_product(terms, scales), original_product(terms)


def standard_product(terms: Terms, scales: int) -> float:
    """The standard product over `scales` pairs of terms, with luminance of the last one only."""
    exponents = np.array(EXPONENTS[:scales]) / sum(EXPONENTS[:scales])
    factors = [structure for _, structure in terms[: scales - 1]] + [terms[scales - 1][0]]
    return float(np.prod(np.maximum(factors, 0.0) ** exponents))


def original_product(terms: Terms) -> float:
    """The product of 3D-StyleGAN over five pairs of terms."""
    last = max(terms[-1][0], 0.0) ** EXPONENTS[-1]
    factors = [
        max(structure, 0.0) ** exponent * last
        for (_, structure), exponent in zip(terms[:-1], EXPONENTS, strict=False)
    ]
    return float(np.prod(factors))


@torch.no_grad()
def _scale_terms(a: np.ndarray, b: np.ndarray, scales: int) -> Terms:
    """Mean SSIM and mean of contrast times structure at each scale."""
    if a.shape != b.shape:
        raise StyleGAN3DError(f"MS-SSIM compares volumes of one grid, not {a.shape} to {b.shape}.")
    scales_of(a.shape)
    x, y = (torch.from_numpy(unit(v)) for v in (a, b))
    terms = []
    for scale in range(scales):
        luminance, structure = _ssim_terms(x, y)
        terms.append(
            (float((luminance * structure).double().mean()), float(structure.double().mean()))
        )
        if scale < scales - 1:
            x, y = (F.avg_pool3d(v[None], 2)[0] for v in (x, y))
    return terms


def _ssim_terms(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance, and contrast times structure, without padding; data range 1."""
    blurred = torch.stack([x, y, x * x, y * y, x * y])
    for axis in (1, 2, 3):
        matrix = _window(blurred.shape[axis])
        blurred = torch.movedim(torch.tensordot(matrix, blurred, dims=([1], [axis])), 0, axis)
    mean_x, mean_y, xx, yy, xy = blurred
    c1, c2 = K1**2, K2**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    variances = (xx - mean_x**2) + (yy - mean_y**2)
    return luminance, (2 * (xy - mean_x * mean_y) + c2) / (variances + c2)


@lru_cache
def _window(n: int) -> Tensor:
    """The Gaussian window along an axis as a banded matrix [n - 10, n]: a product is fastest.

    If the axis is shorter than the window, the window has the largest odd size that fits.
    """
    size = min(WINDOW, n - 1 + n % 2)
    offsets = torch.arange(size) - size // 2
    weights = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    rows = n - size + 1
    matrix = torch.zeros(rows, n)
    for row in range(rows):
        matrix[row, row : row + size] = weights / weights.sum()
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
    """`ms_ssim` of random pairs of a set, [pairs].

    Parameters
    ----------
    volumes : sequence of ndarray or ndarray, shape (n, X, Y, Z), uint8
        Volumes of a pack or float in [0, 1].
    pairs : int
        Number of different pairs, at most all.
    """
    chosen = random_pairs(len(volumes), pairs, seed)
    return _of_pairs(lambda a, b: (ms_ssim(a, b),), volumes, chosen, progress)[:, 0]


def pair_ms_ssim_both(
    volumes: Sequence[np.ndarray] | np.ndarray,
    pairs: Sequence[tuple[int, int]],
    progress: Progress | None = None,
) -> np.ndarray:
    """`both_ms_ssim` of these pairs of a set, [pairs, 2]."""
    return _of_pairs(both_ms_ssim, volumes, pairs, progress)


def _of_pairs(
    measure: Callable[[np.ndarray, np.ndarray], tuple[float, ...]],
    volumes: Sequence[np.ndarray] | np.ndarray,
    pairs: Sequence[tuple[int, int]],
    progress: Progress | None,
) -> np.ndarray:
    values: list[tuple[float, ...]] = []
    with workers() as mapped:
        for value in mapped(lambda pair: measure(volumes[pair[0]], volumes[pair[1]]), pairs):
            values.append(value)
            if progress is not None:
                progress(len(values), len(pairs))
    return np.array(values)


def pair_correlation(volumes: Iterable[np.ndarray], mask: np.ndarray) -> float:
    """Mean Pearson correlation over all pairs of a set, inside a mask.

    With standardised volumes u_i of unit norm it is (|sum u_i|^2 - n) / (n (n - 1)), so that one
    volume at a time is in memory.

    Parameters
    ----------
    volumes : iterable of ndarray
        Each (X, Y, Z).
    mask : ndarray, shape (X, Y, Z), bool
        Usually where the mean brain is.
    """
    total, n = _sum_standardised(volumes, mask)
    return float((total @ total - n) / (n * (n - 1)))


def member_correlations(volumes: Iterable[np.ndarray], mask: np.ndarray) -> np.ndarray:
    """Mean correlation of each volume with all others, [n]; their mean is `pair_correlation`.

    Reads the volumes twice, one at a time.
    """
    total, n = _sum_standardised(volumes, mask)
    found = [float(_standardised(volume, mask) @ total) for volume in volumes]
    return (np.array(found) - 1) / (n - 1)


def _sum_standardised(volumes: Iterable[np.ndarray], mask: np.ndarray) -> tuple[np.ndarray, int]:
    total, n = np.zeros(int(mask.sum())), 0
    for volume in volumes:
        total += _standardised(volume, mask)
        n += 1
    if n < 2:
        raise StyleGAN3DError("Diversity is measured on pairs; give at least two volumes.")
    return total, n


def _standardised(volume: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """[voxels] of mean 0 and norm 1."""
    x = unit(volume)[mask].astype(np.float64)
    x -= x.mean()
    return np.asarray(x / max(float(np.linalg.norm(x)), 1e-12))
