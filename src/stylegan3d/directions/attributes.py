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
(`contour_of`), so sulci and ventricles open and the convexity stays.

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
import torch
from scipy import ndimage
from scipy.stats import pearsonr

from stylegan3d.base import SILENT, Json, JsonView, Progress, RecipeError
from stylegan3d.directions.people import (
    AGE,
    FEWEST_TO_FIT,
    HEAD_SIZE,
    LOGARITHMIC,
    SEX,
    STANDARD,
    VENTRICLES,
    People,
    age_reading,
    ageing,
    check,
    describe,
    deviations,
    encode_people,
    group_numbers,
    name_of,
    regress,
    scaled,
)
from stylegan3d.geometry.space import eroded, filled, to_display
from stylegan3d.measures.attributes import BACKGROUND, MEASURES, measure_attributes
from stylegan3d.model import random_latents
from stylegan3d.model.family import STYLEGAN
from stylegan3d.networks.config import AnatomyConfig
from stylegan3d.networks.deformation import add_identity, exponential
from stylegan3d.recipe.directions import Directions, join
from stylegan3d.render.movement import composed, deformed_anatomy

if TYPE_CHECKING:
    from stylegan3d.dataset.pack import Pack
    from stylegan3d.model.generator import Generator


# The outer contour of a brain with its fluid, and how much a change of w moves it.
#
# In the years of an adult the skull does not change, so neither does the outer contour of what it
# holds: sulci and ventricles open inside it. What moves the contour is linear in the deformation's
# components of w to first order; to hold it fixed is to look at people who have the same one, as
# far as a Gaussian distribution of w tells.

#: What stands in `hold_fixed`, beside attributes, for the contour.
CONTOUR = "contour"
#: Points on the contour of each brain, and how well their place counts as known, in mm. With 0.3
#: the contour moves a third less, but an edit is half as long again in sd of people.
POINTS, KNOWN_TO_MM = 200, 1.0
#: A step along each component of w that shows how it moves the contour, in sd of random brains.
_STEP_SD, _BRAINS = 0.5, 200
#: Random brains per component of w from which those of brains are found.
_PER_NUMBER = 4
#: The border's normal is that of a mask smoothed so much, in voxels.
_SMOOTH = 1.5


def contour_of(volume: np.ndarray) -> np.ndarray:
    """bool (X, Y, Z): the brain with its fluid, of a volume that is 0 outside."""
    return filled(volume > BACKGROUND)


def border_of(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (n, 3) on the border of a mask, and the unit normals (n, 3) that point outward."""
    border = mask & ~eroded(mask)
    slopes = np.gradient(ndimage.gaussian_filter(mask.astype(np.float32), _SMOOTH))
    normals = -np.stack([slope[border] for slope in slopes], axis=1)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.argwhere(border), normals / np.maximum(lengths, 1e-9)


def contour_rows(generator: Generator, w: np.ndarray) -> np.ndarray | None:
    """How each component of w moves points on the outer contour.

    Parameters
    ----------
    generator : Generator
    w : np.ndarray
        float64 `(n, w_dim)`: brains about which it is looked at.

    Returns
    -------
    np.ndarray or None
        float64 `(n * POINTS, w_dim)`: millimetres outward along the normal for one unit of each
        component, by differences; None for a generator without a deformation.
    """
    synthesis = deformed_anatomy(generator)
    if synthesis is None:
        return None
    config, random = synthesis.config, np.random.RandomState(0)
    count = config.deformation if isinstance(config, AnatomyConfig) else config.w_dim
    half_mm = np.array(generator.shape) * np.array(generator.space.voxel_size) / 2
    steps = np.zeros((count, generator.w_dim))
    sd = random_latents.random_w(generator, _BRAINS, 0)[:, :count].std(axis=0)
    steps[:, :count] = np.diag(_STEP_SD * np.maximum(sd, 1e-6))
    rows = []
    for one in w:
        with torch.inference_mode():
            brain = to_display(generator.synthesize(_wide(generator, one[None]), noise="none"))[0]
            pair = _wide(generator, np.concatenate([one[None], one + steps]))
            there = add_identity(exponential(synthesis.velocity(pair)).flip(1))
            offsets = composed(there[:1].expand(count, -1, -1, -1, -1), there[1:])
            moved = offsets.flip(1).cpu().numpy()
        voxels, normals = border_of(contour_of(brain))
        chosen = random.permutation(len(voxels))[:POINTS]
        # Cell centres of the brain's grid in cells of the deformation's.
        scale = np.array(moved.shape[2:]) / np.array(generator.shape)
        at = ((voxels[chosen] + 0.5) * scale - 0.5).T
        read = np.array(
            [[ndimage.map_coordinates(f, at, order=1, mode="nearest") for f in m] for m in moved]
        )
        # A point of the picture is read at x + moved: the contour itself goes the other way.
        outward = -np.einsum("kap,a,pa->pk", read, half_mm, normals[chosen])
        block = np.zeros((len(chosen), generator.w_dim))
        block[:, :count] = outward / np.diag(steps[:, :count])
        rows.append(block)
    return np.concatenate(rows)


def _wide(generator: Generator, w: np.ndarray) -> torch.Tensor:
    """w `(n, w_dim)` as latents `[n, num_layers, w_dim]`."""
    rows = torch.from_numpy(w).float().to(generator.device)
    return rows[:, None].expand(-1, generator.num_layers, -1)


# Effects of directions on volumes: describe components and check edits by measuring brains.

#: Random brains to describe components with; |r| > 0.3 by chance has p = 1/50,000 then.
BRAINS = 200
WEAKEST, CHANCE, MOST = 0.3, 1 / 50_000, 3
#: Random brains to check edits with, and how far they are edited, in units.
EDITED_BRAINS, STRENGTH = 8, 2.0
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
    w = random_latents.random_w(generator, count, seed)
    return MeasuredBrains(w, _measured(generator, w))


def _measured(generator: Generator, w: np.ndarray) -> dict[str, np.ndarray]:
    """Measures of the brains of w `(n, w_dim)`, float64 `(n,)` by key."""
    rows = []
    with torch.no_grad():
        for wide in _wide(generator, w).split(1):
            volume = to_display(generator.synthesize(wide, noise="none"))[0]
            rows.append(measure_attributes(volume, generator.space))
    return {measure.key: np.array([row[measure.key] for row in rows]) for measure in MEASURES}


@torch.inference_mode()
def components_of_brains(generator: Generator, count: int) -> Directions:
    """Principal components of random brains instead of w, as directions of w, "PC 1" first.

    For a StyleGAN, in which layers and not the length of w decide how much a brain changes. Coarse
    images are regressed on w, and what that explains has components (as of features in GANSpace:
    Härkönen et al. 2020, arXiv 2004.02546, section 3.2). Shares are of what is explained.
    """
    w, level = (
        random_latents.random_w(generator, _PER_NUMBER * generator.w_dim, 0),
        -min(3, len(generator.levels)),
    )
    made = [generator.synthesize(_wide(generator, one[None]), "none", level) for one in w]
    images = torch.stack(made).flatten(1).cpu().numpy()
    scores, root = random_latents.whitened(w, w)
    effects = np.linalg.lstsq(scores, images - images.mean(axis=0), rcond=None)[0]
    first, sizes, _ = np.linalg.svd(effects, full_matrices=False)
    steps = (root @ first[:, :count]).T
    lengths, shares = np.linalg.norm(steps, axis=1), np.square(sizes) / np.square(sizes).sum()
    return random_latents.numbered(
        generator, steps / lengths[:, None], np.square(lengths), shares[:count]
    )


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
        correlations of at least 0.3, and of `CHANCE`, the strongest first.
    """
    words = {m.key: (m.more, m.less) for m in MEASURES} | _OF_PEOPLE
    record = {}
    for name, vector in zip(components.names, components.vectors, strict=True):
        found = {key: _correlation(brains.w @ vector, v) for key, v in brains.measures.items()}
        if people is not None:
            of_people = {key: people.attributes[key] for key in _OF_PEOPLE}
            found |= {key: _correlation(people.w @ vector, v) for key, v in of_people.items()}
        told = [key for key, (r, p) in found.items() if abs(r) >= WEAKEST and p <= CHANCE]
        strong = sorted(told, key=lambda key: -abs(found[key][0]))
        record[name] = ", ".join(
            f"{words[key][found[key][0] < 0]} (r = {abs(found[key][0]):.2f})"
            for key in strong[:MOST]
        )
        if not record[name] and (most := max((abs(r) for r, _ in found.values()), default=0)):
            weak = f"all r below {WEAKEST}" if most < WEAKEST else f"r = {most:.2f} may be chance"
            record[name] = f"nothing that is measured ({weak})"
    return dataclasses.replace(components, descriptions={k: v for k, v in record.items() if v})


def _correlation(score: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Pearson's r over brains with a known value, and its p; 0 and 1 if undefined."""
    known = np.isfinite(values)
    if known.sum() < 10 or np.ptp(values[known]) == 0 or np.ptp(score[known]) == 0:
        return 0.0, 1.0
    r, p = pearsonr(score[known], values[known])
    return float(r), float(p)


def as_in_people(generator: Generator, directions: Directions) -> Directions:
    """Lengthen units so that ventricles grow in edited brains as they do in people.

    A generator that smooths shows less of a change than there is. Where a check says by which
    factor ventricles grow with one unit in people ("ventricles"), the direction's std is multiplied
    by at most `MOST_LENGTHENED` or its inverse; the check gains this factor as "lengthened".
    """
    start = random_latents.random_w(generator, EDITED_BRAINS, _SEED + 1)
    before = _measured(generator, start)["ventricle_ml"]
    std, checks = directions.std.copy(), []
    for told in directions.checks:
        if told.get("ventricles", 1.0) != 1.0:
            k = directions.names.index(told["name"])
            edited = start + STRENGTH * directions.step(told["name"])
            with np.errstate(invalid="ignore", divide="ignore"):
                grown = np.median(np.log(_measured(generator, edited)["ventricle_ml"] / before))
            asked = STRENGTH * np.log(told["ventricles"])
            if np.isfinite(grown) and grown * asked > 0:
                factor = float(np.clip(asked / grown, 1 / MOST_LENGTHENED, MOST_LENGTHENED))
                std[k] *= factor
                told = told | {"lengthened": round(factor, 3)}
                told["contour_mm"] = round(told["contour_mm"] * factor, 4)
        checks.append(told)
    return dataclasses.replace(directions, std=std, checks=tuple(checks))


def check_edits(generator: Generator, directions: Directions) -> Directions:
    """Add measurements of edited brains to the checks of directions.

    Random brains are edited by plus and minus `STRENGTH` units along each direction that has a
    check, and measured before and after. The check gains "edited": "strength", "brains", "change"
    and "change_back" (median change of every volume, ml, by its key) and, where the attribute
    itself is measured, "right_way": the share of brains in which it grew with `STRENGTH`;
    descriptions tell its measured change.
    """
    start = random_latents.random_w(generator, EDITED_BRAINS, _SEED + 1)
    before = _measured(generator, start)
    checks = []
    for told in directions.checks:
        step = STRENGTH * directions.step(told["name"])
        forth, back = (
            {m.key: values[m.key] - before[m.key] for m in MEASURES if m.unit}
            for values in (_measured(generator, start + step), _measured(generator, start - step))
        )
        if not np.isfinite([*forth.values(), *back.values()]).all():
            checks.append(told)  # not measurable as brains
            continue
        edited: Json = {"strength": STRENGTH, "brains": EDITED_BRAINS}
        edited |= {"change": _medians(forth), "change_back": _medians(back)}
        if told["attribute"] in forth:
            edited["right_way"] = round(float((forth[told["attribute"]] > 0).mean()), 3)
        checks.append({**told, "edited": edited})
    described = {**directions.descriptions, **{told["name"]: describe(told) for told in checks}}
    return dataclasses.replace(directions, checks=tuple(checks), descriptions=described)


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


# How far the training subjects reach along each direction.
#
# Beyond their range an edit makes brains of which there was none to learn from. A position along a
# principal component is the projection of w. Along the direction of an attribute a projection tells
# next to nothing: subjects of one age differ more along it, by everything else, than subjects of
# different ages (r = 0.16 between age and projection in the bundled data). There the position is
# what the regression that the direction was made from tells (`directions.attributes`).

#: An encoder that finds less than this of a standard deviation does not see the direction.
LEAST_FOUND = 0.5


def seen_in_people(directions: Directions, people: People) -> Directions:
    """Directions with `seen` and `readings` from the training subjects among `people`.

    Left out are attributes that are not among theirs, and directions that the encoder does not
    find in scans, such as fine texture: their latents say nothing of those.
    """
    checks = [told for told in directions.checks if told["name"] in directions.names]
    readings = _readings(directions, checks, people)
    found = dataclasses.replace(directions, readings=readings)
    unknown = {told["name"] for told in checks} - readings.keys()
    seen = {}
    for name in directions.names:
        at = np.array([found.position(name, w) for w in people.w[~people.held_out]])
        if name not in unknown and at.std() >= LEAST_FOUND:
            seen[name] = (float(at.min()), float(at.max()))
    return dataclasses.replace(found, seen=seen)


def _readings(
    directions: Directions, checks: Sequence[JsonView], people: People
) -> dict[str, np.ndarray]:
    """Weights of w [w_dim] that estimate each attribute in units of its direction.

    Without what the attributes held fixed explain of it: head size explains most of the white
    matter, but an edit along white matter keeps the head as it is.
    """
    fit = ~people.held_out
    place = group_numbers(people.groups, fit)
    w, betas = deviations(people.w, place, fit), {}

    def beta(key: str) -> np.ndarray:
        if key not in betas:
            target = deviations(scaled(key, people.attributes[key]), place, fit)
            betas[key] = regress(key, w, target, fit)
        return betas[key]

    keys = {name_of(key): key for key in people.attributes}
    readings = {}
    for told in checks:
        if told["attribute"] not in people.attributes:
            continue
        reading = beta(told["attribute"])
        fixed = [keys[name] for name in told["held_fixed"] if name in keys]
        if fixed:
            others = np.stack([beta(key) for key in fixed], axis=1)  # [w_dim, m]
            known = w[fit] @ others
            reading = reading - others @ np.linalg.lstsq(known, w[fit] @ reading, rcond=None)[0]
        readings[told["name"]] = reading / float(reading @ directions.step(told["name"]))
    return readings


def rows_alike(latents: Any) -> np.ndarray:
    """float64 `(n, w_dim)`: mean over layers of `(n, num_layers, w_dim)`, or `(n, w_dim)` as is."""
    w = np.asarray(latents, dtype=np.float64)
    return w.mean(axis=1) if w.ndim == 3 else w


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
    subjects: Sequence[Any] | None = None,
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
    subjects : sequence, optional
        Whose scan each is, for what chance reaches; each another's by default.

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
    w = rows_alike(latents)
    held_out = np.asarray(held_out, dtype=bool)
    wanted = tuple(attributes) if wanted is None else tuple(wanted)
    needed = dict.fromkeys((*wanted, *hold_fixed))
    if not wanted or (unknown := [name for name in needed if name not in attributes]):
        missing = ", ".join(unknown) if wanted else "any attribute"
        raise RecipeError(f"There are no values of {missing} among the attributes.")
    every = w, held_out, *attributes.values(), w if groups is None else groups
    fits = len({np.shape(one)[:1] for one in every}) == 1 and w.shape[1:] == (generator.w_dim,)
    if not fits or not np.isfinite(w).all():
        raise RecipeError(
            f"Latents {w.shape}, attributes, held_out and groups must be of the same subjects, and "
            f"the latents {generator.w_dim} finite numbers each, as of {generator.name}."
        )
    place = group_numbers(groups, ~held_out)
    inner = deviations(w, place, ~held_out)
    targets = {k: deviations(scaled(k, attributes[k]), place, ~held_out) for k in needed}
    betas = {key: regress(key, inner, targets[key], ~held_out) for key in needed}
    fit = inner[~held_out] - inner[~held_out].mean(axis=0)
    shape = {key: None if key in MOVING else contour for key in wanted}
    steps = {
        key: _pattern(betas[key], [betas[k] for k in hold_fixed if k != key], fit, shape[key])
        for key in wanted
    }
    units = [step / np.linalg.norm(step) for step in steps.values()]
    population = random_latents.Spread.of(generator, [*betas.values(), *units], _POPULATION)
    scores = dict(zip(betas, population.scores.T, strict=False))
    std, checks = [], []
    for key in wanted:
        others = [other for other in hold_fixed if other != key]
        reach = _spread(scores[key], [scores[other] for other in others])
        length = reach / float(betas[key] @ steps[key]) * float(np.linalg.norm(steps[key]))
        std.append(length)
        told = check(key, inner @ betas[key], targets[key], attributes[key], held_out, subjects)
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
    beta: np.ndarray, fixed: Sequence[np.ndarray], w: np.ndarray, contour: np.ndarray | None = None
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
    components: int = random_latents.COMPONENTS,
    samples: int = random_latents.SAMPLES,
    progress: Progress = SILENT,
) -> Directions:
    """All directions for a model's folder: attributes known in the data, described components.

    Parameters
    ----------
    generator : Generator
    pack : Pack, optional
        The dataset it was trained on. Without it, without an encoder, or if too few subjects have
        a known attribute, only principal components are computed.
    attributes : sequence of str, optional
        Required attributes; by default those of `STANDARD` known for enough subjects.
    hold_fixed : sequence of str, optional
        What the other directions must not change: attributes, and `CONTOUR`; by default head size,
        with which most volumes scale, and the outer contour where the generator has a deformation.
    components, samples : int
        As in `pca_directions`; a StyleGAN has `components_of_brains`.
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
    if generator.family == STYLEGAN:
        found = components_of_brains(generator, components)
    else:
        found = random_latents.pca_directions(generator, components, samples)
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
        fitted = check_edits(generator, fitted)
        found = join(without_failures(fitted) if attributes is None else fitted, found)
    return found if people is None else seen_in_people(found, people)


def fit_people(
    generator: Generator,
    people: People,
    attributes: Sequence[str] | None = None,
    hold_fixed: Sequence[str] | None = None,
) -> Directions | None:
    """Directions of attributes, as long as in people, with what is known of ageing.

    None if there are none.

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
        fixed += [] if deformed_anatomy(generator) is None else [CONTOUR]
    rows = None
    if CONTOUR in fixed:
        seen = people.w[~people.held_out]
        rows = contour_rows(generator, seen[:: max(1, len(seen) // _CONTOURS)][:_CONTOURS])
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
        people.subjects,
    )
    fitted = as_in_people(generator, fitted)
    if AGE not in wanted:
        return fitted
    fit = ~people.held_out
    place = group_numbers(people.groups, fit)
    w, age = (deviations(values, place, fit) for values in (people.w, people.attributes[AGE]))
    reading = age_reading(people, regress(AGE, w, age, fit))
    checks = tuple(
        check | {"ageing": ageing(people)} if check["attribute"] == AGE else check
        for check in fitted.checks
    )
    return dataclasses.replace(fitted, checks=checks, age_reading=reading)


def _usable(key: str, people: People) -> bool:
    """Whether the attribute is known for enough subjects and varies."""
    fit = ~people.held_out
    values = scaled(key, people.attributes[key])
    values = deviations(values, group_numbers(people.groups, fit), fit)[fit]
    values = values[np.isfinite(values)]
    return len(values) >= FEWEST_TO_FIT and np.ptp(values) > 0
