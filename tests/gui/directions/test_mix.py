"""Mixing in the real window: pictures, presets, solo, and the matrix."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hops import functions_on_the_stack
from qtpy.QtGui import QImage

import stylegan3d
from napari_stylegan3d.widgets import dialogs
from stylegan3d.model.layers import layer_groups
from stylegan3d.recipe.recipe import Mix, Source

#: What is asked is what is shown, not how it is drawn.
UNPAINTED = True


@pytest.fixture
def mixing(window):
    window.explorer.panel("Mix")
    window.session.second = Source("seed", 5)
    window.session.change(window.recipe.replace(source=Source("seed", 2)))
    yield window
    window.explorer.mixing.matrix.hide()


def strength(window) -> tuple[float, ...]:
    return window.recipe.mix.strength


def groups(window):
    return [group.layers for group in window.session.layer_groups()]


def test_the_pictures_are_of_both_brains_and_their_mix(mixing):
    mixing.set("mix.group.fine", 100)
    shown = {name: mixing.find(f"mix.picture.{name}") for name in ("first", "second", "result")}
    mixing.wait(lambda: all(not button.icon().isNull() for button in shown.values()))
    mixing.wait(lambda: shown["result"].recipe == mixing.recipe)
    assert shown["first"].recipe == mixing.recipe.replace(mix=None)
    assert shown["second"].recipe.source == Source("seed", 5)
    assert mixing.find("mix.first").text() == "A: Seed 2"
    assert mixing.find("mix.second").text() == "B: Seed 5"
    shown["second"].click()
    assert set(strength(mixing)) == {1.0}
    shown["first"].click()
    assert set(strength(mixing)) == {0.0}


def test_pictures_are_only_asked_for_while_they_are_looked_at(mixing):
    mixing.explorer.panel("Browse")
    wanted = mixing.explorer.thumbnails._wanted
    assert "mix" not in wanted
    mixing.set("mix.group.fine", 50)
    assert "mix" not in wanted
    mixing.explorer.panel("Mix")
    assert "mix" in wanted


def test_a_preset_sets_all_layers_and_is_named_when_met_again(mixing):
    box = mixing.find("mix.preset")
    coarse, middle, fine = groups(mixing)
    index = box.findText("Shape of A, folds of B")
    box.setCurrentIndex(index)
    box.activated.emit(index)
    assert {strength(mixing)[k] for k in coarse} == {0.0}
    assert {strength(mixing)[k] for k in middle + fine} == {1.0}
    assert mixing.recipe.mix.source == Source("seed", 5)
    mixing.set(f"mix.layer.{coarse[0]}", 40)
    assert box.currentText() == "Custom"
    mixing.set(f"mix.layer.{coarse[0]}", 0)
    assert box.currentText() == "Shape of A, folds of B"
    mixing.click("mix.reset")
    assert (mixing.recipe.mix, box.currentText()) == (None, "Presets")


def test_groups_of_the_bundled_model_are_of_rows_that_have_an_effect():
    generator = stylegan3d.load(device="cpu")
    coarse, middle, fine = layer_groups(generator)
    assert (coarse.layers, middle.layers) == ((0,), (1, 2, 3, 4))
    assert (fine.layers, fine.silent) == ((5, 6, 7), (7,)), "the last has none"
    assert [group.size_in_words for group in (coarse, middle, fine)] == [
        "32 mm",
        "16–8 mm",
        "4–2 mm",
    ]


def test_solo_takes_one_group_and_nothing_else(mixing):
    mixing.set("mix.group.coarse", 30)
    mixing.click("mix.group.middle.solo")
    middle = groups(mixing)[1]
    assert strength(mixing) == tuple(float(k in middle) for k in range(len(strength(mixing))))
    assert not mixing.find("mix.group.middle.solo").isEnabled()
    mixing.session.undo()
    assert strength(mixing)[0] == pytest.approx(0.3)


def test_a_cell_of_the_matrix_becomes_the_recipe(mixing):
    mixing.set("mix.matrix_rows", 2)
    mixing.set("mix.matrix_columns", 3)
    mixing.click("mix.open_matrix")
    matrix = mixing.explorer.mixing.matrix
    assert [len(row) for row in matrix.cells] == [3, 3]
    cell = matrix.cells[1][0]
    cell.click()
    middle = groups(mixing)[1]
    assert mixing.recipe.source not in (Source("seed", 2), Source("seed", 5))
    assert mixing.recipe.mix.source == Source("seed", 5)
    assert strength(mixing) == tuple(float(k in middle) for k in range(len(strength(mixing))))
    assert cell.isChecked()
    assert not matrix.cells[0][0].isChecked()


def test_the_matrix_offers_favourites_once_there_are_some(mixing):
    mixing.click("mix.open_matrix")
    sources = mixing.find("mix.matrix_sources")
    assert sources.count() == 1
    mixing.session.favourites.add(mixing.recipe.replace(source=Source("seed", 77)))
    mixing.click("mix.open_matrix")
    mixing.pick("mix.matrix_sources", "favourites")
    rows = [recipe.source for recipe, _ in mixing.explorer.mixing.matrix._table.down]
    assert rows[:2] == [Source("seed", 2), Source("seed", 77)]
    mixing.session.favourites.remove(0)


def test_the_matrix_is_saved_with_its_caption_and_recipes(mixing, tmp_path, monkeypatch):
    mixing.set("mix.matrix_rows", 1)
    mixing.set("mix.matrix_columns", 2)
    mixing.click("mix.open_matrix")
    save = mixing.find("mix.matrix_save")
    mixing.wait(save.isEnabled)
    path = tmp_path / "matrix.png"
    monkeypatch.setattr(dialogs, "save_file", lambda *_: path)
    save.click()
    picture = QImage(str(path))
    assert picture.text("Description").startswith("Synthetic - not for diagnosis")
    recipes = json.loads(picture.text("Recipes"))
    assert [len(row) for row in recipes] == [2]
    pixels = np.array(
        [[picture.pixelColor(x, y).red() for x in range(picture.width())] for y in (250, 300)]
    )
    assert pixels.max() > 50
    monkeypatch.setattr(dialogs, "save_file", lambda *_: tmp_path / "matrix.jpg")
    save.click()
    assert not (tmp_path / "matrix.jpg").exists()


def test_mixes_of_the_session_survive_a_swap(mixing):
    mixing.set("mix.group.fine", 100)
    before = mixing.recipe
    mixing.click("mix.swap")
    assert mixing.recipe.source == Source("seed", 5)
    assert mixing.recipe.mix == Mix(Source("seed", 2), before.mix.strength)


#: From a slider of Mix to voxels: functions of ours, the slider's own and the network included.
MOST_HOPS = 13


def test_it_is_not_far_from_a_slider_to_voxels(mixing, monkeypatch):
    """SliderRow, MixPanel, Session, Rendering (2), LatestWins; in the renderer's thread LatestWins,
    Rendering, render_recipe, Renderer (2), and the network."""
    mixing.settle()
    network = mixing.session.generator.synthesis
    submit, forward = ThreadPoolExecutor.submit, network.forward
    before, after = [], []

    def note_submit(self, *args, **kwargs):
        if (hops := functions_on_the_stack()) and hops[0].startswith("SliderRow") and not before:
            before.extend(hops)
        return submit(self, *args, **kwargs)

    def note_forward(*args, **kwargs):
        if (
            (hops := functions_on_the_stack())
            and "Rendering._render" in hops
            and before
            and not after
        ):
            after.extend([*hops, "forward"])
        return forward(*args, **kwargs)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", note_submit)
    monkeypatch.setattr(network, "forward", note_forward)
    slider = mixing.explorer.mix.groups[0].all.slider
    slider.setSliderDown(True)
    slider.setValue(slider.maximum() // 2)
    mixing.wait(lambda: after)
    slider.setSliderDown(False)
    mixing.settle()
    assert len(before + after) <= MOST_HOPS, before + after
