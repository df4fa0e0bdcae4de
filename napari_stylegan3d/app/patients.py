"""The list of the open patients: who is on the screen, what is done, what runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QColor, QFontMetrics, QPainter, QPalette
from qtpy.QtWidgets import (
    QLabel,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QMessageBox,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from napari_stylegan3d.core.session import Session
from napari_stylegan3d.core.worker import LongJob
from napari_stylegan3d.history.strip import row_height
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.theme import DARK, LIGHT
from stylegan3d.base import Progress
from stylegan3d.pages.shortening import told_apart
from stylegan3d.recipe.description import describe_recipe
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.session.case import Case
from stylegan3d.session.provenance import NAME_LENGTH
from stylegan3d.session.state import NOBODY
from stylegan3d.session.workspace import StateChange
from stylegan3d.storage.about import ORIGIN_NAMES

WIDTH, FOLDED = 216, 54
KEY, STATUS, BAD = (Qt.ItemDataRole.UserRole + k for k in range(3))
MARGIN = 4
NO_IDENTITY = "Its files name no patient: NIfTI, MGH and Analyze hold none."


class PatientDelegate(QStyledItemDelegate):
    """The name, shortened in its middle, above what is done and what runs."""

    def sizeHint(self, option: QStyleOptionViewItem, _index: Any) -> QSize:
        """Two lines."""
        return QSize(0, 2 * QFontMetrics(option.font).height() + MARGIN)

    def paint(self, painter: QPainter | None, option: QStyleOptionViewItem, index: Any) -> None:
        """Draw one patient."""
        if painter is None:
            return
        style, rect = option.widget.style(), option.rect.adjusted(6, 1, -4, -1)
        style.drawPrimitive(
            QStyle.PrimitiveElement.PE_PanelItemViewItem, option, painter, option.widget
        )
        chosen = bool(option.state & QStyle.StateFlag.State_Selected)
        group = QPalette.ColorRole.HighlightedText if chosen else QPalette.ColorRole.Text
        metrics = QFontMetrics(option.font)
        painter.save()
        painter.setPen(option.palette.color(group))
        name = metrics.elidedText(index.data(), Qt.TextElideMode.ElideMiddle, rect.width())
        painter.drawText(rect, Qt.AlignmentFlag.AlignTop, name)
        if index.data(BAD):
            dark = option.palette.text().color().lightness() > 127
            painter.setPen(QColor((DARK if dark else LIGHT).error))
        elif not chosen:
            painter.setOpacity(0.7)
        words = metrics.elidedText(index.data(STATUS), Qt.TextElideMode.ElideRight, rect.width())
        painter.drawText(rect, Qt.AlignmentFlag.AlignBottom, words)
        painter.restore()


class PatientList(QWidget):
    """The synthetic brains and every open patient; a click shows one.

    Parameters
    ----------
    session : Session
    task_of : callable
        What runs or waits for the patient with a key, in words; empty for nothing.
    """

    def __init__(self, session: Session, task_of: Callable[[str], str]) -> None:
        super().__init__()
        self.setObjectName("patients")
        self.session, self._task_of = session, task_of
        self.list = controls.named(
            QListWidget(), "patients.list", "Open patients; click one to show it."
        )
        self.list.setItemDelegate(PatientDelegate(self.list))
        self.list.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setFrameShape(QListWidget.Shape.NoFrame)
        self.list.setUniformItemSizes(True)
        self.identity = LongJob(
            self, self._show_identity, session.messages.slot("reading the patient's name")
        )
        self.fold(False)
        title = QLabel("Patients")
        title.setProperty("role", "hint")
        controls.stack(title, self.list, on=self, spacing=0, margins=(6, 2, 0, 2))
        self.list.itemClicked.connect(lambda item: self._show(item.data(KEY)))
        self.list.itemActivated.connect(lambda item: self._show(item.data(KEY)))
        self.list.customContextMenuRequested.connect(self._open_menu)
        session.changed.connect(self._on_change)
        self.refresh()

    def fold(self, folded: bool) -> None:
        """As high as the history, or one patient high while that is folded."""
        height = controls.scaled(FOLDED) if folded else row_height()
        self.setFixedSize(controls.scaled(WIDTH), height)
        self.list.scrollToItem(self.list.currentItem())

    def refresh(self) -> None:
        """Show who is open, and what runs."""
        session = self.session
        rows = [(NOBODY, "Synthetic brains", describe_recipe(Recipe(session.synthetic.source)), "")]
        for case in session.patients:
            rows.append((case.key, case.name, self.status_of(case), self._place(case)))
        for case in session.arriving:
            told = f"not opened: {case.problem}" if case.problem else self._task_of(case.key)
            rows.append((case.key, case.name, told, case.problem or self._place(case)))
        refused = {case.key for case in session.arriving if case.problem}
        self._fit(len(rows))
        for row, (key, name, status, tip) in enumerate(rows):
            item = self._item(row)
            shown = told_apart(name, [other for _key, other, *_rest in rows], NAME_LENGTH)
            for role, value in (
                (Qt.ItemDataRole.DisplayRole, shown),
                (KEY, key),
                (STATUS, status),
                (BAD, key in refused),
                (Qt.ItemDataRole.ToolTipRole, "\n".join(filter(None, (name, status, tip)))),
                (Qt.ItemDataRole.AccessibleTextRole, f"{name}, {status}"),
            ):
                if item.data(role) != value:
                    item.setData(role, value)
            if key == session.key and self.list.currentRow() != row:
                self.list.setCurrentRow(row)

    def _on_change(self, change: StateChange) -> None:
        """A slider that is dragged changes nothing in the list, but for whom it shows."""
        told = not change.live and change.parts - {"annotations"}
        if change.another_subject or told:
            self.refresh()

    def status_of(self, case: Case) -> str:
        """What is done and what runs, in words."""
        if task := self._task_of(case.key):
            return task
        if case.key in self.session.ready:
            return "another projection is ready: show"
        if case.problem:
            return case.problem
        done = "aligned" if case.aligned is not None else ""
        if any(one.key == case.key for one in self.session.projected):
            done = "projected"
        elif case.scan is None and case.choice is not None:
            done = "read when it is shown"
        made = "" if case.origin == "acquired" else ORIGIN_NAMES[case.origin].lower()
        return ", ".join(filter(None, (made, done))) or "scan"

    def menu(self, key: str) -> QMenu:
        """What can be done with a patient."""
        menu = QMenu(self)
        case = next((one for one in self.session.patients if one.key == key), None)
        if case is not None:
            menu.addAction("Show", lambda: self._show(key))
            menu.addAction("Name, ID and dates…", lambda: self._ask_identity(case))
        menu.addAction("Close", lambda: self.session.close_patient(key))
        return menu

    def _show(self, key: str) -> None:
        self.session.show(key)
        self.refresh()  # one that is being read stays unmarked

    def _open_menu(self, where: Any) -> None:
        item = self.list.itemAt(where)
        if item is not None and item.data(KEY) != NOBODY:
            menu = self.menu(item.data(KEY))
            menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            menu.popup(self.list.mapToGlobal(where))

    def _ask_identity(self, case: Case) -> None:
        if case.choice is None or not case.is_dicom:
            self._show_identity((case.name, NO_IDENTITY))
        elif not self.identity.running:
            self.identity.start(_read_identity, case.name, case.choice.path, case.choice.series)

    def _show_identity(self, told: tuple[str, str]) -> None:
        box = QMessageBox(QMessageBox.Icon.NoIcon, told[0], told[1], parent=self)
        box.setObjectName("patients.identity")
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()

    @staticmethod
    def _place(case: Case) -> str:
        return "" if case.path is None else str(case.path)

    def _fit(self, count: int) -> None:
        while self.list.count() > count:
            self.list.takeItem(self.list.count() - 1)
        while self.list.count() < count:
            self.list.addItem(QListWidgetItem())

    def _item(self, row: int) -> QListWidgetItem:
        item = self.list.item(row)
        assert item is not None
        return item


def _read_identity(report: Progress, name: str, path: Path, series: str | None) -> tuple[str, str]:
    """In a thread; what a DICOM header says, which is written to no file."""
    from stylegan3d.scans.dicom import identity_of

    report(0, 1)
    told = identity_of(path, series)
    return name, "\n".join(f"{label}: {value or 'not given'}" for label, value in told.items())
