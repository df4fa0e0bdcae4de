"""Memorisation: distances of synthetic brains to their nearest training subject.

Each synthetic brain is compared with every training brain and its mirror image by the distance of
descriptors. Held-out subjects, whose
nearest training brain is another person, are the reference. The method follows Dar et al. 2023,
"Investigating data memorization in 3D latent diffusion models for medical image synthesis" (arXiv
2307.01148), which also takes its threshold from the nearest neighbours of validation data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.plain import Json

QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)


def same_person(person: Sequence[object] | None, count: int) -> np.ndarray:
    """Whether two of `count` brains are one person's, bool (count, count).

    `person` tells whose each is; by default everybody's own.
    """
    names = range(count) if person is None else person
    return np.array([[one == other for other in names] for one in names])


def least_by_person(distances: np.ndarray, person: Sequence[object] | None) -> np.ndarray:
    """Distances [n, scans] as the least to any scan of each person, [n, people].

    `person` tells whose each scan is; by default everybody's own.
    """
    if person is None:
        return distances
    codes: dict[object, int] = {}
    code = np.array([codes.setdefault(name, len(codes)) for name in person])
    order = np.argsort(code, kind="stable")
    starts = np.searchsorted(code[order], np.arange(len(codes)))
    return np.minimum.reduceat(distances[:, order], starts, axis=1)


@dataclass(frozen=True)
class Nearest:
    """The nearest training subject of each of n brains.

    Attributes
    ----------
    distance : ndarray, shape (n,)
        Distance to the nearest scan.
    second : ndarray, shape (n,)
        Distance to the nearest scan of anybody but the person whose scan is nearest.
    person : ndarray, shape (n,)
        Index of the nearest scan.
    mirrored : ndarray, shape (n,)
        Whether its mirror image is nearest.
    """

    distance: np.ndarray
    second: np.ndarray
    person: np.ndarray
    mirrored: np.ndarray

    @property
    def relative(self) -> np.ndarray:
        """[n] ratio of nearest to second distance: 1 for an unrelated subject, 0 for a copy.

        A smooth brain correlates highly with all subjects; the ratio distinguishes copies from
        smoothness.
        """
        return self.distance / np.maximum(self.second, 1e-12)


def feature_distances(
    brains: np.ndarray,
    training: np.ndarray,
    mirrored: np.ndarray,
    person: Sequence[object] | None = None,
) -> Nearest:
    """The nearest training subject by Euclidean distance of descriptors.

    Parameters
    ----------
    brains : ndarray, shape (n, features)
    training, mirrored : ndarray, shape (scans, features)
        Training brains and their mirror images.
    person : sequence or None
        Whose brain each training scan is; everybody is another person by default.
    """
    reference = np.concatenate([training, mirrored])
    squares = (brains**2).sum(1)[:, None] + (reference**2).sum(1) - 2 * brains @ reference.T
    return nearest_of(np.sqrt(np.maximum(squares, 0)), person)


def nearest_of(distances: np.ndarray, person: Sequence[object] | None = None) -> Nearest:
    """From distances [n, 2 * scans]: to the brains first, then to their mirror images.

    `person` tells whose each scan is; by default everybody's own.
    """
    scans = distances.shape[1] // 2
    both = distances.reshape(-1, 2, scans)
    least = both.min(axis=1)
    nearest = least.argmin(axis=1)
    rows = np.arange(len(least))
    two = np.partition(least_by_person(least, person), 1, axis=1)[:, :2]
    mirrored = both[rows, 1, nearest] < both[rows, 0, nearest]
    return Nearest(two[:, 0], two[:, 1], nearest, mirrored)


def compare_nearest(synthetic: Nearest, validation: Nearest) -> Json:
    """Compare the nearest training subjects of synthetic brains and of held-out subjects.

    Returns
    -------
    dict
        "synthetic" and "validation": quantiles 0, 0.05, 0.5, 0.95 and 1 of the distance; under
        "relative" those of its ratio to the second distance. "closer_than_closest" and
        "closer_than_q05": number of synthetic brains closer than the closest validation subject and
        than their 0.05 quantile. "expected_by_chance": expected number among equally many new
        subjects. "nearest": the ten nearest pairs.
    """
    if not len(validation.distance):
        raise StyleGAN3DError(
            "Privacy needs validation subjects as a reference; prepare the data with "
            "--validation above 0."
        )
    n, m = len(synthetic.distance), len(validation.distance)
    order = np.argsort(synthetic.distance)[:10]
    return {
        "n": n,
        "n_validation": m,
        **_counts(synthetic.distance, validation.distance),
        "expected_by_chance": n / (m + 1),
        "synthetic": _quantiles(synthetic.distance),
        "validation": _quantiles(validation.distance),
        "relative": {
            **_counts(synthetic.relative, validation.relative),
            "synthetic": _quantiles(synthetic.relative),
            "validation": _quantiles(validation.relative),
        },
        "nearest": [
            {
                "brain": int(i),
                "person": int(synthetic.person[i]),
                "mirrored": bool(synthetic.mirrored[i]),
                "distance": float(synthetic.distance[i]),
                "relative": float(synthetic.relative[i]),
            }
            for i in order
        ],
    }


def _counts(synthetic: np.ndarray, validation: np.ndarray) -> dict[str, int]:
    return {
        "closer_than_closest": int((synthetic < validation.min()).sum()),
        "closer_than_q05": int((synthetic < np.quantile(validation, 0.05)).sum()),
    }


def _quantiles(values: np.ndarray) -> list[float]:
    return [float(q) for q in np.quantile(values, QUANTILES)] if len(values) else []
