"""`stylegan3d synthesize` and `train translation`."""

import json
import re
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from bundled import bundled, random_brain
from labelled_phantoms import SPACE, VALUES, tissues, write_labelled
from scipy.ndimage import distance_transform_edt
from tolerances import FLOAT32, QFORM_MM

from stylegan3d.segmentation.classes import dice_scores
from stylegan3d.segmentation.inference import bundled_segmenter
from stylegan3d.storage.volumes import write_volume
from stylegan3d.translation.painter import REACH_MM


@pytest.fixture(scope="module")
def brain(tmp_path_factory):
    """(volume file, label file, labels) of a random brain on the bundled generator's grid."""
    generator, volume = bundled(), random_brain(1)
    folder = tmp_path_factory.mktemp("brain")
    path = folder / "seed-0001_desc-synthetic_T1w.nii.gz"
    # Brains of the model are brighter than 1 in places.
    bright = np.where(volume == 255, np.float32(1.2), volume / np.float32(255))
    write_volume(path, bright, generator.affine, description="", sidecar={})
    labels = bundled_segmenter().segment(volume, generator.space).labels
    named = folder / "seed-0001_dseg.nii.gz"
    nib.Nifti1Image(labels, generator.affine).to_filename(named)
    return path, named, labels


def said(told):
    """What a mistake was answered with, without the frame that the terminal draws round it."""
    return " ".join(told.err.replace("│", " ").split())


def test_what_it_paints_has_the_tissues_asked_for(run, brain, tmp_path):
    _, named, labels = brain
    out = tmp_path / "painted.nii.gz"
    told = run("synthesize", named, "--out", out, "--seed", 4, "--json")
    assert told.status == 0, told.err
    image = nib.load(out)
    volume = np.asarray(image.dataobj)
    found = bundled_segmenter().segment(np.clip(volume, 0, 1), bundled().space).labels
    scores = dice_scores(found, labels)
    assert np.mean(list(scores.values())) > 0.85
    assert told.json["agreement"]["grey"] == pytest.approx(scores["grey"], abs=FLOAT32)
    about = json.loads((tmp_path / "painted.json").read_text())
    assert about["SyntheticImage"] is True
    assert about["Sources"] == [named.name]
    assert about["Model"]["SHA256"] == told.json["network"]["sha256"]
    assert about["Contrast"]["white mean"] > about["Contrast"]["grey mean"]
    assert b"SYNTHETIC" in image.header["descrip"].item()
    assert run("synthesize", named, "--out", out).status == 2


def test_larger_ventricles_are_painted_into_a_brain_that_stays_itself(run, brain, tmp_path):
    path, named, labels = brain
    out, after = tmp_path / "larger.nii.gz", tmp_path / "larger_dseg.nii.gz"
    told = run(
        "synthesize", named, "--base", path, "--resize", "ventricle=3", "--out", out,
        "--labels-out", after,
    )  # fmt: skip
    assert told.status == 0, told.err
    asked = np.asarray(nib.load(after).dataobj)
    assert (asked == 4).sum() > 1.5 * (labels == 4).sum()
    volume, before = (np.asarray(nib.load(p).dataobj) for p in (out, path))
    far = distance_transform_edt(asked == labels, bundled().space.voxel_size) > REACH_MM
    assert np.array_equal(volume[far], before[far])
    assert before[far].any()
    assert before.max() > 1.1
    found = bundled_segmenter().segment(np.clip(volume, 0, 1), bundled().space).labels
    assert (found == 4).sum() > 1.4 * (labels == 4).sum()
    about = json.loads((tmp_path / "larger.json").read_text())
    assert about["Edits"] == [{"Tissue": "ventricle", "BorderMovedBy_mm": 3.0}]
    assert about["Sources"] == [named.name, path.name]


@pytest.mark.soak
def test_a_turned_map_of_other_voxels_is_painted_on_its_own_grid(run, brain, tmp_path):
    _, named, labels = brain
    image = nib.load(named).as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    moved = image.affine.copy()
    moved[:3, 3] += (30, -20, 15)
    turned, out = tmp_path / "turned_dseg.nii.gz", tmp_path / "turned.nii.gz"
    nib.Nifti1Image(np.asarray(image.dataobj), moved).to_filename(turned)
    told = run("synthesize", turned, "--out", out, "--json")
    assert told.status == 0, told.err
    assert any("Aligned to the mean brain" in note for note in told.json["notes"])
    made = nib.load(out)
    assert made.shape == image.shape
    assert np.allclose(made.affine, moved, atol=QFORM_MM)
    volume, mask = np.asarray(made.dataobj), np.asarray(image.dataobj)
    assert volume[mask == 3].mean() > volume[mask == 2].mean() > volume[mask == 4].mean()
    model = tmp_path / "model.nii.gz"
    assert run("synthesize", turned, "--out", model, "--grid", "model").status == 0
    assert nib.load(model).shape == labels.shape


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--out", "x.img"], "must end in .nii.gz"),
        (
            ["--out", "x.nii.gz", "--seed", 1, "--contrast-from", "y.nii.gz"],
            "each set the contrast",
        ),
        (["--out", "x.nii.gz", "--resize", "bone=2"], "is not a change of a tissue"),
        (["--out", "x.nii.gz", "--resize", "csf=40"], "10 mm at most"),
        (["--out", "x.nii.gz", "--network", "nowhere"], "There is no translation network"),
        (["--out", "x.nii.gz", "--codes", "structures"], "not one of the structures"),
        (["--out", "x.nii.gz", "--grid", "zz"], "'--grid': 'zz' is not one of 'own'"),
    ],
)
def test_mistakes_are_told_in_a_sentence(run, brain, words, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = run("synthesize", brain[1], *words)
    assert told.status == 2
    assert sentence in said(told)
    assert not list(tmp_path.iterdir())


def test_the_contrast_of_no_t1_is_not_copied(run, brain, tmp_path):
    path, named, _ = brain
    image = nib.load(path)
    volume = image.get_fdata()
    inverted = np.where(volume > 0, 1.3 - volume, 0).astype(np.float32)
    other = tmp_path / "sub-01_T2w.nii.gz"
    nib.Nifti1Image(inverted, image.affine).to_filename(other)
    told = run("synthesize", named, "--contrast-from", other, "--out", tmp_path / "x.nii.gz")
    assert told.status == 2
    assert "sub-01_T2w.nii.gz is unsuitable (the contrast is not that of a T1" in said(told)
    assert "give a T1-weighted scan" in said(told)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (np.zeros((20, 24, 16), np.int16), "has the same value"),
        (np.ones((20, 24), np.int16), "2D|dimensions|20 x 24"),
        (np.pad(np.full((10, 10, 10), 77, np.int16), 4), "contains the label 77"),
        (np.random.default_rng(0).normal(5, 2, (20, 24, 16)), "not a label map"),
    ],
)
def test_files_that_are_no_label_maps_are_refused(run, data, sentence, tmp_path):
    path = tmp_path / "map.nii.gz"
    nib.Nifti1Image(data, np.diag([4.0, 4.0, 4.0, 1.0])).to_filename(path)
    told = run("synthesize", path, "--out", tmp_path / "x.nii.gz")
    assert told.status == 2
    assert re.search(sentence, said(told)), told.err
    assert not (tmp_path / "x.nii.gz").exists()


def test_a_network_is_trained_resumed_exported_and_used(run, tmp_path, monkeypatch):
    from stylegan3d.training import translation

    write_labelled(tmp_path)
    train = translation.train_translation

    def small(people, out, settings, **how):
        return train(people, out, settings=replace(settings, side=16, warm_up=1), **how)

    monkeypatch.setattr(translation, "train_translation", small)

    class Small(translation.TranslationConfig):
        """Of two narrow levels, unless it is told otherwise."""

        def __init__(self, shape, channels=(8, 8), blocks=1, regions=0):
            super().__init__(tuple(shape), tuple(channels), blocks, regions)

    monkeypatch.setattr(translation, "TranslationConfig", Small)
    pack, out, export = tmp_path / "pack", tmp_path / "run", tmp_path / "network"
    reader = tmp_path / "reader"
    words = ("train", "segmentation", pack, "--maps", tmp_path, "--out", tmp_path / "seg")
    assert run(*words, "--steps", 2, "--export", reader).status == 0
    common = (pack, "--maps", tmp_path, "--out", out, "--segmentation", reader)
    told = run("train", "translation", *common, "--steps", 2)
    assert told.status == 0, told.err
    assert "holds a run" in run("train", "translation", *common).err
    wrong = run("train", "translation", *common, "--resume", "--steps", 3)
    assert "--steps is for new runs" in said(wrong)
    told = run(
        "train",
        "translation",
        *common,
        "--resume",
        "--export",
        export,
        "--licence",
        "CC0",
        "--json",
    )
    assert told.status == 0, told.err
    assert told.json["steps"] == 2
    card = json.loads((export / "card.json").read_text())
    assert card["licence"] == "CC0"
    assert card["architecture"]["shape"] == list(SPACE.shape)
    # It knows the codes it learned from, and paints on its own grid.
    named = tmp_path / "sub-0_dseg.nii.gz"
    made = tmp_path / "made.nii.gz"
    codes = np.array(VALUES, np.int16)[tissues(0.9)]
    assert np.array_equal(np.asarray(nib.load(named).dataobj), codes)
    told = run("synthesize", named, "--network", export, "--out", made, "--json")
    assert told.status == 0, told.err
    assert told.json["agreement"] == {}, "the bundled tissue network does not know this grid"
    painted = nib.load(made)
    assert painted.shape == SPACE.shape
    # A map that is turned and elsewhere is painted on its own grid, the same.
    other = np.array([[2, -1], [0, 1], [1, -1]])
    image = nib.load(named).as_reoriented(other)
    moved = image.affine.copy()
    moved[:3, 3] += (30, -20, 15)
    turned = tmp_path / "turned_dseg.nii.gz"
    nib.Nifti1Image(np.asarray(image.dataobj), moved).to_filename(turned)
    words = ("--network", export, "--json", "--out")
    told = run("synthesize", turned, *words, tmp_path / "turned.nii.gz")
    assert told.status == 0, told.err
    assert any("Aligned to the mean brain" in note for note in told.json["notes"])
    found = nib.load(tmp_path / "turned.nii.gz")
    assert np.allclose(found.affine, moved, atol=QFORM_MM)
    same = np.asarray(painted.as_reoriented(other).dataobj)
    # Its edge lies elsewhere for the network.
    assert np.corrcoef(np.asarray(found.dataobj).ravel(), same.ravel())[0, 1] > 0.99
