"""Which layers the edits change: what the list says for all, and what was chosen for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_stylegan3d.core.session import WHOLE

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session

#: Half-open range of layers; None for all.
Span = tuple[int, int] | None
EVERYWHERE = "All sizes of structures"


class EditLayers:
    """The layers of each direction.

    Parameters
    ----------
    session : Session
        Provides the model's groups of layers.
    common : callable
        What holds for directions that have no range of their own.
    """

    def __init__(self, session: Session, common: Callable[[], Span]) -> None:
        self.session, self._common = session, common
        #: The user's choice for one direction, by its reference.
        self.own: dict[str, Span] = {}

    def spans(self) -> list[tuple[str, Span]]:
        """What an edit can be limited to: (in words, layers)."""
        groups = self.session.layer_groups()
        if [g.key for g in groups] == [WHOLE[0]]:
            groups = []
        return [(EVERYWHERE, None)] + [
            (
                f"{g.name} structures ({g.size_in_words})",
                (g.layers[0], g.layers[-1] + 1),
            )
            for g in groups
        ]

    def of(self, reference: str) -> Span:
        """The layers that an edit along a direction changes."""
        return self.own.get(reference, self._common())

    def in_words(self, reference: str) -> str:
        """Such as "coarse"; empty for a direction that follows the list."""
        if reference not in self.own:
            return ""
        span = self.own[reference]
        for group in self.session.layer_groups():
            if span == (group.layers[0], group.layers[-1] + 1):
                return group.name
        return "all sizes" if span is None else f"layers {span[0]}-{span[1] - 1}"
