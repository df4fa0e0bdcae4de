"""`stylegan3d project`, `segment` and `edit` for many scans: run the cohort and report."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from stylegan3d.base import Doubt, Json, JsonView
from stylegan3d.cli import common

if TYPE_CHECKING:
    from stylegan3d.cohort import Item
    from stylegan3d.cohort.run import Table, Work
    from stylegan3d.model.generator import Generator
    from stylegan3d.projection.settings import Choices
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.segmentation.norms import Norms


def project_many(
    paths: list[Path],
    written: common.Written,
    choices: Choices,
    open_generator: Callable[[], Generator],
    cache: Path | None,
    *,
    jobs: int,
    scheduler: str | None,
) -> None:
    """Project every scan; exit status 2 if one failed.

    Workers open the generator by `model` and `frame`; for `cache` see `project_file`.
    """
    from stylegan3d.cohort import find_items
    from stylegan3d.cohort.run import PROJECTIONS
    from stylegan3d.cohort.work import project_item

    items = find_items(paths, common.log.warning)
    generator = open_generator()
    work = partial(project_item, model=_absolute(written.model), cache=cache and cache.absolute())
    settings = {"choices": choices.to_dict(), "model": generator.hash, "frame": written.frame}
    about = {"model": common.model_entry(generator)}
    words = "Projecting", "projected"
    _run(words, items, written.out, work, settings, PROJECTIONS, about, written, jobs, scheduler)


def _absolute(path: Path | None) -> str | None:
    """A path that other processes understand."""
    return None if path is None else os.path.abspath(path)


def segment_many(
    paths: list[Path],
    out: Path,
    reading: common.ReadingOptions,
    norms: Norms | None,
    *,
    regions: bool,
    structures: bool,
    jobs: int,
) -> None:
    """Label the tissues or structures of every scan; exit status 2 if one failed."""
    from stylegan3d.cohort import find_items
    from stylegan3d.cohort.work import SEGMENTATIONS, STRUCTURE_TABLE, segment_item
    from stylegan3d.segmentation.inference import load_segmenter, load_structures
    from stylegan3d.segmentation.norms import bundled_norms

    segmenter = (load_structures if structures else load_segmenter)(reading.network)
    settings: Json = {
        "skull": reading.skull,
        "orientation": reading.orientation,
        "network": segmenter.hash,
        "regions": regions,
        "structures": structures,
        "norms": (norms or bundled_norms()).to_dict(),
    }
    work = partial(segment_item, network=_absolute(reading.network), norms=norms)
    about = {"network": {"name": segmenter.name, "sha256": segmenter.hash}}
    words, table = ("Segmenting", "segmented"), STRUCTURE_TABLE if structures else SEGMENTATIONS
    items = find_items(paths, common.log.warning)
    _run(words, items, out, work, settings, table, about, reading, jobs)


def edit_many(
    latents: Path,
    recipe: Recipe,
    strength: float,
    generator: Generator,
    written: common.Volumes,
    jobs: int,
) -> None:
    """Edit every scan of a folder or list of latent files; exit status 2 if one failed.

    Each latent file in turn is the source of `recipe`; `strength` (above 0 to 1) is that of the
    scan's own detail, `written.scan` the folder of the scans.
    """
    from stylegan3d.cohort.work import EDITS, edit_item, find_latents

    items = find_latents(latents, written.scan)
    settings = {
        "recipe": recipe.to_dict(),
        "strength": strength,
        "model": generator.hash,
        "frame": written.frame,
    }
    work = partial(edit_item, model=_absolute(written.model))
    about = {"model": common.model_entry(generator)}
    _run(("Editing", "edited"), items, written.out, work, settings, EDITS, about, written, jobs)


def _run(
    words: tuple[str, str],
    items: list[Item],
    out: Path,
    work: Work,
    settings: Json,
    table: Table,
    about: Json,
    options: common.Written | common.ReadingOptions,
    jobs: int,
    scheduler: str | None = None,
) -> None:
    """Work on every item and say what became of it; exit status 2 if one failed.

    The summary goes to stdout, failures and warnings to stderr.
    """
    from stylegan3d.cohort import run_cohort
    from stylegan3d.cohort.run import DONE, FAILED, KEPT

    with common.progress(words[0]) as report:
        how: Json = {"jobs": jobs, "scheduler": scheduler, "overwrite": options.overwrite}
        outcome = run_cohort(items, out, work, settings, table=table, progress=report, **how)
    tell(outcome.rows, common.ORIENTED)
    counts = {status: outcome.count(status) for status in (DONE, KEPT, FAILED)}
    lines = [
        str(out / table.file),
        f"{counts[DONE]} of {len(outcome.rows)} scans {words[1]}, {counts[KEPT]} were done before, "
        f"{counts[FAILED]} failed, in {outcome.seconds:.0f} s",
    ]
    result = {
        "table": str(out / table.file),
        **counts,
        "seconds": round(outcome.seconds, 2),
        "scans": outcome.rows,
        **about,
    }
    common.emit(result, lines, as_json=options.as_json)
    if counts[FAILED]:
        raise typer.Exit(2)


def tell(rows: Sequence[Json], hints: JsonView = common.HINTS) -> None:
    """Say what is in doubt of each scan, of a table that many have once, or why it failed."""
    said = set[Doubt]()
    for row in rows:
        new = [doubt for doubt in map(Doubt.read, row.get("doubts", [])) if doubt not in said]
        common.print_doubts(new, row["name"], hints)
        said.update(doubt for doubt in new if doubt.kind == "person")
        if "error" in row:
            common.log.error("%s: %s", row["name"], row["error"])
