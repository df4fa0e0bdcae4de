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
section 3.2, does so with normals).

Subjects come in groups, by scanner or study, which differ in contrast and recruitment. Everything
is fitted and checked within groups: w and attribute are deviations from the group's mean. Without
that, "age" of the bundled brains was confounded with the older subjects' scanner: white matter
increased with it, and ventricles grew half as much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stylegan3d.directions.checks import LOGARITHMIC, check, describe, name_of, scaled
from stylegan3d.directions.effects import (
    check_edits,
    describe_components,
    measured_brains,
    without_failures,
)
from stylegan3d.directions.people import (
    HEAD_SIZE,
    STANDARD,
    People,
    deviations,
    encode_people,
    group_numbers,
)
from stylegan3d.errors import RecipeError
from stylegan3d.model.components import COMPONENTS, SAMPLES, pca_directions
from stylegan3d.model.random_latents import Spread
from stylegan3d.recipe.directions import Directions, join

if TYPE_CHECKING:
    import torch

    from stylegan3d.dataset.pack import Pack
    from stylegan3d.model.generator import Generator

#: Least number of subjects to fit a direction.
FEWEST_TO_FIT = 20
_PENALTIES = np.logspace(-3, 5, 33)
_POPULATION = 5000  # random brains for an attribute's standard deviation


def attribute_directions(
    generator: Generator,
    latents: np.ndarray | torch.Tensor,
    attributes: Mapping[str, np.ndarray],
    held_out: np.ndarray,
    wanted: Sequence[str] | None = None,
    hold_fixed: Sequence[str] = (),
    groups: Sequence[Any] | None = None,
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

    Returns
    -------
    Directions
        Named as in `NAMES`. One unit changes the predicted attribute by one standard deviation of
        random brains (given the attributes held fixed). `checks` has one dict each: "name",
        "attribute", "unit", "held_fixed", "n_fit", "n_check"; on held-out subjects "r" (correlation
        of predicted and true), "chance" (|r| of the 95th percentile of random permutations), "r2",
        "mae" with "baseline" (that of predicting the group mean), or "auc" with baseline 0.5 for a
        binary attribute; and "per_unit", the change by one unit ("scale" "linear": in the
        attribute's unit, "factor": multiplicative).

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
    steps = {
        key: _pattern(betas[key], [betas[k] for k in hold_fixed if k != key], fit) for key in wanted
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


def regress(key: str, w: np.ndarray, target: np.ndarray, fit: np.ndarray) -> np.ndarray:
    """Ridge coefficients `(w_dim,)`, with the penalty chosen by leave-one-out error.

    `w` `(n, w_dim)` and `target` `(n,)` are deviations from a mean; `fit` `(n,)` selects subjects.
    RecipeError if they are too few, all equal, or w does not predict the target.
    """
    from sklearn.linear_model import RidgeCV

    known = fit & np.isfinite(target)
    if known.sum() < FEWEST_TO_FIT or np.ptp(target[known]) == 0:
        raise RecipeError(
            f"{name_of(key)} is known for {known.sum()} subjects, or is the same in all: "
            f"a direction needs at least {FEWEST_TO_FIT} subjects that differ."
        )
    penalties = _PENALTIES * w[known].var(axis=0).mean()
    beta = RidgeCV(alphas=penalties).fit(w[known], target[known]).coef_
    if not np.linalg.norm(beta) > 0:
        raise RecipeError(f"{name_of(key)} is unrelated to w in these subjects.")
    return beta


def _pattern(beta: np.ndarray, fixed: Sequence[np.ndarray], w: np.ndarray) -> np.ndarray:
    """`cov(w) beta` without the part that changes the predictions `fixed`; float64 `(w_dim,)`.

    w `(n, w_dim)` has mean 0; its covariance may be too large and is never formed.
    """
    pattern = w.T @ (w @ beta) / (len(w) - 1)
    if not len(fixed):
        return pattern
    other = np.stack(fixed, axis=1)  # [w_dim, m]
    moved = w.T @ (w @ other) / (len(w) - 1)
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
    report: Callable[..., None] | None = None,
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
        Attributes that the other directions must not change; by default head size, with which most
        volumes scale.
    components, samples : int
        As in `pca_directions`.
    report : callable, optional
        Called as `report(done, total, note)`.

    Returns
    -------
    Directions
        Directions of attributes first, then "PC 1" and so on. Standard attributes that fail when
        measured in volumes are left out (`without_failures`); their checks stay.

    Raises
    ------
    ModelError, RecipeError
        If `attributes` are given and one cannot be found.
    """
    say = report or (lambda *_: None)
    found = pca_directions(generator, components, samples)
    say(0, 4, "encoding people")
    people = None
    if pack is not None and (generator.encoder is not None or attributes is not None):
        people = encode_people(generator, pack, (*(attributes or ()), *(hold_fixed or ())))
    say(1, 4, "fitting attributes")
    wanted = attributes
    if people is not None and wanted is None:
        wanted = [key for key in STANDARD if _usable(key, people)]
    fitted = None
    if people is not None and wanted:
        fixed = hold_fixed
        if fixed is None:
            fixed = [HEAD_SIZE] if _usable(HEAD_SIZE, people) else []
        fitted = attribute_directions(
            generator, people.w, people.attributes, people.held_out, wanted, fixed, people.groups
        )
    say(2, 4, "describing components")
    found = describe_components(found, measured_brains(generator), people)
    if fitted is None:
        return found
    say(3, 4, "checking edits")
    fitted = check_edits(generator, fitted)
    if attributes is None:
        fitted = without_failures(fitted)
    return join(fitted, found)


def _usable(key: str, people: People) -> bool:
    """Whether the attribute is known for enough subjects and varies."""
    fit = ~people.held_out
    values = scaled(key, people.attributes[key])
    values = deviations(values, group_numbers(people.groups, fit), fit)[fit]
    values = values[np.isfinite(values)]
    return len(values) >= FEWEST_TO_FIT and np.ptp(values) > 0
