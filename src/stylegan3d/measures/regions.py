"""Regions of a brain, to locate differences between a reconstruction and its scan.

A coarse atlas in the frame of the mean brain is scaled to each brain's centre and size, without
registration. It distinguishes lobes, not gyri.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import nibabel as nib
import numpy as np

from stylegan3d.geometry.space import Space
from stylegan3d.measures.attributes import FRAME_CENTER_MM, FRAME_SPREAD_MM

#: Names of the atlas values, from 1; paired regions are split by side.
NAMES = (
    "frontal lobe",
    "parietal lobe",
    "temporal lobe",
    "occipital lobe",
    "deep structures",
    "cerebellum",
    "ventricles",
    "brain stem",
)
TWO_SIDED = NAMES[:6]
_FILE = "atlas/regions.nii.gz"


def region_masks(mask: np.ndarray, space: Space) -> dict[str, np.ndarray]:
    """The regions of a brain.

    Parameters
    ----------
    mask : ndarray, shape (X, Y, Z), bool
        The brain, in template orientation.
    space : Space
        Its grid.

    Returns
    -------
    dict of str to ndarray
        Flat voxel indices of each non-empty region, such as "left frontal lobe"; their union is the
        mask.
    """
    flat = np.flatnonzero(mask)
    places = nib.affines.apply_affine(space.affine, np.argwhere(mask))
    if len(flat) < 2 or (places.std(axis=0) <= 0).any():
        return {}
    framed = to_frame(places, places.mean(axis=0), places.std(axis=0))
    values, to_voxel = _atlas()
    index = np.rint(nib.affines.apply_affine(to_voxel, framed)).astype(int)
    # Beyond its border the atlas is extended.
    label = values[tuple(np.clip(index, 0, np.array(values.shape) - 1).T)]
    right = framed[:, 0] > 0
    found = {}
    for value, name in enumerate(NAMES, 1):
        of_region = label == value
        sides = {f"left {name}": of_region & ~right, f"right {name}": of_region & right}
        for full_name, chosen in (sides if name in TWO_SIDED else {name: of_region}).items():
            if chosen.any():
                found[full_name] = flat[chosen]
    return found


def to_frame(places_mm: np.ndarray, center_mm: np.ndarray, spread_mm: np.ndarray) -> np.ndarray:
    """[n, 3] RAS mm in a brain with this centre and spread -> RAS mm in the mean brain's frame."""
    return (places_mm - center_mm) / spread_mm * FRAME_SPREAD_MM + FRAME_CENTER_MM


@cache
def _atlas() -> tuple[np.ndarray, np.ndarray]:
    """uint8 (X, Y, Z), 1 + index into NAMES, and (4, 4) frame mm -> voxels."""
    with resources.as_file(resources.files("stylegan3d") / _FILE) as path:
        image = nib.load(path)
        return np.asarray(image.dataobj, dtype=np.uint8), np.linalg.inv(image.affine)
