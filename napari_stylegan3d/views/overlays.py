"""Difference overlays: blue for less, orange for more.

Any volume in world coordinates can be overlaid on the stage's picture: the change by an edit, the
residual of a reconstruction. Blue and orange are distinguishable with colour blindness and differ
in brightness from the grey below.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from napari.utils import Colormap
from qtpy.QtCore import QObject, Signal

from napari_stylegan3d.views.captions import OVERLAY, UNIT
from napari_stylegan3d.views.display import place

if TYPE_CHECKING:
    from napari_stylegan3d.views.arrows import Field
    from napari_stylegan3d.views.display import DisplayArray

#: Colours from the limits to zero, for less and more.
LESS = ((0.55, 0.85, 1.00), (0.10, 0.45, 0.95))
MORE = ((1.00, 0.80, 0.40), (0.95, 0.45, 0.05))
#: The same for a difference that is the picture itself, on black.
SOLID = Colormap(
    [(*LESS[0], 1), (0.05, 0.30, 0.75, 1), (0, 0, 0, 1), (0.75, 0.32, 0.02, 1), (*MORE[0], 1)],
    name="difference",
)
#: Entries of the colour table; even, so that none is at zero.
STEPS = 256
#: Share of the differing voxels within the default limit.
WITHIN = 0.995
#: Default threshold, as a share of the limit.
THRESHOLD = 0.1
OPACITY = 0.8
#: Thresholds are rounded to this share of the limit: napari keeps every colour table.
ROUNDED = 0.01
#: Opacity just above the threshold; it is 1 at the limit.
FAINT = 0.5


@dataclass(frozen=True)
class ColorScale:
    """Legend of a colour bar.

    Attributes
    ----------
    label : str
        Title.
    unit : str
        Unit of the numbers; may be empty.
    limit : float
        Ends of the colours, -limit and limit, in the unit.
    threshold : float
        Nothing is drawn between -threshold and threshold.
    solid : bool
        Whether it is the picture itself, not an overlay.
    """

    label: str
    unit: str
    limit: float
    threshold: float = 0.0
    solid: bool = False

    @property
    def table(self) -> np.ndarray:
        """(STEPS, 4) RGBA in 0..1 from -limit to limit."""
        if self.solid:
            return np.asarray(SOLID.map(np.linspace(0, 1, STEPS)))
        return color_table(rounded_share(self))


class DifferenceOverlay(QObject):
    """An overlay layer above the stage's layer; not in the 3D view."""

    changed = Signal()
    """It was shown or hidden, or its colours mean something else now."""

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.layer: Image | None = None
        self._legend: ColorScale | None = None
        #: Movement of tissue, drawn as arrows in the planes.
        self.field: Field | None = None
        #: As chosen, in the unit of what has this label and unit; the others have the default.
        self._thresholds: dict[tuple[str, str], float] = {}
        self._opacity = OPACITY

    @property
    def legend(self) -> ColorScale | None:
        """The legend; None if nothing is shown."""
        return self._legend if self._shown else None

    @property
    def opacity(self) -> float:
        """Opacity of the overlay, 0 to 1."""
        return self._opacity

    def show(
        self,
        volume: DisplayArray,
        label: str,
        unit: str,
        limit: float | None = None,
        field: Field | None = None,
    ) -> None:
        """Overlay a volume, replacing the previous one.

        Parameters
        ----------
        volume : DisplayArray
            In RAS, on any grid; 0 is no difference.
        label, unit : str
            Title and unit for the colour bar.
        limit : float or None
            End of the colours in the unit; by default nearly all voxels are within it.
        field : Field or None
            Movement drawn as arrows over it.
        """
        limit = limit if limit is not None and limit > 0 else usual_limit(volume.data)
        threshold = self._thresholds.get((label, unit), THRESHOLD * limit)
        self._legend, self.field = ColorScale(label, unit, limit, threshold), field
        if self.layer is not None and self._shown:
            self.layer.metadata = {**self.layer.metadata, UNIT: unit}
            paint(self.layer, self._legend)
            place(self.layer, volume)
        else:
            self.layer = self._make(volume, self._legend)
            self.viewer.layers.append(self.layer)
        self.changed.emit()

    def set_threshold(self, threshold: float) -> None:
        """Hide values between -threshold and threshold of what is shown, in its unit."""
        if self._legend is None:
            return
        self._legend = replace(self._legend, threshold=max(0.0, float(threshold)))
        self._thresholds[self._legend.label, self._legend.unit] = self._legend.threshold
        if self.layer is not None and self._shown:
            paint(self.layer, self._legend)
        self.changed.emit()

    def set_opacity(self, opacity: float) -> None:
        """Opacity of the overlay, 0 to 1."""
        self._opacity = float(np.clip(opacity, 0, 1))
        if self.layer is not None:
            self.layer.opacity = self._opacity

    def hide(self) -> None:
        """Remove it."""
        was = self.layer
        if was is not None and self._shown:
            self.viewer.layers.remove(was)
        self.layer = self._legend = self.field = None
        if was is not None:
            self.changed.emit()

    @property
    def _shown(self) -> bool:
        return self.layer is not None and self.layer in self.viewer.layers

    def _make(self, volume: DisplayArray, legend: ColorScale) -> Image:
        return Image(
            volume.data,
            name=legend.label,
            colormap=colors(legend),
            contrast_limits=(-legend.limit, legend.limit),
            interpolation2d="linear",
            blending="translucent_no_depth",
            opacity=self._opacity,
            metadata={OVERLAY: True, UNIT: legend.unit},
            **volume.layer_kwargs(),
        )


def paint(layer: Image, legend: ColorScale) -> None:
    """Apply the colours of a legend to a layer, if they changed."""
    layer.name = legend.label
    table = colors(legend)
    if not layer.colormap.same_colors(table):
        layer.colormap = table
    limits = (-legend.limit, legend.limit)
    if tuple(layer.contrast_limits) != limits:
        low, high = layer.contrast_limits_range
        layer.contrast_limits_range = min(low, limits[0]), max(high, limits[1])
        layer.contrast_limits = limits


def usual_limit(data: np.ndarray) -> float:
    """Limit that contains nearly all differing voxels; 1 if there are none."""
    size = np.abs(np.asarray(data))
    size = size[size > 0]
    return float(np.quantile(size, WITHIN)) if size.size else 1.0


def colors(legend: ColorScale) -> Colormap:
    """Colormap from -limit to limit, transparent within the threshold."""
    share = rounded_share(legend)
    return Colormap(color_table(share), name=f"difference above {share:.0%}")


def rounded_share(legend: ColorScale) -> float:
    """The threshold as a share of the limit, 0 to 1."""
    return round(min(legend.threshold / legend.limit, 1.0) / ROUNDED) * ROUNDED


def color_table(threshold: float) -> np.ndarray:
    """(STEPS, 4) RGBA in 0..1, from the lowest to the highest value.

    Parameters
    ----------
    threshold : float
        Share of the limit below which colours are transparent, 0 to 1. Zero itself is always
        transparent, or nothing would lie as a veil over everything.
    """
    value = np.linspace(-1, 1, STEPS)
    size = np.abs(value)[:, None]
    (far_less, near_less), (far_more, near_more) = np.array(LESS), np.array(MORE)
    less = near_less + (far_less - near_less) * size
    more = near_more + (far_more - near_more) * size
    table = np.ones((STEPS, 4))
    table[:, :3] = np.where(value[:, None] < 0, less, more)
    above = (np.abs(value) - threshold) / max(1 - threshold, 1e-6)
    at_zero = np.abs(value) < 1.5 / (STEPS - 1)  # the two entries beside it
    table[:, 3] = np.where((above >= 0) & ~at_zero, FAINT + (1 - FAINT) * np.clip(above, 0, 1), 0)
    return table
