"""Which variable of an official 3D-StyleGAN network is which of our parameters.

The original stores a convolution as [k0, k1, k2, in, out] and a dense layer as [in, out], without
the scale of 1 / sqrt(fan in), which its networks apply at run time as ours do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from stylegan3d.networks.config import DiscriminatorConfig, GeneratorConfig, Grid


@dataclass(frozen=True)
class Variable:
    """One row of the table.

    Attributes
    ----------
    official : name in the file, such as `synthesis/5x6X7/Conv/weight`.
    ours : name in a model's safetensors, such as `synthesis.levels.0.plain.conv.weight`.
    convert : official values to ours.
    noise : whether it belongs to the layer noise, which a network may have been built without.
    """

    official: str
    ours: str
    convert: Callable[[Tensor], Tensor]
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
    yield Variable("dlatent_avg", "w_avg", same)
    if config.label_dim:
        yield Variable("mapping/LabelConcat/weight", "mapping.embed", same)
    for i in range(config.mapping_layers):
        official, ours = f"mapping/Dense{i}", f"mapping.layers.{i}"
        yield Variable(f"{official}/weight", f"{ours}.weight", dense)
        yield Variable(f"{official}/bias", f"{ours}.bias", same)
    yield Variable(f"synthesis/{base_scope(config.base)}/Const/const", "synthesis.const", same)
    last = config.num_levels - 1
    for level in range(config.num_levels):
        name = scope(config.grid(level)) if level else base_scope(config.base)
        official, ours = f"synthesis/{name}", f"synthesis.levels.{level}"
        if level:
            yield from _layer(f"{official}/Conv0_up", f"{ours}.up", 2 * level - 1, up_conv)
            if config.wiring == "resnet":
                yield Variable(f"{official}/Skip/weight", f"{ours}.shortcut.weight", conv)
        plain = "Conv1" if level else "Conv"
        yield from _layer(f"{official}/{plain}", f"{ours}.plain", 2 * level, conv)
        if config.wiring == "skip" or level == last:
            image = f"synthesis.to_rgb.{level}"
            yield from _modulated(f"{official}/ToRGB", f"{image}.conv", conv)
            yield Variable(f"{official}/ToRGB/bias", f"{image}.bias", same)


def _layer(
    official: str, ours: str, index: int, convert: Callable[[Tensor], Tensor]
) -> Iterator[Variable]:
    """A modulated convolution with its noise, the `index`-th of the network."""
    yield from _modulated(official, f"{ours}.conv", convert)
    yield Variable(f"{official}/bias", f"{ours}.bias", same)
    yield Variable(f"{official}/noise_strength", f"{ours}.noise_strength", same, noise=True)
    yield Variable(f"synthesis/noise{index}", f"{ours}.noise", same)


def _modulated(official: str, ours: str, convert: Callable[[Tensor], Tensor]) -> Iterator[Variable]:
    yield Variable(f"{official}/weight", f"{ours}.weight", convert)
    yield Variable(f"{official}/mod_weight", f"{ours}.style.weight", dense)
    yield Variable(f"{official}/mod_bias", f"{ours}.style.bias", style_bias)


def discriminator_variables(config: DiscriminatorConfig) -> Iterator[Variable]:
    """The table of a discriminator."""
    last = len(config.channels) - 1
    ours = "discriminator"
    for level in range(last, -1, -1):
        a, b, c = (n * 2**level for n in config.base)
        official = scope((a, b, c))
        if config.wiring == "skip" or level == last:
            yield from _plain(f"{official}/FromImage", f"{ours}.from_image.{level}", conv)
        if not level:
            yield from _plain(f"{official}/Conv", f"{ours}.conv", conv)
            yield from _plain(f"{official}/Dense0", f"{ours}.dense", dense)
            continue
        yield from _plain(f"{official}/Conv0", f"{ours}.levels.{level}.conv0", conv)
        yield from _plain(f"{official}/Conv1_down", f"{ours}.levels.{level}.conv1", conv)
        if config.wiring == "resnet":
            yield Variable(
                f"{official}/Skip/weight", f"{ours}.levels.{level}.shortcut.weight", conv
            )
    yield from _plain("Output", f"{ours}.output", dense)


def _plain(official: str, ours: str, convert: Callable[[Tensor], Tensor]) -> Iterator[Variable]:
    yield Variable(f"{official}/weight", f"{ours}.weight", convert)
    yield Variable(f"{official}/bias", f"{ours}.bias", same)
