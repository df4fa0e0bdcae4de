"""Up to four brains in columns: the three planes through one crosshair, at one scale.

Qt paints the slices, as in the lightbox: twelve OpenGL canvases would take seconds to make and to
draw without a graphics card.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import (
    QColor,
    QFont,
    QFontMetrics,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QWheelEvent,
)
from qtpy.QtWidgets import QWidget

from napari_stylegan3d.views.captions import CAPTION_COLORS, LETTER_COLOR, Provenance
from napari_stylegan3d.views.framing import head_extent
from napari_stylegan3d.views.look import LookModel
from napari_stylegan3d.views.navigation import ZOOM_PER_NOTCH, grid_mm, nearest_voxel
from napari_stylegan3d.views.orientation import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    ViewPlane,
    position_in_letters,
)
from napari_stylegan3d.views.slices import SliceCell, paint_slice
from napari_stylegan3d.widgets.controls import scaled
from napari_stylegan3d.widgets.elided import elided, wrapped

PANE_PLANES = (AXIAL, CORONAL, SAGITTAL)
#: Of the columns: A and B are the two of the other comparisons.
NUMBERS = ("1", "2", "3", "4")
GAP_PX, TEXT_PX, MARGIN_PX = 3, 13, 6
#: Room around the heads.
AIR = 1.06
ZOOMS = (0.5, 12.0)
CROSS = QColor(79, 195, 247, 175)
TITLE = QColor("#e8eaed")


@dataclass(frozen=True, eq=False)
class Pane:
    """One brain: a picture along the world axes, whose it is, and that in words."""

    layer: Image
    provenance: Provenance
    title: str


class Panes(QWidget):
    """Paints the brains; click, wheel and drag act on all of them.

    Parameters
    ----------
    viewer : ViewerModel
        Its crosshair is followed and moved.
    looks : LookModel
        Which way the planes face, and whether crosshair and letters are drawn.
    """

    def __init__(self, viewer: ViewerModel, looks: LookModel) -> None:
        super().__init__()
        self.setObjectName("views.row")
        self.setToolTip(
            "Click to move the crosshair of all brains; turn the wheel for the slices, with "
            "Ctrl to zoom;\ndrag with the middle button to pan."
        )
        self.viewer, self.looks = viewer, looks
        self.panes: tuple[Pane, ...] = ()
        self._zoom, self._middle = 1.0, np.zeros(3)
        self._size = np.ones(3)
        self._held: tuple[ViewPlane, QPointF] | None = None
        viewer.dims.events.point.connect(self._on_change)
        looks.changed.connect(self._on_change)

    def show_panes(self, panes: Sequence[Pane]) -> None:
        """Show these brains; the zoom stays while their number does."""
        fresh = len(panes) != len(self.panes)
        self.panes = tuple(panes)
        if fresh:
            self.fit()
        self.update()

    def fit(self) -> None:
        """Show all heads whole."""
        boxes = np.array([head_extent(pane.layer) for pane in self.panes])
        if len(boxes):
            low, high = boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)
            self._middle, self._size = (low + high) / 2, np.maximum(AIR * (high - low), 1.0)
        self._zoom = 1.0
        self.update()

    def close_links(self) -> None:
        """Disconnect from the viewer."""
        self.viewer.dims.events.point.disconnect(self._on_change)
        self.looks.changed.disconnect(self._on_change)
        self.panes = ()

    def sizeHint(self) -> QSize:
        """All available space."""
        return QSize(400, 300)

    def cells(self) -> Iterator[tuple[int, SliceCell, QRectF]]:
        """(column, what is shown, rectangle in pixels) of every slice."""
        if not self.panes:
            return
        caption = max(map(len, self.captions())) * scaled(TEXT_PX + 4)
        width = self.width() / len(self.panes)
        height = (self.height() - caption) / len(PANE_PLANES)
        scale = self._zoom * min(
            min(width / self._size[plane.order[2]], height / self._size[plane.order[1]])
            for plane in PANE_PLANES
        )
        for column in range(len(self.panes)):
            for row, plane in enumerate(PANE_PLANES):
                on = QRectF(column * width, row * height, width - GAP_PX, height - GAP_PX)
                half = np.zeros(3)
                half[plane.order[2]], half[plane.order[1]] = on.width() / 2, on.height() / 2
                box = np.stack((self._middle - half / scale, self._middle + half / scale))
                yield column, SliceCell(plane, self.looks.look.facing, box), on

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw slices, crosshair, letters, and below each column whose it is."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), Qt.GlobalColor.black)
        painter.setFont(self._font)
        look, point = self.looks.look, np.asarray(self.viewer.dims.point, dtype=float)
        slab_mm = 0.0 if look.slab == "none" else look.slab_mm
        if len(point) == 3:
            for column, cell, on in self.cells():
                place = float(point[cell.plane.order[0]])
                paint_slice(painter, [self.panes[column].layer], cell, place, on, slab_mm)
                self._paint_marks(painter, cell, on, point)
        self._paint_captions(painter)
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Move the crosshair, or begin to pan."""
        found = self._cell_at(event.position())
        if found is None:
            return
        if event.button() == Qt.MouseButton.LeftButton:
            self._go(event.position())
        elif event.button() == Qt.MouseButton.MiddleButton:
            self._held = found[0].plane, event.position()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Follow the mouse while a button is held."""
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._go(event.position())
        elif self._held is not None:
            plane, before = self._held
            cell, on = next((cell, on) for _, cell, on in self.cells() if cell.plane is plane)
            old, new = (
                cell.point_mm(place.x(), place.y(), on) for place in (before, event.position())
            )
            _axis, rows, columns = plane.order
            self._middle[columns] -= new[0] - old[0]
            self._middle[rows] -= new[1] - old[1]
            self._held = plane, event.position()
            self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Stop panning."""
        self._held = None

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll the slices of a plane, or zoom all."""
        notches = event.angleDelta().y() / 120
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._zoom = float(np.clip(self._zoom * ZOOM_PER_NOTCH**notches, *ZOOMS))
            self.update()
            return
        found = self._cell_at(event.position())
        if found is not None and self.viewer.dims.ndim == 3:
            axis = found[0].plane.order[0]
            point = list(nearest_voxel(self.viewer, self.viewer.dims.point))
            point[axis] += notches * grid_mm(self.viewer)[2, axis]
            self.viewer.dims.point = nearest_voxel(self.viewer, point)

    def _cell_at(self, where: QPointF) -> tuple[SliceCell, QRectF] | None:
        return next(((cell, on) for _, cell, on in self.cells() if on.contains(where)), None)

    def _go(self, where: QPointF) -> None:
        found = self._cell_at(where)
        if found is None or self.viewer.dims.ndim != 3:
            return
        cell, on = found
        _axis, rows, columns = cell.plane.order
        point = list(self.viewer.dims.point)
        point[columns], point[rows] = cell.point_mm(where.x(), where.y(), on)
        self.viewer.dims.point = nearest_voxel(self.viewer, point)

    def _paint_marks(
        self, painter: QPainter, cell: SliceCell, on: QRectF, point: np.ndarray
    ) -> None:
        look = self.looks.look
        if look.crosshair:
            at = cell.rectangle(point, point, on).topLeft()
            painter.setPen(QPen(CROSS, 1))
            if on.left() < at.x() < on.right():
                painter.drawLine(QPointF(at.x(), on.top()), QPointF(at.x(), on.bottom()))
            if on.top() < at.y() < on.bottom():
                painter.drawLine(QPointF(on.left(), at.y()), QPointF(on.right(), at.y()))
        inner = on.adjusted(6, 3, -6, -3)
        painter.setPen(TITLE)
        where = f"{position_in_letters(tuple(point), cell.plane.order[0])} mm"
        corner = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop
        painter.drawText(inner, corner, where)
        if look.letters:
            painter.setPen(QColor(LETTER_COLOR))
            top, bottom, left, right = cell.plane.letters_in(look.facing)
            middle, centre = Qt.AlignmentFlag.AlignVCenter, Qt.AlignmentFlag.AlignHCenter
            painter.drawText(inner, middle | Qt.AlignmentFlag.AlignLeft, left)
            painter.drawText(inner, middle | Qt.AlignmentFlag.AlignRight, right)
            painter.drawText(inner, centre | Qt.AlignmentFlag.AlignBottom, bottom)
            if painter.fontMetrics().horizontalAdvance(f"{where}  ") < inner.width() / 2:
                painter.drawText(inner, centre | Qt.AlignmentFlag.AlignTop, top)

    def captions(self) -> list[list[str]]:
        """Lines below each column: whose it is, as far as there is room, and the whole warning."""
        if not self.panes:
            return []
        metrics = QFontMetrics(self._font)
        room = self.width() // len(self.panes) - 2 * MARGIN_PX
        return [
            [
                elided(f"{number}: {pane.title}", metrics, room),
                *wrapped(pane.provenance.warning, metrics, room),
            ]
            for number, pane in zip(NUMBERS, self.panes, strict=False)
        ]

    @property
    def _font(self) -> QFont:
        font = QFont(self.font())
        font.setPixelSize(scaled(TEXT_PX))
        return font

    def _paint_captions(self, painter: QPainter) -> None:
        line, captions = scaled(TEXT_PX + 4), self.captions()
        first = self.height() - max(map(len, captions), default=0) * line
        for column, (pane, lines) in enumerate(zip(self.panes, captions, strict=True)):
            width = self.width() / len(self.panes)
            painter.setPen(QColor(CAPTION_COLORS[pane.provenance.kind]))
            for number, text in enumerate(lines):
                top = first + number * line
                room = QRectF(column * width + MARGIN_PX, top, width - 2 * MARGIN_PX, line)
                painter.drawText(room, Qt.AlignmentFlag.AlignVCenter, text)

    def _on_change(self, *_: object) -> None:
        if self.isVisible():
            self.update()
