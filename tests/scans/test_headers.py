"""Headers that contradict themselves or the image, archives, and names that promise otherwise."""

import gzip
import json
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from changed_headers import CHANGES, changed
from scipy.spatial.transform import Rotation
from tolerances import QFORM_MM

from stylegan3d.base import SILENT, ScanError, doubts_in
from stylegan3d.cohort.preparation import Job, prepare_volume
from stylegan3d.geometry.space import Space
from stylegan3d.scans import read_scan
from stylegan3d.scans.alignment import align_rigid, header_doubts, load_template
from stylegan3d.scans.headers import contrast_by_name, orientation_doubts
from stylegan3d.scans.intensity import correlation
from stylegan3d.scans.resampling import with_geometry
from stylegan3d.segmentation.scans import OnGrid, prepared_volume
from stylegan3d.storage.places import TEMPLATE, bundled_model_path


def said(path: Path) -> set[str]:
    """Kinds of the doubts that `stylegan3d info` tells."""
    scan = read_scan(path)
    seen = header_doubts(scan, load_template(bundled_model_path() / TEMPLATE))
    return {doubt.kind for doubt in (*scan.doubts, *seen)}


@pytest.fixture(scope="module")
def brain() -> nib.Nifti1Image:
    """The mean brain, which lies and measures as it should."""
    image = nib.load(bundled_model_path() / TEMPLATE)
    data = np.rint(255 * image.get_fdata()).astype(np.uint8)
    made = nib.Nifti1Image(data, image.affine)
    made.header.set_xyzt_units("mm")
    return made


def test_a_sound_header_is_not_in_doubt(brain, tmp_path):
    nib.save(brain, tmp_path / "head.nii")
    assert said(tmp_path / "head.nii") == set()


@pytest.mark.parametrize(
    "content",
    ["version https://git-lfs.github.com/spec/v1\n", "/annex/objects/MD5E-s9--a.nii.gz\n"],
)
def test_what_stands_for_a_file_that_was_not_fetched_is_told(content, tmp_path):
    (tmp_path / "head.nii.gz").write_text(content)
    with pytest.raises(ScanError, match=r"head\.nii\.gz only says where its content is kept"):
        read_scan(tmp_path / "head.nii.gz")


def test_a_brain_that_reaches_the_edge_of_the_field_of_view_is_told(brain, tmp_path):
    nib.save(brain.slicer[:, :, :70], tmp_path / "head.nii")
    assert "field-of-view" in said(tmp_path / "head.nii")


# For a wrong size of one axis the brain is looked for, which takes long.
@pytest.mark.parametrize("draws", [1, pytest.param(2, marks=pytest.mark.soak)])
@pytest.mark.parametrize("kind", [kind for kind in CHANGES if kind != "size of an axis"])
def test_a_changed_header_is_told(brain, kind, draws, tmp_path):
    rng = np.random.default_rng(len(kind))
    for _ in range(draws):
        image = changed(brain, kind, rng)
    nib.save(image, tmp_path / "head.nii")
    assert said(tmp_path / "head.nii") & CHANGES[kind]


def test_a_scan_on_the_grid_of_the_model_that_does_not_lie_as_its_header_says_is_aligned(
    brain, tmp_path
):
    """As any other scan is: what is measured in it as it lies would be wrong."""
    path, target = tmp_path / "head.nii", load_template(bundled_model_path() / TEMPLATE)
    nib.save(nib.Nifti1Image(np.asarray(brain.dataobj)[::-1, ::-1], brain.affine), path)
    placed = OnGrid.of(read_scan(path), target, "auto", SILENT)
    volume, row = prepare_volume(Job(target, "auto", False, 0.0, tmp_path), path)
    assert row["prepared"] == "aligned"
    for doubts in (doubts_in(placed.notes), row["doubts"]):
        (turned,) = (doubt.sentence for doubt in doubts if doubt.kind == "turned")
        assert "which was corrected" in turned
    for made in (placed.volume, volume):
        assert correlation(made, target.template) > 0.97
    described = header_doubts(read_scan(path), target)
    assert "corrected" not in described[0].sentence, "nothing was moved"


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_a_whole_head_on_the_grid_of_the_model_is_not_taken_for_a_brain(brain, kind, tmp_path):
    """It was measured with its skull."""
    data, target = np.asarray(brain.dataobj), load_template(bundled_model_path() / TEMPLATE)
    head = np.where(data > 0, data, 90)
    for name, shown in (("brain", data), ("head", head)):
        scale = 1 if kind is np.uint8 else 1 / 255
        nib.save(
            nib.Nifti1Image((scale * shown).astype(kind), brain.affine), tmp_path / f"{name}.nii"
        )
    assert prepared_volume(read_scan(tmp_path / "brain.nii"), target) is not None
    assert prepared_volume(read_scan(tmp_path / "head.nii"), target) is None


def test_labels_are_no_scan_even_on_the_grid_of_the_model(brain, tmp_path):
    path, target = tmp_path / "labels.nii", load_template(bundled_model_path() / TEMPLATE)
    for count, words in ((4, "a map of 4 labels"), (1, "a mask")):
        data = np.minimum(np.ceil(target.template * 4), count).astype(np.uint8)
        nib.save(nib.Nifti1Image(data, brain.affine), path)
        (told,) = header_doubts(read_scan(path), target)
        assert (told.kind, words in told.sentence) == ("labels", True)
        with pytest.raises(ScanError, match="is a label map or a mask, not a scan"):
            OnGrid.of(read_scan(path), target, "auto", SILENT)


def test_a_scan_in_which_nothing_is_bright_is_told_in_a_sentence(brain, tmp_path):
    path, data = tmp_path / "head.nii", np.asarray(brain.dataobj).astype(np.int16)
    nib.save(nib.Nifti1Image(-data, brain.affine), path)
    with pytest.raises(ScanError, match=r"Nothing in the scan is above 0.* scl_slope"):
        read_scan(path)
    few = np.zeros(data.shape, np.float32)
    few[41, 41:59:2, 41] = np.linspace(30.5, 300, 9)
    nib.save(nib.Nifti1Image(few, brain.affine @ np.diag([0.5, 0.5, 0.5, 1])), path)
    assert said(path) == {"brain"}


@pytest.mark.parametrize(
    ("axis", "size", "pitch", "where"),
    [
        (0, 1.45, 0, "from left to right"),
        (2, 1.45, -20, "from bottom to top"),
        (1, 0.5, 20, "for its length from back to front"),
    ],
)
def test_a_header_that_stretches_the_head_along_an_axis_is_no_turn(brain, axis, size, pitch, where):
    """Not even if the head is tilted, and whatever its likeness to a brain was without that."""
    target = load_template(bundled_model_path() / TEMPLATE)
    sizes, turn = np.ones(4), Rotation.from_euler("x", pitch, degrees=True).as_matrix()
    sizes[axis] = size
    lies = nib.affines.from_matvec(turn) @ np.diag(sizes) @ brain.affine
    rigid, notes = align_rigid(target.template, Space(brain.shape, lies), target)
    assert Rotation.from_matrix(rigid[:3, :3]).magnitude() < np.radians(25), "it stays upright"
    (told,) = doubts_in(notes)
    assert told.kind == "head-size"
    assert where in told.sentence


def test_no_turn_or_size_is_read_into_a_map_that_is_no_head():
    target = load_template(bundled_model_path() / TEMPLATE)
    field = np.where(target.template > 0.2, 1.2 - target.template, 0).astype(np.float32)
    field[:, :, :30] = field[:, :, 70:] = 0
    _, notes = align_rigid(field, target.space, target)
    assert [doubt.kind for doubt in doubts_in(notes)] == ["likeness"]


def kinds(path: Path) -> set[str]:
    return {doubt.kind for doubt in read_scan(path).doubts}


def test_a_rounded_quaternion_is_repaired(brain, tmp_path):
    image = nib.Nifti1Image(np.asanyarray(brain.dataobj), np.eye(4))
    image.set_sform(None, 0)
    image.set_qform(np.diag([-2.0, -2, 2, 1]), 1)
    for part in "bcd":  # longer than 1
        image.header[f"quatern_{part}"] *= 1 + 1e-5
    nib.save(image, tmp_path / "head.nii")
    scan = read_scan(tmp_path / "head.nii")
    np.testing.assert_allclose(scan.affine[:3, :3], np.diag([-2.0, -2, 2]), atol=QFORM_MM)
    assert scan.doubts == []


@pytest.mark.parametrize("degrees", [2.0, 5.0, 6.2, 7.0])
def test_a_small_tilt_beside_half_a_turn_is_kept(brain, degrees, tmp_path):
    tilt = np.eye(4)
    tilt[:3, :3] = Rotation.from_euler("y", degrees, degrees=True).as_matrix()
    affine = tilt @ np.diag([-2.0, 2, 2, 1])
    image = nib.Nifti1Image(np.asanyarray(brain.dataobj), affine)
    image.set_qform(affine, 1)
    image.set_sform(None, 0)
    nib.save(image, tmp_path / "head.nii")
    scan = read_scan(tmp_path / "head.nii")
    np.testing.assert_allclose(scan.affine, affine, atol=QFORM_MM)
    written = with_geometry(scan.data, scan.affine, scan.geometry)
    np.testing.assert_allclose(written.get_qform(), affine, atol=QFORM_MM)


def test_a_file_without_its_flag_of_axes_is_written_as_it_was_read(brain, tmp_path):
    image = nib.MGHImage(np.asanyarray(brain.dataobj).astype(np.float32), brain.affine)
    image.header["goodRASFlag"] = 0
    nib.save(image, tmp_path / "head.mgh")
    scan = read_scan(tmp_path / "head.mgh")
    nib.save(with_geometry(scan.data, scan.affine, scan.geometry), tmp_path / "made.nii")
    np.testing.assert_allclose(read_scan(tmp_path / "made.nii").affine, scan.affine, atol=QFORM_MM)


def test_empty_slices_are_seen_beside_negative_voxels(brain, tmp_path):
    data = np.asanyarray(brain.dataobj).astype(np.float32)
    middle = data.shape[2] // 2
    data[:, :, middle : middle + 3] = 0
    data[0, 0, 0] = -0.5
    nib.save(nib.Nifti1Image(data, brain.affine), tmp_path / "head.nii")
    told = [d for d in read_scan(tmp_path / "head.nii").doubts if d.kind == "slices-missing"]
    assert [doubt.figures for doubt in told] == [{"missing": 3}]


@pytest.mark.parametrize(
    ("name", "contrast"),
    [
        *(
            (name, "")
            for name in (
                "visit1",
                "patient2",
                "subject2_anat",
                "UNIT2",
                "doctor1",
                "T10",
                "a_T1map",
            )
        ),
        *((name, "T1-weighted") for name in ("eT1W", "SAGT1", "3DT1", "sub-01_UNIT1", "t1_mpr")),
        *((name, "T2-weighted") for name in ("AXT2", "patient1-T2", "t2_space", "sub-1_T2w")),
        ("patient1_flair", "FLAIR"),
        ("head_ct", "CT"),
    ],
)
def test_a_contrast_is_a_word_of_its_own(name, contrast):
    assert contrast_by_name(name) == contrast


@pytest.mark.parametrize("name", ["head.nii", "head.nii.gz", "head.mgh", "head.mgz"])
def test_what_is_compressed_is_seen_from_the_content(brain, name, tmp_path):
    packed = not name.endswith(("gz", "mgz"))
    kind = nib.Nifti1Image if "nii" in name else nib.MGHImage
    image = kind(np.asanyarray(brain.dataobj), brain.affine)
    (tmp_path / name).write_bytes(gzip.compress(image.to_bytes()) if packed else image.to_bytes())
    scan = read_scan(tmp_path / name)
    np.testing.assert_array_equal(scan.data, np.asanyarray(brain.dataobj))
    np.testing.assert_allclose(scan.affine, brain.affine)


def test_files_without_orientation_ask_for_left_and_right(brain, tmp_path):
    data = np.asanyarray(brain.dataobj)
    nib.save(nib.AnalyzeImage(data, np.diag([-2.0, 2, 2, 1])), tmp_path / "head.img")
    whole = nib.MGHImage(data, np.diag([-2.0, 2, 2, 1])).to_bytes()
    (tmp_path / "head.mgh").write_bytes(whole[:28] + bytes(2) + whole[30:])
    assert kinds(tmp_path / "head.img") == {"sides"}
    assert kinds(tmp_path / "head.mgh") == {"sides", "voxel-size"}, "nor is its size valid"
    assert read_scan(tmp_path / "head.img").space.axcodes == ("L", "A", "S")
    assert read_scan(tmp_path / "head.mgh").space.axcodes == ("L", "I", "A")
    told = read_scan(tmp_path / "head.mgh", orientation="RAS")
    assert [doubt.kind for doubt in told.doubts] == ["voxel-size"]
    assert "2 mm is not marked valid; 1 mm is assumed" in told.doubts[0].sentence
    assert told.space.axcodes == ("R", "A", "S")


def test_lengths_in_micrometres_are_converted(brain, tmp_path):
    image = nib.Nifti1Image(
        np.asanyarray(brain.dataobj), np.diag([1e3, 1e3, 1e3, 1]) @ brain.affine
    )
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "head.nii")
    scan = read_scan(tmp_path / "head.nii")
    assert scan.doubts == []
    np.testing.assert_allclose(scan.affine, brain.affine)
    np.testing.assert_allclose(scan.geometry["sform"], brain.affine)


def test_archives_are_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "scans.zip", "w") as made:
        made.writestr("a.txt", "a")
    with tarfile.open(tmp_path / "scans.nii.gz", "w:gz") as made:
        made.add(tmp_path / "scans.zip", "a.txt")
    for name in ("scans.zip", "scans.nii.gz"):
        with pytest.raises(ScanError, match=f"{name} is an archive; unpack it"):
            read_scan(tmp_path / name)


def test_a_path_at_which_nothing_is_is_told(tmp_path):
    (tmp_path / "link.nii.gz").symlink_to("gone.nii.gz")
    with pytest.raises(
        ScanError, match=r"link\.nii\.gz is a link to gone\.nii\.gz, which does not"
    ):
        read_scan(tmp_path / "link.nii.gz")
    with pytest.raises(ScanError, match="is an address; download"):
        read_scan("https://example.org/sub-01_T1w.nii.gz")
    for path in ("nothere.nii.gz", "C:\\scans\\nothere.nii"):
        with pytest.raises(ScanError, match=r"nothere\.nii.* does not exist; check the path"):
            read_scan(path)


@pytest.mark.parametrize(
    ("name", "sidecar", "kind"),
    [
        ("BraTS-1_t1c.nii", {}, "contrast-agent"),
        ("sub-01_T1w.nii", {"ContrastBolusAgent": "Gadovist"}, "contrast-agent"),
        ("sub-01_T1w.nii", {"ContrastBolusIngredient": "NONE"}, None),
        ("sub-01_ses-post_T1w.nii", {}, None),
        ("sub-01_part-phase_T1w.nii", {}, "contrast"),
        ("series_T1_ph.nii", {}, "contrast"),
        ("sub-01_part-mag_T1w.nii", {}, None),
    ],
)
def test_agent_and_phase_are_told(brain, tmp_path, name, sidecar, kind):
    nib.save(brain, tmp_path / name)
    (tmp_path / name).with_suffix(".json").write_text(json.dumps(sidecar))
    assert kinds(tmp_path / name) == ({kind} if kind else set())


def test_a_name_in_another_encoding_is_read(brain, tmp_path):
    path = tmp_path / os.fsdecode("M\xfcller_脳_T1w.nii".encode()[:1] + b"\xfcller_T1w.nii")
    nib.save(brain, path)
    assert read_scan(path).path == path


@pytest.mark.parametrize("sign", [-5.0, 5.0, float("nan")])
def test_an_impossible_sign_of_the_third_axis_is_asked_about(brain, tmp_path, sign):
    """NIfTI-1 takes any below 0 for -1; nibabel takes it for 1, and left for right."""
    turned = brain.as_reoriented([[2, 1], [0, 1], [1, -1]])
    turned.set_sform(None, 0)
    turned.set_qform(turned.affine, 1)
    raw = bytearray(turned.to_bytes())
    struct.pack_into("<f", raw, 76, sign)
    (tmp_path / "head.nii").write_bytes(raw)
    scan = read_scan(tmp_path / "head.nii")
    lies = np.allclose(scan.affine, turned.affine, atol=QFORM_MM)
    assert lies == (sign < 0)
    assert "sides" in kinds(tmp_path / "head.nii")
    axes = "".join(nib.aff2axcodes(turned.affine))
    answered = read_scan(tmp_path / "head.nii", orientation=axes)
    assert "sides" not in {doubt.kind for doubt in answered.doubts}, "it was answered"
    (still,) = orientation_doubts(answered.geometry)
    assert still.figures == {"assumed": "".join(nib.aff2axcodes(scan.affine))}, "other answers"
    beside = scan.beside(read_scan(tmp_path / "head.nii", orientation=axes[::-1]))
    assert beside.affine.tolist() != scan.affine.tolist(), "labels of its header follow the answer"


def test_a_shear_is_told_of_every_format_and_whatever_was_chosen(brain, tmp_path):
    shear = np.eye(4)
    shear[0, 1] = np.tan(np.radians(10))
    nib.save(
        nib.MGHImage(brain.get_fdata(dtype=np.float32), shear @ brain.affine), tmp_path / "a.mgz"
    )
    image = nib.Nifti1Image(np.asarray(brain.dataobj), shear @ brain.affine)
    image.set_qform(np.diag([-1, 1, 1, 1]) @ brain.affine, 1)
    nib.save(image, tmp_path / "b.nii")
    for name, orientation, sheared in (
        ("a.mgz", None, True),
        ("b.nii", None, True),
        ("b.nii", "sform", True),
        ("b.nii", "LAS", False),
    ):
        found = read_scan(tmp_path / name, orientation=orientation).doubts
        assert ("shear" in {doubt.kind for doubt in found}) == sheared


def test_an_empty_slice_between_others_is_told_but_not_of_labels(brain, tmp_path):
    data = np.asarray(brain.dataobj).copy()
    data[:, :, 40] = 0
    nib.save(nib.Nifti1Image(data, brain.affine), tmp_path / "head.nii")
    assert "slices-missing" in kinds(tmp_path / "head.nii")
    marked = np.zeros_like(data)
    marked[30:36, 30:36, 20:26] = marked[30:36, 30:36, 50:56] = 1
    nib.save(nib.Nifti1Image(marked, brain.affine), tmp_path / "lesions.nii")
    assert "slices-missing" not in kinds(tmp_path / "lesions.nii")
