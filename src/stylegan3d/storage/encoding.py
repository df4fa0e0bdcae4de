"""JSON and small tensors as bytes.

JSON as this package writes it: plain, valid (no NaN), and pleasant to read. And as it reads it:
from strangers, with bounds on length and depth.

Small named tensors in one file are safetensors whose bytes depend on nothing but their content.
safetensors stores numbers and text, so nothing executes when such a file is loaded. The library
writes its metadata in random order; a file whose hash names it must not change from save to save,
so the header is put in order here.
"""

import dataclasses
import json
import math
import numbers
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from stylegan3d.base import Json, StyleGAN3DError
from stylegan3d.storage.files import read_file, reason, utf8

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
    if not text.strip():
        raise ValueError("it is empty")
    if text.count("[") + text.count("{") > MOST_PARTS:
        raise ValueError(f"the text has more than {MOST_PARTS:,} parts")
    try:
        unusual = (lambda _: None) if nan_is_none else _no_number
        value = json.loads(text, parse_float=partial(_finite, unusual), parse_constant=unusual)
    except RecursionError:
        raise ValueError("the text is nested too deeply") from None
    _check_depth(value)
    if _SURROGATE.search(text):
        json.dumps(value, ensure_ascii=False).encode(errors="surrogateescape")  # or ValueError
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
    return utf8(text).decode() + "\n"


def is_int(value: Any) -> bool:
    """Whether a value is a whole number; a truth value is none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def finite_number(value: Any) -> float | None:
    """A finite number as float; None for anything else, truth values and huge integers included."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
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


#: Bytes of a file that is read whole; the largest that this program writes has some 100 MB.
LARGEST_FILE = 2 * 1024**3
#: Bytes of all arrays of a packed file: a mask, a bias field and more of the largest head scan.
LARGEST_UNPACKED = 4_000_000_000

#: What safetensors, JSON and numpy raise for bytes that are not what they should be.
_BROKEN = (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OverflowError)


def pack(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """Safetensors bytes of `tensors` and `metadata`; equal content gives equal bytes."""
    # safetensors writes an array's raw memory, so it must be in C order.
    ordered = {name: np.asarray(values, order="C") for name, values in tensors.items()}
    header, body = _split(safetensors.numpy.save(ordered, metadata=dict(metadata)))
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the format asks for data aligned to eight bytes
    return len(text).to_bytes(8, "little") + text + body


def unpack(
    data: bytes,
    *,
    kind: str,
    path: Path,
    error: type[StyleGAN3DError],
    versions: Sequence[str] = ("1",),
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Tensors and metadata of a file of this `kind`.

    Raises
    ------
    StyleGAN3DError
        Of class `error`, if the bytes are damaged, are of another kind, or come from a later
        version of this program.
    """
    try:
        metadata = _header(data).get("__metadata__") or {}
        tensors = safetensors.numpy.load(data)
    except _BROKEN:
        raise error(
            f"{path} is damaged or is not a safetensors file: choose a {kind} file written by "
            "stylegan3d."
        ) from None
    found = metadata.get("kind", "safetensors file of another program")
    if found != kind:
        raise error(f"{path} is a {found}, not a {kind}: choose a {kind} file.")
    if metadata.get("version") not in versions:
        raise error(
            f"{path} was written by a later version of stylegan3d "
            f"(format {metadata.get('version')}): update this program to read it."
        )
    return tensors, metadata


def packed_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays for a cache, compressed; `read_arrays` reads them."""
    # safetensors writes an array's raw memory, so it must be in C order.
    ordered = {name: np.require(values, requirements="C") for name, values in arrays.items()}
    return zlib.compress(safetensors.numpy.save(ordered))


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, np.ndarray] | None:
    """The arrays of these names in a file of `packed_arrays`; None if it has not all of them.

    What is missing, damaged or would be unpacked to something huge counts as not there.
    """
    try:
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(read_file(path, LARGEST_FILE), LARGEST_UNPACKED)
        if not unpacking.eof:
            return None
        found = safetensors.numpy.load(data)
        return {name: found[name] for name in names}
    except (OSError, MemoryError, zlib.error, *_BROKEN):
        return None


def kind_of(path: Path) -> str | None:
    """The kind that the metadata of a safetensors file names; None for any other file."""
    try:
        if not path.is_file() or not path.stat().st_size:  # a pipe would be waited for for ever
            return None
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > LARGEST:
                return None
            kind = from_json(file.read(length))["__metadata__"]["kind"]
        return kind if isinstance(kind, str) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_bytes(path: Path, error: type[StyleGAN3DError], largest: int = LARGEST_FILE) -> bytes:
    """Content of the file, or an `error` with the reason in one sentence.

    Pipes and devices, which may never end, are refused, as are files of more than `largest` bytes.
    """
    try:
        return read_file(path, largest)
    except FileNotFoundError:
        raise error(f"{path} does not exist: check its name and folder.") from None
    except IsADirectoryError:
        raise error(f"{path} is a folder: choose a file in it.") from None
    except ValueError:  # a NUL in the name
        raise error(f"{path} is not a valid file name: choose another file.") from None
    except PermissionError:
        raise error(f"{path} may not be read: ask for permission or choose another file.") from None
    except OSError as wrong:
        raise error(f"{path} cannot be read ({reason(wrong)}): choose another file.") from None


def _split(data: bytes) -> tuple[dict, bytes]:
    """The JSON header and the tensor data of safetensors bytes."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _header(data: bytes) -> Json:
    """The JSON header of safetensors bytes; ValueError if there is none of a sensible length."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not length or length > min(LARGEST, len(data) - 8):
        raise ValueError("no header")
    header = from_json(data[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError("no header")
    return header
