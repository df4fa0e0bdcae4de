"""Reading `static_kwargs`, the settings that an official network was built with.

Values come out of a file that anybody may have made: each is checked before it is used, and none
is walked through more than one level deep.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from stylegan3d.checkpoints.pickle_values import Array, Refused, quoted
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
