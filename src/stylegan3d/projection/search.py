"""The search of a projection: gradient descent on the latent, coarse to fine.

From the encoder's estimate, whose coarse structure is right, all steps are at full resolution; from
the average brain the first are at a quarter, then at half resolution, each level costing an eighth
of the next. A prior on w keeps the result typical of the generator (Abdal et al. 2019, arXiv
1904.03189; Zhu et al. 2020, arXiv 2012.09036).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from stylegan3d.model.generator import Generator
from stylegan3d.plain import Json
from stylegan3d.projection.problem import Problem

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
class Step:
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

    def __iter__(self) -> Iterator[Step]:
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
            yield Step(float(loss.detach()), level, made.detach(), done, left, remaining)

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
