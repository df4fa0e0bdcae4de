"""The labels of what is shown, as a napari layer over the planes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels

from napari_stylegan3d.core.tissues import make_layer
from napari_stylegan3d.views.display import upright

if TYPE_CHECKING:
    from napari_stylegan3d.measure.jobs import Measured


class TissueLayer:
    """There while it is wanted; the 3D view leaves it out."""

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.layer: Labels | None = None

    def show(self, measured: Measured) -> None:
        """Draw the labels, in place of those before."""
        shown = upright(measured.labels, measured.space.affine, nearest=True)
        data = np.ascontiguousarray(shown.data)
        if self.layer is not None and self.layer in self.viewer.layers:
            self.layer.data = data
            self.layer.scale, self.layer.translate = shown.scale, shown.translate
            self.layer.visible = True
            return
        self.layer = make_layer(data, shown.layer_kwargs())
        active = self.viewer.layers.selection.active
        self.viewer.layers.append(self.layer)
        # Nobody is meant to paint on it.
        self.viewer.layers.selection.active = active

    def hide(self) -> None:
        """Draw it no longer; it comes back with what is measured next."""
        if self.layer is not None and self.layer in self.viewer.layers:
            self.layer.visible = False

    def remove(self) -> None:
        """Take it away."""
        if self.layer is not None and self.layer in self.viewer.layers:
            self.viewer.layers.remove(self.layer)
        self.layer = None
