"""Where an edit of a latent moves tissue to, and what else it changes.

For an anatomy model an edit of w to w' is a smooth map of space and a slow change of intensity.
With I_w(x) = A_w(phi_w(x)), A_w the appearance in the common anatomy and phi_w = exp(v_w)
(Arsigny et al. 2006, MICCAI):

    psi(x) = phi_w^-1(phi_w'(x))                 what is shown at x lay at psi(x)
    c(x)   = A_w'(phi_w'(x)) - A_w(phi_w'(x))    what the edit changes besides moving

Both are found on a grid twice as fine as the velocities; between its points they are linear, as
the generator's own deformation is. Generators without a deformation get psi by registering the two
brains, so do brains that no latent tells apart, such as painted ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt, gaussian_filter, gaussian_filter1d
from torch import Tensor

from stylegan3d.geometry.space import Space
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.deformation import add_identity, exponential, read_at, resize
from stylegan3d.networks.registration import Demons, register
from stylegan3d.networks.resampling import along_axes

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator

#: Outside the brain nothing moves from this distance on.
FADE_MM = 10.0
#: Displacements below this are rounding: the voxel stays as it was recorded.
NOTHING_MM = 1e-3
#: Latents that differ by less, as a share of the largest number, are the same: 1 + 2 - 2.
ROUNDING = 1e-6
#: Volumes keep at least this share where they shrink; a map that folds has shares below zero.
LEAST_JACOBIAN = 0.05
#: Of two registered brains, what differs beside place is slower than this.
APPEARANCE_MM = 6.0
#: Steps of the fixed-point iteration: what is left after them is 0.02 mm at most.
ITERATIONS = 6
#: Steps of demons that turn a change of greys at borders into movement, and the standard
#: deviation in voxels (of 4 mm) of what smooths them, and the change that is left.
REFINEMENTS, SMOOTH = 3, 1.0
#: What has grown already, to 1 / 0.85 of its volume, these steps enlarge no further: they would
#: pull a thin ventricle over all that a generator darkens around it.
GROWN = (0.85, 1.0)
#: Outside a brain it is darker than this, in [-1, 1]. The border with it is left where the
#: deformation puts it: cortex that gives way to fluid turns dark there, but the contour stays.
OUTSIDE = -0.9
#: Registering while a slider moves: at half the resolution, in fewer steps.
QUICK = Demons(coarse_steps=15, fine_steps=0)


@dataclass(frozen=True, eq=False)
class Movement:
    """What an edit does to a scan, on a grid of its own.

    Attributes
    ----------
    displacement : ndarray, float32 (3, X, Y, Z)
        Millimetres along the model's RAS axes: what is shown at x lay at x + displacement(x).
    change : ndarray, float32 (X, Y, Z)
        Intensity that is added there, in display units (1 = white).
    space : Space
        The grid: the model's field of view, coarser than its images where that is enough.
    """

    displacement: np.ndarray
    change: np.ndarray
    space: Space

    @cached_property
    def jacobian(self) -> np.ndarray:
        """Determinant of the map's Jacobian, float32 (X, Y, Z): above 1 where tissue shrinks.

        It is the volume that a voxel had before the edit, as a share of what it has now.
        """
        return jacobian_of(self.displacement, self.space)

    @cached_property
    def moved_mm(self) -> np.ndarray:
        """Length of the displacement, (X, Y, Z)."""
        return np.asarray(np.linalg.norm(self.displacement, axis=0))

    @property
    def gained_ml(self) -> np.ndarray:
        """What each voxel's tissue gained in volume, millilitres (X, Y, Z); below 0: lost."""
        voxel = abs(np.linalg.det(self.space.affine[:3, :3])) / 1000
        return np.asarray((1 - self.jacobian) * voxel, np.float32)

    @cached_property
    def is_nothing(self) -> bool:
        """Whether nothing moves and nothing changes."""
        return not self.displacement.any() and not self.change.any()

    @cached_property
    def offsets(self) -> Tensor:
        """The displacement as `read_at` takes it, [1, 3, X, Y, Z]: normalised, last axis first."""
        half = np.array(self.space.shape, np.float64).reshape(3, 1) / 2
        back = np.linalg.inv(self.space.affine[:3, :3]) / half
        turned = np.tensordot(back.astype(np.float32), self.displacement, 1)[::-1]
        return torch.from_numpy(np.ascontiguousarray(turned))[None]


def nothing_moves(space: Space) -> Movement:
    """No edit."""
    fields = np.zeros((4, *space.shape), np.float32)
    return Movement(fields[:3], fields[3], space)


def deforms(generator: Generator) -> bool:
    """Whether a generator says by itself where an edit moves tissue to."""
    return deformed_anatomy(generator) is not None


def deformed_anatomy(generator: Generator) -> AnatomyNetwork | None:
    """The synthesis network, if it has a deformation."""
    synthesis = generator.synthesis
    moves = isinstance(synthesis, AnatomyNetwork) and synthesis.config.deformation > 0
    return cast("AnatomyNetwork", synthesis) if moves else None


class Mover:
    """What leads from one latent's brain to others; what does not depend on the edit is kept.

    Parameters
    ----------
    generator : Generator
        With what the projection tuned in it.
    w : Tensor [num_layers, w_dim]
        Of the projection.
    channel : int
        Of the images.
    """

    def __init__(self, generator: Generator, w: Tensor, channel: int = 0) -> None:
        self.generator, self.channel = generator, channel
        self.w = w[None].float().to(generator.device)
        self._known: dict[int, Tensor] = {}

    @torch.no_grad()
    def prepare(self) -> None:
        """Find what no edit changes."""
        own = deformed_anatomy(self.generator)
        if own is not None and not self._known:
            places = own.smooth_points(self.w)
            image = read_at(own.appearance(self.w)[:, self.channel, None], places)
            self._known = {0: places, 1: image}

    @torch.no_grad()
    def to(
        self,
        w: Tensor,
        to: Generator | None = None,
        *,
        quick: bool = False,
        near: Callable[[Space], np.ndarray] | None = None,
    ) -> Movement:
        """The movement to another latent [num_layers, w_dim].

        `to` is the generator that the edited brain is shown with, if a projection of another
        scan tuned it; `quick` may be rougher, where the two brains have to be registered. `near`
        tells of a grid where on it (bool) the movement is wanted; elsewhere it is left out.
        """
        to = to or self.generator
        edited = w[None].float().to(to.device)
        same = (edited - self.w).abs().max() <= ROUNDING * self.w.abs().max()
        if to is self.generator and same:
            return nothing_moves(self.generator.space)
        if deforms(to):
            offsets, change = self._by_deformation(to, edited, near)
        else:
            offsets, change = self._by_registration(to, edited, quick)
        return _movement(offsets, change, self.generator.space)

    def _by_deformation(
        self, to: Generator, w: Tensor, near: Callable[[Space], np.ndarray] | None
    ) -> tuple[Tensor, Tensor]:
        """Offsets [1, 3, X, Y, Z], and what changes besides place [1, 1, X, Y, Z]."""
        other = deformed_anatomy(to)
        assert other is not None
        self.prepare()
        after = other.smooth_points(w)
        x, y, z = after.shape[2:]
        where = None if near is None else near(self.generator.space.resized((x, y, z)))
        edited = read_at(other.appearance(w)[:, self.channel, None], after)
        return refined(composed(self._known[0], after, where), self._known[1], edited, where)

    def _by_registration(self, to: Generator, w: Tensor, quick: bool) -> tuple[Tensor, Tensor]:
        """As `_by_deformation`, of two brains whose generator has none."""
        level = -2 if quick and len(self.generator.levels) > 1 else -1
        if level not in self._known:
            self._known[level] = self._image(self.generator, self.w, level)
        return _registered(
            self._known[level], self._image(to, w, level), self.generator.space, quick
        )

    def _image(self, generator: Generator, w: Tensor, level: int) -> Tensor:
        """[1, 1, X, Y, Z] without texture, display units."""
        image = generator.synthesize(w, "none", level)[:, self.channel, None]
        return ((image + 1) / 2).clamp(0, 1.5).cpu()


def movement_between(before: np.ndarray, after: np.ndarray, space: Space) -> Movement:
    """The movement from one brain to another (X, Y, Z), display units, by registration.

    For brains that no latent tells apart, such as those painted from two label maps.
    """
    first, second = (torch.from_numpy(np.array(v, np.float32))[None, None] for v in (before, after))
    with torch.no_grad():
        return _movement(*_registered(first, second, space, False), space)


def _registered(before: Tensor, after: Tensor, space: Space, quick: bool) -> tuple[Tensor, Tensor]:
    offsets = exponential(register(after, before, QUICK if quick else Demons())).flip(1)
    x, y, z = before.shape[2:]
    moved = read_at(before, add_identity(resize(offsets, (x, y, z))))
    sigma = [APPEARANCE_MM / size for size in space.resized((x, y, z)).voxel_size]
    change = gaussian_filter((after - moved)[0, 0].numpy(), sigma)[None, None]
    return offsets, F.interpolate(torch.from_numpy(change), offsets.shape[2:], mode="area")


def _movement(offsets: Tensor, change: Tensor, space: Space) -> Movement:
    """Normalised offsets [1, 3, X, Y, Z] in millimetres."""
    x, y, z = offsets.shape[2:]
    own = space.resized((x, y, z))
    half = np.array(own.shape, np.float64) / 2
    steps = (own.affine[:3, :3] * half).astype(np.float32)
    normalised = offsets[0].flip(0).cpu().numpy()
    return Movement(np.tensordot(steps, normalised, 1), change[0, 0].cpu().numpy(), own)


def composed(before: Tensor, after: Tensor, where: np.ndarray | None = None) -> Tensor:
    """phi_w^-1(phi_w'(x)) - x of two maps [1, 3, X, Y, Z], by fixed-point iteration.

    Solves phi_w(y) = phi_w'(x) for y: of equal maps the answer is x itself, which a composition
    with exp(-v) on a grid does not give. Only `where` (X, Y, Z) it is true; elsewhere 0.
    """
    identity = add_identity(torch.zeros_like(before))
    own = before - identity
    index = torch.arange(own[0, 0].numel()) if where is None else _index_of(where)
    target = after.flatten(2)[:, :, None, None, index]
    places = target - own.flatten(2)[:, :, None, None, index]
    for _ in range(ITERATIONS):
        places = target - read_at(own, places)
    found = torch.zeros_like(before).flatten(2)
    found[:, :, index] = places[:, :, 0, 0] - identity.flatten(2)[:, :, index]
    return found.reshape(before.shape)


def refined(
    offsets: Tensor, before: Tensor, after: Tensor, where: np.ndarray | None = None
) -> tuple[Tensor, Tensor]:
    """Offsets that also explain by moving what two brains differ in at borders.

    Where a generator makes a ventricle larger or smaller partly by its greys, its border has
    moved by less than a voxel; a scan's sharp border would stay and turn grey. Steps of demons
    (Thirion 1998, Medical Image Analysis) as in `registration.py` turn this change into movement.

    Parameters
    ----------
    offsets : Tensor [1, 3, X, Y, Z]
        Of the deformation.
    before, after : Tensor [1, 1, X, Y, Z]
        Both brains, in [-1, 1].
    where : ndarray of bool (X, Y, Z), optional
        Outside of a box around it nothing is wanted.

    Returns
    -------
    offsets : Tensor [1, 3, X, Y, Z]
    change : Tensor [1, 1, X, Y, Z]
        What is left to be added, slowly varying, in display units.
    """
    voxel = torch.tensor([2.0 / n for n in before.shape[2:]]).reshape(1, 3, 1, 1, 1)
    inside = (slice(None), slice(None), *_box_of(where, before.shape[2:]))
    whole, left = torch.zeros_like(offsets), torch.zeros_like(after)
    identity = add_identity(whole)[inside]
    offsets, after = offsets[inside], after[inside]
    within = 1 - F.max_pool3d((before < OUTSIDE).to(before.dtype), 3, 1, 1)[inside]
    for _ in range(REFINEMENTS):
        moved = read_at(before, identity + offsets)
        difference = (after - moved) / 2
        gradient = torch.stack(torch.gradient(moved[0, 0] / 2))[None]
        power = gradient.square().sum(dim=1, keepdim=True) + 0.2 * difference.square()
        update = difference * gradient / (power + 1e-3)
        length = update.square().sum(dim=1, keepdim=True).sqrt()
        update = update * (0.5 / length.clamp(min=0.5)) * within * _gate(offsets, voxel)
        offsets = offsets + (_smooth(update, SMOOTH) * voxel).flip(1)
    left[inside] = _smooth((after - read_at(before, identity + offsets)) / 2, SMOOTH)
    whole[inside] = offsets
    return whole, left


def _box_of(where: np.ndarray | None, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The smallest box around what is true, and a voxel beside it; all of the grid for None."""
    if where is None or not where.any():
        return tuple(slice(0, size) for size in shape)
    kept = [np.flatnonzero(where.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return tuple(slice(max(int(k[0]) - 1, 0), int(k[-1]) + 2) for k in kept)


def _gate(offsets: Tensor, voxel: Tensor) -> Tensor:
    """1, falling to 0 where tissue has grown as far as movement alone shall let it."""
    share = determinant(offsets[0].flip(0) / voxel[0])
    return ((share - GROWN[0]) / (GROWN[1] - GROWN[0])).clamp(0, 1)


def determinant(steps: Tensor) -> Tensor:
    """det(1 + the gradient of steps), [3, X, Y, Z] in voxels, by central differences."""
    (a, b, c), (d, e, f), (g, h, i) = (torch.gradient(part) for part in steps)
    a, e, i = a + 1, e + 1, i + 1
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def _smooth(field: Tensor, deviation: float) -> Tensor:
    """Gaussian of `deviation` voxels, [1, C, X, Y, Z]; the border is repeated."""
    return along_axes(field, [_gaussian(n, deviation) for n in field.shape[2:]])


@lru_cache(maxsize=16)
def _gaussian(size: int, deviation: float) -> Tensor:
    """[size, size] smoothing along an axis."""
    return torch.from_numpy(
        gaussian_filter1d(np.eye(size, dtype=np.float32), deviation, axis=0, mode="nearest")
    )


def _index_of(where: np.ndarray) -> Tensor:
    return torch.from_numpy(np.flatnonzero(where))


class Fading:
    """Puts movements on a scan: fading to none outside its brain, folding nowhere.

    Parameters
    ----------
    mask : ndarray, bool (X, Y, Z)
        The scan's brain.
    space : Space
        The mask's grid.
    """

    def __init__(self, mask: np.ndarray, space: Space) -> None:
        self.mask, self.space = mask, space
        distance = distance_transform_edt(~mask, sampling=space.voxel_size)
        #: 1 in the brain, falling to 0 at `FADE_MM` from it; float32 (X, Y, Z).
        self.fade = np.asarray(
            0.5 + 0.5 * np.cos(np.pi * np.clip(distance / FADE_MM, 0, 1)), np.float32
        )
        self._on: dict[tuple[int, ...], np.ndarray] = {}

    def placed(self, moved: Movement) -> Movement:
        """The movement as it is put on the scan."""
        fade = self.fade_on(moved.space)
        placed = unfolded(replace(moved, displacement=moved.displacement * fade), fade > 0)
        displacement = placed.displacement
        displacement[:, placed.moved_mm < NOTHING_MM] = 0
        return Movement(displacement, moved.change * fade, moved.space)

    def fade_on(self, space: Space) -> np.ndarray:
        """The fading on another grid of the model's field of view."""
        if space.shape not in self._on:
            fade = torch.from_numpy(self.fade)[None, None]
            self._on[space.shape] = F.interpolate(fade, space.shape, mode="area")[0, 0].numpy()
        return self._on[space.shape]


def unfolded(moved: Movement, where: np.ndarray) -> Movement:
    """The movement, smoother where it folds, and only there; `where` (X, Y, Z) it may move."""
    sigma = 1.5
    while (folded := moved.jacobian < LEAST_JACOBIAN).any():
        # The wider, the longer that does not do.
        near = gaussian_filter(folded.astype(np.float32), sigma)
        share = np.clip(2 * near / near.max(), 0, 1) * where
        smooth = np.stack([gaussian_filter(part, sigma) for part in moved.displacement])
        displacement = moved.displacement + share * (smooth - moved.displacement)
        moved = replace(moved, displacement=displacement)
        sigma *= 1.2
    return moved


def jacobian_of(displacement: np.ndarray, space: Space) -> np.ndarray:
    """Determinant of the Jacobian of x + displacement(x), (X, Y, Z), by central differences."""
    # In voxels the determinant is the same as in millimetres.
    back = np.linalg.inv(space.affine[:3, :3]).astype(np.float32)
    steps = np.tensordot(back, np.asarray(displacement, np.float32), 1)
    return determinant(torch.from_numpy(steps)).numpy()
