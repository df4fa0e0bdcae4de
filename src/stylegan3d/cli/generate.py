"""`stylegan3d generate`: random brains, or the brain of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stylegan3d.cli.common import LabelledOptions, SeedsOption, Volumes, grouped
from stylegan3d.cli.recipes import chosen_recipes, render_to_files
from stylegan3d.recipe.recipe import Truncation


@grouped
def generate(
    ctx: typer.Context,
    drawn: LabelledOptions,
    written: Volumes,
    seeds: SeedsOption = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help="Instead, a recipe: JSON text, a link, a JSON file, or a volume's sidecar.",
        ),
    ] = None,
    truncation_layers: Annotated[
        int | None,
        typer.Option(
            "--truncation-layers",
            help="Truncate only this many of the coarsest layers.",
            show_default="all",
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option("--table", help="Also write the tissue volumes (ml) of all brains, .csv."),
    ] = None,
) -> None:
    """Write synthetic brains as NIfTI files, with recipes and tissue volumes beside them.

    Example: stylegan3d generate --seeds 0-3 --truncation 0.7 --out brains
    """
    if table is not None and table.suffix != ".csv":
        raise typer.BadParameter("The name of the --table must end in .csv.")
    given = None if recipe is None else [recipe]
    plain = drawn.recipe().replace(truncation=Truncation(drawn.truncation, truncation_layers))
    recipes = chosen_recipes(ctx, given, seeds, plain)
    render_to_files(written.open(), recipes, written, table)
