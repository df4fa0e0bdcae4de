"""A map of latent space: positions of brains along two directions, and edits that reach them.

The plane is spanned by two directions, by default the first two principal components of w (Härkönen
et al., 2020, "GANSpace: Discovering Interpretable GAN Controls"). Positions are in standard
deviations of random brains from the average brain, the unit of the edit sliders. The density of
random brains shows what the generator has learned best.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from stylegan3d.base import RecipeError
from stylegan3d.model.random_latents import random_blocks
from stylegan3d.recipe.latents import find_step
from stylegan3d.recipe.recipe import Edit, Recipe, Truncation

if TYPE_CHECKING:
    from torch import Tensor

    from stylegan3d.model.generator import Generator

#: Random brains for the density.
SAMPLES = 2000
#: After so many more the density is worth drawing anew.
BLOCK = 100
#: Shares of random brains enclosed by the contour lines.
SHARES = (0.5, 0.8, 0.95)
#: Cells of the density along each axis, and the width of the smoothing in sd.
CELLS, SMOOTHING_SD = 80, 0.3
#: Positions are rounded to this many sd; shorter edits are dropped.
FINEST_SD = 0.01


def axis_names(generator: Generator) -> tuple[str, ...]:
    """Directions usable as axes: principal components, or all if there are fewer than two.

    Principal components are orthogonal, so each can be changed without the other.
    """
    directions = generator.directions
    fitted = set(directions.attributes)
    components = tuple(name for name in directions.names if name not in fitted)
    return components if len(components) >= 2 else directions.names


@dataclass(frozen=True, eq=False)
class Survey:
    """Random brains along all axes of a generator.

    Attributes
    ----------
    names : tuple of str
        The axes.
    steps : ndarray, shape (K, w_dim), float64
        One standard deviation along each.
    centre : ndarray, shape (w_dim,), float64
        The average brain.
    points : ndarray, shape (samples, K), float64
        Untruncated, unconditional random brains.
    """

    names: tuple[str, ...]
    steps: np.ndarray
    centre: np.ndarray
    points: np.ndarray

    @classmethod
    def of(cls, generator: Generator, samples: int = SAMPLES, seed: int = 0) -> Survey:
        """Sample random brains; takes well under a second with the bundled generator."""
        *_, survey = cls.begun(generator).growing(generator, samples, seed)
        return survey

    @classmethod
    def begun(cls, generator: Generator) -> Survey:
        """The axes, and no brain yet."""
        names = axis_names(generator)
        steps = np.array([find_step(name, generator) for name in names], dtype=np.float64)
        centre = generator.w_avg.detach().double().cpu().numpy().reshape(-1)
        return cls(names, steps, centre, np.empty((0, len(names))))

    def growing(
        self, generator: Generator, samples: int = SAMPLES, seed: int = 0
    ) -> Iterator[Survey]:
        """This survey with more and more brains, up to so many; continues where it stands."""
        survey = self
        for block in random_blocks(generator, samples, seed, len(self.points), BLOCK):
            survey = replace(survey, points=np.concatenate([survey.points, survey.project(block)]))
            yield survey

    def project(self, w: np.ndarray) -> np.ndarray:
        """Coordinates `(..., K)` in sd along each axis of w `(..., w_dim)`."""
        per_sd = self.steps / np.square(self.steps).sum(axis=-1, keepdims=True)
        with np.errstate(invalid="ignore", over="ignore"):  # the latent is not finite
            return (np.asarray(w) - self.centre) @ per_sd.T

    def locate(self, w: Tensor) -> np.ndarray:
        """Coordinates `(K,)` of the layer mean of one latent `[num_layers, w_dim]`."""
        return self.project(w.detach().double().cpu().numpy().mean(axis=0))

    def plane(self, x: str, y: str) -> Plane:
        """The map with these axes; RecipeError unless they are two different ones."""
        if x not in self.names or y not in self.names or x == y:
            raise RecipeError(f"A map needs two different axes of {', '.join(self.names)}.")
        return Plane(self, (self.names.index(x), self.names.index(y)))


@dataclass(frozen=True, eq=False)
class Plane:
    """Two axes of a survey.

    Attributes
    ----------
    survey : Survey
    axes : tuple of int
        Indices (x, y) among the survey's axes.
    """

    survey: Survey
    axes: tuple[int, int]

    @property
    def names(self) -> tuple[str, str]:
        """The directions' names."""
        x, y = self.axes
        return self.survey.names[x], self.survey.names[y]

    @cached_property
    def points(self) -> np.ndarray:
        """`(samples, 2)` random brains, in sd."""
        return self.survey.points[:, self.axes]

    @property
    def effects(self) -> np.ndarray:
        """`(2, 2)`: change along both axes (columns) by an edit of 1 sd along each (rows).

        The identity for orthogonal axes.
        """
        return self.survey.project(self.survey.centre + self.survey.steps[list(self.axes)])[
            :, self.axes
        ]

    def share_within(self, at: np.ndarray) -> float:
        """Share of random brains, 0 to 1, closer to the average one than `(2,)` in sd."""
        return float((np.hypot(*self.points.T) < np.hypot(*at)).mean())

    def reach(self, edits: Sequence[Edit], num_layers: int) -> np.ndarray:
        """`(2,)`: displacement in sd by the edits along the two axes; others are ignored."""
        moved = np.zeros(2)
        for edit in edits:
            if edit.direction in self.names:
                start, stop = edit.layers or (0, num_layers)
                share = max(min(stop, num_layers) - start, 0) / num_layers
                row = self.names.index(edit.direction)
                moved += edit.strength * share * self.effects[row]
        return moved

    def start(self, recipe: Recipe, here: np.ndarray, num_layers: int) -> np.ndarray:
        """`(2,)`: position of the brain at `here` without its edits along the two axes."""
        return np.asarray(here, float) - self.reach(recipe.edits, num_layers)

    def travel(self, recipe: Recipe, start: np.ndarray, to: np.ndarray) -> Recipe:
        """The recipe edited to reach another position on the map.

        Parameters
        ----------
        recipe : Recipe
            Edits along the two axes are replaced, others kept.
        start : ndarray, shape (2,)
            Position without edits along the axes, in sd, see `start`.
        to : ndarray, shape (2,)
            Target position in sd, reached within 0.01 sd.
        """
        offset = np.asarray(to, float) - np.asarray(start, float)
        strengths = np.linalg.solve(self.effects.T, offset)
        edits = [edit for edit in recipe.edits if edit.direction not in self.names]
        for name, strength in zip(self.names, strengths, strict=True):
            rounded = round(float(strength), 2)
            if abs(rounded) >= FINEST_SD:
                edits.append(Edit(name, rounded))
        return recipe.replace(edits=tuple(edits))


def spread(truncation: Truncation, num_layers: int) -> float:
    """Factor by which truncation shrinks the distance of random brains from the average one.

    A position is the mean over layers, of which a cutoff leaves some untruncated.
    """
    cutoff = num_layers if truncation.cutoff is None else truncation.cutoff
    return 1 + (truncation.psi - 1) * min(cutoff, num_layers) / num_layers


def contours(
    points: np.ndarray, shares: Sequence[float] = SHARES, reach: float = 6.0
) -> list[list[np.ndarray]]:
    """Lines of equal density that enclose given shares of points.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
    shares : sequence of float
        Each 0 to 1.
    reach : float
        Half the side of the square around the origin that is evaluated.

    Returns
    -------
    list of list of ndarray
        Closed lines for each share, `(m, 2)` each. The density is a histogram smoothed with a
        Gaussian of 0.3.
    """
    from scipy.ndimage import gaussian_filter
    from skimage.measure import find_contours

    edges = np.linspace(-reach, reach, CELLS + 1)
    counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=(edges, edges))
    width = 2 * reach / CELLS
    density = gaussian_filter(counts, SMOOTHING_SD / width, mode="constant")
    falling = np.sort(density.ravel())[::-1]
    enclosed = np.cumsum(falling) / falling.sum()
    lines = []
    for share in shares:
        level = falling[np.searchsorted(enclosed, share)]
        found = find_contours(np.pad(density, 1), level)
        # Cell (0, 0) of the padded density is half a cell and the padding before the first edge.
        lines.append([(line - 0.5) * width - reach for line in found])
    return lines
