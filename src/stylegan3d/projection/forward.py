"""The interface of forward operators, which model how a scan was degraded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor

from stylegan3d.geometry.space import Space
from stylegan3d.plain import Json

if TYPE_CHECKING:
    from stylegan3d.scans import AlignedScan


# Conjugate gradients for images, used by tuning and restoration.


def conjugate_gradients(
    normal: Callable[[Tensor], Tensor], right: Tensor, iterations: int, tolerance: float = 0.0
) -> Tensor:
    """Solve normal(x) = right approximately, from x = 0 (Hestenes, Stiefel 1952).

    Parameters
    ----------
    normal : callable
        Linear, symmetric and positive definite; returns a tensor of the same shape.
    right : Tensor
        The right-hand side.
    iterations : int
        Maximum number of applications of `normal`.
    tolerance : float
        Stop at this residual, as a share of the norm of `right`.
    """
    solution, residual = torch.zeros_like(right), right.clone()
    direction, size = residual.clone(), _dot(residual, residual)
    enough = tolerance**2 * size
    for _ in range(iterations):
        if not size > enough:
            break
        image = normal(direction)
        step = size / _dot(direction, image)
        solution += step * direction
        residual -= step * image
        size, before = _dot(residual, residual), size
        direction = residual + (size / before) * direction
    return solution


def _dot(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum(dtype=torch.float64))


class Operator(ABC):
    """A forward operator A: data = A(brain). Projection compares A(G(w)) with the data.

    Images are [N, C, X, Y, Z] in [-1, 1] on the generator's grid, -1 outside the brain. Unless
    stated otherwise an operator is linear and keeps constant images constant, so its data have the
    units of the image.
    """

    linear = True
    # Whether it has parameters to be estimated from the data first (`adapt`).
    adapts = False
    # Share of the generator's own detail that brings a restored brain closest to the true one:
    # detail # of the right kind in the wrong place does harm. Measured on training subjects.
    faith = 1.0

    def on(self, space: Space, aligned: AlignedScan | None = None) -> Self:
        """Bind the operator to a grid and, for thick slices, to an aligned scan's own slices.

        Returns the operator to call. Raises StyleGAN3DError if it does not fit the grid.
        """
        return self

    @abstractmethod
    def __call__(self, image: Tensor) -> Tensor:
        """Simulate the data of an image; differentiable."""

    def adjoint(self, data: Tensor, at: Tensor | None = None) -> Tensor:
        """A^T data: <A(x), y> = <x, A^T(y)>; [N, C, X, Y, Z].

        For a non-linear operator, the adjoint of its derivative at the image `at`.
        """
        if at is None:
            at = torch.zeros(self._input_shape(data), dtype=data.dtype, device=data.device)
        with torch.enable_grad():
            image = at.detach().clone().requires_grad_(True)
            (slope,) = torch.autograd.grad(self(image), image, data)
        return slope

    def _input_shape(self, data: Tensor) -> torch.Size:
        return data.shape

    def observe(self, image: Tensor) -> Tensor:
        """Extract the data from a degraded scan that was resampled to the generator's grid.

        A scan with thick slices interpolated to 2 mm, for example, contains its slices at their
        positions. By default the scan is the data.
        """
        return image

    def simulate(self, image: Tensor) -> Tensor:
        """Simulate the scan of a brain, resampled to the generator's grid, for comparison.

        If the data are images on that grid, these are returned.
        """
        return self(image)

    def known(self, mask: np.ndarray) -> np.ndarray:
        """The part (X, Y, Z) bool of a brain mask in which a scan can be compared."""
        return mask

    def fill(self, image: Tensor, template: Tensor) -> Tensor:
        """A complete brain for the encoder, from such a scan and the mean brain."""
        return image

    def coarse(self, factor: int) -> Operator | None:
        """The operator for voxels `factor` times as large; None if undefined.

        Its data are those of `observe`, averaged over blocks of `factor` voxels.
        """
        return None

    def adapt(self, brains: Tensor, data: Tensor) -> None:
        """Estimate the unknown parameters of a bound operator, if any, before a search.

        Parameters
        ----------
        brains : Tensor, shape (N, 1, X, Y, Z)
            Random brains of the generator.
        data : Tensor
            In the operator's range.
        """
        raise NotImplementedError(f"{type(self).__name__} has no unknown parameters.")

    def spread(self, part: Tensor) -> Tensor:
        """Share, 0 to 1, of each data value that comes from a part of the brain; shape of the data.

        `part` [1, 1, X, Y, Z] is 1 inside the part, 0 elsewhere. By default the data are on the
        image's grid, and the same part of the data is returned.
        """
        return part

    @abstractmethod
    def describe(self) -> Json:
        """Name and settings as plain values, for sidecars."""
