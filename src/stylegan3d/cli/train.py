"""`stylegan3d train`: a data set becomes a generator."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stylegan3d.cli.common import JsonOption, Report, emit, progress

if TYPE_CHECKING:
    from stylegan3d.training.config import TrainConfig
    from stylegan3d.training.stylegan import Progress
    from stylegan3d.training.team import Team

# With the sizes here, `--help` need not import torch.
SIZES = {
    "brain-4mm": "40 x 56 x 48 voxels of 4 mm",
    "brain-2mm": "80 x 112 x 96 voxels of 2 mm",
    "brain-1mm": "160 x 224 x 192 voxels of 1 mm, for a GPU",
    "stylegan-2mm": "80 x 112 x 96 voxels of 2 mm, a plain StyleGAN",
    "tiny": "20 x 28 x 24 voxels, to try things out",
}
PRESET_HELP = "Networks of a new run: " + "; ".join(f"{n} ({s})" for n, s in SIZES.items()) + "."


class Preset(StrEnum):
    """Size of the networks."""

    BRAIN_4MM = "brain-4mm"
    BRAIN_2MM = "brain-2mm"
    BRAIN_1MM = "brain-1mm"
    STYLEGAN_2MM = "stylegan-2mm"
    TINY = "tiny"


class Precision(StrEnum):
    """Of the feature maps."""

    AUTO = "auto"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("train")(train_command)


def train_command(
    data: Annotated[Path, typer.Argument(help="Data set made by `stylegan3d prepare`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    preset: Annotated[
        Preset | None,
        typer.Option("--preset", help=PRESET_HELP, show_default="brain-2mm"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", help="Settings of a new run as JSON, such as the settings.json of another."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Change one setting; may be given several times."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of the run.")
    ] = False,
    images: Annotated[
        int | None, typer.Option("--images", min=1, help="Volumes to see in all.")
    ] = None,
    warm_start: Annotated[
        int | None,
        typer.Option("--warm-start", min=0, help="So many of them in the reconstruction phase."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch", min=1, help="Volumes per step, of all processes together; new runs only."
        ),
    ] = None,
    accumulate: Annotated[
        int | None,
        typer.Option(
            "--accumulate",
            min=1,
            help="Divide a process's share of a batch into so many parts, for less memory.",
        ),
    ] = None,
    precision: Annotated[
        Precision | None,
        typer.Option("--precision", help="Of the feature maps.", show_default="auto"),
    ] = None,
    discriminator_patch: Annotated[
        int | None,
        typer.Option(
            "--discriminator-patch",
            min=1,
            help="Let the discriminator see cubes of so many voxels a side; new runs only.",
            show_default="whole volumes",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of all randomness; new runs only.")
    ] = None,
    mirror: Annotated[
        bool | None,
        typer.Option("--mirror/--no-mirror", help="Train on mirror images too; new runs only."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
    tensorboard: Annotated[
        bool,
        typer.Option("--tensorboard", help="Also write curves and pictures for TensorBoard."),
    ] = False,
    export: Annotated[
        Path | None, typer.Option("--export", help="Write the generator's folder here at the end.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name in the generator's card.")
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(
            "--licence",
            help="Terms of the generator, for its card.",
            show_default="the data's",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the generator in the export folder.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a generator: reconstruction first, then the StyleGAN2 objective.

    Stops cleanly on Ctrl-C or SIGTERM, and goes on with --resume, after a power cut too. Started
    by torchrun or srun, several processes train together.

    Example: stylegan3d train data/brains --out runs/brains --export weights/brains
    """
    from stylegan3d.errors import StyleGAN3DError
    from stylegan3d.training.team import join_team

    new_only = {
        "--preset": preset,
        "--config": config,
        "--batch": batch,
        "--seed": seed,
        "--mirror": mirror,
        "--discriminator-patch": discriminator_patch,
    }
    _check_new_only(new_only, resume)
    given = {
        "total_images": images,
        "warm_start_images": warm_start,
        "batch": batch,
        "accumulate": accumulate,
        "precision": precision and precision.value,
        "seed": seed,
        "mirror": mirror,
    }
    flags = {k: v for k, v in given.items() if v is not None}
    team = join_team(device)
    try:
        plan = _plan(preset, config, settings or [], flags, discriminator_patch, resume)
        target = (export, name, licence, overwrite)
        finished = _train(data, out, plan, target, resume=resume, team=team, board=tensorboard)
    except StyleGAN3DError:
        if team.leads:
            raise
        raise typer.Exit(2) from None  # one process is enough to say so
    finally:
        team.close()
    if team.leads:
        emit(*finished, as_json=as_json)


def _check_new_only(options: dict[str, Any], resume: bool) -> None:
    given = [name for name, value in options.items() if value is not None]
    if resume and given:
        raise typer.BadParameter(f"{given[0]} is for new runs, not --resume")
    if {"--preset", "--config"} <= set(given):
        raise typer.BadParameter("--config holds the networks too: leave out --preset")


def _plan(
    preset: Preset | None,
    file: Path | None,
    words: list[str],
    flags: dict[str, Any],
    patch: int | None,
    resume: bool,
) -> tuple[TrainConfig | None, dict[str, Any]]:
    """Settings of a new run, or the changes of one that goes on."""
    from stylegan3d.training.config import PRESETS
    from stylegan3d.training.settings import change_settings, changed_settings, read_settings

    if resume:
        return None, changed_settings(words) | flags
    config = read_settings(file) if file else PRESETS[(preset or Preset.BRAIN_2MM).value]()
    config = change_settings(config, words, flags)
    return config if patch is None else config.with_patch(patch), {}


def _train(
    data: Path,
    out: Path,
    plan: tuple[TrainConfig | None, dict[str, Any]],
    target: tuple[Path | None, str | None, str | None, bool],
    *,
    resume: bool,
    team: Team,
    board: bool,
) -> tuple[dict[str, Any], list[str]]:
    """Train and export; what to print."""
    from stylegan3d.checkpoints.folder import check_target
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.training.stylegan import train

    export, name, licence, overwrite = target
    if export is not None:
        check_target(export, overwrite)  # before hours of training, not after
    pack = load_pack(data)
    config, changes = plan
    with progress("Training") as bar:
        report = _reporter(bar)
        state = train(
            data,
            out,
            config,
            resume=resume,
            changes=changes,
            report=report,
            team=team,
            tensorboard=board,
            tell=lambda sentence: typer.echo(f"stylegan3d: {sentence}", err=True),
        )
    result: dict[str, Any] = {"run": str(out), "images": state.images, "export": None}
    lines = [f"{out}: {state.images} of {state.config.total_images} volumes seen"]
    if state.images < state.config.total_images:
        lines.append("stopped before its end; go on with --resume")
    elif export is not None and team.leads:
        from stylegan3d.training.export import export_generator

        generator = export_generator(
            state, pack, export, name or export.name, licence=licence, overwrite=overwrite
        )
        result |= {"export": str(export), "quality": generator.card["quality"]}
        lines.append(f"{export}: the generator '{generator.name}'")
    return result, lines


def _reporter(bar: Report) -> Callable[[Progress], None]:
    """Shows progress: a bar on a terminal, else a line for each line of the log."""

    def show(now: Progress) -> None:
        speed = f"{now.images_per_second:.3g} images/s"
        quality = now.values.get("validation_psnr")
        words = [now.phase, speed, *([] if quality is None else [f"{quality:.2f} dB"])]
        bar(now.images, now.total_images, note=", ".join(words))
        if not now.logged:
            return
        if not sys.stderr.isatty():
            left = f"{timedelta(seconds=round(now.seconds_left))} left"
            count = f"{now.images} of {now.total_images} volumes"
            typer.echo(", ".join([count, left, *words]), err=True)
        if now.alarm:
            typer.echo(f"stylegan3d: {now.alarm}", err=True)

    return show
