"""A change of one measure between two scans of a person, and what to hold it against.

Beside each change stands the *test-retest error*: 95 % of the differences between repeated scans of
an unchanged brain are smaller (the repeatability coefficient, Bland and Altman 1999, Statistical
Methods in Medical Research 8, 135). The norms say what people change in as many years.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stylegan3d.base import Json
from stylegan3d.scans.person import Person
from stylegan3d.segmentation.classes import HEAD, title_of, unit_of, value_text
from stylegan3d.segmentation.norms import AGES, Norms, bundled_norms


@dataclass(frozen=True)
class Change:
    """One measure at both visits.

    Attributes
    ----------
    name : str
        Of `classes.ALL_MEASURES`.
    first, second : float
        In the measure's unit.
    error : float or None
        95 % of repeated scans of an unchanged brain differ by less, same unit; None if unknown.
    expected : float or None
        By how much the norms change in as many years at this age, sex and head size.
    """

    name: str
    first: float
    second: float
    error: float | None = None
    expected: float | None = None

    @property
    def change(self) -> float:
        """Second minus first."""
        return self.second - self.first

    @property
    def percent(self) -> float | None:
        """The change in per cent of the mean of both; None of asymmetries, which are per cent."""
        total = self.first + self.second
        if unit_of(self.name) == "%" or total <= 0:
            return None
        return 200 * self.change / total

    def percent_per_year(self, years: float | None) -> float | None:
        """`percent` for each of the years between the visits; None if either is unknown."""
        return self.percent / years if self.percent is not None and years else None

    @property
    def beyond(self) -> bool | None:
        """Whether it is larger than the error; None if that is unknown."""
        return None if self.error is None else abs(self.change) > self.error

    def words(self, years: float | None = None) -> str:
        """A line of text."""
        unit = unit_of(self.name)
        first, second = (value_text(self.name, v) for v in (self.first, self.second))
        line = f"{title_of(self.name)}: {first} to {second} {unit}".rstrip()
        line += f", {change_text(self.name, self.change)} {unit}".rstrip()
        if self.percent is not None:
            a_year = self.percent_per_year(years)
            line += f" ({self.percent:+z.1f} %"
            line += ")" if a_year is None else f", {a_year:+z.1f} % a year)"
        if self.error is not None:
            limit = change_text(self.name, self.error)[1:]
            line += (
                f", {'beyond' if self.beyond else 'within'} the error of {limit} {unit}".rstrip()
            )
        if self.expected is not None:
            line += f"; expected {change_text(self.name, self.expected)} {unit}".rstrip()
        return line


def change_text(name: str, change: float) -> str:
    """A change with its sign, as it is shown everywhere."""
    return f"{change:+z.1f}" if unit_of(name) == "%" or abs(change) >= 10 else f"{change:+z.2f}"


def cells_of(change: Change, years: float | None) -> tuple[str, ...]:
    """Measure, first, second, change, per cent, per cent a year, error, expected, as text.

    Empty where unknown.
    """
    name, unit = change.name, unit_of(change.name)
    percent, a_year = change.percent, change.percent_per_year(years)
    return (
        f"{title_of(name)}{f' ({unit})' if unit else ''}",
        value_text(name, change.first),
        value_text(name, change.second),
        change_text(name, change.change),
        "" if percent is None else f"{percent:+z.1f}",
        "" if a_year is None else f"{a_year:+z.1f}",
        "" if change.error is None else change_text(name, change.error).replace("+", "±"),
        "" if change.expected is None else change_text(name, change.expected),
    )


def row_of(change: Change, years: float | None) -> Json:
    """What tables and JSON have of a change; None where unknown."""
    numbers = {
        "first": change.first,
        "second": change.second,
        "change": change.change,
        "percent": change.percent,
        "percent_per_year": change.percent_per_year(years),
        "error": change.error,
        "beyond_error": change.beyond,
        "expected": change.expected,
    }
    return {
        key: value if value is None or isinstance(value, bool) else round(value, 4)
        for key, value in numbers.items()
    }


def expected_changes(
    person: Person,
    years: float | None,
    counted: list[dict[str, float]],
    norms: Norms | None,
    networks: tuple[str, ...],
) -> tuple[str, dict[str, float]]:
    """By how much the norms change in as many years, or a sentence that says why it is unknown."""
    missing = [
        word
        for word, value in (
            ("the years between the scans", years),
            ("age", person.age),
            ("sex", person.sex),
        )
        if value is None
    ]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        return f"The expected change needs {' and '.join(missing)}, which {verb} unknown.", {}
    assert person.age is not None
    assert person.sex is not None
    assert years is not None
    norms = norms or bundled_norms()
    ages = np.array([person.age, person.age + years])
    if norms.networks and norms.networks != networks:
        return f"{norms.name} were measured by other networks: no change is expected from them.", {}
    if ages[0] < AGES[0] or ages[1] > AGES[1]:
        limits = f"{AGES[0]:g} to {AGES[1]:g}"
        return f"The norms cover ages from {limits}: there is no expected change.", {}
    head = (counted[0][HEAD] + counted[1][HEAD]) / 2
    found = {}
    for name in counted[0]:
        # Of one person's head nothing is expected: norms tell how generations differ.
        covered = (norms.covers(name, Person(float(age), person.sex)) for age in ages)
        if name != HEAD and all(covered):
            before, after = norms.curve(name, person.sex, head, ages)[0]
            found[name] = float(after - before)
    return "" if found else f"{norms.name} do not cover these ages.", found


def summary_of(changes: Mapping[str, Change]) -> str:
    """How many changes are beyond the error, and how many would be by chance."""
    known = [change for change in changes.values() if change.error is not None]
    beyond = sum(bool(change.beyond) for change in known)
    return (
        f"{beyond} of {len(known)} measures changed by more than repeated scans differ; in an "
        f"unchanged brain about {0.05 * len(known):.0f} would by chance."
    )
