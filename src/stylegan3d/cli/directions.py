"""`stylegan3d directions`: list, save, or follow the ways a brain can change."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stylegan3d.cli.common import (
    JsonOption,
    ModelOption,
    NativeOption,
    NoiseOption,
    OutOption,
    OverwriteOption,
    TruncationOption,
    emit,
    open_model,
    progress,
)
from stylegan3d.cli.parsing import parse_edits, parse_noise
from stylegan3d.cli.rendering import render_to_files
from stylegan3d.errors import RecipeError
from stylegan3d.recipe import Edit, Recipe, Source, Truncation
from stylegan3d.tensorfiles import read_bytes

if TYPE_CHECKING:
    from stylegan3d.directions import Directions
    from stylegan3d.generator import Generator


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("directions")(directions)


def directions(
    edit: Annotated[
        list[str] | None,
        typer.Option(
            "--edit",
            help='Direction and strength in standard deviations, such as "PC 1=2.0", or '
            '"PC 1=2.0@0-3" for these layers alone; may be repeated.',
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Edit this random brain.")] = None,
    latent: Annotated[
        Path | None, typer.Option("--latent", help="Edit the brain of this latent file.")
    ] = None,
    components: Annotated[
        int | None, typer.Option("--components", min=1, help="Find so many directions anew.")
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", min=2, help="Random brains to find them in.")
    ] = 10_000,
    save: Annotated[
        Path | None,
        typer.Option("--save", help="Keep the listed directions in this .safetensors file."),
    ] = None,
    truncation: TruncationOption = None,
    noise: NoiseOption = None,
    out: OutOption = Path(),
    native: NativeOption = False,
    model: ModelOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """List the directions of a generator, or move a brain along them.

    Example: stylegan3d directions --seed 4 --edit "PC 1=2.0" --edit "PC 3=-1" --out edited
    """
    if not edit:
        if seed is not None or latent is not None:
            raise typer.BadParameter('Say how to edit the brain, such as --edit "PC 1=2.0".')
        generator = open_model(model)
        listed = _find(generator, components, samples)
        if save is not None:
            from stylegan3d.directions import save_directions

            save_directions(save, listed, overwrite)
        _list(listed, generator, save, as_json=as_json)
        return
    if (seed is None) == (latent is None):
        raise typer.BadParameter("Give the brain to edit: either --seed or --latent.")
    if components is not None or save is not None:
        raise typer.BadParameter("--components and --save go without --edit.")
    recipe = Recipe(
        Source("seed", seed) if latent is None else Source.from_file(latent),
        Truncation(0.7 if truncation is None else truncation),
        edits=_with_files_named(parse_edits(edit)),
        noise=parse_noise(noise),
    )
    render_to_files(
        open_model(model), [recipe], out, native=native, overwrite=overwrite, as_json=as_json
    )


def _find(generator: Generator, components: int | None, samples: int) -> Directions:
    if components is None:
        return generator.directions
    from stylegan3d.directions import pca_directions

    with progress("Finding directions"):
        return pca_directions(generator, components, samples)


def _list(listed: Directions, generator: Generator, save: Path | None, *, as_json: bool) -> None:
    rows = [
        {"name": name, "explained_variance": float(share), "std": float(std)}
        for name, share, std in zip(
            listed.names, listed.explained_variance, listed.std, strict=True
        )
    ]
    width = max(len(name) for name in listed.names)
    lines = [f"{'':{width}}  explained  std in w"]
    for row in rows:
        lines.append(f"{row['name']:{width}} {row['explained_variance']:9.2%}  {row['std']:8.3g}")
    result = {
        "directions": rows,
        "model": {"name": generator.name, "sha256": generator.hash},
        "saved": save,
    }
    emit(result, lines, as_json=as_json)


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
