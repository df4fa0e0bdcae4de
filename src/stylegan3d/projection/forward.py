"""The interface of forward operators, which model how a scan was degraded.

Forward operators for scans with a masked part: a lesion, a resection, an artefact.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.base import Json, ScanError, StyleGAN3DError
from stylegan3d.geometry.space import Space
from stylegan3d.scans import AlignedScan, checks
from stylegan3d.scans.headers import geometry_of
from stylegan3d.scans.label_maps import looks_like_labels
from stylegan3d.scans.resampling import resample
from stylegan3d.scans.scan_data import ScanData, affine_beside
from stylegan3d.storage.files import sha256_of

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
    # detail of the right kind in the wrong place does harm. Measured on training subjects.
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
            at = torch.zeros_like(data)
        with torch.enable_grad():
            image = at.detach().clone().requires_grad_(True)
            (slope,) = torch.autograd.grad(self(image), image, data)
        return slope

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


# Share of a model voxel that must be masked for it to count as masked.
MASKED_SHARE = 0.1


class Mask(Operator):
    """Voxels inside a mask carry no information: a lesion, a resection, a metal artefact.

    Parameters
    ----------
    mask : ndarray or None
        Array (X, Y, Z) or path; non-zero where the brain is to be filled in. An array is on the
        generator's grid; a NIfTI file is in the scan's native space, on the scan's grid or another
        one with the same world coordinates, and is aligned with the scan.
    affine : ndarray or None
        (4, 4), voxel indices to RAS millimetres, for an array (I, J, K) in native space.
    """

    def __init__(self, mask: np.ndarray | str | Path, affine: np.ndarray | None = None) -> None:
        self.path = None if isinstance(mask, np.ndarray) else Path(mask)
        self.mask: np.ndarray | None = None
        self._own: tuple[np.ndarray, Space] | None = None
        if isinstance(mask, np.ndarray):
            checked = _checked_mask(mask, "The mask")
            if affine is None:
                self.mask = checked
            else:
                self._own = checked, Space(checked.shape, np.asarray(affine, np.float64))
        self.weights = torch.ones(())
        self._sha256 = None
        if self.path is not None:
            self._sha256 = sha256_of(self._file())
            _read_mask(self.path)  # a damaged one is refused before the scan is aligned

    @property
    def drawn_ml(self) -> float | None:
        """Volume of a mask that was given on a grid of its own, in ml; None for others."""
        if self._own is None:
            return None
        data, space = self._own
        return space.voxel_ml * int(np.count_nonzero(data))

    def on(self, space: Space, aligned: AlignedScan | None = None) -> Self:
        """Bind; a mask in native space needs the aligned scan it belongs to."""
        mask = self.mask
        if mask is None:
            if aligned is None:
                name = "" if self.path is None else f" {self.path.name}"
                raise StyleGAN3DError(
                    f"The mask{name} is in the scan's own space: align the scan first, or give a "
                    "mask array on the generator's grid."
                )
            mask = self._carried(aligned)
        if mask.shape != tuple(space.shape):
            raise StyleGAN3DError(
                f"The mask has {' x '.join(map(str, mask.shape))} voxels, but the generator makes "
                f"{' x '.join(map(str, space.shape))}; give the mask as a NIfTI file in the "
                "scan's space, or on the generator's grid."
            )
        bound = copy(self)
        bound.mask = mask
        bound.weights = torch.from_numpy(~mask).float()
        return bound

    def native(self, aligned: AlignedScan) -> np.ndarray:
        """The mask on the scan's own grid, bool (I, J, K)."""
        scan = aligned.scan.space
        if self.mask is not None and self.path is None and self._own is None:
            return resample(self.mask.astype(np.float32), aligned.space, scan, aligned.rigid) > 0.5
        data, space = self._of_scan(aligned)
        if space.same_as(scan):
            return data
        return resample(data.astype(np.float32), space, scan) > 0.5

    def _of_scan(self, aligned: AlignedScan | None = None) -> tuple[np.ndarray, Space]:
        scan = None if aligned is None else aligned.scan
        return self._own if self._own is not None else _read_mask(self._file(), scan)

    def _carried(self, aligned: AlignedScan) -> np.ndarray:
        data, space = self._of_scan(aligned)
        mask = mask_on(aligned.space, data, space, np.linalg.inv(aligned.rigid))
        if not mask.any():
            raise ScanError(
                f"{self.path or 'The mask'} marks nothing inside the model's field of view; check "
                "that it was drawn on this scan."
            )
        return mask

    def _file(self) -> Path:
        if self.path is None:
            raise StyleGAN3DError("This mask is an array on the generator's grid, not a file.")
        if not self.path.is_file():
            raise ScanError(f"There is no file {self.path}; give the mask as a NIfTI file.")
        return self.path

    def __call__(self, image: Tensor) -> Tensor:  # noqa: D102
        return image * self.weights.to(image)

    def adjoint(self, data: Tensor, at: Tensor | None = None) -> Tensor:  # noqa: D102
        return self(data)

    def observe(self, image: Tensor) -> Tensor:  # noqa: D102
        return self(image)

    def simulate(self, image: Tensor) -> Tensor:  # noqa: D102
        return image

    def known(self, mask: np.ndarray) -> np.ndarray:  # noqa: D102
        return mask if self.mask is None else mask & ~self.mask

    def fill(self, image: Tensor, template: Tensor) -> Tensor:
        """Fill the masked part with the mean brain."""
        return torch.where(self.weights.to(image) > 0, image, template)

    def coarse(self, factor: int) -> Operator:
        """Compare averages of the known voxels."""
        bound = copy(self)
        bound.weights = F.avg_pool3d(self.weights[None, None], factor)[0, 0]
        return bound

    def describe(self) -> Json:  # noqa: D102
        record: Json = {"Name": "mask"}
        if self.path is not None:
            record |= {"File": self.path.name, "SHA256": self._sha256}
        if self.mask is not None:
            record["MaskedVoxels"] = int(self.mask.sum())
        return record


class Masked(Operator):
    """A mask after another operator: M A.

    The mask comes last because it is drawn on the scan: it removes data. With thick slices it
    removes every value to which the masked part contributes.

    Parameters
    ----------
    mask : Mask
    operator : Operator
        The other degradation; not a mask.
    """

    def __init__(self, mask: Mask, operator: Operator) -> None:
        if isinstance(operator, (Mask, Masked)):
            raise StyleGAN3DError("Only one mask is possible: merge the two masks into one file.")
        self.mask, self.operator = mask, operator
        self.linear, self.faith = operator.linear, operator.faith
        self.adapts = operator.adapts
        self.weights = torch.ones(())

    def on(self, space: Space, aligned: AlignedScan | None = None) -> Self:  # noqa: D102
        bound = type(self)(self.mask.on(space, aligned), self.operator.on(space, aligned))
        assert bound.mask.mask is not None
        marked = torch.from_numpy(bound.mask.mask).float()[None, None]
        bound.weights = (bound.operator.spread(marked) <= MASKED_SHARE).float()
        return bound

    def __call__(self, image: Tensor) -> Tensor:  # noqa: D102
        seen = self.operator(image)
        return seen * self.weights.to(seen)

    def adjoint(self, data: Tensor, at: Tensor | None = None) -> Tensor:  # noqa: D102
        return self.operator.adjoint(data * self.weights.to(data), at)

    def observe(self, image: Tensor) -> Tensor:  # noqa: D102
        seen = self.operator.observe(image)
        return seen * self.weights.to(seen)

    def simulate(self, image: Tensor) -> Tensor:  # noqa: D102
        return self.operator.simulate(image)

    def known(self, mask: np.ndarray) -> np.ndarray:  # noqa: D102
        return self.operator.known(self.mask.known(mask))

    def fill(self, image: Tensor, template: Tensor) -> Tensor:
        """Fill the masked part with the mean brain."""
        return self.mask.fill(self.operator.fill(image, template), template)

    def adapt(self, brains: Tensor, data: Tensor) -> None:
        """Masked voxels are set to black, which does not count as brain."""
        black = 1 - self.weights.to(data)
        self.operator.adapt(brains, data * self.weights.to(data) - black)

    def coarse(self, factor: int) -> Operator | None:  # noqa: D102
        coarse = self.operator.coarse(factor)
        if coarse is None:
            return None
        bound = copy(self)
        bound.operator = coarse
        bound.weights = F.avg_pool3d(self.weights, factor)
        return bound

    def describe(self) -> Json:  # noqa: D102
        return {**self.operator.describe(), "Mask": self.mask.describe()}


def mask_on(
    target: Space, mask: np.ndarray, space: Space, to_source: np.ndarray | None = None
) -> np.ndarray:
    """A mask (I, J, K) on another grid, bool: a voxel is masked if `MASKED_SHARE` of it is.

    `to_source` (4, 4) takes the target's millimetres to the mask's; by default they are the same.
    """
    return resample(mask.astype(np.float32), space, target, to_source) > MASKED_SHARE


def _read_mask(path: Path, scan: ScanData | None = None) -> tuple[np.ndarray, Space]:
    """A mask file, bool (I, J, K), and its grid, with `scan` as it lies beside that."""
    image, data = checks.read_volume(path, "mask")
    affine = np.asarray(image.affine)
    checks.check_affine(path, affine)
    if scan is not None:
        affine = affine_beside(affine, geometry_of(image.header), data.shape, scan)
    return _checked_mask(data, str(path)), Space(data.shape, affine)


def _checked_mask(mask: np.ndarray, name: str) -> np.ndarray:
    if mask.ndim != 3 or not np.isfinite(mask).all():
        raise ScanError(f"{name} is not a mask: it needs three axes and finite values.")
    if not mask.any() or mask.all():
        what = "nothing" if not mask.any() else "everything"
        raise ScanError(f"{name} marks {what}; mark the part of the scan to be filled in.")
    if mask.max() > 1 and not looks_like_labels(mask):
        raise ScanError(
            f"{name} has the intensities of a scan; give a mask that is 0 outside the region."
        )
    return mask.astype(bool)
