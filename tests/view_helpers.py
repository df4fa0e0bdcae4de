"""A phantom whose sides differ, and the mouse, for tests of the views."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent, QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget

AFFINE = np.diag([3.0, 2.0, 4.0, 1.0])
AFFINE[:3, 3] = (-40, -50, -60)
PAUSE_MS = 20
FLAT = ("Axial", "Coronal", "Sagittal")
RIGHT_BLOCK = (slice(22, 26), slice(20, 30), slice(12, 18))


def phantom() -> np.ndarray:
    """Dim box; a bright block to the patient's right, a second one in front, a third on top."""
    data = np.full((28, 50, 30), 0.2, dtype=np.float32)
    data[RIGHT_BLOCK] = 1.0
    data[10:18, 44:48, 12:18] = 0.8
    data[10:18, 20:30, 26:29] = 0.6
    return data


def center_of(box: tuple[slice, slice, slice]) -> tuple[float, ...]:
    """Millimetres of the middle of a block of the phantom."""
    index = [(s.start + s.stop - 1) / 2 for s in box]
    return tuple(nib.affines.apply_affine(AFFINE, index))


def native(views: Any, name: str) -> QWidget:
    """The canvas of a view, which the mouse is moved on."""
    return views.view(name).canvas.canvas.native


def drag(widget: QWidget, button: Qt.MouseButton, dx: int, dy: int, steps: int = 4) -> None:
    """Press on a canvas's middle, move, release; by events with the button held, as a hand does."""
    start = widget.rect().center()
    QTest.mousePress(widget, button, pos=start)
    for step in range(1, steps + 1):
        pos = QPointF(start + QPoint(dx * step // steps, dy * step // steps))
        move = QMouseEvent(
            QMouseEvent.Type.MouseMove,
            pos,
            widget.mapToGlobal(pos),
            Qt.MouseButton.NoButton,
            button,
            Qt.KeyboardModifier.NoModifier,
        )
        # Vispy drops a move within 10 ms of another, which may be one of the screen's own; napari
        # tells of the last one of several 5 ms later, and no more once the button is up.
        widget._last_time = 0
        QApplication.sendEvent(widget, move)
        QTest.qWait(PAUSE_MS)
    for _ in range(3):  # a busy machine may sleep through one
        QTest.qWait(PAUSE_MS)
    QTest.mouseRelease(widget, button, pos=start + QPoint(dx, dy))


def wheel(
    widget: QWidget,
    notches: int = 1,
    modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier,
) -> None:
    """Turn the wheel over the middle."""
    middle = QPointF(widget.rect().center())
    event = QWheelEvent(
        middle,
        widget.mapToGlobal(middle),
        QPoint(),
        QPoint(0, 120 * notches),
        Qt.MouseButton.NoButton,
        modifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(widget, event)
