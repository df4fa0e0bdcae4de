"""Edit a scan itself: its own detail moves with the anatomy, at its own resolution.

A reconstruction lacks detail finer than the generator can make. For an anatomy model, an edit of
its latent, w to w', is a smooth deformation and a slow change of intensity, and both can be
applied to the scan. With I_w(x) = A_w(phi_w(x)), A_w the appearance in the common anatomy and
phi_w = exp(v_w) (Arsigny et al. 2006, MICCAI):

    psi(x) = phi_w^-1(phi_w'(x))             where to read the scan for voxel x
    c(x)   = A_w'(phi_w'(x)) - A_w(phi_w'(x))    intensity change besides the deformation
    S'(x)  = S(psi(x)) + s(x) c(x)           S the scan, s its units and its bias field

psi is composed on the model's grid and interpolated to the scan's voxels; the scan itself is
interpolated once. Outside the brain the deformation fades to zero within `FADE_MM`. For generators
without a deformation, psi is found by registering the two synthetic brains.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import nibabel as nib
import numpy as np
import torch
from scipy.ndimage import (
    distance_transform_edt,
    gaussian_filter,
    map_coordinates,
    spline_filter,
)
from torch import Tensor

from stylegan3d.errors import ScanError
from stylegan3d.geometry.intensity import to_display
from stylegan3d.geometry.space import Space
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.deformation import add_identity, exponential, read_at, resize
from stylegan3d.networks.registration import Demons, register
from stylegan3d.scans.native import Way, with_geometry
from stylegan3d.scans.resampling import resample

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator

#: Distance from the brain beyond which nothing moves.
FADE_MM = 10.0
#: Displacements below this are rounding errors: the voxel keeps its recorded value.
NOTHING_MM = 1e-3
#: Least Jacobian determinant; a map that folds has negative ones.
LEAST_JACOBIAN = 0.05
#: Smoothing of the intensity ratio of scan and reconstruction: slower than any brain structure.
BRIGHTNESS_MM = 20.0
#: Smoothing of the intensity difference between two registered brains.
APPEARANCE_MM = 6.0
#: Steps of the fixed-point iteration.
ITERATIONS = 8
#: Voxels that a thread interpolates per block.
BLOCK = 200_000


@dataclass(frozen=True, eq=False)
class Movement:
    """What an edit does, on the model's grid.

    Attributes
    ----------
    displacement : ndarray, float32 (3, X, Y, Z)
        Millimetres along the model's RAS axes: tissue now at x was at x + displacement(x).
    change : ndarray, float32 (X, Y, Z)
        Added intensity in display units (1 = white).
    space : Space
        The grid.
    before : ndarray, float32 (X, Y, Z)
        The reconstruction without the edit, in display units.
    """

    displacement: np.ndarray
    change: np.ndarray
    space: Space
    before: np.ndarray

    @cached_property
    def jacobian(self) -> np.ndarray:
        """Determinant of the map's Jacobian, float32 (X, Y, Z): above 1 where tissue shrinks.

        It is the volume that a voxel had before the edit, as a share of what it has now.
        """
        return jacobian_of(self.displacement, self.space)

    @property
    def moved_mm(self) -> np.ndarray:
        """Length of the displacement, (X, Y, Z)."""
        return np.asarray(np.linalg.norm(self.displacement, axis=0))


def movement(generator: Generator, w: Tensor, edited: Tensor) -> Movement:
    """The deformation and intensity change from one latent's brain to another's.

    Parameters
    ----------
    generator : Generator
    w, edited : Tensor, shape (num_layers, w_dim)
        Latents of the projection and of the edit.

    Returns
    -------
    Movement
        Exact for anatomy models; by registration for others. Never folds.
    """
    if torch.equal(w, edited):
        (image,) = _shown(generator, w[None].float().to(generator.device))
        nothing = np.zeros((4, *generator.shape), np.float32)
        return Movement(nothing[:3], nothing[3], generator.space, image)
    pair = torch.stack([w, edited]).float().to(generator.device)
    with torch.inference_mode():
        make = _by_deformation if deforms(generator) else _by_registration
        places, images, change = make(generator, pair)
        # Coordinate channels are ordered from the last axis to the first.
        normalised = (places - add_identity(torch.zeros_like(places)))[0].flip(0).cpu().numpy()
    half = np.array(generator.shape, np.float32).reshape(3, 1, 1, 1) / 2
    steps = generator.space.affine[:3, :3].astype(np.float32)
    displacement = np.einsum("ij,jxyz->ixyz", steps, normalised * half)
    return Movement(displacement, change, generator.space, images[0])


def deforms(generator: Generator) -> bool:
    """Whether a generator has an explicit deformation."""
    return _anatomy(generator) is not None


def _anatomy(generator: Generator) -> AnatomyNetwork | None:
    """The synthesis network, if it has a deformation."""
    synthesis = generator.synthesis
    moves = isinstance(synthesis, AnatomyNetwork) and synthesis.config.deformation > 0
    return cast("AnatomyNetwork", synthesis) if moves else None


def _by_deformation(generator: Generator, pair: Tensor) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Sampling positions [1, 3, X, Y, Z], both brains, and the intensity change."""
    synthesis = _anatomy(generator)
    assert synthesis is not None
    count = synthesis.config.deformation
    # The edited shape with the appearance of the projection.
    moved = pair[1].clone()
    moved[:, count:] = pair[0][:, count:]
    images = _shown(generator, torch.stack([pair[0], pair[1], moved]))
    before, after = synthesis.points(exponential(synthesis.velocity(pair)), generator.shape).split(
        1
    )
    return _composed(before, after), images[:2], images[1] - images[2]


def _composed(before: Tensor, after: Tensor) -> Tensor:
    """phi_w^-1(phi_w'(x)) of two maps [1, 3, X, Y, Z], by fixed-point iteration.

    Solves phi_w(y) = phi_w'(x) for y: equal maps give x exactly, which composing with exp(-v) on a
    grid would not.
    """
    own = before - add_identity(torch.zeros_like(before))
    places = add_identity(after - before)
    for _ in range(ITERATIONS):
        places = after - read_at(own, places)
    return places


def _by_registration(generator: Generator, pair: Tensor) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Like `_by_deformation`, for generators without a deformation."""
    images = _shown(generator, pair)
    before, after = (torch.from_numpy(image)[None, None] for image in images)
    there = exponential(register(after, before, Demons()))
    places = add_identity(resize(there.flip(1), generator.shape))
    moved = read_at(before, places)[0, 0].numpy()
    sigma = APPEARANCE_MM / np.array(generator.voxel_size)
    return places, images, gaussian_filter(images[1] - moved, sigma)


def _shown(generator: Generator, w: Tensor) -> np.ndarray:
    """Volumes of latents [N, num_layers, w_dim] without texture, in display units."""
    return np.concatenate(
        [to_display(generator.synthesize(one, noise="none")) for one in w.split(1)]
    )


def jacobian_of(displacement: np.ndarray, space: Space) -> np.ndarray:
    """Determinant of the Jacobian of x + displacement(x), (X, Y, Z), by central differences."""
    inverse = np.linalg.inv(space.affine[:3, :3])
    # Derivatives along the array's axes, then along millimetres (chain rule).
    slopes = np.stack([np.stack(np.gradient(part)) for part in displacement])
    matrix = np.einsum("iaxyz,aj->xyzij", slopes, inverse) + np.eye(3)
    return np.linalg.det(matrix).astype(np.float32)


class CarriedDetail:
    """A scan prepared for editing: everything that does not depend on the edit is precomputed.

    Parameters
    ----------
    data : ndarray, shape (I, J, K)
        The scan as read, in its own units.
    described : dict
        From `AlignedScan.describe`, possibly read back from JSON.
    space : Space
        The model's grid.
    before : ndarray, shape (X, Y, Z)
        Its reconstruction, display units.

    Raises
    ------
    ScanError
        If the description is incomplete or belongs to another scan.
    """

    def __init__(
        self, data: np.ndarray, described: dict[str, Any], space: Space, before: np.ndarray
    ) -> None:
        self._way = Way.of(described, space)
        if data.shape != self._way.own.shape:
            raise ScanError(
                f"The edit belongs to a scan of {self._way.own.shape} voxels, but this one has "
                f"{data.shape}; give the scan that was projected."
            )
        self.data = np.asarray(data, dtype=np.float32)
        self.space, self._geometry = space, described.get("geometry", {})
        self._mask = self._way.mask
        self._fade = _fade(self._mask, space)
        self._scale = self._units(before)

    @cached_property
    def _to_model(self) -> np.ndarray:
        """(4, 4) voxels of the scan to voxels of the model's grid."""
        way = self._way
        found: np.ndarray = np.linalg.inv(self.space.affine) @ way.rigid @ way.own.affine
        return found

    @cached_property
    def _box(self) -> tuple[slice, slice, slice]:
        """The part of the scan's grid where anything can move, with a margin for interpolation."""
        corners = np.argwhere(self._fade > 0)
        low, high = corners.min(axis=0) - 1, corners.max(axis=0) + 1
        ends = np.array(np.meshgrid(*zip(low, high, strict=True), indexing="ij")).reshape(3, -1)
        own = nib.affines.apply_affine(np.linalg.inv(self._to_model), ends.T)
        first = np.clip(np.floor(own.min(axis=0)).astype(int), 0, self.data.shape)
        last = np.clip(np.ceil(own.max(axis=0)).astype(int) + 1, 0, self.data.shape)
        x, y, z = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
        return x, y, z

    @cached_property
    def _spline(self) -> np.ndarray:
        """Coefficients of the cubic spline through the scan's voxels in the box."""
        return np.asarray(spline_filter(self.data[self._box], order=3, output=np.float32))

    def _units(self, before: np.ndarray) -> np.ndarray:
        """Scan units per display unit, slowly varying (X, Y, Z); includes the bias field."""
        way = self._way
        back = np.linalg.inv(way.rigid)
        scan = resample(self.data, way.own, self.space, back)
        sigma = BRIGHTNESS_MM / np.array(self.space.voxel_size)
        slow_scan, slow_made = (
            gaussian_filter(np.where(self._mask, image, np.float32(0)), sigma, truncate=2.5)
            for image in (scan, before * np.float32(way.scale))
        )
        known = slow_made > 0.05 * float(slow_made.max())
        ratio = np.divide(slow_scan, slow_made, out=np.ones_like(slow_scan), where=known)
        return np.asarray(np.clip(ratio, 0.5, 2.0) * way.scale, np.float32)

    def placed(self, moved: Movement) -> Movement:
        """The movement as applied to the scan: fading outside the brain, folding nowhere."""
        displacement = moved.displacement * self._fade
        sigma = 1.5
        while (folded := jacobian_of(displacement, self.space) < LEAST_JACOBIAN).any():
            # Smooth only where it folds, increasingly wide until it no longer does.
            near = gaussian_filter(folded.astype(np.float32), sigma)
            share = np.clip(2 * near / near.max(), 0, 1)
            smooth = np.stack([gaussian_filter(part, sigma) for part in displacement])
            displacement = displacement + share * (smooth - displacement) * (self._fade > 0)
            sigma *= 1.2
        displacement[:, np.linalg.norm(displacement, axis=0) < NOTHING_MM] = 0
        change = moved.change * self._fade
        return Movement(displacement, change, self.space, moved.before)

    def edited(self, moved: Movement) -> np.ndarray:
        """The edited scan, float32 (I, J, K) in the scan's units.

        `moved` comes from `placed`. Voxels that neither move nor change keep their value exactly;
        nothing falls below the scan's minimum.
        """
        result = self.data.copy()
        box = self._box
        shape = tuple(s.stop - s.start for s in box)
        if min(shape) == 0:
            return result
        offset = np.array([s.start for s in box])
        # Displacement in scan voxels, and intensity in scan units.
        turn = np.linalg.inv(self._way.own.affine[:3, :3]) @ self._way.rigid[:3, :3].T
        fields = [*np.einsum("ij,jxyz->ixyz", turn, moved.displacement)]
        fields = [
            np.ascontiguousarray(f, np.float32) for f in [*fields, moved.change * self._scale]
        ]
        active = (moved.moved_mm > 0) | (moved.change != 0)
        active = gaussian_filter(active.astype(np.float32), 1.0) > 0.01
        floor = min(float(self.data.min()), 0.0)
        flat = result[box].reshape(-1)

        def block(start: int) -> None:
            index = np.arange(start, min(start + BLOCK, flat.size))
            own = np.stack(np.unravel_index(index, shape)).astype(np.float32)
            model = (
                self._to_model[:3, :3].astype(np.float32) @ own
                + (self._to_model[:3, :3] @ offset + self._to_model[:3, 3])[:, None]
            )
            there = map_coordinates(active, model, order=0, mode="constant").astype(bool)
            if not there.any():
                return
            own, model, index = own[:, there], model[:, there], index[there]
            steps = [map_coordinates(f, model, np.float32, order=1, mode="nearest") for f in fields]
            read = own + np.stack(steps[:3])
            value = map_coordinates(self._spline, read, np.float32, 3, "nearest", prefilter=False)
            still = (np.abs(np.stack(steps[:3])).max(axis=0) == 0) & (steps[3] == 0)
            flat[index] = np.where(still, flat[index], np.maximum(value + steps[3], floor))

        with ThreadPoolExecutor() as pool:
            list(pool.map(block, range(0, flat.size, BLOCK)))
        result[box] = flat.reshape(shape)
        return result

    def image(self, data: np.ndarray) -> nib.Nifti1Image:
        """Edited data as a NIfTI image with the scan's affine and header codes."""
        return with_geometry(data, self._way.own.affine, self._geometry)


def _fade(mask: np.ndarray, space: Space) -> np.ndarray:
    """1 in the brain, falling to 0 at `FADE_MM` from it; float32 (X, Y, Z)."""
    distance = distance_transform_edt(~mask, sampling=space.voxel_size)
    return np.asarray(0.5 + 0.5 * np.cos(np.pi * np.clip(distance / FADE_MM, 0, 1)), np.float32)
