"""The strip under the views: every state as a thumbnail, and the favourites."""

from collections.abc import Callable, Sequence
from typing import Any

from qtpy import QtGui, QtWidgets
from qtpy.QtCore import QAbstractListModel, QModelIndex, QRect, QSize, Qt, Signal

from napari_stylegan3d.core.panel import UNPROJECTED
from napari_stylegan3d.core.session import Favourites, Session, report_done
from napari_stylegan3d.core.thumbnails import Thumbnails, picture_of_scan, scaled
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import single_shot
from stylegan3d.pages.shortening import WORD_GAP, in_words
from stylegan3d.recipe.description import describe_change, describe_recipe
from stylegan3d.recipe.history import History
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.session.case import Choice
from stylegan3d.session.provenance import provenance_of
from stylegan3d.session.state import HistoryEntry
from stylegan3d.storage.about import ORIGIN_NAMES

RECIPE = Qt.ItemDataRole.UserRole
#: Whether it is the current one; undone or on another branch; a favourite.
CURRENT, ASIDE, STARRED = RECIPE + 1, RECIPE + 2, RECIPE + 3
#: The picture of a scan that was opened.
SCAN = RECIPE + 4
#: Number of the state that a branch begins at, or None.
FORK = RECIPE + 5
PICTURE, MARGIN = 50, 2
#: Of the usual letters: width of an entry, height of its two lines and of a letter.
WIDTH, TEXT, LETTER = 78, 25, 10
NOTE_WIDTH, FORK_PX = 190, 10
MARK = QtGui.QColor("#5b7be8")
STAR = QtGui.QColor("#ffb74d")
STAR_GLYPH = "★"
NO_INDEX = QModelIndex()


def cell_size() -> QSize:
    """Size of an entry in pixels, which grows with the letters."""
    return QSize(controls.scaled(WIDTH), PICTURE + controls.scaled(TEXT) + 2 * MARGIN)


class RecipeList(QAbstractListModel):
    """Recipes in a row; subclasses define their captions."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)  # goes with it, and what is connected to it
        self.session = session
        self._recipes: list[Recipe | None] = []

    def rowCount(self, parent: QModelIndex = NO_INDEX) -> int:
        """How many there are."""
        return 0 if parent.isValid() else len(self._recipes)

    def recipe(self, row: int) -> Recipe | None:
        """The recipe of a row; None for a scan that was not projected."""
        return self._recipes[row]

    def show_recipes(self, recipes: Sequence[Recipe | None]) -> None:
        """Show these; rows at the beginning that are the same stay, and so does the scrolling."""
        same = 0
        for old, new in zip(self._recipes, recipes, strict=False):
            if old is not new:
                break
            same += 1
        if same < len(self._recipes):
            self.beginRemoveRows(NO_INDEX, same, len(self._recipes) - 1)
            del self._recipes[same:]
            self.endRemoveRows()
        if same < len(recipes):
            self.beginInsertRows(NO_INDEX, same, len(recipes) - 1)
            self._recipes.extend(recipes[same:])
            self.endInsertRows()
        self.refresh()

    def refresh(self) -> None:
        """Draw the rows again."""
        if self._recipes:
            self.dataChanged.emit(self.index(0), self.index(len(self._recipes) - 1))

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """What a view asks for."""
        row = index.row()
        if not index.isValid() or not 0 <= row < len(self._recipes):
            return None
        if role == RECIPE:
            return self._recipes[row]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return self.words(row)
        if role == Qt.ItemDataRole.ToolTipRole:
            return self.tip(row)
        if role == CURRENT:
            return self.is_current(row)
        if role == STARRED:
            return self.session.favourites.index_of(self._recipes[row]) is not None
        return False if role == ASIDE else None

    def can_be_shown(self, row: int) -> bool:
        """Whether the model that is loaded makes this brain of it."""
        return True

    def words(self, row: int) -> str:
        """Caption of the picture."""
        raise NotImplementedError

    def tip(self, row: int) -> str:
        """Tooltip."""
        raise NotImplementedError

    def is_current(self, row: int) -> bool:
        """Whether it is currently shown."""
        raise NotImplementedError


class HistoryList(RecipeList):
    """The states of the subject on the screen, with what changed in each."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        #: That of the subject that was followed last: painted until the one that comes is.
        self._history: History[HistoryEntry] = session.history
        #: The current state and those that it was made from.
        self._way: set[int] = set()
        #: Pictures of scans, by the keys of their cases.
        self._scans: dict[tuple[str, Choice | None], QtGui.QImage | None] = {}
        session.historyChanged.connect(self.follow)
        session.favourites.changed.connect(self.refresh)
        session.caseChanged.connect(self.refresh)
        session.modelChanged.connect(lambda _: self.refresh())
        self.follow()

    def follow(self) -> None:
        """Show what the history is now."""
        self._history = self.session.history
        self._way = set(self._history.way)
        self.show_recipes([entry.recipe for entry in self._history.states])

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """As in `RecipeList`; undone states and those of other models are dimmed."""
        row = index.row()
        if not 0 <= row < self.rowCount():
            return super().data(index, role)
        if role == ASIDE:
            return row not in self._way or not self.can_be_shown(row)
        if role == FORK:
            return self.made_from(row) + 1 if self._history.is_fork(row) else None
        if role == SCAN:
            return self._picture(self._history.states[row])
        return super().data(index, role)

    def can_be_shown(self, row: int) -> bool:
        """Whether it is of the model that is loaded."""
        generator = self.session.generator
        return self._history.states[row].is_for("" if generator is None else generator.hash)

    def words(self, row: int) -> str:
        """What changed."""
        entry = self._history.states[row]
        if entry.recipe is None:
            case = entry.case
            return "Scan " if case is None else f"{ORIGIN_NAMES[case.origin]} {case.name}"
        before = self._history.states[self.made_from(row)] if row else entry
        if before.recipe is None and entry.case is not None:
            return f"Projected {self.session.projection_name(entry.case)}"
        if before.recipe == entry.recipe or before.model != entry.model:
            return describe_recipe(entry.recipe)
        assert before.recipe is not None
        groups = {group.layers: group.name for group in self.session.layer_groups()}
        return describe_change(before.recipe, entry.recipe, groups)

    def made_from(self, row: int) -> int:
        """The state that a state was made from."""
        return self._history.parents[row] or 0

    def tip(self, row: int) -> str:
        """What changed, what there is then, and whose it is."""
        entry = self._history.states[row]
        where = f"{row + 1} of {self.rowCount()}"
        aside = ""
        if row in self._history.ahead:
            aside = " (undone)"
        elif row not in self._way:
            aside = " (another branch)"
        change, recipe = self.words(row), entry.recipe
        lines = [f"{where}{aside}: {change}"]
        if self._history.is_fork(row):
            lines.append(f"Continues from state {self.made_from(row) + 1}.")
        if recipe is not None and recipe.worn_detail is not None:
            lines.append(provenance_of(self.session, recipe).one_line)
        if recipe is not None and describe_recipe(recipe) != change:
            lines.append(describe_recipe(recipe))
        if not self.can_be_shown(row):
            lines.append(self.why_not(row))
        return "\n".join(lines)

    def why_not(self, row: int) -> str:
        """Why a state of another model cannot be shown."""
        model = self._history.states[row].model
        name = "" if model is None else model.name
        return f"Made with the model {name}: open that model (Open ▾) to show it."

    def is_current(self, row: int) -> bool:
        """Whether one is there."""
        return row == self._history.position

    def _picture(self, entry: HistoryEntry) -> QtGui.QImage | None:
        """Of a step at which a scan was opened, its picture."""
        case = entry.case
        if entry.recipe is not None or case is None:
            return None
        key = case.key, case.choice
        if self._scans.get(key) is None:
            self._scans[key] = picture_of_scan(case)
        return self._scans[key]


class FavouriteList(RecipeList):
    """The favourites, with their notes, which can be edited in place."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.favourites: Favourites = session.favourites
        self.favourites.changed.connect(self.follow)
        session.recipeChanged.connect(lambda *_: self.refresh())
        self.follow()

    def follow(self) -> None:
        """Show what the favourites are now."""
        self.show_recipes([item.recipe for item in self.favourites.items])

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Notes can be edited."""
        return super().flags(index) | Qt.ItemFlag.ItemIsEditable

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """As in `RecipeList`; edits the note."""
        if role == Qt.ItemDataRole.EditRole and index.isValid():
            return self.favourites.items[index.row()].note
        return super().data(index, role)

    def setData(self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        """Write a note."""
        if role != Qt.ItemDataRole.EditRole or not index.isValid():
            return False
        self.favourites.set_note(index.row(), str(value).strip())
        return True

    def words(self, row: int) -> str:
        """The note, or what it shows."""
        item = self.favourites.items[row]
        return item.note or describe_recipe(item.recipe)

    def tip(self, row: int) -> str:
        """The note and what it shows."""
        item = self.favourites.items[row]
        note, shows = item.note, describe_recipe(item.recipe)
        return f"{note}\n{shows}" if note else shows

    def is_current(self, row: int) -> bool:
        """Whether it is currently shown."""
        return self._recipes[row] == self.session.recipe


class RecipeDelegate(QtWidgets.QStyledItemDelegate):
    """Draws the thumbnail above its caption; frames the current entry, dims undone ones."""

    def __init__(self, image: Callable[[Recipe], QtGui.QImage | None]) -> None:
        super().__init__()
        self._image = image

    def sizeHint(self, _option: QtWidgets.QStyleOptionViewItem, _index: QModelIndex) -> QSize:
        """All are of one size."""
        return cell_size()

    def createEditor(self, parent: Any, _option: Any, _index: QModelIndex) -> QtWidgets.QLineEdit:
        """A field for the note."""
        field = controls.named(QtWidgets.QLineEdit(parent), "history.note_field")
        field.setPlaceholderText("Comment")
        field.setMaxLength(500)
        field.setFrame(True)
        return field

    def updateEditorGeometry(self, editor: Any, option: Any, _index: QModelIndex) -> None:
        """A note is edited at the foot of its picture."""
        place = option.rect
        middle = place.left() + place.width() // 2
        left = max(0, middle - NOTE_WIDTH // 2)
        editor.setGeometry(left, place.top() + PICTURE - 8, NOTE_WIDTH, 24)

    def paint(
        self, painter: QtGui.QPainter, option: QtWidgets.QStyleOptionViewItem, index: QModelIndex
    ) -> None:
        """Draw one entry."""
        cell = option.rect
        left = cell.left() + (cell.width() - PICTURE) // 2
        place = QRect(left, cell.top() + MARGIN, PICTURE, PICTURE)
        painter.save()
        if index.data(ASIDE):
            painter.setOpacity(0.45)
        self._draw_picture(painter, place, index)
        self._draw_words(painter, cell, option, index)
        painter.setOpacity(1.0)
        self._draw_fork(painter, place, index)
        hovered = bool(option.state & QtWidgets.QStyle.StateFlag.State_MouseOver)
        if index.data(CURRENT) or hovered:
            painter.setPen(QtGui.QPen(MARK, 2.0 if index.data(CURRENT) else 1.0))
            painter.drawRect(place.adjusted(-1, -1, 0, 0))
        painter.restore()

    def _draw_picture(self, painter: QtGui.QPainter, place: QRect, index: QModelIndex) -> None:
        painter.fillRect(place, Qt.GlobalColor.black)
        model = index.model()
        image = index.data(SCAN)
        recipe = index.data(RECIPE)
        if image is None and recipe is not None and model.can_be_shown(index.row()):
            image = self._image(recipe)
        if image is None:
            painter.setPen(QtGui.QColor("#7d8590"))
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, "…")
        else:
            device = painter.device()
            ratio = device.devicePixelRatioF() if device is not None else 1.0
            painter.drawPixmap(place.topLeft(), scaled(image, PICTURE, ratio))
        if index.data(STARRED):
            painter.setPen(STAR)
            corner = place.adjusted(0, 0, -2, 0)
            painter.drawText(
                corner, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop, STAR_GLYPH
            )

    @staticmethod
    def _draw_fork(painter: QtGui.QPainter, place: QRect, index: QModelIndex) -> None:
        """At the first state of a branch, which state it continues from."""
        number = index.data(FORK)
        if number is None:
            return
        metrics = controls.set_letters(painter, controls.scaled(FORK_PX), bold=True)
        text = f"↳{number}"
        wide = metrics.horizontalAdvance(text) + 5
        badge = QRect(place.left() - 6, place.top(), wide, metrics.height())
        painter.fillRect(badge, MARK)
        painter.setPen(Qt.GlobalColor.white)
        painter.drawText(badge, Qt.AlignmentFlag.AlignCenter, text)

    @staticmethod
    def _draw_words(
        painter: QtGui.QPainter,
        cell: QRect,
        option: QtWidgets.QStyleOptionViewItem,
        index: QModelIndex,
    ) -> None:
        painter.setFont(option.font)
        metrics = controls.set_letters(painter, controls.scaled(LETTER))
        painter.setPen(option.palette.text().color())
        top = cell.top() + PICTURE + MARGIN + 1
        below = QRect(cell.left() + 1, top, cell.width() - 2, controls.scaled(TEXT))
        words = index.data(Qt.ItemDataRole.DisplayRole)
        place = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop
        painter.drawText(below, place, in_two_lines(words, metrics, below.width()))


def in_two_lines(words: str, metrics: QtGui.QFontMetrics, width: int) -> str:
    """Words in at most two lines; where they end in an amount, it stays."""

    def lines(text: str) -> list[str]:
        parts = WORD_GAP.split(text)
        first = next(
            n
            for n in range(len(parts), 0, -1)
            if n == 1 or metrics.horizontalAdvance(" ".join(parts[:n])) <= width
        )
        return [line for line in (" ".join(parts[:first]), " ".join(parts[first:])) if line]

    def fits(text: str) -> bool:
        return all(metrics.horizontalAdvance(line) <= width for line in lines(text))

    has_amount = any(sign.isdigit() for sign in words.split(", ")[-1])
    return "\n".join(lines(in_words(words, fits, keep_end=has_amount)))


SCROLL_BAR = 8
LIST_STYLE = f"""
QListView {{ background: transparent; }}
QScrollBar:horizontal {{
    min-height: {SCROLL_BAR}px; max-height: {SCROLL_BAR}px; border: none; margin: 0;
}}
QScrollBar::add-line:horizontal, QScrollBar::sub-line:horizontal {{ width: 0; }}
"""
#: So many thumbnails beyond the edges are made too.
AHEAD = 2


def row_height() -> int:
    """Height in pixels of an entry and the scroll bar under it."""
    return cell_size().height() + SCROLL_BAR + 2


class RecipeRow(QtWidgets.QListView):
    """A row of recipes, selectable by mouse or arrow keys."""

    #: Row chosen by the user.
    picked = Signal(int)
    #: (row, where on the screen)
    menuRequested = Signal(int, object)

    def __init__(self, name: str, tip: str, model: RecipeList, thumbnails: Thumbnails) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setToolTip(tip)
        self.setAccessibleName(tip)
        self._owner, self._thumbnails, self._recipes = name, thumbnails, model
        self._delegate = RecipeDelegate(thumbnails.image)
        self.setModel(model)
        self.setItemDelegate(self._delegate)
        self.setFlow(QtWidgets.QListView.Flow.LeftToRight)
        self.setWrapping(False)
        self.setUniformItemSizes(True)
        self.setMouseTracking(True)
        self.setFixedHeight(row_height())
        self.setHorizontalScrollMode(QtWidgets.QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setStyleSheet(LIST_STYLE)
        self.setFrameShape(QtWidgets.QListView.Shape.NoFrame)
        self.setEditTriggers(QtWidgets.QAbstractItemView.EditTrigger.EditKeyPressed)
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

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:
        """Left and right, Home and End select another state."""
        before = self.currentIndex().row()
        super().keyPressEvent(event)
        row = self.currentIndex().row()
        enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space)
        editing = self.state() == QtWidgets.QAbstractItemView.State.EditingState
        if row >= 0 and not editing and (row != before or enter):
            self.picked.emit(row)

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """More or fewer are seen, the current one among them."""
        super().resizeEvent(event)
        self._soon.start()
        self._in_sight.start()

    def contextMenuEvent(self, event: QtGui.QContextMenuEvent) -> None:
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

    def _want(self) -> None:
        if not self.isVisible():
            return
        rows = sorted(self.seen_rows(), key=lambda row: abs(row - self.currentIndex().row()))
        recipes = [self._recipes.recipe(row) for row in rows if self._recipes.can_be_shown(row)]
        self._thumbnails.want(self._owner, [one for one in recipes if one is not None])

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


class HistoryStrip(QtWidgets.QWidget):
    """History and favourites, one at a time, with their buttons."""

    #: Recipe to be compared with.
    pinRequested = Signal(object)

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

    def _make_buttons(self) -> None:
        tool = controls.tool_button
        folds = "Collapse or expand the history."
        self.fold = tool("history.fold", "▾", folds, checkable=True)
        self.show_history = tool("history.show_history")
        self.show_favourites = tool("history.show_favourites")
        self._which = QtWidgets.QButtonGroup(self)
        for button in (self.show_history, self.show_favourites):
            button.setCheckable(True)
            button.setProperty("role", "choice")
            self._which.addButton(button)
        self.show_history.setChecked(True)
        self.star = tool("history.star")
        self.star.setProperty("role", "step")
        self.note = tool("history.note")
        self.remove = tool("history.remove")
        self.link = tool("history.copy_link")
        self.paste = tool("history.paste")
        self.count = controls.label(
            "",
            "hint",
            tip="Position in the history; favourites of other models reappear with their model.",
        )

    def _lay_out(self) -> None:
        self._stack = QtWidgets.QStackedWidget()
        self._stack.addWidget(self.states)
        self._stack.addWidget(self.favourites)
        self._stack.addWidget(self.empty)
        self._stack.setFixedHeight(row_height())
        buttons = controls.stack(
            _row(self.fold, self.show_history, self.show_favourites), spacing=2
        )
        self._more = QtWidgets.QWidget()
        controls.stack(
            _row(self.star, self.count, self.note, self.remove),
            _row(self.link, self.paste),
            on=self._more,
            spacing=2,
        )
        buttons.addWidget(self._more)
        buttons.addStretch(1)
        row = controls.row(buttons, self._stack, stretch=1, spacing=8)
        row.setContentsMargins(6, 2, 8, 2)
        self.setLayout(row)

    def _connect(self) -> None:
        session = self.session
        session.historyChanged.connect(self._on_history)
        session.favourites.changed.connect(self._on_history)
        session.recipeChanged.connect(lambda *_: self._show_star())
        self.states.picked.connect(self._go_to)
        self.favourites.picked.connect(
            lambda row: session.change(session.favourites.items[row].recipe)
        )
        self.states.menuRequested.connect(self._show_menu)
        self.favourites.menuRequested.connect(self._show_menu)
        self.fold.toggled.connect(self._on_fold)
        self._which.buttonClicked.connect(lambda _: self._on_which())
        self.star.clicked.connect(self._toggle_star)
        self.note.clicked.connect(lambda: self._with_favourite(self.edit_note))
        self.remove.clicked.connect(lambda: self._with_favourite(session.favourites.remove))

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
        controls.reveal(not folded, self._stack, self._more)

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
        controls.reveal(favourites, self.note, self.remove)
        self._show_star()

    def _show_star(self) -> None:
        favourite = self.session.favourites.index_of(self.session.recipe)
        self.star.setText("☆" if favourite is None else "★")
        controls.enable(self.session.recipe is not None, self.star, self.link)
        if self.show_favourites.isChecked():
            self.favourites.go_to(favourite)
        controls.enable(favourite is not None, self.note, self.remove)

    def _toggle_star(self) -> None:
        if self.session.recipe is not None:
            self.session.favourites.toggle(self.session.recipe)

    def _with_favourite(self, act: Callable[[int], object]) -> None:
        """Do something with the favourite that is shown, if one is."""
        index = self.session.favourites.index_of(self.session.recipe)
        if index is not None:
            act(index)

    def edit_note(self, row: int) -> None:
        """Open the field for the note of a favourite."""
        self.show_favourites.setChecked(True)
        self._on_which()
        self.favourites.edit(self.kept.index(row))

    def _show_menu(self, row: int, where: Any) -> None:
        model: RecipeList = self.kept if self.sender() is self.favourites else self.history
        menu = self.menu(model.index(row))
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(where)

    def menu(self, index: QModelIndex) -> QtWidgets.QMenu:
        """What can be done with an entry."""
        menu = QtWidgets.QMenu(self)
        recipe: Recipe | None = index.data(RECIPE)
        favourites = self.session.favourites
        model: Any = index.model()
        why_not = "" if model.can_be_shown(index.row()) else self.history.why_not(index.row())
        if recipe is None or why_not:
            menu.addAction(why_not or UNPROJECTED).setEnabled(False)
            return menu
        kept = favourites.index_of(recipe)
        menu.addAction("Compare (pin as A)", lambda: self.pinRequested.emit(recipe))
        if kept is None:
            menu.addAction("Add to favourites", lambda: favourites.add(recipe))
        else:
            menu.addAction("Edit comment…", lambda: self.edit_note(kept))
            menu.addAction("Remove from favourites", lambda: favourites.remove(kept))
        return menu


def _row(*widgets: QtWidgets.QWidget) -> QtWidgets.QHBoxLayout:
    """Buttons at the left."""
    layout = controls.row(*widgets, spacing=2)
    layout.addStretch(1)
    return layout
