"""Ways to spoil files: bytes, headers, JSON, archives. The same seed always spoils the same way.

A file is `bytes`, or one of the things that may lie where a file is expected: `Link`, `PIPE`,
`FOLDER`. `Files` are those of one sample by their names.
"""

from __future__ import annotations

import copy
import gzip
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import nibabel as nib
import numpy as np


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    to: str


PIPE, FOLDER = object(), object()
File = object  # bytes, Link, PIPE or FOLDER
Files = dict[str, File]
Mutator = Callable[[random.Random, bytes], bytes]

WHOLE = (0, 1, -1, 2**7, 2**15 - 1, 2**15, 2**16 - 1, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1)
REAL = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-30, 1e5, 3e38, 1e300, np.nan, np.inf, -np.inf)
NAMES = (
    "../../../../etc/passwd",
    "/etc/passwd",
    "C:\\Windows\\win.ini",
    "\\\\server\\share\\x.safetensors",
    "a\0b",
    "\x1b[2J\x1b]0;owned\x07",
    "x" * 5000,
    "",
    ".",
    "..",
    "{0.__class__}%s%n",
    "<img src='file:///etc/passwd'>",
    "\u202egpj.exe",
    "/dev/zero",
)
ODD = (
    *(None, True, False, 0, 1, -1, 0.5, -0.0, 1e308, -1e308, 2**31, 2**53, 2**64, -(2**64)),
    *(
        10**400,
        10**4000,
        "",
        " ",
        "NaN",
        [],
        {},
        [[]],
        [None],
        {"": None},
        [0] * 1000,
        "x" * 100000,
    ),
    *NAMES,
)
QUOTES = ("'", '"', "\\", "%", "%zz", "\n")
#: Texts that Python's JSON can write only by hand.
RAW = (
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "9" * 5000,
        '"\\ud800"',
        '"\\udfff\\ud800"',
    ),
    *("[" * 100_000, '{"a":' * 100_000, "[" * 300 + "]" * 300, '{"a":' * 100 + "1" + "}" * 100),
    *("[" + "[]," * 200_000 + "[]]", "nul", "'x'", "1e-999", "0" * 100, "\ufeff1"),
)


def spoil_bytes(rng: random.Random, data: bytes) -> bytes:
    """One to four of the ways in which transfers, disks and people damage bytes."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(_BYTE_WAYS)(rng, data)
    return data


def _flip(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20)) if out else 0):
        out[_place(rng, len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _place(rng: random.Random, size: int) -> int:
    """A byte, more often one of the header."""
    return rng.randrange(min(size, rng.choice((16, 128, 512, size))))


def _overwrite(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    at, length = _place(rng, max(len(out), 1)), rng.choice((1, 2, 4, 8, 64, 500))
    fill = rng.choice((b"\0", b"\xff", b" ", b"A", b"\x80"))
    out[at : at + length] = rng.choice((fill * length, rng.randbytes(length)))
    return bytes(out[: len(data)])


def _number(rng: random.Random, data: bytes) -> bytes:
    """A number of 1, 2, 4 or 8 bytes at an aligned place, set to an extreme."""
    size = rng.choice((1, 2, 4, 4, 8))
    if len(data) < size:
        return data
    if size >= 4 and rng.random() < 0.4:
        packed = struct.pack(rng.choice("<>") + ("f" if size == 4 else "d"), _real(rng, size))
    else:
        value = rng.choice(WHOLE) % 2 ** (8 * size)
        packed = value.to_bytes(size, rng.choice(("little", "big")))
    at = _place(rng, len(data) - size + 1) // size * size
    return data[:at] + packed + data[at + size :]


def _real(rng: random.Random, size: int) -> float:
    value = rng.choice(REAL)
    return value if size == 8 or not np.isfinite(value) else float(np.clip(value, -3e38, 3e38))


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.choice((0, 1, rng.randrange(len(data) + 1), _place(rng, len(data) or 1)))]


def _move(rng: random.Random, data: bytes) -> bytes:
    """Delete, insert, repeat or exchange a piece."""
    size = max(len(data), 1)
    at, other = _place(rng, size), _place(rng, size)
    length = rng.choice((1, 2, 7, 64, 512))
    piece = data[at : at + length]
    return rng.choice(
        (
            data[:at] + data[at + length :],
            data[:at] + rng.randbytes(length) + data[at:],
            data[:at] + piece * rng.choice((2, 3, 50)) + data[at + length :],
            data[:other] + piece + data[other + length :],
        )
    )


def _append(rng: random.Random, data: bytes) -> bytes:
    return data + rng.choice((b"\0" * 100_000, rng.randbytes(33), data))


_BYTE_WAYS: tuple[Mutator, ...] = (_flip, _flip, _overwrite, _number, _number, _cut, _move, _append)


def spoil_json(rng: random.Random, data: bytes) -> bytes:
    """JSON with values exchanged for odd ones, or texts that are hardly JSON."""
    if rng.random() < 0.2:
        return spoil_bytes(rng, data)
    value = json.loads(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        value = _spoil_value(rng, value)
    try:
        text = json.dumps(value)
    except ValueError:  # an integer of more digits than Python writes
        text = json.dumps(None)
    while f'"{_MARK}"' in text:
        text = text.replace(f'"{_MARK}"', rng.choice(RAW), 1)
    return text.encode("utf-8", "surrogatepass")


_MARK = "raw-text-goes-here"


def _spoil_value(rng: random.Random, value: object) -> object:
    if not isinstance(value, (dict, list)):
        return rng.choice(ODD)
    value = copy.deepcopy(value)
    places: list[tuple[object, object]] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        keys = list(item) if isinstance(item, dict) else range(len(item))  # type: ignore[arg-type]
        # A long list of numbers would take all the choices.
        for key in list(keys)[:200] if not isinstance(item, list) else list(keys)[:8]:
            places.append((item, key))
            if isinstance(item[key], (dict, list)):  # type: ignore[index]
                waiting.append(item[key])  # type: ignore[index]
    if not places:
        return rng.choice(ODD)
    home, key = rng.choice(places)
    way = rng.random()
    if way < 0.15:
        del home[key]  # type: ignore[attr-defined]
    elif way < 0.3:
        home[key] = _MARK  # type: ignore[index]
    elif way < 0.4:
        home[key] = home[rng.choice(list(home) if isinstance(home, dict) else range(len(home)))]  # type: ignore
    elif way < 0.5 and isinstance(home, dict):
        home[rng.choice((*NAMES, "extra"))] = rng.choice(ODD)
    elif way < 0.6 and isinstance(home[key], str):  # type: ignore[index]
        text = home[key]  # type: ignore[index]
        home[key] = rng.choice((text[: len(text) // 2], text * 3, text[::-1], text + "\0"))  # type: ignore
    else:
        home[key] = rng.choice(ODD)  # type: ignore[index]
    return value


def spoil_safetensors(rng: random.Random, data: bytes) -> bytes:
    """Safetensors whose header says something else, also in the JSON inside its metadata."""
    way = rng.random()
    if way < 0.3:
        return spoil_bytes(rng, data)
    length = int.from_bytes(data[:8], "little")
    header, body = data[8 : 8 + length], data[8 + length :]
    if way < 0.6:
        plain = json.loads(header)
        about = plain.get("__metadata__", {})
        key = rng.choice(list(about) or ["kind"])
        try:
            about[key] = spoil_json(rng, about[key].encode()).decode("utf-8", "replace")
        except (ValueError, KeyError):
            about[key] = rng.choice((*NAMES, "nan", "-1", "1e999", "[" * 10000))
        header = json.dumps(plain).encode()
    elif way < 0.75:
        body = _numbers_spoiled(rng, body)
    else:
        header = spoil_json(rng, header)
    claimed = len(header) if rng.random() < 0.85 else rng.choice((0, 1, 2**31, 2**62, 2**64 - 1))
    return claimed.to_bytes(8, "little") + header + body


def _numbers_spoiled(rng: random.Random, body: bytes) -> bytes:
    """NaN, infinity, huge and tiny values among numbers of 2 or 4 bytes."""
    kind = rng.choice(("<f4", "<f2"))
    size = np.dtype(kind).itemsize
    values = np.frombuffer(body[: len(body) // size * size], kind).copy()
    if not values.size:
        return body
    chosen = np.random.RandomState(rng.randrange(2**32)).randint(0, values.size, 5)
    with np.errstate(over="ignore"):
        values[chosen] = rng.choice(REAL)
        if rng.random() < 0.2:
            values[:] = rng.choice(REAL)
    return values.tobytes() + body[values.nbytes :]


def spoil_nifti(rng: random.Random, data: bytes) -> bytes:
    """A NIfTI file with fields of its header at extremes, or its numbers, or its bytes."""
    way = rng.random()
    if way < 0.25:
        return spoil_bytes(rng, data)
    kind = nib.Nifti1Header if data[:4] == b"\x5c\x01\0\0" else nib.Nifti2Header
    if way < 0.35:
        return data[:352] + _numbers_spoiled(rng, data[352:])
    table = np.frombuffer(data[: kind.sizeof_hdr], kind.template_dtype).copy()
    for _ in range(rng.choice((1, 1, 2, 4))):
        name = rng.choice(table.dtype.names)
        field = table[name]
        if field.dtype.kind == "S":
            table[name] = rng.choice((b"", b"n+1", b"ni1", b"n+2", rng.randbytes(8), b"\x1b[2J"))
            continue
        whole = field.dtype.kind in "iu"
        value = rng.choice(WHOLE) if whole else rng.choice(REAL)
        if whole:
            info = np.iinfo(field.dtype)
            value = min(max(value, info.min), info.max)
        with np.errstate(over="ignore"):
            if field.ndim > 1 and rng.random() < 0.7:
                table[name][0, rng.randrange(field.shape[1])] = value
            else:
                table[name] = value
    return table.tobytes() + data[kind.sizeof_hdr :]


def spoil_gzip(inner: Mutator) -> Mutator:
    """Compressed bytes spoiled before or after compression."""

    def spoil(rng: random.Random, data: bytes) -> bytes:
        if rng.random() < 0.3:
            return spoil_bytes(rng, data)
        return gzip.compress(inner(rng, gzip.decompress(data)), 1, mtime=0)

    return spoil


def spoil_zip(inner: dict[str, Mutator]) -> Mutator:
    """An archive with spoiled members (by their ending), other names, or spoiled bytes."""

    def spoil(rng: random.Random, data: bytes) -> bytes:
        way = rng.random()
        if way < 0.3:
            return spoil_bytes(rng, data)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        chosen = rng.choice(list(members))
        ending = chosen.rpartition(".")[2]
        if way < 0.75 and ending in inner:
            members[chosen] = inner[ending](rng, members[chosen])
        elif way < 0.8:
            del members[chosen]
        elif way < 0.9:
            name = rng.choice(NAMES).replace("\0", "") or "x"
            members[rng.choice((name, name + chosen, f"../{chosen}"))[:60_000]] = members.pop(
                chosen
            )
        else:
            members[rng.choice(NAMES).replace("\0", "") or "y"] = b"x"
        buffer = io.BytesIO()
        kinds = (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
        with zipfile.ZipFile(buffer, "w", rng.choice(kinds[: rng.choice((1, 1, 4))])) as archive:
            for name, content in members.items():
                archive.writestr(zipfile.ZipInfo(name), content, archive.compression)
        return buffer.getvalue()

    return spoil


def spoil_table(rng: random.Random, data: bytes) -> bytes:
    """A table of text with other cells, rows or separators."""
    if rng.random() < 0.3:
        return spoil_bytes(rng, data)
    lines = data.decode().splitlines()
    for _ in range(rng.choice((1, 2, 5))):
        row = rng.randrange(len(lines))
        separator = "\t" if "\t" in lines[row] else ","
        cells = lines[row].split(separator)
        way = rng.random()
        if way < 0.6:
            odd = (*NAMES, "nan", "inf", "-inf", "1e999", "9" * 5000, '"', '"' * 3, "x" * 200_000)
            cells[rng.randrange(len(cells))] = rng.choice((*odd, "\u0663", "1,5", "=1+1", "0x10"))
        elif way < 0.75:
            cells = rng.choice(([], cells[:-1], [*cells, "1"], cells * 100))
        elif way < 0.85:
            separator = rng.choice(",;\t|\0")
        else:
            lines.insert(row, lines[rng.randrange(len(lines))])
        lines[row] = separator.join(cells)
    text = rng.choice(("\n", "\r\n", "\r", "\0\n")).join(lines)
    return text.encode(rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16")), "replace")


def spoil_text(rng: random.Random, data: bytes) -> bytes:
    """Text with characters exchanged, cut, repeated."""
    text = data.decode("utf-8", "replace")
    at = rng.randrange(len(text) + 1)
    return rng.choice(
        (
            spoil_bytes(rng, data),
            text[:at].encode(),
            (text[:at] + rng.choice((*NAMES, *QUOTES)) + text[at:]).encode(),
            (text * rng.choice((2, 100))).encode(),
            text.replace(rng.choice('{}":,[]%0'), rng.choice('{}":,[]%0')).encode(),
        )
    )


def gzip_bomb(start: bytes, megabytes: int) -> bytes:
    """A valid beginning, then zeros: 20 MB of it make 20 GB."""
    return gzip.compress(start, mtime=0) + _zeros() * (megabytes // 16)


@cache
def _zeros() -> bytes:
    return gzip.compress(bytes(2**24), 9, mtime=0)


def zip_bomb(name: str, start: bytes, megabytes: int) -> bytes:
    """An archive with one member of zeros behind a valid beginning."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(name, "w", force_zip64=True) as stream,
    ):
        stream.write(start)
        for _ in range(megabytes // 16):
            stream.write(bytes(2**24))
    return buffer.getvalue()


def mask_bomb(megabytes: int) -> bytes:
    """Zeros in the way that masks are packed, a few thousandths of their size."""
    packer = zlib.compressobj(1)
    pieces = [packer.compress(bytes(2**20)) for _ in range(megabytes)]
    return b"".join([*pieces, packer.flush()])
