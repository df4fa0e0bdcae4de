"""Groups of brains compared: where they differ in volume, by how much, and whether by chance.

Deformation-based morphometry (Ashburner et al. 1998, Human Brain Mapping 6, 348-357) with a
generator's own deformations: of each brain the volume of every voxel of the study's average brain
is known, as the Jacobian determinant of the map from the average to it. Its logarithm is
compared with a linear model and judged by permuting subjects (`metrics/permutation.py`). Any
volumes on one grid can be compared instead, such as maps of another program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np
import torch

from stylegan3d.directions.custom import direction_between, direction_of_values
from stylegan3d.directions.value_table import ValueTable, cell_number
from stylegan3d.errors import RecipeError
from stylegan3d.evaluation.settings import USUAL_GROUPS, GroupSettings
from stylegan3d.geometry.space import Space
from stylegan3d.metrics.permutation import Tested, permuted
from stylegan3d.plain import Json
from stylegan3d.progress import SILENT, Progress
from stylegan3d.render.movement import deformation_between
from stylegan3d.render.renderer import Renderer
from stylegan3d.segmentation.numbers import HEAD, label_brain
from stylegan3d.segmentation.words import title_of
from stylegan3d.settings.option import check_options

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.directions import Directions

#: Fewest brains of a group.
FEWEST = 3
#: Most words a column may have to count as groups.
MOST_GROUPS = 12
#: A column of the volumes of the brains themselves, which no table needs to bring.
HEAD_SIZE = "head size"
#: Display units above which a voxel is brain; least volume of a voxel, as a share, and of a region.
BRAIN, LEAST_SHARE, LEAST_ML = 0.05, 1e-3, 0.05


@dataclass(frozen=True, eq=False)
class Design:
    """What is compared, and what is held fixed, one row for each subject (or scan).

    Attributes
    ----------
    by : str
        The column.
    levels : tuple of str
        Names of the groups, the reference first; empty if `by` is a number.
    interest, fixed : ndarray
        Columns of the linear model.
    held_fixed : tuple of str
        Names of the columns held fixed.
    rows : tuple of tuple of int
        Which brains of the table each row averages.
    blocks : ndarray of int or None
        Subjects within whom scans change places, where `by` differs within subjects.
    group : ndarray of int, or of float
        Of each row: the number of its group, or the value.
    subjects : int
    """

    by: str
    levels: tuple[str, ...]
    interest: np.ndarray
    fixed: np.ndarray
    held_fixed: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]
    blocks: np.ndarray | None
    group: np.ndarray
    subjects: int

    def compared(self, values: np.ndarray, settings: GroupSettings) -> Tested:
        """`values` of brains (first axis), compared between the groups or along the number."""
        return permuted(
            self.averaged(values),
            self.interest,
            self.fixed,
            blocks=self.blocks,
            permutations=settings.permutations,
            seed=settings.seed,
        )

    def averaged(self, values: np.ndarray) -> np.ndarray:
        """`values` of brains (first axis), averaged for each row."""
        return np.stack([values[list(row)].mean(axis=0) for row in self.rows])


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a comparison of groups found.

    Attributes
    ----------
    design : Design
    space : Space
        Grid of the maps.
    inside : ndarray, bool
        Voxels that were compared.
    maps : Tested
        Of the voxels inside.
    regions : list of dict
        "region", mean "ml", "effect_percent" for each column of interest,
        "statistic", "p", "q".
    latents : ndarray or None
        Mean latent of each group, or of all, (groups, num_layers, w_dim).
    mean : ndarray or None
        Mean latent of all brains, (num_layers, w_dim), on whose brain the maps lie.
    average : ndarray or None
        This brain, display units, on the generator's grid.
    direction : Directions or None
        From the first group to the second, or along the value; None where it cannot be had.
    notes : list of str
        What to know about the result.
    relative : bool
        Whether effects are natural logarithms of volume, which `volume` gives in percent.
    """

    design: Design
    space: Space
    inside: np.ndarray
    maps: Tested
    regions: list[Json]
    latents: np.ndarray | None = None
    average: np.ndarray | None = None
    direction: Directions | None = None
    notes: list[str] = field(default_factory=list)
    relative: bool = True
    mean: np.ndarray | None = None

    def volume(self, name: str, column: int = 0) -> np.ndarray:
        """A map as float32 (X, Y, Z): effect, statistic, p, p_any or q; 0, or 1, outside."""
        values = self.maps.effect[column] if name == "effect" else getattr(self.maps, name)
        if name == "effect" and self.relative:
            values = 100 * np.expm1(values)
        whole = np.full(self.inside.shape, 0.0 if name in ("effect", "statistic") else 1.0)
        whole[self.inside] = values
        return whole.astype(np.float32)


def design_of(
    table: ValueTable,
    by: str,
    hold_fixed: Sequence[str],
    subjects: Sequence[str],
    known: Mapping[str, np.ndarray] | None = None,
) -> Design:
    """The linear model of a table.

    A column of numbers is a number; one of words, groups in alphabetical order. Scans of one
    subject are averaged, or, where `by` differs between them, compared within the subject.

    Parameters
    ----------
    known : mapping of str to ndarray
        More columns than the table has, such as the head size.

    Raises
    ------
    RecipeError
        If a column is missing, has too few values or too many words.
    """
    known = known or {}
    used = [by, *hold_fixed]
    whole = np.ones(len(table.brains), bool)
    for name in used:
        if name not in known and name not in table.columns:
            known_names = ", ".join([*table.columns, *known])
            raise RecipeError(f"{table.path.name} has no column {name}: use one of {known_names}.")
        if name in known:
            continue
        whole &= np.array([cell is not None for cell in table.columns[name]])
    kept = np.flatnonzero(whole)
    names = np.array(subjects)[kept]
    cells = {
        name: known[name][kept] if name in known else _cells(table, name, kept) for name in used
    }
    differs = any(len({str(v) for v in cells[by][names == one]}) > 1 for one in np.unique(names))
    rows: tuple[tuple[int, ...], ...]
    if differs:
        rows = tuple((int(k),) for k in kept)
        blocks = np.unique(names, return_inverse=True)[1].ravel()
        use = np.arange(len(kept))
    else:
        order = list(dict.fromkeys(names))
        rows = tuple(tuple(int(k) for k in kept[names == one]) for one in order)
        blocks, use = None, np.array([int(np.flatnonzero(names == one)[0]) for one in order])
    levels, group = _group(by, cells[by][use], table.path.name)
    interest = (
        (group - group.mean())[:, None].astype(float)
        if not levels
        else np.stack([group == k for k in range(1, len(levels))], axis=1).astype(float)
    )
    fixed = [np.ones(len(use))]
    for name in hold_fixed:
        column = cells[name]
        if column.dtype.kind == "f":
            row_values = np.array([column[np.isin(kept, row)].mean() for row in rows])
            fixed.append((row_values - row_values.mean()) / (row_values.std() or 1.0))
        else:
            words = np.unique(column[use])
            fixed += [(column[use] == word).astype(float) for word in words[1:]]
    if blocks is not None:
        fixed += [(blocks == k).astype(float) for k in np.unique(blocks)[1:]]
    return Design(
        by,
        levels,
        interest,
        np.stack(fixed, axis=1),
        tuple(hold_fixed),
        rows,
        blocks,
        group,
        len(np.unique(names)),
    )


def compare_latents(
    generator: Generator,
    latents: np.ndarray,
    table: ValueTable,
    by: str,
    hold_fixed: Sequence[str],
    subjects: Sequence[str],
    *,
    settings: GroupSettings = USUAL_GROUPS,
    report: Progress = SILENT,
) -> Comparison:
    """Compare the shapes of brains, given by their latents.

    Parameters
    ----------
    latents : ndarray, shape (n, num_layers, w_dim)
    table : ValueTable
        n rows.
    by : str
        Column of groups or of a number.
    hold_fixed : sequence of str
        Columns of the table, or `HEAD_SIZE`.
    subjects : sequence of str
        Whose brain each row is.

    Raises
    ------
    OutputError
        If a setting is not allowed.
    RecipeError
        See `design_of`.
    """
    check_options(settings)
    # What is wrong with the table is said before the brains are measured, which takes minutes.
    design_of(table, by, [name for name in hold_fixed if name != HEAD_SIZE], subjects)
    w = torch.from_numpy(latents).float()
    mean = w.mean(dim=0)
    renderer = Renderer(generator)
    average = renderer.render(mean, noise="none").volume
    logs, measured = [], []
    for k, one in enumerate(w):
        movement = deformation_between(generator, one, mean)
        logs.append(np.log(np.maximum(movement.jacobian, LEAST_SHARE)))
        volume = renderer.render(one, noise="none").volume
        measured.append(label_brain(volume, generator.space).measures)
        report(k + 1, len(w))
    space = movement.space
    brain = torch.from_numpy((average > BRAIN).astype(np.float32))[None, None]
    inside = (torch.nn.functional.interpolate(brain, space.shape, mode="area")[0, 0] > 0.5).numpy()
    known = {HEAD_SIZE: np.array([row[HEAD] for row in measured])}
    design = design_of(table, by, hold_fixed, subjects, known)
    maps = design.compared(np.stack(logs)[:, inside], settings)
    regions = _regions(design, measured, settings)
    means, direction, notes = _in_latents(generator, latents, design, subjects)
    return Comparison(
        design,
        space,
        inside,
        maps,
        regions,
        means,
        average,
        direction,
        notes + _remarks(design),
        mean=mean.numpy(),
    )


def compare_maps(
    maps: np.ndarray,
    space: Space,
    table: ValueTable,
    by: str,
    hold_fixed: Sequence[str],
    subjects: Sequence[str],
    *,
    settings: GroupSettings = USUAL_GROUPS,
) -> Comparison:
    """Compare volumes on one grid, (n, X, Y, Z), such as maps of another program, voxel by voxel.

    Voxels that are 0 in all of them are left out. Effects are in the volumes' own units. What is
    raised is that of `compare_latents`.
    """
    check_options(settings)
    design = design_of(table, by, hold_fixed, subjects)
    inside = (maps != 0).any(axis=0)
    tested = design.compared(maps[:, inside].astype(np.float64), settings)
    return Comparison(design, space, inside, tested, [], notes=_remarks(design), relative=False)


def _cells(table: ValueTable, name: str, kept: np.ndarray) -> np.ndarray:
    """A column as numbers, or else as words."""
    words = [str(table.columns[name][k]) for k in kept]
    numbers = [cell_number(word) for word in words]
    return np.array(words if any(isinstance(one, str) for one in numbers) else numbers)


def _group(by: str, cells: np.ndarray, name: str) -> tuple[tuple[str, ...], np.ndarray]:
    if cells.dtype.kind == "f" and len(np.unique(cells)) > 2:
        return (), cells
    words, group = np.unique(cells, return_inverse=True)
    levels = tuple(f"{word:g}" if cells.dtype.kind == "f" else str(word) for word in words)
    if len(levels) < 2:
        raise RecipeError(
            f"The column {by} of {name} has one value only: there is nothing to compare."
        )
    if len(levels) > MOST_GROUPS:
        raise RecipeError(
            f"The column {by} of {name} has {len(levels)} different words: a comparison takes up "
            f"to {MOST_GROUPS} groups, or numbers."
        )
    counts = np.bincount(group)
    if counts.min() < FEWEST:
        raise RecipeError(
            f"The group {levels[int(counts.argmin())]} of {by} has {counts.min()} subjects: each "
            f"needs at least {FEWEST}."
        )
    return levels, group


def _regions(
    design: Design, measured: list[dict[str, float]], settings: GroupSettings
) -> list[Json]:
    """Volumes of tissues and regions, each compared as its logarithm."""
    # The head size is what `head size` holds fixed: nothing is left of it to compare.
    left_out = {HEAD} if HEAD_SIZE in design.held_fixed else set()
    names = [n for n in measured[0] if n.endswith("_ml") and n not in left_out]
    volumes = np.array([[max(row[name], LEAST_ML) for name in names] for row in measured])
    tested = design.compared(np.log(volumes), settings)
    return [
        {
            "region": title_of(name),
            "ml": float(volumes[:, k].mean()),
            "effect_percent": [float(100 * np.expm1(e)) for e in tested.effect[:, k]],
            "statistic": float(tested.statistic[k]),
            "p": float(tested.p[k]),
            "q": float(tested.q[k]),
        }
        for k, name in enumerate(names)
    ]


def _in_latents(
    generator: Generator, latents: np.ndarray, design: Design, subjects: Sequence[str]
) -> tuple[np.ndarray, Directions | None, list[str]]:
    """Mean latents of the groups and the direction, what is held fixed taken out of both."""
    rows = design.averaged(latents.astype(np.float64))
    flat = rows.reshape(len(rows), -1)
    columns = np.hstack([design.interest, design.fixed])
    coefficients = np.linalg.lstsq(columns, flat, rcond=None)[0]
    k = design.interest.shape[1]
    fixed = design.fixed - design.fixed.mean(axis=0)
    adjusted = (flat - fixed @ coefficients[k:]).reshape(rows.shape)
    if design.levels:
        means = np.stack(
            [adjusted[design.group == g].mean(axis=0) for g in range(len(design.levels))]
        )
    else:
        means = adjusted.mean(axis=0, keepdims=True)
    names = [subjects[row[0]] for row in design.rows]
    found = None
    try:
        if len(design.levels) == 2:
            less, more = design.group == 0, design.group == 1
            found = direction_between(
                generator,
                adjusted[less],
                adjusted[more],
                " to ".join(design.levels),
                ([*compress(names, less)], [*compress(names, more)]),
            )
        elif not design.levels:
            found = direction_of_values(
                generator, adjusted, design.group, design.by, subjects=names
            )
    except RecipeError as error:
        return means, None, [f"No direction: {error}"]
    if found is None:
        return means, None, ["No direction: there are more than two groups."]
    return means, found, []


def _remarks(design: Design) -> list[str]:
    notes = []
    if design.blocks is not None:
        notes.append(
            f"{design.by} differs between scans of one subject: they are compared within subjects."
        )
    elif any(len(row) > 1 for row in design.rows):
        notes.append("Scans of one subject were averaged first.")
    if design.subjects < 20:
        notes.append(f"{design.subjects} subjects: only large differences can be found.")
    return notes
