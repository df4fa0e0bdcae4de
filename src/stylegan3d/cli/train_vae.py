"""`stylegan3d train-vae`: a folder of brains becomes a variational autoencoder."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from stylegan3d.cli.common import JsonOption, emit, progress


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("train-vae")(train_vae_command)


def train_vae_command(
    data: Annotated[Path, typer.Argument(help="Data set made by `stylegan3d prepare`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of the run.")
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="Of training; new runs only.", show_default="10000"),
    ] = None,
    latent_channels: Annotated[
        int | None,
        typer.Option(
            "--latent-channels",
            min=1,
            max=256,
            help="Numbers for each cube of eight voxels: more keep more of a brain, fewer are "
            "easier to draw at random; new runs only.",
            show_default="16",
        ),
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
    """Train a variational autoencoder: it encodes a scan at once and reconstructs it closely.

    Example: stylegan3d train-vae prepared --out runs/vae --export my-vae
    """
    from stylegan3d.checkpoints.folder import check_target
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.devices import choose_device
    from stylegan3d.networks.autoencoder import AutoencoderConfig
    from stylegan3d.training.autoencoder import AutoencoderSettings, train_autoencoder
    from stylegan3d.training.autoencoder_export import export_autoencoder

    new = {"--steps": steps, "--seed": seed, "--latent-channels": latent_channels}
    for option, value in new.items():
        if resume and value is not None:
            raise typer.BadParameter(f"{option} is for new runs, not --resume")
    if export is not None:  # before the training, not after
        check_target(export, overwrite)
    pack = load_pack(data)
    config = AutoencoderSettings(seed=seed or 0)
    config = replace(config, steps=steps or config.steps)
    shape = None
    if not resume:
        x, y, z = pack.space.shape
        shape = AutoencoderConfig((x, y, z))
        shape = replace(shape, latent_channels=latent_channels or shape.latent_channels)
    with progress("Training") as bar:

        def show(done: int, total: int, figures: dict[str, float]) -> None:
            note = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
            bar(done, total, note=note)
            if not sys.stderr.isatty() and ("ssim" in figures or done % 100 == 0):
                typer.echo(f"{done} of {total} steps, {note}", err=True)

        run = train_autoencoder(
            pack,
            out,
            shape,
            config,
            resume=resume,
            device=choose_device(device),
            progress=show,
            tell=lambda sentence: typer.echo(f"stylegan3d: {sentence}", err=True),
        )
    measured = {name: round(value, 4) for name, value in run.measured.items()}
    lines = [f"{out}: {run.steps} steps of training"]
    if measured:
        lines.append(
            f"  people set aside: SSIM {measured['ssim']:.3f}, PSNR {measured['psnr']:.2f} dB "
            "inside the brain"
        )
    result = {"run": str(out), "steps": run.steps, "measured": measured}
    if export is not None:
        with progress("Encoding people") as bar:
            export_autoencoder(
                run,
                pack,
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
