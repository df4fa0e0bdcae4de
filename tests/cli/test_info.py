"""`info` recognises what it is given."""

import json

import dicoms
import nibabel as nib
import numpy as np

from stylegan3d.base import Doubt
from stylegan3d.model.generator import load
from stylegan3d.recipe.latents import Delta, Latent, save_latent
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.scans import alignment
from stylegan3d.storage.places import TEMPLATE, bundled_model_path


def test_a_generator(run, model):
    generator = load(model)
    for path in (model, model / "model.safetensors", model / "card.json"):
        told = run("info", path, "--json").json
        assert (told["type"], told["name"], told["sha256"]) == (
            "generator",
            "tiny-0",
            generator.hash,
        )
        assert told["shape"] == list(generator.shape)
        assert told["axes"] == "RAS"
    lines = run("info", model).out
    assert "num layers: " in lines
    assert "name: tiny-0" in lines


def test_a_latent(run, model, tmp_path):
    generator = load(model)
    w = np.zeros((generator.num_layers, generator.w_dim))
    scan = {"path": "sub-01_T1w.nii.gz", "brain_mask": "x" * 5000}
    sha256 = save_latent(tmp_path / "a.safetensors", Latent.of(generator, w, scan=scan))
    told = run("info", tmp_path / "a.safetensors", "--json").json
    assert (told["type"], told["sha256"], told["space"]) == ("latent", sha256, "W+")
    assert told["model"] == {"name": "tiny-0", "sha256": generator.hash}
    assert told["scan"]["path"] == "sub-01_T1w.nii.gz"
    assert told["changes"] is None
    assert "xxx" not in run("info", tmp_path / "a.safetensors").out
    name = "levels.1.plain.noise"
    delta = Delta({name: np.ones(generator.synthesis.state_dict()[name].shape)})
    save_latent(tmp_path / "b.safetensors", Latent.of(generator, w, delta=delta))
    assert run("info", tmp_path / "b.safetensors", "--json").json["changes"] == [name]


def test_directions(run, model, tmp_path):
    file = tmp_path / "d.safetensors"
    run("directions", "--components", "2", "--samples", "50", "--save", file, "--model", model)
    told = run("info", file, "--json").json
    assert (told["type"], told["names"]) == ("directions", ["PC 1", "PC 2"])


def test_a_recipe_and_a_saved_volume(run, model, tmp_path):
    recipe = Recipe(Source("seed", 1))
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    told = run("info", tmp_path / "recipe.json", "--json").json
    assert told["command"] == recipe.command()
    run("generate", "--seeds", "1", "--model", model, "--out", tmp_path)
    saved = tmp_path / "seed-0001_desc-synthetic_T1w.nii.gz"
    found = run("info", saved, "--json").json
    named = found.pop("model")
    assert named["sha256"] == load(model).hash
    assert named["sha256"] in found.pop("command"), "who pastes it elsewhere is told"
    told.pop("command")
    (doubt,) = found.pop("doubts")
    assert (found.pop("origin"), doubt["kind"]) == ("synthetic", "origin")
    assert found == told
    sidecar = saved.with_name(saved.name.replace(".nii.gz", ".json"))
    doubt = {"kind": "sides", "severity": "ask", "sentence": "Left and right may be swapped."}
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"Doubts": [doubt]}))
    kinds = [one["kind"] for one in run("info", saved, "--json").json["doubts"]]
    assert kinds == ["origin", "sides"], "what was in doubt when it was made still is"


def test_what_it_does_not_know_is_refused(run, tmp_path):
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "a.json").write_text('{"a": 1}')
    for name in ("a.txt", "a.json", "none.safetensors", "none.nii.gz", "none"):
        result = run("info", tmp_path / name)
        assert result.status == 2, name
        assert len(result.err.splitlines()) == 1
        assert result.out == ""


def test_a_scan_before_anything_is_done_with_it(run, tmp_path, monkeypatch):
    seen = Doubt("head-size", "ask", "The head is small.")
    monkeypatch.setattr(alignment, "header_doubts", lambda scan, target: [seen])
    data = np.random.RandomState(0).randint(0, 900, (26, 24, 20)).astype(np.int16)
    affine = np.diag([7.0, 8, 9, 1])
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "head_T1w.nii.gz")
    told = run("info", tmp_path / "head_T1w.nii.gz", "--json").json
    assert (told["type"], told["shape"], told["axes"]) == ("scan", [26, 24, 20], "RAS")
    assert told["contrast"] == "T1-weighted"
    assert [doubt["kind"] for doubt in told["doubts"]] == ["head-size"]
    (tmp_path / "head_T1w.json").write_bytes('{"InstitutionName": "Universität"}'.encode("latin-1"))
    told = run("info", tmp_path / "head_T1w.nii.gz", "--json").json
    assert [doubt["kind"] for doubt in told["doubts"]] == ["sidecar", "head-size"]
    series = np.stack([data, data], axis=-1)
    nib.save(nib.Nifti1Image(series, affine), tmp_path / "series.nii.gz")
    told = run("info", tmp_path / "series.nii.gz", "--json").json
    assert told["volumes"] == 2
    assert [doubt["kind"] for doubt in told["doubts"]] == ["head-size"], "of all its volumes"
    folder = dicoms.write_series(tmp_path / "dicom", data, affine)
    assert run("info", folder, "--json").json["shape"] == [26, 24, 20]
    dicoms.write_series(folder, data, affine, uid="1.2.3.4", number=9, start=100)
    listed = run("info", folder, "--json").json["series"]
    assert [words.split(":")[0] for words in listed] == ["3", "9"]


def test_a_header_that_contradicts_the_image_is_in_doubt(run, tmp_path):
    brain = nib.load(bundled_model_path() / TEMPLATE)
    larger = brain.affine @ np.diag([1.4, 1.4, 1.4, 1])
    nib.save(nib.Nifti1Image(brain.get_fdata(dtype=np.float32), larger), tmp_path / "head.nii")
    told = run("info", tmp_path / "head.nii", "--json").json
    assert "head-size" in {doubt["kind"] for doubt in told["doubts"]}


def test_a_label_map_is_called_one(run, tmp_path):
    labels = np.zeros((26, 24, 20), np.uint8)
    labels[5:20, 5:20, 5:15] = 3
    nib.save(nib.Nifti1Image(labels, np.diag([7.0, 8, 9, 1])), tmp_path / "head_T1w.nii.gz")
    told = run("info", tmp_path / "head_T1w.nii.gz", "--json")
    assert told.json["type"] == "labels"
    assert "this seems to be a mask, not a scan" in told.err


def test_a_series_is_chosen_on_the_command_line(run, tmp_path):
    data = np.random.RandomState(0).randint(0, 900, (26, 24, 20)).astype(np.int16)
    folder = dicoms.write_series(tmp_path, data, np.diag([7.0, 8, 9, 1]))
    dicoms.write_series(folder, data, np.diag([7.0, 8, 9, 1]), uid="1.2.3.4", number=9, start=100)
    result = run("project", folder, "--out", tmp_path / "out")
    assert result.status == 2
    assert "choose one with --series N" in result.err
    result = run("project", folder, "--series", "12", "--out", tmp_path / "out")
    assert result.status == 2
    assert "has no series '12'" in result.err
