"""The crosshair, painted over a 2D canvas."""

from __future__ import annotations

from napari.components import ViewerModel
from qtpy.QtCore import QLineF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QWidget

from napari_stylegan3d.views.glass import Glass
from napari_stylegan3d.widgets.controls import scaled

CROSS_COLOR = QColor(79, 195, 247, 175)
GAP_PX = 9
#: The lines end before the letters at the edges.
EDGE_PX = 40
#: In narrow views the vertical line ends above the caption.
NARROW_VIEW_PX, MESSAGE_PX = 250, 76


class Crosshair(Glass):
    """Follows a viewer model's point, camera and displayed axes."""

    def __init__(self, canvas: QWidget, model: ViewerModel) -> None:
        camera = model.scene.camera.events
        dims = model.dims.events
        signals = (camera.center, camera.zoom, camera.orientation)
        super().__init__(canvas, model, (*signals, dims.point, dims.order, dims.ndisplay))
        self._shown = True
        self._message = ""

    @property
    def shown(self) -> bool:
        """Whether the lines are drawn."""
        return self._shown

    @shown.setter
    def shown(self, value: bool) -> None:
        self._shown = value
        self.update()

    @property
    def message(self) -> str:
        """Text in the centre of an empty view."""
        return self._message

    @message.setter
    def message(self, text: str) -> None:
        self._message = text
        self.update()

    def position_px(self) -> tuple[float, float]:
        """Position in widget pixels from the top left."""
        row, column = self.model.dims.displayed[-2:]
        point = self.model.dims.point
        at = self.to_px(point[row], point[column])
        return at.x(), at.y()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the lines, or the message if the view is empty."""
        painter = QPainter(self)
        if not any(layer.visible for layer in self.model.layers):
            painter.setPen(QColor(160, 166, 174))
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, self._message)
        elif self._shown and self.model.dims.ndisplay == 2 and self.model.dims.ndim == 3:
            self._paint_lines(painter)
        painter.end()

    def _paint_lines(self, painter: QPainter) -> None:
        x, y = self.position_px()
        narrow = self.width() < scaled(NARROW_VIEW_PX)
        end = self.height() - (scaled(MESSAGE_PX) if narrow else EDGE_PX)
        painter.setPen(QPen(CROSS_COLOR, 1))
        for line in (
            (min(EDGE_PX, x - GAP_PX), y, x - GAP_PX, y),
            (x + GAP_PX, y, max(self.width() - EDGE_PX, x + GAP_PX), y),
            (x, min(EDGE_PX, y - GAP_PX), x, y - GAP_PX),
            (x, y + GAP_PX, x, max(end, y + GAP_PX)),
        ):
            painter.drawLine(QLineF(*line))
