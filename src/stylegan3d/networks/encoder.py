"""Encoder: volume -> w, the start of projection and of the reconstruction phase."""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.networks.config import EncoderConfig
from stylegan3d.networks.convolution import conv3d
from stylegan3d.networks.resampling import CHANNELS_LAST, haar


class EncoderBlock(nn.Module):
    """Strided convolution, group normalisation, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1)
        self.norm = nn.GroupNorm(8 if outputs % 8 == 0 else 1, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, X, Y, Z] -> [N, outputs, X / stride, ...]; weights follow x's precision."""
        weight = self.conv.weight.to(x.dtype).contiguous(memory_format=CHANNELS_LAST)
        bias = None if self.conv.bias is None else self.conv.bias.to(x.dtype)
        y = conv3d(x, weight, bias, self.conv.stride, self.conv.padding)
        y = F.group_norm(
            y, self.norm.num_groups, self.norm.weight.to(y.dtype), self.norm.bias.to(y.dtype)
        )
        return F.leaky_relu(y, 0.2)


class Encoder(nn.Module):
    """Strided convolutions down to the base grid, then dense layers to w.

    The last feature map is flattened, not averaged, to keep positions. The result is one row of w
    for all layers, plus a correction per layer that starts at zero (Tov et al. 2021, arXiv
    2102.02766: staying near W keeps a latent editable).
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        inputs = config.image_channels * (8 if config.head == "haar" else 1)
        widths = [inputs, *config.channels[::-1]]
        last = len(config.channels) - 1
        # Number of halvings between the (band) grid and the base grid.
        self.blocks = nn.ModuleList(
            EncoderBlock(a, b, stride=2 if i < last else 1)
            for i, (a, b) in enumerate(itertools.pairwise(widths))
        )
        flat = config.channels[0] * math.prod(config.base)
        self.hidden = nn.Linear(flat, 2 * config.w_dim)
        self.mean = nn.Linear(2 * config.w_dim, config.w_dim)
        self.log_variance = nn.Linear(2 * config.w_dim, config.w_dim)
        self.offsets = nn.Linear(2 * config.w_dim, config.num_layers * config.w_dim)
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.offsets.bias)
        if config.linear:
            last = len(config.channels) - 1
            voxels = math.prod(n * 2**last for n in config.base) * config.image_channels
            self.linear = nn.Linear(voxels, config.linear)

    def features(self, pyramid: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Bands or image [N, C, X, Y, Z] -> [N, 2 w_dim]"""
        x = pyramid.to(dtype).contiguous(memory_format=CHANNELS_LAST)
        for block in self.blocks:
            x = block(x)
        return F.leaky_relu(self.hidden(x.float().flatten(1)), 0.2)

    def posterior(self, image: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """Mean and log variance [N, w_dim] of the latent given a volume [N, C, X, Y, Z]."""
        mean, log_variance, _ = self._heads(image, dtype)
        return mean, log_variance

    def forward(self, image: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """[N, C, X, Y, Z] in [-1, 1] -> w [N, num_layers, w_dim]"""
        mean, _, h = self._heads(image, dtype)
        offsets = self.offsets(h).unflatten(1, (self.config.num_layers, self.config.w_dim))
        return mean[:, None] + offsets

    def _heads(self, image: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        config = self.config
        pyramid = haar(image) if config.head == "haar" else image
        h = self.features(pyramid, dtype)
        mean = self.mean(h)
        if config.linear:
            low = pyramid[:, : config.image_channels].flatten(1)
            mean = mean + F.pad(self.linear(low), (0, config.w_dim - config.linear))
        return mean, self.log_variance(h).clamp(-8.0, 4.0), h
