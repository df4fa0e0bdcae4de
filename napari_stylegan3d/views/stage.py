"""The stage: the napari layer in which the explorer shows its volumes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject, QTimer, Signal

from napari_stylegan3d.views import display
from napari_stylegan3d.views.display import DisplayArray
from napari_stylegan3d.views.layers import SOLID, SPARE, ColorScale, DifferenceOverlay, OwnLayer
from stylegan3d.session.provenance import GENERATED, Provenance

#: A share of the brightest tissue: darker voxels are air.
AIR = 0.12
#: Only every n-th voxel is looked at.
STEP = 2
#: An extracted brain has less than this; a head, even one that is cut off at the nose, has more.
HEAD_LITRES = 2.2
#: Height, below the top of the head, at which its length is measured, as shares of that length
#: (an adult head is about 200 mm long).
BAND = (0.25, 0.42)
#: The cut begins at the root of the nose, at this share of the length below the top, and falls
#: towards the back by this many mm a millimetre. It leaves the frontal and temporal lobes whole.
NASION, SLOPE = 0.54, 0.8
TYPICAL_MM = 200.0


def faceless(
    data: np.ndarray,
    scale: tuple[float, float, float],
    translate: tuple[float, float, float],
    white: float,
) -> np.ndarray:
    """The volume with the face set to its lowest value; the same array if it shows no head.

    Parameters
    ----------
    data : ndarray, shape (X, Y, Z)
        In RAS along the world axes.
    scale, translate : tuple of float
        Voxel size and centre of the first voxel, in mm.
    white : float
        Brightest tissue.
    """
    head = data[::STEP, ::STEP, ::STEP] > AIR * white
    step = np.asarray(scale) * STEP
    if not head.any() or head.sum() * step.prod() / 1e6 < HEAD_LITRES:
        return data
    _right, anterior, superior = (
        float(first) + float(size) * np.arange(count)
        for first, size, count in zip(translate, scale, data.shape, strict=True)
    )
    # Single bright voxels in the air are noise, and so are lines of them.
    columns = head.mean(axis=(0, 1))
    top = float(superior[::STEP][np.flatnonzero(columns > 0.01)[-1]])
    heights = superior[::STEP]
    low, high = (top - share * TYPICAL_MM for share in BAND[::-1])
    rows = head[:, :, (heights >= low) & (heights <= high)].mean(axis=(0, 2))
    found = np.flatnonzero(rows > 0.02)
    if not found.size:
        return data
    back, front = (float(anterior[::STEP][index]) for index in (found[0], found[-1]))
    cut = top - NASION * (front - back) - SLOPE * (front - anterior)
    face = superior[None, :] < cut[:, None]
    # The back of the head lies below the line, too, and stays.
    face &= (anterior > (front + back) / 2)[:, None]
    result = data.copy()
    result[:, face] = data.min()
    return result


#: Range of white, as a multiple of the usual.
WHITE_LIMITS = (0.05, 3.0)
#: Lowest black, as a multiple of usual white: below zero for pictures with little contrast.
LOWEST_BLACK = -1.0
NARROWEST = 0.02
#: A drag this long changes width or level by the usual brightness of white.
DRAG_PX = 300.0

Limits = tuple[float, float]


@dataclass(frozen=True)
class Levels:
    """Black and white as shares of the usual white of the picture.

    As shares, a scan and its reconstruction look alike though their intensities differ.
    """

    black: float = 0.0
    white: float = 1.0

    @property
    def width(self) -> float:
        """From black to white."""
        return self.white - self.black

    @property
    def level(self) -> float:
        """Middle grey."""
        return (self.white + self.black) / 2

    def with_white(self, white: float) -> Levels:
        """With another white; black is lowered if necessary."""
        white = min(max(white, WHITE_LIMITS[0]), WHITE_LIMITS[1])
        return replace(self, white=white, black=min(self.black, white - NARROWEST))

    def dragged(self, right_px: float, up_px: float) -> Levels:
        """After a drag: right widens (softer), up raises the level (darker)."""
        width = max(self.width + right_px / DRAG_PX, NARROWEST)
        level = self.level + up_px / DRAG_PX
        black = max(level - width / 2, LOWEST_BLACK)
        white = min(max(level + width / 2, WHITE_LIMITS[0]), WHITE_LIMITS[1])
        return Levels(min(black, white - NARROWEST), white)

    def widened(self, right_px: float) -> Levels:
        """After a drag on a picture symmetrical about 0: widen the colours."""
        return Levels().with_white(self.white * 2 ** (right_px / DRAG_PX))

    def limits(self, usual: Limits) -> Limits:
        """Intensities shown as black and white, from the default ones."""
        low, high = usual
        if is_symmetrical(usual):
            return low * self.white, high * self.white
        span = high - low
        return low + span * self.black, low + span * self.white

    @classmethod
    def of(cls, limits: Limits, usual: Limits) -> Levels:
        """The levels that result in these limits."""
        low, high = usual
        if is_symmetrical(usual):
            return cls(white=max(abs(limits[0]), abs(limits[1])) / high)
        span = high - low
        return cls((limits[0] - low) / span, (limits[1] - low) / span)


#: Windows by name; "full" depends on the picture.
PRESETS = ("brain", "deep_grey", "full")
#: The grey and white matter of T1 images, spread so that thalamus, pallidum and capsule differ.
DEEP_GREY = Levels(black=0.45, white=1.1)


def preset(name: str, usual_white: float, span: Limits) -> Levels:
    """The levels of a preset.

    Parameters
    ----------
    name : str
        One of `PRESETS`.
    usual_white : float
        White of the picture's model, as a multiple of the usual.
    span : tuple of float
        Lowest and highest intensity of the picture, as shares of the usual white.
    """
    if name == "brain":
        return Levels(white=usual_white)
    if name == "deep_grey":
        return Levels(DEEP_GREY.black * usual_white, DEEP_GREY.white * usual_white)
    low, high = span
    white = min(max(high, WHITE_LIMITS[0]), WHITE_LIMITS[1])
    return Levels(max(min(low, white - NARROWEST), LOWEST_BLACK), white)


def visible_pictures(model: ViewerModel, *, over: bool = False) -> Iterator[Image]:
    """The volumes in sight, the topmost first; overlays are none.

    With `over`, those are that hide what is below, as an overlay alone, or A in a comparison.
    """
    for layer in reversed(model.layers):
        if not isinstance(layer, Image) or not layer.visible or layer.ndim != 3:
            continue
        hides = over and display.KEY in layer.metadata and layer.contrast_limits[0] >= 0
        if hides or display.OVERLAY not in layer.metadata:
            yield layer


def is_symmetrical(limits: Limits) -> bool:
    """Whether the limits are symmetrical about 0, as for a difference."""
    return limits[0] < 0 < limits[1] and limits[0] == -limits[1]


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


class Stage(QObject, OwnLayer):
    """Shows one volume at a time in the viewer, with its caption."""

    #: Other intensities are shown black and white.
    levelsChanged = Signal()
    #: A picture is shown that no other replaces immediately.
    settled = Signal()
    #: The voxels of a layer are others, in the same array; napari notifies nobody.
    repainted = Signal(object)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
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
        if not self.there:
            self._add(volume, provenance)
        layer = self.layer
        is_scan = provenance.kind == "scan"
        self._scan = (volume, provenance, limits, coarse) if is_scan else None
        if self._deface and self._scan is not None:
            volume = self._defaced(volume)
        # Caption first, then voxels: a picture must never have another one's caption.
        layer.metadata = {display.KEY: provenance, display.FLAT: flat, display.COARSE: coarse}
        layer.name = LAYER_NAMES[provenance.kind]
        colormap = SOLID if difference else "gray"
        if layer.colormap.name != getattr(colormap, "name", colormap):
            layer.colormap = colormap
        self._set_limits()
        with display.keeping_point(self.viewer):
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
        if not self.is_difference or not self.there:
            return None
        return ColorScale(self.layer.name, "fraction of white", self.limits[1], solid=True)

    @property
    def covering(self) -> Image | None:
        """What alone is seen in place of the picture, as an overlay, with a window of its own."""
        top = next(visible_pictures(self.viewer, over=True), None)
        alone = top is not None and top.metadata.get(display.KEY, GENERATED).kind == "second"
        return top if alone else None

    def set_levels(self, levels: Levels) -> None:
        """Set window and level, of a picture that is in sight."""
        if levels == self.levels or self.covering is not None:
            return
        self._levels[self.is_difference] = levels
        self._set_limits()

    def set_white(self, white: float) -> None:
        """Set white as a multiple of the usual."""
        self.set_levels(self.levels.with_white(white))

    def drag_levels(self, start: Levels, right_px: float, up_px: float) -> None:
        """Set levels during a drag, from those at its start."""
        moved = start.widened(right_px) if self.is_difference else start.dragged(right_px, up_px)
        self.set_levels(moved)

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

    def blank(self) -> None:
        """Show nothing until the next picture: the last one is of somebody else."""
        self._scan = self._faceless = None
        self.overlay.hide()
        if self.there:
            self.layer.metadata = {}
            self.layer.visible = False

    def bring_back(self, event: Any) -> None:
        """Show the volume again whose layer was removed by hand."""
        if event.value is self.layer:
            QTimer.singleShot(0, self._insert)

    def clear(self) -> None:
        """Remove the layers from the viewer, those too that wait for being needed again."""
        self._scan = self._faceless = None
        self.overlay.hide()
        self._let_go()
        for layer in list(self.viewer.layers):
            if layer is self.layer or SPARE in layer.metadata:
                self.viewer.layers.remove(layer)
        self.layer = None

    def _set_voxels(self, layer: Image, volume: DisplayArray, passing: bool) -> None:
        canvas, data = self._canvas, volume.data
        if not passing:
            self._canvas = None
            display.place(layer, volume)
        elif canvas is None or canvas is not layer.data or canvas.shape != data.shape:
            self._canvas = data.copy(order="K")
            display.put(layer, self._canvas, volume.scale, volume.translate)
        else:
            np.copyto(canvas, data)
            display.put(layer, canvas, volume.scale, volume.translate)
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
            metadata={display.KEY: provenance},
            **volume.layer_kwargs(),
        )
        self.layer.events.contrast_limits.connect(self._on_limits)
        self._insert()

    def _insert(self) -> None:
        if self.layer is not None and not self.there:
            display.insert(self.viewer, self.above_pictures, self.layer)

    def _set_limits(self) -> None:
        if self.layer is not None:
            self._setting = True
            try:
                display.set_limits(self.layer, self.limits)
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
