"""Can a network learn to tell synthetic brains from real ones?

A classifier two-sample test (Lopez-Paz and Oquab 2017, "Revisiting classifier two-sample tests",
arXiv 1610.06545): a small 3D network is trained to tell two sets apart and tested on brains it has
not seen. If both come from one population it guesses: accuracy and area under the curve are 0.5.
It is not the discriminator the generator was trained against, so nothing was learned to fool it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor, nn

from stylegan3d.devices import workers
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.metrics.intervals import Interval, Z, bootstrap, wilson
from stylegan3d.progress import Progress

FOLDS, REPEATS, STEPS, BATCH = 5, 3, 160, 16
RATE, DECAY = 3e-3, 1e-2
CHANNELS = (8, 16, 32)
LEAST = 2 * FOLDS
# The network sees cubes, at full resolution, of so many voxels a side at most: texture gives
# synthetic brains away. They lie within the middle share of the grid.
SIDE, MIDDLE = 48, 0.7

# Repeat, fold, rows to learn from, rows to be tested on.
Task = tuple[int, int, np.ndarray, np.ndarray]


class Judge(nn.Module):
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
    """A cube of a volume uint8 [X, Y, Z], float32 in [0, 1]; `share` of the way along each axis."""
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
    progress: Progress | None = None,
) -> dict[str, Any]:
    """How well two sets are told apart, five-fold cross-validated three times.

    Parameters
    ----------
    first, second : ndarray, shape (n, X, Y, Z), uint8
        Equally many.
    people : sequence of str or None
        Whose brain each row of both is; a person's brains are never on both sides of a fold.
        Everybody another person by default.
    progress : Progress or None
        Called with how many trainings are done, of how many.

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
    n = len(first)
    if n != len(second) or n < LEAST:
        raise StyleGAN3DError(
            f"A two-sample test takes equally many volumes, at least {LEAST} of each, not {n} and "
            f"{len(second)}."
        )
    x, y = torch.from_numpy(np.concatenate([first, second])), np.repeat([1, 0], n)
    groups = list(range(2 * n)) if people is None else list(people)
    scores, done = np.zeros((REPEATS, 2 * n)), 0

    def judged(task: Task) -> tuple[Task, np.ndarray]:
        repeat, fold, known, held = task
        labels = torch.from_numpy(y[known]).float()
        judge = _trained(x[known], labels, (seed * REPEATS + repeat) * FOLDS + fold)
        return task, _scores(judge, x[held])

    with workers() as mapped:
        for (repeat, _, _, held), found in mapped(judged, _tasks(y, groups, seed)):
            scores[repeat, held] = found
            done += 1
            if progress is not None:
                progress(done, REPEATS * FOLDS)
    right = ((scores > 0) == (y == 1)).mean(axis=1)
    areas = np.array([_auc(row[:n], row[n:]) for row in scores])
    by_brains = bootstrap(
        lambda a, b: float(np.mean([_auc(a[:, k], b[:, k]) for k in range(REPEATS)])),
        scores[:, :n].T,
        scores[:, n:].T,
        draws=300,
        seed=seed,
    )
    return {
        "accuracy": float(right.mean()),
        "accuracy_interval": _widened(wilson(round(2 * n * right.mean()), 2 * n), right),
        "auc": float(areas.mean()),
        "auc_interval": _widened(by_brains, areas),
    }


def _tasks(y: np.ndarray, groups: Sequence[object], seed: int) -> Iterator[Task]:
    for repeat in range(REPEATS):
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed * REPEATS + repeat)
        for fold, (known, held) in enumerate(folds.split(y, y, groups)):
            yield repeat, fold, known, held


def _widened(interval: Interval, repeats: np.ndarray) -> Interval:
    """An interval over brains, with the luck of single trainings added in squares."""
    middle, luck = float(repeats.mean()), Z * float(repeats.std(ddof=1))
    low, high = (
        middle - np.hypot(middle - interval[0], luck),
        middle + np.hypot(interval[1] - middle, luck),
    )
    return max(float(low), 0.0), min(float(high), 1.0)


def _auc(first: np.ndarray, second: np.ndarray) -> float:
    labels = np.repeat([1, 0], (len(first), len(second)))
    return float(roc_auc_score(labels, np.concatenate([first, second])))


def _trained(x: Tensor, y: Tensor, seed: int) -> Judge:
    """Of volumes uint8 [n, X, Y, Z] and labels [n]; the same each time."""
    source = torch.Generator().manual_seed(seed)
    judge = Judge()
    for weight in judge.parameters():
        if weight.ndim > 1:
            nn.init.kaiming_normal_(weight, 0.2, generator=source)
    for layer in judge.modules():
        if isinstance(layer, (nn.Conv3d, nn.Linear)) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    optimiser = torch.optim.AdamW(judge.parameters(), lr=RATE, weight_decay=DECAY)
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
def _scores(judge: Judge, x: Tensor) -> np.ndarray:
    """Mean logit of the eight cubes in the corners of the middle, [n]."""
    corners = list(product((0.0, 1.0), repeat=3))
    rows = [judge(torch.stack([cube(v, at) for at in corners])[:, None]).mean() for v in x]
    return torch.stack(rows).double().numpy()
