"""Checks of attribute directions on held-out subjects."""

from __future__ import annotations

import numpy as np

from stylegan3d.directions.people import NAMES, SEX, UNITS
from stylegan3d.errors import RecipeError
from stylegan3d.plain import Json, JsonView

#: Attributes on a logarithmic scale: held-out R2 of log ventricle volume was 0.94, else 0.84.
LOGARITHMIC = frozenset({"ventricle_ml"})
#: Least number of subjects for a figure.
FEWEST_TO_CHECK = 5


def name_of(key: str) -> str:
    """Displayed name of an attribute: "mini_mental" -> "Mini mental"."""
    return NAMES.get(key, key.replace("_", " ").capitalize())


def scaled(key: str, values: np.ndarray) -> np.ndarray:
    """Values as used in regressions, float64; NaN where a logarithm is undefined."""
    values = np.asarray(values, dtype=np.float64)
    if key not in LOGARITHMIC:
        return values
    return np.log(np.where(values > 0, values, np.nan))


def check(
    key: str, guess: np.ndarray, truth: np.ndarray, values: np.ndarray, held_out: np.ndarray
) -> Json:
    """Check the prediction of one attribute; plain data.

    Parameters
    ----------
    key : str
        The attribute.
    guess, truth : ndarray, shape (n,)
        Predicted and true deviation from the group mean, on the scale of `scaled`; NaN in `truth`
        where unknown.
    values : ndarray, shape (n,)
        The attribute itself.
    held_out : ndarray, shape (n,), bool

    Returns
    -------
    dict
        See `attributes.attribute_directions`.
    """
    known = np.isfinite(truth)
    fit, held = known & ~held_out, known & held_out
    record: Json = {"name": name_of(key), "attribute": key, "unit": UNITS.get(key, "")}
    record["scale"] = "factor" if key in LOGARITHMIC else "linear"
    record |= {"n_fit": int(fit.sum()), "n_check": int(held.sum())}
    true, said = truth[held], guess[held]
    if held.sum() < FEWEST_TO_CHECK or np.ptp(true) == 0:
        return record
    record["r"] = _rounded(np.corrcoef(true, said)[0, 1])
    record["chance"] = _rounded(_chance(true, said))
    if set(np.unique(values[known])) <= {0.0, 1.0}:
        if len(np.unique(values[held])) < 2:
            return record
        from sklearn.metrics import roc_auc_score

        return record | {"auc": _rounded(roc_auc_score(values[held], said)), "baseline": 0.5}
    record["r2"] = _rounded(1 - ((true - said) ** 2).sum() / (true**2).sum())
    value = values[held]
    mean = scaled(key, value) - true  # of the subject's group
    if key in LOGARITHMIC:
        mean, said = np.exp(mean), np.exp(mean + said)
    else:
        said = mean + said
    record["mae"] = _rounded(np.abs(value - said).mean())
    record["baseline"] = _rounded(np.abs(value - mean).mean())
    return record


def describe(told: JsonView) -> str:
    """Such as "+13 years per sd, head size held fixed (r = 0.84 in 27 held-out subjects)"."""
    key, per_unit = told["attribute"], told["per_unit"]
    if key == SEX:
        text = "from female to male"
    elif told["scale"] == "factor":
        text = f"+{100 * (per_unit - 1):.0f} % per sd"
    else:
        text = f"+{per_unit:.3g} {told['unit']}".rstrip() + " per sd"
    if told["held_fixed"]:
        text += f", {' and '.join(told['held_fixed']).lower()} held fixed"
    if "r" not in told:
        return text + " (not validated: too few subjects)"
    figure = f"AUC = {told['auc']:.2f}" if "auc" in told else f"r = {told['r']:.2f}"
    if "folds" in told:
        return f"{text} ({figure} in {told['folds']}-fold cross-validation, n = {told['n_check']})"
    return f"{text} ({figure} in {told['n_check']} held-out subjects)"


def _chance(truth: np.ndarray, guess: np.ndarray, orders: int = 2000) -> float:
    """|r| that 5 % of random permutations of the subjects reach."""
    draw = np.random.RandomState(0)
    found = [abs(np.corrcoef(draw.permutation(truth), guess)[0, 1]) for _ in range(orders)]
    return float(np.percentile(found, 95))


def _rounded(value: float) -> float:
    return round(float(value), 4)


# The ridge regression that predicts an attribute from w.

#: Least number of subjects to fit a direction.
FEWEST_TO_FIT = 20
PENALTIES = np.logspace(-3, 5, 33)


def regress(key: str, w: np.ndarray, target: np.ndarray, fit: np.ndarray) -> np.ndarray:
    """Ridge coefficients `(w_dim,)`, with the penalty chosen by leave-one-out error.

    `w` `(n, w_dim)` and `target` `(n,)` are deviations from a mean; `fit` `(n,)` selects subjects.
    RecipeError if they are too few, all equal, or w does not predict the target.
    """
    from sklearn.linear_model import RidgeCV

    known = fit & np.isfinite(target)
    if known.sum() < FEWEST_TO_FIT or np.ptp(target[known]) == 0:
        raise RecipeError(
            f"{name_of(key)} is known for only {known.sum()} subjects, or is the same in all: "
            f"a direction needs at least {FEWEST_TO_FIT} subjects that differ."
        )
    penalties = PENALTIES * w[known].var(axis=0).mean()
    beta = RidgeCV(alphas=penalties).fit(w[known], target[known]).coef_
    if not np.linalg.norm(beta) > 0:
        raise RecipeError(f"{name_of(key)} is unrelated to w in these subjects.")
    return beta
