"""Finishing of a linear model's image: saturated details and a toe.

Sums of many textures are Gaussian and sometimes darker or brighter than any tissue. So details are
scaled to unit variance at each voxel and passed through a sigmoid, with a strength predicted from
w. And the outline of an average brain is soft, unlike that of an extracted brain: a toe (the dark
end of a tone curve) suppresses very dark values.

The parameters are set by `training/calibration.py`, not by training.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from stylegan3d.networks.config import Grid
from stylegan3d.networks.resampling import haar, inverse_haar

# Limits the contrast of extreme edits.
LARGEST_GAIN = 2.0


class DetailTexture(nn.Module):
    """Details through a sigmoid: bands of unit variance -> bands of the image.

    t = scale gain(w) tanh(slope u), with u the details at full resolution and
    gain(w) = exp(contrast . (w - centre)).

    Attributes
    ----------
    scale : Tensor, shape (1, X, Y, Z)
        Standard deviation of the details divided by that of tanh(slope u), on the bands' grid.
    contrast, centre : Tensor, shape (w_dim,)
        Dependence of the details' strength on w.
    within : Tensor
        Variance of u within blocks of 2 x 2 x 2 voxels, for the low band.
    """

    scale: Tensor
    contrast: Tensor
    centre: Tensor
    within: Tensor

    def __init__(self, slope: float, haar_head: bool, w_dim: int, grid: Grid) -> None:
        super().__init__()
        self.slope = slope
        self.haar_head = haar_head
        self.register_buffer("scale", torch.ones(1, *grid))
        self.register_buffer("contrast", torch.zeros(w_dim))
        self.register_buffer("centre", torch.zeros(w_dim))
        self.register_buffer("within", torch.zeros(()))

    def forward(self, details: Tensor, w: Tensor, low_only: bool = False) -> Tensor:
        """Details [N, C, X, Y, Z] (bands of a Haar head, or its low one) of w [N, w_dim]."""
        if not self.haar_head:
            shaped = torch.tanh(self.slope * details)
        elif low_only:
            # The mean of tanh(s u) over u of mean m and variance v is about that of a logistic
            # curve (MacKay 1992): tanh(s m / sqrt(1 + pi s^2 v / 2)).
            slope = self.slope * torch.rsqrt(1 + math.pi / 2 * self.slope**2 * self.within)
            shaped = torch.tanh(slope * details)
        else:
            shaped = haar(torch.tanh(self.slope * inverse_haar(details)))
        return shaped * (self.scale * self._gain(w)[:, None, None, None, None])

    def _gain(self, w: Tensor) -> Tensor:
        limit = math.log(LARGEST_GAIN)
        return torch.exp(((w - self.centre) @ self.contrast).clamp(-limit, limit))


class Toe(nn.Module):
    """Dark end of a tone curve: 0 below `ends[0]`, unchanged above `ends[1]`, smooth between.

    Attributes
    ----------
    ends : Tensor, shape (2,)
        Intensities, where 0 is background and 1 the brightest tissue.
    """

    ends: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ends", torch.tensor([-1.0, 0.0]))

    def forward(self, image: Tensor) -> Tensor:
        """An image in [-1, 1], of any shape."""
        low, high = self.ends.unbind()
        value = (image + 1) / 2
        t = ((value - low) / (high - low)).clamp(0, 1)
        return value * (t * t * (3 - 2 * t)) * 2 - 1
