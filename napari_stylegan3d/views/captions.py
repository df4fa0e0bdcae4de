"""Captions that name the source of a picture.

A layer's provenance is in `layer.metadata[KEY]`, where the views read it, so code that shows a
layer cannot forget the caption.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from napari.components import ViewerModel

from napari_stylegan3d.widgets.text import _

KEY = "stylegan3d"
#: Metadata key of overlays.
OVERLAY = "stylegan3d-overlay"
#: Metadata key of the names of label values.
NAMES = "stylegan3d-names"
Kind = Literal["generated", "reconstruction", "scan", "difference"]

#: For saved pictures, in ASCII.
CAPTION = _("Synthetic - not for diagnosis")
LETTER_COLOR = "#f2d479"
CAPTION_COLORS = {
    "generated": "#ffb74d",
    "reconstruction": "#ffb74d",
    "difference": "#ffb74d",
    "scan": "#81c784",
}
#: Maximum length of names, for narrow views.
NAME_LENGTH = 24


def shortened(text: str, length: int) -> str:
    """The text with its middle elided: similar names differ at the beginning or the end."""
    if len(text) <= length:
        return text
    end = (length - 1) // 2
    return f"{text[: length - 1 - end].rstrip()}…{text[-end:].lstrip()}"


@dataclass(frozen=True)
class Provenance:
    """Provenance of a layer.

    Attributes
    ----------
    kind : Kind
        Source of the voxels.
    name : str
        Description of the seed or scan.
    """

    kind: Kind
    name: str = ""

    @property
    def caption(self) -> str:
        """Caption on every view."""
        name = shortened(self.name, NAME_LENGTH)
        return {
            "generated": _("Synthetic – not for diagnosis"),
            "reconstruction": _("Synthetic – not for diagnosis"),
            "difference": _("Difference – not for diagnosis"),
            "scan": _("Real scan: {name}").format(name=name),
        }[self.kind]


def shown(model: ViewerModel, *, overlays: bool = True) -> Provenance | None:
    """Provenance of the topmost visible layer that has one; optionally without overlays."""
    for layer in reversed(model.layers):
        if OVERLAY in layer.metadata and not overlays:
            continue
        provenance = layer.metadata.get(KEY)
        if layer.visible and isinstance(provenance, Provenance):
            return provenance
    return None
