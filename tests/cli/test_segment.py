"""`stylegan3d segment` and `train segmentation`."""

import csv
import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from bundled import bundled, random_brain
from labelled_phantoms import write_labelled

import stylegan3d
from stylegan3d.base import Doubt, StyleGAN3DError
from stylegan3d.cli.many import tell
from stylegan3d.outputs.labels import Wanted, segment_scan
from stylegan3d.scans import load_template, read_scan
from stylegan3d.segmentation.classes import ALL_MEASURES
from stylegan3d.segmentation.inference import Segmenter, bundled_segmenter
from stylegan3d.storage.places import TEMPLATE, bundled_model_path
from stylegan3d.storage.volumes import write_volume


@pytest.fixture(scope="module", autouse=True)
def _labelled_once():
    """Most tests label the same brain, each network in the same way."""
    label, known = Segmenter.segment, {}

    def segment(network, volume, space, **options):
        key = network.hash, volume.tobytes(), space.affine.tobytes(), *options.items()
        if key not in known:
            known[key] = label(network, volume, space, **options)
        return replace(known[key], labels=known[key].labels.copy())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Segmenter, "segment", segment)
        yield


@pytest.fixture(scope="module")
def expected(volume):
    """What the network finds in it."""
    return bundled_segmenter().segment(volume[1], bundled().space)


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    """(path, uint8 volume) of a random brain as `generate` saves it."""
    generator, brain = bundled(), random_brain(1)
    path = tmp_path_factory.mktemp("brain") / "seed-0001_desc-synthetic_T1w.nii.gz"
    write_volume(path, brain / np.float32(255), generator.affine, description="a brain", sidecar={})
    return path, brain


def copy_acquired(path, to):
    """Copy a volume as one that was acquired."""
    image = nib.load(path)
    image.header["descrip"] = b""
    nib.save(image, to)


def test_it_writes_labels_a_table_and_says_the_volumes(run, volume, expected, tmp_path):
    path, _ = volume
    out, table = tmp_path / "labels.nii.gz", tmp_path / "volumes.csv"
    words = ["--age", "40", "--sex", "f", "--out", out, "--table", table]
    told = run("segment", path, *words, "--json")
    assert told.status == 0, told.err
    image = nib.load(out)
    space_of = nib.load(path)
    assert np.array_equal(np.asarray(image.dataobj), expected.labels)
    assert np.allclose(image.affine, space_of.affine)
    about = json.loads((tmp_path / "labels.json").read_text())
    assert about["SyntheticImage"] is True
    assert about["Labels"]["4"] == "Ventricles"
    (row,) = list(csv.DictReader(table.open()))
    assert row["name"] == "seed-0001_desc-synthetic"
    assert (row["age"], row["sex"], told.json["age"]) == ("40.0", "F", 40)
    assert told.json["origin"] == "synthetic"
    assert any("not an acquired one" in doubt["sentence"] for doubt in told.json["doubts"])
    for name in ALL_MEASURES:
        assert float(row[name]) == told.json["measures"][name]
        assert float(row[f"{name}_z"]) == told.json["scores"][name]["z"]
        assert 0 <= float(row[f"{name}_percentile"]) <= 100
    assert told.json["measures"]["grey_ml"] == pytest.approx(expected.volumes["grey"])
    assert run("segment", path, "--out", out).status == 2
    found = segment_scan(bundled_segmenter(), read_scan(path), Wanted(40, "F"))
    measured = stylegan3d.measure_volume(nib.load(path).get_fdata(), bundled().space)
    both = stylegan3d.to_table({"scan": found, "array": measured})
    assert list(both.index) == ["scan", "array"]
    assert both.grey_ml_z["scan"] == float(row["grey_ml_z"])
    assert both.doubts["scan"] == row["doubts"]
    assert both["tilt"]["array"] == measured["tilt"]
    assert both.grey_ml.dtype == both.age.dtype == float
    assert both.loc["array", ["age", "grey_ml_z", "doubts"]].isna().all()
    with pytest.raises(StyleGAN3DError, match="scan is Nifti1Image: give what measure_volume or"):
        stylegan3d.to_table({"scan": image})


def test_a_table_alone_may_be_json(run, volume, tmp_path):
    table = tmp_path / "volumes.json"
    told = run("segment", volume[0], "--table", table)
    assert told.status == 0, told.err
    assert "Ventricles: " in told.out
    found = json.loads(table.read_text())
    assert set(found["measures"]) == {*ALL_MEASURES, "confidence"}
    # Without age and sex there is no percentile, which would be that of anybody.
    assert found["scores"] == {}
    assert "need age and sex" in found["among"]
    assert "percentile" not in told.out.replace("Percentiles need", "")
    young = run("segment", volume[0], "--age", "9", "--sex", "M", "--json")
    assert young.json["scores"] == {}
    assert "18 to 80 years" in young.json["doubts"][-1]["sentence"]


def test_regions_and_norms_of_ones_own(run, volume, tmp_path):
    """A table that `segment` wrote, with age and sex, is a table of norms."""
    measures = run("segment", volume[0], "--json").json["measures"]
    rng = np.random.default_rng(0)
    table = tmp_path / "local.tsv"
    names = ["head_ml", "left_hippocampus_ml", "ventricle_ml"]
    lines = ["\t".join(["name", "age", "sex", *names])]
    for i in range(60):
        values = [measures[name] * float(np.exp(rng.normal(0, 0.1))) for name in names]
        lines.append("\t".join([f"p{i}", f"{20 + i}", "FM"[i % 2], *map(str, values)]))
    table.write_text("\n".join(lines) + "\n")
    out = tmp_path / "regions.nii.gz"
    words = ["--regions", "--out", out, "--norms", table, "--age", "50", "--sex", "F"]
    told = run("segment", volume[0], *words)
    assert told.status == 0, told.err
    assert "Among 60 people of local.tsv: female, 50 years" in told.out
    (line,) = [line for line in told.out.splitlines() if line.startswith("Hippocampus, left")]
    assert "z " in line
    labels = json.loads((tmp_path / "regions.json").read_text())["Labels"]
    (hippocampus,) = [int(k) for k, title in labels.items() if title == "Hippocampus, left"]
    voxels = (np.asarray(nib.load(out).dataobj) == hippocampus).sum()
    assert measures["left_hippocampus_ml"] == pytest.approx(voxels * 0.008)
    table.write_text("\n".join(lines[:20]) + "\n")
    told = run("segment", volume[0], "--norms", table)
    assert told.status == 2
    assert "at least 40 people" in told.err


def test_many_are_segmented_into_one_table(run, volume, expected, tmp_path):
    bids, out = tmp_path / "bids", tmp_path / "out"
    for person in ("01", "02"):
        anat = bids / f"sub-{person}" / "ses-a" / "anat"
        anat.mkdir(parents=True)
        copy_acquired(volume[0], anat / f"sub-{person}_ses-a_T1w.nii.gz")
    bad = bids / "sub-02" / "ses-a" / "anat" / "sub-02_ses-a_T1w.nii.gz"
    bad.write_text("no image")
    (bids / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t44\tM\n")
    told = run("segment", bids, "--out", out, "--json")
    assert told.status == 2
    assert (told.json["done"], told.json["failed"]) == (1, 1)
    assert "sub-02" in told.err
    rows = list(csv.DictReader((out / "segmentations.tsv").open(), delimiter="\t"))
    assert [row["participant_id"] for row in rows] == ["sub-01", "sub-02"]
    assert [row["session_id"] for row in rows] == ["ses-a", "ses-a"]
    assert rows[1]["error"] != "n/a"
    assert (rows[0]["age"], rows[0]["sex"]) == ("44", "M")
    assert -9 < float(rows[0]["left_hippocampus_ml_z"]) < 9
    # The table has one decimal.
    assert float(rows[0]["grey_ml"]) == pytest.approx(expected.volumes["grey"], abs=0.051)
    labels = np.asarray(nib.load(out / rows[0]["labels"]).dataobj)
    assert np.array_equal(labels, expected.labels)
    copy_acquired(volume[0], bad)
    again = run("segment", bids, "--out", out, "--json")
    assert again.status == 0, again.err
    assert (again.json["done"], again.json["kept"]) == (1, 1)


def test_warnings_are_in_the_table_and_on_the_console(run, tmp_path):
    """A scan that needs a look is not hidden among a hundred others."""
    scan = tmp_path / "scan.nii.gz"
    template = load_template(bundled_model_path() / TEMPLATE)
    data = template.template[::2, ::2, :64:2]  # the top of the brain is missing
    nib.save(nib.Nifti1Image(data, template.space.affine @ np.diag([2, 2, 2, 1])), scan)
    (tmp_path / "list.txt").write_text("scan.nii.gz\n")
    words = [tmp_path / "list.txt", "--skull", "keep", "--out", tmp_path / "out", "--json"]
    told = run("segment", *words)
    assert told.status == 0, told.err
    (row,) = list(csv.DictReader((tmp_path / "out/segmentations.tsv").open(), delimiter="\t"))
    (scan_row,) = told.json["scans"]
    said = [str(Doubt(**told)) for told in scan_row["doubts"]]
    assert any("edge of the field of view" in sentence for sentence in said)
    assert row["doubts"] == " | ".join(said)
    assert all(sentence in " ".join(told.err.split()) for sentence in said)


def test_what_a_table_says_of_many_is_told_once(caplog):
    told, own = (Doubt("person", "tell", f"The age in {where}.") for where in ("a.tsv", "b.json"))
    cut = Doubt("cut", "ask", "The top is missing.")
    tell([{"name": name, "doubts": [told, cut]} for name in ("one", "two")])
    tell([{"name": "three", "doubts": [own]}])
    words = [record.getMessage() for record in caplog.records]
    assert [word.partition(":")[0] for word in words] == ["one", "one", "two", "three"]


def test_options_of_one_volume_are_refused_for_many(run, volume, tmp_path):
    for words, sentence in (
        (["--out", tmp_path / "a.nii.gz"], "need a folder for --out"),
        ([], "need a folder for --out"),
        (["--out", tmp_path / "out", "--table", "a.csv"], "is for one volume"),
        (["--out", tmp_path / "out", "--volume", "0"], "--volume is for one scan: run each scan"),
    ):
        told = run("segment", volume[0], volume[0], *words)
        assert told.status == 2
        assert sentence in " ".join(told.err.replace("│", " ").split())


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
