"""Directions against their definition: eigenvectors of the covariance of w."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny import tiny_generator
from tolerances import LAYERS, SUMS

from stylegan3d.base import OutputError, RecipeError
from stylegan3d.model.random_latents import pca_directions
from stylegan3d.recipe.directions import Directions, join, move
from stylegan3d.recipe.latents import find_step, load_directions, save_directions
from stylegan3d.storage.encoding import pack, unpack


@pytest.fixture(scope="module", name="generator")
def shared_generator(tiny_generator):
    return tiny_generator


@pytest.fixture(scope="module")
def directions(generator):
    return pca_directions(generator, components=5, samples=1500, seed=3)


def test_they_are_the_eigenvectors_of_the_covariance_of_w(generator, directions):
    z = torch.from_numpy(np.random.RandomState(3).randn(1500, generator.z_dim)).float()
    w = generator.map(z)[:, 0].double().numpy()
    values, vectors = np.linalg.eigh(np.cov(w, rowvar=False))
    values, vectors = values[::-1], vectors.T[::-1]
    np.testing.assert_allclose(directions.std**2, values[:5], rtol=LAYERS)
    np.testing.assert_allclose(
        directions.explained_variance, (values / values.sum())[:5], rtol=LAYERS
    )
    cosines = (directions.vectors * vectors[:5]).sum(axis=1)
    np.testing.assert_allclose(np.abs(cosines), 1, atol=LAYERS)
    np.testing.assert_allclose(directions.vectors @ directions.vectors.T, np.eye(5), atol=SUMS)


def test_the_sign_is_a_convention_and_the_numbers_repeat(generator, directions):
    largest = np.abs(directions.vectors).argmax(axis=1)
    assert (directions.vectors[np.arange(5), largest] > 0).all()
    again = pca_directions(generator, components=5, samples=1500, seed=3)
    np.testing.assert_array_equal(again.vectors, directions.vectors)
    assert directions.names == ("PC 1", "PC 2", "PC 3", "PC 4", "PC 5")


def test_one_step_is_one_standard_deviation_of_random_brains(generator, directions):
    z = torch.from_numpy(np.random.RandomState(99).randn(4000, generator.z_dim)).float()
    spread = (generator.map(z)[:, 0].numpy() @ directions.vectors[0]).std()
    step = directions.step("PC 1")
    assert np.linalg.norm(step) == pytest.approx(spread, rel=0.05)  # two samples of random brains
    assert step @ directions.vectors[0] == pytest.approx(directions.std[0])


def test_move_touches_only_its_layers_and_no_input(directions):
    w = torch.zeros(2, 6, directions.vectors.shape[1])
    moved = move(w, directions.step("PC 2"), -2.0, (1, 3))
    assert not w.any()
    expected = torch.from_numpy(-2.0 * directions.step("PC 2"))
    torch.testing.assert_close(moved[:, 1:3], expected.expand(2, 2, -1))
    assert not moved[:, 0].any()
    assert not moved[:, 3:].any()
    assert torch.equal(directions.edit(w, "PC 2", -2.0, (1, 3)), moved)
    assert torch.equal(directions.edit(w, "PC 2", 1.0)[0, 5], torch.tensor(directions.step("PC 2")))


def test_files_keep_everything_and_know_their_model(generator, directions, tmp_path):
    path = tmp_path / "pca.safetensors"
    save_directions(path, directions)
    again = load_directions(path, generator)
    for name in ("vectors", "std", "explained_variance"):
        np.testing.assert_array_equal(getattr(again, name), getattr(directions, name))
    assert (again.names, again.model_hash) == (directions.names, generator.hash)
    np.testing.assert_array_equal(find_step(f"{path}#PC 3", generator), directions.step("PC 3"))
    with pytest.raises(RecipeError, match=r"belongs to the model tiny-0 .* tiny-1"):
        load_directions(path, tiny_generator(1))
    with pytest.raises(OutputError, match="exists already"):
        save_directions(path, directions)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RecipeError, match="is damaged"):
        load_directions(path)


def test_descriptions_are_kept_and_files_without_them_load(generator, directions, tmp_path):
    told = {"PC 1": "larger head (r = 0.93), older (r = 0.41)"}
    check = {"name": "PC 2", "attribute": "age", "r": 0.8}
    described = dataclasses.replace(directions, descriptions=told, checks=(check,))
    assert described.summary("PC 1") == "larger head, older"
    assert (described.summary("PC 3"), described.attributes) == ("", ("PC 2",))
    plain, full = tmp_path / "plain.safetensors", tmp_path / "full.safetensors"
    save_directions(plain, directions)
    save_directions(full, described)
    assert b"descriptions" not in plain.read_bytes()
    again = load_directions(full, generator)
    assert (again.descriptions, again.checks) == (told, (check,))
    assert load_directions(plain, generator).descriptions == {}
    tensors, metadata = unpack(full.read_bytes(), kind="directions", path=full, error=RecipeError)
    for key, value in (("descriptions", "["), ("descriptions", "[]"), ("checks", '["a"]')):
        full.write_bytes(pack(tensors, {**metadata, key: value}))
        with pytest.raises(RecipeError, match=f"Its {key} are damaged"):
            load_directions(full)


def test_directions_are_joined(generator, directions):
    named = dataclasses.replace(directions, names=tuple("abcde"), descriptions={"a": "larger"})
    both = join(named, directions)
    assert both.names == (*"abcde", *directions.names)
    np.testing.assert_array_equal(both.step("PC 2"), both.step("b"))
    assert both.descriptions == {"a": "larger"}
    with pytest.raises(RecipeError, match="names repeat"):
        join(directions, directions)
    with pytest.raises(RecipeError, match="cannot be joined"):
        join(named, dataclasses.replace(directions, model_hash="other"))


def test_unusable_directions_are_refused(generator):
    one = np.ones((1, 4))
    with pytest.raises(RecipeError, match="incomplete"):
        Directions(one, np.ones(2), np.ones(1), ("a",))
    with pytest.raises(RecipeError, match="names repeat"):
        Directions(np.ones((2, 4)), np.ones(2), np.ones(2), ("a", "a"))
    with pytest.raises(RecipeError, match="not finite"):
        Directions(one, np.array([np.nan]), np.ones(1), ("a",))
    with pytest.raises(RecipeError, match="cannot be found in 3 samples"):
        pca_directions(generator, components=5, samples=3)


def test_components_end_at_the_dimension_of_w(generator):
    directions = pca_directions(generator, components=1000, samples=200)
    assert len(directions) == generator.w_dim
    assert directions.explained_variance.sum() == pytest.approx(1, abs=SUMS)


def test_directions_of_long_latents_take_half_the_space(tmp_path):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(20, 27_000)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    told = Directions(
        vectors,
        np.ones(20, np.float32),
        np.full(20, 0.05, np.float32),
        tuple(f"PC {k}" for k in range(20)),
        "0" * 64,
        "long",
    )
    path = tmp_path / "long.safetensors"
    save_directions(path, told)
    assert path.stat().st_size < 0.51 * vectors.nbytes
    found = load_directions(path).vectors
    assert found.dtype == np.float32
    cosines = (found * vectors).sum(axis=1) / np.linalg.norm(found, axis=1)
    assert (1 - cosines).max() < 1e-6
