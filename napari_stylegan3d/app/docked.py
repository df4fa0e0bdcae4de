"""A dock widget that occupies the centre of its window, and detects when either closes."""

from __future__ import annotations

from napari.components import ViewerModel
from napari.qt import QtViewer
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import QApplication, QDockWidget, QMainWindow, QWidget

DOCKS = ("layer list", "layer controls")


class Docked(QWidget):
    """Calls `begin` when shown in a napari window, and `close_explorer` when that closes."""

    def __init__(self) -> None:
        super().__init__()
        self._window: QMainWindow | None = None
        self._begun = self._closed = False

    def begin(self, window: QMainWindow) -> None:
        """The window is available."""
        raise NotImplementedError

    def close_explorer(self) -> None:
        """The window or the dock was closed; may be called more than once."""
        raise NotImplementedError

    def let_go(self) -> None:
        """Disconnect from the window, so that this widget does not keep it alive."""
        if self._window is not None:
            self._window.removeEventFilter(self)
            self._window = None

    def showEvent(self, event: QShowEvent) -> None:
        """Call `begin` when shown for the first time."""
        super().showEvent(event)
        if not self._begun:
            self._begun = True
            QTimer.singleShot(0, self._begin)

    def event(self, event: QEvent) -> bool:
        """Detect when napari removes the dock."""
        if event.type() == QEvent.Type.ParentChange and self._window and self.parent() is None:
            self.close_explorer()
            self.deleteLater()  # PySide6 does not collect what is connected to a function of itself
        return super().event(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Detect when the window closes: a plugin's own closeEvent is never called."""
        # A visible window may still refuse to close; once hidden it is closing.
        closing = event.type() == QEvent.Type.Close and not watched.isVisible()
        hidden = isinstance(event, QHideEvent) and not event.spontaneous()
        if watched is self._window and (closing or hidden):
            self.close_explorer()
        return False

    def _begin(self) -> None:
        window = self.window()
        if self._closed or not isinstance(window, QMainWindow):
            return
        if window.findChild(QtViewer) is None:
            return
        self._window = window
        window.installEventFilter(self)
        QApplication.instance().aboutToQuit.connect(self.close_explorer)
        self.begin(window)


class CalmWindow:
    """Hides napari's layer docks and status bar; `restore` shows them again.

    They stay in the Window menu. Viewers that already have layers are not changed.
    """

    def __init__(self, window: QMainWindow, viewer: ViewerModel) -> None:
        self._hidden: list[QDockWidget] = []
        self._bar = None
        if len(viewer.layers):
            return
        for dock in window.findChildren(QDockWidget):
            if dock.objectName() in DOCKS and not dock.isHidden():
                dock.hide()
                self._hidden.append(dock)
        self._bar = window.statusBar()
        self._bar.hide()

    def restore(self) -> None:
        """Restore visibility."""
        for dock in self._hidden:
            dock.show()
        self._hidden.clear()
        if self._bar is not None:
            self._bar.show()
            self._bar = None
