"""The program with a family of its own: every verb works, or refuses in one sentence."""

import json

import nibabel as nib
import numpy as np
import pytest
from families import toy

from stylegan3d.dataset.pack import write_pack
from stylegan3d.model.family import LACKS
from stylegan3d.recipe.recipe import Edit, Recipe, Source

LAYERED = Recipe(Source("seed", 1), edits=(Edit("PC 1", 1.0, (0, 4)),)).to_json()


@pytest.fixture
def run(capsys):
    """Run `stylegan3d` with these words; exit status, what was printed, and what was refused."""
    from stylegan3d.cli import main

    def call(*words):
        capsys.readouterr()
        status = 0
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            status = end.code or 0
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


@pytest.fixture(scope="module")
def data(generator, tmp_path_factory):
    """A pack of eight people: random brains inside the egg."""
    inside = toy.egg() > 0.1
    random = np.random.RandomState(0)
    people = [
        np.where(inside, np.clip(toy.egg() * (0.9 + 0.2 * random.rand()) * 255, 20, 255), 0)
        for _ in range(8)
    ]
    rows = [
        {"name": f"sub-{i}", "person": f"sub-{i}", "split": "train" if i < 5 else "validation"}
        for i in range(8)
    ]
    volumes = {
        row["name"]: volume.astype(np.uint8) for row, volume in zip(rows, people, strict=True)
    }
    place = tmp_path_factory.mktemp("data") / "people"
    write_pack(place, rows, lambda row: volumes[row["name"]], generator.space, {})
    return place


def test_brains_are_generated_and_mixed(run, folder, tmp_path):
    recipe = Recipe(Source("seed", 3), edits=(Edit("PC 1", 1.5),))
    out = ("--model", folder, "--out", tmp_path, "--json")
    for words in (
        ("generate", "--recipe", recipe.to_json()),
        ("mix", "--a", 1, "--b", 2, "--strength", 0.3),
    ):
        status, told, error = run(*words, *out)
        assert status == 0, error
        assert json.loads(told)
    volumes = list(tmp_path.glob("*.nii.gz"))
    assert len(volumes) == 2
    assert nib.load(volumes[0]).shape == toy.SPACE.shape


def test_it_is_described(run, folder):
    status, told, error = run("info", folder, "--json")
    assert status == 0, error
    told = json.loads(told)
    assert told["family"] == "toy-linear"
    assert told["cannot"]["layers"] == LACKS["layers"]
    assert "wiring" not in told


def test_directions_are_written(run, folder, tmp_path):
    words = ("--model", folder, "--save", tmp_path / "directions.safetensors", "--json")
    status, _, error = run("directions", *words)
    assert status == 0, error


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("mix", "--a", 1, "--b", 2, "--layers", "0-1"), LACKS["layers"]),
        (("mix", "--a", 1, "--b", 2, "--strength", "0,1"), LACKS["layers"]),
        (("generate", "--recipe", LAYERED), "no per-layer styles"),
        (("project", "SCAN", "--budget", "thorough"), LACKS["tuning"]),
        (("project", "SCAN", "--space", "w+noise"), LACKS["noise_maps"]),
        (("project", "SCAN", "--method", "original"), LACKS["noise_maps"]),
        (("evaluate", "DATA", "--only", "reconstruction", "--budget", "thorough"), LACKS["tuning"]),
        (("train", "flow", "MODEL", "DATA"), "only anatomy models, autoencoders"),
    ],
)
def test_what_it_cannot_do_is_refused_in_one_sentence(run, folder, data, tmp_path, words, reason):
    scan = tmp_path / "scan.nii.gz"
    nib.Nifti1Image((700 * toy.egg()).astype(np.int16), toy.SPACE.affine).to_filename(scan)
    places = {"SCAN": scan, "DATA": data, "MODEL": folder}
    words = [places.get(word, word) for word in words]
    if words[0] != "train":
        words += ["--model", folder]
    status, _, error = run(*words, "--out", tmp_path / "out")
    assert status == 2
    assert reason in error
    assert len(error.strip().splitlines()) == 1
    assert not list(tmp_path.glob("out/*.nii.gz"))


def test_a_scan_is_projected(run, folder, tmp_path):
    scan = tmp_path / "sub-01_T1w.nii.gz"
    nib.Nifti1Image((700 * toy.egg()).astype(np.int16), toy.SPACE.affine).to_filename(scan)
    words = ("--budget", "draft", "--skull", "keep", "--pose", "keep", "--json")
    status, told, error = run("project", scan, "--model", folder, "--out", tmp_path, *words)
    assert status == 0, error
    assert json.loads(told)["similarity"]["psnr"] > 15


def test_it_is_evaluated_and_its_page_written(run, folder, data, tmp_path):
    words = ("--only", "reconstruction,membership", "--samples", 4, "--privacy-samples", 4)
    words += ("--limit-validation", 1, "--budget", "none", "--json", "--out", tmp_path / "out")
    copied = toy.save(tmp_path / "copied")
    status, told, error = run("evaluate", data, "--model", copied, "--card", *words)
    assert status == 0, error
    told = json.loads(told)
    assert told["reconstruction"]["people"]
    assert "discriminator" in json.dumps(told["left_out"])
    page = (copied / "README.md").read_text()
    assert "Linear model." in page
    assert "It was made, not trained." in page
