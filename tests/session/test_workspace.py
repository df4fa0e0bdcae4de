"""Whose brain is on the screen can never go wrong, whatever is done in whatever order."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stylegan3d.projection.words import unsuitable
from stylegan3d.recipe.history import History
from stylegan3d.recipe.label import Label
from stylegan3d.recipe.recipe import Edit, Mix, Recipe, Source
from stylegan3d.scans.person import Person
from stylegan3d.session.case import Case, Choice
from stylegan3d.session.state import (
    NOBODY,
    WITHOUT_RECIPE,
    HistoryEntry,
    Patient,
    State,
    Synthetic,
)
from stylegan3d.session.workspace import StateChange, Workspace

LAYERS = 4


@dataclass(frozen=True)
class Grid:
    """A model's space."""

    name: str = "grid"

    def same_as(self, other: "Grid") -> bool:
        return self == other


@dataclass(frozen=True)
class Model:
    """As much of a generator as a workspace asks for."""

    hash: str = "model"
    name: str = "Model"
    num_layers: int = LAYERS
    labels_hash: str = ""
    space: Grid = Grid()


@dataclass(frozen=True)
class Scan:
    """As much of a scan."""

    sha256: str
    person: Person = field(default_factory=Person)


@dataclass(frozen=True)
class Aligned:
    """As much of an aligned scan."""

    scan: Scan
    space: Grid = Grid()


def scan_of(name: str, sha256: str = "") -> Case:
    """A scan that was just read."""
    scan: Any = Scan(sha256 or f"sha of {name}")
    return Case(name, Choice(Path(f"{name}.nii")), scan, layer=(name,))


def aligned(case: Case, model: str = "model") -> Case:
    lies: Any = Aligned(case.scan)
    return case.lying(lies, lies, model=model)


def projected(case: Case, number: int = 0) -> Case:
    """The case with a projection."""
    found = aligned(case)
    source = Source(
        "projected", path=f"{case.name}-{number}.safetensors", sha256=f"{case.key}{number}"
    )
    return dataclasses.replace(found, source=source, assessment={"level": "good"})


class Watched(Workspace):
    """Checks every change as somebody who hears of it would see it."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[StateChange] = []

    def tell(self, change: StateChange) -> None:
        assert change.now is self.state
        check(self)
        self.told.append(change)


def check(session: Workspace) -> None:
    """One subject, and everything of it."""
    state = session.state
    assert state.key in session.histories
    for key, history in session.histories.items():
        assert {entry.state.key for entry in history.states} == {key}
    if isinstance(state.subject, Synthetic):
        assert state.key == NOBODY
        assert session.case is session.result is session.placed is None
        assert state.recipe is not None
        assert state.recipe.source.kind != "projected"
        return
    assert isinstance(state.subject, Patient)
    assert session.case is state.subject.case
    placed: Any = session.placed
    assert placed is None or placed.scan is session.case.scan
    if state.recipe is None:
        assert session.result is None
        assert state.what in WITHOUT_RECIPE
        return
    of = session.case_of(state.recipe.source)
    assert of is not None
    assert of.key == state.key
    assert state.recipe.label is None
    assert session.result is None or session.result.key == state.key
    if not (state.recipe.mix and any(state.recipe.mix.strength)) and session.case.scan:
        assert session.person_of(state.recipe)[1] == session.case.scan.sha256
    assert {case.key for case in session.patients} == session.histories.keys() - {NOBODY}


@pytest.fixture
def session() -> Watched:
    found = Watched()
    model: Any = Model()
    found.set_generator(model)
    return found


def test_a_scan_that_is_opened_has_nothing_of_anybody_else(session: Watched) -> None:
    session.change(Recipe(label=Label((("age", 70), ("sex", "F")))))
    a = session.open_case(scan_of("A"))
    session.add_projected(projected(a))
    session.edit(lambda recipe: recipe.replace(edits=(Edit("Age", 1.0),)))
    session.open_case(scan_of("B"))
    assert session.recipe is None
    assert session.case.name == "B"
    assert not session.can_undo
    session.edit(lambda recipe: pytest.fail("there is nothing to edit"))
    session.undo()
    assert session.case.name == "B"


def test_a_late_projection_waits_in_its_case(session: Watched) -> None:
    a, b = session.open_case(scan_of("A")), session.open_case(scan_of("B"))
    before = session.state
    assert not session.add_projected(projected(a))
    assert session.state == before
    session.show(a.key)
    assert session.recipe is not None
    assert session.result.name == "A"
    session.show(b.key)
    assert session.recipe is None


def test_a_second_projection_is_offered_and_ends_no_edit(session: Watched) -> None:
    a = session.open_case(scan_of("A"))
    assert session.add_projected(projected(a))
    session.edit(lambda recipe: recipe.replace(edits=(Edit("Age", 1.0),)), live=True)
    before = session.state
    assert not session.add_projected(projected(a, 1))
    assert session.state == before
    assert session.ready == {a.key}
    session.show(a.key)
    assert session.recipe.edits == ()
    session.undo()
    assert session.recipe.edits == (Edit("Age", 1.0),)


def test_the_same_file_is_the_same_patient_and_another_of_its_name_is_not(session: Watched) -> None:
    a = session.open_case(scan_of("A"))
    session.show(NOBODY)
    assert session.open_case(scan_of("A")).key == a.key
    other = session.open_case(scan_of("A", "of another file"))
    assert other.key != a.key
    assert other.name == "A (2)"


def test_a_scan_read_again_keeps_its_patient_and_its_projection(session: Watched) -> None:
    a = session.open_case(scan_of("A"))
    session.add_projected(projected(a))
    again = scan_of("A")
    again = dataclasses.replace(again, choice=again.choice.oriented("LAS"))
    assert session.open_case(again).key == a.key
    assert session.recipe is None
    session.undo()
    assert session.recipe is not None


def test_a_patient_that_is_closed_leaves_nothing(session: Watched) -> None:
    a = session.open_case(scan_of("A"))
    session.add_projected(projected(a))
    session.compare("curtain", session.case)
    session.close_patient(a.key)
    assert session.key == NOBODY
    assert session.state.second is None
    assert not session.projected
    assert not session.patients


def test_models_have_their_own_states(session: Watched) -> None:
    a = session.open_case(scan_of("A"))
    session.add_projected(projected(a))
    other: Any = Model("other")
    session.set_generator(other)
    assert session.case.name == "A"
    assert session.recipe is None
    assert session.placed is None
    model: Any = Model()
    session.set_generator(model)
    assert session.result.name == "A"


NAMES = st.sampled_from("ABC")
SEEDS = st.integers(0, 2)


class Doctor(RuleBasedStateMachine):
    """Three patients, three seeds, and everything that can be done with them."""

    def __init__(self) -> None:
        super().__init__()
        self.session = Watched()
        model: Any = Model()
        self.session.set_generator(model)
        self.reading: list[tuple[Case, Any]] = []
        self.searching: list[Case] = []
        self.count = 0

    def known(self, name: str) -> Case | None:
        return next((c for c in self.session.patients if c.name == name), None)

    @rule(name=NAMES)
    def begin_to_open(self, name: str) -> None:
        case = scan_of(name)
        self.session.expect(case)
        self.reading.append((case, self.session.state))

    @rule(refused=st.booleans())
    def end_reading(self, refused: bool) -> None:
        if not self.reading:
            return
        case, asked = self.reading.pop(0)
        before = self.session.state
        self.session.expect_no_longer(case, "It is empty." if refused else "")
        if not refused:
            self.session.open_case(case, show=before == asked)
        if refused or before != asked:
            assert self.session.state == before

    @rule(name=NAMES)
    def show(self, name: str) -> None:
        if case := self.known(name):
            self.session.show(case.key)
            assert self.session.case.name == name

    @rule()
    def show_nobody(self) -> None:
        self.session.show(NOBODY)
        assert self.session.case is None

    @rule()
    def align(self) -> None:
        if self.session.case and self.session.case.scan:
            self.session.update_case(aligned(self.session.case))

    @rule()
    def begin_to_project(self) -> None:
        if self.session.case and self.session.case.scan:
            self.searching.append(self.session.case)

    @rule(cancelled=st.booleans())
    def end_projecting(self, cancelled: bool) -> None:
        if not self.searching:
            return
        case = self.searching.pop(0)
        if cancelled or case.key not in self.session.histories:
            return
        self.count += 1
        before = self.session.state
        shown = self.session.add_projected(projected(case, self.count))
        assert shown == (before.key == case.key and before.recipe is None)
        if not shown:
            assert self.session.state == before

    @rule(seed=SEEDS)
    def browse(self, seed: int) -> None:
        self.session.change(self.session.numbered(seed))
        assert self.session.case is None

    @rule(age=st.integers(20, 80))
    def label(self, age: int) -> None:
        label = Label((("age", age),))
        self.session.change(self.session.synthetic.replace(label=label))

    @rule(live=st.booleans(), years=st.integers(-3, 3))
    def edit(self, live: bool, years: int) -> None:
        key = self.session.key
        edits = (Edit("Age", float(years)),) if years else ()
        self.session.edit(lambda recipe: recipe.replace(edits=edits), live=live, gesture="age")
        assert self.session.key == key

    @rule(seed=SEEDS, name=NAMES)
    def mix(self, seed: int, name: str) -> None:
        case = self.known(name)
        second = (case.source if case else None) or Source("seed", seed)
        mix = Mix(second, (0.5,) * LAYERS)
        self.session.edit(lambda recipe: recipe.replace(mix=mix))

    @rule(forward=st.booleans())
    def step(self, forward: bool) -> None:
        key = self.session.key
        (self.session.redo if forward else self.session.undo)()
        assert self.session.key == key

    @rule(index=st.integers(0, 5))
    def go_back(self, index: int) -> None:
        key = self.session.key
        self.session.go_to(index)
        assert self.session.key == key

    @rule(what=st.sampled_from(("recipe", "scan", "model", "difference", "painted", "search")))
    def look(self, what: Any) -> None:
        self.session.look(what)

    @rule(scan=st.booleans())
    def pin(self, scan: bool) -> None:
        second = self.session.case if scan else self.session.recipe
        self.session.compare("curtain" if second else "off", second)

    @rule(name=NAMES)
    def close(self, name: str) -> None:
        if case := self.known(name):
            self.session.close_patient(case.key)

    @rule(name=NAMES)
    def save_a_latent(self, name: str) -> None:
        case = self.known(name)
        if case and case.source:
            moved = Source("projected", path=f"elsewhere/{name}", sha256=case.source.sha256)
            self.session.replace_source(case.source, moved)

    @rule(other=st.booleans())
    def open_a_model(self, other: bool) -> None:
        model: Any = Model("other" if other else "model")
        self.session.set_generator(model)

    @invariant()
    def one_subject(self) -> None:
        check(self.session)


TestDoctor = Doctor.TestCase
TestDoctor.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_one_age_and_sex_for_all_that_is_shown_of_a_patient(session: Watched) -> None:
    case = scan_of("A")
    known: Any = Scan("sha of A", Person(42, "F"))
    case = session.open_case(dataclasses.replace(case, scan=known))
    person, key = session.person
    assert person == Person(42, "F")
    session.know(key, Person(47, "F"))
    assert session.told[-1].parts == {"person"}
    count = len(session.told)
    session.know(key, Person(47, "F"))
    assert len(session.told) == count, "it is known"
    session.add_projected(projected(case))
    for what in ("recipe", "scan", "model"):
        session.look(what)
        assert session.person == (Person(47, "F"), key)
    assert session.person_of(session.recipe) == (Person(47, "F"), key)
    session.open_case(scan_of("B"))
    assert session.person[0] == Person()
    # A restored session has not read the scan yet.
    unread = dataclasses.replace(projected(case), scan=None, stored_sha256="sha of A", aligned=None)
    entry = HistoryEntry(State(Patient(unread, Recipe(unread.source))))
    histories = {unread.key: History([entry])}
    session.restore(histories, unread.key, [unread], {"sha of A": Person(47, "F")})
    assert session.person_of(session.recipe) == (Person(47, "F"), "sha of A")
    session.restore({}, NOBODY, [])
    assert session.persons == {}


def test_what_was_judged_of_a_scan_holds_before_it_was_projected_too(session: Watched) -> None:
    verdicts = {"acquisition": {"level": "red", "sentence": "The scan covers only 88 %."}}
    a = session.open_case(scan_of("A"))
    assert unsuitable(session.judged) == ""
    session.add_projected(dataclasses.replace(projected(a), assessment={"verdicts": verdicts}))
    assert unsuitable(session.judged).endswith("unsuitable (the scan covers only 88 %).")
    session.undo()
    assert session.recipe is None
    assert unsuitable(session.judged)
    session.open_case(scan_of("B"))
    assert unsuitable(session.judged) == ""
