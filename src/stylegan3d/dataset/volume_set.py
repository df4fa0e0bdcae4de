"""Folders of NIfTI volumes that were not made by `stylegan3d prepare`.

They are converted to the format of a pack, uint8 on one grid, or refused with the file's name.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from stylegan3d.base import SILENT, Json, Progress, ScanError, StyleGAN3DError, followed
from stylegan3d.dataset.pack import TABLE, Pack, load_pack
from stylegan3d.geometry.space import Space, as_packed
from stylegan3d.scans.alignment import centroid
from stylegan3d.scans.intensity import to_unit
from stylegan3d.scans.reading import read_scan
from stylegan3d.scans.resampling import resample
from stylegan3d.scans.scan import Scan
from stylegan3d.scans.sources import TEST, VALIDATION, find_sources, read_participants, split_of

# Largest offset from the mean brain's centre; otherwise the generator would learn a shift.
MAX_OFF_CENTER_MM = 15.0


# Share of validation subjects if participants.tsv has no split.
SET_ASIDE = 0.2
# Largest share of a volume that may be cut off by resampling.
MAX_LOST = 0.03
# Threshold of the brain.
FOREGROUND = 0.05
NO_PLACE = (
    "files do not give the position of their voxels (the affine is the identity): they have the "
    "shape of the real volumes and are assumed to be on their grid."
)
RESAMPLED = "files were resampled linearly to the grid of the real volumes."


@dataclass(frozen=True, eq=False)
class VolumeSet:
    """Volumes of a folder on one grid.

    Attributes
    ----------
    names : list of str
        File names without extension, sorted.
    volumes : ndarray, shape (n, X, Y, Z), uint8
        255 = 1.
    hash : str
        SHA-256 of the files' hashes, in order.
    notes : list of str
        Notes on how many files were converted.
    """

    path: Path
    names: list[str]
    people: list[str]
    volumes: np.ndarray
    space: Space
    hash: str
    notes: list[str]


@dataclass(frozen=True, eq=False)
class FolderPack(Pack):
    """A folder of NIfTI volumes in the shape of a pack; its volumes are in memory."""

    @cached_property
    def template(self) -> np.ndarray:
        """Mean of the training volumes, float32 (X, Y, Z) in [0, 1]."""
        rows = self.indices("train")
        mean: Any = sum(self.volumes[row].astype(np.float64) for row in rows) / 255 / len(rows)
        return mean.astype(np.float32)


def open_real(path: Path, progress: Progress = SILENT) -> Pack:
    """Real volumes: a pack made by `prepare`, or a folder of NIfTI volumes on one grid.

    For a folder, the column "split" of participants.tsv marks held-out subjects; without it a fifth
    of the subjects are chosen by name, with a note in `info`.

    Raises
    ------
    StyleGAN3DError
        If it is neither, or the volumes are not on one grid.
    """
    if (path / TABLE).is_file() or not path.is_dir() or not holds_volumes(path):
        return load_pack(path)
    found = read_set(path, None, None, progress)
    table, told = read_participants(path), 0
    rows: list[Json] = []
    for name, person in zip(found.names, found.people, strict=True):
        known = table.get(person, {})
        told += known.get("split") == VALIDATION
        rows.append({**known, "name": name, "person": person})
    for row in rows:
        known = table.get(row["person"], {}) if told else {}
        row["split"] = split_of(row["person"], known, SET_ASIDE)
    notes = list(found.notes)
    if not told:
        notes.append(
            "The folder does not name the held-out subjects (no participants.tsv with a column "
            "split): a fifth of the subjects, chosen by name, is used, so figures of privacy "
            "hold only if the model was trained on the others."
        )
    keep = [i for i, row in enumerate(rows) if row["split"] != TEST]
    volumes = found.volumes if len(keep) == len(rows) else found.volumes[keep]
    info = {"notes": notes, "id": found.hash}
    return FolderPack(path, volumes, found.space, [rows[i] for i in keep], info)


def holds_volumes(path: Path) -> bool:
    """Whether a folder contains NIfTI files that may be brain volumes."""
    try:
        return bool(find_sources(path).sources)
    except StyleGAN3DError:
        return False


def read_set(
    path: Path, space: Space | None, template: np.ndarray | None = None, progress: Progress = SILENT
) -> VolumeSet:
    """The volumes of a folder.

    Parameters
    ----------
    space : Space or None
        Grid to resample to; without it all must have that of the first one.
    template : ndarray, shape (X, Y, Z), or None
        Mean of real brains on that grid, values in [0, 1], to check positions.

    Raises
    ------
    StyleGAN3DError
        If a file cannot be read or does not fit the grid.
    """
    sources = find_sources(path).sources
    volumes: list[np.ndarray] = []
    done: dict[str, int] = {}
    content = hashlib.sha256()
    for source in followed(sources, progress):
        scan = read_scan(path / source.file)
        content.update(scan.sha256.encode())
        if space is None:
            space = scan.space
        unit, note = _on_grid(scan, to_unit(scan), space, resampled=template is not None)
        if template is not None:
            _check_place(scan, unit, template, space)
        if note:
            done[note] = done.get(note, 0) + 1
        volumes.append(as_packed(unit))
    assert space is not None
    notes = [f"{path.name}: {count} {note}" for note, count in done.items()]
    people = [source.person for source in sources]
    names = [source.name for source in sources]
    return VolumeSet(path, names, people, np.stack(volumes), space, content.hexdigest(), notes)


def _on_grid(
    scan: Scan, unit: np.ndarray, space: Space, *, resampled: bool
) -> tuple[np.ndarray, str]:
    """The volume on the grid, and a note on the conversion."""
    if space.same_as(scan.space):
        return unit, ""
    if not resampled:
        raise ScanError(
            f"{scan.path.name} has a different grid from the volumes before it ({unit.shape} and "
            f"{space.shape} voxels, or in another place): bring them to one grid with `stylegan3d "
            "prepare`."
        )
    if unit.shape == space.shape and np.allclose(scan.space.affine, np.eye(4)):
        return unit, NO_PLACE
    moved = resample(unit, scan.space, space)
    before = float(unit.sum()) * abs(np.linalg.det(scan.space.affine))
    after = float(moved.sum()) * abs(np.linalg.det(space.affine))
    if after < (1 - MAX_LOST) * before:
        raise ScanError(
            f"{100 * (1 - after / before):.0f} % of {scan.path.name} lies outside the grid of the "
            "real volumes: check its affine, or bring both to one grid with `stylegan3d prepare`."
        )
    return moved, RESAMPLED


def _check_place(scan: Scan, unit: np.ndarray, template: np.ndarray, space: Space) -> None:
    if not (unit > FOREGROUND).any():
        raise ScanError(f"{scan.path.name} shows no brain: it is nearly black everywhere.")
    offset = centroid(unit > FOREGROUND, space) - centroid(template > FOREGROUND, space)
    if np.linalg.norm(offset) > MAX_OFF_CENTER_MM:
        raise ScanError(
            f"The brain of {scan.path.name} lies {np.linalg.norm(offset):.0f} mm from where real "
            "ones lie: align it first, for example with `stylegan3d prepare`."
        )
