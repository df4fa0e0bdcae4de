"""Whose brain a picture shows, in words: captions, titles, and what files are called.

A function of the state, so that a name can be checked wherever it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stylegan3d.pages.shortening import shortened
from stylegan3d.recipe.description import describe_changes, describe_recipe, describe_source
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.session.case import Case
from stylegan3d.session.state import State
from stylegan3d.session.workspace import Workspace
from stylegan3d.storage.about import EDITED_SCAN, ORIGIN_NAMES, WORN_DETAIL, Origin

Kind = Literal["generated", "reconstruction", "worn", "scan", "edited", "difference", "second"]

#: Warnings in captions; never shortened.
SYNTHETIC = "Synthetic – not for diagnosis"
DIFFERENCE = "Difference – not for diagnosis"
UNCONFIRMED = "Same patient? Not confirmed"
UNEDITED = "Overlay not edited"
OF_ONE = tuple(f"{letter}: {EDITED_SCAN}" for letter in "AB")
WARNINGS = (SYNTHETIC, DIFFERENCE, EDITED_SCAN, WORN_DETAIL, UNCONFIRMED, UNEDITED, *OF_ONE)
#: What a scan warns of that was not acquired: as on the day when it was made.
MADE_AS: dict[Origin, Kind] = {"acquired": "scan", "synthetic": "generated", "edited": "edited"}
#: Maximum length of names and of edits, for narrow views.
NAME_LENGTH, WHAT_LENGTH = 24, 44


@dataclass(frozen=True)
class Over:
    """A second image that lies over a picture.

    Attributes
    ----------
    name : str
        Name of its file.
    patient : str
        The patient beside whose scan it was opened.
    confirmed : bool
        Whether the user says that both are the same patient's.
    """

    name: str
    patient: str
    confirmed: bool

    def line(self, kind: Kind) -> str:
        """Added to the caption of a picture of this kind; edits do not move it."""
        text = f"Overlay: {shortened(self.name, NAME_LENGTH)}"
        return self._with_doubt(f"{text}\n{UNEDITED}" if kind == "edited" else text)

    @property
    def alone(self) -> Provenance:
        """Its provenance where it is the picture."""
        text = "Patient: {name}" if self.confirmed else "Opened with {name}"
        patient = text.format(name=shortened(self.patient, NAME_LENGTH))
        return Provenance("second", self.name, self._with_doubt(patient))

    def _with_doubt(self, words: str) -> str:
        return words if self.confirmed else f"{words}\n{UNCONFIRMED}"


@dataclass(frozen=True)
class Provenance:
    """Provenance of a layer.

    Attributes
    ----------
    kind : Kind
        Source of the voxels: a model ("generated", "reconstruction" of a scan, or "worn" with the
        detail of a scan), a "scan" as recorded, an "edited" scan, a "difference", or a "second"
        image.
    name : str
        The patient, whose detail it is, or the second image; empty for a random brain.
    what : str
        Description of the edits, of a random brain, of the brain that wears a detail, or of the
        difference; of a second image the patient.
    over : Over or None
        The second image that lies over it.
    origin : {"acquired", "synthetic", "edited"}
        Of a scan: what its files say that it is.
    short : str
        The name as captions have it; empty for as much as fits.
    """

    kind: Kind
    name: str = ""
    what: str = ""
    over: Over | None = None
    origin: Origin = "acquired"
    short: str = ""

    @property
    def made_as(self) -> Kind:
        """Its kind; of a scan that was not acquired, that of what it was when it was made."""
        return MADE_AS.get(self.origin, "difference") if self.kind == "scan" else self.kind

    @property
    def scan_words(self) -> str:
        """What a scan is called before its name."""
        return ORIGIN_NAMES[self.origin]

    @property
    def caption(self) -> str:
        """Caption on every view: the patient and the edits, what lies over it, then a warning."""
        return self._text(self._brief, shortened(self.what, WHAT_LENGTH))

    @property
    def _brief(self) -> str:
        return self.short or shortened(self.name, NAME_LENGTH)

    @property
    def whole(self) -> str:
        """The caption with nothing left out."""
        return self._text(self.name, self.what)

    def _text(self, name: str, what: str) -> str:
        if self.kind == "scan":
            line = f"{self.scan_words}: {name}"
        elif self.kind == "second":
            line = "\n".join((f"Overlay only: {name}", self.what))
        elif self.kind == "reconstruction" and name:
            line = reconstruction_of(name, what)
        elif self.kind == "worn":
            line = f"Detail of {name} on {what}"
        else:
            line = ": ".join(filter(None, (name, what)))
        over = "" if self.over is None else self.over.line(self.kind)
        return "\n".join(filter(None, (line, over, self.warning)))

    @property
    def subject(self) -> str:
        """The patient, for the window's title; empty for a random brain."""
        if self.kind == "reconstruction" and self.name:
            return f"Reconstruction of {self.name}{', edited' if self.what else ''}"
        if self.made_as == "edited":
            return f"{self.name}, edited"
        if self.kind == "scan" and self.origin == "synthetic":
            return f"{self.name}, synthetic"
        if self.kind == "worn":
            return f"Detail of {self.name} on {self.what}"
        return self.name or self.what

    @property
    def warning(self) -> str:
        """Warning in the caption; empty for a scan as recorded."""
        recorded = {"scan": "", "second": ""}
        marks = {"edited": EDITED_SCAN, "worn": WORN_DETAIL, "difference": DIFFERENCE, **recorded}
        return marks.get(self.made_as, SYNTHETIC)

    @property
    def one_line(self) -> str:
        """The caption in one line."""
        return self.caption.replace("\n", " · ")


#: A random brain.
GENERATED = Provenance("generated")


def reconstruction_of(name: str, what: str) -> str:
    """What the reconstruction of a scan is called, as it was found or as it was edited."""
    return f"Reconstruction of {name}, edited: {what}" if what else f"Reconstruction of {name}"


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
        if self.kind == "scan":  # whose it is stays, however long the name
            return f"{self.letter}: {self.scan_words}: {self._brief}"
        return f"{self.letter}: {distinct_title(self.title, self.other)}"

    @property
    def named(self) -> str:
        """What it is; real scans are marked as such."""
        return f"{self.scan_words}: {self.name}" if self.kind == "scan" else self.title

    @property
    def whole(self) -> str:
        """The caption with nothing left out."""
        return "\n".join(filter(None, (f"{self.letter}: {self.named}", self.warning)))

    @property
    def caption(self) -> str:
        """Caption with the letter and the warning."""
        if self.kind == "scan":  # in two lines, beside the scale bar of a narrow view
            line = f"{self.letter}: {self.scan_words}\n{self._brief}"
            return "\n".join(filter(None, (line, self.warning)))
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
        kinds = {a.made_as, b.made_as}
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
    def warning(self) -> str:
        """The strongest of both; of one edited scan with its letter."""
        edited = [one.letter for one in self._sides if one.made_as == self.kind == "edited"]
        return f"{edited[0]}: {EDITED_SCAN}" if len(edited) == 1 else super().warning

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


def name_of(session: Workspace, source: Source) -> str:
    """The patient behind a projection; empty for a brain that is nobody's."""
    case = session.case_of(source)
    return "" if case is None else case.name


def scan_file_of(session: Workspace, recipe: Recipe) -> Path | None:
    """The file of the scan that a recipe starts from, if that scan is open and aligned."""
    case = session.case_of(recipe.source)
    return None if case is None or case.aligned is None else case.aligned.scan.path


def subject_of(session: Workspace, recipe: Recipe) -> str:
    """What the picture of a recipe shows, in a few words for panels and tables."""
    return titled(provenance_of(session, recipe), recipe)


def titled(told: Provenance, recipe: Recipe | None) -> str:
    """What a picture of this provenance shows, be it a patient or the random brain of a recipe."""
    return in_words(told) or describe_recipe(recipe or Recipe())


def in_words(told: Provenance) -> str:
    """What a picture of this provenance shows; empty for a random brain."""
    if told.kind == "scan":
        return f"{told.scan_words} {told.name}"
    if told.kind == "edited":
        return f"Edited scan {told.name}: {told.what}"
    if told.kind == "difference":
        return f"{told.name}: {told.what}"
    if told.kind == "reconstruction":
        return reconstruction_of(told.name, told.what)
    return told.subject if told.kind == "worn" else told.what


def provenance_of_scan(case: Case) -> Provenance:
    """A patient's scan: as recorded, or synthetic or edited for ever, as its files say."""
    return Provenance("scan", case.name, origin=case.origin)


def provenance_of(session: Workspace, recipe: Recipe, *, amounts: bool = True) -> Provenance:
    """What the picture of a recipe shows: a scan, an edited one, a reconstruction, or nobody.

    Without `amounts` edits are named only.
    """
    detail, name, changes = recipe.worn_detail, name_of(session, recipe.source), ""
    if detail is None:
        changes = describe_changes(recipe, amounts=amounts)
        words = filter(None, ("" if name else describe_source(recipe.source), changes))
        return Provenance("reconstruction" if name else "generated", name, ", ".join(words))
    if not recipe.is_edited_scan:
        brain = f"the brain of {name}" if name else "another brain"
        changes = describe_changes(recipe.replace(detail=None), amounts=amounts)
        whose = name_of(session, detail.source)
        return Provenance("worn", whose, ", ".join(filter(None, (brain, changes))))
    changes = describe_changes(recipe, amounts=amounts)
    if changes:
        return Provenance("edited", name, changes)
    case = session.case_of(recipe.source)
    return Provenance("scan", name) if case is None else provenance_of_scan(case)


#: What a difference is of.
EDITED_MINUS_SCAN, MODEL_MINUS_SCAN = "edited − scan", "reconstruction − scan"


def provenance_of_state(session: Workspace, state: State) -> Provenance:
    """What the picture of a state shows, on the screen or in a column."""
    case, drawn = state.case, state.drawn
    if case is not None and state.what in ("difference", "residual"):
        told = EDITED_MINUS_SCAN if drawn and drawn.detail else MODEL_MINUS_SCAN
        return Provenance("difference", case.name, told)
    if case is not None and (drawn is None or state.what in ("scan", "unusual")):
        return provenance_of_scan(case)
    return provenance_of(session, drawn or session.synthetic)


def ground_of(session: Workspace) -> str:
    """What a measurement in the picture holds for: a brain of one model, or a scan where it lies.

    For a scan it begins with the key of its patient, and depends on which side is said to be left
    and on where it lies.
    """
    case, shown, generator = session.case, session.state, session.generator
    model = "" if generator is None else f"{generator.hash} {generator.space.affine.tolist()}"
    if case is None:
        return f"{model} {describe_recipe(Recipe(session.synthetic.source))}"
    side = None if case.choice is None else case.choice.orientation
    acquired = shown.what == "scan" and session.placed is None
    lies = "" if case.aligned is None else case.aligned.rigid.round(2).tolist()
    return f"{case.key} {side} {'' if acquired else f'{model} {lies}'}"


def brain_of(session: Workspace) -> str:
    """The brain that is on the screen, whatever was done to it: a patient, or a number.

    A scan that is not aligned lies elsewhere than its reconstruction, and is named for it.
    """
    shown, case = session.state, session.case
    if case is not None and shown.what == "scan":
        where = "as acquired" if case.origin == "acquired" else "as opened"
        return case.name if session.placed is not None else f"{case.name} {where}"
    if case is not None:
        return case.name
    return describe_recipe(Recipe(session.synthetic.source))
