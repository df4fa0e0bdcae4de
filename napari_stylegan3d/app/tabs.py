"""The six panels, each behind a tab of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QTabWidget

from napari_stylegan3d.browse.panel import BrowsePanel
from napari_stylegan3d.compare.panel import ComparePanel
from napari_stylegan3d.directions.panel import DirectionsPanel
from napari_stylegan3d.export.panel import ExportPanel
from napari_stylegan3d.mix.panel import MixPanel
from napari_stylegan3d.project.panel import ProjectPanel

if TYPE_CHECKING:
    from napari_stylegan3d.core.panel import Panel
    from napari_stylegan3d.core.session import Session


class Tabs(QTabWidget):
    """Makes the panels for a session; they can be worked once there is a model."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("explorer.tabs")
        self.setDocumentMode(True)
        self.tabBar().setDrawBase(False)
        self.browse = BrowsePanel(session)
        self.project = ProjectPanel(session)
        self.mix = MixPanel(session)
        self.directions = DirectionsPanel(session)
        self.compare = ComparePanel(session)
        self.export = ExportPanel(session)
        self.panels: tuple[Panel, ...] = (
            self.browse,
            self.project,
            self.mix,
            self.directions,
            self.compare,
            self.export,
        )
        for panel in self.panels:
            self.addTab(panel.scrolled(), panel.title)
        self.setEnabled(False)

    def bring(self, key: str) -> Panel:
        """Bring a panel to the front by its key, and return it."""
        index = [panel.key for panel in self.panels].index(key)
        self.setCurrentIndex(index)
        return self.panels[index]
