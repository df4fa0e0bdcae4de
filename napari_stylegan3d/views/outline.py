"""Outline of the model's mean brain on an aligned scan."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer
from napari.utils import Colormap

from napari_stylegan3d.views.captions import OVERLAY
from napari_stylegan3d.views.display import DisplayArray, enlarge, keeping_point, upright

if TYPE_CHECKING:
    from stylegan3d.geometry.space import Space

OUTLINE_NAME = "Outline of the mean brain"
#: Threshold of the mean brain, as a share of the brightest tissue.
LEVEL = 0.25
#: Refinement of the line's grid relative to the model's.
FINER = 2
OUTLINE_COLORS = Colormap([[0, 0, 0, 0], [0.2, 0.9, 1.0, 1.0]], name="outline")


class Outline:
    """An outline layer above the stage's layer.

    Shown with an aligned scan, or with any picture while pinned.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.layer: Image | None = None
        self._mean: np.ndarray | None = None
        self._pinned = False

    def pin(self, mean: np.ndarray, space: Space) -> None:
        """Draw the outline of a mean brain (X, Y, Z) with any picture, until unpinned."""
        self._pinned = True
        self.show(mean, space)

    def unpin(self) -> None:
        """Draw it with aligned scans only."""
        self._pinned = False
        self.hide()

    def show(self, mean: np.ndarray, space: Space) -> None:
        """Draw the outline of a mean brain (X, Y, Z)."""
        shown = self.layer is not None and self.layer in self.viewer.layers
        if shown and self._mean is mean:
            return
        self._remove()
        drawn, self._mean = outline_of(mean, space), mean
        self.layer = Image(
            drawn.data,
            name=OUTLINE_NAME,
            colormap=OUTLINE_COLORS,
            contrast_limits=(0.0, 1.0),
            interpolation2d="linear",
            rendering="mip",
            blending="translucent",
            opacity=0.8,
            metadata={OVERLAY: True},
            **drawn.layer_kwargs(),
        )
        with keeping_active(self.viewer):
            self.viewer.layers.append(self.layer)

    def hide(self) -> None:
        """Remove it, unless pinned."""
        if not self._pinned:
            self._remove()

    def _remove(self) -> None:
        remove_finer(self.viewer, self.layer)
        self.layer = None


@contextmanager
def keeping_active(viewer: ViewerModel) -> Iterator[None]:
    """Keep the active layer while a layer is added or removed."""
    active = viewer.layers.selection.active
    yield
    if active in viewer.layers:
        viewer.layers.selection.active = active


def remove_finer(viewer: ViewerModel, layer: Layer | None) -> None:
    """Remove a layer of a finer grid; the active layer and the crosshair stay."""
    if layer is None or layer not in viewer.layers:
        return
    with keeping_point(viewer), keeping_active(viewer):
        viewer.layers.remove(layer)


def outline_of(mean: np.ndarray, space: Space) -> DisplayArray:
    """1 on the border of a mean brain (X, Y, Z), 0 elsewhere; on a finer grid."""
    from scipy.ndimage import binary_erosion

    x, y, z = (FINER * n for n in space.shape)
    inside = enlarge(mean, (x, y, z)) > LEVEL
    border = inside & ~binary_erosion(inside)
    return upright(border.astype(np.float32), space.resized((x, y, z)).affine)
