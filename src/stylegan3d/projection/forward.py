"""The interface of forward operators: how a scan came from the brain that it shows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from stylegan3d.geometry.space import Space

if TYPE_CHECKING:
    from stylegan3d.scans import AlignedScan


class Operator(ABC):
    """A, in: data = A(brain). Projection compares A(G(w)) with the data (`project`).

    Images are [N, C, X, Y, Z] in [-1, 1] on the generator's grid, -1 outside the brain. Unless its
    description says otherwise an operator is linear and keeps constant images constant, so that
    its data have the units of the image.
    """

    linear = True
    # Whether something unknown of it is found from the data first (`adapt`).
    adapts = False
    # How much of the detail that only the generator knows brings a restored brain nearest to the
    # true one: details of the right kind in the wrong place do harm. Of training people.
    faith = 1.0

    def on(self, space: Space, aligned: AlignedScan | None = None) -> Self:
        """This operator for images on a grid; of an aligned scan also for where its slices lay.

        What is returned can be called. Raises StyleGAN3DError if it does not fit the grid.
        """
        return self

    @abstractmethod
    def __call__(self, image: Tensor) -> Tensor:
        """The data this image would give; differentiable."""

    def adjoint(self, data: Tensor, at: Tensor | None = None) -> Tensor:
        """A^T data: <A(x), y> = <x, A^T(y)>; [N, C, X, Y, Z].

        Of an operator that is not linear, the adjoint of its derivative at the image `at`.
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
        """The data in a scan that is such data already, carried onto the generator's grid.

        A scan with thick slices interpolated to 2 mm, for example, holds its slices at their
        places. By default the scan is the data.
        """
        return image

    def simulate(self, image: Tensor) -> Tensor:
        """The scan this brain would give, carried onto the generator's grid: to compare with one.

        Where the data are images on the same grid, the data.
        """
        return self(image)

    def known(self, mask: np.ndarray) -> np.ndarray:
        """The part (X, Y, Z) bool of a brain mask that a scan can be compared in."""
        return mask

    def fill(self, image: Tensor, template: Tensor) -> Tensor:
        """A whole brain for the encoder to look at, from such a scan and the mean brain."""
        return image

    def coarse(self, factor: int) -> Operator | None:
        """This operator for images and data of voxels `factor` times as large; None if undefined.

        Its data are those of `observe`, averaged over blocks of `factor` voxels.
        """
        return None

    def adapt(self, brains: Tensor, data: Tensor) -> None:
        """Find what is unknown of a bound operator, if anything, before a search.

        Parameters
        ----------
        brains : Tensor, shape (N, 1, X, Y, Z)
            Random brains of the generator: what it knows.
        data : Tensor
            In the operator's range.
        """
        raise NotImplementedError(f"{type(self).__name__} has no unknown parameters.")

    def spread(self, part: Tensor) -> Tensor:
        """How much of each datum comes from a part of the brain: 0 to 1, shaped as the data.

        `part` [1, 1, X, Y, Z] is 1 there, 0 elsewhere. By default the data lie on the grid of the
        image, and a part that was marked on the scan is that part of the data.
        """
        return part

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What it is, for sidecars: "Name" and its settings, plain values."""
