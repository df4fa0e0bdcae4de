"""Can a network learn to tell synthetic brains from real ones?

A classifier two-sample test (Lopez-Paz and Oquab 2017, "Revisiting classifier two-sample tests",
arXiv 1610.06545): a small 3D network is trained to tell two sets apart and tested on brains it has
not seen. If both come from one population it guesses: accuracy and area under the curve are 0.5.
It is not the discriminator the generator was trained against, so nothing was learned to fool it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor, nn

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.metrics.intervals import bootstrap, wilson
from stylegan3d.metrics.sampling import unit
from stylegan3d.metrics.workers import workers

FOLDS, EPOCHS, BATCH = 5, 24, 16
RATE, DECAY = 3e-3, 1e-2
CHANNELS = (8, 16, 32)
LEAST = 2 * FOLDS

Progress = Callable[[int, int], None]


class Judge(nn.Module):
    """Three strided convolutions, means and maxima over space, one logit; 20,000 weights."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c = CHANNELS
        self.body = nn.Sequential(
            nn.Conv3d(1, a, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv3d(a, b, 3, 2, 1),
            nn.GroupNorm(4, b),
            nn.LeakyReLU(0.2),
            nn.Conv3d(b, c, 3, 2, 1),
            nn.GroupNorm(4, c),
            nn.LeakyReLU(0.2),
        )
        self.head = nn.Linear(2 * c, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1, X, Y, Z] in [0, 1] -> logits [N], above 0 for the first set."""
        maps = self.body(x)
        return self.head(torch.cat([maps.mean((2, 3, 4)), maps.amax((2, 3, 4))], 1))[:, 0]


def halved(volumes: Iterable[np.ndarray]) -> Tensor:
    """Volumes at half resolution, [n, 1, X / 2, Y / 2, Z / 2] in [0, 1]."""
    return torch.stack([F.avg_pool3d(torch.from_numpy(unit(v))[None], 2) for v in volumes])


def two_sample(
    first: Tensor,
    second: Tensor,
    people: Sequence[str] | None = None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """How well two sets are told apart, five-fold cross-validated.

    Parameters
    ----------
    first, second : [n, 1, X, Y, Z] in [0, 1], equally many.
    people : whose brain each row of both is; a person's brains are never on both sides of a fold.
        Everybody another person by default.
    progress : called with how many trainings are done, of how many.

    Returns
    -------
    dict
        "accuracy" and "auc" of held-out brains with "accuracy_interval" (Wilson) and
        "auc_interval" (bootstrap over brains).

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
    x, y = torch.cat([first, second]), np.repeat([1, 0], n)
    groups = list(range(2 * n)) if people is None else list(people)
    scores, done = np.zeros(2 * n), 0
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)

    def judged(
        numbered: tuple[int, tuple[np.ndarray, np.ndarray]],
    ) -> tuple[np.ndarray, np.ndarray]:
        fold, (known, held) = numbered
        labels = torch.from_numpy(y[known]).float()
        return held, _scores(_trained(x[known], labels, seed * FOLDS + fold), x[held])

    with workers() as mapped:
        for held, found in mapped(judged, enumerate(folds.split(y, y, groups))):
            scores[held] = found
            done += 1
            if progress is not None:
                progress(done, FOLDS)
    right = int(((scores > 0) == (y == 1)).sum())
    return {
        "accuracy": right / (2 * n),
        "accuracy_interval": wilson(right, 2 * n),
        "auc": _auc(scores[:n], scores[n:]),
        "auc_interval": bootstrap(_auc, scores[:n], scores[n:], draws=500, seed=seed),
    }


def _auc(first: np.ndarray, second: np.ndarray) -> float:
    labels = np.repeat([1, 0], (len(first), len(second)))
    return float(roc_auc_score(labels, np.concatenate([first, second])))


def _trained(x: Tensor, y: Tensor, seed: int) -> Judge:
    """Of volumes [n, 1, X, Y, Z] and labels [n]; the same each time."""
    source = torch.Generator().manual_seed(seed)
    judge = Judge()
    for weight in judge.parameters():
        if weight.ndim > 1:
            nn.init.kaiming_normal_(weight, 0.2, generator=source)
    nn.init.zeros_(judge.head.weight)
    nn.init.zeros_(judge.head.bias)
    optimiser = torch.optim.AdamW(judge.parameters(), lr=RATE, weight_decay=DECAY)
    steps = EPOCHS * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x), generator=source).split(BATCH):
            loss = F.binary_cross_entropy_with_logits(judge(x[rows]), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return judge.eval()


@torch.no_grad()
def _scores(judge: Judge, x: Tensor) -> np.ndarray:
    return torch.cat([judge(rows) for rows in x.split(BATCH)]).double().numpy()
