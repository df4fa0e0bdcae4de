"""Adversarial phase: the StyleGAN2 objective, with the reconstruction kept as one term.

Non-saturating logistic loss, lazy R1 and path length regularisation, style-mixing regularisation
(Karras et al. 2020, arXiv 1912.04958). Half of each fake batch are random brains, half are
reconstructions of the real ones, as in VAE-GAN (Larsen et al. 2016, arXiv 1512.09300).
"""

from __future__ import annotations

import torch
from torch import Tensor

from stylegan3d.networks.resampling import inverse_haar
from stylegan3d.training import losses
from stylegan3d.training.state import TrainState
from stylegan3d.training.warm_start import set_rates


def adversarial_step(state: TrainState, real: Tensor, dtype: torch.dtype) -> dict[str, float]:
    """One step of the generator side and one of the discriminator; returns what to log."""
    set_rates(state, state.config.adversarial_lr_scale)
    torch.manual_seed(state.config.seed * 15_485_863 + state.steps)
    real = real.to(state.device)
    log, fake = _maker_step(state, real, dtype)
    log |= _judge_step(state, real, fake, dtype)
    return log


def random_rows(state: TrainState, count: int) -> Tensor:
    """w of random brains [count, num_layers, w_dim], some mixed from two latents.

    Style-mixing regularisation: from a random layer on, the rows come from a second latent
    (Karras et al. 2019, arXiv 1812.04948, section 3.1). Also moves `w_avg`.
    """
    config = state.config
    layers = config.generator.num_layers
    z = torch.randn(2 * count, config.generator.z_dim, device=state.device)
    w = state.mapping(z)
    state.w_avg = state.w_avg.lerp(w.detach().mean(dim=0), 0.005)
    first, second = w[:count], w[count:]
    cut = torch.randint(1, layers, (count,), device=state.device)
    unmixed = torch.rand(count, device=state.device) >= config.mixing_probability
    cut = torch.where(unmixed, layers, cut)
    take_second = torch.arange(layers, device=state.device)[None] >= cut[:, None]
    return torch.where(take_second[:, :, None], second[:, None], first[:, None])


def _maker_step(
    state: TrainState, real: Tensor, dtype: torch.dtype
) -> tuple[dict[str, float], Tensor]:
    """Generator, mapping and encoder; returns the log and the fakes for the discriminator."""
    config = state.config
    state.maker.zero_grad(set_to_none=True)
    half = max(len(real) // 2, 1)
    mean, log_variance = state.encoder.posterior(real[:half], dtype)
    w = mean + torch.randn_like(mean) * (log_variance / 2).exp()
    encoded = w[:, None].expand(-1, config.generator.num_layers, -1)
    rows = torch.cat([encoded, random_rows(state, len(real) - half)])
    # One volume at a time: on a CPU its feature maps then stay in the cache.
    pyramids = [state.synthesis.pyramid(r, "random", None, dtype) for r in rows.split(1)]
    images = [torch.cat(level) for level in zip(*pyramids, strict=True)]
    head = config.generator.head
    fake = inverse_haar(images[-1]) if head == "haar" else images[-1]
    reconstruction = losses.reconstruction([i[:half] for i in images], real[:half], head)
    kl = losses.kl_to_unit_gaussian(mean, log_variance)
    state.discriminator.requires_grad_(False)
    adversarial = losses.generator_logistic(state.discriminator(fake, dtype=dtype))
    state.discriminator.requires_grad_(True)
    loss = reconstruction + config.kl_weight * kl + config.adversarial_weight * adversarial
    log = {
        "reconstruction": reconstruction.item(),
        "kl": kl.item(),
        "generator": adversarial.item(),
    }
    loss.backward()
    if state.steps % config.path_length_interval == 0:
        log["path_length"] = _path_length_gradient(state, dtype)
    parameters = [p for group in state.maker.param_groups for p in group["params"]]
    torch.nn.utils.clip_grad_norm_(parameters, config.clip_gradient)
    state.maker.step()
    return log, fake.detach()


def _path_length_gradient(state: TrainState, dtype: torch.dtype) -> float:
    """Add the lazy path length regulariser's gradient, from one random brain."""
    config = state.config
    w = random_rows(state, 1).detach().requires_grad_(True)
    volume = state.synthesis(w, "random", -1, dtype)
    length = losses.path_lengths(volume, w, torch.randn_like(volume))
    mean = state.path_mean.lerp(length.mean().detach(), config.path_length_decay)
    # The very first length starts the moving average: from zero it would ask for a flat generator.
    state.path_mean = length.mean().detach() if state.path_mean == 0 else mean
    penalty = (length - state.path_mean).square().mean()
    weight = config.path_length_weight * config.path_length_interval * config.adversarial_weight
    (penalty * weight).backward()
    return float(length.mean())


def _judge_step(
    state: TrainState, real: Tensor, fake: Tensor, dtype: torch.dtype
) -> dict[str, float]:
    config = state.config
    state.judge.zero_grad(set_to_none=True)
    real_score = state.discriminator(real, dtype=dtype)
    fake_score = state.discriminator(fake, dtype=dtype)
    loss = losses.discriminator_logistic(real_score, fake_score)
    log = {
        "discriminator": float(loss),
        "real_score": float(real_score.mean()),
        "fake_score": float(fake_score.mean()),
    }
    loss.backward()
    if state.steps % config.r1_interval == 0:
        penalty = losses.r1_penalty(lambda x: state.discriminator(x, dtype=dtype), real)
        (penalty * config.r1_gamma / 2 * config.r1_interval).backward()
        log["r1"] = float(penalty)
    state.judge.step()
    return log
