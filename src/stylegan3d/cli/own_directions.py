"""`stylegan3d directions` for directions of one's own: groups, values, and without others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stylegan3d.errors import RecipeError
from stylegan3d.recipe.recipe import Truncation

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.directions import Directions

BetweenOption = Annotated[
    str | None,
    typer.Option(
        "--between",
        help='Find the direction from one group of brains to another, such as "1,2,3:7,8,9"; '
        "numbers or latent files. Check it on pairs left out.",
    ),
]
ValuesOption = Annotated[
    Path | None,
    typer.Option(
        "--values",
        help="Find the direction along which a value of this table (CSV, TSV) grows. Its first "
        "column names brains: numbers or latent files. Check it by cross-validation.",
    ),
]
ColumnOption = Annotated[
    str | None,
    typer.Option("--column", help="With --values: which column; needed if there are several."),
]
FreeOfOption = Annotated[
    str | None,
    typer.Option(
        "--free-of",
        help="With --between or --values: take out what lies along these directions of the "
        'generator, such as "Age,PC 1" (Gram-Schmidt in w).',
    ),
]
NameOption = Annotated[str | None, typer.Option("--name", help="What the new direction is called.")]


def find_own(
    generator: Generator,
    between: str | None,
    values: Path | None,
    column: str | None,
    free_of: str | None,
    name: str | None,
    truncation: float | None,
) -> Directions:
    """A direction between two groups, or of a column of values."""
    from stylegan3d.directions.custom import direction_between, direction_of_values, orthogonalised
    from stylegan3d.directions.value_table import brain_source, latents_of, read_value_table

    psi = Truncation(0.7 if truncation is None else truncation)
    if between is not None:
        less, more = (
            latents_of(generator, [brain_source(text, Path(), {}) for text in group], psi)
            for group in _groups(between)
        )
        found = direction_between(generator, less, more, name or "From A to B")
    else:
        assert values is not None
        table = read_value_table(values)
        if column is None and len(table.columns) > 1:
            raise RecipeError(
                f"{values.name} has several columns of values: choose one with --column, such as "
                f"{next(iter(table.columns))}."
            )
        column = column or next(iter(table.columns))
        numbers = table.values(column)
        latents = latents_of(generator, table.sources(), psi)
        found = direction_of_values(generator, latents, numbers, name or column)
    if free_of is None:
        return found
    names = [part.strip() for part in free_of.split(",") if part.strip()]
    steps = [generator.directions.step(part) for part in names]
    return orthogonalised(generator, found, found.names[0], steps, " and ".join(names))


def _groups(between: str) -> list[list[str]]:
    groups = [
        [part.strip() for part in group.split(",") if part.strip()] for group in between.split(":")
    ]
    if len(groups) != 2:
        raise RecipeError('Give two groups of brains with a colon between, such as "1,2,3:7,8,9".')
    return groups
