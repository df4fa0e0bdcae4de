"""Compare: A, which is pinned, with B, which is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QImage
from qtpy.QtWidgets import (
    QLabel,
    QMenu,
    QToolButton,
    QWidget,
)

from napari_stylegan3d.compare.figures import FiguresBox
from napari_stylegan3d.compare.row import RowBox
from napari_stylegan3d.core.panel import Panel
from napari_stylegan3d.core.thumbnails import scaled
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.elided import WrappedLabel
from napari_stylegan3d.widgets.forms import Form
from stylegan3d.settings.comparison import ComparisonSettings

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from stylegan3d.recipe.recipe import Recipe

MODES = (
    ("off", "Off", "Show B alone."),
    (
        "side",
        "Side by side",
        "A to the left of B in every view; cameras and crosshair are linked.",
    ),
    ("curtain", "Curtain", "A to the left of the line, B to the right; drag the line."),
    ("flicker", "Flicker", "A and B alternately, in the planes."),
    (
        "difference",
        "Difference",
        "B, with colours where it is brighter or darker than A.",
    ),
    (
        "row",
        "Up to four",
        "Up to four brains or patients in columns, with one crosshair and one zoom.",
    ),
)
#: A's thumbnail.
PICTURE = 64
NOTHING = "Nothing yet: pin the current brain, or choose one."


class ComparePanel(Panel):
    """A with its source, the way to compare, and how different they are."""

    key = "Compare"
    title = "Compare"

    modeChosen = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._has_a, self._mode = False, "off"
        self._make_sides()
        self._make_modes()
        self.figures = FiguresBox()
        self._lay_out()
        self.show_pinned("", None)
        self.show_mode("off")

    def _make_sides(self) -> None:
        self.picture = controls.named(QLabel(), "compare.picture")
        self.picture.setFixedSize(PICTURE, PICTURE)
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.a = controls.named(WrappedLabel(), "compare.a", "What B is compared with.")
        self.b = controls.named(
            WrappedLabel(), "compare.b", "The current brain; change it as you like."
        )
        self.pin = controls.push_button(
            "Pin as A", "compare.pin", "Keep the current brain as A.", "primary"
        )
        self.choose = controls.tool_button(
            "Choose A ▾",
            "compare.choose",
            "Compare with the previous state, a favourite, a scan or its reconstruction.",
        )
        self.choose.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.choose.setProperty("role", "menu")
        self.choices = QMenu(self)
        self.choose.setMenu(self.choices)
        self.swap = controls.tool_button("Swap", "compare.swap", "Exchange A and B.")
        self.unpin = controls.tool_button("Unpin", "compare.unpin", "End the comparison.")

    def _make_modes(self) -> None:
        self.row = RowBox()
        self.modes = controls.segments("compare.mode", MODES, self.modeChosen.emit)
        form = Form(ComparisonSettings, "compare.")
        self.curtain, self.rate = form.native("curtain"), form.native("rate")
        self.threshold, self.form = form.native("threshold"), form
        self._options: dict[str, QWidget] = {
            "curtain": self.curtain,
            "flicker": self.rate,
            "difference": self.threshold,
            "row": self.row,
        }

    def _lay_out(self) -> None:
        add, row = self.column.addWidget, controls.row
        self._a_box = QWidget()
        controls.stack(
            controls.heading("A · pinned"),
            row(self.picture, self.a, stretch=1),
            row(self.pin, self.choose, self.swap, self.unpin, stretch=0),
            controls.line(),
            on=self._a_box,
            spacing=self.column.spacing(),
        )
        add(self._a_box)
        add(controls.heading("B · current"))
        add(self.b)
        add(controls.line())
        add(controls.heading("Mode"))
        buttons = list(self.modes.values())
        for some in (buttons[:3], buttons[3:]):
            self.column.addLayout(row(*some, spacing=1))
        for option in self._options.values():
            add(option)
        #: What says something of A.
        self._with_a = (
            controls.hint("Hold B, or the space bar over the views, to see A.", "compare.hint"),
            controls.line(),
            controls.heading("Difference"),
            self.figures,
        )
        for widget in self._with_a:
            add(widget)
        self.column.addStretch(1)

    def show_curtain(self, share: float) -> None:
        """The line was dragged in a view."""
        self.curtain.set_value(100 * share)

    def show_b(self, title: str) -> None:
        """Say what B is."""
        self.b.setText(title)

    def show_pinned(self, title: str, recipe: Recipe | None) -> None:
        """Say what A is; an empty title for nothing."""
        self.a.setText(title or NOTHING)
        controls.set_role(self.a, "" if title else "hint")
        self.picture.setVisible(recipe is not None)
        self.show_picture(None)
        for name, button in self.modes.items():
            button.setEnabled(bool(title) or name in ("off", "row"))
        self._has_a = bool(title)
        self._show_what_is_of_a()
        self.swap.setEnabled(recipe is not None)
        self.unpin.setEnabled(bool(title))
        if not title:
            self.figures.show_figures(None)

    def _show_what_is_of_a(self) -> None:
        """The columns of a row have letters of their own: A is none of them."""
        self._a_box.setVisible(self._mode != "row")
        for widget in self._with_a:
            widget.setVisible(self._has_a and self._mode != "row")

    def show_picture(self, image: QImage | None) -> None:
        """A's thumbnail, or that it is on its way."""
        if image is None:
            self.picture.setText("…")
        else:
            self.picture.setPixmap(scaled(image, PICTURE, self.devicePixelRatioF()))

    def show_mode(self, mode: str) -> None:
        """Press the mode's button and offer what belongs to it."""
        self.modes[mode].setChecked(True)
        self._mode = mode
        self._show_what_is_of_a()
        for name, option in self._options.items():
            option.setVisible(name == mode)
