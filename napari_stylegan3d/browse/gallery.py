"""The gallery: many random brains at once, to pick from.

An interpolation from brain to brain: key frames, a position, and playback.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy import QtGui
from qtpy.QtCore import QEvent, QPointF, QRect, QSize, Qt, QTimer, Signal
from qtpy.QtWidgets import QDialog, QSizePolicy, QToolTip, QWidget

from napari_stylegan3d.core.thumbnails import SYNTHETIC, Thumbnails, scaled
from napari_stylegan3d.core.worker import LatestWins
from napari_stylegan3d.widgets import controls, dialogs
from napari_stylegan3d.widgets.controls import DICE_BELOW, LARGEST_SEED, painting
from stylegan3d.base import RecipeError, duration
from stylegan3d.recipe.description import describe_recipe, describe_source
from stylegan3d.recipe.keyframes import check_walk, joined, leg_at, walk
from stylegan3d.recipe.recipe import Recipe

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session


CELL, GAP, STAR, STAR_SIZE = 112, 4, 24, 18
#: Thumbnails are black in every theme, so text on them is light.
ON_BLACK, FAINT = QtGui.QColor("#f0f1f2"), QtGui.QColor("#aab1ba")
FAVOURITE, CURRENT = QtGui.QColor("#ffb74d"), QtGui.QColor("#6480e6")
STEPS = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}


@dataclass(frozen=True)
class GalleryCell:
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

    #: Index of the cell that was clicked.
    picked = Signal(int)
    #: Number of cells an arrow key moves forward or back; may lead beyond the last one.
    moved = Signal(int)
    #: A double click, or Enter.
    accepted = Signal()
    #: Index of the cell whose sign was clicked, or of the current one on the sign's key.
    starred = Signal(int)

    def __init__(
        self,
        name: str,
        columns: int,
        rows: int,
        image: Callable[[Recipe], QtGui.QImage | None],
        cell: int = CELL,
        signs: tuple[str, str] = ("★", "☆"),
        sign_key: Qt.Key = Qt.Key.Key_S,
        grows: bool = False,
    ) -> None:
        super().__init__()
        self.columns, self.rows, self.side = columns, rows, cell
        self._cell, self._grows = cell, grows
        self.signs, self.sign_key = signs, sign_key
        self.cells: tuple[GalleryCell, ...] = ()
        self.current: int | None = None
        self._image = image
        self._under: int | None = None
        self.setObjectName(name)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._take_room()

    def sizeHint(self) -> QSize:
        """All cells, as small as they may be."""
        return QSize(self.columns * (self._cell + GAP) - GAP, self.rows * (self._cell + GAP) - GAP)

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
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

    def show_cells(self, cells: Sequence[GalleryCell], current: int | None) -> None:
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

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw the cells that need it."""
        with painting(self, smooth=False) as painter:
            for index, cell in enumerate(self.cells):
                if event.rect().intersects(self.place(index)):
                    self._draw(painter, index, cell)

    def _draw(self, painter: QtGui.QPainter, index: int, cell: GalleryCell) -> None:
        place = self.place(index)
        painter.fillRect(place, Qt.GlobalColor.black)
        image = self._image(cell.recipe)
        painter.setPen(FAINT)
        if image is None:
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, "…")
        else:
            painter.drawPixmap(place.topLeft(), scaled(image, self.side, self.devicePixelRatioF()))
        current, under = index == self.current, index == self._under
        font = QtGui.QFont(self.font())
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
            painter.setPen(QtGui.QPen(CURRENT if current else FAINT, width))
            painter.drawRect(place.adjusted(width // 2, width // 2, -(width + 1) // 2, -1))

    def _write(self, painter: QtGui.QPainter, place: QRect, text: str, color: QtGui.QColor) -> None:
        """A label at the lower left of a cell, legible on any picture."""
        metrics = painter.fontMetrics()
        text = metrics.elidedText(text, Qt.TextElideMode.ElideRight, place.width() - 8)
        width, height = metrics.horizontalAdvance(text) + 8, metrics.height() + 2
        ground = QRect(place.left(), place.bottom() - height + 1, width, height)
        painter.fillRect(ground, QtGui.QColor(0, 0, 0, 170))
        painter.setPen(color)
        painter.drawText(ground, Qt.AlignmentFlag.AlignCenter, text)

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        """Mark the cell under the mouse."""
        self._point_at(self.index_at(event.position()))

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is pointed at any more."""
        self._point_at(None)

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        """Select a brain, or make it a favourite."""
        index = self.index_at(event.position())
        if index is None or event.button() != Qt.MouseButton.LeftButton:
            return
        on_star = self.star_place(index).contains(event.position().toPoint())
        (self.starred if on_star else self.picked).emit(index)

    def mouseDoubleClickEvent(self, event: QtGui.QMouseEvent) -> None:
        """Select a brain and close."""
        index = self.index_at(event.position())
        if index is None or self.star_place(index).contains(event.position().toPoint()):
            return
        self.picked.emit(index)
        self.accepted.emit()

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:
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


COLUMNS, ROWS = 6, 4
#: Number of pictures after which the remaining time can be estimated.
TELLING = 3
PAGE = COLUMNS * ROWS
OWNER = "browse.wall"
HELP = (
    "Click or use the arrow keys to show a brain; double-click or press Enter to close the "
    "gallery. The star, or S, adds a brain to the favourites."
)


class GalleryDialog(QDialog):
    """A page of numbered brains next to the panel; a clicked brain is shown at once.

    Each thumbnail is what choosing its number shows: truncation and label hold for all of them,
    edits and mix only if they are taken along.
    """

    def __init__(self, session: Session, thumbnails: Thumbnails, parent: QWidget) -> None:
        super().__init__(parent)
        self.session, self.thumbnails = session, thumbnails
        self.first = 0
        self.setObjectName("browse.wall_window")
        self.setWindowTitle("Gallery of brains")
        self.grid = ThumbnailGrid("browse.wall_grid", COLUMNS, ROWS, thumbnails.image, grows=True)
        self.grid.setAccessibleName("Gallery of brains")
        self.numbers = controls.label("", "heading", "browse.wall_numbers")
        self.common = controls.hint(name="browse.wall_common")
        self.progress = controls.hint(name="browse.wall_progress")
        self.progress.setWordWrap(False)
        #: When the page was requested, and how many of its pictures existed then.
        self._asked: tuple[float, int] | None = None
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        self.previous = controls.push_button(
            "browse.wall_previous", "◀", f"Previous {PAGE} brains (Page Up)."
        )
        self.following = controls.push_button(
            "browse.wall_next", "▶", f"Next {PAGE} brains (Page Down)."
        )
        self.dice = controls.push_button(
            "browse.wall_dice", "Random", f"{PAGE} brains starting at a random number."
        )
        for button, key in ((self.previous, "PgUp"), (self.following, "PgDown")):
            button.setFixedWidth(controls.scaled(36))
            button.setShortcut(key)
        column = controls.dialog(on=self)
        buttons = self.previous, self.following, self.dice
        column.addLayout(controls.row(self.numbers, self.progress, *buttons, stretch=0))
        column.addWidget(self.grid, stretch=1)
        column.addLayout(controls.row(self.common, controls.label(SYNTHETIC, "caution"), stretch=0))
        column.addWidget(controls.hint(HELP))

    def _connect(self) -> None:
        self.previous.clicked.connect(lambda: self.turn_to(self.first - PAGE))
        self.following.clicked.connect(lambda: self.turn_to(self.first + PAGE))
        self.dice.clicked.connect(lambda: self.turn_to(random.randrange(DICE_BELOW)))
        self.grid.picked.connect(lambda index: self._take(self.first + index))
        self.grid.moved.connect(self._go_on)
        self.grid.accepted.connect(self.accept)
        favourites = self.session.favourites
        self.grid.starred.connect(lambda index: favourites.toggle(self.grid.cells[index].recipe))
        self.thumbnails.ready.connect(self._on_ready)
        self.thumbnails.prepared.connect(self._show_progress)
        self.session.recipeChanged.connect(self._on_recipe)
        self.session.modelChanged.connect(lambda _: self.refresh())
        favourites.changed.connect(self._show_cells)

    def open_beside(self, widget: QWidget) -> None:
        """Open left of a widget, over the views, at the page with the current number."""
        self.turn_to(self.session.synthetic.source.seed or 0)
        controls.fit_window(self)
        dialogs.open_beside(self, widget, 40)
        self.grid.setFocus(Qt.FocusReason.OtherFocusReason)

    def turn_to(self, seed: int) -> None:
        """Show the page that a number is on."""
        seed = min(max(seed, 0), LARGEST_SEED)
        self.first = seed // PAGE * PAGE
        self.previous.setEnabled(self.first > 0)
        self.following.setEnabled(self.first + PAGE <= LARGEST_SEED)
        self.numbers.setText(f"Brains {self.first} to {self.first + PAGE - 1}")
        self._show_cells()
        self._want()

    def showEvent(self, event: QtGui.QShowEvent) -> None:
        """Ask for the thumbnails."""
        super().showEvent(event)
        self._want()

    def hideEvent(self, event: QtGui.QHideEvent) -> None:
        """Cancel the thumbnails."""
        self.thumbnails.drop(OWNER)
        super().hideEvent(event)

    def recipes(self) -> list[Recipe]:
        """What the page shows."""
        seeds = range(self.first, min(self.first + PAGE, LARGEST_SEED + 1))
        return [self.session.numbered(seed) for seed in seeds]

    def _show_cells(self) -> None:
        starred = {favourite.recipe for favourite in self.session.favourites.items}
        cells = [
            GalleryCell(
                recipe, str(recipe.source.seed), describe_source(recipe.source), recipe in starred
            )
            for recipe in self.recipes()
        ]
        seed = self.session.synthetic.source.seed
        shown = seed is not None and self.first <= seed < self.first + len(cells)
        self.grid.show_cells(cells, seed - self.first if shown and seed is not None else None)
        recipe = self.session.synthetic
        kept = recipe if self.session.keep_edits else recipe.replace(mix=None, edits=())
        self.common.setText(common_to_all(kept))

    def refresh(self) -> None:
        """Other edits are taken along now."""
        if self.isVisible():
            self._show_cells()
            self._want()

    def _want(self) -> None:
        if self.isVisible():
            self._asked = None
            self.thumbnails.want(OWNER, self.recipes())
            self._show_progress()

    def _on_ready(self, recipe: Recipe, _image: object) -> None:
        self.grid.show_ready(recipe)
        if self.isVisible():
            self._show_progress()

    def _show_progress(self, _prepared: object = None) -> None:
        """How many of the pictures are there, and when the others will be."""
        cells = self.grid.cells
        of = len(cells)
        there = of - sum(self.thumbnails.image(cell.recipe) is None for cell in cells)
        if not self.thumbnails.is_prepared:
            self._asked = None
            self.progress.setText("Preparing the model…")
            return
        now = time.monotonic()
        if self._asked is None:
            self._asked = now, there
        since, first = self._asked
        if there == of:
            self.progress.setText("")
            return
        text = f"{there} of {of} rendered"
        if there - first >= TELLING:
            left = duration((now - since) * (of - there) / (there - first))
            text += f", about {left} left"
        self.progress.setText(text)

    def _on_recipe(self, recipe: Recipe, live: bool) -> None:
        # While a slider moves the pictures would be old before they are drawn.
        if not live:
            self.refresh()

    def _take(self, seed: int) -> None:
        self.session.change(self.session.numbered(seed), gesture="browse.seed")

    def _go_on(self, by: int) -> None:
        """The brain `by` numbers after the current one, on another page if need be."""
        current = self.session.synthetic.source.seed
        on_page = current is not None and self.first <= current < self.first + PAGE
        seed = min(max(current + by, 0), LARGEST_SEED) if on_page and current is not None else None
        seed = self.first if seed is None else seed
        self._take(seed)
        if not self.first <= seed < self.first + PAGE:
            self.turn_to(seed)


def common_to_all(recipe: Recipe) -> str:
    """What holds for all brains shown, such as "All at truncation 0.70, with 2 edits."."""
    parts = []
    if recipe.label is not None:
        parts.append("the label")
    if recipe.worn_mix is not None:
        parts.append("the mix")
    edits = sum(bool(edit.strength) for edit in recipe.edits)
    if edits:
        parts.append("the edit" if edits == 1 else f"the {edits} edits")
    psi = recipe.truncation.psi
    if not parts:
        return f"All at truncation {psi:.2f}."
    return f"All at truncation {psi:.2f}, with {' and '.join(parts)} of the current brain."


STOPS_ACROSS, STOP_PX = 5, 62
MOST_STOPS = 20
WALK = "browse.walk"
#: Interval between steps during playback; a preview takes about as long.
TICK_MS = 66
EMPTY = "Add two or more brains, then drag the slider from one to the next, or press Play."
AS_LATENTS = (
    "These brains differ in truncation, labels or mixes, so the path interpolates their "
    "latents, which include all three."
)
JOINING = "Preparing the path: these brains differ in truncation, labels or mixes …"
OF_PATIENT = (
    "On this path, {name} would blend into a synthetic brain: undo the edits and mix first, or "
    "choose other key frames."
)
ONE_MORE = "Add another brain: choose one above, then add it."


class InterpolationBox(QWidget):
    """Moves the current brain along straight lines between the key frames, and back.

    The position is an ordinary recipe; the session keeps the key frames.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.thumbnails: Thumbnails | None = None
        self.stops: tuple[Recipe, ...] = ()
        self._sent: Recipe | None = None
        self._since, self._from = 0.0, 0.0
        self.add = controls.push_button("browse.walk_add")
        self.favourites = controls.push_button("browse.walk_favourites")
        self.clear = controls.push_button("browse.walk_clear")
        self.strip = ThumbnailGrid(
            "browse.walk_stops", STOPS_ACROSS, 1, self._image, STOP_PX, ("", "✕"), Qt.Key.Key_Delete
        )
        self.strip.setToolTip(
            "The key frames, in order: click to go there, ✕ or Delete to remove one."
        )
        self.position = controls.SliderRow(
            "browse.walk_position",
            "",
            (0.0, 100.0, 1.0, 0.0),
            " %",
            "Position along the path, 0 to 100 % from the first key frame to the last.",
        )
        self.play = controls.push_button("browse.walk_play", checkable=True)
        tip = "Time from one key frame to the next, 1 to 60 s."
        unit = " s per segment"
        self.seconds = controls.number("browse.walk_seconds", tip, (1, 60), unit, value=4)
        self.note = controls.hint(EMPTY, "browse.walk_note")
        self._timer = QTimer(self)
        self._timer.setInterval(TICK_MS)
        self._joining = LatestWins(
            lambda request: joined(*request[:3]), self, self._on_joined, self._refuse
        )
        self._lay_out()
        self._connect()
        self._show_stops()

    def _lay_out(self) -> None:
        controls.stack(
            controls.row(self.add, self.favourites, self.clear, stretch=0),
            self.strip,
            self.position,
            controls.row(self.play, self.seconds, stretch=1),
            self.note,
            on=self,
            spacing=8,
        )

    def _connect(self) -> None:
        session = self.session
        self.add.clicked.connect(lambda: self._set_stops((*self.stops, session.brain)))
        self._joining.busyChanged.connect(self._enable)
        self.favourites.clicked.connect(self._add_favourites)
        self.clear.clicked.connect(lambda: self._set_stops(()))
        self.strip.picked.connect(self._go_to_stop)
        self.strip.moved.connect(self._step)
        self.strip.starred.connect(self._remove)
        self.position.valueChanged.connect(self._on_position)
        self.play.toggled.connect(self._on_play)
        self._timer.timeout.connect(self._on_tick)
        session.recipeChanged.connect(self._on_recipe)
        session.modelChanged.connect(lambda _: self._take())
        session.favourites.changed.connect(self._show_stops)
        session.framesChanged.connect(self._take)

    def show_stops(self, stops: Iterable[Recipe]) -> None:
        """Show other key frames, whose neighbours can be joined."""
        self.stop()
        self.stops = tuple(stops)
        self.session.keep_key_frames("path", self.stops)
        self._show_stops()
        self._want()

    def _take(self) -> None:
        """Show the session's key frames; with another model they would be other brains."""
        if (kept := self.session.key_frames("path")) != self.stops:
            self._set_stops(kept)

    def use(self, thumbnails: Thumbnails) -> None:
        """Show the key frames with these thumbnails."""
        self.thumbnails = thumbnails
        thumbnails.ready.connect(lambda recipe, _: self.strip.show_ready(recipe))

    def stop(self) -> None:
        """Play no longer."""
        self._timer.stop()
        self.play.setChecked(False)

    def showEvent(self, event: QtGui.QShowEvent) -> None:
        """Ask for the key frames' thumbnails."""
        super().showEvent(event)
        self._want()

    def hideEvent(self, event: QtGui.QHideEvent) -> None:
        """Cancel the thumbnails."""
        if self.thumbnails is not None:
            self.thumbnails.drop(WALK)
        super().hideEvent(event)

    def _image(self, recipe: Recipe) -> QtGui.QImage | None:
        return None if self.thumbnails is None else self.thumbnails.image(recipe)

    def _want(self) -> None:
        if self.thumbnails is not None and self.isVisible():
            self.thumbnails.want(WALK, self.stops)

    def _add_favourites(self) -> None:
        new = [f.recipe for f in self.session.favourites.items if f.recipe not in self.stops]
        self._set_stops((*self.stops, *new))

    def _remove(self, index: int) -> None:
        self._set_stops(self.stops[:index] + self.stops[index + 1 :])

    def _set_stops(self, stops: tuple[Recipe, ...]) -> None:
        """Set new key frames if possible; as latents where recipes cannot."""
        self.stop()
        generator, stops = self.session.generator, stops[:MOST_STOPS]
        if generator is None:
            return
        try:
            check_walk(stops, generator)
            self.show_stops(stops)
        except RecipeError:  # latents are written: with some models that takes seconds
            self.note.setText(JOINING)
            self._joining.submit((stops, generator, self.session.folder, self.stops))

    def _on_joined(self, request: Any, kept: tuple[Recipe, ...]) -> None:
        """Show them, unless others are there by now, or another model."""
        stops, generator, _, before = request
        if generator is not self.session.generator or before is not self.stops:
            return
        changed = (a.source for a, b in zip(stops, kept, strict=True) if a != b)
        if case := next(filter(None, map(self.session.case_of, changed)), None):
            self._refuse(None, OF_PATIENT.format(name=case.name))
        else:
            self.show_stops(kept)
            self.note.setText(AS_LATENTS)

    def _refuse(self, _: Any, error: object) -> None:
        self._show_stops()
        self.note.setText(str(error))

    def _show_stops(self) -> None:
        cells = []
        for recipe in self.stops:
            words = describe_recipe(recipe)
            cells.append(GalleryCell(recipe, words.partition(",")[0], words))
        self.strip.set_rows(max(-(-len(cells) // STOPS_ACROSS), 1))
        self.strip.setVisible(bool(cells))
        self.strip.show_cells(cells, self._current_stop())
        controls.enable(len(cells) >= 2, self.position, self.play, self.seconds)
        self.clear.setEnabled(bool(cells))
        self._enable()
        self.note.setText(self._words())

    def _enable(self, *_: object) -> None:
        """A scan that is not projected is no brain of the model, and one is added at a time."""
        ready, there = not self._joining.busy, self.session.recipe is not None
        self.add.setEnabled(ready and there)
        self.favourites.setEnabled(ready and bool(self.session.favourites.items))

    def _current_stop(self) -> int | None:
        recipe = self.session.recipe
        return self.stops.index(recipe) if recipe and recipe in self.stops else None

    def _words(self) -> str:
        """Current position of the interpolation."""
        if len(self.stops) < 2:
            return ONE_MORE if self.stops else EMPTY
        leg, t = leg_at(len(self.stops), self.position.value() / 100)
        first, second = (describe_recipe(stop) for stop in self.stops[leg : leg + 2])
        if self.session.recipe != self._sent:
            if (stop := self._current_stop()) is not None:
                return f"The current brain is key frame {stop + 1} of {len(self.stops)}."
            return f"{len(self.stops)} key frames; the current brain is not on the path."
        return f"{100 * t:.0f} % of the way from {first} to {second}."

    def _on_position(self, percent: float, live: bool) -> None:
        self.stop()
        self._go(percent / 100, live)

    def _go_to_stop(self, index: int) -> None:
        self.stop()
        if len(self.stops) < 2:
            self.session.change(self.stops[index])
            return
        position = index / (len(self.stops) - 1)
        self.position.set_value(100 * position)
        self._go(position, live=False)

    def _step(self, by: int) -> None:
        current = self._current_stop()
        index = 0 if current is None else current + by
        if 0 <= index < len(self.stops):
            self._go_to_stop(index)

    def _go(self, position: float, live: bool) -> None:
        """Show the brain at a position, 0 to 1."""
        if self.session.generator is None or len(self.stops) < 2:
            return
        self._sent = walk(self.stops, position, self.session.generator.num_layers)
        self.session.change(self._sent, live=live, gesture="" if live else "browse.walk")

    def _on_play(self, playing: bool) -> None:
        self.play.setText("⏸ Pause" if playing else "▶ Play")
        if playing:
            self._since, self._from = time.monotonic(), self.position.value() / 100
            self._timer.start()
        elif self._timer.isActive():  # stopped by the user: the current brain becomes an undo step
            self._timer.stop()
            self._go(self.position.value() / 100, live=False)

    def _on_tick(self) -> None:
        whole = self.seconds.value() * (len(self.stops) - 1)
        along = (self._from + (time.monotonic() - self._since) / whole) % 2.0
        position = round(along if along <= 1 else 2 - along, 3)
        self.position.set_value(100 * position)
        self._go(position, live=True)

    def _on_recipe(self, recipe: Recipe, _live: bool) -> None:
        if recipe != self._sent:
            self.stop()
            self._sent = None
        self._enable()
        if self.isVisible():
            self.strip.show_cells(self.strip.cells, self._current_stop())
            self.note.setText(self._words())
