"""What is laid over a scan that was projected."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from open_sides import scan_and_lesion
from phantoms import SPACE, head

from stylegan3d.base import OutputError
from stylegan3d.outputs import projections, results
from stylegan3d.recipe.recipe import Source
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


def test_the_volume_that_was_projected_is_found_again_in_its_file(tmp_path, monkeypatch):
    first, second = head(white=0.7), head(white=0.6)
    path = tmp_path / "heads.nii.gz"
    nib.Nifti1Image(np.stack([first, second], axis=-1), SPACE.affine).to_filename(path)
    target = SimpleNamespace(space=SPACE, template=first)
    aligned = read_scan(path, 1).align(target, skull="keep", bias_correction=False, pose="keep")
    described = aligned.describe()
    monkeypatch.setattr(results, "native_scan", lambda _recipe: described)
    found = projections.scans_at_hand(path)._find(Source("projected", path=str(tmp_path)))
    # Of files of one name it is this one, whatever the name.
    path = path.rename(tmp_path / "heads [2].nii.gz")
    other = tmp_path / "a" / path.name
    other.parent.mkdir()
    nib.Nifti1Image(first, SPACE.affine).to_filename(other)
    described["path"] = path.name
    monkeypatch.setattr(projections, "load_latent", lambda _: SimpleNamespace(scan=described))
    assert projections.scan_for(tmp_path / "latent", tmp_path) == path
    np.testing.assert_array_equal(found.data, second)
    del described["volume"]
    with pytest.raises(OutputError, match="is not the scan that was projected"):
        projections.scans_at_hand(path)._find(Source("projected", path=str(tmp_path)))
