"""Half-resolution previews for networks without coarse images: a linear readout of features.

In the `orig` and `resnet` wirings only the last level makes an image. The features before it have
half the resolution and take an eighth of the work; the final image is, at that resolution, close
to a linear function of them. It is fitted to a few random volumes by ridge regression and tested
on others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

#: Share of the variance of held-out volumes that a readout must explain to be used.
WORTH_SHOWING = 0.9
RIDGE = 1e-4


@dataclass(frozen=True)
class Readout:
    """image = weight @ features + bias, voxel by voxel.

    Attributes
    ----------
    weight : Tensor, shape (image channels, channels)
    bias : Tensor, shape (image channels,)
    explained : float
        Share of the variance explained in held-out volumes.
    """

    weight: Tensor
    bias: Tensor
    explained: float

    def __call__(self, features: Tensor) -> Tensor:
        """[N, C, X, Y, Z] -> float32 [N, image channels, X, Y, Z]"""
        image = F.linear(features.movedim(1, -1), self.weight.to(features.dtype))
        return (image.float() + self.bias).movedim(-1, 1)

    @classmethod
    def fit(
        cls,
        pairs: Callable[[int], tuple[Tensor, Tensor]],
        used: Iterable[int],
        kept_back: Iterable[int],
    ) -> Readout:
        """Fit to some volumes and test on others.

        Parameters
        ----------
        pairs : callable
            Maps a number to features [1, C, X, Y, Z] and full image [1, image channels, 2 X, …].
        used, kept_back : iterable of int
            Numbers of the volumes to fit to and to test on.
        """
        products = []
        for number in used:
            f, t = _rows(*pairs(number))
            products.append((f.T @ f, f.T @ t))
        gram, moment = (torch.stack(parts).sum(dim=0) for parts in zip(*products, strict=True))
        size = len(gram) - 1
        ridge = torch.full((size + 1,), RIDGE * float(gram.diagonal()[:size].mean()))
        ridge[size] = 0.0  # the intercept is not penalised
        solution = torch.linalg.solve(gram + torch.diag(ridge).to(gram), moment).float()
        made = cls(solution[:size].T.contiguous(), solution[size], 0.0)
        return cls(made.weight, made.bias, made._explained(pairs, kept_back))

    def _explained(
        self, pairs: Callable[[int], tuple[Tensor, Tensor]], numbers: Iterable[int]
    ) -> float:
        error = spread = 0.0
        for number in numbers:
            features, image = pairs(number)
            target = F.avg_pool3d(image.float(), 2)
            error += float((self(features) - target).square().mean())
            spread += float(target.var())
        return 1 - error / max(spread, 1e-12)


def _rows(features: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """Voxels as rows, float64 [voxels, C + 1] with a final 1, and [voxels, image C]."""
    f = features.movedim(1, -1).flatten(0, -2).double()
    t = F.avg_pool3d(image.float(), 2).movedim(1, -1).flatten(0, -2).double()
    return torch.cat([f, f.new_ones(len(f), 1)], dim=1), t
