"""What runs of one network have in common: optimiser, averaged weights, counters, checkpoint."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from stylegan3d.errors import ModelError
from stylegan3d.storage.checkpoint import save_checkpoint

N = TypeVar("N", bound=nn.Module)


class AveragedRun(Generic[N]):
    """A network, the average of its weights, and an optimiser between two steps.

    Attributes
    ----------
    network, average : the latter is what is measured and shipped.
    steps, seconds : done so far.
    measured : figures of the averaged network.
    note : what whoever resumed the run should know.
    """

    def __init__(
        self,
        network: N,
        device: torch.device,
        *,
        total: int,
        learning_rate: float,
        weight_decay: float,
        warm_up: int,
        decay: float,
    ) -> None:
        self.device, self.total = device, total
        self.learning_rate, self.warm_up, self.decay = learning_rate, warm_up, decay
        self.network = network.to(device)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(),
            learning_rate,
            betas=(0.9, 0.99),
            weight_decay=weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )
        self.steps, self.seconds = 0, 0.0
        self.measured: dict[str, float] = {}
        self.note = ""

    def rate(self) -> float:
        """Learning rate of the next step: along a cosine, after a warm-up."""
        warm = min((self.steps + 1) / self.warm_up, 1.0) if self.warm_up else 1.0
        done = min(self.steps / self.total, 1.0)
        return self.learning_rate * warm * max(0.01, (1 + math.cos(math.pi * done)) / 2)

    def learn(self, loss: Tensor) -> None:
        """One step down the gradient of a loss; ModelError if it is no number."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        if not norm.isfinite():
            raise ModelError(
                f"The training ran away at step {self.steps}; resume it from the checkpoint "
                "before, or start anew with a lower learning rate."
            )
        self.optimiser.step()
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            averages: list[Tensor] = list(self.average.parameters())
            currents: list[Tensor] = list(self.network.parameters())
            torch._foreach_lerp_(averages, currents, 1 - decay)

    def save_as(self, folder: Path, settings: dict[str, Any]) -> None:
        """Write the checkpoint; see `checkpointing.save_checkpoint`."""
        data = settings | {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "counters": {"steps": self.steps, "seconds": self.seconds},
            "measured": self.measured,
        }
        save_checkpoint(folder, data)

    def fill(self, data: dict[str, Any]) -> None:
        """Take what `save_as` wrote."""
        self.network.load_state_dict(data["network"])
        self.average.load_state_dict(data["average"])
        self.optimiser.load_state_dict(data["optimiser"])
        self.steps, self.seconds = data["counters"]["steps"], data["counters"]["seconds"]
        self.measured = data["measured"]
