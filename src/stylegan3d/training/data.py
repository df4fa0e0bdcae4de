"""Batches of augmented volumes, prepared in the background and reproducible after resuming."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count

import numpy as np
import torch
from torch import Tensor

from stylegan3d.dataset.pack import Pack
from stylegan3d.training.augment import augment
from stylegan3d.training.config import TrainConfig
from stylegan3d.training.draws import Purpose, generator_for


class Batches:
    """Endless batches of training volumes.

    Volumes and augmentation of a step depend only on seed and step number. Every epoch uses each
    volume once, in a new order.

    Parameters
    ----------
    samples : sequence of int, ndarray or None
        Numbers of this process's samples in each batch; all by default.
    """

    def __init__(
        self, pack: Pack, config: TrainConfig, samples: Sequence[int] | np.ndarray | None = None
    ) -> None:
        self.pack = pack
        self.config = config
        self.samples = np.arange(config.batch) if samples is None else np.asarray(samples)
        self.rows = pack.indices("train")

    def indices(self, step: int) -> np.ndarray:
        """Pack rows of this process's samples in the batch of `step`."""
        n = len(self.rows)
        places = step * self.config.batch + self.samples
        epochs = {
            e: np.random.default_rng((self.config.seed, int(e))).permutation(n) for e in places // n
        }
        return np.array([self.rows[epochs[p // n][p % n]] for p in places])

    def batch(self, step: int) -> Tensor:
        """[samples, 1, X, Y, Z] in [-1, 1]"""
        config = self.config
        volumes = []
        for sample, row in zip(self.samples, self.indices(step), strict=True):
            generator = generator_for(config.seed, step, Purpose.DATA, int(sample))
            volume = torch.from_numpy(np.array(self.pack.volumes[row])).float()[None] / 255
            volumes.append(
                augment(
                    volume,
                    generator,
                    mirror=config.mirror,
                    stretch=config.stretch,
                    gamma=config.gamma,
                )
            )
        return torch.stack(volumes) * 2 - 1

    def stream(self, start: int, ahead: int = 1) -> Iterator[Tensor]:
        """Batches from step `start` on, prefetching `ahead` batches."""
        with ThreadPoolExecutor(ahead) as pool:
            pending: deque[Future[Tensor]] = deque()
            try:
                for step in count(start):
                    pending.append(pool.submit(self.batch, step))
                    if len(pending) > ahead:
                        yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()


def fixed_volumes(pack: Pack, split: str, limit: int | None = None) -> Tensor:
    """Volumes of a split without augmentation, [n, 1, X, Y, Z] in [-1, 1].

    With a `limit` they are evenly spaced over the table, and so over its sources.
    """
    rows = pack.indices(split)
    if limit is not None and limit < len(rows):
        rows = rows[np.linspace(0, len(rows) - 1, limit).round().astype(int)]
    data = torch.from_numpy(np.array(pack.volumes[rows])).float()
    return data[:, None] / 127.5 - 1
