"""Window and level, zoom and pan, by the mouse on the real canvases."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from view_helpers import AFFINE, FLAT, drag, native, phantom, wheel

from napari_stylegan3d.views.captions import Provenance
from napari_stylegan3d.views.display import upright

RIGHT, MIDDLE = Qt.MouseButton.RightButton, Qt.MouseButton.MiddleButton


@pytest.mark.parametrize("name", FLAT)
def test_the_right_button_sets_window_and_level_in_every_view(four, stage, name):
    drag(native(four, name), RIGHT, 90, 0)
    low, high = stage.layer.contrast_limits
    assert high - low == pytest.approx(1.3, abs=0.02)
    assert (high + low) / 2 == pytest.approx(0.5, abs=0.02)
    drag(native(four, name), RIGHT, 0, -60)
    low, high = stage.layer.contrast_limits
    assert (high + low) / 2 == pytest.approx(0.7, abs=0.02)
    assert four.readout.levels.text() == "W/L 1.30 / 0.70"
    assert four.readout.white.value() == pytest.approx(high, abs=0.01)
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
    assert tuple(stage.layer.contrast_limits) == pytest.approx((-0.25, 0.25), abs=0.01)
    assert four.readout.levels.text() == "± 0.25"
    assert four.view("3D").bar.legend.limit == pytest.approx(0.25, abs=0.01)
    stage.show(upright(phantom(), AFFINE), Provenance("generated"))
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


@pytest.mark.parametrize("name", FLAT)
def test_the_middle_button_pans_what_is_under_it_along(four, name):
    view = four.view(name)
    before = view.crosshair.position_px()
    drag(native(four, name), MIDDLE, 40, -25)
    after = view.crosshair.position_px()
    assert np.subtract(after, before) == pytest.approx((40, -25), abs=0.5)


def test_planes_pan_together(four):
    before = four.view("Sagittal").crosshair.position_px()
    drag(native(four, "Coronal"), MIDDLE, 0, 30)
    moved = np.subtract(four.view("Sagittal").crosshair.position_px(), before)
    assert moved == pytest.approx((0, 30), abs=0.5), "down is down in both"


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
