"""`stylegan3d project`: the latent that reproduces a real scan."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from stylegan3d.cli.common import (
    CacheOption,
    JobsOption,
    ModelChoice,
    Written,
    emit,
    grouped,
    progress,
)
from stylegan3d.cli.many import project_many
from stylegan3d.plain import Json
from stylegan3d.projection.settings import Choices


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
        typer.Option(
            "--mask", help="Region to fill in, such as a lesion: a NIfTI mask in the scan's space."
        ),
    ] = None,
    cache: CacheOption = None,
    jobs: JobsOption = 1,
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", help="Address of a Dask cluster to project many scans on."),
    ] = None,
) -> None:
    """Find the latent that reproduces a scan, and write the reconstruction in the scan's space.

    With many scans, a later run skips finished ones, a failure does not stop the others (exit
    status 2), and OUT/projections.tsv has a row for each.

    Example: stylegan3d project sub-01_T1w.nii.gz --out projected
    """
    from stylegan3d.cohort.scans import holds_scans
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
    from stylegan3d.projection.projector import check_choices
    from stylegan3d.projection.site import open_site
    from stylegan3d.recipe.recipe import Recipe

    generator = model.open()
    Recipe(channel=choices.channel).check(generator)
    check_choices(generator, choices.space, choices.budget, choices.method, "fixed")
    if choices.site is not None:
        open_site(generator, choices.site)
    return generator


def _emit(result: Json, out: Path, *, as_json: bool) -> None:
    """Print files and similarity; warnings on stderr."""
    for warning in result["warnings"]:
        typer.echo(f"stylegan3d: {warning}", err=True)
    from stylegan3d.projection.assessment import place_in_words

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
        f"reconstruction: {trust['verdict']}. {trust['sentence']}",
    ]
    emit({**result, "files": files}, lines, as_json=as_json)
