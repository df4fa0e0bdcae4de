"""A card on the picture that says what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, QPoint, QTimer
from qtpy.QtWidgets import QFrame, QLabel, QPushButton

from napari_stylegan3d.widgets import controls

if TYPE_CHECKING:
    from napari_stylegan3d.views.four import FourViews

WIDTH, NARROWEST = 360, 250
MARGIN, CAPTION_PX = 16, 54
STYLE = """
QFrame[role="card"] { background: rgba(30, 33, 42, 240); border: 1px solid #6480e6;
    border-radius: 8px; }
QFrame[role="card"] QLabel { color: #f0f1f2; background: transparent; }
QFrame[role="card"] QLabel[role="step"] { color: #ffb74d; font-weight: 600; }
QFrame[role="card"] QLabel[role="title"] { font-size: %dpx; font-weight: 600; }
"""


class Card(QFrame):
    """Step, heading, text and buttons; over the 3D view, so that no plane is covered.

    Parameters
    ----------
    views : FourViews
        The views it lies on.
    name : str
        Object name; labels are `name.step`, `name.heading` and `name.text`.
    buttons : QPushButton
        From left to right.
    """

    def __init__(self, views: FourViews, name: str, *buttons: QPushButton) -> None:
        super().__init__(views)
        self._views = views
        self.setObjectName(name)
        self.setProperty("role", "card")
        self.setStyleSheet(STYLE % controls.scaled(17))
        self.step, self.heading, self.text = QLabel(), QLabel(), QLabel()
        for part, label, role in (
            ("step", self.step, "step"),
            ("heading", self.heading, "title"),
            ("text", self.text, ""),
        ):
            label.setObjectName(f"{name}.{part}")
            label.setProperty("role", role)
            label.setWordWrap(True)
        controls.stack(
            self.step,
            self.heading,
            self.text,
            controls.row(QLabel(), *buttons, stretch=0),
            on=self,
            spacing=8,
            margins=(20, 16, 20, 16),
        )
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self.place)
        views.installEventFilter(self)

    def show_text(self, step: str, heading: str, text: str) -> None:
        """Show a step."""
        for label, words in ((self.step, step), (self.heading, heading), (self.text, text)):
            label.setText(words)
        self.place()
        self.show()
        self.raise_()
        self._soon.start(0)  # the views may be laid out anew

    def dismiss(self) -> None:
        """Close it."""
        self._soon.stop()
        self._views.removeEventFilter(self)
        self.hide()
        self.setParent(None)
        self.deleteLater()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Follow resizing of the views."""
        if event.type() == QEvent.Type.Resize:
            self._soon.start(0)
        return False

    def place(self) -> None:
        """At the lower right of the views, as tall as its text."""
        views = self._views
        room = views.width() // 2 - MARGIN
        width = max(min(controls.scaled(WIDTH), room), controls.scaled(NARROWEST))
        layout = self.layout()
        for label in (self.step, self.heading, self.text):
            label.ensurePolished()  # before that its letters have another size
        layout.invalidate()
        self.setFixedSize(width, layout.totalHeightForWidth(width))
        # Above the caption, which says that the picture is synthetic.
        low = views.readout.mapTo(views, QPoint(0, 0)).y() - controls.scaled(CAPTION_PX)
        self.move(views.width() - width - MARGIN, max(low - self.height() - MARGIN, 0))
