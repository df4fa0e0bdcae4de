"""Synthesis network: w -> volume."""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.errors import ModelError
from stylegan3d.networks.config import GeneratorConfig, Grid
from stylegan3d.networks.deformation import Basis, exponential, resize, warp
from stylegan3d.networks.layers import Conv3d, Dense, ModulatedConv3d, leaky_relu
from stylegan3d.networks.resampling import (
    CHANNELS_LAST,
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
        y = self.conv(x, w)
        if noise is not None:
            y = y + (noise * self.noise_strength).to(y.dtype)
        return leaky_relu(y + self.bias.to(y.dtype)[:, None, None, None])


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
        rows: list[Tensor],
        noises: list[Tensor | None],
        known: Tensor | None = None,
    ) -> Tensor:
        """One row of w and one noise map per layer; `known` [N, C, X, Y, Z] is the image so far."""
        before = x
        for i, (layer, w, noise) in enumerate(zip(self.layers, rows, noises, strict=True)):
            if known is not None and i == len(self.layers) - len(self.refine):
                x = x + self.feedback(known.to(x.dtype))
            x = layer(x, w, noise)
        if self.shortcut is not None:
            # A 1x1x1 convolution commutes with the filter, so it runs on the small grid.
            coarse = self.shortcut(before)
            x = (x + upsample_image(coarse, self.kernel, self.up_gain)) / math.sqrt(2)
        return x

    @property
    def layers(self) -> list[SynthesisLayer]:
        """The level's modulated layers in order."""
        first = [self.plain] if self.up is None else [self.up, self.plain]
        return first + cast("list[SynthesisLayer]", list(self.refine))


class SynthesisNetwork(nn.Module):
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
        grid = config.grid(last)
        if config.image_const:
            self.image_const = nn.Parameter(torch.zeros(config.image_channels * bands, *grid))
        if config.image_basis:
            self.image_basis = Basis(config.image_basis, config.image_channels, grid)
        if config.detail_basis:
            self.detail_basis = Basis(config.detail_basis, config.image_channels * bands, grid)
            self.detail_basis.requires_grad_(False)
        if config.deformation:
            grid = config.grid(config.deformation_level)
            self.velocity_basis = Basis(config.deformation, 3, grid)
            self.velocity_const = nn.Parameter(torch.zeros(3, *grid))
            # Found by registration and kept: the layers learn on top of a fixed anatomy.
            self.velocity_const.requires_grad_(False)
            self.velocity_basis.requires_grad_(False)
            if config.image_basis:
                self.image_basis.requires_grad_(False)

    @property
    def typed_levels(self) -> list[Level]:
        """The levels, as what they are."""
        return cast("list[Level]", list(self.levels))

    @property
    def image_layers(self) -> list[ToRGB]:
        """The ToRGB layers, coarse to fine."""
        return cast("list[ToRGB]", list(self.to_rgb.values()))

    def noise_maps(self, noise: Noise, batch: int = 1) -> list[Tensor | None]:
        """One map [1 or N, 1, X, Y, Z] per layer: stored, absent, fresh or drawn from a seed."""
        stored = [layer.noise for level in self.typed_levels for layer in level.layers]
        if noise == "fixed":
            return list(stored)
        if noise == "none":
            return [None] * len(stored)
        if noise == "random":
            return [
                torch.randn(batch, *n.shape[1:], device=n.device, dtype=n.dtype) for n in stored
            ]
        # Drawn on the CPU, so that a seed means the same noise on every device.
        generator = torch.Generator().manual_seed(int(noise))
        return [torch.randn(n.shape, generator=generator).to(n) for n in stored]

    def forward(
        self,
        w: Tensor,
        noise: Noise | list[Tensor | None] = "fixed",
        level: int = -1,
        dtype: torch.dtype = torch.float32,
        bands: bool = False,
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

        Returns
        -------
        [N, image_channels, X, Y, Z], about in [-1, 1].
        """
        stop, half = self._plan(level)
        image = self.canonical(w, noise, stop, dtype)[-1]
        if self.config.head == "haar" and stop == self.config.num_levels - 1 and not bands:
            image = image[:, : self.config.image_channels] if half else inverse_haar(image)
        return image if bands else self.moved(image, w)

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
    ) -> list[Tensor]:
        """As `pyramid`, in the common anatomy: before the deformation, the Haar head as bands."""
        stop = self.config.num_levels - 1 if stop is None else stop
        maps = noise if isinstance(noise, list) else self.noise_maps(noise, w.shape[0])
        x = self._base(w[:, 0]).to(dtype).contiguous(memory_format=CHANNELS_LAST)
        image: Tensor | None = None
        images = []
        basis = self._basis_bands(w) if self.config.image_basis else None
        used = 0
        for i in range(stop + 1):
            level = self.typed_levels[i]
            count = len(level.layers)
            detail = self._details(w, i)
            known = None
            if level.refine:
                known = self._with_constant(self._so_far(image, basis, detail, i), i)
            x = level(x, self._rows(w, i), maps[used : used + count], known)
            used += count
            if str(i) in self.to_rgb:
                image = self._add(image, self.to_rgb[str(i)](x, w[:, 2 * i + 1]))
                if basis is not None:
                    image = _sum_low(image, basis[i])
                if detail is not None:
                    image = image + detail
                images.append(image + self._constant(i) if self.config.image_const else image)
        return images

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
        x = self._base(w[:, 0]).to(dtype).contiguous(memory_format=CHANNELS_LAST)
        image: Tensor | None = None
        basis = self._basis_bands(w) if self.config.image_basis else None
        used = 0
        for i in range(last):
            count = len(self.typed_levels[i].layers)
            x = self.typed_levels[i](x, self._rows(w, i), noises[used : used + count])
            used += count
            image = self._add(image, self.to_rgb[str(i)](x, w[:, 2 * i + 1]))
            if basis is not None:
                image = _sum_low(image, basis[i])
        detail = self._details(w, last)
        known = self._with_constant(self._so_far(image, basis, detail, last), last)
        so_far = self._so_far(image, basis, None, last)
        cubes = []
        for corner in corners:
            coarse = [
                slice(max(c // 2 - PATCH_MARGIN // 2, 0), (c + size + PATCH_MARGIN) // 2)
                for c in corner
            ]
            fine = [slice(2 * s.start, 2 * s.stop) for s in coarse]
            maps = [None if m is None else _cut(m, fine) for m in noises[used:]]
            y = self.typed_levels[last](
                _cut(x, coarse), self._rows(w, last), maps, _cut(known, fine)
            )
            y = self.to_rgb[str(last)](y, w[:, 2 * last + 1])
            within = [
                slice(c - s.start, c - s.start + size) for c, s in zip(corner, fine, strict=True)
            ]
            inside = [slice(c, c + size) for c in corner]
            y = _sum_low(_cut(y, within), _cut(so_far, inside))
            if detail is not None:
                y = y + _cut(detail, inside)
            if self.config.image_const:
                y = y + _cut(self._constant(last), inside)
            cubes.append(y)
        return torch.cat(cubes)

    def velocity(self, w: Tensor) -> Tensor:
        """Velocity field of the deformation, w [N, num_layers, w_dim] -> [N, 3, X, Y, Z].

        Band by band like the basis images: what a level's grid shows and the next coarser one does
        not is weighed by the first row of that level, which leaves the second to the image.
        """
        config = self.config
        total = self.velocity_const[None]
        for level in range(config.deformation_level + 1):
            row = w[:, max(2 * level - 1, 0), : config.deformation]
            field = self.velocity_basis(row)
            band = resize(field, config.grid(level))
            if level:
                band = band - resize(resize(field, config.grid(level - 1)), config.grid(level))
            total = total + resize(band, config.grid(config.deformation_level))
        return total

    def moved(self, image: Tensor, w: Tensor) -> Tensor:
        """A canonical image [N, C, X, Y, Z] at the places that w asks for."""
        if not self.config.deformation:
            return image
        return self._read(image, exponential(self.velocity(w)))

    def _read(self, image: Tensor, displacement: Tensor) -> Tensor:
        """`image` where the displacement, on the velocities' grid, points to."""
        if image.shape[2] > 2 * displacement.shape[2]:
            # In two steps, the first one smooth: a piecewise linear field would show its kinks.
            displacement = upsample_image(displacement, self.config.resample_kernel)
        return warp(image, resize(displacement, _grid_of(image)))

    def _rows(self, w: Tensor, level: int) -> list[Tensor]:
        """One row of w for each layer of a level; refining layers share the last."""
        count = len(self.typed_levels[level].layers)
        first, last = max(2 * level - 1, 0), 2 * level
        return [w[:, min(first + j, last)] for j in range(count)]

    def _details(self, w: Tensor, level: int) -> Tensor | None:
        """Weighted sum of the detail images, bands of the last level [N, C, X, Y, Z]."""
        config = self.config
        if not config.detail_basis or level < config.num_levels - 1:
            return None
        rows = w[:, max(2 * level - 1, 0) : 2 * level + 1].mean(dim=1)
        first = config.linear_dim - config.detail_basis
        return self.detail_basis(rows[:, first : config.linear_dim])

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

    def _with_constant(self, low: Tensor, level: int) -> Tensor:
        if not self.config.image_const:
            return low
        return low + self._constant(level)[:, : self.config.image_channels]

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

    def _doubled(self, image: Tensor) -> Tensor:
        """An image at the next finer resolution."""
        config = self.config
        nearest = config.image_upsampling == "nearest"
        return upsample_image(image, config.resample_kernel, config.upsample_gain, nearest)

    def _constant(self, level: int) -> Tensor:
        """The learned constant image at the resolution of a level, [1, C, X, Y, Z]."""
        const = self.image_const[None]
        last = self.config.num_levels - 1
        if level == last:
            return const
        low = const[:, : self.config.image_channels]
        return F.avg_pool3d(low, 2 ** (last - level))

    def _basis_bands(self, w: Tensor) -> list[Tensor]:
        """What each level adds of the basis images, [N, C, X, Y, Z] on that level's grid.

        A Laplacian pyramid (Burt, Adelson 1983): a level adds what its grid shows and the next
        coarser one does not, weighed by the mean of the level's own rows of w. So mixing rows mixes
        spatial scales, and where all rows are equal the bands sum to the basis images' plain
        weighted sum.
        """
        config = self.config
        last = config.num_levels - 1
        if config.wiring != "skip":
            # One image only: all levels' bands at once.
            return [torch.empty(0)] * last + [self._weighed(w.mean(dim=1))]
        bands = []
        for level in range(config.num_levels):
            first = max(2 * level - 1, 0)
            if config.deformation and level <= config.deformation_level:
                first = 2 * level  # the level's first row weighs the velocities
            image = self._weighed(w[:, first : 2 * level + 1].mean(dim=1))
            for _ in range(last - level):
                image = F.avg_pool3d(image, 2)
            if level:
                image = image - upsample_image(F.avg_pool3d(image, 2), config.resample_kernel)
            bands.append(image)
        return bands

    def _weighed(self, w: Tensor) -> Tensor:
        """Weighted sum of the basis images, w [N, w_dim] -> [N, C, X, Y, Z]."""
        first = self.config.deformation
        return self.image_basis(w[:, first : first + self.config.image_basis])


def _cut(x: Tensor, place: list[slice]) -> Tensor:
    """A box out of [N, C, X, Y, Z]."""
    return x[:, :, place[0], place[1], place[2]]


def _grid_of(image: Tensor) -> Grid:
    return image.shape[2], image.shape[3], image.shape[4]


def _sum_low(bands: Tensor, low: Tensor) -> Tensor:
    """Add `low` [N, C, ...] to the first channels of `bands` [1 or N, >= C, ...]."""
    return bands + F.pad(low, (0, 0, 0, 0, 0, 0, 0, bands.shape[1] - low.shape[1]))
