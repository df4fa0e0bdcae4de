"""Additional canvases, and what napari and vispy offer no public way to do with a canvas."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from napari.components import ViewerModel
from napari.qt import QtViewer
from napari.utils.action_manager import action_manager
from vispy.scene import SceneCanvas

from napari_stylegan3d.views.arrangement import SMALLEST


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
