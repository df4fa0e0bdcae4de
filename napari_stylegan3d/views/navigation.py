"""The mouse in a 2D view: click or drag moves the crosshair, the wheel goes through the slices.

Shift-drag pans and Ctrl-wheel zooms, as in other viewers of medical images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel

ZOOM_PER_NOTCH = 1.15


def _may_navigate(model: ViewerModel) -> bool:
    """Whether the mouse is free: 2D, and no layer is being painted or edited."""
    active = model.layers.selection.active
    return model.dims.ndisplay == 2 and (active is None or str(active.mode) == "pan_zoom")


def nearest_voxel(model: ViewerModel, position: Sequence[float]) -> tuple[float, ...]:
    """Centre in mm of the voxel nearest to a position, inside the field of view."""
    ranges = np.array([tuple(axis) for axis in model.dims.range])
    low, high, step = ranges.T
    inside = np.clip(np.asarray(position, dtype=float), low, high)
    return tuple((low + np.round((inside - low) / step) * step).tolist())


def move_crosshair(model: ViewerModel, event: Any) -> Iterator[None]:
    """Put the crosshair under the pointer, and keep it there while dragging."""
    if event.button != 1 or event.modifiers or not _may_navigate(model):
        return
    model.dims.point = nearest_voxel(model, event.position)
    event.handled = True
    yield
    while event.type == "mouse_move":
        model.dims.point = nearest_voxel(model, event.position)
        event.handled = True
        yield


def scroll_slices(model: ViewerModel, event: Any) -> None:
    """One slice per notch; with Ctrl, zoom about the pointer."""
    if model.dims.ndisplay != 2 or model.dims.ndim != 3:
        return
    notches = float(np.clip(event.delta[1], -1, 1))
    event.handled = True
    if "Control" in event.modifiers:
        _zoom_about(model, event.position, ZOOM_PER_NOTCH**notches)
        return
    axis = model.dims.order[0]
    point = list(nearest_voxel(model, model.dims.point))
    point[axis] += notches * model.dims.range[axis].step
    model.dims.point = nearest_voxel(model, point)


def _zoom_about(model: ViewerModel, position: tuple[float, ...], factor: float) -> None:
    camera = model.scene.camera
    anchor = np.asarray(position)[list(model.dims.displayed)]
    center = np.asarray(camera.center)[-2:]
    camera.zoom *= factor
    camera.center = tuple(anchor + (center - anchor) / factor)


def install(model: ViewerModel) -> list[Any]:
    """Give a 2D view this mouse; returns the wheel callbacks it had, for `uninstall`."""
    before = list(model.mouse_wheel_callbacks)
    model.mouse_drag_callbacks.append(move_crosshair)
    model.mouse_wheel_callbacks[:] = [scroll_slices]
    model.scene.camera.mouse_zoom = False
    return before


def uninstall(model: ViewerModel, wheel_callbacks: list[Any]) -> None:
    """Give a view napari's own mouse back."""
    model.mouse_drag_callbacks.remove(move_crosshair)
    model.mouse_wheel_callbacks[:] = wheel_callbacks
    model.scene.camera.mouse_zoom = True
