"""Sessions: saved automatically, offered after a crash, opened from a menu."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFrame, QMenu

from napari_stylegan3d.core.context import report_done
from napari_stylegan3d.core.worker import LatestWins, LongJob, duration_in_words
from napari_stylegan3d.labels.persistence import DAMAGED, LabelsRestorer, SavedLabels
from napari_stylegan3d.project.persistence import SavedScan, ScanRestorer
from napari_stylegan3d.widgets import controls, dialogs
from napari_stylegan3d.widgets.controls import single_shot
from stylegan3d.errors import SessionError, StyleGAN3DError
from stylegan3d.progress import Progress
from stylegan3d.recipe.history import History, are_parents
from stylegan3d.recipe.model import MadeWith
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.scans.person import SEXES, Person
from stylegan3d.session.case import Case, Choice
from stylegan3d.session.file import SUFFIX, SessionState, pack, unpack
from stylegan3d.session.state import (
    FOLLOWING,
    NOBODY,
    HistoryEntry,
    Patient,
    State,
    Subject,
    Synthetic,
    What,
)
from stylegan3d.session.store import Kept, SessionFolder, kept_sessions, mark_closed, tidy
from stylegan3d.storage.files import (
    atomic_write_bytes,
    sweep,
    sweep_temporary,
    write_together,
)
from stylegan3d.storage.jsontext import finite_number

if TYPE_CHECKING:
    from qtpy.QtWidgets import QLineEdit

    from napari_stylegan3d.core.context import Context
    from napari_stylegan3d.core.panel import Tabs
    from napari_stylegan3d.core.session import Session
    from napari_stylegan3d.labels.controller import LabelsController
    from napari_stylegan3d.project.controller import ProjectController
    from napari_stylegan3d.views.four import FourViews


def find_sessions(report: Progress, base: Path, saved_to: str) -> list[Kept]:
    """What sessions there are; what a window that came to a sudden end left behind is removed."""
    report(0, 1)
    tidy(base)
    sweep_temporary()
    if saved_to:
        sweep(Path(saved_to))
    return kept_sessions(base)


def read_session_file(
    report: Progress, path: Path, folder: SessionFolder
) -> tuple[SessionState, dict[Path, bytes], SessionFolder]:
    """A session from a file, with its other files and their target folder."""
    report(0, 1)
    return *unpack(path, folder.path), folder


def write_session_file(report: Progress, path: Path, state: SessionState, folder: Path) -> Path:
    """Write a session with its latents to one file; returns its path."""
    report(0, 1)
    # The dialog has already confirmed that an existing file may be replaced.
    atomic_write_bytes(path, pack(state, folder), overwrite=True)
    return path


#: Environment variable that overrides the sessions folder.
FOLDER_VARIABLE = "STYLEGAN3D_SESSIONS"
#: Changes are gathered for so long; nothing older is ever lost.
GATHER_MS = 1000


def sessions_folder() -> Path:
    """The sessions folder: that of the variable, or one in the user's data."""
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given).expanduser()
    import platformdirs

    return platformdirs.user_data_path("napari-stylegan3d") / "sessions"


class Autosave(QObject):
    """Writes the session to a folder of its own, off the GUI thread.

    Parameters
    ----------
    state : callable
        Gives what is to be saved; called on the GUI thread.
    parent : QObject
        Owns it.
    """

    failed = Signal(object)
    """The exception, once until a save succeeds again."""

    def __init__(self, state: Callable[[], SessionState], parent: QObject) -> None:
        super().__init__(parent)
        self._state = state
        self.folder = SessionFolder(sessions_folder())
        self._lock, self._has_failed, self._over = threading.Lock(), False, False
        self._work = LatestWins(self._write, self)
        self._work.failed.connect(lambda _, error: self._on_failed(error))
        self._work.ready.connect(lambda *_: self._on_written())
        self._gather = single_shot(self, self.now, GATHER_MS)

    def soon(self) -> None:
        """Something changed."""
        if not (self._over or self._gather.isActive()):
            self._gather.start()

    def now(self) -> None:
        """Save what there is, if it is worth it."""
        state = self._state()
        if state.worth_keeping or self.folder.exists:
            self._work.submit((self.folder, state.stamped()))

    def move_to(self, folder: SessionFolder) -> None:
        """Save to another folder from now on; the session so far is closed."""
        self._gather.stop()
        self._close()
        self.folder = folder

    def shutdown(self) -> None:
        """Save a last time, as closed, and let other windows have the folder."""
        self._over = True
        self._gather.stop()
        self._work.shutdown()
        self._close()

    def _close(self) -> None:
        folder, state = self.folder, self._state().stamped(closed=True)
        # A folder that is left counts as another one: a write still under way finds it left.
        with self._lock:
            self.folder = SessionFolder(folder.base)
            try:
                if state.worth_keeping:
                    folder.write(state)
                    folder.leave()
                elif folder.exists:
                    folder.remove()
            except StyleGAN3DError as error:
                self._on_failed(error)

    def _write(self, request: tuple[SessionFolder, SessionState]) -> None:
        """In the thread."""
        folder, state = request
        with self._lock:
            if folder is self.folder:
                folder.write(state)

    def _on_failed(self, error: Exception) -> None:
        if not self._has_failed:
            self._has_failed = True
            self.failed.emit(error)

    def _on_written(self) -> None:
        self._has_failed = False


DAY_S = 86_400.0


class RestoreBar(QFrame):
    """A sentence and two answers; hidden until there is something to offer."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("explorer.restore_bar")
        self.setProperty("role", "notice")
        self.text = controls.hint(name="explorer.restore_text", role="")
        self.restore = controls.push_button(
            "Restore the last session",
            "explorer.restore",
            "Restore its history, favourites and scan.",
            "primary",
        )
        self.anew = controls.push_button(
            "Start new session",
            "explorer.start_anew",
            "Start a new session; the last one remains under Open ▾ › Earlier sessions.",
        )
        controls.stack(
            self.text,
            controls.row(self.restore, self.anew, stretch=0),
            on=self,
            margins=(14, 8, 14, 8),
        )
        self.hide()

    def offer(self, state: SessionState) -> None:
        """Ask about a session."""
        self.text.setText(f"The last session ended unexpectedly, {summary(state)}.")
        self.show()


def summary(state: SessionState) -> str:
    """Age and content of a session: "3 min ago: 12 states, 2 favourites, Brain T1w"."""
    age = state.age_s
    if age < DAY_S:
        when = f"{duration_in_words(age)} ago"
    else:
        when = state.saved[:10] or "some time ago"
    counts = [_counted(len(state.states), "state")]
    favourites = sum(len(items) for items in state.favourites.values())
    if favourites:
        counts.append(_counted(favourites, "favourite"))
    if state.model is not None and state.model.name:
        counts.append(state.model.name)
    return f"{when}: {', '.join(counts)}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def of_session(session: Session, scans: ScanRestorer) -> dict[str, Any]:
    """Plain data of a session besides its recipes: patients, histories, ages."""
    kept, places = scans.of_session()
    entries = session.entries
    models = list(dict.fromkeys(entry.model for entry in entries if entry.model is not None))
    steps = [
        {
            "what": entry.state.what,
            "case": place,
            "model": None if entry.model is None else models.index(entry.model),
        }
        for entry, place in zip(entries, places, strict=True)
    ]
    return {
        "cases": [one.to_plain() for one in kept],
        "models": [dataclasses.asdict(model) for model in models],
        "steps": steps,
        "histories": [
            {"length": len(one.states), "position": one.position, "parents": list(one.parents)}
            for one in session.histories.values()
        ],
        "open": list(session.histories).index(session.key),
        "persons": [
            {"of": of, **dataclasses.asdict(person)}
            for key, person in session.persons.items()
            if (of := _plain_key(key)) is not None
        ],
    }


def _plain_key(key: Any) -> Any:
    """Of a scan its hash, of a random brain its source; None for a mix of two."""
    if isinstance(key, Source):
        return dataclasses.asdict(key)
    return key or None if isinstance(key, str) else None


def restored(state: SessionState, session: Session, scans: ScanRestorer) -> None:
    """Restore a session: patients with their histories, projections, ages."""
    assert session.generator is not None
    view, made = state.view, state.model or MadeWith.of(session.generator)
    kept = _kept(view, state.scan)
    cases = _of_patients([None if one is None else one.case() for one in kept])
    sources = list({s.sha256: s for s in projected_sources(state.states)}.values())
    projected: list[Case] = []
    for one, case in zip(kept, cases, strict=True):
        if one is not None and case is not None:
            projected += one.projected(case, sources, session.generator.space)
            scans.know(case, one)
    places = {source.sha256: place for place, source in enumerate(sources)}
    projected.sort(key=lambda case: places[case.source.sha256] if case.source else -1)
    entries = _entries(state.states, view, made, cases, projected)
    told = view.get("histories")
    histories = _histories(entries, told) if isinstance(told, list) else None
    if histories is None:  # an earlier version, or not as it should be: by whose each state is
        histories = _sorted_out(entries, view.get("parents"), state.position)
        for case in filter(None, cases[:1]):
            histories.setdefault(case.key, History([HistoryEntry(State.of_scan(case), made)]))
        key = entries[state.position].state.key
    else:
        key = _at(list(histories), view.get("open")) or NOBODY
    session.restore(histories, key, projected, _persons(view.get("persons")))


def _of_patients(cases: Sequence[Case | None]) -> list[Case | None]:
    """All that is saved of one scan, such as before and after its alignment, as one patient."""
    keys: dict[Hashable, str] = {}
    found: list[Case | None] = []
    for case in cases:
        if case is not None and case.choice is not None:
            key = keys.setdefault((case.choice.part, case.sha256), case.key)
            case = dataclasses.replace(case, key=key)
        found.append(case)
    return found


def _histories(
    entries: Sequence[HistoryEntry], told: Sequence[Any]
) -> dict[str, History[HistoryEntry]] | None:
    """The history of each subject; None if that is not what was told."""
    found: dict[str, History[HistoryEntry]] = {}
    rest = list(entries)
    for plain in told:
        try:
            own, rest = rest[: plain["length"]], rest[plain["length"] :]
            keys = {entry.state.key for entry in own}
            parents, position = plain["parents"], plain["position"]
            if len(keys) != 1 or not are_parents(parents, len(own)) or keys & found.keys():
                return None
            found[keys.pop()] = History(own, position, parents)
        except (TypeError, KeyError):
            return None
    return None if rest else found


def _sorted_out(
    entries: Sequence[HistoryEntry], told: Any, position: int
) -> dict[str, History[HistoryEntry]]:
    """One history of all subjects as one for each; each state follows the last of its own.

    That at `position` is on the screen; of the others the last state is current.
    """
    linear = [None, *range(len(entries) - 1)]
    parents = told if isinstance(told, list) and are_parents(told, len(entries)) else linear
    own: dict[str, list[int]] = {}
    for k, entry in enumerate(entries):
        own.setdefault(entry.state.key, []).append(k)
    found = {}
    for key, indices in own.items():
        ways: list[int | None] = []
        for k in indices:
            above = parents[k]
            while above is not None and above not in indices:
                above = parents[above]
            ways.append(0 if above is None and ways else above and indices.index(above))
        ways[0] = None
        at = indices.index(position) if position in indices else None
        found[key] = History([entries[k] for k in indices], at, ways)
    return found


def _persons(plain: Any) -> dict[Any, Person]:
    """Ages and sexes as typed; invalid ones are dropped, since files can be edited."""
    found = {}
    for one in plain if isinstance(plain, list) else ():
        with suppress(KeyError, TypeError, ValueError, StyleGAN3DError):
            key = Source(**one["of"]) if isinstance(one["of"], dict) else str(one["of"])
            age = finite_number(one["age"])
            found[key] = Person(age, one["sex"] if one["sex"] in SEXES else None)
    return found


def scans_of(state: SessionState) -> list[str]:
    """The scans of a session, the open one first: sha256, or path in old sessions."""
    kept = [one for one in _kept(state.view, state.scan) if one is not None]
    return [one.sha256 or str(one.choice.path) for one in kept]


def projected_sources(recipes: Iterable[Recipe | None]) -> Iterable[Source]:
    """Projected scans among the recipes' sources."""
    for recipe in filter(None, recipes):
        for source in recipe.sources:
            if source.kind == "projected":
                yield source


def _kept(view: Any, scan: str | None) -> list[SavedScan | None]:
    """The cases of a session; for old sessions only the open scan."""
    plain = view.get("cases")
    if isinstance(plain, list):
        return [SavedScan.from_plain(one) for one in plain]
    if scan is None or not Path(scan).exists():
        return []
    return [SavedScan.from_plain(view.get("scan")) or SavedScan(Choice(Path(scan)))]


def _entries(
    recipes: Sequence[Recipe | None],
    view: Any,
    made: MadeWith,
    cases: list[Case | None],
    projected: list[Case],
) -> list[HistoryEntry]:
    """The states; invalid parts are dropped, since files can be edited."""
    steps = view.get("steps")
    if not isinstance(steps, list) or len(steps) != len(recipes):
        steps = [{}] * len(recipes)
    models = _models(view)
    entries = []
    for recipe, step in zip(recipes, steps, strict=True):
        plain = step if isinstance(step, dict) else {}
        told = plain.get("what")
        what: What = told if told in ("scan", "painted", *FOLLOWING) else "recipe"
        model = _at(models, plain.get("model")) or made
        case = _at(cases, plain.get("case"))
        entries.append(HistoryEntry(State(_subject(recipe, case, what, projected), what), model))
    return entries


def _subject(
    recipe: Recipe | None, case: Case | None, what: What, projected: Sequence[Case]
) -> Subject:
    """Whose a state is. In an earlier version a scan had the recipe of the brain before it."""
    if recipe is None or (what == "scan" and case is not None):
        own = recipe is not None and any(
            p.is_of(recipe.source) and case is not None and p.key == case.key for p in projected
        )
        if case is not None and not own:
            return Patient(case)
    if recipe is None:
        return Synthetic()
    if recipe.source.kind != "projected":
        return Synthetic(recipe)
    result = next((p for p in projected if p.is_of(recipe.source)), None)
    return Patient(result or Case.of_latent(recipe.source), recipe)


def _models(view: Any) -> list[MadeWith | None]:
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


class SessionController(QObject):
    """Saves the explorer's session, and restores earlier ones.

    Parameters
    ----------
    context : Context
        The window's services.
    tabs, projecting, relabelling : Tabs, ProjectController, LabelsController
        Parts whose state is saved.
    folder : QLineEdit
        Field of the output folder, which may contain sessions, too.
    menu : QMenu
        Menu to open sessions.
    """

    restored = Signal()
    """A session is back as it was."""
    modelWanted = Signal(object, object)
    """(path, frame) of the model that a session was made with."""

    def __init__(
        self,
        context: Context,
        tabs: Tabs,
        projecting: ProjectController,
        relabelling: LabelsController,
        folder: QLineEdit,
        menu: QMenu,
    ) -> None:
        super().__init__(context.dock)
        self.context, self.session, self.messages = context, context.session, context.messages
        self.tabs, self.projecting, self.relabelling = tabs, projecting, relabelling
        self.folder, self.menu = folder, menu
        #: While there are any.
        self.views: FourViews | None = None
        self.autosave = Autosave(self.state, self)
        self.session.make_folder = lambda: self.autosave.folder.make()
        self.looking, self.files = LongJob(self), LongJob(self)
        self.scans, self.edits = (
            ScanRestorer(projecting, self),
            LabelsRestorer(context, relabelling),
        )
        self.kept: list[Kept] = []
        #: Action once a model with this hash is loaded.
        self._waiting: tuple[MadeWith, Callable[[], None]] | None = None
        #: Whether a crashed session is still to be offered.
        self._offers = True
        self.bar = RestoreBar()
        self._connect()

    def state(self) -> SessionState:
        """The current state."""
        from stylegan3d.storage.places import bundled_model_path

        session, generator = self.session, self.session.generator
        path = None if generator is None else generator.path
        entries = session.entries
        return SessionState(
            tuple(entry.recipe for entry in entries),
            entries.index(session.history.current),
            None if generator is None else MadeWith.of(generator),
            None if path in (None, bundled_model_path()) else str(path),
            None if generator is None or generator.frame is None else str(generator.frame),
            session.favourites.by_model,
            self._scan(),
            self._view(),
        )

    def restore(self, kept: Kept) -> None:
        """Restore a stored session, loading its model first."""
        self._with_model(kept.state, partial(self._take, kept))

    def open(self, path: Path) -> None:
        """Open a session file."""
        self.files.start(read_session_file, path, SessionFolder(sessions_folder()))

    def save_as(self, path: Path) -> None:
        """Write the session with all its latents to one file."""
        path = path if path.name.endswith(SUFFIX) else path.with_name(path.name + SUFFIX)
        self.files.start(
            write_session_file, path, self.state().stamped(closed=True), self.autosave.folder.path
        )

    def start_anew(self) -> None:
        """Stop offering crashed sessions; they stay in the menu."""
        self.bar.hide()
        for kept in self.kept:
            if not kept.state.closed:
                try:
                    mark_closed(kept)
                except StyleGAN3DError as error:
                    self.messages.fail(error, "starting a new session")
        self._look()

    def shutdown(self) -> None:
        """Save and stop."""
        self.looking.shutdown()
        self.files.shutdown()
        self.scans.shutdown()
        self.edits.shutdown()
        self.autosave.shutdown()

    def _connect(self) -> None:
        session = self.session
        for changed in (
            session.historyChanged,
            session.projectedChanged,
            session.caseChanged,
            session.personChanged,
        ):
            changed.connect(self.autosave.soon)
        session.favourites.changed.connect(self.autosave.soon)
        session.modelChanged.connect(self._on_model)
        self.context.comparison.viewChanged.connect(lambda _: self.autosave.soon())
        self.context.comparison.placedChanged.connect(self.autosave.soon)
        self.projecting.painting.changed.connect(lambda _ml: self.autosave.soon())
        self.projecting.regions.changed.connect(self.autosave.soon)
        self.projecting.second.changed.connect(self.autosave.soon)
        self.relabelling.changed.connect(self.autosave.soon)
        self.scans.aligned.connect(self.edits.go_on)
        self.scans.failed.connect(self.edits.give_up)
        self.autosave.failed.connect(lambda error: self.messages.fail(error, "saving the session"))
        self.looking.finished.connect(self._on_kept)
        self.files.finished.connect(self._on_file)
        self.files.failed.connect(lambda error: self.messages.fail(error, "reading the session"))
        self.bar.restore.clicked.connect(self._restore_last)
        self.bar.anew.clicked.connect(self.start_anew)
        self.menu.aboutToShow.connect(self._fill)

    def _on_model(self, generator: Any) -> None:
        if not self.kept and not self.looking.running:
            self._look()
        if self._waiting is None:
            return
        (wanted, then), self._waiting = self._waiting, None
        if generator.hash == wanted.sha256:
            then()
            return
        error = SessionError(
            f"This session needs the model {wanted.name} ({wanted.sha256[:8]}), but found "
            f"{generator.name} ({generator.hash[:8]}): open the right model, then the session."
        )
        self.messages.fail(error, "restoring the session")

    def _look(self, *, offer: bool = True) -> None:
        """List stored sessions in the background.

        Offers a crashed one, if enabled.
        """
        self._offers = offer
        self.looking.start(find_sessions, sessions_folder(), self.folder.text())

    def _on_kept(self, kept: list[Kept]) -> None:
        self.kept = kept
        last = self._last()
        if last is not None and self._offers:
            self.bar.offer(last.state)

    def _last(self) -> Kept | None:
        """The latest crashed session."""
        ended = (k for k in self.kept if not k.state.closed and k.state.worth_keeping)
        return next(ended, None)

    def _restore_last(self) -> None:
        last = self._last()
        self.bar.hide()
        if last is not None:
            self.restore(last)

    def _with_model(self, state: SessionState, then: Callable[[], None]) -> None:
        """Call a function once the session's model is loaded."""
        generator = self.session.generator
        if state.model is None or (generator and generator.hash == state.model.sha256):
            then()
            return
        path = None if state.model_path is None else Path(state.model_path)
        if path is not None and not path.exists():
            error = SessionError(
                f"The model of this session, {state.model.name}, is no longer at {path}: move it "
                "back, or open it from its new location, then open the session."
            )
            self.messages.fail(error, "restoring the session")
            return
        self._waiting = state.model, then
        self.modelWanted.emit(path, state.frame)

    def _take(self, kept: Kept) -> None:
        folder = SessionFolder(sessions_folder())
        try:
            state = folder.take(kept.folder)
        except StyleGAN3DError as error:
            self.messages.fail(error, "restoring the session")
            return
        self.kept = [other for other in self.kept if other is not kept]
        self._go_on(state, folder)

    def _on_file(self, result: Any) -> None:
        if isinstance(result, Path):
            report_done(f"The session was saved as {result.name}.")
            return
        state, files, folder = result
        self._with_model(state, partial(self._take_file, state, files, folder))

    def _take_file(
        self, state: SessionState, files: dict[Path, bytes], folder: SessionFolder
    ) -> None:
        try:
            folder.make()
            write_together(files)
        except StyleGAN3DError as error:
            self.messages.fail(error, "opening the session")
            return
        self._go_on(state, folder)

    def _go_on(self, state: SessionState, folder: SessionFolder) -> None:
        self.autosave.move_to(folder)
        self.bar.hide()
        session, generator = self.session, self.session.generator
        session.favourites.restore(state.favourites)
        self.scans.forget()
        if generator is not None:
            restored(state, session, self.scans)
        self._show_view(state.view)
        stored = state.view.get("labels")
        told = stored if isinstance(stored, list) else [] if stored is None else [stored]
        labels = [SavedLabels.from_plain(one) for one in told]
        if None in labels:
            self.messages.fail(SessionError(DAMAGED), "restoring labels")
        self.edits.restore([one for one in labels if one], state.states, scans_of(state))
        self._look(offer=False)  # the previous session is now an earlier one
        self.autosave.soon()
        self.restored.emit()

    def _scan(self) -> str | None:
        path = self.context.comparison.scan_path
        return None if path is None else str(path)

    def _view(self) -> dict[str, Any]:
        views = self.views
        view: dict[str, Any] = {"tab": self.tabs.panels[self.tabs.currentIndex()].key}
        view.update(of_session(self.session, self.scans))
        generator = self.session.generator
        labels = SavedLabels.of_all(self.relabelling, "" if generator is None else generator.hash)
        labels += self.edits.waiting
        if labels:
            view["labels"] = [one.to_plain() for one in labels]
        if views is not None and len(views.viewer.dims.point) == 3:
            view["point_mm"] = [float(value) for value in views.viewer.dims.point]
            view["convention"] = views.convention
        return view

    def _show_view(self, view: Any) -> None:
        """Restore view settings, ignoring invalid ones."""
        views = self.views
        if view.get("tab") in [panel.key for panel in self.tabs.panels]:
            self.tabs.bring(view["tab"])
        if views is None:
            return
        if view.get("convention") in ("radiological", "neurological"):
            views.set_convention(view["convention"])
        point = view.get("point_mm")
        numbers = isinstance(point, list) and all(isinstance(x, (int, float)) for x in point)
        if numbers and len(point) == len(views.viewer.dims.point) == 3:
            views.viewer.dims.point = tuple(point)

    def _fill(self) -> None:
        """Add sessions to the menu, which was just filled."""
        menu = self.menu
        menu.addSection("Session")
        menu.addAction("Open session…", self._ask_open)
        menu.addAction("Save session as…", self._ask_save)
        earlier = menu.addMenu("Earlier sessions")
        for kept in self.kept:
            earlier.addAction(summary(kept.state), partial(self.restore, kept))
        if not self.kept:
            earlier.addAction("No earlier sessions yet").setEnabled(False)

    def _ask_open(self) -> None:
        path = dialogs.open_file(self.context.dock, "Open a session", dialogs.SESSIONS)
        if path is not None:
            self.open(path)

    def _ask_save(self) -> None:
        path = dialogs.save_file(self.context.dock, "Save the session as", dialogs.SESSIONS)
        if path is not None:
            self.save_as(path)
