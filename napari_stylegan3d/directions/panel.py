"""Directions: edit a brain along attributes and along principal components."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QLabel, QLineEdit

from napari_stylegan3d.core.panel import Panel
from napari_stylegan3d.directions.ageing import AgeingBox
from napari_stylegan3d.directions.effect import EffectBox
from napari_stylegan3d.directions.layers import EditLayers, Span
from napari_stylegan3d.directions.list import DirectionList
from napari_stylegan3d.directions.menu import DirectionMenus
from napari_stylegan3d.directions.missing import MissingFiles
from napari_stylegan3d.directions.row import LIMITS_SD, DirectionRow, Range
from napari_stylegan3d.widgets import controls
from stylegan3d.directions.catalogue import DirectionNotes, Entry, own_entries
from stylegan3d.directions.trajectory import Trajectory
from stylegan3d.recipe.recipe import Edit, Recipe

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from stylegan3d.model.generator import Generator


class DirectionsPanel(Panel):
    """One slider per direction, in standard deviations; many may be used at once."""

    key = "Directions"
    title = "Directions"
    noted = Signal(object)
    """DirectionNotes: the user pinned or renamed a direction."""
    entriesChanged = Signal()
    looked = Signal(object, bool)
    """(DirectionRow, whether the mouse is on its button for previews)"""
    previewed = Signal(object)
    """DirectionRow whose button for previews was pressed."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.notes = DirectionNotes()
        self.entries: dict[str, Entry] = {}
        self._own: list[Entry] = []
        self._of_files: list[Entry] = []
        self._seen: Mapping[str, Range] = {}
        self.find_field = QLineEdit()
        self.layers = QComboBox()
        self.limits = EditLayers(session, self.layers.currentData)
        self.used = controls.push_button(
            "In use", "directions.used", "Show only the directions that are not at 0 sd."
        )
        self.new = controls.push_button(
            "New…",
            "directions.new",
            "Make a direction from favourites or from a table of values.",
        )
        self.reset = controls.push_button(
            "Reset all", "directions.reset", "Set every direction to 0 sd."
        )
        self.more = controls.tool_button(
            "⋯",
            "directions.more",
            "Open a directions file, save those in use, or compare groups of people.",
        )
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
        self.find_field.setObjectName("directions.filter")
        self.find_field.setPlaceholderText("Search directions")
        self.find_field.setClearButtonEnabled(True)
        self.find_field.setToolTip("Search names and descriptions of directions.")
        self.used.setCheckable(True)
        self.layers.setObjectName("directions.layers")
        self.layers.setToolTip(
            "Sizes of structures that the directions change; each direction's menu can override it."
        )
        self.column.setContentsMargins(0, 12, 0, 0)
        self.column.setSpacing(7)
        top = controls.row(self.find_field, self.used, self.new, self.more, stretch=0)
        self.layers.setMinimumContentsLength(10)
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
        self.menus.noted.connect(self.noted)
        self.menus.limited.connect(self.set_layers)
        self.reset.clicked.connect(
            lambda: session.change(session.recipe.replace(edits=self._others(session.recipe)))
        )

    def show_model(self, generator: Generator) -> None:
        """Remove the old model's directions; those of the new one are not known yet."""
        self.list.clear()
        self.ageing.set_trajectory(None)
        self._of_files = []
        self.limits.own.clear()
        self._set_entries([])
        self.entriesChanged.emit()
        self.find_field.clear()
        self.used.setChecked(False)
        self.waiting.show()

    def show_directions(self, generator: Generator) -> None:
        """One row for each direction of the model, once they are computed."""
        self.waiting.hide()
        with QSignalBlocker(self.layers):
            self.layers.clear()
            for text, span in self.limits.spans():
                self.layers.addItem(text, span)
        for part in (self.change, self.layers):
            part.setVisible(generator.can("layers"))
        self._own = own_entries(generator.directions)
        self.ageing.set_trajectory(Trajectory.of(generator.directions))
        self._show_entries()

    def show_files(self, entries: Sequence[Entry], notes: DirectionNotes) -> None:
        """Show directions of files beside the model's own, with the user's notes."""
        self._of_files = list(entries)
        self._set_notes(notes)
        if self.entries:
            self._show_entries()

    def show_notes(self, notes: DirectionNotes) -> None:
        """Show other labels and pins."""
        self._set_notes(notes)
        self.list.arrange(notes)
        self._filter()
        self.show_recipe(self.session.recipe)

    def show_recipe(self, recipe: Recipe) -> None:
        """Show the strength of every direction; those not in the recipe are at 0."""
        used = {edit.direction: edit for edit in recipe.edits if edit.direction in self.entries}
        for reference, edit in used.items():
            if edit.layers != self.layers.currentData():
                self.limits.own[reference] = edit.layers
        self.list.show_strengths({r: edit.strength for r, edit in used.items()})
        self._show_seen()
        generator = self.session.generator
        was = {} if generator is None else generator.directions.former
        for reference, row in self.rows.items():
            label = self.notes.label_of(row.entry)
            if reference in used and used[reference].former and reference in was:
                label = f"{label}, as in an earlier version"
            row.show_name(label, self.limits.in_words(reference), active=reference in used)
        self.ageing.show_recipe(recipe, self.session.generator)
        self.effect.list_edits([(r, self.notes.label_of(self.entries[r])) for r in used])
        self.reset.setEnabled(bool(used))
        if self.used.isChecked():
            self._filter()

    def show_seen(self, seen: Mapping[str, Range]) -> None:
        """Show how far the training subjects are from this brain, in sd of all layers."""
        self._seen = seen
        self._show_seen()

    def _show_seen(self) -> None:
        generator = self.session.generator
        if generator is None:
            return
        ranges = {}
        for reference, (low, high) in self._seen.items():
            # An edit of some layers moves the brain by their share.
            start, stop = self.limits.of(reference) or (0, generator.num_layers)
            share = (stop - start) / generator.num_layers
            ranges[reference] = (low / share, high / share)
        self.list.show_seen(ranges)

    def set_layers(self, reference: str, span: Span, own: bool = True) -> None:
        """Limit one direction to some layers, or let it follow the list above."""
        self.limits.own.pop(reference, None)
        if own:
            self.limits.own[reference] = span
        recipe = self.session.recipe
        edits = tuple(
            dataclasses.replace(edit, layers=self.limits.of(reference))
            if edit.direction == reference
            else edit
            for edit in recipe.edits
        )
        if edits != recipe.edits:
            self.session.change(recipe.replace(edits=edits))
        else:
            self.show_recipe(recipe)

    def set_strength(self, reference: str, strength: float) -> None:
        """Push the brain along one direction, in one gesture."""
        self._set(reference, strength, live=False)

    def with_strength(self, recipe: Recipe, reference: str, strength: float) -> Recipe:
        """The recipe with another strength along one direction."""
        edits = {edit.direction: edit for edit in recipe.edits}
        edits[reference] = self.entries[reference].edit(strength, self.limits.of(reference))
        if abs(strength) < LIMITS_SD[2] / 2:
            del edits[reference]
        order = list(self.entries)
        kept = sorted(
            (edit for edit in edits.values() if edit.direction in self.entries),
            key=lambda edit: order.index(edit.direction),
        )
        return recipe.replace(edits=self._others(recipe) + tuple(kept))

    def _set_entries(self, entries: Sequence[Entry]) -> None:
        self.entries = self.menus.entries = {entry.reference: entry for entry in entries}

    def _set_notes(self, notes: DirectionNotes) -> None:
        self.notes = self.menus.notes = notes

    def _show_entries(self) -> None:
        entries = [*self._own, *self._of_files]
        self._set_entries(entries)
        for row in self.list.show_entries(entries):
            row.looked.connect(lambda on, r=row: self.looked.emit(r, on))
            row.previewed.connect(lambda r=row: self.previewed.emit(r))
            row.menuWanted.connect(lambda r=row: self.menus.open(r))
            row.pinToggled.connect(
                lambda on, r=row.entry.reference: self.noted.emit(self.notes.pin(r, on))
            )
        controls.name_for_readers(self.list)
        self.list.arrange(self.notes)
        self._filter()
        self.show_recipe(self.session.recipe)
        self.entriesChanged.emit()

    def _filter(self, *_: object) -> None:
        used = frozenset(edit.direction for edit in self.session.recipe.edits)
        only = used if self.used.isChecked() else None
        self.list.filter(self.find_field.text(), dict(self.notes.labels), only)

    def _others(self, recipe: Recipe) -> tuple[Edit, ...]:
        """Edits along directions that are not listed here, such as those of a file elsewhere."""
        return tuple(edit for edit in recipe.edits if edit.direction not in self.entries)

    def _set(self, reference: str, strength: float, live: bool) -> None:
        recipe = self.with_strength(self.session.recipe, reference, strength)
        self.session.change(recipe, live=live, gesture=f"directions.{reference}")

    def _age(self, strength: float, live: bool) -> None:
        if self.ageing.trajectory is not None:
            self._set(self.ageing.trajectory.name, strength, live)

    def _on_layers(self, _: int) -> None:
        recipe, span = self.session.recipe, self.layers.currentData()
        edits = tuple(
            dataclasses.replace(edit, layers=span)
            if edit.direction in self.entries and edit.direction not in self.limits.own
            else edit
            for edit in recipe.edits
        )
        self.session.change(recipe.replace(edits=edits))
