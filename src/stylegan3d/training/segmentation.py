"""Training of the tissue network, resumable at any moment.

Whole volumes, one per step, cross-entropy plus soft Dice (Milletari et al. 2016, arXiv:1606.04797)
over the tissues, AdamW with a cosine schedule, and an exponential average of the weights, which is
what is validated and shipped. Every step draws from its own seed, so that a resumed run goes on
as if it had not been interrupted.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.devices import fast_dtype
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.segmentation.classes import CLASSES, dice_scores, mean_scores
from stylegan3d.segmentation.network import WIDTHS, TissueNetwork, likeliest, padded, to_blocks
from stylegan3d.storage.checkpoint import (
    begin_or_resume,
    load_checkpoint,
    save_checkpoint,
)
from stylegan3d.storage.locks import only_run
from stylegan3d.training.segmentation_augmentation import augment_labelled
from stylegan3d.training.segmentation_data import LabelledBrains

# Called with steps done, steps in all, and figures such as {"loss": 0.2}.
Progress = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True)
class SegmentationConfig:
    """Settings of one run.

    Attributes
    ----------
    widths : channels of the network, see `TissueNetwork`.
    steps : volumes to see, one per step.
    learning_rate : highest; reached after `warm_up` steps, then falls to 0 along a cosine.
    average_steps : half-life, in steps, of the averaged weights.
    validate_every : steps between measurements on the people set aside.
    save_seconds : seconds between checkpoints, at most.
    seed : of weights, order and augmentation.
    """

    widths: tuple[int, ...] = WIDTHS
    steps: int = 4000
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    warm_up: int = 100
    average_steps: float = 100.0
    validate_every: int = 500
    save_seconds: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.validate_every < 1:
            raise StyleGAN3DError("A run needs at least one step; ask for more.")


class SegmentationRun:
    """Network, average, optimiser and counters between two steps."""

    def __init__(self, config: SegmentationConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        torch.manual_seed(config.seed)
        self.network = TissueNetwork(config.widths).to(device)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        self.steps, self.seconds = 0, 0.0
        self.dice: dict[str, float] = {}
        # What whoever resumed the run should know.
        self.note = ""

    def rate(self) -> float:
        """Learning rate of the next step."""
        config = self.config
        done = min(self.steps / config.steps, 1.0)
        warm = min((self.steps + 1) / config.warm_up, 1.0) if config.warm_up else 1.0
        return config.learning_rate * warm * (1 + math.cos(math.pi * done)) / 2

    def step(self, volume: Tensor, labels: Tensor) -> float:
        """Learn from one volume (X, Y, Z) and its labels; the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        fast = fast_dtype(self.device)
        volume, labels = (padded(x, self.network.multiple) for x in (volume, labels))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=fast == torch.bfloat16):
            logits = self.network(volume.to(self.device)[None, None])
        loss = segmentation_loss(logits.float(), to_blocks(labels.to(self.device)[None]))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self._update_average()
        self.steps += 1
        return float(loss.detach())

    @torch.no_grad()
    def _update_average(self) -> None:
        # Shorter at the start, so that the first weights are soon forgotten.
        half_life = min(self.config.average_steps, 0.1 * self.steps + 1)
        decay = 0.5 ** (1 / half_life)
        pairs = zip(self.average.parameters(), self.network.parameters(), strict=True)
        for average, current in pairs:
            average.lerp_(current, 1 - decay)

    def save(self, folder: Path) -> None:
        """Write the checkpoint; see `checkpointing.save_checkpoint`."""
        data = {
            "config": asdict(self.config),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "counters": {"steps": self.steps, "seconds": self.seconds},
            "dice": self.dice,
        }
        save_checkpoint(folder, data)

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> SegmentationRun:
        """Resume from a run's folder.

        If the last checkpoint is damaged, the one before it is taken, and `note` says so.

        Raises
        ------
        ModelError
            If there is no run, or its checkpoints are damaged.
        """

        def build(data: dict[str, Any]) -> SegmentationRun:
            known = {field.name for field in fields(SegmentationConfig)}
            settings = {k: v for k, v in data["config"].items() if k in known}
            settings["widths"] = tuple(settings["widths"])
            run = cls(SegmentationConfig(**settings), device)
            run.network.load_state_dict(data["network"])
            run.average.load_state_dict(data["average"])
            run.optimiser.load_state_dict(data["optimiser"])
            run.steps, run.seconds = data["counters"]["steps"], data["counters"]["seconds"]
            run.dice = data["dice"]
            return run

        run, note = load_checkpoint(folder, device, build)
        run.note = note
        return run


def segmentation_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy plus one minus the mean soft Dice of the tissues.

    Parameters
    ----------
    logits : float32 [N, 2, 2, 2, 6, X, Y, Z], as the network gives them.
    labels : uint8 [N, 2, 2, 2, X, Y, Z]
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
def validate(network: TissueNetwork, brains: LabelledBrains) -> list[dict[str, float]]:
    """`dice_scores` of each person set aside, in the order of `brains.validation`."""
    parameter = next(network.parameters())
    scores = []
    for index in brains.validation:
        volume = torch.from_numpy(brains.volume(index)).to(parameter)[None, None]
        found = likeliest(network(padded(volume, network.multiple)))[0].cpu().numpy()
        found = found[tuple(slice(n) for n in brains.pack.space.shape)]
        scores.append(dice_scores(found, brains.labels[index]))
    return scores


def train_segmentation(
    brains: LabelledBrains,
    folder: Path,
    config: SegmentationConfig | None = None,
    *,
    resume: bool = False,
    device: torch.device | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> SegmentationRun:
    """Train the tissue network.

    Parameters
    ----------
    brains : labelled people; those set aside are only measured on.
    folder : of the run; its checkpoint is written there.
    config : settings of a new run.
    resume : go on with the run in `folder`.
    progress : called after each step.
    tell : called with a sentence if the last checkpoint was damaged and the one before it is used.

    Raises
    ------
    ModelError
        If there is nothing to resume, or a new run would replace another.
    OutputError
        If the folder cannot be written to, or another run writes to it.
    """
    device = device or torch.device("cpu")
    with only_run(folder):
        run = begin_or_resume(
            folder,
            lambda: SegmentationRun(config or SegmentationConfig(), device),
            lambda: SegmentationRun.load(folder, device),
            resume=resume,
            tell=tell,
        )
        _go_on(run, brains, folder, progress)
    return run


def _go_on(
    run: SegmentationRun, brains: LabelledBrains, folder: Path, progress: Progress | None
) -> None:
    """Train until the last step."""
    started, saved, before = time.monotonic(), time.monotonic(), run.seconds
    while run.steps < run.config.steps:
        volume, labels = _draw(brains, run.config.seed, run.steps)
        figures = {"loss": run.step(volume, labels)}
        run.seconds = before + time.monotonic() - started
        last = run.steps == run.config.steps
        if last or run.steps % run.config.validate_every == 0:
            run.dice = mean_scores(validate(run.average, brains))
            figures |= run.dice
        if last or time.monotonic() - saved > run.config.save_seconds:
            run.save(folder)
            saved = time.monotonic()
        if progress:
            progress(run.steps, run.config.steps, figures)


def _draw(brains: LabelledBrains, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """The volume of one step and its labels; every person once before anybody again."""
    epoch, place = divmod(step, brains.training)
    order = np.random.default_rng([seed, epoch]).permutation(brains.training)
    index = int(order[place])
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    volume, labels = torch.from_numpy(brains.volume(index)), torch.from_numpy(brains.labels[index])
    return augment_labelled(volume, labels, generator)
