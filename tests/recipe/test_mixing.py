"""Mixes as recipes: what each layer takes, and the matrix of the paper's figure."""

import numpy as np
import pytest
import torch

import stylegan3d
from stylegan3d.base import RecipeError
from stylegan3d.recipe.mixing import PRESETS, around, mixing_matrix, solo, strengths
from stylegan3d.recipe.recipe import Edit, Mix, Recipe, Source

GROUPS = ((0, 1, 2), (3, 4), (5, 6, 7))
A, B, C = (Source("seed", seed) for seed in (1, 2, 3))


def test_a_share_goes_to_every_layer_of_its_group():
    assert strengths((0, 1, 0.5), GROUPS) == (0, 0, 0, 1, 1, 0.5, 0.5, 0.5)
    assert strengths((0.25, 1), ((1,), (0, 2))) == (1, 0.25, 1)
    assert solo(1, GROUPS) == (0, 0, 0, 1, 1, 0, 0, 0)


def test_presets_differ_and_say_what_they_do():
    assert len({preset.shares for preset in PRESETS}) == len(PRESETS)
    assert all(preset.name and preset.meaning.endswith(".") for preset in PRESETS)


def test_a_cell_takes_its_columns_layers_and_its_rows_others(tiny_generator):
    generator = tiny_generator
    middle = tuple(float(k == 1) for k in range(generator.num_layers))
    base = Recipe(Source("seed", 9), edits=(Edit("PC 1", 1.0),), noise="none")
    cells = mixing_matrix(base, [A, B], [B, C], middle)
    assert cells[0][1] == base.replace(source=A, mix=Mix(C, middle))
    w = cells[0][1].replace(edits=()).latent(generator).numpy()
    row, column = (Recipe(source).latent(generator).numpy() for source in (A, C))
    np.testing.assert_array_equal(w[1], column[1])
    np.testing.assert_array_equal(np.delete(w, 1, 0), np.delete(row, 1, 0))
    assert cells[1][0] == base.replace(source=B), "a brain mixed with itself is itself"


def test_sources_around_one_are_different_and_begin_with_it():
    scan = Source("projected", path="scan.safetensors")
    assert around(A, 3) == [A, B, C]
    assert around(scan, 3, [B]) == [scan, B, Source("seed", 1)]
    assert around(A, 2, [A, C, B]) == [A, C]
    assert around(Source("seed", 2**31 - 1), 2)[1] == Source("seed", 0)


def test_sources_to_avoid_are_left_out_but_the_first_stays():
    assert around(A, 3, avoid=[B]) == [A, C, Source("seed", 4)]
    assert around(B, 2, [A, C], avoid=[A, B]) == [B, C]


FINE = (0.0,) * 5 + (0.5,) * 3


@pytest.fixture(scope="module")
def bundled():
    return stylegan3d.load(device="cpu")


def test_fine_changes_what_is_fine_evenly_without_closing_the_gate(bundled):
    shown = [
        Recipe(A, mix=Mix(B, (0.0,) * 5 + (share,) * 3)).latent(bundled) for share in (0, 0.5, 1)
    ]
    first, half, last = (bundled.synthesize(w[None])[0, 0] for w in shown)
    steps = (half - first).std(), (last - half).std()
    assert max(steps) < 1.1 * min(steps)
    gates = [bundled.synthesis.flow.gate(bundled.synthesis.detail_weights(w[None])) for w in shown]
    assert min(gates) == gates[0], "straight, it is half closed half-way, and folds are blurred"
    # Smooth over 16 mm, hardly anything has changed.
    coarse = torch.nn.functional.avg_pool3d((last - first)[None], 8)
    assert coarse.std() < 0.2 * (last - first).std()


def test_recipes_of_version_2_are_read_unless_they_mix(bundled):
    plain, mixed = (Recipe(A, mix=mix).to_json() for mix in (None, Mix(B, FINE)))
    old = plain.replace('"version": 3', '"version": 2')
    assert Recipe.from_json(old) == Recipe.from_json(plain) == Recipe(A)
    with pytest.raises(RecipeError, match="has version 2"):
        Recipe.from_json(mixed.replace('"version": 3', '"version": 2'))
