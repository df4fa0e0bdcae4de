"""Saved volumes as DICOM series, for an archive (PACS): what they are called and what they say.

A volume goes out from its NIfTI file and sidecar, so all that the program writes can follow. The
images are MR Image Storage, DERIVED and SECONDARY. What a model made says so in Synthetic Data
(0008,001C), Derivation Description and Contributing Equipment (DICOM PS3.3, C.12.1; "Synthesizing
Equipment", 109100 DCM). Patient and study are those of a reference series, or its own.
"""

from __future__ import annotations

import datetime
import gzip
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, EncapsulatedPDFStorage, ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from stylegan3d.base import Doubt, JsonView, OutputError, ScanError
from stylegan3d.geometry.space import RAS_TO_LPS
from stylegan3d.outputs.results import json_path
from stylegan3d.scans.checks import READ_ERRORS, check_content, open_image
from stylegan3d.storage.about import INTENDED_USE, PROGRAM, version
from stylegan3d.storage.bids import OWN_GRID, OWN_SPACE
from stylegan3d.storage.encoding import LARGEST_FILE, from_json
from stylegan3d.storage.files import read_file
from stylegan3d.storage.files import reason as why
from stylegan3d.storage.formats import portable, scan_stem, without_suffix
from stylegan3d.storage.volumes import VOLUME_SUFFIX, sidecar_path

SUFFIX = ".dcm"
#: How the axes of slices run on a screen (columns, rows), and through the stack.
SLICING = {"axial": "LPS", "coronal": "LIP", "sagittal": "PIL"}
#: The plane of slices that are stacked along an axis of the body.
STACKED_ALONG = {"I": "axial", "S": "axial", "A": "coronal", "P": "coronal"}
#: Voxels are cuboids up to here: the cosine between two axes.
SHEAR = 1e-4
#: Slices are parallel from this cosine on; an edit moves tissue by less than `REACH_MM`.
PARALLEL, REACH_MM = 0.999, 10.0
STORED_MOST = 65535
BURNT_IN = "SYNTHETIC"
#: Of codes that are this program's own.
OWN_SCHEME = "99STYLEGAN3D"
#: What a series of the same patient may keep of a reference, beside its study.
PATIENT = ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex")
#: What an image has to say to be a source.
NEEDED = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"),
    "ImageOrientationPatient",
)
STUDY = (
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"),
    *("ReferringPhysicianName", "StudyDescription", "PatientAge", "PatientWeight"),
)


@dataclass(frozen=True, eq=False)
class Reference:
    """A DICOM series whose patient and study an exported series joins.

    Attributes
    ----------
    headers : list of pydicom.Dataset
        Of its images, without pixels, in the order of the slices.
    """

    headers: list[Dataset]

    @property
    def header(self) -> Dataset:
        """What all images have in common: the first one's."""
        return self.headers[0]

    @property
    def normal(self) -> np.ndarray:
        """Direction of the stack (3,), LPS."""
        rows, columns = np.array(self.header.ImageOrientationPatient, dtype=float).reshape(2, 3)
        return np.asarray(np.cross(rows, columns))

    @property
    def plane(self) -> str:
        """The plane of its slices."""
        return ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(self.normal)))]

    def near(self, position: np.ndarray, normal: np.ndarray) -> list[Dataset]:
        """Its images that a slice at a place (3,), LPS mm, was made from.

        Of parallel slices those within `REACH_MM`, of others all.
        """
        if abs(float(normal @ self.normal)) < PARALLEL:
            return self.headers
        places = np.array([h.ImagePositionPatient for h in self.headers], dtype=float)
        away = np.abs((places - position) @ self.normal)
        limit = max(REACH_MM, float(away.min()))
        return [h for h, mm in zip(self.headers, away, strict=True) if mm <= limit]

    @classmethod
    def read(cls, path: str | Path, series: int | str | None = None) -> Reference:
        """The series of a DICOM folder or file.

        Parameters
        ----------
        path : path
        series : int or str, optional
            Number, UID or description, where the folder holds several.

        Raises
        ------
        ScanError
            If there is no such series, or its headers cannot be read.
        """

        from stylegan3d.scans.dicom import choose_series, list_series

        chosen = choose_series(Path(path), list_series(path), series)
        paths = list(dict.fromkeys(piece.path for piece in chosen.stack.slices[0]))
        try:
            headers: list[Dataset] = [
                pydicom.dcmread(file, stop_before_pixels=True) for file in paths
            ]
            for header in headers:
                for keyword in NEEDED:
                    header[keyword]
        except (OSError, ValueError, KeyError, RecursionError, EOFError) as reason:
            raise ScanError(
                f"{path}: the headers of the reference series cannot be read "
                f"({str(reason)[:100]}); export it again, or leave the reference out."
            ) from None
        return cls(headers)


@dataclass(frozen=True, eq=False)
class SavedFile:
    """A volume that this program saved, as it goes out.

    Attributes
    ----------
    stem : str
        Of its file name, such as seed-0042_desc-synthetic_T1w.
    data : ndarray (I, J, K)
        In the units of the file.
    affine : ndarray (4, 4)
        Voxel indices to RAS+ mm.
    text : mapping
        Its sidecar.
    digest : bytes
        Of the file, for the UIDs: the same volume has the same ones.
    """

    stem: str
    data: np.ndarray
    affine: np.ndarray
    text: JsonView = field(default_factory=dict)
    digest: bytes = b""

    @classmethod
    def read(cls, path: str | Path, contents: Mapping[Path, bytes] | None = None) -> SavedFile:
        """A `.nii.gz` file with its sidecar; OutputError if this program did not write it.

        `contents` are files that are not written yet: name to content.
        """
        path = Path(path)
        try:
            if contents is None or path not in contents:
                open_image(path)  # before what it claims is believed
                check_content(path)
            content = content_of(path, contents)
            image = nib.Nifti1Image.from_bytes(gzip.decompress(content))
            text = from_json(content_of(sidecar_path(path), contents))
            data = np.asanyarray(image.dataobj)
        except (*READ_ERRORS, ScanError) as reason:
            raise OutputError(
                f"{path} cannot be written as DICOM ({why(reason)[:120]}): give a {VOLUME_SUFFIX} "
                "file that this program saved, with its .json sidecar beside it."
            ) from None
        if not isinstance(text, dict) or "SyntheticImage" not in text:
            raise OutputError(
                f"{path} is not a volume of this program: its sidecar does not say whether it is "
                "synthetic. Give a volume as it was saved."
            )
        if data.ndim != 3 or image.affine is None:
            raise OutputError(f"{path} is not one volume with three axes: give another file.")
        # With its BIDS suffix, which tells the T1w image of a subject from the FLAIR image.
        stem = portable(without_suffix(path.name)) or "scan"
        return cls(stem, data, image.affine, text, hashlib.sha256(content).digest())

    @property
    def synthetic(self) -> bool:
        """Whether a model made any of it."""
        return bool(self.text.get("SyntheticImage", True))

    @property
    def title(self) -> str:
        """What it is, for lists of series."""
        return f"{BURNT_IN} {self.stem}" if self.synthetic else self.stem


def series_of(
    saved: SavedFile,
    reference: Reference | None = None,
    *,
    plane: str | None = None,
    burn_in: bool = False,
    when: datetime.datetime | None = None,
) -> list[Dataset]:
    """A saved volume as MR images, one for each slice.

    Parameters
    ----------
    saved : SavedFile
    reference : Reference, optional
        Series of the patient whose study the images join; without, they are a study of their own.
    plane : {"axial", "coronal", "sagittal"}, optional
        Of the slices; by default the reference's where the volume lies in that scan's space, else
        across the longest voxel edge, else axial.
    burn_in : bool
        Write the word SYNTHETIC into the pixels too.
    when : datetime, optional
        Date of the content; now.

    Returns
    -------
    list of pydicom.Dataset
        In order of the slices, with all that is needed to write them.

    Raises
    ------
    OutputError
        If the volume's axes are not at right angles.
    """

    common = Common(saved, reference, when)
    if plane is None and common.native and reference is not None:
        plane = reference.plane
    plane = plane or slicing_plane(saved.affine)
    data, affine = turned(saved.data, saved.affine, SLICING[plane])
    stored, slope, intercept = _stored(data)
    if burn_in and saved.synthetic:
        stored = _burnt_in(stored)
    steps = affine[:3, :3]
    spacing = np.linalg.norm(steps, axis=0)
    directions = np.diag(RAS_TO_LPS)[:3, None] * (steps / spacing)
    low, high = (float(v) for v in np.percentile(data, (1, 99.5)))
    window = max(high - low, abs(slope))
    images = []
    for index in range(data.shape[2]):
        ds = common.dataset(MRImageStorage, "MR", 9001, saved.title, str(index))
        ds.InstanceNumber = index + 1
        ds.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
        ds.DerivationDescription = common.derivation
        if doubts := saved.text.get("Doubts"):
            ds.ImageComments = " ".join(Doubt.read(told).sentence for told in doubts)
        ds.BurnedInAnnotation = "YES" if burn_in and saved.synthetic else "NO"
        header = common.reference and common.reference.header
        ds.PatientPosition = getattr(header, "PatientPosition", "HFS")
        ds.BodyPartExamined = "BRAIN"
        ds.FrameOfReferenceUID = common.frame
        ds.PositionReferenceIndicator = None
        # How a scanner would have measured it: not at all.
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "RM", "NONE", None
        ds.MRAcquisitionType, ds.EchoTime, ds.EchoTrainLength = "3D", None, None
        ds.RepetitionTime = None
        position = nib.affines.apply_affine(affine, (0, 0, index)) * np.diag(RAS_TO_LPS)[:3]
        ds.ImagePositionPatient = [_decimal(v) for v in position]
        ds.ImageOrientationPatient = [_decimal(v) for v in directions[:, :2].T.ravel()]
        # Between rows, then between columns (PS3.3, 10.7.1.3).
        ds.PixelSpacing = [_decimal(spacing[1]), _decimal(spacing[0])]
        ds.SliceThickness = ds.SpacingBetweenSlices = _decimal(spacing[2])
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.Columns, ds.Rows = data.shape[:2]
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit, ds.PixelRepresentation = 15, 0
        ds.RescaleIntercept, ds.RescaleSlope = _decimal(intercept), _decimal(slope)
        ds.RescaleType = "US"
        ds.WindowCenter, ds.WindowWidth = _decimal(low + window / 2), _decimal(window)
        # Widths below 1, of brains whose white is 1, are allowed with this function alone.
        ds.VOILUTFunction = "LINEAR_EXACT"
        ds.PixelData = np.ascontiguousarray(stored[:, :, index].T, "<u2").tobytes()
        common.add_sources(ds, position, np.cross(*directions[:, :2].T))
        images.append(ds)
    return images


def content_of(path: Path, contents: Mapping[Path, bytes] | None) -> bytes:
    """What a file holds, or will hold; OSError if it is no file that may be read."""
    known = None if contents is None else contents.get(path)
    return read_file(path, LARGEST_FILE) if known is None else known


def pdf_of(
    path: str | Path,
    reference: Reference | None = None,
    *,
    when: datetime.datetime | None = None,
    contents: Mapping[Path, bytes] | None = None,
) -> Dataset:
    """A report as an encapsulated PDF; OutputError if the file is none."""

    path = Path(path)
    try:
        content = content_of(path, contents)
    except OSError as reason:
        raise OutputError(f"{path} cannot be read ({reason.strerror}).") from None
    if not content.startswith(b"%PDF"):
        raise OutputError(f"{path} is not a PDF: give a report as it was saved.")
    try:
        record = from_json(content_of(json_path(path), contents))
    except (OSError, ValueError):
        record = {}
    text = {**(record if isinstance(record, dict) else {}), "SyntheticImage": True}
    saved = SavedFile(path.stem, np.zeros(0), np.eye(4), text, hashlib.sha256(content).digest())
    common = Common(saved, reference, when)
    ds = common.dataset(EncapsulatedPDFStorage, "DOC", 9010, saved.title, "0")
    ds.InstanceNumber, ds.ConversionType, ds.BurnedInAnnotation = 1, "WSD", "YES"
    ds.AcquisitionDateTime = None
    ds.DocumentTitle = saved.title
    ds.ConceptNameCodeSequence = [coded(codes.LN.DiagnosticImagingReport)]
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    ds.EncapsulatedDocumentLength = len(content)
    return ds


def encoded(datasets: Sequence[Dataset], folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Name and content of the file of each, Explicit VR Little Endian, in `folder`."""

    for index, ds in enumerate(datasets):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = ds.SOPClassUID
        meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.ImplementationClassUID = UID(_uid(b"implementation", PROGRAM))
        meta.ImplementationVersionName = "STYLEGAN3D"
        ds.file_meta = meta
        buffer = io.BytesIO()
        dcmwrite(buffer, ds, enforce_file_format=True)
        yield folder / f"{ds.Modality}{index + 1:04d}{SUFFIX}", buffer.getvalue()


class Common:
    """What all objects of one export have in common."""

    def __init__(
        self, saved: SavedFile, reference: Reference | None, when: datetime.datetime | None
    ) -> None:
        self.saved, self.reference = saved, reference
        self.when = when or datetime.datetime.now().astimezone()
        study = "" if reference is None else str(reference.header.get("StudyInstanceUID", ""))
        self._salt = saved.digest + study.encode() + self.when.isoformat().encode()

    @property
    def derivation(self) -> str:
        """Derivation Description, at most 1,024 characters."""
        text = self.saved.text
        words = [str(text.get("Description", "")), INTENDED_USE if self.saved.synthetic else ""]
        made = text.get("GeneratedBy")
        if isinstance(made, list) and made and isinstance(made[0], dict):
            words.append(f"{PROGRAM} {version()}, {made[0].get('Description', '')}")
        if "Recipe" in text:
            words.append("Recipe: " + json.dumps(text["Recipe"], ensure_ascii=False))
        return " ".join(word for word in words if word)[:1024]

    def uid(self, *what: str) -> str:
        """A UID of this export."""
        return _uid(self._salt, *what)

    @property
    def native(self) -> bool:
        """Whether the volume lies in the space of the reference."""
        where = self.saved.text.get("SpatialReference")
        return self.reference is not None and where in (OWN_GRID, OWN_SPACE)

    @property
    def frame(self) -> str:
        """Frame of reference: the reference's where the volume lies in that scan's space."""
        known = self.reference.header.get("FrameOfReferenceUID") if self.reference else None
        return str(known) if self.native and known else self.uid("frame")

    def dataset(
        self, sop_class: str, modality: str, number: int, title: str, instance: str
    ) -> Dataset:
        """Patient, study, series, equipment and SOP common module."""

        ds, when = Dataset(), self.when
        day, clock = when.strftime("%Y%m%d"), when.strftime("%H%M%S")
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.SOPClassUID = sop_class
        ds.SOPInstanceUID = self.uid(modality, str(number), instance)
        ds.InstanceCreationDate, ds.InstanceCreationTime = day, clock
        self._patient_and_study(ds)
        ds.Modality, ds.SeriesNumber = modality, number
        ds.SeriesInstanceUID = self.uid(modality, str(number))
        ds.SeriesDescription = long_string(title)
        ds.SeriesDate = ds.ContentDate = day
        ds.SeriesTime = ds.ContentTime = clock
        ds.Manufacturer = ds.ManufacturerModelName = PROGRAM
        ds.DeviceSerialNumber, ds.SoftwareVersions = "none", version()
        return self.marked(ds)

    def marked(self, ds: Dataset) -> Dataset:
        """An object that says whether it is synthetic, and what made it."""

        saved = self.saved
        ds.SyntheticData = "YES" if saved.synthetic else "NO"
        if saved.synthetic:
            model = saved.text.get("Model", {})
            name = model.get("Name") if isinstance(model, dict) else None
            maker = item(
                PurposeOfReferenceCodeSequence=[coded(codes.DCM.SynthesizingEquipment)],
                Manufacturer=PROGRAM,
                ManufacturerModelName=str(name or PROGRAM)[:64],
                SoftwareVersions=version(),
                ContributionDateTime=self.when.strftime("%Y%m%d%H%M%S"),
                ContributionDescription=self.derivation,
            )
            ds.ContributingEquipmentSequence = [maker]
        return ds

    def _patient_and_study(self, ds: Dataset) -> None:
        if self.reference is not None:
            header = self.reference.header
            for name in (*PATIENT, *STUDY):
                if name in header:
                    setattr(ds, name, getattr(header, name))
            # Of type 2: there, if empty.
            for name in (*PATIENT[:2], *PATIENT[3:], *STUDY[1:6]):
                if name not in ds:
                    setattr(ds, name, None)
            return
        name, by_entities = self.saved.stem, self.saved.stem.startswith(("sub-", "seed-"))
        ends = "_" if by_entities else r"_(?=desc-|space-|dseg$|report$)"
        name = re.split(ends, name if by_entities else scan_stem(name))[0]
        ds.PatientName = long_string(f"{BURNT_IN}^{name}" if self.saved.synthetic else name)
        ds.PatientID = long_string(f"{BURNT_IN}-{name}" if self.saved.synthetic else name)
        ds.PatientBirthDate = ds.PatientSex = None
        ds.StudyInstanceUID = self.uid("study")
        ds.StudyDate, ds.StudyTime = self.when.strftime("%Y%m%d"), self.when.strftime("%H%M%S")
        ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "1", None, None

    def add_sources(self, ds: Dataset, position: np.ndarray, normal: np.ndarray) -> None:
        """The images of the reference series that a slice was made from."""
        if self.reference is None:
            return
        if not self.native:
            ds.SourceImageSequence = self._all_sources
        else:
            ds.SourceImageSequence = [*map(_source, self.reference.near(position, normal))]

    @cached_property
    def _all_sources(self) -> list[Dataset]:
        return [] if self.reference is None else [*map(_source, self.reference.headers)]


def _source(header: Dataset) -> Dataset:
    """An item of a Source Image Sequence."""

    return item(
        ReferencedSOPClassUID=header.SOPClassUID,
        ReferencedSOPInstanceUID=header.SOPInstanceUID,
        PurposeOfReferenceCodeSequence=[coded(codes.DCM.SourceImageForImageProcessingOperation)],
    )


def coded(code: Any) -> Dataset:
    """A code as an item of a code sequence."""
    scheme = code.scheme_designator
    return item(CodeValue=code.value, CodingSchemeDesignator=scheme, CodeMeaning=code.meaning)


def item(**elements: object) -> Dataset:
    """An item of a sequence."""

    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def _uid(salt: bytes, *what: str) -> str:
    """A UID of the form 2.25.<UUID> (PS3.5, B.2), from a digest."""
    digest = hashlib.sha256(salt + "\0".join(what).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def long_string(text: str) -> str:
    """A text of at most 64 characters (PS3.5, 6.2), cut in its middle: names differ at the end."""
    return text if len(text) <= 64 else f"{text[:31]}..{text[-31:]}"


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters (PS3.5, 6.2)."""

    return format_number_as_ds(float(value))


def slicing_plane(affine: np.ndarray) -> str:
    """Across the longest edge of the voxels, where one is clearly the longest; else axial."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    thick = int(np.argmax(spacing))
    if spacing[thick] < 1.2 * np.delete(spacing, thick).max():
        return "axial"
    return STACKED_ALONG.get(nib.aff2axcodes(affine)[thick], "sagittal")


def turned(data: np.ndarray, affine: np.ndarray, axes: str) -> tuple[np.ndarray, np.ndarray]:
    """The same voxels with their axes in the order and direction that screens expect."""
    steps = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.abs(steps.T @ steps - np.eye(3)).max() > SHEAR:
        raise OutputError(
            "The axes of this volume are not at right angles, which DICOM does not allow: "
            "save it in the model's space."
        )
    change = ornt_transform(io_orientation(affine), nib.orientations.axcodes2ornt(axes))
    return apply_orientation(data, change), affine @ inv_ornt_aff(change, data.shape)


def _stored(data: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Unsigned 16-bit values with slope and intercept; whole numbers stay as they are."""
    low, high = float(data.min()), float(data.max())
    if low >= 0 and high <= STORED_MOST and np.array_equal(data, np.round(data)):
        return data.astype(np.uint16), 1.0, 0.0
    slope = float(_decimal((high - low) / STORED_MOST if high > low else 1.0))
    intercept = float(_decimal(low))
    stored = np.round((data.astype(np.float64) - intercept) / slope)
    return np.clip(stored, 0, STORED_MOST).astype(np.uint16), slope, intercept


def _burnt_in(stored: np.ndarray) -> np.ndarray:
    """The word SYNTHETIC in the upper left corner of each slice (columns, rows, slices)."""

    columns, rows = stored.shape[:2]
    size = max(8, rows // 12)
    canvas = Image.new("1", (columns, rows))
    ImageDraw.Draw(canvas).text((2, 1), BURNT_IN, fill=1, font=ImageFont.load_default(size))
    word = np.asarray(canvas).T
    marked = stored.copy()
    marked[word] = max(int(stored.max()), 1)
    return marked
