"""Forward operators that remove fine detail: blur and undersampled k-space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.geometry.space import Space
from stylegan3d.networks.resampling import along_axes
from stylegan3d.plain import Json
from stylegan3d.projection.forward import Operator

if TYPE_CHECKING:
    from stylegan3d.scans import AlignedScan

DIRECTIONS = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}


def read_mm(word: str) -> float:
    """ "5mm" or "5" -> 5.0; ValueError for anything else or if not above 0."""
    value = float(word.lower().removesuffix("mm"))
    if not 0 < value < np.inf:
        raise ValueError(word)
    return value


def array_axis(space: Space, direction: str) -> int:
    """The array axis of a grid closest to an anatomical direction."""
    along = np.abs(space.affine[DIRECTIONS[direction], :3]) / np.asarray(space.voxel_size)
    return int(np.argmax(along))


class Blur(Operator):
    """Gaussian blur of standard deviation `sigma_mm` in every direction.

    At the border the kernel is truncated and renormalised, so constant images stay constant.
    """

    faith = 0.5

    def __init__(self, sigma_mm: float) -> None:
        if not 0 < sigma_mm < 50:
            raise StyleGAN3DError(f"A blur of {sigma_mm:g} mm is not possible; give 0.5 to 20 mm.")
        self.sigma_mm = sigma_mm
        self._matrices: list[Tensor] = []

    @classmethod
    def parse(cls, words: list[str]) -> Blur:
        """Parse the fields after "blur:"."""
        (sigma,) = words
        return cls(read_mm(sigma))

    def on(self, space: Space, aligned: AlignedScan | None = None) -> Self:  # noqa: D102
        bound = type(self)(self.sigma_mm)
        for size, voxel in zip(space.shape, space.voxel_size, strict=True):
            place = torch.arange(size, dtype=torch.float64) * (voxel / self.sigma_mm)
            weights = torch.exp(-0.5 * (place[:, None] - place) ** 2)
            bound._matrices.append((weights / weights.sum(dim=1, keepdim=True)).float())
        return bound

    def __call__(self, image: Tensor) -> Tensor:  # noqa: D102
        return along_axes(image, self._matrices)

    def adjoint(self, data: Tensor, at: Tensor | None = None) -> Tensor:  # noqa: D102
        return along_axes(data, [matrix.T for matrix in self._matrices])

    def describe(self) -> Json:  # noqa: D102
        return {"Name": "blur", "SigmaMillimetres": self.sigma_mm}


def along_axis(image: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """A matrix [out, in] applied along a spatial axis, 0 to 2, of [N, C, X, Y, Z]."""
    moved = torch.movedim(image, axis + 2, -1) @ matrix.T.to(image)
    return torch.movedim(moved, -1, axis + 2)


class KSpace(Operator):
    """Undersampled Cartesian k-space; the data are the zero-filled image.

    A = F^-1 M F with the Fourier transform F over the grid and the sampling mask M. Lines are
    skipped along one direction. A real image has a symmetric spectrum: a line determines its mirror
    image, so M is symmetric and A a projection (A A = A = A^T).

    Parameters
    ----------
    acceleration : float
        Acceleration factor, including the centre.
    direction : str
        Phase-encoding direction, along which lines are skipped: R, L, A, P, S or I.
    center : float
        Share of lines, around frequency 0, that is fully sampled.
    seed : int
        Seed for choosing the other lines.
    """

    def __init__(
        self, acceleration: float = 4.0, direction: str = "A", center: float = 0.08, seed: int = 0
    ) -> None:
        if not 1 <= acceleration <= 32 or not 0 < center <= 1:
            raise StyleGAN3DError(
                f"K-space undersampled {acceleration:g} times with {100 * center:g} % of its "
                "centre sampled fully is not possible; give 1 to 32 times and 0 to 100 %."
            )
        self.acceleration, self.direction = acceleration, direction
        self.center, self.seed = center, seed
        self._sampled = torch.ones(1, dtype=torch.bool)
        self._axis = 0

    @classmethod
    def parse(cls, words: list[str]) -> KSpace:
        """Parse the fields after "kspace:", such as ["4x", "A", "8%"]."""
        settings: Json = {"acceleration": float(words[0].lower().removesuffix("x"))}
        for word in words[1:]:
            if word.endswith("%"):
                settings["center"] = float(word[:-1]) / 100
            elif word.upper() in DIRECTIONS:
                settings["direction"] = word.upper()
            else:
                raise ValueError(word)
        return cls(**settings)

    def on(self, space: Space, aligned: AlignedScan | None = None) -> Self:  # noqa: D102
        bound = type(self)(self.acceleration, self.direction, self.center, self.seed)
        bound._axis = 2 + array_axis(space, self.direction)
        bound._sampled = self._lines(space.shape[bound._axis - 2])
        return bound

    def _lines(self, count: int) -> Tensor:
        """Sampling mask of `count` frequencies, in the order of `torch.fft`; symmetric."""
        order = np.abs(np.fft.fftfreq(count) * count).round().astype(int)
        distinct = order.max() + 1  # frequencies 0 .. highest; each but the ends counts twice
        full = max(1, round(self.center * distinct))
        wanted = max(full, round(distinct / self.acceleration))
        others = np.random.RandomState(self.seed).permutation(np.arange(full, distinct))
        sampled = np.zeros(distinct, dtype=bool)
        sampled[:full] = True
        sampled[others[: wanted - full]] = True
        return torch.from_numpy(sampled[order])

    def __call__(self, image: Tensor) -> Tensor:  # noqa: D102
        spectrum = torch.fft.fft(image, dim=self._axis)
        shape = [1] * image.ndim
        shape[self._axis] = -1
        mask = self._sampled.to(image.device).reshape(shape)
        return torch.fft.ifft(spectrum * mask, dim=self._axis).real

    def adjoint(self, data: Tensor, at: Tensor | None = None) -> Tensor:  # noqa: D102
        return self(data)

    def observe(self, image: Tensor) -> Tensor:  # noqa: D102
        return self(image)

    def describe(self) -> Json:  # noqa: D102
        return {
            "Name": "kspace",
            "Acceleration": self.acceleration,
            "Direction": self.direction,
            "FullySampledCenter": self.center,
            "Seed": self.seed,
        }
