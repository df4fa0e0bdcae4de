"""`stylegan3d generate`: random brains, or the brain of a recipe."""

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
from stylegan3d.cli.parsing import parse_label, parse_noise, parse_numbers
from stylegan3d.cli.rendering import ChannelOption, LabelOption, render_to_files
from stylegan3d.recipe.recipe import Recipe, Source, Truncation
from stylegan3d.recipe.text import read_recipe


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("generate")(generate)


def generate(
    seeds: Annotated[
        str | None, typer.Option("--seeds", help="Random brains by number, such as 0-3,7.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help="A recipe: JSON text, a link, a JSON file, or a volume's sidecar.",
        ),
    ] = None,
    truncation: TruncationOption = None,
    cutoff: Annotated[
        int | None,
        typer.Option("--cutoff", help="Truncate only so many layers, from the coarsest."),
    ] = None,
    noise: NoiseOption = None,
    label: LabelOption = None,
    channel: ChannelOption = 0,
    out: OutOption = Path(),
    table: Annotated[
        Path | None,
        typer.Option("--table", help="Write the tissue volumes of all brains here (.csv)."),
    ] = None,
    native: NativeOption = False,
    onto_scan: OntoScanOption = None,
    model: ModelOption = None,
    frame: FrameOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write synthetic brains as NIfTI files with recipes and tissue volumes beside them.

    Example: stylegan3d generate --seeds 0-3 --truncation 0.7 --out brains
    """
    if (seeds is None) == (recipe is None):
        raise typer.BadParameter("Give either --seeds, such as --seeds 0-3, or --recipe.")
    if table is not None and table.suffix != ".csv":
        raise typer.BadParameter("The table's name must end in .csv.")
    if recipe is not None:
        if (truncation, cutoff, noise, label, channel) != (None, None, None, None, 0):
            raise typer.BadParameter(
                "A recipe holds its own truncation, noise, label and channel: change them there."
            )
        recipes = [read_recipe(recipe)]
    else:
        plain = Recipe(
            truncation=Truncation(0.7 if truncation is None else truncation, cutoff),
            noise=parse_noise(noise),
            channel=channel,
            label=parse_label(label),
        )
        recipes = [
            plain.replace(source=Source("seed", seed))
            for seed in parse_numbers(str(seeds), "--seeds")
        ]
    generator = open_model(model, frame)
    render_to_files(
        generator,
        recipes,
        out,
        native=native,
        onto=onto_scan,
        table=table,
        overwrite=overwrite,
        as_json=as_json,
    )
