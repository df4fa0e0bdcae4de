"""Find the latent whose volume is most like a scan: the search, and what comes after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from stylegan3d.model.generator import Generator
from stylegan3d.networks.noise import Noise
from stylegan3d.projection.budgets import step_count
from stylegan3d.projection.checks import Aligned, check_choices, check_scan
from stylegan3d.projection.forward import Operator
from stylegan3d.projection.operators import Identity
from stylegan3d.projection.original import OriginalSearch
from stylegan3d.projection.pivotal import Tuning, tuning_cost
from stylegan3d.projection.problem import Problem
from stylegan3d.projection.run import ProjectionState, Run
from stylegan3d.projection.search import Search
from stylegan3d.projection.trust import Trust, measure_trust
from stylegan3d.recipe.delta import Delta
from stylegan3d.scans.aligned import AlignedScan
from stylegan3d.settings.projection import TUNED, Choices, Method, Space


@dataclass(frozen=True)
class Projection:
    """The result.

    Attributes
    ----------
    w : Tensor, shape (num_layers, w_dim), float32
        On the CPU.
    volume : ndarray, shape (X, Y, Z), float32
        In display units, full resolution, float32 throughout.
    trust : Trust
        How far to believe it, see `trust.Trust`.
    history : list of dict of str to float
        One row per step: step, level, loss, seconds.
    finished : bool
        False if it was stopped early (the best so far is kept).
    delta : Delta or None
        What was changed in the generator, by tuning or by fitting the noise maps; None if nothing.
        The latent shows the volume together with it (`Generator.tuned`, `Latent.delta`).
    """

    w: Tensor
    volume: np.ndarray
    trust: Trust
    history: list[dict[str, float]]
    finished: bool
    seconds: float
    settings: dict[str, Any] = field(default_factory=dict)
    delta: Delta | None = None

    @property
    def noise_maps(self) -> dict[str, np.ndarray] | None:
        """The part of `delta` that belongs to the noise maps, by name; None if they were kept."""
        maps = {} if self.delta is None else self.delta.noise
        return maps or None


def project(
    generator: Generator,
    aligned: Aligned | np.ndarray,
    *,
    space: Space = Choices.space,
    budget: str = Choices.budget,
    steps: int | None = None,
    noise: Noise = "fixed",
    channel: int = 0,
    operator: Operator | None = None,
    data: Tensor | None = None,
    method: Method = Choices.method,
    start: Tensor | None = None,
    progress: Callable[[ProjectionState], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    should_pause: Callable[[], bool] | None = None,
) -> Projection:
    """Find the latent whose volume is most like a scan.

    Parameters
    ----------
    aligned : Aligned or ndarray
        An `AlignedScan`, or its volume (X, Y, Z) in [0, 1] on the generator's grid.
    space : Space
        "w" (one latent for all layers: stays closest to what the generator knows), "w+" (one per
        layer: follows the scan more closely), or "w+noise" (and the noise maps of the layers).
    budget : str
        "draft", "standard" or "thorough"; after the latter the generator is tuned to the scan
        (`pivotal.py`).
    steps : int or None
        Exactly so many steps of the search, whatever the budget, even if they do not pay.
    noise : Noise
        The layer noise the result will be shown with; "fixed" where noise maps are fitted.
    channel : int
        The image channel that is matched, of a generator with several.
    operator : Operator or None
        What the scan lost on the way from the brain (`projection.operators`): a masked part, thick
        slices, blur. G(w) seen through the operator is compared with the data, and trust is
        measured on what the scan would show. Coarse image levels come first only where the operator
        is defined on them. `restoration.restore` puts the data into the result.
    data : Tensor or None
        What the operator gave, in its range; by default what the scan holds of it
        (`Operator.observe`).
    method : Method
        "stylegan3d", or "original" for the projector of the original 3D-StyleGAN, for comparison: a
        single w and noise maps, 1,000 steps (`original.py`); it takes no `space` and no `budget`.
    start : Tensor, shape (num_layers, w_dim), or None
        Where the search begins, instead of the encoder's guess or the average brain.
    progress : callable or None
        Called after every step.
    should_stop : callable or None
        Asked after every step; if true, the best so far is returned.
    should_pause : callable or None
        Asked after every step; the projection waits as long as it is true.

    Raises
    ------
    StyleGAN3DError
        If the volume is on another grid, or budget, space or method are unknown or do not go
        together.
    """
    run = Run(progress, should_stop, should_pause)
    original = method == "original"
    volume, mask = check_scan(generator, aligned)
    check_choices(generator, space, budget, method, noise)
    shown: Noise = "none" if generator.draws_texture else noise
    placed = aligned if isinstance(aligned, AlignedScan) else None
    seen = (operator or Identity()).on(generator.space, placed)
    problem = Problem(
        generator,
        volume,
        mask,
        "w" if original else space,
        shown,
        channel,
        seen,
        data,
        fit_noise=original or space == "w+noise",
        start=start,
    )
    count = step_count(budget, steps, problem.start, method)
    if original:
        # It keeps what it ends with.
        candidates = _found(run, problem, OriginalSearch(problem, count), tune=False)
    else:
        search = Search(problem, count, patient=steps is not None)
        candidates = _found(run, problem, search, tune=budget in TUNED)
        candidates.append((problem.initial, None))
    w, delta, made = problem.best(candidates, shown)
    mean_brain = problem.mean_brain()
    seen_made, seen_mean = problem.simulate(made), problem.simulate(mean_brain)
    known = seen.known(mask)
    trust = measure_trust(
        problem.prior, w, seen_made, seen_mean, volume, known, generator=generator
    )
    settings = {"space": problem.space, "steps": count, "noise": noise, "start": problem.start}
    settings |= {"method": method} if original else {}
    settings |= {"channel": channel} if channel else {}
    settings |= {"operator": seen.describe()} if operator is not None else {}
    settings |= {"changed": sorted(delta.tensors)} if delta is not None else {}
    return Projection(w, made, trust, run.history, run.finished, run.seconds, settings, delta)


def _found(
    run: Run, problem: Problem, search: Search | OriginalSearch, *, tune: bool
) -> list[tuple[Tensor, Delta | None]]:
    """The results of a search and of the tuning after it, as far as they were not stopped."""
    after = tuning_cost(problem.generator) if tune else 0.0
    if not run.follow(search, problem, "search", after):
        search.restore_best()
        return [(problem.w, problem.delta())]
    found = [(problem.w, problem.delta())]
    if tune:
        tuning = Tuning(problem)
        run.follow(tuning, problem, "tuning", 0.0)
        found.append((problem.w, problem.delta(tuning.changed)))
    return found
