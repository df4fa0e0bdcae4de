"""Texts made to fit: shortened, wrapped, or with places where they may break.

Clauses that are set off by commas are left out as a whole: half a clause says nothing, and may say
something else than the whole.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

#: A place where a line may break, of no width.
BREAK = "\u200b"
#: Words that may be broken, and where.
LONG_WORD = re.compile(r"\S{18,}")
#: Between words; a number keeps its unit.
WORD_GAP = re.compile(r" (?!(?:sd|mm|ml|years|%)(?:\s|$))")
#: What "…" stands for; a number says nothing without its beginning or end.
LEFT_OUT = r"(?!(?<=\d)\d).+(?<!\d(?=\d))"
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
    """At most `length` characters of a name, in a form that no other name has if it is cut so."""
    every = sorted({name, *others})
    if len(name) <= length or len(every) == 1:
        return shortened(name, length)
    for shown in (shortened(name, length), *_cut(name, length)):
        form = re.compile(LEFT_OUT.join(map(re.escape, shown.split("…"))), re.DOTALL)
        if [one for one in every if form.fullmatch(one)] == [name]:
            return shown
    number = f"…#{every.index(name) + 1}"
    return name[: length - len(number)] + number


def _cut(name: str, length: int) -> Iterator[str]:
    """A name without its middle, its end or its beginning; then without two parts."""
    room, end = length - 1, length // 4
    for head in sorted(range(length), key=lambda head: abs(2 * head - room)):
        yield f"{name[:head]}…{name[len(name) - room + head :]}"
    middle = length - 2 - 2 * end
    for first in range(end, len(name) - end - middle):
        yield f"{name[:end]}…{name[first : first + middle]}…{name[len(name) - end :]}"


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
