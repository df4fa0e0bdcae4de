"""`stylegan3d train anatomy` and `stylegan`: train a generator."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stylegan3d.cli.common import described, emit, progress
from stylegan3d.cli.groups import grouped
from stylegan3d.cli.train_common import STOPPED, Named
from stylegan3d.plain import Json
from stylegan3d.training.config import PRESETS, TrainConfig

if TYPE_CHECKING:
    from stylegan3d.training.stylegan import Progress
    from stylegan3d.training.team import Team

PRESET_HELP = "; ".join(
    f"{name} ({' x '.join(map(str, preset().generator.image_grids[-1]))} voxels)"
    for name, preset in PRESETS.items()
)
#: Default of an option that a preset sets.
PRESET = "the preset's"
#: The two kinds, which differ only in their networks, with their help.
HELP = {
    "anatomy": "Train an anatomy model: a deformation of the mean brain, its appearance and its "
    "texture.",
    "stylegan": "Train a StyleGAN: reconstruction first, then the StyleGAN2 objective.",
}
HELP = {
    kind: f"""{help_}

    Stops cleanly on Ctrl-C or SIGTERM, and continues with --resume, after a power cut too. Started
    by torchrun or srun, several processes train together.

    Example: stylegan3d train {kind} data/brains --out runs/brains --export weights/brains
    """
    for kind, help_ in HELP.items()
}
DEFAULTS = {"anatomy": "brain-2mm", "stylegan": "stylegan-2mm"}


def _known(preset: str | None) -> str | None:
    if preset is not None and preset not in PRESETS:
        raise typer.BadParameter(f"'{preset}' is unknown; choose {', '.join(PRESETS)}.")
    return preset


@grouped
def train_generator(
    ctx: typer.Context,
    options: Named,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            callback=_known,
            help=f"Networks of a new run: {PRESET_HELP}.",
            show_default=", ".join(f"{name} for {kind}" for kind, name in DEFAULTS.items()),
        ),
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
    seed: Annotated[int | None, described(TrainConfig, "seed", PRESET)] = None,
    total_images: Annotated[int | None, described(TrainConfig, "total_images", PRESET)] = None,
    warm_start_images: Annotated[
        int | None, described(TrainConfig, "warm_start_images", PRESET)
    ] = None,
    batch: Annotated[int | None, described(TrainConfig, "batch", PRESET)] = None,
    accumulate: Annotated[int | None, described(TrainConfig, "accumulate", PRESET)] = None,
    precision: Annotated[str | None, described(TrainConfig, "precision", PRESET)] = None,
    discriminator_patch: Annotated[
        int | None,
        typer.Option(
            "--discriminator-patch",
            min=1,
            help="Train the discriminator on cubes with this edge in voxels; new runs only.",
            show_default="whole volumes",
        ),
    ] = None,
    mirror: Annotated[bool | None, described(TrainConfig, "mirror", PRESET)] = None,
    tensorboard: Annotated[
        bool,
        typer.Option("--tensorboard", help="Also write curves and pictures for TensorBoard."),
    ] = False,
) -> None:
    """Train an anatomy model or a StyleGAN, depending on the command."""
    from stylegan3d.errors import StyleGAN3DError
    from stylegan3d.training.team import join_team

    kind = ctx.info_name or ""
    if preset is not None and config is not None:
        raise typer.BadParameter("--config holds the networks too: leave out --preset")
    given = {
        "total_images": total_images,
        "warm_start_images": warm_start_images,
        "batch": batch,
        "accumulate": accumulate,
        "precision": precision,
        "seed": seed,
        "mirror": mirror,
    }
    flags = {k: v for k, v in given.items() if v is not None}
    team = join_team(options.device)
    try:
        options.check(ctx, "preset", "config", "batch", "mirror", "discriminator_patch")
        start = config or preset or DEFAULTS[kind]
        plan = _plan(kind, start, settings or [], flags, discriminator_patch, options.resume)
        finished = _train(options.data, options.out, plan, options, team=team, board=tensorboard)
    except StyleGAN3DError:
        if team.leads:
            raise
        raise typer.Exit(2) from None  # only one process prints
    finally:
        team.close()
    if team.leads:
        emit(*finished, as_json=options.as_json)


def _plan(
    kind: str,
    start: Path | str,
    words: list[str],
    flags: Json,
    patch: int | None,
    resume: bool,
) -> tuple[TrainConfig | None, Json]:
    """Settings of a new run, or changes to a resumed one."""
    from stylegan3d.training.settings import change_settings, changed_settings, read_settings

    if resume:
        return None, changed_settings(words) | flags
    config = PRESETS[start]() if isinstance(start, str) else read_settings(start)
    config = change_settings(config, words, flags)
    fitting = "anatomy" if config.deformed else "stylegan"
    if fitting != kind:
        raise typer.BadParameter(
            f"These are settings of another kind of network; train it with `train {fitting}`."
        )
    return config if patch is None else config.with_patch(patch), {}


def _train(
    data: Path,
    out: Path,
    plan: tuple[TrainConfig | None, Json],
    options: Named,
    *,
    team: Team,
    board: bool,
) -> tuple[Json, list[str]]:
    """Train and export; returns the output."""
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.training.stylegan import train

    export = options.export
    pack = load_pack(data)
    config, changes = plan
    with progress("Training") as bar:
        report = _reporter(bar)
        state = train(
            data,
            out,
            config,
            resume=options.resume,
            changes=changes,
            report=report,
            team=team,
            tensorboard=board,
            tell=lambda sentence: typer.echo(f"stylegan3d: {sentence}", err=True),
        )
    result: Json = {"run": str(out), "images": state.images, "export": None}
    lines = [f"{out}: {state.images} of {state.config.total_images} volumes seen"]
    if state.images < state.config.total_images:
        lines.append(STOPPED)
    elif export is not None and team.leads:
        from stylegan3d.training.export import export_generator

        generator = export_generator(
            state,
            pack,
            export,
            options.name or export.name,
            licence=options.licence,
            overwrite=options.overwrite,
        )
        result |= {"export": str(export), "quality": generator.card["quality"]}
        lines.append(f"{export}: the generator '{generator.name}'")
    return result, lines


def _reporter(bar: Callable[[float, float, str], None]) -> Callable[[Progress], None]:
    """Progress reporter: a bar on a terminal, otherwise log lines."""

    def show(now: Progress) -> None:
        speed = f"{now.images_per_second:.3g} images/s"
        quality = now.values.get("validation_psnr")
        words = [now.phase, speed, *([] if quality is None else [f"{quality:.2f} dB"])]
        bar(now.images, now.total_images, ", ".join(words))
        if not now.logged:
            return
        if not sys.stderr.isatty():
            left = f"{timedelta(seconds=round(now.seconds_left))} left"
            count = f"{now.images} of {now.total_images} volumes"
            typer.echo(", ".join([count, left, *words]), err=True)
        if now.alarm:
            typer.echo(f"stylegan3d: {now.alarm}", err=True)

    return show
