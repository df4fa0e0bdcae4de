"""How the picture is looked at, where no window is needed."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from qtpy.QtCore import QRectF
from tolerances import DOUBLE, FLOAT32
from view_helpers import AFFINE, RIGHT_BLOCK, center_of, phantom

from napari_stylegan3d.views.canvases import LinkedCameras
from napari_stylegan3d.views.display import (
    AXIAL,
    CORONAL,
    PLANES,
    SAGITTAL,
    Facing,
    orient_volume,
    upright,
)
from napari_stylegan3d.views.glass import axes_on_screen, ticks
from napari_stylegan3d.views.layers import ColorScale
from napari_stylegan3d.views.look import Cut, ViewLook
from napari_stylegan3d.views.marks import Mark, figures_of
from napari_stylegan3d.views.slices import SliceCell, best_grid, positions, slice_image
from napari_stylegan3d.views.stage import WHITE_LIMITS, Levels, faceless
from napari_stylegan3d.widgets.controls import Links

SCAN = (0.0, 700.0)
DIFFERENCE = (-0.5, 0.5)


def test_a_drag_to_the_right_widens_and_upwards_raises_the_level():
    wider = Levels().dragged(150, 0)
    assert (wider.width, wider.level) == (pytest.approx(1.5), pytest.approx(0.5))
    higher = Levels().dragged(0, 30)
    assert (higher.width, higher.level) == (pytest.approx(1.0), pytest.approx(0.6))


def test_levels_are_shares_of_what_is_usual():
    levels = Levels(0.1, 0.6)
    assert levels.limits(SCAN) == (pytest.approx(70), pytest.approx(420))
    back = Levels.of(levels.limits(SCAN), SCAN)
    assert (back.black, back.white) == (pytest.approx(0.1), pytest.approx(0.6))


def test_the_middle_of_a_difference_stays_no_difference():
    levels = Levels().widened(300)
    assert levels.limits(DIFFERENCE) == (-1.0, 1.0)
    assert Levels.of((-0.2, 0.2), DIFFERENCE).white == pytest.approx(0.4)


@pytest.mark.parametrize("drag", [(-9000, 0), (9000, 0), (0, 9000), (0, -9000), (-9000, -9000)])
def test_no_drag_leaves_what_can_be_shown(drag):
    levels = Levels().dragged(*drag)
    assert WHITE_LIMITS[0] <= levels.white <= WHITE_LIMITS[1]
    assert levels.width > 0


def test_a_look_is_remembered_as_plain_data():
    look = ViewLook(layout="lightbox", surface=0.5, cuts=(Cut(True, 12.0, False), Cut(), Cut()))
    assert ViewLook.from_dict(look.as_dict()) == look


@pytest.mark.parametrize(
    "wrong",
    [
        {"layout": "five"},
        {"surface": 7.0},
        {"surface": "much"},
        {"linked": "yes"},
        {"cuts": [[True, 0.0, True]]},
        {"cuts": [[True, 9e9, True]] * 3},
        {"spacing_mm": None},
        {"unknown": 1},
    ],
)
def test_what_makes_no_sense_is_as_usual(wrong):
    assert ViewLook.from_dict({**ViewLook().as_dict(), **wrong}) == ViewLook()


def test_slices_lie_evenly_about_the_middle():
    assert positions(-10, 30, 10) == [-5, 5, 15, 25]
    assert positions(0, 3, 10) == [1.5]


def test_cells_become_as_large_as_there_is_room():
    assert best_grid(12, 1.0, 400, 300) == (3, 4)
    assert best_grid(12, 1.0, 1200, 100) == (1, 12)
    assert best_grid(1, 2.0, 10, 10) == (1, 1)


def volume_viewer() -> ViewerModel:
    viewer = ViewerModel()
    viewer.add_image(np.zeros((8, 8, 8)), translate=(-4, -4, -4))
    orient_volume(viewer)
    return viewer


def test_the_cube_looks_at_the_patient_from_the_front():
    viewer = volume_viewer()
    viewer.scene.camera.angles = (0.0, 0.0, 0.0)
    right, front, top = axes_on_screen(viewer).T
    np.testing.assert_allclose(right, (-1, 0, 0), atol=DOUBLE, err_msg="right is on the left")
    np.testing.assert_allclose(front, (0, 0, 1), atol=DOUBLE, err_msg="the face is towards us")
    np.testing.assert_allclose(top, (0, 1, 0), atol=DOUBLE)


@pytest.mark.parametrize("angles", [(10.0, -30.0, -15.0), (0, 90, 0), (80, 20, 130)])
def test_the_cube_turns_as_naparis_camera_does(angles):
    viewer = volume_viewer()
    camera = viewer.scene.camera
    camera.angles = angles
    displayed = list(viewer.dims.displayed)
    _, up, towards = axes_on_screen(viewer)[:, displayed]
    np.testing.assert_allclose(up, camera.up_direction, atol=DOUBLE)
    np.testing.assert_allclose(-towards, camera.view_direction, atol=DOUBLE)


def test_the_colour_bar_tells_the_ends_and_the_threshold():
    texts = [text for _, text in ticks(ColorScale("Change", "", 0.2, 0.08))]
    assert texts == ["-0.2", "-0.08", "+0.08", "+0.2"]
    places = [place for place, _ in ticks(ColorScale("Change", "", 0.2, 0.08))]
    assert places == pytest.approx([0, 0.3, 0.7, 1])
    near = [text for _, text in ticks(ColorScale("Change", "", 0.2, 0.01))]
    assert near == ["-0.2", "0", "+0.2"], "numbers must not be written over each other"


def flat_viewers() -> list[tuple]:
    pairs = []
    for plane in (AXIAL, SAGITTAL, CORONAL):
        model = ViewerModel()
        model.add_image(np.zeros((8, 8, 8)))
        model.dims.order = plane.order
        pairs.append((plane, model))
    return pairs


def test_planes_zoom_and_pan_together_about_one_point_of_the_head():
    pairs = flat_viewers()
    links = Links()
    cameras = LinkedCameras(pairs, links)
    axial, sagittal, coronal = (model.scene.camera for _, model in pairs)
    axial.zoom = 3.0
    assert sagittal.zoom == coronal.zoom == 3.0
    axial.center = (0.0, 5.0, 2.0)  # 5 mm to the front, 2 to the right
    assert sagittal.center[-1] == 5.0, "its columns run to the front"
    assert coronal.center[-1] == 2.0, "its columns run to the right"
    assert sagittal.center[-2] == coronal.center[-2]
    coronal.center = (0.0, 7.0, 2.0)
    assert sagittal.center[-2] == 7.0, "up is up in both"
    cameras.set_linked(False)
    axial.zoom = 1.0
    assert sagittal.zoom == 3.0
    cameras.set_linked(True)
    assert sagittal.zoom == coronal.zoom == 1.0
    links.close()
    axial.zoom = 2.0
    assert sagittal.zoom == 1.0


BOX = np.array([[-10.0, -20.0, -30.0], [30.0, 40.0, 50.0]])
ON = QRectF(100, 50, 200, 300)


@pytest.mark.parametrize("convention", ["radiological", "neurological"])
@pytest.mark.parametrize("plane", PLANES.values(), ids=lambda plane: plane.name)
def test_a_pixel_of_a_slice_is_the_point_that_is_drawn_there(plane, convention):
    cell = SliceCell(plane, Facing(convention), BOX)
    point = np.array([3.0, 7.0, 11.0])
    at = cell.rectangle(point, point, ON).topLeft()
    across, up = cell.point_mm(at.x(), at.y(), ON)
    _, rows, columns = plane.order
    assert (across, up) == (pytest.approx(point[columns]), pytest.approx(point[rows]))


@pytest.mark.parametrize(
    ("name", "convention", "expected"),
    [
        ("Axial", "radiological", (0, 0)),  # front right of the patient: top left
        ("Axial", "neurological", (5, 0)),
        ("Coronal", "radiological", (0, 6)),  # right, not at the top
        ("Sagittal", "radiological", (0, 6)),
    ],
)
def test_a_slice_is_drawn_the_way_round_it_is_lettered(name, convention, expected):
    data = np.zeros((6, 5, 7), np.float32)
    data[5, 4, 0] = 1.0  # to the right, in front, below
    layer = Image(data, contrast_limits=(0, 1))
    cell = SliceCell(PLANES[name], Facing(convention), BOX)
    index = {"Axial": 0, "Coronal": 4, "Sagittal": 5}[name]
    image = slice_image(layer, cell, index)
    bright = [
        (x, y)
        for x in range(image.width())
        for y in range(image.height())
        if image.pixelColor(x, y).red() > 200
    ]
    assert bright == [expected]


def test_labels_keep_their_colours_in_a_slice():
    data = np.zeros((4, 4, 4), np.uint8)
    data[1, 1, 1], data[2, 2, 1] = 3, 9
    layer = Labels(data)
    image = slice_image(layer, SliceCell(AXIAL, Facing("neurological"), BOX), 1)
    expected = (255 * np.asarray(layer.get_color(3))[:3]).round()
    color = image.pixelColor(1, 2)
    # Grey levels, rounded twice.
    np.testing.assert_allclose((color.red(), color.green(), color.blue()), expected, atol=1)
    assert image.pixelColor(0, 0).alpha() == 0


@pytest.fixture(scope="module")
def layer():
    shown = upright(phantom(), AFFINE)
    return Image(shown.data, scale=shown.scale, translate=shown.translate)


def test_a_rectangle_over_the_block_holds_its_brightness(layer):
    x, y, z = center_of(RIGHT_BLOCK)
    inside = Mark("rectangle", 2, (x - 4, y - 8, z), (x + 4, y + 8, z))
    found = figures_of(inside, layer)
    assert (found.mean, found.sd) == pytest.approx((1.0, 0.0), abs=FLOAT32)
    assert found.area_mm2 == pytest.approx(8 * 16)
    wide = Mark("rectangle", 2, (x - 30, y - 8, z), (x + 4, y + 8, z))
    assert figures_of(wide, layer).sd > 0.2
    assert figures_of(Mark("ellipse", 2, (500, 0, z), (520, 9, z)), layer) is None


def test_an_ellipse_and_a_sphere_have_their_true_size(layer):
    x, y, z = center_of(RIGHT_BLOCK)
    ellipse = Mark("ellipse", 1, (x - 12, y, z - 20), (x + 12, y, z + 20))
    found = figures_of(ellipse, layer)
    assert found.area_mm2 == pytest.approx(np.pi * 12 * 20)
    # Voxels on the edge of a small ellipse.
    assert found.voxels * 3 * 4 == pytest.approx(found.area_mm2, rel=0.1)
    ball = figures_of(Mark("sphere", 2, (0, 0, 0), (0, 24, 0)), layer)
    assert ball.volume_ml == pytest.approx(4 / 3 * np.pi * 24**3 / 1000)
    # Voxels on the edge of a ball.
    assert ball.voxels * 3 * 2 * 4 / 1000 == pytest.approx(ball.volume_ml, rel=0.05)


def test_a_head_loses_its_face_and_a_brain_nothing():
    x, y, z = np.meshgrid(*(np.arange(-110, 111, 4.0),) * 3, indexing="ij")
    head = ((x / 75) ** 2 + (y / 100) ** 2 + (z / 105) ** 2 < 1).astype(np.float32)
    place = (4.0, 4.0, 4.0), (-110.0, -110.0, -110.0)
    shown = faceless(head, *place, 1.0)
    gone = (head > 0) & (shown == 0)
    assert gone[(np.abs(x) < 20) & (y > 60) & (np.abs(z + 50) < 10)].any(), "mouth and nose"
    assert not gone[(z > 8) | (y < 0)].any(), "neither the forehead nor the back"
    brain = ((x / 65) ** 2 + (y / 85) ** 2 + (z / 65) ** 2 < 1).astype(np.float32)
    assert faceless(brain, *place, 1.0) is brain
