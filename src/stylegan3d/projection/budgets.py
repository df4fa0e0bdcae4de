"""Budgets of a projection and its estimated duration."""

from __future__ import annotations

import time
from weakref import WeakKeyDictionary

import torch

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.model.generator import Generator
from stylegan3d.projection import original
from stylegan3d.projection.operators import Identity
from stylegan3d.projection.own_noise import COST, asks_own_noise, fits_layer_noise
from stylegan3d.projection.pivotal import tuning_cost
from stylegan3d.projection.problem import Problem
from stylegan3d.projection.search import costs, plan
from stylegan3d.projection.settings import BUDGETS, TUNED, Choices

# Starting from the average brain takes so many times as many, most at coarse resolution.
FROM_AVERAGE = 3
# Overhead besides steps: start and result are rendered and compared with the scan.
AROUND = 6.0

_measured: WeakKeyDictionary[Generator, dict[bool, float]] = WeakKeyDictionary()


def check_budget(budget: str) -> None:
    """Raise StyleGAN3DError for an unknown budget."""
    if budget not in BUDGETS:
        raise StyleGAN3DError(
            f"The budget '{budget}' is unknown; choose one of {', '.join(BUDGETS)}."
        )


def step_count(budget: str, steps: int | None, start: str, method: str) -> int:
    """Search steps from a `start`, "encoder" or "average"; `steps` overrides the budget."""
    if steps is not None:
        if steps < 1:
            raise StyleGAN3DError(f"A projection needs at least one step, not {steps}.")
        return steps
    check_budget(budget)
    if method == "original":
        return original.STEPS
    return BUDGETS[budget] * (FROM_AVERAGE if start == "average" else 1)


def estimate_seconds(
    generator: Generator,
    budget: str = Choices.budget,
    space: str = Choices.space,
    method: str = Choices.method,
) -> float:
    """How long `project` will take on this machine, from the time of one step.

    Measured on the average brain, once per generator.

    Raises
    ------
    StyleGAN3DError
        If the budget is unknown.
    """
    check_budget(budget)
    with_noise = fits_layer_noise(generator, space, method)
    known = _measured.setdefault(generator, {})
    if with_noise not in known:
        known[with_noise] = _step_seconds(generator, with_noise)
    if method == "original":
        return known[with_noise] * (original.STEPS + AROUND)
    start = "average" if generator.encoder is None else "encoder"
    count = step_count(budget, None, start, method)
    levels = plan(generator, count) if start == "average" else [-1] * count
    fit = 0.0
    if generator.has_own_noise and asks_own_noise(space, budget):
        fit = COST
    elif budget in TUNED and generator.can("tuning"):
        fit = tuning_cost(generator)
    return known[with_noise] * (costs(levels) + fit + AROUND)


def _step_seconds(generator: Generator, with_noise: bool) -> float:
    """The shorter of two steps at full resolution; the first also loads and compiles."""
    volume = generator.template
    mask = volume > 0.05
    if not mask.any():
        mask[:] = True
    problem = Problem(generator, volume, mask, "w+", "fixed", 0, Identity(), fit_noise=with_noise)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        problem.objective(problem.synthesize(problem.prior.color(problem.u))).backward()
        if generator.device.type == "cuda":
            torch.cuda.synchronize(generator.device)
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])
