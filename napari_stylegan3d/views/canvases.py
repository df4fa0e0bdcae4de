"""Canvases: how they are made, placed, turned and repainted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.qt import QtViewer
from napari.utils.action_manager import action_manager
from qtpy.QtCore import QCoreApplication, QEvent, QObject, Qt
from qtpy.QtGui import QImage, QPainter, QRegion
from qtpy.QtWidgets import QMainWindow, QSplitter, QWidget
from vispy import gloo
from vispy.scene import SceneCanvas

from napari_stylegan3d.views.look import ViewLook
from napari_stylegan3d.widgets.controls import Links, single_shot

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
        self.setVisible(look.layout != "lightbox")

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


@contextmanager
def drawn_at(scene: SceneCanvas, width: int, height: int) -> Iterator[None]:
    """Let a canvas draw at another size than its window's for the length of the block.

    `SceneCanvas.render` takes a size, but draws into it with a viewport of the window's physical
    size, which vispy asks of its backend and offers no public way to set.

    Parameters
    ----------
    scene : SceneCanvas
        The canvas.
    width, height : int
        Size in pixels.
    """
    backend = scene._backend
    backend._vispy_get_physical_size = lambda: (width, height)
    try:
        yield
    finally:
        del backend._vispy_get_physical_size
        scene.update()


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
        self._moving = self._drawing = False
        self._picture: tuple[tuple[int, int], gloo.FrameBuffer, gloo.Program] | None = None
        self._rest = single_shot(self, self.settle, REST_MS)
        self.links = Links()
        for callbacks, own in (
            (model.mouse_drag_callbacks, self._on_drag),
            (model.mouse_wheel_callbacks, self._on_wheel),
        ):
            callbacks.append(own)
            self.links.callback(callbacks.remove, own)
        for slot, position in ((self._before, "first"), (self._after, "last")):
            self._scene.events.draw.connect(slot, position=position)
            self.links.callback(self._scene.events.draw.disconnect, slot)
        self.links.callback(self._rest.stop)

    @property
    def moving(self) -> bool:
        """Whether it is drawn with fewer pixels."""
        return self._moving

    def set_moving(self, moving: bool) -> None:
        """Draw it with fewer pixels from now on, or in full again."""
        if self._moving and not moving:
            self._scene.update()
        self._moving = moving and self.enabled

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

    def _on_wheel(self, _model: ViewerModel, _event: Any) -> None:
        self._move()

    def _move(self) -> None:
        self.set_moving(True)
        self._rest.start()

    def _before(self, _event: Any) -> None:
        """Draw into a smaller picture."""
        if not self._moving:
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


#: Maximum delay, so that controls follow the mouse.
PATIENCE_MS = 40
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
            self._wait(self.patience_ms)

    def release(self) -> None:
        """Repaint: the picture is ready or has failed."""
        self._patience.stop()
        self._due = True
        if self._owed:
            self._owed = False
            request = QEvent(QEvent.Type.UpdateRequest)
            QCoreApplication.postEvent(self._window, request, LATER)

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
    """One view as on the screen, `scale` times as large."""
    canvas = view.canvas.native
    scale = possible_scale(canvas.width(), canvas.height(), scale)
    image = _drawn(view, round(canvas.width() * scale), round(canvas.height() * scale))
    _paint_sheets(canvas, image, scale)
    return image


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


def possible_scale(width: int, height: int, scale: float) -> float:
    """The scale, no larger than graphics cards can draw a picture of so many pixels."""
    return min(scale, MOST_PIXELS / max(width, height, 1))


def _drawn(canvas: QtViewer, width: int, height: int) -> QImage:
    """Render a canvas with OpenGL at a size in pixels."""
    scene = canvas.canvas.events.source
    with drawn_at(scene, width, height):
        pixels = np.ascontiguousarray(scene.render(size=(width, height), alpha=False))
    image = QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888)
    return image.convertToFormat(QImage.Format.Format_RGB32)
