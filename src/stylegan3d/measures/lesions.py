"""What a trained network takes for a lesion; see `training.lesions` for what it has learned.

The residual (`projection.assessment`) compares with the brain that one model expects and finds what
is large or strange. The network looks at the scan alone and finds what is small and has the look of
a lesion.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from stylegan3d.base import ModelError
from stylegan3d.geometry.space import Space, filled_box
from stylegan3d.measures.regions import TOUCHING, Cluster, clusters
from stylegan3d.segmentation.classes import LESION
from stylegan3d.segmentation.inference import Segmenter, bundled_lesions

# A voxel belongs to a lesion from this probability; with less, lesions are measured too large.
LEAST = 0.7
# Width within which a lesion is densest at its middle.
AROUND_MM = 4.0
#: A lesion reaches at most so far beyond its cluster, and as a share of the cluster's radius.
REACH_MM, REACH_SHARE = 6.0, 0.8
#: Around a cluster is what is so near.
NEAR_MM = 24.0


@dataclass(frozen=True, eq=False)
class Suspected:
    """Lesions of one scan.

    Attributes
    ----------
    probability : ndarray, shape (X, Y, Z), float32
    clusters : list of Cluster
        Where it is above `LEAST`, largest first; those that are findings as `outlined`.
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
    limit, layers = float(network.card["validation"]["limit_ml"]), network.card.get("outline")
    kept, taken = [], np.zeros(volume.shape, bool)
    for cluster in lesion_clusters(probability, space):
        # Those that the outline of a larger one takes in are of the same lesion.
        if not taken.flat[cluster.index].all():
            if layers and cluster.size > limit:
                index = outlined(cluster, volume, probability, mask, space, layers)
                free = index[~taken.flat[index]]
                cluster = replace(cluster, index=free if len(free) else cluster.index)
            taken.flat[cluster.index] = True
            kept.append(cluster)
    return Suspected(probability, kept, limit)


def outlined(
    cluster: Cluster,
    volume: np.ndarray,
    probability: np.ndarray,
    mask: np.ndarray,
    space: Space,
    layers: Sequence[Sequence[Sequence[float]]],
) -> np.ndarray:
    """The voxels of a lesion, as flat indices (n,), of which a cluster was found; never none.

    Parameters
    ----------
    layers : sequence of (weight, bias)
        Of a perceptron for `around`, with rectified linear units between them.

    Raises
    ------
    ModelError
        If the layers are none.
    """
    index, values, is_near = around(cluster, volume, probability, mask, space)
    try:
        for number, (weight, bias) in enumerate(layers):
            values = np.maximum(values, 0 if number else -np.inf) @ np.array(weight) + bias
    except (TypeError, ValueError):
        raise ModelError(
            'The "outline" in the card of the lesion network is damaged: export it again.'
        ) from None
    lesion = np.zeros(volume.shape, bool)
    lesion.flat[index[(values[:, 0] > 0) & is_near]] = True
    pieces, _ = ndimage.label(lesion, TOUCHING)
    met = np.unique(pieces.flat[cluster.index])
    whole = np.flatnonzero(np.isin(pieces, met[met > 0]))
    return whole if len(whole) else cluster.index


def around(
    cluster: Cluster, volume: np.ndarray, probability: np.ndarray, mask: np.ndarray, space: Space
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is around a cluster, to tell by it which voxels are of the same lesion.

    Returns
    -------
    index : ndarray, shape (n,)
        Flat indices of the brain's voxels near the cluster.
    features : ndarray, shape (n, 14)
        Log odds of a lesion and intensities, at several widths, the difference from the cluster's
        intensity, the way to its border and its size.
    is_near : ndarray, shape (n,), bool
        Whether a lesion can reach so far.
    """
    size, core = np.array(space.voxel_size), np.zeros(volume.shape, bool)
    core.flat[cluster.index] = True
    box = filled_box(core, int(np.ceil(NEAR_MM / size.min())))
    core, image = core[box], volume[box] / np.percentile(volume[mask], 80)
    p = np.clip(probability[box], 0.01, 0.99)
    level = np.full(image.shape, np.median(image[core & (p >= np.median(p[core]))]))
    outside, inside = (ndimage.distance_transform_edt(x, sampling=size) for x in (~core, core))
    away, radius = outside - inside, (3000 * core.sum() * space.voxel_ml / (4 * np.pi)) ** (1 / 3)

    odds, unlike = np.log(p / (1 - p)), np.abs(image - level)
    widths_mm = (odds, (0, 2, 4, 8)), (image, (0, 2, 4)), (unlike, (0, 2))
    blurred = [ndimage.gaussian_filter(one, mm / size) for one, wide in widths_mm for mm in wide]
    steep = ndimage.gaussian_gradient_magnitude(image, 2 / size)
    columns = *blurred, away / radius, away, level, np.full(image.shape, radius), steep
    there = mask[box] & (away <= NEAR_MM)
    index = np.arange(volume.size).reshape(volume.shape)[box][there]
    features = np.stack([column[there] for column in columns], axis=1)
    return index, features, away[there] <= max(REACH_MM, REACH_SHARE * radius)


def lesion_probability(
    network: Segmenter, volume: np.ndarray, mask: np.ndarray, space: Space
) -> np.ndarray:
    """Probability of a lesion (X, Y, Z) in the brain."""
    found = network.probability(np.where(mask, volume, 0).astype(np.float32), space, LESION)
    return np.where(mask, found, 0).astype(np.float32)


def lesion_clusters(probability: np.ndarray, space: Space) -> list[Cluster]:
    """Clusters of a probability (X, Y, Z), each with the place where most of it is around."""
    excess = (probability - LEAST) / (1 - LEAST)
    found = clusters(excess, space)
    if not found:
        return []
    sigma = AROUND_MM / np.array(space.voxel_size)
    dense = ndimage.gaussian_filter(np.maximum(excess, 0), sigma).ravel()
    return [Cluster(c.index, c.size, int(c.index[dense[c.index].argmax()])) for c in found]
