"""Opening a scan and projecting it: the work behind the Project tab."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from qtpy.QtCore import QObject, Qt, Signal

from napari_stylegan3d.jobs import OpenedScan, ProjectionRequest, open_scan, project_scan
from napari_stylegan3d.worker import LongJob

if TYPE_CHECKING:
    from napari_stylegan3d.comparison import Comparison
    from napari_stylegan3d.panels.project import ProjectPanel
    from napari_stylegan3d.rendering import Rendering
    from napari_stylegan3d.session import Projected
    from napari_stylegan3d.views.captions import Kind


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
        self.opening, self.job = LongJob(self), LongJob(self)
        self._opened: OpenedScan | None = None
        panel.openRequested.connect(self.open)
        panel.startRequested.connect(self.start)
        panel.cancelRequested.connect(self._cancel)
        self.opening.finished.connect(self._on_opened)
        self.opening.failed.connect(lambda error: self.failed.emit(error, "opening the scan"))
        self.job.progressed.connect(panel.show_progress)
        self.job.runningChanged.connect(panel.show_running)
        self.job.finished.connect(self._on_projected)
        self.job.failed.connect(self._on_failed)
        self.job.cancelled.connect(self.stopped)
        self._onTheWay.connect(self._show_on_the_way, Qt.ConnectionType.QueuedConnection)

    def open(self, path: Path) -> None:
        """Read a scan and show it; does nothing while one is being projected."""
        if self.job.running:
            return
        self.opening.start(open_scan, Path(path))

    def start(self, space: Literal["w", "w+"], budget: str) -> None:
        """Project the scan that is open."""
        loaded = self.rendering.loaded
        if self._opened is None or loaded is None:
            return
        opened, recipe = self._opened, self.session.recipe
        request = ProjectionRequest(
            opened.scan,
            opened.name,
            space,
            budget,
            recipe.noise,
            recipe.channel,
            self.session.folder,
        )
        self.wentWell.emit()
        self.job.start(project_scan, loaded, request, self._onTheWay.emit)

    def shutdown(self) -> None:
        """Stop both jobs."""
        self.opening.shutdown()
        self.job.shutdown()

    def forget_model(self) -> None:
        """Another model was opened, or this one's voxels moved: stop what is under way."""
        if self.job.running:
            self._cancel()

    def _cancel(self) -> None:
        self.panel.show_cancelling()
        self.job.cancel()

    def _on_opened(self, opened: OpenedScan) -> None:
        self._opened = opened
        self.comparison.set_scan(opened)
        self.panel.show_scan(opened)
        self.wentWell.emit()

    def _on_projected(self, projected: Projected) -> None:
        self.session.add_projected(projected)

    def _on_failed(self, error: Exception) -> None:
        self.failed.emit(error, "projecting the scan")
        self.stopped.emit()

    def _show_on_the_way(self, kind: Kind, volume: Any) -> None:
        if self.job.running:
            self.comparison.show_volume(kind, volume)
