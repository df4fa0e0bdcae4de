"""The explorer, worked as a person would: controls by name, and what the views hold afterwards."""

from __future__ import annotations

import json
import sys
import types

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from tolerances import SUMS

from napari_stylegan3d.app import viewing
from napari_stylegan3d.core.rendering import INSTANT_S, REST_MS, SOON_S
from napari_stylegan3d.views.display import enlarge, upright
from stylegan3d.model.family import LACKS
from stylegan3d.recipe.latents import Latent, save_latent
from stylegan3d.recipe.model import seed_latents
from stylegan3d.recipe.recipe import Edit, Mix, Recipe, Source
from stylegan3d.render.renderer import Renderer


def expected(window, recipe: Recipe) -> np.ndarray:
    """What the engine makes of a recipe, without the window."""
    generator = window.session.generator
    rendered = Renderer(generator).render(recipe.latent(generator), noise=recipe.noise)
    return rendered.volume


def test_first_brain_is_the_recipes_and_says_synthetic(window):
    np.testing.assert_array_equal(window.volume, expected(window, Recipe()))
    assert window.captions == {"Seed 0\nSynthetic – not for diagnosis"}
    for view in window.views.views:
        assert window.pixels(view.name).std() > 10, f"{view.name} is empty"


def test_seed_buttons_show_other_brains(window):
    first = window.volume
    window.click("browse.next")
    window.settle()
    assert window.recipe.source == Source("seed", 1)
    np.testing.assert_array_equal(window.volume, expected(window, window.recipe))
    assert np.abs(window.volume - first).max() > 0.01
    window.click("browse.previous")
    window.settle()
    np.testing.assert_array_equal(window.volume, first)
    window.click("browse.previous")
    assert window.recipe.source.seed == 0, "there is no brain before number 0"
    window.click("browse.dice")
    assert window.find("browse.seed").value() == window.recipe.source.seed


def test_dragging_truncation_shows_previews_then_the_full_volume(window):
    qualities = []

    def seen(recipe, picture):
        qualities.append((picture.quality, recipe.truncation.psi))

    window.explorer.rendering.shown.connect(seen)
    slider = window.find("browse.truncation.slider")
    handle = QPoint(int(slider.width() * 0.7 / 1.5), slider.height() // 2)
    QTest.mousePress(slider, Qt.MouseButton.LeftButton, pos=handle)
    for dx in range(0, -60, -10):
        QTest.mouseMove(slider, handle + QPoint(dx, 0))
        QTest.qWait(30)
    assert slider.isSliderDown()
    assert not window.session.can_undo, "a drag that goes on is no step of undo"
    QTest.mouseRelease(slider, Qt.MouseButton.LeftButton, pos=handle + QPoint(-60, 0))
    window.settle()
    window.explorer.rendering.shown.disconnect(seen)
    psi = window.recipe.truncation.psi
    assert psi < 0.65
    assert "preview" in {quality for quality, _ in qualities}
    assert qualities[-1] == ("full", psi)
    np.testing.assert_array_equal(window.volume, expected(window, window.recipe))
    window.click("explorer.undo")
    assert window.recipe.truncation.psi == pytest.approx(0.7)
    assert not window.session.can_undo, "one drag is one step"


def test_dragging_draws_the_window_once_for_each_preview(window):
    window.settle()
    frames, previews = [], []
    canvas = window.views.view("Axial").canvas.canvas.native
    pacing, rendering = window.explorer.viewing.pacing, window.explorer.rendering
    slider = window.find("browse.truncation.slider")
    canvas.frameSwapped.connect(lambda: frames.append(len(previews)))
    rendering.shown.connect(lambda _, picture: previews.append(picture.quality))
    patience_ms, rest_ms = pacing.patience_ms, rendering._rest.interval()
    # However busy the machine is, a preview is not so long in coming, and the hand does not rest.
    pacing.patience_ms = 10_000
    rendering._rest.setInterval(10**6)
    try:
        slider.setSliderDown(True)
        for _ in range(5):
            drawn, shown = len(frames), len(previews)
            slider.setValue(slider.value() - 7)
            window.wait(lambda drawn=drawn: len(frames) > drawn)
            # Of each frame is known how many previews were there.
            assert frames[drawn:] == [shown + 1], "drawn without a preview"
            assert previews[-1] == "preview"
            window.viewer.dims.events.point()
            assert not rendering.busy, "drawn again, though the slices are the same"
    finally:
        rendering._rest.setInterval(rest_ms)
        slider.setSliderDown(False)
        pacing.patience_ms = patience_ms
        window.settle()
    assert previews[-1] == "full"
    assert not pacing.holds
    assert vars(viewing.set_aside)["times"], "the search for garbage may stop the hand"


def test_a_preview_of_a_drag_is_enlarged_where_it_is_looked_at(window):
    comparison, rendering = window.explorer.comparison, window.explorer.rendering
    shape = window.session.generator.shape
    slider, start = window.find("browse.truncation.slider"), tuple(window.viewer.dims.point)
    rendering._rest.setInterval(10**6)
    for soon in (True, False):
        rendering._full_s = INSTANT_S + (0 if soon else SOON_S)
        slider.setSliderDown(True)
        for steps in (0, 2):
            point = tuple(np.add(start, steps * window.explorer.stage.layer.scale))
            window.viewer.dims.point = point
            slider.setValue(slider.value() - 7)
            window.wait(lambda: comparison.recipe == window.recipe)
            picture = comparison.picture
            assert picture.quality == "preview"
            assert picture.rendered.through == (point if soon else None)
            whole, affine = enlarge(picture.rendered.volume, shape), window.session.generator.affine
            shown, whole = window.volume, upright(whole, affine).data
            at = [round(place) for place in window.explorer.stage.layer.world_to_data(point)]
            for axis, index in enumerate(at):
                np.testing.assert_array_equal(shown.take(index, axis), whole.take(index, axis))
            assert np.array_equal(shown, whole) != soon, "no more than is seen"
        # It is seen elsewhere while the hand rests.
        window.viewer.dims.point = start
        window.wait(lambda: comparison.picture.rendered.through in (start, None))
        slider.setSliderDown(False)
        window.settle()
        np.testing.assert_array_equal(window.volume, expected(window, window.recipe))
    rendering._rest.setInterval(REST_MS)


def test_truncation_is_told_in_words(window):
    window.set("browse.truncation", 0.0)
    assert "average brain: every seed" in window.find("browse.meaning").text()
    window.set("browse.truncation", 1.2)
    assert "Beyond" in window.find("browse.meaning").text()


def test_noise_and_cutoff_reach_the_recipe(window):
    window.choose("browse.noise", "none")
    window.settle()
    np.testing.assert_array_equal(window.volume, expected(window, Recipe(noise="none")))
    window.choose("browse.noise", "seeded")
    window.set("browse.noise_seed", 5)
    assert window.recipe.noise == 5
    window.find("browse.cutoff").setCurrentIndex(1)
    cutoff = window.recipe.truncation.cutoff
    assert 0 < cutoff < window.session.generator.num_layers


def test_only_the_newest_request_is_shown_last(window):
    shown = []

    def seen(recipe, _):
        shown.append(recipe.source.seed)

    window.explorer.rendering.shown.connect(seen)
    for seed in range(1, 41):
        window.set("browse.seed", seed)
    window.settle()
    window.explorer.rendering.shown.disconnect(seen)
    assert shown[-1] == 40
    assert len(shown) < 20, "overtaken requests were rendered all the same"


def test_undo_and_redo_walk_through_recipes(window):
    window.set("browse.truncation", 0.5)
    window.explorer.panel("Mix")
    window.set("mix.group.fine", 60)
    after = window.recipe
    window.click("explorer.undo")
    assert window.recipe.mix is None
    assert window.find("mix.group.fine").value() == 0
    window.click("explorer.undo")
    assert window.recipe == Recipe()
    window.click("explorer.redo")
    window.click("explorer.redo")
    assert window.recipe == after
    assert window.find("mix.group.fine").value() == 60


def test_ctrl_z_undoes(window):
    window.set("browse.truncation", 0.3)
    button = window.find("browse.dice")
    button.setFocus()
    QTest.keyClick(button, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    QTest.qWait(20)
    if window.recipe != Recipe():  # without a window manager the window may not be active
        window.session.undo()
    assert window.recipe == Recipe()


def test_mix_takes_layers_from_the_second_brain(window):
    window.set("mix.seed", 9)
    window.set("mix.layer.2", 100)
    window.settle()
    strength = tuple(float(i == 2) for i in range(window.session.generator.num_layers))
    wanted = Recipe(mix=Mix(Source("seed", 9), strength))
    assert window.recipe == wanted
    np.testing.assert_array_equal(window.volume, expected(window, wanted))
    window.click("mix.swap")
    assert window.recipe == Recipe(Source("seed", 9), mix=Mix(Source("seed", 0), strength))
    window.click("mix.reset")
    assert window.recipe == Recipe(Source("seed", 9))


def test_mixing_everything_gives_the_second_brain(window):
    window.set("mix.seed", 3)
    for group in ("coarse", "middle", "fine"):
        window.set(f"mix.group.{group}", 100)
    window.settle()
    np.testing.assert_allclose(
        window.volume, expected(window, Recipe(Source("seed", 3))), atol=SUMS
    )


def test_groups_cover_all_layers_coarse_first_in_mm(window):
    groups = window.session.layer_groups()
    layers = [layer for group in groups for layer in group.layers]
    assert layers == list(range(window.session.generator.num_layers))
    sizes = [size for group in groups for size in group.sizes_mm]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == pytest.approx(32.0)


def test_directions_push_along_several_components_at_once(window):
    window.set("directions.strength.0", 1.5)
    window.set("directions.strength.2", -1.0)
    window.settle()
    names = window.session.generator.directions.names
    wanted = Recipe(edits=(Edit(names[0], 1.5), Edit(names[2], -1.0)))
    assert window.recipe == wanted
    np.testing.assert_array_equal(window.volume, expected(window, wanted))
    window.click("directions.strength.0.reset")
    assert [edit.direction for edit in window.recipe.edits] == [names[2]]
    window.click("directions.reset")
    assert window.recipe.edits == ()


def test_directions_show_their_share_of_the_variance(window):
    directions = window.session.generator.directions
    told = window.find("directions.name.0").text()
    assert told.startswith(directions.names[0])
    assert f"{100 * directions.explained_variance[0]:.0f} %" in told


def test_saved_volume_is_what_is_shown_and_opens_as_a_recipe(window, tmp_path, monkeypatch):
    nib = pytest.importorskip("nibabel")
    window.set("browse.seed", 4)
    window.set("directions.strength.1", 2.0)
    window.settle()
    window.find("export.folder").setText(str(tmp_path))
    window.click("export.save")
    window.wait(lambda: not window.explorer.exporting.job.running)
    assert "Saved" in window.find("export.done").text()
    (volume,) = tmp_path.glob("*.nii.gz")
    image = nib.load(volume)
    np.testing.assert_array_equal(np.asarray(image.dataobj), window.volume)
    np.testing.assert_allclose(image.affine, window.session.generator.affine)
    assert b"SYNTHETIC" in image.header["descrip"].tobytes()
    saved = window.recipe
    window.click("browse.dice")
    monkeypatch.setattr(
        "napari_stylegan3d.widgets.dialogs.open_file", lambda *_: next(tmp_path.glob("*.json"))
    )
    window.click("export.open_recipe")
    assert window.recipe == saved
    window.settle()
    np.testing.assert_array_equal(window.volume, np.asarray(image.dataobj))


def test_saving_never_overwrites_unasked(window, tmp_path, notifications):
    window.find("export.folder").setText(str(tmp_path))
    window.find("export.name").setText("mine")
    window.find("export.overwrite").setChecked(False)
    (tmp_path / "mine.nii.gz").write_bytes(b"precious")
    window.click("export.save")
    window.wait(lambda: notifications)
    assert "exists already" in notifications[0]
    assert (tmp_path / "mine.nii.gz").read_bytes() == b"precious"
    assert window.find("explorer.message").text() == notifications[0]
    window.find("export.overwrite").setChecked(True)
    window.click("export.save")
    window.wait(lambda: "mine.nii.gz" in window.find("export.done").text())
    assert (tmp_path / "mine.nii.gz").stat().st_size > 1000
    window.find("export.overwrite").setChecked(False)
    window.find("export.name").clear()


def test_saved_latent_can_be_mixed_in(window, tmp_path, monkeypatch):
    window.set("browse.seed", 6)
    window.find("export.folder").setText(str(tmp_path))
    window.click("export.save_latent")
    window.wait(lambda: not window.explorer.exporting.job.running)
    (latent,) = tmp_path.glob("*.safetensors")
    window.set("browse.seed", 0)
    monkeypatch.setattr("napari_stylegan3d.widgets.dialogs.open_file", lambda *_: latent)
    box = window.find("mix.source")
    box.activated.emit(box.findData("file"))
    window.set("mix.group.coarse", 100)
    window.set("mix.group.middle", 100)
    window.set("mix.group.fine", 100)
    window.settle()
    seed_six = expected(window, Recipe(Source("seed", 6)))
    np.testing.assert_allclose(window.volume, seed_six, atol=SUMS)


def test_copied_recipe_and_command_are_the_current_ones(window):
    window.set("browse.seed", 12)
    window.click("export.copy_json")
    assert Recipe.from_json(QApplication.clipboard().text()) == window.recipe
    window.click("export.copy_command")
    command = QApplication.clipboard().text()
    assert command.startswith("stylegan3d generate --recipe")
    assert json.dumps(12) in command


def test_an_unexpected_error_is_a_sentence(window, notifications, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("inner detail")

    monkeypatch.setattr(window.explorer.rendering.loaded.renderer, "render", broken)
    window.set("browse.seed", 77)
    window.wait(lambda: notifications)
    assert "inner detail" not in notifications[0]
    assert notifications[0].startswith("Unexpected error while rendering")
    monkeypatch.undo()
    window.click("browse.next")
    window.settle()
    assert window.find("explorer.message").text() == ""


def test_drawing_survives_a_half_imported_torch(window, monkeypatch):
    """scipy looks for torch in sys.modules while another thread may be importing it."""
    from scipy._lib.array_api_compat.common import _helpers

    view = window.views.view("3D")
    _helpers._issubclass_fast.cache_clear()
    window.views.hold()
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    view.model.scene.camera.angles = (20.0, -40.0, 5.0)
    view.canvas.canvas.native.repaint()
    window.views.release()
    monkeypatch.undo()
    # Degrees: the camera keeps a quaternion in float32.
    assert view.model.scene.camera.angles == pytest.approx((20.0, -40.0, 5.0), abs=0.1)


def test_fine_texture_is_off_where_the_model_has_none(window):
    noise = window.find("browse.noise")
    note = window.find("browse.noise_note")
    assert noise.isEnabled()
    assert not note.text()
    panel = next(p for p in _ancestors(noise) if hasattr(p, "show_texture"))
    panel.show_texture(types.SimpleNamespace(cannot={"noise": LACKS["noise"]}))
    assert not noise.isEnabled()
    assert "no texture" in note.text()
    panel.show_texture(window.session.generator)
    assert noise.isEnabled()


def test_fine_texture_is_off_for_a_scan_that_it_would_be_drawn_over(window, tmp_path):
    generator = window.session.generator
    vars(generator)["draws_texture"] = True
    try:
        path = tmp_path / "scan_latent.safetensors"
        latent = Latent.of(generator, seed_latents(generator, [1])[0], scan={"name": "scan.nii"})
        found = Source("projected", path=str(path), sha256=save_latent(path, latent))
        noise, note = window.find("browse.noise"), window.find("browse.noise_note")
        window.session.change(Recipe(found))
        window.settle()
        assert not noise.isEnabled()
        assert "without random texture" in note.text()
        window.session.change(Recipe(Source("seed", 3)))
        window.settle()
        assert noise.isEnabled()
        assert not note.text()
    finally:
        del vars(generator)["draws_texture"]


def _ancestors(widget):
    while widget is not None:
        yield widget
        widget = widget.parent()


def test_a_picture_whose_layer_is_removed_by_hand_comes_back(window):
    layer = window.explorer.stage.layer
    window.viewer.layers.clear()
    window.wait(lambda: layer in window.viewer.layers)
    for view in window.views.views[1:]:
        assert view.model.layers
    window.set("browse.seed", 3)
    window.settle()
    np.testing.assert_array_equal(window.volume, expected(window, window.recipe))


def test_napari_own_tools_work_on_our_layers(window):
    """A layer of each kind is added and drawn on; the views go on, and leave them alone."""
    viewer, ours = window.viewer, window.explorer.stage.layer
    names = {layer.name for layer in viewer.layers}
    where = {"scale": ours.scale, "translate": ours.translate, "units": ours.units}
    square = np.array([[5, 5, 12], [5, 9, 12], [9, 9, 12], [9, 5, 12]])
    labels = viewer.add_labels(np.zeros(ours.data.shape, np.uint8), name="labels", **where)
    labels.mode = "paint"
    labels.paint((10, 14, 12), 1)
    viewer.add_points(np.array([[10, 14, 12]]), name="points", **where).mode = "add"
    viewer.add_shapes(square, name="shapes", **where).mode = "select"
    window.click("browse.next")
    window.settle()
    window.views.reset()
    QTest.qWait(50)
    assert window.captions == {"Seed 1\nSynthetic – not for diagnosis"}
    assert window.explorer.message.text() == ""
    assert {layer.name for layer in viewer.layers} - names == {"labels", "points", "shapes"}
    for name in ("labels", "points", "shapes"):
        viewer.layers.remove(name)
