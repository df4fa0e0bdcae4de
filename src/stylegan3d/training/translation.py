"""Training of the network that paints labels.

Its output for a subject's labels in the contrast of the subject's scan should match that scan
(absolute error, and structural similarity, Wang et al. 2004). Half of the time the labels are those
that the tissue network reads in the scan, which everybody has, half of the time those of the label
map, with or without its regions.

The exported network is measured beside baselines: each label at its mean intensity, slightly
blurred; the mean brain; and the tissue network's labels of the scan itself, an upper bound set by
its own errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from stylegan3d.base import SILENT, Json, ModelError, Progress, StyleGAN3DError, followed
from stylegan3d.dataset.pack import Pack, evenly
from stylegan3d.devices import fast_dtype
from stylegan3d.geometry.space import draw_montage, unit
from stylegan3d.measures.similarity import similarity
from stylegan3d.networks.resampling import haar
from stylegan3d.segmentation.classes import CLASSES, dice_scores
from stylegan3d.segmentation.inference import Segmenter
from stylegan3d.storage.formats import label_map_of
from stylegan3d.training.autoencoder import Place, crop_around, mean_ssim
from stylegan3d.training.data import in_epoch
from stylegan3d.training.export import ModelTarget, about, noted, rounded
from stylegan3d.training.options import TranslationSettings
from stylegan3d.training.run import How, Run, TrainingTask, train
from stylegan3d.training.segmentation import check_both, read_map
from stylegan3d.translation.card import RegionTable, read_regions, write_model
from stylegan3d.translation.network import (
    CONTRAST,
    TranslationConfig,
    TranslationNetwork,
    contrast_of,
    filled,
)
from stylegan3d.translation.painter import Painter


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
        return unit(self.pack.volumes[row])

    def labelled(self, split: str) -> list[int]:
        """Rows of a split that have a label map."""
        return [int(row) for row in self.pack.indices(split) if int(row) in self.tissues]

    def usual(self) -> np.ndarray:
        """Mean contrast of the training subjects, float32 [14]."""
        return self.contrasts[self.pack.indices("train")].mean(axis=0)


def load_painted(
    pack: Pack, folder: Path, segmenter: Segmenter, progress: Progress = SILENT
) -> PaintedPeople:
    """Read the label maps of a folder, and the tissues of every picture of a pack.

    Parameters
    ----------
    pack : Pack
        The dataset.
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
    for row, entry in enumerate(followed(pack.table, progress)):
        path = label_map_of(Path(entry["file"]), folder)
        if path is not None:
            found = read_map(path, pack.space, codes)
            tissues[row], groups[row] = regions.tissue_of(found), regions.group_of(found)
        read.append(segmenter.segment(pack.volumes[row], pack.space).labels)
        contrasts.append(contrast_of(unit(pack.volumes[row]), read[-1]))
    known = np.array(contrasts)
    usual = np.nanmean(known, axis=0)
    filled_in = np.array([filled(contrast, usual) for contrast in known])
    people = PaintedPeople(pack, np.array(read), regions, tissues, groups, filled_in)
    training, validation = (len(people.labelled(split)) for split in ("train", "validation"))
    check_both(folder, pack, training, validation)
    return people


# Of subjects with a label map: how often it is taken instead of what the tissue network reads, and
# how often its regions are told then.
MAP_SHARE, REGION_SHARE = 0.6, 0.6
# Deviation of the noise on the contrast told, in those of subjects: a contrast read in another
# label map of the same brain is not quite the same.
CONTRAST_NOISE = 0.15


@dataclass(frozen=True)
class Crops:
    """Crops of one step.

    Attributes
    ----------
    volumes : Tensor, shape (N, 1, X, Y, Z), float32
        Values in [0, 1].
    tissues, regions : Tensor, shape (N, X, Y, Z), uint8
    contrasts : Tensor, shape (N, 14), float32
        Contrasts of the whole volumes.
    places : list of Place
        Places of the crops in the grid.
    """

    volumes: Tensor
    tissues: Tensor
    regions: Tensor
    contrasts: Tensor
    places: list[Place]

    def to(self, device: torch.device) -> Crops:
        """The same on another device."""
        names = ("volumes", "tissues", "regions", "contrasts")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


def draw(
    people: PaintedPeople, settings: TranslationSettings, step: int, multiple: int, samples: range
) -> Crops:
    """Crops of subjects of one step: each once before anybody again, half of them mirrored."""
    rows = people.pack.indices("train")
    parts: list[tuple[np.ndarray, ...]] = []
    places: list[Place] = []
    inside = np.argwhere(people.pack.template > 0.1)
    for number in (step * settings.people + sample for sample in samples):
        row = int(rows[in_epoch(number, len(rows), settings.seed)])
        rng = np.random.default_rng([settings.seed, 1, number])
        *maps, contrast = _person(people, row, settings.gamma, rng)
        for middle in rng.choice(inside, settings.crops):
            where = crop_around(middle, settings.side, people.pack.space.shape, multiple)
            parts.append((*(np.ascontiguousarray(m[where]) for m in maps), contrast))
            places.append(where)
    stacked = [torch.from_numpy(np.stack(part)) for part in zip(*parts, strict=True)]
    return Crops(stacked[0][:, None], stacked[1], stacked[2], stacked[3], places)


def _person(
    people: PaintedPeople, row: int, gamma: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Volume, tissues, regions and contrast of one subject as a step sees them."""
    volume = people.volume(row) ** np.float32(1 + gamma * rng.uniform(-1, 1))
    tissues, regions = people.read[row], np.zeros_like(people.read[row])
    if row in people.tissues and rng.random() < MAP_SHARE:
        tissues = people.tissues[row]
        if rng.random() < REGION_SHARE:
            regions = people.groups[row]
    if rng.random() < 0.5:
        volume, tissues, regions = volume[::-1], tissues[::-1], regions[::-1]
    contrast = filled(contrast_of(volume, tissues), people.usual())
    deviation = people.contrasts.std(axis=0)
    noise = CONTRAST_NOISE * rng.standard_normal(len(contrast)) * deviation
    return volume, tissues, regions, (contrast + noise).astype(np.float32)


#: Held-out subjects that are measured on the way, at most; all of them at the end.
MEASURED = 6


@dataclass(frozen=True)
class TranslationTask(TrainingTask[TranslationNetwork, PaintedPeople]):
    """How the network is trained; `shape` is the network's."""

    shape: TranslationConfig
    settings: TranslationSettings
    kind = "translation"
    batch_of = "people"

    def __post_init__(self) -> None:
        if self.settings.side % self.shape.multiple:
            raise ModelError(
                f"Crops of {self.settings.side} voxels: take a multiple of {self.shape.multiple}."
            )

    def network(self) -> TranslationNetwork:
        """A new network."""
        return TranslationNetwork(self.shape)

    def prepare(self, source: PaintedPeople, folder: Path, progress: Progress) -> PaintedPeople:
        """The subjects, if they have the run's grid and regions."""
        grid, regions = source.pack.space.shape, len(source.regions.groups)
        if tuple(self.shape.shape) != tuple(grid) or self.shape.regions != regions:
            raise ModelError(
                f"The run was begun with volumes of {self.shape.shape} voxels and "
                f"{self.shape.regions} regions, but these have {tuple(grid)} and {regions}; resume "
                "it with the dataset and the labels it began with."
            )
        return source

    def start(self, network: TranslationNetwork, data: PaintedPeople) -> None:
        """Fill in the mean brain and how subjects' contrasts spread."""
        contrasts = data.contrasts[data.pack.indices("train")]
        network.mean.copy_(haar(torch.from_numpy(data.pack.template).float()[None, None]))
        network.usual.copy_(torch.from_numpy(data.usual()))
        network.spread.copy_(torch.from_numpy(contrasts.std(axis=0)).clamp(min=1e-4))

    def loss(
        self, network: TranslationNetwork, data: PaintedPeople, step: int, samples: range
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Of crops of subjects."""
        device = network.mean.device
        crops = draw(data, self.settings, step, self.shape.multiple, samples)
        where = torch.cat([network.where(place) for place in crops.places])
        crops = crops.to(device)
        low = fast_dtype(device) == torch.bfloat16
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            made = network(crops.tissues, crops.regions, crops.contrasts, where)
        error = (made - crops.volumes).abs().mean()
        unlike = 1 - mean_ssim(made * 2 - 1, crops.volumes * 2 - 1)
        return error + self.settings.similarity * unlike, {"error": error, "unlike": unlike}

    def measure(
        self, average: TranslationNetwork, data: PaintedPeople, *, last: bool
    ) -> dict[str, float]:
        """How alike painted brains are to held-out subjects."""
        return measure(average, data, None if last else MEASURED)


TranslationRun = Run[TranslationTask]


@torch.inference_mode()
def measure(
    network: TranslationNetwork, people: PaintedPeople, count: int | None = None
) -> dict[str, float]:
    """Medians over held-out subjects, `count` of them at most: "ssim" and "psnr" inside the brain.

    From the tissues read in their scans, in their scans' contrast.
    """
    found = []
    for row in people.pack.indices("validation")[:count]:
        tissues = torch.from_numpy(people.read[row])[None].to(network.mean.device)
        contrast = torch.from_numpy(people.contrasts[row])[None].to(network.mean.device)
        made = network(tissues, torch.zeros_like(tissues), contrast)[0, 0].clamp(0, 1)
        true = people.volume(row)
        found.append(similarity(made.cpu().numpy(), true, true > 0))
    return {key: float(np.median([f[key] for f in found])) for key in ("ssim", "psnr")}


def train_translation(
    people: PaintedPeople,
    folder: Path,
    shape: TranslationConfig | None = None,
    settings: TranslationSettings | None = None,
    **how: Unpack[How],
) -> TranslationRun:
    """Train the network that paints labels.

    Parameters
    ----------
    people : PaintedPeople
        To learn from.
    folder : Path
        Folder of the run.
    shape, settings : TranslationConfig or None, TranslationSettings or None
        Of a new run; its grid and regions are those of `people`.
    how : Unpack
        See `stylegan3d.training.run.train`, also for what is raised.
    """

    def begin() -> TranslationTask:
        grid, regions = people.pack.space.shape, len(people.regions.groups)
        chosen = shape or TranslationConfig(grid, regions=regions)
        return TranslationTask(chosen, settings or TranslationSettings())

    return train(TranslationTask, begin, people, folder, **how)


#: Sigma of the baseline's blur, voxels: the best of 0, 0.5, 0.7, 1 by SSIM with the scans.
BLUR = 0.5

Rows = dict[str, list[tuple[dict[str, float], dict[str, float]]]]


def evaluate(
    painter: Painter, people: PaintedPeople, segmenter: Segmenter, progress: Progress = SILENT
) -> Json:
    """Measure a painter on the held-out subjects who have a label map.

    Parameters
    ----------
    painter : Painter
        To be measured.
    people : PaintedPeople
        From `load_painted`.
    segmenter : Segmenter
        Segments the generated brains.

    Returns
    -------
    dict
        "people", their number, and "ways": for each of those that `pages/translation.md` names
        medians of "ssim" and "psnr" inside the brain with the least SSIM, and means of "dice" of
        each tissue, over tissues ("dice_mean"), and the lowest of any subject ("dice_least").
    """
    rows = people.labelled("validation")
    found: Rows = {}
    for row in followed(rows, progress):
        for way, figures in _subject_measured(painter, people, row, segmenter).items():
            found.setdefault(way, []).append(figures)
    return {"people": len(rows), "ways": {way: _together(part) for way, part in found.items()}}


def plain(tissues: np.ndarray, contrast: np.ndarray, blur: float = BLUR) -> np.ndarray:
    """The baseline: every label at its mean intensity, blurred; float32 (X, Y, Z)."""
    means = np.concatenate([[0.0], contrast[: len(CLASSES) - 1]]).astype(np.float32)
    return np.asarray(ndimage.gaussian_filter(means[tissues], blur))


def _subject_measured(
    painter: Painter, people: PaintedPeople, row: int, segmenter: Segmenter
) -> dict[str, tuple[dict[str, float], dict[str, float]]]:
    """Similarity and Dice of every method for one subject."""
    scan, read, tissues = people.volume(row), people.read[row], people.tissues[row]
    by_read, by_map = painter.contrast_of(scan, read), painter.contrast_of(scan, tissues)
    made = {
        "read": (painter.paint(read, None, by_read), read),
        "map": (painter.paint(tissues, None, by_map), tissues),
        "regions": (painter.paint(tissues, people.groups[row], by_map), tissues),
        "usual": (painter.paint(tissues), tissues),
        "plain_read": (plain(read, by_read), read),
        "plain_map": (plain(tissues, by_map), tissues),
        "scan": (scan, tissues),
        "mean": (painter.template, tissues),
    }
    found = {}
    for way, (volume, asked) in made.items():
        alike = {} if way == "scan" else similarity(volume, scan, scan > 0)
        there = segmenter.segment(np.clip(volume, 0, 1), people.pack.space).labels
        found[way] = (alike, dice_scores(there, asked))
    return found


def _together(rows: list[tuple[dict[str, float], dict[str, float]]]) -> Json:
    """Over subjects."""
    dice = np.array([[kept[name] for name in CLASSES[1:]] for _, kept in rows])
    figures: Json = {
        "dice": {n: round(float(dice[:, i].mean()), 4) for i, n in enumerate(CLASSES[1:])},
        "dice_mean": round(float(dice.mean()), 4),
        "dice_least": round(float(dice.mean(axis=1).min()), 4),
    }
    if rows[0][0]:
        for key in ("ssim", "psnr"):
            figures[key] = round(float(np.median([alike[key] for alike, _ in rows])), 4)
        figures["ssim_least"] = round(min(alike["ssim"] for alike, _ in rows), 4)
    return figures


INTENDED_USE = (
    "Research, teaching and software development: images that match drawn or edited tissue "
    "labels. Its output is synthetic. Not a medical device; not for diagnosis."
)
#: Subjects in the montage.
SHOWN = 4


def export_translation(
    run: TranslationRun,
    people: PaintedPeople,
    segmenter: Segmenter,
    to: ModelTarget,
    *,
    notes: Json | None = None,
    progress: Progress = SILENT,
) -> Painter:
    """Write the averaged network and its card, and measure the card's figures.

    Parameters
    ----------
    run : TranslationRun
        The run; the weights are rounded to float16 before anything is measured.
    people : PaintedPeople
        What it learned from and is measured on.
    segmenter : Segmenter
        Segments the generated brains.
    to : ModelTarget
        The folder, and what its card says.
    notes : dict of str to object or None
        Further entries of the card, such as "labels" (where they come from) and "limits".

    Raises
    ------
    StyleGAN3DError
        If an entry of `notes` is one the program writes itself.
    OutputError
        If the folder holds such files that are not to be replaced, or cannot be written.
    """
    network, pack = rounded(run), people.pack
    card: Json = {"name": to.name, "version": "0.1"} | _grid_and_contrast(people)
    card |= about(
        run,
        pack,
        pack.indices("train"),
        to.licence,
        INTENDED_USE,
        with_label_maps=len(people.labelled("train")),
        seconds=round(run.seconds),
        torch=torch.__version__,
    )
    painter = Painter(network, card, "", run.device)
    card["validation"] = evaluate(painter, people, segmenter, progress)
    card["validation"]["reads_tissues"] = {"name": segmenter.name, "sha256": segmenter.hash}
    card, picture = noted(card, notes), montage(painter, people)
    write_model(to.folder, network, card, picture, overwrite=to.overwrite)
    return painter


def montage(painter: Painter, people: PaintedPeople) -> bytes:
    """Labels of held-out subjects, the brains generated from them, and their scans; PNG."""
    everybody = people.labelled("validation")
    rows = [everybody[place] for place in evenly(len(everybody), SHOWN)]
    painted = []
    for row in rows:
        contrast = painter.contrast_of(people.volume(row), people.tissues[row])
        painted.append(painter.paint(people.tissues[row], None, contrast))
    step = 255 // (len(CLASSES) - 1)
    columns: dict[str, Sequence[np.ndarray]] = {
        "labels": [people.tissues[row] * np.uint8(step) for row in rows],
        "painted from them - synthetic": [(v.clip(0, 1) * 255).astype(np.uint8) for v in painted],
        "the scan": [people.pack.volumes[row] for row in rows],
    }
    return draw_montage(columns, people.pack.space)


def _grid_and_contrast(people: PaintedPeople) -> Json:
    space = people.pack.space
    rows = people.contrasts[people.pack.indices("train")].astype(np.float64)
    covariance = np.cov(rows, rowvar=False)
    return {
        "space": {
            "shape": list(space.shape),
            "affine": space.affine.tolist(),
            "voxel_mm": list(space.voxel_size),
            "axes": "".join(space.axcodes),
        },
        "contrast": {
            "names": list(CONTRAST),
            "mean": [round(float(v), 6) for v in rows.mean(axis=0)],
            "covariance": [[float(f"{v:.6g}") for v in row] for row in covariance],
        },
        "regions": people.regions.to_list(),
    }
