"""Captions of two compared pictures."""

from __future__ import annotations

from dataclasses import dataclass

from napari_stylegan3d.views.captions import NAME_LENGTH, Kind, Provenance, shortened
from napari_stylegan3d.widgets.text import _


def distinct_title(title: str, other: str, length: int) -> str:
    """Shorten a title, preferring the parts that differ from the other title.

    Parameters
    ----------
    title, other : str
        Parts joined by commas, as from `describe_recipe`.
    length : int
        Maximum number of characters.
    """
    if len(title) <= length:
        return title
    parts, others = title.split(", "), other.split(", ")
    same = 0
    while same < min(len(parts) - 1, len(others)) and parts[same] == others[same]:
        same += 1
    return shortened(("… " if same else "") + ", ".join(parts[same:]), length)


@dataclass(frozen=True)
class Side(Provenance):
    """One side of a comparison.

    Attributes
    ----------
    letter : str
        "A" or "B".
    title : str
        Short description.
    other : str
        Description of the other side.
    """

    letter: str = ""
    title: str = ""
    other: str = ""

    @property
    def line(self) -> str:
        """Such as "A: Seed 12"; real scans are marked as such."""
        return self.line_of(NAME_LENGTH)

    def line_of(self, length: int) -> str:
        """The same with at most `length` characters after the letter."""
        name = _("Scan: {name}").format(name=self.name) if self.kind == "scan" else self.title
        if self.kind == "scan" and len(name) > length:  # the scan is named in the panel
            name = _("Scan")
        return f"{self.letter}: {distinct_title(name, self.other, length)}"

    @property
    def caption(self) -> str:
        """Caption with the letter and the warning."""
        if self.kind == "scan":  # in two lines, beside the scale bar of a narrow view
            return _("{letter}: Scan\n{name}").format(
                letter=self.letter, name=shortened(self.name, NAME_LENGTH)
            )
        return f"{self.line}\n{self.warning}"


@dataclass(frozen=True)
class Pair(Provenance):
    """A picture that shows both sides.

    Attributes
    ----------
    a, b : Side or None
        The sides.
    how : tuple of str
        How A and B are distinguished: "left" and "right".
    """

    a: Side | None = None
    b: Side | None = None
    how: tuple[str, str] = ("", "")

    @classmethod
    def of(cls, a: Side, b: Side, how: tuple[str, str]) -> Pair:
        """Combine both; a pair has the strongest warning of its sides."""
        kinds = {a.kind, b.kind}
        kind: Kind = "generated" if kinds - {"scan", "edited"} else "scan"
        if kinds == {"scan", "edited"} or kinds == {"edited"}:
            kind = "edited"
        return cls(kind, a=a, b=b, how=how)

    @property
    def caption(self) -> str:
        """Caption that identifies A and B."""
        lines = [
            side.line_of(NAME_LENGTH) + (f" ({how})" if how else "")
            for side, how in zip((self.a, self.b), self.how, strict=True)
            if side is not None
        ]
        return "\n".join(filter(None, (*lines, self.warning)))
