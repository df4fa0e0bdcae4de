"""The wall: many random brains at once, to pick from."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import QDialog, QLabel, QWidget

from napari_stylegan3d.browse.grid import Cell, ThumbnailGrid
from napari_stylegan3d.core.gallery import SYNTHETIC
from napari_stylegan3d.core.worker import duration_in_words
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.seeds import DICE_BELOW, LARGEST_SEED
from stylegan3d.recipe.description import describe_source
from stylegan3d.recipe.recipe import Recipe

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from napari_stylegan3d.core.thumbnails import Thumbnails

COLUMNS, ROWS = 6, 4
#: Number of pictures after which the remaining time can be estimated.
TELLING = 3
PAGE = COLUMNS * ROWS
OWNER = "browse.wall"
HELP = (
    "Click or use the arrow keys to show a brain; double-click or press Enter to close the "
    "wall. The star, or S, adds a brain to the favourites."
)


class Wall(QDialog):
    """A page of numbered brains next to the panel; a clicked brain is shown at once.

    Each thumbnail is what choosing its number shows: truncation and label hold for all of them,
    edits and mix only if they are taken along.
    """

    def __init__(self, session: Session, thumbnails: Thumbnails, parent: QWidget) -> None:
        super().__init__(parent)
        self.session, self.thumbnails = session, thumbnails
        self.first = 0
        self.setObjectName("browse.wall_window")
        self.setWindowTitle("Wall of brains")
        self.grid = ThumbnailGrid("browse.wall_grid", COLUMNS, ROWS, thumbnails.image, grows=True)
        self.grid.setAccessibleName("Wall of brains")
        self.numbers = controls.named(QLabel(), "browse.wall_numbers")
        self.numbers.setProperty("role", "heading")
        self.common = controls.hint(name="browse.wall_common")
        self.progress = controls.hint(name="browse.wall_progress")
        self.progress.setWordWrap(False)
        #: When the page was requested, and how many of its pictures existed then.
        self._asked: tuple[float, int] | None = None
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        self.previous = controls.push_button(
            "◀",
            "browse.wall_previous",
            f"Previous {PAGE} brains (Page Up).",
        )
        self.following = controls.push_button(
            "▶",
            "browse.wall_next",
            f"Next {PAGE} brains (Page Down).",
        )
        self.dice = controls.push_button(
            "Random",
            "browse.wall_dice",
            f"{PAGE} brains starting at a random number.",
        )
        for button, key in ((self.previous, "PgUp"), (self.following, "PgDown")):
            button.setFixedWidth(controls.scaled(36))
            button.setShortcut(key)
        for button in (self.previous, self.following, self.dice):
            button.setAutoDefault(False)  # Enter is the grid's
        column = controls.stack(on=self, spacing=9, margins=(14, 12, 14, 12))
        buttons = self.previous, self.following, self.dice
        head = controls.row(self.numbers, self.progress, *buttons, stretch=0)
        column.addLayout(head)
        column.addWidget(self.grid, stretch=1)
        caption = QLabel(SYNTHETIC)
        caption.setProperty("role", "caution")
        column.addLayout(controls.row(self.common, caption, stretch=0))
        column.addWidget(controls.hint(HELP))

    def _connect(self) -> None:
        self.previous.clicked.connect(lambda: self.turn_to(self.first - PAGE))
        self.following.clicked.connect(lambda: self.turn_to(self.first + PAGE))
        self.dice.clicked.connect(lambda: self.turn_to(random.randrange(DICE_BELOW)))
        self.grid.picked.connect(lambda index: self._take(self.first + index))
        self.grid.moved.connect(self._go_on)
        self.grid.accepted.connect(self.accept)
        self.grid.starred.connect(self._star)
        self.thumbnails.ready.connect(self._on_ready)
        self.thumbnails.prepared.connect(self._show_progress)
        self.session.recipeChanged.connect(self._on_recipe)
        self.session.modelChanged.connect(lambda _: self._on_recipe(self.session.recipe, False))
        self.session.favourites.changed.connect(self._show_cells)

    def open_beside(self, widget: QWidget) -> None:
        """Open left of a widget, over the views, at the page with the current number."""
        self.turn_to(self.session.recipe.source.seed or 0)
        controls.fit_window(self)
        corner = widget.mapToGlobal(QPoint(0, 0))
        left = max(corner.x() - self.frameGeometry().width() - 12, 0)
        self.move(left, corner.y() + 40)
        controls.name_for_readers(self)
        self.show()
        self.raise_()
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

    def showEvent(self, event: QShowEvent) -> None:
        """Ask for the thumbnails."""
        super().showEvent(event)
        self._want()

    def hideEvent(self, event: QHideEvent) -> None:
        """Cancel the thumbnails."""
        self.thumbnails.drop(OWNER)
        super().hideEvent(event)

    def recipes(self) -> list[Recipe]:
        """What the page shows."""
        seeds = range(self.first, min(self.first + PAGE, LARGEST_SEED + 1))
        return [self._recipe(seed) for seed in seeds]

    def _recipe(self, seed: int) -> Recipe:
        return self.session.numbered(seed)

    def _show_cells(self) -> None:
        starred = {favourite.recipe for favourite in self.session.favourites.items}
        cells = [
            Cell(
                recipe,
                str(recipe.source.seed),
                describe_source(recipe.source),
                recipe in starred,
            )
            for recipe in self.recipes()
        ]
        seed = self.session.recipe.source.seed
        shown = seed is not None and self.first <= seed < self.first + len(cells)
        self.grid.show_cells(cells, seed - self.first if shown and seed is not None else None)
        recipe = self.session.recipe
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
        there, of = sum(self.thumbnails.has(cell.recipe) for cell in cells), len(cells)
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
            left = duration_in_words((now - since) * (of - there) / (there - first))
            text += f", about {left} left"
        self.progress.setText(text)

    def _on_recipe(self, recipe: Recipe, live: bool) -> None:
        # While a slider moves the pictures would be old before they are drawn.
        if not live:
            self.refresh()

    def _take(self, seed: int) -> None:
        self.session.change(self._recipe(seed), gesture="browse.seed")

    def _go_on(self, by: int) -> None:
        """The brain `by` numbers after the current one, on another page if need be."""
        current = self.session.recipe.source.seed
        on_page = current is not None and self.first <= current < self.first + PAGE
        seed = min(max(current + by, 0), LARGEST_SEED) if on_page and current is not None else None
        seed = self.first if seed is None else seed
        self._take(seed)
        if not self.first <= seed < self.first + PAGE:
            self.turn_to(seed)

    def _star(self, index: int) -> None:
        """Add a brain to the favourites, or remove it."""
        recipe, favourites = self.grid.cells[index].recipe, self.session.favourites
        known = favourites.index_of(recipe)
        if known is None:
            favourites.add(recipe)
        else:
            favourites.remove(known)


def common_to_all(recipe: Recipe) -> str:
    """What holds for every brain of the wall, such as "All at truncation 0.70, with 2 edits."."""
    parts = []
    if recipe.label is not None:
        parts.append("the label")
    if recipe.mix is not None and any(recipe.mix.strength):
        parts.append("the mix")
    edits = sum(bool(edit.strength) for edit in recipe.edits)
    if edits:
        parts.append("the edit" if edits == 1 else f"the {edits} edits")
    psi = recipe.truncation.psi
    if not parts:
        return f"All at truncation {psi:.2f}."
    return "All at truncation {psi:.2f}, with {parts} of the current brain.".format(
        psi=psi, parts=" and ".join(parts)
    )
