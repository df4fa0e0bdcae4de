"""Finishing of an anatomy model's image: saturated details, a toe, and curves after the flow.

Sums of many textures are Gaussian and sometimes darker or brighter than any tissue. So details are
scaled to unit variance at each voxel and passed through a sigmoid, with a strength predicted from
w. And the outline of an average brain is soft, unlike that of an extracted brain: a toe (the dark
end of a tone curve) suppresses very dark values.

What a flow has learned by least squares is a little too smooth: the finest bands are too weak and
too evenly distributed, and brains end in a faint margin. Curves applied to each band match both to
subjects.

The parameters are set by `training/calibration.py` and `training/flow_export.py`, not by
training.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from stylegan3d.networks.config import Grid
from stylegan3d.networks.resampling import haar, inverse_haar

# Limits the contrast of extreme edits.
LARGEST_GAIN = 2.0
# Between these, in units of a band's spread, its curve is a power; beyond them it is straight.
LEAST_SIZE, LARGEST_SIZE = 1e-3, 8.0


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
        return toed(image, *self.ends.unbind())


def toed(image: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    """An image in [-1, 1] after a toe between two intensities in [0, 1], see `Toe`."""
    value = (image + 1) / 2
    t = ((value - low) / (high - low)).clamp(0, 1)
    return value * (t * t * (3 - 2 * t)) * 2 - 1


class BandCurves(nn.Module):
    """A curve for each fine Haar band of a flow's image, its brightness and its darkest end.

    x -> gain x |x / spread|^tail for each fine band: a positive tail makes weak values weaker and
    strong ones stronger, as edges between tissues are. Such curves match marginal distributions of
    bands (Heeger, Bergen 1995, "Pyramid-based texture analysis/synthesis").

    Attributes
    ----------
    gain, tail, spread : Tensor, shape (7,)
        As above; `spread` is the root mean square of each band, of an image in [-1, 1].
    brightness : Tensor
        Factor for intensities above the background.
    ends : Tensor, shape (2,)
        Intensities in [0, 1] of a toe: zero below the first, unchanged above the second.
    """

    gain: Tensor
    tail: Tensor
    spread: Tensor
    brightness: Tensor
    ends: Tensor

    def __init__(self, ends: tuple[float, float]) -> None:
        super().__init__()
        self.register_buffer("gain", torch.ones(7))
        self.register_buffer("tail", torch.zeros(7))
        self.register_buffer("spread", torch.ones(7))
        self.register_buffer("brightness", torch.ones(()))
        self.register_buffer("ends", torch.tensor(ends))

    def forward(self, bands: Tensor) -> Tensor:
        """Haar bands [N, 8, X, Y, Z] of an image in [-1, 1]."""
        low = (bands[:, :1] + 1) * self.brightness - 1
        fine = bands[:, 1:]
        gain, tail, spread = (
            per_band[None, :, None, None, None]
            for per_band in (self.gain * self.brightness, self.tail, self.spread)
        )
        size = (fine.abs() / spread).clamp(LEAST_SIZE, LARGEST_SIZE)
        return torch.cat([low, fine * gain * size**tail], dim=1)
