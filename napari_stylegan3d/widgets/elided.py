"""Labels whose texts fit into a narrow panel, whatever the names in them.

An `ElidedLabel` is a line that ends in an ellipsis where there is no room for all of it
(`shortening.in_words`). A `WrappedLabel` breaks inside long names.
"""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtGui import QHelpEvent, QPainter, QPaintEvent
from qtpy.QtWidgets import (
    QComboBox,
    QLabel,
    QSizePolicy,
    QStyle,
    QStyleOption,
    QStyleOptionComboBox,
    QStylePainter,
    QToolTip,
)

from napari_stylegan3d.widgets.shortening import breakable, elided, in_words

#: A wrapped text may be made as narrow as this.
NARROWEST_PX = 110
#: Between the edge of a combo box's field and its text.
FIELD_PX = 2


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
    """A name in one line; its middle is left out if there is no room, and a tooltip shows it."""

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
        """Show the whole name as a tooltip where it is cut."""
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


class InWords(QObject):
    """Has a combo box leave out whole words where there is no room for all of its text.

    A style sheet would cut a letter in two. A tooltip shows what is left out.
    """

    def __init__(self, box: QComboBox) -> None:
        super().__init__(box)
        self.box = box
        box.installEventFilter(self)

    def shown(self) -> str:
        """What there is room for."""
        option = self._option()
        style = self.box.style()
        assert style is not None
        field = style.subControlRect(
            QStyle.ComplexControl.CC_ComboBox,
            option,
            QStyle.SubControl.SC_ComboBoxEditField,
            self.box,
        )
        metrics, room = self.box.fontMetrics(), field.width() - 2 * FIELD_PX
        return in_words(
            self.box.currentText(),
            lambda shown: metrics.horizontalAdvance(shown) <= room,
            keep_end=False,
        )

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Draw what fits, and show the whole text as a tooltip where it is cut."""
        if event is None or watched is None or watched is not self.box:
            return False
        if event.type() == QEvent.Type.Paint:
            self._paint()
            return True
        if isinstance(event, QHelpEvent) and self.shown() != self.box.currentText():
            tip = "\n".join(filter(None, (self.box.currentText(), self.box.toolTip())))
            QToolTip.showText(event.globalPos(), tip, self.box)
            return True
        return False

    def _paint(self) -> None:
        painter, option = QStylePainter(self.box), self._option()
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        option.currentText = self.shown()
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        painter.end()

    def _option(self) -> QStyleOptionComboBox:
        option = QStyleOptionComboBox()
        self.box.initStyleOption(option)
        return option


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
