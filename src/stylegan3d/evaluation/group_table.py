"""From a table of brains to a comparison, and from a comparison to its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stylegan3d.directions.value_table import ValueTable, latents_of
from stylegan3d.evaluation.group_files import group_files
from stylegan3d.evaluation.groups import Comparison, compare_latents
from stylegan3d.evaluation.settings import USUAL_GROUPS, GroupSettings
from stylegan3d.plain import Json
from stylegan3d.progress import SILENT, Progress
from stylegan3d.recipe.direction_file import save_directions
from stylegan3d.recipe.recipe import Source, Truncation
from stylegan3d.storage.volumes import write_together

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator

DIRECTION = "direction.safetensors"


def compare_table(
    table: ValueTable,
    by: str,
    hold_fixed: Sequence[str],
    generator: Generator,
    *,
    projected: Mapping[str, Source] | None = None,
    settings: GroupSettings = USUAL_GROUPS,
    report: Progress = SILENT,
) -> Comparison:
    """Compare seeds, latent files and projected scans of a table, see `groups`.

    Parameters
    ----------
    by, hold_fixed : str, sequence of str
        Columns; "head size" is measured and needs none.
    projected : mapping of str to Source, optional
        Projected scans by name.
    report : callable, optional
        Called with brains done and planned.

    Raises
    ------
    RecipeError, LatentError
        If the table, a column or a brain cannot be used.
    """
    sources = table.sources(projected)
    latents = latents_of(generator, sources, Truncation(1.0))
    return compare_latents(
        generator,
        latents,
        table,
        by,
        hold_fixed,
        table.subjects(sources),
        settings=settings,
        report=report,
    )


def save_comparison(
    found: Comparison,
    folder: Path,
    generator: Generator | None,
    about: Json,
    *,
    overwrite: bool,
) -> list[Path]:
    """Write a comparison's files, its direction included; OutputError if that fails."""
    files = group_files(found, folder, generator, about)
    write_together(files, overwrite=overwrite)
    paths = [*files]
    if found.direction is not None:
        save_directions(folder / DIRECTION, found.direction, overwrite)
        paths.append(folder / DIRECTION)
    return paths
