"""The views with their stage, settings and theme."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QMainWindow, QWidget

from napari_stylegan3d.app.toasts import Toasts
from napari_stylegan3d.core.surface_map import SurfaceMap
from napari_stylegan3d.views.captions import KEY, Provenance
from napari_stylegan3d.views.four import FourViews
from napari_stylegan3d.views.pacing import RepaintPacer
from napari_stylegan3d.views.settings import ViewSettings
from napari_stylegan3d.widgets.focus import FocusRing
from napari_stylegan3d.widgets.theme import ThemedWidgets

if TYPE_CHECKING:
    from napari_stylegan3d.core.comparison import Comparison
    from napari_stylegan3d.core.rendering import Rendering


class Viewing(QObject):
    """Creates the views and their settings; `close` restores the window.

    Parameters
    ----------
    window : QMainWindow
        napari's window.
    comparison : Comparison
        Provides the stage.
    explorer : QWidget
        The dock, which follows the theme too.
    """

    def __init__(self, window: QMainWindow, comparison: Comparison, explorer: QWidget) -> None:
        super().__init__(explorer)
        self.comparison = comparison
        #: The viewer's own title, without a patient.
        self._title = comparison.stage.viewer.title
        stage = comparison.stage
        self.views = FourViews(window)
        self.views.watch(stage)
        handle = window.windowHandle()
        if handle is not None:
            self.views.watch_keys(handle)
        self.toasts = Toasts(self.views)
        self.pacing = RepaintPacer(window, self)
        self.surface_map = SurfaceMap(stage, self.views, self)
        self.settings = ViewSettings(self.views.looks, stage.overlay, self.views)
        self.themed = ThemedWidgets(self.views.viewer, (explorer, self.views))
        self.focus_ring = FocusRing((explorer, self.views))
        self.views.viewer.events.theme.connect(self._show_theme)
        self.views.readout.menuRequested.connect(self._open)
        self.settings.themeChosen.connect(self._choose_theme)
        self.settings.levelsReset.connect(stage.reset_levels)
        self.views.looks.changed.connect(self._on_look)
        self._rendering: Rendering | None = None
        comparison.session.modelChanged.connect(self._outline)
        self._show_theme()

    def show_title(self) -> None:
        """Name the patient shown in the window's title."""
        layer = self.comparison.stage.layer
        told = None if layer is None else layer.metadata.get(KEY)
        subject = told.subject if isinstance(told, Provenance) else ""
        title = f"{subject} – {self._title}" if subject else self._title
        if self.views.viewer.title != title:
            self.views.viewer.title = title

    def pace(self, rendering: Rendering) -> None:
        """Keep dragging responsive: one repaint per preview, and short garbage collections.

        Of an edited scan only the slices are made that the views show.
        """
        self._rendering = rendering
        rendering.sliced_at = self._sliced_at
        self.views.viewer.dims.events.point.connect(self._slice_elsewhere)
        rendering.prepared.connect(set_aside)
        rendering.awaited.connect(self.pacing.hold)
        rendering.shown.connect(self.pacing.release)
        rendering.failed.connect(self.pacing.release)

    def close(self) -> None:
        """Disconnect, and restore napari's title and canvas."""
        self.views.viewer.title = self._title
        self.pacing.close()
        self.surface_map.close()
        self.toasts.close()
        self.views.viewer.events.theme.disconnect(self._show_theme)
        self.comparison.session.modelChanged.disconnect(self._outline)
        if self._rendering is not None:
            self._rendering.sliced_at = lambda: None
            self.views.viewer.dims.events.point.disconnect(self._slice_elsewhere)
        self.themed.close()
        self.focus_ring.close()
        self.settings.close_links()
        self.views.close_views()
        gc.unfreeze()  # last: napari collects garbage for every layer that goes, once for each view

    def _open(self) -> None:
        self.settings.open_at(self.views.readout.menu, self.views)

    def _choose_theme(self, name: str) -> None:
        self.views.viewer.theme = name
        self._show_theme()

    def _show_theme(self, _: Any = None) -> None:
        self.settings.show_theme(self.themed.kind)

    def _on_look(self, look: Any, before: Any) -> None:
        if look.outline != before.outline:
            self._outline()
        self._slice_elsewhere()

    def _sliced_at(self) -> tuple[float, float, float] | None:
        """Where the 2D views are sliced, RAS mm; None where they show voxels of other planes."""
        picture, point = self.comparison.picture, self.views.viewer.dims.point
        if picture is None or picture.shown.resampled or len(point) != 3:
            return None
        look = self.views.looks.look
        deep = any(mark.kind == "sphere" for mark in self.views.marks.shown)
        if look.layout == "lightbox" or look.slab != "none" or deep:
            return None
        x, y, z = (float(value) for value in point)
        return x, y, z

    def _slice_elsewhere(self, _: Any = None) -> None:
        if self._rendering is not None:
            self._rendering.slice_elsewhere()

    def _outline(self, _: Any = None) -> None:
        outline, generator = self.comparison.outline, self.comparison.session.generator
        if self.views.looks.look.outline and generator is not None:
            outline.pin(generator.template, generator.space)
        else:
            outline.unpin()


def set_aside() -> None:
    """Exclude existing objects from garbage collection until `gc.unfreeze`.

    An open window has half a million objects, which take 0.2 s to scan. Objects of a previous model
    are collected first.
    """
    if gc.get_freeze_count():
        gc.unfreeze()
        gc.collect()
    gc.freeze()
