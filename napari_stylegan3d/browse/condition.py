"""What a brain is drawn for, with models that were trained with labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QGridLayout, QLabel, QWidget

from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.decimal_box import DecimalBox
from stylegan3d.directions.people import label_title
from stylegan3d.recipe.label_schema import middle_of, number_range
from stylegan3d.recipe.recipe import Label, Recipe

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator

OPEN, VALUE = "open", "value"
UNKNOWN = "n/a"
#: More bare numbers than this are left to recipes and the command line.
MOST_NUMBERS = 8
REACH = 10.0
#: How far from the mean of the training subjects a number may be set, in standard deviations.
REACH_SD = 4.0
ABOUT_NAMED = "Properties set to Any vary as in the training data."
ABOUT_NUMBERS = (
    "This model was trained with labels, but its file does not describe them. Without a "
    "label they are set to zero."
)
NOT_APPLIED = (
    "Only for random brains: projected scans and latent files already have a fixed latent."
)


class LabelBox(QWidget):
    """The label of the current recipe; hidden for models that were trained without."""

    labelChanged = Signal(object)
    """Label or None"""

    def __init__(self) -> None:
        super().__init__()
        self._fields: NamedLabels | NumberLabels | None = None
        self.note = controls.hint(name="browse.label_note")
        self._column = controls.stack(
            controls.line(), controls.heading("Generate for"), self.note, on=self, spacing=9
        )
        self.hide()

    def show_model(self, generator: Generator) -> None:
        """Make the controls for a model's labels."""
        if self._fields is not None:
            self._fields.setParent(None)
            self._fields.deleteLater()
            self._fields = None
        size, schema = generator.label_dim, generator.card.get("labels")
        self.setVisible(bool(size))
        if not size:
            return
        self._fields = NamedLabels(schema) if schema else NumberLabels(size)
        self._fields.changed.connect(self.labelChanged)
        self._column.insertWidget(2, self._fields)

    def show_recipe(self, recipe: Recipe) -> None:
        """Show the recipe's label."""
        if self._fields is None:
            return
        self._fields.show_label(recipe.label)
        self._fields.setEnabled(recipe.has_seed)
        self.note.setText(self._fields.about if recipe.has_seed else NOT_APPLIED)


class _Fields(QWidget):
    """Rows of a name and its controls."""

    changed = Signal(object)
    """Label or None"""
    about = ""

    def __init__(self) -> None:
        super().__init__()
        self.rows = QGridLayout(self)
        self.rows.setContentsMargins(0, 0, 0, 0)
        self.rows.setVerticalSpacing(6)
        self.rows.setColumnStretch(1, 1)

    def show_label(self, label: Label | None) -> None:
        """Show a recipe's label without emitting signals."""
        raise NotImplementedError

    def _choice(self, index: int, tip: str) -> QComboBox:
        box = controls.combo(f"browse.label.{index}", tip)
        box.activated.connect(self._on_chosen)
        return box

    def _number(self, index: int, limits: tuple[float, float], tip: str) -> QDoubleSpinBox:
        spin = controls.named(DecimalBox(), f"browse.label_value.{index}")
        low, high = limits
        spin.setDecimals(0 if high - low >= 40 else 2)
        spin.setRange(round(low, spin.decimals()), round(high, spin.decimals()))
        spin.setKeyboardTracking(False)
        spin.setToolTip(f"{tip} ({spin.minimum():g} to {spin.maximum():g}).")
        spin.valueChanged.connect(self._on_number)
        return spin

    def _add(self, name: str, *fields: QWidget) -> None:
        row = self.rows.rowCount()
        self.rows.addWidget(QLabel(name), row, 0)
        for column, field in enumerate(fields, start=1):
            self.rows.addWidget(field, row, column, 1, 1 if len(fields) > 1 else 2)

    def _on_chosen(self, _: int) -> None:
        raise NotImplementedError

    def _on_number(self, _: float) -> None:
        raise NotImplementedError


class NamedLabels(_Fields):
    """One row for each label that the model's card names."""

    about = ABOUT_NAMED

    def __init__(self, schema: list[Mapping[str, Any]]) -> None:
        super().__init__()
        self._choices: dict[str, QComboBox] = {}
        self._values: dict[str, QDoubleSpinBox] = {}
        for index, entry in enumerate(schema):
            name = str(entry["name"])
            told = label_title(entry)
            box = self._choices[name] = self._choice(index, f"{told} of the subject, or Any.")
            box.addItem("Any", OPEN)
            fields: list[QWidget] = [box]
            if entry["kind"] == "number":
                box.addItem("Value", VALUE)
                tip = f"{told}, in the units of the training data"
                if entry.get("unit"):
                    tip = "{name} in {unit}, within the range of the training data".format(
                        name=told, unit=entry["unit"]
                    )
                spin = self._values[name] = self._number(index, number_range(entry, REACH_SD), tip)
                spin.setSuffix(f" {entry['unit']}" if entry.get("unit") else "")
                controls.show_value(spin, middle_of(entry))
                fields.append(spin)
            for value in entry.get("values", []):
                box.addItem(str(value), str(value))
            if entry["missing"]:
                box.addItem("Unknown", UNKNOWN)
            self._add(told, *fields)

    def show_label(self, label: Label | None) -> None:
        """Show a recipe's label without emitting signals."""
        given = dict(label.values) if label else {}
        for name, box in self._choices.items():
            value = given.get(name)
            spin = self._values.get(name)
            is_number = spin is not None and value not in (None, UNKNOWN)
            if spin is not None:
                spin.setEnabled(is_number)
                number = float(value) if is_number else spin.value()  # type: ignore[arg-type]
                with QSignalBlocker(spin):
                    # A recipe may have any number: it is shown as it is, not moved into the range.
                    spin.setMaximum(max(spin.maximum(), number))
                    spin.setMinimum(min(spin.minimum(), number))
                    spin.setValue(number)
            controls.show_value(box, VALUE if is_number else OPEN if value is None else str(value))

    def _on_chosen(self, _: int) -> None:
        given: dict[str, Any] = {}
        for name, box in self._choices.items():
            chosen = box.currentData()
            if chosen != OPEN:
                given[name] = self._values[name].value() if chosen == VALUE else chosen
        self.changed.emit(Label.of(given) if given else None)

    def _on_number(self, _: float) -> None:
        self._on_chosen(0)


class NumberLabels(_Fields):
    """The bare numbers of a network that names no labels; a class is a single 1 among zeros."""

    about = ABOUT_NUMBERS

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._class = self._choice(0, "Generate for one class, or without a label.")
        self._class.addItem("Without a label", ())
        for index in range(size):
            self._class.addItem(f"Class {index}", self._one(index))
        if size > 1:
            self._add("Class", self._class)
        shown = size if size <= MOST_NUMBERS else 0
        self._spins = [
            self._number(i, (-REACH, REACH), f"Label component {i}, no unit") for i in range(shown)
        ]
        for index, spin in enumerate(self._spins):
            spin.setSingleStep(0.1)
            self._add(f"Component {index}" if size > 1 else "Label", spin)

    def _one(self, index: int) -> tuple[float, ...]:
        return tuple(float(i == index) for i in range(self._size))

    def show_label(self, label: Label | None) -> None:
        """Show a recipe's label without emitting signals."""
        numbers = label.numbers if label and any(label.numbers) else ()
        known = [self._class.itemData(i) for i in range(self._size + 1)]
        while self._class.count() > len(known):
            self._class.removeItem(self._class.count() - 1)
        if numbers not in known:
            self._class.addItem("Other values", numbers)
        controls.show_value(self._class, numbers)
        for spin, number in zip(self._spins, numbers or (0.0,) * self._size, strict=False):
            controls.show_value(spin, number)

    def _on_chosen(self, _: int) -> None:
        self._emit(self._class.currentData())

    def _on_number(self, _: float) -> None:
        self._emit(tuple(spin.value() for spin in self._spins))

    def _emit(self, numbers: tuple[float, ...]) -> None:
        self.changed.emit(Label(numbers=tuple(numbers)) if any(numbers) else None)
