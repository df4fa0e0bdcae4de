"""Slices that Qt paints: the lightbox, and brains side by side in columns."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from qtpy import QtGui
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, QSizeF, Qt, Signal
from qtpy.QtWidgets import QWidget

from napari_stylegan3d.views import display
from napari_stylegan3d.views.canvases import head_box, head_extent
from napari_stylegan3d.views.glass import paint_legend
from napari_stylegan3d.views.layers import ColorScale
from napari_stylegan3d.views.look import LookModel, ViewLook, in_words, look_form, show_in
from napari_stylegan3d.views.navigation import ZOOM_PER_NOTCH, nearest_voxel, turn_slices
from napari_stylegan3d.views.stage import Levels, Stage
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import Links, painting, scaled
from stylegan3d.pages.shortening import elided, wrapped
from stylegan3d.session.provenance import Provenance, Side

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

    plane: display.ViewPlane
    facing: display.Facing
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
    painter: QtGui.QPainter,
    layers: Iterable[Layer],
    cell: SliceCell,
    position_mm: float,
    on: QRectF,
    slab_mm: float = 0.0,
) -> None:
    """Draw one slice of every visible layer, with its colours; or a slab of it."""
    painter.save()
    painter.setClipRect(on)
    painter.setRenderHint(QtGui.QPainter.RenderHint.SmoothPixmapTransform)
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


def slice_image(layer: Layer, cell: SliceCell, index: int, slab_mm: float = 0.0) -> QtGui.QImage:
    """One slice of a layer in its colours, oriented for a cell."""
    axis, rows, columns = cell.plane.order
    ends = (index, index)
    if isinstance(layer, Image) and display.OVERLAY not in layer.metadata and slab_mm:
        position = float(layer.translate[axis]) + index * float(layer.scale[axis])
        ends = display.planes_of(layer, axis, position, slab_mm) or ends
    values = display.projected(
        np.asarray(layer.data), axis, ends, str(getattr(layer, "projection_mode", ""))
    )
    if rows > columns:
        values = values.T
    values = values[::-1, ::-1] if cell.mirrored else values[::-1]
    rgba = _label_colors(layer, values) if isinstance(layer, Labels) else _colors(layer, values)
    height, width = values.shape
    return QtGui.QImage(
        rgba.data, width, height, 4 * width, QtGui.QImage.Format.Format_RGBA8888
    ).copy()


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


FILM_GAP_PX = 2
FILM_TEXT_PX = 10
#: Cells smaller than this have letters for left and right only.
LETTERED_PX = 120
FILM_CROSS = QtGui.QColor(79, 195, 247)
#: Margin around the head in mm.
AIR_MM = 4.0
CAPTION_PX = 20
#: Room for the colour bar at the right edge.
BAR_PX = 100
FOLLOWED = (
    *("data", "scale", "translate", "visible", "opacity"),
    *("contrast_limits", "colormap", "gamma", "labels_update"),
)
#: Undoing a stroke only emits that the slice was redrawn.
FOLLOWED_LABELS = (*FOLLOWED, "set_data")


def paint_letters(
    painter: QtGui.QPainter, inner: QRectF, letters: Sequence[str], top: bool, bottom: bool = True
) -> None:
    """What is at the top, bottom, left and right edge of a slice; the first two if wanted."""
    flag = Qt.AlignmentFlag
    edges = flag.AlignTop, flag.AlignBottom, flag.AlignLeft, flag.AlignRight
    painter.setPen(QtGui.QColor(display.LETTER_COLOR))
    for letter, edge, wanted in zip(letters, edges, (top, bottom, True, True), strict=True):
        across = flag.AlignHCenter if edge in edges[:2] else flag.AlignVCenter
        painter.drawText(inner, edge | across, letter if wanted else "")


class Films(QWidget):
    """Paints the slices of the look's plane; a click moves the crosshair.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer with the layers; followed only while the widget is visible.
    looks : LookModel
        ViewPlane, spacing, convention and letters.
    """

    #: A layer or the colour bar is another: what paints them must be painted again.
    marked = Signal()

    def __init__(self, viewer: ViewerModel, looks: LookModel) -> None:
        super().__init__()
        self.setObjectName("views.lightbox.slices")
        self.setToolTip("Click to go to the slice and point; double-click to return to the views.")
        self.viewer, self.looks = viewer, looks
        self.legend: ColorScale | None = None
        self._image: QtGui.QImage | None = None
        self._box = np.array([[-90.0, -126.0, -72.0], [90.0, 90.0, 108.0]])
        self._layers: dict[Layer, Links] = {}
        looks.changed.connect(self._on_look)
        self.links = Links()
        self.links.callback(self._unfollow_all)
        self.links.connect(viewer.layers.events.inserted, self._on_inserted)
        self.links.connect(viewer.layers.events.removed, self._on_removed)
        self.links.connect(viewer.layers.events.moved, self.mark)
        self.links.connect(viewer.dims.events.point, lambda _: self.update())
        for layer in viewer.layers:
            self._follow(layer)

    @property
    def plane(self) -> display.ViewPlane:
        """Which slices are shown."""
        return display.PLANES[self.looks.look.lightbox_plane]

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
        self.marked.emit()

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw the slices, cached unless they have changed, and the crosshair."""
        if self._image is None:
            self._image = self._compose()
        with painting(self, smooth=False) as painter:
            painter.drawImage(0, 0, self._image)
            if (
                self.looks.look.crosshair
                and len(self.viewer.dims.point) == 3
                and self.viewer.layers
            ):
                self._paint_cross(painter)

    def resizeEvent(self, event: QEvent) -> None:
        """Recompute the cells."""
        self.mark()

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        """Go to the point under the mouse."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._go(event.position())

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        """Follow the mouse while it is held."""
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._go(event.position())

    def mouseDoubleClickEvent(self, event: QtGui.QMouseEvent) -> None:
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

    def _compose(self) -> QtGui.QImage:
        ratio = self.devicePixelRatioF()
        image = QtGui.QImage(self.size() * ratio, QtGui.QImage.Format.Format_RGB32)
        image.setDevicePixelRatio(ratio)
        image.fill(Qt.GlobalColor.black)
        with painting(image, smooth=False) as painter:
            controls.set_letters(painter, FILM_TEXT_PX)
            cell, look = self._cell(), self.looks.look
            slab_mm = 0.0 if look.slab == "none" else look.slab_mm
            for place, on in self.cells():
                paint_slice(painter, self.viewer.layers, cell, place, on, slab_mm)
                self._paint_words(painter, place, on)
            self._paint_caption(painter)
            if self.legend is not None:
                paint_legend(painter, self.legend, QPointF(self.width() - 6, 6), 100)
        return image

    def _paint_words(self, painter: QtGui.QPainter, place: float, on: QRectF) -> None:
        look, axis = self.looks.look, self.plane.order[0]
        painter.setPen(QtGui.QColor("#e8eaed"))
        side = "RAS"[axis] if place >= 0 else "LPI"[axis]
        where = f"{side} {abs(place):.0f} mm"
        painter.drawText(on.adjusted(3, 2, 0, 0), Qt.AlignmentFlag.AlignLeft, where)
        if look.letters:
            large = min(on.width(), on.height()) > LETTERED_PX
            inner = on.adjusted(3, 2, -3, -2)
            paint_letters(painter, inner, self.plane.letters_in(look.facing), large, large)

    def _paint_caption(self, painter: QtGui.QPainter) -> None:
        provenance = display.shown(self.viewer)
        if provenance is None:
            return
        controls.set_letters(painter, FILM_TEXT_PX + 2)
        painter.setPen(QtGui.QColor(display.color_of(provenance)))
        below = QRectF(8, self.height() - CAPTION_PX, self.width() - 16, CAPTION_PX)
        words = " · ".join(filter(None, (provenance.one_line, in_words(self.looks.look))))
        painter.drawText(below, Qt.AlignmentFlag.AlignVCenter, words)

    def _paint_cross(self, painter: QtGui.QPainter) -> None:
        cell, point = self._cell(), np.asarray(self.viewer.dims.point)
        axis = cell.plane.order[0]
        place, on = min(self.cells(), key=lambda found: abs(found[0] - point[axis]))
        if abs(place - point[axis]) > self.looks.look.spacing_mm:
            return
        painter.setPen(QtGui.QPen(FILM_CROSS, 1.5))
        painter.drawRect(on.adjusted(0.5, 0.5, -0.5, -0.5))
        at = cell.rectangle(point, point, on).topLeft()
        if on.contains(at):
            painter.drawLine(at + QPointF(-6, 0), at + QPointF(6, 0))
            painter.drawLine(at + QPointF(0, -6), at + QPointF(0, 6))

    def _on_look(self, look: Any, before: Any) -> None:
        if look.layout == "lightbox":
            self.refit()

    def _on_inserted(self, event: Any) -> None:
        self._follow(event.value)
        self.mark()

    def _on_removed(self, event: Any) -> None:
        self._unfollow(event.value)
        self.mark()

    def _follow(self, layer: Layer) -> None:
        names = FOLLOWED_LABELS if isinstance(layer, Labels) else FOLLOWED
        self._layers[layer] = Links()
        for name in names:
            if hasattr(layer.events, name):
                self._layers[layer].connect(getattr(layer.events, name), self.mark)

    def _unfollow_all(self) -> None:
        for layer in list(self._layers):
            self._unfollow(layer)

    def _unfollow(self, layer: Layer) -> None:
        if layer in self._layers:
            self._layers.pop(layer).close()


class Lightbox(QWidget):
    """Replaces the four views."""

    def __init__(self, viewer: ViewerModel, looks: LookModel) -> None:
        super().__init__()
        self.setObjectName("views.lightbox")
        self.looks = looks
        self.films = Films(viewer, looks)
        names = {"lightbox_plane": "lightbox.plane", "spacing_mm": "lightbox.spacing"}
        self.form = look_form(looks, tuple(names), names)
        self.plane, self.spacing = map(self.form.native, names)
        self.spacing.setPrefix("every ")
        self.back = controls.push_button("views.lightbox.close")
        self.back.clicked.connect(lambda: looks.change(layout="four"))
        self.links = self.films.links
        self.links.connect(looks.changed, self._show)
        self._lay_out()
        self._show(looks.look)

    def _lay_out(self) -> None:
        hint = controls.hint("Click to go there.")
        hint.setWordWrap(False)
        strip = controls.row(self.plane, self.spacing, hint, self.back, stretch=2)
        strip.setContentsMargins(10, 5, 10, 5)
        controls.stack(strip, self.films, on=self, stretch=1, spacing=0)

    def _show(self, look: ViewLook, _before: ViewLook | None = None) -> None:
        show_in(self.form, look)


PANE_PLANES = (display.AXIAL, display.CORONAL, display.SAGITTAL)
#: Of the columns: A and B are the two of the other comparisons.
NUMBERS = ("1", "2", "3", "4")
GAP_PX, TEXT_PX, MARGIN_PX = 3, 13, 6
#: Room around the heads.
AIR = 1.06
ZOOMS = (0.5, 12.0)
CROSS = QtGui.QColor(79, 195, 247, 175)
TITLE = QtGui.QColor("#e8eaed")


@dataclass(frozen=True, eq=False)
class Pane:
    """One brain.

    Attributes
    ----------
    layer : Image
        Picture along the world axes with its provenance; nothing is shown while it is hidden.
    title : str
        Whose it is; A and B say so themselves.
    layers : iterable of Layer
        All that is painted, from below; empty for the picture alone.
    """

    layer: Image
    title: str = ""
    layers: Iterable[Layer] = ()

    @property
    def provenance(self) -> Provenance | None:
        """Whose it is, while it is shown."""
        return self.layer.metadata.get(display.KEY) if self.layer.visible else None

    def words(self, number: str) -> tuple[str, str]:
        """Whose it is, with its letter or the number of its column, and the warning."""
        told = self.provenance
        if told is None:
            return "", ""
        if not isinstance(told, Side):
            return f"{number}: {self.title}", told.warning
        return told.caption.removesuffix(told.warning).strip().replace("\n", ": "), told.warning


def _in_two_lines(title: str, metrics: QtGui.QFontMetrics, room: int) -> list[str]:
    """A title, which begins with whose it is; what is left out is in the second line."""
    first, *more = wrapped(title, metrics, room) or [""]
    return [elided(line, metrics, room) for line in (first, " ".join(more)) if line]


class Panes(QWidget):
    """Paints the brains in three planes, or in the enlarged one; the mouse acts on all of them.

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
            "Ctrl to zoom;\ndrag with the middle button to pan, with the right one for window "
            "and level; double-click to enlarge a plane."
        )
        self.viewer, self.looks = viewer, looks
        self.panes: tuple[Pane, ...] = ()
        #: Has window and level, and the colour bar.
        self.stage: Stage | None = None
        self._zoom, self._middle = 1.0, np.zeros(3)
        self._size = np.ones(3)
        self._held: tuple[display.ViewPlane, QPointF] | None = None
        #: Where the right button was pressed, and window and level then.
        self._pressed: tuple[QPointF, Levels] | None = None
        #: The crosshair before the last click: a double click does not move it.
        self._point: tuple[float, ...] = ()
        self.links = Links()
        for name, gone in (("panes", ()), ("stage", None)):
            self.links.callback(setattr, self, name, gone)
        self.links.connect(viewer.dims.events.point, self._on_change)
        self.links.connect(looks.changed, self._on_change)

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

    @property
    def planes(self) -> tuple[display.ViewPlane, ...]:
        """From top to bottom."""
        look = self.looks.look
        alone = look.layout == "one" and look.alone in display.PLANES
        return (display.PLANES[look.alone],) if alone else PANE_PLANES

    def sizeHint(self) -> QSize:
        """All available space."""
        return QSize(400, 300)

    def cells(self) -> Iterator[tuple[int, SliceCell, QRectF]]:
        """(column, what is shown, rectangle in pixels) of every slice."""
        if not self.panes:
            return
        caption = max(map(len, self.captions())) * scaled(TEXT_PX + 4)
        width = self.width() / len(self.panes)
        height = (self.height() - caption) / len(self.planes)
        scale = self._zoom * min(
            min(width / self._size[plane.order[2]], height / self._size[plane.order[1]])
            for plane in self.planes
        )
        for column in range(len(self.panes)):
            for row, plane in enumerate(self.planes):
                on = QRectF(column * width, row * height, width - GAP_PX, height - GAP_PX)
                half = np.zeros(3)
                half[plane.order[2]], half[plane.order[1]] = on.width() / 2, on.height() / 2
                box = np.stack((self._middle - half / scale, self._middle + half / scale))
                yield column, SliceCell(plane, self.looks.look.facing, box), on

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw slices, crosshair, letters, and below each column whose it is."""
        with painting(self, smooth=False) as painter:
            painter.fillRect(self.rect(), Qt.GlobalColor.black)
            painter.setFont(self._font)
            look, point = self.looks.look, np.asarray(self.viewer.dims.point, dtype=float)
            slab_mm = 0.0 if look.slab == "none" else look.slab_mm
            if len(point) == 3:
                for column, cell, on in self.cells():
                    pane, place = self.panes[column], float(point[cell.plane.order[0]])
                    if pane.layer.visible:
                        paint_slice(painter, pane.layers or [pane.layer], cell, place, on, slab_mm)
                    self._paint_marks(painter, cell, on, point)
            self._paint_captions(painter)
            if self.stage is not None and self.stage.legend is not None:
                paint_legend(painter, self.stage.legend, QPointF(self.width() - 6, 22), 100)

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        """Move the crosshair, or begin to pan or to set window and level."""
        found = self._cell_at(event.position())
        if found is None:
            return
        if event.button() == Qt.MouseButton.LeftButton:
            self._point = tuple(self.viewer.dims.point)
            self._go(event.position())
        elif event.button() == Qt.MouseButton.MiddleButton:
            self._held = found[0].plane, event.position()
        elif event.button() == Qt.MouseButton.RightButton and self.stage is not None:
            self._pressed = event.position(), self.stage.levels

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        """Follow the mouse while a button is held."""
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._go(event.position())
        elif self._pressed is not None and self.stage is not None:
            where, levels = self._pressed
            moved = event.position() - where
            self.stage.drag_levels(levels, moved.x(), -moved.y())
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

    def mouseReleaseEvent(self, event: QtGui.QMouseEvent) -> None:
        """Stop panning."""
        self._held = self._pressed = None

    def mouseDoubleClickEvent(self, event: QtGui.QMouseEvent) -> None:
        """Enlarge a plane or return; with the right button, reset window and level."""
        found = self._cell_at(event.position())
        if event.button() == Qt.MouseButton.RightButton and self.stage is not None:
            self.stage.reset_levels()
        elif event.button() == Qt.MouseButton.LeftButton and found is not None:
            if len(self._point) == self.viewer.dims.ndim:
                self.viewer.dims.point = self._point
            one = self.looks.look.layout == "one"
            self.looks.change(layout="four" if one else "one", alone=found[0].plane.name)

    def wheelEvent(self, event: QtGui.QWheelEvent) -> None:
        """Scroll the slices of a plane, or zoom all."""
        notches = event.angleDelta().y() / 120
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._zoom = float(np.clip(self._zoom * ZOOM_PER_NOTCH**notches, *ZOOMS))
            self.update()
            return
        self.turn_slices(event.position(), notches)

    def turn_slices(self, where: QPointF, count: float) -> bool:
        """Move by slices of the plane that is there; whether there is one."""
        found = self._cell_at(where)
        if found is None or self.viewer.dims.ndim != 3:
            return False
        turn_slices(self.viewer, count, found[0].plane.order[0])
        return True

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
        self, painter: QtGui.QPainter, cell: SliceCell, on: QRectF, point: np.ndarray
    ) -> None:
        look = self.looks.look
        if look.crosshair:
            at = cell.rectangle(point, point, on).topLeft()
            painter.setPen(QtGui.QPen(CROSS, 1))
            if on.left() < at.x() < on.right():
                painter.drawLine(QPointF(at.x(), on.top()), QPointF(at.x(), on.bottom()))
            if on.top() < at.y() < on.bottom():
                painter.drawLine(QPointF(on.left(), at.y()), QPointF(on.right(), at.y()))
        inner = on.adjusted(6, 3, -6, -3)
        painter.setPen(TITLE)
        where = f"{display.position_in_letters(tuple(point), cell.plane.order[0])} mm"
        where = " · ".join(filter(None, (in_words(look), where)))
        corner = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop
        painter.drawText(inner, corner, where)
        if look.letters:
            free = painter.fontMetrics().horizontalAdvance(f"{where}  ") < inner.width() / 2
            paint_letters(painter, inner, cell.plane.letters_in(look.facing), free)

    def captions(self) -> list[list[str]]:
        """Lines below each column: whose it is, and the warning."""
        if not self.panes:
            return []
        metrics = QtGui.QFontMetrics(self._font)
        room = self.width() // len(self.panes) - 2 * MARGIN_PX
        words = [pane.words(number) for number, pane in zip(NUMBERS, self.panes, strict=False)]
        return [
            [*_in_two_lines(title, metrics, room), *wrapped(warning, metrics, room)]
            for title, warning in words
        ]

    @property
    def _font(self) -> QtGui.QFont:
        font = QtGui.QFont(self.font())
        font.setPixelSize(scaled(TEXT_PX))
        return font

    def _paint_captions(self, painter: QtGui.QPainter) -> None:
        line, captions = scaled(TEXT_PX + 4), self.captions()
        first = self.height() - max(map(len, captions), default=0) * line
        for column, (pane, lines) in enumerate(zip(self.panes, captions, strict=True)):
            width = self.width() / len(self.panes)
            painter.setPen(
                TITLE
                if pane.provenance is None
                else QtGui.QColor(display.color_of(pane.provenance))
            )
            for number, text in enumerate(lines):
                top = first + number * line
                room = QRectF(column * width + MARGIN_PX, top, width - 2 * MARGIN_PX, line)
                painter.drawText(room, Qt.AlignmentFlag.AlignVCenter, text)

    def _on_change(self, *_: object) -> None:
        if self.isVisible():
            self.update()
