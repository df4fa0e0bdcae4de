"""Two groups of favourites, to find the direction from one to the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QScrollArea, QVBoxLayout, QWidget

from napari_stylegan3d.core.thumbnails import Gallery, PictureButton
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.elided import ElidedLabel
from stylegan3d.recipe.description import describe_source

if TYPE_CHECKING:
    from qtpy.QtCore import QObject

    from napari_stylegan3d.core.session import Session
    from napari_stylegan3d.core.thumbnails import Thumbnails
    from stylegan3d.recipe.recipe import Recipe

SIDE = 56
NEITHER, LESS, MORE = "neither", "less", "more"
ABOUT_GROUPS = (
    "The direction leads from the mean of group A to the mean of group B. Each group needs "
    "at least three brains; with fewer than ten the result is unreliable."
)


class FavouriteGroups(QWidget):
    """All favourites, each with a choice of group."""

    changed = Signal()

    def __init__(self, session: Session, thumbnails: Thumbnails, parent: QObject) -> None:
        super().__init__()
        self.session = session
        self.gallery = Gallery(thumbnails, "directions.groups", parent)
        self.choices: list[tuple[Recipe, QComboBox]] = []
        self.count = controls.hint(name="directions.new_count")
        self._area = QScrollArea()
        self._area.setWidgetResizable(True)
        controls.stack(
            controls.hint(ABOUT_GROUPS),
            self._area,
            self.count,
            on=self,
            stretch=1,
            spacing=-1,
            margins=(2, 8, 2, 2),
        )

    def refresh(self) -> None:
        """List the favourites; those that were there keep their group."""
        before = {recipe: box.currentData() for recipe, box in self.choices}
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 6, 0)
        column.setSpacing(4)
        self.choices, pictures = [], {}
        for index, favourite in enumerate(self.session.favourites.items):
            recipe = favourite.recipe
            picture = PictureButton(f"directions.new_picture.{index}", "A favourite.", SIDE)
            pictures[picture] = recipe
            box = controls.combo(
                f"directions.new_group.{index}",
                "Group of this brain.",
                (("Neither", NEITHER), ("Group A", LESS), ("Group B", MORE)),
            )
            box.setCurrentIndex(max(box.findData(before.get(recipe, NEITHER)), 0))
            box.currentIndexChanged.connect(self._on_changed)
            picture.clicked.connect(
                lambda _=False, b=box: b.setCurrentIndex((b.currentIndex() + 1) % 3)
            )
            self.choices.append((recipe, box))
            text = ElidedLabel(favourite.note or _text_of(recipe), role="")
            column.addLayout(controls.row(picture, text, box, stretch=1))
        column.addStretch(1)
        self._area.setWidget(inner)
        self.gallery.show(pictures)
        self._count()

    def lacks(self) -> str:
        """What is missing for a direction; empty for nothing."""
        if self.choices:
            return ""
        return (
            "No favourites yet: add brains with the star below the views, or open a table of "
            "values."
        )

    def stop(self) -> None:
        """Cancel the pictures; they are hidden."""
        self.gallery.stop()

    def recipes(self) -> tuple[list[Recipe], list[Recipe]]:
        """Those of group A and of group B."""
        chosen = [(recipe, box.currentData()) for recipe, box in self.choices]
        less, more = ([r for r, group in chosen if group == kind] for kind in (LESS, MORE))
        return less, more

    def _on_changed(self, _: int) -> None:
        self._count()
        self.changed.emit()

    def _count(self) -> None:
        less, more = self.recipes()
        self.count.setText(f"{len(less)} in group A, {len(more)} in group B")


def _text_of(recipe: Recipe) -> str:
    parts = ["mixed"] if recipe.mix is not None and any(recipe.mix.strength) else []
    parts += ["edited"] if recipe.edits else []
    return ", ".join([describe_source(recipe.source), *parts])
