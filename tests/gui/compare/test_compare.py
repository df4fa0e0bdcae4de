"""A and B: each way to compare them, what the captions say, and that nothing is left behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QKeyEvent, QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget

from napari_stylegan3d.compare.controller import NOT_ALIGNED, SWIPE_NAME, left_part, side_of
from napari_stylegan3d.compare.panel import NO_SWAP, in_words
from napari_stylegan3d.project.controller import align_scan, open_scan
from napari_stylegan3d.views.display import DisplayArray
from napari_stylegan3d.views.layers import SPARE
from napari_stylegan3d.views.slices import Panes
from stylegan3d.measures.attributes import VOLUMES
from stylegan3d.measures.similarity import PairFigures
from stylegan3d.recipe.description import describe_recipe
from stylegan3d.recipe.recipe import Edit, Recipe, Source, Truncation
from stylegan3d.session.provenance import (
    MODEL_MINUS_SCAN,
    WARNINGS,
    ComparedPair,
    Provenance,
    Side,
    distinct_title,
)
from stylegan3d.storage.about import EDITED_SCAN

#: What is asked is what is shown, not how it is drawn.
UNPAINTED = True

A, B = (Recipe(Source("seed", number), Truncation(0.7)) for number in (3, 8))


@pytest.fixture
def pair(window: Any) -> Any:
    """Seed 3 is pinned, seed 8 is shown; nothing is compared afterwards."""
    window.session.change(A)
    window.settle()
    window.explorer.panel("Compare")
    window.click("compare.pin")
    window.session.change(B)
    window.settle()
    yield window
    window.explorer.comparing.hold(False)
    window.explorer.comparing.unpin()
    window.settle()


def cameras(window: Any) -> list[Any]:
    found = []
    for view in window.views.views:
        camera = view.model.scene.camera
        found.append((camera.center, camera.zoom, camera.angles, view.canvas.size()))
    return found


def layers(window: Any) -> list[str]:
    return [layer.name for layer in window.viewer.layers if SPARE not in layer.metadata]


def shown_of(window: Any, recipe: Recipe) -> np.ndarray:
    """The volume of a recipe as the views hold it."""
    window.session.change(recipe)
    window.settle()
    return window.volume


def caption(window: Any, name: str) -> str:
    return window.views.view(name).labels.caption


@pytest.mark.parametrize("mode", ["side", "curtain", "flicker", "difference"])
def test_a_mode_that_is_left_leaves_nothing_behind(pair, mode):
    before, names, captions = cameras(pair), layers(pair), pair.captions
    volume = pair.volume
    pair.click(f"compare.mode.{mode}")
    QTest.qWait(150)
    where = (" (left)", " (right)") if mode == "curtain" else ("", "")
    assert any(f"A{where[0]}: Seed 3" in text for text in all_captions(pair))
    assert any(f"B{where[1]}: Seed 8" in text for text in all_captions(pair))
    assert all("not for diagnosis" in text for text in all_captions(pair))
    pair.click("compare.mode.off")
    QTest.qWait(150)
    assert cameras(pair) == before
    assert layers(pair) == names
    assert pair.captions == captions
    np.testing.assert_array_equal(pair.volume, volume)


def all_captions(window: Any) -> list[str]:
    shows = window.explorer.comparing.shows
    texts = [view.labels.caption for view in window.views.views]
    if shows.mode == "side":
        return ["\n".join(lines) for lines in window.views.panes.captions()]
    if shows.mode == "flicker":  # one after the other
        shows._turn()
        texts += [view.labels.caption for view in window.views.views]
    return texts


def test_side_by_side_shows_both_from_the_same_side(pair):
    panes = side_by_side(pair)
    a, b = panes.panes
    np.testing.assert_array_equal(a.layer.data, pair.explorer.comparing.pinned.shown.data)
    np.testing.assert_array_equal(b.layer.data, pair.volume)
    assert panes.isVisible()
    assert not pair.views.view("Axial").canvas.isVisible()
    assert len(list(panes.cells())) == 2 * 3
    before = tuple(pair.viewer.dims.point)
    _column, _cell, on = next(panes.cells())
    place = (on.center() * 1.1).toPoint()
    QTest.mouseClick(panes, Qt.MouseButton.LeftButton, pos=place)
    clicked = tuple(pair.viewer.dims.point)
    assert clicked != before
    assert clicked[2] == before[2]
    pair.views.reset()


def side_by_side(window: Any) -> Panes:
    window.click("compare.mode.side")
    return window.views.panes


def test_a_double_click_enlarges_a_plane_side_by_side(pair):
    panes = side_by_side(pair)
    before = tuple(pair.viewer.dims.point)
    _, _cell, on = next(found for found in panes.cells() if found[1].plane.name == "Coronal")
    place = (on.center() * 1.05).toPoint()
    QTest.mouseClick(panes, Qt.MouseButton.LeftButton, pos=place)
    assert tuple(pair.viewer.dims.point) != before
    QTest.mouseDClick(panes, Qt.MouseButton.LeftButton, pos=place)
    assert [cell.plane.name for _, cell, _ in panes.cells()] == ["Coronal"] * 2
    place = next(panes.cells())[2].center().toPoint()
    QTest.mouseDClick(panes, Qt.MouseButton.LeftButton, pos=place)
    assert len(list(panes.cells())) == 2 * 3
    assert pair.views.looks.look.layout == "four"
    pair.views.reset()


def test_the_right_button_sets_window_and_level_of_both(pair):
    panes, stage = side_by_side(pair), pair.explorer.comparison.stage
    before = stage.limits
    where = next(panes.cells())[2].center().toPoint()
    QTest.mousePress(panes, Qt.MouseButton.RightButton, pos=where)
    drag(panes, where + QPoint(60, 30), Qt.MouseButton.RightButton)
    QTest.mouseRelease(panes, Qt.MouseButton.RightButton, pos=where + QPoint(60, 30))
    a, b = (pane.layer for pane in panes.panes)
    assert tuple(a.contrast_limits) == tuple(b.contrast_limits) == stage.limits != before
    QTest.mouseDClick(panes, Qt.MouseButton.RightButton, pos=where)
    assert tuple(a.contrast_limits) == tuple(b.contrast_limits) == before


def drag(widget: QWidget, to: QPoint, button: Qt.MouseButton) -> None:
    """Move with a button held, which QTest does not."""
    event = QMouseEvent(
        QEvent.Type.MouseMove,
        QPointF(to),
        QPointF(widget.mapToGlobal(to)),
        Qt.MouseButton.NoButton,
        button,
        Qt.KeyboardModifier.NoModifier,
    )
    QApplication.sendEvent(widget, event)


def test_what_lies_over_b_is_painted_and_what_changes_is_painted_again(pair):
    panes = side_by_side(pair)
    before = panes.grab().toImage()
    labels = np.zeros(pair.volume.shape, np.uint8)
    labels[12:20, 12:20, 12:20] = 1
    b = pair.explorer.comparison.stage.layer
    over = pair.viewer.add_labels(labels, scale=b.scale, translate=b.translate)
    assert panes.grab().toImage() != before
    over.visible = False
    assert panes.grab().toImage() == before
    pair.viewer.layers.remove(over)


def test_while_a_is_held_side_by_side_nothing_says_b(pair):
    panes = side_by_side(pair)
    pair.explorer.comparing.hold(True)
    assert [lines[0] for lines in panes.captions()] == ["A: Seed 3", "A: Seed 3"]
    pair.explorer.comparing.hold(False)
    pair.settle()
    assert [lines[0] for lines in panes.captions()] == ["A: Seed 3", "B: Seed 8"]


def test_a_blank_picture_has_no_caption_side_by_side(pair):
    panes = side_by_side(pair)
    pair.explorer.comparison.stage.blank()
    assert [lines[0] if lines else "" for lines in panes.captions()] == ["A: Seed 3", ""]


def test_the_curtain_shows_a_on_the_left_and_b_on_the_right(pair):
    pair.click("compare.mode.curtain")
    a, b = pair.explorer.comparing.pinned.shown, pair.explorer.comparison.picture.shown
    for name in ("Axial", "Coronal", "Sagittal"):
        view = pair.views.view(name)
        axis = view.plane.order[2]
        veil = next(layer for layer in view.model.layers if layer.name == SWIPE_NAME)
        count = a.data.shape[axis]
        assert 0.4 * count <= veil.data.shape[axis] <= 0.6 * count
        # Radiological: to the left on the screen is where the axis' numbers are large.
        np.testing.assert_array_equal(
            veil.data, np.take(a.data, range(count - veil.data.shape[axis], count), axis)
        )
        end = veil.translate[axis] + (veil.data.shape[axis] - 1) * veil.scale[axis]
        assert end == pytest.approx(a.translate[axis] + (count - 1) * a.scale[axis])
    assert pair.viewer.layers[-1].name == SWIPE_NAME
    np.testing.assert_array_equal(pair.explorer.stage.layer.data, b.data)
    assert "B (right): Seed 8" in caption(pair, "Axial")
    assert caption(pair, "3D").startswith("B: Seed 8"), "the 3D view shows B alone"


def test_the_line_of_the_curtain_can_be_dragged(pair):
    pair.click("compare.mode.curtain")
    QTest.qWait(100)
    view = pair.views.view("Axial")
    native = view.canvas.canvas.native
    lines = pair.explorer.comparing.shows._lines
    line = next(line for line in lines if line.parentWidget() is native)
    before = line.x_px()
    veil = pair.viewer.layers[SWIPE_NAME]
    wide = veil.data.shape[0]
    middle = QPoint(line.width() // 2, line.height() // 2)
    QTest.mousePress(line, Qt.MouseButton.LeftButton, pos=middle)
    QTest.mouseMove(line, middle + QPoint(-30, 0))
    QTest.mouseRelease(line, Qt.MouseButton.LeftButton, pos=middle)
    # Pixels: the position is a share in whole percent.
    assert line.x_px() == pytest.approx(before - 30, abs=1.5)
    assert veil.data.shape[0] < wide
    pair.set("compare.curtain", 90)
    assert veil.data.shape[0] > wide


def test_the_curtain_follows_the_convention(pair):
    pair.click("compare.mode.curtain")
    pair.views.looks.change(convention="neurological")
    a = pair.explorer.comparing.pinned.shown.data
    veil = pair.viewer.layers[SWIPE_NAME]
    np.testing.assert_array_equal(veil.data, a[: veil.data.shape[0]])


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("position", [-1e9, 0.0, 3.9, 1e9])
def test_the_part_to_the_left_lies_where_it_lay(position, mirrored):
    data = np.arange(2 * 10 * 3).reshape(2, 10, 3)
    whole = DisplayArray(data, (1.0, 2.0, 3.0), (5.0, -9.0, 0.0))
    part = left_part(whole, 1, position, mirrored)
    assert 1 <= part.data.shape[1] <= 9
    first = round((part.translate[1] - whole.translate[1]) / 2.0)
    np.testing.assert_array_equal(part.data, data[:, first : first + part.data.shape[1]])
    centres = -9.0 + 2.0 * np.arange(10)
    inside = centres[first : first + part.data.shape[1]]
    if abs(position) < 100:
        assert (inside >= position).all() if mirrored else (inside < position).all()


def test_flicker_takes_turns_and_stops_where_nobody_sees_it(pair):
    pair.set("compare.rate", 4)
    pair.click("compare.mode.flicker")
    veil = pair.explorer.comparing.shows.veil.layer
    seen: list[bool] = []
    veil.events.visible.connect(lambda: seen.append(veil.visible))
    pair.wait(lambda: len(seen) >= 4)
    assert seen[:4] in ([True, False] * 2, [False, True] * 2)
    pair.views.hide()
    count = len(seen)
    QTest.qWait(600)
    assert len(seen) == count
    pair.views.show()
    pair.wait(lambda: len(seen) > count)
    pair.click("compare.mode.off")
    assert not pair.explorer.comparing.shows._flicker.isActive()


def test_one_layer_serves_every_mode(pair):
    """Adding a layer to four views would block the window each time."""
    pair.click("compare.mode.curtain")
    count, a = len(pair.viewer.layers), pair.explorer.comparing.pinned.shown
    pair.click("compare.mode.difference")
    assert "B − A" in pair.viewer.layers
    pair.explorer.comparing.hold(True)
    pair.explorer.comparing.hold(False)
    assert SWIPE_NAME not in pair.viewer.layers, "the difference is shown, not A"
    pair.click("compare.mode.flicker")
    layer = pair.viewer.layers[SWIPE_NAME]
    assert len(pair.viewer.layers) == count, "none was added"
    for view in pair.views.views[:3]:
        shown = next(one for one in view.model.layers if one.name == SWIPE_NAME)
        np.testing.assert_array_equal(shown.data, a.data, "all of it, without the curtain")
    pair.click("compare.mode.off")
    assert layer in pair.viewer.layers, "hidden, for the next that is needed"
    assert not layer.visible


def test_the_difference_is_b_minus_a_above_a_threshold(pair):
    pair.click("compare.mode.difference")
    overlay = pair.explorer.stage.overlay
    a, b = pair.explorer.comparing.pinned.shown, pair.explorer.comparison.picture.shown
    np.testing.assert_array_equal(overlay.layer.data, b.data - a.data)
    assert overlay.legend.label == "B − A"
    pair.set("compare.threshold", 20)
    assert overlay.legend.threshold == pytest.approx(0.2)
    pair.session.change(B.replace(truncation=Truncation(0.2)))
    pair.settle()
    b = pair.explorer.comparison.picture.shown
    np.testing.assert_array_equal(overlay.layer.data, b.data - a.data)


def press(window: Any, key: Qt.Key, kind: Any) -> None:
    event = QKeyEvent(kind, key, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(window.views.window().windowHandle(), event)


def test_a_is_shown_while_a_key_is_held(pair):
    b = pair.volume
    a = pair.explorer.comparing.pinned.shown.data
    pair.find("explorer.tabs").setFocus()
    press(pair, Qt.Key.Key_B, QEvent.Type.KeyPress)
    np.testing.assert_array_equal(pair.volume, a)
    assert {text.partition("\n")[0] for text in pair.captions} == {"A: Seed 3"}
    press(pair, Qt.Key.Key_B, QEvent.Type.KeyRelease)
    np.testing.assert_array_equal(pair.volume, b)
    assert pair.captions == {"Seed 8\nSynthetic – not for diagnosis"}
    assert pair.recipe == B


def test_typing_a_b_into_a_text_field_compares_nothing(pair, monkeypatch):
    field = pair.find("export.name")
    monkeypatch.setattr(QApplication, "focusWidget", lambda: field)  # no window manager gives it
    press(pair, Qt.Key.Key_B, QEvent.Type.KeyPress)
    assert not pair.explorer.comparing.held
    press(pair, Qt.Key.Key_B, QEvent.Type.KeyRelease)


def test_figures_are_measured_in_the_background(pair):
    pair.wait(lambda: pair.find("compare.ssim").text() not in ("–", "1.000"))
    assert pair.find("compare.mean_difference").text().endswith("%")
    # Voxels of 8 mm are none that the tissue network knows.
    assert "by intensity alone" in pair.find("compare.volumes_by").text()
    assert pair.find("compare.csf_ml.a").text() == "–"
    gone = []

    def note(_view: str) -> None:
        gone.append(pair.find("compare.ssim").text() == "–")

    pair.explorer.comparison.viewChanged.connect(note)
    pair.session.change(A)
    pair.settle()
    pair.wait(lambda: pair.find("compare.psnr_db").text() == "identical")
    pair.explorer.comparison.viewChanged.disconnect(note)
    assert any(gone), "they were of the brain before"
    assert pair.find("compare.ssim").text() == "1.000"


def test_swapping_shows_a_and_pins_b(pair):
    pair.click("compare.swap")
    pair.settle()
    assert pair.recipe == A
    assert pair.find("compare.a").text() == "Seed 8"
    assert pair.find("compare.b").text() == "Seed 3"


def test_a_scan_can_be_a_and_is_called_real(pair, scan_file, tmp_path):
    from stylegan3d.base import SILENT
    from stylegan3d.session.case import Choice

    opened = open_scan(SILENT, Choice(scan_file))
    aligned = align_scan(SILENT, pair.explorer.rendering.loaded, opened.scan, tmp_path)
    pair.explorer.comparing.pin_scan(opened.lying(aligned, aligned))
    captions = side_by_side(pair).captions()
    assert pair.find("compare.a").text() == "Scan: sub-07"
    assert captions[0] == ["A: Scan: sub-07", ""]
    assert caption(pair, "Axial").startswith("B: Seed 8")
    assert "not for diagnosis" in caption(pair, "Axial")
    pair.click("compare.mode.curtain")
    assert "not for diagnosis" in caption(pair, "Axial"), "half of it is synthetic"
    assert not pair.find("compare.swap").isEnabled()
    assert pair.find("compare.swap").toolTip() == NO_SWAP


def test_a_scan_is_no_b_once_a_is_closed(window, scan_file, second_file):
    for name, path in (("sub-07", scan_file), ("sub-08", second_file)):
        window.explorer.open_scan(path)
        window.wait(lambda name=name: window.find("project.name").text() == name)
        window.click("project.align")
        window.wait(lambda: window.session.placed is not None)
        if path is scan_file:
            window.explorer.panel("Compare")
            window.click("compare.pin")
            mine = window.session.key
    window.click("compare.mode.curtain")
    window.wait(lambda: any(text.startswith("B: Scan") for text in window.captions))
    window.session.close_patient(mine)
    window.settle()
    assert window.captions == {"Scan: sub-08"}


def test_favourites_and_the_state_before_can_be_pinned(pair):
    favourite = Recipe(Source("seed", 77))
    pair.session.favourites.add(favourite, "the large one")
    menu = pair.explorer.compare.choices
    menu.aboutToShow.emit()
    texts = [action.text() for action in menu.actions()]
    assert "Previous state: Seed 3" in texts
    next(action for action in menu.actions() if action.text() == "the large one").trigger()
    pair.wait(lambda: pair.explorer.comparing.pinned.shown is not None)
    expected = shown_of(pair, favourite)
    np.testing.assert_array_equal(pair.explorer.comparing.pinned.shown.data, expected)
    pair.session.favourites.restore({})


def test_an_entry_of_the_history_can_be_pinned(pair):
    strip = pair.explorer.history
    menu = strip.menu(strip.history.index(0))
    menu.actions()[0].trigger()
    assert pair.explorer.comparing.pinned.recipe == strip.history.recipe(0)


def test_looking_at_a_scan_ends_the_comparison_until_it_is_aligned(pair, scan_file):
    pair.click("compare.mode.curtain")
    pair.open_scan(scan_file)
    assert pair.explorer.comparing.mode == "off"
    assert SWIPE_NAME not in layers(pair)
    assert caption(pair, "Axial") == "Scan: sub-07"
    side, pin = pair.find("compare.mode.side"), pair.find("compare.pin")
    for button in (side, pin):
        assert not button.isEnabled()
        assert button.toolTip() == NOT_ALIGNED
    assert NOT_ALIGNED in pair.find("compare.b").text()


def test_a_scan_that_is_aligned_and_not_projected_is_compared_as_it_is(pair, scan_file):
    pair.open_scan(scan_file)
    pair.click("project.align")
    pair.wait(lambda: pair.session.placed is not None)
    assert pair.session.recipe is None
    assert pair.find("compare.pin").toolTip() == "Keep the current brain as A."
    assert side_by_side(pair).captions()[1] == ["B: Scan: sub-07", ""]
    assert pair.find("compare.b").text() == "Scan: sub-07", "as A says it"
    pair.wait(lambda: pair.find("compare.ssim").text() != "–")
    pair.click("compare.mode.difference")
    a, b = pair.explorer.comparing.pinned.shown, pair.volume
    np.testing.assert_array_equal(pair.explorer.stage.overlay.layer.data, b - a.data)
    pair.click("compare.mode.curtain")
    assert caption(pair, "Axial").startswith("A (left): Seed 3\nB (right): Scan: sub-07")
    pair.click("compare.mode.off")
    assert caption(pair, "Axial") == "Scan: sub-07"


def test_another_model_ends_the_comparison(pair):
    pair.click("compare.mode.difference")
    pair.session.set_generator(pair.session.generator)
    assert pair.explorer.comparing.pinned is None
    assert pair.explorer.stage.overlay.legend is None
    assert not pair.find("compare.mode.side").isEnabled()


def test_closing_while_comparing_leaves_no_timer(pair):
    shows = pair.explorer.comparing.shows
    pair.click("compare.mode.flicker")
    shows.clear()
    assert not shows._flicker.isActive()
    assert shows.mode == "off"


def test_captions_tell_which_is_which():
    a = side_of(A, "A")
    b = side_of(B.replace(edits=(Edit("A direction with a long name", 1.5),)), "B")
    assert a.caption == "A: Seed 3\nSynthetic – not for diagnosis"
    assert b.line.endswith(" +1.5 sd")
    scan = Side("scan", "sub-07", letter="A", title="sub-07")
    assert scan.caption == "A: Scan\nsub-07"
    assert ComparedPair.of(scan, scan, ("", "")).kind == "scan"
    both = ComparedPair.of(scan, b, ("left", "right")).caption.splitlines()
    assert both[0] == "A (left): Scan: sub-07"
    export = Side("scan", "IM-0001-0042 sag T1 MPRAGE iso", letter="A")
    both = ComparedPair.of(export, b, ("left", "right")).caption.splitlines()
    assert both[0] == "A (left): Scan: IM-0001-0042 sag … iso"
    assert both[1].startswith("B (right): ")
    assert both[-1] == "Synthetic – not for diagnosis"
    edited = Side("edited", "sub-07", letter="A", title="sub-07, larger")
    scan = Side("scan", "sub-07", letter="B", title="sub-07")
    both = ComparedPair.of(edited, scan, ("left", "right"))
    assert both.caption.splitlines()[-1] == f"A: {EDITED_SCAN}"
    assert both.warning in WARNINGS, "it is never shortened"
    both = ComparedPair.of(edited, edited, ("left", "right"))
    assert both.caption.splitlines()[-1] == EDITED_SCAN
    projected = Recipe(Source("projected", path="/d/sub-04_desc-projected_latent.safetensors"))
    told = Provenance("reconstruction", "sub-04")
    assert side_of(projected, "B", told).title == "Reconstruction of sub-04"


def test_captions_begin_with_what_is_different(pair):
    long = "Grey matter volume at the same brain size"
    a = B.replace(edits=(Edit("PC 1", 2.0),))
    b = B.replace(edits=(*a.edits, Edit("PC 2", 2.0)))
    pair.explorer.comparing.pin(a)
    pair.session.change(b)
    pair.settle()
    pair.click("compare.mode.side")
    assert caption(pair, "Axial").startswith("B: … PC 2 +2 sd\n")
    pair.wait(lambda: any("A: Seed 8, PC 1 +2 sd\n" in text for text in all_captions(pair)))
    assert pair.find("compare.b").text() == "Seed 8, PC 1 +2 sd, PC 2 +2 sd"
    told = distinct_title(f"Seed 8, {long} +1.5 sd", f"Seed 8, {long} +2 sd")
    assert told == f"… {long} +1.5 sd"


def test_later_edits_stay_in_the_names_of_the_sides_and_a_tooltip_tells_all(pair):
    edits = tuple(Edit(f"PC {k}", float(k)) for k in range(1, 6))
    pair.session.change(A.replace(edits=edits))
    pair.settle()
    pair.click("compare.mode.curtain")
    labels = pair.views.view("Axial").labels
    assert labels.caption.splitlines()[1].endswith("PC 4 +4 sd, PC 5 +5 sd")
    assert "PC 3" not in labels.written, "there is no room for all"
    corner = labels.rect().bottomLeft()
    whole = "B (right): " + describe_recipe(A.replace(edits=edits))
    assert labels.whole_at(corner + QPoint(20, -20)).splitlines()[1] == whole
    assert not labels.whole_at(labels.rect().center())


def test_figures_in_words():
    a = dict.fromkeys(VOLUMES, 500.0) | {"brain_ml": 1500.4, "ventricle_ml": 20.0}
    a["grey_ml"] = float("nan")
    b = {**a, "ventricle_ml": 17.25}
    words = in_words(PairFigures(0.0123, 0.9876, float("inf"), a, b, "by eye"))
    assert words["mean_difference"] == "1.2 %"
    assert words["psnr_db"] == "identical"
    assert words["brain_ml.a"] == "1500"
    assert words["ventricle_ml.change"] == "-2.8"
    assert words["grey_ml.a"] == "–"
    assert set(in_words(None).values()) == {"–"}


def test_volumes_are_withheld_where_the_acquisition_is_unsuitable(pair, monkeypatch):
    red = {"level": "red", "sentence": "Contrast is not T1-weighted: it is another."}
    judged = property(lambda _session: {"verdicts": {"acquisition": red}})
    part, volumes = pair.explorer.comparing, dict.fromkeys(VOLUMES, 500.0)
    monkeypatch.setattr(type(pair.session), "judged", judged)
    figures = PairFigures(0.01, 0.98, 30.0, volumes, volumes, "by eye")
    part._on_measured((part.pinned, pair.explorer.comparison.picture), figures)
    told = {key: label.text() for key, label in part.panel.figures.labels.items()}
    assert told["ssim"] == "0.980"
    assert {text for key, text in told.items() if "_ml" in key} == {"–"}
    assert "contrast is not T1-weighted" in pair.find("compare.volumes_by").text()


def test_the_line_position_follows_a_drag(pair):
    pair.click("compare.mode.curtain")
    line = pair.find("compare.curtain_line.0")
    low, high, _ = pair.views.viewer.dims.range[0]
    line.moved.emit(0, low + 0.2 * (high - low))  # far left of the patient: right on the screen
    assert pair.find("compare.curtain").value() == pytest.approx(80, abs=1)
    pair.click("compare.mode.off")
    pair.click("compare.mode.curtain")
    # Whole percent.
    assert pair.find("compare.curtain").value() == pytest.approx(80, abs=1), "it stays there"
    pair.set("compare.curtain", 50)
    pair.click("compare.mode.off")


def test_views_are_fitted_again_after_side_by_side(pair):
    pair.views.fit()
    pair.click("compare.mode.side")
    pair.click("compare.mode.off")
    QTest.qWait(100)
    assert pair.views._fitting.fitted


def test_up_to_four_brains_stand_in_columns_with_one_crosshair(window, scan_file):
    window.explorer.panel("Compare")
    window.click("compare.mode.row")
    panes = window.views.panes
    for number in (3, 4):
        window.click("compare.row_add")
        window.session.change(Recipe(Source("seed", number)))
        window.settle()
    assert [pane.title for pane in panes.panes] == ["Seed 0", "Seed 3", "Seed 4"]
    assert all(lines[1] for lines in panes.captions()), "each warns that it is synthetic"
    assert panes.isVisible()
    assert window.find("compare.hint").isHidden(), "there is no A to see"
    assert not window.find("compare.pin").isVisible(), "nor one to pin"
    assert not window.find("compare.ssim").isVisible()
    listed = window.find("compare.row_list")
    listed.addItem("A long name " * 20)
    QTest.qWait(20)
    assert not listed.horizontalScrollBar().isVisible()
    assert listed.item(0).toolTip() == "Seed 0"
    assert not window.views.view("Axial").canvas.isVisible()
    before = window.viewer.dims.point
    column, cell, on = next(found for found in panes.cells() if found[0] == 1)
    assert (column, cell.plane.name) == (1, "Axial")
    QTest.mouseClick(panes, Qt.MouseButton.LeftButton, pos=(on.center() * 1.1).toPoint())
    assert window.viewer.dims.point != before
    assert window.viewer.dims.point[2] == before[2], "in the plane that was clicked"
    window.click("compare.row_add")
    window.open_scan(scan_file)
    assert not window.find("compare.row_add").isEnabled(), "it is not in the model's space"
    assert "Align the scan first" in window.find("compare.row_note").text()
    window.click("compare.row_remove")
    assert len(panes.panes) == 3
    window.click("compare.mode.off")
    assert window.views.view("Axial").canvas.isVisible()
    assert panes.panes == ()
    window.session.line_up(())


def test_a_column_has_no_letter_and_its_own_greys(pair, scan_file):
    window = pair
    window.click("compare.mode.side")
    window.click("compare.mode.row")
    window.click("compare.row_add")
    window.session.change(A)
    window.settle()
    assert [words[0] for words in window.views.panes.captions()] == ["1: Seed 8", "2: Seed 3"]
    window.click("compare.mode.off")
    case = window.project(scan_file)
    window.click("compare.mode.row")
    window.session.look("residual")
    window.settle()
    assert window.find("compare.b").text() == f"{case.name}: {MODEL_MINUS_SCAN}"
    column = window.views.panes.panes[0].layer
    limits, stage = column.contrast_limits, window.explorer.comparison.stage
    stage.layer.contrast_limits = [-0.2, 0.2]
    assert stage.is_difference
    assert column.contrast_limits == limits
    window.click("compare.mode.off")
    window.session.line_up(())
    window.session.look("scan")
    window.click("compare.pin")
    assert window.session.state.second is window.session.case, "what B says is what is pinned"


def test_when_a_goes_b_is_called_b_no_longer(pair, scan_file):
    session = pair.session
    pair.open_scan(scan_file)
    pair.explorer.projecting.align()
    pair.wait(lambda: session.placed is not None)
    key = session.key
    pair.explorer.comparing.pin_scan(session.case)
    session.show("")
    pair.settle()
    pair.click("compare.mode.side")
    assert any("B: " in caption for caption in pair.captions)
    session.close_patient(key)
    pair.settle()
    assert not any("B: " in caption for caption in pair.captions)


def test_nothing_is_compared_while_a_scan_is_projected(pair, scan_file):
    session = pair.session
    pair.open_scan(scan_file)
    pair.explorer.projecting.align()
    pair.wait(lambda: session.placed is not None)
    volume = session.placed.volume
    pair.explorer.comparison.show_search(session.case, "reconstruction", volume)
    assert session.state.what == "search"
    assert not pair.find("compare.pin").isEnabled()
    assert "Seed" not in pair.find("compare.b").text()
    session.close_patient(session.key)
