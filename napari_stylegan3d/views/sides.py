"""Captions of two compared pictures."""

from __future__ import annotations

from dataclasses import dataclass

from napari_stylegan3d.views.captions import NAME_LENGTH, Kind, Provenance, shortened


def distinct_title(title: str, other: str) -> str:
    """A title, unless it is short without the parts it begins with like the other title.

    It is not cut: a view leaves out clauses by the room it has.

    Parameters
    ----------
    title, other : str
        Parts joined by commas, as from `describe_recipe`.
    """
    if len(title) <= NAME_LENGTH:
        return title
    parts, others = title.split(", "), other.split(", ")
    same = 0
    while same < min(len(parts) - 1, len(others)) and parts[same] == others[same]:
        same += 1
    return ("… " if same else "") + ", ".join(parts[same:])


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
        name = self._named
        if self.kind == "scan" and len(name) > NAME_LENGTH:  # the scan is named in the panel
            name = "Scan"
        return f"{self.letter}: {distinct_title(name, self.other)}"

    @property
    def _named(self) -> str:
        return f"Scan: {self.name}" if self.kind == "scan" else self.title

    @property
    def whole(self) -> str:
        """The caption with nothing left out."""
        return "\n".join(filter(None, (f"{self.letter}: {self._named}", self.warning)))

    @property
    def caption(self) -> str:
        """Caption with the letter and the warning."""
        if self.kind == "scan":  # in two lines, beside the scale bar of a narrow view
            return f"{self.letter}: Scan\n{shortened(self.name, NAME_LENGTH)}"
        return f"{self.line}\n{self.warning}"


@dataclass(frozen=True)
class ComparedPair(Provenance):
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
    def of(cls, a: Side, b: Side, how: tuple[str, str]) -> ComparedPair:
        """Combine both; a pair has the strongest warning of its sides."""
        kinds = {a.kind, b.kind}
        kind: Kind = "generated" if kinds - {"scan", "edited"} else "scan"
        if kinds == {"scan", "edited"} or kinds == {"edited"}:
            kind = "edited"
        return cls(kind, a=a, b=b, how=how)

    @property
    def caption(self) -> str:
        """Caption that identifies A and B."""
        return self._of_both([side.line for side in self._sides])

    @property
    def whole(self) -> str:
        """The caption with nothing left out."""
        return self._of_both([side.whole.split("\n")[0] for side in self._sides])

    @property
    def _sides(self) -> list[Side]:
        return [side for side in (self.a, self.b) if side is not None]

    def _of_both(self, lines: list[str]) -> str:
        # Where B is comes first: a caption that is cut ends with the last edit.
        notes = [
            line.replace(":", f" ({how}):", 1) if how else line
            for line, how in zip(lines, self.how, strict=False)
        ]
        return "\n".join(filter(None, (*notes, self.warning)))
