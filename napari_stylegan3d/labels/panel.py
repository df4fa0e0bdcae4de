"""Labels: edit the tissues of the brain shown, and see the brain generated from them."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_stylegan3d.core.tissues import COLORS, ROWS
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import Fold
from napari_stylegan3d.widgets.forms import Form
from stylegan3d.settings.option import LabelTools

SHOWN = (
    ("before", "Before", "The brain before the edits."),
    ("after", "After", "The brain generated from the edited labels."),
    ("difference", "Difference", "After minus before."),
    (
        "movement",
        "Movement",
        (
            "Where the edits make tissue larger (orange) or smaller (blue), in %, and which way it "
            "moves."
        ),
    ),
)
START = "Segment the current brain, edit the tissue labels, and generate a matching brain."


class LabelsBox(Fold):
    """A button to segment the brain, tools to edit the labels, and a choice of view."""

    toolChanged = Signal()
    """Another tissue, or another brush."""
    lookChanged = Signal(str)

    def __init__(self) -> None:
        tip = "Paint or resize tissues, and generate a matching brain."
        super().__init__("Labels", "labels.fold", tip, guide="labels")
        outer = self.layout()
        outer.setContentsMargins(14, 6, 14, 6)
        outer.insertWidget(0, controls.line())
        self.take = controls.push_button(
            "Segment",
            "labels.take",
            "Segment the current brain or aligned scan, to edit its labels.",
        )
        self.note = controls.hint(START, "labels.note")
        self.tools = QWidget()
        inside = controls.stack(on=self.tools)
        self._make_brush(inside)
        self._make_views(inside)
        self._make_ends(inside)
        self.back = controls.push_button(
            "Reopen",
            "labels.back",
            "Reopen the labels that were edited last.",
        )
        self.back.hide()
        self.column.addLayout(controls.row(self.take, self.back, self.close_labels, stretch=0))
        for widget in (self.tools, self.note):
            self.column.addWidget(widget)
        self.show_base(False)

    @property
    def tissue(self) -> str:
        """Which one is painted and resized."""
        return str(self.which.currentData())

    @property
    def brush_mm(self) -> float:
        """Diameter of the brush."""
        return float(self.brush.value())

    def show_base(self, taken: bool) -> None:
        """Offer the tools once there are labels; none of them is at work then."""
        self.tools.setVisible(taken)
        self.close_labels.setVisible(taken)
        controls.show_value(self.paint, False)
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
        """How large the chosen tissue was and is, in ml."""
        text = "{tissue} of {title}: {before:.1f} ml before, {now:.1f} ml now."
        name = self.which.currentText()
        self.note.setText(text.format(tissue=name, title=title, before=before, now=now))

    def show_undo(self, possible: bool) -> None:
        """Whether there is an edit to undo."""
        self.undo.setEnabled(possible)

    def _make_brush(self, inside: QVBoxLayout) -> None:
        self.which = controls.combo("labels.tissue", "The tissue to paint and resize.")
        for tissue, text, _tip in ROWS:
            if tissue in COLORS:
                self.which.addItem(text, tissue)
        self.which.setCurrentIndex(self.which.findData("ventricle"))
        self.paint = controls.push_button(
            "Paint",
            "labels.paint",
            (
                "Paint the tissue with a spherical brush, in any plane. napari's own tools "
                "also work on\n"
                "the layer: fill, polygon, eraser."
            ),
            checkable=True,
        )
        self.form = Form(LabelTools, "labels.")
        self.brush, self.resize_row = self.form.native("brush"), self.form.native("resize")
        inside.addLayout(controls.row(self.which, self.paint, self.brush, stretch=0))
        inside.addWidget(self.resize_row)
        self.which.currentIndexChanged.connect(lambda _index: self.toolChanged.emit())
        self.brush.valueChanged.connect(lambda _value: self.toolChanged.emit())

    def _make_views(self, inside: QVBoxLayout) -> None:
        self.live = controls.check(
            "Auto-update",
            "labels.live",
            "Generate the brain again whenever the labels change.",
            True,
        )
        self.fit = controls.push_button(
            "Generate from labels",
            "labels.fit",
            "Generate a brain with these tissues. It is unchanged where no label changed.",
            role="primary",
        )
        self.looks = controls.segments("labels.show", SHOWN, self.lookChanged.emit, role="")
        self.outlines = controls.check(
            "Show the labels", "labels.visible", "Overlay the edited labels in colour.", True
        )
        inside.addLayout(controls.row(self.fit, self.live, stretch=0))
        inside.addLayout(controls.row(*self.looks.values()))

    def _make_ends(self, inside: QVBoxLayout) -> None:
        self.undo = controls.push_button("Undo", "labels.undo", "Undo the last edit of the labels.")
        self.save = controls.push_button(
            "Save…",
            "labels.save",
            (
                "Save the generated brain and its labels, each with a sidecar; a scan on its own "
                "grid, with\nwhat changed and what moved."
            ),
        )
        self.close_labels = controls.push_button(
            "Close", "labels.close", "Close the labels and show the brain before the edits."
        )
        inside.addLayout(controls.row(self.outlines, self.undo, self.save, stretch=0))
        self.show_undo(False)
