"""Opening a scan and projecting it: the work behind the Project tab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from qtpy.QtCore import QObject, Qt, QTimer, Signal

from napari_stylegan3d.core.session import Projected
from napari_stylegan3d.core.worker import LatestWins, LongJob
from napari_stylegan3d.project.filling import Filling
from napari_stylegan3d.project.jobs import (
    Choice,
    OpenedScan,
    ProjectionRequest,
    Several,
    align_scan,
    estimate,
    fit_scan,
    give_memory_back,
    open_scan,
    project_scan,
)
from napari_stylegan3d.project.label_maps import LabelMap, LabelMaps
from napari_stylegan3d.project.region_brush import Painting
from napari_stylegan3d.project.regions import LayerChoice, LayerRegions, Region
from napari_stylegan3d.widgets.text import _
from stylegan3d.errors import ScanError
from stylegan3d.scans.pose import NO_POSE

if TYPE_CHECKING:
    from napari_stylegan3d.core.comparison import Comparison
    from napari_stylegan3d.core.jobs import Loaded
    from napari_stylegan3d.core.rendering import Rendering
    from napari_stylegan3d.project.panel import ProjectPanel
    from napari_stylegan3d.views.captions import Kind
    from stylegan3d.scans import AlignedScan
    from stylegan3d.scans.pose import Pose


#: After this pause nothing that a projection made is held any more.
REST_MS = 1000


class Projecting(QObject):
    """Runs both as long jobs and tells the panel and the comparison."""

    failed = Signal(object, str)
    """(exception, what was being done)"""
    wentWell = Signal()
    """A scan was opened, or a projection started: an earlier error is over."""
    stopped = Signal()
    """Cancelled or failed: what was shown before should come back."""
    _onTheWay = Signal(str, object)

    def __init__(
        self,
        rendering: Rendering,
        panel: ProjectPanel,
        comparison: Comparison,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self.rendering, self.session = rendering, rendering.session
        self.panel, self.comparison = panel, comparison
        self.opening, self.job, self.estimating = LongJob(self), LongJob(self), LongJob(self)
        self._tidying, self._rest = LongJob(self), QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._rest.timeout.connect(lambda: self._tidying.start(give_memory_back))
        self._estimated: Loaded | None = None
        self._opened: OpenedScan | None = None
        #: Scans and label maps that wait until the one before is read.
        self._to_open: list[Choice] = []
        #: As the alignment put it.
        self._aligned: AlignedScan | None = None
        #: What the job under way is about; another scan may be opened meanwhile.
        self._at_work: OpenedScan | None = None
        #: "scan" or "reconstruction": what was looked at when the job under way began.
        self.shown_before = "reconstruction"
        self.moving = LatestWins(_move, self)
        panel.openRequested.connect(self.open)
        panel.startRequested.connect(self.start)
        panel.pose.alignRequested.connect(self.align)
        panel.pose.fitRequested.connect(self.fit)
        panel.pose.poseChanged.connect(self._move)
        panel.pose.outlineChanged.connect(comparison.set_outlined)
        self.moving.ready.connect(self._on_moved)
        self.moving.failed.connect(
            lambda _request, error: self.failed.emit(error, _("moving the scan"))
        )
        self.painting = Painting(comparison.stage.viewer, self)
        panel.paint.fillChanged.connect(self._paint)
        panel.paint.brushChanged.connect(self.painting.set_brush)
        panel.paint.eraseChanged.connect(self.painting.set_erasing)
        panel.paint.clearRequested.connect(self.painting.clear)
        self.painting.changed.connect(self._on_painted)
        self.painting.brushChanged.connect(panel.paint.show_brush)
        viewer = comparison.stage.viewer
        self.labels = LabelMaps(comparison, self)
        self.labels.failed.connect(self.failed)
        self.regions = LayerRegions(viewer, lambda: self.painting.layer, self)
        self.regions.changed.connect(lambda: panel.paint.offer(self.regions.entries()))
        panel.paint.offer(self.regions.entries())
        panel.paint.regionChanged.connect(self._on_region)
        self.filling = Filling(rendering, comparison, panel.result, self)
        self.filling.failed.connect(self.failed)
        panel.filledRequested.connect(self.filling.look)
        comparison.viewChanged.connect(lambda view: self.painting.set_visible(view == "scan"))
        panel.pauseRequested.connect(self.job.pause)
        self.estimating.finished.connect(panel.search.show_estimates)
        self.estimating.cancelled.connect(self._estimate)
        self.estimating.failed.connect(
            lambda error: self.failed.emit(error, _("timing the search"))
        )
        self.session.modelChanged.connect(lambda _: self._estimate())
        panel.cancelRequested.connect(self._cancel)
        self.opening.finished.connect(self._on_opened)
        self.opening.failed.connect(lambda error: self.failed.emit(error, _("opening the scan")))
        self.opening.runningChanged.connect(self._read_next, Qt.ConnectionType.QueuedConnection)
        self.job.progressed.connect(panel.show_progress)
        self.job.runningChanged.connect(panel.show_running)
        self.job.runningChanged.connect(self._on_running)
        self.job.finished.connect(self._on_done)
        self.job.failed.connect(self._on_failed)
        self.job.cancelled.connect(self.stopped)
        self._onTheWay.connect(self._show_on_the_way, Qt.ConnectionType.QueuedConnection)

    def open(self, choice: Choice) -> None:
        """Read a scan and show it, after those that are being read; not during a projection."""
        if self.job.running:
            busy = _("A scan is being projected. Wait or cancel, then open another one.")
            self.failed.emit(ScanError(busy), _("opening the scan"))
            return
        self._to_open.append(choice)
        self._read_next()

    def _read_next(self) -> None:
        if self._to_open and not self.opening.running:
            self.opening.start(open_scan, self._to_open.pop(0))

    def start(self, space: Literal["w", "w+", "w+noise"], budget: str, loss: str) -> None:
        """Project the scan that is open; as of `ProjectionRequest`."""
        loaded = self.rendering.loaded
        if self._opened is None or loaded is None:
            return
        opened, recipe = self._opened, self.session.recipe
        self._at_work = opened
        request = ProjectionRequest(
            opened.scan,
            opened.name,
            self._aligned,
            self.panel.pose.pose,
            self._region() if self.panel.paint.fill.isChecked() else None,
            loss,
            space,
            budget,
            recipe.noise,
            recipe.channel,
            self.session.folder,
        )
        self.painting.end()
        self.wentWell.emit()
        self.job.start(project_scan, loaded, request, self._onTheWay.emit)

    def align(self, pose: str = "auto") -> None:
        """Bring the scan that is open onto the model's grid; `pose` as of `Scan.align`."""
        if self._opened is None or self.rendering.loaded is None:
            return
        self.wentWell.emit()
        self._at_work = self._opened
        loaded, scan = self.rendering.loaded, self._opened.scan
        self.job.start(align_scan, loaded, scan, self.session.folder, pose)

    def fit(self) -> None:
        """Look for the best pose near the one a person moved the scan to."""
        if self._aligned is not None and not self.job.running:
            self._at_work = self._opened
            self.job.start(fit_scan, self._aligned, self.panel.pose.pose)

    @property
    def rested(self) -> bool:
        """Whether nothing runs, and what a search has freed was handed back."""
        return not (self.job.running or self._rest.isActive() or self._tidying.running)

    @property
    def opened(self) -> OpenedScan | None:
        """The scan that is open."""
        return self._opened

    @property
    def aligned(self) -> AlignedScan | None:
        """The scan that is open as the alignment put it, before a person moved it."""
        return self._aligned

    def take_aligned(self, found: AlignedScan, moved: AlignedScan, pose: Pose) -> None:
        """The scan that is open was aligned already, and moved by a pose; nothing is shown."""
        self._aligned = found
        self.panel.show_aligned(moved)
        self.panel.pose.set_pose(pose)
        self.comparison.set_placed(moved, show=False)

    def shutdown(self) -> None:
        """Stop all jobs."""
        self.regions.shutdown()
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
        """Another model was opened, or this one's voxels moved: stop what is under way."""
        if self.job.running:
            self._cancel()
        self._forget_aligned()
        self._estimated = None
        self.estimating.cancel()
        self.panel.search.show_estimates({})

    def _forget_aligned(self) -> None:
        self._aligned = None
        self.painting.forget()
        self.panel.paint.put_away()
        self.comparison.forget_place()
        self.panel.show_aligned(None)

    def _paint(self, on: bool) -> None:
        """Take up the brush on the aligned scan, or put it down."""
        if on:
            self._on_region()
        else:
            self.painting.end()

    def _on_region(self) -> None:
        """Paint, or say how much the chosen layer marks."""
        paint = self.panel.paint
        if not paint.fill.isChecked() or self._aligned is None:
            return
        if isinstance(paint.choice, LayerChoice):
            self.painting.end()
            self.painting.set_visible(False)
            region = paint.choice.region()
            paint.show_painted(region.millilitres if region else 0.0)
            return
        self.comparison.show_placed()
        self.painting.begin(self._aligned.space)
        self.painting.tell()

    def _on_painted(self, millilitres: float) -> None:
        if self.panel.paint.choice is None:
            self.panel.paint.show_painted(millilitres)

    def _region(self) -> Region | None:
        choice = self.panel.paint.choice
        return choice.region() if isinstance(choice, LayerChoice) else self.painting.region()

    def _move(self, pose: Pose) -> None:
        if self._aligned is not None:
            self.moving.submit((self._aligned, pose))

    def _on_moved(self, request: tuple[AlignedScan, Pose], aligned: AlignedScan) -> None:
        if request[0] is self._aligned and not self.job.running:
            self.wentWell.emit()
            self.comparison.set_placed(aligned)
            self.panel.show_aligned(aligned)

    def _on_running(self, running: bool) -> None:
        """A search needs some hundreds of MB that nothing else does."""
        if running:
            is_scan = self.comparison.view == "scan"
            self.shown_before = "scan" if is_scan else "reconstruction"
            self._rest.stop()
        else:
            self._rest.start()

    def _cancel(self) -> None:
        self.panel.show_cancelling()
        self.job.cancel()

    def _on_opened(self, opened: OpenedScan | Several | LabelMap) -> None:
        self.wentWell.emit()
        if isinstance(opened, LabelMap):
            self.labels.add(opened)
            return
        if isinstance(opened, Several):
            self.panel.scan.chooser.ask(opened.question, opened.entries)
            return
        self._opened = opened
        self._forget_aligned()
        self.comparison.set_scan(opened)
        self.panel.show_scan(opened)
        self._estimate()

    def _estimate(self) -> None:
        """Find out how long a search will take, once for a model, while nothing else is done."""
        loaded = self.rendering.loaded
        if loaded is None or loaded is self._estimated or self._opened is None:
            return
        if self.job.running or self.estimating.running:
            return
        self._estimated = loaded
        self.estimating.start(estimate, loaded)

    def _on_done(self, result: AlignedScan | Projected) -> None:
        aligned = result.aligned if isinstance(result, Projected) else result
        if self._at_work is self._opened:
            if not isinstance(result, Projected):  # what was moved is part of it
                self.panel.pose.set_pose(NO_POSE)
            self._aligned = result.found if isinstance(result, Projected) else result
            self.panel.show_aligned(aligned)
        if isinstance(result, Projected):
            if self._at_work is self._opened:
                self.comparison.set_placed(aligned, show=False)
            self.session.add_projected(result)
            self.panel.bring_result()
        elif self._aligned is result:
            self.comparison.set_placed(result)

    def _on_failed(self, error: Exception) -> None:
        self.failed.emit(error, _("projecting the scan"))
        if self._aligned is None and isinstance(error, ScanError):
            self.panel.pose.show_refused()
        self.stopped.emit()

    def _show_on_the_way(self, kind: Kind, volume: Any) -> None:
        if self.job.running:
            self.comparison.show_volume(kind, volume)


def _move(request: tuple[AlignedScan, Pose]) -> AlignedScan:
    """Resample a scan where a person moved it."""
    aligned, pose = request
    return pose.of(aligned)
