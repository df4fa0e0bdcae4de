"""Checks before a projection starts."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.model.generator import Generator
from stylegan3d.networks.noise import Noise
from stylegan3d.projection.budgets import check_budget
from stylegan3d.projection.own_noise import fits_layer_noise
from stylegan3d.projection.settings import METHODS, SPACES, TUNED

# A generator may have learned to ignore noise; its maps are then not worth fitting.
LEAST_NOISE = 2e-3


class Aligned(Protocol):
    """A volume to project, on the generator's grid, with its brain mask."""

    @property
    def volume(self) -> np.ndarray:
        """(X, Y, Z) in [0, 1]."""
        ...

    @property
    def brain_mask(self) -> np.ndarray:
        """(X, Y, Z) bool."""
        ...


def check_scan(
    generator: Generator, aligned: Aligned | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Volume and brain mask; StyleGAN3DError if they cannot be projected."""
    if isinstance(aligned, np.ndarray):
        volume, mask = aligned, aligned > 0.05
    else:
        volume, mask = aligned.volume, aligned.brain_mask.astype(bool)
    if volume.shape != generator.shape:
        raise StyleGAN3DError(
            f"The volume has {volume.shape} voxels, but this generator makes {generator.shape}; "
            "align the scan to the generator first."
        )
    if not np.isfinite(volume).all() or not mask.any():
        raise StyleGAN3DError("The volume to project is empty or not finite; check the scan.")
    return volume, mask


def check_choices(generator: Generator, space: str, budget: str, method: str, noise: Noise) -> None:
    """Raise StyleGAN3DError for unknown options, or ones that do not fit together or the family."""
    check_budget(budget)
    for name, value, known in (("space", space, SPACES), ("method", method, METHODS)):
        if value not in known:
            raise StyleGAN3DError(
                f"The {name} '{value}' is unknown; choose one of {', '.join(known)}."
            )
    if budget in TUNED and method != "original":
        generator.require("tuning")
    if not fits_layer_noise(generator, space, method):
        return
    generator.require("noise_maps")
    if noise != "fixed":
        raise StyleGAN3DError(
            "Noise maps are fitted to the scan and shown as fixed noise; leave the noise fixed."
        )
    if method != "original" and noise_effect(generator) < LEAST_NOISE:
        raise StyleGAN3DError(
            f"Layer noise hardly changes the images of '{generator.name}', so fitting it is of no "
            "use; choose the space w+."
        )


@torch.no_grad()
def noise_effect(generator: Generator) -> float:
    """Root mean square change of the average brain, in [-1, 1], by the stored noise."""
    w = generator.w_avg.expand(1, generator.num_layers, -1)
    change = generator.synthesize(w, "fixed") - generator.synthesize(w, "none")
    return float(change.square().mean().sqrt())
