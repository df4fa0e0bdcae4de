"""Measure: how much fluid, grey and white matter what is shown has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QPixmap
from qtpy.QtWidgets import QCheckBox, QGridLayout, QLabel, QWidget

from napari_stylegan3d.core.tissues import COLORS, ROWS, decimals_of
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.fold import Fold
from napari_stylegan3d.widgets.text import _

if TYPE_CHECKING:
    from napari_stylegan3d.measure.jobs import Measured

NONE = "–"
COLUMNS = (
    ("ml", _("Volume in millilitres.")),
    ("change", _("Change in ml relative to the brain before editing or mixing.")),
    ("percent", _("Change in per cent relative to the brain before editing or mixing.")),
    (
        "percentile",
        _(
            "Percentile among the training subjects of the bundled generator; 50 is the "
            "median.\n"
            "Not adjusted for age, sex or head size."
        ),
    ),
)
HEADS = {
    "ml": "ml",
    "change": _("Change (ml)"),
    "percent": _("Change (%)"),
    "percentile": _("Pctl."),
}
SWATCH = 10


class MeasureBox(Fold):
    """Volumes in a table, a switch for the labels, and a button to copy the table."""

    labelsWanted = Signal(bool)
    copyRequested = Signal()

    def __init__(self) -> None:
        super().__init__(
            _("Measure"),
            "measure.fold",
            _("Volumes of CSF, grey and white matter, segmented by a network."),
        )
        outer = self.layout()
        outer.setContentsMargins(14, 6, 14, 6)
        outer.insertWidget(0, controls.line())
        self.of = controls.hint("", "measure.of")
        self.of.setToolTip(_("What the volumes are of, and what the changes are relative to."))
        self.column.addWidget(self.of)
        self.cells: dict[str, QLabel] = {}
        self.column.addLayout(self._make_table())
        self.note = controls.hint("", "measure.note")
        self.column.addWidget(self.note)
        self.labels = QCheckBox(_("Show the labels"))
        self.labels.setObjectName("measure.labels")
        self.labels.setToolTip(_("Overlay the network's tissue labels in colour."))
        self.copy = controls.push_button(
            _("Copy table"), "measure.copy", _("Copy the table for a spreadsheet.")
        )
        self.column.addLayout(controls.row(self.labels, self.copy, stretch=0))
        self.labels.toggled.connect(self.labelsWanted)
        self.copy.clicked.connect(self.copyRequested)
        self.show_measured(None)

    @property
    def open(self) -> bool:
        """Whether anybody can see the table."""
        return self.header.isChecked()

    def show_measured(self, measured: Measured | None, note: str = "") -> None:
        """Write the volumes; None while there are none, and why in `note`."""
        for key, text in in_words(measured).items():
            self.cells[key].setText(text)
        self.of.setText("" if measured is None else subject_in_words(measured))
        self.of.setVisible(measured is not None)
        self.note.setText(note)
        self.note.setVisible(bool(note))
        self.copy.setEnabled(measured is not None)

    def set_stale(self, stale: bool) -> None:
        """Mark the values as outdated: the new brain has not been measured yet."""
        for cell in (self.of, *self.cells.values()):
            cell.setEnabled(not stale)

    def _make_table(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(10)
        grid.setVerticalSpacing(3)
        grid.setColumnStretch(1, 1)
        for column, (key, tip) in enumerate(COLUMNS, 2):
            head = controls.hint(HEADS[key])
            head.setAlignment(Qt.AlignmentFlag.AlignRight)
            head.setToolTip(tip)
            bottom = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignBottom
            grid.addWidget(head, 0, column, bottom)
        for row, (tissue, text, tip) in enumerate(ROWS, 1):
            if tissue in COLORS:
                grid.addWidget(swatch(COLORS[tissue]), row, 0)
            name = QLabel(text)
            name.setToolTip(tip)
            grid.addWidget(name, row, 1)
            for column, (key, column_tip) in enumerate(COLUMNS, 2):
                cell = QLabel()
                cell.setObjectName(f"measure.{tissue}.{key}")
                cell.setToolTip(column_tip)
                if key == "ml":
                    cell.setProperty("role", "figure")
                grid.addWidget(cell, row, column, Qt.AlignmentFlag.AlignRight)
                self.cells[f"{tissue}.{key}"] = cell
        return grid


def swatch(color: str) -> QWidget:
    """A small square of a colour."""
    square = QPixmap(controls.scaled(SWATCH), controls.scaled(SWATCH))
    square.fill(QColor(color))
    label = QLabel()
    label.setPixmap(square)
    return label


def subject_in_words(measured: Measured) -> str:
    """What was measured, and what its changes are counted from."""
    if measured.before is None or not measured.against:
        return measured.title
    return _("{title}; changes relative to: {against}").format(
        title=measured.title, against=measured.against
    )


def in_words(measured: Measured | None) -> dict[str, str]:
    """Each cell of the table as it is written, by tissue and column."""
    words = {f"{tissue}.{key}": NONE for tissue, *_rest in ROWS for key, _head in COLUMNS}
    if measured is None:
        return words
    for tissue, *_rest in ROWS:
        value = measured.volumes[tissue]
        decimals = decimals_of(tissue)
        words[f"{tissue}.ml"] = f"{value:.{decimals}f}"
        words[f"{tissue}.percentile"] = percentile_in_words(measured.percentiles[tissue])
        if measured.before is not None:
            change = value - measured.before[tissue]
            words[f"{tissue}.change"] = signed(change, decimals)
            if measured.before[tissue] > 0:
                words[f"{tissue}.percent"] = signed(100 * change / measured.before[tissue], 1)
    return words


def signed(value: float, decimals: int) -> str:
    """With its sign; what rounds to nothing is 0 without one."""
    text = f"{value:+.{decimals}f}"
    return f"{0:.{decimals}f}" if float(text) == 0 else text


def percentile_in_words(value: float) -> str:
    """Such as 73, or "<1" and ">99" at the ends, where a few more subjects would change it."""
    return "<1" if value < 1 else ">99" if value > 99 else f"{value:.0f}"


def as_table(measured: Measured) -> str:
    """The table with its units, separated by tabs, plain numbers."""
    lines = [f"# {measured.title}, {measured.network}"]
    lines.append("\t".join(("tissue", "ml", "change_ml", "change_percent", "percentile")))
    for tissue, text, _colour in ROWS:
        value, before = measured.volumes[tissue], (measured.before or {}).get(tissue)
        cells = [text, f"{value:.2f}", "", "", f"{measured.percentiles[tissue]:.1f}"]
        if before is not None:
            cells[2] = f"{value - before:.2f}"
            cells[3] = f"{100 * (value - before) / before:.2f}" if before > 0 else ""
        lines.append("\t".join(cells))
    return "\n".join(lines) + "\n"
