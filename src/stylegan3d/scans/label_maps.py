"""Distinguish label maps (segmentations, masks, parcellations) from scans by their values."""

from __future__ import annotations

import numpy as np

# Share of equal neighbours in the foreground: label maps reach 0.9, scans with few grey levels
# 0.25.
EQUAL_SHARE = 0.5
# Whole parcellations have some two hundred.
MOST_LABELS = 500


def looks_like_labels(data: np.ndarray) -> bool:
    """Whether a volume (I, J, K) contains labels: whole numbers from 0 in contiguous regions.

    Neighbouring voxels of a scan are rarely equal, even with few grey levels.
    """
    if len(np.unique(data[::4, ::4, ::4])) > MOST_LABELS:  # most scans, at once
        return False
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
