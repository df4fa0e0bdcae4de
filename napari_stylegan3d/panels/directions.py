"""Directions: push a brain along attributes, and along the ways in which brains vary most."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from napari_stylegan3d import controls
from napari_stylegan3d.panels.panel import Panel, select_data
from stylegan3d.recipe import Edit, Recipe

if TYPE_CHECKING:
    from napari_stylegan3d.session import Session
    from stylegan3d.directions import Directions
    from stylegan3d.generator import Generator

#: Further out there are hardly any brains to have learned from.
LIMITS_SD = (-4.0, 4.0, 0.1, 0.0)
WIDE_LABEL = 108
ATTRIBUTES, COMPONENTS = "Attributes", "Principal components"
ABOUT_ATTRIBUTES = (
    "Fitted to real people and checked on others. 1 sd is the usual difference between people."
)
ABOUT_COMPONENTS = (
    "The ways in which brains of this model differ most, largest first, with their share of all "
    "variation. 1 sd is the usual distance from the average brain."
)


def tip_of(name: str, directions: Directions) -> str:
    """All that is known of a direction, for its tooltip."""
    share = float(directions.explained_variance[directions.names.index(name)])
    lines = [f"{name} explains {share:.1%} of how brains of this model differ."]
    if name in directions.descriptions:
        lines.insert(0, f"{name}: {directions.descriptions[name]}.")
    for told in directions.checks:
        if told["name"] == name and "mae" in told:
            lines.append(
                f"Mean error on people not used to fit it: {told['mae']:.3g} {told['unit']} "
                f"(always saying the mean: {told['baseline']:.3g} {told['unit']})."
            )
    lines.append("In standard deviations of random brains; 0 changes nothing.")
    return "\n".join(lines)


class DirectionsPanel(Panel):
    """One slider per direction, in standard deviations; many may be used at once."""

    title = "Directions"

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.layers = QComboBox()
        self.layers.setObjectName("directions.layers")
        self.layers.setToolTip("Which sizes of structures the directions change.")
        self.reset = controls.push_button(
            "Reset all", "directions.reset", "Set every direction to 0 sd."
        )
        self.waiting = controls.hint("Finding the directions of this model…", "directions.waiting")
        self.rows: dict[str, controls.SliderRow] = {}
        self._rows_box = QVBoxLayout()
        self._rows_box.setSpacing(7)
        self._lay_out()
        self.layers.currentIndexChanged.connect(self._on_layers)
        self.reset.clicked.connect(
            lambda: session.change(session.recipe.replace(edits=self._others(session.recipe)))
        )

    def _lay_out(self) -> None:
        add = self.column.addWidget
        self.column.addLayout(controls.form(("Change", self.layers)))
        add(controls.line())
        add(self.waiting)
        self.column.addLayout(self._rows_box)
        self.column.addLayout(controls.row(self.reset, stretch=0))
        self.column.addStretch(1)

    def show_model(self, generator: Generator) -> None:
        """Take away the old model's directions; the new one's are still to be found."""
        while (item := self._rows_box.takeAt(0)) is not None:
            widget = item.widget()
            widget.setParent(None)
            widget.deleteLater()
        self.rows = {}
        self.waiting.show()

    def show_directions(self, generator: Generator) -> None:
        """One row for each direction of the model, once they are computed."""
        self.waiting.hide()
        directions = generator.directions
        attributes = set(directions.attributes)
        if attributes:
            self._add_heading(ATTRIBUTES, ABOUT_ATTRIBUTES)
        for index, name in enumerate(directions.names):
            if name not in attributes and attributes.issuperset(directions.names[:index]):
                self._add_heading(COMPONENTS, ABOUT_COMPONENTS)
            self._add_row(index, name, directions)
        with QSignalBlocker(self.layers):
            self.layers.clear()
            self.layers.addItem("All sizes of structures", None)
            for group in self.session.layer_groups():
                span = (group.layers[0], group.layers[-1] + 1)
                self.layers.addItem(f"{group.name} structures ({group.size_in_words})", span)
        self.show_recipe(self.session.recipe)

    def _add_heading(self, title: str, about: str) -> None:
        if self._rows_box.count():
            self._rows_box.addWidget(controls.line())
        for label in (controls.heading(title), controls.hint(about)):
            self._rows_box.addWidget(label)

    def _add_row(self, index: int, name: str, directions: Directions) -> None:
        """The slider of one direction, and under it what it changes."""
        of_attribute = name in directions.attributes
        share = float(directions.explained_variance[index])
        label = name
        if not of_attribute:
            label += f" · {share:.1%}" if share < 0.0995 else f" · {share:.0%}"
        row = controls.SliderRow(
            f"directions.strength.{index}",
            label,
            LIMITS_SD,
            " sd",
            tip_of(name, directions),
            label_width=WIDE_LABEL if of_attribute else 88,
        )
        row.valueChanged.connect(lambda value, live: self._set(name, value, live))
        self.rows[name] = row
        # A meaning stands close under its slider, and further from the next one.
        together = QWidget()
        column = QVBoxLayout(together)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(row)
        summary = directions.summary(name)
        if summary:
            told = controls.hint(summary, f"directions.meaning.{index}")
            told.setToolTip(tip_of(name, directions))
            column.addWidget(told)
        self._rows_box.addWidget(together)

    def show_recipe(self, recipe: Recipe) -> None:
        """Show the strength of every direction; those not in the recipe are at 0."""
        strengths = {edit.direction: edit.strength for edit in recipe.edits}
        for name, row in self.rows.items():
            row.set_value(strengths.get(name, 0.0))
        ours = [edit for edit in recipe.edits if edit.direction in self.rows]
        if ours:
            select_data(self.layers, ours[-1].layers)
        self.reset.setEnabled(bool(ours))

    def _others(self, recipe: Recipe) -> tuple[Edit, ...]:
        """Edits along directions that are not listed here, such as those from a file."""
        return tuple(edit for edit in recipe.edits if edit.direction not in self.rows)

    def _set(self, name: str, strength: float, live: bool) -> None:
        recipe = self.session.recipe
        edits = {edit.direction: edit for edit in recipe.edits}
        edits[name] = Edit(name, strength, self.layers.currentData())
        if abs(strength) < LIMITS_SD[2] / 2:
            del edits[name]
        order = list(self.rows)
        kept = sorted(
            (edit for edit in edits.values() if edit.direction in self.rows),
            key=lambda edit: order.index(edit.direction),
        )
        self.session.change(
            recipe.replace(edits=self._others(recipe) + tuple(kept)),
            live=live,
            gesture=f"directions.{name}",
        )

    def _on_layers(self, _: int) -> None:
        recipe = self.session.recipe
        edits = tuple(
            dataclasses.replace(edit, layers=self.layers.currentData())
            if edit.direction in self.rows
            else edit
            for edit in recipe.edits
        )
        self.session.change(recipe.replace(edits=edits))
