"""`stylegan3d mix`: one brain's layers with another's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stylegan3d.cli.common import (
    ChannelOption,
    FrameOption,
    JsonOption,
    LabelOption,
    ModelOption,
    NativeOption,
    NoiseOption,
    OutOption,
    OverwriteOption,
    ScanOption,
    TruncationOption,
    open_model,
)
from stylegan3d.cli.parsing import parse_source, parse_strengths
from stylegan3d.cli.recipes import plain_recipe, render_to_files
from stylegan3d.recipe.drawing import TRUNCATION
from stylegan3d.recipe.parts import Mix


def mix(
    a: Annotated[str, typer.Option("--a", help="First brain: a seed or a latent file.")],
    b: Annotated[str, typer.Option("--b", help="Second brain: a seed or a latent file.")],
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
        typer.Option(
            "--layers",
            help="Mix only these layers, such as 0-3; 0 is the coarsest.",
        ),
    ] = None,
    truncation: TruncationOption = TRUNCATION,
    noise: NoiseOption = "fixed",
    label: LabelOption = None,
    channel: ChannelOption = 0,
    out: OutOption = Path(),
    native: NativeOption = False,
    scan: ScanOption = None,
    model: ModelOption = None,
    frame: FrameOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Mix two brains layer by layer: coarse layers hold shape, fine layers texture.

    Example: stylegan3d mix --a projected/sub-01_desc-projected_latent.safetensors --b 7
    --layers 0-3 --out mixed
    """
    first, second = parse_source(a), parse_source(b)
    generator = open_model(model, frame)
    if layers is not None or "," in (strength or ""):
        generator.require("layers")
    strengths = parse_strengths(strength, layers, generator.num_layers)
    recipe = plain_recipe(truncation, noise, label, channel)
    render_to_files(
        generator,
        [recipe.replace(source=first, mix=Mix(second, strengths))],
        out,
        native=native,
        onto=scan,
        overwrite=overwrite,
        as_json=as_json,
    )
