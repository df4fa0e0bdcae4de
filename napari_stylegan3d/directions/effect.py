"""What the edits did to this brain: volumes before and after, where, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QGridLayout,
    QLabel,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_stylegan3d.core.tissues import TOLD
from napari_stylegan3d.widgets import controls

if TYPE_CHECKING:
    from stylegan3d.directions.edit_effects import EditEffect, WayBack

COLUMNS = ("", "before", "after", "change")
HEADS = ("ml", "before", "after", "change")
#: Sentences that are always shown: how much differs, and where.
FIRST = 2
TIP = (
    "Measured in both volumes, with and without the edits, at full resolution;\n"
    "volumes in ml as under Measure."
)


class EffectBox(QWidget):
    """A small table with two or three sentences under it; shown while there are edits.

    What only an expert asks for waits behind "More": the list of directions needs the room.
    """

    chosen = Signal()
    """Another edit is to be measured."""
    shownInViews = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("directions.effect")
        self.setToolTip(TIP)
        self.what = controls.combo("directions.effect_of", "The edit to remove for comparison.")
        self.show_in_views = controls.check(
            "Show",
            "directions.show_change",
            "Overlay the difference: blue is darker, orange brighter than before.",
        )
        self.fold = controls.named(
            QToolButton(), "directions.effect_fold", "Collapse or expand the table."
        )
        self.fold.setCheckable(True)
        self.fold.setChecked(True)
        self.fold.setArrowType(Qt.ArrowType.DownArrow)
        self.cells = [[QLabel() for _ in COLUMNS] for _ in TOLD]
        self.told = controls.hint(name="directions.effect_text")
        self._lines: tuple[str, ...] = ()
        self.more = controls.push_button(
            "More",
            "directions.effect_more",
            "How it was measured, and whether the edit can be reversed.",
            checkable=True,
        )
        self.more.setProperty("role", "link")
        self._lay_out()
        self.more.toggled.connect(self._write)
        self.fold.toggled.connect(self._open)
        self.what.activated.connect(lambda _: self.chosen.emit())
        self.show_in_views.toggled.connect(self.shownInViews)
        self.hide()

    def _lay_out(self) -> None:
        column = controls.stack(controls.line(), on=self, spacing=5, margins=(14, 6, 14, 10))
        title = controls.heading("What changed")
        head = controls.row(self.fold, title, self.what, self.show_in_views, stretch=2)
        column.addLayout(head)
        self.details = QWidget()
        inner = QVBoxLayout(self.details)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(5)
        column.addWidget(self.details)
        grid = QGridLayout()
        grid.setHorizontalSpacing(10)
        grid.setVerticalSpacing(1)
        grid.setColumnStretch(0, 1)
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

    def _open(self, opened: bool) -> None:
        self.fold.setArrowType(Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow)
        self.details.setVisible(opened)

    @property
    def direction(self) -> str | None:
        """Reference of the edit to measure; None for all together."""
        return self.what.currentData()

    def list_edits(self, edits: Sequence[tuple[str, str]]) -> None:
        """Offer these (reference, label), and all together; the choice stays where it can."""
        entries = [("All edits", None), *((label, reference) for reference, label in edits)]
        if len(edits) == 1:
            entries = entries[1:]
        before = self.direction
        if [data for _text, data in entries] != [
            self.what.itemData(k) for k in range(self.what.count())
        ]:
            with QSignalBlocker(self.what):
                self.what.clear()
                for text, data in entries:
                    self.what.addItem(text, data)
                known = [data for _text, data in entries]
                self.what.setCurrentIndex(known.index(before) if before in known else 0)
        self.setVisible(bool(edits))

    def show_waiting(self, *, at_work: bool = False) -> None:
        """What is written is of an earlier brain; whether this one is being measured."""
        for cells in self.cells:
            for cell in cells:
                cell.setEnabled(False)
        self.told.setEnabled(False)
        if not self._lines:
            rests = "Measuring when the slider stops…"
            self.told.setText("Measuring…" if at_work else rests)

    def show_effect(self, effect: EditEffect, back: WayBack) -> None:
        """Write what was found."""
        from stylegan3d.directions.edit_effects import effect_lines, rows_of

        for cells, (name, before, after) in zip(self.cells, rows_of(effect), strict=True):
            texts = (name, _ml(before), _ml(after), _change(before, after))
            for cell, text in zip(cells, texts, strict=True):
                cell.setText(text)
                cell.setEnabled(True)
        self._lines = tuple(effect_lines(effect, back))
        self._write()
        self.told.setEnabled(True)

    def _write(self) -> None:
        """The sentences, or the first of them."""
        shown = self._lines if self.more.isChecked() else self._lines[:FIRST]
        self.told.setText("\n".join(shown))
        self.more.setVisible(len(self._lines) > FIRST)
        self.more.setText("Less" if self.more.isChecked() else "More")

    def show_failure(self, sentence: str) -> None:
        """Say why nothing could be measured."""
        for cells in self.cells:
            for cell in cells:
                cell.clear()
        self._lines = (sentence,)
        self._write()
        self.told.setEnabled(True)


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
