"""`stylegan3d edit`: move a brain along directions."""

from __future__ import annotations

import hashlib
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
from stylegan3d.cli.parsing import parse_edits
from stylegan3d.cli.recipes import plain_recipe, render_to_files
from stylegan3d.errors import RecipeError
from stylegan3d.recipe.drawing import TRUNCATION
from stylegan3d.recipe.parts import Edit, Source
from stylegan3d.storage.tensorfiles import read_bytes


def edit(
    edits: Annotated[
        list[str],
        typer.Option(
            "--edit",
            help='Direction and strength in standard deviations, such as "PC 1=2.0", or '
            '"PC 1=2.0@0-3" for these layers only; may be repeated.',
        ),
    ],
    seed: Annotated[int | None, typer.Option("--seed", help="Random brain to edit.")] = None,
    latent: Annotated[
        Path | None, typer.Option("--latent", help="Instead, the brain of this latent file.")
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
    """Move a brain along directions, such as age or ventricle volume.

    `stylegan3d directions` lists those of a model, and finds new ones.

    Example: stylegan3d edit --seed 4 --edit "PC 1=2.0" --edit "PC 3=-1" --out edited
    """
    if (seed is None) == (latent is None):
        raise typer.BadParameter("Give the brain to edit: either --seed or --latent.")
    source = Source("seed", seed) if latent is None else Source.from_file(latent)
    recipe = plain_recipe(truncation, noise, label, channel)
    render_to_files(
        open_model(model, frame),
        [recipe.replace(source=source, edits=_with_files_named(parse_edits(edits)))],
        out,
        native=native,
        onto=scan,
        overwrite=overwrite,
        as_json=as_json,
    )


def _with_files_named(edits: tuple[Edit, ...]) -> tuple[Edit, ...]:
    """Edits whose directions files are named in full and by their sha256.

    So the recipe works from anywhere, and with no other file.
    """
    named = []
    for edit in edits:
        if edit.file is not None:
            path = Path(edit.file).absolute()
            sha256 = hashlib.sha256(read_bytes(path, RecipeError)).hexdigest()
            edit = edit.with_file(path, sha256)
        named.append(edit)
    return tuple(named)
