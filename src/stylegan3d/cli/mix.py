"""`stylegan3d mix`: style mixing of two brains."""

from __future__ import annotations

from typing import Annotated

import typer

from stylegan3d.cli.common import LabelledOptions, Volumes, grouped, parse_source, parse_strengths
from stylegan3d.cli.recipes import render_to_files
from stylegan3d.recipe.recipe import Mix


@grouped
def mix(
    a: Annotated[str, typer.Option("--a", help="First brain: a seed or a latent file.")],
    b: Annotated[str, typer.Option("--b", help="Second brain: a seed or a latent file.")],
    drawn: LabelledOptions,
    written: Volumes,
    strength: Annotated[
        str | None,
        typer.Option(
            "--strength",
            help="Share of the second brain, 0 to 1; or one per layer, such as 1,1,0.5,0.",
            show_default="0.5, or 1 with --layers",
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option("--layers", help="Mix only these layers, such as 0-3; 0 is the coarsest."),
    ] = None,
) -> None:
    """Mix two brains layer by layer: coarse layers hold shape, fine layers texture.

    Example: stylegan3d mix --a projected/sub-01_desc-projected_latent.safetensors --b 7
    --layers 0-3 --out mixed
    """
    first, second = parse_source(a), parse_source(b)
    generator = written.open()
    if layers is not None or "," in (strength or ""):
        generator.require("layers")
    strengths = parse_strengths(strength, layers, generator.num_layers)
    recipe = drawn.recipe().replace(source=first, mix=Mix(second, strengths))
    render_to_files(generator, [recipe], written)
