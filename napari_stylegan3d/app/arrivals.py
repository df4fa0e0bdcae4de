"""Updates after a model was loaded or its affine changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_stylegan3d.core.jobs import Loaded, place, placed

if TYPE_CHECKING:
    from napari_stylegan3d.app.models import Models
    from napari_stylegan3d.browse.controller import Browsing
    from napari_stylegan3d.core.context import Context
    from napari_stylegan3d.directions.panel import DirectionsPanel
    from napari_stylegan3d.project.controller import ProjectController
    from stylegan3d.geometry.frame import Frame


class Arrivals(QObject):
    """Passes a loaded model to all features."""

    def __init__(
        self,
        context: Context,
        models: Models,
        browsing: Browsing,
        directions: DirectionsPanel,
        projecting: ProjectController,
    ) -> None:
        super().__init__(context.dock)
        self.context, self.browsing = context, browsing
        self.directions, self.projecting = directions, projecting
        models.loaded.connect(self._on_loaded)
        models.directed.connect(self._on_directed)
        models.warmed.connect(context.render.previews_ready)
        browsing.panel.frame.frameChanged.connect(self._place)

    def _on_loaded(self, loaded: Loaded) -> None:
        self.context.messages.cleared.emit()
        self.projecting.forget_model()
        self.context.comparison.forget_model()
        self.context.render.use(loaded)
        self.context.session.set_generator(loaded.generator)

    def _on_directed(self) -> None:
        generator = self.context.session.generator
        if generator is not None:
            self.browsing.survey()
            self.directions.show_directions(generator)

    def _place(self, frame: Frame) -> None:
        """The model's affine changed."""
        render, comparison = self.context.render, self.context.comparison
        if render.loaded is None:
            return
        self.projecting.forget_model()
        loaded = place(render.loaded, frame)
        render.place(loaded)
        self.context.session.place(loaded.generator)
        if "directions" in vars(loaded.generator):
            self.directions.show_directions(loaded.generator)
        if comparison.picture is not None:
            comparison.place(placed(comparison.picture, loaded.generator))
