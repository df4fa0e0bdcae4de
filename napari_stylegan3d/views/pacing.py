"""Limits the window to one repaint per picture during a drag.

Qt composes the whole window whenever anything in it is drawn: a slider handle, a number, a view.
Without a graphics card that takes about as much processor time as the preview being rendered, and
delays it. So repaints wait until the preview is ready, and everything is updated together.
"""

from __future__ import annotations

import time

from qtpy.QtCore import QCoreApplication, QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QWidget

#: Maximum delay, so that controls follow the mouse.
PATIENCE_MS = 40
#: Delay of repaints between two pictures of a drag, and how recent the drag must be.
AFTERMATH_MS, LATELY_S = 120, 0.25
#: Priority of Qt's own update requests: after pending input.
LATER: int = Qt.EventPriority.LowEventPriority.value


class RepaintPacer(QObject):
    """Delays repaints of a window until a picture is ready, or for a maximum time.

    Parameters
    ----------
    window : QWidget
        The window that contains the views.
    parent : QObject
        Owns it.
    """

    def __init__(self, window: QWidget, parent: QObject) -> None:
        super().__init__(parent)
        self.patience_ms = PATIENCE_MS
        self._window = window
        #: Whether Qt has requested a repaint, and whether the next one must not be delayed.
        self._owed = self._due = False
        self._moving_until = 0.0
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.setTimerType(Qt.TimerType.PreciseTimer)
        self._patience.timeout.connect(self.release)
        window.installEventFilter(self)

    @property
    def holds(self) -> bool:
        """Whether repaints are delayed now."""
        return self._patience.isActive()

    def hold(self, live: bool = False) -> None:
        """Delay repaints until the next picture, except for one that is ready.

        `live` during a drag, when more pictures will follow.
        """
        if live:
            self._moving_until = time.monotonic() + LATELY_S
        if not self._due:
            self._wait(self.patience_ms)

    def release(self) -> None:
        """Repaint: the picture is ready or has failed."""
        self._patience.stop()
        self._due = True
        if self._owed:
            self._owed = False
            request = QEvent(QEvent.Type.UpdateRequest)
            QCoreApplication.postEvent(self._window, request, LATER)

    def close(self) -> None:
        """Disconnect from the window."""
        self.release()
        self._window.removeEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Postpone Qt's update requests while repaints are delayed."""
        if event.type() != QEvent.Type.UpdateRequest:
            return False
        if not (self.holds or self._due) and time.monotonic() < self._moving_until:
            self._wait(AFTERMATH_MS)
        if self.holds:
            self._owed = True
            return True
        self._due = False
        return False

    def _wait(self, longest_ms: int) -> None:
        if not self.holds or self._patience.remainingTime() > longest_ms:
            self._patience.start(longest_ms)
