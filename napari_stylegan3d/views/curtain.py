"""The draggable line of a swipe comparison in one view."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QObject, QPoint, QPointF, Qt, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

from napari_stylegan3d.widgets.controls import scaled

WIDTH, LETTER_Y, GRIP = 44, 58, 9
#: The line keeps clear of the letters at the top and bottom, and its grip of those at the sides.
END_PX, GRIP_AT = 36, 0.62
#: Distance in pixels within which the line can be grabbed.
NEAR = 12
LINE, TEXT, BEHIND = QColor("#ffb74d"), QColor("#ffffff"), QColor(0, 0, 0, 165)


class SwipeLine(QWidget):
    """A strip of the canvas around the line; only the line itself can be dragged."""

    moved = Signal(int, float)
    """(world axis, millimetre)"""

    def __init__(self, canvas: QWidget, model: ViewerModel, axis: int) -> None:
        super().__init__(canvas)
        self.setObjectName(f"compare.curtain_line.{axis}")
        self.setToolTip("Drag: A to the left of the line, B to the right.")
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.setCursor(Qt.CursorShape.SplitHCursor)
        self.model, self.axis = model, axis
        self.position_mm = 0.0
        camera = model.scene.camera.events
        self._signals = (camera.center, camera.zoom, camera.orientation)
        for signal in self._signals:
            signal.connect(self._place)
        canvas.installEventFilter(self)
        self._place()
        self.show()

    def set_position(self, position_mm: float) -> None:
        """Move the line."""
        self.position_mm = position_mm
        self._place()

    def x_px(self) -> float:
        """Position of the line, in pixels from the left of the canvas."""
        camera = self.model.scene.camera
        across = (self.position_mm - camera.center[-1]) * self._sign()
        return self.parentWidget().width() / 2 + across * camera.zoom

    def close_links(self) -> None:
        """Disconnect from the model and the canvas."""
        for signal in self._signals:
            signal.disconnect(self._place)
        self.parent().removeEventFilter(self)
        self.setParent(None)
        self.deleteLater()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keep the position in mm when the canvas is resized."""
        if event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Grab the line; other clicks go to the canvas."""
        near = abs(event.position().x() - self.width() / 2) <= NEAR
        event.setAccepted(near)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag it."""
        x = self.mapTo(self.parentWidget(), event.position().toPoint()).x()
        x = min(max(x, 0), self.parentWidget().width())
        camera = self.model.scene.camera
        across = (x - self.parentWidget().width() / 2) / camera.zoom
        self.moved.emit(self.axis, float(camera.center[-1] + across * self._sign()))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the line, a grip, and the letters A and B."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle, height = self.width() / 2, self.height()
        painter.setPen(QPen(LINE, 1.5))
        end = min(scaled(END_PX), height // 4)
        painter.drawLine(QPointF(middle, end), QPointF(middle, height - end))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(BEHIND)
        painter.drawRoundedRect(2, LETTER_Y - 15, self.width() - 4, 20, 4, 4)
        painter.setPen(TEXT)
        font = painter.font()
        font.setPixelSize(13)
        font.setBold(True)
        painter.setFont(font)
        painter.drawText(QPoint(7, LETTER_Y), "A")
        painter.drawText(QPoint(self.width() - 16, LETTER_Y), "B")
        painter.setBrush(LINE)
        painter.setPen(Qt.PenStyle.NoPen)
        y = GRIP_AT * height
        for side in (-1, 1):
            tip = QPointF(middle + side * (GRIP + 4), y)
            top, foot = (QPointF(middle + side * 4, y + dy) for dy in (-GRIP, GRIP))
            painter.drawPolygon(QPolygonF([tip, top, foot]))
        painter.end()

    @property
    def is_mirrored(self) -> bool:
        """Whether the axis points to the left of the screen."""
        return bool(self.model.scene.camera.orientation[-1] == "left")

    def _sign(self) -> int:
        return -1 if self.is_mirrored else 1

    def _place(self, _: Any = None) -> None:
        canvas = self.parentWidget()
        self.setGeometry(round(self.x_px() - WIDTH / 2), 0, WIDTH, canvas.height())
        self.update()
