"""Shows a scan, edited or not, with voxels of its own size once the hand rests."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_stylegan3d.core.jobs import Unsharp
from napari_stylegan3d.core.worker import LatestWins
from napari_stylegan3d.views.display import DisplayArray, enlarge, upright
from stylegan3d.memory import give_back, is_out_of_memory
from stylegan3d.progress import Cancelled, Progress

if TYPE_CHECKING:
    from napari_stylegan3d.core.comparison import Comparison
    from napari_stylegan3d.core.rendering import Rendering
    from stylegan3d.render.fine import FineScan
    from stylegan3d.scans import AlignedScan

#: Pause after which the picture is made sharp.
REST_MS = 120


class SharpenController(QObject):
    """Works in a thread of low priority, and gives way to every newer picture."""

    failed = Signal(object)

    def __init__(self, comparison: Comparison, rendering: Rendering, parent: QObject) -> None:
        super().__init__(parent)
        self._comparison, self._rendering = comparison, rendering
        self._fine: tuple[weakref.ref[AlignedScan], FineScan] | None = None
        self._work = LatestWins(self._sharpen, self)
        self._work.ready.connect(self._on_ready)
        self._work.failed.connect(self._on_failed)
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.timeout.connect(self._begin)
        comparison.viewChanged.connect(self._on_view)

    @property
    def busy(self) -> bool:
        """Whether a sharp picture is about to be shown."""
        return self._work.busy or self._rest.isActive()

    def shutdown(self) -> None:
        """Stop; what is being computed is discarded."""
        self._rest.stop()
        self._work.shutdown()

    def _on_view(self, _view: str) -> None:
        if self._comparison.unsharp is None:
            self._rest.stop()
        else:
            self._rest.start(REST_MS)

    def _begin(self) -> None:
        if self._rendering.busy:
            self._rest.start(REST_MS)
        elif (unsharp := self._comparison.unsharp) is not None:
            self._work.submit(unsharp)

    def _sharpen(self, unsharp: Unsharp) -> DisplayArray | None:
        """In the thread."""
        from stylegan3d.render.fine import FineScan

        known = None if self._fine is None else self._fine[0]()
        if self._fine is None or known is not unsharp.aligned:
            self._fine = None  # before the next one is made: two take more memory
            self._fine = weakref.ref(unsharp.aligned), FineScan(unsharp.aligned)
            _ = self._fine[1].unedited
            give_back()
        fine = self._fine[1]
        if fine.space is unsharp.aligned.space:
            return None
        if unsharp.movement is None:
            data = fine.unedited
        else:
            data = fine.edited(unsharp.movement, Progress(cancelled=lambda: self._work.overtaken))
        if unsharp.strength < 1 and unsharp.volume is not None:
            # The picture on the model's grid, and the share of what is finer.
            coarse = enlarge(data, unsharp.volume.shape, "area")
            data = enlarge(unsharp.volume, data.shape) + np.float32(unsharp.strength) * (
                data - enlarge(coarse, data.shape)
            )
        return upright(data, fine.space.affine)

    def _on_ready(self, unsharp: Unsharp, shown: DisplayArray | None) -> None:
        if shown is not None:
            self._comparison.sharpen(unsharp.picture, shown)

    def _on_failed(self, _unsharp: Unsharp, error: Exception) -> None:
        """Without memory for it the picture stays as it is."""
        if isinstance(error, Cancelled):
            return
        self._fine = None
        if not is_out_of_memory(error):
            self.failed.emit(error)
