"""An orientation cube in the 3D view.

Its letters show which side of the patient faces the viewer: R L A P S I.
"""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QFont, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

from napari_stylegan3d.views.captions import LETTER_COLOR
from napari_stylegan3d.views.glass import Glass

#: Size of the widget, and its largest share of a small view.
SIZE_PX, SMALLEST_PX, CUBE_SHARE = 84, 52, 0.25
CUBE_MARGIN_PX = 6
#: Half an edge as a share of the widget, which must hold the diagonal of the cube.
EDGE = 0.5 / np.sqrt(3)
LETTER = 0.18
#: Faces seen more obliquely than this have no letter.
SIDEWAYS = 0.22
LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))
FACE, CUBE_OUTLINE = QColor(70, 78, 92), QColor(190, 198, 208)


class OrientationCube(Glass):
    """Sits in the top right corner of the 3D view."""

    def __init__(self, canvas: QWidget, model: ViewerModel) -> None:
        camera, order = model.scene.camera.events, model.dims.events.order
        super().__init__(canvas, model, (camera.angles, camera.orientation, order))

    def place(self, canvas: QWidget) -> None:
        """Stay in the corner."""
        share = round(CUBE_SHARE * min(canvas.width(), canvas.height()))
        size = min(max(share, SMALLEST_PX), SIZE_PX)
        self.setGeometry(canvas.width() - size - CUBE_MARGIN_PX, CUBE_MARGIN_PX, size, size)

    def faces(self) -> list[tuple[str, np.ndarray]]:
        """Letters and normals of the visible faces.

        Returns
        -------
        list of tuple of (str, ndarray)
            (letter, (3,) normal on the screen: right, up, towards the viewer), from far to near.
        """
        seen = []
        for axis, column in enumerate(axes_on_screen(self.model).T):
            for letter, sign in zip(LETTERS[axis], (-1, 1), strict=True):
                if sign * column[2] > 0:
                    seen.append((letter, sign * column))
        return sorted(seen, key=lambda face: face[1][2])

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the visible faces, unless the view is empty."""
        if self.model.dims.ndisplay != 3 or self.model.dims.ndim != 3:
            return
        if not any(layer.visible for layer in self.model.layers):
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        axes = axes_on_screen(self.model)
        font = QFont(self.font())
        font.setPixelSize(max(round(LETTER * self.width()), 9))
        font.setBold(True)
        painter.setFont(font)
        for letter, middle in self.faces():
            across = [column for column in axes.T if abs(column @ middle) < 0.5]
            self._paint_face(painter, letter, middle, across)
        painter.end()

    def _paint_face(
        self, painter: QPainter, letter: str, middle: np.ndarray, across: list[np.ndarray]
    ) -> None:
        first, second = across
        corners = [middle + a * first + b * second for a, b in ((-1, -1), (-1, 1), (1, 1), (1, -1))]
        facing = float(middle[2])
        painter.setBrush(FACE.lighter(round(70 + 60 * facing)))
        painter.setPen(QPen(CUBE_OUTLINE, 1))
        painter.drawPolygon(QPolygonF([self._point(corner) for corner in corners]))
        if facing > SIDEWAYS:
            color = QColor(LETTER_COLOR)
            color.setAlphaF(min(1.0, 0.35 + facing))
            painter.setPen(color)
            box = QRectF(0, 0, self.width(), self.height())
            box.moveCenter(self._point(middle))
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, letter)

    def _point(self, direction: np.ndarray) -> QPointF:
        half, edge = self.width() / 2, EDGE * self.width()
        return QPointF(half + edge * float(direction[0]), half - edge * float(direction[1]))


def axes_on_screen(model: ViewerModel) -> np.ndarray:
    """(3, 3): columns are the world axes on the screen (right, up, towards the viewer).

    Computed with numpy: scipy, which napari uses, fails while another thread imports torch.
    """
    camera = model.scene.camera
    depth, vertical, horizontal = camera.orientation
    home = np.zeros((3, 3))
    home[0, 2] = 1 if horizontal == "right" else -1
    home[1, 1] = 1 if vertical == "up" else -1
    home[2, 0] = 1 if depth == "towards" else -1
    on_screen = home @ turned(camera.angles).T
    axes = np.empty((3, 3))
    axes[:, list(model.dims.displayed[-3:])] = on_screen
    return axes


def turned(angles: tuple[float, float, float]) -> np.ndarray:
    """(3, 3) rotation of napari's camera from its Euler angles."""
    x, y, z = -np.radians(angles)
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return about_x @ about_y @ about_z
