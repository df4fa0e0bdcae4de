"""Additional canvases."""

from __future__ import annotations

from napari.components import ViewerModel
from napari.qt import QtViewer
from napari.utils.action_manager import action_manager

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
    return canvas
