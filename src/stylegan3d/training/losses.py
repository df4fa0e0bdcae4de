"""Training objectives as defined in the cited papers."""

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
    volume : Tensor, shape (N, C, X, Y, Z)
        Computed from `w`.
    w : Tensor, shape (N, num_layers, w_dim)
        Requires grad.
    noise : Tensor
        Standard normal of the shape of `volume`.

    Returns
    -------
    Tensor, shape (N,)
        Root mean square over the layers.
    """
    y = noise / math.sqrt(volume[0, 0].numel())
    (gradient,) = torch.autograd.grad((volume * y).sum(), w, create_graph=True)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()
