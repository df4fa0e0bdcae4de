"""What the discriminator sees of a volume, and its scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from stylegan3d.training import losses
from stylegan3d.training.draws import Purpose, generator_for, generators_for
from stylegan3d.training.judge_augment import augment_for_judge
from stylegan3d.training.parts import Log, group_order
from stylegan3d.training.state import TrainState


def discriminator_input(
    state: TrainState, volumes: Tensor, samples: np.ndarray, purpose: Purpose
) -> Tensor:
    """Volumes as the discriminator sees them: a patch of each if it judges patches, augmented.

    Parameters
    ----------
    volumes : Tensor, shape (N, 1, X, Y, Z)
        Values in [-1, 1].
    samples : ndarray
        Numbers in the batch. A patch's place depends on the sample alone, so that real volume and
        fake show the same one.
    purpose : Purpose
        Whose augmentation it is.
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
    """The patch [1, x, y, z] of a volume [1, X, Y, Z] that is this sample's at this step.

    With a Haar head patches start at even voxels, where the generator's blocks do.
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
    """Logits [N] of the discriminator, whose groups are neighbours in the batch."""
    order = group_order(len(seen), state.config.group)
    ordered = None if labels is None else labels[order]
    made = state.discriminator(seen[order], ordered, dtype)
    return made[np.argsort(order)]


def add_judge_gradient(
    state: TrainState,
    real: Tensor,
    fake: Tensor,
    score_real: Callable[[Tensor], Tensor],
    score_fake: Callable[[Tensor], Tensor],
    share: float,
    log: Log,
) -> None:
    """Add one microbatch's gradient of the discriminator: logistic loss, and lazily R1.

    Parameters
    ----------
    real, fake : Tensor, shape (N, 1, X, Y, Z)
        As the discriminator sees them.
    score_real, score_fake : callable
        Their logits, with their labels.
    share : float
        Weight of the microbatch in the whole batch.
    """
    config = state.config
    real_score, fake_score = score_real(real), score_fake(fake)
    loss = losses.discriminator_logistic(real_score, fake_score)
    (loss * share).backward()
    log.add("discriminator", loss, share)
    log.add("real_score", real_score.mean(), share)
    log.add("fake_score", fake_score.mean(), share)
    log.add("real_sign", real_score.sign().mean(), share)
    if state.steps % config.r1_interval == 0:
        penalty = losses.r1_penalty(score_real, real)
        (penalty * share * config.r1_gamma / 2 * config.r1_interval).backward()
        log.add("r1", penalty, share)
