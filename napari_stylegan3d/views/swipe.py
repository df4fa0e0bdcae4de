"""A over B in the planes, left of a line that can be dragged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QEvent, QObject, QPoint, QPointF, Qt, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

from napari_stylegan3d.views.captions import KEY, OVERLAY
from napari_stylegan3d.views.display import DisplayArray, place, set_limits
from napari_stylegan3d.views.framing import View
from napari_stylegan3d.widgets.controls import Links, scaled
from stylegan3d.session.provenance import Provenance

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
        self.links = Links()
        self.links.callback(self.deleteLater)
        self.links.callback(self.setParent, None)
        self.links.watch(self, canvas)
        camera = model.scene.camera.events
        for signal in (camera.center, camera.zoom, camera.orientation):
            self.links.connect(signal, self._place)
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
