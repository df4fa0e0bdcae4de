"""Ageing in years: edit strength along the direction of age, and expected volumes.

The apparent age of a brain is predicted from w by the regression that the direction was made from.
The expected ventricles and tissue at an age come from the same subjects; beyond their ages nothing
is expected, and the edit is reported as extrapolated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stylegan3d.base import Doubt, Json, Note, RecipeError
from stylegan3d.directions.people import (
    AGE,
    HEAD_SIZE,
    VENTRICLES,
    People,
    deviations,
    group_numbers,
)
from stylegan3d.recipe.recipe import Edit

if TYPE_CHECKING:
    from torch import Tensor

    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.directions import Directions

#: Measures by age: ventricles in ml, and tissue as a share of the brain with its fluid.
TISSUE = "tissue_percent"
NAMES = {VENTRICLES: "Ventricles", TISSUE: "Grey and white matter"}
UNITS = {VENTRICLES: "ml", TISSUE: "% of the brain with its fluid"}
#: Standard deviations on both sides of the mean that contain nine in ten people.
NINE_IN_TEN = 1.645
#: Ages at which it is tabulated, in years.
EVERY = 5
#: Maximum length of a trajectory to either side.
LONGEST_YEARS = 60.0


def age_reading(people: People, beta: np.ndarray) -> np.ndarray:
    """Weights of w and a constant, `(w_dim + 1,)`, that estimate the age in years.

    `beta` `(w_dim,)` are the regression's, fitted within groups; the constant is that of all people
    together, since the scanner of a brain that is asked about may be none of theirs.
    """
    age = people.attributes[AGE]
    known = ~people.held_out & np.isfinite(age)
    return np.append(beta, float((age - people.w @ beta)[known].mean()))


def ageing(people: People, reading: np.ndarray) -> Json:
    """Expected measures by age, as plain data for the check of the direction of age.

    Returns
    -------
    dict
        "ages" (youngest and oldest of the subjects fitted to), "error" (mean absolute error of the
        age read in held-out subjects, years; absent if they are none), and "expected": by key of
        `NAMES` a list of [age, low, middle, high], between which nine people in ten are: a parabola
        of age within groups (of the logarithm of ventricles), and what is left about it.
    """
    fit = ~people.held_out
    place, age = group_numbers(people.groups, fit), people.attributes[AGE]
    tissue = people.attributes["grey_ml"] + people.attributes["white_ml"]
    values = {
        VENTRICLES: np.log(np.maximum(people.attributes[VENTRICLES], 0.1)),
        TISSUE: 100 * tissue / people.attributes[HEAD_SIZE],
    }
    known = fit & np.isfinite(age)
    ages = float(age[known].min()), float(age[known].max())
    record: Json = {"ages": [round(years, 1) for years in ages], "expected": {}}
    middle = age[known].mean()
    powers = np.stack([age - middle, (age - middle) ** 2], axis=1)
    at = np.arange(EVERY * np.floor(ages[0] / EVERY), ages[1] + EVERY, EVERY)
    for key, value in values.items():
        usable = known & np.isfinite(value)
        inner, target = deviations(powers, place, usable), deviations(value, place, usable)
        slopes = np.linalg.lstsq(inner[usable], target[usable], rcond=None)[0]
        spread = float((target - inner @ slopes)[usable].std())
        level = float((value - powers @ slopes)[usable].mean())
        curve = level + np.stack([at - middle, (at - middle) ** 2], axis=1) @ slopes
        bands = np.stack([curve + k * spread for k in (-NINE_IN_TEN, 0, NINE_IN_TEN)], axis=1)
        bands = np.exp(bands) if key == VENTRICLES else bands
        record["expected"][key] = [
            [float(years), *np.round(band, 1).tolist()]
            for years, band in zip(at, bands, strict=True)
        ]
    held = people.held_out & np.isfinite(age)
    if held.any():
        read = people.w[held] @ reading[:-1] + reading[-1]
        record["error"] = round(float(np.abs(read - age[held]).mean()), 1)
    return record


@dataclass(frozen=True, eq=False)
class Trajectory:
    """How a model's brains age.

    Attributes
    ----------
    name : str
        Of the direction of age.
    years_per_sd : float
        Years by which one standard deviation along it ages a brain.
    youngest, oldest : float
        Age range of the subjects it was fitted to, in years.
    error : float or None
        Mean absolute error of the apparent age, in years.
    """

    name: str
    years_per_sd: float
    youngest: float
    oldest: float
    error: float | None
    _reading: np.ndarray
    _expected: dict[str, np.ndarray]

    @classmethod
    def of(cls, directions: Directions) -> Trajectory | None:
        """That of a model's directions; None if they contain no ageing."""
        check = next((told for told in directions.checks if told.get("attribute") == AGE), {})
        told = check.get("ageing")
        if told is None or directions.age_reading is None or check["name"] not in directions.names:
            return None
        youngest, oldest = told["ages"]
        return cls(
            check["name"],
            float(check["per_unit"]),
            float(youngest),
            float(oldest),
            told.get("error"),
            directions.age_reading,
            {key: np.array(rows, np.float64) for key, rows in told["expected"].items()},
        )

    @classmethod
    def needed(cls, generator: Generator) -> Trajectory:
        """That of a generator; RecipeError if it has none."""
        found = cls.of(generator.directions)
        if found is None:
            raise RecipeError(
                f"The model {generator.name} does not know how brains age: use the bundled model, "
                "or edit along one of its directions."
            )
        return found

    def apparent_age(self, w: Tensor) -> float:
        """The apparent age of a brain [num_layers, w_dim], in years."""
        mean = w.detach().double().cpu().numpy().mean(axis=0)
        return float(mean @ self._reading[:-1] + self._reading[-1])

    def edit(self, years: float) -> Edit:
        """The edit that makes a brain older by so many years, or younger.

        RecipeError if they are more than `LONGEST_YEARS`.
        """
        if not abs(years) <= LONGEST_YEARS:
            raise RecipeError(
                f"A brain cannot be aged by {years:g} years: give -{LONGEST_YEARS:g} to "
                f"{LONGEST_YEARS:g}."
            )
        return Edit(self.name, years / self.years_per_sd)

    def years(self, strength: float) -> float:
        """By how many years an edit of this strength ages a brain."""
        return strength * self.years_per_sd

    def is_known(self, age: float) -> bool:
        """Whether an age is within the range of the training subjects."""
        return self.youngest <= age <= self.oldest

    def expected(self, key: str, age: float) -> tuple[float, float, float] | None:
        """Low, middle and high value of a key of `NAMES` at an age: nine people in ten.

        None beyond the ages that are known.
        """
        if not self.is_known(age):
            return None
        table = self._expected[key]
        low, middle, high = (float(np.interp(age, table[:, 0], table[:, k])) for k in (1, 2, 3))
        return low, middle, high

    def notes(self, before: float, after: float) -> list[Note]:
        """Expected measures at both ages; none, and a doubt, at ages that are not known."""
        notes: list[Note] = []
        for key, name in NAMES.items():
            expected, start = self.expected(key, after), self.expected(key, before)
            if expected is None:
                continue
            low, middle, high = expected
            since = "" if start is None else f"; at {before:.0f} years {start[1]:.0f}"
            notes.append(
                f"{name} at {after:.0f} years: {middle:.0f} {UNITS[key]} on average, {low:.0f} to "
                f"{high:.0f} in 9 of 10 people{since}."
            )
        if not self.is_known(after):
            text = (
                f"{after:.0f} years is extrapolated: the reference people were {self.youngest:.0f} "
                f"to {self.oldest:.0f} years old, so expected volumes are not known."
            )
            figures = {"age": after, "youngest": self.youngest, "oldest": self.oldest}
            notes.append(Doubt("age-extrapolated", "tell", text, figures))
        return notes
