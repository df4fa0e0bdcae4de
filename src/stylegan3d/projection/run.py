"""Run state of a projection: clock, history, pause and stop."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from stylegan3d.geometry.intensity import to_display
from stylegan3d.progress import Progress
from stylegan3d.projection.problem import Problem
from stylegan3d.projection.search import Step
from stylegan3d.projection.settings import PHASES, Phase

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


class Run:
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
        steps: Iterable[Step],
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

    def _report(self, step: Step, problem: Problem, phase: Phase, work: float) -> None:
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
