"""Area under the ROC curve; stratified, with its confidence interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import rankdata

from stylegan3d.metrics.intervals import Interval, Z
from stylegan3d.plain import Json


@dataclass(frozen=True)
class Auc:
    """How well a score separates members from others.

    Attributes
    ----------
    value : float
        Share of pairs of a member and another in which the member scores higher; 0.5 is chance.
    interval : Interval
        Interval of 95 %.
    members, others : int
        Numbers compared.
    """

    value: float
    interval: Interval
    members: int
    others: int

    def to_dict(self) -> Json:
        """Plain data: "auc", "interval", "members", "others", "tells_apart"."""
        return {
            "auc": self.value,
            "interval": self.interval,
            "members": self.members,
            "others": self.others,
            "tells_apart": not self.interval[0] <= 0.5 <= self.interval[1],
        }


def areas(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Area under the curve of each of k scores, [n, k] of the first set and [m, k] of the second.

    The rank sum of Mann and Whitney 1947 (Annals of Mathematical Statistics 18); quick enough for a
    bootstrap.

    Returns
    -------
    ndarray, shape (k,)
        Share of pairs in which the first scores higher; ties count half.
    """
    n, m = len(first), len(second)
    ranks = rankdata(np.concatenate([first, second]), axis=0)[:n].sum(axis=0)
    return (ranks - n * (n + 1) / 2) / (n * m)


def stratified_auc(
    members: np.ndarray,
    others: np.ndarray,
    member_strata: Sequence[str],
    other_strata: Sequence[str],
) -> Auc | None:
    """Compare members with others of the same stratum, such as the same scanner.

    The area of each stratum has the variance of DeLong et al. 1988 (Biometrics 44, eq. 4); areas
    are averaged with the number of pairs as weights. The interval is symmetric on the scale of the
    logit, so that it stays within 0 and 1. If every pair is in order that variance is 0, which is
    too optimistic; then the other end of the interval is the area L with 1 - L = 1.96 times its own
    standard error (Newcombe 2006, Statistics in Medicine 25, method 5; the variance of Hanley and
    McNeil 1982, Radiology 143, eq. 1).

    Parameters
    ----------
    members, others : ndarray, shape (n,)
        Scores.
    member_strata, other_strata : sequence of str
        Stratum of each; strata without two of each kind are ignored.

    Returns
    -------
    Auc or None
        None if no stratum has two of each kind.
    """
    areas, variances, pairs, counts = [], [], [], []
    for stratum in sorted(set(member_strata)):
        a = members[[other == stratum for other in member_strata]]
        b = others[[other == stratum for other in other_strata]]
        if min(len(a), len(b)) < 2:
            continue
        area, variance = _delong(a, b)
        areas.append(area)
        variances.append(variance)
        pairs.append(len(a) * len(b))
        counts.append((len(a), len(b)))
    if not areas:
        return None
    weights = np.array(pairs) / sum(pairs)
    value = float(weights @ np.array(areas))
    variance = float(weights**2 @ np.array(variances))
    n, m = (int(count) for count in np.sum(counts, axis=0))
    return Auc(value, _logit_interval(value, variance, n, m), n, m)


def _delong(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Area under the curve and its variance."""
    order = (a[:, None] > b) + 0.5 * (a[:, None] == b)
    variance = order.mean(axis=1).var(ddof=1) / len(a) + order.mean(axis=0).var(ddof=1) / len(b)
    return float(order.mean()), float(variance)


def _logit_interval(value: float, variance: float, n: int, m: int) -> Interval:
    if value in (0.0, 1.0):
        bound = brentq(
            lambda area: 1 - area - Z * np.sqrt(_hanley_mcneil(area, n, m)), 0.5, 1 - 1e-9
        )
        return (float(bound), 1.0) if value else (0.0, 1 - float(bound))
    middle, error = np.log(value / (1 - value)), np.sqrt(variance) / (value * (1 - value))
    low, high = (1 / (1 + np.exp(-(middle + sign * Z * error))) for sign in (-1, 1))
    return float(low), float(high)


def _hanley_mcneil(area: float, n: int, m: int) -> float:
    """Variance of an area under exponential scores; n members and m others as in Newcombe 2006."""
    each = (n + m) / 2 - 1
    spread = 1 + each * (1 - area) / (2 - area) + each * area / (1 + area)
    return area * (1 - area) * spread / (n * m)
