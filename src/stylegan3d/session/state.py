"""Whose brain is on the screen and how it is looked at, as one small value.

Everything the window shows follows from a `State`: the subject is either a synthetic brain or a
patient, and a patient who was not projected has no recipe, so nobody else's can stand behind the
scan.
"""

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
#: Pictures of a patient that need no recipe.
WITHOUT_RECIPE = ("scan", "painted", "search")
#: Pictures of what a session does not keep: after it they are made again.
MADE_AGAIN = ("painted", "unusual")
#: Pictures that a column can show: those that it shows again after a session.
IN_COLUMNS = ("recipe", "scan", "model", "difference", "residual")
#: Columns beside the current picture.
MOST_COLUMNS = 3
How = Literal["off", "side", "curtain", "flicker", "difference", "row"]
#: The key of all synthetic brains: nobody's.
NOBODY = ""


@dataclass(frozen=True)
class Synthetic:
    """A brain of the model that is nobody's."""

    recipe: Recipe = field(default_factory=Recipe)

    @property
    def case(self) -> None:
        """No patient."""
        return

    @property
    def key(self) -> str:
        """That of all synthetic brains."""
        return NOBODY


@dataclass(frozen=True)
class Patient:
    """A patient; `recipe` is the projection as edited, None until the scan is projected."""

    case: Case
    recipe: Recipe | None = None

    @property
    def key(self) -> str:
        """The same for all steps of this patient."""
        return self.case.key


Subject = Synthetic | Patient


@dataclass(frozen=True)
class State:
    """What is shown.

    Attributes
    ----------
    subject : Synthetic or Patient
        Whose brain it is.
    what : str
        "recipe", the picture of the recipe: with a scan's detail the edited scan; "scan", as it was
        recorded; "unusual", that scan with what stands out in it; "model", the recipe's brain
        without a scan's detail; "difference", the recipe's picture minus the scan; "residual", the
        model's brain minus the scan; "movement", where and how far an edit moves tissue; "filled",
        the scan with what it lost made up; "painted", the brain that fits edited labels; "search",
        a projection under way. Without a recipe one of `WITHOUT_RECIPE`; others become "scan".
    comparison : str
        How it is compared with a second picture: "off", "side" by side, "curtain", "flicker",
        "difference", or in a "row" of several.
    second : Recipe or Case or None
        That second picture: a brain, or a case's scan.
    row : tuple of State
        The columns to the left of the current picture in a "row", each as `column`.
    """

    subject: Subject = field(default_factory=Synthetic)
    what: What = "recipe"
    comparison: How = "off"
    second: Recipe | Case | None = None
    row: tuple[State, ...] = ()

    @classmethod
    def of_scan(cls, case: Case) -> State:
        """A patient's scan, not projected or as it was before."""
        return cls(Patient(case), "scan")

    def __post_init__(self) -> None:
        if self.subject.recipe is None and self.what not in WITHOUT_RECIPE:
            object.__setattr__(self, "what", "scan")

    @property
    def key(self) -> str:
        """Whose it is: `Case.key`, or `NOBODY`."""
        return self.subject.key

    @property
    def case(self) -> Case | None:
        """The patient; None for a synthetic brain."""
        return self.subject.case

    @property
    def recipe(self) -> Recipe | None:
        """The brain of the model; None for a patient who was not projected."""
        return self.subject.recipe

    @property
    def drawn(self) -> Recipe | None:
        """The recipe whose picture this is made with."""
        recipe = self.recipe
        return recipe.replace(detail=None) if recipe and self.what in OF_MODEL else recipe

    @property
    def cases(self) -> list[Case]:
        """The patients of all pictures, that on the screen first."""
        every = (self.case, self.second, *(column.case for column in self.row))
        return [one for one in every if isinstance(one, Case)]

    @property
    def column(self) -> State:
        """The picture alone, without what lies over it, to stand beside others."""
        under: dict[str, What] = {"unusual": "scan", "movement": "recipe"}
        return State(self.subject, under.get(self.what, self.what))

    def of(self, subject: Subject) -> State:
        """Show another brain, unless the current view follows it."""
        was, now = self.recipe, subject.recipe
        follows = was and now and self.what in FOLLOWING and was.source == now.source
        return dataclasses.replace(self, subject=subject, what=self.what if follows else "recipe")

    def looking_at(self, what: What) -> State:
        """The same brain, with another picture of it."""
        return dataclasses.replace(self, what=what)

    def comparing_as(self, other: State) -> State:
        """The same, compared with what another state is compared with."""
        how, second, row = other.comparison, other.second, other.row
        return dataclasses.replace(self, comparison=how, second=second, row=row)


@dataclass(frozen=True)
class HistoryEntry:
    """One step of a subject's history: what was shown, and of which model."""

    state: State = field(default_factory=State)
    model: MadeWith | None = None

    @property
    def recipe(self) -> Recipe | None:
        """The brain of this step."""
        return self.state.recipe

    @property
    def case(self) -> Case | None:
        """The patient of this step."""
        return self.state.case

    def is_for(self, model_hash: str) -> bool:
        """Whether a model can show it: the same recipe is another brain in another model."""
        return self.model is None or not model_hash or self.model.sha256 == model_hash

    def same_as(self, other: HistoryEntry) -> bool:
        """Whether going from one to the other would change nothing that can be gone back to."""
        return self.state.subject == other.state.subject and self.model == other.model
