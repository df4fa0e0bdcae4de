"""What the window remembers from one time to the next: its place, how to look, folders, Measure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow

from napari_stylegan3d.widgets.settings import LOOK, MEASURE, SAVE_FOLDER, WIDTH, settings

if TYPE_CHECKING:
    from napari_stylegan3d.app.explorer import Explorer

#: A dock wider than this leaves no room for the views.
WIDEST = 900


class Memory(QObject):
    """Brings back what is remembered of a window, and notes it when the window closes."""

    def __init__(self, explorer: Explorer) -> None:
        super().__init__(explorer)
        self.explorer = explorer
        self._window: QMainWindow | None = None

    def begin(self, window: QMainWindow) -> None:
        """The window and the views are there: bring back how they were."""
        self._window = window
        explorer, kept = self.explorer, settings()
        width = int(kept.value(WIDTH, 0, type=int))
        dock = self._dock()
        if dock is not None and explorer.minimumWidth() <= width <= WIDEST:
            window.resizeDocks([dock], [width], Qt.Orientation.Horizontal)
        folder = str(kept.value(SAVE_FOLDER, ""))
        if folder and Path(folder).is_dir():
            explorer.export.folder.setText(folder)
        explorer.measuring.box.unfold(bool(kept.value(MEASURE, False, type=bool)))
        if explorer.views is not None:
            self._bring_look_back(str(kept.value(LOOK, "")))

    def close(self) -> None:
        """Note how the window is left."""
        if self._window is None or self.explorer.views is None:
            return
        kept = settings()
        kept.setValue(WIDTH, self.explorer.width())
        kept.setValue(SAVE_FOLDER, self.explorer.export.folder.text())
        kept.setValue(MEASURE, self.explorer.measuring.box.open)
        kept.setValue(LOOK, json.dumps(self.explorer.views.looks.look.as_dict()))
        self._window = None

    def _bring_look_back(self, text: str) -> None:
        from napari_stylegan3d.views.look import Look

        try:
            plain = json.loads(text)
            look = Look.from_dict(plain) if isinstance(plain, dict) else Look()
        except (ValueError, TypeError, KeyError):
            return  # nothing kept yet, or by another version
        assert self.explorer.views is not None
        self.explorer.views.looks.set(look)

    def _dock(self) -> QDockWidget | None:
        parent = self.explorer.parent()
        while parent is not None and not isinstance(parent, QDockWidget):
            parent = parent.parent()
        return parent
