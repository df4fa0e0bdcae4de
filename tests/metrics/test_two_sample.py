"""A small network tells sets apart where they differ, guesses where they do not; twins are seen."""

import numpy as np
import pytest
import torch

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.metrics import two_sample as module
from stylegan3d.metrics.spread import collapse, dimensions, spread
from stylegan3d.metrics.two_sample import halved, two_sample


@pytest.fixture
def sets(monkeypatch: pytest.MonkeyPatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Twenty small volumes of smooth noise each, of one population."""
    monkeypatch.setattr(module, "EPOCHS", 8)
    x = torch.rand(40, 1, 20, 20, 20, generator=torch.Generator().manual_seed(0))
    return x[:20], x[20:]


def test_one_population_is_guessed_and_texture_is_seen(sets) -> None:
    first, second = sets
    same = two_sample(first, second)
    low, high = same["auc_interval"]
    assert low < 0.6
    blurred = torch.nn.functional.avg_pool3d(first, 3, 1, 1)
    other = two_sample(blurred, second)
    assert other["accuracy"] > 0.9
    assert other["auc_interval"][0] > high
    assert other == two_sample(blurred, second)


def test_a_person_is_never_on_both_sides(sets) -> None:
    """Each person twice, once in each set under the same picture: told apart by nothing."""
    first, _ = sets
    people = [f"p{i}" for i in range(20)]
    found = two_sample(first, first, [*people, *people])
    assert found["auc"] < 0.75


def test_too_few_are_refused(sets) -> None:
    with pytest.raises(StyleGAN3DError, match="at least 10"):
        two_sample(sets[0][:9], sets[1][:9])


def test_half_resolution_is_the_mean_of_eight(blobs: np.ndarray) -> None:
    small = halved(blobs[:1])[0, 0]
    assert small.shape == (10, 14, 12)
    assert float(small[5, 7, 6]) == pytest.approx(
        blobs[0, 10:12, 14:16, 12:14].mean() / 255, abs=1e-6
    )


def gaussian(seed: int, n: int, scale: float = 1.0, features: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, (n, features))


def test_spread_is_a_ratio_of_variances_whatever_the_units() -> None:
    units = np.array([1, 10, 100, 1e-3, 1, 1])
    made, real = gaussian(0, 4000, 0.5) * units, gaussian(1, 4000) * units
    assert spread(made, real) == pytest.approx(0.25, rel=0.05)
    assert dimensions(real, real) == pytest.approx(6, rel=0.05)
    flat = made.copy()
    flat[:, 3:] = 0
    assert dimensions(flat, real) == pytest.approx(3, rel=0.05)


def test_collapse_is_told_and_variety_is_not() -> None:
    real, made = gaussian(0, 60), gaussian(1, 80)
    assert not collapse(made, real, 0.9, 1.0)["alarms"]
    five = np.repeat(made[:5], 16, axis=0) + gaussian(2, 80, 1e-3)
    found = collapse(five, real, 0.9, 1.0)
    assert found["twins"] == 80
    assert "80 of 80" in found["alarms"][0]
    assert "0.30 times" in collapse(made, real, 0.3, 0.4)["alarms"][0]
