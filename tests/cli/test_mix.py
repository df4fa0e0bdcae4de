"""`mix`: strengths and sources from words, and the file they give."""

import json

import nibabel as nib
import numpy as np
import pytest

from stylegan3d.base import RecipeError
from stylegan3d.cli.common import parse_edits, parse_numbers, parse_strengths
from stylegan3d.model.generator import load
from stylegan3d.recipe.latents import Latent, save_latent
from stylegan3d.recipe.recipe import Edit, Mix, Recipe, Source, Truncation
from stylegan3d.render.renderer import Renderer


def test_layers_of_a_latent_and_a_seed(run, model, tmp_path):
    generator = load(model)
    latent = tmp_path / "sub-01_desc-projected_latent.safetensors"
    w = np.random.RandomState(0).randn(generator.num_layers, generator.w_dim)
    sha256 = save_latent(latent, Latent.of(generator, w))
    out = tmp_path / "out"
    result = run("mix", "--a", latent, "--b", "7", "--layers", "0-1", "--model", model, "-o", out)
    assert (result.status, result.err) == (0, "")
    path = out / "sub-01_desc-mixedWithSeed0007_T1w.nii.gz"
    assert result.out == f"{path}\n"

    strength = (1.0, 1.0) + (0.0,) * (generator.num_layers - 2)
    source = Source("latent", path=str(latent), sha256=sha256)
    recipe = Recipe(source, Truncation(0.7), Mix(Source("seed", 7), strength))
    expected = Renderer(generator).render(recipe.latent(generator), quality="full").volume
    np.testing.assert_array_equal(nib.load(path).get_fdata(dtype=np.float32), expected)
    sidecar = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
    assert sidecar["Sources"] == [latent.name]
    told = recipe.with_paths(lambda part: part.relative_to(out))
    assert Recipe.from_dict(sidecar["Recipe"]) == told
    assert str(tmp_path) not in json.dumps(sidecar)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--a", "1", "--b", "2", "--strength", "1.5"], "between 0 and 1"),
        (["--a", "1", "--b", "2", "--strength", "much"], "is not a mix strength"),
        (["--a", "1", "--b", "2", "--strength", "0.5,0.5"], "2 strengths, but tiny-0"),
        (["--a", "1", "--b", "2", "--layers", "99"], "--layers takes numbers from 0 to"),
        (["--a", "1", "--b", "none.safetensors"], "none.safetensors does not exist"),
        (["--a", "setup.cfg", "--b", "1"], "setup.cfg is damaged or is not a safetensors file"),
    ],
)
def test_bad_input_is_one_sentence_and_no_file(
    run, model, tmp_path, monkeypatch, listing, words, says
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "setup.cfg").write_text("[metadata]\nname = not a latent\n")
    result = run("mix", *words, "--model", model, "--out", tmp_path / "out")
    assert result.status == 2
    assert says in result.err
    assert len(result.err.splitlines()) == 1
    assert listing(tmp_path) == ["setup.cfg"]


def test_another_models_latent_is_refused(run, model, tmp_path, listing):
    latent = tmp_path / "a.safetensors"
    save_latent(latent, Latent(np.ones((2, 3)), "W+", "f00" * 21, "knee-t2"))
    result = run("mix", "--a", latent, "--b", "2", "--model", model, "--out", tmp_path / "out")
    assert result.status == 2
    assert "a.safetensors belongs to the model knee-t2 (f00f00f0), but tiny-0" in result.err
    assert listing(tmp_path) == ["a.safetensors"]


def test_strengths():
    assert parse_strengths(None, None, 3) == (0.5, 0.5, 0.5)
    assert parse_strengths("0.25", None, 3) == (0.25, 0.25, 0.25)
    assert parse_strengths("1, 0.5,0", None, 3) == (1.0, 0.5, 0.0)
    assert parse_strengths(None, "0,2", 3) == (1.0, 0.0, 1.0)
    assert parse_strengths("0.25", "1-2", 3) == (0.0, 0.25, 0.25)
    with pytest.raises(RecipeError, match="single --strength"):
        parse_strengths("1,1,1", "0", 3)


def test_numbers_and_edits():
    assert parse_numbers("0-3, 7,2", "--seeds") == [0, 1, 2, 3, 7]
    assert parse_edits(["PC 1=2.0", "a=b=-1e-1", "f.safetensors#age = 1 @ 0-3"]) == (
        Edit("PC 1", 2.0),
        Edit("a=b", -0.1),
        Edit("f.safetensors#age", 1.0, (0, 4)),
    )
    for bad in ("PC 1", "PC 1=", "=2", "PC 1=2@3", "PC 1=two"):
        with pytest.raises(RecipeError, match="is not an edit"):
            parse_edits([bad])
