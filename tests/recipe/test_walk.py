"""A walk between brains: every step a recipe on the straight line in W."""

from __future__ import annotations

import pytest
import torch
from tiny import tiny_generator as make_tiny
from tolerances import SUMS

from stylegan3d.base import RecipeError
from stylegan3d.recipe.keyframes import between_recipes, check_walk, joined, leg_at, stills, walk
from stylegan3d.recipe.latents import Latent, save_latent
from stylegan3d.recipe.recipe import Detail, Edit, Label, Mix, Recipe, Source, Truncation


@pytest.fixture(scope="module")
def generator():
    return make_tiny(seed=0)


def seed(number: int, **parts) -> Recipe:
    return Recipe(Source("seed", number), **parts)


def half(generator) -> tuple[float, ...]:
    return (0.5,) * generator.num_layers


PAIRS = {
    "seeds": lambda g: (seed(1), seed(2)),
    "edits": lambda g: (
        seed(1, edits=(Edit("PC 1", 1.0), Edit("PC 2", -1.0, (0, 2)))),
        seed(2, edits=(Edit("PC 1", -2.0), Edit("PC 3", 1.5))),
    ),
    "truncations of one seed": lambda g: (
        seed(4, truncation=Truncation(0.3)),
        seed(4, truncation=Truncation(1.1)),
    ),
    "into a mix": lambda g: (seed(1), seed(1, mix=Mix(Source("seed", 2), half(g)))),
    "between mixes": lambda g: (
        seed(1, mix=Mix(Source("seed", 2), half(g))),
        seed(1, mix=Mix(Source("seed", 2), (1.0, *half(g)[1:]))),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("t", [0.0, 0.25, 0.9, 1.0])
def test_steps_lie_on_the_straight_line(generator, name, t):
    a, b = PAIRS[name](generator)
    step = between_recipes(a, b, t, generator.num_layers)
    expected = torch.lerp(a.latent(generator), b.latent(generator), t)
    assert torch.allclose(step.latent(generator), expected, atol=SUMS)
    assert Recipe.from_json(step.to_json()) == step


def test_the_ends_are_the_stops_themselves(generator):
    a, b = PAIRS["edits"](generator)
    assert between_recipes(a, b, 0.0, generator.num_layers) is a
    assert between_recipes(a, b, 1.0, generator.num_layers) is b


def test_a_latent_file_is_joined_to_a_seed_with_the_seeds_truncation(generator, tmp_path):
    file = tmp_path / "own.safetensors"
    w = torch.randn(generator.num_layers, generator.w_dim)
    save_latent(file, Latent.of(generator, w))
    own = Recipe(Source.from_file(file), Truncation(0.2))
    other = seed(7, truncation=Truncation(0.9))
    for a, b in ((own, other), (other, own)):
        step = between_recipes(a, b, 0.4, generator.num_layers)
        expected = torch.lerp(a.latent(generator), b.latent(generator), 0.4)
        assert torch.allclose(step.latent(generator), expected, atol=SUMS)


def test_a_walk_takes_the_same_way_as_an_animation(generator):
    stops = [seed(1), seed(2, edits=(Edit("PC 1", 1.0),)), seed(3)]
    animated = [still.w for still in stills(stops, generator, frames=4, easing="linear")]
    for frame, w in enumerate(animated):
        step = walk(stops, frame / 8, generator.num_layers)
        assert torch.allclose(step.latent(generator), w, atol=SUMS)


def test_legs_share_the_way_evenly():
    assert leg_at(3, 0.0) == (0, 0.0)
    assert leg_at(3, 0.75) == (1, 0.5)
    assert leg_at(3, 1.0) == (1, 1.0)
    with pytest.raises(RecipeError, match="at least two"):
        leg_at(1, 0.0)


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        (seed(1), seed(2, truncation=Truncation(1.0)), "truncations"),
        (seed(1, label=Label(numbers=(1.0,))), seed(2), "labels"),
        (seed(1, channel=1), seed(2), "channels"),
        (seed(1), seed(2, mix=Mix(Source("seed", 3), (0.5,))), "itself a mix"),
        (
            seed(1, mix=Mix(Source("seed", 2), (0.5,))),
            seed(1, mix=Mix(Source("seed", 3), (0.5,))),
            "different brains",
        ),
    ],
)
def test_what_cannot_be_joined_is_refused_with_the_reason(generator, a, b, reason):
    with pytest.raises(RecipeError, match=reason):
        check_walk([a, b], generator)


def test_unlike_brains_are_joined_as_latents(generator, tmp_path):
    both = Mix(Source("seed", 3), half(generator))
    stops = [
        seed(1, edits=(Edit("PC 1", 1.0),), noise="none"),
        seed(2, truncation=Truncation(1.0)),
        seed(4, mix=both),
        Recipe(Source("seed", 5)),
    ]
    kept = joined(stops, generator, tmp_path)
    for before, after in zip(stops, kept, strict=True):
        assert torch.equal(after.latent(generator), before.latent(generator))
        assert after.noise == before.noise
    assert [stop.source.kind for stop in kept] == ["latent", "latent", "latent", "seed"]
    middle = walk(kept, 1 / 6, generator.num_layers).latent(generator)
    expected = (stops[0].latent(generator) + stops[1].latent(generator)) / 2
    assert torch.allclose(middle, expected, atol=SUMS)
    assert joined(kept, generator, tmp_path) == kept
    # What the last one needs reaches the first.
    further = [seed(1, mix=Mix(both.source, (s,) * generator.num_layers)) for s in (0.3, 0.6)]
    further = joined([*further, seed(5, truncation=Truncation(0.5))], generator, tmp_path)
    check_walk(further, generator)
    with pytest.raises(RecipeError, match="channel 1"):
        joined([seed(1, channel=1), seed(2)], generator, tmp_path)


def test_noise_is_that_of_the_nearer_brain(generator):
    a, b = seed(1, noise="none"), seed(2, noise=5)
    assert between_recipes(a, b, 0.4, generator.num_layers).noise == "none"
    assert between_recipes(a, b, 0.6, generator.num_layers).noise == 5


def test_the_detail_of_a_scan_comes_along():
    scan = Source("projected", path="/d/sub-01_desc-projected_latent.safetensors")
    a = Recipe(scan, detail=Detail(scan))
    b = a.replace(edits=(Edit("PC 1", 2.0),), detail=Detail(scan, 0.5))
    assert between_recipes(a, b, 0.5, 4).detail == Detail(scan, 0.75)
    assert between_recipes(a, seed(1), 0.25, 4).detail == Detail(scan, 0.75), "it fades"
