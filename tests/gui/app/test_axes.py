"""Whatever is shown or kept follows the axes that are said of an original network."""

import threading
from pathlib import Path

import numpy as np
import pytest

from napari_stylegan3d.core import rendering
from napari_stylegan3d.labels.controller import Base, EditedBrain
from napari_stylegan3d.views.display import upright
from stylegan3d.geometry.space import Frame

UNPAINTED = True
OWN_WINDOW = True


@pytest.fixture(scope="module")
def model():
    return Path(__file__).parents[2] / "checkpoints" / "data" / "official_tiny.pkl"


@pytest.fixture(autouse=True)
def as_before(window):
    yield
    window.find("browse.frame_reset").click()
    window.settle()


def test_key_frames_stay(window):
    window.explorer.panel("Export")
    window.click("export.frames_add")
    window.set("browse.seed", 5)
    window.settle()
    window.click("export.frames_add")
    window.choose("browse.frame_axes", "PIR")
    assert len(window.session.key_frames("film")) == 2


def test_a_picture_that_was_being_drawn_is_shown_in_the_new_axes(window, monkeypatch):
    drawn, ready, began = rendering.render_recipe, threading.Event(), threading.Event()

    def slow(*args):
        made = drawn(*args)
        began.set()
        ready.wait(20)
        return made

    monkeypatch.setattr(rendering, "render_recipe", slow)
    window.set("browse.seed", 7)
    window.wait(began.is_set)
    window.choose("browse.frame_axes", "PIR")
    ready.set()
    window.settle()
    picture, space = window.explorer.comparison.picture.rendered, window.session.generator.space
    assert picture.space.same_as(space)
    np.testing.assert_array_equal(window.volume, upright(picture.volume, space.affine).data)


def test_the_outline_of_the_mean_brain_turns_with_it(window):
    window.views.looks.change(outline=True)
    layer = window.explorer.comparison.outline
    before = np.shape(layer.layer.data)
    window.choose("browse.frame_axes", "PIR")
    after = np.shape(layer.layer.data)
    window.views.looks.change(outline=False)
    assert before != after


def test_labels_of_a_patient_who_is_not_shown_are_closed(window, scan_file):
    session, relabelling = window.session, window.explorer.relabelling
    window.explorer.open_scan(scan_file)
    window.wait(lambda: session.case is not None)
    key, generator = session.key, session.generator
    volume, labels = np.zeros(generator.shape, np.float32), np.zeros(generator.shape, np.uint8)
    edited = labels.copy()
    edited[3:5, 3:5, 3:5] = 1
    base = Base("sub-07", volume, generator.space, labels=labels)
    relabelling.take_up(key, base, EditedBrain(edited, volume))
    session.show("")
    session.place(generator.with_space(Frame.parse("LAS:9").space(generator.shape)))
    session.show(key)
    assert relabelling.base is None
    session.place(generator)
    session.close_patient(key)
