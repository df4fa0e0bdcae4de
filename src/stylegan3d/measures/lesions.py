"""What a trained network takes for a lesion; see `training.lesions` for what it has learned.

The residual (`projection.assessment`) compares with the brain that one model expects and finds what
is large or strange. The network looks at the scan alone and finds what is small and has the look of
a lesion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from stylegan3d.geometry.space import Space
from stylegan3d.measures.regions import Cluster, clusters
from stylegan3d.segmentation.classes import LESION
from stylegan3d.segmentation.inference import Segmenter, bundled_lesions

# A voxel belongs to a lesion from this probability; with less, lesions are measured too large.
LEAST = 0.7
# Width within which a lesion is densest at its middle.
AROUND_MM = 4.0


@dataclass(frozen=True, eq=False)
class Suspected:
    """Lesions of one scan.

    Attributes
    ----------
    probability : ndarray, shape (X, Y, Z), float32
    clusters : list of Cluster
        Where it is above `LEAST`, largest first.
    limit : float
        Size from which a cluster is a finding.
    """

    probability: np.ndarray
    clusters: list[Cluster]
    limit: float


def suspect_lesions(
    volume: np.ndarray, mask: np.ndarray, space: Space, network: Segmenter | None = None
) -> Suspected | None:
    """Look for lesions in a scan.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
        Values in [0, 1], 0 outside the brain.
    mask : ndarray, shape (X, Y, Z), bool
        The brain.
    network : Segmenter or None
        By default the bundled one.

    Returns
    -------
    Suspected or None
        None if the network does not know the grid.
    """
    network = network or bundled_lesions()
    if not network.fits(space):
        return None
    probability = lesion_probability(network, volume, mask, space)
    limit = float(network.card["validation"]["limit_ml"])
    return Suspected(probability, lesion_clusters(probability, space), limit)


def lesion_probability(
    network: Segmenter, volume: np.ndarray, mask: np.ndarray, space: Space
) -> np.ndarray:
    """Probability of a lesion (X, Y, Z) in the brain."""
    inside = np.where(mask, volume, 0).astype(np.float32)
    found = network.probability(inside, space, LESION)
    return np.where(mask, found, 0).astype(np.float32)


def lesion_clusters(probability: np.ndarray, space: Space) -> list[Cluster]:
    """Clusters of a probability (X, Y, Z), each with the place where most of it is around."""
    excess = (probability - LEAST) / (1 - LEAST)
    found = clusters(excess, space)
    if not found:
        return []
    around = ndimage.gaussian_filter(np.maximum(excess, 0), AROUND_MM / np.array(space.voxel_size))
    dense = around.ravel()
    return [Cluster(c.index, c.size, int(c.index[dense[c.index].argmax()])) for c in found]
