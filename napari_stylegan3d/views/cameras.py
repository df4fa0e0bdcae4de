"""Linked or independent zoom and pan of the three planes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from napari.components import ViewerModel

from napari_stylegan3d.views.orientation import ViewPlane


class LinkedCameras:
    """Keeps one scale and one centre in all planes.

    Parameters
    ----------
    views : sequence of tuple of (ViewPlane, ViewerModel)
        (plane, model) of each.
    """

    def __init__(self, views: Sequence[tuple[ViewPlane, ViewerModel]]) -> None:
        self._views = list(views)
        self.linked = True
        self._busy = False
        self._slots = [
            (signal, partial(self._follow, index))
            for index, (_, model) in enumerate(self._views)
            for signal in (model.scene.camera.events.zoom, model.scene.camera.events.center)
        ]
        for signal, slot in self._slots:
            signal.connect(slot)

    def set_linked(self, linked: bool) -> None:
        """Link the planes, starting from the first plane's scale and centre; or unlink them."""
        self.linked = linked
        self._follow(0)

    def close(self) -> None:
        """Disconnect from the models."""
        for signal, slot in self._slots:
            signal.disconnect(slot)
        self._slots.clear()

    def _follow(self, leader: int, _: Any = None) -> None:
        if self._busy or not self.linked:
            return
        plane, model = self._views[leader]
        if model.dims.ndisplay != 2:
            return
        rows, columns = plane.order[1:]
        middle = dict(zip((rows, columns), model.scene.camera.center[-2:], strict=True))
        self._busy = True
        try:
            for index, (other, follower) in enumerate(self._views):
                if index != leader and follower.dims.ndisplay == 2:
                    self._move(follower, other, middle, model.scene.camera.zoom)
        finally:
            self._busy = False

    @staticmethod
    def _move(model: ViewerModel, plane: ViewPlane, middle: dict[int, float], zoom: float) -> None:
        camera = model.scene.camera
        old = camera.center[-2:]
        new = tuple(
            middle.get(axis, value) for axis, value in zip(plane.order[1:], old, strict=True)
        )
        if not np.allclose(new, old):
            camera.center = (0.0, *new)
        if camera.zoom != zoom:
            camera.zoom = zoom
