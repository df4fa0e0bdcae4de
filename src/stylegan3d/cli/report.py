"""`stylegan3d report`: a case on one page, as PDF."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
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
from stylegan3d.cli.picture import RecipesArgument, SeedsOption, chosen_recipes
from stylegan3d.errors import ScanError
from stylegan3d.recipe.recipe import Recipe

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("report")(report)


def report(
    recipes: RecipesArgument = None,
    seeds: SeedsOption = None,
    name: Annotated[
        str, typer.Option("--name", help="Of the case; by default the recipe in words.")
    ] = "",
    truncation: TruncationOption = None,
    noise: NoiseOption = None,
    out: OutOption = Path(),
    model: ModelOption = None,
    frame: FrameOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write one page (A4, PDF) about each case: views, measures, recipe, and a warning.

    For a recipe of a projected scan, the aligned scan and the verdict are taken from the folder of
    its latent file, where `stylegan3d project` left them.

    Example: stylegan3d report edited/sub-01_desc-edited_T1w.json --out reports
    """
    chosen = chosen_recipes(recipes, seeds, truncation, noise)

    from stylegan3d.outputs.pictures import json_path
    from stylegan3d.outputs.report import build_case, report_name
    from stylegan3d.outputs.report_page import report_files
    from stylegan3d.storage.volumes import check_output, write_together

    paths = [out / report_name(recipe) for recipe in chosen]
    check_output([*paths, *map(json_path, paths)], overwrite)
    generator = open_model(model, frame)
    for recipe in chosen:
        recipe.check(generator)
    from stylegan3d.render.renderer import Renderer

    renderer = Renderer(generator)
    with progress("Measuring", total=len(chosen)) as tell:
        for number, (path, recipe) in enumerate(zip(paths, chosen, strict=True)):
            tell(number, note=path.name)
            scan, trust = _projected(recipe, generator)
            case = build_case(recipe, generator, renderer, name=name, scan=scan, trust=trust)
            write_together(report_files(path, case, generator), overwrite=overwrite)
    result = {"reports": [str(path) for path in paths], "model": model_entry(generator)}
    emit(result, map(str, paths), as_json=as_json)


def _projected(
    recipe: Recipe, generator: Generator
) -> tuple[np.ndarray | None, dict[str, Any] | None]:
    """The aligned scan (X, Y, Z) and the trust in its projection, where they lie by the latent."""
    described = recipe.scan()
    if described is None:
        return None, None
    import nibabel as nib

    from stylegan3d.geometry.space import Space
    from stylegan3d.outputs.projections import output_names

    names = output_names(described["path"], Path(str(recipe.source.path)).parent)
    trust = None
    if names["report"].is_file():
        trust = json.loads(names["report"].read_text(encoding="utf-8")).get("trust")
    if not names["aligned"].is_file():
        return None, trust
    image = nib.load(names["aligned"])
    shape = tuple(int(size) for size in image.shape)
    if len(shape) != 3 or not generator.space.same_as(Space(shape, image.affine)):
        raise ScanError(
            f"{names['aligned'].name} lies on another grid than {generator.name} has: project the "
            "scan again with this model."
        )
    return np.asarray(image.dataobj, dtype=np.float32), trust
