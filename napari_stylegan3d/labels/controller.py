"""Editing the tissue labels of the brain shown, and generating the brain for them in a thread."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtCore import QObject, QTimer, Signal

from napari_stylegan3d.core.change_maps import show_movement
from napari_stylegan3d.core.context import Context, report_done, sentence
from napari_stylegan3d.core.jobs import DerivedVolume
from napari_stylegan3d.core.tissues import index_of, make_layer, size_ml
from napari_stylegan3d.core.worker import LatestWins, LongJob
from napari_stylegan3d.labels.jobs import (
    Base,
    EditedBrain,
    Wish,
    base_of,
    fit,
    read_labels,
    relabelled,
    save_fitted,
)
from napari_stylegan3d.views.display import upright
from napari_stylegan3d.views.layers import keeping_active
from napari_stylegan3d.widgets import dialogs
from stylegan3d.session.provenance import Provenance

if TYPE_CHECKING:
    from napari_stylegan3d.labels.panel import LabelsBox
    from napari_stylegan3d.views.glass import Field
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.render.movement import Movement
    from stylegan3d.session.workspace import StateChange

NAME = "Labels to edit"


class LabelDrawing(QObject):
    """A labels layer with napari's tools; emits a signal when its labels change."""

    changed = Signal()
    """The user has painted, or undone a stroke."""

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.layer: Labels | None = None
        self._known: np.ndarray | None = None

    @property
    def labels(self) -> np.ndarray | None:
        """The labels shown, uint8 (X, Y, Z); None without a layer."""
        if self.layer is None or self.layer not in self.viewer.layers:
            return None
        return np.asarray(self.layer.data, np.uint8).copy()

    def show(self, labels: np.ndarray, place: dict) -> None:
        """Replace the labels shown, (X, Y, Z), without emitting signals."""
        self._known = labels.copy()
        if self.layer is None or self.layer not in self.viewer.layers:
            self._add(labels, place)
            return
        self.layer.data = labels.copy()
        self.layer.visible = True

    def set_visible(self, visible: bool) -> None:
        """Whether they are drawn."""
        # napari puts the brush down even where nothing changes.
        if self.layer is not None and self.layer.visible != visible:
            self.layer.visible = visible

    def take_brush(self, tissue: int, diameter_mm: float) -> None:
        """Paint a tissue with a ball."""
        if self.layer is None or self.layer not in self.viewer.layers:
            return
        self.layer.visible = True
        self.viewer.layers.selection.active = self.layer
        self.layer.n_edit_dimensions = 3
        self.layer.selected_label = tissue
        self.layer.brush_size = max(1.0, diameter_mm / float(min(self.layer.scale)))
        self.layer.mode = "paint"

    def put_brush_down(self) -> None:
        """The mouse moves the crosshair again."""
        if self.layer is not None:
            self.layer.mode = "pan_zoom"

    def remove(self) -> None:
        """Remove the labels."""
        if self.layer is not None and self.layer in self.viewer.layers:
            self.viewer.layers.remove(self.layer)
        self.layer = self._known = None

    def _add(self, labels: np.ndarray, place: dict) -> None:
        self.layer = make_layer(labels.copy(), place)
        self.layer.name = NAME
        self.layer.editable = True
        with keeping_active(self.viewer):
            self.viewer.layers.append(self.layer)
        # napari emits the event before it has drawn the stroke.
        for event in (self.layer.events.paint, self.layer.events.labels_update):
            event.connect(lambda _: QTimer.singleShot(0, self._look))

    def _look(self) -> None:
        now = self.labels
        if now is not None and self._known is not None and not np.array_equal(now, self._known):
            self._known = now
            self.changed.emit()


VIEW = "painted"
UNMOVED = "No label was edited yet: nothing moves."
#: Edits that can be undone.
MOST_STEPS = 30


@dataclass(eq=False)
class Editing:
    """Labels of one subject, the brain that fits them, and the edits that can be undone."""

    base: Base
    fitted: EditedBrain
    steps: list[np.ndarray]


class LabelsController(QObject):
    """Owns the edited labels, the original labels, and the brain generated from the edited ones."""

    changed = Signal()
    """Labels were edited, read or closed."""

    def __init__(self, context: Context, box: LabelsBox) -> None:
        super().__init__(context.dock)
        self.session, self.comparison = context.session, context.comparison
        self.messages, self.box = context.messages, box
        self.drawing = LabelDrawing(self.comparison.stage.viewer, self)
        #: Of each subject, by key; the session keeps what they are made from.
        self._open: dict[str, Editing] = {}
        #: Whose brain is being segmented.
        self._reading_for = ""
        #: Edited labels that were closed or replaced, by subject; they can be restored.
        self._put_by: dict[str, Editing] = {}
        self._reading, self._work = LatestWins(read_labels, self), LatestWins(fit, self)
        self.busyChanged = self._reading.busyChanged
        self._job = LongJob(self)
        self._asked: Wish | None = None
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
        self.session.recipeChanged.connect(self._on_recipe)
        self.session.modelChanged.connect(self._on_model)
        self._reading.ready.connect(self._on_read)
        self._work.ready.connect(self._on_fitted)
        for work, doing in (
            (self._reading, "segmenting the brain"),
            (self._work, "generating from labels"),
        ):
            work.failed.connect(lambda _request, error, doing=doing: self._fail(error, doing))
        self._job.finished.connect(self._on_saved)
        self._job.failed.connect(lambda error: self._fail(error, "saving the generated brain"))
        self._job.runningChanged.connect(lambda on: box.save.setEnabled(not on))

    def task_of(self, key: str) -> str:
        """What is being done for a patient, in words."""
        return "segmenting…" if self._reading.busy and self._reading_for == key else ""

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

    def _take(self) -> None:
        """Segment the brain or scan shown."""
        base, why = self._shown()
        if base is None:
            self.box.note.setText(why)
            return
        self.box.take.setEnabled(False)
        self.box.note.setText("Segmenting…")
        self._reading_for = self.session.key
        self._reading.submit(base)

    def _shown(self) -> tuple[Base | None, str]:
        """The brain or scan shown, or why its labels cannot be edited."""
        if self.comparison.view == VIEW and self.base is not None and self.fitted is not None:
            return relabelled(self.base, self.fitted), ""
        return base_of(self.comparison, self.session)

    def _on_read(self, _request: Base, base: Base) -> None:
        self.box.take.setEnabled(True)
        key = self._reading_for
        assert base.labels is not None
        fresh = Editing(base, EditedBrain(base.labels, base.volume), [base.labels])
        if key != self.session.key:
            if key in self.session.histories:
                self._open[key] = fresh
            return
        self._put_edited_by()
        self._begin(fresh)
        self._show_size()

    def take_up(self, key: str, base: Base, fitted: EditedBrain) -> None:
        """Continue with labels edited earlier, of the subject with this key; do not show them."""
        assert base.labels is not None
        if key in self._open or key not in self.session.histories:
            return
        kept = Editing(base, fitted, [base.labels, fitted.labels])
        if key != self.session.key:
            self._open[key] = kept
            return
        self._begin(kept)
        self._wait()
        self.box.unfold()

    def _begin(self, editing: Editing) -> None:
        self._open[self.session.key] = editing
        self._show_editing()
        self._tell()

    def _show_editing(self) -> None:
        """Show the labels of the subject on the screen, or that there are none."""
        self._asked, now = None, self._now
        self.box.show_base(now is not None)
        if now is not None:
            self.box.show_undo(len(now.steps) > 1)
            self._draw(now.steps[-1])
        self._show_back()

    def _tell(self) -> None:
        """The session keeps what the labels of the subject on the screen were edited to."""
        now, labels, edited = self._now, None, self.edited
        if now is not None and now.base.origin is not None and edited is not None:
            assert now.base.labels is not None
            origin = now.base.origin
            edits = (*origin.edits, (now.base.labels, edited))
            labels = dataclasses.replace(origin, edits=edits)
        self.session.annotate(self.session.key, labels=labels)
        self.changed.emit()

    @property
    def edited(self) -> np.ndarray | None:
        """The current labels, uint8 (X, Y, Z); None if unchanged."""
        labels, base = self.drawing.labels, self.base
        if base is None or base.labels is None or labels is None:
            return None
        return None if np.array_equal(labels, base.labels) else labels

    def _put_edited_by(self) -> None:
        """Let edited labels be restored that are closed or replaced."""
        if self._now is not None and self.edited is not None:
            self._settle()
            self._put_by[self.session.key] = self._now

    def _bring_back(self) -> None:
        kept = self._put_by.pop(self.session.key, None)
        if kept is not None:
            self._put_edited_by()
            self._begin(kept)
            self._fit()

    def _on_change(self, change: StateChange) -> None:
        """Labels belong to whose brain they are of: they leave the screen and return with it."""
        if not change.another_subject:
            return
        before, labels = self._open.get(change.before.key), self.drawing.labels
        if before is not None and labels is not None:
            self._remember(before, labels)
        there = self.session.histories
        self._open = {key: kept for key, kept in self._open.items() if key in there}
        self.box.take.setEnabled(True)
        self.box.resize_row.set_value(0.0)
        self.drawing.remove()
        self._show_editing()
        self.changed.emit()

    def _show_back(self) -> None:
        """Offer to restore closed labels, if they are on this grid."""
        generator, kept = self.session.generator, self._put_by.get(self.session.key)
        fits = kept and generator and kept.base.space.same_as(generator.space)
        self.box.back.setVisible(bool(fits))

    def _on_model(self, generator: Generator) -> None:
        """Labels of another model's brain stay valid on the same grid."""
        if self.base is not None and not self.base.space.same_as(generator.space):
            self._put_edited_by()
            self._forget()
        self._asked = None
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
        elif self._asked is not None and self._asked.resizes:
            self._asked = None

    @staticmethod
    def _remember(editing: Editing, labels: np.ndarray) -> None:
        """One more edit that can be undone, if it is one."""
        if not np.array_equal(labels, editing.steps[-1]):
            editing.steps = [*editing.steps, labels][-MOST_STEPS:]

    def _step(self, labels: np.ndarray) -> None:
        if self._now is not None:
            self._remember(self._now, labels)
            self.box.show_undo(len(self._now.steps) > 1)
            self._tell()

    def _resize(self, mm: float, live: bool) -> None:
        """The slider starts from the labels of the last step; releasing it makes a new step."""
        if self._now is not None:
            self._ask(Wish(self._now.base, self._now.steps[-1], self._tissue, mm))

    def _settle(self) -> None:
        """Make the slider's change a step, and reset the slider to 0."""
        self.box.resize_row.set_value(0.0)
        labels = self.drawing.labels
        if labels is not None:
            self._step(labels)

    @property
    def _tissue(self) -> int:
        return index_of(self.box.tissue)

    def _generate(self) -> None:
        """Generate the brain, unless the slider's, with its labels, is about to be there."""
        if self._resizing is None:
            self._fit()

    @property
    def _resizing(self) -> Wish | None:
        """The slider's request whose labels are not there yet, if any."""
        asked = self._asked
        return asked if asked is not None and asked.resizes and self._work.busy else None

    def _fit(self) -> None:
        labels = self.drawing.labels
        if self.base is not None and labels is not None:
            self._ask(Wish(self.base, labels))

    def _ask(self, wish: Wish) -> None:
        self._asked = wish
        self._work.submit(wish)

    def _on_fitted(self, wish: Wish, fitted: EditedBrain) -> None:
        asked, now = self._asked, self._now
        if now is None or wish.base is not now.base or asked is None:
            return
        if wish.resizes:  # the labels have moved, too
            if not (asked.resizes and asked.labels is wish.labels):
                return  # undone, or painted on, before it was there
            now.fitted = fitted
            self._draw(fitted.labels)
            self.box.show_undo(True)
            self._tell()
        elif wish is asked:
            now.fitted = fitted
        if self.box.look != "movement":
            self.box.show_look("after")
        self._show_fitted(wish.base, fitted)
        self._on_view()
        self._show_size()

    def _look(self, key: str) -> None:
        if self.base is None or self.fitted is None:
            return
        if key == "difference":
            told = Provenance("difference", self.base.provenance.name)
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
        """Whether the brain that fits edited labels is shown, and there is an edit to undo."""
        return self.comparison.view == VIEW and self.box.undo.isEnabled()

    def undo(self) -> None:
        """Back to the labels before the last edit."""
        now = self._now
        if now is None:
            return
        if self.box.resize_row.value() == 0 and len(now.steps) > 1:
            now.steps.pop()
        self.box.resize_row.set_value(0.0)
        self._draw(now.steps[-1])
        self.box.show_undo(len(now.steps) > 1)
        self._tell()
        self._fit()

    def _tool(self, on: bool) -> None:
        if on:
            self._settle()
            self._show_ours()
            self.box.outlines.setChecked(True)
            self.drawing.take_brush(self._tissue, self.box.brush_mm)
        else:
            self.drawing.put_brush_down()

    def _on_tool(self) -> None:
        """Another tissue, or another brush."""
        self._settle()
        if self.box.paint.isChecked():
            self.drawing.take_brush(self._tissue, self.box.brush_mm)
        self._show_size()

    def _on_recipe(self, _recipe: Recipe, _live: bool) -> None:
        """Another brain is shown: the labels wait for theirs."""
        self._asked = None
        self._wait()

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
        if self.base is not None and self.base.labels is not None and labels is not None:
            tissue, space = self._tissue, self.base.space
            before, now = (size_ml(m, tissue, space) for m in (self.base.labels, labels))
            self.box.say_size(self.base.title, before, now)

    def _save(self) -> None:
        labels = self.drawing.labels
        if self.base is None or labels is None:
            return
        wish = self._resizing or Wish(self.base, labels)
        path = dialogs.save_file(self.box, "Save the generated brain", dialogs.VOLUMES)
        if path is not None:
            self._job.start(save_fitted, wish, path)

    def _on_saved(self, paths: list[Path]) -> None:
        report_done(f"Saved {paths[0].name} and {paths[1].name}.")

    def _close(self) -> None:
        """Close the labels, and return to the previous view."""
        was, self.comparison.painted = self.base, None
        self.close_labels()
        if self.comparison.view == VIEW:
            scan = was is not None and was.provenance.kind == "scan"
            self.session.look("scan" if scan else "recipe")

    def close_labels(self) -> None:
        """Close the labels; edited ones can be restored."""
        self._put_edited_by()
        self._forget()
        self._show_back()

    def close_all(self) -> None:
        """Close those of every subject: another session has its own."""
        self.close_labels()
        self._open.clear()

    def _forget(self) -> None:
        self._open.pop(self.session.key, None)
        self._asked = None
        self.drawing.remove()
        self.box.show_base(False)
        self._tell()

    def _fail(self, error: Exception, doing: str) -> None:
        from stylegan3d.base import StyleGAN3DError

        self.box.take.setEnabled(True)
        if isinstance(error, StyleGAN3DError):
            self.box.note.setText(sentence(error, doing))
        else:
            self.messages.fail(error, doing)
