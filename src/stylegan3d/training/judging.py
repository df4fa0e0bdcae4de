"""Inputs and scores of the discriminator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from stylegan3d.training import losses
from stylegan3d.training.config import TrainConfig
from stylegan3d.training.draws import Purpose, generator_for, generators_for
from stylegan3d.training.judge_augment import augment_for_judge
from stylegan3d.training.parts import Log, group_order
from stylegan3d.training.state import TrainState


def discriminator_input(
    state: TrainState, volumes: Tensor, samples: np.ndarray, purpose: Purpose
) -> Tensor:
    """Prepare volumes for the discriminator: patches if configured, with augmentation.

    Parameters
    ----------
    volumes : Tensor, shape (N, 1, X, Y, Z)
        Values in [-1, 1].
    samples : ndarray
        Numbers in the batch. A patch's position depends only on the sample, so that it is the same
        for real and fake volumes.
    purpose : Purpose
        Purpose of the random numbers.
    """
    config = state.config
    if config.patched:
        volumes = torch.stack(
            [crop(state, v, int(s)) for v, s in zip(volumes, samples, strict=True)]
        )
    if config.d_augment == "none":
        return volumes
    generators = generators_for(config.seed, state.steps, purpose, samples)
    return augment_for_judge(volumes, state.judge_augment.p, generators, config.d_augment_parts)


def crop(state: TrainState, volume: Tensor, sample: int) -> Tensor:
    """The patch [1, x, y, z] of a volume [1, X, Y, Z] for this sample and step.

    With a Haar head patches start at even voxels, aligned with the generator's blocks.
    """
    config = state.config
    generator = generator_for(config.seed, state.steps, Purpose.CROP, sample)
    stride = 2 if config.discriminator.head == "haar" else 1
    for axis, side in enumerate(config.judge_grid, start=1):
        places = (volume.shape[axis] - side) // stride + 1
        start = stride * int(torch.randint(places, (), generator=generator))
        volume = volume.narrow(axis, start, side)
    return volume


def scores(state: TrainState, seen: Tensor, labels: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Logits [N / packed] of the discriminator, with groups of neighbours in the batch."""
    packed = state.config.discriminator.packed
    order = group_order(len(seen) // packed, state.config.group // packed)
    volumes = [pack * packed + k for pack in order for k in range(packed)]
    ordered = None if labels is None else labels[volumes]
    made = state.discriminator(seen[volumes], ordered, dtype)
    return made[np.argsort(order)]


def maker_loss(config: TrainConfig, fake: Tensor, score_real: Callable[[], Tensor]) -> Tensor:
    """The generator's adversarial loss.

    Parameters
    ----------
    fake : Tensor, shape (N,)
        Scores of generated volumes.
    score_real : callable
        Gives scores of as many real volumes, if they are needed.
    """
    if config.adversarial_loss == "relativistic":
        with torch.no_grad():
            real = score_real()
        return losses.relativistic(fake, real)
    return losses.generator_logistic(fake)


def add_judge_gradient(
    state: TrainState,
    real: Tensor,
    fake: Tensor,
    score_real: Callable[[Tensor], Tensor],
    score_fake: Callable[[Tensor], Tensor],
    share: float,
    log: Log,
) -> None:
    """Accumulate one microbatch's gradient of the discriminator: its loss and lazy R1 and R2.

    Parameters
    ----------
    real, fake : Tensor, shape (N, 1, X, Y, Z)
        Inputs of the discriminator.
    score_real, score_fake : callable
        Functions from inputs to logits.
    share : float
        Weight of the microbatch in the whole batch.
    """
    config = state.config
    real_score, fake_score = score_real(real), score_fake(fake)
    if config.adversarial_loss == "relativistic":
        loss = losses.relativistic(real_score, fake_score)
    else:
        loss = losses.discriminator_logistic(real_score, fake_score)
    (loss * share).backward()
    log.add("discriminator", loss, share)
    log.add("real_score", real_score.mean(), share)
    log.add("fake_score", fake_score.mean(), share)
    log.add("real_sign", real_score.sign().mean(), share)
    if state.steps % config.r1_interval == 0:
        for name, gamma, score, volumes in (
            ("r1", config.r1_gamma, score_real, real),
            ("r2", config.r2_gamma, score_fake, fake),
        ):
            if gamma:
                penalty = losses.r1_penalty(score, volumes)
                (penalty * share * gamma / 2 * config.r1_interval).backward()
                log.add(name, penalty, share)
