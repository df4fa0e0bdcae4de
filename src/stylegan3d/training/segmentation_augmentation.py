"""Augmentation of labelled brains: other scanners, other sharpness, other poses.

The labels come from one site. What differs at another one (contrast, texture, coil, noise) is drawn
here, wider than it is met, so that the network looks at shapes (Billot et al. 2023,
doi:10.1016/j.media.2023.102789, take this to its end).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.segmentation.classes import CLASSES

POSE_CHANCE = 0.4
ROTATION = 0.12  # radians
SCALE = 0.09  # each axis by up to so much
SHIFT_VOXELS = 3.0
TISSUE_CHANCE = 0.4
TISSUE_SHIFT = 0.08  # of the intensity of a whole tissue


def augment_labelled(
    volume: Tensor, labels: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """One augmented brain.

    Parameters
    ----------
    volume : Tensor, shape (X, Y, Z), float32
        Values in [0, 1], x left to right.
    labels : Tensor, shape (X, Y, Z), uint8
        Labels of `CLASSES`.
    generator : torch.Generator
        Source of all randomness.

    Returns
    -------
    volume, labels : of the same shapes
    """
    if _draw(generator) < 0.5:
        volume, labels = volume.flip(0), labels.flip(0)
    if _draw(generator) < POSE_CHANCE:
        volume, labels = _posed(volume, labels, generator)
    inside = volume > 0
    volume = _other_tissues(volume, labels, generator)
    volume = _other_sharpness(volume, generator)
    volume = _other_contrast(volume, generator)
    volume = _noisy(volume, inside, generator)
    return volume.clamp(0, 1), labels


def _draw(generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _posed(volume: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Turned, scaled and shifted a little; labels by nearest neighbour."""
    angles = [_draw(generator, -ROTATION, ROTATION) for _ in range(3)]
    matrix = torch.eye(3)
    for (i, j), angle in zip(((0, 1), (0, 2), (1, 2)), angles, strict=True):
        turn = torch.eye(3)
        turn[i, i] = turn[j, j] = math.cos(angle)
        turn[i, j], turn[j, i] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ turn
    matrix = matrix * torch.tensor([_draw(generator, 1 - SCALE, 1 + SCALE) for _ in range(3)])
    # Normalised coordinates run along the last axis first, and each axis has its own unit.
    half = torch.tensor(volume.shape[::-1]) / 2
    matrix = matrix * half[None, :] / half[:, None]
    shift = torch.tensor([_draw(generator, -SHIFT_VOXELS, SHIFT_VOXELS) for _ in range(3)]) / half
    theta = torch.cat([matrix, shift[:, None]], dim=1)[None]
    grid = F.affine_grid(theta, [1, 1, *volume.shape], align_corners=False)
    moved = F.grid_sample(volume[None, None], grid, align_corners=False)[0, 0]
    values = labels[None, None].float()
    sampled = F.grid_sample(values, grid, mode="nearest", align_corners=False)[0, 0]
    return moved, sampled.to(torch.uint8)


def _other_tissues(volume: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Each tissue a little brighter or darker, as another sequence would show it."""
    if _draw(generator) >= TISSUE_CHANCE:
        return volume
    shifts = (2 * torch.rand(len(CLASSES), generator=generator) - 1) * TISSUE_SHIFT
    shifts[0] = 0
    return volume + shifts[labels.long()]


def _other_sharpness(volume: Tensor, generator: torch.Generator) -> Tensor:
    """Between blurred with [1, 2, 1] / 4 along each axis and as much sharper."""
    amount = _draw(generator, -1.0, 0.8)
    kernel = torch.tensor([0.25, 0.5, 0.25])
    blurred = volume[None, None]
    for axis in range(3):
        shape = [1, 1, 1, 1, 1]
        shape[2 + axis] = 3
        padding = [int(a == axis) for a in range(3)]
        blurred = F.conv3d(blurred, kernel.reshape(shape), padding=padding)
    return volume + amount * (volume - blurred[0, 0])


def _other_contrast(volume: Tensor, generator: torch.Generator) -> Tensor:
    """Gamma, brightness, and a smooth coil profile."""
    gamma = math.exp(_draw(generator, -0.4, 0.4))
    brightness = _draw(generator, 0.82, 1.15)
    knots = 0.2 * _draw(generator) * torch.randn(1, 1, 3, 4, 3, generator=generator)
    profile = F.interpolate(knots, size=volume.shape, mode="trilinear", align_corners=True)[0, 0]
    return volume.clamp(min=0) ** gamma * brightness * profile.exp()


def _noisy(volume: Tensor, inside: Tensor, generator: torch.Generator) -> Tensor:
    """Noise of up to 5 % of the white matter, half the time only inside the brain."""
    noise = torch.randn(volume.shape, generator=generator) * _draw(generator, 0, 0.05)
    return volume + (noise * inside if _draw(generator) < 0.5 else noise)
