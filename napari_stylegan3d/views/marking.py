"""Drawing measurements with the mouse, and showing them over the planes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import QObject, QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QFontMetrics, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QApplication, QWidget

from napari_stylegan3d.views import navigation
from napari_stylegan3d.views.glass import Glass
from napari_stylegan3d.views.marks import (
    Kind,
    Mark,
    RegionFigures,
    figures_of,
    picture_of,
    place_of,
    text_of,
)
from napari_stylegan3d.widgets.controls import scaled

if TYPE_CHECKING:
    from napari_stylegan3d.views.look import LookModel

LINE, CHOSEN, SHADOW = QColor("#7ee787"), QColor("#ffffff"), QColor(0, 0, 0, 200)
BEHIND = QColor(0, 0, 0, 150)
#: Distance in pixels within which an end can be grabbed.
NEAR_PX = 9
#: A press without a drag draws nothing.
LEAST_PX = 3
HANDLE_PX, TEXT_PX = 3, 13
#: Of the table that is copied.
COLUMNS = (
    "brain",
    "kind",
    "slice",
    "start_mm",
    "end_mm",
    "length_mm",
    "mean",
    "sd",
    "area_mm2",
    "volume_ml",
)


class Marks(QObject):
    """The measurements of one window; each belongs to the brain that it was drawn on.

    Parameters
    ----------
    viewer : ViewerModel
        Its topmost picture is measured.
    looks : LookModel
        The slab that is shown.
    """

    changed = Signal()
    toolChanged = Signal(str)

    def __init__(self, viewer: ViewerModel, looks: LookModel, parent: QObject) -> None:
        super().__init__(parent)
        self.viewer, self.looks = viewer, looks
        #: The kind that the next drag draws; empty for none.
        self.tool: Kind | str = ""
        #: The brain that is shown.
        self.whose = ""
        self.chosen: Mark | None = None
        self._marks: list[Mark] = []
        self._known: dict[Mark, tuple[Any, RegionFigures | None]] = {}

    @property
    def shown(self) -> list[Mark]:
        """Those of the brain that is shown, in the order they were drawn."""
        return [mark for mark in self._marks if mark.whose == self.whose]

    def take(self, tool: Kind | str) -> None:
        """Choose what the next drag draws; the same again for none."""
        self.tool = "" if tool == self.tool else tool
        self.toolChanged.emit(self.tool)

    def set_whose(self, whose: str) -> None:
        """Another brain is shown: the measurements of the one before wait for it."""
        if whose != self.whose:
            self.whose, self.chosen = whose, None
        self.measure_again()

    def measure_again(self) -> None:
        """Other voxels are shown."""
        self._known.clear()
        self.changed.emit()

    def add(self, mark: Mark) -> None:
        """Add a measurement of the brain that is shown."""
        self.chosen = replace(mark, whose=self.whose)
        self._marks.append(self.chosen)
        self.changed.emit()

    def replace(self, old: Mark, new: Mark) -> None:
        """Change one."""
        self._marks[self._marks.index(old)] = self.chosen = new
        self.changed.emit()

    def choose(self, mark: Mark | None) -> None:
        """Mark the one that the next deletion removes."""
        if mark != self.chosen:
            self.chosen = mark
            self.changed.emit()

    def delete(self) -> None:
        """Remove the chosen one, or the last."""
        mine = self.shown
        gone = self.chosen if self.chosen in mine else (mine[-1] if mine else None)
        if gone is not None:
            self._marks.remove(gone)
            self.chosen = None
            self.changed.emit()

    def clear(self) -> None:
        """Remove those of the brain that is shown."""
        self._marks = [mark for mark in self._marks if mark.whose != self.whose]
        self.chosen = None
        self.changed.emit()

    def copy(self) -> None:
        """Copy those of the brain that is shown as a table, one a line, named after the brain."""
        rows = ["\t".join(COLUMNS)]
        for mark in self.shown:
            figures = self.figures(mark)
            numbers = (
                mark.length_mm if mark.kind == "length" else None,
                figures and figures.mean,
                figures and figures.sd,
                figures and figures.area_mm2,
                figures and figures.volume_ml,
            )
            places = [" ".join(f"{value:.1f}" for value in p) for p in (mark.start, mark.end)]
            written = ["" if not number else f"{number:.4g}" for number in numbers]
            rows.append("\t".join((self.whose, mark.kind, place_of(mark), *places, *written)))
        QApplication.clipboard().setText("\n".join(rows))

    def text_of(self, mark: Mark) -> str:
        """Its figures in what is shown."""
        return text_of(mark, self.figures(mark))

    def figures(self, mark: Mark) -> RegionFigures | None:
        """Figures of a region in what is shown."""
        layer, look = picture_of(self.viewer), self.looks.look
        if layer is None:
            return None
        key = (id(layer.data), look.slab, look.slab_mm)
        known = self._known.get(mark)
        if known is None or known[0] != key:
            known = key, figures_of(mark, layer, look.slab, look.slab_mm)
            self._known[mark] = known
        return known[1]

    def draw(self, model: ViewerModel, event: Any) -> Iterator[None]:
        """Mouse callback of a plane: draw a measurement, or move one by its ends or its line."""
        if event.button != navigation.LEFT or event.modifiers or not navigation.is_free(model):
            return
        at, scale = _point(event.position), model.scene.camera.zoom
        if self.tool:
            event.handled = True
            yield from self._draw_new(model, event, at, scale)
            return
        found = self._grabbed(model, at, scale)
        if found is None:
            self.choose(None)
            return
        event.handled = True
        mark, end = found
        self.choose(mark)
        yield
        while event.type == "mouse_move":
            now = _point(event.position)
            new = mark.with_end(end, now) if end else mark.moved(_between(at, now))
            assert self.chosen is not None
            self.replace(self.chosen, new)
            event.handled = True
            yield

    def _draw_new(
        self, model: ViewerModel, event: Any, at: tuple[float, float, float], scale: float
    ) -> Iterator[None]:
        mark = Mark(self.tool, model.dims.order[0], at, at)  # type: ignore[arg-type]
        drawn = False
        yield
        while event.type == "mouse_move":
            event.handled = True
            new = replace(mark, end=_point(event.position))
            if drawn and self.chosen is not None:
                self.replace(self.chosen, replace(new, whose=self.whose))
            elif new.length_mm * scale >= LEAST_PX:
                self.add(new)
                drawn = True
            yield
        event.handled = True
        if drawn and self.chosen is not None:  # moves may be dropped, the release is not
            end = _point(event.position)
            self.replace(self.chosen, replace(mark, end=end, whose=self.whose))
            self.take("")

    def _grabbed(
        self, model: ViewerModel, at: tuple[float, float, float], scale: float
    ) -> tuple[Mark, str] | None:
        """The measurement under the pointer and its end there ("" for its line)."""
        axis = model.dims.order[0]
        step = float(navigation.grid_mm(model)[2, axis])
        reach = NEAR_PX / scale
        for mark in reversed(self.shown):
            if not mark.is_on(axis, at[axis], step):
                continue
            ends = (
                {"end": mark.end}
                if mark.kind == "sphere"
                else {"start": mark.start, "end": mark.end}
            )
            for name, place in ends.items():
                if np.linalg.norm(np.subtract(place, at)) <= reach:
                    return mark, name
            if _off_line(mark, axis, at) <= reach:
                return mark, ""
        return None


class MarkSheet(Glass):
    """Paints the measurements over one plane."""

    def __init__(self, canvas: QWidget, model: ViewerModel, marks: Marks) -> None:
        camera, dims = model.scene.camera.events, model.dims.events
        signals = (camera.center, camera.zoom, camera.orientation, dims.point, dims.order)
        self.marks = marks
        super().__init__(canvas, model, signals)
        marks.changed.connect(self._on_change)

    def close_links(self) -> None:
        """Disconnect from the measurements, too."""
        self.marks.changed.disconnect(self._on_change)
        super().close_links()

    def visible_marks(self) -> list[Mark]:
        """Those on the slice that is shown."""
        dims = self.model.dims
        if dims.ndim != 3 or dims.ndisplay != 2:
            return []
        axis = dims.order[0]
        step = float(navigation.grid_mm(self.model)[2, axis])
        return [mark for mark in self.marks.shown if mark.is_on(axis, dims.point[axis], step)]

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the lines, the regions, and their figures."""
        marks = self.visible_marks()
        if not marks:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for mark in marks:
            color = CHOSEN if mark == self.marks.chosen else LINE
            for pen in (QPen(SHADOW, 3.0), QPen(color, 1.5)):
                painter.setPen(pen)
                self._outline(painter, mark)
            self._write(painter, mark, color)
        painter.end()

    def _ends_px(self, mark: Mark) -> tuple[QPointF, QPointF]:
        rows, columns = self.model.dims.order[1:]
        start, end = (self.to_px(p[rows], p[columns]) for p in (mark.start, mark.end))
        return start, end

    def _box_px(self, mark: Mark) -> QRectF:
        """Rectangle around a region, in pixels."""
        start, end = self._ends_px(mark)
        if mark.kind != "sphere":
            return QRectF(start, end).normalized()
        axis = self.model.dims.order[0]
        radius = mark.radius_in(axis, self.model.dims.point[axis]) * self.model.scene.camera.zoom
        return QRectF(start.x() - radius, start.y() - radius, 2 * radius, 2 * radius)

    def _outline(self, painter: QPainter, mark: Mark) -> None:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if mark.kind == "length":
            ends = self._ends_px(mark)
            painter.drawLine(*ends)
            for end in ends:
                painter.drawEllipse(end, HANDLE_PX, HANDLE_PX)
        elif mark.kind == "rectangle":
            painter.drawRect(self._box_px(mark))
        else:
            painter.drawEllipse(self._box_px(mark))

    def _write(self, painter: QPainter, mark: Mark, color: QColor) -> None:
        """The figures below it, inside the view."""
        font = painter.font()
        font.setPixelSize(scaled(TEXT_PX))
        painter.setFont(font)
        metrics, text = QFontMetrics(font), self.marks.text_of(mark)
        box = QRectF(*self._ends_px(mark)).normalized()
        box = box if mark.kind == "length" else self._box_px(mark)
        width, height = metrics.horizontalAdvance(text) + 8, metrics.height() + 2
        left = min(max(box.center().x() - width / 2, 2), max(self.width() - width - 2, 2))
        top = box.bottom() + 6
        if top + height > self.height() - 2:
            top = max(box.top() - height - 6, 2)
        place = QRectF(left, top, width, height)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(BEHIND)
        painter.drawRoundedRect(place, 3, 3)
        painter.setPen(color)
        painter.drawText(place, Qt.AlignmentFlag.AlignCenter, text)


def install(marks: Marks, models: list[ViewerModel]) -> Callable[[], None]:
    """Let the mouse draw in 2D models, before it moves the crosshair; returns what removes it."""
    for model in models:
        model.mouse_drag_callbacks.insert(0, marks.draw)

    def remove() -> None:
        for model in models:
            model.mouse_drag_callbacks.remove(marks.draw)

    return remove


def _point(position: Any) -> tuple[float, float, float]:
    right, anterior, superior = (float(value) for value in position)
    return right, anterior, superior


def _between(
    start: tuple[float, float, float], end: tuple[float, float, float]
) -> tuple[float, float, float]:
    return _point(np.subtract(end, start))


def _off_line(mark: Mark, axis: int, at: tuple[float, float, float]) -> float:
    """Distance in mm of a point of the slice from the drawn line."""
    across = [other for other in range(3) if other != axis]
    start, end, here = (np.array(p)[across] for p in (mark.start, mark.end, at))
    if mark.kind == "length":
        along = end - start
        share = np.clip(np.dot(here - start, along) / max(np.dot(along, along), 1e-9), 0, 1)
        return float(np.linalg.norm(here - start - share * along))
    if mark.kind == "sphere":
        return abs(float(np.linalg.norm(here - start)) - mark.radius_in(axis, at[axis]))
    low, high = np.minimum(start, end), np.maximum(start, end)
    middle, half = (low + high) / 2, np.maximum((high - low) / 2, 1e-6)
    if mark.kind == "ellipse":
        share = float(np.linalg.norm((here - middle) / half))
        return abs(share - 1) * float(half.min())
    beyond = np.abs(here - middle) - half
    if (beyond > 0).any():
        return float(np.linalg.norm(np.maximum(beyond, 0)))
    return float(-beyond.max())
