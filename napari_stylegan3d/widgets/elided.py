"""Labels whose texts fit into a narrow panel, whatever the names in them.

An `ElidedLabel` is a line that ends in an ellipsis where there is no room for all of it
(`shortening.in_words`). A `WrappedLabel` breaks inside long names.
"""

from qtpy import QtWidgets
from qtpy.QtCore import QEvent, QObject, QSize
from qtpy.QtGui import QHelpEvent, QPainter, QPaintEvent

from stylegan3d.pages.shortening import breakable, elided, in_words

#: A wrapped text may be made as narrow as this.
NARROWEST_PX = 110
#: Between the edge of a combo box's field and its text.
FIELD_PX = 2


class WrappedLabel(QtWidgets.QLabel):
    """Wraps its text, also inside long names; `text()` is as it was set."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setText(text)

    def setText(self, text: str) -> None:
        """Show a text."""
        self._text = text
        super().setText(breakable(text))

    def clear(self) -> None:
        """Show none."""
        self.setText("")

    def text(self) -> str:
        """The text as it was set."""
        return self._text

    def minimumSizeHint(self) -> QSize:
        """Narrow: a word that is too long is cut off, and the panel does not scroll sideways."""
        wanted = super().minimumSizeHint()
        return QSize(min(wanted.width(), NARROWEST_PX), wanted.height())


class InWords(QObject):
    """Has a combo box leave out whole words where there is no room for all of its text.

    A style sheet would cut a letter in two. A tooltip shows what is left out.
    """

    def __init__(self, box: QtWidgets.QComboBox) -> None:
        super().__init__(box)
        self.box = box
        box.installEventFilter(self)

    def text(self) -> str:
        """The chosen entry, or what is asked for while none is."""
        box = self.box
        return box.currentText() if box.currentIndex() >= 0 else box.placeholderText()

    def shown(self) -> str:
        """What there is room for."""
        option = self._option()
        style = self.box.style()
        assert style is not None
        field = style.subControlRect(
            QtWidgets.QStyle.ComplexControl.CC_ComboBox,
            option,
            QtWidgets.QStyle.SubControl.SC_ComboBoxEditField,
            self.box,
        )
        metrics, room = self.box.fontMetrics(), field.width() - 2 * FIELD_PX
        return in_words(
            self.text(), lambda shown: metrics.horizontalAdvance(shown) <= room, keep_end=False
        )

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Draw what fits, and show the whole text as a tooltip where it is cut."""
        if event is None or watched is None or watched is not self.box:
            return False
        if event.type() == QEvent.Type.Paint:
            self._paint()
            return True
        return _tell_whole(self.box, event, self)

    def _paint(self) -> None:
        painter, option = QtWidgets.QStylePainter(self.box), self._option()
        painter.drawComplexControl(QtWidgets.QStyle.ComplexControl.CC_ComboBox, option)
        option.currentText = self.shown()
        painter.drawControl(QtWidgets.QStyle.ControlElement.CE_ComboBoxLabel, option)
        painter.end()

    def _option(self) -> QtWidgets.QStyleOptionComboBox:
        option = QtWidgets.QStyleOptionComboBox()
        self.box.initStyleOption(option)
        return option


class ElidedLabel(QtWidgets.QLabel):
    """Shows as much of its text as fits into one line, and a tooltip with all of it.

    `text()` is the whole text.
    """

    def __init__(self, text: str = "", name: str = "", role: str = "") -> None:
        super().__init__(text)
        self.setObjectName(name)
        self.setProperty("role", role)
        self.setSizePolicy(
            QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Preferred
        )

    def minimumSizeHint(self) -> QSize:
        """No wider than an ellipsis."""
        return QSize(self.fontMetrics().horizontalAdvance("…"), super().minimumSizeHint().height())

    def shown(self) -> str:
        """What there is room for."""
        return elided(self.text(), self.fontMetrics(), self.contentsRect().width())

    def event(self, event: QEvent) -> bool:
        """Show the whole text as a tooltip where it is cut."""
        return _tell_whole(self, event, self) or super().event(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw what fits, in the style of a label."""
        painter, option, style = QPainter(self), QtWidgets.QStyleOption(), self.style()
        option.initFrom(self)
        assert style is not None
        style.drawPrimitive(QtWidgets.QStyle.PrimitiveElement.PE_Widget, option, painter, self)
        style.drawItemText(
            painter,
            self.contentsRect(),
            int(self.alignment()),
            option.palette,
            self.isEnabled(),
            self.shown(),
            self.foregroundRole(),
        )
        painter.end()


def _tell_whole(widget: QtWidgets.QWidget, event: QEvent, cut: InWords | ElidedLabel) -> bool:
    """Show the whole of a text that is cut before the tooltip, if that is asked for."""
    if not isinstance(event, QHelpEvent) or cut.shown() == cut.text():
        return False
    text, tip = cut.text(), widget.toolTip()
    tip = tip if text in tip else f"{text}\n{tip}".strip()
    QtWidgets.QToolTip.showText(event.globalPos(), tip, widget)
    return True
