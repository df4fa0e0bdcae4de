"""How the latent map is drawn: colours for dark and light, and the signs of brains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QBrush, QColor, QPainter, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QWidget


@dataclass(frozen=True)
class Inks:
    """Colours that stay distinct with red-green colour blindness; shapes differ too."""

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
    """Those of the widget's theme."""
    text = widget.palette().color(QPalette.ColorRole.WindowText)
    return DARK if text.lightness() > 127 else LIGHT


def draw_mark(painter: QPainter, kind: str, at: QPointF, colors: Inks) -> None:
    """A star for a favourite, a triangle for a scan."""
    favourite = kind == "favourite"
    painter.setPen(QPen(QColor(colors.ground), 1.5))
    painter.setBrush(QColor(colors.favourite if favourite else colors.scan))
    painter.drawPolygon(_star(at, 7) if favourite else _regular(at, 7, 3))


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


def write(painter: QPainter, foot: QPointF, text: str, color: str, ground: str) -> None:
    """A text above a point, outlined in the ground colour."""
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
