"""napari's tools for labels in the other planes: the same brush, the same layer, one undo.

A follower shows a copy of the layer that shares its voxels. While the layer is worked on, so is its
copy, with the same tool; each stroke on the copy is then told to the layer as its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtCore import QTimer

#: Settings of the tools, equal in both.
TOOLS = (
    "brush_size",
    "n_edit_dimensions",
    "contiguous",
    "preserve_labels",
    "selected_label",
    "mode",
)
#: Modes in which the layer itself is moved, which its copies follow by other ways.
NOT_SHARED = ("transform",)
#: napari's keys for the edits of a layer, which the copy has none of.
UNDO, REDO = "Control-Z", "Control-Shift-Z"


class SharedTools:
    """Lets a copy of a labels layer be worked on as the layer itself.

    Parameters
    ----------
    source : Labels
        The layer of the main viewer.
    copy : Labels
        Its copy in another one, which shares its voxels.
    """

    def __init__(self, source: Labels, copy: Labels) -> None:
        self.source, self.copy = source, copy
        self._links: list[tuple[Any, Callable]] = []
        for name in TOOLS:
            self._share(name, source, copy)
            for one, other in ((source, copy), (copy, source)):
                link = getattr(one.events, name), partial(self._share, name, one, other)
                self._links.append(link)
        # napari tells of some changes before it has made them.
        self._links.append((copy.events.paint, lambda _: QTimer.singleShot(0, self._on_stroke)))
        for signal, slot in self._links:
            signal.connect(slot)
        copy.bind_key(UNDO, lambda _: source.undo(), overwrite=True)
        copy.bind_key(REDO, lambda _: source.redo(), overwrite=True)

    def close(self) -> None:
        """Let go of both."""
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
        """What was done to the copy is taken back there, and done to the layer."""
        if not self._links:
            return
        done = np.asarray(self.copy.data).copy()
        self.copy.undo()
        places = np.nonzero(done != np.asarray(self.source.data))
        self.source.data_setitem(places, done[places])


def share_active(main: ViewerModel, model: ViewerModel, copies: dict[Any, Any]) -> None:
    """Make a follower work on the copy of the layer that is worked on."""
    copy = copies.get(main.layers.selection.active)
    if model.layers.selection.active is not copy:
        model.layers.selection.active = copy
