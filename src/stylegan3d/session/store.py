"""Storage of running and closed sessions: one folder each, owned by one process.

A folder's name begins with the time it was made, so that names sort by age. Its owner is written
down with when its process began, for numbers of processes are used again. Nobody but the user may
look into it: it names patients.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stylegan3d.errors import SessionError, StyleGAN3DError
from stylegan3d.session.file import FILE, SessionState, encode, read_session
from stylegan3d.storage.files import atomic_write_bytes, atomic_write_text, output_errors
from stylegan3d.storage.jsontext import read_json
from stylegan3d.storage.leftovers import DAY_S, host_tag, process_began, sweep

OWNER = "owner.json"
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

    @property
    def exists(self) -> bool:
        """Whether there is anything on the disk yet."""
        return self.path.is_dir()

    def make(self) -> Path:
        """Make the folder, unless it is there; OutputError if it cannot be."""
        if not self.exists:
            with output_errors(self.path):
                self.base.mkdir(mode=0o700, parents=True, exist_ok=True)
                self.path.mkdir(mode=0o700, exist_ok=True)
                self._own()
        return self.path

    def write(self, state: SessionState) -> None:
        """Save the session atomically; on failure (OutputError) the previous state remains."""
        self.make()
        atomic_write_bytes(self.path / FILE, encode(state, self.path), overwrite=True)

    def take(self, other: Path) -> SessionState:
        """Continue a session of another folder, which becomes this one.

        What lay in this folder is left to itself.

        Raises
        ------
        SessionError
            If it is damaged, or another window was quicker.
        """
        read_session(other)
        mine = self.base / _new_name()
        try:
            os.rename(other, mine)
        except OSError:
            raise SessionError("Another window has opened this session: choose another.") from None
        self.leave()
        self.path = mine
        with output_errors(mine):
            self._own()
        return read_session(mine)

    def leave(self) -> None:
        """Own the folder no longer; it stays for other windows to open."""
        with suppress(OSError):
            (self.path / OWNER).unlink(missing_ok=True)
        self.path = self.base / _new_name()

    def remove(self) -> None:
        """Delete the folder and its content."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _own(self) -> None:
        pid = os.getpid()
        owner = {"pid": pid, "began": process_began(pid), "host": host_tag()}
        atomic_write_text(self.path / OWNER, json.dumps(owner), overwrite=True)


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
    begun = {session.folder for session in kept}
    gone = [session.folder for session in kept[most:]]
    gone += [path for path in _folders(base) if path not in begun and not _is_young(path)]
    for folder in gone:
        if not _owned(folder):
            shutil.rmtree(folder, ignore_errors=True)
    for session in kept[:most]:
        sweep(session.folder)


def mark_closed(kept: Kept) -> None:
    """Stop offering a session for recovery; it can still be opened."""
    closed = dataclasses.replace(kept.state, closed=True)
    atomic_write_bytes(kept.folder / FILE, encode(closed, kept.folder), overwrite=True)


def _folders(base: Path) -> list[Path]:
    try:
        return [path for path in base.iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError:
        return []


def _is_young(folder: Path) -> bool:
    try:
        return time.time() - folder.stat().st_mtime < BEGINNING_S
    except OSError:
        return True


def _owned(folder: Path) -> bool:
    """Whether the process that a session belongs to still runs."""
    try:
        owner = read_json(folder / OWNER)
        if owner.get("host", host_tag()) != host_tag():
            # Another machine's process cannot be queried: it saves regularly while in use.
            return time.time() - _last_saved(folder) < DAY_S
        began = process_began(int(owner["pid"]))
        # Earlier versions stored the time of day ("started"), which identifies nothing.
        return began is not None and owner.get("began", began) == began
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return False


def _last_saved(folder: Path) -> float:
    file = folder / FILE
    return (file if file.exists() else folder).stat().st_mtime


def _new_name() -> str:
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return f"{now}-{secrets.token_hex(4)}"
