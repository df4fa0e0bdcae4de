"""Base class of the panels, the tabs they are in, and the services their controllers get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qtpy.QtCore import QCoreApplication, QEvent, Qt, Signal
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import QComboBox, QScrollArea, QStackedWidget, QTabWidget, QVBoxLayout, QWidget

from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import Links

if TYPE_CHECKING:
    from napari_stylegan3d.core.rendering import DisplayController, Rendering
    from napari_stylegan3d.core.session import Session
    from napari_stylegan3d.core.thumbnails import Thumbnails
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.recipe import Recipe


def why_not(generator: Generator, feature: str) -> str:
    """Why a model lacks a feature, translated; empty if it has it."""
    return generator.cannot.get(feature, "")


def offer(box: QComboBox, entry: object, reason: str, instead: object) -> None:
    """Enable an entry of a list, or disable it with the reason as its tooltip.

    If the disabled entry was selected, `instead` is selected.
    """
    index = box.findData(entry)
    item = box.model().item(index)
    item.setEnabled(not reason)
    item.setToolTip(reason)
    if reason and box.currentIndex() == index:
        box.setCurrentIndex(box.findData(instead))


UNPROJECTED = "Project this scan to edit it."


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
        Renders the recipe; its `loaded` is the current model.
    thumbnails : Thumbnails
        Small pictures of recipes, rendered while the main view is idle.
    comparison : DisplayController
        What is on the screen.
    links : Links
        What is undone when the window closes; jobs, timers and dialogs of the dock end by
        themselves.
    """

    dock: QWidget
    session: Session
    render: Rendering
    thumbnails: Thumbnails
    comparison: DisplayController
    links: Links = field(default_factory=Links)


class ExplorerPanel(QWidget):
    """A tab of the explorer, which reads and replaces the current recipe.

    Subclasses fill `self.column` and override `show_recipe` and `show_model`.
    """

    #: Title of the tab, by which sessions name it.
    title = ""
    #: Whether it edits the model's brain; a scan that was not projected has none.
    edits = False
    #: Whether the panel is in front.
    seen = Signal(bool)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.column: QVBoxLayout = controls.column(self)
        self._pages = QStackedWidget()
        session.recipeChanged.connect(self._on_recipe)
        session.modelChanged.connect(self.show_model)

    def show_recipe(self, recipe: Recipe) -> None:
        """Update the controls from the recipe, without changing it."""

    def show_model(self, generator: Generator) -> None:
        """Adapt the controls to a loaded model."""

    def showEvent(self, event: QShowEvent) -> None:
        """Emit that the panel is visible."""
        super().showEvent(event)
        controls.name_for_readers(self)
        self.seen.emit(True)

    def hideEvent(self, event: QHideEvent) -> None:
        """Emit that it is hidden."""
        self.seen.emit(False)
        super().hideEvent(event)

    def scrolled(self) -> QWidget:
        """The panel in a scroll area above its footer; it never scrolls sideways."""
        area = QScrollArea()
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidgetResizable(True)
        area.setWidget(self)
        area.setAccessibleName(self.title)
        footer = self.footer()
        whole: QWidget = area
        if footer is not None:
            whole = QWidget()
            controls.stack(area, footer, on=whole, stretch=0, spacing=0)
        if not self.edits:
            return whole
        unprojected = QWidget()
        column = controls.stack(
            controls.hint(UNPROJECTED, f"{self.title.lower()}.unprojected"),
            on=unprojected,
            margins=(14, 18, 14, 14),
        )
        column.addStretch(1)
        for page in (whole, unprojected):
            self._pages.addWidget(page)
        return self._pages

    def footer(self) -> QWidget | None:
        """What stays visible below the part that scrolls; by default nothing."""
        return None

    def _on_recipe(self, recipe: Recipe | None, live: bool) -> None:
        if live and not self.isVisible():
            return  # it follows when the hand lets go
        if self.edits:
            self._pages.setCurrentIndex(0 if recipe is not None else 1)
        self.show_recipe(self.session.brain)


class Tabs(QTabWidget):
    """The panels from left to right; they are enabled once a model is loaded."""

    def __init__(self, panels: Sequence[ExplorerPanel]) -> None:
        super().__init__()
        self.setObjectName("explorer.tabs")
        self.setDocumentMode(True)
        self.tabBar().setDrawBase(False)
        self.tabBar().setAccessibleName("Panels")
        self.tabBar().installEventFilter(controls.WHEEL_GUARD)
        self.panels = tuple(panels)
        for panel in self.panels:
            self.addTab(panel.scrolled(), panel.title)
        self.guide = controls.tool_button("explorer.guide")
        corner = QWidget()  # lines it up with the tabs, and with those beside headings
        controls.stack(self.guide, on=corner, spacing=-1, margins=(0, 0, 14, 5))
        self.setCornerWidget(corner)
        self.setEnabled(False)

    def bring(self, title: str) -> ExplorerPanel:
        """Bring a panel to the front by its title, and return it."""
        index = [panel.title for panel in self.panels].index(title)
        self.setCurrentIndex(index)
        return self.panels[index]


def bring_into_view(panel: QWidget, *parts: QWidget) -> None:
    """Scroll to parts of a panel; the last one is always made visible."""
    area = controls.above(panel, QScrollArea)
    if area is not None:
        # The parts may have just appeared; the panel's height is updated only after this.
        QCoreApplication.sendPostedEvents(None, QEvent.Type.LayoutRequest)
        for part in parts:
            area.ensureWidgetVisible(part)
