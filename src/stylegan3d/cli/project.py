"""`stylegan3d project`: the latent that reproduces a real scan.

`stylegan3d prepare`: make a training data set of a folder of T1 scans.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stylegan3d.base import Json
from stylegan3d.cli.common import (
    CacheOption,
    JobsOption,
    JsonOption,
    ModelChoice,
    SkullOption,
    Written,
    emit,
    grouped,
    print_doubts,
    progress,
)
from stylegan3d.cli.many import project_many
from stylegan3d.dataset.settings import PreparationSettings
from stylegan3d.projection.settings import Choices

if TYPE_CHECKING:
    from stylegan3d.dataset.pack import Pack
    from stylegan3d.dataset.preparation import Plan
    from stylegan3d.scans import Target


@grouped
def project(
    scans: Annotated[
        list[Path],
        typer.Argument(
            help="T1-weighted scan of the head or the brain: NIfTI, MGH, or a DICOM folder. Or "
            "many: several files, a BIDS tree or other folder, a text file with one path per line."
        ),
    ],
    choices: Choices,
    written: Written,
    mask: Annotated[
        Path | None,
        typer.Option(help="Region to fill in, such as a lesion: a NIfTI mask in the scan's space."),
    ] = None,
    cache: CacheOption = None,
    jobs: JobsOption = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask cluster to project many scans on.")
    ] = None,
) -> None:
    """Find the latent that reproduces a scan, and write the reconstruction in the scan's space.

    With many scans, a later run skips finished ones, a failure does not stop the others (exit
    status 2), and OUT/projections.tsv has a row for each.

    Example: stylegan3d project sub-01_T1w.nii.gz --out projected
    """
    from stylegan3d.cohort.run import holds_scans
    from stylegan3d.cohort.work import project_file
    from stylegan3d.projection.operators import parse
    from stylegan3d.scans.pose import parse_pose

    # Check options before any work.
    parse_pose(choices.pose)
    if choices.operator is not None:
        parse(choices.operator)
    if len(scans) == 1 and not holds_scans(scans[0]):
        if scheduler is not None or jobs > 1:
            raise typer.BadParameter("--jobs and --scheduler are for many scans: give a folder.")
        with progress("Projecting") as report:
            result = project_file(
                scans[0],
                written.out,
                partial(_open, written, choices),
                choices,
                mask=mask,
                cache=cache,
                overwrite=written.overwrite,
                progress=report,
            )
        _emit(result, written.out, as_json=written.as_json)
        return
    if mask is not None:
        raise typer.BadParameter("--mask is for one scan: name masks in a list, after a tab.")
    project_many(
        scans,
        written,
        choices,
        partial(_open, written, choices),
        cache,
        jobs=jobs,
        scheduler=scheduler,
    )


def _open(model: ModelChoice, choices: Choices) -> Any:
    """The generator, checked for channel and options."""
    from stylegan3d.projection.calibration import open_site
    from stylegan3d.projection.projector import check_choices
    from stylegan3d.recipe.recipe import Recipe

    generator = model.open()
    Recipe(channel=choices.channel).check(generator)
    check_choices(generator, choices.space, choices.budget, choices.method, "fixed")
    if choices.site is not None:
        open_site(generator, choices.site)
    return generator


def _emit(result: Json, out: Path, *, as_json: bool) -> None:
    """Print files and similarity; warnings on stderr."""
    from stylegan3d.projection.assessment import place_in_words
    from stylegan3d.scans.verdicts import beside_verdicts

    print_doubts(beside_verdicts(result["doubts"]))
    files = {what: str(out / name) for what, name in result["files"].items()}
    similar, percentile = result["similarity"], result["trust"]["latent_percentile"]
    place = [] if percentile is None else [f"this brain lies {place_in_words(percentile)}"]
    trust = result["trust"]
    lights = [
        f"{name}: {verdict['level']}. {verdict['sentence']}"
        for name, verdict in trust["verdicts"].items()
    ]
    lines = [
        *files.values(),
        f"inside the brain: SSIM {similar['ssim']:.3f}, PSNR {similar['psnr']:.1f} dB, "
        f"correlation {similar['ncc']:.3f}",
        *place,
        *lights,
    ]
    emit({**result, "files": files}, lines, as_json=as_json)


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
            help="Mean brain to align to; the data set takes its grid.",
            show_default="template*.nii.gz in FOLDER, else the model's",
        ),
    ] = None,
    skull: SkullOption = Choices.skull,
    jobs: JobsOption = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would be prepared or excluded.")
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
    settings: Json = {"target": _target(template, model), "skull": skull, **asdict(how)}
    if out is None or dry_run:
        from stylegan3d.dataset.preparation import make_plan

        with progress("Reading the folder"):
            plan = make_plan(folder, out, **settings)
        _emit_plan(plan, as_json=as_json)
        return
    from stylegan3d.dataset import preparation

    with progress("Preparing") as report:
        pack = preparation.prepare(folder, out, jobs=jobs, progress=report, **settings)
    _emit_prepared(pack, as_json=as_json)


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


def _emit_prepared(pack: Pack, *, as_json: bool) -> None:
    from stylegan3d.dataset.contact_sheet import CONTACT_SHEET

    refused = [{"file": r["file"], "reason": r["reason"]} for r in pack.info["refused"]]
    counts = {split: len(pack.indices(split)) for split in ("train", "validation")}
    lines = [
        f"{pack.path}: {len(pack)} brains ({counts['train']} for training, "
        f"{counts['validation']} for validation), {' x '.join(map(str, pack.space.shape))} voxels",
        f"Look at {pack.path / CONTACT_SHEET} before you train.",
        *pack.info["notes"],
        *(f"refused {entry['file']}: {entry['reason']}" for entry in refused),
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
        "doubts": {row["name"]: row["doubts"] for row in pack.table if row["doubts"]},
    }
    for row in pack.table:
        print_doubts(row["doubts"], row["name"])
    emit(result, lines, as_json=as_json)
