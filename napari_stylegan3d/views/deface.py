"""A head without its face, for the display: a face rendered in 3D is recognisable."""

from __future__ import annotations

import numpy as np

#: A share of the brightest tissue: darker voxels are air.
AIR = 0.12
#: Only every n-th voxel is looked at.
STEP = 2
#: An extracted brain has less than this; a head, even one that is cut off at the nose, has more.
HEAD_LITRES = 2.2
#: Height, below the top of the head, at which its length is measured, as shares of that length
#: (an adult head is about 200 mm long).
BAND = (0.25, 0.42)
#: The cut begins at the root of the nose, at this share of the length below the top, and falls
#: towards the back by this many mm a millimetre. It leaves the frontal and temporal lobes whole.
NASION, SLOPE = 0.54, 0.8
TYPICAL_MM = 200.0


def faceless(
    data: np.ndarray,
    scale: tuple[float, float, float],
    translate: tuple[float, float, float],
    white: float,
) -> np.ndarray:
    """The volume with the face set to its lowest value; the same array if it shows no head.

    Parameters
    ----------
    data : ndarray, shape (X, Y, Z)
        In RAS along the world axes.
    scale, translate : tuple of float
        Voxel size and centre of the first voxel, in mm.
    white : float
        Brightest tissue.
    """
    head = data[::STEP, ::STEP, ::STEP] > AIR * white
    step = np.asarray(scale) * STEP
    if not head.any() or head.sum() * step.prod() / 1e6 < HEAD_LITRES:
        return data
    _right, anterior, superior = (
        float(first) + float(size) * np.arange(count)
        for first, size, count in zip(translate, scale, data.shape, strict=True)
    )
    # Single bright voxels in the air are noise, and so are lines of them.
    columns = head.mean(axis=(0, 1))
    top = float(superior[::STEP][np.flatnonzero(columns > 0.01)[-1]])
    heights = superior[::STEP]
    low, high = (top - share * TYPICAL_MM for share in BAND[::-1])
    rows = head[:, :, (heights >= low) & (heights <= high)].mean(axis=(0, 2))
    found = np.flatnonzero(rows > 0.02)
    if not found.size:
        return data
    back, front = (float(anterior[::STEP][index]) for index in (found[0], found[-1]))
    cut = top - NASION * (front - back) - SLOPE * (front - anterior)
    face = superior[None, :] < cut[:, None]
    # The back of the head lies below the line, too, and stays.
    face &= (anterior > (front + back) / 2)[:, None]
    result = data.copy()
    result[:, face] = data.min()
    return result
