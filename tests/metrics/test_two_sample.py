"""A small network tells sets apart where they differ, guesses where they do not; twins are seen."""

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from stylegan3d.base import StyleGAN3DError
from stylegan3d.metrics import two_sample as module
from stylegan3d.metrics.diversity import collapse, dimensions, spread
from stylegan3d.metrics.two_sample import classify_by_measures, cube, two_sample

# Area under the curve of guesses, and how far from it those of 20 pairs may be.
CHANCE, GUESSED = 0.5, 0.25


@pytest.fixture
def sets(monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    """Twenty small volumes of noise each, of one population."""
    monkeypatch.setattr(module, "STEPS", 30)
    monkeypatch.setattr(module, "REPEATS", 2)
    x = np.random.default_rng(0).integers(0, 256, (40, 20, 20, 20), dtype=np.uint8)
    return x[:20], x[20:]


def test_one_population_is_guessed_and_texture_is_seen(
    sets, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = sets
    same = two_sample(first, second)
    low, high = same["auc_interval"]
    assert low < 0.6
    blurred = uniform_filter(first, (0, 3, 3, 3))
    other = two_sample(blurred, second)
    assert other["accuracy"] > 0.9
    assert other["auc_interval"][0] > high
    monkeypatch.setattr(module, "STEPS", 3)
    assert two_sample(blurred, second) == two_sample(blurred, second)


def test_a_person_is_never_on_both_sides(sets) -> None:
    """Each person twice, once in each set under the same picture: told apart by nothing.

    A classifier that learned from the other picture of a person would take each for the wrong one.
    """
    first, _ = sets
    people = [f"p{i}" for i in range(20)]
    found = two_sample(first, first, [*people, *people])
    assert abs(found["auc"] - CHANCE) < GUESSED


def test_too_few_are_refused(sets) -> None:
    with pytest.raises(StyleGAN3DError, match="at least 10"):
        two_sample(sets[0][:9], sets[1][:9])
    measures = np.zeros((20, 3))
    for first, second, people in (
        (measures, measures[:, :2], None),
        (measures, measures, ["p"] * 39),
        (measures, measures, ["p"] * 40),
    ):
        with pytest.raises(StyleGAN3DError, match=r"the same measures|at least 5 people"):
            classify_by_measures(first, second, people)


def test_cubes_lie_within_the_middle() -> None:
    volume = torch.arange(80 * 112 * 96, dtype=torch.int64).reshape(80, 112, 96) % 251
    first, last = (cube(volume.to(torch.uint8), (t, t, t)) for t in (0.0, 1.0))
    assert first.shape == last.shape == (48, 48, 48)
    assert first[0, 0, 0] == volume[12, 17, 14] / 255
    assert last[-1, -1, -1] == volume[67, 94, 81] / 255
    assert cube(torch.zeros(20, 28, 24, dtype=torch.uint8), (1, 1, 1)).shape == (14, 14, 14)


def gaussian(seed: int, n: int, scale: float = 1.0, features: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, (n, features))


def test_spread_is_a_ratio_of_variances_whatever_the_units() -> None:
    units = np.array([1, 10, 100, 1e-3, 1, 1])
    made, real = gaussian(0, 4000, 0.5) * units, gaussian(1, 4000) * units
    assert spread(made, real) == pytest.approx(0.25, rel=0.05)  # 4,000 random rows
    assert dimensions(real, real) == pytest.approx(6, rel=0.05)  # 4,000 random rows
    flat = made.copy()
    flat[:, 3:] = 0
    assert dimensions(flat, real) == pytest.approx(3, rel=0.05)  # 4,000 random rows


def test_collapse_is_told_and_variety_is_not() -> None:
    real, made = gaussian(0, 60), gaussian(1, 80)
    assert not collapse(made, real, 0.9, 1.0)["alarms"]
    five = np.repeat(made[:5], 16, axis=0) + gaussian(2, 80, 1e-3)
    found = collapse(five, real, 0.9, 1.0)
    assert found["twins"] == 80
    assert "80 of 80" in found["alarms"][0]
    assert "0.30 times" in collapse(made, real, 0.3, 0.4)["alarms"][0]
