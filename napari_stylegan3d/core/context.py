"""What features of the window share; each controller is given it with its own panel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_stylegan3d.core.comparison import Comparison
    from napari_stylegan3d.core.messages import Messages
    from napari_stylegan3d.core.rendering import Rendering
    from napari_stylegan3d.core.session import Session
    from napari_stylegan3d.core.thumbnails import Thumbnails


@dataclass(frozen=True, eq=False)
class Context:
    """The services of one window.

    Attributes
    ----------
    dock : QWidget
        Parent of dialogs, and of what lasts as long as the window.
    session : Session
        The recipe with its history, the generator, the scans that were projected.
    render : Rendering
        Makes the picture of the recipe; `render.loaded` is the model that is at work.
    thumbnails : Thumbnails
        Small pictures of recipes, made while the main view rests.
    comparison : Comparison
        What is on the screen.
    messages : Messages
        Where errors are reported.
    """

    dock: QWidget
    session: Session
    render: Rendering
    thumbnails: Thumbnails
    comparison: Comparison
    messages: Messages
