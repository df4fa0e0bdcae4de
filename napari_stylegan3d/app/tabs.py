"""The panels in tabs, and their controllers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from qtpy.QtWidgets import QTabWidget, QWidget

from napari_stylegan3d.browse.controller import BrowseController
from napari_stylegan3d.browse.panel import BrowsePanel
from napari_stylegan3d.compare.controller import CompareController
from napari_stylegan3d.compare.panel import ComparePanel
from napari_stylegan3d.directions.controller import DirectionsController
from napari_stylegan3d.directions.panel import DirectionsPanel
from napari_stylegan3d.export.controller import ExportController
from napari_stylegan3d.export.panel import ExportPanel
from napari_stylegan3d.mix.controller import MixController
from napari_stylegan3d.mix.panel import MixPanel
from napari_stylegan3d.project.controller import ProjectController
from napari_stylegan3d.project.panel import ProjectPanel
from napari_stylegan3d.widgets import controls

if TYPE_CHECKING:
    from napari_stylegan3d.core.context import Context
    from napari_stylegan3d.core.panel import ExplorerPanel
    from napari_stylegan3d.core.session import Session

T = TypeVar("T")


class Controller(Protocol):
    """Controller of a panel."""

    def __init__(self, context: Context, panel: Any) -> None: ...

    def shutdown(self) -> None:
        """Stop all jobs."""


#: The tabs from left to right with their controllers; a new feature is added here.
FEATURES: tuple[tuple[type[ExplorerPanel], type[Controller]], ...] = (
    (BrowsePanel, BrowseController),
    (ProjectPanel, ProjectController),
    (MixPanel, MixController),
    (DirectionsPanel, DirectionsController),
    (ComparePanel, CompareController),
    (ExportPanel, ExportController),
)


class Tabs(QTabWidget):
    """Creates the panels for a session; they are enabled once a model is loaded."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("explorer.tabs")
        self.setDocumentMode(True)
        self.tabBar().setDrawBase(False)
        self.tabBar().setAccessibleName("Panels")
        self.panels = tuple(panel(session) for panel, _controller in FEATURES)
        for panel in self.panels:
            self.addTab(panel.scrolled(), panel.title)
        self.guide = controls.tool_button(
            "?", "explorer.guide", "The user guide, at the page of this panel."
        )
        corner = QWidget()  # lines it up with the tabs, and with those beside headings
        controls.stack(self.guide, on=corner, spacing=-1, margins=(0, 0, 14, 5))
        self.setCornerWidget(corner)
        self.setEnabled(False)

    def open_rooms(self, context: Context) -> tuple[Controller, ...]:
        """Create the panels' controllers."""
        pairs = zip(FEATURES, self.panels, strict=True)
        return tuple(controller(context, panel) for (_panel, controller), panel in pairs)

    def bring(self, key: str) -> ExplorerPanel:
        """Bring a panel to the front by its key, and return it."""
        index = [panel.key for panel in self.panels].index(key)
        self.setCurrentIndex(index)
        return self.panels[index]


def the(kind: type[T], among: tuple[object, ...]) -> T:
    """The only object of a type."""
    (found,) = (one for one in among if isinstance(one, kind))
    return found
