"""A family of generators is one file and its registration: a linear model goes all the ways."""

import json

import numpy as np
import pytest
import torch
from families import toy
from tolerances import DOUBLE, LAYERS, SUMS

import stylegan3d
from stylegan3d.base import LatentError, ModelError, StyleGAN3DError
from stylegan3d.directions.custom import direction_between, direction_of_values
from stylegan3d.directions.edit_effects import way_back
from stylegan3d.directions.latent_map import Survey
from stylegan3d.geometry.space import to_display
from stylegan3d.model import family as families
from stylegan3d.model import random_latents
from stylegan3d.model.family import LACKS, OneRow, Parts
from stylegan3d.model.generator import load
from stylegan3d.model.random_latents import COMPONENTS, Spread, random_blocks, random_w
from stylegan3d.projection.problem import LatentPrior
from stylegan3d.projection.projector import estimate_seconds
from stylegan3d.recipe import keyframes
from stylegan3d.recipe.latents import Delta, mix
from stylegan3d.recipe.model import seed_latents
from stylegan3d.recipe.recipe import Edit, Mix, Recipe, Source, Truncation
from stylegan3d.render.recipes import render_recipe
from stylegan3d.render.renderer import Renderer


def changed(folder, tmp_path, change):
    """A copy of the model with another card."""
    import shutil

    copied = shutil.copytree(folder, tmp_path / "changed")
    card = json.loads((copied / "card.json").read_text())
    change(card)
    (copied / "card.json").write_text(json.dumps(card))
    return copied


def test_it_says_what_it_is_and_what_it_cannot(generator):
    assert (generator.family, generator.name) == ("toy-linear", "toy")
    assert generator.shape == toy.SPACE.shape
    assert generator.levels == [toy.SPACE.shape]
    assert generator.cannot == {
        "layers": LACKS["layers"],
        "noise": toy.NO_NOISE,  # its own words
        "noise_maps": LACKS["noise_maps"],
        "tuning": LACKS["tuning"],
        "score": LACKS["score"],
    }
    assert generator.can("encode")
    assert not generator.can("layers")
    generator.require("encode")
    for feature, reason in generator.cannot.items():
        with pytest.raises(ModelError) as refused:
            generator.require(feature)
        assert str(refused.value) == reason
    assert not generator.has_noise
    assert not generator.has_layer_noise


def test_a_stylegan_lacks_nothing_but_what_was_not_saved(tiny_generator):
    assert tiny_generator.family == "stylegan"
    assert set(tiny_generator.cannot) == {"score", "encode"}


def test_brains_are_those_of_the_definition(generator):
    w = seed_latents(generator, [4, 7], truncation=0.5)
    assert w.shape == (2, 1, 40)
    z = np.stack([np.random.RandomState(seed).randn(toy.COMPONENTS) for seed in (4, 7)])
    network = generator.synthesis
    weights = 0.5 * torch.from_numpy(z).float()
    expected = network.mean + torch.einsum("nk,kxyz->nxyz", weights, network.basis)
    torch.testing.assert_close(generator.synthesize(w)[:, 0], expected, atol=SUMS, rtol=0)
    torch.testing.assert_close(
        generator.encoder(generator.synthesize(w)), w, atol=LAYERS, rtol=LAYERS
    )
    half = mix(w[0], w[1], 0.5)
    torch.testing.assert_close(half, (w[0] + w[1]) / 2)
    with pytest.raises(ModelError, match="discriminator"):
        generator.score(generator.synthesize(w))


def test_every_quality_is_rendered(generator):
    renderer = Renderer(generator)
    w = seed_latents(generator, [1])[0]
    expected = to_display(generator.synthesize(w[None]))[0]
    assert renderer.learn_preview() is None
    assert renderer.preview_level == -1
    for quality in ("full", "fast", "preview"):
        made = renderer.render(w, quality)
        assert made.volume.shape == generator.shape
        # Half the voxels are interpolated in a preview.
        np.testing.assert_allclose(made.volume, expected, atol=0.02 if quality != "full" else 1e-6)


def test_a_recipe_with_everything_a_model_of_one_row_has(generator):
    recipe = Recipe(
        Source("seed", 3),
        Truncation(0.7),
        Mix(Source("seed", 8), (0.4,)),
        (Edit("PC 1", 1.5),),
        noise=5,
    )
    made = render_recipe(Renderer(generator), Recipe.from_json(recipe.to_json()))
    first, second = seed_latents(generator, [3, 8], 0.7)
    w = first + 0.4 * (second - first)
    w = w + 1.5 * torch.from_numpy(generator.directions.step("PC 1"))
    np.testing.assert_allclose(made.volume, to_display(generator.synthesize(w[None]))[0], atol=SUMS)
    stops = [Recipe(Source("seed", seed), Truncation(1.0)) for seed in (3, 1)]
    middle = keyframes.walk(stops, 0.5, generator.num_layers).latent(generator)
    torch.testing.assert_close(middle, seed_latents(generator, [3, 1]).mean(dim=0))


def test_projection_finds_the_latent_again(generator):
    w = seed_latents(generator, [11], 0.8)[0]
    scan = np.clip(to_display(generator.synthesize(w[None]))[0], 0, 1)
    found = stylegan3d.project(generator, scan, budget="draft", steps=4)
    assert found.assessment["similarity"]["psnr"] > 30
    assert found.delta is None
    assert found.settings["start"] == "encoder"
    assert estimate_seconds(generator, "thorough") > 0
    prior = LatentPrior.of(generator)
    u = prior.whiten(w)
    torch.testing.assert_close(prior.color(u), w, atol=SUMS, rtol=SUMS)
    torch.testing.assert_close(u * generator.deviations, w - generator.w_avg)


@pytest.mark.parametrize(
    ("settings", "feature"),
    [
        ({"budget": "thorough"}, "tuning"),
        ({"space": "w+noise"}, "noise_maps"),
        ({"method": "original"}, "noise_maps"),
    ],
)
def test_what_a_projection_cannot_do_is_refused_at_once(generator, settings, feature):
    with pytest.raises(StyleGAN3DError) as refused:
        stylegan3d.project(generator, toy.egg().astype(np.float32), **settings)
    assert str(refused.value) == generator.cannot[feature]


def test_a_tuning_of_another_model_does_not_fit(generator):
    with pytest.raises(LatentError, match="cannot be tuned"):
        generator.tuned(Delta({"mean": np.ones(generator.shape)}))


def test_directions_are_the_familys_components(generator):
    found = stylegan3d.pca_directions(generator)
    assert found.names == tuple(f"PC {k + 1}" for k in range(toy.COMPONENTS))
    np.testing.assert_allclose(found.std, np.linspace(3, 1, toy.COMPONENTS), rtol=SUMS)
    np.testing.assert_allclose(found.explained_variance.sum(), 1, rtol=SUMS)
    for k, name in enumerate(found.names):
        step = generator.components[k].numpy()
        assert abs(found.step(name) @ step) == pytest.approx(float(step @ step), rel=LAYERS)
    assert len(found) < COMPONENTS
    assert len(stylegan3d.pca_directions(generator, 2)) == 2
    survey = Survey.of(generator, 500)
    # The spread of 500 random brains: 1 / sqrt(2 * 500) each.
    np.testing.assert_allclose(survey.points.std(axis=0), 1, atol=0.15)


def test_own_directions(generator):
    w = random_w(generator, 80, 2)
    step = generator.directions.step("PC 2").astype(float)
    value = w @ step
    more, less = value > np.median(value), value <= np.median(value)
    between = direction_between(generator, w[less], w[more], "Second")
    along = direction_of_values(generator, w, value, "Value")
    for found in (between, along):
        cosine = found.vectors[0] @ step / np.linalg.norm(step)
        assert cosine > 0.8
    assert between.checks[0]["auc"] > 0.9
    # Estimated from random brains.
    assert along.std[0] == pytest.approx(np.linalg.norm(step), rel=0.1)


def test_the_way_back_of_an_edit_is_found_by_the_encoder(generator):
    recipe = Recipe(Source("seed", 3), edits=(Edit("PC 1", 1.0),))
    renderer = Renderer(generator)
    after = render_recipe(renderer, recipe).volume
    before = render_recipe(renderer, recipe.replace(edits=())).volume
    back = way_back(recipe, generator, before, after)
    assert back.in_w < 1e-6
    assert back.found == pytest.approx(1, abs=0.15)  # what is displayed is clipped


def test_spread_is_that_of_all_brains_at_once(generator, tiny_generator):
    for one in (generator, tiny_generator):
        w = random_w(one, 2500, 1)
        np.testing.assert_array_equal(w, np.concatenate(list(random_blocks(one, 2500, 1))))
        vectors = np.random.RandomState(0).randn(2, one.w_dim)
        spread = Spread.of(one, vectors, 2500, 1)
        np.testing.assert_allclose(spread.mean, w.mean(axis=0), atol=DOUBLE)
        np.testing.assert_allclose(spread.variance, w.var(axis=0), atol=DOUBLE)
        np.testing.assert_allclose(spread.scores, (w - w.mean(axis=0)) @ vectors.T, atol=DOUBLE)
        z = np.random.RandomState(1).randn(2500, one.z_dim)
        expected = one.map(torch.from_numpy(z[-3:]).float())[:, 0]
        np.testing.assert_allclose(w[-3:], expected.numpy(), atol=SUMS)


@pytest.mark.parametrize("known", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_long_latents_take_no_square_of_their_length(tmp_path, monkeypatch, known):
    """Of 20,000 numbers a covariance would take 3 GB: nothing of that size is even asked for."""
    import resource

    # Of 300 brains: the singular values of 1,200 take most of a minute.
    monkeypatch.setattr(random_latents, "_MOST_NUMBERS", 300 * 20_000)
    folder = toy.save(tmp_path / "long", w_dim=20_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    generator = load(folder, device="cpu")
    if not known:  # a family that says nothing of the spread
        generator.deviations = generator.components = None
    w = seed_latents(generator, [5], 0.8)[0]
    scan = np.clip(to_display(generator.synthesize(w[None]))[0], 0, 1)
    prior = LatentPrior.of(generator)
    assert prior.root.shape == (20_000,)
    assert 0.7 < prior.distance(seed_latents(generator, range(50))) < 1.3
    found = stylegan3d.project(generator, scan, steps=2, budget="draft")
    guess = generator.encoder(torch.from_numpy(scan)[None, None] * 2 - 1)
    guessed = to_display(generator.synthesize(guess))[0]
    assert np.square(found.volume - scan).sum() <= np.square(guessed - scan).sum() * 1.001
    directions = stylegan3d.pca_directions(generator, 3)
    truth = np.linspace(3, 1, toy.COMPONENTS)[:3]
    # Rounding where the family knows its components, otherwise random brains.
    np.testing.assert_allclose(directions.std, truth, rtol=1e-4 if known else 0.2)
    w = random_w(generator, 40, 2)
    value = w @ directions.vectors[0]
    half = value > np.median(value)
    direction_between(generator, w[~half], w[half], "First")
    direction_of_values(generator, w, value, "Value")
    vars(generator)["directions"] = directions
    Survey.of(generator)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 1.5e6  # kB


def test_an_unknown_family_is_refused_in_one_sentence(folder, tmp_path):
    def rename(card):
        card["architecture"]["family"] = "vae-of-the-future"

    with pytest.raises(ModelError) as refused:
        load(changed(folder, tmp_path, rename))
    told = str(refused.value)
    assert "'vae-of-the-future'" in told
    assert "stylegan, toy-linear" in told
    assert told.count(". ") == 0
    for odd in (3, None, ["stylegan"]):
        with pytest.raises(ModelError, match="family"):
            families.family_called(odd)


def test_the_familys_own_check_is_heard(folder, tmp_path):
    def lengthen(card):
        card["architecture"]["w_dim"] = 41

    with pytest.raises(ModelError, match="its components are of another size"):
        load(changed(folder, tmp_path, lengthen))


def test_a_name_that_is_taken_cannot_be_registered():
    class Other(toy.Linear):
        name = "stylegan"

    with pytest.raises(ValueError, match="belongs to a built-in family"):
        families.register(Other())


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"w_avg": torch.zeros(3)}, "w_avg"),
        ({"deviations": -torch.ones(4)}, "negative"),
        ({"deviations": torch.ones(5)}, "deviations"),
        ({"components": torch.ones(2, 5)}, "components"),
        ({"cannot": {"fly": "It cannot."}}, "fly"),
    ],
)
def test_parts_must_fit_each_other(wrong, told):
    known = {"w_avg": torch.zeros(4), **wrong}
    parts = Parts(OneRow(2, 4, (4, 4, 4)), torch.nn.Identity(), torch.nn.Identity(), **known)
    with pytest.raises(ValueError, match=told):
        parts.check()
