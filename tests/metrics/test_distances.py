"""Distances of sets against closed forms, naive versions, and sets that are known to differ."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from tolerances import DOUBLE, LAYERS

from stylegan3d.base import StyleGAN3DError
from stylegan3d.metrics.comparison import (
    compare_with_halves,
    compare_with_validation,
    estimated,
    mean,
)
from stylegan3d.metrics.distances import (
    Moments,
    bmmd2_intervals,
    diagonal_distance,
    expected_bmmd2,
    frechet_distance,
    kernel_distance,
    real_bmmd2,
)


def gaussian(seed: int, n: int, mean=0.0, deviation=1.0, features: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, deviation, (n, features))


def test_frechet_distance_of_equal_sets_is_zero() -> None:
    a = gaussian(0, 30, features=50)  # fewer rows than features: singular covariances
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_has_the_closed_form_of_gaussians() -> None:
    # Diagonal covariances: |m|^2 + sum (s_a - s_b)^2.
    a, b = gaussian(0, 200_000), gaussian(1, 200_000, mean=0.5, deviation=2.0)
    # 200,000 random rows.
    assert frechet_distance(a, b) == pytest.approx(5 * 0.25 + 5 * 1.0, rel=0.02)


def test_diagonal_distance_has_little_bias_where_frechet_distance_is_mostly_bias() -> None:
    a, b = gaussian(0, 200_000), gaussian(1, 200_000, mean=0.5, deviation=2.0)
    # 200,000 random rows.
    assert diagonal_distance(a, b) == pytest.approx(5 * 0.25 + 5 * 1.0, rel=0.02)
    assert diagonal_distance(a, a) == 0
    # A shift that full covariances of few rows hide beside those of one population.
    first, second, moved = (
        gaussian(k, 60, mean, features=40) for k, mean in enumerate((0, 0, 0.4))
    )
    hidden = frechet_distance(moved, second) / frechet_distance(first, second)
    seen = diagonal_distance(moved, second) / diagonal_distance(first, second)
    assert seen > 2 * hidden


def test_frechet_distance_equals_the_formula_with_a_matrix_root() -> None:
    rng = np.random.default_rng(2)
    a, b = gaussian(0, 40) @ rng.normal(size=(5, 5)), gaussian(1, 60, mean=1.0)
    s, t = np.cov(a.T), np.cov(b.T)
    mean = ((a.mean(0) - b.mean(0)) ** 2).sum()
    expected = mean + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=DOUBLE)


def test_kernel_distance_is_unbiased() -> None:
    same = [kernel_distance(gaussian(i, 12), gaussian(1000 + i, 9)) for i in range(1500)]
    error = np.std(same) / np.sqrt(len(same))
    assert abs(np.mean(same)) < 4 * error
    # Counting i = j, as a biased estimate does, would be far outside.
    assert error < 0.1


def test_kernel_distance_equals_its_double_sum() -> None:
    a, b = gaussian(0, 4), gaussian(1, 3, mean=1.0)

    def k(x, y):
        return (np.dot(x, y) / 5 + 1) ** 3

    expected = (
        np.mean([k(a[i], a[j]) for i in range(4) for j in range(4) if i != j])
        + np.mean([k(b[i], b[j]) for i in range(3) for j in range(3) if i != j])
        - 2 * np.mean([k(x, y) for x in a for y in b])
    )
    assert kernel_distance(a, b) == pytest.approx(expected)


def test_one_volume_has_no_distance() -> None:
    with pytest.raises(StyleGAN3DError, match="at least two"):
        frechet_distance(gaussian(0, 1), gaussian(1, 5))
    with pytest.raises(StyleGAN3DError, match="not a number"):
        frechet_distance(np.full((5, 3), np.nan), np.zeros((5, 3)))
    assert estimated("psnr", mean, np.array([20.5])) == {"psnr": 20.5, "psnr_interval": None}


def test_comparison_is_at_equal_numbers_and_repeatable() -> None:
    real, like_real, other = gaussian(0, 201), gaussian(1, 300), gaussian(2, 300, mean=1.0)
    same = compare_with_halves(frechet_distance, like_real, real, repeats=10)
    again = compare_with_halves(frechet_distance, like_real, real, repeats=10)
    far = compare_with_halves(frechet_distance, other, real, repeats=10)
    assert same["n"] == 100
    assert same == again
    assert 0.5 < same["ratio"] < 2
    assert far["ratio"] > 3
    assert compare_with_halves(frechet_distance, like_real[:7], real)["n"] == 3
    with pytest.raises(StyleGAN3DError, match="at least four"):
        compare_with_halves(frechet_distance, like_real[:3], real)


def test_learning_the_training_people_by_heart_shows_on_validation_people() -> None:
    training, validation = gaussian(0, 40, mean=1.0), gaussian(1, 10, mean=-1.0)
    copies = compare_with_validation(frechet_distance, training.copy(), training, validation)
    fresh = compare_with_validation(frechet_distance, gaussian(2, 40, -1.0), training, validation)
    assert copies["n"] == 10
    assert fresh["synthetic"] < 0.5 * copies["synthetic"]


def naive_bmmd2(x: np.ndarray, y: np.ndarray) -> float:
    """Batches [B, ...] by the double sum of Kwon et al. 2019."""
    batch = len(x)
    x, y = x.reshape(batch, -1), y.reshape(batch, -1)
    return float(((x @ x.T).sum() + (y @ y.T).sum() - 2 * (x @ y.T).sum()) / batch**2)


def test_expected_bmmd2_is_the_mean_over_random_batches() -> None:
    rng = np.random.default_rng(0)
    a = rng.random((3000, 2, 3, 4))
    b = rng.random((3000, 2, 3, 4)) ** 2
    batches = [
        (a[k : k + 8], b[k : k + 8], a[(k + 8) % 3000 : (k + 8) % 3000 + 8])
        for k in range(0, 3000, 8)
    ]
    drawn = [naive_bmmd2(x, y) for x, y, _ in batches]
    real = [naive_bmmd2(x, z) for x, _, z in batches]
    first, second = Moments.of(a), Moments.of(b)
    error = np.std(drawn) / np.sqrt(len(drawn))
    assert abs(np.mean(drawn) - expected_bmmd2(first, second)) < 4 * error
    error = np.std(real) / np.sqrt(len(real))
    assert abs(np.mean(real) - real_bmmd2(first)) < 4 * error
    assert expected_bmmd2(first, second) > 1.5 * real_bmmd2(first)


def test_bmmd2_intervals_are_the_jackknife_of_the_slow_way() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((7, 2, 3, 4)), rng.random((9, 2, 3, 4)) ** 2
    first, second = Moments.of(a), Moments.of(b)

    def error(figure, n: int) -> float:
        left = np.array([figure(i) for i in range(n)])
        return float(np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum()))

    def without(x: np.ndarray, i: int) -> Moments:
        return Moments.of(np.delete(x, i, axis=0))

    by_a = error(lambda i: expected_bmmd2(without(a, i), second), 7)
    by_b = error(lambda i: expected_bmmd2(first, without(b, i)), 9)
    low, high = bmmd2_intervals(a, b, first, second)["synthetic_interval"]
    assert (high + low) / 2 == pytest.approx(expected_bmmd2(first, second))
    assert (high - low) / 2 == pytest.approx(1.96 * np.hypot(by_a, by_b), rel=LAYERS)
    real = error(lambda i: real_bmmd2(without(b, i)), 9)
    low, high = bmmd2_intervals(a, b, first, second)["real_interval"]
    assert (high - low) / 2 == pytest.approx(1.96 * real, rel=LAYERS)
