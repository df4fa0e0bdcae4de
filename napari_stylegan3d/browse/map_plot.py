"""The plot of the latent map: density of random brains, marks, and a place to travel to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import (
    QColor,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
    QPolygonF,
)
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_stylegan3d.browse import map_ink as ink
from napari_stylegan3d.widgets.controls import scaled

if TYPE_CHECKING:
    from stylegan3d.recipe.recipe import Recipe

#: Room for tick labels and axis names, in px.
LEFT, BOTTOM, TOP, RIGHT = 40, 36, 6, 8
HEIGHT = 306
#: Maximum distance of the mouse from a mark to select it, in px.
NEAR = 9
#: What an arrow key travels, alone and with Shift, in sd.
STEP_SD, LONG_STEP_SD = 0.1, 0.5
ARROWS = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, 1),
    Qt.Key.Key_Down: (0, -1),
}

#: Opacity of the areas that enclose 50, 80 and 95 % of random brains, the inner on the outer.
DEPTHS = (70, 48, 36)
#: A spread this close to 1 would draw the line of 95 % once more.
SAME = 0.005
LABEL_SHARES = {0: "50 %", 2: "95 %"}

Kind = Literal["favourite", "scan"]


@dataclass(frozen=True, eq=False)
class Mark:
    """A brain on the map."""

    kind: Kind
    at: np.ndarray
    label: str
    recipe: Recipe


class LatentPlot(QWidget):
    """Draws a plane of latent space, in sd; emits the positions the user picks.

    Attributes
    ----------
    here : ndarray, shape (2,), or None
        The current brain.
    marks : sequence of Mark
        Other brains.
    lines : list of ndarray, shape (m, 2)
        Lines of equal density, for 50, 80 and 95 % of random brains.
    """

    travelled = Signal(object, bool)
    """((x, y) in sd, live): `live` while the mouse is held."""
    chosen = Signal(object)
    """Recipe of a mark that was clicked."""

    def __init__(self) -> None:
        super().__init__()
        self.here: np.ndarray | None = None
        self.marks: Sequence[Mark] = ()
        self.lines: list[list[np.ndarray]] = []
        self.names = ("", "")
        self.spread: float | None = None
        self.reach = 3.5
        self._dragging = False
        self.setObjectName("browse.map")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setToolTip(
            "The latent map, in standard deviations (sd) of random brains from the "
            "average.\n"
            "Click or drag to move the brain; arrow keys move by 0.1 sd, with Shift by "
            "0.5 sd.\n"
            "Click a star or a triangle to go to that brain."
        )

    def sizeHint(self) -> QSize:
        """As wide as the panel."""
        return QSize(320, HEIGHT)

    @property
    def dragging(self) -> bool:
        """Whether the mouse is held to travel."""
        return self._dragging

    def show_axes(self, names: tuple[str, str], lines: list[list[np.ndarray]]) -> None:
        """Show a plane: the axes with what they change, and its lines of equal density."""
        self.names, self.lines = names, lines
        self.update()

    def show_brains(
        self, here: np.ndarray | None, marks: Sequence[Mark], spread: float | None
    ) -> None:
        """Show the current brain and others; `spread` is their spread after truncation."""
        self.here, self.marks, self.spread = here, marks, spread
        if not self._dragging:  # the view must not move during a drag
            points = [mark.at for mark in marks] + ([here] if here is not None else [])
            furthest = max((float(np.abs(p).max()) for p in points), default=0.0)
            self.reach = float(np.clip(np.ceil(2 * furthest + 0.6) / 2, 3.5, 8.0))
        self.update()

    @property
    def plot(self) -> QRectF:
        """The part of the widget that is the plane."""
        return QRectF(self.rect()).adjusted(scaled(LEFT), TOP, -RIGHT, -scaled(BOTTOM))

    def to_pixels(self, at: np.ndarray) -> QPointF:
        """Where a place (x, y) in sd is drawn."""
        x, y = (np.asarray(at) / self.reach + 1) / 2
        return QPointF(
            self.plot.left() + x * self.plot.width(), self.plot.bottom() - y * self.plot.height()
        )

    def polygon(self, places: np.ndarray) -> QPolygonF:
        """Where places (n, 2) in sd are drawn."""
        area = self.plot
        x, y = ((places / self.reach + 1) / 2).T
        across, down = area.left() + x * area.width(), area.bottom() - y * area.height()
        return QPolygonF([QPointF(*pair) for pair in zip(across, down, strict=True)])

    def to_place(self, point: QPointF) -> np.ndarray:
        """The place in sd under a point, no further than the plane reaches."""
        x = (point.x() - self.plot.left()) / self.plot.width()
        y = (self.plot.bottom() - point.y()) / self.plot.height()
        return np.clip((2 * np.array([x, y]) - 1) * self.reach, -self.reach, self.reach)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Density, axes, marks, the current brain."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colors = ink.inks(self)
        self._draw_axes(painter, colors)
        painter.save()
        painter.setClipRect(self.plot)
        self._draw_density(painter, colors)
        for mark in self.marks:
            ink.draw_mark(painter, mark.kind, self.to_pixels(mark.at), colors)
        if self.here is not None:
            ink.draw_here(painter, self.to_pixels(self.here), colors)
        for mark in self.marks:
            if mark.kind == "scan":  # favourites, which may be many, show their names on hover
                above = self.to_pixels(mark.at) - QPointF(0, 10)
                ink.write(painter, above, mark.label, colors.text, colors.ground)
        painter.restore()
        if self.hasFocus():
            painter.setPen(QColor(colors.accent))
            painter.drawRect(self.plot)
        painter.end()

    def _draw_axes(self, painter: QPainter, colors: ink.Inks) -> None:
        """Ground, grid, ticks in whole sd, and the names of the axes."""
        area = self.plot
        painter.fillRect(area, QColor(colors.ground))
        metrics = painter.fontMetrics()
        whole = int(np.floor(self.reach))
        for tick in range(-whole, whole + 1):
            at = self.to_pixels(np.array([tick, tick]))
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
        x, y = self.names
        across = metrics.elidedText(x, Qt.TextElideMode.ElideRight, round(area.width()))
        below = QRectF(
            area.left(), self.height() - metrics.height(), area.width(), metrics.height()
        )
        painter.drawText(below, Qt.AlignmentFlag.AlignCenter, across)
        painter.save()
        painter.rotate(-90)
        up = metrics.elidedText(y, Qt.TextElideMode.ElideRight, round(area.height()))
        beside = QRectF(-area.bottom(), 0, area.height(), metrics.height())
        painter.drawText(beside, Qt.AlignmentFlag.AlignCenter, up)
        painter.restore()

    def _draw_density(self, painter: QPainter, colors: ink.Inks) -> None:
        """Areas that enclose shares of random brains, scaled by truncation."""
        for index in reversed(range(len(self.lines))):
            tint = QColor(colors.density)
            edge = QPen(tint, 1)
            tint.setAlpha(DEPTHS[index])
            painter.setPen(edge)
            painter.setBrush(tint)
            painter.drawPath(self._path(self.lines[index], 1.0))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if self.lines and self.spread is not None and abs(self.spread - 1) > SAME:
            painter.setPen(QPen(QColor(colors.text), 1, Qt.PenStyle.DashLine))
            painter.drawPath(self._path(self.lines[-1], self.spread))
        for index, text in LABEL_SHARES.items():
            if index < len(self.lines) and self.lines[index]:
                outer = max(self.lines[index], key=len)
                highest = self.to_pixels(outer[outer[:, 1].argmax()])
                ink.write(painter, highest + QPointF(0, -3), text, colors.hint, colors.ground)

    def _path(self, lines: list[np.ndarray], scale: float) -> QPainterPath:
        path = QPainterPath()
        for line in lines:
            path.addPolygon(self.polygon(line * scale))
        return path

    def mark_at(self, point: QPointF) -> Mark | None:
        """The mark under the mouse."""

        def distance(mark: Mark) -> float:
            away = self.to_pixels(mark.at) - point
            return float(np.hypot(away.x(), away.y()))

        nearest = min(self.marks, key=distance, default=None)
        return nearest if nearest is not None and distance(nearest) <= NEAR else None

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Select a mark, or start a drag."""
        if event.button() != Qt.MouseButton.LeftButton or not self.plot.contains(event.position()):
            return
        mark = self.mark_at(event.position())
        if mark is not None:
            self.chosen.emit(mark.recipe)
        elif self.here is not None:
            self._dragging = True
            self._go(self.to_place(event.position()), live=True)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Travel on."""
        if self._dragging:
            self._go(self.to_place(event.position()), live=True)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Arrive."""
        if self._dragging:
            self._dragging = False
            self._go(self.to_place(event.position()), live=False)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Travel a little."""
        key: Any = event.key()
        if key not in ARROWS or self.here is None:
            super().keyPressEvent(event)
            return
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        step = LONG_STEP_SD if shift else STEP_SD
        there = self.here + step * np.array(ARROWS[key])
        self._go(np.clip(there, -self.reach, self.reach), live=False)

    def event(self, event: QEvent) -> bool:
        """Name the mark under the mouse."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            mark = self.mark_at(QPointF(event.pos()))
            if mark is not None:
                QToolTip.showText(event.globalPos(), mark.label, self)
                return True
        return super().event(event)

    def _go(self, there: np.ndarray, live: bool) -> None:
        self.here = there
        self.update()
        self.travelled.emit(there, live)
