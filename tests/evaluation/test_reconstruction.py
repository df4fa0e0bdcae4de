"""Reconstructions are compared to the brain they are of, beside yardsticks in the right order."""

import numpy as np
import pytest

from stylegan3d.evaluation.parts import reconstruct
from stylegan3d.geometry.space import as_packed, unit
from stylegan3d.model.generator import RandomBrains


@pytest.fixture(scope="module")
def people(tiny_generator) -> list[np.ndarray]:
    """Brains the generator can make: random ones of its own, without noise."""
    return list(RandomBrains(tiny_generator, [1, 2, 3], noise="none"))


def test_projection_beats_the_mean_of_other_brains(tiny_generator, people) -> None:
    mean = unit(np.mean(list(RandomBrains(tiny_generator, range(10, 20))), axis=0) / 255)
    seen = []
    result = reconstruct(
        tiny_generator, people, mean, budget="standard", progress=lambda *now: seen.append(now)
    )
    assert result["n"] == 3
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert "encoder" not in result  # the tiny generator has none
    assert result["projected"]["psnr"] > result["mean_brain"]["psnr"] + 3
    medians = np.median([person["projected"]["psnr"] for person in result["people"]])
    assert result["projected"]["psnr"] == pytest.approx(medians)


def test_without_a_budget_nothing_is_projected(tiny_generator, people, blobs) -> None:
    result = reconstruct(tiny_generator, blobs[:2], unit(blobs.mean(axis=0) / 255), budget=None)
    assert "projected" not in result
    assert result["blurred"]["ssim"] < 0.999


def test_random_brains_are_numbered_and_repeat(tiny_generator) -> None:
    brains = RandomBrains(tiny_generator, [4, 5])
    first, again = brains.stack(), brains.stack()
    assert first.dtype == np.uint8
    assert first.shape == (2, *tiny_generator.shape)
    assert np.array_equal(first, again)
    assert np.array_equal(RandomBrains(tiny_generator, [5]).stack()[0], first[1])
    assert not np.array_equal(first[0], first[1])
    # Each has texture of its own: with the stored noise it is another volume.
    assert not np.array_equal(RandomBrains(tiny_generator, [4], noise="fixed").stack()[0], first[0])


def test_packing_clips_and_rounds() -> None:
    packed = as_packed(np.array([-0.2, 0.0, 0.5, 1.0, 1.4]))
    assert packed.tolist() == [0, 0, 128, 255, 255]
    assert unit(packed).max() == 1
