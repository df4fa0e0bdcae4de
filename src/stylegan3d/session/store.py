"""Storage of running and closed sessions: one folder each, owned by one process.

A folder's name begins with the time it was made, so that names sort by age. Its owner holds a lock
of the system on a file in it, which ends with the process, whatever the clock says. Where a file
system has no locks, the process that is named there counts. Nobody but the user may look into the
folder: it names patients.
"""

import dataclasses
import os
import re
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from stylegan3d.base import SessionError, StyleGAN3DError
from stylegan3d.session.file import FILE, SessionState, encode, read_session
from stylegan3d.storage import files

#: The file that names the owner, and what follows where its file system has no locks.
OWNER, UNLOCKED = "owner", " without a lock"
#: Number of closed sessions that are kept.
KEPT = 10
#: A folder without a session that is younger may be another window's that is just beginning.
BEGINNING_S = 3600.0


@dataclass(frozen=True)
class Kept:
    """A session that no window has open."""

    folder: Path
    state: SessionState


class SessionFolder:
    """A folder that belongs to this process, until `leave`.

    Parameters
    ----------
    base : Path
        Folder of all sessions; made when it is needed.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self.path = base / _new_name()
        #: Holds the lock.
        self._held: IO[str] | None = None

    @property
    def exists(self) -> bool:
        """Whether there is anything on the disk yet."""
        return self.path.is_dir()

    def make(self) -> Path:
        """Make the folder, unless it is there; OutputError if it cannot be."""
        if not self.exists:
            with files.output_errors(self.path):
                files.make_private(self.base)
                files.make_private(self.path)
                self._own()
        return self.path

    def write(self, state: SessionState) -> None:
        """Save the session atomically; on failure (OutputError) the previous state remains."""
        fresh = not self.exists
        self.make()
        try:
            files.atomic_write_bytes(self.path / FILE, encode(state, self.path), overwrite=True)
        except BaseException:
            if fresh:
                self.remove()
            raise

    def take(self, other: Path) -> SessionState:
        """Continue a session of another folder, which becomes this one.

        What lay in this folder is left to itself.

        Raises
        ------
        SessionError
            If it is damaged, or another window was quicker.
        """
        read_session(other)
        files.make_private(self.base)
        mine = self.base / _new_name()
        try:
            os.rename(other, mine)
        except OSError:
            raise SessionError("Another window has opened this session: choose another.") from None
        self.leave()
        self.path = mine
        with files.output_errors(mine):
            self._own()
        return read_session(mine)

    def leave(self) -> None:
        """Own the folder no longer; it stays for other windows to open."""
        self._let_go()
        with suppress(OSError):
            (self.path / OWNER).unlink(missing_ok=True)
        self.path = self.base / _new_name()

    def remove(self) -> None:
        """Delete the folder and its content."""
        self._let_go()
        shutil.rmtree(self.path, ignore_errors=True)

    def _own(self) -> None:
        owned, name = self.path / OWNER, files.mine()
        owned.touch(0o600)
        file = owned.open("w", encoding="utf-8")
        try:
            files.try_lock(file)
        except files.NoLocks:
            name += UNLOCKED
        file.write(name)
        file.flush()
        self._held = file

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            files.unlock(held)
            held.close()


def kept_sessions(base: Path) -> list[Kept]:
    """The sessions that no window has open, the newest first; what cannot be read is left out."""
    found = []
    for folder in _folders(base):
        if _owned(folder):
            continue
        with suppress(StyleGAN3DError):
            found.append(Kept(folder, read_session(folder)))
    return sorted(found, key=lambda kept: kept.state.saved, reverse=True)


def tidy(base: Path, most: int = KEPT) -> None:
    """Delete the oldest sessions beyond `most`, and remains of those that never started.

    Of those that stay, what was half written as their window came to its end is removed.
    """
    kept = kept_sessions(base)
    gone = [session.folder for session in kept[most:]]
    empty = (path for path in _folders(base) if not (path / FILE).exists())
    gone += [path for path in empty if files.age_s(path) >= BEGINNING_S]
    for folder in gone:
        if not _owned(folder):
            shutil.rmtree(folder, ignore_errors=True)
    for session in kept[:most]:
        files.sweep(session.folder)


def mark_closed(kept: Kept) -> None:
    """Stop offering a session for recovery; it can still be opened."""
    closed = dataclasses.replace(kept.state, closed=True)
    files.make_private(kept.folder)
    files.atomic_write_bytes(kept.folder / FILE, encode(closed, kept.folder), overwrite=True)


def _folders(base: Path) -> list[Path]:
    try:
        return [path for path in base.iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError:
        return []


def _owned(folder: Path) -> bool:
    """Whether the process that a session belongs to still runs."""
    try:
        with (folder / OWNER).open("r+", encoding="utf-8") as file:
            try:
                if not files.try_lock(file):
                    return True
                files.unlock(file)
                locks = True
            except files.NoLocks:
                locks = False
            name = re.fullmatch(f"{files.OWNER}(?P<unlocked>{UNLOCKED})?", file.read(1000))
    except (OSError, ValueError):
        return False
    if name is None or (locks and not name["unlocked"]):
        return False
    session = folder / FILE
    return not files.is_left(session if session.exists() else folder, name)


def _new_name() -> str:
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return f"{now}-{secrets.token_hex(4)}"
