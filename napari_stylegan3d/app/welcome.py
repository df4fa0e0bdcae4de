"""The first steps, in a box on the picture that closes with the first action."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtWidgets import QFrame, QLabel, QVBoxLayout

from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.text import _

if TYPE_CHECKING:
    from napari_stylegan3d.app.tabs import Tabs
    from napari_stylegan3d.views.four import FourViews

#: (panel to show, heading, text)
STEPS = (
    (
        "Browse",
        _("Browse by number"),
        _(
            "Each number (seed) is a new synthetic brain. Use ◀ ▶ and Random on the right, "
            "or open the wall of brains."
        ),
    ),
    (
        "Project",
        _("Drop a scan"),
        _(
            "Drop a T1-weighted scan (NIfTI or DICOM folder) on the window, or open a "
            "sample, and press Project: the program searches for the most similar "
            "synthetic brain."
        ),
    ),
    (
        "Directions",
        _("Move a slider"),
        _(
            "Make the brain older, enlarge its ventricles, change its folding. Ctrl+Z "
            "undoes every change; F1 lists all keys."
        ),
    ),
)
WIDTH = 360
NARROWEST = 250
MARGIN = 16
STYLE = """
QFrame#welcome { background: rgba(30, 33, 42, 240); border: 1px solid #6480e6;
    border-radius: 8px; }
QFrame#welcome QLabel { color: #f0f1f2; background: transparent; }
QFrame#welcome QLabel#welcome\\.step { color: #ffb74d; font-weight: 600; }
QFrame#welcome QLabel#welcome\\.heading { font-size: %dpx; font-weight: 600; }
"""


class Welcome(QFrame):
    """Three steps, one at a time, non-modal.

    Parameters
    ----------
    views : FourViews
        The views it is placed on.
    tabs : Tabs
        Tabs of the steps.
    """

    finished = Signal()
    """Read to the end, skipped, or something was done."""

    def __init__(self, views: FourViews, tabs: Tabs) -> None:
        super().__init__(views)
        self._tabs, self._views = tabs, views
        self.setObjectName("welcome")
        self.setStyleSheet(STYLE % controls.scaled(17))
        self.step = QLabel()
        self.step.setObjectName("welcome.step")
        self.heading = QLabel()
        self.heading.setObjectName("welcome.heading")
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.skip = controls.push_button(
            _("Skip"), "welcome.skip", _("Close this; Help shows it again.")
        )
        self.next = controls.push_button(_("Next"), "welcome.next", _("The next step."), "primary")
        column = QVBoxLayout(self)
        column.setContentsMargins(20, 16, 20, 16)
        column.setSpacing(8)
        for widget in (self.step, self.heading, self.text):
            column.addWidget(widget)
        column.addLayout(controls.row(QLabel(), self.skip, self.next, stretch=0))
        self.skip.clicked.connect(self.finished)
        self.next.clicked.connect(self._on_next)
        self._number = -1
        self._on_next()
        tabs.currentChanged.connect(self._on_tab)
        views.installEventFilter(self)
        self.show()
        self.raise_()

    @property
    def number(self) -> int:
        """Current step, from 0."""
        return self._number

    def dismiss(self) -> None:
        """Close it."""
        self._tabs.currentChanged.disconnect(self._on_tab)
        self._views.removeEventFilter(self)
        self.hide()
        self.setParent(None)
        self.deleteLater()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Follow resizing of the views."""
        if event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def _on_next(self) -> None:
        if self._number + 1 == len(STEPS):
            self.finished.emit()
        else:
            self._show_step(self._number + 1)

    def _show_step(self, number: int) -> None:
        self._number = number
        tab, heading, text = STEPS[number]
        self._tabs.bring(tab)
        self.step.setText(
            _("First steps, {number} of {count}").format(number=self._number + 1, count=len(STEPS))
        )
        self.heading.setText(heading)
        self.text.setText(text)
        self.next.setText(_("Next") if self._number + 1 < len(STEPS) else _("Done"))
        self.next.setFocus(Qt.FocusReason.OtherFocusReason)
        self._place()

    def _on_tab(self, index: int) -> None:
        """Show the step of the opened tab; close if there is none."""
        key = self._tabs.panels[index].key
        steps = [tab for tab, _heading, _text in STEPS]
        if key not in steps:
            self.finished.emit()
        elif key != steps[self._number]:
            self._show_step(steps.index(key))

    def _place(self) -> None:
        """Place it beside the tabs, no wider than the views on the right."""
        room = self._views.width() // 2 - MARGIN
        self.setFixedWidth(max(min(controls.scaled(WIDTH), room), controls.scaled(NARROWEST)))
        self.adjustSize()
        self.setFixedHeight(self.layout().heightForWidth(self.width()))
        self.move(self._views.width() - self.width() - MARGIN, 2 * MARGIN + 16)
