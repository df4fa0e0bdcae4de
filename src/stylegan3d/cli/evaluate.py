"""`stylegan3d evaluate`: how good a generator is, each figure beside the same of real brains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stylegan3d.cli.common import (
    FrameOption,
    JsonOption,
    ModelOption,
    OverwriteOption,
    emit,
    open_model,
    progress,
)

if TYPE_CHECKING:
    from stylegan3d.generator import Generator
    from stylegan3d.metrics.material import EvaluationSettings


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("evaluate")(evaluate_command)


def evaluate_command(
    data: Annotated[
        Path,
        typer.Option(
            "--data", help="Data set made by `stylegan3d prepare`, with validation people."
        ),
    ],
    model: ModelOption = None,
    frame: FrameOption = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            help="Parts, joined by commas: fidelity, diversity, plausibility, privacy, "
            "reconstruction, speed.",
            show_default="all but speed",
        ),
    ] = None,
    speed: Annotated[bool, typer.Option("--speed", help="Measure speed too.")] = False,
    samples: Annotated[
        int,
        typer.Option(
            "--samples", min=2, help="Random brains for fidelity, diversity and plausibility."
        ),
    ] = 200,
    privacy_samples: Annotated[
        int, typer.Option("--privacy-samples", min=2, help="Random brains for privacy.")
    ] = 1000,
    truncation: Annotated[
        float, typer.Option("--truncation", min=0, help="Truncation psi of random brains.")
    ] = 1.0,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="The random brains are numbered from here.")
    ] = 0,
    limit_validation: Annotated[
        int | None,
        typer.Option("--limit-validation", min=1, help="Reconstruct so many people at most."),
    ] = None,
    budget: Annotated[
        str,
        typer.Option(
            "--budget",
            help="Of the projection: draft, standard, thorough, or none to leave it out.",
        ),
    ] = "standard",
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache", help="Folder to keep the features of real brains in, for next time."
        ),
    ] = None,
    montage: Annotated[
        Path | None,
        typer.Option("--montage", help="Write a picture of synthetic beside real brains (.png)."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the whole report here (.json).")
    ] = None,
    card: Annotated[
        bool,
        typer.Option("--card", help="Add the figures and a montage to the model's own card."),
    ] = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a generator: fidelity, diversity, plausibility, privacy, reconstruction, speed.

    Each figure stands beside the same figure between real people, at equal numbers.

    Example: stylegan3d evaluate --model my-model --data prepared --out report.json
    """
    from stylegan3d.jsontext import to_json
    from stylegan3d.metrics.evaluation import evaluate
    from stylegan3d.training.pack import load_pack
    from stylegan3d.volumes import atomic_write_bytes, atomic_write_text

    _check_files(out, montage, overwrite)
    settings = _settings(
        only,
        speed,
        samples=samples,
        privacy_samples=privacy_samples,
        truncation=truncation,
        seed=seed,
        limit_validation=limit_validation,
        budget=None if budget == "none" else budget,
        cache=cache,
    )
    pack = load_pack(data)
    generator = open_model(model, frame)
    if card:
        from stylegan3d.checkpoints.card_text import check_card

        check_card(generator)
    with progress("Evaluating") as bar:
        report = evaluate(
            generator, pack, settings, lambda what, done, total: bar(done, total, note=what)
        )
    # Written first: what may fail below must not cost the evaluation.
    if out is not None:
        atomic_write_text(out, to_json(report), overwrite=overwrite)
    if montage is not None or card:
        from stylegan3d.metrics.montage import montage_png

        picture = montage_png(generator, pack, seed=seed, truncation=truncation)
        if montage is not None:
            atomic_write_bytes(montage, picture, overwrite=overwrite)
        if card:
            _add_to_card(generator, report, picture)
    _show(report, as_json)


def _add_to_card(generator: Generator, report: dict[str, Any], picture: bytes) -> None:
    from dataclasses import asdict

    from stylegan3d.checkpoints.folder import MONTAGE, add_to_card
    from stylegan3d.metrics.material import PARTS
    from stylegan3d.metrics.summary import figures
    from stylegan3d.volumes import atomic_write_bytes

    assert generator.folder is not None
    atomic_write_bytes(generator.folder / MONTAGE, picture, overwrite=True)
    # Parts that were measured before and not now stay.
    found = dict(generator.card.get("evaluation", {}))
    for part in PARTS:
        if part in report:
            found[part] = [asdict(row) for row in figures({part: report[part]})]
    add_to_card(generator.folder, {"evaluation": found, "montage": MONTAGE})


def _check_files(out: Path | None, montage: Path | None, overwrite: bool) -> None:
    """Refuse what could not be written, before the work."""
    from stylegan3d.errors import OutputError
    from stylegan3d.volumes import check_output

    for path, suffix in ((out, ".json"), (montage, ".png")):
        if path is not None and path.suffix != suffix:
            raise OutputError(f"{path} does not end in {suffix}; give it a name that does.")
    check_output([path for path in (out, montage) if path is not None], overwrite)


def _settings(only: str | None, speed: bool, **given: Any) -> EvaluationSettings:
    from stylegan3d.metrics.material import PARTS, EvaluationSettings

    parts = PARTS[:-1] if only is None else tuple(p.strip() for p in only.split(","))
    if speed and "speed" not in parts:
        parts = (*parts, "speed")
    return EvaluationSettings(parts=parts, **given)


def _show(report: dict[str, Any], as_json: bool) -> None:
    """The report as one JSON object, or its figures as a table."""
    from stylegan3d.metrics.summary import figures

    rows = figures(report)
    if as_json:
        emit(report | {"figures": rows}, (), as_json=True)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{report['model']['name']} ({report['model']['hash'][:8]})")
    for column in ("figure", "synthetic", "real vs real", "ratio", "aim", ""):
        table.add_column(column)
    marks = {None: "", True: "[green]reached[/]", False: "[red]missed[/]"}
    for row in rows:
        table.add_row(row.name, row.synthetic, row.real, row.compared, row.aim, marks[row.reached])
    Console().print(table)
