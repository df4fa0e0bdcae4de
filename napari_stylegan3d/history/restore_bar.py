"""The strip that offers a session which came to a sudden end."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame

from napari_stylegan3d.core.worker import duration_in_words
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.elided import WrappedLabel
from stylegan3d.session.file import SessionState

DAY_S = 86_400.0


class RestoreBar(QFrame):
    """A sentence and two answers; hidden until there is something to offer."""

    restoreRequested = Signal()
    startedAnew = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("explorer.restore_bar")
        self.setProperty("role", "notice")
        self.text = controls.named(WrappedLabel(), "explorer.restore_text")
        self.restore = controls.push_button(
            "Restore the last session",
            "explorer.restore",
            "Restore its history, favourites and scan.",
            "primary",
        )
        self.anew = controls.push_button(
            "Start new session",
            "explorer.start_anew",
            "Start a new session; the last one remains under Open ▾ › Earlier sessions.",
        )
        controls.stack(
            self.text,
            controls.row(self.restore, self.anew, stretch=0),
            on=self,
            margins=(14, 8, 14, 8),
        )
        self.restore.clicked.connect(self.restoreRequested)
        self.anew.clicked.connect(self.startedAnew)
        self.hide()

    def offer(self, state: SessionState) -> None:
        """Ask about a session."""
        self.text.setText(f"The last session ended unexpectedly, {summary(state)}.")
        self.show()


def summary(state: SessionState) -> str:
    """Age and content of a session: "3 min ago: 12 states, 2 favourites, Brain T1w"."""
    age = state.age_s
    if age < DAY_S:
        when = f"{duration_in_words(age)} ago"
    else:
        when = state.saved[:10] or "some time ago"
    counts = [_counted(len(state.states), "state")]
    favourites = sum(len(items) for items in state.favourites.values())
    if favourites:
        counts.append(_counted(favourites, "favourite"))
    if state.model is not None and state.model.name:
        counts.append(state.model.name)
    return f"{when}: {', '.join(counts)}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
