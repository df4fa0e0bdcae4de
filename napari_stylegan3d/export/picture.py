"""The part of Export that saves pictures: of the views, or slices through the whole brain."""

from __future__ import annotations

from qtpy.QtWidgets import QWidget

from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.forms import Form
from stylegan3d.settings.picture import PictureSettings


class PicturePart(QWidget):
    """What to draw, how large, and the button."""

    def __init__(self) -> None:
        super().__init__()
        self.form = Form(PictureSettings, "export.picture_")
        self.view = self.form.native("view")
        self.save = controls.push_button(
            "Save picture",
            "export.screenshot",
            "Save this picture as PNG, with its recipe in a .json beside it.",
        )
        controls.stack(
            controls.heading("Picture"), self.form.layout(), self.save, on=self, spacing=9
        )

    @property
    def settings(self) -> PictureSettings:
        """Settings of the controls."""
        settings: PictureSettings = self.form.value
        return settings
