"""From a scanner's arbitrary units to the [0, 1] a generator knows."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

PERCENTILE = 99.5


def normalise(data: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, float]:
    """Divide by the 99.5th percentile inside the brain, clip to [0, 1], 0 outside.

    Parameters
    ----------
    data : ndarray (X, Y, Z)
    mask : ndarray, bool (X, Y, Z)

    Returns
    -------
    volume : ndarray, float32 (X, Y, Z) in [0, 1]
    scale : float
        What 1.0 stands for, in the units of `data`.
    """
    scale = float(np.percentile(data[mask], PERCENTILE))
    volume = np.where(mask, np.clip(data / scale, 0, 1), 0)
    return volume.astype(np.float32), scale


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation of two volumes; 0 if one of them is the same everywhere."""
    if first.min() == first.max() or second.min() == second.max():
        return 0.0
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def contrast_agreement(volume: np.ndarray, template: np.ndarray, mask: np.ndarray) -> float:
    """Correlation with the mean brain well inside the brain, where only tissue contrast counts.

    T1-weighted scans reach 0.4 to 0.8, FLAIR 0.15, T2-weighted ones -0.4: with the outline of the
    brain left out, grey and white matter changing places shows.
    """
    deep = mask & ndimage.binary_erosion(template > 0.3, iterations=2)
    if np.count_nonzero(deep) < 100:
        return 0.0
    return correlation(volume[deep], template[deep])


def contrast_in_brain(volume: np.ndarray, template: np.ndarray, mask: np.ndarray) -> str:
    """Which contrast an aligned brain shows: fluid, grey and white matter in order of brightness.

    "" where they are in no order that is known.
    """
    inside = mask & ndimage.binary_erosion(template > 0.05, iterations=4)
    if np.count_nonzero(inside) < 100:
        return ""
    values = template[inside]
    places = (
        inside & (template < np.percentile(values, 3)),
        inside & (template > np.percentile(values, 25)) & (template < np.percentile(values, 45)),
        inside & (template > np.percentile(values, 85)),
    )
    if not all(place.any() for place in places):
        return ""
    fluid, grey, white = (float(np.median(volume[place])) for place in places)
    if fluid > max(grey, white):
        return "T2-weighted"
    return (
        "T1-weighted" if white > 1.05 * grey else "FLAIR or proton density" if fluid < grey else ""
    )
