"""Networks of the original 3D-StyleGAN (Hong et al. 2021), from the files its training wrote.

Such a file is a pickle of the three networks (G, D, Gs), Gs being the moving average that makes
the images. It is read as data (`pickle_data`), its variables become parameters of our networks, and
what the original does differently are settings of those. TensorFlow is not needed, and nothing that
the file carries is run.

Names: the original stores a convolution as [k0, k1, k2, in, out] and a dense layer as [in, out],
without the scale of 1 / sqrt(fan in), which its networks apply at run time as ours do.

Architecture: sizes are read from the variables' shapes, the one place that cannot be wrong. What
the settings (`static_kwargs`) say of them is compared; what shapes do not tell (filter,
normalisation, group size) is taken from the settings, and where those are silent from the
original's defaults. Settings come out of a file that anybody may have made: each is checked before
it is used, and none is walked through more than one level deep.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stylegan3d.base import Json, JsonView, ModelError
from stylegan3d.checkpoints.folder import ModelFiles
from stylegan3d.checkpoints.pickle_data import (
    Array,
    Network,
    Refused,
    printable,
    quoted,
    read_pickle,
)
from stylegan3d.geometry.space import Frame, assumed_frame
from stylegan3d.networks.config import DiscriminatorConfig, GeneratorConfig, Grid, Wiring
from stylegan3d.storage.encoding import read_bytes
from stylegan3d.storage.formats import is_kind

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
        yield from _as_it_is(f"mapping/Dense{i}", f"mapping.layers.{i}", (inputs, outputs), dense)
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
    # The original adds the 1, about which styles vary, at run time; ours is in the bias.
    yield Variable(f"{official}/mod_bias", f"{style}.bias", (inputs,), lambda x: x + 1)
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
            yield from _as_it_is(f"{official}/FromImage", f"{ours}.from_image.{level}", image, conv)
        if not level:
            kernel = (3, 3, 3, coarsest + config.mbstd_channels, coarsest)
            yield from _as_it_is(f"{official}/Conv", f"{ours}.conv", kernel, conv)
            flat = (coarsest * math.prod(config.base), config.dense_width)
            yield from _as_it_is(f"{official}/Dense0", f"{ours}.dense", flat, dense)
            continue
        below, module = channels[level - 1], f"{ours}.levels.{level}"
        kernel = (3, 3, 3, width, width)
        yield from _as_it_is(f"{official}/Conv0", f"{module}.conv0", kernel, conv)
        kernel = (3, 3, 3, width, below)
        yield from _as_it_is(f"{official}/Conv1_down", f"{module}.conv1", kernel, conv)
        if config.wiring == "resnet":
            skip = (1, 1, 1, width, below)
            yield Variable(f"{official}/Skip/weight", f"{module}.shortcut.weight", skip, conv)
    scores = (config.dense_width, max(config.label_dim, 1))
    yield from _as_it_is("Output", f"{ours}.output", scores, dense)


def _as_it_is(
    official: str, ours: str, shape: tuple[int, ...], convert: Convert
) -> Iterator[Variable]:
    yield Variable(f"{official}/weight", f"{ours}.weight", shape, convert)
    yield Variable(f"{official}/bias", f"{ours}.bias", shape[-1:], same)


Settings = JsonView

UNSUPPORTED = "this program opens networks of the original 3D-StyleGAN only"
INCOMPLETE = "copy it again, or save the network again with the original program"
LONGEST_TEXT = 100
DEFAULT_KERNEL = (1.0, 3.0, 3.0, 3.0, 1.0)
MOST_TAP, LEAST_SUM = 1e6, 1e-6


def compare(settings: Settings, network: str, shapes: Mapping[str, Any]) -> None:
    """Refuse a setting that contradicts the variables' shapes."""
    for name, found in shapes.items():
        given = plain_value(settings.get(name))
        if given is not None and given != found:
            text = quoted(str(given)) if isinstance(given, (str, int, float)) else "another value"
            raise Refused(
                f"has a {network} whose setting '{name}' is {text} where its variables say "
                f"'{found}'",
                INCOMPLETE,
            )


def only_leaky_relu(settings: Settings) -> None:
    """Refuse a network with another activation."""
    for name in ("nonlinearity", "mapping_nonlinearity"):
        value = settings.get(name, "lrelu")
        if value != "lrelu":
            text = quoted(value) if type(value) is str else "that is not text"
            raise Refused(f"has a {name} {text}, and only 'lrelu' is supported", UNSUPPORTED)


def kernel_taps(settings: Settings) -> tuple[float, ...] | None:
    """Taps of the low-pass filter; None if the network was made without one."""
    value = plain_value(settings.get("resample_kernel", list(DEFAULT_KERNEL)))
    if value is None:
        return None
    numbers = type(value) is list and 1 < len(value) <= 64 and all(map(is_number, value))
    # Only their ratios count; a low-pass filter passes a constant, so their sum is positive.
    if not numbers or max(map(abs, value)) > MOST_TAP or not sum(value) > LEAST_SUM:
        raise Refused(
            "has a 'resample_kernel' that is not the taps of one axis, 2 to 64 numbers with a "
            "positive sum",
            UNSUPPORTED,
        )
    return tuple(float(v) for v in value)


def setting(settings: Settings, name: str, default: Any) -> Any:
    """A setting of the default's type: a positive number, a count, or true or false."""
    value = plain_value(settings.get(name, default))
    fits, what = {
        float: (is_number(value) and 0 < value <= 1e3, "no positive number"),
        int: (type(value) is int and 0 <= value <= 10**6, "no count"),
        bool: (type(value) is bool, "neither true nor false"),
    }[type(default)]
    if not fits:
        raise Refused(f"has a setting '{name}' that is {what}", UNSUPPORTED)
    return type(default)(value)


def is_number(value: Any) -> bool:
    """Whether it is one finite number."""
    return type(value) in (int, float) and math.isfinite(value)


def plain_value(value: Any) -> Any:
    """A setting as Python would write it: numpy's numbers and arrays, tuples as lists.

    Only one level deep, for the file may nest values without end.
    """
    if type(value) is Array and value.values is not None and value.values.size <= 64:
        value = value.values.tolist()
    if type(value) in (list, tuple) and len(value) <= 64:
        items = [_scalar(item) for item in value]
        return items if all(map(is_number, items)) else "a list of other things"
    if type(value) is str:
        return value[:LONGEST_TEXT]
    return value if is_number(value) or type(value) in (bool, type(None)) else "something else"


def _scalar(value: Any) -> Any:
    if type(value) is Array and value.values is not None and value.values.size == 1:
        return value.values.item()
    return value


Variables = dict[str, np.ndarray]

# Of the two-dimensional filter, kept by the original in three dimensions.
UPSAMPLE_GAIN = 4.0
LARGEST_SIDE = 1024
_GRID = re.compile(r"(\d{1,4})x(\d{1,4})x(\d{1,4})")


def generator_config(
    variables: Variables, settings: Settings, mapping: Settings
) -> GeneratorConfig:
    """Architecture of a generator.

    Parameters
    ----------
    variables : Variables
        Names as in the file, with `mapping/` and `synthesis/` in front.
    settings, mapping : Settings
        `static_kwargs` of the synthesis and of the mapping network, each with those of the
        generator behind them.

    Raises
    ------
    Refused
        If a part is missing, settings and shapes contradict each other, or something is asked for
        that the original's published networks do not have.
    """
    only_leaky_relu(settings)
    only_leaky_relu(mapping)
    base = _const_grid(variables)
    levels = _count_levels(variables, base, "synthesis/{}/Conv1/weight")
    labels = _shape(variables, "mapping/LabelConcat/weight", 2, optional=True)
    layers = _mapping_shapes(variables)
    finest = f"synthesis/{_scope(base, levels - 1)}"
    plain = [f"{_scope(base, i)}/{'Conv1' if i else 'Conv'}" for i in range(levels)]
    channels = [_shape(variables, f"synthesis/{name}/weight", 5)[-1] for name in plain]
    inputs = layers[0][0]
    if labels and inputs <= labels[1]:
        raise Refused("has a mapping network that does not fit its labels", INCOMPLETE)
    widths = {shape[1] for shape in layers[:-1]}
    if len(widths) > 1:
        raise Refused("has mapping layers of different widths", UNSUPPORTED)
    finer, coarsest = f"synthesis/{_side(base, 1)}", f"synthesis/{base_scope(base)}/ToRGB"
    wiring = _wiring(variables, levels, finer, coarsest)
    config = _checked(
        GeneratorConfig,
        base=base,
        channels=tuple(channels),
        z_dim=inputs - labels[1] if labels else inputs,
        w_dim=layers[-1][1],
        image_channels=_shape(variables, f"{finest}/ToRGB/weight", 5)[-1],
        wiring=wiring,
        mapping_layers=len(layers),
        mapping_lr_multiplier=setting(mapping, "mapping_lrmul", 0.01),
        mapping_width=widths.pop() if widths else 0,
        normalize_z=setting(mapping, "normalize_latents", True),
        label_dim=labels[0] if labels else 0,
        resample_kernel=kernel_taps(settings) or (1.0, 1.0),
        upsample_gain=UPSAMPLE_GAIN,
        image_upsampling="nearest",
    )
    compare(
        mapping,
        "generator",
        {
            "label_size": config.label_dim,
            "latent_size": config.z_dim,
            "dlatent_size": config.w_dim,
            "mapping_layers": config.mapping_layers,
            "dlatent_broadcast": config.num_layers,
            **({"mapping_fmaps": config.mapping_width} if config.mapping_width else {}),
        },
    )
    _compare_image(settings, "generator", config, levels)
    return config


def discriminator_config(variables: Variables, settings: Settings) -> DiscriminatorConfig:
    """Architecture of a discriminator; see `generator_config`."""
    only_leaky_relu(settings)
    base = _dense_grid(variables)
    levels = _count_levels(variables, base, "{}/Conv0/weight")
    coarsest = _shape(variables, f"{scope(base)}/Conv/weight", 5)
    fine = [_shape(variables, f"{_side(base, i)}/Conv0/weight", 5)[-1] for i in range(1, levels)]
    output = _shape(variables, "Output/weight", 2)
    statistics = coarsest[-2] - coarsest[-1]
    kernel = kernel_taps(settings)
    labels = setting(settings, "label_size", output[1] if output[1] > 1 else 0)
    uneven = statistics > 0 and coarsest[-1] % statistics > 0
    if statistics < 0 or uneven or output[1] != max(labels, 1):
        raise Refused("has a discriminator whose layers do not fit each other", INCOMPLETE)
    config = _checked(
        DiscriminatorConfig,
        base=base,
        channels=(coarsest[-1], *fine),
        image_channels=_shape(variables, f"{_side(base, levels - 1)}/FromImage/weight", 5)[-2],
        wiring=_wiring(variables, levels, _side(base, 1), f"{scope(base)}/FromImage"),
        label_dim=labels,
        mbstd_group=max(setting(settings, "mbstd_group_size", 4), 1),
        mbstd_channels=statistics,
        dense_width=output[0],
        resample_kernel=kernel or (1.0, 1.0),
        # Without a filter the original still averages before its strided convolutions.
        down_kernel=() if kernel else (1.0,) * 6,
        image_downsampling="shifted",
    )
    if statistics:
        compare(settings, "discriminator", {"mbstd_num_features": statistics})
    _compare_image(settings, "discriminator", config, levels)
    return config


def _checked(kind: Any, **fields: Any) -> Any:
    try:
        return kind(**fields)
    except ModelError as error:
        raise Refused("has no network that can be built", INCOMPLETE) from error


def _side(base: Grid, level: int) -> str:
    return scope((base[0] * 2**level, base[1] * 2**level, base[2] * 2**level))


def _scope(base: Grid, level: int) -> str:
    """Scope of a level of the synthesis network."""
    return _side(base, level) if level else base_scope(base)


def _const_grid(variables: Variables) -> Grid:
    """The base grid: shape and scope of the constant input must agree."""
    names = [name for name in variables if name.endswith("/Const/const")]
    if len(names) != 1:
        raise Refused("has no synthesis network with a constant input", UNSUPPORTED)
    a, b, c = _shape(variables, names[0], 5)[2:]
    if names[0] != f"synthesis/{base_scope((a, b, c))}/Const/const":
        raise Refused("has a constant input that does not fit its name", INCOMPLETE)
    return a, b, c


def _dense_grid(variables: Variables) -> Grid:
    """The discriminator's base grid, from the name of its dense layer, checked by its size."""
    names = [name for name in variables if name.endswith("/Dense0/weight")]
    match = _GRID.fullmatch(names[0].removesuffix("/Dense0/weight")) if len(names) == 1 else None
    if match is None:
        raise Refused("has a discriminator without a dense layer on its base grid", UNSUPPORTED)
    a, b, c = (int(n) for n in match.groups())
    width = _shape(variables, f"{names[0].split('/')[0]}/Conv/weight", 5)[-1]
    if scope((a, b, c)) != match[0] or _shape(variables, names[0], 2)[0] != a * b * c * width:
        raise Refused("has a discriminator whose layers do not fit each other", INCOMPLETE)
    return a, b, c


def _count_levels(variables: Variables, base: Grid, layer: str) -> int:
    """The base, and each level with a layer such as "{}/Conv0/weight"."""
    levels = 1
    while layer.format(_side(base, levels)) in variables:
        levels += 1
    if max(base) * 2 ** (levels - 1) > LARGEST_SIDE:
        raise Refused(f"makes volumes of more than {LARGEST_SIDE} voxels along a side", UNSUPPORTED)
    return levels


def _mapping_shapes(variables: Variables) -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = []
    while f"mapping/Dense{len(shapes)}/weight" in variables:
        shapes.append(_shape(variables, f"mapping/Dense{len(shapes)}/weight", 2))
    if not shapes:
        raise Refused("has no mapping network", UNSUPPORTED)
    return shapes


def _shape(
    variables: Variables, name: str, axes: int, *, optional: bool = False
) -> tuple[int, ...]:
    """Shape of a variable with so many axes; () for one that may be missing and is."""
    if name not in variables:
        if optional:
            return ()
        raise Refused(f"lacks the variable {quoted(name)}", INCOMPLETE)
    shape = variables[name].shape
    if len(shape) != axes or min(shape) < 1:
        raise Refused(
            f"has the variable {quoted(name)} of shape {shape}, not with {axes} axes", UNSUPPORTED
        )
    return shape


def _wiring(variables: Variables, levels: int, finer: str, base: str) -> Wiring:
    """Told by layers that only one wiring has; with one level all are the same."""
    if levels > 1 and f"{finer}/Skip/weight" in variables:
        return "resnet"
    return "skip" if levels > 1 and f"{base}/weight" in variables else "orig"


def _compare_image(
    settings: Settings, network: str, config: GeneratorConfig | DiscriminatorConfig, levels: int
) -> None:
    """The settings that both networks have."""
    shapes: dict[str, Any] = {
        "num_channels": config.image_channels,
        "label_size": config.label_dim,
        "base_size": list(config.base),
    }
    if levels > 1:  # with one level all wirings are the same
        shapes["architecture"] = config.wiring
    compare(settings, network, shapes)
    resolution = plain_value(settings.get("resolution"))
    if resolution is None:
        return
    # The original's rule, for a base of 4 voxels: log2 of the image's shortest side.
    sides = int(resolution / min(config.base) * 4) if is_number(resolution) else 0
    if sides < 1 or int(math.log2(sides)) - 1 != levels:
        raise Refused(
            f"has a {network} whose setting 'resolution' does not fit its {levels} levels",
            INCOMPLETE,
        )


ORIGIN = (
    "Trained with the original 3D-StyleGAN (Hong et al. 2021, arXiv 2107.09700); read from its "
    "network file without TensorFlow."
)
INTENDED_USE = "Research and teaching. Synthetic: not for diagnosis."
LICENCE = "Unknown: the terms of whoever trained the network"
DESCRIPTION = (
    "The network file does not say where its voxels lie; the axes and the voxel size are {how}."
)


def official_card(
    path: Path,
    digest: str,
    config: GeneratorConfig,
    judge: DiscriminatorConfig | None,
    settings: Settings,
) -> Json:
    """The card of a network file, its space assumed.

    Parameters
    ----------
    digest : str
        SHA-256 of the file.
    config, judge : GeneratorConfig, DiscriminatorConfig or None
        Of the generator, and of the discriminator if the file holds one.
    settings : Settings
        `static_kwargs` of the generator and its parts.
    """
    shape = config.image_grids[-1]
    return {
        "name": re.sub(r"[^\w.+-]+", "-", path.stem)[:60] or "official",
        "modality": "MR",
        "architecture": {
            "generator": config.to_dict(),
            "discriminator": judge.to_dict() if judge else None,
            "encoder": None,
        },
        "space": frame_entry(assumed_frame(shape), shape, assumed=True),
        "intensity": {"network_range": [-1, 1]},
        "training_data": [],
        "licence": LICENCE,
        "intended_use": INTENDED_USE,
        "origin": {
            "program": "3D-StyleGAN",
            "description": ORIGIN,
            "file": printable(path.name),
            "sha256": digest,
            "settings": {
                printable(name[:LONGEST_TEXT]): _shown(value) for name, value in settings.items()
            },
        },
    }


def _shown(value: Any) -> Any:
    plain = plain_value(value)
    return printable(plain) if type(plain) is str else plain


def frame_entry(frame: Frame, shape: tuple[int, int, int], *, assumed: bool) -> Json:
    """`card["space"]` of a generator whose file does not contain its geometry.

    Its `frame` means that the frame can be changed, `assumed` that it has not been confirmed.
    """
    return {
        "shape": list(shape),
        "affine": frame.space(shape).affine.tolist(),
        "axes": frame.axes,
        "frame": str(frame),
        "assumed": assumed,
        "description": DESCRIPTION.format(
            how="assumed, as FreeSurfer conforms scans" if assumed else "the user's"
        ),
    }


LARGEST_FILE = 2 * 1024**3  # bytes; the networks of Hong et al. have less than 100 MB
VERSIONS = (2, 3, 4)  # of the networks' state
# Variables that training wrote and no image depends on.
IGNORED = ("lod",)


def is_official(path: Path) -> bool:
    """Whether a file is a pickle, by its name or its first byte."""
    # Files of our own models may begin with any byte.
    if not path.is_file() or not path.stat().st_size or is_kind(path, "tensors", "record"):
        return False
    if is_kind(path, "checkpoint"):
        return True
    try:
        with path.open("rb") as file:
            return file.read(1) == b"\x80"
    except OSError:
        return False


def read_official(path: Path) -> ModelFiles:
    """Read a network file of the original 3D-StyleGAN.

    Parameters
    ----------
    path : Path
        The pickle of (G, D, Gs); one generator alone will do.

    Returns
    -------
    ModelFiles
        What a model folder of ours would hold. The space in its card is assumed, for the file does
        not say where its voxels lie; see `geometry.space.Frame`.

    Raises
    ------
    ModelError
        If the file is damaged, asks for anything but data, or holds another network.
    """
    if path.exists() and path.stat().st_size > LARGEST_FILE:
        raise ModelError(
            f"'{path.name}' has {path.stat().st_size / 1024**3:.1f} GiB, more than any network of "
            "the original 3D-StyleGAN; choose such a network's file."
        )
    data = read_bytes(path, ModelError)
    try:
        return _read(path, data)
    except Refused as refused:
        raise ModelError(f"'{path.name}' {refused.reason}: {refused.advice}.") from refused


def _read(path: Path, data: bytes) -> ModelFiles:
    generator, discriminator = _choose(read_pickle(data))
    parts = _components(generator)
    variables = _variables(generator, len(data), ignored=IGNORED)
    for name, part in parts.items():
        found = _variables(part, len(data))
        variables |= {f"{name}/{local}": values for local, values in found.items()}
    own = _settings(generator)
    mapping, synthesis = ({**own, **_settings(parts[name])} for name in ("mapping", "synthesis"))
    config = generator_config(variables, synthesis, mapping)
    tensors = _convert(variables, generator_variables(config))
    judge = None
    if discriminator is not None:
        judged = _settings(discriminator)
        variables = _variables(discriminator, len(data), ignored=IGNORED)
        judge = discriminator_config(variables, judged)
        _check_pair(config, judge)
        tensors |= _convert(variables, discriminator_variables(judge))
    digest = hashlib.sha256(data).hexdigest()
    card = official_card(path, digest, config, judge, {**mapping, **synthesis})
    return ModelFiles(None, card, tensors, None, digest)


def _choose(root: Any) -> tuple[Network, Network | None]:
    """The generator to use, Gs where there is one, and the discriminator."""
    networks = list(root) if type(root) in (tuple, list) else [root]
    if not 1 <= len(networks) <= 3 or not all(type(n) is Network for n in networks):
        raise Refused("does not hold the networks (G, D, Gs)", UNSUPPORTED)
    for network in networks:
        version = network.state.get("version")
        if type(version) is not int or version not in VERSIONS:
            raise Refused("holds a network of an unknown version", UNSUPPORTED)
    generators = [n for n in networks if _components(n)]
    others = [n for n in networks if not _components(n)]
    if not generators:
        raise Refused("holds no generator with a mapping and a synthesis network", UNSUPPORTED)
    if len(others) > 1:
        raise Refused("holds more than one discriminator", UNSUPPORTED)
    # The moving average is the last of (G, D, Gs).
    return generators[-1], others[0] if others else None


def _components(network: Network) -> dict[str, Network]:
    """Mapping and synthesis network of a generator; empty for a discriminator."""
    parts = network.state.get("components", {})
    if type(parts) is not dict or not all(type(part) is Network for part in parts.values()):
        raise Refused("holds a network whose parts are not networks", INCOMPLETE)
    if parts and sorted(parts) != ["mapping", "synthesis"]:
        raise Refused("holds a generator of other parts than mapping and synthesis", UNSUPPORTED)
    return parts


def _settings(network: Network) -> Settings:
    settings = network.state.get("static_kwargs", {})
    if type(settings) is not dict:
        raise Refused("holds a network with invalid settings", INCOMPLETE)
    return settings


def _variables(network: Network, size: int, ignored: tuple[str, ...] = ()) -> Variables:
    """A network's own variables by name; together no larger than the file of `size` bytes."""
    found: Variables = {}
    items = network.state.get("variables")
    if type(items) is not list:
        raise Refused("holds a network without variables", INCOMPLETE)
    total = 0
    for item in items:
        if type(item) not in (tuple, list) or len(item) != 2 or type(item[0]) is not str:
            raise Refused("holds a network whose variables have no names", INCOMPLETE)
        name, value = item
        if name in ignored:
            continue
        values = value.values if type(value) is Array else None
        if name in found or values is None or values.dtype.kind != "f":
            raise Refused(f"has no array of numbers for the variable {quoted(name)}", INCOMPLETE)
        total += values.nbytes
        if total > size:
            # Possible only if many variables share the same bytes of the file.
            raise Refused("holds networks larger than itself", UNSUPPORTED)
        found[name] = values
    return found


def _convert(variables: Variables, table: Iterable[Variable]) -> dict[str, Tensor]:
    """Our tensors; each variable must have the shape in the table, and none may be left over."""
    tensors: dict[str, Tensor] = {}
    left = set(variables)
    rows = list(table)
    # A network built without noise lacks its strengths, but never some of them.
    silent = not any(row.noise and row.official in variables for row in rows)
    for row in rows:
        if row.noise and silent:
            tensors[row.ours] = torch.zeros(row.shape)
            continue
        if row.official not in variables:
            raise Refused(f"lacks the variable {quoted(row.official)}", INCOMPLETE)
        left.discard(row.official)
        values = variables[row.official]
        if values.shape != row.shape:
            raise Refused(
                f"has the variable {quoted(row.official)} of shape {values.shape}, and the rest of "
                f"the network fits {row.shape}",
                INCOMPLETE,
            )
        tensors[row.ours] = row.convert(_tensor(row.official, values)).contiguous()
    if left:
        name = quoted(sorted(left)[0])
        raise Refused(f"has the variable {name}, which is not known", UNSUPPORTED)
    return tensors


def _tensor(name: str, values: np.ndarray) -> Tensor:
    """A float32 copy in this machine's byte order."""
    with np.errstate(over="ignore"):
        tensor = torch.from_numpy(values.astype(np.dtype("=f4"), order="C", copy=True))
    if not bool(torch.isfinite(tensor).all()):
        raise Refused(
            f"has infinite or undefined numbers in the variable {quoted(name)}",
            "its training had failed by then, so choose an earlier snapshot",
        )
    return tensor


def _check_pair(generator: GeneratorConfig, judge: DiscriminatorConfig) -> None:
    """Refuse a discriminator that cannot look at the generator's volumes."""
    finest = tuple(n * 2 ** (len(judge.channels) - 1) for n in judge.base)
    same = (finest, judge.image_channels, judge.label_dim) == (
        generator.image_grids[-1],
        generator.image_channels,
        generator.label_dim,
    )
    if not same:
        raise Refused("holds a discriminator that does not fit its generator", INCOMPLETE)
