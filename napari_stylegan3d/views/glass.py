"""What is painted over a canvas: crosshair, letters, captions, colour bar, arrows and cube."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QLineF, QObject, QPoint, QPointF, QRectF, Qt
from qtpy.QtGui import (
    QColor,
    QFont,
    QFontMetrics,
    QFontMetricsF,
    QHelpEvent,
    QImage,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QPolygonF,
)
from qtpy.QtWidgets import QApplication, QToolTip, QWidget
from scipy.spatial.transform import Rotation

from napari_stylegan3d.views import display
from napari_stylegan3d.views.layers import LEAST_MM, SPACING_MM, TIMES, ColorScale, Field
from napari_stylegan3d.widgets.controls import Links, discard, painting, scaled, set_letters
from stylegan3d.pages.shortening import elided, wrapped
from stylegan3d.session.provenance import WARNINGS, Provenance

#: Dark outline of text: a box behind it would hide tissue, or dim it like a change of signal.
OUTLINE = QColor(0, 0, 0)


class Glass(QWidget):
    """An overlay on a whole canvas, transparent to the mouse.

    Parameters
    ----------
    canvas : QWidget
        The canvas to cover.
    model : ViewerModel
        The viewer model to draw.
    signals : tuple of object
        Events of the model that trigger a redraw.
    """

    def __init__(self, canvas: QWidget, model: ViewerModel, signals: tuple[Any, ...]) -> None:
        super().__init__(canvas)
        self.model = model
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.links = Links()
        self.links.callback(discard, self)
        self.links.watch(self, canvas)
        for signal in signals:
            self.links.connect(signal, self._on_change)
        self.place(canvas)
        self.show()

    def place(self, canvas: QWidget) -> None:
        """Cover the canvas."""
        self.resize(canvas.size())

    def to_px(self, row_mm: float, column_mm: float) -> QPointF:
        """A point of a 2D view in widget pixels from the top left."""
        camera = self.model.scene.camera
        _, vertical, horizontal = camera.orientation
        dy = (row_mm - camera.center[-2]) * (1 if vertical == "down" else -1)
        dx = (column_mm - camera.center[-1]) * (1 if horizontal == "right" else -1)
        return QPointF(self.width() / 2 + dx * camera.zoom, self.height() / 2 + dy * camera.zoom)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Follow the size of the canvas."""
        if event.type() == QEvent.Type.Resize:
            self.place(watched)
        return False

    def tell(self, **shown: Any) -> None:
        """Show something else: its attributes by name."""
        if {name: getattr(self, name) for name in shown} != shown:
            self.__dict__.update(shown)
            self.update()

    def _on_change(self, _: Any = None) -> None:
        self.update()


def write_outlined(
    painter: QPainter,
    place: QRectF,
    side: Qt.AlignmentFlag,
    text: str,
    color: QColor,
    outline: Sequence[tuple[int, int]],
) -> None:
    """Write in a place, with copies in the dark `outline` pixels (x, y) away behind it."""
    painter.setPen(OUTLINE)
    for x, y in outline:  # an outlined path would take fifty times as long
        painter.drawText(place.translated(x, y), side, text)
    painter.setPen(color)
    painter.drawText(place, side, text)


CROSS_COLOR = QColor(79, 195, 247, 175)
GAP_PX = 9
#: The lines end before the letters at the edges.
EDGE_PX = 40
#: In narrow views the vertical line ends above the caption.
NARROW_VIEW_PX, MESSAGE_PX = 250, 76


class Crosshair(Glass):
    """Follows a viewer model's point, camera and displayed axes."""

    def __init__(self, canvas: QWidget, model: ViewerModel) -> None:
        camera = model.scene.camera.events
        dims = model.dims.events
        signals = (camera.center, camera.zoom, camera.orientation)
        super().__init__(canvas, model, (*signals, dims.point, dims.order, dims.ndisplay))
        #: Whether the lines are drawn, and the text in the centre of an empty view.
        self.shown, self.message = True, ""

    def position_px(self) -> tuple[float, float]:
        """Position in widget pixels from the top left."""
        row, column = self.model.dims.displayed[-2:]
        point = self.model.dims.point
        at = self.to_px(point[row], point[column])
        return at.x(), at.y()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the lines, or the message if the view is empty."""
        with painting(self, smooth=False) as painter:
            if not any(layer.visible for layer in self.model.layers):
                painter.setPen(QColor(160, 166, 174))
                painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, self.message)
            elif self.shown and self.model.dims.ndisplay == 2 and self.model.dims.ndim == 3:
                self._paint_lines(painter)

    def _paint_lines(self, painter: QPainter) -> None:
        x, y = self.position_px()
        narrow = self.width() < scaled(NARROW_VIEW_PX)
        end = self.height() - (scaled(MESSAGE_PX) if narrow else EDGE_PX)
        painter.setPen(QPen(CROSS_COLOR, 1))
        for line in (
            (min(EDGE_PX, x - GAP_PX), y, x - GAP_PX, y),
            (x + GAP_PX, y, max(self.width() - EDGE_PX, x + GAP_PX), y),
            (x, min(EDGE_PX, y - GAP_PX), x, y - GAP_PX),
            (x, y + GAP_PX, x, max(end, y + GAP_PX)),
        ):
            painter.drawLine(QLineF(*line))


TEXT = QColor(232, 234, 237)
SCALE_OUTLINE_PX = ((-1, 0), (1, 0), (0, -1), (0, 1))
FONT_PX = 11
BAR_PX = 12
#: Height of the bar as a share of the view, within limits.
BAR_SHARE, SHORTEST_PX, LONGEST_PX = 0.2, 50, 150
#: A longer title is broken: the head is beside it.
SCALE_TITLE_PX = 110
SCALE_MARGIN_PX = 8
#: Least distance of ticks as a share of the bar.
NEAR = 0.14


class ColorBar(Glass):
    """A colour bar at the right edge of a view, from `top` downwards; hidden without a legend."""

    def __init__(self, canvas: QWidget, model: ViewerModel, top: int) -> None:
        super().__init__(canvas, model, ())
        self.top = top
        self.legend: ColorScale | None = None

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the bar."""
        if self.legend is None:
            return
        with painting(self, smooth=False) as painter:
            height = float(np.clip(BAR_SHARE * self.height(), SHORTEST_PX, LONGEST_PX))
            paint_legend(
                painter, self.legend, QPointF(self.width() - SCALE_MARGIN_PX, self.top), height
            )


def paint_legend(painter: QPainter, legend: ColorScale, corner: QPointF, height: float) -> None:
    """Draw a colour bar with its title and numbers, its top right at `corner`."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    whole = set_letters(painter, scaled(FONT_PX))
    metrics = QFontMetricsF(painter.font())
    lines = wrapped(legend.label, whole, scaled(SCALE_TITLE_PX))
    lines += [legend.unit] if legend.unit else []
    marks = ticks(legend)
    widest = max(metrics.horizontalAdvance(text) for text in (*lines, *(t for _, t in marks)))
    width = max(widest, BAR_PX + 8 + max(metrics.horizontalAdvance(t) for _, t in marks)) + 12
    row = metrics.height()
    box = QRectF(corner.x() - width, corner.y(), width, height + row * (len(lines) + 1) + 10)
    for index, line in enumerate(lines):
        _write_beside(
            painter, QRectF(box.left(), box.top() + 4 + index * row, width - 6, row), line
        )
    top = box.top() + row * (len(lines) + 0.5) + 6
    bar = QRectF(box.right() - 6 - BAR_PX, top, BAR_PX, height)
    painter.drawImage(bar, bar_image(legend))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(TEXT, 1))
    painter.drawRect(bar)
    for share, text in marks:
        painter.setPen(TEXT)
        y = bar.bottom() - share * height
        painter.drawLine(QPointF(bar.left() - 4, y), QPointF(bar.left(), y))
        _write_beside(
            painter, QRectF(box.left(), y - row / 2, bar.left() - 7 - box.left(), row), text
        )


def _write_beside(painter: QPainter, place: QRectF, text: str) -> None:
    """Write at the right of a place."""
    side = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
    write_outlined(painter, place, side, text, TEXT, SCALE_OUTLINE_PX)


def ticks(legend: ColorScale) -> list[tuple[float, str]]:
    """(position from the bottom, 0 to 1; number) of the ticks."""
    numbers = [-legend.limit, legend.limit]
    share = legend.threshold / legend.limit
    numbers += [-legend.threshold, legend.threshold] if NEAR < share < 1 - NEAR else [0.0]
    return [((n / legend.limit + 1) / 2, _number(n)) for n in sorted(numbers)]


def _number(value: float) -> str:
    """Two digits, and all of them in front of the point: +300, not +3e+02."""
    if abs(value) >= 100:
        return f"{value:+.0f}"
    return f"{value:+.2g}" if value else "0"


def bar_image(legend: ColorScale) -> QImage:
    """The colours from the highest down, over black where they are transparent."""
    table = legend.table[::-1]
    colors = np.round(255 * table[:, :3] * (table[:, 3:] > 0)).astype(np.uint8)
    pixels = np.ascontiguousarray(colors[:, None])
    return QImage(pixels.data, 1, len(pixels), 3, QImage.Format.Format_RGB888).copy()


TITLE_COLOR, SHADOW = QColor("#e8eaed"), QColor(0, 0, 0, 200)
TITLE_PX, LETTER_PX, SLICE_PX, UNDER_PX, CAPTION_PX, SCALE_PX = 16, 20, 15, 13, 14, 14
MARGIN_PX = 10
#: Lines of a caption beside the letter at the bottom.
LETTER_LINES = 2
#: Warnings break here, so as not to reach the letter in a narrow view.
BREAKS = {" – ": " –\n", ", ": ",\n"}
#: Narrower views abbreviate the slice position; still narrower ones give it a line of its own.
ROOMY_PX, NARROW_PX = 400, 330
#: Views up to this width have a small title, which does not touch the letter at the top.
TIGHT_PX, SMALL_TITLE_PX = 200, 13
#: Lengths of a scale bar; the first within this share of the view is drawn.
SCALES_MM, SCALE_SHARE = (50, 20, 10, 5, 2, 1), 0.4
TICK_PX, LINE_PX = 4, 2.0
#: Outline of a caption.
OUTLINE_PX = ((-2, 0), (2, 0), (0, -2), (0, 2), (-1, -1), (-1, 1), (1, -1), (1, 1))
#: Share of the view that upper lines of a caption may take, beside the lower part of a head.
UPPER_SHARE = 0.36

LEFT, RIGHT, CENTER = (
    Qt.AlignmentFlag.AlignLeft,
    Qt.AlignmentFlag.AlignRight,
    Qt.AlignmentFlag.AlignHCenter,
)
TOP, BOTTOM, MIDDLE = (
    Qt.AlignmentFlag.AlignTop,
    Qt.AlignmentFlag.AlignBottom,
    Qt.AlignmentFlag.AlignVCenter,
)


class Labels(Glass):
    """The text on one view."""

    def __init__(
        self, canvas: QWidget, model: ViewerModel, plane: display.ViewPlane | None
    ) -> None:
        self.plane = plane
        self.title = plane.name if plane else "3D"
        #: Letters at the top, bottom, left and right.
        self.letters: tuple[str, str, str, str] = ("", "", "", "")
        self.lettered = self.scale_bar = plane is not None
        self.point: tuple[float, ...] = ()
        self.provenance: Provenance | None = None
        #: The slab, and the value under the pointer.
        self.slab = self.pointed = ""
        #: What was painted last, and of what.
        self._painted: tuple[object, QPixmap] | None = None
        super().__init__(canvas, model, (model.scene.camera.events.zoom,))
        self._grab: Any = getattr(canvas, "grabFramebuffer", None)
        if self._grab is not None:
            canvas.grabFramebuffer = self._grabbed
            self.links.callback(delattr, canvas, "grabFramebuffer")

    @property
    def caption(self) -> str:
        """Caption; empty for layers of unknown provenance."""
        return self.provenance.caption if self.provenance else ""

    @property
    def slice(self) -> str:
        """Slice position, abbreviated to the room beside the letter at the top."""
        if self.plane is None or len(self.point) != 3:
            return ""
        if self.width() < scaled(ROOMY_PX):
            return f"{display.position_in_letters(self.point, self.plane.order[0])} mm"
        return display.position_in_words(self.point, self.plane.order[0])

    @property
    def below_slice(self) -> str:
        """The slab, and the value under the pointer, below the slice position."""
        return "\n".join(filter(None, (self.slab, self.pointed)))

    @property
    def scale_mm(self) -> int:
        """Length of the scale bar."""
        room = SCALE_SHARE * self.width() / self.model.scene.camera.zoom
        return next((mm for mm in SCALES_MM if mm <= room), SCALES_MM[-1])

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Forget the pointer when it leaves the canvas; show the whole of a caption that is cut."""
        if event.type() == QEvent.Type.Leave:
            self.tell(pointed="")
        if isinstance(event, QHelpEvent) and self.whole_at(event.pos()):
            QToolTip.showText(event.globalPos(), self.whole_at(event.pos()), self)
            return True
        return super().eventFilter(watched, event)

    @property
    def written(self) -> str:
        """The caption, fitted beside the letter at the bottom.

        Names get their own line, and edits two where the view is wide; what is longer is shortened,
        but no warning.
        """
        metrics, lines = QFontMetrics(_caption_font()), self.caption.split("\n")
        room = beside = self.width() - 2 * MARGIN_PX
        if self.lettered and not self._is_narrow:
            beside = self.width() // 2 - MARGIN_PX - scaled(LETTER_PX)
            room = round(UPPER_SHARE * self.width())
        lines = [
            part
            for line in lines
            for part in (_after_name(line) if metrics.horizontalAdvance(line) > beside else [line])
        ]
        parts = [
            (part, line in WARNINGS)
            for line in lines
            for part in _broken(line, metrics, beside).split("\n")
        ]
        low = len(parts) - LETTER_LINES
        fitted = elided if self._is_narrow else _fitted
        return "\n".join(
            part if is_warning else fitted(part, metrics, beside if index >= low else room)
            for index, (part, is_warning) in enumerate(parts)
        )

    def whole_at(self, place: QPoint) -> str:
        """The whole caption, where the mouse is over one that is cut; else empty."""
        if self.provenance is None:
            return ""
        whole, text = self.provenance.whole, self.written
        box = QFontMetrics(_caption_font()).size(0, text)
        room = self._room
        over = place.x() <= room.left() + box.width() and place.y() >= room.bottom() - box.height()
        cut = whole.replace("\n", "").replace(" ", "") != text.replace("\n", "").replace(" ", "")
        return whole if over and cut else ""

    @property
    def _room(self) -> QRectF:
        return QRectF(self.rect()).adjusted(MARGIN_PX, MARGIN_PX, -MARGIN_PX, -MARGIN_PX)

    @property
    def _is_narrow(self) -> bool:
        return self.width() < scaled(NARROW_PX)

    @property
    def _has_room_at_foot(self) -> bool:
        """Whether the letter at the bottom does not touch the caption."""
        end = MARGIN_PX + self._caption_width()
        return end <= self.width() // 2 - scaled(LETTER_PX)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint them, as they were painted last where nothing changed."""
        visible = any(layer.visible for layer in self.model.layers)
        told = (self.letters, self.lettered, self.scale_bar, self.slice, self.below_slice)
        of = (QApplication.font(), self.size(), self.model.scene.camera.zoom, visible, told)
        with painting(self, smooth=False) as painter:
            scale = self.devicePixelRatioF()
            if painter.deviceTransform().m11() != scale:  # for a file
                self.paint(painter)
                return
            if self._painted is None or self._painted[0] != (scale, self.provenance, *of):
                sheet = QPixmap(self.size() * scale)
                sheet.setDevicePixelRatio(scale)
                sheet.fill(Qt.GlobalColor.transparent)
                with painting(sheet, smooth=False) as over:
                    self.paint(over)
                self._painted = (scale, self.provenance, *of), sheet
            painter.drawPixmap(0, 0, self._painted[1])

    def paint(self, painter: QPainter) -> None:
        """Paint everything into a view's rectangle."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        narrow = self._is_narrow
        room = self._room
        size = SMALL_TITLE_PX if self.width() < scaled(TIGHT_PX) else TITLE_PX
        _write(painter, room, TOP | LEFT, self.title, size, TITLE_COLOR)
        if narrow:  # below the title and the letter at the top
            second = room.adjusted(0, scaled(LETTER_PX + LETTER_PX // 3), 0, 0)
            _write(painter, second, TOP | LEFT, self.slice, UNDER_PX, TITLE_COLOR)
        else:
            _write(painter, room, TOP | RIGHT, self.slice, SLICE_PX, TITLE_COLOR)
        under = room.adjusted(0, 0 if narrow else scaled(SLICE_PX + UNDER_PX // 2), 0, 0)
        _write(painter, under, TOP | RIGHT, self.below_slice, UNDER_PX, TITLE_COLOR)
        if self.lettered:
            places = (TOP | CENTER, BOTTOM | CENTER, MIDDLE | LEFT, MIDDLE | RIGHT)
            for place, letter in zip(places, self.letters, strict=True):
                if place != BOTTOM | CENTER or self._has_room_at_foot:
                    where = self._beside_caption(room) if place == MIDDLE | LEFT else room
                    _write(painter, where, place, letter, LETTER_PX, QColor(display.LETTER_COLOR))
        if self.scale_bar and any(layer.visible for layer in self.model.layers):
            self._paint_scale_bar(painter, room)
        self._paint_caption(painter, room)

    def _grabbed(self) -> QImage:
        """What the canvas shows, with the caption."""
        image: QImage = self._grab()
        with painting(image) as painter:
            self._paint_caption(painter, self._room)
        return image

    def _paint_caption(self, painter: QPainter, room: QRectF) -> None:
        if self.provenance is None:
            return
        painter.setFont(_caption_font())
        color = QColor(display.color_of(self.provenance))
        write_outlined(painter, room, BOTTOM | LEFT, self.written, color, OUTLINE_PX)

    def _paint_scale_bar(self, painter: QPainter, room: QRectF) -> None:
        right, y = room.right(), room.bottom() - TICK_PX
        left = right - self.scale_mm * self.model.scene.camera.zoom
        text = f"{self.scale_mm} mm"
        wide = set_letters(painter, scaled(SCALE_PX)).horizontalAdvance(text)
        if min(left, right - wide) < room.left() + self._caption_width() + MARGIN_PX:
            y = room.top() + scaled(SCALE_PX) + 2 * TICK_PX + 3  # the corner above is free
        for pen in (QPen(SHADOW, LINE_PX + 2), QPen(TITLE_COLOR, LINE_PX)):
            painter.setPen(pen)
            painter.drawLine(QPointF(left, y), QPointF(right, y))
            for x in (left, right):
                painter.drawLine(QPointF(x, y - TICK_PX), QPointF(x, y + TICK_PX))
        above = QRectF(left - 100, room.top(), right - left + 200, y - TICK_PX - 3 - room.top())
        if wide > right - left:
            above.setRight(right)
        place = BOTTOM | (RIGHT if wide > right - left else CENTER)
        _write(painter, above, place, text, SCALE_PX, TITLE_COLOR)

    def _beside_caption(self, room: QRectF) -> QRectF:
        """Room in whose middle a letter stands above the caption, if that reaches so high."""
        lines = 0 if self.provenance is None else self.written.count("\n") + 1
        free = room.height() - lines * QFontMetrics(_caption_font()).lineSpacing()
        return room.adjusted(0, 0, 0, min(2 * free - scaled(LETTER_PX) - room.height(), 0))

    def _caption_width(self) -> int:
        """Width in pixels of the longest caption line beside the scale bar."""
        metrics, lines = QFontMetrics(_caption_font()), self.written.split("\n")
        return max(metrics.horizontalAdvance(line) for line in lines[-LETTER_LINES:])


def _after_name(line: str) -> list[str]:
    """A line broken after the name it begins with, if any; letters of a comparison stay."""
    name, colon, rest = line.partition(": ")
    return [f"{name}:", rest] if len(name) > 1 and colon and line not in WARNINGS else [line]


def _fitted(line: str, metrics: QFontMetrics, width: int) -> str:
    """Break a line into two that fit, or leave its middle out."""
    parts = wrapped(line, metrics, width)
    fits = all(metrics.horizontalAdvance(part) <= width for part in parts)
    return "\n".join(parts) if fits and len(parts) <= 2 else elided(line, metrics, width)


def _broken(line: str, metrics: QFontMetrics, width: int) -> str:
    """Break a warning into lines that fit; return any other line unchanged."""
    if line not in WARNINGS:
        return line
    for mark, broken in BREAKS.items():
        line = line.replace(mark, broken)
    if all(metrics.horizontalAdvance(part) <= width for part in line.split("\n")):
        return line
    return "\n".join(wrapped(line, metrics, width))


def _caption_font() -> QFont:
    font = QFont(QApplication.font())
    font.setPixelSize(scaled(CAPTION_PX))
    return font


def _write(
    painter: QPainter, room: QRectF, place: Qt.AlignmentFlag, text: str, size: int, color: QColor
) -> None:
    """Draw text at an edge, with a shadow for bright tissue."""
    set_letters(painter, scaled(size))
    write_outlined(painter, room, place, text, color, ((1, 1),))


ARROW_COLOR, ARROW_SHADOW = QColor(255, 255, 255, 235), QColor(0, 0, 0, 190)
HEAD_PX, HEAD_WIDTH_PX = 4.0, 1.8


class Arrows(Glass):
    """Follows a viewer model's slice and camera; empty without a field."""

    def __init__(self, canvas: QWidget, model: ViewerModel) -> None:
        camera, dims = model.scene.camera.events, model.dims.events
        signals = (camera.center, camera.zoom, camera.orientation)
        super().__init__(canvas, model, (*signals, dims.point, dims.order))
        self.field: Field | None = None

    def lines(self) -> list[QLineF]:
        """Arrows from tail to head, in widget pixels."""
        model, field = self.model, self.field
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
        with painting(self) as painter:
            for color, width in ((ARROW_SHADOW, 2.2), (ARROW_COLOR, 1.0)):
                painter.setPen(QPen(color, width))
                painter.setBrush(color)
                for line in lines:
                    painter.drawLine(line)
                    painter.drawPolygon(_head(line))


def _head(line: QLineF) -> QPolygonF:
    """Head of an arrow."""
    along = QPointF(line.dx(), line.dy()) / max(line.length(), 1e-6)
    across = QPointF(-along.y(), along.x())
    foot = line.p2() - along * HEAD_PX
    return QPolygonF([line.p2(), foot + across * HEAD_WIDTH_PX, foot - across * HEAD_WIDTH_PX])


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
        with painting(self) as painter:
            axes = axes_on_screen(self.model)
            set_letters(painter, max(round(LETTER * self.width()), 9), bold=True)
            for letter, middle in self.faces():
                across = [column for column in axes.T if abs(column @ middle) < 0.5]
                self._paint_face(painter, letter, middle, across)

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
            color = QColor(display.LETTER_COLOR)
            color.setAlphaF(min(1.0, 0.35 + facing))
            painter.setPen(color)
            box = QRectF(0, 0, self.width(), self.height())
            box.moveCenter(self._point(middle))
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, letter)

    def _point(self, direction: np.ndarray) -> QPointF:
        half, edge = self.width() / 2, EDGE * self.width()
        return QPointF(half + edge * float(direction[0]), half - edge * float(direction[1]))


def axes_on_screen(model: ViewerModel) -> np.ndarray:
    """(3, 3): columns are the world axes on the screen (right, up, towards the viewer)."""
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
    return Rotation.from_euler("XYZ", np.negative(angles), degrees=True).as_matrix()
