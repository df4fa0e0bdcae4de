"""Browse in the real window: the wall, the latent map, the walk, the folds."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QRectF, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QDialog, QVBoxLayout, QWidget
from tiny import tiny_generator
from tolerances import LAYERS, SUMS

from napari_stylegan3d.app import models
from napari_stylegan3d.browse.map import MapMark
from napari_stylegan3d.widgets.controls import fit_window
from stylegan3d.base import current_effort
from stylegan3d.directions import latent_map
from stylegan3d.model.random_latents import random_w
from stylegan3d.recipe.recipe import Edit, Mix, Recipe, Source, Truncation

#: What is asked is what is shown, but where a test paints.
UNPAINTED = True

OFFICIAL = Path(__file__).parents[2] / "checkpoints" / "data"
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def wall(window):
    window.click("browse.wall")
    wall = window.explorer.browsing.wall
    window.wait(wall.isVisible)
    yield wall
    wall.hide()


@pytest.fixture
def map_box(window):
    """The map, with the current brain on it."""
    box = window.explorer.browse.map
    window.choose("browse.map_x", "PC 1")
    window.choose("browse.map_y", "PC 2")
    window.wait(lambda: box.plane is not None and box.places.knows(window.recipe))
    return box


@pytest.fixture
def walk_box(window):
    window.find("browse.walk_clear").click()
    fold = window.find("browse.walk_fold")
    fold.setChecked(True)
    yield window.explorer.browse.walk
    fold.setChecked(False)


@pytest.fixture(autouse=True)
def no_favourites(window):
    yield
    favourites = window.session.favourites
    while favourites.items:
        favourites.remove(0)


def place(window, recipe: Recipe) -> np.ndarray:
    """Where the engine says that a brain lies, in sd along PC 1 and PC 2."""
    survey = window.explorer.browse.map.places.survey
    return survey.locate(recipe.latent(window.session.generator))[:2]


def centre(grid, index: int) -> QPoint:
    return grid.place(index).center()


def test_the_wall_fills_and_a_click_takes_a_brain(window, wall):
    window.wait(lambda: all(window.explorer.thumbnails.image(r) for r in wall.recipes()))
    drawn = wall.grid.grab().toImage()
    # A thumbnail of an untrained generator is anything but plain black.
    middle = centre(wall.grid, 5)
    shades = {drawn.pixel(middle.x() + dx, middle.y() + dx) for dx in range(-40, 40, 4)}
    assert len(shades) > 5
    QTest.mouseClick(wall.grid, LEFT, pos=centre(wall.grid, 7))
    assert window.recipe.source == Source("seed", 7)
    assert wall.isVisible()
    assert window.find("browse.seed").value() == 7
    window.settle()


def test_cells_grow_with_the_wall(window, wall):
    grid, small = wall.grid, wall.grid.side
    wall.resize(wall.width() + 400, wall.height() + 300)
    QTest.qWait(30)
    assert grid.side > small
    first, last = grid.place(0), grid.place(len(grid.cells) - 1)
    assert grid.rect().contains(first)
    assert grid.rect().contains(last)
    assert last.right() - first.left() > 0.8 * grid.width() or (
        last.bottom() - first.top() > 0.8 * grid.height()
    )


def test_edits_belong_to_their_number_unless_they_go_along(window):
    edits = (Edit("PC 1", 1.5),)
    window.session.change(window.recipe.replace(edits=edits))
    window.click("browse.next")
    assert window.recipe.edits == ()
    window.click("browse.previous")
    assert window.recipe.edits == edits, "they return with their brain"
    window.find("browse.keep_edits").setChecked(True)
    window.click("browse.next")
    assert window.recipe.edits == edits
    window.find("browse.keep_edits").setChecked(False)


def test_the_wall_says_how_far_it_is(window, wall):
    said = window.find("browse.wall_progress")
    window.click("browse.wall_dice")
    assert said.text() == "0 of 24 rendered"
    window.wait(lambda: said.text().startswith("5 of 24 rendered, about "))
    window.wait(lambda: said.text() == "")
    assert all(window.explorer.thumbnails.image(recipe) for recipe in wall.recipes())


def test_a_model_that_cannot_be_prepared_has_a_wall_too(window, wall, model, monkeypatch):
    gate = threading.Event()

    def fail(*_):
        gate.wait(60)
        raise MemoryError

    monkeypatch.setattr(models, "warm_up", fail)
    said = window.find("browse.wall_progress")
    window.explorer.open_model(tiny_generator(seed=3))
    window.wait(lambda: said.text() == "Preparing the model…")
    gate.set()
    window.wait(lambda: all(map(window.explorer.thumbnails.image, wall.recipes())))
    assert said.text() == ""
    assert "not enough memory" in window.find("explorer.message").text()
    monkeypatch.undo()
    window.open(model)


def test_a_double_click_takes_a_brain_and_closes_the_wall(window, wall):
    QTest.mouseDClick(wall.grid, LEFT, pos=centre(wall.grid, 4))
    assert window.recipe.source == Source("seed", 4)
    assert not wall.isVisible()


def test_the_keys_lead_through_the_wall_over_its_edge(window, wall):
    QTest.keyClick(wall.grid, Qt.Key.Key_Right)
    QTest.keyClick(wall.grid, Qt.Key.Key_Down)
    assert window.recipe.source == Source("seed", 7)
    for _ in range(3):
        QTest.keyClick(wall.grid, Qt.Key.Key_Down)
    assert window.recipe.source == Source("seed", 25)
    assert wall.first == 24
    assert wall.grid.current == 1
    QTest.keyClick(wall.grid, Qt.Key.Key_Return)
    assert not wall.isVisible()


def test_the_wall_opens_at_the_current_brain_and_turns_pages(window):
    window.set("browse.seed", 50)
    window.click("browse.wall")
    wall = window.explorer.browsing.wall
    assert window.find("browse.wall_numbers").text() == "Brains 48 to 71"
    assert wall.grid.current == 2
    window.click("browse.wall_next")
    assert window.find("browse.wall_numbers").text() == "Brains 72 to 95"
    assert wall.grid.current is None
    window.click("browse.wall_previous")
    window.click("browse.wall_dice")
    assert wall.first % 24 == 0
    assert window.recipe.source == Source("seed", 50)
    wall.hide()


def test_the_star_keeps_a_brain_and_lets_it_go(window, wall):
    star = wall.grid.star_place(3).center()
    QTest.mouseMove(wall.grid, star)
    QTest.mouseClick(wall.grid, LEFT, pos=star)
    (kept,) = window.session.favourites.items
    assert kept.recipe == window.recipe.replace(source=Source("seed", 3))
    assert wall.grid.cells[3].favourite
    assert window.recipe.source == Source("seed", 0)
    QTest.mouseClick(wall.grid, LEFT, pos=star)
    assert window.session.favourites.items == ()


def test_the_wall_follows_truncation_once_the_slider_rests(window, wall):
    before = wall.recipes()
    recipe = window.recipe.replace(truncation=Truncation(0.3))
    window.session.change(recipe, live=True)
    assert [cell.recipe for cell in wall.grid.cells] == before
    window.session.change(recipe)
    assert all(cell.recipe.truncation.psi == 0.3 for cell in wall.grid.cells)
    assert "0.30" in window.find("browse.wall_common").text()


def test_a_closed_wall_asks_for_nothing(window, wall):
    wall.hide()
    assert "browse.wall" not in window.explorer.thumbnails._wanted


def test_a_drag_on_the_map_travels_and_is_one_step_of_undo(window, map_box):
    plot, start = map_box.plot, window.recipe
    assert plot.here == pytest.approx(place(window, start), abs=LAYERS)
    spot = plot.to_pixels(np.array([1.0, -1.0])).toPoint()
    QTest.mousePress(plot, LEFT, pos=spot)
    shown_while_held = window.recipe
    for x in (0.5, 0.0, -1.0):
        QTest.mouseMove(plot, plot.to_pixels(np.array([x, 2.0])).toPoint())
    QTest.mouseRelease(plot, LEFT, pos=plot.to_pixels(np.array([-1.0, 2.0])).toPoint())
    assert {edit.direction for edit in window.recipe.edits} == {"PC 1", "PC 2"}
    # Pixels of the map.
    assert place(window, shown_while_held) == pytest.approx([1.0, -1.0], abs=0.05)
    # One pixel is about 0.03 sd here.
    assert place(window, window.recipe) == pytest.approx([-1.0, 2.0], abs=0.05)
    window.settle()
    window.session.undo()
    assert window.recipe == start


def test_names_of_patients_on_the_map_cover_nothing(window, map_box):
    plot = map_box.plot
    places = np.array([(0, 0), (0.2, 0.1), (0.1, 0.4), (-2, 1)])
    names = [MapMark("scan", at, f"patient {k}", Recipe()) for k, at in enumerate(places)]
    before, plot.marks = plot.marks, names
    written = [*plot._names_of_scans(plot.fontMetrics())]
    plot.marks = before
    high, wide = plot.fontMetrics().ascent(), plot.fontMetrics().horizontalAdvance("patient 0")
    boxes = [QRectF(foot.x() - wide / 2, foot.y() - high, wide, high) for foot, _ in written]
    assert {"patient 0", "patient 3"} <= {name for _, name in written}
    assert not any(a.intersects(b) for a, b in itertools.combinations(boxes, 2))
    assert not any(box.contains(plot.to_pixels(mark.at)) for box in boxes for mark in names)


def test_a_drag_on_the_map_ends_when_somebody_else_is_shown(window, map_box, scan_file):
    window.open_scan(scan_file)
    mine, plot = window.session.key, map_box.plot
    window.explorer.panel("Browse")
    window.wait(lambda: plot.here is not None)
    spot = plot.to_pixels(np.array([1.0, -1.0])).toPoint()
    QTest.mousePress(plot, LEFT, pos=spot)
    assert window.session.key != mine, "it leads to a brain of the model"
    QTest.mouseMove(plot, spot + QPoint(5, 5))
    assert plot.dragging
    window.session.show(mine)
    QTest.mouseMove(plot, spot)
    QTest.mouseRelease(plot, LEFT, pos=spot)
    assert window.session.key == mine
    assert window.recipe is None, "it is no brain of the model"


def test_arrow_keys_travel_a_little_and_reset_goes_back(window, map_box):
    start = window.recipe
    began = place(window, start)
    for _ in range(3):
        QTest.keyClick(map_box.plot, Qt.Key.Key_Right)
    QTest.keyClick(map_box.plot, Qt.Key.Key_Down, Qt.KeyboardModifier.ShiftModifier)
    expected = began + np.array([0.3, -0.5])
    # Strengths have two decimals.
    assert place(window, window.recipe) == pytest.approx(expected, abs=0.02)
    window.click("browse.map_reset")
    assert window.recipe == start


def test_travelling_leaves_other_edits_alone(window, map_box):
    window.session.change(window.recipe.replace(edits=(Edit("PC 4", 1.5), Edit("PC 1", 1.0))))
    window.wait(lambda: map_box.places.knows(window.recipe))
    spot = map_box.plot.to_pixels(np.zeros(2)).toPoint()
    QTest.mouseClick(map_box.plot, LEFT, pos=spot)
    assert window.recipe.edits[0] == Edit("PC 4", 1.5)
    assert place(window, window.recipe) == pytest.approx([0, 0], abs=0.05)  # pixels of the map


def test_a_favourite_on_the_map_is_gone_to_by_a_click(window, map_box):
    kept = window.recipe.replace(source=Source("seed", 5), truncation=Truncation(1.0))
    window.session.favourites.add(kept, "large")
    window.wait(lambda: map_box.plot.marks)
    (mark,) = map_box.plot.marks
    assert mark.at == pytest.approx(place(window, kept), abs=LAYERS)
    QTest.mouseClick(map_box.plot, LEFT, pos=map_box.plot.to_pixels(mark.at).toPoint())
    assert window.recipe == kept


def test_the_axes_can_be_chosen_and_are_never_the_same(window, map_box):
    window.choose("browse.map_x", "PC 3")
    assert map_box.plane.names == ("PC 3", "PC 2")
    window.choose("browse.map_x", "PC 2")
    assert map_box.plane.names[0] == "PC 2"
    assert map_box.plane.names[1] != "PC 2"
    window.choose("browse.map_x", "PC 1")
    assert "larger egg" in map_box.plot.names[0]


@pytest.mark.soak
def test_another_model_gets_a_map_of_its_own(window, map_box, model):
    survey = map_box.places.survey
    window.open(tiny_generator(seed=3, label_dim=2))
    window.wait(lambda: map_box.places.survey is not None)
    assert map_box.places.survey is not survey
    window.wait(lambda: map_box.plane is not None and map_box.plot.here is not None)
    window.open(model)
    window.wait(lambda: map_box.plane is not None)


def test_the_map_draws_in_blocks_stops_when_it_is_left_and_goes_on(window, map_box, monkeypatch):
    places, plot = map_box.places, map_box.plot
    go_on, sampled = threading.Event(), []

    def slowly(generator, samples, seed, first, at_once):
        for start in range(first, samples, at_once):
            sampled.append(start)
            yield random_w(generator, at_once, start)
            while not go_on.wait(0.01):
                current_effort().check()

    monkeypatch.setattr(latent_map, "random_blocks", slowly)
    places.survey = None
    places.set_seen(True)
    window.wait(lambda: places.survey is not None)
    assert plot.lines, "the first hundred are drawn"
    assert "100 random brains are sampled so far" in map_box.note.text()
    window.explorer.panel("Mix")
    window.wait(lambda: not places._surveying.running)
    assert sampled == [0]
    window.explorer.panel("Browse")
    go_on.set()
    window.wait(lambda: places.is_complete)
    assert sampled == list(range(0, latent_map.SAMPLES, latent_map.BLOCK)), "none twice"
    assert "so far" not in map_box.note.text()


@pytest.mark.parametrize(
    "name", ["official_tiny", pytest.param("official_tiny_skip", marks=pytest.mark.soak)]
)
def test_official_checkpoints_have_a_wall_and_a_map(window, model, notifications, name):
    box = window.explorer.browse.map
    window.wait(lambda: box.places.survey is not None)
    survey = box.places.survey
    window.open(OFFICIAL / f"{name}.pkl")
    assert window.session.generator.name == name
    window.wait(lambda: box.plot.isVisible() and box.plot.here is not None)
    window.click("browse.wall")
    wall = window.explorer.browsing.wall
    window.wait(lambda: all(window.explorer.thumbnails.image(r) for r in wall.recipes()[:6]))
    wall.hide()
    assert box.places.survey is not survey
    assert window.find("browse.frame_axes").isVisible(), "the assumed frame is folded away"
    assert notifications == []
    window.click("browse.about_fold")
    window.open(model)


def test_a_walk_goes_from_stop_to_stop(window, walk_box):
    assert not window.find("browse.walk_play").isEnabled()
    window.click("browse.walk_add")
    first = window.recipe
    window.set("browse.seed", 6)
    window.click("browse.walk_add")
    last = window.recipe
    window.set("browse.walk_position", 25)
    layers = window.session.generator.num_layers
    assert window.recipe == first.replace(mix=Mix(last.source, (0.25,) * layers))
    assert window.find("browse.walk_note").text() == "25 % of the way from Seed 0 to Seed 6."
    window.set("browse.walk_position", 100)
    assert window.recipe == last
    QTest.mouseClick(walk_box.strip, LEFT, pos=centre(walk_box.strip, 0))
    assert window.recipe == first
    assert window.find("browse.walk_position").value() == 0


def test_a_walk_plays_until_it_is_stopped(window, walk_box):
    window.click("browse.walk_add")
    window.set("browse.seed", 6)
    window.click("browse.walk_add")
    window.set("browse.walk_position", 0)
    seen = []
    window.session.recipeChanged.connect(lambda recipe, live: seen.append((recipe, live)))
    window.click("browse.walk_play")
    window.wait(lambda: len({recipe for recipe, _ in seen}) >= 3)
    assert all(live for _, live in seen)
    window.click("browse.walk_play")
    recipe, live = seen[-1]
    assert not live
    assert window.recipe == recipe
    window.settle()
    assert window.recipe == recipe


def test_another_brain_stops_the_walk(window, walk_box):
    window.click("browse.walk_add")
    window.set("browse.seed", 6)
    window.click("browse.walk_add")
    window.click("browse.walk_play")
    window.wait(lambda: window.recipe.mix is not None)
    window.set("browse.seed", 9)
    assert not window.find("browse.walk_play").isChecked()
    chosen = window.recipe
    window.settle()
    assert window.recipe == chosen


def test_what_is_not_on_the_screen_is_named_and_not_called_this_brain(
    window, walk_box, map_box, scan_file
):
    """Browsing starts from a synthetic brain while a scan that is not projected is shown."""
    window.set("browse.seed", 7)
    add, note = window.find("browse.walk_add"), window.find("browse.map_note")
    window.open_scan(scan_file)
    window.explorer.panel("Browse")
    window.wait(lambda: note.text().startswith("Seed 7: PC 1"))
    assert not add.isEnabled()
    window.explorer.panel("Export")
    assert window.find("export.open_recipe").isEnabled(), "another brain can be opened"
    assert not window.find("export.copy_json").isEnabled()
    window.explorer.panel("Browse")
    window.set("browse.seed", 8)
    assert add.isEnabled()


def test_brains_of_unlike_truncations_are_joined_as_latents(window, walk_box):
    generator = window.session.generator
    window.click("browse.walk_add")
    first = window.recipe
    window.set("browse.truncation", 1.2)
    window.set("browse.seed", 6)
    last = window.recipe
    window.click("browse.walk_add")
    note, add = window.find("browse.walk_note"), window.find("browse.walk_add")
    assert note.text().startswith("Preparing the path"), "latents take their time"
    assert not add.isEnabled()
    assert len(walk_box.stops) == 1
    window.wait(lambda: "path interpolates their latents" in note.text())
    assert add.isEnabled()
    window.set("browse.walk_position", 50)
    window.settle()
    between = (first.latent(generator) + last.latent(generator)) / 2
    np.testing.assert_allclose(window.recipe.latent(generator), between, atol=SUMS)
    window.set("browse.walk_position", 100)
    np.testing.assert_array_equal(window.recipe.latent(generator), last.latent(generator))


def test_favourites_become_stops(window, walk_box):
    for seed in (2, 4):
        window.session.favourites.add(window.recipe.replace(source=Source("seed", seed)))
    window.click("browse.walk_favourites")
    assert [stop.source.seed for stop in walk_box.stops] == [2, 4]
    walk_box.strip.starred.emit(0)
    assert [stop.source.seed for stop in walk_box.stops] == [4]


def test_what_is_needed_seldom_is_folded_away(window):
    assert window.find("browse.map").isVisible()
    assert not window.find("browse.noise").isVisible()
    assert not window.find("browse.about").isVisible()
    window.click("browse.about_fold")
    assert window.find("browse.about").isVisible()
    window.click("browse.about_fold")
    assert not window.find("browse.about").isVisible()


def test_browse_fits_the_narrow_panel(window):
    from qtpy.QtWidgets import QScrollArea

    area = window.explorer.tabs.currentWidget()
    assert isinstance(area, QScrollArea)
    for name in ("browse.walk_fold", "browse.texture_fold", "browse.about_fold"):
        window.click(name)
    QTest.qWait(50)
    assert area.horizontalScrollBar().maximum() == 0
    for name in ("browse.walk_fold", "browse.texture_fold", "browse.about_fold"):
        window.click(name)


def test_windows_are_as_large_as_what_is_in_them_within_the_screen(window, wall):
    """Qt's own way stops at two thirds of the screen, where pictures and text overlap."""
    text = wall.common.geometry()
    assert wall.grid.geometry().bottom() < text.top()
    room = wall.screen().availableSize().height()
    dialog = QDialog(wall)
    inner = QWidget()
    QVBoxLayout(dialog).addWidget(inner)
    inner.setMinimumSize(100, round(0.8 * room))
    fit_window(dialog)
    assert inner.minimumHeight() < dialog.height() <= room
    inner.setMinimumSize(100, 10)
    fit_window(dialog)
    assert dialog.height() < 100
    dialog.deleteLater()


def test_no_text_is_cut_off_in_what_is_unfolded(window):
    window.explorer.panel("Browse")
    fold, text = window.explorer.browse.about_fold, window.find("browse.about")
    was = fold.header.isChecked(), text.text()
    text.setText("A model of which there is more to say than of this one. " * 6)
    fold.unfold()
    window.wait(lambda: text.isVisible() and text.height() >= text.heightForWidth(text.width()))
    fold.unfold(was[0])
    text.setText(was[1])
