"""Masked regions: painted here, or drawn in any Labels layer."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtCore import QObject, Signal

from napari_stylegan3d.project.label_maps import KEY
from napari_stylegan3d.views.captions import OVERLAY
from stylegan3d.geometry.space import voxel_ml_of

if TYPE_CHECKING:
    from stylegan3d.geometry.space import Space
    from stylegan3d.projection.operators import Mask


@dataclass(frozen=True, eq=False)
class Region:
    """A region that is excluded from the comparison.

    Attributes
    ----------
    data : ndarray, shape (I, J, K), bool
    affine : ndarray or None
        (4, 4) voxel indices to millimetres; None if `data` is on the model's grid.
    of_scan : bool
        Whether these are millimetres of the scan's native space, not of model space.
    """

    data: np.ndarray
    affine: np.ndarray | None = None
    of_scan: bool = False

    @property
    def millilitres(self) -> float:
        """Its volume, if it has an affine."""
        assert self.affine is not None
        return float(np.count_nonzero(self.data) * voxel_ml_of(self.affine))

    def to_plain(self) -> dict[str, Any]:
        """For JSON: its voxels as bits, compressed."""
        bits = zlib.compress(np.packbits(self.data).tobytes())
        return {
            "shape": [int(n) for n in self.data.shape],
            "bits": base64.b64encode(bits).decode(),
            "affine": None if self.affine is None else np.asarray(self.affine).tolist(),
            "of_scan": self.of_scan,
        }

    @classmethod
    def from_plain(cls, plain: Any) -> Region | None:
        """Inverse of `to_plain`; None if invalid, since files can be edited."""
        try:
            x, y, z = (int(n) for n in plain["shape"])
            count = x * y * z
            length = -(-count // 8)
            # A damaged file may contain more than it declares.
            bits = zlib.decompressobj().decompress(base64.b64decode(plain["bits"]), length + 1)
            if len(bits) != length:
                return None
            data = np.unpackbits(np.frombuffer(bits, np.uint8), count=count)
            affine = plain["affine"]
            affine = None if affine is None else np.array(affine, np.float64).reshape(4, 4)
            return cls(data.reshape(x, y, z).astype(bool), affine, bool(plain["of_scan"]))
        except (KeyError, TypeError, ValueError, zlib.error):
            return None

    def mask(self, space: Space) -> Mask:
        """As an operator, for a model whose grid is `space`."""
        from stylegan3d.errors import ScanError
        from stylegan3d.geometry.space import Space
        from stylegan3d.projection.masks import mask_on
        from stylegan3d.projection.operators import Mask

        if self.affine is None:
            return Mask(self.data)
        if self.of_scan:
            return Mask(self.data, self.affine)
        shape = (self.data.shape[0], self.data.shape[1], self.data.shape[2])
        there = mask_on(space, self.data, Space(shape, self.affine))
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
        labels = self.layer.metadata.get(KEY)
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
    """

    changed = Signal()

    def __init__(
        self,
        viewer: ViewerModel,
        own: Callable[[], Labels | None],
        is_of_case: Callable[[Labels], bool],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._own, self._is_of_case = viewer, own, is_of_case
        #: The layer that is hidden while the filled scan is shown.
        self._veiled: Labels | None = None
        self._signals = [viewer.layers.events.inserted, viewer.layers.events.removed]
        for signal in self._signals:
            signal.connect(self._on_change)

    def entries(self) -> list[tuple[str, LayerChoice]]:
        """Text and data of each entry."""
        found = []
        labels = (layer for layer in self._viewer.layers if isinstance(layer, Labels))
        for layer in filter(self._is_of_case, labels):
            if KEY in layer.metadata:
                found.append((layer.name, LayerChoice(layer, True)))
            elif self._is_offered(layer):
                found.append(
                    (
                        f"{layer.name}, on the aligned scan",
                        LayerChoice(layer, False),
                    )
                )
                found.append(
                    (
                        f"{layer.name}, on the original scan",
                        LayerChoice(layer, True),
                    )
                )
        return found

    def show_for(self, view: str, choice: object) -> None:
        """Hide the layer of the region while the scan is shown filled in: it would cover that."""
        layer = choice.layer if isinstance(choice, LayerChoice) else None
        if view == "filled" and layer is not None and layer.visible:
            layer.visible, self._veiled = False, layer
        elif view != "filled" and self._veiled is not None:
            self._veiled.visible, self._veiled = True, None

    def shutdown(self) -> None:
        """Disconnect from the viewer."""
        for signal in self._signals:
            signal.disconnect(self._on_change)

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
