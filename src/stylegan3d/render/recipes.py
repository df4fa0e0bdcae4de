"""Render a recipe: the one place where recipes and the renderer meet.

A renderer knows nothing of recipes, and a recipe nothing of quality. Everything that a recipe
sets (noise, channel, tuning, detail) is passed on here, or another brain would be shown.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stylegan3d.base import SILENT, Progress, RecipeError, ScanError, effort
from stylegan3d.geometry.space import Shown
from stylegan3d.recipe.keyframes import Moment
from stylegan3d.storage.formats import last_part

if TYPE_CHECKING:
    import nibabel as nib

    from stylegan3d.recipe.recipe import Detail, Recipe
    from stylegan3d.render.editable import CarriedDetail
    from stylegan3d.render.movement import Movement
    from stylegan3d.render.renderer import Quality, Rendered, Renderer


@dataclass(frozen=True, eq=False, repr=False)
class EditedScan(Shown):
    """A scan that was edited, on its own grid.

    Attributes
    ----------
    data : ndarray, float32 (I, J, K)
        In the scan's units; without an edit the scan itself, bit for bit.
    movement : Movement
        What was done to it.
    carried : CarriedDetail
        What it was made from: the scan (`data`) and its pose (`rigid`).
    """

    data: np.ndarray
    movement: Movement
    carried: CarriedDetail

    @property
    def image(self) -> nib.Nifti1Image:
        """The edited scan as NIfTI, where the scan lies."""
        return self.carried.image(self.data)


def render_recipe(
    renderer: Renderer,
    recipe: Recipe,
    quality: Quality = "full",
    progress: Progress = SILENT,
    through: tuple[float, float, float] | None = None,
) -> Rendered:
    """Render a recipe with the renderer's generator.

    Parameters
    ----------
    renderer, quality, progress : Renderer, Quality, Progress
        See `Renderer.render`.
    recipe : Recipe
        Recipe for that generator. With a detail the scan's own grey values are shown, moved and
        changed by the recipe's edits, on the model's grid; without an edit they are the aligned
        scan, bit for bit.
    through : tuple of float, optional
        Of a preview of an edited scan only the three planes of voxels through this point, RAS mm,
        are needed (`CarriedDetail.frame`); `Rendered.through` says if it has no more.

    Raises
    ------
    RecipeError, LatentError
        If the recipe does not fit the generator, or a file that it names has changed.
    ScanError
        If the scan of its detail is not at hand (`renderer.details`).
    Cancelled
        If it was cancelled.
    """
    moment = _moment(renderer, recipe, quality, progress)
    if moment.detail is None:
        return renderer.render(*_asked(moment, quality, progress))
    return render_moment(renderer, moment, quality, progress, through)


def render_moment(
    renderer: Renderer,
    moment: Moment,
    quality: Quality = "full",
    progress: Progress = SILENT,
    through: tuple[float, float, float] | None = None,
) -> Rendered:
    """Render a moment, such as one of a film; parameters as of `render_recipe`."""
    from stylegan3d.render.renderer import Rendered

    detail = moment.detail
    if detail is None:
        return renderer.render(*_asked(moment, quality, progress))
    started = time.perf_counter()
    carried = carried_detail(renderer, detail, moment.channel)
    quick, worn = quality == "preview", not moment.is_edited_scan
    moved = carried.movement(moment.w, moment.delta, quick=quick, worn=worn)
    if quality != "preview" or detail.strength < 1:
        through = None
    volume = carried.frame(moved, quality, through)
    if detail.strength < 1:
        brain = resized(renderer.render(*_asked(moment, quality, progress)).volume, volume.shape)
        volume = brain + np.float32(detail.strength) * (volume - brain)
    seconds = time.perf_counter() - started
    return Rendered(volume, carried.space, quality, seconds, moved, through, moment.w)


def edited_scan(renderer: Renderer, recipe: Recipe, progress: Progress = SILENT) -> EditedScan:
    """The scan of a recipe with its own detail, edited on its own grid.

    Parameters as of `render_recipe`. At a strength below 1 the model's brain shows through.

    Raises
    ------
    RecipeError
        As `render_recipe`, and if the recipe shows no edited scan: without detail, or of a brain
        that wears another scan's.
    """
    detail = recipe.worn_detail
    if detail is None or not recipe.is_edited_scan:
        raise RecipeError(
            "Only a projected scan with its own detail can be shown at its own resolution: give "
            "the recipe the detail of the scan that it starts from."
        )
    moment = _moment(renderer, recipe, "full", progress)
    carried = carried_detail(renderer, detail, recipe.channel)
    return edited_moment(renderer, carried, moment, progress)


def edited_moment(
    renderer: Renderer, carried: CarriedDetail, moment: Moment, progress: Progress = SILENT
) -> EditedScan:
    """As `edited_scan`, of a moment and the scan it edits."""
    moved = carried.movement(moment.w, moment.delta)
    data = carried.edited(moved)
    if moment.detail is not None and moment.detail.strength < 1:
        made = carried.made(renderer.render(*_asked(moment, "full", progress)).volume)
        data = made + np.float32(moment.detail.strength) * (data - made)
    return EditedScan(data, moved, carried)


def carried_detail(renderer: Renderer, detail: Detail, channel: int = 0) -> CarriedDetail:
    """The scan of a detail, ready to be put on brains; ScanError if it is not at hand."""
    if renderer.details is None:
        raise ScanError(
            f"This shows the detail of the scan behind {last_part(str(detail.source.path))}: open "
            "that scan, or show the model's brain without detail."
        )
    return renderer.details.of(renderer.generator, detail.source, channel)


def _asked(moment: Moment, quality: Quality, progress: Progress) -> tuple[Any, ...]:
    """Arguments of `Renderer.render` for a moment's brain without detail."""
    return moment.w, quality, moment.noise, moment.channel, progress, moment.delta


def _moment(renderer: Renderer, recipe: Recipe, quality: Quality, progress: Progress) -> Moment:
    """What a recipe asks for."""
    generator = renderer.generator
    with effort("preview" if quality == "preview" else "full", progress.check):
        w = recipe.latent(generator)
    return Moment(
        w,
        recipe.delta(generator),
        recipe.shown_noise(generator),
        recipe.channel,
        recipe.worn_detail,
        recipe.is_edited_scan,
    )


def resized(volume: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A volume (X, Y, Z) on another grid of the same extent, by linear interpolation."""
    import torch

    from stylegan3d.networks.deformation import resize

    grid = (shape[0], shape[1], shape[2])
    return resize(torch.from_numpy(volume)[None, None], grid)[0, 0].numpy()
