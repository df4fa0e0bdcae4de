"""Whose brain is on the screen can never go wrong, whatever is done in whatever order."""

import dataclasses
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from stylegan3d.recipe.history import History
from stylegan3d.recipe.model import Label, MadeWith
from stylegan3d.recipe.recipe import Detail, Edit, Mix, Recipe, Source, Truncation
from stylegan3d.scans.person import Person
from stylegan3d.session.annotations import (
    Annotations,
    EditedLabels,
    Overlay,
    OverlayLook,
    Region,
)
from stylegan3d.session.case import Case, Choice
from stylegan3d.session.file import SessionState, decode, encode
from stylegan3d.session.provenance import (
    Over,
    brain_of,
    ground_of,
    provenance_of,
    provenance_of_scan,
    provenance_of_state,
    scan_file_of,
    subject_of,
    titled,
)
from stylegan3d.session.snapshot import entries_of, of_session, to_view
from stylegan3d.session.state import (
    IN_COLUMNS,
    MADE_AGAIN,
    NOBODY,
    WITHOUT_RECIPE,
    HistoryEntry,
    Patient,
    State,
    Synthetic,
)
from stylegan3d.session.workspace import Snapshot, StateChange, Workspace

LAYERS = 4
PATIENTS = ("alpha", "beta", "gamma")


@dataclass(frozen=True)
class Grid:
    """A model's space."""

    name: str = "grid"
    affine: np.ndarray = field(default_factory=lambda: np.eye(4), compare=False)

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
    origin: str = "acquired"
    path: Path = Path("scan.nii")
    doubts: tuple = ()


@dataclass(frozen=True)
class Aligned:
    """As much of an aligned scan."""

    scan: Scan
    space: Grid = Grid()
    by_hand: bool = False
    doubts: tuple = ()
    rigid: np.ndarray = field(default_factory=lambda: np.eye(4), compare=False)


def scan_of(name: str, sha256: str = "") -> Case:
    """A scan that was just read."""
    scan: Any = Scan(sha256 or f"sha of {name}", path=Path(f"/scans/{name}.nii"))
    return Case(name, Choice(Path(f"{name}.nii")), scan, layer=(name,))


def aligned(case: Case, model: str = "model") -> Case:
    lies: Any = Aligned(case.scan)
    return case.lying(lies, lies, model=model)


def projected(case: Case, number: int = 0) -> Case:
    """The case with a projection."""
    found = aligned(case)
    source = Source(
        "projected", path=f"/latents/{case.name}-{number}.safetensors", sha256=f"{case.key}{number}"
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


def said(session: Workspace) -> list[str]:
    """What is said of what is on the screen: captions, titles, names of figures and files."""
    state, over = session.state, session.annotations.overlay
    words = [brain_of(session)]
    shows = []
    if state.drawn is not None:
        shows.append(provenance_of(session, state.drawn))
        words += [subject_of(session, state.drawn), str(scan_file_of(session, state.drawn) or "")]
    if session.case is not None:
        shows.append(provenance_of_scan(session.case))
        if over is not None:
            laid = Over(over.name, session.case.name, over.same)
            shows += [laid.alone, dataclasses.replace(shows[-1], over=laid)]
    for one in shows:
        words += [one.caption, one.whole, one.subject, one.one_line]
    return [*words, *(str(path) for path in session.annotations.maps)]


def check_names(session: Workspace) -> None:
    """Nobody else is named beside the subject; a mix names both brains."""
    recipe, case = session.recipe, session.case
    if recipe is not None and recipe.mix is not None:
        return
    for name in PATIENTS:
        if case is None or case.name != name:
            assert all(name not in words for words in said(session)), (name, said(session))
    labels = session.annotations.labels
    if labels is not None:
        of_scan = case is not None and labels.scan in ("", case.sha256)
        assert of_scan or (labels.recipe and session.key_of(labels.recipe) == session.key)


def titles(session: Workspace) -> list[str]:
    """What is written over each column."""
    shown = [(one, provenance_of_state(session, one)) for one in session.state.row]
    return [titled(told, one.drawn) for one, told in shown]


def check(session: Workspace) -> None:
    """One subject, and everything of it; in a row, each column is of its own."""
    state = session.state
    check_names(session)
    for column, title in zip(state.row, titles(session), strict=True):
        named = [name for name in PATIENTS if name in title]
        mixed = column.recipe is not None and len(set(column.recipe.sources)) > 1
        assert mixed or named == ([] if column.case is None else [column.case.name])
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
    assert state.recipe.label is None or state.recipe.has_seed
    assert session.result is None or session.result.key == state.key
    if not (state.recipe.mix and any(state.recipe.mix.strength)) and session.case.scan:
        assert session.person_of(state.recipe)[1] == session.case.scan.sha256
    assert {case.key for case in session.patients} == session.histories.keys() - {NOBODY}


def again(snapshot: Snapshot) -> Snapshot:
    """What is written to a file and read from it."""
    recipes = tuple(entry.recipe for entry in entries_of(snapshot))
    made = MadeWith("Model", "model")
    data = encode(SessionState(recipes, made, view=to_view(snapshot)), FOLDER)
    found, lost = of_session(decode(data, FOLDER, "the session"), made)
    assert not lost
    return found


FOLDER = Path("/session")


def in_words(snapshot: Snapshot) -> Any:
    """All of a session that can be compared, without what is made from it."""
    compared = snapshot.compared

    def place(array: np.ndarray | None) -> Any:
        return None if array is None else array.tolist()

    def case(one: Case | None) -> Any:
        if one is None:
            return None
        lies = one.alignment
        return (
            (one.key, one.name, one.choice, one.sha256, one.origin, one.pose, one.source),
            (one.assessment, one.doubts, one.model if lies else ""),
            None if lies is None else (lies.how, place(lies.rigid)),
        )

    def entry(one: HistoryEntry) -> Any:
        return one.state.what, case(one.case), one.recipe, one.model

    def over(one: Annotations) -> Any:
        mask, labels = one.mask, one.labels
        return (
            one.overlay,
            None if mask is None else (place(mask.data), place(mask.affine), mask.of_scan),
            one.maps,
            labels and (labels.recipe, labels.model, labels.scan, place(labels.rigid)),
            labels and [(place(before), place(after)) for before, after in labels.edits],
        )

    empty = over(Annotations())
    return (
        {
            key: ([entry(one) for one in history.states], history.position, list(history.parents))
            for key, history in snapshot.histories.items()
        },
        snapshot.key,
        [case(one) for one in snapshot.projected],
        snapshot.persons,
        compared.comparison,
        second if isinstance(second := compared.second, Recipe) else case(second),
        [(one.what, case(one.case), one.recipe) for one in compared.row],
        {key: over(one) for key, one in snapshot.annotations.items() if over(one) != empty},
    )


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
    names = [session.projection_name(case) for case in session.projected]
    assert names == ["A, projection 1", "A, projection 2"]
    session.add_projected(projected(a, 1))  # once more, with the same result
    assert [session.projection_name(case) for case in session.projected] == names
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
    copy = dataclasses.replace(scan_of("A"), choice=Choice(Path("copy/A.nii")))
    assert session.open_case(copy).name == "A (3)", "of the same content"


def test_files_of_one_name_are_told_apart_by_their_contrast_before_a_number(
    session: Watched,
) -> None:
    names = []
    for place, contrast in enumerate(("T1w", "T2w", "FLAIR", "FLAIR", "T1w")):
        read = scan_of("A", f"file {place}")
        choice = Choice(Path(f"{place}/A_{contrast}.nii"))
        names.append(session.open_case(dataclasses.replace(read, choice=choice)).name)
    assert names == ["A", "A T2w", "A FLAIR", "A FLAIR (2)", "A (2)"]


def test_a_scan_of_another_contrast_is_named_so(session: Watched) -> None:
    case = dataclasses.replace(scan_of("A"), choice=Choice(Path("A_FLAIR.nii.gz")))
    assert session.open_case(case).name == "A FLAIR"


def test_a_scan_read_again_keeps_its_patient_and_its_projection(session: Watched) -> None:
    a = session.open_case(scan_of("A"))
    session.add_projected(projected(a))
    again = scan_of("A")
    again = dataclasses.replace(again, choice=again.choice.oriented("LAS"))
    session.compare("curtain", session.case)
    assert session.open_case(again).key == a.key
    assert session.recipe is None
    assert session.state.second is None, "it had the other sides"
    session.undo()
    assert session.recipe is not None


def test_a_patient_that_is_closed_leaves_nothing(session: Watched) -> None:
    a = session.open_case(scan_of("A"))
    session.add_projected(projected(a))
    session.compare("curtain", session.case)
    session.second = session.recipe.source
    session.know(session.person[1], Person(61.0, "F"))
    session.close_patient(a.key)
    assert not session.persons
    assert session.key == NOBODY
    assert session.second.seed is not None
    assert session.state.second is None
    assert not session.projected
    assert not session.patients


@pytest.mark.parametrize("part", ["source", "detail", "mix"])
def test_a_pinned_brain_goes_with_the_patient_it_is_made_of(session: Watched, part: str) -> None:
    a = session.open_case(scan_of("A"))
    session.add_projected(projected(a))
    recipe = session.recipe
    assert recipe is not None
    other, mix = Source("seed", 5), Mix(recipe.source, (0.5,) * LAYERS)
    pinned = {
        "source": recipe.replace(detail=None),
        "detail": recipe.replace(source=other),
        "mix": Recipe(other, mix=mix),
    }
    b = session.open_case(scan_of("B"))
    session.compare("row", pinned[part])
    session.close_patient(b.key)
    assert session.state.second is not None
    session.close_patient(a.key)
    assert session.state.second is None
    assert session.state.comparison == "row", "columns stay"


@pytest.mark.parametrize("part", ["detail", "mix"])
def test_a_column_goes_with_the_patient_whose_detail_or_mix_it_shows(
    session: Watched, part: str
) -> None:
    a = session.open_case(scan_of(PATIENTS[0]))
    session.add_projected(projected(a))
    recipe = session.recipe
    assert recipe is not None
    other, mix = Source("seed", 5), Mix(recipe.source, (0.5,) * LAYERS)
    wearing = recipe.replace(source=other) if part == "detail" else Recipe(other, mix=mix)
    b = session.open_case(scan_of(PATIENTS[1]))
    columns = State(Synthetic(wearing)), State.of_scan(aligned(b))
    session.line_up(columns)
    session.close_patient(a.key)
    assert session.state.row == columns[1:]


def test_the_age_of_a_brain_mixed_in_is_not_left_in_the_patient(session: Watched) -> None:
    case = session.open_case(scan_of(PATIENTS[0]))
    session.add_projected(projected(case))
    old = Label((("age", 75.0),))
    mix = Mix(Source("seed", 5), (0.5,) * LAYERS)
    session.edit(lambda recipe: recipe.replace(mix=mix, label=old))
    assert session.brain.label == old
    session.edit(lambda recipe: recipe.replace(mix=None))
    assert session.brain.label is None


def test_columns_of_patients_and_seeds_come_back_as_they_were(session: Watched) -> None:
    session.change(session.numbered(2))
    row = [session.state.column]
    for number, name in enumerate(PATIENTS[:2]):
        case = session.open_case(scan_of(name))
        session.update_case(aligned(case))
        if number:
            session.add_projected(projected(case))
            session.edit(lambda recipe: recipe.replace(edits=(Edit("Age", 2.0),)))
        session.line_up((*row, session.state.column))
        row = list(session.state.row)
    session.compare("row", None)
    session.show(NOBODY)
    assert titles(session) == ["Seed 2", "Scan alpha", "Edited scan beta: Age +2 sd"]

    kept = again(session.snapshot)
    assert in_words(kept) == in_words(session.snapshot)
    later = Watched()
    model: Any = Model()
    later.set_generator(model)
    later.restore(kept)
    assert later.state.comparison == "row"
    assert titles(later) == titles(session)
    assert in_words(later.snapshot) == in_words(session.snapshot)
    # Its scan is read again wherever it stands, and it goes with its patient.
    column = later.state.row[1]
    later.swap(column.case, aligned(dataclasses.replace(column.case, scan=scan_of("alpha").scan)))
    assert later.state.row[1].case.aligned is not None
    later.close_patient(column.key)
    assert titles(later) == ["Seed 2", "Edited scan beta: Age +2 sd"]
    other: Any = Model("other")
    later.set_generator(other)
    assert later.state.row == (), "another model's space is another"


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


def test_a_model_is_left_and_found_again_at_one_step(session: Watched) -> None:
    a = session.open_case(scan_of("A"))
    session.add_projected(projected(a))
    for strength in (1.0, 2.0):
        session.change(session.recipe.replace(edits=(Edit("PC 1", strength),)))
    session.undo()
    other, model = Model("other"), Model()
    session.set_generator(other)
    session.show(a.key)
    for case in list(session.cases):  # its voxels are moved to disk
        session.swap(case, dataclasses.replace(case))
    session.set_generator(model)
    session.show(a.key)
    assert session.recipe.edits == (Edit("PC 1", 1.0),)


def test_projections_of_one_scan_into_two_models_come_back_with_their_own(session: Watched) -> None:
    a = session.open_case(scan_of("A"))
    session.add_projected(projected(a))
    other: Any = Model("other")
    session.set_generator(other)
    session.add_projected(dataclasses.replace(projected(session.case, 1), model="other"))
    model = MadeWith("Model", "other")
    snapshot = session.snapshot
    states = tuple(entry.recipe for entry in entries_of(snapshot))
    data = encode(SessionState(states, model, view=to_view(snapshot)), FOLDER)
    found, _ = of_session(decode(data, FOLDER, "x"), model)
    assert [case.model for case in found.projected] == ["model", "other"]


@pytest.mark.parametrize(
    ("position", "damage"),
    [
        (0, {"key": ""}),
        (9, {"key": None}),
        (-1, {"name": ""}),
        ("x", {"name": None}),
        (None, {"choice": None}),
        (0.5, {"choice": {}}),
        ([1], {"key": ""}),
        (True, {"key": ""}),
    ],
)
def test_a_damaged_part_of_a_session_takes_no_history_but_its_own(
    session: Watched, position: Any, damage: dict[str, Any]
) -> None:
    for psi in (0.4, 0.5):
        session.change(session.recipe.replace(truncation=Truncation(psi)), gesture=str(psi))
        session.undo()
    session.open_case(scan_of("A"))
    b = session.open_case(scan_of("B"))
    session.add_projected(projected(b))
    session.undo()
    snapshot, made = session.snapshot, MadeWith("Model", "model")
    states = tuple(entry.recipe for entry in entries_of(snapshot))
    view = to_view(snapshot)
    view["cases"] = [c if c["name"] == "B" else {**c, **damage} for c in view["cases"]]
    mine = next(one for one in view["histories"] if one["of"] == b.key)
    mine["position"] = position
    found, _ = of_session(SessionState(states, made, view=view), made)
    assert [case and case.name for case in (h.current.case for h in found.histories.values())] == [
        None,
        "B",
    ]
    assert found.key == b.key
    assert found.histories[NOBODY].parents == [None, 0, 0], "its branches stay"
    assert found.histories[NOBODY].position == 0
    steps = len(found.histories[b.key].states)
    assert found.histories[b.key].position == (position if position == 0 else steps - 1)


def test_a_control_that_is_let_go_where_it_rests_joins_no_steps(session: Watched) -> None:
    session.change(session.recipe.replace(truncation=Truncation(0.5)), gesture="a")
    session.change(session.recipe, gesture="b")
    session.change(session.recipe.replace(edits=(Edit("PC 1", 1.0),)), gesture="b")
    session.undo()
    assert session.recipe.truncation.psi == 0.5


def test_what_was_typed_of_a_brain_is_of_no_other_and_stays_when_files_move(
    session: Watched,
) -> None:
    a = session.open_case(scan_of("A"))
    case = projected(a)
    session.add_projected(case)
    session.show(NOBODY)
    session.change(session.recipe.replace(mix=Mix(case.source, (0.5,) * LAYERS)))
    session.know(session.person[1], Person(44.0, "F"))
    session.replace_source(
        case.source, dataclasses.replace(case.source, path="/moved/x.safetensors")
    )
    assert session.person[0] == Person(44.0, "F")
    session.change(Recipe())
    session.know(session.person[1], Person(40.0, "F"))
    session.change(Recipe(label=Label((("age", 70), ("sex", "M")))))
    assert session.person[0] == Person(70.0, "M")
    other: Any = Model("other")
    session.set_generator(other)
    session.change(Recipe())
    assert session.person[0] == Person()


def test_a_closed_patient_is_mixed_into_no_other_brain(session: Watched) -> None:
    case = projected(session.open_case(scan_of("A")))
    session.add_projected(case)
    session.show(NOBODY)
    session.change(session.numbered(5))
    session.change(session.recipe.replace(mix=Mix(case.source, (0.5,) * LAYERS)))
    session.change(session.numbered(6))
    session.close_patient(case.key)
    assert session.numbered(5).mix is None


def test_a_scans_detail_stays_with_the_brain_that_it_was_put_on(session: Watched) -> None:
    case = projected(session.open_case(scan_of("A")))
    session.add_projected(case)
    session.show(NOBODY)
    session.change(session.numbered(3).replace(detail=Detail(case.source)))
    assert session.numbered(4).detail is None
    session.change(session.numbered(4))
    assert session.numbered(3).detail == Detail(case.source)


def test_another_volume_of_a_file_is_not_the_one_that_waits(session: Watched) -> None:
    path = Path("f.nii")
    waits = Case("f (volume 0)", Choice(path, volume=0), stored_sha256="sha of f")
    history = History([HistoryEntry(State.of_scan(waits))])
    session.restore(Snapshot({waits.key: history}, waits.key))
    read = dataclasses.replace(scan_of("f"), choice=Choice(path, volume=3), name="f (volume 3)")
    assert session.open_case(read).key != waits.key


def test_measurements_leave_a_scan_that_is_moved_under_them(session: Watched) -> None:
    session.update_case(aligned(session.open_case(scan_of("A"))))
    before, lies = ground_of(session), np.eye(4)
    lies[0, 3] = 12
    moved = dataclasses.replace(session.case.aligned, rigid=lies)
    session.update_case(session.case.lying(moved, moved))
    assert ground_of(session) != before


NAMES = st.sampled_from(PATIENTS)
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
    def project_at_once(self, name: str) -> None:
        """So that what comes after a projection is tried often, too."""
        case = self.known(name) or self.session.open_case(scan_of(name))
        if case.scan is not None:
            self.count += 1
            self.session.add_projected(projected(case, self.count))

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

    @rule(scan=st.booleans(), how=st.sampled_from(("off", "side", "curtain", "difference", "row")))
    def pin(self, scan: bool, how: Any) -> None:
        second = self.session.case if scan else self.session.recipe
        self.session.compare(how if second else "off", second)

    @rule(added=st.booleans())
    def change_the_row(self, added: bool) -> None:
        row = self.session.state.row
        self.session.line_up((*row[-2:], self.session.state.column) if added else row[1:])

    @rule(name=NAMES)
    def close(self, name: str) -> None:
        if case := self.known(name):
            made_of = {
                column: {
                    of.key for one in column.recipe.sources if (of := self.session.case_of(one))
                }
                for column in self.session.state.row
                if column.recipe
            }
            self.session.close_patient(case.key)
            for column in self.session.state.row:
                assert case.key not in {column.key} | made_of.get(column, set())

    @rule(name=NAMES)
    def save_a_latent(self, name: str) -> None:
        case = self.known(name)
        if case and case.source:
            moved = Source("projected", path=f"/elsewhere/{name}", sha256=case.source.sha256)
            self.session.replace_source(case.source, moved)

    @rule(age=st.integers(20, 80))
    def type_an_age(self, age: int) -> None:
        self.session.know(self.session.person[1], Person(float(age), "F"))

    @rule(same=st.booleans(), opacity=st.integers(0, 100))
    def lay_over(self, same: bool, opacity: int) -> None:
        if case := self.session.case:
            choice = Choice(Path(f"/scans/{case.name}-flair.nii"))
            look = OverlayLook("second", float(opacity))
            image: Any = types.SimpleNamespace(name=f"{case.name}-flair")
            overlay = Overlay(choice, "header", same, look, f"flair of {case.name}", image)
            self.session.annotate(case.key, overlay=overlay)

    @rule(place=st.integers(0, 3), there=st.booleans(), used=st.booleans())
    def paint_a_mask(self, place: int, there: bool, used: bool) -> None:
        if case := self.session.case:
            data = np.zeros((3, 4, 5), bool)
            data[place % 3, place] = True
            mask = Region(data, np.eye(4)) if there else None
            of = {"loss": "blur:3mm", "region": "Painted region"} if used else {}
            self.session.annotate(case.key, **{"mask": mask, "loss": "", "region": "", **of})

    @rule(number=st.integers(0, 2))
    def open_a_map(self, number: int) -> None:
        if case := self.session.case:
            path = Path(f"/scans/{case.name}-labels-{number}.nii")
            maps = dict.fromkeys((*self.session.annotations.maps, path))
            self.session.annotate(case.key, maps=tuple(maps))

    @rule(tissue=st.integers(0, 3))
    def edit_labels(self, tissue: int) -> None:
        before = np.zeros((2, 2, 2), np.uint8)
        after = np.full((2, 2, 2), tissue, np.uint8)
        recipe, case = self.session.recipe, self.session.case
        model = "" if recipe is None else "model"
        scan = case.sha256 if case and recipe is None else ""
        labels = EditedLabels(recipe, model, ((before, after),), scan, np.eye(4) if scan else None)
        self.session.annotate(self.session.key, labels=labels)

    @rule(kill=st.booleans())
    def save_and_restore(self, kill: bool) -> None:
        saved = again(self.session.snapshot)
        assert in_words(saved) == in_words(self.session.snapshot)
        assert in_words(again(saved)) == in_words(saved)
        if not kill:
            return
        before = self.session
        self.session = Watched()
        model: Any = Model()
        self.session.set_generator(model)
        self.reading, self.searching = [], []
        self.session.restore(saved)
        if before.generator.hash != "model":
            return  # what is on the screen is of the other model
        assert self.session.key == before.key
        now, was = self.session.state, before.state
        assert now.recipe == was.recipe
        kept = {"search": "scan", **dict.fromkeys(MADE_AGAIN, "recipe")}
        assert now.what == was.looking_at(kept.get(was.what, was.what)).what
        assert now.comparison == was.comparison
        assert isinstance(now.second, type(was.second))
        kept_row = [one for one in was.row if one.what in IN_COLUMNS]
        assert [one.recipe for one in now.row] == [one.recipe for one in kept_row]
        assert self.session.person == before.person

    @rule(other=st.booleans())
    def open_a_model(self, other: bool) -> None:
        model: Any = Model("other" if other else "model")
        self.session.set_generator(model)

    @invariant()
    def one_subject(self) -> None:
        check(self.session)


TestDoctor = Doctor.TestCase
SHORT = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestDoctor.settings = SHORT


@pytest.mark.soak
def test_two_thousand_days() -> None:
    run_state_machine_as_test(Doctor, settings=settings(SHORT, max_examples=2000))


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
    histories, told = {unread.key: History([entry])}, {"sha of A": Person(47, "F")}
    session.restore(Snapshot(histories, unread.key, (unread,), told))
    assert session.person_of(session.recipe) == (Person(47, "F"), "sha of A")
    session.restore(Snapshot({}))
    assert session.persons == {}


def test_what_was_judged_of_a_scan_holds_before_it_was_projected_too(session: Watched) -> None:
    verdicts = {"acquisition": {"level": "red", "sentence": "The scan covers only 88 %."}}
    a = session.open_case(scan_of("A"))
    assert session.withheld == ""
    session.add_projected(dataclasses.replace(projected(a), assessment={"verdicts": verdicts}))
    assert session.withheld.endswith("unsuitable (the scan covers only 88 %)")
    session.undo()
    assert session.recipe is None
    assert session.withheld
    assert session.judged_of(a) == session.judged, "wherever it is shown"
    session.open_case(scan_of("B"))
    assert session.withheld == ""


def test_a_file_that_has_moved_is_its_patients_again(session: Watched) -> None:
    case = projected(scan_of("A"))
    case = dataclasses.replace(case, scan=None, aligned=None, stored_sha256="sha of A")
    entry = HistoryEntry(State(Patient(case, Recipe(case.source))))
    session.restore(Snapshot({case.key: History([entry])}, case.key, (case,)))
    read: Any = Scan("sha of A", Person())
    moved = dataclasses.replace(scan_of("A"), choice=Choice(Path("/elsewhere/B.nii")), scan=read)
    session.swap(case, case.refused("A.nii does not exist."))
    assert session.open_case(moved).key == case.key
    # All that was made of it is there, and waits for the scan to be put where it lay.
    assert session.recipe == Recipe(case.source)
    assert session.case.source == case.source
    assert not session.case.problem
    assert {one.choice.path.name for one in session.cases} == {"B.nii"}
    assert [(one.name, one.choice.path.name) for one in session.patients] == [("A", "B.nii")]
    other: Any = Scan("sha of C", Person())
    again = dataclasses.replace(moved, choice=Choice(Path("/elsewhere/C.nii")), scan=other)
    assert session.open_case(again).key != case.key
