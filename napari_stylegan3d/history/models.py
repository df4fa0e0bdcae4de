"""The history and the favourites as Qt lists of recipes, and how an entry is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractListModel, QModelIndex, QRect, QSize, Qt
from qtpy.QtGui import QColor, QFontMetrics, QImage, QPainter, QPen
from qtpy.QtWidgets import QLineEdit, QStyle, QStyledItemDelegate, QStyleOptionViewItem

from napari_stylegan3d.core.provenance import provenance_of
from napari_stylegan3d.core.thumbnails import picture_of_scan, scaled
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.elided import in_words
from stylegan3d.recipe.description import describe_change, describe_recipe

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Favourites, Session
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.session.case import HistoryEntry

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
MARK = QColor("#5b7be8")
STAR = QColor("#ffb74d")
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
        self._recipes: list[Recipe] = []

    def rowCount(self, parent: QModelIndex = NO_INDEX) -> int:
        """How many there are."""
        return 0 if parent.isValid() else len(self._recipes)

    def recipe(self, row: int) -> Recipe:
        """The recipe of a row."""
        return self._recipes[row]

    def show_recipes(self, recipes: Sequence[Recipe]) -> None:
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
    """The states of the session, with what changed in each."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._entries: list[HistoryEntry] = []
        #: The current state and those that it was made from.
        self._way: set[int] = set()
        #: Pictures of scans, by the keys of their cases.
        self._scans: dict[str, QImage | None] = {}
        session.historyChanged.connect(self.follow)
        session.favourites.changed.connect(self.refresh)
        session.modelChanged.connect(lambda _: self.refresh())
        self.follow()

    def follow(self) -> None:
        """Show what the history is now."""
        self._entries = list(self.session.history.states)
        self._way = set(self.session.history.way)
        self.show_recipes(self.session.states)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """As in `RecipeList`; undone states and those of other models are dimmed."""
        row = index.row()
        if not 0 <= row < len(self._entries):
            return super().data(index, role)
        if role == ASIDE:
            return row not in self._way or not self.can_be_shown(row)
        if role == FORK:
            return self.made_from(row) + 1 if self.session.history.is_fork(row) else None
        if role == SCAN:
            return self._picture(self._entries[row])
        return super().data(index, role)

    def can_be_shown(self, row: int) -> bool:
        """Whether it is of the model that is loaded."""
        generator = self.session.generator
        return self._entries[row].is_for("" if generator is None else generator.hash)

    def words(self, row: int) -> str:
        """What changed."""
        entry, before = self._entries[row], self._entries[self.made_from(row)] if row else None
        if entry.shown.what == "scan" and entry.case is not None:
            return f"Scan {entry.case.name}"
        if before is None or before.model != entry.model or before.recipe == entry.recipe:
            return describe_recipe(entry.recipe)
        groups = {group.layers: group.name for group in self.session.layer_groups()}
        return describe_change(before.recipe, entry.recipe, groups)

    def made_from(self, row: int) -> int:
        """The state that a state was made from."""
        return self.session.history.parents[row] or 0

    def tip(self, row: int) -> str:
        """What changed, what there is then, and whose it is."""
        entry = self._entries[row]
        where = f"{row + 1} of {len(self._entries)}"
        aside = ""
        if row in self.session.history.ahead:
            aside = " (undone)"
        elif row not in self._way:
            aside = " (another branch)"
        change, whole = self.words(row), describe_recipe(entry.recipe)
        lines = [f"{where}{aside}: {change}"]
        if self.session.history.is_fork(row):
            lines.append(f"Continues from state {self.made_from(row) + 1}.")
        if entry.shown.what != "scan" and entry.recipe.worn_detail is not None:
            lines.append(provenance_of(self.session, entry.recipe).one_line)
        if whole != change and entry.shown.what != "scan":
            lines.append(whole)
        if not self.can_be_shown(row):
            lines.append(self.why_not(row))
        return "\n".join(lines)

    def why_not(self, row: int) -> str:
        """Why a state of another model cannot be shown."""
        model = self._entries[row].model
        return "Made with the model {model}: open that model (Open ▾) to show it.".format(
            model="" if model is None else model.name
        )

    def is_current(self, row: int) -> bool:
        """Whether one is there."""
        return row == self.session.history.position

    def _picture(self, entry: HistoryEntry) -> QImage | None:
        """Of a step at which a scan was opened, its picture."""
        case = entry.case
        if entry.shown.what != "scan" or case is None:
            return None
        if self._scans.get(case.key) is None:
            self._scans[case.key] = picture_of_scan(case)
        return self._scans[case.key]


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
        return self.favourites.items[row].note or describe_recipe(self._recipes[row])

    def tip(self, row: int) -> str:
        """The note and what it shows."""
        note, shows = self.favourites.items[row].note, describe_recipe(self._recipes[row])
        return f"{note}\n{shows}" if note else shows

    def is_current(self, row: int) -> bool:
        """Whether it is currently shown."""
        return self._recipes[row] == self.session.recipe


class RecipeDelegate(QStyledItemDelegate):
    """Draws the thumbnail above its caption; frames the current entry, dims undone ones."""

    def __init__(self, image: Callable[[Recipe], QImage | None]) -> None:
        super().__init__()
        self._image = image

    def sizeHint(self, _option: QStyleOptionViewItem, _index: QModelIndex) -> QSize:
        """All are of one size."""
        return cell_size()

    def createEditor(self, parent: Any, _option: Any, _index: QModelIndex) -> QLineEdit:
        """A field for the note."""
        field = controls.named(QLineEdit(parent), "history.note_field")
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

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
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
        hovered = bool(option.state & QStyle.StateFlag.State_MouseOver)
        if index.data(CURRENT) or hovered:
            painter.setPen(QPen(MARK, 2.0 if index.data(CURRENT) else 1.0))
            painter.drawRect(place.adjusted(-1, -1, 0, 0))
        painter.restore()

    def _draw_picture(self, painter: QPainter, place: QRect, index: QModelIndex) -> None:
        painter.fillRect(place, Qt.GlobalColor.black)
        model = index.model()
        image = index.data(SCAN)
        if image is None and model.can_be_shown(index.row()):
            image = self._image(index.data(RECIPE))
        if image is None:
            painter.setPen(QColor("#7d8590"))
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
    def _draw_fork(painter: QPainter, place: QRect, index: QModelIndex) -> None:
        """At the first state of a branch, which state it continues from."""
        number = index.data(FORK)
        if number is None:
            return
        font = painter.font()
        font.setPixelSize(controls.scaled(FORK_PX))
        font.setBold(True)
        painter.setFont(font)
        text = f"↳{number}"
        wide = QFontMetrics(font).horizontalAdvance(text) + 5
        badge = QRect(place.left() - 6, place.top(), wide, QFontMetrics(font).height())
        painter.fillRect(badge, MARK)
        painter.setPen(Qt.GlobalColor.white)
        painter.drawText(badge, Qt.AlignmentFlag.AlignCenter, text)

    @staticmethod
    def _draw_words(
        painter: QPainter, cell: QRect, option: QStyleOptionViewItem, index: QModelIndex
    ) -> None:
        font = option.font
        font.setPixelSize(controls.scaled(LETTER))
        painter.setFont(font)
        painter.setPen(option.palette.text().color())
        top = cell.top() + PICTURE + MARGIN + 1
        below = QRect(cell.left() + 1, top, cell.width() - 2, controls.scaled(TEXT))
        words = index.data(Qt.ItemDataRole.DisplayRole)
        place = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop
        painter.drawText(below, place, in_two_lines(words, QFontMetrics(font), below.width()))


def in_two_lines(words: str, metrics: QFontMetrics, width: int) -> str:
    """Words in at most two lines; where they end in an amount, it stays."""

    def lines(text: str) -> list[str]:
        parts = text.split(" ")
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
