"""Confidence intervals of 95 % for what an evaluation measures.

Each says how far a figure would move with other brains of the same generator and other subjects of
the same population. Which method fits depends on the figure:

- Distances of sets and shares of nearest neighbours do not survive a bootstrap: drawing a brain
  twice changes them. They are measured on random halves, and the spread of the halves is the
  standard error of the whole (the delete-d jackknife with d = n / 2, Shao and Wu 1989, "A general
  theory for jackknife variance estimation", eq. 3.1).
- Means over pairs: pairs share brains, so brains are drawn, not pairs (`pairs_interval`).
- Medians, areas under a curve: the percentile bootstrap over brains.
- Shares: Wilson's score interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

LEVEL = 0.95
Z = 1.959964  # of the normal distribution, two-sided at LEVEL
DRAWS = 2000

Interval = tuple[float, float]


def quantiles(values: np.ndarray) -> Interval:
    """What 95 % of the values lie in."""
    low, high = np.quantile(values, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def normal(value: float, error: float) -> Interval:
    """Round a value with this standard error."""
    return value - Z * error, value + Z * error


def halves_interval(values: np.ndarray) -> Interval:
    """Of the mean of a figure over random halves, [repeats] figures of one half each.

    The delete-half jackknife: the standard deviation over halves is the standard error of the
    whole. Within the range of no figure is it cut off: a share may reach a little beyond 1.
    """
    return normal(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0)


def wilson(hits: int, n: int) -> Interval:
    """Of a share (Wilson 1927, "Probable inference"); sensible for 0 and n hits too."""
    if not n:
        return 0.0, 1.0
    share = hits / n
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    return max(float(middle - half), 0.0), min(float(middle + half), 1.0)


def bootstrap(
    measure: Callable[..., float], *samples: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Percentile bootstrap of a figure of one or several independent samples.

    Parameters
    ----------
    measure : callable
        Measure of samples of the same lengths, to a number.
    samples : ndarray, shape (n, ...)
        Each, drawn from with replacement along the first axis.
    """
    rng = np.random.default_rng(seed)
    found = [
        measure(*(sample[rng.integers(0, len(sample), len(sample))] for sample in samples))
        for _ in range(draws)
    ]
    return quantiles(np.array(found))


def pairs_interval(
    values: np.ndarray, pairs: Sequence[tuple[int, int]], draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Of the mean over pairs of brains, which share brains.

    Bayesian bootstrap over brains (Rubin 1981): each brain has a random weight, exponentially
    distributed, and a pair the product of both. No brain is paired with itself, as it would be
    if brains were drawn twice.

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
    """Of the mean over all pairs, from the mean of each member with all others [n].

    The variance of a statistic of pairs is, but for terms in 1 / n^2, four times that of its
    members' means over n (Hoeffding 1948).
    """
    return normal(float(members.mean()), 2 * float(members.std(ddof=1)) / np.sqrt(len(members)))


def jackknife_error(left_out: np.ndarray) -> float:
    """Standard error from the figure with each member left out [n] (Efron and Stein 1981)."""
    n = len(left_out)
    return float(np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum()))


def difference(a: Interval, a_mean: float, b: Interval, b_mean: float) -> Interval:
    """Of the difference a - b of two independent figures, from their own intervals.

    Newcombe 1998, "Interval estimation for the difference between independent proportions",
    method 10: the two distances to each bound add up in squares.
    """
    value = a_mean - b_mean
    low = value - np.hypot(a_mean - a[0], b[1] - b_mean)
    high = value + np.hypot(a[1] - a_mean, b_mean - b[0])
    return float(low), float(high)
