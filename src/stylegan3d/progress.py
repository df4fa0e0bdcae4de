"""How work reports what is done of it, and how much work is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

#: With how much is done, and of how much.
Progress = Callable[[float, float], None]
#: The same, and what was done last.
NamedProgress = Callable[[float, float, str], None]
#: With what is being done, how much of it, and of how much.
TitledProgress = Callable[[str, float, float], None]
#: With the share that is done, 0 to 1, and what is being done.
ShareProgress = Callable[[float, str], None]


#: "full" is what is saved and measured; "preview" may be a little different; "rough" only has to
#: have about the right distribution, for statistics of thousands.
Care = Literal["full", "preview", "rough"]


@dataclass(frozen=True)
class Effort:
    """How much work a latent may cost, for families whose mapping takes seconds.

    A diffusion goes many steps from its noise to a latent. Whoever draws a picture says here how
    good it has to be, and whether it is wanted still; a mapping that is quick asks for neither. It
    holds for the calling thread alone, until the block ends.

    `check` raises once the latent is not wanted any more.
    """

    care: Care = "full"
    check: Callable[[], None] = lambda: None


_current: ContextVar[Effort] = ContextVar("effort", default=Effort())  # noqa: B039 - it is frozen


def current_effort() -> Effort:
    """What is asked for in this thread now."""
    return _current.get()


@contextmanager
def effort(care: Care, check: Callable[[], None] | None = None) -> Iterator[None]:
    """Ask for this in the block."""
    token = _current.set(Effort(care, check or (lambda: None)))
    try:
        yield
    finally:
        _current.reset(token)
