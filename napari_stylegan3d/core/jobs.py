"""Long tasks as plain functions for `LongJob`: no Qt; the engine is imported when needed.

Importing torch takes about a second, so it happens here, off the GUI thread, not while the window
is built.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from nibabel.affines import apply_affine

from napari_stylegan3d.views.display import DisplayArray, enlarge, enlarge_planes, upright
from stylegan3d.base import Progress, effort
from stylegan3d.render.recipes import render_recipe

if TYPE_CHECKING:
    import torch

    from stylegan3d.geometry.space import Frame
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.render.movement import Movement
    from stylegan3d.render.renderer import Quality, Rendered, Renderer
    from stylegan3d.scans import AlignedScan
    from stylegan3d.session.provenance import Provenance

#: Longest useful preview, as a share of the full volume's time.
WORTHWHILE = 0.8
#: Bytes of cached layers for a renderer in the background.
LAYERS_KEPT = 32 * 2**20
#: Thresholds of the search for garbage: a window makes tens of thousands of objects that stay.
SELDOM = (50_000, 20, 100)


@dataclass(frozen=True, eq=False)
class Loaded:
    """A generator with its renderer.

    Attributes
    ----------
    generator, renderer : Generator, Renderer
        The generator and its renderer.
    previews_help : bool
        Whether a preview is faster than the full volume, if known.
    """

    generator: Generator
    renderer: Renderer
    previews_help: bool = True


def load_model(
    report: Progress, model: Path | Generator | None, frame: Frame | str | None = None
) -> Loaded:
    """Load a generator from its folder or an official checkpoint; None for the bundled one.

    `frame` is the voxel orientation and size of a checkpoint, such as "LIA:2". Reports one step of
    two once torch is imported.
    """
    report(0, 2, "Loading the model")
    from stylegan3d.model.generator import Generator, load
    from stylegan3d.render.renderer import Renderer

    report(1, 2, "Loading the model")
    generator = model if isinstance(model, Generator) else load(model, frame=frame)
    return Loaded(generator, Renderer(generator))


def place(loaded: Loaded, frame: Frame) -> Loaded:
    """The same model with its voxels in another frame; nothing is computed."""
    generator = loaded.generator.with_space(frame.space(loaded.generator.shape))
    loaded.renderer.generator = generator
    return dataclasses.replace(loaded, generator=generator)


def warm_up(report: Progress, loaded: Loaded, recipe: Recipe) -> Loaded:
    """Warm up: render a preview and compute directions that are not in a file.

    Reports two steps of three once there are directions. The third is for networks without coarse
    images only: fit previews, which takes as long as a few volumes, or find that they do not help.
    """
    renderer, generator = loaded.renderer, loaded.generator
    report(0, 3, "Preparing previews")
    with effort("preview", report.check):
        w = recipe.latent(generator)
    if renderer.preview_level != -1:
        renderer.render(w, quality="preview", progress=report)
    report(1, 3, "Computing directions")
    _directions = generator.directions
    report(2, 3, "Fitting previews")
    if renderer.preview_level == -1:
        renderer.learn_preview(report)
        renderer.render(w, quality="preview", progress=report)
    if renderer.preview_level == -1:
        # A different latent than the one shown, whose layers would be cached.
        preview = renderer.render(-w, "preview", progress=report).seconds
        full = renderer.render(-w, "full", progress=report).seconds
        loaded = dataclasses.replace(loaded, previews_help=preview <= WORTHWHILE * full)
    return loaded


@dataclass(frozen=True)
class RenderRequest:
    """A recipe, whether a preview suffices, and of which planes (`render_recipe`)."""

    recipe: Recipe
    quality: Quality
    through: tuple[float, float, float] | None = None


@dataclass(frozen=True, eq=False)
class DisplayVolume:
    """A rendering prepared for the views, on the generator's full grid."""

    shown: DisplayArray
    rendered: Rendered
    quality: Quality

    @classmethod
    def of(
        cls,
        rendered: Rendered,
        generator: Generator,
        through: tuple[float, float, float] | None = None,
    ) -> DisplayVolume:
        """A rendering of a brain; of a preview the planes through a point, RAS mm, if given."""
        if through is not None and rendered.quality == "preview":
            rendered = dataclasses.replace(rendered, through=through)
        return cls(as_shown(rendered, generator), rendered, rendered.quality)

    def on_grid(self, shape: tuple[int, ...]) -> np.ndarray:
        """The volume on the generator's full grid; a preview is enlarged."""
        volume = self.rendered.volume
        same = tuple(volume.shape) == tuple(shape)
        return volume if same else enlarge(volume, (shape[0], shape[1], shape[2]))


@dataclass(frozen=True, eq=False)
class SharpenRequest:
    """A picture of a scan on the model's grid.

    Attributes
    ----------
    picture : object
        The picture, or the aligned scan, as which the sharp one will be shown.
    aligned : AlignedScan
    movement : Movement or None
        What was done to it.
    strength : float
        Share of the scan's detail; below 1 the brain of `volume` shows through.
    volume : ndarray (X, Y, Z) or None
        The picture on the model's grid.
    """

    picture: object
    aligned: AlignedScan
    movement: Movement | None = None
    strength: float = 1.0
    volume: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class DerivedVolume:
    """A volume on the model's grid that no recipe alone gives: edited labels, a filled scan.

    Attributes
    ----------
    title : str
        Description, where `provenance` has none.
    provenance : Provenance
    volume : ndarray, shape (X, Y, Z)
    of : Recipe or AlignedScan or None
        The brain or scan that it was made from, and so whose it is; None for nobody's.
    before : DerivedVolume or None
        What its changes are counted from.
    scan : SharpenRequest or None
        What was done to a scan, if that is what the volume shows.
    """

    title: str
    provenance: Provenance
    volume: np.ndarray
    of: Recipe | AlignedScan | None = None
    before: DerivedVolume | None = None
    scan: SharpenRequest | None = None


def placed(picture: DisplayVolume, generator: Generator) -> DisplayVolume:
    """The same voxels with the affine of a generator."""
    space = generator.space.resized(picture.rendered.space.shape)
    if space.same_as(picture.rendered.space):
        return picture
    rendered = dataclasses.replace(picture.rendered, space=space)
    return dataclasses.replace(picture, shown=as_shown(rendered, generator), rendered=rendered)


def as_shown(rendered: Rendered, generator: Generator) -> DisplayArray:
    """On the full grid for any quality, so that views do not shift when it changes."""
    volume, shape = rendered.volume, generator.shape
    if tuple(volume.shape) != tuple(shape):
        if rendered.through is None:
            volume = enlarge(volume, shape)
        else:
            at = apply_affine(np.linalg.inv(generator.affine), rendered.through)
            within = (min(max(round(float(x)), 0), n - 1) for x, n in zip(at, shape, strict=True))
            volume = enlarge_planes(volume, shape, tuple(within))
    return upright(volume, generator.affine)


def render_beside(request: tuple[Loaded, Recipe]) -> DisplayVolume:
    """Render a recipe at full quality with a separate renderer; runs in a thread."""
    loaded, recipe = request
    renderer = loaded.renderer.companion(LAYERS_KEPT)
    return DisplayVolume.of(render_recipe(renderer, recipe), loaded.generator)


def latent_of(
    recipe: Recipe, generator: Generator, care: Literal["preview", "rough"] = "preview"
) -> torch.Tensor:
    """The latent of a recipe with reduced effort; "rough" only checks that it works.

    Raises
    ------
    RecipeError, LatentError
        If there is none.
    """
    with effort(care):
        return recipe.latent(generator)


def own_path(generator: Generator | None) -> Path | None:
    """Where a model was loaded from; None for the bundled one."""
    from stylegan3d.storage.places import bundled_model_path

    path = None if generator is None else generator.path
    return None if path == bundled_model_path() else path


def screen_dtype() -> torch.dtype:
    """This machine's fastest precision; displayed volumes need not be exact."""
    import torch

    from stylegan3d.devices import measured_dtype

    return measured_dtype(torch.device("cpu"))
