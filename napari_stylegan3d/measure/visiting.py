"""Compares two visits of the patient whose scan is open, and shows where the brain changed.

Results are known by the key of their case: whatever step of the history shows a patient, shows what
was found of that patient, and of no other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_stylegan3d.core.context import sentence
from napari_stylegan3d.core.scans import STEPS_FOLDER, Several, read_choice
from napari_stylegan3d.core.worker import JobStatus, LatestWins, LongJob
from napari_stylegan3d.measure.jobs import (
    ComparedVisits,
    MapRequest,
    VisitPair,
    compare_visits,
    map_in_views,
    save_compared,
)
from napari_stylegan3d.measure.visits import VisitsDialog
from napari_stylegan3d.widgets import dialogs
from stylegan3d.progress import Progress

if TYPE_CHECKING:
    from qtpy.QtWidgets import QPushButton, QWidget

    from napari_stylegan3d.core.context import Context
    from napari_stylegan3d.views.display import DisplayArray
    from stylegan3d.scans import Scan


class VisitsController(QObject):
    """Brings the dialog of two visits together with what works behind it.

    Parameters
    ----------
    context : Context
    button : QPushButton
        Opens the dialog.
    """

    mapWanted = Signal()
    """A map is about to lie over the patient's scan."""

    def __init__(self, context: Context, button: QPushButton) -> None:
        super().__init__(context.dock)
        self.session, self.comparison = context.session, context.comparison
        self.button, self.dialog = button, VisitsDialog(context.dock)
        #: The second image of a case, by its key; the window sets it.
        self.second: Callable[[str], Scan | None] = lambda _key: None
        self.found: dict[str, ComparedVisits] = {}
        #: What was said of a patient last, the file opened for them, and the scan that was chosen.
        self._written: dict[str, str] = {}
        self._opened: dict[str, Scan] = {}
        self._chosen: dict[str, str] = {}
        self._others: list[Scan] = []
        self._key = ""
        #: Case keys of the running jobs.
        self._reading = self._comparing = ""
        self._map: tuple[MapRequest, DisplayArray] | None = None
        self._asked: MapRequest | None = None
        self._overlaid = False
        self.reading, self.job, self.saving = LongJob(self), LongJob(self), LongJob(self)
        self.placing = LatestWins(map_in_views, self)
        self._connect()

    def _connect(self) -> None:
        dialog = self.dialog
        self.button.clicked.connect(lambda: self.open(self.button))
        dialog.openRequested.connect(self._open_other)
        dialog.otherChanged.connect(self._choose)
        dialog.startRequested.connect(self._start)
        dialog.cancelRequested.connect(self.job.cancel)
        dialog.closed.connect(self._on_closed)
        dialog.mapChanged.connect(self._on_map)
        dialog.saveRequested.connect(self._save)
        self.reading.finished.connect(self._on_read)
        self.reading.failed.connect(self._on_unread)
        self.job.progressed.connect(self._on_progress)
        self.job.finished.connect(self._on_compared)
        self.job.failed.connect(
            lambda error: self._say(self._comparing, sentence(error, "comparing visits"))
        )
        self.job.cancelled.connect(lambda: self._say(self._comparing, "Cancelled."))
        self.saving.finished.connect(lambda told: self._say(told[0], f"Saved: {told[1]}"))
        self.saving.failed.connect(
            lambda error: self._say(self._key, sentence(error, "saving what changed"))
        )
        for job in (self.reading, self.job, self.saving):
            job.runningChanged.connect(lambda _running: self._enable())
        self.placing.ready.connect(self._on_placed)
        self.placing.failed.connect(
            lambda request, error: self._say(
                request.compared.pair.key, sentence(error, "showing what changed")
            )
        )
        self.session.caseChanged.connect(self._on_case)
        self.comparison.viewChanged.connect(lambda _view: self._overlay())
        self.comparison.placedChanged.connect(self._overlay)
        self._on_case()

    def open(self, beside: QWidget) -> None:
        """Open the dialog beside a button, for the patient whose scan is open."""
        self._show()
        self.dialog.open_beside(beside)

    def shutdown(self) -> None:
        """Close; results of running jobs are discarded."""
        self.dialog.hide()
        for job in (self.reading, self.job, self.saving, self.placing):
            job.shutdown()

    def _on_case(self) -> None:
        case = self.session.case
        self.button.setEnabled(case is not None and case.scan is not None)
        key = "" if case is None or case.scan is None else case.key
        if key != self._key:
            self._key = key
            self.dialog.chooser.hide()
            self.dialog.show_map("")
        if self.dialog.isVisible():
            self._show()
        self._overlay()

    def _show(self) -> None:
        """Write what is known of the current patient."""
        case, dialog = self.session.case, self.dialog
        self._others = self._candidates()
        hashes = [scan.sha256 for scan in self._others]
        chosen = self._chosen.get(self._key, "")
        at = hashes.index(chosen) if chosen in hashes else 0 if hashes else -1
        name = "" if case is None or not self._key else case.name
        dialog.show_pair(name, [scan.path.name for scan in self._others], at)
        self._choose(at)
        self.show_person()
        dialog.told.setText("")
        dialog.show_result(self.found.get(self._key))
        if self._key in self._written:
            dialog.told.setText(self._written[self._key])

    def show_person(self) -> None:
        """Write age and sex of the person, as Measure has them of the open scan."""
        case = self.session.case
        if case is not None and case.scan is not None:
            self.dialog.show_person(self.session.person_in(case.scan)[0])

    def _candidates(self) -> list[Scan]:
        """Scans that may be another visit of the current patient, the likeliest first."""
        case = self.session.case
        if case is None or case.scan is None:
            return []
        beside = self.second(self._key)
        others = [other.scan for other in reversed(self.session.cases) if other.key != case.key]
        every = [self._opened.get(self._key), beside, *others]
        known = {scan.sha256: scan for scan in reversed(every) if scan is not None}
        return [scan for sha256, scan in reversed(known.items()) if sha256 != case.scan.sha256]

    def _choose(self, at: int) -> None:
        """Another scan is to be compared: take order and years from the ages in both files."""
        case = self.session.case
        if not 0 <= at < len(self._others) or case is None or case.scan is None:
            self._enable()
            return
        other = self._others[at]
        again = self._chosen.get(self._key) == other.sha256
        self._chosen[self._key] = other.sha256
        pair = None if self._key not in self.found else self.found[self._key].pair
        dialog, mine = self.dialog, case.scan.person.age
        if pair is not None and pair.other.sha256 == other.sha256:
            dialog.years.setValue(pair.years or 0)
            dialog.order.setCurrentIndex(dialog.order.findData(pair.earlier))
        elif not again or not dialog.isVisible():
            age = other.person.age
            known = mine is not None and age is not None and mine != age
            dialog.years.setValue(abs((mine or 0) - (age or 0)) if known else 0)
            earlier = not known or (age or 0) < (mine or 0)
            dialog.order.setCurrentIndex(dialog.order.findData(earlier))
        self._enable()

    def _open_other(self, choice: Any) -> None:
        if self._key and not self.reading.running:
            self._reading = self._key
            self.dialog.chooser.hide()
            self._say(self._key, "Reading the scan")
            self.reading.start(_read, choice)

    def _on_read(self, result: Scan | Several) -> None:
        key = self._reading
        self._written.pop(key, None)
        if isinstance(result, Several):
            if key == self._key:
                self.dialog.chooser.ask(result.question, result.entries)
                self.dialog.told.setText("")
            return
        self._opened[key] = result
        self._chosen[key] = result.sha256
        if key == self._key:
            self._show()

    def _on_unread(self, error: Exception) -> None:
        self._say(self._reading, sentence(error, "opening the scan"))

    def _start(self) -> None:
        case, at = self.session.case, self.dialog.other.currentIndex()
        if case is None or case.scan is None or not 0 <= at < len(self._others):
            return
        self.dialog.show_map("")
        self.found.pop(self._key, None)
        self.dialog.show_result(None)
        self._overlay()
        self._comparing = self._key
        pair = VisitPair(
            self._key,
            case.name,
            case.scan,
            self._others[at],
            self.dialog.order.currentData(),
            self.dialog.years.value() or None,
            self.session.person_in(case.scan)[0],
            self.dialog.site.currentData() or "",
            self.session.norms,
            self.session.folder / STEPS_FOLDER,
        )
        self.job.start(compare_visits, pair)

    def _on_progress(self, progress: JobStatus) -> None:
        self._say(self._comparing, f"{progress.text}: {round(100 * progress.fraction)} %")

    def _on_compared(self, compared: ComparedVisits) -> None:
        key = compared.pair.key
        self.found[key] = compared
        self._written.pop(key, None)
        if key == self._key:
            self.dialog.show_result(compared)
            self._enable()

    def _save(self) -> None:
        compared = self.found.get(self._key)
        folder = dialogs.choose_folder(self.dialog, "Save what changed to a folder", Path.home())
        if compared is not None and folder is not None:
            self.saving.start(_save, compared, folder)

    def _say(self, key: str, words: str) -> None:
        """Say something of a patient, now or when that patient is shown again."""
        self._written[key] = words
        if key == self._key:
            self.dialog.told.setText(words)

    def _enable(self) -> None:
        dialog, busy = self.dialog, self.job.running
        dialog.start.setEnabled(bool(self._others) and not busy and bool(self._key))
        dialog.cancel.setEnabled(busy)
        dialog.open.setEnabled(bool(self._key) and not self.reading.running)
        found = self._key in self.found
        dialog.maps.setEnabled(found)
        dialog.save.setEnabled(found and not self.saving.running)
        for one in (dialog.other, dialog.order, dialog.years, dialog.site):
            one.setEnabled(bool(self._others) and not busy)

    def _on_closed(self) -> None:
        """Nobody waits for a comparison, and its map goes."""
        self.job.cancel()
        self.dialog.show_map("")
        self._overlay()

    def _on_map(self, kind: str) -> None:
        """Show the scan that a map lies on."""
        if kind:
            self.mapWanted.emit()
            if self.session.shown.what != "scan":
                self.session.look("scan")
        self._overlay()

    def _overlay(self) -> None:
        """Lay the chosen map over the views while they show the patient's scan."""
        wanted = self._wanted_map()
        if wanted is not None and self._map is not None and _same(self._map[0], wanted):
            self._draw(*self._map)
            return
        # A map in an earlier place would keep the views where the scan no longer is.
        if self._overlaid:
            self._overlaid = False
            self.comparison.stage.overlay.hide()
        if wanted is not None and (self._asked is None or not _same(self._asked, wanted)):
            self.placing.submit(wanted)
        self._asked = wanted

    def _wanted_map(self) -> MapRequest | None:
        case, kind = self.session.case, self.dialog.maps.currentData()
        compared = self.found.get(self._key)
        scan_shown = self.session.shown.what == "scan" and self.comparison.view == "scan"
        if case is None or compared is None or not kind or not scan_shown:
            return None
        placed = self.session.placed
        return MapRequest(compared, kind, None if placed is None else placed.rigid)

    def _on_placed(self, request: MapRequest, found: DisplayArray) -> None:
        self._map = request, found
        self._overlay()

    def _draw(self, request: MapRequest, found: DisplayArray) -> None:
        from stylegan3d.segmentation.visits import FULL_PERCENT

        self._overlaid = True
        if request.kind == "volume":
            label, unit, limit = "Local volume since the first visit", "%", FULL_PERCENT
        else:
            label, unit, limit = "Intensity since the first visit", "", None
        self.comparison.stage.overlay.show(found, label, unit, limit)


def _same(a: MapRequest, b: MapRequest) -> bool:
    return a.compared is b.compared and a.kind == b.kind and a.rigid is b.rigid


def _read(report: Progress, choice: Any) -> Scan | Several:
    """In a thread."""
    report(0, 1, "Reading the scan")
    return read_choice(choice)


def _save(report: Progress, compared: ComparedVisits, folder: Path) -> tuple[str, Path]:
    """In a thread; whose it is, and the page."""
    return compared.pair.key, save_compared(report, compared, folder)
