"""Lobes and other regions of a brain, and clusters of voxels in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import nibabel as nib
import numpy as np
from scipy import ndimage

from stylegan3d.geometry.space import Space
from stylegan3d.measures.attributes import frame_map, to_frame

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
#: 1 + index into NAMES.
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
    values, to_voxel = frame_map(_FILE)
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


# Findings listed at most.
LISTED = 10
#: Share of a finding's voxels from which a second region is named, too.
SHARED = 0.3
#: Voxels touch by faces, edges and corners.
TOUCHING = np.ones((3, 3, 3))


class Finding(TypedDict):
    """A cluster of voxels that the model does not expect.

    Attributes
    ----------
    place : str
        Region, such as "left temporal lobe"; two of them if it is in both.
    ml : float
        Volume beyond the threshold.
    peak_z : float
        Largest z in it, negative where the scan is darker than expected.
    center_mm : list of float
        Place in it that stands out most, RAS mm in model space.
    unusual : float
        Size of the cluster (sum of what is beyond the threshold) as a multiple of the one that
        counts, which few healthy subjects exceed anywhere.
    """

    place: str
    ml: float
    peak_z: float
    center_mm: list[float]
    unusual: float


@dataclass(frozen=True, eq=False)
class Cluster:
    """Touching voxels that stand out.

    Attributes
    ----------
    index : ndarray, shape (n,)
        Flat indices.
    size : float
        Sum over the voxels of how far each is beyond the threshold, times their volume in ml.
    peak : int
        Flat index of the voxel that stands for it.
    """

    index: np.ndarray
    size: float
    peak: int


def clusters(excess: np.ndarray, space: Space) -> list[Cluster]:
    """The touching voxels of an excess (X, Y, Z) over a threshold, where it is positive.

    The largest cluster is the first.
    """
    pieces, count = ndimage.label(excess > 0, TOUCHING)
    if not count:
        return []
    flat = np.flatnonzero(pieces)
    order = flat[np.argsort(pieces.ravel()[flat], kind="stable")]
    sizes = np.bincount(pieces.ravel()[flat], minlength=count + 1)[1:]
    values = excess.ravel()
    found = [
        Cluster(part, float(values[part].sum()) * space.voxel_ml, int(part[values[part].argmax()]))
        for part in np.split(order, np.cumsum(sizes)[:-1])
    ]
    return sorted(found, key=lambda cluster: -cluster.size)


def find(
    stands_out: Sequence[tuple[float, Sequence[Cluster]]],
    z: np.ndarray,
    mask: np.ndarray,
    space: Space,
) -> list[Finding]:
    """The clusters that are larger than those of healthy subjects, the most unusual first.

    Parameters
    ----------
    stands_out : sequence of (float, sequence of Cluster)
        For each way of looking the size from which a cluster counts, and what was found.
        What a way before has found, too, is left out.
    z : ndarray, shape (X, Y, Z)
        How far each voxel is from what is expected, in spreads.
    mask : ndarray, shape (X, Y, Z), bool
        The brain, to name places.
    """
    seen = np.zeros(z.size, bool)
    large: list[tuple[float, Cluster]] = []
    for limit, found in stands_out:
        new = [c for c in found if c.size > limit and not seen[c.index].any()]
        large += [(c.size / limit, c) for c in new]
        for cluster in new:
            seen[cluster.index] = True
    if not large:
        return []
    large.sort(key=lambda pair: -pair[0])
    regions = region_masks(mask, space)
    names = np.zeros(z.size, np.uint8)
    for number, index in enumerate(regions.values(), start=1):
        names[index] = number
    titles = ["brain", *regions]
    findings: list[Finding] = []
    for unusual, cluster in large[:LISTED]:
        voxel = np.unravel_index(cluster.peak, z.shape)
        place = space.affine[:3, :3] @ np.array(voxel) + space.affine[:3, 3]
        values = z.ravel()[cluster.index]
        sign = np.sign(np.median(values))  # that of most of it, whatever its rim has
        share = np.bincount(names[cluster.index], minlength=len(titles)) / len(cluster.index)
        named = " and ".join(titles[i] for i in (-share).argsort()[:2] if i and share[i] >= SHARED)
        findings.append(
            {
                "place": named or titles[share.argmax()],
                "ml": round(len(cluster.index) * space.voxel_ml, 2),
                "peak_z": round(float(values[np.argmax(sign * values)]), 1),
                "center_mm": [round(float(mm), 1) for mm in place],
                "unusual": round(unusual, 2),
            }
        )
    return findings
