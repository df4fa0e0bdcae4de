"""Compare: A, which is pinned, with B, which is shown."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy import QtWidgets
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QImage

from napari_stylegan3d.core.jobs import Loaded, render_beside
from napari_stylegan3d.core.panel import ExplorerPanel
from napari_stylegan3d.core.rendering import by_content
from napari_stylegan3d.core.thumbnails import scaled
from napari_stylegan3d.core.worker import LatestWins
from napari_stylegan3d.views.display import KEY, DisplayArray, upright
from napari_stylegan3d.views.layers import SOLID
from napari_stylegan3d.views.slices import NUMBERS, Pane
from napari_stylegan3d.views.stage import DIFFERENCE_LIMITS
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.forms import Form
from stylegan3d.base import SessionError
from stylegan3d.measures.attributes import EXPLAINED, SMALL, TOLD, VOLUMES
from stylegan3d.scans.verdicts import SIMILARITY
from stylegan3d.session.provenance import Provenance, provenance_of_state, titled
from stylegan3d.session.state import IN_COLUMNS, MOST_COLUMNS, State
from stylegan3d.settings.option import ComparisonSettings

if TYPE_CHECKING:
    from napari_stylegan3d.core.panel import Context
    from napari_stylegan3d.core.session import Session
    from napari_stylegan3d.views.four import FourViews
    from stylegan3d.measures.similarity import PairFigures
    from stylegan3d.recipe.recipe import Recipe

ROWS_SEEN = 3


class RowBox(QtWidgets.QWidget):
    """The brains of the row, with buttons to add and remove them."""

    def __init__(self) -> None:
        super().__init__()
        self.list = controls.named(QtWidgets.QListWidget(), "compare.row_list")
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
            QtWidgets.QListWidgetItem(f"{number}: {name}", self.list).setToolTip(name)
        self.add.setEnabled(not why_not)
        self.remove.setEnabled(bool(names))
        controls.show_text(self.note, why_not)


COLUMN_LOST = "{name} could not be shown as a column again: open it, and add it once more."


class RowController(QObject):
    """Shows the columns of the state with the current picture.

    Each has its own caption: whose it is does not change when another patient is opened. Pictures
    that are not there, as in a session that was restored, are made again.
    """

    def __init__(self, context: Context, box: RowBox, parent: QObject) -> None:
        super().__init__(parent)
        self.session, self.comparison, self.box = context.session, context.comparison, box
        self.rendering = context.render
        self.views: FourViews | None = None
        #: The pictures of the columns, by what they are made from.
        self._made: dict[Hashable, Pane] = {}
        self._making = LatestWins(_make, self, self._on_made, self._on_lost)
        box.add.clicked.connect(self.add)
        box.remove.clicked.connect(self.remove)
        links = context.links
        links.callback(setattr, self, "views", None)
        links.callback(self._made.clear)
        links.connect(self.comparison.viewChanged, self.follow)
        links.connect(self.comparison.stage.levelsChanged, self._on_levels)
        self.follow()

    def add(self) -> None:
        """Keep the current picture as a column."""
        current, column = self._current, self.session.state.column
        if current is not None and not self._why_not():
            layer = current.layer
            shown = DisplayArray(layer.data, tuple(layer.scale), tuple(layer.translate))
            self._take(column, shown, layer.metadata[KEY])
            self.session.line_up((*self.session.state.row, column))

    def remove(self) -> None:
        """Remove the selected column, or the last."""
        row, place = list(self.session.state.row), self.box.list.currentRow()
        if row:
            row.pop(place)
            self.session.line_up(row)

    def follow(self, _view: str = "") -> None:
        """Show the columns there are, and make the next one that is not there."""
        row, current = self.session.state.row, self._current
        wanted = {_made_from(column): column for column in row}
        for gone in self._made.keys() - wanted.keys():
            del self._made[gone]
        panes = {column: self._made.get(made_from) for made_from, column in wanted.items()}
        names = [self._title(one) if pane is None else pane.title for one, pane in panes.items()]
        self.box.show_row(names, self._why_not())
        if self.views is not None and self.session.state.comparison == "row":
            there = [pane for pane in panes.values() if pane is not None]
            self.views.show_row([] if current is None else [*there, current])
        if self.rendering.loaded is not None and not self._making.busy:
            missing = [column for column, pane in panes.items() if pane is None]
            self._make(self.rendering.loaded, missing)

    def _title(self, column: State) -> str:
        return titled(provenance_of_state(self.session, column), column.drawn)

    def _make(self, loaded: Loaded, missing: Sequence[State]) -> None:
        """Make the first one whose scan is there, if it needs one."""
        for column in missing:
            case, drawn = column.case, column.drawn
            if drawn is not None and self.session.awaited(drawn) is not None:
                continue
            if column.what not in OF_SCANS or (case is not None and case.aligned is not None):
                self._making.submit((loaded, column))
                return
            if case is None or case.problem or case.scan is not None:  # it is not read any more
                self._on_lost((loaded, column), None)
                return

    def _on_made(self, request: tuple[Loaded, State], shown: DisplayArray) -> None:
        loaded, column = request
        if loaded is self.rendering.loaded:
            self._take(column, shown, provenance_of_state(self.session, column))
        self.follow()

    def _on_lost(self, request: tuple[Loaded, State], _error: Exception | None) -> None:
        """A column cannot be had."""
        if request[0] is not self.rendering.loaded:
            self.follow()
            return
        lost, name = _made_from(request[1]), self._title(request[1])
        self.session.messages.fail(SessionError(COLUMN_LOST.format(name=name)), "showing a column")
        self.session.line_up(one for one in self.session.state.row if _made_from(one) != lost)

    def _take(self, column: State, shown: DisplayArray, told: Provenance) -> None:
        """Have the picture of a column."""
        stage, differs = self.comparison.stage, told.kind == "difference"
        limits = stage.limits if differs == stage.is_difference else DIFFERENCE_LIMITS
        layer = Image(
            shown.data,
            metadata={KEY: told},
            colormap=SOLID if differs else "gray",
            contrast_limits=limits,
            **shown.layer_kwargs(),
        )
        self._made[_made_from(column)] = Pane(layer, titled(told, column.drawn))

    @property
    def _current(self) -> Pane | None:
        """What is on the screen."""
        layer = self.comparison.stage.layer
        told = None if layer is None else layer.metadata.get(KEY)
        if layer is None or not isinstance(told, Provenance):
            return None
        return Pane(layer, titled(told, self.comparison.recipe))

    def _why_not(self) -> str:
        """Why the current picture cannot be a column beside others; empty if it can."""
        session, state = self.session, self.session.state
        if state.what == "scan" and session.placed is None:
            return "Align the scan first: the others are in model space and would look black."
        if state.column.what not in IN_COLUMNS:
            return "Only scans, brains or differences fit: save this picture, open its file."
        if len(state.row) >= MOST_COLUMNS:
            return "Four brains fit: remove one to add another."
        if self._current is None or not (state.what == "scan" or self.comparison.is_current):
            return "Wait for the full volume."
        if _made_from(state.column) in map(_made_from, state.row):
            return "This picture is a column: open another brain or patient to compare with it."
        return ""

    def _on_levels(self) -> None:
        stage = self.comparison.stage
        if self.session.state.comparison == "row" and self.views is not None:
            for pane in () if stage.is_difference else self._made.values():
                if pane.provenance is not None and pane.provenance.kind != "difference":
                    pane.layer.contrast_limits = stage.limits
            self.views.panes.update()


#: Pictures that a case's aligned scan is needed for.
OF_SCANS = ("scan", "difference", "residual")


def _made_from(column: State) -> Hashable:
    """What the picture of a column is made from, wherever its files lie."""
    case, recipe = column.case, column.recipe
    lies = None if case is None or case.aligned is None else case.aligned.rigid.tobytes()
    read = None if case is None else case.choice
    return column.key, column.what, recipe and recipe.with_paths(by_content), read, lies


def _make(request: tuple[Loaded, State]) -> DisplayArray:
    """The picture of a column; runs in a thread."""
    loaded, column = request
    aligned = None if column.case is None else column.case.aligned
    if column.drawn is None or (aligned is not None and column.what == "scan"):
        assert aligned is not None
        return upright(aligned.volume, aligned.space.affine)
    picture = render_beside((loaded, column.drawn))
    if aligned is None or column.what not in OF_SCANS:
        return picture.shown
    difference = picture.on_grid(aligned.volume.shape) - aligned.volume
    return upright(difference, loaded.generator.affine)


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


class FiguresBox(QtWidgets.QWidget):
    """Likeness, and the volumes of A and B beside each other."""

    def __init__(self) -> None:
        super().__init__()
        self.labels: dict[str, QtWidgets.QLabel] = {}
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

    def _put(
        self, grid: QtWidgets.QGridLayout, row: int, text: str, tip: str, key: str, column: int
    ) -> None:
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
NO_SWAP = "Only a brain of the model can change places with B: A is a scan or empty."
NOTHING = "Nothing yet: pin the current brain, or choose one."


class ComparePanel(ExplorerPanel):
    """A with its source, the way to compare, and how different they are."""

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
        self.picture = controls.named(QtWidgets.QLabel(), "compare.picture")
        self.picture.setFixedSize(PICTURE, PICTURE)
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.a = controls.hint("", "compare.a", "What B is compared with.", "")
        self.b = controls.hint("", "compare.b", "The current brain; change it as you like.", "")
        self.pin = controls.push_button("compare.pin", role="primary")
        self.choose = controls.tool_button("compare.choose")
        self.choose.setPopupMode(QtWidgets.QToolButton.ToolButtonPopupMode.InstantPopup)
        self.choose.setProperty("role", "menu")
        self.choices = QtWidgets.QMenu(self)
        self.choose.setMenu(self.choices)
        self.swap = controls.tool_button("compare.swap")
        self.unpin = controls.tool_button("compare.unpin")

    def _make_modes(self) -> None:
        self.row = RowBox()
        self.modes = controls.segments("compare.mode", MODES, self.modeChosen.emit)
        form = Form(ComparisonSettings, "compare.")
        self.curtain, self.rate = form.native("curtain"), form.native("rate")
        self.threshold, self.form = form.native("threshold"), form
        self._options: dict[str, QtWidgets.QWidget] = {
            "curtain": self.curtain,
            "flicker": self.rate,
            "difference": self.threshold,
            "row": self.row,
        }

    def _lay_out(self) -> None:
        row = controls.row
        self._a_box = QtWidgets.QWidget()
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
        self._has_a = bool(title)
        self._show_what_is_of_a()
        controls.allow(NO_SWAP if recipe is None else "", self.swap)
        self.unpin.setEnabled(bool(title))
        if not title:
            self.figures.show_figures(None)

    def _show_what_is_of_a(self) -> None:
        """The columns of a row have letters of their own: A is none of them."""
        self._a_box.setVisible(self._mode != "row")
        controls.reveal(self._has_a and self._mode != "row", *self._with_a)

    def allow(self, why_not: str) -> None:
        """Let A and B be shown together, or say why they cannot."""
        pairs = (button for name, button in self.modes.items() if name not in ("off", "row"))
        controls.allow(why_not, *pairs)

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
