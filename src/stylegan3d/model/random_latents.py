"""w of many random brains and its statistics, also for long w.

A family may have latents of tens of thousands of numbers. Those of thousands of brains, or their
covariance, would take gigabytes: they are processed in blocks, with a diagonal covariance.

Principal components of w over random brains, as edit directions.

As in Härkönen et al. (2020), "GANSpace: Discovering Interpretable GAN Controls", section 2: sample
z, map to w, take the eigenvectors of the covariance. One unit of an edit is one standard deviation
along the direction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from stylegan3d.base import RecipeError, current_effort, effort
from stylegan3d.recipe.directions import Directions
from stylegan3d.recipe.model import Model, check_seed

if TYPE_CHECKING:
    from torch import Tensor


#: Longer latents have a diagonal covariance.
LONGEST = 4096
#: Random brains for the standard deviations of long latents, unless given by the family.
FOR_DEVIATIONS = 512
_AT_ONCE, _NUMBERS_AT_ONCE = 1000, 8_000_000


class Population(Model, Protocol):
    """A generator with its family's statistics of random brains; see `Generator`."""

    w_avg: Tensor
    deviations: Tensor | None
    components: Tensor | None


def random_w(generator: Population, samples: int, seed: int) -> np.ndarray:
    """float64 `(samples, w_dim)`: untruncated w of random brains, z from `RandomState(seed)`."""
    return np.concatenate(list(random_blocks(generator, samples, seed)))


def random_blocks(
    generator: Population, samples: int, seed: int, first: int = 0, at_once: int = _AT_ONCE
) -> Iterator[np.ndarray]:
    """`random_w` from row `first`, in blocks of `at_once` rows that take 64 MB at most."""
    import torch

    at_once = max(1, min(at_once, _NUMBERS_AT_ONCE // generator.w_dim))
    random = np.random.RandomState(seed)
    for _ in range(first):
        random.randn(generator.z_dim)
    for start in range(first, samples, at_once):
        # Sampling block by block gives the same numbers as sampling all at once.
        z = random.randn(min(at_once, samples - start), generator.z_dim)
        # A slow mapping may approximate: only the distribution matters.
        with torch.no_grad(), effort("rough", current_effort().check):
            w = generator.map(torch.from_numpy(z).to(generator.device, torch.float32))
            # All layers have the same w: the first row suffices.
            yield w[:, 0].double().cpu().numpy()


@dataclass(frozen=True, eq=False)
class Spread:
    """Statistics of random brains in w.

    Attributes
    ----------
    mean, variance : ndarray, shape (w_dim,), float64
    scores : ndarray, shape (samples, K), float64
        Scores along given vectors, relative to the mean.
    """

    mean: np.ndarray
    variance: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(
        cls, generator: Population, vectors: Sequence[np.ndarray], samples: int, seed: int = 0
    ) -> Spread:
        """Compute from untruncated random brains, with scores along `vectors` (may be empty)."""
        along = np.reshape(np.asarray(vectors, dtype=np.float64), (-1, generator.w_dim))
        mean, squares, count = np.zeros(generator.w_dim), np.zeros(generator.w_dim), 0
        scores = []
        for block in random_blocks(generator, samples, seed):
            # Merge the moments of blocks (Chan, Golub, LeVeque 1983).
            middle, known = block.mean(axis=0), count
            count += len(block)
            squares += np.square(block - middle).sum(axis=0)
            squares += np.square(middle - mean) * (known * len(block) / count)
            mean += (middle - mean) * (len(block) / count)
            scores.append(block @ along.T)
        return cls(mean, squares / count, np.concatenate(scores) - along @ mean)


def is_long(generator: Population) -> bool:
    """Whether the covariance of w is taken as diagonal."""
    return generator.deviations is not None or generator.w_dim > LONGEST


def diagonal(generator: Population) -> tuple[Tensor, Tensor]:
    """Mean and standard deviations of w, `[w_dim]` each, from the family or random brains."""
    import torch

    if generator.deviations is not None:
        return generator.w_avg, generator.deviations
    spread = Spread.of(generator, [], FOR_DEVIATIONS)
    mean, deviations = (
        torch.from_numpy(values).to(generator.w_avg)
        for values in (spread.mean, np.sqrt(spread.variance))
    )
    return mean, deviations


#: Number of principal components, and of random brains to compute them from.
COMPONENTS, SAMPLES = 20, 10_000
#: Maximum size of the sample matrix: for long latents fewer brains are used.
_MOST_NUMBERS = 24_000_000


def pca_directions(
    generator: Population, components: int = COMPONENTS, samples: int = SAMPLES, seed: int = 0
) -> Directions:
    """Principal components of w over random brains (GANSpace), or those given by the family.

    Parameters
    ----------
    generator : Generator
    components : int
        Number of components, at most `w_dim` or those given by the family.
    samples : int
        Number of random brains, more than `components`; reduced for long latents.
    seed : int
        Seed of the z vectors, drawn as `numpy.random.RandomState(seed).randn(samples, z_dim)`.

    Returns
    -------
    Directions
        "PC 1" first. The sign is chosen so that the largest entry is positive.

    Raises
    ------
    RecipeError
        If there are too few samples or no components, or the seed is none.
    """
    check_seed(seed, "The seed")
    if generator.components is not None and components >= 1:
        return _of_family(generator, components)
    components = min(components, generator.w_dim)
    if is_long(generator):
        samples = min(samples, max(_MOST_NUMBERS // generator.w_dim, 2 * components))
    if not 1 <= components < samples:
        raise RecipeError(
            f"{components} components cannot be found in {samples} samples: "
            "ask for at least one component and for more samples than components."
        )
    from sklearn.decomposition import PCA

    pca = PCA(n_components=components, svd_solver="full")
    pca.fit(random_w(generator, samples, seed))
    variances = pca.explained_variance_
    if is_long(generator) and not variances[-1] > np.finfo(variances.dtype).eps * variances[0]:
        raise RecipeError(f"Random brains differ in fewer than {components} ways: ask for fewer.")
    return numbered(generator, pca.components_, variances, pca.explained_variance_ratio_)


def _of_family(generator: Population, count: int) -> Directions:
    """The first of the components given by the generator's family."""
    assert generator.components is not None
    steps = generator.components[:count].double().cpu().numpy()
    variances = np.square(steps).sum(axis=1)
    if not (variances > 0).all():
        raise RecipeError(
            f"A principal component of {generator.name} is 0: download the model again."
        )
    whole = float(diagonal(generator)[1].double().square().sum())
    return numbered(
        generator,
        steps / np.sqrt(variances)[:, None],
        variances,
        variances / max(whole, variances.sum()),
    )


def whitened(w: np.ndarray, population: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """w `(n, w_dim)` whitened by a population, `(n, kept)`, and its root `(w_dim, kept)`.

    Null directions of the population are dropped.
    """
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(population, rowvar=False)))
    root = (vectors * np.sqrt(values.clip(min=0)))[:, values > 1e-6 * values.max()]
    return (w - population.mean(axis=0)) @ (root / np.square(root).sum(axis=0)), root


def numbered(
    generator: Population, vectors: np.ndarray, variances: np.ndarray, shares: np.ndarray
) -> Directions:
    """Components as "PC 1" and so on, each with its largest entry positive."""
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(1)[:, None], axis=1)
    return Directions(
        vectors * np.sign(largest),
        np.sqrt(variances),
        shares,
        tuple(f"PC {k + 1}" for k in range(len(vectors))),
        generator.hash,
        generator.name,
    )
