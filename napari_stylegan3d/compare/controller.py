"""Comparing what is shown with what was pinned: the work behind the Compare tab."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from qtpy import QtGui
from qtpy.QtCore import QEvent, QObject, QPoint, QPointF, Qt, QTimer, Signal
from qtpy.QtWidgets import QAbstractButton, QAbstractItemView, QApplication, QComboBox, QWidget

from napari_stylegan3d.compare.panel import ComparePanel, RowController
from napari_stylegan3d.core.jobs import DisplayVolume, render_beside, screen_dtype
from napari_stylegan3d.core.worker import LatestWins, beside_the_window
from napari_stylegan3d.views.canvases import View
from napari_stylegan3d.views.display import KEY, OVERLAY, DisplayArray, place, set_limits, upright
from napari_stylegan3d.views.glass import Glass
from napari_stylegan3d.views.layers import OwnLayer, overlaid
from napari_stylegan3d.views.navigation import TEXT_FIELDS
from napari_stylegan3d.views.slices import Pane
from napari_stylegan3d.widgets.controls import Links, allow, painting, reveal, scaled, set_letters
from napari_stylegan3d.widgets.theme import is_outlined
from stylegan3d.base import SessionError
from stylegan3d.recipe.description import describe_recipe
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.scans.verdicts import withheld
from stylegan3d.session.provenance import (
    GENERATED,
    ComparedPair,
    Provenance,
    Side,
    provenance_of,
    provenance_of_scan,
    reconstruction_of,
    titled,
)

if TYPE_CHECKING:
    from napari_stylegan3d.core.panel import Context
    from napari_stylegan3d.views.four import FourViews
    from napari_stylegan3d.views.look import ViewLook
    from napari_stylegan3d.views.stage import Stage
    from stylegan3d.scans import AlignedScan
    from stylegan3d.session.case import Case
    from stylegan3d.session.state import How
    from stylegan3d.session.workspace import StateChange


WIDTH, LETTER_Y, GRIP = 44, 58, 9
#: The line keeps clear of the letters at the top and bottom, and its grip of those at the sides.
END_PX, GRIP_AT = 36, 0.62
#: Distance in pixels within which the line can be grabbed.
NEAR = 12
LINE, TEXT, BEHIND = QtGui.QColor("#ffb74d"), QtGui.QColor("#ffffff"), QtGui.QColor(0, 0, 0, 165)


class SwipeLine(Glass):
    """A strip of the canvas around the line; only the line itself can be dragged."""

    #: (world axis, millimetre)
    moved = Signal(int, float)

    def __init__(self, canvas: QWidget, model: ViewerModel, axis: int) -> None:
        self.axis, self.position_mm = axis, 0.0
        camera = model.scene.camera.events
        super().__init__(canvas, model, (camera.center, camera.zoom, camera.orientation))
        self.setObjectName(f"compare.curtain_line.{axis}")
        self.setToolTip("Drag: A to the left of the line, B to the right.")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents, False)
        self.setCursor(Qt.CursorShape.SplitHCursor)

    def set_position(self, position_mm: float) -> None:
        """Move the line."""
        self.position_mm = position_mm
        self._on_change()

    def x_px(self) -> float:
        """Position of the line, in pixels from the left of the canvas."""
        camera = self.model.scene.camera
        across = (self.position_mm - camera.center[-1]) * self._sign()
        return self.parentWidget().width() / 2 + across * camera.zoom

    def place(self, canvas: QWidget) -> None:
        """Lie where the position in mm is now."""
        self.setGeometry(round(self.x_px() - WIDTH / 2), 0, WIDTH, canvas.height())
        self.update()

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        """Grab the line; other clicks go to the canvas."""
        near = abs(event.position().x() - self.width() / 2) <= NEAR
        event.setAccepted(near)

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        """Drag it."""
        x = self.mapTo(self.parentWidget(), event.position().toPoint()).x()
        x = min(max(x, 0), self.parentWidget().width())
        camera = self.model.scene.camera
        across = (x - self.parentWidget().width() / 2) / camera.zoom
        self.moved.emit(self.axis, float(camera.center[-1] + across * self._sign()))

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw the line, a grip, and the letters A and B."""
        with painting(self) as painter:
            middle, height = self.width() / 2, self.height()
            painter.setPen(QtGui.QPen(LINE, 1.5))
            end = min(scaled(END_PX), height // 4)
            painter.drawLine(QPointF(middle, end), QPointF(middle, height - end))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(BEHIND)
            painter.drawRoundedRect(2, LETTER_Y - 15, self.width() - 4, 20, 4, 4)
            painter.setPen(TEXT)
            set_letters(painter, 13, bold=True)
            painter.drawText(QPoint(7, LETTER_Y), "A")
            painter.drawText(QPoint(self.width() - 16, LETTER_Y), "B")
            painter.setBrush(LINE)
            painter.setPen(Qt.PenStyle.NoPen)
            y = GRIP_AT * height
            for side in (-1, 1):
                tip = QPointF(middle + side * (GRIP + 4), y)
                top, foot = (QPointF(middle + side * 4, y + dy) for dy in (-GRIP, GRIP))
                painter.drawPolygon(QtGui.QPolygonF([tip, top, foot]))

    @property
    def is_mirrored(self) -> bool:
        """Whether the axis points to the left of the screen."""
        return bool(self.model.scene.camera.orientation[-1] == "left")

    def _sign(self) -> int:
        return -1 if self.is_mirrored else 1

    def _on_change(self, _: Any = None) -> None:
        self.place(self.parentWidget())


SWIPE_NAME = "A (compared)"
#: Position of the curtain in mm by world axis; empty for all of A.
NO_CURTAIN: Mapping[int, float] = {}


class SwipeLayer(OwnLayer):
    """Shows A over B in the planes.

    Parameters
    ----------
    viewer : ViewerModel
        The main viewer.
    views : sequence of View
        All views; those with a plane have a copy of the layer.
    """

    def __init__(self, viewer: ViewerModel, views: Sequence[View]) -> None:
        self.viewer = viewer
        self._views = [view for view in views if view.plane]
        self._volume: DisplayArray | None = None
        self._curtain: Mapping[int, float] = NO_CURTAIN

    def show(
        self,
        volume: DisplayArray,
        provenance: Provenance,
        limits: tuple[float, float],
        visible: bool,
        curtain: Mapping[int, float] = NO_CURTAIN,
    ) -> None:
        """Show A above the picture, on the left of the curtain if there is one."""
        moved = not self.there or self._volume is None or self._volume.data is not volume.data
        self._volume = volume
        if not self.there:
            self.add(overlaid(volume, name=SWIPE_NAME, contrast_limits=limits, visible=False))
        self.layer.metadata = {OVERLAY: True, KEY: provenance}
        self.set_limits(limits)
        if moved or curtain != self._curtain:
            self.hang(curtain)
        self.set_visible(visible)

    def set_limits(self, limits: tuple[float, float]) -> None:
        """Set window and level to those of the picture below."""
        if self.layer is not None:
            set_limits(self.layer, limits)

    def hang(self, curtain: Mapping[int, float]) -> None:
        """Move the curtain: A is shown on its left."""
        self._curtain = dict(curtain)
        parts: dict[int, DisplayArray] = {}
        if not self.there or self._volume is None:
            return
        for view in self._views:
            assert view.plane is not None
            axis = view.plane.order[2]
            if axis in curtain and axis not in parts:  # the same for planes that a follower shares
                mirrored = view.model.scene.camera.orientation[-1] == "left"
                parts[axis] = left_part(self._volume, axis, curtain[axis], mirrored)
            shown = next((one for one in view.model.layers if one.name == SWIPE_NAME), None)
            if isinstance(shown, Image):
                place(shown, parts.get(axis, self._volume))

    def hide(self) -> None:
        """Remove it."""
        self.remove()
        self._volume, self._curtain = None, NO_CURTAIN


def left_part(volume: DisplayArray, axis: int, position_mm: float, mirrored: bool) -> DisplayArray:
    """The part of a volume to the left of a line in a view, at least one voxel wide.

    Parameters
    ----------
    volume : DisplayArray
        All of it.
    axis : int
        Horizontal world axis of the view.
    position_mm : float
        Position of the line.
    mirrored : bool
        Whether the axis points left on the screen.
    """
    count = volume.data.shape[axis]
    first, size = volume.translate[axis], volume.scale[axis]
    # Voxels with their centre before the line.
    before = int(np.clip(np.ceil((position_mm - first) / size), 1, count - 1))
    part: list[slice] = [slice(None)] * 3
    part[axis] = slice(before, None) if mirrored else slice(None, before)
    start = list(volume.translate)
    start[axis] = first + size * (before if mirrored else 0)
    return DisplayArray(volume.data[tuple(part)], volume.scale, (start[0], start[1], start[2]))


#: The keys, in words; they do something while they are held.
HELD, HELD_IN_VIEWS = "B", "Space"
HOLD_KEY, KEY_IN_VIEWS = (QtGui.QKeySequence(one)[0].key() for one in (HELD, HELD_IN_VIEWS))


class HoldKey(QObject):
    """Watches a window's keys: B anywhere but in text fields, and the space bar in the views.

    The space bar still presses a button that Tab led to. A shortcut would not report the release
    of the key.

    Parameters
    ----------
    window : QWindow
        Whose keys.
    views : QWidget
        Where the space bar counts.
    wanted : callable
        Whether there is anything to be done at present.
    parent : QObject
        Owns it.
    links : Links
        Of what ends it.
    """

    #: Pressed, or released.
    held = Signal(bool)

    def __init__(
        self,
        window: QtGui.QWindow,
        views: QWidget,
        wanted: Callable[[], bool],
        parent: QObject,
        links: Links,
    ) -> None:
        super().__init__(parent)
        self._views: QWidget | None = views
        self._wanted = wanted
        self._key: int | None = None
        # The window is closed later than this, and would keep what it refers to until then.
        links.callback(setattr, self, "_views", None)
        links.watch(self, window)

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        """Take the key while it counts."""
        if event.type() == QEvent.Type.FocusOut and self._key is not None:
            self._let_go()  # the key will be released in another window
            return False
        if not isinstance(event, QtGui.QKeyEvent):
            return False
        if event.type() == QEvent.Type.KeyPress:
            return self._press(event)
        if event.type() == QEvent.Type.KeyRelease and event.key() == self._key:
            if not event.isAutoRepeat():
                self._let_go()
            return True
        return False

    def _press(self, event: QtGui.QKeyEvent) -> bool:
        if self._key is not None:
            return event.key() == self._key
        if event.modifiers() or event.isAutoRepeat() or not self._counts(event.key()):
            return False
        self._key = event.key()
        self.held.emit(True)
        return True

    def _counts(self, key: int) -> bool:
        focus = QApplication.focusWidget()
        typing = isinstance(focus, (*TEXT_FIELDS, QAbstractItemView)) or (
            isinstance(focus, QComboBox) and focus.isEditable()
        )
        if typing or not self._wanted():
            return False
        views = self._views
        in_views = focus is not None and views is not None and views.isAncestorOf(focus)
        pressing = isinstance(focus, QAbstractButton) and is_outlined(focus)
        return key == HOLD_KEY or (key == KEY_IN_VIEWS and in_views and not pressing)

    def _let_go(self) -> None:
        self._key = None
        self.held.emit(False)


@dataclass(frozen=True, eq=False)
class Pinned:
    """A.

    Attributes
    ----------
    side : Side
        What is said on its picture.
    recipe : Recipe or None
        Of a brain; None for a scan.
    volume : ndarray, shape (X, Y, Z), or None
        On the generator's grid; None until it is rendered.
    shown : DisplayArray or None
        The same for the views.
    """

    side: Side
    recipe: Recipe | None = None
    volume: np.ndarray | None = None
    shown: DisplayArray | None = None

    @classmethod
    def of_scan(cls, name: str, aligned: AlignedScan) -> Pinned:
        """A scan on the generator's grid."""
        shown = upright(aligned.volume, aligned.space.affine)
        side = Side("scan", name, origin=aligned.scan.origin, letter="A", title=name)
        return cls(side, None, aligned.volume, shown)


def side_of(recipe: Recipe, letter: str, provenance: Provenance = GENERATED) -> Side:
    """What is said on the picture of a recipe that is one of two."""
    kind, name, what = provenance.kind, provenance.name, provenance.what
    if kind == "scan":
        return Side("scan", name, origin=provenance.origin, letter=letter, title=name)
    if kind == "edited":
        return Side("edited", name, letter=letter, title=f"{name}, {what}")
    if kind == "reconstruction":
        return Side(kind, letter=letter, title=reconstruction_of(name, what))
    if kind == "worn":
        return Side(kind, letter=letter, title=provenance.subject)
    return Side("generated", letter=letter, title=what or describe_recipe(recipe))


DIFFERENCE_LABEL = "B − A"
#: Modes that show A over B.
VEILED = ("curtain", "flicker")
#: Defaults of the threshold and the rate.
THRESHOLD, RATE_HZ, CURTAIN_AT = 0.05, 1.0, 0.5


class ComparedViews(QObject):
    """One mode at a time; "off" leaves nothing behind.

    Parameters
    ----------
    views : FourViews
        The four.
    stage : Stage
        Shows B.
    links : Links
        Of what ends it, before the views are closed.
    """

    #: The line was dragged: share of the field of view from the left, 0 to 1.
    curtainMoved = Signal(float)

    def __init__(self, views: FourViews, stage: Stage, links: Links) -> None:
        super().__init__(views)
        self.views, self.stage = views, stage
        self.mode = "off"
        self.veil = SwipeLayer(views.viewer, views.views)
        #: A's picture beside B's.
        self._beside: Image | None = None
        self.threshold, self._rate_hz, self._at = THRESHOLD, RATE_HZ, CURTAIN_AT
        self._lines: list[SwipeLine] = []
        self._curtain: dict[int, float] = {}
        self._flicker = QTimer(self)
        self._flicker.timeout.connect(self._turn)
        links.connect(stage.levelsChanged, self._follow_levels)
        links.connect(views.looks.changed, self._on_look)
        links.callback(self.clear)

    def show(self, mode: str, a: Pinned, b: Side, b_shown: DisplayArray) -> None:
        """Show A beside, before or under B in this mode."""
        if a.shown is None:
            return
        if mode != self.mode:
            self.clear(keep_veil=mode in VEILED)
            self.mode = mode
        if mode == "side":
            self._show_beside(a.shown, a.side)
        elif mode == "curtain":
            self._show_curtain(a, b)
        elif mode == "flicker":
            was = self.veil.layer is None or self.veil.layer.visible
            self.veil.show(a.shown, a.side, self.stage.limits, was)
            self.set_rate(self._rate_hz)
        elif mode == "difference" and a.shown.data.shape == b_shown.data.shape:
            changed = DisplayArray(b_shown.data - a.shown.data, b_shown.scale, b_shown.translate)
            overlay, (low, high) = self.stage.overlay, self.stage.limits
            # The colours end at the same for every pair, so that pairs can be compared.
            overlay.show(changed, DIFFERENCE_LABEL, "fraction of white", (high - low) / 2)
            overlay.set_threshold(self.threshold)
            if overlay.layer is not None:  # the 3D view has no colours, and says B alone
                pair = ComparedPair.of(a.side, b, ("", "colours show B − A"))
                overlay.layer.metadata = {OVERLAY: True, KEY: pair}
        self.views.refresh()

    def clear(self, *, keep_veil: bool = False) -> None:
        """B alone, as it was seen before; A stays over it where the next mode shows it, too."""
        self._flicker.stop()
        for line in self._lines:
            line.links.close()
        self._lines.clear()
        if not keep_veil:
            self.veil.hide()
        if self.mode == "side":
            self.views.show_row([])
        legend = self.stage.overlay.legend
        if self.mode == "difference" and legend is not None and legend.label == DIFFERENCE_LABEL:
            self.stage.overlay.hide()
        self.mode = "off"

    def lift(self, lifted: bool) -> None:
        """Hide or show again whatever overlays the stage's picture."""
        if self.mode == "flicker":
            self._flicker.stop() if lifted else self.set_rate(self._rate_hz)
        self.veil.set_visible(not lifted)
        layer = self.stage.overlay.layer
        if self.mode == "difference" and layer is not None:
            layer.visible = not lifted
        reveal(not lifted, *self._lines)

    def set_rate(self, rate_hz: float) -> None:
        """Show A and B so many times a second each."""
        self._rate_hz = rate_hz
        if self.mode == "flicker":
            self._flicker.start(round(500 / rate_hz))

    def set_threshold(self, share: float) -> None:
        """Colour only differences above this share of white."""
        self.threshold = share
        if self.mode == "difference":
            self.stage.overlay.set_threshold(share)

    def set_curtain(self, share: float) -> None:
        """Hang the line at this share of the field of view from the left of the screen."""
        self._move_to(share)
        self._hang()

    def _move_to(self, share: float) -> None:
        self._at = share
        for line in self._lines:
            low, high, _ = self.views.viewer.dims.range[line.axis]
            share_of_axis = 1 - share if line.is_mirrored else share
            self._curtain[line.axis] = low + share_of_axis * (high - low)

    def _show_beside(self, volume: DisplayArray, a: Side) -> None:
        if self._beside is None or self._beside.data is not volume.data:
            self._beside = Image(volume.data, **volume.layer_kwargs())
        self._beside.contrast_limits = self.stage.limits
        self._beside.metadata = {KEY: a}
        if self.stage.layer is not None:
            b = Pane(self.stage.layer, layers=self.views.viewer.layers)
            self.views.show_row([Pane(self._beside), b])

    def _show_curtain(self, a: Pinned, b: Side) -> None:
        assert a.shown is not None
        if not self._lines:
            for view in self.views.views:
                if view.plane:
                    line = SwipeLine(view.canvas.canvas.native, view.model, view.plane.order[2])
                    line.moved.connect(self._drag)
                    self._lines.append(line)
            self._move_to(self._at)
        pair = ComparedPair.of(a.side, b, ("left", "right"))
        self.veil.show(a.shown, pair, self.stage.limits, True, self._curtain)
        self._place_lines()

    def _drag(self, axis: int, position_mm: float) -> None:
        line = next(line for line in self._lines if line.axis == axis)
        low, high, _ = self.views.viewer.dims.range[axis]
        share = (min(max(position_mm, low), high) - low) / (high - low)
        self._at = 1 - share if line.is_mirrored else share
        self._curtain[axis] = position_mm
        self._hang()
        self.curtainMoved.emit(self._at)

    def _place_lines(self) -> None:
        for line in self._lines:
            line.set_position(self._curtain[line.axis])

    def _hang(self) -> None:
        self._place_lines()
        if self.mode == "curtain":
            self.veil.hang(self._curtain)

    def _turn(self) -> None:
        """Switch to the other one of A and B; nothing switches while hidden."""
        window = self.views.window()
        layer = self.veil.layer
        if layer is not None and self.views.isVisible() and not window.isMinimized():
            self.veil.set_visible(not layer.visible)

    def _follow_levels(self) -> None:
        if self.mode in VEILED:
            self.veil.set_limits(self.stage.limits)
        elif self.mode == "side" and self._beside is not None:
            self._beside.contrast_limits = self.stage.limits
            self.views.panes.update()

    def _on_look(self, look: ViewLook, before: ViewLook) -> None:
        """Left is another side now."""
        if self.mode == "curtain" and look.facing != before.facing:
            self._hang()


THUMBNAIL = "compare"
NO_PIN = "Generated from labels or inpainted: it cannot be pinned as A."
NO_A = "Pin a brain as A first."
UNDER_WAY = "Wait for the projection, then compare its result."
NOT_ALIGNED = "Align this scan (under Project) to compare it: it is in native space."
A_LOST = "{name}, which was compared as A, could not be opened and aligned again: pin it again."


class CompareController(QObject):
    """Holds A, and shows it with B in the mode that was chosen."""

    def __init__(self, context: Context, panel: ComparePanel) -> None:
        super().__init__(context.dock)
        self.session, self.comparison, self.panel = context.session, context.comparison, panel
        self.rendering, self.thumbnails = context.render, context.thumbnails
        #: The session's second picture, with its voxels.
        self.pinned: Pinned | None = None
        #: The picture that the figures are of.
        self._measured: DisplayVolume | AlignedScan | None = None
        self.held = False
        self.shows: ComparedViews | None = None
        self._busy = False
        slot = self.session.messages.slot
        self._renders = LatestWins(render_beside, self, self._on_rendered, self._on_lost)
        self._measures = LatestWins(_measure, self, self._on_measured, slot("measuring"))
        self.links = context.links
        self.row = RowController(context, panel.row, self)
        self.comparison.mark = self._mark
        self._connect()

    @property
    def mode(self) -> How:
        """How A and B are compared."""
        return self.session.state.comparison

    def begin(self, views: FourViews) -> None:
        """The views are there."""
        self.row.views = views
        self.links.callback(setattr, self, "shows", None)
        self.shows = ComparedViews(views, self.comparison.stage, self.links)
        panel, shows = self.panel, self.shows
        panel.curtain.valueChanged.connect(lambda value, _: shows.set_curtain(value / 100))
        shows.curtainMoved.connect(lambda share: panel.curtain.set_value(100 * share))
        panel.rate.valueChanged.connect(lambda value, _: shows.set_rate(value))
        panel.threshold.valueChanged.connect(lambda value, _: shows.set_threshold(value / 100))
        window = views.window().windowHandle()
        if window is not None:
            key = HoldKey(window, views, lambda: self._a_is_there, self, self.links)
            key.held.connect(self.hold)

    def pin(self, recipe: Recipe | None = None) -> None:
        """Make a recipe A; by default the one that is shown."""
        state, case = self.session.state, self.session.case
        if recipe is None and case is not None and (state.drawn is None or state.what == "scan"):
            self.pin_scan(case)
        elif recipe or state.drawn:
            self.session.compare(self.mode, recipe or state.drawn)

    def pin_scan(self, case: Case) -> None:
        """Make a case's scan A, in the model's space."""
        if case.aligned is not None:
            self.session.compare(self.mode, case)

    def unpin(self) -> None:
        """Compare no longer."""
        self.set_mode("off")
        self.session.compare("off", None)

    def swap(self) -> None:
        """Show A, and pin what was shown."""
        if self.pinned is not None and self.pinned.recipe is not None:
            recipe = self.pinned.recipe
            self.pin()
            self.session.change(recipe)

    def set_mode(self, mode: How) -> None:
        """Compare in another way: "off", "side", "curtain", "flicker", "difference", "row"."""
        if self.pinned is None and mode != "row":
            mode = "off"
        self.session.compare(mode, self.session.state.second)
        if mode != "row" or self.comparison.is_picture:
            # B's picture says which it is; in a pair, a scan or a difference gives way to it.
            self._show_b()

    def hold(self, held: bool) -> None:
        """Show A for as long as a key is held."""
        a, shows = self.pinned, self.shows
        if shows is None or held == self.held or (held and not self._a_is_there):
            return
        self.held = held
        shows.lift(held)
        if held and a is not None and a.shown is not None:
            self.comparison.stage.show(a.shown, self._a(a).side)
            shows.views.refresh()
        else:
            self.session.look(self.session.state.what)

    def fill(self) -> None:
        """Offer what there is to compare with."""
        menu, session = self.panel.choices, self.session
        menu.clear()
        made_from = session.history.way[1:2]
        if made_from:
            before = (entry := session.history.states[made_from[0]]).recipe
            if before is not None and session.generator and entry.is_for(session.generator.hash):
                words = f"Previous state: {describe_recipe(before)}"
                menu.addAction(words, partial(self.pin, before))
        case = session.case
        listed = [projected.aligned for projected in session.projected]
        if case is not None and session.placed is not None and case.aligned not in listed:
            menu.addAction(f"The scan {case.name}", partial(self.pin_scan, case))
        for projected in session.projected:
            assert projected.source is not None
            if session.find_projected(projected.source) is None:
                continue
            plain = Recipe(projected.source, noise=session.brain.noise)
            scan, name = partial(self.pin_scan, projected), session.projection_name(projected)
            menu.addAction(f"The scan {name}, as projected", scan)
            menu.addAction(f"The reconstruction of {name}", partial(self.pin, plain))
        if session.favourites.items:
            menu.addSection("Favourites")
        for item in session.favourites.items:
            words = item.note or describe_recipe(item.recipe)
            menu.addAction(words, partial(self.pin, item.recipe))
        if menu.isEmpty():
            menu.addAction("Nothing yet: star a brain, or open a scan").setEnabled(False)

    @property
    def _a_is_there(self) -> bool:
        return self.pinned is not None and self.pinned.shown is not None

    def _connect(self) -> None:
        panel = self.panel
        panel.pin.clicked.connect(lambda: self.pin())
        panel.swap.clicked.connect(self.swap)
        panel.unpin.clicked.connect(self.unpin)
        panel.modeChosen.connect(self.set_mode)
        panel.choices.aboutToShow.connect(self.fill)
        self.comparison.viewChanged.connect(self._on_view)
        self.session.changed.connect(self._on_change)
        self.thumbnails.ready.connect(lambda recipe, _: self._show_thumbnail(recipe))

    def _on_change(self, change: StateChange) -> None:
        """A or the mode is another; over another subject A waits for its picture."""
        if change.another_subject and self.shows is not None:
            self.shows.veil.set_visible(False)
            self.shows.views.refresh()
        if not change.parts & {"comparison", "patients"}:
            return
        if change.before.comparison != change.now.comparison:
            self.panel.show_mode(self.mode)
            if self.shows is not None and change.before.comparison == "row":
                self.shows.views.show_row([])
            if self.mode in ("off", "row") and self.shows is not None:
                self.shows.clear()
        self.row.follow()
        second = change.now.second
        if change.before.second is second:
            if isinstance(second, Recipe) and not (self._a_is_there or self._renders.busy):
                self._render(second)  # the scan whose detail it shows may be there now
            return
        self.thumbnails.drop(THUMBNAIL)
        if isinstance(second, Recipe):
            self._set(Pinned(side_of(second, "A", provenance_of(self.session, second)), second))
            self._render(second)
        elif second is not None and second.aligned is not None:
            self._set(Pinned.of_scan(second.name, second.aligned))
            self._follow()
        else:  # there is none, or it is to be read again first
            self.pinned = None
            self.hold(False)
            self.panel.show_pinned("", None)
            self._offer()
            if change.before.comparison not in ("off", "row") and self.comparison.is_comparable:
                self._show_b()  # which says again what it is alone
            if second is not None and (second.scan is not None or second.problem):
                self._on_lost((None, second), SessionError(A_LOST.format(name=second.name)))

    def _render(self, recipe: Recipe) -> None:
        if self.session.awaited(recipe) is not None:
            return
        picture = self.comparison.picture
        if recipe == self.comparison.recipe and picture is not None and picture.quality == "full":
            self._on_rendered((None, recipe), picture)
        elif self.rendering.loaded is not None:
            self._renders.submit((self.rendering.loaded, recipe))
        self.thumbnails.want(THUMBNAIL, [recipe])
        self._show_thumbnail(recipe)

    def _on_lost(self, request: tuple[Any, Recipe | Case], error: Exception) -> None:
        """A cannot be had."""
        if self._is_a(request):
            self.session.messages.fail(error, "rendering A")
            self.session.drop_second()

    def _set(self, pinned: Pinned) -> None:
        self.pinned = pinned
        self.panel.show_pinned(pinned.side.named, pinned.recipe)
        self._offer()
        self.panel.figures.show_figures(None)
        if self.mode not in ("off", "row"):
            self._show_b()

    def _is_a(self, request: tuple[Any, Recipe | Case]) -> bool:
        """Whether this model was asked for what is A by now."""
        loaded, asked = request
        return loaded in (None, self.rendering.loaded) and asked == self.session.state.second

    def _on_rendered(self, request: tuple[Any, Recipe], picture: DisplayVolume) -> None:
        if self.pinned is not None and self._is_a(request):
            self.pinned = replace(self.pinned, volume=picture.rendered.volume, shown=picture.shown)
            self._follow()

    def _on_view(self, _view: str) -> None:
        """Something is shown: B, or a scan, with which the comparison ends."""
        why_not = NO_PIN if self.comparison.view in ("painted", "filled") else self._offer()
        allow(why_not, self.panel.pin)
        self.panel.b.setText("\n".join(filter(None, (self._in_words, why_not))))
        if self._busy or self.held:
            return
        if self.comparison.is_comparable:
            self._follow()
            return
        self.panel.figures.show_figures(None)
        if self.mode not in ("off", "row"):
            self.session.compare("off", self.session.state.second)

    def _offer(self) -> str:
        """Offer the ways to compare; why B cannot be compared, if it cannot."""
        lost = self.session.recipe is None and self.session.placed is None
        why_not = UNDER_WAY if self.session.state.what == "search" else NOT_ALIGNED * lost
        self.panel.allow(NO_A if self.pinned is None else why_not)
        return why_not

    def _follow(self) -> None:
        """B is another picture, or A is: show both again, and measure them."""
        b, a = self.comparison.bare or self.comparison.picture, self.pinned
        if b is not self._measured:
            self.panel.figures.show_figures(None)
        if b is None or a is None or a.shown is None or self.shows is None:
            return
        if isinstance(b, DisplayVolume):
            full, shown, volume = b.quality == "full", b.shown, b.rendered.volume
        else:
            full, shown, volume = True, upright(b.volume, b.space.affine), b.volume
        if self.mode not in ("off", "row"):
            self.shows.show(self.mode, self._a(a), self._b(), shown)
        if full and self.session.generator is not None:
            self._measures.submit((a, b, a.volume, volume, self.session.generator.space))

    def _show_b(self) -> None:
        """Let B's own picture say which it is, and show A with it."""
        self._busy = True
        try:
            self.comparison.show_brain()
        finally:
            self._busy = False
        self._follow()

    def _a(self, pinned: Pinned) -> Pinned:
        """A, which says on its picture what B is not."""
        side = replace(pinned.side, other=self._side_of_b().title)
        return replace(pinned, side=self.comparison.named(side))

    def _b(self) -> Side:
        """What is said on B's picture: first what A is not."""
        other = "" if self.pinned is None else self.pinned.side.title
        return replace(self._side_of_b(), other=other)

    def _side_of_b(self) -> Side:
        recipe, case = self.comparison.recipe or self.session.brain, self.session.case
        if case is not None and self.session.recipe is None:
            return side_of(recipe, "B", provenance_of_scan(case))
        return side_of(recipe, "B", provenance_of(self.session, recipe))

    @property
    def _in_words(self) -> str:
        """What B is: whose brain, and whether it is the scan, edited, or the model's."""
        layer, recipe = self.comparison.stage.layer, self.comparison.recipe or self.session.brain
        told = provenance_of(self.session, recipe)
        if layer is not None and not (self.comparison.is_picture and self.session.recipe):
            told = layer.metadata.get(KEY, told)
        differs = told.kind == "difference"
        return titled(told, recipe) if differs else side_of(recipe, "B", told).named

    def _mark(self, provenance: Provenance) -> Provenance:
        """What is said on the picture of the current brain."""
        alone = self.mode in ("off", "row") or self.pinned is None
        return provenance if alone else self._b()

    def _show_thumbnail(self, recipe: Recipe) -> None:
        image = self.thumbnails.image(recipe)
        if self.pinned is not None and self.pinned.recipe == recipe and image is not None:
            self.panel.show_picture(image)

    def _on_measured(self, request: tuple[Any, ...], figures: Any) -> None:
        a, b = request[0], request[1]
        if a is self.pinned and b is (self.comparison.bare or self.comparison.picture):
            self._measured = b
            self.panel.figures.show_figures(figures, self._withheld)

    @property
    def _withheld(self) -> str:
        """Why the volumes of A or of B are not shown; empty if they are."""
        session, second = self.session, self.session.state.second
        if isinstance(second, Recipe):
            second = session.find_projected(second.source)
        other = () if second is None else (second.known_doubts, session.judged_of(second))
        return session.withheld or withheld(*other or ((),))


def _measure(request: tuple[Any, ...]) -> Any:
    """In a thread."""
    from stylegan3d.measures.similarity import compare_pair

    _, _, a, b, space = request
    with beside_the_window():
        return compare_pair(a, b, space, dtype=screen_dtype())
