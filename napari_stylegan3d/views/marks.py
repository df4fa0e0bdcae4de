"""Measurements drawn on the pictures: lengths, angles, and regions with their figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from pydantic import FiniteFloat, TypeAdapter, ValidationError
from qtpy.QtCore import QObject, QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

from napari_stylegan3d.views import navigation
from napari_stylegan3d.views.display import KEY, PLANES, planes_of, position_in_letters, projected
from napari_stylegan3d.views.glass import Glass
from napari_stylegan3d.views.look import LookModel
from napari_stylegan3d.views.stage import visible_pictures
from napari_stylegan3d.widgets.controls import copy_table, painting, scaled, set_letters
from stylegan3d.session.provenance import Provenance

Kind = Literal["length", "angle", "ellipse", "rectangle", "sphere"]
NAMES: dict[str, str] = {
    "length": "Length",
    "angle": "Angle",
    "ellipse": "Ellipse",
    "rectangle": "Rectangle",
    "sphere": "Sphere",
}
Point = tuple[FiniteFloat, FiniteFloat, FiniteFloat]


@dataclass(frozen=True)
class Mark:
    """One measurement.

    Attributes
    ----------
    kind : Kind
        A length, angle, ellipse or rectangle in a slice, or a sphere.
    axis : int
        World axis across the slice that it was drawn in.
    start, end : tuple of float
        RAS+ mm: the ends of a length or of both sides of an angle, opposite corners of the box
        around an ellipse or rectangle, or the centre of a sphere and a point on it.
    whose : str
        What it was drawn on, see `ground_of`.
    corner : tuple of float or None
        Of an angle, where its sides meet.
    """

    kind: Kind
    axis: Literal[0, 1, 2]
    start: Point
    end: Point
    whose: str = ""
    corner: Point | None = None

    @property
    def lines(self) -> list[tuple[Point, Point]]:
        """The straight lines that it consists of; none of a region."""
        if self.corner is not None:
            return [(self.start, self.corner), (self.corner, self.end)]
        return [(self.start, self.end)] if self.kind == "length" else []

    @property
    def handles(self) -> dict[str, Point]:
        """Its ends that can be dragged."""
        ends = {"start": self.start, "end": self.end}
        if self.corner is not None:
            ends["corner"] = self.corner
        return {"end": self.end} if self.kind == "sphere" else ends

    @property
    def angle_deg(self) -> float | None:
        """Between both sides of an angle, 0 to 180 degrees; None for what is none."""
        if self.corner is None:
            return None
        a, b = (np.subtract(point, self.corner) for point in (self.start, self.end))
        share = np.dot(a, b) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9)
        return float(np.degrees(np.arccos(np.clip(share, -1, 1))))

    @property
    def length_mm(self) -> float:
        """Distance of both ends: the length, or the radius of a sphere."""
        return float(np.linalg.norm(np.subtract(self.end, self.start)))

    def drawn_to(self, place: Point) -> Mark:
        """With the end of the drag that draws it; an angle is a right one at first."""
        if self.kind != "angle":
            return replace(self, end=place)
        across = [axis for axis in range(3) if axis != self.axis]
        end = list(place)
        first, second = (self.start[axis] - place[axis] for axis in across)
        end[across[0]] -= second
        end[across[1]] += first
        return replace(self, corner=place, end=(end[0], end[1], end[2]))

    def moved(self, by: Point) -> Mark:
        """Somewhere else."""
        places: Any = {name: _point(np.add(place, by)) for name, place in self.handles.items()}
        places["start"] = _point(np.add(self.start, by))  # of a sphere, no handle
        return replace(self, **places)

    def radius_in(self, axis: int, position_mm: float) -> float:
        """Radius in mm of the circle that a slice cuts out of a sphere; 0 for none."""
        off = position_mm - self.start[axis]
        return float(max(self.length_mm**2 - off**2, 0.0) ** 0.5)

    def is_on(self, axis: int, position_mm: float, step_mm: float) -> bool:
        """Whether a slice shows it."""
        if self.kind == "sphere":
            return self.radius_in(axis, position_mm) > 0
        return axis == self.axis and abs(position_mm - self.start[axis]) <= step_mm / 2 + 1e-6


@dataclass(frozen=True)
class RegionFigures:
    """What a region holds.

    Attributes
    ----------
    mean, sd : float
        Of the intensities that are shown.
    area_mm2, volume_ml : float
        Size as drawn; a region in a slice has no volume, a sphere no area.
    voxels : int
        How many centres of voxels it contains.
    picture : str
        What was measured, as captions have it.
    """

    mean: float
    sd: float
    area_mm2: float
    volume_ml: float
    voxels: int
    picture: str


def figures_of(
    mark: Mark, layer: Image, slab: str = "none", slab_mm: float = 0.0
) -> RegionFigures | None:
    """Figures of a region; None for a length or an angle, or where the picture does not reach.

    Parameters
    ----------
    mark : Mark
        The region.
    layer : Image
        The picture, in RAS along the world axes.
    slab, slab_mm : str, float
        The projection that is shown, whose values a region in a slice is measured in.
    """
    if mark.lines:
        return None
    area = volume = 0.0
    if mark.kind == "sphere":
        values, volume = _in_sphere(mark, layer)
    else:
        values, area = _in_slice(mark, layer, slab, slab_mm)
    if values is None or not values.size:
        return None
    told, mean, sd = layer.metadata.get(KEY), float(values.mean()), float(values.std())
    picture = told.one_line if isinstance(told, Provenance) else layer.name
    return RegionFigures(mean, sd, area, volume, int(values.size), picture)


def text_of(mark: Mark, figures: RegionFigures | None) -> str:
    """Such as "42.3 mm", "31.5°" or "0.81 ± 0.04, 214 mm²"."""
    if mark.angle_deg is not None:
        return f"{mark.angle_deg:.1f}°"
    if mark.kind == "length":
        return f"{mark.length_mm:.1f} mm"
    if figures is None:
        return "outside the picture"
    size = f"{figures.volume_ml:.2f} ml" if mark.kind == "sphere" else f"{figures.area_mm2:.0f} mm²"
    digits = sum(abs(figures.mean) < limit for limit in (10, 100))
    return f"{figures.mean:.{digits}f} ± {figures.sd:.{digits}f}, {size}"


def place_of(mark: Mark) -> str:
    """Plane and position, such as "Axial, S 12.0 mm"."""
    plane = next(plane for plane in PLANES.values() if plane.order[0] == mark.axis)
    return f"{plane.name}, {position_in_letters(mark.start, mark.axis)} mm"


def _centres(layer: Image) -> list[np.ndarray]:
    """Positions in mm of the voxels along the three axes."""
    return [
        float(layer.translate[axis]) + float(layer.scale[axis]) * np.arange(layer.data.shape[axis])
        for axis in range(3)
    ]


def _within(centres: np.ndarray, low: float, high: float) -> slice:
    """The voxels between two positions; at least the nearest one."""
    inside = np.flatnonzero((centres >= low) & (centres <= high))
    if inside.size:
        return slice(int(inside[0]), int(inside[-1]) + 1)
    nearest = int(np.abs(centres - (low + high) / 2).argmin())
    return slice(nearest, nearest + 1)


def _in_slice(
    mark: Mark, layer: Image, slab: str, slab_mm: float
) -> tuple[np.ndarray | None, float]:
    """Values in an ellipse or a rectangle, and its area in mm²."""
    axis = mark.axis
    ends = planes_of(layer, axis, mark.start[axis], slab_mm if slab != "none" else 0.0)
    across = [other for other in range(3) if other != axis]
    low = np.minimum(mark.start, mark.end)[across]
    high = np.maximum(mark.start, mark.end)[across]
    size = high - low
    centres = [_centres(layer)[other] for other in across]
    outside = any(
        far < one[0] or near > one[-1] for one, near, far in zip(centres, low, high, strict=True)
    )
    if ends is None or outside:
        return None, 0.0
    parts = tuple(_within(*args) for args in zip(centres, low, high, strict=True))
    boxed = [slice(None)] * 3
    for other, part in zip(across, parts, strict=True):
        boxed[other] = part
    values = projected(np.asarray(layer.data[tuple(boxed)]), axis, ends, slab)
    if mark.kind == "rectangle":
        return values.ravel(), float(size.prod())
    middle, half = (low + high) / 2, np.maximum(size / 2, 1e-6)
    first, second = (
        (one[part] - m) / h for one, part, m, h in zip(centres, parts, middle, half, strict=True)
    )
    inside = first[:, None] ** 2 + second[None, :] ** 2 <= 1
    if not inside.any():
        inside[inside.shape[0] // 2, inside.shape[1] // 2] = True
    return values[inside], float(np.pi * half.prod())


def _in_sphere(mark: Mark, layer: Image) -> tuple[np.ndarray | None, float]:
    """Values in a sphere, and its volume in ml."""
    radius, centres = mark.length_mm, _centres(layer)
    around = list(zip(centres, mark.start, strict=True))
    if any(middle + radius < one[0] or middle - radius > one[-1] for one, middle in around):
        return None, 0.0
    parts = tuple(_within(one, middle - radius, middle + radius) for one, middle in around)
    grid = np.ix_(*((one[part] - m) ** 2 for (one, m), part in zip(around, parts, strict=True)))
    inside = grid[0] + grid[1] + grid[2] <= radius**2
    if not inside.any():
        inside[tuple(n // 2 for n in inside.shape)] = True
    return np.asarray(layer.data[parts])[inside], float(4 / 3 * np.pi * radius**3 / 1000)


LINE, CHOSEN, SHADOW = QColor("#7ee787"), QColor("#ffffff"), QColor(0, 0, 0, 200)
BEHIND = QColor(0, 0, 0, 150)
#: Distance in pixels within which an end can be grabbed.
NEAR_PX = 9
#: A press without a drag draws nothing.
LEAST_PX = 3
HANDLE_PX, TEXT_PX = 3, 13
#: Of the table that is copied.
COLUMNS = (
    *("brain", "kind", "slice", "start_mm", "end_mm", "length_mm", "angle_deg", "mean", "sd"),
    *("area_mm2", "volume_ml", "picture", "slab"),
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
        #: The brain that is shown, and what measurements in its picture hold for.
        self.whose = self.ground = ""
        self.chosen: Mark | None = None
        self._marks: list[Mark] = []
        self._known: dict[Mark, tuple[Any, RegionFigures | None]] = {}

    @property
    def shown(self) -> list[Mark]:
        """Those of the brain that is shown, in the order they were drawn."""
        return [mark for mark in self._marks if mark.whose == self.ground]

    @property
    def kept(self) -> list[dict[str, Any]]:
        """Those of all brains, as plain data."""
        return [asdict(mark) for mark in self._marks]

    def restore(self, kept: Any) -> None:
        """Replace those of all brains by what a session kept, or by none."""
        try:
            self._marks = TypeAdapter(list[Mark]).validate_python(kept or [])
        except ValidationError:  # a file can be edited
            self._marks = []
        self.chosen = None
        self.changed.emit()

    def of(self, key: str) -> list[Mark]:
        """Those of a patient, on the screen or not."""
        return [mark for mark in self._marks if mark.whose.startswith(f"{key} ")]

    def drop(self, key: str) -> None:
        """Remove those of a patient."""
        self._marks = [mark for mark in self._marks if mark not in self.of(key)]
        self.changed.emit()

    def take(self, tool: Kind | str) -> None:
        """Choose what the next drag draws; the same again for none."""
        self.tool = "" if tool == self.tool else tool
        self.toolChanged.emit(self.tool)

    def set_whose(self, whose: str, ground: str) -> None:
        """Another brain is shown: the measurements of the one before wait for it."""
        self.whose = whose
        if ground != self.ground:
            self.ground, self.chosen = ground, None
        self.measure_again()

    def measure_again(self) -> None:
        """Other voxels are shown."""
        self._known.clear()
        self.changed.emit()

    def add(self, mark: Mark) -> None:
        """Add a measurement of the brain that is shown."""
        self.chosen = replace(mark, whose=self.ground)
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
        self._marks = [mark for mark in self._marks if mark.whose != self.ground]
        self.chosen = None
        self.changed.emit()

    def copy(self) -> None:
        """Copy those of the brain that is shown as a table, one a line, named after the brain."""
        look, rows = self.looks.look, [[*COLUMNS]]
        slab = "" if look.slab == "none" else f"{look.slab} {look.slab_mm:g} mm"
        for mark in self.shown:
            figures = self.figures(mark)
            numbers = (
                mark.length_mm if mark.kind == "length" else None,
                mark.angle_deg,
                figures and figures.mean,
                figures and figures.sd,
                figures and figures.area_mm2,
                figures and figures.volume_ml,
            )
            places = [" ".join(f"{value:.1f}" for value in p) for p in (mark.start, mark.end)]
            written = ["" if number is None else f"{number:.4g}" for number in numbers]
            written += [figures.picture, slab] if figures else ["", ""]
            rows.append([self.whose, mark.kind, place_of(mark), *places, *written])
        copy_table(rows)

    def text_of(self, mark: Mark) -> str:
        """Its figures in what is shown."""
        return text_of(mark, self.figures(mark))

    def figures(self, mark: Mark) -> RegionFigures | None:
        """Figures of a region in what is shown."""
        layers, look = [*visible_pictures(self.viewer, over=True)], self.looks.look
        key = (*(id(layer.data) for layer in layers), look.slab, look.slab_mm)
        known = self._known.get(mark)
        if known is None or known[0] != key:
            every = (figures_of(mark, layer, look.slab, look.slab_mm) for layer in layers)
            known = self._known[mark] = key, next(filter(None, every), None)
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
        if (found := self._grabbed(model, at, scale)) is None:
            self.choose(None)
            return
        event.handled = True
        mark, end = found
        self.choose(mark)
        yield
        while event.type == "mouse_move" and self.chosen is not None:
            now = _point(event.position)
            by = _point(np.subtract(now, at))
            place: Any = {end: now}
            new = replace(mark, **place) if end else mark.moved(by)
            self.replace(self.chosen, new)
            event.handled = True
            yield

    def _draw_new(
        self, model: ViewerModel, event: Any, at: tuple[float, float, float], scale: float
    ) -> Iterator[None]:
        mark = Mark(self.tool, model.dims.order[0], at, at)  # type: ignore[arg-type]
        ground, drawn = self.ground, False
        yield
        while event.type == "mouse_move":
            event.handled = True
            if self.ground != ground or (drawn and self.chosen is None):
                return  # another brain came, or it was deleted
            new = mark.drawn_to(_point(event.position))
            if drawn and self.chosen is not None:
                self.replace(self.chosen, replace(new, whose=self.ground))
            elif new.length_mm * scale >= LEAST_PX:
                self.add(new)
                drawn = True
            yield
        event.handled = True
        if drawn and self.chosen is not None:  # moves may be dropped, the release is not
            new = mark.drawn_to(_point(event.position))
            self.replace(self.chosen, replace(new, whose=self.ground))
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
            for name, place in mark.handles.items():
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
        #: Where the figures stand, in pixels.
        self.written: list[QRectF] = []
        super().__init__(canvas, model, signals)
        self.links.connect(marks.changed, self._on_change)

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
        self.written.clear()
        if not (marks := self.visible_marks()):
            return
        with painting(self) as painter:
            for mark in marks:
                color = CHOSEN if mark == self.marks.chosen else LINE
                for pen in (QPen(SHADOW, 3.0), QPen(color, 1.5)):
                    painter.setPen(pen)
                    self._outline(painter, mark)
                self._write(painter, mark, color)

    def _px(self, place: Point) -> QPointF:
        rows, columns = self.model.dims.order[1:]
        return self.to_px(place[rows], place[columns])

    def _box_px(self, mark: Mark) -> QRectF:
        """Rectangle around it, in pixels."""
        if mark.kind != "sphere":
            return QPolygonF([self._px(place) for place in mark.handles.values()]).boundingRect()
        start = self._px(mark.start)
        axis = self.model.dims.order[0]
        radius = mark.radius_in(axis, self.model.dims.point[axis]) * self.model.scene.camera.zoom
        return QRectF(start.x() - radius, start.y() - radius, 2 * radius, 2 * radius)

    def _outline(self, painter: QPainter, mark: Mark) -> None:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if mark.lines:
            for ends in mark.lines:
                painter.drawLine(*map(self._px, ends))
            for place in mark.handles.values():
                painter.drawEllipse(self._px(place), HANDLE_PX, HANDLE_PX)
        elif mark.kind == "rectangle":
            painter.drawRect(self._box_px(mark))
        else:
            painter.drawEllipse(self._box_px(mark))

    def _write(self, painter: QPainter, mark: Mark, color: QColor) -> None:
        """The figures below it, inside the view, and below others that are there."""
        metrics, text = set_letters(painter, scaled(TEXT_PX)), self.marks.text_of(mark)
        box = self._box_px(mark)
        width, height = metrics.horizontalAdvance(text) + 8, metrics.height() + 2
        left = min(max(box.center().x() - width / 2, 2), max(self.width() - width - 2, 2))
        low = box.bottom() + 6 + height > self.height() - 2
        top = max(box.top() - height - 6, 2) if low else box.bottom() + 6
        place = QRectF(left, top, width, height)
        while any(map(place.intersects, self.written)):
            place.translate(0, height)
        self.written.append(place)
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


def _off_line(mark: Mark, axis: int, at: tuple[float, float, float]) -> float:
    """Distance in mm of a point of the slice from the drawn line."""
    across = [other for other in range(3) if other != axis]
    start, end, here = (np.array(p)[across] for p in (mark.start, mark.end, at))
    if mark.lines:
        off = []
        for first, last in mark.lines:
            begin, along = np.array(first)[across], np.subtract(last, first)[across]
            share = np.clip(np.dot(here - begin, along) / max(np.dot(along, along), 1e-9), 0, 1)
            off.append(float(np.linalg.norm(here - begin - share * along)))
        return min(off)
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
