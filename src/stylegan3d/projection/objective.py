"""The objective of a projection: multi-resolution difference and a prior on the latent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.geometry.intensity import BRIGHTEST
from stylegan3d.measures.similarity import SSIM_K1, SSIM_K2, SSIM_SIGMA, SSIM_TRUNCATE
from stylegan3d.model.generator import Generator
from stylegan3d.model.random_latents import diagonal, is_long
from stylegan3d.networks.resampling import along_axes

SAMPLES = 4096
PRIOR_SEED = 0
# As a share of the largest deviation, so that no direction is excluded.
LEAST_DEVIATION = 1e-2


def multiscale_mse(made: Tensor, target: Tensor, scales: int = 3) -> Tensor:
    """Mean squared error at full resolution and after each of `scales - 1` halvings, averaged.

    At full resolution an edge that is off by one voxel costs as much as one that is off by five;
    the coarse terms distinguish them and provide a useful gradient.

    Parameters
    ----------
    made, target : Tensor, shape (N, C, X, Y, Z)
    scales : int
        At most as many as the grid permits.
    """
    total, used = F.mse_loss(made, target), 1
    while used < scales and min(made.shape[2:]) >= 4:
        made, target = F.avg_pool3d(made, 2), F.avg_pool3d(target, 2)
        total, used = total + F.mse_loss(made, target), used + 1
    return total / used


class MaskedSSIM:
    """Mean structural similarity to one volume inside a mask; differentiable.

    The same number as in `measures.similarity` (Wang et al. 2004), computed only where the mask
    needs it: the Gaussian window is one small matrix per axis, from the mask's bounding box with a
    margin to the box.

    Parameters
    ----------
    target : Tensor, shape (1, 1, X, Y, Z)
        Values in [-1, 1].
    mask : ndarray, shape (X, Y, Z), bool
        Not empty.
    """

    def __init__(self, target: Tensor, mask: np.ndarray) -> None:
        self._windows: list[Tensor] = []
        seen: list[slice] = []
        box: list[slice] = []
        for axis, length in enumerate(mask.shape):
            others = tuple(i for i in range(3) if i != axis)
            inside = np.flatnonzero(mask.any(axis=others))
            box.append(slice(int(inside[0]), int(inside[-1]) + 1))
            window, place = _gaussian_rows(length, box[-1])
            self._windows.append(window.to(target.device))
            seen.append(place)
        self._seen = (slice(None), slice(None), *seen)
        weight = torch.from_numpy(mask[tuple(box)]).to(target.device, torch.float32)
        self._weight = weight / weight.sum()
        self._target = self._displayed(target)
        blurred = along_axes(torch.cat([self._target, self._target.square()], 1), self._windows)
        self._mean = blurred[:, :1]
        self._variance = blurred[:, 1:] - self._mean.square()

    def __call__(self, made: Tensor) -> Tensor:
        """Similarity of [1, 1, X, Y, Z] in [-1, 1] to the target; 1 if equal."""
        x = self._displayed(made)
        three = torch.cat([x, x.square(), x * self._target], dim=1)
        mean, square, product = along_axes(three, self._windows).split(1, dim=1)
        variance, covariance = square - mean.square(), product - mean * self._mean
        c1, c2 = SSIM_K1**2, SSIM_K2**2
        luminance = (2 * mean * self._mean + c1) / (mean.square() + self._mean.square() + c1)
        structure = (2 * covariance + c2) / (variance + self._variance + c2)
        return (luminance * structure * self._weight).sum()

    def _displayed(self, image: Tensor) -> Tensor:
        """The image in display units, cropped to what the windows cover."""
        return ((image[self._seen] + 1) / 2).clamp(0, BRIGHTEST)


def _gaussian_rows(length: int, rows: slice) -> tuple[Tensor, slice]:
    """Gaussian windows around voxels of an axis, mirrored at its ends.

    Returns
    -------
    tuple of (Tensor, slice)
        Matrix [rows, columns], and the voxels that the columns stand for.
    """
    reach = int(SSIM_TRUNCATE * SSIM_SIGMA + 0.5)
    offsets = np.arange(-reach, reach + 1)
    taps = np.exp(-0.5 * (offsets / SSIM_SIGMA) ** 2)
    place = np.arange(rows.start, rows.stop)[:, None] + offsets
    place = place % (2 * length)
    place = np.where(place >= length, 2 * length - 1 - place, place)
    matrix = np.zeros((rows.stop - rows.start, length), dtype=np.float32)
    np.add.at(matrix, (np.arange(len(matrix))[:, None], place), (taps / taps.sum())[None])
    columns = slice(max(rows.start - reach, 0), min(rows.stop + reach, length))
    return torch.from_numpy(matrix[:, columns].copy()), columns


@dataclass(frozen=True)
class LatentPrior:
    """The distribution of w over random brains, as a Gaussian.

    Attributes
    ----------
    mean : Tensor, shape (w_dim,)
    root : Tensor, shape (w_dim, w_dim)
        w = mean + root @ u with u ~ N(0, I) (eigenvectors times their standard deviations, the
        smallest raised so that no direction is excluded). For long latents the diagonal, [w_dim].
    inverse : Tensor
        Inverse of `root`, of the same shape.
    """

    mean: Tensor
    root: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, generator: Generator) -> LatentPrior:
        """Fit to `SAMPLES` mapped z; for long latents the family's own statistics."""
        if is_long(generator):
            mean, deviations = diagonal(generator)
            deviations = deviations.clamp(min=float(deviations.max()) * LEAST_DEVIATION)
            return cls(mean, deviations, 1 / deviations)
        z = np.random.RandomState(PRIOR_SEED).randn(SAMPLES, generator.z_dim)
        w = generator.map(torch.from_numpy(z).float())[:, 0]
        values, vectors = torch.linalg.eigh(torch.cov(w.T))
        deviations = values.clamp(min=float(values.max()) * LEAST_DEVIATION**2).sqrt()
        root = vectors * deviations
        return cls(w.mean(dim=0), root, (vectors / deviations).T)

    @property
    def is_diagonal(self) -> bool:
        """Whether the covariance is diagonal, as for long latents."""
        return self.root.ndim == 1

    def whiten(self, w: Tensor) -> Tensor:
        """w [..., w_dim] -> u [..., w_dim], standard normal for random brains."""
        away = w - self.mean
        return away * self.inverse if self.is_diagonal else away @ self.inverse.T

    def color(self, u: Tensor) -> Tensor:
        """Inverse of `whiten`."""
        return self.mean + (u * self.root if self.is_diagonal else u @ self.root.T)

    @property
    def deviations(self) -> Tensor:
        """Standard deviation of each component of w, [w_dim]."""
        return self.root if self.is_diagonal else self.root.square().sum(dim=1).sqrt()

    def distance(self, w: Tensor) -> float:
        """Root mean square of the whitened latent: about 1 for a random brain.

        The Mahalanobis distance divided by sqrt(w_dim), over all rows of w [..., w_dim].
        """
        return float(self.whiten(w).square().mean().sqrt())
