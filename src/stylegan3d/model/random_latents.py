"""w of many random brains, and what is known of its spread, also where w is long.

A family may have latents of tens of thousands of numbers. All of them for thousands of brains, or
their covariance, would take gigabytes: they are gone through in blocks, and a diagonal stands for
the covariance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from stylegan3d.progress import effort
from stylegan3d.recipe.model import Model

if TYPE_CHECKING:
    from torch import Tensor

#: Of longer latents no covariance is computed.
LONGEST = 4096
#: Random brains that tell how long latents spread where their family does not say it.
SAMPLES = 512
_AT_ONCE, _NUMBERS_AT_ONCE = 1000, 8_000_000


class Population(Model, Protocol):
    """A generator and what its family knows of its random brains; see `Generator`."""

    w_avg: Tensor
    deviations: Tensor | None
    components: Tensor | None


def random_w(generator: Population, samples: int, seed: int) -> np.ndarray:
    """float64 `(samples, w_dim)`: untruncated w of random brains, z from `RandomState(seed)`."""
    return np.concatenate(list(random_blocks(generator, samples, seed)))


def random_blocks(generator: Population, samples: int, seed: int) -> Iterator[np.ndarray]:
    """`random_w` in blocks of rows that take 64 MB at most."""
    import torch

    at_once = max(1, min(_AT_ONCE, _NUMBERS_AT_ONCE // generator.w_dim))
    random = np.random.RandomState(seed)
    for start in range(0, samples, at_once):
        # Drawn block by block these are the numbers that one draw of all would give.
        z = random.randn(min(at_once, samples - start), generator.z_dim)
        # Of a mapping that takes long, what it makes nearly: thousands tell the distribution.
        with torch.no_grad(), effort("rough"):
            w = generator.map(torch.from_numpy(z).to(generator.device, torch.float32))
            # The mapping gives every layer the same w: the first row says it all.
            yield w[:, 0].double().cpu().numpy()


@dataclass(frozen=True, eq=False)
class Spread:
    """How random brains spread in w.

    Attributes
    ----------
    mean, variance : ndarray, shape (w_dim,), float64
    scores : ndarray, shape (samples, K), float64
        Along each of some vectors, about the mean.
    """

    mean: np.ndarray
    variance: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(
        cls, generator: Population, vectors: Sequence[np.ndarray], samples: int, seed: int = 0
    ) -> Spread:
        """Of untruncated random brains, along vectors `(w_dim,)`, of which there may be none."""
        along = np.reshape(np.asarray(vectors, dtype=np.float64), (-1, generator.w_dim))
        mean, squares, count = np.zeros(generator.w_dim), np.zeros(generator.w_dim), 0
        scores = []
        for block in random_blocks(generator, samples, seed):
            # Chan, Golub, LeVeque 1983: moments of a block joined to those before.
            middle, known = block.mean(axis=0), count
            count += len(block)
            squares += np.square(block - middle).sum(axis=0)
            squares += np.square(middle - mean) * (known * len(block) / count)
            mean += (middle - mean) * (len(block) / count)
            scores.append(block @ along.T)
        return cls(mean, squares / count, np.concatenate(scores) - along @ mean)


def is_long(generator: Population) -> bool:
    """Whether a diagonal stands for the covariance of w."""
    return generator.deviations is not None or generator.w_dim > LONGEST


def diagonal(generator: Population) -> tuple[Tensor, Tensor]:
    """Mean and standard deviations of w, `[w_dim]` each, as the family says or random brains do."""
    import torch

    if generator.deviations is not None:
        return generator.w_avg, generator.deviations
    spread = Spread.of(generator, [], SAMPLES)
    mean, deviations = (
        torch.from_numpy(values).to(generator.w_avg)
        for values in (spread.mean, np.sqrt(spread.variance))
    )
    return mean, deviations
