"""Steps of a projection: gradient descent on the latent, coarse to fine.

From the encoder's guess, which has the coarse part right, all steps are in full resolution; from
the average brain first at a quarter of it, then at half, which costs an eighth each. A pull towards
the distribution of w keeps the result a brain of this generator (Abdal et al. 2019, arXiv
1904.03189; Zhu et al. 2020, arXiv 2012.09036).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stylegan3d.model.generator import Generator
from stylegan3d.projection.problem import Problem

# In standard deviations of random brains. From a guess nearby the way is short and known to be
# downhill; from afar larger steps overshoot.
LEARNING_RATE = {"encoder": 0.25, "given": 0.25, "average": 0.15}
NOISE_RATE = 0.1
# Of these rates for long latents: tens of thousands of numbers that all move a little move far.
LONG_SHARE = 0.1
# Share of the steps at each image level from the average brain: a quarter resolution, half, full.
SCHEDULE = ((-3, 0.35), (-2, 0.3), (-1, 0.35))
# Each halving of the resolution leaves an eighth of the voxels, but overhead never vanishes.
CHEAPEST_STEP = 0.06
# Share of the steps over which the step size falls to zero.
FALL = 0.25
# It no longer pays if so many steps together gained less than this share of the loss.
WINDOW, LEAST_GAIN = 10, 0.003


@dataclass(frozen=True)
class Step:
    """What one step of a search found.

    Attributes
    ----------
    loss : float
        Objective before the step.
    level : int
        Image level that was matched; -1 is full resolution.
    made : Tensor, shape (1, 1, X, Y, Z)
        The image of the state before the step, detached.
    cost : float
        Work that is done, in steps of full resolution.
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
        Steps; fewer are taken where `patient` is false and they no longer pay.
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
        groups: list[dict[str, Any]] = [{"params": [problem.u], "rate": size}]
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
        """Go back to the best state that was seen, after a search that was not finished."""
        if self.kept is None:
            return
        with torch.no_grad():
            self.problem.u.copy_(self.kept[1])
            for noise, best in zip(self.problem.fitted_noise, self.kept[2], strict=True):
                noise.copy_(best)

    def _keep(self, loss: float, level: int) -> None:
        """Remember the state if it is the best in full resolution."""
        if level != -1:
            return
        self._losses.append(loss)
        if self.kept is None or loss < self.kept[0]:
            problem = self.problem
            noise = [m.detach().clone() for m in problem.fitted_noise]
            self.kept = loss, problem.u.detach().clone(), noise

    def _stalls(self, level: int) -> bool:
        """Whether the last steps in full resolution gained next to nothing."""
        if level != -1 or len(self._losses) <= 2 * WINDOW:
            return False
        before, lately = min(self._losses[:-WINDOW]), min(self._losses[-WINDOW:])
        return lately > before * (1 - LEAST_GAIN)


def plan(generator: Generator, count: int) -> list[int]:
    """The image level of every step: coarse first, as far as the generator has coarse images."""
    available = len(generator.levels)
    levels: list[int] = []
    for level, share in SCHEDULE:
        levels += [max(level, -available)] * math.ceil(share * count)
    return sorted(levels[:count])


def costs(levels: list[int]) -> float:
    """Work of some steps, in steps of full resolution."""
    return sum(max(8.0 ** (level + 1), CHEAPEST_STEP) for level in levels)


def rate(step: int, count: int, end: int) -> float:
    """Share of the step size: up over the first twentieth, half a cosine down over the last part.

    Parameters
    ----------
    step : int
        From 0.
    count, end : int
        Steps that were planned, and after which the search ends.
    """
    ramp = min(1.0, (step / count + 0.01) / 0.05)
    fall = min(1.0, (end - step) / (FALL * count))
    return ramp * (0.5 - 0.5 * math.cos(math.pi * fall))
