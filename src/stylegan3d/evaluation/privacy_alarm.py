"""Memorisation warning: detects copies of training brains at a stated rate of false ones.

Correlation of smooth structure says little about copying: all brains correlate. So each brain is
first normalised in position and size, and only its fine structure is compared: the residual after
subtracting a local mean, inside the brain, on a 4 mm grid. A copy is then far closer to one
training subject than to the others, even if mirrored, shifted, rescaled, blurred or changed in
intensity. The reference are unrelated pairs: each training subject against all others, each
validation subject against all training subjects. Scans of one person are no such pair.

The ratio to further neighbours follows Carlini et al. 2023, "Extracting training data from
diffusion models" (arXiv 2301.13188, section 5.1): a fixed distance would take every plain image for
a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import length_hint

import numpy as np
from scipy import ndimage

from stylegan3d.devices import computed
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.evaluation.privacy import least_by_person, same_person
from stylegan3d.geometry.intensity import as_packed, unit
from stylegan3d.progress import SILENT, Progress

GRID_MM = 4.0
# Threshold of the brain as a share of the brightest tissue; the outermost voxels, which depend on
# brain extraction, are excluded.
BRAIN, RIM = 0.2, 2
OUTSIDE = 0.05  # radius of the mean brain
# Widths of the local mean and of the smoothing before resampling, in voxels of the grid.
LOCAL, SMOOTHING = 1.5, 0.4
# Rank of the reference neighbour among people, so that one who is in the data under several names
# does not hide copies.
NEXT = 5
FALSE_ALARMS = 0.01
TAIL = 0.2
FEWEST_STRANGERS = 40


@dataclass(frozen=True)
class Closeness:
    """Closeness of n brains to training subjects in fine structure.

    Attributes
    ----------
    correlation : ndarray, shape (n,)
        Correlation with the nearest subject.
    ratio : ndarray, shape (n,)
        Ratio of the distances (1 - correlation) to the nearest and fifth nearest person, of whose
        scans the nearest counts: close to 1 for an unrelated subject, 0 for a copy.
    person : ndarray, shape (n,)
        Index of the nearest scan.
    mirrored : ndarray, shape (n,)
        Whether its mirror image is nearest.
    """

    correlation: np.ndarray
    ratio: np.ndarray
    person: np.ndarray
    mirrored: np.ndarray

    @classmethod
    def of(cls, correlations: np.ndarray, person: Sequence[object] | None = None) -> Closeness:
        """From correlations [n, 2, scans] with the training scans and their mirror images.

        `person` tells whose each scan is; by default everybody's own.
        """
        best = correlations.max(axis=1)
        rows, scan = np.arange(len(best)), best.argmax(axis=1)
        people = np.sort(least_by_person(1 - best, person), axis=1)
        other = people[:, min(NEXT, people.shape[1]) - 1]
        ratio = np.maximum(people[:, 0], 0) / np.maximum(other, 1e-6)
        mirrored = correlations[rows, 1, scan] > correlations[rows, 0, scan]
        return cls(best[rows, scan], ratio, scan, mirrored)

    @classmethod
    def join(cls, parts: list[Closeness]) -> Closeness:
        """Concatenate."""
        names = ("correlation", "ratio", "person", "mirrored")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class FineStructure:
    """Normalises position and size of brains and extracts their fine structure.

    Parameters
    ----------
    template : ndarray, shape (X, Y, Z)
        The mean brain, values in [0, 1], to whose position and size they are normalised.
    voxel_mm : tuple of float
        Edge lengths of the voxels.
    """

    def __init__(self, template: np.ndarray, voxel_mm: tuple[float, float, float]) -> None:
        self.voxel_mm = np.array(voxel_mm)
        self.step = np.maximum(GRID_MM / self.voxel_mm, 1.0)
        self.shape = tuple((np.array(template.shape) // self.step).astype(int))
        self.center, self.radius_mm = self._place(template)
        self.mask = self._moved(template) > OUTSIDE

    def __call__(self, volume: np.ndarray) -> np.ndarray:
        """Fine structure of a brain, float32 [voxels], with mean 0 and norm 1.

        Parameters
        ----------
        volume : ndarray, shape (X, Y, Z), uint8
            Volume of a pack or float in [0, 1]; the scale does not matter.
        """
        moved = self._moved(unit(volume))
        inside = moved > BRAIN * _bright_end(moved)
        weight = ndimage.gaussian_filter(inside.astype(np.float32), LOCAL)
        mean = ndimage.gaussian_filter(moved * inside, LOCAL) / np.maximum(weight, 1e-3)
        fine = (moved - mean) * ndimage.binary_erosion(inside, iterations=RIM)
        values = fine[self.mask]
        values -= values.mean()
        return values / max(float(np.linalg.norm(values)), 1e-12)

    def _place(self, volume: np.ndarray) -> tuple[np.ndarray, float]:
        """Centre (voxels) and root mean square radius (mm) of the brain."""
        places = np.argwhere(volume > BRAIN * _bright_end(volume)).astype(np.float64)
        if len(places) < 2:
            raise StyleGAN3DError(
                "A volume without a brain cannot be compared to training brains; check the "
                "generator."
            )
        center = places.mean(axis=0)
        offsets = (places - center) * self.voxel_mm
        return center, float(np.sqrt((offsets**2).sum(axis=1).mean()))

    def _moved(self, volume: np.ndarray) -> np.ndarray:
        """The brain on the coarse grid, with position and size of the template."""
        center, radius_mm = self._place(volume)
        scale = radius_mm / self.radius_mm
        first = (self.step - 1) / 2  # the centre of a coarse voxel in fine voxels
        smooth = ndimage.gaussian_filter(volume, SMOOTHING * self.step)
        return ndimage.affine_transform(
            smooth,
            np.diag(scale * self.step),
            offset=center + scale * (first - self.center),
            output_shape=self.shape,
            order=1,
        )


class CopyDetector:
    """Fine structure of training brains and their mirror images, to find copies.

    Parameters
    ----------
    volumes : iterable of ndarray, shape (subjects, X, Y, Z), uint8
        Volumes of a pack; may be a memory map.
    template : ndarray, shape (X, Y, Z)
        Values in [0, 1], the mean brain.
    voxel_mm : tuple of float
        Edge lengths of the voxels.
    sideways : int
        The left-right axis.
    person : sequence or None
        Whose brain each volume is; everybody is another person by default.
    """

    def __init__(
        self,
        volumes: Iterable[np.ndarray],
        template: np.ndarray,
        voxel_mm: tuple[float, float, float],
        sideways: int = 0,
        progress: Progress = SILENT,
        person: Sequence[object] | None = None,
    ) -> None:
        self.structure = FineStructure(template, voxel_mm)
        total, straight, mirrored = length_hint(volumes), [], []
        for done, volume in enumerate(volumes, 1):
            straight.append(self.structure(volume))
            mirrored.append(self.structure(np.flip(volume, sideways)))
            progress(done, total)
        if len(straight if person is None else set(person)) < 3:
            raise StyleGAN3DError("A search for copies needs three or more training subjects.")
        self.people = np.stack([straight, mirrored])  # [2, scans, voxels]
        self.person = person
        self.same = same_person(person, len(straight))

    def closeness(self, brains: Iterable[np.ndarray]) -> Closeness:
        """Closeness of brains, each (X, Y, Z), uint8 or float."""
        found = [self.people @ fine for fine in computed(self.structure, brains)]
        return Closeness.of(np.stack(found), self.person)

    def among_training(self) -> Closeness:
        """Closeness of each training brain to those of other people."""
        straight = self.people[0]
        correlations = np.stack([straight @ kind.T for kind in self.people], axis=1)
        return Closeness.of(np.where(self.same[:, None], -1.0, correlations), self.person)


def alarm_threshold(strangers: np.ndarray, n: int, rate: float = FALSE_ALARMS) -> float:
    """Threshold of `Closeness.ratio` below which a brain counts as a copy.

    The least of n unrelated brains falls below it with a probability of at most `rate`. Such rare
    ratios are extrapolated: the tail of its logarithm below the quantile 0.2 is modelled as
    exponential (peaks over threshold, shape 0; Coles 2001, "An Introduction to Statistical Modeling
    of Extreme Values", section 4.2). The scale is estimated from the median of the excesses, which
    is robust to a few duplicates, plus its standard error (1 / (log 2 sqrt(excesses)) of it).

    Parameters
    ----------
    strangers : ndarray, shape (m,)
        Ratios of unrelated subjects.
    """
    logarithms = np.log(np.maximum(strangers, 1e-12))
    start = float(np.quantile(logarithms, TAIL))
    excess = start - logarithms[logarithms < start]
    width = float(np.median(excess)) / np.log(2) if len(excess) else 0.0
    width *= 1 + 1 / (np.log(2) * np.sqrt(max(len(excess), 1)))
    each = 1 - (1 - rate) ** (1 / n)
    return float(np.exp(start - width * np.log(max(TAIL / each, 1.0))))


def _bright_end(volume: np.ndarray) -> float:
    """99th percentile of the foreground."""
    inside = volume[volume > 0.05 * float(volume.max())]
    return float(np.percentile(inside, 99)) if inside.size else 1.0


Disguise = Callable[[np.ndarray], np.ndarray]
SHIFT_MM, SCALE, BLUR_VOXELS, GAMMA = 2.0, 0.03, 1.0, 1.3


def disguises(voxel_mm: tuple[float, float, float], sideways: int = 0) -> dict[str, Disguise]:
    """Transformations that disguise a copy, by name: uint8 (X, Y, Z) to the same.

    Shifted by the larger of a voxel and 2 mm; 3 % larger or smaller; mirrored; blurred by one
    voxel; changed in intensity; and some combinations.
    """

    def shifted(volume: np.ndarray) -> np.ndarray:
        return np.roll(volume, [max(round(SHIFT_MM / mm), 1) for mm in voxel_mm], axis=(0, 1, 2))

    def mirrored(volume: np.ndarray) -> np.ndarray:
        return np.flip(volume, sideways)

    return {
        "as it is": np.array,
        "mirrored": mirrored,
        "shifted": shifted,
        "larger": lambda volume: rescaled(volume, 1 + SCALE),
        "smaller": lambda volume: rescaled(volume, 1 - SCALE),
        "blurred": blurred,
        "other intensities": lambda volume: as_packed(0.9 * unit(volume) ** GAMMA),
        "mirrored, shifted, larger": lambda volume: rescaled(mirrored(shifted(volume)), 1 + SCALE),
        "mirrored, smaller, blurred": lambda volume: blurred(rescaled(mirrored(volume), 1 - SCALE)),
    }


def rescaled(volume: np.ndarray, factor: float) -> np.ndarray:
    """A brain scaled by `factor` about the centre of its grid."""
    middle = (np.array(volume.shape) - 1) / 2
    matrix = np.eye(3) / factor
    return as_packed(
        ndimage.affine_transform(unit(volume), matrix, offset=middle - matrix @ middle, order=1)
    )


def blurred(volume: np.ndarray) -> np.ndarray:
    """A brain blurred by a Gaussian of one voxel."""
    return as_packed(ndimage.gaussian_filter(unit(volume), BLUR_VOXELS))
