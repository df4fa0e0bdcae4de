"""The architecture of official networks, from their variables and stored settings.

Sizes are read from the variables' shapes, the one place that cannot be wrong. What the settings
(`static_kwargs`) say of them is compared; what shapes do not tell (filter, normalisation, group
size) is taken from the settings, and where those are silent from the original's defaults.

Reading `static_kwargs`, the settings that an official network was built with.

Values come out of a file that anybody may have made: each is checked before it is used, and none
is walked through more than one level deep.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from stylegan3d.checkpoints.official_names import base_scope, scope
from stylegan3d.checkpoints.pickle_data import Array, Refused, quoted
from stylegan3d.errors import ModelError
from stylegan3d.networks.config import DiscriminatorConfig, GeneratorConfig, Grid, Wiring
from stylegan3d.plain import JsonView

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
            text = quoted(value) if type(value) is str else "that is no text"
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


def number(settings: Settings, name: str, default: float) -> float:
    """A setting that is a positive number."""
    value = plain_value(settings.get(name, default))
    if not is_number(value) or not 0 < value <= 1e3:
        raise Refused(f"has a setting '{name}' that is no positive number", UNSUPPORTED)
    return float(value)


def integer(settings: Settings, name: str, default: int) -> int:
    """A setting that counts something."""
    value = plain_value(settings.get(name, default))
    if type(value) is not int or not 0 <= value <= 10**6:
        raise Refused(f"has a setting '{name}' that is no count", UNSUPPORTED)
    return value


def flag(settings: Settings, name: str, default: bool) -> bool:
    """A setting that is true or false."""
    value = plain_value(settings.get(name, default))
    if type(value) is not bool:
        raise Refused(f"has a setting '{name}' that is neither true nor false", UNSUPPORTED)
    return value


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


Variables = Mapping[str, np.ndarray]

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
        Names as in `official_names`, with `mapping/` and `synthesis/` in front.
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
    levels = _count_levels(variables, base)
    labels = _shape(variables, "mapping/LabelConcat/weight", 2, optional=True)
    layers = _mapping_shapes(variables)
    finest = f"synthesis/{_scope(base, levels - 1)}"
    channels = [
        _shape(variables, f"synthesis/{_plain(base, i)}/weight", 5)[-1] for i in range(levels)
    ]
    inputs = layers[0][0]
    if labels and inputs <= labels[1]:
        raise Refused("has a mapping network that does not fit its labels", INCOMPLETE)
    widths = {shape[1] for shape in layers[:-1]}
    if len(widths) > 1:
        raise Refused("has mapping layers of different widths", UNSUPPORTED)
    wiring = _generator_wiring(variables, base, levels)
    config = _checked(
        GeneratorConfig,
        base=base,
        channels=tuple(channels),
        z_dim=inputs - labels[1] if labels else inputs,
        w_dim=layers[-1][1],
        image_channels=_shape(variables, f"{finest}/ToRGB/weight", 5)[-1],
        wiring=wiring,
        mapping_layers=len(layers),
        mapping_lr_multiplier=number(mapping, "mapping_lrmul", 0.01),
        mapping_width=widths.pop() if widths else 0,
        normalize_z=flag(mapping, "normalize_latents", True),
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
    levels = 1
    while f"{_side(base, levels)}/Conv0/weight" in variables:
        levels += 1
    _check_size(base, levels)
    coarsest = _shape(variables, f"{scope(base)}/Conv/weight", 5)
    fine = [_shape(variables, f"{_side(base, i)}/Conv0/weight", 5)[-1] for i in range(1, levels)]
    output = _shape(variables, "Output/weight", 2)
    statistics = coarsest[-2] - coarsest[-1]
    kernel = kernel_taps(settings)
    labels = integer(settings, "label_size", output[1] if output[1] > 1 else 0)
    uneven = statistics > 0 and coarsest[-1] % statistics > 0
    if statistics < 0 or uneven or output[1] != max(labels, 1):
        raise Refused("has a discriminator whose layers do not fit each other", INCOMPLETE)
    config = _checked(
        DiscriminatorConfig,
        base=base,
        channels=(coarsest[-1], *fine),
        image_channels=_shape(variables, f"{_side(base, levels - 1)}/FromImage/weight", 5)[-2],
        wiring=_discriminator_wiring(variables, base, levels),
        label_dim=labels,
        mbstd_group=max(integer(settings, "mbstd_group_size", 4), 1),
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


def _plain(base: Grid, level: int) -> str:
    return f"{_scope(base, level)}/{'Conv1' if level else 'Conv'}"


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


def _count_levels(variables: Variables, base: Grid) -> int:
    levels = 1
    while f"synthesis/{_side(base, levels)}/Conv1/weight" in variables:
        levels += 1
    _check_size(base, levels)
    return levels


def _check_size(base: Grid, levels: int) -> None:
    if max(base) * 2 ** (levels - 1) > LARGEST_SIDE:
        raise Refused(f"makes volumes of more than {LARGEST_SIDE} voxels along a side", UNSUPPORTED)


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


def _generator_wiring(variables: Variables, base: Grid, levels: int) -> Wiring:
    if levels > 1 and f"synthesis/{_side(base, 1)}/Skip/weight" in variables:
        return "resnet"
    skip = levels > 1 and f"synthesis/{base_scope(base)}/ToRGB/weight" in variables
    return "skip" if skip else "orig"


def _discriminator_wiring(variables: Variables, base: Grid, levels: int) -> Wiring:
    if levels > 1 and f"{_side(base, 1)}/Skip/weight" in variables:
        return "resnet"
    skip = levels > 1 and f"{scope(base)}/FromImage/weight" in variables
    return "skip" if skip else "orig"


def _compare_image(
    settings: Settings,
    network: str,
    config: GeneratorConfig | DiscriminatorConfig,
    levels: int,
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
