"""Schedules fitting the views to the head."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from napari.components import ViewerModel
from qtpy.QtCore import QObject, QTimer, Signal

from napari_stylegan3d.views.framing import View, frame, frame_volume, is_misfit
from napari_stylegan3d.views.navigation import nearest_voxel


class ViewFitter(QObject):
    """Fits views now or soon; `stop` cancels what is scheduled.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer to fit.
    reset : callable
        Called for a new grid.
    """

    done = Signal()
    """The views have been fitted."""

    def __init__(self, viewer: ViewerModel, reset: Callable[[], None], parent: QObject) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.views: Sequence[View] = ()
        self._fitted: list[tuple[float, ...]] = []
        self._reset_soon, self._snap_soon, self._fit_soon = self._timers = tuple(
            QTimer(self) for _ in range(3)
        )
        slots = (reset, self._snap, self.fit)
        for timer, slot in zip(self._timers, slots, strict=True):
            timer.setSingleShot(True)
            timer.timeout.connect(slot)

    @property
    def fitted(self) -> bool:
        """Whether the user has neither zoomed nor panned since the views were fitted."""
        return self._fitted == self._cameras()

    def _cameras(self) -> list[tuple[float, ...]]:
        cameras = [view.model.scene.camera for view in self.views if view.plane]
        return [(camera.zoom, *camera.center) for camera in cameras]

    def reset_soon(self) -> None:
        """A new grid: wait until all layers are added, then fit once."""
        self._reset_soon.start(0)

    @property
    def waits(self) -> bool:
        """Whether a reset, snap or fit is scheduled."""
        return any(timer.isActive() for timer in self._timers)

    def snap_soon(self) -> None:
        """A layer on another grid was added or removed: restore the point moved by the sliders."""
        self._snap_soon.start(0)

    def fit_soon(self) -> None:
        """Fit after the current event, when the canvases have their new sizes."""
        self._fit_soon.start(0)

    def fit_if_needed(self) -> None:
        """Fit again if a larger or much smaller head is shown, unless the user has zoomed."""
        waits = self.waits or not self._fitted or self.viewer.dims.ndim != 3
        if not waits and self.fitted and is_misfit(self.views, self.viewer):
            self.fit_soon()

    def fit(self) -> None:
        """Show the whole head in every view, at one scale in all three planes."""
        if not self.viewer.layers or self.viewer.dims.ndim != 3:
            return
        flat = [view for view in self.views if view.plane and view.canvas.isVisible()]
        frame(flat, self.viewer)
        self._fitted = self._cameras()
        for view in self.views:
            if view.plane is None:
                frame_volume(view, self.viewer)
        self.done.emit()

    def stop(self) -> None:
        """Cancel everything scheduled."""
        for timer in self._timers:
            timer.stop()
        self.views = ()

    def _snap(self) -> None:
        if self.viewer.layers and self.viewer.dims.ndim == 3:
            self.viewer.dims.point = nearest_voxel(self.viewer, self.viewer.dims.point)
