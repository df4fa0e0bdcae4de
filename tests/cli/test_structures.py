"""`stylegan3d segment --structures`."""

import nibabel as nib
import numpy as np
import pytest
from bundled import bundled, random_brain
from scipy import ndimage

from stylegan3d.model.generator import RandomBrains, load
from stylegan3d.outputs import structures
from stylegan3d.outputs.structures import COLUMNS, TITLES, structures_of_scan
from stylegan3d.scans.alignment import bundled_template
from stylegan3d.scans.reading import scan_of_array
from stylegan3d.scans.resampling import nearest
from stylegan3d.segmentation.classes import CLASSES, STRUCTURES
from stylegan3d.segmentation.inference import Segmentation, Segmenter, bundled_segmenter


def test_a_brain_of_another_contrast_is_labelled_where_it_lies(run, tmp_path):
    """A random brain with the intensities of a T2-weighted scan, turned as a scan may be."""
    generator, brain = bundled(), random_brain(3)
    tissues = bundled_segmenter().segment(brain, generator.space).labels
    inverted = np.where(brain > 0, 330.0 - brain, 0).astype(np.float32)
    small = np.diag([0.875, 0.875, 0.875, 1]) @ generator.affine  # a small head takes less time
    image = nib.Nifti1Image(inverted, small).as_reoriented([[1, -1], [2, 1], [0, 1]])
    image.to_filename(tmp_path / "one_T2w.nii.gz")
    out, table = tmp_path / "labels.nii.gz", tmp_path / "numbers.csv"
    told = run(
        "segment", tmp_path / "one_T2w.nii.gz", "--structures", "--out", out, "--table", table
    )
    assert told.status == 0, told.err
    assert "Hippocampus, left" in told.out
    found = nib.load(out)
    assert np.array_equal(found.affine, image.affine)
    labels = np.asarray(nib.as_closest_canonical(found).dataobj)
    assert set(np.unique(labels)) <= set(TITLES)
    deep = np.isin(labels, [4, 43, 5, 44, 14, 15]), tissues == CLASSES.index("ventricle")
    assert 2 * (deep[0] & deep[1]).sum() / (deep[0].sum() + deep[1].sum()) > 0.6
    left, right = (np.argwhere(labels == code)[:, 0].mean() for code in (17, 53))
    assert left < generator.shape[0] / 2 < right
    header, row = table.read_text().splitlines()
    assert set(COLUMNS) <= set(header.split(","))
    assert row.startswith("one,")
    assert "Check:" not in told.err
    for words in (("--age", 40), ("--skull", "keep")):
        refused = run("segment", tmp_path / "one_T2w.nii.gz", "--structures", *words)
        assert "does not go with" in refused.err


@pytest.fixture
def labelled_by(monkeypatch):
    """Let a function stand for the network, on voxels of 2 mm: it needs none of 1 mm."""

    def stand_in(segment):
        monkeypatch.setattr(Segmenter, "segment", segment)
        monkeypatch.setattr(structures, "MM", 2.0)

    return stand_in


def test_a_brain_with_bright_fluid_is_read_as_its_negative(labelled_by):
    """As T2-weighted: the network knows ventricles next to lesions from dark fluid."""
    target = bundled_template()
    tissues = bundled_segmenter().segment(target.template, target.space).labels
    white, ventricle = (
        STRUCTURES.classes.index(n) for n in ("left_cerebral_white", "left_lateral_ventricle")
    )
    labels = np.where(tissues > 0, white, 0).astype(np.uint8)
    labels[tissues == CLASSES.index("ventricle")] = ventricle
    seen = []

    def segment(network, volume, space, **options):
        seen.append(volume)
        found = nearest(labels, target.space, space, np.eye(4))
        return Segmentation(found, space, 1.0, STRUCTURES)

    labelled_by(segment)
    head = np.array([0, 0.9, 0.6, 0.4, 1.0, 0.5])[tissues]  # by `CLASSES`
    structures_of_scan(scan_of_array(head, target.space.affine, "head_T2w.nii"))
    bright, dark = seen
    assert np.allclose((bright + dark)[dark > 0], 1.05)
    assert not dark[bright == 0].any()
    seen.clear()
    structures_of_scan(scan_of_array(1.1 * (head > 0) - head, target.space.affine, "head_T1w.nii"))
    assert len(seen) == 1


def test_brain_that_is_missing_is_told(labelled_by):
    """The lower frontal lobes."""
    space, brain = bundled().space, random_brain(3) / np.float32(255)
    tissues = bundled_segmenter().segment(random_brain(3), space).labels
    # Of each tissue the first structure.
    labels = np.array([STRUCTURES.tissues.index(i) for i in range(len(CLASSES))], np.uint8)[tissues]

    def segment(network, volume, grid, **options):
        found = nearest(labels, space, grid, np.eye(4))
        return Segmentation(found, grid, 1.0, STRUCTURES)

    labelled_by(segment)
    _, y, z = nib.affines.apply_affine(space.affine, np.indices(space.shape).T).T
    for data, missing in ((brain, 0), (np.where(y > 42 + 0.35 * z, 0, brain), 1)):
        doubts = structures_of_scan(scan_of_array(data, space.affine, "head_T1w.nii")).doubts
        told = [doubt for doubt in doubts if doubt.kind == "brain-missing"]
        assert len(told) == missing
        assert all("frontal lobe" in str(doubt) and doubt.severity == "ask" for doubt in told)


def test_a_head_of_a_wrong_size_is_in_doubt(labelled_by):
    target = bundled_template()

    def segment(network, volume, space, **options):
        inside = volume > 0
        deep = ndimage.distance_transform_edt(inside, space.voxel_size) > 8
        grey, white = (
            STRUCTURES.classes.index(f"left_cerebral_{name}") for name in ("cortex", "white")
        )
        labels = np.where(deep, white, np.where(inside, grey, 0)).astype(np.uint8)
        return Segmentation(labels, space, 1.0, STRUCTURES)

    labelled_by(segment)
    inverted = np.where(target.template > 0, 1.3 - target.template, 0)
    for data in (target.template, inverted):  # whatever the contrast
        for size, told in ((1.0, False), (0.75, True)):
            affine = np.diag([size, size, size, 1]) @ target.space.affine
            found = structures_of_scan(scan_of_array(data, affine, "head.nii"))
            assert ("head-size" in {doubt.kind for doubt in found.doubts}) == told


def test_what_shows_no_brain_is_refused_in_a_sentence(run, tmp_path):
    block = np.zeros((30, 30, 30), np.float32)
    block[10:20, 10:20, 10:20] = 100
    nib.Nifti1Image(block, np.eye(4)).to_filename(tmp_path / "block.nii.gz")
    told = run("segment", tmp_path / "block.nii.gz", "--structures")
    assert told.status != 0
    assert "brain" in told.err
    assert "Traceback" not in told.err


@pytest.mark.soak
def test_many_scans_give_a_table(run, tmp_path):
    generator = load(device="cpu")
    for seed in (1, 2):
        brain = next(iter(RandomBrains(generator, [seed], truncation=0.7)))
        image = nib.Nifti1Image((255 - brain) * (brain > 0), generator.affine)
        image.to_filename(tmp_path / f"sub-0{seed}_T2w.nii.gz")
    told = run("segment", tmp_path, "--structures", "--out", tmp_path / "out", "--json")
    assert told.status == 0, told.err
    rows = (tmp_path / "out/structures.tsv").read_text().splitlines()
    assert len(rows) == 3
    assert len(list((tmp_path / "out").rglob("*_desc-structures_dseg.nii.gz"))) == 2
