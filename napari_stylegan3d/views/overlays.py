"""A difference laid over the picture: blue where there is less, orange where there is more.

Anything on a grid in millimetres can be laid over what the stage shows: what an edit changed, what
a reconstruction leaves over. Blue and orange are told apart by everyone who sees colours at all,
and differ in brightness from the grey below.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from napari.utils import Colormap
from qtpy.QtCore import QObject, Signal

from napari_stylegan3d.views.captions import OVERLAY

if TYPE_CHECKING:
    from napari_stylegan3d.views.display import Upright

#: From the limit to nothing: less is blue, more is orange.
LESS = ((0.55, 0.85, 1.00), (0.10, 0.45, 0.95))
MORE = ((1.00, 0.80, 0.40), (0.95, 0.45, 0.05))
#: A difference that is the picture itself: nothing is black.
SOLID = Colormap(
    [(*LESS[0], 1), (0.05, 0.30, 0.75, 1), (0, 0, 0, 1), (0.75, 0.32, 0.02, 1), (*MORE[0], 1)],
    name="difference",
)
#: Entries of the colour table; even, so that no entry lies at zero.
STEPS = 256
#: Without a limit of its own, this share of the voxels that differ lies within it.
WITHIN = 0.995
#: Share of the limit below which nothing is drawn at first.
THRESHOLD = 0.1
OPACITY = 0.8
#: Thresholds are rounded to this share of the limit: napari keeps every colour table it was given.
ROUNDED = 0.01
#: Drawn this strongly just above the threshold, and fully at the limit.
FAINT = 0.5


@dataclass(frozen=True)
class Legend:
    """What the colours mean.

    Attributes
    ----------
    label : str
        What is shown, in words.
    unit : str
        Of the numbers; empty for none.
    limit : float
        Both ends of the colours, -limit and limit, in the unit.
    threshold : float
        Nothing is drawn between -threshold and threshold.
    solid : bool
        Whether it is the picture itself, and not laid over one.
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
    """A layer over the stage's, there while it is wanted; the 3D view leaves it out."""

    changed = Signal()
    """It was shown or hidden, or its colours mean something else now."""

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.layer: Image | None = None
        self._legend: Legend | None = None
        #: In the unit, as it was asked for; None for the usual share of the limit.
        self._threshold: float | None = None
        self._opacity = OPACITY

    @property
    def legend(self) -> Legend | None:
        """What the colours mean; None if nothing is shown."""
        return self._legend if self._shown else None

    @property
    def opacity(self) -> float:
        """How much of the picture below the colours hide, 0 to 1."""
        return self._opacity

    def show(self, volume: Upright, label: str, unit: str, limit: float | None = None) -> None:
        """Lay a volume over the picture, in place of the one before.

        Parameters
        ----------
        volume : Upright
            RAS, axes upright, on whatever grid; 0 is no difference.
        label, unit : str
            What it is, for the colour bar.
        limit : float or None
            Where the colours end, in the unit; by default nearly all voxels lie within.
        """
        limit = limit if limit is not None and limit > 0 else usual_limit(volume.data)
        threshold = THRESHOLD * limit if self._threshold is None else self._threshold
        self._legend = Legend(label, unit, limit, threshold)
        if self.layer is not None and self._shown:
            paint(self.layer, self._legend)
            place(self.layer, volume)
        else:
            self.layer = self._make(volume, self._legend)
            self.viewer.layers.append(self.layer)
        self.changed.emit()

    def set_threshold(self, threshold: float) -> None:
        """Draw nothing between -threshold and threshold, in the unit of the volume."""
        self._threshold = max(0.0, float(threshold))
        if self._legend is None:
            return
        self._legend = replace(self._legend, threshold=self._threshold)
        if self.layer is not None and self._shown:
            paint(self.layer, self._legend)
        self.changed.emit()

    def set_opacity(self, opacity: float) -> None:
        """How much of the picture below the colours hide, 0 to 1."""
        self._opacity = float(np.clip(opacity, 0, 1))
        if self.layer is not None:
            self.layer.opacity = self._opacity

    def hide(self) -> None:
        """Take it away."""
        was = self.layer
        if was is not None and self._shown:
            self.viewer.layers.remove(was)
        self.layer = self._legend = None
        if was is not None:
            self.changed.emit()

    @property
    def _shown(self) -> bool:
        return self.layer is not None and self.layer in self.viewer.layers

    def _make(self, volume: Upright, legend: Legend) -> Image:
        return Image(
            volume.data,
            name=legend.label,
            colormap=colors(legend),
            contrast_limits=(-legend.limit, legend.limit),
            interpolation2d="linear",
            blending="translucent_no_depth",
            opacity=self._opacity,
            metadata={OVERLAY: True},
            **volume.layer_kwargs(),
        )


def place(layer: Image, volume: Upright) -> None:
    """Show other voxels, at their place."""
    layer.data = volume.data
    for name in ("scale", "translate"):
        if not np.allclose(getattr(layer, name), getattr(volume, name)):
            setattr(layer, name, getattr(volume, name))


def paint(layer: Image, legend: Legend) -> None:
    """Give a layer the colours of a legend, as far as they are others."""
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
    """Within which nearly all voxels that differ at all lie; 1 if none does."""
    size = np.abs(np.asarray(data))
    size = size[size > 0]
    return float(np.quantile(size, WITHIN)) if size.size else 1.0


def colors(legend: Legend) -> Colormap:
    """The colour table from -limit to limit, transparent within the threshold."""
    share = rounded_share(legend)
    return Colormap(color_table(share), name=f"difference above {share:.0%}")


def rounded_share(legend: Legend) -> float:
    """The threshold as a share of the limit, 0 to 1."""
    return round(min(legend.threshold / legend.limit, 1.0) / ROUNDED) * ROUNDED


def color_table(threshold: float) -> np.ndarray:
    """(STEPS, 4) RGBA in 0..1, from the lowest to the highest value.

    Parameters
    ----------
    threshold : float
        Share of the limit below which colours are transparent, 0 to 1.
    """
    value = np.linspace(-1, 1, STEPS)
    size = np.abs(value)[:, None]
    (far_less, near_less), (far_more, near_more) = np.array(LESS), np.array(MORE)
    less = near_less + (far_less - near_less) * size
    more = near_more + (far_more - near_more) * size
    table = np.ones((STEPS, 4))
    table[:, :3] = np.where(value[:, None] < 0, less, more)
    above = (np.abs(value) - threshold) / max(1 - threshold, 1e-6)
    table[:, 3] = np.where(above >= 0, FAINT + (1 - FAINT) * np.clip(above, 0, 1), 0)
    return table
