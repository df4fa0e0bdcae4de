"""Intervals hold the truth about as often as they say."""

from itertools import pairwise

import numpy as np
import pytest

from stylegan3d.metrics import comparison
from stylegan3d.metrics.comparison import compare_with_halves
from stylegan3d.metrics.distances import (
    discrepancy_interval,
    frechet_distance,
    kernel_distance,
)

RUNS = 150


def share_that_hold(found: list[tuple[float, float]], truth: float) -> float:
    return float(np.mean([low <= truth <= high for low, high in found]))


def test_wilson_is_scipys() -> None:
    from scipy.stats import binomtest

    for hits, n in ((0, 20), (7, 20), (20, 20)):
        expected = binomtest(hits, n).proportion_ci(0.95, method="wilson")
        assert comparison.wilson(hits, n) == pytest.approx(
            (expected.low, expected.high), abs=1e-6
        )  # 1.959964 for the quantile


def test_bootstrap_of_a_median_holds_it() -> None:
    drawn = [np.random.default_rng(i).normal(3, 1, 40) for i in range(RUNS)]
    found = [comparison.bootstrap(lambda x: float(np.median(x)), x, draws=200) for x in drawn]
    assert share_that_hold(found, 3) > 0.88


@pytest.mark.parametrize("way", ["pairs", "members"])
def test_means_over_pairs_hold_the_truth(way: str) -> None:
    """|x - y| of two normal numbers is 2 / sqrt(pi) on average; pairs share members."""
    found = []
    for i in range(RUNS):
        x = np.random.default_rng(i).normal(0, 1, 30)
        first, second = np.triu_indices(30, 1)
        values = np.abs(x[first] - x[second])
        if way == "pairs":
            pairs = list(zip(first, second, strict=True))
            found.append(comparison.pairs_interval(values, pairs, draws=200))
        else:
            members = np.abs(x[:, None] - x).sum(axis=1) / 29
            found.append(comparison.members_interval(members))
            assert members.mean() == pytest.approx(values.mean())
    # The values are skewed and 30 are few: a little less than 95 %.
    assert share_that_hold(found, 2 / np.sqrt(np.pi)) > 0.84
    # As if pairs were independent would be far too sure.
    assert np.mean([high - low for low, high in found]) > 2 * 2 * 1.96 * 0.85 / np.sqrt(435)


def test_random_halves_hold_the_distance_of_the_whole() -> None:
    """KID of two shifted Gaussians with both sets drawn anew: an unbiased figure, so that its mean
    over runs is the truth.
    """
    found, means = [], []
    for i in range(60):
        rng = np.random.default_rng(i)
        made, real = rng.normal(0.4, 1, (60, 3)), rng.normal(0, 1, (44, 3))
        part = compare_with_halves(kernel_distance, made, real, repeats=30)
        found.append(part["synthetic_interval"])
        means.append(part["synthetic"])
    assert share_that_hold(found, float(np.mean(means))) > 0.85


def test_two_seeds_agree_within_their_intervals_and_damage_does_not() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(0, 1, (80, 6))

    def run(seed: int, mean: float) -> dict:
        made = np.random.default_rng(seed).normal(mean, 1, (100, 6))
        return compare_with_halves(frechet_distance, made, real, seed=seed)

    one, other, damaged = run(1, 0.3), run(2, 0.3), run(3, 1.2)
    low, high = one["synthetic_interval"]
    assert low < other["synthetic"] < high
    assert damaged["synthetic_interval"][0] > high
    low, high = one["real_interval"]
    assert low < other["real"] < high


@pytest.mark.parametrize(("n", "shift"), [(40, 0.1), (100, 0.1), (100, 0.5)])
def test_kernel_distances_to_the_same_people_hold_the_truth(n: int, shift: float) -> None:
    """Features with a mean, a spread and correlations as those of brains; few people who stay the
    same, brains near and far from them. The figure has no bias: its mean over runs is the truth.
    """
    rng = np.random.default_rng(9)
    mix, mean = 0.3 * rng.normal(size=(20, 60)) / np.sqrt(np.arange(1, 21))[:, None], 0.5
    people = mean + rng.normal(size=(27, 20)) @ mix
    figures, found = [], []
    for i in range(RUNS):
        made = mean + np.random.default_rng(i).normal(shift, 0.9, (n, 20)) @ mix
        value, interval = discrepancy_interval(made, people, draws=200)
        figures.append(value)
        found.append(interval)
        assert interval[0] < interval[1]
    assert figures[-1] == pytest.approx(kernel_distance(made, people))
    assert share_that_hold(found, float(np.mean(figures))) > 0.9
    # Of two runs both err: each figure need not lie in the other's interval, but these meet.
    meet = [a[0] <= b[1] and b[0] <= a[1] for a, b in pairwise(found)]
    assert np.mean(meet) > 0.97
    # Neither is it so wide that it says nothing.
    width = np.mean([high - low for low, high in found])
    assert width < 3 * 2 * comparison.Z * np.std(figures)


def test_difference_adds_errors_in_squares() -> None:
    low, high = comparison.difference((0.7, 0.9), 0.8, (0.45, 0.55), 0.5)
    assert (low, high) == pytest.approx((0.3 - np.hypot(0.1, 0.05), 0.3 + np.hypot(0.1, 0.05)))
