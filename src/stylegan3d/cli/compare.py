"""`stylegan3d compare`: groups of brains, or a value of theirs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stylegan3d.base import Json
from stylegan3d.cli.common import OutOption, Result, emit, grouped, model_entry, progress
from stylegan3d.evaluation.settings import GroupSettings

if TYPE_CHECKING:
    import numpy as np

    from stylegan3d.directions.value_table import ValueTable
    from stylegan3d.geometry.space import Space


@grouped
def compare(
    table: Annotated[
        Path,
        typer.Argument(
            help="Table (CSV, TSV) with a row per brain. Its first column holds latent files of "
            "projected scans, seeds, or volumes on one grid (.nii.gz), such as maps of another "
            "program; further columns groups, ages and other values. participant_id says whose "
            "brain it is."
        ),
    ],
    by: Annotated[str, typer.Option(help="Column that is compared: groups (words) or a number.")],
    written: Result,
    settings: GroupSettings,
    hold_fixed: Annotated[
        str | None,
        typer.Option(
            "--adjust-for",
            help='Columns whose influence is removed, such as "age,sex,site"; "head size" is '
            "measured and needs no column.",
        ),
    ] = None,
    out: OutOption = Path("groups"),
) -> None:
    """Compare groups of brains: where their volume differs, by how much, and whether by chance.

    Writes maps of the difference, t, p and false discovery rate, a table of regions, the average
    brain of each group, the direction from group to group, and a page, groups.html.

    Example: stylegan3d compare people.csv --by group --adjust-for "age,sex,head size" --out groups
    """
    from stylegan3d.directions.value_table import read_value_table
    from stylegan3d.evaluation.groups import (
        compare_maps,
        compare_table,
        save_comparison,
        summarised,
        verdict_of,
    )
    from stylegan3d.storage.files import check_output

    read = read_value_table(table)
    fixed = [name.strip() for name in (hold_fixed or "").split(",") if name.strip()]
    check_output([out / "groups.html"], written.overwrite)
    about: Json = {"Table": table.name}
    if all(name.endswith((".nii", ".nii.gz")) for name in read.brains):
        with progress("Comparing"):
            maps, space, subjects = _maps(read)
            found = compare_maps(maps, space, read, by, fixed, subjects, settings=settings)
        generator = None
    else:
        generator = written.open()
        about["Model"] = model_entry(generator)
        with progress("Comparing") as report:
            found = compare_table(read, by, fixed, generator, settings=settings, report=report)
    paths = save_comparison(found, out, generator, about, overwrite=written.overwrite)
    summary = summarised(found)
    lines = [
        verdict_of(summary),
        f"Volume, {' and '.join(summary['contrasts'])}:",
        *(
            f"{row['region']}: {', '.join(f'{e:+.1f} %' for e in row['effect_percent'])}, "
            f"p {row['p']:.3g}, q {row['q']:.3g}"
            for row in sorted(found.regions, key=lambda row: row["q"])[:8]
        ),
        *found.notes,
        str(out / "groups.html"),
    ]
    emit(summary | {"files": list(map(str, paths))}, lines, as_json=written.as_json)


def _maps(table: ValueTable) -> tuple[np.ndarray, Space, list[str]]:
    """The volumes of a table, their grid, and whose they are."""
    import numpy as np

    from stylegan3d.base import RecipeError
    from stylegan3d.directions.value_table import subject_of
    from stylegan3d.recipe.recipe import Source
    from stylegan3d.scans.reading import read_map

    volumes, space = [], None
    for name in table.brains:
        volume, own = read_map(table.path.parent / name)
        if space is not None and not own.same_as(space):
            raise RecipeError(
                f"{name} is on another grid than {table.brains[0]}: bring all volumes to one grid, "
                "or compare latents of projected scans."
            )
        space = own
        volumes.append(volume)
    assert space is not None
    named = table.named or (None,) * len(volumes)
    subjects = [
        who or subject_of(Source("latent", path=name))
        for who, name in zip(named, table.brains, strict=True)
    ]
    return np.stack(volumes), space, subjects
