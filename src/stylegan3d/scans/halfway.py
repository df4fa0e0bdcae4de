"""Two scans of one person on one grid, each moved half of the way to the other.

A scan that is resampled onto another one is blurred more than that one, and the blur looks like a
change of tissue. So the rigid movement between two visits is divided: each scan goes half of it, by
one interpolation of its own voxels (Reuter et al. 2012, NeuroImage 61, 1402, "Within-subject
template estimation for unbiased longitudinal image analysis"). The movement is the mean of both
directions of the alignment, so exchanging the visits gives the same pair, exchanged.

What the scanner alone changes is taken off by half from each: the contrast, by a curve, and the
shading, which is the slow part of the ratio of both images (Lewis and Fox 2004, NeuroImage 23, 75,
"Correction of differential intensity inhomogeneity in longitudinal MR images").
"""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.linalg import expm, logm
from scipy.spatial.transform import Rotation

from stylegan3d.geometry.space import Space
from stylegan3d.scans.aligned import AlignedScan
from stylegan3d.scans.alignment import LEVELS_MM, centroid, refined_rigid
from stylegan3d.scans.intensity import correlation, rising
from stylegan3d.scans.target import Template

#: Folds of one person agree: their alignment also uses a finer level.
LEVELS_OF_ONE_MM = (*LEVELS_MM, 2.0)
#: Tissue is brighter than this in both; shading is slower than this standard deviation and, like
#: the ratio at a voxel, within this range of logarithms.
TISSUE, SHADING_MM, LARGEST_RATIO = 0.35, 12.0, 0.4
#: What the first round leaves of the shading, the second takes.
ROUNDS = 2
#: Parts of equally many voxels, by brightness, whose medians tell the contrast.
BINS = 40
#: Standard deviation that divides a brain's shape from its folds.
FOLDS_MM = 2.0


@dataclass(frozen=True, eq=False)
class Halfway:
    """A pair of scans on one grid, half-way between them.

    Attributes
    ----------
    first, second : AlignedScan
        Each by one interpolation; `rigid` leads from its scan to the grid.
    volumes : tuple of ndarray, float32 (X, Y, Z)
        Both with their contrast and shading matched, in [0, 1].
    moved_mm, turned_deg : float
        The rigid movement between the two as they were aligned to the model.
    agreement : float
        Correlation of the folds of both brains; see `folds_agreement`.
    """

    first: AlignedScan
    second: AlignedScan
    volumes: tuple[np.ndarray, np.ndarray]
    moved_mm: float
    turned_deg: float
    agreement: float

    @property
    def space(self) -> Space:
        """The common grid."""
        return self.first.space


def halfway(first: AlignedScan, second: AlignedScan) -> Halfway:
    """Bring two scans of one person to one grid.

    Parameters
    ----------
    first, second : AlignedScan
        As `Scan.align` makes them, to the same target.

    Raises
    ------
    ScanError
        If a brain does not resemble the model's, or lies outside its grid.
    """
    forth = _between(first, second)
    whole = _mean(forth, np.linalg.inv(_between(second, first)))
    half = _power(whole, 0.5)
    one, other = first.posed(np.linalg.inv(half) @ first.rigid), second.posed(half @ second.rigid)
    middle = centroid(first.brain_mask, first.space)
    far = float(np.linalg.norm(nib.affines.apply_affine(whole, middle) - middle))
    turned = float(np.degrees(Rotation.from_matrix(whole[:3, :3]).magnitude()))
    volumes = matched(one.volume, other.volume, one.space)
    return Halfway(one, other, volumes, far, turned, folds_agreement(*volumes, one.space))


def _between(first: AlignedScan, second: AlignedScan) -> np.ndarray:
    """(4, 4) of the second brain onto the first, both as aligned to the model."""
    prepared = second.prepared
    if prepared is None:
        raise ValueError("Only what Scan.align made can be moved.")
    target = Template(first.space, first.volume)
    rigid = refined_rigid(
        prepared.brain, prepared.space, target, second.rigid, levels_mm=LEVELS_OF_ONE_MM
    )
    moved: np.ndarray = rigid @ np.linalg.inv(second.rigid)
    return moved


def _mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The rigid movement (4, 4) half-way from one to another."""
    return a @ _power(np.linalg.inv(a) @ b, 0.5)


def _power(rigid: np.ndarray, share: float) -> np.ndarray:
    """A share of a rigid movement (4, 4) along its screw axis."""
    found: np.ndarray = expm(share * np.real(logm(rigid)))
    return found


def matched(first: np.ndarray, second: np.ndarray, space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Two images of one brain with the same contrast and shading, float32 (X, Y, Z) in [0, 1].

    Both contrasts are brought to the one in the middle by the medians where the mean of the images
    is about as bright: what changed in few voxels does not count. Shading is compared where both
    show tissue.
    """
    first, second = _same_contrast(first, second)
    for _ in range(ROUNDS):
        half = np.exp(_slow_ratio(first, second, space) / 2)
        first, second = np.clip(first * half, 0, 1), np.clip(second / half, 0, 1)
    return first, second


def _slow_ratio(first: np.ndarray, second: np.ndarray, space: Space) -> np.ndarray:
    """Logarithm of second over first, smooth, (X, Y, Z)."""
    both = (first > TISSUE) & (second > TISSUE)
    ratio = np.zeros(first.shape, np.float32)
    np.log(second / np.maximum(first, TISSUE), out=ratio, where=both)
    ratio = np.clip(ratio, -LARGEST_RATIO, LARGEST_RATIO)
    sigma = SHADING_MM / np.array(space.voxel_size)
    near = ndimage.gaussian_filter(both.astype(np.float32), sigma)
    return ndimage.gaussian_filter(ratio, sigma) / np.maximum(near, 1e-3)


def _same_contrast(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both with the curve of intensities in the middle of theirs."""
    inside = (first > 0) & (second > 0)
    values = first[inside], second[inside]
    mean = (values[0] + values[1]) / 2
    edges = np.quantile(mean, np.linspace(0, 1, BINS + 1))
    part = np.clip(np.searchsorted(edges, mean, side="right") - 1, 0, BINS - 1)
    medians = [np.array(ndimage.median(one, part, np.arange(BINS)), np.float64) for one in values]
    middle = np.concatenate([[0.0], np.maximum.accumulate((medians[0] + medians[1]) / 2), [1.0]])
    found = []
    for image, median in zip((first, second), medians, strict=True):
        places = rising(np.concatenate([[0.0], median, [1.0]]))
        found.append(np.interp(image, places, middle).astype(np.float32))
    return found[0], found[1]


def folds_agreement(first: np.ndarray, second: np.ndarray, space: Space) -> float:
    """Correlation of what is finer than the brain's shape, inside both brains.

    Parameters
    ----------
    first, second : ndarray, shape (X, Y, Z)
        Aligned, 0 outside the brain.
    """
    inside = (first > 0) & (second > 0)
    sigma = FOLDS_MM / np.array(space.voxel_size)
    fine = [one - ndimage.gaussian_filter(one, sigma) for one in (first, second)]
    deep = ndimage.binary_erosion(inside, iterations=2)
    return correlation(fine[0][deep], fine[1][deep]) if deep.any() else 0.0
