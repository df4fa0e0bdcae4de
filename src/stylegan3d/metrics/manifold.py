"""Fidelity (precision, density) and diversity (recall, coverage) of descriptors.

A distance between sets cannot distinguish wrong brains from a lack of variety. Here the support of
a set is the union of balls around its members, each with the distance to its k-th nearest neighbour
in the set as radius. Even between two halves of one population these figures are not 1: each is
compared with the same figure of real subjects.
"""

from __future__ import annotations

import numpy as np
from sklearn.metrics import pairwise_distances

from stylegan3d.errors import StyleGAN3DError

# Naeem et al. 2020, section 4.1, choose 5.
NEIGHBOURS = 5


def precision(made: np.ndarray, real: np.ndarray) -> float:
    """Share of generated brains within the support of real ones, 0 to 1.

    Kynkäänniemi et al. 2019, "Improved precision and recall metric for assessing generative
    models" (arXiv 1904.06991), eq. 1 and 2.

    Parameters
    ----------
    made, real : ndarray, shape (n, features)
        More than `NEIGHBOURS` rows each.
    """
    inside = _distances(made, real) <= _radii(real)
    return float(inside.any(axis=1).mean())


def recall(made: np.ndarray, real: np.ndarray) -> float:
    """Share of real brains within the support of generated ones, 0 to 1.

    Kynkäänniemi et al. 2019, eq. 2. A single generated outlier has a large ball and inflates it,
    unlike `coverage`.
    """
    return precision(real, made)


def density(made: np.ndarray, real: np.ndarray) -> float:
    """Number of balls of real brains that contain a generated one, divided by k; may exceed 1.

    Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models"
    (arXiv 2002.09797), eq. 3. Its expectation is 1 between samples of one population.
    """
    inside = _distances(made, real) <= _radii(real)
    return float(inside.sum(axis=1).mean() / NEIGHBOURS)


def coverage(made: np.ndarray, real: np.ndarray) -> float:
    """Share of real brains with a generated one in their ball, 0 to 1.

    Naeem et al. 2020, eq. 4. Between n samples of one population each it is about 1 - 1 / 2^k.
    """
    inside = _distances(made, real) <= _radii(real)
    return float(inside.any(axis=0).mean())


def _distances(made: np.ndarray, real: np.ndarray) -> np.ndarray:
    """[n, m] Euclidean."""
    if min(len(made), len(real)) <= NEIGHBOURS or made.shape[1:] != real.shape[1:]:
        raise StyleGAN3DError(
            f"Precision and recall of {len(made)} and {len(real)} volumes cannot be measured; give "
            f"more than {NEIGHBOURS} of each, with the same features."
        )
    return np.asarray(pairwise_distances(made, real))


def _radii(points: np.ndarray) -> np.ndarray:
    """[n] distance of each point to its k-th nearest neighbour in the set."""
    # The nearest neighbour is the point itself.
    return np.partition(pairwise_distances(points), NEIGHBOURS, axis=1)[:, NEIGHBOURS]
