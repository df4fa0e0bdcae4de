"""Mouse controls of 2D views, as usual in radiology viewers.

Click or drag moves the crosshair, the wheel scrolls slices, Ctrl-wheel zooms, the middle button (or
Shift-drag) pans, the right button sets window and level; a right double click resets them. Page Up
and Down, Home and End scroll the view under the mouse, or else the one with the focus. While a
layer is painted or edited, left and right button belong to napari's tools.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QObject, QPointF, Qt
from qtpy.QtGui import QCursor, QKeyEvent, QKeySequence
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QLineEdit,
    QPlainTextEdit,
    QTextEdit,
    QWidget,
)

from napari_stylegan3d.views.stage import Stage, visible_pictures

ZOOM_PER_NOTCH = 1.15
LEFT, RIGHT, MIDDLE = 1, 2, 3
#: Commands whose keys only move or delete in text fields.
COMMANDS = ("Ctrl+D", "Ctrl+E")
#: Slices that a key moves by; infinite for the first and the last.
SLICES: Mapping[int, float] = {
    Qt.Key.Key_PageUp: 1,
    Qt.Key.Key_PageDown: -1,
    Qt.Key.Key_Home: np.inf,
    Qt.Key.Key_End: -np.inf,
}
TEXT_FIELDS = (QLineEdit, QAbstractSpinBox, QTextEdit, QPlainTextEdit)


def is_free(model: ViewerModel) -> bool:
    """Whether the mouse is free: 2D, and no layer is being painted or edited."""
    active = model.layers.selection.active
    return model.dims.ndisplay == 2 and (active is None or str(active.mode) == "pan_zoom")


def grid_mm(model: ViewerModel) -> np.ndarray:
    """(3, n) first and last voxel centre and voxel size in mm of the picture.

    Overlays may have a finer grid, which is ignored when scrolling slices.
    """
    layer = next(visible_pictures(model), None)
    if layer is not None and model.dims.ndim == 3:
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
    if event.handled or event.button != LEFT or event.modifiers or not is_free(model):
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
    if not (event.button == MIDDLE or shifted) or not is_free(model):
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
        if event.button != RIGHT or event.modifiers or not is_free(model):
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
    turn_slices(model, notches, model.dims.order[0])


def turn_slices(model: ViewerModel, count: float, axis: int) -> None:
    """Move by slices, towards the patient's right, anterior or superior side."""
    point = list(nearest_voxel(model, model.dims.point))
    point[axis] += count * grid_mm(model)[2, axis]
    model.dims.point = nearest_voxel(model, point)


class SliceKeys(QObject):
    """Page Up and Down, Home and End for the view under the mouse, wherever the focus is.

    Not while text is typed. Like PACS viewers, the mouse says which view is meant; where it is over
    none, the view that Tab leads to.
    """

    def __init__(
        self,
        canvases: Sequence[tuple[QWidget, ViewerModel]],
        panes: QWidget,
        turn: Callable[[QPointF, float], bool],
    ) -> None:
        super().__init__(panes)
        self._canvases, self._panes, self._turn = list(canvases), panes, turn

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        """Take these keys while the mouse is over a 2D view, or one has the focus.

        Text fields leave to shortcuts what would only move or delete in them.
        """
        if not isinstance(event, QKeyEvent):
            return False
        if event.type() != QEvent.Type.KeyPress:
            asked = QKeySequence(event.keyCombination()).toString() in COMMANDS
            return event.type() == QEvent.Type.ShortcutOverride and asked
        count = SLICES.get(event.key())
        without = event.modifiers() in (
            Qt.KeyboardModifier.NoModifier,
            Qt.KeyboardModifier.KeypadModifier,
        )
        if count is None or not without or isinstance(QApplication.focusWidget(), TEXT_FIELDS):
            return False
        if self._panes.underMouse():
            return self._turn(QPointF(self._panes.mapFromGlobal(QCursor.pos())), count)
        pointed = (model for canvas, model in self._canvases if canvas.underMouse())
        focused = (model for canvas, model in self._canvases if canvas.hasFocus())
        over = next(chain(pointed, focused), None)
        if over is None or over.dims.ndisplay != 2 or over.dims.ndim != 3:
            return False
        turn_slices(over, count, over.dims.order[0])
        return True


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
