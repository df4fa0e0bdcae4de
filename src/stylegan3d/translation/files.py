"""From a label map in a file to a painted brain in a file.

A user's map is read and placed on the painter's grid; structures in it may grow or shrink. Then the
labels are moved, not painted over: the structure's border goes out by the given distance, what
lies behind it is pushed along and squeezed, less and less with distance. So the deep nuclei beside
a ventricle that grows keep their shape and the cortex stays where it is. The outline of the brain
stays too, as within a skull.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import ndimage

from stylegan3d.base import SILENT, Json, Note, OutputError, ScanError, StyleGAN3DError, doubts_in
from stylegan3d.geometry.space import Space
from stylegan3d.render.editable import EditableScan, Original, edited_scan_files
from stylegan3d.render.movement import Movement
from stylegan3d.scans.aligned import EXPECTED_QUALITY, AlignedScan
from stylegan3d.scans.alignment import align_rigid
from stylegan3d.scans.intensity import correlation
from stylegan3d.scans.resampling import nearest, resample
from stylegan3d.scans.scan import Scan
from stylegan3d.scans.scan_data import ScanData
from stylegan3d.scans.verdicts import unsuitable
from stylegan3d.segmentation.classes import CLASSES, FREESURFER, STRUCTURES, TITLES
from stylegan3d.segmentation.inference import Segmenter
from stylegan3d.segmentation.scans import OnGrid, native_labels
from stylegan3d.storage.about import INTENDED_USE, PROGRAM, version
from stylegan3d.storage.bids import OWN_GRID, source_uri
from stylegan3d.storage.encoding import from_json, read_json, to_json
from stylegan3d.storage.files import check_output, sha256_of, write_together
from stylegan3d.storage.formats import Name, scan_stem, scan_suffix
from stylegan3d.storage.volumes import VOLUME_SUFFIX, make_image, sidecar_path, volume_files
from stylegan3d.translation.card import looked_up
from stylegan3d.translation.network import CONTRAST
from stylegan3d.translation.painter import Painter, Repainted

#: Millimetres over which the push falls to a third.
YIELD_MM = 14.0
#: Farthest that a border is moved, mm; a shrinking structure must not fold its surroundings.
FARTHEST_MM = 10.0
# Of the border's distance, in voxels: a border of voxels is a staircase.
_SMOOTH = 0.8
# Of the largest piece of a structure: smaller pieces are specks of the labelling, and stay.
_SPECK = 0.03


def resized(
    labels: np.ndarray, structure: np.ndarray, mm: float, voxel_mm: tuple[float, float, float]
) -> np.ndarray:
    """A label map in which a structure has grown or shrunk.

    Parameters
    ----------
    labels : ndarray
        Integers (X, Y, Z), tissues or regions; 0 is outside the brain.
    structure : ndarray, shape (X, Y, Z), bool
        The structure to resize.
    mm : float
        How far its border moves outwards, -10 to 10; negative makes it smaller.
    voxel_mm : tuple of float
        Edges of a voxel.

    Returns
    -------
    ndarray
        Of the type and shape of `labels`. Voxels outside the brain stay there, and no brain becomes
        outside. Pieces far smaller than the largest are left as they are.

    Raises
    ------
    StyleGAN3DError
        If there is nothing to resize, or the distance is too large.
    """
    if not (structure & (labels > 0)).any():
        raise StyleGAN3DError("This structure is not in the labels; paint it first.")
    if not abs(mm) <= FARTHEST_MM:
        raise StyleGAN3DError(
            f"A border can be moved by {FARTHEST_MM:g} mm at most, not by {mm:g} mm."
        )
    if mm == 0:
        return labels.copy()
    box = ndimage.find_objects(np.asarray(labels > 0, np.int8))[0]
    found = labels.copy()
    found[box] = _moved(labels[box], _without_specks(structure[box]), mm, voxel_mm)
    return found


def _moved(
    labels: np.ndarray, structure: np.ndarray, mm: float, voxel_mm: tuple[float, float, float]
) -> np.ndarray:
    """`resized`, of a box that holds the whole brain."""
    distance = _distance(structure, voxel_mm)
    source = _source(distance, mm)
    slopes = np.stack(np.gradient(distance, *voxel_mm))
    slopes /= np.maximum(np.sqrt((slopes**2).sum(axis=0)), 1e-3)
    step = (source - distance) * slopes / np.reshape(voxel_mm, (3, 1, 1, 1))
    places = np.indices(labels.shape) + step
    found = ndimage.map_coordinates(labels, places, order=0, mode="nearest")
    if mm > 0:
        # Where two borders meet there is no way out for what lay between them.
        kept, left = structure, distance < mm
    else:
        # Less than half a voxel moves none by itself: as many go as leave the volume that is left.
        kept, side = ~structure & (labels > 0), min(voxel_mm)
        depth = ndimage.distance_transform_edt(structure, voxel_mm)[structure] - side / 2
        stay = round(float(((depth + mm) / side + 0.5).clip(0, 1).sum()))
        left, at = structure.copy(), np.flatnonzero(structure)
        left.flat[at[np.argsort(distance.flat[at], kind="stable")[:stay]]] = False
        found = np.where(structure, labels, found)
    nearest = ndimage.distance_transform_edt(
        ~kept, voxel_mm, return_distances=False, return_indices=True
    )
    found = np.where(left, labels[tuple(nearest)], found)
    return np.where((labels == 0) | (found == 0), labels, found)


def _without_specks(structure: np.ndarray) -> np.ndarray:
    """The pieces of a structure that are worth moving, bool (X, Y, Z)."""
    pieces, _count = ndimage.label(structure, np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= _SPECK * sizes.max())[pieces])


def _distance(structure: np.ndarray, voxel_mm: tuple[float, float, float]) -> np.ndarray:
    """Millimetres to the structure's border, negative inside it; smooth."""
    half = min(voxel_mm) / 2
    outside = ndimage.distance_transform_edt(~structure, voxel_mm)
    inside = ndimage.distance_transform_edt(structure, voxel_mm)
    signed = np.where(structure, half - inside, outside - half)
    return np.asarray(ndimage.gaussian_filter(signed, _SMOOTH))


def _source(distance: np.ndarray, mm: float) -> np.ndarray:
    """Distance before the edit, as an increasing function of the distance after it."""
    behind = np.maximum(distance - mm, 0)
    return np.asarray(distance - mm * np.exp(-behind / YIELD_MM))


#: What the numbers in a map may be.
KINDS = ("auto", "tissues", "regions", STRUCTURES.name)
_TISSUE_OF_CODE = {code: STRUCTURES.tissues[index] for code, index in FREESURFER.items()}
_WHITE_CODES = {2, 41}


@dataclass(frozen=True, eq=False)
class PlacedMap:
    """A label map on the painter's grid.

    Attributes
    ----------
    tissues : ndarray, shape (X, Y, Z), uint8
        Tissues of `CLASSES`.
    regions : ndarray, shape (X, Y, Z), uint8, or None
        Groups of regions, or None where the map holds tissues only.
    rigid : ndarray
        (4, 4), the map's RAS millimetres to those of the painter's space.
    space : Space
        The map's own grid.
    notes : list of str or Doubt
        What was read and done, and what is in doubt.
    """

    tissues: np.ndarray
    regions: np.ndarray | None
    rigid: np.ndarray
    space: Space
    notes: list[Note] = field(default_factory=list)

    def to_native(self, volume: np.ndarray, painter: Painter) -> np.ndarray:
        """A volume (X, Y, Z) of the painter's on the map's own grid, float32."""
        if self.space.same_as(painter.space) and np.array_equal(self.rigid, np.eye(4)):
            return volume
        return resample(volume, painter.space, self.space, self.rigid)

    def labels_to_native(self, tissues: np.ndarray, painter: Painter) -> np.ndarray:
        """Tissues (X, Y, Z) of the painter's on the map's own grid, uint8."""
        if self.space.same_as(painter.space) and np.array_equal(self.rigid, np.eye(4)):
            return tissues
        return nearest(tissues, painter.space, self.space, self.rigid)


def place_map(scan: Scan, painter: Painter, *, kind: str = "auto", pose: str = "auto") -> PlacedMap:
    """Bring a label map onto the painter's grid.

    Parameters
    ----------
    scan : Scan
        The map as `scans.read_scan` reads it, in any orientation and of any voxel size.
    kind : str
        Kind of `KINDS`: whether it holds `CLASSES`, codes that `painter.regions` knows or
        FreeSurfer's of structures; auto tells by which codes there are.
    pose : str
        "auto" turns a map that does not lie as the painter's mean brain does until it does; "keep"
        takes it as it lies.

    Raises
    ------
    ScanError
        If it holds no labels, codes that are not known, or lies outside the grid.
    """
    codes = _codes(scan)
    kind, told = _kind(codes, kind, painter, scan)
    codes = painter.regions.own(codes, scan.space) if kind == "regions" else codes
    notes: list[Note] = [*scan.doubts, told]
    groups = painter.regions.group_of(codes) if kind == "regions" else None
    if kind == "tissues":
        tissues = codes.astype(np.uint8)
    elif kind == "regions":
        tissues = painter.regions.tissue_of(codes)
    else:
        tissues = looked_up(codes, _TISSUE_OF_CODE)
    if scan.space.same_as(painter.space):
        return PlacedMap(tissues, groups, np.eye(4), scan.space, notes)
    rigid, found = _pose(tissues, scan.space, painter, pose)
    notes += found
    back = np.linalg.inv(rigid)
    placed = _carried(tissues, scan.space, painter.space, back)
    if not placed.any():
        raise ScanError(
            f"The labels of {scan.path.name} are entirely outside the model's grid; omit "
            "--pose keep, so that they are aligned."
        )
    if groups is None:
        return PlacedMap(placed, None, rigid, scan.space, notes)
    regions = nearest(groups, scan.space, painter.space, back)
    # At a border the nearest region may be of another tissue than most of the voxel.
    same = nearest(tissues, scan.space, painter.space, back) == placed
    return PlacedMap(placed, np.where(same, regions, 0), rigid, scan.space, notes)


def _codes(scan: Scan) -> np.ndarray:
    """The codes of a map, int32."""
    data = scan.data
    if not np.array_equal(data, np.rint(data)) or data.min() < 0 or data.max() > 2**30:
        raise ScanError(
            f"{scan.path.name} is not a label map: it contains numbers that are not whole "
            "or below 0; give labels, such as `stylegan3d segment` writes them."
        )
    if not data.any():
        raise ScanError(f"{scan.path.name} is empty; give a map with labelled voxels.")
    return data.astype(np.int32)


def _kind(codes: np.ndarray, kind: str, painter: Painter, scan: Scan) -> tuple[str, str]:
    """Of `KINDS` but "auto", and a note; an error if a code is not of that kind."""
    values = np.unique(codes).tolist()
    if kind == "auto":
        named = _WHITE_CODES <= set(values) <= set(_TISSUE_OF_CODE)
        kind = STRUCTURES.name if named else "regions"
        kind = "tissues" if max(values) < len(CLASSES) else kind
    known: Collection[int] = {
        "tissues": range(len(CLASSES)),
        "regions": painter.regions.own_code(codes),
        STRUCTURES.name: _TISSUE_OF_CODE,
    }[kind]
    unknown = sorted(set(values) - set(known) - {0})
    if unknown:
        few = ", ".join(map(str, unknown[:6])) + (" …" if len(unknown) > 6 else "")
        names = ", ".join(f"{i} {name}" for i, name in enumerate(CLASSES) if i)
        other = (
            "FreeSurfer's codes of structures, or the "
            f"{len(painter.regions.names)} region codes in the card of {painter.name}"
        )
        raise ScanError(
            f"{scan.path.name} contains the label {few}, which is not one of the {kind}; "
            f"use {names}, {other}."
        )
    count = len([value for value in values if value])
    return kind, f"{count} labels, taken as {kind}."


def _pose(
    tissues: np.ndarray, space: Space, painter: Painter, pose: str
) -> tuple[np.ndarray, list[Note]]:
    """Rigid transform to the painter's space, (4, 4), and notes on it."""
    means = np.concatenate([[0], painter.usual[: len(CLASSES) - 1]]).astype(np.float32)
    plain = means[tissues]
    as_it_lies = correlation(resample(plain, space, painter.space), painter.template)
    if pose == "keep" or as_it_lies >= EXPECTED_QUALITY:
        return np.eye(4), [f"Not aligned; correlation with the mean brain {as_it_lies:.2f}."]
    try:
        rigid, texts = align_rigid(plain, space, painter)
    except ScanError as error:
        raise ScanError(
            "These labels do not resemble a whole brain in any orientation; if they are "
            "already in model space, add --pose keep."
        ) from error
    return rigid, ["Aligned to the mean brain.", *texts]


def _carried(tissues: np.ndarray, space: Space, target: Space, back: np.ndarray) -> np.ndarray:
    """Tissues on another grid: each voxel that of which it holds most, uint8."""
    found = np.zeros(target.shape, np.uint8)
    most, total = (np.zeros(target.shape, np.float32) for _ in range(2))
    for index in range(1, len(CLASSES)):
        share = resample((tissues == index).astype(np.float32), space, target, back)
        found[share > most] = index
        np.maximum(most, share, out=most)
        total += share
    found[total < 0.5] = 0
    return found


#: What the numbers in a map of tissues are, for its sidecar.
LABELS = {str(i): TITLES.get(name, name.title()) for i, name in enumerate(CLASSES)}

#: Field of a brain's sidecar: the files saved with it, from name to SHA-256.
_PARTS = "SavedWith"


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
                f"'{text}' is not a change of a tissue; write one of {', '.join(CLASSES[1:])} and "
                "the millimetres its border moves, such as ventricle=4."
            )
        return cls(tissue, mm)


def edited(tissues: np.ndarray, edits: Sequence[Resize], painter: Painter) -> np.ndarray:
    """Tissues (X, Y, Z) on the painter's grid after edits, one after the other."""
    for edit in edits:
        structure = tissues == CLASSES.index(edit.tissue)
        tissues = resized(tissues, structure, edit.mm, painter.space.voxel_size)
    return tissues


def brain_of(scan: Scan, painter: Painter, segmenter: Segmenter) -> tuple[OnGrid, np.ndarray]:
    """A brain on the painter's grid, and its tissues.

    A scan on another grid is prepared as for a projection.

    Raises
    ------
    ScanError
        If no brain is found, or the scan is unsuitable, such as for its contrast.
    """
    placed = OnGrid.of(scan, painter, "auto", SILENT)
    if why := unsuitable(doubts_in(placed.notes)):
        raise ScanError(f"{scan.path.name} is {why}: give a T1-weighted scan.")
    return placed, segmenter.segment(placed.volume, painter.space).labels


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
        "Description": f"Synthetic T1-weighted brain generated by {painter.name} to fit labels. "
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
    stem, suffix = scan_stem(path), scan_suffix(edit.scan.scan.path)
    desc = Name.of(path).desc or "edited"
    for what in ("Change", "Movement"):
        names[what] = path.with_name(str(Name(stem, f"{desc}{what}", suffix)))
    return names


def labels_path(path: Path) -> Path:
    """Such as brain_dseg.nii.gz for brain_T1w.nii.gz; other contrasts end its `desc`."""
    contrast = scan_suffix(path).removeprefix("T1w")
    return path.with_name(str(Name(scan_stem(path), Name.of(path).desc + contrast, "dseg")))


def contrast_entry(contrast: np.ndarray) -> dict[str, float]:
    """A contrast for a sidecar: name of each number to its value."""
    return {name: round(float(v), 4) for name, v in zip(CONTRAST, contrast, strict=True)}
