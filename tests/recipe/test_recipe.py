"""The recipe against the definitions of its parts, and the sentences it refuses with."""

import dataclasses
import hashlib
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_generator

from stylegan3d.base import LatentError, RecipeError
from stylegan3d.model.random_latents import pca_directions
from stylegan3d.recipe.description import read_recipe
from stylegan3d.recipe.latents import Latent, save_directions, save_latent
from stylegan3d.recipe.recipe import Edit, Mix, Recipe, Source, Truncation


@pytest.fixture(scope="module", name="generator")
def shared_generator(tiny_generator):
    return tiny_generator


def w_of_seed(generator, seed):
    z = torch.from_numpy(np.random.RandomState(seed).randn(1, generator.z_dim)).float()
    return generator.map(z)[0]


@pytest.fixture
def latent_file(generator, tmp_path):
    w = w_of_seed(generator, 5) + torch.linspace(-1, 1, generator.num_layers)[:, None]
    path = tmp_path / "sub-01_desc-projected_latent.safetensors"
    sha256 = save_latent(path, Latent.of(generator, w))
    return Source("latent", path=str(path), sha256=sha256), w


def everything(generator, source):
    strength = np.linspace(0, 1, generator.num_layers).tolist()
    return Recipe(
        source=Source("seed", 42),
        truncation=Truncation(0.1 + 0.2, cutoff=2),
        mix=Mix(source, tuple(strength)),
        edits=(Edit("PC 1", -2.5), Edit("PC 3", 1 / 3, (1, 3))),
        noise=7,
    )


def test_a_seed_is_the_fields_seed(generator):
    recipe = Recipe(Source("seed", 3), Truncation(1.0))
    assert torch.equal(recipe.latent(generator), w_of_seed(generator, 3))


def test_truncation_pulls_the_first_layers_to_the_average(generator):
    w = Recipe(Source("seed", 3), Truncation(0.25, cutoff=2)).latent(generator)
    full = w_of_seed(generator, 3)
    average = generator.w_avg
    torch.testing.assert_close(w[:2], average + 0.25 * (full[:2] - average))
    assert torch.equal(w[2:], full[2:])


@pytest.mark.parametrize("kind", ["latent", "projected"])
def test_truncation_leaves_latent_files_alone(generator, latent_file, kind):
    source, w = latent_file
    recipe = Recipe(dataclasses.replace(source, kind=kind), Truncation(0.0))
    assert torch.equal(recipe.latent(generator), w)


def test_mix_is_linear_per_layer_and_exact_at_its_ends(generator, latent_file):
    source, other = latent_file
    strength = [0.0, 1.0, 0.3] + [0.5] * (generator.num_layers - 3)
    recipe = Recipe(Source("seed", 1), Truncation(0.7), Mix(source, tuple(strength)))
    average, full = generator.w_avg, w_of_seed(generator, 1)
    first = average + 0.7 * (full - average)
    mixed = recipe.latent(generator)
    assert torch.equal(mixed[0], first[0])
    assert torch.equal(mixed[1], other[1])
    s = torch.tensor(strength)[:, None]
    torch.testing.assert_close(mixed, (1 - s) * first + s * other)


def test_a_seed_that_is_mixed_in_is_truncated_too(generator):
    ones = (1.0,) * generator.num_layers
    recipe = Recipe(Source("seed", 1), Truncation(0.0), Mix(Source("seed", 2), ones))
    torch.testing.assert_close(
        recipe.latent(generator), generator.w_avg.expand(generator.num_layers, -1)
    )


def test_an_edit_moves_its_layers_by_standard_deviations_after_the_mix(generator):
    recipe = Recipe(Source("seed", 1), mix=Mix(Source("seed", 2), (1.0,) * generator.num_layers))
    before = recipe.latent(generator)
    edited = recipe.replace(edits=(Edit("PC 2", 1.5, (1, 3)),)).latent(generator)
    directions = generator.directions
    step = 1.5 * directions.std[1] * torch.from_numpy(directions.vectors[1].copy())
    torch.testing.assert_close(edited[1:3], before[1:3] + step)
    assert torch.equal(edited[0], before[0])
    assert torch.equal(edited[3:], before[3:])


def test_the_same_recipe_gives_the_same_latent_bit_for_bit(generator, latent_file):
    recipe = everything(generator, latent_file[0])
    state = torch.random.get_rng_state()
    first = recipe.latent(generator)
    assert torch.equal(first, Recipe.from_json(recipe.to_json()).latent(tiny_generator(0)))
    assert torch.equal(state, torch.random.get_rng_state())


def test_json_round_trip_is_exact(generator, latent_file):
    recipe = everything(generator, latent_file[0])
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert Recipe.from_json('{"source": {"seed": 4}}') == Recipe(Source("seed", 4))
    assert hash(recipe) == hash(Recipe.from_json(recipe.to_json()))


def test_the_command_survives_a_shell(generator, latent_file):
    recipe = everything(generator, latent_file[0]).replace(edits=(Edit("it's; $HOME", 1.0),))
    words = shlex.split(recipe.command(model="my model"))
    assert words[:3] == ["stylegan3d", "generate", "--recipe"]
    assert Recipe.from_json(words[3]) == recipe
    assert words[4:] == ["--model", "my model"]


def test_a_recipe_file_takes_paths_from_its_own_folder(
    generator, latent_file, tmp_path, monkeypatch
):
    source, w = latent_file
    recipe = Recipe(source).with_paths(lambda s: s.relative_to(tmp_path))
    assert recipe.source.path == "sub-01_desc-projected_latent.safetensors"
    file = tmp_path / "recipe.json"
    file.write_text(recipe.to_json())
    monkeypatch.chdir("/")
    assert torch.equal(read_recipe(file).latent(generator), w)
    # Latent and recipe moved together, the recipe naming the old place.
    moved = tmp_path / "moved"
    moved.mkdir()
    (tmp_path / recipe.source.path).rename(moved / recipe.source.path)
    (moved / "recipe.json").write_text(Recipe(source).to_json())
    assert torch.equal(read_recipe(moved / "recipe.json").latent(generator), w)


def test_a_file_elsewhere_is_told_by_name_and_sha256(latent_file, tmp_path):
    """Folders may carry patients' names."""
    out = tmp_path / "shared"
    source = dataclasses.replace(latent_file[0], sha256=None)
    told = source.relative_to(out)
    assert told.path == Path(source.path).name
    assert told.sha256 == hashlib.sha256(Path(source.path).read_bytes()).hexdigest()
    assert str(tmp_path) not in Recipe(told, mix=Mix(told, (1.0,))).to_json()


def test_a_file_in_a_folder_beside_the_recipes_is_found_by_its_hash(
    generator, latent_file, tmp_path, monkeypatch
):
    source, w = latent_file
    projected, mixed = tmp_path / "study" / "projected", tmp_path / "study" / "mixed"
    projected.mkdir(parents=True)
    mixed.mkdir()
    latent = Path(source.path).rename(projected / Path(source.path).name)
    source = Source.from_file(latent)
    told = Recipe(source).with_paths(lambda s: s.relative_to(mixed))
    assert told.source.path == latent.name
    (mixed / "recipe.json").write_text(told.to_json())
    monkeypatch.chdir("/")
    assert torch.equal(read_recipe(mixed / "recipe.json").latent(generator), w)
    # Another patient's file of that name is not taken for it.
    latent.write_bytes(b"another's")
    assert read_recipe(mixed / "recipe.json").source.path == latent.name
    # A path that leads out is followed no more than before.
    out = dataclasses.replace(source, path=f"../projected/{latent.name}")
    (mixed / "recipe.json").write_text(Recipe(out).to_json())
    with pytest.raises(RecipeError, match="outside the folder"):
        read_recipe(mixed / "recipe.json")


@pytest.fixture
def directions_file(generator, tmp_path):
    path = tmp_path / "patient" / "mine.safetensors"
    save_directions(path, pca_directions(generator, components=2, samples=50))
    return path


def test_an_edits_file_is_held_to_its_sha256(generator, directions_file):
    sha256 = hashlib.sha256(directions_file.read_bytes()).hexdigest()
    edit = Edit(f"{directions_file}#PC 2", 1.5, (0, 2), sha256)
    recipe = Recipe(Source("seed", 3), edits=(edit,))
    assert Recipe.from_json(recipe.to_json()) == recipe
    old = Recipe(Source("seed", 3), edits=(dataclasses.replace(edit, sha256=None),))
    assert "sha256" not in old.to_json()
    assert Recipe.from_json(old.to_json()) == old
    assert torch.equal(recipe.latent(generator), old.latent(generator))
    found = pca_directions(generator, components=2, samples=60)
    save_directions(directions_file, found, overwrite=True)
    old.latent(generator)
    with pytest.raises(RecipeError, match="has changed since this recipe was made"):
        recipe.latent(generator)
    with pytest.raises(RecipeError, match="has changed since this recipe was made"):
        recipe.check(generator)


def test_an_edits_file_is_found_beside_the_recipe(generator, directions_file, tmp_path):
    recipe = Recipe(Source("seed", 3), edits=(Edit(f"{directions_file}#PC 2", 1.5),))
    expected = recipe.latent(generator)
    told = recipe.with_paths(lambda part: part.relative_to(tmp_path))
    assert told.edits[0].direction == "patient/mine.safetensors#PC 2"
    told = recipe.with_paths(lambda part: part.relative_to(tmp_path / "shared"))
    assert told.edits[0].direction == "mine.safetensors#PC 2"
    assert told.edits[0].sha256 == hashlib.sha256(directions_file.read_bytes()).hexdigest()
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "recipe.json").write_text(told.to_json())
    directions_file.rename(tmp_path / "shared" / directions_file.name)
    read = read_recipe(tmp_path / "shared" / "recipe.json")
    assert torch.equal(read.latent(generator), expected)


def test_a_sidecar_is_a_recipe_file(tmp_path):
    file = tmp_path / "volume.json"
    content = {"Recipe": Recipe(Source("seed", 9)).to_dict(), "SyntheticImage": True}
    file.write_text(json.dumps(content))
    assert read_recipe(str(file)) == Recipe(Source("seed", 9))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Source("sed", 1), "kind must be .* not 'sed'"),
        (lambda: Source("seed"), "seed must be a whole number"),
        (lambda: Source("seed", -1), "seed must be a whole number"),
        (lambda: Source("seed", 2**32), "seed must be a whole number"),
        (lambda: Source("seed", 1.0), "seed must be a whole number"),
        (lambda: Source("seed", True), "seed must be a whole number"),
        (lambda: Source("seed", 1, path="a"), "either a seed or a latent"),
        (lambda: Source("latent"), "path of its latent file"),
        (lambda: Truncation(float("nan")), "psi must be a finite number"),
        (lambda: Truncation("much"), "psi must be a finite number"),
        (lambda: Truncation(1.0, -1), "cutoff must be"),
        (lambda: Mix(Source("seed", 1), (0.5, 1.01)), "between 0 and 1"),
        (lambda: Mix(Source("seed", 1), (float("inf"),)), "finite"),
        (lambda: Mix(Source("seed", 1), 0.5), "strength must be a list"),
        (lambda: Mix(Source("seed", 1), ()), "one per layer"),
        (lambda: Edit("PC 1", float("inf")), "finite"),
        (lambda: Edit("", 1.0), "direction must be text"),
        (lambda: Edit("PC 1", 1.0, sha256="ab"), "goes with a directions file"),
        (lambda: Edit("a.safetensors#PC 1", 1.0, sha256=7), "must be text"),
        (lambda: Edit("PC 1", 1.0, (3, 3)), "first layer and the one after"),
        (lambda: Recipe(noise="loud"), "Noise other than"),
        (lambda: Recipe(noise=True), "Noise other than"),
        (lambda: Recipe().replace(colour=1), "no field 'colour'"),
        (lambda: Recipe.from_json('{"source": {"seed": 1}, "colour": 1}'), "no field 'colour'"),
        (lambda: Recipe.from_json('{"source": {"seed": 1, "sd": 2}}'), "no field 'sd'"),
        (lambda: Recipe.from_json('{"version": 4, "source": {"seed": 1}}'), "version 4"),
        (lambda: Recipe.from_json('{"version": "x", "source": {"seed": 1}}'), "version x"),
        (lambda: Recipe.from_json("{}"), "lacks a source"),
        (lambda: Recipe.from_json("{"), "not valid JSON"),
        (lambda: Recipe.from_json("[1]"), "JSON an object"),
        (lambda: Recipe.from_json('{"source": 4}'), "JSON an object"),
        (lambda: Recipe.from_json('{"source": {"seed": 1}, "edits": 3}'), "must be a list"),
        (lambda: Recipe.from_json('{"source": {"seed": 1}, "mix": {}}'), "lacks source and"),
        (lambda: Recipe.from_json('{"source": {"seed": 1}, "edits": [{}]}'), "lacks direction"),
        (lambda: Recipe.from_json('{"source":{"seed":1},"truncation":{"psi":NaN}}'), "finite"),
        (lambda: read_recipe("/no/such/recipe.json"), "does not exist"),
    ],
)
def test_what_no_generator_can_make_is_refused_in_one_sentence(make, says):
    with pytest.raises(RecipeError, match=says) as caught:
        make()
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mix": Mix(Source("seed", 1), (0.5, 0.5))}, "2 strengths, but tiny-0 has"),
        ({"truncation": Truncation(1.0, 99)}, "cutoff 99"),
        ({"edits": (Edit("PC 1", 1.0, (0, 99)),)}, "reaches to layer 99"),
        ({"edits": (Edit("PC 99", 1.0),)}, "no direction 'PC 99'"),
        ({"edits": (Edit("/no/such.safetensors#age", 1.0),)}, "such.safetensors does not exist"),
    ],
)
def test_what_this_generator_lacks_is_refused(generator, changes, says):
    with pytest.raises(RecipeError, match=says):
        Recipe().replace(**changes).latent(generator)


def test_a_changed_missing_or_foreign_latent_file_is_refused(generator, latent_file):
    source, w = latent_file
    with pytest.raises(LatentError, match=r"belongs to the model tiny-0 .* tiny-1 .* is loaded"):
        Recipe(source).latent(tiny_generator(1))
    save_latent(source.path, Latent.of(generator, w + 1), overwrite=True)
    with pytest.raises(RecipeError, match="has changed since"):
        Recipe(source).latent(generator)
    missing = dataclasses.replace(source, path=source.path + ".gone")
    with pytest.raises(LatentError, match="does not exist"):
        Recipe(missing).latent(generator)


@pytest.fixture(scope="module")
def conditional():
    """A network whose label is three bare numbers and whose image has two channels."""
    return tiny_generator(seed=2, label_dim=3, image_channels=2, wiring="orig", head="image")


SCHEMA = [
    {"name": "age", "kind": "number", "mean": 50.0, "sd": 10.0, "missing": False, "average": [0.0]},
    {
        "name": "sex",
        "kind": "category",
        "values": ["F", "M"],
        "missing": False,
        "average": [0.5, 0.5],
    },
]


@pytest.fixture(scope="module")
def named():
    """A network whose card names its labels: 1 + 1 + 2 numbers."""
    generator = tiny_generator(seed=3, label_dim=4)
    generator.card["labels"] = SCHEMA
    return generator


def labelled_w(generator, seed, vector):
    z = torch.from_numpy(np.random.RandomState(seed).randn(1, generator.z_dim)).float()
    return generator.map(z, torch.tensor([vector]))[0]


def test_a_label_conditions_seeds_also_one_that_is_mixed_in(conditional):
    vector = [0.0, 1.0, 0.5]
    recipe = Recipe(Source("seed", 3), Truncation(1.0), label=vector)
    assert torch.equal(recipe.latent(conditional), labelled_w(conditional, 3, vector))
    ones = (1.0,) * conditional.num_layers
    mixed = recipe.replace(mix=Mix(Source("seed", 4), ones)).latent(conditional)
    assert torch.equal(mixed, labelled_w(conditional, 4, vector))
    assert not torch.equal(recipe.replace(label=None).latent(conditional), mixed)


def test_named_labels_are_encoded_with_the_models_schema(named):
    recipe = Recipe(Source("seed", 3), Truncation(1.0), label={"sex": "F", "age": 70})
    expected = (np.array([1.0, 2.0, 1.0, 0.0]) / np.sqrt(3)).astype(np.float32).tolist()
    torch.testing.assert_close(recipe.latent(named), labelled_w(named, 3, expected))
    assert recipe == Recipe(Source("seed", 3), Truncation(1.0), label={"age": 70, "sex": "F"})


def test_what_no_one_has_shown_the_generator_is_in_doubt(named, conditional, monkeypatch):
    shown = {"range": [19.0, 79.4], "unit": "years"}
    monkeypatch.setitem(named.card, "labels", [SCHEMA[0] | shown, SCHEMA[1]])
    usual = Recipe(truncation=Truncation(1.5), label={"age": 79, "sex": "F"})
    assert usual.doubts(named) == Recipe(label=(1, 0, 0)).doubts(conditional) == []
    for age in (-5, 150):
        (doubt,) = usual.replace(label={"age": age}).doubts(named)
        assert (doubt.kind, doubt.figures) == ("label", {"age": age})
        assert "outside 19 to 79.4 years" in doubt.sentence
    (doubt,) = usual.replace(truncation=Truncation(7)).doubts(named)
    assert (doubt.kind, doubt.figures) == ("truncation", {"truncation": 7})


@pytest.mark.parametrize("label", [{"age": 70.5, "sex": "F", "site": None}, [0.0, 1 / 3]])
def test_label_and_channel_survive_json_and_are_left_out_where_not_set(label):
    recipe = Recipe(label=label, channel=1)
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert hash(recipe) == hash(Recipe.from_json(recipe.to_json()))
    assert "label" not in Recipe().to_json()
    assert "channel" not in Recipe().to_json()


@pytest.mark.parametrize(
    ("which", "changes", "says"),
    [
        ("generator", {"label": [1.0]}, "tiny-0 was trained without labels"),
        ("generator", {"channel": 1}, "channel 1, but the images of tiny-0 have 1: choose 0"),
        ("conditional", {"channel": 2}, "have 2: choose 0 to 1"),
        ("conditional", {"label": [1.0]}, "label of 3 numbers, but the recipe has 1 numbers"),
        ("conditional", {"label": {"age": 3}}, "but the recipe has named values: write for"),
        ("named", {"label": [1.0, 0.0, 0.0, 0.0]}, "give values for some of age, sex"),
        ("named", {"label": {"height": 3}}, "no label 'height'"),
        ("named", {"label": {"sex": "X"}}, "knows only: F, M"),
        ("named", {"label": {"age": "old"}}, "must be a number"),
    ],
)
def test_a_label_or_channel_the_generator_lacks_is_refused(request, which, changes, says):
    with pytest.raises(RecipeError, match=says):
        Recipe(**changes).latent(request.getfixturevalue(which))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"channel": -1}, "channel must be"),
        ({"channel": True}, "channel must be"),
        ({"label": "F"}, "cannot be 'F'"),
        ({"label": []}, "either named values"),
        ({"label": {"age": float("nan")}}, "age must be text or a finite number"),
        ({"label": {3: 1}}, "names in a label"),
        ({"label": [float("inf")]}, "numbers must be finite"),
    ],
)
def test_a_label_or_channel_no_generator_has_is_refused(changes, says):
    with pytest.raises(RecipeError, match=says):
        Recipe(**changes)
