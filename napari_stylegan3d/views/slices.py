"""Slices of a viewer's layers as Qt images, for the lightbox."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QRectF
from qtpy.QtGui import QImage, QPainter

from napari_stylegan3d.views.captions import OVERLAY
from napari_stylegan3d.views.orientation import Facing, ViewPlane
from napari_stylegan3d.views.slab import planes_of, projected

TABLE = 256


@dataclass(frozen=True)
class SliceCell:
    """A cell of the lightbox: field of view and orientation.

    Attributes
    ----------
    plane, facing : ViewPlane, Facing
        Orientation.
    box_mm : ndarray
        (2, 3) lowest and highest corner.
    """

    plane: ViewPlane
    facing: Facing
    box_mm: np.ndarray

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height."""
        _, rows, columns = self.plane.order
        size = self.box_mm[1] - self.box_mm[0]
        return float(size[columns]), float(size[rows])

    @property
    def mirrored(self) -> bool:
        """Whether the column axis points left."""
        return self.plane.camera_in(self.facing)[2] == "left"

    def rectangle(self, low: np.ndarray, high: np.ndarray, on: QRectF) -> QRectF:
        """Rectangle in pixels of a box in mm, for a cell drawn on `on`."""
        _, rows, columns = self.plane.order
        scale = on.width() / self.size_mm[0]
        left = low[columns] - self.box_mm[0, columns]
        if self.mirrored:
            left = self.box_mm[1, columns] - high[columns]
        top = self.box_mm[1, rows] - high[rows]
        return QRectF(
            on.left() + left * scale,
            on.top() + top * scale,
            (high[columns] - low[columns]) * scale,
            (high[rows] - low[rows]) * scale,
        )

    def point_mm(self, x: float, y: float, on: QRectF) -> tuple[float, float]:
        """Position in mm of a pixel along the column and row axis."""
        _, rows, columns = self.plane.order
        scale = self.size_mm[0] / on.width()
        right = (x - on.left()) * scale
        low, high = self.box_mm[:, columns]
        across = high - right if self.mirrored else low + right
        return float(across), float(self.box_mm[1, rows] - (y - on.top()) * scale)


def positions(low: float, high: float, spacing: float) -> list[float]:
    """Slice positions in mm, evenly spaced about the middle, ascending."""
    count = max(int((high - low) / spacing), 1)
    middle = (low + high) / 2
    return [middle + spacing * (index - (count - 1) / 2) for index in range(count)]


def best_grid(count: int, aspect: float, width: float, height: float) -> tuple[int, int]:
    """(rows, columns) with the largest cells of an aspect ratio (width / height)."""

    def cell_width(columns: int) -> float:
        rows = -(-count // columns)
        return min(width / columns, height / rows * aspect)

    columns = max(range(1, count + 1), key=cell_width)
    return -(-count // columns), columns


def paint_slice(
    painter: QPainter,
    layers: Iterable[Layer],
    cell: SliceCell,
    position_mm: float,
    on: QRectF,
    slab_mm: float = 0.0,
) -> None:
    """Draw one slice of every visible layer, with its colours; or a slab of it."""
    painter.save()
    painter.setClipRect(on)
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    for layer in layers:
        if not (layer.visible and layer.ndim == 3 and isinstance(layer, Image | Labels)):
            continue
        axis = cell.plane.order[0]
        index = round((position_mm - float(layer.translate[axis])) / float(layer.scale[axis]))
        if not 0 <= index < layer.data.shape[axis]:
            continue
        low = np.asarray(layer.translate) - np.asarray(layer.scale) / 2
        high = low + np.asarray(layer.scale) * layer.data.shape[:3]
        painter.setOpacity(float(layer.opacity))
        painter.drawImage(cell.rectangle(low, high, on), slice_image(layer, cell, index, slab_mm))
    painter.restore()


def slice_image(layer: Layer, cell: SliceCell, index: int, slab_mm: float = 0.0) -> QImage:
    """One slice of a layer in its colours, oriented for a cell."""
    axis, rows, columns = cell.plane.order
    ends = (index, index)
    if isinstance(layer, Image) and OVERLAY not in layer.metadata and slab_mm:
        position = float(layer.translate[axis]) + index * float(layer.scale[axis])
        ends = planes_of(layer, axis, position, slab_mm) or ends
    values = projected(
        np.asarray(layer.data), axis, ends, str(getattr(layer, "projection_mode", ""))
    )
    if rows > columns:
        values = values.T
    values = values[::-1, ::-1] if cell.mirrored else values[::-1]
    rgba = _label_colors(layer, values) if isinstance(layer, Labels) else _colors(layer, values)
    height, width = values.shape
    return QImage(rgba.data, width, height, 4 * width, QImage.Format.Format_RGBA8888).copy()


def _colors(layer: Image, values: np.ndarray) -> np.ndarray:
    low, high = layer.contrast_limits
    table = np.asarray(layer.colormap.map(np.linspace(0, 1, TABLE) ** layer.gamma))
    share = np.nan_to_num((values.astype(np.float32) - low) / max(high - low, 1e-9))
    entries = (np.clip(share, 0, 1) * (TABLE - 1)).astype(np.uint8)
    return np.ascontiguousarray(np.round(255 * table).astype(np.uint8)[entries])


def _label_colors(layer: Labels, values: np.ndarray) -> np.ndarray:
    numbers, places = np.unique(values, return_inverse=True)
    table = np.round(255 * np.asarray(layer.colormap.map(numbers))).astype(np.uint8)
    return np.ascontiguousarray(table[places.reshape(values.shape)])
