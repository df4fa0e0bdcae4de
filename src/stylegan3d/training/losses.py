"""Training objectives, each as its paper states it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def discriminator_logistic(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigmoid(D(x)) - log(1 - sigmoid(D(G(z)))), averaged (Goodfellow et al. 2014)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_logistic(fake: Tensor) -> Tensor:
    """Non-saturating: -log sigmoid(D(G(z))), averaged (Goodfellow et al. 2014)."""
    return F.softplus(-fake).mean()


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """E |grad_x D(x)|^2 on real volumes (Mescheder et al. 2018, arXiv 1801.04406, eq. 9).

    The factor gamma / 2 is the caller's.
    """
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3, 4)).mean()


def path_lengths(volume: Tensor, w: Tensor, noise: Tensor) -> Tensor:
    """|J_w^T y| for y ~ N(0, I) / sqrt(voxels) (Karras et al. 2020, arXiv 1912.04958, eq. 4).

    Parameters
    ----------
    volume : [N, C, X, Y, Z], computed from `w`
    w : [N, num_layers, w_dim], requires grad
    noise : standard normal of the shape of `volume`

    Returns
    -------
    [N] root mean square over the layers.
    """
    y = noise / math.sqrt(volume[0, 0].numel())
    (gradient,) = torch.autograd.grad((volume * y).sum(), w, create_graph=True)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()


def reconstruction(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error over the eight Haar bands, at three scales, per brain voxel.

    Parameters
    ----------
    predicted, target : [N, 8, X, Y, Z] Haar bands of volumes in [-1, 1]; the first is the mean
        of each block.

    Returns
    -------
    Scalar. The coarse scales bring gradients before the fine ones agree; dividing by the share of
    brain keeps the figure comparable between fields of view.
    """
    brain = (target[:, :1] > -0.98).float().mean().clamp(min=1e-3)
    difference = predicted - target
    loss = difference.abs().sum(dim=1).mean()
    coarse = difference[:, :1]
    for _ in range(2):
        coarse = F.avg_pool3d(coarse, 2)
        loss = loss + coarse.abs().mean()
    return loss / brain / 3


def kl_to_unit_gaussian(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) | N(0, I)) in nats, averaged over the batch."""
    per_sample = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)
    return per_sample.mean()
