"""A region that a projection masks and fills in: painted or of a Labels layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_stylegan3d.project.overlay import LABEL_MAP
from napari_stylegan3d.views.display import NAMES, OVERLAY, hear_strokes, upright
from napari_stylegan3d.views.layers import OwnLayer
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import Links
from stylegan3d.session.annotations import Region

if TYPE_CHECKING:
    from stylegan3d.geometry.space import Space
    from stylegan3d.projection.forward import Mask


def mask_of(region: Region, space: Space) -> Mask:
    """A region as an operator, for a model whose grid is `space`."""
    from stylegan3d.base import ScanError
    from stylegan3d.projection.forward import Mask, mask_on

    if region.of_scan:
        return Mask(region.data, region.affine)
    there = mask_on(space, region.data, region.space)
    if not there.any():
        raise ScanError(
            "The Labels layer is empty inside the model's field of view. If it was "
            "drawn on the original scan, choose that entry."
        )
    return Mask(there)


@dataclass(frozen=True, eq=False)
class LayerChoice:
    """A Labels layer, and the space in which it was drawn."""

    layer: Labels
    of_scan: bool

    def region(self) -> Region | None:
        """Its region; None if empty."""
        labels = self.layer.metadata.get(LABEL_MAP)
        if labels is not None:  # the original, not resampled for display
            return Region(labels.data != 0, labels.affine, of_scan=True)
        data = np.asarray(self.layer.data) != 0
        return Region(data, affine_of(self.layer), self.of_scan) if data.any() else None


class LayerRegions(QObject):
    """Labels layers that can serve as a region.

    Parameters
    ----------
    viewer : ViewerModel
        Whose layers are offered.
    own : callable
        Returns our own painted layer, which is not offered.
    is_of_case : callable
        Whether a layer is the current patient's, or nobody's; others are not offered.
    links : Links
        Of what ends it.
    """

    changed = Signal()

    def __init__(
        self,
        viewer: ViewerModel,
        own: Callable[[], Labels | None],
        is_of_case: Callable[[Labels], bool],
        parent: QObject,
        links: Links,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._own, self._is_of_case = viewer, own, is_of_case
        #: The layer that is hidden while the filled scan is shown.
        self._veiled: Labels | None = None
        for signal in (viewer.layers.events.inserted, viewer.layers.events.removed):
            links.connect(signal, self._on_change)

    def entries(self) -> list[tuple[str, LayerChoice]]:
        """Text and data of each entry."""
        found = []
        labels = (layer for layer in self._viewer.layers if isinstance(layer, Labels))
        for layer in filter(self._is_of_case, labels):
            if LABEL_MAP in layer.metadata:
                found.append((layer.name, LayerChoice(layer, True)))
            elif self._is_offered(layer):
                found.append((f"{layer.name}, on the aligned scan", LayerChoice(layer, False)))
                found.append((f"{layer.name}, on the original scan", LayerChoice(layer, True)))
        return found

    def show_for(self, view: str, choice: object) -> None:
        """Hide the layer of the region while the scan is shown filled in: it would cover that."""
        layer = choice.layer if isinstance(choice, LayerChoice) else None
        if view == "filled" and layer is not None and layer.visible:
            layer.visible, self._veiled = False, layer
        elif view != "filled" and self._veiled and self._is_of_case(self._veiled):
            self._veiled.visible, self._veiled = True, None

    def _is_offered(self, layer: Labels) -> bool:
        if layer is self._own() or layer.metadata.get(OVERLAY):
            return False
        return layer.ndim == 3 and not layer.multiscale

    def _on_change(self, event: Any = None) -> None:
        if event is None or isinstance(event.value, Labels):
            self.changed.emit()


def affine_of(layer: Labels) -> np.ndarray:
    """(4, 4) voxel indices to the viewer's millimetres.

    Determined from four points, since scale, translate, rotate, shear and affine are all affine.
    """
    origin = np.asarray(layer.data_to_world((0.0, 0.0, 0.0)))
    affine = np.eye(4)
    affine[:3, 3] = origin
    for axis, step in enumerate(np.eye(3)):
        affine[:3, axis] = np.asarray(layer.data_to_world(tuple(step))) - origin
    return affine


NAME = "Region to fill in"
#: Name of its voxels in the readout.
MASKED = "masked"


class RegionPainter(QObject, OwnLayer):
    """A labels layer on the model's grid, painted with napari's brush in any of the planes."""

    #: Millilitres that are painted.
    changed = Signal(float)
    #: Diameter of the brush in mm, after a key of napari's changed it.
    brushChanged = Signal(float)

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.space: Space | None = None
        self._brush_mm = 10.0
        #: The data before the last stroke.
        self._before: np.ndarray | None = None

    def begin(self, space: Space) -> None:
        """Start painting; an earlier region on the same grid is kept."""
        if not self.there:
            self._add(space, np.zeros(space.shape, np.uint8))
        self.layer.visible = True
        self.viewer.layers.selection.active = self.layer
        # Only now, since napari's layer controls, created just before, set this to 2.
        self.layer.n_edit_dimensions = 3
        self.set_erasing(False)

    def forget(self) -> None:
        """Remove the region."""
        self.remove()
        self.space = None
        self.changed.emit(0.0)

    def clear(self) -> None:
        """Erase all of it, as a stroke that can be undone."""
        if self.layer is not None:
            self.layer.data_setitem(np.nonzero(self.layer.data), 0)
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

    def region(self) -> Region | None:
        """The painted region on the model's grid; None if empty."""
        if self.layer is None or self.space is None or not np.any(self.layer.data):
            return None
        ras, own = nib.orientations.axcodes2ornt("RAS"), nib.io_orientation(self.space.affine)
        back = nib.orientations.ornt_transform(ras, own)
        marked = nib.apply_orientation(np.asarray(self.layer.data) > 0, back)
        return Region(np.ascontiguousarray(marked), self.space.affine)

    def restore(self, region: Region, space: Space) -> None:
        """Restore a region on the model's grid, without starting to paint."""
        if tuple(region.data.shape) != tuple(space.shape):
            return  # of another model
        self._add(space, region.data.astype(np.uint8))
        self.emit_volume()
        self.put_brush_down()
        self.layer.visible = False

    def _add(self, space: Space, data: np.ndarray) -> None:
        shown = upright(data, space.affine)
        self.space = space
        layer = Labels(
            np.ascontiguousarray(shown.data),
            name=NAME,
            opacity=0.5,
            metadata={NAMES: {1: MASKED}},
            **shown.layer_kwargs(),
        )
        self.add(layer)
        self.layer.selected_label = 1
        self._before = self.layer.data.copy()
        self.set_brush(self._brush_mm)
        hear_strokes(self.layer, self.emit_volume)
        self.layer.events.brush_size.connect(self._on_brush)
        self.layer.events.paint.connect(self._on_paint)

    def _on_brush(self, _: object = None) -> None:
        if self.layer is not None:
            diameter_mm = float(self.layer.brush_size * min(self.layer.scale))
            self._brush_mm = diameter_mm
            self.brushChanged.emit(diameter_mm)

    def _on_paint(self, _: object = None) -> None:
        QTimer.singleShot(0, self._follow)  # napari emits a stroke before drawing it

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


PAINTED = "Painted region"


class PaintBox(QWidget):
    """Checkbox, source of the region, brush and eraser, and volume."""

    fillChanged = Signal(bool)
    regionChanged = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.fill = controls.check("project.fill")
        self.source = controls.combo("project.region")
        self.source.addItem(PAINTED, None)
        self.brush = controls.number(
            "project.brush", "Diameter of the spherical brush, in mm.", (2, 60), " mm", value=10
        )
        self.erase = controls.push_button("project.erase", checkable=True)
        self.clear = controls.push_button("project.paint_clear")
        self.painted = controls.hint(name="project.painted")
        self.brushes = QWidget()
        self.brushes.setLayout(controls.row(self.brush, self.erase, self.clear, stretch=0))
        self.tools = QWidget()
        controls.stack(self.source, self.brushes, self.painted, on=self.tools)
        controls.stack(self.fill, self.tools, on=self)
        self.fill.toggled.connect(self._on_fill)
        self.source.currentIndexChanged.connect(lambda _: self.regionChanged.emit())
        self.tools.hide()
        self.show_painted(0.0)

    @property
    def choice(self) -> object:
        """The selected layer from `offer`; None for the painted region."""
        return self.source.currentData()

    def offer(self, entries: Sequence[tuple[str, object]], wish: str) -> None:
        """Set the layers to choose from, text and data of each entry, and choose one by text."""
        before = self.source.currentText()
        controls.fill(self.source, [(PAINTED, None), *entries], dict(entries).get(wish))
        if self.source.currentText() != before:
            self.regionChanged.emit()

    def use(self, layer: object) -> None:
        """Mask the region of a Labels layer that is offered."""
        for index in range(self.source.count()):
            if getattr(self.source.itemData(index), "layer", None) is layer:
                self.source.setCurrentIndex(index)
                self.fill.setChecked(True)
                return

    def show_painted(self, millilitres: float) -> None:
        """Show the masked volume, and the brush for a painted region."""
        painted = self.choice is None
        nothing = "Nothing painted yet: paint in one of the planes."
        self.brushes.setVisible(painted)
        if millilitres:
            self.painted.setText(f"{millilitres:.1f} ml {'painted' if painted else 'masked'}.")
        else:
            self.painted.setText(nothing if painted else "This layer is empty.")
        self.clear.setEnabled(millilitres > 0)

    def show_fill(self, on: bool) -> None:
        """Check the box or not, without emitting signals."""
        controls.show_value(self.fill, on)
        self.tools.setVisible(on)

    def _on_fill(self, on: bool) -> None:
        controls.show_value(self.erase, False)
        self.tools.setVisible(on)
        self.fillChanged.emit(on)
