"""`directions` and `edit`: the list, a file of them, and edits."""

import hashlib
import json

import nibabel as nib
import numpy as np
import pytest
from phantoms import encoding_generator, write_people

from stylegan3d.model.generator import load
from stylegan3d.recipe.latents import load_directions
from stylegan3d.recipe.recipe import Edit, Recipe, Source, Truncation
from stylegan3d.render.renderer import Renderer


def test_the_list_is_the_generators(run, model):
    found = load(model).directions
    result = run("directions", "--model", model, "--json")
    assert (result.status, result.err) == (0, "")
    rows = result.json["directions"]
    assert [row["name"] for row in rows] == list(found.names)
    np.testing.assert_allclose([r["explained_variance"] for r in rows], found.explained_variance)
    np.testing.assert_allclose([row["std"] for row in rows], found.std)
    lines = run("directions", "--model", model).out.splitlines()
    assert len(lines) == 1 + len(found)
    assert lines[1].split()[:3] == ["PC", "1", f"{found.explained_variance[0]:.2%}"]


def test_directions_found_anew_can_be_kept_and_followed(run, model, tmp_path):
    file = tmp_path / "mine.safetensors"
    words = ["--components", "3", "--samples", "300", "--save", file, "--model", model]
    assert run("directions", *words).status == 0
    generator = load(model)
    assert load_directions(file, generator).names == ("PC 1", "PC 2", "PC 3")
    assert "exists already" in run("directions", *words).err

    edits = ["--edit", f"{file}#PC 2=-1.5@0-1", "--edit", "PC 1=2"]
    result = run("edit", "--seed", "4", *edits, "--out", tmp_path, "--model", model)
    path = tmp_path / "seed-0004_desc-edited_T1w.nii.gz"
    assert (result.status, result.out) == (0, f"{path}\n")
    edited = (Edit(f"{file}#PC 2", -1.5, (0, 2)), Edit("PC 1", 2.0))
    recipe = Recipe(Source("seed", 4), Truncation(0.7), edits=edited)
    expected = Renderer(generator).render(recipe.latent(generator), quality="full").volume
    np.testing.assert_array_equal(nib.load(path).get_fdata(dtype=np.float32), expected)


def test_a_sidecar_tells_the_directions_file_without_its_folder(run, model, tmp_path):
    file = tmp_path / "patient" / "mine.safetensors"
    words = ["--components", "3", "--samples", "300", "--save", file, "--model", model]
    assert run("directions", *words).status == 0
    out = tmp_path / "shared"
    words = ["--seed", "4", "--edit", f"{file}#PC 2=1.5", "--out", out, "--model", model]
    assert run("edit", *words).status == 0
    text = (out / "seed-0004_desc-edited_T1w.json").read_text()
    assert str(tmp_path) not in text
    told = json.loads(text)
    (edit,) = told["Recipe"]["edits"]
    assert edit["direction"] == "mine.safetensors#PC 2"
    assert edit["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert told["Sources"] == ["mine.safetensors"]
    missing = ["--seed", "4", "--edit", f"{tmp_path}/no.safetensors#PC 2=1", "--out", out]
    assert "no.safetensors does not exist" in run("edit", *missing, "--model", model).err


@pytest.mark.usefixtures("few_measured")
def test_attributes_are_fitted_to_a_pack_and_checked(run, tmp_path, monkeypatch):
    generator = encoding_generator()
    monkeypatch.setattr("stylegan3d.cli.common.open_model", lambda *_: generator)
    write_people(tmp_path / "pack", generator.space)
    file = tmp_path / "fitted.safetensors"
    words = ["--fit", tmp_path / "pack", "--samples", "300", "--save", file]
    result = run("directions", *words, "--attributes", "age, head size", "--json")
    assert (result.status, result.err) == (0, "")
    age, size = result.json["checks"]
    assert (age["name"], size["name"]) == ("Age", "Head size")
    assert (age["held_fixed"], age["n_fit"], age["n_check"]) == (["Head size"], 44, 15)
    assert age["mae"] < age["baseline"]
    assert load_directions(file, generator).checks == (age, size)
    text = run("directions", *words, "--adjust-for", "none", "--overwrite").out
    assert "held fixed" not in text
    table = text[text.index("Checked where it was not fitted") :].splitlines()
    assert [line.split()[0] for line in table[2:5]] == ["Age", "Sex", "Head"]
    wrong = run("directions", *words, "--attributes", "shoe size", "--overwrite")
    assert wrong.status == 2
    assert "no column shoe size" in " ".join(wrong.err.split())
    monkeypatch.setattr("stylegan3d.directions.attributes.FEWEST_TO_FIT", 1000)
    few = run("directions", *words, "--overwrite")
    assert "no directions of attributes: age, sex and volumes" in " ".join(few.err.split())


def test_a_direction_between_groups_is_checked_kept_and_followed(run, model, tmp_path):
    file = tmp_path / "mine.safetensors"
    words = ["--between", "1,2,3,4:5,6,7,8", "--name", "My way", "--model", model]
    result = run("directions", *words, "--save", file, "--json")
    assert (result.status, result.err) == (0, "")
    (row,) = result.json["directions"]
    assert row["name"] == "My way"
    assert result.json["checks"][0]["n_check"] == 16
    assert "AUC" in run("directions", *words).out
    free = run("directions", *words, "--adjust-for", "PC 1,PC 2", "--json").json["directions"]
    assert free[0]["name"] == "My way without PC 1 and PC 2"
    edits = ["--seed", "4", "--edit", f"{file}#My way=1"]
    assert run("edit", *edits, "--out", tmp_path, "--model", model).status == 0


def test_a_direction_of_values_is_cross_validated(run, model, tmp_path):
    generator = load(model)
    line = generator.directions.vectors[0]
    rows = ["brain,height,other"]
    for seed in range(30):
        score = Recipe(Source("seed", seed), Truncation(0.7)).latent(generator)[0].numpy() @ line
        rows.append(f"{seed},{score:.5f},1")
    table = tmp_path / "values.csv"
    table.write_text("\n".join(rows))
    words = ["--values", table, "--model", model]
    assert "several columns" in run("directions", *words).err
    told = run("directions", *words, "--column", "height", "--json").json["checks"][0]
    assert (told["folds"], told["n_fit"]) == (10, 30)
    assert told["r"] > 0.8
    assert "all the same" in run("directions", *words, "--column", "other").err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["edit", "--seed", "1", "--edit", "PC 99=1"], "no direction 'PC 99'"),
        (["edit", "--seed", "1", "--edit", "PC 1"], "is not an edit"),
        (["edit", "--seed", "1", "--edit", "PC 1=1@0-99"], "reaches to layer 100"),
        (["edit", "--edit", "PC 1=1"], "--seed or --latent"),
        (["edit", "--seed", "1"], "Give an edit"),
        (["edit", "--latent", "no.safetensors", "--edit", "PC 1=1"], "no.safetensors does not"),
        (["directions", "--components", "5", "--samples", "3"], "cannot be found in 3 samples"),
        (["directions", "--fit", "nowhere"], "is not a prepared dataset"),
        (["directions", "--attributes", "age"], "needs --fit"),
        (["directions", "--adjust-for", "age"], "needs --fit, --between or --values"),
        (
            ["directions", "--values", "x.csv", "--components", "2"],
            "not with --between",
        ),
        (["directions", "--between", "1,2,3"], "two groups"),
        (["directions", "--between", "1,2:3,4,5"], "2 brains"),
        (["directions", "--between", "1,2,3:3,4,5"], "is in both groups"),
        (["directions", "--values", "nowhere.csv"], "does not exist"),
        (["directions", "--values", "x.csv", "--between", "1:2"], "Give one of"),
        (["directions", "--name", "Mine"], "--between or --values"),
        (["directions", "--between", "1:2", "--column", "x"], "needs --values"),
    ],
)
def test_bad_input_is_refused(run, model, tmp_path, listing, words, says):
    more = ["--out", tmp_path / "out"] if words[0] == "edit" else []
    result = run(*words, "--model", model, *more)
    assert result.status == 2
    assert says in result.err
    assert result.err.count("\n") == 1
    assert listing(tmp_path) == []
