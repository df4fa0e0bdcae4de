"""How the latent map is drawn: colours for dark and light, axes, density, marks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QBrush, QColor, QPainter, QPainterPath, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

if TYPE_CHECKING:
    from napari_stylegan3d.browse.map_plot import LatentPlot, Mark

#: Opacity of the areas that enclose 50, 80 and 95 % of random brains, the inner on the outer.
DEPTHS = (70, 48, 36)
#: A spread this close to 1 would draw the line of 95 % once more.
SAME = 0.005
LABEL_SHARES = {0: "50 %", 2: "95 %"}


@dataclass(frozen=True)
class Inks:
    """Colours that are told apart without seeing red and green; shapes tell too."""

    ground: str
    text: str
    hint: str
    line: str
    density: str
    here: str
    favourite: str
    scan: str
    accent: str


DARK = Inks(
    "#15171c",
    "#e8eaed",
    "#9aa3ad",
    "#343a44",
    "#6f9cff",
    "#ff9a3c",
    "#7fd3ff",
    "#ffffff",
    "#6480e6",
)
LIGHT = Inks(
    "#ffffff",
    "#1b1c1f",
    "#555a61",
    "#d5d2d0",
    "#3a62c8",
    "#b84f00",
    "#0a6aa6",
    "#1b1c1f",
    "#3a59c7",
)


def inks(widget: QWidget) -> Inks:
    """Those that go with the widget's theme."""
    text = widget.palette().color(QPalette.ColorRole.WindowText)
    return DARK if text.lightness() > 127 else LIGHT


def draw_axes(painter: QPainter, plot: LatentPlot, colors: Inks) -> None:
    """Ground, grid, ticks in whole sd, and the names of the axes."""
    area = plot.plot
    painter.fillRect(area, QColor(colors.ground))
    metrics = painter.fontMetrics()
    whole = int(np.floor(plot.reach))
    for tick in range(-whole, whole + 1):
        at = plot.to_pixels(np.array([tick, tick]))
        painter.setPen(QPen(QColor(colors.hint if tick == 0 else colors.line), 1))
        painter.drawLine(QPointF(at.x(), area.top()), QPointF(at.x(), area.bottom()))
        painter.drawLine(QPointF(area.left(), at.y()), QPointF(area.right(), at.y()))
        painter.setPen(QColor(colors.hint))
        text = f"{tick:+d}" if tick else "0"
        half = metrics.horizontalAdvance(text) / 2
        painter.drawText(QPointF(at.x() - half, area.bottom() + metrics.ascent() + 2), text)
        middle = at.y() + metrics.ascent() / 2 - 1
        painter.drawText(QPointF(area.left() - 2 * half - 4, middle), text)
    painter.setPen(QColor(colors.text))
    x, y = plot.names
    across = metrics.elidedText(x, Qt.TextElideMode.ElideRight, round(area.width()))
    below = QRectF(area.left(), plot.height() - metrics.height(), area.width(), metrics.height())
    painter.drawText(below, Qt.AlignmentFlag.AlignCenter, across)
    painter.save()
    painter.rotate(-90)
    up = metrics.elidedText(y, Qt.TextElideMode.ElideRight, round(area.height()))
    beside = QRectF(-area.bottom(), 0, area.height(), metrics.height())
    painter.drawText(beside, Qt.AlignmentFlag.AlignCenter, up)
    painter.restore()


def draw_density(painter: QPainter, plot: LatentPlot, colors: Inks) -> None:
    """Areas that enclose shares of random brains, and how far truncation leaves them."""
    for index in reversed(range(len(plot.lines))):
        tint = QColor(colors.density)
        edge = QPen(tint, 1)
        tint.setAlpha(DEPTHS[index])
        painter.setPen(edge)
        painter.setBrush(tint)
        painter.drawPath(_path(plot, plot.lines[index], 1.0))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    if plot.lines and plot.spread is not None and abs(plot.spread - 1) > SAME:
        painter.setPen(QPen(QColor(colors.text), 1, Qt.PenStyle.DashLine))
        painter.drawPath(_path(plot, plot.lines[-1], plot.spread))
    for index, text in LABEL_SHARES.items():
        if index < len(plot.lines) and plot.lines[index]:
            outer = max(plot.lines[index], key=len)
            highest = plot.to_pixels(outer[outer[:, 1].argmax()])
            _write(painter, highest + QPointF(0, -3), text, colors.hint, colors.ground)


def draw_mark(painter: QPainter, plot: LatentPlot, mark: Mark, colors: Inks) -> None:
    """A star for a favourite, a triangle for a scan."""
    at = plot.to_pixels(mark.at)
    favourite = mark.kind == "favourite"
    corners = _star(at, 7) if favourite else _regular(at, 7, 3)
    painter.setPen(QPen(QColor(colors.ground), 1.5))
    painter.setBrush(QColor(colors.favourite if favourite else colors.scan))
    painter.drawPolygon(corners)


def draw_name(painter: QPainter, plot: LatentPlot, mark: Mark, colors: Inks) -> None:
    """The name of a scan, above its sign; favourites, which may be many, say theirs on hover."""
    if mark.kind == "scan":
        above = plot.to_pixels(mark.at) - QPointF(0, 10)
        _write(painter, above, mark.label, colors.text, colors.ground)


def draw_here(painter: QPainter, at: QPointF, colors: Inks) -> None:
    """A disc in a ring: the current brain."""
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(QColor(colors.text), 1.5))
    painter.drawEllipse(at, 9, 9)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QBrush(QColor(colors.here)))
    painter.drawEllipse(at, 6, 6)


def draw_legend_sign(painter: QPainter, kind: str, at: QPointF, colors: Inks) -> None:
    """The sign of one kind of thing on the map, for its legend."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    if kind == "here":
        draw_here(painter, at, colors)
        return
    if kind == "truncated":
        painter.setPen(QPen(QColor(colors.text), 1, Qt.PenStyle.DashLine))
        painter.drawLine(at - QPointF(9, 0), at + QPointF(9, 0))
        return
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(colors.favourite if kind == "favourite" else colors.scan))
    painter.drawPolygon(_star(at, 7) if kind == "favourite" else _regular(at, 7, 3))


def _path(plot: LatentPlot, lines: list[np.ndarray], scale: float) -> QPainterPath:
    path = QPainterPath()
    for line in lines:
        path.addPolygon(plot.polygon(line * scale))
    return path


def _write(painter: QPainter, foot: QPointF, text: str, color: str, ground: str) -> None:
    """A text above a point, kept apart from what is under it."""
    width = painter.fontMetrics().horizontalAdvance(text)
    start = foot - QPointF(width / 2, 0)
    painter.setPen(QColor(ground))
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        painter.drawText(start + QPointF(dx, dy), text)
    painter.setPen(QColor(color))
    painter.drawText(start, text)


def _regular(at: QPointF, radius: float, corners: int) -> QPolygonF:
    angles = np.arange(corners) * 2 * np.pi / corners - np.pi / 2
    return QPolygonF([at + radius * QPointF(np.cos(a), np.sin(a)) for a in angles])


def _star(at: QPointF, radius: float) -> QPolygonF:
    angles = np.arange(10) * np.pi / 5 - np.pi / 2
    lengths = radius * np.where(np.arange(10) % 2, 0.42, 1.0)
    return QPolygonF(
        [at + r * QPointF(np.cos(a), np.sin(a)) for a, r in zip(angles, lengths, strict=True)]
    )
