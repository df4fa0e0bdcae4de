"""What lies over the picture: overlays and a person's own segmentations, in all views."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from napari.layers import Image, Labels, Surface, Vectors
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from scipy.ndimage import maximum_filter, minimum_filter
from view_helpers import AFFINE, FLAT, RIGHT_BLOCK, center_of, drag, native, phantom

from napari_stylegan3d.core.change_maps import SurfaceMap, show_movement
from napari_stylegan3d.views.display import OVERLAY, VOLUME_ORDER, DisplayArray, upright
from napari_stylegan3d.views.four import NAMED_PX
from napari_stylegan3d.views.layers import Field
from napari_stylegan3d.views.look import ViewLook
from napari_stylegan3d.views.navigation import nearest_voxel
from napari_stylegan3d.widgets.controls import Links, scaled
from stylegan3d.geometry.space import Space
from stylegan3d.render.movement import Movement

UNPAINTED = True
KWARGS = upright(phantom(), AFFINE).layer_kwargs()


@pytest.fixture
def labels(four) -> Labels:
    data = np.zeros(phantom().shape, np.uint8)
    data[RIGHT_BLOCK] = 3
    layer = Labels(data, **KWARGS)
    four.viewer.layers.append(layer)
    four.viewer.dims.point = center_of(RIGHT_BLOCK)
    four.view("3D").follower.settle()
    return layer


def copies(four) -> list[Labels]:
    return [view.model.layers[-1] for view in four.views[1:]]


def shown(view) -> np.ndarray:
    """Numbers of the labels that are seen in a follower's slice."""
    layer = view.model.layers[-1]
    axis = view.plane.order[0]
    index = round(layer.world_to_data(view.model.dims.point)[axis])
    return np.unique(np.take(layer.data, index, axis))


def test_labels_are_in_all_views_in_their_colours(four, labels):
    for copy in copies(four):
        assert isinstance(copy, Labels)
        assert copy.visible
        np.testing.assert_allclose(copy.get_color(3), labels.get_color(3))
        assert np.shares_memory(copy.data, labels.data)
    labels.colormap = {0: "transparent", 3: "red", None: "blue"}
    for copy in copies(four):
        np.testing.assert_allclose(copy.get_color(3), (1, 0, 0, 1))


def test_labels_are_drawn(four, labels, qtbot):
    labels.colormap = {0: "transparent", 3: "red", None: "blue"}
    four.view("3D").follower.settle()
    qtbot.wait(100)
    for name in ("Coronal", "3D"):
        image = four.view(name).canvas.screenshot(flash=False)[..., :3].astype(int)
        reddish = image[..., 0] - image[..., 1:].max(axis=-1)
        assert (reddish > 60).sum() > 50, name


def test_a_stroke_and_its_undoing_reach_the_other_views(four, labels, qtbot):
    labels.mode, labels.brush_size, labels.selected_label = "paint", 6, 7
    labels.n_edit_dimensions = 3
    four.viewer.layers.selection.active = labels
    four.viewer.dims.point = center_of((slice(4, 5), slice(10, 11), slice(5, 6)))
    drawn = []
    for view in four.views[1:]:
        view.model.layers[-1].events.set_data.connect(lambda _, name=view.name: drawn.append(name))
    canvas = native(four, "Axial")
    drag(canvas, Qt.MouseButton.LeftButton, 20, 0)
    assert (labels.data == 7).sum() > 5, "nothing was painted"
    assert {"Sagittal", "Coronal"} <= set(drawn)
    qtbot.waitUntil(lambda: "3D" in drawn, timeout=5000)
    drawn.clear()
    labels.undo()
    assert not (labels.data == 7).any()
    assert {"Sagittal", "Coronal"} <= set(drawn)
    qtbot.waitUntil(lambda: "3D" in drawn, timeout=5000)


def test_the_readout_names_the_label_and_the_difference(four, stage, labels):
    assert four.readout.intensity.text() == "Intensity 1 · label 3"
    stage.overlay.show(upright(0.3 * phantom(), AFFINE), "Change", "of white", 0.5)
    four.refresh()
    assert four.readout.intensity.text() == "Intensity 1 · label 3 · Δ +0.3"
    letters = four.readout.intensity.fontMetrics()
    assert letters.horizontalAdvance(" · White matter") <= scaled(NAMED_PX)


def test_an_overlay_is_in_the_planes_with_its_colour_bar(four, stage, qtbot):
    before = {name: four.view(name).canvas.screenshot(flash=False)[..., :3] for name in FLAT}
    stage.overlay.show(upright(0.4 * phantom(), AFFINE), "Change", "of white", 0.5)
    qtbot.wait(50)
    for name in FLAT:
        after = four.view(name).canvas.screenshot(flash=False)[..., :3].astype(int)
        orange = after[..., 0] - after[..., 2]
        assert (orange > 60).sum() > 500, name
        assert np.abs(after - before[name]).max() > 60
    assert len(four.view("3D").model.layers) == 1, "it would hide the brain"
    bars = {view.name: view.bar.legend for view in four.views}
    assert bars["3D"] is None, "it has no colours"
    assert bars["Axial"].label == "Change"
    four.looks.change(rendering="iso")
    assert four.view("3D").bar.legend.label == "Change", "on the surface"
    four.looks.change(layout="one", alone="Axial")
    assert four.view("Axial").bar.legend == stage.overlay.legend
    stage.overlay.hide()
    assert all(view.bar.legend is None for view in four.views)


def test_what_is_drawn_on_a_finer_grid_leaves_the_crosshair_in_its_voxel(four, stage, qtbot):
    four.viewer.dims.point = point = nearest_voxel(four.viewer, center_of(RIGHT_BLOCK))
    fine = Image(
        np.zeros([2 * n for n in phantom().shape], np.float32),
        scale=np.divide(stage.layer.scale, 2),
        translate=np.subtract(stage.layer.translate, np.divide(stage.layer.scale, 4)),
        units=("mm",) * 3,
        axis_labels=("x", "y", "z"),
        metadata={OVERLAY: True},
    )
    stage_point = np.round(stage.layer.world_to_data(point))
    four.viewer.layers.append(fine)
    qtbot.wait(50)
    np.testing.assert_array_equal(
        np.round(stage.layer.world_to_data(four.viewer.dims.point)), stage_point
    )


@pytest.mark.parametrize("name", ["Sagittal", pytest.param("Coronal", marks=pytest.mark.soak)])
def test_a_brush_paints_in_every_plane_and_its_stroke_is_the_layers_own(four, labels, qtbot, name):
    four.viewer.layers.selection.active = labels
    labels.mode, labels.brush_size, labels.selected_label = "paint", 4, 7
    labels.n_edit_dimensions = 3
    before, point = labels.data.copy(), four.viewer.dims.point
    drag(native(four, name), Qt.MouseButton.LeftButton, 20, 0)
    qtbot.wait(20)
    painted = np.argwhere(labels.data == 7)
    assert len(painted) > 5, "nothing was painted"
    assert four.viewer.dims.point == point, "the brush leaves the crosshair alone"
    axis = four.view(name).plane.order[0]
    at = labels.world_to_data(point)[axis]
    assert abs(painted[:, axis].mean() - at) < 1, "the ball lies in the plane of that view"
    labels.undo()
    np.testing.assert_array_equal(labels.data, before)
    labels.redo()
    assert len(np.argwhere(labels.data == 7)) == len(painted)
    labels.mode = "pan_zoom"
    drag(native(four, name), Qt.MouseButton.LeftButton, 10, 0)
    assert four.viewer.dims.point != point, "the mouse moves the crosshair again"


def test_a_region_filled_in_another_plane_is_the_layers_own_too(four, labels, qtbot):
    before = labels.data.copy()
    copy = four.view("Coronal").model.layers[-1]
    copy.n_edit_dimensions = 3
    copy.fill(tuple(block.start for block in RIGHT_BLOCK), 9)
    qtbot.waitUntil(lambda: (labels.data == 9).sum() == (before == 3).sum())
    qtbot.wait(20)
    labels.undo()
    np.testing.assert_array_equal(labels.data, before)


def test_tools_chosen_in_one_view_are_those_of_all(four, labels):
    four.viewer.layers.selection.active = labels
    copy = four.view("Coronal").model.layers[-1]
    copy.mode = "erase"
    copy.brush_size = 5
    for view in four.views[:3]:
        layer = view.model.layers[-1]
        assert (str(layer.mode), layer.brush_size) == ("erase", 5)
    labels.mode = "transform"
    assert str(copy.mode) == "pan_zoom", "a copy that is moved would lie elsewhere"


def test_a_label_map_elsewhere_moves_neither_crosshair_nor_camera(four, stage):
    four.viewer.dims.point = four.viewer.dims.point
    point, zoom = four.viewer.dims.point, four.view("Axial").model.scene.camera.zoom
    far = four.viewer.add_labels(
        np.ones((9, 9, 9), np.uint8), scale=(2, 2, 2), translate=(300, 300, 300), units=("mm",) * 3
    )
    QTest.qWait(50)
    assert four.viewer.dims.point == pytest.approx(point)
    assert four.view("Axial").model.scene.camera.zoom == zoom
    four.viewer.layers.remove(far)


def test_drawings_and_surfaces_are_in_all_views_as_they_are_drawn(four, stage):
    """Several corners each, and in two dimensions: no array says what they are."""
    corners = np.array([[0, 0], [0, 50], [50, 50.0]])
    flat = four.viewer.add_shapes([corners], shape_type="polygon")
    four.viewer.add_surface((np.eye(3), np.array([[0, 1, 2]])))
    flat.add(np.array([[5, 5], [9, 9.0]]), shape_type="line", edge_color="red")
    for view in four.views[1:]:
        view.follower.settle()
        _, drawn, surface = view.model.layers
        assert isinstance(surface, Surface)
        assert drawn.shape_type == ["polygon", "line"]
        np.testing.assert_allclose(drawn.edge_color[1], (1, 0, 0, 1))


def test_layers_without_a_unit_raise_no_warning(four, stage):
    plain = four.viewer.add_image(np.zeros((9, 9, 9), np.float32), visible=False)
    assert {str(unit) for unit in plain.units} == {"millimeter"}
    assert four.viewer.layers.extent.units is not None, "napari warns where there is none"


def test_a_difference_colours_the_surface_of_the_3d_view(four, stage):
    """The surface lies where the picture does, blue where there is less; arrows stand on it."""
    model, arrows = four.view("3D").model, np.zeros((3, *stage.layer.data.shape), np.float32)
    arrows[0] = 2.0
    picture = stage.layer
    change = np.zeros(picture.data.shape, np.float32)
    middle = change.shape[0] // 2
    change[:middle], change[middle:] = -1, 1
    affine = np.diag([*picture.scale, 1.0])
    affine[:3, 3] = picture.translate
    place = tuple(picture.scale), tuple(picture.translate)
    links = Links()
    SurfaceMap(stage, four, four, links)
    try:
        stage.overlay.show(DisplayArray(change, *place), "Change", "%", 1.0, Field(arrows, affine))
        assert [layer for layer in model.layers if isinstance(layer, Surface)] == []
        four.looks.change(rendering="iso")
        for _ in range(1000):
            if any(isinstance(layer, Vectors) for layer in model.layers):
                break
            QTest.qWait(20)
        (surface,) = [layer for layer in model.layers if isinstance(layer, Surface)]
        copy = model.layers[0]
        assert not copy.visible
        back = np.empty_like(surface.vertices)
        back[:, VOLUME_ORDER] = surface.vertices
        index = (back - picture.translate) / picture.scale
        low, high = picture.contrast_limits
        level = low + ViewLook().surface * (high - low)
        at = tuple(np.rint(index).astype(int).T)
        assert (minimum_filter(picture.data, 3)[at] < level).all()
        assert (maximum_filter(picture.data, 3)[at] > level).all()
        right = index[:, 0] > middle + 3
        left = index[:, 0] < middle - 3
        colors = surface.vertex_colors
        assert (colors[right, 0] > colors[right, 2]).all()
        assert (colors[left, 2] > colors[left, 0]).all()
        stage.overlay.hide()
        assert not any(isinstance(layer, Surface | Vectors) for layer in model.layers)
        assert copy.visible
    finally:
        links.close()
        four.looks.change(rendering="attenuated_mip")


def test_movement_is_that_of_the_brain_and_not_of_what_a_spline_leaves_around_it():
    space = Space((20, 20, 20), np.diag([2.0, 2.0, 2.0, 1.0]))
    ball = np.linalg.norm(np.indices(space.shape) - 10, axis=0) < 6
    volume = np.where(ball, 0.7, np.where(np.indices(space.shape)[0] % 2, 0.01, -0.01))
    volume[10, 10, 10] = 0  # dark fluid
    moved = np.ones((3, *space.shape), np.float32) * np.linspace(1, 4, 20, dtype=np.float32)
    seen = []
    overlay = SimpleNamespace(show=lambda *shown: seen.append(shown))
    assert "Tissue gains" in show_movement(overlay, Movement(moved, 0 * moved[0], space), volume)
    field = seen[0][-1]
    assert np.array_equal(field.moved.any(axis=0), ball)
