"""Plain data, as JSON gives it: what is a number, and which fields a part of a recipe has."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from stylegan3d.errors import RecipeError

#: Digits of a whole number in a text; Python refuses to read thousands of them.
LONGEST_NUMBER = 40


def mapping(data: Any, called: str) -> dict[str, Any]:
    """`data`, if it is a JSON object; RecipeError otherwise."""
    if not isinstance(data, dict):
        raise RecipeError(f"A {called} must be a JSON object in braces.")
    return data


def check_fields(data: dict[str, Any], kind: type, called: str) -> None:
    """RecipeError if `data` has a field that the dataclass `kind` lacks."""
    known = [part.name for part in dataclasses.fields(kind)]
    for name in data:
        if name not in known:
            raise RecipeError(f"A {called} has no field {told(name)}: it has {', '.join(known)}.")


def build(kind: Any, data: Any, called: str) -> Any:
    """The dataclass `kind` with the fields in `data`."""
    check_fields(mapping(data, called), kind, called)
    required = [
        part.name
        for part in dataclasses.fields(kind)
        if part.default is dataclasses.MISSING and part.name not in data
    ]
    if required:
        raise RecipeError(f"This {called} lacks {' and '.join(required)}: add it.")
    return kind(**data)


def without_none(value: Any) -> Any:
    """Plain data without what is not set."""
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [without_none(item) for item in value]
    return value


def is_int(value: Any) -> bool:
    """Whether a value is a whole number; a truth value is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def finite(value: Any, called: str) -> float:
    """A finite number as float; RecipeError, with the value `called` so, for anything else."""
    number = finite_number(value)
    if number is None:
        raise RecipeError(f"{called} must be a finite number, not {told(value)}.")
    return number


def finite_number(value: Any) -> float | None:
    """A finite number as float; None for anything else, truth values and huge integers included."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def told(value: Any) -> str:
    """A value for a message: as Python writes it, but not long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits; a list in itself
        return f"a {type(value).__name__} that cannot be written"
    return text if len(text) <= 60 else f"{text[:60]}…"
