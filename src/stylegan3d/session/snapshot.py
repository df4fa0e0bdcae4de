"""What a session keeps of a workspace, as plain data and back.

Restored, everything is as it was but for what is made from it: voxels are read again, and volumes
rendered again. Files can be edited: invalid parts are dropped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, ValidationError, WrapValidator

from stylegan3d.base import Doubt, Json, JsonView, StyleGAN3DError
from stylegan3d.recipe.history import History, are_parents
from stylegan3d.recipe.model import MadeWith
from stylegan3d.recipe.recipe import Edit, Recipe, Source
from stylegan3d.scans.person import SEXES, Person
from stylegan3d.scans.pose import NO_POSE, Pose
from stylegan3d.session.annotations import (
    ARRAYS,
    NOTHING,
    Affine,
    Annotations,
    EditedLabels,
    Filled,
    Lenient,
    Overlay,
    SavedRegion,
    or_else,
)
from stylegan3d.session.case import Alignment, Case, Choice
from stylegan3d.session.file import SessionState
from stylegan3d.session.state import (
    FOLLOWING,
    MOST_COLUMNS,
    NOBODY,
    HistoryEntry,
    How,
    Patient,
    State,
    Subject,
    Synthetic,
    What,
)
from stylegan3d.session.workspace import Snapshot
from stylegan3d.storage.about import Origin
from stylegan3d.storage.checked import adapter
from stylegan3d.storage.encoding import finite_number, to_plain

NOT_ALIGNED = (
    "The edited labels were not restored because their scan could not be aligned again: "
    "open and align that scan to get them back."
)
DAMAGED = (
    "The edited labels of this session are damaged and were not restored: segment that brain again."
)


Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else str(value))]


@dataclass(frozen=True, eq=False)
class SavedProjection:
    """A projection, without its latent and voxels; see `Case`."""

    doubts: tuple[Annotated[Doubt, BeforeValidator(Doubt.read)], ...]
    trust: JsonView
    filled: Annotated[Filled | None, Lenient] = None
    pose: Pose | None = None


@dataclass(frozen=True, eq=False)
class SavedScan:
    """A patient's scan as it lay at one time, with what was found of it there.

    Attributes
    ----------
    choice : Choice
        The file and the part of it that was chosen.
    how, rigid : str, ndarray or None
        "auto" or "centre", and the resulting pose (4, 4); "" and None if not aligned.
    pose : Pose
        The user's adjustment of that pose.
    results : mapping of str to SavedProjection
        Its projections by the sha256 of their latents.
    painted, labels, second : Region or None, tuple of Path, Overlay or None
        `Annotations.mask`, `maps` and `overlay` of the patient.
    name : str
        Name of the patient.
    model : str
        Hash of the model it was aligned to; empty if not aligned.
    sha256 : str
        Hash of the scan, so that another patient's file of the same name is not taken for it.
    origin : {"acquired", "synthetic", "edited"}
        What the scan's files said that it is.
    key : str
        `Case.key`.
    loss, region : str
        `Annotations.loss` and `region` of the patient.
    """

    __pydantic_config__ = ARRAYS
    choice: Choice
    how: Annotated[Literal["", "auto", "centre"], WrapValidator(or_else(""))] = ""
    rigid: Annotated[Affine | None, Lenient] = None
    pose: Pose = NO_POSE
    results: Mapping[str, Annotated[SavedProjection | None, Lenient]] = field(default_factory=dict)
    painted: SavedRegion = None
    labels: tuple[Path, ...] = ()
    second: Annotated[Overlay | None, Lenient] = None
    name: Text = ""
    model: Text = ""
    sha256: Text = ""
    origin: Annotated[Origin, WrapValidator(or_else("acquired"))] = "acquired"
    key: Text = ""
    loss: Text = ""
    region: Text = ""

    def __post_init__(self) -> None:
        if self.rigid is None:
            object.__setattr__(self, "how", "")

    @classmethod
    def of(cls, case: Case, snapshot: Snapshot) -> SavedScan:
        """A case with a file, with its projections there and what lies over its scan."""
        assert case.choice is not None
        results = {
            str(p.source.sha256): SavedProjection(p.doubts, p.assessment, p.filled, p.pose)
            for p in snapshot.projected
            if p.source is not None and _is_same(p, case)
        }
        lies, over = case.alignment, snapshot.annotations.get(case.key, NOTHING)
        return cls(
            case.choice,
            "" if lies is None else lies.how,
            None if lies is None else lies.rigid,
            case.pose,
            results,
            over.mask,
            over.maps,
            over.overlay,
            case.name,
            case.model,
            case.sha256,
            case.origin,
            case.key,
            over.loss,
            over.region,
        )

    @property
    def annotations(self) -> Annotations:
        """What lies over the scan."""
        over = Annotations(self.second, "", self.painted, self.labels)
        return dataclasses.replace(over, loss=self.loss, region=self.region)

    def case(self) -> Case:
        """The case before its scan is read again."""
        lies = None
        if self.rigid is not None and self.how:
            lies = Alignment(self.how, self.rigid)
        return Case(
            self.name,
            self.choice,
            pose=self.pose,
            model=self.model,
            stored_sha256=self.sha256,
            stored_origin=self.origin,
            stored_alignment=lies,
            key=self.key,
        )

    def projected(self, case: Case, sources: Iterable[Source]) -> list[Case]:
        """Its projections that occur in `sources`, without voxels."""
        found = []
        for source in sources:
            told = self.results.get(str(source.sha256))
            if told is not None:
                part = dataclasses.replace(
                    case,
                    source=source,
                    doubts=told.doubts,
                    assessment=told.trust,
                    filled=told.filled,
                    pose=told.pose or self.pose,
                )
                found.append(part)
        return found


def _is_same(one: Case, other: Case) -> bool:
    """Whether two cases are of one scan that lies in one place of one model."""
    if (one.key, one.choice, one.model) != (other.key, other.choice, other.model):
        return False
    lies = one.alignment
    return other.alignment is None if lies is None else lies.same_as(other.alignment)


def plain_of(value: Any) -> Json:
    """A saved part as plain data, for JSON."""
    kind: Any = type(value)
    plain: Json = to_plain(adapter(kind).dump_python(value))
    return plain


def read_part(kind: Any, plain: Any) -> Any:
    """Inverse of `plain_of`; None if it is invalid."""
    with suppress(ValidationError, StyleGAN3DError, TypeError):
        return adapter(kind).validate_python(plain)
    return None


def to_view(snapshot: Snapshot) -> Json:
    """Plain data of a session besides its recipes: patients, histories, ages, annotations."""
    cases: list[Case] = []

    def place(case: Case | None) -> int | None:
        if case is None or case.choice is None:
            return None
        for index, known in enumerate(cases):
            if _is_same(known, case):
                return index
        cases.append(case)
        return len(cases) - 1

    place(snapshot.histories[snapshot.key].current.case)
    for case in snapshot.projected:
        place(case)
    entries = entries_of(snapshot)
    models = list(dict.fromkeys(entry.model for entry in entries if entry.model is not None))
    steps = [
        {
            "what": entry.state.what,
            "case": place(entry.case),
            "model": None if entry.model is None else models.index(entry.model),
        }
        for entry in entries
    ]
    columns = [
        {"what": one.what, "case": place(one.case), "recipe": one.recipe and one.recipe.to_dict()}
        for one in snapshot.compared.row
    ]
    labels = [
        {**plain_of(over.labels), "of": key}
        for key, over in snapshot.annotations.items()
        if over.labels is not None
    ]
    labels += [plain_of(one) for one in snapshot.unclaimed]
    how, second = snapshot.compared.comparison, snapshot.compared.second
    compared: Json = {"how": how, "case": None, "recipe": None, "row": columns}
    if isinstance(second, Recipe):
        compared["recipe"] = second.to_dict()
    elif second is not None:
        compared["case"] = place(second)
        compared["recipe"] = second.source and Recipe(second.source).to_dict()
    return {
        "cases": [_saved(SavedScan.of(case, snapshot)) for case in cases],
        "models": [dataclasses.asdict(model) for model in models],
        "steps": steps,
        "projected": [case.source and case.source.sha256 for case in snapshot.projected],
        "histories": [
            {"of": of, "position": one.position, "parents": list(one.parents)}
            for of, one in snapshot.histories.items()
        ],
        "open": snapshot.key,
        "comparison": compared,
        "persons": [{"of": of, **dataclasses.asdict(one)} for of, one in snapshot.persons.items()],
        **({"labels": labels} if labels else {}),
    }


def _compared(
    told: Any,
    cases: Sequence[Case | None],
    projected: Sequence[Case],
    states: Sequence[Recipe | None],
) -> State:
    """How the screen was compared, and with which brain, whose scan, or which columns."""

    def recipe_in(part: Any) -> Recipe | None:
        with suppress(StyleGAN3DError, KeyError, TypeError):
            return with_files_of(Recipe.from_dict(part["recipe"]), states)
        return None

    plain: Json = told if isinstance(told, dict) else {}
    row: list[State] = []
    for part in plain["row"] if isinstance(plain.get("row"), list) else ():
        column = _shown(recipe_in(part), part, cases, projected)
        if column is not None:
            row.append(column)
    recipe = recipe_in(plain)
    second: Recipe | Case | None = _at(cases, plain.get("case"))
    if second is None:
        second = recipe
    elif recipe is not None:
        second = next((one for one in projected if one.is_of(recipe.source)), second)
    how: Any = plain.get("how") if second is not None or plain.get("how") == "row" else "off"
    how = how if how in get_args(How) else "off"
    return State(comparison=how, second=second, row=tuple(row[:MOST_COLUMNS]))


def _saved(scan: SavedScan) -> Json:
    plain = plain_of(scan)
    if scan.second is not None:  # for those who get the session without its files
        plain["second"]["name"] = scan.second.name
    return plain


def entries_of(snapshot: Snapshot) -> list[HistoryEntry]:
    """The steps of all subjects, one history after the other."""
    return [entry for history in snapshot.histories.values() for entry in history.states]


def of_session(state: SessionState, made: MadeWith) -> tuple[Snapshot, list[str]]:
    """What a session kept, and why edited labels are not among it, in sentences.

    Parameters
    ----------
    state : SessionState
    made : MadeWith
        The model, for steps that do not say theirs.
    """
    view = state.view
    told = view.get("cases")
    kept = [read_part(SavedScan, one) for one in (told if isinstance(told, list) else ())]
    # Without a key a scan would be taken for nobody's.
    cases = [one.case() if one and one.key and one.name else None for one in kept]
    used = (source for recipe in filter(None, state.states) for source in recipe.sources)
    sources = list({s.sha256: s for s in used if s.kind == "projected"}.values())
    projected: list[Case] = []
    annotations: dict[str, Annotations] = {}
    for one, case in zip(kept, cases, strict=True):
        if one is not None and case is not None:
            projected += one.projected(case, sources)
            annotations.setdefault(case.key, one.annotations)
    order = view.get("projected")
    order = order if isinstance(order, list) else []
    places = {str(sha256): place for place, sha256 in enumerate(order)}
    projected.sort(key=lambda case: places.get(str(case.source and case.source.sha256), -1))
    entries = _entries(state.states, view, made, cases, projected)
    histories = _histories(entries, view.get("histories"))
    key = next(of for of in (str(view.get("open")), NOBODY, *histories) if of in histories)
    lost: list[str] = []
    unclaimed: list[EditedLabels] = []
    stored = view.get("labels")
    for plain in stored if isinstance(stored, list) else ():
        labels = edited_labels(plain, state.states)
        of = None if labels is None else str(plain.get("of"))
        if labels is None or (of not in histories and not labels.scan):
            lost.append(DAMAGED)
        elif of not in histories:
            lost.append(NOT_ALIGNED)
            unclaimed.append(labels)
        else:
            over = annotations.get(of, NOTHING)
            annotations[of] = dataclasses.replace(over, labels=labels)
    annotations = {of: over for of, over in annotations.items() if of in {NOBODY, *histories}}
    told = _persons(view.get("persons")), annotations, tuple(unclaimed)
    compared = _compared(view.get("comparison"), cases, projected, state.states)
    return Snapshot(histories, key, tuple(projected), *told, compared), lost


def edited_labels(plain: Any, states: Sequence[Recipe | None]) -> EditedLabels | None:
    """Edited labels, with the files of their brain where other recipes have them."""
    found: EditedLabels | None = read_part(EditedLabels, plain)
    if found is None or not found.edits:
        return None
    if len({labels.shape for pair in found.edits for labels in pair}) != 1:
        return None
    if found.recipe is None:
        return found
    return dataclasses.replace(found, recipe=with_files_of(found.recipe, states))


def with_files_of(recipe: Recipe, states: Iterable[Recipe | None]) -> Recipe:
    """The recipe, with its files where other recipes have them; known by their sha256."""
    places: dict[str, str] = {}

    def note(part: Source | Edit) -> Source | Edit:
        if part.file is not None and part.sha256 is not None:
            places[part.sha256] = part.file
        return part

    def place(part: Source | Edit) -> Source | Edit:
        path = None if part.sha256 is None else places.get(part.sha256)
        return part if path is None or part.file is None else part.with_file(path, part.sha256)

    for state in filter(None, states):
        state.with_paths(note)
    return recipe.with_paths(place)


def _histories(entries: Sequence[HistoryEntry], told: Any) -> dict[str, History[HistoryEntry]]:
    """The history of each subject; in a straight line where it is not told as it should be."""
    own: dict[str, list[HistoryEntry]] = {}
    for entry in entries:
        own.setdefault(entry.state.key, []).append(entry)
    found = {key: History(steps) for key, steps in own.items()}
    for plain in told if isinstance(told, list) else ():
        with suppress(TypeError, KeyError):
            steps, parents = own[plain["of"]], plain["parents"]
            if are_parents(parents, len(steps)):
                at = _at(range(len(steps)), plain["position"])
                found[plain["of"]] = History(steps, at, parents)
    return found


def _persons(plain: Any) -> dict[str, Person]:
    """Ages and sexes as typed."""
    found: dict[str, Person] = {}
    for one in plain if isinstance(plain, list) else ():
        with suppress(KeyError, TypeError, ValueError, StyleGAN3DError):
            age = finite_number(one["age"])
            found[str(one["of"])] = Person(age, one["sex"] if one["sex"] in SEXES else None)
    return found


def _entries(
    recipes: Sequence[Recipe | None],
    view: JsonView,
    made: MadeWith,
    cases: Sequence[Case | None],
    projected: Sequence[Case],
) -> list[HistoryEntry]:
    """The states, without those of patients of whom nothing can be read."""
    steps = view.get("steps")
    if not isinstance(steps, list) or len(steps) != len(recipes):
        steps = [{}] * len(recipes)
    models = _models(view)
    entries = []
    for recipe, step in zip(recipes, steps, strict=True):
        plain = step if isinstance(step, dict) else {}
        model = _at(models, plain.get("model")) or made
        state = _shown(recipe, plain, cases, projected)
        if state is not None or plain.get("case") is None:
            entries.append(HistoryEntry(state or State(), model))
    return entries or [HistoryEntry(State(), made)]


def _shown(
    recipe: Recipe | None, step: Any, cases: Sequence[Case | None], projected: Sequence[Case]
) -> State | None:
    """One picture; None if it is nobody's."""
    plain = step if isinstance(step, dict) else {}
    told, case = plain.get("what"), _at(cases, plain.get("case"))
    what: What = told if told in ("scan", *FOLLOWING) else "recipe"
    subject = _subject(recipe, case, what, projected)
    return None if subject is None else State(subject, what)


def _subject(
    recipe: Recipe | None, case: Case | None, what: What, projected: Sequence[Case]
) -> Subject | None:
    """Whose a state is, if anybody's."""
    if recipe is None:
        return None if case is None else Patient(case)
    if recipe.source.kind != "projected":
        return Synthetic(recipe)
    result = next((p for p in projected if p.is_of(recipe.source)), None)
    return Patient(result or Case.of_latent(recipe.source), recipe)


def _models(view: JsonView) -> list[MadeWith | None]:
    plain = view.get("models")
    found: list[MadeWith | None] = []
    for one in plain if isinstance(plain, list) else ():
        try:
            found.append(MadeWith(**one))
        except (TypeError, StyleGAN3DError):
            found.append(None)
    return found


def _at(things: Sequence[Any], index: Any) -> Any:
    whole = isinstance(index, int) and not isinstance(index, bool)
    return things[index] if whole and 0 <= index < len(things) else None
