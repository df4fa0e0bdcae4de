"""Which of two compared pictures is which, said on the picture."""

from __future__ import annotations

from dataclasses import dataclass

from napari_stylegan3d.views.captions import NAME_LENGTH, Kind, Provenance, shortened
from napari_stylegan3d.widgets.text import _

SYNTHETIC = _("Synthetic – not for diagnosis")


def told_apart(title: str, other: str, length: int) -> str:
    """A title, or as much of it as there is room for: first what the other one does not say.

    Parameters
    ----------
    title, other : str
        See `describe_recipe`: parts that are joined by commas.
    length : int
        Most characters.
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
    """A picture that is one side of a comparison.

    Attributes
    ----------
    letter : str
        "A" or "B".
    title : str
        What it shows, in a few words.
    other : str
        What the other side shows.
    """

    letter: str = ""
    title: str = ""
    other: str = ""

    @property
    def line(self) -> str:
        """Such as "A: Seed 12"; a real scan is called one."""
        return self.line_of(NAME_LENGTH)

    def line_of(self, length: int) -> str:
        """The same with so many characters after the letter at most."""
        name = _("Real scan: {name}").format(name=self.name) if self.kind == "scan" else self.title
        if self.kind == "scan" and len(name) > length:  # which scan is said in the panel
            name = _("Real scan")
        return f"{self.letter}: {told_apart(name, self.other, length)}"

    @property
    def caption(self) -> str:
        """Which it is, and what it must not be used for."""
        if self.kind == "scan":  # in two lines, beside the scale bar of a narrow view
            return _("{letter}: Real scan\n{name}").format(
                letter=self.letter, name=shortened(self.name, NAME_LENGTH)
            )
        return f"{self.line}\n{SYNTHETIC}"


@dataclass(frozen=True)
class Pair(Provenance):
    """A picture that shows both sides at once.

    Attributes
    ----------
    a, b : Side or None
        The sides.
    how : tuple of str
        What tells them apart, of A and of B: "left" and "right".
    """

    a: Side | None = None
    b: Side | None = None
    how: tuple[str, str] = ("", "")

    @classmethod
    def of(cls, a: Side, b: Side, how: tuple[str, str]) -> Pair:
        """Both; a pair with a synthetic side is synthetic."""
        kind: Kind = "scan" if a.kind == b.kind == "scan" else "generated"
        return cls(kind, "", a, b, how)

    @property
    def caption(self) -> str:
        """Which is which."""
        lines = [
            side.line_of(NAME_LENGTH) + (f" ({how})" if how else "")
            for side, how in zip((self.a, self.b), self.how, strict=True)
            if side is not None
        ]
        if self.kind != "scan":
            lines.append(SYNTHETIC)
        return "\n".join(lines)
