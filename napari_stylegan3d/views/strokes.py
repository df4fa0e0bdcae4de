"""napari's label tools in all planes: the same brush, layer and undo history.

A follower shows a copy of the layer that shares its voxels. While the layer is active, so is its
copy, with the same tool; each stroke on the copy is applied to the layer instead.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtCore import QTimer

#: Synchronised tool settings.
TOOLS = (
    "brush_size",
    "n_edit_dimensions",
    "contiguous",
    "preserve_labels",
    "selected_label",
    "mode",
)
#: Modes that transform the layer, which copies follow separately.
NOT_SHARED = ("transform",)
#: napari's keys that act on a layer's edit history.
UNDO, REDO = "Control-Z", "Control-Shift-Z"


class SharedTools:
    """Makes painting on a copy of a labels layer act on the layer itself.

    Parameters
    ----------
    source : Labels
        The layer of the main viewer.
    copy : Labels
        Its copy in another viewer, sharing the voxels.
    """

    def __init__(self, source: Labels, copy: Labels) -> None:
        self.source, self.copy = source, copy
        self._links: list[tuple[Any, Callable]] = []
        for name in TOOLS:
            self._share(name, source, copy)
            for one, other in ((source, copy), (copy, source)):
                link = getattr(one.events, name), partial(self._share, name, one, other)
                self._links.append(link)
        # napari emits some changes before making them.
        self._links.append((copy.events.paint, lambda _: QTimer.singleShot(0, self._on_stroke)))
        for signal, slot in self._links:
            signal.connect(slot)
        copy.bind_key(UNDO, lambda _: source.undo(), overwrite=True)
        copy.bind_key(REDO, lambda _: source.redo(), overwrite=True)

    def close(self) -> None:
        """Disconnect from both."""
        for signal, slot in self._links:
            signal.disconnect(slot)
        self._links.clear()

    @staticmethod
    def _share(name: str, one: Labels, other: Labels, _: Any = None) -> None:
        value = getattr(one, name)
        if name == "mode" and str(value) in NOT_SHARED:
            value = "pan_zoom"
        if getattr(other, name) != value:
            setattr(other, name, value)

    def _on_stroke(self) -> None:
        """Move a stroke from the copy to the layer."""
        if not self._links:
            return
        done = np.asarray(self.copy.data).copy()
        self.copy.undo()
        places = np.nonzero(done != np.asarray(self.source.data))
        self.source.data_setitem(places, done[places])


def share_active(main: ViewerModel, model: ViewerModel, copies: dict[Any, Any]) -> None:
    """Select in a follower the copy of the active layer."""
    copy = copies.get(main.layers.selection.active)
    if model.layers.selection.active is not copy:
        model.layers.selection.active = copy
