"""Batches of augmented volumes, prepared in the background and reproducible after resuming.

Random numbers depend only on the run's seed, the step and the sample. Each sample of the global
batch has its own generator for each purpose. So a step does not depend on earlier steps or on the
distribution of samples to processes and microbatches.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from enum import IntEnum
from itertools import count

import numpy as np
import torch
from torch import Tensor

from stylegan3d.base import ModelError
from stylegan3d.dataset.pack import Pack
from stylegan3d.geometry.space import unit
from stylegan3d.networks.config import GeneratorConfig
from stylegan3d.training.augment import augment
from stylegan3d.training.options import StyleGANSettings


class Purpose(IntEnum):
    """Purpose of a generator; different purposes never share numbers."""

    DATA = 0
    LATENT = 2
    NOISE = 3
    PATH_LATENT = 6
    PATH_NOISE = 7
    AUGMENT_GENERATOR = 8
    AUGMENT_REAL = 9
    AUGMENT_FAKE = 10


CPU = torch.device("cpu")


def generator_for(
    seed: int, step: int, purpose: Purpose, sample: int, device: torch.device = CPU
) -> torch.Generator:
    """A random generator. On the CPU its numbers are independent of the device that uses them.

    For whole volumes of noise the CPU is too slow compared with a GPU, hence `device`.
    """
    words = np.random.SeedSequence((seed, step, int(purpose), sample)).generate_state(2)
    return torch.Generator(device).manual_seed(int(words[0]) << 32 | int(words[1]))


def generators_for(
    seed: int, step: int, purpose: Purpose, samples: Iterable[int], device: torch.device = CPU
) -> list[torch.Generator]:
    """One generator per sample of the global batch."""
    return [generator_for(seed, step, purpose, int(sample), device) for sample in samples]


def digest_of(arrays: Iterable[np.ndarray]) -> str:
    """Hexadecimal SHA-256 of the values of arrays, one after another."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


def in_epoch(number: int, count: int, *seed: int) -> int:
    """Which of `count` subjects a draw is: each once before any again, in new orders."""
    epoch, place = divmod(number, count)
    return int(np.random.default_rng([*seed, epoch]).permutation(count)[place])


def normal(
    generators: Sequence[torch.Generator], shape: Sequence[int], device: torch.device
) -> Tensor:
    """Standard normal numbers [len(generators), *shape]."""
    rows = [torch.randn(tuple(shape), generator=g, device=g.device) for g in generators]
    return torch.stack(rows).to(device)


#: Of the augmentation of training volumes, see `augment`.
STRETCH, GAMMA = 0.7, 0.06


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
        self,
        pack: Pack,
        config: StyleGANSettings,
        samples: Sequence[int] | np.ndarray | None = None,
    ) -> None:
        self.pack = pack
        self.settings = config
        self.samples = np.arange(config.batch) if samples is None else np.asarray(samples)
        self.rows = pack.indices("train")

    def indices(self, step: int) -> np.ndarray:
        """Pack rows of this process's samples in the batch of `step`."""
        places = step * self.settings.batch + self.samples
        n, seed = len(self.rows), self.settings.seed
        return np.array([self.rows[in_epoch(int(place), n, seed)] for place in places])

    def batch(self, step: int) -> Tensor:
        """[samples, 1, X, Y, Z] in [-1, 1]"""
        settings = self.settings
        volumes = []
        for sample, row in zip(self.samples, self.indices(step), strict=True):
            generator = generator_for(settings.seed, step, Purpose.DATA, int(sample))
            volume = torch.from_numpy(unit(self.pack.volumes[row]))[None]
            volumes.append(
                augment(volume, generator, mirror=settings.mirror, stretch=STRETCH, gamma=GAMMA)
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


def check_fit(config: GeneratorConfig, pack: Pack) -> None:
    """Raise ModelError if a generator makes other volumes than those of a data set."""
    shape = config.image_grids[-1]
    if tuple(pack.space.shape) != shape:
        raise ModelError(
            f"The data set has volumes of {pack.space.shape} voxels, but this preset makes "
            f"{shape}; choose another preset or prepare the scans on that grid."
        )
    if not len(pack.indices("train")):
        raise ModelError("The data set has no training volumes; mark some as split 'train'.")


def check_mirror(pack: Pack, mirror: bool) -> None:
    """Raise ModelError if volumes that cannot be mirrored left to right are to be."""
    sideways = pack.space.axcodes[0] not in "LR"
    off_center = abs(pack.space.center_mm[0]) > pack.space.voxel_size[0] / 2
    if mirror and (sideways or off_center):
        raise ModelError(
            "The data set's grid is not symmetric about the mid-sagittal plane along its first "
            "axis, so its volumes cannot be mirrored left to right; train with --no-mirror."
        )


def as_input(volumes: np.ndarray) -> Tensor:
    """Volumes of a data set, uint8 (..., X, Y, Z), as networks see them: [1, ...] in [-1, 1]."""
    return torch.from_numpy(unit(volumes))[None] * 2 - 1


def fixed_volumes(pack: Pack, split: str, limit: int | None = None) -> Tensor:
    """Volumes of a split without augmentation, [n, 1, X, Y, Z] in [-1, 1].

    With a `limit` they are evenly spaced over the table, and so over its sources.
    """
    rows = pack.indices(split)
    if limit is not None and limit < len(rows):
        rows = rows[np.linspace(0, len(rows) - 1, limit).round().astype(int)]
    return as_input(pack.volumes[rows]).transpose(0, 1)
