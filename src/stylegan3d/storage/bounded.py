"""Read files that may come from anyone: regular ones alone, and no more of them than is useful.

Opening a pipe or reading a device may wait for ever, a file of the kernel may have no end, and one
with holes may be larger than the memory without taking any room on a disk.

The hash that names files: of scans, latents, directions.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from stylegan3d.errors import ScanError
from stylegan3d.plain import Json

#: Of a larger file with a higher compression ratio, or of which fewer than one byte in so many was
#: ever written, hardly anything is more than zeros.
SUSPICIOUS, LARGEST_RATIO = 2**28, 100
#: Bytes of a text: a table of 100,000 people has some ten million.
LARGEST_TEXT = 64_000_000


def read_file(path: Path, largest: int) -> bytes:
    """The content of a regular file of at most `largest` bytes.

    Raises
    ------
    OSError
        If it is none, larger, or cannot be read; the reason as `strerror`.
    """
    about = os.stat(path)
    if stat.S_ISDIR(about.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device", str(path))
    if about.st_size > largest:
        size = f"it has {about.st_size / 1e6:,.0f} MB, more than such a file can have"
        raise OSError(errno.EFBIG, size, str(path))
    with open(path, "rb") as stream:
        # No more than its stated size: some files of the kernel are endless. That of the opened
        # file, which may have taken the place of the other meanwhile.
        return stream.read(min(os.fstat(stream.fileno()).st_size, largest))


def read_text(path: Path, largest: int = LARGEST_TEXT) -> str:
    """The text of such a file, in UTF-8, with a mark at the beginning or without.

    Raises
    ------
    OSError, UnicodeDecodeError
        If it cannot be read, or is no such text.
    """
    return read_file(path, largest).decode("utf-8-sig")


def held_bytes(path: Path) -> int:
    """Bytes of a file that lie on a disk: fewer than its size where it has holes."""
    about = os.stat(path)
    blocks = getattr(about, "st_blocks", None)  # of 512 bytes; Windows does not count them
    return about.st_size if blocks is None else min(about.st_size, 512 * blocks)


def check_holes(path: Path) -> None:
    """Refuse a large file that consists of holes: it would be read, or hashed, without end.

    Raises
    ------
    ScanError
        If it is one.
    OSError
        If it is missing.
    """
    length = path.stat().st_size
    if length > SUSPICIOUS and length > LARGEST_RATIO * held_bytes(path):
        raise ScanError(
            f"{path} has {length / 1e9:.2g} GB, almost none of which were ever written; it is "
            "damaged or was made to fill the memory: copy or export it again."
        )


def read_rows(path: Path) -> list[Json]:
    """The rows of a table with tabs between its columns, whose first row names them.

    Raises
    ------
    OSError, UnicodeDecodeError, csv.Error
        If it cannot be read, or is no such table.
    """
    return list(csv.DictReader(io.StringIO(read_text(path), newline=""), delimiter="\t"))


def table_text(rows: Iterable[Iterable[object]], separator: str = ",") -> str:
    """A table as text: one line for each row, the first of which names the columns."""
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows(rows)
    return text.getvalue()


def separator_of(text: str) -> str:
    """Tab, semicolon or comma: what separates the cells of a table's first row."""
    return max("\t;,", key=text.split("\n", 1)[0].count)


def reason(error: Exception) -> str:
    """Why a file cannot be read, for a sentence that names it already."""
    return getattr(error, "strerror", None) or str(error)


PIECE = 2**20


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes, read in pieces.

    Reads no more than its stated size: some kernel files are endless.

    Raises
    ------
    ScanError
        If it is large and consists of holes.
    OSError
        If it cannot be read.
    """
    check_holes(path)
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        left = os.fstat(stream.fileno()).st_size
        while left > 0 and (piece := stream.read(min(left, PIECE))):
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()
