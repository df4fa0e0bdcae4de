"""Reconstruction phase: the style generator as the decoder of an auto-encoder.

A discriminator learns from few scans slowly; a reconstruction loss uses every voxel of every scan.
The encoder's latents are kept near a unit Gaussian (Kingma, Welling 2014, arXiv 1312.6114), so that
random latents decode to brains too. When the phase ends, the mapping network is fitted to the
distribution of those latents, and the adversarial phase begins from there.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.networks.resampling import haar
from stylegan3d.training import losses
from stylegan3d.training.state import TrainState


def reconstruction_step(state: TrainState, real: Tensor, dtype: torch.dtype) -> dict[str, float]:
    """One optimiser step on a batch [N, 1, X, Y, Z] in [-1, 1]; returns what to log.

    Samples go through one by one: on a CPU a single volume's feature maps stay in the cache.
    """
    config = state.config
    progress = min(state.images / max(config.warm_start_images, 1), 1.0)
    set_rates(state, warm_start_rate(progress, config.final_lr_fraction))
    state.maker.zero_grad(set_to_none=True)
    noise = torch.Generator(device="cpu").manual_seed(config.seed * 7_919 + state.steps)
    totals = {"reconstruction": 0.0, "kl": 0.0}
    for volume in real.split(1):
        volume = volume.to(state.device)
        target = haar(volume)
        mean, log_variance = state.encoder.posterior(volume, dtype)
        epsilon = torch.randn(mean.shape, generator=noise).to(state.device)
        w = mean + epsilon * (log_variance / 2).exp()
        rows = w[:, None].expand(-1, config.generator.num_layers, -1)
        bands = state.synthesis(rows, "none", -1, dtype, bands=True)
        reconstruction = losses.reconstruction(bands, target)
        kl = losses.kl_to_unit_gaussian(mean, log_variance)
        ((reconstruction + config.kl_weight * kl) / len(real)).backward()
        totals["reconstruction"] += reconstruction.item() / len(real)
        totals["kl"] += kl.item() / len(real)
    parameters = [p for group in state.maker.param_groups for p in group["params"]]
    totals["gradient"] = float(torch.nn.utils.clip_grad_norm_(parameters, config.clip_gradient))
    state.maker.step()
    return totals


def warm_start_rate(progress: float, final: float) -> float:
    """A short linear ramp-up, then half a cosine down to `final`."""
    ramp = min(progress / 0.02, 1.0) if progress < 0.02 else 1.0
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return max(ramp, 0.02) * (final + (1 - final) * cosine)


def set_rates(state: TrainState, factor: float) -> None:
    """Scale the makers' learning rates."""
    config = state.config
    base = (config.generator_lr, config.generator_lr, config.encoder_lr)
    for group, rate in zip(state.maker.param_groups, base, strict=True):
        group["lr"] = rate * factor


@torch.no_grad()
def latents_of(state: TrainState, volumes: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Posterior means and variances [2 n, w_dim] of volumes and their mirror images."""
    encoder = state.averages["encoder"]
    means, variances = [], []
    for volume in volumes.split(1):
        for x in (volume, volume.flip(2)):
            mean, log_variance = encoder.posterior(x.to(state.device), dtype)  # type: ignore[operator]
            means.append(mean)
            variances.append(log_variance.exp())
    return torch.cat(means), torch.cat(variances)


def fit_mapping(state: TrainState, means: Tensor, variances: Tensor, steps: int = 3000) -> float:
    """Teach the mapping network to send z ~ N(0, I) to the distribution of the encoded brains.

    The target is the Gaussian with the latents' mean and covariance (the covariance of the means
    plus the average posterior variance): w = mean + L z with L L^T the covariance. StyleGAN's
    mapping normalises z, so the regression does too.

    Returns
    -------
    Root mean square error, as a share of the latents' standard deviation.
    """
    center = means.mean(dim=0)
    covariance = torch.cov(means.T) + torch.diag(variances.mean(dim=0))
    root = torch.linalg.cholesky(covariance + 1e-5 * torch.eye(len(center)).to(covariance))
    spread = covariance.diagonal().sum().div(len(center)).sqrt()
    mapping = state.mapping
    optimiser = torch.optim.Adam(mapping.parameters(), lr=0.05, betas=(0.9, 0.99))
    generator = torch.Generator().manual_seed(state.config.seed + 17)
    error = torch.zeros(())
    for step in range(steps):
        rate = 0.5 * (1 + math.cos(math.pi * step / steps)) * min(1.0, (step + 1) / 100)
        optimiser.param_groups[0]["lr"] = 0.05 * rate
        z = torch.randn(256, state.config.generator.z_dim, generator=generator).to(state.device)
        unit = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True))
        width = min(unit.shape[1], root.shape[1])
        target = center + unit[:, :width] @ root[:, :width].T
        error = F.mse_loss(mapping(z), target)
        optimiser.zero_grad(set_to_none=True)
        error.backward()
        optimiser.step()
    state.averages["mapping"].load_state_dict(mapping.state_dict())
    state.w_avg = center.clone()
    return float(error.sqrt() / spread)
