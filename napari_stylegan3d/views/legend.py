"""The colour bar."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import (
    QColor,
    QFont,
    QFontMetrics,
    QFontMetricsF,
    QImage,
    QPainter,
    QPaintEvent,
    QPen,
)
from qtpy.QtWidgets import QWidget

from napari_stylegan3d.views.glass import Glass, write_outlined
from napari_stylegan3d.views.overlays import ColorScale
from napari_stylegan3d.widgets.controls import scaled
from napari_stylegan3d.widgets.elided import wrapped

TEXT = QColor(232, 234, 237)
SCALE_OUTLINE_PX = ((-1, 0), (1, 0), (0, -1), (0, 1))
FONT_PX = 11
BAR_PX = 12
#: Height of the bar as a share of the view, within limits.
BAR_SHARE, SHORTEST_PX, LONGEST_PX = 0.2, 50, 150
#: A longer title is broken: the head is beside it.
SCALE_TITLE_PX = 110
SCALE_MARGIN_PX = 8
#: Least distance of ticks as a share of the bar.
NEAR = 0.14


class ColorBar(Glass):
    """A colour bar at the right edge of a view, from `top` downwards; hidden without a legend."""

    def __init__(self, canvas: QWidget, model: ViewerModel, top: int) -> None:
        super().__init__(canvas, model, ())
        self.top = top
        self.legend: ColorScale | None = None

    def set_legend(self, legend: ColorScale | None) -> None:
        """Set or remove the legend."""
        if legend != self.legend:
            self.legend = legend
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the bar."""
        if self.legend is None:
            return
        painter = QPainter(self)
        height = float(np.clip(BAR_SHARE * self.height(), SHORTEST_PX, LONGEST_PX))
        paint_legend(
            painter, self.legend, QPointF(self.width() - SCALE_MARGIN_PX, self.top), height
        )
        painter.end()


def paint_legend(painter: QPainter, legend: ColorScale, corner: QPointF, height: float) -> None:
    """Draw a colour bar with its title and numbers, its top right at `corner`."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    font = QFont(painter.font())
    font.setPixelSize(scaled(FONT_PX))
    painter.setFont(font)
    metrics = QFontMetricsF(font)
    lines = wrapped(legend.label, QFontMetrics(font), scaled(SCALE_TITLE_PX))
    lines += [legend.unit] if legend.unit else []
    marks = ticks(legend)
    widest = max(metrics.horizontalAdvance(text) for text in (*lines, *(t for _, t in marks)))
    width = max(widest, BAR_PX + 8 + max(metrics.horizontalAdvance(t) for _, t in marks)) + 12
    row = metrics.height()
    box = QRectF(corner.x() - width, corner.y(), width, height + row * (len(lines) + 1) + 10)
    for index, line in enumerate(lines):
        _write_beside(
            painter, QRectF(box.left(), box.top() + 4 + index * row, width - 6, row), line
        )
    top = box.top() + row * (len(lines) + 0.5) + 6
    bar = QRectF(box.right() - 6 - BAR_PX, top, BAR_PX, height)
    painter.drawImage(bar, bar_image(legend))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(TEXT, 1))
    painter.drawRect(bar)
    for share, text in marks:
        painter.setPen(TEXT)
        y = bar.bottom() - share * height
        painter.drawLine(QPointF(bar.left() - 4, y), QPointF(bar.left(), y))
        _write_beside(
            painter, QRectF(box.left(), y - row / 2, bar.left() - 7 - box.left(), row), text
        )


def _write_beside(painter: QPainter, place: QRectF, text: str) -> None:
    """Write at the right of a place."""
    side = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
    write_outlined(painter, place, side, text, TEXT, SCALE_OUTLINE_PX)


def ticks(legend: ColorScale) -> list[tuple[float, str]]:
    """(position from the bottom, 0 to 1; number) of the ticks."""
    numbers = [-legend.limit, legend.limit]
    share = legend.threshold / legend.limit
    numbers += [-legend.threshold, legend.threshold] if NEAR < share < 1 - NEAR else [0.0]
    return [((n / legend.limit + 1) / 2, _number(n)) for n in sorted(numbers)]


def _number(value: float) -> str:
    """Two digits, and all of them in front of the point: +300, not +3e+02."""
    if abs(value) >= 100:
        return f"{value:+.0f}"
    return f"{value:+.2g}" if value else "0"


def bar_image(legend: ColorScale) -> QImage:
    """The colours from the highest down, over black where they are transparent."""
    table = legend.table[::-1]
    colors = np.round(255 * table[:, :3] * (table[:, 3:] > 0)).astype(np.uint8)
    pixels = np.ascontiguousarray(colors[:, None])
    image = QImage(pixels.data, 1, len(pixels), 3, QImage.Format.Format_RGB888)
    return image.copy()
