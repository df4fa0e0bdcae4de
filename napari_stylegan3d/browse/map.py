"""The latent map in the Browse panel: axes, plot, and what the place means."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from qtpy import QtGui
from qtpy.QtCore import QEvent, QObject, QPointF, QRectF, QSignalBlocker, QSize, Qt, Signal
from qtpy.QtWidgets import QComboBox, QLabel, QSizePolicy, QToolTip, QWidget

from napari_stylegan3d.core.worker import LatestWins, LongJob, Newest
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import painting, scaled
from stylegan3d.base import Cancelled, Progress, StyleGAN3DError, effort
from stylegan3d.pages.shortening import shortened
from stylegan3d.recipe.description import describe_recipe

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from stylegan3d.directions.latent_map import Plane, Survey
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.session.workspace import StateChange


@dataclass(frozen=True)
class Inks:
    """Colours that stay distinct with red-green colour blindness; shapes differ too."""

    ground: str
    text: str
    hint: str
    line: str
    density: str
    here: str
    favourite: str
    scan: str
    accent: str


DARK = Inks(
    "#15171c",
    "#e8eaed",
    "#9aa3ad",
    "#343a44",
    "#6f9cff",
    "#ff9a3c",
    "#7fd3ff",
    "#ffffff",
    "#6480e6",
)
LIGHT = Inks(
    "#ffffff",
    "#1b1c1f",
    "#555a61",
    "#d5d2d0",
    "#3a62c8",
    "#b84f00",
    "#0a6aa6",
    "#1b1c1f",
    "#3a59c7",
)


def inks(widget: QWidget) -> Inks:
    """Those of the widget's theme."""
    text = widget.palette().color(QtGui.QPalette.ColorRole.WindowText)
    return DARK if text.lightness() > 127 else LIGHT


def draw_mark(painter: QtGui.QPainter, kind: str, at: QPointF, colors: Inks) -> None:
    """A star for a favourite, a triangle for a scan."""
    favourite = kind == "favourite"
    painter.setPen(QtGui.QPen(QtGui.QColor(colors.ground), 1.5))
    painter.setBrush(QtGui.QColor(colors.favourite if favourite else colors.scan))
    painter.drawPolygon(_polygon(at, (7.0, 2.94) * 5 if favourite else (7.0,) * 3))


def draw_here(painter: QtGui.QPainter, at: QPointF, colors: Inks) -> None:
    """A disc in a ring: the current brain."""
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QtGui.QPen(QtGui.QColor(colors.text), 1.5))
    painter.drawEllipse(at, 9, 9)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QtGui.QBrush(QtGui.QColor(colors.here)))
    painter.drawEllipse(at, 6, 6)


def draw_legend_sign(painter: QtGui.QPainter, kind: str, at: QPointF, colors: Inks) -> None:
    """The sign of one kind of thing on the map, for its legend."""
    painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
    if kind == "here":
        draw_here(painter, at, colors)
    elif kind == "truncated":
        painter.setPen(QtGui.QPen(QtGui.QColor(colors.text), 1, Qt.PenStyle.DashLine))
        painter.drawLine(at - QPointF(9, 0), at + QPointF(9, 0))
    else:
        draw_mark(painter, kind, at, colors)


def write(painter: QtGui.QPainter, foot: QPointF, text: str, color: str, ground: str) -> None:
    """A text above a point, outlined in the ground colour."""
    start = foot - QPointF(painter.fontMetrics().horizontalAdvance(text) / 2, 0)
    painter.setPen(QtGui.QColor(ground))
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        painter.drawText(start + QPointF(dx, dy), text)
    painter.setPen(QtGui.QColor(color))
    painter.drawText(start, text)


def _polygon(at: QPointF, radii: Sequence[float]) -> QtGui.QPolygonF:
    """Corners at these distances from a point, the first above it, at equal angles."""
    angles = np.arange(len(radii)) * 2 * np.pi / len(radii) - np.pi / 2
    corners = zip(angles, radii, strict=True)
    return QtGui.QPolygonF([at + r * QPointF(np.cos(a), np.sin(a)) for a, r in corners])


#: Room for tick labels and axis names, in px.
LEFT, BOTTOM, TOP, RIGHT = 40, 36, 6, 8
HEIGHT = 306
#: Maximum distance of the mouse from a mark to select it, in px.
NEAR = 9
#: What an arrow key travels, alone and with Shift, in sd.
STEP_SD, LONG_STEP_SD = 0.1, 0.5
ARROWS = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, 1),
    Qt.Key.Key_Down: (0, -1),
}

#: Opacity of the areas that enclose 50, 80 and 95 % of random brains, the inner on the outer.
DEPTHS = (70, 48, 36)
#: A spread this close to 1 would draw the line of 95 % once more.
SAME = 0.005
LABEL_SHARES = {0: "50 %", 2: "95 %"}

Kind = Literal["favourite", "scan"]


@dataclass(frozen=True, eq=False)
class MapMark:
    """A brain on the map."""

    kind: Kind
    at: np.ndarray
    label: str
    recipe: Recipe


class LatentPlot(QWidget):
    """Draws a plane of latent space, in sd; emits the positions the user picks.

    Attributes
    ----------
    here : ndarray, shape (2,), or None
        The current brain.
    marks : sequence of Mark
        Other brains.
    lines : list of ndarray, shape (m, 2)
        Lines of equal density, for 50, 80 and 95 % of random brains.
    """

    #: ((x, y) in sd, live): `live` while the mouse is held.
    travelled = Signal(object, bool)
    #: Recipe of a mark that was clicked.
    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.here: np.ndarray | None = None
        self.marks: Sequence[MapMark] = ()
        self.lines: list[list[np.ndarray]] = []
        self.names = ("", "")
        self.spread: float | None = None
        self.reach = 3.5
        #: Whether the mouse is held to travel.
        self.dragging = False
        self.setObjectName("browse.map")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setToolTip(
            "The latent map, in standard deviations (sd) of random brains from the average.\nClick "
            "or drag to move the brain; arrow keys move by 0.1 sd, with Shift by 0.5 sd.\nClick a "
            "star or a triangle to go to that brain."
        )

    def sizeHint(self) -> QSize:
        """As wide as the panel."""
        return QSize(320, HEIGHT)

    def show_axes(self, names: tuple[str, str], lines: list[list[np.ndarray]]) -> None:
        """Show a plane: the axes with what they change, and its lines of equal density."""
        self.names, self.lines = names, lines
        self.update()

    def show_brains(
        self, here: np.ndarray | None, marks: Sequence[MapMark], spread: float | None
    ) -> None:
        """Show the current brain and others; `spread` is their spread after truncation."""
        self.here, self.marks, self.spread = here, marks, spread
        if not self.dragging:  # the view must not move during a drag
            points = [mark.at for mark in marks] + ([here] if here is not None else [])
            furthest = max((float(np.abs(p).max()) for p in points), default=0.0)
            self.reach = float(np.clip(np.ceil(2 * furthest + 0.6) / 2, 3.5, 8.0))
        self.update()

    @property
    def plot(self) -> QRectF:
        """The part of the widget that is the plane."""
        return QRectF(self.rect()).adjusted(scaled(LEFT), TOP, -RIGHT, -scaled(BOTTOM))

    def to_pixels(self, at: np.ndarray) -> QPointF:
        """Where a place (x, y) in sd is drawn."""
        x, y = (np.asarray(at) / self.reach + 1) / 2
        return QPointF(
            self.plot.left() + x * self.plot.width(), self.plot.bottom() - y * self.plot.height()
        )

    def polygon(self, places: np.ndarray) -> QtGui.QPolygonF:
        """Where places (n, 2) in sd are drawn."""
        area = self.plot
        x, y = ((places / self.reach + 1) / 2).T
        across, down = area.left() + x * area.width(), area.bottom() - y * area.height()
        return QtGui.QPolygonF([QPointF(*pair) for pair in zip(across, down, strict=True)])

    def to_place(self, point: QPointF) -> np.ndarray:
        """The place in sd under a point, no further than the plane reaches."""
        x = (point.x() - self.plot.left()) / self.plot.width()
        y = (self.plot.bottom() - point.y()) / self.plot.height()
        return np.clip((2 * np.array([x, y]) - 1) * self.reach, -self.reach, self.reach)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Density, axes, marks, the current brain."""
        with painting(self) as painter:
            colors = inks(self)
            self._draw_axes(painter, colors)
            painter.save()
            painter.setClipRect(self.plot)
            self._draw_density(painter, colors)
            for mark in self.marks:
                draw_mark(painter, mark.kind, self.to_pixels(mark.at), colors)
            if self.here is not None:
                draw_here(painter, self.to_pixels(self.here), colors)
            for foot, label in self._names_of_scans(painter.fontMetrics()):
                write(painter, foot, label, colors.text, colors.ground)
            painter.restore()
            if self.hasFocus():
                painter.setPen(QtGui.QColor(colors.accent))
                painter.drawRect(self.plot)

    def _names_of_scans(self, metrics: QtGui.QFontMetrics) -> Iterator[tuple[QPointF, str]]:
        """Names above, below or beside their marks; what would cover another shows on hover.

        So do those of favourites, which may be many.
        """
        scans = [mark for mark in self.marks if mark.kind == "scan"]
        marks = [(mark.label, self.to_pixels(mark.at)) for mark in scans]
        drawn = [at for _, at in marks]
        drawn += [] if self.here is None else [self.to_pixels(self.here)]
        taken = [QRectF(at - QPointF(6, 6), at + QPointF(6, 6)) for at in drawn]
        for label, at in marks:
            wide, high = metrics.horizontalAdvance(label) / 2, metrics.ascent()
            for right, down in ((0, -10), (0, 8 + high), (10 + wide, high / 2)):
                foot = at + QPointF(right, down)
                where = QRectF(foot - QPointF(wide, high), foot + QPointF(wide, 0))
                if not any(map(where.intersects, taken)):
                    taken.append(where)
                    yield foot, label
                    break

    def _draw_axes(self, painter: QtGui.QPainter, colors: Inks) -> None:
        """Ground, grid, ticks in whole sd, and the names of the axes."""
        area = self.plot
        painter.fillRect(area, QtGui.QColor(colors.ground))
        metrics = painter.fontMetrics()
        whole = int(np.floor(self.reach))
        for tick in range(-whole, whole + 1):
            at = self.to_pixels(np.array([tick, tick]))
            painter.setPen(QtGui.QPen(QtGui.QColor(colors.hint if tick == 0 else colors.line), 1))
            painter.drawLine(QPointF(at.x(), area.top()), QPointF(at.x(), area.bottom()))
            painter.drawLine(QPointF(area.left(), at.y()), QPointF(area.right(), at.y()))
            painter.setPen(QtGui.QColor(colors.hint))
            text = f"{tick:+d}" if tick else "0"
            half = metrics.horizontalAdvance(text) / 2
            painter.drawText(QPointF(at.x() - half, area.bottom() + metrics.ascent() + 2), text)
            middle = at.y() + metrics.ascent() / 2 - 1
            painter.drawText(QPointF(area.left() - 2 * half - 4, middle), text)
        painter.setPen(QtGui.QColor(colors.text))
        x, y = self.names
        across = metrics.elidedText(x, Qt.TextElideMode.ElideRight, round(area.width()))
        below = QRectF(
            area.left(), self.height() - metrics.height(), area.width(), metrics.height()
        )
        painter.drawText(below, Qt.AlignmentFlag.AlignCenter, across)
        painter.save()
        painter.rotate(-90)
        up = metrics.elidedText(y, Qt.TextElideMode.ElideRight, round(area.height()))
        beside = QRectF(-area.bottom(), 0, area.height(), metrics.height())
        painter.drawText(beside, Qt.AlignmentFlag.AlignCenter, up)
        painter.restore()

    def _draw_density(self, painter: QtGui.QPainter, colors: Inks) -> None:
        """Areas that enclose shares of random brains, scaled by truncation."""
        for index in reversed(range(len(self.lines))):
            tint = QtGui.QColor(colors.density)
            edge = QtGui.QPen(tint, 1)
            tint.setAlpha(DEPTHS[index])
            painter.setPen(edge)
            painter.setBrush(tint)
            painter.drawPath(self._path(self.lines[index], 1.0))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if self.lines and self.spread is not None and abs(self.spread - 1) > SAME:
            painter.setPen(QtGui.QPen(QtGui.QColor(colors.text), 1, Qt.PenStyle.DashLine))
            painter.drawPath(self._path(self.lines[-1], self.spread))
        for index, text in LABEL_SHARES.items():
            if index < len(self.lines) and self.lines[index]:
                outer = max(self.lines[index], key=len)
                highest = self.to_pixels(outer[outer[:, 1].argmax()])
                write(painter, highest + QPointF(0, -3), text, colors.hint, colors.ground)

    def _path(self, lines: list[np.ndarray], scale: float) -> QtGui.QPainterPath:
        path = QtGui.QPainterPath()
        for line in lines:
            path.addPolygon(self.polygon(line * scale))
        return path

    def mark_at(self, point: QPointF) -> MapMark | None:
        """The mark under the mouse."""

        def distance(mark: MapMark) -> float:
            away = self.to_pixels(mark.at) - point
            return float(np.hypot(away.x(), away.y()))

        nearest = min(self.marks, key=distance, default=None)
        return nearest if nearest is not None and distance(nearest) <= NEAR else None

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        """Select a mark, or start a drag."""
        if event.button() != Qt.MouseButton.LeftButton or not self.plot.contains(event.position()):
            return
        mark = self.mark_at(event.position())
        if mark is not None:
            self.chosen.emit(mark.recipe)
        elif self.here is not None:
            self.dragging = True
            self._go(self.to_place(event.position()), live=True)

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        """Travel on."""
        if self.dragging:
            self._go(self.to_place(event.position()), live=True)

    def mouseReleaseEvent(self, event: QtGui.QMouseEvent) -> None:
        """Arrive."""
        if self.dragging:
            self.dragging = False
            self._go(self.to_place(event.position()), live=False)

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:
        """Travel a little."""
        key: Any = event.key()
        if key not in ARROWS or self.here is None:
            super().keyPressEvent(event)
            return
        step = LONG_STEP_SD if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else STEP_SD
        there = self.here + step * np.array(ARROWS[key])
        self._go(np.clip(there, -self.reach, self.reach), live=False)

    def event(self, event: QEvent) -> bool:
        """Name the mark under the mouse."""
        if isinstance(event, QtGui.QHelpEvent) and (mark := self.mark_at(QPointF(event.pos()))):
            QToolTip.showText(event.globalPos(), mark.label, self)
            return True
        return super().event(event)

    def _go(self, there: np.ndarray, live: bool) -> None:
        self.here = there
        self.update()
        self.travelled.emit(there, live)


#: Number of cached positions.
KEPT = 500
#: Positions are handed over after this time, the others follow.
BLOCK_S = 0.05


@dataclass(frozen=True, eq=False)
class _Request:
    survey: Survey
    generator: Generator
    recipes: tuple[Recipe, ...]
    stop: threading.Event


class Places(QObject):
    """The survey of a model's random brains, and the positions of requested recipes.

    Works only while the map is `seen`: both come in blocks, end at once when it is left, and go on
    where they stood.
    """

    #: The first brains of a model's survey are there.
    surveyed = Signal()
    #: There are more.
    grown = Signal()
    #: Requested positions are available.
    located = Signal()
    #: The exception, if there is no survey.
    failed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.survey: Survey | None = None
        self._generator: Generator | None = None
        self._known: Newest[Recipe, np.ndarray | None] = Newest(KEPT)
        self._wanted: tuple[Recipe, ...] = ()
        self._seen = False
        #: Set when the positions under way are no longer needed.
        self._stop = threading.Event()
        self._surveying = LongJob(
            self, failed=self.failed.emit, came=self._on_block, cancelled=self._survey
        )
        self._locating = LatestWins(locate, self, self._on_located, self._on_not_located)

    @property
    def is_complete(self) -> bool:
        """Whether all random brains are there."""
        if self.survey is None:
            return False
        from stylegan3d.directions.latent_map import SAMPLES

        return len(self.survey.points) >= SAMPLES

    def use(self, generator: Generator) -> None:
        """Survey a model whose directions are known; nothing is done for one that was surveyed."""
        self.forget(generator)
        another, self._generator = self._generator is None, generator
        if another:
            self._survey()

    def forget(self, generator: Generator) -> None:
        """Another model is loaded; its directions are not known yet."""
        if self._generator is not None and self._generator.hash != generator.hash:
            self.survey, self._generator = None, None
            self._known.clear()
            self._surveying.cancel()

    def set_seen(self, seen: bool) -> None:
        """Go on while the map is looked at, and stop when it is left."""
        self._seen = seen
        if seen:
            self._survey()
            self._locate()
        else:
            self._surveying.cancel()
            self._stop.set()

    def knows(self, recipe: Recipe) -> bool:
        """Whether a brain was looked for."""
        return recipe in self._known

    def of(self, recipe: Recipe) -> np.ndarray | None:
        """Position of a brain along all axes, in sd; None if not known (yet)."""
        return self._known.get(recipe)

    def want(self, recipes: Sequence[Recipe]) -> None:
        """Find the places of those that are not known; `located` is emitted for each block."""
        # No more than are kept: otherwise the first would be forgotten and looked for again.
        wanted = tuple(dict.fromkeys(recipes))[:KEPT]
        if wanted != self._wanted:
            self._wanted = wanted
            self._stop.set()
        if self._stop.is_set() or not self._locating.busy:
            self._locate()

    def _survey(self) -> None:
        if self._generator is not None and self._seen and not self.is_complete:
            self._surveying.start(grow, self._generator, self.survey)

    def _locate(self) -> None:
        missing = tuple(recipe for recipe in self._wanted if recipe not in self._known)
        if missing and self.survey is not None and self._generator is not None and self._seen:
            self._stop = threading.Event()
            self._locating.submit(_Request(self.survey, self._generator, missing, self._stop))

    def _on_block(self, block: tuple[Generator, Survey]) -> None:
        generator, survey = block
        if self._generator is None or generator.hash != self._generator.hash:
            return
        first, self.survey = self.survey is None, survey
        (self.surveyed if first else self.grown).emit()

    def _on_located(self, request: _Request, places: list[np.ndarray | None]) -> None:
        if self._generator is None or request.generator.hash != self._generator.hash:
            return
        self._known.update(zip(request.recipes, places, strict=False))
        self.located.emit()
        if not self._locating.busy:
            self._locate()

    def _on_not_located(self, _request: _Request, error: Exception) -> None:
        if not isinstance(error, Cancelled):
            self.failed.emit(error)


def grow(report: Progress, generator: Generator, known: Survey | None) -> None:
    """Sample a generator's random brains in blocks, for a `LongJob`; each is handed over."""
    from stylegan3d.directions.latent_map import SAMPLES, Survey, contours

    survey = known or Survey.begun(generator)
    with effort("rough", report.check):
        for grown in survey.growing(generator):
            # The libraries behind the lines of density take a while to import: not on the GUI
            # thread.
            if survey is not known and len(grown.names) >= 2:
                contours(grown.points[:, :2])
            known = survey
            report.hand_over((generator, grown))
            report(len(grown.points), SAMPLES)


def locate(request: _Request) -> list[np.ndarray | None]:
    """Places of the first recipes, as many as `BLOCK_S` allows; None if a file is gone."""

    check = Progress(cancelled=request.stop.is_set).check
    places: list[np.ndarray | None] = []
    began = time.monotonic()
    for recipe in request.recipes:
        check()
        try:
            with effort("preview", check):
                places.append(request.survey.locate(recipe.latent(request.generator)))
        except StyleGAN3DError:
            places.append(None)
        if time.monotonic() - began > BLOCK_S:
            break
    return places


WAITING = "Sampling random brains of this model…"
TOO_FEW = "No map: this model has fewer than two directions."
TITLE_LENGTH = 24
SIGNS = (
    ("here", "browsed"),
    ("favourite", "favourite"),
    ("scan", "scan"),
    ("truncated", "truncated"),
)


class MapBox(QWidget):
    """Map of the current brain, favourites and projected scans; a click or drag moves there.

    Travelling replaces the recipe's edits along the two axes.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.places = Places(self)
        self.plane: Plane | None = None
        #: Position of this recipe's brain without the edits along the axes.
        self._start: tuple[Recipe, np.ndarray] | None = None
        self.plot = LatentPlot()
        self.x = _axis_box("browse.map_x", "Direction of the horizontal axis.")
        self.y = _axis_box("browse.map_y", "Direction of the vertical axis.")
        self.reset = controls.tool_button(
            "browse.map_reset", controls.RESET_GLYPH, "Undo the edits along both axes."
        )
        self.note = controls.hint(name="browse.map_note")
        self.legend = Legend()
        self._lay_out()
        self._connect()
        self._show_parts()

    def _lay_out(self) -> None:
        self.axes = QWidget()
        axes = controls.row(QLabel("→"), self.x, QLabel("↑"), self.y, self.reset)
        axes.setStretch(1, 1)
        axes.setStretch(3, 1)
        self.axes.setLayout(axes)
        controls.stack(self.axes, self.plot, self.legend, self.note, on=self)

    def _connect(self) -> None:
        session = self.session
        session.changed.connect(self._on_change)
        session.recipeChanged.connect(lambda *_: self.refresh())
        session.projectedChanged.connect(self.refresh)
        session.favourites.changed.connect(self.refresh)
        session.modelChanged.connect(self._on_model)
        self.places.surveyed.connect(self._on_surveyed)
        self.places.grown.connect(self._show_plane)
        self.places.located.connect(self.refresh)
        self.places.failed.connect(self._on_failed)
        self.x.currentIndexChanged.connect(self._on_axes)
        self.y.currentIndexChanged.connect(self._on_axes)
        self.reset.clicked.connect(self._reset)
        self.plot.travelled.connect(self._travel)
        self.plot.chosen.connect(self._open)

    def _open(self, recipe: Recipe) -> None:
        """Show a marked brain; a patient who is open as they were left."""
        case = self.session.case_of(recipe.source)
        if case is None or self.session.patient(case.key) is None:
            self.session.change(recipe)
        else:
            self.session.show(case.key)

    def showEvent(self, event: QtGui.QShowEvent) -> None:
        """Compute what was skipped while the map was hidden."""
        super().showEvent(event)
        self.places.set_seen(True)
        self.refresh()

    def hideEvent(self, event: QtGui.QHideEvent) -> None:
        """Stop computing: nobody looks."""
        self.places.set_seen(False)
        super().hideEvent(event)

    def refresh(self) -> None:
        """Show the current brain and the others, as far as their positions are known."""
        if self.plane is None or not self.isVisible():
            return
        recipe = self.session.brain
        marked = self._marked(recipe)
        here = self.plot.here
        if not self.plot.dragging:
            self.places.want([recipe, *(r for _, _, r in marked)])
            here = self._at(recipe) if self.places.knows(recipe) else here
        marks = [
            MapMark(kind, at, label, r)
            for kind, label, r in marked
            if (at := self._at(r)) is not None
        ]
        self.plot.show_brains(here, marks, self._spread(recipe))
        self.reset.setEnabled(any(e.direction in self.plane.names for e in recipe.edits))
        if here is not None:
            words = place_in_words(self.plane, here, recipe.label is not None)
            words = f"{shortened(describe_recipe(recipe), TITLE_LENGTH)}: {words}"
            if not self.places.is_complete:
                words += f" {len(self.plane.points)} random brains are sampled so far."
            self.note.setText(words)

    def _marked(self, recipe: Recipe) -> list[tuple[Kind, str, Recipe]]:
        """Brains other than the current one: kind, label, recipe."""
        named = self.session.projection_name
        scans: list[tuple[Kind, str, Recipe]] = [
            ("scan", named(p), self.session.with_source(p.source).replace(mix=None, edits=()))
            for p in self.session.projected
            if p.source is not None
        ]
        return scans + [
            ("favourite", f.note or shortened(describe_recipe(f.recipe), TITLE_LENGTH), f.recipe)
            for f in self.session.favourites.items
        ]

    def _at(self, recipe: Recipe) -> np.ndarray | None:
        """Place on the plane."""
        assert self.plane is not None
        place = self.places.of(recipe)
        if place is None or not np.isfinite(place).all():  # edited beyond all numbers
            return None
        return place[list(self.plane.axes)]

    def _spread(self, recipe: Recipe) -> float | None:
        """Spread of random brains after truncation; None where it does not apply."""
        if self.session.generator is None or not recipe.has_seed:
            return None
        from stylegan3d.directions.latent_map import spread

        return spread(recipe.truncation, self.session.generator.num_layers)

    def _on_change(self, change: StateChange) -> None:
        """A drag ends when somebody else is shown, but for the brain that it leads to."""
        if change.another_subject and not change.live:
            self.plot.dragging = False
            self.plot.here = None
            self.note.clear()

    def _on_model(self, generator: Generator) -> None:
        self.places.forget(generator)
        if self.places.survey is None:
            self.plane = None
            self.note.setText(WAITING)
        self._show_parts()
        self.refresh()

    def _on_surveyed(self) -> None:
        survey, generator = self.places.survey, self.session.generator
        if survey is None or generator is None:
            return
        directions = generator.directions
        entries = []
        for name in survey.names:
            share = directions.explained_variance[directions.names.index(name)]
            text = f"{name} · {100 * share:.0f} %" if share >= 0.005 else name
            entries.append((text, name, directions.descriptions.get(name, "")))
        for box, first in ((self.x, 0), (self.y, 1)):
            controls.fill(box, entries, survey.names[min(first, len(survey.names) - 1)])
        self._on_axes()

    def _on_axes(self, _: int = 0) -> None:
        """Other axes: the same two cannot be both."""
        survey = self.places.survey
        if survey is None:
            return
        self.plane = None
        if len(survey.names) < 2:
            self.note.setText(TOO_FEW)
        else:
            if self.x.currentIndex() == self.y.currentIndex():
                other = self.y if self.sender() is self.x else self.x
                with QSignalBlocker(other):
                    other.setCurrentIndex((other.currentIndex() + 1) % other.count())
            self.plane = survey.plane(self.x.currentData(), self.y.currentData())
        self._show_parts()
        self._show_plane()

    def _show_plane(self) -> None:
        """The axes, and the density of the brains sampled so far."""
        survey = self.places.survey
        if survey is None or self.plane is None:
            return
        from stylegan3d.directions.latent_map import contours

        self.plane = survey.plane(*self.plane.names)
        x, y = (self._axis_title(name) for name in self.plane.names)
        self.plot.show_axes((x, y), contours(self.plane.points))
        self.refresh()

    def _axis_title(self, name: str) -> str:
        """Such as "PC 1 (sd) → larger head"."""
        assert self.session.generator is not None
        summary = self.session.generator.directions.summary(name)
        return f"{name} (sd) → {summary.split(',')[0]}" if summary else f"{name} (sd)"

    def _show_parts(self) -> None:
        self._start = None
        controls.reveal(self.plane is not None, self.axes, self.plot, self.legend)

    def _travel(self, there: np.ndarray, live: bool) -> None:
        plane, generator = self.plane, self.session.generator
        start = self._start_of(self.session.brain)
        if plane is None or generator is None or start is None:
            return
        arrived = plane.travel(self.session.brain, start, np.round(there, 2))
        self._start = arrived, start
        self.session.change(arrived, live=live, gesture="" if live else "browse.map")

    def _start_of(self, recipe: Recipe) -> np.ndarray | None:
        """Position of the brain without edits along the axes; None while not known.

        What has just travelled started where it started: no need to wait until it is found again.
        """
        if self._start is not None and self._start[0] == recipe:
            return self._start[1]
        if self.plane is None or self.session.generator is None:
            return None
        at = self._at(recipe)
        return (
            None if at is None else self.plane.start(recipe, at, self.session.generator.num_layers)
        )

    def _reset(self) -> None:
        if self.plane is not None:
            recipe, names = self.session.brain, self.plane.names
            kept = tuple(edit for edit in recipe.edits if edit.direction not in names)
            self.session.change(recipe.replace(edits=kept))

    def _on_failed(self, error: Exception) -> None:
        from napari_stylegan3d.core.session import sentence

        self.plane = None
        self._show_parts()
        self.note.setText(sentence(error, "drawing the map"))


class Legend(QWidget):
    """What the signs on the map mean."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(self.sizeHint().height())
        self.setToolTip(
            "The areas contain 50, 80 and 95 % of random brains at truncation 1;\n"
            "the dashed line contains 95 % of those at the current truncation."
        )

    def sizeHint(self) -> QSize:
        """One line."""
        return QSize(320, self.fontMetrics().height() + 6)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Sign, word, sign, word."""
        with painting(self, smooth=False) as painter:
            colors, metrics = inks(self), self.fontMetrics()
            middle, left = self.height() / 2, 12.0
            for kind, word in SIGNS:
                draw_legend_sign(painter, kind, QPointF(left, middle), colors)
                painter.setPen(QtGui.QColor(colors.hint))
                painter.drawText(QPointF(left + 13, middle + metrics.ascent() / 2 - 1), word)
                left += metrics.horizontalAdvance(word) + 36


def place_in_words(plane: Plane, at: np.ndarray, labelled: bool) -> str:
    """Such as "PC 1 +0.8 sd, PC 2 -1.2 sd: as usual as most random brains."."""
    x, y = (f"{name} {value:+.1f} sd" for name, value in zip(plane.names, at, strict=True))
    share = plane.share_within(at)
    if share < 0.5:
        usual = "among the half of random brains closest to the average"
    elif share < 0.95:
        usual = f"{100 * share:.0f} % of random brains are closer to the average"
    else:
        usual = "farther out than nearly all random brains: expect artefacts"
    words = f"{x}, {y}: {usual}."
    return f"{words} Random brains have labels as in the training data." if labelled else words


def _axis_box(name: str, tip: str) -> QComboBox:
    box = controls.combo(name, f"{tip} The percentage is the share of the total variation.")
    box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return box
