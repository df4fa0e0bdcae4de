"""Which variable of an official 3D-StyleGAN network is which of our parameters.

The original stores a convolution as [k0, k1, k2, in, out] and a dense layer as [in, out], without
the scale of 1 / sqrt(fan in), which its networks apply at run time as ours do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from stylegan3d.networks.config import DiscriminatorConfig, GeneratorConfig, Grid

Convert = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Variable:
    """One row of the table.

    Attributes
    ----------
    official : str
        Name in the file, such as `synthesis/5x6X7/Conv/weight`.
    ours : str
        Name in a model's safetensors, such as `synthesis.levels.0.plain.conv.weight`.
    shape : tuple of int
        Shape of the official variable.
    convert : Convert
        Official values to ours.
    noise : bool
        Whether it belongs to the layer noise, which a network may have been built without.
    """

    official: str
    ours: str
    shape: tuple[int, ...]
    convert: Convert
    noise: bool = False


def same(x: Tensor) -> Tensor:
    """As it is."""
    return x


def dense(x: Tensor) -> Tensor:
    """[in, out] -> [out, in]"""
    return x.t()


def conv(x: Tensor) -> Tensor:
    """[k0, k1, k2, in, out] -> [out, in, k0, k1, k2]"""
    return x.permute(4, 3, 0, 1, 2)


def up_conv(x: Tensor) -> Tensor:
    """As `conv`, mirrored along the last axis.

    The original mirrors the weights of its transposed convolutions along two axes only, as in two
    dimensions; ours does along all three, so the third has to be turned back.
    """
    return conv(x).flip(4)


def style_bias(x: Tensor) -> Tensor:
    """The original adds the 1, about which styles vary, at run time; ours is in the bias."""
    return x + 1


def scope(grid: Grid) -> str:
    """Name of a resolution."""
    return "x".join(map(str, grid))


def base_scope(grid: Grid) -> str:
    """Name of the synthesis network's lowest resolution: the second x is a capital one."""
    return f"{grid[0]}x{grid[1]}X{grid[2]}"


def generator_variables(config: GeneratorConfig) -> Iterator[Variable]:
    """The table of a generator: mapping, synthesis, mean of w."""
    yield Variable("dlatent_avg", "w_avg", (config.w_dim,), same)
    yield from _mapping(config)
    channels, last = config.channels, config.num_levels - 1
    shape = (1, channels[0], *config.base)
    yield Variable(
        f"synthesis/{base_scope(config.base)}/Const/const", "synthesis.const", shape, same
    )
    for level in range(config.num_levels):
        name = scope(config.grid(level)) if level else base_scope(config.base)
        official, ours = f"synthesis/{name}", f"synthesis.levels.{level}"
        width = channels[level]
        if level:
            before = channels[level - 1]
            index = 2 * level - 1
            yield from _layer(f"{official}/Conv0_up", f"{ours}.up", config, index, before, up_conv)
            if config.wiring == "resnet":
                skip = (1, 1, 1, before, width)
                yield Variable(f"{official}/Skip/weight", f"{ours}.shortcut.weight", skip, conv)
        plain = "Conv1" if level else "Conv"
        yield from _layer(f"{official}/{plain}", f"{ours}.plain", config, 2 * level, width, conv)
        if config.wiring == "skip" or level == last:
            image = f"synthesis.to_rgb.{level}"
            kernel = (1, 1, 1, width, config.image_channels)
            yield from _modulated(f"{official}/ToRGB", image, kernel, config.w_dim, conv)


def _mapping(config: GeneratorConfig) -> Iterator[Variable]:
    inputs = config.z_dim
    if config.label_dim:
        shape = (config.label_dim, config.z_dim)
        yield Variable("mapping/LabelConcat/weight", "mapping.embed", shape, same)
        inputs *= 2
    for i in range(config.mapping_layers):
        hidden = i < config.mapping_layers - 1
        outputs = config.mapping_width if hidden else config.w_dim
        yield from _plain(f"mapping/Dense{i}", f"mapping.layers.{i}", (inputs, outputs), dense)
        inputs = outputs


def _layer(
    official: str, ours: str, config: GeneratorConfig, index: int, inputs: int, convert: Convert
) -> Iterator[Variable]:
    """A modulated convolution with its noise, the `index`-th of the network."""
    level = (index + 1) // 2
    kernel = (3, 3, 3, inputs, config.channels[level])
    yield from _modulated(official, ours, kernel, config.w_dim, convert)
    yield Variable(f"{official}/noise_strength", f"{ours}.noise_strength", (), same, noise=True)
    grid = (1, 1, *config.grid(level))
    yield Variable(f"synthesis/noise{index}", f"{ours}.noise", grid, same)


def _modulated(
    official: str, ours: str, kernel: tuple[int, ...], w_dim: int, convert: Convert
) -> Iterator[Variable]:
    inputs, outputs = kernel[-2:]
    style = f"{ours}.conv.style"
    yield Variable(f"{official}/weight", f"{ours}.conv.weight", kernel, convert)
    yield Variable(f"{official}/mod_weight", f"{style}.weight", (w_dim, inputs), dense)
    yield Variable(f"{official}/mod_bias", f"{style}.bias", (inputs,), style_bias)
    yield Variable(f"{official}/bias", f"{ours}.bias", (outputs,), same)


def discriminator_variables(config: DiscriminatorConfig) -> Iterator[Variable]:
    """The table of a discriminator."""
    channels, last = config.channels, len(config.channels) - 1
    coarsest, ours = channels[0], "discriminator"
    for level in range(last, -1, -1):
        a, b, c = (n * 2**level for n in config.base)
        official, width = scope((a, b, c)), channels[level]
        if config.wiring == "skip" or level == last:
            image = (1, 1, 1, config.image_channels, width)
            yield from _plain(f"{official}/FromImage", f"{ours}.from_image.{level}", image, conv)
        if not level:
            kernel = (3, 3, 3, coarsest + config.mbstd_channels, coarsest)
            yield from _plain(f"{official}/Conv", f"{ours}.conv", kernel, conv)
            flat = (coarsest * math.prod(config.base), config.dense_width)
            yield from _plain(f"{official}/Dense0", f"{ours}.dense", flat, dense)
            continue
        below, module = channels[level - 1], f"{ours}.levels.{level}"
        kernel = (3, 3, 3, width, width)
        yield from _plain(f"{official}/Conv0", f"{module}.conv0", kernel, conv)
        kernel = (3, 3, 3, width, below)
        yield from _plain(f"{official}/Conv1_down", f"{module}.conv1", kernel, conv)
        if config.wiring == "resnet":
            skip = (1, 1, 1, width, below)
            yield Variable(f"{official}/Skip/weight", f"{module}.shortcut.weight", skip, conv)
    scores = (config.dense_width, max(config.label_dim, 1))
    yield from _plain("Output", f"{ours}.output", scores, dense)


def _plain(
    official: str, ours: str, shape: tuple[int, ...], convert: Convert
) -> Iterator[Variable]:
    yield Variable(f"{official}/weight", f"{ours}.weight", shape, convert)
    yield Variable(f"{official}/bias", f"{ours}.bias", shape[-1:], same)
