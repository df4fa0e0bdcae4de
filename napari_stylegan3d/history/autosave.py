"""Automatic saving of the session within a second, for recovery after a crash."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFrame

from napari_stylegan3d.core.worker import LatestWins, duration_in_words
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import single_shot
from napari_stylegan3d.widgets.elided import WrappedLabel
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.progress import Progress
from stylegan3d.session.file import SessionState, pack, unpack
from stylegan3d.session.store import Kept, SessionFolder, kept_sessions, tidy
from stylegan3d.storage.files import atomic_write_bytes, sweep, sweep_temporary


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


#: Environment variable that overrides the sessions folder.
FOLDER_VARIABLE = "STYLEGAN3D_SESSIONS"
#: Changes are gathered for so long; nothing older is ever lost.
GATHER_MS = 1000


def sessions_folder() -> Path:
    """The sessions folder: that of the variable, or one in the user's data."""
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given).expanduser()
    import platformdirs

    return platformdirs.user_data_path("napari-stylegan3d") / "sessions"


class Autosave(QObject):
    """Writes the session to a folder of its own, off the GUI thread.

    Parameters
    ----------
    state : callable
        Gives what is to be saved; called on the GUI thread.
    parent : QObject
        Owns it.
    """

    failed = Signal(object)
    """The exception, once until a save succeeds again."""

    def __init__(self, state: Callable[[], SessionState], parent: QObject) -> None:
        super().__init__(parent)
        self._state = state
        self.folder = SessionFolder(sessions_folder())
        self._lock, self._has_failed, self._over = threading.Lock(), False, False
        self._work = LatestWins(self._write, self)
        self._work.failed.connect(lambda _, error: self._on_failed(error))
        self._work.ready.connect(lambda *_: self._on_written())
        self._gather = single_shot(self, self.now, GATHER_MS)

    def soon(self) -> None:
        """Something changed."""
        if not (self._over or self._gather.isActive()):
            self._gather.start()

    def now(self) -> None:
        """Save what there is, if it is worth it."""
        state = self._state()
        if state.worth_keeping or self.folder.exists:
            self._work.submit((self.folder, state.stamped()))

    def move_to(self, folder: SessionFolder) -> None:
        """Save to another folder from now on; the session so far is closed."""
        self._gather.stop()
        self._close()
        self.folder = folder

    def shutdown(self) -> None:
        """Save a last time, as closed, and let other windows have the folder."""
        self._over = True
        self._gather.stop()
        self._work.shutdown()
        self._close()

    def _close(self) -> None:
        folder, state = self.folder, self._state().stamped(closed=True)
        # A folder that is left counts as another one: a write still under way finds it left.
        with self._lock:
            self.folder = SessionFolder(folder.base)
            try:
                if state.worth_keeping:
                    folder.write(state)
                    folder.leave()
                elif folder.exists:
                    folder.remove()
            except StyleGAN3DError as error:
                self._on_failed(error)

    def _write(self, request: tuple[SessionFolder, SessionState]) -> None:
        """In the thread."""
        folder, state = request
        with self._lock:
            if folder is self.folder:
                folder.write(state)

    def _on_failed(self, error: Exception) -> None:
        if not self._has_failed:
            self._has_failed = True
            self.failed.emit(error)

    def _on_written(self) -> None:
        self._has_failed = False


DAY_S = 86_400.0


class RestoreBar(QFrame):
    """A sentence and two answers; hidden until there is something to offer."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("explorer.restore_bar")
        self.setProperty("role", "notice")
        self.text = controls.named(WrappedLabel(), "explorer.restore_text")
        self.restore = controls.push_button(
            "Restore the last session",
            "explorer.restore",
            "Restore its history, favourites and scan.",
            "primary",
        )
        self.anew = controls.push_button(
            "Start new session",
            "explorer.start_anew",
            "Start a new session; the last one remains under Open ▾ › Earlier sessions.",
        )
        controls.stack(
            self.text,
            controls.row(self.restore, self.anew, stretch=0),
            on=self,
            margins=(14, 8, 14, 8),
        )
        self.hide()

    def offer(self, state: SessionState) -> None:
        """Ask about a session."""
        self.text.setText(f"The last session ended unexpectedly, {summary(state)}.")
        self.show()


def summary(state: SessionState) -> str:
    """Age and content of a session: "3 min ago: 12 states, 2 favourites, Brain T1w"."""
    age = state.age_s
    if age < DAY_S:
        when = f"{duration_in_words(age)} ago"
    else:
        when = state.saved[:10] or "some time ago"
    counts = [_counted(len(state.states), "state")]
    favourites = sum(len(items) for items in state.favourites.values())
    if favourites:
        counts.append(_counted(favourites, "favourite"))
    if state.model is not None and state.model.name:
        counts.append(state.model.name)
    return f"{when}: {', '.join(counts)}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
