"""The projector of the original 3D-StyleGAN, for comparison.

One w for all layers, started at the mean of mapped z, and the noise maps, fitted together for
1,000 steps with noise on w that fades out (Hong et al. 2021, arXiv 2107.09700, after Karras et al.
2020, arXiv 1912.04958, appendix D). Its objective is the squared difference at full resolution and
of the means of blocks of eight voxels, both in intensities from 0 to 255. It has no encoder, no
prior and no coarse levels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.model.generator import Generator
from stylegan3d.projection.problem import Problem
from stylegan3d.projection.search import Step

STEPS = 1000
SAMPLES, SAMPLE_SEED, NOISE_SEED = 10_000, 123, 0
LEARNING_RATE = 0.3
RAMP_UP, RAMP_DOWN = 0.05, 0.25
W_NOISE, W_NOISE_UNTIL = 0.05, 0.75
BLOCK = 8


def original_loss(made: Tensor, target: Tensor) -> Tensor:
    """Its objective, for images [1, C, X, Y, Z] in [-1, 1]."""
    fine = F.mse_loss(_grey(made), _grey(target))
    blocks = F.avg_pool3d(_grey(made), BLOCK), F.avg_pool3d(_grey(target), BLOCK)
    return fine + F.mse_loss(*blocks)


class OriginalSearch:
    """Optimise by iterating over it; leaves the latent in `problem.u`, the maps in `problem.noise`.

    Parameters
    ----------
    problem : Problem
        In space "w", with noise to fit.
    count : int
        Number of steps, over which its schedules are scaled.
    """

    def __init__(self, problem: Problem, count: int = STEPS) -> None:
        self.problem, self.count = problem, count
        mean, self.spread = _distribution(problem.generator)
        self.w = mean[None].clone().requires_grad_(True)
        problem.start = "average"
        self._hand_over()

    def __iter__(self) -> Iterator[Step]:
        problem, count = self.problem, self.count
        fitted = [self.w, *problem.fitted_noise]
        optimiser = torch.optim.Adam(fitted, lr=LEARNING_RATE, betas=(0.9, 0.999), eps=1e-8)
        random = torch.Generator().manual_seed(NOISE_SEED)
        for step in range(count):
            t = step / count
            optimiser.param_groups[0]["lr"] = LEARNING_RATE * rate(t)
            size = W_NOISE * self.spread * max(0.0, 1 - t / W_NOISE_UNTIL) ** 2
            moved = self.w + size * torch.randn(self.w.shape, generator=random).to(self.w)
            optimiser.zero_grad(set_to_none=True)
            made = problem.synthesize(moved, -1, torch.float32)
            loss = original_loss(problem.operator(made), problem.target)
            loss.backward()
            optimiser.step()
            problem.normalise_noise()
            self._hand_over()
            left = count - step - 1
            yield Step(float(loss.detach()), -1, made.detach(), step + 1, left, left)

    def restore_best(self) -> None:
        """The last state is the result, as in the original."""

    @torch.no_grad()
    def _hand_over(self) -> None:
        self.problem.u.copy_(self.problem.prior.whiten(self.w))


def rate(t: float) -> float:
    """Learning-rate factor at `t` (0 to 1): up over the first 5 %, down over the last 25 %."""
    fall = min(1.0, (1 - t) / RAMP_DOWN)
    return (0.5 - 0.5 * math.cos(math.pi * fall)) * min(1.0, t / RAMP_UP)


def _distribution(generator: Generator) -> tuple[Tensor, float]:
    """Mean of w over random z, [w_dim], and the root mean square distance from it."""
    z = np.random.RandomState(SAMPLE_SEED).randn(SAMPLES, generator.z_dim)
    w = generator.map(torch.from_numpy(z).float())[:, 0]
    mean = w.mean(dim=0)
    return mean, float((w - mean).square().sum(dim=1).mean().sqrt())


def _grey(image: Tensor) -> Tensor:
    return (image + 1) * (255 / 2)
