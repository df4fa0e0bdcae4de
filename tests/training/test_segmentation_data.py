"""Label maps of a data set, and what augmentation does to volumes and labels."""

import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from labelled_phantoms import brain, tissues

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.training import segmentation_augmentation as augmentation
from stylegan3d.training.segmentation_augmentation import augment_labelled
from stylegan3d.training.segmentation_data import load_labelled


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
    for name in ("ROTATION", "SCALE", "SHIFT_VOXELS"):
        monkeypatch.setattr(augmentation, name, 0.0)
    labels = torch.from_numpy(tissues())
    volume = torch.from_numpy(brain(tissues()) / np.float32(255))
    still, same = augmentation._posed(volume, labels, torch.Generator().manual_seed(0))
    torch.testing.assert_close(still, volume, atol=1e-5, rtol=0)
    assert torch.equal(same, labels)


def test_a_turn_keeps_sizes_on_a_grid_with_unequal_sides(monkeypatch):
    monkeypatch.setattr(augmentation, "SCALE", 0.0)
    monkeypatch.setattr(augmentation, "SHIFT_VOXELS", 0.0)
    index = np.stack(np.meshgrid(*map(np.arange, (20, 24, 16)), indexing="ij"), axis=-1)
    ball = np.linalg.norm(index - (np.array((20, 24, 16)) - 1) / 2, axis=-1) < 6
    labels = torch.from_numpy(ball.astype(np.uint8))
    _, turned = augmentation._posed(labels.float(), labels, torch.Generator().manual_seed(1))
    assert (turned != labels).sum() < 0.02 * ball.sum()
