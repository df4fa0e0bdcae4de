"""Canvases beside napari's own one."""

from __future__ import annotations

from napari.components import ViewerModel
from napari.qt import QtViewer
from napari.utils.action_manager import action_manager

from napari_stylegan3d.views.arrangement import SMALLEST


def make_canvas(model: ViewerModel) -> QtViewer:
    """A canvas that draws a model, without napari's sliders, and takes no drops of its own.

    For every canvas napari binds its keys again, and each time tells the welcome screens and the
    buttons of all canvases to write the key's name again. The names stay what they were, and
    writing them takes as long as all the rest: nobody is told.
    """
    with action_manager.events.shortcut_changed.blocker():
        canvas = QtViewer(model)
    canvas.dims.setVisible(False)
    canvas.setAcceptDrops(False)
    canvas.setMinimumSize(*SMALLEST)
    return canvas
