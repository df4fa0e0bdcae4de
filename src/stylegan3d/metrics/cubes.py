"""Where synthetic brains are told from real ones: a small network that sees one cube at a time.

A whole brain may pass while its cortex does not. The network of `two_sample` learns from cubes of
32 mm anywhere in the brain, and is tested on cubes of people and brains it has not seen; which
region a cube lies in, and which cubes are told most surely, says what to look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor

from stylegan3d.devices import workers
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.geometry.space import Space
from stylegan3d.measures.regions import NAMES, region_masks
from stylegan3d.metrics.cross_validation import LEAST
from stylegan3d.metrics.intervals import Interval, bootstrap
from stylegan3d.metrics.two_sample import Judge, new_judge
from stylegan3d.progress import Progress

SIDE_MM = 32.0
# Cubes that are tested lie this far apart.
APART_MM = 24.0
FOLDS, STEPS, BATCH = 3, 300, 64
RATE, DECAY = 3e-3, 1e-2
DRAWS = 200


@dataclass(frozen=True, eq=False)
class CubesTold:
    """What `told_by_cubes` found.

    Attributes
    ----------
    scores : ndarray
        [brains, cubes] logits of cubes not learned from, above 0 for the first set.
    corners : ndarray, int
        [cubes, 3] first voxel of each; the same in every brain.
    side : int
        Voxels along an edge.
    regions : list of str
        Where the middle of each lies.
    counts : tuple of int
        Brains of the first and the second set.
    """

    scores: np.ndarray
    corners: np.ndarray
    side: int
    regions: list[str]
    counts: tuple[int, int]

    def accuracy(self, region: str | None = None) -> tuple[float, Interval]:
        """Share of cubes told rightly, mean of both sets; interval by a bootstrap over brains.

        Parameters
        ----------
        region : str or None
            Of cubes there only.
        """
        chosen = [region in (None, name) for name in self.regions]
        right = self.scores[:, chosen] > 0
        n = self.counts[0]
        first, second = right[:n].mean(axis=1), 1 - right[n:].mean(axis=1)

        def share(a: np.ndarray, b: np.ndarray) -> float:
            return float(a.mean() + b.mean()) / 2

        return share(first, second), bootstrap(share, first, second)

    def auc(self) -> tuple[float, Interval]:
        """Area under the curve of all cubes together; interval by a bootstrap over brains."""

        def area(a: np.ndarray, b: np.ndarray) -> float:
            labels = np.repeat([1, 0], (a.size, b.size))
            return float(roc_auc_score(labels, np.concatenate([a.ravel(), b.ravel()])))

        first, second = self.scores[: self.counts[0]], self.scores[self.counts[0] :]
        return area(first, second), bootstrap(area, first, second, draws=DRAWS)

    def surest(self, count: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Brain and cube of those told most surely of each set, at most one of each brain."""
        n = self.counts[0]
        found = []
        for rows, sign in ((range(n), 1), (range(n, sum(self.counts)), -1)):
            best = [(row, int(np.argmax(sign * self.scores[row]))) for row in rows]
            best.sort(key=lambda place: -sign * self.scores[place])
            found.append(best[:count])
        return found[0], found[1]


def told_by_cubes(
    first: np.ndarray,
    second: np.ndarray,
    people: Sequence[object],
    mask: np.ndarray,
    space: Space,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> CubesTold:
    """How well cubes of two sets are told apart, three-fold cross-validated by person.

    Parameters
    ----------
    first, second : ndarray, shape (n, X, Y, Z), (m, X, Y, Z), uint8
        Volumes of a pack.
    people : sequence of object
        Whose brain each row of both is; a person's brains are never on both sides of a fold.
    mask : ndarray, shape (X, Y, Z), bool
        Where brains are.
    space : Space
        The grid.
    seed : int
        Of folds, weights and cubes.
    progress : callable or None
        Called with how many trainings are done, of how many.

    Raises
    ------
    StyleGAN3DError
        If there are fewer than ten of either, or the grid holds no such cube.
    """
    counts = len(first), len(second)
    if min(counts) < LEAST:
        raise StyleGAN3DError(
            f"Cubes are told apart with at least {LEAST} volumes of each kind, not {counts[0]} and "
            f"{counts[1]}."
        )
    side = round(SIDE_MM / float(np.mean(space.voxel_size)))
    corners, regions = _tested(mask, space, side)
    if not len(corners):
        raise StyleGAN3DError("This grid is too small for cubes of 32 mm.")
    x = torch.from_numpy(np.concatenate([first, second]))
    y = np.repeat([1, 0], counts)
    inside = np.argwhere(mask)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(y, y, list(people))
    scores = np.zeros((len(x), len(corners)))

    def judged(task: tuple[int, tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        number, (known, held) = task
        labels = torch.from_numpy(y[known]).float()
        judge = _trained(x[known], labels, inside, side, seed * FOLDS + number)
        return held, _scores(judge, x[held], corners, side)

    with workers() as mapped:
        for done, (held, found) in enumerate(mapped(judged, enumerate(folds)), 1):
            scores[held] = found
            if progress is not None:
                progress(done, FOLDS)
    return CubesTold(scores, corners, side, regions, counts)


def _tested(mask: np.ndarray, space: Space, side: int) -> tuple[np.ndarray, list[str]]:
    """First voxels of the cubes whose middle lies in the brain, and the regions there."""
    apart = max(round(APART_MM / float(np.mean(space.voxel_size))), 1)
    axes = [np.arange((n - side) % apart // 2, n - side + 1, apart) for n in mask.shape]
    corners = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    middles = corners + side // 2
    corners = corners[mask[tuple(middles.T)]]
    names = np.zeros(mask.size, int)
    for name, where in region_masks(mask, space).items():
        names[where] = 1 + NAMES.index(name.removeprefix("left ").removeprefix("right "))
    flat = np.ravel_multi_index(tuple((corners + side // 2).T), mask.shape)
    return corners, [NAMES[number - 1] for number in names[flat]]


def cut(volume: Tensor, corner: np.ndarray, side: int) -> Tensor:
    """A cube of a volume uint8 [X, Y, Z], float32 in [0, 1]."""
    x, y, z = (slice(int(c), int(c) + side) for c in corner)
    return volume[x, y, z].float() / 255


def _trained(x: Tensor, y: Tensor, inside: np.ndarray, side: int, seed: int) -> Judge:
    source = np.random.default_rng(seed)
    judge = new_judge(torch.Generator().manual_seed(seed))
    optimiser = torch.optim.AdamW(judge.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=STEPS)
    most = np.array(x.shape[1:]) - side
    for _ in range(STEPS):
        rows = source.integers(len(x), size=BATCH)
        middles = inside[source.integers(len(inside), size=BATCH)]
        corners = np.clip(middles - side // 2, 0, most)
        cubes = [cut(x[row], corner, side) for row, corner in zip(rows, corners, strict=True)]
        loss = F.binary_cross_entropy_with_logits(judge(torch.stack(cubes)[:, None]), y[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return judge.eval()


@torch.no_grad()
def _scores(judge: Judge, x: Tensor, corners: np.ndarray, side: int) -> np.ndarray:
    rows = [judge(torch.stack([cut(v, at, side) for at in corners])[:, None]) for v in x]
    return torch.stack(rows).double().numpy()
