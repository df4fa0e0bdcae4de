"""Ageing in years: one slider, from the age now; ages the model has not learned are coloured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import DecimalBox
from napari_stylegan3d.widgets.theme import SliderRange
from stylegan3d.directions.trajectory import Trajectory
from stylegan3d.errors import StyleGAN3DError

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.recipe import Recipe

#: (lowest, highest, step, default) of the slider, in years.
YEARS = (-40.0, 40.0, 1.0, 0.0)
#: Of the age now.
OLDEST_AGE = 110.0


class AgeingBox(QWidget):
    """How old the brain is, how much older it is to be, and what people of that age have."""

    changed = Signal(float, bool)
    """(strength along the direction of age, live)"""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("directions.ageing")
        self.trajectory: Trajectory | None = None
        self._of: object = None  # whose age it is
        self._given = False
        self._read: float | None = None
        self.years = controls.SliderRow(
            "directions.years",
            "Ageing",
            YEARS,
            " y",
            (
                "Age the brain by this many years, -40 to 40; orange: ages outside the "
                "training data."
            ),
        )
        self.unknown = SliderRange(self.years)
        self.age = controls.named(
            DecimalBox(),
            "directions.age",
            "Age now, in years, 0 to 110: the apparent age until you enter it.",
        )
        self.age.setRange(0, OLDEST_AGE)
        self.age.setDecimals(0)
        self.age.setSuffix(" years")
        self.age.setKeyboardTracking(False)
        self.estimate = controls.tool_button(
            controls.RESET_GLYPH, "directions.age_estimate", "Use the apparent age."
        )
        self.told = controls.hint(name="directions.age_text")
        self._lay_out()
        self.years.valueChanged.connect(self._on_years)
        self.age.valueChanged.connect(self._on_age)
        self.estimate.clicked.connect(self._on_estimate)
        self.hide()

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 0, 14, 0)
        column.setSpacing(3)
        label = QLabel("Age now")
        label.setBuddy(self.age)
        self.how = controls.hint(name="directions.age_how")
        column.addLayout(controls.row(label, self.age, self.estimate, self.how, stretch=3))
        column.addWidget(self.years)
        column.addWidget(self.told)

    def set_trajectory(self, trajectory: Trajectory | None) -> None:
        """Of a model; None hides the box."""
        self.trajectory, self._of, self._given = trajectory, None, False
        self.setVisible(trajectory is not None)

    def show_recipe(self, recipe: Recipe, generator: Generator | None) -> None:
        """Show the age of a brain and by how many years its edits age it."""
        if self.trajectory is None or generator is None:
            return
        whose = (recipe.source, recipe.mix, recipe.truncation, recipe.label)
        if whose != self._of:  # another brain: an age that was entered is not its own
            self._of, self._given = whose, False
            try:
                plain = recipe.replace(edits=()).latent(generator)
                self._read = self.trajectory.apparent_age(plain)
            except StyleGAN3DError:  # the views say why it cannot be shown
                self._read = None
            self._show_age(self._read)
        strength = sum(e.strength for e in recipe.edits if e.direction == self.trajectory.name)
        self.years.set_value(self.trajectory.years(strength))
        self.setEnabled(self._read is not None)
        self._show_expected()

    def _show_age(self, age: float | None) -> None:
        controls.show_value(self.age, round(age or 0))
        self._show_expected()

    def _show_expected(self) -> None:
        """Write what is expected, and colour what is not known."""
        trajectory = self.trajectory
        if trajectory is None:
            return
        now, years = self.age.value(), self.years.value()
        self.unknown.show_known(trajectory.youngest - now, trajectory.oldest - now)
        how = "as entered"
        if not self._given:
            how = "apparent age"
            if trajectory.error is not None:
                how = f"apparent age, ±\u00a0{trajectory.error:.0f}\u00a0years"
        self.how.setText(how)
        self.estimate.setEnabled(self._given)
        lines = trajectory.lines(now, now + years) if years else []
        self.told.setText("\n".join(lines))
        self.told.setVisible(bool(lines))

    def _on_years(self, years: float, live: bool) -> None:
        if self.trajectory is not None:
            self.changed.emit(self.trajectory.edit(years).strength, live)

    def _on_age(self, _age: float) -> None:
        self._given = True
        self._show_expected()

    def _on_estimate(self) -> None:
        self._given = False
        self._show_age(self._read)
