"""Custom directions: from two groups of brains, a table of values, or other directions.

Each is a `Directions` with one direction, its unit of length and a cross-validated check like that
of attributes (`attributes.py`), so it can be saved, shared and used like any other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stylegan3d.base import Json, RecipeError
from stylegan3d.directions.attributes import attribute_directions, rows_alike
from stylegan3d.directions.people import check, describe, regress, scaled
from stylegan3d.model.random_latents import Spread, diagonal, is_long, random_w, whitened
from stylegan3d.recipe.directions import Directions

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator

#: Least number of brains in a group; fewer cannot be distinguished from chance.
FEWEST_IN_GROUP = 3
#: Least number of values, so that each fold still has enough.
FOLDS, FEWEST_WITH_VALUES = 10, 24
#: Least share of its length that must remain of a direction.
LEAST_LEFT = 0.1
_POPULATION = 5000
_ORDERS = 500


def direction_between(
    generator: Generator,
    less: Any,
    more: Any,
    name: str,
    subjects: tuple[Sequence[str], Sequence[str]] | None = None,
) -> Directions:
    """The direction from one group of brains to another: the difference of their means.

    This is the pattern of Fisher's linear discriminant (Haufe et al. 2014,
    doi:10.1016/j.neuroimage.2013.10.067, equation 6): its normal is `cov(w)^-1` times the
    difference, and `cov(w)` times the normal the difference again. The normal separates the groups,
    so it is used for the check: how often it orders a pair of brains, one from each group,
    correctly when both subjects are left out (leave-pair-out AUC; Airola et al. 2011,
    doi:10.1016/j.csda.2010.11.023). The covariance is that of random brains, which is known well.

    Parameters
    ----------
    generator : Generator
    less, more : object
        Array or tensor `(n, w_dim)` or `(n, num_layers, w_dim)` of each group; rows are averaged.
    name : str
        Name of the direction.
    subjects : tuple of sequences of str, optional
        Whose brain each row of `less` and of `more` is. Scans of one subject are left out together
        and permuted together; by default each brain is a subject, but equal ones are the same.

    Returns
    -------
    Directions
        One unit is one standard deviation of random brains along it. `checks` has "auc", "chance"
        (95th percentile of the AUC of random groupings of subjects), "n_fit" (of both groups) and
        "n_check" (pairs).

    Raises
    ------
    RecipeError
        If a group has too few brains, the groups are equal, or the name is invalid.
    """
    name = checked_name(name)
    groups = [rows_alike(less), rows_alike(more)]
    few = min(map(len, groups))
    if few < FEWEST_IN_GROUP:
        raise RecipeError(
            f"One group has {few} {'brain' if few == 1 else 'brains'}: a direction needs at least "
            f"{FEWEST_IN_GROUP} in each, and means little with fewer than ten."
        )
    difference = groups[1].mean(axis=0) - groups[0].mean(axis=0)
    deviation = float(diagonal(generator)[1].square().mean().sqrt())
    if not np.linalg.norm(difference) > 1e-6 * deviation:
        raise RecipeError("The two groups are the same brains: choose others.")
    w = np.concatenate(groups)
    subject = subject_numbers(w, None if subjects is None else [*subjects[0], *subjects[1]])
    members = np.arange(len(w)) >= len(groups[0])
    few = min(len(set(subject[side])) for side in (members, ~members))
    if few < FEWEST_IN_GROUP:
        raise RecipeError(
            f"One group has brains of {few} {'subject' if few == 1 else 'subjects'} only: a "
            f"direction needs at least {FEWEST_IN_GROUP} in each."
        )
    auc, chance = _pair_accuracy(generator, w, members, subject)
    record: Json = {"name": name, "attribute": "groups", "unit": "", "scale": "linear"}
    record |= {"held_fixed": []}
    record |= {"n_fit": len(groups[0]) + len(groups[1]), "n_check": len(groups[0]) * len(groups[1])}
    record |= {"auc": round(auc, 3), "chance": round(chance, 3), "baseline": 0.5}
    description = (
        f"from {len(groups[0])} to {len(groups[1])} chosen brains "
        f"(AUC = {auc:.2f} on pairs left out, by chance up to {chance:.2f})"
    )
    return _single(generator, difference, name, description, record)


def subject_numbers(w: np.ndarray, subjects: Sequence[str] | None) -> np.ndarray:
    """int `(n,)`: the same for brains of one subject; equal latents `(n, w_dim)` are one's."""
    alike = np.unique(w, axis=0, return_inverse=True)[1].ravel()
    if subjects is None:
        return np.asarray(alike)
    named = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)[1].ravel()
    pairs = coo_array((np.ones(len(w)), (alike, named + len(w))), shape=(2 * len(w), 2 * len(w)))
    return np.asarray(connected_components(pairs, directed=False)[1][alike])


def _pair_accuracy(
    generator: Generator, w: np.ndarray, members: np.ndarray, subject: np.ndarray
) -> tuple[float, float]:
    """Leave-pair-out AUC of Fisher's discriminant, and the one that 5 % of random groupings reach.

    With the covariance fixed all scores follow from the inner products of whitened brains, so each
    pair costs a few sums instead of a fit. What is permuted is subjects: between groups, or, of
    those with brains in both, which of the two groups is which.
    """
    white = _whitened(generator, w)
    inner = white @ white.T
    draw = np.random.RandomState(0)
    both = np.intersect1d(subject[members], subject[~members])

    def permuted() -> np.ndarray:
        order = members.copy()
        swapped = both[draw.rand(len(both)) < 0.5]
        order ^= np.isin(subject, swapped)
        others = np.setdiff1d(subject, both)
        # A subject's brains are all in the group of its first one.
        groups = np.array([members[np.flatnonzero(subject == one)[0]] for one in others], bool)
        for one, group in zip(others, draw.permutation(groups), strict=True):
            order[subject == one] = group
        return order

    by_chance = [_auc_of_pairs(inner, permuted(), subject) for _ in range(_ORDERS)]
    return _auc_of_pairs(inner, members, subject), float(np.nanpercentile(by_chance, 95))


def _whitened(generator: Generator, w: np.ndarray) -> np.ndarray:
    """w `(n, w_dim)` whitened by random brains, `(n, kept)`; null directions are dropped."""
    if is_long(generator):
        mean, deviations = (part.double().cpu().numpy() for part in diagonal(generator))
        kept = deviations > 1e-3 * deviations.max()
        return (w - mean)[:, kept] / deviations[kept]
    return whitened(w, random_w(generator, _POPULATION, seed=0))[0]


def _auc_of_pairs(inner: np.ndarray, more: np.ndarray, subject: np.ndarray) -> float:
    """Share of pairs (a, b) ordered correctly along the others' difference of means.

    For a and b left out with all brains of their subjects, the score difference is (b - a) . (mean
    of more - mean of less); `inner` `(n, n)` are the inner products of all brains. Pairs of one
    subject, and those that leave a group empty, do not count; NaN if none does.
    """
    b, a = (grid.ravel() for grid in np.meshgrid(np.flatnonzero(more), np.flatnonzero(~more)))
    b, a = b[subject[b] != subject[a]], a[subject[b] != subject[a]]
    own = np.eye(subject.max() + 1)[subject]  # (n, subjects)
    margin = np.zeros(len(b))
    for group, sign in ((more, 1.0), (~more, -1.0)):
        by_subject = own * group[:, None]
        sums, counts = inner @ by_subject, by_subject.sum(axis=0)
        kept = counts.sum() - counts[subject[a]] - counts[subject[b]]
        for brain, towards in ((b, sign), (a, -sign)):
            rest = sums[brain].sum(axis=1) - sums[brain, subject[a]] - sums[brain, subject[b]]
            with np.errstate(divide="ignore", invalid="ignore"):
                margin += towards * np.where(kept > 0, rest / kept, np.nan)
    margin = margin[np.isfinite(margin)]
    return float((margin > 0).mean() + (margin == 0).mean() / 2) if len(margin) else float("nan")


def direction_of_values(
    generator: Generator,
    latents: Any,
    values: Sequence[float] | np.ndarray,
    name: str,
    unit: str = "",
    subjects: Sequence[str] | None = None,
) -> Directions:
    """The direction along which a value increases, fitted to brains with known values.

    Fitted like directions of attributes (`attribute_directions`), to all brains, and checked by
    cross-validation: each brain's value is predicted by a ridge regression without its subject.

    Parameters
    ----------
    generator : Generator
    latents : object
        Array or tensor `(n, w_dim)` or `(n, num_layers, w_dim)`; rows are averaged.
    values : sequence of float
        `(n,)`; NaN where unknown; only 0 and 1 for a binary value.
    name, unit : str
        Name of the direction, and unit of its values.
    subjects : sequence of str, optional
        `(n,)` whose brain each is: scans of one subject are predicted together. By default each
        brain is a subject, but equal ones are the same.

    Returns
    -------
    Directions
        One unit changes the predicted value by one standard deviation of random brains. `checks` is
        as in `attribute_directions`, from the folds' predictions, with "folds".

    Raises
    ------
    RecipeError
        If too few values are known, they are all the same, or the name is invalid.
    """
    name = checked_name(name)
    w, value = rows_alike(latents), np.asarray(values, dtype=np.float64)
    known = np.isfinite(value)
    subject = subject_numbers(w, subjects)[known]
    w, value = w[known], value[known]
    if len(w) < FEWEST_WITH_VALUES or np.ptp(value) == 0:
        alike = "all the same" if len(w) and np.ptp(value) == 0 else f"known for {len(w)} brains"
        raise RecipeError(
            f"The values are {alike}: a direction needs at least {FEWEST_WITH_VALUES} brains whose "
            "values differ."
        )
    if len(set(subject)) < FEWEST_WITH_VALUES:
        raise RecipeError(
            f"The values are those of {len(set(subject))} subjects: a direction needs at least "
            f"{FEWEST_WITH_VALUES}, however many scans there are of each."
        )
    fitted = attribute_directions(generator, w, {name: value}, np.zeros(len(w), dtype=bool))
    truth = scaled(name, value)
    told = fitted.checks[0] | check(
        name,
        _predicted(name, w, truth, subject),
        truth - truth.mean(),
        value,
        np.ones(len(w), dtype=bool),
        subject,
    )
    told |= {"name": name, "unit": unit, "folds": FOLDS, "n_fit": len(w)}
    return dataclasses.replace(
        fitted, names=(name,), descriptions={name: describe(told)}, checks=(told,)
    )


def _predicted(key: str, w: np.ndarray, truth: np.ndarray, subject: np.ndarray) -> np.ndarray:
    """`(n,)` cross-validated predictions, as deviations from the mean; folds are of subjects."""
    known, row = np.unique(subject, return_inverse=True)
    fold = (np.random.RandomState(0).permutation(len(known)) % FOLDS)[row.ravel()]
    guess = np.empty(len(w))
    for number in range(FOLDS):
        fit = fold != number
        middle, mean = w[fit].mean(axis=0), truth[fit].mean()
        beta = regress(key, w - middle, truth - mean, fit)
        guess[~fit] = (w[~fit] - middle) @ beta + mean - truth.mean()
    return guess


def orthogonalised(
    generator: Generator,
    directions: Directions,
    name: str,
    against: Sequence[np.ndarray],
    told_as: str,
) -> Directions:
    """A direction made orthogonal to others (Gram-Schmidt).

    Orthogonal in the plain inner product of w, in which principal components are orthogonal, too.
    The result may still change what the others change, since different directions can have similar
    effects.

    Parameters
    ----------
    generator : Generator
    directions, name : Directions, str
        The direction to start from.
    against : sequence of ndarray, shape (w_dim,)
        Steps, of any length.
    told_as : str
        Their names for messages, such as "Age and Sex".

    Returns
    -------
    Directions
        One direction; one unit is one standard deviation of random brains along it.

    Raises
    ------
    RecipeError
        If hardly anything of it remains.
    """
    own = directions.step(name).astype(np.float64)
    others = np.stack([np.asarray(step, np.float64) for step in against], axis=1)
    rest = own - others @ np.linalg.lstsq(others, own, rcond=None)[0]
    left = float(np.linalg.norm(rest) / np.linalg.norm(own))
    if left < LEAST_LEFT:
        raise RecipeError(
            f"{name} is nearly parallel to {told_as}: {100 * left:.0f} % of it would "
            "remain. Choose fewer directions."
        )
    description = f"{name} without {told_as} ({100 * left:.0f} % of it is left; not validated)"
    return _single(generator, rest, checked_name(f"{name} without {told_as}"), description)


def renamed(directions: Directions, name: str, new: str) -> Directions:
    """One of the directions under another name."""
    k, new = directions.names.index(name), checked_name(new)
    checks = [told | {"name": new} for told in directions.checks if told.get("name") == name]
    about = directions.descriptions.get(name)
    return Directions(
        directions.vectors[k : k + 1],
        directions.std[k : k + 1],
        directions.explained_variance[k : k + 1],
        (new,),
        directions.model_hash,
        directions.model_name,
        {new: about} if about else {},
        tuple(checks),
        seen={new: directions.seen[name]} if name in directions.seen else {},
        readings={new: directions.readings[name]} if name in directions.readings else {},
    )


def checked_name(name: str) -> str:
    """The name without surrounding spaces; RecipeError if invalid in a file or a recipe."""
    name = " ".join(name.split())
    if not name or "#" in name or "=" in name or len(name) > 120:
        raise RecipeError(
            "A direction needs a name of 1 to 120 letters without # and =, such as Atrophy."
        )
    return name


def _single(
    generator: Generator, vector: np.ndarray, name: str, description: str, told: Json | None = None
) -> Directions:
    """One direction whose unit is one standard deviation of random brains along it."""
    unit = vector / np.linalg.norm(vector)
    population = Spread.of(generator, [unit], _POPULATION)
    scores = population.scores[:, 0]
    return Directions(
        unit[None],
        np.array([scores.std()]),
        np.array([scores.var() / population.variance.sum()]),
        (name,),
        generator.hash,
        generator.name,
        {name: description},
        () if told is None else (told,),
    )
