"""What follows when a model is on its way, has come, or lies elsewhere than was assumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from napari_stylegan3d.core.jobs import Loaded, place, placed

if TYPE_CHECKING:
    from napari_stylegan3d.app.explorer import Explorer
    from stylegan3d.geometry.frame import Frame


class Arrivals(QObject):
    """Hands a model that was loaded to all that work with it."""

    def __init__(self, explorer: Explorer) -> None:
        super().__init__(explorer)
        self.explorer = explorer
        models = explorer.models
        models.started.connect(explorer.header.set_loading)
        models.imported.connect(self._on_imported)
        models.loaded.connect(self._on_loaded)
        models.directed.connect(self._on_directed)
        models.warmed.connect(explorer.rendering.previews_ready)
        explorer.browse.frame.frameChanged.connect(self._place)

    def _on_imported(self) -> None:
        if self.explorer.views is not None:
            self.explorer.views.release()

    def _on_loaded(self, loaded: Loaded) -> None:
        explorer = self.explorer
        explorer.say("")
        explorer.projecting.forget_model()
        explorer.comparison.forget_model()
        explorer.rendering.use(loaded)
        explorer.header.set_model(loaded.generator)
        explorer.tabs.setEnabled(True)
        explorer.session.set_generator(loaded.generator)

    def _on_directed(self, _: Any = None) -> None:
        generator = self.explorer.session.generator
        if generator is not None:
            self.explorer.directions.show_directions(generator)

    def _place(self, frame: Frame) -> None:
        """The model's voxels lie elsewhere than was assumed."""
        explorer, loaded = self.explorer, self.explorer.rendering.loaded
        if loaded is None:
            return
        explorer.projecting.forget_model()
        loaded = place(loaded, frame)
        explorer.rendering.place(loaded)
        explorer.session.place(loaded.generator)
        if "directions" in vars(loaded.generator):
            explorer.directions.show_directions(loaded.generator)
        if explorer.comparison.picture is not None:
            explorer.comparison.place(placed(explorer.comparison.picture, loaded.generator))
