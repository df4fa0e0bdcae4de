"""A series of MR images as one Enhanced MR image: all slices in one file.

DICOM PS3.3, A.36. A derived image says nothing of a pulse sequence, since none made it: the modules
and functional groups of the acquisition are left out, as the standard allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING

from stylegan3d.errors import OutputError
from stylegan3d.outputs.dicom import OWN_SCHEME, Reference, coded

if TYPE_CHECKING:
    from pydicom import Dataset

#: Elements of a slice that the functional groups hold instead, or that a single image alone has.
MOVED = (
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
    *("SpacingBetweenSlices", "RescaleIntercept", "RescaleSlope", "RescaleType", "WindowCenter"),
    *("WindowWidth", "VOILUTFunction", "SourceImageSequence", "DerivationDescription"),
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
    images: Sequence[Dataset], reference: Reference | None = None, *, contrast: str = UNKNOWN
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
    from pydicom.uid import EnhancedMRImageStorage

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


def _add_evidence(ds: Dataset, reference: Reference) -> None:
    """The series that the sources are in, which the frames name one by one."""
    header = reference.header
    named = [
        _item(ReferencedSOPClassUID=one.SOPClassUID, ReferencedSOPInstanceUID=one.SOPInstanceUID)
        for one in reference.headers
    ]
    series = _item(SeriesInstanceUID=header.SeriesInstanceUID, ReferencedSOPSequence=named)
    ds.SourceImageEvidenceSequence = [
        _item(StudyInstanceUID=header.StudyInstanceUID, ReferencedSeriesSequence=[series])
    ]


def _add_dimensions(ds: Dataset) -> None:
    """The frames are the positions in one stack."""
    from pydicom.tag import Tag

    organization = _item(DimensionOrganizationUID=f"{ds.SOPInstanceUID}.1"[:64])
    ds.DimensionOrganizationSequence = [organization]
    ds.DimensionOrganizationType = "3D"
    ds.DimensionIndexSequence = [
        _item(
            DimensionOrganizationUID=organization.DimensionOrganizationUID,
            DimensionIndexPointer=Tag(keyword),
            FunctionalGroupPointer=Tag("FrameContentSequence"),
            DimensionDescriptionLabel=label,
        )
        for keyword, label in (("StackID", "Stack"), ("InStackPositionNumber", "Position"))
    ]


def _shared(first: Dataset, image_type: Sequence[str], contrast: str) -> Dataset:
    """What holds for all frames."""
    from pydicom.sr.codedict import codes

    kind = _item(FrameType=list(image_type))
    _describe(kind, contrast)
    region = coded(codes.SCT.Brain)
    return _item(
        MRImageFrameTypeSequence=[kind],
        PixelMeasuresSequence=[
            _item(
                PixelSpacing=first.PixelSpacing,
                SliceThickness=first.SliceThickness,
                SpacingBetweenSlices=first.SpacingBetweenSlices,
            )
        ],
        PlaneOrientationSequence=[_item(ImageOrientationPatient=first.ImageOrientationPatient)],
        FrameAnatomySequence=[_item(FrameLaterality="U", AnatomicRegionSequence=[region])],
        PixelValueTransformationSequence=[
            _item(
                RescaleIntercept=first.RescaleIntercept,
                RescaleSlope=first.RescaleSlope,
                RescaleType=first.RescaleType,
            )
        ],
        FrameVOILUTSequence=[
            _item(
                WindowCenter=first.WindowCenter,
                WindowWidth=first.WindowWidth,
                VOILUTFunction=first.VOILUTFunction,
            )
        ],
    )


def _frame(image: Dataset, number: int) -> Dataset:
    """What holds for one frame: its place, and what it was made from."""
    from pydicom.sr.coding import Code

    frame = _item(
        FrameContentSequence=[
            _item(StackID=STACK, InStackPositionNumber=number, DimensionIndexValues=[1, number])
        ],
        PlanePositionSequence=[_item(ImagePositionPatient=image.ImagePositionPatient)],
    )
    if "SourceImageSequence" in image:
        how = coded(Code("MODEL", OWN_SCHEME, "Made with a generative model"))
        frame.DerivationImageSequence = [
            _item(
                DerivationDescription=image.DerivationDescription,
                DerivationCodeSequence=[how],
                SourceImageSequence=image.SourceImageSequence,
            )
        ]
    return frame


def _item(**elements: object) -> Dataset:
    """An item of a sequence."""
    from pydicom import Dataset

    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item
