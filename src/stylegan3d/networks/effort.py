"""How much work a latent may cost, for families whose mapping takes seconds.

A diffusion goes many steps from its noise to a latent. Whoever draws a picture says here how good
it has to be, and whether it is wanted still; a mapping that is quick asks for neither. It holds for
the calling thread alone, until the block ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

#: "full" is what is saved and measured; "preview" may be a little different; "rough" only has to
#: have about the right distribution, for statistics of thousands.
Care = Literal["full", "preview", "rough"]


@dataclass(frozen=True)
class Effort:
    """What is asked of a mapping; `check` raises once the latent is not wanted any more."""

    care: Care = "full"
    check: Callable[[], None] = lambda: None


_current: ContextVar[Effort] = ContextVar("effort", default=Effort())  # noqa: B039 - it is frozen


def current() -> Effort:
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
