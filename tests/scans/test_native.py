"""Going home: what was made in the model's space lies where it should on the scan's own grid."""

import itertools

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from stylegan3d.errors import ScanError
from stylegan3d.geometry.space import Space
from stylegan3d.scans.native import edited_scan, native_image, pack_mask

CODES = [
    "".join(letters)
    for axes in itertools.permutations(("RL", "AP", "SI"))
    for letters in itertools.product(*axes)
]
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


@pytest.mark.parametrize("codes", CODES)
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


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSL", "IAR"])
def test_an_edit_changes_the_scan_where_it_should_and_nothing_else(codes):
    scan = scan_in(codes)
    own = Space(tuple(scan["shape"]), np.array(scan["affine"]))
    draw = np.random.RandomState(0)
    original = draw.randint(200, 400, own.shape).astype(np.int16)
    before = np.full(MODEL.shape, 0.75, np.float32)
    after = before - 0.5 * ball(*BALLS[0])
    edited = edited_scan(original, before, after, MODEL, scan)
    change = edited.get_fdata() - original
    assert change.max() <= 0  # fluid where there was tissue
    home = nib.affines.apply_affine(np.linalg.inv(RIGID), BALLS[0][0])
    assert np.linalg.norm(middle(-change, edited.affine) - home) < 1.25
    # The scan is on average as bright as its reconstruction, so the change is 0.5 of 400.
    assert change.min() == pytest.approx(-200, rel=0.05)
    far = np.linalg.norm(places(own) - home, axis=-1) > 24
    np.testing.assert_array_equal(edited.get_fdata()[far], original[far])


def test_the_change_follows_the_scans_own_brightness():
    """A coil that sees one half twice as bright has its change twice as bright there, too."""
    scan = scan_in("RAS")
    own = Space(tuple(scan["shape"]), np.array(scan["affine"]))
    x = places(own)[..., 0]
    bias = 1 + 0.3 * np.tanh(x / 60)
    before = np.full(MODEL.shape, 0.75, np.float32)
    after = before.copy()
    for side in (-40.0, 40.0):
        after -= 0.5 * ball((side, -20.0, 10.0), 10.0)
    original = (300 * bias).astype(np.float32)
    change = edited_scan(original, before, after, MODEL, scan).get_fdata() - original
    left, right = change[x < 0].min(), change[x > 0].min()
    expected = [bias[np.unravel_index(np.argmin(change * side), x.shape)]
                for side in (x < 0, x > 0)]  # fmt: skip
    assert right / left == pytest.approx(expected[1] / expected[0], rel=0.08)
    assert right / left > 1.2


def test_an_edit_that_changes_nothing_leaves_every_bit():
    scan = scan_in("LAS")
    original = np.random.RandomState(0).randn(*scan["shape"]).astype(np.float32)
    before = ball(*BALLS[0])
    edited = edited_scan(original, before, before, MODEL, scan)
    np.testing.assert_array_equal(np.asarray(edited.dataobj), original)


def test_nothing_is_darker_than_the_scan_goes_and_the_skull_stays():
    scan = scan_in("RAS")
    own = Space(tuple(scan["shape"]), np.array(scan["affine"]))
    original = np.full(own.shape, 50, np.float32)
    before, after = np.ones(MODEL.shape, np.float32), np.zeros(MODEL.shape, np.float32)
    data = edited_scan(original, before, after, MODEL, scan).get_fdata()
    assert data.min() == 0
    skull = np.linalg.norm(
        (nib.affines.apply_affine(RIGID, places(own)) - [0, -20, 10]) / [75, 92, 77], axis=-1
    )
    assert (data[skull > 1] == 50).all()


def test_differences_keep_their_sign_only_if_asked():
    scan = scan_in("RAS")
    lower = -ball(*BALLS[0])
    assert native_image(lower, MODEL, scan).get_fdata().min() == 0
    assert native_image(lower, MODEL, scan, signed=True).get_fdata().min() < -300


def test_another_scans_grid_is_refused():
    scan = scan_in("RAS")
    flat = np.zeros(MODEL.shape, np.float32)
    with pytest.raises(ScanError, match="give the scan that was projected"):
        edited_scan(np.zeros((4, 5, 6)), flat, flat, MODEL, scan)
