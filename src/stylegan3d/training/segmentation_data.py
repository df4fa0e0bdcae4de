"""Labelled brains of a packed data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from stylegan3d.dataset.pack import Pack
from stylegan3d.errors import ScanError, StyleGAN3DError
from stylegan3d.geometry.space import Space
from stylegan3d.scans.checks import READ_ERRORS, open_image
from stylegan3d.scans.label_maps import TABLE, read_tissues
from stylegan3d.segmentation.classes import CLASSES, TISSUES, Scheme, asymmetry_percent
from stylegan3d.segmentation.regions import REGIONS, SIDES, region_of_label
from stylegan3d.storage.formats import label_map_of
from stylegan3d.training.segmentation_augmentation import augment_labelled

#: Per cent by which the sides of a brain may differ in a map that tells them apart; people differ
#: by less than 5.
LARGEST_ASYMMETRY = 20.0


class HeldOut(Protocol):
    """Labelled brains to measure on."""

    @property
    def scheme(self) -> Scheme:
        """What their labels mean."""

    @property
    def validation(self) -> range:
        """Their indices."""

    def pair(self, index: int) -> tuple[Tensor, Tensor]:
        """One of them: float32 (X, Y, Z) in [0, 1], and labels uint8 (X, Y, Z)."""


class Brains(HeldOut, Protocol):
    """Labelled brains to learn from, and others to measure on."""

    @property
    def training(self) -> int:
        """How many there are to learn from: the first."""

    def example(self, index: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A pair to learn from, which may be another each time."""


@dataclass(frozen=True, eq=False)
class LabelledBrains:
    """Subjects of a pack with label maps on its grid.

    Attributes
    ----------
    pack : Pack
    rows : ndarray, shape (n,), int64
        Rows of the pack, those of training subjects first.
    labels : ndarray, shape (n, X, Y, Z), uint8
        Labels of the scheme.
    training : int
        How many of them are training subjects.
    scheme : Scheme
        What the labels mean.
    """

    pack: Pack
    rows: np.ndarray
    labels: np.ndarray
    training: int
    scheme: Scheme = TISSUES

    def volume(self, index: int) -> np.ndarray:
        """Intensities of one of them, float32 (X, Y, Z) in [0, 1]."""
        return self.pack.volumes[self.rows[index]].astype(np.float32) / 255

    def pair(self, index: int) -> tuple[Tensor, Tensor]:
        """Intensities and labels of one of them."""
        return torch.from_numpy(self.volume(index)), torch.from_numpy(self.labels[index])

    def example(self, index: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """As `pair`."""
        return self.pair(index)

    @property
    def validation(self) -> range:
        """Indices of the held-out subjects."""
        return range(self.training, len(self.rows))


def draw(brains: Brains, seed: int, step: int, multiple: int = 1) -> tuple[Tensor, Tensor]:
    """The brain of one step and its labels, augmented; every one once before any again.

    Empty space around it is left out as far as the network's `multiple` allows.
    """
    epoch, place = divmod(step, brains.training)
    order = np.random.default_rng([seed, epoch]).permutation(brains.training)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    volume, labels = brains.example(int(order[place]), generator)
    window = _window(volume, multiple, generator)
    return augment_labelled(volume[window], labels[window], generator, brains.scheme)


def _window(volume: Tensor, multiple: int, generator: torch.Generator) -> tuple[slice, ...]:
    """Around what is not 0, at a random place, with axes of a multiple where the grid allows it."""
    window = []
    for axis, length in enumerate(volume.shape):
        others = [other for other in range(3) if other != axis]
        filled = (volume > 0).any(dim=others[1]).any(dim=others[0]).nonzero()[:, 0].tolist()
        low, high = (filled[0], filled[-1] + 1) if filled else (0, length)
        size = min(length, -(-(high - low) // multiple) * multiple)
        least, most = max(0, high - size), min(low, length - size)
        start = int(torch.randint(least, most + 1, (), generator=generator))
        window.append(slice(start, start + size))
    return tuple(window)


def load_labelled(pack: Pack, folder: Path, scheme: Scheme = TISSUES) -> LabelledBrains:
    """The subjects of a pack that have a label map in `folder`, and one that tells the sides apart.

    Parameters
    ----------
    pack : Pack
        The data set.
    folder : Path
        Holds, for each subject, a label map named after the scan (`sub-01_dseg.nii.gz` for
        `sub-01_T1w.nii.gz`) on the grid of the pack, and for tissues `labels.tsv`.
    scheme : Scheme
        What to learn: tissues by that table, or regions by the protocol's numbers (`regions`).

    Raises
    ------
    StyleGAN3DError
        If there is no usable table, a label or tissue is unknown, a map is on another grid, or
        there are no labelled subjects of both splits.
    """
    regions = scheme.name == REGIONS.name
    table = region_of_label() if regions else _class_of_label(folder)
    rows, maps = [], []
    training = 0
    for split in ("train", "validation"):
        for row in pack.indices(split):
            path = label_map_of(Path(pack.table[row]["file"]), folder)
            if path is None:
                continue
            found = read_map(path, pack.space, table)
            if not one_sided(found, scheme):
                rows.append(int(row))
                maps.append(found)
        training = training or len(rows)
    if not training or training == len(rows):
        raise StyleGAN3DError(
            f"{folder} has label maps of {training} training and {len(rows) - training} validation "
            f"subjects of {pack.path}; name them after the scans, such as sub-01_dseg.nii.gz, and "
            "give some of both."
        )
    return LabelledBrains(pack, np.array(rows, np.int64), np.stack(maps), training, scheme)


def one_sided(labels: np.ndarray, scheme: Scheme) -> bool:
    """Whether a map gives most of the brain to one side, as automatic labels sometimes do."""
    counts = np.bincount(labels.ravel(), minlength=len(scheme.classes)).astype(np.float64)
    sides = [
        sum(counts[i] for i, name in enumerate(scheme.classes) if name.startswith(f"{side}_"))
        for side in SIDES
    ]
    return abs(asymmetry_percent(sides[0], sides[1])) > LARGEST_ASYMMETRY


def _class_of_label(folder: Path) -> dict[int, int]:
    """Index in `CLASSES` of each label of the folder's table; 0 is background."""
    tissues = read_tissues(folder)
    if not tissues:
        raise StyleGAN3DError(
            f"{folder} has no {TABLE} that says which tissue each label is; add one with the "
            "columns index, name and tissue."
        )
    unknown = sorted(set(tissues.values()) - set(CLASSES))
    if unknown:
        raise StyleGAN3DError(
            f"{folder / TABLE} names the tissue '{unknown[0]}', which the segmentation does not "
            f"have; it has {', '.join(CLASSES)}."
        )
    return {0: 0} | {label: CLASSES.index(tissue) for label, tissue in tissues.items()}


def read_map(path: Path, space: Space, table: dict[int, int]) -> np.ndarray:
    """One label map on the grid `space`, each value replaced by what `table` has for it.

    Returns
    -------
    ndarray, shape (X, Y, Z), uint8

    Raises
    ------
    StyleGAN3DError
        If it cannot be read, is on another grid, or holds a value that the table does not.
    """
    try:
        image = open_image(path)
        data = np.asanyarray(image.dataobj)
    except (ScanError, *READ_ERRORS) as error:
        raise StyleGAN3DError(f"{path} cannot be read; export the labels again.") from error
    if not Space(image.shape, image.affine).same_as(space):
        raise StyleGAN3DError(
            f"{path} is not on the grid of the data set; resample it (nearest neighbour)."
        )
    values, place = np.unique(data, return_inverse=True)
    unnamed = [value for value in values if value not in table]
    if unnamed:
        raise StyleGAN3DError(
            f"{path} holds the value {unnamed[0]:g}, which {path.parent / TABLE} does not name; "
            "add it to the table."
        )
    classes = np.array([table[int(value)] for value in values], np.uint8)
    return classes[place].reshape(data.shape)
