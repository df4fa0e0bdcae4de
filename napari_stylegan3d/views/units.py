"""Millimetres for layers that say nothing of their unit.

napari warns of inconsistent units, in a message over the window, as soon as a layer in pixels (its
default) lies beside one in millimetres. The views show all of them in millimetres anyway.
"""

from __future__ import annotations

from napari.layers import Layer

MM, PIXEL = "mm", "pixel"


class LayerUnits:
    """Sets the unit of layers in pixels to mm, until `close`."""

    def __init__(self) -> None:
        self._taken: list[Layer] = []

    def take(self, layer: Layer) -> None:
        """A layer that is in the viewer, or was just added."""
        if all(str(unit) == PIXEL for unit in layer.units):
            layer.units = (MM,) * layer.ndim
            self._taken.append(layer)

    def close(self) -> None:
        """Restore their units."""
        for layer in self._taken:
            layer.units = (PIXEL,) * layer.ndim
        self._taken.clear()
