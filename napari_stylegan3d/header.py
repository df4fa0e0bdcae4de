"""The strip above the tabs: which model, undo and redo, and whether something is being rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QLabel, QProgressBar, QVBoxLayout, QWidget

from napari_stylegan3d import controls

if TYPE_CHECKING:
    from stylegan3d.generator import Generator


class Header(QWidget):
    """Model name, undo, redo, busy line."""

    def __init__(self) -> None:
        super().__init__()
        self.model = QLabel("Loading the model…")
        self.model.setObjectName("explorer.model")
        self.model.setProperty("role", "model")
        self.undo = controls.tool_button("↶", "explorer.undo", "Undo the last change (Ctrl+Z).")
        self.redo = controls.tool_button("↷", "explorer.redo", "Redo (Ctrl+Shift+Z).")
        for button in (self.undo, self.redo):
            button.setEnabled(False)
            button.setProperty("role", "step")
        self.busy = QProgressBar()
        self.busy.setObjectName("explorer.busy")
        self.busy.setTextVisible(False)
        self.busy.setToolTip("Moves while a brain is being rendered.")
        top = controls.row(self.model, self.undo, self.redo, stretch=0)
        top.setContentsMargins(14, 8, 10, 6)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(top)
        column.addWidget(self.busy)
        self.set_busy(False)

    def set_model(self, generator: Generator) -> None:
        """Name the model."""
        self.model.setText(generator.name)
        size = " × ".join(str(n) for n in generator.shape)
        self.model.setToolTip(f"{size} voxels, on {generator.device}")

    def set_busy(self, busy: bool) -> None:
        """Run or rest; an indeterminate bar with a range of 0 runs."""
        self.busy.setRange(0, 0 if busy else 1)
        self.busy.setValue(0)
