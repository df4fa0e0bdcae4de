"""What a picture is, said on the picture itself.

A layer carries its provenance in `layer.metadata[KEY]`; the views read it there, so that a caption
cannot be forgotten by whoever shows a layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from napari.components import ViewerModel

from napari_stylegan3d.widgets.text import _

KEY = "stylegan3d"
#: Marks layers that are drawn over a picture, and are none themselves.
OVERLAY = "stylegan3d-overlay"
#: What the values of a labels layer are called, by value.
NAMES = "stylegan3d-names"
Kind = Literal["generated", "reconstruction", "scan", "difference"]

#: On pictures that are saved, in plain letters.
CAPTION = _("Synthetic - not for diagnosis")
LETTER_COLOR = "#f2d479"
CAPTION_COLORS = {
    "generated": "#ffb74d",
    "reconstruction": "#ffb74d",
    "difference": "#ffb74d",
    "scan": "#81c784",
}
#: Longer names would fill a narrow view.
NAME_LENGTH = 24


def shortened(text: str, length: int) -> str:
    """The text, or its beginning and its end: names and edits of a kind differ there."""
    if len(text) <= length:
        return text
    end = (length - 1) // 2
    return f"{text[: length - 1 - end].rstrip()}…{text[-end:].lstrip()}"


@dataclass(frozen=True)
class Provenance:
    """What a layer shows.

    Attributes
    ----------
    kind : Kind
        Where the voxels come from.
    name : str
        The seed or the scan, in words.
    """

    kind: Kind
    name: str = ""

    @property
    def caption(self) -> str:
        """The words that stand on every view of it."""
        name = shortened(self.name, NAME_LENGTH)
        return {
            "generated": _("Synthetic – not for diagnosis"),
            "reconstruction": _("Synthetic – not for diagnosis"),
            "difference": _("Difference – not for diagnosis"),
            "scan": _("Real scan: {name}").format(name=name),
        }[self.kind]


def shown(model: ViewerModel, *, overlays: bool = True) -> Provenance | None:
    """Provenance of the topmost visible layer that has one; the 3D view leaves overlays out."""
    for layer in reversed(model.layers):
        if OVERLAY in layer.metadata and not overlays:
            continue
        provenance = layer.metadata.get(KEY)
        if layer.visible and isinstance(provenance, Provenance):
            return provenance
    return None
