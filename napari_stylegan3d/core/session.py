"""State of the explorer: generator, current recipe, patient, history.

Two values hold it: `Shown`, what is on the screen with the recipe of the current brain, and `Case`,
the patient's scan that belongs to it. Widgets read them and ask the session to replace them; no
other object holds a part of either.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, Signal

from stylegan3d.errors import OutputError
from stylegan3d.recipe.history import History
from stylegan3d.recipe.model import MadeWith
from stylegan3d.recipe.recipe import Detail, Edit, Mix, Recipe, Source
from stylegan3d.scans.person import SEXES, Person
from stylegan3d.session.case import Case, HistoryEntry, How, Shown, What
from stylegan3d.session.file import Favourite
from stylegan3d.storage.files import new_temporary_folder
from stylegan3d.storage.jsontext import finite_number

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator
    from stylegan3d.scans import AlignedScan, Scan
    from stylegan3d.scans.scan_data import ScanData
    from stylegan3d.segmentation.norms import Norms


class Favourites(QObject):
    """The favourites of the current model, in the order they were added.

    Those of other models are stored separately: there, the same seed is another brain.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._model = ""
        self._of: dict[str, tuple[Favourite, ...]] = {}

    @property
    def items(self) -> tuple[Favourite, ...]:
        """The favourites of the current model."""
        return self._of.get(self._model, ())

    @property
    def by_model(self) -> dict[str, tuple[Favourite, ...]]:
        """All favourites by model hash."""
        return {model: items for model, items in self._of.items() if items}

    @property
    def of_others(self) -> int:
        """Number of favourites of other models."""
        return sum(len(items) for model, items in self._of.items() if model != self._model)

    def use_model(self, model_hash: str) -> None:
        """Switch to the favourites of another model."""
        if model_hash != self._model:
            self._model = model_hash
            self.changed.emit()

    def index_of(self, recipe: Recipe) -> int | None:
        """Index of a recipe among the favourites; None if it is not one."""
        return next((i for i, item in enumerate(self.items) if item.recipe == recipe), None)

    def add(self, recipe: Recipe, note: str = "") -> None:
        """Add a recipe; does nothing if it already is a favourite."""
        if self.index_of(recipe) is None:
            self._set((*self.items, Favourite(recipe, note)))

    def remove(self, index: int) -> None:
        """Remove one; IndexError if there is none at `index`."""
        gone = self.items[index]
        self._set([item for item in self.items if item is not gone])

    def set_note(self, index: int, text: str) -> None:
        """Set the note of one; IndexError if there is none at `index`."""
        changed = replace(self.items[index], note=text)
        if changed != self.items[index]:
            self._set([*self.items[:index], changed, *self.items[index + 1 :]])

    def restore(self, by_model: Mapping[str, Sequence[Favourite]]) -> None:
        """Replace all favourites of all models."""
        self._of = {model: tuple(items) for model, items in by_model.items()}
        self.changed.emit()

    def _set(self, items: Sequence[Favourite]) -> None:
        self._of[self._model] = tuple(items)
        self.changed.emit()


#: Changes of one control within this time are one undo step.
SAME_GESTURE_S = 0.8


@dataclass(frozen=True)
class LayerGroup:
    """Consecutive rows of w that control structures of similar size; `key` is untranslated.

    The last group also has the `silent` rows, which have no effect but belong to a whole mix.
    """

    key: str
    name: str
    meaning: str
    layers: tuple[int, ...]
    sizes_mm: tuple[float, ...]
    silent: tuple[int, ...] = ()

    @property
    def size_in_words(self) -> str:
        """Such as '32–16 mm'."""
        high, low = max(self.sizes_mm), min(self.sizes_mm)
        return f"{high:.0f} mm" if round(high) == round(low) else f"{high:.0f}–{low:.0f} mm"


class Session(QObject):
    """What is shown and of which patient, with undo and redo; generator; projections."""

    recipeChanged = Signal(object, bool)
    """(recipe, live): `live` while a slider is being dragged."""
    lookChanged = Signal()
    """Another picture is to be seen, of the same recipe or of another case."""
    caseChanged = Signal()
    """The case, or the one that is being read, is another, or more is known of it."""
    historyChanged = Signal()
    modelChanged = Signal(object)
    projectedChanged = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.generator: Generator | None = None
        self._shown, self._case = Shown(), None
        #: The scan that is being read, or failed to be read; None once it is the case.
        self.arriving: Case | None = None
        self._projected: list[Case] = []
        #: Default second brain in Mix, by model.
        self._seconds: dict[str, Source] = {}
        #: Age and sex as typed, by the key of `person_of` and `person_in`.
        self.persons: dict[Hashable, Person] = {}
        #: What z and percentiles are taken from; None for the bundled norms.
        self.norms: Norms | None = None
        #: Whether edits and mix go along to the next seed; else each seed has its own.
        self.keep_edits = False
        self._own: dict[Source, tuple[Mix | None, tuple[Edit, ...]]] = {}
        self.favourites = Favourites(self)
        self.history: History[HistoryEntry] = History([HistoryEntry()])
        #: Last state of a model before another was opened, by model.
        self._left: dict[str, HistoryEntry] = {}
        self._last_gesture: tuple[str, float] = ("", 0.0)
        #: Creates the folder for unsaved latents.
        self.make_folder: Callable[[], Path] | None = None
        self._folder: Path | None = None

    _case: Case | None

    @property
    def shown(self) -> Shown:
        """What is on the screen."""
        return self._shown

    @property
    def recipe(self) -> Recipe:
        """The current brain."""
        return self._shown.recipe

    @property
    def case(self) -> Case | None:
        """The current patient's scan; None if none is open."""
        return self._case

    @property
    def result(self) -> Case | None:
        """The case, if the current brain is made from its projection and in its space.

        In a restored session the scan itself may not be read yet.
        """
        case = self._case
        if case is None or not case.is_of(self.recipe.source) or not self._is_mine(case.model):
            return None
        there = bool(case.assessment) if case.aligned is None else self._fits(case)
        return case if there else None

    @property
    def placed(self) -> AlignedScan | None:
        """The case's scan on the model's grid; None if not aligned to this model."""
        case = self._case
        return case.aligned if case and self._fits(case) else None

    @property
    def reading(self) -> bool:
        """Whether a scan is being read."""
        return self.arriving is not None and not self.arriving.problem

    @property
    def projected(self) -> list[Case]:
        """Projections of this session that the current model can show, oldest first."""
        return [case for case in self._projected if self._is_mine(case.model)]

    @property
    def all_projected(self) -> list[Case]:
        """Projections of this session with any model."""
        return list(self._projected)

    @property
    def second(self) -> Source:
        """Default second brain in Mix."""
        return self._seconds.get(self._hash, Source("seed", 1))

    @second.setter
    def second(self, source: Source) -> None:
        self._seconds[self._hash] = source

    @property
    def states(self) -> list[Recipe]:
        """The recipes of the history."""
        return [entry.recipe for entry in self.history.states]

    @property
    def can_undo(self) -> bool:
        """Whether there is an earlier state of this model."""
        return self._neighbour(-1) is not None

    @property
    def can_redo(self) -> bool:
        """Whether an undone state of this model can be redone."""
        return self._neighbour(1) is not None

    @property
    def folder(self) -> Path:
        """Folder of latents that are not saved elsewhere.

        It is kept as long as the session, or the window if the session cannot be stored.
        """
        if self.make_folder is not None:
            with suppress(OutputError):
                return self.make_folder()
        if self._folder is None:
            self._folder = new_temporary_folder()
        return self._folder

    def set_generator(self, generator: Generator) -> None:
        """Switch to another model. History and projections stay; the scan must be aligned again.

        A model that was open before resumes at its last state.
        """
        before, self.generator = self.generator, generator
        self.favourites.use_model(generator.hash)
        if before is not None and before.hash != generator.hash:
            self._own.clear()
        made = MadeWith.of(generator)
        if before is None:
            start = self._shown.of(fitting(self.recipe, generator))
            self.history = History([HistoryEntry(start, self._case, made)])
        elif before.hash != generator.hash:
            self._left[before.hash] = self.history.current
            self._go_to_model(made)
        # Before anybody hears of the model: it cannot draw a recipe of the one before.
        self._set_current()
        self.modelChanged.emit(generator)
        self.projectedChanged.emit()
        # Again, for those who heard of it may have looked at something else.
        self._take_current()

    def place(self, generator: Generator) -> None:
        """The same model with another affine: recipe and history stay."""
        self.generator = generator
        self.modelChanged.emit(generator)
        self.projectedChanged.emit()
        self.caseChanged.emit()
        self.recipeChanged.emit(self.recipe, False)

    def change(
        self, recipe: Recipe, *, live: bool = False, gesture: str = "", case: Case | None = None
    ) -> None:
        """Replace the current recipe, and the case if it is a projection.

        Parameters
        ----------
        recipe : Recipe
            The new one.
        live : bool
            During a drag: shown, but no undo step.
        gesture : str
            Name of the control; quick changes of the same control are one undo step.
        case : Case or None
            By default the case of the recipe's projection, or the current one.
        """
        case = case or self.case_of(recipe.source) or self._case
        was, self._shown = self._shown, self._shown.of(recipe)
        self._own[recipe.source] = recipe.mix, recipe.edits
        if case is not self._case:
            self._case = case
            self.caseChanged.emit()
        if not live:
            self._commit(gesture)
        self.recipeChanged.emit(recipe, live)
        if was.what != self._shown.what:
            self.lookChanged.emit()

    def look(self, what: What) -> None:
        """Show another view of the current case; not an undo step."""
        self._shown = self._shown.looking_at(what)
        self.lookChanged.emit()

    def compare(self, how: How, second: Recipe | Case | None) -> None:
        """Compare with a second picture; not an undo step."""
        self._shown = dataclasses.replace(self._shown, comparison=how, second=second)

    def expect(self, case: Case | None) -> None:
        """Set the scan that is being read or failed to be read; None for none."""
        self.arriving = case
        self.caseChanged.emit()

    def open_case(self, case: Case, *, show: bool = True) -> None:
        """Open a scan that was read: an undo step, unless opened in the background.

        If the same scan is read again, such as with left and right swapped, its step is replaced.
        """
        self.arriving = None
        case = self._distinguished(case)
        now = self.history.current
        if show:
            self._shown = self._shown.looking_at("scan")
        entry = HistoryEntry(self._shown, case, now.model)
        again = now.shown.what == "scan" and now.case is not None and case.is_same_scan_as(now.case)
        if again or not show:
            self.history.amend(entry)
        else:
            self._add(entry)
        self._case = case
        self.historyChanged.emit()
        self.caseChanged.emit()

    def update_case(self, case: Case) -> None:
        """Update a scan after it was aligned, moved or refused.

        Earlier results with another pose keep their steps in the history.
        """
        now = self._case
        if now is None or now.key != case.key:
            self._update_later(case)
            return
        entry = self.history.current
        if entry.case is not None and entry.case.source is None and entry.case.key == case.key:
            self.history.amend(dataclasses.replace(entry, case=case))
        else:
            self._add(HistoryEntry(self._shown.looking_at("scan"), case, entry.model))
        self._case = case
        self.historyChanged.emit()
        self.caseChanged.emit()

    def undo(self) -> None:
        """Go back one step."""
        self._go_by(-1)

    def redo(self) -> None:
        """Redo one step."""
        self._go_by(1)

    def go_to(self, index: int) -> bool:
        """Go to a state of the history, with its recipe, view and case.

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
        was = self._case
        moved = self.history.go_to(index)
        if moved or entry.shown.what != self._shown.what or (entry.case or was) is not was:
            self._take_current()
        return True

    def restore(self, history: History[HistoryEntry], projected: Iterable[Case] = ()) -> None:
        """Replace the history, such as by that of an earlier session."""
        self.history, self._projected = history, list(projected)
        self._left.clear()
        self._own.clear()
        self._seconds.clear()
        self._case = self.arriving = None
        self.projectedChanged.emit()
        self._take_current()

    def add_projected(self, case: Case) -> None:
        """Add a projection, show it, and offer it as a source."""
        assert case.source is not None
        self._projected.append(case)
        detail = Detail(case.source)
        recipe = self.recipe.replace(source=case.source, mix=None, edits=(), detail=detail)
        self.change(recipe, case=case)
        self.projectedChanged.emit()

    def swap(self, old: Case, new: Case) -> None:
        """Replace a case by an equivalent one, such as with its voxels on disk."""
        self._projected = [new if case is old else case for case in self._projected]
        self.history.map(lambda e: dataclasses.replace(e, case=new) if e.case is old else e)
        for model, entry in self._left.items():
            if entry.case is old:
                self._left[model] = dataclasses.replace(entry, case=new)
        if self._case is old:
            self._case = new

    @property
    def cases(self) -> list[Case]:
        """All cases in the history."""
        entries = [entry.case for entry in self.history.states]
        every = [case for case in (*self._projected, *entries, self._case) if case is not None]
        return list({id(case): case for case in every}.values())

    def scan_of(self, key: str) -> Scan | None:
        """The scan of the case with this key; None while it is not read, or without such a case."""
        scans = (case.scan for case in self.cases if case.key == key)
        return next((scan for scan in scans if scan is not None), None)

    def case_of(self, source: Source) -> Case | None:
        """The case of a recipe's source; None for a synthetic brain."""
        if source.kind != "projected":
            return None
        if self._case is not None and self._case.is_of(source):
            return self._case
        known = next((c for c in reversed(self._projected) if c.is_of(source)), None)
        return known or Case.of_latent(source)

    def person_of(self, recipe: Recipe) -> tuple[Person, Hashable]:
        """Whose brain a recipe shows, and a key that is the same for all pictures of them.

        Age and sex as typed, else from the scan's files, else from the label of a random brain.
        """
        mix = recipe.mix
        if mix is not None and any(mix.strength):
            key = (recipe.source, mix.source)  # of two people, so nobody's
            return self.persons.get(key, Person()), key
        case, label = self.case_of(recipe.source), recipe.label
        if case is not None and case.scan is not None:
            return self.person_in(case.scan)
        source, person = recipe.source, Person()
        if case is None and label is not None and recipe.source.kind == "seed":
            values = dict(label.values)
            sex = values.get("sex")
            known = str(sex) if sex in SEXES else None
            person = Person(finite_number(values.get("age")), known)
        return self.persons.get(source, person), source

    def person_in(self, scan: ScanData) -> tuple[Person, Hashable]:
        """Who is in a scan, and the key of the scan."""
        key = scan.sha256
        return self.persons.get(key, scan.person), key

    def find_projected(self, source: Source) -> Case | None:
        """The projection of a source, if made in this session with the same affine."""
        found = next((case for case in self.projected if case.is_of(source)), None)
        return found if found is not None and self._fits(found) else None

    def with_source(self, source: Source) -> Recipe:
        """The current recipe of another brain: of a projected scan with its own detail.

        Detail that was the brain's own is left behind; that of another scan stays.
        """
        recipe, detail = self.recipe, self.recipe.detail
        if source.is_same(recipe.source):
            return recipe.replace(source=source)
        if detail is None or detail.source.is_same(recipe.source):
            found = self.find_projected(source)
            detail = None if found is None else Detail(source)
        return recipe.replace(source=source, detail=detail)

    def numbered(self, seed: int) -> Recipe:
        """The recipe of another brain number.

        Edits and mix belong to the brain they were made for: they wait for it, unless they are told
        to go along.
        """
        source = Source("seed", seed)
        recipe = self.with_source(source)
        if self.keep_edits or source.is_same(self.recipe.source):
            return recipe
        mix, edits = self._own.get(source, (None, ()))
        return recipe.replace(mix=mix, edits=edits)

    def replace_source(self, old: Source, new: Source) -> None:
        """Replace a source, in all of the history, after its latent was saved elsewhere."""

        def moved(shown: Shown) -> Shown:
            recipe = shown.recipe.with_paths(lambda part: new if part == old else part)
            return dataclasses.replace(shown, recipe=recipe)

        for case in self.cases:
            if case.source == old:
                self.swap(case, dataclasses.replace(case, source=new))
        self.history.map(lambda e: dataclasses.replace(e, shown=moved(e.shown)))
        self._shown = moved(self._shown)
        self.projectedChanged.emit()
        self.historyChanged.emit()
        self.recipeChanged.emit(self.recipe, False)

    def mix_or_none(self) -> Mix:
        """The recipe's mix, or one with all strengths 0."""
        count = self.generator.num_layers if self.generator else 1
        return self.recipe.mix or Mix(self.second, (0.0,) * count)

    def layer_groups(self) -> list[LayerGroup]:
        """The generator's layers as coarse, middle and fine."""
        return layer_groups(self.generator) if self.generator else []

    def close(self) -> None:
        """Delete temporary latents."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    @property
    def _hash(self) -> str:
        return "" if self.generator is None else self.generator.hash

    def _is_mine(self, model: str) -> bool:
        """Whether something was made with the current model."""
        return not (model and self._hash) or model == self._hash

    def _fits(self, case: Case) -> bool:
        """Whether a case is in the space of the current model."""
        if case.aligned is None or self.generator is None:
            return case.aligned is not None
        return self._is_mine(case.model) and self.generator.space.same_as(case.aligned.space)

    def _distinguished(self, case: Case) -> Case:
        """Number a name that another file has; its folder may name a patient."""
        known = [(other.name, other.sha256) for other in self.cases if other.sha256]
        name, number = case.name, 1
        while case.sha256 and any(n == name and sha != case.sha256 for n, sha in known):
            number += 1
            name = f"{case.name} ({number})"
        return dataclasses.replace(case, name=name)

    def _update_later(self, case: Case) -> None:
        """Update a case that is not the current one in its last step of the history."""
        states = self.history.states
        last = next((e.case for e in reversed(states) if e.case and e.case.key == case.key), None)
        if last is not None and last.source is None:
            self.swap(last, case)
            self.historyChanged.emit()

    def _commit(self, gesture: str) -> None:
        now = time.monotonic()
        name, when = self._last_gesture
        self._last_gesture = (gesture, now)
        follows = bool(gesture) and gesture == name and now - when < SAME_GESTURE_S
        entry = HistoryEntry(self._shown, self._case, self.history.current.model)
        if not entry.same_as(self.history.current):
            self._add(entry, merge=follows)
            self.historyChanged.emit()

    def _add(self, entry: HistoryEntry, *, merge: bool = False) -> None:
        """Add a state that is made from the current one; nothing is discarded."""
        self.history.commit(entry, merge=merge)

    def _go_to_model(self, made: MadeWith) -> None:
        """Go to a model's last state, or its first brain, with the current scan."""
        states, left = self.history.states, self._left.get(made.sha256)
        known = [k for k, e in enumerate(states) if e.model and e.model.sha256 == made.sha256]
        if known:
            at = next((k for k in known if states[k] is left), known[-1])
            self.history.go_to(at)
            return
        assert self.generator is not None
        shown = self._shown.of(fitting(self.recipe, self.generator))
        case = None if self._case is None or self._case.scan is None else self._case.as_read()
        self.history.append(HistoryEntry(dataclasses.replace(shown, what="recipe"), case, made))

    def _neighbour(self, step: int) -> int | None:
        """The state of this model that undo (-1) or redo (1) leads to."""
        history = self.history
        path = history.way[1:] if step < 0 else history.ahead
        return next((i for i in path if history.states[i].is_for(self._hash)), None)

    def _go_by(self, step: int) -> None:
        index = self._neighbour(step)
        if index is not None:
            self.go_to(index)

    def _set_current(self) -> None:
        """Hold the current state; comparison, window and level stay."""
        entry, now = self.history.current, self._shown
        self._shown = dataclasses.replace(entry.shown, comparison=now.comparison, second=now.second)
        # A synthetic brain keeps the current scan open.
        self._case = entry.case or self.case_of(entry.recipe.source) or self._case
        self._last_gesture = ("", 0.0)

    def _take_current(self) -> None:
        """Show the current state."""
        self._set_current()
        self.caseChanged.emit()
        self.historyChanged.emit()
        self.recipeChanged.emit(self.recipe, False)
        self.lookChanged.emit()


def fitting(recipe: Recipe, generator: Generator) -> Recipe:
    """The parts of a recipe that apply to another model: seed, truncation and noise."""
    source = recipe.source if recipe.source.kind == "seed" else Source("seed", 0)
    truncation = recipe.truncation
    if truncation.cutoff is not None and truncation.cutoff > generator.num_layers:
        truncation = dataclasses.replace(truncation, cutoff=None)
    return Recipe(source, truncation, noise=recipe.noise)


GROUPS = (
    ("coarse", "Coarse", "size and shape of the head and its large structures"),
    ("middle", "Middle", "lobes, ventricles and large sulci"),
    ("fine", "Fine", "fine folding, tissue contrast and texture"),
)


#: The only group of a model without per-layer styles.
WHOLE = ("whole", "Brain", "everything at once, from the head's shape to the texture")


def layer_groups(generator: Generator) -> list[LayerGroup]:
    """Group the layers by the voxel size in mm of the grid that each controls.

    A model without per-layer styles has one group: the whole brain. Of levels that cannot be
    shared out evenly, the middle has one more, then the fine group.
    """
    if not generator.can("layers"):
        size = float(np.mean(generator.voxel_size))
        return [LayerGroup(*WHOLE, (0,), (size,))]
    field_of_view = np.asarray(generator.shape) * np.asarray(generator.voxel_size)
    sizes = [float((field_of_view / grid).mean()) for grid in generator.layer_resolutions]
    read = generator.rows_read
    silent = tuple(range(read, len(sizes)))
    levels = sorted(set(sizes[:read]), reverse=True)
    count = len(levels)
    borders = max(count // 3, 1), count - (count + 1) // 3
    groups = []
    for names, members in zip(GROUPS, np.split(levels, borders), strict=True):
        layers = tuple(i for i, size in enumerate(sizes[:read]) if size in members)
        if layers:
            groups.append(LayerGroup(*names, layers, tuple(sizes[i] for i in layers)))
    if silent:
        last, every = groups[-1], groups[-1].layers + silent
        sizes_mm = tuple(sizes[i] for i in every)
        groups[-1] = dataclasses.replace(last, layers=every, sizes_mm=sizes_mm, silent=silent)
    return groups
