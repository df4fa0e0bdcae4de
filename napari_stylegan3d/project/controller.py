"""Opening a scan and projecting it: the work behind the Project tab."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from qtpy.QtCore import QObject, Qt, Signal

from napari_stylegan3d.core.jobs import Loaded
from napari_stylegan3d.core.panel import Context
from napari_stylegan3d.core.scans import STEPS_FOLDER, Several, read_choice, scan_layer
from napari_stylegan3d.core.session import report_done, sentence
from napari_stylegan3d.core.worker import JobStatus, LatestWins, LongJob
from napari_stylegan3d.project.looks import LookBar, LookController
from napari_stylegan3d.project.overlay import LabelMap, LabelMaps, OverlayManager
from napari_stylegan3d.project.regions import LayerChoice, LayerRegions, RegionPainter, mask_of
from napari_stylegan3d.project.result import FillController, fill
from napari_stylegan3d.views.display import enlarge
from napari_stylegan3d.widgets.controls import show_value
from stylegan3d.base import Progress, ScanError, StyleGAN3DError
from stylegan3d.projection.settings import BUDGETS, Choices
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.session.annotations import Filled, Region
from stylegan3d.session.case import Case, Choice
from stylegan3d.storage.formats import scan_stem

if TYPE_CHECKING:
    from napari_stylegan3d.project.panel import ProjectPanel
    from stylegan3d.projection.search import ProjectionState
    from stylegan3d.recipe.model import Noise
    from stylegan3d.scans import AlignedScan, Scan
    from stylegan3d.scans.pose import Pose
    from stylegan3d.session.provenance import Kind
    from stylegan3d.session.state import State


TURNED = "Measurements from before the sides were swapped are hidden: swap back to see them."
REPAINT = "The region was painted before the sides were swapped, and was discarded: paint it again."
#: Interval between intermediate pictures of a projection.
SHOW_EVERY_S = 1.5


def open_scan(report: Progress, choice: Choice) -> Case | Several | LabelMap:
    """Read and check a scan; it may turn out to be several scans or a label map."""
    from stylegan3d.scans import looks_like_labels

    report(0, 1, "Reading the scan")
    scan = read_choice(choice)
    if isinstance(scan, Several):
        return scan
    if looks_like_labels(scan.data):
        return LabelMap.of(scan)
    name = scan_stem(scan.path)
    if choice.volume is not None:
        name = f"{name} (volume {choice.volume})"
    return Case(name, choice, scan, scan_layer(scan))


def align_scan(
    report: Progress, loaded: Loaded, scan: Scan, folder: Path, pose: str = "auto"
) -> AlignedScan:
    """Align a scan to the model's grid; `folder` is the session's, for the cache."""
    from stylegan3d.projection.assessment import looked_over
    from stylegan3d.scans.extraction import deepbet

    cache = folder / STEPS_FOLDER
    found = scan.align(loaded.generator, pose=pose, cache=cache, progress=report)
    deepbet.cache_clear()  # the next scan may never come
    return looked_over(found, loaded.generator)


def fit_scan(report: Progress, loaded: Loaded, aligned: AlignedScan, pose: Pose) -> AlignedScan:
    """Refine the alignment from the user's pose."""
    from stylegan3d.projection.assessment import looked_over

    report(0, 1, "Aligning to the template")
    return looked_over(pose.of(aligned).refined(), loaded.generator)


@dataclass(frozen=True, eq=False)
class ProjectionRequest:
    """What to project, and how: space "w", "w+" or "w+noise", name of a budget.

    The scan of `case` is aligned first if necessary. `region`, if any, is masked; `loss` is any
    other degradation for `operators.parse`, or ""; `site` is the calibrated site, or "". The result
    has this noise and image channel; its latent is written to `folder`.
    """

    case: Case
    region: Region | None
    loss: str
    space: Literal["w", "w+", "w+noise"]
    budget: str
    noise: Noise
    channel: int
    folder: Path
    site: str = ""


def estimate(_report: Progress, loaded: Loaded) -> dict[str, float]:
    """Estimated seconds of a search by budget on this machine; runs a few steps."""
    from stylegan3d.projection import estimate_seconds

    return {budget: estimate_seconds(loaded.generator, budget) for budget in BUDGETS}


def project_scan(report: Progress, loaded: Loaded, request: ProjectionRequest) -> Case:
    """Align a scan if necessary, and project it.

    Intermediate pictures are handed over as (kind, volume): the aligned scan, then
    reconstructions, all (X, Y, Z) in [0, 1] on the generator's grid.
    """
    from stylegan3d.outputs.projections import output_names, projected_latent
    from stylegan3d.projection.projector import loss_of, place, search
    from stylegan3d.recipe.latents import save_latent

    generator = loaded.generator
    case = request.case
    assert case.scan is not None
    found = case.found or align_scan(report, loaded, case.scan, request.folder)
    mask = None if request.region is None else mask_of(request.region, generator.space)
    operator = loss_of(request.loss, mask)
    aligned = place(found, case.pose, operator)
    report.hand_over(("scan", aligned.volume))
    choices = Choices(
        space=request.space,
        budget=request.budget,
        channel=request.channel,
        site=request.site or None,
    )
    done = search(
        generator,
        found,
        aligned,
        choices,
        operator=operator,
        noise=request.noise,
        progress=report.part(0, 1, take=_Shown(report, loaded)),
    )
    result = done.result
    report(1, 1, "Saving the latent")
    latent = projected_latent(generator, result, aligned.describe())
    path = _unused(output_names(case.scan.path, request.folder)["latent"])
    sha256 = save_latent(path, latent, overwrite=True)
    source = Source("projected", path=str(path), sha256=sha256)
    filled = None
    if operator is not None and operator.linear:
        filled = Filled(request.region, request.loss, fill(aligned, operator, result.volume))
    return dataclasses.replace(
        case.lying(found, aligned, case.pose, generator.hash),
        source=source,
        doubts=tuple(done.doubts),
        assessment=result.assessment,
        filled=filled,
        residual_z=result.residual_z,
    )


#: The reconstruction in a BIDS name, and what follows it there.
_REC = (
    r"(?:_rec-([A-Za-z0-9]+))?"
    r"(_(?:dir|run|mod|echo|flip|inv|mt|part|proc|hemi|space|chunk|seg|res|den|label|desc)-)"
)


def _unused(path: Path) -> Path:
    """A free path: projections of the same scan, or of a file with the same name, are kept."""
    number, found, name = 1, path, path.name
    while found.exists():
        number += 1
        # Files saved from it are named after it; a run would be another acquisition.
        again = re.sub(_REC, rf"_rec-\g<1>{number}\g<2>", name, count=1)
        found = path.with_name(again)
    return found


class _Shown:
    """Hands over pictures of a projection at intervals."""

    def __init__(self, report: Progress, loaded: Loaded) -> None:
        self._report, self._loaded = report, loaded
        self._shown_at = 0.0

    def __call__(self, state: ProjectionState) -> None:
        if state.seconds - self._shown_at >= SHOW_EVERY_S:
            self._shown_at = state.seconds
            volume = enlarge(state.volume, self._loaded.generator.shape)
            self._report.hand_over(("reconstruction", volume))


@dataclass(frozen=True)
class Opening:
    """A scan to be read, and what was on the screen and made of it when it was asked for."""

    case: Case
    asked: State
    made: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class CaseTask:
    """Work for one case: the function for a `LongJob` and its arguments."""

    case: Case
    work: Callable[..., Any]
    args: tuple[Any, ...]


class ProjectController(QObject):
    """Runs both as long jobs and updates the panel and the comparison."""

    #: What runs or waits for a patient is another, or further.
    progressed = Signal()

    def __init__(self, context: Context, panel: ProjectPanel) -> None:
        super().__init__(context.dock)
        self.rendering, self.session = context.render, context.session
        self.panel, self.comparison = panel, context.comparison
        rendering, comparison = self.rendering, self.comparison
        slot = self.session.messages.slot
        self.opening = LongJob(self, self._on_opened, self._on_unread)
        self.job = LongJob(
            self,
            self._on_done,
            self._on_failed,
            cancelled=lambda: self._come_back(self._end_task()),
            progressed=self._on_progress,
            came=self._show_on_the_way,
        )
        self.estimating = LongJob(
            self, panel.search.show_estimates, slot("timing the search"), cancelled=self._estimate
        )
        self._estimated: Loaded | None = None
        #: What is to be read, the first of them now.
        self._to_open: list[Opening] = []
        #: What is to be done, the first of them now, for its own case whoever is on the screen.
        self._tasks: list[CaseTask] = []
        #: How far the first of them is, and whether it is paused.
        self._progress: JobStatus | None = None
        self._paused = False
        #: The key of the case whose region is painted.
        self._painted = ""
        self.moving = LatestWins(_move, self, self._on_moved, slot("moving the scan"))
        panel.scan.openRequested.connect(self.open)
        panel.start.clicked.connect(lambda: self.start(*panel.search.wishes))
        panel.pose.align.clicked.connect(lambda: self.align())
        panel.pose.by_hand.clicked.connect(lambda: self.align("centre"))
        panel.pose.fit.clicked.connect(self.fit)
        panel.pose.poseChanged.connect(self._move)
        panel.pose.outline.toggled.connect(comparison.set_outlined)
        self.painting = RegionPainter(comparison.stage.viewer, self)
        context.links.callback(self.painting.forget)
        panel.paint.fillChanged.connect(self._paint)
        panel.paint.brush.valueChanged.connect(self.painting.set_brush)
        panel.paint.erase.toggled.connect(self.painting.set_erasing)
        panel.paint.clear.clicked.connect(self.painting.clear)
        self.painting.changed.connect(self._on_painted)
        self.painting.brushChanged.connect(lambda mm: show_value(panel.paint.brush, mm))
        viewer = comparison.stage.viewer
        context.links.connect(viewer.layers.events.removed, self._on_removed)
        self.labels = LabelMaps(comparison, self, context.links)
        self.second = OverlayManager(comparison, self.labels, panel.second, self, context.links)
        self.second.maskRequested.connect(panel.paint.use)
        self.labels.added.connect(lambda *_: self.second.refresh())
        self.regions = LayerRegions(
            viewer, lambda: self.painting.layer, self.labels.is_of_case, self, context.links
        )
        self.regions.changed.connect(self._offer_regions)
        self._offer_regions()
        panel.paint.regionChanged.connect(self._on_region)
        panel.paint.source.currentIndexChanged.connect(self._keep_region)
        self.filling = FillController(rendering, comparison, panel.result, self)
        self.looks = LookBar(self.session)
        self.looking = LookController(context, self.looks)
        panel.result.findingPicked.connect(self.looking.go_to)
        comparison.viewChanged.connect(self._show_region)
        panel.pause.toggled.connect(self._pause)
        self.session.modelChanged.connect(lambda _: self._estimate())
        self.session.caseChanged.connect(self._on_case)
        self.session.caseChanged.connect(self._leave_closed)
        # After the picture of before has gone.
        rendering.failed.connect(self._on_no_picture, Qt.ConnectionType.QueuedConnection)
        panel.cancel.clicked.connect(self._cancel)
        self.opening.runningChanged.connect(self._read_next, Qt.ConnectionType.QueuedConnection)
        self.job.runningChanged.connect(self._begin_next, Qt.ConnectionType.QueuedConnection)

    def open(self, choice: Choice) -> None:
        """Read a scan, after any that are queued; it is shown unless something else was done."""
        choice = dataclasses.replace(choice, path=Path(os.path.abspath(choice.path)))
        case = Case(choice.path.name, choice)
        self._to_open.append(Opening(case, self.session.state, self._made))
        self.session.expect(case)
        self._read_next()

    def _read_next(self) -> None:
        if self._to_open and not self.opening.running:
            self.opening.start(open_scan, self._to_open[0].case.choice)

    def start(
        self, space: Literal["w", "w+", "w+noise"], budget: str, loss: str, site: str = ""
    ) -> None:
        """Project the case's scan, after what else waits; see `ProjectionRequest`."""
        case, recipe = self._ready, self.session.recipe or Recipe()
        if case is None:
            return
        lies = self.session.placed is not None
        # The latest pose set by the user, though it may not be drawn yet.
        posed = dataclasses.replace(case, pose=self.panel.pose.pose) if lies else case.as_read()
        request = ProjectionRequest(
            posed,
            self._region() if self.panel.paint.fill.isChecked() else None,
            loss,
            space,
            budget,
            recipe.noise,
            recipe.channel,
            self.session.folder,
            site,
        )
        self.painting.put_brush_down()
        self._queue(case, project_scan, self.rendering.loaded, request)

    def align(self, pose: str = "auto") -> None:
        """Align the case's scan to the model's grid; for `pose` see `Scan.align`."""
        if (case := self._ready) is not None:
            folder = self.session.folder
            self._queue(case, align_scan, self.rendering.loaded, case.scan, folder, pose)

    def fit(self) -> None:
        """Refine the alignment from the user's pose."""
        if (case := self._ready) is not None and self.session.placed is not None:
            self._queue(case, fit_scan, self.rendering.loaded, case.found, self.panel.pose.pose)

    @property
    def _ready(self) -> Case | None:
        """The case, if its scan is ready for a job."""
        case, loaded = self.session.case, self.rendering.loaded
        if case is None or case.scan is None or loaded is None:
            return None
        return case if self._turn_of(case.key) is None else None

    def _turn_of(self, key: str) -> int | None:
        """Which of the tasks is a patient's: 0 for the first, None if none is."""
        return next((k for k, task in enumerate(self._tasks) if task.case.key == key), None)

    def task_of(self, key: str) -> str:
        """What is being done for a patient, in words: such as "waiting", "projecting, 45 %"."""
        for place, opening in enumerate(self._to_open):
            if opening.case.key == key:
                return "waiting to be read" if place else "being read…"
        if self.second.reads_for(key):
            return "overlay being read…"
        at = self._turn_of(key)
        if at is None:
            return ""
        if at:
            return "waiting"
        done = 0.0 if self._progress is None else self._progress.fraction
        doing = "projecting" if self._tasks[0].work is project_scan else "aligning"
        return f"{doing}, {'paused at ' * self._paused}{round(100 * done)} %"

    def _queue(self, case: Case, work: Callable[..., Any], *args: Any) -> None:
        self._tasks.append(CaseTask(case, work, args))
        self.session.messages.cleared.emit()
        self._begin_next()
        self._show_task()

    def _begin_next(self, _running: bool = False) -> None:
        if self._tasks and not self.job.running:
            self.job.start(self._tasks[0].work, *self._tasks[0].args)

    def _show_task(self) -> None:
        """Show what runs or waits for the patient on the screen, and in the list."""
        at = self._turn_of(self.session.key)
        running = at == 0
        self.panel.show_task(running, self._tasks[0].case.name if at else "", self._paused)
        if running and self._progress is not None:
            self.panel.show_progress(self._progress)
        self.progressed.emit()

    def _on_progress(self, progress: JobStatus) -> None:
        self._progress = progress
        if self._at_work is not None and self._at_work.key == self.session.key:
            self.panel.show_progress(progress)
        self.progressed.emit()

    def _pause(self, paused: bool) -> None:
        self._paused = paused
        self.job.pause(paused)
        self.progressed.emit()

    @property
    def _at_work(self) -> Case | None:
        """The case of the running job; another one may be on the screen."""
        return self._tasks[0].case if self._tasks and self.job.running else None

    def _end_task(self) -> Case:
        case = self._tasks.pop(0).case
        self._progress, self._paused = None, False
        self._show_task()
        return case

    @property
    def at_work_for(self) -> str:
        """Names of the open patients for whom something runs or waits."""
        cases = (task.case for task in self._tasks)
        there = (case.name for case in cases if case.key in self.session.histories)
        return ", ".join(dict.fromkeys(there))

    def forget_model(self) -> None:
        """Stop running jobs after a change of model or affine."""
        if names := self.at_work_for:
            report_done(f"Stopped: the model changed: {names}. Start it again with this model.")
        self._tasks = self._tasks[: self.job.running]
        self.job.cancel()
        self._estimated = None
        self.estimating.cancel()
        self.panel.search.show_estimates({})

    def _on_case(self) -> None:
        """Switch to the painted region of another case."""
        self._show_task()
        key = self.session.key
        if key == self._painted and self.session.placed is not None:
            if self.painting.layer is None:
                self._bring_region()
            return
        self._painted = key
        self.painting.forget()
        self.panel.paint.show_fill(False)
        self._offer_regions()
        self._bring_region()

    def _leave_closed(self) -> None:
        """Stop work for patients that were closed, and forget what was painted on them."""
        there = self.session.histories
        if self._at_work is not None and self._at_work.key not in there:
            self.job.cancel()
        n = int(self.job.running)
        self._tasks[n:] = [task for task in self._tasks[n:] if task.case.key in there]
        n = int(self.opening.running)
        self._to_open = [*self._to_open[:n], *filter(self._is_awaited, self._to_open[n:])]

    def _is_awaited(self, opening: Opening) -> bool:
        """Whether nobody closed a scan before it was read."""
        return any(case.key == opening.case.key for case in self.session.arriving)

    def _offer_regions(self) -> None:
        """Offer the labels of the current patient as a region."""
        if self.session.key == self._painted:
            self.panel.paint.offer(self.regions.entries(), self.session.annotations.region)

    def _bring_region(self) -> None:
        """Show the region of the current case; a painted one if it is on the grid of its scan."""
        paint, over = self.panel.paint, self.session.annotations
        paint.show_fill(bool(over.region))
        if isinstance(paint.choice, LayerChoice):
            self._on_region()
        kept, placed = over.mask, self.session.placed
        if kept and placed and placed.space.same_as(kept.space):
            self.painting.restore(kept, placed.space)

    def _paint(self, on: bool) -> None:
        """Start or stop painting on the aligned scan."""
        self._keep_region()
        if on:
            self._on_region()
        else:
            self.painting.put_brush_down()

    def _keep_region(self) -> None:
        paint = self.panel.paint
        region = paint.source.currentText() if paint.fill.isChecked() else ""
        self.session.annotate(self.session.key, region=region)

    def _show_region(self, view: str) -> None:
        """The painted region belongs to the scan; no region covers the filled scan."""
        self.painting.set_visible(view == "scan")
        self.regions.show_for(view, self.panel.paint.choice)

    def _on_region(self) -> None:
        """Paint, or show the volume of the selected layer."""
        paint, placed = self.panel.paint, self.session.placed
        if not paint.fill.isChecked() or placed is None:
            return
        if isinstance(paint.choice, LayerChoice):
            self.painting.put_brush_down()
            self.painting.set_visible(False)
            region = paint.choice.region()
            paint.show_painted(region.millilitres if region else 0.0)
            return
        self.session.look("scan")
        self.painting.begin(placed.space)
        self.painting.emit_volume()

    def _on_painted(self, millilitres: float) -> None:
        if self.panel.paint.choice is None:
            self.panel.paint.show_painted(millilitres)
        painting = self.painting
        if painting.layer is not None and painting.space and self._painted == self.session.key:
            self.session.annotate(self._painted, mask=painting.region())

    def _on_removed(self, event: Any) -> None:
        """The user removed the painted region from napari's list."""
        if event.value is self.painting.layer:
            self.painting.forget()
            self.session.annotate(self._painted, mask=None)

    def _region(self) -> Region | None:
        choice = self.panel.paint.choice
        return choice.region() if isinstance(choice, LayerChoice) else self.painting.region()

    def _move(self, pose: Pose) -> None:
        case = self.session.case
        if case is not None and case.found is not None and self.session.placed is not None:
            self.moving.submit((case, pose))

    def _on_moved(self, request: tuple[Case, Pose], aligned: AlignedScan) -> None:
        case, now = request[0], self.session.case
        if now is None or now.found is not case.found or self._turn_of(case.key) is not None:
            return
        self.session.messages.cleared.emit()
        assert case.found is not None
        self.session.update_case(now.lying(case.found, aligned, request[1]))
        self.session.look("scan")

    def _cancel(self) -> None:
        """Cancel what runs, or no longer wait, for the patient on the screen."""
        key = self.session.key
        if self._at_work is not None and self._at_work.key == key:
            self.panel.show_cancelling()
            self.job.cancel()
            return
        self._tasks = [task for k, task in enumerate(self._tasks) if k == 0 or task.case.key != key]
        self._show_task()

    def _come_back(self, case: Case) -> None:
        """After a failed or cancelled job, restore the previous view unless it was changed."""
        if self.session.key == case.key and self.session.state.what == "search":
            self.session.look(self.session.history.current.state.what)

    def _on_opened(self, opened: Case | Several | LabelMap) -> None:
        request = self._to_open.pop(0)
        if self._is_awaited(request):
            self.session.expect_no_longer(request.case)
            self.take_opened(opened, request.asked, request.made)

    @property
    def _made(self) -> tuple[Any, ...]:
        """What was typed, painted and measured; another thing once it was changed."""
        over, views = self.session.annotations, self.second.views
        marks = () if views is None else tuple(views.marks.shown)
        return over.mask, over.labels, marks, dict(self.session.persons)

    def take_opened(
        self, opened: Case | Several | LabelMap, asked: State, made: tuple[Any, ...] | None = None
    ) -> None:
        """Handle a scan or label map that was read, or ask which scan to read.

        A scan is shown if nothing else was done since it was `asked` for; else it is in the list. A
        label map belongs to the patient that was on the screen then.
        """
        self.session.messages.cleared.emit()
        if isinstance(opened, Case):
            before = self.session.case
            choices = {case.key: case.choice for case in self.session.patients}
            show = _done_so_far(self.session.state) == _done_so_far(asked)
            mask, labels, *rest = self._made
            show &= made is None or (made[0] is mask and made[1] is labels and [*made[2:]] == rest)
            opened = self.session.open_case(opened, show=show)
            was, is_now = choices.get(opened.key), opened.choice
            again = bool(was and is_now and was.orientation != is_now.orientation)
            marks = None if self.second.views is None else self.second.views.marks
            if again and marks is not None and {*marks.of(opened.key)} - {*marks.shown}:
                report_done(TURNED)
            if again and self.session.annotations_of(opened.key).mask is not None:
                report_done(REPAINT)
            if again:
                self.session.annotate(opened.key, mask=None, labels=None)
            if self.session.key == opened.key:
                # What was asked for after this scan belongs to it, and follows it.
                now = self.session.state
                self._to_open = [Opening(o.case, now, self._made) for o in self._to_open]
                self.second.opened(before)
            else:
                report_done(f"{opened.name} is open: choose it in the list of patients to see it.")
            self._estimate()
        elif isinstance(opened, LabelMap):
            self.labels.add(opened, asked.key)
        else:
            self.panel.scan.chooser.ask(opened.question, opened.entries)

    def _on_unread(self, error: Exception) -> None:
        doing, request = "opening the scan", self._to_open.pop(0)
        if self._is_awaited(request):
            self.session.messages.fail(error, doing)
            self.session.expect_no_longer(request.case, sentence(error, doing))

    def _on_no_picture(self, _error: Exception) -> None:
        """Rendering failed, and no picture is left: of a patient the scan can be shown."""
        case = self.session.case
        if case is not None and case.layer is not None:
            self.session.look("scan")

    def _estimate(self) -> None:
        """Estimate the duration of a search, once per model, while idle."""
        loaded = self.rendering.loaded
        if loaded is None or loaded is self._estimated or self.session.case is None:
            return
        if self.job.running or self.estimating.running:
            return
        self._estimated = loaded
        self.estimating.start(estimate, loaded)

    def _on_done(self, result: AlignedScan | Case) -> None:
        task, loaded = self._tasks[0], self.rendering.loaded
        case = self._end_task()
        now = self.session.patient(case.key)
        if now is None:
            return  # its patient was closed
        if now.choice != case.choice:
            told = f"{case.name} was reloaded meanwhile, so the result was discarded: start again."
            self.session.messages.fail(ScanError(told), "projecting the scan")
            self._come_back(case)
            return
        if isinstance(result, Case):
            request: ProjectionRequest = task.args[1]
            wanted = Recipe(noise=request.noise, channel=request.channel)
            if self.session.add_projected(result, wanted):
                self.panel.bring_result()
            else:
                report_done(f"{result.name} is projected: choose it in the list of patients.")
        elif loaded is not None:
            self.session.update_case(case.lying(result, result, model=loaded.generator.hash))

    def _on_failed(self, error: Exception) -> None:
        doing, case = "projecting the scan", self._end_task()
        if isinstance(error, ScanError):
            now = self.session.patient(case.key)
            if case.aligned is None and now is not None and now.choice == case.choice:
                self.session.update_case(case.refused(sentence(error, doing)))
            error = ScanError(f"{case.name}: {sentence(error, doing)}")
        elif isinstance(error, StyleGAN3DError) and self.session.key != case.key:
            error = StyleGAN3DError(f"{case.name}: {sentence(error, doing)}")
        self.session.messages.fail(error, doing)
        self._come_back(case)

    def _show_on_the_way(self, picture: tuple[Kind, Any]) -> None:
        kind, volume = picture
        if self._at_work is not None:
            self.comparison.show_search(self._at_work, kind, volume)


def _done_so_far(state: State) -> tuple[Any, ...]:
    """What a person has done; that the voxels of a scan were moved to disk is nothing."""
    case, second = state.case, state.second
    done: tuple[Any, ...] = ()
    if case is not None:
        rigid = None if case.aligned is None else case.aligned.rigid.tobytes()
        done = (case.key, case.choice, case.problem, case.pose, case.source, rigid)
    compared = second.key if isinstance(second, Case) else second
    return state.recipe, state.what, state.comparison, compared, done


def _move(request: tuple[Case, Pose]) -> AlignedScan:
    """Resample a scan at the user's pose."""
    case, pose = request
    assert case.found is not None
    return pose.of(case.found)
