"""Mix: take structures of some sizes from a second brain.

What the Mix panel opens and needs computed: its three pictures and the matrix.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QBuffer, QIODevice, QObject, QRectF, QSignalBlocker, Qt
from qtpy.QtGui import QColor, QHideEvent, QImage, QPainter
from qtpy.QtWidgets import QComboBox, QDialog, QLabel, QSpinBox, QWidget

from napari_stylegan3d.core.panel import Context, ExplorerPanel, why_not
from napari_stylegan3d.core.session import Session, report_error, telling
from napari_stylegan3d.core.thumbnails import SYNTHETIC, Gallery, PictureButton, Thumbnails
from napari_stylegan3d.widgets import controls, dialogs
from napari_stylegan3d.widgets.controls import SeedPicker, painting
from stylegan3d.base import OutputError
from stylegan3d.model.layers import WHOLE, LayerGroup
from stylegan3d.pages.shortening import elided, shortened
from stylegan3d.recipe.description import describe_source
from stylegan3d.recipe.mixing import PRESETS, around, mixing_matrix, solo, strengths
from stylegan3d.recipe.recipe import Detail, Mix, Recipe, Source
from stylegan3d.session.provenance import subject_of
from stylegan3d.session.state import NOBODY
from stylegan3d.storage.files import atomic_write_bytes

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator


DETAIL_PERCENT = (0.0, 100.0, 1.0, 100.0)


class DetailBox(QWidget):
    """A list of the projected scans, and a slider."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.source = controls.combo("mix.detail")
        self.strength = controls.SliderRow(
            "mix.detail_strength",
            "Detail",
            DETAIL_PERCENT,
            " %",
            "How much of the scan's own detail is shown.\n0 %: the model's brain, 100 %: all.",
            label_width=48,
        )
        self.note = controls.hint(name="mix.detail_note")
        controls.stack(self.source, self.strength, self.note, on=self, spacing=5)
        self.source.activated.connect(self._on_source)
        self.strength.valueChanged.connect(self._on_strength)

    def show_recipe(self, recipe: Recipe) -> None:
        """Show whose detail a recipe has."""
        detail = recipe.detail
        sources = [case.source for case in self.session.projected if case.source is not None]
        current = None if detail is None else detail.source
        current = next((known for known in sources if current and known.is_same(current)), current)
        if current is not None and current not in sources:
            sources.append(current)
        entries = [(self._name(source), source) for source in sources]
        controls.fill(self.source, [("None: the model's brain", None), *entries], current)
        self.strength.set_value(100.0 if detail is None else 100 * detail.strength)
        self.strength.setEnabled(detail is not None)
        self.note.setText(self._words(recipe))

    def _words(self, recipe: Recipe) -> str:
        detail = recipe.detail
        if detail is None:
            if not self.session.projected:
                return "Project a scan to show its own detail here."
            return ""
        name = self._name(detail.source)
        if detail.source.is_same(recipe.source):
            return f"The detail of {name} follows edits and mixes."
        return subject_of(self.session, recipe)

    def _name(self, source: Source) -> str:
        case = self.session.case_of(source)
        return "" if case is None else self.session.projection_name(case)

    def _on_source(self, index: int) -> None:
        source = self.source.itemData(index)

        def worn(recipe: Recipe) -> Recipe:
            strength = 1.0 if recipe.worn_detail is None else recipe.worn_detail.strength
            return recipe.replace(detail=None if source is None else Detail(source, strength))

        self.session.edit(worn)

    def _on_strength(self, percent: float, live: bool) -> None:
        def worn(recipe: Recipe) -> Recipe:
            detail = recipe.detail and Detail(recipe.detail.source, percent / 100)
            return recipe.replace(detail=detail)

        self.session.edit(worn, live=live, gesture="mix.detail_strength")


PERCENT = (0.0, 100.0, 1.0, 0.0)


class GroupRow(QWidget):
    """One slider for a group of layers, which opens to one slider per layer."""

    def __init__(
        self, group: LayerGroup, set_layers: Callable[[tuple[int, ...], str, float, bool], None]
    ) -> None:
        super().__init__()
        key = f"mix.group.{group.key}"
        self.group, whole = group, group.key == WHOLE[0]
        about = group.meaning if whole else f"{group.size_in_words}: {group.meaning}"
        named = (
            about if whole else f"{group.name} structures ({group.size_in_words}): {group.meaning}"
        )
        self.all = controls.SliderRow(
            key,
            group.name,
            PERCENT,
            " %",
            f"{named}.\n0 %: first brain, 100 %: second brain.",
            label_width=48,
        )
        self.details = QWidget()
        self.more = controls.folding(
            self.details,
            f"{key}.more",
            "Show one slider for each layer of the network in this group.",
        )
        self.solo = controls.tool_button(
            f"{key}.solo",
            "Solo",
            f"Take only the {group.name.lower()} structures from the second brain.",
        )
        self.layers = {
            index: controls.SliderRow(
                f"mix.layer.{index}",
                f"Layer {index} · {size:.0f} mm",
                PERCENT,
                " %",
                f"Layer {index} of the network controls structures of about {size:.0f} mm.",
                label_width=112,
            )
            for index, size in zip(group.layers, group.sizes_mm, strict=True)
            if index not in group.silent
        }
        self._lay_out(about)
        controls.reveal(not whole, self.more, self.solo)
        for index, slider in self.layers.items():
            slider.valueChanged.connect(partial(set_layers, (index,), f"mix.layer.{index}"))
        self.all.valueChanged.connect(partial(set_layers, group.layers, key))

    def _lay_out(self, about: str) -> None:
        controls.stack(*self.layers.values(), on=self.details, spacing=4, margins=(26, 0, 0, 4))
        column = controls.stack(
            controls.row(self.more, self.all, self.solo, stretch=1), on=self, spacing=3
        )
        caption = controls.hint(about)
        caption.setContentsMargins(26, 0, 0, 0)
        column.addWidget(caption)
        column.addWidget(self.details)

    def show_strengths(self, strength: tuple[float, ...]) -> None:
        """Show percentages; the group's slider shows the mean of its layers."""
        for index, slider in self.layers.items():
            slider.set_value(100 * strength[index])
        values = [100 * strength[index] for index in self.layers]
        self.all.set_value(round(sum(values) / len(values)))
        others = any(v for index, v in enumerate(strength) if index not in self.group.layers)
        self.solo.setEnabled(others or min(values) < 100)


FILE = "file"
SIDE = 88
#: Letters of a word under a picture, such as the name of a patient: two lines.
WORD_LENGTH = 22


class MixPictures(QWidget):
    """Three pictures with their names: A + B → mix."""

    def __init__(self) -> None:
        super().__init__()
        self.first = PictureButton("mix.picture.first", "Brain A: click to show it unmixed.", SIDE)
        self.second = PictureButton(
            "mix.picture.second", "Brain B: click to show it unmixed.", SIDE
        )
        self.result = PictureButton("mix.picture.result", "The mix of A and B.", SIDE)
        self.names = [controls.hint(name=f"mix.{name}") for name in ("first", "second", "result")]
        grid = controls.grid(self, 4, 3, (1, 3))
        for column, button in enumerate((self.first, self.second, self.result)):
            grid.addWidget(button, 0, 2 * column, Qt.AlignmentFlag.AlignHCenter)
            name = self.names[column]
            name.setAlignment(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
            name.setFixedWidth(controls.scaled(SIDE + 4))
            grid.addWidget(name, 1, 2 * column, Qt.AlignmentFlag.AlignTop)
        for column, sign in ((1, "+"), (3, "→")):
            label = controls.heading(sign)
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            grid.addWidget(label, 0, column)

    def name(self, first: str, second: str) -> None:
        """Describe A and B."""
        for label, text in zip(self.names, (f"A: {first}", f"B: {second}", "Mix"), strict=True):
            label.setText(" ".join(shortened(word, WORD_LENGTH) for word in text.split()))
            label.setToolTip(text)

    def recipes(self, session: Session) -> dict[PictureButton, Recipe]:
        """What each picture shows: A and B unmixed and unedited, and the mix as it is."""
        second = session.with_source(session.mix_or_none().source)
        return {
            self.result: session.brain,
            self.first: session.brain.replace(mix=None, edits=()),
            self.second: second.replace(mix=None, edits=()),
        }


class MixPanel(ExplorerPanel):
    """The second source and its strength per layer."""

    title = "Mix"
    edits = True

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.pictures = MixPictures()
        self.source = controls.combo("mix.source")
        self.seed = SeedPicker("mix")
        self.preset = controls.combo("mix.preset")
        self.layers_note = controls.hint("", "mix.layers_note")
        self.groups: list[GroupRow] = []
        self.detail = DetailBox(session)
        self._group_box = controls.stack(spacing=12)
        self.swap = controls.push_button("mix.swap")
        self.reset = controls.push_button("mix.reset")
        self.matrix = controls.push_button("mix.open_matrix")
        self._lay_out()
        self._connect()
        self.show_recipe(session.brain)

    def _lay_out(self) -> None:
        section = partial(controls.section, self.column)
        section("", self.pictures)
        section("Second brain, B", self.source, self.seed)
        section("Take from B", self.preset, self.layers_note, self._group_box)
        section("Detail of a scan", self.detail)
        buttons = controls.row(self.swap, self.reset, self.matrix)
        buttons.addStretch(1)
        section("", buttons)
        self.column.addStretch(1)

    def _connect(self) -> None:
        session = self.session
        self.seed.seedChanged.connect(lambda seed: self._set_second(Source("seed", seed)))
        self.source.activated.connect(self._on_source)
        self.preset.activated.connect(self._on_preset)
        self.swap.clicked.connect(self._swap)
        self.reset.clicked.connect(self._reset)
        session.projectedChanged.connect(lambda: self.show_recipe(session.brain))

    def show_model(self, generator: Generator) -> None:
        """One group of sliders for each size of structures the model has, or one for all."""
        controls.show_text(self.layers_note, why_not(generator, "layers"))
        for group_row in self.groups:
            self._group_box.removeWidget(group_row)
            controls.discard(group_row)
        self.groups = [GroupRow(g, self._set_layers) for g in self.session.layer_groups()]
        layers = [row.group.layers for row in self.groups]
        for index, group_row in enumerate(self.groups):
            self._group_box.addWidget(group_row)
            controls.name_for_readers(group_row)
            group_row.solo.clicked.connect(lambda _=False, k=index: self.take(solo(k, layers)))
        controls.join_tab_order(self.preset, *self.groups)
        self._list_presets()

    def show_recipe(self, recipe: Recipe) -> None:
        """Show both sources and the strengths."""
        mix = self.session.mix_or_none()
        self.pictures.name(self.name_of(recipe.source), self.name_of(mix.source))
        self._list_sources(mix.source)
        self.seed.setVisible(mix.source.kind == "seed")
        if mix.source.seed is not None:
            self.seed.set_seed(mix.source.seed)
        for group_row in self.groups:
            if max(group_row.layers) < len(mix.strength):
                group_row.show_strengths(mix.strength)
        self._show_preset(mix.strength)
        self.detail.show_recipe(recipe)
        self.reset.setEnabled(any(mix.strength))

    def name_of(self, source: Source) -> str:
        """What a source is called."""
        projected = self.session.find_projected(source)
        if projected:
            return f"Projected {self.session.projection_name(projected)}"
        return describe_source(source)

    def _list_sources(self, current: Source) -> None:
        sources = [p.source for p in self.session.projected if p.source is not None]
        if current.kind != "seed" and current not in sources:
            sources.append(current)
        entries = [
            ("A random brain", "seed"),
            *((self.name_of(source), source) for source in sources),
            ("From a latent file…", FILE),
        ]
        controls.fill(self.source, entries, "seed" if current.kind == "seed" else current)

    def _list_presets(self) -> None:
        """The usual mixes, where the model has layers of three sizes."""
        layers = [row.group.layers for row in self.groups]
        presets = [
            (preset.name, strengths(preset.shares, layers), preset.meaning)
            for preset in (PRESETS if len(layers) == 3 else ())
        ]
        controls.fill(self.preset, [("Presets", None), *presets])
        self.preset.setVisible(self.preset.count() > 1)

    def _show_preset(self, strength: tuple[float, ...]) -> None:
        controls.show_value(self.preset, strength)
        with QSignalBlocker(self.preset):
            self.preset.setItemText(0, "Custom" if any(strength) else "Presets")

    def _on_preset(self, index: int) -> None:
        strength = self.preset.itemData(index)
        if strength is None:
            self._show_preset(self.session.mix_or_none().strength)
        else:
            self.take(tuple(strength))

    def _on_source(self, index: int) -> None:
        choice = self.source.itemData(index)
        if choice == FILE:
            choice = self._ask_for_latent()
        if choice == "seed":
            choice = Source("seed", self.seed.spin.value())
        if isinstance(choice, Source):
            self._set_second(choice)
        else:
            self.show_recipe(self.session.brain)

    def _ask_for_latent(self) -> Source | None:
        path = dialogs.open_file(self, "Second brain from a latent file", dialogs.LATENTS)
        source = None
        with telling(report_error, "opening a latent file"):
            source = None if path is None else Source.from_file(path)
        return source

    def _set_second(self, source: Source) -> None:
        self.session.second = source
        changed = Mix(source, self.session.mix_or_none().strength)
        self.session.edit(lambda recipe: recipe.replace(mix=changed), gesture="mix.seed")

    def take(self, strength: tuple[float, ...]) -> None:
        """Take so much of each layer from B."""
        mix = Mix(self.session.mix_or_none().source, strength)
        self.session.edit(lambda recipe: recipe.replace(mix=mix))

    def _set_layers(
        self, layers: tuple[int, ...], gesture: str, percent: float, live: bool
    ) -> None:
        mix = self.session.mix_or_none()
        strength = tuple(
            percent / 100 if index in layers else value for index, value in enumerate(mix.strength)
        )
        recipe = self.session.brain.replace(mix=Mix(mix.source, strength))
        self.session.change(recipe, live=live, gesture=gesture)

    def _swap(self) -> None:
        recipe, mix = self.session.brain, self.session.mix_or_none()
        self.session.second = recipe.source
        swapped = self.session.with_source(mix.source)
        self.session.change(swapped.replace(mix=Mix(recipe.source, mix.strength)))

    def _reset(self) -> None:
        self.session.second = self.session.mix_or_none().source
        self.session.edit(lambda recipe: recipe.replace(mix=None))


#: Pixels of a thumbnail, between two, and of a line of writing.
CELL, GAP, LINE = 192, 6, 34
TEXT = QColor("#e8eaed")


@dataclass(frozen=True)
class MixTable:
    """What the matrix holds: brains of the rows and columns with their names, and the cells."""

    down: list[tuple[Recipe, str]]
    across: list[tuple[Recipe, str]]
    cells: list[list[Recipe]]
    group: str

    def name_of(self, row: int, column: int) -> str:
        """What a cell is."""
        return f"{self.down[row][1]} with structures of {self.across[column][1]}"


def draw_matrix(table: MixTable, image: Callable[[Recipe], QImage | None]) -> QImage:
    """The brains of rows at the left, of columns above, the mixes between; captions below."""
    step = CELL + GAP
    width = (len(table.across) + 1) * step + GAP
    height = (len(table.down) + 1) * step + GAP + 3 * LINE
    picture = QImage(width, height, QImage.Format.Format_RGB32)
    picture.fill(Qt.GlobalColor.black)
    with painting(picture, smooth=False) as painter:
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        controls.set_letters(painter, 15)
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
            top = (len(table.down) + 1) * step + GAP + number * 1.2 * LINE
            place = QRectF(GAP, top, width - 2 * GAP, LINE)
            painter.drawText(place, Qt.AlignmentFlag.AlignVCenter, text)
    return picture


def write_matrix(path: Path, table: MixTable, image: Callable[[Recipe], QImage | None]) -> None:
    """Write the matrix as a PNG whose texts hold the recipes of its cells.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    picture = draw_matrix(table, image)
    recipes = [[recipe.relative_to(path.parent).to_dict() for recipe in row] for row in table.cells]
    picture.setText("Description", f"{SYNTHETIC}. Style-mixing matrix, made with stylegan3d.")
    picture.setText("Recipes", json.dumps(recipes))
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    if not picture.save(buffer, "PNG"):
        raise OutputError("The matrix could not be saved as a picture: choose fewer brains.")
    # The dialog has already confirmed that an existing file may be replaced.
    atomic_write_bytes(path, bytes(buffer.data().data()), overwrite=True, suffixes=(".png",))


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
        self.save = controls.push_button("mix.matrix_save")
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
        self.session.projectedChanged.connect(lambda: self.refresh() if self.isVisible() else None)

    def _list(self, name: str, tip: str) -> QComboBox:
        box = controls.combo(name, tip)
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        return box

    def _count(self, name: str, tip: str, value: int) -> QSpinBox:
        spin = controls.whole_number(name, tip.format(most=MOST), (1, MOST), value=value)
        spin.setFixedWidth(controls.scaled(76))
        return spin

    def _lay_out(self) -> None:
        column = controls.dialog(on=self)
        by = QLabel("×")
        head = controls.row(self.group, self.sources, self.rows, by, self.columns, stretch=0)
        column.addLayout(head)
        column.addWidget(controls.hint(ABOUT))
        self._grid_box = QWidget()
        column.addWidget(self._grid_box, alignment=Qt.AlignmentFlag.AlignHCenter)
        caption = controls.label(SYNTHETIC, "caution")
        column.addLayout(controls.row(caption, self.progress, self.save, stretch=1))

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
        down, across = (
            [(self._bare(s).replace(mix=None), self.panel.name_of(s)) for s in heads]
            for heads in (rows, columns)
        )
        self._table = MixTable(
            down,
            across,
            [
                [self._bare(cell.source).replace(mix=cell.mix) for cell in row]
                for row in mixing_matrix(recipe, rows, columns, strength)
            ],
            self.group.currentText(),
        )
        self._build(self._table)
        self._mark(recipe)
        self._show_progress()

    def _bare(self, source: Source) -> Recipe:
        """The model's own picture of a brain, without detail and other patients' edits."""
        session = self.session
        bare = session.with_source(source).replace(detail=None)
        same = session.key_of(bare) in (session.key, NOBODY)
        return bare if same else bare.replace(edits=())

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
            (f"{group.name} structures ({group.size_in_words})", solo(k, layers))
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
            (self.group, [*self._shares(groups), ("As set by the sliders", None)], middle),
        ):
            chosen = max(box.currentIndex(), 0) if box.count() == len(entries) else first
            controls.fill(box, entries, entries[chosen][1])

    def _build(self, table: MixTable) -> None:
        """One button per brain, in a grid made again."""
        old = self._grid_box
        self._grid_box = QWidget()
        grid = controls.grid(self._grid_box, 3, 3, ())
        layout = self.layout()
        assert layout is not None
        layout.replaceWidget(old, self._grid_box)
        layout.setAlignment(self._grid_box, Qt.AlignmentFlag.AlignHCenter)
        old.hide()
        old.deleteLater()
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
        buttons = self.heads + [cell for row in self.cells for cell in row]
        self.gallery.show({one: one.recipe for one in buttons if one.recipe is not None})
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
        self.session.change(recipe.replace(detail=self.session.with_source(recipe.source).detail))

    def _mark(self, recipe: Recipe | None) -> None:
        bare = recipe and recipe.replace(detail=None)
        for row in self.cells:
            for cell in row:
                cell.setChecked(cell.recipe == bare)

    def _show_progress(self) -> None:
        missing = self.gallery.missing
        total = len(self.heads) + sum(map(len, self.cells))
        self.progress.setText(f"{total - missing} of {total} rendered" if missing else "")
        self.save.setEnabled(bool(total) and not missing)

    def _save(self) -> None:
        path = dialogs.save_file(self, "Save the matrix", dialogs.PICTURES)
        if path is None or self._table is None:
            return
        with telling(report_error, "saving the matrix"):
            write_matrix(path, self._table, self.gallery.thumbnails.image)
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
        self.panel.take((share,) * len(self.session.mix_or_none().strength))
