"""Telling label maps (segmentations, masks, parcellations) from scans by what they hold."""

from __future__ import annotations

import numpy as np

# Of neighbouring voxels that are not background: label maps reach 0.9, scans of few grey levels
# 0.25.
EQUAL_SHARE = 0.5


def looks_like_labels(data: np.ndarray) -> bool:
    """Whether a volume (I, J, K) holds labels: whole numbers from 0 that keep to regions.

    A scan's neighbouring voxels hardly ever hold the same number, however few grey levels it has.
    """
    if data.min() < 0 or not np.array_equal(data, np.rint(data)):
        return False
    equal = both = 0
    for axis in range(3):
        here, there = (
            data[tuple(part if a == axis else slice(None) for a in range(3))]
            for part in (slice(None, -1), slice(1, None))
        )
        filled = (here != 0) & (there != 0)
        both += int(filled.sum())
        equal += int((filled & (here == there)).sum())
    return equal >= EQUAL_SHARE * both
