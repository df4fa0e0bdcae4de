"""Volumes of what is shown: measured in a thread once the full picture is there."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import QObject, QSignalBlocker, Signal
from qtpy.QtGui import QHideEvent
from qtpy.QtWidgets import QDialog, QPushButton, QWidget

from napari_stylegan3d.core.panel import Context
from napari_stylegan3d.core.rendering import by_content
from napari_stylegan3d.core.scans import STEPS_FOLDER, Several, read_choice, scan_in
from napari_stylegan3d.core.session import sentence
from napari_stylegan3d.core.tissues import make_layer
from napari_stylegan3d.core.worker import JobStatus, LatestWins, LongJob, Newest
from napari_stylegan3d.measure import jobs
from napari_stylegan3d.measure.panel import MeasureBox, as_table
from napari_stylegan3d.views.display import DisplayArray, put, upright
from napari_stylegan3d.views.layers import OwnLayer
from napari_stylegan3d.widgets import controls, dialogs
from napari_stylegan3d.widgets.controls import Chooser
from stylegan3d.base import Progress, facts_in
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.scans.person import SEXES
from stylegan3d.scans.verdicts import NO_FIGURES
from stylegan3d.segmentation.changes import cells_of, summary_of
from stylegan3d.segmentation.classes import Person
from stylegan3d.segmentation.norms import repeats_names
from stylegan3d.session.provenance import in_words, subject_of
from stylegan3d.storage.about import ORIGIN_NAMES
from stylegan3d.storage.bids import entity
from stylegan3d.storage.formats import scan_stem

if TYPE_CHECKING:
    from napari_stylegan3d.core.jobs import DerivedVolume
    from stylegan3d.model.generator import Generator
    from stylegan3d.scans import AlignedScan, Scan
    from stylegan3d.segmentation.numbers import Numbers
    from stylegan3d.session.workspace import StateChange

NONE = "–"
ABOUT = (
    "Two T1-weighted scans of one person, best from one scanner and protocol: what changed, beside "
    "the test-retest error and what the norms expect. You can drop the other scan here."
)
LONGEST_YEARS = 100.0
#: Heads and tooltips of the columns of `cells_of`.
COLUMNS = (
    ("Measure", "Region or tissue."),
    ("Baseline", "At the first visit."),
    ("Follow-up", "At the second visit."),
    ("Change", "Follow-up minus baseline; bold beyond the error."),
    ("%", "The change in per cent of the mean of both visits."),
    ("% a year", "The same for each year between the visits."),
    ("Error", "95 % of repeated scans of an unchanged brain differ by less."),
    ("Expected", "Norm-predicted change over the same time at this age, sex and head size."),
)
OTHERWISE = "The settings have changed since the comparison: press Compare visits again."
#: Maps that can lie over the patient's scan.
MAPS = (
    ("", "Nothing"),
    ("volume", "Change of local volume, %"),
    ("intensity", "Difference of intensity"),
)


class VisitsDialog(QDialog):
    """The fields, the table and the buttons; says what the user wants, and does nothing."""

    #: Path of the other scan, or an entry of the chooser.
    openRequested = Signal(object)
    closed = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("measure.visits_window")
        dialogs.DropOn(self, scan_in, self.openRequested.emit)
        button = controls.push_button
        self.mine = controls.hint("", "measure.visits_mine", "The patient's open scan.")
        self.other = controls.combo("measure.visits_other")
        self.other.setPlaceholderText("Choose the scan of the same patient")
        self.open = button("measure.visits_open")
        dialogs.offer_scans(
            self.open, "Open the other scan of this patient", self.openRequested.emit
        )
        self.chooser = Chooser("measure.visits")
        self.order = controls.combo(
            "measure.visits_order", entries=(("earlier visit", True), ("later visit", False))
        )
        self.years = controls.number(
            "measure.visits_years",
            "Years between the visits, for the rate and the expected change; 0: unknown, "
            "unless both files give the age.",
            (0, LONGEST_YEARS, 0.5),
            " years",
            decimals=2,
        )
        self.years.setSpecialValueText(NONE)
        self.person = controls.hint(name="measure.visits_person")
        self.person.setToolTip(
            "Age and sex when the open scan was taken, as Measure has them; change them there."
        )
        self.site = controls.combo("measure.visits_site")
        self.start = button("measure.visits_start", role="primary")
        self.cancel = button("measure.visits_cancel")
        self.told = controls.hint(name="measure.visits_text")
        self.told.setToolTip("Progress, warnings, and how many changes are beyond the error.")
        self.files = controls.hint(name="measure.visits_files")
        self.files.setToolTip("The files that the table compares.")
        self.table = controls.ResultTable(
            "measure.visits_table", "What changed; bold: more than repeated scans differ."
        )
        self.maps = controls.combo(
            "measure.visits_map", entries=((text, kind) for (kind, text) in MAPS)
        )
        self.save = button("measure.visits_save")
        self._lay_out()
        self.chooser.chosen.connect(self.openRequested)
        self.show_result(None)

    def _lay_out(self) -> None:
        fields = controls.form(("Open scan", self.mine), ("Other scan", self.other))
        fields.addWidget(self.open, 1, 2)
        controls.add_row(fields, "Taken at", self.order)
        controls.add_row(fields, "Interval", self.years)
        controls.add_row(fields, "Person", self.person)
        controls.add_row(fields, "Error from", self.site)
        controls.dialog(
            controls.hint(ABOUT),
            fields,
            self.chooser,
            controls.row(QWidget(), self.start, self.cancel, stretch=0),
            self.told,
            self.files,
            self.table,
            controls.row(controls.form(("In the views", self.maps)), self.save, stretch=0),
            on=self,
            stretch=6,
        )
        self.resize(controls.scaled(640), controls.scaled(660))

    def open_beside(self, widget: QWidget) -> None:
        """Open left of a widget, over the views."""
        sites = [("simulated repeats", ""), *((name, name) for name in repeats_names())]
        controls.fill(self.site, sites, self.site.currentData())
        dialogs.open_beside(self, widget, -self.height() // 2)

    def show_pair(self, name: str, others: Sequence[str], at: int) -> None:
        """Write whose scans they are, and select an entry of the others."""
        self.setWindowTitle(f"Longitudinal comparison of {name or NONE}")
        self.mine.setText(name or NONE)
        controls.fill(self.other, ((other, k) for k, other in enumerate(others)), at)
        if at < 0:  # the user is to choose
            with QSignalBlocker(self.other):
                self.other.setCurrentIndex(-1)

    def show_person(self, person: Person) -> None:
        """Write age and sex at the open scan."""
        age = "age unknown" if person.age is None else f"{person.age:g} years"
        sex = SEXES.get(person.sex or "", "sex unknown")
        self.person.setText(f"{age}, {sex} (change them in Measure)")

    def show_result(self, compared: jobs.ComparedVisits | None) -> None:
        """Write what was found; None empties the table."""
        visits = None if compared is None else compared.visits
        changes = [] if visits is None else list(visits.changes.values())
        years = None if visits is None else visits.years
        rows = [(cells_of(change, years), bool(change.beyond)) for change in changes]
        self.table.show_rows(COLUMNS, rows)
        controls.enable(visits is not None, self.maps, self.save)
        text = ""
        if visits is not None:
            scans = visits.pair.first.scan, visits.pair.second.scan
            text = "Baseline: {}\nFollow-up: {}".format(*file_names(s.path for s in scans))
        controls.show_text(self.files, text)
        if visits is not None:
            lines = [*map(str, visits.doubts), summary_of(visits.changes)]
            lines += facts_in(visits.notes)
            self.told.setText("\n".join(lines))

    def show_map(self, kind: str) -> None:
        """Select a map, without a signal."""
        controls.show_value(self.maps, kind)

    def hideEvent(self, event: QHideEvent) -> None:
        """The dialog was closed."""
        self.closed.emit()
        super().hideEvent(event)


class VisitsController(QObject):
    """Brings the dialog of two visits together with what works behind it.

    Parameters
    ----------
    context : Context
    button : QPushButton
        Opens the dialog.
    """

    #: A map is about to lie over the patient's scan.
    mapWanted = Signal()

    def __init__(self, context: Context, button: QPushButton) -> None:
        super().__init__(context.dock)
        self.session, self.comparison = context.session, context.comparison
        self.button, self.dialog = button, VisitsDialog(context.dock)
        #: The second image of a case, by its key; the window sets it.
        self.second: Callable[[str], Scan | None] = lambda _key: None
        self.found: dict[str, jobs.ComparedVisits] = {}
        #: What was said of a patient last, the file opened for them, and the scan that was chosen.
        self._written: dict[str, str] = {}
        self._opened: dict[str, Scan] = {}
        self._chosen: dict[str, str] = {}
        self._fields: dict[str, tuple[float, bool]] = {}
        self._others: list[Scan] = []
        self._key = ""
        #: Case keys of the running jobs.
        self._reading = self._comparing = self._saving = ""
        self._map: tuple[jobs.MapRequest, DisplayArray] | None = None
        self._asked: jobs.MapRequest | None = None
        self._overlaid = False
        self.reading = LongJob(self, self._on_read, self._on_unread)
        self.job = LongJob(
            self,
            self._on_compared,
            lambda error: self._say(self._comparing, sentence(error, "comparing visits")),
            progressed=self._on_progress,
        )
        self.saving = LongJob(
            self,
            lambda told: self._say(told[0], f"Saved: {told[1]}"),
            lambda error: self._say(self._saving, sentence(error, "saving what changed")),
        )
        self.placing = LatestWins(
            jobs.map_in_views,
            self,
            self._on_placed,
            lambda asked, error: self._say(
                asked.compared.pair.key, sentence(error, "showing what changed")
            ),
        )
        self._connect()

    def _connect(self) -> None:
        dialog = self.dialog
        self.button.clicked.connect(lambda: self.open(self.button))
        dialog.openRequested.connect(self._open_other)
        dialog.other.currentIndexChanged.connect(self._choose)
        dialog.start.clicked.connect(self._start)
        dialog.cancel.clicked.connect(self.job.cancel)
        dialog.closed.connect(self._on_closed)
        dialog.maps.currentIndexChanged.connect(lambda _: self._on_map(dialog.maps.currentData()))
        dialog.save.clicked.connect(self._save)
        self.job.cancelled.connect(lambda: self._say(self._comparing, "Cancelled."))
        for job in (self.reading, self.job, self.saving):
            job.runningChanged.connect(lambda _running: self._enable())
        self.session.caseChanged.connect(self._on_case)
        self.session.closing.connect(lambda k: self.saving.cancel() if k == self._saving else None)
        for changed in (
            dialog.order.currentIndexChanged,
            dialog.years.valueChanged,
            dialog.site.currentIndexChanged,
            self.session.personChanged,
            self.session.normsChanged,
        ):
            changed.connect(lambda *_: self._show_found())
        self.comparison.viewChanged.connect(lambda _view: self._overlay())
        self.comparison.placedChanged.connect(self._overlay)
        self._on_case()

    def open(self, beside: QWidget) -> None:
        """Open the dialog beside a button, for the patient whose scan is open."""
        self._show()
        self.dialog.open_beside(beside)

    def _on_case(self) -> None:
        case = self.session.case
        self.button.setEnabled(case is not None and case.scan is not None)
        key = "" if case is None or case.scan is None else case.key
        if key != self._key:
            dialog = self.dialog
            if dialog.isVisible():
                self._fields[self._key] = dialog.years.value(), dialog.order.currentData()
            self._key = key
            dialog.chooser.hide()
            dialog.show_map("")
        if self.dialog.isVisible():
            self._show()
        self._overlay()

    def _show(self) -> None:
        """Write what is known of the current patient."""
        case, dialog = self.session.case, self.dialog
        self._others = self._candidates()
        hashes = [scan.sha256 for scan in self._others]
        chosen = self._chosen.get(self._key, "")
        at = hashes.index(chosen) if chosen in hashes else self._likely()
        name = "" if case is None or not self._key else case.name
        dialog.show_pair(name, file_names(scan.path for scan in self._others), at)
        self._choose(at)

    def _show_found(self) -> None:
        """Write who it is, as Measure has them, and what changed, if all else is as it was then."""
        case, dialog, found = self.session.case, self.dialog, self._compared
        scan = None if case is None else case.scan
        dialog.show_person(Person() if scan is None else self.session.person_in(scan)[0])
        dialog.told.setText("")
        dialog.show_result(found)
        if found is None and self._key in self.found:
            dialog.told.setText(OTHERWISE)
        elif self._key in self._written:
            dialog.told.setText(self._written[self._key])
        self._enable()
        self._overlay()

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

    def _likely(self) -> int:
        """Which candidate is of this patient: the overlay, or one of the same name; else -1."""
        case, beside = self.session.case, self.second(self._key)
        if case is None or case.scan is None:
            return -1
        mine, hashes = subject_named(case.scan.path), [scan.sha256 for scan in self._others]
        if beside is not None and beside.sha256 in hashes:
            return hashes.index(beside.sha256)
        return next((at for at, s in enumerate(self._others) if subject_named(s.path) == mine), -1)

    def _choose(self, at: int) -> None:
        """Another scan is to be compared: take order and years from the ages in both files."""
        case = self.session.case
        if not 0 <= at < len(self._others) or case is None or case.scan is None:
            self._show_found()
            return
        other = self._others[at]
        again = self._chosen.get(self._key) == other.sha256
        self._chosen[self._key] = other.sha256
        typed = self._fields.pop(self._key, None)
        found, dialog, mine = self.found.get(self._key), self.dialog, case.scan.person.age
        if found is not None and found.pair.other.sha256 == other.sha256:
            controls.show_value(dialog.years, found.pair.years or 0)
            controls.show_value(dialog.order, found.pair.earlier)
            controls.show_value(dialog.site, found.pair.site)
        elif again and typed is not None:
            controls.show_value(dialog.years, typed[0])
            controls.show_value(dialog.order, typed[1])
        elif not again or not dialog.isVisible():
            age = other.person.age
            known = mine is not None and age is not None and mine != age
            controls.show_value(dialog.years, abs((mine or 0) - (age or 0)) if known else 0)
            controls.show_value(dialog.order, not known or (age or 0) < (mine or 0))
        self._show_found()

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
        pair = self._pair
        if pair is not None:
            self.dialog.show_map("")
            self.found.pop(self._key, None)
            self._comparing = self._key
            self._written.pop(self._key, None)
            self.job.start(jobs.compare_visits, pair)
            self._show_found()

    @property
    def _pair(self) -> jobs.VisitPair | None:
        """What is to be compared, as the fields have it."""
        case, at = self.session.case, self.dialog.other.currentIndex()
        if case is None or case.scan is None or not 0 <= at < len(self._others):
            return None
        return jobs.VisitPair(
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

    def _on_progress(self, progress: JobStatus) -> None:
        self._say(self._comparing, f"{progress.text}: {round(100 * progress.fraction)} %")

    def _on_compared(self, compared: jobs.ComparedVisits) -> None:
        key = compared.pair.key
        self.found[key] = compared
        self._written.pop(key, None)
        self._show_found()

    @property
    def _compared(self) -> jobs.ComparedVisits | None:
        """What changed in the patient on the screen, if the fields and the scan are as then."""
        found, pair = self.found.get(self._key), self._pair
        return found if found is not None and pair is not None and found.pair.is_as(pair) else None

    def _save(self) -> None:
        compared = self._compared
        folder = dialogs.choose_folder(self.dialog, "Save what changed to a folder", Path.home())
        if compared is not None and folder is not None:
            self._saving = compared.pair.key
            self.saving.start(_save, compared, folder)

    def _say(self, key: str, words: str) -> None:
        """Say something of a patient, now or when that patient is shown again."""
        self._written[key] = words
        if key == self._key:
            self.dialog.told.setText(words)

    def _enable(self) -> None:
        dialog, busy = self.dialog, self.job.running
        chosen = 0 <= dialog.other.currentIndex() < len(self._others)
        dialog.start.setEnabled(chosen and not busy and bool(self._key))
        dialog.cancel.setEnabled(busy)
        dialog.open.setEnabled(bool(self._key) and not self.reading.running)
        found = self._compared is not None
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
            if self.session.state.what != "scan":
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

    def _wanted_map(self) -> jobs.MapRequest | None:
        case, kind = self.session.case, self.dialog.maps.currentData()
        compared = self._compared
        scan_shown = self.session.state.what == "scan" and self.comparison.view == "scan"
        if case is None or compared is None or not kind or not scan_shown:
            return None
        placed = self.session.placed
        return jobs.MapRequest(compared, kind, None if placed is None else placed.rigid)

    def _on_placed(self, request: jobs.MapRequest, found: DisplayArray) -> None:
        self._map = request, found
        self._overlay()

    def _draw(self, request: jobs.MapRequest, found: DisplayArray) -> None:
        from stylegan3d.outputs.visits import FULL_PERCENT

        self._overlaid = True
        if request.kind == "volume":
            label, unit, limit = "Local volume since baseline", "%", FULL_PERCENT
        else:
            label, unit, limit = "Intensity since baseline", "", None
        self.comparison.stage.overlay.show(found, label, unit, limit)


def subject_named(path: Path) -> str:
    """Who a scan's file is named after: its subject in BIDS, else all of its name."""
    return entity("sub", path.name) or scan_stem(path)


def file_names(paths: Iterable[Path]) -> list[str]:
    """The names of files, with their folder where others have the same."""
    paths = list(paths)
    names = [path.name for path in paths]
    return [
        path.name if names.count(path.name) == 1 else f"{path.parent.name}/{path.name}"
        for path in paths
    ]


def _same(a: jobs.MapRequest, b: jobs.MapRequest) -> bool:
    return a.compared is b.compared and a.kind == b.kind and a.rigid is b.rigid


def _read(report: Progress, choice: Any) -> Scan | Several:
    """In a thread."""
    report(0, 1, "Reading the scan")
    return read_choice(choice)


def _save(report: Progress, compared: jobs.ComparedVisits, folder: Path) -> tuple[str, Path]:
    """In a thread; whose it is, and the page."""
    return compared.pair.key, jobs.save_compared(report, compared, folder)


#: Brains whose figures are kept, with their labels.
KEPT = 16
#: Of `What`: the picture of a recipe.
PICTURES = ("recipe", "model")
UNPLACED = "Align the scan first (Project): volumes are measured on the model's grid."


class MeasureController(QObject):
    """Keeps the Measure box up to date while it is unfolded, but never during a drag.

    What was measured is kept under what it was made from, and shown beside that alone.
    """

    #: Somebody else is measured, or nobody any longer.
    busyChanged = Signal()

    def __init__(self, context: Context, box: MeasureBox) -> None:
        super().__init__(context.dock)
        self.session, self.comparison = context.session, context.comparison
        self.rendering, self.box = context.render, box
        self.layer = TissueLayer(self.comparison.stage.viewer)
        #: Of what is shown; None until it is measured.
        self.measured: jobs.MeasuredBrain | None = None
        self._kept: Newest[Hashable, jobs.MeasuredBrain] = Newest(KEPT)
        #: What is shown, once its picture is there.
        self._asked: jobs.MeasureRequest | None = None
        self._dragged = False
        self._work = LatestWins(jobs.Measurer(), self, self._on_measured, self._on_failed)
        for ended in (self._work.ready, self._work.failed):
            ended.connect(lambda *_: self.busyChanged.emit())
        self.box.header.toggled.connect(self._update)
        self.box.labels.toggled.connect(self._show_labels)
        self.box.copy.clicked.connect(self._copy)
        self.box.personChanged.connect(self._on_person)
        self.box.unusualChanged.connect(self._show_numbers)
        self.box.normsChanged.connect(self.choose_norms)
        self.session.normsChanged.connect(self._show_norms)
        failed = self.session.messages.slot("opening norms")
        self._norms = LatestWins(jobs.open_norms, self, self.session.keep_norms, failed)
        self.session.changed.connect(self._on_change)
        self.comparison.viewChanged.connect(self._update)
        self.comparison.placedChanged.connect(self._update)
        self.session.modelChanged.connect(self._forget)
        self.visiting = VisitsController(context, box.visits)
        context.links.callback(self.layer.remove)

    def task_of(self, key: str) -> str:
        """What is being done for a patient, in words."""
        return "measuring…" if key in {one.key for one in self._work.requests} else ""

    def _on_change(self, change: StateChange) -> None:
        """Nothing of another brain stays."""
        if not change.parts - {"annotations"}:
            return
        self._dragged = change.live
        self._update()
        if "person" in change.parts:
            self._show_numbers()

    def _forget(self, _: object = None) -> None:
        """Of another model, nothing is known of what is shown."""
        self.measured = self._asked = None
        self.layer.set_visible(False)
        self.box.show_waiting()

    def _update(self, _: Any = None) -> None:
        """Show what is known of what is shown, or measure it, if anybody looks."""
        self._show_person()
        if self._dragged or not self.box.open:
            self._forget()
            return
        if (why := self._why_nothing()) is not None:
            self._forget()
            self.box.show_measured(None, None, why)
            return
        if (subject := self._subject()) is None:
            self._forget()  # its picture is not there yet, but it may have been before
            if (recipe := self.session.state.drawn) and self.session.state.what in PICTURES:
                self.measured = self._kept.get(self._made_of(recipe, self.session.generator))
            self._show_numbers()
            return
        asked, self._asked = self._asked, subject
        if asked is not None and asked.made_of == subject.made_of:
            self._show_labels()
            return
        self.measured = self._kept.get(subject.made_of)
        if self.measured is None:
            self.box.show_waiting(at_work=True)
            self._work.submit(replace(subject, key=self.session.key))
            self.busyChanged.emit()
        self._show_numbers()
        self._show_labels()

    def _why_nothing(self) -> str | None:
        """Why nothing can be measured of what is shown; None if it can be."""
        session, view = self.session, self.comparison.view
        if session.state.what == "search":
            return "Wait for the projection: its result is measured."
        if why := session.withheld:
            return NO_FIGURES.format(why)
        case = session.result
        unplaced = view == "unusual" and case is not None and case.aligned is None
        return UNPLACED if unplaced or (view == "scan" and session.placed is None) else None

    def _subject(self) -> jobs.MeasureRequest | None:
        """What is shown, ready to be measured; None while it is not."""
        comparison, recipe = self.comparison, self.comparison.recipe
        if comparison.view == "scan" and comparison.placed is not None:
            return self._scan(*comparison.placed)
        if comparison.view == "unusual" and (case := self.session.result) is not None:
            return None if case.aligned is None else self._scan(case.name, case.aligned)
        if comparison.view == "painted":
            return self._made(comparison.painted)
        picture, loaded = comparison.picture, self.rendering.loaded
        if picture is None or loaded is None or recipe is None or not comparison.is_current:
            return None
        if comparison.view == "filled":
            return self._made(comparison.filled)
        rendered, start = picture.rendered, jobs.start_of(recipe)
        made_of = self._made_of(recipe, loaded.generator)
        title, against = map(str, made_of[:2])
        return jobs.MeasureRequest(
            title, rendered.volume, rendered.space, made_of, start, loaded, against
        )

    def _made_of(self, recipe: Recipe, generator: Generator | None) -> tuple[Hashable, ...]:
        """What a picture of a recipe is made from, after its title and what it is compared with."""
        start, session = jobs.start_of(recipe), self.session
        against = "" if start is None else subject_of(session, start)
        title = subject_of(session, recipe)
        model = None if generator is None else (generator.hash, generator.affine.tobytes())
        return title, against, recipe.with_paths(by_content), model

    def _made(self, made: DerivedVolume | None) -> jobs.MeasureRequest | None:
        """A brain with edited labels, the one before, or a filled scan; None for a difference."""
        generator = self.session.generator
        if made is None or generator is None or made.provenance.kind == "difference":
            return None
        before = made.before
        against = "" if before is None else in_words(before.provenance) or before.title
        title = in_words(made.provenance) or made.title
        made_of = title, against, weakref.ref(made)
        return jobs.MeasureRequest(
            title, made.volume, generator.space, made_of, before, against=against
        )

    def _scan(self, name: str, aligned: AlignedScan) -> jobs.MeasureRequest:
        """A scan with its name, on the model's grid; on disk or not, it is the same."""
        scan = aligned.scan
        title = f"{ORIGIN_NAMES[scan.origin]} {name}"
        lies = aligned.rigid.tobytes(), aligned.space.affine.tobytes(), aligned.space.shape
        made_of = title, scan.sha256, scan.affine.tobytes(), lies, repr(aligned.record)
        return jobs.MeasureRequest(title, aligned.volume, aligned.space, made_of)

    def _who(self) -> tuple[Person, str | None]:
        """Who is shown, and the key to type age and sex by; None for nobody."""
        view, comparison = self.comparison.view, self.comparison
        made = {"painted": comparison.painted, "filled": comparison.filled}.get(view)
        if made is None:
            return self.session.person
        if isinstance(made.of, Recipe):
            return self.session.person_of(made.of)
        return (Person(), None) if made.of is None else self.session.person_in(made.of.scan)

    def _show_person(self) -> None:
        """Write age and sex of who is shown, and what a scan's files say of them instead."""
        (person, key), case = self._who(), self.session.case
        header, called = Person(), ""
        if case is not None and case.scan is not None and case.sha256 == key:
            header = case.scan.person
            called = "The header says" if case.is_dicom else "The scan's files say"
        self.box.show_person(person, header, called)

    def _on_person(self) -> None:
        """Age or sex was typed: they stay with this person."""
        (known, key), typed = self._who(), self.box.person
        if key is None:
            self._show_numbers()
            return
        # An age may have more decimals than the field shows.
        same = known.age is not None and typed.age is not None and abs(known.age - typed.age) < 0.1
        self.session.know(key, Person(known.age if same else typed.age, typed.sex))

    def _on_measured(self, subject: jobs.MeasureRequest, measured: jobs.MeasuredBrain) -> None:
        self._kept[subject.made_of] = measured
        if self._asked is not None and subject.made_of == self._asked.made_of:
            self.measured = measured
            self._show_numbers()
            self._show_labels()

    def choose_norms(self, file: str | None) -> None:
        """Use the norms of a file once they are read, "" for the bundled ones; None: no others."""
        if file is not None:
            self._norms.submit(file)
        self._show_norms()

    def _show_norms(self) -> None:
        self.box.show_norms(self.session.norms_file, self.session.norms)
        self._show_numbers()

    def _numbers(self, measured: jobs.MeasuredBrain) -> Numbers:
        from stylegan3d.segmentation.numbers import numbers_of

        person, key = self._who()
        if key is None:
            person = self.box.person
        return numbers_of(measured.measures, person, self.session.norms, measured.networks)

    def _show_numbers(self, _: object = None) -> None:
        if self.measured is not None:
            self.box.show_measured(self.measured, self._numbers(self.measured))

    def _on_failed(self, subject: jobs.MeasureRequest, error: Exception) -> None:
        if self._asked is not None and subject.made_of == self._asked.made_of:
            said = self.session.messages.said(error, "measuring the tissues")
            self.box.show_measured(None, None, said)

    def _show_labels(self, _: object = None) -> None:
        """Draw the labels of what is shown, if they are wanted and there are any."""
        labels = self.box.open and self.box.labels.isChecked()
        wanted = labels and self.comparison.view != "difference" and self._asked is not None
        if wanted and self.measured is not None:
            self.layer.show(self.measured)
        else:
            self.layer.set_visible(False)

    def _copy(self) -> None:
        if self.measured is not None:
            controls.copy_table(as_table(self.measured, self._numbers(self.measured)))


class TissueLayer(OwnLayer):
    """There while it is wanted; the 3D view leaves it out."""

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer

    def show(self, measured: jobs.MeasuredBrain) -> None:
        """Draw the labels, in place of those before."""
        shown = upright(measured.labels, measured.space.affine, nearest=True)
        data = np.ascontiguousarray(shown.data)
        if self.there:
            put(self.layer, data, shown.scale, shown.translate)
            self.set_visible(True)
        else:
            self.add(make_layer(data, shown.layer_kwargs()))
