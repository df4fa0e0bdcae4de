"""Other models in the window: official checkpoints, labels, channels, and how one is changed."""

from __future__ import annotations

import gc
import json
import shlex
import weakref
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication
from tiny import tiny_generator
from tolerances import SFORM_MM

from napari_stylegan3d.app.models import recent_models
from napari_stylegan3d.browse.panel import NamedLabels, axis_codes
from napari_stylegan3d.views.display import upright
from napari_stylegan3d.views.layers import SPARE
from stylegan3d.cli import main
from stylegan3d.geometry.space import Frame
from stylegan3d.model.generator import load
from stylegan3d.recipe.recipe import Edit, Label, Mix, Recipe, Source
from stylegan3d.render.renderer import Renderer

#: What is asked is what is shown, not how it is drawn.
UNPAINTED = True

TESTS = Path(__file__).parents[2]
ORIG, SKIP = (
    TESTS / "checkpoints" / "data" / f"{n}.pkl" for n in ("official_tiny", "official_tiny_skip")
)
MEAN_BRAIN = TESTS / "scans" / "mean-brain-4mm.nii.gz"
SCHEMA = [
    {"name": "age", "kind": "number", "mean": 50.0, "sd": 10.0, "missing": True, "average": [0, 0]},
    {
        "name": "sex",
        "kind": "category",
        "values": ["F", "M"],
        "missing": False,
        "average": [0.5, 0.5],
    },
]


@pytest.fixture(scope="module")
def model():
    """The window of this file opens with an official checkpoint."""
    return ORIG


@pytest.fixture(autouse=True)
def _as_it_opened(window):
    yield
    if window.session.generator.path != ORIG:
        window.open(ORIG)
    window.find("browse.frame_reset").click()


def rendered(generator, recipe):
    w = recipe.latent(generator)
    return Renderer(generator).render(w, noise=recipe.noise, channel=recipe.channel).volume


def shown_as(window, recipe, frame):
    """What the views should hold: the network's own array, turned as the frame says."""
    generator = load(ORIG)
    return upright(rendered(generator, recipe), frame.space(generator.shape).affine)


def test_an_official_checkpoint_fills_all_panels(window):
    assert window.find("explorer.model").text() == "official_tiny"
    np.testing.assert_array_equal(
        window.volume, shown_as(window, Recipe(), Frame("LIA", (8.0, 8.0, 8.0))).data
    )
    assert window.captions == {"Seed 0\nSynthetic – not for diagnosis"}
    assert "unknown" in window.find("browse.about").text()
    assert window.find("browse.noise").isEnabled()
    assert "does not contain its orientation" in window.find("browse.frame_note").text()
    for hidden in ("browse.channel", "browse.label_note"):
        assert not window.find(hidden).isVisibleTo(window.explorer.browse)
    window.set("mix.group.fine", 100)
    window.set("directions.strength.0", 1.5)
    window.settle()
    layers = window.session.generator.num_layers
    fine = tuple(float(layer >= 3) for layer in range(layers))
    recipe = Recipe(mix=Mix(Source("seed", 1), fine), edits=(Edit("PC 1", 1.5),))
    assert window.recipe == recipe
    np.testing.assert_array_equal(
        window.volume, shown_as(window, recipe, Frame("LIA", (8.0, 8.0, 8.0))).data
    )


def test_the_first_picture_of_a_model_is_a_preview_and_the_full_volume_follows(window):
    # It is seen earlier; what is measured in the picture waits for the full volume.
    seen = []

    def note(_recipe, picture):
        seen.append(picture.quality)

    window.explorer.rendering.shown.connect(note)
    try:
        window.open(SKIP)
    finally:
        window.explorer.rendering.shown.disconnect(note)
    assert seen == ["preview", "full"]


def test_axes_and_voxel_size_move_the_picture_and_nothing_else(window):
    window.set("browse.truncation", 0.5)
    window.settle()
    window.choose("browse.frame_axes", "PIR")
    window.find("browse.frame_cubic").setChecked(False)
    window.set("browse.frame_voxel_size.1", 9.3755)
    frame = Frame("PIR", (8.0, 9.3755, 8.0))
    expected = shown_as(window, window.recipe, frame)
    np.testing.assert_array_equal(window.volume, expected.data)
    np.testing.assert_allclose(window.explorer.stage.layer.scale, expected.scale)
    np.testing.assert_allclose(window.explorer.stage.layer.translate, expected.translate)
    assert "Set to" in window.find("browse.frame_note").text()
    assert window.recipe.truncation.psi == 0.5
    window.click("browse.next")
    window.settle()
    np.testing.assert_array_equal(window.volume, shown_as(window, window.recipe, frame).data)
    window.click("explorer.undo")
    window.click("explorer.undo")
    assert window.recipe == Recipe(), "undo goes on as before"
    window.click("browse.frame_reset")
    assert str(window.session.generator.frame) == "LIA:8"
    assert not window.find("browse.frame_reset").isEnabled()


def test_the_48_ways_to_lie_are_offered_once():
    assert len(set(axis_codes())) == len(axis_codes()) == 48
    assert {str(Frame(code, (2.0, 2.0, 2.0))) for code in axis_codes()} == {
        f"{code}:2" for code in axis_codes()
    }


def test_what_is_saved_and_the_command_lie_where_the_views_say(window, tmp_path):
    window.choose("browse.frame_axes", "RAS")
    window.set("browse.frame_voxel_size.0", 7.5)
    window.settle()
    window.find("export.folder").setText(str(tmp_path))
    window.click("export.save")
    window.wait(lambda: not window.explorer.exporting.job.running)
    name = "seed-0000_desc-synthetic_T1w.nii.gz"
    saved = nib.load(tmp_path / name)
    expected = Frame("RAS", (7.5, 7.5, 7.5)).space((20, 24, 28)).affine
    np.testing.assert_allclose(saved.affine, expected, atol=SFORM_MM)
    window.click("export.copy_command")
    words = shlex.split(QApplication.clipboard().text())
    assert words[-4:] == ["--model", str(ORIG), "--frame", "RAS:7.5"]
    with pytest.raises(SystemExit) as ended:
        main([*words[1:], "--out", str(tmp_path / "again")])
    assert not ended.value.code
    assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_a_file_that_is_no_checkpoint_leaves_what_is_open(window, tmp_path, notifications):
    path = tmp_path / "other.pkl"
    path.write_bytes(b"no pickle")
    before = window.volume
    window.explorer.open_model(path)
    assert not window.find("explorer.open_model").isEnabled(), "one at a time"
    window.wait(lambda: window.explorer.message.text())
    assert notifications == [window.explorer.message.text()]
    assert "other.pkl" in notifications[0]
    assert window.find("explorer.model").text() == "official_tiny"
    assert window.find("explorer.open_model").isEnabled()
    window.click("browse.next")
    window.settle()
    assert np.abs(window.volume - before).max() > 0.01
    assert not window.explorer.message.text()


def test_a_checkpoint_dropped_on_the_dock_opens_and_is_remembered(window):
    window.set("browse.seed", 5)
    window.set("directions.strength.0", 1.0)
    before = weakref.ref(window.session.generator)
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(SKIP))])
    held = Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton
    enter = QDragEnterEvent(QPoint(5, 5), *held, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(window.explorer, enter)
    event = QDropEvent(QPointF(5, 5), *held, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(window.explorer, event)
    gc.disable()
    try:
        window.wait_for_model()
        assert before() is None, "its memory waits for a search for garbage"
    finally:
        gc.enable()
    assert window.recipe == Recipe(Source("seed", 5)), "the number stays, what belonged to w goes"
    assert not window.session.can_undo
    expected = upright(rendered(load(SKIP), window.recipe), load(SKIP).affine)
    np.testing.assert_array_equal(window.volume, expected.data)
    assert window.find("views.clipped").isVisibleTo(window.views), "its values leave the display"
    assert recent_models()[:2] == [SKIP, ORIG]
    menu = window.find("explorer.open_model").menu()
    menu.aboutToShow.emit()
    texts = [action.text() for action in menu.actions()]
    assert [text for text in texts if text.endswith(SKIP.suffix)] == [SKIP.name, ORIG.name]
    # Through napari, too.
    assert window.viewer.open(str(ORIG), plugin=None) == []
    window.wait_for_model()
    assert window.session.generator.path == ORIG
    assert [layer for layer in window.viewer.layers if SPARE not in layer.metadata] == [
        window.explorer.stage.layer
    ]


def test_a_scan_is_projected_and_goes_back_unless_the_axes_are_changed(window, tmp_path):
    window.explorer.open_scan(MEAN_BRAIN)
    window.wait(lambda: window.find("project.start").isEnabled())
    window.choose("project.budget", "draft")
    window.click("project.start")
    found = lambda: window.session.projected or window.explorer.message.text()  # noqa: E731
    window.wait(found, patience_ms=120_000)
    window.settle()
    assert "standard brain" in window.find("project.notes").text()
    (projected,) = window.session.projected
    assert projected.assessment["similarity"]["psnr"] > projected.assessment["mean_brain"]["psnr"]
    window.click("project.show.residual")
    window.settle()
    assert window.captions == {
        "mean-brain-4mm: reconstruction − scan\nDifference – not for diagnosis"
    }
    window.find("export.folder").setText(str(tmp_path))
    window.click("project.show.model")
    window.find("export.native").setChecked(True)
    window.click("export.save")
    window.wait(lambda: not window.explorer.exporting.job.running)
    native = nib.load(tmp_path / "mean-brain-4mm_desc-projected_T1w.nii.gz")
    np.testing.assert_allclose(native.affine, nib.load(MEAN_BRAIN).affine, atol=SFORM_MM)
    window.choose("browse.frame_axes", "RAS")
    assert not window.find("project.show.residual").isEnabled()
    window.find("export.overwrite").setChecked(True)
    window.click("export.save")
    window.wait(lambda: window.explorer.message.text())
    assert "with other axes or another voxel size" in window.explorer.message.text()
    window.click("browse.frame_reset")
    assert window.find("project.show.residual").isEnabled()


def test_bare_labels_and_channels(window):
    generator = tiny_generator(2, label_dim=3, image_channels=2, wiring="orig", head="image")
    window.open(generator)
    assert not window.find("browse.frame_axes").isVisibleTo(window.explorer.browse)
    window.pick("browse.label.0", (0.0, 1.0, 0.0))
    assert window.recipe.label == Label(numbers=(0.0, 1.0, 0.0))
    window.set("browse.label_value.2", 0.5)
    assert window.recipe.label == Label(numbers=(0.0, 1.0, 0.5))
    assert window.find("browse.label.0").currentText() == "Other values"
    window.choose("browse.channel", 1)
    window.settle()
    recipe = Recipe(label=(0.0, 1.0, 0.5), channel=1)
    assert window.recipe == recipe
    np.testing.assert_array_equal(window.volume, rendered(generator, recipe))
    name = window.find("export.name").placeholderText()
    assert name.startswith("seed-0000_desc-syntheticLabel0and1and0p5Channel1")
    window.pick("browse.label.0", ())
    assert window.recipe.label is None
    window.click("explorer.undo")
    assert window.find("browse.label_value.2").value() == 0.5


def test_labels_the_card_names_are_asked_for_in_their_units(window):
    generator = tiny_generator(3, label_dim=5)
    generator.card["labels"] = [{**SCHEMA[0], "unit": "years"}, SCHEMA[1]]
    window.open(generator)
    window.pick("browse.label.0", "value")
    spin = window.find("browse.label_value.0")
    assert spin.text().endswith(" years")
    spin.lineEdit().setText("71 years")
    spin.interpretText()
    assert window.recipe.label == Label.of({"age": 71})
    window.pick("browse.label.1", "F")
    window.settle()
    recipe = Recipe(label={"age": 71, "sex": "F"})
    assert window.recipe == recipe
    np.testing.assert_array_equal(window.volume, rendered(generator, recipe))
    window.pick("browse.label.0", "n/a")
    assert json.loads(window.recipe.to_json())["label"] == {"age": "n/a", "sex": "F"}
    assert not window.find("browse.label_value.0").isEnabled()
    window.pick("browse.label.0", "open")
    window.pick("browse.label.1", "open")
    assert window.recipe.label is None


def test_the_menu_has_the_models_that_come_along(window):
    menu = window.explorer.models.menu(window.explorer)
    menu.aboutToShow.emit()
    texts = [action.text() for action in menu.actions()]
    at = texts.index("Bundled model")
    assert texts[at + 1 : at + 4] == ["diffusion-t1-2mm", "stylegan-t1-2mm", "vae-t1-2mm"]
    assert menu.actions()[at + 1].toolTip().endswith("diffusion-t1-2mm")


def test_a_number_beyond_the_range_of_a_label_is_shown_as_it_is(window):
    entry = {"name": "age", "kind": "number", "range": [18, 79], "mean": 40, "sd": 9, "missing": 0}
    fields = NamedLabels([entry])
    fields.show_label(Label.of({"age": 80}))
    (spin,) = fields._values.values()
    assert spin.value() == 80, "not moved into the range in silence"
    given = []
    fields.changed.connect(given.append)
    fields._on_chosen(0)
    assert dict(given[0].values) == {"age": 80}
