"""`stylegan3d picture`: labelled slices of brains as PNG, and what the verbs that draw share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stylegan3d.cli.common import (
    FrameOption,
    JsonOption,
    ModelOption,
    NoiseOption,
    OutOption,
    OverwriteOption,
    TruncationOption,
    emit,
    model_entry,
    open_model,
    progress,
)
from stylegan3d.cli.parsing import parse_noise, parse_numbers, parse_planes, parse_point
from stylegan3d.errors import RecipeError
from stylegan3d.geometry.slicing import PLANES
from stylegan3d.recipe.recipe import Recipe, Source, Truncation
from stylegan3d.recipe.text import read_recipe

if TYPE_CHECKING:
    from stylegan3d.render.figures import Look

RecipesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        help="Recipes: JSON texts, JSON files, or saved volumes' sidecars.", show_default=False
    ),
]
SeedsOption = Annotated[
    str | None, typer.Option("--seeds", help="Instead, random brains by number, such as 0-3,7.")
]
PointOption = Annotated[
    str | None,
    typer.Option(
        "--at",
        help="Point in mm (RAS+) the slices go through, such as 0,-20,10.",
        show_default="the middle",
    ),
]
ScaleOption = Annotated[
    float, typer.Option("--scale", help="Pixels per mm, 0.5 to 12; 11.8 is life size at 300 dpi.")
]
SCALE_LIMITS = (0.5, 12.0)


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("picture")(picture)


def picture(
    recipes: RecipesArgument = None,
    seeds: SeedsOption = None,
    planes: Annotated[
        str, typer.Option("--planes", help="Which planes, side by side, with commas.")
    ] = ",".join(PLANES),
    at: PointOption = None,
    slices: Annotated[
        int,
        typer.Option(
            "--lightbox", help="So many slices of one plane through the whole brain, up to 200."
        ),
    ] = 0,
    columns: Annotated[int, typer.Option("--columns", help="Of the lightbox.")] = 5,
    scale: ScaleOption = 2.0,
    neurological: Annotated[
        bool, typer.Option("--neurological", help="The person's left at the left of the picture.")
    ] = False,
    truncation: TruncationOption = None,
    noise: NoiseOption = None,
    out: OutOption = Path(),
    model: ModelOption = None,
    frame: FrameOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write labelled pictures of brains as PNG, with their recipes beside them.

    Example: stylegan3d picture --seeds 0 --planes axial --lightbox 20 --out pictures
    """
    chosen = chosen_recipes(recipes, seeds, truncation, noise)
    shown, point = parse_planes(planes), parse_point(at)
    if slices and len(shown) != 1:
        raise RecipeError("A lightbox is of one plane: choose it, such as --planes axial.")

    from stylegan3d.geometry.slicing import Upright
    from stylegan3d.outputs.pictures import json_path, picture_files, picture_name
    from stylegan3d.render.figures import draw_planes, lightbox
    from stylegan3d.render.recipes import render_recipe
    from stylegan3d.storage.volumes import check_output, write_together

    drawn_as = look(scale, neurological)
    what = "lightbox" if slices else "planes"
    paths = [out / picture_name(recipe, what) for recipe in chosen]
    check_output([*paths, *map(json_path, paths)], overwrite)
    generator = open_model(model, frame)
    for recipe in chosen:
        recipe.check(generator)
    from stylegan3d.render.renderer import Renderer

    renderer = Renderer(generator)
    with progress("Drawing", total=len(chosen)) as report:
        for number, (path, recipe) in enumerate(zip(paths, chosen, strict=True)):
            report(number, note=path.name)
            rendered = render_recipe(renderer, recipe)
            volume = Upright.of(rendered.volume, rendered.space)
            if slices:
                image = lightbox(volume, shown[0], drawn_as, slices=slices, columns=columns)
            else:
                image = draw_planes(volume, drawn_as, planes=shown, at_mm=point)
            files = picture_files(path, image, recipe, generator, pixels_per_mm=scale)
            write_together(files, overwrite=overwrite)
    result = {"pictures": [str(path) for path in paths], "model": model_entry(generator)}
    emit(result, map(str, paths), as_json=as_json)


def chosen_recipes(
    recipes: list[str] | None, seeds: str | None, truncation: float | None, noise: str | None
) -> list[Recipe]:
    """The recipes of the argument, or those of `--seeds`."""
    if (seeds is None) == (not recipes):
        raise typer.BadParameter("Give either recipes or --seeds, such as --seeds 0-3.")
    if recipes:
        if (truncation, noise) != (None, None):
            raise typer.BadParameter("Recipes hold their own truncation and noise.")
        return [read_recipe(recipe) for recipe in recipes]
    plain = Recipe(
        truncation=Truncation(0.7 if truncation is None else truncation), noise=parse_noise(noise)
    )
    numbers = parse_numbers(str(seeds), "--seeds")
    return [plain.replace(source=Source("seed", number)) for number in numbers]


def look(scale: float, neurological: bool = False) -> Look:
    """How the verbs draw; RecipeError for a size out of bounds."""
    from stylegan3d.render.figures import Look

    low, high = SCALE_LIMITS
    if not low <= scale <= high:
        raise RecipeError(f"--scale must lie between {low:g} and {high:g} pixels per mm.")
    return Look(scale, convention="neurological" if neurological else "radiological")
