"""The Privacy part of Browse: how near the brain that is shown comes to training brains."""

import numpy as np
import pytest

from napari_stylegan3d.browse.panel import MISSING, UNCHECKED, in_words
from stylegan3d.checkpoints.folder import write_folder
from stylegan3d.evaluation.privacy_index import Nearness, index_of, write_index
from stylegan3d.metrics import features
from stylegan3d.metrics.features import describe
from stylegan3d.model.generator import load, packed_synthesis
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.storage.places import PRIVACY

UNPAINTED = True
TRAINING = range(8)


@pytest.fixture(scope="module", autouse=True)
def _coarse_features():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "FEATURE_MM", 5.0)
        yield


@pytest.fixture(scope="module")
def indexed(model, tmp_path_factory):
    """The tiny model with an index, as if it had learned from its own brains 0 to 7."""
    folder = tmp_path_factory.mktemp("indexed") / "model"
    tensors = {"w_avg": model.w_avg}
    for part in ("mapping", "synthesis"):
        state = getattr(model, part).state_dict()
        tensors |= {f"{part}.{key}": value for key, value in state.items()}
    space = {"shape": list(model.shape), "affine": model.affine.tolist()}
    write_folder(folder, {**model.card, "space": space}, tensors)
    generator = load(folder)
    recipes = [Recipe(Source("seed", seed)) for seed in (*TRAINING, 20, 21, 22)]
    brains = [packed_synthesis(generator, recipe.latent(generator)[None]) for recipe in recipes]
    size = generator.voxel_size
    straight, mirrored = (describe(b, size) for b in (brains, [np.flip(b, 0) for b in brains]))
    known = len(TRAINING)
    index = index_of(straight[:known], mirrored[:known], straight[known:], generator.space)
    write_index(folder, index)
    return folder


@pytest.fixture(scope="module")
def _indexed_is_open(shared_window, model, indexed):
    shared_window.open(indexed)
    yield
    shared_window.open(model)


@pytest.fixture
def window_with_index(_indexed_is_open, window):
    return window


def told(window):
    return window.find("browse.privacy").text()


def check(window):
    window.click("browse.privacy_check")
    window.wait(lambda: told(window).startswith("Closest"))
    return told(window)


def test_a_model_without_an_index_offers_no_check(window):
    """It comes first: the others keep another model open."""
    assert told(window) == MISSING
    assert not window.find("browse.privacy_check").isEnabled()


def test_training_brains_are_told_from_others(window_with_index):
    window = window_with_index
    window.set("browse.seed", 3)
    window.settle()
    assert told(window) == UNCHECKED
    assert (
        check(window) == "Closest of 8 training brains: closer than any of 11 unrelated subjects."
    )
    assert "Feature distance" in window.find("browse.privacy").toolTip()
    window.set("browse.seed", 40)
    assert told(window) == UNCHECKED
    window.settle()
    assert "closer than any" not in check(window)


def test_a_brain_that_is_still_rendered_is_checked_when_it_is_there(window_with_index):
    window = window_with_index
    window.set("browse.seed", 41)
    window.settle()
    window.set("browse.seed", 5)
    assert (
        check(window) == "Closest of 8 training brains: closer than any of 11 unrelated subjects."
    )


def test_what_is_out_of_date_is_not_shown(window_with_index):
    window = window_with_index
    window.set("browse.seed", 3)
    window.settle()
    window.click("browse.privacy_check")
    window.set("browse.seed", 42)
    window.settle()
    work = window.explorer.browsing.privacy._work
    window.wait(lambda: not work.busy)
    assert told(window) == UNCHECKED


def test_a_damaged_index_is_said_in_a_sentence(window_with_index, indexed):
    window = window_with_index
    whole = (indexed / PRIVACY).read_bytes()
    window.explorer.browsing.privacy._work._function._read = None
    (indexed / PRIVACY).write_bytes(whole[:100])
    try:
        window.click("browse.privacy_check")
        window.wait(lambda: "damaged" in told(window))
    finally:
        (indexed / PRIVACY).write_bytes(whole)
    assert window.find("browse.privacy_check").isEnabled()


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.0, "closer than any of 249 unrelated subjects"),
        (0.001, "farther than 1 % of unrelated subjects"),
        (0.934, "farther than 93 % of unrelated subjects"),
        (0.999, "farther than 99 % of unrelated subjects"),
        (1.0, "farther than all of 249 unrelated subjects"),
    ],
)
def test_in_words(share, words):
    found = Nearness(0.4, share, mirrored=False, people=222, strangers=249)
    assert in_words(found) == f"Closest of 222 training brains: {words}."
