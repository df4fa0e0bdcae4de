"""The curve of a measure over age, its limits, and where this brain lies."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_stylegan3d.widgets.controls import scaled
from stylegan3d.segmentation.curves import Curve, tick_text

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
        box = QRectF(left, rest, self.width() - left - rest, self.height() - bottom - rest)
        lowest, highest = curve.span
        first, last = float(curve.ages[0]), float(curve.ages[-1])

        def at(age: float, value: float) -> QPointF:
            x = box.left() + box.width() * (age - first) / (last - first)
            return QPointF(x, box.bottom() - box.height() * (value - lowest) / (highest - lowest))

        def line(values: np.ndarray) -> list[QPointF]:
            return [at(float(a), float(v)) for a, v in zip(curve.ages, values, strict=True)]

        band = QColor(LINE)
        band.setAlpha(50)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(band)
        painter.drawPolygon(QPolygonF([*line(curve.low), *reversed(line(curve.high))]))
        painter.setPen(QPen(LINE, scaled(2)))
        painter.drawPolyline(QPolygonF(line(curve.expected)))
        words = self.palette().text().color()
        painter.setPen(words)
        for age in curve.ticks:
            place = at(age, lowest)
            text = QRectF(place.x() - left / 2, box.bottom() + 2, left, bottom - 2)
            if age < curve.ticks[-1]:
                painter.drawText(text, Qt.AlignmentFlag.AlignHCenter, f"{age}")
            else:  # the last one has the unit
                text.setRight(self.width())
                text.setLeft(box.left())
                label = f"{age} years"
                painter.drawText(text, Qt.AlignmentFlag.AlignRight, label)
        for value, flag in (
            (curve.high.max(), Qt.AlignmentFlag.AlignTop),
            (curve.low.min(), Qt.AlignmentFlag.AlignBottom),
        ):
            place = at(first, float(value))
            text = QRectF(0, place.y() - bottom / 2, left - 4, bottom)
            label = f"{tick_text(float(value))} {curve.unit}"
            painter.drawText(text, flag | Qt.AlignmentFlag.AlignRight, label)
        painter.setPen(QPen(self.palette().base().color(), 1))
        painter.setBrush(DOT)
        radius = scaled(5)
        painter.drawEllipse(at(curve.age, curve.value), radius, radius)
