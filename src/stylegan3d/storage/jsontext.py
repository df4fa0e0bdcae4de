"""JSON as this package writes it: plain, valid (no NaN), and pleasant to read.

And as it reads it: from strangers, with bounds on length and depth.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from stylegan3d.storage.files import read_file

# An indented list of numbers alone. A JSON string holds no raw line break, so text cannot match.
_NUMBERS = re.compile(r"\[\n\s*(-?[\d.eE+-]+(?:,\n\s*-?[\d.eE+-]+)*)\n\s*\]")

#: Bytes of a text that is read. A card has some 30 kB, a recipe with many edits some thousand.
LARGEST = 16_000_000
#: How deep lists and objects may nest; nothing this package writes has more than ten levels.
DEEPEST = 50
#: Lists and objects of one text: an empty list takes two bytes there and thirty times that here.
MOST_PARTS = 4_000_000
#: Digits of a whole number in a text; Python refuses to read thousands of them.
LONGEST_NUMBER = 40
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


def from_json(text: str | bytes, largest: int = LARGEST, *, nan_is_none: bool = False) -> Any:
    """Parse a JSON text.

    Parameters
    ----------
    text : str or bytes
        As it was read; bytes are UTF-8, with a mark at the beginning or without.
    largest : int
        The longest text that is read, in bytes or characters.
    nan_is_none : bool
        Take NaN and Infinity, which JSON lacks but Python writes, for null.

    Raises
    ------
    ValueError
        If it is no JSON, too long, nested too deeply, or holds what cannot be written again
        (halves of surrogate pairs, numbers beyond those of a float).
    """
    if len(text) > largest:
        raise ValueError(f"the text has {len(text):,} characters, more than {largest:,}")
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    if text.count("[") + text.count("{") > MOST_PARTS:
        raise ValueError(f"the text has more than {MOST_PARTS:,} parts")
    try:
        unusual = _none if nan_is_none else _no_number
        value = json.loads(text, parse_float=partial(_finite, unusual), parse_constant=unusual)
    except RecursionError:
        raise ValueError("the text is nested too deeply") from None
    _check_depth(value)
    if _SURROGATE.search(text):
        json.dumps(value, ensure_ascii=False).encode()  # UnicodeEncodeError is a ValueError
    return value


def read_json(path: Path, largest: int = LARGEST, *, nan_is_none: bool = False) -> Any:
    """`from_json` of a file.

    Raises
    ------
    OSError
        If it is no regular file, larger, or cannot be read.
    ValueError
        If it is no JSON that may be read.
    """
    return from_json(read_file(path, largest), largest, nan_is_none=nan_is_none)


def _none(_constant: str) -> None:
    return None


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is not a finite number")


def _finite(unusual: Callable[[str], Any], number: str) -> float | None:
    value = float(number)
    return value if math.isfinite(value) else unusual(number[:LONGEST_NUMBER])


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            part
            for item in level
            if isinstance(item, (dict, list))
            for part in (item.values() if isinstance(item, dict) else item)
            if isinstance(part, (dict, list))
        ]
        if not level:
            return
    raise ValueError("the text is nested too deeply")


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


def without_none(value: Any) -> Any:
    """Plain data without unset fields."""
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [without_none(item) for item in value]
    return value


def to_json(value: Any) -> str:
    """`value` as indented JSON that ends in a line break; lists of numbers stay on one line."""
    text = json.dumps(to_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    text = _NUMBERS.sub(lambda match: "[" + re.sub(r",\n\s*", ", ", match[1]) + "]", text)
    return text + "\n"


def is_int(value: Any) -> bool:
    """Whether a value is a whole number; a truth value is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def finite_number(value: Any) -> float | None:
    """A finite number as float; None for anything else, truth values and huge integers included."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def short_repr(value: Any) -> str:
    """A value for a message: as Python writes it, but not long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits; a list in itself
        return f"a {type(value).__name__} that cannot be written"
    return text if len(text) <= 60 else f"{text[:60]}…"
