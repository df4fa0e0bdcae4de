"""The services that features of the window share; every controller gets them with its panel."""

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
        Parent of dialogs and of objects with the window's lifetime.
    session : Session
        Recipe, history, generator and projected scans.
    render : Rendering
        Renders the recipe; `render.loaded` is the current model.
    thumbnails : Thumbnails
        Small pictures of recipes, rendered while the main view is idle.
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
