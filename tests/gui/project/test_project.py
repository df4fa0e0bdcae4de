"""Aligning a scan and projecting it in the window."""

from __future__ import annotations

import dataclasses
import json
import re
import threading
from functools import partial
from types import SimpleNamespace
from typing import get_args

import nibabel as nib
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from open_sides import KINDS, in_doubt, said_in
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QScrollArea
from tolerances import FLOAT32, LAYERS, QFORM_MM, SUMS

from napari_stylegan3d.core import worker
from napari_stylegan3d.core.jobs import DisplayVolume
from napari_stylegan3d.export.jobs import pictured
from napari_stylegan3d.project import controller
from napari_stylegan3d.project import result as results
from napari_stylegan3d.project.regions import RegionPainter, mask_of
from napari_stylegan3d.project.result import VerdictRow
from napari_stylegan3d.views.display import enlarge
from napari_stylegan3d.views.layers import OUTLINE_NAME
from napari_stylegan3d.widgets import dialogs
from stylegan3d.base import Doubt
from stylegan3d.geometry.space import Frame
from stylegan3d.projection import settings as projection
from stylegan3d.recipe.description import read_recipe
from stylegan3d.recipe.recipe import Edit, Source
from stylegan3d.render.recipes import render_recipe
from stylegan3d.session.case import Case

UNPAINTED = True


@pytest.fixture
def projected(window, scan_file):
    """The small scan, projected."""
    window.project(scan_file)
    return window


def test_projection_shows_and_compares(projected):
    window = projected
    assert window.recipe.source.kind == "projected"
    (result,) = window.session.projected
    box = window.find("mix.source")
    assert "Projected sub-07" in [box.itemText(i) for i in range(box.count())]
    assert window.find("mix.first").text().endswith("Projected sub-07")
    assert window.find("project.ssim").text() == f"{result.assessment['similarity']['ssim']:.3f}"
    assert window.find("project.mean.ncc").text() == f"{result.assessment['mean_brain']['ncc']:.3f}"
    assert -1 <= result.assessment["similarity"]["ncc"] <= 1
    assert window.find("project.verdict.reconstruction").text() == "▲ Reconstruction: caution"
    reason = window.find("project.verdict.reconstruction.reason").text()
    assert reason.startswith("Not calibrated: ")
    worst = max(result.assessment["regions"].items(), key=lambda item: item[1]["rms"])
    first = window.find("project.regions").text().splitlines()[1]
    assert first == f"{worst[0]}: {100 * worst[1]['rms']:.0f} %"
    np.testing.assert_array_equal(window.volume, result.aligned.volume)
    assert window.captions == {"Scan: sub-07"}, "without an edit it is the scan itself"
    assert window.find("project.show.edited").isChecked()
    window.click("project.show.model")
    window.settle()
    reconstruction = window.volume
    assert np.abs(reconstruction - result.aligned.volume).max() > 0.01
    assert window.captions == {"Reconstruction of sub-07\nSynthetic – not for diagnosis"}
    window.click("project.show.scan")
    np.testing.assert_allclose(window.volume, result.aligned.volume, atol=FLOAT32)
    assert window.captions == {"Scan: sub-07"}
    window.click("project.show.residual")
    window.settle()
    np.testing.assert_allclose(window.volume, reconstruction - result.aligned.volume, atol=FLOAT32)
    assert window.captions == {"sub-07: reconstruction − scan\nDifference – not for diagnosis"}
    window.views.view("3D").follower.settle()
    in_3d = window.views.view("3D").model.layers[0]
    np.testing.assert_array_equal(in_3d.data, window.volume)
    assert tuple(in_3d.contrast_limits) == tuple(window.explorer.stage.layer.contrast_limits)
    bar = window.explorer.stage.legend.table
    colors = in_3d.colormap.map(np.linspace(0, 1, len(bar)))
    np.testing.assert_allclose(colors[:, :3], bar[:, :3], atol=0.01)  # tables of 256 colours
    window.click("project.show.model")
    window.settle()
    np.testing.assert_array_equal(window.volume, reconstruction)


def test_the_difference_follows_previews(projected):
    window = projected
    comparison, (result,) = window.explorer.comparison, window.session.projected
    window.click("project.show.residual")
    window.settle()
    loaded = window.explorer.rendering.loaded
    edited = window.session.state.drawn.replace(edits=(Edit("PC 1", 3.0),))
    preview = DisplayVolume.of(render_recipe(loaded.renderer, edited, "preview"), loaded.generator)
    assert preview.rendered.volume.shape != result.aligned.volume.shape
    comparison.set_picture(edited, preview)
    assert window.captions == {"sub-07: reconstruction − scan\nDifference – not for diagnosis"}
    made = enlarge(preview.rendered.volume, result.aligned.volume.shape)
    np.testing.assert_allclose(window.volume, made - result.aligned.volume, atol=FLOAT32)


@pytest.mark.parametrize("elsewhere", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_the_verdict_comes_into_sight(projected, elsewhere, request, monkeypatch):
    window, (result,) = projected, projected.session.projected
    verdict = window.find("project.verdict.reconstruction")
    window.explorer.panel("Project")
    area = next(
        area
        for area in window.explorer.findChildren(QScrollArea)
        if area.isAncestorOf(window.explorer.project)
    )
    main = window.viewer.window._qt_window
    request.addfinalizer(partial(main.resize, main.size()))
    main.resize(1280, 720)
    QTest.qWait(50)
    window.session.undo()
    monkeypatch.setattr(controller, "project_scan", lambda *_: dataclasses.replace(result))
    window.click("project.start")
    area.verticalScrollBar().setValue(0)
    assert verdict.visibleRegion().isEmpty()
    if elsewhere:
        window.explorer.panel("Export")
    window.wait(lambda: window.session.projected[-1] is not result)
    QTest.qWait(50)
    window.explorer.panel("Project")
    window.wait(lambda: verdict.visibleRegion().boundingRect() == verdict.rect())


def test_the_panel_drops_no_doubt(window, scan_file, tmp_path):
    image = nib.load(scan_file)
    path = in_doubt(tmp_path / "sub-07-gad_T1w.nii.gz", image.get_fdata(), image.affine)
    case = window.project(path)
    assert said_in(window.find("project.doubts").text()) == KINDS
    assert said_in(window.find("project.notes").text()) == KINDS
    assert {doubt.kind for doubt in case.doubts} > KINDS


def test_regions_are_named_by_how_unusual_they_are(window):
    regions = {
        "left frontal lobe": {"rms": 0.2, "usual": 0.21, "unusual": -0.5},
        "cerebellum": {"rms": 0.12, "usual": 0.05, "unusual": 6.0},
        "brain stem": {"rms": 0.1, "usual": 0.08, "unusual": 1.0},
        "ventricles": {"rms": 0.1, "usual": 0.09, "unusual": 0.2},
    }
    trust = {
        "verdicts": {"reconstruction": {"level": "red", "sentence": "Do not read it."}},
        "regions": regions,
    }
    doubts = (
        Doubt("reconstruction", "refuse", "Do not read it."),
        Doubt("cut", "ask", "Look at the cerebellum."),
    )
    box = window.explorer.project.result
    box.show_result(Case("sub-07", source=Source("seed", 1), doubts=doubts, assessment=trust))
    told = window.find("project.regions").text().splitlines()
    assert told[1:] == [
        "cerebellum: 12 % (usually 5 %)",
        "brain stem: 10 % (usually 8 %)",
        "ventricles: 10 % (usually 9 %)",
    ]
    assert window.find("project.verdict.reconstruction").property("role") == "error"
    assert window.find("project.notes").text() == "Look at the cerebellum.", "once is enough"
    box.show_result(None)
    assert window.find("project.verdicts").isHidden()


def test_three_verdicts_and_a_finding_that_can_be_gone_to(projected):
    window, (result,) = projected, projected.session.projected
    assert window.find("project.verdict.focal").parentWidget().isHidden(), "it is not calibrated"
    assert not window.find("project.show.unusual").isEnabled()
    z = np.zeros(result.aligned.volume.shape, np.float32)
    z[3:5, 4:6, 4] = -6.0
    z[2, 2, 2] = 2.0
    center = (result.aligned.space.affine @ (3, 4, 4, 1))[:3].tolist()
    finding = {"place": "left frontal lobe", "ml": 2.04, "peak_z": -6.0, "center_mm": center}
    verdicts = {
        "focal": {"level": "red", "sentence": "Something."},
        "acquisition": {"level": "amber", "sentence": "Sharper."},
        "anatomy": {"level": "green", "sentence": "Usual."},
    }
    trust = {**result.assessment, "verdicts": verdicts, "findings": [finding]}
    window.session.swap(result, dataclasses.replace(result, assessment=trust, residual_z=z))
    window.session.projectedChanged.emit()
    column = window.explorer.project.result.lights.column
    widgets = [column.itemAt(row).widget() for row in range(column.count())]
    assert [row.title.text() for row in widgets if isinstance(row, VerdictRow)] == [
        "■ Focal: warning",
        "▲ Acquisition: caution",
        "✓ Anatomy: within normal limits",
        "▲ Reconstruction: caution",
    ]
    window.explorer.panel("Project")
    assert not window.explorer.grab().isNull(), "all of it is painted once"
    assert window.find("project.verdict.focal.reason").text() == "Something."
    assert window.find("project.finding.0").text() == "left frontal lobe, 2.0 ml, z −6.0"
    assert window.find("project.finding.1").isHidden()
    focal = window.find("project.verdict.focal").parentWidget()
    assert widgets[widgets.index(focal) + 1] is window.find("project.finding.0")
    window.click("project.finding.0")
    window.settle()
    assert window.find("project.show.unusual").isChecked()
    assert window.explorer.measuring._subject().volume is result.aligned.volume
    assert window.captions == {"Scan: sub-07"}
    overlay = window.explorer.comparison.stage.overlay.layer
    assert np.count_nonzero(overlay.data) == 4, "what is below the threshold is not coloured"
    # mm: the nearest voxel.
    np.testing.assert_allclose(window.viewer.dims.point, center, atol=0.6 * overlay.scale[0])
    window.click("project.show.scan")
    assert window.explorer.comparison.stage.overlay.layer is None


def test_an_aligned_scan_can_be_moved_by_hand(window, scan_file, nothing_prepared):
    window.open_scan(scan_file)
    assert window.find("project.shift.0").parentWidget().isHidden()
    window.click("project.align")
    window.wait(lambda: window.find("project.quality").text())
    found = window.volume
    generator = window.session.generator
    assert found.shape == tuple(generator.shape)
    assert window.captions == {"Scan: sub-07"}
    told = window.find("project.steps").text()
    assert told.startswith("Extraction: The brain was extracted already and was kept as it is.")
    assert " s)" in told, "how long it took is said"
    window.session.close_patient(window.session.key)
    assert not window.find("project.quality").text()
    window.open_scan(scan_file)
    assert not window.find("project.quality").text()
    window.click("project.align")
    window.wait(lambda: window.find("project.quality").text())
    assert "(from the cache)" in window.find("project.steps").text(), "ready at once"
    outline = window.viewer.layers[OUTLINE_NAME]
    drawn = [outline.data_to_world(index) for index in np.argwhere(outline.data)]
    middle = np.mean(drawn, axis=0)
    # mm: the centre of a surface drawn in voxels.
    np.testing.assert_allclose(middle, generator.space.center_mm, atol=8)
    in_3d = [layer.name for layer in window.views.view("3D").model.layers]
    assert OUTLINE_NAME not in in_3d, "it would be a shell"
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
    assert "Moved manually by 12.0 mm" in window.find("project.steps").text()
    window.find("project.outline").setChecked(False)
    assert OUTLINE_NAME not in window.viewer.layers
    window.click("project.pose_reset")
    window.wait(lambda: np.array_equal(window.volume, found))
    assert window.find("project.shift.1").value() == 0
    window.find("project.outline").setChecked(True)
    window.click("browse.next")
    window.settle()
    assert OUTLINE_NAME not in window.viewer.layers, "it is the scan's alone"


def test_what_was_moved_is_projected(window, scan_file):
    """And on the way there the outline leaves the crosshair where it is."""
    window.open_scan(scan_file)
    window.choose("project.budget", "draft")
    window.click("project.align")
    window.wait(lambda: window.find("project.quality").text())
    window.views.reset()
    low, high = (np.array([r[i] for r in window.viewer.dims.range]) for i in (0, 1))
    window.viewer.dims.point = tuple(low + 0.8 * (high - low))
    before = np.array(window.viewer.dims.point)
    window.find("project.outline").setChecked(False)
    # mm: napari goes to the nearest slice when a layer leaves.
    np.testing.assert_allclose(window.viewer.dims.point, before, atol=10)
    window.set("project.turn.2", 4.0)
    window.click("project.start")
    window.wait(lambda: window.session.projected)
    (result,) = window.session.projected
    turned = result.aligned.rigid @ np.linalg.inv(result.found.rigid)
    angle = np.degrees(np.arctan2(turned[1, 0], turned[0, 0]))
    assert angle == pytest.approx(4.0, abs=1e-3)  # degrees; saved with four decimals
    assert window.find("project.turn.2").value() == 4.0


def test_a_painted_region_is_on_the_models_grid_whatever_its_axes():
    space = Frame.parse("LIA:2x3x4").space((10, 12, 14))
    painting, told = RegionPainter(ViewerModel()), []
    painting.changed.connect(told.append)
    painting.begin(space)
    assert painting.region() is None
    painting.layer.data_setitem((np.array([1, 2]), np.array([3, 3]), np.array([7, 8])), 1)
    assert told[-1] == pytest.approx(2 * 24 / 1000)
    painted = [painting.layer.data_to_world(at) for at in np.argwhere(painting.layer.data)]
    mask = mask_of(painting.region(), space).mask
    assert mask.shape == (10, 12, 14)
    meant = [space.affine[:3, :3] @ at + space.affine[:3, 3] for at in np.argwhere(mask)]
    np.testing.assert_allclose(sorted(map(tuple, meant)), sorted(map(tuple, painted)))
    painting.set_brush(10)
    assert painting.layer.brush_size == 5, "in voxels of 2 mm"
    brushes = []
    painting.brushChanged.connect(brushes.append)
    painting.layer.brush_size = 8
    assert brushes == [16.0], "napari's keys change it too"
    painting.set_brush(21)
    assert brushes == [16.0], "what a person typed stays, though voxels are coarser"
    painting.clear()
    assert painting.region() is None
    assert told[-1] == 0
    painting.layer.undo()
    assert len(np.argwhere(painting.region().data)) == len(painted), "as after any stroke"


def paint(window, millimetres=24):
    """Align the scan that is open and paint a ball in its middle; the layer."""
    window.click("project.align")
    window.wait(lambda: window.find("project.quality").text())
    window.click("project.fill")
    layer = window.viewer.layers.selection.active
    window.find("project.brush").setValue(millimetres)
    layer.paint(tuple(n // 2 for n in layer.data.shape), 1)
    return layer


def test_a_painted_region_is_left_to_the_model_and_the_filled_scan_is_saved(
    window, scan_file, monkeypatch, tmp_path, notifications
):
    window.open_scan(scan_file)
    assert window.find("project.fill").parentWidget().isHidden(), "not before it is aligned"
    window.choose("project.budget", "draft")
    layer = paint(window)
    assert str(layer.mode) == "paint"
    window.click("project.erase")
    assert str(layer.mode) == "erase"
    window.click("project.erase")
    ml = np.count_nonzero(layer.data) * np.prod(layer.scale) / 1000
    assert ml > 1
    assert all(extent > 1 for extent in np.ptp(np.argwhere(layer.data), axis=0)), "a ball"
    assert window.find("project.painted").text() == f"{ml:.1f} ml painted."
    copy = window.views.view("Coronal").model.layers[-1]
    np.testing.assert_array_equal(copy.data, layer.data)
    assert window.find("project.save_filled").isHidden()
    window.click("project.start")
    window.wait(lambda: window.session.projected)
    (result,) = window.session.projected
    mask = result.filled.region.data
    assert mask.sum() == np.count_nonzero(layer.data)
    assert f"masked region ({ml:.1f} ml)" in window.find("project.notes").text()
    kept = [doubt["kind"] for doubt in window.recipe.scan()["doubts"]]
    assert kept.count("masked") == 1, "what is made from the latent says so, too"
    window.wait(lambda: not layer.visible)  # it belongs to the scan
    window.click("project.show.filled")
    window.wait(lambda: np.allclose(window.volume, result.filled.volume, atol=SUMS))
    assert window.find("project.show.filled").isChecked()
    filled = "sub-07: inpainted by the model\nEdited scan, not an acquired image"
    assert window.captions == {filled}
    assert window.find("project.save_filled").text() == "Save inpainted scan…"
    shown = pictured(window.explorer.comparison)
    assert re.fullmatch(r"sub-07_.*desc-filled_T1w_all\.png", shown.name("all"))
    told = shown.sidecar(tmp_path, window.session.generator)
    assert "generator filled in" in told["Description"]
    assert told["SyntheticImage"] is True
    assert told["MadeUpFrom"].startswith("Projected sub-07")
    outside = ~mask & result.aligned.brain_mask
    np.testing.assert_allclose(
        result.filled.volume[outside], result.aligned.volume[outside], atol=SUMS
    )
    plain, edited = window.recipe, window.recipe.replace(edits=(Edit("PC 1", 3.0),))
    filling, late = window.explorer.projecting.filling.working, threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(
            results, "fill", lambda *args, fill=results.fill: late.wait(60) and fill(*args)
        )
        window.session.change(edited)
        window.wait(lambda: filling.busy)
        window.session.change(plain)
        window.settle()
        late.set()
        window.wait(lambda: not filling.busy)
    np.testing.assert_allclose(window.volume, result.filled.volume, atol=SUMS)
    window.session.change(edited)
    window.wait(lambda: np.abs(window.volume - result.filled.volume)[mask].max() > 0.01)
    window.settle()
    assert window.find("project.show.filled").isChecked(), "edits are seen in the filled scan"
    np.testing.assert_allclose(window.volume[outside], result.aligned.volume[outside], atol=SUMS)
    subject = window.explorer.measuring._subject()
    np.testing.assert_array_equal(subject.volume, window.volume)
    assert subject.title == "Edited scan sub-07: inpainted by the model"
    assert window.explorer.measuring._who()[1] == result.sha256
    monkeypatch.setattr(dialogs, "choose_folder", lambda *_: tmp_path / "out")
    window.click("project.save_filled")
    window.wait(lambda: notifications and notifications[-1].startswith("Saved "))
    window.wait(lambda: window.find("project.save_filled").isEnabled())
    original = nib.load(scan_file)
    (native,) = (tmp_path / "out").glob("*desc-filled_T1w.nii.gz")
    filled = nib.load(native)
    np.testing.assert_allclose(filled.affine, original.affine, atol=QFORM_MM)
    changed = filled.get_fdata() != original.get_fdata()
    assert 0.3 < changed.sum() * np.prod(original.header.get_zooms()) / 1000 / ml < 2
    told = json.loads(native.with_name(native.name.replace(".nii.gz", ".json")).read_text())
    # A second projection of one scan in a session has a name of its own.
    assert re.fullmatch(r"Projected sub-07(_rec-\d+)?, PC 1 \+3 sd", told["MadeUpFrom"])
    window.click("project.save_filled")
    window.wait(lambda: "exists already" in notifications[-1])
    window.click("project.show.scan")
    assert layer.visible
    assert str(layer.mode) == "pan_zoom"
    window.click("project.paint_clear")
    assert "Nothing" in window.find("project.painted").text()
    window.show("Synthetic brains")
    assert not layer.visible, "at once"
    assert not layer.data.any()
    assert not window.find("project.fill").isChecked()
    window.show("sub-07")
    assert window.explorer.projecting.painting.region() is None, "it was cleared"


@pytest.mark.soak
def test_thick_slices_are_allowed_for(window, scan_file, tmp_path):
    thin, path = nib.load(scan_file), tmp_path / "sub-07_T1w.nii.gz"
    data = np.asarray(thin.dataobj).reshape(50, 64, 28, 2).mean(axis=3)
    affine = thin.affine @ nib.affines.from_matvec(np.diag([1, 1, 2]), [0, 0, 0.5])
    nib.save(nib.Nifti1Image(data.astype(np.int16), affine), path)
    window.open_scan(scan_file)
    box = window.find("project.loss")
    assert box.findData("thick:6mm:S") < 0
    window.explorer.open_scan(path)
    window.wait(lambda: box.findData("thick:6mm:S") > 0)
    assert "axial slices, 6 mm thick" in box.itemText(box.findData("thick:6mm:S"))
    assert box.currentData() == ""
    window.choose("project.loss", "thick:6mm:S")
    window.choose("project.budget", "draft")
    window.click("project.start")
    window.wait(lambda: window.session.projected)
    (result,) = window.session.projected
    assert result.filled.loss == "thick:6mm:S"
    assert window.find("project.show.filled").text() == "Super-resolved"
    assert window.find("project.save_filled").text() == "Save super-resolved scan…"
    window.click("project.show.filled")
    window.wait(lambda: np.allclose(window.volume, result.filled.volume, atol=LAYERS))
    window.choose("project.loss", "")


def test_a_region_and_a_degradation_stay_as_their_patient_was_left(window, scan_file):
    window.open_scan(scan_file)
    assert not window.find("explorer.undo").isEnabled()
    paint(window)
    ml, kept = window.find("project.painted").text(), window.session.annotations.mask
    window.click("explorer.undo")
    assert window.find("project.painted").text().startswith("Nothing painted yet")
    assert window.session.annotations.mask is None
    window.click("explorer.redo")
    assert window.find("project.painted").text() == ml
    window.find("project.fill").setChecked(False)
    assert not window.find("explorer.undo").isEnabled(), "no brush is in hand"
    window.choose("project.loss", "blur:3mm")
    for ticked in (True, False):
        window.find("project.fill").setChecked(ticked)
        window.show("Synthetic brains")
        assert window.find("project.loss").currentData() == ""
        window.show("sub-07")
        window.settle()
        assert window.find("project.fill").isChecked() == ticked
        assert window.find("project.loss").currentData() == "blur:3mm"
        assert np.array_equal(window.session.annotations.mask.data, kept.data)
    drawn = Labels(np.ones((9, 9, 9), np.uint8), name="Lesion", units=("mm",) * 3)
    window.viewer.layers.append(drawn)
    box = window.find("project.region")
    window.find("project.fill").setChecked(True)
    box.setCurrentText("Lesion, on the original scan")
    window.show("Synthetic brains")
    assert not window.find("project.fill").isChecked()
    window.show("sub-07")
    window.settle()
    assert window.find("project.fill").isChecked()
    assert box.currentText() == "Lesion, on the original scan"
    assert window.find("project.painted").text() == "0.7 ml masked."
    window.viewer.layers.remove(drawn)
    assert box.currentText() == "Painted region"


def test_a_stroke_is_seen_in_all_views(window, scan_file):
    window.open_scan(scan_file)
    layer = paint(window, 2)
    window.find("project.outline").setChecked(False)
    window.views.reset()
    window.wait(lambda: not window.views._fitting.waits)
    before = {name: window.pixels(name) for name in ("Axial", "Sagittal", "Coronal")}
    z = int(layer.world_to_data(window.viewer.dims.point)[2])
    window.find("project.brush").setValue(30)
    place = (layer.data.shape[0] // 3, layer.data.shape[1] // 3, z)
    layer.paint(place, 1)
    meant = layer.data_to_world(place)
    step = max(layer.scale)
    window.wait(lambda: np.allclose(window.viewer.dims.point[:2], meant[:2], atol=step))
    for name, picture in before.items():
        model = window.views.view(name).model
        assert layer.name in [other.name for other in model.layers if other.visible]
        window.wait(lambda n=name, p=picture: is_orange(window.pixels(n)) > is_orange(p) + 20)
    recipe = window.session.recipe
    window.explorer.guidance.commands["undo"]()
    assert not layer.data[place], "while painting, a stroke is undone"
    assert window.session.recipe == recipe
    window.explorer.guidance.commands["redo"]()
    assert layer.data[place]
    window.click("project.fill")
    window.explorer.guidance.commands["undo"]()
    assert layer.data[place], "the brush is put down"
    window.viewer.layers.remove(layer)
    assert window.explorer.projecting.painting.region() is None, "what is not seen is not projected"
    assert window.session.annotations.mask is None


def is_orange(pixels):
    """How many pixels are redder than blue: the region's colour, over a grey picture."""
    return int(np.count_nonzero(pixels[..., 0] > pixels[..., 2] + 40))


def test_a_region_is_taken_from_any_labels_layer(window, scan_file):
    window.open_scan(scan_file)
    window.click("project.align")
    window.wait(lambda: window.find("project.quality").text())
    aligned = window.session.placed
    window.click("project.fill")
    box = window.find("project.region")
    assert [box.itemText(i) for i in range(box.count())] == ["Painted region"]
    # A ball of 20 mm around the brain's middle, drawn elsewhere: another grid, turned, and in the
    # scan's own space.
    middle = aligned.space.affine[:3, :3] @ np.argwhere(aligned.brain_mask).mean(axis=0)
    middle = middle + aligned.space.affine[:3, 3]
    turn = nib_eulers(0.2, -0.1, 0.3)
    for of_scan, center in ((False, middle), (True, to_scan(aligned, middle))):
        affine = np.eye(4)
        affine[:3, :3] = turn * 3
        affine[:3, 3] = center - affine[:3, :3] @ [15, 15, 15]
        index = np.moveaxis(np.indices((31, 31, 31)), 0, -1)
        ball = np.linalg.norm(3 * (index - 15), axis=-1) < 20
        drawn = ball.astype(np.uint8) * 7
        layer = Labels(drawn, name="Lesion", affine=affine, visible=False, units=("mm",) * 3)
        window.viewer.layers.append(layer)
        where = "the original scan" if of_scan else "the aligned scan"
        box.setCurrentIndex(box.findText(f"Lesion, on {where}"))
        ml = np.count_nonzero(ball) * 27 / 1000
        assert window.find("project.painted").text() == f"{ml:.1f} ml masked."
        assert window.find("project.brush").parentWidget().isHidden()
        mask = mask_of(window.explorer.projecting._region(), aligned.space).on(
            aligned.space, aligned
        )
        places = aligned.space.affine[:3, :3] @ np.argwhere(mask.mask).mean(axis=0)
        # mm: half a voxel of the model, which are 8 mm wide.
        np.testing.assert_allclose(places + aligned.space.affine[:3, 3], middle, atol=4)
        layer.visible = True
        window.explorer.comparison.viewChanged.emit("filled")
        assert not layer.visible, "it would cover what was filled in"
        window.explorer.comparison.viewChanged.emit("scan")
        assert layer.visible
        window.viewer.layers.remove(layer)
        assert window.find("project.region").currentText() == "Painted region"


def nib_eulers(*angles):
    return nib.eulerangles.euler2mat(*angles)


def to_scan(aligned, point):
    back = np.linalg.inv(aligned.rigid)
    return back[:3, :3] @ point + back[:3, 3]


def test_noise_is_offered_where_a_model_has_some(window):
    box = window.find("project.space")
    entry = box.model().item(box.findData("w+noise"))
    generator = window.session.generator
    assert entry.isEnabled() == (generator.has_layer_noise or generator.has_own_noise)
    assert "fine texture of this scan is fitted too" in " ".join(box.toolTip().split())
    quiet = SimpleNamespace(has_layer_noise=False, has_own_noise=False, cannot={})
    box.setCurrentIndex(box.findData("w+noise"))
    window.explorer.project.show_model(quiet)
    assert not entry.isEnabled()
    assert "no noise to invert" in entry.toolTip()
    assert box.currentData() == "w+"
    window.explorer.project.show_model(generator)


def test_result_is_saved_in_the_scans_own_space(projected, scan_file, tmp_path):
    window = projected
    window.find("export.folder").setText(str(tmp_path))
    assert not window.find("export.native").isVisibleTo(window.explorer.export)
    window.click("project.show.model")
    window.find("export.native").setChecked(True)
    window.click("export.save")
    window.wait(lambda: not window.explorer.exporting.job.running)
    assert "Saved" in window.find("export.done").text()
    window.click("project.show.edited")
    original = nib.load(scan_file)
    (native,) = [p for p in tmp_path.glob("*.nii.gz") if "space-model" not in p.name]
    image = nib.load(native)
    assert image.shape == original.shape
    np.testing.assert_allclose(image.affine, original.affine, atol=QFORM_MM)
    (latent,) = tmp_path.glob("*.safetensors")
    assert window.recipe.source.path == str(latent)
    sidecar = next(tmp_path.glob("*space-model*.json"))
    window.session.links.close()  # its folder of unsaved latents is gone
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
    window.wait(lambda: not window.explorer.exporting.job.running)
    assert str(tmp_path) in window.recipe.source.path
    window.settle()
    np.testing.assert_array_equal(window.volume, before)
    assert window.session.find_projected(window.recipe.source) is not None


def test_budgets_tell_their_time_and_cancel_brings_back_what_was_there(window, scan_file):
    window.set("browse.seed", 2)
    window.settle()
    before = window.volume
    window.open_scan(scan_file)
    box = window.find("project.budget")
    window.wait(lambda: all(", ~" in box.itemText(index) for index in range(box.count())))
    assert box.itemText(0).startswith("Draft, ~")
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
    assert window.captions == {"Scan: sub-07"}, "it was looked at"
    assert window.find("project.show.scan").isChecked()
    assert window.find("project.start").isEnabled()
    assert window.recipe is None, "no brain of anybody else stands behind it"
    window.show("Synthetic brains")
    window.settle()
    assert window.recipe.source.seed == 2
    np.testing.assert_array_equal(window.volume, before)
    window.show("sub-07")
    window.click("project.start")
    window.click("project.cancel")
    window.wait(lambda: not window.explorer.projecting.job.running)
    assert window.captions == {"Scan: sub-07"}


def test_memory_is_given_back_beside_the_window_after_a_projection(window, scan_file, monkeypatch):
    threads, rest = [], worker._gui_thread()._rest
    monkeypatch.setattr(worker, "give_back", lambda: threads.append(threading.current_thread()))
    rest.setInterval(60_000)  # however slow the machine is
    try:
        window.open_scan(scan_file)
        window.choose("project.budget", "thorough")
        window.click("project.start")
        window.wait(lambda: window.find("project.progress").value() > 0)
        assert not threads
        window.click("project.cancel")
        window.wait(lambda: not window.explorer.projecting.job.running)
    finally:
        rest.setInterval(worker.REST_MS)
    window.wait(lambda: threads)
    assert threading.main_thread() not in threads


def test_the_window_offers_every_choice_of_the_engine(window):
    for name, known in (("budget", projection.BUDGETS), ("space", get_args(projection.Space))):
        box = window.find(f"project.{name}")
        assert {box.itemData(index) for index in range(box.count())} == {*known}
