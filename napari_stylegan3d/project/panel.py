"""Project: find the model's brain that is most similar to a real scan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QProgressBar, QWidget

from napari_stylegan3d.core.panel import Panel, bring_into_view
from napari_stylegan3d.core.worker import JobStatus, duration_in_words
from napari_stylegan3d.project.pose import PoseBox
from napari_stylegan3d.project.region_panel import PaintBox
from napari_stylegan3d.project.result import ResultBox
from napari_stylegan3d.project.scan import ScanBox
from napari_stylegan3d.project.search import SearchBox
from napari_stylegan3d.project.second_box import OverlayBox
from napari_stylegan3d.widgets import controls
from stylegan3d.projection.settings import PHASES
from stylegan3d.scans.pose import NO_POSE

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from stylegan3d.model.generator import Generator
    from stylegan3d.session.case import Case

STARTS = "Find the synthetic brain most similar to this scan."
WAITS = "A scan is being read. Wait until it is open, then project it."


class ProjectPanel(Panel):
    """Opens a scan, runs the projection with progress and cancel, and compares.

    The work is requested by signals; see `ProjectController`.
    """

    key = "Project"
    title = "Project"

    openRequested = Signal(object)
    """Choice"""
    startRequested = Signal(str, str, str, str)
    """(space, budget, what the scan lost: as `operators.parse` takes it, or "", calibrated site)"""
    cancelRequested = Signal()
    pauseRequested = Signal(bool)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._running = False
        #: The case of the running projection or alignment.
        self._at_work: Case | None = None
        #: The scan whose degradations are offered.
        self._offered: object = None
        #: Whether there is a result the user has not seen yet.
        self._has_news = False
        self._news = QTimer(self)
        self._news.setSingleShot(True)
        self._news.timeout.connect(self._scroll_to_result)
        self.scan = ScanBox()
        self.second = OverlayBox()
        self.pose = PoseBox()
        self.paint = PaintBox()
        self.search = SearchBox()
        self.start = controls.push_button(
            "Project",
            "project.start",
            STARTS,
            "primary",
        )
        self.cancel = controls.push_button(
            "Cancel", "project.cancel", "Stop and restore the previous picture."
        )
        self.pause = controls.push_button(
            "Pause",
            "project.pause",
            "Suspend the search, to free the machine for other work.",
            checkable=True,
        )
        self.bar = controls.named(
            QProgressBar(), "project.progress", "Progress of the current phase, in per cent."
        )
        self.estimate = controls.hint(name="project.estimate")
        self.waits = controls.hint(name="project.waits")
        self.waits.setProperty("role", "caution")
        self.result = ResultBox()
        self.result_line, self.result_title = controls.line(), controls.heading("Result")
        self._lay_out()
        self._connect()
        self.show_case()

    def _lay_out(self) -> None:
        add = self.column.addWidget
        add(controls.heading("Scan"))
        add(self.scan)
        add(controls.line())
        add(controls.heading("Second image"))
        add(self.second)
        add(controls.line())
        add(controls.heading("Alignment"))
        add(self.pose)
        add(self.paint)
        add(controls.line())
        add(controls.heading("Projection"))
        add(self.search)
        add(self.result_line)
        add(self.result_title)
        add(self.result)
        self.column.addStretch(1)

    def footer(self) -> QWidget:
        """The button that starts, and the progress: visible wherever the panel is scrolled to."""
        footer = QWidget()
        controls.stack(
            controls.row(self.start, self.pause, self.cancel, stretch=0),
            self.waits,
            self.bar,
            self.estimate,
            on=footer,
            spacing=-1,
            margins=(14, 6, 14, 8),
        )
        return footer

    def _connect(self) -> None:
        self.scan.openRequested.connect(self.openRequested)
        self.start.clicked.connect(lambda: self.startRequested.emit(*self.search.wishes))
        self.cancel.clicked.connect(self.cancelRequested)
        self.pause.toggled.connect(self._on_pause)
        self.session.caseChanged.connect(self.show_case)
        self.session.projectedChanged.connect(self.show_case)

    def show_model(self, generator: Generator) -> None:
        """Enable the options a model supports."""
        self.search.show_model(generator)
        self._refresh()

    def show_case(self) -> None:
        """Show the session's case: name, alignment, verdict."""
        case, arriving = self.session.case, self.session.arriving
        self.scan.show_case(case)
        self.scan.show_arriving(arriving, case)
        placed = self.session.placed
        if case is None:
            self.pose.show_aligned(None)
        else:
            self.pose.show_aligned(placed, case.pose if placed else NO_POSE, case.problem)
        self.paint.setVisible(placed is not None)
        scan = None if case is None else case.scan
        if scan is not self._offered:
            self._offered = scan
            self.search.show_scan(scan)
        self._show_result()
        self._refresh()

    def _show_result(self) -> None:
        result = self.session.result
        self.result.show_result(result)
        for widget in (self.result_line, self.result_title):
            widget.setVisible(result is not None)

    def show_running(self, running: bool, case: Case | None = None) -> None:
        """A projection or alignment of a case started or ended."""
        self._running, self._at_work = running, case
        self.bar.setValue(0)
        self.estimate.setText("Starting…" if running else "")
        controls.show_value(self.pause, False)
        self.pause.setText("Pause")
        self.pause.setEnabled(False)
        self._refresh()

    def show_progress(self, progress: JobStatus) -> None:
        """Update the progress bar and the remaining time."""
        self.bar.setRange(0, 1000)
        self.bar.setValue(round(1000 * progress.fraction))
        text = ", ".join(filter(None, (self._at_work_in_words, progress.text, progress.detail)))
        if progress.remaining_s is not None and progress.done < progress.total:
            text += f", about {duration_in_words(progress.remaining_s)} left"
        self.pause.setEnabled(progress.text in PHASES.values())
        if not self.pause.isChecked():
            self.estimate.setText(text)

    @property
    def _at_work_in_words(self) -> str:
        """Name of the case being processed, if it is not the current one."""
        now, work = self.session.case, self._at_work
        return "" if work is None or (now and now.key == work.key) else work.name

    def _on_pause(self, paused: bool) -> None:
        self.pause.setText("Continue" if paused else "Pause")
        self.estimate.setText("Paused" if paused else "Continuing…")
        self.pauseRequested.emit(paused)

    def show_cancelling(self) -> None:
        """Cancel was pressed; the job stops at its next step."""
        self.cancel.setEnabled(False)
        self.pause.setEnabled(False)
        self.estimate.setText("Stopping…")

    def bring_result(self) -> None:
        """Scroll to the verdict, once the panel is visible."""
        self._news.start(0)

    def showEvent(self, event: QShowEvent) -> None:
        """Scroll to a new result."""
        super().showEvent(event)
        if self._has_news:
            self.bring_result()

    def _scroll_to_result(self) -> None:
        self._has_news = not self.isVisible()
        if not self._has_news:
            bring_into_view(self, self.result, self.result.verdict)

    def _refresh(self) -> None:
        session, case = self.session, self.session.case
        reading = session.reading
        ready = case is not None and case.scan is not None and session.generator is not None
        ready = ready and not reading
        self.start.setEnabled(ready and not self._running)
        self.start.setToolTip(WAITS if reading else STARTS)
        if session.arriving is not None:
            words = "Waiting: {name} is being read."
            self.waits.setText(words.format(name=session.arriving.name))
        self.waits.setVisible(reading)
        for box in (self.pose, self.paint):
            box.setEnabled(ready and not self._running)
        self.scan.set_enabled(not self._running)
        for widget in (self.pause, self.cancel, self.bar):
            widget.setVisible(self._running)
        self.cancel.setEnabled(self._running)
        self.estimate.setVisible(self._running)

    def show_recipe(self, _recipe: Any) -> None:
        """Enable the comparison if the recipe starts from the case's projection."""
        self._show_result()
        self._refresh()
