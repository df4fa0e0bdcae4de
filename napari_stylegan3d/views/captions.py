"""What a picture is, said on the picture itself.

A layer carries its provenance in `layer.metadata[KEY]`; the views read it there, so that a caption
cannot be forgotten by whoever shows a layer, and napari's own screenshots carry it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from napari.components import ViewerModel
from napari.components.overlays import TextOverlay

from napari_stylegan3d.views.orientation import Convention, Plane

KEY = "stylegan3d"
#: Marks layers that are drawn over a picture, and are none themselves.
OVERLAY = "stylegan3d-overlay"
#: What the values of a labels layer are called, by value.
NAMES = "stylegan3d-names"
Kind = Literal["generated", "reconstruction", "scan", "difference"]

LETTER_COLOR = "#f2d479"
TITLE_COLOR = "#e8eaed"
CAPTION_COLORS = {
    "generated": "#ffb74d",
    "reconstruction": "#ffb74d",
    "difference": "#ffb74d",
    "scan": "#81c784",
}
#: Longer names would fill a narrow view.
NAME_LENGTH = 24
#: Captions are broken into two lines at the dash: one would reach the letter in a narrow view.
DASH, BREAK = " – ", " –\n"
CAPTION_BOX = (0.0, 0.0, 0.0, 0.65)
SCALE_BAR_MM = 50.0
LETTER_POSITIONS = ("top_center", "bottom_center", "middle_left", "middle_right")


@dataclass(frozen=True)
class Provenance:
    """What a layer shows.

    Attributes
    ----------
    kind
        Where the voxels come from.
    name
        The seed or the scan, in words.
    """

    kind: Kind
    name: str = ""

    @property
    def caption(self) -> str:
        """The words that stand on every view of it."""
        name = self.name if len(self.name) <= NAME_LENGTH else self.name[: NAME_LENGTH - 1] + "…"
        return {
            "generated": "Synthetic – not for diagnosis",
            "reconstruction": "Synthetic – not for diagnosis",
            "difference": "Difference – not for diagnosis",
            "scan": f"Real scan: {name}",
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


class Labels:
    """Title, orientation letters, scale bar and caption of one view, as napari overlays."""

    def __init__(self, model: ViewerModel, plane: Plane | None) -> None:
        self.model = model
        self.plane = plane
        self._provenance: Provenance | None = None
        overlays = model.canvas.overlays
        overlays["sg3d_title"] = self._text("top_left", TITLE_COLOR, 10)
        overlays["sg3d_title"].text = plane.name if plane else "3D"
        overlays["sg3d_slice"] = self._text("top_right", TITLE_COLOR, 9)
        overlays["sg3d_caption"] = self._text("bottom_left", CAPTION_COLORS["generated"], 8)
        # Legible on bright tissue too.
        overlays["sg3d_caption"].box = True
        overlays["sg3d_caption"].box_color = CAPTION_BOX
        if plane:
            for position in LETTER_POSITIONS:
                overlays[f"sg3d_{position}"] = self._text(position, LETTER_COLOR, 12)
            scale_bar = overlays["scale_bar"]
            scale_bar.visible = True
            scale_bar.font_size = 8
            scale_bar.length = SCALE_BAR_MM
            scale_bar.position = "bottom_right"

    @staticmethod
    def _text(position: str, color: str, size: float) -> TextOverlay:
        return TextOverlay(
            text="", position=position, visible=True, font_size=size, color=color, box=False
        )

    @property
    def letters(self) -> tuple[str, str, str, str]:
        """The letters now shown at the top, bottom, left and right."""
        overlays = self.model.canvas.overlays
        return tuple(overlays[f"sg3d_{position}"].text for position in LETTER_POSITIONS)

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything that is written on the view."""
        overlays = self.model.canvas.overlays
        return tuple(overlays[name].text for name in overlays if name.startswith("sg3d_"))

    @property
    def caption(self) -> str:
        """The caption now shown."""
        return self.model.canvas.overlays["sg3d_caption"].text.replace(BREAK, DASH)

    def set_convention(self, convention: Convention) -> None:
        """Write the letters for the side of the patient each edge shows."""
        if self.plane is None:
            return
        letters = self.plane.letters_in(convention)
        for position, letter in zip(LETTER_POSITIONS, letters, strict=True):
            self.model.canvas.overlays[f"sg3d_{position}"].text = letter

    def show_letters(self, shown_: bool) -> None:
        """Whether the letters are written."""
        if self.plane:
            for position in LETTER_POSITIONS:
                self.model.canvas.overlays[f"sg3d_{position}"].visible = shown_

    def show_scale_bar(self, shown_: bool) -> None:
        """Whether a length is drawn beside the picture."""
        if self.plane:
            self.model.canvas.overlays["scale_bar"].visible = shown_

    def set_slice(self, text: str) -> None:
        """Write where the slice lies."""
        self.model.canvas.overlays["sg3d_slice"].text = text

    def set_provenance(self, provenance: Provenance | None) -> None:
        """Say what is shown; nothing for layers of unknown origin."""
        if provenance == self._provenance:
            return  # napari draws the view anew for a colour that it has already
        self._provenance = provenance
        overlay = self.model.canvas.overlays["sg3d_caption"]
        overlay.text = provenance.caption.replace(DASH, BREAK) if provenance else ""
        if provenance:
            overlay.color = CAPTION_COLORS[provenance.kind]

    def close(self) -> None:
        """Take the labels off a viewer that outlives the linked views."""
        overlays = self.model.canvas.overlays
        for name in [name for name in overlays if name.startswith("sg3d_")]:
            del overlays[name]
        overlays["scale_bar"].visible = False
