"""The tissue contrast of a scan: a few numbers that set the contrast of generated brains.

Mean and spread of each tissue, how the white matter's brightness runs across the head (the coil),
and how sharp the picture is. They are counted, not learned, so that each can be read and set.
"""

from __future__ import annotations

import numpy as np

from stylegan3d.segmentation.classes import CLASSES

TISSUES = CLASSES[1:]
AXES = ("left to right", "back to front", "bottom to top")
#: Names of the numbers, in their order.
CONTRAST = (
    *(f"{tissue} mean" for tissue in TISSUES),
    *(f"{tissue} spread" for tissue in TISSUES),
    *(f"white {axis}" for axis in AXES),
    "sharpness",
)
# Too few voxels for a mean: such a tissue gets the subjects' mean.
FEWEST = 20
_WHITE = CLASSES.index("white")


def contrast_of(volume: np.ndarray, tissues: np.ndarray) -> np.ndarray:
    """The contrast of one brain.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z), float32
        Values in [0, 1], axes running right, anterior, superior.
    tissues : ndarray, shape (X, Y, Z), uint8
        Tissues of `CLASSES`.

    Returns
    -------
    ndarray, shape (14,), float32
        The numbers of `CONTRAST`: means and spreads in units of the volume, the change of the white
        matter's brightness from the grid's middle to its end along each axis, and the mean step
        between neighbours inside the brain. NaN where a tissue has too few voxels to tell.
    """
    counts = np.bincount(tissues.ravel(), minlength=len(CLASSES))[1:].astype(np.float64)
    values = volume.ravel().astype(np.float64)
    sums, squares = (
        np.bincount(tissues.ravel(), weights=w, minlength=len(CLASSES))[1:]
        for w in (values, values * values)
    )
    enough = counts >= FEWEST
    safe = np.where(enough, counts, 1)
    means = np.where(enough, sums / safe, np.nan)
    spreads = np.sqrt(np.maximum(np.where(enough, squares / safe, np.nan) - means**2, 0))
    parts = [means, spreads, _slopes(volume, tissues), [_sharpness(volume, tissues)]]
    return np.concatenate(parts).astype(np.float32)


def filled(contrast: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """A contrast whose unknown numbers are those of another."""
    return np.where(np.isfinite(contrast), contrast, usual).astype(np.float32)


def _slopes(volume: np.ndarray, tissues: np.ndarray) -> np.ndarray:
    """Of a plane through the white matter's brightness, per half of each axis of the grid."""
    places = np.argwhere(tissues == _WHITE)
    if len(places) < FEWEST:
        return np.full(3, np.nan)
    half = (np.array(volume.shape) - 1) / 2
    design = np.column_stack([(places - half) / half, np.ones(len(places))])
    wanted = design.T @ volume[tissues == _WHITE].astype(np.float64)
    normal = design.T @ design + 1e-6 * len(places) * np.eye(4)
    return np.asarray(np.linalg.solve(normal, wanted))[:3]


def _sharpness(volume: np.ndarray, tissues: np.ndarray) -> float:
    """Mean absolute difference of neighbours that both are labelled; NaN without any."""
    total, count = 0.0, 0
    for axis in range(3):
        first, second = (
            tuple(part if a == axis else slice(None) for a in range(3))
            for part in (slice(None, -1), slice(1, None))
        )
        both = (tissues[first] > 0) & (tissues[second] > 0)
        steps = np.abs(volume[second] - volume[first])[both]
        total, count = total + float(steps.sum(dtype=np.float64)), count + steps.size
    return total / count if count >= FEWEST else float("nan")
