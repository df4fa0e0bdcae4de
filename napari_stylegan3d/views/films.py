"""The slices of the lightbox."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Layer
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, QSizeF, Qt
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QWidget

from napari_stylegan3d.views.captions import CAPTION_COLORS, LETTER_COLOR, shown
from napari_stylegan3d.views.framing import head_box
from napari_stylegan3d.views.legend import paint_legend
from napari_stylegan3d.views.look import LookModel
from napari_stylegan3d.views.navigation import nearest_voxel
from napari_stylegan3d.views.orientation import PLANES, ViewPlane
from napari_stylegan3d.views.overlays import ColorScale
from napari_stylegan3d.views.slab import in_words
from napari_stylegan3d.views.slices import SliceCell, best_grid, paint_slice, positions

FILM_GAP_PX = 2
FILM_TEXT_PX = 10
#: Cells smaller than this have letters for left and right only.
LETTERED_PX = 120
FILM_CROSS = QColor(79, 195, 247)
#: Margin around the head in mm.
AIR_MM = 4.0
CAPTION_PX = 20
#: Room for the colour bar at the right edge.
BAR_PX = 100
FOLLOWED = (
    "data",
    "contrast_limits",
    "colormap",
    "visible",
    "opacity",
    "gamma",
    "scale",
    "translate",
    "labels_update",
)
#: Undoing a stroke only emits that the slice was redrawn.
FOLLOWED_LABELS = (*FOLLOWED, "set_data")


class Films(QWidget):
    """Paints the slices of the look's plane; a click moves the crosshair.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer with the layers; followed only while the widget is visible.
    looks : LookModel
        ViewPlane, spacing, convention and letters.
    """

    def __init__(self, viewer: ViewerModel, looks: LookModel) -> None:
        super().__init__()
        self.setObjectName("views.lightbox.slices")
        self.setToolTip("Click to go to the slice and point; double-click to return to the views.")
        self.viewer, self.looks = viewer, looks
        self.legend: ColorScale | None = None
        self._image: QImage | None = None
        self._box = np.array([[-90.0, -126.0, -72.0], [90.0, 90.0, 108.0]])
        self._signals: list[tuple[Any, Any]] = []
        self._layers: dict[Layer, list[Any]] = {}
        looks.changed.connect(self._on_look)
        self._signals = [
            (viewer.layers.events.inserted, self._on_inserted),
            (viewer.layers.events.removed, self._on_removed),
            (viewer.layers.events.moved, self.mark),
            (viewer.dims.events.point, self._on_point),
        ]
        for signal, slot in self._signals:
            signal.connect(slot)
        for layer in viewer.layers:
            self._follow(layer)

    @property
    def plane(self) -> ViewPlane:
        """Which slices are shown."""
        return PLANES[self.looks.look.lightbox_plane]

    def sizeHint(self) -> QSize:
        """All available space."""
        return QSize(400, 300)

    def refit(self) -> None:
        """Determine the head's bounding box again."""
        if self.viewer.dims.ndim == 3 and self.viewer.layers:
            box = head_box(self.viewer)
            self._box = np.stack((box[0] - AIR_MM, box[1] + AIR_MM))
        self.mark()

    def set_legend(self, legend: ColorScale | None) -> None:
        """Set the colour bar."""
        self.legend = legend
        self.mark()

    def close_links(self) -> None:
        """Disconnect from the viewer."""
        for signal, slot in self._signals:
            signal.disconnect(slot)
        for layer in list(self._layers):
            self._unfollow(layer)
        self._signals.clear()

    def cells(self) -> list[tuple[float, QRectF]]:
        """(position in mm, rectangle in pixels) of every slice."""
        look, axis = self.looks.look, self.plane.order[0]
        low, high = self._box[:, axis].tolist()
        places = positions(low + AIR_MM, high - AIR_MM, look.spacing_mm)
        width_mm, height_mm = self._cell().size_mm
        room = QSizeF(self.width(), self.height() - CAPTION_PX)
        if self.legend is not None:
            room.setWidth(room.width() - BAR_PX)
        rows, columns = best_grid(len(places), width_mm / height_mm, room.width(), room.height())
        scale = min(room.width() / columns / width_mm, room.height() / rows / height_mm)
        width, height = width_mm * scale, height_mm * scale
        left = (room.width() - columns * width) / 2
        top = (room.height() - rows * height) / 2
        return [
            (
                place,
                QRectF(
                    left + (i % columns) * width,
                    top + (i // columns) * height,
                    width - FILM_GAP_PX,
                    height - FILM_GAP_PX,
                ),
            )
            for i, place in enumerate(places)
        ]

    def mark(self, _: Any = None) -> None:
        """Redraw the slices at the next paint event."""
        self._image = None
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the slices, cached unless they have changed, and the crosshair."""
        if self._image is None:
            self._image = self._compose()
        painter = QPainter(self)
        painter.drawImage(0, 0, self._image)
        if self.looks.look.crosshair and len(self.viewer.dims.point) == 3 and self.viewer.layers:
            self._paint_cross(painter)
        painter.end()

    def resizeEvent(self, event: QEvent) -> None:
        """Recompute the cells."""
        self.mark()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Go to the point under the mouse."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._go(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Follow the mouse while it is held."""
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._go(event.position())

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Return to the views, at that point."""
        self.looks.change(layout="four")

    def _cell(self) -> SliceCell:
        return SliceCell(self.plane, self.looks.look.facing, self._box)

    def _go(self, where: QPointF) -> None:
        if self.viewer.dims.ndim != 3:
            return
        cell = self._cell()
        axis, rows, columns = cell.plane.order
        for place, on in self.cells():
            if on.contains(where):
                point = [0.0, 0.0, 0.0]
                point[axis] = place
                point[columns], point[rows] = cell.point_mm(where.x(), where.y(), on)
                self.viewer.dims.point = nearest_voxel(self.viewer, point)
                return

    def _compose(self) -> QImage:
        ratio = self.devicePixelRatioF()
        image = QImage(self.size() * ratio, QImage.Format.Format_RGB32)
        image.setDevicePixelRatio(ratio)
        image.fill(Qt.GlobalColor.black)
        painter = QPainter(image)
        font = painter.font()
        font.setPixelSize(FILM_TEXT_PX)
        painter.setFont(font)
        cell, look = self._cell(), self.looks.look
        slab_mm = 0.0 if look.slab == "none" else look.slab_mm
        for place, on in self.cells():
            paint_slice(painter, self.viewer.layers, cell, place, on, slab_mm)
            self._paint_words(painter, place, on)
        self._paint_caption(painter)
        if self.legend is not None:
            paint_legend(painter, self.legend, QPointF(self.width() - 6, 6), 100)
        painter.end()
        return image

    def _paint_words(self, painter: QPainter, place: float, on: QRectF) -> None:
        look, axis = self.looks.look, self.plane.order[0]
        painter.setPen(QColor("#e8eaed"))
        side = "RAS"[axis] if place >= 0 else "LPI"[axis]
        where = f"{side} {abs(place):.0f} mm"
        painter.drawText(on.adjusted(3, 2, 0, 0), Qt.AlignmentFlag.AlignLeft, where)
        if not look.letters:
            return
        painter.setPen(QColor(LETTER_COLOR))
        top, bottom, left, right = self.plane.letters_in(look.facing)
        center, middle = Qt.AlignmentFlag.AlignHCenter, Qt.AlignmentFlag.AlignVCenter
        inner = on.adjusted(3, 2, -3, -2)
        painter.drawText(inner, middle | Qt.AlignmentFlag.AlignLeft, left)
        painter.drawText(inner, middle | Qt.AlignmentFlag.AlignRight, right)
        if min(on.width(), on.height()) > LETTERED_PX:
            painter.drawText(inner, center | Qt.AlignmentFlag.AlignTop, top)
            painter.drawText(inner, center | Qt.AlignmentFlag.AlignBottom, bottom)

    def _paint_caption(self, painter: QPainter) -> None:
        provenance = shown(self.viewer)
        if provenance is None:
            return
        font = painter.font()
        font.setPixelSize(FILM_TEXT_PX + 2)
        painter.setFont(font)
        painter.setPen(QColor(CAPTION_COLORS[provenance.kind]))
        below = QRectF(8, self.height() - CAPTION_PX, self.width() - 16, CAPTION_PX)
        words = " · ".join(filter(None, (provenance.one_line, in_words(self.looks.look))))
        painter.drawText(below, Qt.AlignmentFlag.AlignVCenter, words)

    def _paint_cross(self, painter: QPainter) -> None:
        cell, point = self._cell(), np.asarray(self.viewer.dims.point)
        axis = cell.plane.order[0]
        place, on = min(self.cells(), key=lambda found: abs(found[0] - point[axis]))
        if abs(place - point[axis]) > self.looks.look.spacing_mm:
            return
        painter.setPen(QPen(FILM_CROSS, 1.5))
        painter.drawRect(on.adjusted(0.5, 0.5, -0.5, -0.5))
        at = cell.rectangle(point, point, on).topLeft()
        if on.contains(at):
            painter.drawLine(at + QPointF(-6, 0), at + QPointF(6, 0))
            painter.drawLine(at + QPointF(0, -6), at + QPointF(0, 6))

    def _on_look(self, look: Any, before: Any) -> None:
        if look.layout == "lightbox":
            self.refit()

    def _on_point(self, _: Any = None) -> None:
        self.update()

    def _on_inserted(self, event: Any) -> None:
        self._follow(event.value)
        self.mark()

    def _on_removed(self, event: Any) -> None:
        self._unfollow(event.value)
        self.mark()

    def _follow(self, layer: Layer) -> None:
        names = FOLLOWED_LABELS if isinstance(layer, Labels) else FOLLOWED
        signals = [getattr(layer.events, name, None) for name in names]
        self._layers[layer] = [signal for signal in signals if signal is not None]
        for signal in self._layers[layer]:
            signal.connect(self.mark)

    def _unfollow(self, layer: Layer) -> None:
        for signal in self._layers.pop(layer, []):
            signal.disconnect(self.mark)
