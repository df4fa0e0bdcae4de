"""What a projection minimises: difference to the scan at several resolutions, and strangeness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.generator import Generator

SAMPLES = 4096
PRIOR_SEED = 0


def multiscale_mse(made: Tensor, target: Tensor, scales: int = 3) -> Tensor:
    """Mean squared error at full resolution and after each of `scales - 1` halvings, averaged.

    A border that is off by a voxel costs as much as one that is off by five at full resolution;
    the coarse terms tell them apart and give the optimiser something to follow.

    Parameters
    ----------
    made, target : [N, C, X, Y, Z]
    scales : as many as the grid allows are used.
    """
    total, used = F.mse_loss(made, target), 1
    while used < scales and min(made.shape[2:]) >= 4:
        made, target = F.avg_pool3d(made, 2), F.avg_pool3d(target, 2)
        total, used = total + F.mse_loss(made, target), used + 1
    return total / used


@dataclass(frozen=True)
class LatentPrior:
    """The distribution of w over random brains, as a Gaussian.

    Attributes
    ----------
    mean : [w_dim]
    root : [w_dim, w_dim]; w = mean + root @ u with u ~ N(0, I) (eigenvectors times their
        standard deviations, the tiniest lifted so that no direction is forbidden).
    inverse : [w_dim, w_dim] inverse of `root`.
    """

    mean: Tensor
    root: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, generator: Generator) -> LatentPrior:
        """Fit to `SAMPLES` mapped z."""
        z = np.random.RandomState(PRIOR_SEED).randn(SAMPLES, generator.z_dim)
        w = generator.map(torch.from_numpy(z).float())[:, 0]
        values, vectors = torch.linalg.eigh(torch.cov(w.T))
        deviations = values.clamp(min=float(values.max()) * 1e-4).sqrt()
        root = vectors * deviations
        return cls(w.mean(dim=0), root, (vectors / deviations).T)

    def whiten(self, w: Tensor) -> Tensor:
        """w [..., w_dim] -> u [..., w_dim], standard normal for random brains."""
        return (w - self.mean) @ self.inverse.T

    def color(self, u: Tensor) -> Tensor:
        """Inverse of `whiten`."""
        return self.mean + u @ self.root.T

    def distance(self, w: Tensor) -> float:
        """Root mean square of the whitened latent: about 1 for a random brain.

        The Mahalanobis distance divided by sqrt(w_dim), over all rows of w [..., w_dim].
        """
        return float(self.whiten(w).square().mean().sqrt())
