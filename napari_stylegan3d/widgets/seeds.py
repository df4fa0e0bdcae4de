"""Choosing a random brain by its number."""

from __future__ import annotations

import random

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QSpinBox, QWidget

from napari_stylegan3d.widgets import controls

#: Random seeds stay below this, so that they are easy to read out and remember.
DICE_BELOW = 100_000
#: What a Qt spin box can hold.
LARGEST_SEED = 2**31 - 1


class SeedPicker(QWidget):
    """A number with previous, next and dice; parts are `panel.seed`, `panel.previous` ..."""

    seedChanged = Signal(int)

    def __init__(self, panel: str) -> None:
        super().__init__()
        tip = (
            "Number (seed) of a random brain: the same number always gives the same brain\n"
            f"(0 to {LARGEST_SEED})."
        )
        self.spin = controls.whole_number(f"{panel}.seed", tip, (0, LARGEST_SEED))
        self.spin.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
        previous = controls.push_button("◀", f"{panel}.previous", "Previous number.")
        following = controls.push_button("▶", f"{panel}.next", "Next number.")
        dice = controls.push_button("Random", f"{panel}.dice", "Random brain.")
        for button in (previous, following):
            button.setFixedWidth(controls.scaled(36))
        previous.clicked.connect(lambda: self._go(self.spin.value() - 1))
        following.clicked.connect(lambda: self._go(self.spin.value() + 1))
        dice.clicked.connect(lambda: self._go(random.randrange(DICE_BELOW)))
        self.spin.valueChanged.connect(self.seedChanged)
        self.setLayout(controls.row(self.spin, previous, following, dice, stretch=0))

    def set_seed(self, seed: int) -> None:
        """Show a number without emitting signals."""
        controls.show_value(self.spin, min(seed, LARGEST_SEED))

    def _go(self, seed: int) -> None:
        self.set_seed(max(seed, 0))
        self.seedChanged.emit(self.spin.value())
