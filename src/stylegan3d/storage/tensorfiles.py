"""Small named tensors in one file: safetensors whose bytes depend on nothing but their content.

safetensors stores numbers and text, so nothing executes when such a file is loaded. The library
writes its metadata in random order; a file whose hash names it must not change from save to save,
so the header is put in order here.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from stylegan3d.base import Json, StyleGAN3DError
from stylegan3d.storage.files import read_file
from stylegan3d.storage.jsontext import LARGEST, from_json

#: Bytes of a file that is read whole; the largest that this program writes has some 100 MB.
LARGEST_FILE = 2 * 1024**3
#: Bytes of all arrays of a packed file: a mask, a bias field and more of the largest head scan.
LARGEST_UNPACKED = 4_000_000_000

#: What safetensors, JSON and numpy raise for bytes that are not what they should be.
_BROKEN = (
    safetensors.SafetensorError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
)


def pack(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """Safetensors bytes of `tensors` and `metadata`; equal content gives equal bytes."""
    # safetensors writes an array's raw memory, so it must be in C order.
    ordered = {name: np.asarray(values, order="C") for name, values in tensors.items()}
    data = safetensors.numpy.save(ordered, metadata=dict(metadata))
    header, body = _split(data)
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
    except ValueError:  # a NUL in the name
        raise error(f"{path} is not a valid file name: choose another file.") from None
    except FileNotFoundError:
        raise error(f"{path} does not exist: check its name and folder.") from None
    except IsADirectoryError:
        raise error(f"{path} is a folder: choose a file in it.") from None
    except PermissionError:
        raise error(f"{path} may not be read: ask for permission or choose another file.") from None
    except OSError as reason:
        raise error(f"{path} cannot be read ({reason.strerror}): choose another file.") from None


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
