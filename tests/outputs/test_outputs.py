"""Names and sidecars of saved volumes."""

import json
import re

import numpy as np
import pytest

from stylegan3d.base import OutputError
from stylegan3d.model.generator import load
from stylegan3d.outputs.projections import file_names, restored_names
from stylegan3d.outputs.report import report_name
from stylegan3d.outputs.results import (
    name_beside,
    save_rendered,
    volume_name,
    write_dataset_description,
)
from stylegan3d.projection.forward import Mask
from stylegan3d.projection.operators import parse
from stylegan3d.recipe.recipe import Detail, Edit, Mix, Recipe, Source
from stylegan3d.render.renderer import Renderer
from stylegan3d.storage.bids import file_of, source_uri
from stylegan3d.storage.formats import DESC, Name, scan_stem, scan_suffix

SEED = Source("seed", 42)
FILE = Source("latent", path="/data/sub-01_desc-projected_latent.safetensors")
SCAN = Source("projected", path="/data/sub-01_ses-2_desc-projected_latent.safetensors")


@pytest.mark.parametrize(
    ("recipe", "native", "name"),
    [
        (Recipe(SEED), False, "seed-0042_desc-synthetic"),
        (Recipe(SEED, edits=(Edit("PC 1", 1.0),)), False, "seed-0042_desc-edited"),
        (Recipe(SEED, mix=Mix(FILE, (1.0,))), False, "seed-0042_desc-mixedWithSub01"),
        (Recipe(FILE), False, "sub-01_desc-synthetic"),
        (Recipe(SEED, channel=2), False, "seed-0042_desc-syntheticChannel2"),
        (Recipe(SEED, label=[0, 1, 0]), False, "seed-0042_desc-syntheticLabelClass1"),
        (Recipe(SEED, label=[-0.5, 2]), False, "seed-0042_desc-syntheticLabelMinus0p5and2"),
        (
            Recipe(SEED, label={"sex": "F", "age": 70.5}),
            False,
            "seed-0042_desc-syntheticLabelAge70p5sexF",
        ),
        (Recipe(FILE, label=[0, 1, 0]), False, "sub-01_desc-synthetic"),
        (Recipe(SCAN), False, "sub-01_ses-2_space-model_desc-projected"),
        (Recipe(SCAN), True, "sub-01_ses-2_desc-projected"),
        (Recipe(SCAN, mix=Mix(SEED, (1.0,))), True, "sub-01_ses-2_desc-mixedWithSeed0042"),
        (
            Recipe(SCAN, mix=Mix(SEED, (1.0,)), edits=(Edit("PC 1", 1.0),)),
            True,
            "sub-01_ses-2_desc-editedWithSeed0042",
        ),
    ],
)
def test_names_say_what_a_volume_is(recipe, native, name):
    assert volume_name(recipe, native=native) == f"{name}_T1w.nii.gz"


@pytest.mark.parametrize(
    ("suffix", "told"), [("T1w", ""), ("FLAIR", "_FLAIR"), ("T2w", "_T2w"), ("PDw", "_PDw")]
)
def test_reports_and_latents_of_an_edited_scan_name_its_contrast(suffix, told):
    edited = Recipe(SCAN, edits=(Edit("PC 1", 1.0),), detail=Detail(SCAN))
    scan = f"sub-01_ses-2_{suffix}.nii.gz"
    stem = f"sub-01_ses-2_space-model_desc-editedScan{told}"
    assert report_name(edited, scan=scan) == f"{stem}_report.pdf"
    assert name_beside(edited, "latent.safetensors", scan=scan) == f"{stem}_latent.safetensors"
    made = Recipe(SCAN, edits=(Edit("PC 1", 1.0),))
    assert report_name(made, scan=scan) == "sub-01_ses-2_space-model_desc-edited_report.pdf"
    # What is made from that latent file is called as what is made from any other.
    again = Recipe(Source("projected", path=f"/data/{stem}_latent.safetensors"))
    assert volume_name(again) == volume_name(Recipe(SCAN))


@pytest.mark.parametrize("suffix", ["T1w", "FLAIR"])
@pytest.mark.parametrize("operator", [parse("blur:3mm"), Mask(np.eye(3)[None])])
def test_what_is_restored_has_the_suffix_of_its_scan(suffix, operator, tmp_path):
    names = restored_names(f"sub-01_{suffix}.nii.gz", tmp_path, operator)
    assert len(names) == 2
    assert all(path.name.endswith(f"_{suffix}.nii.gz") for path in names.values())
    model = f"sub-01_space-model_desc-restored_{suffix}.nii.gz"
    assert names["restored_model_space"] == tmp_path / model


@pytest.mark.parametrize(
    ("path", "stem", "suffix"),
    [
        ("a/sub-01_T1w.nii.gz", "sub-01", "T1w"),
        ("sub-01_acq-x_FLAIR.nii", "sub-01_acq-x", "FLAIR"),
        ("my brain.nii.gz", "my brain", "T1w"),
        ("carolina-T2w.nii.gz", "carolina-T2w", "T1w"),
        ("orig.mgz", "orig", "T1w"),
        ("SUB-01_T1w.NII.GZ", "SUB-01", "T1w"),
        ("brain.MGH", "brain", "T1w"),
        ("study.v2_FLAIR.nii.gz", "study.v2", "FLAIR"),
    ],
)
def test_names_of_scans(path, stem, suffix):
    assert (scan_stem(path), scan_suffix(path)) == (stem, suffix)


def test_a_link_is_called_by_its_own_name(tmp_path):
    """git-annex and DataLad keep the content under its hash."""
    (tmp_path / "MD5E-s12--d41d8cd9.nii.gz").touch()
    link = tmp_path / "sub-01_T2w.nii.gz"
    link.symlink_to("MD5E-s12--d41d8cd9.nii.gz")
    assert (scan_stem(link), scan_suffix(link)) == ("sub-01", "T2w")


def test_a_preview_is_never_saved(tiny_generator, tmp_path):
    recipe = Recipe(SEED)
    preview = Renderer(tiny_generator).render(recipe.latent(tiny_generator), quality="preview")
    with pytest.raises(OutputError, match="not a preview"):
        save_rendered(tmp_path / "a.nii.gz", preview, recipe, tiny_generator)
    assert list(tmp_path.iterdir()) == []


def test_a_volume_is_saved_with_no_other_recipe(tiny_generator, tmp_path):
    recipe, other = Recipe(SEED), Recipe(Source("seed", 99))
    rendered = Renderer(tiny_generator).render(recipe.latent(tiny_generator))
    with pytest.raises(OutputError, match="not of this recipe and model"):
        save_rendered(tmp_path / "a.nii.gz", rendered, other, tiny_generator)
    with pytest.raises(OutputError, match="not of this recipe and model"):
        save_rendered(tmp_path / "a.nii.gz", rendered, recipe, load(device="cpu"))
    save_rendered(tmp_path / "a.nii.gz", rendered, recipe, tiny_generator)


def test_a_folder_keeps_its_own_description(tiny_generator, tmp_path):
    write_dataset_description(tmp_path / "new", tiny_generator)
    described = json.loads((tmp_path / "new" / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative"
    assert described["GeneratedBy"][0]["Name"] == "napari-stylegan3d"
    (tmp_path / "dataset_description.json").write_text("mine")
    write_dataset_description(tmp_path, tiny_generator)
    assert (tmp_path / "dataset_description.json").read_text() == "mine"


def test_sources_are_named_from_the_root_and_never_by_a_folder_outside(tiny_generator, tmp_path):
    raw, out = tmp_path / "Jane Doe 1961" / "set", tmp_path / "Jane Doe 1961" / "set" / "d" / "made"
    scan, place = raw / "sub-01" / "anat" / "sub-01_T1w.nii.gz", out / "sub-01" / "anat"
    for folder in (scan.parent, place):
        folder.mkdir(parents=True)
    scan.touch()
    (raw / "dataset_description.json").write_text('{"DatasetType": "raw"}')
    write_dataset_description(place, tiny_generator)
    described = json.loads((out / "dataset_description.json").read_text())
    assert described["DatasetLinks"] == {"raw": "../.."}
    assert not (place / "dataset_description.json").exists()
    latent = source_uri(place, place / "sub-01 x_latent.safetensors")
    assert latent == "bids::sub-01/anat/sub-01%20x_latent.safetensors"
    for told in (scan, scan.name):
        assert source_uri(place, told) == "bids:raw:sub-01/anat/sub-01_T1w.nii.gz"
    assert file_of(place, source_uri(place, scan)) == scan
    assert file_of(place, latent) == place / "sub-01 x_latent.safetensors"
    elsewhere = tmp_path / "Jane Doe 1961" / "scan.nii"
    assert source_uri(place, elsewhere) == source_uri(place, "scan.nii") == "scan.nii"


def test_no_entity_of_a_name_is_there_twice(tmp_path):
    """Names of a preprocessed scan, which has a space, a resolution and a desc of its own."""
    scan = "sub-01_run-01_space-MNI152NLin6Asym_res-2_desc-preproc_T1w.nii.gz"
    own = "sub-01_run-01_space-MNI152NLin6Asym_res-2"
    names = file_names(scan, tmp_path, parse("blur:3mm"), spread=True, z=True)
    found = {what: path.name.split(".")[0] for what, path in names.items()}
    assert found["native"] == f"{own}_desc-projected_T1w"
    assert found["model_space"] == "sub-01_run-01_space-model_desc-projected_T1w"
    assert found["latent"] == f"{own}_desc-projected_latent"
    made = Recipe(Source("projected", path=str(names["latent"])), mix=Mix(SEED, (1.0,)))
    found["mix"] = volume_name(made)
    assert found["mix"] == "sub-01_run-01_space-model_desc-mixedWithSeed0042_T1w.nii.gz"
    found["native mix"] = volume_name(made, native=True)
    assert found["native mix"].startswith(f"{own}_desc-mixed")
    for name in found.values():
        keys = re.findall(r"(?:^|_)([a-z]+)-", name)
        assert len(keys) == len(set(keys)), name
        assert keys[-1] == "desc", name
    assert Name.of(scan) == Name(re.sub(DESC, "", own), "preproc")
    assert str(Name.of(scan)) == scan
