"""Augmentation keeps a brain a brain, and can be repeated."""

import numpy as np
import pytest
import torch

from stylegan3d.training.data import augment, stretch_axis


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def blob(center=(8, 12, 10), shape=(20, 28, 24)):
    axes = np.meshgrid(*map(np.arange, shape), indexing="ij")
    distance = sum((a - c) ** 2 for a, c in zip(axes, center, strict=True))
    return torch.from_numpy(np.exp(-distance / 18)).float()[None]


def test_the_same_seed_gives_the_same_volume():
    volume = blob()
    assert torch.equal(augment(volume, generator(3)), augment(volume, generator(3)))
    assert not torch.equal(augment(volume, generator(3)), augment(volume, generator(4)))


def test_nothing_asked_is_nothing_done():
    volume = blob()
    same = augment(volume, generator(), mirror=False, stretch=0, gamma=0)
    assert torch.equal(same, volume)


def test_mirror_is_left_right_half_of_the_time():
    volume = blob(center=(5, 12, 10))
    made = [augment(volume, generator(s), stretch=0, gamma=0) for s in range(60)]
    mirrored = sum(torch.equal(m, volume.flip(1)) for m in made)
    assert mirrored + sum(torch.equal(m, volume) for m in made) == 60
    assert 15 < mirrored < 45


def test_gamma_keeps_the_range():
    volume = blob()
    powers = [augment(volume, generator(s), mirror=False, stretch=0) for s in range(20)]
    for made in powers:
        assert made.min() >= 0
        assert made.max() <= 1
        ratio = (made[volume > 0.1].log() / volume[volume > 0.1].log()).nanmedian()
        assert 0.94 <= ratio <= 1.06
    assert len({round(float(m.mean()), 6) for m in powers}) > 10


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_stretching_moves_along_one_axis_only_and_a_little(axis):
    volume = blob()
    moved = []
    for seed in range(30):
        made = stretch_axis(volume, axis, generator(seed), 1.0)
        weights = made[0] / made.sum()
        at = [
            float((weights.sum(dim=[d for d in range(3) if d != a]) * torch.arange(n)).sum())
            for a, n in enumerate(weights.shape)
        ]
        for other in {0, 1, 2} - {axis - 1}:
            # Voxels: a blob that is moved is cut by the border.
            assert at[other] == pytest.approx((8, 12, 10)[other], abs=0.05)
        moved.append(at[axis - 1] - (8, 12, 10)[axis - 1])
    assert 0.3 < np.std(moved) < 2.5
