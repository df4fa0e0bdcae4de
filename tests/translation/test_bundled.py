"""The network that ships: brains that have the tissues asked for, in any contrast, quickly."""

import json

import numpy as np
import pytest
from bundled import bundled, random_brain
from scipy import ndimage

from stylegan3d.segmentation.classes import CLASSES, dice_scores
from stylegan3d.segmentation.inference import bundled_segmenter
from stylegan3d.storage.places import bundled_model_path, bundled_models
from stylegan3d.translation.card import FOLDER, page_of
from stylegan3d.translation.files import resized
from stylegan3d.translation.painter import REACH_MM, bundled_painter


@pytest.fixture(scope="module")
def brain():
    """(volume in [0, 1], tissues) of a random brain."""
    volume = random_brain(3) / np.float32(255)
    return volume, bundled_segmenter().segment(volume, bundled().space).labels


def read(volume):
    return bundled_segmenter().segment(np.clip(volume, 0, 1), bundled_painter().space).labels


def test_its_card_tells_that_it_reaches_its_aim_and_beats_what_little_work_does():
    folder = bundled_model_path(FOLDER.bundled)
    card = json.loads((folder / "card.json").read_text())
    ways = card["validation"]["ways"]
    assert card["validation"]["people"] == 27
    for asked in ("read", "regions"):
        assert ways[asked]["dice_mean"] >= 0.80
        assert ways[asked]["ssim"] > ways["plain_read"]["ssim"] > ways["mean"]["ssim"]
        assert ways[asked]["dice_mean"] > ways["plain_read"]["dice_mean"]
    assert card["limits"]
    assert "CC BY-SA" in card["licence"]
    assert (folder / "README.md").read_text() == page_of(card)
    assert sum(file.stat().st_size for file in folder.iterdir()) < 10e6
    assert FOLDER.bundled not in bundled_models()


@pytest.mark.parametrize("seed", [None, 0, pytest.param(1, marks=pytest.mark.soak)])
def test_a_painted_brain_has_the_tissues_asked_for_in_any_contrast(brain, seed):
    painter, (_, labels) = bundled_painter(), brain
    contrast = None if seed is None else painter.random_contrast(seed)
    scores = dice_scores(read(painter.paint(labels, None, contrast)), labels)
    assert np.mean(list(scores.values())) > 0.85
    assert min(scores.values()) > 0.7


@pytest.mark.soak
def test_larger_ventricles_are_found_again_and_nothing_else_moves(brain):
    painter, (volume, labels) = bundled_painter(), brain
    ventricle = CLASSES.index("ventricle")
    asked = resized(labels, labels == ventricle, 3.0, painter.space.voxel_size)
    made = painter.repaint(volume, labels, asked).volume
    found = read(made)
    assert dice_scores(found, asked)["ventricle"] > 0.83  # small ones, by the regions of 2 mm
    assert (found == ventricle).sum() > 1.5 * (labels == ventricle).sum()
    far = ndimage.distance_transform_edt(asked == labels, painter.space.voxel_size) > REACH_MM
    assert (labels[far] > 0).sum() > 0.2 * (labels > 0).sum()
    assert np.array_equal(made[far], volume[far])


def test_the_grid_and_the_mean_brain_are_those_of_the_bundled_generator():
    painter, generator = bundled_painter(), bundled()
    assert painter.space.same_as(generator.space)
    painter.check_grid(generator.space)
    assert np.abs(painter.template - generator.template).mean() < 0.01
