"""Label a file: a volume on a model's grid as it is, or a scan by way of its preparation."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from stylegan3d.checkpoints.places import TEMPLATE, bundled_model_path
from stylegan3d.progress import ShareProgress
from stylegan3d.scans.aligned import AlignedScan
from stylegan3d.scans.intensity import to_unit
from stylegan3d.scans.notes import Note, checks
from stylegan3d.scans.scan import Scan
from stylegan3d.scans.target import load_template
from stylegan3d.segmentation.classes import CLASSES, TITLES
from stylegan3d.segmentation.inference import Segmentation, Segmenter
from stylegan3d.segmentation.measures import MEASURES, measures_of
from stylegan3d.storage.about import PROGRAM
from stylegan3d.storage.jsontext import read_json, to_json
from stylegan3d.storage.volumes import make_image, sidecar_path, volume_files

NOTICE = "Labels by a network; not a medical device, not for diagnosis."


@dataclass(frozen=True, eq=False)
class LabelledScan:
    """The labels of a file.

    Attributes
    ----------
    image : nib.Nifti1Image
        uint8 label map on the file's own grid, with its orientation and header codes.
    segmentation : Segmentation
        The labels as the network gave them, on the grid of the bundled generator; what the measures
        are counted on.
    steps : list of Note
        What was done to the scan.
    """

    image: nib.Nifti1Image
    segmentation: Segmentation
    steps: list[Note]

    @property
    def measures(self) -> dict[str, float]:
        """`segmentation.measures.MEASURES` and "confidence"."""
        return measures_of(self.segmentation)

    @property
    def warnings(self) -> list[str]:
        """The steps that the user should check."""
        return list(map(str, checks(self.steps)))


def segment_scan(
    segmenter: Segmenter, scan: Scan, *, skull: str = "auto", progress: ShareProgress | None = None
) -> LabelledScan:
    """Label the brain of a scan.

    Parameters
    ----------
    scan : Scan
        On the grid of the bundled generator it is taken as it is; any other is prepared as for that
        generator (`Scan.align`), and the labels are carried back to its own grid.
    skull : str
        See `Scan.align`.

    Raises
    ------
    ScanError
        If no brain is found, or the intensities are not those of a brain volume.
    """
    target = load_template(bundled_model_path() / TEMPLATE)
    if scan.space.same_as(target.space):
        found = segmenter.segment(to_unit(scan), scan.space, confidence=True)
        return LabelledScan(make_image(found.labels, scan.affine), found, list(scan.notes))
    aligned = scan.align(target, skull=skull, progress=progress)
    found = segmenter.segment(aligned.volume, aligned.space, confidence=True)
    return LabelledScan(native_labels(found.labels, aligned), found, [*scan.notes, *aligned.steps])


def native_labels(labels: np.ndarray, aligned: AlignedScan) -> nib.Nifti1Image:
    """Labels (X, Y, Z) of a prepared scan on the scan's own grid, uint8.

    Each tissue is carried there by itself, linearly, and the one that holds most of a voxel gets
    it: edges come out smoother than by nearest neighbour. A voxel that is less than half tissue is
    background.
    """
    found = np.zeros(aligned.scan.data.shape, np.uint8)
    most, total = (np.zeros(found.shape, np.float32) for _ in range(2))
    for index in range(1, len(CLASSES)):
        image = aligned.to_native((labels == index).astype(np.float32))
        share = np.asarray(image.dataobj, np.float32) / np.float32(aligned.intensity_scale)
        found[share > most] = index
        np.maximum(most, share, out=most)
        total += share
    found[total < 0.5] = 0
    result = nib.Nifti1Image(found, image.affine, image.header)
    result.set_data_dtype(np.uint8)
    return result


def label_files(path: Path, labelled: LabelledScan, scan: Scan, segmenter: Segmenter) -> dict:
    """The label map and its sidecar, not yet written: name to content."""
    sidecar = {
        "Description": f"Tissue labels of {scan.path.name}. {NOTICE}",
        "Labels": {str(i): TITLES.get(name, name.title()) for i, name in enumerate(CLASSES)},
        "Sources": [scan.path.name],
        "SourceSHA256": scan.sha256,
        "Network": {"Name": segmenter.name, "SHA256": segmenter.hash},
        "Measures": labelled.measures,
        "Preparation": list(map(str, labelled.steps)),
    }
    return volume_files(
        path,
        labelled.image,
        description=f"{PROGRAM} {segmenter.name} {segmenter.hash[:8]}",
        sidecar=sidecar,
        synthetic=_is_synthetic(scan.path),
    )


def table_text(path: Path, name: str, labelled: LabelledScan, segmenter: Segmenter) -> str:
    """The measures as CSV or JSON, by the ending of `path`.

    The CSV has a header and one row, so that the rows of many scans can be put together; a
    percentile is that of a measure among the subjects of the network's card.
    """
    measures = labelled.measures
    percentiles = {n: segmenter.percentile(n, measures[n]) for n in MEASURES}
    if path.suffix == ".json":
        about = {"name": name, "measures": measures, "percentiles": percentiles}
        return to_json({**about, "network": segmenter.hash, "checks": labelled.warnings})
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["name", *measures, *(f"{n}_percentile" for n in percentiles), "warnings"])
    values = [*(f"{v:.4f}" for v in measures.values()), *(f"{v:.1f}" for v in percentiles.values())]
    writer.writerow([name, *values, " | ".join(labelled.warnings)])
    return buffer.getvalue()


def _is_synthetic(path: Path) -> bool:
    """Whether the sidecar of a volume marks it as synthetic."""
    try:
        about: Any = read_json(sidecar_path(path))
    except (OSError, ValueError):
        return False
    return isinstance(about, dict) and about.get("SyntheticImage") is True
