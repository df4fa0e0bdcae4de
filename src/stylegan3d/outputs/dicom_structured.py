"""Label maps as DICOM Segmentations and volumes of tissue as Structured Reports, by highdicom.

Both refer to the images they are about: the reference series, or the exported ones.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stylegan3d.errors import OutputError
from stylegan3d.geometry.space import RAS_TO_LPS
from stylegan3d.measures.tissue_volumes import VOLUMES
from stylegan3d.outputs.dicom import (
    MISSING,
    OWN_SCHEME,
    SLICING,
    Common,
    Reference,
    Saved,
    long_string,
    slicing_plane,
    turned,
)
from stylegan3d.storage.about import PROGRAM, version

if TYPE_CHECKING:
    from pydicom import Dataset

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


def segmentation_of(
    saved: Saved,
    images: Sequence[Dataset],
    reference: Reference | None = None,
    *,
    when: datetime.datetime | None = None,
) -> Dataset:
    """A label map as a binary Segmentation, one segment for each label.

    Parameters
    ----------
    saved : Saved
        A label map of this program: its sidecar names the labels.
    images : sequence of pydicom.Dataset
        The series that was labelled, on the same grid; pixels are not needed.
    reference : Reference, optional
        As of `series_of`.
    when : datetime, optional
        Date of the content; now.

    Raises
    ------
    OutputError
        If the sidecar names no labels, no voxel has one, or highdicom is missing.
    """
    hd = _highdicom()
    names = saved.text.get("Labels")
    if not isinstance(names, Mapping):
        raise OutputError(f"{saved.stem} has no label names in its sidecar: give a label map.")
    values = [int(v) for v in names if int(v) > 0 and (saved.data == int(v)).any()]
    if not values:
        raise OutputError(f"{saved.stem} has no labelled voxel: there is nothing to write.")
    common = Common(saved, reference, when)
    data, affine = turned(saved.data, saved.affine, SLICING[slicing_plane(saved.affine)])
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
        content_description=long_string(saved.title),
        content_label="TISSUES",
        series_description=long_string(saved.title),
    )
    return common.marked(ds)


def measures_of(
    saved: Saved,
    images: Sequence[Dataset],
    reference: Reference | None = None,
    *,
    when: datetime.datetime | None = None,
) -> Dataset:
    """The tissue volumes in a volume's sidecar as a measurement report (TID 1500).

    Parameters
    ----------
    saved : Saved
        Its sidecar has `TissueVolumes` (a volume) or `Measures` (a label map).
    images, reference, when : list of Dataset, Reference or None, datetime or None
        See `segmentation_of`.

    Raises
    ------
    OutputError
        If the sidecar has no volumes, or highdicom is missing.
    """
    hd = _highdicom()
    from pydicom.sr.codedict import codes

    found = {key: value for key, value in known_volumes(saved).items() if np.isfinite(value)}
    if not found:
        raise OutputError(f"{saved.stem} has no tissue volumes in its sidecar: nothing to write.")
    common = Common(saved, reference, when)
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
        series_description=long_string(saved.title),
    )
    return common.marked(ds)


def known_volumes(saved: Saved) -> dict[str, float]:
    """Millilitres by the keys of `VOLUMES`, where the sidecar has them."""
    text = saved.text.get("TissueVolumes") or saved.text.get("Measures") or {}
    text = text.get("Volumes", text) if isinstance(text, Mapping) else {}
    known = {key: text[key] for key in VOLUMES if key in text}
    return {key: float(v) for key, v in known.items() if isinstance(v, int | float)}


def _algorithm(saved: Saved) -> Any:
    hd = _highdicom()
    from pydicom.sr.codedict import codes

    network = saved.text.get("Network", {})
    name = str(network.get("Name", PROGRAM)) if isinstance(network, Mapping) else PROGRAM
    return hd.AlgorithmIdentificationSequence(
        name=name[:64], family=codes.DCM.ArtificialIntelligence, version=version()
    )


def _concepts(name: str) -> tuple[Any, Any]:
    """Category and type of a structure, by its name: SNOMED CT, else a code of this program."""
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    for start, (category, kind) in CODES.items():
        if name.lower().startswith(start):
            return getattr(codes.SCT, category), getattr(codes.SCT, kind)
    value = "".join(c for c in name.upper() if c.isalnum())[:16]
    return codes.SCT.AnatomicalStructure, Code(value, OWN_SCHEME, name[:64])


def _highdicom() -> Any:
    try:
        import highdicom
    except ImportError:
        raise OutputError(MISSING) from None
    return highdicom
