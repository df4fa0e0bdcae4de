"""Painting the tissues of the brain shown, and generating the brain for them in a thread."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_stylegan3d.core.change_maps import show_movement
from napari_stylegan3d.core.jobs import DerivedVolume, SharpenRequest, screen_dtype
from napari_stylegan3d.core.panel import Context
from napari_stylegan3d.core.session import Session, sentence
from napari_stylegan3d.core.tissues import COLORS, ROWS, index_of, make_layer, read_tissues, size_ml
from napari_stylegan3d.core.worker import LatestWins, LongJob, beside_the_window
from napari_stylegan3d.views.display import hear_strokes, upright
from napari_stylegan3d.views.layers import OwnLayer
from napari_stylegan3d.widgets import controls, dialogs
from napari_stylegan3d.widgets.controls import Fold
from napari_stylegan3d.widgets.forms import Form
from stylegan3d.base import Progress, StyleGAN3DError
from stylegan3d.session.annotations import EditedLabels
from stylegan3d.session.provenance import GENERATED, Provenance, provenance_of, titled
from stylegan3d.settings.option import LabelTools

if TYPE_CHECKING:
    from napari_stylegan3d.core.rendering import DisplayController
    from napari_stylegan3d.views.glass import Field
    from stylegan3d.geometry.space import Space
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.render.movement import Fading, Movement
    from stylegan3d.render.renderer import Rendered
    from stylegan3d.scans import AlignedScan
    from stylegan3d.session.workspace import StateChange

SHOWN = controls.texts("labels")
START = "Segment the current brain, edit the tissue labels, and generate a matching brain."


class LabelsBox(Fold):
    """A button to segment the brain, tools to edit the labels, and a choice of view."""

    #: Another tissue, or another brush.
    toolChanged = Signal()
    lookChanged = Signal(str)

    def __init__(self) -> None:
        tip = "Paint or resize tissues, and generate a matching brain."
        super().__init__("Labels", "labels.fold", tip, guide="labels")
        outer = self.layout()
        outer.setContentsMargins(14, 6, 14, 6)
        outer.insertWidget(0, controls.line())
        self.take = controls.push_button("labels.take")
        self.note = controls.hint(START, "labels.note")
        self.tools = QWidget()
        inside = controls.stack(on=self.tools)
        self._make_brush(inside)
        self._make_views(inside)
        self._make_ends(inside)
        self.back = controls.push_button("labels.back")
        self.back.hide()
        buttons = controls.row(self.take, self.back, self.close_labels, stretch=0)
        controls.section(self.column, "", buttons, self.tools, self.note)
        self.show_base(False)

    @property
    def tissue(self) -> int:
        """The label of the one that is painted and resized."""
        return index_of(str(self.which.currentData()))

    def show_base(self, taken: bool) -> None:
        """Offer the tools once there are labels; none of them is at work then."""
        controls.reveal(taken, self.tools, self.close_labels)
        self.paint.setChecked(False)
        self.resize_row.set_value(0.0)
        self.show_look("after")
        if not taken:
            self.note.setText(START)

    @property
    def look(self) -> str:
        """What is shown: a key of `SHOWN`."""
        return next((key for key, button in self.looks.items() if button.isChecked()), "after")

    def show_look(self, key: str) -> None:
        """Mark which of the brains is shown, without emitting signals."""
        self.looks[key].setChecked(True)

    def say_size(self, title: str, before: float, now: float) -> None:
        """How large the chosen tissue was and is in the labels, in ml."""
        of = f"{self.which.currentText()} of {title}"
        words = f"{of}: {before:.1f} ml before, {now:.1f} ml now, in the labels."
        self.note.setText(words if now == before else f"{words} {READ_ANEW}")

    def _make_brush(self, inside: QVBoxLayout) -> None:
        tissues = ((text, tissue) for tissue, text, _tip in ROWS if tissue in COLORS)
        self.which = controls.combo("labels.tissue", entries=tissues)
        self.which.setCurrentIndex(self.which.findData("ventricle"))
        self.paint = controls.push_button("labels.paint", checkable=True)
        self.form = Form(LabelTools, "labels.")
        self.brush, self.resize_row = self.form.native("brush"), self.form.native("resize")
        inside.addLayout(controls.row(self.which, self.paint, self.brush, stretch=0))
        inside.addWidget(self.resize_row)
        self.which.currentIndexChanged.connect(lambda _index: self.toolChanged.emit())
        self.brush.valueChanged.connect(lambda _value: self.toolChanged.emit())

    def _make_views(self, inside: QVBoxLayout) -> None:
        self.live = controls.check("labels.live", on=True)
        self.fit = controls.push_button("labels.fit", role="primary")
        self.looks = controls.segments("labels.show", SHOWN, self.lookChanged.emit, role="")
        self.outlines = controls.check("labels.visible", on=True)
        inside.addLayout(controls.row(self.fit, self.live, stretch=0))
        inside.addLayout(controls.row(*self.looks.values()))

    def _make_ends(self, inside: QVBoxLayout) -> None:
        self.undo = controls.push_button("labels.undo")
        self.save = controls.push_button("labels.save")
        self.close_labels = controls.push_button("labels.close")
        inside.addLayout(controls.row(self.outlines, self.undo, self.save, stretch=0))
        self.undo.setEnabled(False)


EDITED_LABELS = "edited labels"


@dataclass(frozen=True, eq=False)
class Base:
    """A brain whose labels are edited.

    Attributes
    ----------
    title : str
        Description.
    volume : ndarray, shape (X, Y, Z)
        Intensities; 1 is the 99.5th percentile.
    space : Space
        Its grid.
    provenance : Provenance
        The patient, and whether it was recorded, edited or generated.
    labels : ndarray, shape (X, Y, Z), uint8, or None
        Its tissues; None until they are segmented.
    origin : EditedLabels or None
        How it can be made again; None if it cannot.
    scan : SharpenRequest or None
        The scan that it shows, and what was done to that; None for a model's brain.
    """

    title: str
    volume: np.ndarray
    space: Space
    provenance: Provenance = GENERATED
    labels: np.ndarray | None = None
    origin: EditedLabels | None = None
    scan: SharpenRequest | None = None

    @property
    def edited(self) -> Provenance:
        """Provenance of the brain with edited labels."""
        told = self.provenance
        kind = "edited" if told.kind == "scan" else told.kind
        if told == GENERATED:
            return GENERATED
        what = told.what if told.what.endswith(EDITED_LABELS) else f"{told.what}, {EDITED_LABELS}"
        return Provenance(kind, told.name, what.removeprefix(", "))

    @cached_property
    def fading(self) -> Fading | None:
        """Puts movements on the scan that it shows; None for a model's brain."""
        from stylegan3d.render.movement import Fading

        return None if self.scan is None else Fading(self.scan.aligned.brain_mask, self.space)

    @cached_property
    def made(self) -> DerivedVolume:
        """The brain before its labels are edited, to be shown and measured."""
        recipe = None if self.origin is None else self.origin.recipe
        of = self.scan.aligned if recipe is None and self.scan is not None else recipe
        return DerivedVolume(self.title, self.provenance, self.volume, of, scan=self.scan)

    def with_labels(self, labels: np.ndarray) -> Base:
        """The same brain with its labels."""
        return dataclasses.replace(self, labels=labels)


@dataclass(frozen=True, eq=False)
class Wish:
    """A request: painted labels, and how far to move a tissue's border after that.

    Attributes
    ----------
    base : Base
        The brain before, with its labels.
    labels : ndarray, shape (X, Y, Z), uint8
    tissue : int
        Index of the tissue.
    mm : float
        How far its border moves outwards.
    """

    base: Base
    labels: np.ndarray
    tissue: int = 0
    mm: float = 0.0

    @property
    def resizes(self) -> bool:
        """Whether it is of the slider, which changes labels; also back at 0 mm."""
        return bool(self.mm or self.tissue)

    def resized_labels(self) -> np.ndarray:
        """The labels after the border has been moved, uint8 (X, Y, Z)."""
        from stylegan3d.translation.files import resized

        if not self.mm:
            return self.labels
        structure = self.labels == self.tissue
        return resized(self.labels, structure, self.mm, self.base.space.voxel_size)


@dataclass(frozen=True, eq=False)
class EditedBrain:
    """Edited labels, uint8 (X, Y, Z), and the brain generated from them, float32 (X, Y, Z).

    `movement` is what was done to the brain, or to the scan that it shows, from its first edit on;
    None for nothing.
    """

    labels: np.ndarray
    volume: np.ndarray
    movement: Movement | None = None

    def made(self, base: Base) -> DerivedVolume:
        """The brain with edited labels, to be shown and measured."""
        title, before = f"{base.title}, {EDITED_LABELS}", base.made
        scan = self.scan(base)
        return DerivedVolume(title, base.edited, self.volume, before.of, before, scan)

    def scan(self, base: Base) -> SharpenRequest | None:
        """The scan that it shows, and what was done to that; None for a model's brain."""
        if base.scan is None:
            return None
        return dataclasses.replace(
            base.scan, picture=self, movement=self.movement, volume=self.volume
        )


def read_labels(base: Base) -> Base:
    """The same brain with tissues from the tissue network; an error on other grids."""
    from stylegan3d.translation.painter import bundled_painter

    bundled_painter().check_grid(base.space)
    with beside_the_window():
        found = read_tissues(base.volume, base.space)
    return base.with_labels(found.labels)


def fit(wish: Wish) -> EditedBrain:
    """Move the border, and generate the brain for the new labels."""
    from stylegan3d.translation.painter import bundled_painter

    base = wish.base
    assert base.labels is not None
    with beside_the_window():
        labels = wish.resized_labels()
        made = bundled_painter().repaint(base.volume, base.labels, labels, dtype=screen_dtype())
        moved = made.movement
        if base.scan is not None and base.fading is not None:
            worn = base.provenance.kind == "worn"
            moved = made.on_scan(base.fading, base.scan.movement, worn=worn)
    return EditedBrain(labels, made.volume, moved)


def save_fitted(report: Progress, wish: Wish, path: Path) -> list[Path]:
    """Generate in full precision; write the brain and its labels, both with sidecars, or nothing.

    A scan is edited on its own grid; what changed and what moved are written beside it.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    from stylegan3d.translation.files import Relabelled, save_relabelled
    from stylegan3d.translation.painter import bundled_painter

    base = wish.base
    assert base.labels is not None
    report(0, 1, "Generating the brain")
    edit = Relabelled(base.title, base.volume, base.labels, wish.resized_labels())
    if base.scan is not None and base.edited.kind == "edited":
        known = base.scan
        edit = dataclasses.replace(
            edit, scan=known.aligned, movement=known.movement, strength=known.strength
        )
    # The dialog has already confirmed that an existing file may be replaced.
    return save_relabelled(path, bundled_painter(), edit)


READ_ANEW = "Measure reads the generated brain, which follows large edits only in part."
UNREADY = "Wait for the full volume, then segment it."
UNPLACED = "Align the scan first (Project): labels are edited on the model's grid."


def base_of(comparison: DisplayController, session: Session) -> tuple[Base | None, str]:
    """The brain or the aligned scan shown, or why its labels cannot be edited."""
    recipe, generator = comparison.recipe, session.generator
    if comparison.view == "scan":
        placed = comparison.placed
        if placed is None:
            return None, UNPLACED
        return of_scan(*placed), ""
    picture = comparison.picture
    if picture is None or recipe is None or generator is None or picture.quality != "full":
        return None, UNREADY
    base = of_recipe(recipe, picture.rendered, generator.hash, provenance_of(session, recipe))
    return dataclasses.replace(base, scan=comparison.of_picture), ""


def of_scan(name: str, aligned: AlignedScan) -> Base:
    """A scan on the model's grid."""
    provenance = Provenance("scan", name, origin=aligned.scan.origin)
    title = f"{provenance.scan_words} {name}"
    scan = SharpenRequest(aligned, aligned)
    origin = EditedLabels(None, scan=aligned.scan.sha256, rigid=aligned.rigid)
    return Base(title, aligned.volume, aligned.space, provenance, origin=origin, scan=scan)


def of_recipe(
    recipe: Recipe, rendered: Rendered, model: str, provenance: Provenance = GENERATED
) -> Base:
    """A brain of a model, which is identified by its sha256, or a scan edited with it."""
    title, origin = titled(provenance, recipe), EditedLabels(recipe, model)
    return Base(title, rendered.volume, rendered.space, provenance, origin=origin)


def relabelled(base: Base, fitted: EditedBrain) -> Base:
    """The generated brain as a base for further edits; its tissues have not been read yet."""
    origin = base.origin
    if origin is not None and base.labels is not None:
        edits = (*origin.edits, (base.labels, fitted.labels))
        origin = dataclasses.replace(origin, edits=edits)
    made = fitted.made(base)
    return Base(made.title, made.volume, base.space, made.provenance, origin=origin, scan=made.scan)


NAME = "Labels to edit"


class LabelDrawing(QObject, OwnLayer):
    """A labels layer with napari's tools; emits a signal when its labels change."""

    #: The user has painted, or undone a stroke.
    changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self._known: np.ndarray | None = None

    @property
    def labels(self) -> np.ndarray | None:
        """The labels shown, uint8 (X, Y, Z); None without a layer."""
        return np.asarray(self.layer.data, np.uint8).copy() if self.there else None

    def show(self, labels: np.ndarray, place: dict) -> None:
        """Replace the labels shown, (X, Y, Z), without emitting signals."""
        self._known = labels.copy()
        if not self.there:
            self._add(labels, place)
            return
        self.layer.data = labels.copy()
        self.layer.visible = True

    def take_brush(self, tissue: int, diameter_mm: float) -> None:
        """Paint a tissue with a ball."""
        if not self.there:
            return
        self.layer.visible = True
        self.viewer.layers.selection.active = self.layer
        self.layer.n_edit_dimensions = 3
        self.layer.selected_label = tissue
        self.layer.brush_size = max(1.0, diameter_mm / float(min(self.layer.scale)))
        self.layer.mode = "paint"

    def remove(self) -> None:
        """Remove the labels."""
        super().remove()
        self._known = None

    def _add(self, labels: np.ndarray, place: dict) -> None:
        layer = make_layer(labels.copy(), place)
        layer.name, layer.editable = NAME, True
        self.add(layer)
        hear_strokes(self.layer, self._on_event)

    def _on_event(self, _: object) -> None:
        QTimer.singleShot(0, self._look)  # napari emits it before it has drawn the stroke

    def _look(self) -> None:
        now = self.labels
        if now is not None and self._known is not None and not np.array_equal(now, self._known):
            self._known = now
            self.changed.emit()


VIEW = "painted"
UNMOVED = "No label has been edited yet: nothing moves."
#: Edits that can be undone.
MOST_STEPS = 30


@dataclass(eq=False)
class Editing:
    """Labels of one subject, the brain that fits them, and the edits that can be undone or redone.

    `asked` is the brain that is being generated, or was to be when another subject came; `due` is
    whether one came while another subject was shown.
    """

    base: Base
    fitted: EditedBrain
    steps: list[np.ndarray]
    undone: list[np.ndarray] = field(default_factory=list)
    asked: Wish | None = None
    due: bool = False


class LabelsController(QObject):
    """Owns the edited labels, the original labels, and the brain generated from the edited ones."""

    #: Labels were edited, read or closed.
    changed = Signal()
    #: Labels edited earlier are back, of the brain on the screen.
    resumed = Signal()

    def __init__(self, context: Context, box: LabelsBox) -> None:
        super().__init__(context.dock)
        self.session, self.comparison = context.session, context.comparison
        self.box = box
        self.drawing = LabelDrawing(self.comparison.stage.viewer, self)
        #: Of each subject, by key; the session keeps what they are made from.
        self._open: dict[str, Editing] = {}
        #: Edited labels that were closed or replaced, by subject; they can be restored.
        self._put_by: dict[str, Editing] = {}
        #: Edits that the session keeps because of them; any others wait there to be restored.
        self._told: dict[str, object] = {}
        #: Whose brain is being saved.
        self._saving = ""
        slot = self._slot
        self._reading = LatestWins(
            lambda asked: read_labels(asked[1]),
            self,
            self._on_read,
            self._on_unread,
            key=lambda asked: asked[0],
        )
        self._work = LatestWins(
            fit, self, self._on_fitted, self._on_unfitted, key=lambda wish: id(wish.base)
        )
        self.busyChanged = self._reading.busyChanged
        self._job = LongJob(self, self.session.messages.saved, slot("saving the generated brain"))
        #: The movement that is mapped over the brain.
        self._mapped: Movement | None = None
        self._field: Field | None = None
        context.links.callback(self.drawing.remove)
        self._connect()

    def _connect(self) -> None:
        box = self.box
        box.take.clicked.connect(self._take)
        box.paint.toggled.connect(self._tool)
        box.toolChanged.connect(self._on_tool)
        box.outlines.toggled.connect(self._on_view)
        box.resize_row.valueChanged.connect(self._resize)
        box.fit.clicked.connect(self._generate)
        box.live.toggled.connect(lambda on: self._generate() if on else None)
        box.lookChanged.connect(self._look)
        box.undo.clicked.connect(self.undo)
        box.save.clicked.connect(self._save)
        box.close_labels.clicked.connect(self._close)
        box.back.clicked.connect(self._bring_back)
        box.header.toggled.connect(self._on_view)
        self.drawing.changed.connect(self._on_stroke)
        self.comparison.viewChanged.connect(self._on_view)
        self.session.changed.connect(self._on_change)
        self.session.modelChanged.connect(self._on_model)
        self._job.runningChanged.connect(lambda on: box.save.setEnabled(not on))
        self.session.closing.connect(lambda k: self._job.cancel() if k == self._saving else None)

    def task_of(self, key: str) -> str:
        """What is being done for a patient, in words."""
        return "segmenting…" if self._reading.request_of(key) else ""

    @property
    def _now(self) -> Editing | None:
        """Of the subject on the screen."""
        return self._open.get(self.session.key)

    @property
    def base(self) -> Base | None:
        """The brain on the screen whose labels are edited."""
        return None if self._now is None else self._now.base

    @property
    def fitted(self) -> EditedBrain | None:
        """The brain generated from its labels."""
        return None if self._now is None else self._now.fitted

    def has(self, key: str) -> bool:
        """Whether labels of a subject are open, or can be reopened."""
        return key in self._open or key in self._put_by

    def _take(self) -> None:
        """Segment the brain or scan shown."""
        base, why = self._shown()
        if base is None:
            self.box.note.setText(why)
            return
        self.box.take.setEnabled(False)
        self.box.note.setText("Segmenting…")
        self._reading.submit((self.session.key, base))

    def _offer(self) -> None:
        """Offer to segment the brain on the screen, unless that is being done."""
        self.box.take.setEnabled(self._reading.request_of(self.session.key) is None)

    def _on_unread(self, request: tuple[str, Base], error: Exception) -> None:
        self._offer()
        self._fail_of(request[0], error, "segmenting the brain")

    def _on_unfitted(self, wish: Wish, error: Exception) -> None:
        self._show_size()
        for key in [key for key, one in self._open.items() if one.base is wish.base]:
            self._fail_of(key, error, "generating from labels")

    def _fail_of(self, key: str, error: Exception, doing: str) -> None:
        """Say under the labels what failed; of another patient with their name, elsewhere."""
        if key == self.session.key:
            self._fail(error, doing)
        else:
            case = self.session.patient(key)
            name = "Another brain" if case is None else case.name
            error = StyleGAN3DError(f"{name}: {sentence(error, doing)}")
            self.session.messages.fail(error, doing)

    def _shown(self) -> tuple[Base | None, str]:
        """The brain or scan shown, or why its labels cannot be edited."""
        if self.comparison.view == VIEW and self.base is not None and self.fitted is not None:
            return relabelled(self.base, self.fitted), ""
        return base_of(self.comparison, self.session)

    def _on_read(self, request: tuple[str, Base], base: Base) -> None:
        key = request[0]
        self._offer()
        assert base.labels is not None
        fresh = Editing(base, EditedBrain(base.labels, base.volume), [base.labels])
        if not self._stands(key, fresh):
            return
        self._put_edited_by(key)
        if key == self.session.key:
            self._begin(fresh)
            self._show_size()
        elif key in self.session.histories:
            self._open[key] = fresh
            self._tell(key)

    def take_up(self, key: str, base: Base, fitted: EditedBrain) -> None:
        """Continue with labels edited earlier, of the subject with this key; do not show them."""
        assert base.labels is not None
        kept = Editing(base, fitted, [base.labels, fitted.labels])
        gone = key not in self.session.histories or not self._stands(key, kept)
        if gone or self._edited_of(key) is not None:
            return
        if key in self._open:  # read again meanwhile
            self._put_by[key] = kept
            self._show_back()
            return
        self._told[key] = self._kept(key)
        if key != self.session.key:
            self._open[key] = kept
            return
        self._begin(kept)
        self._wait()
        self.resumed.emit()

    def _begin(self, editing: Editing) -> None:
        self._open[self.session.key] = editing
        editing.asked = None
        self._show_editing()
        self._tell(self.session.key)

    def _show_editing(self) -> None:
        """Show the labels of the subject on the screen, or that there are none."""
        now = self._now
        self.box.show_base(now is not None)
        if now is not None:
            self.box.undo.setEnabled(len(now.steps) > 1)
            self._draw(now.steps[-1])
        self._show_back()

    def _tell(self, key: str) -> None:
        """The session keeps what the labels of a subject were edited to."""
        now, labels = self._open.get(key), None
        edited = self._edited_of(key)
        if now is not None and now.base.origin is not None and edited is not None:
            assert now.base.labels is not None
            origin = now.base.origin
            edits, affine = (*origin.edits, (now.base.labels, edited)), now.base.space.affine
            labels = dataclasses.replace(origin, edits=edits, affine=affine)
        if labels or self._kept(key) is self._told.get(key):
            self.session.annotate(key, labels=labels)
            self._told[key] = self._kept(key)
        self.changed.emit()

    def _kept(self, key: str) -> object:
        """The edits that the session keeps of a subject."""
        labels = self.session.annotations_of(key).labels
        return labels and labels.edits

    @property
    def edited(self) -> np.ndarray | None:
        """The current labels, uint8 (X, Y, Z); None if unchanged."""
        return self._edited_of(self.session.key)

    def _edited_of(self, key: str) -> np.ndarray | None:
        if (now := self._open.get(key)) is None:
            return None
        base, labels = now.base.labels, now.steps[-1]
        if key == self.session.key:
            if (drawn := self.drawing.labels) is not None:
                labels = drawn
            elif self.box.resize_row.value():  # the layer was removed from napari's list
                labels = now.fitted.labels
        return None if base is None or np.array_equal(labels, base) else labels

    def _put_edited_by(self, key: str) -> None:
        """Let edited labels of a subject be restored that are closed or replaced."""
        if (edited := self._edited_of(key)) is not None:
            if key == self.session.key:
                self.box.resize_row.set_value(0.0)
            self._remember(self._open[key], edited)
            self._put_by[key] = self._open[key]

    def _bring_back(self) -> None:
        if (kept := self._put_by.pop(self.session.key, None)) is not None:
            self._put_edited_by(self.session.key)
            self._begin(kept)
            self._fit()

    def _on_change(self, change: StateChange) -> None:
        """Labels belong to whose brain they are of: they leave the screen and return with it."""
        if not change.another_subject:
            self._leave_out()
            if self._now and change.before.recipe != change.now.recipe:
                self._now.asked = None  # the labels wait for theirs
                self._wait()
            return
        before, labels = self._open.get(change.before.key), self.drawing.labels
        if before is not None and labels is not None:
            self._remember(before, labels)
        there = self.session.histories
        self._open = {key: kept for key, kept in self._open.items() if key in there}
        self._put_by = {key: kept for key, kept in self._put_by.items() if key in there}
        self._leave_out()
        self._offer()
        self.box.resize_row.set_value(0.0)
        self.drawing.remove()
        self._show_editing()
        self.changed.emit()
        if (now := self._now) is None:
            return
        if now.due or change.now.what == VIEW:
            now.due = False
            self._show_fitted(now.base, now.fitted)
        elif not self._is_base():
            self._wait()
            return
        else:
            self.box.show_look("before")
        self._show_size()

    def _show_back(self) -> None:
        """Offer to restore closed labels, if they are on this grid."""
        key, kept = self.session.key, self._put_by.get(self.session.key)
        self.box.back.setVisible(kept is not None and self._stands(key, kept))

    def _stands(self, key: str, editing: Editing) -> bool:
        """Whether labels are on the model's grid, and of the scan as it is read now."""
        generator, now, then = self.session.generator, self.session.scan_of(key), editing.base.scan
        other = now and then and not np.array_equal(now.affine, then.aligned.scan.affine)
        fits = generator is not None and editing.base.space.same_as(generator.space)
        return fits and not other

    def _leave_out(self) -> None:
        """Put by the labels of all subjects that do not stand any more; the session keeps them."""
        for key in [key for key, kept in self._open.items() if not self._stands(key, kept)]:
            self._put_edited_by(key)
            self._drop(key)

    def _on_model(self, generator: Generator) -> None:
        """Labels of another model's brain stay valid on the same grid."""
        self._leave_out()
        if self._now is not None:
            self._now.asked = None
        self._show_back()
        self._wait()
        self._on_view()

    def _draw(self, labels: np.ndarray) -> None:
        assert self.base is not None
        self.drawing.show(labels, upright(labels, self.base.space.affine).layer_kwargs())
        self._on_view()

    def _on_stroke(self) -> None:
        """Labels were painted, by our brush or any of napari's tools."""
        labels = self.drawing.labels
        if labels is None:
            return
        self.box.resize_row.set_value(0.0)
        self._step(labels)
        self._show_size()
        if self.box.live.isChecked():
            self._fit()
        elif (now := self._now) and now.asked is not None and now.asked.resizes:
            now.asked = None

    @staticmethod
    def _remember(editing: Editing, labels: np.ndarray) -> None:
        """One more edit that can be undone, or back to the one that led to the same labels."""
        steps = editing.steps
        known = next((k for k, one in enumerate(steps, 1) if np.array_equal(labels, one)), 0)
        editing.steps = steps[:known] if known else [*steps, labels][-MOST_STEPS:]
        if not known:
            editing.undone.clear()

    def _step(self, labels: np.ndarray) -> None:
        if self._now is not None:
            self._remember(self._now, labels)
            self.box.undo.setEnabled(len(self._now.steps) > 1)
            self._tell(self.session.key)

    def _resize(self, mm: float, live: bool) -> None:
        """The slider starts from the labels of the last step; releasing it makes a new step."""
        if self._now is not None:
            self._ask(Wish(self._now.base, self._now.steps[-1], self.box.tissue, mm))
            self._show_size()

    def _settle(self) -> None:
        """Make the slider's change a step, and reset the slider to 0."""
        self.box.resize_row.set_value(0.0)
        if (labels := self.drawing.labels) is not None:
            self._step(labels)

    def _generate(self) -> None:
        """Generate the brain, unless the slider's, with its labels, is about to be there."""
        if self._resizing is None:
            self._fit()

    @property
    def _resizing(self) -> Wish | None:
        """The slider's request whose labels are not there yet, if any."""
        asked = None if self._now is None else self._now.asked
        return asked if asked is not None and asked.resizes and self._work.busy else None

    def _fit(self) -> None:
        labels = self.drawing.labels
        if self.base is not None and labels is not None:
            self._ask(Wish(self.base, labels))

    def _ask(self, wish: Wish) -> None:
        if self._now is not None:
            self._now.asked = wish
            self._work.submit(wish)

    def _on_fitted(self, wish: Wish, fitted: EditedBrain) -> None:
        key, now = next((one for one in self._open.items() if one[1].base is wish.base), ("", None))
        if now is None or now.asked is None:
            return
        asked, here = now.asked, key == self.session.key
        if wish.resizes and not (asked.resizes and asked.labels is wish.labels):
            return  # undone, or painted on, before it was there
        if wish.resizes or wish is asked:
            now.fitted, now.asked = fitted, None if wish is asked else asked
        if wish.mm and not (here and self.box.resize_row.value()):
            self._remember(now, fitted.labels)  # the slider was left before it was there
        if not here:
            now.due = True
            self._tell(key)
            return
        if wish.resizes:  # the labels have moved, too
            self._draw(fitted.labels)
            self.box.undo.setEnabled(True)
            self._tell(key)
        if self.box.look != "movement":
            self.box.show_look("after")
        self._show_fitted(wish.base, fitted)
        self._on_view()
        self._show_size()

    def _look(self, key: str) -> None:
        if self.base is None or self.fitted is None:
            return
        if key == "difference":
            told = dataclasses.replace(self.base.provenance, kind="difference")
            change = self.fitted.volume - self.base.volume
            self.comparison.show_painted(DerivedVolume(self.base.title, told, change))
        elif key == "before":
            self.comparison.show_painted(self.base.made)
        else:
            self._show_fitted(self.base, self.fitted)
        self._on_view()
        self._show_size()

    def _show_fitted(self, base: Base, fitted: EditedBrain) -> None:
        self.comparison.show_painted(fitted.made(base))

    @property
    def can_undo(self) -> bool:
        """Whether labels are edited at present, and there is an edit to undo."""
        return self._is_edited and self.box.undo.isEnabled()

    @property
    def can_redo(self) -> bool:
        """Whether labels are edited at present, and there is an edit to redo."""
        return self._is_edited and self._now is not None and bool(self._now.undone)

    @property
    def _is_edited(self) -> bool:
        """Whether a brush is in hand, or the brain that fits edited labels is shown."""
        return self.box.paint.isChecked() or self.comparison.view == VIEW

    def undo(self) -> None:
        """Back to the labels before the last edit."""
        if (now := self._now) is None:
            return
        if self.box.resize_row.value() == 0 and len(now.steps) > 1:
            now.undone.append(now.steps.pop())
        elif (labels := self.drawing.labels) is not None:
            now.undone[:] = [labels]
        self._return(now)

    def redo(self) -> None:
        """Forward to the labels that were undone last."""
        if (now := self._now) is not None and now.undone:
            now.steps.append(now.undone.pop())
            self._return(now)

    def _return(self, now: Editing) -> None:
        self.box.resize_row.set_value(0.0)
        self._draw(now.steps[-1])
        self.box.undo.setEnabled(len(now.steps) > 1)
        self._tell(self.session.key)
        self._show_size()
        self._fit()

    def _tool(self, on: bool) -> None:
        if on:
            self._settle()
            self._show_ours()
            self.box.outlines.setChecked(True)
            self.drawing.take_brush(self.box.tissue, self.box.brush.value())
        else:
            self.drawing.put_brush_down()

    def _on_tool(self) -> None:
        """Another tissue, or another brush."""
        self._settle()
        if self.box.paint.isChecked():
            self.drawing.take_brush(self.box.tissue, self.box.brush.value())
        self._show_size()

    def _wait(self) -> None:
        """Show whose labels these are."""
        if self.base is not None:
            self.box.note.setText(
                f"These labels belong to {self.base.title}: press Generate from labels to "
                "continue, or Segment to use the current brain."
            )

    def _on_view(self, _: Any = None) -> None:
        """The labels are drawn where they belong, and so is the map of movement."""
        self._map_movement()
        if self.base is None:
            if self.box.note.text() == UNREADY:
                self.box.note.setText(self._shown()[1])
            return
        ours = self.comparison.view == VIEW or self._is_base()
        ours &= self.box.look not in ("difference", "movement")  # whose colours would mix
        shown = ours and self.box.header.isChecked() and self.box.outlines.isChecked()
        if not shown:
            self.box.paint.setChecked(False)  # which puts the brush down
        self.drawing.set_visible(shown)

    def _map_movement(self) -> None:
        """Draw where tissue has moved over the generated brain, or take that away."""
        overlay, fitted = self.comparison.stage.overlay, self.fitted
        wanted = self.comparison.view == VIEW and self.box.look == "movement"
        moved = fitted.movement if wanted and fitted is not None else None
        if moved is self._mapped:
            return
        if moved is None and overlay.field is self._field:
            overlay.hide()
        elif moved is not None and fitted is not None:
            self.box.note.setText(show_movement(overlay, moved, fitted.volume) or UNMOVED)
        self._mapped, self._field = moved, None if moved is None else overlay.field

    def _show_ours(self) -> None:
        """Labels are painted on the brain that they are of."""
        compared = self.box.look in ("difference", "movement")
        if compared or (self.comparison.view != VIEW and not self._is_base()):
            self.box.show_look("after")
            self._look("after")

    def _is_base(self) -> bool:
        """Whether the brain shown is the one whose labels are edited."""
        base, _why = self._shown()
        return base is not None and self.base is not None and base.volume is self.base.volume

    def _show_size(self) -> None:
        """How large the chosen tissue is, and was; of the map of movement, how far it moved."""
        labels = self.drawing.labels
        if self._mapped is not None:
            return
        if self._resizing is not None:  # what is there is of another value
            self.box.note.setText("Resizing; the volume in ml follows.")
        elif self.base is not None and self.base.labels is not None and labels is not None:
            if why := self.session.withheld:
                self.box.note.setText(why)
                return
            tissue, space = self.box.tissue, self.base.space
            before, now = (size_ml(m, tissue, space) for m in (self.base.labels, labels))
            self.box.say_size(self.base.title, before, now)

    def _save(self) -> None:
        labels = self.drawing.labels
        if self.base is None or labels is None:
            return
        wish = self._resizing or Wish(self.base, labels)
        if path := dialogs.save_file(self.box, "Save the generated brain", dialogs.VOLUMES):
            self._saving = self.session.key
            self._job.start(save_fitted, wish, path)

    def _close(self) -> None:
        """Close the labels, and return to the previous view."""
        was, self.comparison.painted = self.base, None
        self.close_labels()
        if self.comparison.view == VIEW:
            scan = was is not None and was.provenance.kind == "scan"
            self.session.look("scan" if scan else "recipe")

    def close_labels(self) -> None:
        """Close the labels; edited ones can be restored."""
        self._put_edited_by(self.session.key)
        self._drop(self.session.key)
        self._tell(self.session.key)
        self._show_back()

    def close_all(self) -> None:
        """Close those of every subject: another session has its own."""
        self.close_labels()
        self._open.clear()
        self._put_by.clear()
        self._show_back()

    def _drop(self, key: str) -> None:
        self._open.pop(key, None)
        if key == self.session.key:
            self.drawing.remove()
            self.box.show_base(False)

    def _slot(self, doing: str) -> Callable[..., None]:
        """What a job calls with an error as the last argument."""
        return lambda *args: self._fail(args[-1], doing)

    def _fail(self, error: Exception, doing: str) -> None:
        self.box.note.setText(self.session.messages.said(error, doing))
