"""Brain A, brain B and their mix, beside each other."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from napari_stylegan3d.core.gallery import PictureButton
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.text import _
from stylegan3d.recipe.recipe import Recipe, Source

SIDE = 88


class MixPictures(QWidget):
    """Three pictures with their names: A + B → mix."""

    def __init__(self) -> None:
        super().__init__()
        self.first = PictureButton(
            "mix.picture.first", _("Brain A: a click shows it unmixed."), SIDE
        )
        self.second = PictureButton(
            "mix.picture.second", _("Brain B: a click shows all of it."), SIDE
        )
        self.result = PictureButton("mix.picture.result", _("The mix of A and B."), SIDE)
        self.names = [controls.hint(name=f"mix.{name}") for name in ("first", "second", "result")]
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(4)
        grid.setVerticalSpacing(3)
        for column, button in enumerate((self.first, self.second, self.result)):
            grid.addWidget(button, 0, 2 * column, Qt.AlignmentFlag.AlignHCenter)
            name = self.names[column]
            name.setAlignment(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
            name.setFixedWidth(controls.scaled(SIDE + 4))
            grid.addWidget(name, 1, 2 * column, Qt.AlignmentFlag.AlignTop)
        for column, sign in ((1, "+"), (3, "→")):
            label = QLabel(sign)
            label.setProperty("role", "heading")
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            grid.addWidget(label, 0, column)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(3, 1)

    def name(self, first: str, second: str) -> None:
        """Say what A and B are."""
        for label, text in zip(self.names, (f"A: {first}", f"B: {second}", _("Mix")), strict=True):
            label.setText(text)
            label.setToolTip(text)

    def recipes(self, recipe: Recipe, second: Source) -> dict[PictureButton, Recipe]:
        """What each picture shows: A and B unmixed and unedited, and the mix as it is."""
        plain = recipe.replace(mix=None, edits=())
        return {
            self.result: recipe,
            self.first: plain,
            self.second: plain.replace(source=second),
        }
