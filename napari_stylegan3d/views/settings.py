"""The popup of "View ▾" with all view settings.

It opens over the dock, so that the picture stays visible while a slider is dragged.
"""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QPoint, Qt, Signal
from qtpy.QtWidgets import QFrame, QHBoxLayout, QWidget

from napari_stylegan3d.views.layers import DifferenceOverlay
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


WIDTH = 348
SIGNS = ("linked", "crosshair", "letters", "scale_bar", "outline", "deface")
#: Key, words and tooltip of each.
LAYOUTS = (
    ("four", "Four views", "Axial, sagittal, coronal and 3D side by side."),
    ("one", "Single", "One enlarged view; same as a double click on a view."),
    ("lightbox", "Lightbox", "Many slices of one plane side by side."),
)
THEMES = (
    ("dark", "Dark", "Dark window, for a reading room."),
    ("light", "Light", "Light window; pictures stay on black."),
)


class ViewSettings(QFrame):
    """Shows and changes the look; independent of viewers."""

    themeChosen = Signal(str)

    def __init__(self, looks: LookModel, overlay: DifferenceOverlay, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setObjectName("views.settings")
        self.looks, self.overlay = looks, overlay
        self.setFixedWidth(controls.scaled(WIDTH))
        self.layouts = controls.segments("views.layout", LAYOUTS, self._arrange)
        self.form = look_form(looks, ("alone", "convention", "nose", "slab", "slab_mm", *SIGNS))
        self.alone, self.slab_mm = self.form.native("alone"), self.form.native("slab_mm")
        self.volume = VolumeSettings(looks)
        self.difference = self._make_difference()
        self.themes = controls.segments("views.theme", THEMES, self.themeChosen.emit)
        self.levels_reset = controls.push_button(
            "Reset window and level",
            "views.levels_reset",
            "Reset window and level.",
        )
        self.look_reset = controls.push_button(
            "Reset all", "views.look_reset", "Reset all view settings."
        )
        self.look_reset.clicked.connect(self._reset)
        self._lay_out()
        looks.changed.connect(self._show)
        overlay.changed.connect(self._show_difference)
        self._show(looks.look)
        self._show_difference()

    def open_at(self, button: QWidget, beside: QWidget) -> None:
        """Open to the right of `beside`, bottom at the button, within the screen."""
        controls.fit_window(self)
        corner = beside.mapToGlobal(QPoint(beside.width() + 4, 0))
        bottom = button.mapToGlobal(QPoint(0, button.height())).y()
        room = button.screen().availableGeometry()
        x = max(room.left(), min(corner.x(), room.right() - self.width()))
        y = max(room.top(), min(bottom - self.height(), room.bottom() - self.height()))
        self.move(x, y)
        self.show()
        self.layouts[self.looks.look.layout].setFocus()

    def show_theme(self, name: str) -> None:
        """Mark the window's theme."""
        self.themes[name].setChecked(True)

    def close_links(self) -> None:
        """Disconnect from objects that outlive the popup."""
        self.overlay.changed.disconnect(self._show_difference)
        self.hide()

    def _arrange(self, layout: str) -> None:
        self.looks.change(layout=layout)
        self._show(self.looks.look)

    def _make_difference(self) -> QWidget:
        self.threshold = controls.SliderRow(
            "views.threshold",
            "Hide below",
            (0, 100, 1, 10),
            " %",
            "Hide differences smaller than this share of the colour bar, 0 to 100 %.",
            label_width=LABEL_PX,
        )
        self.opacity = controls.SliderRow(
            "views.opacity",
            "Opacity",
            (0, 100, 1, 80),
            " %",
            "Opacity of the difference overlay, 0 to 100 %.",
            label_width=LABEL_PX,
        )
        self.threshold.valueChanged.connect(self._set_threshold)
        self.opacity.valueChanged.connect(lambda value, _: self.overlay.set_opacity(value / 100))
        part = QWidget()
        controls.stack(
            controls.heading("Difference"), self.threshold, self.opacity, on=part, spacing=-1
        )
        return part

    def _lay_out(self) -> None:
        native = self.form.native
        controls.stack(
            controls.row(*self.layouts.values(), spacing=0),
            self.alone,
            controls.row(native("convention"), native("nose")),
            controls.row(native("slab"), self.slab_mm, stretch=0),
            *map(native, SIGNS),
            self.difference,
            controls.line(),
            self.volume,
            controls.line(),
            controls.row(*self.themes.values(), spacing=0),
            controls.row(self.levels_reset, self.look_reset),
            on=self,
            margins=(14, 14, 14, 14),
        )

    def _show(self, look: ViewLook, _before: ViewLook | None = None) -> None:
        self.layouts[look.layout].setChecked(True)
        self.alone.setVisible(look.layout == "one")
        show_in(self.form, look)
        self.slab_mm.setEnabled(look.slab != "none")
        controls.fit_window(self)

    def _show_difference(self) -> None:
        legend = self.overlay.legend
        self.difference.setVisible(legend is not None)
        if legend is not None:
            self.threshold.set_value(round(100 * legend.threshold / legend.limit))
            self.opacity.set_value(round(100 * self.overlay.opacity))
        controls.fit_window(self)

    def _set_threshold(self, percent: float, _live: Any = None) -> None:
        if self.overlay.legend is not None:
            self.overlay.set_threshold(percent / 100 * self.overlay.legend.limit)

    def _reset(self) -> None:
        self.looks.set(ViewLook())
        self.levels_reset.click()
