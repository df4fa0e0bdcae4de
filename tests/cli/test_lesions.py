"""`stylegan3d train segmentation --scheme lesions` and `stylegan3d segment --lesions`."""

import json

import nibabel as nib
import numpy as np
import pytest
from bundled import bundled, random_brain
from scipy import ndimage

from stylegan3d.dataset.pack import write_pack
from stylegan3d.measures.lesions import suspect_lesions
from stylegan3d.model.generator import RandomBrains, load
from stylegan3d.segmentation.classes import CLASSES
from stylegan3d.segmentation.inference import bundled_segmenter, load_lesions
from stylegan3d.training import lesions


@pytest.mark.soak
def test_the_command_trains_one_that_looks_for_lesions(run, tmp_path, monkeypatch):
    monkeypatch.setattr(lesions, "SCANNERS", 1)  # 7 take longer
    generator = load(device="cpu")
    brains = list(RandomBrains(generator, range(3), truncation=0.7))
    rows = [
        {"name": f"s{i}", "file": f"s{i}.nii.gz", "split": split, "licence": "CC0", "source": "x"}
        for i, split in enumerate(("train", "train", "validation"))
    ]
    write_pack(tmp_path / "pack", rows, lambda row: brains[rows.index(row)], generator.space, {})
    common = (tmp_path / "pack", "--scheme", "lesions", "--out", tmp_path / "run")
    told = run("train", "segmentation", *common, "--steps", 2, "--export", tmp_path / "net")
    assert told.status == 0, told.err
    card = json.loads((tmp_path / "net/card.json").read_text())
    assert card["classes"] == ["background", "brain", "lesion"]
    figures = card["validation"]
    assert figures["healthy"]["scans"] == 2
    assert figures["limit_ml"] >= 0.1
    assert sum(row["lesions"] for row in figures["by_size"]) > 0
    page = (tmp_path / "net/README.md").read_text()
    assert "simulated lesions" in page
    network = load_lesions(tmp_path / "net")
    volume = brains[0].astype(np.float32) / 255
    found = suspect_lesions(volume, volume > 0, generator.space, network)
    assert found.probability.shape == generator.shape
    assert found.limit == figures["limit_ml"]
    assert np.isfinite(found.probability).all()
    refused = run("train", "segmentation", tmp_path / "pack", "--out", tmp_path / "other")
    assert "--maps" in refused.err


def test_lesions_of_a_scan_are_listed_and_marked_on_its_own_grid(run, tmp_path):
    """A random brain with a hole in its white matter, and the brain as it was."""
    generator, brain = bundled(), random_brain(3)
    image = nib.Nifti1Image(brain, generator.affine)
    white = bundled_segmenter().segment(brain, generator.space).labels == CLASSES.index("white")
    depth = ndimage.distance_transform_edt(white, sampling=generator.voxel_size)
    center = np.array(np.unravel_index(depth.argmax(), depth.shape))
    away = np.linalg.norm((np.indices(brain.shape).T - center) * 2.0, axis=-1).T
    share = np.clip((12 - away) / 2, 0, 1)
    hole = (brain * (1 - 0.4 * share)).astype(np.uint8)
    # Turned, as a scan may come.
    turned = [[0, -1], [2, 1], [1, 1]]
    nib.Nifti1Image(hole, generator.affine).as_reoriented(turned).to_filename(
        tmp_path / "scan.nii.gz"
    )
    image.to_filename(tmp_path / "healthy.nii.gz")
    none = tmp_path / "none.nii.gz"
    healthy = run("segment", tmp_path / "healthy.nii.gz", "--lesions", "--out", none, "--json")
    assert healthy.status == 0, healthy.err
    assert healthy.json["lesions"] == []
    assert not np.asarray(nib.load(none).dataobj).any()
    out = tmp_path / "mask.nii.gz"
    told = run("segment", tmp_path / "scan.nii.gz", "--lesions", "--out", out, "--json")
    assert told.status == 0, told.err
    (place,) = told.json["lesions"]
    mm = generator.affine[:3, :3] @ center + generator.affine[:3, 3]
    assert np.linalg.norm(np.array(place["center_mm"]) - mm) < 6
    true_ml = (share > 0).sum() * 0.008
    assert 0.5 < told.json["lesion_ml"] / true_ml < 1.5
    mask = nib.load(out)
    scan = nib.load(tmp_path / "scan.nii.gz")
    assert np.array_equal(mask.affine, scan.affine)
    marked = np.asarray(mask.dataobj) > 0
    drawn = nib.Nifti1Image((share > 0.2).astype(np.uint8), generator.affine)
    true = np.asarray(drawn.as_reoriented(turned).dataobj) > 0
    assert 2 * (marked & true).sum() / (marked.sum() + true.sum()) > 0.6
    about = json.loads((tmp_path / "mask.json").read_text())
    assert about["Labels"] == {"0": "Background", "1": "Lesion"}
    assert "not for diagnosis" in about["Description"]
    inverted = np.where(brain > 0, 256 - brain.astype(int), 0).astype(np.uint8)
    nib.Nifti1Image(inverted, generator.affine).to_filename(tmp_path / "t2.nii.gz")
    refused = run("segment", tmp_path / "t2.nii.gz", "--lesions")
    assert refused.status == 2
    assert "give a whole T1-weighted brain" in " ".join(refused.err.split())
    for words, sentence in (
        ([tmp_path / "healthy.nii.gz"], "is for one volume"),
        (["--regions"], "does not go with --lesions"),
    ):
        refused = run("segment", tmp_path / "scan.nii.gz", *words, "--lesions")
        assert refused.status == 2
        assert sentence in " ".join(refused.err.replace("│", " ").split())
