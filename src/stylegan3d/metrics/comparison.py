"""A figure between synthetic and real brains compared with that between real brains.

95 % confidence intervals of evaluation figures.

They reflect sampling of brains from the same generator and of subjects from the same population.
The method depends on the figure:

- Distances of sets and nearest-neighbour shares cannot be bootstrapped, since duplicates change
  them. They are measured on random halves, whose spread is the standard error of the whole (the
  delete-d jackknife with d = n / 2, Shao and Wu 1989, "A general theory for jackknife variance
  estimation", eq. 3.1).
- Means over pairs: pairs share brains, so brains are resampled, not pairs (`pairs_interval`).
- Medians, areas under a curve: the percentile bootstrap over brains.
- Shares: Wilson's score interval.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import binomtest

from stylegan3d.base import Json, StyleGAN3DError

LEVEL = 0.95
Z = 1.959964  # two-sided normal quantile at LEVEL
DRAWS = 2000
# Fewer values have no interval.
FEWEST = 5

Interval = tuple[float, float]


def quantiles(values: np.ndarray) -> Interval:
    """Interval that contains 95 % of the values."""
    low, high = np.quantile(values, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def normal(value: float, error: float) -> Interval:
    """Normal interval around a value with this standard error."""
    return value - Z * error, value + Z * error


def wilson(hits: int, n: int) -> Interval:
    """Interval of a proportion (Wilson 1927, "Probable inference"), valid also for 0 and n hits."""
    if not n:
        return 0.0, 1.0
    found = binomtest(hits, n).proportion_ci(LEVEL, "wilson")
    return float(found.low), float(found.high)


def bootstrap(
    measure: Callable[..., float], *samples: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Percentile bootstrap of a figure of one or several independent samples.

    Parameters
    ----------
    measure : callable
        Maps samples of the same lengths to a number.
    samples : ndarray, shape (n, ...)
        Each is resampled with replacement along the first axis.
    """
    rng = np.random.default_rng(seed)
    found = [
        measure(*(sample[rng.integers(0, len(sample), len(sample))] for sample in samples))
        for _ in range(draws)
    ]
    return quantiles(np.array(found))


def interval(
    measure: Callable[..., float], *samples: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> Interval | None:
    """The `bootstrap` interval; a few values know none."""
    few = min(map(len, samples)) < FEWEST
    return None if few else bootstrap(measure, *samples, draws=draws, seed=seed)


def estimated(
    name: str,
    measure: Callable[..., float],
    *samples: np.ndarray,
    draws: int = DRAWS,
    seed: int = 0,
) -> Json:
    """A figure and the `interval` of it, as `name` and `name_interval`."""
    known = interval(measure, *samples, draws=draws, seed=seed)
    return {name: measure(*samples), f"{name}_interval": known}


def mean(values: np.ndarray) -> float:
    """The mean, as a plain number."""
    return float(values.mean())


def median(values: np.ndarray) -> float:
    """The median, as a plain number."""
    return float(np.median(values))


def correlation(pairs: np.ndarray) -> float:
    """Pearson's r of two columns; 0 if one of them does not vary."""
    return float(np.corrcoef(pairs.T)[0, 1]) if np.ptp(pairs, axis=0).all() else 0.0


def pairs_interval(
    values: np.ndarray, pairs: Sequence[tuple[int, int]], draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Interval of the mean over pairs of brains that share brains.

    Bayesian bootstrap over brains (Rubin 1981): each brain has an exponentially distributed random
    weight, and a pair the product of both. Unlike with resampling, no brain is paired with itself.

    Parameters
    ----------
    values : ndarray, shape (pairs,)
    pairs : sequence of tuple of int
        The two brains of each.
    """
    first, second = np.array(pairs).T
    rng = np.random.default_rng(seed)
    weights = rng.standard_exponential((draws, int(max(first.max(), second.max())) + 1))
    product = weights[:, first] * weights[:, second]
    return quantiles(product @ values / product.sum(axis=1))


def members_interval(members: np.ndarray) -> Interval:
    """Interval of the mean over all pairs, from the mean of each member with all others [n].

    Up to terms in 1 / n^2, the variance of a pair statistic is four times that of its members'
    means divided by n (Hoeffding 1948).
    """
    return normal(float(members.mean()), 2 * float(members.std(ddof=1)) / np.sqrt(len(members)))


def jackknife_error(left_out: np.ndarray) -> float:
    """Standard error from the figure with each member left out [n] (Efron and Stein 1981)."""
    n = len(left_out)
    return float(np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum()))


def difference(a: Interval, a_mean: float, b: Interval, b_mean: float) -> Interval:
    """Interval of the difference a - b of two independent figures, from their own intervals.

    Newcombe 1998, "Interval estimation for the difference between independent proportions",
    method 10: the squared distances to each bound are added.
    """
    value = a_mean - b_mean
    low = value - np.hypot(a_mean - a[0], b[1] - b_mean)
    high = value + np.hypot(a[1] - a_mean, b_mean - b[0])
    return float(low), float(high)


REPEATS = 50
Measure = Callable[[np.ndarray, np.ndarray], float]


def _compared(figures: Sequence[tuple[float, float]], n: int) -> Json:
    """A figure between synthetic and real brains and the same between real ones, of each repeat.

    Means, their ratio, and intervals: "synthetic_interval" is the 95 % confidence interval of
    "synthetic", "ratio_interval" the same divided by the mean of real to real. "real_interval"
    contains 95 % of the comparisons between real subjects, the values expected without any
    synthetic brains. "n" is the number of volumes on each side.
    """
    made, real = np.array(figures).T
    # The delete-half jackknife: the standard deviation over halves is the standard error of the
    # whole. Intervals are not clipped: that of a share may slightly exceed 1.
    jackknife = normal(float(made.mean()), float(made.std(ddof=1)) if len(made) > 1 else 0.0)
    return {
        **beside_real(float(made.mean()), jackknife, float(real.mean())),
        "real": float(real.mean()),
        "real_interval": quantiles(real),
        "real_q95": float(np.quantile(real, 0.95)),
        "n": n,
    }


def side_by_side(made: tuple[float, Interval], real: tuple[float, Interval]) -> Json:
    """A figure and its interval of synthetic brains, and that between real ones."""
    synthetic = {"synthetic": made[0], "synthetic_interval": made[1]}
    return synthetic | {"real": real[0], "real_interval": real[1]}


def beside_real(synthetic: float, interval: Interval, real: float) -> Json:
    """A figure of synthetic brains with its interval, and both divided by that of real ones."""
    return {
        "synthetic": synthetic,
        "synthetic_interval": interval,
        "ratio": synthetic / real if real > 0 else None,
        "ratio_interval": [bound / real for bound in interval] if real > 0 else None,
    }


def compare_with_halves(
    measure: Measure,
    synthetic: np.ndarray,
    real: np.ndarray,
    *,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Json:
    """Compare synthetic with real and real with real at equal n, over random halves of both sets.

    Each repeat takes a random half of the synthetic brains and splits the real subjects in two.
    Both are divided into groups of n, the size of the smaller half; synthetic groups and groups of
    one half of the subjects are compared with groups of the other half, and averaged. The spread
    over repeats is the error for the whole sets (see above), even if their sizes differ.

    Parameters
    ----------
    synthetic, real : ndarray, shape (n, features)
        One row per volume, one volume per subject; at least four each.
    """
    n = group_size(len(synthetic), len(real))
    figures = []
    for repeat in range(repeats):
        rng = np.random.default_rng((seed, repeat))
        order = rng.permutation(len(real))
        middle = len(real) // 2
        half, other = _groups(real[order[:middle]], n), _groups(real[order[middle:]], n)
        drawn = rng.permutation(len(synthetic))[: len(synthetic) // 2]
        figures.append((_mean(measure, _groups(synthetic[drawn], n), half),
                        _mean(measure, other, half)))  # fmt: skip
    return _compared(figures, n)


def group_size(synthetic: int, real: int) -> int:
    """Number of volumes on each side of a comparison."""
    n = min(synthetic // 2, real // 2)
    if n < 2:
        raise StyleGAN3DError(
            f"{synthetic} synthetic and {real} real volumes are too few to compare; give at least "
            "four of each."
        )
    return n


def compare_with_validation(
    measure: Measure,
    synthetic: np.ndarray,
    training: np.ndarray,
    validation: np.ndarray,
    *,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Json:
    """Compare synthetic brains and training subjects with validation subjects, at their number.

    The generator has not seen the validation subjects, so memorisation does not help. The interval
    is conditional on these validation subjects.

    Parameters
    ----------
    synthetic, training, validation : ndarray, shape (n, features)
    """
    n = min(len(synthetic) // 2, len(training) // 2, len(validation))
    figures = []
    for repeat in range(repeats):
        rng = np.random.default_rng((seed, repeat))
        target = [validation[rng.permutation(len(validation))[:n]]]
        drawn = rng.permutation(len(synthetic))[: len(synthetic) // 2]
        people = rng.permutation(len(training))[: len(training) // 2]
        figures.append((_mean(measure, _groups(synthetic[drawn], n), target),
                        _mean(measure, _groups(training[people], n), target)))  # fmt: skip
    return _compared(figures, n)


def _groups(rows: np.ndarray, n: int) -> list[np.ndarray]:
    """All complete groups of n."""
    return [rows[start : start + n] for start in range(0, len(rows) - n + 1, n)]


def _mean(measure: Measure, a: list[np.ndarray], b: list[np.ndarray]) -> float:
    """Mean over pairs of groups, cycling through the shorter list."""
    count = max(len(a), len(b))
    return float(np.mean([measure(a[k % len(a)], b[k % len(b)]) for k in range(count)]))
