"""Which model a recipe was made with: the same seed is another brain in another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stylegan3d.errors import RecipeError

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator


@dataclass(frozen=True)
class MadeWith:
    """A model by the sha256 of its weights, and its name for messages.

    `labels` is the sha256 of what it learned of labels after its training, where the recipe has a
    label and such a model drew it.

    Raises
    ------
    RecipeError
        If either is no text.
    """

    sha256: str
    name: str = ""
    labels: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.sha256, str) or not self.sha256 or not isinstance(self.name, str):
            raise RecipeError("A recipe names its model by sha256 and name, both text: copy both.")
        if self.labels is not None and not isinstance(self.labels, str):
            raise RecipeError(
                "A recipe names its model's labels by sha256, which is text: copy it."
            )

    @classmethod
    def of(cls, generator: Generator, labelled: bool = False) -> MadeWith:
        """The model that is loaded, and its labels for a recipe that has one."""
        labels = generator.labels_hash if labelled else ""
        return cls(generator.hash, generator.name, labels or None)

    def check(self, generator: Generator) -> None:
        """RecipeError if `generator` is another model."""
        if self.sha256 == generator.hash and self.labels in (None, generator.labels_hash):
            return
        if self.sha256 == generator.hash:
            raise RecipeError(
                f"This recipe's label was drawn by the labels {str(self.labels)[:8]} of "
                f"{generator.name}, but it has others ({generator.labels_hash[:8] or 'none'}) now: "
                "load the model with those, or remove the model from the recipe."
            )
        raise RecipeError(
            f"This recipe was made with the model {self.name or 'with another hash'} "
            f"({self.sha256[:8]}), but {generator.name} ({generator.hash[:8]}) is loaded: load its "
            "own model, or remove the model from the recipe to see the same seed in this one."
        )
