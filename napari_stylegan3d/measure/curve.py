"""The curve of a measure over age, its limits, and where this brain lies."""

from __future__ import annotations

from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_stylegan3d.widgets.controls import scaled
from stylegan3d.segmentation.curves import Curve

HEIGHT = 130
LEFT, BOTTOM, REST = 52, 20, 8
LINE, DOT = QColor("#56b4e9"), QColor("#e69f00")


class CurvePlot(QWidget):
    """Draws one curve; empty without."""

    def __init__(self, name: str, tip: str) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setToolTip(tip)
        self.setMinimumHeight(scaled(HEIGHT))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.curve: Curve | None = None

    def show_curve(self, curve: Curve | None) -> None:
        """Draw another curve; None takes the plot away."""
        self.curve = curve
        self.setVisible(curve is not None)
        if curve is not None:
            self.setAccessibleName(f"{curve.title} over age")
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Band of 95 %, median, axes and dot."""
        if self.curve is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint(painter, self.curve)
        painter.end()

    def _paint(self, painter: QPainter, curve: Curve) -> None:
        left, bottom, rest = (scaled(n) for n in (LEFT, BOTTOM, REST))
        size = self.width(), self.height()
        drawn = curve.drawn(*size, left=left, bottom=bottom, right=rest, top=rest, units=True)
        band = QColor(LINE)
        band.setAlpha(50)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(band)
        painter.drawPolygon(QPolygonF([QPointF(*place) for place in drawn.band]))
        painter.setPen(QPen(LINE, scaled(2)))
        painter.drawPolyline(QPolygonF([QPointF(*place) for place in drawn.middle]))
        painter.setPen(self.palette().text().color())
        for x, y, anchor, text in drawn.labels:
            wide = painter.fontMetrics().horizontalAdvance(text)
            painter.drawText(QPointF(x - (wide if anchor == "end" else wide / 2), y), text)
        painter.setPen(QPen(self.palette().base().color(), 1))
        painter.setBrush(DOT)
        radius = scaled(5)
        painter.drawEllipse(QPointF(*drawn.dot), radius, radius)
