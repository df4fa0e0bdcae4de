"""Directions of attributes in w: age, ventricle volume, head size, …

A direction is fitted to real subjects, whose latents come from an encoder or a projection, and
checked on held-out subjects and by measuring edited brains.

A ridge regression predicts the attribute from w (penalty by leave-one-out error), since there are
about as many subjects as dimensions. An edit does not go along the regression vector beta, the
normal of InterFaceGAN's hyperplane (Shen et al. 2020, arXiv:1907.10786, section 3.1), but along
`cov(w) beta`: how w changes, on average over subjects, with the predicted attribute (Haufe et al.
2014, doi:10.1016/j.neuroimage.2013.10.067, equation 6). The normal is the shortest way to change
the *prediction*, by whatever feature predicts; the pattern is what subjects with more of the
attribute look like. In the bundled data 24 years, head size held fixed, come with 8.9 ml more
ventricle volume. An edit by as many years changes synthetic brains by 8.9 ml along the pattern and
4.0 ml along the normal.

To hold another attribute fixed, the component of the pattern that changes its prediction is
removed, in the metric of cov(w) (a partial regression; InterFaceGAN's conditional manipulation,
section 3.2, does so with normals). The outer contour of the brain with its fluid, which age does
not move in adults, is held fixed likewise: the covariance is that of subjects with the same contour
(`directions.contour`), so sulci and ventricles open and the convexity stays.

Subjects come in groups, by scanner or study, which differ in contrast and recruitment. Everything
is fitted and checked within groups: w and attribute are deviations from the group's mean. Without
that, "age" of the bundled brains was confounded with the older subjects' scanner: white matter
increased with it, and ventricles grew half as much.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stylegan3d.directions.checks import LOGARITHMIC, check, describe, name_of, scaled
from stylegan3d.directions.contour import CONTOUR, KNOWN_TO_MM, POINTS, contour_rows
from stylegan3d.directions.effects import (
    as_in_people,
    check_edits,
    describe_components,
    measured_brains,
    without_failures,
)
from stylegan3d.directions.people import (
    AGE,
    HEAD_SIZE,
    SEX,
    STANDARD,
    VENTRICLES,
    People,
    deviations,
    encode_people,
    group_numbers,
)
from stylegan3d.directions.regression import FEWEST_TO_FIT, regress
from stylegan3d.directions.seen import seen_in_people
from stylegan3d.directions.trajectory import age_reading, ageing
from stylegan3d.errors import RecipeError
from stylegan3d.model.random_latents import COMPONENTS, SAMPLES, Spread, pca_directions
from stylegan3d.progress import SILENT, Progress
from stylegan3d.recipe.directions import Directions, join
from stylegan3d.render.movement import deforms

if TYPE_CHECKING:
    import torch

    from stylegan3d.dataset.pack import Pack
    from stylegan3d.model.generator import Generator

#: Attributes that may move the contour: it is the size of the head, and differs between the sexes.
MOVING = frozenset({HEAD_SIZE, SEX})
#: Subjects about whom the contour is looked at.
_CONTOURS = 7
_POPULATION = 5000  # random brains for an attribute's standard deviation


def attribute_directions(
    generator: Generator,
    latents: np.ndarray | torch.Tensor,
    attributes: Mapping[str, np.ndarray],
    held_out: np.ndarray,
    wanted: Sequence[str] | None = None,
    hold_fixed: Sequence[str] = (),
    groups: Sequence[Any] | None = None,
    contour: np.ndarray | None = None,
) -> Directions:
    """One direction for each attribute, fitted to subjects and checked on others.

    Parameters
    ----------
    generator : Generator
    latents : ndarray or Tensor
        Array or tensor `(n, w_dim)` or `(n, num_layers, w_dim)` of n subjects; rows are averaged.
    attributes : mapping of str to ndarray
        `(n,)` values by attribute, NaN where unknown; only 0 and 1 for a binary attribute.
    held_out : ndarray, shape (n,), bool
        Subjects to check on, not used in the fit.
    wanted : sequence of str, optional
        Attributes to find directions of; all by default.
    hold_fixed : sequence of str
        Attributes that the other directions must not change.
    groups : sequence, optional
        Scanner or study of each subject; one for all by default.
    contour : ndarray, shape (m, w_dim), optional
        Movement of points on the outer contour as `contour_rows` gives it, to be held fixed by the
        directions of all attributes but those of `MOVING`.

    Returns
    -------
    Directions
        Named as in `NAMES`. One unit changes the predicted attribute by one standard deviation of
        random brains (given the attributes held fixed). `checks` has one dict each: "name",
        "attribute", "unit", "held_fixed", "n_fit", "n_check"; on held-out subjects "r" (correlation
        of predicted and true), "chance" (95th percentile of the absolute r of random permutations),
        "r2", "mae" with "baseline" (that of predicting the group mean), or "auc" with baseline 0.5
        for a binary attribute; and "per_unit", the change by one unit ("scale" "linear": in the
        attribute's unit, "factor": multiplicative). Where the contour is held fixed, also
        "contour_mm" (mean movement of it by one unit) and, for age and ventricle volume,
        "ventricles" (the factor by which they grow with one unit in subjects).

    Raises
    ------
    RecipeError
        If an attribute is known for too few subjects, or the same in all of them.

    References
    ----------
    Shen et al. 2020, arXiv:1907.10786; Haufe et al. 2014, doi:10.1016/j.neuroimage.2013.10.067.
    """
    w = np.asarray(latents, dtype=np.float64)
    w = w.mean(axis=1) if w.ndim == 3 else w
    held_out = np.asarray(held_out, dtype=bool)
    wanted = tuple(attributes) if wanted is None else tuple(wanted)
    place = group_numbers(groups, ~held_out)
    inner = deviations(w, place, ~held_out)
    needed = dict.fromkeys((*wanted, *hold_fixed))
    targets = {k: deviations(scaled(k, attributes[k]), place, ~held_out) for k in needed}
    betas = {key: regress(key, inner, targets[key], ~held_out) for key in needed}
    fit = inner[~held_out] - inner[~held_out].mean(axis=0)
    shape = {key: None if key in MOVING else contour for key in wanted}
    steps = {
        key: _pattern(betas[key], [betas[k] for k in hold_fixed if k != key], fit, shape[key])
        for key in wanted
    }
    units = [step / np.linalg.norm(step) for step in steps.values()]
    population = Spread.of(generator, [*betas.values(), *units], _POPULATION)
    scores = dict(zip(betas, population.scores.T, strict=False))
    std, checks = [], []
    for key in wanted:
        others = [other for other in hold_fixed if other != key]
        reach = _spread(scores[key], [scores[other] for other in others])
        length = reach / float(betas[key] @ steps[key]) * float(np.linalg.norm(steps[key]))
        std.append(length)
        told = check(key, inner @ betas[key], targets[key], attributes[key], held_out)
        told |= {"held_fixed": [name_of(other) for other in others]}
        told |= {"per_unit": round(float(np.exp(reach)) if key in LOGARITHMIC else reach, 4)}
        rows = shape[key]
        if rows is not None:
            told["held_fixed"].append("Outer contour")
            moved = np.abs(rows @ (steps[key] / np.linalg.norm(steps[key]) * length))
            told["contour_mm"] = round(float(moved.mean()), 4)
            if VENTRICLES in targets and key in (AGE, VENTRICLES):
                fixed = [targets[other] for other in others]
                growth = _slope(targets[VENTRICLES], targets[key], fixed, ~held_out)
                told["ventricles"] = round(float(np.exp(reach * growth)), 4)
        checks.append(told)
    return Directions(
        np.stack(units),
        np.array(std),
        population.scores[:, len(betas) :].var(axis=0) / population.variance.sum(),
        tuple(name_of(key) for key in wanted),
        generator.hash,
        generator.name,
        {told["name"]: describe(told) for told in checks},
        tuple(checks),
    )


def _slope(
    target: np.ndarray, on: np.ndarray, fixed: Sequence[np.ndarray], fit: np.ndarray
) -> float:
    """How much `target` (n,) changes with `on` (n,), given `fixed`, in the subjects `fit`."""
    known = fit & np.isfinite(np.stack([target, on, *fixed])).all(axis=0)
    predictors = np.stack([on, *fixed], axis=1)[known]
    return float(np.linalg.lstsq(predictors, target[known], rcond=None)[0][0])


def _pattern(
    beta: np.ndarray,
    fixed: Sequence[np.ndarray],
    w: np.ndarray,
    contour: np.ndarray | None = None,
) -> np.ndarray:
    """`cov(w) beta` without the part that changes the predictions `fixed`; float64 `(w_dim,)`.

    w `(n, w_dim)` has mean 0; its covariance may be too large and is never formed. With `contour`
    it is the covariance given that the points of the contour lie still, to `KNOWN_TO_MM` each.
    """

    def moved_with(vectors: np.ndarray) -> np.ndarray:
        return np.asarray(w.T @ (w @ vectors) / (len(w) - 1))

    given = moved_with
    if contour is not None:
        shift = moved_with(contour.T)  # [w_dim, points]
        # The points of many brains weigh as much as those of one.
        noise = KNOWN_TO_MM**2 * len(contour) / POINTS * np.eye(len(contour))
        solved = np.linalg.solve(contour @ shift + noise, shift.T)

        def given(vectors: np.ndarray) -> np.ndarray:
            return moved_with(vectors) - shift @ (solved @ vectors)

    pattern = given(beta)
    if not len(fixed):
        return pattern
    other = np.stack(fixed, axis=1)  # [w_dim, m]
    moved = given(other)
    return pattern - moved @ np.linalg.lstsq(other.T @ moved, other.T @ pattern, rcond=None)[0]


def _spread(scores: np.ndarray, fixed: Sequence[np.ndarray]) -> float:
    """Standard deviation of `scores` given `fixed`."""
    if not len(fixed):
        return float(scores.std())
    other = np.stack(fixed, axis=1)
    return float((scores - other @ np.linalg.lstsq(other, scores, rcond=None)[0]).std())


def build_directions(
    generator: Generator,
    pack: Pack | None = None,
    *,
    attributes: Sequence[str] | None = None,
    hold_fixed: Sequence[str] | None = None,
    components: int = COMPONENTS,
    samples: int = SAMPLES,
    progress: Progress = SILENT,
) -> Directions:
    """All directions for a model's folder: attributes known in the data, described components.

    Parameters
    ----------
    generator : Generator
    pack : Pack, optional
        The data set it was trained on. Without it, without an encoder, or if too few subjects have
        a known attribute, only principal components are computed.
    attributes : sequence of str, optional
        Required attributes; by default those of `STANDARD` known for enough subjects.
    hold_fixed : sequence of str, optional
        What the other directions must not change: attributes, and `CONTOUR`; by default head size,
        with which most volumes scale, and the outer contour where the generator has a deformation.
    components, samples : int
        As in `pca_directions`.
    progress : Progress

    Returns
    -------
    Directions
        Directions of attributes first, then "PC 1" and so on. Standard attributes that fail when
        measured in volumes are left out (`without_failures`); their checks stay.

    Raises
    ------
    ModelError, RecipeError
        If `attributes` are given and one cannot be found, or the contour is to be held fixed by a
        generator without a deformation.
    """
    found = pca_directions(generator, components, samples)
    progress(0, 4, "encoding subjects")
    people = None
    if pack is not None and (generator.encoder is not None or attributes is not None):
        given = [key for key in hold_fixed or () if key != CONTOUR]
        people = encode_people(generator, pack, (*(attributes or ()), *given))
    progress(1, 4, "fitting attributes")
    fitted = None if people is None else fit_people(generator, people, attributes, hold_fixed)
    progress(2, 4, "describing components")
    found = describe_components(found, measured_brains(generator), people)
    if fitted is not None:
        progress(3, 4, "checking edits")
        found = join(checked(generator, fitted, drop_failures=attributes is None), found)
    return found if people is None else seen_in_people(found, people)


def fit_people(
    generator: Generator,
    people: People,
    attributes: Sequence[str] | None = None,
    hold_fixed: Sequence[str] | None = None,
) -> Directions | None:
    """Directions of attributes of people, with what is known of ageing; None if there are none.

    Parameters are those of `build_directions`, as are errors.
    """
    wanted = attributes
    if wanted is None:
        wanted = [key for key in STANDARD if _usable(key, people)]
    if not wanted:
        return None
    fixed = hold_fixed
    if fixed is None:
        fixed = [HEAD_SIZE] if _usable(HEAD_SIZE, people) else []
        fixed += [CONTOUR] if deforms(generator) else []
    return _fitted(generator, people, wanted, fixed)


def checked(generator: Generator, fitted: Directions, *, drop_failures: bool) -> Directions:
    """Directions of attributes with what edited brains measure, without those that fail."""
    fitted = check_edits(generator, fitted)
    return without_failures(fitted) if drop_failures else fitted


def _fitted(
    generator: Generator, people: People, wanted: Sequence[str], fixed: Sequence[str]
) -> Directions:
    """Directions of the attributes, as long as in people, and what is known of ageing."""
    rows = None
    if CONTOUR in fixed:
        fit = people.w[~people.held_out]
        rows = contour_rows(generator, fit[:: max(1, len(fit) // _CONTOURS)][:_CONTOURS])
        if rows is None:
            raise RecipeError(
                f"The model {generator.name} has no deformation, so the outer contour cannot be "
                "held fixed: leave contour out."
            )
    fitted = attribute_directions(
        generator,
        people.w,
        people.attributes,
        people.held_out,
        wanted,
        [key for key in fixed if key != CONTOUR],
        people.groups,
        rows,
    )
    fitted = as_in_people(generator, fitted)
    if AGE not in wanted:
        return fitted
    fit = ~people.held_out
    place = group_numbers(people.groups, fit)
    w, age = (deviations(values, place, fit) for values in (people.w, people.attributes[AGE]))
    reading = age_reading(people, regress(AGE, w, age, fit))
    told = ageing(people, reading)
    checks = tuple(
        check | {"ageing": told} if check["attribute"] == AGE else check for check in fitted.checks
    )
    return dataclasses.replace(fitted, checks=checks, age_reading=reading)


def _usable(key: str, people: People) -> bool:
    """Whether the attribute is known for enough subjects and varies."""
    fit = ~people.held_out
    values = scaled(key, people.attributes[key])
    values = deviations(values, group_numbers(people.groups, fit), fit)[fit]
    values = values[np.isfinite(values)]
    return len(values) >= FEWEST_TO_FIT and np.ptp(values) > 0
