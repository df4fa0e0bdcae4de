"""Going home: what was made in the model's space lies where it should on the scan's own grid."""

import itertools

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from tolerances import FLOAT32

from stylegan3d.geometry.space import Space
from stylegan3d.scans import resampling
from stylegan3d.scans.resampling import native_image, pack_mask

CODES = [
    "".join(letters)
    for axes in itertools.permutations(("RL", "AP", "SI"))
    for letters in itertools.product(*axes)
]
#: One of each order of axes and handedness; every axis either way.
SAMPLE = {"RAS", "LAS", "RSP", "LSP", "ALS", "PRS", "ASL", "PIR", "SRA", "ILP", "SAL", "IPR"}
MODEL = Space((40, 56, 48), nib.affines.from_matvec(np.diag([4.0] * 3), [-78, -127, -89]))
#: Scan RAS mm to model RAS mm: a head that lies askew and off centre.
RIGID = nib.affines.from_matvec(
    Rotation.from_euler("xyz", (12, -7, 20), degrees=True).as_matrix(), [5, -14, 9]
)
#: Middle in model RAS mm (right, front, top) and radius in mm.
BALLS = (((34.0, -25.0, 15.0), 14.0), ((6.0, 30.0, 8.0), 12.0), ((10.0, -42.0, 48.0), 10.0))


def places(space):
    grid = np.indices(space.shape).reshape(3, -1).T
    return nib.affines.apply_affine(space.affine, grid).reshape(*space.shape, 3)


def ball(center, radius, space=MODEL):
    """Soft at its border, so that its middle can be found more finely than a voxel."""
    away = np.linalg.norm(places(space) - center, axis=-1)
    return np.clip((radius - away) / 4 + 0.5, 0, 1).astype(np.float32)


def scan_in(codes, scale=400.0):
    """What `AlignedScan.describe` says of a scan of 3 x 2.5 x 4 mm in this orientation."""
    ras = Space((56, 76, 42), nib.affines.from_matvec(np.diag([3.0, 2.5, 4.0]), [-80, -110, -80]))
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(ras.affine), nib.orientations.axcodes2ornt(codes)
    )
    image = nib.Nifti1Image(np.zeros(ras.shape, np.float32), ras.affine).as_reoriented(turn)
    brain = np.linalg.norm((places(MODEL) - [0, -20, 10]) / [68, 85, 70], axis=-1) < 1
    return {
        "shape": list(image.shape),
        "affine": image.affine.tolist(),
        "rigid": RIGID.tolist(),
        "model_affine": MODEL.affine.tolist(),
        "intensity_scale": scale,
        "brain_mask": pack_mask(brain),
    }


def middle(data, affine):
    """(3,) RAS mm of the centre of mass."""
    where = np.argwhere(data > 0)
    weights = data[data > 0]
    return nib.affines.apply_affine(affine, (where * weights[:, None]).sum(axis=0) / weights.sum())


@pytest.mark.parametrize(
    "codes",
    [pytest.param(code, marks=() if code in SAMPLE else pytest.mark.soak) for code in CODES],
)
def test_within_half_a_voxel_in_all_48_orientations(codes):
    scan = scan_in(codes)
    found = []
    for center, radius in BALLS:
        image = native_image(ball(center, radius), MODEL, scan)
        assert "".join(nib.aff2axcodes(image.affine)) == codes
        np.testing.assert_allclose(image.affine, scan["affine"])
        home = nib.affines.apply_affine(np.linalg.inv(RIGID), center)
        found.append(middle(image.get_fdata(), image.affine))
        assert np.abs(found[-1] - home).max() < 0.5 * 2.5  # mm of the finest axis
    assert found[0][0] > 15  # what was on the right is on the right


def test_differences_keep_their_sign_only_if_asked():
    scan = scan_in("RAS")
    lower = -ball(*BALLS[0])
    assert native_image(lower, MODEL, scan).get_fdata().min() == 0
    assert native_image(lower, MODEL, scan, signed=True).get_fdata().min() < -300


def test_the_empty_part_of_a_large_grid_changes_nothing(monkeypatch):
    brain, own = (
        ball(*BALLS[0]),
        Space((90, 80, 70), nib.affines.from_matvec(np.eye(3), [-20, -60, 0])),
    )
    whole = resampling.resample(brain, MODEL, own, RIGID)
    monkeypatch.setattr(resampling, "LARGE", 1)
    assert whole.any()
    np.testing.assert_allclose(resampling.resample(brain, MODEL, own, RIGID), whole, atol=FLOAT32)
    assert not resampling.resample(brain * 0, MODEL, own, RIGID).any()
