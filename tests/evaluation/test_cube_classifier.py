"""Cubes of sets that differ in one place are told there, and nowhere else."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from stylegan3d.base import StyleGAN3DError
from stylegan3d.evaluation import evaluation as module
from stylegan3d.evaluation.evaluation import classify_cubes
from stylegan3d.geometry.space import Space

SHAPE = (20, 20, 20)


@pytest.fixture
def space(monkeypatch: pytest.MonkeyPatch) -> Space:
    monkeypatch.setattr(module, "TREES", 30)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -38
    return Space(SHAPE, affine)


def volumes(seed: int, n: int = 14) -> np.ndarray:
    return np.random.default_rng(seed).integers(50, 206, (n, *SHAPE)).astype(np.uint8)


def test_they_are_told_where_they_differ(space: Space) -> None:
    first, second = volumes(0), volumes(1)
    soft = uniform_filter(first.astype(float), (0, 3, 3, 3)).astype(np.uint8)
    first[:, :, 10:] = soft[:, :, 10:]  # the front half is blurred
    people = list(range(28))
    told = classify_cubes(first, second, people, np.ones(SHAPE, bool), space)
    assert told.side == 8
    right = ((told.scores[:14] > 0).mean(axis=0) + (told.scores[14:] <= 0).mean(axis=0)) / 2
    front = told.corners[:, 1] >= 10
    assert right[front].mean() > 0.8
    assert right[front].mean() > right[told.corners[:, 1] + told.side <= 10].mean() + 0.15
    value, (low, high) = told.accuracy()
    assert value == pytest.approx(right.mean())
    assert low <= value <= high
    assert told.auc()[0] > 0.7
    made, real = told.surest(3)
    assert [row < 14 for row, _ in made] == [True] * 3
    assert [row >= 14 for row, _ in real] == [True] * 3
    assert all(told.corners[cube][1] + told.side > 10 for _, cube in made)
    assert told.scores[made[0]] == told.scores[:14].max()


def test_one_population_is_not_told(space: Space) -> None:
    told = classify_cubes(
        volumes(2), volumes(3), list(range(28)), np.ones(SHAPE, bool), space, seed=1
    )
    assert abs(told.accuracy()[0] - 0.5) < 0.1
    assert sum(told.accuracy(name)[0] > 0 for name in set(told.regions)) == len(set(told.regions))


def test_what_cannot_be_told_is_refused(space: Space) -> None:
    everywhere = np.ones(SHAPE, bool)
    with pytest.raises(StyleGAN3DError, match="at least 10"):
        classify_cubes(volumes(0, 4), volumes(1), list(range(18)), everywhere, space)
    with pytest.raises(StyleGAN3DError, match="too small"):
        classify_cubes(volumes(0), volumes(1), list(range(28)), ~everywhere, space)
