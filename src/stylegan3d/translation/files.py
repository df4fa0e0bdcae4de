"""From a label map in a file to a painted brain in a file."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stylegan3d.errors import OutputError, ScanError, StyleGAN3DError
from stylegan3d.plain import Json
from stylegan3d.render.edit_files import edited_scan_files
from stylegan3d.render.editable import EditableScan, Original
from stylegan3d.render.movement import Movement
from stylegan3d.scans.aligned import AlignedScan
from stylegan3d.scans.intensity import to_unit
from stylegan3d.scans.scan import Scan
from stylegan3d.scans.scan_data import ScanData
from stylegan3d.segmentation.classes import CLASSES, TITLES
from stylegan3d.segmentation.inference import Segmenter
from stylegan3d.segmentation.scans import native_labels
from stylegan3d.storage.about import INTENDED_USE, PROGRAM, version
from stylegan3d.storage.bids import OWN_GRID, source_uri
from stylegan3d.storage.formats import scan_suffix
from stylegan3d.storage.hashing import sha256_of
from stylegan3d.storage.jsontext import from_json, read_json, to_json
from stylegan3d.storage.volumes import (
    VOLUME_SUFFIX,
    check_output,
    make_image,
    sidecar_path,
    volume_files,
    write_together,
)
from stylegan3d.translation.contrast import CONTRAST
from stylegan3d.translation.edits import resized
from stylegan3d.translation.maps import PlacedMap
from stylegan3d.translation.painter import Painter, Repainted

#: What the numbers in a map of tissues are, for its sidecar.
LABELS = {str(i): TITLES.get(name, name.title()) for i, name in enumerate(CLASSES)}

#: Field of a brain's sidecar: the files saved with it, from name to SHA-256.
_PARTS = "SavedWith"
_DESC = r"_desc-[A-Za-z0-9]+(?=_|$)"


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
    about: Json,
    painter: Painter,
    sources: Sequence[ScanData],
) -> dict[Path, bytes]:
    """The painted volume and its sidecar, not yet written: name to content."""
    sidecar = _sidecar(path.parent, about, painter, sources)
    description = f"{PROGRAM} {painter.name} {painter.hash[:8]}"
    return volume_files(path, make_image(volume, affine), description=description, sidecar=sidecar)


def _sidecar(folder: Path, about: Json, painter: Painter, sources: Sequence[ScanData]) -> Json:
    described = f"translation network {painter.name}, sha256 {painter.hash}"
    return {
        "Description": f"Synthetic T1-weighted brain painted by {painter.name} to fit labels. "
        "Not a measurement.",
        "IntendedUse": INTENDED_USE,
        "GeneratedBy": [{"Name": PROGRAM, "Version": version(), "Description": described}],
        "Sources": [source_uri(folder, scan.path) for scan in sources],
        "SourceSHA256": [scan.sha256 for scan in sources],
        "Model": {"Name": painter.name, "SHA256": painter.hash},
        "Units": "arbitrary",
        "Intensity": "1 is the 99.5th percentile inside the brain, 0 is outside",
        "SkullStripped": True,
        **about,
    }


@dataclass(frozen=True, eq=False)
class Relabelled:
    """A brain whose labels were edited by hand.

    Attributes
    ----------
    title : str
        What it was before, in words.
    brain, before, after : ndarray, shape (X, Y, Z)
        On the painter's grid: the brain, its tissues, the edited ones.
    scan : AlignedScan or None
        The scan that the brain shows, if it does.
    movement : Movement or None
        What had been done to that scan before.
    strength : float
        Share of the scan's own detail in the brain, 0 to 1.
    """

    title: str
    brain: np.ndarray
    before: np.ndarray
    after: np.ndarray
    scan: AlignedScan | None = None
    movement: Movement | None = None
    strength: float = 1.0


def relabelled_files(path: Path, painter: Painter, edit: Relabelled) -> dict[Path, bytes]:
    """A brain with manually edited labels, and the labels; not yet written: name to content.

    A scan is edited on its own grid, where its labels lie, too; beside it lie what changed and what
    moved. `path` is that of the brain; the others are those of `names_beside`.
    """
    made = painter.repaint(edit.brain, edit.before, edit.after)
    about: Json = {
        "EditedLabelsOf": edit.title,
        "VoxelsRelabelled": int((edit.after != edit.before).sum()),
        "Contrast": contrast_entry(painter.contrast_of(edit.brain, edit.before)),
        "SpatialReference": "the model's grid" if edit.scan is None else OWN_GRID,
        "Labels": labels_path(path).name,
    }
    said = {
        "Description": "Tissue labels edited by hand.",
        "IntendedUse": INTENDED_USE,
        "LabelsOf": edit.title,
        "Labels": LABELS,
    }
    if edit.scan is None:
        affine = painter.space.affine
        files = painted_files(path, made.volume, affine, about, painter, [])
        image = make_image(edit.after, affine)
    else:
        files = _edited_scan(path, painter, edit, edit.scan, made, about)
        image = native_labels(edit.after, edit.scan)
    return files | volume_files(labels_path(path), image, description="edited labels", sidecar=said)


def _edited_scan(
    path: Path,
    painter: Painter,
    edit: Relabelled,
    aligned: AlignedScan,
    made: Repainted,
    about: Json,
) -> dict[Path, bytes]:
    """The scan on its own grid, moved and painted on like the brain."""
    scan = EditableScan(Original.of(aligned), painter.space)
    moved = made.on_scan(scan.fading, edit.movement)
    data = scan.edited(moved)
    if edit.strength < 1:
        finer = data - scan.made(scan.frame(moved))
        data = scan.made(made.volume) + np.float32(edit.strength) * finer
    sidecar = _sidecar(path.parent, about, painter, [aligned.scan])
    return edited_scan_files(
        scan,
        data,
        moved,
        {"Scan": path, **names_beside(path, edit)},
        lambda _folder: sidecar | {"Intensity": "units of the scan"},
        how=f"its tissue labels were edited by hand. Its own detail moves along; {painter.name} "
        "painted tissue that no movement brings",
        description=f"{PROGRAM} {painter.name} {painter.hash[:8]}",
    )


def save_relabelled(path: Path, painter: Painter, edit: Relabelled) -> list[Path]:
    """Write the files of `relabelled_files`; paths of the brain and of its labels.

    A brain called `path` is replaced with all files that were saved with it, as far as they are
    unchanged: whoever chose that name was asked. No other file is.

    Raises
    ------
    OutputError
        If another file exists already, or one cannot be written.
    """
    chosen = path
    if not path.name.endswith(VOLUME_SUFFIX):  # as a user may type it
        path = path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + VOLUME_SUFFIX)
    beside = [*names_beside(path, edit).values()]
    planned = [file for volume in (path, *beside) for file in (volume, sidecar_path(volume))]
    replaced = _saved_before(path) if path == chosen and path.exists() else set()
    for file in planned:
        if file not in replaced and os.path.lexists(file):
            raise OutputError(
                f"{file.name} exists already and was not saved with {path.name}, or has been "
                "changed since: choose another name or folder."
            )
    if stale := replaced - set(planned):
        raise OutputError(
            f"{min(stale).name} was saved with the present {path.name}, and would be left beside "
            "another brain: choose another name or folder."
        )
    check_output(planned, overwrite=True)
    files = _with_parts(path, relabelled_files(path, painter, edit))
    write_together(files, overwrite=bool(replaced))
    return [path, labels_path(path)]


def _with_parts(path: Path, files: dict[Path, bytes]) -> dict[Path, bytes]:
    """The files, the sidecar of the brain `path` naming all that are saved with it."""
    sidecar = sidecar_path(path)
    parts = {
        file.name: hashlib.sha256(content).hexdigest()
        for file, content in files.items()
        if file not in (path, sidecar)
    }
    return files | {sidecar: to_json(from_json(files[sidecar]) | {_PARTS: parts}).encode()}


def _saved_before(path: Path) -> set[Path]:
    """An earlier brain `path`, its sidecar, and the unchanged files that were saved with it."""
    sidecar = sidecar_path(path)
    saved = {path, sidecar}
    nothing = (OSError, ValueError, LookupError, TypeError, AttributeError, ScanError)
    with suppress(*nothing):  # no sidecar, or one of another program
        for name, sha256 in read_json(sidecar)[_PARTS].items():
            file = path.with_name(name)
            if file.is_file() and sha256_of(file) == sha256:
                saved.add(file)
    return saved


def names_beside(path: Path, edit: Relabelled) -> dict[str, Path]:
    """The volumes that are written beside the brain `path`, by what they hold.

    Those of a scan have its BIDS suffix, and in `desc` what they hold after the one of the brain:
    sub-01_desc-largerChange_FLAIR.nii.gz for sub-01_desc-larger_FLAIR.nii.gz; without one "edited".
    """
    names = {"Labels": labels_path(path)}
    if edit.scan is None:
        return names
    stem = path.name.removesuffix(VOLUME_SUFFIX).removesuffix(f"_{scan_suffix(path)}")
    if not re.search(_DESC, stem):
        stem += "_desc-edited"
    for what in ("Change", "Movement"):
        name = re.sub(_DESC, rf"\g<0>{what}", stem, count=1)
        names[what] = path.with_name(f"{name}_{scan_suffix(edit.scan.scan.path)}{VOLUME_SUFFIX}")
    return names


def labels_path(path: Path) -> Path:
    """Such as brain_dseg.nii.gz for brain_T1w.nii.gz."""
    stem = path.name.removesuffix(VOLUME_SUFFIX).removesuffix("_T1w")
    return path.with_name(f"{stem}_dseg{VOLUME_SUFFIX}")


def contrast_entry(contrast: np.ndarray) -> dict[str, float]:
    """A contrast for a sidecar: name of each number to its value."""
    return {name: round(float(v), 4) for name, v in zip(CONTRAST, contrast, strict=True)}
