"""Directions: edit a brain along attributes and along principal components."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QPoint, Qt, Signal
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QAbstractButton, QInputDialog, QLabel, QLineEdit, QMenu, QWidget

from napari_stylegan3d.core.panel import ExplorerPanel
from napari_stylegan3d.core.tissues import TOLD
from napari_stylegan3d.directions.list import LIMITS_SD, DirectionList, DirectionRow, Range
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.theme import SliderRange
from stylegan3d.base import in_words
from stylegan3d.directions.catalogue import CatalogueEntry, DirectionNotes, own_entries
from stylegan3d.directions.people import Trajectory
from stylegan3d.model.layers import WHOLE
from stylegan3d.recipe.recipe import Edit, Recipe
from stylegan3d.scans.person import OLDEST

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from stylegan3d.directions.edit_effects import EditEffect, WayBack
    from stylegan3d.model.generator import Generator

#: (lowest, highest, step, default) of the slider, in years.
YEARS = (-40.0, 40.0, 1.0, 0.0)
#: An age that nobody gave.
UNKNOWN = "unknown"


class AgeingBox(QWidget):
    """How old the brain is, how much older it is to be, and what people of that age have."""

    #: (strength along the direction of age, live)
    changed = Signal(float, bool)
    #: The age now, as typed; None for no longer.
    aged = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("directions.ageing")
        self.trajectory: Trajectory | None = None
        self.years = controls.SliderRow(
            "directions.years",
            "Ageing",
            YEARS,
            " y",
            "Age the brain by this many years, -40 to 40; orange: ages outside the training data.",
        )
        self.unknown = SliderRange(self.years)
        self.age = controls.number(
            "directions.age",
            "Age now, in years: as typed here or in Measure, or as in the scan's files. With it, "
            "expected volumes\nare shown, and orange marks ages outside the training data.",
            (0, OLDEST),
            " years",
        )
        self.age.setDecimals(1)
        self.age.setSpecialValueText(UNKNOWN)
        self.forget = controls.tool_button(
            "directions.age_forget", controls.RESET_GLYPH, "Clear the age, also in Measure."
        )
        self.told = controls.hint(name="directions.age_text")
        self._lay_out()
        self.years.valueChanged.connect(self._on_years)
        self.age.valueChanged.connect(lambda age: self.aged.emit(age or None))
        self.forget.clicked.connect(lambda: self.aged.emit(None))
        self.hide()

    def _lay_out(self) -> None:
        column = controls.stack(on=self, spacing=3, margins=(14, 0, 14, 0))
        label = QLabel("Age now")
        label.setBuddy(self.age)
        column.addLayout(controls.row(label, self.age, self.forget, QWidget(), stretch=3))
        column.addWidget(self.years)
        column.addWidget(self.told)

    def set_trajectory(self, trajectory: Trajectory | None) -> None:
        """Of a model; None hides the box."""
        self.trajectory = trajectory
        self.setVisible(trajectory is not None)

    def show_edit(self, strength: float, age: float | None) -> None:
        """Show the age of a brain, if known, and by how many years an edit ages it.

        Then what is expected; what is not known is coloured.
        """
        if (trajectory := self.trajectory) is None:
            return
        now = age or 0.0
        if abs(self.age.value() - now) >= 0.1:  # what is being typed stays as it is
            controls.show_value(self.age, now)
        self.years.set_value(trajectory.years(strength))
        now, years = self.age.value(), self.years.value()
        low, high = (trajectory.youngest - now, trajectory.oldest - now) if now else YEARS[:2]
        self.unknown.show_known(low, high)
        self.forget.setEnabled(bool(now))
        notes = trajectory.notes(now, now + years) if now and years else []
        controls.show_text(self.told, "\n".join(map(in_words, notes)))

    def _on_years(self, years: float, live: bool) -> None:
        if self.trajectory is not None:
            self.changed.emit(self.trajectory.edit(years).strength, live)


#: Half-open range of layers; None for all.
Span = tuple[int, int] | None
EVERYWHERE = "All sizes of structures"


class EditLayers:
    """The layers of each direction.

    Parameters
    ----------
    session : Session
        Provides the model's groups of layers.
    common : callable
        What holds for directions that have no range of their own.
    """

    def __init__(self, session: Session, common: Callable[[], Span]) -> None:
        self.session, self._common = session, common
        #: The user's choice for one direction, by its reference.
        self.own: dict[str, Span] = {}

    def spans(self) -> list[tuple[str, Span]]:
        """What an edit can be limited to: (in words, layers)."""
        groups = self.session.layer_groups()
        if [g.key for g in groups] == [WHOLE[0]]:
            groups = []
        return [(EVERYWHERE, None)] + [
            (f"{g.name} structures ({g.size_in_words})", (g.layers[0], g.layers[-1] + 1))
            for g in groups
        ]

    def of(self, reference: str) -> Span:
        """The layers that an edit along a direction changes."""
        return self.own.get(reference, self._common())

    def in_words(self, reference: str) -> str:
        """Such as "coarse"; empty for a direction that follows the list."""
        if reference not in self.own:
            return ""
        span = self.own[reference]
        for group in self.session.layer_groups():
            if span == (group.layers[0], group.layers[-1] + 1):
                return group.name
        return "all sizes" if span is None else f"layers {span[0]}-{span[1] - 1}"


def ask_label(parent: QWidget, name: str, label: str) -> str | None:
    """The user's own name for a direction; None if cancelled."""
    text, given = QInputDialog.getText(
        parent,
        "Rename the direction",
        f"Your name for {name} (empty for the original; recipes keep {name}):",
        text=label,
    )
    return text if given else None


class DirectionMenus(QObject):
    """Menus that are made when they are opened."""

    #: Entry that should be made orthogonal to the others in use.
    freed = Signal(object)
    #: Entries to save to a file.
    saved = Signal(object)
    #: A directions file should be opened.
    opened = Signal()
    #: Groups of people should be compared.
    compared = Signal()
    #: File that should leave the list.
    dropped = Signal(str)

    #: DirectionNotes: the user pinned or renamed a direction.
    noted = Signal(object)
    #: (reference, layers, whether they are its own): other layers were chosen for a direction.
    limited = Signal(str, object, bool)

    def __init__(
        self, parent: QWidget, more: QAbstractButton, session: Session, limits: EditLayers
    ) -> None:
        super().__init__(parent)
        self._parent = parent
        self.session, self.limits = session, limits
        self.notes = DirectionNotes()
        #: The directions that are listed, by their references.
        self.entries: dict[str, CatalogueEntry] = {}
        more.clicked.connect(lambda: self._pop_up(self.common(), more))

    def open(self, row: DirectionRow) -> None:
        """Open the menu of one direction under its button."""
        self._pop_up(self.of_row(row), row.menu)

    def of_row(self, row: DirectionRow) -> QMenu:
        """What can be done with one direction."""
        entry = row.entry
        menu = QMenu(self._parent)
        menu.setToolTipsVisible(True)
        menu.addAction("Rename…", partial(self._rename, entry))
        pinned = entry.reference in self.notes.pinned
        text = "Unpin" if pinned else "Pin to the top"
        menu.addAction(text, lambda: self.noted.emit(self.notes.pin(entry.reference, not pinned)))
        if len(self.limits.spans()) > 1:
            self._add_layers(menu, entry)
        menu.addSeparator()
        free = menu.addAction("Orthogonal to the others in use", partial(self.freed.emit, entry))
        free.setEnabled(bool(self.others_in_use(entry)))
        free.setToolTip(
            "Make a new direction that is orthogonal to the others in use (Gram-Schmidt in w)."
        )
        menu.addAction("Save to a file…", partial(self.saved.emit, [entry]))
        if entry.file is not None:
            menu.addAction("Remove its file from the list", partial(self.dropped.emit, entry.file))
        return menu

    def common(self) -> QMenu:
        """What can be done with all of them."""
        menu = QMenu(self._parent)
        menu.addAction("Open a directions file…", self.opened.emit)
        used = self.in_use()
        menu.addAction("Save directions in use…", partial(self.saved.emit, used)).setEnabled(
            bool(used)
        )
        menu.addSeparator()
        menu.addAction("Compare groups of subjects…", self.compared.emit)
        return menu

    def in_use(self) -> list[CatalogueEntry]:
        """Directions that are not at 0."""
        recipe = self.session.recipe
        edits = recipe.edits if recipe else ()
        return [self.entries[one.direction] for one in edits if one.direction in self.entries]

    def others_in_use(self, entry: CatalogueEntry) -> list[CatalogueEntry]:
        """Directions that are not at 0, but for one."""
        return [other for other in self.in_use() if other.reference != entry.reference]

    def _add_layers(self, menu: QMenu, entry: CatalogueEntry) -> None:
        limits, reference = self.limits, entry.reference
        layers = menu.addMenu("Applies to")
        own = reference in limits.own
        actions = [
            ("Same as the others", partial(self.limited.emit, reference, None, False), not own)
        ]
        actions += [
            (
                text,
                partial(self.limited.emit, reference, span, True),
                own and limits.of(reference) == span,
            )
            for text, span in limits.spans()
        ]
        for text, act, chosen in actions:
            action = QAction(text, layers)
            action.setCheckable(True)
            action.setChecked(chosen)
            action.triggered.connect(lambda _=False, do=act: do())
            layers.addAction(action)

    def _pop_up(self, menu: QMenu, button: QWidget) -> None:
        menu.aboutToHide.connect(menu.deleteLater)
        menu.popup(button.mapToGlobal(QPoint(0, button.height())))

    def _rename(self, entry: CatalogueEntry) -> None:
        notes = self.notes
        label = ask_label(self._parent, entry.name, notes.labels.get(entry.reference, ""))
        if label is not None:
            self.noted.emit(notes.labelled(entry.reference, label))


class MissingFiles(QWidget):
    """One row per missing file, with buttons to find and to forget it; hidden if none is missing.

    Rows are `directions.missing.N`, their buttons `directions.find.N` and `directions.forget.N`.
    """

    #: The file's path, as it was noted.
    findRequested = Signal(str)
    forgetRequested = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[QWidget] = []
        self._column = controls.stack(on=self, margins=(14, 0, 14, 0))
        self.hide()

    def show_files(self, problems: Mapping[str, str]) -> None:
        """Show files by their paths, with what is wrong with each in a sentence."""
        controls.discard(*self._rows)
        self._rows = [self._make(*item) for item in enumerate(problems.items())]
        for row in self._rows:
            self._column.addWidget(row)
        self.setVisible(bool(self._rows))

    def _make(self, index: int, file: tuple[str, str]) -> QWidget:
        path, problem = file
        words = f"{Path(path).name} is not available."
        told = controls.hint(words, f"directions.missing.{index}", problem, "caution")
        find = controls.push_button(
            f"directions.find.{index}", "Locate…", "Locate the file; its settings are kept."
        )
        forget = controls.push_button(
            f"directions.forget.{index}",
            "Remove",
            "Remove the file from the list; edits along its directions stay in the recipe.",
        )
        find.clicked.connect(partial(self.findRequested.emit, path))
        forget.clicked.connect(partial(self.forgetRequested.emit, path))
        row = QWidget()
        row.setLayout(controls.row(told, find, forget, stretch=0))
        return row


COLUMNS = ("", "before", "after", "change")
HEADS = ("ml", "before", "after", "change")
#: Sentences that are always shown: how much differs, and where.
FIRST = 2
TIP = (
    "Measured in both volumes, with and without the edits, at full resolution;\n"
    "volumes in ml at display precision."
)


class EffectBox(QWidget):
    """A small table with two or three sentences under it; shown while there are edits.

    What only an expert asks for waits behind "More": the list of directions needs the room.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("directions.effect")
        self.setToolTip(TIP)
        self.what = controls.combo("directions.effect_of")
        self.show_in_views = controls.check("directions.show_change")
        self.details = QWidget()
        self.fold = controls.folding(
            self.details, "directions.effect_fold", "Collapse or expand the table.", True
        )
        self.cells = [[QLabel() for _ in COLUMNS] for _ in TOLD]
        self.told = controls.hint(name="directions.effect_text")
        self._lines: tuple[str, ...] = ()
        self.more = controls.push_button("directions.effect_more", role="link", checkable=True)
        self._lay_out()
        self.more.toggled.connect(self._write)
        self.hide()

    def _lay_out(self) -> None:
        column = controls.stack(controls.line(), on=self, spacing=5, margins=(14, 6, 14, 10))
        title = controls.heading("What changed")
        column.addLayout(controls.row(self.fold, title, self.what, self.show_in_views, stretch=2))
        inner = controls.stack(on=self.details, spacing=5)
        column.addWidget(self.details)
        grid = controls.grid(down=1)
        for k, text in enumerate(HEADS):
            title = controls.hint(text)
            if k:
                title.setAlignment(Qt.AlignmentFlag.AlignRight)
            grid.addWidget(title, 0, k)
        for i, cells in enumerate(self.cells, 1):
            for k, cell in enumerate(cells):
                if k:
                    cell.setAlignment(Qt.AlignmentFlag.AlignRight)
                    cell.setObjectName(f"directions.effect.{COLUMNS[k]}.{i - 1}")
                grid.addWidget(cell, i, k)
        inner.addLayout(grid)
        inner.addWidget(self.told)
        inner.addWidget(self.more, alignment=Qt.AlignmentFlag.AlignLeft)
        self.more.hide()

    @property
    def direction(self) -> str | None:
        """Reference of the edit to measure; None for all together."""
        return self.what.currentData()

    def list_edits(self, edits: Sequence[tuple[str, str]]) -> None:
        """Offer these (reference, label), and all together; the choice stays where it can."""
        entries = [("All edits", None), *((label, reference) for reference, label in edits)]
        if len(edits) == 1:
            entries = entries[1:]
        known = [self.what.itemData(k) for k in range(self.what.count())]
        if [data for _text, data in entries] != known:
            controls.fill(self.what, entries, self.direction)
        self.setVisible(bool(edits))

    def show_waiting(self, *, at_work: bool = False) -> None:
        """Nothing is known of this brain yet; whether it is being measured."""
        if self._lines:
            self._clear()
            self._lines = ()
            self._write()
        self.told.setText("Measuring…" if at_work else "Measuring once the slider stops…")

    def _clear(self) -> None:
        for name, *values in self.cells:
            name.setText("")
            for cell in values:
                cell.setText("…")

    def show_effect(self, effect: EditEffect, back: WayBack) -> None:
        """Write what was found."""
        from stylegan3d.directions.edit_effects import effect_lines, rows_of

        for cells, (name, before, after) in zip(self.cells, rows_of(effect), strict=True):
            texts = (name, _ml(before), _ml(after), _change(before, after))
            for cell, text in zip(cells, texts, strict=True):
                cell.setText(text)
        self._lines = tuple(effect_lines(effect, back))
        self._write()

    def _write(self) -> None:
        """The sentences, or the first of them."""
        shown = self._lines if self.more.isChecked() else self._lines[:FIRST]
        self.told.setText("\n".join(shown))
        self.more.setVisible(len(self._lines) > FIRST)
        self.more.setText("Less" if self.more.isChecked() else "More")

    def show_failure(self, sentence: str) -> None:
        """Say why nothing could be measured."""
        self._clear()
        self._lines = (sentence,)
        self._write()


def _ml(value: float) -> str:
    """Three figures, or a dash for what is no brain."""
    if value != value:
        return "–"
    return f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def _change(before: float, after: float) -> str:
    if before != before or after != after:
        return "–"
    change = after - before
    share = ""
    if before > 0:
        percent = 100 * change / before
        share = f" ({percent:+.0f} %)" if abs(percent) >= 10 else f" ({percent:+.1f} %)"
    return (f"{change:+.1f}" if abs(change) < 100 else f"{change:+.0f}") + share


class DirectionsPanel(ExplorerPanel):
    """One slider per direction, in standard deviations; many may be used at once."""

    title = "Directions"
    edits = True
    #: DirectionNotes: the user pinned or renamed a direction.
    noted = Signal(object)
    entriesChanged = Signal()
    #: (DirectionRow, whether the mouse is on its button for previews)
    looked = Signal(object, bool)
    #: DirectionRow whose button for previews was pressed.
    previewed = Signal(object)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.notes = DirectionNotes()
        self.entries: dict[str, CatalogueEntry] = {}
        self._own: list[CatalogueEntry] = []
        self._of_files: list[CatalogueEntry] = []
        self._seen: Mapping[str, Range] = {}
        self.find_field = controls.named(
            QLineEdit(), "directions.filter", "Search names and descriptions of directions."
        )
        self.layers = controls.combo("directions.layers")
        self.limits, self._whose = EditLayers(session, self.layers.currentData), session.key
        self.used = controls.push_button("directions.used", checkable=True)
        self.new = controls.push_button("directions.new")
        self.reset = controls.push_button("directions.reset")
        self.more = controls.tool_button("directions.more")
        self.waiting = controls.hint(
            "Computing the directions of this model…", "directions.waiting"
        )
        self.missing = MissingFiles()
        self.ageing = AgeingBox()
        self.list = DirectionList()
        self.effect = EffectBox()
        self.menus = DirectionMenus(self, self.more, session, self.limits)
        self._lay_out()
        self._connect()

    @property
    def rows(self) -> dict[str, DirectionRow]:
        """The rows by the reference of their direction."""
        return self.list.rows

    def _lay_out(self) -> None:
        self.find_field.setPlaceholderText("Search directions")
        self.find_field.setClearButtonEnabled(True)
        self.column.setContentsMargins(0, 12, 0, 0)
        self.column.setSpacing(7)
        top = controls.row(self.find_field, self.used, self.new, self.more, stretch=0)
        self.change = QLabel("Applies to")
        change = controls.row(self.change, self.layers, self.reset, stretch=1)
        self.waiting.setContentsMargins(14, 4, 14, 0)
        for layout in (top, change):
            layout.setContentsMargins(14, 0, 14, 0)
            self.column.addLayout(layout)
        self.column.addWidget(self.waiting)
        self.column.addWidget(self.missing)
        self.column.addWidget(self.ageing)
        self.column.addWidget(self.list, stretch=1)
        self.column.addWidget(self.effect)

    def _connect(self) -> None:
        session = self.session
        self.layers.activated.connect(self._on_layers)
        self.find_field.textChanged.connect(self._filter)
        self.used.toggled.connect(self._filter)
        self.list.changed.connect(self._set)
        self.ageing.changed.connect(self._age)
        self.ageing.aged.connect(self._on_aged)
        session.personChanged.connect(self._show_person)
        self.menus.noted.connect(self.noted)
        self.menus.limited.connect(self.set_layers)
        self.reset.clicked.connect(
            lambda: session.edit(lambda recipe: recipe.replace(edits=self._others(recipe)))
        )

    def show_model(self, generator: Generator) -> None:
        """Remove the old model's directions; those of the new one are not known yet."""
        self.list.clear()
        self.ageing.set_trajectory(None)
        self._of_files = []
        self.limits.own.clear()
        self.entries = self.menus.entries = {}
        self.entriesChanged.emit()
        self.find_field.clear()
        self.used.setChecked(False)
        self.waiting.show()

    def show_directions(self, generator: Generator) -> None:
        """One row for each direction of the model, once they are computed."""
        self.waiting.hide()
        controls.fill(self.layers, self.limits.spans())
        controls.reveal(generator.can("layers"), self.change, self.layers)
        self._own = own_entries(generator.directions)
        self.ageing.set_trajectory(Trajectory.of(generator.directions))
        self._show_entries()

    def show_files(self, entries: Sequence[CatalogueEntry], notes: DirectionNotes) -> None:
        """Show directions of files beside the model's own, with the user's notes."""
        self._of_files = list(entries)
        self.notes = self.menus.notes = notes
        if self.entries:
            self._show_entries()

    def show_notes(self, notes: DirectionNotes) -> None:
        """Show other labels and pins."""
        self.notes = self.menus.notes = notes
        self.list.arrange(notes)
        self._filter()
        self.show_recipe(self.session.brain)

    def show_recipe(self, recipe: Recipe) -> None:
        """Show the strength of every direction; those not in the recipe are at 0."""
        if self._whose != self.session.key:  # another subject's sliders move all layers
            self._whose = self.session.key
            self.limits.own.clear()
        used = {edit.direction: edit for edit in recipe.edits if edit.direction in self.entries}
        for reference, edit in used.items():
            if edit.layers != self.limits.of(reference):
                self.limits.own[reference] = edit.layers
        self.list.show_strengths({r: edit.strength for r, edit in used.items()})
        self._show_seen()
        for reference, row in self.rows.items():
            label = self.notes.label_of(row.entry)
            row.show_name(label, self.limits.in_words(reference), active=reference in used)
        self._show_ageing(recipe)
        self.effect.list_edits([(r, self.notes.label_of(self.entries[r])) for r in used])
        self.list.make_room(scrolls=bool(used))
        self.reset.setEnabled(bool(used))
        if self.used.isChecked():
            self._filter()

    def show_seen(self, seen: Mapping[str, Range]) -> None:
        """Show how far the training subjects are from this brain, in sd of all layers."""
        self._seen = seen
        self._show_seen()

    def _show_seen(self) -> None:
        ranges = {}
        for reference, (low, high) in self._seen.items():
            share = self._share(self.limits.of(reference))
            ranges[reference] = (low / share, high / share)
        self.list.show_seen(ranges)

    def _share(self, span: Span) -> float:
        """How far an edit of some layers moves a brain, where that of all would move it by 1."""
        layers = 1 if self.session.generator is None else self.session.generator.num_layers
        return 1.0 if span is None else (span[1] - span[0]) / layers

    def _show_ageing(self, recipe: Recipe) -> None:
        if (trajectory := self.ageing.trajectory) is not None:
            edits = [edit for edit in recipe.edits if edit.direction == trajectory.name]
            strength = sum(edit.strength * self._share(edit.layers) for edit in edits)
            self.ageing.show_edit(strength, self.session.person_of(recipe)[0].age)

    def set_layers(self, reference: str, span: Span, own: bool = True) -> None:
        """Limit one direction to some layers, or let it follow the list above."""
        self.limits.own.pop(reference, None)
        if own:
            self.limits.own[reference] = span
        recipe = self.session.brain
        edits = tuple(
            dataclasses.replace(edit, layers=self.limits.of(reference))
            if edit.direction == reference
            else edit
            for edit in recipe.edits
        )
        if edits != recipe.edits:
            self.session.edit(lambda recipe: recipe.replace(edits=edits))
        else:
            self.show_recipe(recipe)

    def set_strength(self, reference: str, strength: float) -> None:
        """Push the brain along one direction, in one gesture."""
        self._set(reference, strength, live=False)

    def with_strength(self, recipe: Recipe, reference: str, strength: float) -> Recipe:
        """The recipe with another strength along one direction."""
        edits = [edit for edit in recipe.edits if edit.direction != reference]
        if abs(strength) >= LIMITS_SD[2] / 2:
            edits.append(self.entries[reference].edit(strength, self.limits.of(reference)))
        order = list(self.entries)
        kept = sorted(
            (edit for edit in edits if edit.direction in self.entries),
            key=lambda edit: order.index(edit.direction),
        )
        return recipe.replace(edits=self._others(recipe) + tuple(kept))

    def _show_entries(self) -> None:
        entries = [*self._own, *self._of_files]
        self.entries = self.menus.entries = {entry.reference: entry for entry in entries}
        for row in self.list.show_entries(entries):
            row.preview.looked.connect(lambda on, r=row: self.looked.emit(r, on))
            row.preview.clicked.connect(lambda _=False, r=row: self.previewed.emit(r))
            row.menu.clicked.connect(lambda _=False, r=row: self.menus.open(r))
            row.pin.clicked.connect(
                lambda on, r=row.entry.reference: self.noted.emit(self.notes.pin(r, on))
            )
        controls.name_for_readers(self.list)
        self.list.arrange(self.notes)
        self._filter()
        self.show_recipe(self.session.brain)
        self.entriesChanged.emit()

    def _filter(self, *_: object) -> None:
        used = frozenset(edit.direction for edit in self.session.brain.edits)
        only = used if self.used.isChecked() else None
        self.list.filter(self.find_field.text(), dict(self.notes.labels), only)

    def _others(self, recipe: Recipe) -> tuple[Edit, ...]:
        """Edits along directions that are not listed here, such as those of a file elsewhere."""
        return tuple(edit for edit in recipe.edits if edit.direction not in self.entries)

    def _set(self, reference: str, strength: float, live: bool) -> None:
        self.session.edit(
            lambda recipe: self.with_strength(recipe, reference, strength),
            live=live,
            gesture=f"directions.{reference}",
        )

    def _age(self, strength: float, live: bool) -> None:
        if self.ageing.trajectory is not None:
            name = self.ageing.trajectory.name
            asked = strength / self._share(self.limits.of(name))
            self._set(name, min(max(asked, LIMITS_SD[0]), LIMITS_SD[1]), live)

    def _show_person(self) -> None:
        """An age was typed, here or elsewhere."""
        self._show_ageing(self.session.brain)

    def _on_aged(self, age: float | None) -> None:
        if self.session.recipe is not None:
            person, key = self.session.person_of(self.session.recipe)
            self.session.know(key, dataclasses.replace(person, age=age))
        self._show_person()

    def _on_layers(self, _: int) -> None:
        span = self.layers.currentData()

        def limited(edit: Edit) -> Edit:
            follows = edit.direction in self.entries and edit.direction not in self.limits.own
            return dataclasses.replace(edit, layers=span) if follows else edit

        self.session.edit(lambda recipe: recipe.replace(edits=tuple(map(limited, recipe.edits))))
