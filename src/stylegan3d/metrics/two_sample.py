"""How well two sets can be told apart: area under the curve, classifiers, cross-validation.

A classifier two-sample test (Lopez-Paz and Oquab 2017, arXiv 1610.06545): if both sets come from
one population, accuracy and area under the curve are 0.5.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import brentq
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from stylegan3d.base import SILENT, Json, Progress, StyleGAN3DError
from stylegan3d.devices import eager, workers
from stylegan3d.metrics.comparison import Interval, Z, bootstrap, wilson


def areas(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Area under the curve of each of k scores, [n, k] of the first set and [m, k] of the second.

    The rank sum of Mann and Whitney 1947 (Annals of Mathematical Statistics 18); quick enough for a
    bootstrap.

    Returns
    -------
    ndarray, shape (k,)
        Share of pairs in which the first scores higher; ties count half.
    """
    n, m = len(first), len(second)
    ranks = rankdata(np.concatenate([first, second]), axis=0)[:n].sum(axis=0)
    return (ranks - n * (n + 1) / 2) / (n * m)


def stratified_auc(
    members: np.ndarray,
    others: np.ndarray,
    member_strata: Sequence[str],
    other_strata: Sequence[str],
) -> Json | None:
    """Compare members with others of the same stratum, such as the same scanner.

    The area of each stratum has the variance of DeLong et al. 1988 (Biometrics 44, eq. 4); areas
    are averaged with the number of pairs as weights. The interval is symmetric on the scale of the
    logit, so that it stays within 0 and 1. If every pair is in order that variance is 0, which is
    too optimistic; then the other end of the interval is the area L with 1 - L = 1.96 times its own
    standard error (Newcombe 2006, Statistics in Medicine 25, method 5; the variance of Hanley and
    McNeil 1982, Radiology 143, eq. 1).

    Parameters
    ----------
    members, others : ndarray, shape (n,)
        Scores.
    member_strata, other_strata : sequence of str
        Stratum of each; strata without two of each kind are ignored.

    Returns
    -------
    dict or None
        None if no stratum has two of each kind. "auc": share of pairs of a member and another in
        which the member scores higher; 0.5 is chance. "interval" of 95 %. "members" and "others"
        are the numbers compared, "median_member" and "median_other" their median scores.
        "tells_apart": whether the interval leaves out chance.
    """
    areas, variances, compared = [], [], []
    for stratum in sorted(set(member_strata)):
        a = members[[other == stratum for other in member_strata]]
        b = others[[other == stratum for other in other_strata]]
        if min(len(a), len(b)) < 2:
            continue
        area, variance = _delong(a, b)
        areas.append(area)
        variances.append(variance)
        compared.append((a, b))
    if not areas:
        return None
    pairs = np.array([len(a) * len(b) for a, b in compared])
    value = float(np.average(areas, weights=pairs))
    variance = float((pairs / pairs.sum()) ** 2 @ np.array(variances))
    a, b = map(np.concatenate, zip(*compared, strict=True))
    n, m = len(a), len(b)
    low, high = _logit_interval(value, variance, n, m)
    return {
        "auc": value,
        "interval": (low, high),
        "members": n,
        "others": m,
        "tells_apart": not low <= 0.5 <= high,
        "median_member": float(np.median(a)),
        "median_other": float(np.median(b)),
    }


def _delong(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Area under the curve and its variance."""
    order = (a[:, None] > b) + 0.5 * (a[:, None] == b)
    variance = order.mean(axis=1).var(ddof=1) / len(a) + order.mean(axis=0).var(ddof=1) / len(b)
    return float(order.mean()), float(variance)


def _logit_interval(value: float, variance: float, n: int, m: int) -> Interval:
    if value in (0.0, 1.0):
        bound = brentq(
            lambda area: 1 - area - Z * np.sqrt(_hanley_mcneil(area, n, m)), 0.0, 1 - 1e-9
        )
        return (float(bound), 1.0) if value else (0.0, 1 - float(bound))
    middle, error = np.log(value / (1 - value)), np.sqrt(variance) / (value * (1 - value))
    low, high = (1 / (1 + np.exp(-(middle + sign * Z * error))) for sign in (-1, 1))
    return float(low), float(high)


def _hanley_mcneil(area: float, n: int, m: int) -> float:
    """Variance of an area under exponential scores; n members and m others as in Newcombe 2006."""
    each = (n + m) / 2 - 1
    spread = 1 + each * (1 - area) / (2 - area) + each * area / (1 + area)
    return area * (1 - area) * spread / (n * m)


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
        Wilson's and a bootstrap, over people, both widened by the spread of the repeats.
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
        return {name: value for name, value in vars(self).items() if name != "scores"}


def check_counts(n: int, m: int) -> None:
    """StyleGAN3DError if two sets have fewer brains than a two-sample test needs."""
    if min(n, m) < LEAST:
        raise StyleGAN3DError(
            f"A two-sample test takes at least {LEAST} volumes of each kind, not {n} and {m}."
        )


def _rows_of(people: Sequence[object]) -> list[list[int]]:
    """The rows of each person."""
    rows: dict[object, list[int]] = {}
    for row, who in enumerate(people):
        rows.setdefault(who, []).append(row)
    return [*rows.values()]


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
        If there are fewer than ten of either, or fewer than five people.
    """
    n, m = counts
    check_counts(n, m)
    y = np.repeat([1, 0], counts)
    groups = list(range(n + m)) if people is None else list(people)
    whose = _rows_of(groups[:n]), _rows_of(groups[n:])
    fewest = min(map(len, whose))
    if fewest < FOLDS:
        raise StyleGAN3DError(f"A two-sample test takes at least {FOLDS} people of each kind.")
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

    def area_of(*drawn: np.ndarray) -> float:
        """The area for people who were drawn, with all of their brains."""
        a, b = (np.concatenate([of[k] for k in few]) for of, few in zip(whose, drawn, strict=True))
        return float(areas(first.T[a], second.T[b]).mean())

    by_people = bootstrap(area_of, *(np.arange(len(of)) for of in whose), draws=DRAWS, seed=seed)
    fewest *= 2  # as if both sets were as small as the smaller one
    return Classification(
        float(right.mean()),
        _widened(wilson(round(fewest * right.mean()), fewest), right),
        float(area.mean()),
        _widened(by_people, area),
        scores.mean(axis=0),
    )


def classify_by_measures(
    first: np.ndarray, second: np.ndarray, people: Sequence[object] | None = None, *, seed: int = 0
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
        If there are fewer than ten of either, all of one person, or their measures differ.
    """
    rows = len(first) + len(second)
    whose = rows if people is None else len(people)
    if np.ndim(first) != 2 or np.shape(first)[1:] != np.shape(second)[1:] or whose != rows:
        raise StyleGAN3DError(
            f"Tables of {np.shape(first)} and {np.shape(second)} values cannot be compared: give "
            "two with the same measures, a row for each brain, and a person for each row."
        )
    x = np.vstack([first, second]).astype(float)
    finite = np.isfinite(x)
    if not finite.all():
        known = finite.any(axis=0)
        means = np.nanmean(np.where(finite, x, np.nan)[:, known], axis=0)
        x = np.column_stack([np.where(finite[:, known], x[:, known], means), finite.all(axis=1)])
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
    below, above = np.hypot([middle - interval[0], interval[1] - middle], luck)
    return max(float(middle - below), 0.0), min(float(middle + above), 1.0)


STEPS, BATCH = 160, 16
RATE, DECAY = 3e-3, 1e-2
CHANNELS = (8, 16, 32)
# The network sees full-resolution cubes up to this size, since texture is informative, within the
# central share of the grid.
SIDE, MIDDLE = 48, 0.7


class CubeJudge(nn.Module):
    """Three strided convolutions, means over space, one logit; 18,000 weights."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c = CHANNELS
        self.body = nn.Sequential(
            nn.Conv3d(1, a, 3, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv3d(a, b, 3, 2, 1),
            nn.BatchNorm3d(b),
            nn.LeakyReLU(0.2),
            nn.Conv3d(b, c, 3, 2, 1),
            nn.BatchNorm3d(c),
            nn.LeakyReLU(0.2),
        )
        self.head = nn.Linear(c, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1, X, Y, Z] in [0, 1] -> logits [N], above 0 for the first set."""
        return self.head(self.body(x).mean((2, 3, 4)))[:, 0]


def cube(volume: Tensor, share: Sequence[float]) -> Tensor:
    """A cube of a volume uint8 [X, Y, Z], float32 in [0, 1], at relative positions."""
    side = min(SIDE, int(MIDDLE * min(volume.shape)))
    starts = [
        round((1 - MIDDLE) / 2 * n + t * (MIDDLE * n - side))
        for n, t in zip(volume.shape, share, strict=True)
    ]
    x, y, z = (slice(start, start + side) for start in starts)
    return volume[x, y, z].float() / 255


def two_sample(
    first: np.ndarray,
    second: np.ndarray,
    people: Sequence[str] | None = None,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Json:
    """How well two sets can be distinguished, by five-fold cross-validation repeated three times.

    Parameters
    ----------
    first, second : ndarray, shape (n, X, Y, Z), uint8
    people : sequence of str or None
        Subject of each row of both; a subject's brains are always in the same fold. By default all
        rows are different subjects.
    progress : Progress
        Called with trainings done and total.

    Returns
    -------
    dict
        "accuracy" and "auc" of held-out brains with "accuracy_interval" (Wilson) and "auc_interval"
        (bootstrap over brains), both widened by the spread of the repeats.

    Raises
    ------
    StyleGAN3DError
        If there are fewer than ten of each.
    """
    counts = len(first), len(second)
    x = torch.from_numpy(np.concatenate([first, second]))
    labels = torch.from_numpy(np.repeat([1.0, 0.0], counts)).float()

    def classifier(known: np.ndarray, held: np.ndarray, number: int) -> np.ndarray:
        return _scores(_trained(x[known], labels[known], number), x[held])

    with workers() as mapped:
        told = cross_validated(
            counts, people, classifier, seed=seed, mapped=mapped, progress=progress
        )
    return told.to_dict()


def _trained(x: Tensor, y: Tensor, seed: int) -> CubeJudge:
    """Train on volumes uint8 [n, X, Y, Z] and labels [n]; deterministic."""
    source = torch.Generator().manual_seed(seed)
    judge = CubeJudge()
    for weight in judge.parameters():
        if weight.ndim > 1:
            nn.init.kaiming_normal_(weight, 0.2, generator=source)
    for layer in judge.modules():
        if isinstance(layer, (nn.Conv3d, nn.Linear)) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    optimiser = eager(torch.optim.AdamW)(judge.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=STEPS)
    for _ in range(STEPS):
        rows = torch.randperm(len(x), generator=source)[:BATCH]
        shares = torch.rand(len(rows), 3, generator=source).tolist()
        cubes = torch.stack([cube(x[row], share) for row, share in zip(rows, shares, strict=True)])
        loss = F.binary_cross_entropy_with_logits(judge(cubes[:, None]), y[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return judge.eval()


@torch.no_grad()
def _scores(judge: CubeJudge, x: Tensor) -> np.ndarray:
    """Mean logit of eight cubes around the centre, [n]."""
    corners = list(product((0.0, 1.0), repeat=3))
    rows = [judge(torch.stack([cube(v, at) for at in corners])[:, None]).mean() for v in x]
    return torch.stack(rows).double().numpy()
