"""DICOM folders: the volume a NIfTI of the same phantom has, series told apart, doubts said."""

import locale
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from pathlib import Path

import dicoms
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless
from scipy.spatial.transform import Rotation
from tolerances import DICOM_MM, LAYERS

from stylegan3d.base import ScanError
from stylegan3d.outputs.projections import output_names
from stylegan3d.scans import (
    SeveralSeries,
    SeveralVolumes,
    dicom,
    list_series,
    read_scan,
)
from stylegan3d.scans.dicom import DicomSearch, NotDecoded, read_series, uid_digest

SHAPE = (26, 24, 20)


def picture(seed=0, shape=SHAPE):
    return np.random.RandomState(seed).randint(0, 900, shape).astype(np.int16)


def grid(angles=(0, 0, 0), spacing=(7.0, 8.0, 9.0), flips=(1, 1, 1)):
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    return nib.affines.from_matvec(turn @ np.diag(spacing) @ np.diag(flips), [-80, 60, -70])


def world_values(data, affine):
    """Intensity at each place, whatever the array's order."""
    places = nib.affines.apply_affine(affine, np.indices(data.shape).reshape(3, -1).T)
    order = np.lexsort(np.round(places, 3).T)
    return np.round(places[order], 3), data.reshape(-1)[order]


@pytest.mark.parametrize(
    ("angles", "flips"),
    [
        ((0, 0, 0), (1, 1, 1)),
        ((0, 0, 0), (-1, -1, 1)),
        ((0, 0, 0), (-1, -1, -1)),
        ((12, -25, 40), (-1, -1, 1)),
        ((90, 0, 90), (1, -1, -1)),
        ((-80, 15, 5), (-1, 1, 1)),
    ],
)
def test_a_series_lies_where_the_nifti_of_it_lies(tmp_path, angles, flips):
    data, affine = picture(), grid(angles, flips=flips)
    dicoms.write_series(tmp_path / "dicom", data, affine)
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "same.nii.gz")
    dicom, nifti = read_scan(tmp_path / "dicom"), read_scan(tmp_path / "same.nii.gz")
    places, values = world_values(dicom.data, dicom.affine)
    expected_places, expected = world_values(nifti.data, nifti.affine)
    # mm: both are rounded to a thousandth.
    np.testing.assert_allclose(places, expected_places, atol=2e-3)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_allclose(dicom.geometry["sform"], dicom.affine, atol=DICOM_MM)


def test_one_file_of_a_series_stands_for_all_of_it(tmp_path):
    folder = dicoms.write_series(tmp_path, picture(), grid())
    dicoms.write_series(tmp_path, picture(1), grid(), uid="1.2.840.99.2", number=4, start=100)
    scan = read_scan(folder / "IM0003")
    assert scan.data.shape == SHAPE
    np.testing.assert_array_equal(np.sort(scan.data, axis=None), np.sort(picture(), axis=None))


def test_intensities_are_rescaled(tmp_path):
    rescale = {(0x0028, 0x1052): ("DS", "-1024"), (0x0028, 0x1053): ("DS", "2")}
    dicoms.write_series(tmp_path, picture(), grid(), extra=rescale)
    assert read_scan(tmp_path).data.sum() == pytest.approx((2.0 * picture() - 1024).sum())


@pytest.mark.parametrize(("agent", "told"), [("Gadovist", True), ("NONE", False), ("", False)])
def test_a_contrast_agent_is_told_by_the_header(tmp_path, agent, told):
    dicoms.write_series(tmp_path, picture(), grid(), extra={(0x0018, 0x0010): ("LO", agent)})
    kinds = {doubt.kind for doubt in read_scan(tmp_path).doubts}
    assert ("contrast-agent" in kinds) == told


@pytest.mark.parametrize(
    ("age", "years", "told"),
    [
        ("045Y", 45, ""),
        ("", None, ""),
        ("045", 45, "45 years are assumed"),
        ("45", 45, "45 years are assumed"),
        ("000Y", None, "'000Y' in the DICOM header is not understood"),
    ],
)
def test_an_age_that_is_not_written_as_usual_is_told(tmp_path, age, years, told):
    dicoms.write_series(tmp_path, picture(), grid(), extra={(0x0010, 0x1010): ("AS", age)})
    scan = read_scan(tmp_path)
    found = [doubt.sentence for doubt in scan.doubts if doubt.kind == "person"]
    assert (scan.person.age, len(found)) == (years, bool(told))
    assert all(told in sentence for sentence in found)


def test_nothing_of_the_patient_is_kept(tmp_path, target):
    folder = dicoms.write_series(tmp_path / dicoms.PATIENT, picture(), grid())
    scan = read_scan(folder)
    told = repr((scan.path.name, scan.notes, scan.geometry, scan.sha256, scan.contrast))
    for private in ("DOE", "JANE", "1970", "Elsewhere", "mprage"):
        assert private not in told
    again = read_scan(shutil.copytree(folder, tmp_path / "other"))
    assert again.path.name == scan.path.name  # the same image, the same names of results


def test_what_was_read_is_said(tmp_path):
    dicoms.write_series(tmp_path, picture(), grid((0, 0, 20)))
    notes = [*map(str, read_scan(tmp_path).notes)]
    assert "DICOM series 3: MR, 26 x 24 x 20 voxels of 7 x 8 x 9 mm, RAS." in notes
    assert any("Oblique: up to 20.0 degrees" in note for note in notes)
    assert any(note.startswith("Intensities from 0 to 899") for note in notes)
    assert "Contrast: T1-weighted, according to its name or timing." in notes


def test_timing_tells_the_contrast_where_the_name_does_not(tmp_path):
    for name, echo, inversion, contrast, suffix in (
        ("a", 3.0, 900.0, "T1-weighted", "T1w"),
        ("b", 100.0, 0.0, "T2-weighted", "T2w"),
        ("c", 120.0, 2500.0, "FLAIR", "FLAIR"),
        ("d", 40.0, 0.0, "", "T1w"),
        ("pd", 12.0, 0.0, "", "T1w"),
        ("slow", 12.0, 0.0, "", "T1w"),
    ):
        timing = {(0x0018, 0x0081): ("DS", echo), (0x0018, 0x0082): ("DS", inversion)}
        timing[0x0018, 0x0080] = ("DS", 5000.0 if name == "slow" else 8.0)
        folder = dicoms.write_series(
            tmp_path / name,
            picture(),
            grid(),
            description="pd head" if name == "pd" else "head",
            extra=timing,
        )
        scan = read_scan(folder)
        assert scan.contrast == contrast
        results = output_names(scan.path, tmp_path)
        assert re.fullmatch(
            rf"series-0003-[0-9a-f]{{8}}_desc-residual_{suffix}.nii.gz", results["residual"].name
        )
        assert re.fullmatch(
            r"series-0003-[0-9a-f]{8}_desc-projected_T1w.nii.gz", results["native"].name
        ), "a model's brain is T1-weighted"


@pytest.fixture
def examination(tmp_path):
    """A folder as a scanner's archive hands it out."""
    dicoms.write_series(tmp_path / "A" / "1", picture(shape=(26, 24, 3)), grid(), description="loc")
    dicoms.write_series(
        tmp_path / "A" / "2", picture(1), grid(), uid="1.2.840.99.2", number=2, description="Sag T1"
    )
    dicoms.write_series(
        tmp_path / "B", picture(2), grid(), uid="1.2.840.99.3", number=5, description="Ax T2 TSE"
    )
    dicoms.write_series(
        tmp_path / "B", picture(3), grid(), uid="1.2.840.99.4", number=502, start=100,
        description="T1 MPR", image_type="DERIVED\\SECONDARY\\MPR",
    )  # fmt: skip
    capture = dicoms.common("1.2.840.99.5", 1, "Screen", 99) | dicoms.pixels(picture()[..., 0])
    capture[0x0008, 0x0016] = ("UI", dicoms.CAPTURE)
    dicoms.write(tmp_path / "shot.dcm", capture)
    report = dicoms.common("1.2.840.99.6", 1, "Report", 100)
    report[0x0008, 0x0016] = ("UI", dicoms.REPORT)
    dicoms.write(tmp_path / "report.dcm", report)
    (tmp_path / "README.txt").write_text("St. Elsewhere\n" * 40)
    return tmp_path


def test_series_are_listed_and_told_apart(examination):
    found = list_series(examination)
    assert [(s.number, s.kind, s.usable) for s in found] == [
        (2, "volume", True),
        (5, "volume", True),
        (502, "derived", True),
        (3, "localiser", False),
        (99, "secondary capture", False),
    ]
    first = found[0]
    assert (first.description, first.modality, first.shape) == ("Sag T1", "MR", SHAPE)
    assert first.spacing == pytest.approx((7, 8, 9))
    assert (first.axes, first.volumes) == ("RAS", 1)


def test_several_series_ask_for_a_choice(examination):
    with pytest.raises(SeveralSeries, match="--series N") as caught:
        read_scan(examination)
    message = str(caught.value)
    assert "2: Sag T1 (MR, 26 x 24 x 20 voxels" in message
    assert "\n" not in message
    assert len(caught.value.series) == 5


@pytest.mark.parametrize("choice", [2, "2", "1.2.840.99.2", "sag t1", "sag"])
def test_a_series_is_chosen_by_number_uid_or_description(examination, choice):
    scan = read_scan(examination, series=choice)
    np.testing.assert_array_equal(np.sort(scan.data, None), np.sort(picture(1), None))


def test_choices_that_cannot_be_had(examination):
    with pytest.raises(SeveralSeries, match="no series 7; it holds 2: Sag T1"):
        read_scan(examination, series=7)
    with pytest.raises(SeveralSeries, match="do not give the positions of the slices"):
        read_scan(examination, series=99)
    with pytest.raises(SeveralSeries, match="only 3 slices"):
        read_scan(examination, series="loc")
    assert any(
        "marked as derived" in note for note in map(str, read_scan(examination, series=502).notes)
    )


def test_the_only_volume_is_taken_and_the_rest_named(examination):
    shutil.rmtree(examination / "B")
    notes = [*map(str, read_scan(examination).notes)]
    told = "Ignored 2 other series (1 localiser, 1 secondary capture)."
    assert told in notes


@pytest.mark.parametrize(("signed", "least"), [(1, 0), (0, 0), (0, 40_000)])
def test_missing_slices_are_filled_in_and_said(tmp_path, signed, least):
    data = np.broadcast_to(np.arange(20, dtype=np.uint16) * 10 + least, SHAPE).copy()
    data[0] = picture()[0] // 90  # contrast in plane
    keep = [k for k in range(20) if k not in (6, 13)]
    kind = {(0x0028, 0x0103): ("US", signed)}
    dicoms.write_series(tmp_path, data, grid(spacing=(7, 8, 5)), keep=keep, extra=kind)
    scan = read_scan(tmp_path)
    assert any(
        note.startswith("Check: 2 slices are missing of 20") for note in map(str, scan.notes)
    )
    np.testing.assert_allclose(scan.affine, grid(spacing=(7, 8, 5)), atol=DICOM_MM)
    np.testing.assert_allclose(scan.data[1:], data[1:], atol=LAYERS)


def test_a_large_gap_is_refused(tmp_path):
    keep = [k for k in range(20) if k not in (6, 7, 8)]
    dicoms.write_series(tmp_path, picture(), grid(), keep=keep)
    with pytest.raises(ScanError, match=r"gap of 36\.0 mm between slices of 9 mm"):
        read_scan(tmp_path)


def test_uneven_slices_are_interpolated_and_said(tmp_path):
    data = np.zeros(SHAPE, np.int16)
    data[:] = np.arange(20) ** 2
    for k in range(20):  # slices further and further apart
        affine = grid(spacing=(7, 8, 4.0 + 0.1 * k))
        dicoms.write_series(tmp_path, data[..., [k]], _at(affine, k), start=k)
    scan = read_scan(tmp_path)
    assert any("slices are 4.1 to 7.7 mm apart" in note for note in map(str, scan.notes))
    assert not any("more images" in note for note in map(str, scan.notes)), "none is lost"
    depth = 4.0 * np.arange(20) + 0.1 * np.arange(20) ** 2
    step = nib.affines.voxel_sizes(scan.affine)[2]
    expected = np.interp(np.arange(scan.data.shape[2]) * step, depth, data[0, 0])
    # Of numbers up to 361: positions are texts.
    np.testing.assert_allclose(scan.data[3, 4], expected, atol=1e-3)


def _at(affine, k):
    """The grid of which slice 0 is slice k of `affine`."""
    return affine @ nib.affines.from_matvec(np.eye(3), [0, 0, k])


def test_a_tilted_gantry_keeps_each_slice_where_it_was(tmp_path):
    affine = grid()
    affine[:3, 2] += [0, 9 * np.tan(np.radians(15)), 0]
    dicoms.write_series(tmp_path, picture(), affine)
    scan = read_scan(tmp_path)
    np.testing.assert_allclose(scan.affine, affine, atol=DICOM_MM)
    assert any("gantry was tilted by 15.0 degrees" in note for note in map(str, scan.notes))
    assert (scan.geometry["qform"], scan.geometry["qform_code"]) == (None, 0)


def test_mixed_orientations_are_a_localiser(tmp_path):
    for place, angles in enumerate([(0, 0, 0), (90, 0, 0), (0, 90, 0)]):
        dicoms.write_series(
            tmp_path, picture(shape=(26, 24, 5)), grid(angles), description="head", start=50 * place
        )
    found = list_series(tmp_path)
    assert [s.kind for s in found] == ["localiser"] * 3
    assert found[1].uid == "1.2.840.99.1#2"
    with pytest.raises(ScanError, match="several orientations"):
        read_scan(tmp_path)


def test_orientations_that_differ_in_the_last_digits_are_one(tmp_path):
    draw = np.random.RandomState(0)
    for k in range(20):
        affine = grid((np.degrees(np.arcsin(0.5005)), 0, 0))  # in the middle of two roundings
        affine[:3, :2] += draw.uniform(-2e-4, 2e-4, (3, 2))
        dicoms.write_series(tmp_path, picture(k)[..., [0]], _at(affine, k), start=k)
    assert read_scan(tmp_path).data.shape == SHAPE


def test_descriptions_in_any_character_set(tmp_path):
    for number, (words, codec, called) in enumerate(
        (("T1 tête ", "latin-1", ""), ("頭部 T1", "iso2022_jp", "\\ISO 2022 IR 87"))
    ):
        extra = {(0x0008, 0x103E): ("LO", words.encode(codec)), (0x0008, 0x0005): ("CS", called)}
        dicoms.write_series(tmp_path / str(number), picture(), grid(), extra=extra)
        assert list_series(tmp_path / str(number))[0].description == words.strip()


def test_slices_off_one_line_are_refused(tmp_path):
    affine = grid()
    dicoms.write_series(tmp_path, picture(), affine, keep=range(10))
    moved = affine.copy()
    moved[0, 3] += 15
    dicoms.write_series(tmp_path, picture(), moved, keep=range(10, 20), start=10)
    with pytest.raises(ScanError, match="off one line"):
        read_scan(tmp_path)


def test_time_points_ask_for_a_choice(tmp_path):
    for point in range(3):
        extra = {(0x0020, 0x0100): ("IS", point + 1)}
        dicoms.write_series(tmp_path, picture(point), grid(), start=100 * point, extra=extra)
    assert list_series(tmp_path)[0].volumes == 3
    with pytest.raises(SeveralVolumes, match="series of 3 volumes") as caught:
        read_scan(tmp_path)
    assert caught.value.count == 3
    np.testing.assert_array_equal(read_scan(tmp_path, volume=1).data, picture(1))
    (tmp_path / "IM0200").unlink()
    with pytest.raises(ScanError, match="part of a volume is missing"):
        read_scan(tmp_path, volume=1)


def test_multi_frame_files(tmp_path):
    affine = grid((10, 20, 30))
    scan = read_scan(dicoms.write_enhanced(tmp_path / "a.dcm", picture(), affine))
    np.testing.assert_allclose(scan.affine, affine, atol=DICOM_MM)
    np.testing.assert_array_equal(scan.data, picture())
    shuffled = np.random.RandomState(0).permutation(20)
    path = dicoms.write_enhanced(tmp_path / "b.dcm", picture()[..., shuffled], affine, shuffled)
    np.testing.assert_array_equal(read_scan(path).data, picture())
    two = np.concatenate([picture(1), picture(2)], axis=2)
    path = dicoms.write_enhanced(tmp_path / "c.dcm", two, affine, [*range(20)] * 2)
    with pytest.raises(SeveralVolumes):
        read_scan(path)
    np.testing.assert_array_equal(read_scan(path, volume=1).data, picture(2))


def test_copies_and_files_without_a_preamble(tmp_path):
    folder = dicoms.write_series(tmp_path, picture(), grid())
    shutil.copytree(folder, tmp_path / "copy")
    assert list_series(tmp_path)[0].volumes == 1
    for file in folder.glob("IM*"):
        file.write_bytes(file.read_bytes()[132:])
    shutil.rmtree(tmp_path / "copy")
    np.testing.assert_array_equal(read_scan(tmp_path).data, picture())


def frames_of_a_field_map(path):
    """Magnitude and hertz in one file, with slopes of their own, as Philips writes them."""
    data = np.concatenate([picture(1), picture(2)], axis=2)
    dicoms.write_enhanced(path, data, grid((10, 20, 30)), [*range(20)] * 2)
    ds = pydicom.dcmread(path)
    for number, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
        second = number >= 20
        kind, echo, values = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
        kind.FrameType = ["ORIGINAL", "PRIMARY", "T1", "FIELD_MAP" if second else "M"]
        echo.EffectiveEchoTime = 0.0 if second else 1.52
        values.RescaleSlope, values.RescaleIntercept = 1 + number / 10, -5 * second
        groups.MRImageFrameTypeSequence, groups.MREchoSequence = [kind], [echo]
        groups.PixelValueTransformationSequence = [values]
    elsewhere = pydicom.Dataset()
    elsewhere.ImagePositionPatient = [1, 2, 3]
    ds.ReferencedImageSequence = [elsewhere]
    ds.save_as(path)
    return path


def test_magnitude_and_field_map_of_one_file_are_told_apart(tmp_path):
    path = frames_of_a_field_map(tmp_path / "a.dcm")
    found = list_series(path)
    assert [(s.kind, s.part) for s in found] == [
        ("volume", "echo 1.52 ms M"),
        ("phase", "FIELD_MAP"),
    ]
    scan = read_scan(path)
    np.testing.assert_allclose(scan.affine, grid((10, 20, 30)), atol=DICOM_MM)
    slopes = 1 + np.arange(40) / 10
    # Slopes are text of at most 16 characters, the scan float32.
    np.testing.assert_allclose(scan.data, picture(1) * slopes[:20], rtol=1e-6)
    other = read_scan(path, series=found[1].key)
    # As above.
    np.testing.assert_allclose(other.data, picture(2) * slopes[20:] - 5, rtol=1e-6)
    assert any("marked as phase" in note for note in map(str, other.notes))


@pytest.mark.parametrize(
    ("apart", "parts"),
    [
        ({(0x0018, 0x0081): ("DS", 7.5)}, ["echo 2.5 ms", "echo 7.5 ms"]),
        (
            {(0x0008, 0x0008): ("CS", "ORIGINAL\\PRIMARY\\M\\ND\\MEAN")},
            ["", "MEAN"],
        ),
        ({(0x0010, 0x0010): ("PN", "ROE^RICHARD")}, ["patient 1 of 2", "patient 2 of 2"]),
    ],
)
def test_volumes_under_one_uid_are_never_mixed(tmp_path, apart, parts):
    first = {
        (0x0018, 0x0081): ("DS", 2.5),
        (0x0008, 0x0008): ("CS", "ORIGINAL\\PRIMARY\\M\\ND"),
    }
    dicoms.write_series(tmp_path, picture(1), grid(), extra=first)
    # In the same order as the first, under other names.
    dicoms.write_series(tmp_path / "b", picture(2), grid(), extra=first | apart, start=100)
    found = list_series(tmp_path)
    assert sorted(s.part for s in found) == parts
    with pytest.raises(SeveralSeries, match=found[1].key) as caught:
        read_scan(tmp_path, series=3)
    read = [read_scan(tmp_path, series=one.key) for one in caught.value.series]
    assert sorted(scan.data.sum() for scan in read) == sorted(
        picture(seed).sum() for seed in (1, 2)
    )
    asked = [(doubt.kind, doubt.severity) for doubt in read[0].doubts]
    assert asked == [("patients", "ask")] * ("patient 1 of 2" in parts)
    assert not re.search("DOE|ROE", " ".join(map(str, [*read[0].notes, *found])))


def test_parts_of_a_complex_image_are_told_apart(tmp_path):
    both = np.concatenate([picture(1), picture(2)], axis=2)
    places, count = [*range(20)] * 2, 20
    parts = ["MAGNITUDE"] * count + ["PHASE"] * count
    dicoms.write_enhanced(tmp_path / "IM1", both, grid(), places, parts=parts)
    magnitude, phase = (read_scan(tmp_path, series=one.key) for one in list_series(tmp_path))
    assert magnitude.data.sum() == picture(1).sum()
    assert not magnitude.doubts
    assert ("contrast", "refuse") in [(doubt.kind, doubt.severity) for doubt in phase.doubts]


def test_slices_of_one_place_with_other_flip_angles_are_in_doubt(tmp_path):
    for seed in (1, 2):
        flip = {(0x0018, 0x1314): ("DS", 4 * seed)}
        dicoms.write_series(tmp_path, picture(seed), grid(), start=20 * seed, extra=flip)
    mixed = dicoms.write_series(
        tmp_path / "b", picture(), grid(), keep=range(9), extra={(0x0018, 0x1314): ("DS", 4)}
    )
    rest = {"keep": range(9, 20), "start": 20, "extra": {(0x0018, 0x1314): ("DS", 18)}}
    dicoms.write_series(mixed, picture(), grid(), **rest)
    told = [d.figures["differ"] for d in read_scan(mixed).doubts if d.kind == "mixed-slices"]
    assert told == [["FlipAngle"]]


@pytest.mark.parametrize("kept", [17, 19])
def test_slices_of_another_kind_where_there_are_no_others_are_told(tmp_path, kept):
    folder = dicoms.write_series(tmp_path, picture(), grid(), keep=range(kept))
    other = {(0x0008, 0x0008): ("CS", "ORIGINAL\\PRIMARY\\M\\ND\\NORM")}
    dicoms.write_series(folder, picture(), grid(), keep=range(kept, 20), start=20, extra=other)
    scan = read_scan(folder, series=max(list_series(folder), key=lambda one: one.shape[2]).key)
    told = [doubt.figures["missing"] for doubt in scan.doubts if doubt.kind == "slices-missing"]
    assert told == [20 - kept]


def test_other_modalities_are_refused_whatever_they_are_called(tmp_path):
    folder = dicoms.write_series(
        tmp_path, picture(), grid(), description="HEAD T1", extra={(0x0008, 0x0060): ("CS", "PT")}
    )
    scan = read_scan(folder)
    assert scan.contrast == "PT"
    assert ("contrast", "refuse") in [(doubt.kind, doubt.severity) for doubt in scan.doubts]


def test_an_empty_file_of_another_kind_is_no_lost_slice(tmp_path):
    folder = dicoms.write_series(tmp_path, picture(), grid())
    (folder / "export.log").touch()
    assert not read_scan(folder).doubts
    (folder / "IM0099").touch()
    assert [doubt.kind for doubt in read_scan(folder).doubts] == ["files-lost"]


def test_every_third_slice_that_is_lost_is_asked_about(tmp_path):
    data, keep = np.tile(picture(), (1, 1, 4)), [k for k in range(80) if k % 3]
    affine = grid(spacing=(7, 8, 2))
    (told,) = read_scan(dicoms.write_series(tmp_path, data, affine, keep=keep)).doubts
    assert (told.kind, told.severity) == ("slices-uneven", "ask")


def test_slices_of_two_images_that_lie_as_one_are_in_doubt(tmp_path):
    times = {(0x0018, 0x0080): ("DS", 2300), (0x0018, 0x0082): ("DS", 900)}
    agent = {(0x0018, 0x0010): ("LO", "Gadovist")}
    for name, more in (("a", {}), ("b", {(0x0018, 0x0082): ("DS", 1100)} | agent)):
        dicoms.write_series(tmp_path / name / "1", picture(), grid(), keep=range(9), extra=times)
        rest = {"keep": range(9, 20), "start": 50, "extra": times | more}
        dicoms.write_series(tmp_path / name / "2", picture(), grid(), **rest)
    assert not read_scan(tmp_path / "a").doubts
    (told, *_) = (doubt for doubt in read_scan(tmp_path / "b").doubts if doubt.severity == "ask")
    assert (told.kind, told.figures["differ"]) == (
        "mixed-slices",
        ["InversionTime", "ContrastBolusAgent"],
    )


def test_images_that_nothing_tells_apart_are_refused(tmp_path):
    same = {(0x0020, 0x0013): ("IS", 1)}
    for start in (0, 100):
        dicoms.write_series(tmp_path, picture(start), grid(), extra=same, start=start)
    with pytest.raises(ScanError, match="nothing distinguishes its 2 images of each position"):
        read_scan(tmp_path, volume=0)


def test_the_same_number_and_words_are_chosen_by_a_short_hash(tmp_path):
    for seed in (1, 2):
        dicoms.write_series(tmp_path / str(seed), picture(seed), grid(), uid=f"1.2.840.99.{seed}")
    with pytest.raises(SeveralSeries, match=r"uid-[0-9a-f]{6}") as caught:
        read_scan(tmp_path, series=3)
    for one in caught.value.series:
        assert one.key in str(one)
        seed = int(one.uid[-1])
        assert read_scan(tmp_path, series=one.key).data.sum() == picture(seed).sum()
        assert read_scan(tmp_path, series=uid_digest(one.uid)).data.sum() == picture(seed).sum()


def test_files_that_are_lost_are_counted_and_said(tmp_path):
    folder = dicoms.write_series(tmp_path, picture(), grid(), keep=range(18))
    whole = dicoms.write_series(tmp_path / "more", picture(), grid(), start=50)
    ends = sorted(whole.iterdir(), key=lambda file: pydicom.dcmread(file).InstanceNumber)[-2:]
    (folder / "IM1").write_bytes(ends[0].read_bytes()[:-500])
    (folder / "IM2").write_bytes(b"")
    (folder / "notes.txt").write_text("none")
    shutil.rmtree(whole)
    shutil.copy(folder / "IM0003", folder / "copy")
    scan = read_scan(folder)
    told = "Files read: 18 (left out: 1 copies, 1 cut short, 1 empty, 1 not DICOM)."
    assert told in scan.notes
    (doubt,) = scan.doubts
    assert (doubt.kind, doubt.severity) == ("files-lost", "ask")
    assert doubt.figures == {"cut short": 1, "empty": 1}


@pytest.mark.parametrize(("first", "start", "missing"), [(0, 0, 0), (3, 0, 3), (0, 40, 0)])
def test_images_before_the_first_are_missed_by_its_number(tmp_path, first, start, missing):
    """Far from 1 they are numbered on from another series."""
    folder = dicoms.write_series(tmp_path, picture(), grid(), keep=range(first, 20), start=start)
    doubts = [doubt for doubt in read_scan(folder).doubts if doubt.kind == "slices-missing"]
    told = [(doubt.severity, doubt.figures["missing"]) for doubt in doubts]
    assert told == [("ask", missing)] * (missing > 0)


@pytest.mark.parametrize(
    ("name", "content", "lost"),
    [
        ("IM0019", bytes(9000), 1),
        ("IM0019", b"<html>not found</html>", 1),
        ("IM0019.part", b"abc", 1),
        ("IM0019.jpg", b"abc", 0),
        ("notes.txt", b"abc", 0),
        ("DICOMDIR", None, 0),
    ],
)
def test_what_is_named_like_a_slice_and_is_none_is_lost(tmp_path, name, content, lost):
    folder = dicoms.write_series(tmp_path, picture(), grid(), keep=range(19))
    if content is None:
        content = Path(get_testdata_file(name)).read_bytes()
    (folder / name).write_bytes(content)
    kinds = [doubt.kind for doubt in read_scan(folder).doubts]
    assert kinds == ["files-lost"] * lost


def test_one_spelling_of_a_name_is_as_good_as_another(tmp_path):
    for spelling, part in (("DOE^JANE", slice(0, 20, 2)), ("Doe^Jane ", slice(1, 20, 2))):
        name = {(0x0010, 0x0010): ("PN", spelling)}
        keep = range(20)[part]
        folder = dicoms.write_series(
            tmp_path / "all", picture(), grid(), keep=keep, extra=name, start=part.start
        )
        for file in folder.iterdir():
            file.rename(folder / f"{spelling.strip()[:2]}{file.name}")
    scan = read_scan(tmp_path / "all")
    assert scan.space.shape[2] == 20


@pytest.mark.parametrize("name", ["more.zip", "slice.dcm.gz"])
def test_an_archive_in_a_folder_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    with pytest.raises(ScanError, match="left out: 1 still packed in an archive"):
        read_scan(tmp_path)


def csa(slices):
    """A header of Siemens with what takes a mosaic apart."""
    made = b"SV10\4\3\2\1" + struct.pack("<II", 2, 77)
    values = {"NumberOfImagesInMosaic": [str(slices)], "SliceNormalVector": ["0", "0", "1"]}
    for name, texts in values.items():
        made += name.encode().ljust(64, b"\0") + struct.pack("<I", len(texts)) + b"IS\0\0"
        made += struct.pack("<III", 6, 6, 77)
        for text in [*texts, *[""] * (6 - len(texts))]:
            made += struct.pack("<IIII", len(text), len(text), 77, len(text))
            made += text.encode() + b"\0" * (-len(text) % 4)
    return made


def test_a_mosaic_is_taken_apart(tmp_path):
    data, affine = picture(shape=(32, 32, 16)), grid(spacing=(4, 4, 5), flips=(-1, -1, 1))
    spacing, turn, place = dicoms.layout(affine)
    kind = "ORIGINAL\\PRIMARY\\M\\MOSAIC"
    for time_point in range(2):
        tiles = np.concatenate(
            [np.concatenate([data[..., 4 * r + c] for c in range(4)], axis=0) for r in range(4)],
            axis=1,
        )
        elements = dicoms.common("1.2.840.99.1", time_point + 1, image_type=kind)
        elements |= dicoms.pixels((tiles + time_point).astype(np.int16)) | {
            # The place of a slice as large as the mosaic, around the same middle.
            (0x0020, 0x0032): ("DS", list(np.array(place(0)) - 1.5 * 32 * 4 * np.array([1, 1, 0]))),
            (0x0020, 0x0037): ("DS", turn),
            (0x0028, 0x0030): ("DS", spacing),
            (0x0008, 0x0070): ("LO", "SIEMENS"),
            (0x0018, 0x0050): ("DS", 5.0),
            (0x0018, 0x0088): ("DS", 5.0),
            (0x0019, 0x0010): ("LO", "SIEMENS MR HEADER"),
            (0x0019, 0x100A): ("US", 16),
            (0x0029, 0x0010): ("LO", "SIEMENS CSA HEADER"),
            (0x0029, 0x1010): ("OB", csa(16)),
        }
        dicoms.write(tmp_path / f"{time_point}.dcm", elements)
    (series,) = list_series(tmp_path)
    assert (series.shape, series.volumes) == ((32, 32, 16), 2)
    scan = read_scan(tmp_path, volume=1)
    places, values = world_values(scan.data, scan.affine)
    expected_places, expected = world_values(data + 1, affine)
    # Positions are text, and added up over the slices.
    np.testing.assert_allclose(places, expected_places, atol=2e-3)
    np.testing.assert_array_equal(values, expected)


def test_dcm2niix_gets_no_name_and_a_folder_of_its_own(tmp_path, monkeypatch):
    seen = []
    ask = dicom._decoder.ask

    def looked_at(what, request, seconds):
        told = ask(what, request, seconds)
        if folder := request.get("folder"):
            seen.append(stat.S_IMODE(Path(folder).stat().st_mode))
            kept = b"".join(file.read_bytes() for file in Path(folder).iterdir())
            assert len(kept) > picture().nbytes
            assert not re.search(rb"DOE|JANE|Elsewhere|mprage|1970", kept)
        return told

    monkeypatch.setattr(dicom._decoder, "ask", looked_at)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "temporary").mkdir()
    read_scan(dicoms.write_series(tmp_path / "scan", picture(), grid()))
    assert seen == [0o700]
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="needs a script as a program")
def test_a_kill_leaves_nothing_of_a_patient_behind(tmp_path):
    dicoms.write_series(tmp_path / "scan", picture(), grid())
    (tmp_path / "temporary").mkdir()
    sleeper, script = tmp_path / "sleeper", tmp_path / "script.py"
    sleeper.write_text("#!/bin/sh\nexec sleep 100\n")
    sleeper.chmod(0o755)
    # Taking the folder away takes longer than it takes the process to notice that nobody asks.
    script.write_text(
        f"import dcm2niix, runpy, shutil, time\ndcm2niix.bin = {str(sleeper)!r}\n"
        "away = shutil.rmtree\n"
        "shutil.rmtree = lambda *args, **how: (time.sleep(2), away(*args, **how))\n"
        f"runpy.run_path({str(dicom.SCRIPT)!r}, run_name='__main__')\n"
    )
    words = (
        "from pathlib import Path; from stylegan3d.scans import dicom, read_scan; "
        f"dicom.SCRIPT = Path({str(script)!r}); read_scan({str(tmp_path / 'scan')!r})"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path / "temporary")}
    process = subprocess.Popen([sys.executable, "-c", words], env=environment)

    def left():
        return list((tmp_path / "temporary").rglob("*.dcm"))

    wait_for(lambda: len(left()) == SHAPE[2])
    process.kill()
    process.wait()
    wait_for(lambda: not left())


def wait_for(happens, seconds=200):
    until = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_what_is_no_dicom(tmp_path):
    with pytest.raises(ScanError, match="holds no DICOM images"):
        read_scan(tmp_path)
    (tmp_path / "a.dcm").write_bytes(b"hello" * 100)
    with pytest.raises(ScanError, match="not a DICOM image"):
        read_scan(tmp_path / "a.dcm")
    folder = dicoms.write_series(tmp_path / "cut", picture(), grid())
    (series,) = list_series(folder)
    broken = folder / "IM0004"
    broken.write_bytes(broken.read_bytes()[:-500])
    with pytest.raises(ScanError, match="IM0004 is damaged or cut short"):
        read_series(folder, series, 0)
    with pytest.raises(ScanError, match="gap"):
        read_scan(folder)
    nib.save(nib.Nifti1Image(picture(), grid()), tmp_path / "a.nii")
    with pytest.raises(ScanError, match="has no series"):
        read_scan(tmp_path / "a.nii", series=3)


def test_slices_of_one_name_are_told_apart_by_their_places(tmp_path):
    """As programs write that forget to give each image a UID of its own."""
    name = {(0x0008, 0x0018): ("UI", "1.2.3.4.5")}
    dicoms.write_series(tmp_path, picture(), grid(), extra=name)
    assert read_scan(tmp_path).data.shape == SHAPE


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({(0x0020, 0x0037): ("DS", [2.0, 0, 0, 0, 2.0, 0])}, "cosines are not of length 1"),
        ({(0x0020, 0x0037): ("DS", [1.0, 0, 0, 0.6, 0.8, 0])}, "not at right angles"),
        ({(0x0028, 0x0030): ("DS", [-7.0, 8.0])}, "pixel spacing is not positive"),
        ({(0x0028, 0x0030): ("DS", [0.0, 0.0])}, "pixel spacing is not positive"),
        ({(0x0028, 0x0100): ("US", 8), (0x0028, 0x0101): ("US", 8)}, "but its header claims"),
    ],
)
def test_a_geometry_that_no_scanner_gives_is_refused(tmp_path, wrong, why):
    wrong |= {(0x0028, 0x0102): ("US", 7)} if (0x0028, 0x0100) in wrong else {}
    dicoms.write_series(tmp_path, picture(), grid(), extra=wrong)
    with pytest.raises(SeveralSeries, match=why):
        read_scan(tmp_path)


NESTED = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\xff\xff\xff\xff"


def found_in(file):
    """Slices of a file, and why it has none."""
    search = DicomSearch()
    return dicom.slices_of(file, search), dict(sum(search.left.values(), Counter()))


def test_elements_that_are_nested_without_end_are_refused(tmp_path):
    dicoms.write_series(tmp_path, picture(), grid())
    first = min(tmp_path.iterdir())
    whole = first.read_bytes()
    at = whole.index(b"\x20\0\x0d\0UI")  # before the UIDs
    first.write_bytes(whole[:at] + 15_000 * NESTED + whole[at:])
    assert found_in(first) == ([], {"damaged": 1})


def test_what_lies_behind_the_pixels_is_not_read(tmp_path):
    dicoms.write_series(tmp_path, picture(), grid())
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes() + b"\xfe\xff\x0d\xe0\0\0\0\0" + 15_000 * NESTED)
    np.testing.assert_array_equal(read_scan(tmp_path).data, picture())


@pytest.mark.parametrize(
    ("words", "most", "why"),
    [
        ("time.sleep(60)", 10**10, "takes more than 0 s"),
        ("held = b'x' * 300_000_000; time.sleep(60)", 2 * 10**8, "GB of memory"),
        ("os.abort()", 10**10, "crashes"),
    ],
)
def test_the_decoder_has_limits(tmp_path, monkeypatch, words, most, why):
    script = tmp_path / "script.py"
    script.write_text(
        f"import os, runpy, sys, time\nmade = runpy.run_path({str(dicom.SCRIPT)!r})\n"
        f"def spoilt(*given):\n    {words}\n"
        "made['main'].__globals__.update(_header=spoilt, _limit_memory=lambda most: None)\n"
        "made['main'](sys.argv[1:])\n"
    )
    decoder = dicom._Decoder()
    monkeypatch.setattr(dicom, "SCRIPT", script)
    monkeypatch.setattr(dicom, "MOST_BYTES", most)
    request = {"path": str(script), "words": []}
    with pytest.raises(NotDecoded, match=why):
        decoder.ask(script, request, 0.0 if "0 s" in why else 30.0)
    assert decoder._process is None


def test_what_unpacks_without_end_is_refused_before_it_does(tmp_path):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packer.compress(struct.pack("<HH", 9, 0x1010) + b"OB\0\0" + struct.pack("<I", 2**28))
    data += packer.compress(bytes(2**28)) + packer.flush()
    syntax = dicoms.element((2, 0x10), "UI", "1.2.840.10008.1.2.1.99")
    file = tmp_path / "a.dcm"
    file.write_bytes(b"\0" * 128 + b"DICM" + syntax + data)
    assert found_in(file) == ([], {"damaged": 1})


def test_a_folder_that_takes_too_long_is_given_up(tmp_path, monkeypatch):
    dicoms.write_series(tmp_path, picture(), grid())
    monkeypatch.setattr(dicom, "SLOW_S", -1.0)
    monkeypatch.setattr(dicom, "DicomSearch", lambda: DicomSearch(seconds=1e-9))
    with pytest.raises(ScanError, match="take too much memory or time"):
        list_series(tmp_path)


@pytest.mark.parametrize("codec", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_compressed_slices(tmp_path, codec):
    dicoms.write_series(tmp_path, picture(), grid())
    for file in sorted(tmp_path.iterdir()):
        if codec == JPEG2000Lossless:  # pydicom has no encoder of its own for it
            writer = sitk.ImageFileWriter()
            writer.KeepOriginalImageUIDOn()
            writer.UseCompressionOn()
            writer.SetCompressor("JPEG2000")
            writer.SetFileName(f"{file}.dcm")
            before = locale.setlocale(locale.LC_ALL)
            writer.Execute(sitk.ReadImage(str(file)))
            locale.setlocale(locale.LC_ALL, before)  # ITK sets that of C
            file.unlink()
        else:
            image = pydicom.dcmread(file)
            image.SamplesPerPixel = 1
            image.compress(codec)
            image.save_as(file)
    assert pydicom.dcmread(next(tmp_path.iterdir())).file_meta.TransferSyntaxUID == codec
    np.testing.assert_array_equal(read_scan(tmp_path).data, picture())


def test_what_dcm2niix_says_of_a_damaged_series_is_told(tmp_path):
    dicoms.write_series(tmp_path, picture(), grid())
    image = pydicom.dcmread(tmp_path / "IM0004")
    image.SamplesPerPixel = 1
    image.compress(RLELossless)
    image.PixelData = encapsulate([b"\xff" * 100])
    image.save_as(tmp_path / "IM0004")
    with pytest.raises(ScanError, match=rf"^{re.escape(str(tmp_path))} is .*RLE header corrupted"):
        read_scan(tmp_path)


def test_jpeg_of_12_bits_is_decoded(tmp_path):
    image = pydicom.dcmread(get_testdata_file("JPGExtended.dcm"))
    image.Modality, image.SeriesInstanceUID, image.StudyInstanceUID = "MR", "1.2.9", "1.2"
    image.PixelSpacing, image.ImageOrientationPatient = [0.25, 0.25], [1, 0, 0, 0, 1, 0]
    for place in range(16):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.9.{place}"
        image.InstanceNumber, image.ImagePositionPatient = place, [0, 0, 5 * place]
        image.save_as(tmp_path / f"{place}.dcm")
    data = read_scan(tmp_path).data
    assert data.shape == (256, 1024, 16)
    # As pydicom's tests have them of this file.
    assert data[140, 420].tolist() == [244] * 16
    assert data[120, 230].tolist() == [95] * 16


@pytest.mark.parametrize(
    ("kept", "missing"), [(range(20), 0), (range(18), 2), ([*range(9), *range(10, 20)], 1)]
)
def test_slices_lost_at_the_end_are_seen_where_headers_count_them(tmp_path, kept, missing):
    counted = {(0x0020, 0x1002): ("IS", 20)}
    dicoms.write_series(tmp_path, picture(), grid(spacing=(7, 8, 5)), keep=kept, extra=counted)
    doubts = [doubt for doubt in read_scan(tmp_path).doubts if doubt.kind == "slices-missing"]
    assert [(doubt.severity, doubt.figures["missing"]) for doubt in doubts] == [
        ("ask", missing)
    ] * (missing > 0)


def test_people_whose_names_were_taken_out_are_told_apart(tmp_path):
    young, old = ({(0x0010, 0x1010): ("AS", age)} for age in ("031Y", "074Y"))
    dicoms.write_series(tmp_path, picture(1), grid(), keep=range(10), extra=young)
    dicoms.write_series(tmp_path, picture(2), grid(), keep=range(10, 20), extra=old, start=10)
    found = list_series(tmp_path)
    assert [series.people for series in found] == [2, 2]
    with pytest.raises(SeveralSeries):
        read_scan(tmp_path)


def test_a_background_that_is_not_zero_is_subtracted_and_told(tmp_path):
    data = np.zeros(picture().shape, np.int16)
    data[8:16, 8:16, 8:16] = picture()[8:16, 8:16, 8:16]
    dicoms.write_series(tmp_path, data, grid(), extra={(0x0028, 0x1052): ("DS", 500.0)})
    scan = read_scan(tmp_path, orientation="RAS")
    assert scan.data.min() == 0
    assert "background" in {doubt.kind for doubt in scan.doubts}
    assert "Orientation: RAS, as chosen." in scan.notes


def test_a_file_that_claims_fewer_frames_than_it_describes_is_refused(tmp_path):
    path = tmp_path / "enhanced.dcm"
    dicoms.write_enhanced(path, picture(), grid())
    described = pydicom.dcmread(path, force=True)
    described.NumberOfFrames -= 4
    described.save_as(path, enforce_file_format=False)
    with pytest.raises(ScanError, match="damaged"):
        read_scan(path)
