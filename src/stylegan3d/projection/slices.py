"""Forward operator for scans with thick slices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from scipy.interpolate import CubicSpline
from torch import Tensor

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.geometry.space import Space
from stylegan3d.plain import Json
from stylegan3d.projection.filters import DIRECTIONS, along_axis, array_axis, read_mm
from stylegan3d.projection.forward import Operator

if TYPE_CHECKING:
    from stylegan3d.scans import AlignedScan

Profile = Literal["box", "gaussian"]
#: Thickness in mm, and the share of a generator's own detail that brings a scan of 1 mm closest to
#: the true one: between slices of 3 mm nothing. Measured on five subjects.
SHARE_MM, SHARES = (3.0, 5.0), (0.0, 0.7)
#: Thin slices are not closer than this: the generators know nothing as fine.
FINEST_MM = 1.0
#: Corrections by what the slices of an interpolation miss; more would amplify noise.
CONSISTENT = 3
# A scan's own slices are used if they have at least this share of the requested thickness.
OWN_SLICES = 0.6


@dataclass(frozen=True, eq=False)
class ThinSlices:
    """Thin slices in place of thick ones.

    Attributes
    ----------
    space : Space
        Their grid, with the field of view of the thick ones.
    axis : int
        Across the slices.
    seen : ndarray, float32 (thick, thin)
        The thick slices that thin ones make.
    plain, between : ndarray, float32 (thin, thick)
        Cubic splines through the middles of thick slices; and those whose slices are the thick
        ones, too: a spline alone takes a mean for a value and flattens what is narrow.
    """

    space: Space
    axis: int
    seen: np.ndarray
    plain: np.ndarray
    between: np.ndarray

    def along(self, matrix: np.ndarray, image: np.ndarray) -> np.ndarray:
        """One of the matrices applied across the slices of an image (I, J, K)."""
        moved = np.tensordot(image, matrix.T, axes=(self.axis, 0))
        return np.moveaxis(moved, -1, self.axis)


class ThickSlices(Operator):
    """Slices averaged over their thickness, as in routine scans of 3 to 6 mm.

    The data are the slices: [N, C, I, J, K] with few K (or I, or J). For a scan with thick slices
    they are at the scan's own positions, at any tilt of the head; otherwise they are adjacent along
    an axis of the generator's grid.

    Parameters
    ----------
    thickness_mm : float
    direction : str
        Normal of the slices: R, L, A, P, S or I; S for axial ones.
    profile : Profile
        Slice profile, "box" or "gaussian"; the thickness is the Gaussian's full width at half
        maximum.
    """

    faith = 0.7

    def __init__(self, thickness_mm: float, direction: str = "S", profile: Profile = "box") -> None:
        if not 0.5 <= thickness_mm <= 30:
            raise StyleGAN3DError(f"Slices are 0.5 to 30 mm thick, not {thickness_mm:g} mm.")
        self.thickness_mm, self.direction, self.profile = thickness_mm, direction, profile
        self.own_slices = False
        self.space: Space | None = None  # of the images
        self.slices: Space | None = None  # of the data, in the same millimetres
        self._axis = 2
        # Slices along an axis of the grid: [slices, voxels] for their means and their centres.
        self._matrix = torch.zeros(0)
        self._middles = torch.zeros(0)
        # Oblique slices: sampling positions and weights.
        self._points = torch.zeros(0)
        self._weights = torch.zeros(0)

    @classmethod
    def parse(cls, words: list[str]) -> ThickSlices:
        """Parse the fields after "thick:", such as ["5mm", "S", "gaussian"]."""
        settings: Json = {"thickness_mm": read_mm(words[0])}
        for word in words[1:]:
            if word.upper() in DIRECTIONS:
                settings["direction"] = word.upper()
            elif word.lower() in ("box", "gaussian"):
                settings["profile"] = word.lower()
            else:
                raise ValueError(word)
        return cls(**settings)

    def on(self, space: Space, aligned: AlignedScan | None = None) -> Self:  # noqa: D102
        bound = type(self)(self.thickness_mm, self.direction, self.profile)
        own = None if aligned is None else self._own_slices(space, aligned)
        bound.own_slices = own is not None
        bound.space = space
        bound.slices = own or _side_by_side(space, self.direction, self.thickness_mm)
        bound._axis = array_axis(bound.slices, self.direction)
        if bound.own_slices:
            bound._points, bound._weights = bound._taps()
        else:
            bound._matrix, bound._middles = bound._matrices()
        return bound

    def _own_slices(self, space: Space, aligned: AlignedScan) -> Space | None:
        """The scan's slices in the model's millimetres, with the model's in-plane resolution."""
        scan = aligned.scan.space
        in_model = Space(scan.shape, aligned.rigid @ scan.affine)
        axis = array_axis(in_model, self.direction)
        if in_model.voxel_size[axis] < OWN_SLICES * self.thickness_mm:
            return None
        fine = min(space.voxel_size)
        shape = [
            n if i == axis else max(1, round(n * size / fine))
            for i, (n, size) in enumerate(zip(scan.shape, in_model.voxel_size, strict=True))
        ]
        return in_model.resized((shape[0], shape[1], shape[2]))

    def _matrices(self) -> tuple[Tensor, Tensor]:
        """Linear interpolation, weighted over the depths of a slice, and at its centre alone."""
        assert self.space is not None
        assert self.slices is not None
        voxels, voxel_mm = self.space.shape[self._axis], self.space.voxel_size[self._axis]
        to_voxel = np.linalg.inv(self.space.affine) @ self.slices.affine
        count = self.slices.shape[self._axis]
        middles = to_voxel[self._axis, self._axis] * np.arange(count) + to_voxel[self._axis, 3]
        depth, weights = self._profile(voxel_mm)
        places = middles[:, None] + depth / voxel_mm
        hats = _hats(places, voxels)  # [slices, depths, voxels]
        matrix = np.einsum("sdv,d->sv", hats, weights)
        middle = _hats(middles[:, None], voxels)[:, 0]
        return torch.from_numpy(matrix).float(), torch.from_numpy(middle).float()

    def _taps(self) -> tuple[Tensor, Tensor]:
        """Sampling positions [taps, I, J, K, 3] in grid_sample's units, and their weights."""
        assert self.space is not None
        assert self.slices is not None
        depth, weights = self._profile(min(self.space.voxel_size))
        step = self.slices.affine[:3, self._axis]
        normal = step / np.linalg.norm(step)
        points = [_points_of(self.slices, offset * normal, self.space) for offset in depth]
        return torch.from_numpy(np.stack(points)), torch.from_numpy(weights)

    @property
    def share(self) -> float:
        """Share of a generator's own detail that is put on a scan at its own resolution, 0 to 1."""
        return float(np.interp(self.thickness_mm, SHARE_MM, SHARES))

    def thin(self, scan: Space) -> ThinSlices:
        """Thin slices in place of a scan's own, as far apart as its voxels within a slice.

        Parameters
        ----------
        scan : Space
            The scan's grid, whose slices these are.
        """
        axis, thick = self._axis, scan.voxel_size[self._axis]
        within = min(size for i, size in enumerate(scan.voxel_size) if i != axis)
        count = max(1, round(thick / max(within, FINEST_MM)))
        slices = scan.shape[axis]
        shape = [n * count if i == axis else n for i, n in enumerate(scan.shape)]
        # In slices: where the thin ones lie, and where the profile is sampled.
        middles = (np.arange(slices * count) + 0.5) / count - 0.5
        depth, weights = self._profile(thick / count)
        places = (np.arange(slices)[:, None] + depth / thick + 0.5) * count - 0.5
        seen = np.einsum("sdv,d->sv", _hats(places, slices * count), weights)
        spline = CubicSpline(np.arange(slices), np.eye(slices))
        plain = spline(np.clip(middles, 0, slices - 1))
        left = np.eye(slices)
        between = plain
        for _ in range(CONSISTENT):
            left = left - seen @ plain @ left
            between = between + plain @ left
        fine = scan.resized((shape[0], shape[1], shape[2]))
        return ThinSlices(fine, axis, *(m.astype(np.float32) for m in (seen, plain, between)))

    def _profile(self, voxel_mm: float) -> tuple[np.ndarray, np.ndarray]:
        """Sample depths in mm across the slice and their weights, which sum to 1."""
        reach = self.thickness_mm / 2 if self.profile == "box" else self.thickness_mm
        count = max(3, math.ceil(2 * reach / voxel_mm * 2) | 1)
        depth = (np.arange(count) + 0.5) / count * 2 * reach - reach
        if self.profile == "box":
            weights = np.ones(count)
        else:
            weights = np.exp(-4 * math.log(2) * (depth / self.thickness_mm) ** 2)
        return depth, (weights / weights.sum()).astype(np.float32)

    def __call__(self, image: Tensor) -> Tensor:  # noqa: D102
        if not self.own_slices:
            return along_axis(image, self._matrix, self._axis)
        slices = torch.zeros((), dtype=image.dtype, device=image.device)
        for weight, points in zip(self._weights, self._points, strict=True):
            slices = slices + float(weight) * _sampled(image, points)
        return slices

    def adjoint(self, data: Tensor, at: Tensor | None = None) -> Tensor:  # noqa: D102
        if not self.own_slices:
            return along_axis(data, self._matrix.T, self._axis)
        return super().adjoint(data, at)

    def _input_shape(self, data: Tensor) -> torch.Size:
        assert self.space is not None
        return torch.Size((*data.shape[:2], *self.space.shape))

    def observe(self, image: Tensor) -> Tensor:
        """Values at the centres of the slices, where an interpolated scan equals the slice."""
        if not self.own_slices:
            return along_axis(image, self._middles, self._axis)
        return _sampled(image, self._points[len(self._points) // 2])

    def simulate(self, image: Tensor) -> Tensor:
        """The slices, linearly interpolated to the grid as alignment does with a scan."""
        assert self.space is not None
        assert self.slices is not None
        there = _points_of(self.space, np.zeros(3), self.slices)
        return _sampled(self(image), torch.from_numpy(there))

    def spread(self, part: Tensor) -> Tensor:
        """Share of every slice voxel that the part fills."""
        return self(part)

    def describe(self) -> Json:  # noqa: D102
        record = {
            "Name": "thick",
            "ThicknessMillimetres": self.thickness_mm,
            "Direction": self.direction,
            "Profile": self.profile,
        }
        if self.slices is not None:
            record["Slices"] = self.slices.shape[self._axis]
            record["PlacedAs"] = "the scan's own slices" if self.own_slices else "the model's axis"
        return record


def _hats(places: np.ndarray, count: int) -> np.ndarray:
    """Linear interpolation weights at positions [...] among `count` voxels, [..., count]."""
    places = np.clip(places, 0, count - 1)
    return np.clip(1 - np.abs(places[..., None] - np.arange(count)), 0, None)


def _points_of(own: Space, offset_mm: np.ndarray, image: Space) -> np.ndarray:
    """The voxels of a grid, offset, in `grid_sample` units of an image; float32 [I, J, K, 3]."""
    index = np.stack(np.meshgrid(*map(np.arange, own.shape), indexing="ij"), axis=-1)
    to_voxel = np.linalg.inv(image.affine)
    matrix = to_voxel @ own.affine
    voxel = index @ matrix[:3, :3].T + matrix[:3, 3] + to_voxel[:3, :3] @ offset_mm
    scaled = 2 * voxel / np.maximum(np.asarray(image.shape) - 1, 1) - 1
    return np.ascontiguousarray(scaled[..., ::-1], dtype=np.float32)  # the last axis comes first


def _sampled(image: Tensor, points: Tensor) -> Tensor:
    """Linear interpolation of [N, C, X, Y, Z] at points [I, J, K, 3]; the border is extended."""
    grid = points.to(image)[None].expand(len(image), -1, -1, -1, -1)
    return F.grid_sample(image, grid, "bilinear", padding_mode="border", align_corners=True)


def _side_by_side(space: Space, direction: str, thickness_mm: float) -> Space:
    """Adjacent slices along an axis of the grid, over its whole field of view."""
    axis = array_axis(space, direction)
    extent = space.shape[axis] * space.voxel_size[axis]
    count = math.ceil(extent / thickness_mm - 1e-6)
    affine = space.affine.copy()
    affine[:3, axis] *= thickness_mm / space.voxel_size[axis]
    # Centred: any excess is split between both ends.
    middle = np.append((np.asarray(space.shape) - 1) / 2, 1.0)
    shape = [n if i != axis else count for i, n in enumerate(space.shape)]
    own_middle = (np.asarray(shape) - 1) / 2
    affine[:3, 3] = (space.affine @ middle)[:3] - affine[:3, :3] @ own_middle
    return Space((shape[0], shape[1], shape[2]), affine)
