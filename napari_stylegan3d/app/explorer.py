"""The explorer: a dock with six tabs, and four views in the centre of the window.

Panels read and replace the session's recipe; this module connects them with rendering and views.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QMainWindow, QWidget

from napari_stylegan3d.app.arrivals import Arrivals
from napari_stylegan3d.app.docked import CalmWindow, Docked
from napari_stylegan3d.app.guidance import Guidance
from napari_stylegan3d.app.header import Header
from napari_stylegan3d.app.memory import Memory
from napari_stylegan3d.app.models import Models
from napari_stylegan3d.app.opening import Opening
from napari_stylegan3d.app.qt_binding import refuse_broken_binding
from napari_stylegan3d.app.sessions import Sessions
from napari_stylegan3d.app.tabs import Tabs, the
from napari_stylegan3d.app.viewing import Viewing
from napari_stylegan3d.browse.controller import Browsing
from napari_stylegan3d.browse.panel import BrowsePanel
from napari_stylegan3d.compare.controller import CompareController
from napari_stylegan3d.compare.panel import ComparePanel
from napari_stylegan3d.core.comparison import Comparison
from napari_stylegan3d.core.context import Context
from napari_stylegan3d.core.jobs import Loaded
from napari_stylegan3d.core.messages import Messages, report_error
from napari_stylegan3d.core.parking import Parking
from napari_stylegan3d.core.rendering import Rendering
from napari_stylegan3d.core.session import Session
from napari_stylegan3d.core.sharpening import Sharpening
from napari_stylegan3d.core.thumbnails import Thumbnails
from napari_stylegan3d.core.whose import brain_of
from napari_stylegan3d.directions.controller import DirectionsController
from napari_stylegan3d.directions.panel import DirectionsPanel
from napari_stylegan3d.export.controller import ExportController
from napari_stylegan3d.export.panel import ExportPanel
from napari_stylegan3d.history.strip import HistoryStrip
from napari_stylegan3d.labels.controller import LabelsController
from napari_stylegan3d.labels.panel import LabelsBox
from napari_stylegan3d.measure.controller import MeasureController
from napari_stylegan3d.measure.panel import MeasureBox
from napari_stylegan3d.mix.controller import Mixing
from napari_stylegan3d.mix.panel import MixPanel
from napari_stylegan3d.project.controller import ProjectController
from napari_stylegan3d.project.panel import ProjectPanel
from napari_stylegan3d.views.stage import Stage
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.elided import WrappedLabel
from napari_stylegan3d.widgets.fold import take_turns
from stylegan3d.session.case import Choice

if TYPE_CHECKING:
    from concurrent.futures import Future

    import napari

    from napari_stylegan3d.views.four import FourViews
    from stylegan3d.geometry.frame import Frame
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.recipe import Recipe

MIN_WIDTH = 376


class Explorer(Docked):
    """The dock widget.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        Injected by napari.
    model : Path, Generator, Future or None
        A model folder, an official checkpoint (.pkl), or a generator that is loaded or being loaded
        (`jobs.load_ahead`); None for the bundled one.
    frame : str or None
        Voxel orientation and size of a checkpoint, such as "LIA:2".
    """

    ready = Signal()
    """The first brain is on the screen."""

    def __init__(
        self,
        napari_viewer: napari.viewer.Viewer,
        model: Path | Generator | Future[Loaded] | None = None,
        frame: str | None = None,
    ) -> None:
        refuse_broken_binding()  # as a plugin: napari shows why it does not open
        super().__init__()
        self.setObjectName("explorer")
        # napari passes a proxy whose layers are proxies, too; identity needs the real ones.
        self.viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self._model = model
        self._frame: Frame | str | None = frame
        self._is_ready = False
        self.viewing: Viewing | None = None
        self.views: FourViews | None = None
        self._calm: CalmWindow | None = None
        self.session = Session(self)
        self.stage = Stage(self.viewer)
        self.rendering = Rendering(self.session, self)
        self.thumbnails = Thumbnails(self.session, self.rendering, self)
        self.comparison = Comparison(self.session, self.stage)
        self.sharpening = Sharpening(self.comparison, self.rendering, self)
        self.messages = Messages(self)
        self.context = Context(
            self,
            self.session,
            self.rendering,
            self.thumbnails,
            self.comparison,
            self.messages,
        )
        self.models = Models(self)
        self.tabs = Tabs(self.session)
        self.panels = self.tabs.panels
        self.browse, self.project = the(BrowsePanel, self.panels), the(ProjectPanel, self.panels)
        self.mix, self.directions = the(MixPanel, self.panels), the(DirectionsPanel, self.panels)
        self.compare, self.export = the(ComparePanel, self.panels), the(ExportPanel, self.panels)
        self._open_rooms()
        self._lay_out()
        self.history = HistoryStrip(self.session, self.thumbnails)
        self.sessions = Sessions(
            self.context,
            self.tabs,
            self.projecting,
            self.relabelling,
            self.export.folder,
            self.header.menu,
        )
        self.layout().insertWidget(1, self.sessions.bar)
        self.opening = Opening(self.context)
        folds = (self.measuring.box, self.relabelling.box)
        self.guidance = Guidance(self.context, self.tabs, self.header, self.opening.paste, folds)
        self.memory = Memory(self, self.export.folder, self.measuring.box)
        self.arrivals = Arrivals(
            self.context, self.models, self.browsing, self.directions, self.projecting
        )
        self._connect()

    def _open_rooms(self) -> None:
        """Create the panels' controllers."""
        context = self.context
        self.controllers = self.tabs.open_rooms(context)
        self.browsing, self.mixing = the(Browsing, self.controllers), the(Mixing, self.controllers)
        self.directing = the(DirectionsController, self.controllers)
        self.projecting = the(ProjectController, self.controllers)
        self.comparing = the(CompareController, self.controllers)
        self.exporting = the(ExportController, self.controllers)
        self.measuring = MeasureController(context, MeasureBox())
        visiting, second = self.measuring.visiting, self.projecting.second
        visiting.second = second.scan_of
        visiting.mapWanted.connect(second.show_patient)
        second.box.visitsRequested.connect(lambda: visiting.open(second.box.visits))
        self.relabelling = LabelsController(context, LabelsBox())
        self.parking = Parking(self.session, self)

    def panel(self, key: str) -> QWidget:
        """Bring a tab to the front by its panel's key, and return the panel."""
        return self.tabs.bring(key)

    def open_scan(self, path: str | Path) -> None:
        """Open a scan in the Project tab: a file, or a folder of DICOM files."""
        self.panel("Project")
        self.projecting.open(Choice(Path(path)))

    def open_model(self, path: Path | None, frame: Frame | str | None = None) -> None:
        """Open another model: a folder, an official checkpoint, or None for the bundled one.

        The current model stays until it is loaded, or if loading fails.
        """
        if self._window is None:
            self._model, self._frame = path, frame
        else:
            self.models.open(path, frame)

    def close_explorer(self) -> None:
        """Stop all jobs and restore napari's window; may be called more than once."""
        if self._closed:
            return
        self._closed = True
        self.memory.close()
        self.guidance.close()
        self.sharpening.shutdown()
        self.sessions.shutdown()
        self.history.shutdown()
        for controller in self.controllers:
            controller.shutdown()
        self.measuring.shutdown()
        self.relabelling.shutdown()
        self.parking.shutdown()
        self.rendering.shutdown()
        self.header.set_busy(False)
        self.thumbnails.shutdown()
        self.models.shutdown()
        self.viewer.layers.events.inserted.disconnect(self._on_layer)
        self.let_go()
        self.stage.clear()
        if self.views is not None:
            self.opening.let_go(self.views)
            self.views = self.exporting.views = self.sessions.views = None
        if self.viewing is not None:
            self.viewing.close()
            self.viewing = None
        if self._calm is not None:
            self._calm.restore()
        self.session.close()

    def _lay_out(self) -> None:
        self.setMinimumWidth(controls.scaled(MIN_WIDTH))
        self.header = Header()
        self.header.set_menu(self.models.menu(self))
        self.message = controls.named(WrappedLabel(), "explorer.message")
        self.message.setProperty("role", "error")
        self.message.setContentsMargins(14, 4, 14, 8)
        self.message.hide()
        column = controls.stack(
            self.header,
            self.tabs,
            self.measuring.box,
            self.relabelling.box,
            on=self,
            stretch=1,
            spacing=0,
        )
        take_turns(self, self.measuring.box, self.relabelling.box)
        column.addWidget(self.message)

    def _connect(self) -> None:
        session = self.session
        session.historyChanged.connect(self._show_history)
        session.recipeChanged.connect(self._on_recipe)
        self.header.undo.clicked.connect(session.undo)
        self.header.redo.clicked.connect(session.redo)
        self.rendering.busyChanged.connect(self.header.set_busy)
        self.rendering.shown.connect(self._on_picture)
        self.rendering.failed.connect(lambda error: self._fail(error, "rendering"))
        self.sharpening.failed.connect(lambda error: self._fail(error, "rendering"))
        self.rendering.cramped.connect(self.say)
        self.messages.failed.connect(self._fail)
        self.messages.cleared.connect(lambda: self.say(""))
        session.modelChanged.connect(self._on_model)
        self.models.started.connect(self._on_loading)
        self.models.imported.connect(self._on_imported)
        self.history.copyRequested.connect(self.opening.copy_link)
        self.history.pasteRequested.connect(self.opening.paste)
        self.opening.modelDropped.connect(self.open_model)
        self.sessions.modelWanted.connect(self.open_model)
        self.opening.sessionDropped.connect(self.sessions.open)
        self.opening.scanDropped.connect(self.open_scan)
        self.ready.connect(self.guidance.greet)
        self.projecting.job.runningChanged.connect(self.guidance.done)
        self.comparison.viewChanged.connect(self._on_view)
        self.projecting.wentWell.connect(self.messages.cleared)
        self.history.pinRequested.connect(self._pin)
        for part in (self.projecting, self.models, self.comparing):
            part.failed.connect(self.messages.failed)
        self.viewer.layers.events.inserted.connect(self._on_layer)

    def begin(self, window: QMainWindow) -> None:
        """Install the views and load the model."""
        self._calm = CalmWindow(window, self.viewer)
        self.viewing = Viewing(window, self.comparison, self)
        self.viewing.pace(self.rendering)
        self.views = self.viewing.views
        self.views.set_message("Loading the model…")
        self.views.layout().insertWidget(0, self.projecting.looks)
        self.views.layout().insertWidget(1, self.projecting.second.bar)
        self.projecting.second.drawn.connect(self.views.refresh)
        self.views.layout().addWidget(self.history)
        self.opening.begin(self.views)
        self.exporting.views = self.sessions.views = self.views
        self.comparing.begin(self.views)
        self.guidance.begin(window, self.views)
        self.memory.begin(window, self.views.looks)
        for part in (self, self.views):
            controls.name_for_readers(part)
        self.views.hold()
        self.models.open(self._model, self._frame)

    def _on_picture(self, recipe: Any, picture: Any) -> None:
        first = self.comparison.picture is None
        self.comparison.set_picture(recipe, picture)
        if first:
            QTimer.singleShot(0, self._on_first_brain)

    def _on_recipe(self, _recipe: Recipe, live: bool) -> None:
        self.say("")
        if self.views is not None:
            self.views.set_dragged(live)

    def _pin(self, recipe: Recipe) -> None:
        """Compare with an entry of the history."""
        self.panel(self.compare.key)
        self.comparing.pin(recipe)

    def _on_first_brain(self) -> None:
        if self._closed:
            return
        if not self._is_ready:
            self._is_ready = True
            self.ready.emit()
        self.stage.fit_white(self.comparison.share_above(1.0))
        if self.rendering.loaded is not None:
            self.models.warm_up(self.rendering.loaded, self.session.recipe)

    def _on_view(self, _view: str) -> None:
        if self.views is not None and self.viewing is not None:
            self.viewing.show_title()
            self.views.marks.set_whose(brain_of(self.session))
            self.views.refresh()
            ours = self.comparison.is_picture
            preview = ours and self.comparison.is_preview
            self.views.readout.quality.setText("preview" if preview else "")
            from stylegan3d.geometry.intensity import BRIGHTEST

            clipped = self.comparison.share_above(BRIGHTEST) if ours else 0.0
            self.views.readout.show_clipped(clipped)

    def _show_history(self) -> None:
        self.header.undo.setEnabled(self.session.can_undo)
        self.header.redo.setEnabled(self.session.can_redo)

    def _on_layer(self, event: Any) -> None:
        """Take over a scan opened by napari (File > Open, samples, a drop on a view).

        Its layer stays in napari's list, hidden: the explorer shows the scan itself.
        """
        path = event.value.metadata.get("path")
        if path and event.value is not self.stage.layer:
            event.value.visible = False
            QTimer.singleShot(0, partial(self.open_scan, path))

    def _on_model(self, generator: Generator) -> None:
        self.header.set_model(generator)
        self.tabs.setEnabled(True)

    def _on_loading(self, name: str) -> None:
        self.say("")
        self.header.set_loading(name)
        if self.views is not None and self.comparison.picture is None:
            self.views.set_message("Loading the model…")

    def _on_imported(self) -> None:
        if self.views is not None:
            self.views.release()

    def _fail(self, error: Exception, doing: str) -> None:
        self.say(report_error(error, doing))
        self.header.set_model(self.session.generator)
        self.header.set_busy(self.rendering.busy)
        if self.views is not None and self.comparison.picture is None:
            self.views.release()
            self.views.set_message("No model")

    def say(self, text: str) -> None:
        """Show an error below the tabs until the next action."""
        if self.viewing is not None:
            self.viewing.toasts.leave_out(text)
        self.message.setText(text)
        self.message.setVisible(bool(text))
