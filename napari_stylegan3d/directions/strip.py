"""A strip of pictures beside the list: the brain at -2, -1, 0, 1 and 2 sd along a direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QPoint, Qt, QTimer, Signal
from qtpy.QtGui import QEnterEvent, QHideEvent
from qtpy.QtWidgets import QFrame, QHBoxLayout, QWidget

from napari_stylegan3d.core.thumbnails import Gallery, PictureButton
from napari_stylegan3d.widgets import controls

if TYPE_CHECKING:
    from napari_stylegan3d.core.thumbnails import Thumbnails
    from stylegan3d.recipe.recipe import Recipe

STEPS_SD = (-2, -1, 0, 1, 2)
SIDE = 96
#: How long the mouse must stay before the strip opens, and be away before it closes.
OPEN_MS, CLOSE_MS = 250, 300


class Strip(QFrame):
    """Opens while the mouse is on a row's button, or until it is closed once it was clicked.

    Parameters
    ----------
    parent : QWidget
        The dock; the strip opens left of it, over the views.
    """

    picked = Signal(float)
    """Strength of the picture that was clicked."""
    wanted = Signal()
    """It opens: its pictures are needed."""

    def __init__(self, thumbnails: Thumbnails, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.ToolTip)
        self.setObjectName("directions.strip")
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.kept = False
        self.gallery = Gallery(thumbnails, "directions.strip", self)
        self.title = controls.heading("")
        self.buttons = [
            PictureButton(f"directions.strip.{k}", f"Set to {step:+d} sd.", SIDE)
            for k, step in enumerate(STEPS_SD)
        ]
        pictures = QHBoxLayout()
        pictures.setSpacing(3)
        for step, button in zip(STEPS_SD, self.buttons, strict=True):
            button.set_caption(f"{step:+d} sd" if step else "0")
            button.setCheckable(True)
            button.clicked.connect(lambda _=False, s=step: self.picked.emit(float(s)))
            pictures.addWidget(button)
        controls.stack(self.title, pictures, on=self, spacing=5, margins=(8, 6, 8, 8))
        controls.name_for_readers(self)
        self._anchor: QWidget | None = None
        self._open, self._close = QTimer(self), QTimer(self)
        for timer, interval, slot in (
            (self._open, OPEN_MS, self.show_now),
            (self._close, CLOSE_MS, self.hide),
        ):
            timer.setSingleShot(True)
            timer.setInterval(interval)
            timer.timeout.connect(slot)

    def look(self, anchor: QWidget, looking: bool) -> None:
        """The mouse came to, or left, the button of a row."""
        if self.kept:
            return
        if looking:
            self._anchor = anchor
            self._close.stop()
            self._open.start()
        else:
            self._open.stop()
            self._close.start()

    def keep(self, anchor: QWidget) -> None:
        """Open and stay, or close if it stayed open for this button."""
        if self.kept and self._anchor is anchor and self.isVisible():
            self.hide()
            return
        self._anchor = anchor
        self.show_now()
        self.kept = True

    def show_now(self) -> None:
        """Open beside the button."""
        self._open.stop()
        self._close.stop()
        if self._anchor is None or not self._anchor.isVisible():
            return
        self.wanted.emit()
        self.adjustSize()
        dock, corner = self.parentWidget(), self._anchor.mapToGlobal(QPoint(0, 0))
        left = (dock.mapToGlobal(QPoint(0, 0)).x() if dock else corner.x()) - self.width() - 6
        self.move(max(left, 0), max(corner.y() - self.height() // 2, 0))
        self.show()

    def let_go(self) -> None:
        """Close, and forget the button, which may be deleted."""
        self._open.stop()
        self._anchor = None
        self.hide()

    def show_recipes(self, title: str, recipes: list[Recipe], current: float) -> None:
        """Ask for the pictures of five recipes; the middle ones first."""
        self.title.setText(title)
        pairs = dict(zip(self.buttons, recipes, strict=True))
        for step, button in zip(STEPS_SD, self.buttons, strict=True):
            button.setChecked(abs(step - current) < 0.05)
            if button.recipe != pairs[button]:
                button.show_picture(None)
        outward = sorted(pairs, key=lambda b: abs(self.buttons.index(b) - 2))
        self.gallery.show({button: pairs[button] for button in outward})

    def enterEvent(self, event: QEnterEvent) -> None:
        """The mouse went from the button to the pictures."""
        super().enterEvent(event)
        self._close.stop()

    def leaveEvent(self, event: QEvent) -> None:
        """The mouse left the pictures."""
        super().leaveEvent(event)
        if not self.kept:
            self._close.start()

    def hideEvent(self, event: QHideEvent) -> None:
        """Cancel the pictures."""
        self.kept = False
        self._open.stop()
        self._close.stop()
        self.gallery.stop()
        super().hideEvent(event)
