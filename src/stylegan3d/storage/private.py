"""Folders that only the user can read: sessions, caches and temporary files hold brains of people.

What is written below one of them is the user's alone too; what the user saves elsewhere gets the
permissions that any new file gets.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

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
