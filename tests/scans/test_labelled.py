"""Label maps beside scans become millilitres of each tissue in the pack's table."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from stylegan3d.base import StyleGAN3DError
from stylegan3d.cohort import preparation as preparing
from stylegan3d.cohort.preparation import prepare
from stylegan3d.dataset.pack import load_pack
from stylegan3d.scans import load_template
from stylegan3d.scans.label_maps import TissueLabels, measure_tissues, read_tissues, tissue_notes

MEAN_BRAIN = Path(__file__).parents[1] / "scans" / "mean-brain-4mm.nii.gz"
TABLE = (
    "index\tname\ttissue\n0\tbackground\tbackground\n4\tleft\tventricle\n"
    "51\tright\tventricle\n30\tcortex\tGrey\n"
)


@pytest.fixture(scope="module")
def target():
    return load_template(MEAN_BRAIN)


@pytest.fixture
def folder(tmp_path, target):
    """Two people on the target's grid, the first with labels, and a table that names them."""
    folder = tmp_path / "study"
    folder.mkdir()
    for name, tilt in (("sub-01", 1.0), ("sub-02", 0.9)):
        brain = np.where(target.template > 0.2, target.template * 255 * tilt, 0).astype(np.uint8)
        nib.save(nib.Nifti1Image(brain, target.space.affine), folder / f"{name}_T1w.nii.gz")
    save_labels(folder, target.space.affine)
    (folder / "labels.tsv").write_text(TABLE)
    (folder / "template.nii.gz").write_bytes(MEAN_BRAIN.read_bytes())
    return folder


def save_labels(folder, affine, shape=(40, 56, 48), extra=0.0, dtype=np.int16):
    labels = np.zeros(shape, dtype)
    labels[20, 20, :10] = 4
    labels[21, 20, :5] = 51
    labels[10, 10:30, 10] = 30
    labels[0, 0, 0] = extra
    nib.save(nib.Nifti1Image(labels, affine), folder / "sub-01_dseg.nii.gz")


def test_millilitres_of_each_tissue(folder, tmp_path):
    pack = prepare(folder, tmp_path / "pack")
    assert pack.info["tissues"] == ["grey_ml", "ventricle_ml"]
    assert pack.column("ventricle_ml") == [15 * 0.064, None]  # voxels of 4 mm
    assert pack.column("grey_ml") == [20 * 0.064, None]
    assert pack.column("doubts") == [[], []]
    assert pack.info["notes"] == []


def test_a_pack_made_before_gets_the_columns_without_preparing_again(folder, tmp_path, monkeypatch):
    labels = (folder / "labels.tsv").read_text()
    (folder / "labels.tsv").unlink()
    before = prepare(folder, tmp_path / "pack")
    assert "ventricle_ml" not in before.table[0]
    (folder / "labels.tsv").write_text(labels)
    monkeypatch.setattr(preparing, "prepare_volume", lambda *a: pytest.fail("work was done"))
    volumes = sorted((tmp_path / "pack").glob("volumes-*"))
    prepare(folder, tmp_path / "pack")
    assert load_pack(tmp_path / "pack").column("ventricle_ml") == [0.96, None]
    assert sorted((tmp_path / "pack").glob("volumes-*")) == volumes


def test_labels_on_another_grid_are_told_once_and_gone_when_mended(folder, target, tmp_path):
    save_labels(folder, target.space.affine @ np.diag([1, 1, 1.1, 1]))
    for _ in range(2):
        pack = prepare(folder, tmp_path / "pack")
        assert pack.column("ventricle_ml") == [None, None]
        (doubt,) = pack.table[0]["doubts"]
        assert "is not on the grid of sub-01_T1w.nii.gz" in doubt["sentence"]
    save_labels(folder, target.space.affine)
    assert prepare(folder, tmp_path / "pack").table[0]["doubts"] == []


def test_several_label_maps_in_one_file_are_told(folder, target):
    save_labels(folder, target.space.affine)
    path = folder / "sub-01_dseg.nii.gz"
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.stack([image.get_fdata()] * 2, -1), image.affine), path)
    measured = measure_tissues(folder / "sub-01_T1w.nii.gz", read_tissues(folder))
    assert "is not on the grid of sub-01_T1w.nii.gz" in measured.doubts[0].sentence


def test_labels_without_a_name_count_nowhere_and_are_told(folder, target, tmp_path):
    save_labels(folder, target.space.affine, extra=7)
    pack = prepare(folder, tmp_path / "pack")
    assert pack.column("ventricle_ml") == [0.96, None]
    assert "does not name label 7, found in 1" in pack.info["notes"][0]


def test_probabilities_are_no_labels(folder, target):
    save_labels(folder, target.space.affine, extra=0.5, dtype=np.float32)
    measured = measure_tissues(folder / "sub-01_T1w.nii.gz", read_tissues(folder))
    assert measured.volumes == {"grey_ml": None, "ventricle_ml": None}
    assert "not hold whole numbers" in measured.doubts[0].sentence
    (folder / "sub-01_dseg.nii.gz").write_bytes(b"no image")
    measured = measure_tissues(folder / "sub-01_T1w.nii.gz", read_tissues(folder))
    assert "cannot be read" in measured.doubts[0].sentence


@pytest.mark.parametrize(
    "table", ["a\tb\n1\t2\n", "index\ttissue\nx\tgrey\n", "index\ttissue\n3\tbrain\n", "index\n3\n"]
)
def test_a_table_of_labels_that_cannot_be_used_is_refused(folder, tmp_path, table):
    (folder / "labels.tsv").write_text(table)
    with pytest.raises(StyleGAN3DError, match=r"labels\.tsv"):
        prepare(folder, tmp_path / "pack")


def test_what_counts_as_csf_is_said():
    named = {46: "csf", 24: "csf", 4: "ventricle"}
    people = [
        TissueLabels({"csf_ml": 1.0}),
        TissueLabels({"csf_ml": 2.0}),
        TissueLabels({"csf_ml": None}),
    ]
    (note,) = tissue_notes(named, people)
    assert note.startswith("csf_ml counts label 24, 46 of labels.tsv, on average 1.5 ml in 2 label")
    assert tissue_notes({4: "ventricle"}, people) == []
    assert tissue_notes(named, [TissueLabels({"csf_ml": None})]) == []
