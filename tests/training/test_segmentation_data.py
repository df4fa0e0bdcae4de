"""Label maps of a dataset, and what augmentation does to volumes and labels."""

import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from labelled_phantoms import brain, tissues
from tolerances import SUMS

from stylegan3d.base import StyleGAN3DError
from stylegan3d.geometry.space import Space
from stylegan3d.segmentation.classes import REGIONS, VERMIS, halved, region_of_label
from stylegan3d.training import segmentation as augmentation
from stylegan3d.training.segmentation import _window, augment_labelled, load_labelled


def test_people_with_label_maps_are_found_with_the_classes_of_the_table(labelled, brains):
    pack, _ = labelled
    assert brains.training == 3
    assert [pack.table[row]["name"] for row in brains.rows] == [
        "sub-0", "sub-1", "sub-3", "sub-4", "sub-5",
    ]  # fmt: skip
    assert np.array_equal(brains.labels[2], tissues(0.96))
    assert brains.volume(2).max() <= 1


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("table", "no labels.tsv"),
        ("row", "holds the value 41"),
        ("tissue", "names the tissue 'fat'"),
        ("grid", "not on the grid"),
        ("axes", "not on the grid"),
        ("file", "cannot be read"),
        ("people", "3 training and 0 validation"),
    ],
)
def test_unusable_label_maps_are_refused(labelled, tmp_path, damage, sentence):
    pack, folder = labelled
    shutil.copytree(folder, tmp_path / "maps", ignore=shutil.ignore_patterns("pack"))
    maps = tmp_path / "maps"
    table, first = maps / "labels.tsv", maps / "sub-0_dseg.nii.gz"
    if damage == "table":
        table.unlink()
    elif damage == "row":
        lines = table.read_text().splitlines()
        table.write_text("\n".join(line for line in lines if not line.startswith("41")))
    elif damage == "tissue":
        table.write_text(table.read_text().replace("white", "fat"))
    elif damage == "grid":
        image = nib.load(first)
        nib.Nifti1Image(image.get_fdata(), np.eye(4)).to_filename(first)
    elif damage == "axes":
        image = nib.load(first)
        nib.Nifti1Image(np.stack([image.get_fdata()] * 2, -1), image.affine).to_filename(first)
    elif damage == "file":
        first.write_bytes(b"no image")
    else:
        (maps / "sub-4_dseg.nii.gz").unlink()
        (maps / "sub-5_dseg.nii.gz").unlink()
    with pytest.raises(StyleGAN3DError, match=sentence):
        load_labelled(pack, maps)


def test_augmentation_moves_labels_with_the_volume_and_repeats_itself():
    labels = torch.from_numpy(tissues())
    volume = torch.from_numpy(brain(tissues()) / np.float32(255))
    moved = 0
    for seed in range(12):
        made, its = augment_labelled(volume, labels, torch.Generator().manual_seed(seed))
        again, _ = augment_labelled(volume, labels, torch.Generator().manual_seed(seed))
        assert torch.equal(made, again)
        assert float(made.min()) >= 0
        assert float(made.max()) <= 1
        means = torch.stack([made[its == index].mean() for index in range(6)])
        # Fluid stays darker than grey, grey darker than white, whatever the contrast.
        assert means[0] < means[1] < means[2] < means[3]
        assert means[4] < means[3]
        moved += not torch.equal(its, labels)
    assert 3 <= moved <= 11


def test_a_pose_of_nothing_changes_nothing_on_a_grid_with_unequal_sides(monkeypatch):
    for name in ("ROTATION", "SCALE", "SHIFT_VOXELS", "WARP_VOXELS"):
        monkeypatch.setattr(augmentation, name, 0.0)
    labels = torch.from_numpy(tissues())
    volume = torch.from_numpy(brain(tissues()) / np.float32(255))
    still, same = augmentation._posed(volume, labels, torch.Generator().manual_seed(0))
    torch.testing.assert_close(still, volume, atol=SUMS, rtol=0)
    assert torch.equal(same, labels)


def test_a_turn_keeps_sizes_on_a_grid_with_unequal_sides(monkeypatch):
    for name in ("SCALE", "SHIFT_VOXELS", "WARP_VOXELS"):
        monkeypatch.setattr(augmentation, name, 0.0)
    index = np.stack(np.meshgrid(*map(np.arange, (20, 24, 16)), indexing="ij"), axis=-1)
    ball = np.linalg.norm(index - (np.array((20, 24, 16)) - 1) / 2, axis=-1) < 6
    labels = torch.from_numpy(ball.astype(np.uint8))
    _, turned = augmentation._posed(labels.float(), labels, torch.Generator().manual_seed(1))
    assert (turned != labels).sum() < 0.02 * ball.sum()


def test_regions_are_read_by_their_numbers_and_change_sides_in_the_mirror(monkeypatch):
    table, names = region_of_label(), REGIONS.classes
    assert set(table.values()) == {*range(len(names)), VERMIS}
    assert names[table[47]] == "right_hippocampus"
    assert names[table[201]] == "left_temporal_cortex"
    for label, mirrored in enumerate(REGIONS.mirrored):
        assert REGIONS.mirrored[mirrored] == label
        assert REGIONS.tissues[mirrored] == REGIONS.tissues[label]
    # A right half of one side's label and a left half of the other's stay where they are.
    right, left = (names.index(f"{side}_putamen") for side in ("right", "left"))
    labels = torch.full((20, 24, 16), left, dtype=torch.uint8)
    labels[10:] = right
    monkeypatch.setattr(augmentation, "POSE_CHANCE", 0.0)
    volume = torch.linspace(0, 1, 20)[:, None, None].expand(labels.shape).contiguous()
    flipped = 0
    for seed in range(6):
        made, its = augment_labelled(volume, labels, torch.Generator().manual_seed(seed), REGIONS)
        assert torch.equal(its, labels)
        flipped += float(made[:10].mean()) > float(made[10:].mean())
    assert 0 < flipped < 6


@pytest.mark.parametrize("toward", [1, -1])
def test_the_vermis_is_divided_at_the_midline_whichever_way_the_grid_runs(toward):
    table, names = region_of_label(), REGIONS.classes
    affine = np.diag([2.0, 2.0 * toward, 2.0, 1.0])[[1, 0, 2, 3]]  # x runs along the second axis
    affine[0, 3] = -5 * toward
    codes = np.full((4, 6, 4), 72)
    codes[0] = 11
    found = halved(np.vectorize(table.get)(codes), Space(codes.shape, affine))
    sides = ["left"] * 3 + ["right"] * 3
    expected = [names.index(f"{side}_cerebellar_cortex") for side in sides[::toward]]
    assert (found[1:] == np.array(expected)[:, None]).all()
    assert (found[0] == names.index("fourth_ventricle")).all()


def test_numbers_that_are_not_of_the_protocol_are_refused_without_naming_a_table(
    labelled, tmp_path
):
    pack, _ = labelled
    for number in (72, 77):
        for row in pack.table:
            image = nib.Nifti1Image(np.full(pack.space.shape, number, np.int16), pack.space.affine)
            image.to_filename(tmp_path / f"{row['name']}_dseg.nii.gz")
        if number == 72:
            left = REGIONS.classes.index("left_cerebellar_cortex")
            labels = load_labelled(pack, tmp_path, REGIONS).labels
            assert (labels[:, :10] == left).all()
            assert (labels[:, 10:] == left + 1).all()
    with pytest.raises(StyleGAN3DError, match="value 77, which is not in the Neuromorph"):
        load_labelled(pack, tmp_path, REGIONS)


def test_empty_space_around_a_brain_is_left_out_of_a_step(brains):
    """At most up to the next multiple, and nothing of the brain."""
    volume, _ = brains.pair(0)
    small = torch.zeros(40, 48, 32)
    small[6:26, 11:35, 9:25] = volume
    window = _window(small, 4, torch.Generator().manual_seed(0))
    assert float(small[window].sum()) == float(volume.sum())
    assert all(n % 4 == 0 and n <= 24 for n in small[window].shape)
