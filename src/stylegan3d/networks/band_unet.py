"""The U-Net on Haar bands that predicts the velocity of a flow."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.networks.config import Grid
from stylegan3d.networks.resampling import CHANNELS_LAST

EMBEDDING = 64
FREQUENCIES = 16


class FlowBlock(nn.Module):
    """A residual block of two 3x3x3 convolutions; the time modulates the features in between."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv3d(inputs, outputs, 3, stride, padding=1)
        self.second = nn.Conv3d(outputs, outputs, 3, padding=1)
        self.time = nn.Linear(EMBEDDING, 2 * outputs)
        plain = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if plain else nn.Conv3d(inputs, outputs, 1, stride)
        for parameter in (*self.time.parameters(), *self.second.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """[N, inputs, X, Y, Z], [N, EMBEDDING] -> [N, outputs, X / stride, ...]"""
        gain, shift = self.time(time)[:, :, None, None, None].chunk(2, dim=1)
        inner = F.silu(self.first(x)) * (1 + gain) + shift
        out: Tensor = self.second(F.silu(inner))
        return out.add_(self.shortcut(x))


class BandUNet(nn.Module):
    """A U-Net conditioned on time; its output is zero until trained.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    channels : feature channels on the bands' grid, its half and its quarter. On current processors
        multiples of 32 are fastest.
    """

    def __init__(self, inputs: int, outputs: int, channels: tuple[int, int, int]) -> None:
        super().__init__()
        self.channels = channels
        a, b, c = channels
        self.embedding = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, EMBEDDING),
            nn.SiLU(),
            nn.Linear(EMBEDDING, EMBEDDING),
            nn.SiLU(),
        )
        self.stem = nn.Conv3d(inputs, a, 3, padding=1)
        self.down = nn.ModuleList([FlowBlock(a, a), FlowBlock(b, b), FlowBlock(c, c)])
        self.halve = nn.ModuleList([FlowBlock(a, b, stride=2), FlowBlock(b, c, stride=2)])
        self.narrow = nn.ModuleList([nn.Conv3d(b, a, 1), nn.Conv3d(c, b, 1)])
        self.up = nn.ModuleList([FlowBlock(a, a), FlowBlock(b, b)])
        self.head = nn.Conv3d(a, outputs, 3, padding=1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def answer(self, x: Tensor, time: Tensor, check: Callable[[], None] = lambda: None) -> Tensor:
        """Output of the network for bands at a time.

        Parameters
        ----------
        x : [N, inputs, X, Y, Z]
        time : Tensor, [N]
            From 0 to 1.
        check : callable or None
            Called between the layers; what it raises ends the work.

        Returns
        -------
        [N, outputs, X, Y, Z] float32
        """
        octaves = torch.exp(torch.linspace(0, 4, FREQUENCIES, device=x.device)) * math.pi / 2
        angles = time[:, None].to(octaves) * octaves
        embedded = self.embedding(torch.cat([angles.sin(), angles.cos()], dim=1))
        x = self.stem(x.contiguous(memory_format=CHANNELS_LAST))
        check()
        x = self.down[0](x, embedded)
        check()
        half = self.down[1](self.halve[0](x, embedded), embedded)
        quarter = self.down[2](self.halve[1](half, embedded), embedded)
        check()
        half = self.up[1](half + _doubled(self.narrow[1](quarter), half), embedded)
        x = self.up[0](x + _doubled(self.narrow[0](half), x), embedded)
        check()
        found: Tensor = self.head(x)
        return found.float()


def places_on(grid: torch.Size | Grid, device: torch.device) -> Tensor:
    """[1, 3, X, Y, Z] from -1 at the first voxel of each axis to 1 at its last."""
    axes = [torch.linspace(-1, 1, n, device=device) for n in grid]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


def _doubled(x: Tensor, like: Tensor) -> Tensor:
    """Each voxel twice along each axis; the last one once where `like` has an odd number."""
    a, b, c = like.shape[2:]
    return F.interpolate(x, scale_factor=2, mode="nearest")[:, :, :a, :b, :c]
