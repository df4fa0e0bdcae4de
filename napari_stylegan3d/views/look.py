"""The look: view settings (layout, overlays, 3D rendering) as one small value.

It does not depend on what is shown, which the recipe defines. Controls replace it, the views
follow.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from qtpy.QtCore import QObject, Signal

from napari_stylegan3d.views.orientation import AXIAL, CORONAL, SAGITTAL, Convention, Facing, Nose

Layout = Literal["four", "one", "lightbox"]
Rendering = Literal["attenuated_mip", "mip", "iso", "volume"]
Slab = Literal["none", "max", "min", "mean"]

VIEW_NAMES = (AXIAL.name, SAGITTAL.name, CORONAL.name, "3D")
#: Titles of the views.
VIEW_TITLES = {plane.name: plane.title for plane in (AXIAL, SAGITTAL, CORONAL)} | {"3D": "3D"}
PLANE_NAMES = tuple(name for name in VIEW_NAMES if name != "3D")
#: Spacing of lightbox slices in mm.
SPACING_LIMITS = (1.0, 40.0)
#: Thickness of slabs in mm.
SLAB_LIMITS = (2.0, 60.0)
#: Threshold of the iso-surface, as a share of white.
SURFACE_LIMITS = (0.05, 0.95)
#: Range of cut positions, in mm from the centre.
CUT_LIMITS = (-110.0, 110.0)


@dataclass(frozen=True)
class Cut:
    """A clipping plane of the 3D view.

    Attributes
    ----------
    on : bool
        Whether it is active.
    position_mm : float
        Position along its axis, from the centre of the picture.
    upper : bool
        Whether the right, anterior or superior side is cut away, or the other.
    """

    on: bool = False
    position_mm: float = 0.0
    upper: bool = True


@dataclass(frozen=True)
class ViewLook:
    """All view settings.

    Attributes
    ----------
    layout, alone : Layout, str
        Four views, one enlarged, or the lightbox; and which view is enlarged.
    convention, nose : Convention, Nose
        Radiological or neurological; where the nose of the sagittal plane points.
    linked : bool
        Whether zoom and pan of the three planes are linked.
    crosshair, letters, scale_bar, outline : bool
        Which overlays are drawn.
    deface : bool
        Whether heads are shown without their face.
    slab, slab_mm : Slab, float
        Projection of the slices around each plane, and its thickness in mm.
    rendering, surface : Rendering, float
        Rendering of the 3D view; threshold of the iso-surface, as a share of white.
    cuts : tuple of Cut
        Clipping planes of the 3D view along the three axes.
    lightbox_plane, spacing_mm : str, float
        Slices of the lightbox.
    """

    layout: Layout = "four"
    alone: str = AXIAL.name
    convention: Convention = "radiological"
    nose: Nose = "left"
    linked: bool = True
    crosshair: bool = True
    letters: bool = True
    scale_bar: bool = True
    outline: bool = False
    deface: bool = False
    slab: Slab = "none"
    slab_mm: float = 10.0
    rendering: Rendering = "attenuated_mip"
    surface: float = 0.35
    #: Sides facing the viewer initially: left, anterior and superior.
    cuts: tuple[Cut, Cut, Cut] = (Cut(upper=False), Cut(), Cut())
    lightbox_plane: str = AXIAL.name
    spacing_mm: float = 8.0

    @property
    def facing(self) -> Facing:
        """Which way the planes face."""
        return Facing(self.convention, self.nose)

    def shows(self, view: str) -> bool:
        """Whether a view is visible."""
        return self.layout == "four" or (self.layout == "one" and self.alone == view)

    def with_cut(self, axis: int, **changes: Any) -> ViewLook:
        """With changes to the cut along one axis."""
        right, front, top = (
            replace(cut, **changes) if index == axis else cut for index, cut in enumerate(self.cuts)
        )
        return replace(self, cuts=(right, front, top))

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for settings."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["cuts"] = [[cut.on, cut.position_mm, cut.upper] for cut in self.cuts]
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> ViewLook:
        """From plain data; defaults for invalid fields."""
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
    "nose": get_args(Nose),
    "rendering": get_args(Rendering),
    "slab": get_args(Slab),
    "lightbox_plane": PLANE_NAMES,
}
RANGES = {"surface": SURFACE_LIMITS, "spacing_mm": SPACING_LIMITS, "slab_mm": SLAB_LIMITS}


def is_sensible(name: str, value: Any) -> bool:
    """Whether a value is valid for a field."""
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
    """The current look; views connect to `changed`."""

    changed = Signal(object, object)
    """(the look now, the look before)"""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._look = ViewLook()

    @property
    def look(self) -> ViewLook:
        """The current look."""
        return self._look

    def change(self, **changes: Any) -> None:
        """Change some fields."""
        self.set(replace(self._look, **changes))

    def set(self, look: ViewLook) -> None:
        """Replace the look."""
        if look != self._look:
            before, self._look = self._look, look
            self.changed.emit(look, before)
