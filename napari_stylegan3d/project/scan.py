"""Opening a scan: drop area, file dialogs, choice of series, question about left and right."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent
from qtpy.QtWidgets import (
    QFrame,
    QMenu,
    QWidget,
)

from napari_stylegan3d.core.scans import SAMPLES, in_event, sample_path, sentence
from napari_stylegan3d.widgets import controls, dialogs
from napari_stylegan3d.widgets.controls import Chooser
from napari_stylegan3d.widgets.elided import NameLabel, WrappedLabel
from stylegan3d.session.case import Case, Choice

NO_SCAN = "Drop a T1-weighted scan here, or"
NOT_OPEN = "Its scan is not open in this session: open it to compare."


class DropArea(QFrame):
    """Drop area for scans."""

    dropped = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("project.drop")
        self.setProperty("role", "drop")
        self.setAcceptDrops(True)
        self.setToolTip("Drop a T1-weighted scan here: NIfTI, MGH, or a DICOM file or folder.")

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Accept scans; other files are left to the explorer."""
        if self._scan(event):
            event.acceptProposedAction()
            self._highlight(True)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        """Remove the highlight."""
        self._highlight(False)

    def dropEvent(self, event: QDropEvent) -> None:
        """Open a file, a folder, or the slices of a DICOM folder."""
        self._highlight(False)
        path = self._scan(event)
        if path:
            event.acceptProposedAction()
            self.dropped.emit(path)

    @staticmethod
    def _scan(event: QDropEvent) -> Path | None:
        dropped = in_event(event)
        return dropped.path if dropped is not None and dropped.kind in ("scan", "dicom") else None

    def _highlight(self, over: bool) -> None:
        self.setProperty("over", over)
        self.style().unpolish(self)
        self.style().polish(self)


class ScanBox(QWidget):
    """The open scan, buttons to open another, and questions about it."""

    openRequested = Signal(object)
    """Choice"""

    def __init__(self) -> None:
        super().__init__()
        self._choice: Choice | None = None
        self.drop = DropArea()
        self.name = controls.named(NameLabel("No scan yet"), "project.name")
        self.name.setProperty("role", "figure")
        self.details = controls.hint(NO_SCAN, "project.details")
        self.open = controls.push_button(
            "Open scan…",
            "project.open",
            "Open a T1-weighted scan: a NIfTI, MGH or DICOM file, or a DICOM folder.",
        )
        self.sample = controls.push_button(
            "Samples", "project.sample", "Open one of the two bundled real brains."
        )
        self.chooser = Chooser()
        self.arriving = controls.named(WrappedLabel(), "project.arriving")
        self.arriving.hide()
        self.doubts = controls.named(WrappedLabel(), "project.doubts")
        self.doubts.setProperty("role", "caution")
        self.orientation = controls.combo(
            "project.trust", "Set the orientation, if you know it; the scan is then read again."
        )
        self._lay_out()
        self._connect()
        self._show_doubts(None)

    def _lay_out(self) -> None:
        controls.stack(
            self.name,
            self.details,
            self.arriving,
            self.chooser,
            self.doubts,
            self.orientation,
            controls.row(self.open, self.sample, stretch=0),
            on=self.drop,
            margins=(12, 12, 12, 12),
        )
        controls.stack(self.drop, on=self, spacing=-1)

    def _connect(self) -> None:
        self.drop.dropped.connect(self._request)
        menu = QMenu(self)
        menu.addAction("A file…", self._ask_file)
        menu.addAction("A DICOM folder…", self._ask_folder)
        self.open.setMenu(menu)
        menu = QMenu(self)
        for key, text in SAMPLES.items():
            menu.addAction(text, lambda k=key: self._request(sample_path(k)))
        self.sample.setMenu(menu)
        self.chooser.chosen.connect(self.openRequested)
        self.orientation.activated.connect(self._answer)

    def show_case(self, case: Case | None) -> None:
        """Show the name of the case and notes from reading its scan."""
        self._choice = None if case is None else case.choice
        self.name.setText("No scan yet" if case is None else case.name)
        self.details.setText("\n".join(notes_of(case)))
        self.name.setToolTip("" if case is None or case.path is None else str(case.path))
        self._show_doubts(case)

    def show_arriving(self, case: Case | None, now: Case | None) -> None:
        """Show the scan that is being read or failed to be read, beside the open one.

        Either may be None.
        """
        if case is not None:
            self.chooser.hide()
        refused = case is not None and bool(case.problem)
        self.arriving.setText("" if case is None else " ".join(_of_arriving(case, now)))
        controls.set_role(self.arriving, "error" if refused else "caution")
        self.arriving.setVisible(case is not None)

    def set_enabled(self, enabled: bool) -> None:
        """Whether another scan may be opened now."""
        for widget in (self.open, self.sample, self.chooser, self.orientation):
            widget.setEnabled(enabled)

    def _show_doubts(self, case: Case | None) -> None:
        doubts = doubts_of(case)
        self.doubts.setText("\n".join(doubts))
        self.orientation.clear()
        for text, orientation in answers_of(case):
            self.orientation.addItem(text, orientation)
        if case is not None and case.choice is not None:
            controls.show_value(self.orientation, case.choice.orientation)
        for widget in (self.doubts, self.orientation):
            widget.setVisible(bool(doubts))

    def _answer(self) -> None:
        if self._choice is not None and self.orientation.currentData() != self._choice.orientation:
            self.openRequested.emit(self._choice.oriented(self.orientation.currentData()))

    def _request(self, path: Path) -> None:
        self.openRequested.emit(Choice(Path(path)))

    def _ask_file(self) -> None:
        path = dialogs.open_file(self, "Open a T1-weighted scan", dialogs.scans())
        if path is not None:
            self._request(path)

    def _ask_folder(self) -> None:
        path = dialogs.choose_folder(self, "Open a folder of DICOM files", Path.home())
        if path is not None:
            self._request(path)


def _of_arriving(case: Case, now: Case | None) -> list[str]:
    """Sentences about a scan that is being read or failed to be read."""
    if case.problem:
        lines = [f"{case.name} was not opened: {case.problem}"]
    else:
        lines = [f"Reading {case.name}… Project waits until it is read."]
    if now is not None:
        lines.append(f"Panel and views still show {now.name}.")
    return lines


def asked_of(case: Case | None) -> tuple[str, ...]:
    """The reader's doubts about left and right, untranslated."""
    if case is None or case.scan is None:
        return ()
    return tuple(case.scan.doubts) or (case.choice.asked if case.choice else ())


def notes_of(case: Case | None) -> list[str]:
    """Notes from reading a scan, without the doubts, which become questions."""
    if case is None:
        return [NO_SCAN]
    if case.scan is None:
        return [NOT_OPEN]
    asked = asked_of(case)
    return [str(note) for note in case.scan.notes if note.text not in asked]


def doubts_of(case: Case | None) -> tuple[str, ...]:
    """Why left and right are uncertain, without hints for the command line; or the answer."""
    orientation = None if case is None or case.choice is None else case.choice.orientation
    chosen = [
        text for text, answer in answers_of(case) if answer is not None and answer == orientation
    ]
    if chosen:
        words = "The header leaves left and right open. You chose: {answer}."
        return (words.format(answer=chosen[0]),)
    return tuple(sentence(doubt.split(": if ")[0]) for doubt in asked_of(case))


def answers_of(case: Case | None) -> list[tuple[str, str | None]]:
    """Possible answers to the doubts: text, and `orientation` of `read_scan`."""
    if case is None or case.scan is None or not asked_of(case):
        return []
    geometry = case.scan.geometry
    if geometry["sform_code"] and geometry["qform_code"]:
        return [("Use the sform", None), ("Use the qform", "qform")]
    assumed = "LAS"
    every = sorted(
        "".join(code) for axes in permutations(("RL", "AP", "SI")) for code in product(*axes)
    )
    others = [(f"Axes {code}", code) for code in every if code != assumed]
    others.sort(key=lambda answer: answer[1] != "RAS")
    return [(f"Unknown: assume {assumed}", None), *others]
