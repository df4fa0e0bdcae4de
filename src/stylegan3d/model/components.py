"""Principal components of w over random brains, as edit directions.

As in Härkönen et al. (2020), "GANSpace: Discovering Interpretable GAN Controls", section 2: sample
z, map to w, take the eigenvectors of the covariance. One unit of an edit is one standard deviation
along the direction.
"""

from __future__ import annotations

import numpy as np

from stylegan3d.errors import RecipeError
from stylegan3d.model.random_latents import Population, diagonal, is_long, random_w
from stylegan3d.recipe.directions import Directions

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
        If there are too few samples or no components.
    """
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
    if is_long(generator):
        return _of_few(generator, components, random_w(generator, samples, seed))
    from sklearn.decomposition import PCA

    pca = PCA(n_components=components, svd_solver="full")
    pca.fit(random_w(generator, samples, seed))
    variances = pca.explained_variance_
    return _numbered(generator, pca.components_, variances, pca.explained_variance_ratio_)


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
    return _numbered(
        generator,
        steps / np.sqrt(variances)[:, None],
        variances,
        variances / max(whole, variances.sum()),
    )


def _of_few(generator: Population, count: int, w: np.ndarray) -> Directions:
    """Components of w `(n, w_dim)` with n < w_dim, from the Gram matrix."""
    w = w - w.mean(axis=0)
    squares, mixtures = np.linalg.eigh(w @ w.T)
    squares, mixtures = squares[::-1][:count], mixtures[:, ::-1][:, :count]
    if not squares[-1] > 0:
        raise RecipeError(f"Random brains differ in fewer than {count} ways: ask for fewer.")
    shares = squares / np.square(w).sum()
    vectors = (mixtures / np.sqrt(squares)).T @ w
    return _numbered(generator, vectors, squares / (len(w) - 1), shares)


def _numbered(
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
