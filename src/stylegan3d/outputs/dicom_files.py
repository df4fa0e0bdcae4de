"""From saved files to DICOM files: which object each becomes, and where it is written."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stylegan3d.errors import OutputError
from stylegan3d.geometry.space import RAS_TO_LPS
from stylegan3d.outputs.dicom import (
    Reference,
    Saved,
    encoded,
    pdf_of,
    series_of,
)
from stylegan3d.outputs.dicom_enhanced import contrast_of, enhanced_of
from stylegan3d.outputs.dicom_structured import known_volumes, measures_of, segmentation_of
from stylegan3d.outputs.report import SUFFIX as REPORT_SUFFIX
from stylegan3d.progress import SILENT, Progress
from stylegan3d.settings.export import USUAL_DICOM, DicomSettings
from stylegan3d.settings.option import check_options
from stylegan3d.storage.bids import file_of

if TYPE_CHECKING:
    from pydicom import Dataset

#: A label map's grid is that of its scan up to here, mm.
SAME_MM = 1e-2


def dicom_files(
    paths: Sequence[str | Path],
    out: str | Path,
    reference: Reference | None = None,
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
            stem, objects = path.stem, [pdf_of(path, reference, when=when, contents=contents)]
        else:
            saved = Saved.read(path, contents)
            stem = saved.stem
            if isinstance(saved.text.get("Labels"), Mapping):
                objects = _labels(path, saved, reference, when)
            else:
                objects = series_of(
                    saved,
                    reference,
                    plane=settings.plane,
                    burn_in=settings.burn_in,
                    when=when,
                )
                if settings.enhanced:
                    contrast = contrast_of(saved.stem)
                    objects = [enhanced_of(objects, reference, contrast=contrast)]
                if known_volumes(saved):
                    objects = [*objects, measures_of(saved, objects, reference, when=when)]
        files |= dict(encoded(objects, Path(out) / stem))
        progress(done, len(paths), path.name)
    return files


def _labels(
    path: Path, saved: Saved, reference: Reference | None, when: datetime.datetime
) -> list[Dataset]:
    """A label map's objects, with the scan that it labels where no reference holds it."""
    images, written = _labelled(path, saved, reference, when)
    objects = [*written, segmentation_of(saved, images, reference, when=when)]
    if known_volumes(saved):
        objects.append(measures_of(saved, images, reference, when=when))
    return objects


def _labelled(
    path: Path, saved: Saved, reference: Reference | None, when: datetime.datetime
) -> tuple[list[Dataset], list[Dataset]]:
    """The images that a label map is about, and those of them that are to be written too."""
    if reference is not None:
        headers = reference.headers
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
    images = series_of(_image(source), when=when)
    return images, images


def _image(path: Path) -> Saved:
    """A volume of this program, or a scan as it was read."""
    try:
        return Saved.read(path)
    except OutputError:
        from stylegan3d.scans import read_scan

        scan = read_scan(path)
        text = {"SyntheticImage": False, "Description": "A scan, as it was read."}
        return Saved(
            path.name.partition(".")[0], scan.data, scan.affine, text, scan.sha256.encode()
        )


def _same_grid(saved: Saved, headers: Sequence[Dataset]) -> bool:
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
