"""Norms of one's own from a file: of this program, of local people, or published curves."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy.special import ndtr

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.segmentation.norms import WIDE, Norms, Score, fit_norms, norms_from
from stylegan3d.segmentation.words import AGES, ALL_MEASURES, HEAD, Person
from stylegan3d.storage.bounded import read_text, separator_of
from stylegan3d.storage.jsontext import finite_number, read_json

#: Columns of a table of published curves: either the last three or mean and sd.
CURVE_COLUMNS = ("measure", "sex", "age", "low", "median", "high")


@dataclass(frozen=True, eq=False)
class PublishedNorms(Norms):
    """Curves over age as a paper prints them, straight between its ages.

    Attributes
    ----------
    tables : dict
        By measure and sex: ages, limits below which 2.5 %, 50 % and 97.5 % lie, [n] each.
    """

    tables: dict[tuple[str, str], tuple[np.ndarray, ...]] = field(default_factory=dict)
    for_head = False

    def span(self, measure: str, sex: str | None) -> tuple[float, float]:
        """See `Norms`; never beyond `AGES`."""
        if (measure, sex or "") not in self.tables:
            return np.inf, -np.inf
        ages = self.tables[measure, sex or ""][0]
        return max(float(ages[0]), AGES[0]), min(float(ages[-1]), AGES[1])

    def score(self, measure: str, value: float, person: Person, head_ml: float) -> Score:
        """See `Norms`; a normal distribution with another width on each side of the median."""
        assert person.age is not None
        found = self.curve(measure, person.sex or "", head_ml, np.array([person.age]))
        expected, low, high = (float(each[0]) for each in found)
        side = high - expected if value > expected else expected - low
        z = WIDE * (value - expected) / side
        return Score(z, 100 * float(ndtr(z)), expected, low, high)

    def curve(
        self, measure: str, sex: str, head_ml: float, ages: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `Norms`."""
        known, low, median, high = self.tables[measure, sex]
        expected, below, above = (np.interp(ages, known, each) for each in (median, low, high))
        return expected, below, above


def read_norms(path: Path) -> Norms:
    """Norms from a file of this program, a table of local people, or one of published curves.

    Parameters
    ----------
    path : Path
        .json, or .csv or .tsv with one row for each person: columns age, sex and, as `segment`
        writes them, the measures; optionally site. Or with one row for each age: `CURVE_COLUMNS`,
        optionally source and licence.

    Raises
    ------
    StyleGAN3DError
        If it is none of them, or has too few people.
    """
    try:
        if path.suffix == ".json":
            return norms_from(read_json(path))
        text = read_text(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StyleGAN3DError(
            f"{path} holds no norms ({error}): give a file or a table of people as "
            "docs/howto/norms.md describes it."
        ) from error
    table = list(csv.DictReader(io.StringIO(text), delimiter=separator_of(text)))
    if table and "measure" in table[0]:
        return _of_curves(path, table)
    return _of_people(path, table)


def _of_curves(path: Path, table: Sequence[Mapping[str, str]]) -> Norms:
    points: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for number, row in enumerate(table, 2):
        measure, sex = (row.get("measure") or "").strip(), (row.get("sex") or "").strip().upper()
        age, mean, sd = (_cell(row.get(name)) for name in ("age", "mean", "sd"))
        limits = tuple(_cell(row.get(name)) for name in ("low", "median", "high"))
        if mean is not None and sd is not None:
            limits = mean - WIDE * sd, mean, mean + WIDE * sd
        numbers = tuple(value for value in (age, *limits) if value is not None)
        unsure = len(numbers) < 4 or not numbers[1] < numbers[2] < numbers[3]
        if measure not in ALL_MEASURES or sex[:1] not in ("F", "M") or unsure:
            raise StyleGAN3DError(
                f"Line {number} of {path} is not a point of a curve: give "
                f"{', '.join(CURVE_COLUMNS)} (or mean and sd), measures as "
                "`stylegan3d segment` names them, sex F or M, and increasing limits."
            )
        points.setdefault((measure, sex[:1]), []).append(numbers)
    tables = {}
    for (measure, sex), rows in points.items():
        ages = {row[0] for row in rows}
        if len(ages) < 2 or len(ages) < len(rows):
            raise StyleGAN3DError(
                f"{path} needs at least two ages of {measure} for each sex, each age once."
            )
        tables[measure, sex] = tuple(np.array(sorted(rows)).T)
    source = (table[0].get("source") or path.name).strip()
    licence = (table[0].get("licence") or "licence not stated").strip()
    return PublishedNorms(f"{source} ({licence})", (), np.zeros(0), 0.0, {}, tables=tables)


def _of_people(path: Path, table: Sequence[Mapping[str, str]]) -> Norms:
    rows, people, sites = [], [], []
    columns: set[str] | None = None
    for row in table:
        age, sex = _cell(row.get("age")), (row.get("sex") or "").strip().upper()[:1]
        if age is None or sex not in ("F", "M") or not AGES[0] <= age <= AGES[1]:
            continue
        found = {
            name: value
            for name, cell in row.items()
            if name and name.endswith(("_ml", "_asymmetry", "_ratio"))
            if (value := _cell(cell)) is not None
        }
        columns = set(found) if columns is None else columns & set(found)
        rows.append(found)
        people.append(Person(age, sex))
        sites.append((row.get("site") or "").strip())
    if not rows or not columns or HEAD not in columns:
        raise StyleGAN3DError(
            f"{path} has no row with age, sex (F or M) and {HEAD}: give a table with these columns "
            "and the measures that `stylegan3d segment` writes."
        )
    kept = [{name: row[name] for name in sorted(columns)} for row in rows]
    norms = fit_norms(kept, people, sites, f"{len(rows)} people of {path.name}")
    return replace(norms, people=tuple(zip(kept, people, strict=True)))


def _cell(text: str | None) -> float | None:
    try:
        return finite_number(float((text or "").strip().replace(",", ".")))
    except ValueError:
        return None
