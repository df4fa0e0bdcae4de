"""Random cubes of the starts and ends of a flow.

Cortical texture is local, and 222 brains contain tens of thousands of cubes.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from stylegan3d.dataset.pack import Pack
from stylegan3d.networks.config import Grid
from stylegan3d.networks.flow import places_on

# Cubes are centred where the mean brain is brighter than this.
BRAIN = 0.1


class Source(Protocol):
    """Starts and ends of a flow, from `flow_pairs.make_pairs` or `flow_ways.make_ways`."""

    @property
    def pack(self) -> Pack:
        """Data set with the same grid."""

    @property
    def training(self) -> np.ndarray:
        """(n,) bool: training items; the others are held out."""

    @property
    def draws(self) -> int:
        """Starts per end."""

    def cube(
        self, index: int, draw: int, place: tuple[slice, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """A cube of a start and of its end, float32 in [-1, 1]."""


class Cubes:
    """Random cubes of pairs.

    Parameters
    ----------
    pairs : Source
        Starts and ends.
    side, count : int
        Edge of a cube in voxels, and cubes per draw.
    """

    def __init__(self, pairs: Source, side: int, count: int) -> None:
        self.pairs, self.half, self.count = pairs, side // 2, count
        x, y, z = self.grid = band_grid(pairs)
        self.inside = np.argwhere(pairs.pack.template[::2, ::2, ::2] > BRAIN)
        self.places = places_on((x, y, z), torch.device("cpu"))[0]

    def draw(self, rng: np.random.Generator, *, training: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Random cubes of training subjects or held-out subjects.

        Returns
        -------
        tuple
            [n, 1, side, side, side] of the linear model and of subjects, in [-1, 1], and their
            positions, [n, 3, side / 2, ...].
        """
        pairs, half = self.pairs, self.half
        whose = np.flatnonzero(pairs.training == training)
        start, end, places = [], [], []
        for _ in range(self.count):
            index = int(whose[rng.integers(len(whose))])
            k = int(rng.integers(pairs.draws))
            middle = self.inside[rng.integers(len(self.inside))]
            corner = [
                int(min(max(m - half // 2, 0), n - half))
                for m, n in zip(middle, self.grid, strict=True)
            ]
            place = tuple(slice(2 * c, 2 * (c + half)) for c in corner)
            first, last = pairs.cube(index, k, place)
            start.append(first)
            end.append(last)
            x, y, z = (slice(c, c + half) for c in corner)
            places.append(self.places[:, x, y, z])
        starts, ends = (torch.from_numpy(np.stack(cubes))[:, None] for cubes in (start, end))
        return starts, ends, torch.stack(places)


def band_grid(pairs: Source) -> Grid:
    """Grid of the Haar bands of their volumes."""
    x, y, z = (n // 2 for n in pairs.pack.space.shape)
    return x, y, z
