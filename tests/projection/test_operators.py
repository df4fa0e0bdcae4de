"""Forward operators: adjoints, definitions, geometry, and reconstructions that beat the data."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch
from open_sides import scan_and_lesion
from tiny import tiny_generator
from tolerances import DOUBLE, FLOAT32, LAYERS, SUMS

from stylegan3d.base import ScanError, StyleGAN3DError
from stylegan3d.geometry.space import Space
from stylegan3d.projection import project
from stylegan3d.projection.forward import Mask, Masked
from stylegan3d.projection.operators import (
    Contrast,
    Identity,
    ThickSlices,
    harmonic_fill,
    parse,
    restore,
)
from stylegan3d.recipe.model import seed_latents
from stylegan3d.render.renderer import Renderer
from stylegan3d.scans import read_scan
from stylegan3d.scans.aligned import AlignedScan
from stylegan3d.scans.scan import Scan

SHAPE = (12, 14, 13)
AFFINE = np.array([[-2.0, 0, 0, 40], [0, 0, 2.0, -30], [0, 2.0, 0, 10], [0, 0, 0, 1]])  # L-S-A
SPACE = Space(SHAPE, AFFINE)
WORDS = [
    "identity",
    "thick:5mm:S",
    "thick:5mm:A:gaussian",
    "blur:3mm",
    "kspace:3x:A:10%",
    "kspace:2x:R",
]


def tilted_scan(shape=(16, 18, 7), voxel=(2.0, 2.0, 5.0)):
    """An aligned scan with 5 mm slices, tilted against the model's grid."""
    affine = np.diag([*voxel, 1.0])
    affine[:3, 3] = (14, -40, 2)
    turn = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.05, 0.2, -0.1), [1, -3, 2])
    scan = Scan(np.zeros(shape, np.float32), affine, {}, None, "0")
    mask = np.ones(SHAPE, bool)
    return AlignedScan(np.zeros(SHAPE, np.float32), SPACE, turn, 1, mask, 1, [], scan)


MASKED = ["mask+blur:3mm", "mask+thick:5mm:S", "mask+kspace:3x:A:10%"]


def bound(words):
    if words.startswith("mask"):
        mask = np.zeros(SHAPE, bool)
        mask[3:7, 4:9, 5:8] = True
        other = words.removeprefix("mask").removeprefix("+")
        operator = Masked(Mask(mask), parse(other)) if other else Mask(mask)
        return operator.on(SPACE)
    if words == "own slices":
        return ThickSlices(5.0, "S").on(SPACE, tilted_scan())
    return parse(words).on(SPACE)


def image(seed):
    return torch.from_numpy(np.random.RandomState(seed).randn(1, 1, *SHAPE))


@pytest.mark.parametrize("words", [*WORDS, "mask", "own slices", *MASKED])
def test_adjoint(words):
    """<A x, y> = <x, A^T y> for any x and y."""
    operator = bound(words)
    x = image(0)
    made = operator(x)
    y = torch.from_numpy(np.random.RandomState(1).randn(*made.shape))
    left, right = (made * y).sum(), (x * operator.adjoint(y)).sum()
    assert left.item() == pytest.approx(right.item(), rel=DOUBLE)
    assert operator.adjoint(y).shape == x.shape


def test_masked_data_say_nothing_of_the_masked_part():
    """Neither the data nor what is compared changes with what lies in the hole."""
    for words in MASKED[:2]:
        operator = bound(words)
        data = operator(image(0))
        assert torch.equal(
            data[operator.weights == 0], torch.zeros_like(data)[operator.weights == 0]
        )
    slices = bound("mask+thick:5mm:S")
    inside = torch.from_numpy(slices.mask.mask)
    changed = torch.where(inside, image(1), image(0))
    torch.testing.assert_close(slices(changed), slices(image(0)))
    assert 0 < (slices.weights == 0).sum() < slices.weights.numel()
    hidden = slices.fill(image(0), torch.full((1, 1, *SHAPE), 7.0, dtype=torch.float64))
    assert torch.equal(hidden[0, 0] == 7, inside)
    assert not slices.known(np.ones(SHAPE, bool))[inside.numpy()].any()
    told = slices.describe()
    assert (told["Name"], told["Mask"]["MaskedVoxels"]) == ("thick", 60)
    with pytest.raises(StyleGAN3DError, match="one mask"):
        Masked(Mask(inside.numpy()), Mask(inside.numpy()))


def test_adjoint_of_a_contrast_change_is_that_of_its_derivative():
    operator = Contrast().on(SPACE)
    operator.values = torch.tensor([0.2, 0.1, -0.3])
    at = torch.rand(1, 1, *SHAPE, dtype=torch.float64) * 1.6 - 0.75
    x, y = image(0), image(1)
    slope = (operator(at + 1e-5 * x) - operator(at - 1e-5 * x)) / 2e-5
    left, right = (slope * y).sum(), (x * operator.adjoint(y, at)).sum()
    assert left.item() == pytest.approx(right.item(), rel=FLOAT32)
    with pytest.raises(ValueError, match="give the image"):
        operator.adjoint(y)


@pytest.mark.parametrize("words", [w for w in WORDS if w != "identity"] + ["own slices"])
def test_linear_and_constant_images_stay(words):
    operator = bound(words)
    x, y = image(0), image(1)
    torch.testing.assert_close(operator(2 * x - y), 2 * operator(x) - operator(y))
    one = operator(torch.full((1, 1, *SHAPE), -1.0))
    torch.testing.assert_close(one, torch.full_like(one, -1.0))
    assert operator.observe(torch.full((1, 1, *SHAPE), 3.0)).min().item() == pytest.approx(3)


def test_thick_slices_are_means_over_their_depth():
    """A ramp's mean over a slice is its value in the middle; the slices lie 6 mm apart."""
    operator = ThickSlices(6.0, "S").on(SPACE)
    assert operator.slices.shape == (12, 5, 13)  # S is the second array axis here: 14 voxels of 2
    height = AFFINE[2, 1] * np.arange(14) + AFFINE[2, 3]
    ramp = torch.from_numpy(np.broadcast_to(height[None, :, None], SHAPE).copy())[None, None]
    made = operator(ramp)[0, 0, 0, :, 0].numpy()
    middles = operator.slices.affine[2, 1] * np.arange(5) + operator.slices.affine[2, 3]
    np.testing.assert_allclose(made[1:-1], middles[1:-1], atol=SUMS)
    np.testing.assert_allclose(middles.mean(), height.mean())
    spike = torch.zeros(1, 1, *SHAPE)
    spike[..., 7, :] = 1
    # Weights of a slice are sampled at a few points.
    assert operator(spike)[0, 0, 0, :, 0].sum().item() == pytest.approx(1 / 3, abs=0.01)


def test_slices_placed_freely_agree_with_slices_along_the_grid():
    along = ThickSlices(5.0, "S", "gaussian").on(SPACE)
    free = ThickSlices(5.0, "S", "gaussian").on(SPACE)
    free.own_slices = True
    free._points, free._weights = free._taps()
    torch.testing.assert_close(free(image(0)), along(image(0)), atol=SUMS, rtol=SUMS)
    torch.testing.assert_close(
        free.observe(image(0)), along.observe(image(0)), atol=SUMS, rtol=SUMS
    )


def test_a_scans_own_slices_lie_where_they_were_taken():
    """A ramp along the scanner's slice direction, seen by the operator, numbers the slices."""
    aligned = tilted_scan()
    operator = ThickSlices(5.0, "S").on(SPACE, aligned)
    assert operator.own_slices
    assert operator.slices.shape == (16, 18, 7)
    to_scan = np.linalg.inv(aligned.rigid @ aligned.scan.affine) @ SPACE.affine
    number = np.indices(SHAPE).reshape(3, -1).T @ to_scan[2, :3] + to_scan[2, 3]
    made = operator(torch.from_numpy(number.reshape(SHAPE))[None, None])[0, 0].numpy()
    index = np.broadcast_to(np.arange(7.0), made.shape)
    middle = (slice(6, 10), slice(7, 11), slice(3, 5))
    np.testing.assert_allclose(made[middle], index[middle], atol=SUMS)
    assert operator.describe()["PlacedAs"] == "the scan's own slices"
    thin = tilted_scan(voxel=(2.0, 2.0, 1.0))
    assert not ThickSlices(5.0, "S").on(SPACE, thin).own_slices


def test_blur_is_a_gaussian_of_that_width():
    spike = torch.zeros(1, 1, 31, 31, 31, dtype=torch.float64)
    spike[..., 15, 15, 15] = 1
    space = Space((31, 31, 31), np.diag([2.0, 2.0, 2.0, 1.0]))
    made = parse("blur:4mm").on(space)(spike)[0, 0]
    place = 2.0 * (np.arange(31) - 15)
    for axis in range(3):
        profile = made.sum(dim=[a for a in range(3) if a != axis]).numpy()
        assert np.sqrt((profile * place**2).sum() / profile.sum()) == pytest.approx(4, rel=LAYERS)


def test_kspace_keeps_the_lines_it_sampled_and_no_others():
    operator = parse("kspace:3x:A:20%").on(SPACE)  # A is the third array axis
    x = image(0)
    before, after = torch.fft.fft(x, dim=-1), torch.fft.fft(operator(x), dim=-1)
    kept = operator._sampled
    assert 2 <= int(kept.sum()) <= 7
    assert kept[0]
    assert torch.equal(kept[1:], kept[1:].flip(0))
    torch.testing.assert_close(after[..., kept], before[..., kept])
    assert float(after[..., ~kept].abs().max()) < 1e-12
    torch.testing.assert_close(operator(operator(x)), operator(x))


def test_a_mask_of_a_file_is_carried_along_with_the_scan(tmp_path):
    """A ball drawn in a scan's space lies after alignment where the scan's voxels do."""
    turn = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.1, -0.2, 0.15), [4, 8, 2])
    scan_affine = np.array([[0, 0, 1.5, -20], [1.5, 0, 0, -60], [0, 1.5, 0, -10], [0, 0, 0, 1]])
    data = np.zeros((40, 40, 40), np.uint8)
    center = np.array([26, 16, 27])
    away = np.linalg.norm(np.moveaxis(np.indices(data.shape), 0, -1) - center, axis=-1)
    data[away < 4] = 1
    nib.save(nib.Nifti1Image(data, scan_affine), tmp_path / "lesion.nii.gz")
    scan = Scan(np.zeros(data.shape, np.float32), scan_affine, {}, None, "0")
    zeros = np.zeros(SHAPE, np.float32)
    aligned = AlignedScan(zeros, SPACE, turn, 1, zeros > 0, 1, [], scan)
    operator = parse(f"mask:{tmp_path / 'lesion.nii.gz'}").on(SPACE, aligned)
    world = nib.affines.apply_affine(turn @ scan_affine, center)
    expected = nib.affines.apply_affine(np.linalg.inv(AFFINE), world)
    found = np.argwhere(operator.mask).mean(axis=0)
    np.testing.assert_allclose(found, expected, atol=0.1)  # voxels: each by its nearest
    assert operator.describe()["File"] == "lesion.nii.gz"
    np.testing.assert_array_equal(operator.native(aligned), data > 0)
    drawn = Mask(data, scan_affine).on(SPACE, aligned)
    np.testing.assert_array_equal(drawn.mask, operator.mask)
    np.testing.assert_array_equal(drawn.native(aligned), data > 0)
    assert "File" not in drawn.describe()
    back = np.argwhere(Mask(operator.mask).native(aligned)).mean(axis=0)
    # Voxels: there and back, each by its nearest.
    np.testing.assert_allclose(back, center, atol=0.3, err_msg="from the model's grid")
    with pytest.raises(StyleGAN3DError, match="is in the scan's own space"):
        Mask(data, scan_affine).on(SPACE)
    with pytest.raises(StyleGAN3DError, match="align the scan first"):
        Mask(tmp_path / "lesion.nii.gz").on(SPACE)


def test_a_mask_turns_with_a_scan_whose_sides_were_told(tmp_path):
    """Both have the scan's header, whose sform and qform are mirror images of each other."""
    marked = scan_and_lesion(tmp_path)
    zeros = np.zeros(SHAPE, np.float32)
    for orientation in ("sform", "qform"):
        scan = read_scan(tmp_path / "scan.nii.gz", orientation=orientation)
        aligned = AlignedScan(zeros, SPACE, np.eye(4), 1, zeros > 0, 1, [], scan)
        mask = Mask(tmp_path / "lesion.nii.gz")
        np.testing.assert_array_equal(mask.native(aligned), marked)


def test_bad_masks_are_refused_in_words(tmp_path):
    with pytest.raises(ScanError, match="marks nothing"):
        Mask(np.zeros(SHAPE))
    scan = np.random.default_rng(0).integers(0, 900, SHAPE).astype(np.int16)
    with pytest.raises(ScanError, match="the intensities of a scan"):
        Mask(scan)
    for mask in (scan > 450, (scan > 450) * 255, scan / 900):
        assert Mask(mask).describe()
    with pytest.raises(StyleGAN3DError, match="12 x 14 x 13"):
        Mask(np.eye(4)[None] > 0).on(SPACE)
    with pytest.raises(ScanError, match="There is no file"):
        parse(f"mask:{tmp_path / 'none.nii.gz'}")
    outside = np.zeros((5, 5, 5), np.uint8)
    outside[2, 2, 2] = 1
    nib.save(nib.Nifti1Image(outside, np.diag([1, 1, 1, 1.0])), tmp_path / "far.nii.gz")
    far = tilted_scan()
    far.rigid[:3, 3] = 900
    with pytest.raises(ScanError, match="drawn on this scan"):
        Mask(tmp_path / "far.nii.gz").on(SPACE, far)


@pytest.mark.parametrize(
    "text",
    ["", "thick", "thick:0mm", "thick:5mm:X", "blur", "blur:nan", "kspace:4x:Q", "contrast:much",
     "identity:1", "sharpen:2mm"],
)  # fmt: skip
def test_words_that_name_no_operator_are_refused(text):
    with pytest.raises(StyleGAN3DError, match="is not an operator"):
        parse(text)


@pytest.mark.parametrize("text", ["thick:99mm", "blur:80mm", "kspace:90x", "kspace:4x:0%"])
def test_settings_out_of_range_are_refused(text):
    with pytest.raises(StyleGAN3DError, match=r"mm|times"):
        parse(text)


@pytest.mark.parametrize("words", [*WORDS[1:], "mask", "own slices", *MASKED])
def test_restored_agrees_with_the_data_and_keeps_the_rest(words):
    operator = bound(words)
    grid = torch.from_numpy(np.indices(SHAPE).sum(axis=0)).float()
    truth = torch.sin(grid / 3)[None, None]
    data = operator(truth)
    prior = truth + 0.3 * torch.cos(grid / 2)[None, None]
    made = restore(operator, prior, data, faith=1)
    before, after = ((operator(x) - data).square().mean() for x in (prior, made))
    assert after < 0.05 * before
    assert (made - truth).square().mean() < (prior - truth).square().mean()
    torch.testing.assert_close(restore(operator, truth, data, faith=1), truth)
    fainter = restore(operator, (prior + 1) * 0.5 - 1, data, faith=1)
    torch.testing.assert_close(restore(operator, prior, data, faith=0.5), fainter)
    assert torch.equal(restore(Identity(), prior, truth), truth)
    assert torch.equal(restore(Contrast().on(SPACE), prior, truth), prior)


@pytest.mark.parametrize("axis", range(3))
def test_thin_slices_agree_with_the_thick_ones(axis):
    """Against the definition: each thick slice is the mean of the profile over the thin ones."""
    voxel = np.where(np.arange(3) == axis, 5.0, 1.0)
    scan = Space((6, 7, 8), np.diag([*voxel, 1.0]))
    shape = tuple(8 * n for n in scan.shape)
    aligned = SimpleNamespace(scan=SimpleNamespace(space=scan), rigid=np.eye(4))
    operator = ThickSlices(5.0, "RAS"[axis]).on(Space(shape, np.eye(4)), aligned)
    thin = operator.thin(scan)
    assert thin.space.shape[axis] == 5 * scan.shape[axis]
    assert [ThickSlices(mm).share for mm in (2, 3, 4, 5, 9)] == pytest.approx(
        [0, 0, 0.35, 0.7, 0.7]
    )
    np.testing.assert_allclose(thin.space.voxel_size, 1)
    image = np.random.default_rng(0).normal(size=scan.shape).astype(np.float32)
    seen = thin.along(thin.seen, thin.along(thin.between, image))
    plain = thin.along(thin.seen, thin.along(thin.plain, image))
    assert np.abs(seen - image).mean() < 0.2 * np.abs(plain - image).mean()
    means = np.moveaxis(thin.along(thin.between, image), axis, -1)
    means = means.reshape(*means.shape[:-1], -1, 5).mean(axis=-1)
    # Splines keep the means nearly.
    np.testing.assert_allclose(np.moveaxis(means, -1, axis), seen, atol=0.1)
    np.testing.assert_allclose(thin.along(thin.between, np.ones(scan.shape)), 1, atol=SUMS)


def test_harmonic_filling_is_exact_for_what_is_harmonic():
    x, y, z = np.indices(SHAPE).astype(np.float32)
    surface = x * y - 2 * z + x**2 - z**2
    mask = np.zeros(SHAPE, bool)
    mask[3:9, 4:9, 3:10] = True
    mask[5, 5, 5] = False
    hidden = np.where(mask, 99, surface)
    filled = harmonic_fill(hidden, mask)
    # Where the iteration ends, of values up to 264.
    np.testing.assert_allclose(filled, surface, atol=2e-3)
    assert np.array_equal(filled[~mask], hidden[~mask])


@pytest.fixture(scope="module")
def known():
    """A generator, and a volume that it can make."""
    generator = tiny_generator()
    w = seed_latents(generator, [3], truncation=0.4)[0]
    volume = Renderer(generator).render(w).volume
    return SimpleNamespace(
        generator=generator, volume=volume, image=torch.from_numpy(volume)[None, None] * 2 - 1
    )


def mean_error(made, known, where):
    return float(np.square(made - known.volume)[where].mean())


def test_a_hole_is_filled_with_what_belongs_there(known):
    hole = np.zeros(known.generator.shape, bool)
    n = [s // 2 for s in hole.shape]
    hole[n[0] - 5 : n[0] + 5, n[1] - 5 : n[1] + 5, n[2] - 5 : n[2] + 5] = True
    damaged = np.where(hole, 1.0, known.volume).astype(np.float32)
    result = project(known.generator, damaged, space="w", steps=40, operator=Mask(hole))
    blind = project(known.generator, damaged, space="w", steps=40)
    assert mean_error(result.volume, known, hole) < 0.7 * mean_error(blind.volume, known, hole)
    assert mean_error(result.volume, known, hole) < mean_error(
        known.generator.template, known, hole
    )
    assert result.settings["operator"]["MaskedVoxels"] == 1000
    assert {row["level"] for row in result.history} == {-3, -2, -1}
    # Trust is measured where the scan shows the brain.
    assert result.assessment["similarity"]["psnr"] > blind.assessment["similarity"]["psnr"]


def test_thick_slices_are_matched_at_full_resolution_only(known):
    operator = ThickSlices(3 * known.generator.voxel_size[2], "S")
    data = operator.on(known.generator.space)(known.image)
    result = project(known.generator, known.volume, steps=8, operator=operator, data=data)
    assert {row["level"] for row in result.history} == {-1}
    everywhere = np.ones(known.volume.shape, bool)
    start = mean_error(known.generator.template, known, everywhere)
    assert mean_error(result.volume, known, everywhere) < 0.5 * start


def test_a_change_of_contrast_is_found_from_what_brains_look_like(known):
    changed = 0.1 + 0.7 * known.volume**1.4
    changed = np.where(known.volume > 0.1, changed, known.volume).astype(np.float32)
    result = project(known.generator, changed, steps=16, operator=parse("contrast"))
    told = result.settings["operator"]
    assert told["Gain"] < 0.95
    plain = project(known.generator, changed, steps=16)
    everywhere = np.ones(known.volume.shape, bool)
    assert mean_error(result.volume, known, everywhere) < mean_error(
        plain.volume, known, everywhere
    )


@pytest.mark.parametrize("gamma", [True, False])
def test_the_curve_of_a_contrast_is_found_and_undone(known, gamma):
    truth = Contrast(gamma)
    truth.values = torch.tensor([-0.3, 0.1, 0.3 if gamma else 0.0])
    data = truth(known.image)
    found = Contrast(gamma).on(known.generator.space)
    found.adapt(known.image, data)
    torch.testing.assert_close(found.values, truth.values, atol=0.05, rtol=0)  # a fit to one brain
    bright = known.image > -0.7
    undone = found.fill(data, known.image)
    # A fit to one brain.
    torch.testing.assert_close(undone[bright], known.image[bright], atol=0.05, rtol=0)
    hole = np.zeros(known.generator.shape, bool)
    hole[: hole.shape[0] // 2] = True
    damaged = torch.where(torch.from_numpy(hole), torch.tensor(0.9), data)
    beside = Masked(Mask(hole), Contrast(gamma)).on(known.generator.space)
    beside.adapt(known.image, damaged)
    # A fit to half a brain.
    torch.testing.assert_close(beside.operator.values, truth.values, atol=0.3, rtol=0)
    black = torch.full_like(data, -1.0)
    found.adapt(known.image, black)
    # Nothing is fitted to black.
    torch.testing.assert_close(found.values, truth.values, atol=0.05, rtol=0)


def test_a_mask_knows_its_own_volume():
    drawn = np.zeros((5, 5, 5), bool)
    drawn[1:3, 1:4, 2] = True
    assert Mask(drawn, np.diag([2.0, 2.0, 3.0, 1.0])).drawn_ml == pytest.approx(6 * 12 / 1000)
    assert Mask(drawn).drawn_ml is None, "on the model's grid"
