"""The latent map in the Browse panel: axes, plot, and what the place means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPointF, QSignalBlocker, QSize
from qtpy.QtGui import QColor, QHideEvent, QPainter, QPaintEvent, QShowEvent
from qtpy.QtWidgets import QComboBox, QLabel, QSizePolicy, QWidget

from napari_stylegan3d.browse import map_ink as ink
from napari_stylegan3d.browse.map_jobs import Places
from napari_stylegan3d.browse.map_plot import Kind, LatentPlot, Mark
from napari_stylegan3d.widgets import controls

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from stylegan3d.directions.latent_map import Plane
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.recipe import Recipe

WAITING = "Sampling random brains of this model…"
GROWING = "{words} {count} random brains are sampled so far."
TOO_FEW = "No map: this model has fewer than two directions."
TITLE_LENGTH = 24
SIGNS = (
    ("here", "this brain"),
    ("favourite", "favourite"),
    ("scan", "scan"),
    ("truncated", "truncated"),
)


class MapBox(QWidget):
    """Map of the current brain, favourites and projected scans; a click or drag moves there.

    Travelling replaces the recipe's edits along the two axes.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.places = Places(self)
        self.plane: Plane | None = None
        #: Position of this recipe's brain without the edits along the axes.
        self._start: tuple[Recipe, np.ndarray] | None = None
        self.plot = LatentPlot()
        self.x = _axis_box("browse.map_x", "Direction of the horizontal axis.")
        self.y = _axis_box("browse.map_y", "Direction of the vertical axis.")
        self.reset = controls.tool_button(
            controls.RESET_GLYPH,
            "browse.map_reset",
            "Undo the edits along both axes.",
        )
        self.note = controls.hint(name="browse.map_note")
        self.legend = Legend()
        self._lay_out()
        self._connect()
        self._show_parts()

    def _lay_out(self) -> None:
        column = controls.stack(on=self)
        self.axes = QWidget()
        axes = controls.row(QLabel("→"), self.x, QLabel("↑"), self.y, self.reset)
        axes.setStretch(1, 1)
        axes.setStretch(3, 1)
        self.axes.setLayout(axes)
        for part in (self.axes, self.plot, self.legend, self.note):
            column.addWidget(part)

    def _connect(self) -> None:
        session = self.session
        session.recipeChanged.connect(lambda *_: self.refresh())
        session.projectedChanged.connect(self.refresh)
        session.favourites.changed.connect(self.refresh)
        session.modelChanged.connect(self._on_model)
        self.places.surveyed.connect(self._on_surveyed)
        self.places.grown.connect(self._show_plane)
        self.places.located.connect(self.refresh)
        self.places.failed.connect(self._on_failed)
        self.x.currentIndexChanged.connect(self._on_axes)
        self.y.currentIndexChanged.connect(self._on_axes)
        self.reset.clicked.connect(self._reset)
        self.plot.travelled.connect(self._travel)
        self.plot.chosen.connect(lambda recipe: session.change(recipe))

    def showEvent(self, event: QShowEvent) -> None:
        """Compute what was skipped while the map was hidden."""
        super().showEvent(event)
        self.places.set_seen(True)
        self.refresh()

    def hideEvent(self, event: QHideEvent) -> None:
        """Stop computing: nobody looks."""
        self.places.set_seen(False)
        super().hideEvent(event)

    def refresh(self) -> None:
        """Show the current brain and the others, as far as their positions are known."""
        if self.plane is None or not self.isVisible():
            return
        recipe = self.session.recipe
        marked = self._marked(recipe)
        here = self.plot.here
        if not self.plot.dragging:
            self.places.want([recipe, *(r for _, _, r in marked)])
            here = self._at(recipe) if self.places.knows(recipe) else here
        marks = [
            Mark(kind, at, label, r) for kind, label, r in marked if (at := self._at(r)) is not None
        ]
        self.plot.show_brains(here, marks, self._spread(recipe))
        self.reset.setEnabled(any(e.direction in self.plane.names for e in recipe.edits))
        if here is not None:
            words = place_in_words(self.plane, here, recipe.label is not None)
            if not self.places.is_complete:
                words = GROWING.format(words=words, count=len(self.plane.points))
            self.note.setText(words)

    def _marked(self, recipe: Recipe) -> list[tuple[Kind, str, Recipe]]:
        """Brains other than the current one: kind, label, recipe."""
        scans: list[tuple[Kind, str, Recipe]] = [
            ("scan", p.name, self.session.with_source(p.source).replace(mix=None, edits=()))
            for p in self.session.projected
            if p.source is not None
        ]
        return scans + [
            ("favourite", f.note or _short(f.recipe), f.recipe)
            for f in self.session.favourites.items
        ]

    def _at(self, recipe: Recipe) -> np.ndarray | None:
        """Place on the plane."""
        assert self.plane is not None
        place = self.places.of(recipe)
        if place is None or not np.isfinite(place).all():  # edited beyond all numbers
            return None
        return place[list(self.plane.axes)]

    def _spread(self, recipe: Recipe) -> float | None:
        """Spread of random brains after truncation; None where it does not apply."""
        if self.session.generator is None or not recipe.has_seed:
            return None
        from stylegan3d.directions.latent_map import spread

        return spread(recipe.truncation, self.session.generator.num_layers)

    def _on_model(self, generator: Generator) -> None:
        self.places.forget(generator)
        if self.places.survey is None:
            self.plane = None
            self.note.setText(WAITING)
        self._show_parts()
        self.refresh()

    def _on_surveyed(self) -> None:
        survey, generator = self.places.survey, self.session.generator
        if survey is None or generator is None:
            return
        directions = generator.directions
        entries = []
        for name in survey.names:
            share = directions.explained_variance[directions.names.index(name)]
            text = f"{name} · {100 * share:.0f} %" if share >= 0.005 else name
            entries.append((text, name, directions.descriptions.get(name, "")))
        for box, first in ((self.x, 0), (self.y, 1)):
            controls.fill(box, entries, survey.names[min(first, len(survey.names) - 1)])
        self._on_axes()

    def _on_axes(self, _: int = 0) -> None:
        """Other axes: the same two cannot be both."""
        survey = self.places.survey
        if survey is None:
            return
        self.plane = None
        if len(survey.names) < 2:
            self.note.setText(TOO_FEW)
        else:
            if self.x.currentIndex() == self.y.currentIndex():
                other = self.y if self.sender() is self.x else self.x
                with QSignalBlocker(other):
                    other.setCurrentIndex((other.currentIndex() + 1) % other.count())
            self.plane = survey.plane(self.x.currentData(), self.y.currentData())
        self._show_parts()
        self._show_plane()

    def _show_plane(self) -> None:
        """The axes, and the density of the brains sampled so far."""
        survey = self.places.survey
        if survey is None or self.plane is None:
            return
        from stylegan3d.directions.latent_map import contours

        self.plane = survey.plane(*self.plane.names)
        x, y = (self._axis_title(name) for name in self.plane.names)
        self.plot.show_axes((x, y), contours(self.plane.points))
        self.refresh()

    def _axis_title(self, name: str) -> str:
        """Such as "PC 1 (sd) → larger head"."""
        assert self.session.generator is not None
        summary = self.session.generator.directions.summary(name)
        return f"{name} (sd) → {summary.split(',')[0]}" if summary else f"{name} (sd)"

    def _show_parts(self) -> None:
        self._start = None
        for part in (self.axes, self.plot, self.legend):
            part.setVisible(self.plane is not None)

    def _travel(self, there: np.ndarray, live: bool) -> None:
        plane, generator = self.plane, self.session.generator
        start = self._start_of(self.session.recipe)
        if plane is None or generator is None or start is None:
            return
        arrived = plane.travel(self.session.recipe, start, np.round(there, 2))
        self._start = arrived, start
        self.session.change(arrived, live=live, gesture="" if live else "browse.map")

    def _start_of(self, recipe: Recipe) -> np.ndarray | None:
        """Position of the brain without edits along the axes; None while not known.

        What has just travelled started where it started: no need to wait until it is found again.
        """
        if self._start is not None and self._start[0] == recipe:
            return self._start[1]
        if self.plane is None or self.session.generator is None:
            return None
        at = self._at(recipe)
        return (
            None if at is None else self.plane.start(recipe, at, self.session.generator.num_layers)
        )

    def _reset(self) -> None:
        if self.plane is not None:
            recipe, names = self.session.recipe, self.plane.names
            kept = tuple(edit for edit in recipe.edits if edit.direction not in names)
            self.session.change(recipe.replace(edits=kept))

    def _on_failed(self, error: Exception) -> None:
        from napari_stylegan3d.core.messages import sentence

        self.plane = None
        self._show_parts()
        self.note.setText(sentence(error, "drawing the map"))


class Legend(QWidget):
    """What the signs on the map mean."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(self.sizeHint().height())
        self.setToolTip(
            "The areas contain 50, 80 and 95 % of random brains at truncation 1;\n"
            "the dashed line contains 95 % of those at the current truncation."
        )

    def sizeHint(self) -> QSize:
        """One line."""
        return QSize(320, self.fontMetrics().height() + 6)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Sign, word, sign, word."""
        painter = QPainter(self)
        colors, metrics = ink.inks(self), self.fontMetrics()
        middle, left = self.height() / 2, 12.0
        for kind, word in SIGNS:
            ink.draw_legend_sign(painter, kind, QPointF(left, middle), colors)
            painter.setPen(QColor(colors.hint))
            painter.drawText(QPointF(left + 13, middle + metrics.ascent() / 2 - 1), word)
            left += metrics.horizontalAdvance(word) + 36
        painter.end()


def place_in_words(plane: Plane, at: np.ndarray, labelled: bool) -> str:
    """Such as "PC 1 +0.8 sd, PC 2 -1.2 sd: as usual as most random brains."."""
    x, y = (f"{name} {value:+.1f} sd" for name, value in zip(plane.names, at, strict=True))
    share = plane.share_within(at)
    if share < 0.5:
        usual = "among the half of random brains closest to the average"
    elif share < 0.95:
        usual = f"{100 * share:.0f} % of random brains are closer to the average"
    else:
        usual = "farther out than nearly all random brains: expect artefacts"
    words = f"{x}, {y}: {usual}."
    return f"{words} Random brains have labels as in the training data." if labelled else words


def _short(recipe: Recipe) -> str:
    from stylegan3d.recipe.description import describe_recipe

    words = describe_recipe(recipe)
    return words if len(words) <= TITLE_LENGTH else f"{words[: TITLE_LENGTH - 1]}…"


def _axis_box(name: str, tip: str) -> QComboBox:
    box = controls.combo(name, f"{tip} The percentage is the share of the total variation.")
    box.setMinimumContentsLength(4)
    box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    return box
