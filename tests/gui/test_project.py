"""Aligning a scan and projecting it in the window."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_stylegan3d.outline import NAME
from napari_stylegan3d.painting import Painting
from napari_stylegan3d.session import Projected
from stylegan3d.frame import Frame
from stylegan3d.projection import operators
from stylegan3d.projection.operators import Mask
from stylegan3d.recipe import Source, read_recipe


@pytest.fixture(scope="module")
def kept() -> list:
    """The projection, once it was made."""
    return []


@pytest.fixture
def projected(window, scan_file, kept):
    """The small scan, projected; through the controls the first time, remembered after."""
    window.open_scan(scan_file)
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


def test_budgets_tell_how_long_they_take(window, scan_file):
    window.open_scan(scan_file)
    box = window.find("project.budget")
    window.wait(lambda: all(", about " in box.itemText(index) for index in range(box.count())))
    assert box.itemText(0).startswith("Draft: a quick look, about ")


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
    window.open_scan(scan_file)
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
    window.open_scan(scan_file)
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


def test_a_painted_region_is_on_the_models_grid_whatever_its_axes():
    space = Frame.parse("LIA:2x3x4").space((10, 12, 14))
    painting, told = Painting(ViewerModel()), []
    painting.changed.connect(told.append)
    painting.begin(space)
    assert painting.mask() is None
    painting.layer.data_setitem((np.array([1, 2]), np.array([3, 3]), np.array([7, 8])), 1)
    assert told[-1] == pytest.approx(2 * 24 / 1000)
    painted = [painting.layer.data_to_world(at) for at in np.argwhere(painting.layer.data)]
    mask = painting.mask()
    assert mask.shape == (10, 12, 14)
    meant = [space.affine[:3, :3] @ at + space.affine[:3, 3] for at in np.argwhere(mask)]
    np.testing.assert_allclose(sorted(map(tuple, meant)), sorted(map(tuple, painted)))
    painting.set_brush(10)
    assert painting.layer.brush_size == 5, "in voxels of 2 mm"
    painting.clear()
    assert painting.mask() is None
    assert told[-1] == 0


def test_a_painted_region_is_left_to_the_model(window, scan_file, monkeypatch):
    masks = []
    monkeypatch.setattr(operators, "Mask", lambda mask: masks.append(mask) or Mask(mask))
    window.open_scan(scan_file)
    assert window.find("project.fill").parentWidget().isHidden(), "not before it is aligned"
    window.choose("project.budget", "draft")
    window.click("project.align")
    window.wait(lambda: window.find("project.quality").text())
    window.click("project.fill")
    layer = window.viewer.layers.selection.active
    assert str(layer.mode) == "paint"
    window.click("project.erase")
    assert str(layer.mode) == "erase"
    window.click("project.erase")
    window.find("project.brush").setValue(24)
    layer.paint(tuple(n // 2 for n in layer.data.shape), 1)
    ml = np.count_nonzero(layer.data) * np.prod(layer.scale) / 1000
    assert ml > 1
    assert all(extent > 1 for extent in np.ptp(np.argwhere(layer.data), axis=0)), "a ball"
    assert window.find("project.painted").text() == f"{ml:.1f} ml are painted."
    copy = window.views.view("Coronal").model.layers[-1]
    np.testing.assert_array_equal(copy.data, layer.data)
    window.click("project.start")
    window.wait(lambda: window.session.projected)
    (mask,) = masks
    assert mask.sum() == np.count_nonzero(layer.data)
    assert f"painted region ({ml:.1f} ml)" in window.find("project.notes").text()
    window.wait(lambda: not layer.visible)  # it belongs to the scan
    window.click("project.show.scan")
    assert layer.visible
    assert str(layer.mode) == "pan_zoom"
    window.click("project.paint_clear")
    assert "Nothing" in window.find("project.painted").text()
    window.explorer.open_scan(scan_file)
    window.wait(lambda: layer not in window.viewer.layers)
    assert not window.find("project.fill").isChecked()


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
    window.open_scan(scan_file)
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
