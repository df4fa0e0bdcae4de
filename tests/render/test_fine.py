"""A scan with voxels of its own size in the model's space."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from stylegan3d.base import Cancelled, Progress
from stylegan3d.geometry.space import Space
from stylegan3d.render import editable as module
from stylegan3d.render.editable import FineScan, fine_space
from stylegan3d.render.movement import Movement, nothing_moves
from stylegan3d.scans.resampling import pack_mask

MODEL = Space((20, 28, 24), nib.affines.from_matvec(np.diag([8.0] * 3), [-76, -125, -87]))
#: Scan RAS mm to model RAS mm: a head that lies askew and off centre.
RIGID = nib.affines.from_matvec(
    Rotation.from_euler("xyz", (12, -7, 20), degrees=True).as_matrix(), [5, -14, 9]
)
OWN = Space((64, 84, 60), nib.affines.from_matvec(np.diag([3.0, -3.0, 3.0]), [-95, 130, -80]))
SCALE = 400.0


def places(space):
    grid = np.indices(space.shape).reshape(3, -1).T
    return nib.affines.apply_affine(space.affine, grid).reshape(*space.shape, 3)


def texture(mm):
    """Waves of 20 to 30 mm, brightness 0.3 to 0.9, at places (..., 3) of the scan."""
    waves = np.sin(mm[..., 0] / 5) + np.cos(mm[..., 1] / 4) + np.sin(mm[..., 2] / 3.5)
    return 0.6 + 0.1 * waves


BRAIN = np.linalg.norm((places(MODEL) - MODEL.center_mm) / [55, 75, 60], axis=-1) < 1
DEEP = 0.7


@pytest.fixture(scope="module")
def fine():
    there = nib.affines.apply_affine(np.linalg.inv(RIGID), places(MODEL))
    described = {
        "shape": list(OWN.shape),
        "affine": OWN.affine.tolist(),
        "rigid": RIGID.tolist(),
        "model_affine": MODEL.affine.tolist(),
        "intensity_scale": SCALE,
        "brain_mask": pack_mask(BRAIN),
    }
    return FineScan(
        SimpleNamespace(
            describe=lambda: described,
            space=MODEL,
            scan=SimpleNamespace(data=(SCALE * texture(places(OWN))).astype(np.float32)),
            volume=np.where(BRAIN, texture(there), 0).astype(np.float32),
        )
    )


def deep_in(fine):
    """Places, RAS mm of the model, and which voxels lie well within the brain."""
    mm = places(fine.space)
    return mm, np.linalg.norm((mm - MODEL.center_mm) / [55, 75, 60], axis=-1) < DEEP


def test_its_voxels_are_those_of_the_scan_where_the_model_looks(fine):
    # mm: a whole number of voxels covers the grid.
    np.testing.assert_allclose(fine.space.voxel_size, 3, atol=0.05)
    mm, deep = deep_in(fine)
    there = nib.affines.apply_affine(np.linalg.inv(RIGID), mm)
    # Splines between voxels of 3 mm.
    np.testing.assert_allclose(fine.unedited[deep], texture(there)[deep], atol=0.03)
    outside = np.linalg.norm((mm - MODEL.center_mm) / [75, 95, 80], axis=-1) > 1
    assert not fine.unedited[outside].any()


def test_an_edit_is_read_from_the_scan_where_the_displacement_says(fine):
    shift = np.array([3.0, 5.0, -4.0])
    displacement = np.broadcast_to(shift[:, None, None, None], (3, *MODEL.shape)).astype(np.float32)
    change = np.full(MODEL.shape, 0.05, np.float32)
    edited = fine.edited(Movement(displacement.copy(), change, MODEL))
    mm, deep = deep_in(fine)
    there = nib.affines.apply_affine(np.linalg.inv(RIGID), mm + shift)
    # Splines between voxels of 3 mm.
    np.testing.assert_allclose(edited[deep], texture(there)[deep] + 0.05, atol=0.03)


def test_what_does_not_move_is_the_scan_to_the_last_bit(fine):
    assert np.array_equal(fine.edited(nothing_moves(MODEL)), fine.unedited)
    fields = np.zeros((4, *MODEL.shape), np.float32)
    fields[:, :4] = 3  # in a corner, outside the brain
    edited = fine.edited(Movement(fields[:3], fields[3], MODEL))
    still = fine.space.shape[0] // 2
    assert np.array_equal(edited[still:], fine.unedited[still:])


def test_it_stops(fine):
    moved = Movement(
        np.ones((3, *MODEL.shape), np.float32), np.zeros(MODEL.shape, np.float32), MODEL
    )
    with pytest.raises(Cancelled):
        fine.edited(moved, Progress(cancelled=lambda: True))


def test_the_grid_is_bounded_and_the_models_own_for_coarse_scans(monkeypatch):
    assert fine_space(Space((10, 10, 10), np.diag([8.0, 8, 8, 1])), MODEL) is MODEL
    monkeypatch.setattr(module, "MOST_VOXELS", 8 * np.prod(MODEL.shape))
    sharp = fine_space(Space((500, 500, 500), np.diag([0.4, 0.4, 0.4, 1])), MODEL)
    assert sharp.shape == tuple(2 * n for n in MODEL.shape)
