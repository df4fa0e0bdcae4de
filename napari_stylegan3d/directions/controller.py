"""What the Directions panel needs computed: previews on a strip, and what the edits changed."""

import threading
from collections.abc import Hashable

from qtpy.QtCore import QEvent, QObject, QPoint, Qt, Signal
from qtpy.QtGui import QEnterEvent, QHideEvent
from qtpy.QtWidgets import QFrame, QWidget

from napari_stylegan3d.core.panel import Context
from napari_stylegan3d.core.rendering import by_content
from napari_stylegan3d.core.session import report_error, sentence, telling
from napari_stylegan3d.core.thumbnails import Gallery, PictureButton, Thumbnails
from napari_stylegan3d.core.worker import LatestWins, Newest
from napari_stylegan3d.directions import files
from napari_stylegan3d.directions.list import DirectionRow, Range
from napari_stylegan3d.directions.panel import DirectionsPanel
from napari_stylegan3d.views.display import DisplayArray, upright
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import single_shot
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.session.workspace import StateChange

STEPS_SD = (-2, -1, 0, 1, 2)
SIDE = 96
#: How long the mouse must stay before the strip opens, and be away before it closes.
OPEN_MS, CLOSE_MS = 250, 300


class Strip(QFrame):
    """Opens while the mouse is on a row's button, or until it is closed once it was clicked.

    Parameters
    ----------
    parent : QWidget
        The dock; the strip opens left of it, over the views.
    """

    #: Strength of the picture that was clicked.
    picked = Signal(float)
    #: It opens: its pictures are needed.
    wanted = Signal()

    def __init__(self, thumbnails: Thumbnails, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.ToolTip)
        self.setObjectName("directions.strip")
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.kept = False
        self.gallery = Gallery(thumbnails, "directions.strip", self)
        self.title = controls.heading("")
        self.buttons = [
            PictureButton(f"directions.strip.{k}", f"Set to {step:+d} sd.", SIDE)
            for k, step in enumerate(STEPS_SD)
        ]
        for step, button in zip(STEPS_SD, self.buttons, strict=True):
            button.set_caption(f"{step:+d} sd" if step else "0")
            button.setCheckable(True)
            button.clicked.connect(lambda _=False, s=step: self.picked.emit(float(s)))
        pictures = controls.row(*self.buttons, spacing=3)
        controls.stack(self.title, pictures, on=self, spacing=5, margins=(8, 6, 8, 8))
        controls.name_for_readers(self)
        self._anchor: QWidget | None = None
        self._open = single_shot(self, self.show_now, OPEN_MS)
        self._close = single_shot(self, self.hide, CLOSE_MS)

    def blank(self) -> None:
        """What is drawn, or is to be, is of another brain."""
        self.gallery.stop()
        for button in self.buttons:
            button.show_picture(None)

    def look(self, anchor: QWidget, looking: bool) -> None:
        """The mouse came to, or left, the button of a row."""
        if self.kept:
            return
        if looking:
            self._anchor = anchor
            self._close.stop()
            self._open.start()
        else:
            self._open.stop()
            self._close.start()

    def keep(self, anchor: QWidget) -> None:
        """Open and stay, or close if it stayed open for this button."""
        if self.kept and self._anchor is anchor and self.isVisible():
            self.hide()
            return
        self._anchor = anchor
        self.show_now()
        self.kept = True

    def show_now(self) -> None:
        """Open beside the button."""
        self._open.stop()
        self._close.stop()
        if self._anchor is None or not self._anchor.isVisible():
            return
        self.wanted.emit()
        self.adjustSize()
        dock, corner = self.parentWidget(), self._anchor.mapToGlobal(QPoint(0, 0))
        left = (dock.mapToGlobal(QPoint(0, 0)).x() if dock else corner.x()) - self.width() - 6
        self.move(max(left, 0), max(corner.y() - self.height() // 2, 0))
        self.show()

    def let_go(self) -> None:
        """Close, and forget the button, which may be deleted."""
        self._open.stop()
        self._anchor = None
        self.hide()

    def show_recipes(self, title: str, recipes: list[Recipe], current: float) -> None:
        """Ask for the pictures of five recipes; the middle ones first."""
        self.title.setText(title)
        pairs = dict(zip(self.buttons, recipes, strict=True))
        for step, button in zip(STEPS_SD, self.buttons, strict=True):
            button.setChecked(abs(step - current) < 0.05)
            if button.recipe != pairs[button]:
                button.show_picture(None)
        outward = sorted(pairs, key=lambda b: abs(self.buttons.index(b) - 2))
        self.gallery.show({button: pairs[button] for button in outward})

    def enterEvent(self, event: QEnterEvent) -> None:
        """The mouse went from the button to the pictures."""
        super().enterEvent(event)
        self._close.stop()

    def leaveEvent(self, event: QEvent) -> None:
        """The mouse left the pictures."""
        super().leaveEvent(event)
        if not self.kept:
            self._close.start()

    def hideEvent(self, event: QHideEvent) -> None:
        """Cancel the pictures."""
        self.kept = False
        self._open.stop()
        self._close.stop()
        self.gallery.stop()
        super().hideEvent(event)


#: How long the picture must have rested before its change is measured, which takes a second.
REST_MS = 500
CHANGE = "Change by the edit"
#: Effects that are kept, with their difference of two volumes.
KEPT = 4


class DirectionsController(QObject):
    """Brings the Directions panel together with what works behind it."""

    def __init__(self, context: Context, panel: DirectionsPanel) -> None:
        super().__init__(context.dock)
        self.panel, self.session = panel, context.session
        self.rendering, self.comparison = context.render, context.comparison
        self.files = files.DirectionFiles(context, panel)
        self.strip = Strip(context.thumbnails, panel)
        self._row: DirectionRow | None = None
        self.measuring = LatestWins(
            files.EffectMeasurer(), self, self._on_measured, self._on_failed
        )
        self._request: files.EffectRequest | None = None
        self.locating = LatestWins(
            files.seen_from, self, self._on_located, lambda asked, _: self._on_located(asked, {})
        )
        self._located: files.SeenRequest | None = None
        #: What was measured, by what it was measured of.
        self._kept: Newest[Hashable, files.MeasuredEffect] = Newest(KEPT)
        self.measured: files.MeasuredEffect | None = None
        self._overlaid = False
        # The average brain of compared people, their difference, and what it is.
        self._people: tuple[Recipe, DisplayArray, str] | None = None
        self._rest = single_shot(self, self._measure, REST_MS)
        context.links.callback(self._let_go)
        context.links.callback(self._forget)
        self._connect()

    def _connect(self) -> None:
        panel = self.panel
        panel.looked.connect(self._look)
        panel.previewed.connect(self._keep_open)
        panel.seen.connect(self._on_seen)
        panel.effect.what.activated.connect(lambda _: self._on_chosen())
        panel.effect.show_in_views.toggled.connect(lambda _: self._overlay())
        self.files.people.wanted.connect(self._show_people)
        self.strip.wanted.connect(self._show_strip)
        self.strip.picked.connect(self._pick)
        self.session.changed.connect(self._on_change)
        self.session.recipeChanged.connect(self._on_recipe)
        self.session.modelChanged.connect(lambda _: self._forget())
        for slot in (self._let_go, self._locate):
            panel.entriesChanged.connect(slot)
        self.rendering.shown.connect(lambda *_: self._again())
        self.comparison.viewChanged.connect(lambda _: self._overlay())

    def _on_seen(self, seen: bool) -> None:
        if not seen:
            self.strip.let_go()
            self.panel.effect.show_in_views.setChecked(False)
        self._locate()
        self._again()

    def _locate(self) -> None:
        """Find how far the training subjects are from the brain without its edits."""
        generator, entries = self.session.generator, tuple(self.panel.entries.values())
        if generator is None or not entries or not self.panel.isVisible() or self.locating.closed:
            return
        wanted = files.SeenRequest(self.session.brain.replace(edits=()), generator, entries)
        if wanted != self._located:
            self._located = wanted
            self.panel.show_seen({})
            self.locating.submit(wanted)

    def _on_located(self, request: files.SeenRequest, seen: dict[str, Range]) -> None:
        if request == self._located:
            self.panel.show_seen(seen)

    @property
    def _is_edited(self) -> bool:
        recipe = self.session.recipe
        return recipe is not None and bool(recipe.edits)

    def _on_change(self, change: StateChange) -> None:
        """Nothing of another brain stays."""
        if change.another_subject:
            self._let_go()
        if change.another_subject or change.before.recipe != change.now.recipe:
            self._forget()

    def _on_recipe(self, _recipe: Recipe | None, live: bool) -> None:
        self._locate()
        self._show_known()
        if self.strip.isVisible() and not live:
            self._show_strip()
        elif self.strip.isVisible() and self._steps() != [b.recipe for b in self.strip.buttons]:
            self.strip.blank()

    def _on_chosen(self) -> None:
        """Another edit is to be told apart."""
        self._forget()
        self._show_known()
        self._again()

    def _show_known(self) -> None:
        """Show what was measured of this very brain before, if anything was."""
        if not self._is_edited:
            return
        self.measured = self._kept.get(self._made_of)
        if self.measured is None:
            self.panel.effect.show_waiting()
        else:
            self.panel.effect.show_effect(self.measured.effect, self.measured.back)
        self._overlay()

    @property
    def _made_of(self) -> Hashable:
        """What an effect is measured of: the brain, the edit and the model."""
        recipe, generator = self.session.state.drawn, self.session.generator
        model = None if generator is None else (generator.hash, generator.affine.tobytes())
        known = recipe and recipe.with_paths(by_content)
        return known, self.panel.effect.direction, model

    def _forget(self) -> None:
        """What was measured, or is being measured, is of another brain."""
        self.panel.effect.show_waiting()
        self._rest.stop()
        if self._request is not None:
            self._request.stop.set()
        self._request = self.measured = None
        self._overlay()

    def _again(self) -> None:
        """Measure once the picture has rested, if there is anything to measure."""
        known = self.measured is not None
        if self.panel.isVisible() and self._is_edited and not known and not self.measuring.closed:
            self._rest.start()

    def _measure(self) -> None:
        picture, loaded = self.comparison.picture, self.rendering.loaded
        recipe, direction = self.session.state.drawn, self.panel.effect.direction
        if picture is None or loaded is None or recipe is None or self.rendering.busy:
            return  # the picture that is on its way starts the rest again
        if picture.quality != "full" or self.comparison.recipe != recipe:
            return
        known = self._request
        if known is not None and (known.recipe, known.direction) == (recipe, direction):
            return
        if known is not None:
            known.stop.set()
        entry = self.panel.entries.get(direction or "")
        attribute = entry.attribute if entry is not None else ""
        self.measured = None
        self._request = files.EffectRequest(
            recipe,
            picture.rendered.volume,
            loaded,
            direction,
            attribute,
            threading.Event(),
            self._made_of,
            self.session.withheld,
        )
        self.panel.effect.show_waiting(at_work=True)
        self.measuring.submit(self._request)

    def _on_measured(self, request: files.EffectRequest, measured: files.MeasuredEffect) -> None:
        self._kept[request.made_of] = measured
        if request is self._request:
            self._show_known()

    def _on_failed(self, request: files.EffectRequest, error: Exception) -> None:
        from stylegan3d.base import Cancelled

        if request is self._request and not isinstance(error, Cancelled):
            self.panel.effect.show_failure(sentence(error, "measuring the edit"))

    def _overlay(self) -> None:
        """Lay the difference over the views while the switch is on and it is of what they show."""
        overlay, generator = self.comparison.stage.overlay, self.session.generator
        wanted, people = self.panel.effect.show_in_views.isChecked(), self._of_people()
        if (
            wanted
            and self.comparison.is_picture
            and self.measured is not None
            and generator is not None
        ):
            self._overlaid = True
            overlay.show(upright(self.measured.change, generator.affine), CHANGE, "")
        elif people is not None and self.comparison.is_picture:
            self._overlaid = True
            overlay.show(*people, "%")
        elif self._overlaid:
            self._overlaid = False
            overlay.hide()

    def _show_people(self, compared: files.Compared, contrast: int) -> None:
        """Show the average brain of compared people, with their difference over it."""
        with telling(report_error, "showing the average brain"):
            found = self.session.with_source(compared.average(self.session.folder))
            recipe = found.replace(mix=None, edits=(), detail=None, label=None, model=None)
            change = upright(compared.changes[contrast], compared.generator.affine)
            self._people = recipe, change, compared.contrasts[contrast]
            self.panel.effect.show_in_views.setChecked(False)
            self.session.change(recipe)
            self._overlay()

    def _of_people(self) -> tuple[DisplayArray, str] | None:
        """The difference of compared people and its title, while their average is shown."""
        if self._people is None or self.session.recipe != self._people[0]:
            return None
        return self._people[1:]

    def _look(self, row: DirectionRow, looking: bool) -> None:
        if looking and not self.strip.kept:
            self._row = row
        self.strip.look(row.preview, looking)

    def _keep_open(self, row: DirectionRow) -> None:
        self._row = row
        self.strip.keep(row.preview)

    def _show_strip(self) -> None:
        row, panel = self._row, self.panel
        if row is None or row.entry.reference not in panel.entries:
            self._let_go()
            return
        self.strip.show_recipes(panel.notes.label_of(row.entry), self._steps(), row.row.value())

    def _steps(self) -> list[Recipe]:
        """This brain at each of `STEPS_SD` along the direction that the strip is open for."""
        if self._row is None:
            return []
        reference, panel, recipe = self._row.entry.reference, self.panel, self.session.brain
        return [panel.with_strength(recipe, reference, float(step)) for step in STEPS_SD]

    def _let_go(self) -> None:
        """Rows may be removed: forget the one the strip belongs to."""
        self._row = None
        self.strip.let_go()

    def _pick(self, strength: float) -> None:
        if self._row is not None:
            self.panel.set_strength(self._row.entry.reference, strength)
