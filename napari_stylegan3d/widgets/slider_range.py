"""What of a slider is known: the rest of its way is coloured, and one value may be marked."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import QHBoxLayout, QWidget

from napari_stylegan3d.widgets.controls import SliderRow
from napari_stylegan3d.widgets.theme import CAUTION, DARK

#: Half of a slider's handle, which the ends of its way keep from its border.
HALF_HANDLE = 8
OPACITY = 120
MARK_PX = 2


class SliderRange(QWidget):
    """Lies over the slider of a row.

    Parameters
    ----------
    row : SliderRow
        The row; its ends may change.
    mark : float or None
        A value to mark.
    """

    def __init__(self, row: SliderRow, mark: float | None = None) -> None:
        super().__init__(row.slider)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        layout = QHBoxLayout(row.slider)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self)
        self._row, self._mark = row, mark
        self.known = row.ends

    def show_known(self, first: float, last: float) -> None:
        """The values that are known, in the unit of the row."""
        self.known = (first, last)
        self.update()

    def place(self, value: float) -> int:
        """A value as pixels from the left."""
        low, high = self._row.ends
        room = self.width() - 2 * HALF_HANDLE
        return HALF_HANDLE + round(room * (min(max(value, low), high) - low) / (high - low))

    def spans(self) -> list[tuple[int, int]]:
        """What is coloured, as pixels from the left: (begin, end) of up to two parts."""
        low, high = self._row.ends
        first, last = self.known
        parts = [(0, self.place(first) if first > low else 0)]
        parts.append((self.place(last) if last < high else self.width(), self.width()))
        return [(begin, end) for begin, end in parts if end > begin]

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint over the groove."""
        painter = QPainter(self)
        colour = QColor(CAUTION)
        colour.setAlpha(OPACITY)
        for begin, end in self.spans():
            painter.fillRect(begin, 2, end - begin, self.height() - 4, colour)
        if self._mark is not None:
            left = self.place(self._mark) - MARK_PX // 2
            painter.fillRect(left, 1, MARK_PX, self.height() - 2, QColor(DARK.drop_line))
        painter.end()
