"""The strip under the views: every state as a thumbnail, and the favourites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QModelIndex, Qt, Signal
from qtpy.QtGui import QContextMenuEvent, QKeyEvent, QResizeEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QButtonGroup,
    QHBoxLayout,
    QLabel,
    QListView,
    QMenu,
    QStackedWidget,
    QWidget,
)

from napari_stylegan3d.core.context import report_done
from napari_stylegan3d.history.models import (
    MARK,
    RECIPE,
    FavouriteList,
    HistoryList,
    RecipeDelegate,
    RecipeList,
    cell_size,
)
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import single_shot

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from napari_stylegan3d.core.thumbnails import Thumbnails
    from stylegan3d.recipe.recipe import Recipe

SCROLL_BAR = 8
LIST_STYLE = f"""
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
        self.setStyleSheet(LIST_STYLE)
        self.setFrameShape(QListView.Shape.NoFrame)
        self.setEditTriggers(QAbstractItemView.EditTrigger.EditKeyPressed)
        self._soon = single_shot(self, self._want, 40)
        self._in_sight = single_shot(self, self._show_current)
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


#: The selected one of the two must not be marked by colour alone.
STRIP_STYLE = f"""
QToolButton[role="choice"] {{ padding: 2px 4px; border-bottom: 2px solid transparent; }}
QToolButton[role="choice"]:checked {{
    border-bottom: 2px solid {MARK.name()}; font-weight: 600;
}}
"""


class HistoryStrip(QWidget):
    """History and favourites, one at a time, with their buttons."""

    pinRequested = Signal(object)
    """Recipe to be compared with."""

    def __init__(self, session: Session, thumbnails: Thumbnails) -> None:
        super().__init__()
        self.setObjectName("history")
        self.session = session
        self.history, self.kept = HistoryList(session), FavouriteList(session)
        self.states = RecipeRow(
            "history.list",
            "Every state so far; click one to go back to it.",
            self.history,
            thumbnails,
        )
        self.favourites = RecipeRow(
            "history.favourites", "Your favourites; click one to show it.", self.kept, thumbnails
        )
        self.empty = controls.hint(
            "No favourites yet: press ☆ to add the current brain.", "history.empty"
        )
        self.setStyleSheet(STRIP_STYLE)
        self._make_buttons()
        self._lay_out()
        self._connect()
        self._on_history()

    def shutdown(self) -> None:
        """Stop asking for thumbnails."""
        for strip in (self.states, self.favourites):
            strip.shutdown()

    def _make_buttons(self) -> None:
        tool = controls.tool_button
        self.fold = tool("▾", "history.fold", "Collapse or expand the history.")
        self.fold.setCheckable(True)
        self.show_history = tool("History", "history.show_history", "Show every state so far.")
        self.show_favourites = tool("Favourites", "history.show_favourites", "Show the favourites.")
        self._which = QButtonGroup(self)
        for button in (self.show_history, self.show_favourites):
            button.setCheckable(True)
            button.setProperty("role", "choice")
            self._which.addButton(button)
        self.show_history.setChecked(True)
        self.star = tool(
            "☆", "history.star", "Add the current brain to the favourites, or remove it."
        )
        self.star.setProperty("role", "step")
        self.note = tool("Comment…", "history.note", "Comment on this favourite (F2).")
        self.remove = tool("Remove", "history.remove", "Remove this favourite.")
        self.link = tool(
            "Copy link",
            "history.copy_link",
            "Copy a link to the current state.",
        )
        self.paste = tool(
            "Paste recipe",
            "history.paste",
            "Show the recipe on the clipboard: a command, JSON or a link (Ctrl+V).",
        )
        self.count = QLabel()
        self.count.setProperty("role", "hint")
        self.count.setToolTip(
            "Position in the history; favourites of other models reappear with their model."
        )

    def _lay_out(self) -> None:
        self._stack = QStackedWidget()
        self._stack.addWidget(self.states)
        self._stack.addWidget(self.favourites)
        self._stack.addWidget(self.empty)
        self._stack.setFixedHeight(row_height())
        buttons = controls.stack(
            _row(self.fold, self.show_history, self.show_favourites), spacing=2
        )
        self._more = QWidget()
        controls.stack(
            _row(self.star, self.count, self.note, self.remove),
            _row(self.link, self.paste),
            on=self._more,
            spacing=2,
        )
        buttons.addWidget(self._more)
        buttons.addStretch(1)
        row = QHBoxLayout(self)
        row.setContentsMargins(6, 2, 8, 2)
        row.setSpacing(8)
        row.addLayout(buttons)
        row.addWidget(self._stack, stretch=1)

    def _connect(self) -> None:
        session = self.session
        session.historyChanged.connect(self._on_history)
        session.favourites.changed.connect(self._on_history)
        session.recipeChanged.connect(lambda *_: self._show_star())
        self.states.picked.connect(self._go_to)
        self.favourites.picked.connect(lambda row: session.change(self.kept.recipe(row)))
        self.states.menuRequested.connect(self._show_menu)
        self.favourites.menuRequested.connect(self._show_menu)
        self.fold.toggled.connect(self._on_fold)
        self._which.buttonClicked.connect(lambda _: self._on_which())
        self.star.clicked.connect(self._toggle_star)
        self.note.clicked.connect(self._edit_note)
        self.remove.clicked.connect(self._remove)

    def _go_to(self, row: int) -> None:
        """Return to a state, or report why the model cannot show it."""
        if not self.session.go_to(row):
            self.states.go_to(self.session.history.position)
            report_done(self.history.why_not(row))

    def _on_which(self) -> None:
        if self.fold.isChecked():
            self.fold.setChecked(False)
        self._on_history()

    def _on_fold(self, folded: bool) -> None:
        self.fold.setText("▸" if folded else "▾")
        self._stack.setVisible(not folded)
        self._more.setVisible(not folded)

    def _on_history(self) -> None:
        """Update after a change of the history, the favourites or the list shown."""
        session, favourites = self.session, self.show_favourites.isChecked()
        count = len(session.favourites.items if favourites else session.history.states)
        if favourites:
            self._stack.setCurrentWidget(self.favourites if count else self.empty)
            others = session.favourites.of_others
            self.count.setText(f"{others} of other models" if others else "")
        else:
            self._stack.setCurrentWidget(self.states)
            self.count.setText(f"{session.history.position + 1} of {count}")
            self.states.go_to(session.history.position)
        self.note.setVisible(favourites)
        self.remove.setVisible(favourites)
        self._show_star()

    def _show_star(self) -> None:
        favourite = self.session.favourites.index_of(self.session.recipe)
        self.star.setText("☆" if favourite is None else "★")
        if self.show_favourites.isChecked():
            self.favourites.go_to(favourite)
        for button in (self.note, self.remove):
            button.setEnabled(favourite is not None)

    def _toggle_star(self) -> None:
        favourites, recipe = self.session.favourites, self.session.recipe
        index = favourites.index_of(recipe)
        if index is None:
            favourites.add(recipe)
        else:
            favourites.remove(index)

    def _edit_note(self) -> None:
        index = self.session.favourites.index_of(self.session.recipe)
        if index is not None:
            self.edit_note(index)

    def edit_note(self, row: int) -> None:
        """Open the field for the note of a favourite."""
        self.show_favourites.setChecked(True)
        self._on_which()
        self.favourites.edit(self.kept.index(row))

    def _remove(self) -> None:
        index = self.session.favourites.index_of(self.session.recipe)
        if index is not None:
            self.session.favourites.remove(index)

    def _show_menu(self, row: int, where: Any) -> None:
        model: RecipeList = self.kept if self.sender() is self.favourites else self.history
        menu = self.menu(model.index(row))
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(where)

    def menu(self, index: QModelIndex) -> QMenu:
        """What can be done with an entry."""
        menu = QMenu(self)
        recipe: Recipe = index.data(RECIPE)
        favourites = self.session.favourites
        kept = favourites.index_of(recipe)
        menu.addAction("Compare (pin as A)", lambda: self.pinRequested.emit(recipe))
        if kept is None:
            menu.addAction("Add to favourites", lambda: favourites.add(recipe))
        else:
            menu.addAction("Edit comment…", lambda: self.edit_note(kept))
            menu.addAction("Remove from favourites", lambda: favourites.remove(kept))
        return menu


def _row(*widgets: QWidget) -> QHBoxLayout:
    """Buttons at the left."""
    layout = controls.row(*widgets)
    layout.setSpacing(2)
    layout.addStretch(1)
    return layout
