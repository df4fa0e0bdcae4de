"""Recipes to files: what `generate`, `mix` and `directions` do once they know the recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stylegan3d.cli.common import emit, model_entry, progress
from stylegan3d.recipe import Recipe

if TYPE_CHECKING:
    from stylegan3d.generator import Generator

LabelOption = Annotated[
    str | None,
    typer.Option(
        "--label",
        help="For a conditional generator, what random brains are drawn for: values of its labels, "
        "such as age=70,sex=F, or the label's numbers, such as 0,1.",
    ),
]
ChannelOption = Annotated[
    int, typer.Option("--channel", help="Which image channel to write, from 0.")
]


def render_to_files(
    generator: Generator,
    recipes: Sequence[Recipe],
    out: Path,
    *,
    native: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Render each recipe in full quality and save it; whatever can be refused is refused first."""
    from stylegan3d.outputs import (
        native_scan,
        rendered_files,
        volume_name,
        write_dataset_description,
    )
    from stylegan3d.renderer import Renderer
    from stylegan3d.volumes import check_output, sidecar_path, write_together

    paths = [out / volume_name(recipe, native=native) for recipe in recipes]
    check_output([*paths, *map(sidecar_path, paths)], overwrite)
    for recipe in recipes:
        recipe.check(generator)
    scans = [native_scan(recipe) if native else None for recipe in recipes]
    renderer = Renderer(generator)
    volumes: list[dict[str, Any]] = []
    with progress("Rendering", total=len(recipes)) as report:
        for path, recipe, scan in zip(paths, recipes, scans, strict=True):
            report(len(volumes), note=path.name)
            w = recipe.latent(generator)
            rendered = renderer.render(
                w, "full", recipe.noise, recipe.channel, delta=recipe.delta(generator)
            )
            files = rendered_files(path, rendered, recipe, generator, scan=scan)
            write_together(files, overwrite=overwrite)
            write_dataset_description(out, generator)
            volumes.append(
                {
                    "path": str(path),
                    "sidecar": str(sidecar_path(path)),
                    "recipe": recipe.to_dict(),
                    "seconds": rendered.seconds,
                }
            )
    emit(
        {"volumes": volumes, "model": model_entry(generator)},
        [volume["path"] for volume in volumes],
        as_json=as_json,
    )
