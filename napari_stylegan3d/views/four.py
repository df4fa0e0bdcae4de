"""Axial, sagittal, coronal and 3D side by side in the middle of the napari window."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from napari.components import ViewerModel
from napari.qt import QtViewer
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QPixmap, QResizeEvent
from qtpy.QtWidgets import QMainWindow, QSplitter, QVBoxLayout, QWidget

from napari_stylegan3d.views import navigation
from napari_stylegan3d.views.captions import Labels, shown
from napari_stylegan3d.views.crosshair import Crosshair
from napari_stylegan3d.views.follower import Follower
from napari_stylegan3d.views.framing import View, frame, frame_volume
from napari_stylegan3d.views.orientation import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    Convention,
    Plane,
    orient,
    orient_volume,
    position_in_words,
)
from napari_stylegan3d.views.readout import Readout

#: How long after the last change the labels are put straight.
TIDY_MS = 60


class FourViews(QWidget):
    """Puts napari's own canvas (the axial view) and three followers into a 2 x 2 grid.

    Call `close_views` to give napari's canvas back to the window as it was.
    """

    def __init__(self, window: QMainWindow) -> None:
        super().__init__()
        self.setObjectName("views")
        self.convention: Convention = "radiological"
        self._fitted_zoom = 0.0
        self.views: list[View] = []
        self._main_canvas = window.findChild(QtViewer)
        self.viewer = self._main_canvas.viewer
        self._central = window.centralWidget().layout()
        self._index = self._central.indexOf(self._main_canvas)
        self._rows = (QSplitter(), QSplitter())
        self._grid = QSplitter(Qt.Orientation.Vertical)
        self.readout = Readout()
        self._lay_out()
        self.views = self._make_views()
        self._wheel_before = [
            (view.model, navigation.install(view.model)) for view in self.views if view.plane
        ]
        self._double_click_before = list(self.viewer.mouse_double_click_callbacks)
        self._order_before = tuple(self.viewer.dims.order)
        self._camera_before = self.viewer.scene.camera.orientation
        self._fit_soon, self._fit_again, self._tidy_soon = (QTimer(self) for _ in range(3))
        for timer, slot in (
            (self._fit_soon, self.reset),
            (self._fit_again, self.fit),
            (self._tidy_soon, self._tidy),
        ):
            timer.setSingleShot(True)
            timer.timeout.connect(slot)
        self._tidy_soon.setInterval(TIDY_MS)
        self._tidy_rounds = 0
        self._connect()
        self.set_convention("radiological")
        self.refresh()

    def view(self, name: str) -> View:
        """The view called Axial, Sagittal, Coronal or 3D."""
        return next(view for view in self.views if view.name == name)

    def set_message(self, text: str) -> None:
        """A sentence in the empty views, such as what is being loaded."""
        for view in self.views[:1]:
            view.crosshair.message = text

    def hold(self) -> None:
        """Let no view react until `release`: torch is about to be imported.

        scipy, which napari's 3D camera uses, looks for torch among the imported modules and trips
        over one that another thread has imported half. For types of numbers it has met before it
        remembers that there was nothing to look for, so the camera is turned and drawn now.
        """
        for view in self.views:
            if view.plane is None:
                view.model.scene.camera.angles = (0.0, 0.0, 0.0)
                view.canvas.canvas.native.repaint()
                orient_volume(view.model)
            view.canvas.canvas.native.repaint()
        self._grid.setEnabled(False)

    def release(self) -> None:
        """React again."""
        self._grid.setEnabled(True)

    def set_convention(self, convention: str) -> None:
        """Radiological (patient's left on the right) or neurological."""
        self.convention = "neurological" if convention == "neurological" else "radiological"
        for view in self.views:
            if view.plane:
                orient(view.model, view.plane, self.convention)
            view.labels.set_convention(self.convention)
        index = self.readout.convention.findData(self.convention)
        self.readout.convention.setCurrentIndex(index)
        self.fit()

    def refresh(self, _: Any = None) -> None:
        """Write captions and readout anew from what the layers and the crosshair say."""
        provenance = shown(self.viewer)
        point = self.viewer.dims.point
        for view in self.views:
            view.labels.set_provenance(provenance)
            if view.plane and len(point) == 3 and self.viewer.layers:
                view.labels.set_slice(position_in_words(point, view.plane.order[0]))
            view.crosshair.update()
        self.readout.show_point(self.viewer)
        self._tidy_soon.start()

    def fit(self) -> None:
        """Show the whole head in every view, at one scale in all three planes."""
        if not self.viewer.layers or self.viewer.dims.ndim != 3:
            return
        flat = [view for view in self.views if view.plane]
        self._fitted_zoom = frame([view for view in flat if view.canvas.isVisible()], self.viewer)
        for view in self.views:
            if view.plane is None:
                frame_volume(view, self.viewer)
        self._tidy_rounds = 2
        self._tidy_soon.start()

    def reset(self) -> None:
        """Centre the crosshair and fit every view."""
        if not self.viewer.layers or self.viewer.dims.ndim != 3:
            return
        middle = [(low + high) / 2 for low, high, _ in self.viewer.dims.range]
        self.viewer.dims.point = navigation.nearest_voxel(self.viewer, middle)
        for view in self.views:
            if view.plane:
                orient(view.model, view.plane, self.convention)
            else:
                orient_volume(view.model)
        self.fit()
        self.refresh()

    def picture(self) -> QPixmap:
        """The four views as they are on the screen, with crosshair, letters and captions."""
        return self._grid.grab()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fit again, unless the person has zoomed."""
        super().resizeEvent(event)
        zooms = [view.model.scene.camera.zoom for view in self.views if view.plane]
        if all(zoom == self._fitted_zoom for zoom in zooms):
            # The canvases get their new sizes after this event.
            self._fit_again.start(0)

    def close_views(self) -> None:
        """Give the canvas back to napari and free the followers."""
        for timer in (self._fit_soon, self._fit_again, self._tidy_soon):
            timer.stop()
        for signal, slot in self._signals:
            signal.disconnect(slot)
        for model, wheel in self._wheel_before:
            navigation.uninstall(model, wheel)
        self.viewer.mouse_double_click_callbacks[:] = self._double_click_before
        if len(self._order_before) == self.viewer.dims.ndim:
            self.viewer.dims.order = self._order_before
        self.viewer.scene.camera.orientation = self._camera_before
        for view in self.views:
            view.labels.close()
            view.crosshair.close_links()
        self._main_canvas.dims.setVisible(True)
        self._main_canvas.show_welcome_screen = True
        self._central.insertWidget(self._index, self._main_canvas)
        self._main_canvas.show()
        for view in self.views:
            if view.follower:
                view.follower.close()
                view.canvas.close()
        # Whoever still holds this widget must not keep the closed window alive.
        self.views.clear()
        del self._main_canvas, self._central
        self.setParent(None)
        self.deleteLater()

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._grid, stretch=1)
        column.addWidget(self.readout)
        for splitter in (self._grid, *self._rows):
            splitter.setHandleWidth(3)
            splitter.setChildrenCollapsible(False)
        for row in self._rows:
            self._grid.addWidget(row)
        # First into the window, then the canvas: it never leaves its window, so that its OpenGL
        # context survives the move.
        self._central.insertWidget(self._index, self)
        self._rows[0].addWidget(self._main_canvas)
        self._main_canvas.dims.setVisible(False)
        self._main_canvas.show_welcome_screen = False
        top, bottom = self._rows
        top.splitterMoved.connect(lambda *_: bottom.setSizes(top.sizes()))
        bottom.splitterMoved.connect(lambda *_: top.setSizes(bottom.sizes()))

    def _make_views(self) -> list[View]:
        views = [self._make_view(AXIAL, self.viewer, self._main_canvas)]
        for plane, row in (
            (SAGITTAL, self._rows[0]),
            (CORONAL, self._rows[1]),
            (None, self._rows[1]),
        ):
            follower = Follower(self.viewer, plane)
            canvas = QtViewer(follower.model)
            canvas.dims.setVisible(False)
            canvas.setAcceptDrops(False)
            row.addWidget(canvas)
            view = self._make_view(plane, follower.model, canvas)
            view.follower = follower
            views.append(view)
        for splitter in (self._grid, *self._rows):
            splitter.setSizes([10_000, 10_000])
        self._main_canvas.show()
        return views

    @staticmethod
    def _make_view(plane: Plane | None, model: ViewerModel, canvas: QtViewer) -> View:
        canvas.setMinimumSize(160, 120)
        return View(
            plane=plane,
            model=model,
            canvas=canvas,
            labels=Labels(model, plane),
            crosshair=Crosshair(canvas.canvas.native, model),
        )

    def _connect(self) -> None:
        layers = self.viewer.layers.events
        self._signals = [
            (self.viewer.dims.events.point, self.refresh),
            (self.viewer.dims.events.range, self._on_range),
            (layers.inserted, self._on_layers),
            (layers.removed, self._on_layers),
        ]
        for signal, slot in self._signals:
            signal.connect(slot)
        for view in self.views:
            view.model.mouse_double_click_callbacks[:] = [self._on_double_click]
        self.readout.conventionChanged.connect(self.set_convention)
        self.readout.crosshairToggled.connect(self._show_crosshair)
        self.readout.resetRequested.connect(self.reset)

    def _on_layers(self, event: Any) -> None:
        if event.type == "inserted":
            event.value.events.visible.connect(self.refresh)
            if self.viewer.dims.ndim == 3 and tuple(self.viewer.dims.order) != AXIAL.order:
                self.viewer.dims.order = AXIAL.order
        else:
            event.value.events.visible.disconnect(self.refresh)
        self.refresh()

    def _on_range(self, _: Any) -> None:
        # A new grid: wait until every layer is in, then fit once.
        self._fit_soon.start(0)

    def _tidy(self) -> None:
        """Draw once more: napari places texts of a new length one frame late."""
        for view in self.views:
            if view.plane:
                view.canvas.canvas.native.update()
        if self._tidy_rounds:
            # A draw that was under way already when the labels changed does not count.
            self._tidy_rounds -= 1
            self._tidy_soon.start()

    def _show_crosshair(self, shown_: bool) -> None:
        for view in self.views:
            view.crosshair.shown = shown_

    def _on_double_click(self, model: ViewerModel, event: Any) -> Iterator[None] | None:
        """One view over the whole centre, and back."""
        event.handled = True
        clicked = next(view for view in self.views if view.model is model)
        alone = sum(view.canvas.isVisible() for view in self.views) == 1
        for view in self.views:
            view.canvas.setVisible(alone or view is clicked)
        for row, members in zip(self._rows, (self.views[:2], self.views[2:]), strict=True):
            row.setVisible(alone or clicked in members)
        self._fit_again.start(0)
        return None
