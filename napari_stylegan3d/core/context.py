"""The services that features of the window share; every controller gets them with its panel."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QObject, Signal

from napari_stylegan3d.widgets.controls import Links
from stylegan3d.base import Doubt, StyleGAN3DError
from stylegan3d.memory import is_out_of_memory, out_of_memory_sentence

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_stylegan3d.core.comparison import DisplayController
    from napari_stylegan3d.core.rendering import Rendering
    from napari_stylegan3d.core.session import Session
    from napari_stylegan3d.core.thumbnails import Thumbnails

logger = logging.getLogger("napari_stylegan3d")


class Messages(QObject):
    """Collects errors from features for the window to show."""

    failed = Signal(object, str)
    """(exception, what was being done)"""
    cleared = Signal()
    """An earlier error is over."""

    def fail(self, error: Exception, doing: str) -> None:
        """Report an error that occurred while `doing` something ('loading the model')."""
        self.failed.emit(error, doing)


def sentence(error: BaseException, doing: str) -> str:
    """The message for an error that occurred while `doing` something ('loading the model')."""
    if is_out_of_memory(error):
        return out_of_memory_sentence(doing)
    if isinstance(error, StyleGAN3DError):
        return str(error)
    return (
        f"Unexpected error while {doing} ({type(error).__name__}). Try again, and report it if it "
        "happens again; the details are in the terminal."
    )


def report_error(error: BaseException, doing: str) -> str:
    """Show a notification for an error, log an unexpected one, and return the sentence."""
    text = sentence(error, doing)
    if not isinstance(error, StyleGAN3DError) and not is_out_of_memory(error):
        logger.error("Failed while %s", doing, exc_info=error)
    show_error(text)
    return text


def report_doubts(doubts: Iterable[Doubt]) -> None:
    """Show a notification of what is in doubt, if anything is."""
    if lines := [doubt.sentence for doubt in doubts]:
        show_warning("\n".join(lines))


def report_done(text: str) -> None:
    """Show a notification that something was done."""
    show_info(text)


@dataclass(frozen=True, eq=False)
class Context:
    """The services of one window.

    Attributes
    ----------
    dock : QWidget
        Parent of dialogs and of objects with the window's lifetime.
    session : Session
        Recipe, history, generator and projected scans.
    render : Rendering
        Renders the recipe; `render.loaded` is the current model.
    thumbnails : Thumbnails
        Small pictures of recipes, rendered while the main view is idle.
    comparison : DisplayController
        What is on the screen.
    messages : Messages
        Where errors are reported.
    links : Links
        What is undone when the window closes; jobs, timers and dialogs of the dock end by
        themselves.
    """

    dock: QWidget
    session: Session
    render: Rendering
    thumbnails: Thumbnails
    comparison: DisplayController
    messages: Messages
    links: Links = field(default_factory=Links)
