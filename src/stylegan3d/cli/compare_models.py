"""`stylegan3d compare-models`: what several evaluations found, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stylegan3d.cli.common import JsonOption, OverwriteOption, emit


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("compare-models")(compare_models)


def compare_models(
    reports: Annotated[
        list[Path],
        typer.Argument(
            help="Folders that `stylegan3d evaluate --out` has written, or their report.json."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="The table: .html, .csv or .json."),
    ],
    names: Annotated[
        str | None,
        typer.Option(
            "--names", help="Of the models, joined by commas.", show_default="as in the reports"
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put the figures of several models side by side, of any family.

    Example: stylegan3d compare-models evaluated/gan evaluated/vae --out comparison.html
    """
    import json
    from dataclasses import replace

    from stylegan3d.evaluation.side_by_side import (
        SideBySide,
        comparison_csv,
        comparison_json,
        comparison_page,
        read_evaluation,
    )
    from stylegan3d.storage.volumes import atomic_write_text, check_output

    writers = {
        ".html": comparison_page,
        ".csv": comparison_csv,
        ".json": lambda table: json.dumps(comparison_json(table), indent=2) + "\n",
    }
    if out.suffix.lower() not in writers:
        raise typer.BadParameter("--out must end in .html, .csv or .json")
    if len(reports) < 2:
        raise typer.BadParameter("two reports at least are needed for a comparison")
    check_output([out], overwrite)
    models = [read_evaluation(path) for path in reports]
    if names is not None:
        given = [name.strip() for name in names.split(",")]
        if len(given) != len(models):
            raise typer.BadParameter(f"--names gives {len(given)} names for {len(models)} reports")
        models = [replace(m, name=name) for m, name in zip(models, given, strict=True)]
    table = SideBySide.of(models)
    atomic_write_text(out, writers[out.suffix.lower()](table), overwrite=overwrite)
    lines = [f"{out}: {', '.join(table.names)}", *(f"  {note}" for note in table.notes)]
    emit(comparison_json(table) | {"out": str(out)}, lines, as_json=as_json)
