"""The four views: what they hold, which way round, and what the mouse does."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from view_helpers import AFFINE, FLAT, RIGHT_BLOCK, center_of, phantom, wheel

from napari_stylegan3d.views.display import upright
from napari_stylegan3d.views.four import FourViews
from stylegan3d.session.provenance import Provenance


def grey(views: FourViews, name: str) -> np.ndarray:
    return views.view(name).canvas.screenshot(flash=False)[..., :3].mean(axis=-1)


def bright_center(views: FourViews, name: str, at_mm: tuple[float, float, float]) -> float:
    """Column of the brightest grey pixels, from -1 (left edge) to 1, with the labels hidden."""
    view = views.view(name)
    view.labels.tell(provenance=None)
    views.viewer.dims.point = at_mm
    image = grey(views, name)
    columns = np.nonzero(image > 0.95 * image.max())[1]
    return 2 * columns.mean() / image.shape[1] - 1


def test_all_views_share_the_volume_without_copies(four):
    main = four.viewer.layers[0]
    for view in four.views[1:]:
        assert np.shares_memory(view.model.layers[0].data, main.data)


def letters(views: FourViews) -> list[str]:
    return ["".join(views.view(name).labels.letters) for name in FLAT]


def test_letters_follow_the_convention(four):
    assert FLAT == ("Axial", "Coronal", "Sagittal")
    assert letters(four) == ["APRL", "SIRL", "SIAP"]
    four.looks.change(convention="neurological")
    assert letters(four) == ["APLR", "SILR", "SIAP"]


def test_patients_right_and_front_are_on_the_left_of_the_picture(four):
    right = center_of(RIGHT_BLOCK)
    front = center_of((slice(10, 18), slice(44, 48), slice(12, 18)))
    for convention, side in (("radiological", -1), ("neurological", 1)):
        four.looks.change(convention=convention)
        assert side * bright_center(four, "Axial", right) > 0.1
        assert side * bright_center(four, "Coronal", right) > 0.1
        assert bright_center(four, "Sagittal", front) < -0.1


def test_a_click_moves_every_view_to_the_point_under_the_mouse(four, qtbot):
    for name in FLAT:
        view = four.view(name)
        canvas = view.canvas.canvas.native
        click = QPoint(canvas.width() // 2 - 40, canvas.height() // 2 + 30)
        QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=click)
        qtbot.wait(20)
        x, y = view.crosshair.position_px()
        # The crosshair sits on voxel centres: half a voxel of 4 mm at most from the click.
        reach = 2.0 * view.model.scene.camera.zoom + 1.5
        assert abs(x - click.x()) <= reach
        assert abs(y - click.y()) <= reach
        for other in four.views:
            assert other.model.dims.point == pytest.approx(four.viewer.dims.point)
        assert four.readout.position[0].text().split()[0] in ("Right", "Left")


def test_the_click_goes_where_the_affine_says(four, qtbot):
    """A click left of the middle of a radiological axial view is on the patient's right."""
    view = four.view("Axial")
    canvas = view.canvas.canvas.native
    before = four.viewer.dims.point
    pixels = 50
    click = QPoint(round(view.crosshair.position_px()[0]) - pixels, canvas.height() // 2)
    QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=click)
    qtbot.wait(20)
    moved = four.viewer.dims.point[0] - before[0]
    # mm: whole slices, 6 mm thick.
    assert moved == pytest.approx(pixels / view.model.scene.camera.zoom, abs=3.1)
    assert four.viewer.dims.point[2] == before[2]


def test_the_wheel_goes_through_slices_one_at_a_time(four, qtbot):
    canvas = four.view("Coronal").canvas.canvas.native
    before = four.viewer.dims.point
    zoom = four.view("Coronal").model.scene.camera.zoom
    wheel(canvas)
    qtbot.wait(20)
    assert four.viewer.dims.point[1] - before[1] == pytest.approx(2.0)
    assert four.view("Coronal").model.scene.camera.zoom == zoom


def test_the_readout_gives_the_voxels_intensity_in_words(four):
    four.viewer.dims.point = center_of(RIGHT_BLOCK)
    assert four.readout.intensity.text() == "Intensity 1"
    x = four.viewer.dims.point[0]
    assert abs(x - center_of(RIGHT_BLOCK)[0]) <= 1.5
    assert four.readout.position[0].text() == f"Right {x:.1f} mm"


def test_captions_follow_the_layer_in_every_view(four):
    for view in four.views:
        assert view.labels.caption == "Synthetic – not for diagnosis"
    four.stage.show(upright(phantom(), AFFINE), Provenance("scan", "sub-01"))
    four.refresh()
    for view in four.views:
        assert view.labels.caption == "Scan: sub-01"
    four.viewer.layers[0].visible = False
    assert all(view.labels.caption == "" for view in four.views)


def test_the_caption_is_part_of_the_canvas_and_hides_nothing_around_its_letters(four):
    """napari's own screenshots carry it too; on bright tissue it is legible without a box."""
    view = four.view("Axial")
    four.stage.show(upright(np.full_like(phantom(), 200.0), AFFINE), Provenance("generated"))
    view.model.scene.camera.zoom *= 4  # the tissue fills the view
    QTest.qWait(50)
    told = view.labels.provenance
    with_caption = view.canvas.screenshot(flash=False).astype(int)[..., :3]
    view.labels.tell(provenance=None)
    without = view.canvas.screenshot(flash=False).astype(int)[..., :3]
    view.labels.tell(provenance=told)
    changed = np.abs(with_caption - without).max(axis=-1) > 0
    rows, columns = np.nonzero(changed)
    assert rows.min() > 0.75 * len(changed)
    assert columns.max() < changed.shape[1] / 2
    box = changed[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert 0.1 < box.mean() < 0.7, "the letters and their outline alone"
    inked = with_caption[changed].sum(axis=-1)
    assert (inked < 100).mean() > 0.2, "a dark outline"
    assert (with_caption[changed].max(axis=-1) > 200).mean() > 0.1, "around bright letters"


@pytest.mark.parametrize("axcodes", ["RAS", "LPI", "PSR", "IAL", "LIA"])
def test_stored_orientation_does_not_matter(axcodes):
    """The same head in another array order gives the same voxels at the same millimetres."""
    reference = upright(phantom(), AFFINE).data
    image = nib.Nifti1Image(phantom(), AFFINE)
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(AFFINE), nib.orientations.axcodes2ornt(axcodes)
    )
    turned = image.as_reoriented(turn)
    shown = upright(np.asarray(turned.dataobj), turned.affine)
    np.testing.assert_array_equal(shown.data, reference)
    assert shown.translate == pytest.approx(AFFINE[:3, 3])
    assert not shown.resampled


def test_oblique_volumes_are_shown_upright():
    """A tilted grid is resampled: a bright block keeps its place in the world."""
    tilt = np.eye(4)
    angle = np.radians(12)
    tilt[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = tilt @ AFFINE
    shown = upright(phantom(), affine)
    assert shown.resampled
    found = np.argwhere(shown.data > 0.9).mean(axis=0) * shown.scale + shown.translate
    expected = nib.affines.apply_affine(affine, np.argwhere(phantom() > 0.9).mean(axis=0))
    np.testing.assert_allclose(found, expected, atol=1.0)  # mm: interpolation moves the edge


def test_views_share_one_scale_and_reset_brings_it_back(four, qtbot):
    zooms = {view.model.scene.camera.zoom for view in four.views if view.plane}
    assert len(zooms) == 1
    four.looks.change(linked=False)
    four.view("Axial").model.scene.camera.zoom = 0.5
    four.viewer.dims.point = (0.0, 0.0, 0.0)
    four.readout.reset.click()
    assert {view.model.scene.camera.zoom for view in four.views if view.plane} == zooms


def test_another_grid_is_centred_anew(four, qtbot):
    """Also when the 3D view, which follows later, still has the old grid."""
    other = np.diag([2.0, 2.0, 2.0, 1.0])
    other[:3, 3] = (10, -90, -30)
    four.stage.show(upright(phantom(), other), Provenance("generated"))
    qtbot.wait(250)
    middle = nib.affines.apply_affine(other, (np.array(phantom().shape) - 1) / 2)
    for view in four.views:
        assert np.abs(np.array(view.model.dims.point) - middle).max() <= 1.01, view.name
    four.stage.show(upright(phantom(), AFFINE), Provenance("generated"))
    qtbot.wait(250)
    middle = nib.affines.apply_affine(AFFINE, (np.array(phantom().shape) - 1) / 2)
    assert np.abs(np.array(four.viewer.dims.point) - middle).max() <= 2.01


def test_a_new_volume_reaches_the_3d_view_after_a_lull(four, qtbot):
    volume = four.view("3D")
    four.stage.show(upright(phantom() * 0.5, AFFINE), Provenance("generated"))
    assert volume.model.layers[0].data.max() == pytest.approx(1.0)
    assert four.view("Coronal").model.layers[0].data.max() == pytest.approx(0.5)
    qtbot.waitUntil(lambda: volume.model.layers[0].data.max() < 0.6, timeout=2000)


def test_passing_pictures_share_an_array_that_the_next_lasting_one_leaves(four, qtbot, monkeypatch):
    four.stage.show(upright(phantom() * 0.5, AFFINE), Provenance("generated"), passing=True)
    passing, dim = four.stage.layer.data, grey(four, "Coronal").sum()
    with monkeypatch.context() as patch:  # no slice is cut out anew, only drawn
        patch.setattr(Image, "set_view_slice", lambda _layer: pytest.fail("sliced again"))
        four.stage.show(upright(phantom() * 0.9, AFFINE), Provenance("generated"), passing=True)
    assert four.stage.layer.data is passing
    assert passing.max() == pytest.approx(0.9)
    assert grey(four, "Coronal").sum() > 1.2 * dim, "a follower draws it too"
    lasting = upright(phantom(), AFFINE)
    four.stage.show(lasting, Provenance("generated"))
    assert four.stage.layer.data is lasting.data
    assert passing.max() == pytest.approx(0.9)


def test_double_click_shows_one_view_alone_and_back(four, qtbot):
    canvas = four.view("Coronal").canvas.canvas.native
    QTest.mouseDClick(canvas, Qt.MouseButton.LeftButton, pos=canvas.rect().center())
    qtbot.wait(50)
    assert [view.name for view in four.views if view.canvas.isVisible()] == ["Coronal"]
    QTest.mouseDClick(canvas, Qt.MouseButton.LeftButton, pos=canvas.rect().center())
    qtbot.wait(50)
    assert all(view.canvas.isVisible() for view in four.views)


def test_a_layer_that_goes_is_finished_with_in_each_canvas_own_context(four, monkeypatch):
    """In another's, buffers of the same numbers would be deleted: a later drawing crashes."""
    from qtpy.QtGui import QOpenGLContext
    from vispy.gloo.context import GLContext

    flushed = []

    def flush(context, event=None):
        now = QOpenGLContext.currentContext()
        flushed.extend(
            now == view.canvas.canvas.native.context()
            for view in four.views
            if view.canvas.canvas.events.source.context is context
        )
        flush_commands(context, event)

    flush_commands = GLContext.flush_commands
    monkeypatch.setattr(GLContext, "flush_commands", flush)
    layer = four.viewer.add_image(np.zeros((4, 5, 6)), name="goes")
    QTest.qWait(50)
    del flushed[:]
    four.viewer.layers.remove(layer)
    assert len(flushed) >= 4
    assert all(flushed)


def test_another_grid_is_sliced_once_or_twice_in_each_view(four):
    """The views must not send their crosshairs to and fro while their grids differ."""
    point = tuple(four.viewer.dims.point)
    drawn = dict.fromkeys((view.name for view in four.views), 0)

    def count(name):
        return lambda _: drawn.update({name: drawn[name] + 1})

    for view in four.views:
        view.model.layers[-1].events.set_data.connect(count(view.name))
    coarser = upright(phantom()[::2, ::2, ::2], AFFINE @ np.diag([2, 2, 2, 1]))
    four.stage.show(coarser, Provenance("generated"))
    four.view("3D").follower.settle()
    assert all(1 <= times <= 3 for times in drawn.values()), drawn
    for view in four.views:
        np.testing.assert_allclose(view.model.dims.point, point)
