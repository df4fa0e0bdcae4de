"""The list of directions: pinned ones first, then the model's own, then those of files."""

import math
from collections.abc import Mapping, Sequence

from qtpy.QtCore import QEvent, Signal
from qtpy.QtGui import QEnterEvent
from qtpy.QtWidgets import QLabel, QScrollArea, QToolButton, QWidget

from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.elided import ElidedLabel
from napari_stylegan3d.widgets.theme import SliderRange
from stylegan3d.directions.catalogue import ATTRIBUTES, COMPONENTS, CatalogueEntry, DirectionNotes
from stylegan3d.recipe.recipe import MOST_EDIT

#: Of the slider where it is not known how far the training subjects reach.
LIMITS_SD = (-MOST_EDIT, MOST_EDIT, 0.1, 0.0)
#: The largest number that can be typed.
MOST_SD = 10.0
Range = tuple[float, float]
BEYOND = "outside the training range"
PINNED, UNPINNED = "★", "☆"


def tip_of(entry: CatalogueEntry, label: str = "", seen: Range | None = None) -> str:
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
            "In standard deviations of random brains, -4 to 4 (typed: ±10); 0 is no change."
        )
        return "\n".join(lines)
    lines.append(
        "In standard deviations of random brains; 0, the line, is this brain. The slider ends "
        f"where the training subjects end, at {seen[0]:+.1f} and {seen[1]:+.1f}; you can type up "
        "to ±10. Orange: no training subject lies there."
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

    def __init__(self, index: int, entry: CatalogueEntry) -> None:
        super().__init__()
        self.entry = entry
        self.name = controls.named(QLabel(), f"directions.name.{index}")
        self.meaning = ElidedLabel(entry.summary, role="hint")
        if entry.summary:
            self.meaning.setObjectName(f"directions.meaning.{index}")
        self.pin = controls.tool_button(
            f"directions.pin.{index}", UNPINNED, "Pin to the top.", checkable=True
        )
        self.preview = controls.named(
            PreviewButton(),
            f"directions.preview.{index}",
            "Preview at -2, -1, 0, 1 and 2 sd; click to keep the pictures open.",
        )
        self.preview.setText("▦")
        self.preview.setAutoRaise(True)
        self.menu = controls.tool_button(
            f"directions.menu.{index}", "⋯", "Rename, limit to some sizes, save, …"
        )
        self.row = controls.SliderRow(
            f"directions.strength.{index}", "", LIMITS_SD, " sd", tip_of(entry)
        )
        self.row.spin.setRange(-MOST_SD, MOST_SD)
        self.seen: Range | None = None
        self.range = SliderRange(self.row, mark=0.0)
        column = controls.stack(on=self, spacing=0)
        top = controls.row(self.name, self.meaning, self.pin, self.preview, self.menu, stretch=1)
        top.setSpacing(4)
        column.addLayout(top)
        column.addWidget(self.row)
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
        controls.set_bold(self.name, active)
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


ABOUT = {
    ATTRIBUTES: (
        "Fitted to real subjects and validated on others. 1 sd is one standard "
        "deviation of the population."
    ),
    COMPONENTS: (
        "Directions in which brains of this model vary most, largest first, with their "
        "share of the total variation. 1 sd is one standard deviation of random brains."
    ),
}
PINNED_TITLE = "Pinned"


class Section(QWidget):
    """A heading and the rows under it."""

    def __init__(self, title: str, rows: Sequence[DirectionRow]) -> None:
        super().__init__()
        self.title, self.rows = title, list(rows)
        self.box = controls.stack(controls.heading(title), on=self, spacing=7, margins=(0, 0, 0, 4))
        if title in ABOUT:
            self.box.addWidget(controls.hint(ABOUT[title]))
        for row in rows:
            self.box.addWidget(row)


#: A direction with the heading above it: in a very low window the whole panel scrolls instead; and
#: a few of them, where the panel scrolls because what an edit changed stands below.
LEAST_PX, FEW_ROWS_PX = 100, 240


class DirectionList(QScrollArea):
    """Rows by their reference, in sections, filtered by words."""

    #: (reference, strength, live)
    changed = Signal(str, float, bool)

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, DirectionRow] = {}
        self._sections: list[Section] = []
        self._strengths: dict[str, float] = {}
        self.setWidgetResizable(True)
        self.setAccessibleName("Directions")
        self.make_room(scrolls=False)
        inner = QWidget()
        self._box = controls.stack(on=inner, spacing=7, margins=(14, 8, 14, 10))
        self._box.addStretch(1)
        self.setWidget(inner)

    def make_room(self, *, scrolls: bool) -> None:
        """Keep a height, in a panel that scrolls for what stands below or has the list scroll."""
        self.setMinimumHeight(controls.scaled(FEW_ROWS_PX if scrolls else LEAST_PX))

    def clear(self) -> None:
        """Take everything away."""
        controls.discard(*self.rows.values(), *self._sections)
        self.rows, self._sections, self._strengths = {}, [], {}

    def show_entries(self, entries: Sequence[CatalogueEntry]) -> list[DirectionRow]:
        """One row for each direction; those that are new are returned.

        Rows of directions that were there already stay.
        """
        wanted = {entry.reference: entry for entry in entries}
        for reference in list(self.rows):
            if reference not in wanted:
                controls.discard(self.rows.pop(reference))
                self._strengths.pop(reference, None)
        new = []
        for index, (reference, entry) in enumerate(wanted.items()):
            if reference not in self.rows:
                row = DirectionRow(index, entry)
                row.row.valueChanged.connect(
                    lambda value, live, r=reference: self.changed.emit(r, value, live)
                )
                self.rows[reference] = row
                new.append(row)
        self.rows = {reference: self.rows[reference] for reference in wanted}
        return new

    def arrange(self, notes: DirectionNotes) -> None:
        """Put the rows under their headings, pinned ones at the top."""
        pinned = [self.rows[r] for r in notes.pinned if r in self.rows]
        groups: dict[str, list[DirectionRow]] = {PINNED_TITLE: pinned} if pinned else {}
        for row in self.rows.values():
            row.show_pin(row in pinned)
            if row not in pinned:
                groups.setdefault(row.entry.section, []).append(row)
        if list(groups.items()) == [(section.title, section.rows) for section in self._sections]:
            return
        old, self._sections = self._sections, []
        for title, rows in groups.items():
            section = Section(title, rows)
            self._box.insertWidget(len(self._sections), section)
            self._sections.append(section)
        controls.join_tab_order(self, *(row for rows in groups.values() for row in rows))
        controls.discard(*old)

    def show_strengths(self, strengths: dict[str, float]) -> None:
        """Show the strength of every direction; those not named are at 0."""
        for reference, row in self.rows.items():
            strength = strengths.get(reference, 0.0)
            # A row takes a while to draw, and there are many of them.
            if self._strengths.get(reference) != strength or row.row.value() != strength:
                self._strengths[reference] = strength
                row.set_value(strength)

    def show_seen(self, seen: Mapping[str, Range]) -> None:
        """Show where the training subjects end, by reference, as strengths from this brain."""
        for reference, row in self.rows.items():
            row.show_seen(seen.get(reference))

    def filter(self, text: str, labels: dict[str, str], only: frozenset[str] | None = None) -> None:
        """Show those that match words, or the ones in `only`."""
        for reference, row in self.rows.items():
            seen = row.entry.matches(text, labels.get(reference, ""))
            row.setVisible(seen and (only is None or reference in only))
        for section in self._sections:
            section.setVisible(any(not row.isHidden() for row in section.rows))
