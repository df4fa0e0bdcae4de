"""Precision, recall, density and coverage: by hand, of one population, and under known damage."""

import numpy as np
import pytest

from stylegan3d.base import StyleGAN3DError
from stylegan3d.metrics.distances import NEIGHBOURS, coverage, density, precision, recall


def gaussian(seed: int, n: int = 400, mean: float = 0.0, deviation: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, deviation, (n, 4))


def naive(made: np.ndarray, real: np.ndarray) -> tuple[float, float, float, float]:
    """Ball by ball, as the papers write it."""

    def radius(points: np.ndarray, i: int) -> float:
        others = [np.linalg.norm(points[i] - points[j]) for j in range(len(points)) if j != i]
        return sorted(others)[NEIGHBOURS - 1]

    real_radii = [radius(real, i) for i in range(len(real))]
    made_radii = [radius(made, i) for i in range(len(made))]
    inside = np.array([[np.linalg.norm(m - r) for r in real] for m in made])
    in_real = inside <= real_radii
    in_made = np.array(made_radii) >= inside.T
    return (
        np.mean([row.any() for row in in_real]),
        np.mean([row.any() for row in in_made]),
        in_real.sum() / (NEIGHBOURS * len(made)),
        np.mean([column.any() for column in in_real.T]),
    )


def test_they_are_what_the_papers_write() -> None:
    made, real = gaussian(0, 13, mean=1.2), gaussian(1, 17)
    expected = naive(made, real)
    found = precision(made, real), recall(made, real), density(made, real), coverage(made, real)
    assert found == pytest.approx(expected)
    assert 0 < found[0] < 1  # a case that tells something
    assert 0 < found[3] < 1


def test_one_population_has_the_expectations_of_theory() -> None:
    made, real = gaussian(0), gaussian(1)
    assert density(made, real) == pytest.approx(1, abs=0.1)  # random rows
    # n made points hit one of n - 1 + n exchangeable places nearer than the k-th real one.
    assert coverage(made, real) == pytest.approx(1 - 0.5**NEIGHBOURS, abs=0.03)


def test_brains_unlike_people_cost_fidelity_and_not_diversity() -> None:
    real, noisy = gaussian(1), gaussian(0, deviation=3.0)
    assert precision(noisy, real) < 0.5 * precision(gaussian(0), real)
    assert density(noisy, real) < 0.5 * density(gaussian(0), real)
    assert recall(noisy, real) > 0.9


def test_few_kinds_of_brains_cost_diversity_and_not_fidelity() -> None:
    real = gaussian(1)
    five = np.repeat(real[:5], 80, axis=0) + gaussian(0) * 1e-3
    assert precision(five, real) == 1
    assert recall(five, real) < 0.1
    assert coverage(five, real) < 0.2


def test_an_outlier_among_the_made_brains_buys_recall_but_no_coverage() -> None:
    real = gaussian(1)
    few = gaussian(0) * 1e-3 - 3
    few[0] = 3.0  # the rest is far from it, so its ball holds all that lies between
    assert recall(few, real) > 0.9
    assert coverage(few, real) < 0.2


def test_too_few_volumes_are_refused() -> None:
    with pytest.raises(StyleGAN3DError, match="more than 5"):
        precision(gaussian(0, 5), gaussian(1, 20))
