"""The scan itself, edited: what the views show after a projection, of whom, and what is saved."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from tolerances import FLOAT32, LAYERS, QFORM_MM

from napari_stylegan3d.core import rendering as sharpening
from napari_stylegan3d.core.rendering import INSTANT_S, REST_MS
from napari_stylegan3d.export.panel import SCREEN_SCALE
from napari_stylegan3d.views.display import in_3d
from napari_stylegan3d.views.layers import DifferenceOverlay
from stylegan3d import scans
from stylegan3d.geometry.space import Upright
from stylegan3d.recipe.description import describe_recipe, marked
from stylegan3d.recipe.recipe import Detail, Edit, Mix, Recipe, Source
from stylegan3d.render.editable import FineScan
from stylegan3d.render.figures import Look, draw_planes
from stylegan3d.scans import read_scan
from stylegan3d.storage.about import WORN_DETAIL

UNPAINTED = True
EDITED = "Edited scan, not an acquired image"


@pytest.fixture
def case(window, scan_file) -> Any:
    """A projected patient, sub-07."""
    return window.project(scan_file)


def edit(window, strength: float, name: str = "PC 1") -> None:
    """Edit what is shown, as a slider does."""
    window.session.change(window.recipe.replace(edits=(Edit(name, strength),)))
    window.settle()


def show(window, key: str) -> np.ndarray:
    """Press a switch above the views; what is shown then."""
    window.click(f"project.show.{key}")
    window.settle()
    return window.volume


@pytest.fixture
def restless(window) -> Any:
    """What draws; it makes no full volume while a slider is held, however long that takes."""
    rendering = window.explorer.rendering
    rendering._rest.setInterval(10**6)
    yield rendering
    rendering._rest.setInterval(REST_MS)


def test_the_views_show_the_scan_and_a_slider_moves_it(window, case, restless):
    scan = case.aligned.volume
    assert window.recipe.detail == Detail(case.source)
    np.testing.assert_array_equal(window.volume, scan)
    assert window.captions == {"Scan: sub-07"}
    assert window.viewer.title.startswith("sub-07 – ")
    window.explorer.panel("Directions")
    slider = window.find("directions.strength.0.slider")
    slider.setSliderDown(True)
    seen = []
    for share in (0.6, 0.75, 0.9):
        slider.setValue(round(share * slider.maximum()))
        recipe = window.recipe
        window.wait(lambda recipe=recipe: window.explorer.comparison.recipe == recipe)
        seen.append(window.volume)
    assert all(np.abs(a - b).max() > 1e-3 for a, b in pairwise(seen))
    # While it moves only the slices that are looked at are made, wherever that is.
    comparison, start = window.explorer.comparison, tuple(window.viewer.dims.point)
    assert comparison.picture.rendered.through == start
    in_3d = window.views.view("3D").model.layers[0]
    window.views.view("3D").follower.settle()
    assert in_3d.data is not window.explorer.stage.layer.data, "it waits for the volume"
    point = tuple(np.add(start, window.explorer.stage.layer.scale))
    window.viewer.dims.point = point
    window.wait(lambda: comparison.picture.rendered.through == point)
    # Also while the full volume is being made: elsewhere the scan is not edited yet.
    sliced = []
    noted = restless.shown.connect(lambda _, picture: sliced.append(picture.rendered.through))
    restless._submit_full()
    window.viewer.dims.point = start
    window.wait(lambda: start in sliced)
    restless.shown.disconnect(noted)
    # Let go, it becomes whole, although the recipe stays.
    restless._full_s = 2 * INSTANT_S
    slider.setValue(slider.maximum())
    window.wait(lambda: comparison.recipe == window.recipe and not restless.busy)
    assert comparison.is_preview
    name = window.recipe.edits[0].direction
    assert window.captions == {f"sub-07: {name}\n{EDITED}"}, "it does not change with every move"
    slider.setSliderDown(False)
    window.settle()
    (edited,) = window.recipe.edits
    told = f"sub-07: {edited.direction} {edited.strength:+.3g} sd\n{EDITED}"
    assert window.captions == {told}
    assert window.viewer.title.startswith("sub-07, edited – ")
    assert np.abs(window.volume - scan).max() > 1e-3
    window.click("explorer.undo")
    window.settle()
    np.testing.assert_array_equal(window.volume, scan)
    assert window.captions == {"Scan: sub-07"}


def test_the_switch_shows_each_picture_of_the_patient(window, case):
    edit(window, 2.0)
    scan = case.aligned.volume
    edited, model = show(window, "edited"), show(window, "model")
    assert window.captions == {
        "Reconstruction of sub-07, edited: PC 1 +2 sd\nSynthetic – not for diagnosis"
    }
    assert window.viewer.title.startswith("Reconstruction of sub-07, edited – ")
    assert np.abs(edited - model).max() > 0.01
    np.testing.assert_array_equal(show(window, "scan"), scan)
    np.testing.assert_allclose(show(window, "difference"), edited - scan, atol=FLOAT32)
    assert window.captions == {"sub-07: edited − scan\nDifference – not for diagnosis"}
    np.testing.assert_allclose(show(window, "residual"), model - scan, atol=FLOAT32)
    np.testing.assert_array_equal(show(window, "edited"), edited)
    for key, command in window.explorer.guidance.commands.items():
        # Nothing is filled in here, and the toy model knows no usual errors.
        if key.startswith("show_") and key not in ("show_filled", "show_unusual"):
            command()
            window.settle()
            assert window.find(f"project.show.{key.removeprefix('show_')}").isChecked()
    show(window, "edited")
    bar = window.find("project.looks")
    assert bar.isVisibleTo(window.views)
    window.session.change(window.recipe.replace(source=Source("seed", 5), detail=None))
    window.settle()
    assert not bar.isVisibleTo(window.views), "a random brain is nobody's"
    window.show("sub-07")
    window.settle()
    assert bar.isVisibleTo(window.views)
    assert window.find("project.show.edited").isChecked(), "as it was left"
    np.testing.assert_array_equal(window.volume, edited)


def test_the_movement_map_has_units_and_goes_away(window, case):
    show(window, "movement")
    assert "nothing moves" in window.find("project.movement").text()
    edit(window, 3.0)
    assert window.session.state.what == "movement", "it follows edits"
    overlay: DifferenceOverlay = window.explorer.stage.overlay
    assert (overlay.legend.label, overlay.legend.unit) == ("Volume change", "%")
    moved = window.explorer.comparison.picture.rendered.movement
    shrinks = (moved.jacobian > 1.01) & (np.asarray(overlay.layer.data) != 0)
    assert shrinks.any()
    assert (np.asarray(overlay.layer.data)[shrinks] < 0).all(), "blue where tissue shrinks"
    told = window.find("project.movement").text()
    assert " ml" in told
    assert " mm" in told
    assert any(view.arrows.lines() for view in window.views.views if view.plane)
    assert next(iter(window.captions)).endswith(EDITED)
    show(window, "edited")
    assert overlay.legend is None
    assert not any(view.arrows.lines() for view in window.views.views)
    assert not window.find("project.movement").isVisibleTo(window.views)


def test_two_patients_are_never_taken_for_each_other(
    window, scan_file, second_file, tmp_path, monkeypatch
):
    first = window.project(scan_file)
    edit(window, 2.0)
    flair = shutil.copy(second_file, tmp_path / "sub-08_FLAIR.nii.gz")
    second = window.project(flair)
    edit(window, -2.0, "PC 2")
    # Another scan is being read all the while.
    gate = threading.Event()
    monkeypatch.setattr(scans, "read_scan", lambda *a: gate.wait(600) and read_scan(*a))
    window.explorer.open_scan(scan_file)
    window.find("export.folder").setText(str(tmp_path))
    window.find("export.overwrite").setChecked(True)
    try:
        for case, change in ((first, "PC 1 +2"), (second, "PC 2 -2")):
            window.show(case.name)
            window.settle()
            assert window.captions == {f"{case.name}: {change} sd\n{EDITED}"}
            assert window.viewer.title.startswith(f"{case.name}, edited")
            assert window.find("project.name").text() == case.name
            window.click("explorer.undo")
            window.settle()
            assert window.captions == {f"Scan: {case.name}"}
            np.testing.assert_array_equal(window.volume, case.aligned.volume)
            window.click("explorer.redo")
            window.settle()
            promised = window.find("export.edited_name").text().partition(",")[0]
            window.click("export.save_edited")
            window.wait(lambda: not window.explorer.exporting.job.running)
            stem = Path(case.source.path).name.partition("_desc-")[0]
            assert stem == case.name.removesuffix(" FLAIR")
            suffix = "FLAIR" if case is second else "T1w"
            saved = tmp_path / f"{stem}_desc-editedScan_{suffix}.nii.gz"
            assert promised == saved.name
            on_models_grid = window.find("export.name").placeholderText()
            assert on_models_grid == f"{stem}_space-model_desc-editedScan_{suffix}.nii.gz"
            image, original = nib.load(saved), nib.load(case.path)
            assert image.shape == original.shape
            np.testing.assert_allclose(image.affine, original.affine, atol=QFORM_MM)
            data, was = (np.asarray(i.dataobj, np.float32) for i in (image, original))
            assert np.abs(data - was).max() > 1
            assert np.corrcoef(data.ravel(), was.ravel())[0, 1] > 0.9
            beside = json.loads((tmp_path / saved.name.replace(".nii.gz", ".json")).read_text())
            assert beside["Description"].startswith(EDITED)
            (made,) = beside["Recipe"]["edits"]
            assert f"{made['direction']} {made['strength']:+g}" == change
        window.show("sub-07")
        window.settle()
        assert window.captions == {f"sub-07: PC 1 +2 sd\n{EDITED}"}
        # The brain of one with the detail of the other names both.
        both = window.recipe.replace(detail=Detail(second.source))
        window.session.change(both)
        window.settle()
        told = "Detail of sub-08 FLAIR on the brain of sub-07, PC 1 +2 sd"
        assert window.captions == {f"{told}\n{WORN_DETAIL}"}
        assert window.viewer.title.startswith(told)
    finally:
        gate.set()
        window.wait(lambda: not window.session.arriving)


def test_detail_is_the_finest_style_of_a_mix(window, case):
    edit(window, 2.0)
    whole, model = window.volume, show(window, "model")
    show(window, "edited")
    window.explorer.panel("Mix")
    window.set("mix.detail_strength", 50)
    window.settle()
    np.testing.assert_allclose(window.volume, (whole + model) / 2, atol=LAYERS)
    assert window.captions == {f"sub-07: PC 1 +2 sd, detail 50 %\n{EDITED}"}
    window.click("explorer.undo")
    window.settle()
    np.testing.assert_array_equal(window.volume, whole)
    window.set("browse.seed", 9)
    window.settle()
    assert window.recipe.detail is None, "a random brain is nobody's"
    assert window.captions == {"Seed 9\nSynthetic – not for diagnosis"}
    plain = window.volume
    box = window.find("mix.detail")
    window.pick("mix.detail", box.itemData(1))
    window.settle()
    assert window.captions == {f"Detail of sub-07 on another brain\n{WORN_DETAIL}"}
    assert np.abs(window.volume - plain).max() > 0.01
    window.set("browse.seed", 10)
    window.settle()
    assert window.recipe.detail is None, "it belongs to the brain it was put on"
    window.set("browse.seed", 9)
    window.settle()
    assert window.recipe.detail == Detail(case.source)
    window.pick("mix.detail", None)
    window.settle()
    assert window.recipe.worn_detail is None


def test_walks_and_films_move_the_scan(window, case, tmp_path):
    scan, browse = case.aligned.volume, window.explorer.browse
    window.explorer.panel("Browse")
    for name in ("browse.truncation", "browse.cutoff"):
        assert not window.find(name).isEnabled(), "there is no seed to move towards the average"
    browse.walk._set_stops(())
    window.click("browse.walk_add")
    edit(window, 3.0)
    edited, last = window.volume, window.recipe
    window.click("browse.walk_add")
    window.set("browse.walk_position", 50)
    window.settle()
    assert window.captions == {f"sub-07: PC 1 +1.5 sd\n{EDITED}"}
    far = [np.abs(volume - scan).mean() for volume in (window.volume, edited)]
    assert 0.1 * far[1] < far[0] < 0.9 * far[1]
    window.set("browse.walk_position", 0)
    window.settle()
    np.testing.assert_array_equal(window.volume, scan)
    assert window.captions == {"Scan: sub-07"}
    film = window.explorer.export.film
    window.explorer.panel("Export")
    window.find("export.folder").setText(str(tmp_path))
    window.session.keep_key_frames("film", ())
    film.add_recipes(window.recipe, last)
    window.choose("export.film_kind", ".png")
    window.set("export.film_seconds", 0.5)
    window.set("export.film_fps", 4)
    window.click("export.film")
    window.wait(lambda: not window.explorer.exporting.job.running)
    (path,) = tmp_path.glob("*.png")
    made = Image.open(path)
    pictures = []
    for number in range(made.n_frames):
        made.seek(number)
        pictures.append(np.asarray(made.convert("L"), float))
    assert len(pictures) == 3
    about = json.loads((tmp_path / f"{path.name}.json").read_text())
    assert about["Description"].startswith(EDITED)
    assert all(recipe["detail"] for recipe in about["Recipes"])
    model = Recipe(case.source).latent(window.session.generator)
    brain = window.explorer.rendering.loaded.renderer.render(model, noise="none").volume
    caption = marked(Look().caption, last)
    look = Look(SCREEN_SCALE, convention="radiological")
    point, space = tuple(window.viewer.dims.point), window.session.generator.space
    shown = ((scan, window.recipe), (edited, last), (brain, window.recipe))
    looks = [replace(look, caption=f"{describe_recipe(recipe)}. {caption}") for _, recipe in shown]
    drawn = [
        np.asarray(draw_planes(Upright.of(v, space), own, at_mm=point).convert("L"), float)
        for (v, _), own in zip(shown, looks, strict=True)
    ]
    assert np.abs(pictures[0] - drawn[0]).mean() < 0.1, "the first key frame is the scan"
    assert np.abs(pictures[0] - drawn[2]).mean() > 1
    assert np.abs(pictures[2] - drawn[1]).mean() < 0.1
    browse.walk._set_stops(())
    window.session.keep_key_frames("film", ())


def test_a_mix_moves_the_scan_and_its_second_brain_is_itself(window, case):
    window.explorer.panel("Mix")
    mix = Mix(Source("seed", 3), (0.5,) * window.session.generator.num_layers)
    window.session.change(window.recipe.replace(mix=mix))
    window.settle()
    assert window.captions == {f"sub-07: mixed with seed 3\n{EDITED}"}
    recipes = list(window.explorer.mix.pictures.recipes(window.session).values())
    assert [recipe.worn_detail is not None for recipe in recipes] == [True, True, False]


def test_at_rest_the_scan_has_voxels_of_its_own_size(window, case, restless, monkeypatch):
    """Sharp in the planes, on the model's grid in 3D and wherever something is measured."""
    monkeypatch.setattr(sharpening, "SHARP_REST_MS", 1)
    comparison, layer = window.explorer.comparison, window.explorer.stage.layer
    size = window.session.generator.space.voxel_size
    fine = FineScan(case.aligned)
    here = tuple(window.viewer.dims.point)
    edit(window, 2.0)
    window.wait(lambda: layer.data.shape == fine.space.shape)
    edited = window.volume
    np.testing.assert_array_equal(edited, fine.edited(comparison.picture.rendered.movement))
    assert comparison.picture.rendered.volume.shape == window.session.generator.shape
    follower = window.views.view("3D").follower
    follower.settle()
    assert window.views.view("3D").model.layers[0].data.shape == window.session.generator.shape
    assert in_3d(layer)[0].shape == window.session.generator.shape, "for a surface, too"
    for view in ("Axial", "Coronal", "Sagittal"):
        copy = next(iter(window.views.view(view).model.layers))
        assert copy.data.shape == fine.space.shape
    window.click("project.show.scan")
    window.wait(lambda: np.array_equal(window.volume, fine.unedited))
    assert window.captions == {"Scan: sub-07"}
    # Back at once, for it is kept; and coarse again while a slider moves.
    window.click("project.show.edited")
    window.wait(lambda: np.array_equal(window.volume, edited))
    window.explorer.panel("Directions")
    slider = window.find("directions.strength.0.slider")
    slider.setSliderDown(True)
    slider.setValue(round(0.8 * slider.maximum()))
    window.wait(lambda: comparison.recipe == window.recipe)
    assert layer.data.shape == window.session.generator.shape
    np.testing.assert_allclose(layer.scale, size)
    follower.settle()
    assert tuple(window.viewer.dims.point) == pytest.approx(here), "the crosshair stays"
    slider.setSliderDown(False)
