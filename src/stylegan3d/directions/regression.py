"""The ridge regression that predicts an attribute from w."""

from __future__ import annotations

import numpy as np

from stylegan3d.directions.checks import name_of
from stylegan3d.errors import RecipeError

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
