"""`stylegan3d prepare`: a folder of T1 scans becomes a data set to train on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stylegan3d.cli.common import JsonOption, ModelOption, Skull, emit, open_model, progress

if TYPE_CHECKING:
    from stylegan3d.scans import Target
    from stylegan3d.training.pack import Pack


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command(name="prepare")(prepare_command)


def prepare_command(
    folder: Annotated[Path, typer.Argument(help="Folder with T1 scans, plain or a BIDS tree.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the packed data set.")],
    template: Annotated[
        Path | None,
        typer.Option(
            "--template",
            help="Mean brain to align to; its grid becomes the data set's.",
            show_default="template*.nii.gz in FOLDER, else the model's",
        ),
    ] = None,
    model: ModelOption = None,
    skull: Annotated[
        Skull,
        typer.Option("--skull", help="Extract the brain, keep the image as it is, or find out."),
    ] = Skull.AUTO,
    bias_correction: Annotated[
        bool,
        typer.Option("--bias-correction/--no-bias-correction", help="Even out the coil (N4)."),
    ] = True,
    min_quality: Annotated[
        float,
        typer.Option("--min-quality", min=0, max=1, help="Least correlation with the mean brain."),
    ] = 0.85,
    validation: Annotated[
        float,
        typer.Option(
            "--validation",
            min=0,
            max=0.9,
            help="Share of people set aside, where participants.tsv names no split.",
        ),
    ] = 0.1,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Scans at a time, 3 GB of memory each.")
    ] = 1,
    as_json: JsonOption = False,
) -> None:
    """Read, extract, align and normalise a folder of T1 scans, and pack them for training.

    Run again, it goes on where it stopped and adds what is new. Files that cannot be used are
    listed with their reasons.

    Example: stylegan3d prepare bids/ --out data/brains
    """
    from stylegan3d.training.prepare import prepare

    target = _target(template, model)
    with progress("Preparing") as report:
        pack = prepare(
            folder,
            out,
            target=target,
            skull=skull.value,
            bias_correction=bias_correction,
            min_quality=min_quality,
            validation=validation,
            jobs=jobs,
            progress=lambda done, total, name: report(done, total, note=name),
        )
    _tell(pack, as_json=as_json)


def _target(template: Path | None, model: Path | None) -> Target | None:
    """What to align to: the template, the model, or None to let `prepare` choose."""
    if template is not None and model is not None:
        raise typer.BadParameter("give --template or --model, not both")
    if template is not None:
        from stylegan3d.scans import load_template

        return load_template(template)
    return None if model is None else open_model(model)


def _tell(pack: Pack, *, as_json: bool) -> None:
    refused = [{"file": r["file"], "reason": r["reason"]} for r in pack.info["refused"]]
    counts = {split: len(pack.indices(split)) for split in ("train", "validation")}
    lines = [
        f"{pack.path}: {len(pack)} brains ({counts['train']} to train on, "
        f"{counts['validation']} to validate on), {' x '.join(map(str, pack.space.shape))} voxels",
        *pack.info["notes"],
        *(f"refused {entry['file']}: {entry['reason']}" for entry in refused),
        *(f"{row['name']}: {check}" for row in pack.table for check in row["checks"]),
    ]
    result = {
        "pack": str(pack.path),
        "brains": len(pack),
        **counts,
        "shape": pack.space.shape,
        "licences": pack.info["licences"],
        "notes": pack.info["notes"],
        "refused": refused,
    }
    emit(result, lines, as_json=as_json)
