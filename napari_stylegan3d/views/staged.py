"""Connects the views to a stage: window and level by mouse, colour bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_stylegan3d.views.navigation import LevelsByMouse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image

    from napari_stylegan3d.views.framing import View
    from napari_stylegan3d.views.lightbox import Lightbox
    from napari_stylegan3d.views.look import LookModel, ViewLook
    from napari_stylegan3d.views.readout import ReadoutBar
    from napari_stylegan3d.views.stage import Stage


class StagedViews:
    """Connects views and stage until `close`."""

    def __init__(
        self,
        stage: Stage,
        views: Sequence[View],
        looks: LookModel,
        readout: ReadoutBar,
        lightbox: Lightbox,
    ) -> None:
        self.stage, self.views = stage, views
        self.looks, self.readout, self.lightbox = looks, readout, lightbox
        self._mouse = LevelsByMouse(stage)
        self._flat = [view.model for view in views if view.plane]
        for model in self._flat:
            model.mouse_drag_callbacks.append(self._mouse.drag)
        stage.levelsChanged.connect(self.show_levels)
        stage.repainted.connect(self.redraw)
        stage.overlay.changed.connect(self.show_legend)
        readout.whiteChanged.connect(stage.set_white)
        readout.presetChosen.connect(stage.take_preset)
        looks.changed.connect(self._follow_look)
        self._follow_look(looks.look)
        self.show_levels()

    def show_levels(self) -> None:
        """Show window and level, and the colour bar."""
        self.readout.show_levels(self.stage)
        self.show_legend()

    def redraw(self, layer: Image) -> None:
        """Redraw a layer whose voxels changed in place."""
        for view in self.views:
            if view.follower is not None:
                view.follower.redraw(layer)
        self.lightbox.films.mark()

    def show_legend(self) -> None:
        """Show the colour bar in one view that has its colours.

        That is the 3D view, which has the most room, if it draws a surface, which is coloured, or
        a picture that is itself a difference.
        """
        legend = self.stage.legend
        look = self.looks.look
        in_3d = look.rendering == "iso" or (legend is not None and legend.solid)
        place = look.alone if look.layout != "four" else "3D" if in_3d else "Axial"
        for view in self.views:
            view.bar.set_legend(legend if view.name == place else None)
            view.arrows.set_field(self.stage.overlay.field)
        self.lightbox.set_legend(legend)

    def _follow_look(self, look: ViewLook, _before: ViewLook | None = None) -> None:
        self.stage.set_deface(look.deface)
        self.show_legend()

    def close(self) -> None:
        """Disconnect from both."""
        self.stage.levelsChanged.disconnect(self.show_levels)
        self.stage.repainted.disconnect(self.redraw)
        self.stage.overlay.changed.disconnect(self.show_legend)
        self.readout.whiteChanged.disconnect(self.stage.set_white)
        self.readout.presetChosen.disconnect(self.stage.take_preset)
        self.looks.changed.disconnect(self._follow_look)
        for model in self._flat:
            model.mouse_drag_callbacks.remove(self._mouse.drag)
