"""Whether brains are copies of training brains: an alarm with a stated rate of false ones.

Smooth correlation says little of copying: all brains correlate. So each brain is brought to one
place and size first, which undoes a shift and a change of scale, and its fine structure alone is
compared: what is left after subtracting a local mean, inside the brain, on a grid of 4 mm. A
copy is then far nearer to one training subject than to the others, be it mirrored, shifted,
rescaled, blurred or in other intensities. Strangers say how far is far: each training subject is
held against all the others, each validation subject against all training subjects.

The nearest in relation to further neighbours follows Carlini et al. 2023, "Extracting training data
from diffusion models" (arXiv 2301.13188, section 5.1), who compare images so because a fixed
distance takes every plain image for a copy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import length_hint

import numpy as np
from scipy import ndimage

from stylegan3d.devices import workers
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.geometry.intensity import unit
from stylegan3d.progress import Progress

GRID_MM = 4.0
# Brain is what is brighter than this share of the bright end; the outermost voxels, whose place
# depends on how a brain was extracted, are left out.
BRAIN, RIM = 0.2, 2
OUTSIDE = 0.05  # of the mean brain
# Width of the local mean, and of the smoothing before resampling, in voxels of the grid.
LOCAL, SMOOTHING = 1.5, 0.4
# The nearest subject is held against this next one: a person who is in the data twice hides nobody.
NEXT = 5
FALSE_ALARMS = 0.01
TAIL = 0.2
FEWEST_STRANGERS = 40


@dataclass(frozen=True)
class Closeness:
    """How close n brains come to training subjects, in fine structure.

    Attributes
    ----------
    correlation : ndarray, shape (n,)
        With the nearest subject.
    ratio : ndarray, shape (n,)
        Distance (1 - correlation) to the nearest subject in that to the fifth nearest: close to 1
        for a stranger, 0 for a copy.
    person : ndarray, shape (n,)
        Index of the nearest.
    mirrored : ndarray, shape (n,)
        Whether it is the mirror image that is nearest.
    """

    correlation: np.ndarray
    ratio: np.ndarray
    person: np.ndarray
    mirrored: np.ndarray

    @classmethod
    def of(cls, correlations: np.ndarray) -> Closeness:
        """From correlations [n, 2, people] with the subjects and with their mirror images."""
        best = correlations.max(axis=1)
        order = np.argsort(-best, axis=1)
        rows, person = np.arange(len(best)), order[:, 0]
        nearest, other = best[rows, person], best[rows, order[:, min(NEXT, best.shape[1]) - 1]]
        ratio = np.maximum(1 - nearest, 0) / np.maximum(1 - other, 1e-6)
        mirrored = correlations[rows, 1, person] > correlations[rows, 0, person]
        return cls(nearest, ratio, person, mirrored)

    @classmethod
    def join(cls, parts: list[Closeness]) -> Closeness:
        """Several in a row as one."""
        names = ("correlation", "ratio", "person", "mirrored")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class FineStructure:
    """Brings brains to one place and size and takes their fine structure.

    Parameters
    ----------
    template : ndarray, shape (X, Y, Z)
        Values in [0, 1], the mean brain, whose place and size they get.
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
        """The brain on the coarse grid, with the place and the size of the template."""
        center, radius_mm = self._place(volume)
        scale = radius_mm / self.radius_mm
        first = (self.step - 1) / 2  # the middle of a coarse voxel, in fine ones
        smooth = ndimage.gaussian_filter(volume, SMOOTHING * self.step)
        return ndimage.affine_transform(
            smooth,
            np.diag(scale * self.step),
            offset=center + scale * (first - self.center),
            output_shape=self.shape,
            order=1,
        )


class CopyDetector:
    """Training brains and their mirror images as fine structure, to find copies of them.

    Parameters
    ----------
    volumes : iterable of ndarray, shape (subjects, X, Y, Z), uint8
        Volumes of a pack; may be a memory map.
    template : ndarray, shape (X, Y, Z)
        Values in [0, 1], the mean brain.
    voxel_mm : tuple of float
        Edge lengths of the voxels.
    sideways : int
        The axis that runs left to right.
    """

    def __init__(
        self,
        volumes: Iterable[np.ndarray],
        template: np.ndarray,
        voxel_mm: tuple[float, float, float],
        sideways: int = 0,
        progress: Progress | None = None,
    ) -> None:
        self.structure = FineStructure(template, voxel_mm)
        total, straight, mirrored = length_hint(volumes), [], []
        for done, volume in enumerate(volumes, 1):
            straight.append(self.structure(volume))
            mirrored.append(self.structure(np.flip(volume, sideways)))
            if progress is not None:
                progress(done, total)
        if len(straight) < 3:
            raise StyleGAN3DError("A search for copies needs three or more training brains.")
        self.people = np.stack([straight, mirrored])  # [2, subjects, voxels]

    def closeness(self, brains: Iterable[np.ndarray]) -> Closeness:
        """How close brains come, each (X, Y, Z), uint8 or float."""
        with workers() as run:
            found = [self.people @ fine for fine in run(self.structure, brains)]
        return Closeness.of(np.stack(found))

    def among_training(self) -> Closeness:
        """How close each training subject comes to the others."""
        straight = self.people[0]
        correlations = np.stack([straight @ kind.T for kind in self.people], axis=1)
        own = np.arange(len(straight))
        correlations[own, :, own] = -1.0
        return Closeness.of(correlations)


def alarm_threshold(strangers: np.ndarray, n: int, rate: float = FALSE_ALARMS) -> float:
    """Below which `Closeness.ratio` a brain is taken for a copy.

    The least of n strangers falls below it with a chance of at most `rate`, for all n together. So
    rare a ratio is found among no few hundred strangers: the tail of its logarithm below the
    quantile 0.2 is taken for exponential (peaks over threshold, shape 0; Coles 2001, "An
    Introduction to Statistical Modeling of Extreme Values", section 4.2). Its width comes from the
    median of the excesses, which a few subjects who are in the data twice hardly move, and is
    widened by the standard error of that (1 / (log 2 sqrt(excesses)) of it).

    Parameters
    ----------
    strangers : ndarray, shape (m,)
        Strangers of subjects who are none of those they are held against.
    """
    logarithms = np.log(np.maximum(strangers, 1e-12))
    start = float(np.quantile(logarithms, TAIL))
    excess = start - logarithms[logarithms < start]
    width = float(np.median(excess)) / np.log(2) if len(excess) else 0.0
    width *= 1 + 1 / (np.log(2) * np.sqrt(max(len(excess), 1)))
    each = 1 - (1 - rate) ** (1 / n)
    return float(np.exp(start - width * np.log(max(TAIL / each, 1.0))))


def _bright_end(volume: np.ndarray) -> float:
    """99th percentile of what is not background."""
    inside = volume[volume > 0.05 * float(volume.max())]
    return float(np.percentile(inside, 99)) if inside.size else 1.0
