"""The twin of a view: shows another volume with the same camera and crosshair."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel
from qtpy.QtCore import QObject, Qt
from qtpy.QtWidgets import QLabel, QSplitter, QWidget

from napari_stylegan3d.views import navigation
from napari_stylegan3d.views.arrangement import SMALLEST
from napari_stylegan3d.views.canvases import make_canvas
from napari_stylegan3d.views.crosshair import Crosshair
from napari_stylegan3d.views.follower import Follower
from napari_stylegan3d.views.framing import BACKGROUND
from napari_stylegan3d.views.labels import Labels
from napari_stylegan3d.views.orientation import orient, orient_volume
from napari_stylegan3d.views.turning import CameraTurner
from napari_stylegan3d.views.volume import VolumeLook
from napari_stylegan3d.widgets.theme import HINT

if TYPE_CHECKING:
    from napari_stylegan3d.views.framing import View
    from napari_stylegan3d.views.look import ViewLook

CAMERA = ("center", "zoom", "orientation", "angles")


class TwinSeat(QLabel):
    """Placeholder for a twin, on the left of its view."""

    def __init__(self, view: View) -> None:
        super().__init__("Preparing A…")
        self.view = view
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setStyleSheet(f"background: {BACKGROUND}; color: {HINT};")
        self.setMinimumSize(*SMALLEST)
        splitter = view.canvas.parentWidget()
        assert isinstance(splitter, QSplitter)
        self.hide()  # visibility is set later
        splitter.insertWidget(splitter.indexOf(view.canvas), self)

    def take(self, canvas: QWidget) -> None:
        """Insert the canvas."""
        splitter = self.parentWidget()
        assert isinstance(splitter, QSplitter)
        splitter.replaceWidget(splitter.indexOf(self), canvas)
        self.leave()

    def leave(self) -> None:
        """Remove the canvas."""
        self.setParent(None)
        self.deleteLater()


class Twin(QObject):
    """The twin of one view."""

    def __init__(self, seat: TwinSeat, viewer: ViewerModel, volume: VolumeLook) -> None:
        view = seat.view
        super().__init__(view.canvas)
        self.view = view
        self.follower = Follower(viewer, view.plane, volume)
        self.model = self.follower.model
        self.canvas = make_canvas(self.model)
        self.model.canvas.background_color_override = BACKGROUND
        seat.take(self.canvas)
        native = self.canvas.canvas.native
        self.crosshair = Crosshair(native, self.model)
        self.labels = Labels(native, self.model, view.plane)
        self._wheel = navigation.install(self.model) if view.plane else None
        self.turning = None if view.turning is None else CameraTurner(self.canvas, self.model)
        if view.turning is not None and self.turning is not None:
            view.turning.join(self.turning)
        self._busy = False
        self._links = [
            (getattr(one.scene.camera.events, name), partial(self._follow, one, other, name))
            for one, other in ((view.model, self.model), (self.model, view.model))
            for name in CAMERA
        ]
        for signal, slot in self._links:
            signal.connect(slot)

    def follow_look(self, look: ViewLook) -> None:
        """Follow the look of its view."""
        self.crosshair.shown = look.crosshair
        self.labels.show_letters(look.letters)
        self.labels.show_scale_bar(look.scale_bar)
        self.labels.set_facing(look.facing)
        if self.view.plane:
            orient(self.model, self.view.plane, look.facing)
        else:
            orient_volume(self.model)
            self.follower.restyle()
        self.copy_camera()

    def copy_camera(self) -> None:
        """Copy the camera of its view."""
        for name in CAMERA:
            self._follow(self.view.model, self.model, name)

    def show_point(self, point: tuple[float, ...]) -> None:
        """Show the slice position."""
        self.labels.set_point(point)
        self.crosshair.update()

    def close(self) -> None:
        """Disconnect."""
        for signal, slot in self._links:
            signal.disconnect(slot)
        if self._wheel is not None:
            navigation.uninstall(self.model, self._wheel)
        if self.turning is not None:
            self.turning.close()
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
