"""A second image is found where it lies on the scan, whatever its contrast."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from stylegan3d.base import Doubt, ScanError
from stylegan3d.geometry.space import Space
from stylegan3d.scans import second_image
from stylegan3d.scans.reading import scan_of_array
from stylegan3d.scans.resampling import resample


@pytest.fixture(scope="module")
def scan(phantom):
    return scan_of_array(phantom.on(phantom.space), phantom.space.affine, "sub-07_T1w.nii.gz")


def head_moved(mm, deg):
    """(4, 4): by some millimetres and degrees in no direction of an axis."""
    way = np.array([0.48, -0.6, 0.64])
    turn = Rotation.from_rotvec(np.radians(deg) * way[::-1]).as_matrix()
    return nib.affines.from_matvec(turn, mm * way)


def as_flair(scan, pose, grid):
    """The scan in another contrast and pose, on another grid."""
    data = resample(scan.data, scan.space, grid, np.linalg.inv(pose))
    return scan_of_array(np.where(data > 40, 1200 - data, 0), grid.affine, "sub-07_FLAIR.nii.gz")


def off_mm(found, true, at=((38, -25, 15), (8, 32, 10), (12, -40, 52), (-50, -20, 0))):
    places = np.array(at, float)
    apart = nib.affines.apply_affine(found, places) - nib.affines.apply_affine(true, places)
    return np.linalg.norm(apart, axis=1).max()


def test_another_contrast_is_found_back(scan):
    grid = Space((46, 60, 40), nib.affines.from_matvec(np.diag([-3.2, 3.1, 4.0]), [75, -115, -85]))
    pose = head_moved(12, 10)
    flair = as_flair(scan, pose, grid)
    second = second_image(scan, flair)
    assert off_mm(second.rigid, np.linalg.inv(pose)) < 0.5
    assert not second.labels
    assert 0.1 < second.agreement < 1
    again = second.on(scan.space)
    inside = scan.data > 200
    assert np.corrcoef(again[inside], scan.data[inside])[0, 1] < -0.8


def test_an_image_on_the_same_grid_stays_and_is_doubted_if_it_fits_elsewhere(scan):
    second = second_image(scan, as_flair(scan, head_moved(6, 4), scan.space))
    np.testing.assert_array_equal(second.rigid, np.eye(4))
    assert isinstance(second.note, Doubt)
    assert "agree better moved by" in second.note.sentence


def test_labels_follow_the_pose_without_new_values(scan):
    lesion = (scan.data > 900) * 5.0
    second = second_image(scan, scan_of_array(lesion, scan.affine, "lesion.nii.gz"))
    assert second.labels
    pose = head_moved(9, 7)
    moved = second.on(scan.space, pose)
    assert set(np.unique(moved)) == {0, 5}
    center = nib.affines.apply_affine(scan.affine, np.argwhere(lesion).mean(axis=0))
    now = nib.affines.apply_affine(scan.affine, np.argwhere(moved).mean(axis=0))
    # mm, part of a voxel: a centre by whole voxels.
    np.testing.assert_allclose(now, nib.affines.apply_affine(pose, center), atol=0.5)


def test_what_does_not_lie_on_the_scan_is_refused(scan):
    with pytest.raises(ScanError, match="the scan itself"):
        second_image(scan, scan)
    noise = np.random.default_rng(0).normal(100, 20, scan.data.shape)
    with pytest.raises(ScanError, match="hardly agree"):
        second_image(scan, scan_of_array(noise, scan.affine, "noise.nii.gz"))
    far = replace(scan, affine=nib.affines.from_matvec(np.eye(3), [500, 0, 0]) @ scan.affine)
    lesion = scan_of_array((scan.data > 900) * 1.0, far.affine, "lesion.nii.gz")
    with pytest.raises(ScanError, match=r"lesion.* do not overlap"):
        second_image(scan, lesion)
