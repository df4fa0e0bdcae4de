"""What is shown, as one small value, and the history entries made of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

from stylegan3d.recipe.model import MadeWith
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.session.case import Case

What = Literal[
    "recipe",
    "scan",
    "unusual",
    "model",
    "difference",
    "residual",
    "movement",
    "filled",
    "painted",
    "search",
]
#: Pictures that the model's brain is drawn for, without a scan's detail.
OF_MODEL = ("model", "residual", "filled")
#: Pictures of a scan with the brain that a recipe makes of it: they follow edits of that brain.
FOLLOWING = (*OF_MODEL, "difference", "movement")
How = Literal["off", "side", "curtain", "flicker", "difference", "row"]


@dataclass(frozen=True)
class Shown:
    """What is shown.

    Attributes
    ----------
    recipe : Recipe
        The current brain, shown or not.
    what : str
        "recipe", the picture of the recipe: with a scan's detail the edited scan; "scan", as it was
        recorded; "unusual", that scan with what stands out in it; "model", the recipe's brain
        without a scan's detail; "difference", the recipe's picture minus the scan; "residual", the
        model's brain minus the scan; "movement", where and how far an edit moves tissue; "filled",
        the scan with what it lost made up; "painted", the brain that fits edited labels; "search",
        a projection under way.
    comparison : str
        How it is compared with a second picture: "off", "side" by side, "curtain", "flicker",
        "difference", or in a "row" of several.
    second : Recipe or Case or None
        That second picture: a brain, or a case's scan.
    """

    recipe: Recipe = field(default_factory=Recipe)
    what: What = "recipe"
    comparison: How = "off"
    second: Recipe | Case | None = None

    @property
    def drawn(self) -> Recipe:
        """The recipe whose picture this is made with."""
        return self.recipe.replace(detail=None) if self.what in OF_MODEL else self.recipe

    def of(self, recipe: Recipe) -> Shown:
        """Show another brain, unless the current view follows it."""
        follows = self.what in FOLLOWING and recipe.source == self.recipe.source
        return dataclasses.replace(self, recipe=recipe, what=self.what if follows else "recipe")

    def looking_at(self, what: What) -> Shown:
        """The same brain, with another picture of it."""
        return dataclasses.replace(self, what=what)


@dataclass(frozen=True)
class Entry:
    """One step of a session's history: what was shown, of which case and model."""

    shown: Shown = field(default_factory=Shown)
    case: Case | None = None
    model: MadeWith | None = None

    @property
    def recipe(self) -> Recipe:
        """The brain of this step."""
        return self.shown.recipe

    def is_for(self, model_hash: str) -> bool:
        """Whether a model can show it: the same recipe is another brain in another model."""
        return self.model is None or not model_hash or self.model.sha256 == model_hash

    def same_as(self, other: Entry) -> bool:
        """Whether going from one to the other would change nothing that can be gone back to."""
        return self.recipe == other.recipe and self.case is other.case and self.model == other.model
