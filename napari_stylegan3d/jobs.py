"""Long work as plain functions for `LongJob`: no Qt; the engine is imported where it is needed.

Importing torch takes about a second, so it happens here, off the GUI thread, not while the window
is built.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from napari_stylegan3d.display import Upright, upright
from napari_stylegan3d.reader import scan_name
from napari_stylegan3d.session import Projected
from napari_stylegan3d.worker import Report

if TYPE_CHECKING:
    from stylegan3d.frame import Frame
    from stylegan3d.generator import Generator
    from stylegan3d.networks.synthesis import Noise
    from stylegan3d.recipe import Recipe
    from stylegan3d.renderer import Quality, Rendered, Renderer

#: How the alignment marks what a person should look at.
WARNING = "Check:"
#: A preview that takes a larger share of the full volume's time only delays it.
WORTHWHILE = 0.8
#: A projection is watched at this interval; a look costs a preview.
SHOW_EVERY_S = 1.5
WORK_UNITS = 1000
BUDGETS = {
    "draft": "Draft: a quick look",
    "standard": "Standard",
    "thorough": "Thorough: closest match",
}


@dataclass(frozen=True, eq=False)
class Loaded:
    """A generator with its renderer.

    Attributes
    ----------
    generator, renderer
        The generator, and what draws it.
    previews_help
        Whether a preview is faster than the full volume, as far as is known.
    """

    generator: Generator
    renderer: Renderer
    previews_help: bool = True


def load_model(
    report: Report, model: Path | Generator | None, frame: Frame | str | None = None
) -> Loaded:
    """Load a generator from its folder or an official checkpoint; None for the bundled one.

    `frame` says where the voxels of a checkpoint lie, such as "LIA:2". Reports one step of two
    once torch is imported.
    """
    report(0, 2, "Loading the model")
    from stylegan3d.generator import Generator, load
    from stylegan3d.renderer import Renderer

    report(1, 2, "Loading the model")
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
    w = recipe.latent(generator)
    report(0, 3, "Preparing previews")
    if renderer.preview_level != -1:
        renderer.render(w, quality="preview", should_stop=report.should_stop)
    report(1, 3, "Finding directions")
    _ = generator.directions
    report(2, 3, "Learning previews")
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


def render(
    loaded: Loaded, request: RenderRequest, should_stop: Callable[[], bool] | None = None
) -> Picture:
    """Render a recipe for display; the renderer's `Cancelled` if `should_stop` says yes."""
    recipe, generator = request.recipe, loaded.generator
    noise = cast("Noise", recipe.noise)
    rendered = loaded.renderer.render(
        recipe.latent(generator),
        request.quality,
        noise,
        channel=recipe.channel,
        should_stop=should_stop,
        delta=recipe.delta(generator),
    )
    return Picture(as_shown(rendered, generator), rendered, request.quality)


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


def enlarge(volume: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Interpolate a volume onto a finer grid with the same field of view (corners coincide)."""
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))[None, None]
    larger = torch.nn.functional.interpolate(tensor, size=tuple(shape), mode="trilinear")
    return larger[0, 0].numpy()


@dataclass(frozen=True, eq=False)
class OpenedScan:
    """A scan as it was read, and ready for the views."""

    scan: Any
    layer: tuple[np.ndarray, dict[str, Any], str]
    name: str


def open_scan(report: Report, path: Path) -> OpenedScan:
    """Read and check a scan."""
    from napari_stylegan3d.reader import scan_layer
    from stylegan3d.scans import read_scan

    report(0, 1, "Reading the scan")
    scan = read_scan(path)
    return OpenedScan(scan, scan_layer(scan), scan_name(path))


@dataclass(frozen=True, eq=False)
class ProjectionRequest:
    """What to project, and how: space "w" or "w+", a budget's name.

    The result has the noise and shows the image channel given here; its latent goes into `folder`.
    """

    scan: Any
    name: str
    space: Literal["w", "w+"]
    budget: str
    noise: Noise
    channel: int
    folder: Path


def project_scan(
    report: Report,
    loaded: Loaded,
    request: ProjectionRequest,
    show: Callable[[str, np.ndarray], None],
) -> Projected:
    """Align a scan and find the latent whose brain is most like it.

    `show(kind, volume)` is called with what there is to see on the way: the aligned scan, then
    reconstructions as they improve, all (X, Y, Z) in [0, 1] on the generator's grid.
    """
    from stylegan3d.latents import save_latent
    from stylegan3d.projection import project
    from stylegan3d.projection_outputs import output_names, projected_latent
    from stylegan3d.recipe import Source

    generator = loaded.generator
    aligned = request.scan.align(
        generator, progress=lambda fraction, text: report(round(100 * fraction), 100, text)
    )
    show("scan", aligned.volume)
    result = project(
        generator,
        aligned,
        space=request.space,
        budget=request.budget,
        noise=request.noise,
        channel=request.channel,
        progress=_Watcher(report, loaded, show),
        should_stop=report.should_stop,
    )
    report(1, 1, "Saving the latent")
    latent = projected_latent(generator, result, aligned.describe())
    path = output_names(request.scan.path, request.folder)["latent"]
    sha256 = save_latent(path, latent, overwrite=True)
    source = Source("projected", path=str(path), sha256=sha256)
    checks = [s.removeprefix(WARNING).strip() for s in aligned.steps if s.startswith(WARNING)]
    remarks = [check[:1].upper() + check[1:] for check in checks]
    return Projected(
        request.name,
        source,
        aligned,
        dict(result.trust["similarity"]),
        dict(result.trust["mean_brain"]),
        (*remarks, *result.trust["remarks"]),
    )


class _Watcher:
    """Reports the steps of a projection, and now and then shows where it is."""

    def __init__(
        self,
        report: Report,
        loaded: Loaded,
        show: Callable[[str, np.ndarray], None],
    ) -> None:
        self._report, self._show = report, show
        self._loaded = loaded
        self._shown_at = 0.0

    def __call__(self, state: Any) -> None:
        done = round(WORK_UNITS * state.work)
        doing = "Tuning the model to the scan" if state.phase == "tuning" else "Projecting"
        self._report(done, WORK_UNITS, doing, f"step {state.step} of {state.steps}")
        if state.seconds - self._shown_at >= SHOW_EVERY_S:
            self._shown_at = state.seconds
            self._show("reconstruction", enlarge(state.volume, self._loaded.generator.shape))
