"""Opening a scan and projecting it in the window."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent

from napari_stylegan3d.samples import SAMPLES, sample_path
from stylegan3d.recipe import read_recipe


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
    window.wait(lambda: window.find("project.progress").value() > 0)
    assert not window.find("project.start").isEnabled()
    assert window.find("project.cancel").isVisibleTo(window.explorer.project)
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
