"""Microbatches of a step, and accumulation of the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stylegan3d.training.config import TrainConfig
from stylegan3d.training.team import Team


@dataclass(frozen=True)
class Part:
    """One microbatch.

    Attributes
    ----------
    samples : ndarray
        Numbers in the whole batch.
    real : Tensor, shape (N, 1, X, Y, Z)
        Values in [-1, 1].
    labels : Tensor, shape (N, label_dim), or None
        None for an unconditional generator.
    share : float
        N divided by the size of the whole batch.
    reconstructed, random : ndarray
        Indices of fakes that reconstruct the real volume with the same index (the first of each
        group), and of random fakes.
    reconstructed_in_all : int
        Number of the former in the whole batch.
    """

    samples: np.ndarray
    real: Tensor
    labels: Tensor | None
    share: float
    reconstructed: np.ndarray
    random: np.ndarray
    reconstructed_in_all: int

    def join(self, reconstructed: Tensor, random: Tensor) -> Tensor:
        """Both kinds of fakes in the order of samples."""
        order = np.argsort(np.concatenate([self.reconstructed, self.random]))
        return torch.cat([reconstructed, random])[order]


def split(
    config: TrainConfig,
    team: Team,
    real: Tensor,
    labels: Tensor | None,
    device: torch.device,
) -> list[Part]:
    """This process's microbatches; `real` and `labels` are its samples of the batch in order."""
    first = config.reconstructed_in_group
    parts = []
    start = 0
    for samples in team.microbatches(config):
        some = slice(start, start + len(samples))
        start += len(samples)
        is_first = np.arange(len(samples)) % config.group < first
        parts.append(
            Part(
                samples,
                real[some].to(device),
                None if labels is None else labels[some].to(device),
                len(samples) / config.batch,
                np.flatnonzero(is_first),
                np.flatnonzero(~is_first),
                config.batch // config.group * first,
            )
        )
    return parts


class Log:
    """Weighted sums of a step, which summed over all processes are means."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.tensors: dict[str, Tensor] = {}
        self.values: dict[str, float] = {}

    def add(self, name: str, value: Tensor, share: float) -> None:
        """Add one microbatch's mean; stays on the device to avoid synchronisation."""
        value = value.detach().float() * share
        self.sums[name] = self.sums[name] + value if name in self.sums else value

    def add_tensor(self, name: str, value: Tensor) -> None:
        """Add one microbatch's sum."""
        self.tensors[name] = self.tensors[name] + value if name in self.tensors else value

    def total(self, team: Team) -> dict[str, float]:
        """Sum over all processes; returns the means, also stored in `values`."""
        names = sorted(self.sums)
        stacked = torch.stack([self.sums[name] for name in names])
        team.sum_([stacked, *(self.tensors[name] for name in sorted(self.tensors))])
        self.values = dict(zip(names, stacked.tolist(), strict=True))
        return self.values


def group_order(count: int, group: int) -> Sequence[int]:
    """Order of samples such that `minibatch_stddev` groups neighbours.

    It groups every (count / group)-th sample.
    """
    if count <= group:
        return range(count)
    return np.arange(count).reshape(-1, group).T.ravel().tolist()
