"""Deformations from stationary velocity fields, and fields spanned by a learned basis.

Brains differ in shape more than in appearance. So a generator with a deformation makes its image in
one common anatomy and warps it: V = I o exp(v), with v a smooth stationary velocity field (Arsigny
et al. 2006, MICCAI, "A log-Euclidean framework for statistics on diffeomorphisms"). exp(v) never
folds, so growing ventricles displace tissue instead of fading in.

Velocities and displacements are in normalised coordinates: the axis has length 2, voxel centres are
half a voxel inside (`grid_sample` with align_corners=False), so fields are independent of
resolution.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.networks.config import Grid
from stylegan3d.networks.resampling import along_axes, doubling_matrix, normalised_taps

SQUARINGS = 5


class Basis(nn.Module):
    """Basis fields for weighted sums, stored only where they are not zero.

    Attributes
    ----------
    weight : Parameter, shape (count, channels, voxels inside)
    inside : Tensor, shape (X, Y, Z), bool
        The whole grid until `set_fields` is called.
    """

    inside: Tensor

    def __init__(self, count: int, channels: int, grid: Grid) -> None:
        super().__init__()
        self.register_buffer("inside", torch.ones(grid, dtype=torch.bool))
        self.weight = nn.Parameter(torch.zeros(count, channels, self.inside.numel()))
        self._places: Tensor | None = None

    @torch.no_grad()
    def set_fields(self, fields: Tensor, inside: Tensor) -> None:
        """Store `fields` [count, channels, X, Y, Z] where `inside` [X, Y, Z] is true."""
        self.inside.copy_(inside)
        self._places = None
        self._resize(int(inside.sum()))
        self.weight.copy_(fields.flatten(2)[:, :, inside.flatten()])

    def weights_of(self, inside: Tensor) -> Tensor:
        """Projection onto orthogonal fields, [N, channels * voxels inside] -> [N, count]"""
        weight = self.weight.flatten(1)
        return inside @ weight.T / weight.square().sum(dim=1).clamp(min=1e-12)

    def weights_in(self, fields: Tensor) -> Tensor:
        """`weights_of` fields on the whole grid, [N, channels, X, Y, Z] -> [N, count]"""
        return self.weights_of(fields.flatten(2)[:, :, self.inside.flatten()].flatten(1))

    @property
    def fields(self) -> Tensor:
        """The fields on the whole grid, [count, channels, X, Y, Z]."""
        return self(torch.eye(len(self.weight), device=self.weight.device))

    def _resize(self, voxels: int) -> None:
        """Resize to another number of voxels, keeping the parameter object if possible."""
        count, channels, before = self.weight.shape
        if voxels != before:
            self.weight = nn.Parameter(
                self.weight.new_zeros(count, channels, voxels),
                requires_grad=self.weight.requires_grad,
            )

    def forward(self, coefficients: Tensor, only: int | None = None) -> Tensor:
        """[N, count] -> [N, channels, X, Y, Z]; the first `only` channels if that is given."""
        weight = self.weight if only is None else self.weight[:, :only]
        count, channels, voxels = weight.shape
        values = coefficients @ weight.reshape(count, -1)
        values = values.reshape(-1, channels, voxels)
        if voxels == self.inside.numel():
            return values.reshape(-1, channels, *self.inside.shape)
        if self._places is None or self._places.device != values.device:
            with torch.inference_mode(False):  # saved for backward
                self._places = self.inside.flatten().nonzero()[:, 0]
        whole = values.new_zeros(len(values), channels, self.inside.numel())
        whole = whole.index_copy(2, self._places, values)
        return whole.reshape(-1, channels, *self.inside.shape)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *args: Any) -> None:
        stored = state.get(f"{prefix}weight")
        if stored is not None and stored.shape[:2] == self.weight.shape[:2]:
            # The number of voxels inside depends on the data.
            self._resize(stored.shape[2])
        self._places = None
        super()._load_from_state_dict(state, prefix, *args)


def velocity_of(
    basis: Basis, const: Tensor, weights: Sequence[Tensor], grids: Sequence[Grid]
) -> Tensor:
    """A velocity field [N, 3, X, Y, Z], band by band.

    Frequencies that the grid of a level resolves and the next coarser one does not have the weights
    of that level.

    Parameters
    ----------
    const : Tensor, shape (3, X, Y, Z)
        The mean field.
    weights, grids : sequence of Tensor and of Grid
        Weights of the basis [N, count] of each level, and its grid; the last is the field's.
    """
    total = const[None]
    for level, (row, grid) in enumerate(zip(weights, grids, strict=True)):
        field = basis(row)
        band = resize(field, grid)
        if level:
            band = band - resize(resize(field, grids[level - 1]), grid)
        total = total + resize(band, grids[-1])
    return total


def exponential(velocity: Tensor, squarings: int = SQUARINGS) -> Tensor:
    """Displacement of exp(v) by scaling and squaring: exp(v) = exp(v / 2^n) o ... (2^n times).

    Parameters
    ----------
    velocity : Tensor, shape (N, 3, X, Y, Z)
        Normalised coordinates per unit of time; channels in the order of the axes.

    Returns
    -------
    Tensor, shape (N, 3, X, Y, Z)
        Displacement u: a point x moves to x + u(x).
    """
    displacement = velocity / 2**squarings
    for _ in range(squarings):
        displacement = displacement + warp(displacement, displacement)
    return displacement


def warp(image: Tensor, displacement: Tensor) -> Tensor:
    """Sample `image` [N, C, ...] at x + u(x): linear interpolation, border values outside.

    The result is on the grid of `displacement` [N, 3, X, Y, Z].
    """
    return read_at(image, add_identity(displacement.flip(1)))


def read_at(image: Tensor, points: Tensor) -> Tensor:
    """Sample `image` [N, C, ...] at `points` [N, 3, X, Y, Z], with channels z, y, x.

    This is the order of `grid_sample`, last axis in memory first.
    """
    points = points.to(image.dtype).permute(0, 2, 3, 4, 1)
    return F.grid_sample(image, points, padding_mode="border", align_corners=False)


def nearest_at(noise: Tensor, points: Tensor) -> Tensor:
    """White noise [1 or N, 1, ...] at `points` as of `read_at`: the nearest values, still white."""
    places = points.permute(0, 2, 3, 4, 1)
    noise = noise.expand(len(places), -1, -1, -1, -1)
    return F.grid_sample(noise, places, "nearest", "border", align_corners=False)


def add_identity(displacement: Tensor) -> Tensor:
    """Convert displacements [N, 3, X, Y, Z], channels z, y, x, to points."""
    shape = (displacement.shape[2], displacement.shape[3], displacement.shape[4])
    return displacement + voxel_centres(shape, displacement.device)


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def voxel_centres(grid: Grid, device: torch.device) -> Tensor:
    """[1, 3, X, Y, Z] normalised coordinates of the voxel centres, channels z, y, x; shared."""
    axes = [torch.linspace(-1 + 1 / n, 1 - 1 / n, n, device=device) for n in grid]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1])[None]


def determinant(steps: Tensor) -> Tensor:
    """det(1 + the gradient of steps), [3, X, Y, Z] in voxels, by central differences."""
    (a, b, c), (d, e, f), (g, h, i) = (torch.gradient(part) for part in steps)
    a, e, i = a + 1, e + 1, i + 1
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def resize(field: Tensor, grid: Sequence[int]) -> Tensor:
    """Resample a smooth field [N, C, ...] to another grid of the same extent."""
    if tuple(field.shape[2:]) == tuple(grid):
        return field
    if field.shape[2] > grid[0]:
        return F.avg_pool3d(field, field.shape[2] // grid[0])
    before = field.shape[2:]
    return along_axes(
        field, [linear_matrix(m, n, field.device) for m, n in zip(before, grid, strict=True)]
    )


def enlarge_smoothly(field: Tensor, grid: Grid, kernel: Sequence[float]) -> Tensor:
    """`resize` after a first doubling with the low-pass filter `kernel`, in one step.

    A piecewise linear field that is much coarser than its target has visible kinks.
    """
    matrices = [
        smooth_matrix(m, n, tuple(kernel), field.device)
        for m, n in zip(field.shape[2:], grid, strict=True)
    ]
    return along_axes(field, matrices)


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def linear_matrix(before: int, after: int, device: torch.device) -> Tensor:
    """[after, before] linear interpolation between voxel centres, border values outside."""
    unit = torch.eye(before)[None]
    return F.interpolate(unit, size=after, mode="linear", align_corners=False)[0].T.to(device)


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def smooth_matrix(
    before: int, after: int, kernel: tuple[float, ...], device: torch.device
) -> Tensor:
    """[after, before] doubling as in `upsample_image`, then linear interpolation."""
    doubled = doubling_matrix(before, normalised_taps(kernel, 8.0), False, device)
    return linear_matrix(2 * before, after, device) @ doubled
