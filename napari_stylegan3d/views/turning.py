"""While the 3D view is turned or zoomed without a graphics card, it is drawn with fewer pixels.

Casting rays through a volume takes a processor tenths of a second for a whole view, and the time is
proportional to the pixels. Once the hand rests, the view is drawn in full.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.qt import QtViewer
from qtpy.QtCore import QObject, QTimer
from vispy import gloo

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
        self._model = model
        self._is_software: bool | None = None
        self._moving = self._drawing = False
        #: What turns along with it.
        self.joined: list[CameraTurner] = []
        self._picture: tuple[tuple[int, int], gloo.FrameBuffer, gloo.Program] | None = None
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._rest.timeout.connect(self.settle)
        model.mouse_drag_callbacks.append(self._on_drag)
        model.mouse_wheel_callbacks.append(self._on_wheel)
        self._scene.events.draw.connect(self._before, position="first")
        self._scene.events.draw.connect(self._after, position="last")

    @property
    def moving(self) -> bool:
        """Whether it is drawn with fewer pixels."""
        return self._moving

    def join(self, other: CameraTurner) -> None:
        """Another canvas whose camera follows this one's, and the other way round."""
        self.joined.append(other)
        other.joined.append(self)

    def set_moving(self, moving: bool) -> None:
        """Draw it with fewer pixels from now on, or in full again."""
        if self._moving and not moving:
            self._scene.update()
        self._moving = moving and self.enabled

    def settle(self) -> None:
        """Draw it, and what is joined to it, in full again."""
        self._rest.stop()
        for turning in (self, *self.joined):
            turning.set_moving(False)

    def close(self) -> None:
        """Disconnect from canvas, model and what is joined to it."""
        self._rest.stop()
        self._moving = False
        for other in self.joined:
            other.joined.remove(self)
        self._model.mouse_drag_callbacks.remove(self._on_drag)
        self._model.mouse_wheel_callbacks.remove(self._on_wheel)
        self._scene.events.draw.disconnect(self._before)
        self._scene.events.draw.disconnect(self._after)

    def _on_drag(self, _model: ViewerModel, event: Any) -> Iterator[None]:
        yield
        while event.type == "mouse_move":
            self._move()
            yield
        self.settle()

    def _on_wheel(self, _model: ViewerModel, _event: Any) -> None:
        self._move()

    def _move(self) -> None:
        for turning in (self, *self.joined):
            turning.set_moving(True)
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
