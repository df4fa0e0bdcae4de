"""`stylegan3d project`, `segment` and `edit` for many scans: run the cohort and report."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from stylegan3d.cli.common import emit, model_entry, progress
from stylegan3d.plain import Json

if TYPE_CHECKING:
    from stylegan3d.cli.groups import Volumes
    from stylegan3d.cohort import Item, Outcome
    from stylegan3d.cohort.records import Table
    from stylegan3d.model.generator import Generator
    from stylegan3d.projection.settings import Choices
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.segmentation.norms import Norms


def project_many(
    paths: list[Path],
    out: Path,
    choices: Choices,
    open_generator: Callable[[], Generator],
    model: str | None,
    cache: Path | None,
    frame: str | None,
    *,
    jobs: int,
    scheduler: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Project every scan; exit status 2 if one failed.

    Workers open the generator by `model` and `frame`; for `cache` see `project_file`.
    """
    from stylegan3d.cohort import find_items, run_cohort
    from stylegan3d.cohort.project import project_item
    from stylegan3d.cohort.records import PROJECTIONS
    from stylegan3d.cohort.run import FAILED

    items = _without_results(find_items(paths), out)
    generator = open_generator()
    settings = {"choices": choices.to_dict(), "model": generator.hash, "frame": frame}
    with progress("Projecting") as report:
        outcome = run_cohort(
            items,
            out,
            partial(project_item, model=model, cache=cache),
            settings,
            overwrite=overwrite,
            progress=report,
            jobs=jobs,
            scheduler=scheduler,
        )
    about = {"model": model_entry(generator)}
    _emit_many(outcome, out, PROJECTIONS, "projected", about, as_json=as_json)
    if outcome.count(FAILED):
        raise typer.Exit(2)


def _without_results(items: list[Item], out: Path) -> list[Item]:
    """Exclude results of earlier runs, if the output folder is among the scans."""
    from stylegan3d.errors import StyleGAN3DError

    here = out.resolve()
    left = [
        item
        for item in items
        if "_desc-" not in item.path.name or here not in item.path.resolve().parents
    ]
    if not left:
        raise StyleGAN3DError(f"{out} contains results but no scan; give the folder of the scans.")
    return left


def segment_many(
    paths: list[Path],
    out: Path,
    network: Path | None,
    norms: Norms | None,
    *,
    regions: bool,
    skull: str,
    orientation: str | None,
    jobs: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Label the tissues of every scan; exit status 2 if one failed."""
    from stylegan3d.cohort import find_items, run_cohort
    from stylegan3d.cohort.run import FAILED
    from stylegan3d.cohort.segment import SEGMENTATIONS, segment_item
    from stylegan3d.segmentation.inference import load_segmenter

    segmenter = load_segmenter(network)
    settings: Json = {"skull": skull, "orientation": orientation, "network": segmenter.hash}
    settings["regions"] = regions
    if norms is not None:
        settings["norms"] = norms.to_dict()
    place = None if network is None else os.path.abspath(network)
    with progress("Segmenting") as report:
        outcome = run_cohort(
            find_items(paths),
            out,
            partial(segment_item, network=place, norms=norms),
            settings,
            table=SEGMENTATIONS,
            overwrite=overwrite,
            progress=report,
            jobs=jobs,
        )
    about = {"network": {"name": segmenter.name, "sha256": segmenter.hash}}
    _emit_many(outcome, out, SEGMENTATIONS, "segmented", about, as_json=as_json)
    if outcome.count(FAILED):
        raise typer.Exit(2)


def edit_many(
    latents: Path,
    recipe: Recipe,
    strength: float,
    generator: Generator,
    written: Volumes,
    jobs: int,
) -> None:
    """Edit every scan of a folder or list of latent files; exit status 2 if one failed.

    Parameters
    ----------
    latents : Path
    recipe : Recipe
        Whose source is each latent file in turn.
    strength : float
        Of each scan's own detail, above 0 to 1.
    generator : Generator
    written : Volumes
        `written.scan` is the folder of the scans.
    jobs : int
    """
    from stylegan3d.cohort import run_cohort
    from stylegan3d.cohort.edit import EDITS, edit_item, find_latents
    from stylegan3d.cohort.run import FAILED

    items = find_latents(latents, written.scan)
    recipe.check(generator)
    settings = {
        "recipe": recipe.to_dict(),
        "strength": strength,
        "model": generator.hash,
        "frame": written.frame,
    }
    model = None if written.model is None else os.path.abspath(written.model)
    with progress("Editing") as report:
        outcome = run_cohort(
            items,
            written.out,
            partial(edit_item, model=model),
            settings,
            table=EDITS,
            overwrite=written.overwrite,
            progress=report,
            jobs=jobs,
        )
    about = {"model": model_entry(generator)}
    _emit_many(outcome, written.out, EDITS, "edited", about, as_json=written.as_json)
    if outcome.count(FAILED):
        raise typer.Exit(2)


def _emit_many(
    outcome: Outcome, out: Path, table: Table, done: str, about: Json, *, as_json: bool
) -> None:
    """Summary on stdout; failures and warnings on stderr."""
    from stylegan3d.cohort.run import DONE, FAILED, KEPT

    for row in outcome.rows:
        for sentence in [*row.get("warnings", []), *([row["error"]] if "error" in row else [])]:
            typer.echo(f"stylegan3d: {row['name']}: {sentence}", err=True)
    counts = {status: outcome.count(status) for status in (DONE, KEPT, FAILED)}
    lines = [
        str(out / table.file),
        f"{counts[DONE]} of {len(outcome.rows)} scans {done}, {counts[KEPT]} were done before, "
        f"{counts[FAILED]} failed, in {outcome.seconds:.0f} s",
    ]
    result = {
        "table": str(out / table.file),
        **counts,
        "seconds": round(outcome.seconds, 2),
        "scans": outcome.rows,
        **about,
    }
    emit(result, lines, as_json=as_json)
