"""From a scanner's arbitrary units to the [0, 1] a generator knows."""

from __future__ import annotations

import numpy as np

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
