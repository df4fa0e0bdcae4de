"""`stylegan3d generate`: random brains, or the brain of a recipe."""

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
    SeedsOption,
    TruncationOption,
    open_model,
)
from stylegan3d.cli.recipes import chosen_recipes, render_to_files
from stylegan3d.recipe.drawing import TRUNCATION


def generate(
    ctx: typer.Context,
    seeds: SeedsOption = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help="Instead, a recipe: JSON text, a link, a JSON file, or a volume's sidecar.",
        ),
    ] = None,
    truncation: TruncationOption = TRUNCATION,
    cutoff: Annotated[
        int | None,
        typer.Option(
            "--cutoff",
            help="Truncate only this many of the coarsest layers.",
            show_default="all",
        ),
    ] = None,
    noise: NoiseOption = "fixed",
    label: LabelOption = None,
    channel: ChannelOption = 0,
    out: OutOption = Path(),
    table: Annotated[
        Path | None,
        typer.Option("--table", help="Also write the tissue volumes (ml) of all brains, .csv."),
    ] = None,
    native: NativeOption = False,
    scan: ScanOption = None,
    model: ModelOption = None,
    frame: FrameOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write synthetic brains as NIfTI files, with recipes and tissue volumes beside them.

    Example: stylegan3d generate --seeds 0-3 --truncation 0.7 --out brains
    """
    if table is not None and table.suffix != ".csv":
        raise typer.BadParameter("The name of the --table must end in .csv.")
    given = None if recipe is None else [recipe]
    recipes = chosen_recipes(ctx, given, seeds, truncation, noise, label, channel, cutoff)
    render_to_files(
        open_model(model, frame),
        recipes,
        out,
        native=native,
        onto=scan,
        table=table,
        overwrite=overwrite,
        as_json=as_json,
    )
