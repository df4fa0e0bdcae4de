"""Putting napari's own docks out of the way while the explorer is open.

They stay in the Window menu. A viewer that holds someone's work already is left as it is.
"""

from __future__ import annotations

from napari.components import ViewerModel
from qtpy.QtWidgets import QDockWidget, QMainWindow

DOCKS = ("layer list", "layer controls")


class CalmWindow:
    """Hides napari's layer docks and status bar; `restore` brings back what was visible."""

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
        """Show again what was hidden."""
        for dock in self._hidden:
            dock.show()
        self._hidden.clear()
        if self._bar is not None:
            self._bar.show()
            self._bar = None
