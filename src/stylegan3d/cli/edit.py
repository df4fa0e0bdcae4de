"""`stylegan3d edit`: edit a brain along directions."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from stylegan3d.cli.groups import Labelled, Volumes, grouped
from stylegan3d.cli.parsing import parse_edits
from stylegan3d.cli.recipes import render_to_files
from stylegan3d.errors import RecipeError
from stylegan3d.recipe.parts import Edit, Source
from stylegan3d.storage.tensorfiles import read_bytes


@grouped
def edit(
    edits: Annotated[
        list[str],
        typer.Option(
            "--edit",
            help='Direction and strength in standard deviations, such as "PC 1=2.0", or '
            '"PC 1=2.0@0-3" for these layers only; may be repeated.',
        ),
    ],
    drawn: Labelled,
    written: Volumes,
    seed: Annotated[int | None, typer.Option("--seed", help="Random brain to edit.")] = None,
    latent: Annotated[
        Path | None, typer.Option("--latent", help="Instead, the brain of this latent file.")
    ] = None,
) -> None:
    """Move a brain along directions, such as age or ventricle volume.

    `stylegan3d directions` lists those of a model, and finds new ones.

    Example: stylegan3d edit --seed 4 --edit "PC 1=2.0" --edit "PC 3=-1" --out edited
    """
    if (seed is None) == (latent is None):
        raise typer.BadParameter("Give the brain to edit: either --seed or --latent.")
    source = Source("seed", seed) if latent is None else Source.from_file(latent)
    edited = _with_files_named(parse_edits(edits))
    recipe = drawn.recipe().replace(source=source, edits=edited)
    render_to_files(written.open(), [recipe], written)


def _with_files_named(edits: tuple[Edit, ...]) -> tuple[Edit, ...]:
    """Edits with absolute paths and sha256 of their directions files.

    So the recipe works from any folder, and only with these files.
    """
    named = []
    for edit in edits:
        if edit.file is not None:
            path = Path(edit.file).absolute()
            sha256 = hashlib.sha256(read_bytes(path, RecipeError)).hexdigest()
            edit = edit.with_file(path, sha256)
        named.append(edit)
    return tuple(named)
