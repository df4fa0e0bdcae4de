"""From saved files to DICOM files: which object each becomes, and where it is written."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.tag import Tag
from pydicom.uid import EnhancedMRImageStorage

from stylegan3d.base import SILENT, OutputError, Progress
from stylegan3d.geometry.space import RAS_TO_LPS
from stylegan3d.measures.attributes import VOLUMES
from stylegan3d.outputs import dicom
from stylegan3d.outputs.report import SUFFIX as REPORT_SUFFIX
from stylegan3d.settings.option import USUAL_DICOM, DicomSettings, check_options
from stylegan3d.storage.about import ORIGIN_NAMES, PROGRAM, version
from stylegan3d.storage.bids import file_of
from stylegan3d.storage.formats import portable, without_suffix

if TYPE_CHECKING:
    from pydicom import Dataset


# A series of MR images as one Enhanced MR image: all slices in one file.
#
# DICOM PS3.3, A.36. A derived image says nothing of a pulse sequence, since none made it: the
# modules and functional groups of the acquisition are left out, as the standard allows.

#: Elements of a slice that the functional groups of all frames hold instead.
SHARED = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelValueTransformationSequence": ("RescaleIntercept", "RescaleSlope", "RescaleType"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction"),
}
#: Elements that functional groups hold instead, or that a single image alone has.
MOVED = (
    *sum(SHARED.values(), ()),
    *("ImagePositionPatient", "SourceImageSequence", "DerivationDescription"),
    *("ScanningSequence", "SequenceVariant", "ScanOptions", "MRAcquisitionType", "EchoTime"),
    *("EchoTrainLength", "RepetitionTime", "BodyPartExamined"),
)
STACK = "1"
#: Acquisition Contrast (PS3.3, C.8.13.3.3) by the BIDS suffix of the file.
CONTRASTS = {
    "T1w": "T1",
    "T2w": "T2",
    "FLAIR": "FLUID_ATTENUATED",
    "PDw": "PROTON_DENSITY",
    "T2starw": "T2_STAR",
}
UNKNOWN = "UNKNOWN"


def contrast_of(stem: str) -> str:
    """Acquisition Contrast of a file, by its name without ending: sub-01_FLAIR."""
    return CONTRASTS.get(stem.rpartition("_")[2], UNKNOWN)


def enhanced_of(
    images: Sequence[Dataset], reference: dicom.Reference | None = None, *, contrast: str = UNKNOWN
) -> Dataset:
    """The slices of `series_of` as one Enhanced MR image.

    Parameters
    ----------
    images : sequence of pydicom.Dataset
        In the order of the slices.
    reference : Reference, optional
        The one that they were made with.
    contrast : str
        Acquisition Contrast, see `contrast_of`.

    Raises
    ------
    OutputError
        If a word is burnt into the pixels, which this kind of image must not have.
    """

    first = images[0]
    if first.BurnedInAnnotation == "YES":
        raise OutputError(
            "An Enhanced MR image must not have words in its pixels: leave out --enhanced or "
            "--burn-in."
        )
    ds = deepcopy(first)
    for keyword in MOVED:
        if keyword in ds:
            delattr(ds, keyword)
    ds.SOPClassUID = EnhancedMRImageStorage
    ds.InstanceNumber, ds.NumberOfFrames = 1, len(images)
    # SECONDARY is no word of enhanced images: this place says PRIMARY in all of them.
    ds.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    # No scanner worked under a safety standard, but the element is asked for.
    ds.ContentQualification, ds.ApplicableSafetyStandardAgency = "RESEARCH", "NONE"
    ds.LossyImageCompression, ds.PresentationLUTShape = "00", "IDENTITY"
    ds.AcquisitionContextSequence = []
    _describe(ds, contrast)
    if reference is not None:
        _add_evidence(ds, reference)
    _add_dimensions(ds)
    ds.SharedFunctionalGroupsSequence = [_shared(first, ds.ImageType, contrast)]
    ds.PerFrameFunctionalGroupsSequence = [
        _frame(image, number) for number, image in enumerate(images, start=1)
    ]
    ds.PixelData = b"".join(image.PixelData for image in images)
    return ds


def _describe(ds: Dataset, contrast: str) -> None:
    """MR Image Description, of the image and of its frames."""
    ds.PixelPresentation, ds.VolumetricProperties = "MONOCHROME", "VOLUME"
    ds.VolumeBasedCalculationTechnique = "NONE"
    ds.ComplexImageComponent, ds.AcquisitionContrast = "MAGNITUDE", contrast


def _add_evidence(ds: Dataset, reference: dicom.Reference) -> None:
    """The series that the sources are in, which the frames name one by one."""
    header = reference.header
    named = [
        dicom.item(
            ReferencedSOPClassUID=one.SOPClassUID, ReferencedSOPInstanceUID=one.SOPInstanceUID
        )
        for one in reference.headers
    ]
    series = dicom.item(SeriesInstanceUID=header.SeriesInstanceUID, ReferencedSOPSequence=named)
    ds.SourceImageEvidenceSequence = [
        dicom.item(StudyInstanceUID=header.StudyInstanceUID, ReferencedSeriesSequence=[series])
    ]


def _add_dimensions(ds: Dataset) -> None:
    """The frames are the positions in one stack."""

    organization = dicom.item(DimensionOrganizationUID=f"{ds.SOPInstanceUID}.1"[:64])
    ds.DimensionOrganizationSequence = [organization]
    ds.DimensionOrganizationType = "3D"
    ds.DimensionIndexSequence = [
        dicom.item(
            DimensionOrganizationUID=organization.DimensionOrganizationUID,
            DimensionIndexPointer=Tag(keyword),
            FunctionalGroupPointer=Tag("FrameContentSequence"),
            DimensionDescriptionLabel=label,
        )
        for keyword, label in (("StackID", "Stack"), ("InStackPositionNumber", "Position"))
    ]


def _shared(first: Dataset, image_type: Sequence[str], contrast: str) -> Dataset:
    """What holds for all frames."""

    kind = dicom.item(FrameType=list(image_type))
    _describe(kind, contrast)
    region = dicom.coded(codes.SCT.Brain)
    return dicom.item(
        MRImageFrameTypeSequence=[kind],
        FrameAnatomySequence=[dicom.item(FrameLaterality="U", AnatomicRegionSequence=[region])],
        **{
            group: [dicom.item(**{keyword: first[keyword].value for keyword in keywords})]
            for group, keywords in SHARED.items()
        },
    )


def _frame(image: Dataset, number: int) -> Dataset:
    """What holds for one frame: its place, and what it was made from."""

    frame = dicom.item(
        FrameContentSequence=[
            dicom.item(
                StackID=STACK, InStackPositionNumber=number, DimensionIndexValues=[1, number]
            )
        ],
        PlanePositionSequence=[dicom.item(ImagePositionPatient=image.ImagePositionPatient)],
    )
    if "SourceImageSequence" in image:
        how = dicom.coded(Code("MODEL", dicom.OWN_SCHEME, "Made with a generative model"))
        frame.DerivationImageSequence = [
            dicom.item(
                DerivationDescription=image.DerivationDescription,
                DerivationCodeSequence=[how],
                SourceImageSequence=image.SourceImageSequence,
            )
        ]
    return frame


# Label maps as DICOM Segmentations and volumes of tissue as Structured Reports, by highdicom.
#
# Both refer to the images they are about: the reference series, or the exported ones.

#: SNOMED CT codes of what the tissue network labels, by the beginning of the label's name.
CODES = {
    "cerebrospinal fluid": ("BodySubstance", "CerebrospinalFluid"),
    "subarachnoid csf": ("BodySubstance", "CerebrospinalFluid"),
    "grey matter": ("Tissue", "GrayMatter"),
    "white matter": ("Tissue", "WhiteMatter"),
    "ventricles": ("AnatomicalStructure", "BrainVentricle"),
    "brain stem": ("AnatomicalStructure", "BrainStem"),
    "brain tissue": ("AnatomicalStructure", "Brain"),
}


def segmentation_of(common: dicom.Common, images: Sequence[Dataset]) -> Dataset:
    """A label map as a binary Segmentation, one segment for each label.

    Parameters
    ----------
    common : Common
        Of a label map of this program: its sidecar names the labels.
    images : sequence of pydicom.Dataset
        The series that was labelled, on the same grid; pixels are not needed.

    Raises
    ------
    OutputError
        If the sidecar names no labels, no voxel has one, or highdicom is missing.
    """
    hd, saved = _highdicom(), common.saved
    names = saved.text.get("Labels")
    if not isinstance(names, Mapping):
        raise OutputError(f"{saved.stem} has no label names in its sidecar: give a label map.")
    values = [int(v) for v in names if int(v) > 0 and (saved.data == int(v)).any()]
    if not values:
        raise OutputError(f"{saved.stem} has no labelled voxel: there is nothing to write.")
    data, affine = dicom.turned(
        saved.data, saved.affine, dicom.SLICING[dicom.slicing_plane(saved.affine)]
    )
    # highdicom's axes are slices, rows, columns.
    order = [2, 1, 0]
    lps = RAS_TO_LPS @ affine
    lps[:, :3] = lps[:, order]
    numbered = np.zeros(data.shape, np.uint8)
    for number, value in enumerate(values, start=1):
        numbered[data == value] = number
    volume = hd.Volume(
        np.ascontiguousarray(numbered.transpose(order)),
        lps,
        coordinate_system="PATIENT",
        frame_of_reference_uid=images[0].FrameOfReferenceUID,
    )
    described = []
    for number, value in enumerate(values, start=1):
        name = str(names[str(value)])
        category, kind = _concepts(name)
        described.append(
            hd.seg.SegmentDescription(
                segment_number=number,
                segment_label=name[:64],
                segmented_property_category=category,
                segmented_property_type=kind,
                algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
                algorithm_identification=_algorithm(saved),
                tracking_uid=common.uid("segment", str(value)),
                tracking_id=f"{saved.stem} {name}"[:64],
            )
        )
    ds = hd.seg.Segmentation(
        source_images=list(images),
        pixel_array=volume,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=described,
        series_instance_uid=common.uid("SEG", "series"),
        series_number=9002,
        sop_instance_uid=common.uid("SEG", "instance"),
        instance_number=1,
        manufacturer=PROGRAM,
        manufacturer_model_name=PROGRAM,
        software_versions=version(),
        device_serial_number="none",
        content_description=dicom.long_string(saved.title),
        content_label="LABELS",
        series_description=dicom.long_string(saved.title),
    )
    return common.marked(ds)


def measures_of(common: dicom.Common, images: Sequence[Dataset]) -> Dataset:
    """The tissue volumes in a volume's sidecar as a measurement report (TID 1500).

    Parameters
    ----------
    common : Common
        Of a file whose sidecar has `TissueVolumes` (a volume) or `Measures` (a label map).
    images : sequence of pydicom.Dataset
        See `segmentation_of`.

    Raises
    ------
    OutputError
        If the sidecar has no volumes, or highdicom is missing.
    """
    hd, saved = _highdicom(), common.saved

    found = {key: value for key, value in known_volumes(saved).items() if np.isfinite(value)}
    if not found:
        raise OutputError(f"{saved.stem} has no tissue volumes in its sidecar: nothing to write.")
    groups = []
    for key, value in found.items():
        category, kind = _concepts(VOLUMES[key])
        groups.append(
            hd.sr.MeasurementsAndQualitativeEvaluations(
                tracking_identifier=hd.sr.TrackingIdentifier(
                    uid=common.uid("measure", key), identifier=VOLUMES[key]
                ),
                finding_category=category,
                finding_type=kind,
                algorithm_id=hd.sr.AlgorithmIdentification(PROGRAM, version()),
                measurements=[
                    hd.sr.Measurement(
                        name=codes.SCT.Volume,
                        value=round(float(value), 2),
                        unit=hd.sr.CodedConcept("mL", "UCUM", "milliliter"),
                    )
                ],
            )
        )
    device = hd.sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=common.uid("device"), name=PROGRAM, manufacturer_name=PROGRAM
        ),
    )
    report = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=device),
        procedure_reported=codes.LN.BrainMRI,
        imaging_measurements=groups,
        # Its library of images holds single slices only; others are named as evidence.
        referenced_images=[one for one in images if "PixelSpacing" in one] or None,
    )
    ds = hd.sr.EnhancedSR(
        evidence=list(images),
        content=report[0],
        series_instance_uid=common.uid("SR", "series"),
        series_number=9003,
        sop_instance_uid=common.uid("SR", "instance"),
        instance_number=1,
        manufacturer=PROGRAM,
        is_complete=True,
        series_description=dicom.long_string(saved.title),
    )
    return common.marked(ds)


def known_volumes(saved: dicom.SavedFile) -> dict[str, float]:
    """Millilitres by the keys of `VOLUMES`, where the sidecar has them."""
    text = saved.text.get("TissueVolumes") or saved.text.get("Measures") or {}
    text = text.get("Volumes", text) if isinstance(text, Mapping) else {}
    known = {key: text[key] for key in VOLUMES if key in text}
    return {key: float(v) for key, v in known.items() if isinstance(v, int | float)}


def _algorithm(saved: dicom.SavedFile) -> Any:
    hd = _highdicom()

    network = saved.text.get("Network", {})
    name = str(network.get("Name", PROGRAM)) if isinstance(network, Mapping) else PROGRAM
    return hd.AlgorithmIdentificationSequence(
        name=name[:64], family=codes.DCM.ArtificialIntelligence, version=version()
    )


def _concepts(name: str) -> tuple[Any, Any]:
    """Category and type of a structure, by its name: SNOMED CT, else a code of this program."""

    for start, (category, kind) in CODES.items():
        if name.lower().startswith(start):
            return getattr(codes.SCT, category), getattr(codes.SCT, kind)
    value = "".join(c for c in name.upper() if c.isalnum())
    value = value if len(value) <= 16 else value[:8] + value[-8:]  # the side comes last
    return codes.SCT.AnatomicalStructure, Code(value, dicom.OWN_SCHEME, name[:64])


def _highdicom() -> Any:
    try:
        import highdicom
    except ImportError:
        raise OutputError(
            "DICOM files of this kind need the package highdicom: pip install "
            "napari-stylegan3d[dicom]"
        ) from None
    return highdicom


#: A label map's grid is that of its scan up to here, mm.
SAME_MM = 1e-2


def dicom_files(
    paths: Sequence[str | Path],
    out: str | Path,
    reference: dicom.Reference | None = None,
    settings: DicomSettings = USUAL_DICOM,
    *,
    when: datetime.datetime | None = None,
    progress: Progress = SILENT,
    contents: Mapping[Path, bytes] | None = None,
) -> dict[Path, bytes]:
    """Saved files as DICOM, not yet written: name to content, a folder for each of `paths`.

    A volume becomes a series of MR images, with its tissue volumes as a Structured Report; a label
    map a Segmentation and a Structured Report about the scan that it labels; a report an
    encapsulated PDF.

    Parameters
    ----------
    paths : sequence of path
        Volumes and label maps (`.nii.gz`, with their sidecars) and reports (`.pdf`) as this
        program saved them.
    out : path
        Folder for the files.
    reference : Reference, optional
        Series of the patient whose study they join. A label map of it refers to its images.
    settings : DicomSettings, optional
    when : datetime, optional
        Date of the content; now.
    progress : Progress
    contents : mapping of Path to bytes, optional
        Files that are not written yet: name to content.

    Raises
    ------
    OutputError
        If a setting is not allowed, or a file is none that this program saved, or cannot be held by
        DICOM.
    """
    check_options(settings)
    when = when or datetime.datetime.now().astimezone()
    files: dict[Path, bytes] = {}
    for done, path in enumerate(map(Path, paths), start=1):
        if path.suffix.lower() == REPORT_SUFFIX:
            stem, objects = path.stem, [dicom.pdf_of(path, reference, when=when, contents=contents)]
        else:
            saved = dicom.SavedFile.read(path, contents)
            stem, common = saved.stem, dicom.Common(saved, reference, when)
            if isinstance(saved.text.get("Labels"), Mapping):
                images, written = _labelled(path, common)
                objects = [*written, segmentation_of(common, images)]
            else:
                images = dicom.series_of(
                    saved, reference, plane=settings.plane, burn_in=settings.burn_in, when=when
                )
                if settings.enhanced:
                    images = [enhanced_of(images, reference, contrast=contrast_of(stem))]
                objects = images
            if known_volumes(saved):
                objects = [*objects, measures_of(common, images)]
        made = dict(dicom.encoded(objects, Path(out) / stem))
        if made.keys() & files.keys():
            raise OutputError(f"Two files are called {stem}: write them to separate folders.")
        files |= made
        progress(done, len(paths), path.name)
    return files


def _labelled(path: Path, common: dicom.Common) -> tuple[list[Dataset], list[Dataset]]:
    """The images that a label map is about, and those of them that are to be written too.

    These are the scan that it labels, where no reference holds it.
    """
    saved = common.saved
    if common.reference is not None:
        headers = common.reference.headers
        if not _same_grid(saved, headers):
            raise OutputError(
                f"{path.name} is not on the grid of the reference series: give the series that "
                "was labelled, or leave the reference out."
            )
        return headers, []
    sources = saved.text.get("Sources") or [""]
    source = file_of(path.parent, str(sources[0]))
    if not str(sources[0]) or not source.is_file():
        raise OutputError(
            f"The scan that {path.name} labels ({sources[0] or 'not named'}) is not beside it: "
            "put it there, or give its DICOM series with --reference."
        )
    images = dicom.series_of(_image(source), when=common.when)
    return images, images


def _image(path: Path) -> dicom.SavedFile:
    """A volume of this program, or a scan as it was read."""
    try:
        return dicom.SavedFile.read(path)
    except OutputError:
        from stylegan3d.scans import read_scan

        scan = read_scan(path)
        made = scan.origin != "acquired"
        name = ORIGIN_NAMES[scan.origin]
        text = {
            "SyntheticImage": made,
            "Description": f"{name}, as it was read." if made else "A scan, as it was read.",
        }
        return dicom.SavedFile(
            portable(without_suffix(path.name)), scan.data, scan.affine, text, scan.sha256.encode()
        )


def _same_grid(saved: dicom.SavedFile, headers: Sequence[Dataset]) -> bool:
    """Whether a label map's slices lie where those of a series do."""
    try:
        places = np.array([h.ImagePositionPatient for h in headers], dtype=float)
        corner = np.array(headers[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
        rows, columns = map(float, headers[0].PixelSpacing)
    except (AttributeError, TypeError, ValueError):
        return False
    shape = (int(headers[0].Columns), int(headers[0].Rows), len(headers))
    if sorted(shape) != sorted(saved.data.shape):
        return False
    ends = [
        place + corner[0] * columns * i + corner[1] * rows * j
        for place in places[[0, -1]]
        for i in (0, shape[0] - 1)
        for j in (0, shape[1] - 1)
    ]
    own = np.linalg.inv(RAS_TO_LPS @ saved.affine)
    voxels = np.array(ends) @ own[:3, :3].T + own[:3, 3]
    limit = np.array(saved.data.shape) - 1
    off = np.minimum(np.abs(voxels), np.abs(voxels - limit)).max()
    return bool(off * np.linalg.norm(saved.affine[:3, :3], axis=0).max() < SAME_MM)
