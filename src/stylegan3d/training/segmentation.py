"""Training of the tissue network.

Whole volumes, one per step, cross-entropy plus soft Dice (Milletari et al. 2016, arXiv:1606.04797)
over the tissues, AdamW with a cosine schedule, and an exponential average of the weights, which is
what is validated and shipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.devices import fast_dtype
from stylegan3d.segmentation.classes import CLASSES, dice_scores, mean_scores
from stylegan3d.segmentation.network import WIDTHS, TissueNetwork, likeliest, padded, to_blocks
from stylegan3d.training.run import How, Recipe, Run, RunSettings, device_of, train
from stylegan3d.training.segmentation_data import Brains, draw


@dataclass(frozen=True)
class SegmentationSettings(RunSettings):
    """Settings of one run.

    Attributes
    ----------
    widths : tuple of int
        Channels of the network, see `TissueNetwork`.
    steps : volumes to see, one per step.
    average_steps : float
        Half-life, in steps, of the averaged weights; it takes the place of `decay`.
    """

    widths: tuple[int, ...] = WIDTHS
    learning_rate: float = 3e-3
    warm_up: int = 100
    average_steps: float = 100.0
    save_seconds: float = 60.0
    last_rate: ClassVar[float] = 0.0

    def memory(self, steps: int) -> float:
        """Decay of the weight average after a number of steps."""
        return 0.5 ** (1 / min(self.average_steps, 0.1 * (steps - 1) + 1))


@dataclass(frozen=True)
class SegmentationRecipe(Recipe[TissueNetwork, Brains]):
    """How the tissue network is trained."""

    settings: SegmentationSettings
    kind = "segmentation"
    options = SegmentationSettings
    clip = 5.0
    betas = (0.9, 0.999)
    fused = False

    def network(self) -> TissueNetwork:
        """A new network."""
        return TissueNetwork(self.settings.widths)

    def loss(
        self, network: TissueNetwork, data: Brains, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Of one volume and its labels."""
        device = device_of(network)
        fast = fast_dtype(device)
        volume, labels = (padded(x, network.multiple) for x in draw(data, self.settings.seed, step))
        with torch.autocast(device.type, torch.bfloat16, enabled=fast == torch.bfloat16):
            logits = network(volume.to(device)[None, None])
        loss = segmentation_loss(logits.float(), to_blocks(labels.to(device)[None]))
        return loss, {"loss": loss}

    def measure(self, average: TissueNetwork, data: Brains, *, last: bool) -> dict[str, float]:
        """Mean Dice of each tissue of the held-out subjects."""
        return mean_scores(validate(average, data))


SegmentationRun = Run[SegmentationRecipe]


def segmentation_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy plus one minus the mean soft Dice of the tissues.

    Parameters
    ----------
    logits : Tensor, shape (N, 2, 2, 2, 6, X, Y, Z), float32
        Output of the network.
    labels : Tensor, shape (N, 2, 2, 2, X, Y, Z), uint8
    """
    logits = logits.movedim(4, -1).reshape(-1, len(CLASSES))
    target = labels.reshape(-1).long()
    entropy = F.cross_entropy(logits, target)
    chances = logits.softmax(dim=1)
    truth = F.one_hot(target, len(CLASSES)).float()
    both = (chances * truth).sum(dim=0)[1:]
    total = (chances + truth).sum(dim=0)[1:]
    dice = (2 * both + 1) / (total + 1)
    return entropy + 1 - dice.mean()


@torch.inference_mode()
def validate(network: TissueNetwork, brains: Brains) -> list[dict[str, float]]:
    """`dice_scores` of each subject set aside."""
    parameter = next(network.parameters())
    scores = []
    for index in brains.validation:
        volume, truth = brains.pair(index)
        whole = padded(volume, network.multiple)[None, None].to(parameter)
        found = likeliest(network(whole))[0].cpu().numpy()
        scores.append(dice_scores(found[tuple(slice(n) for n in truth.shape)], truth.numpy()))
    return scores


def train_segmentation(
    brains: Brains,
    folder: Path,
    settings: SegmentationSettings | None = None,
    **how: Unpack[How],
) -> SegmentationRun:
    """Train the tissue network.

    Parameters
    ----------
    brains : Brains
        Labelled subjects.
    folder : Path
        Folder of the run.
    settings : SegmentationSettings or None
        Settings of a new run.
    how : Unpack
        See `stylegan3d.training.run.train`, also for what is raised.
    """

    def begin() -> SegmentationRecipe:
        return SegmentationRecipe(settings or SegmentationSettings())

    return train(SegmentationRecipe, begin, brains, folder, **how)
