"""The states a recipe went through: undo and redo without end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from stylegan3d.recipe.recipe import Recipe


class History:
    """Recipes in the order they came about, and where in them one is.

    What was undone stays ahead until something new is committed.

    Parameters
    ----------
    states : iterable of Recipe
        At least one.
    position : int or None
        Which of them is current; None for the last.
    """

    def __init__(self, states: Iterable[Recipe] = (), position: int | None = None) -> None:
        self._states = list(states) or [Recipe()]
        last = len(self._states) - 1
        self._position = last if position is None else min(max(position, 0), last)

    @property
    def states(self) -> Sequence[Recipe]:
        """All of them, the first one first; not to be changed."""
        return self._states

    @property
    def position(self) -> int:
        """Index of the current one."""
        return self._position

    @property
    def current(self) -> Recipe:
        """The state one is at."""
        return self._states[self._position]

    @property
    def can_undo(self) -> bool:
        """Whether there is an earlier one."""
        return self._position > 0

    @property
    def can_redo(self) -> bool:
        """Whether something was undone that can come back."""
        return self._position < len(self._states) - 1

    def commit(self, recipe: Recipe, *, merge: bool = False) -> bool:
        """Add a state after the current one; what lay ahead is gone.

        Parameters
        ----------
        recipe : Recipe
        merge : bool
            It continues the change that led to the current state, which it replaces. The first
            state is never replaced.

        Returns
        -------
        bool
            False if it equals the current state: nothing was done.
        """
        if recipe == self.current:
            return False
        del self._states[self._position + 1 :]
        if merge and self._position:
            self._states[self._position] = recipe
        else:
            self._states.append(recipe)
            self._position += 1
        return True

    def go_to(self, index: int) -> bool:
        """Make another state the current one; False if it is already, or there is none."""
        if index == self._position or not 0 <= index < len(self._states):
            return False
        self._position = index
        return True

    def map(self, change: Callable[[Recipe], Recipe]) -> None:
        """Replace every state by `change(state)`."""
        self._states = [change(state) for state in self._states]
