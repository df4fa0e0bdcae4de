"""A scan, and its edits, in the model's space with voxels as small as the scan's own.

The aligned scan lies on the model's grid, which may be twice as coarse. For the screen the scan is
interpolated once, from its own voxels, on an upright grid of the model's field of view: sharp, and
where the synthetic brains and the measures lie.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import binary_erosion, gaussian_filter, map_coordinates, spline_filter

from stylegan3d.geometry.intensity import BRIGHTEST
from stylegan3d.geometry.space import Space
from stylegan3d.networks.deformation import read_at
from stylegan3d.progress import SILENT, Progress
from stylegan3d.render.movement import Movement, repainted, turned
from stylegan3d.scans.resampling import NativeTransform

if TYPE_CHECKING:
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
    x, y, z = (round(n * finer) for n in space.shape)
    return space.resized((x, y, z))


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
    inner = binary_erosion(mask, iterations=DEEP)
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
        near = F.max_pool3d(
            torch.from_numpy(moved.touched)[None, None].float(), 3, stride=1, padding=1
        )
        reached = F.interpolate(near, self.space.shape, mode="nearest")[0, 0].numpy() > 0
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
