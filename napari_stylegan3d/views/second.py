"""A second image over the picture, such as a FLAIR: a layer, and the row above the views."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from napari.utils import Colormap
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QLabel, QWidget

from napari_stylegan3d.views.captions import KEY, OVER, OVERLAY, Over
from napari_stylegan3d.views.display import DisplayArray, place
from napari_stylegan3d.views.outline import keeping_active, remove_finer
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import DecimalBox

#: Key, words and tooltip of what is shown.
WAYS = (
    ("patient", "Patient", "The patient's picture alone."),
    ("overlay", "Overlay", "The second image over the patient's picture."),
    ("second", "Second image", "The second image alone, in the three planes."),
)
KEYS = "Ctrl+8"
#: Colours from black to white, of each name.
OVERLAY_COLORS = {
    "hot": ("Hot", ((0, 0, 0), (0.7, 0, 0), (1, 0.55, 0), (1, 1, 0.75))),
    "green": ("Green", ((0, 0, 0), (0.1, 0.9, 0.3), (0.9, 1, 0.9))),
    "blue": ("Blue", ((0, 0, 0), (0.15, 0.5, 1), (0.9, 0.95, 1))),
    "gray": ("Grey", ((0, 0, 0), (1, 1, 1))),
}
#: An overlay is transparent where it is black, and opaque above this share of white.
OPAQUE = 0.35
TABLE_STEPS = 256
#: White as a percentile of the image.
BRIGHT = 99.5
#: The window is at least this wide, in % of white.
NARROWEST = 5.0


@dataclass(frozen=True)
class OverlayLook:
    """How a second image is shown.

    Attributes
    ----------
    way : str
        A key of `WAYS`.
    opacity : float
        Of the overlay, in %.
    colors : str
        A key of `OVERLAY_COLORS`, for the overlay; alone it is grey.
    black, white : float
        What is shown black and white, in % of the brightest tissue.
    """

    way: str = "overlay"
    opacity: float = 50.0
    colors: str = "hot"
    black: float = 30.0
    white: float = 100.0

    @classmethod
    def from_plain(cls, plain: Any) -> OverlayLook:
        """Inverse of `dataclasses.asdict`; the usual look if it is invalid."""
        try:
            look = cls(**plain)
            sound = (
                look.way in dict.fromkeys(key for key, *_rest in WAYS)
                and look.colors in OVERLAY_COLORS
            )
            sound = sound and 0 <= look.black < look.white <= 100 and 0 <= look.opacity <= 100
        except TypeError:
            return cls()
        return look if sound else cls()


def _table(name: str) -> Colormap:
    value = np.linspace(0, 1, TABLE_STEPS)
    colors = np.array(OVERLAY_COLORS[name][1], float)
    at = np.linspace(0, 1, len(colors))
    table = [np.interp(value, at, colors[:, channel]) for channel in range(3)]
    return Colormap(
        np.stack([*table, np.clip(value / OPAQUE, 0, 1)], axis=1), name=f"second {name}"
    )


#: Made once: napari keeps every colour table.
TABLES = {name: _table(name) for name in OVERLAY_COLORS}


class OverlayLayer:
    """The layer of a second image above the stage's, in the planes only."""

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.layer: Image | None = None
        self._volume: DisplayArray | None = None
        self._bright = 1.0

    def show(self, volume: DisplayArray, look: OverlayLook, told: Over) -> None:
        """Show a volume.

        Parameters
        ----------
        volume : DisplayArray
            In RAS, on any grid.
        look : OverlayLook
            Its way is "overlay" or "second".
        told : Over
            For captions.
        """
        over = look.way == "overlay"
        if self._volume is not volume:
            self._volume = volume
            inside = volume.data[volume.data > 0]
            self._bright = float(np.percentile(inside[::7], BRIGHT)) if inside.size > 7 else 1.0
        colormap = TABLES[look.colors] if over else "gray"
        limits = look.black / 100 * self._bright, look.white / 100 * self._bright
        meta = {OVERLAY: True, **({OVER: told} if over else {KEY: told.alone})}
        layer: Any = self.layer
        if layer is None or layer not in self.viewer.layers:
            layer = self.layer = Image(
                volume.data,
                colormap=colormap,
                contrast_limits=limits,
                interpolation2d="linear",
                blending="translucent_no_depth",
                metadata=meta,
                **volume.layer_kwargs(),
            )
            with keeping_active(self.viewer):
                self.viewer.layers.append(layer)
        elif layer.data is not volume.data:
            place(layer, volume)
        layer.metadata, layer.name = meta, told.name
        if layer.colormap.name != getattr(colormap, "name", colormap):
            layer.colormap = colormap
        low, high = layer.contrast_limits_range
        layer.contrast_limits_range = min(low, limits[0]), max(high, limits[1])
        layer.contrast_limits = limits
        layer.opacity = look.opacity / 100 if over else 1.0

    def hide(self) -> None:
        """Remove it."""
        remove_finer(self.viewer, self.layer)
        self.layer = self._volume = None


class OverlayBar(QWidget):
    """Patient, overlay or second image; opacity, colours and window of the overlay."""

    lookChanged = Signal(object)
    """SecondLook"""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("second.bar")
        self.look = OverlayLook()
        hint = f"\n{KEYS}: the next of the three."
        ways = ((key, text, tip + hint) for key, text, tip in WAYS)
        self.ways = controls.segments("second.show", ways, lambda way: self._change(way=way))
        for button in self.ways.values():
            button.setMinimumWidth(0)
        self.opacity = controls.named(
            controls.CalmSlider(), "second.opacity", "Opacity of the overlay, 0 to 100 %."
        )
        self.opacity.setRange(0, 100)
        self.opacity.setMinimumWidth(controls.scaled(48))
        self.opacity.valueChanged.connect(lambda value: self._change(opacity=float(value)))
        self.colors = controls.combo(
            "second.colors",
            "Colours of the overlay.",
            ((text, key) for (key, (text, _stops)) in OVERLAY_COLORS.items()),
        )
        self.colors.currentIndexChanged.connect(
            lambda _: self._change(colors=self.colors.currentData())
        )
        self.black = self._level(
            "black", "Intensity shown black, 0 to 95 % of the second image's brightest tissue."
        )
        self.white = self._level(
            "white", "Intensity shown white, 5 to 100 % of the second image's brightest tissue."
        )
        self.black.setRange(0, 100 - NARROWEST)
        self.white.setRange(NARROWEST, 100)
        self.black.valueChanged.connect(
            lambda value: self._change(black=value, white=max(self.look.white, value + NARROWEST))
        )
        self.white.valueChanged.connect(
            lambda value: self._change(white=value, black=min(self.look.black, value - NARROWEST))
        )
        row = controls.row(*self.ways.values())
        row.setContentsMargins(8, 0, 8, 4)
        row.setSpacing(1)
        row.addSpacing(9)
        row.addWidget(self.opacity, stretch=1)
        for widget in (self.colors, QLabel("Window"), self.black, QLabel("–"), self.white):
            row.addSpacing(5)
            row.addWidget(widget)
        self.setLayout(row)
        self.show_look(self.look)
        self.hide()

    def _level(self, name: str, tip: str) -> DecimalBox:
        box = controls.named(DecimalBox(), f"second.{name}", tip)
        box.setDecimals(0)
        box.setSingleStep(5)
        box.setSuffix(" %")
        box.setButtonSymbols(DecimalBox.ButtonSymbols.NoButtons)
        box.setFixedWidth(controls.scaled(54))
        return box

    def show_look(self, look: OverlayLook) -> None:
        """Show how the second image is shown, without emitting signals."""
        self.look = look
        self.ways[look.way].setChecked(True)
        widgets = (self.opacity, self.colors, self.black, self.white)
        blocked = [QSignalBlocker(widget) for widget in widgets]
        self.opacity.setValue(round(look.opacity))
        self.colors.setCurrentIndex(self.colors.findData(look.colors))
        self.black.setValue(look.black)
        self.white.setValue(look.white)
        del blocked
        for widget in (self.opacity, self.colors):
            widget.setEnabled(look.way == "overlay")
        for level in (self.black, self.white):
            level.setEnabled(look.way != "patient")

    def _change(self, **changes: Any) -> None:
        look = dataclasses.replace(self.look, **changes)
        if look != self.look:
            self.show_look(look)
            self.lookChanged.emit(look)
