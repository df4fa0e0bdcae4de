"""Groups of people compared: a table, what is compared, and where the brains differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QDragEnterEvent, QDropEvent, QHideEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QHeaderView,
    QListWidget,
    QListWidgetItem,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_stylegan3d.core.context import sentence
from napari_stylegan3d.core.scans import files_in
from napari_stylegan3d.core.worker import JobStatus, LongJob
from napari_stylegan3d.directions.jobs import Compared, compare_people, save_compared
from napari_stylegan3d.widgets import controls, dialogs
from napari_stylegan3d.widgets.forms import Form
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.evaluation.settings import GroupSettings

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from stylegan3d.directions.value_table import ValueTable

ABOUT = (
    "A CSV or TSV file with a row for each brain. The first column names the brains: a latent file "
    "(.safetensors, in the folder of the table), a scan projected in this session, or a number. "
    "Compare a column of words (two or more groups) or of numbers; participant_id says which scans "
    "are of the same subject. You can also drop the table here."
)
TABLES = (".csv", ".tsv", ".txt")
#: Of false discovery, below which a region is written in bold.
RATE = 0.05


class PeopleDialog(QDialog):
    """Open a table, choose columns, compare, look, save.

    Parameters
    ----------
    parent : QWidget
        The dock.
    """

    kept = Signal(object)
    """Directions: the way from group to group, which the user adds."""
    wanted = Signal(object, int)
    """(Compared, number of the contrast) to show on the average brain."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self.session = session
        self.setObjectName("directions.people_window")
        self.setWindowTitle("Compare groups of subjects")
        self.setAcceptDrops(True)
        self.job = LongJob(self)
        self.table: ValueTable | None = None
        self.compared: Compared | None = None
        button = controls.push_button
        self.open = button(
            "Open a table…", "directions.people_table", "Choose a CSV or TSV file of people."
        )
        self.path = controls.hint(name="directions.people_path")
        self.by = controls.combo(
            "directions.people_by", "Column that is compared: groups or a number."
        )
        self.fixed = controls.named(
            QListWidget(), "directions.people_fixed", "Columns whose influence is removed."
        )
        self.fixed.setMaximumHeight(controls.scaled(84))
        self.form = Form(GroupSettings, "directions.people_", only=("permutations",))
        self.start = button(
            "Compare groups",
            "directions.people_start",
            "",
            "primary",
        )
        self.cancel = button("Cancel", "directions.people_cancel", "Stop comparing.")
        self.told = controls.hint(name="directions.people_text")
        self.contrast = controls.combo(
            "directions.people_contrast", "Groups whose difference is shown."
        )
        self.regions = controls.named(
            QTableWidget(),
            "directions.people_regions",
            "Mean volume, difference in %, p and false discovery rate q; bold: q at most 0.05.",
        )
        self.show_it = button(
            "Show on the average brain",
            "directions.people_show",
            "Show the average of all brains, in colours where the groups differ (q ≤ 0.05).",
        )
        self.keep = button(
            "Add direction",
            "directions.people_keep",
            "Add the direction from group to group to your list.",
        )
        self.save = button(
            "Save…", "directions.people_save", "Save maps, tables and a page to a folder."
        )
        self._lay_out()
        self._connect()
        self._show_result(None)
        self._offer_start()

    def _lay_out(self) -> None:
        column = controls.stack(
            controls.hint(ABOUT),
            controls.row(self.open, self.path, stretch=1),
            controls.form(
                ("Compare", self.by),
                ("Adjust for", self.fixed),
                self.form.row("permutations"),
            ),
            on=self,
            spacing=9,
            margins=(14, 12, 14, 12),
        )
        buttons = controls.row(self.start, self.cancel)
        buttons.insertStretch(0, 1)
        column.addLayout(buttons)
        column.addWidget(self.told)
        column.addLayout(controls.form(("Difference", self.contrast)))
        column.addWidget(self.regions, stretch=1)
        last = controls.row(self.show_it, self.keep, self.save)
        last.insertStretch(0, 1)
        column.addLayout(last)
        for one in (self.open, self.start, self.cancel, self.show_it, self.keep, self.save):
            one.setAutoDefault(False)
        self.regions.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.regions.verticalHeader().hide()
        self.regions.verticalHeader().setDefaultSectionSize(controls.scaled(20))
        controls.let_shrink(self)
        self.resize(controls.scaled(560), controls.scaled(660))

    def _connect(self) -> None:
        self.open.clicked.connect(self._open)
        self.start.clicked.connect(self._start)
        self.cancel.clicked.connect(self.job.cancel)
        self.by.currentIndexChanged.connect(self._on_by)
        self.fixed.itemChanged.connect(lambda _: self._show_result(None))
        self.form.changed.connect(lambda: self._show_result(None))
        self.job.progressed.connect(self._on_progress)
        self.job.finished.connect(self._on_finished)
        self.job.failed.connect(self._on_failed)
        self.job.cancelled.connect(lambda: self.told.setText("Cancelled."))
        self.job.runningChanged.connect(self._on_running)
        self.show_it.clicked.connect(
            lambda: self.wanted.emit(self.compared, self.contrast.currentIndex())
        )
        self.keep.clicked.connect(self._keep)
        self.save.clicked.connect(self._save)
        self.session.modelChanged.connect(lambda _: self._leave())

    def open_beside(self, widget: QWidget) -> None:
        """Open left of a widget, over the views."""
        dialogs.open_beside(self, widget)

    def open_table(self, path: Path) -> None:
        """Read a table and list its columns."""
        from stylegan3d.directions.value_table import read_value_table
        from stylegan3d.evaluation.groups import HEAD_SIZE

        self._show_result(None)
        try:
            self.table = read_value_table(path)
        except StyleGAN3DError as error:
            self._on_failed(error)
            return
        count = len(self.table.brains)
        self.path.setText(f"{path.name}: {count} brains")
        self.by.clear()
        self.by.addItems(list(self.table.columns))
        self.fixed.clear()
        for name in (*self.table.columns, HEAD_SIZE):
            item = QListWidgetItem(name)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Unchecked)
            self.fixed.addItem(item)
        self._on_by()
        self._offer_start()

    def hold_fixed(self) -> list[str]:
        """The columns that are ticked, without the one that is compared."""
        items = [self.fixed.item(k) for k in range(self.fixed.count())]
        ticked = [item.text() for item in items if item.checkState() == Qt.CheckState.Checked]
        return [name for name in ticked if name != self.by.currentText()]

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """A table may be dropped."""
        if any(Path(file).suffix.lower() in TABLES for file in files_in(event)):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open the table that was dropped."""
        tables = [Path(f) for f in files_in(event) if Path(f).suffix.lower() in TABLES]
        if tables:
            event.acceptProposedAction()
            self.open_table(tables[0])

    def hideEvent(self, event: QHideEvent) -> None:
        """The dialog was closed: cancel the job."""
        self.job.cancel()
        super().hideEvent(event)

    def shutdown(self) -> None:
        """Close; the result of a running job is discarded."""
        self.hide()
        self.job.shutdown()

    def _leave(self) -> None:
        """Another model is open: what was compared is of the one before."""
        self.hide()
        self._show_result(None)

    def _open(self) -> None:
        path = dialogs.open_file(self, "Open a table of people", dialogs.TABLES)
        if path is not None:
            self.open_table(path)

    def _on_by(self, _index: int = 0) -> None:
        """What is compared cannot be held fixed."""
        self._show_result(None)
        for k in range(self.fixed.count()):
            item = self.fixed.item(k)
            item.setHidden(item.text() == self.by.currentText())

    def _start(self) -> None:
        generator = self.session.generator
        self._show_result(None)
        if self.table is None or generator is None:
            return
        projected = {scan.name: scan.source for scan in self.session.projected if scan.source}
        by, fixed = self.by.currentText(), self.hold_fixed()
        self.job.start(compare_people, generator, self.table, by, fixed, projected, self.form.value)

    def _save(self) -> None:
        folder = dialogs.choose_folder(self, "Save the comparison to a folder", Path.home())
        if folder is not None and self.compared is not None:
            self.job.start(save_compared, self.compared, folder)

    def _keep(self) -> None:
        if self.compared is not None and self.compared.found.direction is not None:
            self.kept.emit(self.compared.found.direction)

    def _on_progress(self, progress: JobStatus) -> None:
        self.told.setText(f"{progress.text}: {progress.done:.0f} of {progress.total:.0f}")

    def _on_finished(self, result: Any) -> None:
        if isinstance(result, Path):
            self.told.setText(f"Saved: {result}")
        elif self.session.generator is result.generator:
            self._show_result(result)

    def _on_failed(self, error: Exception) -> None:
        self.told.setText(sentence(error, "comparing groups"))

    def _on_running(self, running: bool) -> None:
        self.cancel.setEnabled(running)
        permutations = self.form.native("permutations")
        for one in (self.open, self.by, self.fixed, permutations):
            one.setEnabled(not running)
        self._offer_start()

    def _offer_start(self) -> None:
        """A comparison needs a table."""
        self.start.setEnabled(self.table is not None and not self.job.running)
        self.start.setToolTip(
            "Open a table of people first."
            if self.table is None
            else "Compare; a second or two for each brain."
        )

    def _show_result(self, compared: Compared | None) -> None:
        """Write what was found; None empties the table."""
        self.compared = compared
        words = compared.told if compared is not None else ""
        self.told.setText(words)
        self.contrast.clear()
        self.contrast.addItems(compared.contrasts if compared is not None else [])
        direction = compared is not None and compared.found.direction is not None
        self.show_it.setEnabled(compared is not None)
        self.save.setEnabled(compared is not None)
        self.keep.setEnabled(direction)
        self.cancel.setEnabled(self.job.running)
        rows = compared.found.regions if compared is not None else []
        names = compared.contrasts if compared is not None else []
        heads = ["difference, %"] if len(names) == 1 else [f"{name}, %" for name in names]
        self.regions.setColumnCount(4 + len(heads))
        self.regions.setHorizontalHeaderLabels(["Region", "ml", *heads, "p", "q"])
        self.regions.setRowCount(len(rows))
        for k, row in enumerate(rows):
            effects = [f"{effect:+.1f}" for effect in row["effect_percent"]]
            cells = [row["region"], f"{row['ml']:.1f}", *effects]
            for column, text in enumerate([*cells, _chance(row["p"]), _chance(row["q"])]):
                item = QTableWidgetItem(text)
                font = item.font()
                font.setBold(row["q"] <= RATE)
                item.setFont(font)
                self.regions.setItem(k, column, item)
        columns = self.regions.horizontalHeader()
        columns.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        columns.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)


def _chance(value: float) -> str:
    """A probability with three decimals."""
    return f"{value:.3f}" if value >= 0.0005 else "< 0.001"
