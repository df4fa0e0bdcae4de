"""When the views are fitted to the head."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from napari.components import ViewerModel
from qtpy.QtCore import QObject, QTimer, Signal

from napari_stylegan3d.views.framing import View, frame, frame_volume
from napari_stylegan3d.views.navigation import nearest_voxel


class Fitting(QObject):
    """Fits views now or soon; `stop` ends what is still to come.

    Parameters
    ----------
    viewer : ViewerModel
        Whose head is framed.
    reset : callable
        What a new grid asks for.
    """

    done = Signal()
    """The views have been fitted."""

    def __init__(self, viewer: ViewerModel, reset: Callable[[], None], parent: QObject) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.views: Sequence[View] = ()
        self._fitted_zoom = 0.0
        self._reset_soon, self._snap_soon, self._fit_soon = self._timers = tuple(
            QTimer(self) for _ in range(3)
        )
        slots = (reset, self._snap, self.fit)
        for timer, slot in zip(self._timers, slots, strict=True):
            timer.setSingleShot(True)
            timer.timeout.connect(slot)

    @property
    def fitted(self) -> bool:
        """Whether nobody has zoomed since the views were fitted."""
        zooms = [view.model.scene.camera.zoom for view in self.views if view.plane]
        return all(zoom == self._fitted_zoom for zoom in zooms)

    def reset_soon(self) -> None:
        """A new grid: wait until every layer is in, then fit once."""
        self._reset_soon.start(0)

    @property
    def waits(self) -> bool:
        """Whether the views are still to be reset, snapped or fitted."""
        return any(timer.isActive() for timer in self._timers)

    def snap_soon(self) -> None:
        """A layer on another grid came or went: napari's sliders move the point to its voxels."""
        self._snap_soon.start(0)

    def fit_soon(self) -> None:
        """The canvases get their new sizes after the present event."""
        self._fit_soon.start(0)

    def fit(self) -> None:
        """Show the whole head in every view, at one scale in all three planes."""
        if not self.viewer.layers or self.viewer.dims.ndim != 3:
            return
        flat = [view for view in self.views if view.plane and view.canvas.isVisible()]
        self._fitted_zoom = frame(flat, self.viewer)
        for view in self.views:
            if view.plane is None:
                frame_volume(view, self.viewer)
        self.done.emit()

    def stop(self) -> None:
        """Nothing more."""
        for timer in self._timers:
            timer.stop()
        self.views = ()

    def _snap(self) -> None:
        if self.viewer.layers and self.viewer.dims.ndim == 3:
            self.viewer.dims.point = nearest_voxel(self.viewer, self.viewer.dims.point)
