"""Captions that name the source of a picture: where layers keep it, and their colours.

A layer's provenance is in `layer.metadata[KEY]`, where the views read it, so code that shows a
layer cannot forget the caption.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stylegan3d.session.provenance import Provenance

if TYPE_CHECKING:
    from napari.components import ViewerModel

KEY = "stylegan3d"
#: Metadata key of overlays.
OVERLAY = "stylegan3d-overlay"
#: Metadata key of the unit of an overlay.
UNIT = "stylegan3d-unit"
#: Metadata key of what is right only in the slices through the crosshair.
FLAT = "stylegan3d-flat"
#: Where the 3D view finds the same volume on a coarser grid.
COARSE = "stylegan3d-coarse"
#: Metadata key of the `Over` of a second image that lies over the picture.
OVER = "stylegan3d-over"
#: Metadata key of the names of label values.
NAMES = "stylegan3d-names"

LETTER_COLOR = "#f2d479"
RECORDED_COLOR, MADE_COLOR = "#81c784", "#ffb74d"
CAPTION_COLORS = {
    "generated": MADE_COLOR,
    "reconstruction": MADE_COLOR,
    "worn": MADE_COLOR,
    "edited": MADE_COLOR,
    "difference": MADE_COLOR,
    "scan": RECORDED_COLOR,
    "second": RECORDED_COLOR,
}


def shown(model: ViewerModel, *, overlays: bool = True) -> Provenance | None:
    """Provenance of the topmost visible layer that has one; optionally without overlays.

    It names a second image that lies over that layer, and says if an edit did not move it.
    """
    over = None
    for layer in reversed(model.layers):
        if not layer.visible or (OVERLAY in layer.metadata and not overlays):
            continue
        over = layer.metadata.get(OVER, over)
        provenance = layer.metadata.get(KEY)
        if isinstance(provenance, Provenance):
            return replace(provenance, over=over)
    return None


def color_of(provenance: Provenance) -> str:
    """Of a caption."""
    return CAPTION_COLORS[provenance.made_as]
