"""Layers of our own over the picture of the stage: difference, outline, second image."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer
from napari.utils import Colormap
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QLabel, QSlider, QWidget

from napari_stylegan3d.views import display
from napari_stylegan3d.widgets import controls
from stylegan3d.geometry.space import Space
from stylegan3d.session.annotations import OverlayLook
from stylegan3d.session.provenance import Over

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


#: Spacing of the arrows; shorter movements are not drawn.
SPACING_MM, LEAST_MM = 8.0, 0.8
#: Length of an arrow relative to the movement, which is a few millimetres at most.
TIMES = 3.0


@dataclass(frozen=True, eq=False)
class Field:
    """Movement of tissue on a grid.

    Attributes
    ----------
    moved : ndarray, shape (3, X, Y, Z)
        Millimetres to the right, anterior and superior that the tissue shown at a voxel has moved.
    affine : ndarray, shape (4, 4)
        Voxel indices to RAS+ millimetres.
    """

    moved: np.ndarray
    affine: np.ndarray

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Movement at points (3, N) in mm, of the nearest voxels; 0 outside the grid."""
        back = np.linalg.inv(self.affine)
        index = np.rint(back[:3, :3] @ points_mm + back[:3, 3:]).astype(int)
        last = np.array(self.moved.shape[1:])[:, None] - 1
        inside = ((index >= 0) & (index <= last)).all(axis=0)
        found = self.moved[(slice(None), *np.clip(index, 0, last))]
        return np.where(inside, found, 0.0)


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


@contextmanager
def keeping_active(viewer: ViewerModel, gone: Layer | None = None) -> Iterator[None]:
    """Keep the active layer while one is added or has `gone`; nobody hears of another meanwhile."""
    selection = viewer.layers.selection
    active = selection.active
    if active is None or active is gone:
        yield
        return
    with selection.events.blocker_all():
        yield
        selection.active = active


#: Metadata key of a layer that shows nothing until it is needed again.
SPARE = "stylegan3d-spare"
#: Size of its only voxel, larger than those of any picture.
SPARE_MM = 1000.0
#: What a spare layer takes from the layer that it stands for; those a layer's type has.
TAKEN = (
    *("name", "metadata", "opacity", "blending", "colormap", "contrast_limits_range"),
    *("contrast_limits", "contour", "editable", "visible"),
)


class OwnLayer:
    """What keeps a layer among a viewer's, until it takes it away or the user deletes it there.

    A layer that was taken away stays as an empty one, hidden, for the next that is needed: to
    insert one takes half a second. Labels stay their owner's, who listens to their brush.
    """

    viewer: ViewerModel
    layer: Any = None

    @property
    def there(self) -> bool:
        """Whether the layer is among the viewer's."""
        return self.layer is not None and self.layer in self.viewer.layers

    def add(self, layer: Layer, index: int | None = None) -> None:
        """Put a layer above the others, or at a place; the active one stays active."""
        layers, use = self.viewer.layers, self._use_of(layer)
        index = len(layers) if index is None else index
        spare = next((one for one in layers if one.metadata.get(SPARE) is use), None)
        if spare is None:
            self.layer = layer
            with keeping_active(self.viewer):
                display.insert(self.viewer, index, layer)
            return
        if (at := layers.index(spare)) not in (index, index - 1):
            layers.move(at, index)
        with display.keeping_point(self.viewer):
            display.put(spare, layer.data, layer.scale, layer.translate)
        for name in (one for one in TAKEN if hasattr(layer, one)):
            wanted = getattr(layer, name)
            # Every view follows what is set; napari cannot compare colours of labels.
            if name == "colormap" or getattr(spare, name) != wanted:
                setattr(spare, name, wanted)
        self.layer = spare

    def reserve(self) -> None:
        """Have a layer for the first volume that is shown over the picture, while nobody waits."""
        if not self.there:
            nothing = np.zeros((1, 1, 1), np.float32)
            self.add(overlaid(display.upright(nothing, np.eye(4)), visible=False))
            self.remove()

    def _use_of(self, layer: Layer) -> object:
        return Image if type(layer) is Image else self

    @property
    def above_pictures(self) -> int:
        """The place above other pictures, below overlays and label maps."""
        layers = self.viewer.layers
        pictures = (
            isinstance(one, Image) and display.OVERLAY not in one.metadata for one in layers
        )
        return max((k + 1 for k, found in enumerate(pictures) if found), default=0)

    def set_visible(self, visible: bool) -> None:
        """Whether it is drawn; napari puts a brush down even where nothing changes."""
        if self.there and self.layer.visible != visible:
            self.layer.visible = visible

    def put_brush_down(self) -> None:
        """The mouse moves the crosshair again."""
        if self.layer is not None:
            self.layer.mode = "pan_zoom"

    def remove(self) -> None:
        """Take it away; the crosshair stays, on a grid of any size."""
        if self.there:
            layer = self.layer
            self.layer = None  # what follows is no edit of it
            selection = self.viewer.layers.selection
            if selection.active is layer:
                selection.active = None
            # What cannot be edited forgets the strokes that could be undone.
            layer.metadata = {display.OVERLAY: True, SPARE: self._use_of(layer)}
            layer.visible, layer.editable, layer.name = False, False, "Overlay (none shown)"
            with display.keeping_point(
                self.viewer
            ):  # nor does it change where and how slices are counted
                nothing = np.zeros((1, 1, 1), layer.data.dtype)
                display.put(layer, nothing, (SPARE_MM,) * 3, self.viewer.dims.point[-3:])
        self.layer = None


class DifferenceOverlay(QObject, OwnLayer):
    """An overlay layer above the stage's layer; not in the 3D view."""

    #: It was shown or hidden, or its colours mean something else now.
    changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self._legend: ColorScale | None = None
        #: Movement of tissue, drawn as arrows in the planes.
        self.field: Field | None = None
        #: As chosen, in the unit of what has this label and unit; the others have the default.
        self._thresholds: dict[tuple[str, str], float] = {}
        self.opacity = OPACITY

    @property
    def legend(self) -> ColorScale | None:
        """The legend; None if nothing is shown."""
        return self._legend if self.there else None

    def show(
        self,
        volume: display.DisplayArray,
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
        if not self.there:
            look = {"colormap": colors(self._legend), "contrast_limits": (-limit, limit)}
            self.add(overlaid(volume, opacity=self.opacity, **look))
        self.layer.metadata = {display.OVERLAY: True, display.UNIT: unit}
        paint(self.layer, self._legend)
        display.place(self.layer, volume)
        self.changed.emit()

    def set_threshold(self, threshold: float) -> None:
        """Hide values between -threshold and threshold of what is shown, in its unit."""
        if self._legend is None:
            return
        self._legend = replace(self._legend, threshold=max(0.0, float(threshold)))
        self._thresholds[self._legend.label, self._legend.unit] = self._legend.threshold
        if self.there:
            paint(self.layer, self._legend)
        self.changed.emit()

    def set_opacity(self, opacity: float) -> None:
        """Opacity of the overlay, 0 to 1."""
        self.opacity = float(np.clip(opacity, 0, 1))
        if self.layer is not None:
            self.layer.opacity = self.opacity

    def hide(self) -> None:
        """Remove it."""
        was = self.layer
        self.remove()
        self._legend = self.field = None
        if was is not None:
            self.changed.emit()


def overlaid(volume: display.DisplayArray, **attributes: Any) -> Image:
    """A layer that lies over a picture."""
    kept = {"interpolation2d": "linear", "blending": "translucent_no_depth"} | attributes
    return Image(volume.data, metadata={display.OVERLAY: True}, **kept, **volume.layer_kwargs())


def paint(layer: Image, legend: ColorScale) -> None:
    """Apply the colours of a legend to a layer, if they changed."""
    layer.name = legend.label
    table = colors(legend)
    if not layer.colormap.same_colors(table):
        layer.colormap = table
    display.set_limits(layer, (-legend.limit, legend.limit))


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


OUTLINE_NAME = "Outline of the mean brain"
#: Threshold of the mean brain, as a share of the brightest tissue.
LEVEL = 0.25
#: Refinement of the line's grid relative to the model's.
FINER = 2
OUTLINE_COLORS = Colormap([[0, 0, 0, 0], [0.2, 0.9, 1.0, 1.0]], name="outline")


class Outline(OwnLayer):
    """An outline layer above the stage's layer.

    Shown with an aligned scan, or with any picture while pinned.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        #: The mean brain and its grid, and its outline.
        self._drawn: tuple[np.ndarray, Space, display.DisplayArray] | None = None
        self._pinned = False

    def pin(self, mean: np.ndarray, space: Space) -> None:
        """Draw the outline of a mean brain (X, Y, Z) with any picture, until unpinned."""
        self._pinned = True
        self.show(mean, space)

    def unpin(self) -> None:
        """Draw it with aligned scans only."""
        self._pinned = False
        self.hide()

    def show(self, mean: np.ndarray, space: Space) -> None:
        """Draw the outline of a mean brain (X, Y, Z)."""
        last = self._drawn
        known = last is not None and last[0] is mean and last[1].same_as(space)
        if self.there and known:
            return
        self.remove()
        if not known:
            self._drawn = mean, space, outline_of(mean, space)
        assert self._drawn is not None
        look = {"colormap": OUTLINE_COLORS, "contrast_limits": (0.0, 1.0), "opacity": 0.8}
        self.add(overlaid(self._drawn[2], name=OUTLINE_NAME, blending="translucent", **look))

    def hide(self) -> None:
        """Remove it, unless pinned."""
        if not self._pinned:
            self.remove()


def outline_of(mean: np.ndarray, space: Space) -> display.DisplayArray:
    """1 on the border of a mean brain (X, Y, Z), 0 elsewhere; on a finer grid."""
    x, y, z = (FINER * n for n in space.shape)
    inside = display.enlarge(mean, (x, y, z)) > LEVEL
    within = np.pad(inside[1:-1, 1:-1, 1:-1], 1)
    for axis in range(3):
        ahead, behind = ([slice(None)] * 3 for _ in range(2))
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        within[tuple(ahead)] &= inside[tuple(behind)]
        within[tuple(behind)] &= inside[tuple(ahead)]
    return display.upright((inside & ~within).astype(np.uint8), space.resized((x, y, z)).affine)


#: Key, words and tooltip of what is shown.
WAYS = (
    ("patient", "Patient", "The patient's picture alone."),
    ("overlay", "Overlay", "The overlay over the patient's picture."),
    ("second", "Overlay only", "The overlay alone, in the three planes."),
    ("side", "Side by side", "The overlay on the left of the patient's picture, linked with it."),
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


class OverlayLayer(OwnLayer):
    """The layer of a second image above the stage's, in the planes only."""

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self._volume: display.DisplayArray | None = None
        self._bright = 1.0

    def show(self, volume: display.DisplayArray, look: OverlayLook, told: Over) -> None:
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
        over, limits = look.way == "overlay", self.limits(volume, look)
        colormap = TABLES[look.colors] if over else "gray"
        meta = {
            display.OVERLAY: True,
            **({display.OVER: told} if over else {display.KEY: told.alone}),
        }
        if not self.there:
            self.add(overlaid(volume), self.above_pictures)
        layer = self.layer
        display.place(layer, volume)
        layer.metadata, layer.name = meta, told.name
        if layer.colormap.name != getattr(colormap, "name", colormap):
            layer.colormap = colormap
        display.set_limits(layer, limits)
        layer.opacity = look.opacity / 100 if over else 1.0

    def limits(self, volume: display.DisplayArray, look: OverlayLook) -> tuple[float, float]:
        """The intensities of a volume that are black and white in a look."""
        if self._volume is not volume:
            self._volume = volume
            inside = volume.data[volume.data > 0]
            self._bright = float(np.percentile(inside[::7], BRIGHT)) if inside.size > 7 else 1.0
        return look.black / 100 * self._bright, look.white / 100 * self._bright


class OverlayBar(QWidget):
    """Patient, overlay, second image or both; opacity, colours and window of the overlay."""

    #: OverlayLook
    lookChanged = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("second.bar")
        self.look = OverlayLook()
        hint = f"\n{KEYS}: cycles through all four."
        ways = ((key, text, tip + hint) for key, text, tip in WAYS)
        self.ways = controls.segments("second.show", ways, lambda way: self._change(way=way))
        for button in self.ways.values():
            button.setMinimumWidth(0)
        self.opacity = controls.named(QSlider(Qt.Orientation.Horizontal), "second.opacity")
        self.opacity.setRange(0, 100)
        self.opacity.setMinimumWidth(controls.scaled(48))
        self.opacity.valueChanged.connect(lambda value: self._change(opacity=float(value)))
        self.colors = controls.combo(
            "second.colors",
            entries=((text, key) for (key, (text, _stops)) in OVERLAY_COLORS.items()),
        )
        self.colors.currentIndexChanged.connect(
            lambda _: self._change(colors=self.colors.currentData())
        )
        self.black, self.white = (
            controls.number(
                f"second.{name}",
                f"Intensity shown {name}, {low:g} to {high:g} % of the overlay's brightest tissue.",
                (low, high, 5),
                " %",
                width=54,
            )
            for name, low, high in (("black", 0, 100 - NARROWEST), ("white", NARROWEST, 100))
        )
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

    def show_look(self, look: OverlayLook) -> None:
        """Show how the second image is shown, without emitting signals."""
        self.look = look
        self.ways[look.way].setChecked(True)
        controls.show_value(self.opacity, round(look.opacity))
        controls.show_value(self.colors, look.colors)
        controls.show_value(self.black, look.black)
        controls.show_value(self.white, look.white)
        controls.enable(look.way == "overlay", self.opacity, self.colors)
        controls.enable(look.way != "patient", self.black, self.white)

    def _change(self, **changes: Any) -> None:
        look = replace(self.look, **changes)
        if look != self.look:
            self.show_look(look)
            self.lookChanged.emit(look)
