"""Projection: find the latent whose volume is most similar to a scan."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from stylegan3d.errors import RecipeError, StyleGAN3DError
from stylegan3d.model.generator import Generator
from stylegan3d.networks.noise import Noise
from stylegan3d.plain import Json
from stylegan3d.progress import SILENT, Progress
from stylegan3d.projection.assessment import Assessment, Yardstick, assess
from stylegan3d.projection.budgets import step_count
from stylegan3d.projection.checks import Aligned, check_choices, check_scan
from stylegan3d.projection.forward import Operator
from stylegan3d.projection.operators import Identity
from stylegan3d.projection.original import OriginalSearch
from stylegan3d.projection.own_noise import (
    OwnNoise,
    asks_own_noise,
    finds_own_noise,
    fits_layer_noise,
)
from stylegan3d.projection.pivotal import Tuning
from stylegan3d.projection.problem import Problem
from stylegan3d.projection.run import Run
from stylegan3d.projection.search import Search
from stylegan3d.projection.settings import TUNED, Choices, Method, Space
from stylegan3d.recipe.keyframes import Moment
from stylegan3d.recipe.latents import Delta, Latent
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.render.carried import CarriedDetail
from stylegan3d.render.editable import Original
from stylegan3d.render.recipes import EditedScan, edited_moment
from stylegan3d.render.renderer import Renderer
from stylegan3d.scans.aligned import AlignedScan


@dataclass(frozen=True)
class ProjectionResult:
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
                "Only a scan can be edited, not a volume alone: project what Scan.align gives."
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
    yardstick: Yardstick | None = None,
    progress: Progress = SILENT,
) -> ProjectionResult:
    """Find the latent whose volume is most similar to a scan.

    Parameters
    ----------
    aligned : Aligned or ndarray
        An `AlignedScan`, or its volume (X, Y, Z) in [0, 1] on the generator's grid.
    space : Space
        "w" (one latent for all layers: most typical of the generator), "w+" (one per layer: follows
        the scan more closely), or "w+noise" (also fits the noise maps, or finds the scan's own
        noise where a flow draws the folds, see `own_noise.py`).
    budget : str
        "draft", "standard" or "thorough"; "thorough" also finds the scan's own noise, or tunes the
        generator to the scan (`pivotal.py`) where it has no flow or the scan is degraded.
    steps : int or None
        Exact number of search steps, overriding the budget and early stopping.
    noise : Noise
        Layer noise the result will be shown with; "fixed" if noise maps are fitted.
    channel : int
        Image channel to match, for a generator with several.
    operator : Operator or None
        Degradation of the scan (`projection.operators`): a masked part, thick slices, blur. The
        operator applied to G(w) is compared with the data, also to assess the result. Coarse image
        levels come first only if the operator is defined on them. `restoration.restore` makes the
        result consistent with the data.
    data : Tensor or None
        Data in the operator's range; by default extracted from the scan (`Operator.observe`).
    method : Method
        "stylegan3d", or for comparison "original", the projector of the original 3D-StyleGAN: a
        single w and noise maps, 1,000 steps (`original.py`), without `space` and `budget`.
    start : Tensor, shape (num_layers, w_dim), or None
        Start of the search, instead of the encoder's estimate or the average brain.
    yardstick : Yardstick or None
        What the scan is judged by, such as a calibrated site's (`site.open_site`); by default the
        model's own data.
    progress : Progress
        Told the share of the work that is done after every step, and handed the `ProjectionState`.
        If cancelled, the best result so far is returned; the projection waits while paused.

    Raises
    ------
    StyleGAN3DError
        If the volume is on another grid, or budget, space or method are unknown or incompatible.
    """
    run = Run(progress)
    original = method == "original"
    volume, mask = check_scan(generator, aligned)
    check_choices(generator, space, budget, method, noise)
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
    count = step_count(budget, steps, problem.start, method)
    if original:
        # It keeps what it ends with.
        candidates = _found(run, problem, OriginalSearch(problem, count), None)
    else:
        search = Search(problem, count, patient=steps is not None)
        fit = _fit_after(problem, space, budget)
        candidates = _found(run, problem, search, fit)
        candidates.append((problem.initial, None))
    w, delta, made = problem.best(candidates, shown)
    own_noise = delta is not None and delta.has_own_noise
    mean_brain = problem.mean_brain()
    seen_made, seen_mean = problem.simulate(made), problem.simulate(mean_brain)
    known = seen.known(mask)
    assessed = assess(
        problem.prior,
        w,
        seen_made,
        seen_mean,
        volume,
        known,
        generator=generator,
        yardstick=yardstick,
        is_complete=operator is None,
        without_noise=problem.best([(w, None)], shown)[2] if own_noise else None,
    )
    settings = {"space": problem.space, "steps": count, "noise": noise, "start": problem.start}
    settings |= {"method": method} if original else {}
    settings |= {"channel": channel} if channel else {}
    settings |= {"operator": seen.describe()} if operator is not None else {}
    settings |= {"changed": sorted(delta.tensors)} if delta is not None else {}
    return ProjectionResult(
        w,
        made,
        assessed.assessment,
        run.history,
        run.finished,
        run.seconds,
        settings,
        delta,
        generator,
        placed,
        assessed.z,
    )


def _fit_after(problem: Problem, space: str, budget: str) -> Tuning | OwnNoise | None:
    """What is fitted once the latent is found."""
    if finds_own_noise(problem) and asks_own_noise(space, budget):
        return OwnNoise(problem)
    return Tuning(problem) if budget in TUNED else None


def _found(
    run: Run, problem: Problem, search: Search | OriginalSearch, fit: Tuning | OwnNoise | None
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
