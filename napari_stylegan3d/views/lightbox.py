"""The lightbox: slices of one plane, with controls for plane and spacing."""

from __future__ import annotations

from napari.components import ViewerModel
from qtpy.QtWidgets import QWidget

from napari_stylegan3d.views.films import Films
from napari_stylegan3d.views.look import LookModel, ViewLook, look_form, show_in
from napari_stylegan3d.views.overlays import ColorScale
from napari_stylegan3d.widgets import controls


class Lightbox(QWidget):
    """Replaces the four views."""

    def __init__(self, viewer: ViewerModel, looks: LookModel) -> None:
        super().__init__()
        self.setObjectName("views.lightbox")
        self.looks = looks
        self.films = Films(viewer, looks)
        names = {"lightbox_plane": "lightbox.plane", "spacing_mm": "lightbox.spacing"}
        self.form = look_form(looks, tuple(names), names)
        self.plane, self.spacing = map(self.form.native, names)
        self.spacing.setPrefix("every ")
        self.back = controls.push_button(
            "Four views", "views.lightbox.close", "Return to the four views."
        )
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
        show_in(self.form, look)
