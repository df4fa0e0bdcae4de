"""Augmentation of training volumes: mirror, small smooth deformation, gamma.

Few scans are stretched to a continuum of plausible ones. The deformation stays small, for what
the generator sees is what it will make.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CONTROL_POINTS = (4, 5, 5)


def augment(
    volume: Tensor,
    generator: torch.Generator,
    *,
    mirror: bool = True,
    elastic: float = 1.0,
    gamma: float = 0.06,
) -> Tensor:
    """Augment one volume.

    Parameters
    ----------
    volume : [1, X, Y, Z] in [0, 1], x to the right of the patient.
    generator : source of all randomness, so that a step can be repeated.
    mirror : flip left-right with probability 1/2.
    elastic : standard deviation of the control points' displacement, in voxels; half of it is
        also the standard deviation of the shift, and 2 % that of the scale of each axis.
    gamma : intensities are raised to a power in [1 - gamma, 1 + gamma].

    Returns
    -------
    [1, X, Y, Z] in [0, 1]
    """
    if mirror and torch.rand((), generator=generator) < 0.5:
        volume = volume.flip(1)
    if elastic > 0:
        volume = deform(volume, generator, elastic)
    if gamma > 0:
        power = 1 + gamma * (2 * torch.rand((), generator=generator) - 1)
        volume = volume.clamp(min=0) ** power
    return volume


def deform(volume: Tensor, generator: torch.Generator, strength: float) -> Tensor:
    """Resample a [1, X, Y, Z] volume through a random smooth field and a random scale."""
    size = torch.tensor(volume.shape[1:], dtype=torch.float32)
    points = torch.randn(3, *CONTROL_POINTS, generator=generator) * strength
    points = points + torch.randn(3, 1, 1, 1, generator=generator) * strength / 2
    scale = 0.02 * min(strength, 1.0) * torch.randn(3, generator=generator)
    # Displacements in voxels -> units in which the volume spans [-1, 1].
    field = F.interpolate(
        (points * 2 / size[:, None, None, None])[None],
        size=tuple(volume.shape[1:]),
        mode="trilinear",
        align_corners=True,
    )[0]
    axes = [torch.linspace(-1 + 1 / n, 1 - 1 / n, int(n)) for n in size]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))  # [3, X, Y, Z]
    grid = grid * (1 + scale[:, None, None, None]) + field
    # grid_sample wants the last axis first.
    grid = grid.flip(0).permute(1, 2, 3, 0)[None]
    sampled = F.grid_sample(volume[None], grid, mode="bilinear", align_corners=False)
    return sampled[0]
