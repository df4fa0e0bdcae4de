"""Paths between recipes: where they start, what lies between, at what pace."""

from __future__ import annotations

import pytest
import torch
from tolerances import SUMS

from stylegan3d.base import RecipeError
from stylegan3d.recipe.keyframes import between, count_stills, eased, stills
from stylegan3d.recipe.latents import Delta, Latent, save_latent
from stylegan3d.recipe.recipe import Edit, Recipe, Source, Truncation


def path_of(*args, **options):
    """w of each frame, [num_layers, w_dim]."""
    return [still.w for still in stills(*args, **options)]


def seeds(*numbers, psi=0.7):
    return [Recipe(Source("seed", number), Truncation(psi)) for number in numbers]


def test_a_line_is_straight_and_meets_its_ends_exactly():
    a, b = torch.randn(5, 16), torch.randn(5, 16)
    assert torch.equal(between(a, b, 0.0), a)
    torch.testing.assert_close(between(a, b, 1.0), b)
    torch.testing.assert_close(between(a, b, 0.25), 0.75 * a + 0.25 * b)


def test_a_great_circle_turns_evenly_and_keeps_the_length():
    a, b = torch.zeros(1, 3), torch.zeros(1, 3)
    a[0, 0], b[0, 1] = 2.0, 4.0
    third = between(a, b, 1 / 3, "spherical")
    angle = torch.atan2(third[0, 1], third[0, 0])
    torch.testing.assert_close(angle, torch.tensor(torch.pi / 6))
    torch.testing.assert_close(third.norm(), torch.tensor(2 + 2 / 3))


@pytest.mark.parametrize("factor", [1.0, -1.0, 0.0])
def test_a_great_circle_between_parallel_vectors_is_a_line(factor):
    a = torch.randn(1, 16)
    middle = between(a, factor * a, 0.5, "spherical")
    torch.testing.assert_close(middle, a * (1 + factor) / 2)


def test_easing_meets_both_ends_and_rests_there():
    for easing in ("linear", "in-out"):
        assert (eased(0.0, easing), eased(0.5, easing), eased(1.0, easing)) == (0.0, 0.5, 1.0)
    assert eased(0.1, "linear") == 0.1
    assert eased(0.1, "in-out") < 0.05


@pytest.mark.parametrize("loop", [False, True])
def test_every_key_frame_is_met_exactly(tiny_generator, loop):
    recipes = seeds(3, 4, 5)
    made = path_of(recipes, tiny_generator, 4, loop=loop)
    assert len(made) == count_stills(3, 4, loop) == (12 if loop else 9)
    for frame, recipe in zip((0, 4, 8), recipes, strict=True):
        torch.testing.assert_close(made[frame], recipe.latent(tiny_generator))


def test_edits_change_by_equal_steps(tiny_generator):
    name = tiny_generator.directions.names[0]
    ends = [Recipe(edits=(Edit(name, strength),)) for strength in (-2.0, 2.0)]
    made = path_of(ends, tiny_generator, 4, "linear")
    expected = Recipe(edits=(Edit(name, 1.0),)).latent(tiny_generator)
    torch.testing.assert_close(made[3], expected, atol=SUMS, rtol=SUMS)


def test_between_seeds_a_great_circle_in_z_keeps_the_variety(tiny_generator):
    first, second = seeds(1, 2, psi=1.0)
    line, circle = (
        path_of([first, second], tiny_generator, 2, how=how) for how in ("linear", "spherical")
    )
    torch.testing.assert_close(circle[0], line[0])
    torch.testing.assert_close(circle[2], line[2])
    from stylegan3d.recipe.model import seed_z

    z = between(seed_z(tiny_generator, 1), seed_z(tiny_generator, 2), 0.5, "spherical")
    torch.testing.assert_close(circle[1], tiny_generator.map(z)[0])
    assert not torch.allclose(circle[1], line[1])


def test_a_leg_without_a_z_stays_straight(tiny_generator):
    name = tiny_generator.directions.names[0]
    ends = [Recipe(), Recipe(edits=(Edit(name, 2.0),))]
    line, circle = (path_of(ends, tiny_generator, 2, how=how) for how in ("linear", "spherical"))
    torch.testing.assert_close(circle[1], line[1])


def test_what_a_projection_changed_fades(tiny_generator, tmp_path):
    weight = dict(tiny_generator.synthesis.named_parameters())["to_rgb.0.bias"]
    delta = Delta({"to_rgb.0.bias": torch.ones_like(weight).detach().numpy()})
    w = Recipe().latent(tiny_generator)
    save_latent(tmp_path / "a.safetensors", Latent.of(tiny_generator, w, delta=delta))
    tuned = Recipe(Source("latent", path=str(tmp_path / "a.safetensors")))
    made = list(stills([tuned, Recipe()], tiny_generator, 4, "linear"))
    shares = [0.0 if s.delta is None else float(s.delta.tensors["to_rgb.0.bias"][0]) for s in made]
    assert shares == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    same = list(stills([tuned, tuned.replace(noise="none")], tiny_generator, 2))
    assert len({id(still.delta) for still in same}) == 1, "one delta is prepared once"


def test_the_noise_is_that_of_the_nearer_key_frame(tiny_generator):
    ends = [Recipe(noise="none"), Recipe(noise=5)]
    made = [still.noise for still in stills(ends, tiny_generator, 4, "linear")]
    assert made == ["none", "none", 5, 5, 5]


@pytest.mark.parametrize(
    ("recipes", "options", "said"),
    [
        (seeds(1), {}, "at least two"),
        ([Recipe(), Recipe(channel=1)], {}, "same image channel"),
        ([Recipe(), Recipe(edits=(Edit("nowhere", 1.0),))], {}, "nowhere"),
        (seeds(1, 2), {"frames": 0}, "at least one frame"),
        (seeds(1, 2), {"easing": "bounce"}, "bounce"),
        (seeds(1, 2), {"how": "drunken"}, "drunken"),
    ],
)
def test_what_makes_no_path_is_said_before_the_first_frame(tiny_generator, recipes, options, said):
    with pytest.raises(RecipeError, match=said):
        path_of(recipes, tiny_generator, **{"frames": 2, **options})
