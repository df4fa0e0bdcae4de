"""Types of progress callbacks, and the effort that a caller requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

#: Called with done and total.
Progress = Callable[[float, float], None]
#: Called with done, total and what was done last.
NamedProgress = Callable[[float, float, str], None]
#: Called with what is being done, done and total.
TitledProgress = Callable[[str, float, float], None]
#: Called with the share done, 0 to 1, and what is being done.
ShareProgress = Callable[[float, str], None]
#: Called with steps done, total, and figures such as {"loss": 0.2}.
FiguresProgress = Callable[[int, int, dict[str, float]], None]

#: "full" for saving and measuring; "preview" may differ slightly; "rough" only needs about the
#: right distribution, for statistics over thousands.
Care = Literal["full", "preview", "rough"]


@dataclass(frozen=True)
class Effort:
    """Requested effort for a latent, for families whose mapping takes seconds.

    A diffusion takes many steps from noise to a latent. Callers set the required quality here, and
    `check`, which raises if the latent is no longer needed; fast mappings ignore both. It applies
    to the calling thread until the block ends.
    """

    care: Care = "full"
    check: Callable[[], None] = lambda: None


_current: ContextVar[Effort] = ContextVar("effort", default=Effort())  # noqa: B039 - it is frozen


def current_effort() -> Effort:
    """The effort requested in this thread."""
    return _current.get()


@contextmanager
def effort(care: Care, check: Callable[[], None] | None = None) -> Iterator[None]:
    """Request this effort within the block."""
    token = _current.set(Effort(care, check or (lambda: None)))
    try:
        yield
    finally:
        _current.reset(token)
