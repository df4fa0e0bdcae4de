"""`stylegan3d directions`: list, save, or follow the ways a brain can change."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stylegan3d.cli.common import (
    FrameOption,
    JsonOption,
    ModelOption,
    NativeOption,
    NoiseOption,
    OntoScanOption,
    OutOption,
    OverwriteOption,
    TruncationOption,
    emit,
    model_entry,
    open_model,
    progress,
)
from stylegan3d.cli.own_directions import (
    BetweenOption,
    ColumnOption,
    FreeOfOption,
    NameOption,
    ValuesOption,
    find_own,
)
from stylegan3d.cli.parsing import parse_edits, parse_label, parse_noise
from stylegan3d.cli.rendering import ChannelOption, LabelOption, render_to_files
from stylegan3d.errors import RecipeError
from stylegan3d.recipe.recipe import Edit, Recipe, Source, Truncation
from stylegan3d.storage.tensorfiles import read_bytes

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.directions import Directions


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
    fit: Annotated[
        Path | None,
        typer.Option(
            "--fit",
            help="Find directions of attributes in the people of this prepared data set, check "
            "them on its validation people, and describe the principal components.",
        ),
    ] = None,
    attributes: Annotated[
        str | None,
        typer.Option(
            "--attributes",
            help="With --fit: these alone, such as age,ventricle_ml; age, sex, brain_ml, "
            "ventricle_ml, grey_ml, white_ml, or another column of participants.tsv.",
        ),
    ] = None,
    conditional: Annotated[
        str | None,
        typer.Option(
            "--conditional",
            help='With --fit: attributes that the others hold fixed, such as "head size,age", or '
            "none. By default head size.",
        ),
    ] = None,
    between: BetweenOption = None,
    values: ValuesOption = None,
    column: ColumnOption = None,
    free_of: FreeOfOption = None,
    name: NameOption = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", help="Keep the listed directions in this .safetensors file."),
    ] = None,
    truncation: TruncationOption = None,
    noise: NoiseOption = None,
    label: LabelOption = None,
    channel: ChannelOption = 0,
    out: OutOption = Path(),
    native: NativeOption = False,
    onto_scan: OntoScanOption = None,
    model: ModelOption = None,
    frame: FrameOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """List the directions of a generator, or move a brain along them.

    Example: stylegan3d directions --seed 4 --edit "PC 1=2.0" --edit "PC 3=-1" --out edited
    """
    if fit is None and (attributes is not None or conditional is not None):
        raise typer.BadParameter("--attributes and --conditional need --fit with a data set.")
    own = between is not None or values is not None
    if own + (fit is not None) + (between is not None and values is not None) > 1:
        raise typer.BadParameter("Give one of --fit, --between and --values.")
    if not own and any(option is not None for option in (column, free_of, name)):
        raise typer.BadParameter("--column, --free-of and --name need --between or --values.")
    if not edit:
        if seed is not None or latent is not None or onto_scan is not None:
            raise typer.BadParameter('Say how to edit the brain, such as --edit "PC 1=2.0".')
        generator = open_model(model, frame)
        if own:
            with progress("Finding the direction"):
                listed = find_own(generator, between, values, column, free_of, name, truncation)
        elif fit is not None:
            listed = _fit(generator, fit, attributes, conditional, components, samples)
        else:
            listed = _find(generator, components, samples)
        if save is not None:
            from stylegan3d.recipe.direction_file import save_directions

            save_directions(save, listed, overwrite)
        _list(listed, generator, save, as_json=as_json)
        return
    if (seed is None) == (latent is None):
        raise typer.BadParameter("Give the brain to edit: either --seed or --latent.")
    if components is not None or save is not None or fit is not None or own:
        raise typer.BadParameter("Find or keep directions in a run of its own, without --edit.")
    recipe = Recipe(
        Source("seed", seed) if latent is None else Source.from_file(latent),
        Truncation(0.7 if truncation is None else truncation),
        edits=_with_files_named(parse_edits(edit)),
        noise=parse_noise(noise),
        label=parse_label(label),
        channel=channel,
    )
    render_to_files(
        open_model(model, frame),
        [recipe],
        out,
        native=native,
        onto=onto_scan,
        overwrite=overwrite,
        as_json=as_json,
    )


def _find(generator: Generator, components: int | None, samples: int) -> Directions:
    if components is None:
        return generator.directions
    from stylegan3d.model.components import pca_directions

    with progress("Finding directions"):
        return pca_directions(generator, components, samples)


def _fit(
    generator: Generator,
    path: Path,
    attributes: str | None,
    conditional: str | None,
    components: int | None,
    samples: int,
) -> Directions:
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.directions.attributes import build_directions
    from stylegan3d.directions.people import key_of
    from stylegan3d.model.components import COMPONENTS

    wanted, fixed = (
        None if text is None else [key_of(part) for part in text.split(",") if part.strip()]
        for text in (attributes, None if conditional == "none" else conditional)
    )
    if conditional == "none":
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
            report=report,
        )


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


def checks_table(checks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of a table: how each attribute held on people it was not fitted to."""
    if not checks:
        return []
    rows = [("", "people", "r", "by chance", "R2", "error", "of the mean", "edited by +2 and -2")]
    for told in checks:
        unit = f" {told['unit']}".rstrip()
        error, mean = (
            f"{told[key]:.3g}{unit}" if "mae" in told else "" for key in ("mae", "baseline")
        )
        if "auc" in told:
            error, mean = f"AUC {told['auc']:.2f}", f"AUC {told['baseline']:.2f}"
        r, chance, r2 = (f"{told[key]:.2f}" if key in told else "" for key in ("r", "chance", "r2"))
        people = f"{told['n_fit']} + {told['n_check']}"
        rows.append((told["name"], people, r, chance, r2, error, mean, _edited(told)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    title = "\nChecked on people who had no part in the fit (fitted + checked):"
    table = [
        "  ".join(text.ljust(n) for text, n in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [title, *table]


def _edited(told: Mapping[str, Any]) -> str:
    """What edited brains measured: the attribute itself, or else head and ventricles."""
    from stylegan3d.directions.people import NAMES

    edited = told.get("edited")
    if edited is None:
        return ""
    own = [told["attribute"]] if told["attribute"] in edited["change"] else []
    parts = [
        f"{NAMES[key].lower()} {edited['change'][key]:+.1f} / {edited['change_back'][key]:+.1f} ml"
        for key in own or ("brain_ml", "ventricle_ml")
    ]
    if "right_way" in edited:
        parts.append(f"grew in {100 * edited['right_way']:.0f} % of {edited['brains']}")
    if told.get("left_out"):
        parts.append("left out")
    return ", ".join(parts)


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
