"""Rendering, colours and clipping planes of the 3D view."""

from __future__ import annotations

import numpy as np
from napari.layers import Image, Layer
from napari.utils import Colormap

from napari_stylegan3d.views.captions import KEY, Provenance
from napari_stylegan3d.views.look import ViewLook
from napari_stylegan3d.views.orientation import VOLUME_ORDER
from napari_stylegan3d.views.overlays import SOLID, STEPS

#: Differences below this share of the limit are transparent in 3D, so as not to hide larger ones.
CLEAR = 0.1
#: Translucent rendering: transparent background, tissue more opaque the brighter it is.
MIST = Colormap(
    [
        [0, 0, 0, 0],
        [0.10, 0.05, 0.04, 0.02],
        [0.42, 0.28, 0.24, 0.10],
        [0.85, 0.76, 0.68, 0.45],
        [1, 0.97, 0.92, 0.90],
    ],
    controls=[0, 0.12, 0.4, 0.75, 1],
    name="mist",
)
_SIZE = np.abs(np.linspace(-1, 1, STEPS))
#: Colours of the planes and the colour bar, more transparent for smaller differences.
DIFFERENCE = Colormap(
    np.column_stack(
        [
            np.asarray(SOLID.map(np.linspace(0, 1, STEPS)))[:, :3],
            np.clip((_SIZE - CLEAR) / (1 - CLEAR), 0, 1),
        ]
    ),
    name="difference in 3D",
)
MODES = {
    "attenuated_mip": "attenuated_mip",
    "mip": "mip",
    "iso": "iso",
    "volume": "translucent",
}


class VolumeLook:
    """Styles the copies of layers in the 3D view."""

    def __init__(self) -> None:
        self.look = ViewLook()
        #: Centre of the picture in mm, the origin of cut positions.
        self.middle = np.zeros(3)

    def dress(self, source: Layer, copy: Layer) -> None:
        """Style a layer according to the look."""
        if isinstance(source, Image) and isinstance(copy, Image):
            self._dress_image(source, copy)

    def _dress_image(self, source: Image, copy: Image) -> None:
        difference = is_difference(source)
        limits = tuple(source.contrast_limits)
        # A maximum projection would only show increases; translucent rendering shows both signs.
        mode = MODES["volume" if difference else self.look.rendering]
        if copy.rendering != mode:
            copy.rendering = mode
        colors = source.colormap
        if difference:
            colors = DIFFERENCE
        elif self.look.rendering == "volume":
            colors = MIST
        if copy.colormap.name != colors.name:
            copy.colormap = colors
        if tuple(copy.contrast_limits) != limits:
            copy.contrast_limits = limits
        low, high = limits
        copy.iso_threshold = low + self.look.surface * (high - low)

    def cut(self, copy: Layer) -> None:
        """Apply the look's clipping planes."""
        planes = [
            {
                "position": self._position(copy, axis, cut.position_mm),
                "normal": tuple((-1.0 if cut.upper else 1.0) * (axis == i) for i in VOLUME_ORDER),
                "enabled": True,
            }
            for axis, cut in enumerate(self.look.cuts)
            if cut.on
        ]
        if copy.ndim == 3 and (planes or len(copy.experimental_clipping_planes)):
            copy.experimental_clipping_planes = planes

    def _position(self, copy: Layer, axis: int, position_mm: float) -> tuple[float, ...]:
        """Position in the layer's indices, in the order of displayed axes."""
        point = self.middle.copy()
        point[axis] += position_mm
        index = np.asarray(copy.world_to_data(point), dtype=float)
        return tuple(index[list(VOLUME_ORDER)].tolist())


def is_difference(layer: Layer) -> bool:
    """Whether a layer shows a difference."""
    provenance = layer.metadata.get(KEY)
    return isinstance(provenance, Provenance) and provenance.kind == "difference"
