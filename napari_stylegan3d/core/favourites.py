"""Favourites: recipes with notes, per model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from qtpy.QtCore import QObject, Signal

from stylegan3d.recipe.recipe import Recipe
from stylegan3d.session.file import Favourite

__all__ = ["Favourite", "Favourites"]


class Favourites(QObject):
    """The favourites of the current model, in the order they were added.

    Those of other models are stored separately: there, the same seed is another brain.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._model = ""
        self._of: dict[str, tuple[Favourite, ...]] = {}

    @property
    def items(self) -> tuple[Favourite, ...]:
        """The favourites of the current model."""
        return self._of.get(self._model, ())

    @property
    def by_model(self) -> dict[str, tuple[Favourite, ...]]:
        """All favourites by model hash."""
        return {model: items for model, items in self._of.items() if items}

    @property
    def of_others(self) -> int:
        """Number of favourites of other models."""
        return sum(len(items) for model, items in self._of.items() if model != self._model)

    def use_model(self, model_hash: str) -> None:
        """Switch to the favourites of another model."""
        if model_hash != self._model:
            self._model = model_hash
            self.changed.emit()

    def index_of(self, recipe: Recipe) -> int | None:
        """Index of a recipe among the favourites; None if it is not one."""
        return next((i for i, item in enumerate(self.items) if item.recipe == recipe), None)

    def add(self, recipe: Recipe, note: str = "") -> None:
        """Add a recipe; does nothing if it already is a favourite."""
        if self.index_of(recipe) is None:
            self._set((*self.items, Favourite(recipe, note)))

    def remove(self, index: int) -> None:
        """Remove one; IndexError if there is none at `index`."""
        gone = self.items[index]
        self._set([item for item in self.items if item is not gone])

    def set_note(self, index: int, text: str) -> None:
        """Set the note of one; IndexError if there is none at `index`."""
        changed = replace(self.items[index], note=text)
        if changed != self.items[index]:
            self._set([*self.items[:index], changed, *self.items[index + 1 :]])

    def restore(self, by_model: Mapping[str, Sequence[Favourite]]) -> None:
        """Replace all favourites of all models."""
        self._of = {model: tuple(items) for model, items in by_model.items()}
        self.changed.emit()

    def _set(self, items: Sequence[Favourite]) -> None:
        self._of[self._model] = tuple(items)
        self.changed.emit()
