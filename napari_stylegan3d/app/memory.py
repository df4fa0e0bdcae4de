"""Persistent window settings: geometry, view settings, folders, Measure."""

from __future__ import annotations

import json
from pathlib import Path

from qtpy.QtCore import QObject, Qt
from qtpy.QtWidgets import QDockWidget, QLineEdit, QMainWindow, QWidget

from napari_stylegan3d.views.look import LookModel, ViewLook
from napari_stylegan3d.widgets.fold import Fold
from napari_stylegan3d.widgets.settings import LOOK, MEASURE, SAVE_FOLDER, WIDTH, settings

#: Maximum width of the dock.
WIDEST = 900


class Memory(QObject):
    """Restores window settings, and saves them when the window closes.

    Parameters
    ----------
    dock : QWidget
        The dock, whose width is saved.
    folder : QLineEdit
        Field of the output folder.
    measure : Fold
        Its expanded state is saved.
    """

    def __init__(self, dock: QWidget, folder: QLineEdit, measure: Fold) -> None:
        super().__init__(dock)
        self.dock, self.folder, self.measure = dock, folder, measure
        self._looks: LookModel | None = None

    def begin(self, window: QMainWindow, looks: LookModel) -> None:
        """Restore the settings of window and views."""
        self._looks = looks
        kept = settings()
        width = int(kept.value(WIDTH, 0, type=int))
        dock = self._dock()
        if dock is not None and self.dock.minimumWidth() <= width <= WIDEST:
            window.resizeDocks([dock], [width], Qt.Orientation.Horizontal)
        folder = str(kept.value(SAVE_FOLDER, ""))
        if folder and Path(folder).is_dir():
            self.folder.setText(folder)
        self.measure.unfold(bool(kept.value(MEASURE, False, type=bool)))
        look = _look(str(kept.value(LOOK, "")))
        if look is not None:
            looks.set(look)

    def close(self) -> None:
        """Save the settings."""
        if self._looks is None:
            return
        kept = settings()
        kept.setValue(WIDTH, self.dock.width())
        kept.setValue(SAVE_FOLDER, self.folder.text())
        kept.setValue(MEASURE, self.measure.open)
        kept.setValue(LOOK, json.dumps(self._looks.look.as_dict()))
        self._looks = None

    def _dock(self) -> QDockWidget | None:
        parent = self.dock.parent()
        while parent is not None and not isinstance(parent, QDockWidget):
            parent = parent.parent()
        return parent


def _look(text: str) -> ViewLook | None:
    """Parse a saved look; None if missing or of another version."""
    try:
        plain = json.loads(text)
        return ViewLook.from_dict(plain) if isinstance(plain, dict) else ViewLook()
    except (ValueError, TypeError, KeyError):
        return None
