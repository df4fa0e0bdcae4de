"""The lightbox: slices of one plane, with controls for plane and spacing."""

from __future__ import annotations

from napari.components import ViewerModel
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QWidget

from napari_stylegan3d.views.films import Films
from napari_stylegan3d.views.look import (
    PLANE_NAMES,
    SPACING_LIMITS,
    VIEW_TITLES,
    LookModel,
    ViewLook,
)
from napari_stylegan3d.views.overlays import ColorScale
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import DecimalBox


class Lightbox(QWidget):
    """Replaces the four views."""

    def __init__(self, viewer: ViewerModel, looks: LookModel) -> None:
        super().__init__()
        self.setObjectName("views.lightbox")
        self.looks = looks
        self.films = Films(viewer, looks)
        self.plane = controls.combo(
            "views.lightbox.plane",
            "Plane of the slices.",
            ((VIEW_TITLES[name], name) for name in PLANE_NAMES),
        )
        self.spacing = controls.named(
            DecimalBox(),
            "views.lightbox.spacing",
            f"Distance between slices, {SPACING_LIMITS[0]:g} to {SPACING_LIMITS[1]:g} mm.",
        )
        self.spacing.setRange(*SPACING_LIMITS)
        self.spacing.setDecimals(0)
        self.spacing.setPrefix("every ")
        self.spacing.setSuffix(" mm")
        self.spacing.setKeyboardTracking(False)
        self.back = controls.push_button(
            "Four views", "views.lightbox.close", "Return to the four views."
        )
        self.plane.activated.connect(
            lambda _: looks.change(lightbox_plane=self.plane.currentData())
        )
        self.spacing.valueChanged.connect(lambda value: looks.change(spacing_mm=value))
        self.back.clicked.connect(lambda: looks.change(layout="four"))
        looks.changed.connect(self._show)
        self._lay_out()
        self._show(looks.look)

    def refit(self) -> None:
        """Determine the head's bounding box again."""
        self.films.refit()

    def set_legend(self, legend: ColorScale | None) -> None:
        """Set the colour bar."""
        self.films.set_legend(legend)

    def close_links(self) -> None:
        """Disconnect from the viewer."""
        self.looks.changed.disconnect(self._show)
        self.films.close_links()

    def _lay_out(self) -> None:
        hint = controls.hint("Click to go there.")
        hint.setWordWrap(False)
        strip = controls.row(self.plane, self.spacing, hint, self.back, stretch=2)
        strip.setContentsMargins(10, 5, 10, 5)
        controls.stack(strip, self.films, on=self, stretch=1, spacing=0)

    def _show(self, look: ViewLook, _before: ViewLook | None = None) -> None:
        with QSignalBlocker(self.plane), QSignalBlocker(self.spacing):
            self.plane.setCurrentIndex(self.plane.findData(look.lightbox_plane))
            self.spacing.setValue(look.spacing_mm)
