"""Unlimited undo and redo."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

S = TypeVar("S")


class History(Generic[S]):
    """A list of states, oldest first, and the position of the current one.

    Undone states stay available for redo until a new one is committed.

    Parameters
    ----------
    states : iterable
        At least one.
    position : int or None
        Which of them is current; None for the last.

    Raises
    ------
    ValueError
        If there is no state.
    """

    def __init__(self, states: Iterable[S], position: int | None = None) -> None:
        self._states = list(states)
        if not self._states:
            raise ValueError("a history needs at least one state")
        last = len(self._states) - 1
        self._position = last if position is None else min(max(position, 0), last)

    @property
    def states(self) -> Sequence[S]:
        """All states, oldest first; read-only."""
        return self._states

    @property
    def position(self) -> int:
        """Index of the current state."""
        return self._position

    @property
    def current(self) -> S:
        """The current state."""
        return self._states[self._position]

    def commit(
        self, state: S, *, merge: bool = False, keep: Callable[[S], bool] = lambda _: False
    ) -> bool:
        """Add a state after the current one, discarding those that could be redone.

        Parameters
        ----------
        state : S
        merge : bool
            The state continues the change that led to the current one, and replaces it. The first
            state is never replaced.
        keep : callable
            Which of the states that could be redone are kept all the same, before the new one.

        Returns
        -------
        bool
            False if it equals the current state, in which case nothing is done.
        """
        if state == self.current:
            return False
        ahead = [other for other in self._states[self._position + 1 :] if keep(other)]
        first = self._position if merge and self._position else self._position + 1
        self._states[first:] = [*ahead, state]
        self._position = len(self._states) - 1
        return True

    def append(self, state: S) -> None:
        """Add a state at the end and make it current; nothing is discarded."""
        self._states.append(state)
        self._position = len(self._states) - 1

    def amend(self, state: S) -> None:
        """Replace the current state."""
        self._states[self._position] = state

    def go_to(self, index: int) -> bool:
        """Make another state current; False if it already is, or does not exist."""
        if index == self._position or not 0 <= index < len(self._states):
            return False
        self._position = index
        return True

    def map(self, change: Callable[[S], S]) -> None:
        """Replace every state by `change(state)`."""
        self._states = [change(state) for state in self._states]
