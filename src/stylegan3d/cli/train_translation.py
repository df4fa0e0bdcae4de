"""`stylegan3d train-translation`: labelled brains become a network that paints labels."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from stylegan3d.cli.common import JsonOption, emit, progress, read_object


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("train-translation")(train_translation_command)


def train_translation_command(
    data: Annotated[Path, typer.Argument(help="Data set made by `stylegan3d prepare`.")],
    labels: Annotated[
        Path,
        typer.Option(
            "--labels",
            help="Folder with labels.tsv and label maps of people on the data set's grid, such as "
            "sub-01_dseg.nii.gz.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of the run.")
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", min=1, help="Steps of training; new runs only.", show_default="4000"
        ),
    ] = None,
    segmentation: Annotated[
        Path | None,
        typer.Option(
            "--segmentation",
            help="Folder of the tissue network that reads everybody's tissues.",
            show_default="the bundled one",
        ),
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
    """Train the network behind `stylegan3d paint` on people, some of them with label maps.

    Example: stylegan3d train-translation prepared --labels brains --out runs/paint
    """
    from stylegan3d.checkpoints.network_folder import PAGE
    from stylegan3d.checkpoints.places import CARD, MODEL, MONTAGE
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.devices import choose_device
    from stylegan3d.segmentation.inference import load_segmenter
    from stylegan3d.storage.volumes import check_output
    from stylegan3d.training.translation import train_translation
    from stylegan3d.training.translation_crops import TranslationSettings
    from stylegan3d.training.translation_data import load_painted
    from stylegan3d.training.translation_export import export_translation

    for name, value in {"--steps": steps, "--seed": seed}.items():
        if resume and value is not None:
            raise typer.BadParameter(f"{name} is for new runs, not --resume")
    if export is not None:  # before the training, not after
        check_output([export / name for name in (CARD, MODEL, PAGE, MONTAGE)], overwrite)
    notes = None if about is None else read_object(about)
    segmenter = load_segmenter(segmentation)
    with progress("Reading the tissues") as bar:
        people = load_painted(load_pack(data), labels, segmenter, bar)
    plain = TranslationSettings()
    config = replace(plain, steps=steps or plain.steps, seed=plain.seed if seed is None else seed)
    with progress("Training") as bar:

        def show(done: int, total: int, figures: dict[str, float]) -> None:
            note = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
            bar(done, total, note=note)
            if not sys.stderr.isatty() and ("ssim" in figures or done % 100 == 0):
                typer.echo(f"{done} of {total} steps, {note}", err=True)

        run = train_translation(
            people,
            out,
            settings=config,
            resume=resume,
            device=choose_device(device),
            progress=show,
            tell=lambda sentence: typer.echo(f"stylegan3d: {sentence}", err=True),
        )
    measured = {name: round(value, 4) for name, value in run.measured.items()}
    count = len(people.pack.indices("train"))
    lines = [
        f"{out}: {run.steps} steps, {count} people to learn from",
        *(f"  {name} of people set aside: {value:.3f}" for name, value in measured.items()),
    ]
    result = {"run": str(out), "steps": run.steps, "training": count, "measured": measured}
    if export is not None:
        with progress("Measuring") as bar:
            export_translation(
                run,
                people,
                segmenter,
                export,
                licence=licence,
                notes=notes,
                overwrite=overwrite,
                progress=bar,
            )
        lines.append(f"{export}: the translation network")
    emit(result | {"export": export and str(export)}, lines, as_json=as_json)
