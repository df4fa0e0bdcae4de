"""Distinguish label maps (segmentations, masks, parcellations) from scans by their values."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stylegan3d.base import Doubt, ScanError, StyleGAN3DError
from stylegan3d.geometry.space import Space, voxel_ml_of
from stylegan3d.scans.checks import READ_ERRORS, check_content, open_image
from stylegan3d.scans.sources import rows_of
from stylegan3d.storage.encoding import LONGEST_NUMBER
from stylegan3d.storage.formats import label_map_of

# Share of equal neighbours in the foreground: label maps reach 0.9, scans with few grey levels
# 0.25.
EQUAL_SHARE = 0.5
# Whole parcellations have some two hundred.
MOST_LABELS = 500


def looks_like_labels(data: np.ndarray) -> bool:
    """Whether a volume (I, J, K) contains labels: whole numbers from 0 in contiguous regions.

    Neighbouring voxels of a scan are rarely equal, even with few grey levels.
    """
    if len(np.unique(data[::4, ::4, ::4])) > MOST_LABELS:  # most scans, at once
        return False
    if data.min() < 0 or not np.array_equal(data, np.rint(data)):
        return False
    equal = both = 0
    for axis in range(3):
        along = np.moveaxis(data, axis, 0)
        here, there = along[:-1], along[1:]
        filled = (here != 0) & (there != 0)
        both += int(filled.sum())
        equal += int((filled & (here == there)).sum())
    return equal >= EQUAL_SHARE * both


# Tissue volumes of subjects whose scans come with a label map.
#
# `labels.tsv` in the folder of the scans assigns a tissue to each label. A label map
# `sub-01_dseg.nii.gz` beside `sub-01_T1w.nii.gz` has the labels of that subject, on the grid of the
# scan. Alignment keeps a brain's true size, so volumes measured on the scan's grid also apply to
# the prepared volume.

TABLE = "labels.tsv"
BACKGROUND = "background"
UNIT = "_ml"


def read_tissues(folder: Path, *, needed: bool = False) -> dict[int, str]:
    """Tissue of each label in `labels.tsv` (columns index, name, tissue); empty without the file.

    Raises
    ------
    StyleGAN3DError
        If the table lacks a column or has an invalid row, or is `needed` and not there.
    """
    path = folder / TABLE
    tissues: dict[int, str] = {}
    for row in rows_of(path):
        index, tissue = row.get("index") or "", (row.get("tissue") or "").lower()
        if not index.isdecimal() or not re.fullmatch(r"[a-z][a-z0-9_]*", tissue):
            raise StyleGAN3DError(
                f"{path} has a row with index {index!r} and tissue {tissue!r}; give every row a "
                "whole number and one word such as grey, white, ventricle, csf or background."
            )
        if tissue == "brain":
            raise StyleGAN3DError(
                f"{path} calls a tissue 'brain', which means the whole; "
                "name the tissue, such as grey or white."
            )
        tissues[int(index[:LONGEST_NUMBER])] = tissue
    if needed and not tissues:
        raise StyleGAN3DError(
            f"{folder} has no {TABLE} that says which tissue each label is; add one with the "
            "columns index, name and tissue."
        )
    return tissues


def tissue_columns(tissues: dict[int, str]) -> list[str]:
    """Columns of a pack's table with tissue volumes, such as "ventricle_ml"; sorted."""
    return sorted({tissue + UNIT for tissue in tissues.values() if tissue != BACKGROUND})


@dataclass(frozen=True)
class TissueLabels:
    """Tissue volumes from one subject's label map.

    Attributes
    ----------
    volumes : dict
        Millilitres for each of `tissue_columns`; None without a usable label map.
    doubts : list of Doubt
    unnamed : tuple of int
        Labels in the map missing in `labels.tsv`; they are not counted.
    """

    volumes: dict[str, float | None]
    doubts: list[Doubt] = field(default_factory=list)
    unnamed: tuple[int, ...] = ()


def measure_tissues(scan: Path, tissues: dict[int, str]) -> TissueLabels:
    """Tissue volumes of one subject.

    Parameters
    ----------
    scan : Path
        The scan; its label map, if any, is beside it.
    tissues : dict
        Tissue of each label, from `read_tissues`.
    """
    columns = tissue_columns(tissues)
    none: dict[str, float | None] = dict.fromkeys(columns)
    path = label_map_of(scan)
    if path is None or not columns:
        return TissueLabels(none)
    try:
        labels, image = open_image(path), open_image(scan)
        check_content(path)
        same = labels.ndim == 3 and Space(labels.shape, labels.affine).same_as(image)
        data = np.asanyarray(labels.dataobj) if same else None
    except (ScanError, MemoryError, *READ_ERRORS):
        text = f"{path.name} cannot be read; export the labels again."
        return TissueLabels(none, [Doubt("labels", "ask", text)])
    if data is None:
        text = (
            f"{path.name} is not on the grid of {scan.name}, so no tissue was measured; resample "
            "the labels to the scan (nearest neighbour)."
        )
        return TissueLabels(none, [Doubt("labels", "ask", text)])
    values, counts = np.unique(data, return_counts=True)
    if not np.isfinite(values).all() or (values != np.round(values)).any():
        text = f"{path.name} does not hold whole numbers; give labels, not probabilities."
        return TissueLabels(none, [Doubt("labels", "ask", text)])
    voxel_ml = voxel_ml_of(labels.affine)
    voxels = dict.fromkeys(columns, 0)
    for value, count in zip(values, counts, strict=True):
        column = tissues.get(int(value), BACKGROUND) + UNIT
        if column in voxels:
            voxels[column] += int(count)
    unnamed = tuple(int(v) for v in values if v != 0 and int(v) not in tissues)
    return TissueLabels({c: round(n * voxel_ml, 2) for c, n in voxels.items()}, [], unnamed)


def tissue_notes(tissues: dict[int, str], measured: list[TissueLabels]) -> list[str]:
    """What csf_ml means, where it was measured, and which labels `labels.tsv` does not name."""
    csf = sorted(label for label, tissue in tissues.items() if tissue == "csf")
    found = [v for p in measured if (v := p.volumes.get("csf" + UNIT)) is not None]
    unnamed = sorted({label for person in measured for label in person.unnamed})
    few, odd = (", ".join(map(str, n[:8])) + " …" * (len(n) > 8) for n in (csf, unnamed))
    notes = []
    if csf and found:
        notes.append(
            f"csf{UNIT} counts label {few} of {TABLE}, on average {np.mean(found):.1f} ml in "
            f"{len(found)} label maps; fluid that the table does not name is not in it."
        )
    if unnamed:
        maps = sum(bool(person.unnamed) for person in measured)
        notes.append(
            f"{TABLE} does not name label {odd}, found in {maps} label maps; it counts towards no "
            "tissue: add it to the table if it should."
        )
    return notes
