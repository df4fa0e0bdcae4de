"""An edit of the scan itself: its detail moves with the anatomy and nothing else is touched."""

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation
from tiny import tiny_generator
from tolerances import FLOAT32, LAYERS, SUMS

from stylegan3d.base import ScanError
from stylegan3d.geometry.space import Space
from stylegan3d.model.generator import load
from stylegan3d.networks.deformation import add_identity, exponential, read_at
from stylegan3d.recipe.latents import find_step
from stylegan3d.render.editable import CarriedDetail, Original
from stylegan3d.render.movement import (
    Movement,
    Mover,
    composed,
    deformed_anatomy,
    jacobian_of,
    refined,
    slow_change,
    unfolded,
)
from stylegan3d.scans.resampling import pack_mask

MODEL = Space((40, 56, 48), nib.affines.from_matvec(np.diag([4.0] * 3), [-78, -127, -89]))
#: Scan RAS mm to model RAS mm: a head that lies askew and off centre.
RIGID = nib.affines.from_matvec(
    Rotation.from_euler("xyz", (12, -7, 20), degrees=True).as_matrix(), [5, -14, 9]
)
MIDDLE = np.array([0.0, -20.0, 10.0])


def places(space):
    grid = np.indices(space.shape).reshape(3, -1).T
    return nib.affines.apply_affine(space.affine, grid).reshape(*space.shape, 3)


BRAIN = np.linalg.norm((places(MODEL) - MIDDLE) / [60, 75, 60], axis=-1) < 1


def scan_in(codes):
    """Texture on a grid of 3 x 2.5 x 4 mm in this orientation, and how it was aligned."""
    ras = Space((56, 76, 42), nib.affines.from_matvec(np.diag([3.0, 2.5, 4.0]), [-80, -110, -80]))
    texture = gaussian_filter(np.random.RandomState(0).randn(*ras.shape), 2)
    texture = (200 + 100 * texture / texture.std()).astype(np.float32)
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(ras.affine), nib.orientations.axcodes2ornt(codes)
    )
    image = nib.Nifti1Image(texture, ras.affine).as_reoriented(turn)
    return np.asarray(image.dataobj), {
        "shape": list(image.shape),
        "affine": image.affine.tolist(),
        "rigid": RIGID.tolist(),
        "model_affine": MODEL.affine.tolist(),
        "intensity_scale": 400.0,
        "brain_mask": pack_mask(BRAIN),
    }


def still(**changes):
    """A movement of nothing, but for what is given."""
    fields = {
        "displacement": np.zeros((3, *MODEL.shape), np.float32),
        "change": np.zeros(MODEL.shape, np.float32),
        "space": MODEL,
    }
    return Movement(**{**fields, **changes})


class Grey:
    """What of a generator carries a scan's detail; it shows one evenly grey brain."""

    space, device, shape = MODEL, torch.device("cpu"), MODEL.shape

    def synthesize(self, w, noise="none", level=-1):
        return torch.from_numpy(np.where(BRAIN, 0.0, -1).astype(np.float32))[None, None]


def carried_of(codes="RAS", data=None, described=None):
    found, how = scan_in(codes)
    original = Original(found if data is None else data, described or how)
    return CarriedDetail(original, Grey(), torch.zeros(1, 4))


def test_no_edit_is_the_scan_to_the_last_bit():
    carried = carried_of("LPS")
    np.testing.assert_array_equal(carried.edited(carried.placed(still())), carried.data)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSL", "IAR"])
def test_what_is_shown_at_a_place_was_where_the_displacement_says(codes):
    """The whole brain shifted by 6 mm to the model's front, in all orientations of the array."""
    shift = np.array([0.0, 6.0, 0.0])
    displacement = np.broadcast_to(shift[:, None, None, None], (3, *MODEL.shape)).astype(np.float32)
    carried = carried_of(codes)
    data, described = scan_in(codes)
    edited = carried.edited(carried.placed(still(displacement=displacement)))
    own = Space(data.shape, np.array(described["affine"]))
    model_mm = nib.affines.apply_affine(RIGID, places(own))
    deep = np.linalg.norm((model_mm - MIDDLE) / [52, 67, 52], axis=-1) < 1
    home = nib.affines.apply_affine(np.linalg.inv(RIGID), model_mm[deep] + shift)
    index = nib.affines.apply_affine(np.linalg.inv(own.affine), home)
    from scipy.ndimage import map_coordinates

    expected = map_coordinates(data, index.T, order=3)
    np.testing.assert_allclose(edited[deep], expected, atol=0.5)  # of about 400
    far = np.linalg.norm((model_mm - MIDDLE) / [80, 95, 80], axis=-1) > 1
    np.testing.assert_array_equal(edited[far], data[far])


def test_a_change_of_intensity_is_in_the_scans_units_and_follows_its_bias_field():
    data, described = scan_in("RAS")
    own = Space(data.shape, np.array(described["affine"]))
    x = nib.affines.apply_affine(RIGID, places(own))[..., 0]
    bias = (1 + 0.3 * np.tanh(x / 60)).astype(np.float32)
    data = 200 * bias
    balls = [np.linalg.norm(places(MODEL) - (side, -20, 10), axis=-1) < 12 for side in (-35, 35)]
    change = 0.2 * (balls[0] | balls[1]).astype(np.float32)
    carried = carried_of(data=data, described=described)
    difference = carried.edited(carried.placed(still(change=change))) - data
    left, right = difference[x < 0].max(), difference[x > 0].max()
    # The ball's middle on the scan's grid, and the bias field estimated from the scan.
    assert left == pytest.approx(0.2 * 400 * (1 - 0.3 * np.tanh(35 / 60)), rel=0.1)
    # The same on both sides.
    assert right / left == pytest.approx(
        (1 + 0.3 * np.tanh(35 / 60)) / (1 - 0.3 * np.tanh(35 / 60)), rel=0.1
    )


def test_a_map_that_would_fold_is_smoothed_and_nothing_outside_moves():
    x = places(MODEL)[..., 0]
    displacement = np.zeros((3, *MODEL.shape), np.float32)
    displacement[0] = 14 * np.sign(-x)  # jumps by 28 mm over 4
    assert jacobian_of(displacement, MODEL).min() < 0
    carried = carried_of()
    placed = carried.placed(still(displacement=displacement))
    assert placed.jacobian.min() > 0
    assert placed.moved_mm.max() > 5
    far = np.linalg.norm((places(MODEL) - MIDDLE) / [60, 75, 60], axis=-1) > 1.3
    assert placed.moved_mm[far].max() == 0


def test_the_jacobian_is_that_of_a_known_map():
    points = places(MODEL)
    displacement = np.moveaxis(0.1 * points * [1, 0, -1], -1, 0).astype(np.float32)
    inner = (slice(2, -2),) * 3
    np.testing.assert_allclose(jacobian_of(displacement, MODEL)[inner], 1.1 * 0.9, rtol=LAYERS)


def test_the_composition_solves_what_it_says():
    torch.manual_seed(0)
    velocity = torch.nn.functional.interpolate(
        torch.randn(2, 3, 3, 4, 3) * 0.05, (20, 28, 24), mode="trilinear"
    )
    before, after = add_identity(exponential(velocity).flip(1)).split(1)
    found = add_identity(composed(before, after))
    own = before - add_identity(torch.zeros_like(before))
    error = (found + read_at(own, found) - after)[..., 4:-4, 4:-4, 4:-4]
    assert error.abs().max() < 2e-3  # the axes are 2 long
    still = torch.zeros_like(before)
    torch.testing.assert_close(composed(before, before), still, atol=FLOAT32, rtol=0)
    half = np.zeros(before.shape[2:], bool)
    half[:10] = True
    part = composed(before, after, half)
    torch.testing.assert_close(part[:, :, :10], (found - add_identity(still))[:, :, :10])
    assert not part[:, :, 10:].any()


def test_another_scans_grid_is_refused():
    _data, described = scan_in("RAS")
    with pytest.raises(ScanError, match="give the scan that was projected"):
        carried_of(data=np.zeros((4, 5, 6)), described=described)


def test_a_border_that_grows_darker_outside_moves_instead():
    """A ball that a generator enlarges by its greys alone: the scan's border moves, and stays."""
    places_mm = torch.from_numpy(places(MODEL)).float()
    far = (places_mm - torch.from_numpy(MIDDLE).float()).norm(dim=-1)[None, None]

    def ball(radius):
        return 0.15 + 0.4 * (1 + torch.tanh((far - radius) / 6))

    nothing = torch.zeros(1, 3, *MODEL.shape)
    offsets = refined(nothing, ball(30.0), ball(34.0), 4, 0.7)
    left = read_at(ball(30.0), add_identity(offsets)) - ball(34.0)
    assert left.square().mean() < 0.25 * (ball(30.0) - ball(34.0)).square().mean()
    change = slow_change(ball(30.0), ball(34.0), offsets, MODEL)
    assert change.abs().max() < 0.11  # of the 0.26 that a border's grey was away
    assert refined(nothing, ball(30.0), ball(30.0), 4, 0.7).abs().max() < 1e-5  # it rounds


def test_darker_fluid_darkens_no_tissue():
    """A ball of fluid that a generator draws darker, in tissue that it draws 0.1 darker."""
    places_mm = torch.from_numpy(places(MODEL)).float()
    far = (places_mm - torch.from_numpy(MIDDLE).float()).norm(dim=-1)[None, None]
    nothing = torch.zeros(1, 3, *MODEL.shape)
    before, after = torch.where(far < 20, 0.25, 0.9), torch.where(far < 20, 0.0, 0.8)
    change = slow_change(before, after, nothing, MODEL)
    np.testing.assert_allclose(change[far >= 20].numpy(), -0.1, atol=SUMS)
    assert change[far < 20].abs().max() == 0


@pytest.mark.parametrize("name", ["brain-t1-2mm", "stylegan-t1-2mm"])
def test_ventricles_that_grow_move_tissue_and_going_back_is_exact(name):
    """A bundled model's average brain, its own texture as the scan."""
    generator = load(name)
    assert deformed_anatomy(generator) is not None
    w = generator.w_avg.expand(generator.num_layers, -1).clone()
    step = torch.as_tensor(find_step("Ventricle volume", generator), dtype=w.dtype)
    mover = Mover(generator, w)
    moved = mover.to(w + 2 * step)
    there = unfolded(moved, np.ones(moved.space.shape, bool))
    assert there.jacobian.min() > 0.05
    assert 1 < np.percentile(there.moved_mm, 99.9) < 15
    same = mover.to(w.clone())
    assert same.moved_mm.max() == 0
    assert np.abs(same.change).max() == 0


def test_generators_without_a_deformation_are_registered():
    generator = tiny_generator()
    assert deformed_anatomy(generator) is None
    w = generator.w_avg.expand(generator.num_layers, -1).clone()
    other = w + 0.2 * torch.randn(w.shape, generator=torch.manual_seed(1))
    moved = Mover(generator, w).to(other)
    assert moved.displacement.shape[1:] == moved.space.shape
    np.testing.assert_allclose(moved.space.center_mm, generator.space.center_mm)
    assert np.isfinite(moved.displacement).all()
    assert moved.jacobian.min() > 0


def test_no_edit_makes_fluid_darker():
    """A ventricle and a rim of fluid in tissue: greys fall in both, but to no black gap."""
    own = Space((56, 76, 42), nib.affines.from_matvec(np.diag([3.0, 2.5, 4.0]), [-80, -110, -80]))
    far = np.linalg.norm((places(own) - MIDDLE) / [60, 75, 60], axis=-1)
    rim, core = (far > 0.9) & (far < 1), far < 0.3
    data = np.select([far >= 1, rim | core], [0, 80], 300).astype(np.float32)
    described = {**scan_in("RAS")[1], "rigid": np.eye(4).tolist()}
    carried = carried_of(data=data, described=described)
    change = -0.3 * BRAIN.astype(np.float32)  # 120 of the scan's units
    edited = carried.edited(carried.placed(still(change=change)))
    tissue = (far > 0.5) & (far < 0.75)
    assert np.median(edited[tissue]) < 220
    # But for the ringing of interpolation; without the limit it would be 0.
    assert edited[far < 0.2].min() > 55
    assert np.median(edited[(far > 0.93) & (far < 0.97)]) > 55
    shown = carried.frame(carried.placed(still(change=change)))
    inner = np.linalg.norm((places(MODEL) - MIDDLE) / [60, 75, 60], axis=-1) < 0.15
    assert shown[inner].min() > 55 / 400


def test_greys_move_borders_inside_the_brain_but_not_its_contour():
    """A dark core that grows is followed; a rim that turns dark as sulci open is not."""
    away = np.linalg.norm(np.indices((32, 36, 30)).T - [16, 18, 15], axis=-1).T
    before = np.select([away > 12, away < 4], [0.0, 0.3], 0.75)
    after = np.select([away > 12, away > 10.5, away < 5], [0.0, 0.25, 0.3], 0.75)
    first, second = (
        torch.from_numpy(gaussian_filter(image, 0.7)).float()[None, None]
        for image in (before, after)
    )
    offsets = refined(torch.zeros(1, 3, 32, 36, 30), first, second, 4, 0.7)
    left = slow_change(first, second, offsets, Space((32, 36, 30), np.diag([4.0, 4, 4, 1])))
    voxel = torch.tensor([2 / 30, 2 / 36, 2 / 32]).reshape(1, 3, 1, 1, 1)
    moved = (offsets / voxel).norm(dim=1)[0].numpy()
    assert moved[abs(away - 4) < 0.5].mean() > 0.6
    assert moved[abs(away - 10) < 0.5].mean() > 0.6
    assert moved[abs(away - 13) < 0.5].mean() < 0.15  # 0.43 if greys moved the contour, too
    made = read_at(first, add_identity(offsets)) + left
    assert (made - first)[0, 0].numpy()[abs(away - 11) < 0.5].mean() < -0.1
