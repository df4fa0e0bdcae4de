"""The panel of directions: what it says of each, its list, its strip, what the edits changed."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLabel
from tolerances import FLOAT32, SUMS

from napari_stylegan3d.directions import files as direction_files
from napari_stylegan3d.directions import panel as directions_panel
from napari_stylegan3d.directions.files import EffectMeasurer
from napari_stylegan3d.widgets import dialogs
from stylegan3d.recipe.latents import load_directions, save_directions
from stylegan3d.recipe.recipe import Edit, Recipe, Source
from stylegan3d.storage.files import sha256_of

#: What is asked is what is shown, not how it is drawn.
UNPAINTED = True

AGE = {"name": "Age", "attribute": "age", "unit": "years", "mae": 7.58, "baseline": 15.3}
TOLD = "+13 years per sd, head size held fixed (r = 0.84 on 27 people not used)"


@pytest.fixture
def panel(window, tmp_path, monkeypatch):
    """The panel in front, with notes and files of its own."""
    monkeypatch.setattr(direction_files, "notes_path", lambda: tmp_path / "directions.json")
    monkeypatch.setattr(direction_files, "own_folder", lambda _: tmp_path / "own")
    generator = window.session.generator
    window.session.set_generator(generator)
    window.explorer.directions.show_directions(generator)
    window.settle()
    window.explorer.panel("Directions")
    yield window.explorer.directions
    window.explorer.directing.strip.hide()
    window.explorer.directing.files.dialog.hide()
    window.explorer.panel("Browse")


@pytest.fixture
def fitted(window):
    """The panel with an attribute before the components; the window as it was afterwards."""
    panel, generator = window.explorer.directions, window.session.generator
    found = generator.directions
    directions = dataclasses.replace(
        found,
        names=("Age", *found.names[:-1]),
        descriptions={"Age": TOLD, "PC 1": "larger egg (r = 0.93)"},
        checks=(AGE,),
    )
    panel.show_model(generator)
    panel.show_directions(SimpleNamespace(directions=directions, can=generator.can))
    yield window
    panel.show_model(generator)
    panel.show_directions(generator)


def headings(window) -> list[str]:
    labels = window.explorer.directions.list.findChildren(QLabel)
    return [label.text() for label in labels if label.property("role") == "heading"]


def shown(panel) -> list[str]:
    return [name for name, row in panel.rows.items() if not row.isHidden()]


def test_components_say_what_they_change(window):
    assert window.find("directions.meaning.0").text() == "larger egg"
    assert "larger egg (r = 0.93)" in window.find("directions.strength.0").toolTip()
    assert headings(window) == ["Principal components"]
    with pytest.raises(AssertionError):
        window.find("directions.meaning.1")


def test_attributes_come_under_their_own_heading(fitted):
    assert headings(fitted) == ["Attributes", "Principal components"]
    assert fitted.find("directions.name.0").text() == "Age"
    tip = fitted.find("directions.strength.0").toolTip()
    assert TOLD in tip
    assert "7.58 years (predicting the mean: 15.3 years)" in tip
    text = fitted.find("directions.meaning.0").text()
    assert text == "+13 years per sd, head size held fixed"
    assert fitted.find("directions.name.1").text().startswith("PC 1 · ")
    assert fitted.find("directions.meaning.1").text() == "larger egg"


def test_sliders_end_where_the_training_subjects_do(window, panel, monkeypatch):
    generator = window.session.generator
    plain = window.session.recipe.replace(edits=())
    at = generator.directions.position("PC 1", plain.latent(generator).mean(dim=0).numpy())
    seen = {"PC 1": (at - 1.23, at + 2.0), "PC 2": (9.0, 10.0)}
    reaching = dataclasses.replace(generator.directions, seen=seen)
    monkeypatch.setattr(generator, "directions", reaching)
    panel.show_directions(generator)
    row, other, unknown = (panel.rows[f"PC {k}"] for k in (1, 2, 3))
    window.wait(lambda: row.seen is not None)
    assert row.row.ends == pytest.approx((-1.2, 2.0))
    assert row.seen == pytest.approx((-1.23, 2.0), abs=SUMS)
    assert "-1.2 and +2.0" in row.row.toolTip()
    assert (unknown.seen, unknown.row.ends) == (None, (-4.0, 4.0))
    assert other.row.ends[0] == 0.0  # this brain is outside, and the way to the subjects is orange
    assert other.range.spans()[0][1] > other.range.width() / 2
    # A larger number can be typed: the slider follows it, and says so.
    row.row.spin.setValue(5.0)
    window.settle()
    assert window.session.recipe.edits[0].strength == 5.0
    assert row.row.ends == pytest.approx((-1.2, 5.0))
    assert row.meaning.text() == "outside the training range"
    begin, end = row.range.spans()[-1]
    assert (begin, end) == (row.range.place(2.0), row.range.width())
    row.row.change_to(1.0)
    window.settle()
    assert row.row.ends == pytest.approx((-1.2, 2.0))
    assert row.meaning.text() == "larger egg"
    monkeypatch.undo()
    panel.show_directions(generator)
    window.wait(lambda: panel.rows["PC 1"].seen is None)


def test_another_model_takes_headings_and_meanings_away(window):
    panel, generator = window.explorer.directions, window.session.generator
    panel.show_model(generator)
    assert headings(window) == []
    assert panel.waiting.isVisibleTo(panel)
    panel.show_directions(generator)
    assert headings(window) == ["Principal components"]


def test_words_and_use_filter_the_list(window, panel):
    panel.find_field.setText("EGG larger")
    assert shown(panel) == ["PC 1"]
    panel.find_field.setText("PC 2")
    assert "PC 1" not in shown(panel)
    assert "PC 2" in shown(panel)
    panel.find_field.clear()
    window.set("directions.strength.2", 1.0)
    window.find("directions.used").setChecked(True)
    assert shown(panel) == ["PC 3"]
    window.set("directions.strength.2", 0.0)
    assert shown(panel) == []


def test_what_is_pinned_comes_first_and_is_remembered(window, panel):
    window.click("directions.pin.4")
    assert headings(window) == ["Pinned", "Principal components"]
    first = panel.list._sections[0].rows
    assert [row.entry.reference for row in first] == ["PC 5"]
    window.session.set_generator(window.session.generator)
    panel.show_directions(window.session.generator)
    assert headings(window) == ["Pinned", "Principal components"]
    window.click("directions.pin.4")
    assert headings(window) == ["Principal components"]


def test_a_label_of_ones_own_stands_in_the_list_and_the_name_in_the_recipe(
    window, panel, monkeypatch
):
    monkeypatch.setattr(directions_panel, "ask_label", lambda *_: "Egg size")
    menu = panel.menus.of_row(panel.rows["PC 1"])
    next(action for action in menu.actions() if action.text() == "Rename…").trigger()
    assert window.find("directions.name.0").text().startswith("Egg size · ")
    assert "Your name: Egg size" in window.find("directions.strength.0").toolTip()
    window.set("directions.strength.0", 1.5)
    assert window.recipe.edits == (Edit("PC 1", 1.5),)
    panel.find_field.setText("egg size")
    assert shown(panel) == ["PC 1"]


def test_each_edit_has_layers_of_its_own_and_the_others_follow_the_list(window, panel):
    coarse, fine = (panel.limits.spans()[k][1] for k in (1, 3))
    window.set("directions.strength.0", 1.0)
    window.set("directions.strength.1", 1.0)
    panel.set_layers("PC 1", fine)
    window.pick("directions.layers", coarse)
    assert window.recipe.edits == (Edit("PC 1", 1.0, fine), Edit("PC 2", 1.0, coarse))
    assert window.find("directions.name.0").text().endswith("· fine")
    window.set("directions.strength.2", -1.0)
    assert window.recipe.edits[-1] == Edit("PC 3", -1.0, coarse)
    layers = next(a.menu() for a in panel.menus.of_row(panel.rows["PC 1"]).actions() if a.menu())
    assert [a.text() for a in layers.actions() if a.isChecked()] == [panel.limits.spans()[3][0]]
    layers.actions()[0].trigger()
    assert window.recipe.edits[0] == Edit("PC 1", 1.0, coarse)
    window.pick("directions.layers", None)


def test_a_recipe_that_comes_back_keeps_its_layers(window, panel):
    fine = panel.limits.spans()[3][1]
    window.session.change(Recipe(edits=(Edit("PC 2", 1.0, fine),)))
    assert window.find("directions.name.1").text().endswith("· fine")
    window.set("directions.strength.1", 2.0)
    assert window.recipe.edits == (Edit("PC 2", 2.0, fine),)
    window.session.change(Recipe(edits=(Edit("PC 2", 1.0),)))
    window.set("directions.strength.1", 2.0)
    assert window.recipe.edits == (Edit("PC 2", 2.0),)


def test_the_strip_shows_five_steps_and_a_click_takes_one(window, panel):
    window.set("directions.strength.1", 1.0)
    window.click("directions.preview.0")
    strip = window.explorer.directing.strip
    assert strip.isVisible()
    window.wait(lambda: all(not button.icon().isNull() for button in strip.buttons))
    others = (Edit("PC 2", 1.0),)
    assert strip.buttons[2].recipe == window.recipe.replace(edits=others)
    assert strip.buttons[4].recipe.edits == (Edit("PC 1", 2.0), *others)
    strip.buttons[0].click()
    assert window.recipe.edits == (Edit("PC 1", -2.0), *others)
    assert strip.buttons[0].isChecked()
    window.click("directions.preview.0")
    assert not strip.isVisible()


def test_the_strip_opens_while_the_mouse_is_on_the_button(window, panel):
    strip, row = window.explorer.directing.strip, panel.rows["PC 1"]
    row.preview.looked.emit(True)
    window.wait(strip.isVisible)
    row.preview.looked.emit(False)
    window.wait(lambda: not strip.isVisible())
    row.preview.looked.emit(True)
    window.explorer.panel("Browse")
    window.wait(lambda: not strip.isVisible())


def test_what_an_edit_changed_is_measured_and_laid_over_the_views(window, panel):
    directing = window.explorer.directing
    before = window.explorer.comparison.picture.rendered.volume
    window.set("directions.strength.0", 2.0)
    box = window.find("directions.effect")
    window.wait(lambda: directing.measured is not None)
    after = window.explorer.comparison.picture.rendered.volume
    np.testing.assert_allclose(directing.measured.change, after - before, atol=SUMS)
    voxel = float(np.prod(window.session.generator.voxel_size))
    expected = np.count_nonzero(np.abs(after - before) > 0.1) * voxel
    # Voxels at the very threshold.
    assert directing.measured.effect.changed_mm3 == pytest.approx(expected, rel=0.01)
    told = window.find("directions.effect_text").text()
    assert f"{expected / 1000:.0f} ml differ by more than 10 %" in told
    assert len(told.splitlines()) == 2, "the list of directions needs the room"
    window.click("directions.effect_more")
    told = window.find("directions.effect_text").text()
    assert "Set back to 0 sd, it is exactly the brain from before" in told
    assert "no encoder" in told
    overlay = window.explorer.stage.overlay
    assert overlay.layer is None
    window.find("directions.show_change").setChecked(True)
    assert overlay.layer in window.viewer.layers
    window.set("directions.strength.0", 0.0)
    assert overlay.layer is None
    assert not box.isVisible()
    window.find("directions.show_change").setChecked(False)


def written(window):
    """The sentences and figures under What changed, but for names."""
    box = window.explorer.directions.effect
    return [cell.text() for row in box.cells for cell in row[1:]], box.told.text()


def test_what_an_edit_changed_goes_with_its_brain_and_is_back_with_it(window, panel, monkeypatch):
    directing = window.explorer.directing
    window.set("directions.strength.0", 2.0)
    window.wait(lambda: directing.measured is not None)
    told, edited = written(window), window.recipe
    assert " ml differ" in told[1]
    asked = []
    monkeypatch.setattr(directing.measuring, "submit", asked.append)
    slider = window.find("directions.strength.0").slider
    slider.setSliderDown(True)
    slider.setValue(slider.value() + 5)
    assert directing.measured is None
    assert written(window) == (["…"] * len(told[0]), "Measuring once the slider stops…")
    slider.setSliderDown(False)
    other = Recipe(Source("seed", 9), edits=edited.edits)
    window.session.change(other)
    assert written(window) == (["…"] * len(told[0]), "Measuring once the slider stops…")
    window.settle()
    window.wait(lambda: asked)
    assert window.find("directions.effect_text").text() == "Measuring…"
    window.session.change(edited)
    assert written(window) == told, "at once"
    assert directing.measured is not None
    # What comes late is of the other brain.
    late = dataclasses.replace(asked[-1], stop=threading.Event())
    with ThreadPoolExecutor(1) as thread:  # whose priority it lowers
        measured = thread.submit(EffectMeasurer(), late).result()
    directing.measuring.ready.emit(late, measured)
    assert written(window) == told
    window.session.change(other)
    assert written(window)[1] not in (told[1], "Measuring once the slider stops…")


def test_no_volume_is_told_of_an_edit_where_the_acquisition_is_unsuitable(
    window, panel, monkeypatch
):
    directing, strength = window.explorer.directing, "directions.strength.0"
    window.set(strength, 2.0)
    window.wait(lambda: directing.measured is not None)
    assert any(char.isdigit() for char in "".join(written(window)[0]))
    red = {"level": "red", "sentence": "Contrast is not T1-weighted: it is another."}
    judged = property(lambda _session: {"verdicts": {"acquisition": red}})
    monkeypatch.setattr(type(window.session), "judged", judged)
    window.set(strength, 1.0)
    window.wait(lambda: directing.measured is not None)
    assert set(written(window)[0]) == {"–"}
    effect = window.find("directions.effect_text")
    if "Volumes" not in effect.text():  # folded
        window.click("directions.effect_more")
    assert "contrast is not T1-weighted" in effect.text()


def test_previews_go_with_their_brain(window, panel, scan_file):
    window.click("directions.preview.0")
    strip = window.explorer.directing.strip
    window.wait(lambda: all(not button.icon().isNull() for button in strip.buttons))
    window.session.change(window.recipe.replace(edits=(Edit("PC 2", 1.0),)), live=True)
    assert not any(not button.icon().isNull() for button in strip.buttons)
    window.session.change(window.recipe)
    window.wait(lambda: all(not button.icon().isNull() for button in strip.buttons))
    window.session.change(window.recipe.replace(edits=(Edit("PC 1", 1.0),)), live=True)
    window.explorer.open_scan(scan_file)
    window.wait(lambda: window.session.case is not None)
    assert not strip.isVisible()
    window.session.show("")


def test_the_range_of_the_training_subjects_is_not_that_of_another_brain(
    window, panel, monkeypatch
):
    generator = window.session.generator
    reaching = dataclasses.replace(generator.directions, seen={"PC 1": (-0.5, 0.5)})
    monkeypatch.setattr(generator, "directions", reaching)
    panel.show_directions(generator)
    row = panel.rows["PC 1"]
    window.wait(lambda: row.seen is not None)
    window.session.change(Recipe(Source("seed", 12)))
    assert row.seen is None
    window.wait(lambda: row.seen is not None)
    monkeypatch.undo()
    panel.show_directions(generator)
    window.wait(lambda: row.seen is None)


def test_each_of_several_edits_can_be_told_apart(window, panel):
    window.set("directions.strength.0", 2.0)
    window.set("directions.strength.1", -2.0)
    directing = window.explorer.directing
    window.wait(lambda: directing.measured is not None)
    together = directing.measured.change
    window.pick("directions.effect_of", "PC 2")
    window.wait(
        lambda: directing.measured is not None and directing.measured.change is not together
    )
    assert np.abs(directing.measured.change - together).max() > 1e-3


def test_nothing_is_measured_behind_another_tab(window, panel):
    window.explorer.panel("Browse")
    window.session.change(Recipe(edits=(Edit("PC 1", 1.0),)))
    window.settle()
    assert not window.explorer.directing._rest.isActive()
    window.explorer.panel("Directions")
    window.wait(lambda: window.explorer.directing.measured is not None)


def test_directions_are_saved_opened_and_used_by_file(window, panel, tmp_path, monkeypatch):
    path = tmp_path / "shared.safetensors"
    window.set("directions.strength.0", 1.0)
    window.set("directions.strength.2", 1.0)
    monkeypatch.setattr(dialogs, "save_file", lambda *_: path)
    panel.menus.saved.emit(panel.menus.in_use())
    window.wait(path.exists)
    assert load_directions(path, window.session.generator).names == ("PC 1", "PC 3")
    window.wait(lambda: not window.explorer.directing.files.job.running)
    window.click("directions.reset")
    monkeypatch.setattr(dialogs, "open_file", lambda *_: path)
    panel.menus.opened.emit()
    assert headings(window)[-1] == "shared"
    reference = f"{path}#PC 3"
    panel.set_strength(reference, 2.0)
    (edit,) = window.recipe.edits
    assert (edit.direction, edit.file) == (reference, str(path))
    assert edit.sha256
    same = window.recipe.replace(edits=(Edit("PC 3", 2.0),)).latent(window.session.generator)
    np.testing.assert_allclose(window.recipe.latent(window.session.generator), same, atol=FLOAT32)
    panel.menus.dropped.emit(panel.entries[reference].file)
    assert headings(window) == ["Principal components"]
    assert window.recipe.edits == (edit,)


def test_a_file_that_moved_is_told_of_once_and_found_again(
    window, panel, tmp_path, monkeypatch, notifications
):
    generator = window.session.generator
    path, there = tmp_path / "shared.safetensors", tmp_path / "there" / "renamed.safetensors"
    there.parent.mkdir()
    save_directions(path, generator.directions)
    monkeypatch.setattr(dialogs, "open_file", lambda *_: path)
    panel.menus.opened.emit()
    panel.noted.emit(panel.notes.pin(f"{path}#PC 2").labelled(f"{path}#PC 2", "Mine"))
    panel.set_strength(f"{path}#PC 2", 1.0)
    window.settle()
    latent = window.recipe.latent(generator)
    path.rename(there)
    window.session.set_generator(generator)
    assert window.find("directions.missing.0").text() == "shared.safetensors is not available."
    assert "shared.safetensors" in window.find("directions.missing.0").toolTip()
    assert notifications == []
    monkeypatch.setattr(dialogs, "open_file", lambda *_: there)
    window.session.change(Recipe(edits=(panel_edit(there, f"{path}#PC 2"),)))
    window.click("directions.find.0")
    assert panel.missing.isHidden()
    panel.show_directions(generator)
    assert headings(window)[0] == "Pinned"
    assert panel.notes.labels == {f"{there}#PC 2": "Mine"}
    assert [edit.direction for edit in window.recipe.edits] == [f"{there}#PC 2"]
    np.testing.assert_array_equal(window.recipe.latent(generator), latent)
    there.unlink()
    window.session.set_generator(generator)
    window.click("directions.forget.0")
    assert panel.missing.isHidden()
    window.session.set_generator(generator)
    assert panel.missing.isHidden()
    assert panel.notes.files == ()


def panel_edit(file, reference: str) -> Edit:
    """A step along a direction of a file that has gone to another place since."""
    return Edit(reference, 1.0, None, sha256_of(file))


def test_what_cannot_be_opened_is_told(window, panel, tmp_path, monkeypatch, notifications):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"nothing")
    monkeypatch.setattr(dialogs, "open_file", lambda *_: path)
    panel.menus.opened.emit()
    assert any("broken.safetensors is damaged" in text for text in notifications)
    assert headings(window) == ["Principal components"]


def test_a_direction_is_made_free_of_the_others_in_use(window, panel):
    mixed = next(iter(panel.rows.values())).entry
    window.set("directions.strength.1", 1.0)
    panel.menus.freed.emit(mixed)
    window.wait(lambda: headings(window)[-1] != "Principal components")
    made = list(panel.entries.values())[-1]
    assert made.name == "PC 1 without PC 2"
    assert abs(made.step @ panel.entries["PC 2"].step) < 1e-4


def test_favourites_in_two_groups_make_a_direction(window, panel):
    favourites = window.session.favourites
    for seed in range(8):
        favourites.add(Recipe(Source("seed", seed)))
    window.click("directions.new")
    for index in range(8):
        window.choose(f"directions.new_group.{index}", "less" if index < 4 else "more")
    window.click("directions.new_find")
    assert "needs a name" in window.find("directions.new_text").text()
    window.find("directions.new_name").setText("My way")
    window.click("directions.new_find")
    keep, told = window.find("directions.new_keep"), window.find("directions.new_text")
    window.wait(keep.isEnabled)
    assert "My way: from 4 to 4 chosen brains (AUC = " in told.text()
    assert "chance" in told.text()
    window.click("directions.new_find")
    window.choose("directions.new_group.0", "more")  # what comes now is not of these groups
    QTest.qWait(200)
    window.wait(lambda: window.find("directions.new_find").isEnabled())
    assert not keep.isEnabled()
    assert not told.text()
    window.choose("directions.new_group.0", "less")
    window.click("directions.new_find")
    window.wait(keep.isEnabled)
    files, done = window.explorer.directing.files, threading.Event()
    files._start(lambda _: None, lambda _: done.wait(30))
    keep.click()
    assert files.job.running, "others are being saved"
    done.set()
    window.wait(lambda: any(entry.name == "My way" for entry in panel.entries.values()))
    entry = next(entry for entry in panel.entries.values() if entry.name == "My way")
    assert headings(window)[-1] == "Your own"
    panel.set_strength(entry.reference, 1.0)
    window.settle()
    for _ in range(8):
        favourites.remove(0)


def test_too_small_groups_are_refused_in_a_sentence(window, panel):
    window.click("directions.new")
    find = window.find("directions.new_find")
    assert not find.isEnabled()
    assert find.toolTip().startswith("No favourites yet")
    window.session.favourites.add(Recipe(Source("seed", 0)))
    window.click("directions.new")
    window.find("directions.new_name").setText("Nothing")
    window.click("directions.new_find")
    told = window.find("directions.new_text")
    window.wait(lambda: "0 brains" in told.text())
    window.session.favourites.remove(0)
    assert not window.find("directions.new_keep").isEnabled()
