"""Synthesis network of StyleGAN2 in three dimensions: w -> volume.

A learned constant passes levels of doubling resolution, each of two modulated convolutions with
noise and a leaky ReLU; ToRGB layers make the image of the features (Karras et al. 2020, arXiv
1912.04958).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.errors import ModelError
from stylegan3d.networks.config import GeneratorConfig, Grid
from stylegan3d.networks.layers import (
    ACTIVATION_GAIN,
    LEAK,
    Conv3d,
    Dense,
    ModulatedConv3d,
    is_inference,
)
from stylegan3d.networks.memo import Memo, NoMemo
from stylegan3d.networks.noise import Maps, Noise, drawn_noise, of_sample
from stylegan3d.networks.resampling import CHANNELS_LAST, inverse_haar, upsample_image


class Inputs(NamedTuple):
    """What an image is synthesised from.

    Attributes
    ----------
    w : Tensor, shape (N, num_layers, w_dim)
    maps : list of Tensor or None
        Noise maps.
    dtype : torch.dtype
        Precision of the feature maps.
    memo : Memo
        Results of earlier calls to use again.
    """

    w: Tensor
    maps: Maps
    dtype: torch.dtype
    memo: Memo


class LeveledSynthesis(nn.Module):
    """w -> volume, full or coarser. `_canonical` makes the image and `_finish` completes it."""

    config: GeneratorConfig
    image_const: nn.Parameter

    def add_constant(self) -> None:
        """Make the constant image of the configuration, if it has one."""
        config = self.config
        if config.image_const:
            bands = 8 if config.head == "haar" else 1
            shape = (config.image_channels * bands, *config.grid(config.num_levels - 1))
            self.image_const = nn.Parameter(torch.zeros(shape))

    def _canonical(self, inputs: Inputs, stop: int, *, draft: bool) -> Tensor:
        """The image of level `stop`; of the last one with a Haar head the bands.

        With `draft` the last level of a Haar head may give its low band only.
        """
        raise NotImplementedError

    def _finish(self, image: Tensor, inputs: Inputs, *, full: bool) -> Tensor:
        """The image of a level as it is returned; `full` at full resolution."""
        return image

    @property
    def stored_noise(self) -> list[Tensor]:
        """The noise maps stored with the network, in the order of `noise_maps`."""
        raise NotImplementedError

    def noise_maps(self, noise: Noise, batch: int = 1) -> Maps:
        """Noise maps, each [1 or N, 1, X, Y, Z]: stored, absent, fresh or drawn from a seed."""
        return drawn_noise(self.stored_noise, noise, batch)

    def forward(
        self,
        w: Tensor,
        noise: Noise | Maps = "fixed",
        level: int = -1,
        dtype: torch.dtype = torch.float32,
        *,
        draft: bool = False,
        memo: Memo | None = None,
    ) -> Tensor:
        """Synthesise.

        Parameters
        ----------
        w : Tensor, shape (N, num_layers, w_dim)
        noise : Noise or list of Tensor
            How the noise maps are chosen, or the maps themselves.
        level : int
            Which of `config.image_grids` to return; -1 is the full image. Finer levels are not
            computed.
        dtype : torch.dtype
            Precision of the feature maps; the image is always float32.
        draft : bool
            For images coarser than the full one: leave out what the last level of a Haar head adds
            to its low band by convolutions, and the part of the details that needs all bands.
        memo : Memo, optional
            Results of earlier calls to use again; for one volume, without gradients.

        Returns
        -------
        Tensor, shape (N, image_channels, X, Y, Z)
            About in [-1, 1].
        """
        if len(w) > 1 and memo is None and w.device.type == "cpu" and is_inference(w):
            # On a CPU nothing is gained by a batch: one by one they take less memory, and each
            # volume has the same bits whatever stands beside it.
            maps = noise if isinstance(noise, list) else self.noise_maps(noise, len(w))
            return torch.cat(
                [
                    self(w[i : i + 1], of_sample(maps, i), level, dtype, draft=draft)
                    for i in range(len(w))
                ]
            )
        stop, half = self._plan(level)
        inputs = Inputs(w, self._maps(noise, len(w), memo), dtype, memo or NoMemo())
        image = self._canonical(inputs, stop, draft=draft and half)
        last = stop == self.config.num_levels - 1
        if self.config.head == "haar" and last:
            image = image[:, : self.config.image_channels] if half else inverse_haar(image)
        return self._finish(image, inputs, full=last and not half)

    def _maps(self, noise: Noise | Maps, batch: int, memo: Memo | None = None) -> Maps:
        if isinstance(noise, list):
            return noise
        if memo is None:
            return self.noise_maps(noise, batch)
        return memo.maps(noise, lambda: self.noise_maps(noise, batch))

    def _constant(self, level: int) -> Tensor:
        """The constant image at the resolution of a level, [1, C, X, Y, Z]."""
        const = self.image_const[None]
        last = self.config.num_levels - 1
        if level == last:
            return const
        low = const[:, : self.config.image_channels]
        return F.avg_pool3d(low, 2 ** (last - level))

    def _with_constant(self, image: Tensor, level: int) -> Tensor:
        """An image of a level, or its low band, plus the constant image."""
        if not self.config.image_const:
            return image
        return image + self._constant(level)[:, : image.shape[1]]

    def _plan(self, level: int) -> tuple[int, bool]:
        """Last level to compute, and whether only the low band of it is wanted."""
        grids = self.config.image_grids
        if not -len(grids) <= level < len(grids):
            raise ModelError(
                f"This generator has images at {len(grids)} resolutions only, so level {level} "
                "does not exist."
            )
        # Counted from the finest; with a Haar head the two finest share one feature level.
        from_end = len(grids) - 1 - level % len(grids)
        last = self.config.num_levels - 1
        if self.config.head == "haar":
            return last - max(from_end - 1, 0), from_end == 1
        return last - from_end, False

    def _doubled(self, image: Tensor) -> Tensor:
        """An image at the next finer resolution."""
        config = self.config
        nearest = config.image_upsampling == "nearest"
        return upsample_image(image, config.resample_kernel, config.upsample_gain, nearest)


def sum_low(bands: Tensor, low: Tensor) -> Tensor:
    """Add `low` [N, C, ...] to the first channels of `bands` [1 or N, >= C, ...]."""
    return bands + F.pad(low, (0, 0, 0, 0, 0, 0, 0, bands.shape[1] - low.shape[1]))


class SynthesisLayer(nn.Module):
    """Modulated 3x3x3 convolution, noise, bias, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, grid: Grid, config: GeneratorConfig, up: bool):
        super().__init__()
        self.conv = ModulatedConv3d(
            inputs,
            outputs,
            3,
            config.w_dim,
            up=up,
            kernel=config.resample_kernel,
            up_gain=config.upsample_gain,
        )
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise: Tensor
        self.register_buffer("noise", torch.randn(1, 1, *grid))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """x [N, C, X, Y, Z], w [N, w_dim], noise [N or 1, 1, X, Y, Z] or None"""
        # A leaky ReLU commutes with a positive factor: its gain is applied to smaller tensors
        # before.
        y = self.conv(x, w, self.bias * ACTIVATION_GAIN, ACTIVATION_GAIN)
        inference = is_inference(y, noise)
        if noise is not None and not (inference and self._is_silent()):
            added = (noise * (self.noise_strength * ACTIVATION_GAIN)).to(y.dtype)
            y = y.add_(added) if inference else y + added
        # In place also when differentiated: its gradient follows from its result.
        return F.leaky_relu_(y, LEAK)

    def _is_silent(self) -> bool:
        """Whether noise has no effect; on a GPU the question would cost more than the answer."""
        return self.noise_strength.device.type == "cpu" and not bool(self.noise_strength)


class ToRGB(nn.Module):
    """1x1x1 modulated convolution to the image, without demodulation."""

    def __init__(self, inputs: int, outputs: int, w_dim: int) -> None:
        super().__init__()
        self.conv = ModulatedConv3d(inputs, outputs, 1, w_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """[N, C, X, Y, Z] -> float32 [N, image channels, X, Y, Z]; images are never half."""
        return self.conv(x, w).float() + self.bias[:, None, None, None]


class Level(nn.Module):
    """One resolution: an upsampling and a plain layer (the base has the plain one only)."""

    def __init__(self, config: GeneratorConfig, index: int) -> None:
        super().__init__()
        outputs, grid = config.channels[index], config.grid(index)
        self.up: SynthesisLayer | None = None
        self.shortcut: Conv3d | None = None
        self.index = index
        self.kernel, self.up_gain = config.resample_kernel, config.upsample_gain
        if index:
            inputs = config.channels[index - 1]
            self.up = SynthesisLayer(inputs, outputs, grid, config, up=True)
            if config.wiring == "resnet":
                self.shortcut = Conv3d(inputs, outputs, 1, bias=False, activate=False)
        self.plain = SynthesisLayer(outputs, outputs, grid, config, up=False)

    def forward(self, x: Tensor, w: Tensor, noises: Maps, memo: Memo | None = None) -> Tensor:
        """Features of this level from those of the one before.

        Parameters
        ----------
        x : Tensor, shape (N, inputs, X, Y, Z)
        w : Tensor, shape (N, num_layers, w_dim)
        noises : list of Tensor or None
            One map per layer.
        memo : Memo, optional
            Where layers are looked up that were computed before.
        """
        memo = memo or NoMemo()
        before, dtype = x, x.dtype
        for i, row in enumerate(self.rows):
            make = partial(self.layers[i], x, w[:, row], noises[i])
            x = memo.get((self.index, i, dtype), row + 1, make)
        if self.shortcut is None:
            return x
        rows = self.rows[-1] + 1
        return memo.get((self.index, "sum", dtype), rows, partial(self._joined, x, before))

    def _joined(self, x: Tensor, before: Tensor) -> Tensor:
        """Sum with the shortcut of the `resnet` wiring."""
        assert self.shortcut is not None
        # A 1x1x1 convolution commutes with the filter, so it runs on the small grid.
        coarse = self.shortcut(before)
        return (x + upsample_image(coarse, self.kernel, self.up_gain)) / math.sqrt(2)

    @property
    def rows(self) -> list[int]:
        """Which row of w each layer reads."""
        return [*range(max(2 * self.index - 1, 0), 2 * self.index + 1)]

    @property
    def layers(self) -> list[SynthesisLayer]:
        """The level's modulated layers in order."""
        return [self.plain] if self.up is None else [self.up, self.plain]


class SynthesisNetwork(LeveledSynthesis):
    """Constant input, levels of doubling resolution, image by `orig`, `skip` or `resnet` wiring."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.const = nn.Parameter(torch.randn(1, config.channels[0], *config.base))
        if config.base_input == "dense":
            self.base_dense = Dense(config.w_dim, self.const.numel())
        self.levels = nn.ModuleList(Level(config, i) for i in range(config.num_levels))
        last = config.num_levels - 1
        image_levels = range(last + 1) if config.wiring == "skip" else (last,)
        bands = 8 if config.head == "haar" else 1
        self.to_rgb = nn.ModuleDict(
            {
                str(i): ToRGB(
                    config.channels[i],
                    config.image_channels * (bands if i == last else 1),
                    config.w_dim,
                )
                for i in image_levels
            }
        )
        self.add_constant()

    @property
    def typed_levels(self) -> list[Level]:
        """The levels, as what they are."""
        return cast("list[Level]", list(self.levels))

    @property
    def image_layers(self) -> list[ToRGB]:
        """The ToRGB layers, coarse to fine."""
        return cast("list[ToRGB]", list(self.to_rgb.values()))

    @property
    def layers(self) -> list[SynthesisLayer]:
        """The modulated layers of all levels, coarse to fine."""
        return [layer for level in self.typed_levels for layer in level.layers]

    @property
    def has_layer_noise(self) -> bool:
        """Whether the noise of any layer has an effect."""
        return any(bool(layer.noise_strength) for layer in self.layers)

    def base(self, w: Tensor, dtype: torch.dtype) -> Tensor:
        """Input of the first level, [N, C, X, Y, Z], from w [N, num_layers, w_dim]."""
        x = self.const.expand(len(w), -1, -1, -1, -1)
        if self.config.base_input == "dense":
            x = x + self.base_dense(w[:, 0]).reshape(x.shape)
        return x.to(dtype).contiguous(memory_format=CHANNELS_LAST)

    @property
    def stored_noise(self) -> list[Tensor]:
        """One map per layer."""
        return [layer.noise for layer in self.layers]

    @property
    def has_noise(self) -> bool:
        """Whether noise has an effect, which is that of layers."""
        return self.has_layer_noise

    @property
    def has_features(self) -> bool:
        """Whether there are features before the last level."""
        return self.config.num_levels > 1

    def last_features(
        self,
        w: Tensor,
        noise: Noise | Maps,
        dtype: torch.dtype = torch.float32,
        memo: Memo | None = None,
    ) -> Tensor:
        """Feature maps before the last level, [N, channels, X, Y, Z] on half its grid."""
        inputs = Inputs(w, self._maps(noise, len(w), memo), dtype, memo or NoMemo())
        *_, (x, _) = self._walk(inputs, self.config.num_levels - 2)
        return x

    def _canonical(self, inputs: Inputs, stop: int, *, draft: bool) -> Tensor:
        *_, (_, image) = self._walk(inputs, stop, draft=draft)
        assert image is not None
        return self._with_constant(image, stop)

    def _walk(
        self, inputs: Inputs, stop: int, *, draft: bool = False
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Features and image of each level up to `stop`, coarse to fine."""
        w, maps, dtype, memo = inputs
        x, noises = self.base(w, dtype), iter(maps)
        image: Tensor | None = None
        for i, level in enumerate(self.typed_levels[: stop + 1]):
            if draft and i == self.config.num_levels - 1:
                yield x, self._drafted(image)
                return
            x = level(x, w, list(islice(noises, len(level.layers))), memo)
            if str(i) in self.to_rgb:
                make = partial(self._image, x, w, i, image)
                image = memo.get((i, "image", dtype), 2 * i + 2, make)
            yield x, image

    def _drafted(self, image: Tensor | None) -> Tensor:
        """The low band of the last level, without what its own layers add."""
        if image is not None:
            return self._doubled(image)
        config = self.config
        return self.const.new_zeros(1, config.image_channels, *config.grid(config.num_levels - 1))

    def _image(self, x: Tensor, w: Tensor, level: int, before: Tensor | None) -> Tensor:
        """The image of a level: what its features make, and that of the level before doubled.

        The coarser image joins the low band of a Haar head.
        """
        rgb: Tensor = self.to_rgb[str(level)](x, w[:, 2 * level + 1])
        return rgb if before is None else sum_low(rgb, self._doubled(before))
