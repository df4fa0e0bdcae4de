"""Opening a scan in the window: dropped, chosen among several, in doubt about its sides."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import dicoms
import nibabel as nib
import numpy as np
import pytest
from gui.conftest import label_maps
from napari.layers import Labels
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QComboBox, QRubberBand

from napari_stylegan3d.core.scans import SAMPLES, sample_path
from napari_stylegan3d.project import controller
from napari_stylegan3d.project.regions import mask_of
from napari_stylegan3d.views.layers import OUTLINE_NAME
from napari_stylegan3d.views.marks import Mark
from napari_stylegan3d.widgets.elided import InWords
from stylegan3d import scans
from stylegan3d.base import ScanError
from stylegan3d.scans import read_scan
from stylegan3d.session.case import Choice

UNPAINTED = True


def test_an_opened_scan_is_shown_as_real(window, scan_file):
    window.open_scan(scan_file)
    assert window.captions == {"Scan: sub-07"}
    assert window.find("project.show.scan").isChecked()
    assert "50 x 64 x 56" in window.find("project.details").text()
    assert window.volume.max() > 500, "a scan is shown in its own units"
    window.click("browse.next")
    window.settle()
    assert window.captions == {"Seed 1\nSynthetic – not for diagnosis"}


def test_a_picture_that_comes_late_does_not_hide_the_scan(window, scan_file):
    window.set("browse.seed", 31)
    window.open_scan(scan_file)
    window.settle()
    assert window.captions == {"Scan: sub-07"}


@pytest.mark.parametrize("content", [b"this is no scan", pytest.param(b"", marks=pytest.mark.soak)])
def test_a_bad_file_is_one_sentence(window, scan_file, tmp_path, notifications, content):
    path = tmp_path / "broken.nii.gz"
    path.write_bytes(content)
    window.explorer.open_scan(path)
    window.wait(lambda: notifications)
    assert "broken.nii.gz" in notifications[0]
    assert "Traceback" not in notifications[0]
    assert "\n" not in notifications[0]
    assert window.find("explorer.message").text() == notifications[0]
    assert window.captions == {"Seed 0\nSynthetic – not for diagnosis"}
    window.open_scan(scan_file)
    assert window.find("explorer.message").text() == "", "the error is over"


def entries(window) -> list[str]:
    choice = window.find("project.choice")
    return [choice.item(row).text() for row in range(choice.count())]


def test_a_scan_that_is_closed_while_it_is_read_is_not_opened(window, scan_file, monkeypatch):
    gate, read = threading.Event(), controller.open_scan

    def slowly(report, choice):
        gate.wait(20)
        return read(report, choice)

    monkeypatch.setattr(controller, "open_scan", slowly)
    window.explorer.open_scan(scan_file)
    (arriving,) = window.session.arriving
    window.session.close_patient(arriving.key)
    gate.set()
    window.wait(lambda: not window.explorer.projecting.opening.running)
    assert not window.session.patients


def test_of_several_series_one_is_chosen(window, tmp_path):
    data = np.round(100 * np.random.RandomState(0).rand(26, 24, 22)).astype(np.int16)
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    about = {"uid": "1.2.840.99.1", "description": "localizer", "number": 1}
    dicoms.write_series(tmp_path, data[..., :3], affine, **about)
    for number, words in ((3, "t1_mprage"), (4, "t1_mprage_gd")):
        about = {"uid": f"1.2.840.99.{number}", "description": words, "number": number}
        dicoms.write_series(tmp_path, data + number, affine, start=100 * number, **about)
    window.explorer.open_scan(tmp_path)
    window.wait(lambda: not window.find("project.choice").isHidden() and entries(window))
    window.wait(lambda: not window.find("project.choose").parentWidget().isHidden())
    assert window.find("explorer.message").text() == "", "a question is no error"
    told = entries(window)
    assert told[0].startswith("3: t1_mprage\n")
    assert "26 x 24 x 22 voxels of 5 x 5 x 5 mm" in told[1]
    localiser = window.find("project.choice").item(2)
    assert "localizer" in localiser.text()
    assert not localiser.flags() & Qt.ItemFlag.ItemIsEnabled
    assert localiser.toolTip()
    window.find("project.choice").setCurrentRow(1)
    window.click("project.choose")
    window.wait(lambda: window.find("project.name").text().startswith("series-0004"))
    assert window.volume.max() == (data + 4).max()
    assert window.find("project.choose").parentWidget().isHidden(), "the question is answered"


def test_of_several_volumes_one_is_chosen(window, scan_file, tmp_path):
    image = nib.load(scan_file)
    data = np.asarray(image.dataobj)
    path = tmp_path / "bold.nii.gz"
    nib.save(nib.Nifti1Image(np.stack([data, data // 2], axis=3), image.affine), path)
    window.viewer.open(str(path), plugin="napari-stylegan3d")
    window.wait(lambda: entries(window) == ["Volume 0", "Volume 1"])
    window.find("project.choice").setCurrentRow(1)
    window.click("project.choose")
    window.wait(lambda: window.find("project.name").text() == "bold (volume 1)")
    assert "Volume 1 of 2" in window.find("project.details").text()


@pytest.fixture
def two_series(tmp_path):
    """Choices of the two series in a folder."""
    for number in (3, 4):
        dicom_slices(tmp_path, number)
    series = (f"1.2.840.99.{number}" for number in (3, 4))
    return [Choice(tmp_path, series=uid) for uid in series]


@pytest.fixture
def two_volumes(scan_file, tmp_path):
    """Choices of the two volumes of a file."""
    image = nib.load(scan_file)
    data = np.asarray(image.dataobj)
    path = tmp_path / "bold.nii.gz"
    nib.save(nib.Nifti1Image(np.stack([data, data // 2], axis=3), image.affine), path)
    return [Choice(path, volume=volume) for volume in (0, 1)]


@pytest.mark.parametrize(
    "kind", [pytest.param("two_series", marks=pytest.mark.soak), "two_volumes"]
)
def test_another_series_or_volume_of_a_file_is_another_in_the_list(window, request, kind):
    first, second = request.getfixturevalue(kind)

    def read(choice) -> list:
        window.explorer.projecting.open(choice)
        window.wait(lambda: not window.session.arriving)
        assert window.session.case.choice == choice
        return [case.choice for case in window.session.patients]

    def joins() -> bool:
        return window.find("second.join").isVisibleTo(window.explorer.project)

    assert read(first) == [first]
    name = window.find("project.name").text()
    assert not joins()
    assert read(second) == [first, second]
    assert window.find("project.name").text() != name
    assert joins()
    assert read(second) == [first, second], "the same one again is shown as it was left"
    assert not joins()
    window.show(name)
    assert window.session.case.choice == first
    assert not joins()
    read(second)
    window.click("second.join")
    window.wait(lambda: window.find("second.note").text()[:7] not in ("", "Reading"))
    assert window.session.case.choice == first
    assert list(window.patients()) == [name], "it is an overlay now, and no patient"
    assert "the scan itself" not in window.find("second.note").text()
    window.explorer.projecting.second.remove()


@pytest.mark.parametrize("back", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_what_lies_over_a_scan_turns_with_it(window, scan_file, tmp_path, back):
    """Labels and a second image of the same header stay where they are on the scan."""
    data = np.asarray(nib.load(scan_file).dataobj)
    marked = np.zeros(data.shape, np.uint8)
    marked[20:26, 30:36, 25:31] = 1
    for name, voxels in (("nowhere", data), ("lesion", marked), ("other", np.sqrt(data))):
        image = nib.Nifti1Image(voxels, None)
        image.header.set_zooms((3, 3, 3))
        nib.save(image, tmp_path / f"{name}.nii.gz")
    projecting = window.explorer.projecting
    window.explorer.open_scan(tmp_path / "nowhere.nii.gz")
    window.wait(lambda: window.find("project.name").text() == "nowhere")
    projecting.second.open(Choice(tmp_path / "other.nii.gz"))
    window.wait(lambda: projecting.second.current and projecting.second.current.image)
    window.explorer.open_scan(tmp_path / "lesion.nii.gz")
    window.wait(lambda: label_maps(window) == [tmp_path / "lesion.nii.gz"])
    layer = window.viewer.layers["lesion"]
    drawn = np.array(layer.data)
    window.pick("project.orientation", "RAS")
    window.wait(lambda: "RAS, as chosen" in window.find("project.details").text())
    window.wait(lambda: not np.array_equal(layer.data, drawn))
    window.wait(lambda: projecting.second.current and projecting.second.current.image)
    assert layer.visible
    assert label_maps(window) == [tmp_path / "lesion.nii.gz"]
    np.testing.assert_array_equal(layer.data, drawn[::-1])
    scan = window.session.case.scan
    assert projecting.second.current.image.image.space.same_as(scan.space)
    # And back, while it is not on the screen when it was read.
    if back:
        window.pick("project.orientation", None)
        window.set("browse.seed", 3)
        window.wait(lambda: not window.session.arriving)
        assert window.session.recipe.source.seed == 3, "it does not take the screen"
        assert not layer.visible
        window.show("nowhere")
        assert "RAS, as chosen" not in window.find("project.details").text()
        window.wait(lambda: np.array_equal(layer.data, drawn))
        window.wait(lambda: projecting.second.current and projecting.second.current.image)
        assert layer.visible
        assert label_maps(window) == [tmp_path / "lesion.nii.gz"]
    assert list(window.patients()) == ["nowhere"]
    projecting.second.remove()


def test_a_label_map_with_open_sides_is_told(window, scan_file, tmp_path, notifications):
    marked = np.zeros((20, 22, 24), np.uint8)
    marked[4:8, 4:8, 4:8] = 1
    image = nib.Nifti1Image(marked, None)
    image.header.set_zooms((8, 8, 8))
    nib.save(image, tmp_path / "lesion.nii.gz")
    window.open_scan(scan_file)
    window.explorer.open_scan(tmp_path / "lesion.nii.gz")
    window.wait(lambda: "lesion" in window.viewer.layers)
    assert "does not say which side is left" in notifications[-1]
    window.viewer.layers.remove("lesion")


def test_doubts_about_left_and_right_can_be_answered(window, scan_file, tmp_path):
    image = nib.load(scan_file)
    image = nib.Nifti1Image(np.asarray(image.dataobj), None)
    image.header.set_zooms((3, 3, 3))
    path = tmp_path / "nowhere.nii.gz"
    nib.save(image, path)
    window.explorer.open_scan(path)
    window.wait(lambda: window.find("project.name").text() == "nowhere")
    doubts = window.find("project.doubts").text()
    assert "left and right may be swapped" in doubts
    assert "--" not in doubts, "there is no command line here"
    assert "swapped" not in window.find("project.details").text(), "once is enough"
    before = window.volume
    window.pick("project.orientation", "RAS")
    window.wait(lambda: "RAS, as chosen" in window.find("project.details").text())
    np.testing.assert_array_equal(window.volume, before[::-1])
    told = window.find("project.doubts").text()
    assert told == "The header leaves left and right ambiguous. You chose: Axes RAS."
    assert window.find("project.orientation").isVisibleTo(window.explorer), (
        "the answer can be changed"
    )
    window.pick("project.orientation", None)
    window.wait(lambda: "RAS, as chosen" not in window.find("project.details").text())
    assert window.find("project.doubts").text() == doubts
    np.testing.assert_array_equal(window.volume, before)
    window.explorer.open_scan(scan_file)
    window.wait(lambda: window.find("project.name").text() == "sub-07")
    assert window.find("project.orientation").isHidden()


def test_a_painted_region_goes_where_the_sides_are_swapped(
    window, scan_file, tmp_path, notifications
):
    image = nib.Nifti1Image(np.asarray(nib.load(scan_file).dataobj), None)
    image.header.set_zooms((3, 3, 3))
    nib.save(image, tmp_path / "nowhere.nii.gz")
    window.explorer.open_scan(tmp_path / "nowhere.nii.gz")
    window.wait(lambda: window.find("project.name").text() == "nowhere")
    window.click("project.align")
    window.wait(lambda: window.session.placed is not None)
    window.click("project.fill")
    layer = window.viewer.layers.selection.active
    layer.paint(tuple(n // 2 for n in layer.data.shape), 1)
    assert window.session.annotations.mask is not None
    window.views.marks.add(Mark("length", 2, (0, 0, 0), (10, 0, 0)))
    window.pick("project.orientation", "RAS")
    window.wait(lambda: "RAS, as chosen" in window.find("project.details").text())
    assert window.session.annotations.mask is None
    assert "paint it again" in notifications[-1]
    assert window.views.marks.shown == []
    assert any(told.startswith("Measurements from before") for told in notifications)
    window.click("project.align")
    window.wait(lambda: window.session.placed is not None)
    assert window.session.annotations.mask is None


def drop(widget, *paths):
    """Drag files onto a widget, and let go; where one must be entered to be dropped on."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    held = Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton
    enter = QDragEnterEvent(QPoint(5, 5), *held, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(widget, enter)
    assert enter.isAccepted()
    event = QDropEvent(QPointF(5, 5), *held, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(widget, event)


def test_what_a_file_is_dragged_over_is_marked_until_it_leaves(window, scan_file):
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(scan_file))])
    held = Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton
    window.explorer.panel("Project")
    QTest.qWait(100)
    for widget in (window.views.view("Axial").canvas, window.find("project.drop")):
        enter = QDragEnterEvent(QPoint(5, 5), *held, Qt.KeyboardModifier.NoModifier)
        frame = window.views if widget is not window.find("project.drop") else widget
        (mark,) = frame.findChildren(QRubberBand, options=Qt.FindChildOption.FindDirectChildrenOnly)
        QApplication.sendEvent(widget, enter)
        assert enter.isAccepted()
        assert mark.isVisible()
        assert mark.geometry() == frame.rect()
        QApplication.sendEvent(widget, QDragLeaveEvent())
        assert not mark.isVisible()


def dicom_slices(folder, number):
    """One series: the same head with noise of its own; what the window calls it begins so."""
    away = np.linalg.norm(np.indices((26, 24, 22)).T - (14, 11, 10), axis=-1).T
    head = 400 * np.exp(-((away / 7) ** 2)) + 100 * np.random.RandomState(number).rand(*away.shape)
    data = np.round(head).astype(np.int16)
    about = {"uid": f"1.2.840.99.{number}", "description": "t1_mprage", "number": number}
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    dicoms.write_series(folder, data, affine, start=100 * number, **about)
    return f"series-{number:04}"


def test_a_dropped_file_is_opened(window, scan_file):
    window.explorer.panel("Project")
    drop(window.find("project.drop"), scan_file)
    window.wait(lambda: window.captions == {"Scan: sub-07"})
    assert window.find("project.name").text() == "sub-07"


@pytest.mark.parametrize("where", ["area", "view"])
def test_a_dropped_dicom_folder_or_its_slices_are_opened(window, tmp_path, where):
    area = where == "area"
    name = dicom_slices(tmp_path, 3 if area else 5)
    window.explorer.panel("Project")
    if area:
        drop(window.find("project.drop"), *sorted(tmp_path.iterdir()))
    else:
        drop(window.views.view("Coronal").canvas, tmp_path)
    window.wait(lambda: window.find("project.name").text().startswith(name))
    assert "26 x 24 x 22" in window.find("project.details").text()


def test_scans_that_are_dropped_together_are_opened_in_turn(window, scan_file, tmp_path):
    other = tmp_path / "sub-09_T1w.nii.gz"
    shutil.copy(scan_file, other)
    drop(window.views.view("Axial").canvas, scan_file, other)
    window.wait(lambda: list(window.patients().values()) == ["scan", "scan"])
    assert window.find("project.name").text() == "sub-09"


def test_what_is_dropped_while_a_scan_is_read_comes_after_it(
    window, scan_file, label_file, tmp_path, monkeypatch
):
    gate, read = threading.Event(), []

    def slow(path, *args):
        gate.wait(60)
        read.append(Path(path).name)
        return read_scan(path, *args)

    monkeypatch.setattr(scans, "read_scan", slow)
    folder = tmp_path / "examination"
    name = dicom_slices(folder, 6)
    area = window.find("project.drop")
    for path in (folder, scan_file, label_file[0]):
        drop(area, path)
    gate.set()
    window.wait(lambda: "sub-07_dseg" in window.viewer.layers)
    assert read == [folder.name, scan_file.name, label_file[0].name]
    assert window.find("project.name").text() == "sub-07", f"newer than {name}"
    assert window.captions == {"Scan: sub-07"}
    window.viewer.layers.remove("sub-07_dseg")


@pytest.mark.soak
def test_what_is_dropped_during_a_projection_is_opened(window, scan_file, tmp_path):
    name = dicom_slices(tmp_path, 7)
    window.open_scan(scan_file)
    window.choose("project.budget", "thorough")
    window.click("project.start")
    window.wait(lambda: window.session.state.what == "search")
    drop(window.find("project.drop"), tmp_path)
    window.wait(lambda: window.find("project.name").text().startswith(name))
    assert window.explorer.message.text() == ""
    assert window.patients()["sub-07"].startswith("projecting, ")
    assert window.captions == {f"Scan: {window.session.case.name}"}
    window.show("sub-07")
    window.click("project.cancel")
    window.wait(lambda: not window.explorer.projecting.job.running)
    assert window.find("project.name").text() == "sub-07"


@pytest.fixture
def label_file(scan_file, tmp_path):
    """Two balls in the small scan's space, and their middles there: label 1, label 5."""
    image = nib.load(scan_file)
    data, middles = np.zeros(image.shape, np.uint8), []
    for value, at in ((1, (15, 40, 30)), (5, (34, 24, 25))):
        away = np.linalg.norm(np.indices(data.shape) - np.reshape(at, (3, 1, 1, 1)), axis=0)
        data[away < 6] = value
        middles.append(nib.affines.apply_affine(image.affine, at))
    path = tmp_path / "sub-07_dseg.nii.gz"
    nib.save(nib.Nifti1Image(data, image.affine), path)
    return path, middles


def middles_of(layer) -> list[np.ndarray]:
    return [
        np.mean([layer.data_to_world(tuple(at)) for at in np.argwhere(layer.data == value)], axis=0)
        for value in (1, 5)
    ]


def test_a_label_map_lies_where_its_scan_lies(window, scan_file, label_file, notifications):
    path, middles = label_file
    window.open_scan(scan_file)
    shown = window.volume
    window.explorer.open_scan(path)
    window.wait(lambda: "sub-07_dseg" in window.viewer.layers)
    layer = window.viewer.layers["sub-07_dseg"]
    assert isinstance(layer, Labels)
    assert "2 labels, 48.3 ml" in notifications[-1]
    assert window.find("project.name").text() == "sub-07"
    np.testing.assert_array_equal(window.volume, shown, "the scan is still shown")
    # mm, part of a voxel: a ball's centre by its voxels.
    np.testing.assert_allclose(middles_of(layer), middles, atol=0.5)
    window.click("project.align")
    window.wait(lambda: window.find("project.quality").text())
    _, aligned = window.explorer.comparison.placed
    there = nib.affines.apply_affine(aligned.rigid, middles)
    # mm, part of a voxel: a ball's centre by its voxels.
    window.wait(lambda: np.allclose(middles_of(layer), there, atol=0.5))
    assert len(np.unique(layer.data)) == 3, "labels are not blended"
    window.click("project.fill")
    window.find("project.region").setCurrentText("sub-07_dseg")
    region = window.find("project.region").currentData().region()
    mask = mask_of(region, aligned.space).on(aligned.space, aligned).mask
    marked = nib.affines.apply_affine(aligned.space.affine, np.argwhere(mask))
    # mm, part of a voxel: the centre by the model's larger voxels.
    np.testing.assert_allclose(marked.mean(axis=0), np.mean(there, axis=0), atol=1.5)
    layer.data_setitem((np.array([4]), np.array([4]), np.array([4])), 1)
    drawn = np.array(layer.data)
    window.set("project.shift.1", 12.0)
    window.wait(lambda: not window.explorer.projecting.moving.busy)
    np.testing.assert_array_equal(layer.data, drawn, "what a person draws stays")
    window.viewer.layers.remove(layer)


def test_a_scan_opened_through_napari_is_taken_over_and_its_label_map_is_one(
    window, scan_file, label_file
):
    (layer,) = window.viewer.open(str(scan_file), plugin="napari-stylegan3d")
    window.wait(lambda: window.captions == {"Scan: sub-07"})
    assert window.find("project.name").text() == "sub-07"
    assert not layer.visible
    window.viewer.layers.remove(layer)
    path, middles = label_file
    window.viewer.open(str(path), plugin="napari-stylegan3d")
    layer = window.viewer.layers["sub-07_dseg"]
    assert isinstance(layer, Labels)
    # mm, part of a voxel: a ball's centre by its voxels.
    np.testing.assert_allclose(middles_of(layer), middles, atol=0.5)
    assert window.captions == {"Scan: sub-07"}
    window.viewer.layers.remove(layer)


def test_a_scan_that_is_refused_is_aligned_by_hand(
    window, scan_file, monkeypatch, notifications, nothing_prepared
):
    def refuse(*_):
        raise ScanError("The brain does not match the model's mean brain in any orientation.")

    monkeypatch.setattr("stylegan3d.scans.scan.align_rigid", refuse)
    window.open_scan(scan_file)
    window.click("project.start")
    window.wait(lambda: notifications)
    assert "The brain does not match" in window.find("explorer.message").text()
    assert "align it manually" in window.find("project.quality").text()
    assert window.captions == {"Scan: sub-07"}
    window.click("project.by_hand")
    window.wait(lambda: not window.find("project.fit").parentWidget().isHidden())
    assert "to match the outline" in window.find("project.quality").text()
    assert OUTLINE_NAME in window.viewer.layers
    window.set("project.turn.2", 120.0)
    window.set("project.turn.2", 8.0)
    window.wait(lambda: not window.explorer.projecting.moving.busy)
    turned = window.explorer.comparison.placed[1]
    assert 5 < off_mm(turned, window.session.generator) < 8
    window.click("project.fit")
    window.wait(lambda: "Alignment refined" in window.find("project.steps").text())
    fitted = window.explorer.comparison.placed[1]
    assert off_mm(fitted, window.session.generator) < 0.2
    assert fitted.quality > turned.quality
    assert window.find("project.turn.2").value() == 0


def off_mm(aligned, generator):
    """How far points on the egg lie from where they belong, in mean: it has only to be moved."""
    middle = aligned.scan.space.center_mm
    points = np.random.default_rng(0).normal(size=(3, 500))
    points = middle[:, None] + 60 * points / np.linalg.norm(points, axis=0)
    there = aligned.rigid[:3, :3] @ points + aligned.rigid[:3, 3:]
    meant = points + (generator.space.center_mm - middle)[:, None]
    return np.linalg.norm(there - meant, axis=0).mean()


def test_both_samples_are_there():
    for key in SAMPLES:
        assert sample_path(key).stat().st_size > 100_000


def test_long_names_make_no_panel_scroll_sideways(window, scan_file, tmp_path):
    name = "sub-ds00001101_ses-baseline-followup_acq-mprage3dsagittal_run-03_desc-preproc"
    path = tmp_path / f"{name}_T1w.nii.gz"
    path.write_bytes(scan_file.read_bytes())
    window.explorer.open_scan(path)
    window.wait(lambda: window.find("project.name").text() == name)
    label = window.find("project.name")
    assert "…" in label.shown()
    assert label.shown() != label.text(), "the tooltip tells the rest"
    assert window.find("measure.curve").sizeHint().width() < 200, "beside the panels, too"
    for panel in window.explorer.panels:
        window.explorer.panel(panel.title)
        QTest.qWait(20)
        area = panel.parentWidget().parentWidget()
        # Of what waits for a projection only the least width is laid out.
        width = panel.width() if panel.isVisible() else panel.minimumSizeHint().width()
        assert width <= area.viewport().width(), panel.title
        boxes = [box for box in panel.findChildren(QComboBox) if box.isVisible()]
        assert all(box.findChild(InWords) for box in boxes), "no letter is cut in two"
    window.explorer.panel("Project")
    start = window.find("project.start")
    assert start.visibleRegion().boundingRect() == start.rect(), "never below the fold"
