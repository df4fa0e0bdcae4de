"""The curve of a measure through the ages, with one brain on it, for window and report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stylegan3d.segmentation.words import HEAD, title_of, unit_of

if TYPE_CHECKING:
    from stylegan3d.segmentation.numbers import Numbers

#: Ages at which a curve is drawn, and those on its axis.
STEPS, TICKS = 63, (20, 40, 60, 80)


@dataclass(frozen=True, eq=False)
class Curve:
    """What is drawn.

    Attributes
    ----------
    ages, expected, low, high : ndarray, shape (n,)
        Years, and the median and the limits of 95 % of people in `unit`.
    age, value : float
        Of this brain.
    title, unit : str
        Of the measure.
    """

    ages: np.ndarray
    expected: np.ndarray
    low: np.ndarray
    high: np.ndarray
    age: float
    value: float
    title: str
    unit: str

    @property
    def ticks(self) -> list[int]:
        """Ages that its axis names."""
        return [age for age in TICKS if self.ages[0] <= age <= self.ages[-1]]

    @property
    def span(self) -> tuple[float, float]:
        """Ends of an axis that holds the band and the brain, with some room."""
        lowest = min(float(self.low.min()), self.value)
        highest = max(float(self.high.max()), self.value)
        spare = 0.05 * (highest - lowest)
        return lowest - spare, highest + spare


def tick_text(value: float) -> str:
    """A value beside an axis."""
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"


def curve_of(numbers: Numbers | None, measure: str) -> Curve | None:
    """The curve of a measure for this sex and head size; None where it has no score."""
    if numbers is None or measure not in numbers.scores or numbers.norms is None:
        return None
    norms, person, head = numbers.norms, numbers.person, numbers.measures[HEAD]
    assert person.age is not None
    assert person.sex is not None
    ages = np.linspace(*norms.span(measure, person.sex), STEPS)
    expected, low, high = norms.curve(measure, person.sex, head, ages)
    value = numbers.measures[measure]
    named = title_of(measure), unit_of(measure)
    return Curve(ages, expected, low, high, person.age, value, *named)
