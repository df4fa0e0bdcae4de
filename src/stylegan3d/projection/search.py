"""The search of a projection: gradient descent on the latent, coarse to fine.

From the encoder's estimate, whose coarse structure is right, all steps are at full resolution; from
the average brain the first are at a quarter, then at half resolution, each level costing an eighth
of the next. A prior on w keeps the result typical of the generator (Abdal et al. 2019, arXiv
1904.03189; Zhu et al. 2020, arXiv 2012.09036).

Pivotal tuning: adapt the generator slightly, so that the latent reproduces the scan.

After Roich et al. 2021 (arXiv 2106.05744): the latent stays fixed as the pivot and weights are
fitted around it. The choice of weights decides what edits do afterwards. If a generator has a
learned constant in the common anatomy, that is tuned: edits then deform it together with what was
tuned. In other generators the weights of the last level are tuned, which leaves structure alone.

A scan's own noise: the flow of a generator run backwards.

A random brain starts as a mixture of subjects in the common anatomy, A_w + noise, is deformed by
phi_w, and a flow F turns it into a brain with clean folds. For a scan S the equation

    F(finished((A_w + n)(phi_w(x)))) = S(x)

is solved for the noise n, which stays in the common anatomy: an edit of w deforms it, and the flow
draws the folds anew where they then lie. The flow adds a small velocity to its input, so the
fixed-point iteration n <- n + a (S - F)(phi_w^-1) converges (as residual networks are inverted:
Behrmann et al. 2019, arXiv 1811.00995), with smaller steps a in the few places where the velocity
is not small, and needs no gradients.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.base import Json, Progress
from stylegan3d.devices import eager
from stylegan3d.geometry.space import to_display
from stylegan3d.model.generator import Generator, network_of, with_state
from stylegan3d.networks.deformation import exponential, read_at
from stylegan3d.networks.memo import NoMemo
from stylegan3d.networks.resampling import along_axes, haar, inverse_haar
from stylegan3d.networks.synthesis import Inputs, LeveledSynthesis, grid_of
from stylegan3d.projection.forward import conjugate_gradients
from stylegan3d.projection.operators import Identity
from stylegan3d.projection.problem import Problem
from stylegan3d.projection.settings import PHASES, TUNED, Phase
from stylegan3d.recipe.latents import CONSTANT, OPENED

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
        optimiser = eager(torch.optim.Adam)(groups, lr=size, betas=(0.9, 0.99))
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
        optimiser = eager(torch.optim.Adam)(fitted, lr=ORIGINAL_RATE, betas=(0.9, 0.999), eps=1e-8)
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
        self, steps: Iterable[SearchStep], problem: Problem, phase: Phase, after: float
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
            {"step": number, "level": step.level, "loss": step.loss, "seconds": round(seconds, 3)}
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


# Linear solves alternate with syntheses, since the tone curve is not linear.
ROUNDS, ITERATIONS = 2, 8
# Weight of the squared change relative to the squared difference. The less is changed, the better
# edits work: with 0.1 the scan is reproduced almost perfectly (35 dB), but a step along "Grey
# matter" has a third of its effect; with 0.5 it is 28 dB and 70 %.
RIDGE = 0.5
# A voxel that the tone curve clips to black would have slope 0 and never change.
LEAST_SLOPE = 0.5
# Cost of a round in search steps, measured on the bundled generator.
ROUND_COST = 6.0
# For generators without the constant.
WEIGHT_STEPS, WEIGHT_RATE = 100, 0.01
LOCALITY = 1e-3


class Tuning:
    """Tune by iterating over it; afterwards `changed` holds the weights by name.

    Parameters
    ----------
    problem : Problem
        A problem whose latent is found before the first step.
    """

    phase: Phase = "tuning"

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.cost = tuning_cost(problem.generator)
        self.changed: dict[str, Tensor] = {}
        self._synthesis = network_of(problem.generator)

    @property
    def _w(self) -> Tensor:
        return self.problem.w.detach()

    def __iter__(self) -> Iterator[SearchStep]:
        network = self._synthesis
        if self.problem.operator.linear and has_constant(network):
            yield from self._tune_constant(network)
        else:
            yield from self._tune_weights()

    @torch.no_grad()
    def _tune_constant(self, synthesis: LeveledSynthesis) -> Iterator[SearchStep]:
        """Fit the constant by least squares with conjugate gradients (Gauss-Newton).

        The image depends on the constant nearly linearly (except through the tone curve at the
        dark end), so solves alternate with syntheses that give the remaining residual.
        """
        problem = self.problem
        change, points = torch.zeros_like(problem.scan), self._points(synthesis)
        made, slope = self._finished(synthesis, points)
        for done in range(1, ROUNDS + 1):
            rest = problem.target - problem.operator(made)
            change = change + _ridge(self._reader(points, slope), rest, change)
            self.changed = {CONSTANT: synthesis.image_const + self._banded(change)}
            made, slope = self._finished(with_state(synthesis, self.changed), points)
            left = (ROUNDS - done) * ROUND_COST
            loss = float(problem.difference(made))
            yield SearchStep(loss, -1, made, done * ROUND_COST, left, ROUNDS - done)

    def _tune_weights(self) -> Iterator[SearchStep]:
        """Gradient descent on the weights of the last level, kept close to their old values."""
        problem, network = self.problem, self._synthesis
        before = last_level(network)
        leaves = {k: nn.Parameter(v.detach().clone()) for k, v in before.items()}
        network = with_state(network, leaves)
        optimiser = eager(torch.optim.Adam)(leaves.values(), lr=WEIGHT_RATE, betas=(0.9, 0.99))
        for step in range(WEIGHT_STEPS):
            optimiser.param_groups[0]["lr"] = WEIGHT_RATE * rate(step, WEIGHT_STEPS, WEIGHT_STEPS)
            optimiser.zero_grad(set_to_none=True)
            made = problem.synthesize(self._w, -1, problem.dtype, network)
            moved = torch.stack([F.mse_loss(v, before[k]) for k, v in leaves.items()]).mean()
            loss = problem.difference(made) + LOCALITY * moved
            loss.backward()
            optimiser.step()
            self.changed = {k: v.detach() for k, v in leaves.items()}
            left = WEIGHT_STEPS - step - 1
            yield SearchStep(float(loss.detach()), -1, made.detach(), step + 1, left, left)

    def _points(self, synthesis: LeveledSynthesis) -> Tensor | None:
        """Position of each voxel in the common anatomy; None without a deformation."""
        if not synthesis.config.num_velocities:
            return None
        return synthesis.points_of(self._w[None], grid_of(self.problem.scan))

    def _finished(
        self, synthesis: LeveledSynthesis, points: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The image, and the slope of the tone curve at each voxel, at least `LEAST_SLOPE`."""
        channel, config, maps = self.problem.channel, synthesis.config, self.problem.maps
        image = synthesis.canonical(self._w[None], maps)
        image = inverse_haar(image) if config.head == "haar" else image
        image = image[:, channel : channel + 1]
        if points is None:
            return image, torch.ones_like(image)
        with torch.enable_grad():
            moved = read_at(image, points).detach().requires_grad_(True)
            made = synthesis.finished(moved)
            (slope,) = torch.autograd.grad(made.sum(), moved)
        # The flow, if any, adds nothing to the latent of a scan.
        made = made.detach()
        if synthesis.last_flow is not None:
            made = synthesis.flowed(made, Inputs(self._w[None], maps, torch.float32, NoMemo()))
        return made, slope.clamp(min=LEAST_SLOPE)

    def _reader(self, points: Tensor | None, slope: Tensor) -> Callable[[Tensor], Tensor]:
        """The effect of a small change in the common anatomy on the data, as a function."""

        def read(change: Tensor) -> Tensor:
            moved = change if points is None else read_at(change, points)
            return self.problem.operator(slope * moved)

        return read

    def _banded(self, change: Tensor) -> Tensor:
        """An image [1, 1, X, Y, Z] as a change of the constant [C * bands, ...]."""
        config, channel = self._synthesis.config, self.problem.channel
        bands = haar(change)[0] if config.head == "haar" else change[0]
        whole = bands.new_zeros(len(bands), config.image_channels, *bands.shape[1:])
        whole[:, channel] = bands
        return whole.flatten(0, 1)


def has_constant(synthesis: LeveledSynthesis) -> bool:
    """Whether a network adds a learned constant image, in a common anatomy if it has layers."""
    config = synthesis.config
    return config.image_const and bool(config.num_velocities or not config.channels)


def tuning_cost(generator: Generator) -> float:
    """Cost of tuning, in search steps."""
    return ROUNDS * ROUND_COST if has_constant(network_of(generator)) else WEIGHT_STEPS


def last_level(synthesis: LeveledSynthesis) -> dict[str, Tensor]:
    """Parameters by name of the last level and its image layer; else of an image layer."""
    last = synthesis.config.num_levels - 1
    image = CONSTANT if has_constant(synthesis) else "image_basis."
    places = (f"levels.{last}.", f"to_rgb.{last}.") if synthesis.config.channels else (image,)
    return {k: v for k, v in synthesis.named_parameters() if k.startswith(places)}


def _ridge(read: Callable[[Tensor], Tensor], rest: Tensor, so_far: Tensor) -> Tensor:
    """The change d that approximately minimises |read(d) - rest|^2 + RIDGE |so_far + d|^2.

    Conjugate gradients on the normal equations; `read` is linear and its adjoint its gradient.
    """

    def normal(d: Tensor) -> Tensor:
        return _pull_back(read, d, None) + RIDGE * d

    right = _pull_back(read, so_far, rest) - RIDGE * so_far
    return conjugate_gradients(normal, right, ITERATIONS)


def _pull_back(read: Callable[[Tensor], Tensor], at: Tensor, data: Tensor | None) -> Tensor:
    """Adjoint of `read` applied to `data`, or to `read(at)` where there is none."""
    with torch.enable_grad():
        image = at.detach().requires_grad_(True)
        seen = read(image)
        (pulled,) = torch.autograd.grad(seen, image, seen.detach() if data is None else data)
    return pulled


NOISE_ITERATIONS, RATE = 24, 0.8
# Voxels to each side of one, in the cube in which it is seen whether a step has helped.
AROUND = 4
# Cost of an iteration and of all in search steps, measured on the bundled generator.
STEP_COST = 1.0
COST = NOISE_ITERATIONS * STEP_COST


class OwnNoise:
    """Find the noise by iterating over it; afterwards `changed` holds the tensors by name.

    Parameters
    ----------
    problem : Problem
        A problem of a generator that `has_own_noise`; its latent is found before the first step.
    """

    phase: Phase = "own noise"
    cost = COST

    def __init__(self, problem: Problem) -> None:
        self.problem, self._network = problem, network_of(problem.generator)
        self.changed: dict[str, Tensor] = {}

    @torch.no_grad()
    def __iter__(self) -> Iterator[SearchStep]:
        problem, network = self.problem, self._network
        w = problem.w.detach()[None]
        x, y, z = problem.scan.shape[2:]
        velocity = network.velocity(w)
        there, back = (network.points(exponential(sign * velocity), (x, y, z)) for sign in (1, -1))
        mixture = inverse_haar(network.canonical(w))
        steps = _Steps(read_at(problem.scan, back) - mixture)
        nearest: float | None = None
        for done in range(1, NOISE_ITERATIONS + 1):
            made = self._drawn(mixture + steps.noise, there)
            loss = float(problem.difference(made))
            if nearest is None or loss < nearest:
                nearest = loss
                self.changed = {
                    CONSTANT: network.image_const + haar(steps.noise)[0],
                    OPENED: torch.ones_like(network.flow.opened),
                }
            left = NOISE_ITERATIONS - done
            yield SearchStep(loss, -1, made, done * STEP_COST, left * STEP_COST, left)
            steps.take(read_at(problem.scan - made, back))

    def _drawn(self, image: Tensor, points: Tensor) -> Tensor:
        """The brain of an image in the common anatomy, after deformation and flow."""
        network = self._network
        before = network.finished(read_at(image, points))
        return network.flow(before, None, network.config.flow_steps)


class _Steps:
    """The iteration, which goes back and takes smaller steps wherever the difference grows.

    Parameters
    ----------
    noise : Tensor, shape (1, 1, X, Y, Z)
        To begin with.
    """

    def __init__(self, noise: Tensor) -> None:
        self.noise = noise
        self._kept, self._rest = noise, torch.zeros_like(noise)
        self._least = torch.full_like(noise, torch.inf)
        self._rate = torch.full_like(noise, RATE)
        self._around = [noise.new_ones(n, n).tril(AROUND).triu(-AROUND) for n in noise.shape[2:]]

    def take(self, rest: Tensor) -> None:
        """Take a step, with the difference from the scan that the noise leaves."""
        size = along_axes(rest.square(), self._around)
        helped = size <= self._least
        self._kept = torch.where(helped, self.noise, self._kept)
        self._rest = torch.where(helped, rest, self._rest)
        self._least = torch.minimum(size, self._least)
        self._rate = torch.where(helped, self._rate, self._rate / 2)
        self.noise = self._kept + self._rate * self._rest


def asks_own_noise(space: str, budget: str) -> bool:
    """Whether these choices ask for a scan's own noise, where it can be found."""
    return space == "w+noise" or budget in TUNED


def fits_layer_noise(generator: Generator, space: str, method: str) -> bool:
    """Whether these choices fit the noise maps of layers, as where no own noise can be found."""
    return method == "original" or (space == "w+noise" and not generator.has_own_noise)


def finds_own_noise(problem: Problem) -> bool:
    """Whether it can be found for a scan: only where nothing of it is hidden or degraded."""
    return problem.generator.has_own_noise and isinstance(problem.operator, Identity)
