"""Opened segmentations as napari Labels layers in the space of their scan."""

from __future__ import annotations

import dataclasses
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, Signal

from napari_stylegan3d.core.session import report_done
from napari_stylegan3d.core.worker import LatestWins
from napari_stylegan3d.views.display import DisplayArray, put, upright
from napari_stylegan3d.widgets.controls import Links
from stylegan3d.geometry.space import voxel_ml_of

if TYPE_CHECKING:
    from napari_stylegan3d.core.rendering import DisplayController
    from stylegan3d.scans.scan_data import ScanData

#: Key of the `LabelMap` in a layer's metadata, until the user paints on it.
KEY = "stylegan3d_label_map"
OPACITY = 0.5
OPEN_SIDES = "Its header does not say which side is left: check that it is not mirrored."


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Labels on their own grid, in the world coordinates of their scan.

    Attributes
    ----------
    name : str
        File name without extension.
    data : ndarray, shape (I, J, K)
        Whole numbers; 0 is the background.
    affine : ndarray
        (4, 4) voxel indices to the scan's RAS+ millimetres.
    read : ScanData
        The image as it was read, without voxels.
    """

    name: str
    data: np.ndarray
    affine: np.ndarray
    read: ScanData

    @classmethod
    def of(cls, scan: ScanData, name: str) -> LabelMap:
        """A label map that was read as a scan."""
        kind = np.uint8 if scan.data.max() <= np.iinfo(np.uint8).max else np.int32
        return cls(name, scan.data.astype(kind), scan.affine, scan.without_voxels())

    def beside(self, scan: ScanData) -> LabelMap:
        """The same labels where they lie beside the scan they belong to."""
        from stylegan3d.scans.scan_data import affine_beside

        read = self.read
        affine = affine_beside(read.affine, read.geometry, self.data.shape, scan)
        return dataclasses.replace(self, affine=affine)

    @property
    def doubtful(self) -> bool:
        """Whether its header leaves left and right open, and no scan answers it."""
        return self.read.has_open_sides and self.affine is self.read.affine

    @property
    def path(self) -> Path:
        """Its file."""
        return self.read.path

    @property
    def in_words(self) -> str:
        """Such as "lesion: 1 label, 12.3 ml"."""
        count = len(np.unique(self.data[self.data != 0]))
        size = np.count_nonzero(self.data) * voxel_ml_of(self.affine)
        return f"{self.name}: {count} label{'' if count == 1 else 's'}, {size:.1f} ml"

    def placed(self, rigid: np.ndarray | None) -> DisplayArray:
        """For the views: in the scan's space, or moved to model space by `rigid` (4, 4)."""
        affine = self.affine if rigid is None else rigid @ self.affine
        return upright(self.data, affine, nearest=True)

    def layer(self) -> Labels:
        """A layer in the scan's space."""
        shown = self.placed(None)
        return Labels(
            np.ascontiguousarray(shown.data),
            name=self.name,
            opacity=OPACITY,
            metadata={KEY: self},
            **shown.layer_kwargs(),
        )


class LabelMaps(QObject):
    """Adds layers of label maps and moves them with the scan when it is aligned.

    A layer that the user has painted on is not moved.
    """

    #: (layer of a label map, key of its case): empty if no scan is open.
    added = Signal(object, str)

    def __init__(self, comparison: DisplayController, parent: QObject, links: Links) -> None:
        super().__init__(parent)
        self.comparison, self.viewer = comparison, comparison.stage.viewer
        self.session = comparison.session
        failed = self.session.messages.slot("placing labels")
        self.placing = LatestWins(_placed, self, self._on_placed, failed)
        comparison.placedChanged.connect(self._place)
        comparison.session.caseChanged.connect(self._on_case)
        links.connect(self.viewer.layers.events.removed, self._on_removed)
        self._setting, self._links = False, links
        #: The orientation of the scan that each layer was put beside.
        self._sides: weakref.WeakKeyDictionary[Labels, str | None] = weakref.WeakKeyDictionary()
        #: Case keys of layers, and layers that are hidden while another patient is shown.
        self._owners: weakref.WeakKeyDictionary[Labels, str] = weakref.WeakKeyDictionary()
        self._hidden: weakref.WeakSet[Labels] = weakref.WeakSet()

    def add(self, labels: LabelMap, key: str | None = None) -> None:
        """Add a label map to the case with this key, by default the current one; notify.

        It is hidden while another case is shown, and left out if its own was closed.
        """
        key = self.session.key if key is None else key
        if key and key not in self.session.histories:
            return
        point = self.viewer.dims.point
        labels = self._beside(labels, key)
        layer = labels.layer()
        for edited in (layer.events.labels_update, layer.events.paint):
            self._links.connect(edited, self._on_edited)
        self.viewer.layers.append(layer)
        if key:
            self._owners[layer] = key
            self._sides[layer] = self._side
            maps = dict.fromkeys((*self.session.annotations_of(key).maps, labels.path))
            self.session.annotate(key, maps=tuple(maps))
        if len(point) == self.viewer.dims.ndim:
            self.viewer.dims.point = point
        self._on_case()
        self._report(labels, key)
        if self._rigid is not None:
            self._place()
        self.added.emit(layer, key)

    @property
    def _side(self) -> str | None:
        """The orientation that was said of the current scan."""
        case = self.session.case
        return None if case is None or case.choice is None else case.choice.orientation

    def _turn(self) -> None:
        """Let label maps follow their scan, if it was read again with its sides swapped.

        What was painted on is hidden: nobody knows on which side it was meant.
        """
        case, side = self.session.case, self._side
        if case is None or case.scan is None:
            return
        for layer in [layer for layer in self.viewer.layers if layer in self._sides]:
            if self._owners.get(layer) != case.key or self._sides[layer] == side:
                continue
            self._sides[layer] = side
            labels = layer.metadata.get(KEY)
            if labels is not None:
                layer.metadata[KEY] = labels.beside(case.scan)
                continue
            layer.visible = False
            report_done(f"{layer.name} was painted on and is hidden, as the scan was read again.")
        self._place()

    def _beside(self, labels: LabelMap, key: str) -> LabelMap:
        """The labels where they lie beside the scan of the case with this key, if it has one."""
        scan = self.session.scan_of(key)
        return labels if scan is None else labels.beside(scan)

    @property
    def newest(self) -> Labels | None:
        """The label map of the patient on the screen that was opened last, painted on or not."""
        key = self.session.key
        mine = [layer for layer in self.viewer.layers if self._owners.get(layer) == key]
        return mine[-1] if mine else None

    def _report(self, labels: LabelMap, key: str) -> None:
        """Notify that a label map was added."""
        doubts = [OPEN_SIDES] if labels.doubtful else []
        told = f"Label map {labels.in_words}; shown over the views and in the layer list."
        if key != self.session.key:
            name = next(case.name for case in self.session.patients if case.key == key)
            told = f"Label map {labels.in_words}; it belongs to {name} and is shown with that scan."
        report_done(" ".join([told, *doubts]))

    @property
    def _layers(self) -> list[Labels]:
        return [layer for layer in self.viewer.layers if KEY in layer.metadata]

    @property
    def _rigid(self) -> np.ndarray | None:
        placed = self.comparison.placed
        return None if placed is None else placed[1].rigid

    def is_of_case(self, layer: Labels) -> bool:
        """Whether a layer belongs to the current case, or to none."""
        return self._owners.get(layer, self.session.key) == self.session.key

    def _on_case(self) -> None:
        """Hide other patients' labels, painted on or not; those of closed ones go."""
        self._turn()
        there = self.session.histories
        for layer in [layer for layer in self.viewer.layers if layer in self._owners]:
            if self._owners[layer] not in there:
                self.viewer.layers.remove(layer)
                continue
            ours = self.is_of_case(layer)
            if ours and layer in self._hidden:
                self._hidden.discard(layer)
                layer.visible = True
            elif not ours and layer.visible:
                self._hidden.add(layer)
                layer.visible = False

    def _place(self) -> None:
        layers = [layer for layer in self._layers if self.is_of_case(layer)]
        if layers:
            self.placing.submit((layers, [layer.metadata[KEY] for layer in layers], self._rigid))

    def _on_placed(self, request: tuple[list[Labels], Any, Any], found: list[DisplayArray]) -> None:
        self._setting = True
        try:
            for layer, shown in zip(request[0], found, strict=True):
                if layer in self.viewer.layers and KEY in layer.metadata:
                    put(layer, np.ascontiguousarray(shown.data), shown.scale, shown.translate)
        finally:
            self._setting = False

    def _on_edited(self, event: Any) -> None:
        """Stop moving a layer that the user has edited."""
        if not self._setting:
            self._leave_out(event.source)
            event.source.metadata.pop(KEY, None)

    def _on_removed(self, event: Any) -> None:
        """The user removed a layer from napari's list."""
        if event.value in self._owners:
            self._leave_out(event.value)

    def _leave_out(self, layer: Labels) -> None:
        """The file of a layer does not lie over its scan any longer."""
        key, labels = self._owners.get(layer, ""), layer.metadata.get(KEY)
        if key and labels is not None:
            maps = self.session.annotations_of(key).maps
            rest = tuple(path for path in maps if path != labels.path)
            self.session.annotate(key, maps=rest)


def _placed(request: tuple[Any, list[LabelMap], np.ndarray | None]) -> list[DisplayArray]:
    """In a thread."""
    return [labels.placed(request[2]) for labels in request[1]]
