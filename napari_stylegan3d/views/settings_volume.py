"""Settings of the 3D view: rendering, surface, clipping planes."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QWidget

from napari_stylegan3d.views.look import CUT_LIMITS, LookModel, ViewLook, look_form, show_in
from napari_stylegan3d.widgets import controls

#: For each axis the two sides that can be cut away.
SIDES = (("right", "left"), ("anterior", "posterior"), ("superior", "inferior"))
#: Common width, so that the three sliders are aligned.
SIDE_PX = 108
#: The same of the labels beside the sliders.
LABEL_PX = 84


class CutRow(QWidget):
    """One clipping plane: on or off, side, position."""

    def __init__(self, axis: int, looks: LookModel) -> None:
        super().__init__()
        self.axis, self.looks = axis, looks
        name = f"views.cut.{axis}"
        self.on = controls.check("Cut", name, "Cut away one side of the head in the 3D view.")
        self.side = controls.combo(f"views.cut_side.{axis}", "Side of the head that is cut away.")
        self.side.setFixedWidth(controls.scaled(SIDE_PX))
        for upper, text in zip((True, False), SIDES[axis], strict=True):
            self.side.addItem(text, upper)
        self.position = controls.SliderRow(
            f"views.cut_position.{axis}",
            "",
            (*CUT_LIMITS, 1, 0),
            " mm",
            f"Position of the cut, in mm from the centre of the picture ({CUT_LIMITS[0]:g} to "
            f"{CUT_LIMITS[1]:g}).",
        )
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        for widget in (self.on, self.side):
            row.addWidget(widget)
        row.addWidget(self.position, stretch=1)
        self.on.toggled.connect(lambda on: self._change(on=on))
        self.side.activated.connect(lambda _: self._change(upper=self.side.currentData()))
        self.position.valueChanged.connect(lambda value, _: self._change(position_mm=value))

    def show_look(self, look: ViewLook) -> None:
        """Show the cut of a look."""
        cut = look.cuts[self.axis]
        controls.show_value(self.on, cut.on)
        self.side.setCurrentIndex(self.side.findData(cut.upper))
        self.position.set_value(cut.position_mm)
        for widget in (self.side, self.position):
            widget.setEnabled(cut.on)

    def _change(self, **changes: object) -> None:
        self.looks.set(self.looks.look.with_cut(self.axis, **changes))


class VolumeSettings(QWidget):
    """The 3D part of the popup."""

    def __init__(self, looks: LookModel) -> None:
        super().__init__()
        self.form = look_form(looks, ("rendering", "surface"))
        self.rendering, self.surface = map(self.form.native, self.form.fields)
        self.surface.label.setFixedWidth(controls.scaled(LABEL_PX))
        self.cuts = [CutRow(axis, looks) for axis in range(3)]
        controls.stack(controls.heading("3D"), self.rendering, self.surface, *self.cuts, on=self)
        looks.changed.connect(lambda look, _: self._show(look))
        self._show(looks.look)

    def _show(self, look: ViewLook) -> None:
        show_in(self.form, look)
        self.surface.setVisible(look.rendering == "iso")
        for cut in self.cuts:
            cut.show_look(look)
