"""`stylegan3d directions`: list, find and save edit directions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stylegan3d.cli.common import (
    Result,
    TruncationOption,
    emit,
    grouped,
    model_entry,
    progress,
    refuse,
)
from stylegan3d.errors import RecipeError
from stylegan3d.model.random_latents import COMPONENTS, SAMPLES
from stylegan3d.plain import JsonView
from stylegan3d.recipe.model import TRUNCATION, Truncation

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.directions import Directions


@grouped
def directions(
    ctx: typer.Context,
    written: Result,
    components: Annotated[
        int | None, typer.Option("--components", min=1, help="Compute this many components again.")
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", min=2, help="Random brains to compute components from.")
    ] = SAMPLES,
    fit: Annotated[
        Path | None,
        typer.Option(
            "--fit",
            help="Fit directions of attributes to the subjects of this prepared data set, check "
            "them on its validation subjects, and describe the principal components.",
        ),
    ] = None,
    attributes: Annotated[
        str | None,
        typer.Option(
            "--attributes",
            help="With --fit: only these, such as age,ventricle_ml; age, sex, brain_ml, "
            "ventricle_ml, grey_ml, white_ml, or another column of participants.tsv.",
        ),
    ] = None,
    between: Annotated[
        str | None,
        typer.Option(
            "--between",
            help='Find the direction from one group of brains to another, such as "1,2,3:7,8,9"; '
            "seeds or latent files. Checked on pairs left out.",
        ),
    ] = None,
    values: Annotated[
        Path | None,
        typer.Option(
            "--values",
            help="Find the direction along which a value of this table (CSV, TSV) grows. Its first "
            "column holds brains: seeds or latent files. Checked by cross-validation of subjects: "
            "participant_id, if there is such a column, else the sub-… of the latents' names.",
        ),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option("--column", help="With --values: the column, if there are several."),
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
        str | None,
        typer.Option("--name", help="With --between or --values: name of the new direction."),
    ] = None,
    truncation: TruncationOption = TRUNCATION,
    save: Annotated[
        Path | None,
        typer.Option("--save", help="Save the listed directions to this .safetensors file."),
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
        refuse(ctx, "needs --fit with a data set", "attributes")
    if own:
        refuse(ctx, "finds components, not with --between or --values", "components", "samples")
    else:
        refuse(ctx, "needs --between or --values", "name", "truncation")
        if fit is None:
            refuse(ctx, "needs --fit, --between or --values", "hold_fixed")
    if values is None:
        refuse(ctx, "needs --values", "column")
    generator = written.open()
    if own:
        with progress("Finding the direction"):
            listed = _find_own(generator, between, values, column, hold_fixed, name, truncation)
    elif fit is not None:
        listed = _fit(generator, fit, attributes, hold_fixed, components, samples)
    else:
        listed = _find(generator, components, samples)
    if save is not None:
        from stylegan3d.recipe.direction_file import save_directions

        save_directions(save, listed, written.overwrite)
    _list(listed, generator, save, as_json=written.as_json)


def _find(generator: Generator, components: int | None, samples: int) -> Directions:
    if components is None:
        return generator.directions
    from stylegan3d.model.random_latents import pca_directions

    with progress("Finding directions"):
        return pca_directions(generator, components, samples)


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
    from stylegan3d.directions.people import key_of

    wanted, fixed = (
        None if text is None else [key_of(part) for part in text.split(",") if part.strip()]
        for text in (attributes, None if hold_fixed == "none" else hold_fixed)
    )
    if hold_fixed == "none":
        fixed = []
    pack = load_pack(path)
    with progress("Finding directions") as report:
        return build_directions(
            generator,
            pack,
            attributes=wanted,
            hold_fixed=fixed,
            components=components or COMPONENTS,
            samples=samples,
            progress=report,
        )


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
    from stylegan3d.directions.value_table import (
        brain_source,
        latents_of,
        read_value_table,
        subject_of,
    )

    psi = Truncation(truncation)
    if between is not None:
        both = [[brain_source(text, Path(), {}) for text in group] for group in _groups(between)]
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
    if hold_fixed in (None, "none"):
        return found
    names = [part.strip() for part in hold_fixed.split(",") if part.strip()]
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
        "model": model_entry(generator),
        "saved": save,
    }
    emit(result, [*lines, *checks_table(listed.checks)], as_json=as_json)


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
        people = f"{one['n_fit']} + {one['n_check']}"
        rows.append((one["name"], people, r, chance, r2, error, mean, _edited(one)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    title = "\nChecked on held-out subjects (fitted + checked):"
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
