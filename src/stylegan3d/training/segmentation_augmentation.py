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

from stylegan3d.segmentation.classes import CLASSES, TISSUES, Scheme

POSE_CHANCE = 0.4
ROTATION = 0.12  # radians
SCALE = 0.09  # each axis by up to so much
SHIFT_VOXELS = 3.0
TISSUE_CHANCE = 0.4
TISSUE_SHIFT = 0.08  # of the intensity of a whole tissue
WARP_KNOTS = (6, 8, 7)
WARP_VOXELS = 1.0  # standard deviation of a smooth displacement, at most
CURVE_CHANCE = 0.5
CURVE_STEPS = 8
COARSE_CHANCE = 0.25
COARSEST = 3.0  # voxels that a slice is thick
BLUR_CHANCE = 0.25
BLUREST = 1.0  # voxels, standard deviation


def augment_labelled(
    volume: Tensor, labels: Tensor, generator: torch.Generator, scheme: Scheme = TISSUES
) -> tuple[Tensor, Tensor]:
    """One augmented brain.

    Parameters
    ----------
    volume : Tensor, shape (X, Y, Z), float32
        Values in [0, 1], x left to right.
    labels : Tensor, shape (X, Y, Z), uint8
        Labels of the scheme.
    generator : torch.Generator
        Source of all randomness.
    scheme : Scheme
        What they mean: a brain turned left to right has the labels of the other side.

    Returns
    -------
    volume, labels : of the same shapes
    """
    if _draw(generator) < 0.5:
        mirrored = torch.tensor(scheme.mirrored, dtype=torch.uint8)
        volume, labels = volume.flip(0), mirrored[labels.flip(0).long()]
    if _draw(generator) < POSE_CHANCE:
        volume, labels = _posed(volume, labels, generator)
    inside = volume > 0
    tissues = torch.tensor(scheme.tissues)[labels.long()]
    volume = other_tissues(volume, tissues, generator)
    volume = _other_curve(volume, generator)
    volume = _other_sharpness(volume, generator)
    volume = _coarser(volume, generator)
    volume = _other_contrast(volume, generator)
    volume = _noisy(volume, inside, generator)
    return volume.clamp(0, 1), labels


def _draw(generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _posed(volume: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Turned, scaled, shifted and bent a little; labels by nearest neighbour."""
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
    bend = torch.randn(1, 3, *WARP_KNOTS, generator=generator) * _draw(generator, 0, WARP_VOXELS)
    bend = F.interpolate(bend, size=volume.shape, mode="trilinear", align_corners=True)
    grid = grid + bend.movedim(1, -1) / half
    moved = F.grid_sample(volume[None, None], grid, align_corners=False)[0, 0]
    values = labels[None, None].float()
    sampled = F.grid_sample(values, grid, mode="nearest", align_corners=False)[0, 0]
    return moved, sampled.to(torch.uint8)


def other_tissues(volume: Tensor, tissues: Tensor, generator: torch.Generator) -> Tensor:
    """Each tissue a little brighter or darker, as another sequence would show it."""
    if _draw(generator) >= TISSUE_CHANCE:
        return volume
    shifts = (2 * torch.rand(len(CLASSES), generator=generator) - 1) * TISSUE_SHIFT
    shifts[0] = 0
    return volume + shifts[tissues]


def _other_curve(volume: Tensor, generator: torch.Generator) -> Tensor:
    """Intensities by a random curve that rises from 0 to 1, as another sequence orders them."""
    if _draw(generator) >= CURVE_CHANCE:
        return volume
    rises = 0.4 + torch.rand(CURVE_STEPS, generator=generator)
    curve = F.pad((rises / rises.sum()).cumsum(0), (1, 0))
    place = volume.clamp(0, 1) * CURVE_STEPS
    left = place.floor().clamp(max=CURVE_STEPS - 1)
    low, high = curve[left.long()], curve[left.long() + 1]
    return low + (place - left) * (high - low)


def _coarser(volume: Tensor, generator: torch.Generator) -> Tensor:
    """Blurred, or along one axis as if made of thicker slices."""
    if _draw(generator) < BLUR_CHANCE:
        sigma = _draw(generator, 0.3, BLUREST)
        taps = torch.arange(-3.0, 4.0)
        kernel = torch.softmax(-(taps**2) / (2 * sigma**2), dim=0)
        volume = _convolved(volume, kernel)
    if _draw(generator) < COARSE_CHANCE:
        axis, thickness = int(_draw(generator, 0, 3)), _draw(generator, 1.2, COARSEST)
        thick = list(volume.shape)
        thick[axis] = round(thick[axis] / thickness)
        few = F.interpolate(volume[None, None], size=thick, mode="area")
        volume = F.interpolate(few, size=volume.shape, mode="trilinear")[0, 0]
    return volume


def _convolved(volume: Tensor, kernel: Tensor) -> Tensor:
    """Along each axis with a kernel of odd length."""
    blurred = volume[None, None]
    for axis in range(3):
        shape = [1, 1, 1, 1, 1]
        shape[2 + axis] = len(kernel)
        padding = [len(kernel) // 2 * int(a == axis) for a in range(3)]
        blurred = F.conv3d(blurred, kernel.reshape(shape), padding=padding)
    return blurred[0, 0]


def _other_sharpness(volume: Tensor, generator: torch.Generator) -> Tensor:
    """Between blurred with [1, 2, 1] / 4 along each axis and as much sharper."""
    amount = _draw(generator, -1.0, 0.8)
    return volume + amount * (volume - _convolved(volume, torch.tensor([0.25, 0.5, 0.25])))


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
