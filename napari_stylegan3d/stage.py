"""The one napari layer the explorer draws on."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from napari.utils import Colormap

from napari_stylegan3d.display import Upright
from napari_stylegan3d.views.captions import KEY, Provenance
from napari_stylegan3d.views.overlays import DifferenceOverlay

#: Darker is blue, equal is black, brighter is red.
DIFFERENCE_COLORS = Colormap(
    [
        [0.35, 0.65, 1.0, 1.0],
        [0.05, 0.2, 0.6, 1.0],
        [0, 0, 0, 1],
        [0.6, 0.1, 0.05, 1],
        [1, 0.6, 0.4, 1],
    ],
    name="difference",
)
DIFFERENCE_LIMITS = (-0.5, 0.5)
DISPLAY_LIMITS = (0.0, 1.0)
LAYER_NAMES = {
    "generated": "Synthetic brain",
    "reconstruction": "Reconstruction",
    "scan": "Real scan",
    "difference": "Difference",
}


class Stage:
    """Shows one volume at a time in the viewer, and says on it what it is."""

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.layer: Image | None = None
        #: What anyone wants laid over the picture.
        self.overlay = DifferenceOverlay(viewer)
        self._white, self._limits = 1.0, DISPLAY_LIMITS

    def show(
        self,
        volume: Upright,
        provenance: Provenance,
        limits: tuple[float, float] | None = None,
    ) -> None:
        """Show a volume, on whatever grid.

        The layer is kept when the grid changes: a new one would compile its shaders in four views.

        Parameters
        ----------
        volume
            RAS, axes upright.
        provenance
            What it is; stands on every view.
        limits
            Intensities shown black and white; by default what suits the kind.
        """
        difference = provenance.kind == "difference"
        self._limits = limits or (DIFFERENCE_LIMITS if difference else DISPLAY_LIMITS)
        limits = self._scaled()
        if self.layer is None or self.layer not in self.viewer.layers:
            self.layer = Image(
                volume.data,
                contrast_limits=limits,
                interpolation2d="linear",
                rendering="attenuated_mip",
                attenuation=0.5,
                metadata={KEY: provenance},
                **volume.layer_kwargs(),
            )
            self.viewer.layers.append(self.layer)
        layer = self.layer
        # First what it is, then the voxels: a picture must not carry another one's caption.
        layer.metadata = {KEY: provenance}
        layer.name = LAYER_NAMES[provenance.kind]
        colormap = DIFFERENCE_COLORS if difference else "gray"
        if layer.colormap.name != getattr(colormap, "name", colormap):
            layer.colormap = colormap
        self._set_limits(limits)
        layer.data = volume.data
        for name in ("scale", "translate"):
            if not np.allclose(getattr(layer, name), getattr(volume, name)):
                setattr(layer, name, getattr(volume, name))
        layer.visible = True

    def set_white(self, white: float) -> None:
        """Show as white what is `white` times as bright as usual."""
        self._white = white
        if self.layer is not None:
            self._set_limits(self._scaled())

    def clear(self) -> None:
        """Take the layers off the viewer."""
        self.overlay.hide()
        if self.layer is not None and self.layer in self.viewer.layers:
            self.viewer.layers.remove(self.layer)
        self.layer = None

    def _scaled(self) -> tuple[float, float]:
        low, high = self._limits
        if low < 0 < high and low == -high:  # a difference: grey stays in the middle
            return low * self._white, high * self._white
        return low, low + (high - low) * self._white

    def _set_limits(self, limits: tuple[float, float]) -> None:
        layer: Any = self.layer
        if tuple(layer.contrast_limits) == tuple(limits):
            return
        low, high = layer.contrast_limits_range
        layer.contrast_limits_range = (min(low, limits[0]), max(high, limits[1]))
        layer.contrast_limits = limits
