"""Classes and their volumes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from labelled_phantoms import tissues
from tolerances import SUMS

from stylegan3d.geometry.space import Space
from stylegan3d.segmentation import inference
from stylegan3d.segmentation.classes import (
    ALL_MEASURES,
    REGIONS,
    STRUCTURES,
    TISSUES,
    asymmetry_percent,
    count_classes,
    side_volumes,
    unit_of,
    value_text,
    volumes_ml,
)
from stylegan3d.segmentation.inference import Segmenter, enclosed
from stylegan3d.segmentation.network import TissueNetwork, likeliest, padded, to_voxels


def test_volumes_are_voxels_times_their_size():
    labels = tissues()
    space = Space(labels.shape, np.diag([2.0, 3.0, 4.0, 1.0]))
    found = volumes_ml(labels, space)
    for index, name in enumerate(("csf", "grey", "white", "ventricle", "other"), 1):
        assert found[name] == pytest.approx((labels == index).sum() * 24 / 1000)
    assert found["brain"] == pytest.approx(found["grey"] + found["white"] + found["other"])
    with pytest.raises(ValueError, match="label 9"):
        count_classes(np.array([0, 9]))


@pytest.mark.parametrize("flipped", [False, True])
def test_halves_lie_left_and_right_of_the_middle_of_the_world(flipped):
    """Whichever way the array's first axis runs, and with a plane of voxels on the middle."""
    labels = np.zeros((5, 1, 1), np.uint8)
    labels[:, 0, 0] = (2, 2, 2, 3, 3)
    affine = np.diag([10.0, 10.0, 10.0, 1.0])
    affine[0, 3] = -20
    if flipped:
        labels, affine[0, 0], affine[0, 3] = labels[::-1], -10.0, 20.0
    left, right = side_volumes(labels, Space(labels.shape, affine))
    assert (left["grey"], left["white"]) == pytest.approx((2.5, 0.0))
    assert (right["grey"], right["white"]) == pytest.approx((0.5, 2.0))
    assert asymmetry_percent(left["grey"], right["grey"]) == pytest.approx(200 * 2 / 3)
    assert asymmetry_percent(0, 0) == 0
    percents = [name for name in ALL_MEASURES if unit_of(name) == "%"]
    assert {value_text(name, -0.04) for name in percents} == {"+0.0"}, "nothing has no minus"


@pytest.mark.parametrize("scheme", [TISSUES, REGIONS], ids=["tissues", "regions"])
def test_a_few_blocks_at_a_time_are_labelled_as_all_at_once(scheme, monkeypatch):
    """A network of random numbers; of regions the mirror image counts as much."""
    torch.manual_seed(0)
    network = TissueNetwork((8, 8), len(scheme.classes))
    space = Space((20, 12, 8), np.diag([2.0, 2.0, 2.0, 1.0]))
    card = {"name": "random", "space": {"voxel_mm": [2.0, 2.0, 2.0]}}
    volume = np.random.RandomState(0).rand(*space.shape).astype(np.float32)
    with torch.no_grad():
        x = torch.from_numpy(volume)[None, None]
        logits = network(x)
        if scheme is REGIONS:
            logits += network(x.flip(2)).flip(1, 5)[:, :, :, :, list(scheme.mirrored)]
    expected, inner = (likeliest(part)[0].numpy() for part in (logits, logits[:, :, :, :, 1:]))
    expected = np.where(enclosed(expected), 1 + inner, expected)
    monkeypatch.setattr(inference, "SLAB", 3)
    segmenter = Segmenter(network, card, "0123", torch.device("cpu"), scheme)
    found = segmenter.segment(volume, space, confidence=True)
    np.testing.assert_array_equal(found.labels, expected)
    chance = to_voxels(logits.softmax(dim=4).amax(dim=4))[0].numpy()
    assert found.confidence == pytest.approx(chance[expected > 0].mean(), rel=SUMS)


def test_structures_are_the_mean_of_two_grids_of_blocks():
    """Each with its mirror image; the second begins a voxel further on."""
    torch.manual_seed(0)
    network = TissueNetwork((8, 16), len(STRUCTURES.classes)).requires_grad_(False)
    card = {"name": "tiny", "space": {"voxel_mm": [1.0, 1.0, 1.0]}}
    segmenter = Segmenter(network, card, "0123", torch.device("cpu"), STRUCTURES)
    volume = np.random.default_rng(0).random((13, 10, 11), np.float32)
    whole = padded(torch.from_numpy(volume)[None, None], network.multiple)

    def told(seen):
        logits = network(seen).unbind(dim=4)
        return torch.stack([to_voxels(one)[0] for one in logits])

    def both(seen):
        return told(seen) + told(seen.flip(2)).flip(1)[list(STRUCTURES.mirrored)]

    further = both(F.pad(whole, (1, 0, 1, 0, 1, 0))[:, :, :-1, :-1, :-1])[:, 1:, 1:, 1:]
    keep = tuple(map(slice, volume.shape))
    mean = (both(whole)[:, *keep] + further[:, *keep]) / 2
    expected = (mean / 2).softmax(dim=0)
    for name in ("left_thalamus", "right_thalamus"):
        found = segmenter.probability(volume, Space(volume.shape, np.eye(4)), name)
        index = STRUCTURES.classes.index(name)
        np.testing.assert_allclose(found, expected[index].numpy(), rtol=SUMS)
