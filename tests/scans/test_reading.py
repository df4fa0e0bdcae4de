"""read_scan: what it accepts, what it says, and what it refuses in one sentence."""

import gzip
import re
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tolerances import FLOAT32, LAYERS, SFORM_MM

from stylegan3d.base import ScanError
from stylegan3d.scans import SeveralVolumes, read_scan
from stylegan3d.scans.headers import SIDES, enhanced_by_name

SHAPE = (32, 36, 40)
AFFINE = np.diag([5.0, 5.0, 5.0, 1.0])


def noise(shape=SHAPE, seed=0):
    return np.random.RandomState(seed).uniform(0, 500, shape).astype(np.float32)


def save(path, data, affine=AFFINE, kind=nib.Nifti1Image, **header):
    image = kind(data, affine)
    for key, value in header.items():
        image.header[key] = value
    nib.save(image, path)
    return path


def refusal(path, **options):
    """The one sentence a bad file is refused with."""
    with pytest.raises(ScanError) as caught:
        read_scan(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert message.endswith(".")
    assert len(message) < 400 + len(str(path))
    return message


def rewrite_header(path, **fields):
    """Change header fields of an uncompressed NIfTI-1 file without nibabel's checks."""
    raw = bytearray(Path(path).read_bytes())
    header = nib.Nifti1Header(bytes(raw[:348]), check=False)
    for key, value in fields.items():
        header[key] = value
    raw[:348] = header.binaryblock
    Path(path).write_bytes(bytes(raw))
    return path


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", ">i2", "i4", "f4", ">f4", "f8", "i8"])
def test_data_types(tmp_path, dtype):
    data = (noise() / 5).astype(dtype)
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(data, AFFINE, dtype=np.dtype(dtype)), path)
    scan = read_scan(path)
    assert scan.data.dtype == np.float32
    np.testing.assert_allclose(scan.data, data.astype(np.float32), rtol=FLOAT32)


def test_scaling_of_the_header_is_applied(tmp_path):
    image = nib.Nifti1Image(np.rint(noise()).astype(np.int16), AFFINE)
    image.header.set_slope_inter(0.5, -7)
    nib.save(image, tmp_path / "scan.nii")
    scan = read_scan(tmp_path / "scan.nii")
    np.testing.assert_allclose(scan.data, np.rint(noise()) * 0.5 - 7)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("scan.nii", nib.Nifti1Image),
        ("scan.nii.gz", nib.Nifti2Image),
        ("SCAN.NII.GZ", nib.Nifti1Image),
        ("scan.mgz", nib.MGHImage),
        ("scan.hdr", nib.Nifti1Pair),
    ],
)
def test_formats(tmp_path, name, kind):
    path = save(tmp_path / name, noise(), kind=kind)
    scan = read_scan(path)
    np.testing.assert_allclose(scan.data, noise(), rtol=FLOAT32)
    np.testing.assert_allclose(scan.affine, AFFINE, atol=SFORM_MM)


def test_array_order_is_the_files(tmp_path):
    affine = np.array([[0, 0, 5, 1], [-5, 0, 0, 2], [0, 5, 0, 3], [0, 0, 0, 1.0]])
    scan = read_scan(save(tmp_path / "scan.nii.gz", noise(), affine))
    np.testing.assert_array_equal(scan.data, noise())
    np.testing.assert_array_equal(scan.affine, affine)
    assert any("PSR" in note for note in map(str, scan.notes))


def test_notes_say_what_was_read(tmp_path):
    turn = nib.eulerangles.euler2mat(0, 0, np.radians(20))
    affine = nib.affines.from_matvec(turn @ np.diag([5, 4, 6.0]))
    notes = [*map(str, read_scan(save(tmp_path / "scan.nii.gz", noise(), affine)).notes)]
    assert "32 x 36 x 40 voxels of 5 x 4 x 6 mm, stored as float32." in notes
    assert any(re.search(r"Oblique: up to 20\.0 degrees", note) for note in notes)
    assert any(note.startswith("Slices of 6 mm") for note in notes)


def test_disagreeing_sform_and_qform_are_told_and_the_sform_used(tmp_path):
    image = nib.Nifti1Image(noise(), AFFINE)
    moved = AFFINE.copy()
    moved[0, 3] = 12
    image.set_sform(moved, 1)
    image.set_qform(AFFINE, 1)
    nib.save(image, tmp_path / "a.nii.gz")
    scan = read_scan(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(scan.affine, moved)
    assert any("disagree by up to 12.0 mm" in note for note in map(str, scan.notes))
    image.set_sform(np.diag([-5.0, 5, 5, 1]), 1)
    nib.save(image, tmp_path / "b.nii.gz")
    notes = [*map(str, read_scan(tmp_path / "b.nii.gz").notes)]
    assert any(re.match("Check: .*disagree about left and right", note) for note in notes)
    assert not any("mm; the sform" in note for note in notes)


def test_no_orientation_in_the_header_is_told(tmp_path):
    image = nib.Nifti1Image(noise(), None)
    image.header.set_zooms((5, 5, 5))
    nib.save(image, tmp_path / "scan.nii.gz")
    notes = [*map(str, read_scan(tmp_path / "scan.nii.gz").notes)]
    assert any(re.match("Check: .*does not give the orientation", note) for note in notes)


@pytest.mark.parametrize("quaternion", [0.9, np.nan])
@pytest.mark.parametrize("codes", [(1, 1), (1, 0), (0, 0)])
def test_a_qform_that_cannot_be_decoded_counts_as_absent(tmp_path, quaternion, codes):
    path = save(tmp_path / "scan.nii", noise())
    sform_code, qform_code = codes
    fields = {"quatern_b": quaternion, "quatern_c": 0.9}
    rewrite_header(path, sform_code=sform_code, qform_code=qform_code, **fields)
    scan = read_scan(path)
    assert (scan.geometry["qform"], scan.geometry["qform_code"]) == (None, 0)
    told = any("qform cannot be decoded" in note for note in map(str, scan.notes))
    assert told == (qform_code > 0)
    assert not any("disagree" in note for note in map(str, scan.notes))
    assert any(note.startswith("Check:") for note in map(str, scan.notes)) == (sform_code == 0)


def test_an_orientation_that_cannot_be_decoded_is_refused(tmp_path):
    """There is no other: sides would be a guess."""
    path = save(tmp_path / "scan.nii", noise())
    rewrite_header(path, sform_code=0, qform_code=1, quatern_b=0.9, quatern_c=0.9)
    assert "export it again" in refusal(path)


def test_one_volume_in_four_dimensions_is_a_scan(tmp_path):
    scan = read_scan(save(tmp_path / "scan.nii.gz", noise()[..., None]))
    np.testing.assert_array_equal(scan.data, noise())


def test_series(tmp_path):
    series = np.stack([noise(seed=s) for s in range(3)], axis=-1)
    path = save(tmp_path / "bold.nii.gz", series)
    message = refusal(path)
    assert "3 volumes" in message
    assert "--volume" in message
    np.testing.assert_array_equal(read_scan(path, volume=2).data, noise(seed=2))
    assert "counted from 0 to 2" in refusal(path, volume=3)
    assert "no volume" in refusal(path, volume=-1)


def test_missing_and_folder(tmp_path):
    assert "does not exist" in refusal(tmp_path / "no.nii.gz")
    assert "holds no DICOM images" in refusal(tmp_path)


def test_not_an_image(tmp_path):
    text = tmp_path / "text.nii.gz"
    text.write_text("subject,age\n01,35\n" * 50)
    assert "not a NIfTI image" in refusal(text)
    zipped = tmp_path / "zipped.nii.gz"
    zipped.write_bytes(gzip.compress(b"subject,age\n" * 200))
    assert "not a NIfTI image" in refusal(zipped)
    plain = tmp_path / "plain.nii"
    plain.write_bytes(b"subject,age\n" * 200)
    assert "not a NIfTI image" in refusal(plain)
    assert "not a NIfTI image" in refusal(_written(tmp_path / "short.nii", b"n+1"))
    assert "is empty" in refusal(_written(tmp_path / "empty.nii.gz", b""))
    assert "not a format" in refusal(_written(tmp_path / "scan.png", b"\x89PNG"))
    assert "damaged" in refusal(_written(tmp_path / "bad.mgz", gzip.compress(b"x" * 500)))


def _written(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kept", [40, 400, 20000])
def test_truncated_gzip(tmp_path, kept):
    path = save(tmp_path / "scan.nii.gz", noise())
    path.write_bytes(path.read_bytes()[:kept])
    assert "damaged or cut short" in refusal(path)


def test_corrupt_gzip(tmp_path):
    """One flipped bit in the middle, which only the checksum at the end gives away."""
    path = save(tmp_path / "scan.nii.gz", noise().astype(np.int16))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    assert "damaged" in refusal(_written(path, bytes(raw)))


def test_truncated_plain_file(tmp_path):
    path = save(tmp_path / "scan.nii", noise())
    path.write_bytes(path.read_bytes()[:5000])
    assert "damaged or cut short" in refusal(path)


def test_unreadable(tmp_path, monkeypatch):
    path = save(tmp_path / "scan.nii.gz", noise())

    def denied(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert "permission" in refusal(path)


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 1), (1, 64, 64), (64, 64, 1, 20)])
def test_flat_image(tmp_path, shape):
    assert "2D image" in refusal(save(tmp_path / "flat.nii.gz", noise(shape)))


def test_not_numbers(tmp_path):
    data = noise()
    data[3, 4, 5] = np.nan
    data[6, 7, 8:10] = np.inf
    assert "3 voxels that are not numbers" in refusal(save(tmp_path / "scan.nii.gz", data))


def test_what_is_not_a_number_around_a_brain_is_background(tmp_path):
    data = noise()
    data[:14] = np.nan
    scan = read_scan(save(tmp_path / "scan.nii.gz", data))
    assert not scan.data[:14].any()
    np.testing.assert_array_equal(scan.data[14:], data[14:])
    assert any("treated as background" in str(note) for note in scan.notes)
    data[20, 20, 20] = np.inf
    assert "1 voxels that are not numbers" in refusal(save(tmp_path / "inf.nii.gz", data))
    assert "not numbers" in refusal(save(tmp_path / "nan.nii.gz", np.full(SHAPE, np.nan)))


def test_overflow_of_float32_is_not_a_number(tmp_path):
    data = noise().astype(np.float64)
    data[0, 0, 0] = 1e60
    assert "1 voxels that are not numbers" in refusal(save(tmp_path / "scan.nii.gz", data))


def test_constant(tmp_path):
    path = save(tmp_path / "scan.nii.gz", np.full(SHAPE, 7, np.uint8))
    assert "same value (7)" in refusal(path)


@pytest.mark.parametrize("size", [0.0, -5.0, np.nan])
@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_impossible_voxel_size(tmp_path, size, name):
    path = save(tmp_path / "scan.nii", noise())
    rewrite_header(path, pixdim=[1, 5, size, 5, 0, 0, 0, 0])
    if name.endswith(".gz"):
        path = _written(tmp_path / name, gzip.compress(path.read_bytes()))
    assert "voxel size" in refusal(path)


@pytest.mark.parametrize("row", [[0, 0, 0, 0], [np.nan, 0, 0, 0], [0, 5, 0, 0]])
def test_singular_affine(tmp_path, row):
    path = save(tmp_path / "scan.nii", noise())
    assert "degenerate" in refusal(rewrite_header(path, srow_x=row, sform_code=1))


@pytest.mark.parametrize("dim", [[3, 32000, 32000, 32000], [3, 30000, 200, 200]])
def test_absurd_size_is_refused_before_memory_is_set_aside(tmp_path, dim, monkeypatch):
    path = save(tmp_path / "scan.nii", noise())
    rewrite_header(path, dim=[*dim, 1, 1, 1, 1])
    monkeypatch.setattr("stylegan3d.scans.reading._load", lambda *a: pytest.fail("data was read"))
    assert "claims" in refusal(path)


@pytest.mark.parametrize("dim", [[3, -5, 36, 40], [0, 0, 0, 0], [9, 32, 36, 40]])
def test_impossible_dimensions(tmp_path, dim):
    path = rewrite_header(save(tmp_path / "scan.nii", noise()), dim=[*dim, 1, 1, 1, 1])
    assert "dimensions" in refusal(path) or "not a NIfTI" in refusal(path)


def test_complex_and_colour(tmp_path):
    assert "complex" in refusal(save(tmp_path / "c.nii.gz", noise().astype(np.complex64)))
    rgb = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert "colour" in refusal(save(tmp_path / "rgb.nii.gz", rgb))


def test_sizes_no_head_has(tmp_path):
    assert "only 8 x 36 x 40 voxels" in refusal(save(tmp_path / "a.nii.gz", noise()[:8]))
    small = np.diag([0.5, 0.5, 0.5, 1.0])  # in any unit
    assert "not the size of a head" in refusal(save(tmp_path / "b.nii.gz", noise(), small))


def in_doubt(path, sform_code=1, qform_code=1):
    """A file whose sform and qform are mirror images of each other."""
    image = nib.Nifti1Image(noise(), AFFINE)
    image.set_sform(np.diag([-5.0, 5, 5, 1]), sform_code)
    image.set_qform(AFFINE, qform_code)
    nib.save(image, path)
    return path


def test_doubts_about_left_and_right_can_be_answered(tmp_path):
    path = in_doubt(tmp_path / "scan.nii.gz")
    scan = read_scan(path)
    (doubt,) = scan.doubts
    assert (doubt.kind, doubt.severity, doubt.figures) == (SIDES, "ask", {"assumed": "sform"})
    for form, sign in (("sform", -1), ("qform", 1)):
        answered = read_scan(path, orientation=form)
        assert answered.doubts == []
        assert not any(note.startswith("Check:") for note in map(str, answered.notes))
        assert answered.affine[0, 0] == sign * 5
        assert answered.geometry == scan.geometry  # results go home with the file's own header
    assert read_scan(save(tmp_path / "clear.nii.gz", noise())).doubts == []


@pytest.mark.parametrize("header", ["the same", "sform", "qform", "its own", "none", "clear"])
def test_what_lies_beside_a_scan_in_doubt_turns_with_it(tmp_path, header):
    """An image with the scan's array and one of its geometries stays on the scan's voxels."""
    codes = (0, 0) if header == "none" else (1, 1)
    path = in_doubt(tmp_path / "scan.nii.gz", *codes)
    doubtful, orientation = read_scan(path), "RAS" if header == "none" else "qform"
    told = read_scan(path, orientation=orientation)
    affine = {"sform": np.diag([-5.0, 5, 5, 1]), "qform": AFFINE, "its own": 2 * AFFINE}
    if header in ("the same", "none"):
        image = read_scan(in_doubt(tmp_path / "mask.nii.gz", *codes))
    else:
        own = affine.get(header, np.diag([-5.0, 5, 5, 1]))
        image = read_scan(save(tmp_path / "mask.nii.gz", noise(), own))
    if header == "clear":  # of a scan whose header leaves nothing open
        told = read_scan(save(tmp_path / "clear.nii.gz", noise()))
    turns = header not in ("its own", "clear")
    expected = told if turns else image
    np.testing.assert_array_equal(image.beside(told).affine, expected.affine)
    np.testing.assert_array_equal(image.beside(told.without_voxels()).affine, expected.affine)
    again = image.beside(doubtful).affine
    np.testing.assert_array_equal(again, doubtful.affine if turns else image.affine)
    assert image.beside(told).doubts == ([] if turns else image.doubts)
    smaller = replace(image, data=image.data[:-1])
    assert smaller.beside(told) is smaller


def test_an_answer_about_the_image_itself_stays(tmp_path):
    scan = read_scan(in_doubt(tmp_path / "scan.nii.gz"))
    told = read_scan(in_doubt(tmp_path / "flair.nii.gz"), orientation="qform")
    assert told.beside(scan) is told


def test_axes_can_be_told_where_the_file_does_not(tmp_path):
    path = in_doubt(tmp_path / "scan.nii.gz", 0, 0)
    assert read_scan(path).doubts[0].figures == {"assumed": "LAS"}
    assert "has no sform" in refusal(path, orientation="sform")
    told = read_scan(path, orientation="psr")
    assert told.space.axcodes == ("P", "S", "R")
    np.testing.assert_allclose(told.space.voxel_size, (5, 5, 5))
    assert told.doubts == []
    for words in ("LLS", "LA", "XYZ", "LASR", ""):
        with pytest.raises(ScanError, match="is not an orientation"):
            read_scan(path, orientation=words)


def test_a_choice_of_volumes_can_be_offered(tmp_path):
    path = save(tmp_path / "bold.nii.gz", np.stack([noise(), noise(seed=1)], axis=-1))
    with pytest.raises(SeveralVolumes) as caught:
        read_scan(path)
    assert caught.value.count == 2


@pytest.mark.parametrize(
    ("name", "contrast"),
    [
        ("sub-01_T1w.nii.gz", "T1-weighted"),
        ("MPRAGE.nii.gz", "T1-weighted"),
        ("sub-01_T2w.nii.gz", "T2-weighted"),
        ("t2_flair.nii.gz", "FLAIR"),
        ("head.nii.gz", ""),
    ],
)
def test_intensities_and_contrast_are_said(tmp_path, name, contrast):
    scan = read_scan(save(tmp_path / name, noise()))
    assert scan.contrast == contrast
    assert any(note.startswith("Intensities from ") for note in map(str, scan.notes))
    assert any(note.startswith(f"Contrast: {contrast}") for note in map(str, scan.notes)) == bool(
        contrast
    )


@pytest.mark.parametrize(
    ("name", "enhanced"),
    [
        ("tumour-gd_T1w.nii.gz", True),
        ("t1_postcontrast.nii.gz", True),
        ("t1post.nii.gz", True),
        ("sub-1_ce-none_T1w.nii.gz", False),
        ("sub-gd_T1w.nii.gz", False),
        ("sub-01_ce-gadolinium_T1w.nii.gz", True),
        ("t1_tse +C.nii", True),
        ("t1 post contrast.nii", True),
        ("t1_pre_contrast.nii", False),
        ("T1 without contrast.nii", False),
        ("sub-gd01_T1w.nii.gz", False),
        ("cerebrum_T1w.nii.gz", False),
        ("high-contrast_T1.nii", False),
        ("t1_gadobutrol.nii", True),
        ("T1 Magnevist.nii", True),
    ],
)
def test_a_contrast_agent_is_told_by_the_name(tmp_path, name, enhanced):
    assert enhanced_by_name(name) == enhanced


@pytest.mark.parametrize("value", [-1.25, 700.0])
def test_a_background_that_is_another_constant_counts_as_zero(tmp_path, value):
    data = np.zeros(SHAPE, np.float32)
    data[8:24, 8:28, 8:30] = 10 + np.random.RandomState(0).rand(16, 20, 22)
    scan = read_scan(save(tmp_path / "a.nii.gz", data + np.float32(value)))
    np.testing.assert_allclose(scan.data, data, atol=LAYERS)
    assert not scan.data[0].any()
    assert any(f"The background value of {value:g}" in note for note in map(str, scan.notes))


def test_a_ct_is_told_by_its_numbers(tmp_path):
    data = np.full(SHAPE, -1000, np.int16)
    data[8:24, 8:28, 8:30] = 40
    data[8:10] = 1200
    scan = read_scan(save(tmp_path / "head_T1w.nii.gz", data))
    assert scan.contrast == "CT"
    assert any(note.startswith("Not usable: This looks like a CT") for note in map(str, scan.notes))
