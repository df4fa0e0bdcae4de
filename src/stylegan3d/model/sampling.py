"""Random brains of a generator, in the format of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.geometry.intensity import as_packed, to_display
from stylegan3d.model.generator import Generator
from stylegan3d.networks.noise import Noise
from stylegan3d.recipe.model import seed_latents


class RandomBrains:
    """Random brains of a generator by seed, generated on demand.

    Every iteration generates the same brains again, so that a thousand of them need no memory. They
    are generated one at a time in float32 at full resolution and rounded to 8 bits like the real
    ones, for a fair comparison.

    Parameters
    ----------
    seeds : sequence of int
        One brain each (`seed_latents`).
    truncation : float
        Psi; 1 for no truncation.
    noise : Noise or {"seeded"}
        Layer noise; "seeded" uses each brain's own seed, so that no two share their texture.
    """

    def __init__(
        self,
        generator: Generator,
        seeds: Sequence[int],
        *,
        truncation: float = 1.0,
        noise: Noise | Literal["seeded"] = "seeded",
    ) -> None:
        self.generator, self.seeds = generator, list(seeds)
        self.truncation, self.noise = truncation, noise

    def __len__(self) -> int:
        return len(self.seeds)

    def __iter__(self) -> Iterator[np.ndarray]:
        for seed in self.seeds:
            w = seed_latents(self.generator, [seed], self.truncation)
            noise: Noise = seed if self.noise == "seeded" else self.noise
            yield packed_synthesis(self.generator, w, noise)

    def stack(self) -> np.ndarray:
        """All of them, uint8 [n, X, Y, Z]."""
        return np.stack(list(self))


@torch.no_grad()
def packed_synthesis(generator: Generator, w: Tensor, noise: Noise = "fixed") -> np.ndarray:
    """The volume of one latent [1, num_layers, w_dim], uint8 (X, Y, Z).

    Raises
    ------
    StyleGAN3DError
        If the volume is not finite.
    """
    with torch.backends.cudnn.flags(deterministic=True, allow_tf32=False):
        volume = to_display(generator.synthesis(w, noise, -1, torch.float32))[0]
    if not np.isfinite(volume).all():
        raise StyleGAN3DError(
            f"{generator.name} made a volume with NaN or infinity, so it cannot be measured; "
            "train it again."
        )
    return as_packed(volume)
