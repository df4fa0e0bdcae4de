"""Cross-validated ridge regression of a label on the subjects' scores.

With as many scores as subjects, unregularised regression overfits: ridge regression (Hoerl, Kennard
1970, doi:10.1080/00401706.1970.10488634) shrinks directions with little variance, with a
cross-validated penalty; explained variance is that of held-out subjects (Stone 1974,
doi:10.1111/j.2517-6161.1974.tb00994.x).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

#: Penalties, relative to the mean squared length of a subject's scores.
PENALTIES = torch.logspace(-3, 3, 19, dtype=torch.float64)
FOLDS = 5
#: Least number of subjects.
FEWEST = FOLDS + 1


def foreseen_share(x: Tensor, y: Tensor) -> tuple[Tensor, float]:
    """Ridge regression of a label on scores.

    Parameters
    ----------
    x : Tensor, shape (n, K), float64
        Centred scores of subjects, scaled by importance: weights along short directions are shrunk
        more.
    y : Tensor, shape (n,), float64
        Centred label.

    Returns
    -------
    weights : Tensor, shape (K,)
        With the cross-validated penalty.
    share : float
        Share of the variance of y predicted in held-out subjects by nested cross-validation, 0 to
        1.
    """
    none = torch.zeros(x.shape[1], dtype=x.dtype), 0.0
    if len(y) < FEWEST or not float(y.square().sum()) > 0 or not float(x.square().sum()) > 0:
        return none
    guesses = torch.zeros_like(y)
    for rest, here in _splits(len(y)):
        penalty = _best_penalty(x[rest], y[rest])
        guesses[here] = (x[here] @ _weights(x[rest], y[rest], PENALTIES[penalty, None]))[:, 0]
    share = 1 - float((y - guesses).square().sum() / y.square().sum())
    if share <= 0:
        return none
    return _weights(x, y, PENALTIES[_best_penalty(x, y), None])[:, 0], share


def _best_penalty(x: Tensor, y: Tensor) -> int:
    """Index of the penalty with the least squared error on held-out subjects."""
    errors = torch.zeros(len(PENALTIES), dtype=y.dtype)
    for rest, here in _splits(len(y)):
        guesses = x[here] @ _weights(x[rest], y[rest], PENALTIES)
        errors += (guesses - y[here, None]).square().sum(dim=0)
    # The largest of equally good penalties.
    return len(PENALTIES) - 1 - int(errors.flip(0).argmin())


def _weights(x: Tensor, y: Tensor, penalties: Tensor) -> Tensor:
    """Ridge regressions of y [n] on x [n, K] without a constant, [K, penalties]."""
    left, lengths, right = torch.linalg.svd(x, full_matrices=False)
    squares = lengths.square()[:, None]
    held_back = squares + penalties * squares.sum() / len(y)
    return right.T @ (lengths[:, None] * (left.T @ y)[:, None] / held_back)


def _splits(count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Deterministic folds: indices to fit and to hold out."""
    folds = torch.randperm(count, generator=torch.Generator().manual_seed(0)) % FOLDS
    for fold in range(FOLDS):
        yield (folds != fold).nonzero()[:, 0], (folds == fold).nonzero()[:, 0]


def within(values: Tensor, groups: Tensor) -> Tensor:
    """Rows [n, m] minus their group's mean, ignoring NaN."""
    result = torch.full_like(values, torch.nan)
    for group in groups.unique():
        mine = groups == group
        result[mine] = values[mine] - values[mine].nanmean(dim=0)
    return result
