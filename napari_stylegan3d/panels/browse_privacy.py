"""Privacy: how near the brain that is shown comes to the people the model learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_stylegan3d import controls

if TYPE_CHECKING:
    from stylegan3d.metrics.privacy_index import Nearness

ABOUT = (
    "Is this brain close to one of those the model learned from? Only features of these are\n"
    "compared, 448 numbers for each; no image of them comes with the model."
)
MISSING = "This model comes without features of the brains it learned from."
UNCHECKED = "This brain is not checked yet."
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
            "Compare the features of the brain that is shown to those of the training brains.\n"
            "It takes about a second.",
        )
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(controls.row(self.told, self.check, stretch=0))
        self.offer(False)

    def offer(self, possible: bool) -> None:
        """Whether the model lets brains be checked."""
        self.check.setEnabled(possible)
        self.say(UNCHECKED if possible else MISSING)

    def say(self, text: str, tip: str = ABOUT) -> None:
        """Write a sentence in place of what stands there."""
        self.told.setText(text)
        self.told.setToolTip(tip)

    def show_nearness(self, found: Nearness) -> None:
        """Write what was found."""
        self.say(in_words(found), f"{ABOUT}\n{details(found)}")


def in_words(found: Nearness) -> str:
    """Such as "Nearest of 222 training brains: farther than 93 % of strangers are."."""
    start = f"Nearest of {found.people} training brains"
    if found.farther_than == 0:
        return f"{start}: nearer than any of {found.strangers} strangers is."
    if found.farther_than == 1:
        return f"{start}: farther than any of {found.strangers} strangers is."
    # 99.6 % of strangers are not all of them.
    percent = min(max(round(100 * found.farther_than), 1), 99)
    return f"{start}: farther than {percent} % of strangers are."


def details(found: Nearness) -> str:
    """What the sentence means."""
    image = "the mirror image of one of them" if found.mirrored else "one of them"
    return (
        f"Distance of features {found.distance:.3f}, to {image}. Strangers are real people who are "
        "held against\nthe training people other than themselves. A copy would be nearer than all "
        "of them; a few per cent\nare nothing unusual."
    )
