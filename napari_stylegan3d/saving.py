"""Saving a volume with all that its recipe needs, as one long job."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from napari_stylegan3d.jobs import Loaded
from napari_stylegan3d.worker import Report

if TYPE_CHECKING:
    from stylegan3d.networks.synthesis import Noise
    from stylegan3d.recipe import Recipe, Source


@dataclass(frozen=True, eq=False)
class SaveRequest:
    """What to save, and where.

    Attributes
    ----------
    recipe
        Of the volume.
    path, native
        The volume's file, and the one in the projected scan's own space, if that is wanted too.
    overwrite
        Whether files of these names may be replaced.
    session_folder
        Latents in here go away with the session: they are saved beside the volume.
    """

    recipe: Recipe
    path: Path
    native: Path | None
    overwrite: bool
    session_folder: Path


@dataclass(frozen=True, eq=False)
class Saved:
    """Files that were written, and session latents with the lasting sources they became."""

    paths: list[Path]
    moved: dict[Source, Source] = field(default_factory=dict)


def save_volume(report: Report, loaded: Loaded, request: SaveRequest) -> Saved:
    """Render in full quality and write all files, or none of them."""
    from stylegan3d.outputs import rendered_files
    from stylegan3d.volumes import check_output, write_together

    moved, files = _latents(request)
    targets = [request.path] if request.native is None else [request.path, request.native]
    check_output([*targets, *files], request.overwrite)
    report(0, 2, "Rendering")
    recipe, generator = request.recipe, loaded.generator
    noise = cast("Noise", recipe.noise)
    w, stop = recipe.latent(generator), report.should_stop
    rendered = loaded.renderer.render(
        w, "full", noise, recipe.channel, should_stop=stop, delta=recipe.delta(generator)
    )
    report(1, 2, "Writing")
    lasting = recipe.with_paths(lambda source: moved.get(source, source))
    for path in targets:
        scan = recipe.scan() if path == request.native else None
        files |= rendered_files(path, rendered, lasting, generator, scan=scan)
    write_together(files, overwrite=request.overwrite)
    return Saved([path for path in files if path.suffix != ".json"], moved)


def _latents(request: SaveRequest) -> tuple[dict[Source, Source], dict[Path, bytes]]:
    """Sources of the session's folder and what they become; the files that this takes.

    A latent that lies beside the volume already, byte for byte, is not written again.
    """
    both = [request.recipe.source, *([request.recipe.mix.source] if request.recipe.mix else [])]
    moved: dict[Source, Source] = {}
    files: dict[Path, bytes] = {}
    for source in both:
        if source.path is None or Path(source.path).parent != request.session_folder:
            continue
        target = request.path.parent / Path(source.path).name
        data = Path(source.path).read_bytes()
        moved[source] = dataclasses.replace(source, path=str(target))
        if not (target.is_file() and target.read_bytes() == data):
            files[target] = data
    return moved, files
