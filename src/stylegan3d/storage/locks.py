"""Folder locks: a run locks the folder it writes to, and records its owner.

The lock is the system's own and ends with the process, however that ends: a run that was killed
holds nobody up. Where a file system has no locks, the process that is named in the file counts, as
long as it runs.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from stylegan3d.errors import OutputError
from stylegan3d.storage.files import output_errors

#: The file in a folder that is held.
LOCK = ".lock"
#: Windows keeps others from reading what is locked: one byte far behind the text is.
_FAR = 2**30
_UNSUPPORTED = {
    getattr(errno, name) for name in ("ENOLCK", "ENOSYS", "EOPNOTSUPP", "ENOTSUP", "EINVAL")
}
_HOLDER = re.compile(r"process (\d+) on (\S+), since \d{4}-\d\d-\d\d \d\d:\d\d")


class NoLocks(Exception):
    """The file system does not support locks."""


@contextmanager
def only_run(folder: Path, lock: Path | None = None) -> Iterator[None]:
    """Hold an output folder for the length of the block; it is made if it is missing.

    Parameters
    ----------
    folder : Path
        The folder, which a message names.
    lock : Path, optional
        The file that holds it, by default `.lock` in it; removed at the end.

    Raises
    ------
    OutputError
        If another run has it, or nothing can be written there.
    """
    path = lock or folder / LOCK
    missing = [p for p in (path.parent, *path.parent.parents) if not p.exists()]
    with output_errors(folder):
        file = _open_locked(folder, path)
    try:
        yield
    finally:
        with suppress(OSError):
            if os.name != "nt":  # there, an open file cannot be removed
                path.unlink()
        unlock(file)
        file.close()
        if os.name == "nt":
            with suppress(OSError):
                path.unlink()
        # What was made for the run and is empty, or is ours alone, as its name says.
        for made in missing or ([path.parent] if path.parent.name.startswith(".") else []):
            with suppress(OSError):
                made.rmdir()


def _open_locked(folder: Path, path: Path) -> IO[str]:
    """The file, locked and with our name in it."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
        try:
            _take(folder, file)
            # Whoever held it until now may have removed this file meanwhile: then it holds nothing.
            with suppress(FileNotFoundError):
                if _is_at(file, path):
                    return file
        except BaseException:
            file.close()
            raise
        file.close()


def _is_at(file: IO[str], path: Path) -> bool:
    return os.path.samestat(os.fstat(file.fileno()), path.stat())


def _take(folder: Path, file: IO[str]) -> None:
    file.seek(0)
    holder = file.read().strip()
    advice = "wait until it has ended, or choose another output folder"
    try:
        free = try_lock(file)
    except NoLocks:
        free = not _runs(holder)
        # Of another machine's process nobody here can tell.
        advice += f"; if it came to a sudden end, delete {file.name}"
    if not free:
        raise OutputError(
            f"Another run ({holder or 'another process'}) writes to {folder}: {advice}."
        )
    file.truncate(0)
    started = time.strftime("%Y-%m-%d %H:%M")
    file.write(f"process {os.getpid()} on {socket.gethostname()}, since {started}")
    file.flush()


def _runs(holder: str) -> bool:
    """Whether the process that a lock names may still be at work."""
    match = _HOLDER.fullmatch(holder)
    if match is None:
        return False
    if match[2] != socket.gethostname():
        return True  # cannot be known from here
    import psutil

    return int(match[1]) != os.getpid() and psutil.pid_exists(int(match[1]))


def try_lock(file: IO[str]) -> bool:
    """Take a lock that the system takes back when the process ends; False if another has it.

    Raises
    ------
    NoLocks
        If the file system has none.
    """
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(_FAR)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
            file.seek(0)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            raise NoLocks from error
        return False
    return True


def unlock(file: IO[str]) -> None:
    """Release the lock of `try_lock`."""
    with suppress(OSError):
        if os.name == "nt":
            import msvcrt

            file.seek(_FAR)
            msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_UN)
