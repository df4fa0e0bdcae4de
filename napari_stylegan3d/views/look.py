"""The look: view settings (layout, overlays, 3D rendering) as one small value.

It does not depend on what is shown, which the recipe defines. Controls replace it, the views
follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Annotated, Any, Literal, get_args

from napari.components import ViewerModel
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, Signal

from napari_stylegan3d.views import display
from napari_stylegan3d.widgets.controls import DecimalBox, SliderRow, show_value
from napari_stylegan3d.widgets.forms import Form
from stylegan3d.settings.option import Option, Sliding, options_of

Layout = Literal["four", "one", "lightbox"]
Rendering = Literal["attenuated_mip", "mip", "iso", "volume"]
Slab = Literal["none", "max", "min", "mean"]

VIEW_NAMES = (display.AXIAL.name, display.SAGITTAL.name, display.CORONAL.name, "3D")
PLANE_NAMES = VIEW_NAMES[:-1]
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
    alone: Annotated[
        str, Option("View", "The enlarged view.", choices={name: name for name in VIEW_NAMES})
    ] = display.AXIAL.name
    convention: Annotated[
        display.Convention,
        Option(
            "Convention",
            "Radiological: the patient's left is on the right of the picture, as on a light box.\n"
            "Neurological: the patient's left is on the left.",
            choices={"radiological": "Radiological", "neurological": "Neurological"},
        ),
    ] = "radiological"
    nose: Annotated[
        display.Nose,
        Option(
            "Nose",
            "Where the nose points in the sagittal plane.",
            choices={"left": "Nose to the left", "right": "Nose to the right"},
        ),
    ] = "left"
    linked: Annotated[
        bool,
        Option("Zoom and pan together", "Zoom and pan the three planes together or independently."),
    ] = True
    crosshair: Annotated[bool, Option("Crosshair", "Show or hide the crosshair lines.")] = True
    letters: Annotated[
        bool, Option("Orientation letters", "Show orientation letters at the edges.")
    ] = True
    scale_bar: Annotated[bool, Option("Scale bar", "Show a scale bar of 50 mm in the planes.")] = (
        True
    )
    outline: Annotated[
        bool, Option("Outline of the mean brain", "Overlay the outline of the model's mean brain.")
    ] = False
    deface: Annotated[
        bool,
        Option(
            "Hide the face of a head",
            "Show heads without their face, in the planes and in 3D. Files are not changed.\n"
            "The cut follows the shape of the head: check it before you show it to others.",
        ),
    ] = False
    slab: Annotated[
        Slab,
        Option(
            "Slab",
            "Show in every plane the maximum, minimum or average of the slices within this "
            "thickness.",
            choices={
                "none": "Single slices",
                "max": "Slab, maximum",
                "min": "Slab, minimum",
                "mean": "Slab, average",
            },
        ),
    ] = "none"
    slab_mm: Annotated[float, Option("Thickness", "Thickness of the slab.", (2, 60, 1), "mm")] = (
        10.0
    )
    rendering: Annotated[
        Rendering,
        Option(
            "Rendering",
            "Attenuated MIP: maximum intensity projection that favours near structures. MIP: plain "
            "maximum intensity projection. Surface: lit surface at a threshold; a difference over "
            "the planes colours it, with arrows where tissue moves. Translucent volume: all "
            "intensities. A surface is slow to render without a graphics card.",
            choices={
                "attenuated_mip": "Attenuated MIP",
                "mip": "MIP",
                "iso": "Surface",
                "volume": "Translucent volume",
            },
        ),
    ] = "attenuated_mip"
    surface: Annotated[
        Sliding,
        Option(
            "Threshold", "Intensity of the surface, as a fraction of white.", (0.05, 0.95, 0.05)
        ),
    ] = Sliding(0.35)
    #: Sides facing the viewer initially: left, anterior and superior.
    cuts: tuple[Cut, Cut, Cut] = (Cut(upper=False), Cut(), Cut())
    lightbox_plane: Annotated[
        str, Option("Plane", "Plane of the slices.", choices={name: name for name in PLANE_NAMES})
    ] = display.AXIAL.name
    spacing_mm: Annotated[
        float, Option("Spacing", "Distance between slices.", (1, 40, 1), "mm")
    ] = 8.0

    @property
    def facing(self) -> display.Facing:
        """Which way the planes face."""
        return display.Facing(self.convention, self.nose)

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


#: What a form shows of a field.
OPTIONS = {described.name: described.option for described in options_of(ViewLook)}


def is_sensible(name: str, value: Any) -> bool:
    """Whether a value is valid for a field."""
    if name == "layout":
        return value in get_args(Layout)
    if name == "cuts":
        low, high = CUT_LIMITS
        return len(value) == 3 and all(low <= cut.position_mm <= high for cut in value)
    option = OPTIONS[name]
    is_switch = option.choices is None and not option.span
    return isinstance(value, bool) if is_switch else value is not None and not option.problem(value)


#: Written beside the slice position.
SHORT = {"max": "Max", "min": "Min", "mean": "Mean"}


def in_words(look: ViewLook) -> str:
    """Such as "Max 10 mm"; empty without a slab."""
    return "" if look.slab == "none" else f"{SHORT[look.slab]} {look.slab_mm:g} mm"


def thicken(look: ViewLook, models: Iterable[ViewerModel], layers: Iterable[Layer]) -> None:
    """Set the thickness of the slices of 2D models, and how layers are projected.

    Overlays keep their single slice: a difference or an outline has no maximum that means anything.
    """
    half = 0.0 if look.slab == "none" else look.slab_mm / 2
    for model in models:
        if model.dims.ndim != 3:
            continue
        margins = tuple(half if axis == model.dims.order[0] else 0.0 for axis in range(3))
        if tuple(model.dims.margin_left) != margins:
            model.dims.margin_left = margins
            model.dims.margin_right = margins
    for layer in layers:
        if not isinstance(layer, Image) or (
            display.OVERLAY in layer.metadata and display.KEY not in layer.metadata
        ):
            continue
        if str(layer.projection_mode) != look.slab:
            layer.projection_mode = look.slab


class LookModel(QObject):
    """The current look; views connect to `changed`."""

    #: (the look now, the look before)
    changed = Signal(object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.look = ViewLook()

    def change(self, **changes: Any) -> None:
        """Change some fields."""
        self.set(replace(self.look, **changes))

    def set(self, look: ViewLook) -> None:
        """Replace the look."""
        if look != self.look:
            before, self.look = self.look, look
            self.changed.emit(look, before)


def look_form(
    looks: LookModel, fields: Sequence[str], names: Mapping[str, str] | None = None
) -> Form:
    """A form of some fields of the look, which changes it; `names` as in `Form`."""
    form = Form(ViewLook, "views.", names, only=fields)

    def change(name: str, value: Any) -> None:
        looks.change(**{name: value})

    for name, field in form.fields.items():
        if isinstance(field.native, DecimalBox):
            field.native.setKeyboardTracking(False)
        field.changed.connect(partial(change, name))
    return form


def show_in(form: Form, look: ViewLook) -> None:
    """Show a look in a form without emitting signals."""
    for name in form.fields:
        widget, value = form.native(name), getattr(look, name)
        if isinstance(widget, SliderRow):
            widget.set_value(value)
        else:
            show_value(widget, value)
