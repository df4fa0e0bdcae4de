"""Training of the networks of tissues and of regions.

Whole volumes, one per step, cross-entropy plus soft Dice (Milletari et al. 2016, arXiv:1606.04797)
over the classes, AdamW with a cosine schedule, and an exponential average of the weights, which is
what is validated and shipped, with its figures on a card.

The labels come from one site. What differs at another one (contrast, texture, coil, noise, pose) is
drawn by `augment_labelled`, wider than it is met, so that the network looks at shapes (Billot et
al. 2023, doi:10.1016/j.media.2023.102789, take this to its end).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol, Unpack

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.base import SILENT, Json, ModelError, Progress, ScanError, StyleGAN3DError
from stylegan3d.dataset.pack import Pack
from stylegan3d.devices import fast_dtype
from stylegan3d.geometry.space import Space, filled_box, unit
from stylegan3d.scans.checks import READ_ERRORS, open_image
from stylegan3d.scans.label_maps import TABLE, read_tissues
from stylegan3d.segmentation.classes import (
    CLASSES,
    REGIONS,
    SCHEMES,
    SIDES,
    STRUCTURES,
    TISSUES,
    Scheme,
    asymmetry_percent,
    dice_scores,
    halved,
    mean_scores,
    region_of_label,
    volumes_ml,
)
from stylegan3d.segmentation.inference import Segmenter, as_seen, write_model
from stylegan3d.segmentation.network import TissueNetwork, likeliest, padded, to_blocks
from stylegan3d.storage.formats import label_map_of
from stylegan3d.training.data import in_epoch, rotation
from stylegan3d.training.export import ModelTarget, about, noted, rounded
from stylegan3d.training.options import SegmentationSettings
from stylegan3d.training.run import How, Run, TrainingTask, device_of, train

POSE_CHANCE = 0.4
ROTATION = 0.12  # radians
SCALE = 0.09  # each axis by up to so much
SHIFT_VOXELS = 3.0
TISSUE_CHANCE = 0.4
TISSUE_SHIFT = 0.08  # of the intensity of a whole tissue
WARP_KNOTS = (6, 8, 7)
WARP_VOXELS = 1.0  # standard deviation of a smooth displacement, at most
CURVE_CHANCE = 0.5
CURVE_STEPS = 8
COARSE_CHANCE = 0.25
COARSEST = 3.0  # voxels that a slice is thick
BLUR_CHANCE = 0.25
BLUREST = 1.0  # voxels, standard deviation


def augment_labelled(
    volume: Tensor, labels: Tensor, generator: torch.Generator, scheme: Scheme = TISSUES
) -> tuple[Tensor, Tensor]:
    """One augmented brain.

    Parameters
    ----------
    volume : Tensor, shape (X, Y, Z), float32
        Values in [0, 1], x left to right.
    labels : Tensor, shape (X, Y, Z), uint8
        Labels of the scheme.
    generator : torch.Generator
        Source of all randomness.
    scheme : Scheme
        What they mean: a brain turned left to right has the labels of the other side.

    Returns
    -------
    volume, labels : of the same shapes
    """
    if _draw(generator) < 0.5:
        mirrored = torch.tensor(scheme.mirrored, dtype=torch.uint8)
        volume, labels = volume.flip(0), mirrored[labels.flip(0).long()]
    if _draw(generator) < POSE_CHANCE:
        volume, labels = _posed(volume, labels, generator)
    inside = volume > 0
    volume = other_tissues(volume, torch.tensor(scheme.tissues)[labels.long()], generator)
    volume = _other_curve(volume, generator)
    volume = _other_sharpness(volume, generator)
    volume = _coarser(volume, generator)
    volume = _other_contrast(volume, generator)
    volume = _noisy(volume, inside, generator)
    return volume.clamp(0, 1), labels


def _draw(generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _posed(volume: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Turned, scaled, shifted and bent a little; labels by nearest neighbour."""
    about_z, about_y, about_x = (_draw(generator, -ROTATION, ROTATION) for _ in range(3))
    matrix = rotation(torch.tensor([about_x, -about_y, about_z]))
    matrix = matrix * torch.tensor([_draw(generator, 1 - SCALE, 1 + SCALE) for _ in range(3)])
    # Normalised coordinates run along the last axis first, and each axis has its own unit.
    half = torch.tensor(volume.shape[::-1]) / 2
    matrix = matrix * half[None, :] / half[:, None]
    shift = torch.tensor([_draw(generator, -SHIFT_VOXELS, SHIFT_VOXELS) for _ in range(3)]) / half
    theta = torch.cat([matrix, shift[:, None]], dim=1)[None]
    grid = F.affine_grid(theta, [1, 1, *volume.shape], align_corners=False)
    bend = torch.randn(1, 3, *WARP_KNOTS, generator=generator) * _draw(generator, 0, WARP_VOXELS)
    bend = F.interpolate(bend, size=volume.shape, mode="trilinear", align_corners=True)
    grid = grid + bend.movedim(1, -1) / half
    moved = F.grid_sample(volume[None, None], grid, align_corners=False)[0, 0]
    values = labels[None, None].float()
    sampled = F.grid_sample(values, grid, mode="nearest", align_corners=False)[0, 0]
    return moved, sampled.to(torch.uint8)


def other_tissues(volume: Tensor, tissues: Tensor, generator: torch.Generator) -> Tensor:
    """Each tissue a little brighter or darker, as another sequence would show it."""
    if _draw(generator) >= TISSUE_CHANCE:
        return volume
    shifts = (2 * torch.rand(len(CLASSES), generator=generator) - 1) * TISSUE_SHIFT
    shifts[0] = 0
    return volume + shifts[tissues]


def _other_curve(volume: Tensor, generator: torch.Generator) -> Tensor:
    """Intensities by a random curve that rises from 0 to 1, as another sequence orders them."""
    if _draw(generator) >= CURVE_CHANCE:
        return volume
    rises = 0.4 + torch.rand(CURVE_STEPS, generator=generator)
    curve = F.pad((rises / rises.sum()).cumsum(0), (1, 0))
    place = volume.clamp(0, 1) * CURVE_STEPS
    left = place.floor().clamp(max=CURVE_STEPS - 1)
    low, high = curve[left.long()], curve[left.long() + 1]
    return low + (place - left) * (high - low)


def _coarser(volume: Tensor, generator: torch.Generator) -> Tensor:
    """Blurred, or along one axis as if made of thicker slices."""
    if _draw(generator) < BLUR_CHANCE:
        sigma = _draw(generator, 0.3, BLUREST)
        taps = torch.arange(-3.0, 4.0)
        kernel = torch.softmax(-(taps**2) / (2 * sigma**2), dim=0)
        volume = convolved(volume, kernel)
    if _draw(generator) < COARSE_CHANCE:
        axis, thickness = int(_draw(generator, 0, 3)), _draw(generator, 1.2, COARSEST)
        thick = list(volume.shape)
        thick[axis] = round(thick[axis] / thickness)
        few = F.interpolate(volume[None, None], size=thick, mode="area")
        volume = F.interpolate(few, size=volume.shape, mode="trilinear")[0, 0]
    return volume


def convolved(volume: Tensor, kernel: Tensor) -> Tensor:
    """Along each axis with a kernel of odd length."""
    blurred = volume[None, None]
    for axis in range(3):
        shape = [1, 1, 1, 1, 1]
        shape[2 + axis] = len(kernel)
        padding = [len(kernel) // 2 * int(a == axis) for a in range(3)]
        blurred = F.conv3d(blurred, kernel.reshape(shape), padding=padding)
    return blurred[0, 0]


def _other_sharpness(volume: Tensor, generator: torch.Generator) -> Tensor:
    """Between blurred with [1, 2, 1] / 4 along each axis and as much sharper."""
    amount = _draw(generator, -1.0, 0.8)
    return volume + amount * (volume - convolved(volume, torch.tensor([0.25, 0.5, 0.25])))


def _other_contrast(volume: Tensor, generator: torch.Generator) -> Tensor:
    """Gamma, brightness, and a smooth coil profile."""
    gamma = math.exp(_draw(generator, -0.4, 0.4))
    brightness = _draw(generator, 0.82, 1.15)
    knots = 0.2 * _draw(generator) * torch.randn(1, 1, 3, 4, 3, generator=generator)
    profile = F.interpolate(knots, size=volume.shape, mode="trilinear", align_corners=True)[0, 0]
    return volume.clamp(min=0) ** gamma * brightness * profile.exp()


def _noisy(volume: Tensor, inside: Tensor, generator: torch.Generator) -> Tensor:
    """Noise of up to 5 % of the white matter, half the time only inside the brain."""
    noise = torch.randn(volume.shape, generator=generator) * _draw(generator, 0, 0.05)
    return volume + (noise * inside if _draw(generator) < 0.5 else noise)


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


class TrainingBrains(HeldOut, Protocol):
    """Labelled brains to learn from, and others to measure on."""

    @property
    def training(self) -> int:
        """How many there are to learn from: the first."""

    def example(self, index: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A pair to learn from, which may be another each time."""


class DescribedBrains(HeldOut, Protocol):
    """Labelled brains that a card can be written of."""

    def space(self, index: int) -> Space:
        """Grid of one of them."""

    def card(self, run: SegmentationRun, licence: str | None) -> Json:
        """What a network's card says of the data and the training."""

    def measured(self, segmenter: Segmenter, progress: Progress) -> Json:
        """What a network's card says of its accuracy, and of what it finds in people."""


INTENDED_USE = (
    "Research, teaching and software development: volumes in generated brains and in scans "
    "prepared in the same way. Not a medical device; not for diagnosis."
)


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
    intended_use: ClassVar[str] = INTENDED_USE

    def volume(self, index: int) -> np.ndarray:
        """Intensities of one of them, float32 (X, Y, Z) in [0, 1]."""
        return unit(self.pack.volumes[self.rows[index]])

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

    def space(self, index: int) -> Space:
        """See `DescribedBrains.space`."""
        return self.pack.space

    def measured(self, segmenter: Segmenter, progress: Progress) -> Json:
        """See `DescribedBrains.measured`."""
        return {"validation": validation_figures(segmenter, self)}

    def card(self, run: SegmentationRun, licence: str | None) -> Json:
        """See `DescribedBrains.card`."""
        rows = self.rows[: self.training]
        space = {"voxel_mm": list(self.pack.space.voxel_size), "axes": "RAS"}
        return {"space": space} | about(run, self.pack, rows, licence, self.intended_use)


def draw(
    brains: TrainingBrains, seed: int, number: int, multiple: int = 1
) -> tuple[Tensor, Tensor]:
    """A brain of a step and its labels, augmented; every one once before any again.

    Empty space around it is left out as far as the network's `multiple` allows.
    """
    index = in_epoch(number, brains.training, seed)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
    volume, labels = brains.example(index, generator)
    if brains.scheme is STRUCTURES:  # an image that was made, as varied as it has to be
        return volume, labels
    window = _window(volume, multiple, generator)
    volume, labels = augment_labelled(volume[window], labels[window], generator, brains.scheme)
    return torch.from_numpy(as_seen(volume.numpy(), brains.scheme)), labels


def _window(volume: Tensor, multiple: int, generator: torch.Generator) -> tuple[slice, ...]:
    """Around what is not 0, at a random place, with axes of a multiple where the grid allows it."""
    window = []
    for side, length in zip(filled_box((volume > 0).numpy()), volume.shape, strict=True):
        size = min(length, -(-(side.stop - side.start) // multiple) * multiple)
        least, most = max(0, side.stop - size), min(side.start, length - size)
        start = int(torch.randint(least, most + 1, (), generator=generator))
        window.append(slice(start, start + size))
    return tuple(window)


def load_labelled(pack: Pack, folder: Path, scheme: Scheme = TISSUES) -> LabelledBrains:
    """The subjects of a pack that have a label map in `folder`, and one that tells the sides apart.

    Parameters
    ----------
    pack : Pack
        The dataset.
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
            found = read_map(path, pack.space, table, PROTOCOL if regions else "")
            found = halved(found, pack.space) if regions else found
            if not one_sided(found, scheme):
                rows.append(int(row))
                maps.append(found)
        training = training or len(rows)
    check_both(folder, pack, training, len(rows) - training)
    return LabelledBrains(pack, np.array(rows, np.int64), np.stack(maps), training, scheme)


def check_both(folder: Path, pack: Pack, training: int, validation: int) -> None:
    """StyleGAN3DError unless a folder has label maps of so many subjects of both splits."""
    if not training or not validation:
        raise StyleGAN3DError(
            f"{folder} has label maps of {training} training and {validation} validation subjects "
            f"of {pack.path}; name them after the scans, such as sub-01_dseg.nii.gz, and give some "
            "of both."
        )


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
    tissues = read_tissues(folder, needed=True)
    unknown = sorted(set(tissues.values()) - set(CLASSES))
    if unknown:
        raise StyleGAN3DError(
            f"{folder / TABLE} names the tissue '{unknown[0]}', which the segmentation does not "
            f"have; it has {', '.join(CLASSES)}."
        )
    return {0: 0} | {label: CLASSES.index(tissue) for label, tissue in tissues.items()}


def open_map(path: Path, *, canonical: bool = False) -> tuple[Any, np.ndarray]:
    """The image of a label map, with `canonical` its axes nearest to R, A, S, and its values.

    Raises
    ------
    StyleGAN3DError
        If it cannot be read.
    """
    try:
        image: Any = open_image(path)
        image = nib.as_closest_canonical(image) if canonical else image
        return image, np.asanyarray(image.dataobj)
    except (ScanError, *READ_ERRORS) as error:
        raise StyleGAN3DError(f"{path} cannot be read; export the labels again.") from error


def classes_of(data: np.ndarray, table: Mapping[int, int]) -> tuple[np.ndarray, list[float]]:
    """Each value replaced by what a table has for it, uint8, 0 for others; and those others."""
    values, place = np.unique(data, return_inverse=True)
    unknown = [float(value) for value in values if value not in table]
    classes = np.array([table.get(value, 0) for value in values], np.uint8)
    return classes[place].reshape(data.shape), unknown


#: What to do about a value, where no table of the folder names them.
PROTOCOL = "is not in the Neuromorphometrics protocol; renumber it, or learn tissues."


def read_map(path: Path, space: Space, table: dict[int, int], otherwise: str = "") -> np.ndarray:
    """One label map on the grid `space`, each value replaced by what `table` has for it.

    `otherwise` ends the sentence on a value that it lacks; by default that of the folder's table.

    Returns
    -------
    ndarray, shape (X, Y, Z), uint8

    Raises
    ------
    StyleGAN3DError
        If it cannot be read, is on another grid, or holds a value that the table does not.
    """
    image, data = open_map(path)
    if not space.same_as(image):
        raise StyleGAN3DError(
            f"{path} is not on the grid of the dataset; resample it (nearest neighbour)."
        )
    classes, unnamed = classes_of(data, table)
    if unnamed:
        otherwise = otherwise or f"{path.parent / TABLE} does not name; add it to the table."
        raise StyleGAN3DError(f"{path} holds the value {unnamed[0]:g}, which {otherwise}")
    return classes


#: One in so many blocks without any of the brain is learned from.
EMPTY_BLOCKS = 32
#: Weight of the Dice in the last step; in the first it is 1.
LAST_DICE = 0.1


@dataclass(frozen=True, eq=False)
class SegmentationTask(TrainingTask[TissueNetwork, TrainingBrains]):
    """How such a network is trained.

    Attributes
    ----------
    settings : SegmentationSettings
    begin_with : TissueNetwork or None
        A new run starts from its weights; the head's only if it has the same classes.
    """

    settings: SegmentationSettings
    begin_with: TissueNetwork | None = None
    kind = "segmentation"
    clip = 5.0
    betas = (0.9, 0.999)
    fused = False
    singly = True

    def network(self) -> TissueNetwork:
        """A new network."""
        return TissueNetwork(self.settings.widths, len(SCHEMES[self.settings.scheme].classes))

    def prepare(self, source: Any, folder: Path, progress: Progress) -> TrainingBrains:
        """The labelled brains as they are.

        Raises
        ------
        ModelError
            If they have the labels of another scheme.
        """
        if source.scheme.name != self.settings.scheme:
            raise ModelError(
                f"The run in '{folder}' learns {self.settings.scheme}, but the label maps were "
                f"read as {source.scheme.name}; give the same --scheme as before."
            )
        return source

    def start(self, network: TissueNetwork, data: TrainingBrains) -> None:
        """Take over the weights of another network.

        Raises
        ------
        ModelError
            If it has other widths.
        """
        if self.begin_with is None:
            return
        known = self.begin_with.state_dict()
        if self.begin_with.classes != network.classes:
            known = {name: value for name, value in known.items() if not name.startswith("head.")}
        if self.begin_with.widths != network.widths:
            raise ModelError(
                f"The initial network has the widths {self.begin_with.widths}, the new one "
                f"{network.widths}; begin with one that was trained with this program's own."
            )
        network.load_state_dict(known, strict=False)

    def loss(
        self, network: TissueNetwork, data: TrainingBrains, step: int, samples: range
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Of one volume and its labels.

        The head, which is wide, is computed only where the brain is, and in few blocks outside.
        """
        device = device_of(network)
        fast = fast_dtype(device)
        number = step * self.batch + samples.start
        drawn = draw(data, self.settings.seed, number, network.multiple)
        volume, labels = (padded(x, network.multiple) for x in drawn)
        blocks = to_blocks(labels[None]).flatten(1, 3)[0].flatten(1)
        near = (blocks > 0).any(dim=0)
        near[number % EMPTY_BLOCKS :: EMPTY_BLOCKS] = True
        near = near.nonzero()[:, 0].to(device)
        head = network.head
        with torch.autocast(device.type, torch.bfloat16, enabled=fast == torch.bfloat16):
            features = network.features(volume.to(device)[None, None])[0].flatten(1)
            logits = F.linear(features.T[near], head.weight.flatten(1), head.bias)
        logits = logits.float().reshape(-1, network.classes)
        done = step / self.settings.steps
        share = 1 - (1 - LAST_DICE) * done
        loss = segmentation_loss(logits, blocks.to(device)[:, near].T.reshape(-1), share)
        return loss, {"loss": loss}

    def measure(
        self, average: TissueNetwork, data: TrainingBrains, *, last: bool
    ) -> dict[str, float]:
        """Mean Dice of each class over the held-out subjects that have it."""
        return mean_scores(validate(average, data))


SegmentationRun = Run[SegmentationTask]


def segmentation_loss(logits: Tensor, labels: Tensor, share: float = 1.0) -> Tensor:
    """Cross-entropy plus one minus the mean soft Dice of the classes but the background.

    Parameters
    ----------
    logits : Tensor, shape (n, C), float32
        Output of the network for n voxels.
    labels : Tensor, shape (n,), uint8
    share : float
        Weight of the Dice: it finds small regions early, but draws them too large.
    """
    target = labels.long()
    logs = logits.log_softmax(dim=1)
    chances = logs.exp()
    right = chances.gather(1, target[:, None])[:, 0]
    both = logits.new_zeros(logits.shape[1]).index_add(0, target, right)
    total = chances.sum(dim=0) + target.bincount(minlength=logits.shape[1])
    dice = (2 * both + 1) / (total + 1)
    return F.nll_loss(logs, target) + share * (1 - dice[1:].mean())


@torch.inference_mode()
def validate(network: TissueNetwork, brains: HeldOut) -> list[dict[str, float]]:
    """`dice_scores` of each subject set aside, of the classes that are in it.

    In a healthy one a network that finds no lesion anywhere would have a Dice of 1.
    """
    parameter = next(network.parameters())
    scores = []
    for index in brains.validation:
        volume, truth = brains.pair(index)
        whole = padded(volume, network.multiple)[None, None].to(parameter)
        found = likeliest(network(whole))[0].cpu().numpy()
        found = found[tuple(slice(n) for n in truth.shape)]
        dice = dice_scores(found, truth.numpy(), brains.scheme.classes)
        there = {brains.scheme.classes[index] for index in np.unique(truth)}
        scores.append({name: score for name, score in dice.items() if name in there})
    return scores


def train_segmentation(
    brains: TrainingBrains,
    folder: Path,
    settings: SegmentationSettings | None = None,
    begin_with: TissueNetwork | None = None,
    **how: Unpack[How],
) -> SegmentationRun:
    """Train a network of tissues or of regions.

    Parameters
    ----------
    brains : TrainingBrains
        Labelled subjects.
    folder : Path
        Folder of the run.
    settings : SegmentationSettings or None
        Settings of a new run.
    begin_with : TissueNetwork or None
        A network whose weights a new run starts from.
    how : Unpack
        See `stylegan3d.training.run.train`, also for what is raised.
    """
    begin = partial(SegmentationTask, settings or SegmentationSettings(), begin_with)
    return train(SegmentationTask, begin, brains, folder, **how)


def export_segmentation(
    run: SegmentationRun,
    brains: DescribedBrains,
    to: ModelTarget,
    *,
    notes: Json | None = None,
    progress: Progress = SILENT,
) -> Segmenter:
    """Write the averaged network and its card, and measure the card's figures.

    Parameters
    ----------
    run : SegmentationRun
        The run; the weights are rounded to float16 before anything is measured.
    brains : DescribedBrains
        What it learned from and is validated on.
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
    network = rounded(run)
    card: Json = {"name": to.name, "version": "0.1"} | brains.card(run, to.licence)
    segmenter = Segmenter(network, card, "", run.device, brains.scheme)
    card |= brains.measured(segmenter, progress)
    write_model(to.folder, network, noted(card, notes), brains.scheme, overwrite=to.overwrite)
    return segmenter


def validation_figures(segmenter: Segmenter, brains: DescribedBrains) -> Json:
    """Dice and volume errors on the held-out subjects."""
    scheme = brains.scheme
    scores, found, truth = [], [], []
    for index in brains.validation:
        volume, true = (x.numpy() for x in brains.pair(index))
        space = brains.space(index)
        labels = segmenter.segment(volume, space).labels
        scores.append(dice_scores(labels, true, scheme.classes))
        found.append(volumes_ml(labels, space, scheme))
        truth.append(volumes_ml(true, space, scheme))
    figures: Json = {}
    for name in scheme.classes[1:]:
        dice = np.array([row[name] for row in scores])
        a, b = (np.array([row[name] for row in rows]) for rows in (found, truth))
        figures[name] = {
            "dice": round(float(dice.mean()), 4),
            "dice_sd": round(float(dice.std(ddof=1)), 4) if len(dice) > 1 else None,
            "dice_least": round(float(dice.min()), 4),
            "volume_bias_ml": round(float((a - b).mean()), 2),
            "volume_error_ml": round(float(np.abs(a - b).mean()), 2),
            "volume_ml": round(float(b.mean()), 2),
            "volume_r": _correlation(a, b),
        }
    return {"people": len(scores), scheme.name: figures}


def _correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Of volumes found and labelled; None of fewer than three or of equal ones."""
    if len(a) < 3 or not a.std() > 0 or not b.std() > 0:
        return None
    return round(float(np.corrcoef(a, b)[0, 1]), 3)
