"""`stylegan3d train-segmentation`: labelled brains become a network that labels tissues."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from stylegan3d.cli.common import JsonOption, emit, progress, read_object


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("train-segmentation")(train_segmentation_command)


def train_segmentation_command(
    data: Annotated[Path, typer.Argument(help="Data set made by `stylegan3d prepare`.")],
    labels: Annotated[
        Path,
        typer.Option(
            "--labels",
            help="Folder with labels.tsv and a label map of each person on the data set's grid, "
            "such as sub-01_dseg.nii.gz.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of the run.")
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="Volumes to see; new runs only.", show_default="4000"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of all randomness; new runs only.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
    export: Annotated[
        Path | None, typer.Option("--export", help="Write the network's folder here at the end.")
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(
            "--licence", help="Terms of the network, for its card.", show_default="the data's"
        ),
    ] = None,
    about: Annotated[
        Path | None,
        typer.Option(
            "--about", help="JSON object with further entries of its card, such as its limits."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the network in the export folder.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train the network behind `stylegan3d segment` on people with label maps.

    Example: stylegan3d train-segmentation prepared --labels brains --out runs/tissues
    """
    from stylegan3d.checkpoints.network_folder import PAGE
    from stylegan3d.checkpoints.places import CARD, MODEL
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.devices import choose_device
    from stylegan3d.storage.volumes import check_output
    from stylegan3d.training.segmentation import SegmentationSettings, train_segmentation
    from stylegan3d.training.segmentation_data import load_labelled
    from stylegan3d.training.segmentation_export import export_segmentation

    for name, value in {"--steps": steps, "--seed": seed}.items():
        if resume and value is not None:
            raise typer.BadParameter(f"{name} is for new runs, not --resume")
    if export is not None:  # before the training, not after
        check_output([export / name for name in (CARD, MODEL, PAGE)], overwrite)
    notes = None if about is None else read_object(about)
    brains = load_labelled(load_pack(data), labels)
    plain = SegmentationSettings()
    config = replace(plain, steps=steps or plain.steps, seed=plain.seed if seed is None else seed)
    with progress("Training") as bar:

        def show(done: int, total: int, figures: dict[str, float]) -> None:
            note = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
            bar(done, total, note=note)
            if not sys.stderr.isatty() and (len(figures) > 1 or done % 100 == 0):
                typer.echo(f"{done} of {total} volumes, {note}", err=True)

        run = train_segmentation(
            brains,
            out,
            config,
            resume=resume,
            device=choose_device(device),
            progress=show,
            tell=lambda sentence: typer.echo(f"stylegan3d: {sentence}", err=True),
        )
    dice = {name: round(value, 4) for name, value in run.measured.items()}
    lines = [
        f"{out}: {run.steps} volumes seen, {brains.training} people to learn from",
        *(f"  Dice of {name}: {value:.3f}" for name, value in dice.items()),
    ]
    result = {"run": str(out), "steps": run.steps, "training": brains.training, "dice": dice}
    if export is not None:
        with progress("Measuring") as bar:
            export_segmentation(
                run, brains, export, licence=licence, notes=notes, overwrite=overwrite, progress=bar
            )
        lines.append(f"{export}: the tissue network")
    emit(result | {"export": export and str(export)}, lines, as_json=as_json)
