"""A line of text that ends in an ellipsis where there is no room for all of it.

Clauses that are set off by commas are left out as a whole: half a clause says nothing, and may say
something else than the whole.
"""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QFontMetrics, QPainter, QPaintEvent
from qtpy.QtWidgets import QLabel, QSizePolicy, QStyle, QStyleOption


def elided(text: str, metrics: QFontMetrics, width: int) -> str:
    """As many clauses of a text as fit into so many pixels; of the first alone what fits."""
    parts = text.split(", ")
    for count in range(len(parts), 0, -1):
        shown = ", ".join(parts[:count]) + (", …" if count < len(parts) else "")
        if metrics.horizontalAdvance(shown) <= width:
            return shown
    return metrics.elidedText(text, Qt.TextElideMode.ElideRight, width)


class ElidedLabel(QLabel):
    """Shows as much of its text as fits; `text()` is all of it."""

    def __init__(self, text: str = "", name: str = "", role: str = "hint") -> None:
        super().__init__(text)
        self.setObjectName(name)
        self.setProperty("role", role)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    def minimumSizeHint(self) -> QSize:
        """No wider than an ellipsis."""
        return QSize(self.fontMetrics().horizontalAdvance("…"), super().minimumSizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw what fits."""
        painter = QPainter(self)
        option = QStyleOption()
        option.initFrom(self)
        style, place = self.style(), self.contentsRect()
        assert style is not None
        text = elided(self.text(), self.fontMetrics(), place.width())
        style.drawPrimitive(QStyle.PrimitiveElement.PE_Widget, option, painter, self)
        style.drawItemText(
            painter,
            place,
            int(self.alignment()),
            option.palette,
            self.isEnabled(),
            text,
            self.foregroundRole(),
        )
        painter.end()
