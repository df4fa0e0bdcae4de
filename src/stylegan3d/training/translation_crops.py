"""What a step of training sees: crops of subjects, their labels, and the contrast of the scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stylegan3d.training.autoencoder import Place
from stylegan3d.training.draws import in_epoch
from stylegan3d.training.options import TranslationSettings
from stylegan3d.training.translation_data import PaintedPeople
from stylegan3d.translation.contrast import contrast_of, filled

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
        return Crops(
            self.volumes.to(device),
            self.tissues.to(device),
            self.regions.to(device),
            self.contrasts.to(device),
            self.places,
        )


def draw(people: PaintedPeople, settings: TranslationSettings, step: int, multiple: int) -> Crops:
    """The crops of one step: every subject once before anybody again, half of them mirrored."""
    rows = people.pack.indices("train")
    parts: list[tuple[np.ndarray, ...]] = []
    places: list[Place] = []
    inside = np.argwhere(people.pack.template > 0.1)
    for number in range(step * settings.people, (step + 1) * settings.people):
        row = int(rows[in_epoch(number, len(rows), settings.seed)])
        rng = np.random.default_rng([settings.seed, 1, number])
        *maps, contrast = _person(people, row, settings.gamma, rng)
        for middle in rng.choice(inside, settings.crops):
            where = _place(middle, settings.side, people.pack.space.shape, multiple)
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


def _place(middle: np.ndarray, side: int, shape: tuple[int, int, int], multiple: int) -> Place:
    """Position of a crop around a voxel, in steps of `multiple`."""
    sides = [min(side, n) for n in shape]
    starts = [
        min(max(round((m - s / 2) / multiple), 0), (n - s) // multiple) * multiple
        for m, s, n in zip(middle, sides, shape, strict=True)
    ]
    x, y, z = (slice(a, a + s) for a, s in zip(starts, sides, strict=True))
    return x, y, z
