"""The outer contour of a brain with its fluid, and how much a change of w moves it.

In the years of an adult the skull does not change, so neither does the outer contour of what it
holds: sulci and ventricles open inside it. What moves the contour is linear in the deformation's
components of w to first order; to hold it fixed is to look at people who have the same one, as far
as a Gaussian distribution of w tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage

from stylegan3d.geometry.intensity import to_display
from stylegan3d.measures.attributes import BACKGROUND
from stylegan3d.model.random_latents import random_w
from stylegan3d.networks.deformation import add_identity, exponential
from stylegan3d.render.movement import composed, deformed_anatomy

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator

#: What stands in `hold_fixed`, beside attributes, for the contour.
CONTOUR = "contour"
#: Points on the contour of each brain, and how well their place counts as known, in mm. With 0.3
#: the contour moves a third less, but an edit is half as long again in sd of people.
POINTS, KNOWN_TO_MM = 200, 1.0
#: A step along each component of w that shows how it moves the contour, in sd of random brains.
_STEP_SD, _BRAINS = 0.5, 200
#: The border's normal is that of a mask smoothed so much, in voxels.
_SMOOTH = 1.5


def contour_of(volume: np.ndarray) -> np.ndarray:
    """bool (X, Y, Z): the brain with its fluid, of a volume that is 0 outside."""
    return np.asarray(ndimage.binary_fill_holes(volume > BACKGROUND))


def border_of(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (n, 3) on the border of a mask, and the unit normals (n, 3) that point outward."""
    border = mask & ~ndimage.binary_erosion(mask)
    slopes = np.gradient(ndimage.gaussian_filter(mask.astype(np.float32), _SMOOTH))
    normals = -np.stack([slope[border] for slope in slopes], axis=1)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.argwhere(border), normals / np.maximum(lengths, 1e-9)


def contour_rows(generator: Generator, w: np.ndarray, seed: int = 0) -> np.ndarray | None:
    """How each component of w moves points on the outer contour.

    Parameters
    ----------
    generator : Generator
    w : np.ndarray
        float64 `(n, w_dim)`: brains about which it is looked at.
    seed : int
        Of the choice of points.

    Returns
    -------
    np.ndarray or None
        float64 `(n * POINTS, w_dim)`: millimetres outward along the normal for one unit of each
        component, by differences; None for a generator without a deformation.
    """
    synthesis = deformed_anatomy(generator)
    if synthesis is None:
        return None
    count, random = synthesis.config.deformation, np.random.RandomState(seed)
    half_mm = np.array(generator.shape) * np.array(generator.space.voxel_size) / 2
    steps = np.zeros((count, generator.w_dim))
    sd = random_w(generator, _BRAINS, seed)[:, :count].std(axis=0)
    steps[:, :count] = np.diag(_STEP_SD * np.maximum(sd, 1e-6))
    rows = []
    for one in w:
        with torch.inference_mode():
            wide = _wide(generator, one[None])
            brain = to_display(generator.synthesize(wide, noise="none"))[0]
            pair = _wide(generator, np.concatenate([one[None], one + steps]))
            there = add_identity(exponential(synthesis.velocity(pair)).flip(1))
            offsets = composed(there[:1].expand(count, -1, -1, -1, -1), there[1:])
            moved = offsets.flip(1).cpu().numpy()
        voxels, normals = border_of(contour_of(brain))
        chosen = random.permutation(len(voxels))[:POINTS]
        # Cell centres of the brain's grid in cells of the deformation's.
        scale = np.array(moved.shape[2:]) / np.array(generator.shape)
        at = ((voxels[chosen] + 0.5) * scale - 0.5).T
        read = np.array(
            [[ndimage.map_coordinates(f, at, order=1, mode="nearest") for f in m] for m in moved]
        )
        # A point of the picture is read at x + moved: the contour itself goes the other way.
        outward = -np.einsum("kap,a,pa->pk", read, half_mm, normals[chosen])
        block = np.zeros((len(chosen), generator.w_dim))
        block[:, :count] = outward / np.diag(steps[:, :count])
        rows.append(block)
    return np.concatenate(rows)


def _wide(generator: Generator, w: np.ndarray) -> torch.Tensor:
    """w `(n, w_dim)` as latents `[n, num_layers, w_dim]`."""
    rows = torch.from_numpy(w).float().to(generator.device)
    return rows[:, None].expand(-1, generator.num_layers, -1)
