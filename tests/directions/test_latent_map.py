"""The latent map: places in sd, travelling by edits, lines of equal density."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tiny import tiny_generator as make_tiny
from tolerances import SUMS

from stylegan3d.base import RecipeError
from stylegan3d.directions.latent_map import Survey, axis_names, contours, spread
from stylegan3d.recipe.recipe import Edit, Mix, Recipe, Source, Truncation


@pytest.fixture(scope="module")
def generator():
    return make_tiny(seed=0)


@pytest.fixture(scope="module")
def survey(generator):
    return Survey.of(generator, samples=500)


def test_the_average_brain_lies_in_the_middle(generator, survey):
    w = Recipe(truncation=Truncation(0.0)).latent(generator)
    assert np.abs(survey.locate(w)).max() < 1e-4


def test_random_brains_scatter_by_about_one_sd(survey):
    assert survey.points.shape == (500, len(survey.names))
    assert 0.8 < survey.points.std(axis=0)[:2].min() <= survey.points.std(axis=0)[:2].max() < 1.2


def test_an_edit_moves_the_brain_by_its_strength_along_one_axis(generator, survey):
    plain = Recipe(Source("seed", 3))
    moved = plain.replace(edits=(Edit("PC 2", 1.5),))
    by = survey.locate(moved.latent(generator)) - survey.locate(plain.latent(generator))
    expected = np.zeros(len(survey.names))
    expected[survey.names.index("PC 2")] = 1.5
    assert by == pytest.approx(expected, abs=SUMS)


def test_truncation_draws_places_towards_the_middle(generator, survey):
    full, half = (
        survey.locate(Recipe(Source("seed", 3), Truncation(psi)).latent(generator))
        for psi in (1.0, 0.5)
    )
    assert half == pytest.approx(0.5 * full, abs=SUMS)


@pytest.mark.parametrize("truncation", [Truncation(0.4), Truncation(0.5, 2), Truncation(1.3, 1)])
def test_places_spread_as_far_as_truncation_lets_them(generator, survey, truncation):
    full, less = (
        survey.locate(Recipe(Source("seed", 3), t).latent(generator))
        for t in (Truncation(1.0), truncation)
    )
    assert less == pytest.approx(spread(truncation, generator.num_layers) * full, abs=SUMS)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(Source("seed", 5)),
        Recipe(Source("seed", 5), edits=(Edit("PC 1", 2.0), Edit("PC 4", -1.0))),
        Recipe(Source("seed", 5), edits=(Edit("PC 3", 1.0, (1, 3)), Edit("PC 1", 1.0, (0, 2)))),
        Recipe(Source("seed", 5), mix=Mix(Source("seed", 8), (0.0, 0.3, 1.0, 1.0))),
    ],
    ids=["plain", "edited", "edited in some layers", "mixed"],
)
def test_travelling_ends_where_it_was_meant_to(generator, survey, recipe):
    layers = generator.num_layers
    if recipe.mix is not None:
        strength = (0.0, 0.3, 1.0, 1.0) + (1.0,) * (layers - 4)
        recipe = recipe.replace(mix=Mix(recipe.mix.source, strength[:layers]))
    plane = survey.plane("PC 1", "PC 3")
    axes = list(plane.axes)
    start = plane.start(recipe, survey.locate(recipe.latent(generator))[axes], layers)
    there = plane.travel(recipe, start, np.array([-1.25, 2.5]))
    # The strengths of a recipe have two decimals.
    assert survey.locate(there.latent(generator))[axes] == pytest.approx([-1.25, 2.5], abs=0.01)
    others = [edit for edit in recipe.edits if edit.direction not in plane.names]
    assert [edit for edit in there.edits if edit.direction not in plane.names] == others
    assert len(there.edits) == len(others) + 2
    # Back at the start nothing is left of the edits.
    assert plane.travel(there, start, start).edits == tuple(others)


def test_axes_that_are_not_at_right_angles_are_travelled_exactly(generator):
    own = generator.directions
    leaning = own.vectors[0] + 0.5 * own.vectors[1]
    vectors = np.stack([own.vectors[0], leaning / np.linalg.norm(leaning)])
    tilted = dataclasses.replace(
        own, vectors=vectors, std=own.std[:2], explained_variance=[0.2, 0.1], names=("A", "B")
    )
    other = make_tiny(seed=0)
    vars(other)["directions"] = tilted
    survey = Survey.of(other, samples=50)
    plane, recipe = survey.plane("A", "B"), Recipe(Source("seed", 2))
    start = plane.start(recipe, survey.locate(recipe.latent(other)), other.num_layers)
    there = plane.travel(recipe, start, np.array([1.0, -1.0]))
    # The strengths of a recipe have two decimals.
    assert survey.locate(there.latent(other)) == pytest.approx([1.0, -1.0], abs=0.02)


def test_components_are_axes_before_attributes(generator):
    assert axis_names(generator) == generator.directions.names
    fitted = make_tiny(seed=0)
    own = generator.directions
    vars(fitted)["directions"] = dataclasses.replace(
        own, names=("Age", *own.names[1:]), checks=({"name": "Age"},)
    )
    assert axis_names(fitted) == own.names[1:]


def test_shares_grow_from_none_to_all(survey):
    plane = survey.plane("PC 1", "PC 2")
    assert plane.share_within(np.zeros(2)) == 0
    assert plane.share_within(np.array([10.0, 0.0])) == 1
    middle = plane.share_within(np.array([0.0, -1.18]))  # sqrt(2 ln 2) of a normal distribution
    assert 0.4 < middle < 0.6


def test_a_map_needs_two_axes(survey):
    with pytest.raises(RecipeError, match="two different axes"):
        survey.plane("PC 1", "PC 1")
    with pytest.raises(RecipeError, match="two different axes"):
        survey.plane("PC 1", "nonsense")


def test_lines_enclose_the_share_they_are_drawn_for():
    points = np.random.RandomState(0).randn(20_000, 2)
    half, most = contours(points, (0.5, 0.95))
    # Of a normal distribution, smoothed by 0.3: radius sqrt(-2 ln(1 - share) (1 + 0.3^2)).
    for lines, share in ((half, 0.5), (most, 0.95)):
        outer = max(lines, key=len)
        radius = np.hypot(*outer.T)
        expected = np.sqrt(-2 * np.log(1 - share) * 1.09)
        # Lines through the cells of a histogram of random points.
        assert radius.mean() == pytest.approx(expected, rel=0.05)
        # Lines through the cells of a histogram of random points.
        assert outer.mean(axis=0) == pytest.approx([0, 0], abs=0.15)


def test_lines_lie_where_the_points_are():
    points = np.random.RandomState(0).randn(5000, 2) * 0.3 + [2.0, -1.0]
    (lines,) = contours(points, (0.8,))
    # Lines through the cells of a histogram of random points.
    assert max(lines, key=len).mean(axis=0) == pytest.approx([2.0, -1.0], abs=0.1)
