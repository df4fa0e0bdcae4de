"""The outline of the control that has the keyboard."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QEvent, QObject, QRectF, Qt
from qtpy.QtGui import QColor, QGuiApplication, QKeyEvent, QPainter, QPaintEvent, QPen, QWindow
from qtpy.QtWidgets import QApplication, QWidget

# Two colours, since one alone is lost somewhere: the blue is seen on light, dark and black ground
# (3 : 1 or more), the white on buttons that are blue themselves.
RING, INNER = QColor("#2f6fe8"), QColor("#ffffff")
#: Held while a mouse is used, too.
HELD = (Qt.Key.Key_Shift, Qt.Key.Key_Control, Qt.Key.Key_Alt, Qt.Key.Key_Meta)


class FocusRing(QObject):
    """Outlines what keys lead to in our part of the window and in our dialogs, until a click.

    napari's style takes away Qt's own mark. Drawing over the control leaves all sizes as they are,
    and those who use the mouse see nothing of it.

    Parameters
    ----------
    roots : sequence of QWidget
        Ours is what is in them, or in a dialog that belongs to one of them.
    """

    def __init__(self, roots: Sequence[QWidget]) -> None:
        super().__init__()
        self._roots = list(roots)
        self._window: QWindow | None = None
        self._outline: _Outline | None = None
        self._by_keyboard = False
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        self._application = application
        application.focusWindowChanged.connect(self._watch)
        application.focusChanged.connect(self._follow)
        self._watch(QGuiApplication.focusWindow())

    def close(self) -> None:
        """Outline nothing any longer."""
        self._application.focusWindowChanged.disconnect(self._watch)
        self._application.focusChanged.disconnect(self._follow)
        self._watch(None)
        self._drop()
        self._roots.clear()

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        """See whether the keyboard or the mouse is used."""
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            self._by_keyboard |= event.key() not in HELD
        elif event.type() == QEvent.Type.MouseButtonPress:
            self._by_keyboard = False
            self._drop()
        return False

    def _watch(self, window: QWindow | None) -> None:
        if self._window is not None:
            self._window.removeEventFilter(self)
            self._window.destroyed.disconnect(self._forget_window)
        self._window = window
        if window is not None:
            window.installEventFilter(self)
            window.destroyed.connect(self._forget_window)

    def _forget_window(self) -> None:
        self._window = None

    def _follow(self, _before: QWidget | None, now: QWidget | None) -> None:
        self._drop()
        if self._by_keyboard and now is not None and self._is_ours(now):
            self._outline = _Outline(now)
            self._outline.destroyed.connect(self._forget_outline)

    def _is_ours(self, widget: QWidget) -> bool:
        above: QWidget | None = widget
        while above is not None and above not in self._roots:
            above = above.parentWidget()
        return above is not None

    def _drop(self) -> None:
        if self._outline is not None:
            self._outline.destroyed.disconnect(self._forget_outline)
            self._outline.hide()
            self._outline.deleteLater()
        self._outline = None

    def _forget_outline(self) -> None:
        self._outline = None


def is_outlined(control: QWidget) -> bool:
    """Whether keys led to this control, which they are therefore meant for."""
    direct = Qt.FindChildOption.FindDirectChildrenOnly
    return control.findChild(_Outline, "focus", direct) is not None


class _Outline(QWidget):
    """A frame inside the edges of a control, whatever is drawn there; clicks go through."""

    def __init__(self, control: QWidget) -> None:
        super().__init__(control)
        self.setObjectName("focus")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setStyleSheet("background: transparent")
        self._control = control
        control.installEventFilter(self)
        self.setGeometry(control.rect())
        self.raise_()
        self.show()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keep the size of the control."""
        if event.type() == QEvent.Type.Resize:
            self.setGeometry(self._control.rect())
        return super().eventFilter(watched, event)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Blue outside, white inside."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        edge = QRectF(self.rect())
        for color, inset, width in ((RING, 1.0, 2.0), (INNER, 2.5, 1.0)):
            painter.setPen(QPen(color, width))
            painter.drawRoundedRect(edge.adjusted(inset, inset, -inset, -inset), 3, 3)
        painter.end()
