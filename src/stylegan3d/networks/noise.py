"""The noise of a synthesis network: stored with it, absent, fresh or drawn from a seed."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Noise = Literal["fixed", "none", "random"] | int
#: Noise maps, one per layer; None without noise.
Maps = list[Tensor | None]


def drawn_noise(stored: list[Tensor], noise: Noise, batch: int = 1) -> Maps:
    """The maps of a kind of noise, each [1 or N, ...] as those that are stored, [1, ...]."""
    if noise == "fixed":
        return list(stored)
    if noise == "none":
        return [None] * len(stored)
    if noise == "random":
        return [torch.randn(batch, *n.shape[1:], device=n.device, dtype=n.dtype) for n in stored]
    # Drawn on the CPU, so that a seed means the same noise on every device.
    generator = torch.Generator().manual_seed(int(noise))
    return [torch.randn(n.shape, generator=generator).to(n) for n in stored]


def of_sample(maps: Maps, index: int) -> Maps:
    """The noise maps of one sample of a batch."""
    return [m if m is None or len(m) == 1 else m[index : index + 1] for m in maps]
