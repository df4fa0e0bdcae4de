"""Adversarial phase: the StyleGAN2 objective with an additional reconstruction term.

Non-saturating logistic loss, lazy R1 and path length regularisation, style-mixing regularisation
(Karras et al. 2020, arXiv 1912.04958); or relativistic pairing with R1 and R2. A share of each fake
batch are reconstructions of the real brains, as in VAE-GAN (Larsen et al. 2016, arXiv 1512.09300),
the others are random; without reconstructions it is plain StyleGAN2.

Every term is a mean over the whole batch: microbatches are weighted by their share, and gradients
summed over microbatches and processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from stylegan3d.networks.config import GeneratorConfig
from stylegan3d.networks.resampling import inverse_haar
from stylegan3d.training import losses
from stylegan3d.training.draws import Purpose, generators_for, normal
from stylegan3d.training.judging import (
    add_judge_gradient,
    discriminator_input,
    maker_loss,
    scores,
)
from stylegan3d.training.parts import Log, Part, split
from stylegan3d.training.state import TrainState
from stylegan3d.training.team import Team
from stylegan3d.training.warm_start import (
    at_once,
    posterior_sample,
    reconstruction_loss,
    set_rates,
)

W_AVG_RATE = 0.005


def adversarial_step(
    state: TrainState,
    real: Tensor,
    dtype: torch.dtype,
    team: Team | None = None,
    labels: Tensor | None = None,
) -> dict[str, float]:
    """One generator step and one discriminator step.

    Parameters
    ----------
    real : Tensor, shape (N, 1, X, Y, Z)
        This process's samples of the batch, values in [-1, 1].
    team : Team or None
        The cooperating processes; None if this process has the whole batch.
    labels : Tensor, shape (N, label_dim), or None
        Labels of `real`, if the generator is conditional.

    Returns
    -------
    dict of str to float
        Figures to log, means over the whole batch.
    """
    config = state.config
    team = team or Team(state.device)
    set_rates(state, config.adversarial_lr_scale)
    parts = split(config, team, real, labels, state.device)
    log = Log()
    fakes = _maker_step(state, parts, dtype, team, log)
    _judge_step(state, parts, fakes, dtype, team, log)
    log.total(team)
    # Each random brain has two latents.
    count = 2 * (config.batch - parts[0].reconstructed_in_all)
    state.w_avg = state.w_avg.lerp(log.tensors["w"] / count, W_AVG_RATE)
    if "path_length" in log.values:
        length = torch.tensor(log.values["path_length"], device=state.device)
        moved = state.path_mean.lerp(length, config.path_length_decay)
        # Initialise the moving average with the first length: starting at zero would favour a flat
        # generator.
        state.path_mean = length if state.path_mean == 0 else moved
    sign = log.values.pop("real_sign")
    if config.d_augment == "adaptive":
        augment = state.judge_augment
        augment.adjust(sign, config.batch, config.d_augment_target, config.d_augment_images)
    return log.values | {"d_augment_p": state.judge_augment.p}


def random_rows(
    state: TrainState,
    samples: Sequence[int] | np.ndarray,
    purpose: Purpose = Purpose.LATENT,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """w of random brains, some with style mixing.

    Style-mixing regularisation: from a random layer on, the rows come from a second latent
    (Karras et al. 2019, arXiv 1812.04948, section 3.1). The labels of a conditional generator are
    sampled from the training subjects.

    Parameters
    ----------
    samples : sequence of int or ndarray
        Numbers in the batch, which with seed and step determine the latents.

    Returns
    -------
    tuple of (Tensor, Tensor, (Tensor or None))
        Rows [N, num_layers, w_dim], w of both latents of all [2 N, w_dim], labels [N, label_dim].
    """
    config, count = state.config, len(samples)
    layers = config.generator.num_layers
    generators = generators_for(config.seed, state.steps, purpose, samples)
    z = normal(generators, (2, config.generator.z_dim), state.device)
    cuts = [int(torch.randint(1, layers, (), generator=g)) for g in generators]
    mixed = [float(torch.rand((), generator=g)) < config.mixing_probability for g in generators]
    labels = None
    if state.people is not None:
        people = [int(torch.randint(len(state.people), (), generator=g)) for g in generators]
        labels = state.people[people]
    both = None if labels is None else labels.repeat(2, 1)
    w = state.mapping(z.transpose(0, 1).flatten(0, 1), both)
    first, second = w[:count], w[count:]
    cut = torch.tensor([c if m else layers for c, m in zip(cuts, mixed, strict=True)])
    take_second = (torch.arange(layers)[None] >= cut[:, None]).to(state.device)
    rows = torch.where(take_second[:, :, None], second[:, None], first[:, None])
    return rows, w, labels


def _maker_step(
    state: TrainState, parts: Sequence[Part], dtype: torch.dtype, team: Team, log: Log
) -> list[tuple[Tensor, Tensor | None]]:
    """Step of generator, mapping and encoder; returns fakes with their labels."""
    config = state.config
    state.maker.zero_grad(set_to_none=True)
    state.discriminator.requires_grad_(False)
    fakes = [_maker_gradient(state, part, dtype, log) for part in parts]
    state.discriminator.requires_grad_(True)
    if config.path_length_weight and state.steps % config.path_length_interval == 0:
        for part in parts:
            _path_length_gradient(state, part, dtype, log)
    parameters = [p for group in state.maker.param_groups for p in group["params"]]
    team.sum_gradients(parameters)
    torch.nn.utils.clip_grad_norm_(parameters, config.clip_gradient)
    state.maker.step()
    return fakes


def _maker_gradient(
    state: TrainState, part: Part, dtype: torch.dtype, log: Log
) -> tuple[Tensor, Tensor | None]:
    """Accumulate the gradient of one microbatch; returns its fakes and labels."""
    config = state.config
    random, w, labels = random_rows(state, part.samples[part.random])
    log.add_tensor("w", w.detach().sum(dim=0))
    rows, fake_labels = random, labels
    if len(part.reconstructed):
        real, samples = part.real[part.reconstructed], part.samples[part.reconstructed]
        posterior = state.encoder.posterior(real, dtype)
        encoded = posterior_sample(state, samples, *posterior)
        rows = part.join(encoded[:, None].expand(-1, config.generator.num_layers, -1), random)
        if labels is not None and part.labels is not None:
            fake_labels = part.join(part.labels[part.reconstructed], labels)
    images = _pyramid(state, rows, part.samples, dtype)
    fake = _whole(images[-1], config.generator)
    if not config.reconstructed_share:
        fake = fake.clamp(min=-1)  # as it is shown; scans have nothing below either
    seen = discriminator_input(state, fake, part.samples, Purpose.AUGMENT_MAKER)
    score = scores(state, seen, fake_labels, dtype)

    def score_real() -> Tensor:
        shown = discriminator_input(state, part.real, part.samples, Purpose.AUGMENT_REAL)
        return scores(state, shown, part.labels, dtype)

    adversarial = maker_loss(config, score, score_real)
    log.add("generator", adversarial, part.share)
    loss = part.share * config.adversarial_weight * adversarial
    if len(part.reconstructed):
        decoded = [image[part.reconstructed] for image in images]
        share = len(real) / part.reconstructed_in_all
        loss = loss + reconstruction_loss(state, decoded, real, posterior, share, log)
    loss.backward()
    return fake.detach(), fake_labels


def _pyramid(
    state: TrainState, rows: Tensor, samples: np.ndarray, dtype: torch.dtype
) -> list[Tensor]:
    """Images of all levels with random noise, in chunks that suit the device."""
    config = state.config
    grids = [m.shape[1:] for m in state.synthesis.noise_maps("fixed") if m is not None]
    made = []
    step = at_once(state.device, config.generator, len(rows))
    for start in range(0, len(rows), step):
        some = slice(start, start + step)
        place = (config.seed, state.steps, Purpose.NOISE, samples[some])
        generators = generators_for(*place, state.device)
        maps: list[Tensor | None] = [normal(generators, grid, state.device) for grid in grids]
        made.append(state.synthesis.pyramid(rows[some], maps, None, dtype))
    return [torch.cat(level) for level in zip(*made, strict=True)]


def _whole(image: Tensor, config: GeneratorConfig) -> Tensor:
    """The full image of a pyramid's last entry, which has bands with a Haar head."""
    return inverse_haar(image) if image.shape[1] == 8 * config.image_channels else image


def _path_length_gradient(state: TrainState, part: Part, dtype: torch.dtype, log: Log) -> None:
    """Accumulate the path length regulariser's gradient, from one random brain per group."""
    config = state.config
    weight = config.path_length_weight * config.path_length_interval * config.adversarial_weight
    groups = config.batch // config.group
    firsts = part.samples[:: config.group]
    step = at_once(state.device, config.generator, len(firsts))
    for some in np.split(firsts, range(step, len(firsts), step)):
        rows, _, _ = random_rows(state, some, Purpose.PATH_LATENT)
        rows = rows.detach().requires_grad_(True)
        volume = _whole(_pyramid(state, rows, some, dtype)[-1], config.generator)
        place = (config.seed, state.steps, Purpose.PATH_NOISE, some)
        generators = generators_for(*place, state.device)
        noise = normal(generators, volume.shape[1:], state.device)
        length = losses.path_lengths(volume, rows, noise)
        log.add("path_length", length.mean(), len(some) / groups)
        if state.path_mean > 0:
            penalty = (length - state.path_mean).square().sum() / groups
            (penalty * weight).backward()


def _judge_step(
    state: TrainState,
    parts: Sequence[Part],
    fakes: Sequence[tuple[Tensor, Tensor | None]],
    dtype: torch.dtype,
    team: Team,
    log: Log,
) -> None:
    state.judge.zero_grad(set_to_none=True)
    for part, (fake, labels) in zip(parts, fakes, strict=True):
        seen = discriminator_input(state, part.real, part.samples, Purpose.AUGMENT_REAL)
        fake = discriminator_input(state, fake, part.samples, Purpose.AUGMENT_FAKE)
        score_real = partial(scores, state, labels=part.labels, dtype=dtype)
        score_fake = partial(scores, state, labels=labels, dtype=dtype)
        add_judge_gradient(state, seen, fake, score_real, score_fake, part.share, log)
    team.sum_gradients(state.discriminator.parameters())
    state.judge.step()
