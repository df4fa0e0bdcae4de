"""Augmentation of training volumes: mirror, small smooth stretching, gamma.

A few scans become a continuum of plausible ones. Deformations are small, since the generator
reproduces what it sees.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CONTROL_POINTS = 5
SCALE_DEVIATION = 0.02


def augment(
    volume: Tensor,
    generator: torch.Generator,
    *,
    mirror: bool = True,
    stretch: float = 1.0,
    gamma: float = 0.06,
) -> Tensor:
    """Augment one volume.

    Parameters
    ----------
    volume : Tensor, shape (1, X, Y, Z)
        Values in [0, 1], x to the patient's right.
    generator : torch.Generator
        Random generator, for reproducible steps.
    mirror : bool
        Flip left-right with probability 1/2.
    stretch : float
        Standard deviation, in voxels, of the displacement of five control points along each axis,
        half of it that of a shift; axes are also scaled, with a deviation of 2 %.
    gamma : float
        Intensities are raised to a power in [1 - gamma, 1 + gamma].

    Returns
    -------
    Tensor, shape (1, X, Y, Z)
        Values in [0, 1].
    """
    if mirror and torch.rand((), generator=generator) < 0.5:
        volume = volume.flip(1)
    if stretch > 0:
        for axis in (1, 2, 3):
            volume = stretch_axis(volume, axis, generator, stretch)
    if gamma > 0:
        power = 1 + gamma * (2 * torch.rand((), generator=generator) - 1)
        volume = volume.clamp(min=0) ** power
    return volume


def stretch_axis(volume: Tensor, axis: int, generator: torch.Generator, strength: float) -> Tensor:
    """Resample one axis of a [1, X, Y, Z] volume through a random smooth, monotone map.

    Linear interpolation along one axis is a matrix product, at a hundredth of the cost of a
    free-form deformation, which would dominate training time.
    """
    n = volume.shape[axis]
    points = torch.randn(CONTROL_POINTS, generator=generator) * strength
    shift = torch.randn((), generator=generator) * strength / 2
    scale = 1 + SCALE_DEVIATION * min(strength, 1.0) * torch.randn((), generator=generator)
    smooth = F.interpolate(points[None, None], size=n, mode="linear", align_corners=True)[0, 0]
    middle = (n - 1) / 2
    source = (torch.arange(n) - middle) * scale + middle + smooth + shift
    # Row i has the two weights of the samples around source[i]; zero outside.
    weights = (1 - (source[:, None] - torch.arange(n)[None]).abs()).clamp(min=0)
    return torch.movedim(torch.tensordot(weights, volume, dims=([1], [axis])), 0, axis).contiguous()
