"""One direction in the list: its name, what it changes, and how far the brain is pushed."""

from __future__ import annotations

import math

from qtpy.QtCore import QEvent, Signal
from qtpy.QtGui import QEnterEvent
from qtpy.QtWidgets import QLabel, QToolButton, QVBoxLayout, QWidget

from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.elided import ElidedLabel
from napari_stylegan3d.widgets.theme import SliderRange
from stylegan3d.directions.catalogue import COMPONENTS, Entry

#: Of the slider where it is not known how far the training subjects reach.
LIMITS_SD = (-4.0, 4.0, 0.1, 0.0)
#: The largest number that can be typed.
MOST_SD = 10.0
Range = tuple[float, float]
BEYOND = "not seen in people"
PINNED, UNPINNED = "★", "☆"


def tip_of(entry: Entry, label: str = "", seen: Range | None = None) -> str:
    """All that is known of a direction, for its tooltip."""
    name, told = entry.name, entry.check
    lines = [f"{name} explains {100 * entry.share:.1f} % of the variation of this model."]
    if entry.description:
        lines.insert(0, f"{name}: {entry.description}.")
    if label and label != name:
        lines.insert(0, f"Your name: {label}.")
    if "mae" in told:
        lines.append(
            (
                "Mean error in held-out subjects: {mae:.3g} {unit} (predicting the mean: "
                "{baseline:.3g} {unit})."
            ).format(mae=told["mae"], baseline=told["baseline"], unit=told["unit"])
        )
    if "r" in told and "chance" in told:
        lines.append(
            "r reaches {chance:.2f} by chance in 5 % of cases.".format(chance=told["chance"])
        )
    if seen is None:
        lines.append(
            "In standard deviations of random brains, -4 to 4, typed up to 10; 0 is no change."
        )
        return "\n".join(lines)
    lines.append(
        "In standard deviations of random brains; 0, the line, is this brain. The slider ends "
        f"where the training subjects end, at {seen[0]:+.1f} and {seen[1]:+.1f}; you can type up "
        "to "
        "±10. Orange: no training subject lies there."
    )
    return "\n".join(lines)


class PreviewButton(QToolButton):
    """Emits a signal when the mouse or the focus enters or leaves."""

    looked = Signal(bool)

    def enterEvent(self, event: QEnterEvent) -> None:
        """The mouse comes."""
        super().enterEvent(event)
        self.looked.emit(True)

    def leaveEvent(self, event: QEvent) -> None:
        """The mouse goes."""
        super().leaveEvent(event)
        self.looked.emit(False)


class DirectionRow(QWidget):
    """Two lines: name, meaning and buttons; slider, number and reset.

    Parameters
    ----------
    index : int
        Its place in the catalogue, for the names of its controls.
    """

    valueChanged = Signal(float, bool)
    """(strength in sd, live)"""
    pinToggled = Signal(bool)
    looked = Signal(bool)
    """Whether the mouse is on the button for previews."""
    previewed = Signal()
    """The button for previews was pressed."""
    menuWanted = Signal()

    def __init__(self, index: int, entry: Entry) -> None:
        super().__init__()
        self.entry = entry
        self.name = controls.named(QLabel(), f"directions.name.{index}")
        self.meaning = ElidedLabel(entry.summary)
        if entry.summary:
            self.meaning.setObjectName(f"directions.meaning.{index}")
        self.pin = controls.tool_button(
            UNPINNED, f"directions.pin.{index}", "Pin to the top.", checkable=True
        )
        self.preview = controls.named(
            PreviewButton(),
            f"directions.preview.{index}",
            "Preview at -2, -1, 0, 1 and 2 sd; click to keep the pictures open.",
        )
        self.preview.setText("▦")
        self.preview.setAutoRaise(True)
        self.menu = controls.tool_button(
            "⋯", f"directions.menu.{index}", "Rename, limit to some sizes, save, …"
        )
        self.row = controls.SliderRow(
            f"directions.strength.{index}", "", LIMITS_SD, " sd", tip_of(entry)
        )
        self.row.spin.setRange(-MOST_SD, MOST_SD)
        self.seen: Range | None = None
        self.range = SliderRange(self.row, mark=0.0)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        top = controls.row(self.name, self.meaning, self.pin, self.preview, self.menu, stretch=1)
        top.setSpacing(4)
        column.addLayout(top)
        column.addWidget(self.row)
        self.row.valueChanged.connect(self.valueChanged)
        self.pin.clicked.connect(self.pinToggled)
        self.preview.looked.connect(self.looked)
        self.preview.clicked.connect(self.previewed)
        self.menu.clicked.connect(self.menuWanted)
        self._written = ("", "", False)
        self._beyond = False

    def show_name(self, label: str, layers: str, *, active: bool) -> None:
        """Write what it is called, and which sizes of structures it is limited to, if it is."""
        if (label, layers, active) == self._written:
            return
        self._written = (label, layers, active)
        text = label
        if self.entry.section == COMPONENTS:
            percent = 100 * self.entry.share
            text += f" · {percent:.1f} %" if percent < 9.95 else f" · {percent:.0f} %"
        if layers:
            text += f" · {layers.lower()}"
        self.name.setText(text)
        font = self.name.font()
        font.setBold(active)
        self.name.setFont(font)
        self._set_tooltips(label)
        self.row.slider.setAccessibleName(label)

    def _set_tooltips(self, label: str) -> None:
        tip = tip_of(self.entry, label, self.seen)
        for widget in (self, self.name, self.meaning, self.row):
            widget.setToolTip(tip)

    def show_pin(self, pinned: bool) -> None:
        """Show whether it is kept at the top."""
        self.pin.setChecked(pinned)
        self.pin.setText(PINNED if pinned else UNPINNED)

    def set_value(self, strength: float) -> None:
        """Show a strength without emitting signals."""
        self.row.set_value(strength)
        self._fit()

    def show_seen(self, seen: Range | None) -> None:
        """Where the training subjects end, as strengths from this brain; None if not known."""
        if seen != self.seen:
            self.seen = seen
            self._set_tooltips(self._written[0])
            self._fit()

    def _fit(self) -> None:
        """Put the ends of the slider where subjects end, or where the brain is beyond them."""
        low, high, step, _zero = LIMITS_SD
        value = self.row.value()
        if self.seen is not None:
            low, high = (step * math.trunc(end / step) for end in self.seen)
            low, high = min(low, 0.0, value), max(high, 0.0, value)
        self.row.set_ends(low, high)
        first, last = self.seen or LIMITS_SD[:2]
        self.range.show_known(first, last)
        beyond = bool(value) and not first - step / 2 <= value <= last + step / 2
        if beyond == self._beyond:
            return
        self._beyond = beyond
        self.meaning.setText(BEYOND if beyond else self.entry.summary)
        for widget, role in ((self.meaning, "hint"), (self.row.spin, "")):
            controls.set_role(widget, "caution" if beyond else role)
