"""Compare: A, which is pinned, with B, which is shown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QImage
from qtpy.QtWidgets import (
    QGridLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QToolButton,
    QWidget,
)

from napari_stylegan3d.core.panel import ExplorerPanel
from napari_stylegan3d.core.thumbnails import scaled
from napari_stylegan3d.views.display import KEY
from napari_stylegan3d.views.slices import NUMBERS, Pane
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import Links
from napari_stylegan3d.widgets.forms import Form
from stylegan3d.measures.tissue_volumes import EXPLAINED, SMALL, TOLD, VOLUMES
from stylegan3d.scans.verdicts import SIMILARITY
from stylegan3d.session.provenance import Provenance, subject_of
from stylegan3d.settings.option import ComparisonSettings

if TYPE_CHECKING:
    from napari_stylegan3d.core.rendering import DisplayController
    from napari_stylegan3d.core.session import Session
    from napari_stylegan3d.views.four import FourViews
    from stylegan3d.measures.similarity import PairFigures
    from stylegan3d.recipe.recipe import Recipe

#: Besides the brain that is shown.
MOST = len(NUMBERS) - 1
ROWS_SEEN = 3


class RowBox(QWidget):
    """The brains of the row, with buttons to add and remove them."""

    def __init__(self) -> None:
        super().__init__()
        self.list = controls.named(
            QListWidget(), "compare.row_list", "The brains beside the current one, from the left."
        )
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.list.setFixedHeight((ROWS_SEEN + 1) * self.list.fontMetrics().lineSpacing())
        self.add = controls.push_button("compare.row_add")
        self.remove = controls.push_button("compare.row_remove")
        self.note = controls.hint(name="compare.row_note")
        controls.stack(
            self.list, controls.row(self.add, self.remove, stretch=0), self.note, on=self
        )

    def show_row(self, names: list[str], why_not: str) -> None:
        """List the columns; `why_not` says why the current picture cannot be added."""
        self.list.clear()
        for number, name in zip(NUMBERS, names, strict=False):
            item = QListWidgetItem(f"{number}: {name}", self.list)
            item.setToolTip(name)
        self.add.setEnabled(not why_not)
        self.remove.setEnabled(bool(names))
        controls.show_text(self.note, why_not)


#: What a column keeps of a picture, beside its voxels.
KEPT = ("scale", "translate", "colormap", "contrast_limits")


class RowController(QObject):
    """Holds the columns that were added, and shows them with the current picture.

    Each column is a picture as it was shown, with its own caption: whose it is does not change when
    another patient is opened.
    """

    def __init__(
        self, comparison: DisplayController, box: RowBox, parent: QObject, links: Links
    ) -> None:
        super().__init__(parent)
        self.comparison, self.box = comparison, box
        self.views: FourViews | None = None
        self._kept: list[Pane] = []
        self.shown = False
        box.add.clicked.connect(self.add)
        box.remove.clicked.connect(lambda: self.remove(box.list.currentRow()))
        links.callback(setattr, self, "views", None)
        links.callback(self._kept.clear)
        links.connect(comparison.viewChanged, self._follow)
        links.connect(comparison.stage.levelsChanged, self._on_levels)
        self._follow()

    def show(self, shown: bool) -> None:
        """Show the columns instead of the four views, or end that."""
        if self.views is not None and self.shown and not shown:
            self.views.show_row([])
        self.shown = shown
        self._follow()

    def add(self) -> None:
        """Keep the current picture as a column."""
        current = self._current
        if current is None or self._why_not():
            return
        layer = current.layer
        look = {name: getattr(layer, name) for name in KEPT}
        kept = Image(layer.data, metadata={KEY: current.provenance}, **look)
        self._kept.append(Pane(kept, current.title))
        self._follow()

    def remove(self, place: int) -> None:
        """Remove a column by its place; -1 for the last."""
        if self._kept:
            self._kept.pop(place if 0 <= place < len(self._kept) else -1)
        self._follow()

    def clear(self) -> None:
        """Remove all columns, such as for another model, whose space is another."""
        self._kept.clear()
        self._follow()

    @property
    def _current(self) -> Pane | None:
        """What is on the screen."""
        shown = self.comparison
        layer = shown.stage.layer
        told = None if layer is None else layer.metadata.get(KEY)
        if layer is None or not isinstance(told, Provenance):
            return None
        title = told.caption.split("\n")[0]
        if shown.is_picture and shown.recipe is not None:
            title = subject_of(shown.session, shown.recipe)
        return Pane(layer, title)

    def _why_not(self) -> str:
        """Why the current picture cannot be a column beside others; empty if it can."""
        session = self.comparison.session
        if len(self._kept) >= MOST:
            return "Four brains fit: remove one to add another."
        if session.state.what == "scan" and session.placed is None:
            return "Align the scan first: until then it is not in the same space as the others."
        if self._current is None or self.comparison.is_preview:
            return "Wait for the full volume."
        return ""

    def _follow(self, _view: str = "") -> None:
        names = [pane.title for pane in self._kept]
        self.box.show_row(names, self._why_not())
        current = self._current
        if self.views is not None and self.shown:
            self.views.show_row([] if current is None else [*self._kept, current])

    def _on_levels(self) -> None:
        if self.shown and self.views is not None:
            for pane in self._kept:
                if not is_difference(pane):
                    pane.layer.contrast_limits = self.comparison.stage.limits
            self.views.panes.update()


def is_difference(pane: Pane) -> bool:
    """Whether a column shows a difference, which has colours of its own."""
    return pane.provenance is not None and pane.provenance.kind == "difference"


ALIKE = (
    (
        "Mean difference",
        "mean_difference",
        "Mean of |B − A| in the union of both brains, in % of the brightest tissue.",
    ),
    (SIMILARITY["ssim"][0], "ssim", SIMILARITY["ssim"][2]),
    (SIMILARITY["psnr"][0], "psnr_db", SIMILARITY["psnr"][2]),
)
NONE = "–"


class FiguresBox(QWidget):
    """Likeness, and the volumes of A and B beside each other."""

    def __init__(self) -> None:
        super().__init__()
        self.labels: dict[str, QLabel] = {}
        grid = controls.grid(self, 12, 4)
        for row, (text, key, tip) in enumerate(ALIKE):
            self._put(grid, row, text, tip, key, 3)
        for column, text in enumerate(("ml", "A", "B", "B − A")):
            head = controls.label(text, "hint")
            side = Qt.AlignmentFlag.AlignRight if column else Qt.AlignmentFlag.AlignLeft
            grid.addWidget(head, len(ALIKE), column, side)
        for row, key in enumerate(TOLD, len(ALIKE) + 1):
            text, tip = (VOLUMES[key], f"Volume in millilitres. {EXPLAINED[key]}")
            for column, which in enumerate(("a", "b", "change"), 1):
                self._put(grid, row, text if column == 1 else "", tip, f"{key}.{which}", column)
        self.how = controls.hint("", "compare.volumes_by")
        grid.addWidget(self.how, len(ALIKE) + len(TOLD) + 1, 0, 1, 4)
        self.show_figures(None)

    def _put(self, grid: QGridLayout, row: int, text: str, tip: str, key: str, column: int) -> None:
        if text:
            grid.addWidget(controls.label(text, "", tip=tip), row, 0)
        label = controls.label("", "figure", f"compare.{key}", tip)
        grid.addWidget(label, row, column, Qt.AlignmentFlag.AlignRight)
        self.labels[key] = label

    def show_figures(self, figures: PairFigures | None, withheld: str = "") -> None:
        """Write them; None while there are none. Volumes may be `withheld`, with the reason."""
        for key, text in in_words(figures, withheld).items():
            self.labels[key].setText(text)
        told = "" if figures is None else f"Volumes {withheld or figures.how}."
        controls.show_text(self.how, told)


def in_words(figures: PairFigures | None, withheld: str = "") -> dict[str, str]:
    """Each figure as it is written, by its key."""
    keys = [key for _, key, _ in ALIKE]
    keys += [f"{key}.{which}" for key in TOLD for which in ("a", "b", "change")]
    words = dict.fromkeys(keys, NONE)
    if figures is None:
        return words
    words["mean_difference"] = f"{100 * figures.mean_difference:.1f} %"
    words["ssim"] = f"{figures.ssim:.3f}"
    words["psnr_db"] = "identical" if math.isinf(figures.psnr_db) else f"{figures.psnr_db:.1f} dB"
    for key in () if withheld else TOLD:
        a, b = figures.a[key], figures.b[key]
        decimals = 1 if key in SMALL else 0
        for which, value, sign in (("a", a, ""), ("b", b, ""), ("change", b - a, "+")):
            if math.isfinite(value):
                words[f"{key}.{which}"] = f"{value:{sign}.{decimals}f}"
    return words


MODES = controls.texts("compare")
#: A's thumbnail.
PICTURE = 64
NOTHING = "Nothing yet: pin the current brain, or choose one."


class ComparePanel(ExplorerPanel):
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
        self.a = controls.hint("", "compare.a", "What B is compared with.", "")
        self.b = controls.hint("", "compare.b", "The current brain; change it as you like.", "")
        self.pin = controls.push_button("compare.pin", role="primary")
        self.choose = controls.tool_button("compare.choose")
        self.choose.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.choose.setProperty("role", "menu")
        self.choices = QMenu(self)
        self.choose.setMenu(self.choices)
        self.swap = controls.tool_button("compare.swap")
        self.unpin = controls.tool_button("compare.unpin")

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
        row = controls.row
        self._a_box = QWidget()
        controls.stack(
            controls.heading("A · pinned"),
            row(self.picture, self.a, stretch=1),
            row(self.pin, self.choose, self.swap, self.unpin, stretch=0),
            controls.line(),
            on=self._a_box,
            spacing=self.column.spacing(),
        )
        self.column.addWidget(self._a_box)
        self.column.addWidget(controls.heading("B · current"))
        self.column.addWidget(self.b)
        buttons = list(self.modes.values())
        rows = (row(*some, spacing=1) for some in (buttons[:3], buttons[3:]))
        controls.section(self.column, "Mode", *rows, *self._options.values())
        #: What says something of A.
        self._with_a = (
            controls.hint("Hold B, or the space bar over the views, to see A.", "compare.hint"),
            controls.line(),
            controls.heading("Difference"),
            self.figures,
        )
        for widget in self._with_a:
            self.column.addWidget(widget)
        self.column.addStretch(1)

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
        controls.reveal(self._has_a and self._mode != "row", *self._with_a)

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
