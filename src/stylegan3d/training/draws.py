"""Random numbers that depend only on the run's seed, the step and the sample.

Each sample of the global batch has its own generator for each purpose. So a step does not depend on
earlier steps or on the distribution of samples to processes and microbatches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor


class Purpose(IntEnum):
    """Purpose of a generator; different purposes never share numbers."""

    DATA = 0
    LATENT = 2
    NOISE = 3
    PATH_LATENT = 6
    PATH_NOISE = 7
    AUGMENT_GENERATOR = 8
    AUGMENT_REAL = 9
    AUGMENT_FAKE = 10


CPU = torch.device("cpu")


def generator_for(
    seed: int, step: int, purpose: Purpose, sample: int, device: torch.device = CPU
) -> torch.Generator:
    """A random generator. On the CPU its numbers are independent of the device that uses them.

    For whole volumes of noise the CPU is too slow compared with a GPU, hence `device`.
    """
    words = np.random.SeedSequence((seed, step, int(purpose), sample)).generate_state(2)
    return torch.Generator(device).manual_seed(int(words[0]) << 32 | int(words[1]))


def generators_for(
    seed: int,
    step: int,
    purpose: Purpose,
    samples: Iterable[int],
    device: torch.device = CPU,
) -> list[torch.Generator]:
    """One generator per sample of the global batch."""
    return [generator_for(seed, step, purpose, int(sample), device) for sample in samples]


def in_epoch(number: int, count: int, *seed: int) -> int:
    """Which of `count` subjects a draw is: each once before any again, in new orders."""
    epoch, place = divmod(number, count)
    return int(np.random.default_rng([*seed, epoch]).permutation(count)[place])


def normal(
    generators: Sequence[torch.Generator], shape: Sequence[int], device: torch.device
) -> Tensor:
    """Standard normal numbers [len(generators), *shape]."""
    rows = [torch.randn(tuple(shape), generator=g, device=g.device) for g in generators]
    return torch.stack(rows).to(device)
