"""Window and level, zoom and pan, measurements and keys, on the real canvases."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from tolerances import FLOAT32
from view_helpers import AFFINE, FLAT, RIGHT_BLOCK, center_of, drag, native, phantom, wheel

from napari_stylegan3d.views.canvases import REST_MS
from napari_stylegan3d.views.display import planes_of, upright
from napari_stylegan3d.views.marks import Mark
from napari_stylegan3d.views.stage import DEEP_GREY
from stylegan3d.session.provenance import Provenance

UNPAINTED = True
RIGHT, MIDDLE = Qt.MouseButton.RightButton, Qt.MouseButton.MiddleButton
LEFT = Qt.MouseButton.LeftButton


@pytest.mark.parametrize(
    "name", ["Coronal", *(pytest.param(n, marks=pytest.mark.soak) for n in ("Axial", "Sagittal"))]
)
def test_the_right_button_sets_window_and_level_in_every_view(four, stage, name):
    drag(native(four, name), RIGHT, 90, 0)
    low, high = stage.layer.contrast_limits
    assert high - low == pytest.approx(1.3, abs=0.02)  # whole pixels of a view
    assert (high + low) / 2 == pytest.approx(0.5, abs=0.02)  # whole pixels of a view
    drag(native(four, name), RIGHT, 0, -60)
    low, high = stage.layer.contrast_limits
    assert (high + low) / 2 == pytest.approx(0.7, abs=0.02)  # whole pixels of a view
    assert four.readout.levels.text() == "W/L 1.30 / 0.70"
    assert four.readout.white.value() == pytest.approx(high, abs=0.01)  # the box has two decimals
    for other in FLAT:
        assert tuple(four.view(other).model.layers[0].contrast_limits) == (low, high)
    four.view("3D").follower.settle()
    assert tuple(four.view("3D").model.layers[0].contrast_limits) == (low, high)


def test_the_right_button_moves_neither_crosshair_nor_camera(four):
    point = four.viewer.dims.point
    camera = four.view("Coronal").model.scene.camera
    before = (camera.zoom, camera.center)
    drag(native(four, "Coronal"), RIGHT, 50, 30)
    assert four.viewer.dims.point == point
    assert (camera.zoom, camera.center) == before


def test_twice_the_right_button_brings_back_what_is_usual(four, stage):
    drag(native(four, "Axial"), RIGHT, 90, 40)
    canvas = native(four, "Sagittal")
    QTest.mouseDClick(canvas, RIGHT, pos=canvas.rect().center())
    assert tuple(stage.layer.contrast_limits) == (0.0, 1.0)
    assert four.looks.look.layout == "four", "only the left button makes one view large"


def test_white_and_the_window_are_one(four, stage):
    four.readout.white.setValue(0.5)
    assert tuple(stage.layer.contrast_limits) == (0.0, 0.5)
    assert four.readout.levels.text() == "W/L 0.50 / 0.25"
    stage.layer.contrast_limits = (0.1, 0.9)  # as napari's own controls of the layer do
    assert four.readout.white.value() == pytest.approx(0.9)
    assert four.readout.levels.text() == "W/L 0.80 / 0.50"
    stage.show(upright(phantom() * 0.5, AFFINE), Provenance("generated"))
    assert tuple(stage.layer.contrast_limits) == pytest.approx((0.1, 0.9)), "it stays"


def test_a_difference_stays_symmetrical_and_has_a_window_of_its_own(four, stage):
    drag(native(four, "Axial"), RIGHT, 90, 0)
    stage.show(upright(phantom() - 0.5, AFFINE), Provenance("difference"))
    assert tuple(stage.layer.contrast_limits) == (-0.5, 0.5)
    drag(native(four, "Axial"), RIGHT, -300, 80)
    # Whole pixels of a view.
    assert tuple(stage.layer.contrast_limits) == pytest.approx((-0.25, 0.25), abs=0.01)
    assert four.readout.levels.text() == "± 0.25"
    # Whole pixels of a view.
    assert four.view("3D").bar.legend.limit == pytest.approx(0.25, abs=0.01)
    stage.show(upright(phantom(), AFFINE), Provenance("generated"))
    # Whole pixels of a view.
    assert np.ptp(stage.layer.contrast_limits) == pytest.approx(1.3, abs=0.02)
    assert four.view("3D").bar.legend is None


def test_a_scan_in_other_numbers_keeps_the_same_look(four, stage):
    four.readout.white.setValue(0.5)
    stage.show(upright(700 * phantom(), AFFINE), Provenance("scan"), (0.0, 700.0))
    assert tuple(stage.layer.contrast_limits) == (0.0, 350.0)
    assert four.readout.levels.text() == "W/L 350 / 175"


def test_ctrl_and_wheel_zoom_all_planes_about_the_pointer(four):
    zooms = [four.view(name).model.scene.camera.zoom for name in FLAT]
    point = four.viewer.dims.point
    wheel(native(four, "Coronal"), 2, Qt.KeyboardModifier.ControlModifier)
    now = [four.view(name).model.scene.camera.zoom for name in FLAT]
    assert now[0] == now[1] == now[2] > zooms[0]
    assert four.viewer.dims.point == point
    four.looks.change(linked=False)
    wheel(native(four, "Coronal"), 2, Qt.KeyboardModifier.ControlModifier)
    assert four.view("Coronal").model.scene.camera.zoom > now[0]
    assert four.view("Axial").model.scene.camera.zoom == now[0]


def test_the_middle_button_pans_what_is_under_it_along(four):
    for name in FLAT:
        view = four.view(name)
        before = view.crosshair.position_px()
        drag(native(four, name), MIDDLE, 40, -25)
        after = view.crosshair.position_px()
        assert np.subtract(after, before) == pytest.approx((40, -25), abs=0.5)  # half a pixel


def test_planes_pan_together(four):
    before = four.view("Sagittal").crosshair.position_px()
    drag(native(four, "Coronal"), MIDDLE, 0, 30)
    moved = np.subtract(four.view("Sagittal").crosshair.position_px(), before)
    assert moved == pytest.approx((0, 30), abs=0.5), "down is down in both"  # half a pixel


def test_a_brush_keeps_its_buttons(four, stage):
    labels = four.viewer.add_labels(
        np.zeros(stage.layer.data.shape, np.uint8),
        scale=stage.layer.scale,
        translate=stage.layer.translate,
        units=("mm",) * 3,
    )
    four.viewer.layers.selection.active = labels
    labels.mode = "paint"
    drag(native(four, "Axial"), RIGHT, 60, 0)
    assert tuple(stage.layer.contrast_limits) == (0.0, 1.0)


@pytest.fixture
def marks(four):
    """No measurements yet, of Seed 0."""
    four.marks.set_whose("Seed 0", "m seed 0")
    four.marks.clear()
    yield four.marks
    four.marks.clear()
    if four.marks.tool:
        four.marks.take("")


def test_a_length_is_in_true_millimetres_and_stays_on_its_slice(four, marks):
    marks.take("length")
    point = four.viewer.dims.point
    drag(native(four, "Axial"), LEFT, 60, -80)
    (mark,) = marks.shown
    zoom = four.view("Axial").model.scene.camera.zoom
    assert mark.length_mm == pytest.approx(100 / zoom, rel=0.02)  # whole pixels at both ends
    assert marks.text_of(mark) == f"{mark.length_mm:.1f} mm"
    assert four.viewer.dims.point == point, "drawing does not move the crosshair"
    assert marks.tool == "", "the next drag moves the crosshair again"
    sheet = four.view("Axial").marks
    assert sheet.visible_marks() == [mark]
    assert four.view("Coronal").marks.visible_marks() == []
    four.viewer.dims.point = (*point[:2], point[2] + 4)
    assert sheet.visible_marks() == []


def test_a_measurement_is_moved_by_its_end_and_deleted(four, marks):
    marks.take("length")
    drag(native(four, "Axial"), LEFT, 60, 0)
    before = marks.shown[0]
    drag(native(four, "Axial"), LEFT, 0, 50)  # from the middle, where it begins
    (after,) = marks.shown
    assert after.end == before.end
    assert after.start != before.start
    four.readout.tools_menu.aboutToShow.emit()
    entry = next(
        one for one in four.readout.tools_menu.actions() if one.objectName() == "views.marks.delete"
    )
    entry.trigger()
    assert marks.shown == []


def test_an_angle_is_a_right_one_when_drawn_and_changes_by_its_ends(four, marks):
    marks.take("angle")
    drag(native(four, "Axial"), LEFT, 80, 0)
    (mark,) = marks.shown
    assert marks.text_of(mark) == "90.0°"
    assert len({point[2] for point in (mark.start, mark.corner, mark.end)}) == 1, "in its slice"
    moved = mark.moved((5.0, -3.0, 0.0))
    assert moved.angle_deg == pytest.approx(90)
    assert np.subtract(moved.corner, mark.corner) == pytest.approx((5, -3, 0))
    drag(native(four, "Axial"), LEFT, 0, 80)  # its first side, by the end in the middle
    (mark,) = marks.shown
    # Whole pixels at both ends.
    assert min(mark.angle_deg, 180 - mark.angle_deg) == pytest.approx(45, abs=2)
    marks.copy()
    assert "\tangle\tAxial" in QApplication.clipboard().text()


def test_figures_of_two_regions_do_not_stand_on_each_other(four, marks):
    x, y, z = four.viewer.dims.point
    for side in (-1, 1):
        marks.add(Mark("ellipse", 2, (x + 2 * side, y - 4, z), (x + 9 * side, y + 4, z)))
    sheet = four.view("Axial").marks
    sheet.grab()
    first, second = sheet.written
    assert not first.intersects(second)
    assert second.top() == first.bottom(), "right below"


def test_a_measurement_belongs_to_the_brain_it_was_drawn_on(four, marks):
    marks.add(Mark("length", 2, (0, 0, 0), (10, 0, 0)))
    marks.copy()
    assert QApplication.clipboard().text().splitlines()[1].startswith("Seed 0\tlength\t")
    (mark,) = marks.shown
    flat = Mark("angle", 2, (1, 0, 0), (2, 0, 0), corner=(0, 0, 0), whose=mark.whose)
    marks.replace(mark, flat)
    marks.copy()
    titles, values = (line.split("\t") for line in QApplication.clipboard().text().splitlines())
    assert dict(zip(titles, values, strict=True))["angle_deg"] == "0"
    marks.set_whose("sub-02", "k2 None m")
    assert marks.shown == []
    marks.add(Mark("sphere", 2, (0, 0, 0), (5, 0, 0)))
    marks.set_whose("Seed 0", "m seed 0")
    assert len(marks.shown) == 1
    kept = json.loads(json.dumps(marks.kept))
    marks.drop("k2")
    assert [one["kind"] for one in marks.kept] == ["angle"]
    marks.restore([{"kind": "length"}])
    assert marks.kept == [], "not a measurement"
    marks.restore(kept)
    assert [mark.angle_deg for mark in marks.shown] == [0]
    assert len(marks.kept) == 2


def test_slabs_show_the_maximum_of_their_thickness_and_say_so(four, stage):
    x, y, z = center_of(RIGHT_BLOCK)
    above = z + 24.0  # the block ends 12 mm above its middle
    four.viewer.dims.point = (x, y, above)
    region = Mark("rectangle", 2, (x - 3, y - 6, above), (x + 3, y + 6, above))
    assert four.marks.figures(region).mean == pytest.approx(0.2, abs=FLOAT32)
    dark = four.view("Axial").canvas.screenshot(flash=False)[..., :3].mean()
    four.looks.change(slab="max", slab_mm=40.0)
    assert four.marks.figures(region).mean == pytest.approx(1.0, abs=FLOAT32)
    QTest.qWait(30)
    assert "Max 40 mm" in four.view("Axial").labels.below_slice
    assert four.view("Axial").canvas.screenshot(flash=False)[..., :3].mean() > 1.1 * dark
    for name in ("Axial", "Coronal", "Sagittal"):
        view = four.view(name)
        assert str(view.model.layers[0].projection_mode) == "max"
        assert view.model.dims.margin_left[view.plane.order[0]] == 20
    four.looks.change(slab="none")
    assert four.view("Axial").model.dims.margin_left == (0.0, 0.0, 0.0)


def test_slabs_of_the_minimum_and_the_average(four, stage):
    x, y, z = four.viewer.dims.point = center_of(RIGHT_BLOCK)
    low, high = planes_of(stage.layer, 2, z, 40.0)
    through = phantom()[24, 25, low : high + 1]
    region, seen = Mark("rectangle", 2, (x - 3, y - 6, z), (x + 3, y + 6, z)), {}
    for slab, value in (("none", 1.0), ("mean", through.mean()), ("min", through.min())):
        four.looks.change(slab=slab, slab_mm=40.0)
        assert four.marks.figures(region).mean == pytest.approx(value, abs=FLOAT32)
        QTest.qWait(30)
        seen[slab] = four.view("Axial").canvas.screenshot(flash=False)[..., :3].mean()
    assert "Min 40 mm" in four.view("Axial").labels.below_slice
    assert seen["none"] > 1.02 * seen["mean"] > 1.02 * 1.02 * seen["min"]


def test_presets_set_the_window(four, stage):
    stage.show(upright(700 * phantom(), AFFINE), Provenance("scan"), (0.0, 500.0))
    for entry in four.readout.levels.menu().actions():
        if entry.objectName() == "views.preset.full":
            entry.trigger()
    assert stage.limits == pytest.approx((140, 700))
    stage.take_preset("deep_grey")
    assert stage.limits == pytest.approx((500 * DEEP_GREY.black, 500 * DEEP_GREY.white))
    stage.take_preset("brain")
    assert stage.limits == (0.0, 500.0)


def test_page_and_end_keys_scroll_the_view_under_the_mouse(four, monkeypatch):
    four.watch_keys(four.window().windowHandle())
    coronal = native(four, "Coronal")
    for view in four.views:
        canvas = view.canvas.canvas.native
        monkeypatch.setattr(canvas, "underMouse", lambda canvas=canvas: canvas is coronal)
    handle, point = four.window().windowHandle(), four.viewer.dims.point
    QTest.keyClick(handle, Qt.Key.Key_PageUp)
    assert np.subtract(four.viewer.dims.point, point) == pytest.approx((0, 2, 0))
    QTest.keyClick(handle, Qt.Key.Key_PageDown)
    assert four.viewer.dims.point == pytest.approx(point)
    QTest.keyClick(handle, Qt.Key.Key_Home)
    assert four.viewer.dims.point[1] == 48
    QTest.keyClick(handle, Qt.Key.Key_End)
    assert four.viewer.dims.point[1] == -50
    for view in four.views:
        canvas = view.canvas.canvas.native
        monkeypatch.setattr(canvas, "underMouse", lambda: False)
    monkeypatch.setattr(native(four, "Axial"), "hasFocus", lambda: True)
    axial = four.viewer.dims.point[2]
    QTest.keyClick(handle, Qt.Key.Key_PageUp)
    assert four.viewer.dims.point[2] > axial, "without the mouse, the view with the focus"


def test_a_double_click_does_not_move_the_crosshair(four):
    canvas, point = native(four, "Axial"), four.viewer.dims.point
    corner = canvas.rect().center() / 2
    for layout in ("one", "four"):
        QTest.mouseClick(canvas, LEFT, pos=corner)
        QTest.mouseDClick(canvas, LEFT, pos=corner)
        assert four.looks.look.layout == layout
        assert four.viewer.dims.point == point
        QTest.qWait(30)


def test_a_larger_head_is_fitted_unless_the_user_has_zoomed(four, stage):
    small = phantom()
    small[:, :15], small[:, 35:] = 0, 0
    small[:, :, :10], small[:, :, 20:] = 0, 0
    stage.show(upright(small, AFFINE), Provenance("generated"))
    QTest.qWait(30)
    camera = four.view("Coronal").model.scene.camera
    large = camera.zoom
    stage.show(upright(phantom(), AFFINE), Provenance("generated"))
    QTest.qWait(30)
    assert camera.zoom < large
    camera.zoom = 1.05 * large
    stage.show(upright(small, AFFINE), Provenance("generated"))
    QTest.qWait(30)
    assert camera.zoom == pytest.approx(1.05 * large)


def test_the_nose_points_where_it_is_told_to(four):
    sagittal = four.view("Sagittal")
    assert sagittal.labels.letters[2:] == ("A", "P")
    four.looks.change(nose="right")
    assert sagittal.labels.letters[2:] == ("P", "A")
    assert sagittal.model.scene.camera.orientation[-1] == "right"
    assert four.view("Axial").labels.letters[2:] == ("R", "L"), "the other planes stay"


def test_the_3d_view_is_drawn_with_fewer_pixels_only_while_it_is_turned(four, monkeypatch):
    four.window().setUpdatesEnabled(True)
    camera, canvas = four.view("3D").model.scene.camera, native(four, "3D")
    turning, moved = four.view("3D").turning, []
    monkeypatch.setattr(turning, "_is_software", True)  # also where there is a graphics card
    before = camera.angles, camera.zoom

    def grabbed() -> np.ndarray:
        picture = canvas.grabFramebuffer()
        places = (
            (x, y) for x in range(0, picture.width(), 4) for y in range(0, picture.height(), 4)
        )
        return np.array([picture.pixelColor(x, y).red() for x, y in places], float)

    canvas.frameSwapped.connect(lambda: moved.append(turning.moving))
    drag(canvas, LEFT, 60, 20)
    assert camera.angles != before[0]
    assert any(moved), "while the button is down"
    assert not turning.moving, "and not once it is up"
    full = grabbed()
    turning._move()
    coarse = grabbed()
    assert 0 < np.abs(coarse - full).mean() < 0.05 * full.max(), "the same picture, less sharp"
    QTest.qWait(REST_MS + 100)
    assert not turning.moving
    np.testing.assert_array_equal(grabbed(), full)
    wheel(canvas)
    assert turning.moving
    turning.settle()
    camera.angles, camera.zoom = before


def test_a_drag_ends_with_the_brain_that_it_began_on(four):
    marks, model = four.marks, four.view("Axial").model
    marks.restore(None)
    start = tuple(four.viewer.dims.point)
    end = list(start)
    end[model.dims.order[1]] += 30
    event = SimpleNamespace(button=1, modifiers=(), handled=False)

    def went_on(place):
        event.type, event.position = "mouse_move", tuple(place)
        return next(drawing, "ended") is None

    def press(place):
        event.type, event.position = "mouse_press", tuple(place)
        drawn = marks.draw(model, event)
        next(drawn)
        return drawn

    marks.set_whose("A", "A 1")
    marks.take("length")
    drawing = press(start)
    assert went_on(end)
    marks.set_whose("B", "B 1")
    assert not went_on(start)
    assert [mark.whose for mark in marks._marks] == ["A 1"]
    marks.set_whose("A", "A 1")
    marks.take("length")
    drawing = press(marks.shown[0].end)
    marks.delete()
    assert not went_on(start)
    assert not marks._marks
