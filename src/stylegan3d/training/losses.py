"""Training objectives as defined in the cited papers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.networks.resampling import haar


def discriminator_logistic(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigmoid(D(x)) - log(1 - sigmoid(D(G(z)))), averaged (Goodfellow et al. 2014)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_logistic(fake: Tensor) -> Tensor:
    """Non-saturating: -log sigmoid(D(G(z))), averaged (Goodfellow et al. 2014)."""
    return F.softplus(-fake).mean()


def relativistic(higher: Tensor, lower: Tensor) -> Tensor:
    """-log sigmoid(higher - lower), averaged over pairs.

    Relativistic pairing (Jolicoeur-Martineau 2019, arXiv 1807.00734): the discriminator learns to
    score a real volume higher than a generated one, the generator the opposite. Huang et al. (2025,
    arXiv 2501.05441) add R1 and R2 so that it converges and drops fewer modes.
    """
    return F.softplus(lower - higher).mean()


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """E |grad_x D(x)|^2 on real volumes (Mescheder et al. 2018, arXiv 1801.04406, eq. 9).

    On generated volumes the same is R2 (there, eq. 10). The factor gamma / 2 is the caller's.
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


def reconstruction(images: Sequence[Tensor], target: Tensor, head: str) -> Tensor:
    """Mean absolute error of all levels' images per brain voxel, averaged over levels and volumes.

    Each level of a `skip` generator is compared with the scan at its resolution, so that coarse
    levels learn the layout independently of fine ones. The bands of a Haar head are compared as
    bands and summed, since they are orthogonal.

    Parameters
    ----------
    images : sequence of Tensor
        Images of `SynthesisNetwork.pyramid`, coarse to fine, each [N, C, X, Y, Z].
    target : Tensor, shape (N, 1, X, Y, Z)
        Volume in [-1, 1]; its size must be a power-of-two multiple of theirs.
    head : str
        "haar" or "image".
    """
    axes = (1, 2, 3, 4)
    brain = (target > -0.9).float().mean(dim=axes).clamp(min=1e-3)  # [N]
    total = target.new_zeros(len(target))
    for image in images:
        if image.shape[1] == 8 * target.shape[1] and head == "haar":
            error = 8 * (image - haar(target)).abs().mean(dim=axes)
        else:
            factor = target.shape[2] // image.shape[2]
            scaled = F.avg_pool3d(target, factor) if factor > 1 else target
            error = (image - scaled).abs().mean(dim=axes)
        total = total + error
    return (total / brain).mean() / len(images)


def kl_to_unit_gaussian(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) | N(0, I)) in nats, averaged over the batch."""
    per_sample = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)
    return per_sample.mean()
