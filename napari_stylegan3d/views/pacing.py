"""One drawing of the window for each picture, while pictures follow each other.

Qt puts the whole window together again whenever anything in it is drawn: the handle of a slider, a
number beside it, a view. Without a graphics card that takes about as much of the processor as the
preview that is being waited for, which it keeps waiting. So what is drawn while a preview is on its
way waits for it, and all is seen to move at once.
"""

from __future__ import annotations

import time

from qtpy.QtCore import QCoreApplication, QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QWidget

#: Nothing waits longer than this for a picture, so that controls follow the hand.
PATIENCE_MS = 40
#: What comes after a picture, such as a place on a map, waits so long for the next one, if a hand
#: has moved a control as lately as this.
AFTERMATH_MS, LATELY_S = 120, 0.25
#: As Qt asks for it itself: after what the hand did meanwhile.
LATER: int = Qt.EventPriority.LowEventPriority.value


class Pacing(QObject):
    """Holds the drawing of a window back until a picture is there, or has been long in coming.

    Parameters
    ----------
    window : QWidget
        The window itself, of which the views are a part.
    parent : QObject
        Owns it.
    """

    def __init__(self, window: QWidget, parent: QObject) -> None:
        super().__init__(parent)
        self.patience_ms = PATIENCE_MS
        self._window = window
        #: Qt has asked to draw; what is to be seen next must not be held back.
        self._owed = self._due = False
        self._moving_until = 0.0
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.setTimerType(Qt.TimerType.PreciseTimer)
        self._patience.timeout.connect(self.release)
        window.installEventFilter(self)

    @property
    def holds(self) -> bool:
        """Whether nothing is drawn now."""
        return self._patience.isActive()

    def hold(self, live: bool = False) -> None:
        """A picture is on its way: draw nothing before it, but for one that is there already.

        `live` while a hand drags, so that other pictures will follow.
        """
        if live:
            self._moving_until = time.monotonic() + LATELY_S
        if not self._due:
            self._wait(self.patience_ms)

    def release(self) -> None:
        """The picture is there, or will not come: draw it with all that has waited."""
        self._patience.stop()
        self._due = True
        if self._owed:
            self._owed = False
            request = QEvent(QEvent.Type.UpdateRequest)
            QCoreApplication.postEvent(self._window, request, LATER)

    def close(self) -> None:
        """Let go of the window."""
        self.release()
        self._window.removeEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keep Qt's request to draw the window for later, while one is held back."""
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
