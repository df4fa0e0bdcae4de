"""What the views do with a stage: its window and level by mouse, and what its colours mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_stylegan3d.views.navigation import LevelsByMouse

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_stylegan3d.views.four import FourViews
    from napari_stylegan3d.views.stage import Stage


class StagedViews:
    """Joins the views and a stage until `close`."""

    def __init__(self, views: FourViews, stage: Stage) -> None:
        self.views, self.stage = views, stage
        self._mouse = LevelsByMouse(stage)
        self._flat = [view.model for view in views.views if view.plane]
        for model in self._flat:
            model.mouse_drag_callbacks.append(self._mouse.drag)
        stage.levelsChanged.connect(self.show_levels)
        stage.repainted.connect(self.redraw)
        stage.overlay.changed.connect(self.show_legend)
        views.readout.whiteChanged.connect(stage.set_white)
        self.show_levels()

    def show_levels(self) -> None:
        """Write which intensities are black and white, and what colours mean."""
        self.views.readout.show_levels(self.stage)
        self.show_legend()

    def redraw(self, layer: Image) -> None:
        """The voxels of a layer are others, in the same array."""
        for view in self.views.views:
            if view.follower is not None:
                view.follower.redraw(layer)
        self.views.lightbox.films.mark()

    def show_legend(self) -> None:
        """In one view alone, best in the 3D view: it has the most room at its edge."""
        legend = self.stage.legend
        look = self.views.looks.look
        place = "3D" if look.layout == "four" else look.alone
        for view in self.views.views:
            view.bar.set_legend(legend if view.name == place else None)
        self.views.lightbox.set_legend(legend)

    def close(self) -> None:
        """Let go of both."""
        self.stage.levelsChanged.disconnect(self.show_levels)
        self.stage.repainted.disconnect(self.redraw)
        self.stage.overlay.changed.disconnect(self.show_legend)
        self.views.readout.whiteChanged.disconnect(self.stage.set_white)
        for model in self._flat:
            model.mouse_drag_callbacks.remove(self._mouse.drag)
