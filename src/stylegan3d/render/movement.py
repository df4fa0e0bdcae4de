"""Where an edit of a latent moves tissue to, and what else it changes.

With a deformation an edit of w to w' is a smooth map of space and a slow change of intensity.
With I_w(x) = A_w(phi_w(x)), A_w the appearance in the common anatomy and phi_w = exp(v_w)
(Arsigny et al. 2006, MICCAI):

    psi(x) = phi_w^-1(phi_w'(x)), refined    what is shown at x lay at psi(x)
    c(x)   = I_w'(x) - I_w(psi(x)), slow     what the edit changes besides moving

psi is found on a grid twice as fine as the velocities, then on one twice as fine again; between
its points it is linear, as the generator's own deformation is. Generators without a deformation
get psi by registering the two brains, so do brains that no latent tells apart, such as painted
ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar, cast

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from stylegan3d.geometry.space import Shown, Space, filled_box
from stylegan3d.networks.deformation import add_identity, determinant, exponential, read_at, resize
from stylegan3d.networks.registration import Demons, register
from stylegan3d.networks.resampling import smooth
from stylegan3d.networks.synthesis import LeveledSynthesis

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
#: Steps of the fixed-point iteration: what is left after them is 0.05 mm in 99 of 100 voxels. While
#: a slider moves, half of them do, with 0.13 mm.
ITERATIONS, QUICK_ITERATIONS = 6, 3
#: Steps of demons that turn a change of greys at borders into movement, and the standard
#: deviation in voxels of what smooths each, on the grid of the deformation and on the fine one.
COARSE_STEPS, FINE_STEPS = (4, 0.7), (6, 1.5)
#: Fluid is darker and tissue brighter than these, display units: greys in between tell where their
#: border is. How dark fluid is says nothing of it, nor how bright tissue.
FLUID, TISSUE = 0.3, 0.6
#: What an edit changes in the greys of tissue is slower than this standard deviation.
CHANGE_MM = 4.0
#: Outside a brain it is darker than this. The border with it is left where the deformation puts it:
#: cortex that gives way to fluid turns dark there, but the contour stays.
OUTSIDE = 0.05
#: Registering while a slider moves, and painted brains: in fewer steps.
QUICK = Demons(coarse_steps=10, fine_steps=5)


@dataclass(frozen=True, eq=False, repr=False)
class Movement(Shown):
    """What an edit does to a scan, on a grid of its own.

    Attributes
    ----------
    displacement : ndarray, float32 (3, X, Y, Z)
        Millimetres along the model's RAS axes: what is shown at x lay at x + displacement(x).
    change : ndarray, float32 (X, Y, Z)
        Intensity that is added there, in display units (1 = white).
    space : Space
        The grid: the model's field of view, coarser than its images where that is enough.
    covered : ndarray, float32 (X, Y, Z), or None
        Share from 0 to 1 that is painted over, so that `change` alone is left; None for nowhere.
    """

    displacement: np.ndarray
    change: np.ndarray
    space: Space
    covered: np.ndarray | None = None

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
        return np.asarray((1 - self.jacobian) * self.space.voxel_ml, np.float32)

    @cached_property
    def is_nothing(self) -> bool:
        """Whether nothing moves and nothing changes."""
        painted = self.covered is not None and self.covered.any()
        return not (painted or self.displacement.any() or self.change.any())

    @cached_property
    def touched(self) -> np.ndarray:
        """Where it does anything, bool (X, Y, Z)."""
        found = (self.moved_mm > 0) | (self.change != 0)
        return np.asarray(found if self.covered is None else found | (self.covered > 0))

    @property
    def greys(self) -> Tensor:
        """`change`, then `covered` if there is any, [1, 1 or 2, X, Y, Z]: for `repainted`."""
        fields = [self.change] if self.covered is None else [self.change, self.covered]
        return torch.from_numpy(np.stack(fields).astype(np.float32))[None]

    def after(self, first: Movement) -> Movement:
        """What both do one after the other, in one movement on this one's grid.

        It may fold where neither does: `EditableScan.placed` mends that.
        """
        if first.is_nothing or self.is_nothing:
            return self if first.is_nothing else first
        places = add_identity(self.offsets)
        fields = torch.cat([torch.from_numpy(first.displacement)[None], first.greys], dim=1)
        read = read_at(fields, places)[0].numpy()
        left = np.ones(1, np.float32) if self.covered is None else 1 - self.covered
        covered = self.covered if len(read) == 4 else 1 - left * (1 - read[4])
        change = self.change + left * read[3]
        return Movement(self.displacement + read[:3], change, self.space, covered)

    def image(self, rigid: np.ndarray) -> nib.Nifti1Image:
        """The displacement (X, Y, Z, 1, 3) in mm, where the scan lies.

        `rigid` (4, 4) leads from the scan's RAS mm to those of the model.
        """
        vectors = np.einsum("ji,jxyz->xyzi", rigid[:3, :3], self.displacement)
        affine = np.linalg.inv(rigid) @ self.space.affine
        image = nib.Nifti1Image(vectors[:, :, :, None].astype(np.float32), affine)
        image.header.set_xyzt_units("mm")
        image.header.set_intent("displacement vector")
        return image

    @property
    def figures(self) -> dict[str, float]:
        """How far tissue moves in mm, and the largest and smallest change of volume."""
        far = self.moved_mm[self.moved_mm > 0]
        median, most = (float(np.percentile(far, p)) if far.size else 0.0 for p in (50, 99))
        return {
            "MedianMm": round(median, 3),
            "Percentile99Mm": round(most, 3),
            "MaximumMm": round(float(far.max()) if far.size else 0.0, 3),
            "LeastJacobian": round(float(self.jacobian.min()), 3),
            "LargestJacobian": round(float(self.jacobian.max()), 3),
        }

    @property
    def offsets(self) -> Tensor:
        """The displacement as `read_at` takes it, [1, 3, X, Y, Z]: normalised, last axis first."""
        half = np.array(self.space.shape, np.float64).reshape(3, 1) / 2
        back = np.linalg.inv(self.space.affine[:3, :3]) / half
        return torch.from_numpy(turned(back, self.displacement)).flip(0)[None]


def nothing_moves(space: Space) -> Movement:
    """No edit."""
    fields = np.broadcast_to(np.float32(0), (4, *space.shape))  # which takes no memory
    return Movement(fields[:3], fields[3], space)


Values = TypeVar("Values", np.ndarray, Tensor)


def repainted(values: Values, greys: Values) -> Values:
    """Values (N) of a scan, changed and painted over by `Movement.greys` (1 or 2, N)."""
    return (values if len(greys) == 1 else values * (1 - greys[1])) + greys[0]


def deformed_anatomy(generator: Generator) -> LeveledSynthesis | None:
    """The synthesis network, if its deformation says where an edit moves tissue to."""
    synthesis = generator.synthesis
    moves = isinstance(synthesis, LeveledSynthesis) and synthesis.config.num_velocities > 0
    return cast("LeveledSynthesis", synthesis) if moves else None


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
        self._images: dict[int, Tensor] = {}  # by level

    @cached_property
    def _before(self) -> tuple[Tensor, Tensor, Tensor]:
        """Places, image and finer image of `w`, which no edit changes."""
        own = deformed_anatomy(self.generator)
        assert own is not None
        places = own.smooth_points(self.w)
        image = _display(read_at(own.appearance(self.w)[:, self.channel, None], places))
        return places, image, self._finer(self.generator, self.w)

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
        if deformed_anatomy(to) is not None:
            offsets, change = self._by_deformation(to, edited, near, quick)
        else:
            offsets, change = self._by_registration(to, edited, quick)
        return _movement(offsets, change, self.generator.space)

    def _by_deformation(
        self, to: Generator, w: Tensor, near: Callable[[Space], np.ndarray] | None, quick: bool
    ) -> tuple[Tensor, Tensor]:
        """Offsets [1, 3, X, Y, Z], and what changes besides place [1, 1, X, Y, Z]."""
        other = deformed_anatomy(to)
        assert other is not None
        places, before, finer = self._before
        after = other.smooth_points(w)
        x, y, z = after.shape[2:]
        where = None if near is None else near(self.generator.space.resized((x, y, z)))
        iterations = QUICK_ITERATIONS if quick else ITERATIONS
        offsets = composed(places, after, where, iterations)
        edited = _display(read_at(other.appearance(w)[:, self.channel, None], after))
        offsets = refined(offsets, before, edited, *COARSE_STEPS)
        if not quick:
            before, edited = finer, self._finer(to, w)
            x, y, z = before.shape[2:]
            offsets = refined(resize(offsets, (x, y, z)), before, edited, *FINE_STEPS)
        return offsets, slow_change(before, edited, offsets, self.generator.space)

    def _finer(self, generator: Generator, w: Tensor) -> Tensor:
        """The image on a grid twice as fine as `smooth_points`, or the generator's own."""
        image = self._image(generator, w, -1)
        own = deformed_anatomy(generator)
        assert own is not None
        x, y, z = (4 * n for n in own.config.grid(own.config.velocity_level))
        return resize(image, (x, y, z)) if x < image.shape[2] else image

    def _by_registration(self, to: Generator, w: Tensor, quick: bool) -> tuple[Tensor, Tensor]:
        """As `_by_deformation`, of two brains whose generator has none."""
        level = -2 if quick and len(self.generator.levels) > 1 else -1
        if level not in self._images:
            self._images[level] = self._image(self.generator, self.w, level)
        return _registered(
            self._images[level], self._image(to, w, level), self.generator.space, quick
        )

    def _image(self, generator: Generator, w: Tensor, level: int) -> Tensor:
        """[1, 1, X, Y, Z] without texture, display units."""
        return _display(generator.synthesize(w, "none", level)[:, self.channel, None])


def _display(image: Tensor) -> Tensor:
    """From [-1, 1] to display units, on the processor."""
    return ((image + 1) / 2).clamp(0, 1.5).float().cpu()


@torch.no_grad()
def deformation_between(generator: Generator, w: Tensor, to: Tensor) -> Movement:
    """The map from one latent's brain to another's as the deformations alone have it.

    An edited scan is also moved where the generator changes greys at borders (`refined`); local
    volumes of subjects are those of the deformation. Without one the two brains are registered.

    Parameters
    ----------
    w, to : Tensor, shape (num_layers, w_dim)
        What is shown at x of the brain of `to` lies at x + displacement(x) in that of `w`.
    """
    anatomy = deformed_anatomy(generator)
    if anatomy is None:
        return Mover(generator, w).to(to)
    before, after = (
        anatomy.smooth_points(latent[None].float().to(generator.device)) for latent in (w, to)
    )
    offsets = composed(before, after)
    return _movement(offsets, torch.zeros_like(offsets[:, :1]), generator.space)


def movement_between(
    before: np.ndarray, after: np.ndarray, space: Space, *, quick: bool = False
) -> Movement:
    """The movement from one brain to another (X, Y, Z), display units, by registration.

    For brains that no latent tells apart, such as those painted from two label maps; `quick` in
    fewer steps.
    """
    first, second = (torch.from_numpy(np.array(v, np.float32))[None, None] for v in (before, after))
    with torch.no_grad():
        return _movement(*_registered(first, second, space, quick), space)


def _registered(before: Tensor, after: Tensor, space: Space, quick: bool) -> tuple[Tensor, Tensor]:
    offsets = exponential(register(after, before, QUICK if quick else Demons())).flip(1)
    change = slow_change(before, after, resize(offsets, before.shape[2:]), space)
    return offsets, F.interpolate(change, offsets.shape[2:], mode="area")


def _movement(offsets: Tensor, change: Tensor, space: Space) -> Movement:
    """Normalised offsets [1, 3, X, Y, Z] in millimetres."""
    own = space.resized(offsets.shape[2:])
    half = np.array(own.shape, np.float64) / 2
    steps = own.affine[:3, :3] * half
    normalised = offsets[0].flip(0).cpu().numpy()
    return Movement(turned(steps, normalised), change[0, 0].cpu().numpy(), own)


def turned(matrix: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """matrix (3, 3) times each of the vectors (3, X, Y, Z), float32.

    By torch, whose threads the window limits while it draws; NumPy's product has threads of its
    own.
    """
    flat = torch.from_numpy(np.ascontiguousarray(vectors, np.float32)).flatten(1)
    product = torch.from_numpy(np.asarray(matrix, np.float32)) @ flat
    return product.reshape(vectors.shape).numpy()


def composed(
    before: Tensor, after: Tensor, where: np.ndarray | None = None, iterations: int = ITERATIONS
) -> Tensor:
    """phi_w^-1(phi_w'(x)) - x of two maps [1, 3, X, Y, Z], by fixed-point iteration.

    Solves phi_w(y) = phi_w'(x) for y: of equal maps the answer is x itself, which a composition
    with exp(-v) on a grid does not give. Only `where` (X, Y, Z) it is true; elsewhere 0.
    """
    identity = add_identity(torch.zeros_like(before))
    own = before - identity
    index = np.arange(own[0, 0].numel()) if where is None else np.flatnonzero(where)
    target = after.flatten(2)[:, :, None, None, index]
    places = target - own.flatten(2)[:, :, None, None, index]
    for _ in range(iterations):
        places = target - read_at(own, places)
    found = torch.zeros_like(before).flatten(2)
    found[:, :, index] = places[:, :, 0, 0] - identity.flatten(2)[:, :, index]
    return found.reshape(before.shape)


def refined(offsets: Tensor, before: Tensor, after: Tensor, steps: int, deviation: float) -> Tensor:
    """Offsets that also explain by moving what two brains differ in at borders of fluid.

    Where a generator makes a ventricle larger or smaller partly by its greys, its border has
    moved by less than a voxel; a scan's sharp border would stay and turn grey. Steps of demons
    (Thirion 1998, Medical Image Analysis) as in `registration.py` turn this change into movement.

    Parameters
    ----------
    offsets : Tensor [1, 3, X, Y, Z]
        Of the deformation.
    before, after : Tensor [1, 1, X, Y, Z]
        Both brains, display units.
    steps : int
        Of demons.
    deviation : float
        Standard deviation in voxels of what smooths each step.

    Returns
    -------
    Tensor [1, 3, X, Y, Z]
    """
    brain = 1 - F.max_pool3d((before < OUTSIDE).float(), 3, 1, 1)
    inside = (slice(None), slice(None), *filled_box((brain[0, 0] > 0).numpy(), 1))
    voxel = torch.tensor([2.0 / n for n in before.shape[2:]]).reshape(1, 3, 1, 1, 1)
    whole, identity = offsets.clone(), add_identity(torch.zeros_like(offsets))[inside]
    offsets, brain = offsets[inside], brain[inside]
    before, after = _tissue(before), _tissue(after[inside])
    for _ in range(steps):
        moved = read_at(before, identity + offsets)
        difference = after - moved
        gradient = torch.stack(torch.gradient(moved[0, 0]))[None]
        power = gradient.square().sum(dim=1, keepdim=True) + 0.2 * difference.square()
        update = difference * gradient / (power + 1e-3)
        length = update.square().sum(dim=1, keepdim=True).sqrt()
        update = update * (0.5 / length.clamp(min=0.5)) * brain
        offsets = offsets + (smooth(update, deviation) * voxel).flip(1)
    whole[inside] = offsets
    return whole


def slow_change(before: Tensor, after: Tensor, offsets: Tensor, space: Space) -> Tensor:
    """What an edit changes in the greys of tissue besides moving it, [1, 1, X, Y, Z].

    Fluid does not take part: how dark a model draws it would darken the tissue around, where the
    change is smoothed, and that of a scan is as dark as it is.
    """
    sigma = CHANGE_MM / space.resized(before.shape[2:]).voxel_size[0]
    moved = read_at(before, add_identity(offsets))
    tissue = _tissue(moved)
    change = smooth(tissue * (after - moved), sigma)
    return tissue * change / smooth(tissue, sigma).clamp(min=0.05)


def _tissue(image: Tensor) -> Tensor:
    """0 in fluid, 1 in tissue, in between where they share a voxel."""
    return ((image - FLUID) / (TISSUE - FLUID)).clamp(0, 1)


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

    def placed(self, moved: Movement, *, worn: bool = False) -> Movement:
        """A movement, such as one of `movement_between`, as it is put on the scan.

        With `worn` the brain is another one, which wears the scan's detail.
        """
        if moved.is_nothing:
            return moved
        if worn:
            return unfolded(moved, np.ones(moved.space.shape, bool))
        fade = self.fade_on(moved.space)
        placed = unfolded(replace(moved, displacement=moved.displacement * fade), fade > 0)
        displacement = placed.displacement
        displacement[:, placed.moved_mm < NOTHING_MM] = 0
        covered = None if moved.covered is None else moved.covered * fade
        return Movement(displacement, moved.change * fade, moved.space, covered)

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
        fields = np.concatenate([folded[None].astype(np.float32), moved.displacement])
        near, *gentle = smooth(torch.from_numpy(fields)[None], sigma)[0].numpy()
        share = np.clip(2 * near / near.max(), 0, 1) * where
        displacement = moved.displacement + share * (np.stack(gentle) - moved.displacement)
        moved = replace(moved, displacement=displacement)
        sigma *= 1.2
    return moved


def jacobian_of(displacement: np.ndarray, space: Space) -> np.ndarray:
    """Determinant of the Jacobian of x + displacement(x), (X, Y, Z), by central differences."""
    # In voxels the determinant is the same as in millimetres.
    back = np.linalg.inv(space.affine[:3, :3])
    return determinant(torch.from_numpy(turned(back, displacement))).numpy()
