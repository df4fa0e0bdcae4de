"""The strip above the tabs: model, undo and redo, busy indicator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QRectF, QTimer
from qtpy.QtGui import QPainter, QPaintEvent, QPalette
from qtpy.QtWidgets import QMenu, QProgressBar, QToolButton, QWidget

from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.elided import NameLabel

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator

#: Delay before the busy line appears.
PATIENCE_MS = 300
#: Interval of the animation. Every step repaints the whole window, which is expensive without a
#: graphics card: Qt's own bar, at up to 60 frames a second, used most of a core.
STEP_MS = 125
#: Length of the moving segment, and its step, as shares of the line.
PIECE, PACE = 0.3, 0.1


class BusyLine(QProgressBar):
    """An indeterminate progress line."""

    def __init__(self) -> None:
        super().__init__()
        self.setTextVisible(False)
        self.setRange(0, 1)
        self.setValue(0)
        self._steps: int | None = None
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._step)

    @property
    def moves(self) -> bool:
        """Whether it is animated."""
        return self._steps is not None

    def set_busy(self, busy: bool) -> None:
        """Set whether something is running."""
        if busy:
            if not self._timer.isActive():
                self._timer.start(PATIENCE_MS)
            return
        self._timer.stop()
        if self.moves:
            self._steps = None
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the line and the segment."""
        super().paintEvent(event)
        if self._steps is None:
            return
        left = (self._steps * PACE) % (1 + PIECE) - PIECE
        painter = QPainter(self)
        piece = QRectF(left * self.width(), 0, PIECE * self.width(), self.height())
        painter.fillRect(piece, self.palette().color(QPalette.ColorRole.Highlight))
        painter.end()

    def _step(self) -> None:
        self._steps = 0 if self._steps is None else self._steps + 1
        self._timer.setInterval(STEP_MS)
        self.update()


class Header(QWidget):
    """Model name, model menu, undo, redo, busy line."""

    def __init__(self) -> None:
        super().__init__()
        self.model = controls.named(NameLabel("Loading the model…"), "explorer.model")
        self.model.setProperty("role", "model")
        self.open = controls.tool_button(
            "Open ▾",
            "explorer.open_model",
            "Open another model: a model folder or an official 3D-StyleGAN checkpoint (.pkl).",
        )
        self.open.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.open.setProperty("role", "menu")
        self.undo = controls.tool_button("↶", "explorer.undo", "Undo the last change (Ctrl+Z).")
        self.redo = controls.tool_button("↷", "explorer.redo", "Redo (Ctrl+Shift+Z).")
        for button in (self.undo, self.redo):
            button.setEnabled(False)
            button.setProperty("role", "step")
        self.help = controls.tool_button("Keys", "explorer.help", "Keys and mouse gestures (F1).")
        self.busy = controls.named(
            BusyLine(), "explorer.busy", "Active while a brain is being rendered."
        )
        top = controls.row(self.model, self.open, self.undo, self.redo, self.help, stretch=0)
        top.setContentsMargins(14, 8, 10, 6)
        controls.stack(top, self.busy, on=self, spacing=0)

    @property
    def menu(self) -> QMenu:
        """Menu of the button beside the model's name."""
        menu = self.open.menu()
        assert menu is not None
        return menu

    def set_menu(self, menu: QMenu) -> None:
        """Menu of the button beside the model's name."""
        self.open.setMenu(menu)

    def set_loading(self, name: str) -> None:
        """Another model is being loaded."""
        self.model.setText("Loading…")
        self.model.setToolTip(name)
        self.open.setEnabled(False)
        self.set_busy(True)

    def set_model(self, generator: Generator | None) -> None:
        """Show the model's name."""
        self.open.setEnabled(True)
        self.model.setText(generator.name if generator is not None else "No model")
        if generator is not None:
            size = " × ".join(str(n) for n in generator.shape)
            self.model.setToolTip(f"{size} voxels, on {generator.device}")

    def set_busy(self, busy: bool) -> None:
        """Set whether something is running."""
        self.busy.set_busy(busy)
