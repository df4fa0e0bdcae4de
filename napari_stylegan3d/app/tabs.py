"""The panels, each behind a tab of its own, and what works behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from qtpy.QtWidgets import QTabWidget

from napari_stylegan3d.browse.controller import Browsing
from napari_stylegan3d.browse.panel import BrowsePanel
from napari_stylegan3d.compare.controller import Comparing
from napari_stylegan3d.compare.panel import ComparePanel
from napari_stylegan3d.directions.controller import Directing
from napari_stylegan3d.directions.panel import DirectionsPanel
from napari_stylegan3d.export.controller import Exporting
from napari_stylegan3d.export.panel import ExportPanel
from napari_stylegan3d.mix.controller import Mixing
from napari_stylegan3d.mix.panel import MixPanel
from napari_stylegan3d.project.controller import Projecting
from napari_stylegan3d.project.panel import ProjectPanel

if TYPE_CHECKING:
    from napari_stylegan3d.core.context import Context
    from napari_stylegan3d.core.panel import Panel
    from napari_stylegan3d.core.session import Session

T = TypeVar("T")


class Controller(Protocol):
    """What works behind a panel."""

    def __init__(self, context: Context, panel: Any) -> None: ...

    def shutdown(self) -> None:
        """Stop all work."""


#: The tabs from left to right, each with what works behind it; a new feature has its line here.
FEATURES: tuple[tuple[type[Panel], type[Controller]], ...] = (
    (BrowsePanel, Browsing),
    (ProjectPanel, Projecting),
    (MixPanel, Mixing),
    (DirectionsPanel, Directing),
    (ComparePanel, Comparing),
    (ExportPanel, Exporting),
)


class Tabs(QTabWidget):
    """Makes the panels for a session; they can be worked once there is a model."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("explorer.tabs")
        self.setDocumentMode(True)
        self.tabBar().setDrawBase(False)
        self.panels = tuple(panel(session) for panel, _ in FEATURES)
        for panel in self.panels:
            self.addTab(panel.scrolled(), panel.title)
        self.setEnabled(False)

    def open_rooms(self, context: Context) -> tuple[Controller, ...]:
        """Give each panel what works behind it."""
        pairs = zip(FEATURES, self.panels, strict=True)
        return tuple(controller(context, panel) for (_, controller), panel in pairs)

    def bring(self, key: str) -> Panel:
        """Bring a panel to the front by its key, and return it."""
        index = [panel.key for panel in self.panels].index(key)
        self.setCurrentIndex(index)
        return self.panels[index]


def the(kind: type[T], among: tuple[object, ...]) -> T:
    """The one of a kind."""
    (found,) = (one for one in among if isinstance(one, kind))
    return found
