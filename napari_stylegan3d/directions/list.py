"""The list of directions: pinned ones first, then the model's own, then those of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QScrollArea, QVBoxLayout, QWidget

from napari_stylegan3d.directions.row import DirectionRow, Range
from napari_stylegan3d.widgets import controls
from stylegan3d.directions.catalogue import ATTRIBUTES, COMPONENTS, DirectionNotes, Entry

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

    def __init__(self, title: str) -> None:
        super().__init__()
        self.box = controls.stack(controls.heading(title), on=self, spacing=7, margins=(0, 0, 0, 4))
        if title in ABOUT:
            self.box.addWidget(controls.hint(ABOUT[title]))
        self.rows: list[DirectionRow] = []

    def take(self, rows: Sequence[DirectionRow]) -> None:
        """Show these rows in this order."""
        for row in rows:
            self.box.addWidget(row)
        self.rows = list(rows)


class DirectionList(QScrollArea):
    """Rows by their reference, in sections, filtered by words."""

    changed = Signal(str, float, bool)
    """(reference, strength, live)"""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, DirectionRow] = {}
        self._sections: list[Section] = []
        self._strengths: dict[str, float] = {}
        self.setWidgetResizable(True)
        self.setAccessibleName("Directions")
        inner = QWidget()
        self._box = QVBoxLayout(inner)
        self._box.setContentsMargins(14, 8, 14, 10)
        self._box.setSpacing(7)
        self._box.addStretch(1)
        self.setWidget(inner)

    def clear(self) -> None:
        """Take everything away."""
        self._drop_sections()
        for row in self.rows.values():
            row.setParent(None)
            row.deleteLater()
        self.rows, self._strengths = {}, {}

    def show_entries(self, entries: Sequence[Entry]) -> list[DirectionRow]:
        """One row for each direction; those that are new are returned.

        Rows of directions that were there already stay.
        """
        wanted = {entry.reference: entry for entry in entries}
        for reference in list(self.rows):
            if reference not in wanted:
                row = self.rows.pop(reference)
                row.setParent(None)
                row.deleteLater()
                self._strengths.pop(reference, None)
        new = []
        for index, (reference, entry) in enumerate(wanted.items()):
            if reference not in self.rows:
                row = DirectionRow(index, entry)
                row.valueChanged.connect(
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
        old, self._sections = self._sections, []
        for title, rows in groups.items():
            section = Section(title)
            section.take(rows)
            self._box.insertWidget(len(self._sections), section)
            self._sections.append(section)
        controls.join_tab_order(self, *(row for rows in groups.values() for row in rows))
        _delete(old)

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

    def _drop_sections(self) -> None:
        for row in self.rows.values():
            row.setParent(None)
        _delete(self._sections)
        self._sections = []


def _delete(sections: Sequence[Section]) -> None:
    for section in sections:
        section.setParent(None)
        section.deleteLater()
