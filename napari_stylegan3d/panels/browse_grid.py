"""Thumbnails in rows and columns, to choose one from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QPointF, QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFont, QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QToolTip, QWidget

from napari_stylegan3d.thumbnails import scaled

if TYPE_CHECKING:
    from stylegan3d.recipe import Recipe

CELL, GAP, STAR, STAR_SIZE = 112, 4, 24, 18
#: Thumbnails are black whatever the theme, so what is written on them is not.
ON_BLACK, FAINT = QColor("#f0f1f2"), QColor("#aab1ba")
FAVOURITE, CURRENT = QColor("#ffb74d"), QColor("#6480e6")
STEPS = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}


@dataclass(frozen=True)
class Cell:
    """One thumbnail: what it shows, what is written on it, whether it is a favourite."""

    recipe: Recipe
    label: str
    favourite: bool = False


class ThumbnailGrid(QWidget):
    """Cells to click, or to go through with the arrow keys.

    Parameters
    ----------
    name
        Qt object name.
    columns, rows
        How many cells there are.
    image
        The picture of a recipe if it is at hand.
    """

    picked = Signal(int)
    """Index of the cell that was clicked."""
    moved = Signal(int)
    """By how many cells an arrow key goes on or back; it may lead beyond the last one."""
    accepted = Signal()
    """A double click, or Enter."""
    starred = Signal(int)
    """Index of the cell whose star was clicked, or of the current one on S."""

    def __init__(
        self, name: str, columns: int, rows: int, image: Callable[[Recipe], QImage | None]
    ) -> None:
        super().__init__()
        self.columns, self.rows = columns, rows
        self.cells: tuple[Cell, ...] = ()
        self.current: int | None = None
        self._image = image
        self._under: int | None = None
        self.setObjectName(name)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFixedSize(self.sizeHint())

    def sizeHint(self) -> QSize:
        """All cells."""
        return QSize(
            self.columns * (CELL + GAP) - GAP,
            self.rows * (CELL + GAP) - GAP,
        )

    def show_cells(self, cells: Sequence[Cell], current: int | None) -> None:
        """Show these cells, row by row, one of them as the current one."""
        self.cells, self.current = tuple(cells), current
        self.update()

    def show_ready(self, recipe: Recipe) -> None:
        """A picture has come: draw its cells."""
        for index, cell in enumerate(self.cells):
            if cell.recipe == recipe:
                self.update(self.place(index))

    def place(self, index: int) -> QRect:
        """Where a cell is."""
        row, column = divmod(index, self.columns)
        return QRect(column * (CELL + GAP), row * (CELL + GAP), CELL, CELL)

    def star_place(self, index: int) -> QRect:
        """Where the star of a cell is."""
        cell = self.place(index)
        return QRect(cell.right() - STAR, cell.top(), STAR, STAR)

    def index_at(self, point: QPointF) -> int | None:
        """The cell at a point."""
        found = (i for i in range(len(self.cells)) if self.place(i).contains(point.toPoint()))
        return next(found, None)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the cells that need it."""
        painter = QPainter(self)
        for index, cell in enumerate(self.cells):
            if event.rect().intersects(self.place(index)):
                self._draw(painter, index, cell)
        painter.end()

    def _draw(self, painter: QPainter, index: int, cell: Cell) -> None:
        place = self.place(index)
        painter.fillRect(place, Qt.GlobalColor.black)
        image = self._image(cell.recipe)
        painter.setPen(FAINT)
        if image is None:
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, "…")
        else:
            painter.drawPixmap(place.topLeft(), scaled(image, CELL, self.devicePixelRatioF()))
        current, under = index == self.current, index == self._under
        font = QFont(self.font())
        font.setBold(current)
        painter.setFont(font)
        painter.setPen(ON_BLACK if current or under else FAINT)
        inside = place.adjusted(6, 4, -4, -4)
        painter.drawText(inside, Qt.AlignmentFlag.AlignBottom, cell.label)
        if cell.favourite or under:
            painter.setPen(FAVOURITE if cell.favourite else ON_BLACK)
            font.setPixelSize(STAR_SIZE)
            painter.setFont(font)
            star = "★" if cell.favourite else "☆"
            painter.drawText(self.star_place(index), Qt.AlignmentFlag.AlignCenter, star)
        if current or under:
            width = 3 if current else 1
            painter.setPen(QPen(CURRENT if current else FAINT, width))
            painter.drawRect(place.adjusted(width // 2, width // 2, -(width + 1) // 2, -1))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Mark the cell under the mouse."""
        self._point_at(self.index_at(event.position()))

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is pointed at any more."""
        self._point_at(None)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Take a brain, or keep it."""
        index = self.index_at(event.position())
        if index is None or event.button() != Qt.MouseButton.LeftButton:
            return
        on_star = self.star_place(index).contains(event.position().toPoint())
        (self.starred if on_star else self.picked).emit(index)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Take a brain and close."""
        index = self.index_at(event.position())
        if index is None or self.star_place(index).contains(event.position().toPoint()):
            return
        self.picked.emit(index)
        self.accepted.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows go through the cells, S keeps one, Enter closes."""
        key: Any = event.key()
        if key in STEPS:
            across, down = STEPS[key]
            self.moved.emit(across + down * self.columns)
        elif key == Qt.Key.Key_S and self.current is not None:
            self.starred.emit(self.current)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.accepted.emit()
        else:
            super().keyPressEvent(event)

    def event(self, event: QEvent) -> bool:
        """Say which brain the mouse is over."""
        if event.type() == QEvent.Type.ToolTip:
            index = self._under
            text = "" if index is None else f"Brain {self.cells[index].label}"
            QToolTip.showText(self.mapToGlobal(self.place(index or 0).bottomLeft()), text, self)
            return True
        return super().event(event)

    def _point_at(self, index: int | None) -> None:
        if index == self._under:
            return
        for changed in (self._under, index):
            if changed is not None:
                self.update(self.place(changed))
        self._under = index
