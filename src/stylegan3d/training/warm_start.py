"""Reconstruction phase: the style generator as the decoder of an auto-encoder.

A discriminator learns from few scans slowly; a reconstruction loss uses every voxel of every scan.
The encoder's latents are kept near a unit Gaussian (Kingma, Welling 2014, arXiv 1312.6114), so that
random latents decode to brains too. When the phase ends, the mapping network is fitted to the
distribution of those latents, and the adversarial phase begins from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.dataset.pack import Pack
from stylegan3d.networks.config import GeneratorConfig
from stylegan3d.networks.encoder import Encoder
from stylegan3d.training import losses
from stylegan3d.training.config import TrainConfig
from stylegan3d.training.data import fixed_volumes
from stylegan3d.training.draws import Purpose, generators_for, normal
from stylegan3d.training.parts import Log, split
from stylegan3d.training.start import set_gaussian
from stylegan3d.training.state import TrainState
from stylegan3d.training.team import Team

#: Voxels of the finest feature maps that a CPU computes together: those of one volume of 2 mm.
CACHED_VOXELS = 40 * 56 * 48


def reconstruction_step(
    state: TrainState,
    real: Tensor,
    dtype: torch.dtype,
    team: Team | None = None,
    labels: Tensor | None = None,
) -> dict[str, float]:
    """One optimiser step.

    Parameters
    ----------
    real : Tensor, shape (N, 1, X, Y, Z)
        Values in [-1, 1], this process's samples of the batch.
    team : Team or None
        The processes that train together; without it this process has the whole batch.
    labels : Tensor or None
        Unused, since w comes from the encoder.

    Returns
    -------
    dict of str to float
        What to log, means over the whole batch.
    """
    config = state.config
    team = team or Team(state.device)
    progress = min(state.images / max(config.warm_start_images, 1), 1.0)
    set_rates(state, warm_start_rate(progress, config.final_lr_fraction))
    state.maker.zero_grad(set_to_none=True)
    stop = level_at(config, state.images)
    log = Log()
    for part in split(config, team, real, None, state.device):
        step = at_once(state.device, config.generator, len(part.real))
        for start in range(0, len(part.real), step):
            some = slice(start, start + step)
            volumes, samples = part.real[some], part.samples[some]
            mean, log_variance = state.encoder.posterior(volumes, dtype)
            w = posterior_sample(state, samples, mean, log_variance)
            rows = w[:, None].expand(-1, config.generator.num_layers, -1)
            images = state.synthesis.pyramid(rows, "none", stop, dtype)
            share = len(volumes) / config.batch
            reconstruction_loss(state, images, volumes, (mean, log_variance), share, log).backward()
    parameters = [p for group in state.maker.param_groups for p in group["params"]]
    team.sum_gradients(parameters)
    norm = torch.nn.utils.clip_grad_norm_(parameters, config.clip_gradient)
    state.maker.step()
    return log.total(team) | {"gradient": float(norm)}


def posterior_sample(
    state: TrainState, samples: np.ndarray, mean: Tensor, log_variance: Tensor
) -> Tensor:
    """w [n, w_dim] of encoded volumes, drawn from their posterior; `samples` are their numbers."""
    generators = generators_for(state.config.seed, state.steps, Purpose.POSTERIOR, samples)
    epsilon = normal(generators, mean.shape[1:], state.device)
    return mean + epsilon * (log_variance / 2).exp()


def reconstruction_loss(
    state: TrainState,
    images: Sequence[Tensor],
    volumes: Tensor,
    posterior: tuple[Tensor, Tensor],
    share: float,
    log: Log,
) -> Tensor:
    """Error of decoded volumes and divergence of their latents, weighted by a share and logged.

    Parameters
    ----------
    images : sequence of Tensor
        What was decoded, coarse to fine, see `losses.reconstruction`.
    volumes : Tensor, shape (n, 1, X, Y, Z)
        What was encoded.
    posterior : tuple of Tensor
        Mean and log variance [n, w_dim] of their latents.
    share : float
        Weight of these volumes in the whole batch.
    """
    config = state.config
    reconstruction = losses.reconstruction(images, volumes, config.generator.head)
    kl = losses.kl_to_unit_gaussian(*posterior)
    log.add("reconstruction", reconstruction, share)
    log.add("kl", kl, share)
    return (reconstruction + config.kl_weight * kl) * share


def at_once(device: torch.device, generator: GeneratorConfig, count: int) -> int:
    """How many of `count` volumes to synthesise together.

    On a CPU as many as keep their feature maps in the cache: one of 2 mm, eight of 4 mm. A single
    small one would be slow, since torch convolves it with a kernel that takes ten times as long.
    """
    if device.type != "cpu":
        return count
    voxels = math.prod(generator.grid(generator.num_levels - 1))
    return min(max(CACHED_VOXELS // voxels, 1), count)


def level_at(config: TrainConfig, images: int) -> int:
    """The finest level that is trained after so many volumes: coarse ones first."""
    last = config.generator.num_levels - 1
    return max(last - 1, 0) if images < config.coarse_images else last


def warm_start_rate(progress: float, final: float) -> float:
    """A short linear ramp-up, then half a cosine down to `final`."""
    ramp = min(progress / 0.02, 1.0)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return max(ramp, 0.02) * (final + (1 - final) * cosine)


def set_rates(state: TrainState, factor: float) -> None:
    """Scale the makers' learning rates."""
    for group in state.maker.param_groups:
        group["lr"] = group["base_lr"] * factor


@torch.no_grad()
def latents_of(state: TrainState, volumes: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Posterior means and variances [n, w_dim] of volumes, with mirroring also of their images."""
    encoder = cast("Encoder", state.averages["encoder"])
    means, variances = [], []
    for volume in volumes.split(1):
        for x in (volume, volume.flip(2)) if state.config.mirror else (volume,):
            mean, log_variance = encoder.posterior(x.to(state.device), dtype)
            means.append(mean)
            variances.append(log_variance.exp())
    return torch.cat(means), torch.cat(variances)


@torch.no_grad()
def fit_mapping(state: TrainState, pack: Pack, dtype: torch.dtype) -> None:
    """Let the mapping network send z ~ N(0, I) to the distribution of the encoded brains.

    That is the Gaussian with the latents' mean and covariance (the covariance of the posterior
    means plus the average posterior variance). Its root is the symmetric one: principal axes of
    nearly equal variance would be turned by the last digits of the latents. Where z has fewer
    entries than w, it is along the leading principal axes.

    With labels it is the Gaussian around the label's mean: what a linear regression of the latents
    on the labels says, and the covariance of what that leaves.
    """
    means, variances = latents_of(state, fixed_volumes(pack, "train"), dtype)
    spread = torch.diag(variances.mean(dim=0).cpu())
    set_mapping(state, means.cpu(), lambda rest: torch.cov(rest.T) + spread)
    state.averages["mapping"].load_state_dict(state.mapping.state_dict())


@torch.no_grad()
def set_mapping(
    state: TrainState, means: Tensor, covariance_of: Callable[[Tensor], Tensor]
) -> None:
    """Set the mapping network, and `w_avg`, to the Gaussian of latents given their labels.

    Parameters
    ----------
    means : Tensor, shape (k n, w_dim)
        k latents for each training subject in order.
    covariance_of : callable
        From latents, less what labels say of them, to the Gaussian's covariance.
    """
    center = means.mean(dim=0)
    offset, by_label = center, None
    if state.people is not None:
        by_label, average = _by_label(means, state.people.cpu())
        offset = center - by_label @ average
        labels = state.people.cpu().repeat_interleave(len(means) // len(state.people), dim=0)
        means = means - (labels - average) @ by_label.T
    # In double precision: with few subjects most eigenvalues are alike, where float32 gives up.
    values, vectors = (x.float() for x in torch.linalg.eigh(covariance_of(means).double()))
    root = (vectors * values.clamp(min=0).sqrt()).flip(1)
    z_dim = state.config.generator.z_dim
    if z_dim >= len(center):
        root = root @ vectors.flip(1).T
    if by_label is not None:
        # The mapping reads z and, after it, the label's embedding.
        embedded = by_label @ torch.linalg.pinv(state.mapping.embed.detach().cpu().T)
        root = torch.cat([F.pad(root, (0, z_dim - root.shape[1])), embedded], dim=1)
    set_gaussian(state.mapping, offset, root)
    state.w_avg = center.to(state.device)


def _by_label(means: Tensor, people: Tensor) -> tuple[Tensor, Tensor]:
    """How latents depend on labels, by least squares.

    Parameters
    ----------
    means : Tensor, shape (k n, w_dim)
        k for each subject in order.
    people : Tensor, shape (n, label_dim)

    Returns
    -------
    tuple of Tensor
        Change of w per component of the label [w_dim, label_dim], average label [label_dim].
    """
    average = people.mean(dim=0)
    labels = (people - average).repeat_interleave(len(means) // len(people), dim=0)
    # Components that sum to one depend on each other: the shortest solution.
    slope = torch.linalg.pinv(labels, rtol=1e-4) @ (means - means.mean(dim=0))
    return slope.T, average
