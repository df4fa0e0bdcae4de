"""Growing or shrinking a labelled structure, with its surroundings deforming along.

The labels are moved, not painted over: the structure's border goes out by the given distance, what
lies behind it is pushed along and squeezed, less and less with distance. So the deep nuclei beside
a ventricle that grows keep their shape and the cortex stays where it is. The outline of the brain
stays too, as within a skull.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from stylegan3d.errors import StyleGAN3DError

#: Millimetres over which the push falls to a third.
YIELD_MM = 14.0
#: Farthest that a border is moved, mm; a shrinking structure must not fold its surroundings.
FARTHEST_MM = 10.0
# Of the border's distance, in voxels: a border of voxels is a staircase.
_SMOOTH = 0.8
# Of the largest piece of a structure: smaller pieces are specks of the labelling, and stay.
_SPECK = 0.03


def resized(
    labels: np.ndarray, structure: np.ndarray, mm: float, voxel_mm: tuple[float, float, float]
) -> np.ndarray:
    """A label map in which a structure has grown or shrunk.

    Parameters
    ----------
    labels : ndarray
        Integers (X, Y, Z), tissues or regions; 0 is outside the brain.
    structure : ndarray, shape (X, Y, Z), bool
        The structure to resize.
    mm : float
        How far its border moves outwards, -10 to 10; negative makes it smaller.
    voxel_mm : tuple of float
        Edges of a voxel.

    Returns
    -------
    ndarray
        Of the type and shape of `labels`. Voxels outside the brain stay there, and no brain becomes
        outside. Pieces far smaller than the largest are left as they are.

    Raises
    ------
    StyleGAN3DError
        If there is nothing to resize, or the distance is too large.
    """
    if not (structure & (labels > 0)).any():
        raise StyleGAN3DError("There is nothing of this structure in the labels; paint some first.")
    if not abs(mm) <= FARTHEST_MM:
        raise StyleGAN3DError(
            f"A border can be moved by {FARTHEST_MM:g} mm at most, not by {mm:g} mm."
        )
    if mm == 0:
        return labels.copy()
    box = ndimage.find_objects(np.asarray(labels > 0, np.int8))[0]
    found = labels.copy()
    found[box] = _moved(labels[box], _without_specks(structure[box]), mm, voxel_mm)
    return found


def _moved(
    labels: np.ndarray, structure: np.ndarray, mm: float, voxel_mm: tuple[float, float, float]
) -> np.ndarray:
    """`resized`, of a box that holds the whole brain."""
    distance = _distance(structure, voxel_mm)
    source = _source(distance, mm)
    slopes = np.stack(np.gradient(distance, *voxel_mm))
    slopes /= np.maximum(np.sqrt((slopes**2).sum(axis=0)), 1e-3)
    step = (source - distance) * slopes / np.reshape(voxel_mm, (3, 1, 1, 1))
    places = np.indices(labels.shape) + step
    found = ndimage.map_coordinates(labels, places, order=0, mode="nearest")
    if mm > 0:
        # Where two borders meet there is no way out for what lay between them.
        nearest = ndimage.distance_transform_edt(
            ~structure, return_distances=False, return_indices=True
        )
        found = np.where(distance < mm, labels[tuple(nearest)], found)
    return np.where((labels == 0) | (found == 0), labels, found)


def _without_specks(structure: np.ndarray) -> np.ndarray:
    """The pieces of a structure that are worth moving, bool (X, Y, Z)."""
    pieces, _count = ndimage.label(structure, np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= _SPECK * sizes.max())[pieces])


def _distance(structure: np.ndarray, voxel_mm: tuple[float, float, float]) -> np.ndarray:
    """Millimetres to the structure's border, negative inside it; smooth."""
    half = min(voxel_mm) / 2
    outside = ndimage.distance_transform_edt(~structure, voxel_mm)
    inside = ndimage.distance_transform_edt(structure, voxel_mm)
    signed = np.where(structure, half - inside, outside - half)
    return np.asarray(ndimage.gaussian_filter(signed, _SMOOTH))


def _source(distance: np.ndarray, mm: float) -> np.ndarray:
    """Distance before the edit, as an increasing function of the distance after it."""
    behind = np.maximum(distance - mm, 0)
    return np.asarray(distance - mm * np.exp(-behind / YIELD_MM))
