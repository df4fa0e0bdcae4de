"""Texts that fit into a narrow panel, whatever the names in them.

An `ElidedLabel` is a line that ends in an ellipsis where there is no room for all of it. Clauses
that are set off by commas are left out as a whole: half a clause says nothing, and may say
something else than the whole. A `WrappedLabel` breaks inside long names.
"""

from __future__ import annotations

import re

from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtGui import QFontMetrics, QHelpEvent, QPainter, QPaintEvent
from qtpy.QtWidgets import QLabel, QSizePolicy, QStyle, QStyleOption, QToolTip

#: A place where a line may break, of no width.
BREAK = "\u200b"
#: Words that may be broken, and where.
LONG_WORD = re.compile(r"\S{18,}")
#: A wrapped text may be made as narrow as this.
NARROWEST_PX = 110
JOINTS = re.compile(r"([_\-./\\])")


def elided(text: str, metrics: QFontMetrics, width: int) -> str:
    """As many clauses of a text as fit into so many pixels; of the first alone what fits."""
    parts = text.split(", ")
    for count in range(len(parts), 0, -1):
        shown = ", ".join(parts[:count]) + (", …" if count < len(parts) else "")
        if metrics.horizontalAdvance(shown) <= width:
            return shown
    return metrics.elidedText(text, Qt.TextElideMode.ElideRight, width)


def breakable(text: str) -> str:
    """A text whose long words may be broken after the signs that join the parts of file names."""

    def broken(word: re.Match[str]) -> str:
        return JOINTS.sub(rf"\1{BREAK}", word[0])

    return LONG_WORD.sub(broken, text)


class WrappedLabel(QLabel):
    """Wraps its text, also inside long names; `text()` is as it was set."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setText(text)

    def setText(self, text: str) -> None:
        """Show a text."""
        self._text = text
        super().setText(breakable(text))

    def text(self) -> str:
        """The text as it was set."""
        return self._text

    def minimumSizeHint(self) -> QSize:
        """Narrow: a word that is too long is cut off, and the panel does not scroll sideways."""
        wanted = super().minimumSizeHint()
        return QSize(min(wanted.width(), NARROWEST_PX), wanted.height())


class NameLabel(QLabel):
    """A name in one line; its middle is left out if there is no room, and a tooltip tells it."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    def minimumSizeHint(self) -> QSize:
        """No wider than an ellipsis."""
        return QSize(self.fontMetrics().horizontalAdvance("…"), super().minimumSizeHint().height())

    def shown(self) -> str:
        """What there is room for."""
        elide = Qt.TextElideMode.ElideMiddle
        return self.fontMetrics().elidedText(self.text(), elide, self.contentsRect().width())

    def event(self, event: QEvent) -> bool:
        """Tell the whole name where it is cut."""
        if isinstance(event, QHelpEvent) and self.shown() != self.text():
            tip = "\n".join(filter(None, (self.text(), self.toolTip())))
            QToolTip.showText(event.globalPos(), tip, self)
            return True
        return super().event(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw what fits."""
        painter = QPainter(self)
        _draw(self, painter, self.shown())
        painter.end()


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
        _draw(self, painter, elided(self.text(), self.fontMetrics(), self.contentsRect().width()))
        painter.end()


def _draw(label: QLabel, painter: QPainter, text: str) -> None:
    """Draw a text in the style of a label."""
    option = QStyleOption()
    option.initFrom(label)
    style = label.style()
    assert style is not None
    style.drawPrimitive(QStyle.PrimitiveElement.PE_Widget, option, painter, label)
    style.drawItemText(
        painter,
        label.contentsRect(),
        int(label.alignment()),
        option.palette,
        label.isEnabled(),
        text,
        label.foregroundRole(),
    )
