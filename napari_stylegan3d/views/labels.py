"""Text on a view: title, orientation letters, slice position, caption, scale bar.

Qt paints it over the canvas: napari would redraw it with every picture, which without a graphics
card takes longer than the three slices. The caption is also painted into what is grabbed from the
canvas, so that napari's own screenshots contain it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QObject, QPoint, QPointF, QRectF, Qt
from qtpy.QtGui import (
    QColor,
    QFont,
    QFontMetrics,
    QHelpEvent,
    QImage,
    QPainter,
    QPaintEvent,
    QPen,
)
from qtpy.QtWidgets import QApplication, QToolTip, QWidget

from napari_stylegan3d.views.captions import (
    CAPTION_COLORS,
    LETTER_COLOR,
    WARNINGS,
    Provenance,
)
from napari_stylegan3d.views.glass import Glass, write_outlined
from napari_stylegan3d.views.orientation import (
    Facing,
    ViewPlane,
    position_in_letters,
    position_in_words,
)
from napari_stylegan3d.widgets.controls import scaled
from napari_stylegan3d.widgets.elided import elided, wrapped

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

    def __init__(self, canvas: QWidget, model: ViewerModel, plane: ViewPlane | None) -> None:
        self.plane = plane
        self.title = plane.title if plane else "3D"
        #: Letters at the top, bottom, left and right.
        self.letters: tuple[str, str, str, str] = ("", "", "", "")
        self.lettered = self.scale_bar = plane is not None
        self._point: tuple[float, ...] = ()
        self._provenance: Provenance | None = None
        #: The slab, and the value under the pointer.
        self._slab = self._pointed = ""
        super().__init__(canvas, model, (model.scene.camera.events.zoom,))
        self._grab: Any = getattr(canvas, "grabFramebuffer", None)
        if self._grab is not None:
            canvas.grabFramebuffer = self._grabbed

    @property
    def caption(self) -> str:
        """Caption; empty for layers of unknown provenance."""
        return self._provenance.caption if self._provenance else ""

    @property
    def slice(self) -> str:
        """Slice position, abbreviated to the room beside the letter at the top."""
        if self.plane is None or len(self._point) != 3:
            return ""
        if self.width() < scaled(ROOMY_PX):
            return f"{position_in_letters(self._point, self.plane.order[0])} mm"
        return position_in_words(self._point, self.plane.order[0])

    @property
    def below_slice(self) -> str:
        """The slab, and the value under the pointer, below the slice position."""
        return "\n".join(filter(None, (self._slab, self._pointed)))

    def set_slab(self, words: str) -> None:
        """Name the projection of several slices; nothing for a single one."""
        self._slab = words if self.plane is not None else ""
        self.update()

    def set_pointed(self, words: str) -> None:
        """Show the value under the pointer."""
        if words != self._pointed:
            self._pointed = words
            self.update()

    @property
    def scale_mm(self) -> int:
        """Length of the scale bar."""
        room = SCALE_SHARE * self.width() / self.model.scene.camera.zoom
        return next((mm for mm in SCALES_MM if mm <= room), SCALES_MM[-1])

    def set_facing(self, facing: Facing) -> None:
        """Set the orientation letters."""
        if self.plane is not None:
            self.letters = self.plane.letters_in(facing)
            self.update()

    def show_letters(self, shown: bool) -> None:
        """Show or hide the letters."""
        self.lettered = shown and self.plane is not None
        self.update()

    def show_scale_bar(self, shown: bool) -> None:
        """Show or hide the scale bar."""
        self.scale_bar = shown and self.plane is not None
        self.update()

    def set_point(self, point_mm: Sequence[float]) -> None:
        """Set the slice position; nothing for an empty point."""
        if tuple(point_mm) != self._point:
            self._point = tuple(point_mm)
            self.update()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Forget the pointer when it leaves the canvas; show the whole of a caption that is cut."""
        if event.type() == QEvent.Type.Leave:
            self.set_pointed("")
        if isinstance(event, QHelpEvent) and self.whole_at(event.pos()):
            QToolTip.showText(event.globalPos(), self.whole_at(event.pos()), self)
            return True
        return super().eventFilter(watched, event)

    def set_provenance(self, provenance: Provenance | None) -> None:
        """Set the caption; nothing for layers of unknown provenance."""
        if provenance != self._provenance:
            self._provenance = provenance
            self.update()

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
        if self._provenance is None:
            return ""
        whole, text = self._provenance.whole, self.written
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

    def close_links(self) -> None:
        """Remove them from a canvas that outlives the linked views."""
        if self._grab is not None:
            del self.parent().grabFramebuffer
        super().close_links()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint them."""
        painter = QPainter(self)
        self.paint(painter)
        painter.end()

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
                    _write(painter, room, place, letter, LETTER_PX, QColor(LETTER_COLOR))
        if self.scale_bar and any(layer.visible for layer in self.model.layers):
            self._paint_scale_bar(painter, room)
        self._paint_caption(painter, room)

    def _grabbed(self) -> QImage:
        """What the canvas shows, with the caption."""
        image: QImage = self._grab()
        painter = QPainter(image)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_caption(painter, self._room)
        painter.end()
        return image

    def _paint_caption(self, painter: QPainter, room: QRectF) -> None:
        if self._provenance is None:
            return
        painter.setFont(_caption_font())
        color = QColor(CAPTION_COLORS[self._provenance.kind])
        write_outlined(painter, room, BOTTOM | LEFT, self.written, color, OUTLINE_PX)

    def _paint_scale_bar(self, painter: QPainter, room: QRectF) -> None:
        right, y = room.right(), room.bottom() - TICK_PX
        left = right - self.scale_mm * self.model.scene.camera.zoom
        text = f"{self.scale_mm} mm"
        wide = QFontMetrics(_font(painter, SCALE_PX)).horizontalAdvance(text)
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


def _font(painter: QPainter, size: int) -> QFont:
    font = QFont(painter.font())
    font.setPixelSize(scaled(size))
    return font


def _write(
    painter: QPainter,
    room: QRectF,
    place: Qt.AlignmentFlag,
    text: str,
    size: int,
    color: QColor,
) -> None:
    """Draw text at an edge, with a shadow for bright tissue."""
    painter.setFont(_font(painter, size))
    painter.setPen(SHADOW)
    painter.drawText(room.translated(1, 1), place, text)
    painter.setPen(color)
    painter.drawText(room, place, text)
