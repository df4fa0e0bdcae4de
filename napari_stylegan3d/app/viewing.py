"""The views with their stage, settings and theme."""

import gc
from functools import partial
from typing import Any

from qtpy.QtCore import QEvent, QObject, QPoint, QPropertyAnimation, Qt, Signal
from qtpy.QtGui import QCursor
from qtpy.QtWidgets import QDialog, QFrame, QLabel, QMainWindow, QWidget

from napari_stylegan3d.app.walkthrough import StepCard
from napari_stylegan3d.core.change_maps import SurfaceMap
from napari_stylegan3d.core.jobs import SELDOM
from napari_stylegan3d.core.rendering import DisplayController, Rendering
from napari_stylegan3d.views.canvases import RepaintPacer
from napari_stylegan3d.views.display import KEY
from napari_stylegan3d.views.four import FourViews
from napari_stylegan3d.views.layers import DifferenceOverlay
from napari_stylegan3d.views.look import CUT_LIMITS, LookModel, ViewLook, look_form, show_in
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import Links, scaled, single_shot
from napari_stylegan3d.widgets.settings import THEME, settings
from napari_stylegan3d.widgets.theme import FocusRing, ThemedWidgets
from stylegan3d.session.provenance import Provenance

#: For each axis the two sides that can be cut away.
SIDES = (("right", "left"), ("anterior", "posterior"), ("superior", "inferior"))
#: Common width, so that the three sliders are aligned.
SIDE_PX = 108
#: The same of the labels beside the sliders.
LABEL_PX = 84


class CutRow(QWidget):
    """One clipping plane: on or off, side, position."""

    def __init__(self, axis: int, looks: LookModel) -> None:
        super().__init__()
        self.axis, self.looks = axis, looks
        name = f"views.cut.{axis}"
        self.on = controls.check(name, "Cut", "Cut away one side of the head in the 3D view.")
        self.side = controls.combo(
            f"views.cut_side.{axis}",
            "Side of the head that is cut away.",
            zip(SIDES[axis], (True, False), strict=True),
        )
        self.side.setFixedWidth(controls.scaled(SIDE_PX))
        self.position = controls.SliderRow(
            f"views.cut_position.{axis}",
            "",
            (*CUT_LIMITS, 1, 0),
            " mm",
            f"Position of the cut, in mm from the centre of the picture ({CUT_LIMITS[0]:g} to "
            f"{CUT_LIMITS[1]:g}).",
        )
        self.setLayout(controls.row(self.on, self.side, self.position, stretch=2))
        self.on.toggled.connect(lambda on: self._change(on=on))
        self.side.activated.connect(lambda _: self._change(upper=self.side.currentData()))
        self.position.valueChanged.connect(lambda value, _: self._change(position_mm=value))

    def show_look(self, look: ViewLook) -> None:
        """Show the cut of a look."""
        cut = look.cuts[self.axis]
        controls.show_value(self.on, cut.on)
        self.side.setCurrentIndex(self.side.findData(cut.upper))
        self.position.set_value(cut.position_mm)
        controls.enable(cut.on, self.side, self.position)

    def _change(self, **changes: object) -> None:
        self.looks.set(self.looks.look.with_cut(self.axis, **changes))


class VolumeSettings(QWidget):
    """The 3D part of the popup."""

    def __init__(self, looks: LookModel) -> None:
        super().__init__()
        self.form = look_form(looks, ("rendering", "surface"))
        self.rendering, self.surface = map(self.form.native, self.form.fields)
        self.surface.label.setFixedWidth(controls.scaled(LABEL_PX))
        self.cuts = [CutRow(axis, looks) for axis in range(3)]
        controls.stack(controls.heading("3D"), self.rendering, self.surface, *self.cuts, on=self)
        looks.changed.connect(lambda look, _: self._show(look))
        self._show(looks.look)

    def _show(self, look: ViewLook) -> None:
        show_in(self.form, look)
        self.surface.setVisible(look.rendering == "iso")
        for cut in self.cuts:
            cut.show_look(look)


WIDTH = 348
SIGNS = ("linked", "crosshair", "letters", "scale_bar", "outline", "deface")
#: Key, words and tooltip of each.
LAYOUTS = (
    ("four", "Four views", "Axial, sagittal, coronal and 3D side by side."),
    ("one", "Single", "One enlarged view; same as a double click on a view."),
    ("lightbox", "Lightbox", "Many slices of one plane side by side."),
)
THEMES = (
    ("dark", "Dark", "Dark window, for a reading room."),
    ("light", "Light", "Light window; pictures stay on black."),
)


class ViewSettings(QFrame):
    """Shows and changes the look; independent of viewers."""

    themeChosen = Signal(str)

    def __init__(
        self, looks: LookModel, overlay: DifferenceOverlay, parent: QWidget, links: Links
    ) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setObjectName("views.settings")
        self.looks, self.overlay = looks, overlay
        self.setFixedWidth(controls.scaled(WIDTH))
        self.layouts = controls.segments("views.layout", LAYOUTS, self._arrange)
        self.form = look_form(looks, ("alone", "convention", "nose", "slab", "slab_mm", *SIGNS))
        self.alone, self.slab_mm = self.form.native("alone"), self.form.native("slab_mm")
        self.volume = VolumeSettings(looks)
        self.difference = self._make_difference()
        self.themes = controls.segments("views.theme", THEMES, self.themeChosen.emit)
        self.levels_reset = controls.push_button("views.levels_reset")
        self.look_reset = controls.push_button("views.look_reset")
        self.look_reset.clicked.connect(self._reset)
        self._lay_out()
        looks.changed.connect(self._show)
        links.callback(self.hide)
        links.connect(overlay.changed, self._show_difference)
        self._show(looks.look)
        self._show_difference()

    def open_at(self, button: QWidget, beside: QWidget) -> None:
        """Open to the right of `beside`, bottom at the button, within the screen."""
        controls.fit_window(self)
        corner = beside.mapToGlobal(QPoint(beside.width() + 4, 0))
        bottom = button.mapToGlobal(QPoint(0, button.height())).y()
        room = button.screen().availableGeometry()
        x = max(room.left(), min(corner.x(), room.right() - self.width()))
        y = max(room.top(), min(bottom - self.height(), room.bottom() - self.height()))
        self.move(x, y)
        self.show()
        self.layouts[self.looks.look.layout].setFocus()

    def _arrange(self, layout: str) -> None:
        self.looks.change(layout=layout)
        self._show(self.looks.look)

    def _make_difference(self) -> QWidget:
        self.threshold = controls.SliderRow(
            "views.threshold",
            "Hide below",
            (0, 100, 1, 10),
            " %",
            "Hide differences smaller than this share of the colour bar, 0 to 100 %.",
            label_width=LABEL_PX,
        )
        self.opacity = controls.SliderRow(
            "views.opacity",
            "Opacity",
            (0, 100, 1, 80),
            " %",
            "Opacity of the difference overlay, 0 to 100 %.",
            label_width=LABEL_PX,
        )
        self.threshold.valueChanged.connect(self._set_threshold)
        self.opacity.valueChanged.connect(lambda value, _: self.overlay.set_opacity(value / 100))
        part = QWidget()
        controls.stack(
            controls.heading("Difference"), self.threshold, self.opacity, on=part, spacing=-1
        )
        return part

    def _lay_out(self) -> None:
        native = self.form.native
        controls.stack(
            controls.row(*self.layouts.values(), spacing=0),
            self.alone,
            controls.row(native("convention"), native("nose")),
            controls.row(native("slab"), self.slab_mm, stretch=0),
            *map(native, SIGNS),
            self.difference,
            controls.line(),
            self.volume,
            controls.line(),
            controls.row(*self.themes.values(), spacing=0),
            controls.row(self.levels_reset, self.look_reset),
            on=self,
            margins=(14, 14, 14, 14),
        )

    def _show(self, look: ViewLook, _before: ViewLook | None = None) -> None:
        self.layouts[look.layout].setChecked(True)
        self.alone.setVisible(look.layout == "one")
        show_in(self.form, look)
        self.slab_mm.setEnabled(look.slab != "none")
        controls.fit_window(self)

    def _show_difference(self) -> None:
        legend = self.overlay.legend
        self.difference.setVisible(legend is not None)
        if legend is not None:
            self.threshold.set_value(round(100 * legend.threshold / legend.limit))
            self.opacity.set_value(round(100 * self.overlay.opacity))
        controls.fit_window(self)

    def _set_threshold(self, percent: float, _live: Any = None) -> None:
        if self.overlay.legend is not None:
            self.overlay.set_threshold(percent / 100 * self.overlay.legend.limit)

    def _reset(self) -> None:
        self.looks.set(ViewLook())
        self.levels_reset.click()


MARGIN_PX = 8
#: Height of the longest caption at the bottom of a view, with margin.
CAPTION_PX = 84
#: Object name of moved notifications.
NAME = "views.toast"
HERE = Qt.FindChildOption.FindDirectChildrenOnly


class Toasts(QObject):
    """Moves notifications from napari's canvas to the lower right of all views, above captions."""

    def __init__(self, views: FourViews, links: Links) -> None:
        super().__init__(views)
        self._views = views
        self._canvas = views.view("Axial").canvas.canvas.native
        self.told = ""
        self._soon = single_shot(self, self._take)
        links.watch(self, self._canvas, views)
        links.callback(self._soon.stop)
        links.callback(lambda: [toast.close() for toast in self._taken()])

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Detect new notifications and window resizes."""
        added = watched is self._canvas and event.type() == QEvent.Type.ChildAdded
        # It is not created yet; and napari moves it whenever its canvas changes its size.
        if added or event.type() == QEvent.Type.Resize:
            self._soon.start(0)
        return False

    def _taken(self) -> list[QDialog]:
        return self._views.findChildren(QDialog, NAME, HERE)

    def _take(self) -> None:
        for toast in self._canvas.findChildren(QDialog, options=HERE):
            if not toast.testAttribute(Qt.WidgetAttribute.WA_DeleteOnClose):
                continue  # napari's activity dialog is there, too
            if self.told in [label.text() for label in toast.findChildren(QLabel) if label.text()]:
                toast.close()
                continue
            toast.setObjectName(NAME)
            hidden = toast.isHidden()
            for animation in toast.findChildren(QPropertyAnimation, options=HERE):
                if bytes(animation.propertyName()) == b"geometry":
                    animation.stop()  # would move it back to the canvas
            toast.setParent(self._views, toast.windowFlags())
            toast.setVisible(not hidden)  # not `show`, which restarts napari's animation
            toast.raise_()
            # A mouse that rests where it appears, or a later one, would keep it for ever.
            toast.timer_stop()
            single_shot(toast, partial(self._end, toast, QCursor.pos())).start(toast.DISMISS_AFTER)
        for toast in self._taken():
            self._place(toast)

    def _end(self, toast: QDialog, pointer: QPoint) -> None:
        """Close it, unless the mouse was moved over it to read or expand it."""
        if toast.underMouse() and QCursor.pos() != pointer:
            single_shot(toast, partial(self._end, toast, pointer)).start(toast.DISMISS_AFTER)
        else:
            toast.close_with_fade()

    def _place(self, toast: QDialog) -> None:
        """Place it where it hides no caption, no card and nothing of the strips below."""
        views = self._views
        cards = [
            card.y() for card in views.findChildren(StepCard, options=HERE) if card.isVisible()
        ]
        bottom = min([views.readout.y() - scaled(CAPTION_PX), *(y - MARGIN_PX for y in cards)])
        corner = QPoint(views.width() - MARGIN_PX - toast.width(), bottom - toast.height())
        toast.move(max(corner.x(), 0), max(corner.y(), 0))


class ViewsController(QObject):
    """Creates the views and their settings.

    Parameters
    ----------
    window : QMainWindow
        napari's window.
    comparison : DisplayController
        Provides the stage.
    explorer : QWidget
        The dock, which follows the theme too.
    links : Links
        Of what restores the window.
    """

    def __init__(
        self, window: QMainWindow, comparison: DisplayController, explorer: QWidget, links: Links
    ) -> None:
        super().__init__(explorer)
        self.comparison = comparison
        #: The viewer's own title, without a patient.
        self._title = comparison.stage.viewer.title
        stage = comparison.stage
        self.views = FourViews(window)
        links.enter_context(self.views.links)
        self.views.watch(stage)
        handle = window.windowHandle()
        if handle is not None:
            self.views.watch_keys(handle)
        self.settings = ViewSettings(self.views.looks, stage.overlay, self.views, links)
        self.focus_ring = FocusRing((explorer, self.views), links)
        self.themed = ThemedWidgets(self.views.viewer, (explorer, self.views), links)
        self.toasts = Toasts(self.views, links)
        self.surface_map = SurfaceMap(stage, self.views, self, links)
        self.pacing = RepaintPacer(window, self, links)
        chosen = str(settings().value(THEME, ""))
        if chosen in {key for key, *_words in THEMES}:
            self.views.viewer.theme = chosen
        links.connect(self.views.viewer.events.theme, self._show_theme)
        self.views.readout.menu.clicked.connect(self._open)
        self.settings.themeChosen.connect(self._choose_theme)
        self.settings.levels_reset.clicked.connect(stage.reset_levels)
        self.views.looks.changed.connect(self._on_look)
        self._rendering: Rendering | None = None
        self._links = links
        links.connect(comparison.session.modelChanged, self._outline)
        links.callback(setattr, self.views.viewer, "title", self._title)
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
        self._links.callback(setattr, rendering, "sliced_at", lambda: None)
        self._links.connect(self.views.viewer.dims.events.point, self._slice_elsewhere)
        rendering.prepared.connect(set_aside)
        rendering.awaited.connect(self.pacing.hold)
        rendering.shown.connect(self.pacing.release)
        rendering.failed.connect(self.pacing.release)

    def _open(self) -> None:
        self.settings.open_at(self.views.readout.menu, self.views)

    def _choose_theme(self, name: str) -> None:
        self.views.viewer.theme = name
        settings().setValue(THEME, name)
        self._show_theme()

    def _show_theme(self, _: Any = None) -> None:
        self.settings.themes[self.themed.kind].setChecked(True)

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
    """Leave existing objects out of the search for garbage, and search less often.

    An open window has half a million objects, which take 0.2 s to scan; those of a model go without
    being searched for when another one is opened.
    """
    gc.freeze()
    gc.set_threshold(*SELDOM)
