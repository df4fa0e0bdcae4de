"""The discriminator's augmentation: what it does, that gradients pass, and how p moves."""

import math

import numpy as np
import pytest
import torch
from tolerances import SUMS

from stylegan3d.training import data as module
from stylegan3d.training.data import (
    ADJUST_EVERY,
    LARGEST_P,
    AugmentProbability,
    Purpose,
    apply_affine,
    augmented,
    change_intensity,
    cut_out,
    generators_for,
    rotation,
    translate,
)


def generators(n, step=0):
    return generators_for(0, step, Purpose.AUGMENT_REAL, range(n))


def volumes(n=2, shape=(10, 14, 12)):
    rng = np.random.default_rng(1)
    data = np.full((n, 1, *shape), -1.0, np.float32)
    data[:, :, 2:-2, 3:-3, 2:-2] = rng.uniform(-0.5, 1, data[:, :, 2:-2, 3:-3, 2:-2].shape)
    return torch.from_numpy(data)


#: The operations by name.
PARTS = {part.__name__.removeprefix("_draw_"): part for part in module._DRAWS}


def test_p_0_changes_nothing_and_p_decides_how_many_are_changed(monkeypatch):
    monkeypatch.setattr(module, "_DRAWS", (PARTS["translate"],))
    x = volumes(1)
    assert augmented(x, 0.0, generators(1)) is x
    for p in (0.3, 1.0):
        made = [augmented(x, p, generators(1, s)) for s in range(80)]
        changed = sum(not torch.equal(m, x) for m in made)
        assert 80 * p * 0.6 < changed <= 80 * min(p * 1.5, 1)


@pytest.mark.parametrize("part", PARTS)
def test_each_part_changes_volumes_and_passes_gradients(part, monkeypatch):
    monkeypatch.setattr(module, "_DRAWS", (PARTS[part],))
    x = volumes(6).requires_grad_(True)
    made = augmented(x, 1.0, generators(6))
    assert made.shape == x.shape
    assert not torch.equal(made, x)
    made.square().sum().backward()
    assert x.grad.isfinite().all()
    assert x.grad.abs().sum() > 0
    again = augmented(x, 1.0, generators(6))
    assert torch.equal(made, again)


def test_an_affine_map_is_the_one_asked_for():
    """A quarter turn about the third axis is numpy's, on a grid with a square section."""
    u = torch.rand(1, 6, 6, 4)
    turned = apply_affine(u, rotation(torch.tensor([0.0, 0.0, math.pi / 2])))
    expected = np.rot90(u[0].numpy(), 1, axes=(1, 0))
    np.testing.assert_allclose(turned[0].numpy(), expected, atol=SUMS)
    same = torch.rand(1, 5, 8, 6)
    torch.testing.assert_close(apply_affine(same, torch.eye(3)), same, atol=SUMS, rtol=SUMS)
    # Twice the size: a blob's spread doubles along each axis, whatever the grid's shape.
    axes = torch.meshgrid(*(torch.arange(n) - (n - 1) / 2 for n in (20, 28, 24)), indexing="ij")
    blob = torch.exp(-sum(a**2 for a in axes) / 8)[None]
    for axis, along in enumerate(axes):
        matrix = torch.eye(3)
        matrix[axis, axis] = 0.5
        made = apply_affine(blob, matrix)
        variance = [(v * along**2).sum() / v.sum() for v in (blob[0], made[0])]
        # Linear interpolation widens a blob.
        assert variance[1] / variance[0] == pytest.approx(4, rel=0.1)


def test_a_shift_brings_in_nothing():
    u = torch.rand(1, 4, 5, 6) + 1
    made = translate(u, (1, -2, 0))
    assert torch.equal(made[:, 1:, :3], u[:, :-1, 2:])
    assert made[:, 0].abs().sum() == made[:, :, 3:].abs().sum() == 0


def test_intensity_keeps_its_slope_where_there_is_nothing():
    u = torch.tensor([[[[0.0, 0.2, 0.9, -0.1]]]], requires_grad=True)
    change_intensity(u, 0.0, 1.0, 0.6).sum().backward()
    assert (u.grad > 0).all()
    assert u.grad.max() < 10
    same = change_intensity(u, 0.0, 1.0, 1.0)
    torch.testing.assert_close(same, u)


def test_a_cut_box_is_half_the_grid():
    made = cut_out(torch.ones(1, 8, 12, 16), (0.5, 0.5, 0.5))
    assert (made == 0).sum() == 4 * 6 * 8
    corner = cut_out(torch.ones(1, 8, 12, 16), (0.0, 0.0, 0.0))
    assert (corner == 0).sum() == 2 * 3 * 4


def test_adaptive_p_grows_while_the_discriminator_is_sure_and_falls_otherwise():
    sure, unsure = AugmentProbability(0.1), AugmentProbability(0.1)
    for _ in range(3 * ADJUST_EVERY):
        sure.adjust(0.9, batch=4, images=1000)
        unsure.adjust(0.2, batch=4, images=1000)
    assert sure.p == pytest.approx(0.1 + 12 * 4 / 1000)
    assert unsure.p == pytest.approx(0.1 - 12 * 4 / 1000)
    for _ in range(1000):
        sure.adjust(1.0, batch=4, images=1000)
        unsure.adjust(0.0, batch=4, images=1000)
    assert (sure.p, unsure.p) == (LARGEST_P, 0.0)
