"""The line under the header that moves while a brain is being rendered."""

from __future__ import annotations

from qtpy.QtCore import QRectF, QTimer
from qtpy.QtGui import QPainter, QPaintEvent, QPalette
from qtpy.QtWidgets import QProgressBar

#: Work that is over sooner needs no telling: what came of it is seen.
PATIENCE_MS = 300
#: Each step has the whole window put together anew, which without a graphics card takes the time
#: that the work is in want of: Qt's own bar, at up to sixty a second, took most of a core.
STEP_MS = 125
#: How long the piece is, and how far it goes in a step, as shares of the line.
PIECE, PACE = 0.3, 0.1


class BusyLine(QProgressBar):
    """A piece of a line that wanders from left to right while there is work that lasts."""

    def __init__(self) -> None:
        super().__init__()
        self.setTextVisible(False)
        self.setRange(0, 1)
        self.setValue(0)
        self._steps: int | None = None
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._step)

    @property
    def moves(self) -> bool:
        """Whether it is to be seen that there is work."""
        return self._steps is not None

    def set_busy(self, busy: bool) -> None:
        """There is work, or there is none."""
        if busy:
            if not self._timer.isActive():
                self._timer.start(PATIENCE_MS)
            return
        self._timer.stop()
        if self.moves:
            self._steps = None
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the line, and the piece over it."""
        super().paintEvent(event)
        if self._steps is None:
            return
        left = (self._steps * PACE) % (1 + PIECE) - PIECE
        painter = QPainter(self)
        piece = QRectF(left * self.width(), 0, PIECE * self.width(), self.height())
        painter.fillRect(piece, self.palette().color(QPalette.ColorRole.Highlight))
        painter.end()

    def _step(self) -> None:
        self._steps = 0 if self._steps is None else self._steps + 1
        self._timer.setInterval(STEP_MS)
        self.update()
