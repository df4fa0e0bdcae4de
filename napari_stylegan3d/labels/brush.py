"""Tissue labels that the user paints on, in any plane."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtCore import QObject, QTimer, Signal

from napari_stylegan3d.core.tissues import make_layer

NAME = "Labels to edit"


class LabelDrawing(QObject):
    """A labels layer with napari's tools; emits a signal when its labels change."""

    changed = Signal()
    """The user has painted, or undone a stroke."""

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.layer: Labels | None = None
        self._known: np.ndarray | None = None

    @property
    def labels(self) -> np.ndarray | None:
        """The labels shown, uint8 (X, Y, Z); None without a layer."""
        if self.layer is None or self.layer not in self.viewer.layers:
            return None
        return np.asarray(self.layer.data, np.uint8).copy()

    def show(self, labels: np.ndarray, place: dict) -> None:
        """Replace the labels shown, (X, Y, Z), without emitting signals."""
        self._known = labels.copy()
        if self.layer is None or self.layer not in self.viewer.layers:
            self._add(labels, place)
            return
        self.layer.data = labels.copy()
        self.layer.visible = True

    def set_visible(self, visible: bool) -> None:
        """Whether they are drawn."""
        # napari puts the brush down even where nothing changes.
        if self.layer is not None and self.layer.visible != visible:
            self.layer.visible = visible

    def take_brush(self, tissue: int, diameter_mm: float) -> None:
        """Paint a tissue with a ball."""
        if self.layer is None or self.layer not in self.viewer.layers:
            return
        self.layer.visible = True
        self.viewer.layers.selection.active = self.layer
        self.layer.n_edit_dimensions = 3
        self.layer.selected_label = tissue
        self.layer.brush_size = max(1.0, diameter_mm / float(min(self.layer.scale)))
        self.layer.mode = "paint"

    def put_brush_down(self) -> None:
        """The mouse moves the crosshair again."""
        if self.layer is not None:
            self.layer.mode = "pan_zoom"

    def remove(self) -> None:
        """Remove the labels."""
        if self.layer is not None and self.layer in self.viewer.layers:
            self.viewer.layers.remove(self.layer)
        self.layer = self._known = None

    def _add(self, labels: np.ndarray, place: dict) -> None:
        self.layer = make_layer(labels.copy(), place)
        self.layer.name = NAME
        self.layer.editable = True
        active = self.viewer.layers.selection.active
        self.viewer.layers.append(self.layer)
        self.viewer.layers.selection.active = active
        # napari emits the event before it has drawn the stroke.
        for event in (self.layer.events.paint, self.layer.events.labels_update):
            event.connect(lambda _: QTimer.singleShot(0, self._look))

    def _look(self) -> None:
        now = self.labels
        if now is not None and self._known is not None and not np.array_equal(now, self._known):
            self._known = now
            self.changed.emit()
