"""Names of files that any of the three systems can store, and paths that another one wrote."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

#: Names of devices on Windows, which no file can have, whatever its extension.
#: https://learn.microsoft.com/windows/win32/fileio/naming-a-file
RESERVED = {
    *("con", "prn", "aux", "nul", "conin$", "conout$"),
    *(f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"),
}
#: Characters that Windows forbids in names; control characters are excluded everywhere.
FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
#: Bytes of a scan's own name in those of its outputs: with what is put after it, and for a moment
#: before it, less than the 255 that file systems store.
LONGEST_STEM = 150
ON_WINDOWS = os.name == "nt"


def same_place(name: str) -> str:
    """Equal for names that one of the systems takes for the same: A and a, both spellings of é."""
    return unicodedata.normalize("NFC", name).casefold()


def last_part(path: str) -> str:
    """The last part of a path of any system: C:\\t\\a.nii and /t/a.nii give a.nii."""
    return PureWindowsPath(PurePosixPath(path).name).name


def is_absolute(path: str) -> bool:
    """Whether a text is an absolute path of any system."""
    return PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute()


def without_folders(value: Any, paths: Iterable[str] = ()) -> Any:
    """A plain value as it may be handed on: files by their names, without where they lay.

    Folders name patients, users and hospitals. The folders of every absolute path that is a text of
    its own in `value`, and those of `paths`, are cut out of all texts, also of sentences.
    """
    told = {path for path in (*paths, *_texts(value)) if is_absolute(path)}
    folders = {
        str(folder) + mark
        for path in told
        for kind, mark in ((PurePosixPath, "/"), (PureWindowsPath, "\\"))
        if kind(path).is_absolute()
        for folder in kind(path).parents
        if len(folder.parts) > 1
    }
    if not folders:
        return value
    longest_first = sorted(folders, key=len, reverse=True)
    return _cut(value, re.compile("|".join(map(re.escape, longest_first))), told)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _texts(part)


def _cut(value: Any, folders: re.Pattern[str], paths: set[str]) -> Any:
    if isinstance(value, str):
        return last_part(value) if value in paths else folders.sub("", value)
    if isinstance(value, dict):
        return {key: _cut(part, folders, paths) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cut(part, folders, paths) for part in value]
    return value


def portable(stem: str) -> str:
    """A name as near to `stem` as every system stores it.

    What Windows forbids becomes a dash, a device's name gets one, spaces and dots at the end go,
    and what is too long is cut and told apart by a digest. Letters of every script stay.
    """
    name = FORBIDDEN.sub("-", stem).rstrip(" .")
    base, dot, rest = name.partition(".")
    if base.rstrip().lower() in RESERVED:
        name = f"{base}-{dot}{rest}"
    encoded = name.encode(errors="surrogateescape")
    if len(encoded) > LONGEST_STEM:
        digest = hashlib.sha256(encoded).hexdigest()[:8]
        kept = encoded[: LONGEST_STEM - 9].decode(errors="ignore")
        name = f"{kept.rstrip(' .')}-{digest}"
    return name


def wrong_on_windows(name: str) -> str:
    """Why Windows could not store a file of this name, in a clause; empty if it can."""
    if found := FORBIDDEN.search(name):
        return f"{found[0]!r} cannot be part of a name on Windows"
    if name.partition(".")[0].rstrip().lower() in RESERVED:
        return "Windows keeps this name for a device"
    if name != name.rstrip(" ."):
        return "a name cannot end in a space or a dot on Windows"
    return ""
