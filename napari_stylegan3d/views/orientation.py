"""Anatomical orientation of the views.

World axes 0, 1, 2 point to the patient's right, anterior and superior (RAS+, millimetres). A view
selects the axis to slice and orients the *camera*; the data are never flipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from napari.components import ViewerModel

Convention = Literal["radiological", "neurological"]
Nose = Literal["left", "right"]


@dataclass(frozen=True)
class Facing:
    """Which way the planes face: the patient's left, and the nose of the sagittal plane."""

    convention: Convention = "radiological"
    nose: Nose = "left"


#: Names of the negative and positive direction of each world axis.
DIRECTIONS = (
    ("Left", "Right"),
    ("Posterior", "Anterior"),
    ("Inferior", "Superior"),
)
#: Their international letters.
LETTERS = ("LR", "PA", "IS")


@dataclass(frozen=True)
class ViewPlane:
    """A plane: the world axes that are sliced, shown as rows, and shown as columns.

    `name` is the untranslated key; `letters` are those at the top, bottom, left and right in the
    radiological convention.
    """

    name: str
    title: str
    order: tuple[int, int, int]
    letters: tuple[str, str, str, str]

    def letters_in(self, facing: Facing) -> tuple[str, str, str, str]:
        """Orientation letters at the top, bottom, left and right edge."""
        top, bottom, left, right = self.letters
        if self._is_turned(facing):
            left, right = right, left
        return top, bottom, left, right

    def camera_in(self, facing: Facing) -> tuple[str, str, str]:
        """napari's camera orientation (depth, vertical, horizontal)."""
        return "towards", "up", "right" if self._is_turned(facing) else "left"

    def _is_turned(self, facing: Facing) -> bool:
        """Whether the columns run the other way than by default."""
        if self.shows_left_and_right:
            return facing.convention == "neurological"
        return facing.nose == "right"

    @property
    def shows_left_and_right(self) -> bool:
        """Whether the columns run along the left-right axis."""
        return self.order[2] == 0


AXIAL = ViewPlane("Axial", "Axial", (2, 1, 0), ("A", "P", "R", "L"))
CORONAL = ViewPlane("Coronal", "Coronal", (1, 2, 0), ("S", "I", "R", "L"))
SAGITTAL = ViewPlane("Sagittal", "Sagittal", (0, 2, 1), ("S", "I", "A", "P"))
PLANES = {plane.name: plane for plane in (AXIAL, SAGITTAL, CORONAL)}

#: Initial camera of the 3D view: upright, facing the viewer, turned a little.
VOLUME_ORDER = (1, 2, 0)
VOLUME_ANGLES = (10.0, -30.0, -15.0)


def orient(model: ViewerModel, plane: ViewPlane, facing: Facing) -> None:
    """Orient a 2D view; centre and zoom are set by `fit`."""
    if tuple(model.dims.order) != plane.order and model.dims.ndim == 3:
        model.dims.order = plane.order
    model.scene.camera.orientation = plane.camera_in(facing)


def orient_volume(model: ViewerModel) -> None:
    """Orient the 3D view: upright, facing the viewer, not mirrored."""
    if model.dims.ndim == 3:
        model.dims.order = VOLUME_ORDER
    model.dims.ndisplay = 3
    model.scene.camera.orientation = ("towards", "up", "left")
    model.scene.camera.angles = VOLUME_ANGLES


def position_in_words(point_mm: tuple[float, ...], axis: int) -> str:
    """Such as 'Right 12.0 mm' for one world axis of a point in RAS+ millimetres."""
    value = float(point_mm[axis])
    if abs(value) < 0.05:
        return f"{DIRECTIONS[axis][1]} 0.0 mm"
    return f"{DIRECTIONS[axis][value > 0]} {abs(value):.1f} mm"


def position_in_letters(point_mm: tuple[float, ...], axis: int) -> str:
    """Such as 'R 12.0', in millimetres, for one world axis of a point in RAS+ millimetres."""
    value = float(point_mm[axis])
    letter = LETTERS[axis][value > -0.05]
    return f"{letter} {abs(value):.1f}"
