"""Simple baselines, for comparison with the network.

Two ways without a network: every brain gets the label most training subjects have at the same
place; and a mixture of Gaussians, one for each tissue, with where subjects have the tissues as its
prior (expectation maximisation; Ashburner and Friston 2005, doi:10.1016/j.neuroimage.2005.02.018,
without their deformation and bias field).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from stylegan3d.plain import Json
from stylegan3d.segmentation.classes import CLASSES, dice_scores, mean_scores
from stylegan3d.training.segmentation_data import LabelledBrains

#: Rounds of expectation maximisation; after ten of them the labels hardly change.
ROUNDS = 12
# Of a map of shares, voxels: 157 subjects leave holes between them.
_BLUR = 1.0
_LEAST_SHARE, _LEAST_SPREAD = 1e-4, 0.01


def shares(brains: LabelledBrains) -> np.ndarray:
    """Share of the training subjects that have each label at each place, float32 [6, X, Y, Z]."""
    found = np.zeros((len(CLASSES), *brains.labels.shape[1:]), np.float32)
    for labels in brains.labels[: brains.training]:
        for index in range(len(CLASSES)):
            found[index] += labels == index
    found /= brains.training
    blurred = np.stack([ndimage.gaussian_filter(share, _BLUR) for share in found])
    return np.maximum(blurred, _LEAST_SHARE)


def by_place(volume: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """The commonest label of subjects at each place, uint8 (X, Y, Z); nothing outside the brain."""
    return np.where(volume > 0, prior.argmax(axis=0), 0).astype(np.uint8)


def by_mixture(volume: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Labels by intensity and place.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z), float32
        0 outside the brain.
    prior : ndarray, shape (6, X, Y, Z), float32
        From `shares`.

    Returns
    -------
    ndarray, shape (X, Y, Z), uint8
        Of `CLASSES`.
    """
    inside = volume > 0
    labels = np.zeros(volume.shape, np.uint8)
    if not inside.any():
        return labels
    values, weights = volume[inside].astype(np.float64), prior[:, inside].astype(np.float64)
    chances = weights / weights.sum(axis=0)
    for _ in range(ROUNDS):
        total = chances.sum(axis=1) + 1e-9
        means = (chances @ values) / total
        spreads = (chances * (values - means[:, None]) ** 2).sum(axis=1) / total
        spreads = np.maximum(np.sqrt(spreads), _LEAST_SPREAD)[:, None]
        bells = np.exp(-0.5 * ((values - means[:, None]) / spreads) ** 2) / spreads
        chances = weights * bells + 1e-12
        chances /= chances.sum(axis=0)
    labels[inside] = chances.argmax(axis=0)
    return labels


def measure_baselines(brains: LabelledBrains) -> Json:
    """Mean Dice of each tissue on the held-out subjects: {"by_place": ..., "by_mixture": ...}."""
    prior = shares(brains)
    ways: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "by_place": by_place,
        "by_mixture": by_mixture,
    }
    found = {}
    for name, way in ways.items():
        scores = [
            dice_scores(way(brains.volume(i), prior), brains.labels[i]) for i in brains.validation
        ]
        found[name] = {tissue: round(value, 4) for tissue, value in mean_scores(scores).items()}
    return found
