"""`stylegan3d prepare`: make a training data set of a folder of T1 scans."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stylegan3d.cli.common import (
    JobsOption,
    JsonOption,
    ModelChoice,
    SkullOption,
    emit,
    grouped,
    progress,
)
from stylegan3d.dataset.settings import PreparationSettings
from stylegan3d.plain import Json
from stylegan3d.projection.settings import Choices

if TYPE_CHECKING:
    from stylegan3d.dataset.pack import Pack
    from stylegan3d.dataset.preparation import Plan
    from stylegan3d.scans import Target


@grouped
def prepare(
    folder: Annotated[Path, typer.Argument(help="Folder of T1 scans, plain or BIDS.")],
    model: ModelChoice,
    how: PreparationSettings,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for the data set; required, except for --dry-run."
        ),
    ] = None,
    template: Annotated[
        Path | None,
        typer.Option(
            "--template",
            help="Mean brain to align to; the data set takes its grid.",
            show_default="template*.nii.gz in FOLDER, else the model's",
        ),
    ] = None,
    skull: SkullOption = Choices.skull,
    jobs: JobsOption = 1,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only list what would be prepared or excluded."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Prepare a folder of T1 scans for training: brain extraction, alignment, normalisation.

    Run again, it continues where it stopped and adds new scans. Files that cannot be used are
    listed with their reasons, and shown in OUT/contact-sheet.html.

    Example: stylegan3d prepare bids/ --out data/brains
    """
    if out is None and not dry_run:
        raise typer.BadParameter("Give --out FOLDER for the data set, or --dry-run to look first.")
    settings: Json = {
        "target": _target(template, model),
        "skull": skull,
        **asdict(how),
    }
    if out is None or dry_run:
        from stylegan3d.dataset.preparation import make_plan

        with progress("Reading the folder"):
            plan = make_plan(folder, out, **settings)
        _emit_plan(plan, as_json=as_json)
        return
    from stylegan3d.dataset import preparation

    with progress("Preparing") as report:
        pack = preparation.prepare(
            folder,
            out,
            jobs=jobs,
            progress=report,
            **settings,
        )
    _emit(pack, as_json=as_json)


def _target(template: Path | None, choice: ModelChoice) -> Target | None:
    """Target of the alignment: template, model, or None to let `prepare` choose."""
    if template is not None and choice.model is not None:
        raise typer.BadParameter("Give either --template or --model.")
    if template is not None:
        from stylegan3d.scans import load_template

        return load_template(template)
    return None if choice == ModelChoice() else choice.open()


def _emit_plan(plan: Plan, *, as_json: bool) -> None:
    """Print the plan."""
    from stylegan3d.dataset.preparation import DONE, LEAVE_OUT, PREPARE

    rows = plan.rows()
    counts = Counter(row["action"] for row in rows)
    taken = [row for row in rows if row["action"] != LEAVE_OUT]
    splits = Counter(row["split"] for row in taken)
    lines = [
        f"{plan.folder}: {len(taken)} scans of {len({row['person'] for row in taken})} subjects "
        f"({splits['train']} for training, {splits['validation']} for validation); "
        f"{counts[PREPARE]} to prepare, {counts[DONE]} done already, "
        f"{counts[LEAVE_OUT] + len(plan.left_out)} files left out",
        *plan.notes(),
        *(f"{row['action']} {row['file']} ({row['person']}, {row['split']})" for row in taken),
        *(f"leave out {row['file']}: {row['reason']}" for row in rows if row["reason"]),
        *(f"leave out {file}: {reason}" for file, reason in plan.left_out),
    ]
    result = {
        "dry_run": True,
        "prepare": counts[PREPARE],
        "done": counts[DONE],
        "scans": rows,
        "notes": plan.notes(),
        "left_out": [{"file": file, "reason": reason} for file, reason in plan.left_out],
    }
    emit(result, lines, as_json=as_json)


def _emit(pack: Pack, *, as_json: bool) -> None:
    from stylegan3d.dataset.contact_sheet import CONTACT_SHEET

    refused = [{"file": r["file"], "reason": r["reason"]} for r in pack.info["refused"]]
    counts = {split: len(pack.indices(split)) for split in ("train", "validation")}
    lines = [
        f"{pack.path}: {len(pack)} brains ({counts['train']} for training, "
        f"{counts['validation']} for validation), {' x '.join(map(str, pack.space.shape))} voxels",
        f"Look at {pack.path / CONTACT_SHEET} before you train.",
        *pack.info["notes"],
        *(f"refused {entry['file']}: {entry['reason']}" for entry in refused),
        *(f"{row['name']}: {check}" for row in pack.table for check in row["checks"]),
    ]
    result = {
        "pack": str(pack.path),
        "contact_sheet": str(pack.path / CONTACT_SHEET),
        "brains": len(pack),
        **counts,
        "shape": pack.space.shape,
        "licences": pack.info["licences"],
        "notes": pack.info["notes"],
        "refused": refused,
    }
    emit(result, lines, as_json=as_json)
