"""What is known of a scan's origin when it comes back: acquired, synthetic or edited."""

import datetime
import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from stylegan3d.base import ScanError
from stylegan3d.geometry.space import Space
from stylegan3d.outputs.dicom import Reference, SavedFile, encoded, series_of
from stylegan3d.outputs.dicom_files import dicom_files
from stylegan3d.render.editable import ABOUT
from stylegan3d.scans import read_scan
from stylegan3d.scans.alignment import standard_brain
from stylegan3d.scans.dicom import IDENTITY, identity_of
from stylegan3d.scans.person import Person
from stylegan3d.scans.verdicts import withheld
from stylegan3d.settings.option import DicomSettings
from stylegan3d.storage.about import EDITED_SCAN, PROGRAM
from stylegan3d.storage.volumes import write_volume

SAMPLES = Path(__file__).parents[2] / "napari_stylegan3d" / "samples"
AFFINE = np.diag([8.0, 8.0, 8.0, 1.0])
DATA = np.random.default_rng(0).random((24, 17, 18)).astype(np.float32)
SYNTHETIC_SENTENCE = "Note: This is a synthetic image, not an acquired one (its {by} says so)."


def save(path, descrip="", sidecar=None):
    """A volume of anyone's, with what its header and the sidecar beside it say."""
    image = (nib.MGHImage if path.suffix == ".mgz" else nib.Nifti1Image)(DATA, AFFINE)
    if descrip:
        image.header["descrip"] = descrip.encode()
    nib.save(image, path)
    if sidecar is not None:
        beside = path.with_name(path.name.partition(".")[0] + ".json")
        beside.write_text(json.dumps(sidecar))
    return path


def write(files):
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def without(folder, *keywords):
    """A DICOM folder after another program took elements out of its headers."""
    for path in folder.rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        for keyword in keywords:
            delattr(ds, keyword)
        ds.save_as(path)
    return folder


@pytest.mark.parametrize(
    ("descrip", "sidecar", "origin", "by"),
    [
        ("", None, "acquired", ""),
        ("TE=2.9;Time=120000.000", {"SeriesDescription": "t1_mprage_sag"}, "acquired", ""),
        ("", {"SeriesDescription": "SYNTHETIC T1"}, "acquired", ""),  # calculated by a scanner
        ("", {"SyntheticImage": False, "Description": "As a synthetic one."}, "acquired", ""),
        ("", {"GeneratedBy": [{"Name": "fMRIPrep"}]}, "acquired", ""),
        ("SYNTHETIC - not for diagnosis", None, "synthetic", "header"),
        ("SYNTHETIC not for diagnosis; seed 3", None, "synthetic", "header"),
        ("3D T1, synthetic contrast", None, "acquired", ""),  # of any scanner
        ("SYNTHETIC - not for diagnosis", {"SyntheticImage": False}, "synthetic", "header"),
        ("", {"SyntheticImage": True}, "synthetic", "sidecar"),
        ("", {"Description": "Synthetic T1 of a map"}, "acquired", ""),
        # As dcm2niix converts the program's own DICOM.
        (
            "TE=0;Time=0.0",
            {"SeriesDescription": "SYNTHETIC_sub-1", "ManufacturersModelName": PROGRAM},
            "synthetic",
            "sidecar",
        ),
        ("", {"SeriesDescription": "SYNTHETIC seed-1_desc-mixed_T1w"}, "synthetic", "sidecar"),
        (
            "",
            {"SeriesDescription": "SYNTHETIC sub-1_desc-editedScan_FLAIR"},
            "edited",
            "sidecar",
        ),
        ("", {"SyntheticImage": True, "Description": f"{EDITED_SCAN}: so."}, "edited", "sidecar"),
        ("SYNTHETIC", {"Description": f"{EDITED_SCAN}: so."}, "edited", "sidecar"),
        (f"SYNTHETIC not for diagnosis; {PROGRAM} edit by tiny", None, "edited", "header"),
    ],
)
def test_the_header_and_the_sidecar_tell_what_a_scan_is(tmp_path, descrip, sidecar, origin, by):
    scan = read_scan(save(tmp_path / "sub-1_T1w.nii.gz", descrip, sidecar))
    assert scan.origin == origin
    said = [str(note) for note in scan.notes if "acquired" in str(note)]
    assert bool(said) == (origin != "acquired")
    if origin == "synthetic":
        assert said == [SYNTHETIC_SENTENCE.format(by=by)]
    elif origin == "edited":
        assert said == [f"Note: This is an edited scan, not an acquired image (its {by} says so)."]


@pytest.mark.parametrize("sidecar", ["{", "[1]", '{"Description": 3}'])
def test_a_sidecar_that_says_nothing_leaves_a_scan_acquired(tmp_path, sidecar):
    path = save(tmp_path / "sub-1_T1w.nii.gz")
    (tmp_path / "sub-1_T1w.json").write_text(sidecar)
    assert read_scan(path).origin == "acquired"


def test_an_mgh_file_is_known_by_its_sidecar(tmp_path):
    assert read_scan(save(tmp_path / "a.mgz")).origin == "acquired"
    assert (
        read_scan(save(tmp_path / "b.mgz", sidecar={"SyntheticImage": True})).origin == "synthetic"
    )


@pytest.mark.parametrize("name", sorted(path.name for path in SAMPLES.glob("*.nii.gz")))
def test_a_real_scan_is_acquired(name):
    scan = read_scan(SAMPLES / name)
    assert scan.origin == "acquired"
    assert not any("acquired" in str(note) for note in scan.notes)


def saved(folder, name, sidecar, description="test"):
    """A file of the program, by its own writer."""
    path = folder / name
    write_volume(path, DATA, AFFINE, description=description, sidecar=sidecar)
    return path


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize(
    ("name", "sidecar", "origin"),
    [
        ("seed-0003_desc-synthetic_T1w.nii.gz", {"Description": "Synthetic brain."}, "synthetic"),
        ("sub-01_desc-editedScan_T1w.nii.gz", {"Description": f"{EDITED_SCAN}: so."}, "edited"),
    ],
)
def test_the_programs_dicom_is_known_even_without_synthetic_data(
    tmp_path, name, sidecar, origin, enhanced
):
    path = saved(tmp_path, name, sidecar)
    write(dicom_files([path], tmp_path / "out", settings=DicomSettings(enhanced=enhanced)))
    folder = tmp_path / "out"
    scan = read_scan(folder)
    assert scan.origin == origin
    (note,) = [note for note in scan.notes if "acquired" in str(note)]
    assert str(note).endswith("(Synthetic Data (0008,001C) is YES).")
    assert not any("marked as derived" in str(note) for note in scan.notes)
    # Programs that do not know the element yet leave it out; archives give other names.
    assert read_scan(without(folder, "SyntheticData")).origin == origin
    assert read_scan(without(folder, "PatientName", "Manufacturer")).origin == origin


def test_a_scan_of_the_program_goes_out_as_acquired(tmp_path):
    image = SavedFile("sub-01_T1w", DATA, AFFINE, {"SyntheticImage": False})
    write(dict(encoded(series_of(image), tmp_path / "out")))
    assert read_scan(tmp_path / "out").origin == "acquired"
    assert read_scan(without(tmp_path / "out", "SyntheticData")).origin == "acquired"


def test_a_lost_sidecar_and_another_compression_change_nothing(tmp_path):
    path = saved(tmp_path, "seed-0003_desc-synthetic_T1w.nii.gz", {})
    plain = tmp_path / "elsewhere.nii"
    plain.write_bytes(gzip.decompress(path.read_bytes()))
    assert read_scan(plain).origin == "synthetic"
    again = tmp_path / "again.nii.gz"
    nib.save(nib.load(plain), again)
    assert read_scan(again).origin == "synthetic"


# Who a DICOM says that the patient is.

WHO = {
    "PatientName": "Doe^Jane",
    "PatientID": "PID-4711",
    "PatientBirthDate": "19780521",
    "StudyDate": "20251104",
    "StudyDescription": "Head of Jane",
}


@pytest.fixture
def hospital(tmp_path):
    """A series of a patient, as a scanner sends it."""
    image = SavedFile("scan", DATA, AFFINE, {"SyntheticImage": False})
    when = datetime.datetime(2025, 11, 4, tzinfo=datetime.UTC)
    images = series_of(image, when=when)
    for ds in images:
        for keyword, value in WHO.items():
            setattr(ds, keyword, value)
        ds.PatientAge, ds.PatientSex = "042Y", "F"
        ds.ImageType, ds.SeriesDescription = ["ORIGINAL", "PRIMARY", "M"], "t1 mprage Doe"
        ds.Manufacturer = "A maker"
    write(dict(encoded(images, tmp_path / "Doe")))
    return tmp_path / "Doe"


def test_name_id_and_dates_of_a_dicom_are_told(hospital):
    told = identity_of(hospital)
    assert list(told) == list(IDENTITY)
    said = ["Doe^Jane", "PID-4711", "1978-05-21", "2025-11-04", "Head of Jane"]
    assert list(told.values()) == said
    assert identity_of(without(hospital, "PatientBirthDate"))["Date of birth"] == ""


def test_the_age_in_a_header_counts_before_its_dates(hospital):
    scan = read_scan(hospital)
    assert scan.person == Person(42.0, "F")  # by the dates it would be 47.5
    (doubt,) = (doubt for doubt in scan.doubts if doubt.kind == "person")
    assert "The date of birth gives another age than PatientAge" in doubt.sentence
    assert not [d for d in read_scan(without(hospital, "PatientAge")).doubts if d.kind == "person"]
    # years, days of a year: from dates.
    assert read_scan(hospital).person == Person(pytest.approx(47.45, abs=0.01), "F")


@pytest.mark.parametrize("joins", [False, True])
def test_who_it_is_is_written_only_into_the_study_that_a_dicom_joins(hospital, tmp_path, joins):
    """Its own pictures, labels and sidecars hold no word of it."""
    scan, out = read_scan(hospital), tmp_path / "out"
    sidecar = {"Description": "So.", "Notes": list(map(str, scan.notes)), "Scan": scan.path.name}
    path = saved(out, "sub-01_desc-editedScan_T1w.nii.gz", sidecar)
    reference = Reference.read(hospital) if joins else None
    write(dicom_files([path], out / "dicom", reference))
    words = [word.encode() for word in (*WHO.values(), "Doe", "Jane")]
    for file in out.rglob("*.*"):
        content = file.read_bytes()
        content += gzip.decompress(content) if file.suffix == ".gz" else b""
        said = {word for word in words if word in content}
        assert bool(said) == (joins and file.suffix == ".dcm"), file
    if joins:
        assert identity_of(out / "dicom") == identity_of(hospital)


@pytest.mark.parametrize("what", ["Change", "Movement"])
@pytest.mark.parametrize("told", [True, False])
def test_a_map_of_what_an_edit_changed_is_no_scan(tmp_path, told, what):
    about = {"Description": ABOUT[what]} if told else None
    name = "brain.nii.gz" if told else f"sub-1_desc-edited{what}_T1w.nii.gz"
    scan = read_scan(save(tmp_path / name, "napari-stylegan3d edit by model", about))
    assert scan.origin == "difference"
    assert withheld(scan.doubts)
    target = standard_brain(Space(DATA.shape, AFFINE))
    with pytest.raises(ScanError, match="is a map of what an edit changed, not a scan: open the"):
        scan.align(target)
