"""Diversity of a set of brains: MS-SSIM and correlation of pairs, spread, mode collapse.

A generator with mode collapse has pairs more similar than real subjects, a noisy one less.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from scipy.linalg import convolution_matrix
from scipy.signal.windows import gaussian
from scipy.spatial.distance import pdist, squareform
from torch import Tensor

from stylegan3d.base import SILENT, Json, Progress, StyleGAN3DError
from stylegan3d.devices import computed
from stylegan3d.geometry.space import unit
from stylegan3d.metrics.comparison import wilson

# Wang et al. 2003, section 3: a Gaussian window of 11 samples, exponents of five scales.
SIGMA, WINDOW = 1.5, 11
K1, K2 = 0.01, 0.03
EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

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
    terms = _scale_terms(a, b, scales_of(a.shape))
    exponents = np.array(EXPONENTS[: len(terms)]) / sum(EXPONENTS[: len(terms)])
    factors = [structure for _, structure in terms[:-1]] + [terms[-1][0]]
    return float(np.prod(np.maximum(factors, 0.0) ** exponents))


@torch.no_grad()
def _scale_terms(a: np.ndarray, b: np.ndarray, scales: int) -> Terms:
    """Mean SSIM and mean of contrast times structure at each scale."""
    if a.shape != b.shape:
        raise StyleGAN3DError(f"MS-SSIM compares volumes on one grid, not {a.shape} to {b.shape}.")
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
    weights = gaussian(min(WINDOW, n - 1 + n % 2), SIGMA)
    return torch.from_numpy(convolution_matrix(weights / weights.sum(), n, "valid")).float()


def random_pairs(n: int, count: int, seed: int = 0) -> list[tuple[int, int]]:
    """`count` different pairs out of `n`, all of them if there are no more."""
    if n < 2:
        raise StyleGAN3DError("Diversity is measured on pairs; give at least two volumes.")
    first, second = np.triu_indices(n, 1)
    chosen = np.random.default_rng(seed).permutation(len(first))[:count]
    return [(int(first[k]), int(second[k])) for k in np.sort(chosen)]


def pair_ms_ssim(
    volumes: Sequence[np.ndarray] | np.ndarray,
    pairs: Sequence[tuple[int, int]],
    progress: Progress = SILENT,
) -> np.ndarray:
    """`ms_ssim` of these pairs of a set, [pairs].

    Parameters
    ----------
    volumes : sequence of ndarray or ndarray, shape (n, X, Y, Z), uint8
        Volumes of a pack or float in [0, 1].
    pairs : sequence of tuple of int
        Such as `random_pairs` draws.
    """
    return np.array(
        computed(lambda pair: ms_ssim(*(volumes[k] for k in pair)), pairs, progress=progress)
    )


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


# Diversity is 1 if random brains differ as much as subjects. Blur, which is unavoidable with few
# training subjects, also makes brains more similar: 0.6 is usual, less than 0.5 is not.
TOO_ALIKE = 0.5
# Maximum distance of near-duplicates, as a share of the distance of the two most similar subjects.
DUPLICATES = 0.5
TOO_MANY_DUPLICATES = 0.05


def spread(made: np.ndarray, real: np.ndarray) -> float:
    """Variance of generated brains relative to real ones, averaged over features.

    Parameters
    ----------
    made, real : ndarray, shape (n, features)
    """
    return float(_scaled(made, real).var(axis=0, ddof=1).mean())


def dimensions(made: np.ndarray, real: np.ndarray) -> float:
    """Effective dimension of generated brains.

    The participation ratio of the covariance's eigenvalues, (sum l)^2 / sum l^2: n if n of them are
    equal and the others 0. It is at most n - 1 for n brains, so it is only comparable at equal n.
    """
    scaled = _scaled(made, real)
    centred = scaled - scaled.mean(axis=0)
    gram = centred @ centred.T
    return float(np.trace(gram) ** 2 / max((gram**2).sum(), 1e-30))


def _scaled(made: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Features scaled to unit variance among real brains; constant ones are dropped."""
    deviation = real.std(axis=0, ddof=1)
    varies = deviation > 1e-6 * max(float(deviation.max()), 1e-12)
    return np.asarray(made[:, varies] / deviation[varies])


def collapse(made: np.ndarray, real: np.ndarray, diversity: float, diversity_high: float) -> Json:
    """Test for mode collapse.

    Two signs: brains far more similar than subjects (`diversity`), and near-duplicates. Without
    collapse, two brains closer than half the distance of the two most similar subjects are very
    unlikely (a birthday test, Arora and Zhang 2017, arXiv 1706.08224, with a distance instead of
    visual inspection).

    Parameters
    ----------
    made, real : ndarray, shape (n, features)
    diversity, diversity_high : float
        (1 - correlation of pairs) relative to subjects, and the upper bound of its interval.

    Returns
    -------
    dict
        "twins" of "n" brains, "twins_share", "twins_interval"; "diversity"; "alarms", sentences.
    """
    least = pdist(real).min()
    distances = squareform(pdist(made))
    np.fill_diagonal(distances, np.inf)
    duplicates = int((distances.min(axis=1) < DUPLICATES * least).sum())
    share, interval = duplicates / len(made), wilson(duplicates, len(made))
    alarms = []
    if diversity_high < TOO_ALIKE:
        alarms.append(
            f"Collapse: random brains differ {diversity:.2f} times as much as subjects do; below "
            f"{TOO_ALIKE} a generator repeats itself."
        )
    if interval[0] > TOO_MANY_DUPLICATES:
        alarms.append(
            f"Collapse: {duplicates} of {len(made)} random brains have a near-duplicate, nearer "
            "than half the distance of the two most similar subjects."
        )
    return {
        "n": len(made),
        "twins": duplicates,
        "twins_share": share,
        "twins_interval": interval,
        "diversity": diversity,
        "alarms": alarms,
    }
