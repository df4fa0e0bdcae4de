"""Files and folders: how they are written, read, hashed and locked.

*Written*, a file is either whole or not there, whatever happens meanwhile: its content goes to a
hidden name, is brought to the disk, and only then gets its own name. A hidden name holds the
machine and the process, with when it began as the kernel counts, so that setting the clock makes no
live work look dead. What processes that are gone have left, the next one that writes to the folder
removes (`sweep`).

*Private* folders hold brains of people: sessions, caches and temporary files. What is written below
one of them only the user can read; what the user saves elsewhere gets the permissions that any new
file gets.

*Read* are regular files alone, and no more of them than is useful: they may come from anyone.
Opening a pipe or reading a device may wait for ever, a file of the kernel may have no end, and one
with holes may be larger than the memory without taking any room on a disk.

*Locked* is the folder that a run writes to. The lock is the system's own and ends with the process,
however that ends: a run that was killed holds nobody up. Where a file system has no locks, the
process that is named in the file counts, as long as it runs.
"""

import codecs
import csv
import errno
import hashlib
import io
import os
import re
import secrets
import shutil
import socket
import stat
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from stylegan3d.base import Json, OutputError, ScanError
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


#: Folders made by `temporary_folder` begin with this.
PREFIX = "stylegan3d-"
#: Age at which files of another machine's process are considered abandoned.
DAY_S = 86_400.0
#: The name of a process, as `mine` gives it.
OWNER = r"(?P<host>[0-9a-f]{6})-(?P<pid>\d+)-(?P<began>[0-9a-f]{8})-[0-9a-f]{8}"
_FILE = re.compile(rf"\..*\.{OWNER}\.(part|old)")
_FOLDER = re.compile(rf"{PREFIX}{OWNER}")
_swept: set[tuple[int, Path]] = set()


def hidden_name(path: Path, role: str) -> Path:
    """A name next to `path` for its next ("part") or previous ("old") content."""
    start = os.fsencode(path.name)[:100].decode(errors="ignore")  # names may be at their longest
    return path.with_name(f".{start}.{mine()}.{role}")


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
    folder = Path(tempfile.gettempdir()) / f"{PREFIX}{mine()}"
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
            if match is None or not is_left(Path(entry.path), match):
                continue
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)
                count += 1
    return count


def is_left(path: Path, owner: re.Match[str]) -> bool:
    """Whether the process that owns a file or folder (`OWNER`) is gone.

    That of another machine cannot be queried; it writes regularly while at work.
    """
    if owner["host"] != host_tag():
        return age_s(path, named=True) > DAY_S
    return process_began(int(owner["pid"])) != owner["began"]


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


def mine() -> str:
    """A name of this process, another one each time."""
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


def utf8(text: str) -> bytes:
    """Text in UTF-8; bytes of a file name that is in another encoding are escaped, as in JSON."""
    return text.encode(errors="backslashreplace")


def atomic_write_text(path: str | Path, text: str, *, overwrite: bool = False) -> None:
    """`atomic_write_bytes` for text, in UTF-8."""
    atomic_write_bytes(path, utf8(text), overwrite=overwrite)


def check_output(paths: Sequence[str | Path], overwrite: bool = False) -> None:
    """Refuse, before any work is done, names that could not be written afterwards.

    Raises
    ------
    OutputError
        If one exists and `overwrite` is false, two are the same, or its folder cannot be made or
        written to.
    """
    if twice := [path for path, number in Counter(map(Path, paths)).items() if number > 1]:
        raise OutputError(f"Two results would be called {twice[0]}: write them to separate places.")
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


#: What may be done about a file that is there, in words.
OVERWRITE = "ask to overwrite it"


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
        raise OutputError(f"{path} exists already: choose another name or folder, or {OVERWRITE}.")


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
    # 0600 in a private folder, else what the umask leaves of 0666.
    is_public = _private.isdisjoint(Path(path).absolute().parents)
    return os.open(path, flags, 0o666 if is_public else 0o600)


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
        return f"{path} exceeds the quota there: make room or choose another folder."
    if reason.errno == errno.EROFS:
        return f"{path.parent} is read-only: choose another output folder."
    if isinstance(reason, FileNotFoundError):
        return f"The folder of {path} is gone (its drive?) or cannot be made: choose another one."
    return f"{path} could not be written ({reason.strerror}): choose another output folder."


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
        size = f"it is {about.st_size / 1e6:,.0f} MB, more than such a file can be"
        raise OSError(errno.EFBIG, size, str(path))
    with open(path, "rb") as stream:
        # No more than its stated size: some files of the kernel are endless. That of the opened
        # file, which may have taken the place of the other meanwhile.
        return stream.read(min(os.fstat(stream.fileno()).st_size, largest))


def read_text(path: Path, largest: int = LARGEST_TEXT) -> str:
    """The text of such a file, see `text_of`.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    return text_of(read_file(path, largest))


def text_of(data: bytes) -> str:
    """Text in UTF-8, with a mark at the beginning or without, or UTF-16 with one; else Latin-1."""
    marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    with suppress(UnicodeDecodeError):
        return data.decode("utf-16" if data.startswith(marks) else "utf-8-sig")
    return data.decode("latin-1")


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


#: Columns of a BIDS table that this program knows, whatever the case of their letters.
COLUMNS = {"participant_id", "session_id", "age", "sex", "gender", "split"}
#: Spellings of an unknown value.
UNKNOWN = frozenset({"", "n/a", "na", "nan", "null", "none", "-"})


def read_rows(path: Path) -> list[Json]:
    """The rows of a table with tabs, semicolons or commas, whose first row names its columns.

    Raises
    ------
    OSError, csv.Error
        If it cannot be read, or is no such table.
    """
    text = read_text(path)
    table = csv.DictReader(
        io.StringIO(text, newline=""), delimiter=separator_of(text), skipinitialspace=True
    )
    names = [name.strip() for name in table.fieldnames or []]
    table.fieldnames = [name.lower() if name.lower() in COLUMNS else name for name in names]
    return [
        {name: cell.strip() if isinstance(cell, str) else cell for name, cell in row.items()}
        for row in table
    ]


def table_text(rows: Iterable[Iterable[object]], separator: str = ",") -> str:
    """A table as text: one line for each row, the first of which names the columns."""
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows(rows)
    return text.getvalue()


def separator_of(text: str) -> str:
    """Tab, semicolon or comma: what separates the cells of a table's first row."""
    return max("\t;,", key=text.split("\n", 1)[0].count)


def cell_number(cell: str) -> float | str:
    """The number in a cell, with decimal point or comma; other text is returned unchanged."""
    for text in () if "_" in cell else (cell, cell.replace(",", ".")):  # 1_2 is no twelve
        with suppress(ValueError):
            return float(text)
    return cell


def reason(error: Exception) -> str:
    """Why a file cannot be read, for a sentence that names it already."""
    if isinstance(error, UnicodeError):
        return "it is not text in UTF-8"
    told = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    told = getattr(error, "strerror", None) or told.partition("\n")[0][:120].rstrip(".")
    return told or type(error).__name__


PIECE = 2**20


#: The two files of an image in the Analyze form.
PAIRS = {".hdr": ".img", ".img": ".hdr"}


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes, read in pieces; of .hdr and .img beside it together.

    Reads no more than its stated size: some kernel files are endless.

    Raises
    ------
    ScanError
        If it is large and consists of holes.
    OSError
        If it cannot be read.
    """
    digest = hashlib.sha256()
    other = path.with_suffix(PAIRS.get(path.suffix, path.suffix))
    for part in sorted({path, other} if other.is_file() else {path}):
        check_holes(part)
        with part.open("rb") as stream:
            left = os.fstat(stream.fileno()).st_size
            while left > 0 and (piece := stream.read(min(left, PIECE))):
                digest.update(piece)
                left -= len(piece)
    return digest.hexdigest()


#: The file in a folder that is held.
LOCK = ".lock"
#: Windows keeps others from reading what is locked: one byte far behind the text is.
_FAR = 2**30
_UNSUPPORTED = {
    getattr(errno, name) for name in ("ENOLCK", "ENOSYS", "EOPNOTSUPP", "ENOTSUP", "EINVAL")
}


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
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return file
        except BaseException:
            file.close()
            raise
        file.close()


def _take(folder: Path, file: IO[str]) -> None:
    file.seek(0)
    name, _, holder = file.read().strip().partition(" ")
    advice = "wait until it has ended, or choose another output folder"
    try:
        free = try_lock(file)
    except NoLocks:
        owner = re.fullmatch(OWNER, name)
        local = owner is not None and owner["host"] == host_tag()
        # Of another machine's process nobody here can tell.
        free = owner is None or (local and (name[:-9] == mine()[:-9] or is_left(folder, owner)))
        advice += f"; if that run crashed, delete {file.name}"
    if not free:
        raise OutputError(
            f"Another run ({holder or 'another process'}) is using {folder}: {advice}."
        )
    file.truncate(0)
    started = time.strftime("%Y-%m-%d %H:%M")
    file.write(f"{mine()} process {os.getpid()} on {socket.gethostname()}, since {started}")
    file.flush()


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
