"""Axial, sagittal, coronal and 3D side by side in the middle of the napari window."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from qtpy import QtWidgets
from qtpy.QtCore import QPoint, QRect, QSize, Qt, Signal
from qtpy.QtGui import QImage, QPixmap, QResizeEvent, QWindow

from napari_stylegan3d.views import canvases, display, marks, navigation
from napari_stylegan3d.views.follower import Follower, VolumeLook
from napari_stylegan3d.views.look import LookModel, ViewLook, in_words, thicken
from napari_stylegan3d.views.marks import NAMES, Marks, place_of
from napari_stylegan3d.views.navigation import LevelsByMouse
from napari_stylegan3d.views.slices import Lightbox, Pane, Panes
from napari_stylegan3d.views.stage import PRESETS, WHITE_LIMITS, Stage, visible_pictures
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import Links, painting, scaled

#: Usual longest texts, so that nothing jumps while the crosshair moves.
WIDEST = ("Right 88.8 mm", "Posterior 88.8 mm", "Superior 88.8 mm")
WHITE_WIDTH = 84
#: In a narrower strip positions are abbreviated; in a still narrower one *White* is hidden.
ROOMY_PX, WHITE_PX, NARROWEST_PX = 905, 800, 566
#: Additional width for the name of a tissue or label.
NAMED_PX = 105
#: Windows: name, tooltip, key.
PRESET_WORDS = {
    "brain": ("Brain", "The default window: all tissue.", "F5"),
    "deep_grey": (
        "Deep grey",
        "Narrow: separates thalamus, pallidum and internal capsule.",
        "F6",
    ),
    "full": ("Full range", "From the lowest to the highest intensity.", "F7"),
}
#: Tools: tooltip, key.
TOOLS = {
    "length": ("Drag in a plane: its length in mm.", "Alt+D"),
    "angle": ("Drag along its first side, then drag the end of the other: degrees.", "Alt+A"),
    "ellipse": ("Drag in a plane: mean, sd and area in mm² inside.", "Alt+E"),
    "rectangle": ("Drag in a plane: mean, sd and area in mm² inside.", "Alt+T"),
    "sphere": ("Drag from its centre: mean, sd and volume in ml inside.", "Alt+B"),
}
#: Share of clipped voxels from which a warning is shown.
MUCH_CLIPPED = 0.05


class ReadoutBar(QtWidgets.QWidget):
    """Position in mm, intensity, window and level, and buttons for view settings."""

    presetChosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("views.readout")
        self.position = [QtWidgets.QLabel() for _ in range(3)]
        self._words: tuple[str, ...] = ("", "", "")
        self._letters: tuple[str, ...] = ("", "", "")
        self._named = self._was_roomy = False
        self.intensity = controls.label(
            "",
            "",
            "views.intensity",
            "Intensity at the crosshair. For synthetic brains 0 is background and 1 the "
            "brightest\ntissue (99.5th percentile inside the brain).",
        )
        self.levels = self._make_levels()
        self.tools = controls.push_button("views.tools")
        self.quality = controls.label(
            "", "hint", "views.quality", "Preview; the full volume follows."
        )
        self.clipped = controls.label("", "error", "views.clipped")
        self.clipped.hide()
        self.white = self._make_white()
        self.reset = controls.push_button("views.reset")
        self.menu = controls.push_button("views.menu")
        self._lay_out()

    def _make_levels(self) -> QtWidgets.QToolButton:
        button = controls.named(QtWidgets.QToolButton(), "views.levels")
        button.setProperty("role", "menu")
        button.setPopupMode(QtWidgets.QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QtWidgets.QMenu(self)
        menu.setToolTipsVisible(True)
        for name in PRESETS:
            text, tip, keys = PRESET_WORDS[name]
            action = menu.addAction(f"{text}\t{keys}", partial(self.presetChosen.emit, name))
            action.setObjectName(f"views.preset.{name}")
            action.setToolTip(tip)
        button.setMenu(menu)
        return button

    def offer_tools(self, marks: Marks, go_to: Callable[[tuple[float, ...]], None]) -> None:
        """Fill the menu of tools from the measurements.

        Parameters
        ----------
        marks : Marks
            The measurements.
        go_to : callable
            Moves the crosshair to a point in mm.
        """
        menu = QtWidgets.QMenu(self)
        menu.setToolTipsVisible(True)
        menu.aboutToShow.connect(partial(self._fill_tools, menu, marks, go_to))
        self.tools_menu = menu
        self._fill_tools(menu, marks, go_to)
        self.tools.clicked.connect(
            lambda: menu.popup(self.tools.mapToGlobal(QPoint(0, -menu.sizeHint().height())))
        )
        marks.toolChanged.connect(
            lambda tool: self.tools.setText(f"{NAMES[tool]} ▾" if tool else "Tools ▾")
        )

    def _fill_tools(
        self, menu: QtWidgets.QMenu, marks: Marks, go_to: Callable[[tuple[float, ...]], None]
    ) -> None:
        menu.clear()
        for kind, (tip, keys) in TOOLS.items():
            action = menu.addAction(f"{NAMES[kind]}\t{keys}", partial(marks.take, kind))
            action.setObjectName(f"views.tool.{kind}")
            action.setToolTip(tip)
            action.setCheckable(True)
            action.setChecked(marks.tool == kind)
        shown = marks.shown
        if shown:
            menu.addSeparator()
            menu.addAction(marks.whose or "This picture").setEnabled(False)
        for mark in shown:
            words = f"{NAMES[mark.kind]} {marks.text_of(mark)} ({place_of(mark)})"
            menu.addAction(words, partial(go_to, mark.start)).setToolTip("Go to its slice.")
        menu.addSeparator()
        for name, text, tip, keys, act in (
            ("copy", "Copy measurements", "Copy them as a table.", "", marks.copy),
            (
                "delete",
                "Delete measurement",
                "Delete the chosen one, or the last.",
                "Del",
                marks.delete,
            ),
            ("clear", "Delete all", "Delete all measurements of this brain.", "", marks.clear),
        ):
            action = menu.addAction(f"{text}\t{keys}" if keys else text, act)
            action.setObjectName(f"views.marks.{name}")
            action.setToolTip(tip)
            action.setEnabled(bool(shown))

    def _make_white(self) -> QtWidgets.QDoubleSpinBox:
        spin = controls.number(
            "views.white",
            f"Intensity shown as white, as a multiple of the default ({WHITE_LIMITS[0]:g} to "
            f"{WHITE_LIMITS[1]:g}); lower values\n"
            "brighten the picture. Saved files are not affected.",
            (*WHITE_LIMITS, 0.05),
            value=1.0,
            width=WHITE_WIDTH,
        )
        spin.setPrefix("White ")
        return spin

    def _lay_out(self) -> None:
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(10, 4, 10, 4)
        row.setSpacing(8)
        for label in self.position:
            label.setToolTip("Position of the crosshair in the patient, in millimetres.")
            row.addWidget(label)
        for widget in (self.intensity, self.levels, self.quality, self.clipped):
            row.addWidget(widget)
        row.addStretch(1)
        for widget in (self.white, self.tools, self.reset, self.menu):
            row.addWidget(widget, alignment=Qt.AlignmentFlag.AlignVCenter)
        self._set_widths()

    @property
    def roomy(self) -> bool:
        """Whether there is room for full text."""
        return self.width() >= scaled(ROOMY_PX + NAMED_PX * self._named)

    def minimumSizeHint(self) -> QSize:
        """As narrow as with abbreviations: otherwise a wide window could not be made narrow."""
        hint = super().minimumSizeHint()
        return QSize(min(hint.width(), scaled(NARROWEST_PX)), hint.height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Switch between full and abbreviated text."""
        super().resizeEvent(event)
        self._set_widths()

    def _set_widths(self) -> None:
        self._was_roomy = self.roomy
        texts = WIDEST if self.roomy else ("R 88.8",) * 3
        for axis, (label, widest) in enumerate(zip(self.position, texts, strict=True)):
            label.setMinimumWidth(label.fontMetrics().horizontalAdvance(widest) + 2)
            label.setText(self._words[axis] if self.roomy else self._letters[axis])
        self.white.setVisible(self.width() >= scaled(WHITE_PX))

    def show_clipped(self, share: float) -> None:
        """Warn if much of the picture is clipped."""
        self.clipped.setVisible(share >= MUCH_CLIPPED)
        self.clipped.setText(f"{100 * share:.0f} % clipped")
        self.clipped.setToolTip(
            f"{100 * share:.0f} % of this volume is brighter than 1.5 times the brightest tissue "
            "and is\nclipped: the model's intensities are not in the range 0 to 1, or it is not "
            "trained."
        )

    def show_levels(self, stage: Stage) -> None:
        """Show which intensities are black and white; an overlay alone has its own."""
        alone = stage.covering
        low, high = stage.limits if alone is None else alone.contrast_limits
        controls.show_value(self.white, stage.levels.white)
        controls.enable(alone is None, self.white, self.levels)
        words = f"W/L {brightness(high - low)} / {brightness((high + low) / 2)}"
        is_symmetrical = stage.is_difference and alone is None
        self.levels.setText(f"± {brightness(high)}" if is_symmetrical else words)

    def show_point(self, model: ViewerModel) -> None:
        """Show position and intensity from the viewer."""
        point = model.dims.point
        if len(point) != 3 or not model.layers:
            for label in (*self.position, self.intensity):
                label.clear()
            self._words = self._letters = ("", "", "")
            return
        self._words = tuple(display.position_in_words(point, axis) for axis in range(3))
        self._letters = tuple(display.position_in_letters(point, axis) for axis in range(3))
        self._named = any(isinstance(one, Labels) and one.visible for one in model.layers)
        if self.roomy != self._was_roomy:
            self._set_widths()
        for label, text in zip(
            self.position, self._words if self.roomy else self._letters, strict=True
        ):
            label.setText(text)
        self.intensity.setText(intensity_in_words(model, point, self.roomy))


def brightness(value: float) -> str:
    """With sensible decimals: intensities may range up to 1 or to thousands."""
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"


def intensity_in_words(model: ViewerModel, point_mm: tuple[float, ...], roomy: bool = True) -> str:
    """Such as 'Intensity 0.81', with the overlaid difference and label."""
    value = value_at(model, point_mm)
    if value is None:
        return ""
    parts = [f"Intensity {value:.3g}" if roomy else f"Int. {value:.3g}"]
    for layer in model.layers:
        if not layer.visible or layer.ndim != 3:
            continue
        there, told = voxel_at(layer, point_mm), layer.metadata
        if isinstance(layer, Labels):
            if there:
                parts.append(told.get(display.NAMES, {}).get(int(there), f"label {there:.0f}"))
        elif display.OVERLAY in told and layer.contrast_limits[0] < 0 and there is not None:
            percent = " %" if told.get(display.UNIT) == "%" else ""
            parts.append(f"Δ {there:+.2g}{percent}")
    return " · ".join(parts)


def value_at(model: ViewerModel, point_mm: tuple[float, ...]) -> float | None:
    """Intensity of the topmost visible image at a point in mm; None outside."""
    values = (voxel_at(layer, point_mm) for layer in visible_pictures(model, over=True))
    return next((value for value in values if value is not None), None)


def voxel_at(layer: Layer, point_mm: tuple[float, ...]) -> float | None:
    """Value of the voxel nearest to a point in mm; None outside the layer's grid."""
    if not isinstance(layer, Image | Labels):
        return None
    index = np.round(layer.world_to_data(point_mm)).astype(int)
    if np.all(index >= 0) and np.all(index < layer.data.shape[:3]):
        return float(np.asarray(layer.data[tuple(index)]).ravel()[0])
    return None


class StagedViews:
    """Connects views and stage."""

    def __init__(
        self,
        stage: Stage,
        views: Sequence[canvases.View],
        looks: LookModel,
        readout: ReadoutBar,
        lightbox: Lightbox,
        links: Links,
    ) -> None:
        self.stage, self.views = stage, views
        self.looks, self.readout, self.lightbox = looks, readout, lightbox
        self._mouse = LevelsByMouse(stage)
        for view in views:
            if view.plane:
                dragged = view.model.mouse_drag_callbacks
                dragged.append(self._mouse.drag)
                links.callback(dragged.remove, self._mouse.drag)
        links.connect(stage.levelsChanged, self.show_levels)
        links.connect(stage.repainted, self.redraw)
        links.connect(stage.overlay.changed, self.show_legend)
        links.connect(readout.white.valueChanged, stage.set_white)
        links.connect(readout.presetChosen, stage.take_preset)
        links.connect(looks.changed, self._follow_look)
        self._follow_look(looks.look)
        self.show_levels()

    def show_levels(self) -> None:
        """Show window and level, and the colour bar."""
        self.readout.show_levels(self.stage)
        self.show_legend()

    def redraw(self, layer: Image) -> None:
        """Redraw a layer whose voxels changed in place."""
        for view in self.views:
            draw = display.redraw if view.follower is None else view.follower.redraw
            draw(layer, view.canvas.canvas)
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
            view.bar.tell(legend=legend if view.name == place else None)
            view.arrows.tell(field=self.stage.overlay.field)
        self.lightbox.films.set_legend(legend)

    def _follow_look(self, look: ViewLook, _before: ViewLook | None = None) -> None:
        self.stage.set_deface(look.deface)
        self.show_legend()


MM, PIXEL = "mm", "pixel"
#: In the metadata of layers that are taken as millimetres without saying so.
NO_UNIT = "stylegan3d-no-unit"


#: A double click takes no longer.
TWICE_S = 1.0


class FourViews(QtWidgets.QWidget):
    """Puts napari's own canvas (the axial view) and three followers into a 2 x 2 grid.

    Their settings are `looks`; closing `links` returns the canvas to napari.
    """

    def __init__(self, window: QtWidgets.QMainWindow) -> None:
        super().__init__()
        self.setObjectName("views")
        self.looks = LookModel(self)
        self._staged: StagedViews | None = None
        self._ranges: np.ndarray | None = None
        self._place = canvases.CanvasPlace(window)
        self.viewer: ViewerModel = self._place.canvas.viewer
        self.links = Links()
        self.links.callback(self._vanish)
        self._units = self.links.enter_context(Links())
        for layer in self.viewer.layers:
            self._in_mm(layer)
        self._volume = VolumeLook()
        self._grid, self.readout = canvases.ViewGrid(), ReadoutBar()
        self.lightbox = Lightbox(self.viewer, self.looks)
        self.panes = Panes(self.viewer, self.looks)
        self.lightbox.films.marked.connect(self.panes.update)
        self.marks = marks.Marks(self.viewer, self.looks, self)
        #: When the mouse was last pressed in a plane, and where the crosshair was before.
        self._pressed: tuple[float, tuple[float, ...]] = (0.0, ())
        self._lay_out()
        self.views = self._make_views()
        flat = [(view.plane, view.model) for view in self.views if view.plane]
        for part in (self.lightbox, self.panes):
            self.links.enter_context(part.links)
        self._cameras = canvases.LinkedCameras(flat, self.links)
        for _plane, model in flat:
            self.links.callback(navigation.uninstall, model, navigation.install(model))
            model.mouse_drag_callbacks.insert(0, self._on_press)
            self.links.callback(model.mouse_drag_callbacks.remove, self._on_press)
            model.mouse_move_callbacks.append(self._on_pointer)
            self.links.callback(model.mouse_move_callbacks.remove, self._on_pointer)
        self.links.callback(marks.install(self.marks, [model for _, model in flat]))
        self._fitting = canvases.ViewFitter(self.viewer, self.reset, self)
        for timer in self._fitting.timers:
            self.links.callback(timer.stop)
        self._fitting.views = self.views
        self._connect()
        self._follow_look(self.looks.look, None)
        self.refresh()

    def view(self, name: str) -> canvases.View:
        """The view called Axial, Sagittal, Coronal or 3D."""
        return next(view for view in self.views if view.name == name)

    def watch(self, stage: Stage) -> None:
        """Connect this stage's window and level to the mouse, and show its colour bar."""
        parts = self.views, self.looks, self.readout, self.lightbox
        self._staged = StagedViews(stage, *parts, self.links)
        self.panes.stage = stage
        self.links.connect(stage.settled, self._on_settled)

    def watch_keys(self, window: QWindow) -> None:
        """Let Page Up and Down, Home and End scroll the view under the mouse."""
        flat = [(view.canvas.canvas.native, view.model) for view in self.views if view.plane]
        self.links.watch(navigation.SliceKeys(flat, self.panes, self.panes.turn_slices), window)

    def set_message(self, text: str) -> None:
        """Set the text in empty views, such as what is being loaded."""
        for view in self.views[:1]:
            view.crosshair.tell(message=text)

    def hold(self) -> None:
        """Freeze the views until `release`, while torch is imported.

        scipy, which napari's 3D camera uses, looks for torch among the imported modules and fails
        on one that another thread has only partly imported. It caches the result per number type,
        so the camera is turned and drawn once now.
        """
        canvases.draw_all(self.views)
        self._grid.setEnabled(False)

    def release(self) -> None:
        """End `hold`."""
        self._grid.setEnabled(True)

    def set_dragged(self, dragged: bool) -> None:
        """During a drag, update the 3D view less often."""
        for view in self.views:
            if view.follower:
                view.follower.set_dragged(dragged)

    def refresh(self, _: Any = None) -> None:
        """Update captions and readout from the layers and the crosshair."""
        provenance, below = display.shown(self.viewer), display.shown(self.viewer, overlays=False)
        point = self.viewer.dims.point
        for view in self.views:
            view.labels.tell(
                provenance=provenance if view.plane else below,
                point=point if self.viewer.layers else (),
            )
            if view.plane:  # painting over a canvas redraws it, which is slow in 3D
                view.crosshair.update()
        self.readout.show_point(self.viewer)
        if self._staged is not None:
            self._staged.show_levels()

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
                display.orient(view.model, view.plane, self.looks.look.facing)
            else:
                display.orient_volume(view.model)
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
            if not panes:  # before the views are drawn
                self._fitting.fit()

    def setFocus(
        self, reason: Qt.FocusReason = Qt.FocusReason.OtherFocusReason
    ) -> None:  # napari calls it when a notification over the views closes
        """Give the keys to the axial view, unless a control outside the views has them.

        A focus proxy would do this too, but then the Tab key leaves out what is below the views.
        """
        now = QtWidgets.QApplication.focusWidget()
        if now is None or self.isAncestorOf(now):
            self.view("Axial").canvas.canvas.native.setFocus(reason)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fit again, unless the user has zoomed."""
        super().resizeEvent(event)
        self._on_resized()

    def go_to(self, point_mm: tuple[float, ...]) -> None:
        """Move the crosshair to the voxel nearest to a point."""
        self.viewer.dims.point = navigation.nearest_voxel(self.viewer, point_mm)

    def _in_mm(self, layer: Layer) -> None:
        """Take the voxels of a layer without units as millimetres, until the views close."""
        if all(str(unit) == PIXEL for unit in layer.units):
            layer.units = (MM,) * layer.ndim
            layer.metadata[NO_UNIT] = True
            self._units.callback(setattr, layer, "units", (PIXEL,) * layer.ndim)

    def _vanish(self) -> None:
        # References to this widget must not keep the closed window alive.
        self.views.clear()
        self._staged = None
        self._grid.forget()
        controls.discard(self)

    def _lay_out(self) -> None:
        column = controls.stack(on=self, spacing=0)
        for widget in (self._grid, self.lightbox, self.panes):
            column.addWidget(widget, stretch=1)
        column.addWidget(self.readout)
        self.lightbox.hide()
        self.panes.hide()

    def _make_views(self) -> list[canvases.View]:
        self._place.take(self, self._grid, display.AXIAL.name)
        canvases.finish_in_own_context(self._place.canvas)
        views = [canvases.make_view(display.AXIAL, self.viewer, self._place.canvas, self.marks)]
        for plane in (display.SAGITTAL, display.CORONAL, None):
            follower = Follower(self.viewer, plane, self._volume)
            canvas = canvases.make_canvas(follower.model)
            self._grid.put(plane.name if plane else "3D", canvas)
            view = canvases.make_view(plane, follower.model, canvas, self.marks)
            view.follower = follower
            views.append(view)
        self._grid.even()
        self._place.canvas.show()
        for view in views:
            if view.follower:
                self.links.callback(view.canvas.close)
                self.links.enter_context(view.follower.links)
        self.links.callback(self._place.give_back)
        for view in views:
            self.links.enter_context(view.links)
        return views

    def _connect(self) -> None:
        layers = self.viewer.layers.events
        self.links.connect(self.viewer.dims.events.point, self.refresh)
        self.links.connect(self.viewer.dims.events.range, self._on_range)
        self.links.connect(layers.inserted, self._on_layers)
        self.links.connect(layers.removed, self._on_layers)
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
            self._fitting.fit_soon.start()

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
            view.labels.tell(pointed=f"Pointer {value:.3g}" if here else "")

    def _on_tool(self, tool: str) -> None:
        """A cross where the next drag draws a measurement."""
        shape = Qt.CursorShape.CrossCursor if tool else Qt.CursorShape.ArrowCursor
        for view in self.views:
            if view.plane:
                view.canvas.canvas.native.setCursor(shape)

    def _on_layers(self, event: Any) -> None:
        if event.type == "inserted":
            self._in_mm(event.value)
            event.value.events.visible.connect(self.refresh)
            if self.viewer.dims.ndim == 3 and tuple(self.viewer.dims.order) != display.AXIAL.order:
                self.viewer.dims.order = display.AXIAL.order
        else:
            event.value.events.visible.disconnect(self.refresh)
        self._thicken()
        self.refresh()

    def _on_range(self, _: Any) -> None:
        ranges = navigation.grid_mm(self.viewer)
        if self._ranges is None or canvases.is_elsewhere(self._ranges, ranges):
            self._fitting.reset_soon.start()
        else:
            self._fitting.snap_soon.start()
        self._ranges = ranges

    def _on_fitted(self) -> None:
        self.lightbox.films.refit()
        self.refresh()

    def _follow_look(self, look: ViewLook, before: ViewLook | None) -> None:
        for view in self.views:
            view.crosshair.tell(shown=look.crosshair)
            if view.plane:
                view.labels.tell(lettered=look.letters, scale_bar=look.scale_bar)
        if before is None or look.linked != before.linked:
            self._cameras.set_linked(look.linked)
        if before is None or look.facing != before.facing:
            self._turn(look.facing)
        arranged = (look.layout, look.alone)
        if before is None or arranged != (before.layout, before.alone):
            self._arrange()
            self._fitting.fit_soon.start()
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
        films = look.layout == "lightbox" and not row
        self.setUpdatesEnabled(False)  # else a canvas is drawn for every size on its way
        self._grid.arrange(look)
        seen: QtWidgets.QWidget = self.lightbox if films else self.panes if row else self._grid
        parts: tuple[QtWidgets.QWidget, ...] = self.lightbox, self.panes, self._grid
        for part in parts:
            if part is not seen:
                part.hide()  # before the other takes its room
        seen.show()
        self.setUpdatesEnabled(True)

    def _thicken(self) -> None:
        look = self.looks.look
        thicken(look, [view.model for view in self.views if view.plane], self.viewer.layers)
        for view in self.views:
            if view.plane:
                view.labels.tell(slab=in_words(look))

    def _restyle(self) -> None:
        for view in self.views:
            if view.plane is None and view.follower is not None:
                view.follower.restyle()

    def _turn(self, facing: display.Facing) -> None:
        for view in self.views:
            if view.plane:
                display.orient(view.model, view.plane, facing)
                view.labels.tell(letters=view.plane.letters_in(facing))
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


def all_pictures(views: FourViews, scale: float) -> QImage:
    """The visible views, arranged as on the screen, `scale` times as large; 0 for printing."""
    shown = [view for view in views.views if view.canvas.isVisible()]
    if not shown:
        picture = views.picture().toImage()
        width = round(picture.width() * (scale or canvases.print_scale(picture.width())))
        return picture.scaledToWidth(width, Qt.TransformationMode.SmoothTransformation)
    natives = [view.canvas.canvas.native for view in shown]
    places = [QRect(native.mapTo(views, QPoint(0, 0)), native.size()) for native in natives]
    around = reduce(QRect.united, places)
    scale = canvases.possible_scale(around.width(), around.height(), scale)
    whole = QImage(around.size() * scale, QImage.Format.Format_RGB32)
    whole.fill(Qt.GlobalColor.darkGray)
    with painting(whole, smooth=False) as painter:
        for view, place in zip(shown, places, strict=True):
            corner = (place.topLeft() - around.topLeft()) * scale
            painter.drawImage(corner, canvases.view_picture(view.canvas, scale))
    return whole
