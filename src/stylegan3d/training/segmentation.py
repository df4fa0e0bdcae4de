"""Training of the networks of tissues and of regions.

Whole volumes, one per step, cross-entropy plus soft Dice (Milletari et al. 2016, arXiv:1606.04797)
over the classes, AdamW with a cosine schedule, and an exponential average of the weights, which is
what is validated and shipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.devices import fast_dtype
from stylegan3d.errors import ModelError
from stylegan3d.progress import Progress
from stylegan3d.segmentation.classes import dice_scores, mean_scores
from stylegan3d.segmentation.network import TissueNetwork, likeliest, padded, to_blocks
from stylegan3d.segmentation.schemes import SCHEMES
from stylegan3d.training.options import SegmentationSettings
from stylegan3d.training.run import How, Recipe, Run, device_of, train
from stylegan3d.training.segmentation_data import Brains, HeldOut, draw

#: One in so many blocks without any of the brain is learned from.
EMPTY_BLOCKS = 32
#: Weight of the Dice in the last step; in the first it is 1.
LAST_DICE = 0.1


@dataclass(frozen=True, eq=False)
class SegmentationRecipe(Recipe[TissueNetwork, Brains]):
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
    options = SegmentationSettings
    clip = 5.0
    betas = (0.9, 0.999)
    fused = False

    def network(self) -> TissueNetwork:
        """A new network."""
        return TissueNetwork(self.settings.widths, len(SCHEMES[self.settings.scheme].classes))

    def prepare(self, source: Any, folder: Path, progress: Progress | None) -> Brains:
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

    def start(self, network: TissueNetwork, data: Brains) -> None:
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
                f"The network to begin with has the widths {self.begin_with.widths}, the new one "
                f"{network.widths}; begin with one that was trained with this program's own."
            )
        network.load_state_dict(known, strict=False)

    def loss(
        self, network: TissueNetwork, data: Brains, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Of one volume and its labels.

        The head, which is wide, is computed only where the brain is, and in few blocks outside.
        """
        device = device_of(network)
        fast = fast_dtype(device)
        drawn = draw(data, self.settings.seed, step, network.multiple)
        volume, labels = (padded(x, network.multiple) for x in drawn)
        blocks = to_blocks(labels[None]).flatten(1, 3)[0].flatten(1)
        near = (blocks > 0).any(dim=0)
        near[step % EMPTY_BLOCKS :: EMPTY_BLOCKS] = True
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

    def measure(self, average: TissueNetwork, data: Brains, *, last: bool) -> dict[str, float]:
        """Mean Dice of each class of the held-out subjects."""
        return mean_scores(validate(average, data))


SegmentationRun = Run[SegmentationRecipe]


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
    """`dice_scores` of each subject set aside."""
    parameter = next(network.parameters())
    scores = []
    for index in brains.validation:
        volume, truth = brains.pair(index)
        whole = padded(volume, network.multiple)[None, None].to(parameter)
        found = likeliest(network(whole))[0].cpu().numpy()
        found = found[tuple(slice(n) for n in truth.shape)]
        scores.append(dice_scores(found, truth.numpy(), brains.scheme.classes))
    return scores


def train_segmentation(
    brains: Brains,
    folder: Path,
    settings: SegmentationSettings | None = None,
    begin_with: TissueNetwork | None = None,
    **how: Unpack[How],
) -> SegmentationRun:
    """Train a network of tissues or of regions.

    Parameters
    ----------
    brains : Brains
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

    def begin() -> SegmentationRecipe:
        return SegmentationRecipe(settings or SegmentationSettings(), begin_with)

    return train(SegmentationRecipe, begin, brains, folder, **how)
