"""Discriminator: volume, or several together -> realness score."""

import math

import torch
from torch import Tensor, nn

from stylegan3d.networks.config import DiscriminatorConfig
from stylegan3d.networks.flow import places_on
from stylegan3d.networks.resampling import CHANNELS_LAST, downsample_image, haar
from stylegan3d.networks.synthesis import Conv3d, Dense


def minibatch_stddev(x: Tensor, group: int, channels: int = 1) -> Tensor:
    """Append the standard deviation of features over a group (arXiv 1710.10196, section 3).

    Parameters
    ----------
    x : Tensor, shape (N, C, X, Y, Z)
    group : int
        Group size; if N is not a multiple of it, the largest divisor of N below it.

    Returns
    -------
    Tensor, shape (N, C + channels, X, Y, Z)
    """
    n, c, *grid = x.shape
    g = next(size for size in range(min(group, n), 0, -1) if n % size == 0)
    y = x.float().reshape(g, n // g, channels, c // channels, *grid)
    y = (y.var(dim=0, unbiased=False) + 1e-8).sqrt()  # [N/g, f, C/f, X, Y, Z]
    y = y.mean(dim=(2, 3, 4, 5))  # [N/g, f]
    y = y.repeat(g, 1)[:, :, None, None, None].expand(n, channels, *grid)
    return torch.cat([x, y.to(x.dtype)], dim=1)


class DiscriminatorLevel(nn.Module):
    """Plain convolution, then a downsampling one; residual in the `resnet` wiring."""

    def __init__(self, config: DiscriminatorConfig, index: int) -> None:
        super().__init__()
        fine, coarse = config.channels[index], config.channels[index - 1]
        self.conv0 = Conv3d(fine, fine, 3)
        kernel = config.down_kernel or config.resample_kernel
        self.conv1 = Conv3d(fine, coarse, 3, down=True, kernel=kernel)
        self.shortcut: Conv3d | None = None
        if config.wiring == "resnet":
            self.shortcut = Conv3d(
                fine, coarse, 1, down=True, bias=False, activate=False, kernel=kernel
            )

    def forward(self, x: Tensor) -> Tensor:
        """[N, fine, 2X, 2Y, 2Z] -> [N, coarse, X, Y, Z]"""
        y = self.conv1(self.conv0(x))
        return y if self.shortcut is None else (y + self.shortcut(x)) / math.sqrt(2)


class Discriminator(nn.Module):
    """Karras et al. 2020 in three dimensions; with a Haar head it reads the eight bands."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        last = len(config.channels) - 1
        image = config.packed * config.image_channels * (8 if config.head == "haar" else 1)
        image += 3 if config.patches else 0
        inputs = range(last + 1) if config.wiring == "skip" else (last,)
        self.from_image = nn.ModuleDict(
            {str(i): Conv3d(image, config.channels[i], 1) for i in inputs}
        )
        self.levels = nn.ModuleDict(
            {str(i): DiscriminatorLevel(config, i) for i in range(last, 0, -1)}
        )
        width = config.channels[0]
        self.conv = Conv3d(width + config.mbstd_channels, width, 3)
        scores = config.packed * config.label_dim or 1
        self.output: nn.Module
        if config.patches:
            self.output = Conv3d(width, scores, 1, activate=False)
        else:
            dense = config.dense_width or width
            self.dense = Dense(width * math.prod(config.base), dense, activate=True)
            self.output = Dense(dense, scores)

    def _bands(self, image: Tensor) -> Tensor:
        bands = haar(image)
        c = self.config.packed * self.config.image_channels
        return torch.cat([bands[:, :c], bands[:, c:] * self.config.detail_gain], dim=1)

    def forward(
        self, image: Tensor, label: Tensor | None = None, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Score volumes, or packs of neighbours.

        Parameters
        ----------
        image : Tensor, shape (N, C, X, Y, Z)
            Values in [-1, 1]; N is a multiple of `packed`.
        label : Tensor, shape (N, label_dim), or None

        Returns
        -------
        Tensor, shape (N / packed,), or with patches (N / packed, P)
            Logits, high for real volumes.
        """
        config = self.config
        x: Tensor | None = None
        packs = len(image) // config.packed
        image = image.reshape(packs, -1, *image.shape[2:])
        pyramid = self._bands(image) if config.head == "haar" else image
        if config.patches:
            places = places_on(pyramid.shape[2:], image.device).expand(packs, -1, -1, -1, -1)
            pyramid = torch.cat([pyramid, places], dim=1)
        for i in range(len(config.channels) - 1, -1, -1):
            if str(i) in self.from_image:
                feature = pyramid.to(dtype).contiguous(memory_format=CHANNELS_LAST)
                feature = self.from_image[str(i)](feature)
                x = feature if x is None else x + feature
            if i:
                assert x is not None
                x = self.levels[str(i)](x)
                if config.wiring == "skip":
                    shifted = config.image_downsampling == "shifted"
                    pyramid = downsample_image(pyramid, config.resample_kernel, shifted)
        assert x is not None
        if config.mbstd_channels:
            x = minibatch_stddev(x, config.mbstd_group // config.packed, config.mbstd_channels)
        x = self.conv(x)
        # [packs, labels or 1, patches or 1]
        score = self.output(x).float() if config.patches else self._whole(x)
        score = score.flatten(2)
        if config.label_dim:
            assert label is not None, "a conditional discriminator needs a label"
            score = score * label.reshape(packs, -1, 1)
        found: Tensor = score.sum(dim=1)
        return found if config.patches else found[:, 0]

    def _whole(self, x: Tensor) -> Tensor:
        """Scores of whole volumes, [packs, labels or 1, 1], from features."""
        scores: Tensor = self.output(self.dense(x.float().flatten(1)))
        return scores[:, :, None]
