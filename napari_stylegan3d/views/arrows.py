"""Arrows over a 2D canvas: direction and distance of tissue movement in the slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import QLineF, QPointF
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

from napari_stylegan3d.views.glass import Glass

ARROW_COLOR, ARROW_SHADOW = QColor(255, 255, 255, 235), QColor(0, 0, 0, 190)
#: Spacing of the arrows; shorter movements are not drawn.
SPACING_MM, LEAST_MM = 8.0, 0.8
#: Length of an arrow relative to the movement, which is a few millimetres at most.
TIMES = 3.0
HEAD_PX, HEAD_WIDTH_PX = 4.0, 1.8


@dataclass(frozen=True, eq=False)
class Field:
    """Movement of tissue on a grid.

    Attributes
    ----------
    moved : ndarray, shape (3, X, Y, Z)
        Millimetres to the right, anterior and superior that the tissue shown at a voxel has moved.
    affine : ndarray, shape (4, 4)
        Voxel indices to RAS+ millimetres.
    """

    moved: np.ndarray
    affine: np.ndarray

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Movement at points (3, N) in mm, of the nearest voxels; 0 outside the grid."""
        back = np.linalg.inv(self.affine)
        index = np.rint(back[:3, :3] @ points_mm + back[:3, 3:]).astype(int)
        last = np.array(self.moved.shape[1:])[:, None] - 1
        inside = ((index >= 0) & (index <= last)).all(axis=0)
        found = self.moved[(slice(None), *np.clip(index, 0, last))]
        return np.where(inside, found, 0.0)


class Arrows(Glass):
    """Follows a viewer model's slice and camera; empty without a field."""

    def __init__(self, canvas: QWidget, model: ViewerModel) -> None:
        camera, dims = model.scene.camera.events, model.dims.events
        signals = (camera.center, camera.zoom, camera.orientation)
        super().__init__(canvas, model, (*signals, dims.point, dims.order))
        self._field: Field | None = None

    def set_field(self, field: Field | None) -> None:
        """Set or remove the field."""
        if field is not self._field:
            self._field = field
            self.update()

    def lines(self) -> list[QLineF]:
        """Arrows from tail to head, in widget pixels."""
        model, field = self.model, self._field
        if field is None or model.dims.ndim != 3 or model.dims.ndisplay != 2:
            return []
        axis, rows, columns = model.dims.order
        camera = model.scene.camera
        half = np.array([self.height(), self.width()]) / 2 / camera.zoom
        middle = np.array(camera.center[-2:])
        # On multiples of the spacing, so that arrows do not swim while one pans.
        across = [
            SPACING_MM * np.arange(np.ceil(low / SPACING_MM), np.floor(high / SPACING_MM) + 1)
            for low, high in zip(middle - half, middle + half, strict=True)
        ]
        grid = np.stack(np.meshgrid(*across, indexing="ij")).reshape(2, -1)
        points = np.empty((3, grid.shape[1]))
        points[axis], points[rows], points[columns] = model.dims.point[axis], grid[0], grid[1]
        moved = field.at(points)[[rows, columns]]
        far = np.linalg.norm(moved, axis=0) >= LEAST_MM
        heads, moved = grid[:, far], moved[:, far]
        return [
            QLineF(self.to_px(*tail), self.to_px(*head))
            for tail, head in zip((heads - TIMES * moved).T, heads.T, strict=True)
        ]

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the arrows, with a shadow for legibility on bright tissue."""
        lines = self.lines()
        if not lines:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for color, width in ((ARROW_SHADOW, 2.2), (ARROW_COLOR, 1.0)):
            painter.setPen(QPen(color, width))
            painter.setBrush(color)
            for line in lines:
                painter.drawLine(line)
                painter.drawPolygon(_head(line))
        painter.end()


def _head(line: QLineF) -> QPolygonF:
    """Head of an arrow."""
    along = QPointF(line.dx(), line.dy()) / max(line.length(), 1e-6)
    across = QPointF(-along.y(), along.x())
    foot = line.p2() - along * HEAD_PX
    return QPolygonF([line.p2(), foot + across * HEAD_WIDTH_PX, foot - across * HEAD_WIDTH_PX])
