"""`stylegan3d segment` and `train segmentation`."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest
from labelled_phantoms import write_labelled

from stylegan3d.model.loading import load
from stylegan3d.model.sampling import RandomBrains
from stylegan3d.segmentation.inference import bundled_segmenter
from stylegan3d.segmentation.measures import MEASURES
from stylegan3d.storage.volumes import write_volume


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    """(path, uint8 volume) of a random brain as `generate` saves it."""
    generator = load(device="cpu")
    brain = next(iter(RandomBrains(generator, [1], truncation=0.7)))
    path = tmp_path_factory.mktemp("brain") / "seed-0001_desc-synthetic_T1w.nii.gz"
    write_volume(path, brain / np.float32(255), generator.affine, description="a brain", sidecar={})
    return path, brain


def test_it_writes_labels_a_table_and_says_the_volumes(run, volume, tmp_path):
    path, brain = volume
    out, table = tmp_path / "labels.nii.gz", tmp_path / "volumes.csv"
    told = run("segment", path, "--out", out, "--table", table, "--json")
    assert told.status == 0, told.err
    image = nib.load(out)
    space_of = nib.load(path)
    expected = bundled_segmenter().segment(brain, load(device="cpu").space)
    assert np.array_equal(np.asarray(image.dataobj), expected.labels)
    assert np.allclose(image.affine, space_of.affine)
    about = json.loads((tmp_path / "labels.json").read_text())
    assert about["SyntheticImage"] is True
    assert about["Labels"]["4"] == "Ventricles"
    (row,) = list(csv.DictReader(table.open()))
    assert row["name"] == "seed-0001_desc-synthetic"
    for name in MEASURES:
        assert float(row[name]) == pytest.approx(told.json["measures"][name], abs=1e-4)
        assert 0 <= float(row[f"{name}_percentile"]) <= 100
    assert told.json["measures"]["grey_ml"] == pytest.approx(expected.volumes["grey"])
    assert run("segment", path, "--out", out).status == 2


def test_a_table_alone_may_be_json(run, volume, tmp_path):
    table = tmp_path / "volumes.json"
    told = run("segment", volume[0], "--table", table)
    assert told.status == 0, told.err
    assert "Ventricles: " in told.out
    assert set(json.loads(table.read_text())["measures"]) == {*MEASURES, "confidence"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--out", "labels.img"], "must end in .nii.gz"),
        (["--table", "volumes.txt"], "must end in .csv or"),
        (["--network", "nowhere"], "There is no tissue network"),
    ],
)
def test_mistakes_are_told_in_a_sentence(run, volume, words, sentence):
    told = run("segment", volume[0], *words)
    assert told.status == 2
    assert sentence in " ".join(told.err.replace("│", " ").split())


def test_a_network_is_trained_resumed_exported_and_used(run, volume, tmp_path):
    write_labelled(tmp_path)
    pack, out, export = tmp_path / "pack", tmp_path / "run", tmp_path / "network"
    about = tmp_path / "about.json"
    about.write_text(json.dumps({"limits": ["phantoms"]}))
    common = ("--maps", tmp_path, "--out", out)
    told = run("train", "segmentation", pack, *common, "--steps", 2)
    assert told.status == 0, told.err
    assert "holds a run" in run("train", "segmentation", pack, *common).err
    wrong = run("train", "segmentation", pack, *common, "--resume", "--steps", 3)
    assert "--steps is for new runs" in " ".join(wrong.err.replace("│", " ").split())
    told = run(
        "train", "segmentation", pack, *common, "--resume", "--export", export,
        "--about", about, "--licence", "CC0", "--json",
    )  # fmt: skip
    assert told.status == 0, told.err
    assert told.json["steps"] == 2
    card = json.loads((export / "card.json").read_text())
    assert (card["licence"], card["limits"]) == ("CC0", ["phantoms"])
    # Its voxels are of 4 mm.
    assert "segments volumes of 4 x 4 x 4 mm" in run("segment", volume[0], "--network", export).err
