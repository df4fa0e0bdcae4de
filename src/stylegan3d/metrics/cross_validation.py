"""How well a classifier distinguishes two sets of brains that it was not trained on.

A classifier two-sample test (Lopez-Paz and Oquab 2017, arXiv 1610.06545): if both sets come from
one population, accuracy and area under the curve are 0.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.metrics.auc import areas
from stylegan3d.metrics.intervals import Interval, Z, bootstrap, wilson
from stylegan3d.plain import Json
from stylegan3d.progress import SILENT, Progress

FOLDS, REPEATS = 5, 3
LEAST = 2 * FOLDS
DRAWS = 300

# Rows to learn from, rows to be tested on, a number to draw from -> scores of the latter, above 0
# for the first set.
Classifier = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


@dataclass(frozen=True, eq=False)
class Classification:
    """What `cross_validated` found.

    Attributes
    ----------
    accuracy, auc : float
        Mean of the shares of both sets that are classified correctly, and the area under the curve.
    accuracy_interval, auc_interval : tuple of float
        Wilson's and a bootstrap over brains, both widened by the spread of the repeats.
    scores : ndarray
        [n] mean score of each brain while it was not learned from, above 0 for the first set.
    """

    accuracy: float
    accuracy_interval: Interval
    auc: float
    auc_interval: Interval
    scores: np.ndarray

    def to_dict(self) -> Json:
        """The figures, plain for JSON."""
        return {
            "accuracy": self.accuracy,
            "accuracy_interval": self.accuracy_interval,
            "auc": self.auc,
            "auc_interval": self.auc_interval,
        }


def cross_validated(
    counts: tuple[int, int],
    people: Sequence[object] | None,
    classifier: Classifier,
    *,
    seed: int = 0,
    mapped: Callable[..., Iterable[Any]] = map,
    progress: Progress = SILENT,
) -> Classification:
    """Five-fold cross-validation, three times.

    Parameters
    ----------
    counts : tuple of int
        Numbers of brains in the first set and in the second, whose rows follow in this order.
    people : sequence or None
        Whose brain each row is; a person's brains are never on both sides of a fold. Everybody is
        another person by default.
    classifier : Classifier
        Learns from some rows, and classifies others.
    mapped : callable
        A `map`, such as that of `devices.workers`.
    progress : Progress
        Called with the number of trainings done and of all.

    Raises
    ------
    StyleGAN3DError
        If there are fewer than ten of either.
    """
    n, m = counts
    if min(counts) < LEAST:
        raise StyleGAN3DError(
            f"A two-sample test takes at least {LEAST} volumes of each kind, not {n} and {m}."
        )
    y = np.repeat([1, 0], counts)
    groups = list(range(n + m)) if people is None else list(people)
    tasks = []
    for repeat in range(REPEATS):
        number = seed * REPEATS + repeat
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=number)
        for fold, (known, held) in enumerate(folds.split(y, y, groups)):
            tasks.append((repeat, known, held, number * FOLDS + fold))
    scores = np.zeros((REPEATS, n + m))
    told = mapped(lambda task: classifier(*task[1:]), tasks)
    for done, ((repeat, _, held, _), found) in enumerate(zip(tasks, told, strict=True), 1):
        scores[repeat, held] = found
        progress(done, len(tasks))
    first, second = scores[:, :n], scores[:, n:]
    right = ((first > 0).mean(axis=1) + (second <= 0).mean(axis=1)) / 2
    area = areas(first.T, second.T)
    by_brains = bootstrap(
        lambda a, b: float(areas(a, b).mean()), first.T, second.T, draws=DRAWS, seed=seed
    )
    # As if both sets were as small as the smaller one.
    fewest = 2 * min(counts)
    return Classification(
        float(right.mean()),
        _widened(wilson(round(fewest * right.mean()), fewest), right),
        float(area.mean()),
        _widened(by_brains, area),
        scores.mean(axis=0),
    )


def classify_by_measures(
    first: np.ndarray,
    second: np.ndarray,
    people: Sequence[object] | None = None,
    *,
    seed: int = 0,
) -> Classification:
    """How well a logistic regression on measures distinguishes two sets.

    Parameters
    ----------
    first, second : ndarray
        [n, measures] and [m, measures], such as of `measures.tissue_shape`. What is not finite
        counts as the mean; if anything is, whether a row is complete is one more measure.
    people : ndarray
        Whose brain each row of both is, see `cross_validated`.

    Raises
    ------
    StyleGAN3DError
        If there are fewer than ten of either.
    """
    x = np.vstack([first, second]).astype(float)
    finite = np.isfinite(x)
    if not finite.all():
        known = finite.any(axis=0)
        means = np.nanmean(np.where(finite, x, np.nan)[:, known], axis=0)
        filled = np.where(finite[:, known], x[:, known], means)
        x = np.column_stack([filled, finite.all(axis=1)])
    y = np.repeat([1, 0], (len(first), len(second)))

    def classifier(known: np.ndarray, held: np.ndarray, number: int) -> np.ndarray:
        judge = make_pipeline(
            StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000)
        )
        return np.asarray(judge.fit(x[known], y[known]).decision_function(x[held]))

    return cross_validated((len(first), len(second)), people, classifier, seed=seed)


def _widened(interval: Interval, repeats: np.ndarray) -> Interval:
    """An interval over brains, with the luck of single trainings added in squares."""
    middle, luck = float(repeats.mean()), Z * float(repeats.std(ddof=1))
    low, high = (
        middle - np.hypot(middle - interval[0], luck),
        middle + np.hypot(interval[1] - middle, luck),
    )
    return max(float(low), 0.0), min(float(high), 1.0)
