"""One view, the lightbox, and the ways the 3D view is drawn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPainter
from qtpy.QtTest import QTest
from view_helpers import AFFINE, phantom

from napari_stylegan3d.views.canvases import head_box
from napari_stylegan3d.views.display import VOLUME_ORDER, upright
from napari_stylegan3d.views.look import ViewLook
from stylegan3d.session.provenance import Provenance


def visible(four) -> list[str]:
    return [view.name for view in four.views if view.canvas.isVisible()]


def test_layouts_show_what_they_say(four, qtbot):
    four.looks.change(layout="one", alone="Sagittal")
    assert visible(four) == ["Sagittal"]
    four.looks.change(layout="lightbox")
    assert visible(four) == []
    assert four.lightbox.isVisible()
    four.lightbox.back.click()
    assert visible(four) == ["Axial", "Sagittal", "Coronal", "3D"]
    assert not four.lightbox.isVisible()


def test_signs_can_be_left_out(four):
    four.looks.change(letters=False, scale_bar=False, crosshair=False)
    view = four.view("Coronal")
    few = ink(view.labels)
    assert few["caption"] > 100, "what is synthetic always says so"
    assert few["letter"] == few["scale bar"] == 0
    assert not view.crosshair.shown
    four.looks.set(ViewLook())
    usual = ink(view.labels)
    assert min(usual.values()) > 20
    four.looks.change(letters=False)
    assert ink(view.labels)["scale bar"] == usual["scale bar"]


def opacity(labels) -> np.ndarray:
    """(rows, columns) of what is written on a view, as in saved pictures."""
    image = QImage(labels.size(), QImage.Format.Format_Alpha8)
    image.fill(0)
    painter = QPainter(image)
    labels.paint(painter)
    painter.end()
    bits = image.constBits()
    if hasattr(bits, "setsize"):
        bits.setsize(image.sizeInBytes())
    rows = np.frombuffer(bits, np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : image.width()].copy()


def ink(labels) -> dict[str, int]:
    """Pixels that are written on, by what stands there."""
    alpha = opacity(labels)
    height, width = alpha.shape
    parts = {
        "caption": alpha[height - 50 :, : width // 4],
        "letter": alpha[: height // 4, width // 2 - 20 : width // 2 + 20],
        "scale bar": alpha[height - 50 :, width * 3 // 4 :],
    }
    return {name: int(np.count_nonzero(part)) for name, part in parts.items()}


@pytest.mark.parametrize(("zoom", "length_mm"), [(2.0, 50), (20.0, 10)])
def test_the_scale_bar_is_as_long_as_it_says(four, qtbot, zoom, length_mm):
    labels = four.view("Axial").labels
    labels.model.scene.camera.zoom = zoom
    alpha = opacity(labels)
    line = np.flatnonzero(alpha[-15, alpha.shape[1] // 2 :] > 220)
    assert labels.scale_mm == length_mm
    # Pixels: the ends of the line are blurred.
    assert line[-1] - line[0] == pytest.approx(length_mm * zoom, abs=5)


@pytest.fixture
def films(four, qtbot):
    four.looks.change(layout="lightbox", lightbox_plane="Axial", spacing_mm=8.0, crosshair=False)
    qtbot.wait(50)
    return four.lightbox.films


def brightness(films) -> list[float]:
    """Of each slice, as it is drawn."""
    image = films.grab().toImage().convertToFormat(image_format())
    bits = image.constBits()
    if hasattr(bits, "setsize"):  # PyQt6; PySide6 gives a memoryview
        bits.setsize(image.sizeInBytes())
    grey = np.frombuffer(bits, np.uint8).reshape(image.height(), image.bytesPerLine())
    return [
        float(grey[int(on.top()) + 12 : int(on.bottom()), int(on.left()) : int(on.right())].mean())
        for _, on in films.cells()
    ]


def image_format():
    from qtpy.QtGui import QImage

    return QImage.Format.Format_Grayscale8


def test_the_lightbox_follows_the_volume_and_the_window(four, stage, films):
    before = brightness(films)
    stage.show(upright(0.3 * phantom(), AFFINE), Provenance("generated"))
    darker = brightness(films)
    assert sum(before) > 1.5 * sum(darker)
    four.readout.white.setValue(0.5)
    assert sum(brightness(films)) > 1.3 * sum(darker)


def test_slices_are_as_far_apart_as_is_asked(four, films):
    places = [place for place, _ in films.cells()]
    assert np.diff(places) == pytest.approx(8.0)
    four.lightbox.spacing.setValue(16)
    assert np.diff([place for place, _ in films.cells()]) == pytest.approx(16.0)
    four.lightbox.plane.setCurrentIndex(four.lightbox.plane.findData("Sagittal"))
    four.lightbox.plane.activated.emit(four.lightbox.plane.currentIndex())
    assert films.plane.name == "Sagittal"


def test_a_click_on_a_slice_goes_there_the_right_way_round(four, films):
    place, on = films.cells()[3]
    quarter = on.left() + on.width() / 4, on.top() + on.height() / 4
    at = films.rect().topLeft()
    at.setX(round(quarter[0]))
    at.setY(round(quarter[1]))
    QTest.mouseClick(films, Qt.MouseButton.LeftButton, pos=at)
    right, front, up = four.viewer.dims.point
    middle = np.mean([(low, high) for low, high, _ in four.viewer.dims.range], axis=1)
    assert up == pytest.approx(place, abs=2.1)  # mm: half a slice
    assert right > middle[0], "left in the picture is the patient's right"
    assert front > middle[1], "the front is at the top"
    QTest.mouseDClick(films, Qt.MouseButton.LeftButton, pos=at)
    assert four.looks.look.layout == "four"


def test_a_cut_is_handed_to_naparis_planes_in_the_order_of_the_screen(four):
    for axis, upper in itertools.product((0, 1, 2), (True, False)):
        look = ViewLook().with_cut(axis, on=True, position_mm=8.0, upper=upper)
        four.looks.set(look)
        four.view("3D").follower.settle()
        copy = four.view("3D").model.layers[0]
        (plane,) = copy.experimental_clipping_planes
        row = VOLUME_ORDER.index(axis)
        expected = np.zeros(3)
        expected[row] = -1 if upper else 1
        np.testing.assert_allclose(plane.normal, expected, err_msg="what is kept is on this side")
        middle = np.mean([(low, high) for low, high, _ in four.viewer.dims.range], axis=1)
        middle[axis] += 8.0
        index = (middle - AFFINE[:3, 3]) / np.diag(AFFINE)[:3]
        # Voxels: the range's middle lies at a voxel's middle or edge.
        assert plane.position[row] == pytest.approx(index[axis], abs=1.0)
    four.looks.set(ViewLook())
    four.view("3D").follower.settle()
    assert not len(copy.experimental_clipping_planes)


@pytest.fixture
def small(four):
    """A small window: drawing the 3D view in software takes long."""
    window = four.window()
    size = window.size()
    window.resize(size * 0.6)
    QTest.qWait(100)
    yield
    window.resize(size)
    QTest.qWait(100)


def test_renderings_draw_something_else(four, small, qtbot):
    def image() -> np.ndarray:
        four.view("3D").follower.settle()
        qtbot.wait(50)
        return four.view("3D").canvas.screenshot(flash=False)[..., :3].astype(int)

    usual = image()
    for rendering in ("mip", "iso", "volume"):
        four.looks.change(rendering=rendering)
        now = image()
        assert four.view("3D").model.layers[0].rendering != "attenuated_mip"
        assert now.std() > 3
        assert np.abs(now - usual).mean() > 1
    four.looks.set(ViewLook())
    np.testing.assert_allclose(image(), usual, atol=3)  # grey levels: graphics round colours


def test_the_surface_lies_where_it_is_asked(four, stage):
    four.window().setUpdatesEnabled(False)
    four.looks.change(rendering="iso", surface=0.5)
    four.view("3D").follower.settle()
    copy = four.view("3D").model.layers[0]
    assert copy.iso_threshold == pytest.approx(0.5)
    stage.set_white(0.5)
    four.view("3D").follower.settle()
    assert copy.iso_threshold == pytest.approx(0.25), "a fraction of white"


def test_the_head_stays_whole_when_the_window_changes_its_size(four):
    def edges() -> dict[str, float]:
        """Share of each plane, from its middle to an edge, that the head takes."""
        box, taken = head_box(four.viewer), {}
        for view in four.views[:3]:
            _, rows, columns = view.plane.order
            width, height = view.labels.width(), view.labels.height()
            ends = [view.labels.to_px(corner[rows], corner[columns]) for corner in box]
            taken[view.name] = max(
                max(abs(2 * end.x() / width - 1), abs(2 * end.y() / height - 1)) for end in ends
            )
        return taken

    window, before = four.window(), edges()
    size = window.size()
    try:
        window.resize(size * 0.6)
        QTest.qWait(100)
        assert window.height() < 0.8 * size.height()
        assert max(edges().values()) < 1
        assert max(edges().values()) > 0.5, "and it is not small"
    finally:
        window.resize(size)
        QTest.qWait(100)
    assert edges() == pytest.approx(before, abs=0.05)  # whole pixels of a small window


def test_a_head_loses_its_face_in_planes_and_3d_and_the_scan_keeps_it(four, stage):
    x, y, z = np.meshgrid(*(np.arange(-112, 113, 8.0),) * 3, indexing="ij")
    head = ((x / 75) ** 2 + (y / 100) ** 2 + (z / 105) ** 2 < 1).astype(np.float32)
    affine = np.diag([8.0, 8.0, 8.0, 1.0])
    affine[:3, 3] = -112
    volume = upright(head.copy(), affine)
    stage.show(volume, Provenance("scan", "sub-01"))
    QTest.qWait(50)  # a new grid: the views are reset
    four.viewer.dims.point = (0.0, 80.0, -48.0)

    def pictures() -> dict[str, np.ndarray]:
        four.view("3D").follower.settle()
        QTest.qWait(50)
        return {view.name: view.canvas.screenshot(flash=False)[..., :3] for view in four.views}

    whole = pictures()
    four.looks.change(deface=True)
    cut = pictures()
    for view in four.views:
        assert (whole[view.name] != cut[view.name]).any(), view.name
        assert not np.array_equal(view.model.layers[0].data, head), view.name
    np.testing.assert_array_equal(volume.data, head, "files are written from it")
    four.looks.change(deface=False)
    np.testing.assert_array_equal(stage.layer.data, head)
