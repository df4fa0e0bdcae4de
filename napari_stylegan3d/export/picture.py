"""The part of Export that saves pictures: of the views, or slices through the whole brain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.text import _

if TYPE_CHECKING:
    from stylegan3d.geometry.slicing import Plane

VIEWS = (
    (_("All views, as they stand"), "all"),
    (_("Axial view"), "Axial"),
    (_("Sagittal view"), "Sagittal"),
    (_("Coronal view"), "Coronal"),
    (_("3D view"), "3D"),
)
LIGHTBOXES: tuple[tuple[str, Plane], ...] = (
    (_("Lightbox, axial"), "axial"),
    (_("Lightbox, coronal"), "coronal"),
    (_("Lightbox, sagittal"), "sagittal"),
)
SIZES = (
    (_("as on the screen"), "screen"),
    (_("twice as large"), "double"),
    (_("for print: 18 cm at 300 dpi"), "print"),
)


@dataclass(frozen=True)
class PictureSettings:
    """What is to be drawn.

    Attributes
    ----------
    view
        "all" or the name of a view.
    plane
        For a lightbox of this plane; None for the view.
    size
        "screen", "double" or "print".
    """

    view: str
    plane: Plane | None
    size: str

    @property
    def what(self) -> str:
        """For the file's name."""
        return f"lightbox-{self.plane}" if self.plane else self.view.lower()


class PicturePart(QWidget):
    """What to draw, how large, and the button."""

    def __init__(self) -> None:
        super().__init__()
        self.view = QComboBox()
        self.view.setObjectName("export.picture_view")
        self.view.setToolTip(
            _(
                "What the picture shows: the views with letters, scale bar and caption as you see\n"
                "them, or a lightbox: 20 slices through the whole brain with their places in mm."
            )
        )
        for text, name in VIEWS:
            self.view.addItem(text, name)
        for text, plane in LIGHTBOXES:
            self.view.addItem(text, f"lightbox-{plane}")
        self.size = QComboBox()
        self.size.setObjectName("export.picture_size")
        self.size.setToolTip(
            _("How many pixels the picture has. Everything is drawn anew, sharply.")
        )
        for text, size in SIZES:
            self.size.addItem(text, size)
        self.save = controls.push_button(
            _("Save picture"),
            "export.screenshot",
            _("Save this picture as PNG, with its recipe in a .json beside it."),
        )
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(9)
        column.addWidget(controls.heading(_("Picture")))
        column.addLayout(controls.form((_("Show"), self.view), (_("Size"), self.size)))
        column.addWidget(self.save)

    @property
    def settings(self) -> PictureSettings:
        """What the controls say."""
        view = str(self.view.currentData())
        plane = next((p for _, p in LIGHTBOXES if view == f"lightbox-{p}"), None)
        return PictureSettings(view, plane, str(self.size.currentData()))
