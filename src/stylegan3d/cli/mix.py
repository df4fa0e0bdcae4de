"""`stylegan3d mix`: one brain's layers with another's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stylegan3d.cli.common import (
    FrameOption,
    JsonOption,
    ModelOption,
    NativeOption,
    NoiseOption,
    OntoScanOption,
    OutOption,
    OverwriteOption,
    TruncationOption,
    open_model,
)
from stylegan3d.cli.parsing import parse_label, parse_noise, parse_source, parse_strengths
from stylegan3d.cli.rendering import ChannelOption, LabelOption, render_to_files
from stylegan3d.recipe.recipe import Mix, Recipe, Truncation


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("mix")(mix)


def mix(
    a: Annotated[str, typer.Option("--a", help="First brain: a seed or a latent file.")],
    b: Annotated[str, typer.Option("--b", help="Second brain: a seed or a latent file.")],
    strength: Annotated[
        str | None,
        typer.Option(
            "--strength",
            help="How much of the second brain, 0 to 1: one number, or one per layer with commas.",
            show_default="0.5, or 1 with --layers",
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            "--layers",
            help="Take only these layers from the second brain, such as 0-3; 0 is the coarsest.",
        ),
    ] = None,
    truncation: TruncationOption = None,
    noise: NoiseOption = None,
    label: LabelOption = None,
    channel: ChannelOption = 0,
    out: OutOption = Path(),
    native: NativeOption = False,
    onto_scan: OntoScanOption = None,
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
    recipe = Recipe(
        first,
        Truncation(0.7 if truncation is None else truncation),
        Mix(second, strengths),
        noise=parse_noise(noise),
        label=parse_label(label),
        channel=channel,
    )
    render_to_files(
        generator,
        [recipe],
        out,
        native=native,
        onto=onto_scan,
        overwrite=overwrite,
        as_json=as_json,
    )
