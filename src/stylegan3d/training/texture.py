"""Texture phase of a generator with a deformation: learn in the common anatomy, cube by cube.

The start knows where everything lies, and what it looks like as far as a linear model can: soft.
What is missing is local, and in the common anatomy every subject shows it at the same places. So
this phase trains on cubes of the canonical brains, at a fraction of a whole volume's work, and each
brain holds many of them: the layers turn the linear model's image into a sharp one. Half of each
group are subjects with their known latent, compared to their canonical brains (mean absolute error
of the Haar bands); half are random brains, judged by a discriminator that looks at cubes (Isola et
al. 2017, arXiv 1611.07004; non-saturating loss, lazy R1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from stylegan3d.networks.resampling import haar, inverse_haar
from stylegan3d.training.adversarial import W_AVG_RATE, random_rows
from stylegan3d.training.anatomy import Anatomy
from stylegan3d.training.anatomy_start import codes_of
from stylegan3d.training.config import TrainConfig
from stylegan3d.training.draws import Purpose, generator_for, generators_for, normal
from stylegan3d.training.judge_augment import augment_for_judge
from stylegan3d.training.judging import add_judge_gradient, maker_loss
from stylegan3d.training.parts import Log, Part, split
from stylegan3d.training.state import TrainState
from stylegan3d.training.team import Team
from stylegan3d.training.warm_start import set_rates, warm_start_rate

Corner = tuple[int, int, int]
# A cube's middle lies in the brain: where the template is brighter than this.
BRAIN = 0.1


@dataclass(frozen=True, eq=False)
class Texture:
    """What a step of this phase sees of the data.

    Attributes
    ----------
    anatomy : Anatomy
        The canonical brains; codes : their latents [n or 2 n, w_dim], mirror images last.
    """

    anatomy: Anatomy
    codes: Tensor

    @classmethod
    def of(cls, state: TrainState, anatomy: Anatomy) -> Texture:
        """Codes from the bases that the state's generator has."""
        return cls(anatomy, codes_of(state, anatomy).to(state.device))

    def corners(self, config: TrainConfig, step: int) -> list[Corner]:
        """First voxels, on the last level's grid, of the step's cubes; the same for all samples.

        So that the discriminator compares the same place in several subjects.
        """
        side = cube_side(config)
        grid = config.generator.grid(config.generator.num_levels - 1)
        generator = generator_for(config.seed, step, Purpose.CROP, 0)
        inside = np.argwhere(self.anatomy.template[::2, ::2, ::2] > BRAIN)
        corners = []
        for _ in range(config.patches):
            middle = inside[int(torch.randint(len(inside), (), generator=generator))]
            corner = [
                2 * (min(max(int(m) - side // 2, 0), n - side) // 2)
                for m, n in zip(middle, grid, strict=True)
            ]
            corners.append((corner[0], corner[1], corner[2]))
        return corners

    def people(
        self, config: TrainConfig, step: int, samples: Sequence[int] | np.ndarray
    ) -> list[int]:
        """Rows of `codes`: every epoch shows each subject once, as it is or mirrored."""
        n = len(self.anatomy.rows)
        chosen = []
        for sample in samples:
            place = step * config.batch + int(sample)
            order = np.random.default_rng((config.seed, place // n)).permutation(n)
            generator = generator_for(config.seed, step, Purpose.DATA, int(sample))
            mirror = config.mirror and bool(torch.rand((), generator=generator) < 0.5)
            chosen.append(int(order[place % n]) + n * mirror)
        return chosen

    def cubes(self, row: int, corners: Sequence[Corner], side: int) -> Tensor:
        """[corners, 1, 2 side, 2 side, 2 side] in [-1, 1] of one canonical brain."""
        n = len(self.anatomy.rows)
        volume = self.anatomy.canonical[row % n]
        if row >= n:
            volume = volume[::-1]
        cut = [volume[tuple(slice(2 * c, 2 * (c + side)) for c in corner)] for corner in corners]
        return torch.from_numpy(np.stack(cut)).float()[:, None] / 127.5 - 1


def cube_side(config: TrainConfig) -> int:
    """Edge of the discriminator's cubes on the last level's grid."""
    return config.judge_grid[0] // 2


def texture_step(
    state: TrainState,
    texture: Texture,
    dtype: torch.dtype,
    team: Team | None = None,
    samples: np.ndarray | None = None,
) -> dict[str, float]:
    """One step of the generator side and one of the discriminator.

    Parameters
    ----------
    team, samples : Team or None, ndarray or None
        The processes that train together, and this one's samples of the batch; without them this
        process has the whole batch.

    Returns
    -------
    dict of str to float
        What to log, means over the whole batch.
    """
    config = state.config
    team = team or Team(state.device)
    samples = np.arange(config.batch) if samples is None else samples
    progress = min(state.images / max(config.warm_start_images, 1), 1.0)
    set_rates(state, warm_start_rate(progress, config.final_lr_fraction))
    corners = texture.corners(config, state.steps)
    rows = texture.people(config, state.steps, samples)
    real = torch.stack([texture.cubes(row, corners, cube_side(config)) for row in rows])
    known = texture.codes[rows]
    if state.people is not None:
        # One row of labels per subject, shared by its mirror image; they accompany the codes.
        people = state.people[[row % len(state.people) for row in rows]]
        known = torch.cat([known, people], dim=1)
    log = Log()
    parts = split(config, team, real, known, state.device)
    state.maker.zero_grad(set_to_none=True)
    state.discriminator.requires_grad_(False)
    fakes = [_maker_gradient(state, part, corners, dtype, log) for part in parts]
    state.discriminator.requires_grad_(True)
    parameters = [p for group in state.maker.param_groups for p in group["params"]]
    team.sum_gradients(parameters)
    torch.nn.utils.clip_grad_norm_(parameters, config.clip_gradient)
    state.maker.step()
    _judge_step(state, parts, fakes, dtype, team, log)
    log.total(team)
    sign = log.values.pop("real_sign")
    if config.d_augment == "adaptive":
        augment = state.judge_augment
        augment.adjust(sign, config.batch // 2, config.d_augment_target, config.d_augment_images)
    count = 2 * (config.batch - parts[0].reconstructed_in_all)
    state.w_avg = state.w_avg.lerp(log.tensors["w"] / count, W_AVG_RATE)
    return log.values


def _maker_gradient(
    state: TrainState, part: Part, corners: Sequence[Corner], dtype: torch.dtype, log: Log
) -> tuple[Tensor, Tensor | None]:
    """Add the gradient of one microbatch; returns its random cubes and their labels."""
    config = state.config
    assert part.labels is not None
    random, w, labels = random_rows(state, part.samples[part.random])
    log.add_tensor("w", w.detach().sum(dim=0))
    known = part.labels[part.reconstructed, : config.generator.w_dim]
    rows = part.join(known[:, None].expand(-1, config.generator.num_layers, -1), random)
    bands = torch.stack(list(_bands(state, rows, part.samples, corners, dtype)))
    target = haar(part.real[part.reconstructed].flatten(0, 1))
    decoded = bands[part.reconstructed].flatten(0, 1)
    reconstruction = (decoded - target).abs().sum(dim=1).mean()
    fake = inverse_haar(bands[part.random].flatten(0, 1))
    seen = _augmented(state, fake, part, Purpose.AUGMENT_MAKER)

    def score_real() -> Tensor:
        return _scores(state, _seen_real(state, part), _labels(state, part), dtype)

    adversarial = maker_loss(config, _scores(state, seen, labels, dtype), score_real)
    scan_share = len(known) / part.reconstructed_in_all
    weight = part.share * config.adversarial_weight
    (scan_share * reconstruction + weight * adversarial).backward()
    log.add("reconstruction", reconstruction, scan_share)
    log.add("generator", adversarial, part.share)
    return fake.detach(), labels


def _bands(
    state: TrainState,
    rows: Tensor,
    samples: np.ndarray,
    corners: Sequence[Corner],
    dtype: torch.dtype,
) -> Iterator[Tensor]:
    """Haar bands of the cubes of each sample, with fresh noise, [cubes, 8, x, y, z]."""
    grids = [m.shape[1:] for m in state.synthesis.noise_maps("fixed") if m is not None]
    side = cube_side(state.config)
    for row, sample in zip(rows.split(1), samples, strict=True):
        generators = generators_for(state.config.seed, state.steps, Purpose.NOISE, [int(sample)])
        maps: list[Tensor | None] = [normal(generators, grid, state.device) for grid in grids]
        yield state.layered.canonical_patch(row, maps, list(corners), side, dtype)


def _augmented(state: TrainState, cubes: Tensor, part: Part, purpose: Purpose) -> Tensor:
    """Cubes [N cubes, 1, x, y, z] as the discriminator sees them."""
    config = state.config
    if config.d_augment == "none":
        return cubes
    each = len(cubes) // len(part.random)
    numbers = [int(s) * each + k for s in part.samples[part.random] for k in range(each)]
    generators = generators_for(config.seed, state.steps, purpose, numbers)
    return augment_for_judge(cubes, state.judge_augment.p, generators, config.d_augment_parts)


def _scores(state: TrainState, seen: Tensor, labels: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Logits of cubes, those of one sample after another; `labels` one row per sample.

    `minibatch_stddev` takes every (n / group)-th cube for a group: the same place.
    """
    if labels is not None:
        labels = labels.repeat_interleave(len(seen) // len(labels), dim=0)
    return state.discriminator(seen, labels, dtype)


def _seen_real(state: TrainState, part: Part) -> Tensor:
    """The real cubes of a microbatch as the discriminator sees them."""
    return _augmented(state, part.real[part.random].flatten(0, 1), part, Purpose.AUGMENT_REAL)


def _labels(state: TrainState, part: Part) -> Tensor | None:
    """Labels of the subjects whose cubes the discriminator sees, if it is conditional."""
    assert part.labels is not None
    if state.people is None:
        return None
    return part.labels[part.random, state.config.generator.w_dim :]


def _judge_step(
    state: TrainState,
    parts: Sequence[Part],
    fakes: Sequence[tuple[Tensor, Tensor | None]],
    dtype: torch.dtype,
    team: Team,
    log: Log,
) -> None:
    state.judge.zero_grad(set_to_none=True)
    for part, (fake, fake_labels) in zip(parts, fakes, strict=True):
        seen = _seen_real(state, part)
        fake = _augmented(state, fake, part, Purpose.AUGMENT_FAKE)
        score_real = partial(_scores, state, labels=_labels(state, part), dtype=dtype)
        score_fake = partial(_scores, state, labels=fake_labels, dtype=dtype)
        add_judge_gradient(state, seen, fake, score_real, score_fake, part.share, log)
    team.sum_gradients(state.discriminator.parameters())
    state.judge.step()
