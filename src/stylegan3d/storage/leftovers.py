"""Temporary files named after their process, so that leftovers of killed ones can be removed.

The name holds the machine and the process, with when it began as the kernel counts, so that setting
the clock makes no live work look dead. Whoever works in the folder next removes the files of
processes that are gone.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from stylegan3d.storage.private import make_private

#: Folders made by `temporary_folder` begin with this.
PREFIX = "stylegan3d-"
#: Age at which files of another machine's process are considered abandoned.
DAY_S = 86_400.0
_OWNER = r"(?P<host>[0-9a-f]{6})-(?P<pid>\d+)-(?P<began>[0-9a-f]{8})(?P<own>-[0-9a-f]{8})?"
_FILE = re.compile(rf"\..*\.{_OWNER}\.(part|old)")
_FOLDER = re.compile(rf"{PREFIX}{_OWNER}")
_swept: set[tuple[int, Path]] = set()


def hidden_name(path: Path, role: str) -> Path:
    """A name next to `path` for its next ("part") or previous ("old") content."""
    return path.with_name(f".{path.name[:100]}.{_mine()}.{role}")


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for the length of the block; after a sudden end `sweep_temporary` removes it."""
    folder = new_temporary_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_temporary_folder() -> Path:
    """A folder that the caller removes; after a crash `sweep_temporary` does."""
    sweep_temporary()
    folder = Path(tempfile.gettempdir()) / f"{PREFIX}{_mine()}"
    folder.mkdir(mode=0o700)  # refused if it is there: it may be another user's
    make_private(folder)
    return folder


def sweep(folder: Path) -> int:
    """Remove the hidden files that processes which are gone left in a folder; how many."""
    return _remove(folder, _FILE)


def sweep_once(folder: Path) -> None:
    """`sweep`, the first time this process writes to the folder."""
    key = (os.getpid(), folder.absolute())
    if key not in _swept:
        _swept.add(key)
        sweep(folder)


def sweep_temporary() -> int:
    """Remove the temporary folders that processes which are gone left; how many."""
    return _remove(Path(tempfile.gettempdir()), _FOLDER)


def _remove(folder: Path, pattern: re.Pattern[str]) -> int:
    count = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = pattern.fullmatch(entry.name)
            if match is None or not _is_left(entry, match):
                continue
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)
                count += 1
    return count


def _is_left(entry: os.DirEntry[str], owner: re.Match[str]) -> bool:
    """Whether no process uses it any more."""
    if owner["host"] != host_tag():
        return age_s(Path(entry.path), named=True) > DAY_S
    began = process_began(int(owner["pid"]))
    # Names of earlier versions do not say when their process began: as long as there is one, it
    # may be theirs.
    return began is None or (owner["own"] is not None and began != owner["began"])


def age_s(path: Path, *, named: bool = False) -> float:
    """Seconds since a file or folder was written (or got its name); 0 if that is not known.

    By the clock of the file system that it lies on: setting that of this machine changes nothing
    where other machines write, too.
    """
    probe = hidden_name(path, "part")
    try:
        status = path.lstat()
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        now = probe.stat().st_mtime
    except OSError:
        return 0.0
    finally:
        with suppress(OSError):
            probe.unlink()
    # A second name for a file is as old as the file; when it was made, the system notes apart.
    return now - (max(status.st_mtime, status.st_ctime) if named else status.st_mtime)


def process_began(pid: int) -> str | None:
    """Eight hexadecimal digits that distinguish processes of the same number; None if ended.

    They stand for when it began. Linux counts that in ticks since the machine's start (`man
    proc_pid_stat`, field 22), so that it stays the same when the clock is set; what psutil makes
    of it does not. Other systems note the time once and for all.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        began = boot + Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        import psutil

        try:
            began = repr(psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return None
        except psutil.Error:
            began = "another user's"
    return hashlib.sha256(began.encode()).hexdigest()[:8]


def _mine() -> str:
    pid = os.getpid()
    return f"{host_tag()}-{pid}-{process_began(pid)}-{secrets.token_hex(4)}"


@cache
def host_tag() -> str:
    """Six digits that identify this machine, or the container on it, by its processes."""
    name = socket.gethostname()
    with suppress(OSError):  # containers may share a name and a folder, not their processes
        name += os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(name.encode()).hexdigest()[:6]
