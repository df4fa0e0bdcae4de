"""Writing files that are either whole or not there, whatever happens meanwhile.

Everything this program leaves on a disk goes through here: content is written under a hidden name,
brought to the disk, and only then gets its own name. What a killed process leaves under a hidden
name is removed by the next one that writes to the folder (`leftovers`).
"""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from stylegan3d.errors import OutputError
from stylegan3d.storage import names
from stylegan3d.storage.leftovers import hidden_name, sweep_once
from stylegan3d.storage.private import new_file_mode

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
    if names.ON_WINDOWS and (why := names.wrong_on_windows(path.name)):
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
