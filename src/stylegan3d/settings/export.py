"""What can be chosen for files that are saved.

What can be chosen for a report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from stylegan3d.settings.option import Option


@dataclass(frozen=True)
class ExportSettings:
    """Which files are saved beside a volume, and whether existing ones are replaced."""

    overwrite: Annotated[
        bool,
        Option("Replace files of the same name", "Otherwise existing files are never changed."),
    ] = False
    native: Annotated[
        bool,
        Option(
            "Also in the scan's native space",
            "A second file with the grid, orientation and intensities of the projected scan.",
            flag=None,
        ),
    ] = False
    dicom: Annotated[
        bool,
        Option(
            "Also as DICOM",
            "Volumes and reports as DICOM too, in a folder beside the file, for an archive (PACS). "
            "What is made from a patient's DICOM series joins that patient and study.",
            flag=None,
        ),
    ] = False


@dataclass(frozen=True)
class DicomSettings:
    """How files are written as DICOM; see `stylegan3d.outputs.dicom_files.dicom_files`."""

    plane: Annotated[
        str | None,
        Option(
            "Plane",
            "Plane of the slices; without it across the longest voxel edge, else axial.",
            choices={"axial": "axial", "coronal": "coronal", "sagittal": "sagittal"},
        ),
    ] = None
    burn_in: Annotated[bool, Option("Burn in", "Write the word SYNTHETIC into the pixels too.")] = (
        False
    )
    enhanced: Annotated[
        bool,
        Option("Enhanced", "Each volume as one Enhanced MR image, all slices in one file."),
    ] = False


#: As it is if nothing else is chosen.
USUAL_DICOM = DicomSettings()


@dataclass(frozen=True)
class ReportSettings:
    """What a report marks, and its files; Measure marks the same."""

    unusual_z: Annotated[
        float,
        Option(
            "Mark z beyond ±",
            "Mark values whose z lies beyond this, in Measure and in reports. In any one measure "
            "5 % of healthy people lie beyond ±2.",
            low=1,
            high=5,
            step=0.05,
            flag="--mark-z",
        ),
    ] = 2.0
    html: Annotated[
        bool,
        Option(
            "Reports also as HTML",
            "One file for each report, for a web browser.",
            flag="--html/--no-html",
        ),
    ] = True
