"""What the Browse panel opens and needs computed: the wall, the latent map, a walk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_stylegan3d.browse.privacy_check import PrivacyCheck
from napari_stylegan3d.browse.wall import Wall

if TYPE_CHECKING:
    from napari_stylegan3d.app.explorer import Explorer
    from napari_stylegan3d.browse.panel import BrowsePanel
    from napari_stylegan3d.core.thumbnails import Thumbnails


class Browsing(QObject):
    """Brings the Browse panel together with what works behind it."""

    def __init__(self, panel: BrowsePanel, thumbnails: Thumbnails, explorer: Explorer) -> None:
        super().__init__(explorer)
        self.panel = panel
        self.wall = Wall(panel.session, thumbnails, explorer)
        self.privacy = PrivacyCheck(panel.privacy, explorer)
        panel.wall.clicked.connect(lambda: self.wall.open_beside(panel))
        panel.walk.use(thumbnails)
        explorer.models.directed.connect(self._survey)

    def shutdown(self) -> None:
        """Close what was opened, stop what is computed."""
        self.wall.hide()
        self.privacy.shutdown()
        self.panel.walk.stop()
        self.panel.map.places.shutdown()

    def _survey(self) -> None:
        generator = self.panel.session.generator
        if generator is not None:
            self.panel.map.places.use(generator)
