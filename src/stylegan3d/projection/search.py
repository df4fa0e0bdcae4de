"""The search of a projection: gradient descent on the latent, coarse to fine.

From the encoder's estimate, whose coarse structure is right, all steps are at full resolution; from
the average brain the first are at a quarter, then at half resolution, each level costing an eighth
of the next. A prior on w keeps the result typical of the generator (Abdal et al. 2019, arXiv
1904.03189; Zhu et al. 2020, arXiv 2012.09036).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.geometry.intensity import to_display
from stylegan3d.model.generator import Generator
from stylegan3d.plain import Json
from stylegan3d.progress import Progress
from stylegan3d.projection.problem import Problem
from stylegan3d.projection.settings import PHASES, Phase

# Learning rates, in standard deviations of random brains. From the encoder's estimate large steps
# are safe; from the average brain they would overshoot.
LEARNING_RATE = {"encoder": 0.25, "given": 0.25, "average": 0.15}
NOISE_RATE = 0.1
# Factor for long latents: many small changes of tens of thousands of numbers add up.
LONG_SHARE = 0.1
# Share of the steps from the average brain at quarter, half and full resolution.
SCHEDULE = ((-3, 0.35), (-2, 0.3), (-1, 0.35))
# Halving the resolution leaves an eighth of the voxels; overhead remains.
CHEAPEST_STEP = 0.06
# Share of the steps over which the learning rate falls to zero.
FALL = 0.25
# The search stops if so many steps together reduce the loss by less than this share.
WINDOW, LEAST_GAIN = 10, 0.003


@dataclass(frozen=True)
class SearchStep:
    """Result of one step of a search.

    Attributes
    ----------
    loss : float
        Objective before the step.
    level : int
        Image level that was matched; -1 is full resolution.
        made : Tensor, shape (1, 1, X, Y, Z)
            The image before the step, detached.
    cost : float
        Work done, in full-resolution steps.
    left : float
        Work that remains.
    steps_left : int
        Steps that remain.
    """

    loss: float
    level: int
    made: Tensor
    cost: float
    left: float
    steps_left: int


class Search:
    """Optimise a problem's latent, and its noise maps in "w+noise".

    Parameters
    ----------
    count : int
        Number of steps; unless `patient`, fewer are taken once improvement stalls.
    """

    def __init__(self, problem: Problem, count: int, *, patient: bool) -> None:
        self.problem, self.patient = problem, patient
        coarse = problem.start == "average" and problem.operator.coarse(2) is not None
        self.plan = plan(problem.generator, count) if coarse else [-1] * count
        self.kept: tuple[float, Tensor, list[Tensor]] | None = None
        self._losses: list[float] = []

    def __iter__(self) -> Iterator[SearchStep]:
        problem, count = self.problem, len(self.plan)
        size = LEARNING_RATE[problem.start] * (LONG_SHARE if problem.prior.is_diagonal else 1)
        groups: list[Json] = [{"params": [problem.u], "rate": size}]
        if problem.fitted_noise:
            groups.append({"params": problem.fitted_noise, "rate": NOISE_RATE})
        optimiser = torch.optim.Adam(groups, lr=size, betas=(0.9, 0.99))
        step = 0
        while step < len(self.plan):
            level = self.plan[step]
            for group in optimiser.param_groups:
                group["lr"] = group["rate"] * rate(step, count, len(self.plan))
            optimiser.zero_grad(set_to_none=True)
            made = problem.synthesize(problem.prior.color(problem.u), level)
            loss = problem.objective(made)
            loss.backward()
            self._keep(float(loss.detach()), level)
            optimiser.step()
            problem.normalise_noise()
            step += 1
            if not self.patient and self._stalls(level):
                del self.plan[step + math.ceil(FALL * count) :]
            done, left = costs(self.plan[:step]), costs(self.plan[step:])
            remaining = len(self.plan) - step
            yield SearchStep(float(loss.detach()), level, made.detach(), done, left, remaining)

    def restore_best(self) -> None:
        """Return to the best state of an unfinished search."""
        if self.kept is None:
            return
        with torch.no_grad():
            self.problem.u.copy_(self.kept[1])
            for noise, best in zip(self.problem.fitted_noise, self.kept[2], strict=True):
                noise.copy_(best)

    def _keep(self, loss: float, level: int) -> None:
        """Remember the state if it is the best at full resolution."""
        if level != -1:
            return
        self._losses.append(loss)
        if self.kept is None or loss < self.kept[0]:
            problem = self.problem
            noise = [m.detach().clone() for m in problem.fitted_noise]
            self.kept = loss, problem.u.detach().clone(), noise

    def _stalls(self, level: int) -> bool:
        """Whether the last full-resolution steps hardly improved."""
        if level != -1 or len(self._losses) <= 2 * WINDOW:
            return False
        before, lately = min(self._losses[:-WINDOW]), min(self._losses[-WINDOW:])
        return lately > before * (1 - LEAST_GAIN)


def plan(generator: Generator, count: int) -> list[int]:
    """Image level of every step: coarse first, if the generator has coarse images."""
    available = len(generator.levels)
    levels: list[int] = []
    for level, share in SCHEDULE:
        levels += [max(level, -available)] * math.ceil(share * count)
    return sorted(levels[:count])


def costs(levels: list[int]) -> float:
    """Work of these steps, in full-resolution steps."""
    return sum(max(8.0 ** (level + 1), CHEAPEST_STEP) for level in levels)


def rate(step: int, count: int, end: int) -> float:
    """Learning-rate factor: up over the first twentieth, half a cosine down over the last part.

    Parameters
    ----------
    step : int
        From 0.
    count, end : int
        Planned steps, and the step at which the search ends.
    """
    ramp = min(1.0, (step / count + 0.01) / 0.05)
    fall = min(1.0, (end - step) / (FALL * count))
    return ramp * (0.5 - 0.5 * math.cos(math.pi * fall))


# The projector of the original 3D-StyleGAN, for comparison.
#
# One w for all layers, started at the mean of mapped z, and the noise maps, fitted together for
# 1,000 steps with noise on w that fades out (Hong et al. 2021, arXiv 2107.09700, after Karras et
# al. 2020, arXiv 1912.04958, appendix D). Its objective is the squared difference at full
# resolution and of the means of blocks of eight voxels, both in intensities from 0 to 255. It has
# no encoder, no prior and no coarse levels.

ORIGINAL_STEPS = 1000
SAMPLES, SAMPLE_SEED, NOISE_SEED = 10_000, 123, 0
ORIGINAL_RATE = 0.3
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

    def __init__(self, problem: Problem, count: int = ORIGINAL_STEPS) -> None:
        self.problem, self.count = problem, count
        mean, self.spread = _distribution(problem.generator)
        self.w = mean[None].clone().requires_grad_(True)
        problem.start = "average"
        self._hand_over()

    def __iter__(self) -> Iterator[SearchStep]:
        problem, count = self.problem, self.count
        fitted = [self.w, *problem.fitted_noise]
        optimiser = torch.optim.Adam(fitted, lr=ORIGINAL_RATE, betas=(0.9, 0.999), eps=1e-8)
        random = torch.Generator().manual_seed(NOISE_SEED)
        for step in range(count):
            t = step / count
            optimiser.param_groups[0]["lr"] = ORIGINAL_RATE * original_rate(t)
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
            yield SearchStep(float(loss.detach()), -1, made.detach(), step + 1, left, left)

    def restore_best(self) -> None:
        """The last state is the result, as in the original."""

    @torch.no_grad()
    def _hand_over(self) -> None:
        self.problem.u.copy_(self.problem.prior.whiten(self.w))


def original_rate(t: float) -> float:
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


# Run state of a projection: clock, history, pause and stop.

# Seconds between checks while paused.
GLANCE = 0.05


@dataclass(frozen=True)
class ProjectionState:
    """State of a running projection.

    Attributes
    ----------
    step, steps : int
        Done and planned; the search may stop early.
    phase : Phase
        "search" for the latent, "tuning" of the generator, or "own noise" of the scan.
    loss : float
        Objective at this step, at the current level.
    level : int
        Image level being matched; -1 is full resolution.
    w : Tensor, shape (num_layers, w_dim)
        Current latent.
    made : Tensor, shape (1, 1, X, Y, Z)
        The image compared at this step, values in [-1, 1].
    seconds : float
        Since the start, without pauses.
        work : float
        Share of the total work that is done, 0 to 1; coarse steps are less work than fine ones.
    """

    step: int
    steps: int
    phase: Phase
    loss: float
    level: int
    w: Tensor
    made: Tensor
    seconds: float
    work: float

    @property
    def volume(self) -> np.ndarray:
        """The current volume (X, Y, Z) in display units, at the level's resolution."""
        return to_display(self.made)[0]


class SearchRun:
    """Tracks the phases of a projection: clock, history, pause and stop."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._started = time.perf_counter()
        self._work = 0.0
        self.history: list[dict[str, float]] = []
        self.finished = True

    @property
    def seconds(self) -> float:
        """Since the start, without pauses."""
        return time.perf_counter() - self._started

    def follow(
        self,
        steps: Iterable[SearchStep],
        problem: Problem,
        phase: Phase,
        after: float,
    ) -> bool:
        """Run a phase, with `after` as the work that remains after it; False if it was stopped."""
        cost = 0.0
        for step in steps:
            cost = step.cost
            done = self._work + cost
            remaining = step.left + after
            self._report(step, problem, phase, done / (done + remaining))
            if self._wait() and remaining > 0:
                self.finished = False
                return False
        self._work += cost
        return True

    def _report(self, step: SearchStep, problem: Problem, phase: Phase, work: float) -> None:
        number, seconds = len(self.history) + 1, self.seconds
        self.history.append(
            {
                "step": number,
                "level": step.level,
                "loss": step.loss,
                "seconds": round(seconds, 3),
            }
        )
        steps = number + step.steps_left
        self._progress(work, 1.0, PHASES[phase], f"step {number} of {steps}")
        self._progress.hand_over(
            ProjectionState(
                number, steps, phase, step.loss, step.level, problem.w, step.made, seconds, work
            )
        )

    def _wait(self) -> bool:
        """Wait while paused; return whether to stop."""
        paused = time.perf_counter()
        while self._progress.paused and not self._progress.cancelled:
            time.sleep(GLANCE)
        self._started += time.perf_counter() - paused
        return self._progress.cancelled
