"""What is laid over a scan that was projected."""

from types import SimpleNamespace

import numpy as np
import pytest
from open_sides import scan_and_lesion

from stylegan3d.outputs import projections, results
from stylegan3d.scans import read_scan


@pytest.mark.parametrize("orientation", ["sform", "qform"])
def test_an_overlay_lies_as_its_scan_did_when_it_was_projected(tmp_path, monkeypatch, orientation):
    """The file leaves left and right open; what the user said is known from the latent file."""
    marked = scan_and_lesion(tmp_path)
    scan = read_scan(tmp_path / "scan.nii.gz", orientation=orientation)
    described = {
        "path": "scan.nii.gz",
        "sha256": scan.sha256,
        "affine": scan.affine.tolist(),
        "rigid": np.eye(4).tolist(),
    }
    monkeypatch.setattr(results, "native_scan", lambda _recipe: described)
    recipe = SimpleNamespace(scan=lambda: described, source=SimpleNamespace(path=tmp_path))
    paths = tmp_path / "lesion.nii.gz", scan.space, tmp_path / "scan.nii.gz"
    _, volume = projections.second_over(recipe, *paths)
    np.testing.assert_array_equal(volume > 0, marked)
