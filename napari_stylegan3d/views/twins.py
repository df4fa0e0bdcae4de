"""Side by side: each view gets a twin on its left that shows A, with linked camera and cross."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel
from napari.layers import Image
from napari.qt import QtViewer
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QSplitter

from napari_stylegan3d.display import Upright
from napari_stylegan3d.views import navigation
from napari_stylegan3d.views.arrangement import SMALLEST
from napari_stylegan3d.views.captions import KEY, Provenance
from napari_stylegan3d.views.crosshair import Crosshair
from napari_stylegan3d.views.follower import Follower
from napari_stylegan3d.views.framing import BACKGROUND
from napari_stylegan3d.views.labels import Labels
from napari_stylegan3d.views.orientation import orient, orient_volume
from napari_stylegan3d.views.overlays import place
from napari_stylegan3d.views.volume import VolumeLook

if TYPE_CHECKING:
    from napari_stylegan3d.views.four import FourViews
    from napari_stylegan3d.views.framing import View
    from napari_stylegan3d.views.look import Look

CAMERA = ("center", "zoom", "orientation", "angles")


class Twin(QObject):
    """The twin of one view."""

    def __init__(self, view: View, viewer: ViewerModel, volume: VolumeLook) -> None:
        super().__init__(view.canvas)
        self.view = view
        self.follower = Follower(viewer, view.plane, volume)
        self.model = self.follower.model
        self.canvas = QtViewer(self.model)
        self.canvas.dims.setVisible(False)
        self.canvas.setAcceptDrops(False)
        self.canvas.setMinimumSize(*SMALLEST)
        self.model.canvas.background_color_override = BACKGROUND
        splitter = view.canvas.parentWidget()
        assert isinstance(splitter, QSplitter)
        self.splitter = splitter
        splitter.insertWidget(splitter.indexOf(view.canvas), self.canvas)
        native = self.canvas.canvas.native
        self.crosshair = Crosshair(native, self.model)
        self.labels = Labels(native, self.model, view.plane)
        self._wheel = navigation.install(self.model) if view.plane else None
        self._busy = False
        self._links = [
            (getattr(one.scene.camera.events, name), partial(self._follow, one, other, name))
            for one, other in ((view.model, self.model), (self.model, view.model))
            for name in CAMERA
        ]
        for signal, slot in self._links:
            signal.connect(slot)

    def follow_look(self, look: Look) -> None:
        """Look as its view looks."""
        self.crosshair.shown = look.crosshair
        self.labels.show_letters(look.letters)
        self.labels.show_scale_bar(look.scale_bar)
        self.labels.set_convention(look.convention)
        if self.view.plane:
            orient(self.model, self.view.plane, look.convention)
        else:
            orient_volume(self.model)
            self.follower.restyle()
        self.copy_camera()

    def copy_camera(self) -> None:
        """See it from where its view sees it."""
        for name in CAMERA:
            self._follow(self.view.model, self.model, name)

    def show_point(self, point: tuple[float, ...]) -> None:
        """Write where the slice lies."""
        self.labels.set_point(point)
        self.crosshair.update()

    def close(self) -> None:
        """Let go of everything."""
        for signal, slot in self._links:
            signal.disconnect(slot)
        if self._wheel is not None:
            navigation.uninstall(self.model, self._wheel)
        self.labels.close_links()
        self.crosshair.close_links()
        self.follower.close()
        self.canvas.close()
        self.canvas.setParent(None)
        self.canvas.deleteLater()

    def _follow(self, leader: ViewerModel, follower: ViewerModel, name: str, _: Any = None) -> None:
        if self._busy or not self.canvas.isVisible():
            return
        self._busy = True
        try:
            value = getattr(leader.scene.camera, name)
            if getattr(follower.scene.camera, name) != value:
                setattr(follower.scene.camera, name, value)
        finally:
            self._busy = False


class Twins(QObject):
    """Twins of all views, made when they are needed first, then shown and hidden.

    Parameters
    ----------
    views
        The four.
    """

    def __init__(self, views: FourViews) -> None:
        super().__init__(views)
        self.views = views
        self.viewer = ViewerModel()
        self.layer: Image | None = None
        self.shown = False
        self._volume = VolumeLook()
        self._twins: list[Twin] = []
        self._sizes: list[tuple[QSplitter, list[int]]] = []
        self._cameras: list[tuple[View, Any, float]] = []
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._then: Callable[[], None] = self._fit
        self._soon.timeout.connect(lambda: self._then())
        views.looks.changed.connect(self._follow_look)

    @property
    def twins(self) -> tuple[Twin, ...]:
        """In the order of the views."""
        return tuple(self._twins)

    def show(self, volume: Upright, provenance: Provenance, limits: tuple[float, float]) -> None:
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
        if not self.shown:
            self._open()
        for twin in self._twins:
            twin.labels.set_provenance(provenance)

    def set_limits(self, limits: tuple[float, float]) -> None:
        """Show the same intensities black and white as B."""
        if self.layer is not None and tuple(self.layer.contrast_limits) != tuple(limits):
            low, high = self.layer.contrast_limits_range
            self.layer.contrast_limits_range = min(low, limits[0]), max(high, limits[1])
            self.layer.contrast_limits = limits

    def hide(self) -> None:
        """Give B the room back, as it was seen before."""
        if not self.shown:
            return
        self.shown = False
        self.views.viewer.dims.events.point.disconnect(self._follow_point)
        self.viewer.dims.events.point.disconnect(self._lead_point)
        for twin in self._twins:
            twin.canvas.hide()
        for splitter, sizes in self._sizes:
            splitter.setSizes(sizes)
        self._then = self._restore_cameras
        self._soon.start(0)

    def close(self) -> None:
        """Let go of everything, before the views are closed."""
        self._soon.stop()
        self.views.looks.changed.disconnect(self._follow_look)
        if self.shown:
            self.shown = False
            self.views.viewer.dims.events.point.disconnect(self._follow_point)
            self.viewer.dims.events.point.disconnect(self._lead_point)
        for twin in self._twins:
            twin.close()
        self._twins.clear()
        self.viewer.layers.clear()

    def _open(self) -> None:
        self.shown = True
        self._cameras = [
            (view, view.model.scene.camera.center, view.model.scene.camera.zoom)
            for view in self.views.views
        ]
        splitters = {view.canvas.parentWidget() for view in self.views.views}
        self._sizes = [(one, one.sizes()) for one in splitters if isinstance(one, QSplitter)]
        if not self._twins:
            self._twins = [Twin(view, self.viewer, self._volume) for view in self.views.views]
            self._sizes = [(one, self._with_twins(sizes)) for one, sizes in self._sizes]
        look = self.views.looks.look
        for twin in self._twins:
            twin.canvas.setVisible(look.shows(twin.view.name))
        for splitter, _ in self._sizes:
            splitter.setSizes([10_000] * splitter.count())
        self._follow_look(look, None)
        self._follow_point()
        self.views.viewer.dims.events.point.connect(self._follow_point)
        self.viewer.dims.events.point.connect(self._lead_point)
        self._then = self._fit
        self._soon.start(0)

    @staticmethod
    def _with_twins(sizes: list[int]) -> list[int]:
        """Sizes of a splitter in which each canvas has a hidden twin before it now."""
        return [size for canvas in sizes for size in (0, canvas)]

    def _fit(self) -> None:
        self.views.fit()
        for twin in self._twins:
            twin.copy_camera()

    def _restore_cameras(self) -> None:
        for view, center, zoom in self._cameras:
            view.model.scene.camera.center = center
            view.model.scene.camera.zoom = zoom

    def _follow_look(self, look: Look, _before: Look | None) -> None:
        self._volume.look = look
        if not self.shown:
            return
        for twin in self._twins:
            twin.canvas.setVisible(look.shows(twin.view.name))
            twin.follow_look(look)
        self._then = self._fit
        self._soon.start(0)

    def _follow_point(self, _: Any = None) -> None:
        point = self.views.viewer.dims.point
        if tuple(self.viewer.dims.point) != tuple(point) and self.viewer.dims.ndim == len(point):
            self.viewer.dims.point = point
        for twin in self._twins:
            twin.show_point(tuple(point))

    def _lead_point(self, _: Any = None) -> None:
        if tuple(self.views.viewer.dims.point) != tuple(self.viewer.dims.point):
            self.views.viewer.dims.point = self.viewer.dims.point
