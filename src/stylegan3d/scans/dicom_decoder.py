"""Decode DICOM files in a process of their own, with limits on its memory and time.

GDCM is C++ that trusts files: a damaged or hostile one may crash it, keep it busy without end or
fill the memory. Here that ends the process that decodes (`dicom_process`), never the window. One
process is kept warm for the next file; intensities come back through its output, not by way of a
file, so that nothing of a patient is left on a disk.

Whether the lengths in a DICOM file can be true, found out before GDCM believes them.

GDCM sets memory aside for the length that an element claims and may spend minutes on a file whose
lengths are damaged. So the elements are walked through first: one that claims more bytes than the
file has left is refused. What the elements hold is of no interest here (PS3.5, chapter 7).
"""

from __future__ import annotations

import atexit
import io
import json
import math
import os
import queue
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from stylegan3d.base import Json, ScanError
from stylegan3d.storage.files import held_bytes
from stylegan3d.storage.formats import DICOM_MAGIC, DICOM_PREAMBLE

UNDEFINED = 0xFFFFFFFF
LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV"})
LONG_VRS |= {b"UC", b"UN", b"UR", b"UT", b"UV"}
IMPLICIT, DEFLATED, BIG = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.2"
PIXELS, REALS = (0x7FE0, 0x0010), ((0x7FE0, 0x0008), (0x7FE0, 0x0009))
ITEM, ITEM_END, SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
SYNTAX = (0x0002, 0x0010)
DEEPEST, MOST_ELEMENTS = 24, 1_000_000
#: Bytes of a file; one element has at most so many.
LARGEST_FILE = 2**32
#: A deflated image is this many times smaller than unpacked at most, or unpacks to `SMALL` bytes.
LARGEST_RATIO, SMALL, LARGEST_DEFLATED = 50, 16_000_000, 500_000_000


class _Untrue(Exception):
    """A length that the file does not have."""


@dataclass
class Budget:
    """What may still be spent on the files of one folder.

    Attributes
    ----------
    elements : int
        Elements to walk through; an examination of 20,000 files has some three million.
    unpacked : int
        Bytes that deflated files unpack to.
    ended : int
        Files that end the process which decodes them.
    """

    elements: int = 30_000_000
    unpacked: int = 4_000_000_000
    ended: int = 3

    @property
    def spent(self) -> bool:
        """Whether there is nothing left of one of them."""
        return min(self.elements, self.unpacked, self.ended) <= 0


@dataclass(frozen=True)
class Lengths:
    """What the lengths in a DICOM file say.

    Attributes
    ----------
    fit : bool
        Whether every element lies within the file. Pixel data may be cut short: that is told in
        words when they are read.
    pixels : int or None
        Bytes of pixel data as the file claims them; None of compressed ones.
    header : int
        Where the pixel data begin, in bytes from the file's start; 0 in a deflated file.
    """

    fit: bool
    pixels: int | None = None
    header: int = 0


def lengths_of(path: Path, budget: Budget) -> Lengths:
    """Walk through the elements of a DICOM file; what that takes is taken from the budget."""
    try:
        size = path.stat().st_size
        # Files of the kernel say that they are empty, and reading one may wait for ever.
        if not 0 < size <= LARGEST_FILE:
            return Lengths(False)
        with path.open("rb") as stream:
            return _walked(stream, size, budget)
    except (OSError, _Untrue, struct.error, zlib.error):
        return Lengths(False)


def _walked(stream: BinaryIO, size: int, budget: Budget) -> Lengths:
    stream.seek(DICOM_PREAMBLE)
    stream.seek(DICOM_PREAMBLE + 4 if stream.read(4) == DICOM_MAGIC else 0)
    begin = stream.tell()
    syntax = b""
    if stream.read(2) == b"\x02\0":
        stream.seek(begin)
        syntax = _meta(_Walk(stream, size, budget))
    else:
        stream.seek(begin)
    if syntax == DEFLATED:
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        most = min(LARGEST_DEFLATED, SMALL + LARGEST_RATIO * size, max(budget.unpacked, 1))
        data = unpacker.decompress(stream.read(), most)
        budget.unpacked -= len(data)
        if unpacker.unconsumed_tail:
            return Lengths(False)
        stream, size = io.BytesIO(data), len(data)
    start = stream.tell()
    head = stream.read(6)
    stream.seek(start)
    # Old files do not say it: a value representation is two capital letters.
    explicit = head[4:6].isupper() if not syntax else syntax != IMPLICIT
    walk = _Walk(stream, size, budget, explicit, ">" if syntax == BIG else "<")
    walk.elements(size, 0)
    return Lengths(True, walk.pixels, 0 if syntax == DEFLATED else walk.header)


def _meta(walk: _Walk) -> bytes:
    """Read the elements of group 2, which says how the others are written."""
    syntax = b""
    while (at := walk.stream.tell()) < walk.size:
        tag, vr, length = walk.head()
        if tag[0] != 2:
            walk.stream.seek(at)
            break
        if vr == b"SQ" or length > walk.size - walk.stream.tell():
            raise _Untrue
        value = walk.stream.read(length)
        syntax = value.strip(b" \0") if tag == SYNTAX else syntax
    return syntax


class _Walk:
    """Goes through elements, whose values it skips."""

    def __init__(
        self,
        stream: BinaryIO,
        size: int,
        budget: Budget,
        explicit: bool = True,
        order: str = "<",
    ) -> None:
        self.stream, self.size, self.explicit, self.order = stream, size, explicit, order
        self.left, self.budget = MOST_ELEMENTS, budget
        self.pixels: int | None = None
        self.header = size

    def head(self) -> tuple[tuple[int, int], bytes, int]:
        """Tag, value representation (empty if it is not given) and length of the next element."""
        self.left -= 1
        self.budget.elements -= 1
        if self.left < 0 or self.budget.elements < 0:
            raise _Untrue
        raw = self.stream.read(8)
        group, element = struct.unpack(f"{self.order}HH", raw[:4])
        vr = raw[4:6] if self.explicit and group != 0xFFFE else b""
        if vr in LONG_VRS:
            (length,) = struct.unpack(f"{self.order}I", self.stream.read(4))
        elif vr.isalpha() and vr.isupper():
            (length,) = struct.unpack(f"{self.order}H", raw[6:8])
        else:
            (length,) = struct.unpack(f"{self.order}I", raw[4:8])
        return (group, element), vr, length

    def elements(self, end: int, depth: int, *, marked: bool = False) -> None:
        """Those up to the byte `end`, or, if it is `marked`, up to the mark of an item's end."""
        if depth > DEEPEST:
            raise _Untrue
        while self.stream.tell() < end:
            tag, vr, length = self.head()
            if tag == ITEM_END and marked:
                return
            if depth == 0 and (tag == PIXELS or tag in REALS):
                self.header = min(self.header, self.stream.tell())
            # Other readers go on behind a mark where none belongs, or take floats for sequences.
            if tag in (ITEM, ITEM_END, SEQUENCE_END) or (tag in REALS and length == UNDEFINED):
                raise _Untrue
            if tag == PIXELS and length == UNDEFINED:
                self.fragments(end)
                continue
            if (tag == PIXELS or tag in REALS) and depth == 0:
                self.pixels = length
                if length > end - self.stream.tell():
                    return  # cut short, and nothing comes behind
            if length == UNDEFINED:
                self.sequence(end, depth + 1, explicit=vr != b"UN")
                continue
            if length > end - self.stream.tell():
                raise _Untrue
            if vr == b"SQ":
                self.sequence(self.stream.tell() + length, depth + 1, explicit=True)
            else:
                self.stream.seek(length, io.SEEK_CUR)

    def fragments(self, end: int) -> None:
        """Compressed pictures up to the mark of their end."""
        while self.stream.tell() < end:
            tag, _, length = self.head()
            if tag == SEQUENCE_END:
                return
            if tag != ITEM or length > end - self.stream.tell():
                raise _Untrue
            self.stream.seek(length, io.SEEK_CUR)

    def sequence(self, end: int, depth: int, *, explicit: bool) -> None:
        """Items up to the byte `end` or the mark of a sequence's end."""
        kept, self.explicit = self.explicit, self.explicit and explicit
        while self.stream.tell() < end:
            tag, _, length = self.head()
            if tag == SEQUENCE_END:
                break
            if tag != ITEM:
                raise _Untrue
            if length != UNDEFINED and length > end - self.stream.tell():
                raise _Untrue
            marked = length == UNDEFINED
            self.elements(end if marked else self.stream.tell() + length, depth, marked=marked)
        self.explicit = kept


#: Not imported: it is a script that loads GDCM, which nothing else here needs.
SCRIPT = Path(__file__).with_name("dicom_process.py")
#: Memory of the process: as much as a file of `MAX_VOXELS` takes. The program holds nothing of the
#: file meanwhile, so that reading takes at most 2.5 GB in both.
MOST_BYTES = 2_300_000_000
#: Seconds for one file, and how many of its bytes at least are read in one.
SECONDS, BYTES_PER_S = 8.0, 20_000_000
#: How often memory is looked at while an answer is waited for.
_LOOK_S = 0.2
_Answer = tuple[Json, bytearray]


class NotDecoded(ScanError):
    """A file that GDCM refuses, or that took the process down or to its limits.

    Attributes
    ----------
    ended : bool
        Whether the process had to be ended.
    """

    def __init__(self, message: str, *, ended: bool = False) -> None:
        super().__init__(message)
        self.ended = ended


class _Decoder:
    """One process, started when it is first asked and again after it ended."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.SimpleQueue[_Answer | None] = queue.SimpleQueue()
        self._owner = 0

    def start(self) -> subprocess.Popen[bytes]:
        """The process, which begins to load while its caller does something else."""
        process = self._process
        # A process that was forked off shares pipes with its parent, which would mix the answers.
        if process is not None and self._owner == os.getpid() and process.poll() is None:
            return process
        words = [sys.executable, "-P", str(SCRIPT), str(MOST_BYTES)]
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        self._process = process = subprocess.Popen(
            words,
            stdin=pipe,
            stdout=pipe,
            stderr=nowhere,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._owner, self._answers = os.getpid(), queue.SimpleQueue()
        assert process.stdout is not None
        threading.Thread(target=_pass_on, args=(process.stdout, self._answers), daemon=True).start()
        return process

    def ask(self, path: Path, request: dict[str, Any]) -> _Answer:
        """An answer about a file; NotDecoded if there is none within the limits."""
        with self._turn:
            process = self.start()
            line = json.dumps(request | {"path": str(path)}).encode() + b"\n"
            assert process.stdin is not None
            try:
                process.stdin.write(line)
                process.stdin.flush()
                answer, why = self._wait(process, _seconds_for(path))
            except OSError:
                answer, why = None, "ends the decoder"
            if answer is None:
                self.stop()
                raise NotDecoded(
                    f"{path} {why}: it is damaged or was made to do so; leave it out or export it "
                    "again.",
                    ended=True,
                )
        return answer

    def _wait(self, process: subprocess.Popen[bytes], seconds: float) -> tuple[_Answer | None, str]:
        """The answer, or why there is none."""
        import psutil

        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                answer = self._answers.get(timeout=_LOOK_S)
            except queue.Empty:
                try:
                    if psutil.Process(process.pid).memory_info().rss < MOST_BYTES:
                        continue
                except psutil.Error:
                    continue  # it has ended: its output says so in a moment
                return None, f"takes more than {MOST_BYTES / 1e9:.3g} GB of memory to decode"
            return answer, "crashes the decoder"
        return None, f"takes more than {seconds:.0f} s to decode"

    def stop(self) -> None:
        """End the process, if it is ours."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:  # what was not sent yet
                    continue


def _seconds_for(path: Path) -> float:
    try:
        return SECONDS + held_bytes(path) / BYTES_PER_S
    except OSError:
        return SECONDS


def _pass_on(output: IO[bytes], answers: queue.SimpleQueue[_Answer | None]) -> None:
    """Read answers, for which a pipe cannot be waited with a limit on every system."""
    try:
        for line in output:
            told = json.loads(line)
            pixels = bytearray(told["bytes"])
            if output.readinto(pixels) != len(pixels):  # type: ignore[attr-defined]
                break
            answers.put((told, pixels))
    except (OSError, ValueError, KeyError, MemoryError):
        pass  # closed, or cut short by the end of the process
    answers.put(None)


_decoder = _Decoder()
atexit.register(_decoder.stop)


def warm_up() -> None:
    """Start the process, so that it loads while files are looked for."""
    with _decoder._turn:
        _decoder.start()


def header_of(path: Path, tags: Sequence[str]) -> Json:
    """What GDCM reads of a file's header.

    Returns
    -------
    dict
        `header` (tag to text, of those that are there), `shape` (columns, rows …) and
        `components`.

    Raises
    ------
    NotDecoded
        If it is not an image (a report, a directory), or ends the process.
    """
    told, _ = _decoder.ask(path, {"pixels": False, "tags": list(tags)})
    if "failed" in told:
        raise NotDecoded(f"{path} is not a DICOM image that can be read; give another file.")
    return told


def pixels_of(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """The intensities of a file, float32 (columns, rows, frames), rescaled.

    Raises
    ------
    NotDecoded
        If they cannot be decoded, or are of another shape.
    """
    told, pixels = _decoder.ask(path, {"pixels": True})
    if told.get("memory"):
        raise NotDecoded(
            f"{path} takes more than {MOST_BYTES / 1e9:.3g} GB of memory to decode; give a smaller "
            "series, or export it again."
        )
    if "failed" in told or len(pixels) != 4 * math.prod(shape):
        raise NotDecoded(
            f"{path} is damaged or cut short and cannot be read (its pixel data cannot be "
            "decoded); copy or export it again."
        )
    return np.frombuffer(pixels, np.float32).reshape(shape[::-1]).T
