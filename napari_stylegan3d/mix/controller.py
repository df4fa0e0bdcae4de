"""What the Mix panel opens and needs computed: its three pictures and the matrix."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QBuffer, QIODevice, QObject, QRectF, Qt
from qtpy.QtGui import QColor, QFont, QHideEvent, QImage, QPainter
from qtpy.QtWidgets import QComboBox, QDialog, QGridLayout, QLabel, QSpinBox, QWidget

from napari_stylegan3d.core.context import report_error
from napari_stylegan3d.core.thumbnails import SYNTHETIC, Gallery, PictureButton
from napari_stylegan3d.widgets import controls, dialogs
from stylegan3d.errors import OutputError, StyleGAN3DError
from stylegan3d.model.layers import WHOLE
from stylegan3d.pages.shortening import elided
from stylegan3d.recipe.mixing import around, mixing_matrix, solo
from stylegan3d.recipe.recipe import Mix, Source
from stylegan3d.storage.files import atomic_write_bytes

if TYPE_CHECKING:
    from napari_stylegan3d.core.context import Context
    from napari_stylegan3d.core.thumbnails import Thumbnails
    from napari_stylegan3d.mix.panel import MixPanel
    from stylegan3d.model.layers import LayerGroup
    from stylegan3d.recipe.recipe import Recipe

#: Pixels of a thumbnail, between two, and of a line of writing.
CELL, GAP, LINE = 192, 6, 34
TEXT = QColor("#e8eaed")


@dataclass(frozen=True)
class MixTable:
    """What the matrix holds: names and recipes of rows, columns and cells."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: list[list[Recipe]]
    row_recipes: list[Recipe]
    column_recipes: list[Recipe]
    group: str

    @property
    def down(self) -> list[tuple[Recipe, str]]:
        """The rows' brains."""
        return list(zip(self.row_recipes, self.rows, strict=True))

    @property
    def across(self) -> list[tuple[Recipe, str]]:
        """The columns' brains."""
        return list(zip(self.column_recipes, self.columns, strict=True))

    def name_of(self, row: int, column: int) -> str:
        """What a cell is."""
        return f"{self.rows[row]} with structures of {self.columns[column]}"


def draw_matrix(table: MixTable, image: Callable[[Recipe], QImage | None]) -> QImage:
    """The brains of rows at the left, of columns above, the mixes between; captions below."""
    step = CELL + GAP
    width = (len(table.columns) + 1) * step + GAP
    height = (len(table.rows) + 1) * step + GAP + 3 * LINE
    picture = QImage(width, height, QImage.Format.Format_RGB32)
    picture.fill(Qt.GlobalColor.black)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    font = QFont(painter.font())
    font.setPixelSize(15)
    painter.setFont(font)
    painter.setPen(TEXT)
    placed = [(0, k + 1, *head) for k, head in enumerate(table.across)]
    placed += [(i + 1, 0, *head) for i, head in enumerate(table.down)]
    placed += [
        (i + 1, k + 1, recipe, "")
        for i, row in enumerate(table.cells)
        for k, recipe in enumerate(row)
    ]
    for i, k, recipe, name in placed:
        place = QRectF(GAP + k * step, GAP + i * step, CELL, CELL)
        # A name has a line of its own, below a smaller picture.
        line = LINE if name else 0
        shown = image(recipe)
        if shown is not None:
            above = place.adjusted(line / 2, 0, -line / 2, -line)
            painter.drawImage(above, shown, QRectF(shown.rect()))
        bottom = Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignHCenter
        painter.drawText(place, bottom, elided(name, painter.fontMetrics(), CELL))
    corner = QRectF(GAP, GAP, CELL, CELL)
    wrap = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
    painter.drawText(corner, wrap, "rows: A\ncolumns: B")
    lines = (f"{table.group} of B, everything else of A.", SYNTHETIC)
    for number, text in enumerate(lines):
        top = (len(table.rows) + 1) * step + GAP + number * 1.2 * LINE
        place = QRectF(GAP, top, width - 2 * GAP, LINE)
        painter.drawText(place, Qt.AlignmentFlag.AlignVCenter, text)
    painter.end()
    return picture


def write_matrix(path: Path, table: MixTable, image: Callable[[Recipe], QImage | None]) -> None:
    """Write the matrix as a PNG whose texts hold the recipes of its cells.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    picture = draw_matrix(table, image)
    recipes = [[recipe.to_dict() for recipe in row] for row in table.cells]
    picture.setText(
        "Description",
        f"{SYNTHETIC}. Style-mixing matrix, made with stylegan3d.",
    )
    picture.setText("Recipes", json.dumps(recipes))
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    if not picture.save(buffer, "PNG"):
        raise OutputError("The matrix could not be saved as a picture: choose fewer brains.")
    # The dialog has already confirmed that an existing file may be replaced.
    atomic_write_bytes(path, bytes(buffer.data().data()), overwrite=True, suffixes=(".png",))


SIDE = 88
MOST = 8
ROWS, COLUMNS = 4, 5
SEEDS, FAVOURITES, SCANS = "seeds", "favourites", "scans"
ABOUT = (
    "Each cell takes the chosen structures from the brain at the top of its column, and "
    "everything else from the brain at the left of its row. Click a cell to show it."
)


class Matrix(QDialog):
    """A window next to the panel; a clicked cell becomes the current recipe."""

    def __init__(self, panel: MixPanel, thumbnails: Thumbnails, parent: QWidget) -> None:
        super().__init__(parent)
        self.panel, self.session = panel, panel.session
        self.setObjectName("mix.matrix_window")
        self.setWindowTitle("Mixing matrix")
        self.gallery = Gallery(thumbnails, "mix.matrix", self)
        self.group = self._list("mix.matrix_group", "Structures taken from the columns.")
        self.sources = self._list("mix.matrix_sources", "Source of the rows and columns.")
        self.rows = self._count("mix.matrix_rows", "Number of rows (1 to {most}).", ROWS)
        self.columns = self._count(
            "mix.matrix_columns", "Number of columns (1 to {most}).", COLUMNS
        )
        self.progress = controls.hint(name="mix.matrix_progress")
        self.save = controls.push_button(
            "Save picture…", "mix.matrix_save", "Save the matrix as a PNG, with its caption."
        )
        self.cells: list[list[PictureButton]] = []
        self.heads: list[PictureButton] = []
        self._table: MixTable | None = None
        self._lay_out()
        for box in (self.group, self.sources):
            box.activated.connect(self.refresh)
        for spin in (self.rows, self.columns):
            spin.valueChanged.connect(self.refresh)
        self.save.clicked.connect(self._save)
        thumbnails.ready.connect(lambda *_: self._show_progress())
        self.session.recipeChanged.connect(lambda recipe, _live: self._mark(recipe))
        self.session.modelChanged.connect(lambda _: self.hide())

    def _list(self, name: str, tip: str) -> QComboBox:
        box = controls.combo(name, tip)
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        return box

    def _count(self, name: str, tip: str, value: int) -> QSpinBox:
        spin = controls.whole_number(name, tip.format(most=MOST), (1, MOST), value=value)
        spin.setFixedWidth(controls.scaled(76))
        return spin

    def _lay_out(self) -> None:
        column = controls.stack(on=self, spacing=9, margins=(14, 12, 14, 12))
        by = QLabel("×")
        head = controls.row(self.group, self.sources, self.rows, by, self.columns, stretch=0)
        column.addLayout(head)
        column.addWidget(controls.hint(ABOUT))
        self._grid_box = QWidget()
        column.addWidget(self._grid_box, alignment=Qt.AlignmentFlag.AlignHCenter)
        caption = controls.label(SYNTHETIC, "caution")
        foot = controls.row(caption, self.progress, self.save, stretch=1)
        column.addLayout(foot)

    def open_beside(self, widget: QWidget) -> None:
        """Open left of a widget, over the views."""
        self._list_choices()
        self.refresh()
        controls.fit_window(self)
        dialogs.open_beside(self, widget, -20)

    def hideEvent(self, event: QHideEvent) -> None:
        """Cancel the thumbnails."""
        self.gallery.stop()
        super().hideEvent(event)

    def refresh(self, *_: object) -> None:
        """Mix the chosen brains and ask for their pictures."""
        if self.session.generator is None:
            return
        recipe, mix = self.session.brain, self.session.mix_or_none()
        strength = self.group.currentData() or mix.strength
        others = self._others()
        rows = around(recipe.source, self.rows.value(), others, [mix.source])
        columns = around(mix.source, self.columns.value(), others, rows)
        self._table = MixTable(
            tuple(map(self.panel.name_of, rows)),
            tuple(map(self.panel.name_of, columns)),
            [
                [self.session.with_source(cell.source).replace(mix=cell.mix) for cell in row]
                for row in mixing_matrix(recipe, rows, columns, strength)
            ],
            [self.session.with_source(source).replace(mix=None) for source in rows],
            [self.session.with_source(source).replace(mix=None) for source in columns],
            self.group.currentText(),
        )
        self._build(self._table)
        self._mark(recipe)
        self._show_progress()

    def _others(self) -> list[Source]:
        """The next page of brains."""
        chosen = self.sources.currentData()
        if chosen == FAVOURITES:
            found = [favourite.recipe.source for favourite in self.session.favourites.items]
        elif chosen == SCANS:
            found = [case.source for case in self.session.projected if case.source is not None]
        else:
            found = []
        return list(dict.fromkeys(found))

    @staticmethod
    def _shares(groups: list[LayerGroup]) -> list[tuple[str, tuple[float, ...]]]:
        """What columns can contribute: a name, and the strength of each layer."""
        if [group.key for group in groups] == [WHOLE[0]]:
            return [("Half of each brain", (0.5,))]
        layers = [group.layers for group in groups]
        return [
            (
                f"{group.name} structures ({group.size_in_words})",
                solo(k, layers),
            )
            for k, group in enumerate(groups)
        ]

    def _list_choices(self) -> None:
        """The groups of the model, and the kinds of sources there are any of."""
        groups = self.session.layer_groups()
        kinds = [("Following numbers", SEEDS)]
        kinds += [("Favourites", FAVOURITES)] if self.session.favourites.items else []
        kinds += [("Projected scans", SCANS)] if self.session.projected else []
        middle = len(groups) // 2
        for box, entries, first in (
            (self.sources, kinds, 0),
            (
                self.group,
                [*self._shares(groups), ("As set by the sliders", None)],
                middle,
            ),
        ):
            chosen = max(box.currentIndex(), 0) if box.count() == len(entries) else first
            controls.fill(box, entries, entries[chosen][1])

    def _build(self, table: MixTable) -> None:
        """One button per brain, in a grid made again."""
        old = self._grid_box
        self._grid_box = QWidget()
        grid = QGridLayout(self._grid_box)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(3)
        layout = self.layout()
        assert layout is not None
        layout.replaceWidget(old, self._grid_box)
        layout.setAlignment(self._grid_box, Qt.AlignmentFlag.AlignHCenter)
        old.hide()
        old.deleteLater()
        shown: dict[PictureButton, Recipe] = {}
        across, down = (
            [self._button(f"{kind}.{k}", r, n, caption=True) for k, (r, n) in enumerate(heads)]
            for kind, heads in (("column", table.across), ("row", table.down))
        )
        self.heads, self.cells = across + down, []
        for k, button in enumerate(across):
            grid.addWidget(button, 0, k + 1)
        for i, (button, recipes) in enumerate(zip(down, table.cells, strict=True)):
            grid.addWidget(button, i + 1, 0)
            row = []
            for k, recipe in enumerate(recipes):
                cell = self._button(f"cell.{i}.{k}", recipe, table.name_of(i, k))
                cell.setCheckable(True)
                grid.addWidget(cell, i + 1, k + 1)
                row.append(cell)
            self.cells.append(row)
        for button in self.heads + [cell for row in self.cells for cell in row]:
            assert button.recipe is not None
            shown[button] = button.recipe
        self.gallery.show(shown)
        controls.fit_window(self)

    def _button(
        self, name: str, recipe: Recipe, text: str, *, caption: bool = False
    ) -> PictureButton:
        button = PictureButton(f"mix.matrix_{name}", f"{text}: click to show it.", SIDE)
        button.setAccessibleName(text)
        if caption:
            seed = recipe.source.seed
            button.set_caption(str(seed) if seed is not None else text.rsplit(" ", 1)[-1])
        button.recipe = recipe
        button.clicked.connect(lambda _=False, r=recipe: self._take(r))
        return button

    def _take(self, recipe: Recipe) -> None:
        if recipe.mix is not None:
            self.session.second = recipe.mix.source
        self.session.change(recipe)

    def _mark(self, recipe: Recipe) -> None:
        for row in self.cells:
            for cell in row:
                cell.setChecked(cell.recipe == recipe)

    def _show_progress(self) -> None:
        missing = self.gallery.missing
        total = len(self.heads) + sum(map(len, self.cells))
        self.progress.setText(f"{total - missing} of {total} rendered" if missing else "")
        self.save.setEnabled(bool(total) and not missing)

    def _save(self) -> None:
        path = dialogs.save_file(self, "Save the matrix", dialogs.PICTURES)
        if path is None or self._table is None:
            return
        try:
            write_matrix(path, self._table, self.gallery.thumbnails.image)
        except StyleGAN3DError as error:
            report_error(error, "saving the matrix")
        else:
            self.progress.setText(f"Saved {path.name}")


class MixController(QObject):
    """Brings the Mix panel together with the thumbnails."""

    def __init__(self, context: Context, panel: MixPanel) -> None:
        super().__init__(context.dock)
        self.panel, self.session = panel, context.session
        self.gallery = Gallery(context.thumbnails, "mix", self)
        context.links.callback(self.gallery.stop)
        self.matrix = Matrix(panel, context.thumbnails, context.dock)
        panel.matrix.clicked.connect(lambda: self.matrix.open_beside(panel))
        panel.seen.connect(self._on_seen)
        panel.pictures.first.clicked.connect(lambda: self._show_share(0.0))
        panel.pictures.second.clicked.connect(lambda: self._show_share(1.0))
        self.session.recipeChanged.connect(self._on_recipe)

    def _on_seen(self, seen: bool) -> None:
        if seen:
            self._show()
        else:
            self.gallery.stop()

    def _on_recipe(self, _recipe: Recipe, live: bool) -> None:
        # While a slider moves the picture would be old before it is drawn.
        if not live and self.panel.isVisible():
            self._show()

    def _show(self) -> None:
        if self.session.generator is None or self.session.recipe is None:
            return
        self.gallery.show(self.panel.pictures.recipes(self.session))

    def _show_share(self, share: float) -> None:
        """All layers of A, or all of B."""
        mix = self.session.mix_or_none()
        strength = (share,) * len(mix.strength)
        self.session.edit(lambda recipe: recipe.replace(mix=Mix(mix.source, strength)))
