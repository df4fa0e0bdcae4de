"""Arrays out of `.npz` files, with what the file claims compared to what it holds first.

numpy sets memory aside for the shape that an array's header names before it has seen a byte of it,
and unpacks whatever a zip file holds.
"""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import numpy as np

#: Bytes of all arrays of a file together: a mask, a bias field and more of the largest head scan.
LARGEST = 4_000_000_000
MOST_ARRAYS = 1000
#: Bytes of the header of an array; numpy itself reads no more than 10,000 of its description.
LONGEST_HEADER = 16_384
#: What `read_arrays` raises for anything that is no such file.
BROKEN = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    RuntimeError,
    SyntaxError,
    ArithmeticError,
    MemoryError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_arrays(path: Path, names: Iterable[str], largest: int = LARGEST) -> dict[str, np.ndarray]:
    """The arrays of these names.

    Parameters
    ----------
    path : Path
        A file that `numpy.savez` or `numpy.savez_compressed` wrote.
    names : iterable of str
        Names of the arrays to read; others are left alone.
    largest : int
        Bytes that they may have together.

    Raises
    ------
    One of `BROKEN`
        If the file is none, lacks an array, or claims more than it holds or may hold.
    """
    if not path.is_file():  # opening a pipe would wait for ever
        raise FileNotFoundError(path)
    with zipfile.ZipFile(path) as archive:
        if len(archive.infolist()) > MOST_ARRAYS:
            raise ValueError("too many arrays")
        left = largest
        found = {}
        for name in names:
            info = archive.getinfo(f"{name}.npy")
            left -= info.file_size
            if left < 0 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("more data than such a file can hold")
            with archive.open(info) as stream:
                found[name] = _array(stream, info.file_size, name)
        return found


def _array(stream: IO[bytes], size: int, name: str) -> np.ndarray:
    """The array of an `.npy` file of `size` bytes; no objects, nothing behind its end."""
    start = io.BytesIO(stream.read(LONGEST_HEADER))
    version = np.lib.format.read_magic(start)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(start)
    else:
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(start)
    begin, count = start.tell(), math.prod(shape)
    if dtype.hasobject or count * dtype.itemsize != size - begin:
        raise ValueError(f"the array {name} does not match its header")
    data = start.getvalue() + stream.read()
    values = np.frombuffer(data, dtype, count, begin)
    return values.reshape(shape, order="F" if fortran else "C").copy()
