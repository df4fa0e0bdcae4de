"""The open patients, each with a history, and the one state that the window shows.

Without Qt, so that every rule can be tested without a window. A change is told once, after all of
it is there; what a long task brings for a patient goes to that patient, never to the screen.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from stylegan3d.base import JsonView
from stylegan3d.recipe.history import History
from stylegan3d.recipe.model import MadeWith, Model
from stylegan3d.recipe.recipe import Detail, Mix, Recipe, Source
from stylegan3d.scans.person import SEXES, Person
from stylegan3d.scans.verdicts import withheld
from stylegan3d.session.annotations import NOTHING, Annotations, EditedLabels
from stylegan3d.session.case import Case
from stylegan3d.session.state import (
    IN_COLUMNS,
    MADE_AGAIN,
    NOBODY,
    HistoryEntry,
    How,
    Patient,
    State,
    Subject,
    Synthetic,
    What,
)
from stylegan3d.storage.encoding import finite_number
from stylegan3d.storage.formats import scan_suffix

if TYPE_CHECKING:
    from stylegan3d.scans import AlignedScan, Scan
    from stylegan3d.scans.scan_data import ScanData

#: Changes of one control within this time are one undo step.
SAME_GESTURE_S = 0.8


@dataclass(frozen=True)
class StateChange:
    """What happened: the states before and now, and which parts of the workspace changed.

    Attributes
    ----------
    before, now : State
    parts : frozenset of str
        "recipe", "look", "case" (of the patient on the screen), "patients" (of the list),
        "history", "projected", "person" (an age or sex as typed), "annotations", "comparison",
        "model".
    live : bool
        Whether a control is being dragged.
    """

    before: State
    now: State
    parts: frozenset[str]
    live: bool = False

    @property
    def another_subject(self) -> bool:
        """Whether somebody else is on the screen now."""
        return self.before.key != self.now.key


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All that a session keeps.

    Attributes
    ----------
    histories : mapping of str to History
        Of each subject, by key.
    key : str
        Whose brain is on the screen.
    projected : tuple of Case
        All projections, oldest first.
    persons : mapping
        Ages and sexes as typed, see `Workspace.persons`.
    annotations : mapping of str to Annotations
        By key.
    unclaimed : tuple of EditedLabels
        Of scans that are not among the patients.
    compared : State
        What is compared with whatever is on the screen.
    """

    histories: Mapping[str, History[HistoryEntry]]
    key: str = NOBODY
    projected: tuple[Case, ...] = ()
    persons: Mapping[str, Person] = field(default_factory=dict)
    annotations: Mapping[str, Annotations] = field(default_factory=dict)
    unclaimed: tuple[EditedLabels, ...] = ()
    compared: State = field(default_factory=State)


class Workspace:
    """What is shown and of whom, with undo and redo; the generator; the patients."""

    def __init__(self) -> None:
        self.generator: Model | None = None
        self._state = State()
        self._histories: dict[str, History[HistoryEntry]] = {NOBODY: History([HistoryEntry()])}
        #: Scans that are being read, or could not be read; oldest first.
        self.arriving: tuple[Case, ...] = ()
        self._projected: list[Case] = []
        #: Projections that ended while an earlier one of the same patient was edited, by key.
        self._ready: dict[str, HistoryEntry] = {}
        #: Default second brain in Mix, by model.
        self._seconds: dict[str, Source] = {}
        #: What lies over each subject's brain, by key.
        self._annotations: dict[str, Annotations] = {}
        #: Edited labels of scans that are not open; they wait for them.
        self._unclaimed: tuple[EditedLabels, ...] = ()
        #: Age and sex as typed, by the key that `person` has.
        self.persons: dict[str, Person] = {}
        #: Whether edits, mix and detail go along to the next seed; else each seed has its own.
        self.keep_edits = False
        self._own: dict[Source, Recipe] = {}
        #: Last state of a subject with a model before another was opened.
        self._left: dict[tuple[str, str], HistoryEntry] = {}
        self._last_gesture: tuple[str, float] = ("", 0.0)
        self._told: set[str] | None = None

    # What there is

    @property
    def state(self) -> State:
        """What is on the screen."""
        return self._state

    @property
    def key(self) -> str:
        """Whose brain is on the screen: `Case.key`, or `NOBODY`."""
        return self._state.key

    @property
    def recipe(self) -> Recipe | None:
        """The brain of the model; None for a patient who was not projected."""
        return self._state.recipe

    @property
    def synthetic(self) -> Recipe:
        """The synthetic brain: that on the screen, or the last one that was."""
        recipe = self._state.recipe if self.key == NOBODY else None
        recipe = recipe or self._histories[NOBODY].current.recipe
        assert recipe is not None
        return recipe

    @property
    def brain(self) -> Recipe:
        """The brain that browsing starts from: that on the screen, else the synthetic one."""
        return self.recipe or self.synthetic

    @property
    def case(self) -> Case | None:
        """The patient on the screen; None for a synthetic brain."""
        return self._state.case

    @property
    def result(self) -> Case | None:
        """The case, if the current brain is made from its projection and in its space.

        In a restored session the scan itself may not be read yet.
        """
        case, recipe = self.case, self.recipe
        if case is None or recipe is None or not case.is_of(recipe.source):
            return None
        if not self._is_mine(case.model):
            return None
        there = bool(case.assessment) if case.aligned is None else self.fits(case)
        return case if there else None

    @property
    def placed(self) -> AlignedScan | None:
        """The case's scan on the model's grid; None if not aligned to this model."""
        case = self.case
        return case.aligned if case and self.fits(case) else None

    @property
    def patients(self) -> list[Case]:
        """The open patients as they are now, in the order in which they were opened."""
        current = {key: history.current.case for key, history in self._histories.items()}
        if self.case is not None:
            current[self.key] = self.case
        return [case for case in current.values() if case is not None]

    @property
    def ready(self) -> frozenset[str]:
        """Keys of patients of whom a projection has ended that was not looked at."""
        return frozenset(self._ready)

    @property
    def histories(self) -> Mapping[str, History[HistoryEntry]]:
        """The history of each subject, by key."""
        return self._histories

    @property
    def history(self) -> History[HistoryEntry]:
        """The history of the subject on the screen."""
        return self._histories[self.key]

    @property
    def states(self) -> list[Recipe | None]:
        """The recipes of the history of the subject on the screen."""
        return [entry.recipe for entry in self.history.states]

    @property
    def entries(self) -> list[HistoryEntry]:
        """The steps of all subjects, one history after the other."""
        return [entry for history in self._histories.values() for entry in history.states]

    @property
    def cases(self) -> list[Case]:
        """All cases of all histories, and those of other pictures on the screen."""
        entries = [entry.case for entry in (*self.entries, *self._ready.values())]
        every = (*self._projected, *entries, *self._state.cases)
        return list({id(case): case for case in every if case is not None}.values())

    @property
    def projected(self) -> list[Case]:
        """Projections of this session that the current model can show, oldest first."""
        return [case for case in self._projected if self._is_mine(case.model)]

    @property
    def second(self) -> Source:
        """Default second brain in Mix."""
        return self._seconds.get(self._hash, Source("seed", 1))

    @second.setter
    def second(self, source: Source) -> None:
        self._seconds[self._hash] = source

    @property
    def can_undo(self) -> bool:
        """Whether there is an earlier state of this subject and model."""
        return self._neighbour(-1) is not None

    @property
    def can_redo(self) -> bool:
        """Whether an undone state of this subject and model can be redone."""
        return self._neighbour(1) is not None

    def patient(self, key: str) -> Case | None:
        """The open patient with this key."""
        return next((case for case in self.patients if case.key == key), None)

    def scan_of(self, key: str) -> Scan | None:
        """An open patient's scan as it was read last; None while it is not read."""
        case = self.patient(key)
        return None if case is None else case.scan

    def case_of(self, source: Source) -> Case | None:
        """The case of a recipe's source; None for a synthetic brain."""
        if source.kind != "projected":
            return None
        if self.case is not None and self.case.is_of(source):
            return self.case
        known = next((c for c in reversed(self._projected) if c.is_of(source)), None)
        unknown = Case.of_latent(source)
        return known or self.patient(unknown.key) or unknown

    def key_of(self, recipe: Recipe) -> str:
        """Whose brain a recipe shows: `Case.key`, or `NOBODY`."""
        case = self.case_of(recipe.source)
        return NOBODY if case is None else case.key

    def find_projected(self, source: Source) -> Case | None:
        """The projection of a source, if made in this session with the same affine."""
        found = next((case for case in self.projected if case.is_of(source)), None)
        return found if found is not None and self.fits(found) else None

    def projection_name(self, case: Case) -> str:
        """Name of a projection, with its number if its scan was projected more than once."""
        same = [other.source for other in self.projected if other.name == case.name]
        more = len(same) > 1 and case.source in same
        return f"{case.name}, projection {same.index(case.source) + 1}" if more else case.name

    def awaited(self, recipe: Recipe) -> Case | None:
        """The case whose detail a recipe shows, if its scan is yet to be read after a restore."""
        detail = recipe.worn_detail
        case = None if detail is None else self.case_of(detail.source)
        if case is None or case.choice is None or case.scan is not None or case.problem:
            return None
        return case

    def person_of(self, recipe: Recipe) -> tuple[Person, str]:
        """Whose brain a recipe shows, and a key that is the same for all pictures of them.

        Age and sex as typed, else from the scan's files, else from the label of a random brain.
        """
        mix, label, person = recipe.worn_mix, recipe.label, Person()
        case = self.case_of(recipe.source) if mix is None else None  # that of two is nobody's
        if case is not None and case.sha256:
            return self._person_in_case(case)
        shown = [recipe.source] if mix is None else [recipe.source, mix.source]
        told = (str(s.sha256 or s.path or s.seed) for s in shown)
        key = " ".join((self._hash, str(label and label.values), *told))
        if case is None and mix is None and label is not None and recipe.source.kind == "seed":
            values = dict(label.values)
            sex = values.get("sex")
            known = str(sex) if sex in SEXES else None
            person = Person(finite_number(values.get("age")), known)
        return self.persons.get(key, person), key

    def person_in(self, scan: ScanData) -> tuple[Person, str]:
        """Who is in a scan, as typed, else from its files, and the key of the scan."""
        key = scan.sha256
        return self.persons.get(key, scan.person), key

    def _person_in_case(self, case: Case) -> tuple[Person, str]:
        """The same of a patient, whose scan a restored session may not have read yet."""
        if case.scan is not None:
            return self.person_in(case.scan)
        key = case.sha256 or case.key
        return self.persons.get(key, Person()), key

    @property
    def person(self) -> tuple[Person, str]:
        """Age and sex of whom the screen shows, and the key to type others by."""
        case, recipe = self.case, self.recipe
        of_scan = self._state.what in ("scan", "unusual", "search")
        if case is not None and (recipe is None or of_scan):
            return self._person_in_case(case)
        assert recipe is not None
        return self.person_of(recipe)

    def know(self, key: str, person: Person) -> None:
        """Age and sex were typed; they hold wherever this brain is measured or told of."""
        if self.persons.get(key) != person:
            with self.changing("person"):
                self.persons[key] = person

    @property
    def annotations(self) -> Annotations:
        """What a person laid over the brain on the screen, or drew in it."""
        return self.annotations_of(self.key)

    def annotations_of(self, key: str) -> Annotations:
        """The same of a subject."""
        return self._annotations.get(key, NOTHING)

    def annotate(self, key: str, **changes: Any) -> None:
        """Change parts of the `Annotations` of a subject, if it is open, whoever is shown."""
        before = self.annotations_of(key)
        same = all(getattr(before, name) is value for name, value in changes.items())
        if key in self._histories and not same:
            with self.changing("annotations"):
                self._annotations[key] = dataclasses.replace(before, **changes)

    @property
    def judged(self) -> JsonView:
        """The assessment of the patient on the screen; empty if there is none.

        What a projection has found holds for the scan before it, too.
        """
        return self.judged_of(self.case)

    def judged_of(self, case: Case | None) -> JsonView:
        """The same of a patient."""
        if case is None:
            return {}
        found = [case, *reversed([one for one in self.projected if one.key == case.key])]
        return next((one.assessment for one in found if one.assessment), {})

    @property
    def withheld(self) -> str:
        """Why no figures of the patient on the screen are shown (`verdicts.withheld`)."""
        return withheld(() if self.case is None else self.case.known_doubts, self.judged)

    def with_source(self, source: Source) -> Recipe:
        """The current recipe of another brain: of a projected scan with its own detail.

        Detail that was the brain's own is left behind; a random brain keeps that of another scan.
        Labels are of random brains.
        """
        recipe = self.brain
        detail = recipe.detail
        if source.is_same(recipe.source):
            return recipe.replace(source=source)
        scan = source.kind == "projected"
        if scan or detail is None or detail.source.is_same(recipe.source):
            detail = None if self.find_projected(source) is None else Detail(source)
        label = recipe.label if source.kind == "seed" else None
        return recipe.replace(source=source, detail=detail, label=label)

    def numbered(self, seed: int) -> Recipe:
        """The recipe of another brain number.

        Edits, mix and a scan's detail belong to the brain they were made for: they wait for it,
        unless they are told to go along. Those of a patient never do.
        """
        source, recipe = Source("seed", seed), self.synthetic
        if self.keep_edits or source.is_same(recipe.source):
            return recipe.replace(source=source)
        own = self._own.get(source, Recipe(source))
        return recipe.replace(source=source, mix=own.mix, edits=own.edits, detail=own.detail)

    def mix_or_none(self) -> Mix:
        """The recipe's mix, or one with all strengths 0."""
        count = self.generator.num_layers if self.generator else 1
        recipe = self.recipe
        return (recipe.mix if recipe else None) or Mix(self.second, (0.0,) * count)

    # What a person does

    def change(
        self, recipe: Recipe, *, live: bool = False, gesture: str = "", case: Case | None = None
    ) -> None:
        """Show a recipe: it is of the patient whose projection it starts from, or of nobody.

        Parameters
        ----------
        recipe : Recipe
            The new one.
        live : bool
            During a drag: shown, but no undo step.
        gesture : str
            Name of the control; quick changes of the same control are one undo step.
        case : Case or None
            By default the case of the recipe's projection.
        """
        case = case or self.case_of(recipe.source)
        if case is not None and case.key not in self._histories:
            case = self._distinguished(case)
        if case is not None and recipe.label is not None and not recipe.has_seed:
            recipe = recipe.replace(label=None)  # that of a random brain, mixed in before
        subject: Subject = Synthetic(recipe) if case is None else Patient(case, recipe)
        # As `changing` does: a slider that is dragged comes this way, so it is kept short.
        before, self._told = self._state, {"recipe"}
        try:
            self._own[recipe.source] = recipe
            if subject.key != self.key:
                self._commit("")
            self._state = self._state.of(subject)
            if subject.key not in self._histories:
                self._histories[subject.key] = History([self._entry()])
                self._also("history", "patients")
            elif not live:
                self._commit(gesture)
        finally:
            change = self._change_since(before, live)
        self.tell(change)

    def edit(
        self, change: Callable[[Recipe], Recipe], *, live: bool = False, gesture: str = ""
    ) -> None:
        """Change the recipe on the screen; does nothing if a scan is there that has none."""
        if self.recipe is not None:
            self.change(change(self.recipe), live=live, gesture=gesture)

    def look(self, what: What) -> None:
        """Show another view of the subject; not an undo step."""
        with self.changing("look"):
            self._state = self._state.looking_at(what)

    def compare(self, how: How, second: Recipe | Case | None) -> None:
        """Compare with a second picture; not an undo step."""
        with self.changing():
            self._state = dataclasses.replace(self._state, comparison=how, second=second)

    def drop_second(self) -> None:
        """The second picture cannot be had any more; columns stay."""
        self.compare("row" if self._state.comparison == "row" else "off", None)

    def line_up(self, row: Iterable[State]) -> None:
        """Show these columns beside the current picture in a "row"; not an undo step."""
        with self.changing():
            self._state = dataclasses.replace(self._state, row=tuple(row))

    def show(self, key: str) -> None:
        """Go to a patient, or to the synthetic brains, as they were left.

        A projection that has ended meanwhile is shown.
        """
        history = self._histories.get(key)
        if history is None or (key == self.key and key not in self._ready):
            return
        with self.changing("look", "recipe"):
            self._commit("")
            if key in self._ready:
                history.append(self._ready.pop(key))
                self._also("history", "patients")
            self._bring_to_model(key)
            self._set_current(key)

    def close_patient(self, key: str) -> None:
        """Take a patient out of the session, or a scan that could not be read from the list."""
        with self.changing("patients"):
            self.arriving = tuple(case for case in self.arriving if case.key != key)
            if key == NOBODY or key not in self._histories:
                return
            if self.key == key:
                self.show(NOBODY)
            cases = [entry.case for entry in self._histories.pop(key).states]
            gone = {name for c in cases if c for name in (c.key, c.sha256)}
            gone -= {case.sha256 for case in self.patients}
            self.persons = {k: who for k, who in self.persons.items() if k not in gone}
            self._annotations.pop(key, None)
            self._ready.pop(key, None)
            self._left = {k: entry for k, entry in self._left.items() if k[0] != key}
            self._compare_without(key)
            seconds = self._seconds.items()
            self._seconds = {m: s for m, s in seconds if not self.is_of(key, Recipe(s))}
            self._own = {s: own for s, own in self._own.items() if not self.is_of(key, own)}
            self._projected = [case for case in self._projected if case.key != key]
            self._also("history", "projected")

    def _compare_without(self, key: str) -> None:
        """Take the pictures of a patient out of what the current one is compared with."""
        if self.is_of(key, self._state.second):
            self.drop_second()
        self.line_up([c for c in self._state.row if c.key != key and not self.is_of(key, c.recipe)])

    def is_of(self, key: str, shown: Recipe | Case | None) -> bool:
        """Whether a picture is that of a patient, or mixed with theirs, or wears their detail."""
        sources = shown.sources if isinstance(shown, Recipe) else ()
        cases = shown, *map(self.case_of, sources)
        return any(isinstance(case, Case) and case.key == key for case in cases)

    def undo(self) -> None:
        """Go back one step of this subject."""
        self._go_by(-1)

    def redo(self) -> None:
        """Redo one step of this subject."""
        self._go_by(1)

    def go_to(self, index: int) -> bool:
        """Go to a state of this subject's history.

        Returns
        -------
        bool
            Whether the model can show that state; if not, nothing is done.
        """
        states = self.history.states
        if not 0 <= index < len(states):
            return True
        entry = states[index]
        if not entry.is_for(self._hash):
            return False
        moved = self.history.go_to(index)
        if moved or entry.state.what != self._state.what or entry.case is not self.case:
            with self.changing("history", "recipe", "look"):
                self._set_current(self.key)
        return True

    # What is opened and what long tasks bring

    def expect(self, case: Case) -> None:
        """A scan is being read."""
        with self.changing("patients"):
            mine = [c for c in self.arriving if not (c.problem and c.is_same_scan_as(case))]
            self.arriving = (*mine, case)

    def expect_no_longer(self, case: Case, problem: str = "") -> None:
        """Reading has ended: well, or with a problem, which stays in the list."""
        with self.changing("patients"):
            rest = tuple(c for c in self.arriving if c.key != case.key)
            self.arriving = (*rest, case.refused(problem)) if problem else rest

    def open_case(self, case: Case, *, show: bool = True) -> Case:
        """Open a scan that was read; the case as it is in the list.

        If it is open already, it is shown as it was left; if it was read again, such as with left
        and right swapped, that is a step of the same patient.
        """
        known = next((c for c in self.patients if self._is_again(c, case)), None)
        with self.changing("patients", "projected"):
            if known is None:
                case = self._distinguished(case)
                self._histories[case.key] = History([HistoryEntry(State.of_scan(case), self._made)])
                self._claim(case)
            else:
                case = dataclasses.replace(case, key=known.key, name=known.name)
                again = known.scan is not None and known.choice != case.choice
                was, now = known.choice, case.choice
                same = was and now and now.orientation in (None, was.orientation)
                if again:
                    self._compare_without(case.key)
                if known.scan is None and same:
                    case = self._found_again(case)
                elif again or known.scan is None:
                    self._step(case)
                else:
                    case = known
            if show:
                self.show(case.key)
        return case

    def _found_again(self, case: Case) -> Case:
        """A scan of a restored session, perhaps moved: all that was made of it is waited for."""
        assert case.choice is not None
        for old in [one for one in self.cases if one.key == case.key and one.scan is None]:
            choice = old.choice and dataclasses.replace(old.choice, path=case.choice.path)
            new = dataclasses.replace(old, choice=choice, problem="")
            if choice == case.choice and not old.alignment:
                new = dataclasses.replace(new, scan=case.scan, layer=case.layer)
            self.swap(old, new)
        return next(one for one in self.patients if one.key == case.key)

    def _claim(self, case: Case) -> None:
        """Edited labels of an earlier session come back with their scan."""
        for labels in self._unclaimed:
            if labels.scan in (case.sha256, str(case.path)):
                self.annotate(case.key, labels=labels)
                self._unclaimed = tuple(one for one in self._unclaimed if one is not labels)

    def update_case(self, case: Case) -> None:
        """Update a scan after it was aligned, moved or refused, whoever is on the screen.

        Earlier results with another pose keep their steps in the history.
        """
        if case.key in self._histories:
            with self.changing("patients"):
                self._step(case)

    def add_projected(self, case: Case, recipe: Recipe | None = None) -> bool:
        """Add a projection to its patient, and offer it as a source.

        Parameters
        ----------
        case : Case
        recipe : Recipe or None
            With its noise and image channel; by default the fixed ones.

        Returns
        -------
        bool
            Whether it is shown: only if its patient is on the screen without another projection.
        """
        assert case.source is not None
        made = (recipe or Recipe()).replace(source=case.source, detail=Detail(case.source))
        entry = HistoryEntry(State(Patient(case, made)), self._made)
        with self.changing("projected", "patients"):
            others = [c for c in self._projected if c.key != case.key or not c.is_of(case.source)]
            self._projected = [*others, case]
            history = self._histories.get(case.key)
            if history is None:
                self._histories[case.key] = History([entry])
                return False
            here = case.key == self.key
            if here and self.recipe is not None:
                if case.key in self._ready:  # of which nobody has looked at the result
                    history.add_aside(self._ready[case.key])
                    self._also("history")
                self._ready[case.key] = entry
                return False
            history.append(entry)
            if here:
                self._also("recipe", "look", "history")
                self._set_current(case.key)
            return here

    def replace_source(self, old: Source, new: Source) -> None:
        """Replace a source everywhere, after its latent was saved elsewhere."""

        moved = moving(old, new)
        with self.changing("projected", "history", "recipe"):
            for case in self.cases:
                if case.source == old:
                    self.swap(case, dataclasses.replace(case, source=new))
            self._map(lambda state: _with_recipe(state, moved))
            for key, over in list(self._annotations.items()):
                if over.labels is not None and over.labels.recipe is not None:
                    labels = dataclasses.replace(over.labels, recipe=moved(over.labels.recipe))
                    self.annotate(key, labels=labels)

    def swap(self, old: Case, new: Case) -> None:
        """Replace a case by an equivalent one, such as with its voxels on disk."""
        with self.changing():
            self._projected = [new if case is old else case for case in self._projected]
            self._map(lambda state: _with_case(state, old, new))

    # Models, and other sessions

    def set_generator(self, generator: Model) -> None:
        """Switch to another model. Histories and projections stay; scans must be aligned again.

        A model that was open before resumes at its last state.
        """
        with self.changing("model", "projected", "history", "recipe", "look", "case"):
            before, self.generator = self.generator, generator
            self._state = self._state.comparing_as(State())
            if before is None:
                start = State(Synthetic(fitting(self.synthetic, generator)))
                self._histories[NOBODY] = History([HistoryEntry(start, self._made)])
            elif before.hash != generator.hash:
                self._own.clear()
                for key, history in self._histories.items():
                    self._left[key, before.hash] = history.current
            self._bring_to_model(NOBODY)
            self._bring_to_model(self.key)
            here = self._histories[self.key].current.is_for(generator.hash)
            self._set_current(self.key if here else NOBODY)

    def place(self, generator: Model) -> None:
        """The same model with another affine: recipe and history stay."""
        with self.changing("model", "projected", "case", "recipe"):
            self.generator = generator
            self._state = self._state.comparing_as(State())

    @property
    def snapshot(self) -> Snapshot:
        """All that a session keeps: what is on the screen is the current step of its history."""
        histories = {key: history.copy() for key, history in self._histories.items()}
        for key, entry in self._ready.items():
            histories[key].add_aside(entry)
        now, here = self._entry(), histories[self.key]
        if not now.same_as(here.current):
            here.commit(now)
        elif now.state.what != here.current.state.what:
            here.amend(now)
        for history in histories.values():
            history.map(_as_kept)
        told = dict(self.persons), dict(self._annotations), self._unclaimed
        row = tuple(column for column in self._state.row if column.what in IN_COLUMNS)
        compared = dataclasses.replace(State().comparing_as(self._state), row=row)
        return Snapshot(histories, self.key, tuple(self._projected), *told, compared)

    def restore(self, snapshot: Snapshot) -> None:
        """Replace everything by an earlier session."""
        parts = "projected", "patients", "history", "case", "recipe", "look", "person"
        with self.changing(*parts, "annotations"):
            self.persons, key = dict(snapshot.persons), snapshot.key
            self._annotations = dict(snapshot.annotations)
            self._unclaimed = snapshot.unclaimed
            self._histories = dict(snapshot.histories)
            if NOBODY not in self._histories:
                first = Recipe() if self.generator is None else fitting(Recipe(), self.generator)
                entry = HistoryEntry(State(Synthetic(first)), self._made)
                self._histories[NOBODY] = History([entry])
            self._projected = list(snapshot.projected)
            self._ready.clear()
            self._left.clear()
            self._own.clear()
            self._seconds.clear()
            self.arriving = ()
            self._state = snapshot.compared
            key = key if key in self._histories else NOBODY
            self._bring_to_model(NOBODY)
            self._bring_to_model(key)
            self._set_current(key)

    def tell(self, change: StateChange) -> None:
        """Hear of a change once all of it is there; to be overridden."""

    # How

    @contextmanager
    def changing(self, *parts: str, live: bool = False) -> Iterator[None]:
        """Tell of what changes inside, together, when the outermost of these ends."""
        if self._told is not None:
            self._told.update(parts)
            yield
            return
        before, self._told = self._state, set(parts)
        try:
            yield
        finally:
            change = self._change_since(before, live)
            if change.parts or before != self._state:
                self.tell(change)

    def _change_since(self, before: State, live: bool) -> StateChange:
        """What has changed since, as noted and as seen; from now on new changes are noted."""
        told, self._told, now = self._told or set(), None, self._state
        told |= {"case", "patients"} if before.case is not now.case else set()
        told |= {"recipe"} if before.recipe != now.recipe else set()
        told |= {"history"} if before.key != now.key else set()
        told |= {"look"} if (before.key, before.what) != (now.key, now.what) else set()
        told |= {"case"} if "patients" in told else set()
        other = (before.comparison, before.row) != (now.comparison, now.row)
        told |= {"comparison"} if other or before.second is not now.second else set()
        return StateChange(before, now, frozenset(told), live)

    def _also(self, *parts: str) -> None:
        assert self._told is not None
        self._told.update(parts)

    @property
    def _hash(self) -> str:
        return "" if self.generator is None else self.generator.hash

    @property
    def _made(self) -> MadeWith | None:
        return None if self.generator is None else MadeWith.of(self.generator)

    def _is_mine(self, model: str) -> bool:
        """Whether something was made with the current model."""
        return not (model and self._hash) or model == self._hash

    def fits(self, case: Case) -> bool:
        """Whether a case is in the space of the current model."""
        if case.aligned is None or self.generator is None:
            return case.aligned is not None
        return self._is_mine(case.model) and self.generator.space.same_as(case.aligned.space)

    def _is_again(self, known: Case, case: Case) -> bool:
        """Whether a scan that was read is that of an open patient, whose file may have moved."""
        parts = [one.choice and one.choice.part[1:] for one in (known, case)]
        moved = known.scan is None and known.sha256 == case.sha256 and parts[0] == parts[1]
        return moved or (known.is_same_scan_as(case) and known.sha256 in ("", case.sha256))

    def _distinguished(self, case: Case) -> Case:
        """Tell two files of one name apart, by their contrast or by a number."""
        others = [other for other in self.cases if other.key != case.key]
        known = {other.name: scan_suffix(str(other.path)) for other in others}
        name, contrast = case.name, scan_suffix(str(case.path))
        name += "" if contrast == known.get(name, contrast) == "T1w" else f" {contrast}"
        numbered = (f"{name} ({number})" for number in count(2))
        free = (one for one in chain([name], numbered) if one not in known)
        name = next(free) if case.sha256 or case.source else case.name
        return dataclasses.replace(case, name=name)

    def _entry(self) -> HistoryEntry:
        """What is on the screen, as a step of its history."""
        alone = State(self._state.subject, self._state.what)
        if alone.what == "search":
            alone = alone.looking_at("scan")
        return HistoryEntry(alone, self._made)

    def _step(self, case: Case) -> None:
        """A scan lies elsewhere, or was read again: a step of its patient, shown if that one is."""
        history = self._histories[case.key]
        now = history.current
        entry = HistoryEntry(State.of_scan(case), now.model or self._made)
        if now.recipe is None:
            history.amend(entry)
        else:
            history.append(entry)
        self._also("history")
        if self.key == case.key:
            self._set_current(case.key)

    def _commit(self, gesture: str) -> None:
        """Make what is shown a step; before another subject is shown, what a drag has left too."""
        now = time.monotonic()
        name, when = self._last_gesture
        follows = bool(gesture) and gesture == name and now - when < SAME_GESTURE_S
        entry = self._entry()
        if not entry.same_as(self.history.current):
            self._last_gesture = (gesture, now)
            self.history.commit(entry, merge=follows)
            self._also("history")
        elif entry.state.what != self.history.current.state.what:
            self.history.amend(entry)

    def _bring_to_model(self, key: str) -> None:
        """Go to a subject's last state with this model, or begin one."""
        history, made = self._histories[key], self._made
        if made is None or history.current.is_for(made.sha256):
            return
        states, left = history.states, self._left.get((key, made.sha256))
        known = [k for k, entry in enumerate(states) if entry.is_for(made.sha256)]
        if known:
            history.go_to(next((k for k in known if left and states[k].same_as(left)), known[-1]))
            return
        last = history.current
        if key == NOBODY:
            assert last.recipe is not None
            assert self.generator is not None
            state = State(Synthetic(fitting(last.recipe, self.generator)))
        elif last.case is not None and last.case.choice is not None:
            state = State.of_scan(last.case.as_read())
        else:
            return  # only a latent of another model is known
        history.append(HistoryEntry(state, made))

    def _neighbour(self, step: int) -> int | None:
        """The state of this subject and model that undo (-1) or redo (1) leads to."""
        history = self.history
        path = history.way[1:] if step < 0 else history.ahead
        return next((i for i in path if history.states[i].is_for(self._hash)), None)

    def _go_by(self, step: int) -> None:
        index = self._neighbour(step)
        if index is not None:
            self.go_to(index)

    def _set_current(self, key: str) -> None:
        """Show the current step of a subject; comparison, window and level stay."""
        self._state = self._histories[key].current.state.comparing_as(self._state)
        self._last_gesture = ("", 0.0)

    def _map(self, change: Callable[[State], State]) -> None:
        """Change the states of all histories, and that on the screen."""

        def changed(entry: HistoryEntry) -> HistoryEntry:
            state = change(entry.state)
            return entry if state is entry.state else dataclasses.replace(entry, state=state)

        for history in self._histories.values():
            history.map(changed)
        self._ready = {key: changed(entry) for key, entry in self._ready.items()}
        self._left = {key: changed(entry) for key, entry in self._left.items()}
        self._state = change(self._state)


def moving(old: Source, new: Source) -> Callable[[Recipe], Recipe]:
    """What puts a recipe's latent elsewhere."""
    return lambda recipe: recipe.with_paths(lambda part: new if part == old else part)


def _with_recipe(state: State, change: Callable[[Recipe], Recipe]) -> State:
    second: Any = state.second
    if isinstance(second, Recipe):
        state = dataclasses.replace(state, second=change(second))
    if state.row:
        row = tuple(_with_recipe(column, change) for column in state.row)
        state = dataclasses.replace(state, row=row)
    if state.recipe is None:
        return state
    return dataclasses.replace(
        state, subject=dataclasses.replace(state.subject, recipe=change(state.recipe))
    )


def _with_case(state: State, old: Case, new: Case) -> State:
    if state.second is old:
        state = dataclasses.replace(state, second=new)
    if any(column.case is old for column in state.row):
        row = tuple(_with_case(column, old, new) for column in state.row)
        state = dataclasses.replace(state, row=row)
    if state.case is not old:
        return state
    return dataclasses.replace(state, subject=Patient(new, state.recipe))


def _as_kept(entry: HistoryEntry) -> HistoryEntry:
    """A step without a picture of what is not kept."""
    if entry.state.what not in MADE_AGAIN:
        return entry
    return dataclasses.replace(entry, state=entry.state.looking_at("recipe"))


def fitting(recipe: Recipe, generator: Model) -> Recipe:
    """The parts of a recipe that apply to another model: seed, truncation and noise."""
    source = recipe.source if recipe.source.kind == "seed" else Source("seed", 0)
    truncation = recipe.truncation
    if truncation.cutoff is not None and truncation.cutoff > generator.num_layers:
        truncation = dataclasses.replace(truncation, cutoff=None)
    return Recipe(source, truncation, noise=recipe.noise)
