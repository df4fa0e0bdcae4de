"""The strip above the tabs: the model, another one, undo and redo, and whether there is work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QRectF, QTimer
from qtpy.QtGui import QPainter, QPaintEvent, QPalette
from qtpy.QtWidgets import QLabel, QMenu, QProgressBar, QToolButton, QVBoxLayout, QWidget

from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.text import _

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator

#: Work that is over sooner needs no telling: what came of it is seen.
PATIENCE_MS = 300
#: Each step has the whole window put together again, which without a graphics card takes the time
#: that the work is in want of: Qt's own bar, at up to sixty a second, took most of a core.
STEP_MS = 125
#: How long the piece is, and how far it goes in a step, as shares of the line.
PIECE, PACE = 0.3, 0.1


class BusyLine(QProgressBar):
    """A piece of a line that wanders from left to right while there is work that lasts."""

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
        """Whether it is to be seen that there is work."""
        return self._steps is not None

    def set_busy(self, busy: bool) -> None:
        """There is work, or there is none."""
        if busy:
            if not self._timer.isActive():
                self._timer.start(PATIENCE_MS)
            return
        self._timer.stop()
        if self.moves:
            self._steps = None
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the line, and the piece over it."""
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
    """Model name, the menu of others, undo, redo, busy line."""

    def __init__(self) -> None:
        super().__init__()
        self.model = QLabel(_("Loading the model…"))
        self.model.setObjectName("explorer.model")
        self.model.setProperty("role", "model")
        self.open = controls.tool_button(
            _("Open ▾"),
            "explorer.open_model",
            _("Open another model: a model folder or an official 3D-StyleGAN checkpoint (.pkl)."),
        )
        self.open.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.open.setProperty("role", "menu")
        self.undo = controls.tool_button("↶", "explorer.undo", _("Undo the last change (Ctrl+Z)."))
        self.redo = controls.tool_button("↷", "explorer.redo", _("Redo (Ctrl+Shift+Z)."))
        for button in (self.undo, self.redo):
            button.setEnabled(False)
            button.setProperty("role", "step")
        self.help = controls.tool_button("?", "explorer.help", _("Keys and mouse gestures (F1)."))
        self.busy = BusyLine()
        self.busy.setObjectName("explorer.busy")
        self.busy.setToolTip(_("Active while a brain is being rendered."))
        top = controls.row(self.model, self.open, self.undo, self.redo, self.help, stretch=0)
        top.setContentsMargins(14, 8, 10, 6)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(top)
        column.addWidget(self.busy)

    @property
    def menu(self) -> QMenu:
        """What the button beside the model's name offers."""
        menu = self.open.menu()
        assert menu is not None
        return menu

    def set_menu(self, menu: QMenu) -> None:
        """What the button beside the model's name offers."""
        self.open.setMenu(menu)

    def set_loading(self, name: str) -> None:
        """Another model is on its way; one at a time."""
        self.model.setText(_("Loading {name}…").format(name=name))
        self.model.setToolTip("")
        self.open.setEnabled(False)
        self.set_busy(True)

    def set_model(self, generator: Generator | None) -> None:
        """Name the model."""
        self.open.setEnabled(True)
        self.model.setText(generator.name if generator is not None else _("No model"))
        if generator is not None:
            size = " × ".join(str(n) for n in generator.shape)
            self.model.setToolTip(
                _("{size} voxels, on {device}").format(size=size, device=generator.device)
            )

    def set_busy(self, busy: bool) -> None:
        """There is work, or there is none."""
        self.busy.set_busy(busy)
