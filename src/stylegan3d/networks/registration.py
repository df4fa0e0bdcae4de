"""Log-domain demons: the stationary velocity field that takes a template to a brain.

Vercauteren, Pennec, Perchant, Ayache 2008 (MICCAI), "Symmetric log-domain diffeomorphic image
registration: a demons-based approach": at every step the optical-flow force at each voxel is
smoothed, added to the velocity (the first term of Baker-Campbell-Hausdorff), and the velocity
smoothed again. Intensities are matched beforehand, for scanners differ in contrast.

SimpleITK's demons yield a displacement, not the velocity that populations are averaged and
interpolated in; hence this module. Velocities are in the coordinates of `networks/deformation.py`.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.networks.deformation import exponential, resize, warp
from stylegan3d.networks.resampling import smooth

SQUARINGS = 6
QUANTILES = 65
BRAIN = 0.05


@dataclass(frozen=True)
class Demons:
    """Settings of a registration.

    Attributes
    ----------
    coarse_steps, fine_steps : int
        Steps with the force of the images at half and at full resolution; the velocity always lies
        on the half grid.
    elastic, fluid : float
        Standard deviations in half-grid voxels of the Gaussians that smooth the velocity and its
        update.
    largest_step : float
        Largest step of the update, in half-grid voxels.
    """

    coarse_steps: int = 40
    fine_steps: int = 10
    elastic: float = 0.5
    fluid: float = 1.0
    largest_step: float = 0.5


@torch.no_grad()
def register(
    fixed: Tensor, template: Tensor, settings: Demons, start: Tensor | None = None
) -> Tensor:
    """Velocity v such that template o exp(v) resembles `fixed`.

    Parameters
    ----------
    fixed, template : Tensor, shape (1, 1, X, Y, Z)
        Values in [0, 1], of even size, their intensities matched.
    start : Tensor or None
        Initial velocity.

    Returns
    -------
    Tensor, shape (1, 3, X / 2, Y / 2, Z / 2)
    """
    coarse = (F.avg_pool3d(fixed, 2), F.avg_pool3d(template, 2))
    grid = coarse[0].shape[2:]
    voxel = torch.tensor([2.0 / n for n in grid]).reshape(1, 3, 1, 1, 1)
    velocity = torch.zeros(1, 3, *grid) if start is None else start.clone()
    for step in range(settings.coarse_steps + settings.fine_steps):
        displacement = exponential(velocity, SQUARINGS)
        if step < settings.coarse_steps:
            update = _force(*coarse, displacement, pool=False)
        else:
            update = _force(fixed, template, resize(displacement, fixed.shape[2:]), pool=True)
        length = update.square().sum(dim=1, keepdim=True).sqrt()
        update = update * (settings.largest_step / length.clamp(min=settings.largest_step))
        velocity = smooth(velocity + smooth(update, settings.fluid) * voxel, settings.elastic)
    return velocity


def _force(fixed: Tensor, template: Tensor, displacement: Tensor, *, pool: bool) -> Tensor:
    """Demons force in half-grid voxels; `pool` sums a full-resolution force over blocks of 8."""
    moved = warp(template, displacement)
    difference = fixed - moved
    gradient = _gradient(moved) * (2.0 if pool else 1.0)
    numerator = difference * gradient
    power = gradient.square().sum(dim=1, keepdim=True) + 0.2 * difference.square()
    if pool:
        numerator, power = F.avg_pool3d(numerator, 2), F.avg_pool3d(power, 2)
    return numerator / (power + 1e-4)


def _gradient(image: Tensor) -> Tensor:
    """Central differences per voxel, [1, 1, X, Y, Z] -> [1, 3, X, Y, Z]; zero at the border."""
    parts = []
    for axis in (2, 3, 4):
        n = image.shape[axis]
        part = torch.zeros_like(image)
        inner = (image.narrow(axis, 2, n - 2) - image.narrow(axis, 0, n - 2)) / 2
        part.narrow(axis, 1, n - 2).copy_(inner)
        parts.append(part)
    return torch.cat(parts, dim=1)


def match_intensities(volume: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """`volume` with the quantiles of `reference` inside the brain; both (X, Y, Z) in [0, 1]."""
    shares = np.linspace(0, 1, QUANTILES)
    have = np.quantile(volume[volume > BRAIN], shares)
    want = np.quantile(reference[reference > BRAIN], shares)
    # np.interp needs increasing positions; equal quantiles are separated by a tiny amount.
    have = np.maximum.accumulate(np.append(0, have) + 1e-6 * np.arange(QUANTILES + 1))
    return np.interp(volume, have, np.append(0, want)).astype(np.float32)
