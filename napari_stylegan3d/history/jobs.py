"""Finding, reading and writing session files, in threads."""

from __future__ import annotations

from pathlib import Path

from stylegan3d.progress import Progress
from stylegan3d.session.archive import pack, unpack
from stylegan3d.session.file import SessionState
from stylegan3d.session.store import Kept, SessionFolder, kept_sessions, tidy
from stylegan3d.storage.leftovers import sweep, sweep_temporary
from stylegan3d.storage.volumes import atomic_write_bytes


def find_sessions(report: Progress, base: Path, saved_to: str) -> list[Kept]:
    """What sessions there are; what a window that came to a sudden end left behind is removed."""
    report(0, 1)
    tidy(base)
    sweep_temporary()
    if saved_to:
        sweep(Path(saved_to))
    return kept_sessions(base)


def read_session_file(
    report: Progress, path: Path, folder: SessionFolder
) -> tuple[SessionState, dict[Path, bytes], SessionFolder]:
    """A session from a file, with its other files and their target folder."""
    report(0, 1)
    return *unpack(path, folder.path), folder


def write_session_file(report: Progress, path: Path, state: SessionState, folder: Path) -> Path:
    """Write a session with its latents to one file; returns its path."""
    report(0, 1)
    # The dialog has already confirmed that an existing file may be replaced.
    atomic_write_bytes(path, pack(state, folder), overwrite=True)
    return path
