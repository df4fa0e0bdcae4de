"""The first steps, in a box on the picture that closes with the first action."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal

from napari_stylegan3d.app.card import Card
from napari_stylegan3d.widgets import controls

if TYPE_CHECKING:
    from napari_stylegan3d.app.tabs import Tabs
    from napari_stylegan3d.views.four import FourViews

#: (panel to show, heading, text)
STEPS = (
    (
        "Browse",
        "Browse by number",
        (
            "Each number (seed) is a new synthetic brain. Use ◀ ▶ and Random on the right, "
            "or open the wall of brains."
        ),
    ),
    (
        "Project",
        "Drop a scan",
        (
            "Drop a T1-weighted scan (NIfTI or DICOM folder) on the window, or open a "
            "sample, and press Project: the program searches for the most similar "
            "synthetic brain."
        ),
    ),
    (
        "Directions",
        "Move a slider",
        (
            "Make the brain older, enlarge its ventricles, change its folding. Ctrl+Z "
            "undoes every change; F1 lists all keys."
        ),
    ),
)


class Welcome(Card):
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
    caseWanted = Signal()

    def __init__(self, views: FourViews, tabs: Tabs) -> None:
        self.case = controls.push_button(
            "Worked case",
            "welcome.case",
            "Work through a whole case yourself, in three minutes.",
        )
        self.skip = controls.push_button("Skip", "welcome.skip", "Close this; Help shows it again.")
        self.next = controls.push_button("Next", "welcome.next", "The next step.", "primary")
        super().__init__(views, "welcome", self.case, self.skip, self.next)
        self._tabs = tabs
        self.case.clicked.connect(self.caseWanted)
        self.skip.clicked.connect(self.finished)
        self.next.clicked.connect(self._on_next)
        self._number = -1
        self._on_next()
        tabs.currentChanged.connect(self._on_tab)

    @property
    def number(self) -> int:
        """Current step, from 0."""
        return self._number

    def dismiss(self) -> None:
        """Close it."""
        self._tabs.currentChanged.disconnect(self._on_tab)
        super().dismiss()

    def _on_next(self) -> None:
        if self._number + 1 == len(STEPS):
            self.finished.emit()
        else:
            self._show_step(self._number + 1)

    def _show_step(self, number: int) -> None:
        self._number = number
        tab, heading, text = STEPS[number]
        self._tabs.bring(tab)
        step = f"First steps, {number + 1} of {len(STEPS)}"
        self.next.setText("Next" if self._number + 1 < len(STEPS) else "Done")
        self.show_text(step, heading, text)
        self.next.setFocus(Qt.FocusReason.OtherFocusReason)

    def _on_tab(self, index: int) -> None:
        """Show the step of the opened tab; close if there is none."""
        key = self._tabs.panels[index].key
        steps = [tab for tab, _heading, _text in STEPS]
        if key not in steps:
            self.finished.emit()
        elif key != steps[self._number]:
            self._show_step(steps.index(key))
