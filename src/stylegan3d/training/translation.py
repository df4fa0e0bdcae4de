"""Training of the network that paints labels.

Its output for a subject's labels in the contrast of the subject's scan should match that scan
(absolute error, and structural similarity, Wang et al. 2004). Half of the time the labels are those
that the tissue network reads in the scan, which everybody has, half of the time those of the label
map, with or without its regions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from torch import Tensor

from stylegan3d.devices import fast_dtype
from stylegan3d.errors import ModelError
from stylegan3d.measures.similarity import similarity
from stylegan3d.networks.resampling import haar
from stylegan3d.progress import Progress
from stylegan3d.training.autoencoder import mean_ssim
from stylegan3d.training.options import TranslationSettings
from stylegan3d.training.run import How, Recipe, Run, train
from stylegan3d.training.translation_crops import draw
from stylegan3d.training.translation_data import PaintedPeople
from stylegan3d.translation.network import TranslationConfig, TranslationNetwork

#: Held-out subjects that are measured on the way, at most; all of them at the end.
MEASURED = 6


@dataclass(frozen=True)
class TranslationRecipe(Recipe[TranslationNetwork, PaintedPeople]):
    """How the network is trained; `shape` is the network's."""

    shape: TranslationConfig
    settings: TranslationSettings
    kind = "translation"
    options = TranslationSettings
    shapes = TranslationConfig

    def __post_init__(self) -> None:
        if self.settings.side % self.shape.multiple:
            raise ModelError(
                f"Crops of {self.settings.side} voxels: take a multiple of {self.shape.multiple}."
            )

    def network(self) -> TranslationNetwork:
        """A new network."""
        return TranslationNetwork(self.shape)

    def prepare(
        self, source: PaintedPeople, folder: Path, progress: Progress | None
    ) -> PaintedPeople:
        """The subjects, if they have the run's grid and regions."""
        grid, regions = source.pack.space.shape, len(source.regions.groups)
        if tuple(self.shape.shape) != tuple(grid) or self.shape.regions != regions:
            raise ModelError(
                f"The run was begun with volumes of {self.shape.shape} voxels and "
                f"{self.shape.regions} regions, but these have {tuple(grid)} and {regions}; resume "
                "it with the data set and the labels it began with."
            )
        return source

    def start(self, network: TranslationNetwork, data: PaintedPeople) -> None:
        """Fill in the mean brain and how subjects' contrasts spread."""
        contrasts = data.contrasts[data.pack.indices("train")]
        network.mean.copy_(haar(torch.from_numpy(data.pack.template).float()[None, None]))
        network.usual.copy_(torch.from_numpy(data.usual()))
        network.spread.copy_(torch.from_numpy(contrasts.std(axis=0)).clamp(min=1e-4))

    def loss(
        self, network: TranslationNetwork, data: PaintedPeople, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Of crops of subjects."""
        device = network.mean.device
        crops = draw(data, self.settings, step, self.shape.multiple)
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


TranslationRun = Run[TranslationRecipe]


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

    def begin() -> TranslationRecipe:
        grid, regions = people.pack.space.shape, len(people.regions.groups)
        chosen = shape or TranslationConfig(grid, regions=regions)
        return TranslationRecipe(chosen, settings or TranslationSettings())

    return train(TranslationRecipe, begin, people, folder, **how)
