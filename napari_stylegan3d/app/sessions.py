"""Sessions: saved automatically, offered after a crash, opened from a menu."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QFrame, QLineEdit, QMenu

from napari_stylegan3d.core.jobs import LAYERS_KEPT, Loaded, SharpenRequest
from napari_stylegan3d.core.panel import Context, Tabs
from napari_stylegan3d.core.session import sentence
from napari_stylegan3d.core.worker import LatestWins, LongJob
from napari_stylegan3d.labels import controller
from napari_stylegan3d.project.controller import align_scan, open_scan
from napari_stylegan3d.project.result import operator_of
from napari_stylegan3d.widgets import controls, dialogs
from napari_stylegan3d.widgets.controls import single_shot
from stylegan3d.base import Progress, ScanError, SessionError, StyleGAN3DError, counted, duration
from stylegan3d.recipe.model import MadeWith
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.scans.pose import Pose
from stylegan3d.session.case import Alignment, Case, Reading
from stylegan3d.session.file import SUFFIX, SessionState, pack, unpack
from stylegan3d.session.provenance import GENERATED, Provenance, provenance_of
from stylegan3d.session.snapshot import DAMAGED, NOT_ALIGNED, entries_of, of_session, to_view
from stylegan3d.session.store import Kept, SessionFolder, kept_sessions, mark_closed, tidy
from stylegan3d.session.workspace import StateChange
from stylegan3d.storage.files import atomic_write_bytes, sweep, sweep_temporary, write_together

if TYPE_CHECKING:
    from napari_stylegan3d.project.controller import ProjectController
    from napari_stylegan3d.views.four import FourViews
    from stylegan3d.scans import AlignedScan
    from stylegan3d.session.annotations import EditedLabels


#: Tolerance for equal poses, in mm and rotation-matrix entries.
SAME_POSE = 1e-6


def have_again(
    report: Progress,
    loaded: Loaded,
    kept: EditedLabels,
    placed: tuple[str, AlignedScan] | None,
    provenance: Provenance,
    detailed: AlignedScan | None,
) -> tuple[controller.Base, controller.EditedBrain]:
    """The brain before and the one that fits; of a scan from `placed` (name, scan).

    A scan that lies elsewhere by now is taken as it lay.
    `provenance` is that of the recipe's brain, `detailed` the scan whose detail it shows.

    Raises
    ------
    StyleGAN3DError
        If the brain before cannot be had any more, or is on another grid.
    """
    from stylegan3d.render.recipes import render_recipe
    from stylegan3d.segmentation.classes import CLASSES

    report(0, 1, "Restoring edited labels")
    *edits, (labels, edited) = kept.edits
    if max(int(one.max()) for pair in kept.edits for one in pair) >= len(CLASSES):
        raise SessionError(DAMAGED)
    origin = dataclasses.replace(kept, edits=())
    if origin.recipe is not None:
        renderer = loaded.renderer.companion(LAYERS_KEPT)
        rendered = render_recipe(renderer, origin.recipe, "full", report)
        base = controller.of_recipe(origin.recipe, rendered, loaded.generator.hash, provenance)
        detail = origin.recipe.worn_detail
        if detail is not None and detailed is not None:
            volume, moved = rendered.volume, rendered.movement
            scan = SharpenRequest(rendered, detailed, moved, detail.strength, volume)
            base = dataclasses.replace(base, scan=scan)
    else:
        assert placed is not None
        name, aligned = placed
        if origin.rigid is not None and np.abs(aligned.rigid - origin.rigid).max() > SAME_POSE:
            aligned = aligned.posed(origin.rigid)
        base = controller.of_scan(name, aligned)
    if base.volume.shape != labels.shape:
        raise SessionError(
            "The edited labels of this session have a different grid and were not restored."
        )
    for before, after in edits:
        base = base.with_labels(before)
        base = controller.relabelled(base, controller.fit(controller.Wish(base, after)))
    base = base.with_labels(labels)
    return base, controller.fit(controller.Wish(base, edited))


class LabelsRestorer(QObject):
    """Restores a session's edited labels, without showing them.

    Those of a scan are put on that scan only, known by its sha256, once it is open and aligned.
    """

    def __init__(self, context: Context, relabelling: controller.LabelsController) -> None:
        super().__init__(context.dock)
        self.context, self.relabelling = context, relabelling
        self.job = LongJob(self, self._on_done, self._on_failed, cancelled=self.go_on)
        #: Whose labels are being restored.
        self._key = ""
        #: Labels that could not be restored; they stay in the session.
        self._failed: EditedLabels | None = None
        context.session.caseChanged.connect(self.go_on)
        context.session.recipeChanged.connect(lambda *_: self.go_on())

    def go_on(self, _key: str = "") -> None:
        """Restore the labels of the subject on the screen, if they wait for it and it is ready."""
        loaded, session = self.context.render.loaded, self.context.session
        kept, placed = session.annotations.labels, self.context.comparison.placed
        if kept is None or loaded is None or kept is self._failed or self.job.running:
            return
        # Labels that the user has opened meanwhile stay.
        if kept.model not in ("", loaded.generator.hash) or self.relabelling.has(session.key):
            return
        if not kept.lies_on(loaded.generator.space):
            return
        recipe = kept.recipe
        if recipe is None and (placed is None or kept.scan not in ("", placed[1].scan.sha256)):
            return
        if recipe is not None and session.awaited(recipe) is not None:
            return
        told = GENERATED if recipe is None else provenance_of(session, recipe)
        detail = None if recipe is None else recipe.worn_detail
        case = None if detail is None else session.find_projected(detail.source)
        detailed = None if case is None else case.aligned
        self._key = session.key
        self.job.start(have_again, loaded, kept, placed, told, detailed)

    def give_up(self, key: str) -> None:
        """A patient's scan could not be restored to its place."""
        labels = self.context.session.annotations_of(key).labels
        if labels is not None and labels.recipe is None:
            self.context.session.messages.fail(SessionError(NOT_ALIGNED), "restoring labels")

    def _on_done(self, result: tuple[controller.Base, controller.EditedBrain]) -> None:
        self.relabelling.take_up(self._key, *result)
        self.go_on()

    def _on_failed(self, error: Exception) -> None:
        self._failed = self.context.session.annotations_of(self._key).labels
        self.context.session.messages.fail(error, "restoring labels")


class ScanRestorer(QObject):
    """Reads and aligns the scans on the screen, A and columns too, if a session had them."""

    #: The scan of the case with this key could not be brought to where it lay.
    failed = Signal(str)

    def __init__(self, projecting: ProjectController, parent: QObject) -> None:
        super().__init__(parent)
        self.projecting, self.session = projecting, projecting.session
        self.job = LongJob(self, self._on_done, self._on_failed)
        #: Readings of scans that were read, or could not be.
        self._read: set[Reading] = set()
        self._reading: Reading = "", None
        self.job.runningChanged.connect(self._look, Qt.ConnectionType.QueuedConnection)
        self.session.changed.connect(self._look)

    def forget(self) -> None:
        """Forget all, before another session is restored."""
        self.job.cancel()
        self._read.clear()

    def _look(self, _: object = None) -> None:
        """Read the next scan that something on the screen is of, or has the detail of."""
        session, loaded = self.session, self.projecting.rendering.loaded
        if loaded is None or self.job.running:
            return
        shown = (session.state, *session.state.row)
        recipes = (session.state.second, *(state.recipe for state in shown))
        behind = (session.awaited(one) for one in recipes if isinstance(one, Recipe))
        cases = (*session.state.cases, *filter(None, behind))
        if (case := next(filter(self._waits, cases), None)) is None:
            return
        self._reading = case.reading
        mine = [one for one in session.cases if one.reading == case.reading and one.scan is None]
        self.job.start(_again, loaded, [case, *mine], session.folder)

    def _waits(self, case: Case) -> bool:
        """Whether a scan is still to be read."""
        known = case.scan is not None or case.problem or case.reading in self._read
        return not known and case.choice is not None

    def _on_failed(self, error: Exception) -> None:
        self._read.add(self._reading)
        problem = sentence(error, "opening the scan")
        with self.session.changing("patients"):
            for case in self.session.cases:
                if case.reading == self._reading:
                    self.session.swap(case, case.refused(problem))
        self.failed.emit(self._reading[0])

    def _on_done(self, result: ReloadedScan) -> None:
        # The result names its case: another patient's scan may be current by now.
        key = result.reading[0]
        self._read.add(result.reading)
        session, loaded = self.session, self.projecting.rendering.loaded
        if not isinstance(result.read, Case):  # the user must choose which scan
            self.projecting.take_opened(result.read, session.state)
            return
        spaces = [one.space for one in result.found.values()]
        there = loaded is not None and any(map(loaded.generator.space.same_as, spaces))
        with session.changing("projected", "patients"):
            for case in session.cases:
                if case.reading == result.reading and case.scan is None:
                    session.swap(case, _filled_in(case, result, there))
        if not there:
            self.failed.emit(key)


def _filled_in(case: Case, result: ReloadedScan, there: bool) -> Case:
    """A case completed with its scan and pose."""
    from stylegan3d.projection.projector import place

    assert isinstance(result.read, Case)
    case = dataclasses.replace(case, scan=result.read.scan, layer=result.read.layer)
    lies = case.stored_alignment
    found = None if lies is None else result.found.get(_place(lies))
    if lies is None or found is None or not there:
        return case
    aligned = result.aligned.get((_place(lies), case.pose), found)
    try:
        if case.filled is not None:
            aligned = place(aligned, operator=operator_of(case.filled, aligned.space))
    except StyleGAN3DError:  # a session's file can be edited
        case = dataclasses.replace(case, filled=None)
    return dataclasses.replace(case, found=found, aligned=aligned, model=result.model)


def _place(lies: Alignment) -> bytes:
    return lies.rigid.tobytes()


@dataclass(frozen=True, eq=False)
class ReloadedScan:
    """A scan that was read again.

    Attributes
    ----------
    reading : tuple
        `Case.reading`.
    read : object
        The scan as a case; otherwise the question of `open_scan`.
    found : mapping of bytes to AlignedScan
        As aligned automatically, by its stored pose; empty if not aligned.
    aligned : mapping of tuple of (bytes, Pose) to AlignedScan
        Moved by hand from there.
    model : str
        Hash of the model it is aligned to.
    """

    reading: Reading
    read: Any
    found: Mapping[bytes, AlignedScan] = field(default_factory=dict)
    aligned: Mapping[tuple[bytes, Pose], AlignedScan] = field(default_factory=dict)
    model: str = ""


def _again(report: Progress, loaded: Loaded, cases: Sequence[Case], folder: Path) -> ReloadedScan:
    """Runs in a thread; all `cases` are of one patient, the first is on the screen."""
    first = cases[0]
    assert first.choice is not None
    read = open_scan(report, first.choice)
    if isinstance(read, Case) and first.sha256 not in ("", read.sha256):
        raise ScanError(
            f"{first.path} is not the scan of {first.name} that this session was saved with: "
            "put that scan in its place, then open the session again."
        )
    plain = ReloadedScan(first.reading, read)
    model = loaded.generator.hash
    lie = [case for case in cases if case.stored_alignment and case.model in ("", model)]
    if not lie or not isinstance(read, Case):
        return plain
    assert read.scan is not None
    found: dict[bytes, AlignedScan] = {}
    aligned: dict[tuple[bytes, Pose], AlignedScan] = {}
    for case in lie:
        lies = case.stored_alignment
        assert lies is not None
        at = _place(lies)
        try:
            if at not in found:
                one = align_scan(report, loaded, read.scan, folder, lies.how)
                near = np.abs(one.rigid - lies.rigid).max() <= SAME_POSE
                found[at] = one if near else one.posed(lies.rigid)
        except StyleGAN3DError:
            return plain  # open but not aligned
        aligned[at, case.pose] = case.pose.of(found[at])
    return dataclasses.replace(plain, found=found, aligned=aligned, model=model)


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

    #: The exception, once until a save succeeds again.
    failed = Signal(object)

    def __init__(self, state: Callable[[], SessionState], parent: QObject) -> None:
        super().__init__(parent)
        self._state = state
        self.folder = SessionFolder(sessions_folder())
        self._lock, self._has_failed, self._over = threading.Lock(), False, False
        self._work = LatestWins(self._write, self, self._on_written, self._on_failed)
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
                self._on_failed(None, error)

    def _write(self, request: tuple[SessionFolder, SessionState]) -> None:
        """In the thread."""
        folder, state = request
        with self._lock:
            if folder is self.folder:
                folder.write(state)

    def _on_failed(self, _request: Any, error: Exception) -> None:
        if not self._has_failed:
            self._has_failed = True
            self.failed.emit(error)

    def _on_written(self, *_: Any) -> None:
        self._has_failed = False


DAY_S = 86_400.0


class RestoreBar(QFrame):
    """A sentence and two answers; hidden until there is something to offer."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("explorer.restore_bar")
        self.setProperty("role", "notice")
        self.text = controls.hint(name="explorer.restore_text", role="")
        self.restore = controls.push_button("explorer.restore", role="primary")
        self.anew = controls.push_button("explorer.start_anew")
        answers = controls.row(self.restore, self.anew, stretch=0)
        controls.stack(self.text, answers, on=self, margins=(14, 8, 14, 8))
        self.hide()

    def offer(self, state: SessionState) -> None:
        """Ask about a session."""
        self.text.setText(f"The last session ended unexpectedly, {summary(state)}.")
        self.show()


def summary(state: SessionState) -> str:
    """Age and content of a session: "3 min ago: 12 states, 2 favourites, Brain T1w"."""
    age = state.age_s
    day = state.saved[:10] or "some time ago"
    when = f"{duration(age)} ago" if age < DAY_S else day
    counts = [counted(len(state.states), "state")]
    favourites = sum(len(items) for items in state.favourites.values())
    if favourites:
        counts.append(counted(favourites, "favourite"))
    if state.model is not None and state.model.name:
        counts.append(state.model.name)
    return f"{when}: {', '.join(counts)}"


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

    #: (path, frame) of the model that a session was made with.
    modelWanted = Signal(object, object)
    #: File of the norms that a session compared with; empty for the bundled ones.
    normsWanted = Signal(str)

    def __init__(
        self,
        context: Context,
        tabs: Tabs,
        projecting: ProjectController,
        relabelling: controller.LabelsController,
        folder: QLineEdit,
        menu: QMenu,
    ) -> None:
        super().__init__(context.dock)
        self.context, self.session = context, context.session
        self.messages = context.session.messages
        self.tabs, self.projecting, self.relabelling = tabs, projecting, relabelling
        self.folder, self.menu = folder, menu
        #: While there are any.
        self.views: FourViews | None = None
        self.autosave = Autosave(self.state, self)
        self.session.make_folder = lambda: self.autosave.folder.make()
        self.looking = LongJob(self, self._on_kept)
        self.files = LongJob(self, self._on_file, self.messages.slot("reading the session"))
        self.scans = ScanRestorer(projecting, self)
        self.edits = LabelsRestorer(context, relabelling)
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

        session, generator, case = self.session, self.session.generator, self.session.case
        path = None if generator is None else generator.path
        snapshot = session.snapshot
        return SessionState(
            tuple(entry.recipe for entry in entries_of(snapshot)),
            None if generator is None else MadeWith.of(generator),
            None if path in (None, bundled_model_path()) else str(path),
            None if generator is None or generator.frame is None else str(generator.frame),
            session.favourites.by_model,
            None if case is None or case.path is None else str(case.path),
            {**to_view(snapshot), **self._view()},
            frames=session.frames,
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
        state = self.state().stamped(closed=True)
        self.files.start(write_session_file, path, state, self.autosave.folder.path)

    def start_anew(self) -> None:
        """Stop offering crashed sessions; they stay in the menu."""
        self.bar.hide()
        for kept in self.kept:
            if not kept.state.closed:
                with self.messages.during("starting a new session"):
                    mark_closed(kept)
        self._look()

    def _connect(self) -> None:
        session = self.session
        session.changed.connect(self._on_change)
        session.favourites.changed.connect(self.autosave.soon)
        session.framesChanged.connect(self.autosave.soon)
        session.normsChanged.connect(self.autosave.soon)
        session.modelChanged.connect(self._on_model)
        self.context.comparison.viewChanged.connect(lambda _: self.autosave.soon())
        self.context.comparison.placedChanged.connect(self.autosave.soon)
        self.scans.failed.connect(self.edits.give_up)
        self.autosave.failed.connect(self.messages.slot("saving the session"))
        self.bar.restore.clicked.connect(self._restore_last)
        self.bar.anew.clicked.connect(self.start_anew)
        self.menu.aboutToShow.connect(self._fill)

    def _on_change(self, change: StateChange) -> None:
        if change.parts - {"look", "recipe", "patients", "model"}:
            self.autosave.soon()

    def _on_model(self, generator: Any) -> None:
        if not (self.kept or self.looking.running):
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

    def give_up(self) -> None:
        """The model could not be opened: the session that waits for it is not restored later."""
        self._waiting = None

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
        return next((k for k in self.kept if not k.state.closed and k.state.worth_keeping), None)

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
        with self.messages.during("restoring the session"):
            state = folder.take(kept.folder)
            self.kept = [other for other in self.kept if other is not kept]
            self._go_on(state, folder)

    def _on_file(self, result: Any) -> None:
        if isinstance(result, Path):
            self.messages.saved([result])
            return
        state, files, folder = result
        self._with_model(state, partial(self._take_file, state, files, folder))

    def _take_file(
        self, state: SessionState, files: dict[Path, bytes], folder: SessionFolder
    ) -> None:
        with self.messages.during("opening the session"):
            folder.make()
            write_together(files)
            self._go_on(state, folder)

    def _go_on(self, state: SessionState, folder: SessionFolder) -> None:
        self.autosave.move_to(folder)
        self.bar.hide()
        session, generator = self.session, self.session.generator
        session.favourites.restore(state.favourites)
        self.scans.forget()
        self.projecting.labels.forget()
        self.edits.job.cancel()
        self.relabelling.close_all()
        if generator is not None:
            snapshot, problems = of_session(state, state.model or MadeWith.of(generator))
            session.restore(snapshot)
            for problem in problems:
                self.messages.fail(SessionError(problem), "restoring labels")
        session.keep_frames(state.frames)
        self._show_view(state.view)
        self.edits.go_on()
        self._look(offer=False)  # the previous session is now an earlier one
        self.autosave.soon()

    def _view(self) -> dict[str, Any]:
        views = self.views
        view: dict[str, Any] = {"tab": self.tabs.panels[self.tabs.currentIndex()].title}
        view["search"] = list(self.projecting.panel.search.wishes)
        view["norms"] = self.session.norms_file
        if views is not None and len(views.viewer.dims.point) == 3:
            view["point_mm"] = [float(value) for value in views.viewer.dims.point]
            view["convention"] = views.looks.look.convention
            view["marks"] = views.marks.kept
        return view

    def _show_view(self, view: Any) -> None:
        """Restore view settings, ignoring invalid ones."""
        views = self.views
        if view.get("tab") in [panel.title for panel in self.tabs.panels]:
            self.tabs.bring(view["tab"])
        if isinstance(view.get("search"), list):
            self.projecting.panel.search.show_wishes(view["search"])
        norms = str(view.get("norms") or "")
        self.session.keep_norms(norms, None)  # wanted even if it cannot be read now
        self.normsWanted.emit(norms)
        if views is None:
            return
        views.marks.restore(view.get("marks"))
        if view.get("convention") in ("radiological", "neurological"):
            views.looks.change(convention=view["convention"])
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
        if path := dialogs.open_file(self.context.dock, "Open a session", dialogs.SESSIONS):
            self.open(path)

    def _ask_save(self) -> None:
        if path := dialogs.save_file(self.context.dock, "Save the session as", dialogs.SESSIONS):
            self.save_as(path)
