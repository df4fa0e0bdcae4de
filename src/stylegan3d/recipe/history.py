"""Unlimited undo and redo that loses nothing: a tree of states, listed as they were made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

S = TypeVar("S")


class History(Generic[S]):
    """A list of states in the order they were made, and which of them each was made from.

    Undo goes to the state that the current one was made from. A change after an undo begins a
    branch; the states of the other one stay. Redo follows the branch that was last visited.

    Parameters
    ----------
    states : iterable
        At least one.
    position : int or None
        Which of them is current; None for the last.
    parents : sequence of int or None
        For each state the one it was made from, None for the first; by default the one before.

    Raises
    ------
    ValueError
        If there is no state, or a state was made from none before it.
    """

    def __init__(
        self,
        states: Iterable[S],
        position: int | None = None,
        parents: Sequence[int | None] | None = None,
    ) -> None:
        #: All states, oldest first.
        self.states = list(states)
        if not self.states:
            raise ValueError("a history needs at least one state")
        count = len(self.states)
        #: For each state the index of the one it was made from; None for the first.
        self.parents = [None, *range(count - 1)] if parents is None else list(parents)
        if not are_parents(self.parents, count):
            raise ValueError("every state but the first is made from one before it")
        #: Index of the current state.
        self.position = count - 1 if position is None else min(max(position, 0), count - 1)
        #: For each state the one to redo: first the newest made from it.
        self._next = {parent: index for index, parent in enumerate(self.parents)}
        self._remember_way()

    @property
    def current(self) -> S:
        """The current state."""
        return self.states[self.position]

    @property
    def way(self) -> list[int]:
        """Indices of the current state and of all that it was made from, newest first."""
        found: list[int] = []
        index: int | None = self.position
        while index is not None:
            found.append(index)
            index = self.parents[index]
        return found

    @property
    def ahead(self) -> list[int]:
        """Indices of the states that redo leads to, one after the other."""
        found: list[int] = []
        index = self._next.get(self.position)
        while index is not None:
            found.append(index)
            index = self._next.get(index)
        return found

    def is_fork(self, index: int) -> bool:
        """Whether a state was made from another one than the state before it in the list."""
        return index > 0 and self.parents[index] != index - 1

    def commit(self, state: S, *, merge: bool = False) -> bool:
        """Add a state that is made from the current one, and make it current.

        Parameters
        ----------
        state : S
        merge : bool
            The state continues the change that led to the current one, and replaces it, unless
            others were made from that. The first state is never replaced.

        Returns
        -------
        bool
            False if it equals the current state, in which case nothing is done.
        """
        if state == self.current:
            return False
        if merge and self.position and self.position not in self._next:
            self.states[self.position] = state
        else:
            self.append(state)
        return True

    def append(self, state: S) -> None:
        """Add a state that is made from the current one, even if it equals it."""
        self._next[self.position] = len(self.states)
        self.parents.append(self.position)
        self.states.append(state)
        self.position = len(self.states) - 1

    def add_aside(self, state: S) -> None:
        """Add a state that is made from the current one, which stays current."""
        at = self.position
        self.append(state)
        self.go_to(at)

    def amend(self, state: S) -> None:
        """Replace the current state."""
        self.states[self.position] = state

    def go_to(self, index: int) -> bool:
        """Make another state current; False if it already is, or does not exist."""
        if index == self.position or not 0 <= index < len(self.states):
            return False
        back = index == self.parents[self.position]
        self.position = index
        if not back:
            self._remember_way()
        return True

    def copy(self) -> History[S]:
        """The same states, in a history of their own."""
        return History(self.states, self.position, self.parents)

    def map(self, change: Callable[[S], S]) -> None:
        """Replace every state by `change(state)`."""
        self.states = [change(state) for state in self.states]

    def _remember_way(self) -> None:
        """Redo leads back here from everything that the current state was made from."""
        way = self.way
        self._next.update(zip(way[1:], way, strict=False))


def are_parents(parents: Sequence[object], count: int) -> bool:
    """Whether these are valid parents of so many states: None, then indices of earlier ones."""
    return (
        len(parents) == count
        and parents[0] is None
        and all(
            isinstance(parent, int) and not isinstance(parent, bool) and 0 <= parent < index
            for index, parent in enumerate(parents[1:], 1)
        )
    )
