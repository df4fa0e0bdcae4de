"""The explorer: one dock with five tabs, and the four views in the middle of the window.

It composes; the current recipe is the session's, the panels read and replace it, and what follows
from a new recipe (render, show, caption) happens here.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.qt import QtViewer
from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtGui import QHideEvent, QKeySequence, QShortcut, QShowEvent
from qtpy.QtWidgets import QApplication, QLabel, QMainWindow, QTabWidget, QVBoxLayout, QWidget

from napari_stylegan3d import theme
from napari_stylegan3d.calm import CalmWindow
from napari_stylegan3d.comparison import Comparison
from napari_stylegan3d.header import Header
from napari_stylegan3d.jobs import Loaded, load_model, warm_up
from napari_stylegan3d.notify import tell_error
from napari_stylegan3d.panels.browse import BrowsePanel
from napari_stylegan3d.panels.directions import DirectionsPanel
from napari_stylegan3d.panels.export import ExportPanel
from napari_stylegan3d.panels.mix import MixPanel
from napari_stylegan3d.panels.project import ProjectPanel
from napari_stylegan3d.projecting import Projecting
from napari_stylegan3d.rendering import Rendering
from napari_stylegan3d.saving import save_volume
from napari_stylegan3d.session import Session
from napari_stylegan3d.stage import Stage
from napari_stylegan3d.views.four import FourViews
from napari_stylegan3d.worker import LongJob, Progress

if TYPE_CHECKING:
    import napari

    from stylegan3d.generator import Generator
    from stylegan3d.recipe import Recipe

MIN_WIDTH = 376


class Explorer(QWidget):
    """The dock widget.

    Parameters
    ----------
    napari_viewer
        Injected by napari.
    model
        A model folder, or a generator that is loaded already; None for the bundled one.
    """

    ready = Signal()
    """The first brain is on the screen."""

    def __init__(
        self, napari_viewer: napari.viewer.Viewer, model: Path | Generator | None = None
    ) -> None:
        super().__init__()
        self.setObjectName("explorer")
        # napari hands plugins a proxy whose layers are proxies too; identity needs the real ones.
        self.viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self._model = model
        self._window: QMainWindow | None = None
        self._begun = self._closed = False
        self.views: FourViews | None = None
        self._calm: CalmWindow | None = None
        self.session = Session(self)
        self.stage = Stage(self.viewer)
        self.rendering = Rendering(self.session, self)
        self.comparison = Comparison(self.session, self.stage)
        self.loading = LongJob(self, urgent=True)
        self.warming, self.saving = LongJob(self), LongJob(self)
        self._make_panels()
        self.projecting = Projecting(self.session, self.project, self.comparison, self)
        self._lay_out()
        self._connect()

    def panel(self, title: str) -> QWidget:
        """Bring a tab to the front by its title, and return the panel."""
        index = [panel.title for panel in self.panels].index(title)
        self.tabs.setCurrentIndex(index)
        return self.panels[index]

    def open_scan(self, path: str | Path) -> None:
        """Open a scan in the Project tab."""
        self.panel("Project")
        self.projecting.open(Path(path))

    def close_explorer(self) -> None:
        """Stop all work and give the window back to napari; may be called more than once."""
        if self._closed:
            return
        self._closed = True
        self.rendering.shutdown()
        for job in (self.loading, self.warming, self.saving):
            job.shutdown()
        self.projecting.shutdown()
        self.viewer.layers.events.inserted.disconnect(self._on_layer)
        if self._window is not None:
            self._window.removeEventFilter(self)
            # Whoever still holds this widget must not keep the closed window alive.
            self._window = None
        self.stage.clear()
        if self.views is not None:
            self.views.close_views()
            self.views = None
        if self._calm is not None:
            self._calm.restore()
        self.session.close()

    def showEvent(self, event: QShowEvent) -> None:
        """Take over the middle of the window once it is there."""
        super().showEvent(event)
        if not self._begun:
            self._begun = True
            QTimer.singleShot(0, self._begin)

    def event(self, event: QEvent) -> bool:
        """Notice when napari removes the dock: it takes the widget out of the window."""
        if event.type() == QEvent.Type.ParentChange and self._window and self.parent() is None:
            self.close_explorer()
        return super().event(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stop when the window closes: a plugin's own closeEvent is never called."""
        # A visible window may still refuse to close, but once it hides by itself it is over.
        closing = event.type() == QEvent.Type.Close and not watched.isVisible()
        hidden = isinstance(event, QHideEvent) and not event.spontaneous()
        if watched is self._window and (closing or hidden):
            self.close_explorer()
        return False

    def _make_panels(self) -> None:
        self.browse = BrowsePanel(self.session)
        self.project = ProjectPanel(self.session)
        self.mix = MixPanel(self.session)
        self.directions = DirectionsPanel(self.session)
        self.export = ExportPanel(self.session)
        self.panels = (self.browse, self.project, self.mix, self.directions, self.export)

    def _lay_out(self) -> None:
        self.setMinimumWidth(MIN_WIDTH)
        self.setStyleSheet(theme.STYLE)
        self.header = Header()
        self.tabs = QTabWidget()
        self.tabs.setObjectName("explorer.tabs")
        self.tabs.setDocumentMode(True)
        self.tabs.tabBar().setDrawBase(False)
        for panel in self.panels:
            self.tabs.addTab(panel.scrolled(), panel.title)
        self.message = QLabel()
        self.message.setObjectName("explorer.message")
        self.message.setProperty("role", "error")
        self.message.setWordWrap(True)
        self.message.setContentsMargins(14, 4, 14, 8)
        self.message.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.header)
        column.addWidget(self.tabs, stretch=1)
        column.addWidget(self.message)
        self.tabs.setEnabled(False)

    def _connect(self) -> None:
        session = self.session
        session.historyChanged.connect(self._show_history)
        session.recipeChanged.connect(self._on_recipe)
        self.header.undo.clicked.connect(session.undo)
        self.header.redo.clicked.connect(session.redo)
        self.rendering.busyChanged.connect(self.header.set_busy)
        self.rendering.shown.connect(self._on_picture)
        self.rendering.failed.connect(partial(self._fail, "rendering"))
        self.project.viewRequested.connect(self.comparison.show)
        self.comparison.viewChanged.connect(self._on_view)
        self.projecting.failed.connect(lambda error, doing: self._fail(doing, error))
        self.projecting.wentWell.connect(lambda: self.say(""))
        self.projecting.stopped.connect(self._come_back)
        self.loading.progressed.connect(self._on_loading)
        self.loading.finished.connect(self._on_loaded)
        self.warming.finished.connect(self._on_warm)
        self.warming.failed.connect(partial(self._fail, "finding directions"))
        self.loading.failed.connect(partial(self._fail, "loading the model"))
        self.saving.finished.connect(self.export.show_saved)
        self.saving.failed.connect(partial(self._fail, "saving"))
        self.saving.runningChanged.connect(lambda on: self.export.save.setEnabled(not on))
        self.export.saveRequested.connect(self._save)
        self.export.screenshotRequested.connect(self._save_picture)
        self.viewer.layers.events.inserted.connect(self._on_layer)

    def _begin(self) -> None:
        window = self.window()
        if self._closed or not isinstance(window, QMainWindow):
            return
        if window.findChild(QtViewer) is None:
            return
        self._window = window
        window.installEventFilter(self)
        QApplication.instance().aboutToQuit.connect(self.close_explorer)
        self._calm = CalmWindow(window, self.viewer)
        self.views = FourViews(window)
        self.views.setStyleSheet(theme.STYLE)
        self.views.set_message("Loading the model…")
        for parent in (self, self.views):
            self._add_shortcuts(parent)
        self.header.set_busy(True)
        self.views.hold()
        self.loading.start(load_model, self._model)

    def _add_shortcuts(self, parent: QWidget) -> None:
        for keys, slot in (("Ctrl+Z", self.session.undo), ("Ctrl+Shift+Z", self.session.redo)):
            shortcut = QShortcut(QKeySequence(keys), parent)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(slot)

    def _on_loading(self, progress: Progress) -> None:
        if progress.done and self.views is not None:
            self.views.release()

    def _on_loaded(self, loaded: Loaded) -> None:
        self.rendering.use(loaded)
        self.header.set_model(loaded.generator)
        self.tabs.setEnabled(True)
        self.session.set_generator(loaded.generator)

    def _on_picture(self, recipe: Any, picture: Any) -> None:
        first = self.comparison.picture is None
        self.comparison.set_picture(recipe, picture)
        if first:
            QTimer.singleShot(0, self._on_first_brain)

    def _on_recipe(self, recipe: Recipe, _live: bool) -> None:
        self.say("")
        self.comparison.follow(recipe)

    def _come_back(self) -> None:
        """Show the current brain again after a projection that came to nothing."""
        self.comparison.follow()
        self.comparison.show("reconstruction")

    def _on_first_brain(self) -> None:
        self.ready.emit()
        self.warming.start(warm_up, self.rendering.loaded, self.session.recipe)

    def _on_warm(self, loaded: Loaded) -> None:
        self.rendering.previews_ready()
        self.directions.show_directions(loaded.generator)

    def _on_view(self, view: str) -> None:
        self.project.show_view(view or None)
        if self.views is not None:
            self.views.refresh()
            preview = view in ("", "reconstruction") and self.comparison.is_preview
            self.views.readout.quality.setText("preview" if preview else "")

    def _show_history(self) -> None:
        self.header.undo.setEnabled(self.session.can_undo)
        self.header.redo.setEnabled(self.session.can_redo)

    def _save(self, request: Any) -> None:
        self.saving.start(save_volume, self.rendering.loaded, request)

    def _save_picture(self, path: Path) -> None:
        if self.views is None:
            return
        from stylegan3d.errors import OutputError
        from stylegan3d.volumes import check_output

        try:
            check_output([path], self.export.overwrite.isChecked())
            if not self.views.picture().save(str(path)):
                raise OutputError(f"{path} could not be written: choose another folder.")
        except OutputError as error:
            self._fail("saving the picture", error)
        else:
            self.export.show_done([path])

    def _on_layer(self, event: Any) -> None:
        """A scan opened through napari (File > Open, samples, a drop on a view) is ours to project.

        Its layer stays in napari's list, hidden: the explorer shows the scan itself.
        """
        path = event.value.metadata.get("path")
        if path and event.value is not self.stage.layer:
            event.value.visible = False
            QTimer.singleShot(0, partial(self.open_scan, path))

    def _fail(self, doing: str, error: Exception) -> None:
        self.say(tell_error(error, doing))
        self.header.set_busy(self.rendering.busy)
        if self.views is not None and self.comparison.picture is None:
            self.views.release()
            self.views.set_message("No model")

    def say(self, text: str) -> None:
        """An error that stays under the tabs until something else happens."""
        self.message.setText(text)
        self.message.setVisible(bool(text))
