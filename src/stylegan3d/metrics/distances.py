"""Distances between sets of brains: Fréchet and kernel distances of descriptors, bMMD2.

The distance between finite samples is never zero, even from one population: the Fréchet distance of
a few hundred descriptors is mostly bias. So each figure is compared with the same figure between
real subjects, at the same number of volumes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from sklearn.metrics import pairwise_distances

from stylegan3d.base import StyleGAN3DError
from stylegan3d.geometry.space import unit
from stylegan3d.metrics.comparison import DRAWS, Interval, jackknife_error, normal, quantiles

BATCH = 8
#: Volumes a side for an interval by leaving out one at a time.
FEWEST_LEFT_OUT = 3


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of two sets of descriptors, assumed Gaussian.

    |mean_a - mean_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)), Heusel et al. 2017, "GANs trained by a
    two time-scale update rule converge to a local Nash equilibrium", eq. 6. With the centred
    descriptors A, B (S_a = A^T A) the trace of the root is the sum of the singular values of
    A B^T: exact where the covariances are singular, as they are with fewer volumes than features,
    and without an iterated matrix root.

    Parameters
    ----------
    a, b : ndarray, shape (n, features)
        At least two rows each.

    Returns
    -------
    float
        0 for equal sets, never negative.
    """
    _check(a, b)
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    root_a, root_b = _root(a - mean_a), _root(b - mean_b)
    cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    traces = (root_a**2).sum() + (root_b**2).sum()
    return max(float(((mean_a - mean_b) ** 2).sum() + traces - 2 * cross), 0.0)


def diagonal_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance of two sets of descriptors whose features are taken to be independent.

    Sum of (mean_a - mean_b)^2 + (sd_a - sd_b)^2 over the features. With a few hundred volumes most
    of `frechet_distance` is the error of its 100,000 covariances, in the reference too, so that a
    ratio of the two hides differences. This one estimates two numbers a feature.

    Parameters
    ----------
    a, b : ndarray, shape (n, features), (m, features)
        At least two rows each.

    Returns
    -------
    float
        0 for equal sets, never negative.
    """
    _check(a, b)
    means, deviations = a.mean(axis=0) - b.mean(axis=0), a.std(axis=0, ddof=1) - b.std(0, ddof=1)
    return float((means**2).sum() + (deviations**2).sum())


def _root(centred: np.ndarray) -> np.ndarray:
    """R with R^T R the covariance of centred rows; no more rows than there are features."""
    return np.asarray(np.linalg.qr(centred / np.sqrt(len(centred) - 1), mode="r"))


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared maximum mean discrepancy of two sets of descriptors, unbiased (KID).

    Kernel (x.y / d + 1)^3, Binkowski et al. 2018, "Demystifying MMD GANs". Its expectation is 0
    where both sets come from one population, whatever their size; single values may be negative.

    Parameters
    ----------
    a, b : ndarray, shape (n, features)
        At least two rows each.
    """
    _check(a, b)
    return _among(a) + _among(b) - 2 * float(cubic_kernel(a, b).mean())


def _among(x: np.ndarray) -> float:
    k = cubic_kernel(x, x)
    return float((k.sum() - np.trace(k)) / (len(x) * (len(x) - 1)))


def cubic_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(x.y / d + 1)^3 of rows [n, d] and [m, d], [n, m]."""
    return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)


def discrepancy_interval(
    a: np.ndarray, b: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> tuple[float, Interval]:
    """`kernel_distance` of all of `a` to `b`, and its interval.

    The interval reflects replacing the volumes of `a`, with `b` fixed. Bayesian bootstrap over
    volumes (like `comparison.pairs_interval`). A normal approximation would be too narrow near 0,
    where the figure is skewed; random halves would waste most pairs of volumes.

    Parameters
    ----------
    a, b : ndarray, shape (n, features)
        At least two rows each.
    """
    _check(a, b)
    within, across = cubic_kernel(a, a), cubic_kernel(a, b).mean(axis=1)
    np.fill_diagonal(within, 0)
    constant = _among(b)
    weights = np.random.default_rng(seed).standard_exponential((draws, len(a)))

    def value(w: np.ndarray) -> np.ndarray:
        total = w.sum(axis=1)
        pairs = ((w @ within) * w).sum(axis=1) / (total**2 - (w**2).sum(axis=1))
        return np.asarray(pairs + constant - 2 * (w @ across) / total)

    return float(value(np.ones((1, len(a))))[0]), quantiles(value(weights))


def _check(a: np.ndarray, b: np.ndarray) -> None:
    if min(len(a), len(b)) < 2 or a.shape[1:] != b.shape[1:]:
        raise StyleGAN3DError(
            f"A distance of {len(a)} to {len(b)} volumes cannot be measured; give at least two "
            "of each, with the same features."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise StyleGAN3DError("A feature is not a number: leave that volume out.")


@dataclass
class Moments:
    """Sums over a set of volumes for `expected_bmmd2`, with one volume in memory at a time.

    Attributes
    ----------
    total : ndarray or float, shape (X, Y, Z), float64
        Sum of the volumes.
    energy : float
        Sum of their squared norms.
    n : int
        Number of volumes.
    """

    total: np.ndarray | float = 0.0
    energy: float = 0.0
    n: int = field(default=0)

    @classmethod
    def of(cls, volumes: Iterable[np.ndarray]) -> Moments:
        """Moments of volumes, uint8 of a pack or float in [0, 1]."""
        moments = cls()
        for volume in volumes:
            x = unit(volume)
            moments.total = moments.total + x
            moments.energy += float(np.vdot(x, x))
            moments.n += 1
        return moments

    @property
    def mean_square(self) -> float:
        """Unbiased squared norm of the population's mean: mean of x_i . x_j over i != j."""
        total = np.asarray(self.total)
        return float((np.vdot(total, total) - self.energy) / (self.n * (self.n - 1)))

    @property
    def variance(self) -> float:
        """Unbiased total variance: the trace of the covariance matrix over voxels."""
        return self.energy / self.n - self.mean_square


def expected_bmmd2(a: Moments, b: Moments) -> float:
    """Batch-wise squared maximum mean discrepancy (bMMD2) with a linear kernel on voxels.

    For batches x, y of B volumes each (Kwon et al. 2019, "Generation of 3D brain MRI using
    auto-encoding generative adversarial networks", whose definition 3D-StyleGAN, Hong et al. 2021,
    takes over)::

        bMMD2 = sum_ij (x_i.x_j + y_i.y_j - 2 x_i.y_j) / B^2 = |mean(x) - mean(y)|^2

    with sums over all voxels, B = 8, averaged over random batches. The terms i = j are included, so
    it is biased: it contains 1/B of the variance of each side, which is most of it. Returned is its
    expectation over batches, |mu_a - mu_b|^2 + (V_a + V_b) / B, estimated without bias from all
    volumes, rather than an average over a few random batches. Intensities are in [0, 1]; in [-1, 1]
    the figure is four times as large.
    """
    return _mean_distance(a, b) + (a.variance + b.variance) / BATCH


def real_bmmd2(real: Moments) -> float:
    """`expected_bmmd2` of two disjoint batches of one population: 2 V / B."""
    return 2 * real.variance / BATCH


@dataclass(frozen=True)
class LeftOut:
    """Moments of a set with each member left out, [n] each, and products with another set.

    Attributes
    ----------
    mean_square, variance : ndarray
        See `Moments`.
    cross : ndarray
        Product of the mean without the member and the mean of the other set.
    """

    mean_square: np.ndarray
    variance: np.ndarray
    cross: np.ndarray

    @classmethod
    def of(cls, volumes: Iterable[np.ndarray], own: Moments, other: Moments) -> LeftOut:
        """Reads the volumes (at least three) again; `own` are their moments."""
        rows = []
        for volume in volumes:
            x = unit(volume)
            rows.append((np.vdot(x, x), np.vdot(x, own.total), np.vdot(x, other.total)))
        energy, with_own, with_other = np.array(rows, np.float64).T
        n = own.n
        if n < FEWEST_LEFT_OUT:
            raise StyleGAN3DError("An interval of bMMD2 needs three volumes a side; give more.")
        total = np.asarray(own.total)
        rest = own.energy - energy
        square = np.vdot(total, total) - 2 * with_own + energy
        mean_square = (square - rest) / ((n - 1) * (n - 2))
        cross = (np.vdot(total, np.asarray(other.total)) - with_other) / ((n - 1) * other.n)
        return cls(mean_square, rest / (n - 1) - mean_square, cross)


def bmmd2_intervals(
    a_volumes: Iterable[np.ndarray], b_volumes: Iterable[np.ndarray], a: Moments, b: Moments
) -> dict[str, Interval]:
    """Jackknife intervals of `expected_bmmd2` of a to b, `real_bmmd2` of b, ratio of variances."""
    left_a, left_b = LeftOut.of(a_volumes, a, b), LeftOut.of(b_volumes, b, a)
    synthetic = np.hypot(
        jackknife_error(left_a.mean_square - 2 * left_a.cross + left_a.variance / BATCH),
        jackknife_error(left_b.mean_square - 2 * left_b.cross + left_b.variance / BATCH),
    )
    ratio = a.variance / b.variance
    variances = ratio * np.hypot(
        jackknife_error(left_a.variance) / a.variance, jackknife_error(left_b.variance) / b.variance
    )
    real = 2 * jackknife_error(left_b.variance) / BATCH
    return {
        "synthetic_interval": normal(expected_bmmd2(a, b), float(synthetic)),
        "real_interval": normal(real_bmmd2(b), real),
        "variance_ratio_interval": normal(ratio, float(variances)),
    }


def _mean_distance(a: Moments, b: Moments) -> float:
    if min(a.n, b.n) < 2:
        raise StyleGAN3DError("bMMD2 needs at least two volumes on each side; give more.")
    cross = float(np.vdot(np.asarray(a.total), np.asarray(b.total))) / (a.n * b.n)
    return a.mean_square + b.mean_square - 2 * cross


# Naeem et al. 2020, section 4.1, choose 5.
NEIGHBOURS = 5


def precision(made: np.ndarray, real: np.ndarray) -> float:
    """Share of generated brains within the support of real ones, 0 to 1.

    Kynkäänniemi et al. 2019, "Improved precision and recall metric for assessing generative
    models" (arXiv 1904.06991), eq. 1 and 2.

    Parameters
    ----------
    made, real : ndarray, shape (n, features)
        More than `NEIGHBOURS` rows each.
    """
    return float(_within(made, real).any(axis=1).mean())


def recall(made: np.ndarray, real: np.ndarray) -> float:
    """Share of real brains within the support of generated ones, 0 to 1.

    Kynkäänniemi et al. 2019, eq. 2. A single generated outlier has a large ball and inflates it,
    unlike `coverage`.
    """
    return precision(real, made)


def density(made: np.ndarray, real: np.ndarray) -> float:
    """Number of balls of real brains that contain a generated one, divided by k; may exceed 1.

    Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models"
    (arXiv 2002.09797), eq. 3. Its expectation is 1 between samples of one population.
    """
    return float(_within(made, real).sum(axis=1).mean() / NEIGHBOURS)


def coverage(made: np.ndarray, real: np.ndarray) -> float:
    """Share of real brains with a generated one in their ball, 0 to 1.

    Naeem et al. 2020, eq. 4. Between n samples of one population each it is about 1 - 1 / 2^k.
    """
    return float(_within(made, real).any(axis=0).mean())


def _within(made: np.ndarray, real: np.ndarray) -> np.ndarray:
    """[n, m] whether a generated brain is no farther from a real one than its k-th neighbour."""
    if min(len(made), len(real)) <= NEIGHBOURS or made.shape[1:] != real.shape[1:]:
        raise StyleGAN3DError(
            f"Precision and recall of {len(made)} and {len(real)} volumes cannot be measured; give "
            f"more than {NEIGHBOURS} of each, with the same features."
        )
    # The nearest neighbour of a real brain is itself.
    radii = np.partition(pairwise_distances(real), NEIGHBOURS, axis=1)[:, NEIGHBOURS]
    return np.asarray(pairwise_distances(made, real) <= radii)
