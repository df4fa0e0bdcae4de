"""Small named tensors in one file: safetensors whose bytes depend on nothing but their content.

safetensors stores numbers and text, so nothing executes when such a file is loaded. The library
writes its metadata in random order; a file whose hash names it must not change from save to save,
so the header is put in order here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from stylegan3d.errors import StyleGAN3DError

_LONGEST_HEADER = 100_000_000  # bytes; the format's own limit


def pack(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """Safetensors bytes of `tensors` and `metadata`; equal content gives equal bytes."""
    # safetensors writes an array's memory as it lies, so it must lie in C order.
    ordered = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
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
    """Tensors and metadata of a file whose metadata says it is of this `kind`.

    Raises
    ------
    StyleGAN3DError
        Of class `error`, if the bytes are damaged, are of another kind, or come from a later
        version of this program.
    """
    try:
        tensors = safetensors.numpy.load(data)
        metadata = _split(data)[0].get("__metadata__", {})
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError):
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


def kind_of(path: Path) -> str | None:
    """The kind that the metadata of a safetensors file names; None for any other file."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, _LONGEST_HEADER)))
        return header["__metadata__"]["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_bytes(path: Path, error: type[StyleGAN3DError]) -> bytes:
    """Content of the file, or one sentence of class `error` that says why it cannot be read."""
    try:
        return path.read_bytes()
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
