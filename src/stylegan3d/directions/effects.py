"""Effects of directions on volumes: describe components and check edits by measuring brains."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from stylegan3d.geometry.intensity import to_display
from stylegan3d.measures.attributes import MEASURES
from stylegan3d.measures.tissue_volumes import measure_attributes
from stylegan3d.model.random_latents import random_w
from stylegan3d.plain import Json
from stylegan3d.recipe.directions import Directions

if TYPE_CHECKING:
    from stylegan3d.directions.people import People
    from stylegan3d.model.generator import Generator

#: Random brains to describe components with; |r| > 0.3 by chance has p = 1/50,000.
BRAINS = 200
WEAKEST, MOST = 0.3, 3
#: A direction fails if it changes its attribute in the right sense in fewer brains than this.
FEWEST_RIGHT = 0.75
#: A longer edit than this would leave what the generator knows.
MOST_LENGTHENED = 1.6
_SEED = 1
_OF_PEOPLE = {"age": ("older", "younger"), "sex": ("male", "female")}


@dataclasses.dataclass(frozen=True)
class MeasuredBrains:
    """Random brains: w float64 `(n, w_dim)`, and measures float64 `(n,)` by key."""

    w: np.ndarray
    measures: dict[str, np.ndarray]


def measured_brains(generator: Generator, count: int = BRAINS, seed: int = _SEED) -> MeasuredBrains:
    """Draw random brains, synthesise them without noise and measure them."""
    w = random_w(generator, count, seed)
    return MeasuredBrains(w, _measured(generator, w))


def _measured(generator: Generator, w: np.ndarray) -> dict[str, np.ndarray]:
    """Measures of the brains of w `(n, w_dim)`, float64 `(n,)` by key."""
    import torch

    rows = []
    with torch.no_grad():
        for row in torch.from_numpy(w).float():
            wide = row.expand(1, generator.num_layers, -1).to(generator.device)
            volume = to_display(generator.synthesize(wide, noise="none"))[0]
            rows.append(measure_attributes(volume, generator.space))
    return {measure.key: np.array([row[measure.key] for row in rows]) for measure in MEASURES}


def describe_components(
    components: Directions, brains: MeasuredBrains, people: People | None = None
) -> Directions:
    """Add descriptions to principal components.

    Parameters
    ----------
    components : Directions
        Principal components of w.
    brains : MeasuredBrains
        Brains over which volumes, shape and contrast are correlated with the score.
    people : People, optional
        Subjects over which age and sex are correlated.

    Returns
    -------
    Directions
        With descriptions such as "larger head (r = 0.93), older (r = 0.41)": up to three
        correlations of at least 0.3, the strongest first.
    """
    words = {m.key: (m.more, m.less) for m in MEASURES} | _OF_PEOPLE
    record = {}
    for name, vector in zip(components.names, components.vectors, strict=True):
        found = {key: _correlation(brains.w @ vector, v) for key, v in brains.measures.items()}
        if people is not None:
            of_people = {key: people.attributes[key] for key in _OF_PEOPLE}
            found |= {key: _correlation(people.w @ vector, v) for key, v in of_people.items()}
        strong = sorted(
            (k for k in found if abs(found[k]) >= WEAKEST), key=lambda k: -abs(found[k])
        )
        record[name] = ", ".join(
            f"{words[key][found[key] < 0]} (r = {abs(found[key]):.2f})" for key in strong[:MOST]
        )
        if not record[name] and any(found.values()):
            record[name] = f"nothing that is measured (all r below {WEAKEST})"
    return dataclasses.replace(components, descriptions={k: v for k, v in record.items() if v})


def _correlation(score: np.ndarray, values: np.ndarray) -> float:
    """Pearson's r over brains with a known value; 0 if undefined."""
    known = np.isfinite(values)
    if known.sum() < 10 or np.ptp(values[known]) == 0 or np.ptp(score[known]) == 0:
        return 0.0
    return float(np.corrcoef(score[known], values[known])[0, 1])


def as_in_people(
    generator: Generator, directions: Directions, brains: int = 8, strength: float = 2.0
) -> Directions:
    """Lengthen units so that ventricles grow in edited brains as they do in people.

    A generator that smooths shows less of a change than there is. Where a check says by which
    factor ventricles grow with one unit in people ("ventricles"), the direction's std is multiplied
    by at most `MOST_LENGTHENED` or its inverse; the check gains this factor as "lengthened".
    """
    start = random_w(generator, brains, _SEED + 1)
    before = _measured(generator, start)["ventricle_ml"]
    std, checks = directions.std.copy(), []
    for told in directions.checks:
        if told.get("ventricles", 1.0) != 1.0:
            k = directions.names.index(told["name"])
            edited = start + strength * directions.step(told["name"])
            with np.errstate(invalid="ignore", divide="ignore"):
                grown = np.median(np.log(_measured(generator, edited)["ventricle_ml"] / before))
            asked = strength * np.log(told["ventricles"])
            if np.isfinite(grown) and grown * asked > 0:
                factor = float(np.clip(asked / grown, 1 / MOST_LENGTHENED, MOST_LENGTHENED))
                std[k] *= factor
                told = told | {"lengthened": round(factor, 3)}
                told["contour_mm"] = round(told["contour_mm"] * factor, 4)
        checks.append(told)
    return dataclasses.replace(directions, std=std, checks=tuple(checks))


def check_edits(
    generator: Generator, directions: Directions, brains: int = 8, strength: float = 2.0
) -> Directions:
    """Add measurements of edited brains to the checks of directions.

    Random brains are edited by plus and minus `strength` units along each direction that has a
    check, and measured before and after. The check gains "edited": "strength", "brains", "change"
    and "change_back" (median change of every volume, ml, by its key) and, where the attribute
    itself is measured, "right_way": the share of brains in which it grew with `strength`.
    """
    start = random_w(generator, brains, _SEED + 1)
    before = _measured(generator, start)
    checks = []
    for told in directions.checks:
        step = strength * directions.step(told["name"])
        forth, back = (
            {m.key: values[m.key] - before[m.key] for m in MEASURES if m.unit}
            for values in (_measured(generator, start + step), _measured(generator, start - step))
        )
        if not np.isfinite([*forth.values(), *back.values()]).all():
            checks.append(told)  # not measurable as brains
            continue
        edited: Json = {"strength": strength, "brains": brains}
        edited |= {"change": _medians(forth), "change_back": _medians(back)}
        if told["attribute"] in forth:
            edited["right_way"] = round(float((forth[told["attribute"]] > 0).mean()), 3)
        checks.append({**told, "edited": edited})
    return dataclasses.replace(directions, checks=tuple(checks))


def without_failures(directions: Directions) -> Directions:
    """Without directions that fail in volumes; checks of those gain "left_out"."""
    failed = {
        told["name"]
        for told in directions.checks
        if told.get("edited", {}).get("right_way", 1.0) < FEWEST_RIGHT
    }
    kept = [k for k, name in enumerate(directions.names) if name not in failed]
    return dataclasses.replace(
        directions,
        vectors=directions.vectors[kept],
        std=directions.std[kept],
        explained_variance=directions.explained_variance[kept],
        names=tuple(directions.names[k] for k in kept),
        descriptions={k: v for k, v in directions.descriptions.items() if k not in failed},
        checks=tuple(
            told | {"left_out": True} if told["name"] in failed else told
            for told in directions.checks
        ),
    )


def _medians(changes: dict[str, np.ndarray]) -> dict[str, float]:
    return {key: round(float(np.median(values)), 1) for key, values in changes.items()}
