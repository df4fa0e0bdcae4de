"""What is measured to match a flow: differences of means, and stand-ins of what is judged."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from stylegan3d.base import ModelError
from stylegan3d.measures.tissue_shape import TISSUE_SHAPE
from stylegan3d.model.generator import RandomBrains, load
from stylegan3d.training.shape_matching import Differences, RegionFeatures, TissueShapes

#: Two brains whose measures differ: how far stand-ins may be from differing as much, in shares of
#: it. Counts of holes and islands are left out, of which few are near a border.
FOLLOWS = 0.35
COUNTS = ("holes", "islands", "cerebellar_holes", "cerebellar_islands", "grey_islands")


def rows(seed: int, n: int, measures: int, shift: float = 0.0) -> np.ndarray:
    """Correlated measures in different units."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, measures)) @ np.random.default_rng(9).normal(size=[measures] * 2)
    return (mixed + shift) * np.logspace(0, 3, measures)


def test_differences_are_nothing_where_the_means_are_equal():
    people, features = rows(0, 40, 4), rows(1, 40, 200)
    same = Differences.between([people, features], [people, features])
    assert same.start.abs().max() == 0
    random = [rows(2, 30, 4, 3.0), rows(3, 30, 200, 3.0)]
    other = Differences.between([people, features], random)
    assert len(other.start) == 4 + 39  # of 40 people, 39 components
    means = [torch.from_numpy(x.mean(axis=0)) for x in (people, features)]
    moved = [torch.from_numpy(x.mean(axis=0)) for x in random]
    torch.testing.assert_close(other.of(moved) - other.of(means), other.start)
    assert other.start[:4].norm() > 1


def test_random_brains_without_all_measures_are_left_out_while_half_are_left():
    people, random = rows(0, 40, 4), rows(2, 30, 4, 3.0)
    weak = random.copy()
    weak[15:, 1] = np.nan
    expected = Differences.between([people], [random[:15]])
    torch.testing.assert_close(Differences.between([people], [weak]).start, expected.start)
    weak[14] = np.nan
    with pytest.raises(ModelError, match="Only 14 of 30 random brains have all tissues"):
        Differences.between([people], [weak])


@pytest.fixture(scope="module")
def brains():
    generator = load(device="cpu")
    drawn = list(RandomBrains(generator, range(2)))
    return generator, drawn


def test_stand_ins_follow_tissue_shapes(brains):
    generator, drawn = brains
    measure = TissueShapes(generator.space)
    judged = measure.of(drawn)
    images = [torch.from_numpy(v.astype(np.float32) / 255) for v in drawn]
    first, second = (measure.soft(image) for image in images)
    # By the network, then by a mixture of the intensities.
    keys = [*TISSUE_SHAPE, *TISSUE_SHAPE]
    differ, expected = (second - first).numpy(), judged[1] - judged[0]
    for index, (key, found, wanted) in enumerate(zip(keys, differ, expected, strict=True)):
        if key not in COUNTS:
            scale = np.abs(judged[:, index]).mean()
            # Sulci are less sure by intensities alone.
            near = (0.02 if index < len(TISSUE_SHAPE) else 0.04) * scale
            assert abs(found - wanted) < FOLLOWS * abs(wanted) + near, key


@pytest.mark.soak
def test_a_step_along_a_slope_changes_what_is_judged_as_it_says(brains):
    generator, (volume, _) = brains
    measure = TissueShapes(generator.space)
    image = torch.from_numpy(volume.astype(np.float32) / 255).requires_grad_(True)
    soft = measure.soft(image)
    for key, size in (("white_uneven", 0.02), ("cerebellar_gradient", 0.02), ("thickness", 0.05)):
        index = list(TISSUE_SHAPE).index(key)
        (slope,) = torch.autograd.grad(soft[index], image, retain_graph=True)
        step = size * slope / slope.abs().max()
        ends = [image.detach() + sign * step for sign in (-1, 1)]
        low, high = measure.of([(end.clamp(0, 1) * 255).round().byte().numpy() for end in ends])
        assert high[index] > low[index], key


def test_features_of_regions_see_texture(brains):
    generator, drawn = brains
    template = np.mean([v / 255 for v in drawn], axis=0).astype(np.float32)
    measure = RegionFeatures(SimpleNamespace(template=template, space=generator.space))
    found = measure.of(drawn)
    image = torch.from_numpy(drawn[0].astype(np.float32) / 255).requires_grad_(True)
    soft = measure.soft(image)
    np.testing.assert_array_equal(soft.detach().numpy(), found[0])
    assert np.isfinite(found).all()
    (slope,) = torch.autograd.grad(soft.sum(), image)
    assert slope.isfinite().all()
    (blurred,) = measure.of([gaussian_filter(drawn[0], 1.0)])
    # The first are of the image's own Haar bands: means and root mean squares in the cerebellum,
    # then in the rest.
    cerebellum, rest = slice(9, 16), slice(25, 32)
    for fine in (cerebellum, rest):
        assert (blurred[fine] < 0.9 * found[0][fine]).all()
