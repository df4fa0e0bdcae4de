"""Texts made to fit: shortened, wrapped, or with places where they may break.

Clauses that are set off by commas are left out as a whole: half a clause says nothing, and may say
something else than the whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import Protocol

#: A place where a line may break, of no width.
BREAK = "\u200b"
#: Words that may be broken, and where.
LONG_WORD = re.compile(r"\S{18,}")
#: Between words; a number keeps its unit.
WORD_GAP = re.compile(r" (?!(?:sd|mm|ml|years|%)(?:\s|$))")
JOINTS = re.compile(r"([_\-./\\])")


class Metrics(Protocol):
    """Measures texts, such as a `QFontMetrics`."""

    def horizontalAdvance(self, text: str, /) -> int:
        """Width in pixels."""


def in_words(text: str, fits: Callable[[str], bool], *, keep_end: bool = True) -> str:
    """As much of a text as fits, in whole clauses, else in whole words, else in letters.

    Parameters
    ----------
    text : str
        Clauses, set off by commas.
    fits : callable
        Whether there is room for a text.
    keep_end : bool
        Leave out the middle instead of the end: similar names differ at the beginning or the end,
        and an amount is at the end.
    """
    if fits(text):
        return text
    clauses = text.split(", ")
    several, words = len(clauses) > 1, WORD_GAP.split(clauses[0])
    shorter = list(_fewer(clauses, ", ", 1, keep_end))
    last = WORD_GAP.split(clauses[-1])
    if several and keep_end and any(sign.isdigit() for sign in last[-1]):
        # Two clauses, the last of which ends in an amount, before the first alone.
        head = clauses[0] + (", …, " if len(clauses) > 2 else ", ")
        shorter[-1:-1] = [head + end for end in _fewer(last, " ", 2, True)]
    longest = max(words, key=len)
    # The first word alone stands for others, but not for a long name.
    alone = several or (not keep_end and words[-1] != longest)
    shorter += _fewer(words, " ", 1 if alone else 2, keep_end and not several)
    for shown in shorter:
        if fits(shown):
            return shown
    for whole in (longest, clauses[0]):
        for kept in range(len(whole) - 1, 1, -1):
            end = kept // 2
            shown = clauses[0].replace(whole, f"{whole[: kept - end]}…{whole[-end:]}", 1)
            if fits(shown):
                return shown
    return "…"


def _fewer(parts: list[str], joint: str, fewest: int, keep_end: bool) -> Iterator[str]:
    """The parts without one, without two, and so on, with an ellipsis instead."""
    for count in range(len(parts) - 1, fewest - 1, -1):
        end = count // 2 if keep_end else 0
        yield joint.join([*parts[: count - end], "…", *parts[len(parts) - end :]])


def shortened(text: str, length: int) -> str:
    """At most `length` characters of a text; its middle is left out."""
    return in_words(text, lambda shown: len(shown) <= length)


def told_apart(name: str, others: Iterable[str], length: int) -> str:
    """At most `length` characters of a name, among them those that other names lack."""
    rest = [other for other in others if other != name]
    if len(name) <= length or not rest:
        return shortened(name, length)
    start = min(_common(name, other) for other in rest)
    end = min(_common(name[:start:-1], other[:start:-1]) for other in rest)
    first, last = start, max(len(name) - end, start + 1)
    while first and name[first - 1].isdigit():  # a number says nothing without its beginning
        first -= 1
    while last < len(name) and name[last].isdigit():
        last += 1
    room = length - (last - first) - 2
    if room < 0:
        return f"…{name[first : first + length - 1]}"
    head = min(first, room // 2)
    tail = min(len(name) - last, room - head)
    head = min(first, room - tail)
    before = name[:first] if head == first else f"{name[:head]}…"
    after = name[last:] if tail == len(name) - last else f"…{name[len(name) - tail :]}"
    return f"{before}{name[first:last]}{after}"


def _common(one: str, other: str) -> int:
    """How many characters two texts begin with together."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def elided(text: str, metrics: Metrics, width: int) -> str:
    """As much of a text as fits into so many pixels; see `in_words`."""
    return in_words(text, lambda shown: metrics.horizontalAdvance(shown) <= width)


def wrapped(text: str, metrics: Metrics, width: int) -> list[str]:
    """Lines of whole words that are at most so many pixels long; of a longer word, longer."""
    lines: list[str] = []
    for word in WORD_GAP.split(" ".join(text.split())):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and metrics.horizontalAdvance(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def breakable(text: str) -> str:
    """A text whose long words may be broken after the signs that join the parts of file names."""

    def broken(word: re.Match[str]) -> str:
        return JOINTS.sub(rf"\1{BREAK}", word[0])

    return LONG_WORD.sub(broken, text)
