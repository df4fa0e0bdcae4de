"""An interpolation from brain to brain: key frames, a position, and playback."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QHideEvent, QImage, QShowEvent
from qtpy.QtWidgets import QDoubleSpinBox, QWidget

from napari_stylegan3d.browse.gallery import GalleryCell, ThumbnailGrid
from napari_stylegan3d.widgets import controls
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.recipe.description import describe_recipe
from stylegan3d.recipe.keyframes import joined, leg_at, walk
from stylegan3d.recipe.recipe import Recipe

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from napari_stylegan3d.core.thumbnails import Thumbnails
    from stylegan3d.model.generator import Generator

COLUMNS, CELL = 5, 62
MOST_STOPS = 20
OWNER = "browse.walk"
#: Interval between steps during playback; a preview takes about as long.
TICK_MS = 66
EMPTY = "Add two or more brains, then drag the slider from one to the next, or press Play."
AS_LATENTS = (
    "These brains differ in truncation, labels or mixes, so the path interpolates their "
    "latents, which already include these."
)
ONE_MORE = "Add another brain: choose one above, then add it."


class InterpolationBox(QWidget):
    """Moves the current brain along straight lines between the key frames, and back.

    The position is an ordinary recipe; the key frames are stored only here.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.thumbnails: Thumbnails | None = None
        self.stops: tuple[Recipe, ...] = ()
        self._model = ""
        self._sent: Recipe | None = None
        self._since, self._from = 0.0, 0.0
        self.add = controls.push_button(
            "Add this brain",
            "browse.walk_add",
            "Add the current brain as the next key frame.",
        )
        self.favourites = controls.push_button(
            "Add favourites",
            "browse.walk_favourites",
            "Add all favourites as key frames, in order.",
        )
        self.clear = controls.push_button("Clear", "browse.walk_clear", "Remove all key frames.")
        self.strip = ThumbnailGrid(
            "browse.walk_stops", COLUMNS, 1, self._image, CELL, ("", "✕"), Qt.Key.Key_Delete
        )
        self.strip.setToolTip(
            "The key frames, in order: click to go there, ✕ or Delete to remove one."
        )
        self.position = controls.SliderRow(
            "browse.walk_position",
            "",
            (0.0, 100.0, 1.0, 0.0),
            " %",
            "Position along the path, 0 to 100 % from the first key frame to the last.",
        )
        self.play = controls.push_button(
            "▶ Play", "browse.walk_play", "Move back and forth until you stop it.", checkable=True
        )
        self.seconds = _make_seconds()
        self.note = controls.hint(EMPTY, "browse.walk_note")
        self._timer = QTimer(self)
        self._timer.setInterval(TICK_MS)
        self._lay_out()
        self._connect()
        self._show_stops()

    def _lay_out(self) -> None:
        controls.stack(
            controls.row(self.add, self.favourites, self.clear, stretch=0),
            self.strip,
            self.position,
            controls.row(self.play, self.seconds, stretch=1),
            self.note,
            on=self,
            spacing=8,
        )

    def _connect(self) -> None:
        session = self.session
        self.add.clicked.connect(lambda: self._set_stops((*self.stops, session.brain)))
        self.favourites.clicked.connect(self._add_favourites)
        self.clear.clicked.connect(lambda: self._set_stops(()))
        self.strip.picked.connect(self._go_to_stop)
        self.strip.moved.connect(self._step)
        self.strip.starred.connect(self._remove)
        self.position.valueChanged.connect(self._on_position)
        self.play.toggled.connect(self._on_play)
        self._timer.timeout.connect(self._on_tick)
        session.recipeChanged.connect(self._on_recipe)
        session.modelChanged.connect(self._on_model)
        session.favourites.changed.connect(self._show_stops)

    def use(self, thumbnails: Thumbnails) -> None:
        """Show the key frames with these thumbnails."""
        self.thumbnails = thumbnails
        thumbnails.ready.connect(lambda recipe, _: self.strip.show_ready(recipe))

    def stop(self) -> None:
        """Play no longer."""
        self._timer.stop()
        self.play.setChecked(False)

    def showEvent(self, event: QShowEvent) -> None:
        """Ask for the key frames' thumbnails."""
        super().showEvent(event)
        self._want()

    def hideEvent(self, event: QHideEvent) -> None:
        """Cancel the thumbnails."""
        if self.thumbnails is not None:
            self.thumbnails.drop(OWNER)
        super().hideEvent(event)

    def _image(self, recipe: Recipe) -> QImage | None:
        return None if self.thumbnails is None else self.thumbnails.image(recipe)

    def _want(self) -> None:
        if self.thumbnails is not None and self.isVisible():
            self.thumbnails.want(OWNER, self.stops)

    def _add_favourites(self) -> None:
        new = [f.recipe for f in self.session.favourites.items if f.recipe not in self.stops]
        self._set_stops((*self.stops, *new))

    def _remove(self, index: int) -> None:
        self._set_stops(self.stops[:index] + self.stops[index + 1 :])

    def _set_stops(self, stops: tuple[Recipe, ...]) -> None:
        """Set new key frames if possible; as latents where recipes cannot."""
        self.stop()
        session, said = self.session, ""
        if session.generator is not None:
            try:
                kept = joined(stops[:MOST_STOPS], session.generator, session.folder)
            except StyleGAN3DError as error:
                self.note.setText(str(error))
                return
            said = "" if kept == stops[:MOST_STOPS] else AS_LATENTS
            stops = kept
        self.stops = stops
        self._show_stops()
        self._want()
        self.note.setText(said or self._words())

    def _show_stops(self) -> None:
        cells = []
        for recipe in self.stops:
            words = describe_recipe(recipe)
            cells.append(GalleryCell(recipe, words.partition(",")[0], words))
        self.strip.set_rows(max(-(-len(cells) // COLUMNS), 1))
        self.strip.setVisible(bool(cells))
        self.strip.show_cells(cells, self._current_stop())
        for control in (self.position, self.play, self.seconds):
            control.setEnabled(len(cells) >= 2)
        self.clear.setEnabled(bool(cells))
        self.favourites.setEnabled(bool(self.session.favourites.items))
        self.note.setText(self._words())

    def _current_stop(self) -> int | None:
        recipe = self.session.recipe
        return self.stops.index(recipe) if recipe and recipe in self.stops else None

    def _words(self) -> str:
        """Current position of the interpolation."""
        if len(self.stops) < 2:
            return ONE_MORE if self.stops else EMPTY
        leg, t = leg_at(len(self.stops), self.position.value() / 100)
        first, second = (describe_recipe(stop) for stop in self.stops[leg : leg + 2])
        if self.session.recipe != self._sent:
            return f"{len(self.stops)} key frames; the current brain is not on the path."
        return f"{100 * t:.0f} % of the way from {first} to {second}."

    def _on_position(self, percent: float, live: bool) -> None:
        self.stop()
        self._go(percent / 100, live)

    def _go_to_stop(self, index: int) -> None:
        self.stop()
        if len(self.stops) < 2:
            self.session.change(self.stops[index])
            return
        position = index / (len(self.stops) - 1)
        self.position.set_value(100 * position)
        self._go(position, live=False)

    def _step(self, by: int) -> None:
        current = self._current_stop()
        index = 0 if current is None else current + by
        if 0 <= index < len(self.stops):
            self._go_to_stop(index)

    def _go(self, position: float, live: bool) -> None:
        """Show the brain at a position, 0 to 1."""
        if self.session.generator is None or len(self.stops) < 2:
            return
        self._sent = walk(self.stops, position, self.session.generator.num_layers)
        self.session.change(self._sent, live=live, gesture="" if live else "browse.walk")

    def _on_play(self, playing: bool) -> None:
        self.play.setText("⏸ Pause" if playing else "▶ Play")
        if playing:
            self._since, self._from = time.monotonic(), self.position.value() / 100
            self._timer.start()
        elif self._timer.isActive():  # stopped by the user: the current brain becomes an undo step
            self._timer.stop()
            self._go(self.position.value() / 100, live=False)

    def _on_tick(self) -> None:
        whole = self.seconds.value() * (len(self.stops) - 1)
        along = (self._from + (time.monotonic() - self._since) / whole) % 2.0
        position = round(along if along <= 1 else 2 - along, 3)
        self.position.set_value(100 * position)
        self._go(position, live=True)

    def _on_recipe(self, recipe: Recipe, _live: bool) -> None:
        if recipe != self._sent:
            self.stop()
            self._sent = None
        if self.isVisible():
            self.strip.show_cells(self.strip.cells, self._current_stop())
            self.note.setText(self._words())

    def _on_model(self, generator: Generator) -> None:
        """With another model the key frames would be other brains."""
        if generator.hash != self._model:
            self._model = generator.hash
            self._set_stops(())


def _make_seconds() -> QDoubleSpinBox:
    tip = "Time from one key frame to the next, 1 to 60 s."
    return controls.number("browse.walk_seconds", tip, (1, 60), " s per section", value=4)
