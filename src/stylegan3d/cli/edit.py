"""`stylegan3d edit`: edit a brain along directions."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stylegan3d.cli.common import JobsOption, LabelledOptions, Volumes, grouped, parse_edits
from stylegan3d.cli.many import edit_many
from stylegan3d.cli.recipes import render_to_files
from stylegan3d.errors import RecipeError
from stylegan3d.recipe.recipe import Edit, Source
from stylegan3d.storage.tensorfiles import read_bytes

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.recipe import Recipe


@grouped
def edit(
    drawn: LabelledOptions,
    written: Volumes,
    edits: Annotated[
        list[str] | None,
        typer.Option(
            "--edit",
            help='Direction and strength in standard deviations, such as "PC 1=2.0", or '
            '"PC 1=2.0@0-3" for these layers only; may be repeated.',
        ),
    ] = None,
    age_by: Annotated[
        float | None,
        typer.Option("--age-by", help="Age the brain by this many years; negative for younger."),
    ] = None,
    to_age: Annotated[
        float | None, typer.Option("--to-age", help="Age the brain to this age in years.")
    ] = None,
    age: Annotated[
        float | None,
        typer.Option(
            "--age",
            help="With --age-by or --to-age: how old the brain is.",
            show_default="as old as it looks to the model",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Random brain to edit.")] = None,
    latent: Annotated[
        Path | None,
        typer.Option(
            "--latent",
            help="Instead, the brain of this latent file. Or many: a folder of projections, or a "
            "text file with one latent file per line and, after a tab, its scan; --scan is then "
            "the folder of the scans.",
        ),
    ] = None,
    jobs: JobsOption = 1,
) -> None:
    """Move a brain along directions, such as age or ventricle volume.

    `stylegan3d directions` lists those of a model, and finds new ones. With many projected scans
    the scans themselves are edited: a later run skips finished ones, a failure does not stop the
    others (exit status 2), and OUT/edits.tsv has a row for each.

    Example: stylegan3d edit --seed 4 --edit "PC 1=2.0" --edit "PC 3=-1" --out edited
    """
    if (seed is None) == (latent is None):
        raise typer.BadParameter("Give the brain to edit: either --seed or --latent.")
    if age_by is not None and to_age is not None:
        raise typer.BadParameter("Give either --age-by or --to-age.")
    ages = age_by is not None or to_age is not None
    if age is not None and not ages:
        raise typer.BadParameter("--age needs --age-by or --to-age.")
    if not edits and not ages:
        raise typer.BadParameter('Give an edit, such as --edit "PC 1=2.0" or --age-by 10.')
    if latent is not None and _holds_latents(latent):
        if to_age is not None or age is not None:
            raise typer.BadParameter("--to-age and --age are for one brain: give --age-by to many.")
        recipe = drawn.recipe().replace(edits=_with_files_named(parse_edits(edits or [])))
        _edit_many(latent, recipe, age_by, written, jobs)
        return
    if jobs > 1:
        raise typer.BadParameter("--jobs is for many scans: give a folder of projections.")
    source = Source("seed", seed) if latent is None else Source.from_file(latent)
    edited = _with_files_named(parse_edits(edits or []))
    recipe = drawn.recipe().replace(source=source, edits=edited)
    generator = written.open()
    recipe = _with_names_written(recipe, generator)
    if ages:
        recipe = _aged(recipe, generator, age_by, to_age, age)
    render_to_files(generator, [recipe], written)


def _aged(
    recipe: Recipe, generator: Generator, by: float | None, to: float | None, age: float | None
) -> Recipe:
    """The recipe of the brain when it is older; what is expected then goes to standard error."""
    from stylegan3d.directions.trajectory import Trajectory

    trajectory = Trajectory.needed(generator)
    text = "as given"
    if age is None:
        plain = recipe.replace(edits=())
        age, text = trajectory.apparent_age(plain.latent(generator)), "as it looks to the model"
    years = by if by is not None else (to or 0.0) - age
    edit = trajectory.edit(years)
    others = tuple(one for one in recipe.edits if one.direction != edit.direction)
    if len(others) < len(recipe.edits):
        raise RecipeError(f"Give the age either in years or along {edit.direction}, not both.")
    for line in [f"From {age:.0f} years ({text}):", *trajectory.lines(age, age + years)]:
        typer.echo(line, err=True)
    return recipe.replace(edits=(*others, edit))


def _holds_latents(path: Path) -> bool:
    from stylegan3d.cohort.work import holds_latents

    return holds_latents(path)


def _edit_many(
    latents: Path, recipe: Recipe, age_by: float | None, written: Volumes, jobs: int
) -> None:
    """Edit every scan of a folder or list of latent files."""
    if written.detail_of is not None:
        raise typer.BadParameter("--detail-of is for one brain: many scans show their own detail.")
    strength = 1.0 if written.detail is None else written.detail
    if not strength:
        raise typer.BadParameter("--detail 0 leaves nothing of the scans: give more.")
    generator = written.open()
    recipe = _with_names_written(recipe, generator)
    if age_by is not None:
        from stylegan3d.directions.trajectory import Trajectory

        edit = Trajectory.needed(generator).edit(age_by)
        recipe = recipe.replace(edits=(*recipe.edits, edit))
    edit_many(latents, recipe, strength, generator, written, jobs)


def _with_names_written(recipe: Recipe, generator: Generator) -> Recipe:
    """The recipe with the model's own directions as they are written, whatever was typed."""
    edits = tuple(
        edit if edit.file else replace(edit, direction=generator.directions.called(edit.direction))
        for edit in recipe.edits
    )
    return recipe.replace(edits=edits)


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
