"""Deltas: what they change, what they leave alone, how latents, recipes and mixes carry them."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny import tiny_generator

from stylegan3d.base import LatentError
from stylegan3d.model.generator import rows_of
from stylegan3d.recipe.latents import Delta, Latent, latent_bytes, mixed, read_latent, save_latent
from stylegan3d.recipe.model import seed_latents
from stylegan3d.recipe.recipe import Mix, Recipe, Source
from stylegan3d.render.renderer import Renderer

NOISE, WEIGHT = "levels.1.plain.noise", "to_rgb.1.conv.weight"


@pytest.fixture(scope="module", name="generator")
def shared_generator(tiny_generator):
    return tiny_generator


def random_delta(generator, names=(NOISE, WEIGHT), seed=0):
    state = generator.synthesis.state_dict()
    random = np.random.default_rng(seed)
    return Delta({k: random.normal(0, 0.3, tuple(state[k].shape)) for k in names})


def test_a_tuned_generator_differs_by_the_delta_and_shares_the_rest(generator):
    delta, w = random_delta(generator), seed_latents(generator, [1])
    before = generator.synthesize(w)
    tuned = generator.tuned(delta)
    assert torch.equal(generator.synthesize(w), before), "the generator itself stays as it was"

    own = tiny_generator()  # the same numbers, changed in place
    state = own.synthesis.state_dict()
    for name, values in delta.tensors.items():
        state[name] += torch.from_numpy(values.astype(np.float32))
    assert torch.equal(tuned.synthesize(w), own.synthesize(w))
    assert not torch.allclose(tuned.synthesize(w), before, atol=1e-3)  # far more than rounding
    assert tuned.hash == generator.hash
    assert tuned.synthesis.levels[0] is generator.synthesis.levels[0]
    assert tuned.synthesis.const is generator.synthesis.const


def test_a_delta_that_does_not_fit_is_refused(generator):
    with pytest.raises(LatentError, match=r"changes 'levels\.9\.plain\.noise', which tiny-0"):
        generator.tuned(Delta({"levels.9.plain.noise": np.ones(3)}))
    with pytest.raises(LatentError, match="in that form"):
        generator.tuned(Delta({NOISE: np.ones(3)}))
    with pytest.raises(LatentError, match="NaN"):
        Delta({NOISE: np.full(3, np.nan)})
    with pytest.raises(LatentError, match="at least one"):
        Delta({})


def test_a_latent_file_keeps_its_delta(generator, tmp_path):
    w = seed_latents(generator, [1])[0]
    latent = Latent.of(generator, w, delta=random_delta(generator))
    save_latent(tmp_path / "a.safetensors", latent)
    again = read_latent(tmp_path / "a.safetensors", generator)[0]
    assert again.delta is not None
    assert again.delta.digest == latent.delta.digest
    assert latent_bytes(again) == latent_bytes(latent)
    plain = dataclasses.replace(latent, delta=None)
    assert b'"version":"1"' in latent_bytes(plain)
    assert b'"version":"2"' in latent_bytes(latent), "older programs must not ignore it"
    with pytest.raises(LatentError, match=r"tuning in a\.safetensors changes|belongs to the model"):
        read_latent(tmp_path / "a.safetensors", tiny_generator(channels=(12, 4)))


def test_rows_are_those_that_layers_read(generator):
    for index, level in enumerate(generator.synthesis.typed_levels):
        names = [n for n in ("up", "plain") if getattr(level, n) is not None]
        for name, row in zip(names, level.rows, strict=True):
            assert list(rows_of(f"levels.{index}.{name}.noise", generator.config)) == [row]
        refining = f"levels.{index}.refine.0.noise"
        assert list(rows_of(refining, generator.config)) == [2 * index]
    assert list(rows_of("to_rgb.1.bias", generator.config)) == [3]
    assert list(rows_of("image_const", generator.config)) == [1, 2, 3]


def test_a_mix_takes_each_layers_share(generator):
    a, b = random_delta(generator), random_delta(generator, [NOISE], seed=1)
    strength = [0.0, 0.0, 0.25, 1.0]  # the noise belongs to row 2, the weight to row 3
    both = mixed(a, b, strength, generator.rows_of)
    expected = 0.75 * a.tensors[NOISE].astype(np.float32) + 0.25 * b.tensors[NOISE]
    # The delta is stored in float16.
    np.testing.assert_allclose(both.tensors[NOISE], expected, atol=1e-3)
    assert not both.tensors[WEIGHT].any()
    assert mixed(None, None, strength, generator.rows_of) is None
    alone = mixed(None, b, [1.0] * 4, generator.rows_of)
    assert alone.digest == b.digest


def test_recipes_carry_the_delta_of_their_latents(generator, tmp_path):
    w, delta = seed_latents(generator, [1])[0], random_delta(generator)
    path = tmp_path / "a.safetensors"
    save_latent(path, Latent.of(generator, w, delta=delta))
    recipe = Recipe(Source.from_file(path))
    assert recipe.delta(generator).digest == delta.digest
    assert Recipe().delta(generator) is None
    half = Mix(Source("seed", 3), (0.5,) * 4)
    shares = recipe.replace(mix=half).delta(generator).tensors[NOISE]
    # The delta is stored in float16.
    np.testing.assert_allclose(shares, delta.tensors[NOISE] / 2, atol=1e-3)
    other_way = Recipe(Source("seed", 3), mix=Mix(recipe.source, (1.0,) * 4))
    assert other_way.delta(generator).digest == delta.digest


@pytest.mark.parametrize("quality", ["full", "fast", "preview"])
def test_the_renderer_shows_the_delta_it_is_given(generator, quality):
    """Also right after another one with the same latent, whose layers it remembers."""
    w, delta = seed_latents(generator, [1])[0], random_delta(generator)
    renderer = Renderer(generator)
    plain = renderer.render(w, quality).volume
    tuned = renderer.render(w, quality, delta=delta).volume
    again = renderer.render(w, quality).volume
    assert np.array_equal(plain, again)
    expected = Renderer(generator.tuned(delta)).render(w, quality).volume
    assert np.array_equal(tuned, expected)
    assert np.abs(tuned - plain).max() > 1e-2
    other = random_delta(generator, seed=5)
    assert not np.array_equal(renderer.render(w, quality, delta=other).volume, tuned)
