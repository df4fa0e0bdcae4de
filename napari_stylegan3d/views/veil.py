"""A second picture above the stage's: all of it, or the part left of a curtain.

It is an overlay layer, so the 3D view omits it. With a curtain each view gets its own part of the
voxels, a strided view of the array without copying.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image

from napari_stylegan3d.views.captions import KEY, OVERLAY, Provenance
from napari_stylegan3d.views.display import DisplayArray, place
from napari_stylegan3d.views.framing import View

SWIPE_NAME = "A (compared)"


class SwipeLayer:
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
        self.layer: Image | None = None
        self._views = [view for view in views if view.plane]
        self._volume: DisplayArray | None = None
        #: Position of the curtain in mm by world axis; empty for all of A.
        self._curtain: dict[int, float] = {}
        #: Whether it waits for being shown again.
        self.is_aside = False

    def show(
        self,
        volume: DisplayArray,
        provenance: Provenance,
        limits: tuple[float, float],
        visible: bool,
    ) -> None:
        """Show A above the picture."""
        if self.is_aside and self.viewer.layers[-1] is not self.layer:
            self.hide()  # something lies above it
        new = self.layer is None or self.layer not in self.viewer.layers
        moved = self._volume is None or self._volume.data is not volume.data
        self._volume = volume
        if self.layer is None or new:
            self.layer = Image(
                volume.data,
                name=SWIPE_NAME,
                contrast_limits=limits,
                interpolation2d="linear",
                blending="translucent_no_depth",
                visible=visible,
                metadata={OVERLAY: True, KEY: provenance},
                **volume.layer_kwargs(),
            )
            self.viewer.layers.append(self.layer)
        self.layer.metadata = {OVERLAY: True, KEY: provenance}
        self.set_limits(limits)
        if new or moved or self.is_aside:
            self.is_aside = False
            self._cut()
        self.set_visible(visible)

    def set_limits(self, limits: tuple[float, float]) -> None:
        """Set window and level to those of the picture below."""
        if self.layer is not None and tuple(self.layer.contrast_limits) != tuple(limits):
            low, high = self.layer.contrast_limits_range
            self.layer.contrast_limits_range = min(low, limits[0]), max(high, limits[1])
            self.layer.contrast_limits = limits

    def set_visible(self, visible: bool) -> None:
        """Show or hide it."""
        if self.layer is not None and self.layer.visible != visible:
            self.layer.visible = visible

    def hang(self, curtain: dict[int, float]) -> None:
        """Move the curtain: A is shown on its left."""
        self._curtain = dict(curtain)
        self._cut()

    def put_aside(self) -> None:
        """Hide it until it is shown again: adding a layer to the views takes tenths of a second."""
        self._curtain, self.is_aside = {}, self.layer is not None
        self.set_visible(False)

    def hide(self) -> None:
        """Remove it."""
        if self.layer is not None and self.layer in self.viewer.layers:
            self.viewer.layers.remove(self.layer)
        self.layer = self._volume = None
        self._curtain, self.is_aside = {}, False

    def _cut(self) -> None:
        if self.layer is None or self._volume is None:
            return
        for view in self._views:
            shown = next((one for one in view.model.layers if one.name == SWIPE_NAME), None)
            if isinstance(shown, Image):
                place(shown, self._part(view, self._volume))

    def _part(self, view: View, volume: DisplayArray) -> DisplayArray:
        assert view.plane is not None
        axis = view.plane.order[2]
        if axis not in self._curtain:
            return volume
        mirrored = view.model.scene.camera.orientation[-1] == "left"
        return left_part(volume, axis, self._curtain[axis], mirrored)


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
