"""Opening a scan and projecting it: the work behind the Project tab."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from qtpy.QtCore import QObject, Qt, Signal

from napari_stylegan3d.core.context import sentence
from napari_stylegan3d.core.scans import Several
from napari_stylegan3d.core.worker import LatestWins, LongJob
from napari_stylegan3d.project.jobs import (
    ProjectionRequest,
    align_scan,
    estimate,
    fit_scan,
    give_memory_back,
    open_scan,
    project_scan,
)
from napari_stylegan3d.project.label_maps import LabelMap, LabelMaps
from napari_stylegan3d.project.looks import LookBar, LookController
from napari_stylegan3d.project.overlay import OverlayManager
from napari_stylegan3d.project.regions import LayerChoice, LayerRegions, Region, RegionPainter
from napari_stylegan3d.project.result import FillController
from napari_stylegan3d.widgets.controls import single_shot
from stylegan3d.errors import ScanError
from stylegan3d.session.case import Case, Choice

if TYPE_CHECKING:
    from napari_stylegan3d.core.context import Context
    from napari_stylegan3d.core.jobs import Loaded
    from napari_stylegan3d.project.panel import ProjectPanel
    from napari_stylegan3d.views.captions import Kind
    from stylegan3d.geometry.space import Space
    from stylegan3d.scans import AlignedScan
    from stylegan3d.scans.pose import Pose
    from stylegan3d.session.case import Shown


#: Delay after which the memory of a projection is released.
REST_MS = 1000


class ProjectController(QObject):
    """Runs both as long jobs and updates the panel and the comparison."""

    failed = Signal(object, str)
    """(exception, what was being done)"""
    wentWell = Signal()
    """A scan was opened, or a projection started: an earlier error is over."""

    def __init__(self, context: Context, panel: ProjectPanel) -> None:
        super().__init__(context.dock)
        self.rendering, self.session = context.render, context.session
        self.panel, self.comparison = panel, context.comparison
        rendering, comparison = self.rendering, self.comparison
        self.opening, self.job, self.estimating = LongJob(self), LongJob(self), LongJob(self)
        self._tidying = LongJob(self)
        self._rest = single_shot(self, lambda: self._tidying.start(give_memory_back), REST_MS)
        self._estimated: Loaded | None = None
        #: Scans and label maps queued for reading, each with the key of the case that a label map
        #: is for; empty for none. The last is that of the one being read.
        self._to_open: list[tuple[Choice, str]] = []
        self._opening_for = ""
        #: Case of the running job; another case may be shown meanwhile.
        self._at_work: Case | None = None
        #: View that was shown when the running job began.
        self._before: Shown = self.session.shown
        #: The case whose region is painted.
        self._painted: Case | None = None
        #: Painted regions of other cases, by key, with the model's grid.
        self._regions: dict[str, tuple[Region, Space]] = {}
        self.moving = LatestWins(_move, self)
        panel.scan.openRequested.connect(self.open)
        panel.start.clicked.connect(lambda: self.start(*panel.search.wishes))
        panel.pose.align.clicked.connect(lambda: self.align())
        panel.pose.by_hand.clicked.connect(lambda: self.align("centre"))
        panel.pose.fit.clicked.connect(self.fit)
        panel.pose.poseChanged.connect(self._move)
        panel.pose.outline.toggled.connect(comparison.set_outlined)
        self.moving.ready.connect(self._on_moved)
        self.moving.failed.connect(
            lambda _request, error: self.failed.emit(error, "moving the scan")
        )
        self.painting = RegionPainter(comparison.stage.viewer, self)
        panel.paint.fillChanged.connect(self._paint)
        panel.paint.brush.valueChanged.connect(self.painting.set_brush)
        panel.paint.erase.toggled.connect(self.painting.set_erasing)
        panel.paint.clear.clicked.connect(self.painting.clear)
        self.painting.changed.connect(self._on_painted)
        self.painting.brushChanged.connect(panel.paint.show_brush)
        viewer = comparison.stage.viewer
        self.labels = LabelMaps(comparison, self)
        self.labels.failed.connect(self.failed)
        self.second = OverlayManager(comparison, self.labels, panel.second, self)
        self.second.failed.connect(self.failed)
        self.second.maskRequested.connect(panel.paint.use)
        self.second.joined.connect(self._join)
        self.labels.added.connect(self.second.took_labels)
        self.regions = LayerRegions(
            viewer, lambda: self.painting.layer, self.labels.is_of_case, self
        )
        self.regions.changed.connect(self._offer_regions)
        self._offer_regions()
        panel.paint.regionChanged.connect(self._on_region)
        self.filling = FillController(rendering, comparison, panel.result, self)
        self.filling.failed.connect(self.failed)
        self.looks = LookBar(self.session)
        self.looking = LookController(context, self.looks)
        panel.result.findingPicked.connect(self.looking.go_to)
        comparison.viewChanged.connect(self._show_region)
        panel.pause.toggled.connect(self.job.pause)
        self.estimating.finished.connect(panel.search.show_estimates)
        self.estimating.cancelled.connect(self._estimate)
        self.estimating.failed.connect(lambda error: self.failed.emit(error, "timing the search"))
        self.session.modelChanged.connect(lambda _: self._estimate())
        self.session.caseChanged.connect(self._on_case)
        rendering.failed.connect(self._on_no_picture)
        panel.cancel.clicked.connect(self._cancel)
        self.opening.finished.connect(lambda opened: self.take_opened(opened, self._opening_for))
        self.opening.failed.connect(self._on_unread)
        self.opening.runningChanged.connect(self._read_next, Qt.ConnectionType.QueuedConnection)
        self.job.progressed.connect(panel.show_progress)
        self.job.runningChanged.connect(lambda on: panel.show_running(on, self._at_work))
        self.job.runningChanged.connect(self._on_running)
        self.job.finished.connect(self._on_done)
        self.job.failed.connect(self._on_failed)
        self.job.cancelled.connect(self._come_back)
        self.job.came.connect(self._show_on_the_way)

    def open(self, choice: Choice) -> None:
        """Read a scan and show it, after any that are queued; not during a projection."""
        if self.job.running:
            busy = "A scan is being projected. Wait or cancel, then open another one."
            self.failed.emit(ScanError(busy), "opening the scan")
            return
        case = self.session.case
        self._to_open.append((choice, "" if case is None else case.key))
        self._read_next()

    def _read_next(self) -> None:
        if self._to_open and not self.opening.running:
            choice, self._opening_for = self._to_open.pop(0)
            self.session.expect(Case(choice.path.name, choice))
            self.opening.start(open_scan, choice)

    def start(
        self, space: Literal["w", "w+", "w+noise"], budget: str, loss: str, site: str = ""
    ) -> None:
        """Project the case's scan; see `ProjectionRequest`. Not while a scan is being read."""
        case, recipe = self._ready, self.session.recipe
        if case is None:
            return
        lies = self.session.placed is not None
        # The latest pose set by the user, though it may not be drawn yet.
        posed = dataclasses.replace(case, pose=self.panel.pose.pose) if lies else case.as_read()
        request = ProjectionRequest(
            posed,
            self._region() if self.panel.paint.fill.isChecked() else None,
            loss,
            space,
            budget,
            recipe.noise,
            recipe.channel,
            self.session.folder,
            site,
        )
        self.painting.end()
        self._begin(case, project_scan, self.rendering.loaded, request)

    def align(self, pose: str = "auto") -> None:
        """Align the case's scan to the model's grid; for `pose` see `Scan.align`."""
        case = self._ready
        if case is not None:
            folder = self.session.folder
            self._begin(case, align_scan, self.rendering.loaded, case.scan, folder, pose)

    def fit(self) -> None:
        """Refine the alignment from the user's pose."""
        case = self._ready
        if case is not None and self.session.placed is not None:
            self._begin(case, fit_scan, case.found, self.panel.pose.pose)

    @property
    def _ready(self) -> Case | None:
        """The case, if its scan is ready for a job."""
        case, loaded = self.session.case, self.rendering.loaded
        busy = self.job.running or self.session.reading
        return None if busy or case is None or case.scan is None or loaded is None else case

    def _begin(self, case: Case, work: Callable[..., Any], *args: Any) -> None:
        self._at_work, self._before = case, self.session.shown
        self.session.expect(None)  # nothing is being read; at most a refusal was still shown
        self.wentWell.emit()
        self.job.start(work, *args)

    @property
    def rested(self) -> bool:
        """Whether nothing runs and the memory of a search has been released."""
        return not (self.job.running or self._rest.isActive() or self._tidying.running)

    def shutdown(self) -> None:
        """Stop all jobs."""
        self.looking.shutdown()
        self.regions.shutdown()
        self.second.shutdown()
        self.labels.shutdown()
        self.painting.forget()
        self.filling.shutdown()
        self.moving.shutdown()
        self._rest.stop()
        self._tidying.shutdown()
        self.estimating.shutdown()
        self._to_open.clear()
        self.opening.shutdown()
        self.job.shutdown()

    def forget_model(self) -> None:
        """Stop running jobs after a change of model or affine."""
        if self.job.running:
            self._cancel()
        self._estimated = None
        self.estimating.cancel()
        self.panel.search.show_estimates({})

    def _on_case(self) -> None:
        """Switch to the painted region of another case."""
        case, before = self.session.case, self._painted
        same = case is before or (case and before and case.key == before.key)
        if same and self.session.placed is not None:
            self._painted = case
            if self.painting.layer is None:
                self._bring_region()
            return
        if before is not None and before.aligned is not None and self.painting.layer is not None:
            region = self.painting.region()
            if region is None:
                self._regions.pop(before.key, None)
            else:
                self._regions[before.key] = region, before.aligned.space
        self._painted = case
        self.painting.forget()
        self.panel.paint.uncheck()
        self._offer_regions()
        self._bring_region()

    def _offer_regions(self) -> None:
        """Offer the labels of the current patient as a region."""
        self.panel.paint.offer(self.regions.entries())

    def _bring_region(self) -> None:
        """Show the painted region of the current case, if it is on the grid of its scan."""
        case, placed = self.session.case, self.session.placed
        kept = None if case is None else self._regions.get(case.key)
        if kept is not None and placed is not None and placed.space.same_as(kept[1]):
            self.painting.restore(*kept)

    def region_of(self, case: Case) -> Region | None:
        """The region painted on a case; None if there is none, or it is on another grid."""
        grid = self.session.generator if case.aligned is None else case.aligned
        painted, found = self._painted, self._regions.get(case.key)
        if painted is not None and painted.key == case.key and self.painting.layer is not None:
            region, placed = self.painting.region(), painted.aligned
            found = None if region is None or placed is None else (region, placed.space)
        if found is None or grid is None or not grid.space.same_as(found[1]):
            return None
        return found[0]

    def restore_region(self, key: str, region: Region, space: Space) -> None:
        """Give the case with this key its painted region back, on the model's grid."""
        self._regions[key] = region, space
        self._on_case()

    def _paint(self, on: bool) -> None:
        """Start or stop painting on the aligned scan."""
        if on:
            self._on_region()
        else:
            self.painting.end()

    def _show_region(self, view: str) -> None:
        """The painted region belongs to the scan; no region covers the filled scan."""
        self.painting.set_visible(view == "scan")
        self.regions.show_for(view, self.panel.paint.choice)

    def _on_region(self) -> None:
        """Paint, or show the volume of the selected layer."""
        paint = self.panel.paint
        placed = self.session.placed
        if not paint.fill.isChecked() or placed is None:
            return
        if isinstance(paint.choice, LayerChoice):
            self.painting.end()
            self.painting.set_visible(False)
            region = paint.choice.region()
            paint.show_painted(region.millilitres if region else 0.0)
            return
        self.session.look("scan")
        self.painting.begin(placed.space)
        self.painting.emit_volume()

    def _on_painted(self, millilitres: float) -> None:
        if self.panel.paint.choice is None:
            self.panel.paint.show_painted(millilitres)

    def _region(self) -> Region | None:
        choice = self.panel.paint.choice
        return choice.region() if isinstance(choice, LayerChoice) else self.painting.region()

    def _move(self, pose: Pose) -> None:
        case = self.session.case
        if case is not None and case.found is not None and self.session.placed is not None:
            self.moving.submit((case, pose))

    def _on_moved(self, request: tuple[Case, Pose], aligned: AlignedScan) -> None:
        case, now = request[0], self.session.case
        if now is None or now.found is not case.found or self.job.running:
            return
        self.wentWell.emit()
        assert case.found is not None
        self.session.update_case(now.lying(case.found, aligned, request[1]))
        self.session.look("scan")

    def _on_running(self, running: bool) -> None:
        """Release the hundreds of MB that a search has used, after a while."""
        if running:
            self._rest.stop()
        else:
            self._rest.start()

    def _cancel(self) -> None:
        self.panel.show_cancelling()
        self.job.cancel()

    def _come_back(self) -> None:
        """After a failed or cancelled job, restore the previous view unless it was changed."""
        if self.session.shown.what == "search":
            self.session.look(self._before.what)

    def take_opened(self, opened: Case | Several | LabelMap, key: str) -> None:
        """Handle a scan or label map that was read, or ask which scan to read.

        A label map belongs to the case with this key; empty for none.
        """
        self.wentWell.emit()
        if isinstance(opened, Case):
            before = self.session.case
            self.session.open_case(opened)
            # Label maps that were asked for after this scan belong to it.
            self._to_open = [(choice, opened.key) for choice, _key in self._to_open]
            self._hand_over(before, opened)
            self.second.opened(before)
            self._estimate()
            return
        self.session.expect(None)
        if isinstance(opened, LabelMap):
            self.labels.add(opened, key or None)
        else:
            self.panel.scan.chooser.ask(opened.question, opened.entries)

    def _hand_over(self, before: Case | None, now: Case) -> None:
        """Let what lies over a scan follow, if it was read again, say with its sides swapped."""
        if before is None or not now.is_same_scan_as(before):
            return
        # Where the scan as it was is still in the history, it keeps what lies over it.
        stays = any(case.key == before.key for case in self.session.cases)
        if not stays or now.choice != before.choice:
            self.labels.hand_over(before.key, now.key, copy=stays)
            self.second.hand_over(before.key, now.key, copy=stays)

    def _join(self, before: Case, choice: Choice) -> None:
        """Go back to a patient, and lay the scan that was opened over that one's."""
        cases = [entry.case for entry in self.session.history.states]
        mine = [k for k, case in enumerate(cases) if case is not None and case.key == before.key]
        if mine and self.session.go_to(mine[-1]):
            self.second.open(choice)

    def _on_unread(self, error: Exception) -> None:
        doing = "opening the scan"
        self.failed.emit(error, doing)
        if self.session.arriving is not None:
            self.session.expect(self.session.arriving.refused(sentence(error, doing)))

    def _on_no_picture(self, _error: Exception) -> None:
        """Rendering failed: do not leave another patient's picture beside this name."""
        case, recipe = self.session.case, self.comparison.recipe
        if case is None or case.layer is None:
            return
        if recipe is None or not case.is_of(recipe.source):
            self.session.look("scan")

    def _estimate(self) -> None:
        """Estimate the duration of a search, once per model, while idle."""
        loaded = self.rendering.loaded
        if loaded is None or loaded is self._estimated or self.session.case is None:
            return
        if self.job.running or self.estimating.running:
            return
        self._estimated = loaded
        self.estimating.start(estimate, loaded)

    def _on_done(self, result: AlignedScan | Case) -> None:
        case, loaded = self._at_work, self.rendering.loaded
        assert case is not None
        if isinstance(result, Case):
            self.session.add_projected(result)
            self.panel.bring_result()
        elif loaded is not None and result.scan is case.scan:
            self.session.update_case(case.lying(result, result, model=loaded.generator.hash))
            now = self.session.case
            if now is not None and now.key == case.key:
                self.session.look("scan")

    def _on_failed(self, error: Exception) -> None:
        doing, case = "projecting the scan", self._at_work
        if case is not None and isinstance(error, ScanError):
            if case.aligned is None:
                self.session.update_case(case.refused(sentence(error, doing)))
            error = ScanError(f"{case.name}: {sentence(error, doing)}")
        self.failed.emit(error, doing)
        self._come_back()

    def _show_on_the_way(self, picture: tuple[Kind, Any]) -> None:
        kind, volume = picture
        if self._at_work is not None:
            self.comparison.show_search(self._at_work, kind, volume)


def _move(request: tuple[Case, Pose]) -> AlignedScan:
    """Resample a scan at the user's pose."""
    case, pose = request
    assert case.found is not None
    return pose.of(case.found)
