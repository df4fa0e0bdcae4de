"""Project: find the brain of the model that is most like a real scan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QMimeData, Qt, Signal
from qtpy.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
)

from napari_stylegan3d import controls, dialogs
from napari_stylegan3d.jobs import BUDGETS, OpenedScan
from napari_stylegan3d.panels.panel import Panel
from napari_stylegan3d.samples import SAMPLES, sample_path
from napari_stylegan3d.worker import Progress, duration_in_words

if TYPE_CHECKING:
    from napari_stylegan3d.session import Projected, Session
    from stylegan3d.generator import Generator

#: Name, object name, format and meaning of each similarity number.
FIGURES = (
    ("Structure", "ssim", "{:.3f}", "SSIM: likeness of local structure; 1 is identical."),
    ("Correlation", "ncc", "{:.3f}", "NCC: correlation of intensities; 1 is identical."),
    ("Error", "mae", "{:.1%}", "Mean absolute error, as a share of the brightest tissue."),
    ("PSNR", "psnr", "{:.1f} dB", "Peak signal-to-noise ratio in decibels; higher is closer."),
)
SEGMENTS = (
    ("reconstruction", "Reconstruction", "The synthetic brain most like the scan."),
    ("scan", "Scan", "The real scan, as the model sees it once it is aligned."),
    ("difference", "Difference", "Reconstruction minus scan: red is brighter, blue is darker."),
)


class DropArea(QFrame):
    """Where a scan can be dropped."""

    dropped = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("project.drop")
        self.setProperty("role", "drop")
        self.setAcceptDrops(True)
        self.setToolTip("Drop a T1-weighted scan here: .nii, .nii.gz or .mgz.")

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Welcome a file."""
        if self._file(event.mimeData()):
            event.acceptProposedAction()
            self._highlight(True)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        """Calm down."""
        self._highlight(False)

    def dropEvent(self, event: QDropEvent) -> None:
        """Take the file."""
        self._highlight(False)
        path = self._file(event.mimeData())
        if path:
            event.acceptProposedAction()
            self.dropped.emit(path)

    @staticmethod
    def _file(data: QMimeData) -> Path | None:
        files = [url.toLocalFile() for url in data.urls() if url.isLocalFile()]
        return Path(files[0]) if files else None

    def _highlight(self, over: bool) -> None:
        self.setProperty("over", over)
        self.style().unpolish(self)
        self.style().polish(self)


class ProjectPanel(Panel):
    """Opens a scan, runs the projection with progress and cancel, and compares.

    The work itself is the explorer's: this panel asks for it by signals.
    """

    title = "Project"

    openRequested = Signal(object)
    startRequested = Signal(str, str)
    """(space, budget)"""
    cancelRequested = Signal()
    viewRequested = Signal(str)
    """"reconstruction", "scan" or "difference"."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._opened: OpenedScan | None = None
        self._running = False
        self.drop = DropArea()
        self.name = QLabel("No scan yet")
        self.name.setObjectName("project.name")
        self.name.setProperty("role", "figure")
        self.details = controls.hint("Drop a T1-weighted head here, or", "project.details")
        self.open = controls.push_button(
            "Open scan…", "project.open", "Open a T1-weighted scan: .nii, .nii.gz or .mgz."
        )
        self.sample = controls.push_button(
            "Samples", "project.sample", "Open one of the two real brains that come along."
        )
        self.budget = self._make_budget()
        self.space = self._make_space()
        self.start = controls.push_button(
            "Project", "project.start", "Find the synthetic brain most like this scan.", "primary"
        )
        self.cancel = controls.push_button(
            "Cancel", "project.cancel", "Stop; what was shown before comes back."
        )
        self.bar = QProgressBar()
        self.bar.setObjectName("project.progress")
        self.bar.setToolTip("How much of the present phase is done, in percent.")
        self.estimate = controls.hint(name="project.estimate")
        self.notes = controls.hint(name="project.notes")
        self.figures: dict[str, QLabel] = {}
        self.segments: dict[str, QPushButton] = {}
        self._lay_out()
        self._connect()
        self._refresh()

    def _make_budget(self) -> QComboBox:
        box = QComboBox()
        box.setObjectName("project.budget")
        box.setToolTip("How long to search: more steps, closer match.")
        for key, text in BUDGETS.items():
            box.addItem(text, key)
        box.setCurrentIndex(list(BUDGETS).index("standard"))
        return box

    def _make_space(self) -> QComboBox:
        box = QComboBox()
        box.setObjectName("project.space")
        box.setToolTip(
            "Closest: every layer is free (W+), so it follows the scan further.\n"
            "Typical: one style for all layers (W), so it stays a brain the model would make."
        )
        box.addItem("Closest to the scan (W+)", "w+")
        box.addItem("Most typical brain (W)", "w")
        return box

    def _lay_out(self) -> None:
        add = self.column.addWidget
        add(controls.heading("Scan"))
        inside = QVBoxLayout(self.drop)
        inside.setContentsMargins(12, 12, 12, 12)
        inside.setSpacing(6)
        inside.addWidget(self.name)
        inside.addWidget(self.details)
        inside.addLayout(controls.row(self.open, self.sample, stretch=0))
        add(self.drop)
        add(controls.line())
        add(controls.heading("Projection"))
        self.column.addLayout(controls.form(("Search", self.budget), ("Find", self.space)))
        self.column.addLayout(controls.row(self.start, self.cancel, stretch=0))
        add(self.bar)
        add(self.estimate)
        add(controls.line())
        add(controls.heading("Compare"))
        self.column.addLayout(self._make_segments())
        self.column.addLayout(self._make_figures())
        add(self.notes)
        self.column.addStretch(1)

    def _make_segments(self) -> QHBoxLayout:
        group = QButtonGroup(self)
        row = QHBoxLayout()
        row.setSpacing(1)
        for key, text, tip in SEGMENTS:
            button = controls.push_button(text, f"project.show.{key}", tip, "segment")
            button.setCheckable(True)
            button.clicked.connect(lambda _=False, k=key: self.viewRequested.emit(k))
            group.addButton(button)
            row.addWidget(button)
            self.segments[key] = button
        return row

    def _make_figures(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(0, 1)
        for column, text in enumerate(("Likeness to the scan", "Reconstruction", "Mean brain")):
            grid.addWidget(controls.hint(text), 0, column)
        for row, (text, key, _, tip) in enumerate(FIGURES, start=1):
            for column, name in enumerate((None, f"project.{key}", f"project.mean.{key}")):
                label = QLabel("–" if name else text)
                label.setToolTip(tip)
                if name:
                    label.setObjectName(name)
                    label.setAlignment(Qt.AlignmentFlag.AlignRight)
                    self.figures[name] = label
                grid.addWidget(label, row, column)
            self.figures[f"project.{key}"].setProperty("role", "figure")
        return grid

    def _connect(self) -> None:
        self.open.clicked.connect(self._ask)
        self.drop.dropped.connect(self.openRequested)
        menu = QMenu(self)
        for key, text in SAMPLES.items():
            menu.addAction(text, lambda k=key: self.openRequested.emit(sample_path(k)))
        self.sample.setMenu(menu)
        self.start.clicked.connect(
            lambda: self.startRequested.emit(self.space.currentData(), self.budget.currentData())
        )
        self.cancel.clicked.connect(self.cancelRequested)

    def show_model(self, generator: Generator) -> None:
        """Enable what a model makes possible."""
        self._refresh()

    def show_scan(self, opened: OpenedScan) -> None:
        """A scan was read."""
        self._opened = opened
        self.name.setText(opened.name)
        self.details.setText("\n".join(opened.scan.notes))
        self.show_similarity(None)
        self.show_view("scan")

    def show_running(self, running: bool) -> None:
        """A projection started, or is over."""
        self._running = running
        self.bar.setValue(0)
        self.estimate.setText("Starting…" if running else "")
        self._refresh()

    def show_progress(self, progress: Progress) -> None:
        """Move the bar and say how long it will take."""
        self.bar.setRange(0, max(progress.total, 1))
        self.bar.setValue(progress.done)
        text = ", ".join(filter(None, (progress.text, progress.detail)))
        if progress.remaining_s is not None and progress.done < progress.total:
            text += f", about {duration_in_words(progress.remaining_s)} left"
        self.estimate.setText(text)

    def show_cancelling(self) -> None:
        """Cancel was pressed; the job stops at its next step."""
        self.cancel.setEnabled(False)
        self.estimate.setText("Stopping…")

    def show_similarity(self, projected: Projected | None) -> None:
        """Numbers between reconstruction and scan, inside the brain."""
        for _, key, form, _ in FIGURES:
            for name, numbers in (
                (f"project.{key}", projected.similarity if projected else {}),
                (f"project.mean.{key}", projected.mean_brain if projected else {}),
            ):
                self.figures[name].setText(form.format(numbers[key]) if key in numbers else "–")
        self.notes.setText("\n".join(projected.remarks) if projected else "")
        self._refresh()

    def show_view(self, view: str | None) -> None:
        """Mark which of the three is shown; None if it is something else."""
        group = self.segments["scan"].group()
        group.setExclusive(view is not None)
        for key, button in self.segments.items():
            button.setChecked(key == view)
        group.setExclusive(True)

    def _refresh(self) -> None:
        ready = self._opened is not None and self.session.generator is not None
        self.start.setEnabled(ready and not self._running)
        self.open.setEnabled(not self._running)
        self.sample.setEnabled(not self._running)
        for widget in (self.cancel, self.bar):
            widget.setVisible(self._running)
        self.cancel.setEnabled(self._running)
        self.estimate.setVisible(self._running)
        projected = self.session.find_projected(self.session.recipe.source)
        self.segments["reconstruction"].setEnabled(projected is not None)
        self.segments["difference"].setEnabled(projected is not None)
        self.segments["scan"].setEnabled(self._opened is not None or projected is not None)

    def show_recipe(self, recipe: Any) -> None:
        """Offer the comparison whenever the recipe starts from a projected scan."""
        self.show_similarity(self.session.find_projected(recipe.source))

    def _ask(self) -> None:
        path = dialogs.open_file(self, "Open a T1-weighted scan", dialogs.SCANS)
        if path is not None:
            self.openRequested.emit(path)
