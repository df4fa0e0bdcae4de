"""Fidelity and diversity apart: precision and density, recall and coverage of descriptors.

A distance between sets cannot say whether brains are wrong or only too few kinds of them are made.
Here the region where a set lives is the union of balls around its members, each as large as the
distance to its k-th nearest neighbour in the set. None of these figures is 1 between two halves of
one population either: each stands beside the same of real subjects.
"""

from __future__ import annotations

import numpy as np
from sklearn.metrics import pairwise_distances

from stylegan3d.errors import StyleGAN3DError

# Naeem et al. 2020, section 4.1, choose 5.
NEIGHBOURS = 5


def precision(made: np.ndarray, real: np.ndarray) -> float:
    """Share of made brains inside the region of real ones, 0 to 1.

    Kynkäänniemi et al. 2019, "Improved precision and recall metric for assessing generative
    models" (arXiv 1904.06991), eq. 1 and 2.

    Parameters
    ----------
    made, real : ndarray, shape (n, features)
        And [m, features], more rows than `NEIGHBOURS` each.
    """
    inside = _distances(made, real) <= _radii(real)
    return float(inside.any(axis=1).mean())


def recall(made: np.ndarray, real: np.ndarray) -> float:
    """Share of real brains inside the region of made ones, 0 to 1: how much of the variety is made.

    Kynkäänniemi et al. 2019, eq. 2. One outlier among the made brains has a large ball, which
    makes it generous; `coverage` is not.
    """
    return precision(real, made)


def density(made: np.ndarray, real: np.ndarray) -> float:
    """In how many balls of real brains a made one lies, as a share of k; above 1 where they crowd.

    Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models"
    (arXiv 2002.09797), eq. 3. Its expectation is 1 between samples of one population.
    """
    inside = _distances(made, real) <= _radii(real)
    return float(inside.sum(axis=1).mean() / NEIGHBOURS)


def coverage(made: np.ndarray, real: np.ndarray) -> float:
    """Share of real brains that have a made one in their ball, 0 to 1.

    Naeem et al. 2020, eq. 4. Between n samples of one population each it is about 1 - 1 / 2^k.
    """
    inside = _distances(made, real) <= _radii(real)
    return float(inside.any(axis=0).mean())


def _distances(made: np.ndarray, real: np.ndarray) -> np.ndarray:
    """[n, m] Euclidean."""
    if min(len(made), len(real)) <= NEIGHBOURS or made.shape[1:] != real.shape[1:]:
        raise StyleGAN3DError(
            f"Precision and recall of {len(made)} and {len(real)} volumes cannot be measured; give "
            f"more than {NEIGHBOURS} of each, described alike."
        )
    return np.asarray(pairwise_distances(made, real))


def _radii(points: np.ndarray) -> np.ndarray:
    """[n] distance of each point to its k-th nearest neighbour in the set."""
    # The nearest is the point itself.
    return np.partition(pairwise_distances(points), NEIGHBOURS, axis=1)[:, NEIGHBOURS]
