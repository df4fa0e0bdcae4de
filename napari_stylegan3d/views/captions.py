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
#: Metadata key of what is right only in the slices through the crosshair.
FLAT = "stylegan3d-flat"
#: Metadata key of the names of label values.
NAMES = "stylegan3d-names"
Kind = Literal["generated", "reconstruction", "scan", "edited", "difference"]

#: For saved pictures, in ASCII.
CAPTION = _("Synthetic - not for diagnosis")
#: Warnings in captions; never shortened.
SYNTHETIC = _("Synthetic – not for diagnosis")
DIFFERENCE = _("Difference – not for diagnosis")
EDITED = _("Edited scan, not a recording")
WARNINGS = (SYNTHETIC, DIFFERENCE, EDITED)
LETTER_COLOR = "#f2d479"
RECORDED_COLOR, MADE_COLOR = "#81c784", "#ffb74d"
CAPTION_COLORS = {
    "generated": MADE_COLOR,
    "reconstruction": MADE_COLOR,
    "edited": MADE_COLOR,
    "difference": MADE_COLOR,
    "scan": RECORDED_COLOR,
}
#: Maximum length of names and of edits, for narrow views.
NAME_LENGTH, WHAT_LENGTH = 24, 44


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
        Source of the voxels: a model ("generated", or "reconstruction" of a scan), a "scan" as
        recorded, an "edited" scan, or a "difference".
    name : str
        The patient; empty for a random brain.
    what : str
        Description of the edits, of the detail, or of the difference.
    """

    kind: Kind
    name: str = ""
    what: str = ""

    @property
    def caption(self) -> str:
        """Caption on every view: the patient and the edits, then a warning."""
        name, what = shortened(self.name, NAME_LENGTH), shortened(self.what, WHAT_LENGTH)
        if self.kind == "scan":
            return _("Scan: {name}").format(name=name)
        if self.kind == "reconstruction" and name:
            told = _("Reconstruction of {name}").format(name=name)
            line = ", ".join(filter(None, (told, what)))
        else:
            line = ": ".join(filter(None, (name, what)))
        return "\n".join(filter(None, (line, self.warning)))

    @property
    def subject(self) -> str:
        """The patient, for the window's title; empty for a random brain."""
        if self.kind == "reconstruction" and self.name:
            return _("Reconstruction of {name}").format(name=self.name)
        if self.kind == "edited":
            return _("{name}, edited").format(name=self.name)
        return self.name or self.what

    @property
    def warning(self) -> str:
        """Warning in the caption; empty for a scan as recorded."""
        return {"edited": EDITED, "difference": DIFFERENCE, "scan": ""}.get(self.kind, SYNTHETIC)

    @property
    def one_line(self) -> str:
        """The caption in one line."""
        return self.caption.replace("\n", " · ")


#: A random brain.
NOBODY = Provenance("generated")


def shown(model: ViewerModel, *, overlays: bool = True) -> Provenance | None:
    """Provenance of the topmost visible layer that has one; optionally without overlays."""
    for layer in reversed(model.layers):
        if OVERLAY in layer.metadata and not overlays:
            continue
        provenance = layer.metadata.get(KEY)
        if layer.visible and isinstance(provenance, Provenance):
            return provenance
    return None
