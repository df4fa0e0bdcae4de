"""Which of two compared pictures is which, said on the picture."""

from __future__ import annotations

from dataclasses import dataclass

from napari_stylegan3d.text import _
from napari_stylegan3d.views.captions import NAME_LENGTH, Kind, Provenance

SYNTHETIC = _("Synthetic – not for diagnosis")
#: There is less room where both are named.
PAIR_LENGTH = 20


def shortened(text: str, length: int) -> str:
    """The text, or its beginning."""
    return text if len(text) <= length else text[: length - 1] + "…"


@dataclass(frozen=True)
class Side(Provenance):
    """A picture that is one side of a comparison.

    Attributes
    ----------
    letter
        "A" or "B".
    title
        What it shows, in a few words.
    """

    letter: str = ""
    title: str = ""

    @property
    def line(self) -> str:
        """Such as "A: Seed 12"; a real scan is called one."""
        name = _("Real scan: {name}").format(name=self.name) if self.kind == "scan" else self.title
        return f"{self.letter}: {shortened(name, NAME_LENGTH)}"

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
    a, b
        The sides.
    how
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
            shortened(side.line, PAIR_LENGTH) + (f" ({how})" if how else "")
            for side, how in zip((self.a, self.b), self.how, strict=True)
            if side is not None
        ]
        if self.kind != "scan":
            lines.append(SYNTHETIC)
        return "\n".join(lines)
