"""What an edit did, on brains whose difference is known."""

import numpy as np
import pytest
import torch
from phantoms import encoding_generator
from tolerances import FLOAT32

from stylegan3d.directions.edit_effects import (
    THRESHOLD,
    effect_lines,
    measure_effect,
    rows_of,
    way_back,
    without_edits,
)
from stylegan3d.geometry.space import Space
from stylegan3d.recipe.recipe import Edit, Mix, Recipe, Source

#: Voxels the tissue network does not know: by intensity.
COARSE = Space(
    (64, 90, 77), np.array([[2.5, 0, 0, -79], [0, 2.5, 0, -135], [0, 0, 2.5, -83], [0, 0, 0, 1]])
)
SPACE = Space(
    (80, 112, 96), np.array([[2.0, 0, 0, -79], [0, 2, 0, -135], [0, 0, 2, -83], [0, 0, 0, 1]])
)


def brain(ventricle_mm: float, space: Space = SPACE) -> np.ndarray:
    """An ellipsoid of white in grey matter, with a dark ball where ventricles lie."""
    index = np.moveaxis(np.indices(space.shape), 0, -1)
    mm = index @ space.affine[:3, :3].T + space.affine[:3, 3]
    middle = np.array([0.0, -24.5, 12.4])
    egg = np.sqrt((((mm - middle) / [67, 86, 62]) ** 2).sum(-1))
    volume = np.where(egg < 1, 0.6, 0.0)
    volume[egg < 0.75] = 0.95
    volume[np.sqrt(((mm - [0, -12, 14]) ** 2).sum(-1)) < ventricle_mm] = 0.15
    return volume.astype(np.float32)


@pytest.mark.parametrize("space", [SPACE, COARSE], ids=["network", "intensity"])
def test_a_larger_ventricle_is_found_where_it_is(space):
    small, large = brain(12, space), brain(18, space)
    effect = measure_effect(small, large, space, "ventricle_ml")
    rows = {name: (before, after) for name, before, after in rows_of(effect)}
    grown_mm3 = 4 / 3 * np.pi * (18**3 - 12**3)
    before, after = rows["Ventricles"]
    # Ventricles are no balls, and where nobody has one no fluid counts as theirs.
    assert 0.5 < (after - before) / (grown_mm3 / 1000) < 1.25
    assert effect.changed_mm3 == pytest.approx(grown_mm3, rel=0.05)  # balls of voxels
    assert effect.outside < 0.15
    assert effect.where[0][0] == "ventricles" or "deep" in effect.where[0][0]
    assert "of the total change is outside the ventricles" in effect_lines(effect)[0]
    how = "by the tissue network regions-t1-2mm" if space is SPACE else "by intensity alone"
    assert effect_lines(effect)[-1].startswith(f"Volumes {how}")


def test_what_changes_elsewhere_counts_as_outside():
    start = brain(14, COARSE)
    other = start.copy()
    other[32, 10:30, 32] += 0.5
    effect = measure_effect(start, other, COARSE, "ventricle_ml")
    assert effect.outside == pytest.approx(1)
    assert effect.changed_mm3 == pytest.approx(20 * 2.5**3)
    assert measure_effect(start, other, COARSE, "age").outside is None


def test_measuring_can_be_given_up_before_each_step():
    start = brain(14, COARSE)
    calls = []

    def count() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_effect(start, start, COARSE, "ventricle_ml", count)
    assert len(calls) == 3


def test_small_differences_are_no_change_and_nothing_has_no_share():
    start = brain(14, COARSE)
    effect = measure_effect(start, start + 0.9 * THRESHOLD * (start > 0), COARSE)
    assert effect.changed_mm3 == 0
    same = measure_effect(start, start, COARSE, "ventricle_ml")
    assert (same.changed_mm3, same.outside, same.where) == (0, None, ())


def test_what_is_no_brain_has_no_volumes_but_a_difference():
    start = np.zeros(SPACE.shape, dtype=np.float32)
    other = start.copy()
    other[:2, :2, :2] = 1
    effect = measure_effect(start, other, SPACE, "ventricle_ml")
    assert np.isnan([*effect.before.values()]).all()
    assert effect.changed_mm3 == pytest.approx(64)
    assert effect.outside is None


def test_the_recipe_before_one_edit_keeps_the_others():
    mix = Mix(Source("seed", 3), (0.5,))
    recipe = Recipe(mix=mix, edits=(Edit("PC 1", 1.0), Edit("PC 2", 2.0)))
    assert without_edits(recipe) == recipe.replace(edits=())
    assert without_edits(recipe, "PC 1").edits == recipe.edits[1:]


def test_the_way_back_is_exact_in_w_and_the_encoder_has_its_say(tiny_generator):
    recipe = Recipe(edits=(Edit("PC 1", 2.0), Edit("PC 2", -1.0, (0, 2))))
    assert way_back(recipe, tiny_generator).in_w < 1e-6
    assert way_back(recipe, tiny_generator).found is None
    assert way_back(recipe.replace(edits=()), tiny_generator).in_w == 0


def test_a_perfect_encoder_finds_the_whole_way(tiny_generator):
    generator = encoding_generator()
    recipe = Recipe(edits=(Edit("PC 1", 2.0),))
    start = without_edits(recipe).latent(generator)
    end = recipe.latent(generator)

    class Knowing(torch.nn.Module):
        def forward(self, volume):
            return (end if float(volume[0, 0, 0, 0, 0]) > 0 else start)[None]

    generator.encoder = Knowing()
    dark = np.zeros(generator.shape, dtype=np.float32)
    back = way_back(recipe, generator, dark, dark + 1)
    assert back.found == pytest.approx(1)
    assert back.astray == pytest.approx(0, abs=FLOAT32)
    blind = way_back(recipe, generator, dark, dark)
    assert (blind.found, blind.astray) == (pytest.approx(0), pytest.approx(1))
