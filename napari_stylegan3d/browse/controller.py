"""What the Browse panel opens and needs computed: the wall, the latent map, a walk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_stylegan3d.browse.privacy_check import PrivacyCheck
from napari_stylegan3d.browse.wall import Wall

if TYPE_CHECKING:
    from napari_stylegan3d.browse.panel import BrowsePanel
    from napari_stylegan3d.core.context import Context


class Browsing(QObject):
    """Brings the Browse panel together with what works behind it."""

    def __init__(self, context: Context, panel: BrowsePanel) -> None:
        super().__init__(context.dock)
        self.session, self.panel = context.session, panel
        self.wall = Wall(context.session, context.thumbnails, context.dock)
        self.privacy = PrivacyCheck(context, panel.privacy)
        panel.wall.clicked.connect(lambda: self.wall.open_beside(panel))
        panel.keep_edits.toggled.connect(self.wall.refresh)
        panel.walk.use(context.thumbnails)

    def shutdown(self) -> None:
        """Close windows and stop running jobs."""
        self.wall.hide()
        self.privacy.shutdown()
        self.panel.walk.stop()
        self.panel.map.places.shutdown()

    def survey(self) -> None:
        """The model's directions are known: compute the positions of its random brains."""
        generator = self.session.generator
        if generator is not None:
            self.panel.map.places.use(generator)
