"""Classifier two-sample test: can a network distinguish synthetic from real brains?

A small 3D network is trained to classify two sets and tested on unseen brains, see
`cross_validation`. It is independent of the discriminator the generator was trained against.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.devices import workers
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.metrics.cross_validation import LEAST, cross_validated
from stylegan3d.plain import Json
from stylegan3d.progress import SILENT, Progress

STEPS, BATCH = 160, 16
RATE, DECAY = 3e-3, 1e-2
CHANNELS = (8, 16, 32)
# The network sees full-resolution cubes up to this size, since texture is informative, within the
# central share of the grid.
SIDE, MIDDLE = 48, 0.7


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
        Of equal length.
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
    n = len(first)
    if n != len(second) or n < LEAST:
        raise StyleGAN3DError(
            f"A two-sample test takes equally many volumes, at least {LEAST} of each, not {n} and "
            f"{len(second)}."
        )
    x = torch.from_numpy(np.concatenate([first, second]))
    labels = torch.from_numpy(np.repeat([1.0, 0.0], n)).float()

    def classifier(known: np.ndarray, held: np.ndarray, number: int) -> np.ndarray:
        return _scores(_trained(x[known], labels[known], number), x[held])

    with workers() as mapped:
        told = cross_validated(
            (n, n), people, classifier, seed=seed, mapped=mapped, progress=progress
        )
    return told.to_dict()


def _trained(x: Tensor, y: Tensor, seed: int) -> Judge:
    """Train on volumes uint8 [n, X, Y, Z] and labels [n]; deterministic."""
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
    """Mean logit of eight cubes around the centre, [n]."""
    corners = list(product((0.0, 1.0), repeat=3))
    rows = [judge(torch.stack([cube(v, at) for at in corners])[:, None]).mean() for v in x]
    return torch.stack(rows).double().numpy()
