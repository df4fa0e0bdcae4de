"""`stylegan3d project` for many scans: run the cohort and report."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stylegan3d.cli.common import emit, model_entry, progress

if TYPE_CHECKING:
    from stylegan3d.cohort import Item, Outcome
    from stylegan3d.model.generator import Generator
    from stylegan3d.settings.projection import Choices


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
            progress=lambda done, total, name: report(done, total, note=name),
            jobs=jobs,
            scheduler=scheduler,
        )
    _emit_many(outcome, out, model_entry(generator), as_json=as_json)
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


def _emit_many(outcome: Outcome, out: Path, model: dict[str, Any], *, as_json: bool) -> None:
    """Summary on stdout; failures on stderr."""
    from stylegan3d.cohort.records import TABLE
    from stylegan3d.cohort.run import DONE, FAILED, KEPT

    for row in outcome.rows:
        if row["status"] == FAILED:
            typer.echo(f"stylegan3d: {row['name']}: {row['error']}", err=True)
    counts = {status: outcome.count(status) for status in (DONE, KEPT, FAILED)}
    lines = [
        str(out / TABLE),
        f"{counts[DONE]} of {len(outcome.rows)} scans projected, {counts[KEPT]} were done before, "
        f"{counts[FAILED]} failed, in {outcome.seconds:.0f} s",
    ]
    result = {
        "table": str(out / TABLE),
        **counts,
        "seconds": round(outcome.seconds, 2),
        "scans": outcome.rows,
        "model": model,
    }
    emit(result, lines, as_json=as_json)
