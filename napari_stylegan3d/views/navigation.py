"""Mouse controls of 2D views, as usual in radiology viewers.

Click or drag moves the crosshair, the wheel scrolls slices, Ctrl-wheel zooms, the middle button (or
Shift-drag) pans, the right button sets window and level; a right double click resets them. While a
layer is painted or edited, left and right button belong to napari's tools.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image

from napari_stylegan3d.views.captions import OVERLAY

if TYPE_CHECKING:
    from napari_stylegan3d.views.stage import Stage

ZOOM_PER_NOTCH = 1.15
LEFT, RIGHT, MIDDLE = 1, 2, 3


def _may_navigate(model: ViewerModel) -> bool:
    """Whether the mouse is free: 2D, and no layer is being painted or edited."""
    active = model.layers.selection.active
    return model.dims.ndisplay == 2 and (active is None or str(active.mode) == "pan_zoom")


def grid_mm(model: ViewerModel) -> np.ndarray:
    """(3, n) first and last voxel centre and voxel size in mm of the picture.

    Overlays may have a finer grid, which is ignored when scrolling slices.
    """
    for layer in reversed(model.layers):
        picture = isinstance(layer, Image) and OVERLAY not in layer.metadata
        if picture and layer.visible and layer.ndim == model.dims.ndim == 3:
            low, step = np.asarray(layer.translate), np.asarray(layer.scale)
            return np.stack((low, low + step * (np.array(layer.data.shape[:3]) - 1), step))
    return np.array([tuple(axis) for axis in model.dims.range]).T


def nearest_voxel(model: ViewerModel, position: Sequence[float]) -> tuple[float, ...]:
    """Centre in mm of the voxel nearest to a position, inside the field of view."""
    low, high, step = grid_mm(model)
    inside = np.clip(np.asarray(position, dtype=float), low, high)
    return tuple((low + np.round((inside - low) / step) * step).tolist())


def move_crosshair(model: ViewerModel, event: Any) -> Iterator[None]:
    """Move the crosshair with the pointer while dragging."""
    if event.button != LEFT or event.modifiers or not _may_navigate(model):
        return
    model.dims.point = nearest_voxel(model, event.position)
    event.handled = True
    yield
    while event.type == "mouse_move":
        model.dims.point = nearest_voxel(model, event.position)
        event.handled = True
        yield


def pan(model: ViewerModel, event: Any) -> Iterator[None]:
    """Drag the picture with the middle button, or with Shift and the left one."""
    shifted = event.button == LEFT and tuple(event.modifiers) == ("Shift",)
    if not (event.button == MIDDLE or shifted) or not _may_navigate(model):
        return
    camera = model.scene.camera
    _, vertical, horizontal = camera.orientation
    signs = np.array([1 if vertical == "down" else -1, 1 if horizontal == "right" else -1])
    pressed, center = np.array(event.pos), np.array(camera.center)[-2:]
    event.handled = True
    yield
    while event.type == "mouse_move":
        moved_px = (np.array(event.pos) - pressed)[::-1]
        camera.center = (0.0, *(center - signs * moved_px / camera.zoom).tolist())
        event.handled = True
        yield


class LevelsByMouse:
    """Right-drag in a 2D view: horizontally the window, vertically the level."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def drag(self, model: ViewerModel, event: Any) -> Iterator[None]:
        """Set window and level while the right button is held."""
        if event.button != RIGHT or event.modifiers or not _may_navigate(model):
            return
        start, pressed = self.stage.levels, np.array(event.pos)
        event.handled = True
        yield
        while event.type == "mouse_move":
            right_px, down_px = np.array(event.pos) - pressed
            self.stage.drag_levels(start, float(right_px), -float(down_px))
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
    point[axis] += notches * grid_mm(model)[2, axis]
    model.dims.point = nearest_voxel(model, point)


def _zoom_about(model: ViewerModel, position: tuple[float, ...], factor: float) -> None:
    camera = model.scene.camera
    anchor = np.asarray(position)[list(model.dims.displayed)]
    center = np.asarray(camera.center)[-2:]
    camera.zoom *= factor
    camera.center = tuple(anchor + (center - anchor) / factor)


def install(model: ViewerModel) -> list[Any]:
    """Install these mouse controls; returns the previous wheel callbacks for `uninstall`."""
    before = list(model.mouse_wheel_callbacks)
    model.mouse_drag_callbacks.extend((move_crosshair, pan))
    model.mouse_wheel_callbacks[:] = [scroll_slices]
    model.scene.camera.mouse_zoom = False
    return before


def uninstall(model: ViewerModel, wheel_callbacks: list[Any]) -> None:
    """Restore napari's mouse controls."""
    for callback in (move_crosshair, pan):
        model.mouse_drag_callbacks.remove(callback)
    model.mouse_wheel_callbacks[:] = wheel_callbacks
    model.scene.camera.mouse_zoom = True
