"""Commands that compare brains: `stylegan3d evaluate` with real ones, `compare` in groups."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stylegan3d.base import Json, ModelError, OutputError, RecipeError
from stylegan3d.cli import common
from stylegan3d.directions.people import read_value_table, subject_of
from stylegan3d.evaluation.settings import EvaluationSettings, GroupSettings
from stylegan3d.evaluation.table import figures, keys, warnings
from stylegan3d.storage.files import (
    atomic_write_bytes,
    atomic_write_text,
    check_output,
    only_run,
    write_together,
)

if TYPE_CHECKING:
    import numpy as np

    from stylegan3d.dataset.pack import Pack
    from stylegan3d.directions.people import ValueTable
    from stylegan3d.evaluation.material import Subject
    from stylegan3d.geometry.space import Space


DEFAULT = EvaluationSettings()


@common.grouped
def evaluate(
    ctx: typer.Context,
    data: Annotated[
        list[Path],
        typer.Argument(
            help="Real brains: a dataset made by `stylegan3d prepare`, or a folder of NIfTI "
            "volumes on one grid. With --compare: two or more folders that --out wrote.",
            show_default=False,
        ),
    ],
    settings: EvaluationSettings,
    written: common.Result,
    only: Annotated[
        str,
        typer.Option(help=f"Parts to measure, joined by commas: {', '.join(keys())}; or all."),
    ] = "all",
    cache: common.CacheOption = None,
    montage: Annotated[
        Path | None, typer.Option(help="Also write a picture of synthetic and real brains, .png.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for report.html and report.json, where a stopped evaluation continues; or "
            "a .json file for the report only. With --compare: the table, .html, .csv or .json.",
        ),
    ] = None,
    card: Annotated[
        bool,
        typer.Option("--card", help="Also write the figures and a montage into the model's card."),
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare finished evaluations of several models.")
    ] = False,
    names: Annotated[
        str | None,
        typer.Option(
            help="With --compare: names of the models, joined by commas.",
            show_default="as in the reports",
        ),
    ] = None,
) -> None:
    """Measure a model: are its brains faithful, diverse and private?

    Each figure has a confidence interval, and is shown beside the same figure between real brains.
    --model may also be a folder of NIfTI volumes that any other program made.

    Example: stylegan3d evaluate prepared --model my-model --out evaluated

    Then: stylegan3d evaluate --compare evaluated evaluated-vae --out comparison.html
    """
    overwrite, as_json = written.overwrite, written.as_json
    if compare:
        others = set(ctx.params) - {"data", "out", "compare", "names", "overwrite", "as_json"}
        common.refuse(ctx, "cannot be combined with --compare", *others)
        _compare(data, out, names, overwrite=overwrite, as_json=as_json)
        return
    common.refuse(ctx, "needs --compare", "names")
    if len(data) > 1:
        raise typer.BadParameter(
            "Give one dataset, and the model with --model; or compare reports with --compare."
        )
    from stylegan3d.evaluation.evaluation import (
        BESIDE,
        add_figures,
        evaluate_material,
        finish,
        open_material,
        pictures_of,
        report_files,
    )

    folder, files = _check_files(out, montage, overwrite)
    budget = None if settings.budget == "none" else settings.budget
    settings = replace(settings, parts=_parts(only), budget=budget, cache=cache)
    opened, pack = _open(written, data[0])
    if card:
        _check_card(opened)
    with nullcontext() if folder is None else only_run(folder):
        with common.progress("Evaluating") as bar:
            material = open_material(opened, pack, settings, bar, folder)
            report = evaluate_material(material)
            drawn = folder is not None or montage is not None or card
            pictures = pictures_of(material, report) if drawn else {}
        # The report first: a later failure must not lose the evaluation.
        write_together(report_files(files, report, pictures), overwrite=overwrite)
        if montage is not None:
            atomic_write_bytes(montage, pictures[BESIDE], overwrite=overwrite)
        if card:
            add_figures(material.generator, report, pictures[BESIDE])
        finish(material)
    _show(report, as_json)


def _open(choice: common.ModelChoice, real: Path) -> tuple[Subject, Pack]:
    """What is evaluated, and the real brains."""
    from stylegan3d.dataset.volume_set import holds_volumes, open_real, read_set
    from stylegan3d.evaluation.material import GeneratorSubject, VolumesSubject
    from stylegan3d.storage.places import CARD

    model = choice.model
    with common.progress("Reading real brains") as bar:
        pack = open_real(real, bar)
    made = model is not None and model.is_dir() and not (model / CARD).exists()
    if model is None or not made or not holds_volumes(model):
        return GeneratorSubject(choice.open()), pack
    with common.progress("Reading synthetic brains") as bar:
        return VolumesSubject(read_set(model, pack.space, pack.template, bar)), pack


def _check_card(subject: Subject) -> None:
    """Check that the card's page can be written, before any work is done."""
    from stylegan3d.model.generator import check_page

    if subject.generator is None:
        raise ModelError(
            f"'{subject.name}' is a folder of volumes without a card to write to: leave out --card."
        )
    check_page(subject.generator)


def _check_files(
    out: Path | None, montage: Path | None, overwrite: bool
) -> tuple[Path | None, tuple[Path, ...]]:
    """The output folder, if any, and the report's files; checks that they can be written."""

    if montage is not None and montage.suffix != ".png":
        raise OutputError(f"{montage} does not end in .png; give it a name that does.")
    folder: Path | None = None
    files: tuple[Path, ...] = ()
    if out is not None and out.suffix == ".json":
        files = (out,)
    elif out is not None:
        folder, files = out, (out / "report.json", out / "report.html")
    check_output([*files, *([] if montage is None else [montage])], overwrite)
    return folder, files


def _parts(only: str) -> tuple[str, ...]:
    """Parts from text such as "fidelity,privacy"."""
    parts: list[str] = []
    for word in (part.strip() for part in only.split(",")):
        parts += DEFAULT.parts if word == "all" else [word]
    return tuple(dict.fromkeys(parts))


def _compare(
    reports: list[Path], out: Path | None, names: str | None, *, overwrite: bool, as_json: bool
) -> None:
    """Write the figures of several evaluations side by side."""
    import json

    from stylegan3d.evaluation.evaluation import (
        SideBySide,
        comparison_csv,
        comparison_json,
        comparison_page,
        read_evaluation,
    )

    writers = {
        ".html": comparison_page,
        ".csv": comparison_csv,
        ".json": lambda table: json.dumps(comparison_json(table), indent=2) + "\n",
    }
    if out is None or out.suffix.lower() not in writers:
        raise typer.BadParameter("The --out of --compare must end in .html, .csv or .json.")
    if len(reports) < 2:
        raise typer.BadParameter("Give at least two reports to compare.")
    check_output([out], overwrite)
    models = [read_evaluation(path) for path in reports]
    if names is not None:
        given = [name.strip() for name in names.split(",")]
        if len(given) != len(models):
            raise typer.BadParameter(f"--names gives {len(given)} names for {len(models)} reports.")
        models = [replace(m, name=name) for m, name in zip(models, given, strict=True)]
    table = SideBySide.of(models)
    atomic_write_text(out, writers[out.suffix.lower()](table), overwrite=overwrite)
    lines = [f"{out}: {', '.join(table.names)}", *(f"  {note}" for note in table.notes)]
    common.emit(comparison_json(table) | {"out": str(out)}, lines, as_json=as_json)


def _show(report: Json, as_json: bool) -> None:
    """The report as one JSON object, or its figures as a table."""
    rows = figures(report)
    if as_json:
        common.emit(report | {"figures": rows}, (), as_json=True)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{report['model']['name']} ({report['model']['hash'][:8]})")
    for column in ("figure", "synthetic", "real vs real", "compared", "aim", ""):
        table.add_column(column)
    marks = {None: "", True: "[green]reached[/]", False: "[red]missed[/]"}
    for row in rows:
        table.add_row(row.name, row.synthetic, row.real, row.compared, row.aim, marks[row.reached])
    Console().print(table)
    for part, why in report["left_out"].items():
        typer.echo(f"Left out: {part}. {why}")
    for text in [*report["notes"], *warnings(report)]:
        typer.echo(text)


@common.grouped
def compare(
    table: Annotated[
        Path,
        typer.Argument(
            help="Table (CSV, TSV) with a row per brain. Its first column holds latent files of "
            "projected scans, seeds, or volumes on one grid (.nii.gz), such as maps of another "
            "program; further columns groups, ages and other values. participant_id says whose "
            "brain it is."
        ),
    ],
    by: Annotated[str, typer.Option(help="Column to compare: groups (words) or a number.")],
    written: common.Result,
    settings: GroupSettings,
    hold_fixed: Annotated[
        str | None,
        typer.Option(
            "--adjust-for",
            help='Covariates to adjust for, such as "age,sex,site"; "head size" is '
            "measured and needs no column.",
        ),
    ] = None,
    out: common.OutOption = Path("groups"),
) -> None:
    """Compare groups of brains: where their volume differs, by how much, and whether by chance.

    Writes maps of the difference, t, p and false discovery rate, a table of regions, the average
    brain of each group, the direction from group to group, and a page, groups.html.

    Example: stylegan3d compare people.csv --by group --adjust-for "age,sex,head size" --out groups
    """
    from stylegan3d.evaluation.groups import (
        compare_maps,
        compare_table,
        save_comparison,
        summarised,
        verdict_of,
    )

    read = read_value_table(table)
    fixed = [name.strip() for name in (hold_fixed or "").split(",") if name.strip()]
    check_output([out / "groups.html"], written.overwrite)
    about: Json = {"Table": table.name}
    if all(name.endswith((".nii", ".nii.gz")) for name in read.brains):
        with common.progress("Comparing"):
            maps, space, subjects = _maps(read)
            found = compare_maps(maps, space, read, by, fixed, subjects, settings=settings)
        generator = None
    else:
        generator = written.open()
        about["Model"] = common.model_entry(generator)
        with common.progress("Comparing") as report:
            found = compare_table(read, by, fixed, generator, settings=settings, report=report)
    paths = save_comparison(found, out, generator, about, overwrite=written.overwrite)
    summary = summarised(found)
    lines = [
        verdict_of(summary),
        f"Volume, {' and '.join(summary['contrasts'])}:",
        *(
            f"{row['region']}: {', '.join(f'{e:+.1f} %' for e in row['effect_percent'])}, "
            f"p {row['p']:.3g}, q {row['q']:.3g}"
            for row in sorted(found.regions, key=lambda row: row["q"])[:8]
        ),
        *found.notes,
        str(out / "groups.html"),
    ]
    common.emit(summary | {"files": list(map(str, paths))}, lines, as_json=written.as_json)


def _maps(table: ValueTable) -> tuple[np.ndarray, Space, list[str]]:
    """The volumes of a table, their grid, and whose they are."""
    import numpy as np

    from stylegan3d.recipe.recipe import Source
    from stylegan3d.scans.reading import read_map

    volumes, space = [], None
    for name in table.brains:
        volume, own = read_map(table.path.parent / name)
        if space is not None and not own.same_as(space):
            raise RecipeError(
                f"{name} has a different grid from {table.brains[0]}: bring all volumes to one "
                "grid, or compare latents of projected scans."
            )
        space = own
        volumes.append(volume)
    assert space is not None
    named = table.named or (None,) * len(volumes)
    subjects = [
        who or subject_of(Source("latent", path=name))
        for who, name in zip(named, table.brains, strict=True)
    ]
    return np.stack(volumes), space, subjects
