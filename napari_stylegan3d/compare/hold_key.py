"""A key that does something while it is held, wherever in the window the focus is."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, Signal
from qtpy.QtGui import QKeyEvent, QKeySequence, QWindow
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QTextEdit,
    QWidget,
)

from napari_stylegan3d.widgets.theme import is_outlined

#: The keys, in words; they do something while they are held.
HELD, HELD_IN_VIEWS = "B", "Space"
HOLD_KEY, KEY_IN_VIEWS = (QKeySequence(one)[0].key() for one in (HELD, HELD_IN_VIEWS))
TEXT_FIELDS = (QLineEdit, QAbstractSpinBox, QTextEdit, QPlainTextEdit, QAbstractItemView)


class HoldKey(QObject):
    """Watches a window's keys: B anywhere but in text fields, and the space bar in the views.

    The space bar still presses a button that Tab led to. A shortcut would not report the release
    of the key.

    Parameters
    ----------
    window : QWindow
        Whose keys.
    views : QWidget
        Where the space bar counts.
    wanted : callable
        Whether there is anything to be done at present.
    parent : QObject
        Owns it.
    """

    held = Signal(bool)
    """Pressed, or released."""

    def __init__(
        self, window: QWindow, views: QWidget, wanted: Callable[[], bool], parent: QObject
    ) -> None:
        super().__init__(parent)
        self._window: QWindow | None = window
        self._views: QWidget | None = views
        self._wanted = wanted
        self._key: int | None = None
        window.installEventFilter(self)

    def close(self) -> None:
        """Watch no longer."""
        if self._window is not None:
            self._window.removeEventFilter(self)
        # The window is closed later than this, and would keep what it refers to until then.
        self._window = self._views = None

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        """Take the key while it counts."""
        if event.type() == QEvent.Type.FocusOut and self._key is not None:
            self._let_go()  # the key will be released in another window
            return False
        if not isinstance(event, QKeyEvent):
            return False
        if event.type() == QEvent.Type.KeyPress:
            return self._press(event)
        if event.type() == QEvent.Type.KeyRelease and event.key() == self._key:
            if not event.isAutoRepeat():
                self._let_go()
            return True
        return False

    def _press(self, event: QKeyEvent) -> bool:
        if self._key is not None:
            return event.key() == self._key
        if event.modifiers() or event.isAutoRepeat() or not self._counts(event.key()):
            return False
        self._key = event.key()
        self.held.emit(True)
        return True

    def _counts(self, key: int) -> bool:
        focus = QApplication.focusWidget()
        typing = isinstance(focus, TEXT_FIELDS) or (
            isinstance(focus, QComboBox) and focus.isEditable()
        )
        if typing or not self._wanted():
            return False
        views = self._views
        in_views = focus is not None and views is not None and views.isAncestorOf(focus)
        pressing = isinstance(focus, QAbstractButton) and is_outlined(focus)
        return key == HOLD_KEY or (key == KEY_IN_VIEWS and in_views and not pressing)

    def _let_go(self) -> None:
        self._key = None
        self.held.emit(False)
