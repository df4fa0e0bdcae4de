"""Synthesis network: w -> volume."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.errors import ModelError
from stylegan3d.networks.common_anatomy import CommonAnatomy
from stylegan3d.networks.config import GeneratorConfig, Grid
from stylegan3d.networks.deformation import exponential
from stylegan3d.networks.layers import (
    ACTIVATION_GAIN,
    LEAK,
    Conv3d,
    Dense,
    ModulatedConv3d,
    is_inference,
)
from stylegan3d.networks.memo import Memo, NoMemo
from stylegan3d.networks.resampling import (
    CHANNELS_LAST,
    fine_bands,
    inverse_haar,
    upsample_image,
)

Noise = Literal["fixed", "none", "random"] | int
# Voxels around a cube that are computed with it, for its convolutions to see.
PATCH_MARGIN = 4


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
        # A leaky ReLU lets a positive factor through: its gain multiplies the small things before.
        y = self.conv(x, w, self.bias * ACTIVATION_GAIN, ACTIVATION_GAIN)
        inference = is_inference(y, noise)
        if noise is not None and not (inference and self._is_silent()):
            added = (noise * (self.noise_strength * ACTIVATION_GAIN)).to(y.dtype)
            y = y.add_(added) if inference else y + added
        # In place also where it is differentiated: its gradient can be told from its result.
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
        outputs = config.channels[index]
        grid = config.grid(index)
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
        refine = config.refine_layers if index == config.num_levels - 1 else 0
        self.refine = nn.ModuleList(
            SynthesisLayer(outputs, outputs, grid, config, up=False) for _ in range(refine)
        )
        if refine:
            self.feedback = Conv3d(config.image_channels, outputs, 1, activate=False)

    def forward(
        self,
        x: Tensor,
        w: Tensor,
        noises: list[Tensor | None],
        known: Callable[[], Tensor] | None = None,
        memo: Memo | None = None,
    ) -> Tensor:
        """Features of this level from those of the one before.

        Parameters
        ----------
        x : [N, inputs, X, Y, Z]
        w : [N, num_layers, w_dim]
        noises : one map per layer.
        known : the image so far [N, C, X, Y, Z], for the refining layers.
        memo : where layers are looked up that were computed before.
        """
        memo = memo or NoMemo()
        before, dtype = x, x.dtype
        for i, row in enumerate(self.rows):
            make = partial(self._layer, i, x, w[:, row], noises[i], known)
            x = memo.get((self.index, i, dtype), row + 1, make)
        if self.shortcut is None:
            return x
        rows = self.rows[-1] + 1
        return memo.get((self.index, "sum", dtype), rows, partial(self._joined, x, before))

    def _layer(
        self,
        i: int,
        x: Tensor,
        w: Tensor,
        noise: Tensor | None,
        known: Callable[[], Tensor] | None,
    ) -> Tensor:
        if known is not None and i == len(self.layers) - len(self.refine):
            x = self._fed_back(x, known())
        return self.layers[i](x, w, noise)

    def _fed_back(self, x: Tensor, known: Tensor) -> Tensor:
        """Features that also see the image so far."""
        if known.shape[1] > 1:
            return x + self.feedback(known.to(x.dtype).contiguous(memory_format=CHANNELS_LAST))
        # One channel: a 1x1x1 convolution is an outer product, which fuses with the sum.
        weight = self.feedback.weight[:, 0].to(x.dtype)
        x = torch.addcmul(x, known.to(x.dtype), weight)
        return (
            x
            if self.feedback.bias is None
            else x + self.feedback.bias.to(x.dtype)[:, None, None, None]
        )

    def _joined(self, x: Tensor, before: Tensor) -> Tensor:
        """Sum with the shortcut of the `resnet` wiring."""
        assert self.shortcut is not None
        # A 1x1x1 convolution commutes with the filter, so it runs on the small grid.
        coarse = self.shortcut(before)
        return (x + upsample_image(coarse, self.kernel, self.up_gain)) / math.sqrt(2)

    @property
    def rows(self) -> list[int]:
        """Which row of w each layer reads; refining layers share the last."""
        first, last = max(2 * self.index - 1, 0), 2 * self.index
        return [min(first + j, last) for j in range(len(self.layers))]

    @property
    def layers(self) -> list[SynthesisLayer]:
        """The level's modulated layers in order."""
        first = [self.plain] if self.up is None else [self.up, self.plain]
        return first + cast("list[SynthesisLayer]", list(self.refine))


@dataclass(frozen=True)
class _Made:
    """What there is after a level: its features, and the image so far without the constant."""

    level: int
    x: Tensor
    image: Tensor | None


class SynthesisNetwork(CommonAnatomy):
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
        self._add_anatomy()

    @property
    def typed_levels(self) -> list[Level]:
        """The levels, as what they are."""
        return cast("list[Level]", list(self.levels))

    @property
    def image_layers(self) -> list[ToRGB]:
        """The ToRGB layers, coarse to fine."""
        return cast("list[ToRGB]", list(self.to_rgb.values()))

    @property
    def has_layer_noise(self) -> bool:
        """Whether the noise of any layer has an effect."""
        layers = (layer for level in self.typed_levels for layer in level.layers)
        return any(bool(layer.noise_strength) for layer in layers)

    @property
    def has_noise(self) -> bool:
        """Whether that of a layer or of the flow has one."""
        flow = self.config.flow_channels and bool(self.flow.noise_strength)
        return flow or self.has_layer_noise

    @property
    def has_features(self) -> bool:
        """Whether there are features before the last level."""
        return self.config.num_levels > 1

    def last_features(
        self,
        w: Tensor,
        noise: Noise | list[Tensor | None],
        dtype: torch.dtype = torch.float32,
        memo: Memo | None = None,
    ) -> Tensor:
        """Feature maps before the last level, [N, channels, X, Y, Z] on half its grid."""
        return self.features(w, noise, self.config.num_levels - 2, dtype, memo)

    def noise_maps(self, noise: Noise, batch: int = 1) -> list[Tensor | None]:
        """One map [1 or N, 1, X, Y, Z] per layer, and after them that of the flow, if there is one.

        They are stored, absent, fresh or drawn from a seed.
        """
        stored = [layer.noise for level in self.typed_levels for layer in level.layers]
        if self.config.flow_channels:
            stored.append(self.flow.noise)
        return drawn_noise(stored, noise, batch)

    def forward(
        self,
        w: Tensor,
        noise: Noise | list[Tensor | None] = "fixed",
        level: int = -1,
        dtype: torch.dtype = torch.float32,
        bands: bool = False,
        *,
        draft: bool = False,
        memo: Memo | None = None,
    ) -> Tensor:
        """Synthesise.

        Parameters
        ----------
        w : [N, num_layers, w_dim]
        noise : how each layer's noise is had, or the maps themselves.
        level : which of `config.image_grids` to return; -1 is the full image. Finer levels are
            not computed.
        dtype : precision of the feature maps; the image is always float32.
        bands : return the last level's Haar bands instead of the image (head `haar` only).
        draft : leave out the convolutions of the last level of a Haar head; what the bases and the
            coarser levels make of the low band stays. For images coarser than the full one.
        memo : results of earlier calls to use again; for one volume, of which nothing is
            differentiated.

        Returns
        -------
        [N, image_channels, X, Y, Z], about in [-1, 1].
        """
        if len(w) > 1 and memo is None and w.device.type == "cpu" and is_inference(w):
            # On a CPU nothing is gained by a batch: one by one they take less memory, and each
            # volume has the same bits whatever stands beside it.
            maps = noise if isinstance(noise, list) else self.noise_maps(noise, len(w))
            return torch.cat(
                [
                    self(w[i : i + 1], _of_sample(maps, i), level, dtype, bands, draft=draft)
                    for i in range(len(w))
                ]
            )
        stop, half = self._plan(level)
        draft = draft and half
        maps = self._maps(noise, len(w), memo)
        image = self.canonical(w, maps, stop, dtype, draft=draft, memo=memo)[-1]
        if self.config.head == "haar" and stop == self.config.num_levels - 1 and not bands:
            image = image[:, : self.config.image_channels] if half else inverse_haar(image)
        if bands:
            return image
        image = self.moved(image, w, memo)
        whole = stop == self.config.num_levels - 1 and not half
        return self._flowed(image, w, maps[-1], dtype, memo) if whole else image

    def _flowed(
        self, image: Tensor, w: Tensor, noise: Tensor | None, dtype: torch.dtype, memo: Memo | None
    ) -> Tensor:
        """A whole image [N, 1, X, Y, Z] after the flow, as far as its details open the gate."""
        config = self.config
        if not config.flow_channels:
            return image
        gate = self.flow.gate(self._detail_weights(w))
        if gate.device.type == "cpu" and not bool(gate.any()):
            return image
        memo = memo or NoMemo()
        make = partial(self.flow, image, noise, config.flow_steps, dtype, memo.check)
        flowed = memo.get(("flow", dtype), config.num_layers, make)
        return torch.lerp(image, flowed, gate[:, None, None, None, None])

    def pyramid(
        self,
        w: Tensor,
        noise: Noise | list[Tensor | None] = "fixed",
        stop: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> list[Tensor]:
        """The images of all levels up to feature level `stop`, coarse to fine.

        With the `skip` wiring there is one per level, else only the last. That of the last level
        of a Haar head is its eight bands, or the image itself where there is a deformation.
        """
        images = self.canonical(w, noise, stop, dtype)
        if not self.config.deformation:
            return images
        if images[-1].shape[1] == 8 * self.config.image_channels and self.config.head == "haar":
            images[-1] = inverse_haar(images[-1])
        displacement = exponential(self.velocity(w))
        return [self._read(image, displacement) for image in images]

    def canonical(
        self,
        w: Tensor,
        noise: Noise | list[Tensor | None] = "fixed",
        stop: int | None = None,
        dtype: torch.dtype = torch.float32,
        *,
        draft: bool = False,
        memo: Memo | None = None,
    ) -> list[Tensor]:
        """As `pyramid`, in the common anatomy: before the deformation, the Haar head as bands.

        With `draft` the last one is the low band only.
        """
        stop = self.config.num_levels - 1 if stop is None else stop
        maps = self._maps(noise, len(w), memo)
        return [
            made.image + self._constant(made.level)[:, : made.image.shape[1]]
            if self.config.image_const
            else made.image
            for made in self._walk(w, maps, stop, dtype, draft=draft, memo=memo)
            if made.image is not None
        ]

    def features(
        self,
        w: Tensor,
        noise: Noise | list[Tensor | None],
        level: int,
        dtype: torch.dtype = torch.float32,
        memo: Memo | None = None,
    ) -> Tensor:
        """Feature maps of a level, [N, channels, X, Y, Z] on `config.grid(level)`."""
        *_, last = self._walk(w, self._maps(noise, len(w), memo), level, dtype, memo=memo)
        return last.x

    def _maps(
        self, noise: Noise | list[Tensor | None], batch: int, memo: Memo | None
    ) -> list[Tensor | None]:
        if isinstance(noise, list):
            return noise
        if memo is None:
            return self.noise_maps(noise, batch)
        return memo.maps(noise, lambda: self.noise_maps(noise, batch))

    def _walk(
        self,
        w: Tensor,
        maps: list[Tensor | None],
        stop: int,
        dtype: torch.dtype,
        *,
        draft: bool = False,
        memo: Memo | None = None,
    ) -> Iterator[_Made]:
        """Go through the levels up to `stop`, coarse to fine."""
        memo = memo or NoMemo()
        x = self._base(w[:, 0]).to(dtype).contiguous(memory_format=CHANNELS_LAST)
        image: Tensor | None = None
        basis = self._basis_bands(w, stop) if self.config.image_basis else None
        used = 0
        for i, level in enumerate(self.typed_levels[: stop + 1]):
            before, sketched = image, draft and i == self.config.num_levels - 1
            detail = self._details(w, i, low_only=sketched)
            if sketched:
                yield _Made(i, x, self._so_far(before, basis, detail, i))
                return

            known = partial(self._seen, before, basis, detail, i) if level.refine else None
            count = len(level.layers)
            x = level(x, w, maps[used : used + count], known, memo)
            used += count
            if str(i) in self.to_rgb:
                image = memo.get(
                    (i, "image", dtype),
                    2 * i + 2,
                    partial(self._image, x, w, i, before, basis, detail),
                )
            yield _Made(i, x, image)

    def _seen(
        self,
        before: Tensor | None,
        basis: list[Tensor] | None,
        detail: Tensor | None,
        level: int,
    ) -> Tensor:
        """What refining layers see: the image so far, with the constant."""
        return self._with_constant(self._so_far(before, basis, detail, level), level)

    def _image(
        self,
        x: Tensor,
        w: Tensor,
        level: int,
        before: Tensor | None,
        basis: list[Tensor] | None,
        detail: Tensor | None,
    ) -> Tensor:
        """The image of a level, without the constant: its features', those before, the bases'."""
        image = self._add(before, self.to_rgb[str(level)](x, w[:, 2 * level + 1]))
        if basis is not None:
            image = _sum_low(image, basis[level])
        beyond = self.continued(self._so_far(before, basis, None, level), level)
        image = image if beyond is None else image + beyond
        return image if detail is None else image + detail

    def canonical_patch(
        self,
        w: Tensor,
        noises: list[Tensor | None],
        corners: list[tuple[int, int, int]],
        size: int,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Cubes out of the last level's canonical bands, at a fraction of the whole's price.

        The coarse levels are computed once for all cubes of a sample, the last one within the
        cubes and the margin its convolutions see.

        Parameters
        ----------
        w : [1, num_layers, w_dim]
        noises : one map per layer.
        corners : first voxel of each cube on the last level's grid; even numbers.
        size : edge of the cubes on that grid; an even number.

        Returns
        -------
        [len(corners), bands, size, size, size]; the same as that part of the whole, but for what
        convolutions miss across the margin in the outermost voxel.
        """
        last = self.config.num_levels - 1
        *_, made = self._walk(w, noises, last - 1, dtype)
        x, image = made.x, made.image
        used = sum(len(level.layers) for level in self.typed_levels[:last])
        basis = self._basis_bands(w) if self.config.image_basis else None
        detail = self._details(w, last)
        known = self._with_constant(self._so_far(image, basis, detail, last), last)
        so_far = self._so_far(image, basis, None, last)
        beyond = self.continued(so_far, last)
        cubes = []
        for corner in corners:
            coarse = [
                slice(max(c // 2 - PATCH_MARGIN // 2, 0), (c + size + PATCH_MARGIN) // 2)
                for c in corner
            ]
            fine = [slice(2 * s.start, 2 * s.stop) for s in coarse]
            maps = [None if m is None else _cut(m, fine) for m in noises[used:]]
            seen = partial(_cut, known, fine)
            y = self.typed_levels[last](_cut(x, coarse), w, maps, seen)
            y = self.to_rgb[str(last)](y, w[:, 2 * last + 1])
            within = [
                slice(c - s.start, c - s.start + size) for c, s in zip(corner, fine, strict=True)
            ]
            inside = [slice(c, c + size) for c in corner]
            y = _sum_low(_cut(y, within), _cut(so_far, inside))
            if beyond is not None:
                y = y + _cut(beyond, inside)
            if detail is not None:
                y = y + _cut(detail, inside)
            if self.config.image_const:
                y = y + _cut(self._constant(last), inside)
            cubes.append(y)
        return torch.cat(cubes)

    def _so_far(
        self,
        image: Tensor | None,
        basis: list[Tensor] | None,
        detail: Tensor | None,
        level: int,
    ) -> Tensor:
        """The image before a level's own ToRGB, without the constant, [N or 1, C, X, Y, Z]."""
        channels = self.config.image_channels
        if image is None:
            low = self.const.new_zeros(1, channels, *self.config.grid(level))
        else:
            low = self._doubled(image)
        low = low if basis is None else low + basis[level]
        return low if detail is None else low + detail[:, :channels]

    def _base(self, w: Tensor) -> Tensor:
        """Input of the first level, [N, C, X, Y, Z], from the first row of w [N, w_dim]."""
        const = self.const.expand(w.shape[0], -1, -1, -1, -1)
        if self.config.base_input == "const":
            return const
        return const + self.base_dense(w).reshape(const.shape)

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

    def _add(self, image: Tensor | None, rgb: Tensor) -> Tensor:
        """Sum of the `skip` wiring; the coarser image joins the low band of a Haar head."""
        if image is None:
            return rgb
        return _sum_low(rgb, self._doubled(image))

    def continued(self, low: Tensor, level: int) -> Tensor | None:
        """Bands that continue the low one of the last level [N, C, ...]; its own place is zero."""
        taps = self.config.fine_taps
        if not taps or level < self.config.num_levels - 1:
            return None
        return torch.cat([torch.zeros_like(low), fine_bands(low, taps)], dim=1)

    def _doubled(self, image: Tensor) -> Tensor:
        """An image at the next finer resolution."""
        config = self.config
        nearest = config.image_upsampling == "nearest"
        return upsample_image(image, config.resample_kernel, config.upsample_gain, nearest)


def _cut(x: Tensor, place: list[slice]) -> Tensor:
    """A box out of [N, C, X, Y, Z]."""
    return x[:, :, place[0], place[1], place[2]]


def _sum_low(bands: Tensor, low: Tensor) -> Tensor:
    """Add `low` [N, C, ...] to the first channels of `bands` [1 or N, >= C, ...]."""
    return bands + F.pad(low, (0, 0, 0, 0, 0, 0, 0, bands.shape[1] - low.shape[1]))


def _of_sample(maps: list[Tensor | None], index: int) -> list[Tensor | None]:
    """The noise maps of one sample of a batch."""
    return [m if m is None or len(m) == 1 else m[index : index + 1] for m in maps]


def drawn_noise(stored: list[Tensor], noise: Noise, batch: int = 1) -> list[Tensor | None]:
    """The maps of a kind of noise, each [1 or N, ...] as those that are stored, [1, ...]."""
    if noise == "fixed":
        return list(stored)
    if noise == "none":
        return [None] * len(stored)
    if noise == "random":
        return [torch.randn(batch, *n.shape[1:], device=n.device, dtype=n.dtype) for n in stored]
    # Drawn on the CPU, so that a seed means the same noise on every device.
    generator = torch.Generator().manual_seed(int(noise))
    return [torch.randn(n.shape, generator=generator).to(n) for n in stored]
