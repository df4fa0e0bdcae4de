"""Which model a recipe was made with: the same seed is another brain in another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stylegan3d.errors import RecipeError

if TYPE_CHECKING:
    from stylegan3d.generator import Generator


@dataclass(frozen=True)
class MadeWith:
    """A model by the sha256 of its weights, and its name for messages.

    Raises
    ------
    RecipeError
        If either is no text.
    """

    sha256: str
    name: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.sha256, str) or not self.sha256 or not isinstance(self.name, str):
            raise RecipeError("A recipe names its model by sha256 and name, both text: copy both.")

    @classmethod
    def of(cls, generator: Generator) -> MadeWith:
        """The model that is loaded."""
        return cls(generator.hash, generator.name)

    def check(self, generator: Generator) -> None:
        """RecipeError if `generator` is another model."""
        if self.sha256 == generator.hash:
            return
        raise RecipeError(
            f"This recipe was made with the model {self.name or 'with another hash'} "
            f"({self.sha256[:8]}), but {generator.name} ({generator.hash[:8]}) is loaded: load its "
            "own model, or remove the model from the recipe to see the same seed in this one."
        )
