"""Two brains in numbers, against numbers that are known."""

import numpy as np
import pytest
from tolerances import FLOAT32, SUMS

from stylegan3d.geometry.space import Space
from stylegan3d.measures.attributes import VOLUMES
from stylegan3d.measures.similarity import compare_pair

SPACE = Space((40, 44, 40), np.diag([4.0, 4.0, 4.0, 1.0]))


def ball(radius, brightness=0.8):
    middle = np.array(SPACE.shape)[:, None, None, None] / 2
    distance = np.sqrt(((np.indices(SPACE.shape) - middle) ** 2).sum(0))
    return np.where(distance < radius, brightness, 0).astype(np.float32)


def test_a_brain_is_like_itself():
    figures = compare_pair(ball(12), ball(12), SPACE)
    assert figures.mean_difference == 0
    assert figures.ssim == pytest.approx(1)
    assert figures.psnr_db == float("inf")
    assert list(figures.a) == list(figures.b) == list(VOLUMES)
    assert figures.how.startswith("by intensity alone, which is rough")


def test_differences_count_where_either_is_brain():
    figures = compare_pair(ball(12, 0.8), ball(12, 0.6), SPACE)
    assert figures.mean_difference == pytest.approx(0.2, abs=FLOAT32)
    assert figures.psnr_db == pytest.approx(10 * np.log10(1 / 0.04), abs=SUMS)
    larger = compare_pair(ball(10, 0.8), ball(12, 0.8), SPACE)
    outside = 1 - (ball(10) > 0).sum() / (ball(12) > 0).sum()
    assert larger.mean_difference == pytest.approx(0.8 * outside, abs=FLOAT32)


def test_nothing_at_all_is_alike():
    empty = np.zeros(SPACE.shape, np.float32)
    assert compare_pair(empty, empty, SPACE).mean_difference == 0


def test_other_grids_are_refused():
    with pytest.raises(ValueError, match="cannot be compared"):
        compare_pair(np.zeros((2, 2, 2)), np.zeros((2, 2, 3)), SPACE)
