"""Alignment of a scan to the model, and its manual correction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QDoubleSpinBox,
    QGridLayout,
    QLabel,
    QSizePolicy,
    QWidget,
)

from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import DecimalBox, Fold
from napari_stylegan3d.widgets.elided import WrappedLabel
from stylegan3d.scans.pose import MOST_DEG, MOST_MM, NO_POSE, Pose

if TYPE_CHECKING:
    from stylegan3d.scans import AlignedScan, Step

#: Kind of movement, and the tooltips of its three numbers.
SHIFTS = ("right", "anteriorly", "superiorly")
TURNS = (
    "pitch: nose up",
    "roll: head towards its right shoulder",
    "yaw: nose towards its left",
)
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


class PoseBox(QWidget):
    """Aligns on demand, shows the quality, and moves the scan by millimetres and degrees."""

    alignRequested = Signal(str)
    """How: "auto", or "centre" to leave the rest to a person."""
    fitRequested = Signal()
    poseChanged = Signal(object)
    """Pose"""
    outlineChanged = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.align = controls.push_button(
            "Align",
            "project.align",
            (
                "Align the scan to the model's grid, to check it before the search. "
                "Project does this automatically."
            ),
        )
        self.by_hand = controls.push_button(
            "Align manually",
            "project.by_hand",
            (
                "Centre the scan on the mean brain and align it manually: for scans whose\n"
                "automatic alignment fails."
            ),
        )
        self.fit = controls.push_button(
            "Refine alignment",
            "project.fit",
            "Refine the alignment from the current pose.",
        )
        self.quality = controls.named(
            WrappedLabel(),
            "project.quality",
            "Correlation of the aligned scan with the model's mean brain, and what it means.",
        )
        self.steps = controls.hint(name="project.steps")
        self.steps.setToolTip("Preparation steps of the scan, with their duration.")
        self.shifts = [
            self._spin(
                f"project.shift.{axis}",
                f"Move the scan {where}, in mm.",
                "",
                MOST_MM,
            )
            for axis, where in enumerate(SHIFTS)
        ]
        self.turns = [
            self._spin(
                f"project.turn.{axis}",
                f"Rotate the scan ({where}), in degrees.",
                "°",
                MOST_DEG,
            )
            for axis, where in enumerate(TURNS)
        ]
        self.outline = controls.check(
            "Outline of the mean brain",
            "project.outline",
            "Draw the outline of the model's mean brain on the aligned scan.",
            True,
        )
        self.reset = controls.tool_button(
            controls.RESET_GLYPH, "project.pose_reset", "Return to the automatic alignment."
        )
        #: The user's poses that are not applied yet.
        self._asked: list[Pose] = []
        self.hand = QWidget()
        self._lay_out()
        self.align.clicked.connect(lambda: self.alignRequested.emit("auto"))
        self.by_hand.clicked.connect(lambda: self.alignRequested.emit("centre"))
        self.fit.clicked.connect(self.fitRequested)
        self.outline.toggled.connect(self.outlineChanged)
        self.reset.clicked.connect(self._reset)
        for spin in (*self.shifts, *self.turns):
            spin.valueChanged.connect(self._on_changed)
        self.show_aligned(None)

    @staticmethod
    def _spin(name: str, tip: str, unit: str, most: float) -> QDoubleSpinBox:
        spin = controls.named(DecimalBox(), name, tip)
        spin.setRange(-most, most)
        spin.setDecimals(1)
        spin.setSuffix(unit)
        spin.setKeyboardTracking(False)
        # The three share the row; their size hint has room for numbers that never occur.
        spin.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        return spin

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.setHorizontalSpacing(6)
        grid.setVerticalSpacing(3)
        for row, (text, spins) in enumerate((("Move, mm", self.shifts), ("Rotate", self.turns))):
            grid.addWidget(QLabel(text), 2 * row + 1, 0)
            for column, (spin, word) in enumerate(zip(spins, COLUMNS[row], strict=True), 1):
                grid.addWidget(controls.hint(word), 2 * row, column)
                grid.addWidget(spin, 2 * row + 1, column)
                grid.setColumnStretch(column, 1)
        controls.stack(
            grid, controls.row(self.fit, self.reset, stretch=0), self.outline, on=self.hand
        )
        column = controls.stack(
            controls.row(self.align, self.by_hand, stretch=0), on=self, spacing=7
        )
        self.record = Fold(
            "Preparation", "project.steps_fold", "What was done to the scan, step by step."
        )
        self.record.column.addWidget(self.steps)
        for widget in (self.quality, self.hand, self.record):
            column.addWidget(widget)

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
            self.quality.setText(REFUSED.format(problem=problem) if problem else "")
            self.quality.setProperty("role", "caution" if problem else "")
            self.steps.clear()
        else:
            words = aligned.quality_in_words
            self._let_far(aligned.by_hand)
            correlation = f"correlation {aligned.quality:.2f}"
            text = f"{words[:1].upper()}{words[1:]} ({correlation})"
            self.quality.setText(f"{text}\n{BY_HAND}" if aligned.by_hand else text)
            self.steps.setText("\n".join(map(step_in_words, aligned.record)))
            warned = any(note.level == "check" for step in aligned.record for note in step.notes)
            self.record.unfold(warned)
        if pose in self._asked:  # the numbers may have changed since
            del self._asked[: self._asked.index(pose) + 1]
        else:
            self.set_pose(pose)
        if aligned is not None:
            self.quality.setProperty("role", "")
        self.quality.style().unpolish(self.quality)
        self.quality.style().polish(self.quality)
        self.quality.setVisible(bool(self.quality.text()))
        for widget in (self.record, self.hand):
            widget.setVisible(aligned is not None)
        for widget in (self.align, self.by_hand):
            widget.setVisible(aligned is None)

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


def step_in_words(step: Step) -> str:
    """Such as 'Extraction: Brain extracted with deepbet. (8.2 s)'."""
    took = f"{step.seconds:.1f} s" if step.how == "done" else HOW.get(step.how, step.how)
    name, notes = STEP_NAMES.get(step.name, step.name), " ".join(map(str, step.notes))
    at_once = step.how == "kept" or (step.how == "done" and step.seconds < 0.05)
    return (f"{name}: {notes}" if notes else name) + ("" if at_once else f" ({took})")
