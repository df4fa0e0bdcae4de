"""Opening models in the background; on an error the current model stays."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QMenu, QWidget

from napari_stylegan3d.core.jobs import Loaded, load_model, place, placed, warm_up
from napari_stylegan3d.core.worker import JobStatus, LongJob
from napari_stylegan3d.widgets import dialogs
from napari_stylegan3d.widgets.settings import settings

if TYPE_CHECKING:
    from napari_stylegan3d.browse.panel import BrowseController
    from napari_stylegan3d.core.panel import Context
    from napari_stylegan3d.directions.panel import DirectionsPanel
    from napari_stylegan3d.export.panel import ExportController
    from napari_stylegan3d.project.controller import ProjectController
    from stylegan3d.geometry.space import Frame
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.recipe import Recipe

STOPS = "{} would stop {}. Continue?"
#: The step of `warm_up` at which directions are ready.
DIRECTED = 2
RECENT_KEY = "recent_models"
MOST_RECENT = 5


class ModelController(QObject):
    """Loads a model, then warms up previews and directions, and passes it to all features."""

    #: Name of the model that is being loaded.
    started = Signal(str)
    #: The user did not want it.
    refused = Signal()
    #: torch is there; loading goes on.
    imported = Signal()

    def __init__(
        self,
        context: Context,
        browsing: BrowseController,
        directions: DirectionsPanel,
        projecting: ProjectController,
        exporting: ExportController,
    ) -> None:
        super().__init__(context.dock)
        self.context, self.browsing = context, browsing
        self.directions, self.projecting, self.exporting = directions, projecting, exporting
        browsing.panel.frame.frameChanged.connect(self._place)
        failed = context.session.messages.slot("loading the model")
        self.loading = LongJob(self, self._on_loaded, failed, urgent=True)
        self.warming = LongJob(self, self._on_warm, self._on_not_warm)
        self._to_warm: tuple[Loaded, Recipe] | None = None
        self._warmed: Loaded | None = None
        self.loading.progressed.connect(lambda p: self.imported.emit() if p.done else None)
        self.warming.progressed.connect(self._on_warming)
        self.warming.runningChanged.connect(self._warm_next)

    def open(self, model: Path | Generator | None, frame: Frame | str | None = None) -> None:
        """Load a model folder or an official checkpoint; None for the bundled model.

        `frame` is the voxel orientation and size of a checkpoint. Ignored while another
        model is loading, and if running projections would be lost that the user wants to keep.
        """
        if self.loading.running:
            return
        if not self._may_stop("Another model"):
            self.refused.emit()
            return
        self.started.emit("the bundled model" if model is None else model.name)
        self.loading.start(load_model, model, frame)

    def _may_stop(self, what: str) -> bool:
        """Whether nothing runs that needs scans aligned to the model, or the user lets it go."""
        names, saving = self.projecting.at_work_for, self.exporting.job.running
        stopped = [f"what is running or queued for {names}"] * bool(names)
        text = STOPS.format(what, " and ".join([*stopped, *["what is being saved"] * saving]))
        return not (names or saving) or dialogs.confirm(self.context.dock, "Stop work", text)

    def _stop(self) -> None:
        self.projecting.forget_model()
        self.exporting.job.cancel()

    def warm_up(self, loaded: Loaded, recipe: Recipe) -> None:
        """Prepare previews and directions, cancelling those of an earlier model."""
        self._to_warm = loaded, recipe
        if self.warming.running:
            self.warming.cancel()
        else:
            self._warm_next()

    def menu(self, parent: QWidget) -> QMenu:
        """Menu of models, including recent ones."""
        menu = QMenu(parent)
        menu.setToolTipsVisible(True)
        menu.aboutToShow.connect(lambda: self._fill(menu))
        return menu

    def _fill(self, menu: QMenu) -> None:
        from stylegan3d.storage.places import bundled_model_path, bundled_models

        menu.clear()
        menu.addAction("Model folder…", lambda: self._ask(menu, folder=True))
        menu.addAction("Official checkpoint (.pkl)…", lambda: self._ask(menu, folder=False))
        menu.addAction("Bundled model", partial(self.open, None))
        for path in map(bundled_model_path, bundled_models()[1:]):
            menu.addAction(path.name, partial(self.open, path)).setToolTip(str(path))
        recent = [path for path in recent_models() if path.exists()]
        if recent:
            menu.addSection("Recent")
        for path in recent:
            menu.addAction(path.name, partial(self.open, path)).setToolTip(str(path))

    def _ask(self, parent: QWidget, *, folder: bool) -> None:
        if folder:
            path = dialogs.choose_folder(parent, "Open a model folder", Path.home())
        else:
            path = dialogs.open_file(parent, "Open an official checkpoint", dialogs.checkpoints())
        if path is not None:
            self.open(path)

    def _on_loaded(self, loaded: Loaded) -> None:
        from stylegan3d.storage.places import bundled_model_path

        path = loaded.generator.path
        if path is not None and path.parent != bundled_model_path().parent:
            remember(path)
        self.context.session.messages.cleared.emit()
        self._stop()
        self.context.comparison.forget()
        self.context.render.use(loaded)
        self.context.session.set_generator(loaded.generator)

    def _on_warming(self, progress: JobStatus) -> None:
        """Show what can be shown once the directions are known."""
        generator = self.context.session.generator
        if progress.done == DIRECTED and self._to_warm is None and generator is not None:
            self.browsing.survey()
            self.directions.show_directions(generator)

    def _place(self, frame: Frame) -> None:
        """The model's affine changed."""
        render, comparison = self.context.render, self.context.comparison
        if render.loaded is None:
            return
        if not self._may_stop("Other axes or voxel sizes"):
            self.browsing.panel.frame.show_model(render.loaded.generator)
            return
        self._stop()
        loaded = place(render.loaded, frame)
        render.place(loaded)
        self.context.session.place(loaded.generator)
        if "directions" in vars(loaded.generator):
            self.directions.show_directions(loaded.generator)
        if comparison.picture is not None:
            comparison.place(placed(comparison.picture, loaded.generator))

    def _on_warm(self, loaded: Loaded) -> None:
        if self._to_warm is None:
            self.context.render.previews_ready(loaded)

    def _on_not_warm(self, error: Exception) -> None:
        """Report the error; thumbnails are rendered anyway."""
        self.context.session.messages.fail(error, "computing directions")
        if self._to_warm is None and self._warmed is not None:
            self.context.render.previews_ready(
                dataclasses.replace(self._warmed, previews_help=False)
            )

    def _warm_next(self, _running: bool = False) -> None:
        if self._to_warm is not None and not self.warming.running:
            (loaded, recipe), self._to_warm = self._to_warm, None
            self._warmed = loaded
            self.warming.start(warm_up, loaded, recipe)


def recent_models() -> list[Path]:
    """Recently opened models, latest first."""
    kept = settings().value(RECENT_KEY) or []
    return [Path(path) for path in ([kept] if isinstance(kept, str) else kept)]


def remember(path: Path) -> None:
    """Add a model to the recent ones."""
    path = path.absolute()
    others = [other for other in recent_models() if other != path]
    settings().setValue(RECENT_KEY, [str(p) for p in (path, *others)][:MOST_RECENT])
