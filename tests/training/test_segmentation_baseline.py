"""Labels without a network: by place, and by place and intensity."""

import numpy as np
from labelled_phantoms import brain, tissues

from stylegan3d.segmentation.classes import dice_scores
from stylegan3d.training.segmentation_baseline import by_mixture, by_place, shares


def test_shares_are_those_of_the_training_people(brains):
    prior = shares(brains)
    maps = brains.labels[: brains.training]
    # Where all people have one label for voxels around, a blur changes nothing.
    middle = tuple(n // 2 for n in maps.shape[1:])
    assert all(labels[middle] == 4 for labels in maps)
    assert prior[4][middle] > 0.6
    assert np.allclose(prior.sum(axis=0), 1, atol=1e-3)  # counts have a small prior share


def test_intensity_finds_what_place_alone_does_not(brains):
    prior = shares(brains)
    truth = tissues(0.8)  # smaller than anybody it has seen
    volume = brain(truth, 4) / np.float32(255)
    placed, mixed = (dice_scores(way(volume, prior), truth) for way in (by_place, by_mixture))
    assert mixed["white"] > placed["white"] + 0.05
    assert mixed["grey"] > placed["grey"] + 0.1
    assert not by_mixture(np.zeros_like(volume), prior).any()
    assert not by_place(volume, prior)[truth == 0].any()
