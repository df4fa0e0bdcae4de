"""Training of the network that paints labels, resumable at any moment.

What it paints from a person's labels in the contrast of the person's scan is to look like that scan
(absolute error, and structural similarity, Wang et al. 2004). Half of the time the labels are those
that the tissue network reads in the scan, which everybody has, half of the time those of the label
map, with or without its regions. Every step draws from its own seed, so that a resumed run goes on
as if it had not been interrupted.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stylegan3d.devices import fast_dtype
from stylegan3d.errors import ModelError
from stylegan3d.measures.similarity import similarity
from stylegan3d.networks.resampling import haar
from stylegan3d.storage.checkpoint import begin_or_resume, load_checkpoint, save_checkpoint
from stylegan3d.storage.locks import only_run
from stylegan3d.training.autoencoder import mean_ssim
from stylegan3d.training.translation_crops import Crops, TranslationTraining, draw
from stylegan3d.training.translation_data import PaintedPeople
from stylegan3d.translation.network import TranslationConfig, TranslationNetwork

Progress = Callable[[int, int, dict[str, float]], None]
#: People set aside that are measured on the way, at most; all of them at the end.
MEASURED = 6


class TranslationRun:
    """Network, average, optimiser and counters between two steps."""

    def __init__(
        self, shape: TranslationConfig, config: TranslationTraining, device: torch.device
    ) -> None:
        if config.side % shape.multiple:
            raise ModelError(f"Crops of {config.side} voxels: take a multiple of {shape.multiple}.")
        self.shape, self.config, self.device = shape, config, device
        torch.manual_seed(config.seed)
        self.network = TranslationNetwork(shape).to(device)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(),
            config.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=config.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )
        self.steps, self.seconds = 0, 0.0
        self.measured: dict[str, float] = {}
        # What whoever resumed the run should know.
        self.note = ""

    def begin(self, people: PaintedPeople) -> None:
        """Tell the networks the mean brain and how people's contrasts spread."""
        mean = haar(torch.from_numpy(people.pack.template).float()[None, None])
        contrasts = people.contrasts[people.pack.indices("train")]
        spread = torch.from_numpy(contrasts.std(axis=0)).clamp(min=1e-4)
        for network in (self.network, self.average):
            network.mean.copy_(mean)
            network.usual.copy_(torch.from_numpy(people.usual()))
            network.spread.copy_(spread)

    def rate(self) -> float:
        """Learning rate of the next step."""
        config = self.config
        warm = min((self.steps + 1) / config.warm_up, 1.0) if config.warm_up else 1.0
        done = min(self.steps / config.steps, 1.0)
        return config.learning_rate * warm * max(0.01, (1 + math.cos(math.pi * done)) / 2)

    def step(self, crops: Crops) -> dict[str, float]:
        """Learn from crops; the parts of the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        network, config = self.network, self.config
        where = torch.cat([network.where(place) for place in crops.places])
        crops = crops.to(self.device)
        low = fast_dtype(self.device) == torch.bfloat16
        with torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            made = network(crops.tissues, crops.regions, crops.contrasts, where)
        error = (made - crops.volumes).abs().mean()
        unlike = 1 - mean_ssim(made * 2 - 1, crops.volumes * 2 - 1)
        loss = error + config.similarity * unlike
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        if not norm.isfinite():
            raise ModelError(
                f"The training ran away at step {self.steps}; resume it from the checkpoint "
                "before, or start anew with a lower learning rate."
            )
        self.optimiser.step()
        self.steps += 1
        self._update_average()
        return {"error": float(error.detach()), "unlike": float(unlike.detach())}

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.decay, (1 + self.steps) / (10 + self.steps))
        averages: list[Tensor] = list(self.average.parameters())
        currents: list[Tensor] = list(self.network.parameters())
        torch._foreach_lerp_(averages, currents, 1 - decay)

    def save(self, folder: Path) -> None:
        """Write the checkpoint; see `checkpointing.save_checkpoint`."""
        data = {
            "shape": self.shape.to_dict(),
            "config": asdict(self.config),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "counters": {"steps": self.steps, "seconds": self.seconds},
            "measured": self.measured,
        }
        save_checkpoint(folder, data)

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> TranslationRun:
        """Resume from a run's folder; if its last checkpoint is damaged from the one before it.

        Raises
        ------
        ModelError
            If there is no run, or its checkpoints are damaged.
        """

        def build(data: dict[str, Any]) -> TranslationRun:
            config = TranslationTraining(**data["config"])
            run = cls(TranslationConfig.from_dict(data["shape"]), config, device)
            run.network.load_state_dict(data["network"])
            run.average.load_state_dict(data["average"])
            run.optimiser.load_state_dict(data["optimiser"])
            run.steps, run.seconds = data["counters"]["steps"], data["counters"]["seconds"]
            run.measured = data["measured"]
            return run

        run, note = load_checkpoint(folder, device, build)
        run.note = note
        return run


@torch.inference_mode()
def measure(
    network: TranslationNetwork, people: PaintedPeople, count: int | None = None
) -> dict[str, float]:
    """Medians over people set aside, `count` of them at most: "ssim" and "psnr" inside the brain.

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
    config: TranslationTraining | None = None,
    *,
    resume: bool = False,
    device: torch.device | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> TranslationRun:
    """Train the network that paints labels.

    Parameters
    ----------
    people : to learn from; those set aside are only measured on.
    folder : of the run; its checkpoint is written there.
    shape, config : of a new run; its grid and regions are those of `people`.
    resume : go on with the run in `folder`.
    progress : called after each step.
    tell : called with a sentence if the last checkpoint was damaged and the one before it is used.

    Raises
    ------
    ModelError
        If there is nothing to resume, a new run would replace another, or the grid does not fit.
    OutputError
        If the folder cannot be written to, or another run writes to it.
    """
    device = device or torch.device("cpu")
    grid, regions = people.pack.space.shape, len(people.regions.groups)

    def begin() -> TranslationRun:
        chosen = shape or TranslationConfig(grid, regions=regions)
        run = TranslationRun(chosen, config or TranslationTraining(), device)
        run.begin(people)
        return run

    def load() -> TranslationRun:
        return TranslationRun.load(folder, device)

    with only_run(folder):
        run = begin_or_resume(folder, begin, load, resume=resume, tell=tell)
        if tuple(run.shape.shape) != tuple(grid) or run.shape.regions != regions:
            raise ModelError(
                f"The run is of volumes of {run.shape.shape} voxels and {run.shape.regions} "
                f"regions, but these have {tuple(grid)} and {regions}; resume it with the data "
                "set and the labels it began with."
            )
        _go_on(run, people, folder, progress)
    return run


def _go_on(
    run: TranslationRun, people: PaintedPeople, folder: Path, progress: Progress | None
) -> None:
    """Train until the last step."""
    started = saved = time.monotonic()
    before, config = run.seconds, run.config
    while run.steps < config.steps:
        figures = run.step(draw(people, config, run.steps, run.shape.multiple))
        run.seconds = before + time.monotonic() - started
        last = run.steps == config.steps
        if last or run.steps % config.validate_every == 0:
            run.measured = measure(run.average, people, None if last else MEASURED)
            figures |= run.measured
        if last or time.monotonic() - saved > config.save_seconds:
            run.save(folder)
            saved = time.monotonic()
        if progress:
            progress(run.steps, config.steps, figures)
