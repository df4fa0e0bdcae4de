"""Cache of a synthesis's intermediate results, reused where still valid.

A layer's features depend on the rows of w up to its own and on the noise up to its own. While a
person moves one layer's slider the coarser layers stay what they were; so do the places that a
deformation moves voxels to, which only coarse rows decide.

The noise of a synthesis network: stored with it, absent, fresh or drawn from a seed.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from stylegan3d.recipe.model import check_seed

Noise = Literal["fixed", "none", "random"] | int
#: Noise maps, one per layer; None without noise.
Maps = list[Tensor | None]


def drawn_noise(stored: list[Tensor], noise: Noise, batch: int = 1) -> Maps:
    """The maps of a kind of noise, each [1 or N, ...] as those that are stored, [1, ...].

    RecipeError if it is neither a kind nor a seed.
    """
    if noise == "fixed":
        return list(stored)
    if noise == "none":
        return [None] * len(stored)
    if noise == "random":
        return [torch.randn(batch, *n.shape[1:], device=n.device, dtype=n.dtype) for n in stored]
    seed = np.asarray(noise).item()
    check_seed(seed, 'Noise other than "fixed" and "none"')
    # Drawn on the CPU, so that a seed means the same noise on every device.
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n.shape, generator=generator).to(n) for n in stored]


def of_sample(maps: Maps, index: int) -> Maps:
    """The noise maps of one sample of a batch."""
    return [m if m is None or len(m) == 1 else m[index : index + 1] for m in maps]


#: Called between the parts of a long computation; it raises to cancel.
Check = Callable[[], None]
#: Bytes that results may take; finer ones are computed again beyond that.
BUDGET = 224 * 2**20


@dataclass(frozen=True)
class _Entry:
    w: Tensor
    rows: int
    noise: Hashable
    value: Tensor


class Memo:
    """Results of the latest synthesis of one network, for one volume at a time.

    Parameters
    ----------
    budget : int
        Bytes to keep at most.

    Attributes
    ----------
    computed, reused : int
        Numbers of results that were made, and that were found, since `begin`.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self.budget = budget
        self._entries: dict[Hashable, _Entry] = {}
        self._w = torch.empty(0)
        self._noise: Hashable = None
        self._check: Check | None = None
        self._maps: tuple[Hashable, Maps] | None = None
        self.computed = self.reused = 0

    def begin(self, w: Tensor, noise: Hashable, check: Check | None = None) -> None:
        """Start a synthesis.

        Parameters
        ----------
        w : Tensor, shape (1, num_layers, w_dim)
        noise : Hashable
            Source of the noise maps.
        check : callable or None
            Called before every result that has to be computed; it raises to cancel.
        """
        if noise == "random":  # other noise each time
            self.clear()
            self._maps = None
        self._w, self._noise, self._check = w.detach().clone(), noise, check
        self.computed = self.reused = 0

    def get(self, slot: Hashable, rows: int, make: Callable[[], Tensor]) -> Tensor:
        """The result in `slot`, made again if the first `rows` rows of w, or the noise, changed.

        The tensor is shared: it must not be changed in place.
        """
        known = self._entries.get(slot)
        if known is not None and self._holds(known, rows):
            self.reused += 1
            return known.value
        self.check()
        self._entries.pop(slot, None)
        value = make()
        self.computed += 1
        if self.size + _bytes(value) <= self.budget:
            self._entries[slot] = _Entry(self._w, rows, self._noise, value)
        return value

    def check(self) -> None:
        """Raise what cancels the synthesis, if it is to end; for results that take long."""
        if self._check is not None:
            self._check()

    @property
    def size(self) -> int:
        """Bytes cached now."""
        return sum(_bytes(entry.value) for entry in self._entries.values())

    def maps(self, noise: Hashable, make: Callable[[], Maps]) -> Maps:
        """The noise maps of `noise`: drawn once for all syntheses with the same seed."""
        if self._maps is None or self._maps[0] != noise:
            self._maps = noise, make()
        return self._maps[1]

    def clear(self) -> None:
        """Clear the cache."""
        self._entries.clear()

    def _holds(self, entry: _Entry, rows: int) -> bool:
        return (
            entry.rows == rows
            and entry.noise == self._noise
            and torch.equal(entry.w[:, :rows], self._w[:, :rows])
        )


class NoMemo(Memo):
    """Computes everything: for training and projection."""

    def get(self, slot: Hashable, rows: int, make: Callable[[], Tensor]) -> Tensor:
        """What `make` returns."""
        return make()


def _bytes(value: Tensor) -> int:
    return value.numel() * value.element_size()
