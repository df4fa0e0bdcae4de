"""A row of recipes as thumbnails, which scrolls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QContextMenuEvent, QKeyEvent, QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QListView

from napari_stylegan3d.history.models import RecipeDelegate, RecipeList, cell_size

if TYPE_CHECKING:
    from napari_stylegan3d.core.thumbnails import Thumbnails
    from stylegan3d.recipe.recipe import Recipe

SCROLL_BAR = 8
STYLE = f"""
QListView {{ background: transparent; }}
QScrollBar:horizontal {{ height: {SCROLL_BAR}px; margin: 0; }}
QScrollBar::add-line:horizontal, QScrollBar::sub-line:horizontal {{ width: 0; }}
"""
#: So many thumbnails beyond the edges are made too.
AHEAD = 2


def row_height() -> int:
    """Height in pixels of an entry and the scroll bar under it."""
    return cell_size().height() + SCROLL_BAR + 2


class RecipeRow(QListView):
    """A row of recipes, selectable by mouse or arrow keys."""

    picked = Signal(int)
    """Row chosen by the user."""
    menuRequested = Signal(int, object)
    """(row, where on the screen)"""

    def __init__(self, name: str, tip: str, model: RecipeList, thumbnails: Thumbnails) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setToolTip(tip)
        self.setAccessibleName(tip)
        self._owner, self._thumbnails, self._recipes = name, thumbnails, model
        self._delegate = RecipeDelegate(thumbnails.image)
        self.setModel(model)
        self.setItemDelegate(self._delegate)
        self.setFlow(QListView.Flow.LeftToRight)
        self.setWrapping(False)
        self.setUniformItemSizes(True)
        self.setMouseTracking(True)
        self.setFixedHeight(row_height())
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setStyleSheet(STYLE)
        self.setFrameShape(QListView.Shape.NoFrame)
        self.setEditTriggers(QAbstractItemView.EditTrigger.EditKeyPressed)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(40)
        self._soon.timeout.connect(self._want)
        self._in_sight = QTimer(self)
        self._in_sight.setSingleShot(True)
        self._in_sight.setInterval(0)
        self._in_sight.timeout.connect(self._show_current)
        self.horizontalScrollBar().valueChanged.connect(lambda _: self._soon.start())
        model.dataChanged.connect(lambda *_: self._soon.start())
        model.rowsRemoved.connect(lambda *_: self._soon.start())
        thumbnails.ready.connect(self._on_ready)
        self.clicked.connect(lambda index: self.picked.emit(index.row()))

    def go_to(self, row: int | None) -> None:
        """Bring a row into sight."""
        if row is None:
            self.selectionModel().clearCurrentIndex()
        else:
            self.setCurrentIndex(self._recipes.index(row))
            # Now, and once new rows have their places: until then it would end before them.
            self._show_current()
            self._in_sight.start()

    def _show_current(self) -> None:
        if self.currentIndex().isValid():
            self.scrollTo(self.currentIndex())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Left and right, Home and End select another state."""
        before = self.currentIndex().row()
        super().keyPressEvent(event)
        row = self.currentIndex().row()
        enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space)
        editing = self.state() == QAbstractItemView.State.EditingState
        if row >= 0 and not editing and (row != before or enter):
            self.picked.emit(row)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """More or fewer are seen, the current one among them."""
        super().resizeEvent(event)
        self._soon.start()
        self._in_sight.start()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """What can be done with one of them."""
        index = self.indexAt(event.pos())
        if index.isValid():
            self.menuRequested.emit(index.row(), event.globalPos())

    def showEvent(self, event: Any) -> None:
        """Thumbnails are needed again."""
        super().showEvent(event)
        self._soon.start()
        self._in_sight.start()

    def hideEvent(self, event: Any) -> None:
        """Nothing is needed any more."""
        super().hideEvent(event)
        self._thumbnails.drop(self._owner)

    def seen_rows(self) -> range:
        """Visible rows, and a few on either side."""
        count = self._recipes.rowCount()
        start = self.horizontalScrollBar().value()
        width = cell_size().width()
        first = max(0, start // width - AHEAD)
        return range(first, min(count, (start + self.width()) // width + AHEAD + 1))

    def shutdown(self) -> None:
        """Stop asking."""
        self._soon.stop()
        self._in_sight.stop()

    def _want(self) -> None:
        if not self.isVisible():
            return
        rows = sorted(self.seen_rows(), key=lambda row: abs(row - self.currentIndex().row()))
        wanted = [self._recipes.recipe(row) for row in rows if self._recipes.can_be_shown(row)]
        self._thumbnails.want(self._owner, wanted)

    def _on_ready(self, recipe: Recipe, _image: Any) -> None:
        for row in self.seen_rows():
            if self._recipes.recipe(row) == recipe:
                self.update(self._recipes.index(row))
