"""The stage: the napari layer in which the explorer shows its volumes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_stylegan3d.views.captions import COARSE, FLAT, KEY, OVERLAY, Provenance
from napari_stylegan3d.views.deface import faceless
from napari_stylegan3d.views.display import DisplayArray, keeping_point, place, put
from napari_stylegan3d.views.levels import WHITE_LIMITS, Levels, Limits, is_symmetrical, preset
from napari_stylegan3d.views.overlays import SOLID, ColorScale, DifferenceOverlay

DIFFERENCE_LIMITS = (-0.5, 0.5)
DISPLAY_LIMITS = (0.0, 1.0)
LAYER_NAMES = {
    "generated": "Synthetic brain",
    "reconstruction": "Reconstruction",
    "worn": "Synthetic brain",
    "scan": "Scan",
    "edited": "Edited scan",
    "difference": "Difference",
}
#: A larger share of bright voxels than vessels have means other intensities.
MUCH_CLIPPED = 0.05
#: White for such a model, as a multiple of the usual: volumes are clipped here.
BRIGHT_WHITE = 1.5


class Stage(QObject):
    """Shows one volume at a time in the viewer, with its caption."""

    levelsChanged = Signal()
    """Other intensities are shown black and white."""
    settled = Signal()
    """A picture is shown that no other replaces immediately."""
    repainted = Signal(object)
    """The voxels of a layer are others, in the same array; napari notifies nobody."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self.layer: Image | None = None
        #: Difference overlay.
        self.overlay = DifferenceOverlay(viewer)
        self._usual: Limits = DISPLAY_LIMITS
        self._usual_white = 1.0
        #: Levels of pictures and of differences.
        self._levels = {False: Levels(), True: Levels()}
        self._setting = False
        #: Whether heads are shown without their face; the scan that is shown, and without it.
        self._deface = False
        self._scan: tuple[DisplayArray, Provenance, Limits | None, DisplayArray | None] | None = (
            None
        )
        self._faceless: tuple[np.ndarray, np.ndarray] | None = None
        #: Buffer for passing pictures.
        self._canvas: np.ndarray | None = None

    def show(
        self,
        volume: DisplayArray,
        provenance: Provenance,
        limits: tuple[float, float] | None = None,
        *,
        passing: bool = False,
        flat: bool = False,
        coarse: DisplayArray | None = None,
    ) -> None:
        """Show a volume on any grid.

        The layer is reused when the grid changes: a new one would recompile its shaders in four
        views.

        Parameters
        ----------
        volume : DisplayArray
            In RAS.
        provenance : Provenance
            Source, for the caption.
        limits : tuple of float or None
            Intensities shown black and white; by default those of the kind.
        passing : bool
            Whether another volume will replace it immediately. It then overwrites the buffer of the
            previous one, which avoids napari's setup for new data.
        flat : bool
            Whether only the slices through the crosshair are right, so that the 3D view shall wait.
        coarse : DisplayArray or None
            The same on a coarser grid, for the 3D view: ray casting through a fine one is slow
            without a graphics card.
        """
        difference = provenance.kind == "difference"
        self._usual = limits or (DIFFERENCE_LIMITS if difference else DISPLAY_LIMITS)
        if self.layer is None or self.layer not in self.viewer.layers:
            self._add(volume, provenance)
        layer: Any = self.layer
        is_scan = provenance.kind == "scan"
        self._scan = (volume, provenance, limits, coarse) if is_scan else None
        if self._deface and self._scan is not None:
            volume = self._defaced(volume)
        # Caption first, then voxels: a picture must never have another one's caption.
        layer.metadata = {KEY: provenance, FLAT: flat, COARSE: coarse}
        layer.name = LAYER_NAMES[provenance.kind]
        colormap = SOLID if difference else "gray"
        if layer.colormap.name != getattr(colormap, "name", colormap):
            layer.colormap = colormap
        self._set_limits()
        with keeping_point(self.viewer):
            self._set_voxels(layer, volume, passing)
        if not layer.visible:  # napari rebuilds its scene even if nothing changed
            layer.visible = True
        if not passing:
            self.settled.emit()

    @property
    def is_difference(self) -> bool:
        """Whether a difference is shown."""
        return is_symmetrical(self._usual)

    @property
    def levels(self) -> Levels:
        """Black and white, as shares of the usual."""
        return self._levels[self.is_difference]

    @property
    def limits(self) -> Limits:
        """Intensities shown black and white."""
        return self.levels.limits(self._usual)

    @property
    def legend(self) -> ColorScale | None:
        """Legend of the overlay or the picture; None for a plain grey picture."""
        if self.overlay.legend is not None:
            return self.overlay.legend
        if not self.is_difference or self.layer is None or self.layer not in self.viewer.layers:
            return None
        return ColorScale(self.layer.name, "fraction of white", self.limits[1], solid=True)

    def set_levels(self, levels: Levels) -> None:
        """Set window and level."""
        if levels == self.levels:
            return
        self._levels[self.is_difference] = levels
        self._set_limits()

    def set_white(self, white: float) -> None:
        """Set white as a multiple of the usual."""
        self.set_levels(self.levels.with_white(white))

    def drag_levels(self, start: Levels, right_px: float, up_px: float) -> None:
        """Set levels during a drag, from those at its start."""
        if self.is_difference:
            self.set_levels(start.widened(right_px))
        else:
            self.set_levels(start.dragged(right_px, up_px))

    def reset_levels(self) -> None:
        """Reset window and level."""
        self.set_levels(Levels() if self.is_difference else Levels(white=self._usual_white))

    def take_preset(self, name: str) -> None:
        """Set window and level to a preset; a difference has its default and its full range."""
        if self.layer is None:
            return
        low, high = (float(bound(self.layer.data)) for bound in (np.min, np.max))
        if not self.is_difference:
            span = Levels.of((low, high), self._usual)
            self.set_levels(preset(name, self._usual_white, (span.black, span.white)))
        elif name == "full":
            self.set_levels(Levels().with_white(max(-low, high) / self._usual[1]))
        else:
            self.reset_levels()

    def set_deface(self, deface: bool) -> None:
        """Show heads with or without their face."""
        if deface != self._deface:
            self._deface = deface
            if self._scan is not None:
                volume, provenance, limits, coarse = self._scan
                self.show(volume, provenance, limits, coarse=coarse)

    def fit_white(self, share_above_white: float) -> None:
        """Choose white for a model from the share of brighter voxels in its first picture."""
        self._usual_white = BRIGHT_WHITE if share_above_white >= MUCH_CLIPPED else 1.0
        self._levels[False] = Levels(white=self._usual_white)
        self._set_limits()

    def clear(self) -> None:
        """Remove the layers from the viewer."""
        self._scan = self._faceless = None
        self.overlay.hide()
        self._let_go()
        if self.layer is not None and self.layer in self.viewer.layers:
            self.viewer.layers.remove(self.layer)
        self.layer = None

    def _set_voxels(self, layer: Image, volume: DisplayArray, passing: bool) -> None:
        canvas, data = self._canvas, volume.data
        if not passing:
            self._canvas = None
            place(layer, volume)
        elif canvas is None or canvas is not layer.data or canvas.shape != data.shape:
            self._canvas = data.copy(order="K")
            put(layer, self._canvas, volume.scale, volume.translate)
        else:
            np.copyto(canvas, data)
            put(layer, canvas, volume.scale, volume.translate)
            layer.refresh(thumbnail=False, highlight=False, extent=False)
            self.repainted.emit(layer)

    def _defaced(self, volume: DisplayArray) -> DisplayArray:
        """A scan of a head without its face; what is no head stays as it is."""
        if self._faceless is None or self._faceless[0] is not volume.data:
            shown = faceless(volume.data, volume.scale, volume.translate, self._usual[1])
            self._faceless = volume.data, shown
        return replace(volume, data=self._faceless[1])

    def _let_go(self) -> None:
        if self.layer is not None:
            self.layer.events.contrast_limits.disconnect(self._on_limits)

    def _add(self, volume: DisplayArray, provenance: Provenance) -> None:
        self._let_go()
        self.layer = Image(
            volume.data,
            contrast_limits=self.limits,
            interpolation2d="linear",
            rendering="attenuated_mip",
            attenuation=0.5,
            metadata={KEY: provenance},
            **volume.layer_kwargs(),
        )
        self.layer.events.contrast_limits.connect(self._on_limits)
        # Above other pictures, below overlays.
        pictures = [
            index
            for index, layer in enumerate(self.viewer.layers)
            if isinstance(layer, Image) and OVERLAY not in layer.metadata
        ]
        self.viewer.layers.insert(max(pictures, default=-1) + 1, self.layer)

    def _set_limits(self) -> None:
        layer: Any = self.layer
        limits = self.limits
        if layer is not None and tuple(layer.contrast_limits) != limits:
            low, high = layer.contrast_limits_range
            self._setting = True
            try:
                layer.contrast_limits_range = (min(low, limits[0]), max(high, limits[1]))
                layer.contrast_limits = limits
            finally:
                self._setting = False
        self.levelsChanged.emit()

    def _on_limits(self, _: Any = None) -> None:
        """Levels were set in napari's layer controls."""
        if self._setting or self.layer is None:
            return
        low, high = self.layer.contrast_limits
        levels = Levels.of((low, high), self._usual)
        white = min(max(levels.white, WHITE_LIMITS[0]), WHITE_LIMITS[1])
        self._levels[self.is_difference] = Levels(levels.black, white)
        self.levelsChanged.emit()
