"""Thumbnail buttons, and a controller that keeps their pictures up to date."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QSize, Qt
from qtpy.QtGui import QIcon, QPixmap
from qtpy.QtWidgets import QToolButton

from napari_stylegan3d.core.thumbnails import scaled
from napari_stylegan3d.widgets.elided import elided

if TYPE_CHECKING:
    from napari_stylegan3d.core.thumbnails import Thumbnails
    from stylegan3d.recipe.recipe import Recipe

#: For pictures, in ASCII.
SYNTHETIC = "Synthetic - not for diagnosis"
#: Pictures are on black in any theme.
STYLE = """
QToolButton { background: black; border: 2px solid transparent; border-radius: 4px; padding: 0; }
QToolButton { color: #e8eaed; }
QToolButton:hover, QToolButton:focus { border-color: #8fa3b0; background: black; }
QToolButton:checked { border-color: #ffb74d; }
"""


class PictureButton(QToolButton):
    """A square button with the picture of a recipe; black until rendered.

    Parameters
    ----------
    name, tip : str
        Qt object name and tooltip.
    side : int
        Side length of the picture.
    """

    def __init__(self, name: str, tip: str, side: int) -> None:
        super().__init__()
        self.recipe: Recipe | None = None
        self.side = side
        self.setObjectName(name)
        self.setToolTip(tip)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonIconOnly)
        self.setIconSize(QSize(side, side))
        self.setFixedSize(side + 4, side + 4)
        self.setStyleSheet(STYLE)

    def show_picture(self, picture: QPixmap | None) -> None:
        """Show a picture, or nothing."""
        self.setIcon(QIcon(picture) if picture is not None else QIcon())

    def set_caption(self, caption: str) -> None:
        """Write as much of a name as there is room for under the picture."""
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
        self.setText(elided(caption, self.fontMetrics(), self.side))
        self.setFixedHeight(self.side + 4 + self.fontMetrics().height() + 4)

    @property
    def has_picture(self) -> bool:
        """Whether it has a picture."""
        return not self.icon().isNull()


class Gallery(QObject):
    """Requests thumbnails for buttons and shows them when ready.

    Parameters
    ----------
    owner : str
        Name for `Thumbnails.want`.
    """

    def __init__(self, thumbnails: Thumbnails, owner: str, parent: QObject) -> None:
        super().__init__(parent)
        self.thumbnails, self.owner = thumbnails, owner
        self._buttons: dict[PictureButton, Recipe] = {}
        thumbnails.ready.connect(self._on_ready)

    @property
    def missing(self) -> int:
        """Number of pictures not rendered yet."""
        return sum(self.thumbnails.image(recipe) is None for recipe in self._buttons.values())

    def show(self, buttons: Mapping[PictureButton, Recipe]) -> None:
        """Show these recipes, most urgent first, instead of the previous ones.

        A button keeps its old picture until the new one is ready.
        """
        self._buttons = dict(buttons)
        for button, recipe in self._buttons.items():
            button.recipe = recipe
            self._put(button)
        if self._buttons:
            self.thumbnails.want(self.owner, list(dict.fromkeys(self._buttons.values())))

    def stop(self) -> None:
        """Cancel requests; the buttons are hidden."""
        self._buttons = {}
        self.thumbnails.drop(self.owner)

    def _on_ready(self, recipe: Recipe, _image: object) -> None:
        for button, wanted in self._buttons.items():
            if wanted == recipe:
                self._put(button)

    def _put(self, button: PictureButton) -> None:
        image = self.thumbnails.image(self._buttons[button])
        if image is not None:
            button.show_picture(scaled(image, button.side, button.devicePixelRatioF()))
