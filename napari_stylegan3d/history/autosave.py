"""Automatic saving of the session within a second, for recovery after a crash."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QObject, QTimer, Signal

from napari_stylegan3d.core.worker import LatestWins
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.session.file import SessionState
from stylegan3d.session.store import SessionFolder

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
        self._gather = QTimer(self)
        self._gather.setSingleShot(True)
        self._gather.setInterval(GATHER_MS)
        self._gather.timeout.connect(self.now)

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
