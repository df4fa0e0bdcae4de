"""Training data: scans, their tissues as a network segments them, and regions of some."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stylegan3d.dataset.pack import Pack
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.progress import Progress
from stylegan3d.segmentation.inference import Segmenter
from stylegan3d.storage.formats import label_map_of
from stylegan3d.training.segmentation_data import read_map
from stylegan3d.translation.codes import RegionTable, read_regions
from stylegan3d.translation.contrast import contrast_of, filled


@dataclass(frozen=True, eq=False)
class PaintedPeople:
    """A pack with labels of everybody in it.

    Attributes
    ----------
    pack : Pack
        The pictures.
    read : ndarray, shape (n, X, Y, Z), uint8
        Tissues as the tissue network reads them in each picture.
    regions : RegionTable
        Table of the label maps.
    tissues, groups : dict of int to ndarray
        uint8 [X, Y, Z] by row of the pack, for subjects with a label map: its tissues, and the
        groups of its regions.
    contrasts : ndarray, shape (n, 14), float32
        Contrasts of the pictures by `read`.
    """

    pack: Pack
    read: np.ndarray
    regions: RegionTable
    tissues: dict[int, np.ndarray]
    groups: dict[int, np.ndarray]
    contrasts: np.ndarray

    def volume(self, row: int) -> np.ndarray:
        """Intensities of one subject, float32 (X, Y, Z) in [0, 1]."""
        return self.pack.volumes[row].astype(np.float32) / 255

    def labelled(self, split: str) -> list[int]:
        """Rows of a split that have a label map."""
        return [int(row) for row in self.pack.indices(split) if int(row) in self.tissues]

    def usual(self) -> np.ndarray:
        """Mean contrast of the training subjects, float32 [14]."""
        return self.contrasts[self.pack.indices("train")].mean(axis=0)


def load_painted(
    pack: Pack, folder: Path, segmenter: Segmenter, progress: Progress | None = None
) -> PaintedPeople:
    """Read the label maps of a folder, and the tissues of every picture of a pack.

    Parameters
    ----------
    pack : Pack
        The data set.
    folder : Path
        Holds `labels.tsv` and a label map on the pack's grid for some of the subjects.
    segmenter : Segmenter
        Labels the tissues of everybody.

    Raises
    ------
    StyleGAN3DError
        If the table or a map cannot be used, there are no maps of both splits, or the grid is not
        one that the segmenter knows.
    """
    regions = read_regions(folder)
    codes = {code: code for code in regions.names} | {0: 0}
    if max(codes) > 255:
        raise StyleGAN3DError(
            f"{folder} names label {max(codes)}; number the regions to learn from up to 255."
        )
    tissues, groups, read, contrasts = {}, {}, [], []
    for row, entry in enumerate(pack.table):
        path = label_map_of(Path(entry["file"]), folder)
        if path is not None:
            found = read_map(path, pack.space, codes)
            tissues[row], groups[row] = regions.tissue_of(found), regions.group_of(found)
        read.append(segmenter.segment(pack.volumes[row], pack.space).labels)
        contrasts.append(contrast_of(pack.volumes[row].astype(np.float32) / 255, read[-1]))
        if progress:
            progress(row + 1, len(pack))
    known = np.array(contrasts)
    usual = np.nanmean(known, axis=0)
    filled_in = np.array([filled(contrast, usual) for contrast in known])
    people = PaintedPeople(pack, np.array(read), regions, tissues, groups, filled_in)
    if not people.labelled("train") or not people.labelled("validation"):
        raise StyleGAN3DError(
            f"{folder} has label maps of {len(people.labelled('train'))} training and "
            f"{len(people.labelled('validation'))} validation subjects of {pack.path}; name them "
            "after the scans, such as sub-01_dseg.nii.gz, and give some of both."
        )
    return people
