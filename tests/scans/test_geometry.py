"""A phantom goes through read, align, native, save and read, and its landmarks stay in place."""

import itertools
import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation
from tolerances import DOUBLE, QFORM_MM

from stylegan3d.base import ScanError
from stylegan3d.geometry.space import Frame, Space
from stylegan3d.scans import native_image, read_scan

CODES = [
    "".join(letters)
    for axes in itertools.permutations(("RL", "AP", "SI"))
    for letters in itertools.product(*axes)
]
#: One of each order of axes and handedness; every axis either way.
SAMPLE = {"RAS", "LAS", "RSP", "LSP", "ALS", "PRS", "ASL", "PIR", "SRA", "ILP", "SAL", "IPR"}


def there_and_back(image, target, folder):
    """Write, read, align, bring the aligned volume back, write, read."""
    nib.save(image, folder / "scan.nii.gz")
    scan = read_scan(folder / "scan.nii.gz")
    aligned = scan.align(target, skull="keep", bias_correction=False)
    nib.save(aligned.to_native(aligned.volume), folder / "native.nii.gz")
    return scan, aligned, nib.load(folder / "native.nii.gz")


def assert_rigid(matrix):
    np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=DOUBLE)
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1)


@pytest.mark.parametrize(
    "codes",
    [pytest.param(code, marks=() if code in SAMPLE else pytest.mark.soak) for code in CODES],
)
def test_all_48_orientations(codes, phantom, target, tmp_path):
    ras = phantom.image()
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(ras.affine), nib.orientations.axcodes2ornt(codes)
    )
    image = ras.as_reoriented(turn)
    assert "".join(nib.aff2axcodes(image.affine)) == codes
    assert phantom.distances(image).max() < 1
    scan, aligned, native = there_and_back(image, target, tmp_path)

    assert_rigid(aligned.rigid)
    center = [0, -20, 10]
    moved = nib.affines.apply_affine(aligned.rigid, center) - center
    assert np.linalg.norm(moved) < 3
    assert np.degrees(Rotation.from_matrix(aligned.rigid[:3, :3]).magnitude()) < 3
    assert phantom.distances(nib.Nifti1Image(aligned.volume, aligned.space.affine)).max() < 4
    assert native.shape == scan.data.shape
    np.testing.assert_allclose(native.affine, scan.affine, atol=QFORM_MM)
    assert phantom.distances(native).max() < 3
    agreement = np.corrcoef(native.get_fdata().ravel(), scan.data.ravel())[0, 1]
    assert agreement > 0.95


@pytest.mark.parametrize(
    ("angles", "spacing", "shear"),
    [
        ((0, 0, 25), (3, 3, 3), 0),
        ((20, -15, 10), (2, 3, 4), 0),
        ((-35, 10, 30), (2.5, 2.5, 5), 0),
        ((10, 50, -10), (3, 2.5, 3), 0),
        ((5, 5, 5), (3, 3, 3), 0.1),
    ],
)
def test_oblique_anisotropic_and_sheared(angles, spacing, shear, phantom, target, tmp_path):
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    turn = turn @ np.array([[1, shear, 0], [0, 1, 0], [0, 0, 1]])
    shape = tuple(int(n) for n in np.ceil(260 / np.array(spacing)))
    affine = nib.affines.from_matvec(turn @ np.diag(spacing))
    affine[:3, 3] = [0, -20, 10] - affine[:3, :3] @ (np.array(shape) - 1) / 2
    image = phantom.image(Space(shape, affine))
    if shear:  # a qform cannot hold it
        image.set_qform(None)
    scan, aligned, native = there_and_back(image, target, tmp_path)
    assert_rigid(aligned.rigid)
    assert np.degrees(Rotation.from_matrix(aligned.rigid[:3, :3]).magnitude()) < 3
    np.testing.assert_allclose(native.affine, scan.affine, atol=QFORM_MM)
    assert phantom.distances(native).max() < max(spacing)


@pytest.mark.parametrize(
    "angles",
    [
        (180, 0, 0),
        (70, 40, -30),
        pytest.param((0, 0, 120), marks=pytest.mark.soak),
        pytest.param((-90, 0, 90), marks=pytest.mark.soak),
    ],
)
def test_a_head_that_lies_oddly_is_found(angles, phantom, target, tmp_path):
    """The header's world is turned: the brain really lies askew in it, and is turned upright."""
    pose = nib.affines.from_matvec(
        Rotation.from_euler("xyz", angles, degrees=True).as_matrix(), [15, -10, 30]
    )
    image = phantom.image()
    turned = nib.Nifti1Image(image.get_fdata(dtype=np.float32), pose @ image.affine)
    _, aligned, _ = there_and_back(turned, target, tmp_path)
    rest = aligned.rigid @ pose
    assert np.degrees(Rotation.from_matrix(rest[:3, :3]).magnitude()) < 3
    upright = nib.Nifti1Image(aligned.volume, aligned.space.affine)
    assert phantom.distances(upright).max() < 4


def test_true_size_is_kept(phantom, target, tmp_path):
    """A brain 10 % larger stays 10 % larger."""
    volumes = []
    for factor in (1.0, 1.1):
        image = phantom.image()
        affine = np.diag([factor, factor, factor, 1]) @ image.affine
        larger = nib.Nifti1Image(image.get_fdata(dtype=np.float32), affine)
        _, aligned, _ = there_and_back(larger, target, tmp_path)
        volumes.append(np.count_nonzero(aligned.brain_mask))
    assert volumes[1] / volumes[0] == pytest.approx(1.331, rel=0.04)  # voxels at the border of 1.1³


@pytest.mark.parametrize("shows", ["noise", "one brightness"])
def test_a_network_that_shows_no_brain_gets_the_scan_in_the_middle(phantom, tmp_path, shows):
    """Of a network without geometry nothing is sure, not even that it is trained."""
    nib.save(phantom.image(), tmp_path / "scan.nii.gz")
    scan = read_scan(tmp_path / "scan.nii.gz")
    space = Frame("LIA", (8.0, 8.0, 8.0)).space((20, 24, 28))
    noise = np.random.RandomState(0).rand(*space.shape).astype(np.float32)
    template = noise if shows == "noise" else np.full_like(noise, 1.5)
    foreign = SimpleNamespace(space=space, template=template, frame=Frame("LIA", (8.0, 8.0, 8.0)))
    aligned = scan.align(foreign, skull="keep", bias_correction=False)
    assert any(
        "aligned to a standard brain" in s for s in map(str, aligned.steps) if s[:6] == "Check:"
    )
    json.dumps(aligned.describe(), allow_nan=False)
    assert_rigid(aligned.rigid)
    upright = np.degrees(Rotation.from_matrix(aligned.rigid[:3, :3]).magnitude())
    assert upright < 10  # the phantom is posed as the standard brain is
    inside = np.argwhere(aligned.brain_mask).mean(axis=0)
    # Voxels: the centre of a mask.
    np.testing.assert_allclose(inside, (np.array(space.shape) - 1) / 2, atol=1)


@pytest.fixture(scope="module")
def aligned(phantom, target, tmp_path_factory):
    image = phantom.image()
    image.set_sform(image.affine, 1)
    image.set_qform(image.affine, 3)
    return there_and_back(image, target, tmp_path_factory.mktemp("there"))[1]


def test_native_keeps_units_and_codes_and_is_empty_outside_the_brain(aligned, phantom):
    native = aligned.to_native(aligned.volume)
    assert native.get_data_dtype() == np.float32
    assert (int(native.header["sform_code"]), int(native.header["qform_code"])) == (1, 3)
    assert native.header.get_xyzt_units()[0] == "mm"
    assert b"SYNTHETIC" in bytes(native.header["descrip"])
    data, scan = native.get_fdata(), aligned.scan.data
    inside = (scan > 300) & (scan < 700)
    # Interpolated there and back.
    assert np.median(data[inside]) == pytest.approx(np.median(scan[inside]), rel=0.1)
    full = aligned.to_native(np.ones(aligned.space.shape, np.float32)).get_fdata()
    assert set(np.unique(full)) == {0, np.float32(aligned.intensity_scale)}
    brain = np.count_nonzero(full) / np.count_nonzero(scan)
    assert brain == pytest.approx(1, abs=0.1)  # voxels at the border of a coarse grid


def test_the_description_restores_without_the_file(aligned):
    text = json.dumps(aligned.describe())
    assert len(text) < 60_000
    restored = native_image(aligned.volume, aligned.space, json.loads(text))
    expected = aligned.to_native(aligned.volume)
    np.testing.assert_array_equal(restored.get_fdata(), expected.get_fdata())
    assert restored.header == expected.header


def test_a_scan_whose_qform_cannot_be_decoded_comes_back(phantom, target, tmp_path):
    path = tmp_path / "scan.nii"
    image = phantom.image()
    image.set_sform(image.affine, 1)
    nib.save(image, path)
    raw = bytearray(path.read_bytes())
    header = nib.Nifti1Header(bytes(raw[:348]))
    header["qform_code"], header["quatern_b"], header["quatern_c"] = 1, 0.9, 0.9
    raw[:348] = header.binaryblock
    path.write_bytes(bytes(raw))
    aligned = read_scan(path).align(target, skull="keep", bias_correction=False)
    scan = json.loads(json.dumps(aligned.describe(), allow_nan=False))
    native = native_image(aligned.volume, aligned.space, scan)
    np.testing.assert_allclose(native.affine, image.affine)
    assert (int(native.header["sform_code"]), int(native.header["qform_code"])) == (1, 0)
    assert phantom.distances(native).max() < 3


def test_a_side_left_open_is_a_step_to_check(phantom, target, tmp_path):
    image = phantom.image()
    image.set_sform(image.affine, 1)
    image.set_qform(np.diag([-1, 1, 1, 1]) @ image.affine, 1)
    nib.save(image, tmp_path / "scan.nii.gz")
    aligned = read_scan(tmp_path / "scan.nii.gz").align(target, skull="keep", bias_correction=False)
    assert "sides" in {doubt.kind for doubt in aligned.doubts}


def test_the_description_names_no_folder(aligned):
    assert str(aligned.scan.path.parent) not in json.dumps(aligned.describe())


@pytest.mark.parametrize("broken", ["rigid", "brain_mask", "shape", "intensity_scale"])
def test_a_damaged_description_is_refused(aligned, broken):
    scan = aligned.describe()
    with pytest.raises(ScanError, match="incomplete or damaged"):
        native_image(aligned.volume, aligned.space, {k: v for k, v in scan.items() if k != broken})
    with pytest.raises(ScanError, match="incomplete or damaged"):
        native_image(aligned.volume, aligned.space, scan | {broken: "nonsense"})


def test_a_scan_aligned_to_another_place_of_the_model_is_refused(aligned):
    scan = aligned.describe()
    flipped = Space(aligned.space.shape, aligned.space.affine @ np.diag([-1.0, 1.0, 1.0, 1.0]))
    with pytest.raises(ScanError, match="with other axes or another voxel size"):
        native_image(aligned.volume, flipped, scan)
    del scan["model_affine"]  # as files of earlier versions
    native_image(aligned.volume, aligned.space, scan)


def test_a_volume_of_another_grid_is_refused(aligned):
    with pytest.raises(ScanError, match="does not fit"):
        aligned.to_native(aligned.volume[:-1])


def test_simpleitk_sees_the_native_image_where_nibabel_does(aligned, tmp_path):
    native = aligned.to_native(aligned.volume)
    nib.save(native, tmp_path / "native.nii.gz")
    image = sitk.ReadImage(str(tmp_path / "native.nii.gz"))
    for voxel in ((0, 0, 0), (10, 20, 30), (52, 71, 61)):
        lps = np.array(image.TransformIndexToPhysicalPoint(voxel))
        np.testing.assert_allclose(
            lps * [-1, -1, 1], nib.affines.apply_affine(native.affine, voxel), atol=QFORM_MM
        )
        assert image[voxel] == native.get_fdata()[voxel]
