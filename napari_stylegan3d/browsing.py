"""What the Browse panel opens and needs computed: the wall of thumbnails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QWidget

from napari_stylegan3d.panels.browse_wall import Wall

if TYPE_CHECKING:
    from napari_stylegan3d.panels.browse import BrowsePanel
    from napari_stylegan3d.thumbnails import Thumbnails


class Browsing(QObject):
    """Brings the Browse panel together with what works behind it."""

    def __init__(self, panel: BrowsePanel, thumbnails: Thumbnails, parent: QWidget) -> None:
        super().__init__(parent)
        self.panel = panel
        self.wall = Wall(panel.session, thumbnails, parent)
        panel.wall.clicked.connect(lambda: self.wall.open_beside(panel))

    def shutdown(self) -> None:
        """Close what was opened."""
        self.wall.hide()
