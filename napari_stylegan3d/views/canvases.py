"""Canvases: how they are made, placed, turned and repainted.

A view with its parts, and framing of the head.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from napari.qt import QtViewer
from napari.utils.action_manager import action_manager
from qtpy.QtCore import QCoreApplication, QEvent, QObject, Qt, Signal
from qtpy.QtGui import QImage, QRegion
from qtpy.QtWidgets import QMainWindow, QSplitter, QWidget
from vispy import gloo

from napari_stylegan3d.views import glass
from napari_stylegan3d.views.display import ViewPlane, drawn_at, orient_volume, spare_corners
from napari_stylegan3d.views.follower import Follower
from napari_stylegan3d.views.look import ViewLook
from napari_stylegan3d.views.marks import Marks, MarkSheet
from napari_stylegan3d.views.navigation import nearest_voxel
from napari_stylegan3d.views.stage import visible_pictures
from napari_stylegan3d.widgets.controls import Links, painting, single_shot
from stylegan3d.geometry.space import filled_box

#: Minimum size: four of them and the dock fit a screen of 1024 pixels.
SMALLEST = (120, 100)


class ViewGrid(QSplitter):
    """Two rows of two canvases; unused canvases are hidden, never removed."""

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Vertical)
        self.rows = (QSplitter(), QSplitter())
        self._members: list[tuple[str, QWidget, QSplitter]] = []
        for splitter in (self, *self.rows):
            splitter.setHandleWidth(3)
            splitter.setChildrenCollapsible(False)
        for row in self.rows:
            self.addWidget(row)
        top, bottom = self.rows
        top.splitterMoved.connect(lambda *_: bottom.setSizes(top.sizes()))
        bottom.splitterMoved.connect(lambda *_: top.setSizes(bottom.sizes()))

    def put(self, name: str, canvas: QWidget) -> None:
        """Add a canvas, the first two to the upper row."""
        row = self.rows[len(self._members) // 2]
        canvas.setMinimumSize(*SMALLEST)
        row.addWidget(canvas)
        self._members.append((name, canvas, row))

    def even(self) -> None:
        """Give all the same size."""
        for splitter in (self, *self.rows):
            splitter.setSizes([10_000, 10_000])

    def arrange(self, look: ViewLook) -> None:
        """Show the canvases of a look."""
        for name, canvas, _ in self._members:
            canvas.setVisible(look.shows(name))
        for row in self.rows:
            members = [name for name, _, place in self._members if place is row]
            row.setVisible(any(look.shows(name) for name in members))

    def forget(self) -> None:
        """Drop references, so that this widget does not keep the closed window alive."""
        self._members.clear()


class CanvasPlace:
    """Original position and settings of napari's canvas, to be restored."""

    def __init__(self, window: QMainWindow) -> None:
        self.canvas = window.findChild(QtViewer)
        self._layout = window.centralWidget().layout()
        self._index = self._layout.indexOf(self.canvas)
        viewer = self.canvas.viewer
        self._order = tuple(viewer.dims.order)
        self._orientation = viewer.scene.camera.orientation
        self._background = viewer.canvas.background_color_override
        self._double_click = list(viewer.mouse_double_click_callbacks)

    def take(self, views: QWidget, grid: ViewGrid, name: str) -> None:
        """Replace the canvas by the views, which contain it.

        The views are added first, then the canvas is moved into them: it never leaves its window,
        so its OpenGL context survives.
        """
        self._layout.insertWidget(self._index, views)
        grid.put(name, self.canvas)
        self.canvas.dims.setVisible(False)
        self.canvas.show_welcome_screen = False

    def give_back(self) -> None:
        """Restore the canvas and its viewer's settings."""
        viewer = self.canvas.viewer
        viewer.mouse_double_click_callbacks[:] = self._double_click
        if len(self._order) == viewer.dims.ndim:
            viewer.dims.order = self._order
        viewer.scene.camera.orientation = self._orientation
        viewer.canvas.background_color_override = self._background
        self.canvas.dims.setVisible(True)
        self.canvas.show_welcome_screen = True
        self._layout.insertWidget(self._index, self.canvas)
        self.canvas.show()
        del self.canvas, self._layout


def make_canvas(model: ViewerModel) -> QtViewer:
    """A canvas that draws a model, without napari's sliders and drop handling.

    For every canvas napari binds its keys again, each time notifying the welcome screens and
    buttons of all canvases to update the key's name. The names do not change, and updating them
    takes as long as everything else, so these notifications are blocked.
    """
    with action_manager.events.shortcut_changed.blocker():
        canvas = QtViewer(model)
    canvas.dims.setVisible(False)
    canvas.setAcceptDrops(False)
    canvas.setMinimumSize(*SMALLEST)
    finish_in_own_context(canvas)
    return canvas


def finish_in_own_context(canvas: QtViewer) -> None:
    """Let a canvas finish its OpenGL commands in its own context only.

    napari has them finished whenever a layer goes, in whichever context is current. With several
    canvases that may be another's, whose buffers and textures of the same numbers would be deleted
    or overwritten: the next drawing of it could crash.
    """
    scene = canvas.canvas.events.source
    # The class's own: a canvas that is taken up once more is not wrapped once more.
    finish, native = partial(type(scene.context).finish, scene.context), scene.native

    def in_own() -> None:
        # Without a context of its own yet, or any more, the commands wait, as those of drawing do.
        with suppress(RuntimeError):  # Qt has deleted it
            if native.isValid():
                scene.set_current()
                finish()

    scene.context.finish = in_own


#: Pixels drawn while turning, and the smallest share of a side: smaller ones would be a mere blur.
PIXELS, SMALLEST_SHARE = 54_000, 1 / 3
#: The hand rests after this time, even with the button down.
REST_MS = 300
#: What OpenGL implementations without a graphics card are called.
SOFTWARE = ("llvmpipe", "softpipe", "swiftshader", "software", "gdi generic", "basic render")

_VERTEX = """
attribute vec2 a_corner;
varying vec2 v_place;
void main() {
    gl_Position = vec4(a_corner, 0.0, 1.0);
    v_place = (a_corner + 1.0) / 2.0;
}
"""
_FRAGMENT = """
uniform sampler2D u_picture;
varying vec2 v_place;
void main() {
    gl_FragColor = texture2D(u_picture, v_place);
}
"""
_CORNERS = np.array([(-1, -1), (1, -1), (-1, 1), (1, 1)], np.float32)


class CameraTurner(QObject):
    """Draws a canvas with fewer pixels while the mouse turns, moves or zooms what it shows.

    Only what the screen shows: pictures that the program takes are drawn apart and in full.

    Parameters
    ----------
    canvas : QtViewer
        The 3D view.
    model : ViewerModel
        Its model.
    """

    def __init__(self, canvas: QtViewer, model: ViewerModel) -> None:
        super().__init__(canvas)
        self.enabled = True
        self._scene = canvas.canvas.events.source
        self._is_software: bool | None = None
        self.moving = self._drawing = False
        self._picture: tuple[tuple[int, int], gloo.FrameBuffer, gloo.Program] | None = None
        self._rest = single_shot(self, self.settle, REST_MS)
        self.links = Links()
        for callbacks, own in (
            (model.mouse_drag_callbacks, self._on_drag),
            (model.mouse_wheel_callbacks, self._move),
        ):
            callbacks.append(own)
            self.links.callback(callbacks.remove, own)
        for slot, position in ((self._before, "first"), (self._after, "last")):
            self._scene.events.draw.connect(slot, position=position)
            self.links.callback(self._scene.events.draw.disconnect, slot)
        self.links.callback(self._rest.stop)

    def set_moving(self, moving: bool) -> None:
        """Draw it with fewer pixels from now on, or in full again."""
        if self.moving and not moving:
            self._scene.update()
        self.moving = moving and self.enabled

    def settle(self) -> None:
        """Draw it in full again."""
        self._rest.stop()
        self.set_moving(False)

    def _on_drag(self, _model: ViewerModel, event: Any) -> Iterator[None]:
        yield
        while event.type == "mouse_move":
            self._move()
            yield
        self.settle()

    def _move(self, *_: Any) -> None:
        self.set_moving(True)
        self._rest.start()

    def _before(self, _event: Any) -> None:
        """Draw into a smaller picture."""
        if not self.moving:
            return
        if self._is_software is None:
            name = str(gloo.gl.glGetParameter(gloo.gl.GL_RENDERER)).lower()
            self._is_software = any(word in name for word in SOFTWARE)
        width, height = self._scene.physical_size
        share = max((PIXELS / max(width * height, 1)) ** 0.5, SMALLEST_SHARE)
        if not self._is_software or share >= 1:
            return
        rows, columns = round(share * height), round(share * width)
        # Not the canvas's own `push_fbo`, which shows a part of the scene if sizes differ.
        self._small((rows, columns)).activate()
        gloo.set_viewport(0, 0, columns, rows)
        self._drawing = True

    def _after(self, _event: Any) -> None:
        """Show the smaller picture in the whole view."""
        if not self._drawing or self._picture is None:
            return
        self._drawing = False
        _, frame, program = self._picture
        frame.deactivate()
        gloo.set_viewport(0, 0, *self._scene.physical_size)
        gloo.set_state(depth_test=False, blend=False, cull_face=False)
        program.draw("triangle_strip")

    def _small(self, shape: tuple[int, int]) -> gloo.FrameBuffer:
        """The picture of this shape (rows, columns) to draw into."""
        if self._picture is None or self._picture[0] != shape:
            texture = gloo.Texture2D((*shape, 4), interpolation="linear")
            frame = gloo.FrameBuffer(color=texture, depth=gloo.RenderBuffer(shape))
            program = gloo.Program(_VERTEX, _FRAGMENT)
            program["a_corner"], program["u_picture"] = _CORNERS, texture
            self._picture = shape, frame, program
        return self._picture[1]


#: Maximum delay, so that controls follow the mouse; while it drags, as long as a preview takes, for
#: the whole window is put together anew for the smallest of them.
PATIENCE_MS, LIVE_MS = 40, 100
#: Delay of repaints between two pictures of a drag, and how recent the drag must be.
AFTERMATH_MS, LATELY_S = 120, 0.25
#: Priority of Qt's own update requests: after pending input.
LATER: int = Qt.EventPriority.LowEventPriority.value


class RepaintPacer(QObject):
    """Delays repaints of a window until a picture is ready, or for a maximum time.

    Parameters
    ----------
    window : QWidget
        The window that contains the views.
    parent : QObject
        Owns it.
    links : Links
        Of what ends it.
    """

    def __init__(self, window: QWidget, parent: QObject, links: Links) -> None:
        super().__init__(parent)
        self.patience_ms = PATIENCE_MS
        self._window = window
        #: Whether Qt has requested a repaint, and whether the next one must not be delayed.
        self._owed = self._due = False
        self._moving_until = 0.0
        self._patience = single_shot(self, self.release)
        self._patience.setTimerType(Qt.TimerType.PreciseTimer)
        links.watch(self, window)
        links.callback(self.release)

    @property
    def holds(self) -> bool:
        """Whether repaints are delayed now."""
        return self._patience.isActive()

    def hold(self, live: bool = False) -> None:
        """Delay repaints until the next picture, except for one that is ready.

        `live` during a drag, when more pictures will follow.
        """
        if live:
            self._moving_until = time.monotonic() + LATELY_S
        if not self._due:
            self._wait(max(self.patience_ms, LIVE_MS) if live else self.patience_ms)

    def release(self) -> None:
        """Repaint: the picture is ready or has failed."""
        self._patience.stop()
        self._due = True
        if self._owed:
            self._owed = False
            QCoreApplication.postEvent(self._window, QEvent(QEvent.Type.UpdateRequest), LATER)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Postpone Qt's update requests while repaints are delayed."""
        if event.type() != QEvent.Type.UpdateRequest:
            return False
        if not (self.holds or self._due) and time.monotonic() < self._moving_until:
            self._wait(AFTERMATH_MS)
        if self.holds:
            self._owed = True
            return True
        self._due = False
        return False

    def _wait(self, longest_ms: int) -> None:
        if not self.holds or self._patience.remainingTime() > longest_ms:
            self._patience.start(longest_ms)


#: Width of a printed picture and its resolution: 2126 pixels.
PRINT_MM, PRINT_DPI = 180.0, 300.0
MM_PER_INCH = 25.4
#: Maximum size that graphics cards support.
MOST_PIXELS = 8192


def print_scale(width: int) -> float:
    """Scale at which a picture `width` pixels wide is drawn for printing."""
    return PRINT_MM / MM_PER_INCH * PRINT_DPI / max(width, 1)


def view_picture(view: QtViewer, scale: float = 1.0) -> QImage:
    """One view as on the screen, `scale` times as large; 0 for printing."""
    canvas = view.canvas.native
    scale = possible_scale(canvas.width(), canvas.height(), scale)
    image = _drawn(view, round(canvas.width() * scale), round(canvas.height() * scale))
    _paint_sheets(canvas, image, scale)
    return image


def _paint_sheets(canvas: QWidget, image: QImage, scale: float) -> None:
    """Paint the Qt overlays of a canvas."""
    with painting(image) as painter:
        painter.scale(scale, scale)
        for sheet in canvas.findChildren(
            QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly
        ):
            if sheet.isVisible():
                # Without the window's background, so that the canvas shows through.
                sheet.render(painter, sheet.pos(), QRegion(), QWidget.RenderFlag.DrawChildren)


def possible_scale(width: int, height: int, scale: float) -> float:
    """The scale, or 0 for printing, no larger than graphics cards can draw such a picture."""
    return min(scale or print_scale(width), MOST_PIXELS / max(width, height, 1))


def _drawn(canvas: QtViewer, width: int, height: int) -> QImage:
    """Render a canvas with OpenGL at a size in pixels."""
    scene = canvas.canvas.events.source
    with drawn_at(scene, width, height):
        pixels = np.ascontiguousarray(scene.render(size=(width, height), alpha=False))
    image = QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888)
    return image.convertToFormat(QImage.Format.Format_RGB32)


#: Pictures are on black in any theme.
BACKGROUND = "black"
#: The colour bar begins below the title, or below the cube.
BAR_TOP_PX, BAR_TOP_3D_PX = 30, glass.SIZE_PX + 16
#: Room left at each edge of a view for letters and captions.
LETTER_PX = 34
#: Threshold of the head, as a share of white.
DARK_SHARE = 0.08
#: Only every n-th voxel is used: the box need not be exact.
DARK_STEP = 2
SMALLEST_ZOOM = 0.1
#: A head that could be this much larger is fitted again.
MUCH_SMALLER = 1.2
#: Margin for other brains of the model, which differ in size.
ROOM = 1.08
#: Share of the diagonal of the head's box that fits the rotated view.
TURNED = 0.82


@dataclass
class View:
    """One of the four views: model, canvas, overlays, and (except in the main one) the follower."""

    plane: ViewPlane | None
    model: ViewerModel
    canvas: QtViewer
    crosshair: glass.Crosshair
    labels: glass.Labels
    bar: glass.ColorBar
    arrows: glass.Arrows
    marks: MarkSheet | None = None
    cube: glass.OrientationCube | None = None
    turning: CameraTurner | None = None
    follower: Follower | None = None
    links: Links = field(default_factory=Links)

    @property
    def name(self) -> str:
        """Axial, Sagittal, Coronal or 3D."""
        return self.plane.name if self.plane else "3D"

    def __post_init__(self) -> None:
        added = (self.crosshair, self.labels, self.bar, self.arrows, self.marks, self.cube)
        for part in (self.turning, *added):
            if part is not None:
                self.links.enter_context(part.links)


def make_view(plane: ViewPlane | None, model: ViewerModel, canvas: QtViewer, marks: Marks) -> View:
    """Add the parts of a view to a canvas."""
    native = canvas.canvas.native
    native.setAccessibleName(f"{plane.name if plane else '3D'} view")
    model.canvas.background_color_override = BACKGROUND
    for overlay in model.canvas.overlays.values():
        # napari 0.9 leaves the box behind a brush on the picture when the brush is put down.
        overlay.box = False
    # Each is drawn over the one before.
    arrows = glass.Arrows(native, model)
    crosshair = glass.Crosshair(native, model)
    sheet = MarkSheet(native, model, marks) if plane else None
    view = View(
        plane=plane,
        model=model,
        canvas=canvas,
        crosshair=crosshair,
        labels=glass.Labels(native, model, plane),
        bar=glass.ColorBar(native, model, BAR_TOP_PX if plane else BAR_TOP_3D_PX),
        arrows=arrows,
        marks=sheet,
        cube=None if plane else glass.OrientationCube(native, model),
        turning=None if plane else CameraTurner(canvas, model),
    )
    view.links.callback(spare_corners(canvas.canvas))
    return view


def draw_all(views: Sequence[View]) -> None:
    """Draw every view now; the 3D view is rotated and restored."""
    for view in views:
        if view.plane is None:
            view.model.scene.camera.angles = (0.0, 0.0, 0.0)
            view.canvas.canvas.native.repaint()
            orient_volume(view.model)
        view.canvas.canvas.native.repaint()


def frame(views: Sequence[View], viewer: ViewerModel) -> None:
    """Centre the head in the 2D views at the largest common zoom that fits."""
    box = head_box(viewer)
    middle, zoom = box.mean(axis=0), _best_zoom(views, box)
    for view in views:
        if view.plane:
            _, rows, columns = view.plane.order
            view.model.scene.camera.center = (0.0, middle[rows], middle[columns])
            view.model.scene.camera.zoom = zoom


def is_misfit(views: Sequence[View], viewer: ViewerModel) -> bool:
    """Whether the head reaches beyond the edge of a 2D view, or is much smaller than the views."""
    box = head_box(viewer)
    flat = [view for view in views if view.plane and view.canvas.isVisible()]
    for view in flat:
        assert view.plane is not None
        camera, native = view.model.scene.camera, view.canvas.canvas.native
        if _best_zoom(flat, box) > MUCH_SMALLER * camera.zoom:
            return True
        halves = np.array([native.height(), native.width()]) / 2 / camera.zoom
        off = np.abs(box[:, list(view.plane.order[1:])] - np.array(camera.center[-2:]))
        if (off > halves).any():
            return True
    return False


def _best_zoom(views: Sequence[View], box: np.ndarray) -> float:
    """The largest zoom at which a box fits into all 2D views."""
    size = ROOM * (box[1] - box[0])
    zooms = []
    for view in views:
        if view.plane:
            _, rows, columns = view.plane.order
            native = view.canvas.canvas.native
            zooms += [
                (native.height() - 2 * LETTER_PX) / size[rows],
                (native.width() - 2 * LETTER_PX) / size[columns],
            ]
    return max(min(zooms, default=1.0), SMALLEST_ZOOM)


def frame_volume(view: View, viewer: ViewerModel) -> None:
    """Centre the head in the 3D view so that it fits from every side."""
    box = head_box(viewer)
    native = view.canvas.canvas.native
    view.model.scene.camera.center = tuple(box.mean(axis=0)[list(view.model.dims.displayed)])
    diagonal = float(np.linalg.norm(box[1] - box[0]))
    view.model.scene.camera.zoom = min(native.height(), native.width()) / (TURNED * diagonal)


def head_box(viewer: ViewerModel) -> np.ndarray:
    """(2, 3) bounding box in mm of the non-dark part of the topmost visible image.

    The field of view if everything is dark or nothing is visible.
    """
    full = np.array([(low, high) for low, high, _ in viewer.dims.range]).T
    layer = next(visible_pictures(viewer), None)
    found = None if layer is None else _bright_box(layer)
    return full if found is None else found


def head_extent(layer: Image) -> np.ndarray:
    """(2, 3) bounding box in mm of the non-dark part of a picture; all of it if there is none."""
    found = _bright_box(layer)
    if found is not None:
        return found
    last = np.array(layer.data.shape[:3]) - 1
    return np.array([layer.data_to_world(corner) for corner in (np.zeros(3), last)])


def _bright_box(layer: Image) -> np.ndarray | None:
    data = np.abs(layer.data[::DARK_STEP, ::DARK_STEP, ::DARK_STEP])
    bright = data > DARK_SHARE * np.abs(layer.contrast_limits).max()
    if not bright.any():
        return None
    # A step beside what is bright.
    low, high = np.array([(there.start - 1, there.stop) for there in filled_box(bright)]).T
    return np.array([layer.data_to_world(corner * DARK_STEP) for corner in (low, high)])


def is_elsewhere(known: np.ndarray, ranges: np.ndarray) -> bool:
    """Whether two fields of view differ by more than the grid spacing.

    Parameters
    ----------
    known, ranges : ndarray, shape (3, n)
        Lowest, highest and step in mm.
    """
    if known.shape != ranges.shape:
        return True
    voxel = np.maximum(known[2], ranges[2])
    return bool((np.abs(known - ranges)[:2] > voxel).any())


class ViewFitter(QObject):
    """Fits views now or soon.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer to fit.
    reset : callable
        Called for a new grid.
    """

    #: The views have been fitted.
    done = Signal()

    def __init__(self, viewer: ViewerModel, reset: Callable[[], None], parent: QObject) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.views: Sequence[View] = ()
        self._fitted: list[tuple[float, ...]] = []
        self.reset_soon, self.snap_soon, self.fit_soon = self.timers = tuple(
            single_shot(self, slot) for slot in (reset, self._snap, self.fit)
        )

    @property
    def fitted(self) -> bool:
        """Whether the user has neither zoomed nor panned since the views were fitted."""
        return self._fitted == self._cameras()

    def _cameras(self) -> list[tuple[float, ...]]:
        cameras = [view.model.scene.camera for view in self.views if view.plane]
        return [(camera.zoom, *camera.center) for camera in cameras]

    @property
    def waits(self) -> bool:
        """Whether a reset, snap or fit is scheduled."""
        return any(timer.isActive() for timer in self.timers)

    def fit_if_needed(self) -> None:
        """Fit again if a larger or much smaller head is shown, unless the user has zoomed."""
        waits = self.waits or not self._fitted or self.viewer.dims.ndim != 3
        if not waits and self.fitted and is_misfit(self.views, self.viewer):
            self.fit_soon.start()

    def fit(self) -> None:
        """Show the whole head in every view, at one scale in all three planes."""
        if not self.viewer.layers or self.viewer.dims.ndim != 3:
            return
        frame([view for view in self.views if view.plane and view.canvas.isVisible()], self.viewer)
        self._fitted = self._cameras()
        for view in self.views:
            if view.plane is None:
                frame_volume(view, self.viewer)
        self.done.emit()

    def _snap(self) -> None:
        if self.viewer.layers and self.viewer.dims.ndim == 3:
            self.viewer.dims.point = nearest_voxel(self.viewer, self.viewer.dims.point)


class LinkedCameras:
    """Keeps one scale and one centre in all planes.

    Parameters
    ----------
    views : sequence of tuple of (ViewPlane, ViewerModel)
        (plane, model) of each.
    links : Links
        Of what ends it.
    """

    def __init__(self, views: Sequence[tuple[ViewPlane, ViewerModel]], links: Links) -> None:
        self._views = list(views)
        self.linked = True
        self._busy = False
        for index, (_, model) in enumerate(self._views):
            for signal in (model.scene.camera.events.zoom, model.scene.camera.events.center):
                links.connect(signal, partial(self._follow, index))

    def set_linked(self, linked: bool) -> None:
        """Link the planes, starting from the first plane's scale and centre; or unlink them."""
        self.linked = linked
        self._follow(0)

    def _follow(self, leader: int, _: Any = None) -> None:
        if self._busy or not self.linked:
            return
        plane, model = self._views[leader]
        if model.dims.ndisplay != 2:
            return
        rows, columns = plane.order[1:]
        middle = dict(zip((rows, columns), model.scene.camera.center[-2:], strict=True))
        self._busy = True
        try:
            for index, (other, follower) in enumerate(self._views):
                if index != leader and follower.dims.ndisplay == 2:
                    self._move(follower, other, middle, model.scene.camera.zoom)
        finally:
            self._busy = False

    @staticmethod
    def _move(model: ViewerModel, plane: ViewPlane, middle: dict[int, float], zoom: float) -> None:
        camera = model.scene.camera
        old = camera.center[-2:]
        new = tuple(
            middle.get(axis, value) for axis, value in zip(plane.order[1:], old, strict=True)
        )
        if not np.allclose(new, old):
            camera.center = (0.0, *new)
        if camera.zoom != zoom:
            camera.zoom = zoom
