"""The strip below the views: crosshair position, intensity, window and level."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QPoint, QSize, Qt, Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QMenu,
    QToolButton,
    QWidget,
)

from napari_stylegan3d.views.captions import NAMES as TISSUES
from napari_stylegan3d.views.captions import OVERLAY, UNIT
from napari_stylegan3d.views.marks import NAMES, place_of
from napari_stylegan3d.views.orientation import position_in_letters, position_in_words
from napari_stylegan3d.views.stage import PRESETS, WHITE_LIMITS
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import scaled

if TYPE_CHECKING:
    from napari_stylegan3d.views.marks import Marks
    from napari_stylegan3d.views.stage import Stage

#: Widths for the longest texts, so that nothing jumps while the crosshair moves.
POSITION_WIDTHS = (94, 118, 112)
LETTER_WIDTH = 44
WHITE_WIDTH = 84
#: In a narrower strip positions are abbreviated; in a still narrower one *White* is hidden.
ROOMY_PX, WHITE_PX, NARROWEST_PX = 905, 800, 566
#: Additional width for the name of a tissue or label.
NAMED_PX = 65
#: Windows: name, tooltip, key.
PRESET_WORDS = {
    "brain": ("Brain", "The default window: all tissue.", "F5"),
    "deep_grey": (
        "Deep grey",
        "Narrow: tells thalamus, pallidum and internal capsule apart.",
        "F6",
    ),
    "full": ("Full range", "From the lowest to the highest intensity.", "F7"),
}
#: Tools: tooltip, key.
TOOLS = {
    "length": ("Drag in a plane: its length in mm.", "Alt+D"),
    "angle": ("Drag along its first side, then drag the end of the other: degrees.", "Alt+A"),
    "ellipse": ("Drag in a plane: mean, sd and area in mm² inside.", "Alt+E"),
    "rectangle": ("Drag in a plane: mean, sd and area in mm² inside.", "Alt+T"),
    "sphere": ("Drag from its centre: mean, sd and volume in ml inside.", "Alt+B"),
}
#: Share of clipped voxels from which a warning is shown.
MUCH_CLIPPED = 0.05


class ReadoutBar(QWidget):
    """Position in mm, intensity, window and level, and buttons for view settings."""

    presetChosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("views.readout")
        self.position = [QLabel() for _ in range(3)]
        self._words: tuple[str, ...] = ("", "", "")
        self._letters: tuple[str, ...] = ("", "", "")
        self._named = self._was_roomy = False
        self.intensity = controls.label(
            "",
            "",
            "views.intensity",
            (
                "Intensity at the crosshair. For synthetic brains 0 is background and 1 "
                "the brightest\n"
                "tissue (99.5th percentile inside the brain)."
            ),
        )
        self.levels = self._make_levels()
        self.tools = controls.push_button(
            "Tools ▾",
            "views.tools",
            "Measure on the picture: lengths in mm; mean, sd and size of regions.",
        )
        self.quality = controls.label(
            "", "hint", "views.quality", "Preview; the full volume follows."
        )
        self.clipped = controls.label("", "error", "views.clipped")
        self.clipped.hide()
        self.white = self._make_white()
        self.reset = controls.push_button(
            "Reset", "views.reset", "Centre the crosshair and fit the head into every view."
        )
        self.menu = controls.push_button(
            "View ▾",
            "views.menu",
            (
                "View settings: layout, linked zoom, 3D rendering and cuts,\n"
                "letters, scale bar, overlays, theme."
            ),
        )
        self._lay_out()

    def _make_levels(self) -> QToolButton:
        button = controls.named(
            QToolButton(),
            "views.levels",
            "Window (W): the range of intensities from black to white. Level (L): middle "
            "grey.\n"
            "Drag with the right mouse button on a view to change them,\n"
            "double-click with it to reset them; click here for presets.",
        )
        button.setProperty("role", "menu")
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        for name in PRESETS:
            text, tip, keys = PRESET_WORDS[name]
            action = menu.addAction(f"{text}\t{keys}", partial(self.presetChosen.emit, name))
            action.setObjectName(f"views.preset.{name}")
            action.setToolTip(tip)
        button.setMenu(menu)
        return button

    def offer_tools(self, marks: Marks, go_to: Callable[[tuple[float, ...]], None]) -> None:
        """Fill the menu of tools from the measurements.

        Parameters
        ----------
        marks : Marks
            The measurements.
        go_to : callable
            Moves the crosshair to a point in mm.
        """
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        menu.aboutToShow.connect(partial(self._fill_tools, menu, marks, go_to))
        self.tools_menu = menu
        self._fill_tools(menu, marks, go_to)
        self.tools.clicked.connect(
            lambda: menu.popup(self.tools.mapToGlobal(QPoint(0, -menu.sizeHint().height())))
        )
        marks.toolChanged.connect(self._show_tool)

    def _fill_tools(
        self, menu: QMenu, marks: Marks, go_to: Callable[[tuple[float, ...]], None]
    ) -> None:
        menu.clear()
        for kind, (tip, keys) in TOOLS.items():
            action = menu.addAction(f"{NAMES[kind]}\t{keys}", partial(marks.take, kind))
            action.setObjectName(f"views.tool.{kind}")
            action.setToolTip(tip)
            action.setCheckable(True)
            action.setChecked(marks.tool == kind)
        shown = marks.shown
        if shown:
            menu.addSeparator()
            menu.addAction(marks.whose or "This picture").setEnabled(False)
        for mark in shown:
            words = f"{NAMES[mark.kind]} {marks.text_of(mark)} ({place_of(mark)})"
            menu.addAction(words, partial(go_to, mark.start)).setToolTip("Go to its slice.")
        menu.addSeparator()
        for name, text, tip, keys, act in (
            ("copy", "Copy measurements", "Copy them as a table.", "", marks.copy),
            (
                "delete",
                "Delete measurement",
                "Delete the chosen one, or the last.",
                "Del",
                marks.delete,
            ),
            (
                "clear",
                "Delete all",
                "Delete all measurements of this brain.",
                "",
                marks.clear,
            ),
        ):
            action = menu.addAction(f"{text}\t{keys}" if keys else text, act)
            action.setObjectName(f"views.marks.{name}")
            action.setToolTip(tip)
            action.setEnabled(bool(shown))

    def _show_tool(self, tool: str) -> None:
        """Name the tool that the next drag uses."""
        self.tools.setText(f"{NAMES[tool]} ▾" if tool else "Tools ▾")

    def _make_white(self) -> QDoubleSpinBox:
        spin = controls.number(
            "views.white",
            f"Intensity shown as white, as a multiple of the default ({WHITE_LIMITS[0]:g} to "
            f"{WHITE_LIMITS[1]:g}); lower values\n"
            "brighten the picture. Saved files are not affected.",
            (*WHITE_LIMITS, 0.05),
            value=1.0,
            width=WHITE_WIDTH,
        )
        spin.setPrefix("White ")
        return spin

    def _lay_out(self) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 4, 10, 4)
        row.setSpacing(8)
        for label in self.position:
            label.setToolTip("Position of the crosshair in the patient, in millimetres.")
            row.addWidget(label)
        for widget in (self.intensity, self.levels, self.quality, self.clipped):
            row.addWidget(widget)
        row.addStretch(1)
        for widget in (self.white, self.tools, self.reset, self.menu):
            row.addWidget(widget, alignment=Qt.AlignmentFlag.AlignVCenter)
        self._set_widths()

    @property
    def roomy(self) -> bool:
        """Whether there is room for full text."""
        return self.width() >= scaled(ROOMY_PX + NAMED_PX * self._named)

    def minimumSizeHint(self) -> QSize:
        """As narrow as with abbreviations: otherwise a wide window could not be made narrow."""
        hint = super().minimumSizeHint()
        return QSize(min(hint.width(), scaled(NARROWEST_PX)), hint.height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Switch between full and abbreviated text."""
        super().resizeEvent(event)
        self._set_widths()

    def _set_widths(self) -> None:
        self._was_roomy = self.roomy
        widths = POSITION_WIDTHS if self.roomy else (LETTER_WIDTH,) * 3
        for axis, (label, width) in enumerate(zip(self.position, widths, strict=True)):
            label.setMinimumWidth(scaled(width))
            label.setText(self._words[axis] if self.roomy else self._letters[axis])
        self.white.setVisible(self.width() >= scaled(WHITE_PX))

    def show_clipped(self, share: float) -> None:
        """Warn if much of the picture is clipped."""
        self.clipped.setVisible(share >= MUCH_CLIPPED)
        self.clipped.setText(f"{100 * share:.0f} % clipped")
        self.clipped.setToolTip(
            f"{100 * share:.0f} % of this volume is brighter than 1.5 times the brightest "
            "tissue and is\n"
            "clipped: the model's intensities are not in the range 0 to 1, or it is "
            "not trained."
        )

    def show_levels(self, stage: Stage) -> None:
        """Show which intensities are black and white."""
        low, high = stage.limits
        controls.show_value(self.white, stage.levels.white)
        width, level = brightness(high - low), brightness((high + low) / 2)
        self.levels.setText(
            f"± {brightness(high)}" if stage.is_difference else f"W/L {width} / {level}"
        )

    def show_point(self, model: ViewerModel) -> None:
        """Show position and intensity from the viewer."""
        point = model.dims.point
        if len(point) != 3 or not model.layers:
            for label in (*self.position, self.intensity):
                label.clear()
            self._words = self._letters = ("", "", "")
            return
        self._words = tuple(position_in_words(point, axis) for axis in range(3))
        self._letters = tuple(position_in_letters(point, axis) for axis in range(3))
        self._named = any(isinstance(one, Labels) and one.visible for one in model.layers)
        if self.roomy != self._was_roomy:
            self._set_widths()
        for label, text in zip(
            self.position, self._words if self.roomy else self._letters, strict=True
        ):
            label.setText(text)
        self.intensity.setText(intensity_in_words(model, point, self.roomy))


def brightness(value: float) -> str:
    """With sensible decimals: intensities may range up to 1 or to thousands."""
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"


def intensity_in_words(model: ViewerModel, point_mm: tuple[float, ...], roomy: bool = True) -> str:
    """Such as 'Intensity 0.81', with the overlaid difference and label."""
    value = value_at(model, point_mm)
    if value is None:
        return ""
    parts = [f"Intensity {value:.3g}" if roomy else f"Int. {value:.3g}"]
    for layer in model.layers:
        if not layer.visible or layer.ndim != 3:
            continue
        there = voxel_at(layer, point_mm)
        if isinstance(layer, Labels):
            if there:
                names = layer.metadata.get(TISSUES, {})
                parts.append(names.get(int(there), f"label {there:.0f}"))
        elif OVERLAY in layer.metadata and layer.contrast_limits[0] < 0 and there is not None:
            percent = " %" if layer.metadata.get(UNIT) == "%" else ""
            parts.append(f"Δ {there:+.2g}{percent}")
    return " · ".join(parts)


def value_at(model: ViewerModel, point_mm: tuple[float, ...]) -> float | None:
    """Intensity of the topmost visible image at a point in mm; None outside."""
    for layer in reversed(model.layers):
        if not (isinstance(layer, Image) and layer.visible and layer.ndim == 3):
            continue
        if OVERLAY in layer.metadata:
            continue
        value = voxel_at(layer, point_mm)
        if value is not None:
            return value
    return None


def voxel_at(layer: Layer, point_mm: tuple[float, ...]) -> float | None:
    """Value of the voxel nearest to a point in mm; None outside the layer's grid."""
    if not isinstance(layer, Image | Labels):
        return None
    index = np.round(layer.world_to_data(point_mm)).astype(int)
    if np.all(index >= 0) and np.all(index < layer.data.shape[:3]):
        return float(np.asarray(layer.data[tuple(index)]).ravel()[0])
    return None
