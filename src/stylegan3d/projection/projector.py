"""Find the latent whose volume is most like a scan: the search, and what comes after it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from torch import Tensor

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.generator import Generator, to_display
from stylegan3d.networks.synthesis import Noise
from stylegan3d.projection.budgets import TUNED, check_budget, step_count
from stylegan3d.projection.forward import Operator
from stylegan3d.projection.operators import Identity
from stylegan3d.projection.original import OriginalSearch
from stylegan3d.projection.pivotal import Tuning, tuning_cost
from stylegan3d.projection.problem import Problem
from stylegan3d.projection.search import Search, Step
from stylegan3d.projection.trust import Trust, measure_trust
from stylegan3d.scans.aligned import AlignedScan
from stylegan3d.tuning import Delta

Space = Literal["w", "w+", "w+noise"]
Method = Literal["stylegan3d", "original"]
SPACES, METHODS = ("w", "w+", "w+noise"), ("stylegan3d", "original")
# While a projection is paused it looks so often, in seconds, whether it shall go on.
GLANCE = 0.05


class Aligned(Protocol):
    """What is projected: a volume on the generator's grid and where its brain is."""

    @property
    def volume(self) -> np.ndarray:
        """(X, Y, Z) in [0, 1]."""
        ...

    @property
    def brain_mask(self) -> np.ndarray:
        """(X, Y, Z) bool."""
        ...


@dataclass(frozen=True)
class ProjectionState:
    """Where a projection stands.

    Attributes
    ----------
    step, steps : done and in all, as far as is known: fewer come if more do not pay.
    phase : "search" for the latent, or "tuning" of the generator.
    loss : objective at this step, at the current level.
    level : image level being matched; -1 is full resolution.
    w : [num_layers, w_dim] now.
    made : [1, 1, X, Y, Z] in [-1, 1]: the image that was compared at this step.
    seconds : since the start, without pauses.
    work : share of the whole work that is done, 0 to 1; coarse steps are less work than fine ones.
    """

    step: int
    steps: int
    phase: Literal["search", "tuning"]
    loss: float
    level: int
    w: Tensor
    made: Tensor
    seconds: float
    work: float

    @property
    def volume(self) -> np.ndarray:
        """(X, Y, Z) what there is to see, in display units; at the level's resolution."""
        return to_display(self.made)[0]


@dataclass(frozen=True)
class Projection:
    """The result.

    Attributes
    ----------
    w : [num_layers, w_dim] float32 on the CPU.
    volume : (X, Y, Z) float32 in display units, full resolution, float32 throughout.
    trust : how far to believe it, see `trust.Trust`.
    history : one row per step: step, level, loss, seconds.
    finished : False if it was stopped early (the best so far is kept).
    delta : what was changed in the generator, by tuning or by fitting the noise maps; None if
        nothing. The latent shows the volume together with it (`Generator.tuned`, `Latent.delta`).
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
    space: Space = "w+",
    budget: str = "standard",
    steps: int | None = None,
    noise: Noise = "fixed",
    channel: int = 0,
    operator: Operator | None = None,
    data: Tensor | None = None,
    method: Method = "stylegan3d",
    progress: Callable[[ProjectionState], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    should_pause: Callable[[], bool] | None = None,
) -> Projection:
    """Find the latent whose volume is most like a scan.

    Parameters
    ----------
    aligned : an `AlignedScan`, or its volume (X, Y, Z) in [0, 1] on the generator's grid.
    space : "w" (one latent for all layers: stays closest to what the generator knows), "w+" (one
        per layer: follows the scan more closely), or "w+noise" (and the noise maps of the layers).
    budget : "draft", "standard" or "thorough"; after the latter the generator is tuned to the scan
        (`pivotal.py`).
    steps : exactly so many steps of the search, whatever the budget, even if they do not pay.
    noise : the layer noise the result will be shown with; "fixed" where noise maps are fitted.
    channel : the image channel that is matched, of a generator with several.
    operator : what the scan lost on the way from the brain (`projection.operators`): a masked part,
        thick slices, blur. G(w) seen through the operator is compared with the data, and trust is
        measured on what the scan would show. Coarse image levels come first only where the operator
        is defined on them. `restoration.restore` puts the data into the result.
    data : what the operator gave, in its range; by default what the scan holds of it
        (`Operator.observe`).
    method : "stylegan3d", or "original" for the projector of the original 3D-StyleGAN, for
        comparison: a single w and noise maps, 1,000 steps (`original.py`); it takes no `space` and
        no `budget`.
    progress : called after every step.
    should_stop : asked after every step; if true, the best so far is returned.
    should_pause : asked after every step; the projection waits as long as it is true.

    Raises
    ------
    StyleGAN3DError
        If the volume is on another grid, or budget, space or method are unknown or do not go
        together.
    """
    run = _Run(progress, should_stop, should_pause)
    original = method == "original"
    volume, mask = _target(generator, aligned)
    _check_choices(generator, space, budget, method, noise)
    placed = aligned if isinstance(aligned, AlignedScan) else None
    seen = (operator or Identity()).on(generator.space, placed)
    problem = Problem(
        generator,
        volume,
        mask,
        "w" if original else space,
        noise,
        channel,
        seen,
        data,
        fit_noise=original or space == "w+noise",
    )
    count = step_count(budget, steps, problem.start, method)
    tuned = budget in TUNED and not original
    after = tuning_cost(generator.synthesis) if tuned else 0.0
    search = (
        OriginalSearch(problem, count)
        if original
        else Search(problem, count, patient=steps is not None)
    )
    candidates: list[tuple[Tensor, Delta | None]] = []
    if run.follow(search, problem, "search", after):
        candidates.append((problem.w, problem.delta()))
        if tuned:
            tuning = Tuning(problem)
            run.follow(tuning, problem, "tuning", 0.0)
            candidates.append((problem.w, problem.delta(tuning.changed)))
    else:
        search.restore_best()
        candidates.append((problem.w, problem.delta()))
    # The original keeps what it ends with.
    candidates += [] if original else [(problem.initial, None)]
    w, delta, made = problem.best(candidates, noise)
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


class _Run:
    """Follows the phases of a projection: clock, history, pause and stop."""

    def __init__(
        self,
        progress: Callable[[ProjectionState], None] | None,
        should_stop: Callable[[], bool] | None,
        should_pause: Callable[[], bool] | None,
    ) -> None:
        self._progress, self._stop, self._pause = progress, should_stop, should_pause
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
        steps: Iterable[Step],
        problem: Problem,
        phase: Literal["search", "tuning"],
        after: float,
    ) -> bool:
        """Take the steps of a phase, `after` it so much work remains; False if it was stopped."""
        cost = 0.0
        for step in steps:
            cost = step.cost
            done = self._work + cost
            remaining = step.left + after
            self._tell(step, problem, phase, done / (done + remaining))
            if self._wait() and remaining > 0:
                self.finished = False
                return False
        self._work += cost
        return True

    def _tell(
        self, step: Step, problem: Problem, phase: Literal["search", "tuning"], work: float
    ) -> None:
        number, seconds = len(self.history) + 1, self.seconds
        self.history.append(
            {
                "step": number,
                "level": step.level,
                "loss": step.loss,
                "seconds": round(seconds, 3),
            }
        )
        if self._progress is not None:
            steps = number + step.steps_left
            self._progress(
                ProjectionState(
                    number,
                    steps,
                    phase,
                    step.loss,
                    step.level,
                    problem.w,
                    step.made,
                    seconds,
                    work,
                )
            )

    def _wait(self) -> bool:
        """Wait while it is paused; whether to stop."""
        paused = time.perf_counter()
        stop = self._stop is not None and self._stop()
        while not stop and self._pause is not None and self._pause():
            time.sleep(GLANCE)
            stop = self._stop is not None and self._stop()
        self._started += time.perf_counter() - paused
        return stop


def _check_choices(
    generator: Generator, space: str, budget: str, method: str, noise: Noise
) -> None:
    """StyleGAN3DError for choices that do not exist or do not go together."""
    check_budget(budget)
    for name, value, known in (("space", space, SPACES), ("method", method, METHODS)):
        if value not in known:
            raise StyleGAN3DError(
                f"The {name} '{value}' is unknown; choose one of {', '.join(known)}."
            )
    if space != "w+noise" and method != "original":
        return
    if noise != "fixed":
        raise StyleGAN3DError(
            "Noise maps are fitted to the scan and shown as fixed noise; leave the noise fixed."
        )
    if not generator.has_noise:
        raise StyleGAN3DError(
            f"Layer noise changes nothing in the images of '{generator.name}', so there is nothing "
            "to fit; choose the space w+."
        )


def _target(generator: Generator, aligned: Aligned | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(aligned, np.ndarray):
        volume, mask = aligned, aligned > 0.05
    else:
        volume, mask = aligned.volume, aligned.brain_mask.astype(bool)
    if volume.shape != generator.shape:
        raise StyleGAN3DError(
            f"The volume has {volume.shape} voxels, but this generator makes {generator.shape}; "
            "align the scan to the generator first."
        )
    if not np.isfinite(volume).all() or not mask.any():
        raise StyleGAN3DError("The volume to project is empty or not finite; check the scan.")
    return volume, mask
