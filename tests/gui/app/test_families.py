"""A model of a family of its own in the real window: what it lacks is explained, the rest works."""

from __future__ import annotations

import json

import pytest
from families import toy
from PIL import Image
from qtpy.QtTest import QTest

from napari_stylegan3d.core.panel import why_not
from napari_stylegan3d.mix.panel import MixTable, write_matrix
from stylegan3d.model import family as families
from stylegan3d.recipe.recipe import Edit, Mix, Recipe, Source

#: What is asked is what is shown, but where a test paints.
UNPAINTED = True

TABS = ("Browse", "Project", "Mix", "Directions", "Compare", "Export")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The window of this file opens with a linear model."""
    families.register(toy.Linear())
    yield toy.save(tmp_path_factory.mktemp("toys") / "toy")
    families.forget(toy.Linear.name)


def well(window) -> bool:
    """Nothing went wrong."""
    return not window.explorer.message.text()


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_opens(window, notifications, tab):
    window.explorer.panel(tab)
    QTest.qWait(100)
    window.settle()
    assert well(window)
    assert notifications == []


def test_what_it_is_and_what_it_lacks_is_said(window):
    generator = window.session.generator
    assert generator.family == "toy-linear"
    assert "Kind: linear model." in window.find("browse.about").text()
    for name in ("browse.noise", "browse.noise_seed"):
        assert not window.find(name).isEnabled()
        assert window.find(name).toolTip() == toy.NO_NOISE
    assert window.find("browse.noise_note").text() == toy.NO_NOISE
    cutoff = window.find("browse.cutoff")
    assert not cutoff.isEnabled()
    assert cutoff.toolTip() == why_not(generator, "layers")
    for name, entry, feature in (
        ("project.space", "w+noise", "noise_maps"),
        ("project.space", "w", "layers"),
        ("project.budget", "thorough", "tuning"),
    ):
        box = window.find(name)
        item = box.model().item(box.findData(entry))
        assert not item.isEnabled()
        assert item.toolTip() == generator.cannot[feature] == generator.cannot[feature]


def test_the_whole_brain_is_mixed(window):
    window.explorer.panel("Mix")
    assert window.find("mix.layers_note").text() == window.session.generator.cannot["layers"]
    assert window.find("mix.layers_note").isVisible()
    assert not window.find("mix.preset").isVisible()
    assert not window.find("mix.group.whole.more").isVisible()
    before = window.volume
    window.set("mix.group.whole", 40)
    window.settle()
    assert window.recipe.mix == Mix(Source("seed", 1), (0.4,))
    assert abs(window.volume - before).max() > 0.01
    window.click("mix.open_matrix")
    matrix = window.explorer.mixing.matrix
    matrix.cells[0][0].click()
    assert window.recipe.mix.strength == (0.5,)
    matrix.hide()
    assert well(window)


def test_directions_move_the_whole_brain(window):
    panel = window.explorer.panel("Directions")
    assert list(panel.rows) == [f"PC {k + 1}" for k in range(toy.COMPONENTS)]
    assert not window.find("directions.layers").isVisible()
    before = window.volume
    panel.set_strength("PC 1", 1.5)
    window.settle()
    assert window.recipe.edits == (Edit("PC 1", 1.5),)
    assert abs(window.volume - before).max() > 0.01
    menu = panel.menus.of_row(panel.rows["PC 1"])
    assert "Applies to" not in [action.text() for action in menu.actions()]


def test_a_scan_is_projected_and_saved(window, scan_file, tmp_path):
    window.open_scan(scan_file)
    window.choose("project.budget", "draft")
    window.click("project.start")
    window.wait(lambda: window.session.projected)
    window.settle()
    assert window.recipe.source.kind == "projected"
    assert window.session.projected[0].assessment["similarity"]["psnr"] > 10
    window.find("export.folder").setText(str(tmp_path))
    window.click("export.save")
    window.wait(lambda: "Saved" in window.find("export.done").text())
    assert list(tmp_path.glob("*.nii.gz"))
    assert well(window)


def test_a_matrix_names_no_folder(tmp_path):
    latent = Source("projected", path="/scans/SMITH/sub-1_latent.safetensors", sha256="a" * 64)
    recipe = Recipe(latent)
    table = MixTable([(recipe, "a")], [(recipe, "b")], [[recipe]], "all layers")
    write_matrix(tmp_path / "matrix.png", table, lambda _: None)
    ((told,),) = json.loads(Image.open(tmp_path / "matrix.png").text["Recipes"])
    assert told["source"]["path"] == "sub-1_latent.safetensors"
