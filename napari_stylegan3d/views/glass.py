"""Base of Qt overlays on a canvas, such as the crosshair.

A napari layer would redraw the volume on every change and extend the field of view. An overlay is
missing in napari's own screenshots, but not in the explorer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QObject, QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter
from qtpy.QtWidgets import QWidget

#: Dark outline of text: a box behind it would hide tissue, or dim it like a change of signal.
OUTLINE = QColor(0, 0, 0)


class Glass(QWidget):
    """An overlay on a whole canvas, transparent to the mouse.

    Parameters
    ----------
    canvas : QWidget
        The canvas to cover.
    model : ViewerModel
        The viewer model to draw.
    signals : tuple of object
        Events of the model that trigger a redraw.
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

    def to_px(self, row_mm: float, column_mm: float) -> QPointF:
        """A point of a 2D view in widget pixels from the top left."""
        camera = self.model.scene.camera
        _, vertical, horizontal = camera.orientation
        dy = (row_mm - camera.center[-2]) * (1 if vertical == "down" else -1)
        dx = (column_mm - camera.center[-1]) * (1 if horizontal == "right" else -1)
        return QPointF(self.width() / 2 + dx * camera.zoom, self.height() / 2 + dy * camera.zoom)

    def close_links(self) -> None:
        """Disconnect from the model and the canvas."""
        for signal in self._signals:
            signal.disconnect(self._on_change)
        self.parent().removeEventFilter(self)
        self.setParent(None)
        self.deleteLater()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Follow the size of the canvas."""
        if event.type() == QEvent.Type.Resize:
            self.place(watched)
        return False

    def _on_change(self, _: Any = None) -> None:
        self.update()


def write_outlined(
    painter: QPainter,
    place: QRectF,
    side: Qt.AlignmentFlag,
    text: str,
    color: QColor,
    outline: Sequence[tuple[int, int]],
) -> None:
    """Write in a place, with copies in the dark `outline` pixels (x, y) away behind it."""
    painter.setPen(OUTLINE)
    for x, y in outline:  # an outlined path would take fifty times as long
        painter.drawText(place.translated(x, y), side, text)
    painter.setPen(color)
    painter.drawText(place, side, text)
