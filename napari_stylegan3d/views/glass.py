"""What Qt paints over a canvas, such as the crosshair.

A napari layer would do, but a layer redraws the volume on every change and widens the field of
view. Painted over a canvas it is no part of napari's screenshots; the explorer's own have it.
"""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QWidget


class Glass(QWidget):
    """A sheet over a whole canvas that lets the mouse through.

    Parameters
    ----------
    canvas : QWidget
        What it covers.
    model : ViewerModel
        Whose state is drawn.
    signals : tuple of object
        Events of the model after which it is drawn again.
    """

    def __init__(self, canvas: QWidget, model: ViewerModel, signals: tuple[Any, ...]) -> None:
        super().__init__(canvas)
        self.model = model
        self._signals = signals
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        canvas.installEventFilter(self)
        for signal in signals:
            signal.connect(self._on_change)
        self.place(canvas)
        self.show()

    def place(self, canvas: QWidget) -> None:
        """Cover the canvas."""
        self.resize(canvas.size())

    def close_links(self) -> None:
        """Let go of the model and the canvas."""
        for signal in self._signals:
            signal.disconnect(self._on_change)
        self.parent().removeEventFilter(self)
        self.setParent(None)
        self.deleteLater()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keep its place when the canvas is resized."""
        if event.type() == QEvent.Type.Resize:
            self.place(watched)
        return False

    def _on_change(self, _: Any = None) -> None:
        self.update()
