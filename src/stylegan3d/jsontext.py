"""JSON as this package writes it: plain, valid (no NaN), and pleasant to read."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# An indented list of numbers alone. A JSON string holds no raw line break, so text cannot match.
_NUMBERS = re.compile(r"\[\n\s*(-?[\d.eE+-]+(?:,\n\s*-?[\d.eE+-]+)*)\n\s*\]")


def to_plain(value: Any) -> Any:
    """`value` in JSON's own types: arrays become lists, paths strings, NaN and infinity None.

    Raises
    ------
    TypeError
        If a part of `value` has no plain form.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if hasattr(value, "detach"):  # a tensor, without importing torch to find out
        value = value.detach().cpu()
    if hasattr(value, "tolist"):
        return to_plain(value.tolist())
    raise TypeError(f"{type(value).__name__} has no JSON form")


def to_json(value: Any) -> str:
    """`value` as indented JSON that ends in a line break; lists of numbers stay on one line."""
    text = json.dumps(to_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    text = _NUMBERS.sub(lambda match: "[" + re.sub(r",\n\s*", ", ", match[1]) + "]", text)
    return text + "\n"
