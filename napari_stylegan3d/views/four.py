"""Axial, sagittal, coronal and 3D side by side in the middle of the napari window."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Layer
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QImage, QPainter, QPixmap, QResizeEvent, QWindow
from qtpy.QtWidgets import QApplication, QMainWindow, QWidget

from napari_stylegan3d.views import marks, navigation
from napari_stylegan3d.views.canvases import (
    CanvasPlace,
    ViewGrid,
    finish_in_own_context,
    make_canvas,
    possible_scale,
    view_picture,
)
from napari_stylegan3d.views.captions import shown
from napari_stylegan3d.views.display import in_words, thicken
from napari_stylegan3d.views.follower import Follower, VolumeLook
from napari_stylegan3d.views.framing import (
    LinkedCameras,
    View,
    ViewFitter,
    draw_all,
    is_elsewhere,
    make_view,
)
from napari_stylegan3d.views.look import LookModel, ViewLook
from napari_stylegan3d.views.navigation import LevelsByMouse
from napari_stylegan3d.views.orientation import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    Convention,
    Facing,
    orient,
    orient_volume,
)
from napari_stylegan3d.views.readout import ReadoutBar, value_at
from napari_stylegan3d.views.slices import Lightbox, Pane, Panes
from napari_stylegan3d.widgets import controls

if TYPE_CHECKING:
    from napari.layers import Image

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
        readout.white.valueChanged.connect(stage.set_white)
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
        self.readout.white.valueChanged.disconnect(self.stage.set_white)
        self.readout.presetChosen.disconnect(self.stage.take_preset)
        self.looks.changed.disconnect(self._follow_look)
        for model in self._flat:
            model.mouse_drag_callbacks.remove(self._mouse.drag)


MM, PIXEL = "mm", "pixel"


class LayerUnits:
    """Sets the unit of layers in pixels to mm, until `close`."""

    def __init__(self) -> None:
        self._taken: list[Layer] = []

    def take(self, layer: Layer) -> None:
        """A layer that is in the viewer, or was just added."""
        if all(str(unit) == PIXEL for unit in layer.units):
            layer.units = (MM,) * layer.ndim
            self._taken.append(layer)

    def close(self) -> None:
        """Restore their units."""
        for layer in self._taken:
            layer.units = (PIXEL,) * layer.ndim
        self._taken.clear()


#: A double click takes no longer.
TWICE_S = 1.0


class FourViews(QWidget):
    """Puts napari's own canvas (the axial view) and three followers into a 2 x 2 grid.

    Their settings are `looks`; `close_views` restores napari's canvas.
    """

    def __init__(self, window: QMainWindow) -> None:
        super().__init__()
        self.setObjectName("views")
        self.looks = LookModel(self)
        self._staged: StagedViews | None = None
        self._ranges: np.ndarray | None = None
        self._place = CanvasPlace(window)
        self.viewer: ViewerModel = self._place.canvas.viewer
        self._millimetres = LayerUnits()
        for layer in self.viewer.layers:
            self._millimetres.take(layer)
        self._volume = VolumeLook()
        self._grid, self.readout = ViewGrid(), ReadoutBar()
        self.lightbox = Lightbox(self.viewer, self.looks)
        self.panes = Panes(self.viewer, self.looks)
        self.lightbox.films.marked.connect(self.panes.update)
        self.marks = marks.Marks(self.viewer, self.looks, self)
        self._slice_keys: navigation.SliceKeys | None = None
        #: When the mouse was last pressed in a plane, and where the crosshair was before.
        self._pressed: tuple[float, tuple[float, ...]] = (0.0, ())
        self._lay_out()
        self.views = self._make_views()
        flat = [(view.plane, view.model) for view in self.views if view.plane]
        self._cameras = LinkedCameras(flat)
        self._mouse_before = [(model, navigation.install(model)) for _, model in flat]
        for _plane, model in flat:
            model.mouse_drag_callbacks.insert(0, self._on_press)
            model.mouse_move_callbacks.append(self._on_pointer)
        self._remove_marks = marks.install(self.marks, [model for _, model in flat])
        self._fitting = ViewFitter(self.viewer, self.reset, self)
        self._fitting.views = self.views
        self._connect()
        self._follow_look(self.looks.look, None)
        self.refresh()

    @property
    def convention(self) -> Convention:
        """Radiological or neurological."""
        return self.looks.look.convention

    def view(self, name: str) -> View:
        """The view called Axial, Sagittal, Coronal or 3D."""
        return next(view for view in self.views if view.name == name)

    def watch(self, stage: Stage) -> None:
        """Connect this stage's window and level to the mouse, and show its colour bar."""
        self._staged = StagedViews(stage, self.views, self.looks, self.readout, self.lightbox)
        self.panes.stage = stage
        stage.settled.connect(self._on_settled)

    def watch_keys(self, window: QWindow) -> None:
        """Let Page Up and Down, Home and End scroll the view under the mouse."""
        flat = [(view.canvas.canvas.native, view.model) for view in self.views if view.plane]
        self._slice_keys = navigation.SliceKeys(window, flat, self.panes, self.panes.turn_slices)

    def set_message(self, text: str) -> None:
        """Set the text in empty views, such as what is being loaded."""
        for view in self.views[:1]:
            view.crosshair.message = text

    def hold(self) -> None:
        """Freeze the views until `release`, while torch is imported.

        scipy, which napari's 3D camera uses, looks for torch among the imported modules and fails
        on one that another thread has only partly imported. It caches the result per number type,
        so the camera is turned and drawn once now.
        """
        draw_all(self.views)
        self._grid.setEnabled(False)

    def release(self) -> None:
        """End `hold`."""
        self._grid.setEnabled(True)

    def set_dragged(self, dragged: bool) -> None:
        """During a drag, update the 3D view less often."""
        for view in self.views:
            if view.follower:
                view.follower.set_dragged(dragged)

    def set_convention(self, convention: str) -> None:
        """Radiological (patient's left on the right) or neurological."""
        radiological = convention != "neurological"
        self.looks.change(convention="radiological" if radiological else "neurological")

    def refresh(self, _: Any = None) -> None:
        """Update captions and readout from the layers and the crosshair."""
        provenance, below = shown(self.viewer), shown(self.viewer, overlays=False)
        point = self.viewer.dims.point
        for view in self.views:
            view.labels.set_provenance(provenance if view.plane else below)
            view.labels.set_point(point if self.viewer.layers else ())
            if view.plane:  # painting over a canvas redraws it, which is slow in 3D
                view.crosshair.update()
        self.readout.show_point(self.viewer)
        if self._staged is not None:
            self._staged.show_legend()

    @property
    def is_moving(self) -> bool:
        """Whether fitting is scheduled."""
        return self._fitting.waits

    @property
    def is_fitted(self) -> bool:
        """Whether the user has neither zoomed nor panned since the views were fitted."""
        return self._fitting.fitted

    def fit(self) -> None:
        """Show the whole head in every view, at one scale in all three planes."""
        self._fitting.fit()

    def reset(self) -> None:
        """Centre the crosshair and fit every view."""
        if not self.viewer.layers or self.viewer.dims.ndim != 3:
            return
        low, high, _step = navigation.grid_mm(self.viewer)
        middle = (low + high) / 2
        self.viewer.dims.point = navigation.nearest_voxel(self.viewer, middle)
        self._volume.middle = middle
        for view in self.views:
            if view.plane:
                orient(view.model, view.plane, self.looks.look.facing)
            else:
                orient_volume(view.model)
                self._restyle()
        self.fit()
        self.panes.fit()
        self.refresh()

    def picture(self) -> QPixmap:
        """Screenshot of the views, with crosshair, letters and captions."""
        if self.panes.panes:
            return self.panes.grab()
        return (self.lightbox if self.looks.look.layout == "lightbox" else self._grid).grab()

    def show_row(self, panes: Sequence[Pane]) -> None:
        """Show brains in columns instead of the views; none to return to the views."""
        was = bool(self.panes.panes)
        self.panes.show_panes(panes)
        if was != bool(panes):
            self._arrange()
            if not panes:
                self._fitting.fit_soon()

    def setFocus(
        self, reason: Qt.FocusReason = Qt.FocusReason.OtherFocusReason
    ) -> None:  # napari calls it when a notification over the views closes
        """Give the keys to the axial view, unless a control outside the views has them.

        A focus proxy would do this too, but then the Tab key leaves out what is below the views.
        """
        now = QApplication.focusWidget()
        if now is None or self.isAncestorOf(now):
            self.view("Axial").canvas.canvas.native.setFocus(reason)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fit again, unless the user has zoomed."""
        super().resizeEvent(event)
        self._on_resized()

    def go_to(self, point_mm: tuple[float, ...]) -> None:
        """Move the crosshair to the voxel nearest to a point."""
        self.viewer.dims.point = navigation.nearest_voxel(self.viewer, point_mm)

    def close_views(self) -> None:
        """Return the canvas to napari and free the followers."""
        self._fitting.stop()
        for signal, slot in self._signals:
            signal.disconnect(slot)
        self._cameras.close()
        self.lightbox.close_links()
        self.panes.close_links()
        if self._staged is not None:
            self._staged.stage.settled.disconnect(self._on_settled)
            self._staged.close()
            self._staged = None
        if self._slice_keys is not None:
            self._slice_keys.close()
        self._remove_marks()
        for model, wheel in self._mouse_before:
            model.mouse_drag_callbacks.remove(self._on_press)
            model.mouse_move_callbacks.remove(self._on_pointer)
            navigation.uninstall(model, wheel)
        for view in self.views:
            view.close()
        self._place.give_back()
        for view in self.views:
            if view.follower:
                view.follower.close()
                view.canvas.close()
        self._millimetres.close()
        # References to this widget must not keep the closed window alive.
        self.views.clear()
        self._grid.forget()
        self.setParent(None)
        self.deleteLater()

    def _lay_out(self) -> None:
        column = controls.stack(on=self, spacing=0)
        for widget in (self._grid, self.lightbox, self.panes):
            column.addWidget(widget, stretch=1)
        column.addWidget(self.readout)
        self.lightbox.hide()
        self.panes.hide()

    def _make_views(self) -> list[View]:
        self._place.take(self, self._grid, AXIAL.name)
        finish_in_own_context(self._place.canvas)
        views = [make_view(AXIAL, self.viewer, self._place.canvas, self.marks)]
        for plane in (SAGITTAL, CORONAL, None):
            follower = Follower(self.viewer, plane, self._volume)
            canvas = make_canvas(follower.model)
            self._grid.put(plane.name if plane else "3D", canvas)
            view = make_view(plane, follower.model, canvas, self.marks)
            view.follower = follower
            views.append(view)
        self._grid.even()
        self._place.canvas.show()
        return views

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
        self.looks.changed.connect(self._follow_look)
        self._fitting.done.connect(self._on_fitted)
        self.readout.reset.clicked.connect(self.reset)
        self.readout.offer_tools(self.marks, self.go_to)
        self.marks.toolChanged.connect(self._on_tool)
        for splitter in (self._grid, *self._grid.rows):
            splitter.splitterMoved.connect(self._on_resized)

    def _on_resized(self, *_: Any) -> None:
        if self._fitting.fitted:
            self._fitting.fit_soon()

    def _on_settled(self) -> None:
        """A head of another size is fitted; regions hold other values."""
        self._fitting.fit_if_needed()
        self.marks.measure_again()

    def _on_press(self, _model: ViewerModel, event: Any) -> None:
        """Remember the crosshair: the first click of a double click must not move it."""
        if event.type == "mouse_press":
            self._pressed = time.monotonic(), tuple(self.viewer.dims.point)

    def _on_pointer(self, model: ViewerModel, event: Any) -> None:
        """Show the intensity under the pointer in its view."""
        value = value_at(model, event.position) if model.dims.ndim == 3 else None
        for view in self.views:
            here = view.model is model and value is not None
            text = f"Pointer {value:.3g}" if here else ""
            view.labels.set_pointed(text)

    def _on_tool(self, tool: str) -> None:
        """A cross where the next drag draws a measurement."""
        shape = Qt.CursorShape.CrossCursor if tool else Qt.CursorShape.ArrowCursor
        for view in self.views:
            if view.plane:
                view.canvas.canvas.native.setCursor(shape)

    def _on_layers(self, event: Any) -> None:
        if event.type == "inserted":
            self._millimetres.take(event.value)
            event.value.events.visible.connect(self.refresh)
            if self.viewer.dims.ndim == 3 and tuple(self.viewer.dims.order) != AXIAL.order:
                self.viewer.dims.order = AXIAL.order
        else:
            event.value.events.visible.disconnect(self.refresh)
        self._thicken()
        self.refresh()

    def _on_range(self, _: Any) -> None:
        ranges = navigation.grid_mm(self.viewer)
        if self._ranges is None or is_elsewhere(self._ranges, ranges):
            self._fitting.reset_soon()
        else:
            self._fitting.snap_soon()
        self._ranges = ranges

    def _on_fitted(self) -> None:
        self.lightbox.refit()
        self.refresh()

    def _follow_look(self, look: ViewLook, before: ViewLook | None) -> None:
        for view in self.views:
            view.crosshair.shown = look.crosshair
            view.labels.show_letters(look.letters)
            view.labels.show_scale_bar(look.scale_bar)
        if before is None or look.linked != before.linked:
            self._cameras.set_linked(look.linked)
        if before is None or look.facing != before.facing:
            self._turn(look.facing)
        arranged = (look.layout, look.alone)
        if before is None or arranged != (before.layout, before.alone):
            self._arrange()
            self._fitting.fit_soon()
        if before is None or (look.slab, look.slab_mm) != (before.slab, before.slab_mm):
            self._thicken()
            self.marks.changed.emit()
        self._volume.look = look
        drawn = (look.rendering, look.surface, look.cuts)
        if before is not None and drawn != (before.rendering, before.surface, before.cuts):
            self._restyle()

    def _arrange(self) -> None:
        """Show what the look says, or the brains in columns."""
        look, row = self.looks.look, bool(self.panes.panes)
        self._grid.arrange(look)
        self._grid.setVisible(look.layout != "lightbox" and not row)
        self.lightbox.setVisible(look.layout == "lightbox" and not row)
        self.panes.setVisible(row)

    def _thicken(self) -> None:
        look = self.looks.look
        planes = [view.model for view in self.views if view.plane]
        thicken(look, planes, self.viewer.layers)
        for view in self.views:
            view.labels.set_slab(in_words(look))

    def _restyle(self) -> None:
        for view in self.views:
            if view.plane is None and view.follower is not None:
                view.follower.restyle()

    def _turn(self, facing: Facing) -> None:
        for view in self.views:
            if view.plane:
                orient(view.model, view.plane, facing)
            view.labels.set_facing(facing)
        self.fit()

    def _on_double_click(self, model: ViewerModel, event: Any) -> Iterator[None] | None:
        """Enlarge a view or return; with the right button, reset window and level."""
        event.handled = True
        if event.button == navigation.RIGHT:
            if self._staged is not None and model.dims.ndisplay == 2:
                self._staged.stage.reset_levels()
            return None
        when, point = self._pressed
        if point and time.monotonic() - when < TWICE_S and len(point) == self.viewer.dims.ndim:
            self.viewer.dims.point = point
        clicked = next(view for view in self.views if view.model is model)
        if self.looks.look.layout == "one":
            self.looks.change(layout="four")
        else:
            self.looks.change(layout="one", alone=clicked.name)
        return None


def all_pictures(views: FourViews, scale: float = 1.0) -> QImage:
    """The visible views, arranged as on the screen, `scale` times as large."""
    shown = [view for view in views.views if view.canvas.isVisible()]
    if not shown:
        picture = views.picture().toImage()
        return picture.scaledToWidth(
            round(picture.width() * scale), Qt.TransformationMode.SmoothTransformation
        )
    places = {view.name: view.canvas.canvas.native.mapTo(views, QPoint(0, 0)) for view in shown}
    left = min(place.x() for place in places.values())
    top = min(place.y() for place in places.values())
    sizes = {view.name: view.canvas.canvas.native.size() for view in shown}
    width = max(places[name].x() + size.width() for name, size in sizes.items()) - left
    height = max(places[name].y() + size.height() for name, size in sizes.items()) - top
    scale = possible_scale(width, height, scale)
    whole = QImage(round(width * scale), round(height * scale), QImage.Format.Format_RGB32)
    whole.fill(Qt.GlobalColor.darkGray)
    painter = QPainter(whole)
    for view in shown:
        place = places[view.name] - QPoint(left, top)
        target = QPoint(round(place.x() * scale), round(place.y() * scale))
        painter.drawImage(target, view_picture(view.canvas, scale))
    painter.end()
    return whole
