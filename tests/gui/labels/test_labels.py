"""The Labels box: tissues of what is shown, edited, and the brain that fits them."""

import copy
import dataclasses
import json
import threading
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch
from napari.components.overlays import BrushCircleOverlay
from qtpy.QtTest import QTest
from scipy import ndimage
from tiny import tiny_generator
from tolerances import FLOAT32

from napari_stylegan3d.app import sessions as restoring
from napari_stylegan3d.app.sessions import FOLDER_VARIABLE
from napari_stylegan3d.core import rendering as sharpening
from napari_stylegan3d.core import tissues as network
from napari_stylegan3d.labels import controller as relabelled
from napari_stylegan3d.labels.controller import NAME, READ_ANEW
from napari_stylegan3d.views.canvases import view_picture
from napari_stylegan3d.widgets import dialogs
from stylegan3d.base import ScanError
from stylegan3d.recipe.recipe import Detail, Edit, Recipe, Source
from stylegan3d.render.editable import FineScan
from stylegan3d.segmentation import inference
from stylegan3d.segmentation.classes import REGIONS
from stylegan3d.segmentation.inference import Segmentation, Segmenter
from stylegan3d.segmentation.network import TissueNetwork
from stylegan3d.session.annotations import EditedLabels
from stylegan3d.session.provenance import Provenance
from stylegan3d.session.snapshot import edited_labels, plain_of
from stylegan3d.session.store import OWNER, SessionFolder, kept_sessions
from stylegan3d.storage.about import EDITED_SCAN
from stylegan3d.translation import painter as painting
from stylegan3d.translation.network import CONTRAST, TranslationConfig, TranslationNetwork
from stylegan3d.translation.painter import Painter

UNPAINTED = True
#: How tall the window can be at least depends on all that was ever opened in it.
OWN_WINDOW = True
VENTRICLE = 4
OFFICIAL = Path(__file__).parents[2] / "checkpoints" / "data" / "official_tiny.pkl"


def tissues(shape):
    """Shells of grey and white matter with a ventricle in the middle."""
    places = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    radius = np.sqrt((places**2).sum(axis=0))
    labels = np.zeros(shape, np.uint8)
    for index, reach in ((1, 0.95), (2, 0.85), (3, 0.7), (VENTRICLE, 0.25)):
        labels[radius < reach] = index
    return labels


class Reader:
    """Finds the same tissues in every brain."""

    name, hash = "shells", "01234567"

    def segment(self, volume, space, **_more):
        return Segmentation(tissues(volume.shape), space)


def untrained(space):
    """A painter for the tiny generator's grid: every tissue in its usual brightness."""
    torch.manual_seed(0)
    network = TranslationNetwork(TranslationConfig(space.shape, (8,), 1, 0))
    torch.nn.init.zeros_(network.head.bias)
    usual = [0.3, 0.6, 0.9, 0.1, 0.8, *([0.05] * 5), 0.0, 0.0, 0.0, 0.05]
    card = {
        "name": "paint-tiny",
        "space": {"shape": list(space.shape), "affine": space.affine.tolist()},
        "regions": [],
        "contrast": {
            "names": list(CONTRAST),
            "mean": usual,
            "covariance": np.eye(len(CONTRAST)).tolist(),
        },
    }
    return Painter(network, card, "0123456789", torch.device("cpu"))


@pytest.fixture(scope="module", autouse=True)
def networks(model):
    """Stand-ins for the bundled networks, on the tiny generator's grid."""
    tiny = untrained(model.space)
    card = {"name": "regions-tiny", "space": {"voxel_mm": list(model.space.voxel_size)}}
    regions = Segmenter(
        TissueNetwork((8, 8), len(REGIONS.classes)), card, "0123", torch.device("cpu"), REGIONS
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "bundled_segmenter", Reader)
        patch.setattr(inference, "bundled_regions", lambda: regions)
        patch.setattr(painting, "bundled_painter", lambda: tiny)
        patch.setattr(network, "screen_dtype", lambda: torch.float32)
        patch.setattr(relabelled, "screen_dtype", lambda: torch.float32)
        yield tiny


@pytest.fixture
def part(window):
    """The box, unfolded, with the labels of brain number 0."""
    part = window.explorer.relabelling
    part.box.unfold()
    window.find("labels.live").setChecked(True)
    window.click("labels.take")
    assert window.explorer._task_of(window.session.key) == "segmenting…", "of the list of patients"
    window.wait(lambda: part.base is not None)
    yield part
    part._close()
    part._put_by.clear()
    part._show_back()
    part.box.unfold(False)


def count(window, label=VENTRICLE):
    return int((np.asarray(window.viewer.layers[NAME].data) == label).sum())


def is_shown(window, part):
    """Whether what is on the screen is what fits the labels."""
    view = window.explorer.comparison.view
    return view == "painted" and not part._work.busy and not part._reading.busy


def stroke(window, place, label=VENTRICLE):
    """A stroke of the brush, as napari's layer is told of one."""
    layer = window.viewer.layers[NAME]
    layer.paint(place, label)
    QTest.qWait(20)


def test_labels_name_the_patient_not_the_file_of_a_later_projection():
    source = Source("projected", path="sub-07_run-2_desc-projected_latent.safetensors", sha256="a")
    recipe = Recipe(source, detail=Detail(source))
    rendered = SimpleNamespace(volume=None, space=None)
    base = relabelled.of_recipe(recipe, rendered, "", Provenance("scan", "sub-07"))
    assert base.title == "Scan sub-07"


def test_labels_are_taken_and_put_away(window):
    part = window.explorer.relabelling
    assert part.base is None
    part.box.unfold()
    assert not window.find("labels.fit").isVisible()
    window.click("labels.take")
    window.wait(lambda: part.base is not None)
    layer = window.viewer.layers[NAME]
    assert np.array_equal(layer.data, tissues(window.volume.shape))
    assert window.find("labels.fit").isVisible()
    told = window.find("labels.note").text()
    assert told.startswith("Ventricles of Seed 0: ")
    assert told.endswith(" ml now, in the labels."), "as Measure counts it, too"
    before = window.volume
    window.click("labels.close")
    assert NAME not in window.viewer.layers
    assert np.array_equal(window.volume, before)
    assert not window.find("labels.fit").isVisible()
    part.box.unfold(False)


def test_larger_ventricles_are_painted_looked_at_and_saved(
    window, part, networks, tmp_path, monkeypatch
):
    before, few = window.volume, count(window)
    window.set("labels.resize", 8)
    assert " ml now" not in window.find("labels.note").text(), "a size of another number"
    window.wait(lambda: is_shown(window, part))
    assert window.find("labels.note").text().endswith(READ_ANEW)
    assert count(window) > 1.3 * few
    after = window.volume
    grown = (np.asarray(window.viewer.layers[NAME].data) == VENTRICLE) & (
        tissues(before.shape) != VENTRICLE
    )
    expected = networks.contrast_of(before, tissues(before.shape))[CONTRAST.index("ventricle mean")]
    # Moved there with the ventricle's own detail, or painted.
    assert np.median(after[grown]) == pytest.approx(expected, abs=0.05)
    corner = (slice(0, 4),) * 3
    assert np.array_equal(after[corner], before[corner])
    assert window.captions == {"Seed 0, edited labels\nSynthetic – not for diagnosis"}
    millilitres = window.find("labels.note").text().split(": ")[1].split(" ml")
    assert float(millilitres[1].split(", ")[1]) > float(millilitres[0])

    path = tmp_path / "larger_T1w.nii.gz"
    monkeypatch.setattr(dialogs, "save_file", lambda *_: path)
    window.click("labels.save")
    window.wait(lambda: (tmp_path / "larger_dseg.json").exists() and not part._job.running)
    assert np.allclose(nib.load(path).get_fdata(), after, atol=FLOAT32)
    labels = np.asarray(nib.load(tmp_path / "larger_dseg.nii.gz").dataobj)
    assert np.array_equal(labels, window.viewer.layers[NAME].data)
    about = json.loads((tmp_path / "larger_T1w.json").read_text())
    assert about["SyntheticImage"] is True
    assert about["EditedLabelsOf"] == "Seed 0"
    assert about["VoxelsRelabelled"] == int((labels != tissues(labels.shape)).sum())

    window.explorer.panel("Compare")
    assert window.find("compare.b").text().endswith("cannot be pinned as A.")
    assert not window.find("compare.pin").isEnabled()
    window.click("compare.mode.row")
    assert not window.find("compare.row_add").isEnabled(), "no session would keep it"
    assert "open its file" in window.find("compare.row_note").text()
    window.click("compare.mode.off")

    window.click("labels.show.before")
    assert np.array_equal(window.volume, before)
    assert part.drawing.layer.visible
    window.click("labels.show.difference")
    assert np.allclose(window.volume, after - before)
    assert window.captions == {"Seed 0\nDifference – not for diagnosis"}
    assert not part.drawing.layer.visible, "labels would cover it"
    window.click("labels.show.after")
    assert np.array_equal(window.volume, after)
    assert part.drawing.layer.visible
    window.click("labels.show.difference")
    window.click("labels.paint")
    assert part.drawing.layer.visible
    assert part.box.look == "after", "what is painted on is to be seen"
    assert part.drawing.layer.mode == "paint"


def test_a_stroke_shows_the_brain_that_fits_at_once_and_can_be_undone(window, part):
    few = count(window)
    window.click("labels.paint")
    assert window.viewer.layers[NAME].mode == "paint"
    assert window.viewer.layers[NAME].selected_label == VENTRICLE
    place = tuple(n // 4 for n in window.volume.shape)
    stroke(window, place)
    window.wait(lambda: is_shown(window, part))
    assert count(window) > few
    painted, told = window.volume, window.find("labels.note").text()
    assert "ml now, in the labels" in told
    window.click("labels.undo")
    assert window.find("labels.note").text() != told, "it is of the labels, not of their brain"
    window.wait(lambda: is_shown(window, part))
    window.wait(lambda: not np.array_equal(window.volume, painted))
    assert count(window) == few
    assert not window.find("labels.undo").isEnabled()
    window.click("labels.paint")
    assert window.viewer.layers[NAME].mode == "pan_zoom"


def test_an_undone_stroke_is_undone_in_the_brain_too(window, part):
    few, drawn = count(window), part.drawing.layer
    window.click("labels.paint")
    stroke(window, tuple(n // 4 for n in window.volume.shape))
    window.wait(lambda: is_shown(window, part))
    assert window.session.annotations.labels is not None
    drawn.undo()  # as Ctrl+Z does
    window.wait(lambda: window.session.annotations.labels is None)
    window.wait(lambda: is_shown(window, part))
    assert count(window) == few
    assert not window.find("labels.undo").isEnabled()
    drawn.redo()
    window.wait(lambda: window.session.annotations.labels is not None)
    window.click("explorer.undo")
    window.wait(lambda: window.session.annotations.labels is None)


def test_a_stroke_and_a_resize_are_undone_and_redone_in_their_order(window, part):
    counts = [count(window)]
    window.click("labels.paint")
    stroke(window, tuple(n // 4 for n in window.volume.shape))
    window.wait(lambda: is_shown(window, part))
    counts.append(count(window))
    assert not window.find("explorer.redo").isEnabled(), "nothing was undone"
    window.set("labels.resize", 8)
    window.wait(lambda: is_shown(window, part))
    counts.append(count(window))
    assert sorted(set(counts)) == counts
    for way in (("undo", 1), ("undo", 0), ("redo", 1), ("redo", 2)):
        window.click(f"explorer.{way[0]}")
        assert count(window) == counts[way[1]]
    assert not window.find("explorer.redo").isEnabled()
    window.wait(lambda: is_shown(window, part))


def test_labels_of_a_former_session_are_not_offered(window, part):
    stroke_now = part.drawing.labels
    stroke_now[3:5, 3:5, 3:5] = 1
    part._step(stroke_now)
    part._draw(stroke_now)
    part.close_labels()
    assert part.box.back.isVisibleTo(part.box)
    part.close_all()
    assert not part.box.back.isVisibleTo(part.box)


def test_a_brain_that_is_segmented_anew_has_no_brush_in_hand(window, part):
    window.click("labels.paint")
    window.click("labels.take")
    window.wait(lambda: not part._reading.busy)
    assert not window.find("labels.paint").isChecked()
    assert window.viewer.layers[NAME].mode == "pan_zoom"


def test_a_brush_leaves_nothing_on_the_picture(window, part):
    view = window.explorer.views.views[0]
    (brush,) = (
        one for one in view.model.canvas.overlays.values() if isinstance(one, BrushCircleOverlay)
    )
    before, canvas = view_picture(view.canvas), view.model.canvas
    for place in ((90, 90), (120, 120)):
        brush.visible, brush.position = True, place
        canvas.overlay_tiling.events.padding()  # napari looks at what is behind all of them
        brush.visible = False
    assert view_picture(view.canvas) == before


def test_edited_labels_can_be_reopened_if_their_patient_was_left_while_it_was_segmented(
    window, part, scan_file, monkeypatch
):
    stroke(window, tuple(n // 4 for n in window.volume.shape))
    window.wait(lambda: window.session.annotations.labels is not None)
    window.wait(lambda: is_shown(window, part))
    key, read, left = window.session.key, part._reading._function, threading.Event()
    late = lambda asked: left.wait(30) and read(asked)  # noqa: E731
    monkeypatch.setattr(part._reading, "_function", late)
    window.click("labels.take")
    window.open_scan(scan_file)
    left.set()
    window.wait(lambda: not part._reading.busy)
    assert window.session.annotations_of(key).labels is None
    window.show("Synthetic brains")
    window.wait(lambda: window.find("labels.back").isVisibleTo(window.find("labels.back").window()))
    window.click("labels.back")
    assert window.session.annotations.labels is not None


def test_strokes_wait_where_that_is_wanted(window, part):
    window.click("labels.live")
    before = window.volume
    stroke(window, tuple(n // 4 for n in before.shape))
    QTest.qWait(100)
    assert not part._work.busy
    assert np.array_equal(window.volume, before)
    window.click("labels.fit")
    window.wait(lambda: is_shown(window, part))
    assert not np.array_equal(window.volume, before)


@pytest.fixture
def held(part, monkeypatch):
    """Holds the brains back that are generated from labels, until it is set."""
    released, function = threading.Event(), part._work._function

    def late(wish):
        assert released.wait(30)
        return function(wish)

    monkeypatch.setattr(part._work, "_function", late)
    yield released
    released.set()


def test_edits_are_kept_of_whom_is_not_shown_when_their_first_steps_are_forgotten(
    window, part, held, scan_file, monkeypatch
):
    monkeypatch.setattr("napari_stylegan3d.labels.controller.MOST_STEPS", 1)
    key = window.session.key
    stroke(window, tuple(n // 4 for n in window.volume.shape))
    window.wait(lambda: window.session.annotations.labels is not None)
    window.open_scan(scan_file)
    held.set()
    window.wait(lambda: not part._work.busy)
    assert window.session.annotations_of(key).labels is not None
    window.show("Synthetic brains")


@pytest.mark.parametrize("after", ["undo", "stroke", "stroke that waits"])
def test_what_follows_the_slider_is_not_undone_by_its_late_result(window, part, held, after):
    few, shape = count(window), window.volume.shape
    window.find("labels.live").setChecked(after != "stroke that waits")
    window.set("labels.resize", 4)
    window.set("labels.resize", 8)
    if after == "undo":
        window.find("labels.undo").setEnabled(True)  # as after an earlier step
        window.click("labels.undo")
        expected = few
    else:
        stroke(window, tuple(n // 4 for n in shape))
        expected = count(window)
        assert expected > few
    held.set()
    window.wait(lambda: not part._work.busy)
    QTest.qWait(20)
    assert window.find("labels.resize").value() == 0
    assert count(window) == expected
    assert (part.edited is None) == (after == "undo"), "what is saved"
    waits = after == "stroke that waits"
    assert (int((part.fitted.labels == VENTRICLE).sum()) == expected) != waits
    window.find("labels.live").setChecked(True)


def test_generating_waits_for_the_slider(window, part, held):
    few = count(window)
    window.set("labels.resize", 8)
    window.click("labels.fit")
    held.set()
    window.wait(lambda: is_shown(window, part))
    assert count(window) > few
    assert np.array_equal(part.fitted.labels, window.viewer.layers[NAME].data)


@pytest.mark.parametrize("at_once", [True, False])
def test_saving_waits_for_the_slider(window, part, held, tmp_path, monkeypatch, at_once):
    few = count(window)

    def choose(*_):
        if at_once:  # else while the dialog is open
            return tmp_path / "larger_T1w.nii.gz"
        held.set()
        window.wait(lambda: is_shown(window, part))
        return tmp_path / "larger_T1w.nii.gz"

    monkeypatch.setattr(dialogs, "save_file", choose)
    window.set("labels.resize", 8)
    window.click("labels.save")
    window.wait(lambda: not part._job.running)
    saved = np.asarray(nib.load(tmp_path / "larger_dseg.nii.gz").dataobj)
    held.set()
    window.wait(lambda: is_shown(window, part))
    assert count(window) > few
    assert np.array_equal(saved, window.viewer.layers[NAME].data)


def test_another_brain_takes_the_labels_off_the_screen_but_keeps_them(window, part):
    window.set("labels.resize", 8)
    window.wait(lambda: is_shown(window, part))
    many = count(window)
    window.set("browse.seed", 5)
    window.settle()
    layer = window.viewer.layers[NAME]
    assert not layer.visible
    assert "These labels belong to Seed 0" in window.find("labels.note").text()
    window.click("labels.fit")
    window.wait(lambda: is_shown(window, part))
    assert layer.visible
    assert count(window) == many


def test_edited_labels_that_were_put_away_are_brought_back(window, part):
    back = window.find("labels.back")
    window.click("labels.close")
    assert not back.isVisible(), "nothing was edited"
    window.click("labels.take")
    window.wait(lambda: part.base is not None)
    window.set("labels.resize", 8)
    window.wait(lambda: is_shown(window, part))
    many, fitting = count(window), window.volume
    window.click("labels.close")
    assert part.base is None
    window.set("browse.seed", 5)
    window.settle()
    window.click("labels.take")
    window.wait(lambda: part.base is not None)
    assert "Seed 5" in window.find("labels.note").text()
    few = count(window)
    assert few < many
    window.click("labels.back")
    window.wait(lambda: is_shown(window, part))
    assert count(window) == many
    np.testing.assert_array_equal(window.volume, fitting)
    assert "of Seed 0" in window.find("labels.note").text()
    assert not back.isVisible(), "those of seed 5 were not edited"
    window.click("labels.undo")
    window.wait(lambda: count(window) == few)


def test_labels_outlive_another_model_of_the_same_grid(window, part, model):
    window.set("labels.resize", 8)
    window.wait(lambda: is_shown(window, part))
    many = count(window)
    window.open(tiny_generator(seed=3))
    assert not window.viewer.layers[NAME].visible
    assert "These labels belong to Seed 0" in window.find("labels.note").text()
    window.click("labels.fit")
    window.wait(lambda: is_shown(window, part))
    assert count(window) == many
    [saved] = window.explorer.sessions.state().view["labels"]
    assert saved["model"] == model.hash, "its brain is another model's"
    window.open(OFFICIAL)
    assert part.base is None
    assert NAME not in window.viewer.layers
    assert not window.find("labels.back").isVisible()
    window.open(model)
    window.click("labels.back")
    window.wait(lambda: is_shown(window, part))
    assert count(window) == many


def test_edits_whose_layer_was_removed_from_the_list_can_be_reopened(window, part):
    window.set("labels.resize", 8)
    window.wait(lambda: is_shown(window, part))
    many = count(window)
    window.viewer.layers.remove(NAME)
    window.click("labels.close")
    window.click("labels.back")
    window.wait(lambda: is_shown(window, part))
    assert count(window) == many


def test_edits_that_another_grid_puts_by_stay_in_the_session(window, part, model):
    window.set("labels.resize", 8)
    window.wait(lambda: is_shown(window, part))
    [kept] = window.explorer.sessions.state().view["labels"]
    window.open(OFFICIAL)
    assert part.base is None
    assert window.explorer.sessions.state().view["labels"] == [kept]
    window.open(model)
    window.click("labels.back")
    window.wait(lambda: is_shown(window, part))
    window.click("labels.close")
    assert "labels" not in window.explorer.sessions.state().view, "the user closed them"


@pytest.fixture
def ended(window, tmp_path, monkeypatch):
    """Saves the session, with another view, as one that came to a sudden end."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "sessions"))
    part = window.explorer.relabelling

    def end(state=None, change=lambda view: None):
        kept = SessionFolder(tmp_path / "sessions")
        state = window.explorer.sessions.state() if state is None else state
        state = dataclasses.replace(state, view=copy.deepcopy(dict(state.view)))
        change(state.view)
        kept.write(state.stamped())
        (kept.path / OWNER).unlink()
        return next(k for k in kept_sessions(tmp_path / "sessions") if k.folder == kept.path)

    yield end
    part._close()
    part._put_by.clear()
    part.box.unfold(False)


def test_edited_labels_are_restored_with_their_session(window, part, ended):
    sessions = window.explorer.sessions
    assert "labels" not in sessions.state().view, "nothing was edited"
    assert not sessions.state().worth_keeping
    window.set("labels.resize", 8)
    window.wait(lambda: is_shown(window, part))
    window.click("labels.take")  # of the brain that was painted
    window.wait(lambda: part.base is not None and "edited labels" in part.base.title)
    stroke(window, tuple(n // 4 for n in window.volume.shape))
    window.wait(lambda: is_shown(window, part))
    many, fitting, title = count(window), window.volume, part.base.title
    assert sessions.state().worth_keeping
    window.wait(lambda: sessions.autosave.folder.exists)
    kept = ended()
    window.click("labels.close")
    part._put_by.clear()
    window.set("browse.seed", 5)
    window.settle()
    part.box.unfold(False)
    sessions.restore(kept)
    window.wait(lambda: part.base is not None)
    window.settle()
    assert part.box.header.isChecked()
    assert part.base.title == title
    assert window.explorer.comparison.view != "painted", "what was looked at is"
    assert f"These labels belong to {title}" in window.find("labels.note").text()
    window.click("labels.fit")
    window.wait(lambda: is_shown(window, part))
    assert count(window) == many
    np.testing.assert_array_equal(window.volume, fitting)
    window.click("labels.undo")
    window.wait(lambda: count(window) < many)


def test_edited_labels_move_a_projected_scan_itself(window, scan_file, tmp_path, monkeypatch):
    """After an edit by a slider, too: sharp at rest, mapped, and saved where the scan lies."""
    monkeypatch.setattr(sharpening, "SHARP_REST_MS", 1)
    explorer, part, case = window.explorer, window.explorer.relabelling, window.project(scan_file)
    window.session.change(window.recipe.replace(edits=(Edit("PC 1", 2.0),)))
    window.settle()
    edited = explorer.comparison.picture.rendered
    part.box.unfold()
    window.click("labels.take")
    window.wait(lambda: part.base is not None)
    window.set("labels.resize", 8)
    window.wait(lambda: part.fitted is not None and part.fitted.movement is not None)
    fine = FineScan(case.aligned)
    expected = fine.edited(part.fitted.movement)
    window.wait(lambda: window.volume.shape == fine.space.shape)
    np.testing.assert_array_equal(window.volume, expected)
    assert np.abs(expected - fine.edited(edited.movement)).max() > 0.1
    assert window.captions == {f"sub-07: PC 1 +2 sd, edited labels\n{EDITED_SCAN}"}
    window.click("labels.show.movement")
    overlay, told = explorer.stage.overlay, window.find("labels.note").text()
    assert (overlay.legend.unit, overlay.field is None) == ("%", False)
    assert " ml" in told
    assert " mm" in told
    assert next(iter(window.captions)).endswith(EDITED_SCAN)
    window.click("labels.show.before")
    assert overlay.legend is None
    assert "edited labels" not in next(iter(window.captions))
    window.click("labels.show.after")
    path = tmp_path / "sub-07_T1w.nii.gz"
    monkeypatch.setattr(dialogs, "save_file", lambda *_: path)
    window.click("labels.save")
    window.wait(lambda: (tmp_path / "sub-07_dseg.json").exists() and not part._job.running)
    image, original = nib.load(path), nib.load(case.path)
    assert image.shape == original.shape == nib.load(tmp_path / "sub-07_dseg.nii.gz").shape
    data, was = (np.asarray(i.dataobj, np.float32) for i in (image, original))
    change = nib.load(tmp_path / "sub-07_desc-editedChange_T1w.nii.gz").get_fdata()
    # Two float32 files of intensities up to 1,000, and their difference.
    np.testing.assert_allclose(data - was, change, atol=1e-2)
    outside = np.asarray(case.aligned.to_native(np.ones_like(part.fitted.volume)).dataobj) == 0
    far = ndimage.distance_transform_edt(outside, 3.0) > 16
    assert far.sum() > 1000
    np.testing.assert_allclose(data[far], was[far], atol=0.1)  # of 700
    about = json.loads((tmp_path / "sub-07_T1w.json").read_text())
    assert about["Description"].startswith(EDITED_SCAN)
    assert about["Sources"] == [case.path.name]
    assert about["Movement"]["LeastJacobian"] > 0
    assert about["Movement"]["MaximumMm"] > 1
    on_screen = part.fitted.movement.figures
    # Written with three decimals.
    assert {name: about["Movement"][name] for name in on_screen} == pytest.approx(
        on_screen, abs=0.002
    )
    moved = nib.load(tmp_path / "sub-07_desc-editedMovement_T1w.nii.gz")
    assert moved.shape[3:] == (1, 3)
    part._close()
    part._put_by.clear()
    part.box.unfold(False)


def align(window, scan_file):
    name = scan_file.name.split("_")[0]
    window.explorer.open_scan(scan_file)
    window.wait(lambda: window.find("project.name").text() == name)
    window.click("project.align")
    window.wait(lambda: window.session.placed is not None)


def labels_of(window, scan_file):
    """The box, unfolded, with the labels of a scan that is aligned."""
    align(window, scan_file)
    part = window.explorer.relabelling
    part.box.unfold()
    window.click("labels.take")
    window.wait(lambda: part.base is not None)
    return part


@pytest.fixture(scope="module")
def made():
    """What `edited` made once."""
    return {}


@pytest.fixture
def edited(window, scan_file, second_file, made):
    """Sessions in which labels of sub-07 were edited, and what was seen then.

    With sub-07 alone, with it moved afterwards, and with sub-08 opened after that.
    """
    if not made:
        part, state = labels_of(window, scan_file), window.explorer.sessions.state
        window.set("labels.resize", 8)
        window.wait(lambda: is_shown(window, part))
        base, placed = part.base.volume, window.session.placed
        seen = {"many": count(window), "fitting": window.volume, "base": base, "alone": state()}
        window.set("project.shift.1", 8.0)
        window.wait(lambda: window.session.placed is not placed)
        assert np.abs(window.session.placed.volume - base).max() > 0.1
        seen["moved"] = state()
        align(window, second_file)
        made |= seen | {"two": state()}
        close_all(window)
    return SimpleNamespace(**made)


def close_all(window):
    window.explorer.relabelling._close()
    window.explorer.relabelling._put_by.clear()
    window.explorer.projecting.forget_model()
    window.begin_anew()


def begin_again(window, kept):
    """Restore a session after everything of it was closed."""
    close_all(window)
    window.explorer.sessions.restore(kept)


def fit_again(window):
    """Show the brain that fits the labels that were restored."""
    window.wait(lambda: window.explorer.relabelling.base is not None)
    window.click("labels.fit")
    window.wait(lambda: is_shown(window, window.explorer.relabelling))


def test_age_and_sex_stay_with_the_patient_whose_labels_are_edited(
    window, edited, second_file, ended
):
    part, measuring = window.explorer.relabelling, window.explorer.measuring
    window.session.persons.clear()
    begin_again(window, ended(edited.alone))
    fit_again(window)
    measuring.box.unfold()
    asked = measuring._asked
    assert asked.volume is part.fitted.volume
    assert asked.title == "Edited scan sub-07: edited labels"
    assert asked.against == "Scan sub-07"
    assert asked.start.volume is window.session.placed.volume
    assert window.find("measure.age").value() == 0
    window.set("measure.age", 61)
    assert window.session.persons[window.session.case.sha256].age == 61
    part._close()
    assert window.find("measure.age").value() == 61, "the scan is of the same patient"
    align(window, second_file)
    assert window.find("measure.age").value() == 0
    window.set("measure.age", 34)
    window.show("sub-07")
    assert window.find("measure.age").value() == 61
    assert sorted(person.age for person in window.session.persons.values()) == [34, 61]
    window.session.persons.clear()
    measuring.box.unfold(False)
    part.box.unfold(False)


def test_labels_go_to_the_patient_they_were_asked_for(window, scan_file, second_file, monkeypatch):
    part = window.explorer.relabelling
    released, function = threading.Event(), part._reading._function
    monkeypatch.setattr(part._reading, "_function", lambda x: released.wait(30) and function(x))
    for file in (second_file, scan_file):
        align(window, file)
        part.box.unfold()
        window.click("labels.take")
    released.set()
    window.wait(lambda: part.base is not None)
    for name in ("sub-07", "sub-08"):
        window.show(name)
        window.wait(lambda: part.base is not None)
        np.testing.assert_array_equal(part.base.volume, window.session.placed.volume)
    part.box.unfold(False)
    close_all(window)


def test_what_fails_of_one_patient_is_not_said_in_the_box_of_another(
    window, scan_file, second_file, monkeypatch, notifications
):
    align(window, second_file)
    part = labels_of(window, scan_file)
    released = threading.Event()

    def fails(_):
        released.wait(30)
        raise ScanError("it cannot be painted")

    monkeypatch.setattr(part._work, "_function", fails)
    window.set("labels.resize", 8)
    window.show("sub-08")
    released.set()
    window.wait(lambda: not part._work.busy)
    assert "it cannot be painted" not in part.box.note.text()
    assert notifications[-1] == "sub-07: it cannot be painted"
    part.close_all()


def test_an_edit_made_just_before_switching_patients_is_there_on_return(
    window, scan_file, second_file, monkeypatch
):
    align(window, second_file)
    part = labels_of(window, scan_file)
    few, released, function = count(window), threading.Event(), part._work._function
    monkeypatch.setattr(part._work, "_function", lambda wish: released.wait(30) and function(wish))
    window.set("labels.resize", 8)
    window.show("sub-08")
    other = window.volume
    released.set()
    window.wait(lambda: not part._work.busy)
    assert NAME not in window.viewer.layers
    assert np.array_equal(window.volume, other), "what arrives late is never on another's screen"
    for _again in range(2):
        window.show("sub-07")
        window.wait(lambda: is_shown(window, part))
        assert window.viewer.layers[NAME].visible
        assert count(window) > few
        assert np.array_equal(window.volume, part.fitted.volume)
        assert "ml now" in window.find("labels.note").text()
        assert part.can_undo
        window.show("sub-08")
    window.show("sub-07")
    part.undo()
    assert count(window) == few
    window.wait(lambda: is_shown(window, part))
    part.box.unfold(False)
    close_all(window)


def without_their_owner(view):
    del view["labels"][0]["scan"], view["labels"][0]["rigid"], view["labels"][0]["of"]


def restored_case(window, name):
    """Wait until the scan of the session is aligned again, and nothing of it is underway."""
    session, edits = window.session, window.explorer.sessions.edits
    window.wait(lambda: session.placed is not None and session.case.name == name)
    QTest.qWait(50)
    window.wait(lambda: not edits.job.running)


def test_edited_labels_never_come_back_on_another_patients_scan(window, edited, ended):
    part, session = window.explorer.relabelling, window.session
    begin_again(window, ended(edited.two))
    restored_case(window, "sub-08")
    assert part.base is None
    # Closed now, and restored again, they still wait for their scan.
    begin_again(window, ended())
    restored_case(window, "sub-08")
    assert part.base is None
    session.show(next(case.key for case in session.patients if case.name == "sub-07"))
    restored_case(window, "sub-07")
    window.wait(lambda: part.base is not None)
    assert part.base.title == "Scan sub-07"
    np.testing.assert_array_equal(part.base.volume, edited.base)
    fit_again(window)
    assert count(window) == edited.many
    np.testing.assert_array_equal(window.volume, edited.fitting)


def test_edited_labels_of_a_projected_scan_wait_until_it_is_read(window, scan_file, ended):
    part, session = window.explorer.relabelling, window.session
    window.project(scan_file)
    window.settle()
    part.box.unfold()
    window.click("labels.take")
    window.wait(lambda: part.base is not None)
    window.set("labels.resize", 8)
    window.wait(lambda: is_shown(window, part))
    many = count(window)
    window.show("Synthetic brains")
    window.settle()
    latent = Path(next(case for case in session.projected).source.path)
    content = latent.read_bytes()
    kept = ended(window.explorer.sessions.state())
    close_all(window)
    latent.parent.mkdir(parents=True, exist_ok=True)
    latent.write_bytes(content)
    window.explorer.sessions.restore(kept)
    latent.parent.mkdir(parents=True, exist_ok=True)
    latent.write_bytes(content)
    window.show("sub-07")
    window.wait(lambda: part.base is not None)
    assert window.explorer.message.text() == ""
    assert part.base.scan is not None
    assert count(window) == many
    assert session.annotations.labels is not None


def test_edited_labels_come_back_on_a_scan_as_it_lay(window, edited, ended):
    part = window.explorer.relabelling
    begin_again(window, ended(edited.moved))
    window.wait(lambda: part.base is not None)
    assert part.base.provenance.kind == "scan"
    np.testing.assert_array_equal(part.base.volume, edited.base)
    assert count(window) == edited.many


def test_edits_that_are_being_restored_outlive_a_segmentation_asked_for_meanwhile(
    window, edited, ended, monkeypatch
):
    part, session = window.explorer.relabelling, window.session
    released, again = threading.Event(), restoring.have_again
    monkeypatch.setattr(restoring, "have_again", lambda *args: released.wait(30) and again(*args))
    begin_again(window, ended(edited.alone))
    window.wait(lambda: window.explorer.sessions.edits.job.running)
    kept = session.annotations.labels
    window.click("labels.take")
    window.wait(lambda: part.base is not None)
    assert session.annotations.labels is kept
    released.set()
    window.wait(lambda: not window.explorer.sessions.edits.job.running)
    assert session.annotations.labels is kept
    window.click("labels.back")
    window.wait(lambda: is_shown(window, part))
    assert count(window) == edited.many


def test_nothing_is_saved_of_a_patient_who_is_closed_meanwhile(
    window, scan_file, tmp_path, monkeypatch
):
    part = labels_of(window, scan_file)
    begun, released = threading.Event(), threading.Event()

    def save(report, *_):
        begun.set()
        released.wait(30)
        report(1, 2)
        return [tmp_path / "saved.nii.gz"]

    monkeypatch.setattr("napari_stylegan3d.labels.controller.save_fitted", save)
    monkeypatch.setattr(dialogs, "save_file", lambda *_: tmp_path / "saved.nii.gz")
    cancelled = []
    part._job.cancelled.connect(lambda: cancelled.append(True))
    window.click("labels.save")
    assert begun.wait(30)
    window.session.close_patient(window.session.key)
    released.set()
    window.wait(lambda: not part._job.running)
    assert cancelled
    part.box.unfold(False)


def test_labels_of_nobody_known_are_told_not_guessed(window, edited, ended):
    part, explorer = window.explorer.relabelling, window.explorer
    begin_again(window, ended(edited.two, without_their_owner))
    window.wait(lambda: "labels of this session are damaged" in explorer.message.text())
    restored_case(window, "sub-08")
    assert part.base is None
    assert {case.name for case in window.session.cases} == {"sub-07", "sub-08"}


@pytest.mark.soak
def test_labels_of_a_scan_that_the_session_lacks_wait_for_it(window, scan_file, edited, ended):
    part, explorer = window.explorer.relabelling, window.explorer

    def without_the_first(view):
        view["cases"] = [case for case in view["cases"] if case["name"] == "sub-08"]
        view["steps"] = [{**step, "case": 0} for step in view["steps"]]

    begin_again(window, ended(edited.two, without_the_first))
    window.wait(lambda: "could not be aligned again" in explorer.message.text())
    restored_case(window, "sub-08")
    assert part.base is None
    align(window, scan_file)
    window.wait(lambda: part.base is not None)
    assert part.base.title == "Scan sub-07"
    assert count(window) == edited.many


def test_edits_of_a_scan_that_cannot_be_aligned_again_are_not_lost_in_silence(
    window, edited, ended, monkeypatch
):
    part, explorer = window.explorer.relabelling, window.explorer

    def fails(*_):
        raise ScanError("it lies elsewhere")

    monkeypatch.setattr("napari_stylegan3d.app.sessions._again", fails)
    begin_again(window, ended(edited.alone))
    window.wait(lambda: "could not be aligned again" in explorer.message.text())
    assert part.base is None
    assert "labels" in explorer.sessions.state().view, "the file may be back the next time"


@pytest.mark.parametrize(
    "damage",
    [
        {"edits": []},
        {"edits": [[{"shape": [4, 4, 4], "voxels": "eJw="}] * 2]},
        {"edits": [[{"shape": [10**6] * 3, "voxels": ""}] * 2]},
        {"recipe": {"source": 5}},
        {"model": None, "edits": "none"},
        {"rigid": [[1.0, 0.0]]},
        {"rigid": [[float("nan")] * 4] * 4},
    ],
)
def test_damaged_labels_of_a_session_are_left_aside(damage):
    labels = tissues((6, 5, 4))
    kept = EditedLabels(Recipe(), "01", ((labels, np.zeros_like(labels)),))
    plain = json.loads(json.dumps(plain_of(kept)))
    again = edited_labels(plain, [])
    np.testing.assert_array_equal(again.edits[0][0], labels)
    np.testing.assert_array_equal(again.edits[0][1], 0)
    assert (again.recipe, again.model) == (Recipe(), "01")
    assert edited_labels({**plain, **damage}, []) is None
    assert edited_labels(None, []) is None


def test_damaged_labels_of_a_session_are_told(window, edited, ended):
    part, explorer = window.explorer.relabelling, window.explorer
    begin_again(window, ended(edited.alone, lambda view: view["labels"][0].update(edits=[])))
    window.wait(lambda: "are damaged and were not restored" in explorer.message.text())
    restored_case(window, "sub-07")
    assert part.base is None


def test_a_grid_it_does_not_paint_on_is_refused_in_a_sentence(window, networks, monkeypatch):
    monkeypatch.setattr(networks, "space", networks.space.resized((10, 14, 12)))
    part = window.explorer.relabelling
    part.box.unfold()
    window.click("labels.take")
    window.wait(lambda: "this model has another" in window.find("labels.note").text())
    assert part.base is None
    assert window.find("labels.take").isEnabled()
    part.box.unfold(False)


def test_a_scan_is_to_be_aligned_first(window, scan_file):
    window.open_scan(scan_file)
    part = window.explorer.relabelling
    part.box.unfold()
    window.click("labels.take")
    assert "Align the scan first" in window.find("labels.note").text()
    part.box.unfold(False)


def test_labels_leave_a_low_window_as_it_is(window, part):
    main = window.viewer.window._qt_window
    before = main.size()
    main.resize(1280, 700)
    window.explorer.panel("Directions")
    window.set("directions.strength.0", 1.0)
    window.explorer.panel("Browse")
    window.click("labels.close")
    window.click("labels.take")
    window.wait(lambda: part.base is not None)
    QTest.qWait(50)
    assert main.height() == 700
    main.resize(before)


def test_measure_gives_way_where_there_is_no_room_for_both(window, part):
    explorer, main = window.explorer, window.viewer.window._qt_window
    before = main.size()
    main.resize(1280, 720)
    QTest.qWait(50)
    explorer.measuring.box.unfold()
    assert not part.box.header.isChecked()
    part.box.unfold()
    assert not explorer.measuring.box.open
    QTest.qWait(50)
    assert main.height() == 720
    explorer.measuring.box.unfold()
    part.resumed.emit()
    assert explorer.measuring.box.open, "a session that comes back folds nothing"
    assert not part.box.header.isChecked()
    part.box.unfold()
    main.resize(1280, 960)
    QTest.qWait(50)
    explorer.measuring.box.unfold()
    assert part.box.header.isChecked()
    explorer.measuring.box.unfold(False)
    main.resize(before)


def test_the_regions_of_measure_scroll(window):
    box, main = window.explorer.measuring.box, window.viewer.window._qt_window
    before = main.size()
    main.resize(1280, 720)
    QTest.qWait(50)
    box.unfold()
    box.regions.unfold()
    QTest.qWait(50)
    assert main.height() == 720
    assert box.body.verticalScrollBar().maximum() > 0
    assert box.body.horizontalScrollBar().maximum() == 0
    box.regions.unfold(False)
    box.unfold(False)
    main.resize(before)


def test_measure_tells_of_the_brain_that_fits(window, part):
    explorer = window.explorer
    explorer.measuring.box.unfold()
    window.wait(lambda: explorer.measuring.measured is not None)
    part.box.unfold()
    window.set("labels.resize", 8)
    window.wait(lambda: is_shown(window, part))
    explorer.measuring.box.unfold()
    asked = explorer.measuring._asked
    assert (asked.title, asked.against) == ("Seed 0, edited labels", "Seed 0")
    assert window.explorer.measuring._who() == window.session.person_of(window.recipe)
    window.wait(lambda: explorer.measuring.measured is not None)
    assert explorer.measuring.measured.against == "Seed 0"
    told = window.find("export.unlabelled")
    assert not told.isHidden(), "volume and report of a synthetic brain lack them, too"
    changed = explorer.measuring.measured
    assert np.array_equal(asked.volume, window.volume)
    window.click("labels.show.before")
    assert np.array_equal(explorer.measuring._asked.volume, part.base.volume)
    window.wait(lambda: explorer.measuring.measured is not None)
    assert changed.before == explorer.measuring.measured.measures != changed.measures
    window.session.look("recipe")
    assert told.isHidden()
    explorer.measuring.box.unfold(False)


def test_no_size_is_told_where_figures_are_withheld(window, part, monkeypatch):
    why = "Volumes are withheld: another contrast."
    monkeypatch.setattr(type(window.session), "withheld", property(lambda _: why))
    part._show_size()
    assert part.box.note.text() == why
