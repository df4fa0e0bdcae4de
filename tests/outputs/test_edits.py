"""What is laid over a scan that was projected."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from stylegan3d.geometry.space import Space
from stylegan3d.outputs import edits
from stylegan3d.scans import read_scan


@pytest.mark.parametrize("trust", ["sform", "qform"])
def test_an_overlay_lies_as_its_scan_did_when_it_was_projected(tmp_path, monkeypatch, trust):
    """The file leaves left and right open; what the user said is known from the latent file."""
    data = np.zeros((20, 22, 24), np.float32)
    data[4:17, 4:19, 4:21] = 100 + np.arange(13.0)[:, None, None]
    marked = np.zeros(data.shape, np.uint8)
    marked[5:8, 9:12, 9:12] = 1
    for name, voxels in (("scan", data), ("lesion", marked)):
        image = nib.Nifti1Image(voxels, np.diag([6.0, 6, 6, 1]))
        image.set_sform(np.diag([-6.0, 6, 6, 1]), 1)
        image.set_qform(np.diag([6.0, 6, 6, 1]), 1)
        nib.save(image, tmp_path / f"{name}.nii.gz")
    scan = read_scan(tmp_path / "scan.nii.gz", trust=trust)
    described = {
        "path": "scan.nii.gz",
        "sha256": scan.sha256,
        "affine": scan.affine.tolist(),
        "rigid": np.eye(4).tolist(),
    }
    monkeypatch.setattr(edits, "native_scan", lambda _recipe: described)
    recipe = SimpleNamespace(scan=lambda: described, source=None)
    space = Space(data.shape, scan.affine)
    paths = tmp_path / "lesion.nii.gz", space, tmp_path / "scan.nii.gz"
    _, volume = edits.second_over(recipe, *paths)
    np.testing.assert_array_equal(volume > 0, marked > 0)
