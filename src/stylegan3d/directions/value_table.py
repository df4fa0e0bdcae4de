"""A user's table of values of brains.

The first column identifies a brain: a random one by its seed, a latent file by its path, or a
projected scan by its name. The other columns hold values; the first row is the header.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stylegan3d.base import RecipeError
from stylegan3d.directions.people import as_numbers
from stylegan3d.recipe.recipe import Recipe, Source, Truncation, leads_out
from stylegan3d.storage.files import separator_of
from stylegan3d.storage.formats import scan_stem
from stylegan3d.storage.jsontext import LONGEST_NUMBER, short_repr
from stylegan3d.storage.tensorfiles import read_bytes

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator

#: Maximum size in bytes; a hundred thousand brains with twenty values take a fifth of this.
LARGEST_TABLE = 64_000_000
#: Names of a column that says whose brain a row is.
SUBJECTS = frozenset({"participant_id", "participant", "subject", "subject_id", "person"})
#: Spellings of an unknown value.
UNKNOWN = frozenset({"", "n/a", "na", "nan", "null", "none", "-"})


@dataclass(frozen=True)
class ValueTable:
    """The content of a table.

    Attributes
    ----------
    path : Path
        Latent files are resolved relative to it.
    brains : tuple of str
        `(n,)` first column, verbatim.
    columns : dict of str to tuple
        `(n,)` values of the other columns by name: text, or None where unknown.
    named : tuple of str or None
        `(n,)` the subjects, of a table that has a column of `SUBJECTS`.
    """

    path: Path
    brains: tuple[str, ...]
    columns: dict[str, tuple[str | None, ...]]
    named: tuple[str | None, ...] | None = None

    def values(self, column: str) -> np.ndarray:
        """float64 `(n,)`, NaN where unknown; binary words become 0 and 1.

        Raises
        ------
        RecipeError
            If there is no such column, or it contains words.
        """
        if column not in self.columns:
            raise RecipeError(
                f"{self.path.name} has no column {column}: use one of {', '.join(self.columns)}."
            )
        cells = [None if cell is None else cell_number(cell) for cell in self.columns[column]]
        values = as_numbers(column, cells)
        if np.isinf(values).any():
            raise RecipeError(
                f"The column {column} of {self.path.name} contains an infinite value: "
                "correct it, or leave the cell empty if the value is unknown."
            )
        return values

    def subjects(self, sources: Sequence[Source]) -> list[str]:
        """Whose brain each is, so that rescans of one subject are never told from each other.

        The table's own column counts, else the names of `sources` (see `subject_of`).
        """
        named = self.named or [None] * len(sources)
        return [n or subject_of(s) for n, s in zip(named, sources, strict=True)]

    def sources(self, projected: Mapping[str, Source] | None = None) -> list[Source]:
        """The brains as sources of recipes.

        Parameters
        ----------
        projected : mapping of str to Source, optional
            Projected scans by name.

        Raises
        ------
        RecipeError, LatentError
            If one is neither a number nor a scan nor a readable latent file.
        """
        return [brain_source(text, self.path.parent, projected or {}) for text in self.brains]


def read_value_table(path: str | Path) -> ValueTable:
    """Read a table separated by commas, semicolons or tabs, with a header.

    Raises
    ------
    RecipeError
        If it cannot be read or is not such a table.
    """
    path = Path(path)
    try:
        text = read_bytes(path, RecipeError, LARGEST_TABLE).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RecipeError(
            f"{path.name} is not text in UTF-8: save it as CSV (UTF-8) and open that."
        ) from None
    try:
        cells = list(csv.reader(io.StringIO(text), delimiter=separator_of(text)))
    except csv.Error as reason:  # a cell of more than 128 kB, or a NUL in older Python versions
        raise RecipeError(
            f"{path.name} is not a table of values ({reason}): save it again as CSV (UTF-8)."
        ) from None
    rows = [[cell.strip() for cell in row] for row in cells]
    rows = [row for row in rows if any(row)]
    if len(rows) < 2 or len(rows[0]) < 2:
        raise RecipeError(
            f"{path.name} is not a table of values: the first row names the columns, the first "
            "column the brains (a number, a latent file or a scan), the others hold values."
        )
    header, body = rows[0], rows[1:]
    if len(set(header)) < len(header) or not all(header[1:]):
        raise RecipeError(f"The columns of {path.name} need names of their own in the first row.")
    short = next((i for i, row in enumerate(body, 2) if len(row) != len(header)), None)
    if short is not None:
        raise RecipeError(
            f"Row {short} of {path.name} has {len(body[short - 2])} cells instead of "
            f"{len(header)}: correct it."
        )
    columns = {
        name: tuple(None if row[k].lower() in UNKNOWN else row[k] for row in body)
        for k, name in enumerate(header)
        if k
    }
    named = next((columns.pop(name) for name in header[1:] if name.lower() in SUBJECTS), None)
    if not columns:
        raise RecipeError(f"{path.name} has no column of values: add one.")
    return ValueTable(path, tuple(row[0] for row in body), columns, named)


def subject_of(source: Source) -> str:
    """Whose brain a source is: the seed, or the subject in a latent file's name.

    That is the BIDS entity `sub-…` of the name or of a folder, else the scan's name.
    """
    if source.seed is not None:
        return f"seed {source.seed}"
    found = re.findall(r"sub-[A-Za-z0-9]+", str(source.path))
    return found[-1] if found else scan_stem(str(source.path)).partition("_")[0]


def brain_source(text: str, folder: Path, projected: Mapping[str, Source]) -> Source:
    """The source for a table's text: a seed, a projected scan, or a latent file.

    A file's path may be relative to `folder`. RecipeError or LatentError if it is none of these.
    """
    if text.isdecimal():
        return Source("seed", int(text[:LONGEST_NUMBER]))
    if text in projected:
        return projected[text]
    if text.endswith(".safetensors"):
        if leads_out(folder, text):
            raise RecipeError(
                f"The table refers to the file {short_repr(text)} outside its own folder: move "
                "the table to the folder of the latents."
            )
        return Source.from_file(folder / text)
    known = f" ({', '.join(projected)})" if projected else ""
    raise RecipeError(
        f"{short_repr(text)} is not a brain: write a number, the path of a latent file, or the "
        f"name of a scan projected in this session{known}."
    )


def latents_of(
    generator: Generator, sources: Sequence[Source], truncation: Truncation
) -> np.ndarray:
    """float64 `(n, num_layers, w_dim)` of sources with this truncation."""
    return latents_of_recipes(generator, [Recipe(source, truncation) for source in sources])


def latents_of_recipes(generator: Generator, recipes: Sequence[Recipe]) -> np.ndarray:
    """float64 `(n, num_layers, w_dim)` of recipes, with their mixes and edits."""
    latents = np.empty((len(recipes), generator.num_layers, generator.w_dim))
    for row, recipe in zip(latents, recipes, strict=True):
        row[:] = recipe.latent(generator).double().cpu().numpy()
    return latents


def cell_number(cell: str) -> float | str:
    """The number in a cell, with decimal point or comma; other text is returned unchanged."""
    try:
        return float(cell)
    except ValueError:
        pass
    try:
        return float(cell.replace(",", "."))
    except ValueError:
        return cell
