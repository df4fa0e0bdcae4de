"""Side-by-side comparison: each view has a twin on its left for A, with linked camera.

Without a graphics card a canvas takes a third of a second to create. Twins are created one by one
in the background, only for visible views, and reused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QSplitter, QWidget

from napari_stylegan3d.views.captions import KEY, Provenance
from napari_stylegan3d.views.display import DisplayArray, place
from napari_stylegan3d.views.slab import in_words, thicken
from napari_stylegan3d.views.twin import Twin, TwinSeat
from napari_stylegan3d.views.volume import VolumeLook

if TYPE_CHECKING:
    from napari_stylegan3d.views.four import FourViews
    from napari_stylegan3d.views.framing import View
    from napari_stylegan3d.views.look import ViewLook


class Twins(QObject):
    """Twins of all views, created on first use, then shown and hidden.

    Parameters
    ----------
    views : FourViews
        The four views.
    """

    def __init__(self, views: FourViews) -> None:
        super().__init__(views)
        self.views = views
        self.viewer = ViewerModel()
        self.layer: Image | None = None
        self.shown = False
        self._volume = VolumeLook()
        self._provenance: Provenance | None = None
        #: By name of the view; a seat until the twin exists.
        self._seats: dict[str, TwinSeat] = {}
        self._twins: dict[str, Twin] = {}
        self._sizes: list[tuple[QSplitter, list[int]]] = []
        self._cameras: list[tuple[View, Any, float]] = []
        #: Whether the views showed the whole head when the twins were opened.
        self._was_fitted = True
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._then: Callable[[], None] = self._fit
        self._soon.timeout.connect(lambda: self._then())
        self._next = QTimer(self)
        self._next.setSingleShot(True)
        self._next.timeout.connect(self._make_next)
        views.looks.changed.connect(self._follow_look)

    @property
    def twins(self) -> tuple[Twin, ...]:
        """Existing twins, in the order of the views."""
        names = [view.name for view in self.views.views]
        return tuple(self._twins[name] for name in names if name in self._twins)

    @property
    def is_complete(self) -> bool:
        """Whether every visible view has its twin."""
        return not self._missing()

    def show(
        self, volume: DisplayArray, provenance: Provenance, limits: tuple[float, float]
    ) -> None:
        """Show A in the twins."""
        if self.layer is None:
            self.layer = Image(
                volume.data,
                contrast_limits=limits,
                interpolation2d="linear",
                rendering="attenuated_mip",
                attenuation=0.5,
                metadata={KEY: provenance},
                **volume.layer_kwargs(),
            )
            self.viewer.layers.append(self.layer)
        if self.layer.data is not volume.data:
            place(self.layer, volume)
        self.set_limits(limits)
        self._provenance = provenance
        if not self.shown:
            self._open()
        for twin in self.twins:
            twin.labels.set_provenance(provenance)

    def set_limits(self, limits: tuple[float, float]) -> None:
        """Set window and level to those of B."""
        if self.layer is not None and tuple(self.layer.contrast_limits) != tuple(limits):
            low, high = self.layer.contrast_limits_range
            self.layer.contrast_limits_range = min(low, limits[0]), max(high, limits[1])
            self.layer.contrast_limits = limits

    def hide(self) -> None:
        """Hide the twins and restore the views."""
        if not self.shown:
            return
        self.shown = False
        self._next.stop()
        self.views.viewer.dims.events.point.disconnect(self._follow_point)
        self.viewer.dims.events.point.disconnect(self._lead_point)
        for room in self._rooms():
            room.hide()
        for splitter, sizes in self._sizes:
            splitter.setSizes(sizes)
        self._then = self.views.fit if self._was_fitted else self._restore_cameras
        self._soon.start(0)

    def close(self) -> None:
        """Disconnect, before the views are closed."""
        self._soon.stop()
        self._next.stop()
        self.views.looks.changed.disconnect(self._follow_look)
        if self.shown:
            self.shown = False
            self.views.viewer.dims.events.point.disconnect(self._follow_point)
            self.viewer.dims.events.point.disconnect(self._lead_point)
        for twin in self.twins:
            twin.close()
        for seat in self._seats.values():
            seat.leave()
        self._twins.clear()
        self._seats.clear()
        self.viewer.layers.clear()

    def _open(self) -> None:
        self.shown = True
        self._was_fitted = self.views.is_fitted
        self._cameras = [
            (view, view.model.scene.camera.center, view.model.scene.camera.zoom)
            for view in self.views.views
        ]
        splitters = {view.canvas.parentWidget() for view in self.views.views}
        self._sizes = [(one, one.sizes()) for one in splitters if isinstance(one, QSplitter)]
        if not self._seats and not self._twins:
            self._seats = {view.name: TwinSeat(view) for view in self.views.views}
            self._sizes = [(one, self._with_twins(sizes)) for one, sizes in self._sizes]
        look = self.views.looks.look
        self._arrange(look)
        for splitter, _ in self._sizes:
            splitter.setSizes([10_000] * splitter.count())
        self._follow_look(look, None)
        self._follow_point()
        self.views.viewer.dims.events.point.connect(self._follow_point)
        self.viewer.dims.events.point.connect(self._lead_point)
        self._then = self._fit
        self._soon.start(0)

    def _rooms(self) -> list[QWidget]:
        """Widget on the left of each view."""
        return [*(twin.canvas for twin in self._twins.values()), *self._seats.values()]

    def _arrange(self, look: ViewLook) -> None:
        """Show the twins of the views in a look."""
        for name, seat in self._seats.items():
            seat.setVisible(look.shows(name))
        for name, twin in self._twins.items():
            twin.canvas.setVisible(look.shows(name))

    def _missing(self) -> list[TwinSeat]:
        """Visible seats."""
        look = self.views.looks.look
        return [seat for name, seat in self._seats.items() if self.shown and look.shows(name)]

    def _make_next(self) -> None:
        """Create one twin, and schedule the next after pending events."""
        missing = self._missing()
        if not missing:
            return
        view = missing[0].view
        twin = Twin(self._seats.pop(view.name), self.viewer, self._volume)
        self._twins[view.name] = twin
        twin.follow_look(self.views.looks.look)
        self._thicken(self.views.looks.look)
        twin.labels.set_provenance(self._provenance)
        twin.show_point(tuple(self.views.viewer.dims.point))
        if missing[1:]:
            self._next.start(0)

    @staticmethod
    def _with_twins(sizes: list[int]) -> list[int]:
        """Splitter sizes after adding a hidden twin before each canvas."""
        return [size for canvas in sizes for size in (0, canvas)]

    def _fit(self) -> None:
        self.views.fit()
        for twin in self.twins:
            twin.copy_camera()

    def _restore_cameras(self) -> None:
        for view, center, zoom in self._cameras:
            view.model.scene.camera.center = center
            view.model.scene.camera.zoom = zoom

    def _follow_look(self, look: ViewLook, _before: ViewLook | None) -> None:
        self._volume.look = look
        self._thicken(look)
        if not self.shown:
            return
        self._arrange(look)
        for twin in self.twins:
            twin.follow_look(look)
        self._next.start(0)
        self._then = self._fit
        self._soon.start(0)

    def _follow_point(self, _: Any = None) -> None:
        point = self.views.viewer.dims.point
        if tuple(self.viewer.dims.point) != tuple(point) and self.viewer.dims.ndim == len(point):
            self.viewer.dims.point = point
        for twin in self.twins:
            twin.show_point(tuple(point))

    def _thicken(self, look: ViewLook) -> None:
        planes = [twin.model for twin in self.twins if twin.view.plane]
        layers = [] if self.layer is None else [self.layer]
        thicken(look, planes, layers)
        for twin in self.twins:
            twin.labels.set_slab(in_words(look))

    def _lead_point(self, _: Any = None) -> None:
        if tuple(self.views.viewer.dims.point) != tuple(self.viewer.dims.point):
            self.views.viewer.dims.point = self.viewer.dims.point
