"""How the picture is looked at, as one small value: layout, signs on the views, the 3D view.

It says nothing of what is shown, which is the recipe's. Controls replace it, the views follow it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from qtpy.QtCore import QObject, Signal

from napari_stylegan3d.views.orientation import AXIAL, CORONAL, SAGITTAL, Convention
from napari_stylegan3d.widgets.text import _

Layout = Literal["four", "one", "lightbox"]
Rendering = Literal["attenuated_mip", "mip", "iso", "volume"]

VIEW_NAMES = (AXIAL.name, SAGITTAL.name, CORONAL.name, "3D")
#: The same for people.
VIEW_TITLES = {plane.name: plane.title for plane in (AXIAL, SAGITTAL, CORONAL)} | {"3D": _("3D")}
PLANE_NAMES = tuple(name for name in VIEW_NAMES if name != "3D")
#: mm between the slices of the lightbox.
SPACING_LIMITS = (1.0, 40.0)
#: Share of white where the iso-surface lies.
SURFACE_LIMITS = (0.05, 0.95)
#: Where planes may cut, in mm from the middle of the picture.
CUT_LIMITS = (-110.0, 110.0)


@dataclass(frozen=True)
class Cut:
    """A plane that cuts away one side of the 3D picture.

    Attributes
    ----------
    on : bool
        Whether it does.
    position_mm : float
        Where it lies along its axis, from the middle of the picture.
    upper : bool
        Whether the side towards right, front or top is cut away, or the other.
    """

    on: bool = False
    position_mm: float = 0.0
    upper: bool = True


@dataclass(frozen=True)
class Look:
    """Everything about how to look.

    Attributes
    ----------
    layout, alone : Layout, str
        Four views, one of them large, or a grid of slices; and which one is large.
    convention : Convention
        Side of the picture the patient's left is on.
    linked : bool
        Whether zoom and pan are the same in the three planes.
    crosshair, letters, scale_bar, outline : bool
        What is drawn over the picture.
    rendering, surface : Rendering, float
        How the 3D view is drawn; where an iso-surface lies, as a share of white.
    cuts : tuple of Cut
        Planes that cut the 3D view along the axes to the right, front and top.
    lightbox_plane, spacing_mm : str, float
        Which slices the lightbox shows.
    """

    layout: Layout = "four"
    alone: str = AXIAL.name
    convention: Convention = "radiological"
    linked: bool = True
    crosshair: bool = True
    letters: bool = True
    scale_bar: bool = True
    outline: bool = False
    rendering: Rendering = "attenuated_mip"
    surface: float = 0.35
    #: The sides that are towards the viewer at first: left, front and top.
    cuts: tuple[Cut, Cut, Cut] = (Cut(upper=False), Cut(), Cut())
    lightbox_plane: str = AXIAL.name
    spacing_mm: float = 8.0

    def shows(self, view: str) -> bool:
        """Whether a view is to be seen."""
        return self.layout == "four" or (self.layout == "one" and self.alone == view)

    def with_cut(self, axis: int, **changes: Any) -> Look:
        """Another cut along one axis."""
        right, front, top = (
            replace(cut, **changes) if index == axis else cut for index, cut in enumerate(self.cuts)
        )
        return replace(self, cuts=(right, front, top))

    def as_dict(self) -> dict[str, Any]:
        """As plain data, to be remembered."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["cuts"] = [[cut.on, cut.position_mm, cut.upper] for cut in self.cuts]
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Look:
        """What was remembered, as far as it makes sense; the rest as usual."""
        look = cls()
        for field in fields(cls):
            try:
                value = plain[field.name]
                if field.name == "cuts":
                    value = tuple(Cut(bool(on), float(mm), bool(up)) for on, mm, up in value)
                if is_sensible(field.name, value):
                    look = replace(look, **{field.name: value})
            except (KeyError, TypeError, ValueError):
                continue
        return look


CHOICES: dict[str, tuple[str, ...]] = {
    "layout": get_args(Layout),
    "alone": VIEW_NAMES,
    "convention": get_args(Convention),
    "rendering": get_args(Rendering),
    "lightbox_plane": PLANE_NAMES,
}
RANGES = {"surface": SURFACE_LIMITS, "spacing_mm": SPACING_LIMITS}


def is_sensible(name: str, value: Any) -> bool:
    """Whether a field of a look may have a value."""
    if name in CHOICES:
        return value in CHOICES[name]
    if name in RANGES:
        low, high = RANGES[name]
        return low <= float(value) <= high
    if name == "cuts":
        low, high = CUT_LIMITS
        return len(value) == 3 and all(low <= cut.position_mm <= high for cut in value)
    return isinstance(value, bool)


class LookModel(QObject):
    """The current look; whoever draws follows `changed`."""

    changed = Signal(object, object)
    """(the look now, the look before)"""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._look = Look()

    @property
    def look(self) -> Look:
        """How the picture is looked at now."""
        return self._look

    def change(self, **changes: Any) -> None:
        """Replace some of it."""
        self.set(replace(self._look, **changes))

    def set(self, look: Look) -> None:
        """Replace all of it."""
        if look != self._look:
            before, self._look = self._look, look
            self.changed.emit(look, before)
