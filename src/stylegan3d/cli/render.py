"""`stylegan3d render`: pictures, films, reports and DICOM files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stylegan3d.base import Json, JsonView, RecipeError, ScanError
from stylegan3d.cli import common
from stylegan3d.cli.recipes import checked, chosen_recipes
from stylegan3d.geometry.space import PLANES, Upright
from stylegan3d.recipe.description import marked
from stylegan3d.settings.option import DicomSettings, FigureSettings, FilmSettings, ReportSettings
from stylegan3d.storage.files import check_output, write_together

if TYPE_CHECKING:
    import numpy as np

    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.render.figures import Look
    from stylegan3d.render.renderer import Renderer

RecipesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        help="Recipes: JSON texts, JSON files, or sidecars of saved volumes.", show_default=False
    ),
]
PlanesOption = Annotated[str, typer.Option(help="Planes shown side by side, joined by commas.")]
PointOption = Annotated[
    str | None,
    typer.Option(
        help="Point (RAS, mm) that the slices pass through, such as 0,-20,10.",
        show_default="the centre",
    ),
]
ALL_PLANES = ",".join(PLANES)
app = typer.Typer(
    help="Render brains as pictures, films or reports; write saved files as DICOM.\n\n"
    "Example: stylegan3d render picture --seeds 0-3 --out pictures"
)


def _opened(
    written: common.Result, recipes: list[Recipe], scans: list[Path] | None
) -> tuple[Generator, Renderer, Json]:
    """The generator, for which the recipes are right, its renderer with the scans, and both told.

    In the JSON object: what is in doubt about the recipes, and the model.
    """
    generator = written.open()
    told: Json = {"doubts": checked(recipes, generator), "model": common.model_entry(generator)}
    from stylegan3d.outputs.projections import scans_at_hand
    from stylegan3d.render.renderer import Renderer

    return generator, Renderer(generator, scans_at_hand(*scans or ())), told


@app.command()
@common.grouped
def picture(
    ctx: typer.Context,
    drawn: common.Drawn,
    written: common.Written,
    figure: FigureSettings,
    recipes: RecipesArgument = None,
    seeds: common.SeedsOption = None,
    planes: PlanesOption = ALL_PLANES,
    at: PointOption = None,
    scan: common.ScansOption = None,
    overlay: Annotated[
        Path | None,
        typer.Option(
            help="FLAIR, T2, earlier T1 or label map of the scan that the recipe was projected "
            "from: aligned to it and drawn over the planes. Edits do not move it.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write labelled slices of brains as PNG, with their recipes.

    Example: stylegan3d render picture --seeds 0 --planes axial --lightbox 20 --out pictures
    """
    chosen = chosen_recipes(ctx, recipes, seeds, drawn.recipe())
    shown, point = common.parse_planes(planes), common.parse_point(at)
    slices = figure.slices
    if slices and len(shown) != 1:
        raise RecipeError("A lightbox shows one plane: choose it, such as --planes axial.")
    if slices and overlay is not None:
        raise typer.BadParameter("--overlay is drawn over planes: leave --lightbox out.")
    if slices and point is not None:
        raise typer.BadParameter("--at is for planes through one point: leave --lightbox out.")

    from stylegan3d.outputs.results import edited_file, json_path, picture_files, picture_name
    from stylegan3d.render.figures import draw_planes, lightbox
    from stylegan3d.render.recipes import render_recipe

    drawn_as = _look(figure.scale, figure.neurological)
    what = "lightbox" if slices else "planes"
    paths = [written.out / picture_name(r, what, scan=edited_file(r)) for r in chosen]
    check_output([*paths, *map(json_path, paths)], written.overwrite)
    generator, renderer, told = _opened(written, chosen, scan)
    from stylegan3d.outputs.projections import second_over

    with common.progress("Drawing") as report:
        for number, (path, recipe) in enumerate(zip(paths, chosen, strict=True)):
            report(number, len(chosen), path.name)
            rendered = render_recipe(renderer, recipe)
            volume = Upright.of(rendered.volume, rendered.space)
            look = replace(drawn_as, caption=marked(drawn_as.caption, recipe))
            second, over = None, None
            if overlay is not None:
                second, laid = second_over(recipe, overlay, rendered.space, *scan or ())
                over = Upright.of(laid, rendered.space)
                if number == 0:
                    common.print_doubts(second.doubts, second.name)
                    told["doubts"] += second.doubts
                look = replace(look, caption=f"{look.caption} - overlay: {second.name}")
            if slices:
                image = lightbox(volume, shown[0], look, slices=slices, columns=figure.columns)
            else:
                image = draw_planes(volume, look, planes=shown, at_mm=point, over=over)
            files = picture_files(
                path, image, recipe, generator, pixels_per_mm=figure.scale, second=second
            )
            write_together(files, overwrite=written.overwrite)
    result = {"pictures": list(map(str, paths)), **told}
    common.emit(result, map(str, paths), as_json=written.as_json)


@app.command()
@common.grouped
def film(
    ctx: typer.Context,
    drawn: common.Drawn,
    settings: FilmSettings,
    written: common.Result,
    recipes: RecipesArgument = None,
    seeds: common.SeedsOption = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Film to write: .mp4, .gif, .png or .webp.")
    ] = Path("film.gif"),
    planes: PlanesOption = ALL_PLANES,
    at: PointOption = None,
    scale: Annotated[float, common.described(FigureSettings, "scale")] = FigureSettings.scale,
    scan: common.ScansOption = None,
) -> None:
    """Write a film that moves from brain to brain, with the recipes of its key frames.

    Example: stylegan3d render film --seeds 0-3 --loop --out walk.gif
    """
    frames = chosen_recipes(ctx, recipes, seeds, drawn.recipe())
    from stylegan3d.outputs.films import Film, check_suffix, film_files
    from stylegan3d.outputs.results import json_path

    planned = Film(
        tuple(frames), settings, common.parse_planes(planes), common.parse_point(at), _look(scale)
    )
    check_suffix(out)
    check_output([out, json_path(out)], written.overwrite)
    generator, renderer, told = _opened(written, frames, scan)
    with common.progress("Rendering") as report:
        files = film_files(out, planned, generator, renderer, report)
    write_together(files, overwrite=written.overwrite)
    result = {"path": str(out), "sidecar": str(json_path(out)), "frames": planned.frames}
    common.emit({**result, **told}, [str(out)], as_json=written.as_json)


@app.command()
@common.grouped
def report(
    ctx: typer.Context,
    drawn: common.Drawn,
    written: common.Written,
    settings: ReportSettings,
    recipes: RecipesArgument = None,
    seeds: common.SeedsOption = None,
    scan: common.ScansOption = None,
    name: Annotated[
        str, typer.Option(help="Title of the case.", show_default="the recipe in words")
    ] = "",
    age: common.AgeOption = None,
    sex: common.SexOption = None,
    norms: common.NormsOption = None,
) -> None:
    """Write a one-page report of each case, as PDF (A4) and as one HTML file.

    It shows identity, verdicts, views, volumes with their z on curves over age, asymmetry, marked
    values, edits, recipe and versions.

    For a recipe of a projected scan, the aligned scan and the verdict are read from the folder of
    its latent file, as written by `stylegan3d project`.

    Example: stylegan3d render report edited/sub-01_desc-edited_T1w.json --out reports
    """
    chosen = chosen_recipes(ctx, recipes, seeds, drawn.recipe())

    from stylegan3d.outputs.report import build_case, report_name
    from stylegan3d.outputs.report_page import planned_files, report_files
    from stylegan3d.outputs.results import edited_file
    from stylegan3d.scans.person import Person
    from stylegan3d.segmentation.norms import read_norms

    paths = [written.out / report_name(recipe, scan=edited_file(recipe)) for recipe in chosen]
    check_output(
        [p for path in paths for p in planned_files(path, html=settings.html)], written.overwrite
    )
    local = None if norms is None else read_norms(norms)
    generator, renderer, told = _opened(written, chosen, scan)
    with common.progress("Measuring") as show:
        for number, (path, recipe) in enumerate(zip(paths, chosen, strict=True)):
            show(number, len(chosen), path.name)
            aligned, trust = _projected(recipe, generator)
            case = build_case(
                recipe,
                generator,
                renderer,
                name=name,
                scan=aligned,
                trust=trust,
                person=Person(age, None if sex is None else sex.value),
                norms=local,
                unusual_z=settings.unusual_z,
            )
            files = report_files(path, case, generator, html=settings.html)
            write_together(files, overwrite=written.overwrite)
    result = {"reports": list(map(str, paths)), **told}
    common.emit(result, map(str, paths), as_json=written.as_json)


@app.command()
@common.grouped
def dicom(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Volumes and label maps (.nii.gz, with their sidecars) and reports (.pdf) as this "
            "program saved them.",
            show_default=False,
        ),
    ],
    settings: DicomSettings,
    out: common.OutOption = Path(),
    reference: Annotated[
        Path | None,
        typer.Option(
            help="DICOM folder of the scan: the files join its patient and study, and name its "
            "images as their source.",
            show_default="a study of their own",
        ),
    ] = None,
    series: common.SeriesOption = None,
    overwrite: common.OverwriteOption = False,
    as_json: common.JsonOption = False,
) -> None:
    """Write saved files as DICOM, for an archive (PACS): MR images, SEG, SR, encapsulated PDF.

    Nothing is sent: use your archive's own tools, such as storescu of DCMTK.

    Example: stylegan3d render dicom out/sub-01_desc-edited_T1w.nii.gz --reference scan --out dicom
    """
    from stylegan3d.outputs.dicom import Reference
    from stylegan3d.outputs.dicom_files import dicom_files

    if series is not None and reference is None:
        raise typer.BadParameter("--series chooses a series of --reference: give that too.")
    with common.progress("Writing DICOM") as show:
        joined = None if reference is None else Reference.read(reference, series)
        written = dicom_files(files, out, joined, settings, progress=show)
    write_together(written, overwrite=overwrite)
    folders: dict[str, int] = {}
    for path in written:
        folders[str(path.parent)] = folders.get(str(path.parent), 0) + 1
    lines = [f"{folder}: {count} DICOM files" for folder, count in folders.items()]
    common.emit({"folders": folders}, lines, as_json=as_json)


def _projected(recipe: Recipe, generator: Generator) -> tuple[np.ndarray | None, JsonView | None]:
    """The aligned scan (X, Y, Z) and the verdict, if found beside the latent."""
    known = recipe.scan()
    if known is None:
        return None, None

    from stylegan3d.outputs.projections import output_names
    from stylegan3d.scans.checks import read_volume

    names = output_names(known["path"], Path(str(recipe.source.path)).parent)
    if not names["report"].is_file():
        return None, None
    report = common.read_object(names["report"])
    if (report.get("scan") or {}).get("sha256") != known.get("sha256"):  # of another of this name
        return None, None
    trust = report.get("trust") or {}
    if not names["aligned"].is_file():
        return None, trust
    image, data = read_volume(names["aligned"], "volume")
    if not generator.space.same_as(image):
        raise ScanError(
            f"{names['aligned'].name} has a different grid than {generator.name}: project "
            "the scan again with this model."
        )
    return data, trust


def _look(scale: float, neurological: bool = False) -> Look:
    """Look of the figures."""
    from stylegan3d.render.figures import Look

    return Look(scale, convention="neurological" if neurological else "radiological")
