"""A small 3D U-Net (Çiçek et al. 2016, arXiv:1606.06650) that labels a whole brain at once.

The widest maps are on the half grid: the volume enters as its eight Haar bands and leaves as eight
voxels per block, which saves seven eighths of the work of convolutions on the full grid. Skips are
added instead of joined, and groups are normalised (Wu and He 2018, arXiv:1803.08494), so that it
depends on nothing outside the volume.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.networks.resampling import CHANNELS_LAST, conv3d, haar
from stylegan3d.segmentation.classes import CLASSES

GROUP = 8  # channels normalised together
SLOPE = 0.1  # of the leaky rectifier


class ConvNorm(nn.Module):
    """3x3x3 convolution, group normalisation, leaky rectifier."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm = nn.GroupNorm(max(1, outputs // GROUP), outputs)
        nn.init.kaiming_normal_(self.conv.weight, SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, X, Y, Z] -> [N, outputs, X / stride, ...]"""
        x = x.contiguous(memory_format=CHANNELS_LAST)
        x = self.norm(conv3d(x, self.conv.weight, None, self.conv.stride, self.conv.padding))
        return F.leaky_relu(x.contiguous(memory_format=CHANNELS_LAST), SLOPE)


class TissueNetwork(nn.Module):
    """Logits of every class for every voxel.

    Parameters
    ----------
    widths : tuple of int
        Channels on the half grid, the quarter grid and so on; multiples of 8.
    classes : int
        How many classes there are, the background included.

    Attributes
    ----------
    multiple : int
        Every axis of a volume has to be a multiple of it.
    """

    def __init__(self, widths: tuple[int, ...], classes: int = len(CLASSES)) -> None:
        super().__init__()
        self.widths, self.classes = tuple(widths), classes
        self.multiple = 2 ** len(widths)
        pairs = list(pairwise(widths))
        self.stem = nn.Sequential(ConvNorm(8, widths[0]), ConvNorm(widths[0], widths[0]))
        self.down = nn.ModuleList(
            nn.Sequential(ConvNorm(a, b, stride=2), ConvNorm(b, b)) for a, b in pairs
        )
        self.lift = nn.ModuleList(nn.Conv3d(b, a, 1) for a, b in pairs)
        self.up = nn.ModuleList(ConvNorm(a, a) for a, _ in pairs)
        self.head = nn.Conv3d(widths[0], 8 * classes, 1)

    def forward(self, volume: Tensor) -> Tensor:
        """Logits, block by block.

        Parameters
        ----------
        volume : Tensor, shape (N, 1, X, Y, Z)
            Intensities in [0, 1], every axis a multiple of `multiple`.

        Returns
        -------
        Tensor, shape (N, 2, 2, 2, C, X/2, Y/2, Z/2)
            The place in a block, the class, the block. `likeliest` makes labels of it.
        """
        return self.classified(self.features(volume))

    def classified(self, features: Tensor) -> Tensor:
        """Logits, as `forward` gives them, of `features` or a part of their grid."""
        logits = self.head(features)
        return logits.reshape(len(logits), 2, 2, 2, self.classes, *logits.shape[2:])

    def features(self, volume: Tensor) -> Tensor:
        """What the head reads, [N, widths[0], X/2, Y/2, Z/2]."""
        # About zero mean and unit deviation, as weights expect.
        x = self.stem(haar(volume * 4 - 1))
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        steps = zip(reversed(self.lift), reversed(self.up), reversed(skips), strict=True)
        for lift, up, skip in steps:
            x = up(skip + F.interpolate(lift(x), scale_factor=2, mode="nearest"))
        return x


def padded(x: Tensor, multiple: int) -> Tensor:
    """[..., X, Y, Z] with zeros after the end of each axis, up to the next multiple."""
    short = [-n % multiple for n in x.shape[-3:]]
    return F.pad(x, [p for n in reversed(short) for p in (0, n)])


def likeliest(logits: Tensor) -> Tensor:
    """Label of each voxel, uint8 [N, X, Y, Z], from the network's output."""
    # `max` where `argmax` would do: over a short axis it takes a twentieth of the time on a CPU.
    return to_voxels(logits.max(dim=4).indices.to(torch.uint8))


def to_voxels(blocks: Tensor) -> Tensor:
    """[N, 2, 2, 2, X/2, Y/2, Z/2] -> [N, X, Y, Z]."""
    n, _, _, _, x, y, z = blocks.shape
    return blocks.permute(0, 4, 1, 5, 2, 6, 3).reshape(n, 2 * x, 2 * y, 2 * z)


def to_blocks(voxels: Tensor) -> Tensor:
    """Inverse of `to_voxels`."""
    n, x, y, z = voxels.shape
    return voxels.reshape(n, x // 2, 2, y // 2, 2, z // 2, 2).permute(0, 2, 4, 6, 1, 3, 5)
