"""Long work as plain functions for `LongJob`: no Qt; the engine is imported where it is needed.

Importing torch takes about a second, so it happens here, off the GUI thread, not while the window
is built.
"""

from __future__ import annotations

import dataclasses
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_stylegan3d.core.worker import Report
from napari_stylegan3d.views.display import Upright, enlarge, upright
from napari_stylegan3d.widgets.text import _
from stylegan3d.memory import is_out_of_memory
from stylegan3d.progress import effort
from stylegan3d.render.recipes import render_recipe

if TYPE_CHECKING:
    import torch

    from stylegan3d.geometry.frame import Frame
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.render.renderer import Quality, Rendered, Renderer

#: A preview that takes a larger share of the full volume's time only delays it.
WORTHWHILE = 0.8
#: Bytes of layers kept while a brain is rendered beside what is shown.
LAYERS_KEPT = 32 * 2**20


@dataclass(frozen=True, eq=False)
class Loaded:
    """A generator with its renderer.

    Attributes
    ----------
    generator, renderer : Generator, Renderer
        The generator, and what draws it.
    previews_help : bool
        Whether a preview is faster than the full volume, as far as is known.
    """

    generator: Generator
    renderer: Renderer
    previews_help: bool = True


def load_ahead(model: Path | Generator | None, frame: Frame | str | None = None) -> Future[Loaded]:
    """Import torch, and load a model in a thread while the window is being made.

    For programs that open a window of their own, before they import napari: no window is there yet
    that could be kept waiting. The first brain is rendered too, so that it can be shown at once.
    """
    import stylegan3d.render.renderer  # noqa: F401

    def load() -> Loaded:
        from stylegan3d.recipe.recipe import Recipe

        loaded = load_model(Report(lambda _progress: None), model, frame)
        try:
            render_recipe(loaded.renderer, Recipe())
        except Exception as error:
            if not is_out_of_memory(error):  # else the window makes do with a preview
                raise
        return loaded

    executor = ThreadPoolExecutor(1, "stylegan3d-ahead")
    future = executor.submit(load)
    executor.shutdown(wait=False)
    return future


def load_model(
    report: Report,
    model: Path | Generator | Future[Loaded] | None,
    frame: Frame | str | None = None,
) -> Loaded:
    """Load a generator from its folder or an official checkpoint; None for the bundled one.

    `frame` says where the voxels of a checkpoint lie, such as "LIA:2"; a model that is being loaded
    already (`load_ahead`) is waited for. Reports one step of two once torch is imported.
    """
    report(0, 2, _("Loading the model"))
    if isinstance(model, Future):
        report(1, 2, _("Loading the model"))
        return model.result()
    from stylegan3d.model.generator import Generator
    from stylegan3d.model.loading import load
    from stylegan3d.render.renderer import Renderer

    report(1, 2, _("Loading the model"))
    generator = model if isinstance(model, Generator) else load(model, frame=frame)
    return Loaded(generator, Renderer(generator))


def place(loaded: Loaded, frame: Frame) -> Loaded:
    """The same model with its voxels in another frame; nothing is computed."""
    generator = loaded.generator.with_space(frame.space(loaded.generator.shape))
    loaded.renderer.generator = generator
    return dataclasses.replace(loaded, generator=generator)


def warm_up(report: Report, loaded: Loaded, recipe: Recipe) -> Loaded:
    """Do once what is slow the first time: a preview, and directions that no file holds.

    Reports two steps of three once there are directions. What remains then is for networks without
    coarse images only: previews are learned, which takes some volumes' time, or are found to be of
    no help.
    """
    renderer, generator = loaded.renderer, loaded.generator
    report(0, 3, _("Preparing previews"))
    with effort("preview", lambda: report(0, 3, _("Preparing previews"))):
        w = recipe.latent(generator)
    if renderer.preview_level != -1:
        renderer.render(w, quality="preview", should_stop=report.should_stop)
    report(1, 3, _("Computing directions"))
    _directions = generator.directions
    report(2, 3, _("Fitting previews"))
    if renderer.preview_level == -1:
        renderer.learn_preview(report.should_stop)
        renderer.render(w, quality="preview", should_stop=report.should_stop)
    if renderer.preview_level == -1:
        # Another latent than the one that is shown: its layers would be remembered.
        preview = renderer.render(-w, "preview", should_stop=report.should_stop).seconds
        full = renderer.render(-w, "full", should_stop=report.should_stop).seconds
        loaded = dataclasses.replace(loaded, previews_help=preview <= WORTHWHILE * full)
    return loaded


@dataclass(frozen=True)
class RenderRequest:
    """A recipe, and whether a preview will do."""

    recipe: Recipe
    quality: Quality


@dataclass(frozen=True, eq=False)
class Picture:
    """A rendering made ready for the views, on the generator's full grid."""

    shown: Upright
    rendered: Rendered
    quality: Quality

    @classmethod
    def of(cls, rendered: Rendered, generator: Generator) -> Picture:
        """A rendering of a generator's brain, for display."""
        return cls(as_shown(rendered, generator), rendered, rendered.quality)

    def on_grid(self, shape: tuple[int, ...]) -> np.ndarray:
        """(X, Y, Z) of the generator's grid of this shape, which a preview is coarser than."""
        volume = self.rendered.volume
        same = tuple(volume.shape) == tuple(shape)
        return volume if same else enlarge(volume, (shape[0], shape[1], shape[2]))


def placed(picture: Picture, generator: Generator) -> Picture:
    """The same voxels where a generator says they lie."""
    grid = picture.rendered.space.shape
    rendered = dataclasses.replace(picture.rendered, space=generator.space.resized(grid))
    return dataclasses.replace(picture, shown=as_shown(rendered, generator), rendered=rendered)


def as_shown(rendered: Rendered, generator: Generator) -> Upright:
    """On the full grid whatever the quality, so that nothing in the views moves when it changes."""
    volume = rendered.volume
    if tuple(volume.shape) != tuple(generator.shape):
        volume = enlarge(volume, generator.shape)
    return upright(volume, generator.affine)


def render_beside(request: tuple[Loaded, Recipe]) -> Picture:
    """Render a recipe in full with a renderer of its own, beside what is shown; in a thread."""
    loaded, recipe = request
    renderer = loaded.renderer.companion(LAYERS_KEPT)
    return Picture.of(render_recipe(renderer, recipe), loaded.generator)


def latent_of(
    recipe: Recipe, generator: Generator, care: Literal["preview", "rough"] = "preview"
) -> torch.Tensor:
    """The latent of a recipe, found with no more effort than needed; "rough" only tries it.

    Raises
    ------
    RecipeError, LatentError
        If it cannot be had.
    """
    with effort(care):
        return recipe.latent(generator)


def own_path(generator: Generator | None) -> Path | None:
    """Where a model was loaded from; None for the bundled one."""
    from stylegan3d.checkpoints.places import bundled_model_path

    path = None if generator is None else generator.path
    return None if path == bundled_model_path() else path


def screen_dtype() -> torch.dtype:
    """The precision this machine is fastest in: what is shown need not be exact to the last bit."""
    import torch

    from stylegan3d.devices import measured_dtype

    return measured_dtype(torch.device("cpu"))
