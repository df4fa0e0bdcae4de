"""A viewer model that mirrors another one with a different slicing.

A napari layer owns its slice and so cannot be in two viewers: a follower has copies that share the
numpy array, and forwards a few attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from napari.utils import Colormap
from qtpy.QtCore import QTimer

from napari_stylegan3d.views import display
from napari_stylegan3d.views.display import VOLUME_ORDER, ViewPlane
from napari_stylegan3d.views.layers import SOLID, STEPS, keeping_active
from napari_stylegan3d.views.look import ViewLook
from napari_stylegan3d.widgets.controls import Links, single_shot
from stylegan3d.session.provenance import Provenance

if TYPE_CHECKING:
    from napari._vispy.canvas import VispyCanvas

#: Synchronised tool settings.
TOOLS = (
    *("brush_size", "n_edit_dimensions", "contiguous"),
    *("preserve_labels", "selected_label", "mode"),
)


class SharedTools:
    """Makes painting on a copy of a labels layer act on the layer itself.

    Parameters
    ----------
    source : Labels
        The layer of the main viewer.
    copy : Labels
        Its copy in another viewer, sharing the voxels.
    links : Links
        Of what ends it.
    """

    def __init__(self, source: Labels, copy: Labels, links: Links) -> None:
        self.source, self.copy = source, copy
        self._over = False
        links.callback(setattr, self, "_over", True)
        for name in TOOLS:
            self._share(name, source, copy)
            for one, other in ((source, copy), (copy, source)):
                links.connect(getattr(one.events, name), partial(self._share, name, one, other))
        # napari emits some changes before making them.
        links.connect(copy.events.paint, lambda _: QTimer.singleShot(0, self._on_stroke))
        copy.bind_key("Control-Z", lambda _: source.undo(), overwrite=True)
        copy.bind_key("Control-Shift-Z", lambda _: source.redo(), overwrite=True)

    @staticmethod
    def _share(name: str, one: Labels, other: Labels, _: Any = None) -> None:
        value = getattr(one, name)
        if name == "mode" and str(value) == "transform":  # copies follow that separately
            value = "pan_zoom"
        if getattr(other, name) != value:
            setattr(other, name, value)

    def _on_stroke(self) -> None:
        """Move a stroke from the copy to the layer."""
        if self._over:
            return
        done = np.asarray(self.copy.data).copy()
        self.copy.undo()
        places = np.nonzero(done != np.asarray(self.source.data))
        self.source.data_setitem(places, done[places])


#: Differences below this share of the limit are transparent in 3D, so as not to hide larger ones.
CLEAR = 0.1
#: Translucent rendering: transparent background, tissue more opaque the brighter it is.
MIST = Colormap(
    [
        [0, 0, 0, 0],
        [0.10, 0.05, 0.04, 0.02],
        [0.42, 0.28, 0.24, 0.10],
        [0.85, 0.76, 0.68, 0.45],
        [1, 0.97, 0.92, 0.90],
    ],
    controls=[0, 0.12, 0.4, 0.75, 1],
    name="mist",
)
_SIZE = np.abs(np.linspace(-1, 1, STEPS))
#: Colours of the planes and the colour bar, more transparent for smaller differences.
DIFFERENCE = Colormap(
    np.column_stack(
        [
            np.asarray(SOLID.map(np.linspace(0, 1, STEPS)))[:, :3],
            np.clip((_SIZE - CLEAR) / (1 - CLEAR), 0, 1),
        ]
    ),
    name="difference in 3D",
)
MODES = {"attenuated_mip": "attenuated_mip", "mip": "mip", "iso": "iso", "volume": "translucent"}


class VolumeLook:
    """Styles the copies of layers in the 3D view."""

    def __init__(self) -> None:
        self.look = ViewLook()
        #: Centre of the picture in mm, the origin of cut positions.
        self.middle = np.zeros(3)

    def dress(self, source: Layer, copy: Layer) -> None:
        """Style a layer according to the look."""
        if not (isinstance(source, Image) and isinstance(copy, Image)):
            return
        difference = is_difference(source)
        limits = tuple(source.contrast_limits)
        # A maximum projection would only show increases; translucent rendering shows both signs.
        mode = MODES["volume" if difference else self.look.rendering]
        if copy.rendering != mode:
            copy.rendering = mode
        colors = source.colormap
        if difference:
            colors = DIFFERENCE
        elif self.look.rendering == "volume":
            colors = MIST
        if copy.colormap.name != colors.name:
            copy.colormap = colors
        if tuple(copy.contrast_limits) != limits:
            copy.contrast_limits = limits
        low, high = limits
        copy.iso_threshold = low + self.look.surface * (high - low)

    def cut(self, copy: Layer) -> None:
        """Apply the look's clipping planes."""
        planes = [
            {
                "position": self._position(copy, axis, cut.position_mm),
                "normal": tuple((-1.0 if cut.upper else 1.0) * (axis == i) for i in VOLUME_ORDER),
                "enabled": True,
            }
            for axis, cut in enumerate(self.look.cuts)
            if cut.on
        ]
        if copy.ndim == 3 and (planes or len(copy.experimental_clipping_planes)):
            copy.experimental_clipping_planes = planes

    def _position(self, copy: Layer, axis: int, position_mm: float) -> tuple[float, ...]:
        """Position in the layer's indices, in the order of displayed axes."""
        point = self.middle.copy()
        point[axis] += position_mm
        index = np.asarray(copy.world_to_data(point), dtype=float)
        return tuple(index[list(VOLUME_ORDER)].tolist())


def is_difference(layer: Layer) -> bool:
    """Whether a layer shows a difference."""
    provenance = layer.metadata.get(display.KEY)
    return isinstance(provenance, Provenance) and provenance.kind == "difference"


#: Layer attributes that are synchronised (if the layer type has them).
MIRRORED = ("gamma", "opacity", "visible", "blending", "name", "interpolation2d", "projection_mode")
#: In the planes only: the 3D view has its own colours.
COLORS = ("contrast_limits", "colormap")
#: How labels are drawn; their colours are the same everywhere.
LABELS = ("colormap", "contour", "selected_label", "show_selected_label")
#: Layers whose data are a volume; copies of others are made anew.
VOXELS = (Image, Labels)
#: Set together with the voxels.
PLACE = ("scale", "translate")

#: Ray casting is slow without a graphics card: the 3D view is updated after this pause.
SETTLE_MS = 50
#: The same during a drag, and after a preview, when the next change is imminent: to cast rays
#: meanwhile would hold up the full volume.
DRAG_MS = 500


class Follower:
    """Mirrors the layers and the crosshair of `main` in its own model.

    Parameters
    ----------
    main : ViewerModel
        The viewer to follow.
    plane : ViewPlane or None
        How to slice; None for the 3D view, whose data follow once changes have settled.
    volume : VolumeLook or None
        How the 3D view draws them.
    """

    def __init__(
        self, main: ViewerModel, plane: ViewPlane | None, volume: VolumeLook | None = None
    ) -> None:
        self.main = main
        self.plane = plane
        self.volume = volume or VolumeLook()
        self.model = ViewerModel(title=plane.name if plane else "3D")
        self._copies: dict[Layer, Layer] = {}
        self._links: dict[Layer, Links] = {}
        self._syncing = False
        self._stale: set[Layer] = set()
        #: Painted labels, and the crosshair when they were last drawn.
        self._strokes: set[Layer] = set()
        self._drawn_at: dict[Layer, tuple[float, ...]] = {}
        self._settle, self._dragged = single_shot(None, self.settle), False
        if plane is None:
            self.model.dims.ndisplay = 3
        for layer in main.layers:
            self._add(layer)
        self.links = Links()
        self.links.callback(self._empty)
        self.links.connect(main.layers.events.inserted, lambda event: self._add(event.value))
        self.links.connect(main.layers.events.removed, lambda event: self._remove(event.value))
        self.links.connect(main.layers.events.moved, self._on_moved)
        self.links.connect(main.dims.events.point, self._follow_point)
        if plane is not None:
            # The 3D view has no slices, and its grid may lag behind.
            own = self.model.dims.events.point
            self.links.connect(own, lambda _: self._copy_point(self.model, main))
            self.links.connect(main.layers.selection.events.active, self._share_active)
        self._follow_point()

    def settle(self) -> None:
        """Update the data now, without the delay of the 3D view."""
        self._settle.stop()
        # What has only slices waits for its volume.
        flat = {layer for layer in self._stale if layer.metadata.get(display.FLAT)}
        for layer in self._stale - flat:
            if layer in self._copies:
                self._update(layer)
        self._stale = flat
        self._follow_point()

    def redraw(self, source: Layer, canvas: VispyCanvas) -> None:
        """Redraw a layer whose voxels changed in place."""
        if self.plane is None:
            self._strokes.add(source)
            self._wait_for(source, DRAG_MS)
        elif source in self._copies:
            display.redraw(self._copies[source], canvas)

    def show_instead(
        self, source: Layer | None, shown: Sequence[Layer], removed: Sequence[Layer] = ()
    ) -> None:
        """Show layers of its own in place of a picture's copy; none to show the copy again."""
        for layer in removed:
            if layer in self.model.layers:
                self.model.layers.remove(layer)
        self.model.layers.extend(shown)
        if self.model.dims.ndim == 3:
            self.model.dims.order = self.plane.order if self.plane else VOLUME_ORDER
        if source is not None and source in self._copies:
            self._copies[source].visible = source.visible and not shown

    def restyle(self) -> None:
        """Apply new settings of the 3D view."""
        self._stale.update(self._copies)
        self._settle.start(SETTLE_MS)

    def _empty(self) -> None:
        """It follows no longer."""
        self._settle.stop()
        for links in self._links.values():
            links.close()
        self._links.clear()
        self._copies.clear()
        self.model.layers.clear()

    def _remove(self, source: Layer) -> None:
        if source not in self._copies:
            return
        self._links.pop(source).close()
        self._stale.discard(source)
        self._strokes.discard(source)
        self._drawn_at.pop(source, None)
        copy = self._copies.pop(source)
        with keeping_active(self.model, copy):
            self.model.layers.remove(copy)

    def _on_moved(self, event: Any) -> None:
        if event.value in self._copies:
            before = self.model.layers.index(self._copies[event.value])
            target = self._index_of(event.value)
            self.model.layers.move(before, target if target < before else target + 1)

    def _index_of(self, source: Layer) -> int:
        """Where its copy belongs."""
        # A part of napari's list would be another list with all its events.
        above = takewhile(lambda layer: layer is not source, self.main.layers)
        return sum(layer in self._copies for layer in above)

    def _add(self, source: Layer) -> None:
        over = display.OVERLAY in source.metadata
        if self.plane is None and over:
            return  # in 3D an outline would be a shell that hides the brain
        data, meta, kind = source.as_layer_data_tuple()
        meta = {**meta, "metadata": {display.OVERLAY: True} if over else {}}
        if kind == "image":
            meta["contrast_limits"] = source.contrast_limits
        copy = Layer.create(data, meta, kind)
        vars(copy)["_update_thumbnail"] = lambda: None  # in no list that anybody sees
        self._copies[source] = copy
        if self.plane is None and isinstance(source, Labels):
            # Structures inside the brain must be visible through it.
            copy.blending = "translucent_no_depth"
        self._links[source] = self._make_links(source, copy)
        with keeping_active(self.model):
            display.insert(self.model, self._index_of(source), copy)
        order = self.plane.order if self.plane else VOLUME_ORDER
        if self.model.dims.ndim == 3 and tuple(self.model.dims.order) != order:
            self.model.dims.order = order
        if self.plane is None:
            if display.COARSE in source.metadata:
                self._fill(source, copy)
            self.volume.dress(source, copy)
            self.volume.cut(copy)
        elif isinstance(source, Labels):
            SharedTools(source, copy, self._links[source])
        self._follow_point()
        self._share_active()

    def _make_links(self, source: Layer, copy: Layer) -> Links:
        links = Links()
        own: tuple[str, ...] = LABELS if isinstance(source, Labels) else COLORS
        data: tuple[str, ...] = ("data", *PLACE)
        if self.plane is None and not isinstance(source, Labels):
            data, own = (*data, *COLORS), ()
        for name in data:
            if hasattr(source.events, name):
                links.connect(getattr(source.events, name), lambda _=None: self._on_data(source))
        in_depth = self.plane is None and isinstance(source, Labels)
        for name in (*MIRRORED, *own):
            if name == "blending" and in_depth:
                continue
            if hasattr(copy, name) and hasattr(source.events, name):
                links.connect(getattr(source.events, name), self._mirror(source, copy, name))
        if isinstance(source, Labels):
            # The array is shared: a brush stroke, or its undo, only has to be redrawn.
            links.connect(source.events.labels_update, lambda _=None: self._on_stroke(source))
            links.connect(source.events.set_data, lambda _=None: self._on_drawn(source))
        return links

    @staticmethod
    def _mirror(source: Layer, copy: Layer, name: str) -> Callable:
        return lambda _=None: setattr(copy, name, getattr(source, name))

    def set_dragged(self, dragged: bool) -> None:
        """During a drag, delay slow drawing."""
        self._dragged = dragged

    def _on_data(self, source: Layer) -> None:
        if not isinstance(source, VOXELS):
            self._wait_for(source, SETTLE_MS)
        elif self.plane is None and source.visible:
            self._wait_for(source, DRAG_MS if self._dragged else SETTLE_MS)
        else:
            self._update(source)

    def _wait_for(self, source: Layer, pause_ms: int) -> None:
        self._stale.add(source)
        self._settle.start(pause_ms)

    def _on_stroke(self, source: Layer) -> None:
        self._strokes.add(source)
        self._on_data(source)

    def _on_drawn(self, source: Layer) -> None:
        """A slice of labels was redrawn: a different slice, or an edited one."""
        point = tuple(self.main.dims.point)
        if self._drawn_at.get(source) == point:
            self._on_stroke(source)
        self._drawn_at[source] = point

    def _update(self, source: Layer) -> None:
        if not isinstance(source, VOXELS):  # their data say too little of what is drawn
            self._remove(source)
            self._add(source)
            return
        copy = self._copies[source]
        self._fill(source, copy)
        if self.plane is None:
            self.volume.dress(source, copy)
        if source in self._strokes:
            self._strokes.discard(source)
            copy.refresh(thumbnail=False, highlight=False, extent=False)
        if self.plane is None:
            self.volume.cut(copy)

    def _fill(self, source: Layer, copy: Layer) -> None:
        """Give a copy the voxels of its source, in 3D those of the coarser grid if there is one."""
        flat = source.data, source.scale, source.translate
        with display.keeping_point(self.main):
            display.put(copy, *(display.in_3d(source) if self.plane is None else flat))
            self._follow_point()

    def _share_active(self, _: Any = None) -> None:
        """Select the copy of the active layer."""
        selection, active = self.model.layers.selection, self.main.layers.selection.active
        copy = self._copies.get(active) if active is not None else None
        if self.plane is not None and selection.active is not copy:
            selection.active = copy

    def _follow_point(self, _: Any = None) -> None:
        self._copy_point(self.main, self.model)

    def _copy_point(self, leader: ViewerModel, follower: ViewerModel) -> None:
        # World millimetres, not steps: the ranges of two viewers may differ.
        point = leader.dims.point
        if self._syncing or len(point) != len(follower.dims.point):
            return
        if self.main in display.changing:
            display.changing[self.main] = True
            return
        self._syncing = True
        try:
            if tuple(follower.dims.point) != tuple(point):
                follower.dims.point = point
        finally:
            self._syncing = False
