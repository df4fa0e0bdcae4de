"""A region painted on an aligned scan, which a projection masks and fills in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtCore import QObject, QTimer, Signal

from napari_stylegan3d.project.regions import Region
from napari_stylegan3d.views.captions import NAMES
from napari_stylegan3d.views.display import upright

if TYPE_CHECKING:
    from stylegan3d.geometry.space import Space

NAME = "Region to fill in"
#: Name of its voxels in the readout.
MASKED = "masked"


class RegionPainter(QObject):
    """A labels layer on the model's grid, painted with napari's brush in any of the planes."""

    changed = Signal(float)
    """Millilitres that are painted."""
    brushChanged = Signal(float)
    """Diameter of the brush in mm, after a key of napari's changed it."""

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.layer: Labels | None = None
        self._space: Space | None = None
        self._brush_mm = 10.0
        #: The data before the last stroke.
        self._before: np.ndarray | None = None

    def begin(self, space: Space) -> None:
        """Start painting; an earlier region on the same grid is kept."""
        if self.layer is None or self.layer not in self.viewer.layers:
            self._add(space)
        assert self.layer is not None
        self.layer.visible = True
        self.viewer.layers.selection.active = self.layer
        # Only now, since napari's layer controls, created just before, set this to 2.
        self.layer.n_edit_dimensions = 3
        self.set_erasing(False)

    def end(self) -> None:
        """Stop painting: the mouse moves the crosshair again. The region is kept."""
        if self.layer is not None:
            self.layer.mode = "pan_zoom"

    def forget(self) -> None:
        """Remove the region."""
        if self.layer is not None and self.layer in self.viewer.layers:
            self.viewer.layers.remove(self.layer)
        self.layer, self._space = None, None
        self.changed.emit(0.0)

    def clear(self) -> None:
        """Erase all of it."""
        if self.layer is not None:
            self.layer.data = np.zeros_like(self.layer.data)
            self._before = self.layer.data.copy()

    def set_erasing(self, erasing: bool) -> None:
        """Whether the brush erases."""
        if self.layer is not None:
            self.layer.mode = "erase" if erasing else "paint"

    def set_brush(self, diameter_mm: float) -> None:
        """Set the diameter of the spherical brush."""
        self._brush_mm = diameter_mm
        if self.layer is not None:
            with self.layer.events.brush_size.blocker(self._on_brush):
                self.layer.brush_size = max(1.0, diameter_mm / float(min(self.layer.scale)))

    def set_visible(self, visible: bool) -> None:
        """Whether the region is drawn."""
        # napari ends painting even if nothing changes.
        if self.layer is not None and self.layer.visible != visible:
            self.layer.visible = visible

    def region(self) -> Region | None:
        """The painted region on the model's grid; None if empty."""
        if self.layer is None or self._space is None or not np.any(self.layer.data):
            return None
        to_ras = nib.io_orientation(self._space.affine)
        ras = nib.orientations.axcodes2ornt("RAS")
        back = nib.orientations.ornt_transform(ras, to_ras)
        marked = nib.apply_orientation(np.asarray(self.layer.data) > 0, back)
        return Region(np.ascontiguousarray(marked))

    def restore(self, region: Region, space: Space) -> None:
        """Restore a region on the model's grid, without starting to paint."""
        if tuple(region.data.shape) != tuple(space.shape):
            return  # of another model
        self._add(space)
        assert self.layer is not None
        shown = upright(region.data.astype(np.uint8), space.affine)
        self.layer.data = np.ascontiguousarray(shown.data)
        self._before = self.layer.data.copy()
        self.layer.mode = "pan_zoom"
        self.layer.visible = False

    def _add(self, space: Space) -> None:
        shown = upright(np.zeros(space.shape, np.uint8), space.affine)
        self._space = space
        self.layer = Labels(
            np.ascontiguousarray(shown.data),
            name=NAME,
            opacity=0.5,
            metadata={NAMES: {1: MASKED}},
            **shown.layer_kwargs(),
        )
        self.layer.selected_label = 1
        self._before = np.zeros(self.layer.data.shape, self.layer.data.dtype)
        self.viewer.layers.append(self.layer)
        self.set_brush(self._brush_mm)
        for event in (self.layer.events.labels_update, self.layer.events.data):
            event.connect(self.emit_volume)
        self.layer.events.brush_size.connect(self._on_brush)
        # napari emits a stroke before drawing it.
        self.layer.events.paint.connect(lambda _: QTimer.singleShot(0, self._follow))

    def _on_brush(self, _: object = None) -> None:
        if self.layer is not None:
            diameter_mm = float(self.layer.brush_size * min(self.layer.scale))
            self._brush_mm = diameter_mm
            self.brushChanged.emit(diameter_mm)

    def _follow(self) -> None:
        """After a stroke, move the other planes through it."""
        if self.layer is None or self._before is None:
            return
        now = np.asarray(self.layer.data)
        places = np.argwhere(now != self._before)
        self._before = now.copy()
        if len(places):
            away = np.linalg.norm(places - places.mean(axis=0), axis=1)
            place = np.asarray(self.layer.data_to_world(tuple(places[away.argmin()].tolist())))
            point = np.asarray(self.viewer.dims.point)
            # The plane that was painted in stays where it is.
            in_plane = np.abs(place - point).argmin()
            place[in_plane] = point[in_plane]
            self.viewer.dims.point = tuple(place.tolist())

    def emit_volume(self, _: object = None) -> None:
        """Emit the painted volume."""
        if self.layer is not None:
            voxel_ml = float(np.prod(self.layer.scale)) / 1000
            self.changed.emit(float(np.count_nonzero(self.layer.data)) * voxel_ml)
