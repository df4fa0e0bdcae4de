"""A beside or over B: each view has a twin on its left, or A is on one side of a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QEvent, QObject, QPoint, QPointF, Qt, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QLabel, QSplitter, QWidget

from napari_stylegan3d.views import navigation
from napari_stylegan3d.views.canvases import SMALLEST, CameraTurner, make_canvas
from napari_stylegan3d.views.captions import KEY, OVERLAY, Provenance
from napari_stylegan3d.views.display import DisplayArray, in_words, place, set_limits, thicken
from napari_stylegan3d.views.follower import Follower, VolumeLook
from napari_stylegan3d.views.framing import BACKGROUND, View
from napari_stylegan3d.views.glass import Crosshair, Labels
from napari_stylegan3d.views.orientation import orient, orient_volume
from napari_stylegan3d.widgets.controls import scaled, single_shot
from napari_stylegan3d.widgets.theme import HINT

if TYPE_CHECKING:
    from napari_stylegan3d.views.four import FourViews
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
        self._then: Callable[[], None] = self._fit
        self._soon = single_shot(self, lambda: self._then())
        self._next = single_shot(self, self._make_next)
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
        if self.layer is not None:
            set_limits(self.layer, limits)

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


WIDTH, LETTER_Y, GRIP = 44, 58, 9
#: The line keeps clear of the letters at the top and bottom, and its grip of those at the sides.
END_PX, GRIP_AT = 36, 0.62
#: Distance in pixels within which the line can be grabbed.
NEAR = 12
LINE, TEXT, BEHIND = QColor("#ffb74d"), QColor("#ffffff"), QColor(0, 0, 0, 165)


class SwipeLine(QWidget):
    """A strip of the canvas around the line; only the line itself can be dragged."""

    moved = Signal(int, float)
    """(world axis, millimetre)"""

    def __init__(self, canvas: QWidget, model: ViewerModel, axis: int) -> None:
        super().__init__(canvas)
        self.setObjectName(f"compare.curtain_line.{axis}")
        self.setToolTip("Drag: A to the left of the line, B to the right.")
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.setCursor(Qt.CursorShape.SplitHCursor)
        self.model, self.axis = model, axis
        self.position_mm = 0.0
        camera = model.scene.camera.events
        self._signals = (camera.center, camera.zoom, camera.orientation)
        for signal in self._signals:
            signal.connect(self._place)
        canvas.installEventFilter(self)
        self._place()
        self.show()

    def set_position(self, position_mm: float) -> None:
        """Move the line."""
        self.position_mm = position_mm
        self._place()

    def x_px(self) -> float:
        """Position of the line, in pixels from the left of the canvas."""
        camera = self.model.scene.camera
        across = (self.position_mm - camera.center[-1]) * self._sign()
        return self.parentWidget().width() / 2 + across * camera.zoom

    def close_links(self) -> None:
        """Disconnect from the model and the canvas."""
        for signal in self._signals:
            signal.disconnect(self._place)
        self.parent().removeEventFilter(self)
        self.setParent(None)
        self.deleteLater()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keep the position in mm when the canvas is resized."""
        if event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Grab the line; other clicks go to the canvas."""
        near = abs(event.position().x() - self.width() / 2) <= NEAR
        event.setAccepted(near)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag it."""
        x = self.mapTo(self.parentWidget(), event.position().toPoint()).x()
        x = min(max(x, 0), self.parentWidget().width())
        camera = self.model.scene.camera
        across = (x - self.parentWidget().width() / 2) / camera.zoom
        self.moved.emit(self.axis, float(camera.center[-1] + across * self._sign()))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the line, a grip, and the letters A and B."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle, height = self.width() / 2, self.height()
        painter.setPen(QPen(LINE, 1.5))
        end = min(scaled(END_PX), height // 4)
        painter.drawLine(QPointF(middle, end), QPointF(middle, height - end))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(BEHIND)
        painter.drawRoundedRect(2, LETTER_Y - 15, self.width() - 4, 20, 4, 4)
        painter.setPen(TEXT)
        font = painter.font()
        font.setPixelSize(13)
        font.setBold(True)
        painter.setFont(font)
        painter.drawText(QPoint(7, LETTER_Y), "A")
        painter.drawText(QPoint(self.width() - 16, LETTER_Y), "B")
        painter.setBrush(LINE)
        painter.setPen(Qt.PenStyle.NoPen)
        y = GRIP_AT * height
        for side in (-1, 1):
            tip = QPointF(middle + side * (GRIP + 4), y)
            top, foot = (QPointF(middle + side * 4, y + dy) for dy in (-GRIP, GRIP))
            painter.drawPolygon(QPolygonF([tip, top, foot]))
        painter.end()

    @property
    def is_mirrored(self) -> bool:
        """Whether the axis points to the left of the screen."""
        return bool(self.model.scene.camera.orientation[-1] == "left")

    def _sign(self) -> int:
        return -1 if self.is_mirrored else 1

    def _place(self, _: Any = None) -> None:
        canvas = self.parentWidget()
        self.setGeometry(round(self.x_px() - WIDTH / 2), 0, WIDTH, canvas.height())
        self.update()


SWIPE_NAME = "A (compared)"


class SwipeLayer:
    """Shows A over B in the planes.

    Parameters
    ----------
    viewer : ViewerModel
        The main viewer.
    views : sequence of View
        All views; those with a plane have a copy of the layer.
    """

    def __init__(self, viewer: ViewerModel, views: Sequence[View]) -> None:
        self.viewer = viewer
        self.layer: Image | None = None
        self._views = [view for view in views if view.plane]
        self._volume: DisplayArray | None = None
        #: Position of the curtain in mm by world axis; empty for all of A.
        self._curtain: dict[int, float] = {}
        #: Whether it waits for being shown again.
        self.is_aside = False

    def show(
        self,
        volume: DisplayArray,
        provenance: Provenance,
        limits: tuple[float, float],
        visible: bool,
    ) -> None:
        """Show A above the picture."""
        if self.is_aside and self.viewer.layers[-1] is not self.layer:
            self.hide()  # something lies above it
        new = self.layer is None or self.layer not in self.viewer.layers
        moved = self._volume is None or self._volume.data is not volume.data
        self._volume = volume
        if self.layer is None or new:
            self.layer = Image(
                volume.data,
                name=SWIPE_NAME,
                contrast_limits=limits,
                interpolation2d="linear",
                blending="translucent_no_depth",
                visible=visible,
                metadata={OVERLAY: True, KEY: provenance},
                **volume.layer_kwargs(),
            )
            self.viewer.layers.append(self.layer)
        self.layer.metadata = {OVERLAY: True, KEY: provenance}
        self.set_limits(limits)
        if new or moved or self.is_aside:
            self.is_aside = False
            self._cut()
        self.set_visible(visible)

    def set_limits(self, limits: tuple[float, float]) -> None:
        """Set window and level to those of the picture below."""
        if self.layer is not None:
            set_limits(self.layer, limits)

    def set_visible(self, visible: bool) -> None:
        """Show or hide it."""
        if self.layer is not None and self.layer.visible != visible:
            self.layer.visible = visible

    def hang(self, curtain: dict[int, float]) -> None:
        """Move the curtain: A is shown on its left."""
        self._curtain = dict(curtain)
        self._cut()

    def put_aside(self) -> None:
        """Hide it until it is shown again: adding a layer to the views takes tenths of a second."""
        self._curtain, self.is_aside = {}, self.layer is not None
        self.set_visible(False)

    def hide(self) -> None:
        """Remove it."""
        if self.layer is not None and self.layer in self.viewer.layers:
            self.viewer.layers.remove(self.layer)
        self.layer = self._volume = None
        self._curtain, self.is_aside = {}, False

    def _cut(self) -> None:
        if self.layer is None or self._volume is None:
            return
        for view in self._views:
            shown = next((one for one in view.model.layers if one.name == SWIPE_NAME), None)
            if isinstance(shown, Image):
                place(shown, self._part(view, self._volume))

    def _part(self, view: View, volume: DisplayArray) -> DisplayArray:
        assert view.plane is not None
        axis = view.plane.order[2]
        if axis not in self._curtain:
            return volume
        mirrored = view.model.scene.camera.orientation[-1] == "left"
        return left_part(volume, axis, self._curtain[axis], mirrored)


def left_part(volume: DisplayArray, axis: int, position_mm: float, mirrored: bool) -> DisplayArray:
    """The part of a volume to the left of a line in a view, at least one voxel wide.

    Parameters
    ----------
    volume : DisplayArray
        All of it.
    axis : int
        Horizontal world axis of the view.
    position_mm : float
        Position of the line.
    mirrored : bool
        Whether the axis points left on the screen.
    """
    count = volume.data.shape[axis]
    first, size = volume.translate[axis], volume.scale[axis]
    # Voxels with their centre before the line.
    before = int(np.clip(np.ceil((position_mm - first) / size), 1, count - 1))
    part: list[slice] = [slice(None)] * 3
    part[axis] = slice(before, None) if mirrored else slice(None, before)
    start = list(volume.translate)
    start[axis] = first + size * (before if mirrored else 0)
    return DisplayArray(volume.data[tuple(part)], volume.scale, (start[0], start[1], start[2]))
