"""The differentiable similarity against the one that is reported, and how loss is measured."""

import numpy as np
import pytest
import torch
from tolerances import LAYERS, SUMS

from stylegan3d.measures.similarity import similarity
from stylegan3d.projection.problem import MaskedSSIM
from stylegan3d.projection.search import original_loss


def some_volume(seed, shape=(20, 17, 23)):
    rough = np.random.default_rng(seed).random(shape).astype(np.float32)
    return rough * np.linspace(0.2, 1.4, shape[2], dtype=np.float32)


def as_image(volume):
    return torch.from_numpy(volume)[None, None] * 2 - 1


@pytest.mark.parametrize("place", ["middle", "corner", "everywhere"])
def test_similarity_is_the_reported_one(place):
    """Also where the Gaussian window reaches beyond the mask's box, and beyond the volume."""
    target, made = some_volume(0), some_volume(1)
    mask = np.zeros(target.shape, bool)
    if place == "middle":
        mask[8:12, 7:9, 9:15] = mask[9, 10, 11] = True
    elif place == "corner":
        mask[:4, -3:, :5] = True
    else:
        mask[:] = True
    ours = MaskedSSIM(as_image(target), mask)(as_image(made))
    assert float(ours) == pytest.approx(similarity(made, target, mask)["ssim"], abs=SUMS)
    assert float(MaskedSSIM(as_image(target), mask)(as_image(target))) == pytest.approx(1)


def test_similarity_can_be_followed_uphill():
    target, mask = some_volume(0), np.ones((20, 17, 23), bool)
    ssim, made = MaskedSSIM(as_image(target), mask), as_image(some_volume(1)).requires_grad_(True)
    before = ssim(made)
    before.backward()
    with torch.no_grad():
        assert ssim(made + 50 * made.grad) > before + 0.01


def test_the_originals_loss_is_its_definition():
    a, b = torch.rand(2, 1, 1, 16, 8, 24) * 2 - 1
    grey_a, grey_b = ((x[0, 0].numpy() + 1) * 127.5 for x in (a, b))
    blocks = [g.reshape(2, 8, 1, 8, 3, 8).mean(axis=(1, 3, 5)) for g in (grey_a, grey_b)]
    expected = np.mean((grey_a - grey_b) ** 2) + np.mean((blocks[0] - blocks[1]) ** 2)
    assert float(original_loss(a, b)) == pytest.approx(expected, rel=LAYERS)
