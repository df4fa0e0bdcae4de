"""Groups of brains compared: where they differ in volume, by how much, and whether by chance.

Deformation-based morphometry (Ashburner et al. 1998, Human Brain Mapping 6, 348-357) with a
generator's own deformations: of each brain the volume of every voxel of the study's average brain
is known, as the Jacobian determinant of the map from the average to it. Its logarithm is
compared with a linear model and judged by permuting subjects. Any volumes on one grid can be
compared instead, such as maps of another program.

For each value (a voxel, a region) y = X b + Z g + e: `X` are the columns of interest, such as a
group or an age, `Z` what is held fixed. Freedman and Lane (1983) permute the residuals of the
reduced model y = Z g + e; Winkler et al. 2014 (NeuroImage 92, 381-397) compare the ways to do it.
Rows that may not change places (the scans of one subject) are permuted within their block.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path

import numpy as np
import torch
from scipy.linalg import orth
from scipy.ndimage import affine_transform

from stylegan3d import base
from stylegan3d.directions.custom import direction_between, direction_of_values
from stylegan3d.directions.people import ValueTable, latents_of
from stylegan3d.evaluation.settings import USUAL_GROUPS, GroupSettings
from stylegan3d.geometry.space import Space, Upright
from stylegan3d.model.generator import Generator
from stylegan3d.pages.page import page
from stylegan3d.recipe.directions import Directions
from stylegan3d.recipe.latents import Latent, latent_bytes, save_directions
from stylegan3d.recipe.recipe import Source, Truncation
from stylegan3d.render import figures
from stylegan3d.render.movement import deformation_between
from stylegan3d.render.renderer import Renderer
from stylegan3d.scans.verdicts import doubts_of_scan
from stylegan3d.segmentation.classes import HEAD, title_of
from stylegan3d.segmentation.numbers import label_brain
from stylegan3d.settings.option import check_options
from stylegan3d.storage.checked import answering
from stylegan3d.storage.encoding import to_json
from stylegan3d.storage.files import cell_number, table_text, write_together
from stylegan3d.storage.volumes import make_image, volume_files

#: Largest number of values in a block of permutations, for memory.
BLOCK = 40_000_000
#: Bins in which permuted statistics are counted.
BINS = 65536
# By which share two statistics may differ that are equal but for rounding.
ROUNDED = 1e-6
#: Variance below this share of a value's own is rounding.
NOTHING = 1e-9
#: Columns held fixed that differ from others by less than this share are the same.
ROUNDING = 1e-10


@dataclass(frozen=True, eq=False)
class Tested:
    """What `permuted` found, for each of m values.

    Attributes
    ----------
    effect : ndarray, float64 (columns of interest, m)
        Coefficients b.
    statistic : ndarray, float64 (m,)
        t of a single column (signed), F of several.
    p : ndarray, float64 (m,)
        Share of permutations (this arrangement included) with a statistic at least as large, in
        absolute value.
    p_any : ndarray, float64 (m,)
        The same for the largest statistic of all values: controls the chance of any false finding
        (Westfall and Young 1993).
    q : ndarray, float64 (m,)
        False discovery rate at which the value is found (Benjamini and Hochberg 1995). Its p are
        shares of the permuted statistics of all values together, which alone reach below one in
        `permutations`.
    permutations : int
    """

    effect: np.ndarray
    statistic: np.ndarray
    p: np.ndarray
    p_any: np.ndarray
    q: np.ndarray
    permutations: int


def permuted(
    y: np.ndarray,
    interest: np.ndarray,
    fixed: np.ndarray,
    *,
    blocks: np.ndarray | None = None,
    permutations: int,
    seed: int = 0,
) -> Tested:
    """Test whether values depend on columns of interest beside what is held fixed.

    Parameters
    ----------
    y : ndarray, shape (n, m)
        Values of n rows.
    interest, fixed : ndarray, shape (n, k) and (n, c)
        Columns; an intercept is part of `fixed`.
    blocks : ndarray of int, shape (n,), or None
        Rows of the same block change places with each other only; None lets all rows do so.
    permutations : int
        Number of arrangements, the given one included.

    Raises
    ------
    StyleGAN3DError
        If there are too few rows, or what is of interest follows from what is held fixed.
    """
    n = len(y)
    basis = orth(fixed, rcond=ROUNDING)
    degrees = n - basis.shape[1] - interest.shape[1]
    if degrees < 1:
        raise base.StyleGAN3DError(
            f"{n} brains are too few for {interest.shape[1] + basis.shape[1]} quantities in the "
            "model: add brains, or fewer covariates."
        )
    residual = interest - basis @ (basis.T @ interest)
    scale = np.linalg.norm(interest - interest.mean(axis=0), axis=0)
    if np.linalg.matrix_rank(residual / np.where(scale > 0, scale, 1), tol=1e-6) < len(scale):
        raise base.StyleGAN3DError(
            "The compared column follows from those held fixed, or is the same for all brains: "
            "remove covariates, or compare another column."
        )
    unit, triangle = np.linalg.qr(residual)
    y = y.astype(np.float64)
    y = y - basis @ (basis.T @ y)
    total = (y**2).sum(axis=0)
    alive = total > NOTHING * max(float(total.max(initial=0.0)), 1e-300)
    y, total = y[:, alive], total[alive]
    rows = np.hstack([unit, basis]).T  # [k + c, n]
    signed = interest.shape[1] == 1

    def statistics(orders: np.ndarray) -> np.ndarray:
        """[b, m] of b arrangements [b, n] of the residuals."""
        moved = np.empty((len(orders), *rows.shape))
        # Permuting y's rows is permuting the columns of what it is multiplied with.
        np.put_along_axis(moved, orders[:, None, :], rows[None], axis=2)
        parts = (moved.reshape(-1, n) @ y).reshape(len(orders), len(rows), -1)
        ours = parts[:, : unit.shape[1]]
        explained = (ours**2).sum(axis=1)
        left = total - explained - (parts[:, unit.shape[1] :] ** 2).sum(axis=1)
        left = np.maximum(left, NOTHING * total) / degrees
        if signed:
            return ours[:, 0] * np.sign(triangle[0, 0]) / np.sqrt(left)
        return explained / unit.shape[1] / left

    random = np.random.default_rng(seed)
    found = statistics(np.arange(n)[None])[0]
    as_large, largest_as_large = np.ones(len(found)), np.ones(len(found))
    # Equal arrangements give statistics that differ by rounding: they count as equally large.
    nearly = np.abs(found) * (1 - ROUNDED)
    # Permuted statistics of all values, counted in narrow bins up to the largest found one.
    width = max(float(nearly.max(initial=0.0)), 1e-300) / BINS
    bins = np.minimum(nearly / width, BINS).astype(np.int64)
    counts = np.zeros(BINS + 1)
    size, done = max(1, BLOCK // max(1, y.shape[1] * len(rows))), 1
    while done < permutations:
        count = min(size, permutations - done)
        drawn = np.abs(
            statistics(np.stack([_arrangement(random, n, blocks) for _ in range(count)]))
        )
        as_large += (drawn >= nearly).sum(axis=0)
        if len(found):
            largest = np.sort(drawn.max(axis=1))
            largest_as_large += count - np.searchsorted(largest, nearly)
            places = np.minimum(drawn / width, BINS).astype(np.int32)
            counts += np.bincount(places.ravel(), minlength=len(counts))
        done += count
    effect = np.linalg.solve(triangle, unit.T @ y)
    p = _spread(as_large / permutations, alive, 1.0)
    at_least = counts[::-1].cumsum()[::-1][bins]
    pooled = (1 + at_least) / (1 + (permutations - 1) * max(1, len(found)))
    return Tested(
        np.stack([_spread(row, alive, 0.0) for row in effect]),
        _spread(found, alive, 0.0),
        p,
        _spread(largest_as_large / permutations, alive, 1.0),
        false_discovery_rate(_spread(np.minimum(pooled, 1.0), alive, 1.0)),
        permutations,
    )


def false_discovery_rate(p: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's q of each p, shape (m,)."""
    from scipy.stats import false_discovery_control

    return false_discovery_control(p, method="bh") if len(p) else p.copy()


def _arrangement(random: np.random.Generator, n: int, blocks: np.ndarray | None) -> np.ndarray:
    if blocks is None:
        return random.permutation(n)
    order = np.arange(n)
    for block in np.unique(blocks):
        rows = np.flatnonzero(blocks == block)
        order[rows] = random.permutation(rows)
    return order


def _spread(values: np.ndarray, alive: np.ndarray, rest: float) -> np.ndarray:
    whole = np.full(len(alive), rest)
    whole[alive] = values
    return whole


#: Fewest brains of a group.
FEWEST = 3
#: Most words a column may have to count as groups.
MOST_GROUPS = 12
#: A column of the volumes of the brains themselves, which no table needs to bring.
HEAD_SIZE = "head size"
#: Ends the name of a column whose numbers are codes, such as of sites.
CODES = ":category"
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
class GroupComparison:
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

    __repr__ = base.brief_repr

    design: Design
    space: Space
    inside: np.ndarray
    maps: Tested
    regions: list[base.Json]
    latents: np.ndarray | None = None
    average: np.ndarray | None = None
    direction: Directions | None = None
    notes: list[str] = field(default_factory=list)
    relative: bool = True
    mean: np.ndarray | None = None

    @property
    def marks(self) -> tuple[str, str]:
        """What its page and pictures say they are, in words and as IPTC's DigitalSourceType."""
        if self.relative:
            return figures.SYNTHETIC, figures.source_type()
        return "Not for diagnosis", f"{figures.SOURCE_TYPES}dataDrivenMedia"

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

    A column of numbers is a number, unless its name ends in ":category"; one of words, groups in
    alphabetical order. Scans of one subject are averaged, or, where `by` differs between them,
    compared within the subject.

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
    for name in (one.removesuffix(CODES) for one in used):
        if name not in known and name not in table.columns:
            known_names = ", ".join([*table.columns, *known])
            raise base.RecipeError(
                f"{table.path.name} has no column {name}: use one of {known_names}."
            )
    kept = np.flatnonzero(_complete(table, set(used) - known.keys()))
    names = np.array(subjects)[kept]
    cells = {
        name: known[name][kept] if name in known else _cells(table, name, kept) for name in used
    }
    whose = np.unique(names)
    told = [len({str(v) for v in cells[by][names == one]}) > 1 for one in whose]
    rows: tuple[tuple[int, ...], ...]
    if any(told):
        # A subject in whom nothing differs tells nothing, and would be counted.
        here = np.isin(names, whose[told])
        kept, names = kept[here], names[here]
        cells = {name: column[here] for name, column in cells.items()}
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
            fixed += [
                np.array([(column[np.isin(kept, row)] == word).mean() for row in rows])
                for word in np.unique(column)[1:]
            ]
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
    report: base.Progress = base.SILENT,
) -> GroupComparison:
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
    logs, measured, left_out = [], [], ""
    try:
        label_brain(average, generator.space)
    except base.StyleGAN3DError as error:
        left_out = f"No regions: {error}"
        if HEAD_SIZE in hold_fixed:
            raise
    for one in base.followed(w, report):
        movement = deformation_between(generator, one, mean)
        logs.append(np.log(np.maximum(movement.jacobian, LEAST_SHARE)))
        if not left_out:
            volume = renderer.render(one, noise="none").volume
            measured.append(label_brain(volume, generator.space).measures)
    space = movement.space
    brain = torch.from_numpy((average > BRAIN).astype(np.float32))[None, None]
    inside = (torch.nn.functional.interpolate(brain, space.shape, mode="area")[0, 0] > 0.5).numpy()
    known = {HEAD_SIZE: np.array([row[HEAD] for row in measured])} if measured else {}
    design = design_of(table, by, hold_fixed, subjects, known)
    maps = design.compared(np.stack(logs)[:, inside], settings)
    regions = _regions(design, measured, settings) if measured else []
    means, direction, notes = _in_latents(generator, latents, design, subjects)
    return GroupComparison(
        design,
        space,
        inside,
        maps,
        regions,
        means,
        average,
        direction,
        [*filter(None, [left_out]), *notes, *_remarks(design, table)],
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
) -> GroupComparison:
    """Compare volumes on one grid, (n, X, Y, Z), such as maps of another program, voxel by voxel.

    Voxels that are 0 in all of them, or NaN in any, are left out. Effects are in the volumes' own
    units. What is raised is that of `compare_latents`.
    """
    check_options(settings)
    design = design_of(table, by, hold_fixed, subjects)
    known = np.isfinite(maps[[place for row in design.rows for place in row]]).all(axis=0)
    inside = (maps != 0).any(axis=0) & known
    tested = design.compared(maps[:, inside].astype(np.float64), settings)
    notes = _remarks(design, table)
    if not known.all():
        lost = base.counted((~known).sum(), "voxel")
        notes.append(f"Left out because a map has no number there: {lost}.")
    return GroupComparison(design, space, inside, tested, [], notes=notes, relative=False)


def _cells(table: ValueTable, name: str, kept: np.ndarray) -> np.ndarray:
    """A column as numbers, or else as words, which codes are."""
    words = [str(table.columns[name.removesuffix(CODES)][k]) for k in kept]
    numbers = words if name.endswith(CODES) else [cell_number(word) for word in words]
    if not all(np.isfinite(one) for one in numbers if not isinstance(one, str)):
        raise base.RecipeError(
            f"The column {name} of {table.path.name} holds an infinite value: write a number, or "
            "leave the cell empty if it is unknown."
        )
    others = [one for one in numbers if isinstance(one, str)]
    if 0 < len(others) < len(words) / 2:
        raise base.RecipeError(
            f"The column {name} of {table.path.name} holds numbers, but also {others[0]!r}: write "
            "a number, or leave the cell empty if it is unknown."
        )
    return np.array(words if others else numbers)


def _group(by: str, cells: np.ndarray, name: str) -> tuple[tuple[str, ...], np.ndarray]:
    if cells.dtype.kind == "f" and len(np.unique(cells)) > 2:
        return (), cells
    words, group = np.unique(cells, return_inverse=True)
    levels = tuple(f"{word:g}" if cells.dtype.kind == "f" else str(word) for word in words)
    if len(levels) < 2:
        raise base.RecipeError(
            f"The column {by} of {name} has one value only: there is nothing to compare."
        )
    if len(levels) > MOST_GROUPS:
        raise base.RecipeError(
            f"The column {by} of {name} has {len(levels)} different words: a comparison takes up "
            f"to {MOST_GROUPS} groups, or numbers."
        )
    counts = np.bincount(group)
    if counts.min() < FEWEST:
        raise base.RecipeError(
            f"The group {levels[int(counts.argmin())]} of {by} has {counts.min()} subjects: each "
            f"needs at least {FEWEST}."
        )
    return levels, group


def _regions(
    design: Design, measured: list[dict[str, float]], settings: GroupSettings
) -> list[base.Json]:
    """Volumes of tissues and regions, each compared as its logarithm."""
    # The head size is what `head size` holds fixed: nothing is left of it to compare.
    left_out = {HEAD} if HEAD_SIZE in design.held_fixed else set()
    names = [n for n in measured[0] if n.endswith("_ml") and n not in left_out]
    volumes = np.array([[max(row[name], LEAST_ML) for name in names] for row in measured])
    tested = design.compared(np.log(volumes), settings)
    return [
        {
            "region": title_of(name),
            "ml": float(design.averaged(volumes)[:, k].mean()),
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
    """Mean latents of the groups and the direction, what is held fixed taken out of both.

    For the direction it is taken out without regard to the groups: a regression that knows them
    would leave their difference in brains that the check sets aside. Its way is the same
    (Frisch, Waugh 1933).
    """
    rows = design.averaged(latents.astype(np.float64))
    flat, fixed = rows.reshape(len(rows), -1), design.fixed - design.fixed.mean(axis=0)
    columns = np.hstack([design.interest, design.fixed])
    told = np.linalg.lstsq(columns, flat, rcond=None)[0][design.interest.shape[1] :]
    adjusted = (flat - fixed @ told).reshape(rows.shape)
    told = np.linalg.lstsq(fixed, flat - flat.mean(axis=0), rcond=None)[0]
    blind = (flat - fixed @ told).reshape(rows.shape)
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
                blind[less],
                blind[more],
                " to ".join(design.levels),
                ([*compress(names, less)], [*compress(names, more)]),
            )
        elif not design.levels:
            found = direction_of_values(generator, blind, design.group, design.by, subjects=names)
    except base.RecipeError as error:
        return means, None, [f"No direction: {error}"]
    if found is None:
        return means, None, ["No direction: there are more than two groups."]
    return means, found, []


def _complete(table: ValueTable, used: Iterable[str]) -> np.ndarray:
    """Whether each row has a value in all of these columns, where the table has them."""
    names = {name.removesuffix(CODES) for name in used} & table.columns.keys()
    columns = [table.columns[name] for name in names]
    return np.array([all(c[k] is not None for c in columns) for k in range(len(table.brains))])


def _remarks(design: Design, table: ValueTable) -> list[str]:
    notes = []
    complete = _complete(table, [design.by, *design.held_fixed])
    unused = {*range(len(table.brains))}.difference(*design.rows)
    for there, why in (
        (False, "a value is missing"),
        (True, f"{design.by} is the same in all scans of the subject"),
    ):
        if names := [table.brains[k] for k in sorted(unused) if complete[k] == there]:
            notes.append(f"Left out because {why}: {', '.join(names)}.")
    if design.blocks is not None:
        notes.append(
            f"{design.by} differs between scans of one subject: they are compared within subjects."
        )
    elif any(len(row) > 1 for row in design.rows):
        notes.append("Scans of one subject were averaged first.")
    if design.subjects < 20:
        notes.append(f"{design.subjects} subjects: only large differences can be found.")
    return notes


#: False discovery rate at which a difference is drawn and named.
RATE = 0.05
#: Slices of the picture, in a row; their scale, and the height of their letters.
SLICES, COLUMNS = 12, 6
PIXELS_PER_MM, LETTER_MM = 1.6, 7.0
#: The latent of the average of all brains, on which the maps lie.
AVERAGE = "desc-average_latent.safetensors"
MAPS = {
    "effect": "effect: percent of volume, or the maps' unit",
    "statistic": "t, or F of several groups",
    "p": "p of each voxel, by permutation",
    "p_any": "p corrected for all voxels (largest statistic)",
    "q": "false discovery rate",
}


def group_files(
    found: GroupComparison, folder: Path, generator: Generator | None, about: base.Json
) -> dict[Path, bytes]:
    """The files by path.

    Parameters
    ----------
    generator : Generator or None
        Of the latents; None for maps of another program.
    about : dict
        What the page and `groups.json` say of the model and the table.
    """
    design = found.design
    files: dict[Path, bytes] = {}
    compared = contrasts(found)
    for column, (contrast, label) in enumerate(zip(compared, _plain(compared), strict=True)):
        for name, title in MAPS.items():
            if column and name != "effect":
                continue
            middle = f"contrast-{label}_" if name == "effect" and len(compared) > 1 else ""
            path = folder / f"{middle}stat-{name.replace('_', '')}_statmap.nii.gz"
            files |= volume_files(
                path,
                make_image(found.volume(name, column), found.space.affine),
                description=f"{design.by}: {title}",
                sidecar={"Description": title, "Contrast": contrast, **about},
                synthetic=found.relative,
            )
    if generator is not None and found.latents is not None:
        levels = design.levels or ("all",)
        for name, label, w in zip(levels, _plain(levels), found.latents, strict=True):
            stem = f"group-{label}_desc-average"
            tensor = torch.from_numpy(w).float()
            volume = Renderer(generator).render(tensor, noise="none").volume
            files |= volume_files(
                folder / f"{stem}_T1w.nii.gz",
                make_image(volume, generator.affine),
                description=f"average of {name}",
                sidecar={"Description": f"Average of the latents of {name}", **about},
            )
            files[folder / f"{stem}_latent.safetensors"] = latent_bytes(
                Latent.of(generator, tensor)
            )
    if generator is not None and found.mean is not None:
        latent = Latent.of(generator, torch.from_numpy(found.mean).float())
        files[folder / AVERAGE] = latent_bytes(latent)
    if found.regions:
        files[folder / "regions.csv"] = regions_csv(found).encode()
    summary = summarised(found) | about
    files[folder / "groups.json"] = to_json(summary).encode()
    files[folder / "groups.html"] = group_page(found, generator, about).encode()
    return files


def contrasts(found: GroupComparison) -> list[str]:
    """What each column of interest is, in words."""
    levels = found.design.levels
    if not levels:
        return [f"one unit of {found.design.by} more"]
    return [f"{level} minus {levels[0]}" for level in levels[1:]]


def summarised(found: GroupComparison) -> base.Json:
    """The figures, plain for JSON."""
    design, maps = found.design, found.maps
    sizes = {n: int((design.group == k).sum()) for k, n in enumerate(design.levels)}
    return {
        "by": design.by,
        "groups": sizes,
        "held_fixed": list(design.held_fixed),
        "subjects": design.subjects,
        "rows": len(design.rows),
        "within_subjects": design.blocks is not None,
        "permutations": maps.permutations,
        "contrasts": contrasts(found),
        "voxels": int(found.inside.sum()),
        "voxels_found": int((maps.q <= RATE).sum()),
        "smallest_corrected_p": float(maps.p_any.min(initial=1.0)),
        "regions": found.regions,
        "direction": None if found.direction is None else found.direction.names[0],
        "notes": found.notes,
    }


def verdict_of(told: base.Json) -> str:
    """What `summarised` figures say, in a sentence."""
    p = told["smallest_corrected_p"]
    if told["voxels_found"] or p <= RATE:
        return (
            f"{told['voxels_found']} of {told['voxels']} voxels differ at a false discovery rate "
            f"of {100 * RATE:g} %; the smallest p corrected for all voxels is {p:.3g}."
        )
    return (
        f"No voxel differs at a false discovery rate of {100 * RATE:g} % "
        f"(smallest corrected p {p:.3g})."
    )


def regions_csv(found: GroupComparison) -> str:
    """A row for each region."""
    effects = [f"percent, {name}" for name in contrasts(found)]
    rows = [["region", "mean ml", *effects, "statistic", "p", "q"]]
    for row in found.regions:
        values = [f"{e:.3f}" for e in row["effect_percent"]]
        numbers = [f"{row['statistic']:.3f}", f"{row['p']:.4f}", f"{row['q']:.4f}"]
        rows.append([row["region"], f"{row['ml']:.1f}", *values, *numbers])
    return table_text(rows)


def group_page(found: GroupComparison, generator: Generator | None, about: base.Json) -> str:
    """One page, self-contained, that prints on one or two sheets."""
    told = summarised(found)
    groups = ", ".join(f"{name} ({count})" for name, count in told["groups"].items())
    what = "scans within subjects" if told["within_subjects"] else "subjects"
    facts = {
        "Groups": groups or f"a number: {told['by']}",
        "Subjects": f"{told['subjects']}, in {told['rows']} rows",
        "Adjusted for": ", ".join(told["held_fixed"]) or "nothing",
        "Permutations": f"{told['permutations']}, of {what}",
    }
    facts |= {k: value["name"] if isinstance(value, dict) else value for k, value in about.items()}
    names = contrasts(found)
    return page(
        "groups",
        source_type=found.marks[1],
        by=told["by"],
        mark=found.marks[0],
        verdict=verdict_of(told),
        about=facts,
        notes=found.notes,
        pictures={
            name[0].upper() + name[1:]: picture(found, k, generator) for k, name in enumerate(names)
        },
        heads=[
            "Region",
            "ml",
            *(f"% ({name})" for name in names),
            "t" if len(names) == 1 else "F",
            "p",
            "q",
        ],
        regions=found.regions,
        rate=RATE,
    )


def picture(found: GroupComparison, column: int, generator: Generator | None) -> bytes:
    """The effect in colours, where it is found, on the average brain: a PNG."""
    shown, space = found.average, None if generator is None else generator.space
    if shown is None or space is None:
        shown, space = found.inside.astype(np.float32) * 0.5, found.space
    onto, where = difference(found, column, shown, space)
    largest = float(np.percentile(np.abs(onto[where]), 99)) if where.any() else 1.0
    unit = "%" if found.relative else "of the maps' unit"
    text = (
        f"{found.marks[0]}. Blue: less, orange: more (to {largest:.3g} {unit}), where q <= {RATE:g}"
        if where.any()
        else f"{found.marks[0]}. No difference found"
    )
    return coloured_slices(shown, onto, where, space, largest, text, found.marks[1])


def coloured_slices(
    shown: np.ndarray,
    values: np.ndarray,
    where: np.ndarray,
    space: Space,
    largest: float,
    caption: str,
    kind: str = "",
) -> bytes:
    """Axial slices of a brain with values of either sign over it: a PNG.

    Parameters
    ----------
    shown, values, where : ndarray, shape (X, Y, Z)
        The brain in display units, the values, and where they are drawn (bool).
    largest : float
        Value of the full colour: blue below 0, orange above.
    kind : str
        Its `figures.source_type`; by default that of a synthetic brain.
    """
    drawn = np.where(where, np.divide(values, largest, dtype=np.float32), np.nan)
    brain, effect = (Upright.of(volume, space) for volume in (shown, drawn))
    look = figures.Look(PIXELS_PER_MM, caption=caption, letter_mm=LETTER_MM)
    sheet = figures.lightbox(brain, "axial", look, slices=SLICES, columns=COLUMNS, effect=effect)
    return figures.with_source_type(figures.png_bytes(sheet), ".png", kind or figures.source_type())


def difference(
    found: GroupComparison, column: int, brain: np.ndarray, space: Space
) -> tuple[np.ndarray, np.ndarray]:
    """The effect on another grid, and where in a brain on it the difference is found (bool)."""
    onto = _onto(found.volume("effect", column), found.space, space)
    sure = (found.volume("q") <= RATE).astype(np.float32)
    return onto, (_onto(sure, found.space, space) > 0.5) & (brain > BRAIN)


def _onto(values: np.ndarray, space: Space, target: Space) -> np.ndarray:
    if space.same_as(target):
        return values
    matrix = np.linalg.inv(space.affine) @ target.affine
    return affine_transform(
        values, matrix[:3, :3], matrix[:3, 3], target.shape, order=1, mode="nearest"
    )


def _plain(names: Sequence[str]) -> list[str]:
    """Letters and digits only, as in names of BIDS; equal ones get a number."""
    labels: list[str] = []
    for name in names:
        words = re.findall("[A-Za-z0-9]+", name.replace("+", " plus ")) or ["x"]
        label = words[0] + "".join(word.capitalize() for word in words[1:])
        same = [one for one in labels if one.lower() == label.lower()]
        labels.append(f"{label}x{len(labels)}" if same else label)
    return labels


DIRECTION = "direction.safetensors"
#: Files that one comparison has and another has not.
OURS = ("*stat-*_statmap.*", "group-*_desc-average_*", AVERAGE, "regions.csv", DIRECTION)


@answering
def compare_table(
    table: ValueTable,
    by: str,
    hold_fixed: Sequence[str],
    generator: Generator,
    *,
    projected: Mapping[str, Source] | None = None,
    settings: GroupSettings = USUAL_GROUPS,
    report: base.Progress = base.SILENT,
) -> GroupComparison:
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
    subjects = table.subjects(sources)
    found = compare_latents(
        generator, latents, table, by, hold_fixed, subjects, settings=settings, report=report
    )
    scans = [scan for source in dict.fromkeys(sources) if (scan := source.scan()) is not None]
    doubts = Counter(doubt.sentence for doubt in doubts_of_scan(*scans))
    notes = [f"{n} of {len(scans)} scans: {sentence}" for sentence, n in doubts.items()]
    return replace(found, notes=[*found.notes, *notes])


def save_comparison(
    found: GroupComparison,
    folder: Path,
    generator: Generator | None,
    about: base.Json,
    *,
    overwrite: bool,
) -> list[Path]:
    """Write a comparison's files, its direction included; OutputError if that fails.

    Those of an earlier comparison in the folder, which are replaced, do not stay beside them.
    """
    files = group_files(found, folder, generator, about)
    replaced = overwrite and (folder / "groups.json").exists()
    write_together(files, overwrite=overwrite)
    paths = [*files]
    if found.direction is not None:
        save_directions(folder / DIRECTION, found.direction, overwrite)
        paths.append(folder / DIRECTION)
    if replaced:
        for old in {one for pattern in OURS for one in folder.glob(pattern)} - {*paths}:
            old.unlink()
    return paths
