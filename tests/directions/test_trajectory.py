"""Ageing in years: what it does to a recipe, and what is expected at an age."""

import dataclasses

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from stylegan3d.base import RecipeError
from stylegan3d.cli import app
from stylegan3d.directions.people import TISSUE, People, Trajectory, ageing
from stylegan3d.model.generator import load
from stylegan3d.recipe.description import read_recipe
from stylegan3d.recipe.latents import load_directions, save_directions
from stylegan3d.recipe.recipe import Recipe, Source

N = 400


@pytest.fixture(scope="module", name="generator")
def bundled():
    return load(device="cpu")


@pytest.fixture(scope="module", name="people")
def people_who_age():
    """Ventricles by a factor of 1.02 a year with a spread of 20 %, tissue 0.2 % a year less."""
    random = np.random.RandomState(0)
    age = random.uniform(20, 80, N)
    w = np.stack([age / 10 + 0.01 * random.randn(N), random.randn(N)], axis=1)
    head = 1400 + 100 * random.randn(N)
    tissue = head * (0.92 - 0.002 * (age - 20) + 0.01 * random.randn(N))
    values = {
        "age": age,
        "ventricle_ml": np.exp(np.log(12) + 0.02 * (age - 20) + 0.2 * random.randn(N)),
        "brain_ml": head,
        "grey_ml": 0.55 * tissue,
        "white_ml": 0.45 * tissue,
    }
    return People(w, np.arange(N) % 5 == 0, values)


def test_what_is_expected_is_what_people_have(people):
    told = ageing(people)
    assert told["ages"] == pytest.approx([20, 80], abs=1)  # years: the outermost of 400 people
    ventricles = {row[0]: row[1:] for row in told["expected"]["ventricle_ml"]}
    low, middle, high = ventricles[60.0]
    # A fit to 400 people, of a spread of 20 %.
    assert middle == pytest.approx(12 * np.exp(0.8), rel=0.05)
    assert high / middle == pytest.approx(np.exp(1.645 * 0.2), rel=0.06)  # the spread of 400 people
    assert middle / low == pytest.approx(high / middle, rel=0.02)  # two percentiles of 400 people
    tissue = {row[0]: row[2] for row in told["expected"][TISSUE]}
    assert tissue[40.0] == pytest.approx(88, abs=0.4)  # percent; a fit to 400 people
    inside = np.mean(
        [
            np.interp(a, list(ventricles), [v[0] for v in ventricles.values()])
            < ml
            < np.interp(a, list(ventricles), [v[2] for v in ventricles.values()])
            for a, ml in zip(
                people.attributes["age"], people.attributes["ventricle_ml"], strict=True
            )
        ]
    )
    # A share of 400 people: 0.015 is its standard error.
    assert inside == pytest.approx(0.9, abs=0.04)


def test_years_are_a_strength_along_age(generator):
    trajectory = Trajectory.needed(generator)
    edit = trajectory.edit(20.0)
    check = next(c for c in generator.directions.checks if c["name"] == "Age")
    assert (edit.direction, edit.strength) == ("Age", pytest.approx(20 / check["per_unit"]))
    assert trajectory.years(edit.strength) == pytest.approx(20)
    with pytest.raises(RecipeError, match="cannot be aged by 70 years"):
        trajectory.edit(70.0)


def test_an_aged_brain_looks_older_to_the_model(generator):
    trajectory = Trajectory.needed(generator)
    recipe = Recipe(Source("seed", 4))
    older = recipe.replace(edits=(trajectory.edit(20.0),))
    before, after = (trajectory.apparent_age(r.latent(generator)) for r in (recipe, older))
    assert 15 < before < 90
    # The edit is longer or shorter than the reading, so that ventricles grow as in people.
    (age,) = (told for told in generator.directions.checks if told["name"] == "Age")
    assert after - before == pytest.approx(20 * age["lengthened"], rel=0.01)  # w in float32
    assert 0.9 < age["lengthened"] < 1.25


def test_ages_beyond_the_data_are_said_to_be_extrapolated(generator):
    trajectory = Trajectory.needed(generator)
    assert trajectory.is_known(60)
    assert not trajectory.is_known(95)
    (told,) = trajectory.notes(60, 95)  # volumes of the oldest would be too low
    assert (told.kind, told.figures["age"]) == ("age-extrapolated", 95)
    back = trajectory.notes(95, 70)
    assert len(back) == 2
    assert all("in 9 of 10 people." in line for line in back)
    low, middle, high = trajectory.expected(TISSUE, 70)
    assert middle - low == pytest.approx(high - middle, abs=0.2)  # to one digit each
    assert high - low > 6, "sites differ in tissue more than the people of one"
    assert "; at 60 years" in trajectory.notes(60, 70)[0]
    assert trajectory.expected("ventricle_ml", 70)[1] > trajectory.expected("ventricle_ml", 30)[1]


def test_a_model_without_ages_says_so(tiny_generator):
    assert Trajectory.of(tiny_generator.directions) is None
    with pytest.raises(RecipeError, match="does not know how brains age"):
        Trajectory.needed(tiny_generator)


def test_files_keep_the_reading(generator, tmp_path):
    path = tmp_path / "all.safetensors"
    save_directions(path, generator.directions)
    again = load_directions(path, generator)
    np.testing.assert_array_equal(again.age_reading, generator.directions.age_reading)
    short = generator.directions.age_reading[:-1]
    with pytest.raises(RecipeError, match="do not fit"):
        dataclasses.replace(generator.directions, age_reading=short)


def test_the_command_ages_a_brain(generator, tmp_path, caplog):
    words = ["edit", "--seed", "4", "--age", "60", "--out", str(tmp_path)]
    found = CliRunner().invoke(app, [*words, "--age-by", "30"])
    assert found.exit_code == 0, found.output
    assert "90 years is extrapolated" in caplog.text
    (edit,) = read_recipe(next(tmp_path.glob("*T1w.json"))).edits
    assert edit == Trajectory.needed(generator).edit(30)
    for wrong, says in (
        (["--age-by", "5", "--to-age", "70"], "either --age-by or --to-age"),
        ([], "--age needs"),
        (["--age-by", "5", "--edit", "Age=1"], "either in years or along Age"),
    ):
        refused = CliRunner().invoke(app, [*words, *wrong])
        assert refused.exit_code != 0
        assert says in f"{refused.stderr} {refused.exception}"


def test_the_age_is_read_from_all_layers(generator):
    trajectory = Trajectory.needed(generator)
    w = torch.randn(
        generator.num_layers, generator.w_dim, generator=torch.Generator().manual_seed(0)
    )
    single = [trajectory.apparent_age(row.expand_as(w)) for row in w]
    # Years, of a mean of float32 latents.
    assert trajectory.apparent_age(w) == pytest.approx(np.mean(single), abs=1e-3)
