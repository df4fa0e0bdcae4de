"""Thumbnails in rows and columns, to choose one from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QPointF, QRect, QSize, Qt, Signal
from qtpy.QtGui import (
    QColor,
    QFont,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_stylegan3d.core.thumbnails import scaled

if TYPE_CHECKING:
    from stylegan3d.recipe.recipe import Recipe

CELL, GAP, STAR, STAR_SIZE = 112, 4, 24, 18
#: Thumbnails are black in every theme, so text on them is light.
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
    """One thumbnail: its recipe, its caption, whether it is a favourite."""

    recipe: Recipe
    label: str
    tip: str
    favourite: bool = False


class ThumbnailGrid(QWidget):
    """Cells, selectable by mouse or arrow keys.

    Parameters
    ----------
    name : str
        Qt object name.
    columns, rows : int
        How many cells there are.
    image : callable
        The picture of a recipe, if available.
    cell : int
        Width and height of a cell; the smallest, if it grows.
    signs : tuple of str
        Corner texts of the cell under the mouse: for favourites, for others.
    sign_key : Qt.Key
        The key that does what a click on the sign does.
    grows : bool
        Whether cells grow with the window.
    """

    picked = Signal(int)
    """Index of the cell that was clicked."""
    moved = Signal(int)
    """Number of cells an arrow key moves forward or back; may lead beyond the last one."""
    accepted = Signal()
    """A double click, or Enter."""
    starred = Signal(int)
    """Index of the cell whose sign was clicked, or of the current one on the sign's key."""

    def __init__(
        self,
        name: str,
        columns: int,
        rows: int,
        image: Callable[[Recipe], QImage | None],
        cell: int = CELL,
        signs: tuple[str, str] = ("★", "☆"),
        sign_key: Qt.Key = Qt.Key.Key_S,
        grows: bool = False,
    ) -> None:
        super().__init__()
        self.columns, self.rows, self.side = columns, rows, cell
        self._cell, self._grows = cell, grows
        self.signs, self.sign_key = signs, sign_key
        self.cells: tuple[Cell, ...] = ()
        self.current: int | None = None
        self._image = image
        self._under: int | None = None
        self.setObjectName(name)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._take_room()

    def sizeHint(self) -> QSize:
        """All cells, as small as they may be."""
        return QSize(
            self.columns * (self._cell + GAP) - GAP,
            self.rows * (self._cell + GAP) - GAP,
        )

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Make the cells as large as there is room for."""
        wide = (self.width() + GAP) // self.columns - GAP
        high = (self.height() + GAP) // self.rows - GAP
        self.side = max(min(wide, high), self._cell) if self._grows else self._cell

    def _take_room(self) -> None:
        if self._grows:
            self.setMinimumSize(self.sizeHint())
            self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        else:
            self.setFixedSize(self.sizeHint())

    def show_cells(self, cells: Sequence[Cell], current: int | None) -> None:
        """Show these cells, row by row, one of them as the current one."""
        self.cells, self.current = tuple(cells), current
        self.update()

    def set_rows(self, rows: int) -> None:
        """Make room for so many rows."""
        self.rows = rows
        self._take_room()

    def show_ready(self, recipe: Recipe) -> None:
        """A picture is ready: draw its cells."""
        for index, cell in enumerate(self.cells):
            if cell.recipe == recipe:
                self.update(self.place(index))

    def place(self, index: int) -> QRect:
        """Where a cell is."""
        row, column = divmod(index, self.columns)
        pitch = self.side + GAP
        left = (self.width() - (self.columns * pitch - GAP)) // 2
        top = (self.height() - (self.rows * pitch - GAP)) // 2
        return QRect(left + column * pitch, top + row * pitch, self.side, self.side)

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
            painter.drawPixmap(place.topLeft(), scaled(image, self.side, self.devicePixelRatioF()))
        current, under = index == self.current, index == self._under
        font = QFont(self.font())
        font.setBold(current)
        painter.setFont(font)
        self._write(painter, place, cell.label, ON_BLACK if current or under else FAINT)
        if cell.favourite or under:
            painter.setPen(FAVOURITE if cell.favourite else ON_BLACK)
            font.setPixelSize(STAR_SIZE)
            painter.setFont(font)
            sign = self.signs[0 if cell.favourite else 1]
            painter.drawText(self.star_place(index), Qt.AlignmentFlag.AlignCenter, sign)
        if current or under:
            width = 3 if current else 1
            painter.setPen(QPen(CURRENT if current else FAINT, width))
            painter.drawRect(place.adjusted(width // 2, width // 2, -(width + 1) // 2, -1))

    def _write(self, painter: QPainter, place: QRect, text: str, color: QColor) -> None:
        """A label at the lower left of a cell, legible on any picture."""
        metrics = painter.fontMetrics()
        text = metrics.elidedText(text, Qt.TextElideMode.ElideRight, place.width() - 8)
        width, height = metrics.horizontalAdvance(text) + 8, metrics.height() + 2
        ground = QRect(place.left(), place.bottom() - height + 1, width, height)
        painter.fillRect(ground, QColor(0, 0, 0, 170))
        painter.setPen(color)
        painter.drawText(ground, Qt.AlignmentFlag.AlignCenter, text)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Mark the cell under the mouse."""
        self._point_at(self.index_at(event.position()))

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is pointed at any more."""
        self._point_at(None)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Select a brain, or make it a favourite."""
        index = self.index_at(event.position())
        if index is None or event.button() != Qt.MouseButton.LeftButton:
            return
        on_star = self.star_place(index).contains(event.position().toPoint())
        (self.starred if on_star else self.picked).emit(index)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Select a brain and close."""
        index = self.index_at(event.position())
        if index is None or self.star_place(index).contains(event.position().toPoint()):
            return
        self.picked.emit(index)
        self.accepted.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows go through the cells, Enter closes, the sign's key does what the sign does."""
        key: Any = event.key()
        if key in STEPS:
            across, down = STEPS[key]
            self.moved.emit(across + down * self.columns)
        elif key == self.sign_key and self.current is not None:
            self.starred.emit(self.current)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.accepted.emit()
        else:
            super().keyPressEvent(event)

    def event(self, event: QEvent) -> bool:
        """Show which brain the mouse is over."""
        if event.type() == QEvent.Type.ToolTip:
            index = self._under
            text = "" if index is None else self.cells[index].tip
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
