"""Directions in w that mean something: age, ventricle volume, head size, …

A direction is fitted to real people, whose latents an encoder or a projection gave, and is checked
on people who had no part in the fit, and in what edited brains measure.

How. A ridge regression predicts the attribute from w (its penalty by leave-one-out error), as
there are about as many people as dimensions. An edit does not go along the regression's own vector
beta, the normal of InterFaceGAN's hyperplane (Shen et al. 2020, arXiv:1907.10786, section 3.1),
but along `cov(w) beta`: how w changes, on average over people, with the predicted attribute
(Haufe et al. 2014, doi:10.1016/j.neuroimage.2013.10.067, equation 6). The normal is the shortest
way to change the *prediction*, and leans on whatever predicts; the pattern is what people with more
of the attribute look like. On the bundled brains, two units of "ventricle volume" changed it by a
factor of 2.2 along the pattern and 1.9 along the normal, and two of age by 37 and 26 years.

To hold another attribute fixed, the pattern's part that changes the prediction of that other one is
taken out, in the metric of cov(w) (a partial regression; InterFaceGAN's conditional manipulation,
section 3.2, does so with normals).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stylegan3d.directions import (
    COMPONENTS,
    SAMPLES,
    Directions,
    join,
    pca_directions,
    random_w,
)
from stylegan3d.errors import RecipeError
from stylegan3d.people import HEAD_SIZE, NAMES, SEX, STANDARD, UNITS, People, encode_people

if TYPE_CHECKING:
    import torch

    from stylegan3d.generator import Generator
    from stylegan3d.training.pack import Pack

#: Ventricles grow by a factor: held-out R2 of their logarithm was 0.95, of the volume itself 0.81.
LOGARITHMIC = frozenset({"ventricle_ml"})
#: Fewer people than these say nothing about a direction, or about how good it is.
FEWEST_TO_FIT, FEWEST_TO_CHECK = 20, 5
_PENALTIES = np.logspace(-3, 5, 33)
_POPULATION = 5000  # random brains that say how much an attribute varies


def attribute_directions(
    generator: Generator,
    latents: np.ndarray | torch.Tensor,
    attributes: Mapping[str, np.ndarray],
    held_out: np.ndarray,
    wanted: Sequence[str] | None = None,
    hold_fixed: Sequence[str] = (),
) -> Directions:
    """One direction for each attribute, fitted to people and checked on others.

    Parameters
    ----------
    generator : Generator
    latents : array or tensor
        `(n, w_dim)` or `(n, num_layers, w_dim)` of n people; rows are averaged.
    attributes : mapping of str to np.ndarray
        `(n,)` numbers by attribute, NaN where unknown; 0 and 1 alone make it one of two kinds.
    held_out : np.ndarray
        bool `(n,)`: people to check on, who have no part in the fit.
    wanted : sequence of str, optional
        Attributes to find directions of; all by default.
    hold_fixed : sequence of str
        Attributes that the others must not change.

    Returns
    -------
    Directions
        Named as in `NAMES`. One unit changes the predicted attribute by one standard deviation of
        random brains. `checks` has one dict for each: "name", "attribute", "unit", "held_fixed",
        "n_fit", "n_check", on held-out people "r" (correlation of predicted and true), "chance"
        (|r| that one in twenty random orders of them reaches), "r2", "mae" with "baseline" (that of
        always saying the mean), or "auc" with baseline 0.5 for an attribute of two kinds; and
        "per_unit", by how much one unit changes the attribute ("scale" "linear": in its unit,
        "factor": times so much).

    Raises
    ------
    RecipeError
        If too few people are known to have an attribute, or it is the same in all of them.

    References
    ----------
    Shen et al. 2020, arXiv:1907.10786; Haufe et al. 2014, doi:10.1016/j.neuroimage.2013.10.067.
    """
    w = np.asarray(latents, dtype=np.float64)
    w = w.mean(axis=1) if w.ndim == 3 else w
    held_out = np.asarray(held_out, dtype=bool)
    wanted = tuple(attributes) if wanted is None else tuple(wanted)
    betas = {
        key: _regress(key, w, attributes[key], ~held_out)
        for key in dict.fromkeys((*wanted, *hold_fixed))
    }
    covariance = np.atleast_2d(np.cov(w[~held_out], rowvar=False))
    population = random_w(generator, _POPULATION, seed=0)
    total = population.var(axis=0).sum()
    vectors, std, checks = [], [], []
    for key in wanted:
        others = [other for other in hold_fixed if other != key]
        beta = betas[key][0]
        step = _pattern(beta, [betas[other][0] for other in others], covariance)
        reach = float((population @ beta).std())
        step = step * (reach / (beta @ step))
        length = float(np.linalg.norm(step))
        vectors.append(step / length)
        std.append(length)
        told = _check(key, w, attributes[key], held_out, betas[key])
        told |= {"held_fixed": [_name(other) for other in others]}
        told |= {"per_unit": round(float(np.exp(reach)) if key in LOGARITHMIC else reach, 4)}
        checks.append(told)
    unit = np.stack(vectors)
    return Directions(
        unit,
        np.array(std),
        (population @ unit.T).var(axis=0) / total,
        tuple(_name(key) for key in wanted),
        generator.hash,
        generator.name,
        {told["name"]: _describe(told) for told in checks},
        tuple(checks),
    )


def _name(key: str) -> str:
    """What a direction of an attribute is called: "mini_mental" -> "Mini mental"."""
    return NAMES.get(key, key.replace("_", " ").capitalize())


def _scaled(key: str, values: np.ndarray) -> np.ndarray:
    """The numbers the regression sees; NaN for what has no logarithm."""
    values = np.asarray(values, dtype=np.float64)
    if key not in LOGARITHMIC:
        return values
    return np.log(np.where(values > 0, values, np.nan))


def _regress(
    key: str, w: np.ndarray, values: np.ndarray, fit: np.ndarray
) -> tuple[np.ndarray, float]:
    """Ridge coefficients `(w_dim,)` and intercept, the penalty by leave-one-out error."""
    from sklearn.linear_model import RidgeCV

    target = _scaled(key, values)
    known = fit & np.isfinite(target)
    if known.sum() < FEWEST_TO_FIT or np.ptp(target[known]) == 0:
        raise RecipeError(
            f"{_name(key)} is known of {known.sum()} people to fit it to, or is the same in all: a "
            f"direction needs at least {FEWEST_TO_FIT} people who differ."
        )
    penalties = _PENALTIES * w[known].var(axis=0).mean()
    model = RidgeCV(alphas=penalties).fit(w[known], target[known])
    if not np.linalg.norm(model.coef_) > 0:
        raise RecipeError(f"{_name(key)} has nothing to do with w in these people.")
    return model.coef_, float(model.intercept_)


def _pattern(beta: np.ndarray, fixed: Sequence[np.ndarray], covariance: np.ndarray) -> np.ndarray:
    """`cov(w) beta`, less what would change the predictions `fixed`; float64 `(w_dim,)`."""
    pattern = covariance @ beta
    if not len(fixed):
        return pattern
    other = np.stack(fixed, axis=1)  # [w_dim, m]
    moved = covariance @ other
    return pattern - moved @ np.linalg.lstsq(other.T @ moved, other.T @ pattern, rcond=None)[0]


def _check(
    key: str,
    w: np.ndarray,
    values: np.ndarray,
    held_out: np.ndarray,
    model: tuple[np.ndarray, float],
) -> dict[str, Any]:
    """How well the prediction holds on people it was not fitted to, as plain data."""
    target = _scaled(key, values)
    known = np.isfinite(target)
    fit, check = known & ~held_out, known & held_out
    told: dict[str, Any] = {"name": _name(key), "attribute": key, "unit": UNITS.get(key, "")}
    told["scale"] = "factor" if key in LOGARITHMIC else "linear"
    told |= {"n_fit": int(fit.sum()), "n_check": int(check.sum())}
    truth, guess = target[check], w[check] @ model[0] + model[1]
    if check.sum() < FEWEST_TO_CHECK or np.ptp(truth) == 0:
        return told  # a figure on so few people would say nothing
    told["r"] = _rounded(np.corrcoef(truth, guess)[0, 1])
    told["chance"] = _rounded(_chance(truth, guess))
    if set(np.unique(target[known])) <= {0.0, 1.0}:
        from sklearn.metrics import roc_auc_score

        return told | {"auc": _rounded(roc_auc_score(truth, guess)), "baseline": 0.5}
    mean = target[fit].mean()
    told["r2"] = _rounded(1 - ((truth - guess) ** 2).sum() / ((truth - mean) ** 2).sum())
    if key in LOGARITHMIC:
        truth, guess, mean = np.exp(truth), np.exp(guess), np.exp(mean)
    told["mae"] = _rounded(np.abs(truth - guess).mean())
    told["baseline"] = _rounded(np.abs(truth - mean).mean())
    return told


def _chance(truth: np.ndarray, guess: np.ndarray, orders: int = 2000) -> float:
    """|r| that 5 % of random orders of the people reach."""
    draw = np.random.RandomState(0)
    found = [abs(np.corrcoef(draw.permutation(truth), guess)[0, 1]) for _ in range(orders)]
    return float(np.percentile(found, 95))


def _rounded(value: float) -> float:
    return round(float(value), 4)


def _describe(told: Mapping[str, Any]) -> str:
    """Such as "+13 years per unit, head size held fixed (r = 0.84 on 27 people not used)"."""
    key, per_unit = told["attribute"], told["per_unit"]
    if key == SEX:
        text = "from female to male"
    elif told["scale"] == "factor":
        text = f"+{per_unit - 1:.0%} per unit".replace("%", " %")
    else:
        text = f"+{per_unit:.3g} {told['unit']}".rstrip() + " per unit"
    if told["held_fixed"]:
        text += f", {' and '.join(told['held_fixed']).lower()} held fixed"
    if "r" not in told:
        return text + " (not checked: too few people)"
    figure = f"AUC = {told['auc']:.2f}" if "auc" in told else f"r = {told['r']:.2f}"
    return f"{text} ({figure} on {told['n_check']} people not used)"


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
    """Everything a model's folder should hold: attributes the data knows, described components.

    Parameters
    ----------
    generator : Generator
    pack : Pack, optional
        The data set it was trained on. Without it, or without an encoder, or where too few people
        are known to have any attribute, only principal components are found.
    attributes : sequence of str, optional
        Attributes that must be found; by default those of `STANDARD` that enough people have.
    hold_fixed : sequence of str, optional
        Attributes that the others do not change; by default head size, since in most things a
        large head has more of everything.
    components, samples
        As in `pca_directions`.
    report : callable, optional
        `report(done, total, note)` as the work goes on.

    Returns
    -------
    Directions
        Directions of attributes first, then "PC 1" and so on.

    Raises
    ------
    ModelError, RecipeError
        If `attributes` are given and one cannot be found.
    """
    from stylegan3d.direction_effects import check_edits, describe_components, measured_brains

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
            generator, people.w, people.attributes, people.held_out, wanted, fixed
        )
    say(2, 4, "describing components")
    found = describe_components(found, measured_brains(generator), people)
    if fitted is None:
        return found
    say(3, 4, "checking edits")
    return join(check_edits(generator, fitted), found)


def _usable(key: str, people: People) -> bool:
    """Whether enough people who differ are known to have the attribute."""
    values = _scaled(key, people.attributes[key])[~people.held_out]
    values = values[np.isfinite(values)]
    return len(values) >= FEWEST_TO_FIT and np.ptp(values) > 0
