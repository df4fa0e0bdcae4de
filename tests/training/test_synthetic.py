"""Images of any contrast made from label maps."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from stylegan3d.base import StyleGAN3DError
from stylegan3d.cli import app
from stylegan3d.segmentation.classes import FREESURFER, STRUCTURES
from stylegan3d.segmentation.inference import read_network
from stylegan3d.training import synthetic
from stylegan3d.training.options import WIDTHS
from stylegan3d.training.synthetic import (
    CSF,
    LATERAL,
    Head,
    ImageMaker,
    read_head,
    synthetic_brains,
)

SHAPE, MM = (32, 32, 32), 4.0
LEFT_WHITE, LEFT_CORTEX = (
    STRUCTURES.classes.index(f"left_cerebral_{n}") for n in ("white", "cortex")
)


def write_map(path: Path, extra: int = 0) -> Path:
    """A ball of cortex around white matter around a ventricle, each half with its own codes."""
    x, y, z = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2) * MM
    left = x < 0
    data = np.zeros(SHAPE, np.uint8)
    for limit, codes in ((60, (3, 42)), (50, (2, 41)), (15, (4, 43)), (6, (extra, extra))):
        data = np.where(radius < limit, np.where(left, *codes), data) if any(codes) else data
    nib.save(nib.Nifti1Image(data.astype(np.uint8), np.diag([MM, MM, MM, 1])), path)
    return path


@pytest.fixture
def head(tmp_path: Path) -> Head:
    return read_head(write_map(tmp_path / "sub-01_dseg.nii.gz"))


def test_codes_are_classes_once() -> None:
    assert sorted(set(FREESURFER.values())) == list(range(len(STRUCTURES.classes)))
    sides = [STRUCTURES.classes[i] for i in STRUCTURES.mirrored]
    assert sides[1:7] == list(STRUCTURES.classes[1:7])  # across the midline
    assert [STRUCTURES.mirrored[i] for i in STRUCTURES.mirrored] == list(range(len(sides)))


def test_head_knows_how_far_things_are(head: Head) -> None:
    labels, near = head.labels, head.distances.float() / 10
    assert head.voxel_mm == MM
    coarse = labels[::2, ::2, ::2]
    ventricle = torch.isin(coarse, torch.tensor(LATERAL, dtype=torch.uint8))
    assert (near[0][ventricle] == 0).all()
    assert (near[0][~ventricle] > 0).all()
    white = coarse == LEFT_WHITE
    # Between the ventricle (15 mm) and the cortex (from 50 mm).
    both = (near[0] + near[2])[white]
    assert both.median() == pytest.approx(35, abs=MM + 2)
    assert (near[3][coarse == 0] > 0).all()


def test_image_is_drawn_again_from_its_seed(head: Head) -> None:
    shape = (32, 40, 48)
    image, labels = ImageMaker(3).make(head, shape, 3.0)
    again, same = ImageMaker(3).make(head, shape, 3.0)
    other, _ = ImageMaker(4).make(head, shape, 3.0)
    assert image.shape == labels.shape == shape
    assert (image.dtype, labels.dtype) == (torch.float32, torch.uint8)
    assert torch.equal(image, again)
    assert torch.equal(labels, same)
    assert not torch.equal(image, other)


def test_images_are_varied_and_valid(head: Head) -> None:
    brighter, widths = [], []
    for seed in range(24):
        image, labels = ImageMaker(seed).make(head, (40, 40, 40), 4.0)
        assert float(image.min()) >= 0
        assert float(image.max()) <= 1
        assert int(labels.max()) < len(STRUCTURES.classes)
        white, cortex = (
            torch.isin(labels, torch.tensor([c, c + 1], dtype=torch.uint8))
            for c in (LEFT_WHITE, LEFT_CORTEX)
        )
        brighter.append(bool(image[white].mean() > image[cortex].mean()))
        widths.append(int(torch.isin(labels, torch.tensor(LATERAL, dtype=torch.uint8)).sum()))
        assert (labels == CSF).any() or int(labels.max()) > 0
    assert 4 < sum(brighter) < 22  # of any contrast
    assert max(widths) > 2 * min(widths)  # old and young


def test_bad_maps_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StyleGAN3DError, match="label 201"):
        read_head(write_map(tmp_path / "a_dseg.nii.gz", extra=201))
    long = nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.diag([1, 1, 3, 1]))
    nib.save(long, tmp_path / "b_dseg.nii.gz")
    with pytest.raises(StyleGAN3DError, match="anisotropic voxels"):
        read_head(tmp_path / "b_dseg.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)), tmp_path / "c_dseg.nii.gz")
    with pytest.raises(StyleGAN3DError, match="labels nothing"):
        read_head(tmp_path / "c_dseg.nii.gz")
    with pytest.raises(StyleGAN3DError, match="at least two"):
        synthetic_brains(tmp_path / "nothing", tmp_path)


def test_network_is_trained_exported_and_begun_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "IMAGES", (((32, 32, 32), 4.0), ((16, 32, 16), 2.0)))
    monkeypatch.setitem(WIDTHS, STRUCTURES.name, (8, 8))
    maps = tmp_path / "maps"
    maps.mkdir()
    for number in range(4):
        write_map(maps / f"sub-{number:02d}_dseg.nii.gz")
    (maps / "LICENSE.txt").write_text("Free to use.")
    command = [
        *("train", "segmentation", str(maps), "--scheme", "structures"),
        *("--out", str(tmp_path / "run"), "--export", str(tmp_path / "net")),
    ]
    first = CliRunner().invoke(app, [*command, "--steps", "2"])
    assert first.exit_code == 0, first.output
    card = json.loads((tmp_path / "net" / "card.json").read_text())
    assert card["licence"] == "Free to use."
    assert card["training"] == {"label_maps": 3, "steps": 2, "seed": 0}
    assert set(card["validation"]["structures"]) == set(STRUCTURES.classes[1:])
    assert read_network(tmp_path / "net").classes == len(STRUCTURES.classes)
    monkeypatch.setitem(WIDTHS, STRUCTURES.name, (16, 16))
    command[6] = str(tmp_path / "second")
    begun = [*command[:7], "--steps", "1", "--init-from", str(tmp_path / "net")]
    second = CliRunner().invoke(app, begun)
    assert second.exit_code == 0, second.output  # with the widths of the first
