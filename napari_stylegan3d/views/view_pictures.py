"""Sharp pictures of the views at any size: drawn at that resolution, not enlarged.

A canvas is drawn into a larger buffer; Qt overlays (labels, crosshair, colour bar, cube) are
painted on top at the same scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QImage, QPainter, QRegion
from qtpy.QtWidgets import QWidget

from napari_stylegan3d.views.canvases import drawn_at

if TYPE_CHECKING:
    from napari.qt import QtViewer

    from napari_stylegan3d.views.four import FourViews
    from napari_stylegan3d.views.framing import View

#: Width of a printed picture and its resolution: 2126 pixels.
PRINT_MM, PRINT_DPI = 180.0, 300.0
MM_PER_INCH = 25.4
#: Maximum size that graphics cards support.
MOST_PIXELS = 8192


def print_scale(width: int) -> float:
    """Scale at which a picture `width` pixels wide is drawn for printing."""
    return PRINT_MM / MM_PER_INCH * PRINT_DPI / max(width, 1)


def view_picture(view: View, scale: float = 1.0) -> QImage:
    """One view as on the screen, `scale` times as large."""
    canvas = view.canvas.canvas.native
    scale = _possible(canvas.width(), canvas.height(), scale)
    image = _drawn(view.canvas, round(canvas.width() * scale), round(canvas.height() * scale))
    _paint_sheets(canvas, image, scale)
    return image


def all_pictures(views: FourViews, scale: float = 1.0) -> QImage:
    """The visible views, arranged as on the screen, `scale` times as large."""
    shown = [view for view in views.views if view.canvas.isVisible()]
    if not shown:
        picture = views.picture().toImage()
        return picture.scaledToWidth(
            round(picture.width() * scale), Qt.TransformationMode.SmoothTransformation
        )
    places = {view.name: _place(view, views) for view in shown}
    left = min(place.x() for place in places.values())
    top = min(place.y() for place in places.values())
    sizes = {view.name: view.canvas.canvas.native.size() for view in shown}
    width = max(places[name].x() + size.width() for name, size in sizes.items()) - left
    height = max(places[name].y() + size.height() for name, size in sizes.items()) - top
    scale = _possible(width, height, scale)
    whole = QImage(round(width * scale), round(height * scale), QImage.Format.Format_RGB32)
    whole.fill(Qt.GlobalColor.darkGray)
    painter = QPainter(whole)
    for view in shown:
        place = places[view.name] - QPoint(left, top)
        target = QPoint(round(place.x() * scale), round(place.y() * scale))
        painter.drawImage(target, view_picture(view, scale))
    painter.end()
    return whole


def _paint_sheets(canvas: QWidget, image: QImage, scale: float) -> None:
    """Paint the Qt overlays of a canvas."""
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.scale(scale, scale)
    for sheet in canvas.findChildren(QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly):
        if sheet.isVisible():
            # Without the window's background, so that the canvas shows through.
            sheet.render(painter, sheet.pos(), QRegion(), QWidget.RenderFlag.DrawChildren)
    painter.end()


def _place(view: View, views: FourViews) -> QPoint:
    return view.canvas.canvas.native.mapTo(views, QPoint(0, 0))


def _possible(width: int, height: int, scale: float) -> float:
    return min(scale, MOST_PIXELS / max(width, height, 1))


def _drawn(canvas: QtViewer, width: int, height: int) -> QImage:
    """Render a canvas with OpenGL at a size in pixels."""
    scene = canvas.canvas.events.source
    with drawn_at(scene, width, height):
        pixels = np.ascontiguousarray(scene.render(size=(width, height), alpha=False))
    image = QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888)
    return image.convertToFormat(QImage.Format.Format_RGB32)
