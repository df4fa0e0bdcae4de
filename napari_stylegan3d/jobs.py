"""Long work as plain functions for `LongJob`: no Qt; the engine is imported where it is needed.

Importing torch takes about a second, so it happens here, off the GUI thread, not while the window
is built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_stylegan3d.display import Upright, upright
from napari_stylegan3d.reader import scan_name
from napari_stylegan3d.session import Projected
from napari_stylegan3d.worker import Report

if TYPE_CHECKING:
    from stylegan3d.generator import Generator
    from stylegan3d.recipe import Recipe
    from stylegan3d.renderer import Rendered, Renderer

BUDGETS = {
    "draft": "Draft: a quick look",
    "standard": "Standard",
    "thorough": "Thorough: closest match",
}


@dataclass(frozen=True, eq=False)
class Loaded:
    """A generator with its renderer and, already computed, what the panels will ask for."""

    generator: Generator
    renderer: Renderer


def load_model(report: Report, path: Path | None) -> Loaded:
    """Load a generator; `path` None for the bundled one."""
    report(0, 2, "Loading the model")
    from stylegan3d.generator import load

    generator = load(path)
    return prepare_model(report, generator)


def prepare_model(report: Report, generator: Generator) -> Loaded:
    """Compute the directions and the template, so that the window need not wait for them."""
    from stylegan3d.renderer import Renderer

    report(1, 2, "Finding directions")
    _ = generator.directions
    return Loaded(generator, Renderer(generator))


@dataclass(frozen=True)
class RenderRequest:
    """A recipe, and whether a preview will do."""

    recipe: Recipe
    quality: str


@dataclass(frozen=True, eq=False)
class Picture:
    """A rendering made ready for the views, on the generator's full grid."""

    shown: Upright
    rendered: Rendered
    quality: str


def render(renderer: Renderer, generator: Generator, request: RenderRequest) -> Picture:
    """Render a recipe for display."""
    recipe = request.recipe
    rendered = renderer.render(
        recipe.latent(generator), quality=request.quality, noise=recipe.noise
    )
    return Picture(as_shown(rendered, generator), rendered, request.quality)


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


@dataclass(frozen=True)
class ProjectionRequest:
    """What to project, and how."""

    scan: Any
    name: str
    space: str
    budget: str
    folder: Path


def project_scan(
    report: Report,
    generator: Generator,
    request: ProjectionRequest,
    show: Callable[[str, np.ndarray], None],
) -> Projected:
    """Align a scan and find the latent whose brain is most like it.

    `show(kind, volume)` is called with what there is to see on the way: the aligned scan, then
    reconstructions, all (X, Y, Z) in [0, 1] on the generator's grid.
    """
    from stylegan3d.latents import Latent, save_latent
    from stylegan3d.metrics import similarity
    from stylegan3d.projection import project
    from stylegan3d.recipe import Source

    def aligning(fraction: float, text: str) -> None:
        report(round(100 * fraction), 100, text)

    aligned = request.scan.align(generator, progress=aligning)
    show("scan", aligned.volume)

    def projecting(*state: Any) -> None:
        step, total = _step_of(state)
        report(step, total, "Projecting")

    result = project(
        generator,
        aligned,
        space=request.space,
        budget=request.budget,
        progress=projecting,
        should_stop=report.should_stop,
    )
    report(1, 1, "Comparing")
    w = result.w[0] if result.w.ndim == 3 else result.w
    latent = Latent.of(generator, w, "W+", scan=aligned.describe())
    path = request.folder / f"{request.name}_desc-projected_latent.safetensors"
    sha256 = save_latent(path, latent, overwrite=True)
    numbers = similarity(result.volume, aligned.volume, aligned.brain_mask)
    source = Source("projected", path=str(path), sha256=sha256)
    return Projected(request.name, source, aligned, dict(numbers))


def _step_of(state: tuple[Any, ...]) -> tuple[int, int]:
    """(step, steps) from either a ProjectionState or two numbers."""
    first = state[0]
    if hasattr(first, "steps"):
        return int(first.step), int(first.steps)
    return int(first), int(state[1])


@dataclass(frozen=True, eq=False)
class SaveRequest:
    """A recipe and the files its volume goes to; `native` names the one in the scan's own space."""

    recipe: Recipe
    path: Path
    native: Path | None
    overwrite: bool


def save_volume(
    report: Report, generator: Generator, renderer: Renderer, request: SaveRequest
) -> list[Path]:
    """Render in full quality and write all files, or none of them."""
    from stylegan3d.outputs import rendered_files
    from stylegan3d.volumes import check_output, write_together

    targets = [(request.path, False)]
    if request.native is not None:
        targets.append((request.native, True))
    check_output([path for path, _ in targets], request.overwrite)
    report(0, 2, "Rendering")
    recipe = request.recipe
    rendered = renderer.render(recipe.latent(generator), quality="full", noise=recipe.noise)
    report(1, 2, "Writing")
    files: dict[Path, bytes] = {}
    for path, native in targets:
        files |= rendered_files(path, rendered, recipe, generator, native=native)
    write_together(files, overwrite=request.overwrite)
    return [path for path, _ in targets]
