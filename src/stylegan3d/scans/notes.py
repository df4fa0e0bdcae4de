"""What is worth saying of a scan, apart from how it is said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["info", "check"]
_MARK = "Check: "


@dataclass(frozen=True)
class Note:
    """One remark on a scan or on what was done to it.

    Attributes
    ----------
    level : {"info", "check"}
        "check" for what a person should look into, "info" for what is merely said.
    text : str
        In words.
    """

    level: Level
    text: str

    def __str__(self) -> str:
        """As files and the console have it: what is to be looked into begins with "Check:"."""
        return _MARK * (self.level == "check") + self.text

    @classmethod
    def read(cls, words: str) -> Note:
        """The note that a file has in words."""
        text = words.removeprefix(_MARK)
        return cls("info" if text == words else "check", text)

    @property
    def sentence(self) -> str:
        """The text alone, with a capital at the beginning."""
        return self.text[:1].upper() + self.text[1:]


def info(*texts: str) -> list[Note]:
    """Notes that merely say something."""
    return [Note("info", text) for text in texts]


def checks(notes: Iterable[Note]) -> list[Note]:
    """Those of the notes that a person should look into."""
    return [note for note in notes if note.level == "check"]
