"""Brains from recipes: the commands that make, mix and render them.

`stylegan3d directions`: list, find and save edit directions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stylegan3d.base import Doubt, Json, JsonView, RecipeError, doubts_in, facts_in
from stylegan3d.cli import common
from stylegan3d.cli.many import edit_many
from stylegan3d.model.random_latents import COMPONENTS, SAMPLES, pca_directions
from stylegan3d.recipe.description import describe_source, read_recipe
from stylegan3d.recipe.model import TRUNCATION
from stylegan3d.recipe.recipe import Detail, Edit, Mix, Recipe, Source, Truncation
from stylegan3d.storage.encoding import read_bytes

if TYPE_CHECKING:
    from stylegan3d.measures.attributes import Tissues
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.directions import Directions


def chosen_recipes(
    ctx: typer.Context, given: list[str] | None, seeds: str | None, plain: Recipe
) -> list[Recipe]:
    """The given recipes, or `plain` with each of `--seeds` as its source."""
    if (seeds is None) == (not given):
        raise typer.BadParameter("Give either a recipe or --seeds, such as --seeds 0-3.")
    if given:
        why = "cannot be combined with a recipe, which has its own"
        common.refuse(ctx, why, "truncation", "truncation_layers", "noise", "label", "channel")
        return [read_recipe(recipe) for recipe in given]
    numbers = common.parse_numbers(str(seeds), "--seeds")
    return [plain.replace(source=Source("seed", number)) for number in numbers]


def checked(recipes: Sequence[Recipe], generator: Generator) -> list[Doubt]:
    """What is in doubt about recipes, told; RecipeError if one does not fit the generator."""
    from stylegan3d.scans.verdicts import doubts_of_scan

    doubts: dict[Doubt, None] = {}
    for recipe in recipes:
        recipe.check(generator)
        found = (*recipe.doubts(generator), *doubts_of_scan(*recipe.scans()))
        doubts |= dict.fromkeys(found)
    common.print_doubts(doubts)
    return list(doubts)


def render_to_files(
    generator: Generator,
    recipes: Sequence[Recipe],
    written: common.Volumes,
    table: Path | None = None,
) -> None:
    """Render each recipe at full quality and save it, after checking everything first.

    For an edited scan in native space, the model's brain is written too. `table` is a CSV for the
    tissue volumes of all brains.
    """
    from stylegan3d.measures.attributes import table_text
    from stylegan3d.outputs.projections import edit_files, edit_names, scans_at_hand
    from stylegan3d.outputs.results import (
        edited_file,
        native_scan,
        rendered_files,
        tissues_shown,
        volume_name,
        write_dataset_description,
    )
    from stylegan3d.render.recipes import carried_detail, render_recipe
    from stylegan3d.render.renderer import Renderer
    from stylegan3d.storage.files import check_output, utf8, write_together
    from stylegan3d.storage.volumes import sidecar_path

    out, overwrite = written.out, written.overwrite
    recipes = [_detailed(recipe, written) for recipe in recipes]
    given = [] if written.scan is None else [written.scan]
    native = written.native or (bool(given) and all(recipe.is_edited_scan for recipe in recipes))
    brains = [recipe.replace(detail=None) if native else recipe for recipe in recipes]
    paths = [out / volume_name(b, native=native, scan=edited_file(b)) for b in brains]
    more = [
        edit_names(recipe, out) if native and recipe.worn_detail is not None else {}
        for recipe in recipes
    ]
    planned = [*paths, *(path for names in more for path in names.values())]
    tables = [] if table is None else [table]
    check_output([*planned, *map(sidecar_path, planned), *tables], overwrite)
    doubts = checked(recipes, generator)
    scans = [native_scan(recipe) if native else None for recipe in recipes]
    renderer = Renderer(generator, scans_at_hand(*given))
    for recipe in recipes:
        if recipe.worn_detail is not None:
            carried_detail(renderer, recipe.worn_detail, recipe.channel)
    volumes: list[Json] = []
    found: list[Tissues] = []
    with common.progress("Rendering") as report:
        for path, recipe, brain, scan, names in zip(
            paths, recipes, brains, scans, more, strict=True
        ):
            report(len(volumes), len(recipes), path.name)
            rendered = render_recipe(renderer, brain)
            found.append(tissues_shown(rendered.volume, rendered.space, scan or brain.scan()))
            files = rendered_files(
                path, rendered, brain, generator, native=native, scan=scan, tissues=found[-1]
            )
            if names:
                files |= edit_files(recipe, renderer, out)
            write_together(files, overwrite=overwrite)
            write_dataset_description(out, generator)
            volumes.append(
                {
                    "path": str(path),
                    **{f"edit_{what.lower()}": str(file) for what, file in names.items()},
                    "sidecar": str(sidecar_path(path)),
                    "recipe": recipe.to_dict(),
                    "tissues": found[-1].to_dict(),
                    "seconds": rendered.seconds,
                }
            )
    if table is not None:
        text = table_text([path.name for path in paths], found)
        write_together({table: utf8(text)}, overwrite=overwrite)
    common.emit(
        {"volumes": volumes, "doubts": doubts, "model": common.model_entry(generator)},
        [str(path) for path in [*planned, *tables]],
        as_json=written.as_json,
    )


def _detailed(recipe: Recipe, written: common.Volumes) -> Recipe:
    """The recipe with the detail of its own scan or of another, as requested.

    Raises
    ------
    RecipeError, LatentError
        If that is not a projected scan, or the detail has no effect.
    """
    of, strength = written.detail_of, written.detail
    if of is None and strength is None and (written.scan is None or recipe.detail is not None):
        return recipe
    if strength == 0 and written.scan is not None:
        raise RecipeError(
            "--detail 0 leaves the scan out, so --scan is ignored: raise --detail or omit --scan."
        )
    source = recipe.source if of is None else Source.from_file(of)
    if source.kind != "projected":
        raise RecipeError(
            f"{of or 'This brain'} was not projected from a scan, so it has no detail: start from "
            "the latent file of a projection, or name one with --detail-of."
        )
    found = recipe.replace(detail=Detail(source, 1.0 if strength is None else strength))
    if found.is_edited_scan and not recipe.changes:
        raise RecipeError(
            "There is no edit to apply to the scan: give an edit or a mix, or omit --scan."
        )
    return found


@common.grouped
def generate(
    ctx: typer.Context,
    drawn: common.LabelledOptions,
    written: common.Volumes,
    seeds: common.SeedsOption = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Instead, a recipe: JSON text, a link, a JSON file, or a volume's sidecar."
        ),
    ] = None,
    truncation_layers: Annotated[
        int | None,
        typer.Option(help="Truncate only this many of the coarsest layers.", show_default="all"),
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="Also write the tissue volumes (ml) of all brains, .csv.")
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


@common.grouped
def mix(
    a: Annotated[str, typer.Option(help="First brain: a seed or a latent file.")],
    b: Annotated[str, typer.Option(help="Second brain: a seed or a latent file.")],
    drawn: common.LabelledOptions,
    written: common.Volumes,
    strength: Annotated[
        str | None,
        typer.Option(
            help="Share of the second brain, 0 to 1; or one per layer, such as 1,1,0.5,0.",
            show_default="0.5, or 1 with --layers",
        ),
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="Mix only these layers, such as 0-3; 0 is the coarsest.")
    ] = None,
) -> None:
    """Mix two brains layer by layer: coarse layers hold shape, fine layers texture.

    Example: stylegan3d mix --a projected/sub-01_desc-projected_latent.safetensors --b 7
    --layers 0-3 --out mixed
    """
    first, second = common.parse_source(a), common.parse_source(b)
    generator = written.open()
    if layers is not None or "," in (strength or ""):
        generator.require("layers")
    strengths = common.parse_strengths(strength, layers, generator.num_layers)
    recipe = drawn.recipe().replace(source=first, mix=Mix(second, strengths))
    render_to_files(generator, [recipe], written)


@common.grouped
def edit(
    drawn: common.LabelledOptions,
    written: common.Volumes,
    edits: Annotated[
        list[str] | None,
        typer.Option(
            "--edit",
            help='Direction and strength in standard deviations, such as "PC 1=2.0", or '
            '"PC 1=2.0@0-3" for these layers only; may be repeated.',
        ),
    ] = None,
    age_by: Annotated[
        float | None, typer.Option(help="Age the brain by this many years; negative for younger.")
    ] = None,
    to_age: Annotated[
        float | None, typer.Option(help="Age the brain to this age in years.")
    ] = None,
    age: Annotated[
        float | None,
        typer.Option(
            help="With --age-by or --to-age: how old the brain is.",
            show_default="as estimated by the model",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random brain to edit.")] = None,
    latent: Annotated[
        Path | None,
        typer.Option(
            help="Instead, the brain of this latent file. Or many: a folder of projections, or a "
            "text file with one latent file per line and, after a tab, its scan; --scan is then "
            "the folder of the scans."
        ),
    ] = None,
    jobs: common.JobsOption = 1,
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
    from stylegan3d.cohort.run import LISTS

    if latent is not None and (latent.is_dir() or latent.suffix.lower() in LISTS):
        if to_age is not None or age is not None:
            raise typer.BadParameter("--to-age and --age are for one brain: give --age-by to many.")
        recipe = drawn.recipe().replace(edits=_with_files_named(edits))
        _edit_many(latent, recipe, age_by, written, jobs)
        return
    if jobs > 1:
        raise typer.BadParameter("--jobs is for many scans: give a folder of projections.")
    source = Source("seed", seed) if latent is None else Source.from_file(latent)
    recipe = drawn.recipe().replace(source=source, edits=_with_files_named(edits))
    generator = written.open()
    recipe = _with_names_written(recipe, generator)
    if ages:
        recipe = _aged(recipe, generator, age_by, to_age, age)
    render_to_files(generator, [recipe], written)


def _aged(
    recipe: Recipe, generator: Generator, by: float | None, to: float | None, age: float | None
) -> Recipe:
    """The recipe of the brain when it is older; what is expected then goes to standard error."""
    from stylegan3d.directions.people import Trajectory
    from stylegan3d.scans.verdicts import doubts_of_scan, withheld

    trajectory = Trajectory.needed(generator)
    text = "as given"
    if age is None:
        if why := withheld(doubts_of_scan(recipe.scan() or {})):
            raise RecipeError(f"Figures of this scan {why}: give the person's age with --age.")
        plain = recipe.replace(edits=())
        age, text = trajectory.apparent_age(plain.latent(generator)), "as estimated by the model"
    years = by if by is not None else (to or 0.0) - age
    edit = trajectory.edit(years)
    others = tuple(one for one in recipe.edits if one.direction != edit.direction)
    if len(others) < len(recipe.edits):
        raise RecipeError(f"Give the age either in years or along {edit.direction}, not both.")
    notes = trajectory.notes(age, age + years)
    for line in [f"From {age:.0f} years ({text}):", *facts_in(notes)]:
        typer.echo(line, err=True)
    common.print_doubts(doubts_in(notes))
    return recipe.replace(edits=(*others, edit))


def _edit_many(
    latents: Path, recipe: Recipe, age_by: float | None, written: common.Volumes, jobs: int
) -> None:
    """Edit every scan of a folder or list of latent files."""
    if written.detail_of is not None:
        raise typer.BadParameter("--detail-of is for one brain: many scans show their own detail.")
    strength = 1.0 if written.detail is None else written.detail
    if not strength:
        raise typer.BadParameter("--detail 0 shows nothing of the scans: give more than 0.")
    generator = written.open()
    recipe = _with_names_written(recipe, generator)
    if age_by is not None:
        from stylegan3d.directions.people import Trajectory

        recipe = recipe.replace(edits=(*recipe.edits, Trajectory.needed(generator).edit(age_by)))
    checked([recipe], generator)
    edit_many(latents, recipe, strength, generator, written, jobs)


def _with_names_written(recipe: Recipe, generator: Generator) -> Recipe:
    """The recipe with the model's own directions as they are written, whatever was typed."""
    edits = tuple(
        edit if edit.file else replace(edit, direction=generator.directions.called(edit.direction))
        for edit in recipe.edits
    )
    return recipe.replace(edits=edits)


def _with_files_named(texts: list[str] | None) -> tuple[Edit, ...]:
    """Edits from texts, with absolute paths and sha256 of their directions files.

    So the recipe works from any folder, and only with these files.
    """
    named = []
    for edit in common.parse_edits(texts or ()):
        if edit.file is not None:
            path = Path(edit.file).absolute()
            edit = edit.with_file(path, hashlib.sha256(read_bytes(path, RecipeError)).hexdigest())
        named.append(edit)
    return tuple(named)


@common.grouped
def directions(
    ctx: typer.Context,
    written: common.Result,
    components: Annotated[
        int | None, typer.Option(min=1, help="Recompute this many principal components.")
    ] = None,
    samples: Annotated[
        int, typer.Option(min=2, help="Random brains to compute components from.")
    ] = SAMPLES,
    fit: Annotated[
        Path | None,
        typer.Option(
            help="Fit directions of attributes to the subjects of this prepared dataset, check "
            "them on its validation subjects, and describe the principal components."
        ),
    ] = None,
    attributes: Annotated[
        str | None,
        typer.Option(
            help="With --fit: only these, such as age,ventricle_ml; age, sex, brain_ml, "
            "ventricle_ml, grey_ml, white_ml, or another column of participants.tsv."
        ),
    ] = None,
    between: Annotated[
        str | None,
        typer.Option(
            help='Find the direction from one group of brains to another, such as "1,2,3:7,8,9"; '
            "seeds or latent files. Checked on pairs left out."
        ),
    ] = None,
    values: Annotated[
        Path | None,
        typer.Option(
            help="Find the direction along which a value of this table (CSV, TSV) grows. Its first "
            "column holds brains: seeds or latent files. Checked by cross-validation of subjects: "
            "participant_id, if there is such a column, else the sub-… of the latents' names."
        ),
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="With --values: the column, if there are several.")
    ] = None,
    hold_fixed: Annotated[
        str | None,
        typer.Option(
            "--adjust-for",
            help="What the new directions should not change. With --fit: attributes and the outer "
            'contour of the brain, such as "head size,contour", or none. With --between or '
            '--values: directions of the model, such as "Age,PC 1" (Gram-Schmidt in w).',
            show_default="head size and, where the model has a deformation, contour with --fit",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="With --between or --values: name of the new direction.")
    ] = None,
    truncation: common.TruncationOption = TRUNCATION,
    save: Annotated[
        Path | None, typer.Option(help="Save the listed directions to this .safetensors file.")
    ] = None,
) -> None:
    """List the directions of a model, or find new ones: of attributes, groups or values.

    `stylegan3d edit` moves a brain along them.

    Example: stylegan3d directions --between "1,2,3,4:7,8,9,12" --name Mine --save mine.safetensors
    """
    if sum(way is not None for way in (fit, between, values)) > 1:
        raise typer.BadParameter("Give one of --fit, --between and --values.")
    own = between is not None or values is not None
    if fit is None:
        common.refuse(ctx, "needs --fit with a dataset", "attributes")
    if own:
        common.refuse(
            ctx, "finds components, not with --between or --values", "components", "samples"
        )
    else:
        common.refuse(ctx, "needs --between or --values", "name", "truncation")
        if fit is None:
            common.refuse(ctx, "needs --fit, --between or --values", "hold_fixed")
    if values is None:
        common.refuse(ctx, "needs --values", "column")
    generator = written.open()
    if own:
        with common.progress("Finding the direction"):
            listed = _find_own(generator, between, values, column, hold_fixed, name, truncation)
    elif fit is not None:
        listed = _fit(generator, fit, attributes, hold_fixed, components, samples)
    elif components is not None:
        with common.progress("Finding directions"):
            listed = pca_directions(generator, components, samples)
    else:
        listed = generator.directions
    if save is not None:
        from stylegan3d.recipe.latents import save_directions

        save_directions(save, listed, written.overwrite)
    _list(listed, generator, save, as_json=written.as_json)


def _fit(
    generator: Generator,
    path: Path,
    attributes: str | None,
    hold_fixed: str | None,
    components: int | None,
    samples: int,
) -> Directions:
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.directions.attributes import build_directions
    from stylegan3d.directions.people import FEWEST_TO_FIT, key_of

    wanted, fixed = (
        None if text is None else [key_of(part) for part in text.split(",") if part.strip()]
        for text in (attributes, "" if hold_fixed == "none" else hold_fixed)
    )
    pack = load_pack(path)
    with common.progress("Finding directions") as report:
        found = build_directions(
            generator,
            pack,
            attributes=wanted,
            hold_fixed=fixed,
            components=components or COMPONENTS,
            samples=samples,
            progress=report,
        )
    if wanted is None and not found.checks:
        known = f"age, sex and volumes are known for fewer than {FEWEST_TO_FIT} training subjects"
        common.log.warning("no directions of attributes: %s.", known)
    return found


def _find_own(
    generator: Generator,
    between: str | None,
    values: Path | None,
    column: str | None,
    hold_fixed: str | None,
    name: str | None,
    truncation: float,
) -> Directions:
    """A direction between two groups, or of a column of values."""
    from stylegan3d.directions.custom import direction_between, direction_of_values, orthogonalised
    from stylegan3d.directions.people import brain_source, latents_of, read_value_table, subject_of

    psi = Truncation(truncation)
    if between is not None:
        both = [[brain_source(text, Path(), {}) for text in group] for group in _groups(between)]
        if twice := [brain for brain in both[0] if brain in both[1]]:
            name = describe_source(twice[0])
            raise RecipeError(f"{name} is in both groups: leave it out of one of them.")
        less, more = (latents_of(generator, sources, psi) for sources in both)
        less_of, more_of = ([*map(subject_of, sources)] for sources in both)
        name = name or "From A to B"
        found = direction_between(generator, less, more, name, (less_of, more_of))
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
        brains = table.sources()
        latents, subjects = latents_of(generator, brains, psi), table.subjects(brains)
        found = direction_of_values(generator, latents, numbers, name or column, subjects=subjects)
    names = [part.strip() for part in (hold_fixed or "none").split(",") if part.strip()]
    if names in ([], ["none"]):
        return found
    steps = [generator.directions.step(part) for part in names]
    return orthogonalised(generator, found, found.names[0], steps, " and ".join(names))


def _groups(between: str) -> list[list[str]]:
    groups = [
        [part.strip() for part in group.split(",") if part.strip()] for group in between.split(":")
    ]
    if len(groups) != 2:
        raise RecipeError('Give two groups of brains with a colon between, such as "1,2,3:7,8,9".')
    return groups


def _list(listed: Directions, generator: Generator, save: Path | None, *, as_json: bool) -> None:
    rows = [
        {
            "name": name,
            "explained_variance": float(share),
            "std": float(std),
            "description": listed.descriptions.get(name, ""),
        }
        for name, share, std in zip(
            listed.names, listed.explained_variance, listed.std, strict=True
        )
    ]
    width = max(len(name) for name in listed.names)
    lines = [f"{'':{width}}  explained  std in w"]
    for row in rows:
        line = f"{row['name']:{width}} {row['explained_variance']:9.2%}  {row['std']:8.3g}"
        lines.append(f"{line}  {row['description']}".rstrip())
    result = {
        "directions": rows,
        "checks": list(listed.checks),
        "model": common.model_entry(generator),
        "saved": save,
    }
    common.emit(result, [*lines, *checks_table(listed.checks)], as_json=as_json)


def checks_table(checks: Sequence[JsonView]) -> list[str]:
    """Table of how well each attribute is predicted in held-out subjects."""
    if not checks:
        return []
    rows = [("", "people", "r", "by chance", "R2", "error", "of the mean", "after +2 and -2")]
    for one in checks:
        unit = f" {one['unit']}".rstrip()
        error, mean = (
            f"{one[key]:.3g}{unit}" if "mae" in one else "" for key in ("mae", "baseline")
        )
        if "auc" in one:
            error, mean = f"AUC {one['auc']:.2f}", f"AUC {one['baseline']:.2f}"
        r, chance, r2 = (f"{one[key]:.2f}" if key in one else "" for key in ("r", "chance", "r2"))
        people = f"{one['n_fit']} + {one['n_check']}{' pairs' * (one['attribute'] == 'groups')}"
        rows.append((one["name"], people, r, chance, r2, error, mean, _edited(one)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    title = "\nChecked where it was not fitted (fitted + checked):"
    table = [
        "  ".join(text.ljust(n) for text, n in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [title, *table]


def _edited(check: JsonView) -> str:
    """Measurements of edited brains: the attribute itself, or head and ventricles."""
    from stylegan3d.directions.people import NAMES

    edited = check.get("edited")
    if edited is None:
        return ""
    own = [check["attribute"]] if check["attribute"] in edited["change"] else []
    parts = [
        f"{NAMES[key].lower()} {edited['change'][key]:+.1f} / {edited['change_back'][key]:+.1f} ml"
        for key in own or ("brain_ml", "ventricle_ml")
    ]
    if "right_way" in edited:
        parts.append(f"grew in {100 * edited['right_way']:.0f} % of {edited['brains']}")
    if check.get("left_out"):
        parts.append("left out")
    return ", ".join(parts)
