"""Two visits of one patient: which scans, what changed, and where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QDragEnterEvent, QDropEvent, QHideEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QHeaderView,
    QMenu,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_stylegan3d.core.scans import in_event
from napari_stylegan3d.widgets import controls, dialogs
from napari_stylegan3d.widgets.controls import Chooser, DecimalBox
from stylegan3d.segmentation.changes import cells_of, summary_of
from stylegan3d.segmentation.repeats import repeats_names

if TYPE_CHECKING:
    from napari_stylegan3d.measure.jobs import ComparedVisits
    from stylegan3d.segmentation.words import Person

NONE = "–"
ABOUT = (
    "Two T1-weighted scans of one person, best from one scanner and protocol: what changed, beside "
    "the test-retest error and what the norms expect. You can drop the other scan here."
)
LONGEST_YEARS = 100.0
#: Heads and tooltips of the columns of `cells_of`.
COLUMNS = (
    ("Measure", "Region or tissue."),
    ("First", "At the first visit."),
    ("Second", "At the second visit."),
    ("Change", "Second minus first; bold beyond the error."),
    ("%", "The change in per cent of the mean of both visits."),
    ("% a year", "The same for each year between the visits."),
    ("Error", "95 % of repeated scans of an unchanged brain differ by less."),
    (
        "Expected",
        "By how much the norms change in the same time at this age, sex and head size.",
    ),
)
#: Maps that can lie over the patient's scan.
MAPS = (
    ("", "Nothing"),
    ("volume", "Change of local volume, %"),
    ("intensity", "Difference of intensity"),
)


class VisitsDialog(QDialog):
    """The fields, the table and the buttons; says what the user wants, and does nothing."""

    openRequested = Signal(object)
    """Path of the other scan, or an entry of the chooser."""
    otherChanged = Signal(int)
    """Number of the other scan in the list."""
    startRequested = Signal()
    cancelRequested = Signal()
    mapChanged = Signal(str)
    saveRequested = Signal()
    closed = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("measure.visits_window")
        self.setAcceptDrops(True)
        button = controls.push_button
        self.mine = controls.hint(name="measure.visits_mine")
        self.mine.setToolTip("The patient's scan that is open.")
        self.other = controls.combo(
            "measure.visits_other",
            "The other scan of this patient: the second image, another open scan, or a file.",
        )
        self.open = button(
            "Open…",
            "measure.visits_open",
            "Open the other scan of this patient: NIfTI, MGH or DICOM.",
        )
        menu = QMenu(self)
        menu.addAction("A file…", self._ask_file)
        menu.addAction("A DICOM folder…", self._ask_folder)
        self.open.setMenu(menu)
        self.chooser = Chooser("measure.visits")
        self.order = controls.combo(
            "measure.visits_order",
            "Whether the other scan was taken before or after the open one.",
            (("earlier visit", True), ("later visit", False)),
        )
        self.years = controls.named(
            DecimalBox(),
            "measure.visits_years",
            "Years between both visits, for the rate and the expected change; 0: unknown, "
            "unless both files give the age.",
        )
        self.years.setRange(0, LONGEST_YEARS)
        self.years.setDecimals(2)
        self.years.setSingleStep(0.5)
        self.years.setSpecialValueText(NONE)
        self.years.setSuffix(" years")
        self.person = controls.hint(name="measure.visits_person")
        self.person.setToolTip(
            "Age and sex when the open scan was taken, as Measure has them; change them there."
        )
        self.site = controls.combo(
            "measure.visits_site",
            "Whose repeated scans give the test-retest error: simulated ones, or those of a "
            "calibrated site\n(stylegan3d model site, with people who were scanned twice).",
        )
        self.start = button(
            "Compare visits",
            "measure.visits_start",
            "Measure what changed; half a minute to a minute.",
            "primary",
        )
        self.cancel = button("Cancel", "measure.visits_cancel", "Stop comparing.")
        self.told = controls.hint(name="measure.visits_text")
        self.told.setToolTip("Progress, warnings, and how many changes are beyond the error.")
        self.table = controls.named(
            QTableWidget(),
            "measure.visits_table",
            "What changed; bold: by more than repeated scans differ.",
        )
        self.maps = controls.combo(
            "measure.visits_map",
            "Show on the patient's scan, second visit against first: blue smaller or darker, "
            "orange larger or brighter.",
            ((text, kind) for (kind, text) in MAPS),
        )
        self.save = button(
            "Save…", "measure.visits_save", "Save table, maps and a page to a folder."
        )
        self._lay_out()
        self._connect()
        self.show_result(None)

    def _lay_out(self) -> None:
        column = controls.stack(controls.hint(ABOUT), on=self, spacing=9, margins=(14, 12, 14, 12))
        fields = controls.form(("Open scan", self.mine), ("Other scan", self.other))
        fields.addWidget(self.open, 1, 2)
        controls.add_row(fields, "It is the", self.order)
        controls.add_row(fields, "Between them", self.years)
        controls.add_row(fields, "Person", self.person)
        controls.add_row(fields, "Error of", self.site)
        column.addLayout(fields)
        column.addWidget(self.chooser)
        buttons = controls.row(self.start, self.cancel)
        buttons.insertStretch(0, 1)
        column.addLayout(buttons)
        column.addWidget(self.told)
        column.addWidget(self.table, stretch=1)
        last = controls.row(self.save)
        last.insertLayout(0, controls.form(("In the views", self.maps)), 1)
        column.addLayout(last)
        for one in (self.open, self.start, self.cancel, self.save, self.chooser.open):
            one.setAutoDefault(False)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setColumnCount(len(COLUMNS))
        for k, (head, tip) in enumerate(COLUMNS):
            item = QTableWidgetItem(head)
            item.setToolTip(tip)
            self.table.setHorizontalHeaderItem(k, item)
        heads = self.table.horizontalHeader()
        heads.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        heads.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(controls.scaled(20))
        controls.let_shrink(self)
        self.resize(controls.scaled(640), controls.scaled(660))

    def _connect(self) -> None:
        self.start.clicked.connect(self.startRequested)
        self.cancel.clicked.connect(self.cancelRequested)
        self.save.clicked.connect(self.saveRequested)
        self.other.currentIndexChanged.connect(self.otherChanged)
        self.maps.currentIndexChanged.connect(
            lambda _index: self.mapChanged.emit(self.maps.currentData())
        )
        self.chooser.chosen.connect(self.openRequested)

    def open_beside(self, widget: QWidget) -> None:
        """Open left of a widget, over the views."""
        sites = [("simulated repeats", ""), *((name, name) for name in repeats_names())]
        controls.fill(self.site, sites, self.site.currentData())
        dialogs.open_beside(self, widget, -self.height() // 2)

    def show_pair(self, name: str, others: Sequence[str], at: int) -> None:
        """Write whose scans they are, and select an entry of the others."""
        self.setWindowTitle(f"Two visits of {name or NONE}")
        self.mine.setText(name or NONE)
        with QSignalBlocker(self.other):
            self.other.clear()
            self.other.addItems(others)
            self.other.setCurrentIndex(at)

    def show_person(self, person: Person) -> None:
        """Write age and sex at the open scan."""
        age = "age unknown" if person.age is None else f"{person.age:g} years"
        sex = {"F": "woman", "M": "man"}.get(person.sex or "", "sex unknown")
        self.person.setText(f"{age}, {sex} (change them in Measure)")

    def show_result(self, compared: ComparedVisits | None) -> None:
        """Write what was found; None empties the table."""
        visits = None if compared is None else compared.visits
        changes = [] if visits is None else list(visits.changes.values())
        years = None if visits is None else visits.years
        self.table.setRowCount(len(changes))
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for k, change in enumerate(changes):
            for column, text in enumerate(cells_of(change, years)):
                item = QTableWidgetItem(text)
                font = item.font()
                font.setBold(bool(change.beyond))
                item.setFont(font)
                if column:
                    item.setTextAlignment(right)
                else:
                    item.setToolTip(text)  # long names are cut
                self.table.setItem(k, column, item)
        self.maps.setEnabled(visits is not None)
        self.save.setEnabled(visits is not None)
        if visits is not None:
            lines = [*visits.warnings, summary_of(visits.changes)]
            lines += [note.text for note in visits.notes if note.level == "info"]
            self.told.setText("\n".join(lines))

    def show_map(self, kind: str) -> None:
        """Select a map, without a signal."""
        controls.show_value(self.maps, kind)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """A scan may be dropped."""
        if self._scan(event) is not None:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open the scan that was dropped."""
        path = self._scan(event)
        if path is not None:
            event.acceptProposedAction()
            self.openRequested.emit(path)

    def hideEvent(self, event: QHideEvent) -> None:
        """The dialog was closed."""
        self.closed.emit()
        super().hideEvent(event)

    @staticmethod
    def _scan(event: QDropEvent) -> Path | None:
        dropped = in_event(event)
        return dropped.path if dropped is not None and dropped.kind in ("scan", "dicom") else None

    def _ask_file(self) -> None:
        path = dialogs.open_file(self, "Open the other scan of this patient", dialogs.scans())
        if path is not None:
            self.openRequested.emit(path)

    def _ask_folder(self) -> None:
        path = dialogs.choose_folder(self, "Open a folder of DICOM files", Path.home())
        if path is not None:
            self.openRequested.emit(path)
