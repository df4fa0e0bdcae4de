"""A viewer model that mirrors another one with a different slicing.

A napari layer owns its slice and so cannot be in two viewers: a follower has copies that share the
numpy array, and forwards a few attributes. Only public napari API is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from napari.components import ViewerModel
from napari.layers import Labels, Layer
from qtpy.QtCore import QTimer

from napari_stylegan3d.views.captions import FLAT, OVERLAY
from napari_stylegan3d.views.display import in_3d, keeping_point, put
from napari_stylegan3d.views.orientation import (
    VOLUME_ORDER,
    ViewPlane,
)
from napari_stylegan3d.views.strokes import SharedTools, share_active
from napari_stylegan3d.views.volume import VolumeLook

#: Layer attributes that are synchronised (if the layer type has them).
MIRRORED = (
    "gamma",
    "opacity",
    "visible",
    "blending",
    "name",
    "interpolation2d",
    "projection_mode",
)
#: In the planes only: the 3D view has its own colours.
COLORS = ("contrast_limits", "colormap")
#: How labels are drawn; their colours are the same everywhere.
LABELS = ("colormap", "contour", "selected_label", "show_selected_label")
#: Set together with the voxels.
PLACE = ("scale", "translate")

#: Ray casting is slow without a graphics card: the 3D view is updated after this pause.
SETTLE_MS = 150
#: The same during a drag, when the next change is imminent.
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
        self._links: dict[Layer, list[tuple[Any, Callable]]] = {}
        self._tools: dict[Layer, SharedTools] = {}
        self._syncing = False
        self._stale: set[Layer] = set()
        #: Painted labels, and the crosshair when they were last drawn.
        self._strokes: set[Layer] = set()
        self._drawn_at: dict[Layer, tuple[float, ...]] = {}
        self._settle = QTimer()
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self.settle)
        if plane is None:
            self.model.dims.ndisplay = 3
        for layer in main.layers:
            self._add(layer)
        self._viewer_links = [
            (main.layers.events.inserted, self._on_inserted),
            (main.layers.events.removed, self._on_removed),
            (main.layers.events.moved, self._on_moved),
            (main.dims.events.point, self._follow_point),
        ]
        if plane is not None:
            # The 3D view has no slices, and its grid may lag behind.
            self._viewer_links.append((self.model.dims.events.point, self._lead_point))
            self._viewer_links.append((main.layers.selection.events.active, self._share_active))
        for signal, slot in self._viewer_links:
            signal.connect(slot)
        self._follow_point()

    def settle(self) -> None:
        """Update the data now, without the delay of the 3D view."""
        self._settle.stop()
        # What has only slices waits for its volume.
        flat = {layer for layer in self._stale if layer.metadata.get(FLAT)}
        for layer in self._stale - flat:
            if layer in self._copies:
                self._update(layer)
        self._stale = flat
        self._follow_point()

    def redraw(self, source: Layer) -> None:
        """Redraw a layer whose voxels changed in place."""
        if self.plane is None:
            self._on_stroke(source)
        elif source in self._copies:
            self._copies[source].refresh(thumbnail=False, highlight=False, extent=False)

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
        self._settle.start()

    def close(self) -> None:
        """Disconnect from the main viewer."""
        self._settle.stop()
        for signal, slot in self._viewer_links:
            signal.disconnect(slot)
        for links in self._links.values():
            for signal, slot in links:
                signal.disconnect(slot)
        for tools in self._tools.values():
            tools.close()
        self._tools.clear()
        self._links.clear()
        self._copies.clear()
        self.model.layers.clear()

    def _on_inserted(self, event: Any) -> None:
        self._add(event.value)

    def _on_removed(self, event: Any) -> None:
        if event.value not in self._copies:
            return
        for signal, slot in self._links.pop(event.value):
            signal.disconnect(slot)
        if event.value in self._tools:
            self._tools.pop(event.value).close()
        self._stale.discard(event.value)
        self._strokes.discard(event.value)
        self._drawn_at.pop(event.value, None)
        self.model.layers.remove(self._copies.pop(event.value))

    def _on_moved(self, event: Any) -> None:
        if event.value in self._copies:
            copy = self._copies[event.value]
            before = self.model.layers.index(copy)
            target = self._index_of(event.value)
            self.model.layers.move(before, target if target < before else target + 1)

    def _index_of(self, source: Layer) -> int:
        """Where its copy belongs."""
        layers = self.main.layers
        return sum(layer in self._copies for layer in layers[: layers.index(source)])

    def _add(self, source: Layer) -> None:
        if self.plane is None and OVERLAY in source.metadata:
            return  # in 3D an outline would be a shell that hides the brain
        data, meta, kind = source.as_layer_data_tuple()
        meta = {**meta, "metadata": {OVERLAY: True} if OVERLAY in source.metadata else {}}
        if kind == "image":
            meta["contrast_limits"] = source.contrast_limits
        copy = Layer.create(data, meta, kind)
        self._copies[source] = copy
        if self.plane is None and isinstance(source, Labels):
            # Structures inside the brain must be visible through it.
            copy.blending = "translucent_no_depth"
        self._links[source] = self._make_links(source, copy)
        self.model.layers.insert(self._index_of(source), copy)
        order = self.plane.order if self.plane else VOLUME_ORDER
        if self.model.dims.ndim == 3 and tuple(self.model.dims.order) != order:
            self.model.dims.order = order
        if self.plane is None:
            self._fill(source, copy)
            self.volume.dress(source, copy)
            self.volume.cut(copy)
        elif isinstance(source, Labels):
            self._tools[source] = SharedTools(source, copy)
        self._follow_point()
        self._share_active()

    def _make_links(self, source: Layer, copy: Layer) -> list[tuple[Any, Callable]]:
        links: list[tuple[Any, Callable]] = []
        own: tuple[str, ...] = LABELS if isinstance(source, Labels) else COLORS
        data: tuple[str, ...] = ("data", *PLACE)
        if self.plane is None and not isinstance(source, Labels):
            data, own = (*data, *COLORS), ()
        for name in data:
            if hasattr(source.events, name):
                self._link(
                    links, getattr(source.events, name), lambda _=None: self._on_data(source)
                )
        in_depth = self.plane is None and isinstance(source, Labels)
        for name in (*MIRRORED, *own):
            if name == "blending" and in_depth:
                continue
            if hasattr(copy, name) and hasattr(source.events, name):
                self._link(links, getattr(source.events, name), self._mirror(source, copy, name))
        if isinstance(source, Labels):
            # The array is shared: a brush stroke, or its undo, only has to be redrawn.
            self._link(links, source.events.labels_update, lambda _=None: self._on_stroke(source))
            self._link(links, source.events.set_data, lambda _=None: self._on_drawn(source))
        return links

    @staticmethod
    def _link(links: list, signal: Any, slot: Callable) -> None:
        signal.connect(slot)
        links.append((signal, slot))

    @staticmethod
    def _mirror(source: Layer, copy: Layer, name: str) -> Callable:
        return lambda _=None: setattr(copy, name, getattr(source, name))

    def set_dragged(self, dragged: bool) -> None:
        """During a drag, delay slow drawing."""
        self._settle.setInterval(DRAG_MS if dragged else SETTLE_MS)

    def _on_data(self, source: Layer) -> None:
        if self.plane is None and source.visible:
            self._stale.add(source)
            self._settle.start()
        else:
            self._update(source)

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
        with keeping_point(self.main):
            put(copy, *(in_3d(source) if self.plane is None else flat))
        self._follow_point()

    def _share_active(self, _: Any = None) -> None:
        if self.plane is not None:
            share_active(self.main, self.model, self._copies)

    def _follow_point(self, _: Any = None) -> None:
        self._copy_point(self.main, self.model)

    def _lead_point(self, _: Any = None) -> None:
        self._copy_point(self.model, self.main)

    def _copy_point(self, leader: ViewerModel, follower: ViewerModel) -> None:
        # World millimetres, not steps: the ranges of two viewers may differ.
        point = leader.dims.point
        if self._syncing or len(point) != len(follower.dims.point):
            return
        self._syncing = True
        try:
            if tuple(follower.dims.point) != tuple(point):
                follower.dims.point = point
        finally:
            self._syncing = False
