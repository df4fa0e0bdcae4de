"""`stylegan3d train-diffusion`: a diffusion of an autoencoder's latents, on a folder of brains."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from stylegan3d.cli.common import JsonOption, emit, progress


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("train-diffusion")(train_diffusion_command)


def train_diffusion_command(
    data: Annotated[Path, typer.Argument(help="Data set made by `stylegan3d prepare`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    autoencoder: Annotated[
        str,
        typer.Option(
            "--autoencoder",
            help="Model of `stylegan3d train-vae` whose latents are learned; a folder, or the name "
            "of a bundled one.",
        ),
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of the run.")
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="Of training; new runs only.", show_default="3000"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of all randomness; new runs only.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
    export: Annotated[
        Path | None, typer.Option("--export", help="Write the model's folder here at the end.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            help="Columns of the data set's table that random brains can be drawn for, joined by "
            "commas, such as age,sex; for --export.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Of the model.", show_default="the export folder's name"),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option("--licence", help="Terms of the weights.", show_default="the data's"),
    ] = None,
    attribution: Annotated[
        str | None,
        typer.Option("--attribution", help="Whom users must name, if the data's licences ask it."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the model in the export folder.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a latent diffusion: random brains as sharp as its autoencoder can make them.

    Example: stylegan3d train-diffusion prepared --autoencoder my-vae --out run --export my-model
    """
    from stylegan3d.checkpoints.folder import check_target
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.devices import choose_device
    from stylegan3d.model.loading import load
    from stylegan3d.training.diffusion import DiffusionSettings, train_diffusion
    from stylegan3d.training.diffusion_export import export_diffusion

    for option, value in {"--steps": steps, "--seed": seed}.items():
        if resume and value is not None:
            raise typer.BadParameter(f"{option} is for new runs, not --resume")
    if export is not None:  # before the training, not after
        check_target(export, overwrite)
    pack = load_pack(data)
    stage = load(autoencoder, device="cpu")
    config = DiffusionSettings(seed=seed or 0)
    config = replace(config, steps=steps or config.steps)
    with progress("Training") as bar:

        def show(done: int, total: int, figures: dict[str, float]) -> None:
            note = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
            bar(done, total, note=note)
            if not sys.stderr.isatty() and (len(figures) > 1 or done % 100 == 0):
                typer.echo(f"{done} of {total} steps, {note}", err=True)

        run = train_diffusion(
            pack,
            stage,
            out,
            settings=config,
            resume=resume,
            device=choose_device(device),
            progress=show,
            preparing=lambda done, total: bar(done, total, note="encoding people"),
            tell=lambda sentence: typer.echo(f"stylegan3d: {sentence}", err=True),
        )
    measured = {name: round(value, 4) for name, value in run.measured.items()}
    lines = [f"{out}: {run.steps} steps of training"]
    if measured:
        told = ", ".join(f"{value:.3f} {name}" for name, value in measured.items())
        lines.append(
            f"  people set aside: error, times that of a normal distribution, by noise: {told}"
        )
    result = {"run": str(out), "steps": run.steps, "measured": measured}
    if export is not None:
        with progress("Encoding people") as bar:
            export_diffusion(
                run,
                pack,
                stage,
                export,
                name or export.name,
                labels=[label.strip() for label in (labels or "").split(",") if label.strip()],
                licence=licence,
                attribution=attribution,
                overwrite=overwrite,
                progress=bar,
            )
        lines.append(f"{export}: the model")
    emit(result | {"export": export and str(export)}, lines, as_json=as_json)
