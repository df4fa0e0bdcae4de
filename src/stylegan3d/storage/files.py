"""Writing files that are either whole or not there, whatever happens meanwhile.

Everything this program leaves on a disk goes through here: content is written under a hidden name,
brought to the disk, and only then gets its own name. What a killed process leaves under a hidden
name is removed by the next one that writes to the folder (`leftovers`).

Folders that only the user can read: sessions, caches and temporary files hold brains of people.

What is written below one of them is the user's alone too; what the user saves elsewhere gets the
permissions that any new file gets.

Temporary files named after their process, so that leftovers of killed ones can be removed.

The name holds the machine and the process, with when it began as the kernel counts, so that setting
the clock makes no live work look dead. Whoever works in the folder next removes the files of
processes that are gone.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from stylegan3d.errors import OutputError
from stylegan3d.storage import formats

#: Those that this process uses.
_private: set[Path] = set()


def make_private(folder: Path) -> None:
    """Make a folder, with those above it, for the user alone; one that is there is tightened.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(OSError):  # another user's, or on a disk without permissions
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
    _private.add(folder.absolute())


def new_file_mode(path: Path) -> int:
    """Permissions of a new file, before the umask: 0600 in a private folder, else 0666."""
    return 0o666 if _private.isdisjoint(path.absolute().parents) else 0o600


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
    return _remove_left(folder, _FILE)


def sweep_once(folder: Path) -> None:
    """`sweep`, the first time this process writes to the folder."""
    key = (os.getpid(), folder.absolute())
    if key not in _swept:
        _swept.add(key)
        sweep(folder)


def sweep_temporary() -> int:
    """Remove the temporary folders that processes which are gone left; how many."""
    return _remove_left(Path(tempfile.gettempdir()), _FOLDER)


def _remove_left(folder: Path, pattern: re.Pattern[str]) -> int:
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


#: More than a quota or a limit allows; Windows has no quotas of this kind.
_TOO_MUCH = (errno.EFBIG, getattr(errno, "EDQUOT", errno.EFBIG))


def atomic_write_bytes(
    path: str | Path, data: bytes, *, overwrite: bool = False, suffixes: Sequence[str] = ()
) -> None:
    """Write a file that is either whole or not there; missing folders are made.

    Raises
    ------
    OutputError
        If the file exists and `overwrite` is false, if its name does not end in one of
        `suffixes`, or if it cannot be written.
    """
    path = Path(path)
    check_suffix(path, suffixes)
    write_together({path: data}, overwrite=overwrite)


def atomic_write_text(path: str | Path, text: str, *, overwrite: bool = False) -> None:
    """`atomic_write_bytes` for text, in UTF-8."""
    atomic_write_bytes(path, text.encode(), overwrite=overwrite)


def check_output(paths: Sequence[str | Path], overwrite: bool = False) -> None:
    """Refuse, before any work is done, names that could not be written afterwards.

    Raises
    ------
    OutputError
        If one exists and `overwrite` is false, or its folder cannot be made or written to.
    """
    for path in map(Path, paths):
        _check_free(path, overwrite)
        with output_errors(path):
            _check_folder(path.parent)


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """What the system refuses while the block writes `path`, as an OutputError."""
    try:
        yield
    except OSError as reason:
        raise OutputError(_sentence(path, reason)) from reason


def write_together(files: Mapping[Path, bytes], *, overwrite: bool = False) -> None:
    """Write several files, all or none: if one fails, the previous files are restored.

    Raises
    ------
    OutputError
        If a file exists and `overwrite` is false, or one cannot be written.
    """
    folders: list[Path] = []
    temporary: dict[Path, Path] = {}
    kept: dict[Path, Path] = {}
    placed: list[Path] = []
    path = Path()
    try:
        for path, data in files.items():
            _check_free(path, overwrite)
            _make_folder(path.parent, folders)
            sweep_once(path.parent)
            temporary[path] = hidden_name(path, "part")
            _write_new(temporary[path], data)
        for path, part in temporary.items():
            if path.exists():
                kept[path] = _keep_old(path)
            _place(part, path, overwrite)
            placed.append(path)
    except BaseException as reason:
        _undo(placed, kept)
        _remove((*temporary.values(), *kept.values()), folders)
        if isinstance(reason, OSError):
            raise OutputError(_sentence(path, reason)) from reason
        raise
    _remove((*temporary.values(), *kept.values()))


@contextmanager
def atomic_file(path: Path, *, previous: Path | None = None) -> Iterator[IO[bytes]]:
    """A file to write piece by piece; it has its name, and replaces another, after the block.

    Parameters
    ----------
    path : Path
        Its name; missing folders are made.
    previous : Path, optional
        What the file that is replaced is called from then on; it is deleted otherwise.

    Raises
    ------
    OutputError
        If it cannot be written. A previous file then remains.
    """
    folders: list[Path] = []
    kept: list[Path] = []
    part = hidden_name(path, "part")
    file: _Noting | None = None
    try:
        _make_folder(path.parent, folders)
        sweep_once(path.parent)
        with _Noting(part) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            kept.append(_keep_old(path))
            os.replace(kept[0], previous)
        os.replace(part, path)
    except BaseException as error:
        _remove([part, *kept], folders)
        reason = error if file is None or file.refusal is None else file.refusal
        if isinstance(reason, OSError):
            raise OutputError(_sentence(path, reason)) from error
        raise


class _Noting(io.FileIO):
    """A new file that notes why the system refused to write, whatever its user makes of that."""

    def __init__(self, path: Path) -> None:
        self.refusal: OSError | None = None
        super().__init__(path, "xb", opener=_opened_new)

    def write(self, data: Any, /) -> int:
        """Write all of it."""
        view = memoryview(data).cast("B")
        done = 0
        try:
            while done < len(view):
                done += super().write(view[done:]) or 0
        except OSError as reason:
            self.refusal = reason
            raise
        return done


def check_suffix(path: Path, suffixes: Sequence[str]) -> None:
    """OutputError unless the name ends in one of `suffixes`, if there are any."""
    if suffixes and not any(
        path.name.endswith(suffix) and path.name != suffix for suffix in suffixes
    ):
        raise OutputError(f"{path.name} must end in {' or '.join(suffixes)}: add it to the name.")


def _check_free(path: Path, overwrite: bool) -> None:
    if formats.ON_WINDOWS and (why := formats.wrong_on_windows(path.name)):
        # Windows would write to the device, or to a file of another name, without a word.
        raise OutputError(f"{path.name} cannot be the name of a file: {why}. Choose another.")
    try:
        os.fsencode(path)
    except UnicodeEncodeError as reason:
        raise OutputError(
            f"{path} has letters that this locale ({reason.encoding}) cannot write: set "
            "LC_ALL=C.UTF-8, or choose another name."
        ) from reason
    if os.path.isdir(path):
        raise OutputError(f"{path} is a folder: choose another name for the file.")
    if not overwrite and os.path.lexists(path):
        raise OutputError(
            f"{path} exists already: choose another name or folder, or ask to overwrite it."
        )


def _check_folder(folder: Path) -> None:
    """OutputError if the folder, or the nearest one above it that exists, takes no files."""
    while not folder.exists() and folder != folder.parent:
        if folder.is_symlink():
            raise OutputError(f"{folder} is a link to nothing: choose another output folder.")
        folder = folder.parent
    if not folder.is_dir():
        raise OutputError(f"{folder} is a file, not a folder: choose another output folder.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"No permission to write in {folder}: choose another output folder.")


def _make_folder(folder: Path, made: list[Path]) -> None:
    """Make the folder and its parents; note in `made` those that were missing, outermost first."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        try:
            folder.mkdir()
        except FileExistsError:  # another process was quicker
            if not folder.is_dir():
                raise
        else:
            made.append(folder)


def _write_new(path: Path, data: bytes) -> None:
    """Write a new file with the permissions that files get there (tempfile's are its own)."""
    with open(path, "xb", opener=_opened_new) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _opened_new(path: str, flags: int) -> int:
    return os.open(path, flags, new_file_mode(Path(path)))


def _keep_old(path: Path) -> Path:
    """A second name for the file that is about to be replaced."""
    kept = hidden_name(path, "old")
    try:
        os.link(path, kept)
    except OSError:  # a file system without hard links
        shutil.copy2(path, kept)
    return kept


def _place(part: Path, path: Path, overwrite: bool) -> None:
    """Rename the finished temporary file; without `overwrite` never over another file."""
    if not overwrite:
        try:
            os.link(part, path)  # unlike a rename, this fails if another got there first
            return
        except FileExistsError:
            _check_free(path, overwrite)
        except OSError:  # a file system without hard links
            _check_free(path, overwrite)
    os.replace(part, path)


def _undo(placed: Sequence[Path], kept: Mapping[Path, Path]) -> None:
    """Bring back the files as they were before, as far as the disk allows."""
    for path in placed:
        with suppress(OSError):
            if path in kept:
                os.replace(kept[path], path)
            else:
                path.unlink()


def _remove(files: Iterable[Path], folders: Sequence[Path] = ()) -> None:
    """Remove hidden files and, innermost first, the folders made for this write."""
    for file in files:
        with suppress(OSError):
            file.unlink(missing_ok=True)
    for folder in reversed(folders):
        with suppress(OSError):
            folder.rmdir()


def _sentence(path: Path, reason: OSError) -> str:
    if isinstance(reason, PermissionError):
        return f"No permission to write {path}: choose another output folder."
    if isinstance(reason, (NotADirectoryError, FileExistsError)):
        return f"{path.parent} is not a folder: choose another output folder."
    if reason.errno == errno.ENOSPC:
        return f"The disk is full and {path} was not written: make room or choose another folder."
    if reason.errno in _TOO_MUCH:
        return f"{path} is more than may be written there: make room or choose another folder."
    if reason.errno == errno.EROFS:
        return f"{path.parent} can only be read: choose another output folder."
    if isinstance(reason, FileNotFoundError):
        return f"The folder of {path} is gone: plug its drive in again or choose another folder."
    return f"{path} could not be written ({reason.strerror}): choose another output folder."
