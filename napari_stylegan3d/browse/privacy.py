"""Privacy: how close the brain shown is to the subjects the model was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_stylegan3d.widgets import controls

if TYPE_CHECKING:
    from stylegan3d.evaluation.privacy_index import Nearness

ABOUT = (
    "Is this brain close to a training brain? Only features are compared, 448 numbers for\n"
    "each brain; the model contains no training images."
)
MISSING = "This model includes no features of its training brains."
UNCHECKED = "This brain has not been checked."
CHECKING = "Checking…"


class PrivacyBox(QWidget):
    """A sentence, and a button that asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self.told = controls.hint(UNCHECKED, "browse.privacy")
        self.told.setToolTip(ABOUT)
        self.check = controls.push_button(
            "Check",
            "browse.privacy_check",
            (
                "Compare the features of the current brain with those of the training "
                "brains.\n"
                "Takes about a second."
            ),
        )
        controls.stack(controls.row(self.told, self.check, stretch=0), on=self, spacing=-1)
        self.offer(False)

    def offer(self, possible: bool) -> None:
        """Whether the model lets brains be checked."""
        self.check.setEnabled(possible)
        self.say(UNCHECKED if possible else MISSING)

    def say(self, text: str, tip: str = ABOUT) -> None:
        """Replace the text shown with a sentence."""
        self.told.setText(text)
        self.told.setToolTip(tip)

    def show_nearness(self, found: Nearness) -> None:
        """Show the result."""
        self.say(in_words(found), f"{ABOUT}\n{details(found)}")


def in_words(found: Nearness) -> str:
    """Such as "Closest of 222 training brains: farther than 93 % of unrelated subjects."."""
    start = f"Closest of {found.people} training brains"
    if found.farther_than == 0:
        return f"{start}: closer than any of {found.strangers} unrelated subjects."
    if found.farther_than == 1:
        return f"{start}: farther than all of {found.strangers} unrelated subjects."
    # 99.6 % of strangers are not all of them.
    percent = min(max(round(100 * found.farther_than), 1), 99)
    return f"{start}: farther than {percent} % of unrelated subjects."


def details(found: Nearness) -> str:
    """What the sentence means."""
    image = "the mirror image of one of them" if found.mirrored else "one of them"
    return (
        f"Feature distance {found.distance:.3f}, to {image}. Unrelated subjects are real subjects "
        "compared with\n"
        "all training subjects except themselves. A copy would be closer than all of them; "
        "a few per cent\n"
        "is not unusual."
    )
