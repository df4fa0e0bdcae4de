"""The curve of a measure through the ages, with one brain on it, for window and report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stylegan3d.segmentation.classes import HEAD, title_of, unit_of

if TYPE_CHECKING:
    from stylegan3d.segmentation.numbers import Numbers

#: Ages at which a curve is drawn, and those on its axis.
STEPS, TICKS = 63, (20, 40, 60, 80)


Places = list[tuple[float, float]]


@dataclass(frozen=True)
class Drawing:
    """A curve as shapes: x from the left, y from the top.

    Attributes
    ----------
    band : list of (float, float)
        Outline of where 95 % of people lie.
    middle : list of (float, float)
        The median.
    dot : tuple of float
        This brain.
    labels : list of (float, float, str, str)
        x, y of the foot of the letters, anchor (middle or end), text.
    """

    band: Places
    middle: Places
    dot: tuple[float, float]
    labels: list[tuple[float, float, str, str]]


@dataclass(frozen=True, eq=False)
class AgeCurve:
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

    def drawn(
        self,
        width: float,
        height: float,
        *,
        left: float,
        bottom: float,
        right: float,
        top: float,
        units: bool = False,
    ) -> Drawing:
        """The curve on a plot of this size, with room for axes at its sides.

        Parameters
        ----------
        units : bool
            The labels at the axes have their units.
        """
        lowest = min(float(self.low.min()), self.value)
        highest = max(float(self.high.max()), self.value)
        spare = 0.05 * (highest - lowest)
        lowest, highest = lowest - spare, highest + spare
        first, last = float(self.ages[0]), float(self.ages[-1])

        def places(ages: np.ndarray | float, values: np.ndarray | float) -> Places:
            x = left + (width - left - right) * (np.atleast_1d(ages) - first) / (last - first)
            share = (np.atleast_1d(values) - lowest) / (highest - lowest)
            y = top + (height - top - bottom) * (1 - share)
            return [(float(a), float(b)) for a, b in zip(x, y, strict=True)]

        ticks = [age for age in TICKS if first <= age <= last]
        unit = f" {self.unit}" if units else ""
        below = [(places(age, lowest)[0][0], "middle", str(age)) for age in ticks]
        if units and below:
            below[-1] = (width, "end", f"{ticks[-1]} years")
        beside = [(places(first, v)[0][1], v) for v in (self.high.max(), self.low.min())]
        return Drawing(
            places(self.ages, self.high) + places(self.ages, self.low)[::-1],
            places(self.ages, self.expected),
            places(self.age, self.value)[0],
            [(x, height - bottom / 4, anchor, text) for x, anchor, text in below]
            + [
                (left - bottom / 4, y + bottom / 4, "end", f"{v:.{2 if abs(v) < 10 else 0}f}{unit}")
                for y, v in beside
            ],
        )


def curve_of(numbers: Numbers | None, measure: str) -> AgeCurve | None:
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
    return AgeCurve(ages, expected, low, high, person.age, value, *named)
