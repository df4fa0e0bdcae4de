"""Opening a scan and projecting it in the window."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import dicoms
import numpy as np
import pytest
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent

from napari_stylegan3d.outline import NAME
from napari_stylegan3d.samples import SAMPLES, sample_path
from napari_stylegan3d.session import Projected
from stylegan3d.recipe import Source, read_recipe


def open_scan(window, path) -> None:
    window.explorer.open_scan(path)
    window.wait(lambda: window.explorer.comparison.view == "scan")
    assert window.find("project.name").text() == "sub-07"
    assert window.find("project.start").isEnabled()


@pytest.fixture(scope="module")
def kept() -> list:
    """The projection, once it was made."""
    return []


@pytest.fixture
def projected(window, scan_file, kept):
    """The small scan, projected; through the controls the first time, remembered after."""
    open_scan(window, scan_file)
    if kept:
        # Where the session keeps latents that were not saved.
        latent = window.session.folder / Path(kept[0].source.path).name
        latent.write_bytes(kept[1])
        source = dataclasses.replace(kept[0].source, path=str(latent))
        window.session.add_projected(dataclasses.replace(kept[0], source=source))
    else:
        window.choose("project.budget", "draft")
        window.click("project.start")
        window.wait(lambda: window.session.projected)
        kept.append(window.session.projected[0])
        kept.append(Path(kept[0].source.path).read_bytes())
    window.settle()
    return window


def test_an_opened_scan_is_shown_as_real(window, scan_file):
    open_scan(window, scan_file)
    assert window.captions == {"Real scan: sub-07"}
    assert window.find("project.show.scan").isChecked()
    assert "50 x 64 x 56" in window.find("project.details").text()
    assert window.volume.max() > 500, "a scan is shown in its own units"
    window.click("browse.next")
    window.settle()
    assert window.captions == {"Synthetic – not for diagnosis"}


def test_budgets_tell_how_long_they_take(window, scan_file):
    open_scan(window, scan_file)
    box = window.find("project.budget")
    window.wait(lambda: all(", about " in box.itemText(index) for index in range(box.count())))
    assert box.itemText(0).startswith("Draft: a quick look, about ")


def test_a_picture_that_comes_late_does_not_hide_the_scan(window, scan_file):
    window.set("browse.seed", 31)
    open_scan(window, scan_file)
    window.settle()
    assert window.captions == {"Real scan: sub-07"}


def test_projection_shows_and_compares(projected):
    window = projected
    assert window.recipe.source.kind == "projected"
    (result,) = window.session.projected
    assert window.find("project.ssim").text() == f"{result.similarity['ssim']:.3f}"
    assert window.find("project.mean.ncc").text() == f"{result.mean_brain['ncc']:.3f}"
    assert -1 <= result.similarity["ncc"] <= 1
    assert window.find("project.verdict").text() == "Not calibrated for this model"
    assert window.find("project.sentence").text() == result.trust["sentence"]
    worst = max(result.trust["regions"].items(), key=lambda item: item[1]["rms"])
    first = window.find("project.regions").text().splitlines()[1]
    assert first == f"{worst[0]}: {worst[1]['rms']:.0%}"
    reconstruction = window.volume
    assert window.captions == {"Synthetic – not for diagnosis"}
    window.click("project.show.scan")
    np.testing.assert_allclose(window.volume, result.aligned.volume, atol=1e-6)
    assert window.captions == {"Real scan: sub-07"}
    window.click("project.show.difference")
    np.testing.assert_allclose(window.volume, reconstruction - result.aligned.volume, atol=1e-6)
    assert window.captions == {"Difference – not for diagnosis"}
    window.views.view("3D").follower.settle()
    magnitude = window.views.view("3D").model.layers[0].data
    np.testing.assert_allclose(magnitude, np.abs(window.volume), atol=1e-6)
    window.click("project.show.reconstruction")
    np.testing.assert_array_equal(window.volume, reconstruction)


def test_regions_are_named_by_how_unusual_they_are(window):
    regions = {
        "left frontal lobe": {"rms": 0.2, "usual": 0.21, "unusual": -0.5},
        "cerebellum": {"rms": 0.12, "usual": 0.05, "unusual": 6.0},
        "brain stem": {"rms": 0.1, "usual": 0.08, "unusual": 1.0},
        "ventricles": {"rms": 0.1, "usual": 0.09, "unusual": 0.2},
    }
    trust = {
        "verdict": "outside what this model knows",
        "sentence": "Do not read anything from it.",
        "regions": regions,
    }
    remarks = ("The scan is strange. Do not read anything from it.", "Look at the cerebellum.")
    box = window.explorer.project.result
    box.show_result(Projected("sub-07", Source("seed", 1), None, {}, {}, remarks, trust))
    told = window.find("project.regions").text().splitlines()
    assert told[1:] == [
        "cerebellum: 12% (usually 5%)",
        "brain stem: 10% (usually 8%)",
        "ventricles: 10% (usually 9%)",
    ]
    assert window.find("project.verdict").property("role") == "error"
    assert window.find("project.notes").text() == "Look at the cerebellum.", "once is enough"
    box.show_result(None)
    assert window.find("project.verdict").isHidden()


def test_an_aligned_scan_can_be_moved_by_hand(window, scan_file):
    open_scan(window, scan_file)
    assert window.find("project.shift.0").parentWidget().isHidden()
    window.click("project.align")
    window.wait(lambda: window.find("project.quality").text())
    found = window.volume
    generator = window.session.generator
    assert found.shape == tuple(generator.shape)
    assert window.captions == {"Real scan: sub-07"}
    told = window.find("project.steps").text()
    assert told.startswith("Brain: The brain was extracted already; kept as it is. (as it was)")
    assert " s)" in told, "how long it took is said"
    outline = window.viewer.layers[-1]
    assert outline.name == NAME
    drawn = [outline.data_to_world(index) for index in np.argwhere(outline.data)]
    middle = np.mean(drawn, axis=0)
    np.testing.assert_allclose(middle, generator.space.center_mm, atol=8)
    assert not window.views.view("3D").model.layers[-1].visible, "it would be a shell"
    window.set("project.shift.1", 12.0)
    window.wait(lambda: not np.array_equal(window.volume, found))
    moved = window.volume
    shift = np.array(
        [
            np.average(np.arange(n), weights=v.sum(axis=(0, 2)))
            for v, n in ((found, found.shape[1]), (moved, moved.shape[1]))
        ]
    )
    size = window.explorer.stage.layer.scale[1]
    assert abs((shift[1] - shift[0]) * size - 12) < size / 2, "to the front, in mm"
    assert "Moved by hand by 12.0 mm" in window.find("project.steps").text()
    window.find("project.outline").setChecked(False)
    assert window.viewer.layers[-1] is window.explorer.stage.layer
    window.click("project.pose_reset")
    window.wait(lambda: np.array_equal(window.volume, found))
    assert window.find("project.shift.1").value() == 0
    window.find("project.outline").setChecked(True)
    window.click("browse.next")
    window.settle()
    assert window.viewer.layers[-1] is window.explorer.stage.layer, "it is the scan's alone"


def test_what_was_moved_is_projected(window, scan_file):
    open_scan(window, scan_file)
    window.choose("project.budget", "draft")
    window.click("project.align")
    window.wait(lambda: window.find("project.quality").text())
    window.set("project.turn.2", 4.0)
    window.click("project.start")
    window.wait(lambda: window.session.projected)
    (result,) = window.session.projected
    turned = result.aligned.rigid @ np.linalg.inv(result.found.rigid)
    angle = np.degrees(np.arctan2(turned[1, 0], turned[0, 0]))
    assert angle == pytest.approx(4.0, abs=1e-3)
    assert window.find("project.turn.2").value() == 4.0


def test_result_is_saved_in_the_scans_own_space(projected, scan_file, tmp_path):
    nib = pytest.importorskip("nibabel")
    window = projected
    window.find("export.folder").setText(str(tmp_path))
    window.find("export.native").setChecked(True)
    window.click("export.save")
    window.wait(lambda: "Saved" in window.find("export.done").text())
    original = nib.load(scan_file)
    (native,) = [p for p in tmp_path.glob("*.nii.gz") if "space-model" not in p.name]
    image = nib.load(native)
    assert image.shape == original.shape
    np.testing.assert_allclose(image.affine, original.affine, atol=1e-4)
    (latent,) = tmp_path.glob("*.safetensors")
    assert window.recipe.source.path == str(latent)
    sidecar = next(tmp_path.glob("*space-model*.json"))
    window.session.close()  # its folder of unsaved latents is gone
    np.testing.assert_array_equal(
        read_recipe(sidecar).latent(window.session.generator),
        window.recipe.latent(window.session.generator),
    )
    (model,) = tmp_path.glob("*space-model*.nii.gz")
    np.testing.assert_allclose(nib.load(model).affine, window.session.generator.affine)


def test_saving_the_latent_keeps_the_recipe_valid(projected, tmp_path):
    window = projected
    before = window.volume
    window.find("export.folder").setText(str(tmp_path))
    window.click("export.save_latent")
    assert str(tmp_path) in window.recipe.source.path
    window.settle()
    np.testing.assert_array_equal(window.volume, before)
    assert window.session.find_projected(window.recipe.source) is not None


def test_mix_offers_the_projected_scan(projected):
    window = projected
    box = window.find("mix.source")
    assert "Reconstruction of sub-07" in [box.itemText(i) for i in range(box.count())]
    assert window.find("mix.first").text() == "Reconstruction of sub-07"


def test_cancel_stops_and_brings_back_what_was_there(window, scan_file):
    window.set("browse.seed", 2)
    window.settle()
    before = window.volume
    open_scan(window, scan_file)
    window.choose("project.budget", "thorough")
    window.click("project.start")
    bar = window.find("project.progress")
    assert not window.find("project.pause").isEnabled(), "the alignment cannot wait"
    window.wait(lambda: bar.value() > 0)
    assert not window.find("project.start").isEnabled()
    assert window.find("project.cancel").isVisibleTo(window.explorer.project)
    window.wait(lambda: window.find("project.pause").isEnabled())
    window.click("project.pause")
    assert window.find("project.estimate").text() == "Paused"
    settled = []
    window.wait(lambda: settled.append(bar.value()) or settled[-20:] == [bar.value()] * 20)
    window.click("project.pause")
    window.wait(lambda: bar.value() != settled[-1])
    window.click("project.cancel")
    window.wait(lambda: not window.explorer.projecting.job.running)
    window.settle()
    assert window.session.projected == []
    assert window.recipe.source.seed == 2
    np.testing.assert_array_equal(window.volume, before)
    assert window.find("project.start").isEnabled()


@pytest.mark.parametrize("content", [b"this is no scan", b""])
def test_a_bad_file_is_one_sentence(window, scan_file, tmp_path, notifications, content):
    path = tmp_path / "broken.nii.gz"
    path.write_bytes(content)
    window.explorer.open_scan(path)
    window.wait(lambda: notifications)
    assert "broken.nii.gz" in notifications[0]
    assert "Traceback" not in notifications[0]
    assert "\n" not in notifications[0]
    assert window.find("explorer.message").text() == notifications[0]
    assert window.captions == {"Synthetic – not for diagnosis"}
    open_scan(window, scan_file)
    assert window.find("explorer.message").text() == "", "the error is over"


def entries(window) -> list[str]:
    choice = window.find("project.choice")
    return [choice.item(row).text() for row in range(choice.count())]


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
    nib = pytest.importorskip("nibabel")
    image = nib.load(scan_file)
    data = np.asarray(image.dataobj)
    path = tmp_path / "bold.nii.gz"
    nib.save(nib.Nifti1Image(np.stack([data, data // 2], axis=3), image.affine), path)
    window.viewer.open(str(path), plugin="napari-stylegan3d")
    window.wait(lambda: entries(window) == ["Volume 0", "Volume 1"])
    window.find("project.choice").setCurrentRow(1)
    window.click("project.choose")
    window.wait(lambda: window.find("project.name").text() == "bold")
    assert "Volume 1 of 2" in window.find("project.details").text()


def test_doubts_about_left_and_right_can_be_answered(window, scan_file, tmp_path):
    nib = pytest.importorskip("nibabel")
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
    window.pick("project.trust", "RAS")
    window.wait(lambda: "RAS is trusted" in window.find("project.details").text())
    np.testing.assert_array_equal(window.volume, before[::-1])
    assert window.find("project.doubts").text() == doubts, "the answer can be changed"
    window.pick("project.trust", None)
    window.wait(lambda: "RAS is trusted" not in window.find("project.details").text())
    np.testing.assert_array_equal(window.volume, before)
    window.explorer.open_scan(scan_file)
    window.wait(lambda: window.find("project.name").text() == "sub-07")
    assert window.find("project.trust").isHidden()


def test_a_dropped_file_is_opened(window, scan_file):
    window.explorer.panel("Project")
    area = window.find("project.drop")
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(scan_file))])
    drop = QDropEvent(
        QPointF(5, 5),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    area.dropEvent(drop)
    window.wait(lambda: window.find("project.name").text() == "sub-07")


def test_a_scan_opened_through_napari_is_taken_over(window, scan_file):
    (layer,) = window.viewer.open(str(scan_file), plugin="napari-stylegan3d")
    window.wait(lambda: window.captions == {"Real scan: sub-07"})
    assert window.find("project.name").text() == "sub-07"
    assert not layer.visible
    window.viewer.layers.remove(layer)


def test_both_samples_are_there():
    for key in SAMPLES:
        assert sample_path(key).stat().st_size > 100_000
