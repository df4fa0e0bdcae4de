"""`generate`: files, names, repetition, refusals."""

import csv
import json
import shlex

import nibabel as nib
import numpy as np
import pytest
from tiny import tiny_generator

from stylegan3d.geometry.space import to_display
from stylegan3d.model.generator import load
from stylegan3d.recipe.latents import Latent, save_latent
from stylegan3d.recipe.recipe import Edit, Recipe, Source, Truncation
from stylegan3d.render.renderer import Renderer

NAMES = [f"seed-{n:04d}_desc-synthetic_T1w" for n in (0, 1, 7)]


def test_seeds_become_volumes_with_sidecars(run, model, tmp_path, listing):
    out = tmp_path / "new" / "brains"
    words = ["--seeds", "0-1,7", "--truncation", "0.5", "--model", model, "--out", out]
    result = run("generate", *words)
    assert (result.status, result.err) == (0, "")
    files = [f"{name}.{end}" for name in NAMES for end in ("json", "nii.gz")]
    assert listing(out) == sorted([*files, ".bidsignore", "dataset_description.json"])
    assert result.out.splitlines() == [str(out / f"{name}.nii.gz") for name in NAMES]

    generator = load(model)
    recipe = Recipe(Source("seed", 7), Truncation(0.5))
    expected = Renderer(generator).render(recipe.latent(generator), quality="full")
    image = nib.load(out / f"{NAMES[2]}.nii.gz")
    np.testing.assert_array_equal(image.get_fdata(dtype=np.float32), expected.volume)
    np.testing.assert_allclose(image.affine, generator.affine)

    sidecar = json.loads((out / f"{NAMES[2]}.json").read_text())
    assert sidecar["SyntheticImage"] is True
    assert Recipe.from_dict(sidecar["Recipe"]) == recipe
    assert sidecar["Model"] == {"Name": "tiny-0", "SHA256": generator.hash}
    assert sidecar["GeneratedBy"][0]["Name"] == "napari-stylegan3d"
    described = json.loads((out / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative"


def test_tissue_volumes_stand_in_the_sidecar_and_in_one_table(run, model, tmp_path):
    table = tmp_path / "volumes.csv"
    words = ["--seeds", "0-1", "--model", model, "--out", tmp_path, "--table", table]
    result = run("generate", *words, "--json")
    assert result.status == 0, result.err
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["name"] for row in rows] == [f"{name}.nii.gz" for name in NAMES[:2]]
    for row, told, name in zip(rows, result.json["volumes"], NAMES[:2], strict=True):
        sidecar = json.loads((tmp_path / f"{name}.json").read_text())
        assert told["tissues"] == sidecar["TissueVolumes"]
        for key in ("grey_ml", "white_ml", "ventricle_ml"):
            assert float(row[key]) == sidecar["TissueVolumes"][key] > 0
        assert row["measured"].startswith("by intensity alone")
    assert "exists already" in run("generate", *words).err
    refused = run("generate", *words[:4], "--table", tmp_path / "volumes.txt")
    assert refused.status == 2
    assert "must end in .csv" in refused.err


def test_a_recipe_repeats_a_file_byte_for_byte(run, model, tmp_path):
    run("generate", "--seeds", "3", "--model", model, "--out", tmp_path / "a", "--noise", "5")
    name = "seed-0003_desc-synthetic_T1w"
    sidecar = tmp_path / "a" / f"{name}.json"
    recipe = json.dumps(json.loads(sidecar.read_text())["Recipe"])
    for number, given in enumerate((sidecar, recipe)):
        out = tmp_path / f"b{number}"
        assert run("generate", "--recipe", given, "--model", model, "--out", out).status == 0
        for end in (".nii.gz", ".json"):
            first, second = tmp_path / "a" / (name + end), out / (name + end)
            assert first.read_bytes() == second.read_bytes()
    other = tmp_path / "c"
    run("generate", "--seeds", "3", "--model", model, "--out", other, "--noise", "6")
    volumes = [folder / f"{name}.nii.gz" for folder in (tmp_path / "a", other)]
    assert volumes[0].read_bytes() != volumes[1].read_bytes()


def test_the_command_a_recipe_gives_runs(run, model, tmp_path):
    generator = load(model)
    path = tmp_path / "it's mine.safetensors"
    w = generator.w_avg.repeat(generator.num_layers, 1)
    sha256 = save_latent(path, Latent.of(generator, w))
    recipe = Recipe(Source("latent", path=str(path), sha256=sha256), edits=(Edit("PC 1", 1.0),))
    words = shlex.split(recipe.command(str(model)))[1:]
    result = run(*words, "--out", tmp_path, "--json")
    assert result.status == 0
    (volume,) = result.json["volumes"]
    assert Recipe.from_dict(volume["recipe"]) == recipe
    assert nib.load(volume["path"]).shape == generator.shape
    assert volume["path"] == str(tmp_path / "it's mine_desc-edited_T1w.nii.gz")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--seeds", "0-x"], "'0-x' in --seeds is not a number or range"),
        (["--seeds", "3-1"], "not a number or range"),
        (["--seeds", ""], "not a number or range"),
        (["--seeds", "0-999999999"], "ask for fewer"),
        (["--seeds", "4294967296"], "seed must be a whole number"),
        (["--seeds", "0", "--truncation", "nan"], "psi must be a finite number"),
        (["--seeds", "0", "--truncation-layers", "99"], "cutoff 99"),
        (["--seeds", "0", "--noise", "loud"], "'loud' is not a noise setting"),
        (["--seeds", "0", "--native"], "Only a projected scan has a native space"),
        (["--recipe", "{"], "not valid JSON"),
        (["--recipe", "none.json"], "none.json does not exist"),
        (
            [
                "--recipe",
                '{"source": {"seed": 1}, "edits": [{"direction": "PC 99", "strength": 1}]}',
            ],
            "no direction 'PC 99'",
        ),
        (
            ["--recipe", '{"source": {"kind": "latent", "path": "gone.safetensors"}}'],
            "gone.safetensors does not exist",
        ),
    ],
)
def test_bad_input_is_one_sentence_status_2_and_no_file(run, model, tmp_path, listing, words, says):
    result = run("generate", *words, "--model", model, "--out", tmp_path / "out")
    assert result.status == 2
    assert says in result.err
    assert result.err.startswith("stylegan3d: ")
    assert len(result.err.splitlines()) == 1
    assert result.out == ""
    assert listing(tmp_path) == []


@pytest.mark.parametrize(
    "words",
    [[], ["--seeds", "1", "--recipe", "{}"], ["--recipe", "{}", "--truncation", "1"], ["--sed"]],
)
def test_wrong_options_are_usage_errors(run, tmp_path, listing, words):
    result = run("generate", *words, "--out", tmp_path)
    assert result.status == 2
    assert "Traceback" not in result.err
    assert listing(tmp_path) == []


def test_nothing_is_replaced_or_half_written(run, model, tmp_path, listing):
    (tmp_path / f"{NAMES[1]}.json").write_text("precious")
    words = ["generate", "--seeds", "0-1", "--model", model, "--out", tmp_path]
    result = run(*words)
    assert result.status == 2
    assert "exists already" in result.err
    assert listing(tmp_path) == [f"{NAMES[1]}.json"]
    assert run(*words, "--overwrite").status == 0
    assert json.loads((tmp_path / f"{NAMES[1]}.json").read_text())["SyntheticImage"]


def test_an_output_that_is_a_file_is_refused(run, model, tmp_path, listing):
    (tmp_path / "out").write_text("a file")
    result = run("generate", "--seeds", "0", "--model", model, "--out", tmp_path / "out")
    assert result.status == 2
    assert "out is a file, not a folder" in result.err


def test_a_missing_model_is_refused(run, tmp_path, listing):
    result = run("generate", "--seeds", "0", "--model", tmp_path / "none", "--out", tmp_path)
    assert result.status == 2
    assert len(result.err.splitlines()) == 1
    assert listing(tmp_path) == []


@pytest.fixture(scope="module")
def conditional(write, tmp_path_factory):
    """Folder of a network with three bare label numbers and two image channels."""
    generator = tiny_generator(seed=2, label_dim=3, image_channels=2, wiring="orig", head="image")
    folder = tmp_path_factory.mktemp("models") / "conditional"
    write(folder, generator)
    return folder


def test_a_label_and_a_channel_reach_the_volume(run, conditional, tmp_path):
    words = ["--seeds", "3", "--model", conditional, "--out", tmp_path]
    assert run("generate", *words, "--label", "0,1,0", "--channel", "1").status == 0
    generator = load(conditional)
    recipe = Recipe(Source("seed", 3), Truncation(0.7), label=[0, 1, 0], channel=1)
    expected = to_display(generator.synthesize(recipe.latent(generator)[None]), channel=1)[0]
    file = tmp_path / "seed-0003_desc-syntheticLabelClass1Channel1_T1w.nii.gz"
    np.testing.assert_array_equal(nib.load(file).get_fdata(dtype=np.float32), expected)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--label", "0,1"], "takes a label of 3 numbers"),
        (["--label", "age=70"], "takes a label of 3 numbers"),
        (["--label", "age=70,old"], "is not a label"),
        (["--label", "x"], "is not a label"),
        (["--channel", "2"], "choose 0 to 1"),
    ],
)
def test_a_label_or_channel_that_does_not_fit_is_one_sentence(
    run, conditional, tmp_path, words, says
):
    result = run("generate", "--seeds", "3", "--model", conditional, "--out", tmp_path, *words)
    assert result.status == 2
    assert says in result.err
    assert result.err.count("\n") == 1
