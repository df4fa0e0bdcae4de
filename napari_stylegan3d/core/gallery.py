"""Buttons with the thumbnail of a recipe on them, and what keeps their pictures up to date."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPaintEvent, QPixmap
from qtpy.QtWidgets import QToolButton

from napari_stylegan3d.core.thumbnails import scaled

if TYPE_CHECKING:
    from napari_stylegan3d.core.thumbnails import Thumbnails
    from stylegan3d.recipe.recipe import Recipe

#: Pictures are black whatever the theme.
CAPTION = QColor("#e8eaed")
STYLE = """
QToolButton { background: black; border: 2px solid transparent; border-radius: 4px; padding: 0; }
QToolButton:hover, QToolButton:focus { border-color: #8fa3b0; background: black; }
QToolButton:checked { border-color: #ffb74d; }
"""


class PictureButton(QToolButton):
    """A square with the picture of a recipe; black until it is there.

    Parameters
    ----------
    name, tip : str
        Qt object name, and what a click does.
    side : int
        Length of the picture's edge.
    """

    def __init__(self, name: str, tip: str, side: int) -> None:
        super().__init__()
        self.recipe: Recipe | None = None
        #: Written on the picture, in its lower left corner.
        self.caption = ""
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

    def paintEvent(self, event: QPaintEvent) -> None:
        """The picture with its caption."""
        super().paintEvent(event)
        if self.caption:
            painter = QPainter(self)
            painter.setPen(CAPTION)
            place = self.rect().adjusted(6, 4, -6, -4)
            corner = Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignLeft
            painter.drawText(place, corner, self.caption)
            painter.end()

    @property
    def has_picture(self) -> bool:
        """Whether there is a picture on it."""
        return not self.icon().isNull()


class Gallery(QObject):
    """Asks for the pictures of some buttons' recipes, and puts them on as they come.

    Parameters
    ----------
    owner : str
        Who asks, see `Thumbnails.want`.
    """

    def __init__(self, thumbnails: Thumbnails, owner: str, parent: QObject) -> None:
        super().__init__(parent)
        self.thumbnails, self.owner = thumbnails, owner
        self._buttons: dict[PictureButton, Recipe] = {}
        thumbnails.ready.connect(self._on_ready)

    @property
    def missing(self) -> int:
        """How many of the pictures are still to come."""
        return sum(self.thumbnails.image(recipe) is None for recipe in self._buttons.values())

    def show(self, buttons: Mapping[PictureButton, Recipe]) -> None:
        """Show these recipes, in order of urgency, instead of those before.

        A button keeps its old picture until the new one comes.
        """
        self._buttons = dict(buttons)
        for button, recipe in self._buttons.items():
            button.recipe = recipe
            self._put(button)
        if self._buttons:
            self.thumbnails.want(self.owner, list(dict.fromkeys(self._buttons.values())))

    def stop(self) -> None:
        """Nobody looks at them any more."""
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
