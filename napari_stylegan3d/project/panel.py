"""Project: find the model's brain that is most similar to a real scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import permutations, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from qtpy import QtWidgets
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtGui import QShowEvent

from napari_stylegan3d.core.panel import ExplorerPanel, bring_into_view, offer, why_not
from napari_stylegan3d.core.scans import SAMPLES, sample_path, scan_in
from napari_stylegan3d.core.worker import JobStatus
from napari_stylegan3d.project.overlay import OverlayBox
from napari_stylegan3d.project.regions import PaintBox
from napari_stylegan3d.project.result import ResultBox
from napari_stylegan3d.widgets import controls, dialogs
from napari_stylegan3d.widgets.controls import Chooser, Fold, single_shot
from napari_stylegan3d.widgets.elided import ElidedLabel
from napari_stylegan3d.widgets.forms import Form
from stylegan3d.base import doubts_in, duration, facts_in, in_words
from stylegan3d.projection.settings import PHASES, TITLES, Choices
from stylegan3d.scans.headers import orientation_doubts
from stylegan3d.scans.pose import MOST_DEG, MOST_MM, NO_POSE, Pose
from stylegan3d.session.case import Case, Choice
from stylegan3d.storage.about import NOT_ACQUIRED, ORIGIN_NAMES
from stylegan3d.storage.places import site_names

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from stylegan3d.model.generator import Generator
    from stylegan3d.scans import AlignedScan, PreparationStep, Scan

NO_SCAN = "Drop a T1-weighted scan here, or"
NOT_OPEN = "Its scan is not open in this session: open it to compare."


class ScanBox(QtWidgets.QWidget):
    """The open scan, buttons to open another, and questions about it."""

    #: Choice
    openRequested = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._choice: Choice | None = None
        self.drop = controls.named(QtWidgets.QFrame(), "project.drop")
        self.drop.setProperty("role", "drop")
        self.name = ElidedLabel("No scan yet", "project.name", "figure")
        self.details = controls.hint(NO_SCAN, "project.details")
        self.open = controls.push_button("project.open")
        self.sample = controls.push_button("project.sample")
        self.chooser = Chooser()
        self.arriving = controls.hint(name="project.arriving", role="caution")
        self.arriving.hide()
        self.doubts = controls.hint(name="project.doubts", role="caution")
        self.orientation = controls.combo("project.orientation")
        self._lay_out()
        self._connect()
        self._show_doubts(None)

    def _lay_out(self) -> None:
        controls.stack(
            self.name,
            self.details,
            self.arriving,
            self.chooser,
            self.doubts,
            self.orientation,
            controls.row(self.open, self.sample, stretch=0),
            on=self.drop,
            margins=(12, 12, 12, 12),
        )
        controls.stack(self.drop, on=self, spacing=-1)

    def _connect(self) -> None:
        dialogs.DropOn(self.drop, scan_in, self._request)
        dialogs.offer_scans(self.open, "Open a T1-weighted scan", self._request)
        menu = QtWidgets.QMenu(self)
        for key, text in SAMPLES.items():
            menu.addAction(text, lambda k=key: self._request(sample_path(k)))
        self.sample.setMenu(menu)
        self.chooser.chosen.connect(self.openRequested)
        self.orientation.activated.connect(self._answer)

    def show_case(self, case: Case | None) -> None:
        """Show the name of the case and notes from reading its scan."""
        self._choice = None if case is None else case.choice
        name = "No scan yet" if case is None else case.name
        if case is not None and case.origin != "acquired":
            name = f"{ORIGIN_NAMES[case.origin]} {name}"
        self.name.setText(name)
        self.details.setText("\n".join(notes_of(case)))
        self.name.setToolTip("" if case is None or case.path is None else str(case.path))
        self._show_doubts(case)

    def show_arriving(self, cases: Sequence[Case]) -> None:
        """Show the scan that is being read last, beside the open one."""
        names = [case.name for case in cases if not case.problem]
        if names:
            self.chooser.hide()
        controls.show_text(self.arriving, f"Reading {names[-1]}…" if names else "")

    def _show_doubts(self, case: Case | None) -> None:
        doubts = doubts_of(case)
        self.doubts.setText("\n".join(doubts))
        chosen = None if case is None or case.choice is None else case.choice.orientation
        controls.fill(self.orientation, answers_of(case), chosen)
        self.doubts.setVisible(bool(doubts))
        self.orientation.setVisible(self.orientation.count() > 0)

    def _answer(self) -> None:
        if self._choice is not None and self.orientation.currentData() != self._choice.orientation:
            self.openRequested.emit(self._choice.oriented(self.orientation.currentData()))

    def _request(self, path: Path) -> None:
        self.openRequested.emit(Choice(Path(path)))


def notes_of(case: Case | None) -> list[str]:
    """What was read of a scan."""
    if case is None:
        return [NO_SCAN]
    if case.scan is None:
        return [NOT_OPEN if case.choice is None or case.problem else "Reading…"]
    return facts_in(case.scan.notes)


def doubts_of(case: Case | None) -> list[str]:
    """What is in doubt about a scan, and the answer to an open left and right."""
    orientation = None if case is None or case.choice is None else case.choice.orientation
    chosen = [
        text for text, answer in answers_of(case) if answer is not None and answer == orientation
    ]
    words = [f"The header leaves left and right ambiguous. You chose: {text}." for text in chosen]
    return [*words, *(doubt.sentence for doubt in case.scan.doubts)] if case and case.scan else []


def answers_of(case: Case | None) -> list[tuple[str, str | None]]:
    """Possible answers to the doubts: text, and `orientation` of `read_scan`."""
    doubts = [] if case is None or case.scan is None else orientation_doubts(case.scan.geometry)
    if not doubts:
        return []
    assumed = str(doubts[0].figures["assumed"])
    if assumed == "sform":
        return [("Use the sform", None), ("Use the qform", "qform")]
    every = sorted(
        "".join(code) for axes in permutations(("RL", "AP", "SI")) for code in product(*axes)
    )
    others = [(f"Axes {code}", code) for code in every if code != assumed]
    others.sort(key=lambda answer: answer[1] != "RAS")
    return [(f"Unknown: assume {assumed}", None), *others]


NOTHING = ("None", "")
OTHERS = (("blur, 3 mm", "blur:3mm"), ("another contrast", "contrast"))
#: Least thickness of thick slices in mm, and as a multiple of the in-plane voxel size.
THICK_MM, THICK_RATIO = 3.0, 2.0
DIRECTIONS = {"R": "sagittal", "A": "coronal", "S": "axial"}


def losses(scan: Scan | None) -> list[tuple[str, str]]:
    """Text and operator (see `operators.parse`); those detected in the scan come second."""
    slices = [] if scan is None else thick_slices(scan)
    return [NOTHING, *slices, *OTHERS]


def thick_slices(scan: Scan) -> list[tuple[str, str]]:
    """Entry of `losses` for a scan with thick slices; empty for others."""
    sizes = scan.space.voxel_size
    axis = max(range(3), key=lambda k: sizes[k])
    within = max(size for k, size in enumerate(sizes) if k != axis)
    thick = round(sizes[axis], 2)  # headers store sizes as float32
    if thick < THICK_MM or thick < round(THICK_RATIO * within, 2):
        return []
    direction = {"L": "R", "P": "A", "I": "S"}.get(code := scan.space.axcodes[axis], code)
    words = f"{DIRECTIONS[direction]} slices, {thick:g} mm thick"
    return [(words, f"thick:{thick:g}mm:{direction}")]


NO_NOISE = "Not available: this model has no noise to invert."


class SearchBox(QtWidgets.QWidget):
    """Four combo boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.form = Form(Choices, "project.", only=("budget", "space"))
        self.budget: QtWidgets.QComboBox = self.form.native("budget")
        self.space: QtWidgets.QComboBox = self.form.native("space")
        self.loss = controls.combo("project.loss", entries=losses(None))
        self.site = controls.combo("project.site")
        self._boxes = self.space, self.budget, self.loss, self.site
        column = controls.stack(on=self, spacing=-1)
        rows = self.form.layout()
        controls.add_row(rows, "Scan degradation", self.loss)
        controls.add_row(rows, "Site", self.site)
        column.addLayout(rows)
        self.show_sites()

    @property
    def wishes(self) -> tuple[Literal["w", "w+", "w+noise"], str, str, str]:
        """Space, budget, degradation and site, as in `ProjectionRequest`."""
        space, budget, loss, site = (box.currentData() for box in self._boxes)
        return space, budget, loss, site

    def show_wishes(self, wishes: Sequence[object]) -> None:
        """Choose again what a session was saved with, as far as it is offered."""
        for box, wish in zip(self._boxes, wishes, strict=False):
            if box is not self.loss and box.findData(wish) >= 0:  # that one is the patient's
                controls.show_value(box, wish)

    def show_sites(self) -> None:
        """Offer the calibrated sites there are now."""
        sites = [("Not calibrated", ""), *((name, name) for name in site_names())]
        controls.fill(self.site, sites, self.site.currentData())

    def showEvent(self, event: QShowEvent) -> None:
        """Sites may have been calibrated meanwhile."""
        super().showEvent(event)
        self.show_sites()

    def show_model(self, generator: Generator) -> None:
        """Enable the options a model supports."""
        no_noise = why_not(generator, "noise_maps")
        if not no_noise and not (generator.has_layer_noise or generator.has_own_noise):
            no_noise = NO_NOISE
        offer(self.space, "w+noise", no_noise, "w+")
        offer(self.space, "w", why_not(generator, "layers"), "w+")
        offer(self.budget, "thorough", why_not(generator, "tuning"), "standard")

    def show_estimates(self, seconds: Mapping[str, float]) -> None:
        """Show the estimated time of each budget, if known."""
        for index, (key, text) in enumerate(TITLES.items()):
            known = f", ~{duration(seconds[key])}" if key in seconds else ""
            self.budget.setItemText(index, text + known)


#: Kind of movement, and the tooltips of its three numbers.
SHIFTS = ("right", "anteriorly", "superiorly")
TURNS = ("pitch: nose up", "roll: head towards its right shoulder", "yaw: nose towards its left")
#: Short column headings.
COLUMNS = (("right", "anterior", "superior"), ("pitch", "roll", "yaw"))
STEP_NAMES = {
    "brain": "Extraction",
    "bias": "Bias field",
    "pose": "Pose",
    "grid": "Resampling",
    "nudge": "Align manually",
    "cache": "Cache",
}
#: Limits of a manual alignment from the start.
FARTHEST_MM, FARTHEST_DEG = 150.0, 180.0
BY_HAND = (
    "Move and rotate the scan to match the outline, then press Refine alignment. Project "
    "uses the current pose."
)
REFUSED = "Refused: {problem}\nIf it is a T1-weighted brain scan, align it manually."
HOW = {"cached": "from the cache"}


class PoseBox(QtWidgets.QWidget):
    """Aligns on demand, shows the quality, and moves the scan by millimetres and degrees."""

    #: Pose
    poseChanged = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.align = controls.push_button("project.align")
        self.by_hand = controls.push_button("project.by_hand")
        self.fit = controls.push_button("project.fit")
        tip = "Correlation of the aligned scan with the model's mean brain, and what it means."
        self.quality = controls.hint("", "project.quality", tip, "")
        self.steps = controls.hint(
            "", "project.steps", "Preparation steps of the scan, with their duration."
        )
        self.shifts = [
            self._spin(f"project.shift.{axis}", f"Move the scan {where}, in mm.", "", MOST_MM)
            for axis, where in enumerate(SHIFTS)
        ]
        self.turns = [
            self._spin(
                f"project.turn.{axis}", f"Rotate the scan ({where}), in degrees.", "°", MOST_DEG
            )
            for axis, where in enumerate(TURNS)
        ]
        self.outline = controls.check("project.outline", on=True)
        self.reset = controls.tool_button(
            "project.pose_reset", controls.RESET_GLYPH, "Return to the automatic alignment."
        )
        #: The user's poses that are not applied yet.
        self._asked: list[Pose] = []
        self.hand = QtWidgets.QWidget()
        self._lay_out()
        self.reset.clicked.connect(self._reset)
        for spin in (*self.shifts, *self.turns):
            spin.valueChanged.connect(self._on_changed)
        self.show_aligned(None)

    @staticmethod
    def _spin(name: str, tip: str, unit: str, most: float) -> QtWidgets.QDoubleSpinBox:
        spin = controls.number(name, tip, (-most, most), unit, decimals=1)
        # The three share the row; their size hint has room for numbers that never occur.
        spin.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Fixed)
        return spin

    def _lay_out(self) -> None:
        grid = controls.grid(across=6, down=3, wide=(1, 2, 3))
        for row, (text, spins) in enumerate((("Move, mm", self.shifts), ("Rotate", self.turns))):
            grid.addWidget(QtWidgets.QLabel(text), 2 * row + 1, 0)
            for column, (spin, word) in enumerate(zip(spins, COLUMNS[row], strict=True), 1):
                grid.addWidget(controls.hint(word), 2 * row, column)
                grid.addWidget(spin, 2 * row + 1, column)
        controls.stack(
            grid, controls.row(self.fit, self.reset, stretch=0), self.outline, on=self.hand
        )
        self.record = Fold(
            "Preparation", "project.steps_fold", "What was done to the scan, step by step."
        )
        self.record.column.addWidget(self.steps)
        buttons = controls.row(self.align, self.by_hand, stretch=0)
        controls.stack(buttons, self.quality, self.hand, self.record, on=self, spacing=7)

    @property
    def pose(self) -> Pose:
        """The user's adjustment of the alignment."""
        x, y, z = (spin.value() for spin in self.shifts)
        a, b, c = (spin.value() for spin in self.turns)
        return Pose((x, y, z), (a, b, c))

    def set_pose(self, pose: Pose) -> None:
        """Show a pose without emitting signals."""
        self._asked.clear()
        for spin, value in zip(
            (*self.shifts, *self.turns), (*pose.shift_mm, *pose.turn_deg), strict=True
        ):
            controls.show_value(spin, value)
        self.reset.setEnabled(pose != NO_POSE)

    def show_aligned(
        self, aligned: AlignedScan | None, pose: Pose = NO_POSE, problem: str = ""
    ) -> None:
        """Show the quality of the alignment; None if not aligned yet, or refused."""
        if aligned is None:
            self.quality.setText(problem)
            self.steps.clear()
        else:
            words = aligned.quality_in_words
            self._let_far(aligned.by_hand)
            correlation = f"correlation {aligned.quality:.2f}"
            text = f"{words[:1].upper()}{words[1:]} ({correlation})"
            self.quality.setText(f"{text}\n{BY_HAND}" if aligned.by_hand else text)
            done = [note for step in aligned.record for note in step.notes]
            further = (in_words(note) for note in aligned.steps if note not in done)
            self.steps.setText("\n".join([*further, *map(step_in_words, aligned.record)]))
            self.record.unfold(bool(doubts_in(aligned.steps)))
        if pose in self._asked:  # the numbers may have changed since
            del self._asked[: self._asked.index(pose) + 1]
        else:
            self.set_pose(pose)
        controls.set_role(self.quality, "caution" if aligned is None and problem else "")
        self.quality.setVisible(bool(self.quality.text()))
        controls.reveal(aligned is not None, self.record, self.hand)
        controls.reveal(aligned is None, self.align, self.by_hand)

    def _let_far(self, far: bool) -> None:
        """Allow large rotations if there is no automatic alignment."""
        shift, turn = (FARTHEST_MM, FARTHEST_DEG) if far else (MOST_MM, MOST_DEG)
        for spins, most in ((self.shifts, shift), (self.turns, turn)):
            for spin in spins:
                with QSignalBlocker(spin):
                    spin.setRange(-most, most)

    def _on_changed(self) -> None:
        self.reset.setEnabled(self.pose != NO_POSE)
        self._asked.append(self.pose)
        self.poseChanged.emit(self.pose)

    def _reset(self) -> None:
        self.set_pose(NO_POSE)
        self.poseChanged.emit(NO_POSE)


def step_in_words(step: PreparationStep) -> str:
    """Such as 'Extraction: Brain extracted with deepbet. (8.2 s)'."""
    took = f"{step.seconds:.1f} s" if step.how == "done" else HOW.get(step.how, step.how)
    name, notes = STEP_NAMES.get(step.name, step.name), " ".join(map(in_words, step.notes))
    at_once = step.how == "kept" or (step.how == "done" and step.seconds < 0.05)
    return (f"{name}: {notes}" if notes else name) + ("" if at_once else f" ({took})")


STARTS = "Find the synthetic brain most similar to this scan."


class ProjectPanel(ExplorerPanel):
    """Opens a scan, runs the projection with progress and cancel, and compares.

    The work is requested by signals; see `ProjectController`.
    """

    title = "Project"

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        #: Whether a projection or alignment of the case runs, or waits for that of another.
        self._running = self._waiting = False
        #: The scan whose degradations are offered.
        self._offered: object = None
        #: Whether there is a result the user has not seen yet.
        self._has_news = False
        self._news = single_shot(self, self._scroll_to_result)
        self.scan = ScanBox()
        self.second = OverlayBox()
        self.pose = PoseBox()
        self.paint = PaintBox()
        self.search = SearchBox()
        self.start = controls.push_button("project.start", "Project", STARTS, role="primary")
        self.cancel = controls.push_button("project.cancel")
        self.pause = controls.push_button("project.pause", checkable=True)
        self.bar = controls.named(QtWidgets.QProgressBar(), "project.progress")
        self.estimate = controls.hint(name="project.estimate")
        self.waits = controls.hint(name="project.waits", role="caution")
        self.result = ResultBox()
        self.result_line, self.result_title = controls.line(), controls.heading("Result")
        self._lay_out()
        self._connect()
        self.show_case()

    def _lay_out(self) -> None:
        section = partial(controls.section, self.column)
        section("Scan", self.scan)
        section("Overlay", self.second)
        section("Alignment", self.pose, self.paint)
        section("Projection", self.search, self.result_line, self.result_title, self.result)
        self.column.addStretch(1)

    def footer(self) -> QtWidgets.QWidget:
        """The button that starts, and the progress: visible wherever the panel is scrolled to."""
        buttons = controls.row(self.start, self.pause, self.cancel, stretch=0)
        return controls.footer(buttons, self.waits, self.bar, self.estimate)

    def _connect(self) -> None:
        self.pause.toggled.connect(self._on_pause)
        self.search.loss.currentIndexChanged.connect(self._keep_loss)
        self.session.caseChanged.connect(self.show_case)
        self.session.projectedChanged.connect(self.show_case)

    def show_model(self, generator: Generator) -> None:
        """Enable the options a model supports."""
        self.search.show_model(generator)
        self._refresh()

    def show_case(self) -> None:
        """Show the session's case: name, alignment, verdict."""
        case = self.session.case
        self.scan.show_case(case)
        self.scan.show_arriving(self.session.arriving)
        placed = self.session.placed
        if case is None:
            self.pose.show_aligned(None)
        else:
            problem = case.problem
            if problem and case.scan is not None:  # one that is not there cannot be aligned
                problem = REFUSED.format(problem=problem)
            self.pose.show_aligned(placed, case.pose if placed else NO_POSE, problem)
        self.paint.setVisible(placed is not None)
        scan = None if case is None else case.scan
        # Not the scan: its voxels may be moved to disk.
        offered = None if case is None else (case.key, case.choice, scan is None)
        if offered != self._offered:
            self._offered = offered
            controls.fill(self.search.loss, losses(scan), self.session.annotations.loss)
        self._show_result()
        self._refresh()

    def _keep_loss(self) -> None:
        self.session.annotate(self.session.key, loss=self.search.loss.currentData())

    def _show_result(self) -> None:
        result = self.session.result
        self.result.show_result(result)
        controls.reveal(result is not None, self.result_line, self.result_title)

    def show_task(self, running: bool, waits_for: str = "", paused: bool = False) -> None:
        """Whether a projection or alignment of the case runs, or waits for that of another."""
        if running != self._running:
            self.bar.setValue(0)
            self.estimate.setText("Paused" if paused else "Starting…" if running else "")
            controls.show_value(self.pause, paused)
            self.pause.setText("Continue" if paused else "Pause")
            self.pause.setEnabled(False)
        self._running, self._waiting = running, bool(waits_for)
        state = "is paused; continue or cancel it" if paused else "is being worked on"
        self.waits.setText(f"Waiting: {waits_for} {state} first." if waits_for else "")
        self._refresh()

    def show_progress(self, progress: JobStatus) -> None:
        """Update the progress bar and the remaining time."""
        self.bar.setRange(0, 1000)
        self.bar.setValue(round(1000 * progress.fraction))
        text = progress.in_words
        self.pause.setEnabled(progress.text in PHASES.values())
        if not self.pause.isChecked():
            self.estimate.setText(text)

    def _on_pause(self, paused: bool) -> None:
        self.pause.setText("Continue" if paused else "Pause")
        self.estimate.setText("Paused" if paused else "Continuing…")

    def show_cancelling(self) -> None:
        """Cancel was pressed, which keeps the focus; the job stops at its next step."""
        self.pause.setEnabled(False)
        self.estimate.setText("Stopping…")

    def bring_result(self) -> None:
        """Scroll to the verdict, once the panel is visible."""
        self._news.start(0)

    def showEvent(self, event: QShowEvent) -> None:
        """Scroll to a new result."""
        super().showEvent(event)
        if self._has_news:
            self.bring_result()

    def _scroll_to_result(self) -> None:
        self._has_news = not self.isVisible()
        if self._has_news:
            return
        bring_into_view(self, self.result, self.result_title)
        first = self.result.lights.findings[0]
        if self.window().focusWidget() is self.start and first.isVisible():
            first.setFocus()

    def _refresh(self) -> None:
        session, case = self.session, self.session.case
        ready = case is not None and case.scan is not None and session.generator is not None
        busy = self._running or self._waiting
        buttons = self.start, self.pause, self.cancel
        at_work = self.window().focusWidget() in buttons
        no_scan = case is not None and case.origin == "difference"
        reason = f"This is {NOT_ACQUIRED['difference']}." if no_scan else ""
        controls.allow(reason, self.start, self.pose.align, self.pose.by_hand)
        controls.enable(ready and not busy and not no_scan, self.start, self.pose, self.paint)
        self.waits.setVisible(self._waiting)
        controls.reveal(self._running, self.pause, self.bar)
        self.cancel.setVisible(busy)
        self.cancel.setEnabled(busy)
        self.estimate.setVisible(self._running)
        if at_work and self.window().focusWidget() not in buttons:
            (self.cancel if busy else self.start).setFocus()

    def show_recipe(self, _recipe: Any) -> None:
        """Enable the comparison if the recipe starts from the case's projection."""
        self._show_result()
        self._refresh()
