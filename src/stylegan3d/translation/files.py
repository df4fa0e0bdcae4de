"""From a label map in a file to a painted brain in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stylegan3d.errors import ScanError, StyleGAN3DError
from stylegan3d.scans.intensity import to_unit
from stylegan3d.scans.scan import Scan
from stylegan3d.segmentation.classes import CLASSES, TITLES
from stylegan3d.segmentation.inference import Segmenter
from stylegan3d.storage.about import INTENDED_USE, PROGRAM, version
from stylegan3d.storage.bids import source_uri
from stylegan3d.storage.volumes import VOLUME_SUFFIX, make_image, volume_files, write_together
from stylegan3d.translation.contrast import CONTRAST
from stylegan3d.translation.edits import resized
from stylegan3d.translation.maps import PlacedMap
from stylegan3d.translation.painter import Painter

#: What the numbers in a map of tissues are, for its sidecar.
LABELS = {str(i): TITLES.get(name, name.title()) for i, name in enumerate(CLASSES)}


@dataclass(frozen=True)
class Resize:
    """One edit of labels: how far the border of a tissue moves, mm."""

    tissue: str
    mm: float

    @classmethod
    def parse(cls, text: str) -> Resize:
        """Such as "ventricle=4" or "grey=-1.5".

        Raises
        ------
        StyleGAN3DError
            If it is not of this form, or there is no such tissue.
        """
        tissue, _, number = text.partition("=")
        try:
            mm = float(number)
        except ValueError:
            mm = float("nan")
        if tissue not in CLASSES[1:] or not np.isfinite(mm):
            raise StyleGAN3DError(
                f"'{text}' is not a change of a tissue; write one of "
                f"{', '.join(CLASSES[1:])} and the millimetres its border moves, such as "
                "ventricle=4."
            )
        return cls(tissue, mm)


def edited(tissues: np.ndarray, edits: Sequence[Resize], painter: Painter) -> np.ndarray:
    """Tissues (X, Y, Z) on the painter's grid after edits, one after the other."""
    for edit in edits:
        structure = tissues == CLASSES.index(edit.tissue)
        tissues = resized(tissues, structure, edit.mm, painter.space.voxel_size)
    return tissues


def brain_of(scan: Scan, painter: Painter, segmenter: Segmenter) -> tuple[np.ndarray, np.ndarray]:
    """A brain on the painter's grid: the volume, float32 in [0, 1], and its tissues.

    A scan on another grid is prepared as for a projection.

    Raises
    ------
    ScanError
        If no brain is found, or the intensities are not those of a brain volume.
    """
    same = scan.space.same_as(painter.space)
    volume = to_unit(scan) if same else scan.align(painter).volume
    return volume, segmenter.segment(volume, painter.space).labels


def painted(
    placed: PlacedMap, painter: Painter, contrast: np.ndarray, edits: Sequence[Resize]
) -> tuple[np.ndarray, np.ndarray]:
    """The brain generated from an edited map, and its tissues; both on the painter's grid."""
    tissues = edited(placed.tissues, edits, painter)
    regions = placed.regions
    if regions is not None and edits:
        # Regions are used where the edits left the tissue unchanged.
        regions = np.where(tissues == placed.tissues, regions, 0)
    return painter.paint(tissues, regions, contrast), tissues


def check_onto(brain: Scan, placed: PlacedMap, painter: Painter) -> None:
    """Refuse to change a brain by labels of another place.

    Raises
    ------
    ScanError
        If the brain or the labels are not on the painter's grid.
    """
    on_grid = placed.space.same_as(painter.space)
    if not brain.space.same_as(painter.space) or not on_grid:
        raise ScanError(
            f"{brain.path.name} and its labels must both lie on the grid of {painter.name}; take a "
            "volume this program saved, and what `stylegan3d segment` writes for it."
        )


def painted_files(
    path: Path,
    volume: np.ndarray,
    affine: np.ndarray,
    about: dict[str, Any],
    painter: Painter,
    sources: Sequence[Scan],
) -> dict[Path, bytes]:
    """The painted volume and its sidecar, not yet written: name to content."""
    described = f"translation network {painter.name}, sha256 {painter.hash}"
    sidecar = {
        "Description": f"Synthetic T1-weighted brain painted by {painter.name} to fit labels. "
        "Not a measurement.",
        "IntendedUse": INTENDED_USE,
        "GeneratedBy": [{"Name": PROGRAM, "Version": version(), "Description": described}],
        "Sources": [source_uri(path.parent, scan.path) for scan in sources],
        "SourceSHA256": [scan.sha256 for scan in sources],
        "Model": {"Name": painter.name, "SHA256": painter.hash},
        "Units": "arbitrary",
        "Intensity": "1 is the 99.5th percentile inside the brain, 0 is outside",
        "SkullStripped": True,
        **about,
    }
    description = f"{PROGRAM} {painter.name} {painter.hash[:8]}"
    return volume_files(path, make_image(volume, affine), description=description, sidecar=sidecar)


def relabelled_files(
    path: Path,
    painter: Painter,
    title: str,
    brain: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
) -> dict[Path, bytes]:
    """A brain with manually edited labels, and the labels; not yet written: name to content.

    Parameters
    ----------
    path : Path
        Path of the brain; its labels are written to `labels_path(path)`.
    title : str
        What it was before, in words.
    brain, before, after : ndarray, shape (X, Y, Z)
        On the painter's grid: the brain, its tissues, the edited ones.
    """
    volume, affine = painter.repaint(brain, before, after), painter.space.affine
    about: dict[str, Any] = {
        "EditedLabelsOf": title,
        "VoxelsRelabelled": int((after != before).sum()),
        "Contrast": contrast_entry(painter.contrast_of(brain, before)),
        "SpatialReference": "the model's grid",
        "Labels": labels_path(path).name,
    }
    said = {
        "Description": "Tissue labels edited by hand.",
        "IntendedUse": INTENDED_USE,
        "LabelsOf": title,
        "Labels": LABELS,
    }
    files = painted_files(path, volume, affine, about, painter, [])
    image = make_image(after, affine)
    return files | volume_files(labels_path(path), image, description="edited labels", sidecar=said)


def save_relabelled(
    path: Path,
    painter: Painter,
    title: str,
    brain: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
) -> list[Path]:
    """Write the files of `relabelled_files`, replacing existing ones; return their paths."""
    if not path.name.endswith(VOLUME_SUFFIX):  # as a user may type it
        path = path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + VOLUME_SUFFIX)
    files = relabelled_files(path, painter, title, brain, before, after)
    write_together(files, overwrite=True)
    return [path, labels_path(path)]


def labels_path(path: Path) -> Path:
    """Such as brain_dseg.nii.gz for brain_T1w.nii.gz."""
    stem = path.name.removesuffix(VOLUME_SUFFIX).removesuffix("_T1w")
    return path.with_name(f"{stem}_dseg{VOLUME_SUFFIX}")


def contrast_entry(contrast: np.ndarray) -> dict[str, float]:
    """A contrast for a sidecar: name of each number to its value."""
    return {name: round(float(v), 4) for name, v in zip(CONTRAST, contrast, strict=True)}
