"""Optimise a latent until the generator's volume resembles a scan.

The latent is optimised in whitened coordinates (each principal direction of w in its own standard
deviations), so that one step size suits all; from the encoder's guess where the model has one,
else from the average brain; coarse image levels first, which cost an eighth each. A pull towards
the distribution of w keeps the result a brain of this generator (Abdal et al. 2019, arXiv
1904.03189; Zhu et al. 2020, arXiv 2012.09036).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.devices import fast_dtype
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.generator import Generator, to_display
from stylegan3d.memory import keep_large_blocks
from stylegan3d.networks.synthesis import Noise
from stylegan3d.projection.forward import Operator
from stylegan3d.projection.objective import LatentPrior, multiscale_mse
from stylegan3d.projection.operators import Identity
from stylegan3d.projection.trust import measure_trust
from stylegan3d.scans.aligned import AlignedScan

BUDGETS = {"draft": 60, "standard": 200, "thorough": 600}
LEARNING_RATE = 0.15
PRIOR_WEIGHT = {"w": 2e-4, "w+": 5e-4}
# Share of the steps at each image level from the average brain: a quarter resolution, half, full.
# The encoder's guess has the coarse part right already, so from there all steps are in full.
SCHEDULE = ((-3, 0.35), (-2, 0.3), (-1, 0.35))
CHEAPEST_STEP = 0.06


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
    step, steps : done and in all.
    loss : objective at this step, at the current level.
    level : image level being matched; -1 is full resolution.
    w : [num_layers, w_dim] now.
    seconds : since the start.
    work : share of the whole work that is done, 0 to 1; coarse steps are less work than fine ones.
    """

    step: int
    steps: int
    loss: float
    level: int
    w: Tensor
    seconds: float
    work: float


@dataclass(frozen=True)
class Projection:
    """The result.

    Attributes
    ----------
    w : [num_layers, w_dim] float32 on the CPU.
    volume : (X, Y, Z) float32 in display units, full resolution, float32 throughout.
    trust : how far to believe it: similarity to the scan inside the brain, that of the mean brain
        for comparison, the latent's distance from random brains (1 is typical), and sentences.
    history : one row per step: step, level, loss, seconds.
    finished : False if it was stopped early (the best so far is kept).
    """

    w: Tensor
    volume: np.ndarray
    trust: dict[str, Any]
    history: list[dict[str, float]]
    finished: bool
    seconds: float
    settings: dict[str, Any] = field(default_factory=dict)


def project(
    generator: Generator,
    aligned: Aligned | np.ndarray,
    *,
    space: Literal["w", "w+"] = "w+",
    budget: str = "standard",
    steps: int | None = None,
    noise: Noise = "fixed",
    channel: int = 0,
    operator: Operator | None = None,
    data: Tensor | None = None,
    progress: Callable[[ProjectionState], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Projection:
    """Find the latent whose volume is most like a scan.

    Parameters
    ----------
    aligned : an `AlignedScan`, or its volume (X, Y, Z) in [0, 1] on the generator's grid.
    space : "w" (one latent for all layers: stays closest to what the generator knows) or "w+"
        (one per layer: follows the scan more closely).
    budget : "draft", "standard" or "thorough"; `steps` overrides it.
    noise : the layer noise the result will be shown with.
    channel : the image channel that is matched, of a generator with several.
    operator : what the scan lost on the way from the brain (`projection.operators`): a masked part,
        thick slices, blur. G(w) seen through the operator is compared with the data, and trust is
        measured on what the scan would show. Coarse image levels come first only where the operator
        is defined on them. `restoration.restore` puts the data into the result.
    data : what the operator gave, in its range; by default what the scan holds of it
        (`Operator.observe`).
    progress : called after every step.
    should_stop : asked after every step; if true, the best so far is returned.

    Raises
    ------
    StyleGAN3DError
        If the volume is on another grid or the budget is unknown.
    """
    started = time.perf_counter()
    volume, mask = _target(generator, aligned)
    count = _step_count(budget, steps)
    placed = aligned if isinstance(aligned, AlignedScan) else None
    seen = (operator or Identity()).on(generator.space, placed)
    problem = _Problem(generator, volume, space, noise, channel, seen, data)
    history: list[dict[str, float]] = []
    finished = True
    for state in _optimise(problem, count, started):
        history.append(
            {
                "step": state.step,
                "level": state.level,
                "loss": state.loss,
                "seconds": round(state.seconds, 3),
            }
        )
        if progress is not None:
            progress(state)
        if should_stop is not None and should_stop():
            finished = state.step == state.steps
            break
    w, made = problem.best()
    mean_brain = problem.mean_brain()
    shown = [problem.simulate(brain) for brain in (made, mean_brain)]
    trust = measure_trust(problem.prior, w, *shown, volume, seen.known(mask))
    settings = {"space": space, "steps": count, "noise": noise, "start": problem.start}
    settings |= {"channel": channel} if channel else {}
    settings |= {"operator": seen.describe()} if operator is not None else {}
    seconds = time.perf_counter() - started
    return Projection(w, made, trust, history, finished, seconds, settings)


class _Problem:
    """One projection: the target at every level, the latent being optimised, the best so far."""

    def __init__(
        self,
        generator: Generator,
        volume: np.ndarray,
        space: str,
        noise: Noise,
        channel: int,
        operator: Operator,
        data: Tensor | None,
    ) -> None:
        keep_large_blocks()
        self.generator = generator
        self.space = space
        self.channel = channel
        self.noise = generator.synthesis.noise_maps(noise)
        self.prior = LatentPrior.of(generator)
        self.dtype = fast_dtype(generator.device)
        self.operator = operator
        self.scan = self._image(volume)
        self.target = operator.observe(self.scan) if data is None else data.to(self.scan)
        self.initial = self._initial()
        self.u = self.prior.whiten(self.initial).clone().requires_grad_(True)

    @torch.no_grad()
    def _initial(self) -> Tensor:
        """The encoder's guess or the average brain, whichever is more like the scan; [L or 1, D]"""
        rows = self.generator.num_layers if self.space == "w+" else 1
        average = self.generator.w_avg.expand(rows, -1)
        candidates = {"average": average}
        if self.generator.encoder is not None:
            whole = self.operator.fill(self.scan, self._image(self.mean_brain()))
            guess = self.generator.encoder(whole)[0]
            candidates["encoder"] = guess if rows > 1 else guess.mean(dim=0, keepdim=True)
        losses = {k: float(self._difference(w, -1)) for k, w in candidates.items()}
        self.start = min(losses, key=lambda k: losses[k])
        return candidates[self.start]

    def _image(self, volume: np.ndarray) -> Tensor:
        """(X, Y, Z) in [0, 1] -> [1, 1, X, Y, Z] in [-1, 1]"""
        image = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))
        return image[None, None].to(self.generator.device) * 2 - 1

    @torch.no_grad()
    def simulate(self, brain: np.ndarray) -> np.ndarray:
        """The scan (X, Y, Z) in [0, 1] that a brain would give."""
        if isinstance(self.operator, Identity):
            return brain
        return ((self.operator.simulate(self._image(brain))[0, 0] + 1) / 2).cpu().numpy()

    def rows(self, w: Tensor) -> Tensor:
        """[L or 1, D] -> [L, D]"""
        return w.expand(self.generator.num_layers, -1)

    def _difference(self, w: Tensor, level: int, dtype: torch.dtype | None = None) -> Tensor:
        made = self.generator.synthesis(self.rows(w)[None], self.noise, level, dtype or self.dtype)
        made = made[:, self.channel : self.channel + 1]
        factor = self.scan.shape[2] // made.shape[2]
        operator = self.operator.coarse(factor) if factor > 1 else self.operator
        assert operator is not None  # the plan has no coarse levels then
        target = F.avg_pool3d(self.target, factor) if factor > 1 else self.target
        return multiscale_mse(operator(made), target)

    def loss(self, level: int) -> Tensor:
        """Objective at an image level: difference plus strangeness."""
        prior = self.u.square().mean() * PRIOR_WEIGHT[self.space]
        return self._difference(self.prior.color(self.u), level) + prior

    @torch.no_grad()
    def best(self) -> tuple[Tensor, np.ndarray]:
        """The better of the result and the start at full resolution: [L, D] and its volume."""
        candidates = [self.prior.color(self.u.detach()), self.initial]
        losses = [float(self._difference(w, -1, torch.float32)) for w in candidates]
        w = self.rows(candidates[int(np.argmin(losses))])
        made = self.generator.synthesis(w[None], self.noise, -1, torch.float32)
        return w.detach().cpu().clone(), to_display(made, self.channel)[0]

    @torch.no_grad()
    def mean_brain(self) -> np.ndarray:
        """(X, Y, Z) the average brain in the channel that is matched."""
        if self.channel == 0:
            return self.generator.template
        average = self.rows(self.generator.w_avg[None])
        made = self.generator.synthesis(average[None], "none", -1, torch.float32)
        return to_display(made, self.channel)[0]


def _optimise(problem: _Problem, count: int, started: float) -> Iterator[ProjectionState]:
    fitted = [problem.u, *problem.operator.parameters()]
    optimiser = torch.optim.Adam(fitted, lr=LEARNING_RATE, betas=(0.9, 0.99))
    coarse = problem.start == "average" and problem.operator.coarse(2) is not None
    plan = _plan(problem.generator, count) if coarse else [-1] * count
    # Each halving of the resolution leaves an eighth of the voxels, but overhead never vanishes.
    costs = np.cumsum([max(8.0 ** (level + 1), CHEAPEST_STEP) for level in plan])
    for step, level in enumerate(plan):
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * _rate(step / count)
        optimiser.zero_grad(set_to_none=True)
        loss = problem.loss(level)
        loss.backward()
        optimiser.step()
        w = problem.rows(problem.prior.color(problem.u.detach()))
        seconds = time.perf_counter() - started
        work = float(costs[step] / costs[-1])
        yield ProjectionState(step + 1, count, float(loss.detach()), level, w, seconds, work)


def _plan(generator: Generator, count: int) -> list[int]:
    """The image level of every step: coarse first, as far as the generator has coarse images."""
    available = len(generator.levels)
    plan: list[int] = []
    for level, share in SCHEDULE:
        plan += [max(level, -available)] * math.ceil(share * count)
    return sorted(plan[:count])


def _rate(progress: float) -> float:
    """Ramp up over the first twentieth, half a cosine down over the last quarter."""
    ramp = min(1.0, (progress + 0.01) / 0.05)
    fall = min(1.0, (1 - progress) / 0.25)
    return ramp * (0.5 - 0.5 * math.cos(math.pi * fall))


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


def _step_count(budget: str, steps: int | None) -> int:
    if steps is not None:
        if steps < 1:
            raise StyleGAN3DError(f"A projection needs at least one step, not {steps}.")
        return steps
    if budget not in BUDGETS:
        raise StyleGAN3DError(
            f"The budget '{budget}' is unknown; choose one of {', '.join(BUDGETS)}."
        )
    return BUDGETS[budget]
