"""Functions on any napari layer, through the forms that napari makes for them."""

from __future__ import annotations

import inspect
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import napari
import nibabel as nib
import numpy as np
import pytest
import torch
from bundled import bundled, random_brain
from napari.layers import Image, Labels
from open_sides import KINDS, in_doubt, said_in
from qtpy.QtTest import QTest
from scipy.ndimage import gaussian_filter

import napari_stylegan3d
from napari_stylegan3d.app import layer_functions
from napari_stylegan3d.app.layer_functions import ALIGNED, _scan_of, read_scans, write_image
from napari_stylegan3d.core.scans import DOUBTS
from napari_stylegan3d.views.display import KEY
from stylegan3d.outputs import structures
from stylegan3d.projection.settings import BUDGETS
from stylegan3d.scans.scan import Scan
from stylegan3d.segmentation.classes import STRUCTURES
from stylegan3d.segmentation.inference import Segmentation
from stylegan3d.session.provenance import Provenance

SAMPLE = Path(napari_stylegan3d.__file__).parent / "samples" / "ucla-sub-04_T1w.nii.gz"


@pytest.fixture(scope="module")
def plain_viewer(qapp: Any):
    """A plain napari window, without the explorer."""
    made = napari.Viewer(show=False)
    yield made
    made.close()


@pytest.fixture(scope="module", autouse=True)
def _prepared_once(prepared_folder: Path) -> Iterator[None]:
    """The brain of the scan is found once for all functions."""
    options = inspect.unwrap(Scan.align).__kwdefaults__
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(options, "cache", prepared_folder)
        yield


@pytest.fixture
def viewer(plain_viewer: Any):
    """The same without layers."""
    plain_viewer.layers.clear()
    return plain_viewer


@pytest.fixture
def scan(viewer: Any) -> Image:
    """A whole head, in the array order and place of its file; every second voxel."""
    image = nib.load(SAMPLE).slicer[::2, ::2, ::2]
    sizes = nib.affines.voxel_sizes(image.affine)
    rotation = image.affine[:3, :3] / sizes
    return viewer.add_image(
        np.asarray(image.dataobj, np.float32),
        name="ucla",
        scale=sizes,
        rotate=rotation,
        translate=image.affine[:3, 3],
        units="mm",
    )


def called(viewer: Any, name: str, **values: Any) -> Any:
    """The one layer that a function of the menu adds, its form filled in and its button pressed."""
    _dock, form = viewer.window.add_plugin_dock_widget("napari-stylegan3d", name)
    before = list(viewer.layers)
    for field, value in values.items():
        getattr(form, field).value = value
    form.call_button.native.click()
    for _ in range(9000):
        if len(viewer.layers) > len(before):
            break
        QTest.qWait(10)
    (added,) = (layer for layer in viewer.layers if layer not in before)
    return added


def centre(layer: Any, share: np.ndarray) -> np.ndarray:
    """World coordinates (3,) of the middle of what a mask (X, Y, Z) marks."""
    return np.array(layer.data_to_world(np.argwhere(share).mean(axis=0)))


def test_a_scan_goes_to_model_space_and_what_is_found_there_comes_back(viewer, scan):
    aligned = called(viewer, "To model space", scan=scan)
    assert aligned.data.shape == (80, 112, 96)
    assert isinstance(aligned.metadata[KEY], Provenance)
    assert aligned.metadata[KEY].caption == "Scan: ucla"

    mask = np.zeros(aligned.data.shape, np.uint8)
    mask[50:58, 60:70, 40:52] = 3  # in the right half, to tell a mirror image
    marked = viewer.add_labels(mask, name="mark", scale=aligned.scale, translate=aligned.translate)
    native = called(viewer, "To native space", layer=marked, aligned_scan=aligned)
    assert isinstance(native, Labels)
    assert sorted(native.data.shape) == sorted(scan.data.shape)
    assert set(np.unique(native.data)) == {0, 3}
    volume = np.count_nonzero(native.data) * np.prod(native.scale)
    # Voxels of another size along the edge.
    assert volume == pytest.approx(np.count_nonzero(mask) * 8.0, rel=0.03)
    rigid = aligned.metadata[ALIGNED].rigid
    expected = nib.affines.apply_affine(np.linalg.inv(rigid), centre(marked, mask > 0))
    # mm: half a voxel of the scan.
    np.testing.assert_allclose(centre(native, native.data > 0), expected, atol=1.0)

    back = called(viewer, "To native space", layer=aligned, aligned_scan=aligned)
    inside = np.asarray(back.data) > 0
    assert np.corrcoef(back.data[inside], upright_of(scan, back)[inside])[0, 1] > 0.9


def upright_of(scan: Image, like: Image) -> np.ndarray:
    """The voxels of a scan in the array order of a layer on the same, upright grid."""
    affine = scan._data_to_world.affine_matrix
    canonical = nib.as_closest_canonical(nib.Nifti1Image(scan.data, affine))
    assert canonical.shape == like.data.shape
    return np.asarray(canonical.dataobj)


def test_what_ends_after_its_viewer_was_closed_goes_nowhere(viewer, monkeypatch):
    wait, ended, raised = threading.Event(), threading.Event(), []

    def align(layer: Image, skull: str) -> list[Any]:
        wait.wait()
        ended.set()
        return [(np.zeros((4, 4, 4)), {"metadata": {DOUBTS: []}}, "image")]

    monkeypatch.setattr(layer_functions, "_aligned", align)
    monkeypatch.setattr(sys, "excepthook", lambda *error: raised.append(error))
    closed = napari.Viewer(show=False)
    form = closed.window.add_plugin_dock_widget("napari-stylegan3d", "To model space")[1]
    form.scan.value = closed.add_image(np.zeros((4, 4, 4)))
    form.call_button.native.click()
    closed.close()
    wait.set()
    assert ended.wait(5)
    QTest.qWait(100)
    assert raised == []
    assert list(viewer.layers) == []


def test_tissues_are_segmented_on_the_scans_own_grid(viewer, scan):
    labels = called(viewer, "Segment tissues", scan=scan)
    assert isinstance(labels, Labels)
    assert labels.name == "ucla: tissues"
    measures = labels.metadata["stylegan3d-measures"]
    ventricle = np.count_nonzero(labels.data == 4) * np.prod(labels.scale) / 1000
    assert measures["ventricle_ml"] > 2
    # Partial voxels: the measure counts shares, the map whole ones.
    assert ventricle == pytest.approx(measures["ventricle_ml"], rel=0.3)


class WhiteMatter:
    """Stands in for the network of structures, which takes seconds: all is right white matter."""

    device = torch.device("cpu")

    def segment(self, volume, space, **_options):
        index = STRUCTURES.classes.index("right_cerebral_white")
        return Segmentation((volume > 0) * np.uint8(index), space, 1.0, STRUCTURES)


@pytest.mark.soak
def test_a_scan_is_reconstructed_where_it_lies(viewer, scan, monkeypatch):
    monkeypatch.setitem(BUDGETS, "draft", 1)  # the encoder comes near enough
    made = called(viewer, "Reconstruct scan", scan=scan)
    assert made.metadata[KEY].caption.endswith("Synthetic – not for diagnosis")
    assert made.metadata["stylegan3d-trust"]["similarity"]["ssim"] > 0.6
    inside = np.asarray(made.data) > 0
    assert np.corrcoef(made.data[inside], upright_of(scan, made)[inside])[0, 1] > 0.7


def test_a_brain_is_reconstructed_where_it_lies_and_no_function_drops_a_doubt(
    viewer, notifications, tmp_path, monkeypatch
):
    monkeypatch.setitem(BUDGETS, "draft", 1)
    generator, brain = bundled(), random_brain(1).astype(np.float32)
    # Softer than from any scanner that was tried.
    brain = np.where(brain > 0, gaussian_filter(brain, 1.2), 0)
    # From left to right and back to front, turned by 6 degrees and moved.
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]]
    turn[:3, 3] = [4, -9, 15]
    image = nib.Nifti1Image(brain, turn @ generator.affine).slicer[::-1, ::-1]
    path = in_doubt(tmp_path / "sub-01_ce-gad_T1w.nii.gz", image.get_fdata(), image.affine)
    ((data, about, _kind),) = read_scans(str(path))
    assert said_in(" ".join(notifications)) == KINDS
    scan = viewer.add_image(data, **about)

    notifications.clear()
    labels = called(viewer, "Segment tissues", scan=scan)
    assert said_in(" ".join(notifications)) == KINDS
    monkeypatch.setattr(structures, "bundled_structures", WhiteMatter)
    monkeypatch.setattr(structures, "MM", 2.0)  # it needs no voxels of 1 mm
    of_white = called(viewer, "Segment structures (any contrast)", scan=scan)
    assert set(np.unique(of_white.data)) == {0, 41}
    assert "turned" in {doubt.kind for doubt in of_white.metadata[DOUBTS]}  # half a brain only
    assert 41 in list(of_white.features["index"])
    aligned = called(viewer, "To model space", scan=scan, brain_extraction="keep")
    made = called(viewer, "Reconstruct scan", scan=scan, brain_extraction="keep")
    assert made.metadata[KEY].caption.endswith("Synthetic – not for diagnosis")
    assert made.metadata["stylegan3d-trust"]["similarity"]["ssim"] > 0.6
    inside = np.asarray(made.data) > 0
    assert np.corrcoef(made.data[inside], data[inside])[0, 1] > 0.7
    native = called(viewer, "To native space", layer=aligned, aligned_scan=aligned)
    for layer in (labels, of_white, aligned, made, native):
        assert {doubt.kind for doubt in layer.metadata[DOUBTS]} >= KINDS, layer.name
    assert "acquisition" in {doubt.kind for doubt in made.metadata[DOUBTS]}

    file = str(tmp_path / "saved.nii.gz")
    write_image(file, *made.as_layer_data_tuple()[:2])
    sidecar = json.loads((tmp_path / "saved.json").read_text())
    assert {doubt["kind"] for doubt in sidecar["Doubts"]} >= KINDS


def test_no_figures_are_told_of_a_scan_that_is_refused(viewer):
    generator, brain = bundled(), random_brain(1) / np.float32(255)
    of_t2 = np.where(brain > 0.05, 1.05 - brain, 0)
    scan = viewer.add_image(of_t2, affine=generator.affine, units="mm")
    labels = called(viewer, "Segment tissues", scan=scan, brain_extraction="keep")
    assert labels.data.any()
    assert labels.metadata["stylegan3d-measures"] == {}
    doubts = {doubt.kind: doubt.severity for doubt in labels.metadata[DOUBTS]}
    assert doubts["contrast"] == "refuse"


def test_the_unit_of_a_layer_counts_and_pixels_are_in_doubt(scan):
    in_mm = _scan_of(scan)
    assert "unit" not in {doubt.kind for doubt in in_mm.doubts}
    scan.units = "pixel"
    told = _scan_of(scan)
    np.testing.assert_array_equal(told.affine, in_mm.affine)
    (doubt,) = (doubt for doubt in told.doubts if doubt.kind == "unit")
    assert doubt.severity == "ask"
    scan.units, scan.scale, scan.translate = "um", 1000 * scan.scale, 1000 * scan.translate
    np.testing.assert_allclose(_scan_of(scan).affine, in_mm.affine)


def test_what_cannot_be_used_is_refused_in_a_sentence(viewer, notifications):
    flat = viewer.add_image(np.zeros((8, 9)), name="flat")
    _dock, form = viewer.window.add_plugin_dock_widget("napari-stylegan3d", "Segment tissues")
    form.scan.value = flat
    form.call_button.native.click()
    for _ in range(500):
        if notifications:
            break
        QTest.qWait(10)
    assert notifications == ["Choose an image layer with three axes: a scan."]
    assert list(viewer.layers) == [flat]
