"""Checks of plain data from JSON: numbers, and the fields of a recipe's parts."""

from __future__ import annotations

import dataclasses
from typing import Any

from stylegan3d.errors import RecipeError
from stylegan3d.plain import Json
from stylegan3d.storage.jsontext import finite_number, short_repr


def mapping(data: Any, called: str) -> Json:
    """`data`, if it is a JSON object; RecipeError otherwise."""
    if not isinstance(data, dict):
        raise RecipeError(f"A {called} must be a JSON object in braces.")
    return data


def check_fields(data: Json, kind: type, called: str) -> None:
    """Raise RecipeError if `data` has a field that the dataclass `kind` lacks."""
    known = [part.name for part in dataclasses.fields(kind)]
    for name in data:
        if name not in known:
            raise RecipeError(
                f"A {called} has no field {short_repr(name)}: it has {', '.join(known)}."
            )


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
    """Plain data without unset fields."""
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [without_none(item) for item in value]
    return value


def finite(value: Any, called: str) -> float:
    """A finite number as float; RecipeError, naming the value `called`, for anything else."""
    number = finite_number(value)
    if number is None:
        raise RecipeError(f"{called} must be a finite number, not {short_repr(value)}.")
    return number
