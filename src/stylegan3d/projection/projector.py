"""Projection: find the latent whose volume is most similar to a scan.

The projection pipeline, from scan to reconstruction, for window, command line and cohort.

    read_scan -> Scan.align -> place -> search (judge) -> save_projection

Each step is a function of values: the window runs them one by one and keeps the results, the
command line runs them in sequence (`cohort.work`). The result is a `ProjectionRun`, from which
files are written (`outputs.projections`) and panels filled. The tissue network runs once on the
scan and once on the reconstruction.
"""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from stylegan3d.base import SILENT, Doubt, Json, Progress, RecipeError, StyleGAN3DError
from stylegan3d.devices import wait_for
from stylegan3d.geometry.space import Shown
from stylegan3d.measures.attributes import Tissues, read_tissues
from stylegan3d.model.generator import Generator
from stylegan3d.projection import scanner
from stylegan3d.projection.assessment import Assessment, Yardstick, assess
from stylegan3d.projection.calibration import open_site
from stylegan3d.projection.forward import Mask, Masked, Operator
from stylegan3d.projection.operators import Identity, parse
from stylegan3d.projection.problem import Problem
from stylegan3d.projection.search import (
    COST,
    ORIGINAL_STEPS,
    OriginalSearch,
    OwnNoise,
    Search,
    SearchRun,
    Tuning,
    asks_own_noise,
    costs,
    finds_own_noise,
    fits_layer_noise,
    plan,
    tuning_cost,
)
from stylegan3d.projection.settings import BUDGETS, QUICK, TUNED, USUAL, Choices, Method, Space
from stylegan3d.projection.signs import first_guess
from stylegan3d.recipe.keyframes import Moment
from stylegan3d.recipe.latents import Delta, Latent
from stylegan3d.recipe.model import Noise, seed_latents
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.render.editable import CarriedDetail, Original
from stylegan3d.render.recipes import EditedScan, edited_moment
from stylegan3d.render.renderer import Renderer
from stylegan3d.scans import Scan, read_scan
from stylegan3d.scans.aligned import AlignedScan
from stylegan3d.scans.pose import NO_POSE, Pose, parse_pose
from stylegan3d.scans.verdicts import VERDICTS, withheld
from stylegan3d.settings.option import check_options
from stylegan3d.storage.checked import answering
from stylegan3d.storage.encoding import short_repr

# Budgets of a projection and its estimated duration.

# Starting from the average brain takes so many times as many, most at coarse resolution.
FROM_AVERAGE = 3
# Overhead besides steps: start and result are rendered and compared with the scan.
AROUND = 6.0
#: What a scan is read with.
READING = ("volume", "series", "orientation")
#: How far values of a volume may lie outside [0, 1]: vessels are brighter than tissue.
OUTSIDE, MOST_ABOVE = 0.05, 4.0
#: Volumes of a mask that differ by less are written as one.
SAME_ML = 0.05

_measured: WeakKeyDictionary[Generator, dict[bool, float]] = WeakKeyDictionary()


def step_count(budget: str, steps: int | None, start: str, method: str) -> int:
    """Search steps from a `start`, "encoder" or "average"; `steps` overrides the budget."""
    if steps is not None:
        return steps
    if method == "original":
        return ORIGINAL_STEPS
    return BUDGETS[budget] * (FROM_AVERAGE if start == "average" else 1)


@answering
def estimate_seconds(
    generator: Generator,
    budget: str = Choices.budget,
    space: Space = Choices.space,
    method: Method = Choices.method,
) -> float:
    """How long `project` will take on this machine, from the time of one step.

    Measured on the average brain, once per generator.

    Raises
    ------
    StyleGAN3DError
        If budget, space or method are unknown.
    """
    check_options(Choices(space=space, budget=budget, method=method))
    with_noise = fits_layer_noise(generator, space, method)
    known = _measured.setdefault(generator, {})
    if with_noise not in known:
        known[with_noise] = _step_seconds(generator, with_noise)
    if method == "original":
        return known[with_noise] * (ORIGINAL_STEPS + AROUND)
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
        wait_for(generator.device)
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


# Checks before a projection starts.

# A generator may have learned to ignore noise; its maps are then not worth fitting.
LEAST_NOISE = 2e-3


@runtime_checkable
class Aligned(Protocol):
    """A volume to project, on the generator's grid, with its brain mask."""

    @property
    def volume(self) -> np.ndarray:
        """(X, Y, Z) in [0, 1]."""

    @property
    def brain_mask(self) -> np.ndarray:
        """(X, Y, Z) bool."""


def check_scan(
    generator: Generator, aligned: Aligned | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Volume and brain mask; StyleGAN3DError if they cannot be projected."""
    if isinstance(aligned, np.ndarray):
        volume, mask = aligned, aligned > 0.05
    elif isinstance(aligned, Aligned):
        volume, mask = aligned.volume, aligned.brain_mask.astype(bool)
    else:
        raise StyleGAN3DError(f"Project a scan, its path or an array, not {short_repr(aligned)}.")
    if volume.shape != generator.shape:
        raise StyleGAN3DError(
            f"The volume has {volume.shape} voxels, but this generator makes {generator.shape}; "
            "align the scan to the generator first."
        )
    low, high = float(np.min(volume)), float(np.max(volume))
    if low < -OUTSIDE or high > 1 + MOST_ABOVE:
        raise StyleGAN3DError(
            f"The volume has values from {low:.3g} to {high:.3g}: give it in [0, 1], such as "
            "(G.synthesize(w) + 1) / 2."
        )
    if not np.isfinite(volume).all() or not mask.any():
        raise StyleGAN3DError("The volume to project is empty or not finite; check the scan.")
    return volume, mask


def check_choices(generator: Generator, choices: Choices, noise: Noise = "fixed") -> None:
    """Raise StyleGAN3DError for unknown options, or ones that do not fit together or the model."""
    check_options(choices)
    Recipe(noise=noise, channel=choices.channel).check(generator)
    if choices.budget in TUNED and choices.method != "original":
        generator.require("tuning")
    if not fits_layer_noise(generator, choices.space, choices.method):
        return
    generator.require("noise_maps")
    if noise != "fixed":
        raise StyleGAN3DError(
            "Noise maps are fitted to the scan and shown as fixed noise; leave the noise fixed."
        )
    if choices.method != "original" and noise_effect(generator) < LEAST_NOISE:
        raise StyleGAN3DError(
            f"Layer noise hardly changes the images of '{generator.name}', so fitting it is of no "
            "use; choose the space w+."
        )


@torch.no_grad()
def noise_effect(generator: Generator) -> float:
    """Root mean square change of the average brain, in [-1, 1], by the stored noise."""
    w = generator.w_avg.expand(1, generator.num_layers, -1)
    change = generator.synthesize(w, "fixed") - generator.synthesize(w, "none")
    return float(change.square().mean().sqrt())


@dataclass(frozen=True, repr=False)
class ProjectionResult(Shown):
    """The result of a projection.

    Attributes
    ----------
    w : Tensor, shape (num_layers, w_dim), float32
        On the CPU.
    volume : ndarray, shape (X, Y, Z), float32
        In display units, full resolution, float32 throughout.
    assessment : Assessment
        How far to trust the result.
    history : list of dict of str to float
        One row per step: step, level, loss, seconds.
    finished : bool
        False if it was stopped early; the best result so far is kept.
    delta : Delta or None
        Changes of the generator by tuning or fitted noise maps; None if there are none. Needed to
        reproduce the volume from the latent (`Generator.tuned`, `Latent.delta`).
    generator, aligned : Generator, AlignedScan or None
        What was projected into which generator; a volume alone leaves no scan to edit.
    residual_z : ndarray or None
        What stands out in the scan, (X, Y, Z) in units of the usual error; see `residual`. None if
        the model is not calibrated or the scan is incomplete.
    """

    w: Tensor
    volume: np.ndarray
    assessment: Assessment
    history: list[dict[str, float]]
    finished: bool
    seconds: float
    settings: Json = field(default_factory=dict)
    delta: Delta | None = None
    generator: Generator | None = field(default=None, repr=False)
    aligned: AlignedScan | None = field(default=None, repr=False)
    residual_z: np.ndarray | None = field(default=None, repr=False)

    def edited(self, recipe: Recipe) -> EditedScan:
        """The scan itself, edited on its own grid as a recipe says.

        Parameters
        ----------
        recipe : Recipe
            Its mix and edits are applied to this projection, whatever source it names; a strength
            of its detail below 1 lets the model's brain show through.

        Raises
        ------
        RecipeError
            If the recipe does not fit the generator, or no `AlignedScan` was projected.
        """
        if self.generator is None or self.aligned is None:
            raise RecipeError(
                "Only a scan can be edited, not a volume alone: project what Scan.align returns."
            )
        generator = self.generator
        start = Latent.of(generator, self.w, delta=self.delta)
        moment = Moment(
            recipe.latent(generator, start),
            recipe.delta(generator, start),
            "none" if generator.draws_texture else recipe.noise,
            recipe.channel,
            recipe.detail,
            is_edited_scan=True,
        )
        original = Original.of(self.aligned)
        carried = CarriedDetail(original, generator, self.w, self.delta, recipe.channel)
        return edited_moment(Renderer(generator), carried, moment)

    @property
    def noise_maps(self) -> dict[str, np.ndarray] | None:
        """Changes of the noise maps in `delta`, by name; None if they were not fitted."""
        maps = {} if self.delta is None else self.delta.noise
        return maps or None


def project(
    generator: Generator,
    aligned: Aligned | Scan | np.ndarray | str | Path,
    choices: Choices = USUAL,
    *,
    noise: Noise = "fixed",
    operator: Operator | None = None,
    data: Tensor | None = None,
    start: Tensor | None = None,
    yardstick: Yardstick | None = None,
    progress: Progress = SILENT,
    **changes: Any,
) -> ProjectionResult:
    """Find the latent whose volume is most similar to a scan.

    Parameters
    ----------
    aligned : Aligned, Scan, ndarray, str or Path
        An `AlignedScan`, or its volume (X, Y, Z) in [0, 1] on the generator's grid; a scan, or the
        path of one, is aligned first.
    choices : Choices
        What is searched and how long: `space` "w" (one latent for all layers: most typical of the
        generator), "w+" (one per layer: follows the scan more closely), or "w+noise" (also fits the
        noise maps, or finds the scan's own noise where a flow draws the folds, see `search.py`);
        `budget` "draft", "standard" or "thorough", which also finds the scan's own noise, or tunes
        the generator to the scan (`search.py`) where it has no flow or the scan is degraded;
        `steps`, an exact number of search steps in place of the budget and early stopping;
        `channel`, the image channel to match; `site`, a calibrated site that the scan is judged by;
        `method` "stylegan3d", or for comparison "original", the projector of the original
        3D-StyleGAN: a single w and noise maps, 1,000 steps, without `space` and `budget`.
    changes : object
        Choices by name, such as ``budget="draft"``, in place of those in `choices`.
    noise : Noise
        Layer noise the result will be shown with; "fixed" if noise maps are fitted.
    operator : Operator or None
        Degradation of the scan (`projection.operators`): a masked part, thick slices, blur. The
        operator applied to G(w) is compared with the data, also to assess the result. Coarse image
        levels come first only if the operator is defined on them. `operators.restore` makes the
        result consistent with the data.
    data : Tensor or None
        Data in the operator's range; by default extracted from the scan (`Operator.observe`).
    start : Tensor, shape (num_layers, w_dim), or None
        Start of the search, instead of the encoder's estimate or the average brain.
    yardstick : Yardstick or None
        What the scan is judged by; by default the site's, or else the model's own data.
    progress : Progress
        Told the share of the work that is done after every step, and handed the `ProjectionState`.
        If cancelled, the best result so far is returned; the projection waits while paused.

    Raises
    ------
    StyleGAN3DError
        If the volume is on another grid, or budget, space or method are unknown or incompatible.
    """
    run, choices = SearchRun(progress), choices.changed(changes)
    done = {"uncertainty"} | ({*READING} if not isinstance(aligned, (str, Path)) else set())
    done |= {"skull", "pose"} if not isinstance(aligned, (str, Path, Scan)) else set()
    if idle := sorted(done & changes.keys()):
        raise StyleGAN3DError(
            f"{idle[0]} does nothing here: give volume, series and orientation with a path, skull "
            "and pose with a path or a scan, and call `uncertainty` for repetitions."
        )
    if isinstance(aligned, (str, Path)):
        aligned = read_scan(aligned, choices.volume, choices.series, choices.orientation)
    if isinstance(aligned, Scan):
        how, move = parse_pose(choices.pose)
        aligned = place(aligned.align(generator, skull=choices.skull, pose=how), move)
    space, budget = choices.space, choices.budget
    method, channel = choices.method, choices.channel
    original = method == "original"
    volume, mask = check_scan(generator, aligned)
    check_choices(generator, choices, noise)
    if yardstick is None and choices.site is not None:
        yardstick = open_site(generator, choices.site)
    shown: Noise = "none" if generator.draws_texture else noise
    placed = aligned if isinstance(aligned, AlignedScan) else None
    seen = (operator or Identity()).on(generator.space, placed)
    if space == "w+noise" and generator.has_own_noise and not isinstance(seen, Identity):
        raise StyleGAN3DError(
            "Noise is inverted from the whole scan as it is: choose the space w+ for a degraded or "
            "masked one."
        )
    problem = Problem(
        generator,
        volume,
        mask,
        "w" if original else space,
        shown,
        channel,
        seen,
        data,
        fit_noise=fits_layer_noise(generator, space, method),
        start=start,
    )
    count = step_count(budget, choices.steps, problem.start, method)
    if original:
        # It keeps what it ends with.
        candidates = _found(run, problem, OriginalSearch(problem, count), None)
    else:
        search = Search(problem, count, patient=choices.steps is not None)
        candidates = _found(run, problem, search, _fit_after(problem, space, budget))
        candidates.append((problem.initial, None))
    w, delta, made = problem.best(candidates, shown)
    own_noise = delta is not None and delta.has_own_noise
    mean_brain = problem.mean_brain()
    seen_made, seen_mean = problem.simulate(made), problem.simulate(mean_brain)
    assessment, residual_z = assess(
        problem.prior,
        w,
        seen_made,
        seen_mean,
        volume,
        seen.known(mask),
        generator=generator,
        yardstick=yardstick,
        is_complete=operator is None,
        without_noise=problem.best([(w, None)], shown)[2] if own_noise else None,
        placed=placed,
    )
    settings = {"space": problem.space, "steps": count, "noise": noise, "start": problem.start}
    settings |= {"method": method} if original else {}
    settings |= {"channel": channel} if channel else {}
    settings |= {"operator": seen.describe()} if operator is not None else {}
    settings |= {"changed": sorted(delta.tensors)} if delta is not None else {}
    return ProjectionResult(
        w,
        made,
        assessment,
        run.history,
        run.finished,
        run.seconds,
        settings,
        delta,
        generator,
        placed,
        residual_z,
    )


def _fit_after(problem: Problem, space: str, budget: str) -> Tuning | OwnNoise | None:
    """What is fitted once the latent is found."""
    if finds_own_noise(problem) and asks_own_noise(space, budget):
        return OwnNoise(problem)
    return Tuning(problem) if budget in TUNED else None


def _found(
    run: SearchRun, problem: Problem, search: Search | OriginalSearch, fit: Tuning | OwnNoise | None
) -> list[tuple[Tensor, Delta | None]]:
    """Results of a search and of the fit after it, unless stopped before."""
    after = 0.0 if fit is None else fit.cost
    if not run.follow(search, problem, "search", after):
        search.restore_best()
        return [(problem.w, problem.delta())]
    found = [(problem.w, problem.delta())]
    if fit is not None:
        run.follow(fit, problem, fit.phase, 0.0)
        found.append((problem.w, problem.delta(fit.changed)))
    return found


# Uncertainty of a projection: how much the result depends on the start of the search.
#
# The search is repeated from other starting points, with other layer noise. Where the results
# agree, scan and model determine them; elsewhere the result is one of several solutions. Agreement
# is no proof: what the model cannot represent is missing from all of them.

RESTARTS, NOISE_DRAWS = 4, 2
#: How auxiliary searches are made.
AUXILIARY = Choices(budget=QUICK)
#: Start of a restart: share of the way from the initial estimate to a random brain.
AWAY = 0.5


@dataclass(frozen=True, eq=False, repr=False)
class Uncertainty(Shown):
    """Summary of several searches.

    Attributes
    ----------
    mean, deviation : ndarray, shape (X, Y, Z)
        Mean and standard deviation of all results, in display units.
    latents : Tensor, shape (restarts, num_layers, w_dim)
        Results of the searches.
    noise_draws : int
        Number of renderings of each, with different layer noise.
    seconds : float
        Time taken.
    """

    mean: np.ndarray
    deviation: np.ndarray
    latents: Tensor
    noise_draws: int
    seconds: float


@answering
def uncertainty(
    generator: Generator,
    aligned: Aligned | np.ndarray,
    choices: Choices = AUXILIARY,
    *,
    restarts: int = RESTARTS,
    noise_draws: int = NOISE_DRAWS,
    away: float = AWAY,
    operator: Operator | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
    **changes: Any,
) -> Uncertainty:
    """Project a scan several times from different starting points.

    Parameters
    ----------
    aligned, choices, operator, changes : object
        See `project`; the budget is a draft's by default.
    restarts : int
        Number of searches; each begins at the initial estimate moved by `away` (0 to 1) towards
        another random brain, with its own layer noise.
    noise_draws : int
        Renderings of each result with different noise; 1 if the generator ignores noise.
    seed : int
        Seed of the random brains and the noise.
    progress : Progress
        If cancelled, the searches done so far are summarised if there are two or more.

    Raises
    ------
    StyleGAN3DError
        If there are fewer than two restarts, or `away` is not within 0 to 1.
    """
    if restarts < 2 or not 0 <= away <= 1 or noise_draws < 1:
        raise StyleGAN3DError(
            "The uncertainty needs at least 2 restarts, at least 1 noise draw each, and a start 0 "
            f"to 1 of the way to a random brain, not {restarts}, {noise_draws} and {away}."
        )
    check_scan(generator, aligned)
    began = time.perf_counter()
    draws = noise_draws if generator.has_layer_noise else 1
    choices = choices.changed(changes)
    if generator.has_own_noise and choices.space == "w+noise":
        choices = replace(choices, space="w+")  # with its own noise every result is the scan
    renderer = Renderer(generator)
    starts = _starts(generator, aligned, restarts, away, seed)
    latents: list[Tensor] = []
    volumes: list[np.ndarray] = []
    for number, start in enumerate(starts):
        noise: Noise = seed + number if generator.has_layer_noise else "none"
        found = project(
            generator,
            aligned,
            choices,
            noise="fixed" if choices.space == "w+noise" else noise,
            operator=operator,
            start=start,
            progress=progress.part(number, 1, restarts),
        )
        if progress.cancelled and len(latents) >= 2:
            break
        latents.append(found.w)
        for draw in range(draws):
            shown: Noise = seed + number + restarts * draw if generator.has_layer_noise else "none"
            rendered = renderer.render(found.w, "full", shown, choices.channel, delta=found.delta)
            volumes.append(rendered.volume)
    stack = np.stack(volumes)
    deviation = stack.std(axis=0, ddof=1, dtype=np.float64).astype(np.float32)
    seconds = time.perf_counter() - began
    return Uncertainty(stack.mean(axis=0), deviation, torch.stack(latents), draws, seconds)


def _starts(
    generator: Generator, aligned: Aligned | np.ndarray, count: int, away: float, seed: int
) -> list[Tensor]:
    """[num_layers, w_dim] each."""
    volume = aligned if isinstance(aligned, np.ndarray) else aligned.volume
    random = seed_latents(generator, range(seed, seed + count))
    guess = None
    if volume.shape == generator.shape:
        guess = first_guess(generator, volume, generator.template).w
    begin = generator.w_avg.expand(generator.num_layers, -1) if guess is None else guess
    return list(torch.lerp(begin, random, away))


@dataclass(frozen=True, eq=False)
class ProjectionRun:
    """A projected scan with all intermediate results.

    Attributes
    ----------
    generator : Generator
    found : AlignedScan
        The scan as aligned automatically.
    aligned : AlignedScan
        The scan as projected: with manual pose, and masked parts counted as brain.
    result : ProjectionResult
    operator : Operator or None
        The degradation passed to `project`.
    seconds : dict of str to float
        Duration of each step.
    """

    generator: Generator
    found: AlignedScan
    aligned: AlignedScan
    result: ProjectionResult
    operator: Operator | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def doubts(self) -> list[Doubt]:
        """What is in doubt, of the scan, its alignment and its reconstruction."""
        every = [*self.aligned.doubts, *self.result.assessment["doubts"]]
        said = [one.sentence for one in every if one.kind not in VERDICTS]

        def is_begun(told: str) -> bool:  # a verdict may repeat how a doubt begins
            return any(text != told and text.startswith(told[:-1]) for text in said)

        return [one for one in every if one.kind not in VERDICTS or not is_begun(one.sentence)]


def loss_of(words: str | None, mask: Mask | None = None) -> Operator | None:
    """One operator from `words` (see `operators.parse`) and a mask; None for no degradation."""
    operator = parse(words) if words else None
    if mask is None:
        return operator
    return mask if operator is None else Masked(mask, operator)


def place(
    found: AlignedScan, pose: Pose = NO_POSE, operator: Operator | None = None
) -> AlignedScan:
    """The scan as it will be projected: with manual pose, and masked parts counted as brain.

    A masked part belongs to the brain even if brain extraction excluded it.
    """
    aligned = pose.of(found)
    mask = _mask_in(operator)
    if mask is None:
        return aligned
    bound = mask.on(aligned.space, aligned)
    assert bound.mask is not None
    return replace(aligned, brain_mask=aligned.brain_mask | bound.mask)


def search(
    generator: Generator,
    found: AlignedScan,
    aligned: AlignedScan,
    choices: Choices,
    *,
    operator: Operator | None = None,
    noise: Noise = "fixed",
    progress: Progress = SILENT,
) -> ProjectionRun:
    """Find the latent of a placed scan, and assess the result."""
    started = time.perf_counter()
    result = project(generator, aligned, choices, operator=operator, noise=noise, progress=progress)
    seconds = {"project": time.perf_counter() - started}
    # What the brain lacks is the scan's, and goes where that goes.
    told, kinds = result.assessment["doubts"], scanner.OUTLINE
    aligned = replace(aligned, steps=[*aligned.steps, *(d for d in told if d.kind in kinds)])
    told = [doubt for doubt in told if doubt.kind not in kinds]
    result.assessment["doubts"] = [*told, *_left_out(operator, aligned)]
    return ProjectionRun(generator, found, aligned, result, operator, seconds)


def _left_out(operator: Operator | None, aligned: AlignedScan) -> list[Doubt]:
    """What a mask excluded from the search."""
    mask = _mask_in(operator)
    if mask is None:
        return []
    marked = mask.on(aligned.space, aligned).weights == 0
    size = aligned.space.voxel_ml * int(marked.sum())
    drawn = size if mask.drawn_ml is None else mask.drawn_ml
    sentence = (
        f"The masked region ({drawn:.1f} ml) was excluded from the search and filled in by the "
        "model"
    )
    if abs(size - drawn) >= SAME_ML:
        sentence += f"; all voxels of the model's grid that it touches total {size:.1f} ml"
    return [Doubt("masked", "tell", f"{sentence}.", {"drawn_ml": drawn, "ml": size})]


def _mask_in(operator: Operator | None) -> Mask | None:
    mask = operator.mask if isinstance(operator, Masked) else operator
    return mask if isinstance(mask, Mask) else None


def search_again(
    projected: ProjectionRun, choices: Choices, progress: Progress = SILENT
) -> Uncertainty:
    """Uncertainty from `choices.uncertainty` more searches with other starting points."""
    return uncertainty(
        projected.generator,
        projected.aligned,
        Choices(space=choices.space, budget=QUICK, steps=choices.steps, channel=choices.channel),
        restarts=choices.uncertainty or 2,
        operator=projected.operator,
        progress=progress.part(0, 1, text=lambda _: "Searching again"),
    )


def tissues_of(projected: ProjectionRun, made: np.ndarray) -> dict[str, Tissues]:
    """Tissues of "scan" and "reconstruction"; `made` (X, Y, Z) is the volume that is written.

    A partial scan has no volumes, nor has one that a doubt refuses, and its reconstruction.
    """
    volumes = {"scan": projected.aligned.volume, "reconstruction": made}
    if projected.operator is not None:
        del volumes["scan"]
    space, why = projected.generator.space, withheld(projected.doubts)
    return {name: read_tissues(v, space, withheld=why) for name, v in volumes.items()}
