"""`stylegan3d project`: the latent that reproduces a real scan."""

from __future__ import annotations

import time
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from stylegan3d.cli.common import (
    FrameOption,
    JsonOption,
    ModelOption,
    OutOption,
    OverwriteOption,
    Skull,
    emit,
    open_model,
    progress,
)


class LatentSpace(StrEnum):
    """W keeps to brains the generator knows; W+ follows the scan more closely."""

    W = "w"
    W_PLUS = "w+"


class Budget(StrEnum):
    """How long to optimise."""

    DRAFT = "draft"
    STANDARD = "standard"
    THOROUGH = "thorough"


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("project")(project)


def project(
    scan: Annotated[
        Path,
        typer.Argument(
            help="A T1-weighted scan, the head or the brain alone: NIfTI, MGH, or a DICOM folder."
        ),
    ],
    out: OutOption = Path(),
    space: Annotated[
        LatentSpace, typer.Option("--space", help="Optimise one w for all layers, or one each.")
    ] = LatentSpace.W_PLUS,
    budget: Annotated[
        Budget, typer.Option("--budget", help="How long to optimise.")
    ] = Budget.STANDARD,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="So many steps instead of a budget.")
    ] = None,
    skull: Annotated[
        Skull,
        typer.Option("--skull", help="Extract the brain, keep the image as it is, or find out."),
    ] = Skull.AUTO,
    volume: Annotated[
        int | None, typer.Option("--volume", min=0, help="Which volume of a 4D series, from 0.")
    ] = None,
    series: Annotated[
        str | None,
        typer.Option(
            "--series", help="Which series of a DICOM folder: number, UID or part of its name."
        ),
    ] = None,
    trust: Annotated[
        str | None,
        typer.Option(
            "--trust",
            help="Where the header leaves left and right in doubt: sform, qform, or the directions "
            "of the array's axes, such as LAS.",
        ),
    ] = None,
    channel: Annotated[
        int,
        typer.Option("--channel", help="Which image channel of the generator the scan is, from 0."),
    ] = 0,
    model: ModelOption = None,
    frame: FrameOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find the latent that reproduces a scan, and write the reconstruction in the scan's space.

    Example: stylegan3d project sub-01_T1w.nii.gz --out projected
    """
    from stylegan3d import projection
    from stylegan3d.projection_outputs import all_files, output_names, save_projection
    from stylegan3d.recipe import Recipe
    from stylegan3d.scans import read_scan
    from stylegan3d.volumes import check_output

    clock = [time.perf_counter()]
    opened = read_scan(scan, volume, series, trust)
    check_output(all_files(output_names(opened.path, out)), overwrite)
    generator = open_model(model, frame)
    Recipe(channel=channel).check(generator)
    clock.append(time.perf_counter())
    with progress("Aligning", total=1) as report:
        aligned = opened.align(
            generator, skull=skull.value, progress=lambda done, note: report(done, note=note)
        )
    clock.append(time.perf_counter())
    with progress("Projecting") as report:
        result = projection.project(
            generator,
            aligned,
            space=space.value,
            budget=budget.value,
            steps=steps,
            channel=channel,
            progress=lambda state: report(state.step, state.steps),
        )
    clock.append(time.perf_counter())
    seconds = [after - before for before, after in pairwise(clock)]
    about = {"seconds": dict(zip(("open", "align", "project"), seconds, strict=True))}
    told = save_projection(out, generator, aligned, result, about=about, overwrite=overwrite)
    _tell(told, out, as_json=as_json)


def _tell(told: dict[str, Any], out: Path, *, as_json: bool) -> None:
    """Print where the results lie and how alike the reconstruction is; warnings on stderr."""
    for warning in told["warnings"]:
        typer.echo(f"stylegan3d: {warning}", err=True)
    files = {what: str(out / name) for what, name in told["files"].items()}
    alike = told["similarity"]
    lines = [
        *files.values(),
        f"inside the brain: SSIM {alike['ssim']:.3f}, PSNR {alike['psnr']:.1f} dB, "
        f"correlation {alike['ncc']:.3f}",
    ]
    emit({**told, "files": files}, lines, as_json=as_json)
