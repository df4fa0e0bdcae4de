"""A scan that is ready to be edited: what no edit changes is computed once.

An edit (`movement.py`) is put on the scan where it lies, at its own resolution and in its own
units, with one interpolation; or on the model's grid, for the screen and for what is measured:

    S'(x) = (1 - p(x)) S(psi(x)) + s(x) c(x)    S the scan, s its units and its bias field

p is the share that is painted over, where labels ask for tissue that no movement brings.

An edit of a scan itself: its own detail moves with the anatomy, at its own resolution.

A reconstruction leaves out what is finer than the generator knows. An edit of its latent is a
movement psi and a slow change of intensity c (`movement.py`), and both can be put on the scan:

    S'(x) = S(psi(x)) + s(x) c(x)            S the scan, s its units and its bias field

The scan is interpolated once. Outside the brain the movement fades to none. Where another brain
wears the detail it is the same: with r(y) = S(phi_w^-1(y)) - A_w(y) the detail in the common
anatomy, A_w''(phi_w''(x)) + r(phi_w''(x)) = S(psi(x)) + c(x); only nothing fades then, for the
other brain has another outline.

A scan, and its edits, in the model's space with voxels as small as the scan's own.

The aligned scan lies on the model's grid, which may be twice as coarse. For the screen the scan is
interpolated once, from its own voxels, on an upright grid of the model's field of view: sharp, and
where the synthetic brains and the measures lie.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter, map_coordinates, spline_filter

from stylegan3d.base import SILENT, Json, JsonView, Progress, RecipeError, ScanError
from stylegan3d.geometry.space import BRIGHTEST, Space, eroded, to_display
from stylegan3d.networks.deformation import read_at, voxel_centres
from stylegan3d.render.movement import Fading, Movement, Mover, repainted, turned
from stylegan3d.scans.extraction import extracted_mask
from stylegan3d.scans.resampling import NativeTransform, with_geometry
from stylegan3d.storage.about import EDITED_SCAN
from stylegan3d.storage.volumes import volume_files

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.latents import Delta
    from stylegan3d.recipe.recipe import Source
    from stylegan3d.scans import AlignedScan

#: More voxels than that are slow to draw without a graphics card, and no sharper on most screens.
MOST_VOXELS = 12_000_000
#: Between brightness of scan and brain, slower than any structure of a brain.
BRIGHTNESS_MM = 20.0
#: Fluid is the darkest share of what lies deeper than so many voxels of the model's grid.
DARKEST, DEEP = 0.01, 4
#: Voxels of the model's grid around a brain from where an edit may bring tissue.
AROUND = 8
#: Grids that are hardly finer than the model's gain nothing.
FINER = 1.2


def fine_space(own: Space, space: Space) -> Space:
    """The field of view of a model's grid `space` with voxels of the size of a scan's, `own`.

    At most `MOST_VOXELS`; `space` itself if the scan is hardly finer.
    """
    size = float(min(own.voxel_size))
    finer = min(voxel / size for voxel in space.voxel_size)
    finer = min(finer, (MOST_VOXELS / np.prod(space.shape)) ** (1 / 3))
    if finer < FINER:
        return space
    return space.resized([round(n * finer) for n in space.shape])


def in_threads(work: Callable[[int], None], parts: Iterable[int]) -> None:
    """Do the work for each part, on all cores: more threads would take more memory at a time."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(work, parts))


def box_around(
    where: np.ndarray, margin: int, to_scan: np.ndarray, shape: tuple[int, ...]
) -> tuple[slice, slice, slice]:
    """The part of a scan's grid that holds voxels of the model's grid, and room around them.

    Parameters
    ----------
    where : ndarray, shape (X, Y, Z), bool
        At least one voxel.
    margin : int
        Voxels of the model's grid around them.
    to_scan : ndarray (4, 4)
        Voxels of the model's grid to those of the scan.
    shape : tuple of int
        Of the scan.
    """
    voxels = np.argwhere(where)
    low, high = voxels.min(axis=0) - margin, voxels.max(axis=0) + margin
    ends = np.array(np.meshgrid(*zip(low, high, strict=True), indexing="ij")).reshape(3, -1)
    own = to_scan[:3, :3] @ ends + to_scan[:3, 3:]
    first = np.clip(np.floor(own.min(axis=1)).astype(int), 0, shape)
    last = np.clip(np.ceil(own.max(axis=1)).astype(int) + 1, 0, shape)
    x, y, z = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    return x, y, z


def fluid_of(aligned: np.ndarray, mask: np.ndarray) -> float:
    """How dark a scan's fluid is: the darkest share of what lies deep in its brain."""
    inner = eroded(mask, DEEP)
    inner = inner if inner.any() else mask
    return float(np.percentile(aligned[inner], 100 * DARKEST))


def scale_of(scan: np.ndarray, brain: np.ndarray, way: NativeTransform) -> np.ndarray:
    """What 1 stands for in a scan's units, its bias field included, float32 (X, Y, Z).

    Parameters
    ----------
    scan : ndarray, shape (X, Y, Z)
        On the model's grid, in its own units.
    brain : ndarray, shape (X, Y, Z)
        The same in display units: its reconstruction, or the aligned scan.
    way : NativeTransform
        From the model's grid to the scan's.
    """
    sigma = BRIGHTNESS_MM / np.array(way.space.voxel_size)
    slow_scan, slow_made = (
        gaussian_filter(np.where(way.mask, image, np.float32(0)), sigma, truncate=2.5)
        for image in (scan, brain * np.float32(way.scale))
    )
    known = slow_made > 0.05 * float(slow_made.max())
    ratio = np.divide(slow_scan, slow_made, out=np.ones_like(slow_scan), where=known)
    return np.asarray(np.clip(ratio, 0.5, 2.0) * way.scale, np.float32)


class FineScan:
    """An aligned scan on a fine upright grid in display units, ready to be edited.

    Parameters
    ----------
    aligned : AlignedScan
    """

    def __init__(self, aligned: AlignedScan) -> None:
        way = NativeTransform.of(aligned.describe(), aligned.space)
        data, space = aligned.scan.data, aligned.space
        self.space = fine_space(way.own, space)
        own, rigid, mask = way.own, way.rigid, way.mask
        self._own, self._rigid = own, rigid
        self._fluid = fluid_of(aligned.volume, mask)
        scale = scale_of(way.on_model_grid(np.asarray(data, np.float32)), aligned.volume, way)
        # From voxels of the fine grid to those of the scan.
        to_own = np.linalg.inv(own.affine) @ np.linalg.inv(rigid) @ self.space.affine
        to_scan = np.linalg.inv(own.affine) @ np.linalg.inv(rigid) @ space.affine
        box = box_around(mask, AROUND, to_scan, data.shape)
        to_own[:3, 3] -= [part.start for part in box]
        self._matrix, self._origin = to_own[:3, :3].astype(np.float32), to_own[:3, 3]
        self._box, self._data = box, data
        # The mask as a share, and the reciprocal of the scale, to be read at any place at once.
        known = np.stack([mask.astype(np.float32), 1 / np.maximum(scale, np.finfo(np.float32).eps)])
        self._known = torch.from_numpy(known.astype(np.float32))[None]

    @cached_property
    def _spline(self) -> np.ndarray:
        part = np.asarray(self._data[self._box], np.float32)
        return np.asarray(spline_filter(part, order=3, output=np.float32))

    @cached_property
    def unedited(self) -> np.ndarray:
        """The scan's brain, float32 in display units on the grid of `space`."""
        near = F.interpolate(self._known[:, :1], self.space.shape, mode="trilinear")[0, 0].numpy()
        return self._filled(np.zeros(self.space.shape, np.float32), near > 0, None)

    def edited(self, moved: Movement, progress: Progress = SILENT) -> np.ndarray:
        """The edited scan, as `CarriedDetail.frame` but on the fine grid.

        Returns
        -------
        ndarray
            Float32 in display units; without an edit `unedited`, bit for bit.

        Raises
        ------
        Cancelled
            If it was cancelled.
        """
        result = self.unedited.copy()
        if moved.is_nothing:
            return result
        reached = np.zeros(self.space.shape, bool)
        reached.reshape(-1)[_around(moved.touched, self.space.shape)] = True
        found = self._filled(result, reached, moved, progress)
        progress.check()
        return found

    def _filled(
        self,
        result: np.ndarray,
        where: np.ndarray,
        moved: Movement | None,
        progress: Progress = SILENT,
    ) -> np.ndarray:
        """Compute the voxels `where`, a plane at a time."""
        shape = self.space.shape
        fields = None if moved is None else self._fields(moved)
        j, k = np.indices(shape[1:], np.float32)
        plane = self._matrix[:, 1, None, None] * j + self._matrix[:, 2, None, None] * k
        halves = (np.array(shape, np.float32) / 2).reshape(3, 1)

        def slab(i: int) -> None:
            there = where[i]
            if not there.any() or progress.cancelled:
                return
            count = int(there.sum())
            voxel = np.stack([np.full(count, i, np.float32), j[there], k[there]])
            at = torch.from_numpy(np.ascontiguousarray(((voxel + 0.5) / halves - 1)[::-1]))
            read = (
                plane[:, there]
                + (self._origin + self._matrix[:, 0] * i).astype(np.float32)[:, None]
            )
            greys, still = np.zeros((1, 1), np.float32), None
            if fields is not None:
                values = read_at(fields, at[None, :, None, None])[0, :, 0, 0]
                steps, greys = values[:3].numpy(), values[6:].numpy()
                read = read + steps
                at = at + values[3:6]
                still = (steps == 0).all(axis=0) & (greys == 0).all(axis=0)
            known = read_at(self._known, at[None, :, None, None])[0, :, 0, 0].numpy()
            value = map_coordinates(self._spline, read, np.float32, 3, "nearest", prefilter=False)
            value = np.where(known[0] > 0.5, np.clip(value * known[1], 0, BRIGHTEST), 0)
            made = np.maximum(repainted(value, greys), np.minimum(value, self._fluid))
            made = np.clip(made, 0, BRIGHTEST).astype(np.float32)
            result[i][there] = made if still is None else np.where(still, result[i][there], made)

        _ = self._spline
        in_threads(slab, range(shape[0]))
        return result

    def _fields(self, moved: Movement) -> torch.Tensor:
        """Displacement in voxels of the scan, normalised offsets, then `Movement.greys`."""
        turn = np.linalg.inv(self._own.affine[:3, :3]) @ self._rigid[:3, :3].T
        steps = torch.from_numpy(turned(turn, moved.displacement))[None]
        return torch.cat([steps, moved.offsets, moved.greys], dim=1).float()


#: Voxels that a thread interpolates at a time.
BLOCK = 200_000


@dataclass(frozen=True, eq=False)
class Original:
    """A scan as it was read, and where it lies in the model's space.

    Attributes
    ----------
    data : ndarray (I, J, K)
        As it was read, in its own units.
    described : mapping
        What `AlignedScan.describe` says of it, also after a way through JSON.
    aligned : ndarray (X, Y, Z) or None
        Its brain on the model's grid in display units; found from `data` where it is not given.
    """

    data: np.ndarray
    described: JsonView
    aligned: np.ndarray | None = None

    @classmethod
    def of(cls, aligned: AlignedScan) -> Original:
        """The original of a scan that is aligned."""
        return cls(aligned.scan.data, aligned.describe(), aligned.volume)


class EditableScan:
    """A scan that movements can be put on.

    Parameters
    ----------
    original : Original
    space : Space
        The model's grid.

    Raises
    ------
    ScanError
        If the description of the scan lacks something or belongs to another.
    """

    def __init__(self, original: Original, space: Space) -> None:
        self._way = NativeTransform.of(dict(original.described), space)
        if original.data.shape != self._way.own.shape:
            raise ScanError(
                f"The edit belongs to a scan of {self._way.own.shape} voxels, but this one has "
                f"{original.data.shape}; give the scan that was projected."
            )
        self.space, self.original = space, original
        self.data = np.asarray(original.data, dtype=np.float32)
        self.fading = Fading(self._way.mask, self.space)
        self._within: dict[tuple[int, ...], torch.Tensor] = {}

    @cached_property
    def aligned(self) -> np.ndarray:
        """The scan's brain on the model's grid, display units (X, Y, Z)."""
        if self.original.aligned is not None:
            return np.asarray(self.original.aligned, np.float32)
        scan = np.where(self._way.mask, self._on_model_grid / self._scale, np.float32(0))
        return np.clip(scan, 0, 1).astype(np.float32)

    def placed(self, moved: Movement, *, worn: bool = False) -> Movement:
        """A movement as it is put on the scan; see `Fading.placed`."""
        return self.fading.placed(moved, worn=worn)

    def _near(self, space: Space) -> np.ndarray:
        """Where on a grid anything of the scan can move."""
        return self.fading.fade_on(space) > 0

    @cached_property
    def _scale(self) -> np.ndarray:
        """What 1 stands for in the scan's units, slowly varying (X, Y, Z): its bias field, too."""
        return scale_of(self._on_model_grid, self._like(), self._way)

    def _like(self) -> np.ndarray:
        """A brain in display units (X, Y, Z) that is as bright as the scan is."""
        return self.aligned

    def frame(
        self,
        moved: Movement,
        quality: str = "full",
        through: tuple[float, float, float] | None = None,
    ) -> np.ndarray:
        """The edited scan on the model's grid, (X, Y, Z) float32 in display units.

        Without an edit the aligned scan, bit for bit. A "preview" is interpolated linearly; with
        `through`, a point in RAS mm, it is edited in the three planes of voxels through that point
        only, and elsewhere it is the scan.
        """
        scan = self.aligned
        if moved.is_nothing:
            return scan.copy()
        shape = self.space.shape
        index = self._reached(moved)
        if through is not None:
            index = index[self._in_planes(through)[index]]
        places = voxel_centres(shape, index.device).flatten(2)[:, :, index]
        fields = torch.cat([moved.offsets, moved.greys], dim=1)
        found = read_at(fields, places[:, :, None, None])[:, :, 0, 0]
        offsets, greys = found[:, :3], found[0, 3:]
        points = places + offsets
        if quality == "preview":
            read = read_at(torch.from_numpy(scan)[None, None], points[:, :, None, None]).flatten()
        else:
            read = torch.from_numpy(self._read_finely(points[0].numpy()))
        result = torch.from_numpy(scan).flatten().clone()
        found = torch.where((offsets[0] == 0).all(dim=0), result[index], read)
        made = torch.maximum(repainted(found, greys), found.clamp(max=self._fluid))
        result[index] = made.clamp_(0, BRIGHTEST)
        return result.reshape(shape).numpy()

    def _in_planes(self, through: tuple[float, float, float]) -> torch.Tensor:
        """Which voxels lie in the three planes of voxels through a point in RAS mm, flat bool."""
        voxel = nib.affines.apply_affine(np.linalg.inv(self.space.affine), through)
        planes = torch.zeros(self.space.shape, dtype=torch.bool)
        for axis, (place, size) in enumerate(zip(voxel, self.space.shape, strict=True)):
            planes.select(axis, min(max(round(float(place)), 0), size - 1)).fill_(True)
        return planes.flatten()

    def _reached(self, moved: Movement) -> torch.Tensor:
        """Which voxels of the model's grid a movement can change, as flat indices."""
        near = self._near(moved.space)
        if (moved.touched & ~near).any():  # a brain that wears the detail
            return _around(moved.touched, self.space.shape)
        if moved.space.shape not in self._within:
            self._within[moved.space.shape] = _around(near, self.space.shape)
        return self._within[moved.space.shape]

    def _read_finely(self, points: np.ndarray) -> np.ndarray:
        """The aligned scan at normalised points (3, N), last axis first, by a cubic spline."""
        shape = np.array(self.space.shape, np.float32).reshape(3, 1)
        voxels = ((points[::-1] + 1) * shape - 1) / 2
        flat = np.empty(voxels.shape[1], np.float32)

        def block(start: int) -> None:
            part = slice(start, start + BLOCK)
            map_coordinates(
                self._aligned_spline, voxels[:, part], flat[part], 3, "nearest", prefilter=False
            )

        in_threads(block, range(0, flat.size, BLOCK))
        return flat

    @cached_property
    def _aligned_spline(self) -> np.ndarray:
        return np.asarray(spline_filter(self.aligned, order=3, output=np.float32))

    @cached_property
    def _to_model(self) -> np.ndarray:
        """(4, 4) voxels of the scan to voxels of the model's grid."""
        way = self._way
        return np.linalg.inv(self.space.affine) @ way.rigid @ way.own.affine

    @cached_property
    def _box(self) -> tuple[slice, slice, slice]:
        """The part of the scan's grid where anything can move, and room for interpolation."""
        return box_around(self.fading.fade > 0, 3, np.linalg.inv(self._to_model), self.data.shape)

    @cached_property
    def _spline(self) -> np.ndarray:
        """Coefficients of the cubic spline through the scan's voxels in the box."""
        return np.asarray(spline_filter(self.data[self._box], order=3, output=np.float32))

    @cached_property
    def _on_model_grid(self) -> np.ndarray:
        """The whole scan on the model's grid, in its own units."""
        return self._way.on_model_grid(self.data)

    @cached_property
    def _fluid(self) -> float:
        """How dark the scan's fluid is, display units.

        No edit makes a voxel darker than that, for there is no tissue in it to lose: between the
        brain and the meninges a change of greys would leave a black gap under a bright line.
        """
        return fluid_of(self.aligned, self._way.mask)

    def edited(self, moved: Movement) -> np.ndarray:
        """The edited scan, float32 (I, J, K) in the scan's units.

        `moved` is what `movement` or `placed` gave. Voxels that do not move and do not change keep
        their value to the last bit; nothing becomes darker than fluid that was not before.
        """
        result = self.data.copy()
        box = self._box
        shape = tuple(s.stop - s.start for s in box)
        if min(shape) == 0 or moved.is_nothing:
            return result
        fields = self._native_fields(moved)
        reached = np.zeros(moved.space.shape, bool)
        reached.reshape(-1)[_around(moved.touched, moved.space.shape)] = True
        least, fluid = min(float(self.data.min()), 0.0), self._fluid * self._way.scale
        spline, part = self._spline, result[box]
        # From the box's voxels to those of the movement's grid.
        to_grid = np.linalg.inv(moved.space.affine) @ self.space.affine @ self._to_model
        matrix = to_grid[:3, :3].astype(np.float32)
        origin = to_grid[:3, :3] @ [s.start for s in box] + to_grid[:3, 3]
        j, k = np.indices(shape[1:], np.float32)
        plane = matrix[:, 1, None, None] * j + matrix[:, 2, None, None] * k
        half = (np.array(moved.space.shape, np.float32) / 2).reshape(3, 1)

        def slab(i: int) -> None:
            """One plane of voxels of the box."""
            grid = plane + (origin + matrix[:, 0] * i).astype(np.float32)[:, None, None]
            there = map_coordinates(reached, grid, order=0, mode="nearest").astype(bool)
            if not there.any():
                return
            where = np.ascontiguousarray((((grid[:, there] + 0.5) / half) - 1)[::-1])
            found = read_at(fields, torch.from_numpy(where)[None, :, None, None])
            steps = found[0, :, 0, 0].numpy()
            read = np.stack([np.full(int(there.sum()), i, np.float32), j[there], k[there]])
            read += steps[:3]
            value = map_coordinates(spline, read, np.float32, 3, "nearest", prefilter=False)
            still = (steps == 0).all(axis=0)
            made = np.maximum(repainted(value, steps[3:]), np.clip(value, least, max(fluid, least)))
            part[i][there] = np.where(still, part[i][there], made)

        in_threads(slab, range(shape[0]))
        return result

    def _native_fields(self, moved: Movement) -> torch.Tensor:
        """Displacement in voxels of the scan, then `Movement.greys` in its units."""
        turn = np.linalg.inv(self._way.own.affine[:3, :3]) @ self._way.rigid[:3, :3].T
        steps = turned(turn, moved.displacement)
        fine = torch.from_numpy(self._scale)[None, None]
        greys = moved.greys.clone()
        greys[:, :1] *= F.interpolate(fine, moved.space.shape, mode="area")
        return torch.cat([torch.from_numpy(steps)[None], greys], dim=1)

    def made(self, volume: np.ndarray) -> np.ndarray:
        """A brain (X, Y, Z) of the model on the scan's grid in its units, 0 outside the brain."""
        return np.where(self._way.inside, self._way.carried(volume), np.float32(0))

    def image(self, data: np.ndarray) -> nib.Nifti1Image:
        """Edited data as a NIfTI image where the scan lies, with its header codes."""
        geometry = self.original.described.get("geometry", {})
        return with_geometry(data, self._way.own.affine, geometry)

    @property
    def rigid(self) -> np.ndarray:
        """(4, 4) scan RAS mm to model RAS mm."""
        return self._way.rigid


def _around(touched: np.ndarray, shape: tuple[int, int, int]) -> torch.Tensor:
    """Voxels of a grid of this shape at or beside what is touched, as flat indices."""
    around = torch.from_numpy(touched)[None, None].float()
    around = F.max_pool3d(around, 3, stride=1, padding=1)
    return F.interpolate(around, shape, mode="nearest").flatten().nonzero()[:, 0]


# The files of a scan that was edited: the scan itself, what changed and what moved.

ABOUT = {
    "Scan": EDITED_SCAN + ": {how}. Not a measurement.",
    "Change": EDITED_SCAN + ": the change in intensity by the edit, edited minus original scan.",
    "Movement": (
        EDITED_SCAN + ": how the edit moves tissue. At each point the vector, in mm (right, "
        "anterior, superior), to the place in the original scan that is shown there."
    ),
}


def edited_scan_files(
    scan: EditableScan,
    data: np.ndarray,
    moved: Movement,
    names: Mapping[str, Path],
    sidecar: Callable[[Path], Json],
    *,
    how: str,
    description: str,
) -> dict[Path, bytes]:
    """The files of an edited scan, not yet written: name to content.

    Parameters
    ----------
    scan : EditableScan
    data : ndarray, shape (I, J, K)
        The edited scan.
    moved : Movement
        What was done to it.
    names : mapping
        From each key of `ABOUT` to the file's path.
    sidecar : callable
        From a folder to what the sidecars of files in it say besides.
    how : str
        How the scan was edited.
    description : str
        For the headers.
    """
    images = {
        "Scan": scan.image(data),
        "Change": scan.image(data - scan.data),
        "Movement": moved.image(scan.rigid),
    }
    own = Space(scan.data.shape, images["Scan"].affine)
    stripped = extracted_mask(scan.data, own) is not None
    files: dict[Path, bytes] = {}
    for what, image in images.items():
        text = sidecar(names[what].parent)
        text["Description"] = ABOUT[what].format(how=how)
        # The edited scan is as the scan was; nothing else is there outside the brain.
        text["SkullStripped"] = what != "Scan" or stripped
        text["Movement"] = moved.figures
        if what == "Movement":
            text["Units"] = "mm"
            text["Grid"] = "the model's field of view in the scan's space"
        files |= volume_files(names[what], image, description=description, sidecar=text)
    return files


#: Scans that are kept ready at once.
KEPT = 2
#: A pose that differs by less, in mm and in directions, is the same.
SAME_POSE = 1e-3


class CarriedDetail(EditableScan):
    """A scan's own detail, ready to be put on brains: what no edit changes is computed once.

    Parameters
    ----------
    original : Original
    generator : Generator
    w : Tensor [num_layers, w_dim]
        Of the projection.
    delta : Delta, optional
        What the projection tuned in the generator.
    channel : int
        Of the images.

    Raises
    ------
    ScanError
        If the description of the scan lacks something or belongs to another.
    """

    def __init__(
        self,
        original: Original,
        generator: Generator,
        w: torch.Tensor,
        delta: Delta | None = None,
        channel: int = 0,
    ) -> None:
        super().__init__(original, generator.space)
        delta = _moving(delta)
        self.generator = generator
        self._tuned = (_digest(delta), generator if delta is None else generator.tuned(delta))
        self._other = self._tuned
        self._mover = Mover(self._tuned[1], w, channel)
        self._channel = channel

    def movement(
        self,
        w: torch.Tensor,
        delta: Delta | None = None,
        *,
        quick: bool = False,
        worn: bool = False,
    ) -> Movement:
        """What an edit does, as it is put on the scan.

        Parameters
        ----------
        w : Tensor [num_layers, w_dim]
            Of the edited brain.
        delta : Delta, optional
            What projections tuned in the generator for the edited brain (`Recipe.delta`).
        quick : bool
            It may be rougher, for a slider that moves; only generators without a deformation need
            that.
        worn : bool
            The brain is another one, which wears the detail.
        """
        near = None if worn else self._near
        moved = self._mover.to(w, self._generator_of(delta), quick=quick, near=near)
        return self.placed(moved, worn=worn)

    def _generator_of(self, delta: Delta | None) -> Generator:
        """The generator with this delta; that of the projection is always the same one."""
        delta = _moving(delta)
        digest = _digest(delta)
        if digest == self._tuned[0]:
            return self._tuned[1]
        if digest != self._other[0]:
            self._other = (digest, self.generator if delta is None else self.generator.tuned(delta))
        return self._other[1]

    def _like(self) -> np.ndarray:
        with torch.no_grad():
            made = self._tuned[1].synthesize(self._mover.w, noise="none")
        return np.asarray(to_display(made, self._channel)[0])


class Details:
    """The scans whose detail can be shown; each is made ready once.

    Parameters
    ----------
    find : callable
        From the source of a detail to its `Original`; raises if it is not at hand.
    """

    def __init__(self, find: Callable[[Source], Original]) -> None:
        self._find = find
        self._lock = RLock()
        self._ready: dict[tuple[object, ...], CarriedDetail] = {}

    def of(self, generator: Generator, source: Source, channel: int = 0) -> CarriedDetail:
        """The detail of a projected scan, ready to be put on brains of its generator.

        Raises
        ------
        RecipeError, LatentError
            If the source is not what it was, or is no projection of a scan.
        ScanError
            If another scan was found for it.
        """
        latent = source.latent(generator)
        if latent.scan is None:
            raise RecipeError(
                f"{source.path} does not say which scan it was projected from, so it has no "
                "detail to show: project the scan again."
            )
        with self._lock:
            original = self._find(source)
            _check_same(original, latent.scan)
            shown = latent.w.tobytes(), _digest(latent.delta), channel
            key = (*shown, id(generator), id(original.data))
            known = self._ready.pop(key, None)
            if known is None:
                while len(self._ready) >= KEPT:
                    del self._ready[next(iter(self._ready))]
                w = latent.to_w(generator)
                known = CarriedDetail(original, generator, w, latent.delta, channel)
            self._ready[key] = known  # the latest is the last to go
            return known


def _digest(delta: Delta | None) -> str | None:
    return None if delta is None else delta.digest


def _moving(delta: Delta | None) -> Delta | None:
    """The delta that matters for how an edit moves tissue.

    A scan's own noise does not: the flow draws its folds again after an edit, now and then others.
    """
    return None if delta is not None and delta.has_own_noise else delta


def _check_same(original: Original, described: JsonView) -> None:
    """ScanError if an original is not the scan that a latent was projected from."""
    found = original.described
    if found.get("sha256") != described.get("sha256"):
        raise ScanError(
            f"The latent belongs to another scan ({described.get('path')}) than the one given "
            f"({found.get('path')}): give the scan that was projected."
        )
    try:
        apart = np.abs(np.subtract(found["rigid"], described["rigid"], dtype=np.float64)).max()
    except (KeyError, TypeError, ValueError):
        apart = np.inf
    if not apart <= SAME_POSE:
        raise ScanError(
            f"{described.get('path')} was not projected in the pose that it has now: project "
            "it again, or undo the change of its pose."
        )
