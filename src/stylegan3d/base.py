"""What every module uses.

Errors meant for the user.

Every error a user can cause is a `StyleGAN3DError` whose message is one sentence: what is wrong and
what to do about it. The command line prints it and exits with status 2; the window shows it as a
notification. Any other exception is a bug.

Names for plain data: what JSON holds, read or to be written.

Doubts: what a person should know before believing a result.

Progress of long work: how far it has come, and whether it is still wanted.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from reprlib import Repr
from typing import Any, Literal, TypeVar

#: What asks a program to stop; Windows lacks the last, by which SLURM warns.
STOP_SIGNALS = [getattr(signal, n) for n in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, n)]


class _Short(Repr):
    def repr_instance(self, x: Any, level: int) -> str:
        is_array = getattr(x, "ndim", 0) and hasattr(x, "dtype")
        return f"{x.dtype} {tuple(x.shape)}" if is_array else super().repr_instance(x, level)


_SHORT = _Short()
_SHORT.maxother, _SHORT.maxlist, _SHORT.maxlevel = 70, 3, 2
_LONGEST = 900  # characters; a path may have thousands


def one_line(text: str) -> str:
    """Sanitise a message: one line, no control characters, limited length.

    Messages quote names from files. A terminal would execute control characters in them, and an
    unpaired surrogate cannot be encoded.
    """
    shown = "".join(" " if c.isspace() else c if c.isprintable() else "?" for c in text)
    if len(shown) > _LONGEST:
        # The end of a message says what to do.
        shown = f"{shown[: _LONGEST * 2 // 3]} … {shown[-_LONGEST // 3 :]}"
    return shown


def brief_repr(thing: Any) -> str:
    """A dataclass in one line, for `__repr__`: of arrays their type and shape."""
    texts = [f"{name}={text}" for name, text in brief_fields(thing).items()]
    return f"<{type(thing).__name__} {', '.join(texts)}>"


def brief_fields(thing: Any) -> dict[str, str]:
    """The fields of a dataclass in short: of arrays their type and shape."""
    return {part.name: _SHORT.repr(getattr(thing, part.name)) for part in fields(thing)}


class StyleGAN3DError(Exception):
    """Base of all errors meant for the user; the message is one clear sentence."""

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


class ScanError(StyleGAN3DError):
    """A scan that cannot be read or used."""


class ModelError(StyleGAN3DError):
    """A generator that cannot be loaded, or does not support a request."""


class LatentError(StyleGAN3DError):
    """A latent file that is damaged or belongs to another generator."""


class RecipeError(StyleGAN3DError):
    """A recipe that does not describe a volume of this generator."""


class OutputError(StyleGAN3DError):
    """A result that cannot be written."""


class SessionError(StyleGAN3DError):
    """A saved session that is damaged or open in another window."""


#: A JSON object, such as a model's card, a report or the row of a table.
Json = dict[str, Any]
#: One that is only read.
JsonView = Mapping[str, Any]

#: "refuse": nothing should be concluded from it; "ask": somebody has to look, or to answer;
#: "tell": to be known.
Severity = Literal["refuse", "ask", "tell"]
_BEGINNINGS = {"refuse": "Not usable", "ask": "Check", "tell": "Note"}


@dataclass(frozen=True)
class Doubt:
    """What a person should know before believing a result.

    It is raised where the fact is read and goes with the scan to every result, in the window, on
    the command line and in files.

    Attributes
    ----------
    kind : str
        What it is about: a noun in lower case with hyphens, such as "slices-missing".
    severity : {"refuse", "ask", "tell"}
    sentence : str
        For a person in any program, so without options or buttons.
    figures : mapping
        The numbers in the sentence; plain data.
    """

    kind: str
    severity: Severity
    sentence: str
    figures: JsonView = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        """One line for terminals and tables."""
        return f"{_BEGINNINGS[self.severity]}: {self.sentence}"

    @classmethod
    def read(cls, told: Any) -> Doubt:
        """A doubt, also from JSON.

        Raises
        ------
        ValueError
            If it is neither.
        """
        if isinstance(told, Doubt):
            return told
        if isinstance(told, Mapping) and {"kind", "severity", "sentence"} <= told.keys():
            return cls(told["kind"], told["severity"], told["sentence"], told.get("figures", {}))
        raise ValueError("a doubt has a kind, a severity and a sentence")


#: What a step tells: a plain fact, or a doubt.
Note = str | Doubt


def in_words(note: Note) -> str:
    """The sentence of a note."""
    return note.sentence if isinstance(note, Doubt) else note


def doubts_in(notes: Iterable[Note]) -> list[Doubt]:
    """The doubts among the notes, each once."""
    return list(dict.fromkeys(note for note in notes if isinstance(note, Doubt)))


def facts_in(notes: Iterable[Note]) -> list[str]:
    """The plain facts among the notes, each once."""
    return list(dict.fromkeys(note for note in notes if isinstance(note, str)))


#: "full" for saving and measuring; "preview" may differ slightly; "rough" only needs about the
#: right distribution, for statistics over thousands.
Care = Literal["full", "preview", "rough"]


class Cancelled(Exception):
    """Raised where a result is no longer wanted."""


class Progress:
    """Takes how far a long piece of work has come, and says whether it is still wanted.

    Long functions take one as `progress` and call it as they go. It is the one way to follow, pause
    and cancel them: a progress bar, a window's job and a script each pass their own.

    Parameters
    ----------
    tell : callable or None
        Called with how much is done, of how much, what is being done and a detail such as the step
        (which may be "").
    cancelled, paused : callable or None
        Say whether the work is to end or to wait.
    take : callable or None
        Called with each intermediate result, where a function has some.
    """

    def __init__(
        self,
        tell: Callable[[float, float, str, str], Any] | None = None,
        *,
        cancelled: Callable[[], bool] | None = None,
        paused: Callable[[], bool] | None = None,
        take: Callable[[Any], Any] | None = None,
    ) -> None:
        self._tell, self._cancelled, self._paused, self._take = tell, cancelled, paused, take

    def __call__(self, done: float, total: float = 1.0, text: str = "", detail: str = "") -> None:
        """Report `done` of `total`; `text` says what is being done, `detail` such as the step."""
        if self._tell is not None:
            self._tell(done, total, text, detail)

    @property
    def cancelled(self) -> bool:
        """Whether the work is to end: it raises `Cancelled` or returns what it has so far."""
        return self._cancelled is not None and self._cancelled()

    @property
    def paused(self) -> bool:
        """Whether the work is to wait, where it can."""
        return self._paused is not None and self._paused()

    def check(self) -> None:
        """Raise `Cancelled` if the work is to end."""
        if self.cancelled:
            raise Cancelled

    def hand_over(self, part: Any) -> None:
        """Pass on an intermediate result."""
        if self._take is not None:
            self._take(part)

    def part(
        self,
        start: float,
        share: float,
        total: float = 1.0,
        *,
        text: Callable[[str], str] = str,
        take: Callable[[Any], Any] | None = None,
    ) -> Progress:
        """Progress of a part of this work: `share` of `total`, after `start` of it is done.

        `text` makes what this is told from what the part is told; `take` gets the intermediate
        results of the part.
        """
        return Progress(
            lambda done, of, doing, detail: self(
                start + share * done / of, total, text(doing), detail
            ),
            cancelled=lambda: self.cancelled,
            paused=lambda: self.paused,
            take=take,
        )


#: Tells nobody; the work is wanted to its end.
SILENT = Progress()
T = TypeVar("T")


def followed(items: Collection[T], progress: Progress, *words: str) -> Iterator[T]:
    """The items one by one; of each, once it is done with, `progress` is told."""
    for done, item in enumerate(items, 1):
        yield item
        progress(done, len(items), *words)


@dataclass(frozen=True)
class Effort:
    """Requested effort for a latent, for families whose mapping takes seconds.

    A diffusion takes many steps from noise to a latent. Callers set the required quality here, and
    `check`, which raises if the latent is no longer needed; fast mappings ignore both. It applies
    to the calling thread until the block ends: a mapping has no other way to be told.
    """

    care: Care = "full"
    check: Callable[[], None] = SILENT.check


_current: ContextVar[Effort] = ContextVar("effort", default=Effort())  # noqa: B039 - it is frozen


def current_effort() -> Effort:
    """The effort requested in this thread."""
    return _current.get()


@contextmanager
def effort(care: Care, check: Callable[[], None] = SILENT.check) -> Iterator[None]:
    """Request this effort within the block."""
    token = _current.set(Effort(care, check))
    try:
        yield
    finally:
        _current.reset(token)


def counted(count: int, noun: str) -> str:
    """A count with its noun: "1 scan", "2 scans"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration(seconds: float) -> str:
    """Such as '8 s', '2 min 10 s' or '1 h 5 min'."""
    whole = max(round(seconds), 1)
    if whole < 600:
        minutes, rest = divmod(whole, 60)
        return " ".join([f"{minutes} min"] * (minutes > 0) + [f"{rest} s"] * (rest > 0))
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
