"""The popup of "View ▾" with all view settings.

It opens over the dock, so that the picture stays visible while a slider is dragged.
"""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QPoint, Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QPushButton,
    QWidget,
)

from napari_stylegan3d.views.look import SLAB_LIMITS, VIEW_TITLES, LookModel, ViewLook
from napari_stylegan3d.views.overlays import DifferenceOverlay
from napari_stylegan3d.views.settings_volume import VolumeSettings
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import DecimalBox

WIDTH = 348
SIGNS = {
    "linked": (
        "Zoom and pan together",
        "Zoom and pan the three planes together or independently.",
    ),
    "crosshair": ("Crosshair", "Show or hide the crosshair lines."),
    "letters": ("Orientation letters", "Show orientation letters at the edges."),
    "scale_bar": ("Scale bar", "Show a scale bar of 50 mm in the planes."),
    "outline": (
        "Outline of the mean brain",
        "Overlay the outline of the model's mean brain.",
    ),
    "deface": (
        "Hide the face of a head",
        (
            "Show heads without their face, in the planes and in 3D. Files are not changed.\n"
            "The cut follows the shape of the head: check it before you show it to others."
        ),
    ),
}
SLABS = {
    "none": "Single slices",
    "max": "Slab, maximum",
    "min": "Slab, minimum",
    "mean": "Slab, average",
}
LAYOUTS = {
    "four": ("Four views", "Axial, sagittal, coronal and 3D side by side."),
    "one": ("Single", "One enlarged view; same as a double click on a view."),
    "lightbox": ("Lightbox", "Many slices of one plane side by side."),
}
THEMES = {
    "dark": ("Dark", "Dark window, for a reading room."),
    "light": ("Light", "Light window; pictures stay on black."),
}


class ViewSettings(QFrame):
    """Shows and changes the look; independent of viewers."""

    themeChosen = Signal(str)
    levelsReset = Signal()

    def __init__(self, looks: LookModel, overlay: DifferenceOverlay, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setObjectName("views.settings")
        self.looks, self.overlay = looks, overlay
        self.setFixedWidth(controls.scaled(WIDTH))
        self.layouts = {
            key: self._segment(f"views.layout.{key}", text, tip, "layout", key)
            for key, (text, tip) in LAYOUTS.items()
        }
        self.alone = self._combo("views.alone", "alone", VIEW_TITLES)
        self.alone.setToolTip("The enlarged view.")
        self.convention = self._combo(
            "views.convention",
            "convention",
            {"radiological": "Radiological", "neurological": "Neurological"},
        )
        self.convention.setToolTip(
            "Radiological: the patient's left is on the right of the picture, as on a "
            "light box.\n"
            "Neurological: the patient's left is on the left."
        )
        self.nose = self._combo(
            "views.nose", "nose", {"left": "Nose to the left", "right": "Nose to the right"}
        )
        self.nose.setToolTip("Where the nose points in the sagittal plane.")
        self.slab = self._combo("views.slab", "slab", SLABS)
        self.slab.setToolTip(
            "Show in every plane the maximum, minimum or average of the slices within this "
            "thickness."
        )
        self.slab_mm = controls.named(
            DecimalBox(),
            "views.slab_mm",
            f"Thickness of the slab, {SLAB_LIMITS[0]:g} to {SLAB_LIMITS[1]:g} mm.",
        )
        self.slab_mm.setRange(*SLAB_LIMITS)
        self.slab_mm.setDecimals(0)
        self.slab_mm.setSuffix(" mm")
        self.slab_mm.setKeyboardTracking(False)
        self.slab_mm.valueChanged.connect(lambda value: looks.change(slab_mm=value))
        self.signs = {key: self._check(key, text, tip) for key, (text, tip) in SIGNS.items()}
        self.volume = VolumeSettings(looks)
        self.difference = self._make_difference()
        self.themes = {key: self._theme(key, text, tip) for key, (text, tip) in THEMES.items()}
        self.levels_reset = controls.push_button(
            "Reset window and level",
            "views.levels_reset",
            "Reset window and level.",
        )
        self.levels_reset.clicked.connect(self.levelsReset)
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
        for key, button in self.themes.items():
            button.setChecked(key == name)

    def close_links(self) -> None:
        """Disconnect from objects that outlive the popup."""
        self.overlay.changed.disconnect(self._show_difference)
        self.hide()

    def _segment(self, name: str, text: str, tip: str, field: str, value: str) -> QPushButton:
        button = controls.push_button(text, name, tip, "segment", checkable=True)

        def choose() -> None:
            self.looks.change(**{field: value})
            self._show(self.looks.look)

        button.clicked.connect(choose)
        return button

    def _theme(self, key: str, text: str, tip: str) -> QPushButton:
        button = controls.push_button(text, f"views.theme.{key}", tip, "segment", checkable=True)
        button.clicked.connect(lambda: self.themeChosen.emit(key))
        return button

    def _combo(self, name: str, field: str, entries: dict[str, str]) -> QComboBox:
        box = controls.combo(name, "", ((text, value) for (value, text) in entries.items()))
        box.currentIndexChanged.connect(lambda _: self.looks.change(**{field: box.currentData()}))
        return box

    def _check(self, field: str, text: str, tip: str) -> QCheckBox:
        box = controls.check(text, f"views.{field}", tip)
        box.toggled.connect(lambda on: self.looks.change(**{field: on}))
        return box

    def _make_difference(self) -> QWidget:
        self.threshold = controls.SliderRow(
            "views.threshold",
            "Hide below",
            (0, 100, 1, 10),
            " %",
            "Hide differences smaller than this share of the colour bar, 0 to 100 %.",
            label_width=84,
        )
        self.opacity = controls.SliderRow(
            "views.opacity",
            "Opacity",
            (0, 100, 1, 80),
            " %",
            "Opacity of the difference overlay, 0 to 100 %.",
            label_width=84,
        )
        self.threshold.valueChanged.connect(self._set_threshold)
        self.opacity.valueChanged.connect(lambda value, _: self.overlay.set_opacity(value / 100))
        part = QWidget()
        controls.stack(
            controls.heading("Difference"), self.threshold, self.opacity, on=part, spacing=-1
        )
        return part

    def _lay_out(self) -> None:
        column = controls.column(self)
        column.setSpacing(6)
        column.addLayout(_segments(*self.layouts.values()))
        column.addWidget(self.alone)
        column.addLayout(controls.row(self.convention, self.nose))
        column.addLayout(controls.row(self.slab, self.slab_mm, stretch=0))
        for box in self.signs.values():
            column.addWidget(box)
        column.addWidget(self.difference)
        column.addWidget(controls.line())
        column.addWidget(self.volume)
        column.addWidget(controls.line())
        column.addLayout(_segments(*self.themes.values()))
        column.addLayout(controls.row(self.levels_reset, self.look_reset))

    def _show(self, look: ViewLook, _before: ViewLook | None = None) -> None:
        for key, button in self.layouts.items():
            button.setChecked(key == look.layout)
        self.alone.setVisible(look.layout == "one")
        for box, value in (
            (self.alone, look.alone),
            (self.convention, look.convention),
            (self.nose, look.nose),
            (self.slab, look.slab),
        ):
            controls.show_value(box, value)
        controls.show_value(self.slab_mm, look.slab_mm)
        self.slab_mm.setEnabled(look.slab != "none")
        for key, check in self.signs.items():
            controls.show_value(check, getattr(look, key))
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
        self.levelsReset.emit()


def _segments(*buttons: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(0)
    for button in buttons:
        row.addWidget(button, stretch=1)
    return row
