"""`stylegan3d train`: a data set becomes a generator."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stylegan3d.cli.common import JsonOption, emit, progress

if TYPE_CHECKING:
    from stylegan3d.training.loop import Progress


class Preset(StrEnum):
    """Size of the networks."""

    BRAIN_2MM = "brain-2mm"
    TINY = "tiny"


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("train")(train_command)


def train_command(
    data: Annotated[Path, typer.Argument(help="Data set made by `stylegan3d prepare`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    preset: Annotated[
        Preset, typer.Option("--preset", help="Size of the networks of a new run.")
    ] = Preset.BRAIN_2MM,
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
        int | None, typer.Option("--batch", min=1, help="Volumes per step; new runs only.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of all randomness; new runs only.")
    ] = None,
    mirror: Annotated[
        bool | None,
        typer.Option("--mirror/--no-mirror", help="Train on mirror images too; new runs only."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
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

    Stops cleanly on Ctrl-C or SIGTERM, and goes on with --resume, after a power cut too.

    Example: stylegan3d train data/brains --out runs/brains --export weights/brains
    """
    from stylegan3d.checkpoints.folder import check_target
    from stylegan3d.training.config import PRESETS
    from stylegan3d.training.loop import train
    from stylegan3d.training.pack import load_pack

    if export is not None:
        check_target(export, overwrite)  # before hours of training, not after
    pack = load_pack(data)
    changes = _changes(images, warm_start, batch, seed, mirror, resume)
    with progress("Training") as report:

        def show(now: Progress) -> None:
            quality = now.values.get("validation_psnr")
            note = now.phase if quality is None else f"{now.phase}, {quality:.2f} dB"
            report(now.images, now.total_images, note=note)

        config = PRESETS[preset.value]()
        state = train(data, out, config, resume=resume, device=device, changes=changes, report=show)
    result: dict[str, Any] = {"run": str(out), "images": state.images, "export": None}
    lines = [f"{out}: {state.images} of {state.config.total_images} volumes seen"]
    if state.images < state.config.total_images:
        lines.append("stopped before its end; go on with --resume")
    elif export is not None:
        from stylegan3d.training.export import export_generator

        generator = export_generator(
            state, pack, export, name or export.name, licence=licence, overwrite=overwrite
        )
        result |= {"export": str(export), "quality": generator.card["quality"]}
        lines.append(f"{export}: the generator '{generator.name}'")
    emit(result, lines, as_json=as_json)


def _changes(
    images: int | None,
    warm_start: int | None,
    batch: int | None,
    seed: int | None,
    mirror: bool | None,
    resume: bool,
) -> dict[str, Any]:
    if resume and not (batch is None and seed is None and mirror is None):
        raise typer.BadParameter("--batch, --seed and --mirror are for new runs, not --resume")
    given = {
        "total_images": images,
        "warm_start_images": warm_start,
        "batch": batch,
        "seed": seed,
        "mirror": mirror,
    }
    return {k: v for k, v in given.items() if v is not None}
